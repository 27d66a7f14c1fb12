"""What breaks the forest without clearing it, and mines: logging, blow-downs, flowers, diggings."""

import numpy as np
from scipy import ndimage

from fieldsight.datasets.simulated._fields import blur, box, path, smooth, stamp
from fieldsight.datasets.simulated.forest._ground import Ground
from fieldsight.datasets.simulated.forest._materials import FORESTS, M, among

_DIGGABLE = FORESTS | among(M.SPOIL, M.POND, M.PASTURE, M.REGROWTH)


def log(rng: np.random.Generator, ground: Ground) -> None:
    """Selective logging: winding trails, decks where logs are stacked, gaps where trees stood."""
    place = ground.anywhere(rng, FORESTS)
    if place is None:
        return
    both = (ground.before, ground.after)
    radius = rng.uniform(170, 300)
    for _ in range(int(rng.integers(4, 8))):
        start = rng.normal(0, radius / 3.5, 2)
        y, x = path(rng, int(rng.integers(200, 420)), 0.33)
        y, x = place[0] + start[0] + y, place[1] + start[1] + x
        near = np.hypot(y - place[0], x - place[1]) < radius
        y, x = y[near], x[near]
        if not len(y):
            continue
        decks = np.arange(int(rng.integers(20, 60)), len(y), int(rng.integers(60, 110)))
        # Trees stood to both sides of the trail.
        stumps = rng.integers(0, len(y), len(y) // 6)
        off = rng.normal(0, 14, (2, len(stumps)))
        for material in both:
            stamp(material, y[stumps] + off[0], x[stumps] + off[1], 1.6, M.GAP, FORESTS)
            stamp(material, y, x, 1, M.TRAIL, FORESTS | among(M.GAP))
            stamp(material, y[decks], x[decks], rng.uniform(3.2, 4.6), M.TRAIL, FORESTS)


def blow_down(rng: np.random.Generator, ground: Ground, *, new: bool) -> None:
    """A downburst's fan of fallen trees, streaked along the wind."""
    place = ground.anywhere(rng, FORESTS)
    if place is None:
        return
    long, wide = rng.uniform(90, 190), rng.uniform(35, 75)
    where, y, x = box(ground.shape, place[0], place[1], 1.5 * long)
    angle = rng.uniform(0, 2 * np.pi)
    p = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    q = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    q = q / (1 + np.float32(0.45) * p / np.float32(long))  # it widens downwind
    n = int(4 * long)
    streaks = smooth(rng, (n, n), 3.2)
    # Seven times as long as wide.
    at = np.stack([(q + n / 2) % (n - 1), (p / 7 + n / 2) % (n - 1)])
    streak = ndimage.map_coordinates(streaks, at, order=1)
    inside = np.hypot(p / np.float32(long), q / np.float32(wide))
    felled = streak + np.float32(0.5) * smooth(rng, streak.shape, 20) > 3.2 * inside - 2.0
    felled &= inside < 1.25
    trunks = felled & (streak + 0.7 * smooth(rng, streak.shape, 4) > 0.15)
    for material in (ground.after,) if new else (ground.before, ground.after):
        part = material[where]
        on = FORESTS[part]
        part[felled & on] = M.SPROUTS
        part[trunks & on] = M.TRUNKS


def flower(rng: np.random.Generator, ground: Ground, *, second: bool) -> None:
    """Crowns in flower, of one kind, scattered over some hundred metres, at one date."""
    place = ground.anywhere(rng, FORESTS)
    if place is None:
        return
    count, spread = int(rng.integers(150, 420)), rng.uniform(70, 150)
    y, x = rng.normal(0, spread, (2, count)) + np.array(place)[:, None]
    material = ground.after if second else ground.before
    sizes = rng.uniform(1.4, 2.6, 3)
    for k, radius in enumerate(sizes):
        stamp(material, y[k::3], x[k::3], radius, M.FLOWERS, FORESTS)


def dig(rng: np.random.Generator, ground: Ground) -> None:
    """An artisanal mine: pits, ponds and spoil along a creek or a river's bank."""
    bank = np.argwhere(
        (ground.river_distance[::8, ::8] > 5) & (ground.river_distance[::8, ::8] < 40)
    )
    if len(bank) and rng.random() < 0.6:
        row, column = (float(value) * 8 for value in bank[rng.integers(len(bank))])
    else:
        place = ground.anywhere(rng, FORESTS)
        if place is None:
            return
        row, column = place
    y, x = path(rng, int(rng.integers(150, 330)), 0.35)
    where, down, right = box(ground.shape, row, column, float(np.abs((y, x)).max()) + 40)
    shape = (down.shape[0], right.shape[1])
    if min(shape) < 40:
        return
    # Where diggers went is near the line; how far they dug, and what the rain filled, is chance.
    near = np.zeros(shape, np.float32)
    at = rng.integers(0, len(y), len(y) // 3)
    off = rng.normal(0, 8, (2, len(at)))
    stamp(near, y[at] + off[0] - down[0, 0], x[at] + off[1] - right[0, 0], 7, 1)
    for _ in range(3):
        near = blur(near, 0.3)
    rough = smooth(rng, shape, 14, octaves=2)
    dug = (near + np.float32(0.16) * rough > 0.36) & (near > 0.08)
    pools = dug & (smooth(rng, shape, 9, octaves=2) > rng.uniform(0.3, 0.9))
    for material in (ground.before, ground.after):
        part = material[where]
        on = _DIGGABLE[part]
        part[dug & on] = M.SPOIL
        part[pools & on] = M.POND


def quarry(rng: np.random.Generator, ground: Ground) -> tuple[float, float]:
    """A conventional mine: a stepped pit, a plant's yard and a tailings pond; returns its place."""
    row, column = ground.anywhere(rng, FORESTS) or (ground.shape[0] / 2, ground.shape[1] / 2)
    radius, squeeze, turn = rng.uniform(55, 95), rng.uniform(0.6, 1.0), rng.uniform(0, np.pi)
    where, y, x = box(ground.shape, row, column, 3.2 * radius)
    shape = (y.shape[0], x.shape[1])
    p = x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))
    q = (y * np.float32(np.cos(turn)) - x * np.float32(np.sin(turn))) / np.float32(squeeze)
    r = np.hypot(p, q) / np.float32(radius) + np.float32(0.07) * smooth(rng, shape, 35)
    steps = np.mod(r * np.float32(rng.uniform(4, 6)), 1) < 0.62
    pond_p, pond_q = p - np.float32(1.75 * radius), q + np.float32(rng.uniform(-20, 20))
    wall = np.maximum(
        np.abs(pond_p) / np.float32(0.62 * radius), np.abs(pond_q) / np.float32(0.5 * radius)
    )
    pond = wall + np.float32(0.03) * smooth(rng, shape, 30)
    floods = M.TAILINGS if rng.random() < 0.3 else M.PIT
    for material in (ground.before, ground.after):
        part = material[where]
        dry = ~among(M.RIVER, M.LAKE)[part]
        part[dry & (r < 1.1)] = M.BENCH
        part[dry & (r < 1) & steps] = M.BENCH
        part[dry & (r < 1) & ~steps] = M.PIT
        part[dry & (r < 0.2)] = floods
        part[dry & (pond < 1.1) & (r > 1.1)] = M.BENCH
        part[dry & (pond < 1) & (r > 1.1)] = M.TAILINGS
    return row, column
