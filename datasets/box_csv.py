"""Boxes as a CSV file, one row a box: DeepForest's form, and HerdNet's.

    image_path,xmin,ymin,xmax,ymax,label        left and top from 0, right and bottom exclusive

A row with the four numbers 0, or empty, says that its picture is empty. Columns `flight` and
`split` are read where they are there. keras-retinanet's tables are the same without a heading.
"""

from collections.abc import Sequence
from pathlib import Path

from fieldsight.datasets import _picture_tables
from fieldsight.datasets._marks import Mark
from fieldsight.datasets._picture_tables import Form
from fieldsight.datasets._tables import Row
from fieldsight.datasets.animals import AnimalSet

SOURCE = "deepforest.readthedocs.io"
COLUMNS = ("image_path", "xmin", "ymin", "xmax", "ymax", "label")


def _mark(row: Row, numbers: Sequence[float], label: str) -> Mark | None:
    if not any(numbers):  # NaN is something
        return None
    left, top, right, bottom = numbers
    return Mark(f"{row.path.name}, line {row.line}", (left, top, right, bottom), label)


FORM = Form("box_csv", COLUMNS[1:5], ",".join(COLUMNS), _mark)


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(_picture_tables.files(folder, FORM))


def fits(path: Path) -> bool:
    """Whether a CSV file has these columns."""
    return _picture_tables.fits(path, FORM)


def load(path: Path) -> AnimalSet:
    """The annotated pictures of a table, or of those in a folder.

    Raises:
        DatasetNotFoundError: if there is no such table.
        DataError: if one is damaged, or none of its pictures can be used.
    """
    return _picture_tables.load(path, FORM)
