"""A scan in memory: Hounsfield units on a grid whose place in the patient is known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

from fieldsight.datasets.sample import Array

THICKEST_MM = 2.5  # from plane to plane: LUNA16 leaves out what is thicker
DOMAIN = "LUNA16's domain"


@dataclass(frozen=True)
class Slice:
    """Where one plane of a volume came from, for outputs that must reference it.

    Args:
        path: the DICOM file; None in an archive.
        sop_class_uid: of the image.
        sop_instance_uid: of the image; empty where the plane was interpolated.
        frame: number of the frame in a multi-frame file, from 1; None in a file of one.
        open: opens the file to be read, wherever it lies; None if `path` is enough.
    """

    path: Path | None
    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None = None
    open: Callable[[], IO[bytes]] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume with its geometry.

    Voxel centres lie at whole indices `(plane, row, column)`, as in DICOM and ITK; boxes of
    `core.boxes` count from a voxel's corner, so that index `i` is their `i + 0.5`.

    Args:
        hounsfield: `(planes, rows, columns)` int16 or float32, Hounsfield units.
        affine: `(4, 4)` float64; `affine @ (plane, row, column, 1)` is `(x, y, z, 1)` in
            millimetres, LPS (x to the patient's left, y to the back, z to the head), as in DICOM.
        name: what its user calls it, such as a folder's or a file's name.
        series_uid: its SeriesInstanceUID; for LUNA16's files, the name without its ending.
        slices: where each plane came from, in the order of planes; empty if not from DICOM.
        facts: what is known of the scanner and the series, by name; nothing that tells who the
            patient is.
        notes: what was odd about the files and what was made of it, a sentence each.

    Raises:
        ValueError: if the array has not three axes, the affine is singular, or there isn't one
            slice a plane.

    Example:
        >>> volume = Volume(np.zeros((2, 3, 4), "int16"), np.diag([1.0, 1.0, 1.0, 1.0]))
        >>> volume.spacing_mm
        (1.0, 1.0, 1.0)
    """

    hounsfield: Array
    affine: Array
    name: str = ""
    series_uid: str = ""
    slices: tuple[Slice, ...] = ()
    facts: Mapping[str, str | float | int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.hounsfield.ndim != 3:
            raise ValueError(
                "a volume has planes, rows and columns. Received: an array of shape "
                f"{self.hounsfield.shape}."
            )
        affine = np.asarray(self.affine, np.float64)
        if affine.shape != (4, 4) or not abs(np.linalg.det(affine[:3, :3])) > 1e-12:
            raise ValueError(f"an affine is 4x4 and invertible. Received: {affine.tolist()}.")
        object.__setattr__(self, "affine", affine)
        if self.slices and len(self.slices) != len(self.hounsfield):
            raise ValueError(
                f"a slice a plane is needed. Received: {len(self.slices)} for "
                f"{len(self.hounsfield)} planes."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows and columns."""
        planes, rows, columns = self.hounsfield.shape
        return planes, rows, columns

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres from one plane, row and column to the next."""
        plane, row, column = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return plane, row, column

    def to_world(self, indices: ArrayLike) -> Array:
        """LPS millimetres `(..., 3)` x, y, z of indices `(..., 3)` plane, row, column."""
        return to_world(self.affine, indices)

    def to_index(self, points: ArrayLike) -> Array:
        """Indices `(..., 3)` plane, row, column of LPS millimetres `(..., 3)` x, y, z."""
        return to_index(self.affine, points)


def thick_slices(step_mm: float, pixel_mm: float = 0.0) -> tuple[str, ...]:
    """What to say of slices, or of a coronal scan's pixels, that are so thick (L-15)."""
    if max(step_mm, pixel_mm) <= THICKEST_MM:
        return ()
    what, size = ("slices", step_mm) if step_mm > THICKEST_MM else ("pixels", pixel_mm)
    return (
        f"{what} of {size:.4g} mm: over {THICKEST_MM} mm is outside {DOMAIN}, and small nodules "
        "may not be seen",
    )


def to_world(affine: Array, indices: ArrayLike) -> Array:
    """`(..., 3)` x, y, z of indices `(..., 3)`, by an affine `(4, 4)` from one to the other."""
    world: Array = np.asarray(indices, np.float64) @ affine[:3, :3].T + affine[:3, 3]
    return world


def to_index(affine: Array, points: ArrayLike) -> Array:
    """`(..., 3)` indices of points `(..., 3)`: the inverse of `to_world`."""
    away = np.asarray(points, np.float64) - affine[:3, 3]
    index: Array = away @ np.linalg.inv(affine[:3, :3]).T
    return index
