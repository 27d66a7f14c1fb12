"""Published weights: Keras's own networks and files are what ours are compared with."""

import hashlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldsight.core import blocks
from fieldsight.core.architectures.all_cnn import all_cnn
from fieldsight.core.architectures.inception import inception_v3
from fieldsight.core.architectures.resnet import resnet50, resnet101, resnet152
from fieldsight.core.architectures.vgg import vgg11, vgg16, vgg19
from fieldsight.core.weights import adapt_channels, inflate, load_published, with_preprocessing
from fieldsight.core.weights import published as module

CLASSES = 5
SIDES = {"vgg16": 32, "vgg19": 32, "inception_v3": 75}
THEIRS = {
    "vgg16": keras.applications.VGG16,
    "vgg19": keras.applications.VGG19,
    "resnet50": keras.applications.ResNet50,
    "resnet101": keras.applications.ResNet101,
    "resnet152": keras.applications.ResNet152,
    "inception_v3": keras.applications.InceptionV3,
}
OURS: dict[str, Callable[..., keras.Model]] = {
    "vgg16": vgg16,
    "vgg19": vgg19,
    "resnet50": lambda *args: resnet50(*args, variant="keras"),
    "resnet101": lambda *args: resnet101(*args, variant="keras"),
    "resnet152": lambda *args: resnet152(*args, variant="keras"),
    "inception_v3": inception_v3,
}
PREPROCESS = {
    "vgg16": keras.applications.vgg16.preprocess_input,
    "vgg19": keras.applications.vgg19.preprocess_input,
    "resnet50": keras.applications.resnet.preprocess_input,
    "inception_v3": keras.applications.inception_v3.preprocess_input,
}
# What the published files call the weights of a layer, and its dataset within the group.
WORDS = {"kernel": "W_1", "bias": "b_1"}


def shape_of(name: str) -> tuple[int, int, int]:
    return (SIDES.get(name, 32), SIDES.get(name, 32), 3)


def ours(name: str, shape: tuple[int, ...] | None = None, classes: int = CLASSES) -> keras.Model:
    return OURS[name](shape or shape_of(name), classes)


def randomise(model: keras.Model) -> None:
    """Numbers that keep activations of order one; statistics that a mix-up would show."""
    rng = np.random.default_rng(7)
    for variable in model.weights:
        shape = tuple(variable.shape)
        if variable.name == "kernel":
            value = rng.standard_normal(shape, "float32") * np.sqrt(2 / np.prod(shape[:-1]))
        elif variable.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.7, 1.3, shape)
        else:
            value = rng.normal(0, 0.1, shape)
        variable.assign(np.asarray(value, "float32"))


def write(
    path: Path, model: keras.Model, names: Mapping[str, str], *, hollow: bool = False
) -> Path:
    """The layout of the published files: groups at the root, VGG's words or nested names.

    A hollow file has the shapes alone: HDF5 then reads zeros, and keeps nothing.
    """
    with h5py.File(path, "w") as file:
        called = {layer.name: names.get(layer.name, layer.name) for layer in model.layers}
        file.attrs["layer_names"] = np.array([name.encode() for name in called.values()])
        for layer in model.layers:
            name = called[layer.name]
            group = file.create_group(name)
            if "vgg" in model.name:
                weights = {f"{name}_{WORDS[v.name]}:0": v for v in layer.weights}
            else:
                weights = {f"{name}/{v.name}:0": v for v in layer.weights}
            group.attrs["weight_names"] = np.array([weight.encode() for weight in weights])
            for weight, variable in weights.items():
                data = None if hollow else keras.ops.convert_to_numpy(variable)
                group.create_dataset(weight, tuple(variable.shape), "float32", data=data)
    return path


def published_names(model: keras.Model) -> dict[str, str]:
    """ResNet's last layer was "probs"; Inception's numbers are those of one session."""
    if "resnet" in model.name:
        return {"predictions": "probs", "logits": "probs"}
    names: dict[str, str] = {}
    for kind in ("conv2d", "batch_normalization") if "inception" in model.name else ():
        pattern = re.compile(rf"{kind}_?(\d*)")
        found = (pattern.fullmatch(layer.name) for layer in model.layers)
        same = sorted((int(match[1] or 0), match[0]) for match in found if match)
        assert len(same) == 94
        names |= {name: f"{kind}_{95 + i}" for i, (_, name) in enumerate(same)}
    return names


class Published:
    """Keras's network, its file with the top and without, and ours, filled from the first."""

    def __init__(self, name: str, folder: Path) -> None:
        self.model = THEIRS[name](
            weights=None, input_shape=shape_of(name), classes=CLASSES, classifier_activation=None
        )
        randomise(self.model)
        self.file = write(folder / f"{name}.h5", self.model, published_names(self.model))
        self.without = folder / f"{name}_notop.h5"
        with h5py.File(self.file) as source, h5py.File(self.without, "w") as target:
            top = {b"avg_pool", b"flatten", b"fc1", b"fc2", b"predictions", b"probs"}
            kept = [name for name in source.attrs["layer_names"] if name not in top]
            target.attrs["layer_names"] = np.array(kept)
            for layer in kept:
                source.copy(layer, target)
        self.ours = ours(name)
        self.kept = load_published(self.ours, self.file)


@pytest.fixture(scope="module", autouse=True)
def quick_starts() -> Iterator[None]:
    """Start from zeros: every number that counts here is written, and drawing others takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            keras.initializers.VarianceScaling,
            "__call__",
            lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype),
        )
        yield


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Published]]:
    folder = tmp_path_factory.mktemp("published")
    made: dict[str, Published] = {}

    def get(name: str) -> Published:
        if name not in made:
            made[name] = Published(name, folder)
        return made[name]

    yield get
    for file in folder.iterdir():
        file.unlink()  # hundreds of megabytes that pytest would keep


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    """`(1, 96, 96, 3)`: a real picture's face."""
    data = pytest.importorskip("skimage.data")
    return np.asarray(data.astronaut()[64:160, 176:272][None])


def answer(model: keras.Model, inputs: Any) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(model(np.asarray(inputs), training=False)))


def close(ours: NDArray[Any], theirs: NDArray[Any], tolerance: float) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def weights_of(model: keras.Model, name: str) -> list[NDArray[np.float32]]:
    return [np.asarray(value) for value in model.get_layer(name).get_weights()]


# The same answers as keras.applications

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("vgg19", "resnet101", "resnet152")]


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3", *SLOW])
def test_raw_pixels_are_answered_as_by_keras_applications(
    name: str, published: Callable[[str], Published], astronaut: NDArray[np.uint8]
) -> None:
    side = shape_of(name)[0]
    pixels = np.concatenate([astronaut[:, :side, :side], astronaut[:, -side:, -side:]])
    preprocess = PREPROCESS.get(name, keras.applications.resnet.preprocess_input)
    model = with_preprocessing(published(name).ours)
    assert published(name).kept == []
    theirs = answer(published(name).model, preprocess(pixels.astype("float32")))
    assert np.ptp(theirs, axis=0).min() > 0  # the two pictures are told apart
    close(answer(model, pixels), theirs, 1e-5)


@pytest.fixture
def emptied(published: Callable[[str], Published]) -> Iterator[Callable[[str], keras.Model]]:
    """Ours with zeros alone, for a while."""
    before: list[tuple[keras.Model, list[NDArray[np.float32]]]] = []

    def get(name: str) -> keras.Model:
        model = published(name).ours
        before.append((model, model.get_weights()))
        for variable in model.weights:
            variable.assign(np.zeros(variable.shape, "float32"))
        return model

    yield get
    for model, weights in before:
        model.set_weights(weights)


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3"])
def test_a_file_without_the_top_fills_all_but_the_head(
    name: str, published: Callable[[str], Published], emptied: Callable[[str], keras.Model]
) -> None:
    filled = {layer.name: layer.get_weights() for layer in published(name).ours.layers}
    model = emptied(name)
    head = [layer.name for layer in model.layers if layer.name in ("fc1", "fc2", "logits")]
    assert load_published(model, published(name).without, top=False) == head
    for layer in model.layers:
        if layer.name in head:
            assert not any(values.any() for values in layer.get_weights())
        else:
            np.testing.assert_equal(layer.get_weights(), filled[layer.name])


def test_vggs_dense_layers_are_taken_from_a_whole_file_where_they_fit(
    published: Callable[[str], Published], emptied: Callable[[str], keras.Model]
) -> None:
    file = published("vgg16").file
    model = emptied("vgg16")
    assert load_published(model, file, top=False) == ["logits"]
    for layer in ("fc1", "fc2"):
        np.testing.assert_equal(
            weights_of(model, layer), weights_of(published("vgg16").model, layer)
        )
    wider = ours("vgg16", (32, 64, 3))
    assert load_published(wider, file, top=False) == ["fc1", "fc2", "logits"]
    with pytest.raises(ValueError, match=r"'fc1'\. Received: .* \(512, 4096\)\. top=False leaves"):
        load_published(wider, file)


@pytest.mark.parametrize("name", ["resnet50", "inception_v3"])
def test_files_that_keras_3_writes_are_read_alike(
    name: str,
    published: Callable[[str], Published],
    emptied: Callable[[str], keras.Model],
    tmp_path: Path,
) -> None:
    # The weights are in the group `model_weights`; Inception's first number is none.
    published(name).model.save(tmp_path / "whole.h5")
    expected = published(name).ours.get_weights()
    model = emptied(name)
    load_published(model, tmp_path / "whole.h5")
    for one, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


# Channels


@given(channels=st.integers(1, 9), value=st.floats(-2, 2))
def test_equal_channels_are_answered_as_before(channels: int, value: float) -> None:
    kernel = np.random.default_rng(channels).normal(size=(3, 3, 3, 4))
    adapted = adapt_channels(kernel, channels)
    assert adapted.shape == (3, 3, channels, 4)
    np.testing.assert_allclose(
        np.full((3, 3, channels), value).reshape(-1) @ adapted.reshape(-1, 4),
        np.full((3, 3, 3), value).reshape(-1) @ kernel.reshape(-1, 4),
        atol=1e-12,
    )


def test_channels_are_dealt_out_in_turn() -> None:
    kernel = np.array([[3.0], [6.0], [9.0]])[None, None]
    assert adapt_channels(kernel, 3).ravel().tolist() == [3, 6, 9]
    assert adapt_channels(kernel, 1).ravel().tolist() == [18]
    assert adapt_channels(kernel, 2).ravel().tolist() == [9, 9]
    assert adapt_channels(kernel, 5).ravel().tolist() == [1.5, 3, 9, 1.5, 3]


def test_a_grey_picture_is_answered_alike_in_three_channels_and_in_seven(
    published: Callable[[str], Published], astronaut: NDArray[np.uint8]
) -> None:
    grey = astronaut[:, :32, :32, :1]
    three = with_preprocessing(published("resnet50").ours)
    seven = with_preprocessing(ours("resnet50", (32, 32, 7)))
    load_published(seven, published("resnet50").file)
    expected = answer(three, np.repeat(grey, 3, axis=-1))
    close(answer(seven, np.repeat(grey, 7, axis=-1)), expected, 1e-5)


# Three dimensions


@given(depth=st.integers(1, 7))
def test_an_inflated_kernel_sums_to_the_one_it_came_from(depth: int) -> None:
    kernel = np.random.default_rng(depth).normal(size=(3, 5, 2, 4))
    inflated = inflate(kernel, depth)
    assert inflated.shape == (depth, 3, 5, 2, 4)
    np.testing.assert_allclose(inflated.sum(axis=0), kernel, atol=1e-12)


def test_equal_planes_are_answered_as_the_picture(published: Callable[[str], Published]) -> None:
    file = published("resnet50").file
    model, flat = ours("resnet50", (32, 32, 32, 3)), published("resnet50").ours
    assert load_published(model, file) == []
    picture = np.random.default_rng(0).normal(size=(1, 20, 18, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(flat.get_layer("conv1_conv")(picture))
    volume = np.repeat(picture[:, None], 13, axis=1)
    found = keras.ops.convert_to_numpy(model.get_layer("conv1_conv")(volume))
    assert found.shape == (1, 4, 7, 6, 64)
    for plane in range(4):
        close(found[:, plane], expected, 1e-5)
    np.testing.assert_equal(
        weights_of(model, "logits"), weights_of(published("resnet50").model, "predictions")
    )


def test_inceptions_units_along_the_planes_change_nothing(
    published: Callable[[str], Published],
) -> None:
    model = ours("inception_v3", (75, 75, 75, 1))
    side = [
        f"{block}_{unit}_planes_{kind}"
        for block in ("mixed9", "mixed10")
        for unit in ("3x3", "3x3dbl")
        for kind in ("conv", "bn")
    ]
    own = load_published(model, published("inception_v3").file)
    assert sorted(own) == sorted(side)
    # In a chain: what goes in, after a ReLU, comes out.
    rng = np.random.default_rng(0)
    for block, unit, channels in (
        ("mixed4", "7x7_planes", 128),
        ("mixed7", "7x7dbl_planes2", 192),
        ("mixed8", "7x7x3_planes", 192),
    ):
        x = rng.uniform(0, 4, (1, 5, 3, 3, channels)).astype("float32")
        y = x
        for kind in ("conv", "bn", "relu"):
            y = model.get_layer(f"{block}_{unit}_{kind}")(y)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(y), x, rtol=1e-6)
    # Side by side: each of 384 channels that nobody hears, between the published ones.
    for layer in ("mixed10_1x1_conv", "mixed10_pool_conv", "logits"):
        kernel = weights_of(model, layer)[0].reshape(2816, -1)
        unheard = (kernel == 0).all(axis=1)
        expected = np.repeat([0, 1, 0, 1, 0], [320 + 768, 384, 768, 384, 192])
        np.testing.assert_array_equal(unheard, expected)
    logits = weights_of(model, "logits")[0]
    np.testing.assert_array_equal(
        logits[logits.any(axis=1)], weights_of(published("inception_v3").model, "predictions")[0]
    )


# Preprocessing


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3"])
def test_preprocessing_is_that_of_keras_applications(
    name: str, published: Callable[[str], Published], astronaut: NDArray[np.uint8]
) -> None:
    side = shape_of(name)[0]
    pixels = astronaut[:, :side, :side]
    model = with_preprocessing(published(name).ours)
    last = "minus_one_to_one" if name == "inception_v3" else "minus_means"
    start = keras.Model(model.input, model.get_layer(last).output)
    theirs = PREPROCESS[name](pixels.astype("float32"))
    np.testing.assert_allclose(answer(start, pixels), theirs, atol=1e-4)


def test_half_precision_keeps_weights_and_preprocessing_and_is_saved(
    published: Callable[[str], Published], tmp_path: Path, astronaut: NDArray[np.uint8]
) -> None:
    pixels = astronaut[:, :32, :32]
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = ours("resnet50")
    finally:
        keras.config.set_dtype_policy(before)
    assert load_published(model, published("resnet50").file) == []
    np.testing.assert_equal(
        weights_of(model, "conv1_conv"), weights_of(published("resnet50").model, "conv1_conv")
    )
    start = keras.Model(model.input, model.get_layer("conv1_conv").output)
    start = with_preprocessing(start)
    assert start.get_layer("conv1_conv").compute_dtype == "bfloat16"
    start.save(tmp_path / "start.keras")
    loaded = keras.saving.load_model(tmp_path / "start.keras", safe_mode=True)
    np.testing.assert_array_equal(answer(loaded, pixels), answer(start, pixels))
    made = keras.Model(loaded.input, loaded.get_layer("minus_means").output)
    theirs = keras.applications.resnet.preprocess_input(pixels.astype("float32"))
    np.testing.assert_allclose(answer(made, pixels), theirs, atol=1e-4)


def preprocessed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the first layer of a ResNet gets."""
    inputs = keras.Input(pixels.shape[1:])
    first = blocks.convolution(inputs, 1, 1, name="conv1_conv")
    model = with_preprocessing(keras.Model(inputs, first))
    return answer(keras.Model(model.input, model.get_layer("minus_means").output), pixels)


def test_channels_beyond_colour_keep_their_place() -> None:
    # Red, green, blue, and once more: both threes are turned. A seventh is no three.
    pixels = np.broadcast_to(np.arange(7, dtype="uint8"), (1, 2, 2, 7))
    blue, green, red = 103.939, 116.779, 123.68
    expected = [2 - blue, 1 - green, 0 - red, 5 - blue, 4 - green, 3 - red, 6 - blue]
    np.testing.assert_allclose(preprocessed(pixels)[0, 0, 0], expected, atol=1e-4)


def test_one_channel_has_the_mean_of_the_means() -> None:
    # (103.939 + 116.779 + 123.68) / 3 = 114.799333
    found = preprocessed(np.full((1, 2, 2, 2, 1), 200, "uint8"))
    np.testing.assert_allclose(found, np.full((1, 2, 2, 2, 1), 85.200667), atol=1e-4)


# Files that don't fit, or mean harm


@pytest.fixture(scope="module")
def untouched() -> Iterator[keras.Model]:
    """A ResNet-50 of ones that no spoilt file, of zeros, may change."""
    model = ours("resnet50")
    before = [np.ones_like(weights) for weights in model.get_weights()]
    model.set_weights(before)
    yield model
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def hollow(untouched: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("hollow") / "file.h5"
    return write(path, untouched, published_names(untouched), hollow=True).read_bytes()


@pytest.fixture
def copy(hollow: bytes, tmp_path: Path) -> Path:
    """A file of ResNet-50 to be spoilt."""
    (tmp_path / "spoilt.h5").write_bytes(hollow)
    return tmp_path / "spoilt.h5"


def rename(file: h5py.File, old: str, new: str | None) -> None:
    names = [name.decode() for name in file.attrs["layer_names"]]
    renamed = [(new or "") if n == old else n for n in names if n != old or new]
    file.attrs["layer_names"] = np.array([n.encode() for n in renamed])
    if new:
        file.move(old, new)


def replace(file: h5py.File, values: Any, **options: Any) -> None:
    del file["conv5_block3_3_bn/conv5_block3_3_bn/beta:0"]
    file.create_dataset("conv5_block3_3_bn/conv5_block3_3_bn/beta:0", data=values, **options)


def outside(file: h5py.File) -> None:
    del file["conv5_block3_3_bn/conv5_block3_3_bn/beta:0"]
    group = file["conv5_block3_3_bn/conv5_block3_3_bn"]
    group.create_dataset("beta:0", (2048,), "float32", external=[("other.raw", 0, 8192)])


def virtual(file: h5py.File) -> None:
    del file["conv5_block3_3_bn/conv5_block3_3_bn/beta:0"]
    layout = h5py.VirtualLayout(shape=(2048,), dtype="float32")
    layout[:] = h5py.VirtualSource("other.h5", "secret", shape=(2048,))
    file["conv5_block3_3_bn/conv5_block3_3_bn"].create_virtual_dataset("beta:0", layout)


def link(file: h5py.File, target: Any) -> None:
    del file["conv5_block3_3_bn"]
    file["conv5_block3_3_bn"] = target


def list_weights(file: h5py.File, names: Any) -> None:
    file["conv5_block3_3_bn"].attrs["weight_names"] = names


def add_layer(file: h5py.File) -> None:
    rename(file, "avg_pool", "probs2")
    file["probs2"].attrs["weight_names"] = np.array([b"kernel:0"])
    file["probs2"]["kernel:0"] = np.zeros(1, "float32")


def other_classes(file: h5py.File) -> None:
    del file["probs/probs/kernel:0"]
    file["probs/probs/kernel:0"] = np.zeros((2048, 3), "float32")


def file_of_nothing(file: h5py.File, shape: tuple[int, ...]) -> None:
    del file["conv5_block3_3_bn/conv5_block3_3_bn/beta:0"]
    group = file["conv5_block3_3_bn/conv5_block3_3_bn"]
    group.create_dataset("beta:0", shape, "float32", chunks=(1 << 16,), compression="gzip")


BN = "conv5_block3_3_bn"
SWAPPED = [f"{BN}/{kind}:0" for kind in ("beta", "gamma", "moving_mean", "moving_variance")]
SPOILT: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "missing": (lambda f: rename(f, "conv3_block2_1_bn", None), "without conv3_block2_1_bn; with"),
    "extra": (add_layer, "besides, probs2"),
    "no top": (lambda f: rename(f, "probs", None), "without logits; .*top=False leaves"),
    "classes": (
        other_classes,
        r"kernel of shape \(2048, 5\) for layer 'logits'.*\(2048, 3\)\. top=False leaves",
    ),
    "shape": (lambda f: replace(f, np.zeros(2047, "float32")), rf"'{BN}'.*\(2047,\)"),
    "scalar": (lambda f: replace(f, np.float32(1)), rf"\(2048,\) for layer '{BN}'"),
    "integers": (lambda f: replace(f, np.zeros(2048, "int64")), "floating point.*int64"),
    "complex": (lambda f: replace(f, np.zeros(2048, "complex64")), "floating point"),
    "strings": (lambda f: replace(f, ["x"] * 2048), "floating point. Received: object"),
    "none": (lambda f: replace(f, np.full(2048, np.nan, "float32")), "infinite or none"),
    "infinite": (lambda f: replace(f, np.full(2048, 1e300)), "infinite or none"),
    "huge": (
        lambda f: file_of_nothing(f, (1 << 40,)),
        r"\(2048,\).*Received: .*beta:0 of shape \(1099511627776,\)",
    ),
    "order": (lambda f: list_weights(f, SWAPPED), rf"gamma .*'{BN}'. Received: {BN}/beta:0"),
    "fewer": (lambda f: list_weights(f, SWAPPED[:3]), f"moving_variance of layer '{BN}'"),
    "twice": (lambda f: list_weights(f, SWAPPED[:1] * 4), "lists a name twice"),
    "numbers": (lambda f: list_weights(f, [1, 2, 3, 4]), "doesn't list names"),
    "root": (lambda f: list_weights(f, ["/probs/probs/bias:0"]), "no member '/probs"),
    "parent": (lambda f: list_weights(f, ["../probs/probs/bias:0"]), "no member '../probs"),
    "group": (lambda f: list_weights(f, [BN]), f"'{BN}' holds no numbers"),
    "external link": (lambda f: link(f, h5py.ExternalLink("other.h5", "/")), "is a link"),
    "soft link": (lambda f: link(f, h5py.SoftLink("/conv5_block3_2_bn")), "is a link"),
    "dangling": (lambda f: f.__delitem__(BN), f"no member '{BN}'"),
    "external": (outside, "other files"),
    "virtual": (virtual, "other files"),
    "another layout": (lambda f: f.attrs.__delitem__("layer_names"), "no list `layer_names`"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=list(SPOILT))
def test_a_spoilt_file_is_refused_by_name_and_changes_nothing(
    spoil: Callable[[h5py.File], None], said: str, copy: Path, untouched: keras.Model
) -> None:
    with h5py.File(copy, "r+") as file:
        spoil(file)
    before = [weights_of(untouched, layer) for layer in ("conv1_conv", "logits")]
    with pytest.raises(ValueError, match=f"(?s){said}"):
        load_published(untouched, copy)
    after = [weights_of(untouched, layer) for layer in ("conv1_conv", "logits")]
    np.testing.assert_equal(after, before)


@pytest.mark.parametrize("content", [b"", b"\x80\x04cos\nsystem\n.", "half"])
def test_what_is_no_hdf5_is_refused(
    content: bytes | str, copy: Path, untouched: keras.Model
) -> None:
    copy.write_bytes(copy.read_bytes()[:4096] if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r"Received: spoilt\.h5; it is no HDF5"):
        load_published(untouched, copy)


def test_a_missing_file_and_keras_3s_own_layout_are_told(
    tmp_path: Path, untouched: keras.Model
) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5"):
        load_published(untouched, tmp_path / "nowhere.h5")
    all_cnn((8, 8, 1), 2, filters=2).save_weights(tmp_path / "small.weights.h5")
    with pytest.raises(ValueError, match=r"is read by `model\.load_weights`"):
        load_published(untouched, tmp_path / "small.weights.h5")


# Models that don't fit


def test_torchvisions_resnet_is_told_to_take_kerass(copy: Path) -> None:
    model = resnet50((32, 32, 3), CLASSES)
    with pytest.raises(ValueError, match='Build it with variant="keras"'):
        load_published(model, copy)
    with pytest.raises(ValueError, match='Build it with variant="keras"'):
        load_published(model)


def test_another_networks_file_is_told(published: Callable[[str], Published], copy: Path) -> None:
    with pytest.raises(ValueError, match=r"without block1_conv1, .*besides, conv1_conv, "):
        load_published(published("vgg16").ours, copy)


def test_networks_without_published_weights_are_told() -> None:
    with pytest.raises(ValueError, match="no weights are published for vgg11: only for vgg16"):
        load_published(vgg11((32, 32, 3), 2))
    other = all_cnn((8, 8, 1), 2, filters=2)
    for use in (load_published, with_preprocessing):
        with pytest.raises(ValueError, match=r"is needed\. Received: model 'all_cnn'"):
            use(other)


# Fetching


@pytest.mark.parametrize("name", list(module.FILES))
def test_names_and_digests_are_those_of_the_installed_keras(name: str) -> None:
    source = inspect.getsource(sys.modules[THEIRS[name].__module__])
    folder, *digests = module.FILES[name]
    for digest in digests:
        assert digest in source
    assert "".join(source.split('"\n    "')).count(f"{module.SOURCE}{folder}/") >= 1
    assert "_weights_tf_dim_ordering_tf_kernels_notop.h5" in source


def fetch_from(
    folder: Path, file: Path, name: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let `file` be what is published, and fetch it by Keras's own function into `folder`."""
    place, *_ = module.FILES[name]
    (folder / place).mkdir()
    os.link(file, folder / place / f"{name}_weights_tf_dim_ordering_tf_kernels{part}.h5")
    digest = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setattr(module, "SOURCE", f"{folder.as_uri()}/")
    monkeypatch.setitem(module.FILES, name, (place, digest, digest))
    fetch = keras.utils.get_file
    monkeypatch.setattr(keras.utils, "get_file", lambda *a, **k: fetch(*a, cache_dir=folder, **k))


def test_files_are_fetched_checked_and_kept(
    published: Callable[[str], Published], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_from(tmp_path, published("resnet50").without, "resnet50", "_notop", monkeypatch)
    model = published("resnet50").ours
    assert load_published(model, top=False) == ["logits"]
    kept = tmp_path / "models" / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert kept.is_file()
    kept.unlink()
    monkeypatch.setitem(module.FILES, "resnet50", ("resnet", "0" * 32, "0" * 32))
    with pytest.raises(OSError, match=r"couldn't be fetched .*give its path as `file`"):
        load_published(model, top=False)


def test_nothing_is_fetched_for_another_number_of_classes(untouched: keras.Model) -> None:
    with pytest.raises(ValueError, match=r"1000 classes.*'logits' of 5\. top=False"):
        load_published(untouched)
