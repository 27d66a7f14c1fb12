"""The chips of a training or an evaluation: read once, checked, each on one side of the split."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets import chip_cover, chip_neighbours, splits
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.planet import SIDE, ChipSet
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._threads import in_threads
from fieldsight.pipelines.deforestation import _chip_cache

Array = NDArray[Any]
Progress = Callable[[int, int], None]

FRACTIONS = (0.7, 0.1, 0.2)  # of a user's chips
NEIGHBOURS = 0.08  # of the chips of training scenes: held back, to show what a random split tells
AT_ONCE = 32  # chips that are read together
IN_MEMORY = 2 * 2**30  # bytes of chips that are held; more of them are read again when needed
SIDES = ("train", "val", "test", "neighbours")


class Pixels:
    """The pixels of some chips, from memory or from their files; indexed as an array is.

    Args:
        chips: the set.
        indices: which of its chips.
        held: `(n, 256, 256, bands)` of the whole set in memory, if it fits there.
    """

    def __init__(self, chips: ChipSet, indices: Array, held: Array | None) -> None:
        self.chips, self.indices, self.held = chips, np.asarray(indices), held

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, chosen: Any) -> Array:
        places = self.indices[chosen]
        if self.held is not None:
            return self.held[places]
        return self.chips.read(places)


@dataclasses.dataclass(frozen=True, eq=False)
class Cohort:
    """Chips that can be read, by side.

    Attributes:
        chips: all of them.
        sides: indices by name: train, val, test, and neighbours: chips of the training scenes
            that aren't learned from; none where scenes aren't known.
        features: `(n, features)` band statistics.
        held: all pixels, if they fit into memory.
        cover: `(n, 32, 32, classes)` uint8, pixels of each class of land cover in each cell of
            each chip, to be learned besides; None where it isn't known.
        name: of the data, as the model is registered by.
        how: they were split, in words.
        split_fingerprint: of the split.
        failures: what couldn't be read, with the reason.
    """

    chips: ChipSet
    sides: Mapping[str, Array]
    features: Array
    held: Array | None
    cover: Array | None
    name: str
    how: str
    split_fingerprint: str
    failures: Mapping[str, str]

    @property
    def simulated(self) -> bool:
        """Whether a computer drew them."""
        return self.chips.simulated

    @property
    def num_classes(self) -> int:
        """Of the land cover; 0 where it isn't known."""
        return 0 if self.cover is None else int(self.cover.shape[-1])

    def pixels(self, side: str) -> Pixels:
        """The chips of a side."""
        return Pixels(self.chips, self.sides[side], self.held)

    def tags(self, side: str) -> Array:
        """`(n, 17)` 0 or 1."""
        return self.chips.tags[self.sides[side]]

    def groups(self, side: str) -> Array:
        """`(n,)` the scene of each chip."""
        return self.chips.groups[self.sides[side]]


def with_bands(chips: ChipSet, bands: Sequence[str] | None) -> ChipSet:
    """The chips with their bands named as the person says (D-1).

    Raises:
        CommandError: if there aren't as many names as bands.
    """
    if bands is None or tuple(bands) == chips.bands:
        return chips
    if len(bands) != len(chips.bands):
        raise CommandError(
            f"--bands: {len(chips.bands)} names were needed, one for each band of the chips. "
            f"Received: {','.join(bands)}."
        )
    return dataclasses.replace(chips, bands=tuple(bands))


def taken(chips: ChipSet, indices: Array) -> ChipSet:
    """The chips at these indices, in that order."""
    return dataclasses.replace(
        chips,
        names=tuple(chips.names[i] for i in indices),
        tags=chips.tags[indices] if len(chips.tags) else chips.tags,
        groups=chips.groups[indices],
        paths=tuple(chips.paths[i] for i in indices) if chips.paths else (),
    )


def with_neighbours(chips: ChipSet, folder: Path, progress: Callable[[str], Progress]) -> ChipSet:
    """The chips with their neighbours in one group, by their edges where no table tells (D-7).

    Args:
        chips: of the folder.
        folder: with a chips.csv, or without one.
        progress: from what is done to what is told how far it is.
    """
    if (folder / chip_cover.TABLE).is_file():
        return chips
    told = progress(f"looking for neighbours among {len(chips):,} chips, by their edges")
    return chip_neighbours.with_blocks(chips, told)


def gather(
    chips: ChipSet,
    split: Callable[[ChipSet], tuple[Mapping[str, Array], str]],
    name: str,
    progress: Progress | None = None,
    needed: Sequence[str] = SIDES[:3],
    cover: Callable[[Sequence[str]], Array] | None = None,
    cache: Path | None = None,
) -> Cohort:
    """Read every chip once, leave out what can't be read, and split the rest.

    Args:
        chips: labelled.
        split: from chips to indices by side, and how they were split in words.
        name: of the data.
        progress: told how many are through.
        needed: sides that mustn't be empty.
        cover: from chips' names to the land cover under them; None where it isn't known.
        cache: the folder that `prepare` filled; None reads the chips from their files.

    Raises:
        CommandError: if a side that is needed stays without a chip.
    """
    if cache is None:
        good, features, held, failures = _read(chips, progress)
    else:
        good, features, held, failures = _chip_cache.read(chips, cache, progress)
    if len(good) < len(chips):
        chips = taken(chips, good)
    sides, how = split(chips)
    for side in needed:
        if not len(sides[side]):
            raise CommandError(
                f"at least one chip to {side} by was needed. Received: {len(chips)} chips of "
                f"{len(set(chips.groups))} scenes, split {how}. More chips are needed."
            )
    total = hashlib.sha256(repr([chips.names[i] for side in SIDES for i in sides[side]]).encode())
    return Cohort(
        chips, sides, features, held, None if cover is None else cover(chips.names), name, how,
        total.hexdigest(), {**chips.failures, **failures},
    )  # fmt: skip


def _read(
    chips: ChipSet, progress: Progress | None
) -> tuple[Array, Array, Array | None, dict[str, str]]:
    """Which chips can be read, their statistics, their pixels if they fit, and the failures."""
    good: list[int] = []
    features: list[Array] = []
    held = _memory(chips)
    failures: dict[str, str] = {}
    for start in range(0, len(chips), AT_ONCE):
        some = range(start, min(start + AT_ONCE, len(chips)))
        for index, found in in_threads(functools.partial(_chip_cache.one, chips), some):
            if isinstance(found, DataError):
                failures[chips.names[index]] = str(found)
                continue
            chip, told = found
            if held is not None:
                held[len(good)] = chip[0]
            good.append(index)
            features.append(told)
        if progress is not None:
            progress(some.stop, len(chips))
    if not good:
        raise CommandError(
            f"chips that can be read were needed. Received: {len(chips)}, of which none can. The "
            f"first: {next(iter(failures.values()))}"
        )
    kept = None if held is None else held[: len(good)]
    return np.array(good), np.concatenate(features), kept, failures


def _memory(chips: ChipSet) -> Array | None:
    """Room for all pixels, none of it touched yet; None where they are too many to be held."""
    shape = (len(chips), SIDE, SIDE, len(chips.bands))
    too_many = math.prod(shape) * chips.dtype.itemsize > IN_MEMORY
    return None if too_many else np.empty(shape, chips.dtype)


def by_scene(chips: ChipSet, seed: int) -> tuple[Mapping[str, Array], str]:
    """A user's chips, whole scenes on one side (D-7), each tag on every side if it can be.

    Where scenes aren't known, blocks of neighbours take their place; where none were found, chips
    are split at random, and it is said.
    """
    alone = len(set(chips.groups)) == len(chips)
    split = splits.by_group(chips.groups, FRACTIONS, seed, labels=chips.tags)
    sides = {side: getattr(split, side) for side in SIDES[:3]}
    if alone:
        how = "at random, for it isn't known which chips are neighbours: scores are optimistic"
        return {**sides, "neighbours": np.empty(0, int)}, how
    how = "by scene: the chips of a scene are on one side"
    if set(chips.groups) <= set(chips.names):  # as blocks are named
        how = "by blocks of chips whose edges continue each other, each on one side"
    return _with_neighbours(sides, seed), how


def in_order(
    chips: ChipSet, counts: tuple[int, int, int], seed: int
) -> tuple[Mapping[str, Array], str]:
    """Simulated scenes: the first are learned from, the next choose, the last are scored.

    Args:
        chips: whose groups are the scenes, in order of their names.
        counts: scenes to train, validate and test by.
        seed: of the neighbours.
    """
    scenes = np.unique(chips.groups)
    ends = np.cumsum(counts)
    sides = {
        side: np.flatnonzero(np.isin(chips.groups, scenes[start:end]))
        for side, start, end in zip(SIDES, (0, *ends[:-1]), ends, strict=False)
    }
    return _with_neighbours(sides, seed), "by scene, each drawn by itself, in order of their names"


def to_be_scored(chips: ChipSet) -> tuple[Mapping[str, Array], str]:
    """All chips on the test side."""
    none = np.empty(0, int)
    sides = dict.fromkeys(SIDES, none) | {"test": np.arange(len(chips))}
    return sides, "all of them scored"


def _with_neighbours(sides: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """Some of the training chips aside: chips whose neighbours are learned from."""
    train = sides["train"]
    count = round(NEIGHBOURS * len(train))
    aside = np.random.default_rng((seed, 7)).permutation(len(train))[:count]
    return {
        **sides,
        "train": np.delete(train, aside),
        "neighbours": np.sort(train[aside]),
    }


def scenes_of(cohort: Cohort, side: str) -> list[str]:
    """Names of the scenes of a side."""
    return sorted({str(name) for name in cohort.groups(side)})
