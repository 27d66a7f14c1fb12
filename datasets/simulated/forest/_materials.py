"""What ground is made of: materials, their classes on the map, their reflectance and texture."""

from enum import IntEnum, unique
from typing import Literal

import numpy as np

from fieldsight.datasets.sample import Array

VERSION = 1
CLASSES = ("nodata", "forest", "clearing", "water", "built", "mining", "natural open")
COLOURS = (
    (0, 0, 0), (22, 92, 42), (240, 196, 96), (38, 110, 196), (200, 40, 50), (140, 70, 170),
    (176, 200, 120),
)  # fmt: skip
BANDS = ("blue", "green", "red", "nir")
Detail = Literal["quick", "full"]
Setting = Literal["default", "other"]


@unique
class M(IntEnum):
    """A material, as the landscape's arrays hold it."""

    OUTSIDE = 0
    FOREST = 1
    SWAMP = 2
    LEAFLESS = 3  # deciduous forest and bamboo: brown in the dry season
    TRUNKS = 4  # of a blow-down
    SPROUTS = 5  # between them
    TRAIL = 6  # of selective logging, with its decks
    GAP = 7
    FLOWERS = 8
    PASTURE = 10
    CROP = 11
    BARE = 12
    BURNT = 13
    PLANTATION = 14
    REGROWTH = 15
    FELLED = 16
    PLOT_CROP = 20
    PLOT_BARE = 21
    PLOT_BURNT = 22
    PLOT_FALLOW = 23
    RIVER = 30
    LAKE = 31
    ROAD = 40
    TRACK = 41
    YARD = 42
    ZINC = 43
    TILE = 44
    OLD_ROOF = 45
    SPOIL = 50
    POND = 51
    BENCH = 52
    PIT = 53
    TAILINGS = 54
    OPEN = 60
    SAND = 61
    ROCK = 62


_RANGES = {1: range(1, 10), 2: range(10, 30), 3: range(30, 40), 4: range(40, 50),
           5: range(50, 60), 6: range(60, 70)}  # fmt: skip
CLASS_OF: Array = np.zeros(256, np.uint8)
for _value, _materials in _RANGES.items():
    CLASS_OF[list(_materials)] = _value

# Surface reflectance of blue, green, red, near infrared: of the material dry or at its brightest,
# then green, wet or at its darkest. What grows is between the two by its vigour. Pasture, crops,
# savanna, regrowth and plantations overlap with one another and with forest on purpose, as they
# do in the field: texture, shape and neighbours tell them apart.
_SPECTRA: dict[M, tuple[tuple[float, ...], tuple[float, ...]]] = {
    M.FOREST: ((0.025, 0.044, 0.032, 0.225), (0.018, 0.036, 0.020, 0.315)),
    M.SWAMP: ((0.023, 0.038, 0.028, 0.19), (0.017, 0.033, 0.019, 0.27)),
    M.LEAFLESS: ((0.045, 0.068, 0.082, 0.215), (0.021, 0.043, 0.024, 0.335)),
    M.TRUNKS: ((0.055, 0.078, 0.092, 0.20), (0.042, 0.064, 0.068, 0.22)),
    M.SPROUTS: ((0.032, 0.058, 0.046, 0.26), (0.024, 0.054, 0.032, 0.36)),
    M.TRAIL: ((0.062, 0.092, 0.125, 0.24), (0.045, 0.070, 0.085, 0.22)),
    M.GAP: ((0.040, 0.060, 0.062, 0.22), (0.028, 0.052, 0.040, 0.27)),
    M.FLOWERS: ((0.055, 0.135, 0.150, 0.36), (0.125, 0.115, 0.155, 0.38)),
    M.PASTURE: ((0.055, 0.085, 0.112, 0.235), (0.024, 0.052, 0.030, 0.345)),
    M.CROP: ((0.056, 0.086, 0.115, 0.24), (0.021, 0.050, 0.024, 0.42)),
    M.BARE: ((0.066, 0.098, 0.142, 0.245), (0.050, 0.078, 0.104, 0.20)),
    M.BURNT: ((0.046, 0.053, 0.062, 0.110), (0.033, 0.040, 0.045, 0.075)),
    M.PLANTATION: ((0.028, 0.048, 0.038, 0.24), (0.018, 0.037, 0.021, 0.33)),
    M.REGROWTH: ((0.033, 0.058, 0.050, 0.24), (0.020, 0.043, 0.024, 0.345)),
    M.FELLED: ((0.056, 0.080, 0.098, 0.205), (0.038, 0.062, 0.060, 0.23)),
    M.PLOT_CROP: ((0.050, 0.078, 0.092, 0.25), (0.022, 0.052, 0.026, 0.39)),
    M.PLOT_BARE: ((0.068, 0.100, 0.140, 0.245), (0.050, 0.078, 0.100, 0.21)),
    M.PLOT_BURNT: ((0.046, 0.053, 0.062, 0.115), (0.033, 0.040, 0.045, 0.075)),
    M.PLOT_FALLOW: ((0.034, 0.060, 0.052, 0.24), (0.020, 0.044, 0.024, 0.345)),
    M.RIVER: ((0.062, 0.092, 0.100, 0.052), (0.022, 0.026, 0.023, 0.014)),
    M.LAKE: ((0.050, 0.074, 0.070, 0.045), (0.020, 0.026, 0.020, 0.014)),
    M.ROAD: ((0.090, 0.132, 0.185, 0.275), (0.072, 0.105, 0.140, 0.245)),
    M.TRACK: ((0.078, 0.115, 0.158, 0.26), (0.060, 0.090, 0.112, 0.24)),
    M.YARD: ((0.080, 0.114, 0.152, 0.25), (0.050, 0.080, 0.085, 0.28)),
    M.ZINC: ((0.32, 0.33, 0.33, 0.34), (0.22, 0.23, 0.23, 0.24)),
    M.TILE: ((0.105, 0.125, 0.205, 0.27), (0.085, 0.10, 0.16, 0.23)),
    M.OLD_ROOF: ((0.15, 0.155, 0.165, 0.20), (0.10, 0.105, 0.11, 0.14)),
    M.SPOIL: ((0.125, 0.165, 0.210, 0.30), (0.085, 0.120, 0.155, 0.24)),
    M.POND: ((0.095, 0.130, 0.125, 0.060), (0.050, 0.082, 0.062, 0.030)),
    M.BENCH: ((0.110, 0.140, 0.195, 0.255), (0.080, 0.105, 0.155, 0.205)),
    M.PIT: ((0.070, 0.088, 0.125, 0.165), (0.050, 0.064, 0.092, 0.125)),
    M.TAILINGS: ((0.090, 0.140, 0.125, 0.050), (0.060, 0.105, 0.095, 0.030)),
    M.OPEN: ((0.054, 0.084, 0.108, 0.23), (0.026, 0.055, 0.034, 0.335)),
    M.SAND: ((0.150, 0.190, 0.235, 0.32), (0.095, 0.130, 0.165, 0.25)),
    M.ROCK: ((0.085, 0.098, 0.110, 0.14), (0.055, 0.066, 0.068, 0.11)),
}  # fmt: skip

# How much each texture of the render shows on a material: crowns and their shadows, mottles of
# some tens of metres, rows, single trees (as a part of the ground they cover).
_TEXTURE: dict[M, tuple[float, float, float, float]] = {
    M.FOREST: (0.20, 0.04, 0, 0), M.SWAMP: (0.15, 0.06, 0, 0), M.LEAFLESS: (0.17, 0.07, 0, 0),
    M.TRUNKS: (0.10, 0.06, 0, 0), M.SPROUTS: (0.09, 0.05, 0, 0), M.GAP: (0.08, 0.05, 0, 0),
    M.TRAIL: (0.04, 0.05, 0, 0), M.FLOWERS: (0.08, 0, 0, 0),
    M.PASTURE: (0.015, 0.03, 0, 1.0), M.CROP: (0.01, 0.01, 0.06, 0),
    M.BARE: (0.015, 0.03, 0.03, 0), M.BURNT: (0.05, 0.10, 0, 0.5),
    M.PLANTATION: (0.04, 0.01, 0.20, 0), M.REGROWTH: (0.085, 0.10, 0, 0.8),
    M.FELLED: (0.09, 0.09, 0, 0.5),
    M.PLOT_CROP: (0.03, 0.03, 0.05, 0), M.PLOT_BARE: (0.03, 0.04, 0, 0.2),
    M.PLOT_BURNT: (0.05, 0.10, 0, 0.5), M.PLOT_FALLOW: (0.085, 0.08, 0, 0.6),
    M.RIVER: (0.012, 0.03, 0, 0), M.LAKE: (0.012, 0.03, 0, 0),
    M.ROAD: (0.02, 0.04, 0, 0), M.TRACK: (0.02, 0.05, 0, 0), M.YARD: (0.05, 0.06, 0, 0.6),
    M.SPOIL: (0.06, 0.12, 0, 0), M.POND: (0.02, 0.05, 0, 0), M.BENCH: (0.03, 0.05, 0, 0),
    M.PIT: (0.03, 0.05, 0, 0), M.TAILINGS: (0.01, 0.02, 0, 0),
    M.OPEN: (0.04, 0.20, 0, 1.0), M.SAND: (0.02, 0.10, 0, 0.4), M.ROCK: (0.05, 0.13, 0, 0.4),
}  # fmt: skip

# Vigour in the dry and in the wet season, 0 dry to 1 green, and how much it follows its field,
# its patch of ground and mottles.
_VIGOUR: dict[M, tuple[float, float]] = {
    M.FOREST: (0.62, 0.75), M.SWAMP: (0.6, 0.7), M.LEAFLESS: (0.22, 0.78), M.SPROUTS: (0.55, 0.75),
    M.GAP: (0.45, 0.6), M.PASTURE: (0.32, 0.74), M.CROP: (0.35, 0.75), M.PLANTATION: (0.6, 0.72),
    M.REGROWTH: (0.45, 0.72), M.FELLED: (0.35, 0.5), M.PLOT_CROP: (0.45, 0.75),
    M.PLOT_FALLOW: (0.45, 0.72), M.OPEN: (0.32, 0.74), M.YARD: (0.35, 0.6),
}  # fmt: skip
_FOLLOWS_FIELD: dict[M, float] = {
    M.PASTURE: 0.25, M.CROP: 0.33, M.BARE: 0.3, M.BURNT: 0.3, M.PLANTATION: 0.12, M.REGROWTH: 0.18,
    M.FELLED: 0.25, M.PLOT_CROP: 0.28, M.PLOT_BARE: 0.3, M.PLOT_BURNT: 0.3, M.PLOT_FALLOW: 0.18,
    M.ZINC: 0.3, M.TILE: 0.3, M.OLD_ROOF: 0.3, M.POND: 0.3,
}  # fmt: skip


def spectra() -> tuple[Array, Array]:
    """`(256, 4)` float32 each: reflectance of the materials dry, and green less dry."""
    dry, green = np.zeros((2, 256, 4), np.float32)
    for material, (first, second) in _SPECTRA.items():
        dry[material], green[material] = first, second
    return dry, green - dry


def textures() -> Array:
    """`(4, 256)` float32: crowns, mottles, rows, single trees on each material."""
    table = np.zeros((4, 256), np.float32)
    for material, amounts in _TEXTURE.items():
        table[:, material] = amounts
    return table


def vigour(wetness: float) -> tuple[Array, Array]:
    """`(256,)` float32 each: vigour at a wetness of 0 to 1, and how much it follows the field."""
    mean, field = np.full(256, 0.5, np.float32), np.zeros(256, np.float32)
    for material, (dry, wet) in _VIGOUR.items():
        mean[material] = dry + (wet - dry) * wetness
    for material, part in _FOLLOWS_FIELD.items():
        field[material] = part
    return mean, field


def among(*materials: M) -> Array:
    """`(256,)` bool: True for these."""
    table: Array = np.zeros(256, bool)
    table[list(materials)] = True
    return table


FORESTS = among(M.FOREST, M.SWAMP, M.LEAFLESS)
