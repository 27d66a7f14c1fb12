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
from typing import Any, Protocol

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from fieldsight.datasets._raster_headers import driver
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array

Slices = tuple[slice, slice]

# GDAL would keep a twentieth of the machine's memory. This holds a row of windows of 800 lines
# in a strip-wise file of 20,000 columns and 4 bands of uint16, whose strips are decoded once.
CACHE_BYTES = 128 * 2**20
IDLE_MOST = 8  # open data sets that are kept when their threads have gone on

# Chips have no place in the world, and `Grid` says so where one is needed.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_FAULTS = (RasterioError, OSError, ValueError)


class Pixels(Protocol):
    """What bands are read from."""

    def read(self, indices: Sequence[int], slices: Slices) -> Array:
        """`(bands, rows, columns)` of bands numbered from 0."""

    def nearest(self, indices: Sequence[int], slices: Slices) -> Array:
        """The same of the nearest pixels, nothing mixed: enough to know where there are data."""

    def close(self) -> None:
        """Give back what is open."""


class Raster:
    """A raster file.

    Args:
        path: the file.

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
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False
        with self._lent() as data:
            self.grid = Grid(data.crs, data.transform, data.height, data.width)
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

    def read(self, indices: Sequence[int], slices: Slices) -> Array:
        """`(bands, rows, columns)` of bands numbered from 0."""
        window = _window(slices, self.grid)
        with self._lent() as data, self._telling(window):
            found: Array = data.read([index + 1 for index in indices], window=window)
        return found

    def nearest(self, indices: Sequence[int], slices: Slices) -> Array:
        """The same as `read`: the file is on its own grid."""
        return self.read(indices, slices)

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
            data.close()

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
                data.close()

    def _open(self) -> Any:
        # Absolute, because rasterio takes what stands before a colon for a scheme.
        path = os.fspath(self.path.absolute())
        try:
            return rasterio.open(path, driver=self._driver, sharing=False)
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


def _flags(flags: Any) -> set[str]:
    return {flag.name for flag in flags}


def _colour_table(data: Any) -> dict[int, tuple[int, int, int, int]]:
    try:
        table: dict[int, tuple[int, int, int, int]] = data.colormap(1)
    except ValueError:  # it has none
        return {}
    return table


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["an unknown fault"])[0][:200].rstrip(".")
