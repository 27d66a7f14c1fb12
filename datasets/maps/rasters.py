"""Rasters that grow row by row and can be taken up again, and the COGs that are made of them.

A COG can't be written piece by piece: opened for writing, GDAL's driver holds it whole in memory.
So pieces go to a tiled GeoTIFF without compression. Its tiles have their places from the
beginning, so a process that is killed leaves it readable: what core.windows noted as written is
there, the rest is written anew. The COG is copied from it at the end, beside its place, and
renamed.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid, Slices

Array = NDArray[Any]
Colour = tuple[int, int, int]

NODATA_CLASS = 0
NODATA_SHARE = 255
STEPS = 200  # a probability of 1 as it is stored, so that half a per cent is a step
TILE = 512
CACHE_BYTES = 128 * 2**20  # else GDAL keeps a twentieth of the machine's memory


class Raster:
    """A tiled GeoTIFF that pieces are written to and blocks are read from, bands last.

    Args:
        path: of the file, which must be there: `Raster.create` makes it.
        mode: "r" to read alone, "r+" to write too.

    Raises:
        DataError: if it can't be opened.
    """

    def __init__(self, path: Path, mode: Literal["r", "r+"] = "r") -> None:
        self.path, self.mode = Path(path), mode
        self._file = self._open()
        self.grid = Grid(self._file.crs, self._file.transform, self._file.height, self._file.width)
        self.shape = (self._file.height, self._file.width, self._file.count)
        self.dtype = np.dtype(self._file.dtypes[0])

    @classmethod
    def create(
        cls,
        path: Path,
        grid: Grid,
        names: Sequence[str],
        *,
        dtype: str = "uint8",
        nodata: float | None = None,
        scale: float | None = None,
        colours: Mapping[int, Colour] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Raster:
        """Lay out a file on a grid, all zeros, whole from the first moment.

        Args:
            path: of the file; one that is there is replaced.
            grid: of the scene, kept to the last digit.
            names: of the bands.
            dtype: of all of them.
            nodata: the value of pixels without data.
            scale: what a stored value is to be multiplied by.
            colours: red, green and blue by value, for a file of one band.
            tags: of the file.

        Raises:
            DataError: if it can't be written.
        """
        profile = {
            "driver": "GTiff", "height": grid.rows, "width": grid.columns, "count": len(names),
            "dtype": dtype, "crs": grid.crs, "transform": grid.transform, "tiled": True,
            "blockxsize": TILE, "blockysize": TILE, "interleave": "pixel", "BIGTIFF": "YES",
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Closed at once: that gives every tile its place. What is said of the file comes in a
            # second go, for with a nodata value the tiles would be filled with it, byte by byte.
            # From then on the directory never changes.
            with rasterio.open(path, "w", **profile):
                pass
            with rasterio.open(path, "r+") as raster:
                raster.descriptions = tuple(names)
                raster.update_tags(**(tags or {}))
                if nodata is not None:
                    raster.nodata = nodata
                if scale is not None:
                    raster.scales = (scale,) * len(names)
                if colours:
                    table = {value: (*rgb, 255) for value, rgb in colours.items()}
                    raster.write_colormap(1, table)
        except (RasterioError, OSError) as error:
            raise _not_written(path, error) from error
        return cls(path, "r+")

    def _open(self) -> Any:
        try:
            return rasterio.open(self.path, self.mode)
        except (RasterioError, OSError) as error:
            raise DataError(
                f"{self.path}: a GeoTIFF that can be opened was needed. Received: {error}. "
                "Delete it, and run again."
            ) from error

    def write(self, slices: tuple[slice, ...], piece: Array) -> None:
        """Write `(rows, columns, bands)`, of the file's dtype, at rows and columns."""
        try:
            self._file.write(np.moveaxis(piece, -1, 0), window=_window(slices))
        except (RasterioError, OSError) as error:
            raise _not_written(self.path, error) from error

    def read(self, slices: tuple[slice, ...]) -> Array:
        """`(rows, columns, bands)` at rows and columns."""
        found: Array = np.moveaxis(self._file.read(window=_window(slices)), 0, -1)
        return found

    def flush(self) -> None:
        """Bring what was written to the disk: what comes after a crash finds it."""
        try:
            self._file.close()
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
        except (RasterioError, OSError) as error:
            raise _not_written(self.path, error) from error
        self._file = self._open()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(RasterioError):
            self._file.close()

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Probabilities:
    """The sink of a mapper's answers, and their reader: `STEPS` steps a probability, 255 nodata.

    What is given is written by a thread, while the model runs on; `flush` waits for it.

    Args:
        raster: of uint8, a band a class.
        logits: whether logits are given, and not probabilities.
    """

    def __init__(self, raster: Raster, *, logits: bool = False) -> None:
        self.raster, self.grid, self.shape = raster, raster.grid, raster.shape
        self.logits = logits
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="raster")
        self._waiting: deque[Future[None]] = deque()

    def write(self, slices: tuple[slice, ...], piece: Array) -> None:
        """Write `(rows, columns, classes)` float32, NaN where there are no data.

        The array is the sink's from then on, and may not be changed.

        Raises:
            DataError: if an earlier piece couldn't be written.
        """
        self._wait(leave=1)
        self._waiting.append(self._pool.submit(self._write, slices, piece))

    def flush(self) -> None:
        """Bring what was written to the disk.

        Raises:
            DataError: if it can't be written.
        """
        self._wait()
        self.raster.flush()

    def close(self) -> None:
        """Let the thread end; what it has not written yet is left."""
        self._pool.shutdown(cancel_futures=True)

    def read(self, slices: tuple[slice, ...]) -> Array:
        """`(rows, columns, classes)` float32 from 0 to 1, NaN where there are no data."""
        self._wait()
        steps = self.raster.read(slices)
        found: Array = steps.astype(np.float32) / np.float32(STEPS)
        found[steps[..., 0] == NODATA_SHARE] = np.nan
        return found

    def _wait(self, leave: int = 0) -> None:
        while len(self._waiting) > leave:
            self._waiting.popleft().result()

    def _write(self, slices: tuple[slice, ...], piece: Array) -> None:
        planes = np.array(np.moveaxis(piece, -1, 0), np.float32, order="C")
        lost = np.isnan(planes[0])
        if self.logits:
            softmax(planes)
        planes *= np.float32(STEPS)
        planes += np.float32(0.5)
        with np.errstate(invalid="ignore"):
            steps = planes.astype(np.uint8)
        if lost.any():
            steps[:, lost] = NODATA_SHARE
        self.raster.write(slices, np.moveaxis(steps, 0, -1))


def softmax(planes: Array) -> None:
    """Make logits `(classes, rows, columns)` float32 probabilities, in place.

    Plane by plane: along a short last axis NumPy and TensorFlow take several times as long.
    """
    largest = planes[0].copy()
    for plane in planes[1:]:
        np.maximum(largest, plane, out=largest)
    planes -= largest
    np.exp(planes, out=planes)
    total = planes[0].copy()
    for plane in planes[1:]:
        total += plane
    planes /= total


def classes_of(steps: Array) -> Array:
    """The likeliest class of each pixel, from probabilities as they are stored.

    Args:
        steps: `(rows, columns, classes)` uint8.

    Returns:
        `(rows, columns)` uint8: 1 + the class's channel; 0 where there are no data.
    """
    found: Array = (steps.argmax(axis=-1) + 1).astype(np.uint8)
    found[steps[..., 0] == NODATA_SHARE] = NODATA_CLASS
    return found


def row_blocks(grid: Grid, rows: int | None = None) -> Iterator[Slices]:
    """Yield bands of whole rows from top to bottom, each of some 2 million pixels at most."""
    rows = rows or max(1, 2**21 // grid.columns)
    for top in range(0, grid.rows, rows):
        yield slice(top, min(top + rows, grid.rows)), slice(0, grid.columns)


def write_cog(
    source: Path, path: Path, *, overviews: Literal["nearest", "mode", "average"] = "average"
) -> None:
    """Copy a raster into a cloud-optimised GeoTIFF: tiles, overviews, compressed.

    CRS, transform, nodata, names, colours and tags are the source's.

    Args:
        source: a GeoTIFF that is whole.
        path: of the COG; one that is there is replaced once the new one is whole.
        overviews: how they are resampled.

    Raises:
        DataError: if it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    options = {
        "COMPRESS": "DEFLATE", "BLOCKSIZE": str(TILE), "BIGTIFF": "IF_SAFER",
        "OVERVIEW_RESAMPLING": overviews.upper(), "NUM_THREADS": "ALL_CPUS",
    }  # fmt: skip
    try:
        with bounded():
            rasterio.shutil.copy(source, beside, driver="COG", **options)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except (RasterioError, OSError) as error:
        raise _not_written(path, error) from error
    finally:
        for left in path.parent.glob(f"{beside.name}*"):
            left.unlink(missing_ok=True)


def bounded() -> Any:
    """A context in which GDAL keeps no more blocks in memory than `CACHE_BYTES`, or as asked for.

    What the environment's GDAL_CACHEMAX says comes first, as GDAL's users expect.
    """
    asked = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": CACHE_BYTES}
    return rasterio.Env(**asked)


def needed_bytes(grid: Grid, classes: int) -> int:
    """Bytes of disk that a map of so many classes takes while it is made, at most.

    Probabilities and classes without compression, then both again as COGs with their overviews
    (a third more), which compress to less.
    """
    pixels = grid.rows * grid.columns
    once = pixels * (classes + 1)
    return int(once * (1 + 4 / 3) + 8 * 2**20)


def _window(slices: tuple[slice, ...]) -> Window:
    rows, columns = slices
    return Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)


def _not_written(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
    return DataError(
        f"{path} can't be written ({reason}). What was there before is unchanged. Free some "
        "space, or choose another folder."
    )
