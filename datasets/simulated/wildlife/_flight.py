"""A flight's frames, one after the other, with what is in each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.wildlife._actors import Actor, actors
from fieldsight.datasets.simulated.wildlife._camera import Pose, poses, seen
from fieldsight.datasets.simulated.wildlife._ground import Ground, ground
from fieldsight.datasets.simulated.wildlife._plan import COLUMNS, ROWS, Plan
from fieldsight.datasets.simulated.wildlife._sensor import Sensor
from fieldsight.datasets.simulated.wildlife._shapes import Slices, capsules
from fieldsight.datasets.simulated.wildlife._species import (
    UNKNOWN,
    VEHICLE,
    VEHICLE_LENGTH_M,
    VEHICLE_WIDTH_M,
)

_EDGE = 1.5  # cells from covered to free: what the lens blurs
_OUTLINE = 0.5  # covered so much, a cell is the body's to whoever marks it
# The part of a body that is seen below which it has no row, a row of unknown species, or one that
# says that it is occluded.
_HIDDEN, _UNCLEAR, _OCCLUDED = 0.12, 0.4, 0.7
_CUT = 0.4  # the part of a box within the frame below which its species is unknown
_SMALLEST_PX = 3.0


@dataclass(frozen=True)
class Row:
    """An object in a frame.

    Args:
        actor: who.
        box: left, top, width and height, whole pixels.
        code: the species' number; -1 where too little is seen to tell.
        occluded: whether leaves hide a part.
    """

    actor: Actor
    box: tuple[int, int, int, int]
    code: int
    occluded: bool


@dataclass(frozen=True)
class Frame:
    """A frame.

    Args:
        image: `(rows, columns)` uint8.
        pose: where the camera was.
        rows: what is in it.
        noisy: whether the picture is disturbed.
    """

    image: Array
    pose: Pose
    rows: tuple[Row, ...]
    noisy: bool


def frames(plan: Plan) -> Iterator[Frame]:
    """All frames of a flight, in their order."""
    path = poses(plan)
    land = ground(plan, seen(path))
    who = actors(plan, land)
    sensor = Sensor(plan)
    for number, pose in enumerate(path):
        shown, rows = [], []
        for actor in who:
            found = _drawn(actor, number, pose, land)
            if found is None:
                continue
            where, before, row = found
            shown.append((where, before))
            if row is not None:
                rows.append(row)
        kelvin = _sampled(land, pose)
        for where, before in reversed(shown):
            land.kelvin[where] = before
        image, noisy = sensor.frame(kelvin, number)
        yield Frame(image, pose, tuple(rows), noisy)


def _sampled(land: Ground, pose: Pose) -> Array:
    """`(ROWS, COLUMNS)` float32 kelvin of the ground that the pixels see."""
    x, y = pose.to_ground(
        np.arange(COLUMNS, dtype=np.float32) + np.float32(0.5),
        np.arange(ROWS, dtype=np.float32) + np.float32(0.5),
    )
    row, column = land.cells(x.astype(np.float32), y.astype(np.float32))
    places = np.stack([row, column])
    places -= np.float32(0.5)
    return np.asarray(
        ndimage.map_coordinates(land.kelvin, places, np.float32, 1, mode="nearest", prefilter=False)
    )


def _drawn(
    actor: Actor, number: int, pose: Pose, land: Ground
) -> tuple[Slices, Array, Row | None] | None:
    """Draw a body on the ground as the camera sees it.

    Returns:
        Where, what was there before, and its row; None if it isn't in the frame at all.
    """
    x, y = actor.x[number], actor.y[number]
    column, row = pose.to_pixels(np.array([[x, y, 0.0]]))[0]
    reach = 6.0 * actor.scale * pose.focal_px / pose.height_m
    if not (-reach < column < COLUMNS + reach and -reach < row < ROWS + reach):
        return None
    c, s = np.cos(actor.heading[number]), np.sin(actor.heading[number])
    parts = actor.species.parts * actor.scale
    ends: list[Array] = []
    for first in (0, 3):
        forward, aside, up = parts[:, first], parts[:, first + 1], parts[:, first + 2]
        points = np.stack([x + forward * c - aside * s, y + forward * s + aside * c, up], -1)
        flat = pose.flattened(points)
        ends += land.cells(flat[:, 0], flat[:, 1])
    radii = parts[:, 6] / land.pixel_m
    # A box's corners reach further than the parts that it stands for.
    pad = int(0.9 / land.pixel_m) if actor.species is VEHICLE else 0
    top, left = (int(np.min([ends[i] - radii, ends[i + 2] - radii]) - 3 - pad) for i in (0, 1))
    bottom, right = (int(np.max([ends[i] + radii, ends[i + 2] + radii]) + 4 + pad) for i in (0, 1))
    top, left = max(top, 0), max(left, 0)
    bottom, right = min(bottom, land.kelvin.shape[0]), min(right, land.kelvin.shape[1])
    if bottom <= top or right <= left:
        return None
    where = (slice(top, bottom), slice(left, right))
    lines = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5)
    across = np.arange(left, right, dtype=np.float32)[None] + np.float32(0.5)
    if actor.species is VEHICLE:
        covers = _vehicle(lines, across, np.stack(ends, 1), actor, (c, s), land.pixel_m)
    else:
        covers = capsules(lines, across, np.stack(ends, 1), radii, _EDGE)
    body = covers.max(0)
    weights = covers + np.float32(1e-6)
    warmth = (weights * actor.warmth[:, None, None].astype(np.float32)).sum(0) / weights.sum(0)
    before = land.kelvin[where].copy()
    free = body * (1 - land.canopy[where])
    land.kelvin[where] += free * (warmth - before)
    total = float(body.sum())
    part = float(free.sum()) / total if total else 0.0
    box, whole = _box(body, top, left, land, pose)
    if part < _HIDDEN or box is None:
        return where, before, None
    code = actor.species.code if whole >= _CUT and part >= _UNCLEAR else UNKNOWN.code
    return where, before, Row(actor, box, code, part < _OCCLUDED)


def _vehicle(
    y: Array, x: Array, ends: Array, actor: Actor, turn: tuple[float, float], pixel_m: float
) -> Array:
    """Of cabin and bonnet together a box; `(2, rows, columns)` as `capsules`."""
    middle = ends.mean(0)
    row, column = (middle[0] + middle[2]) / 2, (middle[1] + middle[3]) / 2
    c, s = turn
    # Rows run against y.
    along = (x - np.float32(column)) * np.float32(c) - (y - np.float32(row)) * np.float32(s)
    aside = (x - np.float32(column)) * np.float32(s) + (y - np.float32(row)) * np.float32(c)
    length = VEHICLE_LENGTH_M * actor.scale / pixel_m
    width = VEHICLE_WIDTH_M * actor.scale / pixel_m
    inside = np.minimum(length / 2 - np.abs(along), width / 2 - np.abs(aside))
    covered = np.clip(inside / np.float32(_EDGE) + np.float32(0.5), 0, 1)
    bonnet = np.clip((along - np.float32(0.18 * length)) / np.float32(_EDGE) + 0.5, 0, 1)
    return np.stack([covered * (1 - bonnet), covered * bonnet]).astype(np.float32)


def _box(
    body: Array, top: int, left: int, land: Ground, pose: Pose
) -> tuple[tuple[int, int, int, int] | None, float]:
    """The box about a body's cells, in whole pixels, cut at the frame's edge; how much is left."""
    rows, columns = np.nonzero(body > _OUTLINE)
    if not len(rows):
        return None, 0.0
    x = land.left_m + (left + columns + 0.5) * land.pixel_m
    y = land.top_m - (top + rows + 0.5) * land.pixel_m
    places = pose.to_pixels(np.stack([x, y, np.zeros(len(x))], -1))
    low, high = places.min(0) - 0.5, places.max(0) + 0.5
    (x0, y0), (x1, y1) = np.floor(low + 0.25), np.ceil(high - 0.25)
    cut = (max(x0, 0.0), max(y0, 0.0), min(x1, float(COLUMNS)), min(y1, float(ROWS)))
    width, height = cut[2] - cut[0], cut[3] - cut[1]
    if width < _SMALLEST_PX or height < _SMALLEST_PX:
        return None, 0.0
    part = float(width * height / ((x1 - x0) * (y1 - y0)))
    return (int(cut[0]), int(cut[1]), int(width), int(height)), part
