"""When a pixel is new clearing: forest on the first date's map, cleared on the second's."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.datasets.maps.rasters import STEPS
from fieldsight.pipelines._errors import CommandError

Array = NDArray[Any]

# Names of classes, as models of ours and of users have them; a word of a name is enough.
FOREST_WORDS = ("forest", "tree", "trees", "woodland")
# What stands where forest stood and isn't cleared land: a flood, or nothing that can be told.
WATER_WORDS = ("water", "river", "lake", "ocean", "sea", "flooded")
NOT_GROUND_WORDS = (
    *WATER_WORDS, "cloud", "clouds", "shadow", "snow", "ice", "nodata", "unknown",
)  # fmt: skip
# Open water reflects less near infrared than red. What is mapped as water and isn't so is dark
# ground, burnt most often: where forest stood, that is cleared.
DRY_NDVI = 0.0
# The grid of validation.
THRESHOLDS = (0.35, 0.5, 0.65)
SURE = (0.65, 0.8, 0.9)
SMOOTHINGS = (0, 2)
OPENINGS = (1, 3)
CLOUD_MARGIN_M = 30.0  # around clouds and their shadows, whose thin ends masks miss


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChangeRule:
    """How two maps become new clearings.

    What is sure says whether there is one, and what is likely how far it reaches: a patch of
    doubtful pixels alone is as a rule no clearing, and of one only a part is beyond doubt.

    Reference:
        Canny, A computational approach to edge detection, IEEE PAMI 8(6), 1986, section 9: two
        thresholds, of which the lower counts where it is joined to the higher.

    Attributes:
        threshold: of the probability that it was forest and is cleared, both together.
        sure: of the same: of a patch a minimum mapping unit must be so likely, else it is none.
        fall: of NDVI, at least, beyond what it fell in the forest around: maps of two dates
            differ by haze and season too, but felled forest is less green than what stands.
        smoothing: pixels of the radius of a square over which both are averaged.
        opening: what is narrower than 2 x opening + 1 pixels is taken away: edges of old
            clearings that the two maps draw a little apart.
        min_ha: the minimum mapping unit; left out, that of FAO's definition of forest.
    """

    threshold: float = 0.5
    sure: float = 0.8
    fall: float = 0.05
    smoothing: int = 2
    opening: int = 1
    min_ha: float = 0.5

    @property
    def reach(self) -> int:
        """How many pixels away it looks."""
        return 2 * self.opening + self.smoothing


@dataclasses.dataclass(frozen=True)
class Classes:
    """Which channels of a mapper are forest, and which cleared land.

    Attributes:
        forest: numbers of channels.
        cleared: the same.
        water: the same; cleared land too where the near infrared says that it can't be water.
    """

    forest: tuple[int, ...]
    cleared: tuple[int, ...]
    water: tuple[int, ...] = ()


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
        cleared: names that are cleared land; None for all that are neither forest nor water: what
            was forest a year ago can be nothing else, whichever of them the map says.

    Raises:
        CommandError: if a name is unknown, one is both, or there is none of either.
    """
    known = list(names)[1:]
    woods = _chosen("--forest", forest, known, lambda words: bool(words & set(FOREST_WORDS)))
    # "Cleared forest" and "not forest" are none, whatever word is in them.
    if forest is None:
        others = {"cleared", "deforested", "non", "not", "no"}
        woods = tuple(n for n in woods if not _words(known[n]) & others)
    apart = set(woods)
    ground = _chosen("--cleared", cleared, known, lambda words: not words & set(NOT_GROUND_WORDS))
    if cleared is None:
        ground = tuple(number for number in ground if number not in apart)
    if both := apart & set(ground):
        told = ", ".join(known[number] for number in sorted(both))
        raise CommandError(f"--forest and --cleared must be apart. Received: {told} in both.")
    for flag, numbers in (("--forest", woods), ("--cleared", ground)):
        if not numbers:
            raise CommandError(
                f"{flag}: which classes are meant was needed, for none is named so among "
                f"{', '.join(known)}. Give their names, as {flag} {known[0]}."
            )
    # Whoever names the cleared ones means these and no others.
    wet = _chosen("", None, known, lambda words: bool(words & set(WATER_WORDS)))
    taken = apart | set(ground)
    water = () if cleared is not None else tuple(n for n in wet if n not in taken)
    return Classes(woods, ground, water)


def _chosen(
    flag: str,
    given: Sequence[str] | None,
    known: Sequence[str],
    usual: Callable[[set[str]], bool],
) -> tuple[int, ...]:
    """Channels by the names that are given, or by what is usual."""
    if given is None:
        return tuple(number for number, name in enumerate(known) if usual(_words(name)))
    unknown = [name for name in given if name not in known]
    if unknown:
        raise CommandError(
            f"{flag}: classes of the model were needed, of {', '.join(known)}. Received: "
            f"{', '.join(unknown)}."
        )
    return tuple(number for number, name in enumerate(known) if name in given)


def _words(name: str) -> set[str]:
    return set("".join(c if c.isalnum() else " " for c in name.lower()).split())


def probability(forest: Array, cleared: Array) -> NDArray[np.float32]:
    """How likely a place was forest and is cleared, each date's map taken by itself.

    Args:
        forest: `(rows, columns)` probability of forest at the first date.
        cleared: the same of cleared land at the second.

    Returns:
        `(rows, columns)` float32; 0 where the first map doesn't show forest (D-12).
    """
    return np.where(forest >= 0.5, forest * cleared, 0.0).astype(np.float32)


def is_sure(rule: ChangeRule, likely: Array) -> NDArray[np.bool_]:
    """Where a patch is beyond doubt, in the steps in which a raster keeps probabilities."""
    return np.asarray(np.rint(likely * STEPS) >= np.rint(rule.sure * STEPS), bool)


def smoothed(values: Array, clear: NDArray[np.bool_], radius: int) -> NDArray[np.float32]:
    """The mean of what is clear within a square of 2 x radius + 1 pixels; 0 where nothing is.

    Args:
        values: `(rows, columns)`.
        clear: where they say something.
        radius: of the square.
    """
    if radius < 1:
        return np.where(clear, values, np.float32(0)).astype(np.float32)
    side = 2 * radius + 1
    # Summed in float64: a running sum over a scene's width in float32 depends on where it began.
    total = ndimage.uniform_filter(np.where(clear, values, 0.0).astype(np.float64), side)
    share = ndimage.uniform_filter(clear.astype(np.float64), side)
    mean = np.divide(total, share, out=np.zeros_like(total), where=share > 1e-6)
    return np.asarray(mean, np.float32)


def widened(clouds: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Clouds with all within so many pixels along rows and columns."""
    if radius < 1 or not clouds.any():
        return clouds
    found = ndimage.maximum_filter(clouds.astype(np.uint8), 2 * radius + 1, mode="constant")
    return np.asarray(found, bool)


def opened(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """A mask without what is narrower than a square of 2 x radius + 1 pixels.

    Beyond its border it goes on as it ends there, so that a clearing at the scene's end stays.
    """
    if radius < 1:
        return mask
    kept = np.pad(mask, 2 * radius, mode="edge")
    for axis in (0, 1):
        kept = _shrunk(kept, radius, axis)
    grown = ~kept
    for axis in (0, 1):
        grown = _shrunk(grown, radius, axis)
    return np.asarray(~grown, bool)


def _shrunk(mask: NDArray[np.bool_], radius: int, axis: int) -> NDArray[np.bool_]:
    """Where all within the radius along an axis is set; 2 x radius shorter."""
    length = mask.shape[axis] - 2 * radius
    parts = [
        mask[start : start + length] if axis == 0 else mask[:, start : start + length]
        for start in range(2 * radius + 1)
    ]
    return np.asarray(np.logical_and.reduce(parts), bool)


def objects(
    mask: NDArray[np.bool_], least_pixels: float, sure: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    """Patches of a mask, numbered from 1: neighbours by sides, as polygons on maps are made.

    Args:
        mask: `(rows, columns)`.
        least_pixels: smaller ones are left out.
        sure: `(rows, columns)` the pixels that a patch's size is counted by; None for all.
    """
    labels, count = ndimage.label(mask)
    # Most of a scene is no patch: only what is one is looked at again.
    flat = labels.reshape(-1)
    places = np.flatnonzero(flat)
    counted = places if sure is None else places[sure.reshape(-1)[places]]
    sizes = np.bincount(flat[counted], minlength=count + 1)
    keep = sizes >= least_pixels
    keep[0] = False
    numbers = (np.cumsum(keep) * keep).astype(np.int32)
    found = np.zeros(flat.shape, np.int32)
    found[places] = numbers[flat[places]]
    return found.reshape(labels.shape)


def grid(min_ha: float) -> Iterator[ChangeRule]:
    """Every rule that is tried."""
    # Smoothing outside: whoever goes through the rules smooths twice, not each time.
    for smoothing, threshold, opening, sure in itertools.product(
        SMOOTHINGS, THRESHOLDS, OPENINGS, SURE
    ):
        yield ChangeRule(
            threshold=threshold, sure=sure, smoothing=smoothing, opening=opening, min_ha=min_ha
        )


def from_facts(facts: Mapping[str, Any], min_ha: float) -> ChangeRule:
    """The rule in a card's facts, or the committed one, with this minimum mapping unit."""
    kept = facts.get("change", {}).get("network", {})
    return dataclasses.replace(ChangeRule(**kept), min_ha=min_ha)
