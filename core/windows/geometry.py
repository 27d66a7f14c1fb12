"""Where windows start, which of their places count, and with what weight."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Blend = Literal["crop", "average", "taper"]
BLENDS = ("crop", "average", "taper")
Slices = tuple[slice, ...]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The windows along one axis of an array.

    Attributes:
        side: of the array.
        window: places of a window; a multiple of the stride.
        margin: places at either end of a window that don't count, but where the array ends.
        stride: all starts, margins and seams are multiples of it.
        starts: of the windows, rising; the first is 0, the last window ends where the array
            ends, rounded up to the stride, or beyond it.
    """

    side: int
    window: int
    margin: int
    stride: int
    starts: tuple[int, ...]

    @property
    def padded(self) -> int:
        """Where the last window ends."""
        return self.starts[-1] + self.window

    @cached_property
    def kept(self) -> tuple[tuple[int, int], ...]:
        """The first place and the end of what counts of each window.

        Beyond the array's border there is nothing that a window lacks: its margin counts there.
        """
        last = len(self.starts) - 1
        return tuple(
            (
                start + (self.margin if index > 0 else 0),
                start + self.window - (self.margin if index < last else 0),
            )
            for index, start in enumerate(self.starts)
        )

    @cached_property
    def cores(self) -> tuple[tuple[int, int], ...]:
        """As `kept`, cut in the middle of what two windows keep: each place is in one core."""
        pairs = itertools.pairwise(self.kept)
        middles = [(end + start) // 2 for (_, end), (start, _) in pairs]
        cuts = [0, *(middle // self.stride * self.stride for middle in middles), self.padded]
        return tuple(itertools.pairwise(cuts))

    def spans(self, blend: Blend) -> tuple[tuple[int, int], ...]:
        """The first place and the end of what each window gives to the answer."""
        return self.cores if blend == "crop" else self.kept

    def weights(self, index: int, blend: Blend, scale: int = 1) -> NDArray[np.float32]:
        """The weights of a window's places, from the first that counts to the last.

        Args:
            index: of the window.
            blend: "crop" and "average" weigh alike what counts; "taper" falls to nothing
                towards a seam, in a straight line.
            scale: places of the array for one of the answer.

        Returns:
            `(places,)`; over all windows the weights of a place sum to one.
        """
        spans = self.spans(blend)
        first, end = spans[index]
        places = np.arange(first // scale, end // scale)
        if blend == "crop":
            return np.ones(len(places), np.float32)
        total = np.zeros(len(places))
        own = total
        for other, (start, stop) in enumerate(spans):
            if start < end and stop > first:
                raw = self._raw(other, blend, places, scale)
                total = total + raw
                own = raw if other == index else own
        return (own / total).astype(np.float32)

    def _raw(self, index: int, blend: Blend, places: NDArray[Any], scale: int) -> NDArray[Any]:
        """Weights of a window at places of the answer, before they are made to sum to one."""
        first, end = (edge // scale for edge in self.kept[index])
        inside = (places >= first) & (places < end)
        if blend == "average":
            return inside.astype(float)
        # An array's border is no seam: nothing else answers there.
        before = places - first + 0.5 if index > 0 else np.full(len(places), np.inf)
        after = end - places - 0.5 if index < len(self.starts) - 1 else np.inf
        nearest = np.minimum(np.minimum(before, after), float(self.padded))
        return np.where(inside, nearest, 0.0)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where an array's windows lie: every combination of those along its axes.

    Windows that start at the same place of the first axis are a row; rows come in order, so
    what lies before the next row's first place that counts is finished.
    """

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides of the array."""
        return tuple(axis.side for axis in self.axes)

    @property
    def window(self) -> tuple[int, ...]:
        """Sides of a window."""
        return tuple(axis.window for axis in self.axes)

    @property
    def padded(self) -> tuple[int, ...]:
        """Sides of what the windows cover."""
        return tuple(axis.padded for axis in self.axes)

    @property
    def rows(self) -> int:
        """How many rows of windows there are."""
        return len(self.axes[0].starts)

    @property
    def in_row(self) -> int:
        """How many windows a row has."""
        return math.prod(len(axis.starts) for axis in self.axes[1:])

    @property
    def count(self) -> int:
        """How many windows there are."""
        return self.rows * self.in_row

    def row(self, row: int) -> Iterator[tuple[int, ...]]:
        """Yield the windows of a row, each by its number along every axis."""
        others = (range(len(axis.starts)) for axis in self.axes[1:])
        yield from itertools.product([row], *others)

    def windows(self) -> Iterator[tuple[int, ...]]:
        """Yield all windows in the order in which they are run."""
        for row in range(self.rows):
            yield from self.row(row)

    def start(self, index: Sequence[int]) -> tuple[int, ...]:
        """The first place of a window."""
        return tuple(axis.starts[i] for axis, i in zip(self.axes, index, strict=True))

    def inside(self, index: Sequence[int]) -> Slices:
        """The part of a window that lies in the array."""
        return tuple(
            slice(start, min(start + axis.window, axis.side))
            for axis, start in zip(self.axes, self.start(index), strict=True)
        )

    def spans(self, index: Sequence[int], blend: Blend) -> tuple[tuple[int, int], ...]:
        """The first place and the end, along each axis, of what a window gives."""
        return tuple(axis.spans(blend)[i] for axis, i in zip(self.axes, index, strict=True))

    def finished(self, row: int, blend: Blend) -> int:
        """The end, along the first axis, of what no row after this one changes."""
        if row + 1 == self.rows:
            return self.axes[0].padded
        return self.axes[0].spans(blend)[row + 1][0]

    def needed(self, row: int, blend: Blend) -> int:
        """The first row that gives to what isn't finished before this row."""
        done = self.finished(row - 1, blend) if row else 0
        ends = (end for _, end in self.axes[0].spans(blend))
        return next(index for index, end in enumerate(ends) if end > done)


def plan(
    shape: Sequence[int],
    window: int | Sequence[int],
    *,
    margin: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
    overlap: int | Sequence[int] = 0,
    shrink: bool = True,
) -> Plan:
    """Say where windows lie that cover an array of any rank.

    Starts are multiples of the stride. The first window starts where the array does, the last
    ends where it ends, rounded up to the stride: only the places up to there are padding. A
    margin counts where the array ends, because a model pads there what it would pad on the
    whole array; elsewhere it doesn't.

    Args:
        shape: sides of the array, without channels.
        window: sides of a window, multiples of the stride; one for all axes, or one for each.
        margin: places that don't count at a window's ends; rounded up to the stride.
        stride: of the model in all.
        overlap: places, at least, that two neighbours both keep, to be blended.
        shrink: take a smaller window where the array is smaller, rather than pad it.

    Returns:
        The windows, row by row along the first axis.

    Raises:
        ValueError: if a side is none, a window isn't a multiple of the stride, or it is
            too small to leave anything between its margins and overlap.

    Example:
        >>> axis = plan([1000], 256, margin=20, stride=16).axes[0]
        >>> axis.starts, axis.padded
        ((0, 192, 384, 576, 752), 1008)
        >>> axis.kept[:2]
        ((0, 224), (224, 416))
    """
    sides = tuple(int(side) for side in shape)
    if not sides or min(sides) < 1:
        raise ValueError(f"an array needs at least one place along each axis. Received: {sides}")
    rank = len(sides)
    each = zip(
        sides,
        per_axis("window", window, rank, 1),
        per_axis("margin", margin, rank, 0),
        per_axis("stride", stride, rank, 1),
        per_axis("overlap", overlap, rank, 0),
        strict=True,
    )
    return Plan(axes=tuple(_axis(number, *of, shrink=shrink) for number, of in enumerate(each)))


def fitted(
    shape: Sequence[int],
    windows: Sequence[int],
    *,
    margin: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
    overlap: int | Sequence[int] = 0,
) -> tuple[int, ...]:
    """Of several sides of windows, along each axis the one by which a model computes least.

    What lies in margins and overlaps is computed twice: the less of it, the larger a window is and
    the better a few of them cover the array.

    Args:
        shape: sides of the array, without channels.
        windows: sides to choose from; of equal ones the smaller is taken, for memory's sake.
        margin: as `plan` has it, and so are the others.
        stride: of the model in all.
        overlap: places that two neighbours both keep.

    Returns:
        The side of a window along each axis, for `plan`, `predict` or `detect`.

    Raises:
        ValueError: as `plan`, if none of the windows is large enough, or one isn't a multiple of
            the stride.

    Example:
        >>> fitted([3000, 400], range(512, 2049, 128), margin=128, stride=16, overlap=64)
        (1664, 512)
    """
    rank = len(shape)
    each = zip(
        shape, per_axis("margin", margin, rank, 0), per_axis("stride", stride, rank, 1),
        per_axis("overlap", overlap, rank, 0), strict=True,
    )  # fmt: skip
    chosen = []
    for number, (side, edge, step, shared) in enumerate(each):
        least = min(2 * rounded_up(edge, step) + shared + step, side, max(windows))
        costs = {}
        for window in sorted(size for size in windows if size >= least):
            axis = _axis(number, side, window, edge, step, shared, shrink=True)
            costs[window] = len(axis.starts) * axis.window
        chosen.append(min(costs, key=costs.__getitem__))
    return tuple(chosen)


def per_axis(name: str, value: int | Sequence[int], rank: int, least: int) -> tuple[int, ...]:
    """One whole number for each axis.

    Raises:
        ValueError: if there are more or fewer, or one is below the least.
    """
    sizes = tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,) * rank
    whole = all(isinstance(size, int | np.integer) and size >= least for size in sizes)
    if len(sizes) != rank or not whole:
        raise ValueError(
            f"{name} must be a whole number of at least {least}, or {rank} of them. "
            f"Received: {name}={value!r}"
        )
    return tuple(int(size) for size in sizes)


def rounded_up(value: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-value // step) * step


def _axis(
    number: int, side: int, window: int, margin: int, stride: int, overlap: int, *, shrink: bool
) -> Axis:
    if window % stride:
        below = window // stride * stride
        fitting = [size for size in (below, below + stride) if size]
        raise ValueError(
            f"a window must be a multiple of the model's stride, {stride} along axis {number}. "
            f"Received: {window}. {' or '.join(map(str, fitting))} would fit."
        )
    margin = rounded_up(margin, stride)
    whole = rounded_up(side, stride)
    if whole <= window:  # One window has the whole array, and no seam.
        window = whole if shrink else window
        return Axis(side=side, window=window, margin=margin, stride=stride, starts=(0,))
    step = (window - 2 * margin - overlap) // stride * stride
    if step < 1:
        least = rounded_up(2 * margin + overlap + stride, stride)
        raise ValueError(
            f"nothing is left between a window's margins and overlap along axis {number}: it must "
            f"be larger than 2 * margin + overlap. Received: window={window}, margin={margin}, "
            f"overlap={overlap}, stride={stride}. At least {least} would fit, or {whole}, which "
            "is the whole array."
        )
    last = whole - window
    starts = (*range(0, last, step), last)
    return Axis(side=side, window=window, margin=margin, stride=stride, starts=starts)
