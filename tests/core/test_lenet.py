"""LeNet-5 in both variants, against the paper's counts and scipy's arithmetic."""

from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
from scipy import signal

from fieldsight.core.architectures import lenet5
from fieldsight.core.layers import LENET_TABLE, digit_bitmaps

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-0.1, 1.175, size=(3, 32, 32, 1)).astype("float32")
VARIANTS: list[Literal["lesson", "original"]] = ["lesson", "original"]


def trainable(model: Any) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def squash(x: np.ndarray) -> np.ndarray:
    return 1.7159 * np.tanh(2 / 3 * x)


def correlate(maps: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`(rows, columns, in)` by `(kernel, kernel, in, out)`, by scipy."""
    return np.stack(
        [
            signal.correlate(maps, kernel[..., output], mode="valid")[..., 0]
            for output in range(kernel.shape[-1])
        ],
        axis=-1,
    )


def sums(maps: np.ndarray) -> np.ndarray:
    rows, columns, channels = maps.shape
    return maps.reshape(rows // 2, 2, columns // 2, 2, channels).sum(axis=(1, 3))


def test_parameter_counts_are_the_papers() -> None:
    model = lenet5(variant="original")
    assert (trainable(model), model.count_params()) == (60_000, 60_840)
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.weights}
    assert counts == {
        "c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164, "rbf": 840,
    }  # fmt: skip


def test_the_lessons_network_has_61706_parameters() -> None:
    model = lenet5()
    assert (trainable(model), model.count_params()) == (61_706, 61_706)
    names = [layer.name for layer in model.layers]
    assert names == ["inputs", "c1", "s2", "c3", "s4", "flatten", "c5", "f6", "logits"]


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (16, 20, 1)])
def test_output_is_one_logit_per_class(shape: tuple[int, int, int]) -> None:
    assert lenet5(shape, num_classes=7)(np.zeros((2, *shape), "float32")).shape == (2, 7)


def test_the_original_computes_what_the_paper_says() -> None:
    model = lenet5(variant="original")
    for weight in model.trainable_weights:  # Large enough for every squash to bend.
        weight.assign(RNG.normal(scale=0.3, size=weight.shape))
    w = {f"{v.path.split('/')[-2]}.{v.name}": keras.ops.convert_to_numpy(v) for v in model.weights}
    dense = np.zeros((5, 5, 6, 16))
    links = [(channel, output) for output, row in enumerate(LENET_TABLE) for channel in row]
    for link, (channel, output) in enumerate(links):
        dense[:, :, channel, output] = w["c3.kernel"][..., link]
    codes = digit_bitmaps().reshape(10, 84)
    expected = []
    for image in IMAGES.astype("float64"):
        x = squash(correlate(image, w["c1.kernel"]) + w["c1.bias"])
        x = squash(sums(x) * w["s2.coefficient"] + w["s2.bias"])
        x = squash(correlate(x, dense) + w["c3.bias"])
        x = squash(sums(x) * w["s4.coefficient"] + w["s4.bias"])
        x = squash(correlate(x, w["c5.kernel"]) + w["c5.bias"])
        x = squash(x.ravel() @ w["f6.kernel"] + w["f6.bias"])
        expected.append(-np.square(x - codes).sum(axis=1))
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, rtol=1e-3, atol=1e-2)


def test_the_lesson_computes_what_it_says() -> None:
    model = lenet5()
    w = {f"{v.path.split('/')[-2]}.{v.name}": keras.ops.convert_to_numpy(v) for v in model.weights}
    expected = []
    for image in IMAGES.astype("float64"):
        x = image
        for name in ("c1", "c3"):
            x = np.maximum(correlate(x, w[f"{name}.kernel"]) + w[f"{name}.bias"], 0)
            rows, columns, channels = x.shape
            x = x.reshape(rows // 2, 2, columns // 2, 2, channels).max(axis=(1, 3))
        x = x.ravel()
        for name in ("c5", "f6"):
            x = np.maximum(x @ w[f"{name}.kernel"] + w[f"{name}.bias"], 0)
        expected.append(x @ w["logits.kernel"] + w["logits.bias"])
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-4)


def test_the_originals_weights_start_within_the_papers_limit() -> None:
    # S2 and S4 draw six and sixteen numbers: of one start in 64 all of S2's are below the half.
    keras.utils.set_random_seed(0)
    model = lenet5(variant="original")
    inputs = {"c1": 25, "s2": 4, "c3": 75, "s4": 4, "c5": 400, "f6": 120}
    for name, fan_in in inputs.items():
        largest = max(
            np.abs(keras.ops.convert_to_numpy(w)).max() for w in model.get_layer(name).weights
        )
        assert 0.5 * 2.4 / fan_in < largest <= 2.4 / fan_in + 1e-6, name


def test_one_seed_gives_one_start() -> None:
    starts = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        starts.append(lenet5(variant="original").get_weights())
    for first, second in zip(*starts, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns_saves_and_loads(variant: Literal["lesson", "original"], tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = lenet5(variant=variant)
    bars = np.zeros((40, 32, 32, 1), "float32")
    labels = np.arange(40) % 10
    for index, label in enumerate(labels):
        bars[index, 3 * label : 3 * label + 3] = 1
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
    model.fit(bars, labels, batch_size=10, epochs=30, verbose=0)
    assert model.evaluate(bars, labels, verbose=0)[1] == 1
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(bars, verbose=0), model.predict(bars, verbose=0))


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_stay_float32_in_half_precision(variant: Literal["lesson", "original"]) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = lenet5(variant=variant)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("c1").compute_dtype == "bfloat16"
    assert model.predict(IMAGES, verbose=0).dtype == "float32"


def test_the_original_takes_larger_images() -> None:
    model = lenet5((36, 40, 1), variant="original")
    assert model.get_layer("c5").output.shape == (None, 2, 3, 120)
    assert model.output.shape == (None, 10)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"input_shape": (15, 32, 1)}, r"both sides at least 16\. Received: .*\(15, 32, 1\)"),
        ({"input_shape": (28, 28, 1), "variant": "original"}, "both sides at least 32"),
        ({"input_shape": (32, 32)}, "height, width and channels"),
        ({"num_classes": 0}, "Received: num_classes=0"),
        ({"num_classes": 26, "variant": "original"}, "bitmaps of the 10 digits.*=26"),
        ({"variant": "modern"}, 'Received: variant="modern"'),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lenet5(**arguments)
