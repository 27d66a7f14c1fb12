"""Who is on the ground during a flight, and where each is at every moment."""

from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.wildlife._ground import Ground
from fieldsight.datasets.simulated.wildlife._plan import RATE_HZ, Plan
from fieldsight.datasets.simulated.wildlife._species import (
    HERDS,
    HUMAN,
    UNKNOWN,
    VEHICLE,
    Species,
)

_HERDS_A_HECTARE = 3.6
_YOUNG = 0.2  # of a herd's animals


@dataclass(frozen=True)
class Actor:
    """An animal, a person or a vehicle.

    Args:
        species: what it is.
        track: its number within the flight.
        scale: its size by the species'.
        x, y: `(frames,)` metres on the ground.
        heading: `(frames,)` radians, counterclockwise from x.
        warmth: `(parts,)` kelvin of its parts above the grass's.
    """

    species: Species
    track: int
    scale: float
    x: Array
    y: Array
    heading: Array
    warmth: Array


def actors(plan: Plan, land: Ground) -> list[Actor]:
    """All of a flight, herd by herd; some flights pass ground without any."""
    rng = plan.rng(3)
    rows, columns = land.kelvin.shape
    width, length = columns * land.pixel_m, rows * land.pixel_m
    gap = _gap(rng, length) if plan.quiet else (0.0, 0.0)
    kinds = HERDS[plan.setting]
    one, two = rng.permutation(len(kinds))[:2]
    area = width * (length - gap[1] + gap[0])
    herds = max(2, round(area / 10_000 * _HERDS_A_HECTARE * rng.uniform(0.8, 1.2)))
    groups = [kinds[one] if k % 2 else kinds[two] for k in range(herds)]
    groups += [HUMAN] * int(max(3, rng.poisson(1.1 * herds)))
    groups += [VEHICLE] * int(rng.poisson(0.5 + 0.25 * herds if land.road else 0.25 * herds))
    groups += [UNKNOWN] * int(rng.poisson(0.3 * herds))
    found: list[Actor] = []
    for species in groups:
        found += _herd(rng, plan, land, species, gap, found)
    return found


def _gap(rng: np.random.Generator, length: float) -> tuple[float, float]:
    """The part of a flight's way, in metres from the grid's top, that nobody is on."""
    size = rng.uniform(0.45, 0.6) * length
    start = rng.uniform(0, length - size)
    return start, start + size


def _herd(
    rng: np.random.Generator,
    plan: Plan,
    land: Ground,
    species: Species,
    gap: tuple[float, float],
    others: list[Actor],
) -> list[Actor]:
    rows, columns = land.kelvin.shape
    middle_x = land.left_m + rng.uniform(0.15, 0.85) * columns * land.pixel_m
    down = rng.uniform(0.02, 0.98) * (rows * land.pixel_m - (gap[1] - gap[0]))
    middle_y = land.top_m - (down if down < gap[0] else down + gap[1] - gap[0])
    t = np.arange(plan.frames) / RATE_HZ
    t = t - t.mean()
    heading = rng.uniform(-np.pi, np.pi)
    speed = species.speed_m_s * rng.uniform(0.5, 1.2) if rng.random() < 0.6 else 0.0
    if species is VEHICLE and land.road is not None:
        middle_x = land.road[0] + land.road[1] * middle_y + 2.5 * np.sin(middle_y / 23)
        heading = np.arctan2(1.0, land.road[1]) + rng.choice((0.0, np.pi))
        speed = 0.0 if rng.random() < 0.5 else speed
    count = int(rng.integers(species.herd[0], species.herd[1] + 1))
    length_m = float(np.ptp(species.parts[:, [0, 3]])) + 2 * float(species.parts[0, 6])
    spread = max(1.3, 0.9 * length_m) * max(count, 2) ** 0.5 * rng.uniform(0.7, 1.4)
    running = rng.random() < 0.7
    made: list[Actor] = []
    for _ in range(20 * count):
        if len(made) == count:
            break
        x0 = middle_x + rng.normal(0, spread) * (count > 1)
        y0 = middle_y + rng.normal(0, spread) * (count > 1)
        young = 0.62 if species in HERDS[plan.setting] and rng.random() < _YOUNG else 1.0
        if _taken(land, x0, y0, [*others, *made], 0.55 * length_m):
            continue
        own = heading + (rng.normal(0, 0.25) if speed else rng.uniform(-np.pi, np.pi))
        if species is VEHICLE:
            own = heading
        sway = [
            size * np.sin(2 * np.pi * t / rng.uniform(2, 6) + rng.uniform(0, 2 * np.pi))
            for size in rng.uniform(0.0, 0.25 * (species is not VEHICLE) + 0.02, 2)
        ]
        nod = rng.uniform(0, 0.12) * np.sin(2 * np.pi * t / rng.uniform(1.5, 4))
        made.append(
            Actor(
                species,
                len(others) + len(made) + 1,
                float(young * (1 + rng.normal(0, species.spread))),
                x0 + speed * np.cos(heading) * t + sway[0],
                y0 + speed * np.sin(heading) * t + sway[1],
                own + (species is not VEHICLE) * nod,
                _warmth(rng, plan, species, running),
            )
        )
    return made


def _taken(land: Ground, x: float, y: float, others: list[Actor], apart: float) -> bool:
    """Whether a place is outside, in the water, or of another."""
    row, column = land.cells(np.asarray(x), np.asarray(y))
    rows, columns = land.water.shape
    if not (0 <= row < rows and 0 <= column < columns) or land.water[int(row), int(column)]:
        return True
    middle = len(others[0].x) // 2 if others else 0
    return any(np.hypot(other.x[middle] - x, other.y[middle] - y) < apart for other in others)


def _warmth(rng: np.random.Generator, plan: Plan, species: Species, running: bool) -> Array:
    air = plan.air
    if species is VEHICLE:
        engine = air.engine * rng.uniform(0.6, 1.2) if running else air.roof
        return np.array([air.roof * rng.uniform(0.7, 1.3), engine])
    skin = air.clothes if species is HUMAN else air.animal
    own = max(skin * (1 + rng.normal(0, 0.14)), 0.4 * skin)
    return np.asarray(own * species.warmth * (1 + rng.normal(0, 0.05, len(species.warmth))))
