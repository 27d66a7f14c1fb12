"""What needs no network: how often each tag is, and a logistic regression on band statistics."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.metrics import f_scores
from fieldsight.datasets.planet import TAGS
from fieldsight.pipelines.deforestation._tag_scores import (
    CLOUDY,
    GROUND_AT,
    WEATHER_AT,
    choose_thresholds,
)

Array = NDArray[Any]

# The grid of the regression's penalty, tuned on validation.
PENALTIES = (0.01, 0.1, 1.0, 10.0)
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
EVERY = 2  # every so many pixels along both axes: quantiles hardly change


def statistics(chips: Array, bands: tuple[str, ...]) -> Array:
    """What a chip's histograms tell, and nothing of shapes.

    Args:
        chips: `(n, rows, columns, bands)` digital numbers; 0 in every band is nodata.
        bands: their names.

    Returns:
        `(n, features)`: quantiles, mean and deviation of each band's logarithm, and of the
        normalised differences of near infrared with red (NDVI) and green (NDWI) with near
        infrared, where there are such bands.
    """
    return np.stack([_of_one(chip[::EVERY, ::EVERY], bands) for chip in chips])


def _of_one(chip: Array, bands: tuple[str, ...]) -> Array:
    pixels = chip.reshape(-1, chip.shape[-1])
    valid = pixels[np.any(pixels != 0, axis=1)]
    values = np.maximum(valid if len(valid) else pixels, 0).astype(np.float32)
    columns = [np.log1p(values)]
    named = {name: values[:, i] for i, name in enumerate(bands)}
    for first, second in (("nir", "red"), ("green", "nir"), ("blue", "red")):
        if first in named and second in named:
            total = named[first] + named[second]
            ratio = (named[first] - named[second]) / np.maximum(total, 1)
            columns.append(ratio[:, None])
    table = np.concatenate(columns, axis=1)
    parts = [*np.quantile(table, QUANTILES, axis=0), table.mean(axis=0), table.std(axis=0)]
    return np.concatenate(parts)


@dataclasses.dataclass(frozen=True)
class Frequencies:
    """Says of every chip what is true of training chips."""

    values: tuple[float, ...]

    @classmethod
    def fit(cls, tags: Array) -> Frequencies:
        """Of `(n, 17)` training tags."""
        return cls(tuple(map(float, np.asarray(tags, float).mean(axis=0))))

    def probabilities(self, count: int) -> Array:
        """`(count, 17)`."""
        return np.tile(np.asarray(self.values), (count, 1))


@dataclasses.dataclass(frozen=True)
class Logistic:
    """A regression of the weather, and one of each ground tag where ground can be seen.

    Attributes:
        penalty: inverse strength of the regularisation, chosen on validation.
    """

    mean: Array
    deviation: Array
    weather: Any
    ground: tuple[Any, ...]
    penalty: float

    def probabilities(self, features: Array) -> Array:
        """`(n, 17)` from `(n, features)`, put together as the network's are."""
        scaled = (features - self.mean) / self.deviation
        answers = np.zeros((len(features), len(TAGS)))
        if isinstance(self.weather, int):  # all training chips had the same
            answers[:, WEATHER_AT[self.weather]] = 1.0
        else:
            kinds = np.asarray(WEATHER_AT)[self.weather.classes_]
            answers[:, kinds] = self.weather.predict_proba(scaled)
        seen = 1 - answers[:, WEATHER_AT[CLOUDY]]
        for place, one in zip(GROUND_AT, self.ground, strict=True):
            # A tag that all training chips have, or none, needs no regression.
            given = one if isinstance(one, float) else one.predict_proba(scaled)[:, 1]
            answers[:, place] = given * seen
        return answers


def fit_logistic(features: Array, tags: Array, val_features: Array, val_tags: Array) -> Logistic:
    """The regression, its penalty the best mean F2 of validation over a committed grid."""
    tried = [_fitted(features, tags, penalty) for penalty in PENALTIES]
    return max(tried, key=lambda one: _worth(one.probabilities(val_features), val_tags))


def _worth(probabilities: Array, tags: Array) -> float:
    decided = choose_thresholds(probabilities, tags).decide(probabilities)
    return float(f_scores(tags, decided).mean())


def _fitted(features: Array, tags: Array, penalty: float) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    scaled = (features - mean) / deviation
    weather = tags[:, WEATHER_AT]
    known = weather.sum(axis=1) == 1
    visible = weather[:, CLOUDY] == 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # of steps that don't suffice
        kinds = weather[known].argmax(axis=1)
        first: Any = int(kinds[0]) if len(kinds) else 0
        if len(set(kinds)) > 1:
            first = LogisticRegression(C=penalty, max_iter=300).fit(scaled[known], kinds)
        ground: list[Any] = []
        for place in GROUND_AT:
            true = tags[visible, place]
            if true.min(initial=1) == true.max(initial=0):
                ground.append(float(true.max(initial=0)))
                continue
            one = LogisticRegression(C=penalty, max_iter=300)
            ground.append(one.fit(scaled[visible], true))
    return Logistic(mean, deviation, first, tuple(ground), penalty)
