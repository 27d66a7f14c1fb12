"""A raster brought to another grid by windows; its answer doesn't depend on the window (D-6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid, same_grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes._layers import equals
from fieldsight.datasets.scenes._rasters import Pixels, Raster, Slices, spans

Method = Literal["bilinear", "nearest"]

_STRAIGHT = 1e-6  # source pixels that a side of the target may drift across the source's


def brought(raster: Raster, grid: Grid, method: Method, nodata: float | None = None) -> Pixels:
    """A raster on a grid: itself if it lies on it already.

    Args:
        raster: to be read.
        grid: in the same CRS, not turned against the raster's.
        method: bilinear for measurements, nearest for masks and classes.
        nodata: the value that is left out of means. A pixel is nodata if the nearest is.

    Raises:
        DataError: if the CRS differs, the grids are turned, or don't cover the same ground.
    """
    own = raster.grid
    if same_grid(own, grid):
        return raster
    if own.crs != grid.crs or grid.crs is None:
        raise DataError(
            f"{raster.path}: a raster in the CRS of the others, {_told(grid)}, was needed. "
            f"Received: {_told(own)}. Reproject it with gdalwarp."
        )
    _check_cover(raster, grid)
    to_source = ~own.transform @ grid.transform
    drift = max(abs(to_source.b) * grid.rows, abs(to_source.d) * grid.columns)
    if drift > _STRAIGHT * max(grid.rows, grid.columns):
        raise DataError(
            f"{raster.path}: a raster whose rows run along the others' was needed. Received: one "
            "that is turned against them. Bring all to one grid with gdalwarp."
        )
    return _Brought(raster, grid, method, nodata)


@dataclass(frozen=True, eq=False)
class _Brought:
    """Reads from a raster what `brought` says."""

    raster: Raster
    grid: Grid
    method: Method
    nodata: float | None

    def read(self, indices: Sequence[int], slices: Slices) -> Array:
        """`(bands, rows, columns)` in the raster's dtype."""
        return self._read(indices, slices, self.method)

    def nearest(self, indices: Sequence[int], slices: Slices) -> Array:
        """The same of the nearest pixels."""
        return self._read(indices, slices, "nearest")

    def _read(self, indices: Sequence[int], slices: Slices, method: Method) -> Array:
        rows, columns = spans(slices, self.grid.rows, self.grid.columns)
        own = self.raster.grid
        to_source = ~own.transform @ self.grid.transform
        # A side without pixels is read as one, and cut off again.
        down = _axis(rows or range(1), to_source.e, to_source.f, own.rows)
        across = _axis(columns or range(1), to_source.a, to_source.c, own.columns)
        values = self.raster.read(indices, (down.place, across.place))
        if method == "nearest":
            found = values[:, down.nearest[:, None], across.nearest]
        else:
            found = self._bilinear(values, down, across)
        return found[:, : len(rows), : len(columns)]

    def _bilinear(self, values: Array, down: "_Axis", across: "_Axis") -> Array:
        known = self._known(values)
        exact = (
            np.float64 if values.dtype.itemsize > 2 and values.dtype != "float32" else np.float32
        )
        plain = values.astype(exact)
        if known is None:
            found = _mean(plain, down, across)
        else:
            weight = _mean(known.astype(exact), down, across)
            found = _mean(np.where(known, plain, 0), down, across)
            np.divide(found, weight, out=found, where=weight > 0)
        if values.dtype.kind in "iu":
            np.rint(found, out=found)
        found = found.astype(values.dtype)
        if known is not None:
            nearest = (slice(None), down.nearest[:, None], across.nearest)
            np.copyto(found, values[nearest], where=~known[nearest])
        return found

    def _known(self, values: Array) -> Array | None:
        """Where there are data; None if everywhere."""
        known = ~equals(values, self.nodata)
        if values.dtype.kind == "f":
            known &= np.isfinite(values)
        return None if known.all() else known

    def close(self) -> None:
        """Close the raster."""
        self.raster.close()


@dataclass(frozen=True)
class _Axis:
    """Where the pixels of a target lie along an axis of a source.

    Args:
        place: of the source's pixels that are needed.
        low: `(n,)` the source's pixel before each, from the place's begin.
        high: `(n,)` the one after it; the same at the ends.
        share: `(n,)` how far it is beyond the one before, 0 to 1.
        nearest: `(n,)`.
    """

    place: slice
    low: Array
    high: Array
    share: Array
    nearest: Array


def _axis(pixels: range, scale: float, offset: float, count: int) -> _Axis:
    # By each pixel's own number, not from the window's begin: the same whatever the window.
    middles = (np.arange(pixels.start, pixels.stop) + 0.5) * scale + offset
    # To a millionth: grids that are nested by their metadata are nested.
    middles = np.round(middles, 6)
    before = np.floor(middles - 0.5).astype(np.int64)
    share = middles - 0.5 - before
    low, high = before.clip(0, count - 1), (before + 1).clip(0, count - 1)
    nearest = np.floor(middles).astype(np.int64).clip(0, count - 1)
    first, last = int(min(low.min(), high.min())), int(max(low.max(), high.max()))
    return _Axis(slice(first, last + 1), low - first, high - first, share, nearest - first)


def _mean(values: Array, down: _Axis, across: _Axis) -> Array:
    rows = down.share[:, None].astype(values.dtype)
    between: Array = values[:, down.low] * (1 - rows) + values[:, down.high] * rows
    columns = across.share.astype(values.dtype)
    found: Array = between[..., across.low] * (1 - columns) + between[..., across.high] * columns
    return found


def _check_cover(raster: Raster, grid: Grid) -> None:
    """Up to a pixel of the coarser one, the two end where each other ends."""
    ours, theirs = raster.grid.bounds, grid.bounds
    t, u = raster.grid.transform, grid.transform
    pixel = max(abs(t.a) + abs(t.b), abs(t.d) + abs(t.e), abs(u.a) + abs(u.b), abs(u.d) + abs(u.e))
    if any(abs(a - b) > pixel for a, b in zip(ours, theirs, strict=True)):
        raise DataError(
            f"{raster.path}: a raster of the same ground as the others, {_listed(theirs)} (left, "
            f"bottom, right, top), was needed. Received: {_listed(ours)}. Crop all to one extent."
        )


def _listed(bounds: tuple[float, ...]) -> str:
    return ", ".join(f"{side:.10g}" for side in bounds)


def _told(grid: Grid) -> str:
    return "no CRS" if grid.crs is None else str(grid.crs.to_string())[:80]
