"""Boxes beside what is known: which is true, and which lies where nobody looked."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldsight.core.boxes.geometry import By, area, checked_beside
from fieldsight.core.boxes.pairs import Floats, Indices, Join, close_pairs, gathered
from fieldsight.core.boxes.suppression import (
    best_first,
    check_threshold,
    checked_scores,
    group_numbers,
)


def match(
    boxes: ArrayLike,
    truth: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float = 0.5,
    by: By = "iou",
    labels: ArrayLike | None = None,
    truth_labels: ArrayLike | None = None,
) -> Indices:
    """Give each true box to at most one found box, as COCO's evaluation does.

    In order of the scores a box takes the closest true one that is close enough and still
    free. Of equal scores, and of equally close ones, the smaller coordinates go first.

    Reference:
        Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; `evaluateImg` of
        pycocotools. PASCAL VOC differs: there a box asks for the closest true one alone, and is
        wrong if that is taken.

    Args:
        boxes: `(n, 2 * rank)` pixels, what was found.
        truth: `(m, 2 * rank)` pixels.
        scores: `(n,)`, the more the better.
        threshold: close enough is an "iou" or "ios" of at least this, or a "distance" of at most
            this many pixels.
        by: intersection over union, intersection over the smaller, or distance of the centres.
        labels: `(n,)` of any type that sorts: only boxes of one label are compared. None
            compares all.
        truth_labels: `(m,)`, where labels are given.

    Returns:
        `(n,)` int64, the index of its true box or -1.

    Raises:
        ValueError: if they aren't boxes, not of one rank, scores or labels are of another
            length, a score is NaN, or the threshold doesn't fit.

    Example:
        Two found one animal, and the better takes it:

        >>> match([[0, 0, 8, 8], [1, 0, 9, 8]], [[0, 0, 8, 8]], [0.6, 0.9]).tolist()
        [-1, 0]
    """
    found, known = checked_beside(boxes, truth, ("boxes", "truth"))
    values = checked_scores(scores, len(found))
    check_threshold(threshold, by)
    groups, known_groups = _common_groups(labels, truth_labels, len(found), len(known))
    order = best_first(values, found, groups)
    known_order = best_first(np.zeros(len(known)), known, known_groups)
    found, known = found[order], known[known_order]
    join = Join(
        found,
        known,
        groups=None if groups is None else groups[order],
        other_groups=None if known_groups is None else known_groups[known_order],
        by=by,
        reach=threshold,
    )
    i, j, close = gathered(close_pairs(join, found, known, by=by, threshold=threshold))
    closest_first = np.lexsort((j, close if by == "distance" else -close, i))
    taken, free = [-1] * len(found), [True] * len(known)
    for a, b in zip(i[closest_first].tolist(), j[closest_first].tolist(), strict=True):
        if taken[a] < 0 and free[b]:
            taken[a], free[b] = b, False
    answer = np.full(len(found), -1, np.int64)
    places = np.array(taken, np.int64)
    answer[order[places >= 0]] = known_order[places[places >= 0]]
    return answer


def ignored(boxes: ArrayLike, regions: ArrayLike, *, threshold: float = 0.5) -> NDArray[np.bool_]:
    """Which boxes lie in regions where nobody knows what is there: neither right nor wrong.

    Args:
        boxes: `(n, 2 * rank)` pixels.
        regions: `(m, 2 * rank)` pixels; they may overlap each other, and what two of them cover
            counts once.
        threshold: share of a box's own area within the regions from which on it is ignored.

    Returns:
        `(n,)` bool; False for boxes without area.

    Raises:
        ValueError: if they aren't boxes, not of one rank, or the threshold doesn't fit.

    Example:
        >>> ignored([[0, 0, 4, 4], [6, 0, 10, 4]], [[2, 0, 7, 9]]).tolist()
        [True, False]
    """
    check_threshold(threshold, "iou")
    array, known = checked_beside(boxes, regions, ("boxes", "regions"))
    rank = array.shape[1] // 2
    i, j = (np.concatenate(x) for x in zip(_NONE, *Join(array, known).pairs(), strict=True))
    lower = np.maximum(array[i, :rank], known[j, :rank])
    upper = np.minimum(array[i, rank:], known[j, rank:])
    parts = np.prod(upper - lower, axis=1)
    needed = threshold * area(array)
    largest = np.zeros(len(array))
    np.maximum.at(largest, i, parts)
    total = np.bincount(i, parts, len(array))
    answer = (largest >= needed) & (needed > 0)
    # Between these two bounds it matters how the parts overlap each other.
    unsure = (total >= needed) & ~answer & (needed > 0)
    order = np.argsort(i, kind="stable")
    starts = np.searchsorted(i[order], np.arange(len(array) + 1))
    for box in np.flatnonzero(unsure):
        own = order[starts[box] : starts[box + 1]]
        answer[box] = _covered(lower[own], upper[own]) >= needed[box]
    return answer


_NONE = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def _covered(lower: Floats, upper: Floats) -> float:
    """Size of the union of some boxes: cut at every side along the first axis, then the rest."""
    if lower.shape[1] == 1:
        order = np.argsort(lower[:, 0], kind="stable")
        start, stop = lower[order, 0], np.maximum.accumulate(upper[order, 0])
        before = np.concatenate([start[:1], stop[:-1]])
        return float(np.maximum(stop - np.maximum(start, before), 0).sum())
    total = 0.0
    for a, b in pairwise(np.unique([lower[:, 0], upper[:, 0]])):
        here = (lower[:, 0] <= a) & (upper[:, 0] >= b)
        total += (b - a) * _covered(lower[here, 1:], upper[here, 1:])
    return total


def _common_groups(
    labels: ArrayLike | None, others: ArrayLike | None, count: int, other_count: int
) -> tuple[Indices | None, Indices | None]:
    """Number the labels of both sides alike."""
    if labels is None and others is None:
        return None, None
    if labels is None or others is None:
        raise ValueError(
            "labels and truth_labels must be given both or neither. Received: "
            f"{'truth_labels' if labels is None else 'labels'} alone"
        )
    # Each checked alone, so that an error names the length that is wrong.
    group_numbers(labels, count)
    group_numbers(others, other_count)
    both = group_numbers(np.concatenate([labels, others]), count + other_count)
    return both[:count], both[count:]
