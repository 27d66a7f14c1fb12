"""What answers of a tagger are worth: F2 by chip, each tag by itself, with intervals over scenes.

Thresholds are chosen on validation (C-9, D-8), the mean over chips of F2 is what they are chosen
for and what the competition ranks by (D-9).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from fieldsight.core.metrics import (
    average_precision,
    bootstrap,
    expected_calibration_error,
    f_scores,
)
from fieldsight.datasets.planet import TAGS, WEATHER

Array = NDArray[Any]
Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # title, columns, rows

WEATHER_AT = [TAGS.index(tag) for tag in WEATHER]
GROUND_AT = [i for i in range(len(TAGS)) if i not in WEATHER_AT]
CLOUDY = WEATHER.index("cloudy")  # among the weather
GRID = np.round(np.concatenate([[0.01, 0.02, 0.03, 0.04], np.arange(0.05, 0.9, 0.025)]), 3)
FEWEST = 8  # chips of validation with a tag, for the tag to have a threshold of its own
ROUNDS = 3  # over all tags
START = 0.2  # F2 wants a tag that is a fifth likely, about
PULL = 1.0  # chips' whole F2 that a threshold must gain to lie a logit from the one for all


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """From which probability a tag is given, in the order of `TAGS`.

    The weather's are weights: of the four the one whose probability is the largest part of its
    threshold is given, and always exactly one.
    """

    values: tuple[float, ...]

    def decide(self, probabilities: ArrayLike) -> Array:
        """`(n, 17)` bool tags from `(n, 17)` probabilities, as D-8 asks for."""
        shares = np.asarray(probabilities, float) / self.values
        tags = shares >= 1
        winners = np.argmax(shares[:, WEATHER_AT], axis=1)
        tags[:, WEATHER_AT] = np.arange(len(WEATHER_AT)) == winners[:, None]
        tags[np.ix_(winners == CLOUDY, GROUND_AT)] = False
        return tags


def choose_thresholds(probabilities: Array, tags: Array) -> Thresholds:
    """The thresholds of the best mean F2 of validation chips, none far off without need.

    First one for all tags of the ground; then tag by tag, some rounds, those which enough chips
    have. Validation is small: what a threshold gains there must be worth its distance from the
    one for all, or it would be read out of noise. The weather's stay even, so that the likeliest
    is given.

    Args:
        probabilities: `(n, 17)` of the validation chips.
        tags: `(n, 17)` 0 or 1.
    """
    values = np.full(len(TAGS), START)
    values[WEATHER_AT] = 1 / len(WEATHER_AT)

    def best(places: Sequence[int], near: float) -> float:
        worths = []
        for candidate in GRID:
            tried = values.copy()
            tried[places] = candidate
            found = Thresholds(tuple(tried)).decide(probabilities)
            distance = special.logit(candidate) - special.logit(near)
            worths.append(f_scores(tags, found).sum() - PULL * distance**2)
        return float(GRID[int(np.argmax(worths))])

    common = best(GROUND_AT, START)
    values[GROUND_AT] = common
    counts = np.sum(tags, axis=0)
    for _ in range(ROUNDS):
        before = values.copy()
        for place in GROUND_AT:
            if counts[place] >= FEWEST:
                values[place] = best([place], common)
        if np.array_equal(before, values):
            break
    return Thresholds(tuple(map(float, values)))


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a method says of some chips.

    Attributes:
        probabilities: `(n, 17)`.
        thresholds: chosen on validation.
        tags: `(n, 17)` 0 or 1: the truth.
        groups: `(n,)` the scene of each.
    """

    probabilities: Array
    thresholds: Thresholds
    tags: Array
    groups: Array

    @property
    def decided(self) -> Array:
        """`(n, 17)` bool."""
        return self.thresholds.decide(self.probabilities)

    @property
    def f2(self) -> Array:
        """`(n,)` F2 of each chip."""
        return f_scores(self.tags, self.decided)

    def taken(self, indices: Array) -> Answers:
        """The answers on some of the chips."""
        return dataclasses.replace(
            self,
            probabilities=self.probabilities[indices],
            tags=self.tags[indices],
            groups=self.groups[indices],
        )


def figures_of(answers: Answers, prefix: str) -> dict[str, float]:
    """Mean F2 with its 95 % interval over groups, mean AP, calibration; named `{prefix}f2`, ..."""
    f2 = answers.f2
    found = bootstrap(lambda cases: float(f2[cases].mean()), answers.groups)
    precisions = [
        value
        for i in range(len(TAGS))
        if (value := average_precision(answers.tags[:, i], answers.probabilities[:, i])) is not None
    ]
    error = expected_calibration_error(answers.probabilities, answers.tags)
    return {
        f"{prefix}f2": found.value,
        f"{prefix}f2_low": found.low,
        f"{prefix}f2_high": found.high,
        f"{prefix}mean_average_precision": float(np.mean(precisions)),
        f"{prefix}calibration_error": float(error or 0.0),
    }


def more_than(first: Answers, second: Answers) -> tuple[float, float, float]:
    """By how much the first's mean F2 is above the second's, paired, and its 95 % interval."""
    gain = first.f2 - second.f2
    found = bootstrap(lambda cases: float(gain[cases].mean()), first.groups)
    return found.value, found.low, found.high


def by_tag(answers: Answers, title: str) -> Table:
    """Each tag by itself: chips that have it, precision, recall, average precision, threshold."""
    decided, rows = answers.decided, []
    for i, tag in enumerate(TAGS):
        true, found = answers.tags[:, i].astype(bool), decided[:, i]
        hits = int(np.sum(true & found))
        rows.append(
            (
                tag,
                int(true.sum()),
                _share(hits, int(found.sum())),
                _share(hits, int(true.sum())),
                _number(average_precision(true, answers.probabilities[:, i])),
                f"{answers.thresholds.values[i]:.3g}",
            )
        )
    return title, ("tag", "chips", "precision", "recall", "AP", "threshold"), rows


def summary(methods: Mapping[str, Answers], title: str) -> Table:
    """A row a method: mean F2 with its interval, and what the first is above each."""
    rows, first = [], next(iter(methods.values()))
    for name, answers in methods.items():
        figures = figures_of(answers, "")
        gain = ""
        if answers is not first:
            value, low, high = more_than(first, answers)
            gain = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
        rows.append(
            (
                name,
                f"{figures['f2']:.3f}",
                f"{figures['f2_low']:.3f} to {figures['f2_high']:.3f}",
                f"{figures['mean_average_precision']:.3f}",
                f"{figures['calibration_error']:.3f}",
                gain,
            )
        )
    columns = ("method", "mean F2", "95 % interval", "mean AP", "ECE", "network is above by")
    return title, columns, rows


def _share(part: int, whole: int) -> str:
    return _number(part / whole if whole else None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
