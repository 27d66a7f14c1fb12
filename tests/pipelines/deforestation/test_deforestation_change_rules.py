"""When a place is new clearing: by a mapper's two maps, and by the classical difference."""

from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fieldsight.datasets.grids import Grid
from fieldsight.datasets.simulated import forest
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import (
    _change_baseline,
    _change_fall,
    _change_maps,
    _change_rule,
)
from fieldsight.pipelines.deforestation._change_baseline import DifferenceRule

MASKS = st.lists(st.lists(st.booleans(), min_size=11, max_size=11), min_size=9, max_size=9).map(
    lambda rows: np.array(rows, bool)
)


def test_d_12_what_was_no_forest_before_is_no_new_clearing() -> None:
    forest = np.array([[0.9, 0.4, 1.0]], np.float32)
    cleared = np.array([[0.8, 1.0, 0.1]], np.float32)
    found = _change_rule.probability(forest, cleared)
    assert found[0].tolist() == pytest.approx([0.72, 0.0, 0.1])


def test_what_was_forest_and_is_neither_forest_nor_water_is_cleared() -> None:
    simulated = _change_rule.classes_of(forest.CLASSES)
    assert [forest.CLASSES[1 + n] for n in simulated.forest] == ["forest"]
    assert [forest.CLASSES[1 + n] for n in simulated.cleared] == [
        "clearing", "built", "mining", "natural open",
    ]  # fmt: skip
    # The real Landsat scene's labels.
    theirs = _change_rule.classes_of(("nodata", "water", "crop", "tree", "developed"))
    assert (theirs.forest, theirs.cleared, theirs.water) == ((2,), (1, 3), (0,))


def test_water_that_is_brighter_in_the_near_infrared_than_in_red_is_cleared_land() -> None:
    classes = _change_rule.classes_of(("nodata", "forest", "clearing", "water"))
    # A burnt field mapped as water, and a flood: 0.7 of water each, 0.2 and 0.1 of clearing.
    shares = np.array([[[0.1, 0.2, 0.7], [0.2, 0.1, 0.7]]], np.float32)
    dry = np.array([[0.15, -0.2]]) > _change_rule.DRY_NDVI
    forest, cleared = _change_maps.of_classes(shares, classes, dry)
    np.testing.assert_allclose(forest, [[0.1, 0.2]])
    np.testing.assert_allclose(cleared, [[0.9, 0.1]])
    np.testing.assert_allclose(_change_maps.of_classes(shares, classes)[1], [[0.2, 0.1]])
    # Whoever names the cleared ones means these alone.
    named = _change_rule.classes_of(
        ("nodata", "forest", "clearing", "water"), cleared=("clearing",)
    )
    np.testing.assert_allclose(_change_maps.of_classes(shares, named, dry)[1], [[0.2, 0.1]])


@pytest.mark.parametrize("other", ["cleared forest", "non-forest", "not forest"])
def test_what_is_named_as_no_forest_is_none(other: str) -> None:
    found = _change_rule.classes_of(("nodata", "forest", other))
    assert (found.forest, found.cleared) == ((0,), (1,))


def test_classes_that_arent_known_by_name_must_be_named() -> None:
    names = ("nodata", "mata", "pasto")
    with pytest.raises(CommandError, match="--forest: which classes"):
        _change_rule.classes_of(names)
    found = _change_rule.classes_of(names, forest=("mata",), cleared=("pasto",))
    assert (found.forest, found.cleared) == ((0,), (1,))
    with pytest.raises(CommandError, match="Received: wood"):
        _change_rule.classes_of(names, forest=("wood",), cleared=("pasto",))
    with pytest.raises(CommandError, match="apart"):
        _change_rule.classes_of(names, forest=("mata",), cleared=("mata",))
    assert _change_rule.classes_of(names, forest=("mata",)).cleared == (1,)


@settings(max_examples=60)
@given(MASKS, st.integers(0, 2))
def test_opening_is_scipys_of_a_square_that_goes_on_beyond_the_end(
    mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]], radius: int
) -> None:
    square = np.ones((2 * radius + 1, 2 * radius + 1), bool)
    padded = np.pad(mask, 8, mode="edge")
    expected = ndimage.binary_opening(padded, square)[8:-8, 8:-8]
    assert np.array_equal(_change_rule.opened(mask, radius), expected)


def test_a_sliver_goes_and_a_clearing_at_the_scenes_end_stays() -> None:
    mask = np.zeros((12, 12), bool)
    mask[2, :] = True  # a road's width
    mask[8:, 8:] = True
    found = _change_rule.opened(mask, 1)
    assert not found[2].any()
    assert found[8:, 8:].all()


def test_what_is_clear_is_averaged_and_nothing_else() -> None:
    likely = np.array([[1.0, 0.0, 0.5, 0.5]], np.float32)
    clear = np.array([[True, True, False, False]])
    # By hand: three places of each window, those beyond the end mirrored: 1 1 0, 1 0 .5 and on.
    found = _change_rule.smoothed(likely, clear, 1)
    assert found[0].tolist() == pytest.approx([2 / 3, 0.5, 0.0, 0.0])
    assert _change_rule.smoothed(likely, clear, 0)[0].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_clouds_are_widened_by_their_thin_ends() -> None:
    clouds = np.zeros((9, 9), bool)
    clouds[0, 4] = True
    assert np.argwhere(_change_rule.widened(clouds, 2)).tolist() == [
        [row, column] for row in range(3) for column in range(2, 7)
    ]


def test_objects_join_by_sides_and_small_ones_are_left_out() -> None:
    mask = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [1, 0, 0, 0]], bool)
    assert _change_rule.objects(mask, 2).tolist() == [
        [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 0, 0],
    ]  # fmt: skip
    assert _change_rule.objects(mask, 5).max() == 0


def test_a_patch_is_counted_by_what_is_sure_of_it_and_drawn_with_all_that_is_likely() -> None:
    # Two thresholds by hand: 0.6 beside a 0.9 belongs to it, 0.7 alone is no clearing.
    likely = np.array([[0.6, 0.9, 0.0, 0.7, 0.7]], np.float32)
    rule = _change_rule.ChangeRule(threshold=0.5, sure=0.8)
    sure = _change_rule.is_sure(rule, likely)
    assert sure.tolist() == [[False, True, False, False, False]]
    assert _change_rule.objects(likely >= rule.threshold, 1, sure).tolist() == [[1, 1, 0, 0, 0]]
    assert _change_rule.objects(likely >= rule.threshold, 2, sure).max() == 0
    # Without a minimum mapping unit nothing is asked of a patch.
    assert _change_rule.objects(likely >= rule.threshold, 0, sure).tolist() == [[1, 1, 0, 2, 2]]
    # As the raster keeps it: 0.7976 is 159.52 steps of 200, kept as 160 of them, 0.8.
    assert _change_rule.is_sure(rule, np.array([0.7974, 0.7976])).tolist() == [False, True]


def test_indices_are_as_they_are_defined() -> None:
    # By hand: (0.4 - 0.05) / 0.45, and (0.4 - 0.1) / 0.5; both bands 0 give 0.
    bands = ("red", "nir", "swir2")
    values = np.array([[[0.05, 0.4, 0.1], [0.0, 0.0, 0.0]]], np.float32)
    ndvi = _change_baseline.normalised_difference(values, bands, "NDVI")
    nbr = _change_baseline.normalised_difference(values, bands, "NBR")
    assert ndvi[0].tolist() == pytest.approx([0.35 / 0.45, 0])
    assert nbr[0].tolist() == pytest.approx([0.6, 0])
    assert _change_baseline.index_of(bands) == "NBR"
    assert _change_baseline.index_of(("blue", "green", "red", "nir")) == "NDVI"
    assert _change_baseline.index_of(("red", "green", "blue")) is None


def test_a_fall_counts_where_it_was_green() -> None:
    rule = DifferenceRule(drop=0.2, floor=0.6)
    before, after = np.array([[0.8, 0.5, 0.8]]), np.array([[0.5, 0.1, 0.7]])
    assert _change_baseline.change_mask(before, after, rule).tolist() == [[True, False, False]]


def test_the_grid_is_tried_whole_and_the_card_keeps_what_was_chosen() -> None:
    assert len(list(_change_baseline.grid(0.25))) == 6 * 4 * 3
    assert {rule.min_ha for rule in _change_rule.grid(1.5)} == {1.5}
    chosen = _change_rule.from_facts({"change": {"network": {"threshold": 0.3, "opening": 2}}}, 1.5)
    assert (chosen.threshold, chosen.opening, chosen.min_ha) == (0.3, 2, 1.5)
    assert _change_rule.from_facts({}, 0.5) == _change_rule.ChangeRule()
    facts = {"change": {"difference": {"drop": 0.3, "floor": 0.7, "opening": 0}}}
    assert _change_baseline.from_facts(facts, "NDVI", 1).drop == 0.3
    assert _change_baseline.from_facts(facts, "NBR", 1).drop == 0.27  # chosen on NDVI alone


class Seen:
    """Two dates of which NDVI is known."""

    def __init__(self, before: Any, after: Any, clear: Any) -> None:
        self.before, self.after, self.clear = before, after, clear
        self.grid = Grid(None, Affine.identity(), *before.shape)

    def seen(self, slices: Any) -> tuple[Any, Any]:
        return self.clear[slices], self.clear[slices]


def test_d_12_what_haze_and_season_did_to_the_forest_around_is_taken_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_change_baseline, "of_scene", lambda scene, _index, slices: scene[slices])
    columns = np.mgrid[:600, :700][1]
    before = np.full((600, 700), 0.85)
    after = before - 0.1 - 0.0002 * columns  # haze that thickens to the east
    after[280:320, 300:350] -= 0.3  # a clearing
    clear = np.ones(before.shape, bool)
    clear[:200, :200] = False
    after[:200, :200] = -1.0  # a cloud
    fall = _change_fall.Fall(Seen(before, after, clear), lambda slices: before[slices])  # type: ignore[arg-type]
    found = fall((slice(0, 600), slice(0, 700)))
    cleared = np.zeros(before.shape, bool)
    cleared[280:320, 300:350] = True
    middle = clear & (columns > 96) & (columns < 550)  # between the middles of blocks
    assert found[cleared] == pytest.approx(np.full(cleared.sum(), 0.3), abs=0.03)
    assert np.abs(found[middle & ~cleared]).max() < 0.05  # of 0.1 to 0.24
    # D-6: a part of it is what the whole has there.
    part = (slice(100, 333), slice(0, 700))
    assert np.array_equal(fall(part), found[part])


def test_without_clear_forest_nothing_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_change_baseline, "of_scene", lambda scene, _index, slices: scene[slices])
    before, clear = np.full((50, 60), 0.3), np.ones((50, 60), bool)
    dates = Seen(before, before - 0.1, clear)
    fall = _change_fall.Fall(dates, lambda slices: np.zeros((50, 60))[slices])  # type: ignore[arg-type]
    assert fall((slice(0, 50), slice(0, 60))) == pytest.approx(np.full((50, 60), 0.1))
