"""Where people live: roads, lots, fields, plots, villages, and what they clear."""

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated._fields import box, path, rotated, smooth, stamp
from fieldsight.datasets.simulated.forest._ground import Ground
from fieldsight.datasets.simulated.forest._materials import CLASS_OF, FORESTS, M, among
from fieldsight.datasets.simulated.forest._plan import Plan

_USES = (M.PASTURE, M.CROP, M.BARE, M.BURNT, M.PLANTATION, M.REGROWTH)
_FRONTIER = (0.60, 0.08, 0.08, 0.02, 0.06, 0.16)
_RANCH = (0.43, 0.28, 0.09, 0.01, 0.09, 0.10)
_FRESH = (M.FELLED, M.BARE, M.BURNT, M.PASTURE)  # what a clearing of this year looks like
_FRESH_CHANCES = (0.34, 0.30, 0.12, 0.24)
_PLOTS = (M.FOREST, M.PLOT_CROP, M.PLOT_BARE, M.PLOT_FALLOW, M.PLOT_BURNT)
_PLOT_CHANCES = (0.30, 0.30, 0.14, 0.23, 0.03)
_FIELDS = 4096  # random numbers by field: ids wrap around


def settle(rng: np.random.Generator, ground: Ground, plan: Plan) -> None:
    """Paint roads, fields, plots and villages on both dates."""
    shape = ground.shape
    wander = 14 * smooth(rng, shape, 260), 14 * smooth(rng, shape, 260)
    u, v = rotated(shape, plan.angle)
    u, v = u + wander[0], v + wander[1]
    if plan.theme == "frontier":
        _fishbone(rng, ground, u, v)
    elif plan.theme == "ranch":
        _ranch(rng, ground, u, v)
    elif plan.theme == "river people":
        _river_lots(rng, ground, u, v)
    for _ in range(plan.plots):
        _plots(rng, ground)
    for _ in range(plan.villages):
        _village(rng, ground)


def _fishbone(rng: np.random.Generator, ground: Ground, u: Array, v: Array) -> None:
    """A road, feeder roads across it, and lots cleared from these inwards."""
    spacing, width = rng.uniform(230, 360), rng.uniform(75, 125)
    u = u - np.float32(rng.uniform(-0.25, 0.25) * ground.shape[1])
    feeder = np.rint(v / np.float32(spacing))
    away = v - feeder * np.float32(spacing)
    lot = np.floor(u / np.float32(width)).astype(np.int32) + 64
    row = (2 * feeder + (away > 0)).astype(np.int32) + 64
    away = np.abs(away)
    # Settlers come along the main road: far from it fewer lots are cleared, and not as deep.
    far = np.abs(np.arange(128) - 63.5)[:, None] * width
    reach = rng.uniform(300, 1100, (1, 128)) * rng.uniform(0.7, 1.4)
    chance = np.where(far < reach, 0.88 * np.exp(-far / 900), 0)
    settled = rng.random((128, 128)) < chance
    # Below 0 nothing is cleared, not even the verge of the road.
    depth = np.where(settled, rng.uniform(0.3, 1.05, (128, 128)), -1)
    grows = (rng.random((128, 128)) < 0.16) & (far < reach + 150)
    later = np.where(grows, np.maximum(depth, 0) + rng.uniform(0.3, 0.6, (128, 128)), depth)
    uses = rng.choice(_USES, (128, 128), p=_FRONTIER)
    edge = away + 3 * smooth(rng, ground.shape, 22)
    half = np.float32(spacing / 2)
    cleared = [edge < half * d.astype(np.float32)[lot, row] for d in (depth, later)]
    fields = lot * 128 + row
    _clear(rng, ground, cleared, uses, lot, row, fields)
    road = away < np.float32(1.9)
    road &= np.abs(u) < reach.ravel().astype(np.float32)[row]
    ground.put(road, M.TRACK)
    ground.put(np.abs(u) < np.float32(2.7), M.ROAD)


def _ranch(rng: np.random.Generator, ground: Ground, u: Array, v: Array) -> None:
    """Large fields between straight fences, some cells left as forest."""
    wide, high = rng.uniform(160, 270), rng.uniform(110, 210)
    i = np.floor(u / np.float32(wide)).astype(np.int32) + 32
    # Each column of fields is divided in its own way.
    heights = (high * rng.uniform(0.65, 1.6, 64)).astype(np.float32)[i]
    along = (v + (high * rng.uniform(-0.5, 0.5, 64)).astype(np.float32)[i]) / heights
    j = np.floor(along).astype(np.int32) + 32
    near = smooth(rng, (64, 64), 3)
    cleared = near + 0.7 * rng.standard_normal((64, 64)) < rng.uniform(0.2, 0.9)
    later = cleared | (rng.random((64, 64)) < 0.16)
    uses = rng.choice(_USES, (64, 64), p=_RANCH)
    # Between two fields a hedge of forest of some metres, here and there.
    inside_u = np.abs(u / np.float32(wide) - np.floor(u / np.float32(wide)) - np.float32(0.5))
    inside_v = np.abs(along - np.floor(along) - np.float32(0.5))
    hedge = (inside_u > 0.5 - 3 / wide) | (inside_v > 0.5 - 3 / high)
    hedge &= smooth(rng, ground.shape, 60) > 0.9
    masks = [c[i, j] & ~hedge for c in (cleared, later)]
    _clear(rng, ground, masks, uses, i, j, i * 64 + j)
    straight_u = np.rint(u / np.float32(wide))
    across = (np.abs(u - straight_u * np.float32(wide)) < 1.9) & (np.mod(straight_u, 3) == 0)
    ground.put(across & (np.abs(v) < rng.uniform(400, 1200)), M.TRACK)
    ground.put(np.abs(v) < np.float32(2.7), M.ROAD)


def _river_lots(rng: np.random.Generator, ground: Ground, u: Array, v: Array) -> None:
    """Small pastures near the river, and no road but a few tracks."""
    side = rng.uniform(80, 120)
    i = np.floor(u / np.float32(side)).astype(np.int32) + 64
    j = np.floor(v / np.float32(side)).astype(np.int32) + 64
    reach = rng.uniform(120, 260) + 40 * smooth(rng, ground.shape, 70)
    strip = ground.river_distance < reach
    cleared = rng.random((128, 128)) < 0.25
    later = cleared | (rng.random((128, 128)) < 0.09)
    uses = rng.choice(_USES, (128, 128), p=_FRONTIER)
    masks = [c[i, j] & strip for c in (cleared, later)]
    _clear(rng, ground, masks, uses, i, j, i * 128 + j)
    ground.put((np.abs(v) < 1.9) & (ground.river_distance < 500), M.TRACK)


def _clear(
    rng: np.random.Generator,
    ground: Ground,
    cleared: list[Array],
    uses: Array,
    i: Array,
    j: Array,
    fields: Array,
) -> None:
    """Turn forest into fields at either date, and let some fields change their use."""
    on = FORESTS[ground.before] & (ground.river_distance > ground.reserve)
    first, second = cleared[0] & on, cleared[1] & on
    rotation = _rotated(rng, uses, 0.2)
    # A plantation stays for decades.
    rotation = np.where(uses == M.PLANTATION, uses, rotation)
    fresh = rng.choice(_FRESH, uses.shape, p=_FRESH_CHANCES)
    ground.before[first] = uses.astype(np.uint8)[i, j][first]
    ground.after[first] = rotation.astype(np.uint8)[i, j][first]
    new = second & ~first
    ground.after[new] = fresh.astype(np.uint8)[i, j][new]
    ground.field[second] = (fields[second] % (_FIELDS - 1) + 1).astype(np.uint16)


def _rotated(rng: np.random.Generator, uses: Array, part: float) -> Array:
    """Another use for this part of the fields."""
    other = rng.permutation(uses.ravel()).reshape(uses.shape)
    return np.where(rng.random(uses.shape) < part, other, uses)


def _plots(rng: np.random.Generator, ground: Ground) -> None:
    """Plots of shifting cultivation in forest, some tens of metres wide, near who works them."""
    row, column = ground.near_people(rng)
    radius = rng.uniform(70, 150)
    where, y, x = box(ground.shape, row, column, 1.4 * radius)
    shape = (y.shape[0], x.shape[1])
    if min(shape) < 20:
        return
    side = rng.uniform(24, 38)
    angle = rng.uniform(0, np.pi)
    y, x = y + 7 * smooth(rng, shape, 26), x + 7 * smooth(rng, shape, 26)
    i = np.floor((x * np.cos(angle) + y * np.sin(angle)) / side).astype(np.int32) % 32
    j = np.floor((y * np.cos(angle) - x * np.sin(angle)) / side).astype(np.int32) % 32
    inside = np.hypot(y, x) < radius * (1 + 0.25 * smooth(rng, shape, 60))
    uses = rng.choice(_PLOTS, (32, 32), p=_PLOT_CHANCES).astype(np.uint8)
    later = _rotated(rng, uses, 0.4)
    # What was cleared isn't forest a year after, nor is a plot's neighbour: new plots are apart.
    later = np.where((uses == M.FOREST) | (later == M.FOREST), uses, later)
    before, after, field = ground.before[where], ground.after[where], ground.field[where]
    inside &= FORESTS[before] & FORESTS[after] & (ground.river_distance[where] > 6)
    chosen = inside & (uses[i, j] != M.FOREST)
    before[chosen], after[chosen] = uses[i, j][chosen], later[i, j][chosen]
    field[chosen] = (i * 32 + j + int(rng.integers(1, 2048)))[chosen].astype(np.uint16)


def _village(rng: np.random.Generator, ground: Ground) -> None:
    """Some tens of roofs, with yards, along a road or a river."""
    row, column = ground.near_people(rng, roads=True)
    count = int(rng.integers(14, 50))
    radius = rng.uniform(5, 8) * np.sqrt(count)
    spread = rng.normal(0, radius / 1.9, (2, count))
    where, y, x = box(ground.shape, row, column, 1.5 * radius)
    shape = (y.shape[0], x.shape[1])
    if min(shape) < 12:
        return
    dry = among(M.RIVER, M.LAKE)
    yard = np.hypot(y, x) < radius * (1 + 0.25 * smooth(rng, shape, 14)) - 4
    for material in (ground.before, ground.after):
        part = material[where]
        part[yard & ~dry[part] & (CLASS_OF[part] != 4)] = M.YARD
    roofs = rng.choice((M.ZINC, M.TILE, M.OLD_ROOF), count, p=(0.45, 0.3, 0.25))
    for (dy, dx), roof in zip(spread.T, roofs, strict=True):
        high, wide = rng.integers(3, 6, 2)
        top, left = int(row + dy), int(column + dx)
        if top < 0 or left < 0:
            continue
        for material in (ground.before, ground.after):
            house = material[top : top + high, left : left + wide]
            house[~dry[house]] = roof
        ground.field[top : top + high, left : left + wide] = int(rng.integers(1, _FIELDS))


def roads_to(rng: np.random.Generator, ground: Ground, row: float, column: float) -> None:
    """A winding track from a place for a kilometre or two, as mines have them."""
    y, x = path(rng, int(rng.integers(300, 800)), 0.12)
    allowed = FORESTS | among(M.PASTURE, M.CROP, M.REGROWTH, M.OPEN)
    for material in (ground.before, ground.after):
        stamp(material, row + y, column + x, 1, M.TRACK, allowed)
