"""The layers of the larger architectures, against SciPy, TensorFlow and cases by hand."""

from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, signal

from fieldsight.core.arithmetic import describe
from fieldsight.core.layers import (
    BlurPooling2D,
    BlurPooling3D,
    LocalResponseNormalization,
    PaddedShortcut,
    StochasticDepth,
)

RNG = np.random.default_rng(0)
Array = NDArray[Any]


def answer(layer: Any, inputs: Array, **options: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(layer(inputs, **options)))


def gradient(layer: Any, inputs: Array, upstream: Array) -> Array:
    """The gradient of sum(layer(inputs) * upstream) by the backend in use."""
    if keras.backend.backend() == "jax":
        import jax

        found = jax.grad(lambda x: keras.ops.sum(layer(x) * upstream))(inputs)
        return np.asarray(found)
    import tensorflow as tf

    x = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = keras.ops.sum(layer(x) * upstream)
    return np.asarray(tape.gradient(total, x))


# Local response normalisation


def normalised(
    x: Array, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, bias: float = 2.0
) -> Array:
    """The paper's section 3.3, its sum by SciPy."""
    x = x.astype("float64")
    sums = ndimage.correlate1d(x**2, np.ones(size), axis=-1, mode="constant", cval=0)
    return x / (bias + alpha * sums) ** beta


@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 6), (2, 4, 3, 96), (1, 2, 3, 4, 9)])
def test_local_response_is_the_papers_at_any_rank(shape: tuple[int, ...]) -> None:
    x = RNG.normal(scale=50, size=shape).astype("float32")
    np.testing.assert_allclose(
        answer(LocalResponseNormalization(), x), normalised(x), rtol=2e-6, atol=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from([0.5, 0.6, 0.75, 1.0, 2.0]),
    st.floats(1e-4, 1),
    st.floats(0.5, 4),
)
def test_local_response_takes_any_numbers(
    size: int, beta: float, alpha: float, bias: float
) -> None:
    x = np.random.default_rng(size).normal(scale=3, size=(4, 6)).astype("float32")
    found = answer(LocalResponseNormalization(size, alpha, beta, bias), x)
    np.testing.assert_allclose(found, normalised(x, size, alpha, beta, bias), rtol=1e-5)


def test_local_response_sums_and_does_not_average() -> None:
    # Five channels of 1: 1, 2 or all of a window of three lie within; (1 + 3)^-1 in the middle.
    layer = LocalResponseNormalization(3, alpha=1.0, beta=1.0, bias=1.0)
    found = answer(layer, np.ones((1, 5), "float32"))
    np.testing.assert_allclose(found, [[1 / 3, 1 / 4, 1 / 4, 1 / 4, 1 / 3]], rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="asks TensorFlow's own")
def test_local_response_and_its_gradient_are_tensorflows() -> None:
    import tensorflow as tf

    x, upstream = RNG.normal(scale=40, size=(2, 2, 5, 4, 20)).astype("float32")

    def theirs(x: Any) -> Any:
        return tf.nn.local_response_normalization(x, 2, bias=2.0, alpha=1e-4, beta=0.75)

    layer = LocalResponseNormalization()
    np.testing.assert_allclose(answer(layer, x), theirs(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        gradient(layer, x, upstream), gradient(theirs, x, upstream), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_local_responses_gradient_is_that_of_finite_differences(beta: float) -> None:
    x, upstream, direction = RNG.normal(size=(3, 4, 3, 9)).astype("float32")
    kinds: dict[str, Any] = {"size": 3, "alpha": 0.3, "beta": beta, "bias": 1.5}
    step = 1e-5
    ends = [normalised(x + s * direction.astype("float64"), **kinds) for s in (step, -step)]
    expected = np.sum((ends[0] - ends[1]) * upstream) / (2 * step)
    found = gradient(LocalResponseNormalization(**kinds), x, upstream)
    assert np.sum(found * direction) == pytest.approx(expected, rel=1e-4)


def test_local_response_computes_in_single_precision_under_half() -> None:
    # alpha a^2 = 0.0001 x 100 = 0.01 is lost beside 2 in bfloat16, where 2.0156 comes next.
    x = np.full((1, 8), 8.0, "float32")
    layer = LocalResponseNormalization(dtype="mixed_bfloat16", size=1, alpha=1e-4, beta=20.0)
    half = layer(x)
    assert keras.backend.standardize_dtype(half.dtype) == "bfloat16"
    expected = normalised(x, size=1, beta=20.0)
    assert abs(expected[0, 0] / (8.0 / 2.0**20) - 1) > 0.05
    np.testing.assert_allclose(keras.ops.cast(half, "float32"), expected, rtol=2**-8)


# Stochastic depth


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (2, 2, 2, 1)])
def test_whole_examples_are_zeroed_and_the_others_grow(shape: tuple[int, ...]) -> None:
    count = 4000
    x = RNG.uniform(1, 2, size=(count, *shape)).astype("float32")
    found = answer(StochasticDepth(0.2, seed=0), x, training=True)
    zeroed = (found == 0).reshape(count, -1)
    np.testing.assert_array_equal(zeroed.all(axis=1), zeroed.any(axis=1))
    survivors = ~zeroed[:, 0]
    np.testing.assert_allclose(found[survivors], x[survivors] / 0.8, rtol=1e-6)
    # Within four standard deviations: sqrt(0.2 x 0.8 / 4000) = 0.0063.
    assert abs(zeroed[:, 0].mean() - 0.2) < 4 * 0.0063


def test_stochastic_depth_is_the_identity_outside_training_or_at_rate_zero() -> None:
    x = RNG.normal(size=(50, 4)).astype("float32")
    np.testing.assert_array_equal(answer(StochasticDepth(0.9), x), x)
    np.testing.assert_array_equal(answer(StochasticDepth(0.9), x, training=False), x)
    np.testing.assert_array_equal(answer(StochasticDepth(0.0), x, training=True), x)


def test_stochastic_depth_repeats_by_its_seed_and_changes_by_the_call() -> None:
    x = np.ones((64, 1), "float32")
    one, same, other = (StochasticDepth(0.5, seed=seed) for seed in (7, 7, 8))
    first = answer(one, x, training=True)
    np.testing.assert_array_equal(first, answer(same, x, training=True))
    assert not np.array_equal(first, answer(other, x, training=True))
    assert not np.array_equal(first, answer(one, x, training=True))


def test_a_dropped_branch_learns_nothing() -> None:
    inputs = keras.Input((3,))
    branch = keras.layers.Dense(3, name="branch")(inputs)
    outputs = keras.layers.Add()([inputs, StochasticDepth(0.999999, seed=0)(branch)])
    model = keras.Model(inputs, outputs)
    before = model.get_weights()
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 3), "float32"), np.zeros((8, 3)), batch_size=4, verbose=0)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    state = next(x for x in model.layers if isinstance(x, StochasticDepth)).seed_generator.state
    assert keras.ops.convert_to_numpy(state)[1] == 2  # drawn once for each of two batches


# Blur pooling

BINOMIALS = {1: [1], 2: [1, 1], 3: [1, 2, 1], 4: [1, 3, 3, 1], 5: [1, 4, 6, 4, 1]}


def blurred(x: Array, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """The paper's blur of one map or volume, by SciPy: `(*axes, channels)`."""
    kernel = np.ones(())
    for size in sizes:
        kernel = np.multiply.outer(kernel, np.array(BINOMIALS[size]) / 2 ** (size - 1))
    both = [((size - 1) // 2, size // 2) for size in sizes]
    padded = np.pad(x.astype("float64"), [*both, (0, 0)], mode="reflect")
    found = signal.correlate(padded, kernel[..., None], mode="valid", method="direct")
    return np.asarray(found[tuple(slice(None, None, stride) for stride in strides)])


@pytest.mark.parametrize(("size", "stride"), list(product(BINOMIALS, (1, 2, 3))))
@pytest.mark.parametrize(
    ("layer", "shape"), [(BlurPooling2D, (2, 7, 8, 3)), (BlurPooling3D, (2, 6, 5, 7, 2))]
)
def test_blur_pooling_is_the_papers(
    layer: Any, shape: tuple[int, ...], size: int, stride: int
) -> None:
    rank = len(shape) - 2
    x = RNG.normal(size=shape).astype("float32")
    expected = [blurred(each, (size,) * rank, (stride,) * rank) for each in x]
    found = answer(layer(size, stride), x)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert layer(size, stride).compute_output_shape(shape) == found.shape


def test_blur_pooling_has_a_size_and_a_stride_for_each_axis() -> None:
    x = RNG.normal(size=(1, 5, 9, 6, 2)).astype("float32")
    expected = blurred(x[0], (1, 3, 4), (1, 2, 3))
    found = answer(BlurPooling3D((1, 3, 4), (1, 2, 3)), x)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


@pytest.mark.parametrize(("size", "stride"), [(5, 2), ((1, 4), (1, 3)), (1, 2), ((3, 2), (2, 1))])
def test_blur_pooling_of_an_unknown_size_is_that_of_the_known_one(size: Any, stride: Any) -> None:
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, BlurPooling2D(size, stride)(inputs))
    sizes, strides = np.broadcast_to(size, 2), np.broadcast_to(stride, 2)
    for shape in [(2, 7, 8, 2), (1, 4, 3, 2)]:
        x = RNG.normal(size=shape).astype("float32")
        expected = [blurred(each, tuple(sizes), tuple(strides)) for each in x]
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 300, 2), (1, 2, 4, 257, 1)])
def test_a_long_side_is_blurred_like_a_short_one(shape: tuple[int, ...]) -> None:
    x = RNG.normal(size=shape).astype("float32")
    rank = len(shape) - 2
    layer = BlurPooling2D(3) if rank == 2 else BlurPooling3D(3)
    expected = blurred(x[0], (3,) * rank, (2,) * rank)
    np.testing.assert_allclose(answer(layer, x)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"), [(BlurPooling2D(), (2, 6, 7, 2)), (BlurPooling3D(4), (1, 4, 5, 6, 2))]
)
def test_blur_poolings_gradient_is_its_transpose(layer: Any, shape: tuple[int, ...]) -> None:
    # Linear, so <upstream, layer(x)> = <gradient(upstream), x> for any x.
    x = RNG.normal(size=shape).astype("float32")
    upstream = RNG.normal(size=layer.compute_output_shape(shape)).astype("float32")
    found = gradient(layer, RNG.normal(size=shape).astype("float32"), upstream)
    assert np.sum(found * x) == pytest.approx(np.sum(upstream * answer(layer, x)), abs=1e-4)


def test_a_shift_by_a_pixel_changes_less_than_by_maximum_pooling() -> None:
    # By hand: 0 0 1 1 0 0 1 1 pooled by 2 is 0 1 0 1, but 1 1 1 1 when shifted by one. The
    # largest of each neighbours, 0 1 1 1 0 1 1 1, blurred is 0.5 1 0.5 1, and shifted 0.75.
    row = np.array([0, 0, 1, 1] * 4, "float32").reshape(1, 1, 16, 1)
    shifted = np.roll(row, 1, axis=2)
    largest = keras.layers.MaxPooling2D((1, 2), strides=1, padding="same")
    pooled = keras.layers.MaxPooling2D((1, 2))
    blur = BlurPooling2D((1, 3), (1, 2))
    anti = [answer(blur, answer(largest, x)).ravel()[1:-1] for x in (row, shifted)]
    plain = [answer(pooled, x).ravel()[1:-1] for x in (row, shifted)]
    assert plain[0].tolist() == [1, 0, 1, 0, 1, 0]
    assert plain[1].tolist() == [1] * 6
    assert anti[0].tolist() == [1, 0.5, 1, 0.5, 1, 0.5]
    assert anti[1].tolist() == [0.75] * 6


# The shortcut without weights


@pytest.mark.parametrize("axes", [(5, 6), (4, 5, 6), (7,)])
def test_the_shortcut_is_the_input_at_every_second_place_with_zeros_behind(
    axes: tuple[int, ...],
) -> None:
    x = RNG.normal(size=(2, *axes, 3)).astype("float32")
    found = answer(PaddedShortcut(5, 2), x)
    assert found.shape == (2, *(-(-side // 2) for side in axes), 5)
    assert found.shape == PaddedShortcut(5, 2).compute_output_shape(x.shape)
    for place in np.ndindex(found.shape[1:-1]):
        source = x[(slice(None), *(2 * i for i in place))]
        np.testing.assert_array_equal(found[(slice(None), *place)][:, :3], source)
    assert not found[..., 3:].any()


def test_the_shortcut_leaves_alone_what_needs_no_change() -> None:
    x = RNG.normal(size=(2, 5, 5, 3)).astype("float32")
    np.testing.assert_array_equal(answer(PaddedShortcut(3), x), x)


# What every layer of ours must do

LAYERS = [
    (LocalResponseNormalization(3, 1e-3, 0.5, 1.0), (4, 4, 6)),
    (LocalResponseNormalization(), (3, 3, 3, 8)),
    (StochasticDepth(0.25, seed=3), (4, 4, 2)),
    (BlurPooling2D((2, 5), 2), (6, 7, 2)),
    (BlurPooling3D(3, (1, 2, 2)), (3, 4, 5, 2)),
    (PaddedShortcut(7, 2), (5, 4, 3)),
    (PaddedShortcut(4, 2), (5, 4, 2, 3)),
]
each_layer = pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda x: str(x))


@each_layer
def test_it_saves_and_loads_in_safe_mode(
    layer: Any, shape: tuple[int, ...], tmp_path: Path
) -> None:
    rebuilt = type(layer).from_config(layer.get_config())
    assert rebuilt.get_config() == layer.get_config()
    inputs = keras.Input(shape)
    model = keras.Model(inputs, rebuilt(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = RNG.normal(size=(2, *shape)).astype("float32")
    predicted = model.predict(images, verbose=0)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), predicted)
    assert loaded.layers[-1].get_config() == rebuilt.get_config()
    assert model.output.shape[1:] == predicted.shape[1:]
    assert model.count_params() == 0 or isinstance(layer, StochasticDepth)


@each_layer
def test_it_computes_in_the_precision_it_is_told(layer: Any, shape: tuple[int, ...]) -> None:
    config = layer.get_config()
    images = RNG.uniform(0.5, 1, size=(2, *shape)).astype("float32")
    for training in (False, True):
        whole = type(layer).from_config({**config, "dtype": "float32"})
        half = type(layer).from_config({**config, "dtype": "mixed_bfloat16"})
        options = {"training": training} if isinstance(layer, StochasticDepth) else {}
        exact = answer(whole, images, **options)
        rough = half(images, **options)
        assert keras.backend.standardize_dtype(rough.dtype) == "bfloat16"
        np.testing.assert_allclose(keras.ops.cast(rough, "float32"), exact, atol=0.02)


def test_description_counts_no_weights_and_the_right_fields() -> None:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    x = LocalResponseNormalization()(x)
    x = BlurPooling2D(3, 2)(x)
    x = StochasticDepth(0.5)(x)
    x = PaddedShortcut(16, 2)(x)
    outputs = keras.layers.Conv2D(4, 3, padding="same")(x)
    table = describe(keras.Model(inputs, outputs))
    # 3; + 2 = 5 by the blur; then places are four apart: + 2 x 4 = 13.
    assert [row.receptive_field[0] for row in table.rows] == [3, 3, 5, 5, 5, 13]
    assert table.trainable == 3 * 3 * 3 * 8 + 8 + 3 * 3 * 16 * 4 + 4


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LocalResponseNormalization(4), "odd.*Received: size=4"),
        (lambda: LocalResponseNormalization(bias=0), "positive.*Received: bias=0"),
        (lambda: StochasticDepth(1.0), "Received: rate=1.0"),
        (lambda: StochasticDepth(-0.1), "Received: rate=-0.1"),
        (lambda: BlurPooling2D(0), "Received: kernel_size=0"),
        (lambda: BlurPooling2D(3, (1, 2, 2)), r"Received: strides=\(1, 2, 2\)"),
        (lambda: BlurPooling3D(5)(np.zeros((1, 4, 2, 4, 1))), "axis 1: a kernel of 5 reflects 2"),
        (lambda: BlurPooling3D()(np.zeros((1, 4, 4, 1))), "expected ndim=5"),
        (lambda: PaddedShortcut(0), "filters=0"),
        (lambda: PaddedShortcut(2)(np.zeros((1, 4, 4, 3))), "at least 3. Received: filters=2"),
    ],
)
def test_mistakes_are_told(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
