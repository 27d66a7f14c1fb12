"""Maps of classes as labels: a raster with one class number a pixel, 0 where nothing is known."""

from dataclasses import dataclass
from pathlib import Path

from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Classes of a scene's pixels.

    Args:
        values: `(rows, columns)` whole numbers; 0 where the class isn't known.
        grid: where they lie.
        names: of classes by number, as far as the file tells; without 0.
    """

    values: Array
    grid: Grid
    names: dict[int, str]


def open_labels(path: str | Path) -> LabelMap:
    """A map of classes: a GeoTIFF of one band of whole numbers, or an EOPatch's LULC.npy.

    Raises:
        DataError: if it is none.
    """
    raise NotImplementedError
