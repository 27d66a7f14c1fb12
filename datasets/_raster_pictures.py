"""Rasters of any number of bands and bits as pictures of one channel or three."""

import functools
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets import _deep_colours
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes._layers import equals
from fieldsight.datasets.scenes._rasters import Raster, spans

Slices = tuple[slice, slice]
COLOURS = ("red", "green", "blue")
_KELVIN = 273.15
_SURELY_KELVIN = 150.0  # no ground is as hot in degrees Celsius
_SAMPLES, _SAMPLE_PX = 6, 128  # windows along a side, and their side, that tell a file's white


@dataclass(frozen=True, eq=False)
class Layout:
    """Which bands of a raster are the picture.

    Args:
        bands: their numbers from 0: one, or red, green, blue.
        dtype: uint8 or uint16, of the picture.
        palette: `(256, 3)` uint8 colours of a raster of one band with a palette; else None.
        nodata: the value of places without data in each of the bands; None if there is none.
        mask: whether the file has a mask or alpha.
    """

    bands: tuple[int, ...]
    dtype: np.dtype[Any]
    palette: Array | None
    nodata: Array | None
    mask: bool

    @property
    def channels(self) -> int:
        """One or three."""
        return 1 if len(self.bands) == 1 and self.palette is None else 3

    @property
    def masked(self) -> bool:
        """Whether places may be without data."""
        return self.mask or self.nodata is not None


def layout(raster: Raster) -> Layout:
    """How a raster is a picture.

    A floating-point band is temperatures, in degrees Celsius or, where they are mostly above 150,
    kelvin: they become hundredths of a kelvin, as thermal cameras write them. So do three that are
    alike. Colours of more than 8 bits, or in floating point, fill 16 (`_deep_colours`).

    Raises:
        DataError: if it has bands of complex or of too many bits, or it isn't told which of its
            bands are red, green and blue.
    """
    others = [band for band, colour in enumerate(raster.colours) if colour != "alpha"]
    if all(colour in raster.colours for colour in COLOURS):
        bands = tuple(raster.colours.index(colour) for colour in COLOURS)
    elif len(others) in (1, 2):
        bands = tuple(others[:1])
    elif len(others) in (3, 4):
        bands = tuple(others[:3])
    else:
        raise DataError(
            f"{raster.path}: one band, or red, green and blue were needed. Received: "
            f"{raster.count} bands without a colour each. Export three of them as red, green and "
            "blue."
        )
    kind = raster.dtypes[bands[0]]
    if kind.kind not in "uif" or (kind.kind in "ui" and kind.itemsize > 4):
        raise DataError(
            f"{raster.path}: whole numbers of 8 or 16 bits, or temperatures, were needed. "
            f"Received: {kind.name}. Export it in one of them."
        )
    nodata = [raster.nodata[band] for band in bands]
    return Layout(
        bands,
        np.dtype(np.uint8 if kind == np.uint8 else np.uint16),
        _palette(raster) if len(bands) == 1 and raster.colours[bands[0]] == "palette" else None,
        None if None in nodata else np.array(nodata, np.float64),
        raster.has_mask or "alpha" in raster.colours,
    )


def _palette(raster: Raster) -> Array:
    colours = np.zeros((256, 3), np.uint8)
    for index, colour in raster.colour_table.items():
        if index < 256:
            colours[index] = colour[:3]
    return colours


def read(raster: Raster, chosen: Layout, slices: Slices) -> tuple[Array, Array | None]:
    """`(rows, columns, channels)` of a raster's window, and where it has data.

    Returns:
        The picture, 0 where there are no data; and `(rows, columns)` bool, None where all of the
        raster has.

    Raises:
        DataError: if the file is damaged there, or its numbers need more than 16 bits.
    """
    bands = np.moveaxis(raster.read(chosen.bands, slices), 0, -1)
    valid = _valid(raster, chosen, bands, slices)
    if chosen.palette is not None:
        image = chosen.palette[bands[..., 0].astype(np.uint8)]
    else:
        white = white_of(raster, chosen)
        image = _whole_numbers(bands, valid, raster, white).astype(chosen.dtype, copy=False)
    if valid is not None and not valid.all():
        image = np.where(valid[..., None], image, np.zeros((), image.dtype))
    return _interleaved(image), valid


def _interleaved(image: Array) -> Array:
    """The picture in memory as pictures lie, channel by channel: a third of NumPy's time."""
    if image.flags.c_contiguous:
        return image
    found = np.empty(image.shape, image.dtype)
    for channel in range(image.shape[-1]):
        found[..., channel] = image[..., channel]
    return found


def read_valid(raster: Raster, chosen: Layout, slices: Slices) -> Array:
    """`(rows, columns)` bool of a raster's window, True where there are data.

    Raises:
        DataError: if the file is damaged there.
    """
    if chosen.nodata is None:
        rows, columns = spans(slices, raster.grid.rows, raster.grid.columns)
        return raster.mask(slices) if chosen.mask else np.ones((len(rows), len(columns)), bool)
    bands = np.moveaxis(raster.read(chosen.bands, slices), 0, -1)
    valid: Array | None = _valid(raster, chosen, bands, slices)
    return np.ones(bands.shape[:2], bool) if valid is None else valid


def _valid(raster: Raster, chosen: Layout, bands: Array, slices: Slices) -> Array | None:
    if not chosen.masked:
        return None
    valid: Array = ~_empty(chosen.nodata, bands)
    return valid & raster.mask(slices) if chosen.mask else valid


def _empty(nodata: Array | None, bands: Array) -> Array:
    """`(rows, columns)` bool, True where all bands have their nodata value."""
    if nodata is None:
        return np.zeros(bands.shape[:2], bool)
    nan = bool(np.isnan(nodata).any())
    empty = np.ones(bands.shape[:2], bool)  # black in one band alone is no hole
    for band, value in enumerate(nodata):
        values = bands[..., band]
        empty &= np.isnan(values) if nan else equals(values, value)
        if not empty.any():
            break  # as nearly everywhere
    return empty


def white_of(raster: Raster, chosen: Layout) -> float | None:
    """The value of a raster's deep colours that is white; None if it has none.

    Raises:
        DataError: if the file is damaged.
    """
    if len(chosen.bands) != len(COLOURS) or chosen.dtype == np.uint8:
        return None
    return _white_of_file(raster.path, raster.path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1024)  # a training reads many windows of each file
def _white_of_file(path: Path, _changed: int) -> float | None:
    with closing(Raster(path)) as raster:
        return _deep_colours.white_of(_sample(raster, layout(raster)))


def _sample(raster: Raster, chosen: Layout) -> Array:
    """`(n, bands)` values of windows in even steps over the raster, where it has data."""
    parts = []
    rows, columns = (_steps(side) for side in (raster.grid.rows, raster.grid.columns))
    for slices in ((down, across) for down in rows for across in columns):
        bands = np.moveaxis(raster.read(chosen.bands, slices), 0, -1)
        valid = _valid(raster, chosen, bands, slices)
        parts.append(bands.reshape(-1, bands.shape[-1]) if valid is None else bands[valid])
    return np.concatenate(parts)


def _steps(side: int) -> list[slice]:
    if side <= _SAMPLES * _SAMPLE_PX:
        return [slice(0, side)]
    starts = np.linspace(0, side - _SAMPLE_PX, _SAMPLES).round().astype(int).tolist()
    return [slice(start, start + _SAMPLE_PX) for start in starts]


def _whole_numbers(image: Array, valid: Array | None, raster: Raster, white: float | None) -> Array:
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16 or (image.dtype.kind == "f" and white is not None):
        return image if white is None else _deep_colours.filled(image, white)
    if image.dtype.kind == "f":
        return hundredths_of_kelvin(image, valid)
    inside = image if valid is None else image[valid]
    if inside.size and (inside.min() < 0 or inside.max() > 65535):
        raise DataError(
            f"{raster.path}: numbers from 0 to 65,535 were needed. Received: {inside.min()} to "
            f"{inside.max()}. Export it in 8 or 16 bits, or as temperatures in floating point."
        )
    image = np.clip(image, 0, 65535)
    return image if white is None else _deep_colours.filled(image, white)


def hundredths_of_kelvin(values: Array, valid: Array | None = None) -> Array:
    """uint16 of temperatures in degrees Celsius, or in kelvin where most are above 150.

    Args:
        values: `(rows, columns, ...)` floating point.
        valid: `(rows, columns)` bool, where they are any.

    Example:
        >>> hundredths_of_kelvin(np.array([[20.0, 36.5]])).tolist()
        [[29315, 30965]]
    """
    finite = np.isfinite(values)
    inside = values[finite] if valid is None else values[valid][finite[valid]]
    kelvin = bool(inside.size) and float(np.median(inside)) > _SURELY_KELVIN
    offset = 0.0 if kelvin else _KELVIN
    above_zero = np.where(finite, values, -offset).astype(np.float64) + offset
    return np.clip(np.rint(above_zero * 100), 0, 65535).astype(np.uint16)
