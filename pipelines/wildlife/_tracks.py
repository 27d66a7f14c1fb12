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
    from fieldsight.datasets.frames import Shot

Array = NDArray[Any]

PERSON, VEHICLE, ANIMAL = "person", "vehicle", "animal"
KINDS = (PERSON, VEHICLE, ANIMAL)

WEAK = 0.25  # of the threshold: what is weaker prolongs no track
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
        camera: whether the camera's motion is estimated from the frames and taken out.
        least: detections, under which a track isn't one once the sequence has ended.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        threshold: float,
        frames_per_second: float | None = None,
        camera: bool = True,
        least: int = LEAST,
    ) -> None:
        keep = KEEP if not frames_per_second else max(3.0, KEEP_S * frames_per_second)
        self.kinds, self.least = tuple(kinds), least
        self._tracker = Tracker(high=threshold, low=WEAK * threshold, keep=keep)
        self._camera = CameraMotion() if camera else None
        self._last: int | None = None
        self._evidence: dict[int, _Evidence] = {}

    def update(self, found: Detections, shot: Shot) -> Array:
        """Take the next frame.

        Args:
            found: in it, weaker than the threshold too, for it may prolong a track.
            shot: the frame: its picture tells how the camera moved, and where numbers are
                missing, time has passed.

        Returns:
            `(n,)` int64, the number of the track of each detection; -1 where it is of none, or
            where another class has a better box of the same object.
        """
        shift = None if self._camera is None else self._camera(shot.image)
        since = 1 if self._last is None else max(1, shot.number - self._last)
        self._last = shot.number
        kept = suppress(found.boxes, found.scores, threshold=ONE)
        numbers = np.full(len(found), -1, np.int64)
        numbers[kept] = self._tracker.update(
            found.boxes[kept], found.scores[kept], shift=shift, frames=since
        )
        # Of a box that another class suppresses, what it says of the object isn't lost: else a
        # person would be an animal alone.
        owners = kept[iou(found.boxes, found.boxes[kept]).argmax(axis=1)] if len(kept) else kept
        owners[kept] = kept
        for owner, score, label in zip(owners, found.scores, found.labels, strict=True):
            track = int(numbers[owner])
            if track >= 0:
                evidence = self._evidence.setdefault(track, _Evidence())
                evidence.add(self.kinds[int(label)], int(label), float(score))
        return numbers

    def finish(self, numbers: Sequence[Array]) -> list[Array]:
        """The tracks of every frame once the sequence has ended: short ones are -1."""
        if not numbers:
            return []
        every, counts = np.unique(np.concatenate(numbers), return_counts=True)
        kept = every[(counts >= self.least) & (every >= 0)]
        return [np.where(np.isin(one, kept), one, -1) for one in numbers]

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
    frames: Iterable[tuple[Shot, Detections]],
    kinds: Sequence[str],
    *,
    threshold: float,
    frames_per_second: float,
    camera: bool = True,
) -> Followed:
    """Follow what was found in a sequence to its end.

    Args:
        name: of the flight or video.
        frames: each with what was found in it, in their order, as a finder gives them.
        kinds: of each label.
        threshold: as `Follower`'s.
        frames_per_second: of the sequence's numbers.
        camera: as `Follower`'s.
    """
    follower = Follower(
        kinds, threshold=threshold, frames_per_second=frames_per_second, camera=camera
    )
    looked: list[int] = []
    given: list[Array] = []
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
    for shot, found in frames:
        numbers = follower.update(found, shot)
        mine = np.flatnonzero(numbers >= 0)
        looked.append(shot.number)
        given.append(numbers[mine])
        boxes.append(np.asarray(found.boxes[mine], float))
        scores.append(np.asarray(found.scores[mine], float))
    tracks = np.concatenate([np.zeros(0, np.int64), *follower.finish(given)])
    values = np.concatenate(scores)
    rows = Tracks(np.repeat(looked, [len(one) for one in given]), tracks, np.concatenate(boxes))
    kept = [int(track) for track in np.unique(tracks) if track >= 0]
    return Followed(
        name,
        rows.where(tracks >= 0),
        {track: follower.label(track) for track in kept},
        {track: follower.evidence(track) for track in kept},
        {track: best_mean(values[tracks == track]) for track in kept},
        len(looked) / frames_per_second,
    )
