"""Large rasters read by windows: orthomosaics, with or without a place on the map.

Bands by name and reflectance are `fieldsight.datasets.scenes`'; here a raster is a picture.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from fieldsight.datasets import _deep_colours, _raster_pictures
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes._rasters import Raster

Slices = tuple[slice, slice]


class Mosaic:
    """A raster as pictures have it: one channel or three. A source of `core.windows`.

    Colours of 16 bits that fill them are as they are. Those that leave the upper ones empty, such
    as reflectance times 10,000, and those in floating point, such as parts of 1, are scaled to 16
    bits, by one factor for all windows.

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
        self._raster = Raster(self.path)
        self._layout = _raster_pictures.layout(self._raster)
        self.grid: Grid = self._raster.grid
        self.shape = (self.grid.rows, self.grid.columns, self._layout.channels)
        self.dtype = self._layout.dtype
        self.masked = self._layout.masked

    def read(self, slices: Slices) -> Array:
        """`(rows, columns, channels)`, from any thread; places without data are 0.

        Raises:
            DataError: if the file is damaged there.
        """
        return self.read_valid(slices)[0]

    def valid(self, slices: Slices) -> Array:
        """`(rows, columns)` bool, True where there are data (alpha, nodata, mask).

        Raises:
            DataError: if the file is damaged there.
        """
        return _raster_pictures.read_valid(self._raster, self._layout, slices)

    def read_valid(self, slices: Slices) -> tuple[Array, Array]:
        """Both at once, which reads nothing twice."""
        image, valid = _raster_pictures.read(self._raster, self._layout, slices)
        return image, np.ones(image.shape[:2], bool) if valid is None else valid

    def brightened(self) -> str:
        """What is to be told of colours that were brightened; "" if they weren't.

        Raises:
            DataError: if the file is damaged.
        """
        return _deep_colours.said(_raster_pictures.white_of(self._raster, self._layout))

    def some(self, *, count: int = 8, side: int = 512) -> Iterator[Array]:
        """Yield windows in even steps over the raster, where it has data: to scale it by.

        Args:
            count: of windows at most.
            side: of a window, in pixels.
        """
        rows, columns, _ = self.shape
        across = min(count, max(1, round((count * columns / max(rows, 1)) ** 0.5)))
        down = max(1, count // across)
        for place in range(down * across):
            row, column = divmod(place, across)
            top = max(0, round((rows - side) * (row + 0.5) / down))
            left = max(0, round((columns - side) * (column + 0.5) / across))
            image, valid = self.read_valid((slice(top, top + side), slice(left, left + side)))
            if valid.mean() > 0.5:
                yield image

    def close(self) -> None:
        """Close its files."""
        self._raster.close()

    def __enter__(self) -> "Mosaic":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
