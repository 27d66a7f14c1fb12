"""The classical method: what stands out from its surroundings, by a threshold and its extent.

Each pixel less the mean of what lies around it, smoothed; what passes a threshold and hangs
together is an object, if it is large enough. All of it is tuned on validation frames by `GRID`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.core.boxes import centres, ignored
from fieldsight.core.detection import Detections
from fieldsight.core.metrics import PointScores, match_points

Array = NDArray[Any]

LARGEST = 90  # pixels of a side: what is larger is ground
MOST = 500  # objects a frame, the ones that stand out most


@dataclass(frozen=True, order=True)
class Spots:
    """One setting.

    Args:
        smoothing: standard deviation of the Gaussian, in pixels.
        around: pixels of the square whose mean is the background.
        level: of 0 to 255 by which an object stands out.
        least: pixels that it has at least.
    """

    smoothing: float
    around: int
    level: float
    least: int

    def find(self, image: Array) -> Detections:
        """The spots of a picture, those that stand out most first.

        Args:
            image: `(rows, columns, channels)` uint8, hot bright.
        """
        return _objects(_standing_out(image, self.smoothing, self.around), self)

    def as_dict(self) -> dict[str, float]:
        """What a run keeps of it."""
        return asdict(self)


SMOOTHINGS, AROUND = (0.8, 1.5), (31, 61)
LEVELS, LEAST = (12.0, 18.0, 25.0, 35.0, 50.0, 70.0), (4, 12, 30)
GRID = tuple(
    Spots(*each) for each in itertools.product(SMOOTHINGS, AROUND, LEVELS, LEAST)
)  # 72 settings


def tune(frames: Iterable[tuple[Array, Array, Array]], *, near_px: float) -> Spots:
    """The setting of the grid whose F1 by centre distance is best.

    Args:
        frames: of validation: `(rows, columns, channels)` uint8, `(n, 4)` boxes, `(m, 4)` regions
            that don't count.
        near_px: what counts as found.
    """
    counts = dict.fromkeys(GRID, np.zeros(3, int))  # hits, misses, false alarms
    for image, boxes, unknown in frames:
        for smoothing, around in itertools.product(SMOOTHINGS, AROUND):
            apart = _standing_out(image, smoothing, around)
            for level, least in itertools.product(LEVELS, LEAST):
                spots = Spots(smoothing, around, level, least)
                found = _objects(apart, spots)
                matches = match_points(
                    [centres(boxes)], [centres(found.boxes)], scores=[found.scores],
                    distance=near_px, ignored=[ignored(found.boxes, unknown)],
                )  # fmt: skip
                counts[spots] = counts[spots] + matches.counts()[0]
    return max(GRID, key=lambda spots: PointScores(*counts[spots].tolist()).f1 or 0.0)


def _standing_out(image: Array, smoothing: float, around: int) -> Array:
    values = image.mean(axis=2, dtype=np.float32)
    return ndimage.gaussian_filter(values, smoothing) - ndimage.uniform_filter(values, around)


def _objects(apart: Array, spots: Spots) -> Detections:
    labelled, count = ndimage.label(apart > spots.level)
    if not count:
        return _detections([], [])
    areas = np.bincount(labelled.ravel(), minlength=count + 1)[1:]
    boxes, heights = [], []
    places: Sequence[Any] = ndimage.find_objects(labelled)
    peaks = ndimage.maximum(apart, labelled, np.arange(1, count + 1))
    for place, area, peak in zip(places, areas, peaks, strict=True):
        down, across = place
        sides = (down.stop - down.start, across.stop - across.start)
        if area >= spots.least and max(sides) <= LARGEST:
            boxes.append((across.start, down.start, across.stop, down.stop))
            heights.append(float(peak))
    return _detections(boxes, heights)


def _detections(boxes: Sequence[tuple[int, ...]], heights: Sequence[float]) -> Detections:
    scores = np.clip(np.array(heights, np.float32) / 255, 0, 1)
    found = Detections(
        np.array(boxes, np.float32).reshape(-1, 4), scores, np.zeros(len(scores), np.int64)
    )
    return found.take(np.argsort(-scores, kind="stable")[:MOST])
