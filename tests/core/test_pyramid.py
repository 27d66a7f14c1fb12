"""Features at strides: of published networks, whose levels have known names, and of odd ones."""

import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from fieldsight.core import architectures
from fieldsight.core.architectures import all_cnn
from fieldsight.core.arithmetic import abstract
from fieldsight.core.pyramid import pyramid

once = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="looks at a graph, which no backend computes: once is enough",
)
applications = keras.applications


def taken_from(model: keras.Model) -> dict[str, str]:
    return {level: tensor._keras_history[0].name for level, tensor in model.output.items()}


# The layers that keras-hub's and torchvision's pyramids take of ResNet-50, those that
# segmentation on MobileNetV2 takes, and the concatenations of Inception v3.
@once
@pytest.mark.parametrize(
    ("build", "side", "expected"),
    [
        (
            applications.ResNet50,
            64,
            ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"],
        ),
        (
            applications.MobileNetV2,
            32,
            ["block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"],
        ),
    ],
)
def test_published_networks_give_the_layers_that_are_known(
    build: Any, side: int, expected: list[str]
) -> None:
    model = abstract(lambda: build(weights=None, input_shape=(side, side, 3)))
    features = pyramid(model)
    assert list(taken_from(features).values()) == expected
    sides = {level: tensor.shape[1] for level, tensor in features.output.items()}
    assert sides == {f"P{k}": side // 2**k for k in (2, 3, 4, 5)}


@once
def test_inception_gives_the_concatenations() -> None:
    model = abstract(lambda: applications.InceptionV3(weights=None, input_shape=(96, 96, 3)))
    names = taken_from(pyramid(model, ("P3", "P4", "P5")))
    assert names == {"P3": "mixed2", "P4": "mixed7", "P5": "mixed10"}


@once
@pytest.mark.parametrize("shape", [(64, 64, 3), (32, 32, 32, 1)])
@pytest.mark.parametrize(
    ("build", "levels"),
    [
        (
            architectures.resnet18,
            ["conv2_block2_out", "conv3_block2_out", "conv4_block2_out", "conv5_block2_out"],
        ),
        (
            lambda shape: architectures.resnet18(
                shape, squeeze_excitation=True, stochastic_depth=0.2, antialiased=True
            ),
            ["conv2_block2_out", "conv3_block2_out", "conv4_block2_out", "conv5_block2_out"],
        ),
        (
            architectures.resnet50,
            ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"],
        ),
        (architectures.vgg11, ["block3_conv2", "block4_conv2", "block5_conv2", "block5_pool"]),
        (architectures.resnet20, ["stage1_block3_out", "stage2_block3_out", "stage3_block3_out"]),
    ],
)
def test_our_networks_give_the_last_map_of_each_stride(
    build: Any, levels: list[str], shape: tuple[int, ...]
) -> None:
    names = ("P0", "P1", "P2") if len(levels) == 3 else ("P2", "P3", "P4", "P5")
    features = pyramid(abstract(lambda: build(shape)), names)
    assert list(taken_from(features).values()) == levels
    for level, tensor in features.output.items():
        assert tensor.shape[1:-1] == tuple(side // 2 ** int(level[1]) for side in shape[:-1])


@once
def test_our_inception_gives_as_many_channels_as_kerass() -> None:
    for shape in [(96, 96, 3), (80, 80, 80, 1)]:
        features = pyramid(abstract(functools.partial(architectures.inception_v3, shape)))
        channels = [tensor.shape[-1] for tensor in features.output.values()]
        if len(shape) == 3:
            assert channels == [192, 288, 768, 2048]
        assert len(taken_from(features)) == 4


def block(x: Any, filters: int, strides: int, name: str) -> Any:
    convolution = layers.Conv2D if len(x.shape) == 4 else layers.Conv3D
    inner = convolution(filters, 3, strides, padding="same", activation="relu")(x)
    inner = convolution(filters, 3, padding="same", name=f"{name}_inner")(inner)
    return layers.Add(name=name)([convolution(filters, 1, strides)(x), inner])


def backbone(shape: tuple[int, ...] = (32, 32, 1), **options: Any) -> keras.Model:
    inputs = keras.Input(shape)
    x = block(inputs, 3, 1, "fine")
    x = block(x, 4, 2, "half_a")
    x = block(x, 4, 1, "half_b")
    x = block(x, 5, 2, "quarter")
    return keras.Model(inputs, x, **options)


@pytest.mark.parametrize("shape", [(32, 32, 1), (16, 16, 16, 1)])
def test_a_level_is_the_last_blocks_output_not_its_inside(shape: tuple[int, ...]) -> None:
    model = backbone(shape)
    features = pyramid(model, ("P0", "P1", "P2"))
    assert taken_from(features) == {"P0": "fine", "P1": "half_b", "P2": "quarter"}
    images = np.random.default_rng(0).random((2, *shape), "float32")
    answers = features(images)
    for k, filters in enumerate((3, 4, 5)):
        assert answers[f"P{k}"].shape == (2, *(side // 2**k for side in shape[:-1]), filters)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(answers["P2"]),
        keras.ops.convert_to_numpy(model(images)),
        atol=1e-5,
    )


def test_weights_are_shared_and_the_head_is_left_out() -> None:
    model = all_cnn((16, 16, 1), filters=4)
    features = pyramid(model, ("P1",))
    own = {id(weight) for weight in model.weights}
    assert {id(weight) for weight in features.weights} < own
    before = keras.ops.convert_to_numpy(features(np.ones((1, 16, 16, 1), "float32"))["P1"])
    model.get_layer("stage1_conv1").kernel.assign(model.get_layer("stage1_conv1").kernel * 2)
    after = keras.ops.convert_to_numpy(features(np.ones((1, 16, 16, 1), "float32"))["P1"])
    assert np.abs(after - before).max() > 0
    assert taken_from(features) == {"P1": "stage2_conv2_relu"}


@once
def test_levels_that_are_not_there_are_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"has the levels P0, P1, P2\. Received: P3, P5\. Only"):
        pyramid(backbone(), ("P2", "P3", "P5"))
    with pytest.raises(ValueError, match=r"P0, P1, P2, \.\.\. Received: 'conv1'"):
        pyramid(backbone(), ("conv1",))
    with pytest.raises(ValueError, match=r"functional or a built sequential model\. Received: "):
        pyramid(keras.Sequential([layers.Dense(1)]))


@once
def test_a_stride_must_be_the_same_along_every_axis() -> None:
    inputs = keras.Input((8, 16, 16, 1))
    x = layers.MaxPooling3D((1, 2, 2), name="flat")(inputs)
    x = layers.MaxPooling3D((2, 1, 1), name="cube")(x)
    assert taken_from(pyramid(keras.Model(inputs, x), ("P1",))) == {"P1": "cube"}
    with pytest.raises(ValueError, match=r"has the levels P0\."):
        pyramid(keras.Model(inputs, layers.MaxPooling3D((1, 2, 2))(inputs)), ("P1",))


@once
def test_no_level_is_a_branch_that_paths_go_round() -> None:
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(2, 3, 2, padding="same", name="down")(inputs)
    side = layers.Conv2D(2, 3, padding="same", name="branch")(x)
    x = layers.Conv2D(2, 3, padding="same", name="trunk")(x)
    second = layers.Flatten()(layers.Conv2D(1, 3, name="head")(x))  # Not on the way to the first.
    joined = layers.Concatenate(name="joined")([x, side])
    outputs = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(joined)
    outputs = layers.Conv2D(3, 1, name="classes")(outputs)  # Of one cell: no stride any more.
    model = keras.Model(inputs, [outputs, second])
    assert taken_from(pyramid(model, ("P1",))) == {"P1": "joined"}


@once
def test_a_gate_of_the_whole_map_leaves_its_stride() -> None:
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(4, 3, 2, padding="same")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Dense(4, activation="sigmoid")(gate)
    for order in ([gate, x], [x, gate]):
        outputs = layers.Multiply(name="gated")(order)
        assert taken_from(pyramid(keras.Model(inputs, outputs), ("P1",))) == {"P1": "gated"}


@once
def test_padded_and_cropped_maps_are_passed_over() -> None:
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(4, 3, 2, padding="same", name="half")(inputs)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(4, 3, 2)(x)
    assert taken_from(pyramid(keras.Model(inputs, x), ("P1",))) == {"P1": "half"}


@pytest.mark.parametrize("after", [False, True])
def test_models_within_the_model_are_entered(after: bool) -> None:
    inner = backbone(name="inner")
    inputs = keras.Input((32, 32, 1))
    x = inner(layers.Rescaling(0.5)(inputs), training=False)
    if after:
        x = layers.Conv2D(2, 3, padding="same")(x)
        x = layers.Conv2D(2, 3, 2, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, x)
    levels = ("P0", "P1", "P2", *(["P3"] if after else []))
    features = pyramid(model, levels)
    images = np.random.default_rng(0).random((1, 32, 32, 1), "float32")
    answers = {k: keras.ops.convert_to_numpy(v) for k, v in features(images).items()}
    sides = {level: answer.shape[1:] for level, answer in answers.items()}
    coarse = {"P2": (8, 8, 2), "P3": (4, 4, 2)} if after else {"P2": (8, 8, 5)}
    assert sides == {"P0": (32, 32, 3), "P1": (16, 16, 4), **coarse}
    expected = pyramid(inner, ("P1",))(images / 2)["P1"]
    np.testing.assert_allclose(answers["P1"], keras.ops.convert_to_numpy(expected), atol=1e-6)
    pooled = answers[levels[-1]].mean(axis=(1, 2))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), pooled, atol=1e-5)


def test_a_pyramid_is_saved_and_loaded(tmp_path: Any) -> None:
    features = pyramid(backbone(), ("P1", "P2"))
    features.save(tmp_path / "pyramid.keras")
    loaded = keras.saving.load_model(tmp_path / "pyramid.keras")
    images = np.ones((1, 32, 32, 1), "float32")
    for level, answer in features(images).items():
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(loaded(images)[level]),
            keras.ops.convert_to_numpy(answer),
            atol=1e-6,
        )
