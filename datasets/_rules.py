"""Rules of ruled and squared paper, printed as strongly as the ink, and frames of tables."""

import numpy as np
from scipy import ndimage

from fieldsight.datasets.sample import Array

STEEPEST = 0.2  # rise of a rule over its run
BLOCK = 128  # pixels along which a rule is straight whatever the lens and the paper
SHARE = 0.85  # of its length that a rule's ink covers
THICKEST = 9  # pixels; what is wider is no rule


def rules(mask: Array, longest: int) -> Array:
    """Which ink belongs to straight lines longer than any stroke, level or upright.

    Where a stroke crosses a rule its ink stays.

    Args:
        mask: `(h, w)` bool, where ink is.
        longest: a stroke is never longer than this many pixels.
    """
    across = _level_rules(mask, longest)
    upright = _level_rules(np.ascontiguousarray(mask.T), longest).T
    found = across | upright
    if not found.any():
        return found
    thickness = 2 * float(ndimage.distance_transform_edt(found).max())
    rest, count = ndimage.label(mask & ~found, np.ones((3, 3), dtype=bool))
    # What is left of a rule's rough edge is no stroke.
    extents = [max(y.stop - y.start, x.stop - x.start) for y, x in ndimage.find_objects(rest)]
    stroke = np.concatenate([[False], np.array(extents[:count]) > 2 * thickness + 3])[rest]
    bridge = np.ones((int(thickness) + 4,) * 2, dtype=bool)
    padded = np.pad(stroke, len(bridge))
    inner = np.s_[len(bridge) : -len(bridge)]
    bridged = ndimage.binary_closing(padded, bridge)[inner, inner]
    removed: Array = mask & ~stroke & ~bridged
    near = ndimage.binary_dilation(found, iterations=int(thickness) + 3)
    return removed & near


def _level_rules(mask: Array, longest: int) -> Array:
    height, width = mask.shape
    run = int(max(longest, min(0.25 * width, 2 * longest)))
    if width < 1.3 * run:
        return np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    slope = _slope(rows, columns, height)
    shift = np.rint(slope * np.arange(width)).astype(np.int64)
    shift -= shift.min()
    # Shear, so that rules lie along rows; a row's width of tolerance for their curvature.
    sheared = np.zeros((height + int(shift.max()), width), dtype=bool)
    across = np.arange(width)[None, :]
    placed = np.arange(height)[:, None] + (shift.max() - shift)[None, :]
    sheared[placed, across] = mask
    wide = ndimage.maximum_filter1d(sheared.view(np.uint8), 3, axis=0).astype(np.float32)
    covered = ndimage.uniform_filter1d(wide, run, axis=1, mode="constant")
    core = (covered >= SHARE).view(np.uint8)
    lines = ndimage.maximum_filter1d(core, run, axis=1).astype(bool) & sheared
    # A row of thick writing is as dense as a rule, but not as thin.
    thick = ndimage.binary_opening(core, np.ones((THICKEST + 2, 1), dtype=bool))
    lines &= ~ndimage.maximum_filter1d(thick.view(np.uint8), run, axis=1).astype(bool)
    result: Array = lines[placed, across]
    return result


def _slope(rows: Array, columns: Array, height: int) -> float:
    """The slope along which ink gathers on the fewest rows."""
    candidates = np.linspace(-STEEPEST, STEEPEST, 81)
    blocks = columns // BLOCK
    offsets = columns % BLOCK - BLOCK / 2
    margin = int(BLOCK * STEEPEST)
    scores = []
    for slope in candidates:
        level = np.rint(rows - slope * offsets).astype(np.int64) + margin
        sums = np.bincount(blocks * (height + 2 * margin) + level).astype(float)
        scores.append((sums**4).sum())
    return float(candidates[int(np.argmax(scores))])
