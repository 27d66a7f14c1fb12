"""The ground of a scene at two dates: which material lies where, and whose field it is."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated._fields import rotated, smooth
from fieldsight.datasets.simulated.forest._materials import CLASS_OF, M, among
from fieldsight.datasets.simulated.forest._plan import Plan

# A hectare, of 9 m2 a pixel: smaller new clearings aren't made, slivers are no question.
SMALLEST_NEW = 1111


@dataclass
class Ground:
    """What lies where; painted in place.

    Args:
        before: `(rows, columns)` uint8 materials at the first date.
        after: at the second.
        field: `(rows, columns)` uint16, 0 outside fields: pixels of one field look alike.
        river_distance: `(rows, columns)` float32 pixels from the river's bank, below 0 in it.
        reserve: pixels of forest that are left along the river.
    """

    before: Array
    after: Array
    field: Array
    river_distance: Array
    reserve: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.before.shape[0], self.before.shape[1])

    def put(self, mask: Array, material: M) -> None:
        """Paint on both dates, not over water."""
        mask = mask & (CLASS_OF[self.before] != 3)
        self.before[mask] = material
        self.after[mask] = material

    def near_people(self, rng: np.random.Generator, *, roads: bool = False) -> tuple[float, float]:
        """A place by a road, at a field's edge or by the river; anywhere, where there are none."""
        wanted = among(M.ROAD, M.TRACK) if roads else among(M.PASTURE, M.CROP, M.REGROWTH, M.ROAD)
        step = 7
        found = np.argwhere(wanted[self.before[::step, ::step]])
        bank = self.river_distance[::step, ::step]
        by_river = np.argwhere((bank > 8) & (bank < 60))
        if not len(found) or (len(by_river) and rng.random() < 0.3):
            found = by_river
        if len(found):
            row, column = found[rng.integers(len(found))] * step
        else:
            row, column = rng.uniform(0.05, 0.95, 2) * self.shape
        off = rng.normal(0, 4 if roads else 50, 2)
        return float(row + off[0]), float(column + off[1])

    def anywhere(self, rng: np.random.Generator, wanted: Array) -> tuple[float, float] | None:
        """A place of some material at the second date, or None."""
        found = np.argwhere(wanted[self.after[::16, ::16]]) * 16
        if not len(found):
            return None
        row, column = found[rng.integers(len(found))]
        return float(row), float(column)


def nature(rng: np.random.Generator, shape: tuple[int, int], plan: Plan) -> Ground:
    """Forest, swamp, savanna, rivers and lakes, without people."""
    distance, meets = _river(rng, shape, plan)
    material = np.full(shape, M.FOREST, np.uint8)
    wet = distance < 25 + 45 * np.maximum(smooth(rng, shape, 150), -0.5) + 5 * smooth(rng, shape, 4)
    material[wet] = M.SWAMP
    if plan.leafless:
        stands = smooth(rng, shape, 240, octaves=5, persistence=0.5)
        # Trees of either kind stand among the others at the border.
        stands += np.float32(0.22) * smooth(rng, shape, 4)
        material[stands > _level(stands, plan.leafless)] = M.LEAFLESS
    if plan.open:
        _savanna(rng, material, plan.open)
    ground = Ground(
        before=material,
        after=material,
        field=np.zeros(shape, np.uint16),
        river_distance=distance,
        reserve=float(rng.choice((4, 12, 18))),
    )
    lakes = np.zeros(shape, bool)
    for _ in range(plan.lakes):
        _lake(rng, lakes)
    material[lakes] = M.LAKE
    ground.after = material.copy()
    material[distance < 0] = M.RIVER
    ground.after[distance < meets] = M.RIVER
    return ground


def _level(field: Array, part: float) -> float:
    """The value that this part of a field exceeds, from a sample of it."""
    return float(np.quantile(field[::8, ::8], 1 - part))


def _river(rng: np.random.Generator, shape: tuple[int, int], plan: Plan) -> tuple[Array, float]:
    """Pixels from the bank at the first date; and the distance that is bank at the second."""
    if not plan.river:
        return np.full(shape, 1e6, np.float32), 0.0
    u, _ = rotated(shape, rng.uniform(0, np.pi))
    half = rng.choice((rng.uniform(5, 12), rng.uniform(14, 40)))
    # Wide meanders and narrow ones: the plane is bent, and a straight line in it is the river.
    bent = u + 90 * smooth(rng, shape, 330) + 28 * smooth(rng, shape, 110)
    bent += 2.5 * smooth(rng, shape, 18)
    bent -= np.float32(rng.uniform(-0.3, 0.3) * shape[0])
    slope = 1 + 0.25 * np.abs(smooth(rng, shape, 200))
    distance = np.abs(bent) / slope - np.float32(half)
    if half > 20 and rng.random() < 0.5:  # islands
        islands = np.minimum(smooth(rng, shape, 55) - 1.5, -distance / 12 - 0.9)
        distance = np.maximum(distance, 12 * islands)
    return np.asarray(distance, np.float32), float(rng.uniform(-0.12, 0.3) * half)


def _savanna(rng: np.random.Generator, material: Array, part: float) -> None:
    """Grassland with sand and rock inside it, in shapes that no surveyor drew."""
    field = smooth(rng, material.shape, 200, octaves=5, persistence=0.5)
    level = _level(field, part)
    material[field > level] = M.OPEN
    field = field + np.float32(0.12) * smooth(rng, material.shape, 5)
    inner = field + 0.5 * smooth(rng, material.shape, 60, octaves=2)
    sand = M.SAND if rng.random() < 0.6 else M.ROCK
    material[inner > level + rng.uniform(0.5, 1.2)] = sand


def _lake(rng: np.random.Generator, lakes: Array) -> None:
    """A lake, or the bow of an old meander."""
    shape = lakes.shape
    row, column = rng.uniform(0.03, 0.97, 2) * shape
    y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(row)
    x = np.arange(shape[1], dtype=np.float32)[None] - np.float32(column)
    edge = 5 * smooth(rng, (shape[0], shape[1]), 45)
    if rng.random() < 0.6:
        radius, half, turn = rng.uniform(40, 110), rng.uniform(5, 13), rng.uniform(0, 2 * np.pi)
        away = np.abs(np.hypot(y, x) - np.float32(radius)) + edge / 3
        bow = y * np.float32(np.sin(turn)) + x * np.float32(np.cos(turn)) > -radius * 0.2
        lakes |= (away < half) & bow
    else:
        a, b = rng.uniform(20, 75, 2)
        lakes |= np.hypot(y / np.float32(a), x / np.float32(b)) * min(a, b) + edge < min(a, b)


def tidy(ground: Ground) -> Array:
    """Undo what is too small of the new clearings, in place; returns where the rest is, bool."""
    new = (CLASS_OF[ground.before] == 1) & (CLASS_OF[ground.after] == 2)
    labels, _ = ndimage.label(new)
    small = np.bincount(labels.ravel()) < SMALLEST_NEW
    small[0] = False
    gone = small[labels]
    ground.after[gone] = ground.before[gone]
    return np.asarray(new & ~gone)
