"""Rasters of any number of bands and bits as pictures of one channel or three."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array

Slices = tuple[slice, slice]
_COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_KELVIN = 273.15


@dataclass(frozen=True, eq=False)
class Layout:
    """Which bands of a raster are the picture.

    Args:
        bands: their numbers from 1: one, or red, green, blue.
        dtype: uint8 or uint16, of the picture.
        palette: `(256, 3)` uint8 colours of a raster of one band with a palette; else None.
        masked: whether places may be without data.
    """

    bands: tuple[int, ...]
    dtype: np.dtype[Any]
    palette: Array | None
    masked: bool

    @property
    def channels(self) -> int:
        """One or three."""
        return 1 if len(self.bands) == 1 and self.palette is None else 3


def layout(dataset: Any, path: Path) -> Layout:
    """How a raster that rasterio opened is a picture.

    Floating-point bands are temperatures, in degrees Celsius or, where they are all above 150,
    kelvin: they become hundredths of a kelvin, as thermal cameras write them.

    Raises:
        DataError: if it has bands of complex or of too many bits, or it isn't told which of its
            bands are red, green and blue.
    """
    interpretations = list(dataset.colorinterp)
    colours = [number for number, kind in enumerate(interpretations, 1)
               if kind is not ColorInterp.alpha]  # fmt: skip
    if all(kind in interpretations for kind in _COLOURS):
        bands = tuple(interpretations.index(kind) + 1 for kind in _COLOURS)
    elif len(colours) in (1, 2):
        bands = tuple(colours[:1])
    elif len(colours) in (3, 4):
        bands = tuple(colours[:3])
    else:
        raise DataError(
            f"{path}: one band, or red, green and blue were needed. Received: {dataset.count} "
            "bands without a colour each. Export three of them as red, green and blue."
        )
    kind = np.dtype(dataset.dtypes[bands[0] - 1])
    if kind.kind not in "uif" or (kind.kind in "ui" and kind.itemsize > 4):
        raise DataError(
            f"{path}: whole numbers of 8 or 16 bits, or temperatures, were needed. Received: "
            f"{kind.name}. Export it in one of them."
        )
    palette = None
    if len(bands) == 1 and interpretations[bands[0] - 1] is ColorInterp.palette:
        palette = np.zeros((256, 3), np.uint8)
        for index, colour in dataset.colormap(bands[0]).items():
            if index < 256:
                palette[index] = colour[:3]
    every = MaskFlags.all_valid
    return Layout(
        bands,
        np.dtype(np.uint8 if kind == np.uint8 else np.uint16),
        palette,
        any(every not in dataset.mask_flag_enums[band - 1] for band in bands),
    )


def read(dataset: Any, chosen: Layout, slices: Slices | None, path: Path) -> Array:
    """`(rows, columns, channels)` of a raster's window; places without data are 0.

    Raises:
        DataError: if the file is damaged there, or its numbers need more than 16 bits.
    """
    window = _window(dataset, slices)
    try:
        bands = dataset.read(list(chosen.bands), window=window)
        valid = dataset.dataset_mask(window=window) > 0 if chosen.masked else None
    except (rasterio.errors.RasterioError, ValueError, OSError) as error:
        raise DataError(
            f"{path}: is a damaged or truncated raster. Received: {_said(error)}. Copy or export "
            "it again."
        ) from error
    if chosen.palette is not None:
        image = chosen.palette[bands[0].astype(np.uint8)]
    else:
        image = _whole_numbers(np.moveaxis(bands, 0, -1), valid, path).astype(chosen.dtype)
    if valid is not None:
        image = np.where(valid[..., None], image, np.zeros((), image.dtype))
    return np.ascontiguousarray(image)


def read_valid(dataset: Any, chosen: Layout, slices: Slices, path: Path) -> Array:
    """`(rows, columns)` bool of a raster's window, True where there are data."""
    window = _window(dataset, slices)
    if not chosen.masked:
        return np.ones((int(window.height), int(window.width)), bool)
    try:
        valid: Array = dataset.dataset_mask(window=window) > 0
    except (rasterio.errors.RasterioError, ValueError, OSError) as error:
        raise DataError(
            f"{path}: is a damaged or truncated raster. Received: {_said(error)}. Copy or export "
            "it again."
        ) from error
    return valid


def _window(dataset: Any, slices: Slices | None) -> Window:
    if slices is None:
        return Window(0, 0, dataset.width, dataset.height)
    top, bottom, _ = slices[0].indices(dataset.height)
    left, right, _ = slices[1].indices(dataset.width)
    return Window(left, top, max(0, right - left), max(0, bottom - top))


def _whole_numbers(image: Array, valid: Array | None, path: Path) -> Array:
    if image.dtype in (np.uint8, np.uint16):
        return image
    if image.dtype.kind == "f":
        return hundredths_of_kelvin(image, valid)
    inside = image if valid is None else image[valid]
    if inside.size and (inside.min() < 0 or inside.max() > 65535):
        raise DataError(
            f"{path}: numbers from 0 to 65,535 were needed. Received: {inside.min()} to "
            f"{inside.max()}. Export it in 8 or 16 bits, or as temperatures in floating point."
        )
    return np.clip(image, 0, 65535)


def hundredths_of_kelvin(values: Array, valid: Array | None = None) -> Array:
    """uint16 of temperatures in degrees Celsius, or in kelvin where all are above 150.

    Example:
        >>> hundredths_of_kelvin(np.array([[20.0, 36.5]])).tolist()
        [[29315, 30965]]
    """
    finite = np.isfinite(values)
    inside = values[finite if valid is None else finite & valid.reshape(valid.shape + (1,) *
                    (values.ndim - valid.ndim))]  # fmt: skip
    offset = 0.0 if inside.size and float(np.median(inside)) > 150 else _KELVIN
    kelvin = np.where(finite, values, -offset).astype(np.float64) + offset
    return np.clip(np.rint(kelvin * 100), 0, 65535).astype(np.uint16)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
