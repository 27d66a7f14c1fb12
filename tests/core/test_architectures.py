"""Every architecture: the published counts, one output a class, and the same on both backends."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from fieldsight.core import architectures, blocks
from fieldsight.core.architectures import (
    alexnet,
    inception_v3,
    lenet5,
    pilotnet,
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet56,
    resnet101,
    resnet110,
    resnet152,
    unet,
    vgg11,
    vgg13,
    vgg16,
    vgg19,
)
from fieldsight.core.architectures.unet import unet_on

Build = Callable[..., Any]


def counts(model: Any) -> tuple[int, int]:
    """Trainable and total parameters."""
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return trainable, model.count_params()


# DOMAIN.md, section 2: trainable and total. What no source publishes is worked out by hand:
# normalisation adds two running statistics for each of its channels.
# CIFAR: channels normalised are 16 + 2n (16 + 32 + 64) = 16 + 224 n for 6n + 2 layers.
# torchvision: 4,800 / 8,512 / 26,560 / 52,672 / 75,712 channels for 18 to 152 layers, from the
# stages of table 1; Inception v3: 17,216 channels, 896 more in the auxiliary head.
PUBLISHED: list[tuple[str, Build, dict[str, Any], int, int]] = [
    ("lenet5", lenet5, {}, 61_706, 61_706),
    ("lenet5-original", lenet5, {"variant": "original"}, 60_000, 60_840),
    ("alexnet", alexnet, {}, 60_965_224, 60_965_224),
    ("alexnet-ungrouped", alexnet, {"variant": "2012-ungrouped"}, 62_378_344, 62_378_344),
    ("alexnet-2014", alexnet, {"variant": "2014"}, 61_100_840, 61_100_840),
    ("vgg11", vgg11, {}, 132_863_336, 132_863_336),
    ("vgg13", vgg13, {}, 133_047_848, 133_047_848),
    ("vgg16", vgg16, {}, 138_357_544, 138_357_544),
    ("vgg19", vgg19, {}, 143_667_240, 143_667_240),
    ("resnet20", resnet20, {}, 269_722, 269_722 + 2 * (16 + 224 * 3)),
    ("resnet32", resnet32, {}, 464_154, 464_154 + 2 * (16 + 224 * 5)),
    ("resnet44", resnet44, {}, 658_586, 658_586 + 2 * (16 + 224 * 7)),
    ("resnet56", resnet56, {}, 853_018, 853_018 + 2 * (16 + 224 * 9)),
    ("resnet110", resnet110, {}, 1_727_962, 1_727_962 + 2 * (16 + 224 * 18)),
    ("resnet18", resnet18, {}, 11_689_512, 11_699_112),
    ("resnet34", resnet34, {}, 21_797_672, 21_797_672 + 2 * 8_512),
    ("resnet50", resnet50, {}, 25_557_032, 25_557_032 + 2 * 26_560),
    ("resnet101", resnet101, {}, 44_549_160, 44_549_160 + 2 * 52_672),
    ("resnet152", resnet152, {}, 60_192_808, 60_192_808 + 2 * 75_712),
    ("resnet50-keras", resnet50, {"variant": "keras"}, 25_583_592, 25_636_712),
    ("resnet101-keras", resnet101, {"variant": "keras"}, 44_707_176 - 2 * 52_672, 44_707_176),
    ("resnet152-keras", resnet152, {"variant": "keras"}, 60_419_944 - 2 * 75_712, 60_419_944),
    # Hu et al., table 2 and section 5: SE-ResNet-50 adds about 2.5 million parameters, 10 %; the
    # two layers of 16 blocks are 2 c^2 / 16 + c / 16 + c for c of 256, 512, 1024, 2048.
    (
        "se-resnet50", resnet50, {"squeeze_excitation": True},
        25_557_032 + 2_530_992, 25_557_032 + 2_530_992 + 2 * 26_560,
    ),
    ("inception_v3", inception_v3, {}, 23_817_352, 23_851_784),
    (
        "inception_v3-auxiliary", inception_v3, {"auxiliary": True, "scale": True},
        27_161_264, 27_161_264 + 2 * (17_216 + 896),
    ),
    ("pilotnet", pilotnet, {}, 252_219, 252_219),
    # Ronneberger et al., figure 1, 64 filters, one channel in and two out: 31.03 million.
    ("unet", unet, {"input_shape": (572, 572, 1), "padding": "valid"}, 31_030_658, 31_030_658),
]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "options", "trainable", "total"),
    [pytest.param(*row[1:], id=row[0]) for row in PUBLISHED],
)
def test_parameter_counts_are_the_published_ones(
    build: Build, options: dict[str, Any], trainable: int, total: int
) -> None:
    with keras.StatelessScope(initialize_variables=False):
        model = build(**options)
    assert counts(model) == (trainable, total)


def test_every_architecture_is_counted() -> None:
    counted = {build.__name__ for _, build, *_ in PUBLISHED}
    assert counted == set(architectures.__all__) - {"mlp", "all_cnn"}


def convolved(inputs: int, outputs: int, places: int, *, biased: bool = True) -> int:
    return inputs * outputs * places + biased * outputs


# One block each in three dimensions, by hand: weights of a cube, 27 places for a 3x3x3.
def test_vggs_first_stage_in_three_dimensions() -> None:
    with keras.StatelessScope(initialize_variables=False):
        model = vgg16((32, 32, 32, 1), 2)
    names = ["block1_conv1", "block1_conv2"]
    assert [model.get_layer(n).count_params() for n in names] == [
        1 * 64 * 27 + 64,
        64 * 64 * 27 + 64,
    ]


def test_a_basic_block_in_three_dimensions() -> None:
    with keras.StatelessScope(initialize_variables=False):
        model = resnet18((32, 32, 32, 2), 2)
    block = [layer for layer in model.layers if layer.name.startswith("conv3_block1_")]
    # 64 to 128, 128 to 128, the shortcut of one place, and four numbers a normalised channel.
    expected = 64 * 128 * 27 + 128 * 128 * 27 + 64 * 128 + 3 * 4 * 128
    assert sum(layer.count_params() for layer in block) == expected
    assert model.get_layer("conv1_conv").count_params() == 7**3 * 2 * 64


def test_inceptions_split_kernels_in_three_dimensions() -> None:
    with keras.StatelessScope(initialize_variables=False):
        model = inception_v3((75, 75, 75, 1), 2)
    block = [layer for layer in model.layers if layer.name.startswith("mixed4_")]
    # Kernels of 7 along planes, rows and columns; each unit has 3 numbers a channel besides.
    once = [(768, 128, 1), (128, 128, 7), (128, 128, 7), (128, 192, 7)]
    twice = [(768, 128, 1), *[(128, 128, 7)] * 5, (128, 192, 7)]
    units = [(768, 192, 1), *once, *twice, (768, 192, 1)]
    expected = sum(a * b * n + 3 * b for a, b, n in units)
    assert sum(layer.count_params() for layer in block) == expected
    kernels = [model.get_layer(f"mixed4_7x7_{axis}_conv").kernel_size for axis in AXES]
    assert kernels == [(7, 1, 1), (1, 7, 1), (1, 1, 7)]
    assert model.get_layer("mixed9").output.shape[-1] == 320 + 3 * 384 + 3 * 384 + 192


AXES = ("planes", "rows", "columns")


def test_a_residual_pair_of_unet_in_three_dimensions() -> None:
    model = unet((8, 8, 8, 1), 2, filters=4, depth=1, residual=True, normalization=True)
    pair = [layer for layer in model.layers if layer.name.startswith("bottom_")]
    assert sum(x.count_params() for x in pair) == 4 * 8 * 27 + 8 * 8 * 27 + 4 * 8 + 3 * 4 * 8


# The smallest inputs that each takes, in both ranks, with another number of channels and classes.
TINY: list[tuple[Build, tuple[int, ...], dict[str, Any]]] = [
    (architectures.mlp, (6, 5, 2), {}),
    (architectures.all_cnn, (4, 4, 2), {"filters": 4}),
    (architectures.all_cnn, (4, 4, 4, 2), {"filters": 4}),
    (lenet5, (16, 16, 2), {}),
    (alexnet, (67, 67, 2), {}),
    (alexnet, (67, 67, 2), {"variant": "2012-ungrouped"}),
    (alexnet, (63, 63, 2), {"variant": "2014"}),
    (alexnet, (67, 67, 67, 1), {}),
    *((vgg, (32, 32, 2), {}) for vgg in (vgg11, vgg13, vgg16, vgg19)),
    (vgg11, (32, 32, 32, 1), {}),
    *((net, (8, 8, 2), {}) for net in (resnet20, resnet32, resnet44, resnet56)),
    (resnet20, (8, 8, 8, 2), {}),
    *((net, (32, 32, 2), {}) for net in (resnet18, resnet34, resnet50)),
    (resnet50, (32, 32, 2), {"variant": "keras"}),
    (
        resnet18, (32, 32, 2),
        {"stochastic_depth": 0.2, "squeeze_excitation": True, "antialiased": True},
    ),
    (resnet18, (32, 32, 32, 2), {}),
    (resnet50, (32, 32, 32, 1), {"variant": "keras", "antialiased": True}),
    (inception_v3, (75, 75, 2), {}),
    (pilotnet, (66, 66, 2), {}),
]  # fmt: skip
LARGE: list[tuple[Build, tuple[int, ...], dict[str, Any]]] = [
    (resnet110, (8, 8, 2), {}),
    (resnet101, (32, 32, 2), {}),
    (resnet152, (32, 32, 2), {}),
    (resnet152, (32, 32, 2), {"variant": "keras"}),
    (inception_v3, (75, 75, 75, 1), {}),
    (inception_v3, (299, 299, 3), {"auxiliary": True}),
    (vgg19, (32, 32, 32, 1), {}),
]


@pytest.mark.parametrize(("build", "shape", "options"), TINY + LARGE)
def test_output_is_one_float32_logit_per_class(
    build: Build, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    # By shapes alone; test_backends.py computes, and compares what comes out.
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = build(shape, 7, **options)
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = model.outputs
    assert [(output.shape, output.dtype) for output in outputs] == [((None, 7), "float32")] * len(
        outputs
    )
    assert "bfloat16" in {layer.compute_dtype for layer in model.layers}
    names = [layer.name for layer in model.layers]
    assert len(names) == len(set(names))


def test_dropped_blocks_and_pooled_channels_change_training_alone() -> None:
    model = resnet18((32, 32, 3), 4, stochastic_depth=0.9, squeeze_excitation=True)
    rates = [layer.rate for layer in model.layers if layer.name.endswith("_drop")]
    # Equation 4 of Huang et al.: the l-th of 8 blocks is dropped l / 8 x 0.9 of the time.
    assert rates == pytest.approx([0.9 * block / 8 for block in range(1, 9)])
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    first, second = (keras.ops.convert_to_numpy(model(x, training=False)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_an_antialiased_network_changes_less_when_the_picture_moves() -> None:
    # Zhang's claim, on nets with random weights: the map before the average, moved by one pixel.
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(1, 65, 64, 3)).astype("float32")
    moved = []
    for antialiased in (False, True):
        keras.utils.set_random_seed(3)
        model = resnet18((64, 64, 3), 2, antialiased=antialiased)
        maps = keras.Model(model.input, model.get_layer("conv2_block2_out").output)
        a, b = (keras.ops.convert_to_numpy(maps(picture[:, i : i + 64])) for i in (0, 1))
        inner = (slice(None), slice(4, -4), slice(4, -4))
        moved.append(np.linalg.norm((a - b)[inner]) / np.linalg.norm(a[inner]))
    assert moved[1] < 0.9 * moved[0]


REFUSED: list[tuple[Build, tuple[Any, ...], dict[str, Any], str]] = [
    (vgg16, (31, 32, 3), {}, "vgg16 needs sides of at least 32.*Received: input_shape=.31, 32, 3"),
    (vgg16, (None, 32, 3), {}, "vgg16 flattens its last map, .*Received: input_shape=.None, 32"),
    (vgg16, (32, 3), {}, "vgg16 needs an input_shape of .height, width, channels. or .depth"),
    (resnet50, (32, 32, 0), {}, "at least one channel"),
    (resnet50, (32, 32, 3), {"variant": "caffe"}, 'Received: variant="caffe"'),
    (resnet18, (32, 32, 3), {"stochastic_depth": 1.0}, "under 1. Received: 1.0"),
    (resnet20, (3, 8, 3), {}, "resnet20 needs sides of at least 4"),
    (inception_v3, (74, 75, 3), {}, "at least 75"),
    (inception_v3, (160, 160, 3), {"auxiliary": True}, "at least 299"),
    (pilotnet, (66, 66, 66, 3), {}, "pilotnet needs an input_shape of .height, width, channels."),
    # The paper's own misprint: 55 places of 11 at stride 4 are 227, not 224.
    (alexnet, (224, 224, 3), {}, "layer 'conv1', axis 0: .* must be whole. Received: W=224, F=11"),
    (alexnet, (227, 227, 3), {"variant": "2013"}, 'Received: variant="2013"'),
    (alexnet, (66, 67, 3), {}, "at least 67"),
    (unet, (100, 96, 1), {}, "axis 0 must halve 4 times.*Received: 100.* 96 or 112 would fit"),
    (unet, (570, 572, 1), {"padding": "valid"}, "axis 0 .*Received: 570.* 556 or 572 would fit"),
    (unet, (None, None, 1), {"padding": "valid"}, "every side must be known"),
    (unet, (64, 64, 1), {"padding": "mirror"}, 'Received: padding="mirror"'),
    (unet, (64, 64, 1), {"depth": 0}, "Received: filters=64, depth=0"),
]


@pytest.mark.parametrize(("build", "shape", "options", "message"), REFUSED)
def test_what_doesnt_fit_is_named(
    build: Build, shape: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(shape, **options)


def test_groups_that_dont_divide_are_named_with_their_layer() -> None:
    with pytest.raises(ValueError, match=r"layer 'conv2': .* into 2 groups\. Received: 7 channels"):
        blocks.convolution(keras.Input((8, 8, 7)), 4, groups=2, name="conv2")


@pytest.mark.parametrize("build", [vgg11, resnet20, resnet18, inception_v3, alexnet, unet])
def test_there_is_at_least_one_class(build: Build) -> None:
    with pytest.raises(ValueError, match=r"needs at least one class\. Received: num_classes=0"):
        build(num_classes=0)


@pytest.mark.parametrize("build", [resnet20, resnet18, inception_v3, architectures.all_cnn])
def test_what_averages_takes_any_size(build: Build) -> None:
    with keras.StatelessScope(initialize_variables=False):
        assert build((None, None, 3), 5).output_shape == (None, 5)


# U-Net


@pytest.mark.parametrize("options", [{}, {"residual": True, "normalization": True}])
@pytest.mark.parametrize("shape", [(16, 24, 2), (8, 16, 8, 1)])
def test_unet_answers_for_every_place(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    model = unet(shape, 3, filters=2, depth=2, dropout=0.3, **options)
    assert model(np.zeros((2, *shape), "float32")).shape == (2, *shape[:-1], 3)


@pytest.mark.parametrize("options", [{}, {"residual": True, "normalization": True}])
def test_unet_takes_any_size_that_halves(options: dict[str, Any]) -> None:
    model = unet((None, None, 1), 1, filters=2, depth=2, **options)
    for shape in ((1, 8, 12, 1), (2, 32, 4, 1)):
        assert model(np.zeros(shape, "float32")).shape == shape


def test_unet_of_the_paper_turns_572_into_388() -> None:
    for residual in (False, True):
        model = unet((572, 572, 1), filters=1, padding="valid", residual=residual)
        assert model.output_shape == (None, 388, 388, 2)


def test_unet_sees_the_same_wherever_a_window_lies_on_its_grid() -> None:
    # Away from the border, moving the picture by the stride of 4 moves the answer by as much.
    keras.utils.set_random_seed(0)
    model = unet((64, 64, 1), 1, filters=2, depth=2)
    picture = np.random.default_rng(0).normal(size=(1, 68, 64, 1)).astype("float32")
    a, b = (keras.ops.convert_to_numpy(model(picture[:, i : i + 64])) for i in (0, 4))
    np.testing.assert_allclose(a[:, 28:40], b[:, 24:36], atol=1e-5)


def test_unets_second_output_depends_on_what_it_was_handed() -> None:
    # With the way back from the bottom cut, an edge still comes through the first level.
    model = unet((16, 16, 1), 1, filters=2, depth=1)
    for weight in model.get_layer("up0_transposed").weights:
        weight.assign(np.zeros(weight.shape))
    flat, edge = np.zeros((2, 1, 16, 16, 1), "float32")
    edge[:, :, 8:] = 1
    assert np.ptp(keras.ops.convert_to_numpy(model(edge) - model(flat))) > 0


@pytest.mark.parametrize(
    "backbone",
    [
        lambda: resnet18((64, 32, 3)),
        lambda: architectures.all_cnn((8, 16, 8, 1), filters=4),
        lambda: keras.applications.MobileNetV2((32, 32, 3), weights=None),
    ],
)
def test_any_backbone_carries_a_unet(backbone: Callable[[], Any]) -> None:
    with keras.StatelessScope(initialize_variables=False):
        body = backbone()
        model = unet_on(body, 5, filters=2)
    assert model.output_shape == (*body.input_shape[:-1], 5)
    shared = {id(layer) for layer in body.layers} & {id(layer) for layer in model.layers}
    assert len(shared) > len(body.layers) / 2
    assert "logits" not in [layer.name for layer in model.layers]


def test_a_backbone_that_drops_its_border_is_refused() -> None:
    with (
        keras.StatelessScope(initialize_variables=False),
        pytest.raises(ValueError, match=r"'inception_v3', axis 0: level P4 must be .* Received: 5"),
    ):
        unet_on(inception_v3((107, 107, 3)))


# Learning


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="compiles for a minute or two")
def test_a_small_resnet_learns_stripes() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(128) % 2
    x = rng.normal(0, 0.3, size=(128, 8, 8, 1)).astype("float32")
    x[y == 0, ::2] += 1  # rows, or columns
    x[y == 1, :, ::2] += 1
    keras.utils.set_random_seed(0)
    model = resnet20((8, 8, 1), 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=loss, metrics=["accuracy"])
    model.fit(x[:96], y[:96], batch_size=16, epochs=6, verbose=0, shuffle=False)
    assert model.evaluate(x[96:], y[96:], verbose=0)[1] > 0.9
