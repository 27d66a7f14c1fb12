"""Bands wherever they lie, and the masks that say which of their pixels are data or cloud."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes._rasters import Pixels, Raster, Slices

# Whether a pixel lacks data where all bands are nodata, or where any is. 0 may be a dark pixel's
# value in one band; -9999 and NaN are nobody's, and a product may say that 0 never is.
Rule = Literal["all", "any"]


@dataclass(frozen=True)
class Layer:
    """One band.

    Args:
        pixels: what it is read from.
        index: its number there, from 0.
        dtype: of its values.
        nodata: the value of places without data; None where there is none.
    """

    pixels: Pixels
    index: int
    dtype: np.dtype[np.generic]
    nodata: float | None

    def lacks(self, values: Array) -> Array:
        """Where its values are no data; NaN and infinity never are."""
        if values.dtype.kind == "f":
            return ~np.isfinite(values) | equals(values, self.nodata)
        return equals(values, self.nodata)


@dataclass(frozen=True)
class Mask:
    """A mask that comes with a scene: its own, an alpha band, or a product's quality band.

    Args:
        read: from slices to `(rows, columns)` bool.
    """

    read: Callable[[Slices], Array]

    @classmethod
    def of_bands(
        cls, pixels: Pixels, indices: Sequence[int], rule: Callable[[Array], Array]
    ) -> "Mask":
        """By a rule from `(bands, rows, columns)` to `(rows, columns)` bool."""

        def read(slices: Slices) -> Array:
            return rule(pixels.read(indices, slices))

        return cls(read)

    @classmethod
    def of_file(cls, raster: Raster) -> "Mask":
        """A raster's own mask."""
        return cls(raster.mask)


def read(layers: Sequence[Layer], slices: Slices, *, nearest: bool = False) -> Array:
    """`(bands, rows, columns)` of some layers; those of one file are read at once.

    Args:
        layers: the bands.
        slices: of rows and columns.
        nearest: bands that are brought to the grid by their nearest pixels, which is faster.
    """

    def one(pixels: Pixels, indices: Sequence[int]) -> Array:
        return pixels.nearest(indices, slices) if nearest else pixels.read(indices, slices)

    first = layers[0].pixels
    if all(layer.pixels is first for layer in layers):
        return one(first, [layer.index for layer in layers])
    dtype = np.result_type(*(layer.dtype for layer in layers))
    return np.stack([one(layer.pixels, [layer.index])[0] for layer in layers], dtype=dtype)


def has_data(layers: Sequence[Layer], values: Array, rule: Rule) -> Array:
    """`(rows, columns)` bool of `(bands, rows, columns)` values, True where there are data."""
    lacking = [layer.lacks(band) for layer, band in zip(layers, values, strict=True)]
    lacks = np.logical_or if rule == "any" else np.logical_and
    found: Array = ~lacks.reduce(lacking)
    if rule == "all" and values.dtype.kind == "f":
        found &= np.isfinite(values).all(axis=0)
    return found


def equals(values: Array, nodata: float | None) -> Array:
    """Where values are a file's nodata, compared as their own kind; nowhere if it has none."""
    if nodata is None or np.isnan(nodata):
        return np.zeros(values.shape, bool)
    if values.dtype.kind == "f":
        # A float32 never equals -3.4028234663852886e+38.
        with np.errstate(over="ignore"):
            same: Array = values == values.dtype.type(nodata)
        return same
    if not float(nodata).is_integer():  # nor is an infinite one
        return np.zeros(values.shape, bool)
    return np.equal(values, int(nodata))


def rule_of(layers: Sequence[Layer]) -> Rule:
    """The rule for a file whose product doesn't tell."""
    declared = [layer.nodata for layer in layers if layer.nodata is not None]
    impossible = [np.isnan(nodata) or nodata < 0 for nodata in declared]
    return "any" if declared and all(impossible) else "all"
