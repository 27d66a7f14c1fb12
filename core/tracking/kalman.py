"""Where boxes will be: a Kalman filter of constant velocity for many boxes at once.

Reference:
    Kalman, A new approach to linear filtering and prediction problems, Journal of Basic
    Engineering 82(1), 1960; the state and noise in shares of the box's side as in Wojke, Bewley
    and Paulus, Simple online and realtime tracking with a deep association metric, ICIP 2017, and
    Aharon, Orfaig and Bobrovsky, BoT-SORT, 2022, section 3.1.

Differs from these in that sizes have no velocity, so that no box turns over while it isn't seen;
in that a place is known to a pixel at best, for tiny boxes; and in a velocity that may change
more from frame to frame, for flights are looked at some 5 to 10 times a second, not 30.

No noise is shared by two axes, so that the filter of all of them falls into one of each: nothing
is inverted but numbers, and a thousand boxes cost what one does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldsight.core.boxes import centres, sizes

Floats = NDArray[np.float64]

PLACE = 1 / 20  # standard deviation of a measured place or side, in the box's sides ...
LEAST_PX = 1.0  # ... and never less, whatever the size
VELOCITY = 1 / 40  # by which the velocity changes a frame, in the box's sides
FIRST_VELOCITY = 1 / 4  # what is known of it before a second look, in the box's sides a frame


class Motion(NamedTuple):
    """What is known of `n` boxes of one rank.

    Attributes:
        place: `(n, rank)` pixels, the centres, x first.
        velocity: `(n, rank)` pixels a frame.
        size: `(n, rank)` pixels, the sides.
        spread: `(n, rank, 3)` variance of the place, its covariance with the velocity, variance
            of the velocity.
        size_spread: `(n, rank)` variance of the sides.
    """

    place: Floats
    velocity: Floats
    size: Floats
    spread: Floats
    size_spread: Floats

    @property
    def boxes(self) -> Floats:
        """`(n, 2 * rank)` `xyxy` pixels."""
        half = self.size / 2
        return np.concatenate([self.place - half, self.place + half], axis=1)

    def take(self, indices: NDArray[Any]) -> Motion:
        """Those of the indices, or of a mask."""
        return Motion(*(part[indices] for part in self))

    def put(self, indices: NDArray[np.int64], other: Motion) -> Motion:
        """With others in these places."""
        parts = [part.copy() for part in self]
        for part, new in zip(parts, other, strict=True):
            part[indices] = new
        return Motion(*parts)

    def joined(self, other: Motion) -> Motion:
        """Both, one after the other."""
        return Motion(*(np.concatenate(parts) for parts in zip(self, other, strict=True)))


def start(boxes: ArrayLike) -> Motion:
    """Boxes that are seen for the first time, at rest as far as anybody knows.

    Args:
        boxes: `(n, 2 * rank)` pixels.

    Raises:
        ValueError: if they aren't boxes.
    """
    place, size = centres(boxes), sizes(boxes)
    side = np.maximum(size, LEAST_PX)
    spread = np.zeros((*place.shape, 3))
    spread[..., 0] = _measured(size)
    spread[..., 2] = (FIRST_VELOCITY * side) ** 2
    return Motion(place, np.zeros_like(place), size, spread, _measured(size))


def predict(motion: Motion, *, frames: float = 1.0, shift: ArrayLike | None = None) -> Motion:
    """Where they are after a time, if nothing turns.

    Args:
        motion: at the last frame.
        frames: how many frames passed; 3 where two are missing.
        shift: `(rank,)` pixels by which the whole picture moved, x first, because the camera did.

    Example:
        >>> seen = start([[0, 0, 8, 8]])._replace(velocity=np.array([[2.0, -1.0]]))
        >>> predict(seen, frames=2, shift=(10, 0)).boxes.tolist()
        [[14.0, -2.0, 22.0, 6.0]]
    """
    side = np.maximum(motion.size, LEAST_PX)
    place = motion.place + frames * motion.velocity
    if shift is not None:
        place = place + np.asarray(shift, np.float64)
    places, both, velocities = np.moveaxis(motion.spread, -1, 0)
    spread = np.stack(
        [
            places + 2 * frames * both + frames**2 * velocities + frames * _measured(motion.size),
            both + frames * velocities,
            velocities + frames * (VELOCITY * side) ** 2,
        ],
        axis=-1,
    )
    widened = motion.size_spread + frames * _measured(motion.size)
    return Motion(place, motion.velocity, motion.size, spread, widened)


def correct(motion: Motion, boxes: ArrayLike) -> Motion:
    """What is known once each of them was seen again.

    Args:
        motion: as predicted for this frame.
        boxes: `(n, 2 * rank)` pixels, one for each.

    Raises:
        ValueError: if they aren't boxes, or not one for each.
    """
    seen, size = centres(boxes), sizes(boxes)
    if seen.shape != motion.place.shape:
        raise ValueError(
            f"a box for each of {motion.place.shape} is needed. Received: {seen.shape}."
        )
    noise = _measured(motion.size)
    places, both, velocities = np.moveaxis(motion.spread, -1, 0)
    gain, turn = places / (places + noise), both / (places + noise)
    off = seen - motion.place
    spread = np.stack([(1 - gain) * places, (1 - gain) * both, velocities - turn * both], axis=-1)
    size_gain = motion.size_spread / (motion.size_spread + noise)
    return Motion(
        motion.place + gain * off,
        motion.velocity + turn * off,
        motion.size + size_gain * (size - motion.size),
        spread,
        (1 - size_gain) * motion.size_spread,
    )


def _measured(size: Floats) -> Floats:
    """Variance of what is measured of boxes of these sides."""
    return np.maximum(PLACE * size, LEAST_PX) ** 2
