"""Thresholds from validation flights; test flights scored once, beside the classical method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.detection import Detections
from fieldsight.datasets.animals import AnimalSet
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.frames import Shot
from fieldsight.pipelines._files import such_as
from fieldsight.pipelines._report import Table
from fieldsight.pipelines.wildlife import _alarms, _cohort, _scores, _threshold, _track_scores
from fieldsight.pipelines.wildlife._alarms import PER_HOUR
from fieldsight.pipelines.wildlife._cohort import Eye, Unit
from fieldsight.pipelines.wildlife._finder import LEAST, NetworkFinder, alone, once
from fieldsight.pipelines.wildlife._scores import Looked, Scores
from fieldsight.pipelines.wildlife._threshold import Spots
from fieldsight.pipelines.wildlife._track_scores import TrackResults, Truth
from fieldsight.pipelines.wildlife._tracks import WEAK, Followed, follow

Array = NDArray[Any]
Told = Callable[[int, int], None]

TUNED_ON = 30  # validation frames on which the classical method is tuned, in even steps


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """What validation chose, and what it measured of counts and alarms.

    Attributes:
        threshold: the score from which a detection is one.
        near_px: distance of centres up to which an object is found.
        count_threshold: of a track's score, from which on it is counted.
        alarms: by kind, as a card keeps them.
        counts: true and found numbers by sequence and class, as a card keeps them.
        spots: the classical method's setting.
    """

    threshold: float
    near_px: float
    count_threshold: float
    alarms: Mapping[str, Any]
    counts: Mapping[str, Any]
    spots: Spots | None = None

    def to_facts(self) -> dict[str, Any]:
        """What a model's card keeps of it."""
        spots = None if self.spots is None else self.spots.as_dict()
        return {
            "threshold": self.threshold, "spots": spots, "near_px": self.near_px,
            "count_threshold": self.count_threshold, "alarms": dict(self.alarms),
            "counts": dict(self.counts),
        }  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """How well a model does on some pictures.

    Attributes:
        frames: the scores of frames.
        tracks: of sequences; None where nobody told objects apart.
        baseline: the classical method's scores; None where it wasn't asked.
        figures: all of these by name.
        tables: all of these.
        missed: kind, sequence, track and class of people that raised no alarm (W-11).
        looked: what was found in each.
        failures: frames that couldn't be read.
    """

    frames: Scores
    tracks: TrackResults | None
    baseline: Scores | None
    figures: Mapping[str, float]
    tables: Sequence[Table]
    missed: Sequence[tuple[str, str, int, str]]
    looked: tuple[Looked, ...]
    failures: Mapping[str, str]


def look_at(
    finder: NetworkFinder, units: Sequence[Unit], progress: Told | None = None
) -> tuple[tuple[Looked, ...], dict[str, str]]:
    """Everything that a finder sees in each frame, however weak, and what couldn't be read.

    Raises:
        DataError: if no picture could be read.
    """
    looked: list[Looked] = []
    failures: dict[str, str] = {}
    for number, unit in enumerate(units, 1):
        found = tuple(found for _, found in finder.looks(unit.shots(failures)))
        read = tuple(frame for frame in unit.frames if frame.name not in failures)
        if read:
            looked.append(Looked(dataclasses.replace(unit, frames=read), found))
        if progress is not None:
            progress(number, len(units))
    if not looked:
        raise DataError(
            f"marked pictures that can be read were needed. Received: none{such_as(failures)}."
        )
    return tuple(looked), failures


def follow_all(
    finder: NetworkFinder,
    looked: Sequence[Looked],
    kinds: Sequence[str],
    *,
    threshold: float,
    frames_per_second: float,
) -> tuple[list[Truth], list[Followed]]:
    """The tracks of every sequence whose true ones are known, and these."""
    truths, followed = [], []
    for one in looked:
        if len(one.unit.frames) < 2:
            continue
        truth = _track_scores.truth_of(one.unit.name, one.unit.frames)
        if truth is None:
            continue
        truths.append(truth)
        shots = _again(finder.eye, one, threshold)
        followed.append(
            follow(
                one.unit.name,
                shots,
                kinds,
                threshold=threshold,
                frames_per_second=one.unit.frames_per_second or frames_per_second,
            )
        )
    return truths, followed


def _again(eye: Eye, one: Looked, threshold: float) -> Iterator[tuple[Shot, Detections]]:
    """The frames once more with what `frames()` of the finished model gives of them."""
    for shot, found in zip(eye.follow(one.unit.shots()), one.found, strict=True):
        strong = found.take(np.flatnonzero(found.scores >= WEAK * threshold))
        yield shot, once(strong, threshold)


def choose(
    finder: NetworkFinder,
    units: Sequence[Unit],
    *,
    kinds: Sequence[str],
    frames_per_second: float,
    near_px: float,
    progress: Told | None = None,
) -> tuple[Chosen, Scores]:
    """Choose every threshold on validation, the classical method's too.

    Args:
        finder: of which `least` is `LEAST`; its threshold isn't used.
        units: of validation.
        kinds: of each label.
        frames_per_second: of sequences that don't say it.
        near_px: distance of centres up to which an object is found.
        progress: told how far it is.

    Raises:
        DataError: if no picture could be read.
    """
    looked, _ = look_at(finder, units, progress)
    threshold = _scores.best_threshold(looked, near_px)
    truths, followed = follow_all(
        finder, looked, kinds, threshold=threshold, frames_per_second=frames_per_second
    )
    counted, alarms = threshold, {}
    counts: dict[str, Any] = {"pictures": _picture_counts(looked, finder.classes, threshold)}
    if truths:
        counted = _track_scores.count_threshold(truths, followed)
        results = _track_scores.assess(
            truths, followed, classes=finder.classes, kinds=kinds, threshold=counted
        )
        alarms = _alarms.to_facts(results.alarms)
        counts["tracks"] = {
            name: [results.true[:, label].tolist(), results.found[:, label].tolist()]
            for label, name in enumerate(finder.classes)
        }
    spots = _tuned(finder.eye, looked, near_px)
    chosen = Chosen(threshold, near_px, counted, alarms, counts, spots)
    scores = _scores.scores_of(
        looked, classes=finder.classes, kinds=kinds, threshold=threshold, distance=near_px,
        detailed=False,
    )  # fmt: skip
    return chosen, scores


def _picture_counts(
    looked: Sequence[Looked], classes: Sequence[str], threshold: float
) -> dict[str, list[list[int]]]:
    """True and found numbers by class, of single pictures, one a group: others are alike."""
    alone_ones = {one.unit.group: one for one in looked if len(one.unit.frames) == 1}
    counts: dict[str, list[list[int]]] = {}
    for label, name in enumerate(classes):
        true, found = [], []
        for one in alone_ones.values():
            best = alone(one.found[0])
            true.append(int((one.unit.frames[0].labels == label).sum()))
            found.append(int(((best.labels == label) & (best.scores >= threshold)).sum()))
        counts[name] = [true, found]
    return counts if alone_ones else {}


def _tuned(eye: Eye, looked: Sequence[Looked], near_px: float) -> Spots:
    """The classical method's setting, on some validation frames in even steps."""
    total = sum(len(one.found) for one in looked)
    step = max(1, total // TUNED_ON)

    def frames() -> Iterator[tuple[Array, Array, Array]]:
        number = 0
        for one in looked:
            for frame, shot in zip(one.unit.frames, eye.follow(one.unit.shots()), strict=True):
                if number % step == 0:
                    yield shot.image, frame.boxes, frame.ignored
                number += 1

    return _threshold.tune(frames(), near_px=near_px)


def compare(
    finder: NetworkFinder,
    units: Sequence[Unit],
    of: AnimalSet,
    chosen: Chosen,
    *,
    frames_per_second: float,
    per_hour: float = PER_HOUR,
    progress: Told | None = None,
) -> Comparison:
    """Score a model on marked pictures, whose classes may be others than its own.

    Args:
        finder: of which `least` is `LEAST`.
        units: the pictures.
        of: the set that they are of.
        chosen: by validation.
        frames_per_second: of sequences that don't say it.
        per_hour: false alarms, by which validation chooses the operating point.
        progress: told how far it is.

    Raises:
        DataError: if no picture could be read.
    """
    classes, kinds, numbers = _cohort.joined(finder.classes, finder.people, finder.vehicles, of)
    looked, failures = look_at(finder, _cohort.relabelled(units, numbers), progress)
    scores = _scores.scores_of(
        looked, classes=classes, kinds=kinds, threshold=chosen.threshold, distance=chosen.near_px
    )
    figures, tables = dict(scores.figures), list(scores.tables)
    baseline = None
    if chosen.spots is not None:
        baseline = _scores.scores_of(
            _spotted(finder.eye, looked, chosen.spots), classes=classes, kinds=kinds,
            threshold=0.0, distance=chosen.near_px, detailed=False,
        )  # fmt: skip
        tables.append(_beside(scores, baseline))
    truths, followed = follow_all(
        finder, looked, kinds, threshold=chosen.threshold, frames_per_second=frames_per_second
    )
    tracks, missed = None, []
    if truths:
        tracks = _track_scores.assess(
            truths, followed, classes=classes, kinds=kinds, threshold=chosen.count_threshold
        )
        points = _alarms.points(
            _alarms.from_facts(chosen.alarms), per_hour, kinds=dict.fromkeys(kinds),
            unknown=chosen.threshold,
        )  # fmt: skip
        figures |= _track_scores.figures(tracks, points)
        tables += _track_scores.tables(tracks, classes, points)
        missed = _track_scores.missed(tracks, classes, points)
    return Comparison(scores, tracks, baseline, figures, tables, missed, looked, failures)


def _spotted(eye: Eye, looked: Sequence[Looked], spots: Spots) -> list[Looked]:
    found = []
    for one in looked:
        shots = eye.follow(one.unit.shots())
        found.append(Looked(one.unit, tuple(spots.find(shot.image) for shot in shots)))
    return found


def _beside(scores: Scores, baseline: Scores) -> Table:
    rows = [
        (words, _scores.said(scores.figures, name), _scores.said(baseline.figures, name))
        for name, words in (
            ("ap50", "AP at 0.5"), ("f1", "F1 by centre distance"), ("precision", "precision"),
            ("recall", "recall"), ("empty_frame_accuracy", "empty frames left empty"),
            ("frame_count_mae", "mean error of a frame's count"),
        )
        if name in scores.figures
    ]  # fmt: skip
    return Table("Beside the classical method", ("figure", "detector", "threshold"), rows)


def prefixed(comparison: Comparison, side: str) -> dict[str, float]:
    """Its figures as a run tracks them, with the classical method's."""
    said = {f"{side}_{name}": value for name, value in comparison.figures.items()}
    if comparison.baseline is not None:
        said |= {
            f"baseline_{side}_{name}": value for name, value in comparison.baseline.figures.items()
        }
    return said


__all__ = ["LEAST", "Chosen", "Comparison", "choose", "compare", "follow_all", "look_at",
           "prefixed"]  # fmt: skip
