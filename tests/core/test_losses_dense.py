"""Focal losses, soft Dice and noisy-or against plain NumPy in doubles, against Keras, by hand."""

from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from fieldsight.core.inspection.gradient import gradient
from fieldsight.core.losses import (
    PADDED,
    BinaryFocal,
    HeatMapFocal,
    NoisyOrCrossentropy,
    SoftDice,
    binary_focal,
    heat_map_focal,
    noisy_or,
    noisy_or_crossentropy,
    soft_dice,
)

Array = NDArray[Any]
RNG = np.random.default_rng(0)
SHAPE = (3, 4, 5, 2)
LOGITS = RNG.normal(0, 2, SHAPE).astype("float32")
HEAT = RNG.random(SHAPE).astype("float32") * 0.9
HEAT[0, 1, 2, 0] = HEAT[0, 3, 3, 1] = HEAT[1, 0, 0, 1] = 1  # two centres, one, none
YES = (RNG.random(SHAPE) < 0.2).astype("float32")


def numbers(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def slope(loss: Any, logits: Array) -> Array:
    """The derivative of the sum of a loss of logits."""
    at = keras.ops.convert_to_tensor(logits)
    return numbers(gradient(lambda x: keras.ops.sum(loss(x)), at))


def heat_by_equation(heat: Array, logits: Array) -> tuple[Array, Array]:
    """The two cases of equation 1, before the sum and the division."""
    p = expit(logits.astype(float))
    positive = np.where(heat == 1, -((1 - p) ** 2) * np.log(p), 0)
    negative = np.where(heat == 1, 0, -((1 - heat.astype(float)) ** 4) * p**2 * np.log(1 - p))
    return positive.reshape(len(p), -1), negative.reshape(len(p), -1)


# Heat maps


def test_heat_map_focal_is_equation_1_of_objects_as_points() -> None:
    positive, negative = heat_by_equation(HEAT, LOGITS)
    expected = (positive + negative).sum(1) / np.array([2, 1, 1])
    assert numbers(heat_map_focal(HEAT, LOGITS)) == pytest.approx(expected, 1e-5)


def test_divided_by_the_batchs_centres_it_is_their_codes() -> None:
    positive, negative = heat_by_equation(HEAT, LOGITS)
    loss = HeatMapFocal(per="batch_positive")(HEAT, LOGITS)
    assert float(loss) == pytest.approx((positive + negative).sum() / 3, 1e-5)


def test_only_the_hardest_negatives_of_each_example_count() -> None:
    positive, negative = heat_by_equation(HEAT, LOGITS)
    hard = np.sort(negative, 1)[:, -4:].sum(1)
    expected = (positive.sum(1) + hard) / np.array([2, 1, 1])
    assert numbers(heat_map_focal(HEAT, LOGITS, hard_negatives=4)) == pytest.approx(expected, 1e-5)
    # More than there are: all of them.
    many = numbers(heat_map_focal(HEAT, LOGITS, hard_negatives=1000))
    assert many == pytest.approx(numbers(heat_map_focal(HEAT, LOGITS)), 1e-6)


def test_gradient_reaches_the_positives_and_the_hardest_negatives_alone() -> None:
    slopes = slope(lambda x: heat_map_focal(HEAT, x, hard_negatives=4), LOGITS)
    moved = np.count_nonzero(slopes.reshape(3, -1), axis=1)
    assert moved.tolist() == [6, 5, 4]


def test_per_element_is_the_mean_of_what_counts() -> None:
    # One positive and the two hardest of three negatives, all of logit 0: log 2 / 4 each.
    heat = np.array([[1.0, 0.0, 0.0, 0.0]])
    loss = heat_map_focal(heat, np.zeros((1, 4)), hard_negatives=2, per="element")
    assert float(loss[0]) == pytest.approx(np.log(2) / 4, 1e-6)


LOSSES: list[Any] = [heat_map_focal, binary_focal, soft_dice]


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_ignored_counts_for_nothing(loss: Any) -> None:
    ignored = RNG.random(SHAPE) < 0.3
    marked = np.where(ignored, -1, YES)
    spoiled = np.where(ignored, np.nan, LOGITS).astype("float32")
    expected = numbers(loss(marked, LOGITS))
    assert np.isfinite(expected).all()
    assert numbers(loss(marked, spoiled)) == pytest.approx(expected)
    assert numbers(loss(YES, LOGITS, mask=~ignored)) == pytest.approx(expected)
    slopes = slope(lambda x: loss(marked, x), spoiled)
    assert np.all(slopes[ignored] == 0)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_mask_of_places_holds_for_all_classes(loss: Any) -> None:
    places = RNG.random((*SHAPE[:-1], 1)) < 0.5
    expected = numbers(loss(YES, LOGITS, mask=np.broadcast_to(places, SHAPE)))
    assert numbers(loss(YES, LOGITS, mask=places)) == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_where_nothing_counts_the_loss_is_nothing(loss: Any) -> None:
    assert numbers(loss(np.full(SHAPE, -1.0), LOGITS)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("loss", LOSSES)
def test_sure_answers_have_finite_losses_and_slopes(loss: Any) -> None:
    sure = np.where(LOGITS > 0, 200, -200).astype("float32")
    assert np.isfinite(numbers(loss(YES, sure))).all()
    assert np.isfinite(slope(lambda x: loss(YES, x), sure)).all()


def test_a_sure_mistake_costs_its_logit() -> None:
    # -log p = 100 where the logit is -100, and (1 - p) is 1: no clipping at 16 as by log(1e-7).
    assert float(heat_map_focal([[1.0]], [[-100.0]])[0]) == pytest.approx(100, 1e-6)
    assert float(binary_focal([[0.0]], [[100.0]])[0]) == pytest.approx(75, 1e-6)


# Yes or no


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.6, 0.5)])
def test_binary_focal_is_keras_own(alpha: float, gamma: float) -> None:
    keras_own = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=alpha, gamma=gamma, from_logits=True
    )
    ours = BinaryFocal(alpha, gamma, per="element")(YES, LOGITS)
    assert float(ours) == pytest.approx(float(keras_own(YES, LOGITS)), 1e-4)


def test_binary_focal_is_divided_by_the_positives() -> None:
    # Logits 0: 0.25 * log 2 / 4 for each of two yes, 0.75 * log 2 / 4 for one no; over two.
    loss = binary_focal([[1, 1, 0]], [[0.0, 0.0, 0.0]])
    assert float(loss[0]) == pytest.approx(1.25 * np.log(2) / 8, 1e-6)


# Dice


@pytest.mark.parametrize("exclusive", [False, True])
def test_dice_is_its_formula(exclusive: bool) -> None:
    wide = LOGITS.astype(float)
    p = softmax(wide, -1) if exclusive else expit(wide)
    shared, whole = (p * YES).sum((1, 2)), p.sum((1, 2)) + YES.sum((1, 2))
    each = 1 - (2 * shared + 1) / (whole + 1)
    assert numbers(soft_dice(YES, LOGITS, exclusive=exclusive)) == pytest.approx(each.mean(1), 1e-5)
    weighted = soft_dice(YES, LOGITS, exclusive=exclusive, class_weights=(1.0, 3.0))
    assert numbers(weighted) == pytest.approx(each @ [0.25, 0.75], 1e-5)


def test_dice_without_smoothing_is_keras_own() -> None:
    # Keras's is over a whole batch and all classes: one example of one class.
    yes, logits = YES[:1, ..., :1], LOGITS[:1, ..., :1]
    expected = float(keras.losses.Dice()(yes, expit(logits)))
    assert float(SoftDice(smoothing=1e-7)(yes, logits)) == pytest.approx(expected, 1e-5)


def test_empty_masks_are_defined() -> None:
    empty = np.zeros((1, 4, 4, 1), "float32")
    assert float(SoftDice()(empty, empty - 100)) == pytest.approx(0)
    # Four of sixteen foretold where nothing is: 1 - 1 / (4 + 1).
    wrong = empty - 100
    wrong[0, 0] = 100
    assert float(SoftDice()(empty, wrong)) == pytest.approx(0.8)
    assert float(SoftDice()(empty + 1, empty + 100)) == pytest.approx(0, abs=1e-6)


# Noisy-or


@pytest.mark.parametrize("leak", [0.0, 0.2])
def test_noisy_or_is_its_product(leak: float) -> None:  # L-14
    logits = LOGITS.reshape(3, -1)[:, :5]
    expected = 1 - (1 - leak) * np.prod(1 - expit(logits.astype(float)), axis=1)
    assert numbers(noisy_or(logits, leak=leak)) == pytest.approx(expected, 1e-5)
    target = np.array([1.0, 0.0, 1.0])
    loss = -np.where(target == 1, np.log(expected), np.log(1 - expected))
    assert numbers(noisy_or_crossentropy(target, logits, leak=leak)) == pytest.approx(loss, 1e-4)
    mean = NoisyOrCrossentropy(leak)(target[:, None], logits)
    assert float(mean) == pytest.approx(loss.mean(), 1e-4)


def test_no_candidate_gives_the_leak() -> None:  # L-14
    mask = np.array([[False, False], [True, False]])
    both = numbers(noisy_or(np.zeros((2, 2), "float32"), leak=0.3, mask=mask))
    assert both == pytest.approx([0.3, 0.65])
    assert float(noisy_or(np.zeros((1, 0), "float32"), leak=0.3)[0]) == pytest.approx(0.3)
    assert float(noisy_or(np.full((1, 3), PADDED), leak=0.0)[0]) == 0


def test_tiny_chances_add_up_and_learn() -> None:
    # Four candidates of 1e-12: in float32 1 - p is 1, and a plain product says that P is 0.
    logits = np.full((1, 4), np.log(1e-12), "float32")
    assert float(noisy_or(logits)[0]) == pytest.approx(4e-12, 1e-4)
    loss = noisy_or_crossentropy([1.0], logits)
    assert float(loss[0]) == pytest.approx(-np.log(4e-12), 1e-4)
    # d(-log P)/dx = -(1 - P) / P * p, a quarter each.
    slopes = slope(lambda x: noisy_or_crossentropy([1.0], x), logits)
    assert slopes[0] == pytest.approx([-0.25] * 4, 1e-4)


def test_slopes_of_the_loss_are_the_formulas() -> None:
    logits, leak = LOGITS.reshape(3, -1)[:, :5], 0.1
    p = expit(logits.astype(float))
    some = 1 - (1 - leak) * np.prod(1 - p, axis=1, keepdims=True)
    target = np.array([1.0, 0.0, 1.0])
    expected = np.where(target[:, None] == 1, -(1 - some) / some * p, p)
    slopes = slope(lambda x: noisy_or_crossentropy(target, x, leak=leak), logits)
    assert slopes == pytest.approx(expected, 1e-3, abs=1e-6)


def test_extreme_cases_stay_finite() -> None:
    logits = np.array([[200.0, 0.0], [PADDED, PADDED], [-200.0, -200.0]], "float32")
    for target in (np.zeros(3), np.ones(3)):
        assert np.isfinite(numbers(noisy_or_crossentropy(target, logits))).all()
        assert np.isfinite(slope(lambda x, y=target: noisy_or_crossentropy(y, x), logits)).all()
    unknown = noisy_or_crossentropy([-1.0, -1.0, -1.0], logits)
    assert numbers(unknown).tolist() == [0, 0, 0]


def test_a_leak_may_be_learned() -> None:
    leak = keras.ops.convert_to_tensor(0.25, "float32")
    assert float(noisy_or(np.zeros((1, 1)), leak=leak)[0]) == pytest.approx(1 - 0.75 / 2)


# As Keras losses


@pytest.mark.parametrize(
    "loss",
    [
        HeatMapFocal(1.5, 3.0, hard_negatives=7, per="batch_positive"),
        BinaryFocal(0.4, 1.0, hard_negatives=5, per="element", reduction="sum"),
        SoftDice([1.0, 2.0], exclusive=True, smoothing=0.5, name="dice"),
    ],
)
def test_losses_serialise(loss: keras.losses.Loss) -> None:
    config = keras.losses.serialize(loss)
    copy = keras.losses.deserialize(config)
    assert keras.losses.serialize(copy) == config
    assert float(copy(YES, LOGITS)) == pytest.approx(float(loss(YES, LOGITS)), 1e-6)


def test_noisy_or_serialises() -> None:
    copy = keras.losses.deserialize(keras.losses.serialize(NoisyOrCrossentropy(0.25)))
    assert copy.leak == 0.25


def test_half_precision_logits_are_lost_on_no_loss() -> None:
    half = keras.ops.cast(LOGITS, "bfloat16")
    rounded = numbers(keras.ops.cast(half, "float32"))
    for loss in LOSSES:
        assert keras.backend.standardize_dtype(loss(YES, half).dtype) == "float32"
        assert numbers(loss(YES, half)) == pytest.approx(numbers(loss(YES, rounded)), 1e-6)


def test_a_model_of_half_precision_and_unknown_sides_learns_by_it() -> None:
    model = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            keras.layers.Conv2D(1, 1, dtype="mixed_bfloat16", kernel_initializer="zeros"),
        ]
    )
    model.compile("sgd", HeatMapFocal(hard_negatives=3), jit_compile=False)
    images = np.zeros((2, 8, 8, 1), "float32")
    images[:, 3, 4] = 1
    heat = np.where(images == 1, 1, 0).astype("float32")
    before = model.evaluate(images, heat, verbose=0)
    model.fit(images, heat, epochs=3, batch_size=2, verbose=0)
    assert model.evaluate(images, heat, verbose=0) < before


def test_a_channel_of_one_may_be_left_out_and_other_shapes_are_refused() -> None:
    logits = LOGITS[..., :1]
    expected = float(BinaryFocal()(YES[..., :1], logits))
    assert float(BinaryFocal()(YES[..., 0], logits)) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"one shape\. Received: \(3, 4, 5, 1\) and"):
        BinaryFocal()(YES[..., :1], LOGITS)


def test_settings_that_no_loss_has_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: 'image'"):
        HeatMapFocal(per="image")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Received: 0"):
        BinaryFocal(hard_negatives=0)
    with pytest.raises(ValueError, match="Received: 0"):
        SoftDice(smoothing=0)
    with pytest.raises(ValueError, match="one of them above"):
        SoftDice([0.0, 0.0])
    with pytest.raises(ValueError, match="one a class, of 2"):
        SoftDice([1.0])(YES, LOGITS)
    with pytest.raises(ValueError, match=r"Received: 1\.0"):
        NoisyOrCrossentropy(1.0)
