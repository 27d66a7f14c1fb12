"""An EOPatch as eo-learn saves it: a stack of dates in .npy files, masks, a bounding box.

    data/NDVI.npy (dates, rows, columns, 1)   mask/CLM.npy   mask_timeless/LULC.npy
    timestamps.json   bbox.geojson

The stack is a scene with a band for each date: `ndvi_20150711` and so on. Where CLM tells clouds,
a date's value is interpolated linearly in time between the pixel's clear dates, since a mask of
rows and columns can't tell clouds date by date; a pixel that is never clear has no data.

Reference:
    eo-learn, https://eo-learn.readthedocs.io: EOPatch, and the land-cover classes of its Slovenian
    example.
"""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes._layers import Layer
from fieldsight.datasets.scenes._rasters import Slices, spans
from fieldsight.datasets.scenes.bands import checked, normal
from fieldsight.datasets.scenes.scene import Scene

# Of LULC in eo-learn's Slovenian example; 0 is no data.
LULC = {
    1: "cultivated", 2: "forest", 3: "grassland", 4: "shrubland", 5: "water", 6: "wetland",
    7: "tundra", 8: "artificial", 9: "bare", 10: "snow",
}  # fmt: skip


def is_patch(folder: Path) -> bool:
    """Whether a folder is an EOPatch with a stack in it."""
    return (folder / "bbox.geojson").is_file() and any(folder.glob("data/*.npy"))


def open_folder(folder: Path, names: Sequence[str] | None) -> Scene:
    """The stack of an EOPatch.

    Args:
        folder: of the patch.
        names: of the bands, one a date (and feature), in time's order; None makes them.

    Raises:
        DataError: if its files don't fit each other.
    """
    moments = _moments(folder)
    features = sorted(folder.glob("data/*.npy"))
    arrays = [_array(path, 4) for path in features]
    first = arrays[0]
    for path, array in zip(features, arrays, strict=True):
        if array.shape[:3] != (len(moments), *first.shape[1:3]) or array.dtype.kind not in "iuf":
            raise DataError(
                f"{path}: numbers of (dates, rows, columns, values) were needed, with "
                f"{(len(moments), *first.shape[1:3])} first. Received: {array.dtype} of "
                f"{array.shape}. Save the patch again."
            )
    rows, columns = first.shape[1:3]
    cloud_path = folder / "mask" / "CLM.npy"
    clouds = _array(cloud_path, 4) if cloud_path.is_file() else None
    if clouds is not None and clouds.shape != (*first.shape[:3], 1):
        raise DataError(
            f"{cloud_path}: a mask of {(*first.shape[:3], 1)} was needed. Received: "
            f"{clouds.shape}. Save the patch again."
        )
    own = _names([path.stem for path in features], arrays, moments)
    if names is not None and len(names) != len(own):
        raise DataError(
            f"{folder}: --bands must name {len(own)} bands, a date each. Received: {len(names)}. "
            "Name each, or leave --bands out."
        )
    seconds = np.array([moment.timestamp() for moment in moments])
    stack = _Stack(tuple(arrays), clouds, seconds, Grid(None, Affine.identity(), rows, columns))
    filled = clouds is not None
    layers = tuple(
        Layer(stack, index, np.dtype("float32"), float("nan")) for index in range(len(own))
    )
    days = f"{moments[0]:%Y-%m-%d} to {moments[-1]:%Y-%m-%d}"
    note = "; clouds are filled linearly in time by mask/CLM" if filled else ""
    return Scene(
        name=folder.absolute().name,
        bands=own if names is None else checked(names, also=own),
        grid=_grid(folder, rows, columns),
        sensor="",
        date=None,
        notes=(f"a stack of {len(moments)} dates from {days}{note}",),
        _layers=layers,
        _every=layers,
        _rule="any",
    )


def land_cover(path: Path) -> tuple[Array, Grid]:
    """`(rows, columns)` whole numbers of a patch's map of classes, and where they lie.

    Args:
        path: of the .npy file in the patch's mask_timeless.

    Raises:
        DataError: if it is none.
    """
    values = _array(path, 3)
    if values.shape[2] != 1 or values.dtype.kind not in "iu":
        raise DataError(
            f"{path}: whole numbers of (rows, columns, 1) were needed. Received: {values.dtype} "
            f"of {values.shape}. Name the patch's map of classes."
        )
    plain = np.array(values[..., 0])
    return plain, _grid(path.absolute().parent.parent, *plain.shape)


@dataclass(frozen=True, eq=False)
class _Stack:
    """Memory-mapped arrays as bands: dates of the first feature's first value, and so on.

    Args:
        arrays: `(dates, rows, columns, values)` each.
        clouds: `(dates, rows, columns, 1)`, not 0 under clouds; None if they aren't known.
        seconds: `(dates,)`, when.
        grid: for rows and columns.
    """

    arrays: tuple[Array, ...]
    clouds: Array | None
    seconds: Array
    grid: Grid = field(repr=False)

    def read(self, indices: Sequence[int], slices: Slices) -> Array:
        """`(bands, rows, columns)` float32."""
        rows, columns = spans(slices, self.grid.rows, self.grid.columns)
        place = (slice(rows.start, rows.stop), slice(columns.start, columns.stop))
        clear = None if self.clouds is None else self.clouds[:, *place, 0] == 0
        dates = len(self.seconds)
        series: dict[int, Array] = {}
        for number in sorted({index // dates for index in indices}):
            whole = self._series(number, place)
            clean = np.isfinite(whole) if clear is None else clear & np.isfinite(whole)
            series[number] = whole if clear is None else interpolated(whole, clean, self.seconds)
        return np.stack([series[index // dates][index % dates] for index in indices])

    def nearest(self, indices: Sequence[int], slices: Slices) -> Array:
        """The same as `read`: the arrays are on their own grid."""
        return self.read(indices, slices)

    def _series(self, number: int, place: Slices) -> Array:
        for array in self.arrays:
            if number < array.shape[3]:
                return np.array(array[:, *place, number], "float32")
            number -= array.shape[3]
        raise IndexError(number)

    def close(self) -> None:
        """Nothing is to be closed: the maps end with the arrays."""


def interpolated(values: Array, clear: Array, seconds: Array) -> Array:
    """A series at each pixel with its unclear values interpolated linearly in time.

    Before the first clear date and after the last one, that one's value is held.

    Args:
        values: `(dates, ...)` float32.
        clear: the same shape, bool.
        seconds: `(dates,)`, rising.

    Returns:
        The same shape; NaN at pixels that are never clear.

    Example:
        >>> series = np.array([[0.2], [9.0], [0.6]], "float32")
        >>> interpolated(series, np.array([[True], [False], [True]]), np.array([0, 25, 100])).T
        array([[0.2, 0.3, 0.6]], dtype=float32)
    """
    dates = len(values)
    numbers = np.arange(dates).reshape(-1, *(1,) * (values.ndim - 1))
    before = np.maximum.accumulate(np.where(clear, numbers, -1), axis=0)
    after = np.minimum.accumulate(np.where(clear, numbers, dates)[::-1], axis=0)[::-1]
    first = np.where(before < 0, after, before).clip(0, dates - 1)
    last = np.where(after >= dates, before, after).clip(0, dates - 1)
    span = seconds[last] - seconds[first]
    passed = seconds[numbers] - seconds[first]
    share = np.divide(passed, span, out=np.zeros(values.shape), where=span > 0)
    low, high = np.take_along_axis(values, first, 0), np.take_along_axis(values, last, 0)
    # Each times its share, so that what is clear stays as it is to the last bit.
    found = np.where(first == last, low, low * (1 - share) + high * share).astype("float32")
    found[:, ~clear.any(axis=0)] = np.nan
    return found


def _names(
    features: Sequence[str], arrays: Sequence[Array], moments: Sequence[dt.datetime]
) -> tuple[str, ...]:
    days = [f"{moment:%Y%m%d}" for moment in moments]
    again = [days[:place].count(day) for place, day in enumerate(days)]
    days = [
        day + (f"_{count + 1}" if count else "") for day, count in zip(days, again, strict=True)
    ]
    names = []
    for feature, array in zip(features, arrays, strict=True):
        for value in range(array.shape[3]):
            stem = normal(feature) + (f"_{value + 1}" if array.shape[3] > 1 else "")
            names += [f"{stem}_{day}" for day in days]
    return tuple(names)


def _array(path: Path, rank: int) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DatasetNotFoundError(
            f"{path}: an array was needed. Received: no such file. Copy the whole patch."
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: an array of numbers in NumPy's format was needed. Received: "
            f"{str(error)[:120]}. Copy it again."
        ) from error
    if array.ndim != rank or 0 in array.shape:
        raise DataError(
            f"{path}: an array of {rank} axes was needed. Received: {array.shape}. Save the patch "
            "again."
        )
    return array


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: the patch's JSON was needed. Received: {str(error)[:120]}. Copy the whole "
            "patch."
        ) from error


def _moments(folder: Path) -> list[dt.datetime]:
    path = folder / "timestamps.json"
    try:
        moments = [dt.datetime.fromisoformat(text) for text in _json(path)]
        rising = bool(moments) and moments == sorted(moments)
    except (TypeError, ValueError):
        rising = False
    if not rising:
        raise DataError(
            f"{path}: a list of dates in their order was needed. Received: something else. Save "
            "the patch again."
        )
    return [moment.replace(tzinfo=moment.tzinfo or dt.UTC) for moment in moments]


def _grid(folder: Path, rows: int, columns: int) -> Grid:
    """By the corners of the bounding box."""
    path = folder / "bbox.geojson"
    box = _json(path)
    try:
        x, y = zip(*((float(x), float(y)) for x, y in box["coordinates"][0]), strict=True)
        crs = CRS.from_user_input(box["crs"]["properties"]["name"])
        across, down = (max(x) - min(x)) / columns, (max(y) - min(y)) / rows
        transform = Affine(across, 0, min(x), 0, -down, max(y))
    except (KeyError, IndexError, TypeError, ValueError, CRSError) as error:
        raise DataError(
            f"{path}: a polygon with its CRS was needed. Received: something else. Save the patch "
            "again."
        ) from error
    return Grid(crs, transform, rows, columns)
