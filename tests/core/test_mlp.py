"""The dense baseline."""

from typing import Any

import keras
import numpy as np
import pytest

from fieldsight.core.architectures import mlp

RNG = np.random.default_rng(0)


def test_parameters_are_counted_by_hand() -> None:
    assert mlp().count_params() == 784 * 128 + 128 + 128 * 10 + 10
    assert mlp((8, 8, 1), units=()).count_params() == 64 * 10 + 10
    assert mlp((4,), 3, units=(5, 6)).count_params() == 4 * 5 + 5 + 5 * 6 + 6 + 6 * 3 + 3


@pytest.mark.parametrize("shape", [(12,), (9, 2), (6, 7, 1), (3, 4, 5, 2)])
def test_any_rank_of_input_gives_one_logit_per_class(shape: tuple[int, ...]) -> None:
    assert mlp(shape, 7, units=(4,))(np.zeros((2, *shape), "float32")).shape == (2, 7)


def test_it_computes_two_matrix_products() -> None:
    model = mlp((5, 4, 1), 3, units=(6,))
    images = RNG.normal(size=(2, 5, 4, 1)).astype("float32")
    first, bias, second, shift = model.get_weights()
    expected = np.maximum(images.reshape(2, -1) @ first + bias, 0) @ second + shift
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


def test_dropout_and_names() -> None:
    names = [layer.name for layer in mlp(units=(8, 4), dropout=0.2).layers]
    assert names == ["inputs", "flatten", "dense_1", "dropout_1", "dense_2", "dropout_2", "logits"]


def test_logits_stay_float32_in_half_precision() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mlp((6,), units=(4,))
    finally:
        keras.config.set_dtype_policy(before)
    assert model.predict(np.zeros((1, 6)), verbose=0).dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"units": (8, 0)}, r"Received: .*units=\(8, 0\)"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"dropout": 1.0}, r"Received: dropout=1\.0"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        mlp(**arguments)
