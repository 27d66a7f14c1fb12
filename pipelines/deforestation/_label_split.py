"""Which of a scene's labelled pixels are learned from, chosen by and scored: by blocks (D-7)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.datasets.labels import Labels
from fieldsight.datasets.splits import by_group
from fieldsight.pipelines._errors import CommandError

Array = NDArray[Any]

FRACTIONS = (0.6, 0.2, 0.2)
TRAIN, VAL, TEST, LEFT_OUT = 0, 1, 2, -1
LADDER = (4, 5, 6, 8, 10, 12, 16, 24, 32)  # blocks along the longer side, the largest blocks first
FEWEST = 3  # polygons or points of a class, one a side
GAP = 2  # pixels between labels of two sides, at least
ENOUGH = 12  # blocks with labels: fewer make an interval of little worth


@dataclasses.dataclass(frozen=True)
class LabelSplit:
    """The side of each label.

    Attributes:
        sides: `(n,)` int8: TRAIN, VAL, TEST or LEFT_OUT.
        groups: `(n,)` int64 the block, or the polygon, that each label belongs to: what is
            drawn as a whole for intervals.
        how: in words.
        optimistic: why the score is better than elsewhere in the scene it would be; empty if
            it isn't.
        independent: whether groups of the test are of no group that was learned from, so that
            an interval over them means something (C-9).
    """

    sides: Array
    groups: Array
    how: str
    optimistic: str = ""
    independent: bool = True


def by_blocks(labels: Labels, seed: int = 0) -> LabelSplit:
    """Split by spatial blocks, so that neighbours aren't told apart (D-7).

    A polygon is never cut: it goes where the block of its middle goes. The largest blocks by
    which every class comes on every side are taken. Labels nearer than a gap to another side's
    are left out, of training first.

    Where a class has fewer than three polygons or points, blocks can't hold them apart: then all
    classes are split inside their polygons, with a gap, which is said to be optimistic.

    Raises:
        CommandError: if a class has too few labels even for that.
    """
    if not labels.is_raster and (rare := _rare(labels)):
        return _inside(labels, rare)
    for count in LADDER:
        if (found := _blocks(labels, count, seed)) is not None:
            return found
    if labels.is_raster:
        return _inside(labels, "a class lies in one corner alone")
    return _by_feature(labels, seed)


def at_random(labels: Labels, seed: int = 0) -> LabelSplit:
    """Each pixel on a side by chance: what shows how much a split by blocks keeps from leaking."""
    rng = np.random.default_rng(seed)
    sides = np.full(len(labels.values), TRAIN, np.int8)
    for value in np.unique(labels.values).tolist():
        these = rng.permutation(np.flatnonzero(labels.values == value))
        for side, part in zip((TEST, VAL), _cut(these), strict=True):
            sides[part] = side
    return LabelSplit(
        sides, np.arange(len(sides)), "pixels by chance", "neighbours of what was learned from",
        independent=False,
    )  # fmt: skip


def _cut(these: Array) -> tuple[Array, Array]:
    """The last fifth for the test, the fifth before it for validation; one each at least."""
    held = max(1, round(FRACTIONS[2] * len(these)))
    return these[-held:], these[-2 * held : -held]


def _rare(labels: Labels) -> str:
    """The classes of too few polygons or points, in words; empty if there is none."""
    rare = []
    for value, name in enumerate(labels.classes[1:], 1):
        count = len(np.unique(labels.features[labels.values == value]))
        if 0 < count < FEWEST:
            rare.append(f"{name} has {count}")
    return ", ".join(rare) and f"of {FEWEST} polygons a class that blocks need, {', '.join(rare)}"


def _blocks(labels: Labels, count: int, seed: int) -> LabelSplit | None:
    """A split by so many blocks along the longer side; None if a class lacks on a side."""
    middles = _middles(labels)
    low = labels.places.min(axis=0)
    extent = labels.places.max(axis=0) - low + 1
    size = max(int(extent.max()) / count, 1.0)
    cells = np.floor((middles - low) / size).astype(np.int64)
    _, groups = np.unique(cells, axis=0, return_inverse=True)
    groups = groups.reshape(-1)
    if groups.max() + 1 < ENOUGH and count != LADDER[-1]:
        return None
    sides = _dealt(labels, groups, seed)
    if sides is None:
        return None
    sides = _apart(labels.places, sides, GAP)
    if not _whole(labels, sides):
        return None
    what = "labels" if labels.is_raster else "polygons"
    return LabelSplit(
        sides, groups, f"{what} by blocks of {size:.0f} pixels, {GAP} pixels apart at least"
    )


def _middles(labels: Labels) -> Array:
    """`(n, 2)` where each label lies to the split: a polygon's pixels at its middle."""
    places = labels.places.astype(np.float64)
    if labels.is_raster:
        return places
    _, numbers = np.unique(labels.features, return_inverse=True)
    counts = np.bincount(numbers)
    sums = np.stack([np.bincount(numbers, places[:, axis]) for axis in (0, 1)], axis=1)
    middles: Array = (sums / counts[:, None])[numbers]
    return middles


def _dealt(labels: Labels, groups: Array, seed: int) -> Array | None:
    """The side of each label, its group's; None where there are too few groups."""
    total = int(groups.max()) + 1
    if total < len(FRACTIONS):
        return None
    contents = np.zeros((total, len(labels.classes)))
    np.add.at(contents, (groups, labels.values), 1)
    split = by_group(np.arange(total), FRACTIONS, seed, labels=contents[:, 1:])
    of_group = np.full(total, LEFT_OUT, np.int8)
    for side, members in enumerate((split.train, split.val, split.test)):
        of_group[members] = side
    return of_group[groups]


def _by_feature(labels: Labels, seed: int) -> LabelSplit:
    """Whole polygons by chance: they lie so that no blocks hold every class on every side."""
    _, groups = np.unique(labels.features, return_inverse=True)
    for gap in (GAP, 0):
        sides = _dealt(labels, groups, seed)
        if sides is not None and _whole(labels, sides := _apart(labels.places, sides, gap)):
            return LabelSplit(
                sides, groups, f"whole polygons or points, {gap} pixels apart at least",
                "neighbouring polygons stand on different sides",
            )  # fmt: skip
    return _inside(labels, "polygons lie too near to each other")


def _inside(labels: Labels, why: str) -> LabelSplit:
    """Each class cut across its longest way, with a gap between the parts."""
    sides = np.full(len(labels.values), LEFT_OUT, np.int8)
    for value, name in enumerate(labels.classes[1:], 1):
        these = np.flatnonzero(labels.values == value)
        if not len(these):
            continue
        cut = _cut_along(labels.places[these])
        if not _has_all(cut) and not labels.is_raster:
            # A point far off a polygon: the polygon is cut, and what else there is learned from.
            cut = np.full(len(these), TRAIN, np.int8)
            largest = labels.features[these] == np.argmax(np.bincount(labels.features[these]))
            cut[largest] = _cut_along(labels.places[these[largest]])
        if not _has_all(cut):
            raise CommandError(
                f"labels: {FEWEST} polygons or points of each class at least were needed, or one "
                f"polygon of {4 * FEWEST} pixels or so. Received: {name} with {len(these)} pixels."
            )
        sides[these] = cut
    # What one class's part is to the others is a gap's matter too.
    _, groups = np.unique(labels.features, return_inverse=True)
    if labels.is_raster:
        groups = labels.values.astype(np.int64)
    return LabelSplit(
        sides, groups, "inside the polygons of each class, with a gap",
        f"{why}: what is scored lies beside what was learned from", independent=False,
    )  # fmt: skip


def _cut_along(places: Array) -> Array:
    """`(n,)` int8 the side of each place, in three parts along their longest way."""
    along = _along(places)
    first, second = np.quantile(along, np.cumsum(FRACTIONS)[:2])
    half = max(1.0, min(GAP, np.ptp(along) / 12)) / 2
    sides = np.full(len(places), LEFT_OUT, np.int8)
    sides[along < first - half] = TRAIN
    sides[(along >= first + half) & (along < second - half)] = VAL
    sides[along >= second + half] = TEST
    return sides


def _has_all(sides: Array) -> bool:
    return all((sides == side).any() for side in (TRAIN, VAL, TEST))


def _along(places: Array) -> Array:
    """`(n,)` how far each place lies along the direction in which they spread most, in pixels."""
    centred = places - places.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    along: Array = centred @ axes[0]
    # Whichever end the decomposition calls the first: always the one of smaller rows.
    return along if axes[0][np.argmax(np.abs(axes[0]))] > 0 else -along


def _apart(places: Array, sides: Array, gap: int) -> Array:
    """Labels nearer than a gap to a later side's are left out, along rows and columns."""
    if not gap:
        return sides
    low = places.min(axis=0)
    shape = places.max(axis=0) - low + 1
    row, column = (places - low).T
    kept = sides.copy()
    for side in (TRAIN, VAL):
        later = np.zeros(shape, np.uint8)
        beyond = sides > side
        later[row[beyond], column[beyond]] = 1
        near = ndimage.maximum_filter(later, 2 * gap + 1, mode="constant")
        kept[(sides == side) & (near[row, column] > 0)] = LEFT_OUT
    return kept


def _whole(labels: Labels, sides: Array) -> bool:
    """Whether every class that is there is on every side."""
    there = np.unique(labels.values)
    return all(
        np.isin(there, np.unique(labels.values[sides == side])).all() for side in (TRAIN, VAL, TEST)
    )
