"""How well new clearings are found: two dates of simulated forest, and mappers that know things."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from fieldsight.core import windows
from fieldsight.datasets import scenes
from fieldsight.datasets.errors import DataError
from fieldsight.pipelines.deforestation import _change_scores
from fieldsight.pipelines.deforestation._change_baseline import DifferenceRule
from fieldsight.pipelines.deforestation._change_maps import Maps
from fieldsight.pipelines.deforestation._change_rule import ChangeRule
from fieldsight.pipelines.deforestation._change_scores import Tuned


@pytest.fixture
def place(tmp_path: Path, two_dates: ModuleType) -> Path:
    two_dates.write_pair(tmp_path)
    return tmp_path


TUNED = Tuned(
    ChangeRule(smoothing=0, opening=0), DifferenceRule(drop=0.2, floor=0.6, opening=0), {}
)


def test_of_rules_as_good_as_the_best_the_one_that_invents_least_is_chosen() -> None:
    # F1 0.971 of 36 objects, so one standard error is 0.028; 0.955 is within it, 0.941 is not.
    totals = np.array([[34, 1, 1], [32, 0, 3], [32, 0, 4], [28, 6, 7]], float)
    assert _change_scores.strictest(totals) == 1
    # Of equal ones the last, which is the strictest.
    assert _change_scores.strictest(np.array([[9.0, 1, 1], [9, 1, 1], [2, 0, 9]])) == 1
    # Nothing to find and nothing drawn is as good as all found.
    assert _change_scores.strictest(np.array([[0.0, 2, 0], [0, 0, 0], [0, 1, 0]])) == 1


def test_a_mapper_that_sees_finds_all_and_ndvi_misses_what_is_green_again(
    place: Path, two_dates: ModuleType
) -> None:
    pairs = _change_scores.pairs_of(place)
    assert [pair.name for pair in pairs] == ["A"]
    found = _change_scores.score(pairs, Maps(two_dates.seeing()), TUNED)
    assert found.figures["test_change_f1"] == 1
    assert found.figures["test_change_hectares_error"] == pytest.approx(0, abs=0.01)
    # Two of three, nothing invented: 2 * 2 / (2 * 2 + 1).
    assert found.figures["baseline_test_change_f1"] == pytest.approx(0.8)
    assert found.figures["baseline_test_change_recall"] == pytest.approx(2 / 3)
    assert found.figures["test_change_f1_gain"] == pytest.approx(0.2)
    assert found.masks["truth"].sum() == 3 * 900
    assert (found.masks["network"] == found.masks["truth"]).mean() > 0.999
    assert "mapper" in str(found.tables[0])


def test_d_11_what_lies_under_a_cloud_is_neither_missed_nor_found(
    tmp_path: Path, two_dates: ModuleType
) -> None:
    two_dates.write_pair(tmp_path, cloud=two_dates.CLEARED[0])
    found = _change_scores.score(_change_scores.pairs_of(tmp_path), Maps(two_dates.seeing()), TUNED)
    assert found.figures["test_change_f1"] == 1
    assert found.masks["truth"].sum() == 2 * 900
    assert not found.masks["network"][5:65, 5:65].any()


def test_c_9_rules_are_chosen_by_a_grid_and_kept_for_the_card(
    place: Path, two_dates: ModuleType
) -> None:
    tuned = _change_scores.tune(_change_scores.pairs_of(place), Maps(two_dates.seeing()))
    assert tuned.figures == {"val_change_f1": 1, "baseline_val_change_f1": 1}
    # NDVI falls by 0.11 where pasture follows forest: the finest step of the grid sees that.
    assert tuned.difference.drop == 0.1
    facts = tuned.facts()
    assert ChangeRule(**facts["network"]) == tuned.network
    assert DifferenceRule(**facts["difference"]) == tuned.difference


def test_what_was_mapped_once_is_not_mapped_again(
    place: Path, two_dates: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    predict = windows.predict

    def counted(*given: Any, **named: Any) -> Any:
        ran.append(1)
        return predict(*given, **named)

    monkeypatch.setattr(windows, "predict", counted)
    (pair,) = _change_scores.pairs_of(place)
    maps = Maps(two_dates.seeing())
    with scenes.open_scene(pair.before) as scene:
        said = maps.of_scene(scene, "A_20170801")
    assert said.steps.shape == (160, 160, 2)
    np.testing.assert_array_equal(said.classes, said.steps.argmax(axis=-1) + 1)
    found = _change_scores.evidence(pair, maps)
    assert len(ran) == 2  # the later date is mapped, the earlier was
    again = _change_scores.evidence(pair, maps)
    assert len(ran) == 4  # and nothing is kept that nobody asks for
    np.testing.assert_array_equal(found.probability, again.probability)


def test_a_mapper_that_sees_nothing_scores_nothing(place: Path, two_dates: ModuleType) -> None:
    blind = two_dates.mapper(np.zeros((4, 2)), [5, -5])
    found = _change_scores.score(_change_scores.pairs_of(place), Maps(blind), TUNED)
    assert found.figures["test_change_f1"] == 0
    assert found.figures["test_change_hectares_error"] == 1
    assert np.isnan(found.figures["test_change_precision"])


def test_intervals_are_over_places(tmp_path: Path, two_dates: ModuleType) -> None:
    for name, cloud in (("A", None), ("BB", two_dates.CLEARED[2]), ("CCC", None)):
        two_dates.write_pair(tmp_path, name, cloud)
    found = _change_scores.score(
        _change_scores.pairs_of(tmp_path), Maps(two_dates.seeing()), TUNED
    ).figures
    low, high = found["baseline_test_change_f1_low"], found["baseline_test_change_f1_high"]
    # Drawn again, from the places that have a green clearing alone to the one that has none.
    assert [low, high] == pytest.approx([0.8, 1.0])


def test_a_folder_without_two_dates_is_refused(tmp_path: Path, two_dates: ModuleType) -> None:
    with pytest.raises(DataError, match="two dates"):
        _change_scores.pairs_of(tmp_path)


def test_two_grids_are_refused(place: Path, two_dates: ModuleType) -> None:
    path = next(place.glob("scenes/A_2018*_SR.tif"))
    with rasterio.open(path, "r+") as file:
        file.transform = Affine(3, 0, 300_001, 0, -3, 9_000_000)
    with pytest.raises(DataError, match="one grid"):
        _change_scores.score(_change_scores.pairs_of(place), Maps(two_dates.seeing()), TUNED)
