"""Muon on kernels: beside Keras's own on the same matrix, and beside its definition in float64."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from fieldsight.core.optimizers import Muon

RATE = 0.02
A, B, C = 3.4445, -4.7750, 2.0315  # of Jordan et al., 2024


def moved(
    optimizer: keras.optimizers.Optimizer, start: np.ndarray, gradients: list[np.ndarray], name: str
) -> np.ndarray:
    """Where a variable is after some steps."""
    variable = keras.Variable(start, name=name)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)])
    return np.array(ops.convert_to_numpy(variable))


def drawn(shape: tuple[int, ...], count: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("float32") for _ in range(count)]


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (1, 1, 4, 9), (3, 2, 2, 3, 5), (7, 3)])
def test_a_kernel_moves_as_its_matrix_does_by_keras_own(shape: tuple[int, ...]) -> None:
    start, *gradients = drawn(shape)
    matrix = (-1, shape[-1])
    ours = moved(Muon(RATE, weight_decay=0.1), start, gradients, "kernel")
    keras_own = moved(
        keras.optimizers.Muon(RATE, weight_decay=0.1), start.reshape(matrix),
        [one.reshape(matrix) for one in gradients], "kernel",
    )  # fmt: skip
    np.testing.assert_allclose(ours.reshape(matrix), keras_own, rtol=1e-3, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=0, max_size=3),
    st.integers(2, 12),
    st.integers(2, 12),
    st.floats(1e-3, 1e3),
    st.integers(0, 100),
)
def test_a_first_step_is_the_polynomial_of_the_singular_values(
    window: list[int], inputs: int, outputs: int, scale: float, seed: int
) -> None:
    shape = (*window, inputs, outputs)
    gradient = (np.random.default_rng(seed).normal(size=shape) * scale).astype("float32")
    optimizer = Muon(RATE, weight_decay=0.0)
    step = -moved(optimizer, np.zeros(shape, "float32"), [gradient], "kernel")
    u, values, v = np.linalg.svd(
        gradient.astype("float64").reshape(-1, outputs), full_matrices=False
    )
    values /= np.sqrt(np.sum(values**2))
    for _ in range(5):
        values = A * values + B * values**3 + C * values**5
    size = 0.2 * np.sqrt(max(u.shape[0], v.shape[1])) * RATE
    expected = size * (u * values) @ v
    assert values.max() < 1.25  # what the coefficients were chosen for
    np.testing.assert_allclose(step.reshape(expected.shape), expected, atol=2e-3 * size)


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((6,), "bias"), ((3, 3, 4, 6), "heat_kernel"), ((5, 6), "embedding"),
        ((3, 3, 8, 1), "depthwise_kernel"),
    ],
)  # fmt: skip
def test_vectors_last_layers_and_embeddings_are_adamw_s(shape: tuple[int, ...], name: str) -> None:
    start, *gradients = drawn(shape)
    ours = moved(
        Muon(RATE, adam_weight_decay=0.1, exclude_layers=["heat"]), start, gradients, name
    )  # fmt: skip
    adamw = moved(keras.optimizers.AdamW(RATE, weight_decay=0.1), start, gradients, name)
    np.testing.assert_allclose(ours, adamw, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("steps", "dtype"), [(5, "float32"), (12, "float32"), (5, "bfloat16")])
@pytest.mark.parametrize("rank", [1, 8])
def test_a_gradient_in_few_directions_moves_a_kernel_in_these_alone(
    rank: int, steps: int, dtype: str
) -> None:
    # As where most outputs of a layer are dead.
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(9 * 32, rank)) @ rng.normal(size=(rank, 48))
    gradient = ops.cast(matrix.reshape(3, 3, 32, 48).astype("float32"), dtype)
    kernel = keras.Variable(ops.zeros((3, 3, 32, 48), dtype), dtype=dtype, name="kernel")
    optimizer = Muon(1.0, weight_decay=0.0, ns_steps=steps)
    optimizer.build([kernel])
    optimizer.apply([gradient])
    step = np.array(ops.convert_to_numpy(ops.cast(kernel.value, "float32"))).reshape(-1, 48)
    sizes = np.linalg.svd(step)[1] / (0.2 * np.sqrt(9 * 32))
    assert sizes.max() < 1.25
    assert sizes[:rank].min() > 0.6
    if (steps, dtype) == (5, "float32"):  # each step lets rounding grow 3.4 times
        assert sizes[rank:].max() < 0.02


def test_float16_does_not_overflow() -> None:
    kernel = keras.Variable(ops.zeros((3, 3, 16, 16), "float16"), dtype="float16", name="kernel")
    optimizer = Muon(1.0, weight_decay=0.0)
    optimizer.build([kernel])
    optimizer.apply([ops.full((3, 3, 16, 16), 100.0, "float16")])
    size = np.linalg.norm(np.array(ops.convert_to_numpy(kernel.value), "float64"))
    assert 0.6 < size / (0.2 * np.sqrt(9 * 16)) < 1.25


def test_a_kernel_without_a_gradient_stays() -> None:
    start = drawn((3, 3, 2, 4))[0]
    still = moved(Muon(RATE, weight_decay=0.0), start, [np.zeros_like(start)], "kernel")
    np.testing.assert_array_equal(still, start)


def test_a_network_learns_by_it_and_it_is_saved_with_it(tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype("float32")
    y = (x[:, 2:6, 2:6].mean(axis=(1, 2, 3)) > 0).astype("int32")
    model = keras.Sequential([
        keras.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.Flatten(), keras.layers.Dense(2, name="last"),
    ])  # fmt: skip
    model.compile(
        Muon(RATE, exclude_layers=["last/"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    losses = model.fit(x, y, batch_size=16, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is Muon
    assert again.optimizer.exclude_layers == ["last/"]
    one = model.train_on_batch(x, y)
    assert again.train_on_batch(x, y) == pytest.approx(one, rel=1e-5)
    for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
