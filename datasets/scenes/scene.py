"""A scene: bands by name on one grid, read by windows from any thread."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes import _layers
from fieldsight.datasets.scenes._layers import Layer, Mask, Rule
from fieldsight.datasets.scenes._rasters import Pixels, Slices, spans
from fieldsight.datasets.scenes.bands import normal
from fieldsight.datasets.scenes.reflectance import Reflectance

Sensor = Literal["planet", "landsat", "sentinel2", ""]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """Bands on one grid. It is a source of `core.windows`: it has `shape` and `read`.

    Attributes:
        name: its file's or folder's name without the ending.
        bands: names, in the order of the last axis.
        grid: where the pixels lie.
        sensor: whose scene it is, as far as it tells.
        date: of acquisition; None if it isn't told.
        simulated: whether it was simulated.
        notes: what is to be known about how it was read, a sentence each.
        reflectance: from digital numbers to reflectance; None where no metadata tell (D-12).
    """

    name: str
    bands: tuple[str, ...]
    grid: Grid
    sensor: Sensor = ""
    date: dt.date | None = None
    simulated: bool = False
    notes: tuple[str, ...] = ()
    reflectance: Reflectance | None = None
    _layers: tuple[Layer, ...] = field(repr=False)
    # The rule "all" looks at every band of the file, whichever were selected.
    _every: tuple[Layer, ...] = field(repr=False)
    _rule: Rule = field(default="all", repr=False)
    _masks: tuple[Mask, ...] = field(default=(), repr=False)  # each True where there are data
    _clouds: Mask | None = field(default=None, repr=False)
    _files: tuple[Pixels, ...] = field(default=(), repr=False)  # of the masks

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and bands."""
        return self.grid.rows, self.grid.columns, len(self.bands)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """What `read` gives: the file's own, or one that holds all bands' own."""
        return np.result_type(*(layer.dtype for layer in self._layers))

    @property
    def nodata(self) -> float | None:
        """The value of places without data, if all bands have the same; `valid` knows them all."""
        first = self._layers[0].nodata
        if first is None:
            return None
        rest = [layer.nodata for layer in self._layers]
        alike = all(
            each is not None and (each == first or np.isnan([each, first]).all()) for each in rest
        )
        return first if alike else None

    def read(self, slices: Slices) -> Array:
        """`(rows, columns, bands)` as the file holds them, from any thread.

        Args:
            slices: of rows and of columns, without a step.

        Raises:
            DataError: if the file is damaged there.
        """
        return np.moveaxis(_layers.read(self._layers, slices), 0, -1)

    def valid(self, slices: Slices) -> Array:
        """`(rows, columns)` bool, True where there are data: by nodata, alpha and masks (D-4).

        Raises:
            DataError: if the file is damaged there.
        """
        return self._valid(slices, None)

    def read_valid(self, slices: Slices) -> tuple[Array, Array]:
        """What `read` and `valid` give, without reading a band twice.

        Raises:
            DataError: if the file is damaged there.
        """
        values = _layers.read(self._layers, slices)
        return np.moveaxis(values, 0, -1), self._valid(slices, values)

    def clouds(self, slices: Slices) -> Array | None:
        """`(rows, columns)` bool, True under clouds and their shadows by the product's own mask.

        Sentinel-2's SCL, Landsat's QA_PIXEL, Planet's UDM2; None where the product has none.

        Raises:
            DataError: if the mask is damaged there.
        """
        return None if self._clouds is None else self._clouds.read(slices)

    @property
    def has_clouds(self) -> bool:
        """Whether the product has a mask of clouds."""
        return self._clouds is not None

    def select(self, bands: Sequence[str]) -> "Scene":
        """The same scene with these bands, in this order.

        Raises:
            DataError: if it has not all of them, or one is asked for twice.
        """
        wanted = [name if name in self.bands else normal(name) for name in bands]
        missing = [name for name in wanted if name not in self.bands]
        if missing or not wanted or len(set(wanted)) < len(wanted):
            raise DataError(
                f"{self.name}: the bands {','.join(wanted)[:200]} were needed, each once. "
                f"Received: a scene of {','.join(self.bands)[:400]}. Name the scene's bands by "
                "--bands, or take a product that has them."
            )
        indices = [self.bands.index(name) for name in wanted]
        reflectance = self.reflectance and self.reflectance.select(indices)
        return replace(
            self,
            bands=tuple(wanted),
            reflectance=reflectance,
            _layers=tuple(self._layers[index] for index in indices),
        )

    def close(self) -> None:
        """Close its files; what was selected from it is closed too."""
        for pixels in (*(layer.pixels for layer in self._every), *self._files):
            pixels.close()

    def _valid(self, slices: Slices, values: Array | None) -> Array:
        checked = self._layers if self._rule == "any" else self._every
        rows, columns = spans(slices, self.grid.rows, self.grid.columns)
        valid = np.ones((len(rows), len(columns)), bool)
        if any(layer.nodata is not None or layer.dtype.kind == "f" for layer in checked):
            if values is None or checked is not self._layers:
                values = _layers.read(checked, slices, nearest=True)
            valid = _layers.has_data(checked, values, self._rule)
        for mask in self._masks:
            valid = valid & mask.read(slices)
        return valid

    def __enter__(self) -> "Scene":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
