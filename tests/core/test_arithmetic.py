"""The golden cases of the lesson and of the papers, and describe on every kind of graph."""

import math
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from fieldsight.core import architectures
from fieldsight.core.architectures import lenet5
from fieldsight.core.arithmetic import (
    Description,
    abstract,
    activation_bytes,
    connections,
    describe,
    macs,
    neuron_weights,
    output_size,
    receptive_field,
    shared_weights,
    unshared_weights,
)
from fieldsight.core.layers import Conv2D, ImageKernel2D, LocallyConnected2D

once = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="counts shapes, which no backend computes: once is enough",
)


def row(model: Any, layer: str) -> Any:
    return next(row for row in describe(model).rows if row.layer == layer)


def test_lenets_first_layer_gives_28() -> None:
    assert output_size(32, 5, stride=1, padding=0) == 28


def test_alexnets_first_layer_is_55_by_55_by_96() -> None:
    assert output_size(227, 11, stride=4, padding=0) == 55
    assert 55 * 55 * 96 == 290_400
    assert shared_weights((11, 11), 3, 96) == 34_848
    assert shared_weights((11, 11), 3, 96, bias=True) == 34_848 + 96
    assert unshared_weights((11, 11), 3, (55, 55, 96)) == 105_415_200
    assert unshared_weights((11, 11), 3, (55, 55, 96), bias=True) == 105_415_200 + 290_400
    assert macs((11, 11), 3, (55, 55, 96)) == 105_415_200
    assert activation_bytes((55, 55, 96)) == 4 * 290_400


def test_one_neurons_weights() -> None:
    assert neuron_weights((5, 5), 3) == 75
    assert neuron_weights((200, 200), 3) == 120_000


def test_max_pooling_8_by_8_gives_4_by_4() -> None:
    assert output_size(8, 2, stride=2) == 4


def test_a_fraction_is_refused_with_the_paddings_that_fit() -> None:
    expected = (
        "(W - F + 2P) / S + 1 must be whole. Received: W=227, F=11, P=1, S=4, which gives 55.5. "
        "P=0 gives 55; P=2 gives 56."
    )
    with pytest.raises(ValueError, match="must be whole") as caught:
        output_size(227, 11, stride=4, padding=1)
    assert str(caught.value).startswith(expected)
    assert output_size(227, 11, stride=4, padding=1, floor=True) == 55


def test_where_no_padding_fits_strides_are_named() -> None:
    # 2P is even, 8 - 3 is odd: with S=2 no P helps.
    with pytest.raises(ValueError, match=r"which gives 3\.5\. S=1 gives 6; S=5 gives 2\."):
        output_size(8, 3, stride=2)


def test_a_kernel_that_does_not_fit_is_refused_with_the_least_padding() -> None:
    with pytest.raises(ValueError, match=r"Received: W=3, F=8, P=1, S=1\. P=3 is the least"):
        output_size(3, 8, padding=1)
    with pytest.raises(ValueError, match=r"at least 1 and P at least 0.*S=0"):
        output_size(3, 2, stride=0)


sizes = st.integers(1, 300)
small = st.integers(1, 12)


@settings(deadline=None)  # Other work on the machine is no mistake of the code.
@given(sizes, small, small, st.integers(0, 9), st.integers(1, 4))
def test_output_size_counts_the_places_of_a_window(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    extent = dilation * (kernel - 1) + 1
    starts = range(0, size + 2 * padding - extent + 1, stride)  # Each place, counted.
    settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    if not starts:
        with pytest.raises(ValueError, match="must fit"):
            output_size(size, kernel, **settings)
        return
    assert output_size(size, kernel, **settings, floor=True) == len(starts)
    covered = starts[-1] + extent == size + 2 * padding
    if covered:
        assert output_size(size, kernel, **settings) == len(starts)
    else:
        with pytest.raises(ValueError, match="must be whole"):
            output_size(size, kernel, **settings)


@settings(deadline=None)
@given(sizes, small, small, st.integers(0, 9))
def test_every_padding_or_stride_that_an_error_names_does_fit(
    size: int, kernel: int, stride: int, padding: int
) -> None:
    try:
        output_size(size, kernel, stride=stride, padding=padding)
    except ValueError as error:
        if "must be whole" not in str(error):
            return
        named = str(error).split(". ")[-2]
        assert named
        for suggestion in named.removesuffix(".").split("; "):
            what, _, gives = suggestion.partition(" gives ")
            changed: dict[str, Any] = {"stride": stride, "padding": padding}
            changed["padding" if what.startswith("P") else "stride"] = int(what[2:])
            assert output_size(size, kernel, **changed) == int(gives)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 3)), max_size=6))
def test_receptive_field_counts_the_inputs_that_reach_a_unit(stages: list[tuple[int, int]]) -> None:
    reached = {0}  # Traced back, unit by unit.
    for kernel, stride in reversed(stages):
        reached = {unit * stride + place for unit in reached for place in range(kernel)}
    # With strides over the kernel some inputs between are skipped: the field spans them.
    assert receptive_field(stages) == max(reached) - min(reached) + 1


def test_lenets_layers_have_the_papers_parameters_and_connections() -> None:
    # Trainable 60,000 and 340,908 connections: section II.B of the paper.
    table = describe(lenet5(variant="original"))
    rows = {row.layer: row for row in table.rows}
    named = ["c1", "s2", "c3", "s4", "c5", "f6"]
    assert [rows[n].trainable for n in named] == [156, 12, 1_516, 32, 48_120, 10_164]
    assert [rows[n].connections for n in named] == [122_304, 5_880, 151_600, 2_000, 48_120, 10_164]
    assert (rows["rbf"].trainable, rows["rbf"].total, rows["rbf"].connections) == (0, 840, 840)
    assert (table.trainable, table.total, table.connections) == (60_000, 60_840, 340_908)
    fields = [rows[n].receptive_field for n in named]
    assert fields == [(5, 5), (6, 6), (14, 14), (16, 16), (32, 32), (32, 32)]
    assert rows["c1"].kernel == (5, 5)
    assert rows["c1"].activation_bytes == 28 * 28 * 6 * 4


@once
def test_lenets_lesson_variant_has_61706_parameters() -> None:
    table = describe(lenet5())
    assert (table.trainable, table.total) == (61_706, 61_706)
    # 28*28*6*25 + 10*10*16*150 + 48,000 + 10,080 + 840.
    assert table.macs == 117_600 + 240_000 + 48_000 + 10_080 + 840
    assert table.receptive_field == (32, 32)


@once
def test_pilotnets_convolutions_and_connections_are_the_papers() -> None:
    # Bojarski et al. 2016, figure 4: "about 27 million connections and 250 thousand parameters".
    x = inputs = keras.Input((66, 200, 3))
    for filters, kernel, stride in [(24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1)]:
        x = layers.Conv2D(filters, kernel, stride)(x)
    x = layers.Flatten()(x)
    for units in (100, 50, 10, 1):
        x = layers.Dense(units)(x)
    table = describe(keras.Model(inputs, x))
    assert (table.trainable, table.connections) == (252_219, 26_983_375)


@once
def test_three_dimensions_and_normalisation() -> None:
    inputs = keras.Input((16, 32, 32, 1))
    x = layers.Conv3D(8, 3, padding="same", name="a")(inputs)
    x = layers.BatchNormalization(name="b")(x)
    x = layers.MaxPooling3D((1, 2, 2), name="c")(x)
    x = layers.Conv3D(4, 3, dilation_rate=2, name="d")(x)
    x = layers.GlobalAveragePooling3D(name="e")(x)
    table = describe(keras.Model(inputs, x))
    rows = {row.layer: row for row in table.rows}
    assert (rows["a"].total, rows["a"].macs) == (8 * 27 + 8, 16 * 32 * 32 * 8 * 27)
    assert (rows["b"].trainable, rows["b"].total, rows["b"].macs) == (16, 32, 0)
    assert rows["d"].kernel == (5, 5, 5)
    # 3, then 4 across, then 4 steps of 1 along the planes and of 2 across.
    assert [rows[n].receptive_field for n in "acd"] == [(3, 3, 3), (3, 4, 4), (7, 12, 12)]
    assert rows["e"].receptive_field == (16, 32, 32)


@once
def test_depthwise_separable_grouped_and_transposed() -> None:
    inputs = keras.Input((8, 8, 4))
    x = layers.DepthwiseConv2D(3, padding="same", name="deep")(inputs)
    x = layers.SeparableConv2D(6, 3, padding="same", name="separable")(x)
    x = layers.Conv2D(8, 3, groups=2, padding="same", name="grouped")(x)
    x = layers.Conv2D(8, 2, strides=2, name="down")(x)
    x = layers.Conv2DTranspose(3, 2, strides=2, name="up")(x)
    model = keras.Model(inputs, x)
    table = describe(model)
    rows = {row.layer: row for row in table.rows}
    assert rows["deep"].macs == 64 * 4 * 9
    assert rows["separable"].macs == 64 * (4 * 9 + 4 * 6)
    assert rows["grouped"].macs == 64 * 8 * 3 * 9
    assert rows["up"].macs == 64 * 3 * 8  # Each output pixel has one of the 2 x 2 places.
    assert rows["up"].connections == 64 * 3 * 8 + 64 * 3
    assert [rows[n].receptive_field[0] for n in ("deep", "grouped", "down", "up")] == [3, 7, 8, 8]
    assert table.total == model.count_params()


@once
def test_branches_take_the_larger_field_and_shared_layers_are_counted_once() -> None:
    inputs = keras.Input((16, 16, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    long = shared(shared(inputs))
    short = layers.Conv2D(3, 3, padding="same", name="short")(inputs)
    x = layers.Add(name="sum")([short, long])
    model = keras.Model(inputs, layers.Conv2D(1, 3, padding="same", name="last")(x + 1.0))
    table = describe(model)
    assert row(model, "sum").receptive_field == (5, 5)
    assert row(model, "last").receptive_field == (7, 7)
    assert [r.total for r in table.rows if r.layer == "shared"] == [84, 0]
    assert table.total == model.count_params()


@once
def test_inner_and_sequential_models_are_followed() -> None:
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3, name="conv")], name="in")
    inputs = keras.Input((10, 10, 1))
    x = layers.Conv2D(1, 3, name="first")(inputs)
    outer = keras.Model(inputs, layers.Conv2D(1, 3, name="last")(inner(x)))
    names = [row.layer for row in describe(outer).rows]
    assert names == ["first", "in/conv", "last"]
    assert describe(outer).receptive_field == (7, 7)
    assert describe(outer).total == outer.count_params()
    assert describe(inner).total == 20


@once
def test_our_layers_count_themselves() -> None:
    inputs = keras.Input((12, 12, 1))
    x = ImageKernel2D("edge", name="edge")(inputs)
    x = LocallyConnected2D(2, 3, strides=3, name="local")(x)
    model = keras.Model(inputs, Conv2D(1, 3, padding=1, name="conv")(x))
    rows = {row.layer: row for row in describe(model).rows}
    assert (rows["edge"].trainable, rows["edge"].total, rows["edge"].macs) == (0, 9, 144 * 9)
    assert (rows["local"].total, rows["local"].connections) == (16 * 2 * 10, 16 * 2 * 10)
    assert rows["local"].macs == 16 * 2 * 9
    assert [rows[n].receptive_field for n in rows] == [(3, 3), (5, 5), (11, 11)]


@once
def test_what_is_unknown_is_none_not_zero() -> None:
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="free")(inputs)
    table = describe(keras.Model(inputs, x))
    assert (table.macs, table.connections, table.activation_bytes) == (None, None, None)
    assert (table.total, table.receptive_field) == (112, (3, 3))
    sequence = keras.Input((5, 4))
    unknown = describe(keras.Model(sequence, layers.LSTM(3)(sequence)))
    assert (unknown.macs, unknown.total) == (None, 96)
    assert "?" in str(unknown)


def test_a_model_without_a_graph_is_refused() -> None:
    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match=r"functional or a built sequential model\. Received: Own"):
        describe(Own())


@settings(deadline=None)
@given(st.tuples(small, small), st.integers(1, 8), st.tuples(small, small, st.integers(1, 8)))
def test_sharing_never_changes_connections(
    kernel: tuple[int, int], channels: int, output: tuple[int, int, int]
) -> None:
    per_filter = connections(kernel, channels, (1, 1, output[2]))
    assert connections(kernel, channels, output) == per_filter * output[0] * output[1]


# Published networks


def described(build: Any, *args: Any, **options: Any) -> Description:
    return describe(abstract(lambda: build(*args, **options)))


# Multiply-accumulates as torchvision's documentation gives them ("GFLOPS" of its weights),
# Inception's as the issue and fvcore count it, ResNet-50 v1 as keras.applications has it.
@once
@pytest.mark.parametrize(
    ("name", "options", "billions"),
    [
        ("alexnet", {"variant": "2014"}, 0.714),
        ("vgg11", {}, 7.609),
        ("vgg13", {}, 11.308),
        ("vgg16", {}, 15.47),
        ("vgg19", {}, 19.632),
        ("resnet18", {}, 1.814),
        ("resnet34", {}, 3.664),
        ("resnet50", {}, 4.089),
        ("resnet152", {}, 11.514),
        ("resnet50", {"variant": "keras"}, 3.858),
        ("inception_v3", {}, 5.713),
    ],
)
def test_multiply_accumulates_are_the_published_ones(
    name: str, options: dict[str, Any], billions: float
) -> None:
    count = described(getattr(architectures, name), **options).macs
    assert count is not None
    assert round(count / 1e9, 3) == billions


# Araujo, Norris and Sim, Computing receptive fields of convolutional neural networks, Distill
# 2019, table of models; those ResNets have each stride before the 3x3 of a stage's first unit, as
# Keras's have. With the stride on that 3x3 itself, its window adds 2 x 4, 2 x 8 and 2 x 16 less:
# 427, as is known of torchvision's ResNet-50.
@once
@pytest.mark.parametrize(
    ("name", "options", "field", "stride"),
    [
        ("alexnet", {}, 195, 32),
        ("alexnet", {"variant": "2014"}, 195, 32),
        ("vgg16", {}, 212, 32),
        ("resnet50", {"variant": "keras"}, 483, 32),
        ("resnet101", {"variant": "keras"}, 1027, 32),
        ("resnet50", {}, 427, 32),
        ("inception_v3", {}, 1311, 32),
    ],
)
def test_receptive_fields_are_the_published_ones(
    name: str, options: dict[str, Any], field: int, stride: int
) -> None:
    table = described(getattr(architectures, name), **options)
    assert table.map_field == (field, field)
    assert [row.stride for row in table.rows if row.stride][-1] == (stride, stride)


@once
def test_what_sharing_saves_in_alexnets_first_layer() -> None:
    first = next(row for row in described(architectures.alexnet).rows if row.layer == "conv1")
    assert first.output_shape == (55, 55, 96)
    assert first.trainable == 34_848 + 96
    assert first.connections == 105_415_200 + 290_400  # As many weights, were none shared.
    assert first.macs == 105_415_200
    assert (first.kernel, first.receptive_field, first.stride) == ((11, 11), (11, 11), (4, 4))


@once
def test_alexnets_groups_halve_what_a_filter_sees() -> None:
    # conv2: 27 x 27 x 256 filters of 5 x 5 on 48 of 96 maps.
    for variant, maps in (("2012", 48), ("2012-ungrouped", 96)):
        table = described(architectures.alexnet, variant=variant)
        second = next(row for row in table.rows if row.layer == "conv2")
        assert second.macs == 27 * 27 * 256 * 25 * maps
        assert second.trainable == 256 * (25 * maps + 1)
        normalised = next(row for row in table.rows if row.layer == "norm1")
        assert (normalised.macs, normalised.total, normalised.kernel) == (0, 0, (1, 1))


@once
def test_residual_networks_own_layers_are_followed() -> None:
    table = described(architectures.resnet18, (64, 64, 3), antialiased=True, stochastic_depth=0.5)
    rows = {row.layer: row for row in table.rows}
    assert (rows["conv1_conv"].stride, rows["pool1_pool"].stride) == ((2, 2), (2, 2))
    # Maximum pooling adds 2 x 2 to the 7, the blur 2 x 2 more, and halves.
    blur = rows["pool1_blur"]
    assert (blur.kernel, blur.receptive_field, blur.stride) == ((3, 3), (15, 15), (4, 4))
    drop = next(row for row in table.rows if row.kind == "StochasticDepth")
    assert (drop.macs, drop.total) == (0, 0)
    shortcut = next(
        row for row in described(architectures.resnet20).rows if row.kind == "PaddedShortcut"
    )
    assert (shortcut.kernel, shortcut.stride, shortcut.output_shape) == (
        (1, 1),
        (2, 2),
        (16, 16, 32),
    )
    assert (shortcut.macs, shortcut.total) == (0, 0)


@once
def test_squeeze_and_excitation_sees_the_whole_image() -> None:
    table = described(architectures.resnet18, (64, 64, 3), squeeze_excitation=True)
    rows = {row.layer: row for row in table.rows}
    reduce, gated = rows["conv2_block1_se_reduce"], rows["conv2_block1_se_excite"]
    # A dense layer on a map of one place sees that place; through it, the mean of all.
    assert (reduce.kernel, reduce.stride, reduce.receptive_field) == ((1, 1), (), (64, 64))
    assert reduce.macs == 64 * 4
    assert (gated.stride, gated.receptive_field) == ((4, 4), (64, 64))


@once
def test_three_dimensions_by_hand_for_one_block() -> None:
    table = described(architectures.resnet18, (64, 64, 64, 1))
    rows = {row.layer: row for row in table.rows}
    assert rows["conv1_conv"].macs == 32**3 * 64 * 7**3
    assert rows["conv2_block1_1_conv"].macs == 16**3 * 64 * 27 * 64
    assert rows["conv2_block1_1_conv"].total == 27 * 64 * 64
    assert table.map_field == (435,) * 3  # As in two dimensions.


@once
def test_a_size_that_changes_unexplained_leaves_the_field_unknown() -> None:
    inputs = keras.Input((16, 16, 1))
    resized = layers.Conv2D(1, 3)(layers.Resizing(9, 9)(inputs))
    found = describe(keras.Model(inputs, resized)).rows[-1]
    assert (found.receptive_field, found.stride) == ((None, None), (None, None))
    up = layers.Conv2D(1, 3, padding="same", name="up")(layers.UpSampling2D(2)(inputs))
    found = describe(keras.Model(inputs, up)).rows[-1]
    assert (found.receptive_field, found.stride) == ((2, 2), (Fraction(1, 2),) * 2)


@once
def test_abstract_draws_no_weights_now_or_later() -> None:
    # 4 TB of them: drawn, the process would end.
    model = abstract(lambda: keras.Sequential([keras.Input((10**6,)), layers.Dense(10**6)]))
    assert model.count_params() == 10**12 + 10**6
    with keras.StatelessScope():  # At whose end Keras draws all weights that it owes.
        pass
    with pytest.raises(ValueError, match="needs sides of at least 32"):
        abstract(lambda: architectures.vgg11((8, 8, 3)))


# Keras's own shapes, over random settings


@st.composite
def windows(draw: Any) -> dict[str, Any]:
    rank = draw(st.sampled_from([2, 3]))
    strided = draw(st.booleans())  # Keras refuses a stride together with a dilation.
    groups = draw(st.integers(1, 3))
    return {
        "rank": rank,
        "sides": [draw(st.integers(9, 24)) for _ in range(rank)],
        "kernel": [draw(st.integers(1, 4)) for _ in range(rank)],
        "strides": [draw(st.integers(1, 3)) if strided else 1 for _ in range(rank)],
        "dilation": [1 if strided else draw(st.integers(1, 2)) for _ in range(rank)],
        "zeros": draw(st.integers(0, 2)),
        "groups": groups,
        "channels": groups * draw(st.integers(1, 2)),
        "filters": groups * draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
    }


def expected_sides(drawn: dict[str, Any], *, dilated: bool) -> list[int]:
    dilation = drawn["dilation"] if dilated else [1] * drawn["rank"]
    each = zip(drawn["sides"], drawn["kernel"], drawn["strides"], dilation, strict=True)
    return [
        output_size(w, k, stride=s, padding=drawn["zeros"], dilation=d, floor=True)
        for w, k, s, d in each
    ]


@once
@settings(deadline=None, max_examples=40)
@given(windows())
def test_convolutions_have_kerass_sizes_and_counts(drawn: dict[str, Any]) -> None:
    rank, kernel = drawn["rank"], tuple(drawn["kernel"])
    convolution = {2: layers.Conv2D, 3: layers.Conv3D}[rank](
        drawn["filters"], kernel, tuple(drawn["strides"]), dilation_rate=tuple(drawn["dilation"]),
        groups=drawn["groups"], use_bias=drawn["bias"],
    )  # fmt: skip
    padding = {2: layers.ZeroPadding2D, 3: layers.ZeroPadding3D}[rank](drawn["zeros"])
    inputs = keras.Input((*drawn["sides"], drawn["channels"]))
    model = keras.Model(inputs, convolution(padding(inputs)))
    found = describe(model).rows[-1]
    assert list(model.output.shape[1:-1]) == expected_sides(drawn, dilated=True)
    assert found.output_shape == model.output.shape[1:]
    seen = drawn["channels"] // drawn["groups"]
    assert model.count_params() == shared_weights(
        kernel, seen, drawn["filters"], bias=drawn["bias"]
    )
    assert found.total == model.count_params()
    places = math.prod(found.output_shape[:-1])  # type: ignore[arg-type]
    weights = convolution.kernel.shape
    assert found.macs == math.prod(weights) * places  # Each weight is used once a place.
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, drawn["dilation"], strict=True)]
    assert list(found.kernel) == list(found.receptive_field) == extent


@once
@settings(deadline=None, max_examples=40)
@given(windows(), st.booleans())
def test_poolings_have_kerass_sizes(drawn: dict[str, Any], same: bool) -> None:
    rank = drawn["rank"]
    pooling = {2: layers.MaxPooling2D, 3: layers.AveragePooling3D}[rank](
        tuple(drawn["kernel"]), tuple(drawn["strides"]), padding="same" if same else "valid"
    )
    shape = pooling.compute_output_shape((None, *drawn["sides"], 2))
    if same:
        each = zip(drawn["sides"], drawn["strides"], strict=True)
        assert list(shape[1:-1]) == [output_size(w, 1, stride=s, floor=True) for w, s in each]
    else:
        assert list(shape[1:-1]) == expected_sides({**drawn, "zeros": 0}, dilated=False)


# What a unit sees, by trying each input


@st.composite
def stacks(draw: Any) -> list[Any]:
    """Layers along one axis whose weights are all positive: what a unit sees moves it."""
    stack: list[Any] = [layers.Conv1D(1, 1, kernel_initializer="ones")]
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "dilated", "pool", "up", "transposed"]))
        size, strides = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        ones = {"kernel_initializer": "ones", "padding": "same"}
        if kind == "conv":
            stack.append(layers.Conv1D(1, max(size, strides), strides, **ones))
        elif kind == "dilated":
            stack.append(layers.Conv1D(1, size, dilation_rate=strides, **ones))
        elif kind == "pool":
            stack.append(layers.AveragePooling1D(max(size, strides), strides, padding="same"))
        elif kind == "up":
            stack.append(layers.UpSampling1D(strides))
        else:
            stack.append(layers.Conv1DTranspose(1, max(size, strides), strides, **ones))
    return stack


def test_a_map_enlarged_on_the_grid_of_an_earlier_one_is_rounded_by_itself() -> None:
    # By hand: each unit of the first convolution sees 3 inputs, neighbours one further on; two
    # neighbours of the enlarged map may be copies of two of them: 4.
    model = keras.Sequential([
        keras.Input((12, 1)), layers.Conv1DTranspose(1, 3, 2, padding="same"),
        layers.Conv1D(1, 3, 2, padding="same"), layers.UpSampling1D(3), layers.Conv1D(1, 2, 2),
    ])  # fmt: skip
    assert describe(model).rows[-1].receptive_field == (4,)


@settings(deadline=None, max_examples=15)
@given(stacks())
def test_no_unit_sees_more_than_the_field_and_one_sees_all_of_it(stack: list[Any]) -> None:
    length = 162
    enlarging = (layers.UpSampling1D, layers.Conv1DTranspose)
    model = keras.Sequential([keras.Input((length, 1)), *stack])
    last = describe(model).rows[-1]
    each = model(np.eye(length, dtype="float32")[..., None])  # One input at a time.
    moved = keras.ops.convert_to_numpy(each)[..., 0].T > 0  # unit, input
    first = moved.argmax(axis=1)
    ends = length - moved[:, ::-1].argmax(axis=1)
    (field,), (stride,) = last.receptive_field, last.stride
    assert field is not None
    assert stride is not None
    inner = (first > 0) & (ends < length)  # The border cuts the others' field.
    spans = (ends - first)[inner]
    if field <= length // 3:
        # Units of an enlarged map take turns. A stride may skip those that see most, and the
        # places of a kernel that a transposed unit meets may leave them out: then it is a bound.
        enlarges = any(isinstance(layer, enlarging) for layer in stack)
        strided = any(getattr(layer, "strides", (1,)) != (1,) for layer in stack)
        exact = not (enlarges and strided)
        assert spans.max() == field if exact else spans.max() <= field
    # Nearer to it, a map's own end may cut taps of dilated kernels out of the field's midst.
    middle = first[(first >= field) & (ends <= length - field)]
    if len(middle) > 20:
        step = (middle[-1] - middle[0]) / (len(middle) - 1)
        assert abs(step - float(stride)) <= float(stride) * 3 / len(middle) + 3 / len(middle)
