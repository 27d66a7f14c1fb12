"""What a flight is like: the hour, the land, the aircraft and its sensor."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fieldsight.datasets.simulated.wildlife._species import VERSION, Detail, Setting

Hour = Literal["dusk", "night", "dawn"]
Land = Literal["savanna", "bush", "river", "road"]

COLUMNS, ROWS = 640, 512
RATE_HZ = 6.0  # every fifth frame of 30 a second
FRAMES: dict[Detail, int] = {"quick": 40, "full": 240}

# In the order of the flights: no seed may have all its dusks, or all that is cold, on one side.
_HOURS: tuple[Hour, ...] = (
    "dusk", "night", "dusk", "dusk", "dawn", "dusk", "night", "night", "dusk", "night", "dawn",
    "dusk",
)  # fmt: skip
_COLD = (2, 5, 7, 9)  # of every twelve, those whose warm things are dark
_QUIET = (0, 4, 7, 8, 9, 11)  # those with ground that nobody is on
_LANDS: tuple[Land, ...] = (
    "savanna", "road", "bush", "river", "savanna", "bush", "road", "savanna", "river", "bush",
    "savanna", "road",
)  # fmt: skip


@dataclass(frozen=True)
class Air:
    """Temperatures at an hour, in kelvin from the grass's where nothing else is said.

    Args:
        soil: of bare soil.
        leaves: of bushes and canopies.
        water: of rivers.
        stone: of rocks and mounds, most common.
        stone_spread: its standard deviation.
        animal: of animals' skin.
        clothes: of people.
        engine: of one that runs.
        roof: of vehicles.
        patches: standard deviation of the grass from place to place.
    """

    soil: float
    leaves: float
    water: float
    stone: float
    stone_spread: float
    animal: float
    clothes: float
    engine: float
    roof: float
    patches: float


AIRS: dict[Hour, Air] = {
    # Stones have kept the sun's heat; what lives is hardly warmer than the ground.
    "dusk": Air(2.2, -1.0, -1.0, 6.5, 2.2, 6.0, 5.5, 17.0, 3.0, 1.1),
    "night": Air(1.2, 2.2, 5.0, 5.2, 1.8, 7.0, 6.5, 14.0, -2.5, 0.9),
    "dawn": Air(1.0, 1.5, 3.0, 5.2, 2.0, 6.0, 5.5, 14.0, -1.0, 1.1),
}


@dataclass(frozen=True)
class Plan:
    """One flight.

    Args:
        seed, number, setting, detail: what it follows from.
        hour: dusk, night or dawn.
        land: what it flies over.
        cold: whether warm is dark.
        quiet: whether it passes ground that nobody is on.
        height_m: above ground, most of the time.
        pitch_degrees: of the camera; -90 looks straight down.
        heading_degrees: mean, clockwise from north.
        speed_m_s: over ground.
        focal_px: focal length in pixels.
        levels_a_kelvin: the sensor's gain at the start.
        noise_levels: its noise.
        columns_levels: noise of whole columns, which stays.
        vignette_levels: how much darker it is a picture's height from its middle.
        first: the first frame's number.
        frames: how many there are.
    """

    seed: int
    number: int
    setting: Setting
    detail: Detail
    hour: Hour
    land: Land
    cold: bool
    quiet: bool
    height_m: float
    pitch_degrees: float
    heading_degrees: float
    speed_m_s: float
    focal_px: float
    levels_a_kelvin: float
    noise_levels: float
    columns_levels: float
    vignette_levels: float
    first: int
    frames: int

    @property
    def name(self) -> str:
        """The video's, in BIRDSAI's form of two numbers of ten digits."""
        kind = 1 if self.setting == "other" else 0
        return f"{self.seed:010d}_{kind}{self.number:09d}"

    @property
    def side(self) -> str:
        """Train or test: every fourth flight is for the test, and all of the other setting."""
        return "test" if self.number % 4 == 3 or self.setting == "other" else "train"

    @property
    def air(self) -> Air:
        """The hour's temperatures."""
        return AIRS[self.hour]

    def rng(self, what: int) -> np.random.Generator:
        """A source for one purpose, which no other draws from."""
        other = int(self.setting == "other")
        return np.random.default_rng((VERSION, self.seed, self.number, other, what))


def plan(seed: int, number: int, setting: Setting = "default", detail: Detail = "quick") -> Plan:
    """The plan of a flight; it depends on nothing else."""
    other = setting == "other"
    rng = np.random.default_rng((VERSION, seed, number, int(other), 0))
    place = number % len(_HOURS)
    hour = _HOURS[place]
    # A lens of 13 mm before pixels of 17 micrometres; the other setting's is 19 mm.
    focal = (19.0 if other else 13.0) / 0.017
    return Plan(
        seed, number, setting, detail, hour, _LANDS[place], place in _COLD,
        place in _QUIET,
        height_m=float(rng.uniform(110, 150) if other else rng.uniform(60, 100)),
        pitch_degrees=float(rng.uniform(-66, -58) if other else rng.uniform(-90, -74)),
        heading_degrees=float(rng.uniform(0, 360)),
        speed_m_s=float(rng.uniform(11, 16)),
        focal_px=focal,
        levels_a_kelvin=float(rng.uniform(7.0, 11.0)) * (0.8 if hour == "dusk" else 1.0),
        noise_levels=float(rng.uniform(2.6, 3.8) if other else rng.uniform(1.7, 2.9)),
        columns_levels=float(rng.uniform(0.9, 1.6) if other else rng.uniform(0.3, 1.0)),
        vignette_levels=float(rng.uniform(10, 80)),
        first=int(rng.integers(1, 400)),
        frames=FRAMES[detail],
    )  # fmt: skip
