"""From a scan to what the networks see: a cubic grid, the lungs, and the way back.

`prepare` does it, `cached` remembers it on disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.lung_preparation import lungs, resampling
from fieldsight.datasets.lung_preparation.resampling import Axis
from fieldsight.datasets.sample import Array
from fieldsight.datasets.volume import Volume, thick_slices, to_index, to_world

VERSION = 2  # of what `prepare` gives: a change of it makes every cached scan a stranger
WINDOW_HU = (-1200, 600)  # beyond it nothing tells a nodule
LOWEST_HU = -1024  # what lies below isn't tissue, but what a scanner fills its picture with
MARGIN_MM = 10.0  # around the lungs' box


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan on a cubic grid, cropped to its lungs.

    Planes run to the head, rows to the back, columns to the left, whatever the scanner's order.

    Args:
        image: `(planes, rows, columns)` int16 Hounsfield units within `WINDOW_HU`.
        lungs: the same shape, bool: the lungs, with what grows on their wall.
        affine: `(4, 4)` float64 from plane, row, column to LPS mm.
        labels: the same shape, uint8: k in the k-th nodule of its scan; None without outlines.
        lung_ml: millilitres of air-filled lung.
        notes: what was odd, a sentence each.
    """

    image: Array
    lungs: Array
    affine: Array
    labels: Array | None = None
    lung_ml: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows and columns."""
        planes, rows, columns = self.image.shape
        return planes, rows, columns

    @cached_property
    def spacing_mm(self) -> float:
        """Millimetres from a voxel to the next, along every axis."""
        return float(np.linalg.norm(self.affine[:3, 0]))

    def to_world(self, indices: ArrayLike) -> Array:
        """LPS millimetres `(..., 3)` x, y, z of indices `(..., 3)` plane, row, column."""
        return to_world(self.affine, indices)

    def to_index(self, points: ArrayLike) -> Array:
        """Indices `(..., 3)` plane, row, column of LPS millimetres `(..., 3)` x, y, z."""
        return to_index(self.affine, points)


def prepare(volume: Volume, spacing_mm: float = 1.0, labels: Array | None = None) -> Prepared:
    """A scan resampled to cubic voxels, within a window of Hounsfield units, cropped to the lungs.

    Args:
        volume: as it was read, with padding as air.
        spacing_mm: of the new grid.
        labels: `(planes, rows, columns)` uint8 on the volume's grid, to be brought along.

    Raises:
        DataError: if there are no lungs in it.
        ValueError: if the spacing isn't above 0, or the labels are of another shape.
    """
    if not 0 < spacing_mm < float("inf"):
        raise ValueError(f"a spacing above 0 is needed. Received: {spacing_mm}.")
    if labels is not None and labels.shape != volume.shape:
        raise ValueError(
            f"labels of the volume's shape {volume.shape} are needed. Received: {labels.shape}."
        )
    order, signs = resampling.upright(volume.affine)
    view, affine = resampling.laid(volume.hounsfield, volume.affine, order, signs)
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    coarse = [
        _whole(size, step, lungs.GRID_MM) for size, step in zip(view.shape, steps, strict=True)
    ]
    small = resampling.image(view, coarse, lowest=LOWEST_HU, highest=WINDOW_HU[1])
    found, volume_ml = lungs.find(small)
    if not found.any():
        raise DataError(
            f"{volume.name or 'the scan'}: a CT of the chest was needed. Received: {volume_ml:.0f} "
            f"ml of lung, less than {lungs.SMALLEST_ML:.0f}. Is it another part of the body, or "
            "are its numbers no Hounsfield units?"
        )
    axes = [
        _cropped(_shadow(found, axis), size, step, spacing_mm)
        for axis, (size, step) in enumerate(zip(view.shape, steps, strict=True))
    ]
    fine = resampling.image(view, axes, lowest=LOWEST_HU, highest=WINDOW_HU[1])
    np.clip(fine, *WINDOW_HU, out=fine)
    return Prepared(
        np.rint(fine, out=fine).astype(np.int16),
        _on_grid(found, coarse, axes) > 0.5,
        _affine_of(affine, axes),
        None if labels is None else _labels(labels, order, signs, axes),
        volume_ml,
        thick_slices(volume.spacing_mm[0]),
    )


def on_grid(labels: Array, volume: Volume, prepared: Prepared) -> Array:
    """Labels of the volume's grid on the prepared one, each of its nearest voxel.

    Args:
        labels: `(planes, rows, columns)` on the volume's grid.
        volume: what was prepared, or its geometry.
        prepared: what came of it.
    """
    order, signs = resampling.upright(volume.affine)
    _, affine = resampling.laid(labels, volume.affine, order, signs)
    mapping = np.linalg.inv(affine) @ prepared.affine
    axes = [
        Axis(float(mapping[k, 3]), float(mapping[k, k]), count)
        for k, count in enumerate(prepared.shape)
    ]
    return _labels(labels, order, signs, axes)


def onto_volume(
    crop: Array, affine: Array, volume: Volume, *, threshold: float = 0.5
) -> tuple[Array, tuple[int, int, int]]:
    """A finding's mask on the scan's own grid.

    Args:
        crop: `(planes, rows, columns)` probabilities, or a mask, on a grid of its own.
        affine: `(4, 4)` from the crop's indices to LPS mm.
        volume: the scan.
        threshold: from which a voxel belongs to it, after linear interpolation.

    Returns:
        A bool array, no larger than needed, and the plane, row and column of its first voxel;
        of size (0, 0, 0) if nothing of it is within the scan.
    """
    mapping = np.linalg.inv(affine) @ volume.affine
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(crop.shape) - 1)
    indices = volume.to_index(to_world(affine, corners))
    low = np.maximum(np.floor(indices.min(axis=0)).astype(np.int64) - 1, 0)
    high = np.minimum(np.ceil(indices.max(axis=0)).astype(np.int64) + 2, volume.shape)
    if np.any(high <= low):
        return np.zeros((0, 0, 0), bool), (0, 0, 0)
    shifted = mapping.copy()
    shifted[:3, 3] += mapping[:3, :3] @ low
    values = resampling.at_points(crop.astype(np.float32), shifted, high - low, order=1)
    mask = values >= threshold
    if not mask.any():
        return np.zeros((0, 0, 0), bool), (0, 0, 0)
    used = [np.flatnonzero(_shadow(mask, axis)) for axis in range(3)]
    part = tuple(slice(int(u[0]), int(u[-1]) + 1) for u in used)
    first = [int(start + u[0]) for start, u in zip(low, used, strict=True)]
    return mask[part], (first[0], first[1], first[2])


def _whole(size: int, step: float, spacing_mm: float) -> Axis:
    """A grid over all of an axis, as much beyond its last voxel as before its first."""
    count = max(1, int(np.ceil(size * step / spacing_mm)))
    start = (size - 1) / 2 - (count - 1) / 2 * spacing_mm / step
    return Axis(start, spacing_mm / step, count)


def _cropped(used: Array, size: int, step: float, spacing_mm: float) -> Axis:
    """A grid over the lungs' part of an axis and a margin, within the scan."""
    coarse = _whole(size, step, lungs.GRID_MM)
    where = np.flatnonzero(used)
    half, margin = coarse.step / 2, MARGIN_MM / step
    low = max(-0.5, coarse.start + coarse.step * where[0] - half - margin)
    high = min(size - 0.5, coarse.start + coarse.step * where[-1] + half + margin)
    new = spacing_mm / step
    count = max(1, int(np.ceil((high - low) / new - 1e-6)))
    return Axis((low + high) / 2 - (count - 1) / 2 * new, new, count)


def _shadow(mask: Array, axis: int) -> Array:
    """Which indices of an axis have a voxel of the mask."""
    return np.asarray(mask.any(axis=tuple({0, 1, 2} - {axis})))


def _on_grid(mask: Array, coarse: Sequence[Axis], axes: Sequence[Axis]) -> Array:
    """A coarse mask on the fine grid, as numbers between 0 and 1."""
    placed = [
        Axis((fine.start - old.start) / old.step, fine.step / old.step, fine.count)
        for fine, old in zip(axes, coarse, strict=True)
    ]
    return resampling.image(mask, placed)


def _affine_of(affine: Array, axes: Sequence[Axis]) -> Array:
    answer = affine.copy()
    for column, axis in enumerate(axes):
        answer[:3, 3] += affine[:3, column] * axis.start
        answer[:3, column] = affine[:3, column] * axis.step
    return answer


def _labels(
    labels: Array, order: Sequence[int], signs: Sequence[int], axes: Sequence[Axis]
) -> Array:
    view, _ = resampling.laid(labels, np.eye(4), order, signs)
    return resampling.nearest(view, axes)
