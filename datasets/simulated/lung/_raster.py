"""From shapes in millimetres to a grid of voxels, whole arrays at a time.

Points and spacings are `(z, y, x)`: towards the head, the back and the left.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array

_AT_ONCE = 250_000  # distances in one step: what the processor's cache holds


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid of voxel centres.

    Args:
        shape: voxels along z, y and x.
        origin: `(3,)` millimetres, the first voxel's centre.
        spacing: `(3,)` millimetres.
        edge_mm: how wide a sharp edge is after the scanner: its point spread and the voxel's size.
    """

    shape: tuple[int, int, int]
    origin: Array
    spacing: Array
    edge_mm: float = 1.0

    def axis(self, number: int) -> Array:
        """Millimetres of the voxels' centres along an axis, float32."""
        steps = np.arange(self.shape[number]) * self.spacing[number]
        return (self.origin[number] + steps).astype(np.float32)

    def open(self) -> tuple[Array, Array, Array]:
        """The three axes, shaped so that they broadcast to the grid."""
        z, y, x = (self.axis(number) for number in range(3))
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def box(self, centre: Array, reach_mm: float) -> tuple[slice, slice, slice]:
        """The part of the grid within `reach_mm` of a point along each axis; may be empty."""
        middle = (np.asarray(centre) - self.origin) / self.spacing
        low = np.floor(middle - reach_mm / self.spacing).astype(int)
        high = np.ceil(middle + reach_mm / self.spacing).astype(int) + 1
        slices = [
            slice(min(max(int(a), 0), n), min(max(int(b), 0), n))
            for a, b, n in zip(low, high, self.shape, strict=True)
        ]
        return slices[0], slices[1], slices[2]

    def part(self, box: tuple[slice, slice, slice]) -> "Grid":
        """The grid of a box of this one."""
        start = np.array([side.start for side in box])
        planes, rows, columns = (side.stop - side.start for side in box)
        origin = self.origin + start * self.spacing
        return Grid((planes, rows, columns), origin, self.spacing, self.edge_mm)


@dataclass(frozen=True, eq=False)
class Beads:
    """Short pieces of tubes; many beads make a vessel, a rib, an airway.

    Args:
        points: `(n, 3)` millimetres, the pieces' middles.
        along: `(n, 3)` unit vectors of their directions.
        half_mm: `(n,)` half their lengths.
        radii_mm: `(n,)`.
    """

    points: Array
    along: Array
    half_mm: Array
    radii_mm: Array

    def take(self, chosen: Array) -> "Beads":
        """Some of the beads."""
        return Beads(
            self.points[chosen], self.along[chosen], self.half_mm[chosen], self.radii_mm[chosen]
        )

    def grown(self, by_mm: Array | float) -> "Beads":
        """The same tubes, thicker."""
        return Beads(self.points, self.along, self.half_mm, self.radii_mm + by_mm)


def join(beads: list[Beads]) -> Beads:
    """All of them as one."""
    return Beads(
        np.concatenate([part.points for part in beads]),
        np.concatenate([part.along for part in beads]),
        np.concatenate([part.half_mm for part in beads]),
        np.concatenate([part.radii_mm for part in beads]),
    )


def curves(starts: Array, bends: Array, ends: Array, radii: Array, step_mm: float) -> Beads:
    """Quadratic curves as beads.

    Args:
        starts: `(n, 3)` millimetres.
        bends: `(n, 3)`, the control points.
        ends: `(n, 3)`.
        radii: `(n, 2)` at the start and the end.
        step_mm: the length of a bead.
    """
    length = np.linalg.norm(bends - starts, axis=1) + np.linalg.norm(ends - bends, axis=1)
    count = np.maximum(np.ceil(length / step_mm).astype(int), 1)
    which = np.repeat(np.arange(len(starts)), count)
    first = np.cumsum(count) - count
    t = ((np.arange(len(which)) - first[which] + 0.5) / count[which])[:, None]
    a, b, c = starts[which], bends[which], ends[which]
    points = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    direction = (1 - t) * (b - a) + t * (c - b)
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    radius = radii[which, 0] + (radii[which, 1] - radii[which, 0]) * t[:, 0]
    return Beads(points, direction, length[which] / count[which] / 2, radius)


def rods(corners: Array, radius_mm: float | Array, step_mm: float) -> Beads:
    """A chain of straight tubes through `corners` `(n, 3)`."""
    corners = np.asarray(corners, float)
    radii = np.broadcast_to(np.asarray(radius_mm, float), len(corners))
    starts, ends = corners[:-1], corners[1:]
    pairs = np.stack([radii[:-1], radii[1:]], 1)
    return curves(starts, (starts + ends) / 2, ends, pairs, step_mm)


def coverage(beads: Beads, grid: Grid, onto: Array, strength: float = 1.0) -> None:
    """How much of each voxel tubes fill: `onto` becomes the larger of what it is and that.

    Args:
        beads: the tubes.
        grid: of `onto`.
        onto: uint8 of the grid's shape, C-contiguous; 255 is a voxel that is full.
        strength: what a voxel that is full counts.
    """
    flat = onto.reshape(-1)
    for part in _by_reach(beads, grid):
        index, value = _distances(part, grid, strength)
        np.maximum.at(flat, index, value)


def _by_reach(beads: Beads, grid: Grid) -> Iterator[Beads]:
    reach = beads.radii_mm + beads.half_mm + grid.edge_mm / 2
    order = np.argsort(reach, kind="stable")
    end = grid.origin + grid.spacing * np.array(grid.shape)
    inside = np.greater(beads.points, grid.origin - reach[:, None])
    inside &= np.less(beads.points, end + reach[:, None])
    order = order[np.all(inside, axis=1)[order]]
    start = 0
    while start < len(order):
        # Beads of about the same reach share one neighbourhood of voxels.
        limit = max(reach[order[start]] * 1.25, reach[order[start]] + 0.4)
        stop = int(np.searchsorted(reach[order], limit, "right"))
        size = max(_AT_ONCE // len(_neighbourhood(float(reach[order[stop - 1]]), grid)), 1)
        for first in range(start, stop, size):
            yield beads.take(order[first : min(first + size, stop)])
        start = stop


def _neighbourhood(reach: float, grid: Grid) -> Array:
    steps = np.ceil(reach / grid.spacing + 0.5).astype(int)
    axes = [np.arange(-step, step + 1) for step in steps]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    nearest = np.maximum(np.abs(offsets) - 0.5, 0) * grid.spacing
    return offsets[(nearest**2).sum(1) < reach**2]


def _distances(beads: Beads, grid: Grid, strength: float) -> tuple[Array, Array]:
    """Flat indices and coverage, 1 to 255, of the voxels about some beads."""
    edge = grid.edge_mm
    offsets = _neighbourhood(float((beads.radii_mm + beads.half_mm).max()) + edge / 2, grid)
    nearest = np.rint((beads.points - grid.origin) / grid.spacing).astype(np.int64)
    rest = (grid.origin + nearest * grid.spacing - beads.points).astype(np.float32)
    step = (offsets * grid.spacing).astype(np.float32)
    along = beads.along.astype(np.float32)
    half = beads.half_mm.astype(np.float32)[:, None]
    # Squares expanded, so that no array of (beads, voxels, 3) is needed.
    dot = _products(along, step)
    dot += (rest * along).sum(1)[:, None]
    square = _products(2 * rest, step)
    square += (rest**2).sum(1)[:, None]
    square += (step**2).sum(1)
    within = np.clip(dot, -half, half)
    square -= within * (2 * dot - within)
    radius = beads.radii_mm.astype(np.float32)[:, None]
    # A thin tube never fills a voxel: what the scanner's blur leaves of it at its middle.
    blur = 2 * (0.29 * edge) ** 2
    full = (1 - np.exp(-(radius**2) / blur)) / np.minimum(0.5 + radius / edge, 1)
    filled = np.minimum(0.5 + (radius - np.sqrt(np.maximum(square, 0))) / edge, 1) * full
    value = filled * (255 * strength)
    # Flat: of two axes, nonzero takes ten times as long.
    bead, voxel = np.divmod(np.flatnonzero((value >= 1).ravel()), len(offsets))
    place = nearest[bead] + offsets[voxel]
    held = ((place >= 0) & (place < grid.shape)).all(1)
    bead, voxel, place = bead[held], voxel[held], place[held]
    _, rows, columns = grid.shape
    index = (place[:, 0] * rows + place[:, 1]) * columns + place[:, 2]
    return index, value[bead, voxel].astype(np.uint8)


def _products(vectors: Array, others: Array) -> Array:
    """`(n, m)` float32 scalar products of `(n, 3)` and `(m, 3)`.

    Not a matrix product: that starts threads, and its last bits depend on the machine.
    """
    total = vectors[:, :1] * others[:, 0]
    for axis in (1, 2):
        total += vectors[:, axis : axis + 1] * others[:, axis]
    return total


def blend(onto: Array, index: Array, filled: Array, hounsfield: Array | float) -> None:
    """Put a tissue into part of the voxels.

    Args:
        onto: float32 Hounsfield units, C-contiguous; changed.
        index: flat indices.
        filled: how much of each voxel, uint8 of 255.
        hounsfield: the tissue's.
    """
    flat = onto.reshape(-1)
    there = flat[index]
    flat[index] = there + (np.asarray(hounsfield, np.float32) - there) * (
        filled.astype(np.float32) / np.float32(255)
    )


class Upsampling:
    """Linear interpolation from a coarse grid to the planes of a fine one."""

    def __init__(self, coarse: Grid, fine: Grid) -> None:
        self._z, self._y, self._x = (_between(coarse, fine, axis) for axis in range(3))

    def planes(self, field: Array, start: int, stop: int) -> Array:
        """The planes `start` to `stop` of a field on the coarse grid, float32."""
        low, part = self._z
        slab = _mixed(field, low[start:stop], part[start:stop], 0)
        return _mixed(_mixed(slab, *self._y, 1), *self._x, 2)


def _between(coarse: Grid, fine: Grid, axis: int) -> tuple[Array, Array]:
    """Of each fine point the coarse one before it, and how far on it lies, 0 to 1."""
    place = (fine.axis(axis) - coarse.origin[axis]) / coarse.spacing[axis]
    place = np.clip(place, 0, coarse.shape[axis] - 1.001)
    low = place.astype(np.intp)
    return low, (place - low).astype(np.float32)


def _mixed(field: Array, low: Array, part: Array, axis: int) -> Array:
    below = np.take(field, low, axis)
    mixed: Array = np.take(field, low + 1, axis)
    mixed -= below
    mixed *= part.reshape([-1 if number == axis else 1 for number in range(3)])
    mixed += below
    return mixed


def sampled(field: Array, grid: Grid, points: Array) -> Array:
    """A field on a grid at points `(n, 3)`, linear, its border's value outside."""
    place = (np.asarray(points, float) - grid.origin) / grid.spacing
    place = np.clip(place, 0, np.array(grid.shape) - 1.001)
    low = place.astype(int)
    part = place - low
    total = np.zeros(len(place))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        z, y, x = (low + corner).T
        total += weight * field[z, y, x]
    return total
