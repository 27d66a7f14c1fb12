"""Animals, vehicles and people followed through a sequence, and what of it raises an alarm.

A track's evidence for a kind is the mean of its three best detections of that kind, those it lacks
being 0: it only rises while a track goes on, so that an operating point chosen on whole tracks of
validation flights is the one that `watch` needs (W-10).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.boxes import iou, suppress
from fieldsight.core.metrics import Tracks
from fieldsight.core.tracking import CameraMotion, Tracker, best_mean

if TYPE_CHECKING:
    from fieldsight.core.detection import Detections

Array = NDArray[Any]

PERSON, VEHICLE, ANIMAL = "person", "vehicle", "animal"
KINDS = (PERSON, VEHICLE, ANIMAL)

LOW = 0.1  # the weakest detection that may prolong a track
KEEP_S = 2.0  # that a track goes on unseen
KEEP = 12.0  # frames of it where nobody says how fast they follow
LEAST = 3  # detections, under which a track isn't counted
ONE = 0.6  # overlap from which on boxes of two classes are one object
REMEMBERED = 3  # scores of a track and kind


def kinds(
    classes: Sequence[str], people: frozenset[str], vehicles: frozenset[str]
) -> tuple[str, ...]:
    """The kind of each class: a person, a vehicle, and all else an animal.

    Example:
        >>> kinds(("human", "zebra"), frozenset({"human"}), frozenset())
        ('person', 'animal')
    """
    return tuple(
        PERSON if name in people else VEHICLE if name in vehicles else ANIMAL for name in classes
    )


@dataclass(eq=False)
class _Evidence:
    """What speaks for one track: its best scores by kind, sums of scores by label."""

    best: dict[str, list[float]] = field(default_factory=dict)
    sums: dict[int, float] = field(default_factory=dict)

    def add(self, kind: str, label: int, score: float) -> None:
        scores = sorted([*self.best.get(kind, ()), score])
        self.best[kind] = scores[-REMEMBERED:]
        self.sums[label] = self.sums.get(label, 0.0) + score


class Follower:
    """Tells the objects of one sequence apart, frame by frame as they come.

    Args:
        kinds: of each label.
        threshold: the score from which a detection is one; weaker ones only prolong tracks.
        frames_per_second: None where nobody says.
        camera: whether the camera's motion is estimated from the frames; it is taken out only
            where `update` is given them.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        threshold: float,
        frames_per_second: float | None = None,
        camera: bool = True,
    ) -> None:
        keep = KEEP if not frames_per_second else max(3.0, KEEP_S * frames_per_second)
        self.kinds = tuple(kinds)
        self._tracker = Tracker(high=threshold, low=min(LOW, threshold), keep=keep)
        self._camera = CameraMotion() if camera else None
        self._last: int | None = None
        self._evidence: dict[int, _Evidence] = {}

    def update(
        self,
        boxes: Array,
        scores: Array,
        labels: Array,
        *,
        image: Array | None = None,
        number: int | None = None,
    ) -> Array:
        """Take the next frame.

        Args:
            boxes: `(n, 4)` `xyxy` pixels.
            scores: `(n,)`; those under the threshold too, for they prolong tracks.
            labels: `(n,)`.
            image: `(rows, columns, channels)`, for the camera's motion.
            number: the frame's; where numbers are missing, time has passed.

        Returns:
            `(n,)` int64, the number of the track of each detection; -1 where it is of none, or
            where another class has a better box of the same object.
        """
        shift = None
        if image is not None and self._camera is not None:
            shift = self._camera(image)
        since = 1 if number is None or self._last is None else max(1, number - self._last)
        self._last = number
        kept = suppress(boxes, scores, threshold=ONE)
        numbers = np.full(len(scores), -1, np.int64)
        numbers[kept] = self._tracker.update(boxes[kept], scores[kept], shift=shift, frames=since)
        # Of a box that another class suppresses, what it says of the object isn't lost: else a
        # person would be an animal alone.
        alike = iou(boxes, boxes[kept])
        owners = kept[alike.argmax(axis=1)] if len(kept) else kept
        for owner, score, label in zip(owners, scores, labels, strict=True):
            track = int(numbers[owner])
            if track >= 0:
                found = self._evidence.setdefault(track, _Evidence())
                found.add(self.kinds[int(label)], int(label), float(score))
        return numbers

    def evidence(self, track: int) -> dict[str, float]:
        """What speaks for each kind, from 0 to 1; kinds without any are left out."""
        return {kind: best_mean(scores) for kind, scores in self._evidence[track].best.items()}

    def label(self, track: int, kind: str | None = None) -> int:
        """The label that its detections say together, by their scores.

        Args:
            track: its number.
            kind: of which the label is to be; None for any.
        """
        sums = self._evidence[track].sums
        allowed = [label for label in sums if kind is None or self.kinds[label] == kind]
        return max(allowed, key=lambda label: (sums[label], -label))

    def forget(self) -> list[int]:
        """Drop what is known of tracks that have ended, and name them: a watch has no end."""
        alive = {track.number for track in self._tracker.tracks}
        ended = [track for track in self._evidence if track not in alive]
        for track in ended:
            del self._evidence[track]
        return ended


@dataclass(frozen=True, eq=False)
class Followed:
    """A sequence that was followed to its end.

    Attributes:
        name: of the flight or video.
        rows: frames, tracks and boxes of all detections that belong to tracks.
        labels: of each track, by its number.
        evidence: of each track, by its number and kind.
        scores: of each track: its evidence, whatever the kind.
        seconds: that were looked at.
    """

    name: str
    rows: Tracks
    labels: Mapping[int, int]
    evidence: Mapping[int, Mapping[str, float]]
    scores: Mapping[int, float]
    seconds: float

    def at(self, threshold: float) -> list[int]:
        """Tracks of at least this score."""
        return [track for track, score in self.scores.items() if score >= threshold]

    def rows_of(self, tracks: Iterable[int]) -> Tracks:
        """The rows of some tracks."""
        return self.rows.where(np.isin(np.asarray(self.rows.tracks), list(tracks)))


def follow(
    name: str,
    frames: Iterable[tuple[int, Array | None, Detections]],
    kinds: Sequence[str],
    *,
    threshold: float,
    frames_per_second: float,
    least: int = LEAST,
) -> Followed:
    """Follow what was found in a sequence.

    Args:
        name: of the flight or video.
        frames: number, picture (None: the camera's motion isn't taken out) and what was found,
            in their order.
        kinds: of each label.
        threshold: as `Follower`'s.
        frames_per_second: of the sequence's numbers.
        least: detections, under which a track isn't one.
    """
    follower = Follower(kinds, threshold=threshold, frames_per_second=frames_per_second)
    numbers, tracks, boxes, scores = [], [], [np.zeros((0, 4))], []
    looked: list[int] = []
    for number, image, found in frames:
        given = follower.update(found.boxes, found.scores, found.labels, image=image, number=number)
        mine = given >= 0
        looked.append(number)
        numbers += [number] * int(mine.sum())
        tracks += given[mine].tolist()
        scores += found.scores[mine].tolist()
        boxes.append(np.asarray(found.boxes, float)[mine])
    every, of, counts = np.unique(tracks, return_inverse=True, return_counts=True)
    kept = [int(track) for track, count in zip(every, counts, strict=True) if count >= least]
    rows = Tracks(np.array(numbers, np.int64), np.array(tracks, np.int64), np.concatenate(boxes))
    values = np.array(scores)
    best = {int(track): best_mean(values[of == place]) for place, track in enumerate(every)}
    return Followed(
        name,
        rows.where(np.isin(tracks, kept)),
        {track: follower.label(track) for track in kept},
        {track: follower.evidence(track) for track in kept},
        {track: best[track] for track in kept},
        len(looked) / frames_per_second,
    )
