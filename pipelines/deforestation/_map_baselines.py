"""What a map costs without a network: a threshold of NDVI, and a random forest on pixels.

Both are tuned on validation, by the grids here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation._map_scores import confusion, overlaps

Array = NDArray[Any]

# NDVI of a clearing: below what forest has, above what water has.
UPPER = tuple(round(0.30 + 0.025 * step, 3) for step in range(25))
LOWER = (-1.0, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
BINS = 2000  # of NDVI, from -1 to 1: thresholds of the grid are edges of them

LEAVES = (5, 20, 80)  # pixels at least in a leaf of the forest
TREES = 40
SAMPLE = 4000  # pixels of a class that the forest learns from, at most
VALIDATED = 40_000  # pixels by which its leaves are chosen


def ndvi(values: Array, bands: Sequence[str]) -> Array:
    """`(...,)` float32 of `(..., bands)`: (nir - red) / (nir + red), 0 where both are 0.

    Raises:
        CommandError: if a band is missing.
    """
    if not {"red", "nir"} <= set(bands):
        raise CommandError(f"NDVI needs the bands red and nir. Received: {', '.join(bands)}.")
    red, nir = (values[..., bands.index(name)].astype(np.float32) for name in ("red", "nir"))
    total = nir + red
    found = np.divide(nir - red, total, out=np.zeros_like(total), where=total != 0)
    # Reflectance may be below 0, and the ratio then anything.
    return np.clip(found, -1, 1)


@dataclasses.dataclass(frozen=True)
class NdviThreshold:
    """A clearing is where NDVI lies from `lower` to below `upper`."""

    lower: float
    upper: float

    def __call__(self, index: Array) -> Array:
        """Whether each place is a clearing, by its NDVI."""
        return (index >= self.lower) & (index < self.upper)


class NdviCounts:
    """How often clearings and all else have an NDVI: all that tuning a threshold needs."""

    def __init__(self) -> None:
        self.target = np.zeros(BINS, np.int64)
        self.rest = np.zeros(BINS, np.int64)

    def add(self, index: Array, truth: Array, target: int) -> None:
        """Count places.

        Args:
            index: NDVI.
            truth: values of the same shape; 0 is ignored.
            target: the value of a clearing.
        """
        numbers = np.clip(np.floor((index + 1) * (BINS / 2) + 1e-3), 0, BINS - 1).astype(np.int64)
        self.target += np.bincount(numbers[truth == target], minlength=BINS)
        self.rest += np.bincount(numbers[(truth != target) & (truth > 0)], minlength=BINS)

    def best(self) -> tuple[NdviThreshold, float, Array]:
        """The thresholds of the grid with the highest overlap.

        Returns:
            The thresholds, their intersection over union, and that of the whole grid,
            `(len(LOWER), len(UPPER))`.
        """
        # A bin's lower edge belongs to it, so that `upper` counts bins below it alone.
        sides = (LOWER, UPPER)
        hits = np.concatenate([[0], np.cumsum(self.target)])
        false = np.concatenate([[0], np.cumsum(self.rest)])
        low, high = (np.rint((np.array(edges) + 1) * BINS / 2).astype(int) for edges in sides)
        found = np.maximum(hits[high][None] - hits[low][:, None], 0)
        wrong = np.maximum(false[high][None] - false[low][:, None], 0)
        grid = found / np.maximum(1, self.target.sum() + wrong)
        row, column = np.unravel_index(np.argmax(grid), grid.shape)
        return NdviThreshold(LOWER[row], UPPER[column]), float(grid[row, column]), grid


def features(values: Array, bands: Sequence[str]) -> Array:
    """`(n, features)` float32 of `(n, bands)`: the bands, and what ratios of them people use."""
    parts = [np.asarray(values, np.float32)]
    for first, second in (("nir", "red"), ("green", "nir")):
        if {first, second} <= set(bands):
            a, b = values[:, bands.index(first)], values[:, bands.index(second)]
            total = np.asarray(a + b, np.float32)
            ratio = np.divide(a - b, total, out=np.zeros_like(total), where=total != 0)
            parts.append(np.clip(ratio, -1, 1)[:, None])
    return np.concatenate(parts, axis=1)


@dataclasses.dataclass(frozen=True)
class PixelForest:
    """A random forest on pixels.

    Attributes:
        model: scikit-learn's.
        bands: that it was fitted to.
        leaf: pixels at least in a leaf, chosen on validation.
        balanced: whether it learned from as many pixels of each class; chosen on validation.
        scores: overlap on validation by leaf and balance: of the target, else the classes' mean.
    """

    model: Any
    bands: tuple[str, ...]
    leaf: int
    balanced: bool
    scores: dict[tuple[int, bool], float]

    def __call__(self, values: Array) -> Array:
        """`(n,)` uint8 the likeliest value of each of `(n, bands)` pixels."""
        if not len(values):
            return np.zeros(0, np.uint8)
        return np.asarray(self.model.predict(features(values, self.bands)), np.uint8)


def fit_forest(
    train: tuple[Array, Array],
    val: tuple[Array, Array],
    bands: Sequence[str],
    *,
    target: int | None = None,
    seed: int = 0,
    trees: int = TREES,
) -> PixelForest:
    """Fit a random forest to pixels; leaves and balance are chosen on validation.

    Reference:
        Breiman, Random forests, Machine Learning 45, 2001.

    Args:
        train: `(n, bands)` pixels as they come, and `(n,)` values; some are taken.
        val: the same of validation.
        bands: their names.
        target: the value whose overlap decides; None for the mean over classes.
        seed: of the trees and of the pixels taken.
        trees: how many.
    """
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(seed)
    classes = int(max(train[1].max(), val[1].max()))
    held = rng.permutation(len(val[1]))[:VALIDATED]
    held_x, held_y = features(val[0][held], bands), val[1][held]
    best, scores = None, {}
    for balanced in (False, True):
        chosen = _some(train[1], SAMPLE, rng, balanced=balanced)
        x, y = features(train[0][chosen], bands), train[1][chosen]
        for leaf in LEAVES:
            model = RandomForestClassifier(
                trees, min_samples_leaf=leaf, n_jobs=-1, random_state=seed
            )
            found = confusion(held_y, model.fit(x, y).predict(held_x), classes)
            each = overlaps(found)
            there = found.sum(axis=1) > 0
            score = float(np.mean(each[there]) if target is None else each[target - 1])
            scores[leaf, balanced] = score
            if best is None or score > best[0]:
                best = score, PixelForest(model, tuple(bands), leaf, balanced, scores)
    assert best is not None  # noqa: S101  the grid isn't empty
    return best[1]


def _some(values: Array, most: int, rng: np.random.Generator, *, balanced: bool) -> Array:
    """Pixels to learn from: so many of each class at most, or as many in all, as they come."""
    found = np.unique(values)
    if not balanced:
        return np.sort(rng.permutation(len(values))[: most * len(found)])
    parts = [rng.permutation(np.flatnonzero(values == value))[:most] for value in found]
    return np.sort(np.concatenate(parts))
