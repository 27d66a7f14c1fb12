"""Fused batch normalisation beside Keras's own, and beside the definition."""

import contextlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldsight.core.architectures import unet
from fieldsight.core.normalization import fused_normalization

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def network(shape: Sequence[int | None], **options: Any) -> keras.Model:
    inputs = keras.Input(tuple(shape))
    layer = keras.layers.BatchNormalization(name="norm", **options)
    return keras.Model(inputs, layer(inputs))


def trained(
    model: keras.Model, x: np.ndarray, y: np.ndarray, *, fused: bool, steps: int = 1
) -> list[np.ndarray]:
    """What all variables are after some steps of plain descent."""
    model.compile(keras.optimizers.SGD(0.1), "mse")
    with fused_normalization(model) if fused else contextlib.nullcontext():
        model.fit(x, y, batch_size=len(x), epochs=steps, verbose=0, shuffle=False)
    return [np.array(value) for value in model.get_weights()]


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False, "momentum": 0.5}])
@pytest.mark.parametrize("sides", [(5, 4), (3, 4, 5)])
def test_a_step_is_keras_own(sides: tuple[int, ...], options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (4, *sides, 3)).astype("float32")
    y = rng.normal(size=x.shape).astype("float32")
    ours = trained(network((*sides, 3), **options), x, y, fused=True, steps=3)
    keras_own = trained(network((*sides, 3), **options), x, y, fused=False, steps=3)
    for one, other in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=3),
    st.integers(1, 3),
    st.floats(-5, 5),
    st.floats(0.5, 4),
)
def test_running_statistics_are_of_the_whole_batch(
    sides: list[int], batch: int, mean: float, deviation: float
) -> None:
    x = np.random.default_rng(1).normal(mean, deviation, (batch, *sides, 2)).astype("float32")
    _, _, moved, spread = trained(network((*sides, 2), momentum=0.75), x, x, fused=True)
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(moved, 0.25 * x.mean(axes), rtol=1e-4, atol=1e-4)
    # Of variance with n below, as Keras has it, and not n - 1.
    np.testing.assert_allclose(spread, 0.75 + 0.25 * x.var(axes), rtol=1e-4, atol=1e-4)


def test_a_networks_gradients_are_keras_own_within_nested_models_of_any_size() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 16, 24, 2)).astype("float32")
    y = rng.normal(size=(2, 16, 24, 1)).astype("float32")

    def build() -> keras.Model:
        keras.utils.set_random_seed(5)
        body = unet((None, None, 2), 1, filters=4, depth=2, normalization=True)
        inputs = keras.Input((None, None, 2))
        return keras.Model(inputs, body(inputs))

    ours, keras_own = (trained(build(), x, y, fused=fused) for fused in (True, False))
    for one, other in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_the_model_is_kerases_own_again_even_after_an_error() -> None:
    model = network((4, 4, 2))
    seen = []

    def stopped() -> None:
        with fused_normalization(model):
            seen.append(type(model.get_layer("norm")))
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped()
    assert (seen[0] is not keras.layers.BatchNormalization) is ON_TENSORFLOW
    assert type(model.get_layer("norm")) is keras.layers.BatchNormalization


@pytest.mark.skipif(not ON_TENSORFLOW, reason="the kernel is TensorFlow's")
@pytest.mark.parametrize("options", [{"epsilon": 1e-6}, {"axis": 1}, {"renorm": True}])
def test_what_the_kernel_cannot_do_is_done_by_keras(options: dict[str, Any]) -> None:
    x = np.random.default_rng(3).normal(size=(4, 5, 6, 3)).astype("float32")
    ours, keras_own = (
        trained(network((5, 6, 3), **options), x, x, fused=fused) for fused in (True, False)
    )
    for one, other in zip(ours, keras_own, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="the kernel is TensorFlow's")
def test_it_is_the_fused_kernel_that_trains() -> None:
    import tensorflow as tf

    model = network((4, 4, 2))
    with fused_normalization(model):
        graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(
            tf.TensorSpec((2, 4, 4, 2))
        )
    kinds = {operation.type for operation in graph.graph.get_operations()}
    assert "FusedBatchNormV3" in kinds
    assert "SquaredDifference" not in kinds


@pytest.mark.skipif(not ON_TENSORFLOW, reason="the kernel is TensorFlow's")
def test_bfloat16_is_as_near_to_float32_as_kerases() -> None:
    x = np.random.default_rng(4).normal(1, 2, (8, 6, 6, 6, 3)).astype("float32")
    exact = trained(network((6, 6, 6, 3)), x, x, fused=False)
    for fused in (True, False):
        found = trained(network((6, 6, 6, 3), dtype="mixed_bfloat16"), x, x, fused=fused)
        for one, other in zip(found, exact, strict=True):
            np.testing.assert_allclose(one, other, rtol=0.02, atol=0.02)
