"""From a raster of classes to polygons, strip by strip, so that memory doesn't grow with it.

A strip's regions are labelled and outlined in pixels, where all corners are whole numbers; those
that go on in the next strip wait for it and are joined along the seam. What is written is what
one piece would have given: four neighbours belong together, outlines run along pixels' edges.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.findings import Provenance
from fieldsight.datasets.grids import Grid, Slices
from fieldsight.datasets.maps.rasters import row_blocks

Array = NDArray[Any]
Read = Callable[[Slices], tuple[Array, Array]]
Progress = Callable[[int, int], None]
Value = str | float | int | bool | dt.date | None

WRITTEN = 20_000  # polygons at once
M2_A_HA = 10_000.0


@dataclass(frozen=True)
class Outlined:
    """What became of a raster's regions.

    Attributes:
        polygons: that were written.
        area_ha: of them.
        small: regions below the minimum mapping unit, left out.
        small_ha: of those.
    """

    polygons: int
    area_ha: float
    small: int
    small_ha: float


@dataclass(eq=False)
class _Region:
    """A region as far as it has been seen: where it was joined to another, that one has it all."""

    value: int
    pixels: int = 0
    area_m2: float = 0.0
    sure_m2: float = 0.0  # the part that the minimum mapping unit is asked of
    confidence: float = 0.0  # summed over the pixels
    parts: list[Any] = field(default_factory=list)
    joined: _Region | None = None

    def root(self) -> _Region:
        """The region that has it all."""
        found = self
        while found.joined is not None:
            found = found.joined
        return found

    def join(self, other: _Region) -> None:
        """Take over another region."""
        here, there = self.root(), other.root()
        if here is there:
            return
        if len(here.parts) < len(there.parts):
            here, there = there, here
        here.pixels += there.pixels
        here.area_m2 += there.area_m2
        here.sure_m2 += there.sure_m2
        here.confidence += there.confidence
        here.parts += there.parts
        there.parts = []
        there.joined = here


def outline(
    read: Read,
    grid: Grid,
    path: Path,
    *,
    names: Mapping[int, str],
    provenance: Provenance,
    layer: str = "clearings",
    least_ha: float = 0.0,
    sure: float = 0.0,
    columns: Mapping[str, Value] | None = None,
    strip: int | None = None,
    progress: Progress | None = None,
) -> Outlined:
    """Write the regions of some values as polygons of a GeoPackage, whole or not at all.

    Each has `class`, `area_ha` (of its pixels, in an equal-area projection), `confidence` (the
    mean over its pixels), `pixels`, what `columns` says of all, and the model (C-10). No region
    gives an empty layer.

    Args:
        read: from rows and columns to values `(rows, columns)` of whole numbers and the
            probability of each pixel's value, float32.
        grid: of the raster.
        path: of the GeoPackage; one that is there is replaced.
        names: of the values that are outlined.
        provenance: what made the map.
        layer: of the GeoPackage.
        least_ha: the minimum mapping unit.
        sure: the probability of a pixel from which on it counts towards that unit; what is
            written has all pixels of a region that has enough of them.
        columns: further columns, each with one value for all polygons: the scene's date.
        strip: rows at a time; left out: of some 2 million pixels.
        progress: told how many rows are through, and of how many.

    Raises:
        DataError: if the raster isn't georeferenced, or the file can't be written.
    """
    grid.check_georeferenced("polygons")
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    file = _GeoPackage(beside, layer, grid, names, provenance, columns or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    small, small_m2 = 0, 0.0
    least_m2 = least_ha * M2_A_HA
    try:
        for region in _regions(read, grid, tuple(names), least_m2, sure, strip, progress):
            if region.sure_m2 < least_m2 or not region.parts:
                small, small_m2 = small + 1, small_m2 + region.area_m2
            else:
                file.add(region)
        file.finish()
        beside.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        for left in path.parent.glob(f"{beside.name}*"):
            with contextlib.suppress(OSError):
                left.unlink()
    return Outlined(file.count, file.area_m2 / M2_A_HA, small, small_m2 / M2_A_HA)


def _regions(
    read: Read,
    grid: Grid,
    values: tuple[int, ...],
    least_m2: float,
    sure: float,
    strip: int | None,
    progress: Progress | None,
) -> Iterator[_Region]:
    """Yield every region once no later row can add to it."""
    above: list[_Region] = []  # of the last row's labels, from 1
    last = np.zeros(grid.columns, np.int32)  # labels of the last row
    for slices in row_blocks(grid, strip):
        labels, found = _label(read, grid, slices, values, sure)
        last_row = slices[0].stop == grid.rows
        touching = np.union1d(labels[0], [] if last_row else labels[-1]).astype(int)
        touching = touching[touching > 0] - 1
        waiting = set(touching.tolist())
        # Too small regions that end here need no outline, and are most of a noisy map's.
        wanted = np.array([r.sure_m2 >= least_m2 for r in found], bool)
        wanted[touching] = True
        _outline(labels, found, wanted, slices[0].start)
        for upper, lower in set(zip(last.tolist(), labels[0].tolist(), strict=True)):
            if upper and lower and above[upper - 1].value == found[lower - 1].value:
                above[upper - 1].join(found[lower - 1])
        going_on = set() if last_row else {id(found[n - 1].root()) for n in set(labels[-1]) if n}
        yield from (region for n, region in enumerate(found) if n not in waiting)
        open_here = [*(above[n - 1] for n in set(last.tolist()) if n), *(found[n] for n in waiting)]
        roots = {id(root): root for root in (region.root() for region in open_here)}
        yield from (root for key, root in roots.items() if key not in going_on)
        above, last = found, labels[-1]
        if progress is not None:
            progress(slices[0].stop, grid.rows)


def _label(
    read: Read, grid: Grid, slices: Slices, values: tuple[int, ...], sure: float
) -> tuple[Array, list[_Region]]:
    """Number a strip's regions from 1, `(rows, columns)` int32, and measure them."""
    from skimage.measure import label

    classes, confidence = read(slices)
    wanted = np.where(np.isin(classes, values), classes, 0)
    labels, count = label(wanted, background=0, connectivity=1, return_num=True)
    labels = labels.astype(np.int32)
    inside = labels > 0
    flat = labels[inside]
    pixels = np.bincount(flat, minlength=count + 1)
    each_m2, likely = grid.pixel_areas_m2(slices)[inside], confidence[inside]
    areas = np.bincount(flat, each_m2, count + 1)
    counted = np.bincount(flat, np.where(likely < sure, 0.0, each_m2), count + 1)
    sums = np.bincount(flat, likely, count + 1)
    kinds = np.zeros(count + 1, int)
    kinds[flat] = wanted[inside]
    return labels, [
        _Region(int(kinds[n]), int(pixels[n]), float(areas[n]), float(counted[n]), float(sums[n]))
        for n in range(1, count + 1)
    ]


def _outline(labels: Array, regions: list[_Region], wanted: Array, top: int) -> None:
    """Give each wanted region its polygon, of whole pixels: x is the column, y the row."""
    from affine import Affine
    from rasterio.features import shapes

    chosen = np.concatenate([[False], wanted])[labels]
    if not chosen.any():
        return
    down = Affine.translation(0, top)
    for drawn, number in shapes(labels, mask=chosen, connectivity=4, transform=down):
        shell, *holes = drawn["coordinates"]
        regions[int(number) - 1].parts.append(shapely.Polygon(shell, holes))


class _GeoPackage:
    """A GeoPackage that regions are added to, some at a time."""

    def __init__(
        self,
        path: Path,
        layer: str,
        grid: Grid,
        names: Mapping[int, str],
        provenance: Provenance,
        columns: Mapping[str, Value],
    ) -> None:
        self.path, self.layer, self.grid, self.names = path, layer, grid, names
        self.provenance, self.columns = provenance, columns
        self.waiting: list[tuple[Any, _Region]] = []
        self.count, self.area_m2, self.begun = 0, 0.0, False

    def add(self, region: _Region) -> None:
        """Add a region."""
        self.waiting.append((self._on_ground(region), region))
        region.parts = []
        self.count += 1
        self.area_m2 += region.area_m2
        if len(self.waiting) >= WRITTEN:
            self._write()

    def finish(self) -> None:
        """Write what waits, and an empty layer if there was nothing."""
        if self.waiting or not self.begun:
            self._write()

    def _on_ground(self, region: _Region) -> Any:
        parts = region.parts
        # On a seam there are corners that turn nowhere.
        shape = parts[0] if len(parts) == 1 else shapely.union_all(parts).simplify(0)
        t = self.grid.transform

        def moved(places: Array) -> Array:
            column, row = places.T
            return np.stack(
                [t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f], axis=1
            )

        return shapely.transform(shape, moved)

    def _write(self) -> None:
        from pyogrio.errors import DataSourceError
        from pyogrio.raw import write

        fields = self._fields([region for _, region in self.waiting])
        shapes = np.array([shape for shape, _ in self.waiting], object)
        made = self.provenance
        try:
            write(
                self.path, shapely.to_wkb(shapes), list(fields.values()), list(fields),
                layer=self.layer, driver="GPKG", geometry_type="Polygon",
                crs=self.grid.crs.to_wkt(), append=self.begun,
                layer_metadata=None if self.begun else {
                    "model": made.model, "trained_on": made.trained_on,
                    "simulated": "yes" if made.simulated else "no", "software": made.software,
                    "created": made.created, "disclaimer": made.disclaimer,
                },
            )  # fmt: skip
        except (DataSourceError, RuntimeError) as error:
            raise _not_written(self.path, error) from error
        self.begun, self.waiting = True, []

    def _fields(self, regions: list[_Region]) -> dict[str, Array]:
        first = self.count - len(regions)
        made = self.provenance
        told: dict[str, Value] = {**self.columns, "model": made.model, "simulated": made.simulated}
        fields = {
            "id": np.arange(first + 1, self.count + 1, dtype=np.int32),
            "class": np.array([self.names[region.value] for region in regions], object),
            "area_ha": np.array([region.area_m2 / M2_A_HA for region in regions], float),
            "confidence": np.array([region.confidence / region.pixels for region in regions]),
            "pixels": np.array([region.pixels for region in regions], np.int64),
        }
        return fields | {name: _repeated(value, len(regions)) for name, value in told.items()}


def _repeated(value: Value, count: int) -> Array:
    """A column with one value for all; None is null."""
    if isinstance(value, dt.date):
        return np.full(count, np.datetime64(value, "D"))
    if value is None or isinstance(value, str):
        column = np.empty(count, object)
        column[:] = value
        return column
    return np.full(count, value)


def _not_written(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
    return DataError(
        f"{path} can't be written ({reason}). What was there before is unchanged. Free some "
        "space, or choose another folder."
    )
