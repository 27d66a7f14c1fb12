"""Detections go to tracks: the good ones first, then the weak ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from fieldsight.core.boxes import iou
from fieldsight.core.boxes.geometry import checked
from fieldsight.core.boxes.suppression import checked_scores
from fieldsight.core.tracking.kalman import Motion, correct, predict, start

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# Overlap from which on a detection may be a track's; ByteTrack's own.
GOOD, WEAK, NEW = 0.2, 0.5, 0.3
BEST = 3  # detections whose mean is a track's score


@dataclass(frozen=True)
class Track:
    """One object that is being followed.

    Attributes:
        number: from 0, never used again.
        box: `(2 * rank,)` pixels, where it is expected to be in the last frame.
        velocity: `(rank,)` pixels a frame, x first, the camera's motion taken out.
        detections: how often it was seen.
        unseen: frames since it was last seen; 0 if in the last one.
        confirmed: whether it was seen often enough to go on through gaps.
        score: `best_mean` of its detections' scores: it only rises.
    """

    number: int
    box: Floats
    velocity: Floats
    detections: int
    unseen: float
    confirmed: bool
    score: float


class Tracker:
    """Follows objects online, frame by frame, as ByteTrack does.

    In each frame detections of at least `high` go to tracks first, all at once so that their
    overlap is the most in all; weaker ones then only prolong tracks that were seen in the frame
    before and found none, so that an animal under a branch is kept and a warm stone starts
    nothing. What is left of the good ones starts tracks. A track that isn't seen goes on where
    the filter expects it, and ends after `keep` frames; one seen less than `confirm` times ends
    after `keep_new`.

    Reference:
        Zhang et al., ByteTrack: multi-object tracking by associating every detection box, ECCV
        2022, algorithm 1. Differs in that boxes are enlarged before they are compared, as in
        Yang et al., Hard to track objects with irregular motions and similar appearances? Make it
        easier by buffering the matching space, WACV 2023, and to `least_px` at least, for a bird
        of 8 pixels that flies on by its own length overlaps itself no more; in `keep_new`, which
        is 0 there; and in the filter, see `core.tracking.kalman`. The camera's motion is taken
        out where `update` is told of it.

    Args:
        high: score from which on a detection is a good one.
        low: score under which it isn't looked at.
        birth: score from which on one may start a track; None for `high`.
        keep: frames that a track goes on unseen.
        keep_new: the same before it is confirmed.
        confirm: detections that confirm a track.
        buffer: share of its side by which a box is enlarged on each side to be compared.
        least_px: side to which it is enlarged at least.

    Raises:
        ValueError: if scores aren't in order or a number is negative.

    Example:
        >>> tracker = Tracker()
        >>> for x in (0, 3, 6, 9):
        ...     tracker.update([[x, 0, x + 8, 8], [40, 0, 48, 8]], [0.9, 0.8]).tolist()
        [0, 1]
        [0, 1]
        [0, 1]
        [0, 1]
    """

    def __init__(
        self,
        *,
        high: float = 0.5,
        low: float = 0.1,
        birth: float | None = None,
        keep: float = 12.0,
        keep_new: float = 2.0,
        confirm: int = 2,
        buffer: float = 0.3,
        least_px: float = 16.0,
    ) -> None:
        """Follow nothing yet."""
        self.high, self.low = high, low
        self.birth = high if birth is None else birth
        if not low <= high <= self.birth:
            raise ValueError(
                "low must not be above high, nor high above birth. "
                f"Received: low={low}, high={high}, birth={self.birth}."
            )
        if min(keep, keep_new, confirm, buffer, least_px) < 0:
            raise ValueError(
                f"none may be negative. Received: keep={keep}, keep_new={keep_new}, "
                f"confirm={confirm}, buffer={buffer}, least_px={least_px}."
            )
        self.keep, self.keep_new, self.confirm = keep, keep_new, confirm
        self.buffer, self.least_px = buffer, least_px
        self._next = 0
        self._motion: Motion | None = None
        self._numbers = np.zeros(0, np.int64)
        self._detections = np.zeros(0, np.int64)
        self._unseen = np.zeros(0)
        self._best = np.zeros((0, BEST))

    def update(
        self,
        boxes: ArrayLike,
        scores: ArrayLike,
        *,
        shift: ArrayLike | None = None,
        frames: float = 1.0,
    ) -> Indices:
        """Take the next frame.

        Args:
            boxes: `(n, 2 * rank)` pixels, each object once (`core.boxes.suppress`).
            scores: `(n,)`.
            shift: `(rank,)` pixels by which what is seen moved since the last frame because the
                camera did, x first, as `frame_shift` tells; None where it stands still or nobody
                knows.
            frames: since the last call; 2 where one is missing.

        Returns:
            `(n,)` int64, the number of the track of each; -1 for one that is of none.

        Raises:
            ValueError: if they aren't boxes, of another rank than before, or not a score each; if
                frames isn't above 0 or shift not finite.
        """
        rank = None if self._motion is None else 2 * self._motion.place.shape[1]
        array = checked(boxes, like=rank)
        values = checked_scores(scores, len(array))
        if not 0 < frames < np.inf or (shift is not None and not np.isfinite(shift).all()):
            raise ValueError(
                "frames must be above 0 and shift finite. "
                f"Received: frames={frames}, shift={shift!r}."
            )
        if self._motion is None:
            self._motion = start(array[:0])
        self._motion = predict(self._motion, frames=frames, shift=shift)
        before, self._unseen = self._unseen, self._unseen + frames
        taken = self._assigned(array, values, seen_last=before == 0)
        found = np.flatnonzero(taken >= 0)
        numbers = np.full(len(array), -1, np.int64)
        numbers[found] = self._numbers[taken[found]]
        self._correct(taken[found], array[found], values[found])
        self._drop()
        fresh = np.flatnonzero((taken < 0) & (values >= self.birth))
        numbers[fresh] = self._begin(array[fresh], values[fresh])
        return numbers

    @property
    def tracks(self) -> list[Track]:
        """Those that are followed now, in the order of their numbers."""
        if self._motion is None:
            return []
        return [
            Track(
                int(self._numbers[i]),
                self._motion.boxes[i],
                self._motion.velocity[i],
                int(self._detections[i]),
                float(self._unseen[i]),
                bool(self._detections[i] >= self.confirm),
                float(self._best[i].mean()),
            )
            for i in range(len(self._numbers))
        ]

    def _assigned(self, boxes: Floats, scores: Floats, *, seen_last: NDArray[np.bool_]) -> Indices:
        """`(n,)` the place of each detection's track among those that are followed, or -1."""
        taken = np.full(len(boxes), -1, np.int64)
        if not len(self._numbers) or not len(boxes) or self._motion is None:
            return taken
        expected = grown(self._motion.boxes, self.buffer, self.least_px)
        seen = grown(boxes, self.buffer, self.least_px)
        confirmed = self._detections >= self.confirm
        good, weak = scores >= self.high, (scores >= self.low) & (scores < self.high)
        for tracks, found, least in (
            (confirmed, good, GOOD),
            (confirmed & seen_last, weak, WEAK),
            (~confirmed, good, NEW),
        ):
            free = tracks.copy()
            free[taken[taken >= 0]] = False
            rows, columns = np.flatnonzero(free), np.flatnonzero(found & (taken < 0))
            i, j = _pairs(iou(expected[rows], seen[columns]), least)
            taken[columns[j]] = rows[i]
        return taken

    def _correct(self, rows: Indices, boxes: Floats, scores: Floats) -> None:
        if self._motion is not None and len(rows):
            corrected = correct(self._motion.take(rows), boxes)
            self._motion = self._motion.put(rows, corrected)
            self._unseen[rows] = 0
            self._detections[rows] += 1
            best = np.concatenate([self._best[rows], scores[:, None]], axis=1)
            self._best[rows] = np.sort(best, axis=1)[:, 1:]

    def _drop(self) -> None:
        confirmed = self._detections >= self.confirm
        on = self._unseen <= np.where(confirmed, self.keep, self.keep_new)
        if self._motion is not None and not on.all():
            self._motion = self._motion.take(on)
            self._numbers, self._detections = self._numbers[on], self._detections[on]
            self._unseen, self._best = self._unseen[on], self._best[on]

    def _begin(self, boxes: Floats, scores: Floats) -> Indices:
        numbers = self._next + np.arange(len(boxes))
        self._next += len(boxes)
        if self._motion is not None and len(boxes):
            self._motion = self._motion.joined(start(boxes))
            best = np.zeros((len(boxes), BEST))
            best[:, -1] = scores
            self._best = np.concatenate([self._best, best])
            self._numbers = np.concatenate([self._numbers, numbers])
            self._detections = np.append(self._detections, np.ones(len(boxes), np.int64))
            self._unseen = np.append(self._unseen, np.zeros(len(boxes)))
        return numbers


def follow(
    boxes: Iterable[ArrayLike],
    scores: Iterable[ArrayLike],
    *,
    tracker: Tracker | None = None,
    shifts: Iterable[ArrayLike | None] | None = None,
    frames: Iterable[int] | None = None,
    least: int = 3,
) -> list[Indices]:
    """The tracks of a film that was seen to its end, numbered from 0 without holes.

    Args:
        boxes: of each frame, `(n, 2 * rank)` pixels.
        scores: of each frame, `(n,)`.
        tracker: a new one, set otherwise than by default.
        shifts: of each frame, as `Tracker.update` has it.
        frames: the number of each, rising; None where none is missing.
        least: detections, under which a track isn't one.

    Returns:
        Of each frame `(n,)` int64, the number of the track of each detection or -1.

    Raises:
        ValueError: as `Tracker.update`, or if there isn't one of each a frame.
    """
    tracker = Tracker() if tracker is None else tracker
    per_frame = list(boxes)
    moved = [None] * len(per_frame) if shifts is None else list(shifts)
    numbers = list(range(len(per_frame))) if frames is None else list(frames)
    found: list[Indices] = []
    for number, one, score, shift in zip(numbers, per_frame, scores, moved, strict=True):
        since = number - numbers[len(found) - 1] if found else 1
        found.append(tracker.update(one, score, shift=shift, frames=since))
    return renumbered(found, least)


def renumbered(found: list[Indices], least: int) -> list[Indices]:
    """The same with tracks of less than `least` detections left out, by their first, from 0."""
    if not found:
        return []
    every = np.concatenate(found)
    numbers, first, counts = np.unique(every, return_index=True, return_counts=True)
    kept = np.flatnonzero((numbers >= 0) & (counts >= least))
    kept = kept[np.argsort(first[kept], kind="stable")]
    new = np.full(len(numbers), -1, np.int64)
    new[kept] = np.arange(len(kept))
    after = new[np.searchsorted(numbers, every)]
    return np.split(after, np.cumsum([len(one) for one in found])[:-1])


def best_mean(scores: ArrayLike) -> float:
    """The score of a track: the mean of its three best detections, those it lacks being 0.

    One bright frame makes no track, and what comes later never takes back what was said: a track
    passes a threshold online exactly if it does at its end, so that an operating point chosen on
    whole tracks is that of a watch.

    Example:
        >>> round(best_mean([0.2, 0.9, 0.6, 0.3]), 3), round(best_mean([0.9]), 3)
        (0.6, 0.3)
    """
    return float(np.sort(np.asarray(scores, np.float64))[-BEST:].sum() / BEST)


def grown(boxes: ArrayLike, buffer: float, least_px: float) -> Floats:
    """Boxes enlarged by a share of their side on each side, and to a least side, about the middle.

    Example:
        >>> grown([[0, 0, 10, 100]], 0.25, 20).tolist()
        [[-5.0, -25.0, 15.0, 125.0]]
    """
    array = checked(boxes)
    rank = array.shape[1] // 2
    side = array[:, rank:] - array[:, :rank]
    by = np.maximum(buffer * side, (least_px - side) / 2)
    return np.concatenate([array[:, :rank] - by, array[:, rank:] + by], axis=1)


def _pairs(alike: Floats, least: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows and columns that belong together: most overlap in all, none of less than `least`."""
    if not alike.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    allowed = np.where(alike >= least, alike, 0.0)
    rows, columns = linear_sum_assignment(allowed, maximize=True)
    good = allowed[rows, columns] > 0
    return rows[good], columns[good]
