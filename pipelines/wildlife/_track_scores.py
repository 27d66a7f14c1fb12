"""What tracks are worth: HOTA, IDF1, MOTA; counts; recall by track, the missed ones listed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.metrics import (
    Alarms,
    Interval,
    Tracks,
    TrackScores,
    alarms,
    bootstrap,
    count_errors,
    match_tracks,
    track_scores,
    without_ignored,
)
from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines._report import Table
from fieldsight.pipelines.wildlife._tracks import KINDS, PERSON, Followed

if TYPE_CHECKING:
    from fieldsight.datasets.animals import Frame
    from fieldsight.pipelines.wildlife._alarms import Point

Array = NDArray[Any]

REACH_PX = 6.0  # beyond an object's box that an alarm may point
RESAMPLES = 500
CONFIDENCE = 0.9  # of a count's interval


@dataclass(frozen=True, eq=False)
class Truth:
    """The true tracks of one sequence.

    Attributes:
        name: of the flight or video.
        rows: frames, tracks and boxes.
        labels: `(n,)` of the rows.
        regions: boxes that are neither right nor wrong.
    """

    name: str
    rows: Tracks
    labels: Array
    regions: Tracks

    def of(self, labels: Iterable[int]) -> Tracks:
        """The rows of some labels."""
        return self.rows.where(np.isin(self.labels, list(labels)))

    def label_of(self) -> dict[int, int]:
        """Of each track the label that most of its rows have."""
        tracks = np.asarray(self.rows.tracks)
        return {
            int(track): int(np.bincount(self.labels[tracks == track]).argmax())
            for track in np.unique(tracks)
        }


def truth_of(name: str, frames: Sequence[Frame]) -> Truth | None:
    """The true tracks of a group; None where somebody left an object without a track.

    Args:
        name: of the group.
        frames: of one group, in any order.
    """
    if any((frame.tracks < 0).any() for frame in frames):
        return None

    def numbers(parts: Sequence[Array]) -> Array:
        return np.repeat([frame.index for frame in frames], [len(one) for one in parts])

    boxes = [frame.boxes for frame in frames]
    ignored = [frame.ignored for frame in frames]
    tracks = np.concatenate([np.zeros(0, np.int64), *(frame.tracks for frame in frames)])
    labels = np.concatenate([np.zeros(0, np.int64), *(frame.labels for frame in frames)])
    every, none = np.concatenate([np.zeros((0, 4)), *boxes]), np.zeros((0, 4))
    where = np.concatenate([none, *ignored])
    return Truth(
        name, Tracks(numbers(boxes), tracks, every), labels,
        Tracks(numbers(ignored), np.zeros(len(where), np.int64), where),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class TrackResults:
    """What was made of a set of sequences.

    Attributes:
        names: of the sequences.
        scores: HOTA and the others of each, whatever the class, of tracks that are counted.
        alarms: by kind, at whatever threshold.
        labels: of the missed ones and all other true tracks, by sequence and track.
        true: `(sequences, classes)` how many tracks there are.
        found: `(sequences, classes)` how many are counted.
    """

    names: tuple[str, ...]
    scores: tuple[TrackScores, ...]
    alarms: Mapping[str, Alarms]
    labels: Mapping[tuple[str, int], int]
    true: Array
    found: Array

    def interval(self, figure: Callable[[TrackScores], float | None]) -> Interval[float]:
        """A figure of all sequences and its 95 % interval over them (C-9)."""

        def statistic(drawn: Array) -> float:
            value = figure(sum((self.scores[i] for i in drawn), TrackScores()))
            return np.nan if value is None else value

        return bootstrap(statistic, np.arange(len(self.scores)), resamples=RESAMPLES)

    def recall(self, kind: str, threshold: float) -> Interval[float]:
        """Share of a kind's true tracks that raise an alarm, and its interval over sequences."""
        one = self.alarms[kind]
        sequences = np.array([self.names.index(name) for name, _ in one.names], np.int64)
        found = np.bincount(sequences, one.found(threshold), len(self.names))
        there = np.bincount(sequences, minlength=len(self.names))

        def statistic(drawn: Array) -> float:
            total = there[drawn].sum()
            return float(found[drawn].sum() / total) if total else np.nan

        return bootstrap(statistic, np.arange(len(self.names)), resamples=RESAMPLES)


def assess(
    truths: Sequence[Truth],
    followed: Sequence[Followed],
    *,
    classes: Sequence[str],
    kinds: Sequence[str],
    threshold: float,
) -> TrackResults:
    """Compare what was followed with the truth, sequence by sequence.

    Args:
        truths: of each sequence.
        followed: the same sequences, in their order.
        classes: by label.
        kinds: of each label.
        threshold: of a track's score, from which on it is counted (`count_threshold`).

    Raises:
        ValueError: if there is no sequence, or they aren't the same.
    """
    names = tuple(one.name for one in truths)
    if not names or names != tuple(one.name for one in followed):
        raise ValueError(
            "the same sequences in one order are needed, one at least. Received: "
            f"{names} and {tuple(one.name for one in followed)}."
        )
    pairs = list(zip(truths, followed, strict=True))
    scores = []
    for truth, one in pairs:
        counted = without_ignored(truth.rows, one.rows_of(one.at(threshold)), truth.regions)
        scores.append(track_scores(truth.rows, counted))
    labels = {(truth.name, track): label for truth in truths
              for track, label in truth.label_of().items()}  # fmt: skip
    true, found = (np.zeros((len(names), len(classes)), np.int64) for _ in range(2))
    for (name, _), label in labels.items():
        true[names.index(name), label] += 1
    for row, (truth, one) in zip(found, pairs, strict=True):
        for track in _countable(truth, one, threshold):
            row[one.labels[track]] += 1
    by_kind = {kind: _alarms(pairs, kinds, kind) for kind in KINDS if kind in kinds}
    return TrackResults(names, tuple(scores), by_kind, labels, true, found)


def count_threshold(truths: Sequence[Truth], followed: Sequence[Followed]) -> float:
    """The score from which on counted tracks are nearest to the true ones; of validation flights.

    By the mean absolute error a sequence, all classes together; of equals the highest.
    """
    there = np.array([len(np.unique(truth.rows.tracks)) for truth in truths])
    scores = [
        np.array([one.scores[track] for track in _countable(truth, one, -np.inf)])
        for truth, one in zip(truths, followed, strict=True)
    ]
    every = np.unique(np.concatenate([[0.0], *scores]))
    errors = [
        np.abs(np.array([(one >= threshold).sum() for one in scores]) - there).mean()
        for threshold in every
    ]
    return float(every[len(every) - 1 - int(np.argmin(errors[::-1]))])


def count_interval(
    true: Array, found: Array, confidence: float = CONFIDENCE
) -> Callable[[int], tuple[float, float]] | None:
    """From a count to the interval that holds the true one, by validation's errors.

    Split conformal prediction: errors in roots of the count, for a count's spread grows with it;
    a new sequence's lies within the quantile with the stated confidence if it is like these.

    Reference:
        Lei et al., Distribution-free predictive inference for regression, Journal of the American
        Statistical Association 113, 2018, section 2.2.

    Args:
        true: `(sequences,)` how many there are.
        found: `(sequences,)` how many were counted.
        confidence: of the interval.

    Returns:
        None where there are too few sequences: 9 at least for a confidence of 0.9.
    """
    off = np.sort(np.abs(np.asarray(true, float) - found) / np.sqrt(np.asarray(found, float) + 1))
    rank = int(np.ceil((len(off) + 1) * confidence - 1e-9))
    if rank > len(off):
        return None
    reach = float(off[rank - 1])

    def interval(count: int) -> tuple[float, float]:
        width = reach * np.sqrt(count + 1)
        return float(max(0.0, np.ceil(count - width))), float(np.floor(count + width))

    return interval


def figures(results: TrackResults, points: Mapping[str, Point]) -> dict[str, float]:
    """The figures of a run by the names that it tracks; those without an answer are left out."""
    said: dict[str, float] = {}
    for name, figure in _FIGURES.items():
        _put(said, name, results.interval(figure))
    said["track_switches"] = float(sum(one.switches for one in results.scores))
    errors = count_errors(results.true.sum(axis=1), results.found.sum(axis=1))
    if errors is not None:
        said |= {"track_count_mae": errors.mae, "track_count_bias": errors.bias}
    for kind, point in points.items():
        if kind not in results.alarms:
            continue
        one = results.alarms[kind]
        if len(one.best):
            _put(said, f"{kind}_track_recall", results.recall(kind, point.threshold))
        _put(said, f"{kind}_false_alarms_per_hour", Interval(*one.per_hour(point.threshold)))
    return said


def tables(
    results: TrackResults, classes: Sequence[str], points: Mapping[str, Point]
) -> list[Table]:
    """Tracks, alarms and counts, to be printed and shown."""
    rows = [(words, _said(results.interval(_FIGURES[name]))) for name, words in _WORDS.items()]
    rows.append(("switches of number", str(sum(one.switches for one in results.scores))))
    counts = [
        (name, *np.stack([results.true, results.found]).sum(axis=1)[:, label].tolist(),
         f"{np.abs(results.found - results.true)[:, label].mean():.2f}")
        for label, name in enumerate(classes)
        if results.true[:, label].any() or results.found[:, label].any()
    ]  # fmt: skip
    return [
        Table(f"Tracks of {len(results.names)} sequences, 95 % intervals over them",
              ("figure", "value"), rows),
        Table("Alarms at the operating point that validation chose",
              ("kind", "threshold", "tracks", "found", "recall", "false alarms an hour"),
              [_alarm_row(results, kind, point.threshold) for kind, point in points.items()
               if kind in results.alarms]),
        Table("Counted by tracks (W-8)", ("class", "there", "counted", "mean error a sequence"),
              counts),
    ]  # fmt: skip


def missed(
    results: TrackResults,
    classes: Sequence[str],
    points: Mapping[str, Point],
    kinds: Iterable[str] = (PERSON,),
) -> list[tuple[str, str, int, str]]:
    """Kind, sequence, number and class of each true track that raised no alarm (W-11)."""
    return [
        (kind, name, track, classes[results.labels[name, track]])
        for kind in kinds
        if kind in points and kind in results.alarms
        for name, track in results.alarms[kind].missed(points[kind].threshold)
    ]


def write_missed(path: Path, rows: Sequence[tuple[str, str, int, str]]) -> None:
    """Write missed.csv, a row a missed track; a header alone where none was.

    Raises:
        OSError: if it can't be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("kind", "sequence", "track", "class"))
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


_FIGURES: dict[str, Callable[[TrackScores], float | None]] = {
    "track_hota": lambda scores: scores.hota,
    "track_det_a": lambda scores: scores.det_a,
    "track_ass_a": lambda scores: scores.ass_a,
    "track_idf1": lambda scores: scores.idf1,
    "track_mota": lambda scores: scores.mota,
}
_WORDS = {
    "track_hota": "HOTA",
    "track_det_a": "DetA, HOTA's detection",
    "track_ass_a": "AssA, HOTA's association",
    "track_idf1": "IDF1",
    "track_mota": "MOTA",
}


def _countable(truth: Truth, one: Followed, threshold: float) -> list[int]:
    """Tracks that are counted: not those that lie where nobody knows what is there."""
    kept = one.at(threshold)
    left = without_ignored(truth.rows, one.rows_of(kept), truth.regions)
    whole, rest = (np.asarray(rows.tracks) for rows in (one.rows, left))
    return [track for track in kept if 2 * np.sum(rest == track) >= np.sum(whole == track)]


def _alarms(pairs: Sequence[tuple[Truth, Followed]], kinds: Sequence[str], kind: str) -> Alarms:
    """Tracks with any evidence of a kind beside the true ones of that kind."""
    mine = [label for label, name in enumerate(kinds) if name == kind]
    hits, scores = [], []
    for truth, one in pairs:
        tracks = [track for track, evidence in one.evidence.items() if evidence.get(kind, 0) > 0]
        hits.append(match_tracks(
            truth.of(mine), one.rows_of(tracks), reach_px=REACH_PX, regions=truth.regions
        ))  # fmt: skip
        scores.append({track: one.evidence[track][kind] for track in tracks})
    hours = sum(one.seconds for _, one in pairs) / 3600
    return alarms([truth.name for truth, _ in pairs], hits, scores, hours=hours)


def _alarm_row(results: TrackResults, kind: str, threshold: float) -> tuple[object, ...]:
    one = results.alarms[kind]
    recall = _said(results.recall(kind, threshold)) if len(one.best) else "none there"
    return (kind, f"{threshold:.3f}", len(one.best), int(one.found(threshold).sum()), recall,
            _said(Interval(*one.per_hour(threshold)), digits=1))  # fmt: skip


def _put(said: dict[str, float], name: str, interval: Interval[float]) -> None:
    for ending, value in zip(("", "_low", "_high"), interval, strict=True):
        if np.isfinite(value):
            said[name + ending] = float(value)


def _said(interval: Interval[float], digits: int = 3) -> str:
    value, low, high = (f"{part:.{digits}f}" for part in interval)
    return "no answer" if np.isnan(interval.value) else f"{value} ({low} to {high})"
