"""Points as a CSV file, one row an animal: HerdNet's form, and DeepForest's.

    images,x,y,labels          pixels from 0; x to the right, y down

A point becomes a box of a stated radius whose middle it is, also over the picture's edge. A row
whose x and y are empty says that its picture is empty.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fieldsight.datasets import _picture_tables
from fieldsight.datasets._marks import Mark
from fieldsight.datasets._picture_tables import Form
from fieldsight.datasets._tables import Row
from fieldsight.datasets.animals import AnimalSet

SOURCE = "github.com/Alexandre-Delplanque/HerdNet"
COLUMNS = ("images", "x", "y", "labels")


def _form(radius_px: float) -> Form:
    def mark(row: Row, numbers: Sequence[float], label: str) -> Mark:
        # A point is a place between pixels: pixel 7 and its middle, 7.5, are the same animal.
        x, y = numbers
        box = (x - radius_px, y - radius_px, x + radius_px, y + radius_px)
        return Mark(f"{row.path.name}, line {row.line}", box, label)

    return Form("point_csv", COLUMNS[1:3], ",".join(COLUMNS), mark)


FORM = _form(1.0)


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(_picture_tables.files(folder, FORM))


def fits(path: Path) -> bool:
    """Whether a CSV file has these columns."""
    return _picture_tables.fits(path, FORM)


def load(path: Path, *, radius_px: float) -> AnimalSet:
    """The annotated pictures of a table, or of those in a folder.

    Args:
        path: the table or the folder.
        radius_px: half the side of the boxes that stand for points.

    Raises:
        ValueError: if the radius isn't above 0.
        DatasetNotFoundError: if there is no such table.
        DataError: if one is damaged, or none of its pictures can be used.
    """
    if not radius_px > 0:
        raise ValueError(f"a radius above 0 pixels is needed. Received: {radius_px}.")
    found = _picture_tables.load(path, _form(radius_px), radius_px=radius_px)
    note = f"boxes stand for points, {radius_px:g} pixels to each side"
    return replace(found, notes=(*found.notes, note))
