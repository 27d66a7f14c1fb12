"""What covers the ground under chips that were cut from scenes with a class for each pixel.

    chips.csv (image_name, scene, date, row, column)  labels/<scene>_<YYYYMMDD>_landcover.tif

So lies what `datasets.simulated.forest` writes, and so may a user lay out chips cut from mapped
scenes. The competition's own chips have no places.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fieldsight.datasets import _tables
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.planet import SIDE
from fieldsight.datasets.sample import Array

TABLE = "chips.csv"
COLUMNS = ("image_name", "scene", "date", "row", "column")
CELLS = 32  # along each side of a chip: 8 pixels each


def is_there(folder: str | Path) -> bool:
    """Whether a folder tells where its chips lie, and has classes of scenes."""
    root = Path(folder)
    has_places = set(COLUMNS) <= set(_tables.headings(root / TABLE))
    return has_places and any(root.glob("labels/*_landcover.tif"))


def read(folder: str | Path, names: Sequence[str], num_classes: int) -> Array:
    """Pixels of each class in each cell of each chip.

    Args:
        folder: where `is_there`.
        names: of the chips, such as "train_0".
        num_classes: values that a class map may have, 0 (nodata) among them.

    Returns:
        `(n, 32, 32, num_classes)` uint8 counts, which make 64 in each cell; a chip whose scene
        has no classes has zeros throughout.

    Raises:
        DataError: if a chip has no row, or lies beyond its scene, or a class is unknown.
    """
    root = Path(folder)
    rows = {row.text("image_name"): row for row in _tables.read(root / TABLE, COLUMNS)}
    counts = np.zeros((len(names), CELLS, CELLS, num_classes), np.uint8)
    classes: dict[Path, Array | None] = {}
    for number, name in enumerate(names):
        if name not in rows:
            raise DataError(
                f"{root / TABLE}: a row for {name} was needed. Received: none. Complete the table."
            )
        row = rows[name]
        date = row.text("date").replace("-", "")
        path = root / "labels" / f"{row.text('scene')}_{date}_landcover.tif"
        if path not in classes:
            # Chips of a scene come one after the other: one map is held, not all.
            classes = {path: _classes(path)}
        found = classes[path]
        if found is None:
            continue
        top, left = int(row.number("row")), int(row.number("column"))
        piece = found[max(top, 0) : top + SIDE, max(left, 0) : left + SIDE]
        if piece.shape != (SIDE, SIDE):
            raise row.error(f"a chip within {path.name} was needed. Received: {top}, {left}")
        if piece.max(initial=0) >= num_classes:
            raise row.error(
                f"classes below {num_classes} were needed. Received: {piece.max()} in {path.name}"
            )
        counts[number] = _counted(piece, num_classes)
    return counts


def _classes(path: Path) -> Array | None:
    """`(rows, columns)` uint8; None where there is no such file."""
    if not path.exists():
        return None
    import rasterio

    try:
        with rasterio.open(path) as file:
            values: Array = file.read(1)
    except rasterio.errors.RasterioError as error:
        raise DataError(
            f"{path}: a raster of classes was needed. Received: {error}. Copy it anew."
        ) from error
    return values


def _counted(piece: Array, num_classes: int) -> Array:
    """`(32, 32, num_classes)` pixels of each class by cell."""
    side = SIDE // CELLS
    cell = np.arange(SIDE) // side
    places = (cell[:, None] * CELLS + cell) * num_classes + piece
    counts = np.bincount(places.ravel(), minlength=CELLS * CELLS * num_classes)
    return counts.reshape(CELLS, CELLS, num_classes).astype(np.uint8)
