"""LeNet's own layers, the frozen kernel, and what every layer of ours must do."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy import ndimage, signal

from fieldsight.core import layers as ours
from fieldsight.core.kernels import KERNELS, sobel
from fieldsight.core.layers import (
    LENET_TABLE,
    FanInUniform,
    ImageKernel2D,
    RadialBasis,
    Subsampling2D,
    TableConv2D,
    digit_bitmaps,
    scaled_tanh,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 14, 14, 6)).astype("float32")


def answer(layer: Any, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(layer(inputs)))


def test_subsampling_sums_scales_and_shifts() -> None:
    layer = Subsampling2D(2)
    layer.build(IMAGES.shape)
    scale, shift = RNG.normal(size=(2, 6)).astype("float32")
    layer.coefficient.assign(scale)
    layer.bias.assign(shift)
    sums = IMAGES.reshape(2, 7, 2, 7, 2, 6).sum(axis=(2, 4))
    np.testing.assert_allclose(answer(layer, IMAGES), sums * scale + shift, atol=1e-5)
    assert layer.count_params() == 12


def test_subsampling_drops_an_odd_edge_and_starts_within_the_papers_limit() -> None:
    layer = Subsampling2D((2, 3))
    assert answer(layer, np.ones((1, 5, 7, 400), "float32")).shape == (1, 2, 2, 400)
    assert layer.compute_output_shape((None, 5, 7, 400)) == (None, 2, 2, 400)
    coefficients = keras.ops.convert_to_numpy(layer.coefficient)
    assert 0.3 < np.abs(coefficients).max() <= 2.4 / 6
    assert len(set(coefficients.tolist())) > 300


def test_the_table_is_the_papers() -> None:
    # Table I: six contiguous triples, six contiguous quadruples, three others, all six.
    contiguous = [{(i + k) % 6 for k in range(n)} for n in (3, 4) for i in range(6)]
    others = [{0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}, set(range(6))]
    assert [set(row) for row in LENET_TABLE] == contiguous + others


def test_the_table_convolution_sees_the_tables_maps_alone() -> None:
    layer = TableConv2D()
    layer.build(IMAGES.shape)
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    assert layer.count_params() == 1_516
    expected = np.zeros((2, 10, 10, 16))
    link = 0
    for output, row in enumerate(LENET_TABLE):
        for channel in row:
            for image in range(2):
                expected[image, ..., output] += signal.correlate2d(
                    IMAGES[image, ..., channel], kernel[..., link], mode="valid"
                )
            link += 1
    assert link == 60
    np.testing.assert_allclose(answer(layer, IMAGES), expected, atol=1e-5)


def test_each_map_of_the_table_starts_with_its_own_fan_in() -> None:
    layer = TableConv2D(kernel_initializer=FanInUniform(seed=3))
    layer.build(IMAGES.shape)
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    first, last = kernel[..., :3], kernel[..., -6:]
    assert 0.9 * 2.4 / 75 < np.abs(first).max() <= 2.4 / 75
    assert 0.9 * 2.4 / 150 < np.abs(last).max() <= 2.4 / 150
    assert np.abs(kernel[..., :3] - kernel[..., 3:6]).max() > 0.01
    again = TableConv2D(kernel_initializer=FanInUniform(seed=3))
    again.build(IMAGES.shape)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again.kernel), kernel)


def test_the_bitmaps_are_ten_different_digits_of_7_by_12() -> None:
    bitmaps = digit_bitmaps()
    assert bitmaps.shape == (10, 12, 7)
    assert set(np.unique(bitmaps)) == {-1, 1}
    flat = bitmaps.reshape(10, -1)
    distances = np.square(flat[:, None] - flat).sum(-1) + 1000 * np.eye(10)
    assert distances.min() >= 4 * 10  # At least ten pixels apart.


def test_radial_basis_is_the_negative_squared_distance() -> None:
    layer = RadialBasis()
    vectors = RNG.normal(size=(5, 84)).astype("float32")
    codes = digit_bitmaps().reshape(10, 84).astype("float64")
    expected = -np.square(vectors[:, None] - codes).sum(-1)
    np.testing.assert_allclose(answer(layer, vectors), expected, rtol=1e-5)
    np.testing.assert_array_equal(answer(layer, codes.astype("float32")).diagonal(), 0)
    assert (layer.trainable_weights, layer.count_params()) == ([], 840)


def test_scaled_tanh_is_the_papers() -> None:
    x = np.linspace(-3, 3, 13).astype("float32")
    squashed = keras.ops.convert_to_numpy(scaled_tanh(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(squashed, 1.7159 * np.tanh(2 / 3 * x), atol=1e-6)
    assert float(scaled_tanh(keras.ops.convert_to_tensor(1.0))) == pytest.approx(1, abs=1e-4)


BORDERS = [("zeros", "constant"), ("reflect", "reflect"), ("mirror", "mirror")]


@pytest.mark.parametrize(
    ("name", "border", "mode"),
    [(name, *BORDERS[0]) for name in KERNELS] + [("scharr_rows", *each) for each in BORDERS[1:]],
)
def test_image_kernel_is_scipys_on_every_channel(name: str, border: str, mode: Any) -> None:
    layer = ImageKernel2D(name, border=border)
    kernel = KERNELS[name]()[:, :, None]
    expected = [ndimage.correlate(image, kernel, mode=mode) for image in IMAGES]
    np.testing.assert_allclose(answer(layer, IMAGES), expected, atol=1e-4)


def test_image_kernel_convolves_on_demand_and_takes_any_kernel() -> None:
    own = RNG.normal(size=(4, 3)).astype("float32")
    layer = ImageKernel2D(own, border="valid", convolution=True)
    expected = signal.convolve2d(IMAGES[0, ..., 2], own, mode="valid")
    np.testing.assert_allclose(answer(layer, IMAGES)[0, ..., 2], expected, atol=1e-5)
    assert layer.compute_output_shape(IMAGES.shape) == (2, 11, 12, 6)


def test_image_kernel_is_never_trained() -> None:
    inputs = keras.Input((8, 8, 1))
    x = ImageKernel2D("sharpen", name="frozen")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))
    model.trainable = True
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 8, 8, 1), "float32"), np.ones(4), verbose=0)
    kept = keras.ops.convert_to_numpy(model.get_layer("frozen").kernel)
    np.testing.assert_array_equal(kept, KERNELS["sharpen"]())


LAYERS = [
    (Subsampling2D((2, 1), "tanh", coefficient_initializer="ones"), (4, 4, 3)),
    (TableConv2D([(0, 2), (1,)], (2, 3), kernel_initializer=FanInUniform(1.5)), (4, 4, 3)),
    (RadialBasis([[1, -1, 1], [0, 0, 0.5]]), (3,)),
    (RadialBasis(), (84,)),
    (ImageKernel2D("emboss", border="mirror", convolution=True), (5, 5, 2)),
    (ImageKernel2D(sobel(), border="valid"), (5, 5, 2)),
    (ours.Conv1D(2, 3, padding=1), (7, 2)),
    (ours.Conv2D(2, 3, 2, padding=(1, 0), activation=scaled_tanh), (5, 5, 2)),
    (ours.Conv3D(2, 2, floor=True, strides=2), (3, 3, 3, 1)),
    (ours.LocallyConnected1D(2, 3, kernel_regularizer="l2"), (7, 2)),
    (ours.LocallyConnected2D(2, 3, padding=1, use_bias=False), (5, 5, 2)),
    (ours.LocallyConnected3D(2, 2, strides=2, floor=True), (3, 3, 3, 1)),
]  # fmt: skip
each_layer = pytest.mark.parametrize(("layer", "shape"), LAYERS)


@each_layer
def test_every_layer_saves_and_loads_in_safe_mode(
    layer: Any, shape: tuple[int, ...], tmp_path: Path
) -> None:
    rebuilt = type(layer).from_config(layer.get_config())
    assert rebuilt.get_config() == layer.get_config()
    inputs = keras.Input(shape)
    model = keras.Model(inputs, rebuilt(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = RNG.normal(size=(2, *shape)).astype("float32")
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    assert type(loaded.layers[-1]) is type(layer)
    assert model.output.shape[1:] == model.predict(images, verbose=0).shape[1:]


@each_layer
def test_every_layer_computes_in_the_precision_it_is_told(
    layer: Any, shape: tuple[int, ...]
) -> None:
    config = layer.get_config()
    whole = type(layer).from_config({**config, "dtype": "float32"})
    half = type(layer).from_config({**config, "dtype": "mixed_bfloat16"})
    images = RNG.uniform(0.5, 1, size=(2, *shape)).astype("float32")
    exact = answer(whole, images)
    half.build(images.shape)
    half.set_weights(whole.get_weights())
    rough = half(images)
    assert keras.backend.standardize_dtype(rough.dtype) == "bfloat16"
    assert all(w.dtype == "float32" for w in half.weights)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.cast(rough, "float32")),
        exact,
        atol=0.03 * np.abs(exact).max() + 0.02,
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Subsampling2D(0), "Received: pool_size=0"),
        (lambda: TableConv2D([(0,), ()]), "each output map needs one input map"),
        (lambda: TableConv2D([(0, 0)]), "each named once"),
        (lambda: TableConv2D(kernel_size=(5,)), r"Received: kernel_size=\(5,\)"),
        (lambda: TableConv2D().build((None, 14, 14, 5)), "needs 6 channels or more"),
        (lambda: TableConv2D().build((None, 4, 14, 6)), "at least as large as the kernel"),
        (lambda: RadialBasis([1, 2]), r"codes of shape \(2,\)"),
        (lambda: RadialBasis()(np.zeros((1, 83), "float32")), "84"),
        (lambda: ImageKernel2D("edges"), 'Received: kernel="edges"'),
        (lambda: ImageKernel2D(border="odd"), 'Received: border="odd"'),
        (lambda: ImageKernel2D([1, 2]), "a kernel needs 2 axes"),
        (lambda: ImageKernel2D(border="valid").build((None, 2, 9, 1)), "at least as large"),
    ],
)
def test_mistakes_are_told(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
