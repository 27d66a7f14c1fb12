"""Hectares by class, of a whole map and of areas of interest: mapped, not estimated (D-13)."""

from __future__ import annotations

import collections
import csv
import io
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.findings import Provenance
from fieldsight.datasets.grids import Grid, Slices
from fieldsight.datasets.maps.rasters import row_blocks

Array = NDArray[Any]
Progress = Callable[[int, int], None]

METHOD = "mapped, not estimated"
WHOLE = "whole scene"
OUTSIDE = "outside the scene"
COLUMNS = (
    "area", "class", "hectares", "share", "pixels", "method", "scene", "date", "model",
    "trained_on", "simulated",
)  # fmt: skip
M2_A_HA = 10_000.0
_TELLING = 1e-3  # a share of an area of interest beyond the scene that is worth a row
_NAMES = ("name", "area", "label", "title", "id")  # attributes by which an area may be called


@dataclass(frozen=True)
class Count:
    """A class in an area.

    Attributes:
        area: `WHOLE`, or the name of an area of interest.
        name: of the class; `OUTSIDE` for what the scene doesn't show.
        area_ha: of its pixels, in an equal-area projection.
        share: of the pixels with data in this area; None where that isn't meant.
        pixels: how many; those whose centre lies in the area.
    """

    area: str
    name: str
    area_ha: float
    share: float | None
    pixels: int


@dataclass(frozen=True)
class Areas:
    """Areas of interest on a scene.

    Attributes:
        names: each once.
        shapes: shapely's, in pixels of the scene: x is the column, y the row.
        area_ha: of each, in an equal-area projection.
    """

    names: tuple[str, ...]
    shapes: tuple[Any, ...]
    area_ha: tuple[float, ...]


def read_areas(path: Path, grid: Grid) -> Areas:
    """Read polygons of interest and lay them onto a scene.

    Args:
        path: a GeoPackage, GeoJSON or Shapefile.
        grid: the scene's.

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it can't be read, has no CRS, holds no polygon, or one that crosses itself.
    """
    import pyogrio
    import shapely

    grid.check_georeferenced("--area")
    if not path.exists():
        raise DatasetNotFoundError(f"--area: polygons were needed. Received: {path}: no such file.")
    try:
        table = pyogrio.read_dataframe(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(
            f"--area: a GeoPackage, GeoJSON or Shapefile was needed. Received: {path}, which "
            f"can't be read ({str(error).splitlines()[0][:160]})."
        ) from error
    if "geometry" not in table.columns or not len(table):
        raise DataError(f"--area: polygons were needed. Received: {path}, which holds none.")
    if table.crs is None:
        raise DataError(
            f"--area: polygons with a CRS were needed. Received: {path} without one. Assign it, as "
            "with ogr2ogr -a_srs EPSG:4326."
        )
    names = _named(table)
    for name, shape in zip(names, table.geometry, strict=True):
        if shape is None or shape.geom_type not in ("Polygon", "MultiPolygon") or shape.is_empty:
            what = "nothing" if shape is None or shape.is_empty else shape.geom_type
            raise DataError(f"--area: {name}: a polygon was needed. Received: {what} in {path}.")
        if not shape.is_valid:
            raise DataError(
                f"--area: {name}: a polygon that doesn't cross itself was needed. Received: "
                f"{shapely.is_valid_reason(shape)} in {path}. Mend it, as QGIS's Fix geometries."
            )
    moved = table.geometry
    if table.crs != grid.crs:
        # A straight line is curved in another projection: corners are set close enough.
        left, bottom, right, top = moved.total_bounds
        moved = moved.segmentize(max(right - left, top - bottom) / 500).to_crs(grid.crs.to_wkt())
    shapes = tuple(_in_pixels(shape, grid, name) for name, shape in zip(names, moved, strict=True))
    equal = moved.set_crs(grid.crs.to_wkt(), allow_override=True).to_crs(grid.equal_area)
    return Areas(names, shapes, tuple(float(area) / M2_A_HA for area in equal.area))


def count(
    read: Callable[[Slices], Array],
    grid: Grid,
    names: Mapping[int, str],
    areas: Areas | None = None,
    progress: Progress | None = None,
    *,
    hidden: Collection[int] = (0,),
) -> list[Count]:
    """Count a map's hectares, in bands of rows.

    Args:
        read: from rows and columns to values `(rows, columns)` of whole numbers, 0 to 255.
        grid: of the map.
        names: of the values; every one gets a row, and one that isn't named is left out.
        areas: counted too, each by itself.
        progress: told how many rows are through, and of how many.
        hidden: values that say nothing of the ground, nodata and clouds: they have no share.

    Returns:
        The whole scene first, then each area; classes in the order of their values.
    """
    counters = [_Counter(WHOLE)] + [_Counter(name) for name in (areas.names if areas else ())]
    for slices in row_blocks(grid):
        values = read(slices)
        sizes = grid.pixel_areas_m2(slices)
        counters[0].add(values, sizes)
        for counter, shape in zip(counters[1:], areas.shapes if areas else (), strict=True):
            counter.add_inside(shape, slices, values, sizes)
        if progress is not None:
            progress(slices[0].stop, grid.rows)
    found = counters[0].counts(names, hidden)
    for counter, shape, area_ha in zip(
        counters[1:], areas.shapes if areas else (), areas.area_ha if areas else (), strict=True
    ):
        found += counter.counts(names, hidden)
        beyond = area_ha - counter.area_m2.sum() / M2_A_HA
        if beyond > _TELLING * area_ha and not _holds(grid, shape):
            found.append(Count(counter.name, OUTSIDE, beyond, None, 0))
    return found


def _holds(grid: Grid, shape: Any) -> bool:
    left, upper, right, lower = shape.bounds
    return bool(min(left, upper) >= 0 and right <= grid.columns and lower <= grid.rows)


class _Counter:
    """Pixels and square metres by value, of one area."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pixels, self.area_m2 = np.zeros(256, np.int64), np.zeros(256)

    def add(self, values: Array, sizes: Array) -> None:
        """Add pixels."""
        flat = values.ravel()
        self.pixels += np.bincount(flat, minlength=256)
        self.area_m2 += np.bincount(flat, sizes.ravel(), 256)

    def add_inside(self, shape: Any, slices: Slices, values: Array, sizes: Array) -> None:
        """Add the pixels of a band of rows whose centre lies in a shape."""
        from affine import Affine
        from rasterio.features import rasterize

        rows, columns = slices
        left, upper, right, lower = shape.bounds
        top, bottom = max(rows.start, math.floor(upper)), min(rows.stop, math.ceil(lower))
        first, end = max(0, math.floor(left)), min(columns.stop, math.ceil(right))
        if top >= bottom or first >= end:
            return
        place = Affine.translation(first, top)
        inside = rasterize(
            [(shape, 1)], (bottom - top, end - first), transform=place, dtype="uint8"
        )
        part = (slice(top - rows.start, bottom - rows.start), slice(first, end))
        chosen = inside.astype(bool)
        self.add(values[part][chosen], sizes[part][chosen])

    def counts(self, names: Mapping[int, str], hidden: Collection[int]) -> list[Count]:
        """What was counted."""
        shown = np.delete(self.area_m2, list(hidden)).sum()
        return [
            Count(
                self.name, name, float(self.area_m2[value]) / M2_A_HA,
                None if value in hidden else float(self.area_m2[value] / shown) if shown else 0.0,
                int(self.pixels[value]),
            )
            for value, name in sorted(names.items())
        ]  # fmt: skip


def write(
    path: Path, counts: Iterable[Count], *, scene: str, date: str, provenance: Provenance
) -> None:
    """Write counts as a CSV file, each row labelled `METHOD` and with its model (C-10).

    Raises:
        OSError: if it can't be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in counts:
        share = "" if one.share is None else f"{one.share:.6f}"
        writer.writerow(
            (
                one.area, one.name, f"{one.area_ha:.4f}", share, one.pixels, METHOD, scene, date,
                provenance.model, provenance.trained_on, "yes" if provenance.simulated else "no",
            )
        )  # fmt: skip
    write_atomically(path, text.getvalue().encode("utf-8"))


def _named(table: Any) -> tuple[str, ...]:
    """A name for each polygon: its attribute of that kind, like ones numbered; else a number."""
    by_lower = {str(column).lower(): column for column in table.columns}
    columns = [table[by_lower[wanted]] for wanted in _NAMES if wanted in by_lower]
    named = [[str(value).strip() for value in column] for column in columns]
    named = [names for names in named if all(names) and WHOLE not in names]
    # Those that differ of themselves before those that must be numbered.
    for found in sorted(named, key=lambda names: len(set(names)) < len(names)):
        counts, seen = collections.Counter(found), collections.Counter[str]()
        numbered = []
        for name in found:
            seen[name] += 1
            numbered.append(name if counts[name] == 1 else f"{name} ({seen[name]})")
        if len(set(numbered)) == len(numbered):
            return tuple(numbered)
    return tuple(f"area {number}" for number in range(1, len(table) + 1))


def _in_pixels(shape: Any, grid: Grid, name: str) -> Any:
    import shapely

    back = ~grid.transform

    def moved(places: Array) -> Array:
        x, y = places.T
        return np.stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f], 1)

    found = shapely.transform(shape, moved)
    if not np.isfinite(shapely.get_coordinates(found)).all():
        raise DataError(
            f"--area: {name}: a polygon that the scene's CRS can show was needed. Received: one "
            f"that {grid.crs} can't place. Check its coordinates."
        )
    return found


def of_class(counts: Sequence[Count], name: str, area: str = WHOLE) -> float:
    """Hectares of a class in an area; 0 if there is no such row."""
    return sum(one.area_ha for one in counts if one.area == area and one.name == name)
