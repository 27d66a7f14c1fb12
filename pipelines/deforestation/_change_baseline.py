"""The classical method: what was green and is so much less green that it must be cleared.

A difference of NDVI (or of NBR, where a product has a short-wave infrared band), within what was
green enough to be forest: tuned on validation by the grid that stands here.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fieldsight.datasets.scenes import Scene

Array = NDArray[Any]
Slices = tuple[slice, slice]
Index = Literal["NDVI", "NBR"]

# The grid of validation: drop of the index, least index before, radius of the opening.
DROPS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
FLOORS = (0.5, 0.6, 0.7, 0.75)
OPENINGS = (0, 1, 3)
BANDS: Mapping[Index, tuple[str, str]] = {"NDVI": ("nir", "red"), "NBR": ("nir", "swir2")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DifferenceRule:
    """When a place is new clearing by a difference of an index.

    Attributes:
        drop: of the index, at least.
        floor: of the index at the first date: less is no forest.
        opening: as a `ChangeRule` has it.
        min_ha: the minimum mapping unit.
    """

    drop: float = 0.2
    floor: float = 0.65
    opening: int = 1
    min_ha: float = 0.5


# Where validation didn't choose. Of NBR, what the U.S. Geological Survey calls moderate severity
# begins at a fall of 0.27 (Key and Benson, Landscape assessment, 2006).
DEFAULTS: Mapping[Index, DifferenceRule] = {
    "NDVI": DifferenceRule(), "NBR": DifferenceRule(drop=0.27, floor=0.4),
}  # fmt: skip


def from_facts(facts: Mapping[str, Any], index: Index, min_ha: float) -> DifferenceRule:
    """The rule in a card's facts, or the committed one, with this minimum mapping unit."""
    kept = facts.get("change", {}).get("difference")
    rule = DEFAULTS[index] if index != "NDVI" or kept is None else DifferenceRule(**kept)
    return dataclasses.replace(rule, min_ha=min_ha)


def grid(min_ha: float) -> Iterator[DifferenceRule]:
    """Every rule that is tried."""
    for drop, floor, opening in itertools.product(DROPS, FLOORS, OPENINGS):
        yield DifferenceRule(drop=drop, floor=floor, opening=opening, min_ha=min_ha)


def index_of(bands: Sequence[str]) -> Index | None:
    """NBR where there is a short-wave infrared band, which burnt ground darkens least; or NDVI."""
    for index in ("NBR", "NDVI"):
        if set(BANDS[index]) <= set(bands):
            return index
    return None


def normalised_difference(reflectance: Array, bands: Sequence[str], index: Index) -> Array:
    """An index of reflectances.

    Args:
        reflectance: `(rows, columns, bands)` float.
        bands: their names.
        index: which.

    Returns:
        `(rows, columns)` float32 from -1 to 1; 0 where both bands are 0 or below.
    """
    first, second = (reflectance[..., list(bands).index(name)] for name in BANDS[index])
    first, second = np.maximum(first, 0), np.maximum(second, 0)
    total = first + second
    return np.divide(first - second, total, out=np.zeros_like(total), where=total > 0)


def of_scene(scene: Scene, index: Index, slices: Slices) -> Array:
    """An index of a part of a scene.

    Args:
        scene: with the bands of the index.
        index: which.
        slices: rows and columns.

    Returns:
        `(rows, columns)` float32; whatever where there are no data.
    """
    view = scene.select(BANDS[index])
    values, known = view.read(slices), view.reflectance
    seen = values.astype(np.float32) if known is None else known.of(values)
    return normalised_difference(seen, BANDS[index], index)


def change_mask(before: Array, after: Array, rule: DifferenceRule) -> NDArray[np.bool_]:
    """Where an index fell as a rule asks, before slivers are taken away.

    Args:
        before: `(rows, columns)` the index of the first date.
        after: the same of the second.
        rule: how.
    """
    return np.asarray((before >= rule.floor) & (before - after >= rule.drop), bool)
