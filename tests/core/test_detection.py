"""A detector's targets and answers: worked by hand, and there and back for any boxes."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from fieldsight.core.architectures import all_cnn, inception_v3, resnet18, resnet20
from fieldsight.core.architectures.detector import detector
from fieldsight.core.boxes import iou
from fieldsight.core.detection import decode, decode_batch, encode
from fieldsight.core.inspection.gradient import gradient
from fieldsight.core.losses import DetectionLoss

Array = NDArray[Any]


def answered(target: np.ndarray, num_classes: int) -> np.ndarray:
    """What a perfect detector would answer: sure at centres, sure of nothing elsewhere."""
    maps = target[..., :-1].copy()
    maps[..., :num_classes] = np.where(target[..., :num_classes] == 1, 9.0, -9.0)
    return maps


def test_a_target_worked_by_hand() -> None:
    # A box of 8 x 16 pixels, centre (x 12, y 9): at stride 4 in place (2, 3), whose middle is
    # (14, 10); the offset is (-2, -1) pixels.
    target = encode([[8, 1, 16, 17]], [1], (24, 32), num_classes=2, stride=4)
    assert target.shape == (6, 8, 2 + 4 + 1)
    assert np.argwhere(target[..., -1]).tolist() == [[2, 3]]
    place = target[2, 3]
    np.testing.assert_allclose(place[2:6], [np.log(4), np.log(2), -0.25, -0.5], rtol=1e-6)
    assert place[[0, 1, 6]].tolist() == [0, 1, 1]
    # TTFNet's deviation: 0.54 / 6 of 4 places along y is 0.36, under the narrowest of 0.4.
    np.testing.assert_allclose(target[1, 3, 1], np.exp(-1 / (2 * 0.4**2)), rtol=1e-6)
    assert target[..., 0].max() == 0


def test_a_wide_objects_heat_is_wide_along_its_length() -> None:
    # 80 pixels along x are 20 places: a deviation of 1.8.
    target = encode([[8, 44, 88, 52]], None, (96, 96), stride=4)
    np.testing.assert_allclose(target[12, 14, 0], np.exp(-4 / (2 * 1.8**2)), rtol=1e-5)
    assert target[14, 12, 0] < 1e-5


def test_about_a_large_objects_centre_its_size_and_offset_stand_too() -> None:
    # 32 x 32 pixels about (18, 18): at stride 4 in place (4, 4), whose middle it is. The Gaussian
    # is 0.54 / 6 of 8 places wide, 0.72: beside the centre exp(-1 / (2 * 0.72^2)) = 0.381 high,
    # and 0.381^2 = 0.145 on the diagonal.
    target = encode([[2, 2, 34, 34]], None, (48, 48), reach=0.3)
    at = [[3, 4], [4, 3], [4, 4], [4, 5], [5, 4]]
    assert np.argwhere(target[..., -1]).tolist() == at
    assert target[4, 4, 1:].tolist() == pytest.approx([np.log(8), np.log(8), 0, 0, 1])
    assert target[3, 4, 1:].tolist() == pytest.approx(
        [np.log(8), np.log(8), 1, 0, 0.3811], rel=1e-3
    )
    assert target[4, 5, 3:].tolist() == pytest.approx([0, -1, 0.3811], rel=1e-3)
    alone = encode([[2, 2, 34, 34]], None, (48, 48))
    np.testing.assert_array_equal(alone[..., 0], target[..., 0])
    assert np.argwhere(alone[..., -1]).tolist() == [[4, 4]]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_peak_beside_the_centre_gives_the_same_box(rank: int) -> None:
    box = np.array([[9.0] * rank + [61.0] * rank])
    target = encode(box, None, (80,) * rank, stride=4, reach=0.5)
    weights = target[..., -1]
    beside = np.argwhere((weights > 0) & (weights < 1))
    assert len(beside) >= 2 * rank
    for place in beside:
        maps = target[..., :-1].copy()
        maps[..., 0] = -9.0
        maps[(*place, 0)] = 9.0
        np.testing.assert_allclose(decode(maps).boxes, box, atol=1e-4)


def test_a_small_objects_centre_beside_a_large_ones_keeps_its_own_size() -> None:
    small, large = [18, 14, 22, 18], [2, 2, 34, 34]  # centres in places (4, 5), (4, 4)
    target = encode([small, large], None, (48, 48), reach=0.1)
    assert target[4, 5, 1:].tolist() == pytest.approx([0, 0, -0.5, -0.5, 1], abs=1e-6)
    assert (target[..., -1] == 1).sum() == 2


def test_where_two_meet_the_higher_heat_counts_and_the_smaller_is_kept() -> None:
    boxes = [[0, 0, 16, 16], [7, 7, 9, 9]]  # one centre
    for order in ([0, 1], [1, 0]):
        target = encode([boxes[i] for i in order], None, (16, 16), stride=4)
        assert target[..., -1].sum() == 1
        np.testing.assert_allclose(target[2, 2, 1:3], np.log([0.5, 0.5]))


def test_nothing_counts_in_an_ignored_region_but_a_centre() -> None:
    target = encode([[4, 4, 8, 8]], None, (16, 16), stride=4, ignore=[[0, 0, 8, 16]])
    # Places whose middle (2 or 6 along x) lies in the region, all along y.
    counts = (target[..., 0] >= 0).astype(int)
    assert counts.tolist() == [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert target[1, 1, 0] == 1


def test_a_centre_outside_has_no_place() -> None:
    target = encode([[-20, 0, 8, 8], [0, 14, 4, 20]], None, (16, 16), stride=4)
    assert target.max() == 0


@pytest.mark.parametrize("shape", [(16, 24), (8, 16, 24)])
def test_an_empty_picture_has_an_empty_target_and_nothing_is_found(shape: tuple[int, ...]) -> None:
    target = encode([], [], shape, stride=2)
    assert target.max() == 0
    found = decode(answered(target, 1), stride=2)
    assert (len(found), found.boxes.shape) == (0, (0, 2 * len(shape)))


@st.composite
def scenes(draw: Any) -> tuple[tuple[int, ...], int, np.ndarray, np.ndarray]:
    """Boxes of whose centres no two lie in one place or in neighbouring ones."""
    rank = draw(st.integers(2, 3))
    stride = draw(st.sampled_from([1, 2, 4]))
    places = tuple(draw(st.integers(1, 3)) * 3 for _ in range(rank))
    cells = np.stack(np.meshgrid(*(np.arange(1, n, 3) for n in places), indexing="ij"), -1)
    cells = cells.reshape(-1, rank)
    count = draw(st.integers(0, len(cells)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centres = rng.permutation(cells)[:count] + rng.uniform(0.05, 0.95, (count, rank))
    half = rng.uniform(0.2, 0.9, (count, rank))  # apart: none overlaps another
    boxes = np.concatenate([(centres - half)[:, ::-1], (centres + half)[:, ::-1]], axis=1)
    return tuple(n * stride for n in places), stride, boxes * stride, rng.integers(0, 3, count)


@settings(deadline=None)
@given(scenes())
def test_boxes_come_back_from_their_target(
    scene: tuple[tuple[int, ...], int, np.ndarray, np.ndarray],
) -> None:
    shape, stride, boxes, labels = scene
    target = encode(boxes, labels, shape, num_classes=3, stride=stride)
    found = decode(answered(target, 3), num_classes=3, stride=stride)
    assert len(found) == len(boxes)
    order = np.lexsort((*found.boxes.T, found.labels)), np.lexsort((*boxes.T, labels))
    np.testing.assert_allclose(found.boxes[order[0]], boxes[order[1]], atol=1e-3)
    np.testing.assert_array_equal(found.labels[order[0]], labels[order[1]])
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-9)), rtol=1e-5)


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(1, 9, 7), (5, 6, 5), (3, 4, 5, 3), (2, 30)]),
    few=st.booleans(),
    apart=st.sampled_from([None, 3.0]),
    limit=st.sampled_from([1, 3, 10_000]),
)
def test_in_a_batch_each_answers_objects_are_those_that_it_has_alone(
    seed: int, shape: tuple[int, ...], few: bool, apart: float | None, limit: int
) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(*shape, 2 + 2 * (len(shape) - 1))).round(1).astype(np.float32)
    asked: Any = {"num_classes": 2, "stride": 2, "apart": apart, "limit": limit}
    asked["threshold"] = 0.8 if few else 0.2  # what few or most places reach
    together = decode_batch(maps, **asked)
    assert len(together) == len(maps)
    for one, found in zip(maps, together, strict=True):
        alone = decode(one, **asked)
        np.testing.assert_array_equal(found.boxes, alone.boxes)
        np.testing.assert_array_equal(found.scores, alone.scores)
        np.testing.assert_array_equal(found.labels, alone.labels)


def test_of_two_neighbours_the_better_is_kept_by_overlap_or_by_distance() -> None:
    maps = np.zeros((1, 8, 5), "float32")
    maps[..., 0] = -9
    maps[0, [2, 4], 0] = 2, 1  # centres at x = 5 and 9 for stride 2; both 8 pixels wide
    maps[0, [2, 4], 1:3] = np.log(4)
    assert len(decode(maps, stride=2, overlap=0.5)) == 2  # 4 of 12 pixels is a third
    assert len(decode(maps, stride=2, overlap=0.3)) == 1
    kept = decode(maps, stride=2, apart=4.0)
    assert kept.boxes.tolist() == [[1.0, -3.0, 9.0, 5.0]]


def test_classes_dont_suppress_each_other_and_the_best_comes_first() -> None:
    maps = np.full((3, 3, 6), -9, "float32")
    maps[1, 1, :2] = 1, 3
    maps[..., 2:] = 0
    found = decode(maps, num_classes=2, stride=4)
    assert found.labels.tolist() == [1, 0]
    assert decode(maps, num_classes=2, stride=4, limit=1).labels.tolist() == [1]
    assert len(decode(maps, num_classes=2, stride=4, threshold=0.9)) == 1  # 0.953 and 0.731


@pytest.mark.parametrize("places", [(9, 11), (6, 5, 7)])
@pytest.mark.parametrize("threshold", [0.3, 0.97])
def test_an_object_is_where_no_neighbour_exceeds_however_many_reach_the_threshold(
    places: tuple[int, ...], threshold: float
) -> None:
    # Coarse steps, so that neighbours are often equal: then both are. SciPy's filter is the peer.
    heat = np.random.default_rng(3).integers(-8, 9, (*places, 2)).astype(np.float32) / 2
    rank = len(places)
    maps = np.concatenate([heat, np.full((*places, 2 * rank), -9, np.float32)], axis=-1)
    maps[..., 2 + rank :] = 0  # boxes of next to no size, so that none overlaps another
    highest = ndimage.maximum_filter(heat, (*(3,) * rank, 1), mode="nearest")
    expected = np.argwhere((expit(heat) >= threshold) & (heat == highest))
    found = decode(maps, num_classes=2, stride=4, threshold=threshold)
    middles = (found.boxes[:, :rank] + found.boxes[:, rank:])[:, ::-1] / 2 / 4 - 0.5
    got = np.concatenate([middles, found.labels[:, None]], axis=1).round().astype(int)
    assert 0 < len(got) == len(expected)
    assert sorted(map(tuple, got.tolist())) == sorted(map(tuple, expected.tolist()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 0, 4, 4, 4]], None, (8, 8)), r"4 columns. Received: shape \(1, 5\)"),
        (([[4, 0, 4, 4]], None, (8, 8)), r"beyond its lower one. Received: \[4.0, 0.0, 4.0"),
        (([[0, 0, 4, float("nan")]], None, (8, 8)), "beyond its lower one"),
        (([[0, 0, 4, 4]], [1], (8, 8)), "labels must be 0 to 0. Received: 1 to 1"),
        (([[0, 0, 4, 4]], [0, 0], (8, 8)), r"1 boxes need as many labels. Received: shape \(2,"),
        (([], None, (8, 9)), r"multiples of stride. Received: shape=\(8, 9\), stride=4"),
    ],
)
def test_what_isnt_a_scene_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(*arguments)


@pytest.mark.parametrize("reach", [0.0, 1.5])
def test_a_reach_that_is_no_height_is_refused(reach: float) -> None:
    with pytest.raises(ValueError, match="reach must be above 0 and at most 1"):
        encode([], None, (8, 8), reach=reach)


def test_what_isnt_an_answer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"here 6. Received: shape \(4, 4, 5\)"):
        decode(np.zeros((4, 4, 5)), num_classes=2)


# The loss


def places(*rows: list[float]) -> Array:
    """One example of rank 1 in its places, as rank 2 of one row."""
    return np.array(rows, "float32")[None, None]


EMPTY = [0.0, 0, 0, 0, 0, 0]
CENTRE = [1.0, 0.5, -0.5, 0.25, 0, 1]  # heat, sizes, offsets, centre
SURE_OF_NOTHING = [-100.0, 0, 0, 0, 0]


def loss_of(target: Array, answer: Array, **settings: Any) -> float:
    return float(DetectionLoss(**settings)(target, answer))


def test_the_loss_of_two_places_worked_by_hand() -> None:
    # Three to one for both: the centre costs (1/4)^2 log 4/3, the other place, half as hot as a
    # centre, (1/2)^4 (3/4)^2 log 4.
    near = [0.5, 0, 0, 0, 0, 0]
    odds = np.log(3)
    answer = places([odds, *CENTRE[1:5]], [odds, 0, 0, 0, 0])
    by_hand = np.log(4 / 3) / 16 + 9 / 256 * np.log(4)
    assert loss_of(places(CENTRE, near), answer) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 0.3 + 0.2), ({"size_weight": 0.1}, 0.03 + 0.2), ({"offset_weight": 3.0}, 0.3 + 0.6)],
)
def test_size_and_offset_count_at_centres_alone(settings: Any, expected: float) -> None:
    # Sizes off by 0.2 and 0.4, offsets by 0.1 and 0.3; the place beside is off by thousands.
    answer = places([100, 0.7, -0.1, 0.15, -0.3], [-100, 7e3, -7e3, 7e3, 7e3])
    assert loss_of(places(CENTRE, EMPTY), answer, **settings) == pytest.approx(expected, rel=1e-5)


def test_a_volumes_sizes_and_offsets_are_means_over_three_axes() -> None:
    target = np.array([1, 0, 0, 0, 0, 0, 0, 1], "float32").reshape(1, 1, 1, 1, 8)
    answer = np.array([100, 0.3, 0, 0, 0, 0, 0.6], "float32").reshape(1, 1, 1, 1, 7)
    assert loss_of(target, answer) == pytest.approx(0.3 / 3 + 0.6 / 3, rel=1e-5)


def test_an_ignored_place_has_no_loss_and_no_gradient() -> None:
    ignored = [-1.0, 0, 0, 0, 0, 0]
    answer = places([1, *CENTRE[1:5]], [3, 1, 1, 1, 1])
    alone = loss_of(places(CENTRE), answer[:, :, :1])
    assert loss_of(places(CENTRE, ignored), answer) == pytest.approx(alone, rel=1e-6)
    slope = keras.ops.convert_to_numpy(
        gradient(
            lambda x: DetectionLoss()(places(CENTRE, ignored), x),
            keras.ops.convert_to_tensor(answer),
        )
    )
    assert np.abs(slope[0, 0, 1]).max() == 0
    assert slope[0, 0, 0, 0] < 0  # surer of the centre is better


def test_a_batch_without_objects_counts_its_false_alarms_once() -> None:
    # (1/2)^2 log 2 at each of two undecided places, over one.
    assert loss_of(places(EMPTY, EMPTY), np.zeros((1, 1, 2, 5))) == pytest.approx(np.log(2) / 2)
    assert loss_of(places(EMPTY), places(SURE_OF_NOTHING)) == 0


def test_every_object_of_a_batch_weighs_the_same_wherever_it_is() -> None:
    # Three centres, two of them in one picture and none in another, each (1/2)^2 log 2 + 0.2 off;
    # three empty places, of which one is undecided.
    target = np.concatenate([places(CENTRE, CENTRE), places(CENTRE, EMPTY), places(EMPTY, EMPTY)])
    off = [0, 0.7, -0.7, 0.25, 0]
    answer = np.concatenate(
        [places(off, off), places(off, SURE_OF_NOTHING), places(EMPTY[:5], SURE_OF_NOTHING)]
    )
    by_hand = (3 * (np.log(2) / 4 + 0.2) + np.log(2) / 4) / 3
    assert loss_of(target, answer) == pytest.approx(by_hand, rel=1e-5)


def test_only_the_hardest_empty_places_count_if_so_many_are_asked_for() -> None:
    answer = places([100, *CENTRE[1:5]], EMPTY[:5], [-1, 0, 0, 0, 0], SURE_OF_NOTHING)
    target = places(CENTRE, EMPTY, EMPTY, EMPTY)
    hardest = loss_of(target, answer, hard_negatives=1)
    assert hardest == pytest.approx(np.log(2) / 4, rel=1e-5)
    assert loss_of(target, answer, hard_negatives=9) == pytest.approx(loss_of(target, answer))


@pytest.mark.parametrize("shape", [(16, 24), (8, 16, 8)])
def test_the_loss_of_a_scene_is_that_of_the_papers_equations(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    rank = len(shape)
    low = rng.uniform(0, 6, (5, rank))
    boxes = np.concatenate([low, low + rng.uniform(2, 9, (5, rank))], axis=1)
    target = encode(boxes, [0, 1, 1, 0, 1], shape, num_classes=2, stride=2)[None]
    answer = rng.normal(0, 2, (*target.shape[:-1], 2 + 2 * rank)).astype("float32")
    heat, p = target[..., :2].astype(float), expit(answer[..., :2].astype(float))
    focal = np.where(
        heat == 1, -((1 - p) ** 2) * np.log(p), -((1 - heat) ** 4) * p**2 * np.log(1 - p)
    )
    centres = target[..., -1] == 1
    assert centres.sum() == len(boxes)  # each in a place of its own
    apart = np.abs(target[centres][:, 2:-1].astype(float) - answer[centres][:, 2:])
    expected = (focal.sum() + apart.sum() / rank) / centres.sum()
    assert loss_of(target, answer, num_classes=2) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_answers_have_a_float32_loss(precision: str) -> None:
    # All these numbers are exact in eight bits; softplus(-20) is not, and must not become 0 / 0.
    answer = places([-20, 0.5, -0.25, 0.25, 0], [-20, 0, 0, 0, 0])
    loss = DetectionLoss()(places(CENTRE, EMPTY), keras.ops.cast(answer, precision))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(20 + 0.25 / 2, rel=1e-5)


def test_the_loss_comes_back_from_its_config() -> None:
    loss = DetectionLoss(3, size_weight=0.1, offset_weight=2.0, hard_negatives=7, name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, DetectionLoss)
    assert again.get_config() == loss.get_config()
    assert (again.num_classes, again.size_weight, again.offset_weight) == (3, 0.1, 2.0)
    assert (again.hard_negatives, again.name) == (7, "mine")


def test_what_isnt_a_detectors_answer_or_target_has_no_loss() -> None:
    with pytest.raises(ValueError, match=r"target of 6 channels .* 5 .*Received: 5 and 5"):
        DetectionLoss()(np.zeros((1, 1, 1, 5)), np.zeros((1, 1, 1, 5)))
    with pytest.raises(ValueError, match=r"hard_negatives must be at least 1.*Received: 0"):
        DetectionLoss(hard_negatives=0)


# The network


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("shape", [(16, 24, 2), (8, 16, 8, 1)])
def test_every_place_has_scores_sizes_and_offsets(stride: int, shape: tuple[int, ...]) -> None:
    model = detector(all_cnn(shape, filters=4), 3, stride=stride, filters=8)
    places = tuple(side // stride for side in shape[:-1])
    maps = keras.ops.convert_to_numpy(model(np.zeros((2, *shape), "float32")))
    assert maps.shape == (2, *places, 3 + 2 * len(places))
    # Nearly all places are empty: an untrained one says 0.01.
    np.testing.assert_allclose(1 / (1 + np.exp(-maps[..., :3])), 0.01, atol=0.02)


def test_it_stands_on_any_backbone_of_any_size() -> None:
    with keras.StatelessScope(initialize_variables=False):
        assert detector(resnet18((None, None, 3)), 2).output_shape == (None, None, None, 6)
        assert detector(resnet18((64, 64, 64, 1))).output_shape == (None, 16, 16, 16, 7)
        mobile = keras.applications.MobileNetV2((64, 96, 3), weights=None)
        assert detector(mobile, 1, stride=2).output_shape == (None, 32, 48, 5)


def test_a_stride_that_the_backbone_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'resnet20''s: 1, 2, 4. Received: stride=8"):
        detector(resnet20((32, 32, 1)), stride=8)
    with (
        keras.StatelessScope(initialize_variables=False),
        pytest.raises(ValueError, match=r"axis 0: level P4 must be as large .* 4. Received: 5"),
    ):
        detector(inception_v3((107, 107, 3)))


def body(shape: tuple[int, ...], box: list[float]) -> Array:
    """1 inside a box of whole numbers, 0 outside."""
    rank = len(shape)
    upper_first = zip(box[:rank][::-1], box[rank:][::-1], strict=True)
    scene = np.zeros((*shape, 1), "float32")
    scene[tuple(slice(int(low), int(high)) for low, high in upper_first)] = 1
    return scene


SCENES: dict[int, tuple[tuple[int, ...], list[list[list[float]]]]] = {
    2: ((32, 48), [[[4, 6, 10, 18], [30, 8, 42, 14]], [[16, 20, 24, 26]]]),
    3: ((16, 16, 24), [[[2, 3, 4, 8, 9, 8], [15, 6, 7, 21, 14, 13]], [[10, 5, 3, 16, 10, 9]]]),
}


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="compiles for a minute or two")
@pytest.mark.parametrize("rank", [2, 3])
def test_a_detector_learns_two_scenes_by_heart(rank: int) -> None:
    shape, scenes_boxes = SCENES[rank]
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    scenes = np.stack([np.max([body(shape, b) for b in boxes], axis=0) for boxes in scenes_boxes])
    scenes += rng.normal(0, 0.1, scenes.shape).astype("float32")
    targets = np.stack([encode(boxes, None, shape, stride=2) for boxes in scenes_boxes])
    model = detector(all_cnn((*shape, 1), filters=8), stride=2, filters=16)
    model.compile(keras.optimizers.Adam(1e-2), DetectionLoss())
    rows = np.tile([0, 1], 8)  # an epoch of eight steps
    model.fit(scenes[rows], targets[rows], batch_size=2, epochs=15, shuffle=False, verbose=0)
    for maps, boxes in zip(model.predict(scenes, verbose=0), scenes_boxes, strict=True):
        found = decode(maps, stride=2, threshold=0.3)
        assert len(found) == len(boxes)
        overlap = iou(found.boxes, boxes)
        assert sorted(overlap.argmax(axis=1).tolist()) == list(range(len(boxes)))
        assert overlap.max(axis=1).min() > 0.7
