"""Volumes on another grid: images linearly with anti-aliasing, masks by their nearest voxel."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage, optimize, sparse

from fieldsight.datasets.sample import Array

PLANES_AT_ONCE = 16


@dataclass(frozen=True)
class Axis:
    """Where the voxels of a new axis lie on an old one: at `start + step * i`.

    Args:
        start: of the first, an index of the old axis.
        step: from one to the next, in old voxels.
        count: how many.
    """

    start: float
    step: float
    count: int


def upright(affine: Array) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """How to lay a volume so that planes rise to the head, rows to the back, columns to the left.

    Args:
        affine: `(4, 4)` from plane, row, column to LPS mm.

    Returns:
        The old axis of each new one, and 1 or -1 for each: -1 where it runs the other way. An
        oblique volume stays as oblique, within 45 degrees of the patient's axes.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    # World z, y, x for planes, rows, columns; each old axis is used once.
    _, old = optimize.linear_sum_assignment(-np.abs(directions[::-1]))
    signs = [1 if directions[2 - new, axis] > 0 else -1 for new, axis in enumerate(old)]
    return (int(old[0]), int(old[1]), int(old[2])), (signs[0], signs[1], signs[2])


def laid(
    array: Array, affine: Array, order: Sequence[int], signs: Sequence[int]
) -> tuple[Array, Array]:
    """A view of a volume with its axes as `upright` says, and the affine of that view."""
    view = array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    turned = affine.copy()
    for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
        turned[:3, new] = sign * affine[:3, old]
        if sign < 0:
            turned[:3, 3] += affine[:3, old] * (array.shape[old] - 1)
    return view, turned


def image(
    array: Array, axes: Sequence[Axis], *, lowest: float = -np.inf, highest: float = np.inf
) -> Array:
    """An image at other points of its three axes.

    Linear where the new grid is finer. Where it is coarser the linear image is averaged by a
    triangle as well, so that what the new grid can't hold leaves no alias; a slope stays that
    slope. Beyond the volume its border goes on.

    Args:
        array: `(planes, rows, columns)` of any kind of number.
        axes: of planes, rows and columns.
        lowest: what lies below is raised to it first.
        highest: what lies above is lowered to it first.

    Returns:
        float32 of the axes' counts.
    """
    plane, row, column = (
        _weights(axis, size) for axis, size in zip(axes, array.shape, strict=True)
    )
    # Only the voxels that have a weight are touched: a crop costs what the crop is.
    planes, rows, columns = (_used(matrix) for matrix in (plane, row, column))
    down, across = row[:, rows], column[:, columns]
    flat = np.empty((planes.stop - planes.start, axes[2].count, axes[1].count), np.float32)

    def work(start: int) -> None:
        for number in range(start, min(start + PLANES_AT_ONCE, len(flat))):
            given = array[planes.start + number, rows, columns].astype(np.float32, order="C")
            np.clip(given, lowest, highest, out=given)
            # Sparse, for a dense product's own threads and these ones would wait on each other.
            flat[number] = across @ np.ascontiguousarray((down @ given).T)

    with ThreadPoolExecutor(_threads()) as pool:
        list(pool.map(work, range(0, len(flat), PLANES_AT_ONCE)))
    answer = np.asarray(plane[:, planes] @ flat.reshape(len(flat), -1))
    sides = [axes[axis].count for axis in (0, 2, 1)]
    return np.ascontiguousarray(answer.reshape(sides).transpose(0, 2, 1))


def nearest(array: Array, axes: Sequence[Axis], *, beyond: int = 0) -> Array:
    """Labels at other points of their three axes, each of its nearest voxel.

    Args:
        array: `(planes, rows, columns)`.
        axes: of planes, rows and columns.
        beyond: what lies outside the volume.

    Returns:
        The same type, of the axes' counts.
    """
    # Half rounds up, where NumPy's rint would turn to even, and whatever the last digit says.
    indices = [
        np.floor(axis.start + axis.step * np.arange(axis.count) + 0.5 + 1e-6).astype(np.int64)
        for axis in axes
    ]
    inside = [(i >= 0) & (i < size) for i, size in zip(indices, array.shape, strict=True)]
    answer = np.full([axis.count for axis in axes], beyond, array.dtype)
    answer[np.ix_(*inside)] = array[
        np.ix_(*(i[used] for i, used in zip(indices, inside, strict=True)))
    ]
    return answer


def at_points(array: Array, mapping: Array, shape: Sequence[int], *, order: Literal[0, 1]) -> Array:
    """A small array through any affine mapping, such as a finding's crop back on the scan's grid.

    Args:
        array: `(planes, rows, columns)`.
        mapping: `(4, 4)` from an index of the answer to one of the array.
        shape: of the answer.
        order: 1 is linear, 0 nearest; outside the array is 0.
    """
    sides: tuple[int, ...] = tuple(int(side) for side in shape)
    answer: Array = ndimage.affine_transform(
        array, mapping[:3, :3], mapping[:3, 3], sides, order=order, mode="constant"
    )
    return answer


def _weights(axis: Axis, size: int) -> sparse.csr_array:
    """`(axis.count, size)` the share of each old voxel in each new one."""
    centres = axis.start + axis.step * np.arange(axis.count)
    # Of this width the second triangle makes linear interpolation as wide as one of the new step.
    width = np.sqrt(max(0.0, axis.step**2 - 1))
    reach = int(np.ceil(1 + width))
    old = np.rint(centres)[:, None] + np.arange(-reach, reach + 1)
    shares = _share(old - centres[:, None], width)
    shares /= shares.sum(axis=1, keepdims=True)
    held = np.clip(old, 0, size - 1).astype(np.int64)
    new = np.broadcast_to(np.arange(axis.count)[:, None], held.shape)
    used = shares > 1e-6
    matrix = sparse.coo_array(
        (shares[used].astype(np.float32), (new[used], held[used])), shape=(axis.count, size)
    )
    return matrix.tocsr()  # which adds up what the border took


def _share(away: Array, width: float) -> Array:
    """How much of a triangle of this half width falls to voxels so far off, linear between them.

    Two triangles one over the other are a cubic spline: fourth differences of a third power.
    """
    if width < 1e-3:
        return np.asarray(np.maximum(0, 1 - np.abs(away)))
    bends = ((-1, 1), (0, -2), (1, 1))
    cubes = sum(
        first * second * np.abs(away + one + other * width) ** 3
        for one, first in bends
        for other, second in bends
    )
    return np.asarray(np.maximum(0, cubes / (12 * width**2)))


def _used(matrix: sparse.csr_array) -> slice:
    columns = matrix.indices
    return slice(int(columns.min()), int(columns.max()) + 1)


def _threads() -> int:
    try:
        return min(8, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on every system
        return min(8, os.cpu_count() or 1)
