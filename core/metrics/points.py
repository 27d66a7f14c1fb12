"""Precision, recall and F1 of what was found, by the distance between centres.

Two pixels off is an IoU of 0.39 for a bird of eight pixels: for tiny objects a distance says
better than an overlap whether one was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from fieldsight.core.metrics import _checks


@dataclass(frozen=True)
class PointScores:
    """Hits, misses and false alarms, and what follows from them.

    Attributes:
        hits: objects that were found.
        misses: objects that weren't.
        false_alarms: findings that are no object, or one that was found already.
    """

    hits: int
    misses: int
    false_alarms: int

    @property
    def precision(self) -> float | None:
        """Share of the findings that are right; None where nothing was found."""
        return _share(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> float | None:
        """Share of the objects that were found; None where there is none."""
        return _share(self.hits, self.hits + self.misses)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both; None where there is nothing and nothing was found."""
        return _share(2 * self.hits, 2 * self.hits + self.misses + self.false_alarms)


@dataclass(frozen=True, eq=False)
class PointMatches:
    """Which findings of a set of images are hits.

    Because a better finding is matched before a worse one, whatever threshold is set later,
    the matches of those above it are the same: one matching serves all thresholds.

    Attributes:
        scores: `(n,)` of all findings of all images; those to be ignored are left out.
        is_hit: `(n,)` whether each found an object that no better one had found.
        images: `(n,)` the image of each, from 0.
        objects: `(images,)` how many objects each image has.
    """

    scores: NDArray[np.float64]
    is_hit: NDArray[np.bool_]
    images: NDArray[np.int64]
    objects: NDArray[np.int64]

    def counts(self, threshold: float = -np.inf) -> NDArray[np.int64]:
        """Hits, misses and false alarms of each image, by findings of at least `threshold`.

        `(images, 3)`, what a bootstrap draws from: `PointScores(*counts[drawn].sum(0).tolist())`.
        """
        kept = self.scores >= threshold
        total = len(self.objects)
        hits = np.bincount(self.images[kept & self.is_hit], minlength=total)
        false_alarms = np.bincount(self.images[kept & ~self.is_hit], minlength=total)
        return np.stack([hits, self.objects - hits, false_alarms], axis=1)

    def at(self, threshold: float = -np.inf) -> PointScores:
        """Scores of all images together, by findings of at least `threshold`."""
        hits, misses, false_alarms = self.counts(threshold).sum(axis=0).tolist()
        return PointScores(hits, misses, false_alarms)

    def curve(self) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[Any]]:
        """Distinct scores, falling, and the hits and false alarms of findings of at least each."""
        order = np.argsort(-self.scores, kind="stable")
        scores, is_hit = self.scores[order], self.is_hit[order]
        last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else order
        hits = np.cumsum(is_hit)[last]
        return scores[last], hits, last + 1 - hits

    def best_threshold(self) -> float | None:
        """The score from which on F1 is best, the highest such; None where nothing was found.

        To be chosen on validation data, and used on the test split.
        """
        thresholds, hits, false_alarms = self.curve()
        if not len(thresholds):
            return None
        f1 = 2 * hits / (hits + false_alarms + self.objects.sum())
        return float(thresholds[int(np.argmax(f1))])

    def threshold_at(self, false_alarms: float) -> float | None:
        """The lowest score from which on there are at most so many false alarms an image.

        The operating point of a search: what is found within a budget of alarms to look at. None
        where even the best finding is an alarm too many, or nothing was found. To be chosen on
        validation data, as `best_threshold`.
        """
        thresholds, _, alarms = self.curve()
        within = np.flatnonzero(alarms <= false_alarms * len(self.objects))
        return float(thresholds[within[-1]]) if len(within) else None


def match_points(
    truth: Sequence[ArrayLike],
    found: Sequence[ArrayLike],
    *,
    scores: Sequence[ArrayLike],
    distance: float,
    true_labels: Sequence[ArrayLike] | None = None,
    labels: Sequence[ArrayLike] | None = None,
    ignored: Sequence[ArrayLike] | None = None,
) -> PointMatches:
    """Match findings to objects one to one: the best finding first, to the nearest that is free.

    Of equal scores the earlier finding is first, of equal distances the earlier object.

    Args:
        truth: centres of each image's objects, `(objects, axes)`; an empty list where it has none.
        found: centres of each image's findings, `(findings, axes)`.
        scores: of each image's findings, `(findings,)`.
        distance: in the unit of the centres, at which a finding still is a hit.
        true_labels: of each image's objects, `(objects,)`; with `labels`, so that objects
            are found only by findings of their class.
        labels: of each image's findings, `(findings,)`.
        ignored: `(findings,)` whether each lies in a region that isn't to be scored: there a hit
            is a hit, and what is none is left out.

    Raises:
        ValueError: if the lists differ in length, an image's arrays don't fit together, a number
            isn't finite, or only one kind of labels is there.

    Example:
        Two findings near one object: the better one is the hit.

        >>> matches = match_points([[[5, 5]]], [[[5, 6], [5, 5]]], scores=[[0.9, 0.8]], distance=2)
        >>> matches.at()
        PointScores(hits=1, misses=0, false_alarms=1)
        >>> matches.at(0.85).f1
        1.0
    """
    _checks.as_many(
        truth=truth, found=found, scores=scores, true_labels=true_labels, labels=labels,
        ignored=ignored,
    )  # fmt: skip
    if (true_labels is None) != (labels is None):
        raise ValueError("true_labels and labels are needed both, or neither. Received: one.")
    if not distance >= 0:
        raise ValueError(f"distance must be at least 0. Received: {distance}.")
    all_scores, hits, images = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, np.int64)]
    objects = []
    for image in range(len(truth)):
        found_here = _checks.rows("found", found[image], None)
        width = found_here.shape[1] if len(found_here) else None
        true_here = _checks.rows("truth", truth[image], width)
        scores_here = _checks.column("scores", scores[image], len(found_here))
        kinds = None
        if true_labels is not None and labels is not None:
            kinds = (
                _checks.column("true_labels", true_labels[image], len(true_here)),
                _checks.column("labels", labels[image], len(found_here)),
            )
        is_hit = _hits(true_here, found_here, scores_here, distance, kinds)
        kept = np.ones(len(is_hit), bool)
        if ignored is not None:
            masked = _checks.column("ignored", ignored[image], len(found_here)).astype(bool)
            kept = is_hit | ~masked
        all_scores.append(scores_here[kept])
        hits.append(is_hit[kept])
        images.append(np.full(int(kept.sum()), image, np.int64))
        objects.append(len(true_here))
    return PointMatches(
        np.concatenate(all_scores),
        np.concatenate(hits),
        np.concatenate(images),
        np.array(objects, np.int64),
    )


def _hits(
    truth: NDArray[np.float64],
    found: NDArray[np.float64],
    scores: NDArray[np.float64],
    distance: float,
    kinds: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> NDArray[np.bool_]:
    is_hit = np.zeros(len(found), bool)
    if not len(truth) or not len(found):
        return is_hit
    pairs = KDTree(found).sparse_distance_matrix(KDTree(truth), distance, output_type="ndarray")
    finding, target, apart = pairs["i"], pairs["j"], pairs["v"]
    if kinds is not None:
        same = kinds[0][target] == kinds[1][finding]
        finding, target, apart = finding[same], target[same], apart[same]
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(found))
    order = np.lexsort((target, apart, rank[finding]))
    taken = [False] * len(truth)
    for one, other in zip(finding[order].tolist(), target[order].tolist(), strict=True):
        if not taken[other] and not is_hit[one]:
            taken[other] = is_hit[one] = True
    return is_hit


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
