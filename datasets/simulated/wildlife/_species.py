"""What is looked for: the bodies of animals, people and vehicles, and how warm they are."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fieldsight.datasets.sample import Array

VERSION = 1
Detail = Literal["quick", "full"]
Setting = Literal["default", "other"]


@dataclass(frozen=True)
class Species:
    """A body: capsules about segments, in metres, forward, left and up from between the feet.

    Args:
        name: as `datasets.birdsai` has it.
        code: the species' number in a row of BIRDSAI's tables.
        parts: `(n, 7)` float32: a segment's two ends, and its radius.
        warmth: `(n,)` how far each part is from the ground's temperature, as a part of the body's.
        spread: relative standard deviation of its size; the young are smaller still.
        herd: fewest and most that are together.
        speed_m_s: at which it walks.
    """

    name: str
    code: int
    parts: Array
    warmth: Array
    spread: float
    herd: tuple[int, int]
    speed_m_s: float


def _species(
    name: str,
    code: int,
    parts: tuple[tuple[float, ...], ...],
    spread: float,
    herd: tuple[int, int],
    speed_m_s: float,
) -> Species:
    rows = np.array(parts, np.float32)
    return Species(name, code, rows[:, :7], rows[:, 7], spread, herd, speed_m_s)


def _legs(
    x: float, y: float, top: float, radius: float, warmth: float
) -> tuple[tuple[float, ...], ...]:
    return tuple(
        (sx * x, sy * y, top, sx * x, sy * y, 0.0, radius, warmth)
        for sx in (-1, 1)
        for sy in (-1, 1)
    )


HUMAN = _species(
    "human", 0,
    ((0.0, 0.13, 0.85, 0.1, 0.13, 0.0, 0.12, 0.8), (0.0, -0.13, 0.85, -0.1, -0.13, 0.0, 0.12, 0.8),
     (0.0, 0.14, 1.15, 0.0, -0.14, 1.15, 0.24, 0.9), (0.02, 0.0, 1.6, 0.04, 0.0, 1.65, 0.15, 1.5)),
    0.08, (1, 4), 1.3,
)  # fmt: skip
ELEPHANT = _species(
    "elephant", 1,
    ((-1.3, 0.0, 1.9, 1.1, 0.0, 2.0, 0.95, 1.0), (1.9, 0.0, 2.2, 2.2, 0.0, 2.1, 0.55, 1.1),
     (1.7, 0.5, 2.2, 1.45, 1.05, 2.0, 0.28, 0.6), (1.7, -0.5, 2.2, 1.45, -1.05, 2.0, 0.28, 0.6),
     (2.5, 0.0, 1.8, 3.0, 0.05, 0.5, 0.18, 0.9), *_legs(1.0, 0.5, 1.5, 0.28, 0.8)),
    0.1, (4, 11), 0.8,
)  # fmt: skip
GIRAFFE = _species(
    "giraffe", 3,
    ((-0.8, 0.0, 2.5, 0.8, 0.0, 2.9, 0.48, 1.0), (0.9, 0.0, 3.0, 1.9, 0.0, 4.5, 0.22, 0.9),
     (1.9, 0.0, 4.6, 2.45, 0.0, 4.4, 0.17, 1.2), *_legs(0.75, 0.25, 2.3, 0.12, 0.9)),
    0.08, (2, 6), 0.8,
)  # fmt: skip
ZEBRA = _species(
    "zebra", 7,
    ((-0.75, 0.0, 1.0, 0.6, 0.0, 1.0, 0.36, 1.0), (0.65, 0.0, 1.15, 1.05, 0.0, 1.35, 0.19, 1.0),
     (1.05, 0.0, 1.4, 1.5, 0.0, 1.15, 0.13, 1.3), *_legs(0.6, 0.2, 0.8, 0.1, 0.8)),
    0.07, (5, 16), 0.9,
)  # fmt: skip
RHINO = _species(
    "rhino", 8,
    ((-1.0, 0.0, 1.1, 0.9, 0.0, 1.1, 0.65, 1.0), (1.2, 0.0, 1.0, 1.9, 0.0, 0.7, 0.34, 1.1),
     *_legs(0.8, 0.35, 0.8, 0.2, 0.8)),
    0.08, (1, 4), 0.7,
)  # fmt: skip
LION = _species(
    "lion", 2,
    ((-0.7, 0.0, 0.75, 0.5, 0.0, 0.8, 0.26, 1.0), (0.75, 0.0, 0.9, 0.95, 0.0, 0.85, 0.24, 1.1),
     (-0.9, 0.0, 0.7, -1.4, 0.1, 0.35, 0.06, 0.7), *_legs(0.5, 0.15, 0.6, 0.1, 0.8)),
    0.08, (2, 7), 0.8,
)  # fmt: skip
# Its species can't be told from so far above: jackals, dik-diks.
UNKNOWN = _species(
    "unknown", -1, ((-0.25, 0.0, 0.35, 0.3, 0.0, 0.4, 0.16, 1.0),), 0.15, (1, 3), 0.9
)
VEHICLE_LENGTH_M, VEHICLE_WIDTH_M = 4.6, 1.9
# A box, drawn by itself; of the parts the first is the cabin, the second the bonnet.
VEHICLE = _species(
    "vehicle", 9,
    ((-0.9, 0.0, 1.6, 0.5, 0.0, 1.6, 0.9, 1.0), (1.4, 0.0, 1.0, 1.8, 0.0, 1.0, 0.75, 1.0)),
    0.06, (1, 1), 6.0,
)  # fmt: skip

HERDS: dict[Setting, tuple[Species, ...]] = {
    "default": (ELEPHANT, ZEBRA, GIRAFFE),
    "other": (ELEPHANT, RHINO, ZEBRA, LION),
}
