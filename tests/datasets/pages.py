"""Pages of handwritten digits with their truth, composed from a seed as a camera or scanner
would show them: real digits, drawn paper, light, lens and compression."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

Array = np.ndarray[Any, np.dtype[Any]]

KINDS = ("clean", "scan", "photo", "shadow", "dark", "colour", "pencil", "noisy", "mixed", "edge")
HARD_KINDS = (*KINDS, "ruled", "squared", "huge", "tiny", "dense", "thin", "thick")


@dataclass(frozen=True, eq=False)
class Page:
    """A composed page.

    Args:
        image: `(h, w, 3)` uint8 RGB.
        boxes: `(n, 4)` float, the digits' `xyxy` pixels in reading order.
        labels: `(n,)` the digits.
        kind: one of `HARD_KINDS`.
    """

    image: Array
    boxes: Array
    labels: Array
    kind: str


def compose(images: Array, labels: Array, *, seed: int, kind: str = "photo") -> Page:
    """A page of some of these `(n, 28, 28)` digits; the same for the same arguments."""
    rng = np.random.default_rng([seed, HARD_KINDS.index(kind)])
    ink, owners, truth = _layout(images, labels, rng, kind)
    matrix = _view(ink.shape, rng, kind)
    boxes = _boxes(owners, matrix)
    ink = _warp(ink, matrix)
    page = _photograph(ink, matrix, rng, kind)
    return Page(page, boxes, truth, kind)


def _layout(images: Array, labels: Array, rng: Any, kind: str) -> Any:
    size = float(np.exp(rng.uniform(np.log(22), np.log(110))))
    rows, columns = int(rng.integers(1, 9)), int(rng.integers(1, 11))
    pitch, gap = rng.uniform(1.6, 2.3), rng.uniform(1.25, 2.0)
    jitter = rng.uniform(0, 0.12)
    margin = rng.uniform(1.0, 3.0) * size
    if kind == "dense":
        gap, pitch, jitter = 1.12, 1.45, 0.03
    if kind == "huge":
        rows, columns, size, margin = 1, 1, rng.uniform(250, 700), 0.0
        margin = size * rng.uniform(0.08, 0.4)
    if kind == "tiny":
        rows, columns, size, margin = 1, 1, rng.uniform(22, 40), 300
    if kind in ("mixed", "edge"):
        margin += 1.5 * size
    # Keep pages below about two million pixels.
    while (columns * gap * size + 2 * margin) * (rows * pitch * size + 2 * margin) > 2.2e6:
        size, margin = size * 0.9, margin * 0.9
    width = int(columns * gap * size + 2 * margin)
    height = int(rows * pitch * size + 2 * margin)
    if kind == "tiny":
        width, height = int(rng.integers(900, 1500)), int(rng.integers(900, 1500))
    ink = np.zeros((height, width), np.float32)
    owners, truth = [], []
    for row in range(rows):
        count = int(rng.integers(1, columns + 1)) if rows > 1 else columns
        line_scale = rng.uniform(0.6, 1.5) if kind == "mixed" else 1.0
        for column in range(count):
            index = int(rng.integers(len(images)))
            scale = size / 20 * min(1.4 if gap < 1.3 else 9, line_scale * rng.uniform(0.88, 1.12))
            if kind == "dense":
                scale = size / 20
            digit = images[index].astype(np.float32) / 255
            large = np.clip(ndimage.zoom(digit, scale, order=3 if scale > 1.2 else 1), 0, 1)
            large = _stroke(large, scale, rng, kind)
            y = margin + (row + 0.5) * pitch * size + rng.uniform(-1, 1) * jitter * size
            x = margin + (column + 0.5) * gap * size + rng.uniform(-1, 1) * jitter * size
            if kind == "tiny":
                y, x = rng.uniform(100, height - 100), rng.uniform(100, width - 100)
            top, left = int(y - large.shape[0] / 2), int(x - large.shape[1] / 2)
            points = _paste(ink, large, top, left)
            if len(points) == 0:
                continue
            owners.append(points)
            truth.append(int(labels[index]))
    return ink, owners, np.array(truth)


def _stroke(digit: Array, scale: float, rng: Any, kind: str) -> Array:
    radius = 0.05 * 20 * scale
    if kind == "thin":
        thin = ndimage.grey_erosion(digit, size=(2 * round(radius * 0.6) + 1,) * 2)
        return thin if (thin > 0.4).sum() > 0.25 * (digit > 0.4).sum() else digit
    if kind == "thick":
        return ndimage.grey_dilation(digit, size=(2 * round(radius * 0.8) + 1,) * 2)
    return digit


def _paste(ink: Array, digit: Array, top: int, left: int) -> Array:
    bottom, right = top + digit.shape[0], left + digit.shape[1]
    t, le, b, r = max(top, 0), max(left, 0), min(bottom, ink.shape[0]), min(right, ink.shape[1])
    part = digit[t - top : b - top, le - left : r - left]
    ink[t:b, le:r] = np.maximum(ink[t:b, le:r], part)
    rows, columns = np.nonzero(part > 0.35)
    return np.stack([columns + le, rows + t], 1).astype(np.float64) + 0.5


def _view(shape: Any, rng: Any, kind: str) -> Array:
    """The homography of the page onto the picture, in `(x, y, 1)`."""
    height, width = shape
    if kind in ("clean", "tiny"):
        return np.eye(3)
    angle = np.deg2rad(rng.uniform(-2, 2) if kind == "scan" else rng.uniform(-8, 8))
    centre = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1.0]])
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    # The page's corners must stay in the picture.
    shrink = 1 / (abs(np.cos(angle)) + abs(np.sin(angle)) * max(width / height, height / width))
    shrink = max(shrink, 0.8)
    tilt = np.eye(3)
    if kind in ("photo", "edge", "shadow", "mixed"):
        tilt[2, :2] = rng.uniform(-0.08, 0.08, 2) / np.array([width, height])
    zoom = np.diag([shrink, shrink, 1.0])
    return centre @ tilt @ turn @ zoom @ np.linalg.inv(centre)


def _boxes(owners: list[Array], matrix: Array) -> Array:
    boxes = []
    for points in owners:
        moved = np.c_[points, np.ones(len(points))] @ matrix.T
        moved = moved[:, :2] / moved[:, 2:]
        boxes.append([*(moved.min(0) - 0.5), *(moved.max(0) + 0.5)])
    return np.array(boxes).reshape(-1, 4)


def _warp(ink: Array, matrix: Array) -> Array:
    if np.allclose(matrix, np.eye(3)):
        return ink
    rows, columns = np.indices(ink.shape, dtype=np.float64)
    back = np.linalg.inv(matrix)
    w = back[2, 0] * (columns + 0.5) + back[2, 1] * (rows + 0.5) + back[2, 2]
    x = (back[0, 0] * (columns + 0.5) + back[0, 1] * (rows + 0.5) + back[0, 2]) / w - 0.5
    y = (back[1, 0] * (columns + 0.5) + back[1, 1] * (rows + 0.5) + back[1, 2]) / w - 0.5
    return ndimage.map_coordinates(ink, [y, x], order=1).astype(np.float32)


def _photograph(ink: Array, matrix: Array, rng: Any, kind: str) -> Array:
    height, width = ink.shape
    dark_paper = kind == "dark" or (kind in ("huge", "tiny", "mixed") and rng.random() < 0.4)
    paper = np.array([1, 1, 1.0]) * rng.uniform(0.75, 1.0)
    colour = np.array([1, 1, 1.0]) * rng.uniform(0.02, 0.25)
    if kind == "colour" or rng.random() < 0.25:
        paper = paper * rng.uniform([0.85, 0.85, 0.65], 1.0)
        colour = rng.uniform(0.02, 0.25, 3)
        colour[rng.integers(3)] = rng.uniform(0.2, 0.75)
    if kind == "pencil":
        colour = paper * rng.uniform(0.5, 0.72)
    if dark_paper:
        paper, colour = rng.uniform(0.05, 0.25) * np.ones(3), rng.uniform(0.75, 1.0, 3)
    grain = np.ones((height, width))
    if kind != "clean":
        fine = ndimage.gaussian_filter(rng.normal(size=ink.shape), 1.0)
        coarse = ndimage.zoom(rng.normal(size=(height // 24 + 2, width // 24 + 2)), 24, order=1)
        grain += rng.uniform(0.005, 0.02) * fine / fine.std()
        grain += rng.uniform(0.002, 0.012) * coarse[:height, :width]
    strength = ink.copy()
    if kind == "pencil":
        strength *= np.clip(1 - 0.35 * np.abs(rng.normal(size=ink.shape)), 0.3, 1)
    sheet = paper * grain[..., None]
    if kind in ("ruled", "squared"):
        sheet = _rules(sheet, matrix, rng, kind)
    page = sheet * (1 - strength[..., None]) + colour * strength[..., None]
    if kind == "edge":
        page = _table(page, rng)
    page *= _light((height, width), rng, kind)[..., None]
    blur = {"clean": 0.0, "scan": 0.4}.get(kind, rng.uniform(0.3, 1.2))
    page = ndimage.gaussian_filter(page, (blur, blur, 0)) if blur else page
    noise = {"clean": 0.0, "scan": 1.5, "noisy": rng.uniform(8, 18)}.get(kind, rng.uniform(1, 6))
    page = page * 255 + noise * rng.normal(size=page.shape)
    result = np.clip(np.rint(page), 0, 255).astype(np.uint8)
    if kind == "clean":
        return result
    return _compressed(result, int(rng.integers(40, 91)))


def _rules(sheet: Array, matrix: Array, rng: Any, kind: str) -> Array:
    height, width = sheet.shape[:2]
    step = rng.uniform(28, 60)
    rows, columns = np.indices((height, width))
    back = np.linalg.inv(matrix)
    y = back[1, 0] * columns + back[1, 1] * rows + back[1, 2]
    x = back[0, 0] * columns + back[0, 1] * rows + back[0, 2]
    thickness = rng.uniform(0.6, 1.2)
    line = np.clip(thickness + 0.5 - np.abs((y + 5) % step - step / 2), 0, 1)
    if kind == "squared":
        line = np.maximum(line, np.clip(thickness + 0.5 - np.abs((x + 5) % step - step / 2), 0, 1))
    tint = sheet.mean((0, 1)) * np.array([0.6, 0.75, 0.95])
    weight = 0.8 * line[..., None]
    return sheet * (1 - weight) + tint * weight


def _table(page: Array, rng: Any) -> Array:
    """A dark table beyond one or two sides of the paper."""
    height, width = page.shape[:2]
    rows, columns = np.indices((height, width))
    wood = np.array([0.35, 0.25, 0.18]) * rng.uniform(0.5, 1.2)
    for _ in range(int(rng.integers(1, 3))):
        side, depth, slope = rng.integers(4), rng.uniform(0.01, 0.05), rng.uniform(-0.03, 0.03)
        across, along = ((rows, columns), (columns, rows))[side % 2]
        extent = (height, width)[side % 2]
        distance = across if side < 2 else extent - across
        mask = distance < depth * extent + slope * along
        page[mask] = wood
    return page


def _light(shape: Any, rng: Any, kind: str) -> Array:
    height, width = shape
    if kind in ("clean", "scan"):
        return np.ones(shape)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    light = 1 - rng.uniform(0, 0.25) * (along + 1) / 2
    light *= 1 - rng.uniform(0, 0.25) * (x**2 + y**2) / 2
    if kind in ("shadow", "photo") and (kind == "shadow" or rng.random() < 0.4):
        turn, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
        softness = rng.uniform(0.01, 0.2)
        edge = 1 / (1 + np.exp(-(np.cos(turn) * x + np.sin(turn) * y - offset) / softness))
        light *= 1 - rng.uniform(0.25, 0.5) * edge
    return light


def _compressed(image: Array, quality: int) -> Array:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def matched(found: Array, truth: Array) -> Array:
    """For each true box the index of the found box that is it, or -1: IoU at least 0.5."""
    result = np.full(len(truth), -1)
    if len(found) == 0 or len(truth) == 0:
        return result
    low = np.maximum(truth[:, None, :2], found[None, :, :2])
    high = np.minimum(truth[:, None, 2:], found[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), -1)
    area = [np.prod(boxes[:, 2:] - boxes[:, :2], -1) for boxes in (truth, found)]
    overlap = shared / (area[0][:, None] + area[1][None] - shared)
    for index in np.argsort(-overlap.max(1)):
        best = int(np.argmax(overlap[index]))
        if overlap[index, best] >= 0.5:
            result[index] = best
            overlap[:, best] = 0
    return result
