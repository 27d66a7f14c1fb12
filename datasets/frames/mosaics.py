"""Large rasters read by windows: orthomosaics, with or without a place on the map."""

from pathlib import Path
from types import TracebackType

import numpy as np

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
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    grid: Grid

    def read(self, slices: Slices) -> Array:
        """`(rows, columns, channels)`, from any thread; places without data are 0."""
        raise NotImplementedError

    def valid(self, slices: Slices) -> Array:
        """`(rows, columns)` bool, True where there are data (alpha, nodata, mask)."""
        raise NotImplementedError

    def close(self) -> None:
        """Close its files."""

    def __enter__(self) -> "Mosaic":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
