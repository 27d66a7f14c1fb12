"""Large rasters read by windows: orthomosaics, with or without a place on the map.

Bands by name and reflectance are `fieldsight.datasets.scenes`'; here a raster is a picture.
"""

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import rasterio

from fieldsight.datasets import _rasters
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array

Slices = tuple[slice, slice]


class Mosaic:
    """A raster as pictures have it: one channel or three. A source of `core.windows`.

    Attributes:
        path: the file.
        shape: rows, columns, channels (1 or 3).
        dtype: uint8 or uint16.
        grid: where its pixels lie; `grid.is_georeferenced` tells whether that is known.
        masked: whether places may be without data.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a raster; nothing but its header is read.

        Raises:
            DataError: if it can't be read, or isn't a picture.
        """
        self.path = Path(path)
        self._local = threading.local()
        self._opened: list[Any] = []
        self._lock = threading.Lock()
        dataset = self._dataset()
        self._layout = _rasters.layout(dataset, self.path)
        self.shape = (dataset.height, dataset.width, self._layout.channels)
        self.dtype = self._layout.dtype
        self.masked = self._layout.masked
        self.grid = Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)

    def read(self, slices: Slices) -> Array:
        """`(rows, columns, channels)`, from any thread; places without data are 0.

        Raises:
            DataError: if the file is damaged there.
        """
        return _rasters.read(self._dataset(), self._layout, slices, self.path)

    def valid(self, slices: Slices) -> Array:
        """`(rows, columns)` bool, True where there are data (alpha, nodata, mask).

        Raises:
            DataError: if the file is damaged there.
        """
        return _rasters.read_valid(self._dataset(), self._layout, slices, self.path)

    def read_valid(self, slices: Slices) -> tuple[Array, Array]:
        """Both."""
        return self.read(slices), self.valid(slices)

    def close(self) -> None:
        """Close its files."""
        with self._lock:
            for dataset in self._opened:
                dataset.close()
            self._opened.clear()
            self._local = threading.local()

    def __enter__(self) -> "Mosaic":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _dataset(self) -> Any:
        """The file as this thread opened it: GDAL's are not to be shared."""
        dataset = getattr(self._local, "dataset", None)
        if dataset is None:
            try:
                dataset = rasterio.open(self.path)
            except rasterio.errors.RasterioError as error:
                raise DataError(
                    f"{self.path}: a raster was needed. Received: "
                    f"{' '.join(str(error).split())[:200]}. Copy or export it again."
                ) from error
            self._local.dataset = dataset
            with self._lock:
                self._opened.append(dataset)
        return dataset
