"""Tags: what the network may say, how thresholds are chosen, what answers are worth."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from sklearn.metrics import average_precision_score, fbeta_score

from fieldsight.datasets import planet
from fieldsight.datasets.planet import TAGS, WEATHER, ChipSet
from fieldsight.pipelines import _training
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import (
    _bands,
    _chips,
    _tag_baselines,
    _tag_networks,
    _tag_scores,
    _tagger,
)
from fieldsight.pipelines.deforestation._tag_networks import Statistics
from fieldsight.pipelines.deforestation._tag_scores import Answers, Thresholds, choose_thresholds

CLEAR, CLOUDY, ROAD, WATER = (TAGS.index(tag) for tag in ("clear", "cloudy", "road", "water"))
WEATHER_AT = [TAGS.index(tag) for tag in WEATHER]
GROUND_AT = [i for i, tag in enumerate(TAGS) if tag not in WEATHER]
EVEN = Thresholds(tuple(0.25 if tag in WEATHER else 0.5 for tag in TAGS))
PLAIN = Statistics((6.0, 6.0, 6.0, 7.0), (0.5, 0.5, 0.5, 0.5))


def row(**chances: float) -> np.ndarray[Any, Any]:
    return np.array([chances.get(tag, 0.0) for tag in TAGS])


# D-8: exactly one weather tag, and a cloudy chip shows no ground


@given(arrays(np.float64, (5, 17), elements=st.floats(0, 1)))
def test_one_weather_tag_is_given_and_cloudy_excludes_the_ground(said: Any) -> None:
    tags = EVEN.decide(said)
    assert (tags[:, WEATHER_AT].sum(axis=1) == 1).all()
    assert not tags[tags[:, CLOUDY]][:, GROUND_AT].any()
    seen = ~tags[:, CLOUDY]
    np.testing.assert_array_equal(tags[seen][:, GROUND_AT], said[seen][:, GROUND_AT] >= 0.5)


def test_a_weather_threshold_weighs_it_against_the_others() -> None:
    said = row(clear=0.5, haze=0.3, partly_cloudy=0.2, road=0.9)[None]
    assert EVEN.decide(said)[0, CLEAR]
    values = list(EVEN.values)
    values[TAGS.index("haze")] = 0.1  # three times its threshold; clear is twice its own
    decided = Thresholds(tuple(values)).decide(said)[0]
    assert [tag for tag, on in zip(TAGS, decided, strict=True) if on] == ["road", "haze"]


@pytest.fixture(scope="module")
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    return _tag_networks.tagger("small", PLAIN, side=64, dropout=0.0)


def test_the_networks_probabilities_obey_the_weather(small: keras.Model) -> None:
    chips = np.random.default_rng(0).integers(1, 4000, (6, 64, 64, 4)).astype("float32")
    said = np.asarray(_tag_networks.with_probabilities(small)(chips))
    np.testing.assert_allclose(said[:, WEATHER_AT].sum(axis=1), 1, atol=1e-6)
    assert (said[:, GROUND_AT] <= 1 - said[:, [CLOUDY]] + 1e-6).all()
    # By hand from the logits, tag by tag in the competition's order.
    logits = np.asarray(small(chips), np.float64)
    weather = np.exp(logits[:, WEATHER_AT])
    weather /= weather.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(said[:, CLEAR], weather[:, WEATHER.index("clear")], rtol=1e-4)
    road = 1 / (1 + np.exp(-logits[:, ROAD])) * (1 - weather[:, WEATHER.index("cloudy")])
    np.testing.assert_allclose(said[:, ROAD], road, rtol=1e-4)


def test_a_saved_tagger_answers_raw_numbers_alike(small: keras.Model, tmp_path: Path) -> None:
    # C-5, D-2: statistics are inside; uint16 goes in as it is.
    chips = np.random.default_rng(1).integers(0, 65535, (2, 64, 64, 4)).astype(np.uint16)
    network = _tag_networks.with_probabilities(small)
    network.save(tmp_path / "tagger.keras")
    again = keras.saving.load_model(tmp_path / "tagger.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(
        network.predict(chips, verbose=0), again.predict(chips, verbose=0)
    )


def test_the_mean_over_symmetries_is_the_same_for_each_form(small: keras.Model) -> None:
    # D-10: the eight of the square.
    chip = np.random.default_rng(2).integers(1, 4000, (64, 64, 4)).astype(np.uint16)
    forms = np.stack([np.rot90(part, k) for part in (chip, chip[::-1]) for k in range(4)])
    network = _tag_networks.with_probabilities(small)
    said = _tagger.answers(network.predict_on_batch, forms, average=True)
    np.testing.assert_allclose(said, said[:1].repeat(8, axis=0), atol=1e-5)
    assert np.ptp(_tagger.answers(network.predict_on_batch, forms), axis=0).max() > 1e-4


def test_statistics_are_of_what_there_are_data_of() -> None:
    # D-2, D-4: nodata is 0 in every band; a band alone may be 0.
    chips = np.zeros((1, 2, 2, 2), np.uint16)
    chips[0, 0, 0] = (2, 0)
    chips[0, 0, 1] = (8, 3)
    found = Statistics.of(chips)
    np.testing.assert_allclose(found.mean, [np.log([3, 9]).mean(), np.log([1, 4]).mean()])
    np.testing.assert_allclose(found.deviation, [np.log(9 / 3) / 2, np.log(4) / 2], rtol=1e-6)
    # A band that never changes isn't divided by its rounding.
    assert Statistics.of(np.full((3, 7, 7, 1), 1234, np.uint16)).deviation == (1.0,)
    with pytest.raises(CommandError, match="nodata alone"):
        Statistics.of(np.zeros((2, 4, 4, 4), np.uint16))


# The loss


def loss_of(truth: Any, logits: Any, smoothing: float = 0.0) -> float:
    loss = _tag_networks.Learned(smoothing)
    return float(loss(np.atleast_2d(truth), np.atleast_2d(logits).astype("float32")))


def test_the_loss_is_a_cross_entropy_of_the_weather_and_one_a_ground_tag() -> None:
    # Logits of zero: log 4 of the weather, log 2 of each of 13 ground tags.
    truth = row(clear=1, primary=1)
    assert loss_of(truth, np.zeros(17)) == pytest.approx(np.log(4) + 13 * np.log(2), rel=1e-6)
    # Of a cloudy chip what is said of the ground counts for nothing.
    logits = np.where(np.isin(np.arange(17), GROUND_AT), 7.0, 0.0)
    assert loss_of(row(cloudy=1), logits) == pytest.approx(np.log(4), rel=1e-6)
    # Of a chip without a weather tag (the competition has one) the ground alone counts.
    assert loss_of(row(primary=1), np.zeros(17)) == pytest.approx(13 * np.log(2), rel=1e-6)
    # Smoothed by a tenth, a sure right answer (logit 20) of a ground tag costs 20 x 0.05.
    sure = row(clear=1, primary=1) * 40 - 20
    assert loss_of(truth, sure, 0.1) == pytest.approx(13 * 20 * 0.05 + 40 * 0.1 * 3 / 4, rel=1e-3)


def test_land_cover_is_learned_by_pixels_of_known_classes() -> None:
    # Two by two cells, classes nodata, forest, water; 4 pixels of one known cell are forest.
    cells = np.zeros((2, 2, 3))
    cells[0, 0, 1], cells[1, 1, 0] = 4, 64
    truth = np.concatenate([row(cloudy=1), cells.ravel()])[None]
    logits = np.zeros((1, 17 + 2 * 2 * 3 + 3), "float32")
    loss = _tag_networks.Learned(0.0, 3, 2)
    # Log 4 of the weather, log 2 of forest or water at each of the two levels.
    assert float(loss(truth, logits)) == pytest.approx(np.log(4) + 2 * np.log(2), rel=1e-6)
    logits[0, 17:29:3] = 9.0  # nodata is nothing to be learned
    assert float(loss(truth, logits)) == pytest.approx(np.log(4) + 2 * np.log(2), rel=1e-6)
    logits[0, 18] = 20.0  # forest, in the fine cell
    assert float(loss(truth, logits)) == pytest.approx(np.log(4) + np.log(2), rel=1e-5)


def test_a_tagger_learns_tags_and_land_cover_at_once(small: keras.Model) -> None:
    network = _tag_networks.with_cover(small, 3)  # 64 pixels: 8 x 8 cells, then 4 x 4
    assert network.output_shape == (None, 17 + 3 * (64 + 16))
    chips = np.random.default_rng(0).integers(1, 4000, (4, 64, 64, 4)).astype("float32")
    targets = np.zeros((4, 17 + 3 * 64), "int32")
    targets[:, CLEAR] = 1
    targets[:, 18::3] = 64  # all of it is the first class
    network.compile("adam", _tag_networks.Learned(0.0, 3, 8))
    losses = [float(network.train_on_batch(chips, targets)) for _ in range(4)]
    assert losses[-1] < losses[0]


def test_chips_and_their_land_cover_are_turned_alike() -> None:
    # D-10: what covers a cell is told by the chip's own pixels, however it was moved.
    rng = np.random.default_rng(0)
    cover = rng.integers(0, 64, (3, 32, 32, 2)).astype(np.uint8)
    pixels = cover[..., :1].repeat(8, axis=1).repeat(8, axis=2).astype(np.uint16)
    cohort: Any = SimpleNamespace(
        pixels=lambda side: pixels, tags=lambda side: np.zeros((3, 17), np.uint8), cover=cover,
        sides={"train": np.arange(3)},
    )  # fmt: skip
    recipe = _training.Recipe(epochs=1, batch_size=3)
    chips, targets = _tagger.batches(cohort, recipe)[0]
    assert chips.dtype == np.float32
    grids = targets[:, 17:].reshape(3, 32, 32, 2)
    np.testing.assert_array_equal(chips[:, ::8, ::8, 0], grids[..., 0])
    assert any((grid[..., 0] != one[..., 0]).any() for grid, one in zip(grids, cover, strict=True))


def test_what_is_followed_in_training_is_f2_by_chip() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 17)).astype("float32")
    truth = (rng.random((40, 17)) < 0.3).astype("int32")
    decided = np.zeros((40, 17), bool)
    decided[np.arange(40), np.asarray(WEATHER_AT)[logits[:, WEATHER_AT].argmax(axis=1)]] = True
    seen = ~decided[:, CLOUDY]
    for i in GROUND_AT:
        decided[:, i] = seen & (1 / (1 + np.exp(-logits[:, i].astype(float))) > 0.2)
    expected = [
        fbeta_score(t, d, beta=2, zero_division=0) for t, d in zip(truth, decided, strict=True)
    ]
    np.testing.assert_allclose(np.asarray(_tag_networks.f2(truth, logits)), expected, atol=1e-6)


# Backbones


def test_a_backbone_of_core_answers_17_logits() -> None:
    network = _tag_networks.tagger("resnet20", PLAIN, side=32)
    assert network.input_shape == (None, 32, 32, 4)
    assert network.output_shape == (None, 17)


def test_published_weights_are_refused_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="vgg16, vgg19, resnet50, inception_v3"):
        _tag_networks.tagger("resnet18", PLAIN, published=True)
    (tmp_path / "w.h5").write_bytes(b"no weights")
    network = _tag_networks.tagger("vgg16", PLAIN, side=32, published=True)
    with pytest.raises(CommandError, match="--weights"):
        _tag_networks.fill(network, tmp_path / "w.h5")


# Thresholds, on validation


def test_thresholds_are_where_f2_is_best_and_rare_tags_share_one() -> None:
    # Roads are said with 0.6 where they are and 0.4 where they aren't; all other tags are there
    # whenever they are said at all.
    rng = np.random.default_rng(0)
    truth = np.zeros((200, 17), int)
    truth[:, CLEAR] = 1
    truth[:, TAGS.index("primary")] = rng.random(200) < 0.5
    truth[:60, ROAD] = 1
    truth[:3, TAGS.index("blow_down")] = 1  # 3 chips: too few for a threshold of its own
    said = np.where(truth, 0.3, 0.0)
    said[:, CLEAR] = 1.0
    said[:, ROAD] = np.where(truth[:, ROAD], 0.6, 0.4)
    found = choose_thresholds(said, truth)
    np.testing.assert_array_equal(found.decide(said), truth.astype(bool))
    assert 0.4 < found.values[ROAD] <= 0.6
    common = found.values[TAGS.index("blooming")]
    assert found.values[TAGS.index("blow_down")] == common <= 0.3


def test_a_threshold_is_not_read_out_of_a_chip_or_two() -> None:
    # Water is right from 0.2 on but for one chip of a hundred: its threshold stays.
    truth = np.zeros((100, 17), int)
    truth[:, CLEAR] = truth[:, TAGS.index("primary")] = 1
    truth[:30, WATER] = 1
    said = np.where(truth, 0.9, 0.0)
    said[40, WATER] = 0.6
    found = choose_thresholds(said, truth)
    assert found.values[WATER] == found.values[TAGS.index("primary")]


# What answers are worth


@pytest.fixture(scope="module")
def answers() -> Answers:
    rng = np.random.default_rng(3)
    truth = np.zeros((50, 17), np.uint8)
    truth[np.arange(50), rng.choice(WEATHER_AT, 50, p=[0.6, 0.2, 0.1, 0.1])] = 1
    ground = rng.random((50, 13)) < 0.3
    truth[:, GROUND_AT] = ground & (truth[:, [CLOUDY]] == 0)
    said = np.clip(0.6 * truth + rng.uniform(0, 0.4, truth.shape), 0, 1)
    return Answers(said, EVEN, truth, np.repeat(list("abcde"), 10))


def test_f2_and_average_precision_are_scikit_learns(answers: Answers) -> None:
    # C-8, D-9.
    figures = _tag_scores.figures_of(answers, "test_")
    each = [
        fbeta_score(t, d, beta=2, zero_division=0)
        for t, d in zip(answers.tags, answers.decided, strict=True)
    ]
    assert figures["test_f2"] == pytest.approx(np.mean(each))
    assert figures["test_f2_low"] <= figures["test_f2"] <= figures["test_f2_high"]
    precisions = [
        average_precision_score(answers.tags[:, i], answers.probabilities[:, i])
        for i in range(17)
        if answers.tags[:, i].any()
    ]
    assert figures["test_mean_average_precision"] == pytest.approx(np.mean(precisions))
    assert _tag_scores.more_than(answers, answers) == (0.0, 0.0, 0.0)


def test_the_interval_is_over_scenes_and_not_over_chips(answers: Answers) -> None:
    # C-9: with one scene there is nothing to draw again, and no width.
    one = Answers(answers.probabilities, EVEN, answers.tags, np.repeat("a", 50))
    figures = _tag_scores.figures_of(one, "")
    assert figures["f2_low"] == figures["f2"] == figures["f2_high"]


def test_a_tag_has_its_row(answers: Answers) -> None:
    _, columns, rows = _tag_scores.by_tag(answers, "")
    assert [line[0] for line in rows] == list(TAGS)
    found = dict(zip(columns, rows[ROAD], strict=True))
    true, decided = answers.tags[:, ROAD].astype(bool), answers.decided[:, ROAD]
    assert found["chips"] == true.sum()
    assert found["recall"] == f"{(true & decided).sum() / true.sum():.3f}"
    assert found["precision"] == f"{(true & decided).sum() / decided.sum():.3f}"


# Baselines


def test_band_statistics_tell_colours_and_no_shapes() -> None:
    rng = np.random.default_rng(0)
    chip = rng.integers(100, 3000, (1, 16, 16, 4)).astype(np.uint16)
    bands = ("blue", "green", "red", "nir")
    shuffled = rng.permutation(chip.reshape(256, 4)).reshape(chip.shape)
    plain = np.full((1, 16, 16, 4), (200, 300, 500, 1500), np.uint16)
    found = _tag_baselines.statistics(plain, bands)[0]
    # (1500 - 500) / (1500 + 500), (300 - 1500) / 1800, (200 - 500) / 700; no deviation.
    ratios = found.reshape(9, 7)[:, 4:]
    np.testing.assert_allclose(ratios[:8], np.tile([1 / 2, -2 / 3, -3 / 7], (8, 1)), rtol=1e-6)
    np.testing.assert_allclose(ratios[8], 0, atol=1e-6)
    both = [_tag_baselines._of_one(one, bands) for one in (chip[0], shuffled[0])]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5)
    # Without near infrared there is neither NDVI nor NDWI.
    assert _tag_baselines.statistics(plain[..., :3], ("red", "green", "blue")).shape == (1, 9 * 4)


def test_the_baselines_learn_what_there_is_to_learn() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((120, 17), np.uint8)
    truth[:, CLEAR] = 1
    truth[:30, [CLEAR, CLOUDY]] = 0, 1
    truth[30:, ROAD] = rng.random(90) < 0.5
    features = np.column_stack([truth[:, CLOUDY], truth[:, ROAD], np.zeros(120)]).astype(float)
    features += rng.normal(0, 0.05, features.shape) * [1, 1, 0]
    found = _tag_baselines.fit_logistic(features[::2], truth[::2], features[1::2], truth[1::2])
    said = found.probabilities(features)
    decided = choose_thresholds(said[1::2], truth[1::2]).decide(said)
    np.testing.assert_array_equal(decided, truth.astype(bool))
    np.testing.assert_allclose(said[:, WEATHER_AT].sum(axis=1), 1)
    assert (said[:, WATER] == 0).all()  # no training chip has it
    often = _tag_baselines.Frequencies.fit(truth).probabilities(2)
    np.testing.assert_allclose(often[:, CLOUDY], 0.25)


# Chips and their sides


def chip_set(groups: list[str], **changes: Any) -> ChipSet:
    tags = np.zeros((len(groups), 17), np.uint8)
    tags[:, CLEAR] = 1
    given: dict[str, Any] = {
        "names": tuple(f"train_{i}" for i in range(len(groups))),
        "tags": tags,
        "groups": np.array(groups),
        "product": "tif",
        "bands": ("blue", "green", "red", "nir"),
        "simulated": False,
        "fingerprint": "0" * 64,
        "failures": {},
    }
    return ChipSet(**{**given, **changes})


def test_a_scene_is_on_one_side_and_neighbours_of_training_are_held_back() -> None:
    # C-6, D-7.
    groups = list(itertools.chain(*([f"s{i:02}"] * 25 for i in range(10))))
    chips = chip_set(groups)
    for sides, how in (_chips.by_scene(chips, 0), _chips.in_order(chips, (7, 1, 2), 0)):
        found = {side: set(chips.groups[sides[side]]) for side in ("train", "val", "test")}
        for first, second in itertools.combinations(found.values(), 2):
            assert not first & second
        assert set(chips.groups[sides["neighbours"]]) <= found["train"]
        assert len(sides["neighbours"]) == round(0.08 * 175)
        assert sorted(np.concatenate(list(sides.values()))) == list(range(250))
        assert "by scene" in how
    in_order, _ = _chips.in_order(chips, (7, 1, 2), 0)
    assert set(chips.groups[in_order["test"]]) == {"s08", "s09"}


def test_where_neighbours_are_not_known_it_is_said() -> None:
    sides, how = _chips.by_scene(chip_set([f"train_{i}" for i in range(50)]), 0)
    assert "optimistic" in how
    assert len(sides["neighbours"]) == 0


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_neighbours_are_found_by_their_edges_where_no_table_tells_d7(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    (tmp_path / "train-tif-v2").mkdir()
    for scene in range(4):
        # One pixel's light falls on the next as well, as in every camera.
        ground = ndimage.gaussian_filter(rng.normal(5000, 2000, (256, 768, 4)), (1.2, 1.2, 0))
        for part in range(3):
            with rasterio.open(
                tmp_path / "train-tif-v2" / f"train_{3 * scene + part}.tif", "w", driver="GTiff",
                width=256, height=256, count=4, dtype="uint16",
            ) as file:  # fmt: skip
                chip = ground[:, part * 256 : part * 256 + 256].astype("uint16")
                file.write(np.moveaxis(chip, -1, 0))
    table = ["image_name,tags", *(f"train_{i},clear primary" for i in range(12))]
    (tmp_path / "train_v2.csv").write_text("\n".join(table) + "\n")
    chips = _chips.with_neighbours(planet.load(tmp_path), tmp_path, lambda _: lambda *_: None)
    expected = [f"train_{3 * (i // 3)}" for i in range(12)]
    assert chips.groups.tolist() == expected
    sides, how = _chips.by_scene(chips, 0)
    assert "edges" in how
    found = [set(chips.groups[sides[side]]) for side in ("train", "val", "test")]
    assert sum(map(len, found)) == 4  # no block on two sides
    # A table that tells scenes is believed.
    told = ["image_name,scene", *(f"train_{i},s{i % 2}" for i in range(12))]
    (tmp_path / "chips.csv").write_text("\n".join(told) + "\n")
    chips = _chips.with_neighbours(planet.load(tmp_path), tmp_path, lambda _: lambda *_: None)
    assert set(chips.groups) == {"s0", "s1"}


def test_bands_have_the_names_that_are_given() -> None:
    # D-1.
    chips = chip_set(["a"])
    assert _chips.with_bands(chips, _bands.named("Red, green,blue,NIR")).bands[0] == "red"
    assert _chips.with_bands(chips, None) is chips
    with pytest.raises(CommandError, match="4 names were needed"):
        _chips.with_bands(chips, ("red",))
    for wrong in ("red,,blue", "red,red", ""):
        with pytest.raises(CommandError, match="--bands"):
            _bands.named(wrong)
