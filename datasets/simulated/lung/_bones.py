"""The skeleton of the chest: ribs, vertebrae, breastbone, collar bones, shoulder blades."""

from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.lung._anatomy import Chest
from fieldsight.datasets.simulated.lung._raster import Beads, Grid, join, rods

SHELL_HOUNSFIELD, MARROW_HOUNSFIELD, CARTILAGE_HOUNSFIELD = 720.0, 190.0, 120.0
_VERTEBRA = 0.088  # height of a vertebra and its disc, as a share of the lungs'


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Args:
    bones: outer surfaces.
    marrow: what is within the hard shell.
    cartilage: the ribs' front ends.
    rib_ends: `(n, 3)` millimetres, where ribs become cartilage, on the cavity's wall.
    """

    bones: Beads
    marrow: Beads
    cartilage: Beads
    rib_ends: Array


def skeleton(chest: Chest, rng: np.random.Generator, step_mm: float) -> Skeleton:
    """A patient's bones, of beads of `step_mm`."""
    bony, soft, ends = _ribs(chest, rng, step_mm)
    spine = _spine(chest, step_mm)
    others = [*_breast(chest, step_mm), *_shoulders(chest, rng, step_mm)]
    shell = 1.5
    bones = join([*bony, *spine, *others])
    hollow = [part.grown(-shell) for part in [*bony, *spine, *others]]
    marrow = join([part.take(part.radii_mm > 0.6) for part in hollow])
    return Skeleton(bones, marrow, join(soft), np.array(ends))


def _ribs(
    chest: Chest, rng: np.random.Generator, step: float
) -> tuple[list[Beads], list[Beads], list[Array]]:
    bony, soft, ends = [], [], []
    for number in range(1, 12):
        back_t = 1.04 - 0.088 * (number - 1) + rng.normal(0, 0.004)
        drop = min(0.05 + 0.055 * number, 0.30) * chest.height
        for side in (-1, 1):
            # From beside the spine (0) round the side to the front (1).
            turn = np.linspace(0.0, 1.0 if number < 8 else 1.25 - 0.05 * number, 28)
            angle = np.radians(102) - turn * np.radians(172)
            z = chest.level(back_t) - drop * turn**0.9
            z = np.minimum(z, chest.level(1.0) - 1)
            path = wall(chest, z, angle, side, 5.5)
            joint = int(len(turn) * 0.82) if number > 1 else int(len(turn) * 0.7)
            # Three tubes above each other: a rib is higher than it is thick.
            for up in (-2.4, 0.0, 2.4):
                shift = np.array([up, 0.0, 0.0])
                bony.append(rods(path[:joint] + shift, 3.6, step))
                soft.append(rods(path[joint - 1 :] + shift, 3.2, step))
            ends.append(wall(chest, z[joint - 1 : joint], angle[joint - 1 : joint], side, 1.0)[0])
    return bony, soft, ends


def wall(chest: Chest, z: Array, angle: Array, side: int, out_mm: float) -> Array:
    """Points `(n, 3)` on the pleural cavity's wall; angle 90 degrees is the back, -90 the front."""
    width, back, front = chest.half_width(z), chest.back(z), chest.front(z)
    depth, middle = (back - front) / 2, (back + front) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    radius = (np.abs(cos) ** 2.3 + np.abs(sin) ** 2.3) ** (-1 / 2.3)
    x = side * np.abs(cos) * radius * (width + out_mm) * np.sign(cos)
    y = middle + sin * radius * (depth + out_mm)
    return np.stack([z, y, x], 1)


def vertebrae(chest: Chest) -> Array:
    """Middles of the vertebrae's bodies, `(n, 3)` millimetres."""
    z = chest.level(1.1 - _VERTEBRA * np.arange(-1, 14))
    y = chest.spine(np.minimum(z, chest.level(1.0)))
    return np.stack([z, y, np.zeros_like(z)], 1)


def put_vertebrae(onto: Array, grid: Grid, chest: Chest) -> None:
    """Draw their bodies, short hollow drums, with discs between.

    Args:
        onto: `(z, y, x)` float32 Hounsfield units; changed.
        grid: of `onto`.
        chest: the patient.
    """
    high = _VERTEBRA * chest.height / 2
    for middle in vertebrae(chest):
        box = grid.box(middle, 24.0)
        there = onto[box]
        if not there.size:
            continue
        z, y, x = grid.part(box).open()
        z, y, x = z - middle[0], y - middle[1], x - middle[2]
        waist = 1 + 0.1 * (z / high) ** 2
        side = (np.sqrt((x / (17 * waist)) ** 2 + (y / (13.5 * waist)) ** 2) - 1) * 13.5
        surface = np.maximum(side, np.abs(z) - (high - 2.2))
        bone = np.clip(0.5 - surface / grid.edge_mm, 0, 1)
        inner = np.clip(0.5 - (surface + 1.6) / grid.edge_mm, 0, 1)
        level = SHELL_HOUNSFIELD + inner * (MARROW_HOUNSFIELD - SHELL_HOUNSFIELD)
        there += ((level - there) * bone).astype(np.float32)


def _spine(chest: Chest, step: float) -> list[Beads]:
    """The vertebrae's arches and spines, behind their bodies."""
    bones = []
    for z, y, _ in vertebrae(chest):
        for side in (-1, 1):
            root, foot = [z, y + 11, side * 12.0], [z - 2, y + 22, side * 14.0]
            bones.append(rods(np.array([root, foot]), 4.0, step))
            bones.append(rods(np.array([foot, [z - 4, y + 29, 0.0]]), 3.5, step))
            bones.append(rods(np.array([foot, [z, y + 30, side * 32.0]]), 4.2, step))
        tip = [[z - 4, y + 29, 0.0], [z - 12, y + 46, 0.0]]
        bones.append(rods(np.array(tip), np.array([3.6, 2.6]), step))
    return bones


def _breast(chest: Chest, step: float) -> list[Beads]:
    z = chest.level(np.linspace(0.36, 0.9, 9))
    y = chest.front(z) - 7
    parts = []
    for x in np.linspace(-11.4, 11.4, 11):
        wide = np.where(z > chest.level(0.8), 1.5, 1.0)
        parts.append(rods(np.stack([z, y, x * wide], 1), 4.6, step))
    return parts


def _shoulders(chest: Chest, rng: np.random.Generator, step: float) -> list[Beads]:
    """Collar bones and shoulder blades, the arms raised."""
    parts = []
    lift = rng.uniform(-6, 6)
    for side in (-1, 1):
        top = float(chest.level(0.97)) + lift
        front = float(chest.front(chest.level(0.9)))
        inner, outer = [top, front - 8, side * 22.0], [top + 34, front + 42, side * 122.0]
        bend = [top + 12, front + 4, side * 70.0]
        parts.append(rods(np.array([inner, bend, outer]), 6.0, step))
        # A blade is a sheet of thin rods, thicker at its edges.
        for row in np.linspace(0, 1, 9):
            z = chest.level(0.56 + 0.36 * row)
            back = float(chest.back(z)) + 15
            width = float(chest.half_width(min(float(z), float(chest.level(0.75)))))
            near, far = width * (0.70 - 0.08 * row), width * (0.88 + 0.34 * row)
            line = np.array([
                [z, back, side * near],
                [z, back - 12, side * (near + far) / 2],
                [z, back - 34 - 8 * row, side * far],
            ])  # fmt: skip
            parts.append(rods(line, np.array([2.6, 1.9, 3.4]), step))
    return parts
