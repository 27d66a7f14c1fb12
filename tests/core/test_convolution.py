"""Whole paddings and refused fractions, against scipy's correlation."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy import signal

from fieldsight.core.layers import Conv1D, Conv2D, Conv3D

RNG = np.random.default_rng(0)


def correlated(
    images: np.ndarray, kernel: np.ndarray, bias: np.ndarray, pads: Any, strides: Any
) -> np.ndarray:
    """What scipy makes of it, filter by filter and channel by channel."""
    rank = kernel.ndim - 2
    padded = np.pad(images, [(0, 0), *[(pad, pad) for pad in pads], (0, 0)])
    step = tuple(slice(None, None, stride) for stride in strides)
    answers = [
        [
            np.sum(
                [
                    signal.correlate(image[..., c], kernel[..., c, f], mode="valid")[step]
                    for c in range(kernel.shape[-2])
                ],
                axis=0,
            )
            for f in range(kernel.shape[-1])
        ]
        for image in padded
    ]
    return np.moveaxis(np.array(answers), 1, rank + 1) + bias


@pytest.mark.parametrize(
    ("layer", "shape", "padding", "pads"),
    [
        (Conv1D(4, 5, 3, padding=2), (13, 3), 2, (2,)),
        (Conv2D(4, 3, 2, padding=1), (9, 11, 3), 1, (1, 1)),
        (Conv2D(4, (3, 5), padding=(0, 2)), (9, 11, 2), (0, 2), (0, 2)),
        (Conv3D(2, 3, (1, 2, 2), padding=(0, 1, 1)), (5, 7, 9, 2), (0, 1, 1), (0, 1, 1)),
        (Conv2D(4, 3), (9, 11, 3), "valid", (0, 0)),
    ],
)
def test_output_is_scipys(layer: Any, shape: tuple[int, ...], padding: Any, pads: Any) -> None:
    images = RNG.normal(size=(2, *shape)).astype("float32")
    layer.build(images.shape)
    layer.bias.assign(RNG.normal(size=layer.bias.shape))
    answer = keras.ops.convert_to_numpy(layer(images))
    kernel, bias = map(keras.ops.convert_to_numpy, (layer.kernel, layer.bias))
    expected = correlated(images, kernel, bias, pads, layer.strides)
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    assert layer.compute_output_shape(images.shape) == expected.shape
    assert layer.get_config()["padding"] == padding


def test_a_fractional_size_is_refused_saying_what_fits() -> None:
    layer = Conv2D(96, 11, strides=4, padding=1, name="first")
    said = r"layer 'first', axis 0: .*W=227, F=11, P=1, S=4, which gives 55\.5\. P=0 gives 55; P=2"
    with pytest.raises(ValueError, match=said):
        layer(keras.Input((227, 227, 3)))


def test_the_axis_at_fault_is_named() -> None:
    with pytest.raises(ValueError, match=r"axis 1: .*W=10, F=3, P=0, S=2"):
        Conv2D(1, 3, 2).compute_output_shape((None, 9, 10, 1))


def test_flooring_is_asked_for_by_name() -> None:
    layer = Conv2D(2, 11, strides=4, padding=1, floor=True)
    assert layer.compute_output_shape((None, 227, 227, 3)) == (None, 55, 55, 2)
    assert layer(np.zeros((1, 31, 31, 3), "float32")).shape == (1, 6, 6, 2)


def test_same_pads_what_is_missing_as_keras_does() -> None:
    layer = Conv2D(2, 3, strides=2, padding="same")
    assert layer(np.zeros((1, 10, 9, 1), "float32")).shape == (1, 5, 5, 2)


def test_a_size_unknown_at_first_is_checked_in_the_call() -> None:
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, Conv2D(1, 3, strides=2)(inputs))
    assert model(np.zeros((1, 9, 9, 1), "float32")).shape == (1, 4, 4, 1)
    with pytest.raises(ValueError, match="must be whole"):
        model(np.zeros((1, 10, 9, 1), "float32"))


def test_dilation_and_causal_padding_are_keras() -> None:
    assert Conv2D(1, 3, dilation_rate=2, padding=2).compute_output_shape((1, 8, 8, 1))[1] == 8
    images = RNG.normal(size=(1, 12, 2)).astype("float32")
    ours, theirs = (kind(3, 4, padding="causal") for kind in (Conv1D, keras.layers.Conv1D))
    ours(images), theirs(images)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (ours(images), theirs(images))))


@pytest.mark.parametrize("padding", [-1, (1,), (1, 1, 1), (1, 0.5), "bogus"])
def test_other_paddings_are_refused(padding: Any) -> None:
    with pytest.raises(ValueError, match="padding"):
        Conv2D(1, 3, padding=padding)


def test_a_typo_is_not_swallowed() -> None:
    with pytest.raises((TypeError, ValueError), match="dilaton_rate"):
        Conv2D(1, 3, dilaton_rate=2)


def test_it_saves_and_loads(tmp_path: Path) -> None:
    inputs = keras.Input((9, 11, 2))
    x = Conv2D(3, 3, 2, padding=(1, 0), activation="relu")(inputs)
    model = keras.Model(inputs, Conv2D(1, 2, 2, floor=True)(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = RNG.normal(size=(2, 9, 11, 2)).astype("float32")
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), loaded.predict(images, verbose=0)
    )
    assert isinstance(loaded.layers[1], Conv2D)
