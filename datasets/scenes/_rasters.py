"""One raster file, read by several threads at once.

A GDAL data set may be used by one thread at a time, so each file has a pool of them: a thread
takes one that is idle, or opens another, and gives it back.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from fieldsight.datasets._raster_headers import driver
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid, same_grid
from fieldsight.datasets.sample import Array

Slices = tuple[slice, slice]
Method = Literal["bilinear", "nearest"]

# GDAL would keep a twentieth of the machine's memory. This holds a row of windows of 1,024 lines
# in a strip-wise file of 20,000 columns and 4 bands of uint16, whose strips are decoded once.
CACHE_BYTES = 256 * 2**20
IDLE_MOST = 8  # open data sets that are kept when their threads have gone on

# Chips have no place in the world, and `Grid` says so where one is needed.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_FAULTS = (RasterioError, OSError, ValueError)


class Pixels(Protocol):
    """What bands are read from."""

    def read(self, indices: Sequence[int], slices: Slices) -> Array:
        """`(bands, rows, columns)` of bands numbered from 0."""

    def close(self) -> None:
        """Give back what is open."""


class Raster:
    """A raster file, on its own grid or brought to another.

    Args:
        path: the file, or folder for GDAL.

    Attributes:
        grid: of the file.
        count: its bands, alpha among them.
        dtypes: one a band.
        nodata: one a band, None where there is none.
        tags: of the file.
        descriptions: of the bands, "" where there is none.
        colours: rasterio's ColorInterp by name, one a band.
        has_mask: whether it has a mask of its own, inside or in a .msk file beside it.
        masks: as rasterio has them.

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        _bound_the_cache()
        self.path = path
        self._driver = driver(path)
        self._target: tuple[Grid, Method, float | None] | None = None
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False
        with self._lent() as data:
            self.grid = Grid(data.crs, _transform(data), data.height, data.width)
            self.count = int(data.count)
            self.dtypes = tuple(np.dtype(dtype) for dtype in data.dtypes)
            self.nodata: tuple[float | None, ...] = tuple(data.nodatavals)
            self.tags: dict[str, str] = data.tags()
            self.descriptions = tuple(text or "" for text in data.descriptions)
            self.colours = tuple(colour.name for colour in data.colorinterp)
            self.has_mask = any("per_dataset" in _flags(flags) and "alpha" not in _flags(flags)
                                for flags in data.mask_flag_enums)  # fmt: skip
            self.has_control_points = bool(data.gcps[0])
            self.colour_table = _colour_table(data)

    def on(self, grid: Grid, method: Method, nodata: float | None = None) -> "Raster":
        """The same file brought to a grid: itself if it lies on it already.

        Args:
            grid: in the same CRS.
            method: bilinear for measurements, nearest for masks and classes.
            nodata: of the file, where it declares none.

        Raises:
            DataError: if the CRS differs, or the two don't cover the same ground.
        """
        if same_grid(self.grid, grid):
            return self
        if self.grid.crs != grid.crs or grid.crs is None:
            raise DataError(
                f"{self.path}: a raster in the CRS of the others, {_told(grid.crs)}, was needed. "
                f"Received: {_told(self.grid.crs)}. Reproject it with gdalwarp."
            )
        _check_cover(self, grid)
        brought = Raster(self.path)
        brought.close()  # opened on its own grid, to read the header
        brought._target = (grid, method, nodata)
        brought._closed = False
        brought.grid = grid
        return brought

    def read(self, indices: Sequence[int], slices: Slices) -> Array:
        """`(bands, rows, columns)` of bands numbered from 0."""
        window = _window(slices, self.grid)
        with self._lent() as data, self._telling(window):
            found: Array = data.read([index + 1 for index in indices], window=window)
        return found

    def mask(self, slices: Slices) -> Array:
        """`(rows, columns)` bool of the file's own mask, True where there are data."""
        window = _window(slices, self.grid)
        with self._lent() as data, self._telling(window):
            found: Array = data.read_masks(1, window=window) > 0
        return found

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for data in idle:
            _close(data)

    @contextlib.contextmanager
    def _lent(self) -> Iterator[Any]:
        with self._lock:
            if self._closed:
                raise DataError(
                    f"{self.path}: an open scene was needed. Received: one that was closed. Read "
                    "it inside its `with`."
                )
            # The last one that was given back: its blocks are in GDAL's cache.
            data = self._idle.pop() if self._idle else None
        if data is None:
            data = self._open()
        try:
            yield data
        finally:
            with self._lock:
                keep = not self._closed and len(self._idle) < IDLE_MOST
                if keep:
                    self._idle.append(data)
            if not keep:
                _close(data)

    def _open(self) -> Any:
        # Absolute, because rasterio takes what stands before a colon for a scheme.
        path = os.fspath(self.path.absolute())
        try:
            data = rasterio.open(path, driver=self._driver, sharing=False)
            if self._target is None:
                return data
            grid, method, nodata = self._target
            own = data.nodata if nodata is None else nodata
            return _Brought(
                data,
                src_nodata=own,
                nodata=own,
                crs=grid.crs,
                transform=grid.transform,
                height=grid.rows,
                width=grid.columns,
                resampling=Resampling[method],
            )
        except _FAULTS as error:
            raise DataError(
                f"{self.path}: a raster that GDAL can open was needed. Received: "
                f"{_first_line(error)}. Copy it again, with the files that it names."
            ) from error

    @contextlib.contextmanager
    def _telling(self, window: Window) -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            rows = f"{window.row_off} to {window.row_off + window.height}"
            columns = f"{window.col_off} to {window.col_off + window.width}"
            raise DataError(
                f"{self.path}, rows {rows}, columns {columns}: pixels that can be read were "
                f"needed. Received: {_first_line(error)}. The file is truncated or damaged: copy "
                "it again."
            ) from error


class _Brought(WarpedVRT):  # type: ignore[misc,unused-ignore]
    """A warped data set that closes what it was made of."""

    def __init__(self, source: Any, **settings: Any) -> None:
        super().__init__(source, **settings)
        self.source = source


def spans(slices: Slices, rows: int, columns: int) -> tuple[range, range]:
    """The rows and columns of slices.

    Raises:
        ValueError: if one has a step.
    """
    down, across = slices
    found = range(*down.indices(rows)), range(*across.indices(columns))
    if any(side.step != 1 for side in found):
        raise ValueError(f"slices without a step were needed. Received: {slices}.")
    return found


def _window(slices: Slices, grid: Grid) -> Window:
    rows, columns = spans(slices, grid.rows, grid.columns)
    return Window(columns.start, rows.start, len(columns), len(rows))


def _bound_the_cache() -> None:
    if "GDAL_CACHEMAX" not in os.environ:
        from rasterio._env import set_gdal_config

        set_gdal_config("GDAL_CACHEMAX", CACHE_BYTES)


def _transform(data: Any) -> Affine:
    transform: Affine = data.transform
    return transform


def _flags(flags: Any) -> set[str]:
    return {flag.name for flag in flags}


def _colour_table(data: Any) -> dict[int, tuple[int, int, int, int]]:
    try:
        table: dict[int, tuple[int, int, int, int]] = data.colormap(1)
    except ValueError:  # it has none
        return {}
    return table


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


def _told(crs: Any) -> str:
    return "no CRS" if crs is None else str(crs.to_string())[:80]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["an unknown fault"])[0][:200].rstrip(".")


def _close(data: Any) -> None:
    data.close()
    if isinstance(data, _Brought):
        data.source.close()
