"""Cross-entropy of places that aren't all labelled, against SciPy, Keras and by hand."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax

from fieldsight.core.inspection.gradient import gradient
from fieldsight.core.losses import place_crossentropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (3, 4, 5, 6)).astype("float32")
LABELS = RNG.integers(-1, 6, (3, 4, 5))


def value(labels: NDArray[np.integer], logits: NDArray[np.floating], **how: object) -> float:
    each = place_crossentropy(labels, logits, **how)  # type: ignore[arg-type]
    return float(np.mean(keras.ops.convert_to_numpy(each)))


def test_it_is_the_mean_over_labelled_places() -> None:
    there = LABELS >= 0
    by_hand = -np.take_along_axis(log_softmax(LOGITS[there].astype(float), -1),
                                  LABELS[there][:, None], -1).mean()  # fmt: skip
    assert value(LABELS, LOGITS) == pytest.approx(by_hand, rel=1e-5)


def test_it_is_keras_own_where_every_place_is_labelled() -> None:
    labels = np.abs(LABELS)
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, LOGITS)
    assert value(labels, LOGITS) == pytest.approx(float(theirs), rel=1e-5)


def test_places_without_label_have_no_say_and_no_gradient_d4() -> None:
    spoilt = LOGITS.copy()
    spoilt[LABELS < 0] = np.nan
    assert value(LABELS, spoilt) == pytest.approx(value(LABELS, LOGITS), rel=1e-6)
    at = keras.ops.convert_to_tensor(LOGITS)
    slope = gradient(lambda x: keras.ops.sum(place_crossentropy(LABELS, x)), at)
    steep = np.abs(keras.ops.convert_to_numpy(slope)).sum(-1)
    assert (steep[LABELS < 0] == 0).all()
    assert (steep[LABELS >= 0] > 0).all()


def test_nothing_labelled_is_no_loss() -> None:
    assert value(np.full((2, 3, 3), -1), np.ones((2, 3, 3, 4))) == 0


def test_class_weights_weigh_the_mean() -> None:
    # Both undecided between two: log 2 each, whatever the weights.
    labels, logits = np.array([[0, 1]]), np.zeros((1, 2, 2))
    assert value(labels, logits, class_weights=(1.0, 3.0)) == pytest.approx(np.log(2), rel=1e-6)
    logits[0, 0] = [np.log(3), 0]  # the first is right by 3/4
    expected = (1 * np.log(4 / 3) + 3 * np.log(2)) / 4
    assert value(labels, logits, class_weights=(1.0, 3.0)) == pytest.approx(expected, rel=1e-6)


def test_shapes_and_weights_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match="one shape"):
        place_crossentropy(np.zeros((1, 4), int), np.zeros((1, 5, 2)))
    with pytest.raises(ValueError, match="one a class"):
        place_crossentropy(np.zeros((1, 4), int), np.zeros((1, 4, 2)), class_weights=(1.0,))
