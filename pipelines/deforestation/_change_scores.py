"""How well new clearings are found between two dates: as objects, and in hectares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fieldsight.pipelines.deforestation._change_baseline import DifferenceRule
from fieldsight.pipelines.deforestation._change_rule import ChangeRule

if TYPE_CHECKING:
    from fieldsight.pipelines.deforestation._mapper import Mapper

Array = NDArray[Any]
Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # title, columns, rows
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A place at two dates, and what was cleared between them.

    Attributes:
        name: of the place: the group that no split parts (D-7).
        before: the earlier scene's file.
        after: the later one's.
        clearings: a GeoPackage whose layer `new` has the new clearings as polygons.
    """

    name: str
    before: Path
    after: Path
    clearings: Path


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What was chosen on validation places (C-9).

    Attributes:
        network: when a pixel is new clearing by the mapper's two maps.
        difference: the same by the difference of NDVI.
        figures: `val_change_f1` and `baseline_val_change_f1`.
    """

    network: ChangeRule
    difference: DifferenceRule
    figures: Mapping[str, float]

    def facts(self) -> dict[str, Any]:
        """For the mapper's card: `facts["change"]`, which `change` reads its rules from."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class ChangeScores:
    """What was measured on the test places.

    Attributes:
        figures: by name: `test_change_f1` with `_low` and `_high` (over places),
            `test_change_precision`, `test_change_recall`, `test_change_hectares_error` (share
            of the true hectares), and `baseline_test_change_...` of the NDVI difference.
        tables: as they are printed: scores beside the baseline, and by place.
        example: the number of the test pair that is drawn.
        masks: `(rows, columns)` bool of the example by name: "truth", "network", "difference".
    """

    figures: Mapping[str, float]
    tables: Sequence[Table]
    example: int
    masks: Mapping[str, Array]


def pairs_of(folder: Path) -> list[Pair]:
    """The places of a folder in the simulator's layout that are there at two dates.

    Raises:
        DataError: if there is none.
    """
    raise NotImplementedError


def tune(pairs: Sequence[Pair], mapper: Mapper, *, progress: Progress | None = None) -> Tuned:
    """Choose the rules of both methods on validation places, by committed grids.

    Args:
        pairs: never the test's.
        mapper: trained; its network and facts are used.
        progress: told how many places are through, and of how many.
    """
    raise NotImplementedError


def score(
    pairs: Sequence[Pair],
    mapper: Mapper,
    tuned: Tuned,
    *,
    progress: Progress | None = None,
) -> ChangeScores:
    """Score both methods on test places, once.

    Args:
        pairs: of the test split.
        mapper: trained.
        tuned: what `tune` chose.
        progress: told how many places are through, and of how many.
    """
    raise NotImplementedError
