"""Cross-entropy with smoothing and a rubbish class, against scipy and by hand."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from fieldsight.core.losses import SmoothedCrossentropy

LOGITS = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], "float32")
LABELS = np.array([2, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_scipys_log_softmax(smoothing: float) -> None:
    target = np.eye(3)[LABELS] * (1 - smoothing) + smoothing / 3
    expected = -(target * log_softmax(LOGITS.astype(float), axis=1)).sum(axis=1).mean()
    assert float(SmoothedCrossentropy(smoothing)(LABELS, LOGITS)) == pytest.approx(expected, 1e-5)


def test_equals_keras_own_without_either() -> None:
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ours = SmoothedCrossentropy()
    assert float(ours(LABELS, LOGITS)) == pytest.approx(float(plain(LABELS, LOGITS)), 1e-6)


def test_rubbish_class_by_hand() -> None:
    # One class at distance 1, rubbish at distance 2: 1 + log(e^-1 + e^-2) = log(1 + e^-1).
    loss = SmoothedCrossentropy(rubbish=2.0)(np.array([0]), np.array([[-1.0]], "float32"))
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-1)), 1e-6)


def test_labels_may_be_a_column_and_the_loss_serialises() -> None:
    loss = SmoothedCrossentropy(0.1, rubbish=3.0)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(copy(LABELS[:, None], LOGITS)) == pytest.approx(float(loss(LABELS, LOGITS)))


def test_smoothing_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: 1\.0"):
        SmoothedCrossentropy(1.0)
