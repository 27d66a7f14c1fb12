"""How far a picture moved because the camera did, from two frames alone."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[Any]
Floats = NDArray[np.float64]

LONGEST = 192  # places of the longer side that the comparison is made on
BLUR = 1.0  # places: the peak's width, which leaves noise of single pixels out
PEAKS = 4  # shifts that are tried
LARGEST = 0.5  # of a side: two frames that share less aren't compared
CLEAR = 12.0  # deviations of the rest: peaks of noise alone have 4 to 10, those of ground 30 to 250


def frame_shift(previous: Array, current: Array) -> tuple[float, float]:
    """How far what is seen moved from one frame to the next, by phase correlation.

    The phases of both spectra differ by the shift alone, so that their product's transform has
    its peak there, whatever contrast and brightness do. Both are reduced to 192 places first. A
    sensor's own pattern doesn't move with the ground and has a peak of its own at rest: of the
    highest peaks, and of no motion, the one that makes the two most alike is taken, if its peak
    is clearly higher than the rest: ground that shows nothing tells nothing, and then what moves
    on it together is all there is. Turns and zooms aren't seen.

    Reference:
        Kuglin and Hines, The phase correlation image alignment method, Proceedings of the IEEE
        Conference on Cybernetics and Society, 1975. Differs in a Gaussian on the spectrum, which
        makes of the peak a Gaussian, of which three places tell the middle.

    Args:
        previous: `(rows, columns, channels)` or `(rows, columns)` of any dtype.
        current: of the same shape.

    Returns:
        Pixels to the right and down; 0, 0 where nothing tells (a picture of one value, noise).

    Raises:
        ValueError: if the shapes differ, or one isn't a picture.

    Example:
        >>> ground = np.random.default_rng(0).random((80, 96))
        >>> dx, dy = frame_shift(ground[8:72, 8:88], ground[11:75, 4:84])
        >>> round(dx), round(dy)
        (4, -3)
    """
    if previous.shape != current.shape:
        raise ValueError(
            f"two frames of one shape are needed. Received: {previous.shape} and {current.shape}."
        )
    camera = CameraMotion()
    camera(previous)
    return camera(current)


class CameraMotion:
    """`frame_shift` of each frame to the one before, which is remembered."""

    def __init__(self) -> None:
        """Before the first frame."""
        self._last: tuple[tuple[int, ...], Floats, Array] | None = None

    def __call__(self, image: Array) -> tuple[float, float]:
        """Pixels that what is seen moved since the last frame; 0, 0 for a first or resized one.

        Args:
            image: `(rows, columns, channels)` or `(rows, columns)` of any dtype.

        Raises:
            ValueError: if it isn't a picture.
        """
        if image.ndim not in (2, 3) or 0 in image.shape:
            raise ValueError(
                f"a picture (rows, columns[, channels]) is needed. Received: {image.shape}."
            )
        step = max(1, -(-max(image.shape[:2]) // LONGEST))
        small = _reduced(image, step)
        spectrum = _spectrum(small)
        last, self._last = self._last, (image.shape, small, spectrum)
        if last is None or last[0] != image.shape:
            return 0.0, 0.0
        rows, columns = _shift(last[1], last[2], small, spectrum)
        return step * columns, step * rows


def _reduced(image: Array, step: int) -> Floats:
    """Means over squares, in grey; what is over at the right and below is left out."""
    grey = image if image.ndim == 2 else image[..., 0]
    if image.ndim == 3 and image.shape[-1] > 1:
        grey = image.mean(-1)
    rows, columns = (max(1, side // step) for side in grey.shape)
    cut = grey[: rows * step, : columns * step]
    height, width = cut.shape
    # Sums of every so many rows, then columns: a tenth of the time of a mean over four axes.
    tall, wide = height // rows, width // columns
    lines = functools.reduce(np.add, (cut[by::tall].astype(np.float64) for by in range(tall)))
    total: Floats = functools.reduce(np.add, (lines[:, by::wide] for by in range(wide)))
    return total / (tall * wide)


def _spectrum(small: Floats) -> Array:
    """Of the picture faded at its ends, for the transform takes it to go round."""
    fade = np.outer(*(np.hanning(side + 2)[1:-1] for side in small.shape))
    spectrum: Array = fft.rfft2((small - np.average(small, weights=fade)) * fade)
    return spectrum


def _shift(
    before: Floats, before_spectrum: Array, after: Floats, after_spectrum: Array
) -> tuple[float, float]:
    product = after_spectrum * before_spectrum.conj()
    size = np.abs(product)
    if size.max() <= 1e-9:
        return 0.0, 0.0
    rows, columns = before.shape
    down, right = fft.fftfreq(rows)[:, None], fft.rfftfreq(columns)[None]
    soft = np.exp(-2 * (np.pi * BLUR) ** 2 * (down**2 + right**2))
    peaks: Floats = fft.irfft2(soft * product / np.maximum(size, 1e-12 * size.max()), before.shape)
    tried = [(0, 0), *_highest(peaks)]
    row, column = min(tried, key=lambda one: _unlike(before, after, one))
    # The median's deviation, which the peak itself doesn't widen; 1.4826 of it are a normal one's.
    some = peaks[::2, ::2]
    deviation = 1.4826 * float(np.median(np.abs(some - np.median(some))))
    if peaks[row % rows, column % columns] < CLEAR * deviation:
        return 0.0, 0.0
    return _middle(peaks, row, column)


def _highest(peaks: Floats) -> list[tuple[int, int]]:
    """The highest local maxima within reach, as signed rows and columns."""
    around = (np.roll(peaks, by, axis) for axis in (0, 1) for by in (-1, 1))
    highest = functools.reduce(np.maximum, around)
    top = np.where((peaks >= highest) & (peaks > 0), peaks, -np.inf).ravel()
    places = np.argpartition(-top, min(PEAKS, top.size - 1))[:PEAKS]
    found = []
    for place in places[np.isfinite(top[places])].tolist():
        signed = [
            (at + side // 2) % side - side // 2
            for at, side in zip(divmod(place, peaks.shape[1]), peaks.shape, strict=True)
        ]
        if all(abs(by) <= LARGEST * side for by, side in zip(signed, peaks.shape, strict=True)):
            found.append((signed[0], signed[1]))
    return found


def _unlike(before: Floats, after: Floats, shift: tuple[int, int]) -> float:
    """Mean difference where both show the same ground, if it is this shift; their means apart."""
    earlier = before[tuple(slice(max(0, -by), side - max(0, by)) for by, side in
                           zip(shift, before.shape, strict=True))]  # fmt: skip
    later = after[tuple(slice(max(0, by), side + min(0, by)) for by, side in
                        zip(shift, after.shape, strict=True))]  # fmt: skip
    if not earlier.size:
        return np.inf
    difference = later - earlier
    return float(np.abs(difference - difference.mean()).mean())


def _middle(peaks: Floats, row: int, column: int) -> tuple[float, float]:
    """The middle of a Gaussian by its highest place and that place's neighbours."""
    rows, columns = peaks.shape
    lines = (
        [peaks[(row + by) % rows, column % columns] for by in (-1, 0, 1)],
        [peaks[row % rows, (column + by) % columns] for by in (-1, 0, 1)],
    )
    found = []
    for start, (before, top, after) in zip((row, column), lines, strict=True):
        off = 0.0
        if min(before, top, after) > 0:
            left, middle, right = np.log([before, top, after])
            bend = left - 2 * middle + right
            off = float(np.clip(0.5 * (left - right) / bend, -1, 1)) if bend < 0 else 0.0
        found.append(start + off)
    return found[0], found[1]
