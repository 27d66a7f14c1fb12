"""A scene: bands by name on one grid, read by windows from any thread."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import numpy as np

from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes.reflectance import Reflectance

Slices = tuple[slice, slice]
Sensor = Literal["planet", "landsat", "sentinel2", ""]


@dataclass(frozen=True, eq=False)
class Scene:
    """Bands on one grid. It is a source of `core.windows`: it has `shape` and `read`.

    Attributes:
        name: its file's or folder's name without the ending.
        bands: names, in the order of the last axis.
        dtype: what `read` gives, as the file holds it.
        grid: where the pixels lie.
        nodata: the value of places without data; None if the file declares none.
        sensor: whose scene it is, as far as it tells.
        date: of acquisition; None if it isn't told.
        simulated: whether it was simulated.
        notes: what is to be known about how it was read, a sentence each.
        reflectance: from digital numbers to reflectance; None where no metadata tell (D-12).
    """

    name: str
    bands: tuple[str, ...]
    dtype: np.dtype[np.generic]
    grid: Grid
    nodata: float | None
    sensor: Sensor
    date: dt.date | None
    simulated: bool
    notes: tuple[str, ...]
    reflectance: Reflectance | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and bands."""
        return self.grid.rows, self.grid.columns, len(self.bands)

    def read(self, slices: Slices) -> Array:
        """`(rows, columns, bands)` as the file holds them, from any thread.

        Raises:
            DataError: if the file is damaged there.
        """
        raise NotImplementedError

    def valid(self, slices: Slices) -> Array:
        """`(rows, columns)` bool, True where there are data (D-4)."""
        raise NotImplementedError

    def read_valid(self, slices: Slices) -> tuple[Array, Array]:
        """Both at once, which reads nothing twice."""
        return self.read(slices), self.valid(slices)

    def clouds(self, slices: Slices) -> Array | None:
        """`(rows, columns)` bool, True under clouds and their shadows by the product's own mask."""
        raise NotImplementedError

    def select(self, bands: Sequence[str]) -> "Scene":
        """The same scene with these bands, in this order.

        Raises:
            DataError: if it has not all of them.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close its files; what was selected from it is closed too."""

    def __enter__(self) -> "Scene":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
