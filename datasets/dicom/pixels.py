"""Stored values to Hounsfield units, plane by plane, side by side.

Native pixels are read straight into the volume's own memory and converted there. All else goes
through pydicom and the decoders it finds: python-gdcm, pyjpegls, pylibjpeg-openjpeg.
"""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pydicom
from pydicom.pixels.utils import pixel_array

from fieldsight.datasets.dicom.headers import BIG_ENDIAN, DAMAGE, DEFLATED, NATIVE, Image
from fieldsight.datasets.sample import Array

AIR = -1000  # Hounsfield units
LOWEST = -1500  # Hounsfield units: no body and no noise is below, only what a scanner pads with
TISSUE = -900  # Hounsfield units: a padding value from here on also occurs within the body
LARGEST_SIDE = 8192  # voxels of a row or column: beyond, the header is wrong

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Range:
    low: int
    high: int


def side_by_side(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Do it for each in threads; results in the order of the items."""
    with ThreadPoolExecutor(min(8, max(2, os.cpu_count() or 2))) as threads:
        return list(threads.map(work, items))


def read(
    images: Sequence[Image], places: Sequence[int], planes: int
) -> tuple[Array, dict[int, str]]:
    """Hounsfield units of images, each put at its place.

    int16 where every slope and intercept is whole and the values fit, else float32. Padding, and
    what lies below any tissue, is air.

    Args:
        images: of one size, in grey, with slope and intercept.
        places: the plane of each.
        planes: of the volume; those that no image is put to stay zero.

    Returns:
        `(planes, rows, columns)`, and why an image couldn't be read, by its index.

    Raises:
        MemoryError: if the volume doesn't fit.
    """
    header = images[0].header
    shape = (planes, header.rows, header.columns)
    if all(image.header.bits_allocated == 16 for image in images):
        volume = np.zeros(shape, np.uint16)
    else:
        volume = np.zeros(shape, np.uint32)

    def load(index: int) -> _Range | str:
        try:
            return _load(images[index], volume[places[index]])
        except MemoryError:
            return "it needs more memory than there is"
        except DAMAGE as error:
            return " ".join(str(error).split())[:200] or type(error).__name__

    ranges = side_by_side(load, range(len(images)))
    failures = {index: found for index, found in enumerate(ranges) if isinstance(found, str)}
    good = [index for index in range(len(images)) if index not in failures]
    whole = all(
        isinstance(found, str) or _fits(image, found)
        for image, found in zip(images, ranges, strict=True)
    )
    if whole and volume.dtype == np.uint16:
        out: Array = volume.view(np.int16)
    else:
        out = np.zeros(shape, np.int16 if whole else np.float32)

    def convert(index: int) -> None:
        stored, target = volume[places[index]], out[places[index]]
        found = ranges[index]
        if isinstance(found, _Range):
            _convert(images[index], stored, target, found)

    side_by_side(convert, good)
    for index in failures:
        out[places[index]] = 0
    return out, failures


def _signed(image: Image, stored: Array) -> Array:
    return stored.view(stored.dtype.str.replace("u", "i")) if image.header.signed else stored


def _load(image: Image, target: Array) -> _Range:
    """Put an image's stored values, cleared of other bits, into its plane."""
    header = image.header
    if header.pixel_bytes is None:
        raise ValueError("it has no pixel data")
    if header.pixel_offset is not None and header.bits_allocated == 16:
        _read_native(image, target)
    else:
        target[:] = _decoded(image).astype(target.dtype, casting="unsafe")
    return _cleared(image, _signed(image, target))


def _read_native(image: Image, target: Array) -> None:
    header = image.header
    wanted = header.plane_bytes
    start = wanted * ((image.frame or 1) - 1)
    have = (header.pixel_bytes or 0) - start
    if have < wanted:
        raise ValueError(
            f"it is truncated: {max(0, have):,} of {wanted:,} bytes of pixels are there"
        )
    view = target.reshape(-1).view(np.uint8).data
    with header.source.open() as file:
        file.seek((header.pixel_offset or 0) + start)
        done = 0
        while done < wanted:
            got = file.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                raise ValueError(
                    f"it is truncated: {done:,} of {wanted:,} bytes of pixels are there"
                )
            done += got
    if (header.syntax == BIG_ENDIAN) != (sys.byteorder == "big"):
        target.byteswap(inplace=True)


def _decoded(image: Image) -> Array:
    """Stored values `(rows, columns)` of pixels that aren't native."""
    header = image.header
    with header.source.open() as file:
        data: Any = file
        if header.syntax == DEFLATED or header.syntax in NATIVE:
            data = pydicom.dcmread(file, force=True)
        index = None if image.frame is None else image.frame - 1
        values: Array = pixel_array(data, index=index, raw=True)
    if values.shape != (header.rows, header.columns):
        raise ValueError(f"its pixels have the shape {values.shape}")
    return values


def _cleared(image: Image, values: Array) -> _Range:
    """Clear bits beyond those stored (overlays of old), in place; the range that is left."""
    header = image.header
    bits = values.dtype.itemsize * 8
    stored, unused = header.bits_stored, header.high_bit - header.bits_stored + 1
    low, high = int(values.min()), int(values.max())
    if header.signed:
        limits = -(1 << (stored - 1)), (1 << (stored - 1)) - 1
    else:
        limits = 0, (1 << stored) - 1
    if unused or low < limits[0] or high > limits[1]:
        left = bits - stored - unused
        if left >= 0 and stored <= bits:
            values <<= left
            values >>= bits - stored
            low, high = int(values.min()), int(values.max())
    return _Range(low, high)


def _rescale(image: Image) -> tuple[float, float]:
    slope = 1.0 if image.slope is None else image.slope
    return slope, 0.0 if image.intercept is None else image.intercept


def _fits(image: Image, found: _Range) -> bool:
    """Whether the values are whole and fit into int16; padding, which becomes air, needn't."""
    slope, intercept = _rescale(image)
    if slope != int(slope) or intercept != int(intercept):
        return False
    low, high = found.low, found.high
    padding = image.header.padding
    if padding is not None and padding[0] <= low <= padding[1]:
        low = max(low, min(high, padding[1] + 1))
    if padding is not None and padding[0] <= high <= padding[1]:
        high = min(high, max(low, padding[0] - 1))
    ends = sorted((slope * low + intercept, slope * high + intercept))
    return ends[0] >= -32768 and ends[1] <= 32767


def _convert(image: Image, stored: Array, target: Array, found: _Range) -> None:
    slope, intercept = _rescale(image)
    values = _signed(image, stored)
    padded = _padded(image, values, found)
    if target.dtype == np.int16 and stored.dtype == np.uint16:
        # In place: target and stored are one memory. Wrapping at 16 bits is right where the
        # result fits.
        if slope != 1:
            np.multiply(target, _wrapped(slope), out=target)
        if intercept:
            np.add(target, _wrapped(intercept), out=target)
    else:
        target[:] = values.astype(np.float64) * slope + intercept
    if padded is not None:
        target[padded] = AIR
    ends = slope * found.low + intercept, slope * found.high + intercept
    if min(ends) <= LOWEST:
        target[target <= LOWEST] = AIR


def _wrapped(value: float) -> np.int16:
    return np.int16((int(value) + 32768) % 65536 - 32768)


def _padded(image: Image, values: Array, found: _Range) -> Array | None:
    padding = image.header.padding
    if padding is None or found.high < padding[0] or found.low > padding[1]:
        return None
    padded: Array = (values >= padding[0]) & (values <= padding[1])
    slope, intercept = _rescale(image)
    if max(slope * end + intercept for end in padding) < TISSUE:
        return padded
    # Such a value is tissue too: padding is what of it touches the picture's border.
    from scipy import ndimage

    labels, _ = ndimage.label(padded)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    touching: Array = np.isin(labels, border[border > 0])
    return touching
