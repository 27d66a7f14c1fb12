"""A colour orthomosaic by day, with herds and shadows, made and written in bands of rows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated._fields import box, grain, smooth
from fieldsight.datasets.simulated.wildlife._shapes import blob, capsules
from fieldsight.datasets.simulated.wildlife._species import (
    HERDS,
    HUMAN,
    VEHICLE,
    VEHICLE_LENGTH_M,
    VEHICLE_WIDTH_M,
    VERSION,
    Detail,
    Setting,
    Species,
)

PIXEL_M = 0.08
_VEHICLE_M = 1.2  # the height whose shadow is drawn
SIDES: dict[Detail, int] = {"quick": 4000, "full": 12_000}
CRS = "EPSG:32736"  # UTM zone 36 south: the Kruger park
_CORNER = (355_000.0, 7_340_000.0)
_BAND = 500  # rows at a time
_COARSE = 16  # pixels a cell of the fields that are made whole
_TAG = {"FIELDSIGHT_SIMULATED": "1"}
# Things on a hectare, as in the flights; herds, people and vehicles too.
_HERDS, _PEOPLE, _VEHICLES = 1.1, 0.9, 0.3
_STILL = (
    # What, how many, their median radius in metres, how far it varies, the largest.
    ("stone", 22, 0.5, 0.5, 2.0), ("mound", 5, 1.0, 0.3, 2.0),
    ("bush", 30, 0.9, 0.4, 2.0), ("tree", 9, 2.4, 0.35, 5.0),
)  # fmt: skip

_Within = Callable[[Array, Array], Array]
_SOIL, _GRASS, _GREEN = (170, 130, 98), (172, 155, 108), (132, 132, 84)
_COATS = {
    "elephant": (118, 106, 98), "zebra": (178, 172, 162), "giraffe": (176, 132, 84),
    "rhino": (128, 120, 112), "lion": (190, 152, 100),
}  # fmt: skip
_CLOTHES = ((70, 84, 58), (60, 70, 110), (150, 60, 50), (190, 185, 175), (110, 96, 70))
_PAINTS = ((225, 225, 220), (92, 104, 78), (150, 120, 84), (60, 62, 66))


@dataclass(frozen=True)
class Sun:
    """Where shadows fall: metres to the right and down for each metre of height."""

    right: float
    down: float


@dataclass(frozen=True)
class Thing:
    """What lies or stands on the ground.

    Args:
        kind: "bush", "tree", "stone", "mound", or a species' name.
        row, column: of its middle, pixels.
        radius: pixels.
        key: seed of its look.
        species: of one that is looked for.
        heading: radians, counterclockwise from the right.
        scale: its size by the species'.
    """

    kind: str
    row: float
    column: float
    radius: float
    key: int
    species: Species | None = None
    heading: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Marked:
    """An animal, a person or a vehicle: its species, and left, top, width and height in pixels."""

    name: str
    box: tuple[float, float, float, float]


def name_of(seed: int, number: int, setting: Setting) -> str:
    """A mosaic's name."""
    return f"mosaic{seed}{'x' if setting == 'other' else '-'}{number:03d}"


def write_mosaic(
    path: Path, seed: int, number: int, setting: Setting, detail: Detail
) -> list[Marked]:
    """Write a mosaic as a GeoTIFF: red, green and blue uint8, 0 outside of what was flown.

    Returns:
        Who is on it.
    """
    side = SIDES[detail]
    key = (VERSION, seed, number, int(setting == "other"), 50)
    rng = np.random.default_rng(key)
    turn = rng.uniform(0, 2 * np.pi)
    long = rng.uniform(0.5, 1.3)
    sun = Sun(float(long * np.cos(turn)), float(long * np.sin(turn)))
    coarse = (-(-side // _COARSE) + 2,) * 2
    fields = [
        smooth(rng, coarse, scale / (PIXEL_M * _COARSE), octaves=4, persistence=0.62)
        for scale in (30, 18)
    ]
    flown = _flown(rng, side)
    things, marked = _things(rng, side, setting, flown)
    down, across = divmod(number, 20)
    step = PIXEL_M * side + 100
    corner = (_CORNER[0] + across * step, _CORNER[1] - down * step)
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8", crs=CRS,
        transform=Affine(PIXEL_M, 0, corner[0], 0, -PIXEL_M, corner[1]), nodata=0, tiled=True,
        blockxsize=256, blockysize=256, compress="deflate", zlevel=1, predictor=2,
        photometric="rgb",
    ) as file:  # fmt: skip
        file.update_tags(**_TAG)
        for top in range(0, side, _BAND):
            rows = min(_BAND, side - top)
            canvas = _band(np.random.default_rng((*key, top)), fields, top, (rows, side))
            for thing in things:
                reach = 4 * thing.radius + 60
                if top - reach < thing.row < top + rows + reach:
                    _draw(canvas, thing, top, sun, key)
            numbers = np.clip(np.rint(canvas), 1, 255).astype(np.uint8)
            inside = flown(np.arange(top, top + rows)[:, None], np.arange(side)[None])
            numbers *= inside
            file.write(numbers, window=Window(0, top, side, rows))
    return marked


def _flown(rng: np.random.Generator, side: int) -> _Within:
    """Whether pixels at rows and columns were flown over: all but rims that aren't straight."""
    lean = rng.uniform(-0.03, 0.03, 4)
    phase = rng.uniform(0, 6, 4)

    def within(rows: Array, columns: Array) -> Array:
        rims = []
        for k, (along, across) in enumerate(((rows, columns), (columns, rows))):
            # Of left and right, then of top and bottom.
            for j, far in enumerate((across, side - across)):
                wave = 0.006 * side * np.sin(along / (0.04 * side) + phase[2 * k + j])
                rims.append(far > 0.025 * side + lean[2 * k + j] * (along - side / 2) + wave)
        return np.asarray(rims[0] & rims[1] & rims[2] & rims[3])

    return within


def _things(
    rng: np.random.Generator, side: int, setting: Setting, flown: _Within
) -> tuple[list[Thing], list[Marked]]:
    """All things, in the order they are drawn in, and who of them is marked."""
    hectares = (side * PIXEL_M) ** 2 / 10_000
    still: list[Thing] = []
    for kind, density, middle, spread, most in _STILL:
        for _ in range(int(rng.poisson(density * hectares))):
            radius_m = min(float(rng.lognormal(np.log(middle), spread)), most)
            row, column = rng.uniform(0, side, 2)
            still.append(Thing(kind, row, column, radius_m / PIXEL_M, len(still)))
    plants = [thing for thing in still if thing.kind in ("tree", "bush")]
    kinds = HERDS[setting]
    groups = [kinds[k % len(kinds)] for k in range(max(3, round(_HERDS * hectares)))]
    groups += [HUMAN] * max(2, round(_PEOPLE * hectares))
    groups += [VEHICLE] * max(1, round(_VEHICLES * hectares))
    alive: list[Thing] = []
    marked: list[Marked] = []
    for species in groups:
        for thing in _herd(rng, species, side, len(still) + len(alive)):
            edge = np.array([-40.0, 0, 40.0])
            inside = flown(thing.row + edge[:, None], thing.column + edge[None]).all()
            hidden = any(_apart(thing, plant) < plant.radius + 0.8 * thing.radius
                         for plant in plants)  # fmt: skip
            close = any(_apart(thing, other) < 1.2 * (thing.radius + other.radius)
                        for other in alive)  # fmt: skip
            if inside and not hidden and not close:
                alive.append(thing)
                marked.append(Marked(species.name, _box(thing, species)))
    return [*still, *alive], marked


def _apart(one: Thing, other: Thing) -> float:
    return float(np.hypot(one.row - other.row, one.column - other.column))


def _herd(rng: np.random.Generator, species: Species, side: int, key: int) -> list[Thing]:
    """Some of a species about one place, before it is known which of them stand free."""
    row, column = rng.uniform(0.05 * side, 0.95 * side, 2)
    heading = rng.uniform(-np.pi, np.pi)
    count = int(rng.integers(species.herd[0], species.herd[1] + 1))
    length = float(np.ptp(species.parts[:, [0, 3]])) / PIXEL_M
    spread = max(1.2 / PIXEL_M, length) * max(count, 2) ** 0.5
    made = []
    for k in range(count):
        young = 0.62 if count > 3 and species is not HUMAN and rng.random() < 0.2 else 1.0
        made.append(
            Thing(
                species.name, row + rng.normal(0, spread), column + rng.normal(0, spread),
                max(0.5 * length, 4.0), key + k, species, heading + rng.normal(0, 0.6),
                float(young * (1 + rng.normal(0, species.spread))),
            )
        )  # fmt: skip
    return made


def _band(rng: np.random.Generator, fields: list[Array], top: int, shape: tuple[int, int]) -> Array:
    """`(3, rows, columns)` float32: bare ground of some rows, 0 to 255."""
    dry, bare = (_finer(field, top, shape) for field in fields)
    green = np.clip(np.float32(0.5) + np.float32(0.35) * dry, 0, 1)
    open_ = np.clip((bare - np.float32(0.7)) * np.float32(2.5), 0, 1)
    light = 1 + np.float32(0.06) * smooth(rng, shape, 5.0) + np.float32(0.06) * grain(rng, shape)
    canvas = np.empty((3, *shape), np.float32)
    for band in range(3):
        plain = np.float32(_GRASS[band]) + green * np.float32(_GREEN[band] - _GRASS[band])
        plain += open_ * (np.float32(_SOIL[band]) - plain)
        np.multiply(plain, light, out=canvas[band])
    return canvas


def _finer(field: Array, top: int, shape: tuple[int, int]) -> Array:
    """Some rows of a field at every pixel, by linear interpolation along each axis."""
    for axis, (start, size) in enumerate(((top, shape[0]), (0, shape[1]))):
        place = (np.arange(start, start + size, dtype=np.float32) + np.float32(0.5)) / _COARSE
        cell = place.astype(np.intp)
        part = (place - cell).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None]
        field = np.take(field, cell, axis) * (1 - part) + np.take(field, cell + 1, axis) * part
    return field


def _draw(canvas: Array, thing: Thing, top: int, sun: Sun, key: tuple[int, ...]) -> None:
    rng = np.random.default_rng((*key, 7, thing.key))
    if thing.species is not None:
        _body(rng, canvas, thing, thing.species, top, sun)
        return
    shape = canvas.shape[1:]
    row, column, radius = thing.row - top, thing.column, thing.radius
    rough = {"bush": 0.2, "tree": 0.18, "stone": 0.2, "mound": 0.08}[thing.kind]
    stretch = float(rng.uniform(1, 1.6)) if thing.kind == "stone" else 1.0
    tall = radius * {"bush": 0.9, "tree": 1.5, "stone": 0.5, "mound": 0.9}[thing.kind]
    look = int(rng.integers(2**31))
    for far in (1.0, 0.5):
        where, covered, _, _ = blob(
            np.random.default_rng(look), shape, row + far * tall * sun.down,
            column + far * tall * sun.right, radius, stretch=stretch, rough=rough, edge=2.5,
        )  # fmt: skip
        canvas[:, where[0], where[1]] *= 1 - np.float32(0.33) * covered
    where, covered, v, u = blob(
        np.random.default_rng(look),
        shape,
        row,
        column,
        radius,
        stretch=stretch,
        rough=rough,
        edge=2,
    )
    if not covered.size:
        return
    colour = {
        "bush": rng.normal((92, 100, 56), 9), "tree": rng.normal((74, 92, 46), 9),
        "stone": rng.normal((146, 138, 128), 10), "mound": rng.normal((168, 116, 80), 8),
    }[thing.kind]  # fmt: skip
    lit = 1 - np.float32(0.25) * (u * np.float32(np.cos(0.6)) + v * np.float32(0.5))
    part = canvas[:, where[0], where[1]]
    part += covered * (np.asarray(colour, np.float32)[:, None, None] * lit - part)
    if thing.kind in ("bush", "tree"):
        _clumps(rng, canvas, (row, column, radius), colour)


def _clumps(rng: np.random.Generator, canvas: Array, disc: tuple[float, float, float],
            colour: Array) -> None:  # fmt: skip
    """Branches of a canopy, each as light as the sun finds it."""
    row, column, radius = disc
    for _ in range(int(6 + min(radius / 3, 14))):
        turn, far = rng.uniform(0, 2 * np.pi), 0.75 * radius * rng.random() ** 0.5
        where, covered, v, u = blob(
            np.random.default_rng(int(rng.integers(2**31))), canvas.shape[1:],
            row + far * np.sin(turn), column + far * np.cos(turn),
            radius * rng.uniform(0.22, 0.4), rough=0.25, edge=4,
        )  # fmt: skip
        tone = np.asarray(colour * rng.uniform(0.75, 1.35), np.float32)[:, None, None]
        part = canvas[:, where[0], where[1]]
        part += np.float32(0.7) * covered * (tone * (1 - np.float32(0.2) * (u + v)) - part)


def _ends(thing: Thing, species: Species) -> tuple[Array, Array, Array]:
    """Rows and columns of the parts' ends, `(n, 4)`; their mean heights, metres; radii, pixels."""
    parts = species.parts * thing.scale
    c, s = np.cos(thing.heading), np.sin(thing.heading)
    ends = []
    for first in (0, 3):
        forward, aside = parts[:, first] / PIXEL_M, parts[:, first + 1] / PIXEL_M
        ends += [thing.row - forward * s - aside * c, thing.column + forward * c - aside * s]
    return np.stack(ends, 1), (parts[:, 2] + parts[:, 5]) / 2, parts[:, 6] / PIXEL_M


def _box(thing: Thing, species: Species) -> tuple[float, float, float, float]:
    ends, _, radii = _ends(thing, species)
    if species is VEHICLE:
        c, s = abs(np.cos(thing.heading)), abs(np.sin(thing.heading))
        length, width = (
            side * thing.scale / PIXEL_M for side in (VEHICLE_LENGTH_M, VEHICLE_WIDTH_M)
        )
        middle = ends.mean(0)
        row, column = (middle[0] + middle[2]) / 2, (middle[1] + middle[3]) / 2
        high, wide = (length * s + width * c) / 2, (length * c + width * s) / 2
        low, up = np.array([row - high, column - wide]), np.array([row + high, column + wide])
    else:
        both = np.concatenate([ends[:, :2], ends[:, 2:]])
        twice = np.concatenate([radii, radii])[:, None]
        low, up = (both - twice).min(0), (both + twice).max(0)
    sides = [round(float(value), 1) for value in (low[1], low[0], up[1] - low[1], up[0] - low[0])]
    return sides[0], sides[1], sides[2], sides[3]


def _body(
    rng: np.random.Generator, canvas: Array, thing: Thing, species: Species, top: int, sun: Sun
) -> None:
    ends, heights, radii = _ends(thing, species)
    ends = ends - np.array([top, 0, top, 0])
    middle = ends.reshape(-1, 2).mean(0)
    reach = float(np.abs(ends.reshape(-1, 2) - middle).max() + radii.max())
    reach += 3 + float(heights.max()) * 1.3 / PIXEL_M
    where, y, x = box(canvas.shape[1:], middle[0], middle[1], reach)
    if not y.size or not x.size:
        return
    # `box` measures from the middle.
    local = ends - np.tile(middle, 2)
    falls = np.array([sun.down, sun.right]) / PIXEL_M
    if species is VEHICLE:
        covers = _vehicle(y, x, thing)
        down, right = (np.float32(_VEHICLE_M * fall) for fall in falls)
        shade = _vehicle(y - down, x - right, thing).max(0)
    else:
        covers = capsules(y, x, local, radii, 1.5)
        shade = capsules(y, x, local + heights[:, None] * np.tile(falls, 2), radii, 2.5).max(0)
    part = canvas[:, where[0], where[1]]
    part *= 1 - np.float32(0.5) * shade
    colours = _colours(rng, thing, len(covers))
    along = x * np.float32(np.cos(thing.heading)) - y * np.float32(np.sin(thing.heading))
    # What is higher hides what is lower.
    for index in np.argsort(heights[: len(covers)], kind="stable"):
        lit = 1 + np.float32(0.05) * grain(rng, covers[index].shape)
        if thing.kind == "zebra":
            lit *= 1 + np.float32(0.13) * np.sin(along * np.float32(2 * np.pi / 3.1))
        part += covers[index] * (colours[index][:, None, None] * lit - part)


def _vehicle(y: Array, x: Array, thing: Thing) -> Array:
    """A box's coverage, and its windscreen's, `(2, rows, columns)`."""
    c, s = np.float32(np.cos(thing.heading)), np.float32(np.sin(thing.heading))
    along, aside = x * c - y * s, x * s + y * c
    length, width = (side * thing.scale / PIXEL_M for side in (VEHICLE_LENGTH_M, VEHICLE_WIDTH_M))
    inside = np.minimum(length / 2 - np.abs(along), width / 2 - np.abs(aside))
    covered = np.clip(inside / np.float32(1.5) + np.float32(0.5), 0, 1)
    glass = np.minimum(0.06 * length - np.abs(along - 0.14 * length), 0.42 * width - np.abs(aside))
    return np.stack([covered, np.clip(glass + np.float32(0.5), 0, 1)]).astype(np.float32)


def _colours(rng: np.random.Generator, thing: Thing, count: int) -> Array:
    """`(count, 3)` float32 of the parts."""
    if thing.species is VEHICLE:
        return np.array([_PAINTS[int(rng.integers(len(_PAINTS)))], (35, 40, 46)], np.float32)
    if thing.species is HUMAN:
        clothes = _CLOTHES[int(rng.integers(len(_CLOTHES)))]
        trousers = _CLOTHES[int(rng.integers(len(_CLOTHES)))]
        return np.array([trousers, trousers, clothes, (62, 46, 38)], np.float32)
    coat = np.array(_COATS[thing.kind], np.float32) * rng.uniform(0.85, 1.12)
    return np.asarray(np.tile(coat, (count, 1)) * rng.uniform(0.92, 1.05, (count, 1)), np.float32)
