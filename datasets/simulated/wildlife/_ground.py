"""The ground of a flight, as warm as it is, and the leaves above it."""

from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated._fields import box, grain, smooth
from fieldsight.datasets.simulated.wildlife._plan import Plan
from fieldsight.datasets.simulated.wildlife._shapes import blob, capsules

# Things on 1,000 square metres: bushes, groups of trees, outcrops, loose stones, termite mounds,
# trunks that lie, and places where animals lay.
_DENSITY = {
    "savanna": (2.2, 0.08, 0.15, 1.4, 0.8, 0.30, 0.9),
    "bush": (6.5, 0.30, 0.12, 1.1, 0.5, 0.6, 0.6),
    "river": (3.5, 0.22, 0.17, 1.5, 0.4, 0.4, 0.7),
    "road": (2.6, 0.10, 0.14, 1.3, 0.7, 0.30, 0.7),
}
_ROCKY = 1.5  # the other setting's stones, by the default's


@dataclass(frozen=True)
class Ground:
    """Flat ground on a grid.

    Args:
        kelvin: `(rows, columns)` float32, from the grass's temperature.
        canopy: `(rows, columns)` float32, the part of what lies below that leaves hide.
        water: `(rows, columns)` bool.
        left_m, top_m: x and y of the grid's first corner; rows run towards smaller y.
        pixel_m: a cell's side.
        road: x of the road's middle at y = 0 and how far it goes to the right a metre; None
            without one.
    """

    kelvin: Array
    canopy: Array
    water: Array
    left_m: float
    top_m: float
    pixel_m: float
    road: tuple[float, float] | None

    def cells(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Rows and columns of ground in metres, from the grid's edge."""
        return (self.top_m - y) / self.pixel_m, (x - self.left_m) / self.pixel_m


def ground(plan: Plan, bounds: tuple[float, float, float, float]) -> Ground:
    """The ground within bounds: smallest x and y, largest x and y, metres."""
    rng = plan.rng(2)
    pixel = plan.height_m / plan.focal_px
    left, bottom, right, top = bounds
    shape = (int(np.ceil((top - bottom) / pixel)), int(np.ceil((right - left) / pixel)))
    air = plan.air
    kelvin = air.patches * smooth(rng, shape, 14 / pixel, octaves=3, persistence=0.6)
    kelvin += np.float32(0.28) * smooth(rng, shape, 1.0 / pixel, octaves=2, persistence=0.9)
    kelvin += np.float32(0.22) * grain(rng, shape)
    bare = smooth(rng, shape, 9 / pixel, octaves=4, persistence=0.65)
    kelvin += np.float32(air.soil) * np.clip((bare - np.float32(0.75)) * 2, 0, 1)
    land = Ground(kelvin, np.zeros(shape, np.float32), np.zeros(shape, bool), left, top, pixel,
                  _road_of(rng, plan, bounds))  # fmt: skip
    if plan.land == "river":
        _river(rng, land, air.water)
    if land.road is not None:
        _road(land, land.road, air.soil)
    area = shape[0] * shape[1] * pixel**2 / 1000
    rocky = _ROCKY if plan.setting == "other" else 1.0
    bushes, groves, outcrops, stones, mounds, trunks, beds = (
        int(rng.poisson(density * area)) for density in _DENSITY[plan.land]
    )
    _stones(rng, land, plan, int(outcrops * rocky + 0.5), int(stones * rocky + 0.5))
    for _ in range(mounds):
        _mound(rng, land, plan)
    for _ in range(trunks):
        _trunk(rng, land, plan)
    for _ in range(beds):
        row, column = _anywhere(rng, land)
        radius = rng.uniform(0.7, 1.9) / pixel
        _halo(land, row, column, radius, 0.75 * _warmth(rng, plan))
    _plants(rng, land, air.leaves, bushes, groves)
    return land


def _anywhere(rng: np.random.Generator, land: Ground) -> tuple[float, float]:
    return float(rng.uniform(0, land.kelvin.shape[0])), float(rng.uniform(0, land.kelvin.shape[1]))


def _stone(rng: np.random.Generator, land: Ground, row: float, column: float, radius_m: float,
           warmth: float) -> None:  # fmt: skip
    """A rock with facets, and the soil about it that it has warmed."""
    radius = radius_m / land.pixel_m
    _halo(land, row, column, 2.7 * radius + 2, 0.4 * warmth)
    where, covered, v, u = blob(
        rng, land.kelvin.shape, row, column, radius, stretch=rng.uniform(1, 1.9), rough=0.27,
        edge=1.6,
    )  # fmt: skip
    tilt = rng.uniform(-0.5, 0.5, 2)
    facets = np.abs(u * np.float32(1.4) - v + np.float32(rng.uniform(-0.6, 0.6)))
    inside = 1 + np.float32(tilt[0]) * u + np.float32(tilt[1]) * v - np.float32(0.3) * facets
    inside += np.float32(0.17) * smooth(rng, covered.shape, 1.6) if covered.size else np.float32(0)
    part = land.kelvin[where]
    part += covered * (np.float32(warmth) * np.clip(inside, 0.15, 1.5) - np.float32(0.6) * part)


def _halo(land: Ground, row: float, column: float, radius: float, warmth: float) -> None:
    where, y, x = box(land.kelvin.shape, row, column, radius)
    near = np.clip(1 - (y**2 + x**2) / np.float32(radius**2), 0, 1)
    land.kelvin[where] += np.float32(warmth) * near**2


def _warmth(rng: np.random.Generator, plan: Plan) -> float:
    return float(max(rng.normal(plan.air.stone, plan.air.stone_spread), 1.0))


def _stones(rng: np.random.Generator, land: Ground, plan: Plan, outcrops: int, loose: int) -> None:
    for _ in range(outcrops):
        row, column = _anywhere(rng, land)
        warmth, reach = _warmth(rng, plan), rng.uniform(2, 8) / land.pixel_m
        _halo(land, row, column, 1.7 * reach, 0.15 * warmth)
        for _ in range(int(rng.integers(4, 16))):
            radius_m = min(float(rng.lognormal(np.log(0.55), 0.5)), 2.2)
            _stone(rng, land, row + rng.normal(0, 0.6) * reach, column + rng.normal(0, 0.6) * reach,
                   radius_m, warmth * rng.uniform(0.7, 1.25))  # fmt: skip
    for _ in range(loose):
        row, column = _anywhere(rng, land)
        radius_m = min(float(rng.lognormal(np.log(0.45), 0.5)), 1.8)
        _stone(rng, land, row, column, radius_m, _warmth(rng, plan))


def _mound(rng: np.random.Generator, land: Ground, plan: Plan) -> None:
    """A termite mound: a cone on bare soil, one flank warmer where the sun was."""
    row, column = _anywhere(rng, land)
    radius_m = min(float(rng.lognormal(np.log(0.95), 0.35)), 2.0)
    radius, warmth = radius_m / land.pixel_m, _warmth(rng, plan)
    where, covered, _, _ = blob(rng, land.kelvin.shape, row, column, 2.0 * radius, edge=4)
    part = land.kelvin[where]
    part += covered * (np.float32(0.5 * plan.air.soil + 0.15 * warmth) - np.float32(0.5) * part)
    where, covered, v, u = blob(
        rng, land.kelvin.shape, row, column, radius, stretch=rng.uniform(1, 1.3), rough=0.08,
        edge=2.0,
    )  # fmt: skip
    cone = np.clip(1.15 - np.hypot(u, v), 0, 1.15) ** np.float32(0.7)
    cone *= 1 + np.float32(rng.uniform(-0.45, 0.45)) * u + np.float32(rng.uniform(-0.45, 0.45)) * v
    part = land.kelvin[where]
    part += covered * (np.float32(1.1 * warmth) * cone - np.float32(0.4) * part)


def _trunk(rng: np.random.Generator, land: Ground, plan: Plan) -> None:
    """Dead wood: a stem, thin and bent, and a branch or two."""
    row, column = _anywhere(rng, land)
    turn, half = rng.uniform(0, 2 * np.pi), rng.uniform(1.0, 3.2) / land.pixel_m
    where, y, x = box(land.kelvin.shape, row, column, 1.6 * half + 4)
    turns = turn + np.array([np.pi, 0, *rng.uniform(-1.2, 1.2, 2)]) + rng.normal(0, 0.2, 4)
    lengths = half * np.array([1, 1, *rng.uniform(0.2, 0.6, 2)])
    starts = np.array([0, 0, *rng.uniform(0.1, 0.9, 2)])[:, None] * half
    starts = starts * np.array([np.sin(turns[1]), np.cos(turns[1])])
    steps = lengths[:, None] * np.stack([np.sin(turns), np.cos(turns)], 1)
    radii = rng.uniform(0.14, 0.3) / land.pixel_m * np.array([1, 0.8, 0.6, 0.6])
    covered = capsules(y, x, np.concatenate([starts, starts + steps], 1), radii, 1.6).max(0)
    mottled = 1 + np.float32(0.12) * grain(rng, covered.shape)
    land.kelvin[where] += covered * mottled * np.float32(0.7 * _warmth(rng, plan))


def _plants(
    rng: np.random.Generator, land: Ground, warmth: float, bushes: int, groves: int
) -> None:
    """Bushes, and trees in groups; leaves have their own temperature, and gaps between them."""
    for _ in range(bushes):
        row, column = _anywhere(rng, land)
        _leaves(
            rng,
            land,
            row,
            column,
            float(rng.uniform(0.4, 1.5)),
            warmth * rng.uniform(0.5, 1.5),
            0.9,
        )
    for _ in range(groves):
        row, column = _anywhere(rng, land)
        reach = rng.uniform(2, 9) / land.pixel_m
        for _ in range(int(rng.integers(1, 7))):
            radius_m = min(float(rng.lognormal(np.log(2.3), 0.35)), 5.0)
            places = (row + rng.normal(0, 0.7) * reach, column + rng.normal(0, 0.7) * reach)
            _leaves(rng, land, *places, radius_m, warmth * rng.uniform(0.8, 1.6), 1.0)


def _leaves(rng: np.random.Generator, land: Ground, row: float, column: float, radius_m: float,
            warmth: float, dense: float) -> None:  # fmt: skip
    where, covered, v, u = blob(
        rng, land.kelvin.shape, row, column, radius_m / land.pixel_m, rough=0.2, edge=2.5
    )
    if not covered.size:
        return
    clumps = smooth(rng, covered.shape, max(0.45 / land.pixel_m, 1.5))
    covered *= np.float32(dense) * np.clip(np.float32(0.88) + np.float32(0.25) * clumps, 0, 1)
    covered *= np.clip(np.float32(1.6) - np.hypot(u, v), 0, 1)
    part = land.kelvin[where]
    part += covered * (np.float32(warmth) * (1 + np.float32(0.4) * clumps) - part)
    above = land.canopy[where]
    above += covered * (1 - above)


def _road_of(
    rng: np.random.Generator, plan: Plan, bounds: tuple[float, float, float, float]
) -> tuple[float, float] | None:
    """X at y = 0 and slope of a track that goes about where the flight goes."""
    middle = (bounds[0] + bounds[2]) / 2
    found = (middle + rng.uniform(-15, 15), rng.uniform(-0.12, 0.12))
    return found if plan.land == "road" or rng.random() < 0.2 else None


def _road(land: Ground, road: tuple[float, float], warmth: float) -> None:
    rows, columns = land.kelvin.shape
    y = land.top_m - (np.arange(rows, dtype=np.float32) + np.float32(0.5)) * land.pixel_m
    x = land.left_m + (np.arange(columns, dtype=np.float32) + np.float32(0.5)) * land.pixel_m
    middle = road[0] + road[1] * y + 2.5 * np.sin(y / 23)
    far = np.abs(x[None] - middle[:, None]).astype(np.float32)
    lane = np.clip((2.2 - far) * 2, 0, 1)
    ruts = np.clip((0.35 - np.abs(far - 0.85)) * 5, 0, 1)
    land.kelvin[:] += lane * np.float32(0.8 + 0.5 * warmth) * (1 + np.float32(0.4) * ruts)


def _river(rng: np.random.Generator, land: Ground, warmth: float) -> None:
    """Water across the flight's way, with banks of bare sand."""
    rows, columns = land.kelvin.shape
    pixel = np.float32(land.pixel_m)
    middle = land.kelvin.shape[0] * rng.uniform(0.3, 0.7) * pixel
    across = np.arange(columns, dtype=np.float32)[None] * pixel
    y = np.arange(rows, dtype=np.float32)[:, None] * pixel - np.float32(middle)
    bed = (
        y
        + 4 * np.sin(across / 17 + np.float32(rng.uniform(0, 6)))
        + across * np.float32(rng.uniform(-0.4, 0.4))
    )
    width = np.float32(rng.uniform(5, 13))
    bed += smooth(rng, land.kelvin.shape, 5 / land.pixel_m, octaves=2)
    depth = np.clip((width - np.abs(bed)) * 2, 0, 1)
    bank = np.clip((width + 3 - np.abs(bed)) / 2, 0, 1)
    land.kelvin[:] += bank * (np.float32(1.0) - np.float32(0.5) * land.kelvin)
    land.kelvin[:] += depth * (np.float32(warmth) - land.kelvin)
    land.water[:] = depth > 0.5
