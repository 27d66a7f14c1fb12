"""Round and not so round things: their shape, their volume, and how they are put on the grid."""

from dataclasses import dataclass, replace

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.lung._anatomy import Chest
from fieldsight.datasets.simulated.lung._raster import Grid, sampled


@dataclass(frozen=True, eq=False)
class Shape:
    """A star-shaped body: an ellipsoid with lobes.

    Args:
        centre: `(3,)` millimetres.
        radius_mm: of the ellipsoid, before its axes and lobes.
        axes: `(3, 3)`, rows: unit vectors.
        stretch: `(3,)` how much longer than the radius it is along each.
        lobes: `(n, 3)` unit vectors.
        heights: `(n,)` how far it bulges towards each, as a share of the radius.
        sharpness: of the lobes.
    """

    centre: Array
    radius_mm: float
    axes: Array
    stretch: Array
    lobes: Array
    heights: Array
    sharpness: float = 8.0

    @property
    def reach_mm(self) -> float:
        """No part of it lies farther from its centre."""
        bulge = 1 + float(np.maximum(self.heights, 0).sum())
        return self.radius_mm * float(self.stretch.max()) * min(bulge, 1.8)

    def outside_mm(self, vectors: Array) -> Array:
        """How far points lie outside of its surface; negative within; `vectors` `(..., 3)`."""
        length = np.sqrt((vectors**2).sum(-1))
        unit = vectors / np.maximum(length, 1e-6)[..., None]
        along = unit @ self.axes.T / self.stretch
        surface = self.radius_mm / np.maximum(np.sqrt((along**2).sum(-1)), 1e-3)
        bulges = np.exp(self.sharpness * (unit @ self.lobes.T - 1)) @ self.heights
        result: Array = length - surface * (1 + bulges)
        return result


def shape(
    rng: np.random.Generator,
    centre: Array,
    radius_mm: float,
    *,
    longest: float = 1.25,
    lobed: float = 0.0,
    flat_along: Array | None = None,
    flatness: float = 1.0,
) -> Shape:
    """Draw a shape.

    Args:
        rng: what is drawn from.
        centre: `(3,)` millimetres.
        radius_mm: about its radius.
        longest: the longest axis over the shortest, at most.
        lobed: 0 smooth to 1 lobed.
        flat_along: `(3,)` a direction in which it is flat.
        flatness: its thickness in that direction, as a share of its width.
    """
    first = rng.standard_normal(3) if flat_along is None else np.asarray(flat_along, float)
    axes, _ = np.linalg.qr(np.stack([first, *rng.standard_normal((2, 3))], 1))
    stretch = rng.uniform(1, longest, 3)
    stretch[0] *= flatness
    stretch /= np.prod(stretch) ** (1 / 3)
    count = 7
    lobes = rng.standard_normal((count, 3))
    lobes /= np.linalg.norm(lobes, axis=1, keepdims=True)
    heights = rng.uniform(-0.35, 0.5, count) * (0.2 + 0.8 * lobed)
    return Shape(np.asarray(centre, float), radius_mm, axes.T, stretch, lobes, heights)


def of_volume(body: Shape, chest: Chest, diameter_mm: float) -> Shape:
    """The same shape, grown until what of it is in the lung has the volume of such a ball."""
    wanted = np.pi / 6 * diameter_mm**3
    for _ in range(4):
        reach = body.reach_mm
        step = reach / 12
        axis = np.arange(-12, 13) * step
        vectors = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
        inside = np.clip(0.5 - body.outside_mm(vectors) / step, 0, 1)
        lung = sampled(chest.lung, chest.grid, (vectors + body.centre).reshape(-1, 3))
        inside *= (lung.reshape(inside.shape) < 0) if (lung > 0).any() else 1
        volume = max(float(inside.sum()) * step**3, 1e-3)
        body = replace(body, radius_mm=body.radius_mm * (wanted / volume) ** (1 / 3))
    return body


def vectors_from(centre: Array, grid: Grid) -> Array:
    """`(z, y, x, 3)` float32: from a point to each voxel's centre."""
    axes = [grid.axis(number) - np.float32(centre[number]) for number in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float32)


def put(
    onto: Array,
    grid: Grid,
    body: Shape,
    hounsfield: float,
    *,
    lung: Array | None = None,
    texture: float = 0.0,
    rng: np.random.Generator | None = None,
) -> None:
    """Draw a shape; what is denser already, such as a vessel or bone, stays.

    Args:
        onto: `(z, y, x)` float32 Hounsfield units of the grid; changed.
        grid: of `onto`.
        body: the shape.
        hounsfield: its tissue.
        lung: how much of each voxel is lung, uint8 of 255: nothing is drawn outside.
        texture: standard deviation of its tissue.
        rng: for the texture.
    """
    box = grid.box(body.centre, body.reach_mm + grid.edge_mm)
    there = onto[box]
    if not there.size:
        return
    outside = body.outside_mm(vectors_from(body.centre, grid.part(box)))
    filled = np.clip(0.5 - outside / grid.edge_mm, 0, 1) * _visible(body.radius_mm, grid.edge_mm)
    if lung is not None:
        # Twice: where wall and lung share a voxel, the lesion fills the lung's half.
        filled *= np.minimum(lung[box] * np.float32(2 / 255), 1)
    level = np.full(there.shape, hounsfield, np.float32)
    if texture and rng is not None:
        level += np.float32(texture) * rng.standard_normal(there.shape, np.float32)
    there += (np.maximum(level, there) - there) * filled.astype(np.float32)


def _visible(radius_mm: float, edge_mm: float) -> float:
    """What the scanner's blur leaves of a small ball at its middle."""
    blur = 2 * (0.29 * edge_mm) ** 2
    whole = (1 - np.exp(-(radius_mm**2) / blur)) ** 1.5
    return float(whole / min(0.5 + radius_mm / edge_mm, 1))


def hollow(onto: Array, grid: Grid, body: Shape, hounsfield: float) -> None:
    """Replace what is within a shape, denser or not."""
    box = grid.box(body.centre, body.reach_mm + grid.edge_mm)
    there = onto[box]
    if there.size:
        outside = body.outside_mm(vectors_from(body.centre, grid.part(box)))
        filled = np.clip(0.5 - outside / grid.edge_mm, 0, 1).astype(np.float32)
        there += (np.float32(hounsfield) - there) * filled
