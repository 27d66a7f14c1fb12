"""How well two scenes of one place lie on each other, to a part of a pixel (D-11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.grids import Slices
from fieldsight.datasets.scenes.scene import Scene

Array = NDArray[Any]

WINDOW = 256  # pixels of a side that are compared at once
MOST = 16  # windows that are compared
LOOKED_AT = 64  # windows that are read to find those
LEAST_CLEAR = 0.8  # of a window, at both dates
FINENESS = 20  # parts of a pixel
AGREE_PX = 0.5  # windows farther from the middle than this don't agree with it
LEAST_AGREEING = 3


@dataclass(frozen=True)
class Shift:
    """Where the later scene's content lies, seen from the earlier one's.

    Attributes:
        rows: pixels down.
        columns: pixels to the right.
        windows: that were compared.
        agreeing: of them, within half a pixel of the middle.
    """

    rows: float
    columns: float
    windows: int
    agreeing: int

    @property
    def pixels(self) -> float:
        """How far in all."""
        return float(np.hypot(self.rows, self.columns))

    @property
    def is_sure(self) -> bool:
        """Whether windows agree on it: half of them, and no fewer than three, or all there are."""
        return self.agreeing >= min(LEAST_AGREEING, self.windows) and (
            2 * self.agreeing > self.windows
        )


def measure(before: Scene, after: Scene, band: str, *, window: int = WINDOW) -> Shift | None:
    """Compare two scenes on one grid by phase correlation of clear windows.

    Reference:
        Guizar-Sicairos et al., Efficient subpixel image registration algorithms, Optics Letters
        33(2), 2008, as scikit-image has it. Phases alone are compared, so that it matters little
        that the sun, the season or the haze differ; what changed between the dates is noise to
        it, and the median over windows is kept.

    Args:
        before: the earlier scene.
        after: the later one, on the same grid.
        band: that is compared.
        window: pixels of a side.

    Returns:
        The median over windows; None where no window is clear at both dates, or all are plain.

    Raises:
        ValueError: if they have other shapes.
    """
    if before.shape[:2] != after.shape[:2]:
        raise ValueError(
            f"two scenes on one grid are needed. Received: {before.shape} and {after.shape}."
        )
    first, second = before.select((band,)), after.select((band,))
    side = min(window, *before.shape[:2])
    clear = []
    for slices in _lattice(before.shape, side):
        mask = _clear(first, slices) & _clear(second, slices)
        if mask.mean() >= LEAST_CLEAR:
            clear.append((float(mask.mean()), slices))
    clear.sort(key=lambda one: -one[0])
    shifts = []
    for _, slices in clear[:MOST]:
        mask = _clear(first, slices) & _clear(second, slices)
        one = _shift(first.read(slices)[..., 0], second.read(slices)[..., 0], mask)
        if one is not None:
            shifts.append(one)
    if not shifts:
        return None
    middle = np.median(shifts, axis=0)
    away = np.hypot(*(np.array(shifts) - middle).T)
    agreeing = away <= AGREE_PX
    if agreeing.any():
        middle = np.mean(np.array(shifts)[agreeing], axis=0)
    return Shift(float(middle[0]), float(middle[1]), len(shifts), int(agreeing.sum()))


def _lattice(shape: tuple[int, ...], side: int) -> Iterator[Slices]:
    """Windows all over a scene, at most so many as are looked at."""
    rows, columns = shape[:2]
    share = np.sqrt(LOOKED_AT)
    counts = [max(1, min(int(share), length // side)) for length in (rows, columns)]
    tops = np.linspace(0, rows - side, counts[0]).astype(int)
    lefts = np.linspace(0, columns - side, counts[1]).astype(int)
    for top in tops.tolist():
        for left in lefts.tolist():
            yield slice(top, top + side), slice(left, left + side)


def _clear(scene: Scene, slices: Slices) -> Array:
    valid, clouds = scene.valid(slices), scene.clouds(slices)
    return valid if clouds is None else valid & ~clouds


def _shift(before: Array, after: Array, mask: Array) -> tuple[float, float] | None:
    """How far the second picture lies from the first; None if one is plain."""
    from skimage.registration import phase_cross_correlation

    pictures = []
    taper = np.outer(np.hanning(len(before)), np.hanning(before.shape[1]))
    for picture in (before, after):
        values = picture.astype(np.float32)
        values = values - np.median(values[mask])
        values[~mask] = 0
        # What is far brighter than the rest, as a missed cloud, must not outshine it.
        spread = np.percentile(np.abs(values[mask]), 98)
        if not spread > 0:
            return None
        pictures.append(np.clip(values / spread, -1, 1) * taper)
    needed, _, _ = phase_cross_correlation(*pictures, upsample_factor=FINENESS)
    return -float(needed[0]), -float(needed[1])
