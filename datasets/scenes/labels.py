"""Maps of classes as labels: a raster with one class number a pixel, 0 where nothing is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes import _eopatch
from fieldsight.datasets.scenes._rasters import Raster


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Classes of a scene's pixels.

    Args:
        values: `(rows, columns)` whole numbers; 0 where the class isn't known.
        grid: where they lie.
        names: of classes by number, as far as the file tells; without 0.
        colours: of classes by number, red, green, blue, alpha to 255, as far as the file tells.
    """

    values: Array
    grid: Grid
    names: dict[int, str]
    colours: dict[int, tuple[int, int, int, int]]


def open_labels(path: str | Path) -> LabelMap:
    """A map of classes, read whole.

    Args:
        path: a GeoTIFF of one band of whole numbers, whose nodata and masked pixels become 0;
            or an EOPatch with one map in mask_timeless, or that .npy file.

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it is none.
    """
    path = Path(path)
    if path.is_dir():
        maps = sorted(path.glob("mask_timeless/*.npy"))
        if not _eopatch.is_patch(path) or len(maps) != 1:
            raise DataError(
                f"{path}: a GeoTIFF of classes, or an EOPatch with one map in mask_timeless, was "
                f"needed. Received: a folder with {len(maps)} of them. Name the file."
            )
        path = maps[0]
    if path.suffix.lower() == ".npy":
        values, grid = _eopatch.land_cover(path)
        return LabelMap(values, grid, dict(_eopatch.LULC) if path.stem == "LULC" else {}, {})
    return _of_raster(path)


def _of_raster(path: Path) -> LabelMap:
    raster = Raster(path)
    try:
        if raster.count != 1 or raster.dtypes[0].kind not in "iu":
            raise DataError(
                f"{path}: one band of whole numbers, a class each, was needed. Received: "
                f"{raster.count} of {raster.dtypes[0]}. Convert it."
            )
        everywhere = (slice(None), slice(None))
        values = raster.read([0], everywhere)[0]
        known = raster.mask(everywhere)
        values = np.where(known, values, 0)
        if values.min() < 0:
            raise DataError(
                f"{path}: classes from 0 were needed. Received: {values.min()}. Declare it as "
                "nodata, or number the classes anew."
            )
        named = _named(raster.tags)
        told = {*named, *np.unique(values).tolist()} - {0}
        colours = {n: rgba for n, rgba in raster.colour_table.items() if n in told}
        return LabelMap(values, raster.grid, named, colours)
    finally:
        raster.close()


def _named(tags: dict[str, str]) -> dict[int, str]:
    """By the tag CLASSES=nodata,forest,..., names by value, as this project's own maps have it."""
    names = [name.strip() for name in tags.get("CLASSES", "").split(",")]
    return {n: name for n, name in enumerate(names) if n and name}
