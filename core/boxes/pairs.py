"""All pairs of boxes that overlap, found without comparing each with each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldsight.core.boxes.geometry import By, checked, checked_beside, compare

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

AT_ONCE = 2**15  # candidates looked at together: their arrays stay in the processor's cache
ENTRIES = 8  # cells that a box is entered in at most, on the average over all boxes
CELL = 1.5  # side of a cell in mean sides of a box: few candidates for few entries


def overlapping_pairs(boxes: ArrayLike, others: ArrayLike | None = None) -> Indices:
    """All pairs of boxes that share some area, exactly and each once.

    Memory grows with the boxes and the pairs.

    Args:
        boxes: `(n, 2 * rank)` pixels.
        others: `(m, 2 * rank)` pixels, for pairs of a box and another; None for pairs among the
            boxes.

    Returns:
        `(pairs, 2)` int64 in rising order. Among the boxes the first index is the lower; else it
        is a box's and the second another's.

    Raises:
        ValueError: if they aren't boxes, or not of one rank.

    Example:
        >>> overlapping_pairs([[0, 0, 4, 4], [4, 0, 8, 4], [3, 3, 5, 5]]).tolist()
        [[0, 2], [1, 2]]
    """
    if others is None:
        first = second = checked(boxes)
        join = Join(first)
    else:
        first, second = checked_beside(boxes, others, ("boxes", "others"))
        join = Join(first, second)
    found = [i * len(second) + j for i, j in join.pairs()]
    keys = np.sort(np.concatenate([np.zeros(0, np.int64), *found]))
    return np.stack(np.divmod(keys, max(len(second), 1)), axis=1)


class Join:
    """Pairs of boxes in turn: cells along all axes but one, a sweep along that one.

    Each box is entered in the cells that it touches. Within a cell the entries are sorted by
    their lower side along the axis of the sweep, so those that begin within another are
    neighbours. Two boxes may meet in several cells; they count in the one that holds the larger
    of their lower sides along each axis, where at least one of them begins.

    Attributes:
        candidates: how many pairs are looked at, which is known before they are.

    Args:
        boxes: `(n, 2 * rank)`, checked.
        others: `(m, 2 * rank)`, checked, for pairs of a box and another; None for pairs among
            the boxes.
        groups: `(n,)` from 0 on: only boxes of one group make a pair. None for no matter.
        other_groups: `(m,)`, of the others.
        by: what pairs are later compared by. "distance" looks for centres that aren't further
            apart than the reach along any axis, all else for boxes that share some area.
        reach: a distance.
    """

    def __init__(
        self,
        boxes: Floats,
        others: Floats | None = None,
        *,
        groups: Indices | None = None,
        other_groups: Indices | None = None,
        by: By = "iou",
        reach: float = 0.0,
    ) -> None:
        self._among = others is None
        self._start = len(boxes)  # where the others begin
        both = boxes if others is None else np.concatenate([boxes, others])
        if groups is not None and other_groups is not None:
            groups = np.concatenate([groups, other_groups])
        lower, upper = _reaching(both, reach) if by == "distance" else _corners(both)
        # One that shares no area with anything: an entry would only cost time.
        some = np.flatnonzero((lower < upper).all(axis=0))
        lower, upper = lower[:, some], upper[:, some]
        axis = _sweep_axis(lower, upper)
        order = np.argsort(lower[axis])
        self._box = some[order]
        self._lower, self._upper = lower[:, order], upper[:, order]
        self._ends = np.searchsorted(self._lower[axis], self._upper[axis])
        self._across = [k for k in range(len(lower)) if k != axis]
        keys = self._entries(None if groups is None else groups[self._box])
        if self._among:
            self._sweeps = [self._swept(keys, keys, 1)]
        else:
            ours = self._box[self._place(keys)] < self._start
            first, second = keys[ours], keys[~ours]
            self._sweeps = [self._swept(first, second, 0), self._swept(second, first, 0)]
        self.candidates = sum(int(counts.sum()) for _, _, _, counts in self._sweeps)

    def pairs(self) -> Iterator[tuple[Indices, Indices]]:
        """Yield first and second indices, some at a time; among the boxes the lower is first."""
        for openers, partners, starts, counts in self._sweeps:
            ends = np.cumsum(counts)
            total = int(ends[-1]) if len(ends) else 0
            cuts = np.searchsorted(ends, np.arange(AT_ONCE, total, AT_ONCE)).tolist()
            for start, stop in pairwise([0, *cuts, len(counts)]):
                here = slice(start, stop)
                yield self._met(openers[here], partners, starts[here], counts[here])

    def _entries(self, groups: Indices | None) -> Indices:
        """One sorted number an entry: group and cell, place in the sweep, axes it begins along."""
        count = self._lower.shape[1]
        self._place_bits = count.bit_length()
        self._flag_bits = len(self._across)
        kinds = 1 if groups is None or not count else int(groups.max()) + 1
        spare = 62 - self._place_bits - self._flag_bits - kinds.bit_length()
        first, last = self._cells(2.0 ** (spare // max(len(self._across), 1)))
        spans = last - first + 1
        entries = np.prod(spans, axis=0, dtype=np.int64)
        place = np.repeat(np.arange(count), entries)
        within = np.arange(len(place)) - np.repeat(np.cumsum(entries) - entries, entries)
        cell = np.zeros(len(place), np.int64) if groups is None else groups[place]
        flags = np.zeros(len(place), np.int64)
        for k, (start, span) in enumerate(zip(first, spans, strict=True)):
            within, step = np.divmod(within, span[place])
            cell = cell * (int(last[k].max(initial=0)) + 1) + start[place] + step
            flags |= (step == 0).astype(np.int64) << k
        return np.sort(((cell << self._place_bits | place) << self._flag_bits) | flags)

    def _cells(self, limit: float) -> tuple[Indices, Indices]:
        """First and last cell of each box along each axis across the sweep."""
        lower, upper = self._lower[self._across], self._upper[self._across]
        count = lower.shape[1]
        if not count or not self._across:
            none = np.zeros((len(self._across), count), np.int64)
            return none, none
        begin = lower.min(axis=1, keepdims=True)
        extent = upper.max(axis=1, keepdims=True) - begin
        side = np.maximum(CELL * (upper - lower).mean(axis=1, keepdims=True), extent / limit)
        while True:
            first, last = (np.floor((x - begin) / side) for x in (lower, upper))
            if np.prod(last - first + 1, axis=0).sum() <= ENTRIES * count:
                return first.astype(np.int64), last.astype(np.int64)
            side *= 2

    def _place(self, keys: Indices) -> Indices:
        return keys >> self._flag_bits & ((1 << self._place_bits) - 1)

    def _swept(
        self, keys: Indices, partners: Indices, own: int
    ) -> tuple[Indices, Indices, Indices, Indices]:
        """For each entry, which of its possible partners begin within it: from where, how many."""
        bits = self._flag_bits
        cell = keys >> bits >> self._place_bits << self._place_bits
        starts = np.searchsorted(partners, keys) + own
        ends = np.searchsorted(partners, (cell | self._ends[self._place(keys)]) << bits)
        return keys, partners, starts, ends - starts

    def _met(
        self, openers: Indices, partners: Indices, starts: Indices, counts: Indices
    ) -> tuple[Indices, Indices]:
        """The pairs among some candidates."""
        behind = np.cumsum(counts)
        total = int(behind[-1]) if len(behind) else 0
        second = partners[np.arange(total) + np.repeat(starts - behind + counts, counts)]
        first = np.repeat(openers, counts)
        every = (1 << self._flag_bits) - 1
        chosen = np.flatnonzero((first | second) & every == every)
        i, j = self._place(first[chosen]), self._place(second[chosen])
        for k in self._across:
            lower, upper = self._lower[k], self._upper[k]
            chosen = np.flatnonzero((lower[i] < upper[j]) & (lower[j] < upper[i]))
            i, j = i[chosen], j[chosen]
        i, j = self._box[i], self._box[j]
        first, second = np.minimum(i, j), np.maximum(i, j)
        return first, second if self._among else second - self._start


def close_pairs(
    join: Join, boxes: Floats, others: Floats, *, by: By, threshold: float
) -> Iterator[tuple[Indices, Indices, Floats]]:
    """Yield the pairs that are as close as a threshold asks, some at a time.

    Args:
        join: of these boxes.
        boxes: `(n, 2 * rank)`.
        others: `(m, 2 * rank)`; the boxes again for pairs among them.
        by: "iou" or "ios" of at least the threshold, or "distance" of at most it.
        threshold: the same.

    Yields:
        First indices, second indices, and what they were compared by.
    """
    first, second = np.ascontiguousarray(boxes.T), np.ascontiguousarray(others.T)
    for i, j in join.pairs():
        values = compare([x[i] for x in first], [x[j] for x in second], by)
        chosen = np.flatnonzero(values <= threshold if by == "distance" else values >= threshold)
        yield i[chosen], j[chosen], values[chosen]


def gathered(pieces: Iterable[tuple[Indices, Indices, Floats]]) -> tuple[Indices, Indices, Floats]:
    """Put what `close_pairs` yields together."""
    i, j, values = zip((np.zeros(0, np.int64),) * 2 + (np.zeros(0),), *pieces, strict=True)
    return np.concatenate(i), np.concatenate(j), np.concatenate(values)


def _corners(boxes: Floats) -> tuple[Floats, Floats]:
    rank = boxes.shape[1] // 2
    columns = np.ascontiguousarray(boxes.T)
    return columns[:rank], columns[rank:]


def _reaching(boxes: Floats, reach: float) -> tuple[Floats, Floats]:
    """Boxes about the centres that overlap where these are within reach, and hardly else."""
    lower, upper = _corners(boxes)
    middle = (lower + upper) / 2
    # A little more than half, so that rounding loses no pair that is just within reach.
    half = reach / 2 + 1e-9 * (reach + np.abs(middle).max(initial=0.0)) + np.finfo(float).tiny
    return middle - half, middle + half


def _sweep_axis(lower: Floats, upper: Floats) -> int:
    """The axis along which boxes are shortest beside all that they spread over."""
    if not lower.shape[1]:
        return 0
    spread = upper.max(axis=1) - lower.min(axis=1)
    return int(np.argmin((upper - lower).mean(axis=1) / spread))
