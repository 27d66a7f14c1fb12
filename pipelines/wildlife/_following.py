"""The objects of a sequence told apart: core's tracker, with the camera's motion taken out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.tracking import CameraMotion, Tracker

if TYPE_CHECKING:
    from fieldsight.core.detection import Detections
    from fieldsight.datasets.frames import Shot

Array = NDArray[Any]

WEAK = 0.25  # of the threshold: what is weaker prolongs no track
LEAST = 3  # detections, under which a track isn't one


class Following:
    """Follows what is found in one sequence.

    Args:
        threshold: the score from which a detection is one, and may start a track.
        least: detections, under which a track isn't one.
    """

    def __init__(self, threshold: float, *, least: int = LEAST) -> None:
        self.tracker = Tracker(high=threshold, low=WEAK * threshold)
        self.camera = CameraMotion()
        self.least = least
        self._last: int | None = None

    def update(self, found: Detections, shot: Shot) -> Array:
        """`(n,)` int64: the track of each in the next frame, -1 of those that have none."""
        since = 1 if self._last is None else max(1, shot.number - self._last)
        self._last = shot.number
        shift = self.camera(shot.image)
        numbers: Array = self.tracker.update(found.boxes, found.scores, shift=shift, frames=since)
        return numbers

    def finish(self, numbers: Sequence[Array]) -> list[Array]:
        """The tracks of every frame once the sequence has ended: short ones are -1."""
        if not numbers:
            return []
        every, counts = np.unique(np.concatenate(numbers), return_counts=True)
        kept = every[(counts >= self.least) & (every >= 0)]
        return [np.where(np.isin(each, kept), each, -1) for each in numbers]
