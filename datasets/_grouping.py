"""From pieces of ink to digits: broken ones joined, touching ones split, all put in lines."""

import numpy as np
from scipy.spatial import KDTree

from fieldsight.datasets._ink import Pieces
from fieldsight.datasets.sample import Array

FRAGMENT = 0.62  # lower than this part of a digit's height, a piece may be a part of one
STEEPEST = 0.27  # rise of a line of writing over its run: 15 degrees
WIDEST = 1.15  # wider than this part of a digit's height, a piece may be two that touch


def joined(pieces: Pieces, height: float) -> Array:
    """For each piece the number of the digit it belongs to: a broken digit's share one number.

    A piece joins the nearest that makes a plausible digit with it: from above or below across
    a wider gap (the bar of a 5), from the side only where it nearly touches.

    Args:
        pieces: what is connected.
        height: the usual height of a digit.

    Returns:
        `(n,)` indices of pieces.
    """
    owners = np.arange(len(pieces.areas))
    boxes = pieces.boxes.astype(float)
    for gap, one, other in _near_pairs(pieces, 0.32 * height):
        a, b = _root(owners, one), _root(owners, other)
        if a == b:
            continue
        small, large = sorted((a, b), key=lambda index: _extent(boxes[index]))
        if _may_join(boxes[small], boxes[large], gap, height):
            owners[small] = large
            boxes[large] = _union(boxes[small], boxes[large])
    return np.array([_root(owners, index) for index in range(len(owners))], dtype=np.int64)


def _near_pairs(pieces: Pieces, reach: float) -> list[tuple[float, int, int]]:
    """Pairs of pieces at most `reach` apart: the distance between their ink, and both indices."""
    low = np.maximum(pieces.boxes[:, None, :2], pieces.boxes[None, :, :2])
    high = np.minimum(pieces.boxes[:, None, 2:], pieces.boxes[None, :, 2:])
    apart = (low - high).max(-1)
    pairs = np.argwhere(np.triu(apart <= reach, 1))
    trees: dict[int, KDTree] = {}

    def points(index: int) -> Array:
        x0, y0, x1, y1 = pieces.boxes[index]
        rows, columns = np.nonzero(pieces.labels[y0:y1, x0:x1] == index + 1)
        return np.stack([rows + y0, columns + x0], 1)

    found = []
    for one, other in pairs.tolist():
        if one not in trees:
            trees[one] = KDTree(points(one))
        distances, _ = trees[one].query(points(other), distance_upper_bound=reach + 1)
        gap = float(np.min(distances)) - 1
        if gap <= reach:
            found.append((gap, one, other))
    return sorted(found)


def _may_join(small: Array, large: Array, gap: float, height: float) -> bool:
    union = _union(small, large)
    tall, wide = union[3] - union[1], union[2] - union[0]
    lower = small[3] - small[1]
    if tall > 1.4 * max(height, large[3] - large[1]):
        return False
    is_bar = lower < 0.42 * height and small[2] - small[0] > 1.3 * lower
    at_top = (small[1] + small[3]) / 2 < large[1] + 0.4 * (large[3] - large[1])
    if is_bar and at_top and gap <= 0.15 * height:  # of a 5, which may reach far
        return wide <= 1.6 * max(height, large[2] - large[0])
    if wide > 1.15 * max(height, large[2] - large[0]):
        return False
    shared = min(small[2], large[2]) - max(small[0], large[0])
    is_above = shared >= 0.4 * min(small[2] - small[0], large[2] - large[0])
    if lower < FRAGMENT * height:
        # From the side: a serif or the end of a bar, else it is a neighbour that is small.
        beside = 0.16 if lower < 0.4 * height else 0.08
        return gap <= (0.3 if is_above else beside) * height
    if is_above:
        return gap <= 0.12 * height and tall <= 1.2 * height
    # The loop of a 6 beside its stem.
    return lower < 0.74 * height and gap <= 0.05 * height and wide <= 0.95 * height


def cut_in_two(ink: Array, mask: Array, thickness: float, height: float) -> Array | None:
    """Where to part two digits that touch side by side, if it can be done safely.

    A path from the top to the bottom that crosses little ink is looked for; it may cross one
    stroke, and both sides must have a digit's height.

    Args:
        ink: `(h, w)` strength of the piece's box.
        mask: `(h, w)` its pixels.
        thickness: of its strokes in pixels.
        height: the usual height of a digit.

    Returns:
        `(h, w)` True on the right of the path, or None.
    """
    rows, columns = mask.shape
    if columns < WIDEST * height or columns < 1.08 * rows:
        return None
    x = np.arange(columns)
    parts = max(2, round(columns / (0.85 * height)))
    # A slight pull to where a digit's end is expected, and to straight paths.
    expected = columns / parts
    pull = np.abs((x + expected / 2) % expected - expected / 2) / expected
    cost = np.where(mask, 1.0 + ink / max(float(ink.max()), 1e-6), 0.0) + 0.02 * pull
    edge = int(0.2 * height)
    cost[:, :edge] = cost[:, columns - edge :] = 1e3
    total, steps = cost[0].copy(), np.zeros(mask.shape, dtype=np.int8)
    for row in range(1, rows):
        ways = np.stack([np.r_[np.inf, total[:-1]] + 0.05, total, np.r_[total[1:], np.inf] + 0.05])
        steps[row] = ways.argmin(0) - 1
        total = ways.min(0) + cost[row]
    path = np.empty(rows, dtype=np.int64)
    path[-1] = int(total.argmin())
    for row in range(rows - 1, 0, -1):
        path[row - 1] = path[row] + steps[row, path[row]]
    crossed = np.flatnonzero(mask[np.arange(rows), path])
    right = x[None, :] >= path[:, None]
    sides = (mask & ~right, mask & right)
    # One stroke only: a way through a 0 crosses two.
    if len(crossed) > 1.8 * thickness + 1 or np.any(np.diff(crossed) > 1):
        return None
    for side in sides:
        if side.sum() < 0.15 * mask.sum():
            return None
        used = np.flatnonzero(side.any(1))
        if used[-1] - used[0] + 1 < 0.7 * min(height, rows):
            return None
    return right


def lines_of(boxes: Array, height: float) -> tuple[Array, Array]:
    """The line of writing of each box, and the order in which all are read.

    Args:
        boxes: `(n, 4)` `xyxy`.
        height: the usual height of a digit.

    Returns:
        `(n,)` lines from 0 at the top, and `(n,)` indices in reading order.
    """
    count = len(boxes)
    if count == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    slope = _slope(centres, height)
    along = centres[:, 0] + slope * centres[:, 1]
    down = centres[:, 1] - slope * centres[:, 0]
    tall = np.maximum(boxes[:, 3] - boxes[:, 1], 0.8 * height)
    members: list[list[int]] = []
    for index in np.argsort(along, kind="stable").tolist():
        # Recent neighbours say where the line is: in perspective it isn't parallel to others.
        levels = np.array([np.mean(down[line[-2:]]) for line in members])
        distances = np.abs(levels - down[index])
        best = int(distances.argmin()) if len(members) else -1
        if best >= 0 and distances[best] <= 0.3 * (tall[index] + np.mean(tall[members[best]])):
            members[best].append(index)
        else:
            members.append([index])
    members.sort(key=lambda line: float(np.mean(down[line])))
    lines = np.empty(count, dtype=np.int64)
    for number, line in enumerate(members):
        lines[line] = number
    return lines, np.concatenate([np.array(line) for line in members])


def _slope(centres: Array, height: float) -> float:
    """The rise of the lines of writing over their run, from near neighbours side by side."""
    offsets = centres[None] - centres[:, None]
    run, rise = offsets[..., 0], offsets[..., 1]
    near = (run > 0.4 * height) & (run < 7 * height)
    near &= np.abs(rise) < np.minimum(STEEPEST * run + 0.2 * height, 0.75 * height)
    if not near.any():
        return 0.0
    slopes, weights = (rise[near] / run[near]), run[near]
    candidates = np.linspace(-STEEPEST, STEEPEST, 109)
    # The slope for which most pairs lie on one line; a wide kernel, for hands are unsteady.
    miss = (slopes[None] - candidates[:, None]) * weights / height
    return float(candidates[np.exp(-((miss / 0.15) ** 2)).sum(1).argmax()])


def _root(owners: Array, index: int) -> int:
    while owners[index] != index:
        index = int(owners[index])
    return index


def _extent(box: Array) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _union(one: Array, other: Array) -> Array:
    return np.concatenate([np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])])
