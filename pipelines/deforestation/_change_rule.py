"""When a pixel is new clearing: forest on the first date's map, cleared on the second's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.pipelines._errors import CommandError

Array = NDArray[Any]

# Names of classes, as models of ours and of users have them; a word of a name is enough.
FOREST_WORDS = ("forest", "tree", "trees", "woodland")
CLEARED_WORDS = (
    "clearing", "cleared", "pasture", "crop", "crops", "cropland", "agriculture", "bare", "soil",
    "burn", "burnt", "mine", "mining", "road", "built", "developed", "habitation",
)  # fmt: skip
CODES = ("nodata", "not forest before", "forest", "new clearing", "hidden by cloud")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChangeRule:
    """How two maps become new clearings.

    Attributes:
        threshold: of the probability that it was forest and is cleared, both together.
        opening: pixels of the radius by which thin slivers are taken away: edges of old
            clearings that the two maps draw a little apart.
        min_ha: the minimum mapping unit.
    """

    threshold: float = 0.5
    opening: int = 1
    min_ha: float = 0.25


@dataclasses.dataclass(frozen=True)
class Classes:
    """Which channels of a mapper are forest, and which cleared land.

    Attributes:
        forest: numbers of channels.
        cleared: the same.
    """

    forest: tuple[int, ...]
    cleared: tuple[int, ...]


def classes_of(
    names: Sequence[str],
    *,
    forest: Sequence[str] | None = None,
    cleared: Sequence[str] | None = None,
) -> Classes:
    """Find forest and cleared land among a mapper's classes.

    Args:
        names: by value; the first is nodata and has no channel.
        forest: names that are forest; None for those with a word of forest in them.
        cleared: names that are cleared land; None alike.

    Raises:
        CommandError: if a name is unknown, one is both, or there is none of either.
    """
    known = list(names)[1:]
    found = {}
    for flag, given, words in (
        ("--forest", forest, FOREST_WORDS), ("--cleared", cleared, CLEARED_WORDS),
    ):  # fmt: skip
        unknown = [name for name in given or () if name not in known]
        if unknown:
            raise CommandError(
                f"{flag}: classes of the model were needed, of {', '.join(known)}. Received: "
                f"{', '.join(unknown)}."
            )
        chosen = [
            number
            for number, name in enumerate(known)
            if (name in given if given is not None else set(_words(name)) & set(words))
        ]
        found[flag] = tuple(chosen)
    if given_both := set(found["--forest"]) & set(found["--cleared"]):
        if forest is None and cleared is None:  # "cleared forest" is cleared
            found["--forest"] = tuple(n for n in found["--forest"] if n not in given_both)
        else:
            both = ", ".join(known[number] for number in sorted(given_both))
            raise CommandError(f"--forest and --cleared must be apart. Received: {both} in both.")
    for flag, numbers in found.items():
        if not numbers:
            raise CommandError(
                f"{flag}: which classes are meant was needed, for none is named so among "
                f"{', '.join(known)}. Give their names, as {flag} {known[0]}."
            )
    return Classes(found["--forest"], found["--cleared"])


def _words(name: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in name.lower()).split()


def probability(before: Array, after: Array, classes: Classes) -> NDArray[np.float32]:
    """How likely a place was forest and is cleared, each date's map taken by itself.

    Args:
        before: `(rows, columns, classes)` probabilities of the first date.
        after: the same of the second.
        classes: which channels are which.

    Returns:
        `(rows, columns)` float32; 0 where the first map doesn't show forest (D-12).
    """
    forest = before[..., list(classes.forest)].sum(axis=-1)
    cleared = after[..., list(classes.cleared)].sum(axis=-1)
    return np.where(forest >= 0.5, forest * cleared, 0.0).astype(np.float32)


def opened(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """A mask without what no disk of this radius fits into."""
    if radius < 1:
        return mask
    reach = np.arange(-radius, radius + 1)
    disk = reach[:, None] ** 2 + reach[None, :] ** 2 <= (radius + 0.5) ** 2
    return np.asarray(ndimage.binary_opening(mask, disk), bool)


def objects(mask: NDArray[np.bool_], least_pixels: float) -> NDArray[np.int32]:
    """Patches of a mask, numbered from 1; corners join, and smaller ones are left out."""
    labels, count = ndimage.label(mask, np.ones((3, 3), bool))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes >= least_pixels
    keep[0] = False
    numbers = np.cumsum(keep) * keep
    return numbers[labels].astype(np.int32)


def from_facts(facts: Mapping[str, Any]) -> ChangeRule:
    """The rule in a card's facts, or the committed one."""
    kept = facts.get("change", {}).get("network", {})
    return ChangeRule(**kept)
