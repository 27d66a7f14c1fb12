"""Colours of more than 8 bits, or in floating point, as colours that fill 16 bits.

Whoever needs 8 bits takes the upper 8 of 16. Parts of 1, and whole numbers that leave the upper
bits empty, such as reflectance times 10,000, would be black there. So a file says, by a sample of
all of it, which value is white, and all of it is scaled by that one.
"""

import numpy as np

from fieldsight.datasets.sample import Array

FULL = 65535  # white, of 16 bits

_WHITES = (1.0, 255.0, float(FULL))  # of colours in floating point
_ABOVE = 1.5  # times white: reflectance goes beyond 1 where something shines
_FILLED = 0.25  # of white: what doesn't reach so far leaves two bits empty, or more
_BRIGHT = 99.9  # percentile that is white then: a few pixels may shine


def white_of(sample: Array) -> float | None:
    """The value that is to be white; None if no colours are there, but three bands alike.

    Where the 99.9th percentile of the sample reaches a quarter of 65,535 (of colours in floating
    point: of 1, 255 or 65,535), that is white. Else the percentile is.

    Args:
        sample: `(n, 3)` whole numbers or floating point, of the whole file.

    Example:
        >>> dim = np.stack([np.arange(4001), np.arange(4001), np.zeros(4001, int)], axis=1)
        >>> white_of(dim), white_of(dim * 16), white_of(dim / 4000)
        (3994.0, 65535.0, 1.0)
    """
    inside = sample[np.isfinite(sample).all(axis=1)]
    if inside.any() and (inside == inside[:, :1]).all():
        return None
    high = float(np.percentile(inside, _BRIGHT)) if inside.size else 0.0
    if sample.dtype.kind in "ui":
        # At least 255: pictures of 8 bits are kept in 16 as well.
        return float(FULL) if high >= _FILLED * FULL else max(high, 255.0)
    white = next((each for each in _WHITES if high <= _ABOVE * each), high)
    return white if high >= _FILLED * white else max(high, white / 255)


def filled(colours: Array, white: float) -> Array:
    """uint16 of the same shape; white and what is brighter is 65,535, what is no number is 0."""
    if colours.dtype == np.uint16 and white == FULL:
        return colours
    values = np.nan_to_num(colours.astype(np.float32), nan=0.0, posinf=white, neginf=0.0)
    values *= np.float32(FULL / white)  # in place: a picture may have 150 million pixels
    np.clip(np.rint(values, out=values), 0, FULL, out=values)
    return values.astype(np.uint16)


def said(white: float | None) -> str:
    """What is to be told of a file that was brightened; "" of others."""
    if white is None or white in (*_WHITES, 0.0):
        return ""
    return (
        f"its colours leave most of their range empty: {_short(white)} was taken for white, by a "
        "sample of the whole file; export it in 8 bits to choose yourself"
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"
