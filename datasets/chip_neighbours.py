"""Which chips lie side by side, found by their edges, where nothing tells (D-7).

The competition took its chips' places away. Chips were cut from scenes without a gap, so the last
column of one continues in the first of its neighbour: fine texture along both is alike as it is
along no two others. Chips that are joined so, over however many steps, are one block, and a split
by blocks parts no neighbours that were found. Clouds and still water have no texture to be found
by: such chips stay alone, and `found` says how many chips are in a block.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.planet import SIDE, ChipSet
from fieldsight.datasets.sample import Array

Progress = Callable[[int, int], None]

# Unrelated edges of 256 pixels correlate by 0.06 or so, and by 0.3 at the most of 40,000.
ALIKE = 0.5
SMOOTH = 15  # pixels: what is coarser isn't texture
_AT_ONCE = 2048  # edges compared at once


@dataclass(frozen=True, eq=False)
class Blocks:
    """Chips put together with their neighbours.

    Args:
        groups: `(n,)` str: the name of the block's first chip.
        pairs: `(m, 2)` indices of chips of which the second lies right of or below the first.
        found: how many chips have a neighbour.
    """

    groups: Array
    pairs: Array
    found: int


def blocks(chips: ChipSet, progress: Progress | None = None) -> Blocks:
    """The blocks of neighbours among chips; each is read once, and one that can't be stays alone.

    Args:
        chips: of one product, some tens of thousands at most.
        progress: told how many are read, and of how many.
    """
    edges: list[list[Array]] = [[], [], [], []]
    for index in range(len(chips)):
        try:
            chip = chips.read([index])[0]
        except DataError:  # whoever reads it for its pixels says so
            chip = np.zeros((SIDE, SIDE, len(chips.bands)), np.uint8)
        sides = (chip[:, -1], chip[:, 0], chip[-1], chip[0])
        for kept, side in zip(edges, sides, strict=True):
            kept.append(_texture(side))
        if progress is not None and (index % 100 == 99 or index + 1 == len(chips)):
            progress(index + 1, len(chips))
    right, left, bottom, top = (np.stack(kept) if kept else np.zeros((0, 1)) for kept in edges)
    pairs = np.concatenate([_pairs(right, left), _pairs(bottom, top)])
    count = len(chips)
    ones = np.ones(len(pairs), bool)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False) if count else (0, np.zeros(0, int))
    _, firsts = np.unique(labels, return_index=True)
    names = np.array(chips.names, dtype=np.str_)
    return Blocks(names[firsts[labels]] if count else names, pairs, len(np.unique(pairs)))


def with_blocks(chips: ChipSet, progress: Progress | None = None) -> ChipSet:
    """The same chips, whose groups are blocks of neighbours, and a note of what was found."""
    found = blocks(chips, progress)
    note = (
        f"neighbours were found by their edges: {found.found:,} of {len(chips):,} chips lie in "
        f"{len(np.unique(found.groups)) - (len(chips) - found.found):,} blocks, the others alone"
    )
    notes = tuple(each for each in chips.notes if "neighbours isn't known" not in each)
    return replace(chips, groups=found.groups, notes=(*notes, note))


def _texture(edge: Array) -> Array:
    """`(features,)` float32 of length 1: what is fine along an edge of `(pixels, bands)`.

    The mean of the visible bands, and the last band by itself, each of the same weight.
    """
    values = np.asarray(edge, np.float32)
    pair = np.stack([values[:, :3].mean(axis=1), values[:, -1]])
    fine = pair - uniform_filter1d(pair, SMOOTH, axis=1, mode="nearest")
    length = np.linalg.norm(fine, axis=1, keepdims=True)
    # An edge of one value has no texture, and is like none.
    fine = np.divide(fine, length, out=np.zeros_like(fine), where=length > 0) / np.sqrt(2)
    return fine.reshape(-1)


def _pairs(ends: Array, begins: Array) -> Array:
    """`(m, 2)`: ends and begins that are each other's most alike, and alike enough."""
    count = len(ends)
    best = np.zeros(count, np.intp)
    level = np.full(count, -1, np.float32)
    back = np.zeros(count, np.intp)
    back_level = np.full(count, -1, np.float32)
    for start in range(0, count, _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, count))
        alike = ends[rows] @ begins.T
        alike[rows - start, rows] = -1  # a chip isn't its own neighbour
        best[rows] = alike.argmax(axis=1)
        level[rows] = alike.max(axis=1)
        highest = alike.max(axis=0)
        better = highest > back_level
        back[better] = rows[alike.argmax(axis=0)[better]]
        back_level[better] = highest[better]
    every = np.arange(count)
    mutual = (level >= ALIKE) & (back[best] == every) if count else np.zeros(0, bool)
    return np.stack([every[mutual], best[mutual]], axis=1)
