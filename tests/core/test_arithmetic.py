"""The golden cases of the lesson and of the papers, and describe on every kind of graph."""

from typing import Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from fieldsight.core.architectures import lenet5
from fieldsight.core.arithmetic import (
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


@given(st.tuples(small, small), st.integers(1, 8), st.tuples(small, small, st.integers(1, 8)))
def test_sharing_never_changes_connections(
    kernel: tuple[int, int], channels: int, output: tuple[int, int, int]
) -> None:
    per_filter = connections(kernel, channels, (1, 1, output[2]))
    assert connections(kernel, channels, output) == per_filter * output[0] * output[1]
