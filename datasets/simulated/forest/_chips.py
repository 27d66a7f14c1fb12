"""Chips of a scene and their tags, given as the competition's labellers gave them."""

from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.forest._materials import M
from fieldsight.datasets.simulated.forest._picture import CLOUDY
from fieldsight.datasets.simulated.forest._scene import Scene

SIDE = 256
_STEP = 64  # chips start at multiples of this
_MOST = 20  # a date and 1,536 x 1,536 pixels

# A thing earns its tag from this many of a chip's 65,536 pixels on, seen through the clouds;
# chips with fewer, but more than the first number, are border cases and aren't taken.
_GROUND: dict[str, tuple[tuple[M, ...], int, int]] = {
    "primary": ((M.FOREST, M.SWAMP, M.LEAFLESS, M.TRUNKS, M.SPROUTS, M.GAP, M.FLOWERS), 900, 5000),
    "agriculture": (
        (M.PASTURE, M.CROP, M.BARE, M.BURNT, M.PLANTATION, M.REGROWTH, M.FELLED), 150, 2200,
    ),
    "road": ((M.ROAD, M.TRACK), 60, 400),
    "water": ((M.RIVER, M.LAKE), 100, 1100),
    "cultivation": ((M.PLOT_CROP, M.PLOT_BARE, M.PLOT_FALLOW, M.PLOT_BURNT), 150, 1800),
    "habitation": ((M.ZINC, M.TILE, M.OLD_ROOF), 10, 100),
    "bare_ground": ((M.OPEN, M.SAND, M.ROCK), 150, 2200),
    "selective_logging": ((M.TRAIL,), 40, 400),
    "artisinal_mine": ((M.SPOIL, M.POND), 60, 700),
    "blooming": ((M.FLOWERS,), 40, 400),
    "slash_burn": ((M.BURNT, M.PLOT_BURNT), 100, 1300),
    "conventional_mine": ((M.BENCH, M.PIT, M.TAILINGS), 100, 2200),
    "blow_down": ((M.TRUNKS,), 60, 700),
}  # fmt: skip
_RARE = ("selective_logging", "artisinal_mine", "blooming", "conventional_mine", "blow_down",
         "cultivation", "habitation", "cloudy")  # fmt: skip
_PREFERENCE = 0.4  # a rare tag's, beside a random rank of 0 to 1
# Chances that a labeller misses a tag that is there, or gives one that isn't.
_MISSED = {"agriculture": 0.02, "road": 0.025, "water": 0.02, "cultivation": 0.04,
           "habitation": 0.03, "bare_ground": 0.04, "blooming": 0.04,
           "selective_logging": 0.04, "slash_burn": 0.04, "blow_down": 0.03}  # fmt: skip
_IMAGINED = {"agriculture": 0.008, "road": 0.008, "water": 0.005, "cultivation": 0.006,
             "habitation": 0.004, "bare_ground": 0.003}  # fmt: skip
_VEIL = 0.08  # opacity from which a cloud, however thin, is seen
_WEATHER_SLIPS = 0.012  # clear for haze or partly cloudy, or the other way round


@dataclass(frozen=True)
class Chip:
    """A chip.

    Args:
        date: 0 or 1, of the scene's.
        row: of its first pixel in the scene.
        column: of its first pixel.
        tags: as labelled, mistakes included.
        true: as they should be.
    """

    date: int
    row: int
    column: int
    tags: tuple[str, ...]
    true: tuple[str, ...]


def chips(rng: np.random.Generator, scene: Scene) -> list[Chip]:
    """Choose chips that share no pixel at a date, and tag them.

    Places are drawn at random, those with rare things first: each tag is to be seen often
    enough to be learnt from some hundreds of chips, so that rare ones are several times as
    frequent as in the Amazon.
    """
    found = []
    for date in (0, 1):
        truth, clear_cut = _truth(scene, date)
        rank: Array = np.asarray(rng.random(clear_cut.shape))
        rank += _PREFERENCE * np.sum([truth[tag] for tag in _RARE], 0)
        rank[~clear_cut] = -1
        free: Array = np.ones(rank.shape, bool)
        most = round(_MOST * scene.new.size / 1536**2)
        across = SIDE // _STEP
        for at in np.argsort(-rank, axis=None)[: rank.size]:
            row, column = divmod(int(at), rank.shape[1])
            if rank[row, column] < 0 or most == 0:
                break
            if not free[row, column]:
                continue
            top, left = max(row - across + 1, 0), max(column - across + 1, 0)
            free[top : row + across, left : column + across] = False
            true = tuple(tag for tag, is_there in truth.items() if is_there[row, column])
            tags = _labelled(rng, true)
            found.append(Chip(date, row * _STEP, column * _STEP, tags, true))
            most -= 1
    return found


def _truth(scene: Scene, date: int) -> tuple[dict[str, Array], Array]:
    """By place where a chip could start: which tags are true, and whether all are clear cases."""
    picture = scene.pictures[date]
    cloudy = picture.cloud > CLOUDY
    veiled = _sums(picture.cloud > _VEIL) / SIDE**2
    dim = picture.shadow > 0.5
    material = np.where(cloudy | dim, np.uint8(M.OUTSIDE), scene.materials(date))
    seen = _counts(material, 64)
    inside = _sums(scene.covered[date]) == SIDE**2
    cover, shade = _sums(cloudy) / SIDE**2, _sums(dim) / SIDE**2
    haze = _sums(picture.haze) / SIDE**2
    truth: dict[str, Array] = {}
    doubtful = (cover > 0.75) & (cover < 0.93) | (veiled > 0.001) & (cover < 0.05)
    # Shadows without their clouds, and things in them, leave labellers of two minds.
    doubtful |= (shade > 0.002) & (cover < 0.05)
    truth["cloudy"] = cover >= 0.93
    truth["partly_cloudy"] = (cover >= 0.05) & ~truth["cloudy"]
    clear = cover < 0.05
    truth["haze"] = clear & (haze > 0.36)
    truth["clear"] = clear & ~truth["haze"]
    doubtful |= clear & (haze > 0.2) & (haze < 0.36)
    for tag, (materials, low, high) in _GROUND.items():
        count = seen[..., list(materials)].sum(-1)
        truth[tag] = (count >= high) & ~truth["cloudy"]
        doubtful |= (count > low) & (count < high) & ~truth["cloudy"]
    nothing = ~truth["cloudy"] & ~np.any([truth[tag] for tag in _GROUND], 0)
    return truth, inside & ~doubtful & ~nothing


def _counts(values: Array, kinds: int) -> Array:
    """`(places, places, kinds)`: pixels of each value in the chip that starts at each place."""
    blocks = values.shape[0] // _STEP
    row = np.arange(values.shape[0]) // _STEP * blocks
    block = (row[:, None] + np.arange(values.shape[1]) // _STEP).astype(np.int32)
    every = np.bincount((block * kinds + values).ravel(), minlength=blocks * blocks * kinds)
    return _windows(every.reshape(blocks, blocks, kinds))


def _sums(values: Array) -> Array:
    """`(places, places)`: the sum of the chip that starts at each place."""
    blocks = values.shape[0] // _STEP
    shape = (blocks, _STEP, blocks, _STEP)
    return _windows(values.reshape(shape).sum((1, 3), dtype=np.float64))


def _windows(blocks: Array) -> Array:
    across = SIDE // _STEP
    total = np.cumsum(
        np.cumsum(np.pad(blocks, [(1, 0), (1, 0)] + [(0, 0)] * (blocks.ndim - 2)), 0), 1
    )
    a, b = total[across:], total[:-across]
    return np.asarray(a[:, across:] - a[:, :-across] - b[:, across:] + b[:, :-across])


def _labelled(rng: np.random.Generator, true: tuple[str, ...]) -> tuple[str, ...]:
    """With a labeller's mistakes: one weather all the same, and nothing of the ground if cloudy."""
    chance = {tag: rng.random() for tag in (*_MISSED, "weather")}
    weather = next(tag for tag in true if tag in ("clear", "partly_cloudy", "haze", "cloudy"))
    if weather == "cloudy":
        return true
    tags = [tag for tag in true if tag != weather]
    kept = [tag for tag in tags if chance.get(tag, 1) >= _MISSED.get(tag, 0)]
    kept += [tag for tag, p in _IMAGINED.items() if tag not in tags and chance[tag] > 1 - p]
    if chance["weather"] < _WEATHER_SLIPS:
        weather = "clear" if weather != "clear" else ("haze", "partly_cloudy")[len(kept) % 2]
    return (weather, *(kept or tags))
