"""Where a series' planes lie, and the regular grid that a volume needs.

Planes are ordered along their own normal. A volume has one step from plane to plane and square
corners: what is missing is named, what is sheared (a tilted gantry) is told with the shift that
makes it square.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array

UNIT_TOLERANCE = 0.01  # of a cosine's length and of the right angle between two
PARALLEL = 1e-3  # radians between the planes of one series
SAME_PLACE_MM = 1e-2
OFF_GRID = 0.2  # of a step: positions rounded to 0.1 mm deviate so far
SHIFT_PIXELS = 0.1  # in-plane shifts below it over the whole series are rounding
STEEPEST_DEGREES = 45.0
FILLED_GAP_MM = 10.0  # a stretch between two planes over which the missing are interpolated
FILLED_SHARE = 0.1  # of all planes


@dataclass(frozen=True, eq=False)
class Grid:
    """The regular grid of a series.

    Args:
        order: `(n,)` the planes there are, by their index among those given, along the normal.
        places: `(n,)` their indices on the grid, rising from 0; what isn't among them is missing.
        affine: `(4, 4)`, with square corners, of the grid whose first plane is the first one.
        shifts: `(n, 2)` rows and columns from the grid's first voxel to that of each plane.
        step_mm: from plane to plane.
        tilt_degrees: by which planes are sheared.
    """

    order: Array
    places: Array
    affine: Array
    shifts: Array
    step_mm: float
    tilt_degrees: float

    @property
    def planes(self) -> int:
        """Of the grid, missing ones included."""
        return int(self.places[-1]) + 1

    @property
    def is_sheared(self) -> bool:
        """Whether planes must be shifted within themselves to stand square on each other."""
        return bool(np.abs(self.shifts).max() > SHIFT_PIXELS)

    @property
    def missing(self) -> list[int]:
        """Indices of the planes that aren't there."""
        return sorted(set(range(self.planes)) - set(self.places.tolist()))


def cosines(orientation: Sequence[float]) -> Array:
    """`(3, 3)`: unit vectors along a row, along a column, and their normal.

    Raises:
        ValueError: if they aren't two unit vectors at a right angle.
    """
    row, column = np.asarray(orientation, np.float64).reshape(2, 3)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if (
        not all(abs(length - 1) < UNIT_TOLERANCE for length in lengths)
        or abs(row @ column) > UNIT_TOLERANCE
    ):
        raise ValueError(
            "two unit vectors at a right angle were needed as ImageOrientationPatient. Received: "
            f"{[round(float(value), 4) for value in orientation]}"
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)])


def same_place(positions: Array, normal: Array) -> list[list[int]]:
    """Planes by place along the normal, rising; those of one list share one.

    Args:
        positions: `(n, 3)` LPS mm.
        normal: `(3,)` unit vector.
    """
    along = positions @ normal
    groups: list[list[int]] = []
    for index in np.argsort(along, kind="stable").tolist():
        if groups and along[index] - along[groups[-1][0]] < SAME_PLACE_MM:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def grid(positions: Array, orientation: Sequence[float], spacing_mm: tuple[float, float]) -> Grid:
    """The grid of planes at distinct places.

    The step is the median one, then refined so that the last plane lies where it says: positions
    rounded to 0.1 mm would add up otherwise.

    Args:
        positions: `(n, 3)` LPS mm of each plane's first voxel, in any order; 2 at least.
        orientation: the six cosines of them all.
        spacing_mm: between rows and between columns.

    Raises:
        ValueError: if they don't lie on one regular grid; says where.
    """
    axes = cosines(orientation)
    along = positions @ axes[2]
    order = np.argsort(along, kind="stable")
    along = along[order]
    steps = np.diff(along)
    median = float(np.median(steps))
    places = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(steps / median)))]).astype(int)
    step = float((along[-1] - along[0]) / places[-1])
    off = np.abs(along - along[0] - places * step)
    if off.max() > OFF_GRID * step:
        worst = int(off.argmax())
        raise ValueError(
            "planes at one distance from each other were needed. Received: steps from "
            f"{steps.min():.4g} to {steps.max():.4g} mm, {median:.4g} mm in the middle; the plane "
            f"at {along[worst]:.4g} mm is {off[worst]:.2g} mm off"
        )
    across = (positions[order] - positions[order[0]]) @ axes[:2].T  # along a row, along a column
    shifts = across[:, ::-1] / np.asarray(spacing_mm)
    lean = np.linalg.norm(across[-1]) / (along[-1] - along[0])
    affine = np.eye(4)
    affine[:3, 0] = axes[2] * step
    affine[:3, 1] = axes[1] * spacing_mm[0]
    affine[:3, 2] = axes[0] * spacing_mm[1]
    affine[:3, 3] = positions[order[0]]
    tilt = float(np.degrees(np.arctan(lean)))
    return Grid(order, places, affine, shifts, step, tilt)


def can_fill(found: Grid) -> bool:
    """Whether the missing planes are so few, and so near to others, that they are interpolated."""
    steps = np.diff(found.places)
    longest = int(steps.max())
    near = longest <= 2 or longest * found.step_mm <= FILLED_GAP_MM
    return near and len(found.missing) <= max(1, FILLED_SHARE * found.planes)


def fill(planes: Array, found: Grid) -> None:
    """Interpolate what is missing, in place, linearly between the planes on both sides.

    Args:
        planes: `(planes, rows, columns)` of any kind, with the planes that there are.
        found: the grid.
    """
    for index in found.missing:
        after = int(found.places[np.searchsorted(found.places, index)])
        before = int(found.places[np.searchsorted(found.places, index) - 1])
        share = (index - before) / (after - before)
        mixed = planes[before] * np.float32(1 - share) + planes[after] * np.float32(share)
        planes[index] = np.rint(mixed) if planes.dtype.kind == "i" else mixed


def straightened(planes: Array, found: Grid, outside: float) -> tuple[Array, Array]:
    """Planes shifted within themselves onto a grid with square corners, linearly interpolated.

    The grid grows by as much as the planes are shifted; what none covers is `outside`.

    Args:
        planes: `(planes, rows, columns)` Hounsfield units, missing ones filled with anything.
        found: their grid; its `shifts` say how far each is off.
        outside: the value of what no plane covers.

    Returns:
        The planes and their affine.
    """
    shifts = np.zeros((found.planes, 2))
    for axis in (0, 1):
        shifts[:, axis] = np.interp(np.arange(found.planes), found.places, found.shifts[:, axis])
    low = np.floor(shifts.min(axis=0)).astype(int)
    high = np.ceil(shifts.max(axis=0)).astype(int)
    sides = np.array(planes.shape[1:]) + high - low
    out = np.full((len(planes), *sides), outside, planes.dtype)
    for plane, target, shift in zip(planes, out, shifts - low, strict=True):
        moved = plane.astype(np.float32)
        for axis in (0, 1):
            moved = _shifted(moved, float(shift[axis]), int(sides[axis]), axis, outside)
        target[:] = np.rint(moved) if planes.dtype.kind == "i" else moved
    affine = found.affine.copy()
    affine[:3, 3] += affine[:3, 1:3] @ low
    return out, affine


def _shifted(plane: Array, shift: float, side: int, axis: int, outside: float) -> Array:
    """One plane moved by so many voxels, at least 0, along an axis, on a longer one."""
    whole = int(np.floor(shift))
    share = np.float32(shift - whole)
    source = np.moveaxis(plane, axis, 0)
    length = len(source)
    out = np.full((side, source.shape[1]), outside, np.float32)
    out[whole : whole + length] = source
    if share > 1e-3:
        out[whole + 1 : whole + length] += share * (source[:-1] - source[1:])
        # Half covered voxels at both ends belong half to what is outside.
        out[whole] += share * (np.float32(outside) - source[0])
        out[whole + length] += share * (source[-1] - np.float32(outside))
    return np.moveaxis(out, 0, axis)
