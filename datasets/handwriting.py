"""Finds handwritten digits on a picture and prepares each as MNIST's are."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from fieldsight.datasets._grouping import cut_in_two, joined, lines_of
from fieldsight.datasets._ink import (
    LEAST_CONTRAST,
    NOISES,
    Ink,
    Pieces,
    find_ink,
    found_pieces,
    measured,
    weighted_median,
)
from fieldsight.datasets.pictures import luminance
from fieldsight.datasets.sample import Array

SIDE = 28  # of the prepared picture
BOX = 20  # the ink is scaled into a square of this side
CENTRE = 14.5  # of mass, from the picture's edge: the middle of pixel 14, measured on MNIST
SMALLEST_PICTURE = 4  # pixels a side
SINGLE = 40  # pixels a side: a picture this small shows one digit
LARGEST_PIXELS = 6_500_000  # a larger picture is reduced first
TIGHT = 400  # pixels a side: a picture this small, on which nothing is found, may be one digit
FEW, LARGE = 3, 0.45  # so few digits, one of them so much of the height: perhaps it is one alone
THINNEST = 1.8  # strokes are thickened to this, in pixels of the 20x20 box
FAINTEST = 0.35  # of the page's usual strength; fainter pieces show through, or are ruled
SMALLEST, LARGEST = 0.4, 2.6  # sizes of a digit, as parts of the usual height


@dataclass(frozen=True, eq=False)
class Found:
    """A digit on a picture.

    Args:
        box: `(4,)` float32 `xyxy` in pixels of the picture, right and bottom exclusive.
        line: the line it is written on, from 0 at the top.
        image: `(28, 28)` uint8, ink 255 on black 0, scaled into 20x20 with its aspect kept,
            the centre of mass at the centre.
    """

    box: Array
    line: int
    image: Array


def find_digits(image: Array) -> list[Found]:
    """The digits on a scan, a photo or a picture of one digit, in reading order.

    Dark ink on light paper or light on dark, of any colour and size, under uneven light, tilted
    by up to 10 degrees. The strokes of one digit may be broken; digits that touch are parted
    where one stroke joins them. Dust, page edges and rules are left out; on an empty page
    nothing is found.

    Args:
        image: `(h, w)` or `(h, w, 3)` uint8, upright.

    Raises:
        ValueError: if it isn't such a picture.
    """
    found = _found_on(image)
    tallest = max((one.box[3] - one.box[1] for one in found), default=0.0)
    fills_it = tallest >= LARGE * image.shape[0] if found else max(image.shape[:2]) <= TIGHT
    if len(found) <= FEW and fills_it:
        with_paper = _found_on_paper(image)
        if len(with_paper) == 1:
            return with_paper
    return found


def _found_on(image: Array) -> list[Found]:
    written = _written(image)
    if written is None:
        return []
    lines, order = lines_of(written.pieces.boxes, written.ink.height)
    return [_found(written, index, int(lines[index])) for index in order.tolist()]


def _found_on_paper(image: Array) -> list[Found]:
    """The one digit that fills a picture, once the picture lies on paper of its border's shade.

    Where no paper is around a digit, what it encloses looks as much like ink. Nothing is
    answered unless there is one, and it is as large as that.
    """
    height, width = image.shape[:2]
    if height * width > LARGEST_PIXELS:
        return []
    edges = [image[0], image[-1], image[:, 0], image[:, -1]]
    border = np.concatenate(edges)
    shade = np.median(border, axis=0).astype(np.uint8)
    alike = np.abs(border.astype(np.int16) - shade).reshape(len(border), -1).max(axis=1) <= 12
    if alike.mean() < 0.5:  # uneven light, or a border that isn't paper
        return []
    margin = max(height, width) // 2
    paper = np.empty((height + 2 * margin, width + 2 * margin, *image.shape[2:]), np.uint8)
    paper[:] = shade
    paper[margin : margin + height, margin : margin + width] = image
    found = _found_on(paper)
    if len(found) != 1 or found[0].box[3] - found[0].box[1] < LARGE * height:
        return []
    box = np.clip(found[0].box - margin, 0, [width, height] * 2).astype(np.float32)
    return [replace(found[0], box=box)]


def find_one(image: Array) -> Found | None:
    """The one digit that a picture is known to show: all of its ink, in however many pieces.

    Args:
        image: as `find_digits`.

    Returns:
        None if there is no ink on it.

    Raises:
        ValueError: as `find_digits`.
    """
    written = _written(image)
    if written is None:
        return None
    pieces = written.pieces
    if max(image.shape[:2]) > SINGLE:  # with what is no digit of its own, such as a far bar
        pieces = _kept(written.ink.pieces, written.ink, _substantial(written.ink))
    if len(pieces.areas) == 0:
        return None
    whole = measured((pieces.labels > 0).astype(np.int32), written.ink.strength)
    return _found(replace(written, pieces=whole), 0, 0)


@dataclass(frozen=True, eq=False)
class _Written:
    ink: Ink
    pieces: Pieces  # each a digit
    reduction: float  # pixels of the picture along a side of one that the ink was looked for in
    margin: int  # pixels that were added around that one
    shape: tuple[int, ...]


def _written(image: Array) -> _Written | None:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ValueError(
            "a picture (h, w) or (h, w, 3) of uint8 is needed. Received: "
            f"{image.shape} {image.dtype}."
        )
    if min(image.shape[:2]) < SMALLEST_PICTURE:
        return None
    if max(image.shape[:2]) <= SINGLE:
        ink = _only_one(luminance(image))
        return None if ink is None else _Written(ink, ink.pieces, 1.0, 0, image.shape)
    small, reduction = _bounded(image)
    ink, margin = find_ink(small), 0
    widened = _widened(small)
    if widened is not None:
        other = find_ink(widened)
        if other is not None and (ink is None or other.evidence > ink.evidence):
            ink, margin = other, (widened.shape[0] - small.shape[0]) // 2
    return None if ink is None else _Written(ink, _digits(ink), reduction, margin, image.shape)


def _widened(image: Array) -> Array | None:
    """A picture cut so close that its ink touches all sides, with ground around it."""
    grey = luminance(image)
    step = max(1, max(grey.shape) // 400)
    grey = grey[::step, ::step]
    if np.ptp(grey) < 4 * LEAST_CONTRAST:
        return None
    threshold = float(threshold_otsu(grey))
    dark = grey <= threshold
    share = float(dark.mean())
    parted = share * (1 - share) * (grey[dark].mean() - grey[~dark].mean()) ** 2
    ink = dark if share < 0.5 else ~dark
    depth = 1 + min(grey.shape) // 60
    sides = [
        ink[:depth].any(0), ink[-depth:].any(0), ink[:, :depth].any(1), ink[:, -depth:].any(1)
    ]  # fmt: skip
    covered = [float(side.mean()) for side in sides]
    # A table beside the paper fills a side; strokes that end there don't.
    is_close = min(covered) > 0 and max(covered) < 0.9 and np.mean(covered) < 0.5
    if not is_close or parted < 0.7 * grey.var():
        return None
    ground = np.median(image[::step, ::step][~ink], axis=0)
    margin = max(image.shape[:2]) // 3 + 8
    widths = [(margin, margin)] * 2 + [(0, 0)] * (image.ndim - 2)
    inside = np.pad(np.ones(image.shape[:2], dtype=bool), margin)
    result = np.pad(image, widths)
    result[~inside] = ground.astype(np.uint8)
    return result


def _found(written: _Written, index: int, line: int) -> Found:
    limits = np.array([written.shape[1], written.shape[0]] * 2)
    box = written.pieces.boxes[index] * written.ink.scale - written.margin
    box = box * written.reduction
    picture = _prepared(written.ink, written.pieces, index)
    return Found(np.clip(box, 0, limits).astype(np.float32), line, picture)


def _only_one(grey: Array) -> Ink | None:
    """The digit of a picture as small as MNIST's: all that differs from the picture's border."""
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    strength = grey - float(np.median(border))
    light = (np.clip(strength, 0, None) ** 2).sum() >= (np.clip(strength, None, 0) ** 2).sum()
    strength = np.clip(strength if light else -strength, 0, None)
    noise = 1.4826 * float(np.median(np.abs(border - np.median(border))))
    full = float(np.percentile(strength, 98))
    gate = max(LEAST_CONTRAST, NOISES * noise)
    if full <= max(2 * LEAST_CONTRAST, gate):
        return None
    pieces = found_pieces(ndimage.gaussian_filter(strength, 0.5), gate)
    large = pieces.areas >= 4
    if not large.any():
        return None
    numbers = np.concatenate([[0], large.astype(np.int64)])
    whole = measured(numbers[pieces.labels], strength)
    return Ink(strength, strength, noise, 1.0, bool(light), whole, float(_sizes(whole)[0]), 1.0)


def _bounded(image: Array) -> tuple[Array, float]:
    pixels = image.shape[0] * image.shape[1]
    if pixels <= LARGEST_PIXELS:
        return image, 1.0
    reduction = (pixels / LARGEST_PIXELS) ** 0.5
    size = (round(image.shape[1] / reduction), round(image.shape[0] / reduction))
    small = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(small), reduction


def _digits(ink: Ink) -> Pieces:
    """The pieces of ink joined, split and sifted until each is a digit."""
    pieces = _kept(ink.pieces, ink, _substantial(ink))
    owners = joined(pieces, ink.height)
    numbers = np.concatenate([[0], owners + 1])
    pieces = measured(numbers[pieces.labels], ink.strength)
    pieces = _split(pieces, ink)
    return _kept(pieces, ink, _plausible(pieces, ink))


def _substantial(ink: Ink) -> Array:
    """Which pieces are neither specks nor faint nor much larger than a digit."""
    sizes = _sizes(ink.pieces)
    specks = (ink.pieces.areas < (0.08 * ink.height) ** 2) | (sizes < 0.12 * ink.height)
    strong = ink.pieces.levels >= FAINTEST * _usual_level(ink.pieces, ink.height)
    substantial: Array = ~specks & strong & (sizes < 6 * ink.height)
    return substantial


def _split(pieces: Pieces, ink: Ink) -> Pieces:
    labels = pieces.labels.copy()
    waiting = list(range(1, len(pieces.areas) + 1))
    boxes = {number: pieces.boxes[number - 1] for number in waiting}
    thickness = {number: float(pieces.thickness[number - 1]) for number in waiting}
    last = len(waiting)
    while waiting:
        number = waiting.pop()
        x0, y0, x1, y1 = boxes[number]
        part = labels[y0:y1, x0:x1]
        mask = part == number
        right = cut_in_two(ink.strength[y0:y1, x0:x1], mask, thickness[number], ink.height)
        if right is None:
            continue
        last += 1
        part[mask & right] = last
        thickness[last] = thickness[number]
        for each in (number, last):
            rows, columns = np.nonzero(part == each)
            ends = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            boxes[each] = np.add(ends, (x0, y0, x0, y0))
            waiting.append(each)
    return measured(labels, ink.strength) if last > len(pieces.areas) else pieces


def _plausible(pieces: Pieces, ink: Ink) -> Array:
    """Which pieces have a digit's size, shape and strength beside the others."""
    sizes, heights, widths = _sizes(pieces), pieces.heights, pieces.widths
    sized = (sizes >= SMALLEST * ink.height) & (sizes <= LARGEST * ink.height)
    sized &= (heights >= 0.26 * ink.height) & (widths <= 2.2 * heights)
    sized &= pieces.thickness <= 0.45 * sizes
    if not sized.any():
        return sized
    usual = weighted_median(pieces.thickness[sized], pieces.areas[sized])
    stroked = (pieces.thickness >= 0.35 * usual) & (pieces.thickness <= 3.5 * usual)
    strong = pieces.levels >= FAINTEST * weighted_median(pieces.levels[sized], pieces.areas[sized])
    boxes, (rows, columns) = pieces.boxes, pieces.labels.shape
    cut_off = (boxes[:, :2] <= 0).any(1) | (boxes[:, 2] >= columns) | (boxes[:, 3] >= rows)
    # What the picture's edge cuts is the paper's edge or a part of something, if others aren't.
    usual_size = (sizes >= 0.75 * ink.height) & (sizes <= 1.35 * ink.height)
    return sized & stroked & strong & (~cut_off | usual_size)


def _prepared(ink: Ink, pieces: Pieces, index: int) -> Array:
    """One digit's grey ink as a picture of MNIST's kind."""
    x0, y0, x1, y1 = pieces.boxes[index]
    rows, columns = pieces.labels.shape
    top, left = max(y0 - 3, 0), max(x0 - 3, 0)
    window = np.s_[top : min(y1 + 3, rows), left : min(x1 + 3, columns)]
    own = pieces.labels[window] == index + 1
    others = (pieces.labels[window] > 0) & ~own
    near = ndimage.binary_dilation(own, iterations=2) & ~others
    size = float(_sizes(pieces)[index])
    # Large strokes get sharp edges that reducing softens again; small ones keep their greys.
    coarse = float(np.clip((size / BOX - 1) / 2, 0, 1))
    sharp = ink.sharp if coarse < 0.5 else ink.strength
    full = max(float(np.percentile(sharp[window][own], 85)), 1.0)
    low = (1 - coarse) * min(0.3, 3 * ink.noise / full) + coarse * 0.28
    high = (1 - coarse) * 0.98 + coarse * 0.72
    alpha = np.clip((sharp[window] / full - low) / (high - low), 0, 1) * near
    alpha = _thickened(alpha.astype(np.float32), float(pieces.thickness[index]) * BOX / size)
    return centred(_cropped(alpha, 0.08 + 0.35 * coarse))


def _cropped(alpha: Array, threshold: float) -> Array:
    rows = np.flatnonzero((alpha > threshold).any(1))
    columns = np.flatnonzero((alpha > threshold).any(0))
    if len(rows) == 0:
        return alpha
    return alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _thickened(alpha: Array, thickness: float) -> Array:
    """Strokes no thinner than a pen's in MNIST; `thickness` in pixels of the 20x20 box."""
    pixel = BOX / max(alpha.shape)
    missing = (THINNEST - thickness) / (2 * pixel)  # rings of pixels around the stroke
    while missing > 0.05:
        share = min(missing, 1.0)
        wider = ndimage.grey_dilation(np.pad(alpha, 1), footprint=_CROSS)
        alpha = (1 - share) * np.pad(alpha, 1) + share * wider
        missing -= share
    return alpha


_CROSS = ndimage.generate_binary_structure(2, 1)


def centred(alpha: Array) -> Array:
    """Ink cropped to its bounds, as a `(28, 28)` uint8 picture of MNIST's kind.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition, Proceedings of
        the IEEE 86(11), 1998, section III: the size is normalised to 20x20 with the aspect
        kept, and the centre of mass put at the centre of 28x28.

    Args:
        alpha: `(h, w)` float32, 0 without ink to 1.
    """
    rows, columns = alpha.shape
    longest = max(rows, columns)
    if longest not in (BOX - 1, BOX):  # as it is, when it has MNIST's size already
        size = tuple(max(1, round(side * BOX / longest)) for side in (columns, rows))
        resized = Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
        alpha = np.clip(np.asarray(resized), 0, 1)
    total = float(alpha.sum()) or 1.0
    result = np.zeros((SIDE, SIDE), dtype=np.uint8)
    corner = []
    for axis, side in enumerate(alpha.shape):
        mass = float(alpha.sum(1 - axis) @ (np.arange(side) + 0.5)) / total
        corner.append(int(np.clip(round(CENTRE - mass), 0, SIDE - side)))
    top, left = corner
    values = np.rint(alpha * 255).astype(np.uint8)
    result[top : top + alpha.shape[0], left : left + alpha.shape[1]] = values
    return result


def _usual_level(pieces: Pieces, height: float) -> float:
    sized = (_sizes(pieces) >= 0.6 * height) & (_sizes(pieces) <= 1.7 * height)
    return weighted_median(pieces.levels[sized], pieces.areas[sized]) if sized.any() else 0.0


def _kept(pieces: Pieces, ink: Ink, keep: Array) -> Pieces:
    if keep.all():
        return pieces
    allowed = np.concatenate([[False], keep])
    return measured(np.where(allowed[pieces.labels], pieces.labels, 0), ink.strength)


def _sizes(pieces: Pieces) -> Array:
    return np.maximum(pieces.heights, pieces.widths)
