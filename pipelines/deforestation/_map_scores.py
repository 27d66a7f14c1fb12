"""How good a map is: classes by overlap, clearings as objects, hectares; intervals over scenes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.core.metrics import Interval, bootstrap, match_objects

Array = NDArray[Any]

OBJECT_HA = 0.25  # a smaller clearing is neither missed nor invented
RESAMPLES = 1000
TOUCHING = np.ones((3, 3), np.int8)  # clearings that touch at a corner are one


@dataclasses.dataclass(frozen=True)
class Counts:
    """What is counted of one map, once; every score is a sum of such.

    Attributes:
        group: that is drawn as a whole for the intervals: a scene, or a block (C-9).
        confusion: `(k, k)` int64 pixels by true and predicted class, from value 1.
        objects: of the target class: found, invented, missed.
        pixel_ha: hectares of one pixel.
    """

    group: str
    confusion: Array
    objects: tuple[int, int, int] = (0, 0, 0)
    pixel_ha: float = 0.0


def confusion(truth: Array, predicted: Array, classes: int) -> Array:
    """`(classes, classes)` int64 pixels by true and predicted class, from value 1.

    Args:
        truth: values, of any shape; 0 is ignored (D-4).
        predicted: values of the same shape; 0, a pixel left open, is a mistake of its own that
            counts for no class: it stands in no column.
        classes: how many, without 0.
    """
    known = truth > 0
    pairs = truth[known].astype(np.int64) * (classes + 1) + predicted[known]
    counted = np.bincount(pairs, minlength=(classes + 1) ** 2)
    return counted.reshape(classes + 1, classes + 1)[1:, 1:]


def count(
    truth: Array,
    predicted: Array,
    classes: int,
    *,
    group: str,
    target: int | None = None,
    pixel_area_m2: float = 0.0,
) -> Counts:
    """Count a map against the truth.

    Args:
        truth: `(rows, columns)` values; 0 is ignored.
        predicted: `(rows, columns)` values.
        classes: how many, without 0.
        group: whose part it is.
        target: the value whose objects are matched; None for none.
        pixel_area_m2: of a pixel; needed for a target.
    """
    objects = (0, 0, 0)
    if target is not None:
        objects = _objects(truth, predicted, target, OBJECT_HA * 1e4 / pixel_area_m2)
    return Counts(group, confusion(truth, predicted, classes), objects, pixel_area_m2 / 1e4)


def _objects(truth: Array, predicted: Array, target: int, least: float) -> tuple[int, int, int]:
    true = ndimage.label(truth == target, TOUCHING)[0]
    found = ndimage.label((predicted == target) & (truth > 0), TOUCHING)[0]
    return match_objects(true, found).counts(least)


def overlaps(table: Array) -> Array:
    """`(k,)` intersection over union of each class; NaN of one that is nowhere."""
    right = np.diag(table).astype(np.float64)
    union = table.sum(axis=0) + table.sum(axis=1) - right
    return np.divide(right, union, out=np.full(len(table), np.nan), where=union > 0)


Statistic = Callable[[Sequence[Counts]], float]


def statistics(classes: Sequence[str], target: str | None) -> dict[str, Statistic]:
    """What is told of maps, by name: a number from what was counted of some of them.

    Args:
        classes: names by value, the first nodata.
        target: the class whose objects and hectares are told; None for none.
    """

    def table(counts: Sequence[Counts]) -> Array:
        return np.sum([one.confusion for one in counts], axis=0)

    def overlap_of(number: int) -> Statistic:
        return lambda counts: float(overlaps(table(counts))[number])

    def mean_overlap(counts: Sequence[Counts]) -> float:
        # Of classes that are there: one that is nowhere true is only ever invented.
        there = table(counts).sum(axis=1) > 0
        return float(np.mean(overlaps(table(counts))[there])) if there.any() else float("nan")

    def accuracy(counts: Sequence[Counts]) -> float:
        whole = table(counts)
        return float(np.trace(whole) / max(1, whole.sum()))

    def object_f1(counts: Sequence[Counts]) -> float:
        found, invented, missed = np.sum([one.objects for one in counts], axis=0)
        total = 2 * found + invented + missed
        return float(2 * found / total) if total else float("nan")

    told: dict[str, Statistic] = {"accuracy": accuracy, "mean_iou": mean_overlap}
    told |= {f"{spelled(name)}_iou": overlap_of(number) for number, name in enumerate(classes[1:])}
    if target is not None and target in classes:
        value = classes.index(target) - 1

        def hectares_error(counts: Sequence[Counts]) -> float:
            each = [(one.confusion * one.pixel_ha) for one in counts]
            whole = np.sum(each, axis=0)
            true = whole[value].sum()
            return float(whole[:, value].sum() / true - 1) if true else float("nan")

        told |= {
            f"{spelled(target)}_object_f1": object_f1,
            f"{spelled(target)}_hectares_error": hectares_error,
        }
    return told


def spelled(name: str) -> str:
    """A class's name within a figure's: of letters, digits and underscores."""
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def intervals(
    counts: Sequence[Counts], classes: Sequence[str], target: str | None, *, seed: int = 0
) -> dict[str, Interval[float]]:
    """Each statistic with its 95 % interval, by bootstrap over groups."""
    groups = [one.group for one in counts]
    told = {}
    for name, statistic in statistics(classes, target).items():

        def of(cases: Array, statistic: Statistic = statistic) -> float:
            return statistic([counts[int(case)] for case in cases])

        told[name] = bootstrap(of, groups, resamples=RESAMPLES, seed=seed)
    return told


def gain(
    ours: Sequence[Counts],
    theirs: Sequence[Counts],
    statistic: Statistic,
    *,
    seed: int = 0,
) -> Interval[float]:
    """How much higher we score on the same groups, with its interval: a paired bootstrap."""

    def of(cases: Array) -> float:
        chosen = [int(case) for case in cases]
        return statistic([ours[i] for i in chosen]) - statistic([theirs[i] for i in chosen])

    found: Interval[float] = bootstrap(
        of, [one.group for one in ours], resamples=RESAMPLES, seed=seed
    )
    return found


def flat(told: Mapping[str, Interval[float]], prefix: str) -> dict[str, float]:
    """Figures by name, with `_low` and `_high` beside each; those that have no answer left out."""
    found: dict[str, float] = {}
    for name, interval in told.items():
        if not np.isnan(interval.value):
            found[f"{prefix}{name}"] = float(interval.value)
        if not np.isnan([interval.low, interval.high]).any():
            found[f"{prefix}{name}_low"] = float(interval.low)
            found[f"{prefix}{name}_high"] = float(interval.high)
    return found


def without_ends(told: Mapping[str, Interval[float]]) -> dict[str, Interval[float]]:
    """The values alone: where nothing independent was held back, an interval would mean nothing."""
    return {name: Interval(one.value, np.nan, np.nan) for name, one in told.items()}


def shown(interval: Interval[float] | None) -> str:
    """As a table tells it: the value, and its interval where there is one."""
    if interval is None or np.isnan(interval.value):
        return "-"
    if np.isnan(interval.low):
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
