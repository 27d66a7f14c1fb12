"""A stratified probability sample of a map for an interpreter (D-13); `readings` reads it back.

The sample is a GeoPackage of three layers: `sample`, points with a column `reference` that the
interpreter fills in, in an order that tells nothing of the map; `pixels`, the outlines of the
same units, for that is what must be read; `strata`, the classes that may be named, and what was
drawn of each. What the map says of a unit stands in none of them: an interpreter who knows it
agrees with it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid

Array = NDArray[Any]
Slices = tuple[slice, slice]
Progress = Callable[[int, int], None]

SAMPLE, PIXELS, STRATA = "sample", "pixels", "strata"
REFERENCE = "reference"
UNREADABLE = "?"  # what an interpreter writes who can't tell
TILE = 1024  # pixels of a side that are read at once; what is drawn depends on it, so it stays
LEAST = 2  # units a stratum: of one alone no standard error is known


@dataclass(frozen=True)
class Stratum:
    """A class of the map.

    Attributes:
        value: in the raster.
        name: of the class.
        pixels: that have it.
        area_ha: of them, in an equal-area projection: mapped, not estimated.
    """

    value: int
    name: str
    pixels: int
    area_ha: float


@dataclass(frozen=True)
class Unit:
    """A pixel that was drawn.

    Attributes:
        row: in the map.
        column: in the map.
        value: of the class that the map has there: its stratum.
    """

    row: int
    column: int
    value: int


class ClassMap:
    """A raster of classes on disk, read by tiles.

    Args:
        path: of a raster of one band of whole numbers.
        names: of the classes by value; others are named "class 7". A value that is named "" is
            left out, as nodata is.

    Raises:
        DataError: if it can't be read, has several bands or no CRS, or isn't of whole numbers.
    """

    def __init__(self, path: Path, names: Mapping[int, str]) -> None:
        import rasterio

        try:
            with rasterio.open(path) as raster:
                self.grid = Grid(raster.crs, raster.transform, raster.height, raster.width)
                kind, count, self.nodata = raster.dtypes[0], raster.count, raster.nodata
        except rasterio.errors.RasterioIOError as error:
            raise DataError(
                f"{path}: a map of classes was needed. Received: a file that can't be read "
                f"({error}). `fieldsight deforestation map` writes one, classes.tif."
            ) from error
        if count != 1 or not np.issubdtype(np.dtype(kind), np.integer):
            raise DataError(
                f"{path}: a map of classes was needed, one band of whole numbers. Received: "
                f"{count} bands of {kind}. Give the classes.tif that `map` or `change` wrote."
            )
        self.grid.check_georeferenced("a sample")
        self.path, self.names = path, dict(names)

    def name(self, value: int) -> str:
        """Of a class; "" if it is left out."""
        return self.names.get(value, f"class {value}")

    def is_left_out(self, value: int) -> bool:
        """Whether a value is no class."""
        return (self.nodata is not None and value == self.nodata) or not self.name(value)

    def tiles(self) -> Iterator[tuple[Slices, Array]]:
        """Places and classes, tile by tile."""
        import rasterio
        from rasterio.windows import Window

        with rasterio.open(self.path) as raster:
            for top in range(0, self.grid.rows, TILE):
                for left in range(0, self.grid.columns, TILE):
                    window = Window(
                        left, top, min(TILE, self.grid.columns - left),
                        min(TILE, self.grid.rows - top),
                    )  # fmt: skip
                    try:
                        values = raster.read(1, window=window)
                    except rasterio.errors.RasterioIOError as error:
                        raise DataError(
                            f"{self.path}: a whole map was needed. Received: one that can't be "
                            f"read at row {top}, column {left} ({error}). Make it anew."
                        ) from error
                    yield (
                        slice(top, top + values.shape[0]), slice(left, left + values.shape[1])
                    ), values  # fmt: skip

    @property
    def tile_count(self) -> int:
        """How many tiles there are."""
        return -(-self.grid.rows // TILE) * -(-self.grid.columns // TILE)


def strata_of(raster: ClassMap, progress: Progress | None = None) -> tuple[Stratum, ...]:
    """The classes of a map with their pixels and mapped hectares, by rising value.

    Raises:
        DataError: if there is no class but nodata.
    """
    pixels: dict[int, int] = {}
    areas: dict[int, float] = {}
    for number, (slices, values) in enumerate(raster.tiles(), 1):
        square_metres = raster.grid.pixel_areas_m2(slices)
        classes, places = np.unique(values, return_inverse=True)
        counts = np.bincount(places.ravel())
        sums = np.bincount(places.ravel(), weights=square_metres.ravel())
        for value, count, area in zip(classes.tolist(), counts, sums, strict=True):
            pixels[value] = pixels.get(value, 0) + int(count)
            areas[value] = areas.get(value, 0.0) + float(area) / 1e4
        if progress is not None:
            progress(number, raster.tile_count)
    found = tuple(
        Stratum(value, raster.name(value), pixels[value], areas[value])
        for value in sorted(pixels)
        if not raster.is_left_out(value)
    )
    if not found:
        raise DataError(
            f"{raster.path}: a map with classes was needed. Received: nodata alone. There is "
            "nothing to draw from."
        )
    return found


def allocate(strata: Sequence[Stratum], total: int, minimum: int | None = None) -> dict[int, int]:
    """Units of each stratum: a minimum each, the rest in proportion to the area.

    Reference:
        Olofsson et al., Remote Sensing of Environment 148, 2014, section 5.1.

    Args:
        strata: of the map.
        total: units in all.
        minimum: of each; by default 50, or half of an equal share where that is less. A stratum
            of fewer pixels is read whole.

    Raises:
        DataError: if the total is too small for the strata.
    """
    if minimum is None:
        minimum = max(LEAST, min(50, total // (2 * len(strata))))
    if total < minimum * len(strata) or minimum < LEAST:
        raise DataError(
            f"a sample of {LEAST} units a class at least was needed, for {len(strata)} classes "
            f"with a minimum of {minimum} each that is {max(minimum, LEAST) * len(strata)}. "
            f"Received: {total}. Draw more."
        )
    units = {one.value: min(minimum, one.pixels) for one in strata}
    left = total - sum(units.values())
    # What a small stratum can't take goes to the others, until all is dealt or all are read whole.
    while left > 0:
        open_ones = [one for one in strata if units[one.value] < one.pixels]
        if not open_ones:
            break
        area = sum(one.area_ha for one in open_ones)
        wanted = [left * one.area_ha / area for one in open_ones]
        given = [
            min(int(share), one.pixels - units[one.value])
            for share, one in zip(wanted, open_ones, strict=True)
        ]
        if not any(given):  # fractions alone: one by one, the largest first
            first = int(np.argmax(wanted))
            given = [int(number == first) for number in range(len(open_ones))]
        for one, count in zip(open_ones, given, strict=True):
            units[one.value] += count
        left -= sum(given)
    return units


def draw(
    raster: ClassMap,
    units: Mapping[int, int],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Unit]:
    """Draw pixels of each stratum, each as likely as it is large, without drawing one twice.

    One pass over the map; memory holds a tile and the units.

    Reference:
        Efraimidis and Spirakis, Weighted random sampling with a reservoir, Information
        Processing Letters 97, 2006: the smallest of exponential keys. In a projected CRS, where
        pixels are alike, that is a simple random sample; in degrees it makes up for pixels that
        shrink towards the poles.

    Args:
        raster: the map.
        units: how many of each value.
        seed: of the keys.
        progress: told how many tiles are through, and of how many.

    Returns:
        The units in a random order that says nothing of their strata.
    """
    kept = {value: _Smallest(count) for value, count in units.items() if count}
    for number, (slices, values) in enumerate(raster.tiles(), 1):
        areas = raster.grid.pixel_areas_m2(slices)
        rng = np.random.default_rng((seed, slices[0].start, slices[1].start))
        keys = rng.standard_exponential(values.shape) / areas
        for value, smallest in kept.items():
            there = (values == value) & (keys < smallest.limit)
            if there.any():
                corner = np.array([slices[0].start, slices[1].start])
                smallest.add(keys[there], np.argwhere(there) + corner)
        if progress is not None:
            progress(number, raster.tile_count)
    drawn = [
        Unit(int(row), int(column), value)
        for value, smallest in kept.items()
        for row, column in smallest.places
    ]
    order = np.random.default_rng((seed, len(drawn))).permutation(len(drawn))
    return [drawn[place] for place in order]


class _Smallest:
    """The places of the smallest keys, of all that were added."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.limit = np.inf  # no key from here on can be among them
        self.keys: Array = np.empty(0)
        self.places: Array = np.empty((0, 2), np.int64)

    def add(self, keys: Array, places: Array) -> None:
        keys = np.concatenate([self.keys, keys])
        places = np.concatenate([self.places, places])
        if len(keys) > self.count:
            chosen = np.argpartition(keys, self.count - 1)[: self.count]
            keys, places = keys[chosen], places[chosen]
            self.limit = float(keys.max())
        self.keys, self.places = keys, places


def write(
    path: Path,
    raster: ClassMap,
    strata: Sequence[Stratum],
    drawn: Sequence[Unit],
    *,
    note: str = "",
) -> None:
    """Write a sample for an interpreter, whole or not at all.

    Args:
        path: of the GeoPackage.
        raster: the map that it was drawn from.
        strata: the map's classes.
        drawn: the units.
        note: of the map and its model, for the layer `strata`.

    Raises:
        OSError: if it can't be written.
    """
    import geopandas
    import pandas as pd
    import shapely

    t = raster.grid.transform
    rows = np.array([unit.row for unit in drawn], float)
    columns = np.array([unit.column for unit in drawn], float)
    ids = np.arange(1, len(drawn) + 1)
    centres = shapely.points(on_ground(t, columns + 0.5, rows + 0.5))
    around = ((0, 0), (1, 0), (1, 1), (0, 1))
    outlines = shapely.polygons(
        np.stack([on_ground(t, columns + x, rows + y) for x, y in around], axis=1)
    )
    empty = [None] * len(drawn)
    points = geopandas.GeoDataFrame(
        {"id": ids, REFERENCE: pd.Series(empty, dtype="string"),
         "remark": pd.Series(empty, dtype="string")},
        geometry=centres, crs=raster.grid.crs,
    )  # fmt: skip
    pixels = geopandas.GeoDataFrame({"id": ids}, geometry=outlines, crs=raster.grid.crs)
    sampled = {one.value: 0 for one in strata}
    for unit in drawn:
        sampled[unit.value] += 1
    table = pd.DataFrame(
        {
            "name": [one.name for one in strata],
            "value": [one.value for one in strata],
            "pixels": [one.pixels for one in strata],
            "mapped_ha": [one.area_ha for one in strata],
            "sampled": [sampled[one.value] for one in strata],
            "map": str(raster.path.name),
            "note": note,
        }
    )
    _write_layers(path, {SAMPLE: points, PIXELS: pixels, STRATA: table})


def on_ground(transform: Any, x: Array, y: Array) -> Array:
    """`(n, 2)` where a transform puts places."""
    t = transform
    return np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], axis=-1)


def _write_layers(path: Path, layers: Mapping[str, Any]) -> None:
    import pyogrio

    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        for name, frame in layers.items():
            pyogrio.write_dataframe(frame, beside, layer=name, driver="GPKG")
        beside.replace(path)
    finally:
        for left in (beside, *beside.parent.glob(f"{beside.name}-*")):  # SQLite's own files
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)
