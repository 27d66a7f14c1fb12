"""Where the ink is on a picture of paper: its colour channel, polarity, scale and strength.

Strokes are what is narrower than a square of `SPAN` pixels and stands out from what surrounds it
(a morphological closing fills them; light, shadows' edges and a table beside the paper pass it
unchanged). The picture is looked at in halving resolutions, in both polarities, and the one that
shows most stroke-like pieces of a digit's size is taken.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from fieldsight.datasets._rules import rules
from fieldsight.datasets.pictures import luminance
from fieldsight.datasets.sample import Array

SPAN = 31  # no stroke is wider, in pixels of the resolution that is chosen
LOWEST, HIGHEST = 11, 130  # heights of a digit in such pixels
LONGEST = 90  # straight part of a stroke
FIRST_LOOK_PIXELS = 1_700_000  # finer resolutions are looked at only for digits that need them
LEAST_CONTRAST = 9.0  # of 255; fainter differences are paper
NOISES = 5.0  # ink stands out from noise by this many standard deviations
SURER = 1.5
HALF = 0.42  # a stroke's edge lies at this part of its full strength
MOST_CROWDED = 0.38  # share of ink in a digit's surroundings
EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Ink:
    """The ink of a picture at one resolution.

    Args:
        strength: `(h, w)` float32, contrast with the ground, slightly smoothed, 0 to 255.
        sharp: the same without smoothing.
        noise: standard deviation of `strength` where there is no ink.
        scale: pixels of the picture along a side of one of these.
        light: whether it is lighter than its ground.
        pieces: what is connected.
        height: the usual height of a digit, in these pixels; 0 if nothing looks like one.
        evidence: how much looks like digits.
    """

    strength: Array
    sharp: Array
    noise: float
    scale: float
    light: bool
    pieces: "Pieces"
    height: float
    evidence: float


@dataclass(frozen=True, eq=False)
class Pieces:
    """Connected pieces of ink, numbered from 1 in `labels` and from 0 in the other arrays.

    Args:
        labels: `(h, w)` int32, 0 where there is none.
        boxes: `(n, 4)` int `xyxy`, right and bottom exclusive.
        areas: `(n,)` pixels.
        levels: `(n,)` strength that a tenth of its pixels exceed.
        thickness: `(n,)` mean width of its strokes in pixels.
    """

    labels: Array
    boxes: Array
    areas: Array
    levels: Array
    thickness: Array

    @property
    def heights(self) -> Array:
        """`(n,)` pixels."""
        return self.boxes[:, 3] - self.boxes[:, 1]

    @property
    def widths(self) -> Array:
        """`(n,)` pixels."""
        return self.boxes[:, 2] - self.boxes[:, 0]


def find_ink(image: Array) -> Ink | None:
    """The ink of a grey or RGB uint8 picture, or None if nothing on it looks like a digit."""
    grey = luminance(image)
    if image.ndim == 2 or not _is_coloured(image):
        best = _best([grey])
        return None if best is None else best[0]
    channels = [grey, *(image[..., index].astype(np.float32) for index in range(3))]
    coarse = 1 if grey.size > FIRST_LOOK_PIXELS / 2 else 0
    best = _best([_reduced(channel, coarse) for channel in channels], worth=1.4)
    if coarse:
        best = _best([channels[0 if best is None else best[1]]])
    return None if best is None else best[0]


def _best(channels: list[Array], worth: float = 1.0) -> tuple[Ink, int] | None:
    """The ink with most evidence among channels, resolutions and polarities, and its channel.

    A channel after the first must be `worth` times as good, and at a coarser resolution the
    other polarity `SURER` times: there, ground between digits may be as large as they are.
    """
    best: tuple[Ink, int] | None = None
    score = 0.0
    for channel, grey in enumerate(channels):
        trust = 1 / (grain(grey) + 4) ** 2
        first = 0
        while grey.size / 4**first > FIRST_LOOK_PIXELS:
            first += 1
        levels = [first]
        while min(grey.shape) / 2 ** (levels[-1] + 1) >= LOWEST:
            levels.append(levels[-1] + 1)
        for level in [*levels, *range(first - 1, -1, -1)]:
            if level < first and best and (best[0].scale > 2**first or best[0].height >= 22):
                break  # no digit is so small that it needs a finer look
            for light in (False, True):
                ink = _looked_at(grey, level, light=light)
                hurdle = score
                if best and best[1] != channel:
                    hurdle *= worth
                if best and best[0].light != light and ink.scale > best[0].scale:
                    hurdle *= SURER
                if ink.evidence * trust > hurdle:
                    best, score = (ink, channel), ink.evidence * trust
    return best


def _looked_at(grey: Array, level: int, *, light: bool) -> Ink:
    plain = _reduced(grey, level)
    if light:
        plain = 255 - plain
    smooth = ndimage.gaussian_filter(plain, 0.7)
    ground = _closed(smooth)
    gain = np.ones_like(ground)
    if not light:  # ink reflects a part of the light that falls on it
        gain = np.clip(np.percentile(ground, 95) / np.maximum(ground, 8), 1.0, 3.0)
    contrast = ground - smooth
    bias = float(np.median(contrast))  # noise lifts the ground
    noise = float(1.4826 * np.median(np.abs(contrast - bias)))
    strength = (contrast - bias) * gain
    sharp = (ground - plain - bias) * gain
    # Noise doesn't fade with the light as ink does, so the gate rises where the gain does.
    gate = max(NOISES * noise, LEAST_CONTRAST) * gain
    pieces = found_pieces(strength, gate)
    if _has_long_ones(pieces):
        mask = pieces.labels > 0
        ruled = rules(mask, LONGEST)
        # With the faint edges of the rules, but not those of strokes.
        ruled |= ndimage.binary_dilation(ruled, EIGHT, iterations=3) & ~mask
        strength[ruled] = sharp[ruled] = 0
        pieces = found_pieces(strength, gate)
    likely = _digit_like(pieces, strength.shape)
    scale = float(2**level)
    if not likely.any():
        return Ink(strength, sharp, noise, scale, light, pieces, 0.0, 0.0)
    heights, levels = pieces.heights[likely], pieces.levels[likely].astype(float)
    weights = pieces.areas[likely] * levels
    weights *= levels >= 0.45 * weighted_median(levels, weights)
    fit = np.interp(heights, [LOWEST, 24, 60, HIGHEST], [0.3, 1.0, 1.0, 0.5])
    # The ground between strokes is thick, and that between digits makes fewer, larger pieces:
    # so height counts, not area, and what is found at a finer resolution is surer.
    fit *= np.interp(pieces.thickness[likely] / heights, [0.2, 0.4], [1.0, 0.4]) * (weights > 0)
    fit *= np.interp(_edged(pieces, smooth, gain)[likely], [0.5, 0.85], [0.1, 1.0])
    fit *= np.interp(_repeated(pieces, likely, smooth, gain), [0.12, 0.35], [1.0, 0.1])
    evidence = float((fit * heights**1.2 * levels**2).sum()) * scale**0.7
    height = weighted_median(heights, weights)
    return Ink(strength, sharp, noise, scale, light, pieces, height, evidence)


def _has_long_ones(pieces: Pieces) -> bool:
    """Whether something spans more than a digit could, as rules and frames do."""
    longest = np.maximum(pieces.heights, pieces.widths)
    return bool((longest > max(1.3 * LONGEST, 0.3 * min(pieces.labels.shape))).any())


def found_pieces(strength: Array, gate: Array | float) -> Pieces:
    """What is connected and stronger than the gate, each cut at half of its own strength."""
    labels, count = ndimage.label(strength > gate, EIGHT)
    if count == 0:
        return measured(labels, strength)
    levels = _levels(labels, strength, count)
    edges = np.concatenate([[np.inf], HALF * levels]).astype(np.float32)
    labels, _ = ndimage.label(strength > np.maximum(edges[labels], gate), EIGHT)
    return measured(labels, strength)


def measured(labels: Array, strength: Array) -> Pieces:
    """The pieces that a label picture numbers, measured; numbers may have gaps."""
    present = np.bincount(labels.ravel()) > 0
    present[0] = False
    labels = (np.cumsum(present) * present).astype(np.int32)[labels]
    count = int(present.sum())
    slices = ndimage.find_objects(labels)
    corners = [[x.start, y.start, x.stop, y.stop] for y, x in slices]
    boxes = np.array(corners, dtype=np.int64).reshape(-1, 4)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    inside = ndimage.binary_erosion(labels > 0, border_value=1)
    rims = np.bincount(labels[~inside], minlength=count + 1)[1:]
    # A stroke of length l and width t has l * t pixels, 2 * l of them at its rim.
    thickness = 2 * areas / np.maximum(rims, 1)
    return Pieces(labels, boxes, areas, _levels(labels, strength, count), thickness)


def grain(image: Array) -> float:
    """The standard deviation of a picture's noise.

    Reference:
        Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding
        64(2), 1996; with the median in place of the mean, which ink would raise.
    """
    step = max(1, int((image.size / 300_000) ** 0.5))  # rows are enough for a median
    rows = np.concatenate([image[at : at + 3] for at in range(0, image.shape[0] - 2, 3 * step)])
    second = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    blocks = second[: len(second) // 3 * 3].reshape(-1, 3, second.shape[1])
    mixed = blocks[:, 0] - 2 * blocks[:, 1] + blocks[:, 2]
    return float(np.median(np.abs(mixed)) / 0.6745 / 6) if mixed.size else 0.0


def weighted_median(values: Array, weights: Array) -> float:
    """The value below which half of the weight lies."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _digit_like(pieces: Pieces, shape: Any) -> Array:
    """Which pieces have a digit's size and stroke and lie on ground that they don't fill.

    The ground between digits, in the wrong polarity, has a digit's size too, but fills most of
    its surroundings.
    """
    heights, widths, boxes = pieces.heights, pieces.widths, pieces.boxes
    inside = (boxes[:, :2] > 0).all(1) & (boxes[:, 2] < shape[1]) & (boxes[:, 3] < shape[0])
    sized = (heights >= LOWEST) & (heights <= HIGHEST) & (widths <= 2.1 * heights)
    # A small blob is dust; a larger one may be a thick 1.
    thickest = np.interp(heights, [LOWEST, 20], [0.33, 0.45])
    stroked = (pieces.thickness <= thickest * heights) & (pieces.thickness >= 1.2)
    return inside & sized & stroked & (_crowding(pieces, shape) <= MOST_CROWDED)


def _edged(pieces: Pieces, smooth: Array, gain: Array) -> Array:
    """`(n,)` how much of each piece's rim lies at an edge of the picture, 0 to 1.

    Ground that is taken for ink ends, on some sides, where nothing is: where the span does.
    """
    count = len(pieces.areas)
    rim = (pieces.labels > 0) & ~ndimage.binary_erosion(pieces.labels > 0, border_value=1)
    owners = pieces.labels[rim]
    spread = ndimage.maximum_filter(smooth, 5)[rim] - ndimage.minimum_filter(smooth, 5)[rim]
    edge = np.minimum(spread * gain[rim] / (0.7 * pieces.levels[owners - 1]), 1.0)
    sums = np.bincount(owners, edge, minlength=count + 1)[1:]
    shares: Array = sums / np.maximum(np.bincount(owners, minlength=count + 1)[1:], 1)
    return shares


def _repeated(pieces: Pieces, likely: Array, smooth: Array, gain: Array) -> Array:
    """For each likely piece the share of its surroundings that is as dark as it, but no ink.

    Ground between strokes goes on beyond them; ink doesn't.
    """
    rows, columns = pieces.labels.shape
    shares = []
    for index in np.flatnonzero(likely):
        x0, y0, x1, y1 = pieces.boxes[index]
        margin = (y1 - y0) // 2
        step = max(1, (y1 - y0) // 24)
        window = np.s_[
            max(y0 - margin, 0) : min(y1 + margin, rows) : step,
            max(x0 - margin, 0) : min(x1 + margin, columns) : step,
        ]
        labels, values = pieces.labels[window], smooth[window]
        own = values[labels == index + 1]
        if len(own) == 0:
            shares.append(0.0)
            continue
        level = pieces.levels[index] / float(np.median(gain[window]))
        dark = (labels == 0) & (values < np.median(own) + 0.3 * level)
        shares.append(float(dark.mean()))
    return np.array(shares)


def _crowding(pieces: Pieces, shape: Any) -> Array:
    """`(n,)` the share of ink in each piece's box widened by half of its height."""
    total = np.pad(np.cumsum(np.cumsum(pieces.labels > 0, 0), 1), ((1, 0), (1, 0)))
    margin = (pieces.heights // 2)[:, None] * [-1, -1, 1, 1]
    left, top, right, bottom = np.clip(
        pieces.boxes + margin, 0, [shape[1], shape[0], shape[1], shape[0]]
    ).T
    ink = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    crowding: Array = ink / np.maximum((right - left) * (bottom - top), 1)
    return crowding


def _levels(labels: Array, strength: Array, count: int) -> Array:
    """Of each label 1 to `count` the strength that a tenth of its pixels exceed."""
    where = np.flatnonzero(labels)
    owners, values = labels.ravel()[where], strength.ravel()[where]
    order = np.lexsort((values, owners))
    sizes = np.bincount(owners, minlength=count + 1)[1:]
    ends = np.cumsum(sizes)
    at = np.maximum(ends - 1 - sizes // 10, 0)
    return values[order][at] if len(where) else np.zeros(0, np.float32)


def _closed(image: Array) -> Array:
    padded = np.pad(image, SPAN, mode="edge")
    closed = ndimage.minimum_filter(ndimage.maximum_filter(padded, SPAN), SPAN)
    inner: Array = closed[SPAN:-SPAN, SPAN:-SPAN]
    return inner


def _reduced(image: Array, level: int) -> Array:
    """Means of blocks of `2**level` pixels a side; the last row and column may be of fewer."""
    factor = 2**level
    if factor == 1:
        return image
    padding = [(0, -side % factor) for side in image.shape]
    padded = np.pad(image, padding, mode="edge")
    rows, columns = padded.shape[0] // factor, padded.shape[1] // factor
    means: Array = padded.reshape(rows, factor, columns, factor).mean((1, 3), dtype=np.float32)
    return means


def _is_coloured(image: Array) -> bool:
    # Of means, for the noise of three channels is a colour too.
    level = max(2, int(np.log2(max(image.shape[:2]) / 400 + 1)) + 1)
    means = np.stack([_reduced(image[..., index], level) for index in range(3)])
    return bool(np.percentile(np.ptp(means, axis=0), 99) > 25)
