"""A scene: a ground and its two pictures, from a seed and its number."""

import datetime as dt
from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.forest import _disturbances as disturbances
from fieldsight.datasets.simulated.forest._ground import Ground, nature, tidy
from fieldsight.datasets.simulated.forest._materials import CLASS_OF, VERSION, Detail, M, Setting
from fieldsight.datasets.simulated.forest._picture import Picture, Surroundings, picture
from fieldsight.datasets.simulated.forest._plan import Plan, plan
from fieldsight.datasets.simulated.forest._settlement import roads_to, settle

PIXEL_M = 3.0
SIDES: dict[Detail, int] = {"quick": 1536, "full": 3072}


@dataclass(frozen=True)
class Scene:
    """One scene.

    Args:
        name: of the scene, the same for its two dates.
        number: which of the seed's.
        plan: what it was to hold.
        ground: materials at both dates.
        pictures: of both dates.
        new: `(rows, columns)` bool, cleared between the dates.
        covered: two `(rows, columns)` bool, inside each date's footprint.
    """

    name: str
    number: int
    plan: Plan
    ground: Ground
    pictures: tuple[Picture, Picture]
    new: Array
    covered: tuple[Array, Array]

    @property
    def dates(self) -> tuple[dt.date, dt.date]:
        """Of the two pictures."""
        return self.plan.dates

    def materials(self, date: int) -> Array:
        """`(rows, columns)` uint8, 0 outside the footprint."""
        material = self.ground.after if date else self.ground.before
        return np.where(self.covered[date], material, np.uint8(M.OUTSIDE))

    def classes(self, date: int) -> Array:
        """`(rows, columns)` uint8, `CLASSES` by value."""
        return np.asarray(np.take(CLASS_OF, self.materials(date)))


def name_of(seed: int, number: int, setting: Setting) -> str:
    """Of a scene: its seed, setting and number."""
    return f"SIM{seed}{'x' if setting == 'other' else '-'}{number:04d}"


def scene(seed: int, number: int, detail: Detail = "quick", setting: Setting = "default") -> Scene:
    """Make a scene; the same whatever else is made.

    Args:
        seed: of all scenes.
        number: which one.
        detail: quick, 1,536 pixels a side (4.6 km), or full, 3,072.
        setting: default, or another region, which the default models never see.
    """
    side = SIDES[detail]
    root = (VERSION, seed, number, int(setting == "other"), side)
    # A stream a stage: what one stage draws doesn't shift the next one's.
    outline, land, people, events, air, edge = (
        np.random.default_rng((*root, stage)) for stage in range(6)
    )
    drawn = plan(outline, setting, (side / SIDES["quick"]) ** 2)
    ground = nature(land, (side, side), drawn)
    settle(people, ground, drawn)
    _happen(events, ground, drawn)
    new = tidy(ground)
    around = Surroundings(air, ground, drawn, setting)
    first, second = (
        picture(air, ground, around, material, wetness, sky, setting)
        for material, wetness, sky in zip(
            (ground.before, ground.after), drawn.wetness, drawn.skies, strict=True
        )
    )
    covered = _footprint(edge, (side, side)), _footprint(edge, (side, side))
    new &= covered[0] & covered[1]
    name = name_of(seed, number, setting)
    return Scene(name, number, drawn, ground, (first, second), new, covered)


def _happen(rng: np.random.Generator, ground: Ground, plan: Plan) -> None:
    for _ in range(plan.logging):
        disturbances.log(rng, ground)
    for date, count in enumerate(plan.blow_downs):
        for _ in range(count):
            disturbances.blow_down(rng, ground, new=bool(date))
    for date, count in enumerate(plan.flowering):
        for _ in range(count):
            disturbances.flower(rng, ground, second=bool(date))
    for _ in range(plan.diggings):
        disturbances.dig(rng, ground)
    if plan.quarry:
        roads_to(rng, ground, *disturbances.quarry(rng, ground))


def _footprint(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """True inside the strip that the satellite swept: in some scenes a corner is outside."""
    if rng.random() > 0.25:
        return np.ones(shape, bool)
    y = np.arange(shape[0], dtype=np.float32)[:, None] / shape[0]
    x = np.arange(shape[1], dtype=np.float32)[None] / shape[1]
    y, x = (y if rng.random() < 0.5 else 1 - y), (x if rng.random() < 0.5 else 1 - x)
    return np.asarray(y + np.float32(rng.uniform(0.15, 0.5)) * x > rng.uniform(0.02, 0.16))
