"""Which date of each place a mapper is scored on."""

from types import SimpleNamespace
from typing import Any

from fieldsight.pipelines.deforestation._scenes_stage import scored_fields


def test_a_place_is_scored_once_and_both_dates_come_in_turn() -> None:
    # D-7: two dates of a place are no two independent places.
    fields = [
        SimpleNamespace(name=f"{group}_{date}", group=group)
        for group, dates in {"a": (1, 2), "b": (1, 2), "c": (1,)}.items()
        for date in dates
    ]
    forest: Any = SimpleNamespace(fields={"test": fields, "other": []})
    chosen = scored_fields(forest)
    assert [field.name for field in chosen["test"]] == ["a_1", "b_2", "c_1"]
    assert chosen["other"] == []
