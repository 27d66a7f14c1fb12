"""Nodules: how many, which, where, and how malignant; how they look."""

from dataclasses import dataclass, replace

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.lung._anatomy import Chest
from fieldsight.datasets.simulated.lung._lesions import (
    Shape,
    hollow,
    of_volume,
    put,
    shape,
    vectors_from,
)
from fieldsight.datasets.simulated.lung._raster import Beads, Grid, join, rods, sampled
from fieldsight.datasets.simulated.lung._sizes import diameters

KINDS = ("solid", "part-solid", "ground-glass")
PLACES = ("free", "wall", "vessel")

# How many nodules a patient has: more than LUNA16's 1.3, so that few patients teach enough.
_COUNT_SHARES = (0.20, 0.26, 0.21, 0.14, 0.09, 0.06, 0.04)
_KIND_SHARES = (0.73, 0.12, 0.15)
_PLACE_SHARES = (0.45, 0.27, 0.28)

# The logit of malignancy. Directions as in McWilliams et al., New England Journal of Medicine
# 369, 2013 (size, spiculation, part-solid, upper lobe raise the risk) and calcium, which lowers it.
_RISK_BASE, _RISK_LOG_SIZE = -3.3, 2.6
_RISK_SPICULATED, _RISK_PART_SOLID, _RISK_GROUND_GLASS = 5.0, 2.6, -0.8
_RISK_UPPER, _RISK_CALCIFIED, _RISK_LOBED = 0.5, -5.0, 1.2
OCCULT = 0.02  # a cancer that no nodule shows


@dataclass(frozen=True, eq=False)
class Lesion:
    """A nodule to be drawn.

    Args:
        body: its shape.
        diameter_mm: of a ball of its volume in the lung.
        kind: one of KINDS.
        place: one of PLACES.
        spiculated: 0 to 1.
        lobed: 0 to 1.
        calcified: whether it holds calcium.
        upper: whether it lies in the upper half.
        malignant: whether it is cancer.
        malignancy: the mean of four readers' grades, 1 to 5.
    """

    body: Shape
    diameter_mm: float
    kind: str
    place: str
    spiculated: float
    lobed: float
    calcified: bool
    upper: bool
    malignant: bool
    malignancy: float


def logit(
    diameter_mm: float, kind: str, spiculated: float, lobed: float, calcified: bool, upper: bool
) -> float:
    """The log odds that a nodule is cancer."""
    odds = _RISK_BASE + _RISK_LOG_SIZE * float(np.log(diameter_mm / 8))
    odds += _RISK_SPICULATED * spiculated + _RISK_LOBED * lobed + _RISK_UPPER * upper
    odds += {"solid": 0, "part-solid": _RISK_PART_SOLID, "ground-glass": _RISK_GROUND_GLASS}[kind]
    return odds + _RISK_CALCIFIED * calcified


def lesions(chest: Chest, vessels: Beads, rng: np.random.Generator) -> list[Lesion]:
    """Draw a patient's nodules, which don't touch each other."""
    count = int(rng.choice(len(_COUNT_SHARES), p=_COUNT_SHARES))
    found: list[Lesion] = []
    sites = _Sites(chest, vessels)
    for diameter in diameters(rng, count):
        kind = str(rng.choice(KINDS, p=_KIND_SHARES))
        place = str(rng.choice(PLACES, p=_PLACE_SHARES))
        spiculated, lobed, calcified = _look(rng, diameter, kind)
        centre = sites.find(rng, place, diameter / 2, found)
        smooth = 1.2 if calcified else 1.35
        body = shape(rng, centre, diameter / 2, longest=smooth, lobed=lobed)
        body = of_volume(body, chest, diameter)
        upper = bool(centre[0] > chest.level(0.55))
        odds = logit(diameter, kind, spiculated, lobed, calcified, upper)
        malignant = bool(rng.random() < 1 / (1 + np.exp(-odds)))
        opinion = 3 + 0.55 * (odds + 0.8) + rng.normal(0, 0.5, 4)
        grade = float(np.clip(np.rint(opinion), 1, 5).mean())
        found.append(
            Lesion(
                body, float(diameter), kind, place, spiculated, lobed, calcified, upper,
                malignant, grade,
            )
        )  # fmt: skip
    return found


def _look(rng: np.random.Generator, diameter: float, kind: str) -> tuple[float, float, bool]:
    draw, amount, lump, calcium = rng.random(4)
    spiculated = lobed = 0.0
    if kind != "ground-glass" and diameter > 5:
        spiculated = 0.4 + 0.6 * amount if draw < 0.30 else 0.0
        lobed = lump if 0.30 <= draw < 0.60 else 0.25 * lump * (spiculated > 0)
    calcified = kind == "solid" and not spiculated and calcium < 0.28
    return spiculated, lobed, bool(calcified)


class _Sites:
    """Where nodules can be."""

    def __init__(self, chest: Chest, vessels: Beads) -> None:
        self.chest = chest
        self.vessels = vessels
        self.depth = -chest.lung
        self.gradient = np.gradient(chest.lung, *chest.grid.spacing)

    def find(
        self, rng: np.random.Generator, place: str, radius: float, others: list[Lesion]
    ) -> Array:
        """A centre `(3,)` of that place; the best of some tries."""
        best, best_cost = np.zeros(3), np.inf
        candidates = (
            self._vessel(rng, radius) if place == "vessel" else self._lung(rng, place, radius)
        )
        inside = -sampled(self.chest.lung, self.chest.grid, candidates)
        for centre, depth in zip(candidates, inside, strict=True):
            cost = self._cost(centre, float(depth), place, radius, others)
            if cost <= 0:
                return np.asarray(centre)
            if cost < best_cost:
                best, best_cost = centre, cost
        return np.asarray(best)

    def _lung(self, rng: np.random.Generator, place: str, radius: float) -> Array:
        # Between these depths under the pleura, by the coarse grid, then moved to the exact one.
        low, high = (radius + 3.5, np.inf) if place == "free" else (0.5, 9.0)
        places = np.argwhere((self.depth > low) & (self.depth < high))
        if not len(places):
            places = np.argwhere(self.depth > min(low, float(self.depth.max()) - 3))
        chosen = places[rng.integers(len(places), size=40)]
        jitter = rng.uniform(-0.5, 0.5, (40, 3))
        points = self.chest.grid.origin + (chosen + jitter) * self.chest.grid.spacing
        if place == "free":
            return np.asarray(points)
        wanted = radius * rng.uniform(0.15, 0.85, 40)
        for _ in range(2):
            depth = -sampled(self.chest.lung, self.chest.grid, points)
            slope = np.stack([sampled(g, self.chest.grid, points) for g in self.gradient], 1)
            slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
            points = points + slope * (depth - wanted)[:, None]
        return np.asarray(points)

    def _vessel(self, rng: np.random.Generator, radius: float) -> Array:
        thick = self.vessels.radii_mm
        able = np.flatnonzero((thick > 0.7) & (thick < max(1.8, 0.6 * radius)))
        chosen = self.vessels.take(able[rng.integers(len(able), size=40)])
        aside = np.cross(chosen.along, rng.standard_normal((40, 3)))
        aside /= np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-6)
        shift = chosen.radii_mm + radius * rng.uniform(0.3, 0.95, 40)
        return np.asarray(chosen.points + aside * shift[:, None])

    def _cost(
        self, centre: Array, depth: float, place: str, radius: float, others: list[Lesion]
    ) -> float:
        cost = 0.0
        for other in others:
            gap = np.linalg.norm(centre - other.body.centre) - radius - other.body.reach_mm
            cost += 100 * max(6 - float(gap), 0)
        near = np.linalg.norm(self.vessels.points - centre, axis=1) - self.vessels.radii_mm
        thick = self.vessels.radii_mm > (1.0 if place == "free" else 2.0 + 0.4 * radius)
        if place != "vessel" and thick.any():
            cost += max(radius + 1.5 - float(near[thick].min()), 0)
        if place == "wall":
            cost += 10 * max(abs(depth - radius * 0.5) - radius * 0.45, 0)
        else:
            cost += 10 * max(radius + (3 if place == "free" else 1) - depth, 0)
        return cost


def draw(
    lesion: Lesion, number: int, onto: Array, lung: Array, mask: Array, grid: Grid,
    blood: float, rng: np.random.Generator,
) -> Beads | None:  # fmt: skip
    """Put a nodule on the grid and on the mask; its spicules are returned, to be drawn.

    Args:
        lesion: the nodule.
        number: its label in the mask.
        onto: `(z, y, x)` float32 Hounsfield units; changed.
        lung: how much of each voxel is lung, uint8 of 255.
        mask: uint8 labels; changed.
        grid: of all three.
        blood: Hounsfield units of blood; a contrast agent brightens nodules too.
        rng: for its texture.
    """
    body, kind = lesion.body, lesion.kind
    solid = rng.uniform(5, 60) + 0.15 * (blood - 40)
    haze = rng.uniform(-690, -480)
    if kind == "solid":
        put(onto, grid, body, solid, lung=lung, texture=8, rng=rng)
    else:
        put(onto, grid, body, haze, lung=lung, texture=25, rng=rng)
    if kind == "part-solid":
        share = rng.uniform(0.35, 0.7)
        shift = rng.normal(0, 0.25, 3) * (1 - share) * body.radius_mm
        core = replace(body, centre=body.centre + shift, radius_mm=body.radius_mm * share)
        put(onto, grid, core, solid, lung=lung)
    if lesion.calcified:
        whole = rng.random() < 0.5
        core = replace(body, radius_mm=body.radius_mm * (0.9 if whole else 0.5))
        put(onto, grid, core, rng.uniform(220, 700), lung=lung)
    elif lesion.diameter_mm > 14 and kind == "solid" and rng.random() < 0.12:
        hole = replace(body, radius_mm=body.radius_mm * rng.uniform(0.3, 0.55))
        hollow(onto, grid, hole, -960)
    box = grid.box(body.centre, body.reach_mm + grid.edge_mm)
    if mask[box].size:
        outside = body.outside_mm(vectors_from(body.centre, grid.part(box)))
        inside = (outside <= 0) & (lung[box] > 127)
        if not inside.any():  # a small one between the voxels' centres
            inside = outside == outside.min()
        mask[box][inside] = number
    return _spicules(lesion, rng) if lesion.spiculated else None


def _spicules(lesion: Lesion, rng: np.random.Generator) -> Beads:
    count = int(10 + 18 * lesion.spiculated)
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radius = lesion.body.radius_mm
    parts = []
    for direction in directions:
        far = radius * rng.uniform(1.25, 1.75) + rng.uniform(1, 4)
        line = lesion.body.centre + np.outer((0.75 * radius, far), direction)
        parts.append(rods(line, np.array([0.5 + 0.08 * radius, 0.3]) * rng.uniform(0.9, 1.5), 0.8))
    return join(parts)
