"""Windows, statistics and the loss of the mapper; its maps and scores against counts by hand."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import jaccard_score

from fieldsight.core.windows import context_of
from fieldsight.pipelines import _training
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import (
    _map_baselines,
    _map_comparison,
    _map_scores,
    _mapper,
    _windows,
)
from fieldsight.pipelines.deforestation._fields import Field
from fieldsight.pipelines.deforestation._mapper import MapRecipe

Array = NDArray[Any]
BANDS = ("blue", "green", "red", "nir")
CLASSES = ("nodata", "forest", "clearing", "water")
# Digital numbers of forest, clearing and water.
SPECTRA = np.array([[300, 500, 400, 3000], [700, 900, 1200, 2600], [500, 450, 300, 200]])
TINY = MapRecipe(
    window=32,
    filters=4,
    depth=2,
    steps=8,
    followed=8,
    training=_training.Recipe(epochs=4, batch_size=4, learning_rate=1e-2),
)


def field(seed: int = 0, rows: int = 96, columns: int = 80, **changes: Any) -> Field:
    """Three bands of land across, a strip without data on top, and a few pixels unlabelled."""
    rng = np.random.default_rng(seed)
    labels = np.ones((rows, columns), np.uint8)
    labels[:, columns // 2 :], labels[:, -8:] = 2, 3
    image = SPECTRA[labels - 1] + rng.normal(0, 60, (rows, columns, 4))
    labels[:6] = 0
    image[:6] = 0
    image = np.clip(image, 0, None).astype(np.uint16)
    known = {
        "name": f"s{seed}_20200101", "group": f"s{seed}", "image": image, "labels": labels,
        "bands": BANDS, "classes": CLASSES, "scale": (1e-4,) * 4, "offset": (0.0,) * 4,
        "units": "reflectance", "pixel_area_m2": 9.0, "ground_sampling_distance_m": 3.0,
        "simulated": True,
    }  # fmt: skip
    return Field(**{**known, **changes})


# Windows


def test_windows_hold_a_label_and_are_the_scenes_own_pixels_turned() -> None:
    place = field()
    draw = _windows.Windows([place], window=32, batch_size=16)
    images, labels = draw(np.random.default_rng(0))
    assert images.shape == (16, 32, 32, 4)
    assert images.dtype == np.float32
    assert labels.shape == (16, 32, 32)
    assert (labels >= 0).any(axis=(1, 2)).all()
    assert set(np.unique(labels)) <= {-1, 0, 1, 2}
    # Whatever is labelled has its class's spectrum, so picture and labels moved together (D-10).
    for value in range(3):
        mean = images[labels == value].mean(axis=0) / 1e-4
        assert mean == pytest.approx(SPECTRA[value], rel=0.05)


def test_a_rare_class_is_seen_more_often_than_it_comes() -> None:
    # Nine pixels of 40,000, and windows of one pixel: by chance 0.02 % of them, and here half of
    # sqrt(9) / (sqrt(9) + sqrt(39,991)) more, 0.76 %.
    labels = np.ones((200, 200), np.uint8)
    labels[100:103, 100:103] = 2
    rare = field(rows=200, columns=200, labels=labels)
    _, drawn = _windows.Windows([rare], window=1, batch_size=4000)(np.random.default_rng(1))
    assert 0.004 < (drawn == 1).mean() < 0.012


def test_a_scene_smaller_than_a_window_is_mirrored_and_not_labelled_there() -> None:
    small = field(rows=20, columns=24)
    image, labels = _windows.cut(small, (0, 0), 32)
    assert image.shape == (32, 32, 4)
    np.testing.assert_array_equal(image[20:, :24], image[19:7:-1, :24])
    assert (labels[20:] == -1).all()
    assert (labels[:, 24:] == -1).all()


def test_the_same_seed_draws_the_same_windows() -> None:
    draws = [_windows.Windows([field()], window=32, batch_size=4, seed=3) for _ in range(2)]
    (first, _), (second, _) = (draw(np.random.default_rng(7)) for draw in draws)
    np.testing.assert_array_equal(first, second)


# The network


def test_statistics_are_of_labelled_training_pixels_alone_d4() -> None:
    place = field()
    mean, variance = _mapper.statistics([place])
    known = place.image[place.labels > 0] * 1e-4
    assert mean == pytest.approx(known.mean(axis=0), rel=1e-5)
    assert variance == pytest.approx(known.var(axis=0), rel=1e-4)


def test_the_saved_network_takes_raw_input_c5_and_sees_bands_alike_whatever_their_scale() -> None:
    recipe = TINY
    keras.utils.set_random_seed(0)
    ones = _mapper.build(recipe, 4, 3, np.zeros(4), np.ones(4))
    thousands = _mapper.build(recipe, 4, 3, np.full(4, 5.0), np.full(4, 1e6))
    thousands.set_weights(ones.get_weights())
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 4)).astype("float32")
    expected = ones.predict_on_batch(x)
    np.testing.assert_allclose(thousands.predict_on_batch(x * 1e3 + 5), expected, atol=2e-3)
    context = context_of(ones)
    assert context.stride == (4, 4)
    assert not context.unknown
    assert not context.global_operations


def test_pixels_that_are_ignored_change_neither_loss_nor_gradient_d4() -> None:
    labels = np.array([[[0, 1], [2, -1]]])
    logits = np.random.default_rng(0).normal(size=(1, 2, 2, 3)).astype("float32")
    other = logits.copy()
    other[0, 1, 1] = [50, -50, 9]
    first, second = (
        np.asarray(keras.ops.convert_to_numpy(_mapper.loss(labels, x))) for x in (logits, other)
    )
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_a_rare_class_weighs_more_and_the_mean_weight_is_one() -> None:
    draw = _windows.Windows([field()], window=32, batch_size=1)
    weights, shares = np.array(_mapper.class_weights(draw)), draw.shares
    assert shares.sum() == pytest.approx(1)
    assert (np.argsort(weights) == np.argsort(-shares)).all()
    assert (weights * shares).sum() == pytest.approx(1)
    # Twice as rare weighs 2 ** POWER as much.
    expected = (shares[0] / shares[2]) ** _mapper.POWER
    assert weights[2] / weights[0] == pytest.approx(expected)


def test_scenes_of_different_bands_are_not_learned_together(tmp_path: Path) -> None:
    other = field(1, bands=("red", "green", "blue", "nir"))
    with pytest.raises(CommandError, match="same bands"):
        _mapper.train([field()], [other], TINY, tmp_path)


def test_nothing_labelled_is_told(tmp_path: Path) -> None:
    empty = field(1, labels=np.zeros((96, 80), np.uint8))
    with pytest.raises(CommandError, match="choose by"):
        _mapper.train([field()], [empty], TINY, tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> _mapper.Mapper:
    folder = tmp_path_factory.mktemp("mapper")
    return _mapper.train([field(0), field(1)], [field(2)], TINY, folder, quiet=True)


def test_a_trained_mapper_maps_a_scene_it_has_not_seen(trained: _mapper.Mapper) -> None:
    place = field(5)
    found, chances = _mapper.classes_of(trained.network, place)
    known = place.labels > 0
    assert found.shape == chances.shape == (96, 80)
    assert (found == place.labels)[known].mean() > 0.9
    assert ((chances >= 1 / 3 - 1e-3) & (chances <= 1)).all()
    assert 0.5 <= trained.temperature <= 10


def test_the_map_does_not_depend_on_the_window_d6(trained: _mapper.Mapper) -> None:
    place = field(5, rows=200, columns=152)
    whole = trained.network.predict_on_batch(place.read((slice(0, 200), slice(0, 152)))[None])
    found, _ = _mapper.classes_of(trained.network, place)
    margins = np.sort(whole[0], axis=-1)
    clear = margins[..., -1] - margins[..., -2] > 1e-2  # not decided by rounding
    assert (found == whole[0].argmax(axis=-1) + 1)[clear].all()


def test_its_facts_say_what_scenes_it_takes_c10(trained: _mapper.Mapper) -> None:
    facts = trained.facts
    assert facts["bands"] == list(BANDS)
    assert facts["units"] == "reflectance"
    assert facts["classes"] == list(CLASSES)
    assert facts["ground_sampling_distance_m"] == 3
    assert facts["trained_on"] == ["s0", "s1"]
    assert facts["simulated"] is True


def test_the_mean_of_the_eight_forms_is_alike_for_each_of_them(trained: _mapper.Mapper) -> None:
    run = _mapper.averaged(trained.network)
    x = field(5).read((slice(8, 40), slice(20, 52)))[None]
    for move in _windows.SYMMETRIES:
        turned = run(move.image(x[0])[None])
        np.testing.assert_allclose(turned[0], move.image(run(x)[0]), atol=1e-3)


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    training = dataclasses.replace(TINY.training, epochs=2, batch_size=1)
    recipe = dataclasses.replace(TINY, window=16, steps=1, followed=1, training=training)
    fields, val = [field(0)], [field(2)]
    whole = _mapper.train(fields, val, recipe, tmp_path / "whole", quiet=True)

    class Killed(Exception):  # noqa: N818
        pass

    def kill(epoch: int, _: Any) -> None:
        if epoch == 1:
            raise Killed

    with pytest.raises(Killed):
        _mapper.train(fields, val, recipe, tmp_path / "killed", kill, quiet=True)
    again = _mapper.train(fields, val, recipe, tmp_path / "killed", quiet=True)
    for ours, theirs in zip(again.network.get_weights(), whole.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# Scores


def test_overlap_of_each_class_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 4, (50, 60)), rng.integers(1, 4, (50, 60))
    table = _map_scores.confusion(truth.astype(np.uint8), found.astype(np.uint8), 3)
    known = truth > 0
    expected = jaccard_score(truth[known], found[known], labels=[1, 2, 3], average=None)
    assert _map_scores.overlaps(table) == pytest.approx(expected)


def test_pixels_without_truth_count_for_nothing_d4() -> None:
    truth = np.array([[0, 1], [1, 2]], np.uint8)
    found = np.array([[2, 1], [2, 2]], np.uint8)
    assert _map_scores.confusion(truth, found, 2).tolist() == [[1, 1], [0, 1]]


def test_clearings_count_as_objects_and_small_ones_are_nobodys_mistake() -> None:
    truth = np.ones((60, 60), np.uint8)
    found = np.ones((60, 60), np.uint8)
    truth[2:22, 2:22] = found[3:22, 2:22] = 2  # found, a row short
    truth[30:50, 2:22] = 2  # missed
    found[30:50, 30:50] = 2  # invented
    truth[55:58, 55:58] = 2  # nine pixels of 100 m2 are 0.09 ha: too small to be missed
    counted = _map_scores.count(truth, found, 2, group="a", target=2, pixel_area_m2=100.0)
    assert counted.objects == (1, 1, 1)
    told = _map_scores.statistics(("nodata", "forest", "clearing"), "clearing")
    assert told["clearing_object_f1"]([counted]) == pytest.approx(0.5)
    # 400 + 400 + 9 true pixels, 380 + 400 found.
    assert told["clearing_hectares_error"]([counted]) == pytest.approx(780 / 809 - 1)
    assert told["clearing_iou"]([counted]) == pytest.approx(380 / (809 + 780 - 380))


def test_intervals_are_over_groups_c9() -> None:
    # Two scenes, one all right and one all wrong: drawn as wholes, anything from 0 to 1.
    good = _map_scores.Counts("a", np.array([[100, 0], [0, 100]]))
    bad = _map_scores.Counts("b", np.array([[0, 100], [100, 0]]))
    told = _map_scores.intervals([good, bad], ("nodata", "x", "y"), None)
    assert told["accuracy"].value == 0.5
    assert (told["accuracy"].low, told["accuracy"].high) == (0, 1)


# Baselines


def test_ndvi_by_hand_and_its_bands_by_name_d1() -> None:
    values = np.array([[0.1, 0.2, 0.1, 0.5], [0, 0, 0, 0]])
    assert _map_baselines.ndvi(values, BANDS) == pytest.approx([0.4 / 0.6, 0])
    swapped = values[:, ::-1]
    assert _map_baselines.ndvi(swapped, BANDS[::-1]) == pytest.approx([0.4 / 0.6, 0])
    with pytest.raises(CommandError, match="red and nir"):
        _map_baselines.ndvi(values, ("blue", "green", "red", "pan"))


def test_the_ndvi_threshold_that_is_chosen_is_the_grids_best() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 4, 5000).astype(np.uint8)
    index = np.clip(rng.normal(np.array([0, 0.8, 0.45, -0.2])[truth], 0.12), -1, 0.999)
    counts = _map_baselines.NdviCounts()
    counts.add(index[:2000], truth[:2000], 2)
    counts.add(index[2000:], truth[2000:], 2)
    chosen, overlap, grid = counts.best()
    by_hand = {
        (low, high): jaccard_score(truth == 2, (index >= low) & (index < high))
        for low in _map_baselines.LOWER
        for high in _map_baselines.UPPER
    }
    best = max(by_hand.values())
    # Counted in bins of a thousandth: a value within one of an edge may fall on either side.
    assert overlap == pytest.approx(best, abs=3e-3)
    assert by_hand[chosen.lower, chosen.upper] == pytest.approx(best, abs=3e-3)
    assert grid.shape == (len(_map_baselines.LOWER), len(_map_baselines.UPPER))


def test_the_forest_learns_pixels_and_tells_how_it_was_tuned() -> None:
    train, val = (_map_comparison.sampled([field(seed)], 0) for seed in (0, 1))
    forest = _map_baselines.fit_forest(train, val, BANDS, target=2, trees=5)
    assert len(forest.scores) == 2 * len(_map_baselines.LEAVES)
    assert forest.scores[forest.leaf, forest.balanced] == max(forest.scores.values())
    place = field(2)
    found = _map_comparison.forest_map(forest, place)
    known = place.labels > 0
    assert (found[known] == place.labels[known]).mean() > 0.95
    assert (found[~known] == 0).all()


def test_the_comparison_tells_network_and_baselines_on_the_same_pixels(
    trained: _mapper.Mapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_map_baselines, "TREES", 5)
    fields = [field(seed) for seed in range(5)]
    classics = _map_comparison.classical(fields[:2], fields[2:3], fields[3:])
    found = _map_comparison.compare(trained, classics, fields[2:3], fields[3:])
    for name in (
        "test_map_clearing_iou", "test_map_clearing_iou_low", "test_map_mean_iou",
        "test_map_clearing_object_f1", "test_map_clearing_hectares_error",
        "baseline_test_map_ndvi_clearing_iou", "baseline_test_map_forest_clearing_iou",
        "test_map_clearing_iou_gain_over_ndvi", "val_map_clearing_iou",
        "test_map_calibration_error",
    ):  # fmt: skip
        assert name in found.figures
    assert set(found.maps) == {"truth", "network", "NDVI threshold", "random forest"}
    card = _map_comparison.card(
        trained, found.figures, data="simulated-quick", data_fingerprint="d",
        split_fingerprint="s", run_id="r",
    )  # fmt: skip
    assert card.name == "fieldsight-deforestation-map-simulated-quick"
    assert card.simulated
    assert "SIMULATED" in card.limits
    assert "blue, green, red, nir" in card.input
