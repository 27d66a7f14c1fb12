"""What can be said of one box, and of each of some boxes beside each of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

By = Literal["iou", "ios", "distance"]
Number = TypeVar("Number", bound=np.generic)

LARGEST = 1e100  # the volume of a box, and its square, stay finite


def checked(
    boxes: ArrayLike, name: str = "boxes", *, like: int | None = None
) -> NDArray[np.float64]:
    """Return boxes as `(n, 2 * rank)` float64, or say what is wrong with them.

    Args:
        boxes: `(n, 2 * rank)`; a plain `[]` stands for no boxes.
        name: of the argument, for errors.
        like: how many columns others have that they stand beside; None for any.

    Raises:
        ValueError: if the shape doesn't fit, a coordinate isn't finite, or an upper corner lies
            below its lower one.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.shape == (0,):
        array = array.reshape(0, like or 4)
    if array.ndim != 2 or array.shape[1] % 2 or not array.shape[1]:
        raise ValueError(
            f"{name} must be (n, 4) in a picture and (n, 6) in a volume: the lower corner, then "
            f"the upper. Received: shape {array.shape}"
        )
    if like is not None and array.shape[1] != like:
        raise ValueError(
            f"{name} must have {like} columns, as the boxes beside them. "
            f"Received: shape {array.shape}"
        )
    if not (np.abs(array) < LARGEST).all():  # nor where one is NaN
        wrong = np.flatnonzero(~(np.abs(array) < LARGEST).all(axis=1))
        raise ValueError(f"{name} must be finite. Received: {_first(array, wrong)}")
    rank = array.shape[1] // 2
    if (array[:, :rank] > array[:, rank:]).any():
        wrong = np.flatnonzero((array[:, :rank] > array[:, rank:]).any(axis=1))
        raise ValueError(
            f"{name} must be xyxy: no upper corner below its lower one. Received: "
            f"{_first(array, wrong)}. If they are x, y, width, height, add the lower corner to "
            "the size"
        )
    return array


def _first(boxes: NDArray[np.float64], wrong: NDArray[np.int64]) -> str:
    box = int(wrong[0])
    return f"{boxes[box].tolist()} as box {box}; {len(wrong)} of {len(boxes)} are wrong"


def checked_beside(
    a: ArrayLike, b: ArrayLike, names: tuple[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two sets of boxes of one rank; a plain `[]` takes the other's."""
    if np.shape(a) == (0,):
        second = checked(b, names[1])
        return checked(a, names[0], like=second.shape[1]), second
    first = checked(a, names[0])
    return first, checked(b, names[1], like=first.shape[1])


def sizes(boxes: ArrayLike) -> NDArray[np.float64]:
    """Sides of each box.

    Args:
        boxes: `(n, 2 * rank)` pixels.

    Returns:
        `(n, rank)` float64 pixels: width, height and, in a volume, depth.

    Raises:
        ValueError: if they aren't boxes.
    """
    array = checked(boxes)
    rank = array.shape[1] // 2
    return array[:, rank:] - array[:, :rank]


def centres(boxes: ArrayLike) -> NDArray[np.float64]:
    """Centre of each box.

    Args:
        boxes: `(n, 2 * rank)` pixels.

    Returns:
        `(n, rank)` float64 continuous pixels, x first: the first pixel's centre is 0.5.

    Raises:
        ValueError: if they aren't boxes.
    """
    array = checked(boxes)
    rank = array.shape[1] // 2
    return (array[:, :rank] + array[:, rank:]) / 2


def area(boxes: ArrayLike) -> NDArray[np.float64]:
    """Area of each box, in a volume what it holds.

    Args:
        boxes: `(n, 2 * rank)` pixels.

    Returns:
        `(n,)` float64, pixels or voxels.

    Raises:
        ValueError: if they aren't boxes.

    Example:
        >>> area([[0, 0, 4, 2]]).tolist(), area([[0, 0, 0, 4, 2, 3]]).tolist()
        ([8.0], [24.0])
    """
    return np.prod(sizes(boxes), axis=1)


def clip(boxes: NDArray[Number], shape: Sequence[int]) -> NDArray[Number]:
    """Cut what reaches out of a picture or a volume.

    Args:
        boxes: `(n, 2 * rank)` pixels, x first.
        shape: sizes of the array's axes: (row, column) or (plane, row, column), no channels.

    Returns:
        As many boxes, of the same dtype. One that lay outside lies on the border, without area.

    Raises:
        ValueError: if they aren't boxes, or the shape has another rank.

    Example:
        >>> clip(np.array([[-2, 1, 9, 3], [8, 8, 9, 9]]), (4, 6)).tolist()
        [[0, 1, 6, 3], [6, 4, 6, 4]]
    """
    checked(boxes, like=2 * len(shape))
    if min(shape, default=0) < 0:
        raise ValueError(f"shape must not be negative. Received: {tuple(shape)}")
    array = np.asarray(boxes).reshape(-1, 2 * len(shape))
    limits = np.array([*shape[::-1], *shape[::-1]])
    return np.minimum(np.maximum(array, 0), limits).astype(array.dtype, copy=False)


def compare(
    first: Sequence[NDArray[np.float64]], second: Sequence[NDArray[np.float64]], by: By
) -> NDArray[np.float64]:
    """Compare boxes given as their columns, which are broadcast against each other.

    Args:
        first: `2 * rank` arrays: the lower corner's coordinates, then the upper one's.
        second: the same.
        by: "iou", "ios", or "distance" of the centres.

    Returns:
        Of the shape that the columns have together; 0 where a quotient would be 0 / 0.
    """
    rank = len(first) // 2
    if by == "distance":
        squares = [
            ((first[k] + first[k + rank]) / 2 - (second[k] + second[k + rank]) / 2) ** 2
            for k in range(rank)
        ]
        return np.sqrt(_total(squares))
    shared = _product(
        [
            np.maximum(
                np.minimum(first[k + rank], second[k + rank]) - np.maximum(first[k], second[k]), 0
            )
            for k in range(rank)
        ]
    )
    areas = [_product([x[k + rank] - x[k] for k in range(rank)]) for x in (first, second)]
    whole = np.minimum(*areas) if by == "ios" else areas[0] + areas[1] - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _product(factors: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    result = factors[0]
    for factor in factors[1:]:
        result = result * factor
    return result


def _total(terms: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def _table(a: ArrayLike, b: ArrayLike, by: By) -> NDArray[np.float64]:
    first, second = checked_beside(a, b, ("a", "b"))
    return compare(list(first.T[:, :, None]), list(second.T[:, None, :]), by)


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each box of one set and each of another; dense, for small sets.

    Args:
        a: `(n, 2 * rank)` pixels.
        b: `(m, 2 * rank)` pixels.

    Returns:
        `(n, m)` float64 from 0 to 1; 0 for boxes without area.

    Raises:
        ValueError: if they aren't boxes, or not of one rank.

    Example:
        An 8-pixel bird, two pixels off both ways:

        >>> iou([[0, 0, 8, 8]], [[2, 2, 10, 10]]).round(3).tolist()
        [[0.391]]
    """
    return _table(a, b, "iou")


def ios(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over the smaller of each two boxes; dense, for small sets.

    1 where one lies within the other, as a part of an object lies within the whole.

    Args:
        a: `(n, 2 * rank)` pixels.
        b: `(m, 2 * rank)` pixels.

    Returns:
        `(n, m)` float64 from 0 to 1; 0 for boxes without area.

    Raises:
        ValueError: if they aren't boxes, or not of one rank.
    """
    return _table(a, b, "ios")


def distance(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Distance of the centres of each two boxes; dense, for small sets.

    Args:
        a: `(n, 2 * rank)` pixels.
        b: `(m, 2 * rank)` pixels.

    Returns:
        `(n, m)` float64 pixels.

    Raises:
        ValueError: if they aren't boxes, or not of one rank.
    """
    return _table(a, b, "distance")
