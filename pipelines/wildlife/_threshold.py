"""The classical method: what stands out from its surroundings, by a threshold and its extent.

Each pixel less the mean of what lies around it, smoothed; what passes a threshold and hangs
together is an object, if it is large enough. All of it is tuned on validation frames by `GRID`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
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
        apart = _standing_out(image, self.smoothing, self.around)
        return _components(apart, self.level).of(self.least)

    def as_dict(self) -> dict[str, float]:
        """What a run keeps of it."""
        return asdict(self)


SMOOTHINGS, AROUND = (0.8, 1.5), (31, 61)
LEVELS, LEAST = (16.0, 22.0, 32.0, 45.0, 64.0, 90.0), (4, 12, 30)
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
            for level in LEVELS:
                components = _components(apart, level)
                for least in LEAST:
                    spots = Spots(smoothing, around, level, least)
                    found = components.of(least)
                    counts[spots] = counts[spots] + _counted(found, boxes, unknown, near_px)
    return max(GRID, key=lambda spots: PointScores(*counts[spots].tolist()).f1 or 0.0)


def _standing_out(image: Array, smoothing: float, around: int) -> Array:
    values = image.mean(axis=2, dtype=np.float32)
    return ndimage.gaussian_filter(values, smoothing) - ndimage.uniform_filter(values, around)


def _counted(found: Detections, boxes: Array, unknown: Array, near_px: float) -> Array:
    """Hits, misses and false alarms of one frame."""
    matches = match_points(
        [centres(boxes)], [centres(found.boxes)], scores=[found.scores], distance=near_px,
        ignored=[ignored(found.boxes, unknown)],
    )  # fmt: skip
    return matches.counts()[0]


@dataclass(frozen=True, eq=False)
class _Components:
    """What hangs together above a level: boxes, pixels, and by how much each stands out."""

    boxes: Array
    areas: Array
    peaks: Array

    def of(self, least: int) -> Detections:
        """Those of at least so many pixels, that stand out most first."""
        kept = np.flatnonzero(self.areas >= least)
        kept = kept[np.argsort(-self.peaks[kept], kind="stable")][:MOST]
        scores = np.clip(self.peaks[kept] / 255, 0, 1).astype(np.float32)
        return Detections(self.boxes[kept], scores, np.zeros(len(kept), np.int64))


def _components(apart: Array, level: float) -> _Components:
    """Those of a picture that are large enough for some setting, and not too large for any."""
    labelled, count = ndimage.label(apart > level)
    above = np.flatnonzero(labelled)
    number = labelled.reshape(-1)[above] - 1
    areas = np.bincount(number, minlength=count)
    highest = np.full(count, -np.inf, apart.dtype)
    # scipy's maximum would sort the whole picture.
    np.maximum.at(highest, number, apart.reshape(-1)[above])
    places = ndimage.find_objects(labelled)
    # Noise is thousands of components of a pixel or two: they aren't looked at one by one.
    chosen = np.flatnonzero(areas >= min(LEAST))
    sides = [
        (places[i][1].start, places[i][0].start, places[i][1].stop, places[i][0].stop)
        for i in chosen
    ]
    boxes = np.array(sides, np.float32).reshape(-1, 4)
    fits = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) <= LARGEST
    return _Components(boxes[fits], areas[chosen][fits], highest[chosen][fits])
