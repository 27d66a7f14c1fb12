"""The mapper beside an NDVI threshold and a random forest, on the same test scenes, once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from fieldsight.pipelines._models import Card
from fieldsight.pipelines.deforestation._fields import Field
from fieldsight.pipelines.deforestation._mapper import Mapper

Array = NDArray[Any]
Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # title, columns, rows


@dataclasses.dataclass(frozen=True)
class MapComparison:
    """What was measured.

    Attributes:
        figures: by name: `test_map_clearing_iou`, its `_low` and `_high`, `baseline_test_map_...`,
            `val_map_clearing_iou`.
        tables: as `lung._train.show` prints them.
        example: the number of the test field that is drawn.
        maps: `(rows, columns)` uint8 of the example by the name of what drew it.
    """

    figures: Mapping[str, float]
    tables: Sequence[Table]
    example: int
    maps: Mapping[str, Array]


def compare(
    mapper: Mapper,
    fields: Sequence[Field],
    val: Sequence[Field],
    test: Sequence[Field],
    *,
    target: str = "clearing",
    other: Sequence[Field] = (),
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> MapComparison:
    """Tune the baselines on validation, then score all on the test fields, once (C-9)."""
    raise NotImplementedError


def card(
    mapper: Mapper,
    figures: Mapping[str, float],
    *,
    data: str,
    data_fingerprint: str,
    split_fingerprint: str,
    run_id: str,
) -> Card:
    """The card of a mapper, registered as `fieldsight-deforestation-map-<data>`."""
    raise NotImplementedError
