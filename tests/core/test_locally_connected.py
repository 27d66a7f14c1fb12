"""Unshared kernels against numpy, place by place."""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from fieldsight.core.layers import LocallyConnected1D, LocallyConnected2D, LocallyConnected3D

RNG = np.random.default_rng(0)

CASES = [
    (LocallyConnected1D(4, 3, 2, padding=1), (9, 2), (1,)),
    (LocallyConnected2D(3, (3, 2), (2, 1)), (7, 5, 2), (0, 0)),
    (LocallyConnected2D(3, 3, padding=(1, 0), floor=True, strides=2), (8, 8, 1), (1, 0)),
    (LocallyConnected3D(2, 2, (1, 2, 1), padding=(0, 1, 0)), (3, 4, 3, 2), (0, 1, 0)),
]


def by_hand(layer: Any, images: np.ndarray, pads: Any) -> np.ndarray:
    kernel, bias = map(keras.ops.convert_to_numpy, (layer.kernel, layer.bias))
    padded = np.pad(images, [(0, 0), *[(pad, pad) for pad in pads], (0, 0)])
    answer = np.zeros((len(images), *bias.shape))
    place: Any
    for place in itertools.product(*map(range, bias.shape[:-1])):
        starts = [index * stride for index, stride in zip(place, layer.strides, strict=True)]
        window = tuple(slice(s, s + k) for s, k in zip(starts, layer.kernel_size, strict=True))
        seen = padded[(slice(None), *window)].reshape(len(images), -1)
        answer[(slice(None), *place)] = seen @ kernel[place].reshape(-1, layer.filters)
    return answer + bias


@pytest.mark.parametrize(("layer", "shape", "pads"), CASES)
def test_each_place_has_its_own_kernel(layer: Any, shape: tuple[int, ...], pads: Any) -> None:
    images = RNG.normal(size=(3, *shape)).astype("float32")
    layer.build(images.shape)
    layer.bias.assign(RNG.normal(size=layer.bias.shape))
    answer = keras.ops.convert_to_numpy(layer(images))
    np.testing.assert_allclose(answer, by_hand(layer, images, pads), atol=1e-5)
    assert layer.compute_output_shape((None, *shape)) == (None, *answer.shape[1:])


def test_with_equal_kernels_it_is_a_convolution() -> None:
    images = RNG.normal(size=(2, 8, 8, 3)).astype("float32")
    local, shared = LocallyConnected2D(5, 3), keras.layers.Conv2D(5, 3)
    local(images), shared(images)
    kernel = keras.ops.convert_to_numpy(shared.kernel)
    local.kernel.assign(np.broadcast_to(kernel, local.kernel.shape))
    ours, keras_own = map(keras.ops.convert_to_numpy, (local(images), shared(images)))
    np.testing.assert_allclose(ours, keras_own, atol=1e-5)


def test_lenets_first_layer_without_sharing_has_122304_weights() -> None:
    layer = LocallyConnected2D(6, 5)
    layer.build((None, 32, 32, 1))
    assert layer.count_params() == 28 * 28 * 6 * 26 == 122_304


def test_places_start_apart_and_scaled_by_the_fans_of_one_place() -> None:
    layer = LocallyConnected2D(16, 3, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    layer.build((None, 34, 34, 4))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    limit = np.sqrt(6 / (9 * 4 + 9 * 16))  # Glorot and Bengio 2010, equation 16.
    assert np.abs(kernel).max() == pytest.approx(limit, rel=1e-3)
    assert np.abs(kernel[0, 0] - kernel[0, 1]).max() > limit / 2


def test_it_learns_what_a_convolution_cannot(tmp_path: Path) -> None:
    # The answer depends on where a spot is: sharing can't tell, own weights can.
    spots = np.eye(16, dtype="float32").reshape(16, 16, 1)
    target = np.arange(16, dtype="float32") % 2
    inputs = keras.Input((16, 1))
    x = LocallyConnected1D(1, 1, use_bias=False)(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))
    model.compile(keras.optimizers.Adam(1.0), "mse")
    model.fit(spots, target, epochs=30, batch_size=16, verbose=0)
    answer = model.predict(spots, verbose=0)[:, 0]
    assert ((answer > 0.25) == (target > 0.5)).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(spots, verbose=0)[:, 0], answer)


@pytest.mark.parametrize(
    ("make", "shape", "said"),
    [
        (lambda: LocallyConnected2D(1, 3, 2), (None, 8, 9, 1), "must be whole"),
        (lambda: LocallyConnected2D(1, 3), (None, None, 9, 1), "size must be known"),
        (
            lambda: LocallyConnected2D(1, 3, padding="same"),
            (None, 9, 9, 1),
            "Received: padding=same",
        ),
        (lambda: LocallyConnected2D(1, 3, padding=-1), (None, 9, 9, 1), "Received: padding=-1"),
        (lambda: LocallyConnected2D(0, 3), (None, 9, 9, 1), "Received: filters=0"),
        (lambda: LocallyConnected3D(1, (3, 3)), (None, 9, 9, 9, 1), r"kernel_size=\(3, 3\)"),
    ],
)
def test_mistakes_are_told(make: Any, shape: tuple[int | None, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make().build(shape)
