"""The symmetries of a square and a cube, and how they move pictures, boxes and points.

A lung has no preferred turn to a detector of nodules, nor has a forest seen from above: what is
true of a picture is true of its eight mirrored and turned forms, and of a volume's forty-eight.
Used to augment, and to ask a model several times about one picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Symmetry:
    """One way to lay a picture or a volume onto its own frame.

    First the axes change places, then some of them run backwards.

    Attributes:
        order: which axis of the picture before becomes the first, the second, ...
        flips: of the picture afterwards, whether each axis runs backwards.

    Raises:
        ValueError: if order isn't a permutation, or flips has another length.

    Example:
        A quarter turn against the clock:

        >>> turn = Symmetry((1, 0), (True, False))
        >>> turn.image(np.array([[1, 2], [3, 4]])).tolist()
        [[2, 4], [1, 3]]
        >>> turn.then(turn).then(turn) == turn.inverse()
        True
    """

    order: tuple[int, ...]
    flips: tuple[bool, ...]

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(self.rank)) or len(self.flips) != self.rank:
            raise ValueError(
                "order must name each axis once, and flips say True or False for each. "
                f"Received: order={self.order}, flips={self.flips}"
            )

    @property
    def rank(self) -> int:
        """How many axes it moves."""
        return len(self.order)

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes of the axes afterwards, from those before; no channels."""
        self._check_rank("shape", len(shape))
        return tuple(shape[axis] for axis in self.order)

    def image(self, array: NDArray[Number]) -> NDArray[Number]:
        """Move a picture.

        Args:
            array: the axes, and channels last if there are any; any dtype.

        Returns:
            The same numbers at other places: a view, not a copy.

        Raises:
            ValueError: if the array has other axes.
        """
        if array.ndim not in (self.rank, self.rank + 1):
            self._check_rank("array", array.ndim)
        rest = range(self.rank, array.ndim)
        moved = np.transpose(array, (*self.order, *rest))
        return np.flip(moved, tuple(axis for axis in range(self.rank) if self.flips[axis]))

    def boxes(self, boxes: NDArray[Number], shape: Sequence[int]) -> NDArray[Number]:
        """Move boxes along with their picture.

        Args:
            boxes: `(n, 2 * rank)` pixels, right and bottom exclusive: x0, y0, x1, y1 in a
                picture of (row, column), x0, y0, z0, x1, y1, z1 in a volume of
                (plane, row, column).
            shape: sizes of the picture's axes before it is moved.

        Returns:
            `(n, 2 * rank)`, of the same dtype: still the lower corner, then the upper.

        Raises:
            ValueError: if the boxes or the shape are of another rank.
        """
        boxes = np.asarray(boxes)
        if boxes.ndim != 2 or boxes.shape[1] != 2 * self.rank:
            raise ValueError(
                f"boxes must be (n, {2 * self.rank}): the lower corner, then the upper. "
                f"Received: {boxes.shape}"
            )
        lower = self.points(boxes[:, : self.rank], shape)
        upper = self.points(boxes[:, self.rank :], shape)
        # Where an axis runs backwards, what was the upper corner is the lower one.
        columns = list(reversed(self.flips))
        return np.concatenate(
            [np.where(columns, upper, lower), np.where(columns, lower, upper)], axis=1
        )

    def points(self, points: NDArray[Number], shape: Sequence[int]) -> NDArray[Number]:
        """Move points along with their picture.

        Args:
            points: `(n, rank)` continuous pixels: x, y in a picture of (row, column), x, y, z
                in a volume of (plane, row, column). The first pixel reaches from 0 to 1, so
                its centre is at 0.5.
            shape: sizes of the picture's axes before it is moved.

        Returns:
            `(n, rank)`, of the same dtype.

        Raises:
            ValueError: if the points or the shape are of another rank.
        """
        points = np.asarray(points)
        self._check_rank("shape", len(shape))
        if points.ndim != 2 or points.shape[1] != self.rank:
            raise ValueError(f"points must be (n, {self.rank}). Received: {points.shape}")
        columns = []
        for axis, flipped in zip(self.order, self.flips, strict=True):
            along = points[:, self.rank - 1 - axis]  # x is along the last axis
            columns.append(np.subtract(shape[axis], along, dtype=along.dtype) if flipped else along)
        return np.stack(columns[::-1], axis=1)

    def then(self, other: Symmetry) -> Symmetry:
        """Return the symmetry that is this one first and the other afterwards."""
        self._check_rank("other", other.rank)
        return Symmetry(
            tuple(self.order[axis] for axis in other.order),
            tuple(
                self.flips[axis] != flipped
                for axis, flipped in zip(other.order, other.flips, strict=True)
            ),
        )

    def inverse(self) -> Symmetry:
        """Return the symmetry that undoes this one."""
        back = tuple(self.order.index(axis) for axis in range(self.rank))
        return Symmetry(back, tuple(self.flips[axis] for axis in back))

    def _check_rank(self, name: str, rank: int) -> None:
        if rank != self.rank:
            raise ValueError(
                f"{name} must have {self.rank} axes, as the symmetry has. Received: {rank}"
            )


def allowed_axes(
    rank: int, exchange: Sequence[int] | None, flip: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which axes may change places and which may run backwards, in rising order.

    Args:
        rank: number of axes.
        exchange: axes that may change places among each other; None for all.
        flip: axes that may run backwards; None for all.

    Raises:
        ValueError: if an axis isn't there, or named twice, or if of the axes that change
            places some may run backwards and some may not: then two moves in turn would give
            one that isn't allowed.

    Example:
        >>> allowed_axes(3, (2, 1), None)
        ((1, 2), (0, 1, 2))
    """
    chosen = []
    for name, axes in (("exchange", exchange), ("flip", flip)):
        named = tuple(range(rank)) if axes is None else tuple(sorted(axes))
        if len(set(named)) < len(named) or not set(named) <= set(range(rank)):
            raise ValueError(
                f"{name} must name axes from 0 to {rank - 1}, each once. Received: {name}={axes}"
            )
        chosen.append(named)
    common = set(chosen[0]) & set(chosen[1])
    if len(chosen[0]) > 1 and common and common != set(chosen[0]):
        raise ValueError(
            "of the axes that change places all may run backwards or none. "
            f"Received: exchange={chosen[0]}, flip={chosen[1]}"
        )
    return chosen[0], chosen[1]


def symmetries(
    rank: int, *, exchange: Sequence[int] | None = None, flip: Sequence[int] | None = None
) -> tuple[Symmetry, ...]:
    """List the symmetries of a square (8), of a cube (48), or of a part of their axes.

    Args:
        rank: 2 for pictures of (row, column), 3 for volumes of (plane, row, column).
        exchange: axes that may change places among each other: those of one size and one
            spacing. None for all, () for none.
        flip: axes that may run backwards. None for all, () for none.

    Returns:
        A group, the identity first.

    Raises:
        ValueError: if an axis isn't there, or if of the axes that change places some may run
            backwards and some may not.

    Example:
        All of a picture, all of a volume, a CT whose planes lie further apart than its pixels,
        and a camera that knows up from down:

        >>> len(symmetries(2)), len(symmetries(3))
        (8, 48)
        >>> len(symmetries(3, exchange=(1, 2))), len(symmetries(2, exchange=(), flip=(1,)))
        (16, 2)
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1. Received: rank={rank}")
    exchange, flip = allowed_axes(rank, exchange, flip)
    orders = []
    for moved in permutations(exchange):
        order = list(range(rank))
        for axis, source in zip(exchange, moved, strict=True):
            order[axis] = source
        orders.append(tuple(order))
    ways = [(False, True) if axis in flip else (False,) for axis in range(rank)]
    return tuple(Symmetry(order, flips) for order in orders for flips in product(*ways))
