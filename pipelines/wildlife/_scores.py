"""How well objects are found in frames: AP by size, F1 by centre distance, empty frames, counts.

Whatever the class unless a figure names one: a species that is taken for another is found.
Intervals are of 95 %, over flights (C-9).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.boxes import centres, ignored, match
from fieldsight.core.detection import Detections
from fieldsight.core.metrics import (
    Interval,
    PointScores,
    bootstrap,
    coco_scores,
    count_errors,
    match_points,
)
from fieldsight.pipelines._report import Table
from fieldsight.pipelines.wildlife._cohort import Unit
from fieldsight.pipelines.wildlife._finder import alone
from fieldsight.pipelines.wildlife._tracks import KINDS

Array = NDArray[Any]

# Square pixels: objects from above are tiny, and COCO's smallest class has all of them (W-4).
SIZES = {"below_64": (0.0, 64.0), "64_to_256": (64.0, 256.0), "256_to_1024": (256.0, 1024.0),
         "above_1024": (1024.0, 1e10)}  # fmt: skip
IOU = 0.5
NEAR_PX = 6.0
RECALLS = np.linspace(0, 1, 101)
RESAMPLES = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
    """A sequence or a picture that was looked at.

    Attributes:
        unit: with the frames that could be read.
        found: in each of them, each class by itself, however weak.
    """

    unit: Unit
    found: tuple[Detections, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Figures of frames.

    Attributes:
        figures: by name, with `_low` and `_high` where there is an interval.
        tables: to be printed and shown.
        curve: recall and precision by falling score, of an object within 0.5 IoU.
    """

    figures: Mapping[str, float]
    tables: tuple[Table, ...]
    curve: tuple[Array, Array]


def near_px(units: Sequence[Unit]) -> float:
    """The distance of centres up to which an object is found, in pixels.

    6, or a quarter of a usual side where objects are large; a point's own radius.
    """
    frames = [frame for unit in units for frame in unit.frames if len(frame.boxes)]
    if not frames:
        return NEAR_PX
    sides = [(frame.boxes[:, 2:] - frame.boxes[:, :2]).mean(axis=1) for frame in frames]
    usual = float(np.median(np.concatenate(sides)))
    return usual / 2 if frames[0].points else max(NEAR_PX, usual / 4)


def best_threshold(looked: Sequence[Looked], distance: float) -> float:
    """The score from which on F1 by centre distance is best; for validation frames."""
    found = _frames(looked)
    best = _points(found, distance).best_threshold()
    return 0.5 if best is None else float(np.clip(best, 0.05, 0.95))


def scores_of(
    looked: Sequence[Looked],
    *,
    classes: Sequence[str],
    kinds: Sequence[str],
    threshold: float,
    distance: float,
    detailed: bool = True,
) -> Scores:
    """Score what was found against what was marked.

    Args:
        looked: what was looked at.
        classes: by label, of marks and of what was found.
        kinds: of each label.
        threshold: the score from which a detection is one.
        distance: of centres, up to which an object is found, in pixels.
        detailed: whether COCO's scores by overlap, size, class and kind are made too.

    Raises:
        ValueError: if there is nothing to score.
    """
    every = _frames(looked)
    groups = np.repeat([one.unit.group for one in looked], [len(one.found) for one in looked])
    figures: dict[str, float] = {}
    places = _points(every, distance)
    hits = _hits(every)
    _put(figures, "ap50", _ap_interval(hits, groups))
    counts = places.counts(threshold)
    names: dict[str, Callable[[PointScores], float | None]] = {
        "f1": lambda one: one.f1, "precision": lambda one: one.precision,
        "recall": lambda one: one.recall,
    }  # fmt: skip
    for name, figure in names.items():
        _put(figures, name, _interval(counts, groups, figure))
    if detailed:
        figures |= _coco(every, classes, kinds)
    _frame_figures(figures, every, groups, threshold)
    tables = _tables(figures, every, classes, kinds, distance, detailed=detailed)
    return Scores(figures, tuple(tables), _curve(hits))


@dataclasses.dataclass(frozen=True, eq=False)
class _Frame:
    boxes: Array
    labels: Array
    ignored: Array
    every: Detections  # each class by itself
    found: Detections  # each object once
    unknown: Array  # of found: whether it lies where nobody knows what is there


def _frames(looked: Sequence[Looked]) -> list[_Frame]:
    frames = []
    for one in looked:
        for frame, found in zip(one.unit.frames, one.found, strict=True):
            once = alone(found)
            unknown = ignored(once.boxes, frame.ignored)
            frames.append(_Frame(frame.boxes, frame.labels, frame.ignored, found, once, unknown))
    return frames


def _points(frames: Sequence[_Frame], distance: float) -> Any:
    return match_points(
        [centres(one.boxes) for one in frames], [centres(one.found.boxes) for one in frames],
        scores=[one.found.scores for one in frames], distance=distance,
        ignored=[one.unknown for one in frames],
    )  # fmt: skip


class _Hits(NamedTuple):
    """All that was found, the surest first: sorted once, and not for each of hundreds of draws.

    Attributes:
        hits: whether each is one, by overlap.
        numbers: its frame.
        objects: how many there are in each frame.
    """

    hits: Array
    numbers: Array
    objects: Array


def _hits(frames: Sequence[_Frame]) -> _Hits:
    scores, hits, numbers = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, int)]
    for number, one in enumerate(frames):
        is_hit = match(one.found.boxes, one.boxes, one.found.scores, threshold=IOU) >= 0
        kept = is_hit | ~one.unknown
        scores.append(one.found.scores[kept])
        hits.append(is_hit[kept])
        numbers.append(np.full(int(kept.sum()), number))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    objects = np.array([len(one.boxes) for one in frames])
    return _Hits(np.concatenate(hits)[order], np.concatenate(numbers)[order], objects)


def _curve(found: _Hits, drawn: Array | None = None) -> tuple[Array, Array]:
    """Recall and precision by falling score; of frames that were drawn, each as often."""
    count = len(found.objects)
    times = np.ones(count) if drawn is None else np.bincount(drawn, minlength=count)
    weights = times[found.numbers]
    right = np.cumsum(weights * found.hits)
    total = np.cumsum(weights)
    there = float(np.sum(times * found.objects))
    return right / max(there, 1.0), right / np.maximum(total, 1e-9)


def average_precision(recall: Array, precision: Array) -> float:
    """COCO's mean of the precision at 101 recalls, of a curve by falling score.

    Example:
        Of two objects one was found, first of all:

        >>> round(average_precision(np.array([0.5]), np.array([1.0])), 4)
        0.505
    """
    if not len(recall):
        return 0.0
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(at < len(recall), highest[np.minimum(at, len(recall) - 1)], 0).mean())


def _ap_interval(found: _Hits, groups: Array) -> Interval[float]:
    def statistic(drawn: Array) -> float:
        if not found.objects[drawn].sum():
            return np.nan
        return average_precision(*_curve(found, drawn))

    return bootstrap(statistic, groups, resamples=RESAMPLES)


def _interval(
    counts: Array, groups: Array, figure: Callable[[PointScores], float | None]
) -> Interval[float]:
    def statistic(drawn: Array) -> float:
        value = figure(PointScores(*counts[drawn].sum(axis=0).tolist()))
        return np.nan if value is None else value

    return bootstrap(statistic, groups, resamples=RESAMPLES)


def _coco(
    frames: Sequence[_Frame], classes: Sequence[str], kinds: Sequence[str]
) -> dict[str, float]:
    """COCO's own figures: whatever the class, by kind, by species."""
    truth = [one.boxes for one in frames]
    regions = [one.ignored for one in frames]
    most = max(100, *(len(one.boxes) for one in frames))
    whole = coco_scores(
        truth, [one.found.boxes for one in frames], scores=[one.found.scores for one in frames],
        ignored=regions, sizes=SIZES, max_detections=most,
    )  # fmt: skip
    said = {"ap": whole.ap, **{f"ap_{name}_px2": v for name, v in whole.ap_by_size.items()}}
    present = [kind for kind in KINDS if kind in kinds]
    of_kind = np.array([present.index(kind) for kind in kinds])
    by_kind = _by_label(frames, of_kind, len(present), most)
    said |= {f"ap50_{kind}": by_kind.get(label) for label, kind in enumerate(present)}
    by_species = _by_label(frames, np.arange(len(classes)), len(classes), most)
    known = [value for value in by_species.values() if value is not None]
    said["ap50_mean_of_classes"] = float(np.mean(known)) if known else None
    return {name: float(value) for name, value in said.items() if value is not None}


def _by_label(
    frames: Sequence[_Frame], numbers: Array, count: int, most: int
) -> dict[int, float | None]:
    """AP at 0.5 of each label, after the labels were numbered anew."""
    found = [_renumbered(one.every, numbers) for one in frames]
    scores = coco_scores(
        [one.boxes for one in frames], [one.boxes for one in found],
        scores=[one.scores for one in found],
        true_labels=[numbers[one.labels] for one in frames],
        labels=[one.labels for one in found], ignored=[one.ignored for one in frames],
        num_classes=count, sizes={}, thresholds=(IOU,), max_detections=most,
    )  # fmt: skip
    return scores.ap_by_class


def _renumbered(found: Detections, numbers: Array) -> Detections:
    """Other labels; of boxes that are one object by one label, the best stays."""
    from fieldsight.core.boxes import suppress

    labels = numbers[found.labels]
    kept = suppress(found.boxes, found.scores, threshold=IOU, labels=labels)
    return Detections(found.boxes, found.scores, labels).take(kept)


def _frame_figures(
    figures: dict[str, float], frames: Sequence[_Frame], groups: Array, threshold: float
) -> None:
    """Whether empty frames stay empty, and how far counts by frame are off."""
    there = np.array([len(one.boxes) for one in frames])
    counted = np.array(
        [int(((one.found.scores >= threshold) & ~one.unknown).sum()) for one in frames]
    )
    is_empty = there == 0
    if is_empty.any():
        right = counted == 0

        def accuracy(drawn: Array) -> float:
            mine = drawn[is_empty[drawn]]
            return float(right[mine].mean()) if len(mine) else np.nan

        _put(figures, "empty_frame_accuracy", bootstrap(accuracy, groups, resamples=RESAMPLES))
        figures["empty_frames"] = float(is_empty.sum())
    errors = count_errors(there, counted)
    if errors is not None:
        off = np.abs(counted - there)
        interval = bootstrap(lambda drawn: float(off[drawn].mean()), groups, resamples=RESAMPLES)
        _put(figures, "frame_count_mae", interval)
        figures["frame_count_bias"] = errors.bias


def _put(figures: dict[str, float], name: str, interval: Interval[float]) -> None:
    for ending, value in zip(("", "_low", "_high"), interval, strict=True):
        if np.isfinite(value):
            figures[name + ending] = float(value)


def said(figures: Mapping[str, float], name: str, digits: int = 3) -> str:
    """A figure and its interval in words."""
    if name not in figures:
        return "no answer"
    value = f"{figures[name]:.{digits}f}"
    if f"{name}_low" not in figures:
        return value
    return f"{value} ({figures[f'{name}_low']:.{digits}f} to {figures[f'{name}_high']:.{digits}f})"


def _tables(
    figures: Mapping[str, float],
    frames: Sequence[_Frame],
    classes: Sequence[str],
    kinds: Sequence[str],
    distance: float,
    *,
    detailed: bool,
) -> list[Table]:
    rows: list[tuple[str, str, str]] = [
        (words, name, said(figures, key))
        for key, words, name in (
            ("ap50", "AP at 0.5", "whatever the class"),
            ("ap", "AP at 0.5 to 0.95", "whatever the class"),
            ("f1", "F1", f"centres within {distance:g} px"),
            ("precision", "precision", "the same"),
            ("recall", "recall", "the same"),
            ("empty_frame_accuracy", "empty frames left empty",
             f"{figures.get('empty_frames', 0):.0f} frames"),
            ("frame_count_mae", "mean error of a frame's count", ""),
        )
        if key in figures
    ]  # fmt: skip
    if detailed:
        rows += _detailed(figures, frames, classes, kinds)
    title = f"Objects in {len(frames)} frames, 95 % intervals over flights"
    return [Table(title, ("figure", "of", "value"), rows)]


def _detailed(
    figures: Mapping[str, float],
    frames: Sequence[_Frame],
    classes: Sequence[str],
    kinds: Sequence[str],
) -> list[tuple[str, str, str]]:
    """Rows of AP by size, by kind and over classes."""
    labels = np.concatenate([np.zeros(0, int), *(one.labels for one in frames)]).astype(int)
    counts = np.bincount(labels, minlength=len(classes))
    areas = np.concatenate(
        [np.zeros(0), *(np.prod(one.boxes[:, 2:] - one.boxes[:, :2], axis=1) for one in frames)]
    )
    rows = []
    for name, (low, high) in SIZES.items():
        number = int(((areas >= low) & (areas < high)).sum())
        words = f"of {low:g} to {high:g} px²" if high < 1e9 else f"above {low:g} px²"
        rows.append(("AP", f"{words}, {number} objects", said(figures, f"ap_{name}_px2")))
    for kind in KINDS:
        number = int(sum(counts[i] for i, each in enumerate(kinds) if each == kind))
        if number:
            rows.append(("AP at 0.5", f"{kind}, {number} objects", said(figures, f"ap50_{kind}")))
    rows.append(("AP at 0.5", "mean over classes", said(figures, "ap50_mean_of_classes")))
    return rows
