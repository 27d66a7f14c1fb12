"""What a scene will hold, drawn before anything is painted: its theme, its features, its dates."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from fieldsight.datasets.simulated.forest._materials import Setting

Theme = Literal["wild", "frontier", "ranch", "river people"]
Sky = Literal["clear", "scattered", "haze", "bank"]
_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Plan:
    """A scene's outline.

    Args:
        theme: who lives there, if anybody.
        angle: of its roads, radians.
        river: whether one crosses it.
        lakes: how many.
        leafless: part of the forest that is deciduous or bamboo.
        open: part of the ground that never had forest.
        logging: logged areas.
        blow_downs: at the first date, and new ones at the second.
        flowering: groups of trees in flower, at either date.
        diggings: artisanal mines.
        quarry: whether there is a conventional mine.
        plots: groups of small plots.
        villages: groups of houses.
        dates: of its two pictures.
        wetness: of the seasons of the two dates, 0 dry to 1 wet.
        skies: of the two dates.
    """

    theme: Theme
    angle: float
    river: bool
    lakes: int
    leafless: float
    open: float
    logging: int
    blow_downs: tuple[int, int]
    flowering: tuple[int, int]
    diggings: int
    quarry: bool
    plots: int
    villages: int
    dates: tuple[dt.date, dt.date]
    wetness: tuple[float, float]
    skies: tuple[Sky, Sky]


_THEMES: dict[Setting, dict[Theme, float]] = {
    "default": {"wild": 0.28, "frontier": 0.36, "ranch": 0.18, "river people": 0.18},
    "other": {"wild": 0.20, "frontier": 0.15, "ranch": 0.25, "river people": 0.40},
}
_SKIES: dict[Setting, dict[Sky, float]] = {
    "default": {"clear": 0.54, "scattered": 0.20, "haze": 0.13, "bank": 0.13},
    "other": {"clear": 0.45, "scattered": 0.25, "haze": 0.22, "bank": 0.08},
}
_PLOTS: dict[Theme, tuple[int, int]] = {
    "wild": (0, 1), "frontier": (1, 4), "ranch": (0, 2), "river people": (3, 7),
}  # fmt: skip
_VILLAGES: dict[Theme, tuple[int, int]] = {
    "wild": (0, 0), "frontier": (1, 4), "ranch": (1, 3), "river people": (2, 5),
}  # fmt: skip


def plan(rng: np.random.Generator, setting: Setting, size: float) -> Plan:
    """Draw a scene's outline.

    Args:
        rng: the source.
        setting: default, or the other region.
        size: area as a multiple of the quick scene's; a larger scene holds more.
    """
    other = setting == "other"
    theme = _drawn(rng, _THEMES[setting])
    river = bool(theme == "river people" or rng.random() < 0.45)

    def some(mean: float) -> int:
        return int(rng.poisson(mean * size))

    def between(low: int, high: int) -> int:
        return int(np.ceil(rng.integers(low, high + 1) * size))

    dates, wetness = _dates(rng)
    return Plan(
        theme=theme,
        angle=float(rng.uniform(-np.pi / 4, np.pi / 4)),
        river=river,
        lakes=some(0.7 if river else 0.35),
        leafless=float(rng.uniform(0.1, 0.45) if rng.random() < (0.9 if other else 0.7) else 0),
        open=float(rng.uniform(0.03, 0.14) if rng.random() < 0.3 else 0),
        logging=some(0.8),
        blow_downs=(some(0.45), some(0.4)),
        flowering=(some(0.8), some(0.8)),
        diggings=some(0.55),
        quarry=bool(rng.random() < 0.25),
        plots=between(*_PLOTS[theme]),
        villages=between(*_VILLAGES[theme]),
        dates=dates,
        wetness=wetness,
        skies=(_drawn(rng, _SKIES[setting]), _drawn(rng, _SKIES[setting])),
    )


def _drawn(rng: np.random.Generator, chances: dict[_Kind, float]) -> _Kind:
    return list(chances)[int(rng.choice(len(chances), p=list(chances.values())))]


def _dates(
    rng: np.random.Generator,
) -> tuple[tuple[dt.date, dt.date], tuple[float, float]]:
    """Two dates about a year apart: three in four of the same season, and the others not."""
    first = dt.date(2016, 1, 1) + dt.timedelta(int(rng.integers(0, 730)))
    later = 365 + int(rng.integers(-25, 26))
    if rng.random() < 0.25:
        later += int(rng.choice((-1, 1)) * rng.integers(120, 200))
    dates = (first, first + dt.timedelta(later))
    # South of the equator the rains peak in February and fail in August.
    wet = [0.5 + 0.5 * np.cos(2 * np.pi * (d.timetuple().tm_yday - 40) / 365) for d in dates]
    return dates, tuple(float(np.clip(w + rng.normal(0, 0.12), 0, 1)) for w in wet)  # type: ignore[return-value]
