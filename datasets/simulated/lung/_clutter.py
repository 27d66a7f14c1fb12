"""What isn't a nodule and looks like one, or nearly."""

from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.lung._anatomy import Chest
from fieldsight.datasets.simulated.lung._bones import wall
from fieldsight.datasets.simulated.lung._lesions import Shape, shape
from fieldsight.datasets.simulated.lung._raster import Beads, join, rods, sampled
from fieldsight.datasets.simulated.lung._trees import Tree, hila


@dataclass(frozen=True, eq=False)
class Thing:
    """Args:
    body: its shape.
    hounsfield: its tissue.
    in_lung: whether the lung's border cuts it off.
    excluded: whether a reader would mark it, though it isn't a nodule that counts.
    diameter_mm: as the list of what is excluded gives it.
    """

    body: Shape
    hounsfield: float
    in_lung: bool = True
    excluded: bool = False
    diameter_mm: float = 0.0


def fissure_z(chest: Chest, side: int, y: Array, x: Array) -> Array:
    """Height of the oblique fissure between a lung's lobes."""
    middle = chest.level(0.42 if side < 0 else 0.45)
    bow = 12 * np.cos(np.abs(x) / 45) + 6 * np.sin(y / 35)
    return np.asarray(middle + 0.8 * y + bow - 6)


def fissures(chest: Chest, step_mm: float) -> Beads:
    """The oblique fissures as a fine weave of beads, in the lungs."""
    axis_y, axis_x = np.arange(-100, 100, step_mm), np.arange(12, 140, step_mm)
    parts = []
    for side in (-1, 1):
        y, x = (a.ravel() for a in np.meshgrid(axis_y, side * axis_x, indexing="ij"))
        points = np.stack([fissure_z(chest, side, y, x), y, x], 1)
        points = points[sampled(chest.lung, chest.grid, points) < -1]
        parts.append(points)
    points = np.concatenate(parts)
    along = np.broadcast_to(np.array([0.62, 0.78, 0.0]), points.shape)
    return Beads(points, along, np.full(len(points), step_mm * 0.6), np.full(len(points), 0.45))


def bulges(trees: list[Tree], rng: np.random.Generator) -> Beads:
    """Forks of vessels, some of which are thicker than what leads to them."""
    ends = np.concatenate([tree.ends[tree.levels < 7] for tree in trees])
    radii = np.concatenate([tree.radii[tree.levels < 7, 1] for tree in trees])
    able = np.flatnonzero((radii > 0.8) & (radii < 2.4))
    count = min(int(rng.integers(6, 18)), len(able))
    chosen = rng.choice(able, count, replace=False)
    thick = radii[chosen] * rng.uniform(1.15, 1.5, count)
    along = np.broadcast_to(np.array([1.0, 0, 0]), (count, 3))
    return Beads(ends[chosen], along, thick * rng.uniform(0, 0.4, count), thick)


def bands(chest: Chest, rng: np.random.Generator) -> Beads | None:
    """Scars: short thin sheets that mostly reach the pleura."""
    parts = []
    for _ in range(int(rng.integers(0, 5))):
        start = _under_pleura(chest, rng, rng.uniform(0, 10))
        inward = -start * (0.3, 1, 1)
        heading = inward / np.linalg.norm(inward) + rng.normal(0, 0.5, 3)
        heading /= np.linalg.norm(heading)
        side = np.cross(heading, rng.standard_normal(3))
        side /= np.linalg.norm(side)
        length, width = rng.uniform(10, 38), rng.uniform(0, 8)
        bend = rng.normal(0, 0.15, 3) * length
        for shift in np.arange(0, width + 0.1, 1.2):
            foot = start + side * shift
            line = np.stack([foot, foot + heading * length / 2 + bend, foot + heading * length])
            thick = rng.uniform(0.6, 1.3)
            parts.append(rods(line, np.array([thick, thick * 0.8, 0.4]), 1.2))
    return join(parts) if parts else None


def _under_pleura(chest: Chest, rng: np.random.Generator, depth_mm: float) -> Array:
    places = np.argwhere(np.abs(-chest.lung - depth_mm) < 4)
    chosen = places[rng.integers(len(places))] + rng.uniform(-0.5, 0.5, 3)
    return np.asarray(chest.grid.origin + chosen * chest.grid.spacing)


def things(chest: Chest, rib_ends: Array, rng: np.random.Generator) -> list[Thing]:
    """Plaques, lymph nodes, rib ends, and what is too small or too flat to count."""
    found = [*_plaques(chest, rng), *_hilar_nodes(chest, rng), *_rib_ends(rib_ends, rng)]
    healed, fresh, flat = rng.poisson((1.1, 1.0, 0.5)).tolist()
    found += [_small(chest, rng, rng.uniform(300, 900)) for _ in range(healed)]  # full of calcium
    found += [_small(chest, rng, rng.uniform(-20, 50)) for _ in range(fresh)]
    found += [_fissural(chest, rng) for _ in range(flat)]
    return found


def _small(chest: Chest, rng: np.random.Generator, hounsfield: float) -> Thing:
    diameter = float(rng.uniform(1.6, 2.95))
    centre = _under_pleura(chest, rng, rng.uniform(4, 30))
    return Thing(shape(rng, centre, diameter / 2), hounsfield, True, True, diameter)


def _fissural(chest: Chest, rng: np.random.Generator) -> Thing:
    """A lymph node on the fissure: small, flat, smooth."""
    side = int(rng.choice((-1, 1)))
    y, x = rng.uniform(-60, 70, 30), side * rng.uniform(30, 110, 30)
    points = np.stack([fissure_z(chest, side, y, x), y, x], 1)
    depth = -sampled(chest.lung, chest.grid, points)
    centre = points[int(np.argmax(depth > 8)) if (depth > 8).any() else int(depth.argmax())]
    diameter = float(rng.uniform(3.2, 5.5))
    normal = np.array([0.78, -0.62, 0.0])
    body = shape(rng, centre, diameter / 2, flat_along=normal, flatness=0.4)
    return Thing(body, float(rng.uniform(0, 50)), True, True, diameter)


def _plaques(chest: Chest, rng: np.random.Generator) -> list[Thing]:
    found = []
    for _ in range(int(rng.integers(1, 7)) if rng.random() < 0.3 else 0):
        angle = rng.uniform(np.radians(-60), np.radians(75), 1)
        z = chest.level(rng.uniform(0.3, 0.85, 1))
        side = int(rng.choice((-1, 1)))
        centre = wall(chest, z, angle, side, -1.5)[0]
        normal = centre - wall(chest, z, angle, side, -8.0)[0]
        hounsfield = float(rng.uniform(250, 700) if rng.random() < 0.4 else rng.uniform(30, 80))
        body = shape(
            rng, centre, rng.uniform(4, 7.5), longest=1.6, lobed=0.3, flat_along=normal,
            flatness=rng.uniform(0.22, 0.4),
        )  # fmt: skip
        found.append(Thing(body, hounsfield))
    return found


def _hilar_nodes(chest: Chest, rng: np.random.Generator) -> list[Thing]:
    """Lymph nodes of the lungs' roots, which bulge into the lung."""
    found = []
    for hilum, side in zip(hila(chest), (-1, 1), strict=True):
        for _ in range(int(rng.integers(0, 4))):
            radius = rng.uniform(3, 7.5)
            z, y = hilum[0] + rng.uniform(-40, 40), hilum[1] + rng.uniform(-22, 16)
            x = side * np.arange(8.0, 80, 1.0)
            line = np.stack([np.full_like(x, z), np.full_like(x, y), x], 1)
            inside = sampled(chest.lung, chest.grid, line) < -radius * rng.uniform(-0.6, 0.1)
            if inside.any():
                centre = line[int(inside.argmax())]
                body = shape(rng, centre, radius, longest=1.7, lobed=0.2)
                found.append(Thing(body, float(rng.uniform(20, 70)), False))
    return found


def _rib_ends(rib_ends: Array, rng: np.random.Generator) -> list[Thing]:
    """Where ribs meet their cartilage they may be thick; the first rib's always are."""
    found = []
    for number, centre in enumerate(rib_ends):
        if number < 2 or rng.random() < 0.12:
            radius = rng.uniform(5, 8) if number < 2 else rng.uniform(3.5, 6)
            body = shape(rng, centre, radius, longest=1.5, lobed=0.5)
            found.append(Thing(body, float(rng.uniform(120, 420)), False))
    return found
