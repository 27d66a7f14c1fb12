"""Many boxes of one object become one: suppression and merging, in order of the scores."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fieldsight.core.boxes.geometry import By, checked
from fieldsight.core.boxes.pairs import Floats, Indices, Join, close_pairs, gathered

CROWDED = 64  # candidates a box on the average from which on the best half goes first
ROUNDS = 12  # that decide many boxes at once; what is left, as of a long chain, goes one by one


class Merged(NamedTuple):
    """What `merge` returns.

    Attributes:
        boxes: `(kept, 2 * rank)` float64 pixels, best first.
        scores: `(kept,)` float64, the best of each one's members.
        kept: `(kept,)` int64, the best member of each: `labels[kept]` are the labels.
        members: `(n,)` int64, of each box that came in, which of the merged ones it went into.
    """

    boxes: Floats
    scores: Floats
    kept: Indices
    members: Indices


def suppress(
    boxes: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float = 0.5,
    by: By = "iou",
    labels: ArrayLike | None = None,
) -> Indices:
    """Keep the best box of each crowd: greedy non-maximum suppression.

    In order of the scores a box is kept unless a kept one is too close. Of equal scores the
    smaller coordinates go first, so the answer doesn't depend on the order of the boxes.

    Args:
        boxes: `(n, 2 * rank)` pixels.
        scores: `(n,)`, the more the better.
        threshold: too close is an "iou" or "ios" of at least this, or a "distance" of at most
            this many pixels.
        by: intersection over union, intersection over the smaller, or distance of the centres.
        labels: `(n,)` of any type that sorts: only boxes of one label are compared. None
            compares all.

    Returns:
        `(kept,)` int64 indices, best first.

    Raises:
        ValueError: if they aren't boxes, scores or labels are of another length, a score is NaN,
            or the threshold doesn't fit.

    Example:
        >>> boxes = [[0, 0, 8, 8], [1, 0, 9, 8], [20, 20, 28, 28]]
        >>> suppress(boxes, [0.6, 0.9, 0.5]).tolist()
        [1, 2]
    """
    array, _, order, owners = _settled(boxes, scores, threshold, by, labels)
    return order[owners == np.arange(len(array))]


def merge(
    boxes: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float = 0.5,
    by: By = "ios",
    labels: ArrayLike | None = None,
    how: Literal["union", "mean"] = "union",
) -> Merged:
    """Suppress, but let each kept box take in those that it suppressed.

    Each suppressed box goes to the best kept one that is too close to it. An object that is
    cut into more than two by the seams of windows may need a second call on what the first
    returned.

    Args:
        boxes: `(n, 2 * rank)` pixels.
        scores: `(n,)`, the more the better.
        threshold: as `suppress` has it.
        by: the same. The default joins a part of an object with the whole.
        labels: the same.
        how: "union", the smallest box about all members, for parts of one object; or "mean",
            weighted by the scores, for guesses at the same one.

    Returns:
        Boxes, scores, the best member of each, and where each box went.

    Raises:
        ValueError: as `suppress`; if `how` is neither; if scores are infinite or below 0 and
            boxes are to be weighted by them.

    Example:
        Two halves of one animal, cut by a seam where the windows overlap:

        >>> merged = merge([[0, 0, 6, 4], [4, 0, 10, 4]], [0.9, 0.8], threshold=0.3)
        >>> merged.boxes.tolist(), merged.scores.tolist()
        ([[0.0, 0.0, 10.0, 4.0]], [0.9])
    """
    if how not in ("union", "mean"):
        raise ValueError(f"how must be 'union' or 'mean'. Received: how={how!r}")
    array, weights, order, owners = _settled(boxes, scores, threshold, by, labels)
    if how == "mean" and not ((weights >= 0) & (weights < np.inf)).all():
        raise ValueError(
            "scores must be finite and at least 0 to weight boxes by them: give probabilities, "
            f"or how='union'. Received: from {weights.min()} to {weights.max()}"
        )
    own = owners == np.arange(len(array))
    into = (np.cumsum(own) - 1)[owners]
    members = np.empty_like(into)
    members[order] = into
    joined = (_mean if how == "mean" else _union)(array, weights, into, int(own.sum()))
    return Merged(joined, weights[own], order[own], members)


def _union(boxes: Floats, _: Floats, into: Indices, count: int) -> Floats:
    rank = boxes.shape[1] // 2
    by_group = np.argsort(into, kind="stable")
    starts = np.searchsorted(into[by_group], np.arange(count))
    if not count:
        return boxes
    columns = boxes[by_group]
    lower = np.minimum.reduceat(columns[:, :rank], starts)
    return np.concatenate([lower, np.maximum.reduceat(columns[:, rank:], starts)], axis=1)


def _mean(boxes: Floats, weights: Floats, into: Indices, count: int) -> Floats:
    total = np.bincount(into, weights, count)
    # Scores of 0 alone weigh alike.
    weights = np.where(total[into] > 0, weights, 1.0)
    shares = weights / np.bincount(into, weights, count)[into]
    return np.stack([np.bincount(into, shares * x, count) for x in boxes.T], axis=1)


def _settled(
    boxes: ArrayLike, scores: ArrayLike, threshold: float, by: By, labels: ArrayLike | None
) -> tuple[Floats, Floats, Indices, Indices]:
    """Boxes and scores, best first; where they were; the best kept one of each, among these."""
    array = checked(boxes)
    values = checked_scores(scores, len(array))
    check_threshold(threshold, by)
    groups = None if labels is None else group_numbers(labels, len(array))
    order = best_first(values, array, groups)
    array = array[order]
    owners = np.arange(len(array))
    _settle(owners, owners.copy(), array, by, threshold, None if groups is None else groups[order])
    return array, values[order], order, owners


def _settle(
    owners: Indices,
    these: Indices,
    boxes: Floats,
    by: By,
    threshold: float,
    groups: Indices | None,
) -> None:
    """Write down who suppresses whom among those that none before them suppresses."""
    some = boxes[these]
    theirs = None if groups is None else groups[these]
    join = Join(some, groups=theirs, by=by, reach=threshold)
    if join.candidates <= CROWDED * len(boxes) or len(these) < 2:
        better, worse, _ = gathered(close_pairs(join, some, some, by=by, threshold=threshold))
        _settle_pairs(owners, these, better, worse)
        return
    # A crowd may have as many pairs as the square of its boxes. Its better half leaves few
    # standing, and their pairs with the other half are taken piece by piece.
    middle = len(these) // 2
    best, rest = these[:middle], these[middle:]
    _settle(owners, best, boxes, by, threshold, groups)
    best = best[owners[best] == best]
    join = Join(
        boxes[best],
        boxes[rest],
        groups=None if groups is None else groups[best],
        other_groups=None if groups is None else groups[rest],
        by=by,
        reach=threshold,
    )
    for i, j, _ in close_pairs(join, boxes[best], boxes[rest], by=by, threshold=threshold):
        # Indices rise with falling scores; one that nobody took yet has its own, above all these.
        np.minimum.at(owners, rest[j], best[i])
    _settle(owners, rest[owners[rest] == rest], boxes, by, threshold, groups)


def _settle_pairs(owners: Indices, these: Indices, better: Indices, worse: Indices) -> None:
    """Decide from pairs as if one box after the other was decided."""
    standing = np.ones(len(these), bool)
    i, j = better, worse
    for _ in range(ROUNDS):
        # What has no better neighbour left is kept, and its neighbours aren't.
        threatened = np.zeros(len(these), bool)
        threatened[j] = True
        standing[j[~threatened[i]]] = False
        left = np.flatnonzero(standing[i] & standing[j])
        i, j = i[left], j[left]
    i, j = np.divmod(np.sort(i * len(these) + j), max(len(these), 1))
    rest = standing.tolist()
    for first, second in zip(i.tolist(), j.tolist(), strict=True):
        # All pairs in which the first is the worse one came before: whether it stands is known.
        if rest[first]:
            rest[second] = False
    # The best that suppresses one may have been decided later than another that does, too.
    chosen = np.flatnonzero(np.array(rest, bool)[better])
    found = np.arange(len(these))
    np.minimum.at(found, worse[chosen], better[chosen])
    owners[these] = these[found]


def best_first(scores: Floats, boxes: Floats, groups: Indices | None = None) -> Indices:
    """Order by falling score; equal ones by their coordinates, then by their group."""
    order = np.argsort(-scores)
    ranked = scores[order]
    equal = ranked[1:] == ranked[:-1]
    if equal.any():
        first = np.cumsum(np.concatenate([[True], ~equal]))
        tied = np.flatnonzero(np.concatenate([[False], equal]) | np.concatenate([equal, [False]]))
        keys = [first[tied], *boxes[order[tied]].T]
        if groups is not None:
            keys.append(groups[order[tied]])
        keys.append(order[tied])  # the same in all: by index, for there is nothing else
        order[tied] = order[tied][np.lexsort(keys[::-1])]
    return order


def checked_scores(scores: ArrayLike, count: int) -> Floats:
    """Return scores as float64, or say why they aren't one number a box."""
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (count,) or np.isnan(values).any():
        raise ValueError(
            f"scores must be one number a box, {count} in all, and none NaN. Received: shape "
            f"{values.shape}, {int(np.isnan(values).sum())} NaN"
        )
    return values


def group_numbers(labels: ArrayLike, count: int) -> Indices:
    """Number labels from 0 on, or say why they aren't one a box."""
    array = np.asarray(labels)
    if array.shape != (count,):
        raise ValueError(f"labels must be one a box, {count} in all. Received: shape {array.shape}")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def check_threshold(threshold: float, by: By) -> None:
    """Refuse a threshold that is out of the range of what is compared by."""
    if by not in ("iou", "ios", "distance"):
        raise ValueError(f"by must be 'iou', 'ios' or 'distance'. Received: by={by!r}")
    if by == "distance" and not 0 <= threshold < np.inf:
        raise ValueError(
            f"threshold must be a distance in pixels, 0 or more. Received: {threshold}"
        )
    if by != "distance" and not 0 < threshold <= 1:
        raise ValueError(
            f"threshold must be above 0 and at most 1, as an {by} is. Received: {threshold}. "
            "A distance in pixels wants by='distance'"
        )
