import itertools
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldsight.core import inspection
from fieldsight.core.architectures import alexnet, inception_v3, lenet5, resnet18
from fieldsight.core.arithmetic import abstract
from fieldsight.core.layers.blur_pooling import BlurPooling2D
from fieldsight.core.layers.convolution import Conv2D

layers = keras.layers


def constant(values: Any) -> Any:
    return keras.initializers.Constant(np.asarray(values, "float32"))


def two_maps(*tail: Any) -> keras.Model:
    """Maps A0 = x and A1 = -x, averaged, then logits (2 a0 + 1 a1, -1 a0 + 3 a1)."""
    inputs = keras.Input((2, 3, 1))
    maps = layers.Conv2D(2, 1, kernel_initializer=constant([[[[1, -1]]]]), name="maps")(inputs)
    outputs = layers.GlobalAveragePooling2D()(maps)
    outputs = layers.Dense(2, kernel_initializer=constant([[2, -1], [1, 3]]), name="d")(outputs)
    for layer in tail:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


X = np.array([[1, -2, 3], [0, 4, -6]], "float32")[None, :, :, None]


# The score of class c is sum_k w[k, c] mean(A_k), so alpha_k = w[k, c] / 6 and the map is
# relu(w[0, c] x - w[1, c] x) / 6: class 0 gives relu(x) / 6, class 1 relu(-4 x) / 6.
@pytest.mark.parametrize(
    ("class_index", "expected"),
    [(0, [[1, 0, 3], [0, 4, 0]]), (1, [[0, 8, 0], [0, 0, 24]]), (None, [[1, 0, 3], [0, 4, 0]])],
)
@pytest.mark.parametrize(
    "tail",
    [
        list,
        lambda: [layers.Softmax()],
        lambda: [layers.Activation("softmax", dtype="float32")],
        lambda: [layers.Activation("sigmoid"), layers.Dropout(0.5)],
    ],
)
def test_grad_cam_is_the_map_computed_by_hand(class_index: Any, expected: Any, tail: Any) -> None:
    # x sums to 0: the logits are equal, and the first is taken when no class is asked for.
    maps = inspection.grad_cam(two_maps(*tail()), X, class_index=class_index)
    np.testing.assert_allclose(maps[0], np.array(expected) / 6, rtol=1e-5)


def test_softmax_inside_the_last_dense_layer_does_not_change_the_map() -> None:
    bare = two_maps()
    squashed = two_maps()
    squashed.get_layer("d").activation = keras.activations.softmax
    np.testing.assert_allclose(
        inspection.grad_cam(squashed, 3 * X, class_index=1),
        inspection.grad_cam(bare, 3 * X, class_index=1),
        rtol=1e-5,
    )
    assert squashed.get_layer("d").activation is keras.activations.softmax


def test_each_picture_has_its_own_class() -> None:
    pictures = np.concatenate([X, X, X])
    maps = inspection.grad_cam(two_maps(), pictures, class_index=[1, 0, 1], batch_size=2)
    np.testing.assert_allclose(maps[0], maps[2])
    np.testing.assert_allclose(maps[1, 1], [0, 4 / 6, 0], rtol=1e-5)


def test_grad_cam_lies_where_an_unpadded_convolution_looked() -> None:
    # A 3x3 kernel that copies its centre turns 9x9 into 7x7, whose cell (0, 0) is pixel (1, 1).
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 1
    model = keras.Sequential(
        [
            keras.Input((9, 9, 1), dtype="uint8"),
            layers.Rescaling(1.0),
            layers.Conv2D(1, 3, kernel_initializer=constant(kernel)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, kernel_initializer="ones"),
        ]
    )
    picture = np.zeros((1, 9, 9, 1), "uint8")
    picture[0, 1, 6] = 49
    expected = np.zeros((9, 9))
    expected[1, 6] = 1
    expected[0, 6] = 0.5  # outside the cells' centres: full for half a cell, then fading over one
    np.testing.assert_allclose(inspection.grad_cam(model, picture)[0], expected, atol=1e-6)


def test_gradient_goes_through_the_branch_after_the_layer_alone() -> None:
    # score = mean(A + x) with A = 2 x: the skip past the layer is no part of dscore/dA = 1/6.
    inputs = keras.Input((2, 3, 1))
    double = layers.Conv2D(1, 1, kernel_initializer=constant([[[[2]]]]), name="double")(inputs)
    total = layers.Add()([double, inputs])
    outputs = layers.GlobalAveragePooling2D()(total)
    model = keras.Model(inputs, outputs)
    maps = inspection.grad_cam(model, X, class_index=0, layer="double")
    np.testing.assert_allclose(maps[0], np.maximum(2 * X[0, :, :, 0], 0) / 6, rtol=1e-5)


def small(inner: bool, sequential: bool = False) -> keras.Model:
    keras.utils.set_random_seed(7)
    body = [
        layers.Conv2D(3, 3, activation="relu", name="c1"),
        layers.BatchNormalization(name="bn"),
        layers.MaxPooling2D(2, name="s2"),
        layers.Conv2D(4, 3, padding="same", activation="tanh", name="c3"),
    ]
    head = [layers.Flatten(), layers.Dropout(0.9), layers.Dense(5), layers.Softmax()]
    if sequential:
        return keras.Sequential([keras.Input((12, 12, 1)), *body, *head])
    inputs = tensor = keras.Input((12, 12, 1))
    if inner:
        inner_inputs = inner_tensor = keras.Input((12, 12, 1))
        for layer in body:
            inner_tensor = layer(inner_tensor)
        tensor = keras.Model(inner_inputs, inner_tensor, name="backbone")(tensor)
    for layer in head if inner else body + head:
        tensor = layer(tensor)
    return keras.Model(inputs, tensor)


def pictures(n: int = 6) -> Any:
    return np.random.default_rng(3).random((n, 12, 12, 1), "float32")


def test_flat_nested_and_sequential_models_are_seen_alike() -> None:
    flat, nested, sequential = small(False), small(True), small(False, sequential=True)
    for model in (nested, sequential):
        model.set_weights(flat.get_weights())
    for model, prefix in ((nested, "backbone/"), (sequential, "")):
        seen, expected = inspection.feature_maps(model, pictures()), None
        expected = inspection.feature_maps(flat, pictures())
        for name in ("c1", "bn", "s2", "c3"):
            np.testing.assert_allclose(seen[prefix + name], expected[name], atol=1e-6)
        np.testing.assert_allclose(
            inspection.grad_cam(model, pictures()), inspection.grad_cam(flat, pictures()), atol=1e-6
        )
        np.testing.assert_array_equal(inspection.filters(model), inspection.filters(flat))


@pytest.mark.parametrize("sequential", [False, True])
def test_the_last_feature_map_is_the_models_answer(sequential: bool) -> None:
    model = small(False, sequential)
    maps = inspection.feature_maps(model, pictures(5), batch_size=2)
    answer = keras.ops.convert_to_numpy(model(pictures(5)))
    np.testing.assert_allclose(list(maps.values())[-1], answer, atol=1e-6)
    assert maps["c1"].shape == (5, 10, 10, 3)


def test_looking_leaves_the_model_as_it_was() -> None:
    model = small(False)
    layer = model.get_layer("c1")
    before = [np.array(weight) for weight in model.get_weights()]
    nodes = len(layer._inbound_nodes)
    inspection.feature_maps(model, pictures())
    inspection.grad_cam(model, pictures())
    assert len(layer._inbound_nodes) == nodes
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_filters_are_one_kernel_a_row() -> None:
    kernel = np.arange(3 * 3 * 2 * 4).reshape(3, 3, 2, 4)
    model = keras.Sequential(
        [keras.Input((5, 5, 2)), layers.Conv2D(4, 3, kernel_initializer=constant(kernel))]
    )
    np.testing.assert_array_equal(inspection.filters(model)[2], kernel[..., 2])


@pytest.mark.parametrize("batch_size", [3, 100])
def test_the_planted_maximum_is_found(batch_size: int) -> None:
    model = two_sided((8, 6, 1))
    images = np.random.default_rng(0).random((10, 8, 6, 1), "float32")
    images[6, 5, 2] = 9
    images[1, 0, 0] = 8
    images[4, 7, 5] = -7
    top = inspection.top_images(model, images, "sides", 2, batch_size=batch_size)
    assert top.cells is not None
    assert top.boxes is not None
    assert top.indices[0].tolist() == [6, 1]
    assert top.values[0].tolist() == [9, 8]
    assert top.cells[0].tolist() == [[5, 2], [0, 0]]
    assert top.boxes[0].tolist() == [[[5, 2], [6, 3]], [[0, 0], [1, 1]]]
    assert top.indices[1, 0] == 4
    assert top.values[1, 0] == 7


def two_sided(shape: tuple[int, int, int]) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(2, 1, kernel_initializer=constant([[[[1, -1]]]]), name="sides"),
            layers.Flatten(),
            layers.Dense(3, kernel_initializer="ones", name="vector"),
        ]
    )


def test_units_of_a_vector_have_no_place_in_the_picture() -> None:
    top = inspection.top_images(two_sided((4, 4, 1)), np.ones((2, 4, 4, 1)), "vector", 5)
    assert top.indices.tolist() == [[0, 1]] * 3  # equal values keep the pictures' order
    assert top.cells is None
    assert top.boxes is None


def vgg16() -> keras.Model:
    blocks: list[Any] = [keras.Input((512, 512, 1))]
    for convolutions in (2, 2, 3, 3, 3):
        blocks += [
            layers.Conv2D(1, 3, padding="same", kernel_initializer="zeros")
            for _ in range(convolutions)
        ]
        blocks += [layers.MaxPooling2D(2)]
    return keras.Sequential([*blocks, layers.ReLU(name="last")])


def alexnet_v2() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((224, 224, 1)),
            layers.Conv2D(1, 11, 4, kernel_initializer="zeros"),
            layers.MaxPooling2D(3, 2),
            layers.Conv2D(1, 5, padding="same", kernel_initializer="zeros"),
            layers.MaxPooling2D(3, 2),
            *[layers.Conv2D(1, 3, padding="same", kernel_initializer="zeros") for _ in range(3)],
            layers.MaxPooling2D(3, 2, name="last"),
        ]
    )


# Araujo, Norris and Sim, Computing receptive fields of convolutional neural networks, Distill
# 2019, table of models: receptive field, effective stride, effective padding.
@pytest.mark.parametrize(
    ("build", "field", "stride", "padding"), [(vgg16, 212, 32, 90), (alexnet_v2, 195, 32, 64)]
)
def test_receptive_fields_are_the_published_ones(
    build: Any, field: int, stride: int, padding: int
) -> None:
    model = build()
    found = inspection.receptive_field(model, "last", model.input_shape[1:])
    assert found == ((field,) * 2, (stride,) * 2, (-padding,) * 2)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["conv", "pool", "zeros", "crop"]),
            st.integers(1, 3),
            st.integers(1, 2),
            st.sampled_from(["valid", "same"]),
        ),
        min_size=1,
        max_size=3,
    ),
    st.data(),
)
def test_a_cell_changes_with_the_pixels_of_its_field_and_no_others(
    steps: list[tuple[str, int, int, str]], data: st.DataObject
) -> None:
    stack: list[Any] = [keras.Input((19, 1)), layers.Conv1D(1, 1, kernel_initializer="ones")]
    for kind, size, strides, padding in steps:
        if kind == "conv":
            ones = {"kernel_initializer": "ones", "padding": padding}
            stack.append(layers.Conv1D(1, size, strides, **ones))
        elif kind == "pool":
            stack.append(layers.AveragePooling1D(size, strides, padding=padding))
        elif kind == "zeros":
            stack.append(layers.ZeroPadding1D((size, strides)))
        else:
            stack.append(layers.Cropping1D((size - 1, strides - 1)))
    stack.append(layers.Identity(name="end"))
    model = keras.Sequential(stack)
    field = inspection.receptive_field(model, "end", (19, 1))
    assert field is not None
    pixel = data.draw(st.integers(0, 18))
    picture = np.zeros((1, 19, 1), "float32")
    picture[0, pixel] = 1
    answers = inspection.feature_maps(model, picture, layers=["end"])["end"][0, :, 0]
    starts = field.start[0] + field.stride[0] * np.arange(len(answers))
    seen = (starts <= pixel) & (pixel < starts + field.size[0])
    # A stride larger than the window leaves holes in the field: then it is an upper bound.
    holes = any(kind in {"conv", "pool"} and strides > size for kind, size, strides, _ in steps)
    # So it is where zeros are put around a map: a cell of them sees nothing, and its field, which
    # goes on beyond the map's edge, may still reach the outermost pixels.
    holes = holes or any(kind == "zeros" for kind, *_ in steps)
    assert np.all(seen[answers != 0]) if holes else (seen == (answers != 0)).all()


def test_lenets_own_layers_are_followed() -> None:
    # By hand, as in the paper's figure 2: C1 sees 5, S2 6, C3 6 + 4 x 2 = 14, S4 14 + 2 = 16, and
    # C5 16 + 4 x 4 = 32 pixels, the whole picture.
    model = lenet5(variant="original")
    fields = [
        inspection.receptive_field(model, n, (32, 32, 1)) for n in ("c1", "s2", "c3", "s4", "c5")
    ]
    assert [field and field.size[0] for field in fields] == [5, 6, 14, 16, 32]
    assert [field and field.stride[0] for field in fields] == [1, 2, 2, 4, 4]


def test_a_convolution_of_one_cell_says_nothing_of_where() -> None:
    # As LeNet-5's C5: the map is the one of the convolution before it.
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(1, 1, kernel_initializer="ones", name="c3"),
            layers.Conv2D(2, 4, kernel_initializer="ones", name="c5"),
            layers.Flatten(),
        ]
    )
    picture = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    maps = inspection.grad_cam(model, picture)  # dscore/dA is 1 everywhere
    np.testing.assert_allclose(maps, picture[..., 0], rtol=1e-6)


def test_volumes_work_as_pictures_do() -> None:
    model = keras.Sequential(
        [
            keras.Input((5, 6, 7, 1)),
            layers.Conv3D(2, 3, name="c"),
            layers.GlobalMaxPooling3D(),
            layers.Dense(3),
        ]
    )
    volumes = np.random.default_rng(0).random((2, 5, 6, 7, 1), "float32")
    assert inspection.grad_cam(model, volumes).shape == (2, 5, 6, 7)
    top = inspection.top_images(model, volumes, "c", 1)
    assert top.boxes is not None
    size = top.boxes[..., 1, :] - top.boxes[..., 0, :]
    assert (size == 3).all()


def test_occlusion_of_a_linear_model_is_what_was_covered() -> None:
    model = keras.Sequential(
        [
            keras.Input((4, 5, 1)),
            layers.Conv2D(1, 1, kernel_initializer="ones"),
            layers.Flatten(),
            layers.Dense(1, kernel_initializer="ones"),
        ]
    )
    picture = np.zeros((1, 4, 5, 1), "float32")
    picture[0, 2, 3] = 6
    expected = np.zeros((4, 5))
    expected[2, 3] = 6
    np.testing.assert_allclose(inspection.occlusion(model, picture, window=1)[0], expected)
    # With windows of 2, each pixel lies in 4 of them: of (2, 2)'s, those that start at (1, 2)
    # and (2, 2) cover the bright one too, of (1, 2)'s one, of (2, 3)'s all.
    maps = inspection.occlusion(model, picture, window=2, batch_size=3)[0]
    assert maps[2, 3] == 6
    assert maps[2, 2] == 3
    assert maps[1, 2] == 1.5
    assert maps[0, 0] == 0


# Volumes


def two_volumes() -> keras.Model:
    """As `two_maps`, on volumes of 2 x 2 x 3 places."""
    inputs = keras.Input((2, 2, 3, 1))
    kernel = constant([[[[[1, -1]]]]])
    maps = layers.Conv3D(2, 1, kernel_initializer=kernel, name="maps")(inputs)
    outputs = layers.GlobalAveragePooling3D()(maps)
    outputs = layers.Dense(2, kernel_initializer=constant([[2, -1], [1, 3]]))(outputs)
    return keras.Model(inputs, outputs)


def test_grad_cam_of_a_volume_is_the_map_computed_by_hand() -> None:
    # alpha_k = w[k, c] / 12: class 0 gives relu(2 x - x) / 12, class 1 relu(-x - 3 x) / 12.
    volume = np.array([[[1, -2, 3], [0, 4, -6]], [[-1, 0, 2], [5, -3, 0]]], "float32")
    for class_index, factor in ((0, 1), (1, -4)):
        maps = inspection.grad_cam(two_volumes(), volume[None, ..., None], class_index=class_index)
        np.testing.assert_allclose(maps[0], np.maximum(factor * volume, 0) / 12, rtol=1e-5)


def test_by_cell_no_evidence_lies_where_the_answer_does_not_look() -> None:
    # Only the middle of three cells is averaged: score = 2 x[1], so that dscore/dA = (0, 2, 0) and
    # each cell by its own is (0, 2 x[1], 0). The mean, 2 / 3, marks the others as well.
    inputs = keras.Input((3, 1))
    maps = layers.Conv1D(1, 1, kernel_initializer="ones", name="maps")(inputs)
    middle = layers.GlobalAveragePooling1D()(layers.Cropping1D(1)(maps))
    model = keras.Model(inputs, layers.Dense(1, kernel_initializer=constant([[2]]))(middle))
    picture = np.array([[[5], [1], [3]]], "float32")
    for by_cell, expected in ((True, [0, 2, 0]), (False, [10 / 3, 2 / 3, 2])):
        maps = inspection.grad_cam(model, picture, layer="maps", by_cell=by_cell)
        np.testing.assert_allclose(maps[0], expected, rtol=1e-5)


def test_grad_cam_of_a_volume_lies_where_it_was_looked() -> None:
    # A copy of the centre of 3 x 3 x 3: cell (0, 0, 0) of the map is place (1, 1, 1). Then every
    # second place is left out along the last axis alone.
    kernel = np.zeros((3, 3, 3, 1, 1))
    kernel[1, 1, 1] = 1
    model = keras.Sequential(
        [
            keras.Input((6, 7, 9, 1)),
            layers.Conv3D(1, 3, strides=(1, 1, 2), kernel_initializer=constant(kernel)),
            layers.GlobalAveragePooling3D(),
            layers.Dense(1, kernel_initializer="ones"),
        ]
    )
    volume = np.zeros((1, 6, 7, 9, 1), "float32")
    volume[0, 2, 3, 5] = 4 * 5 * 4
    expected = np.zeros((6, 7, 9))
    expected[2, 3, 5] = 1
    expected[2, 3, [4, 6]] = 0.5  # Half way to the next cell, two places on.
    np.testing.assert_allclose(inspection.grad_cam(model, volume)[0], expected, atol=1e-6)


def linear(shape: tuple[int, ...]) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Flatten(),
            layers.Dense(1, kernel_initializer="ones"),
        ]
    )


def test_occlusion_of_a_volume_is_what_was_covered() -> None:
    volume = np.zeros((1, 3, 4, 5, 1), "float32")
    volume[0, 1, 2, 3] = 6
    expected = np.zeros((3, 4, 5))
    expected[1, 2, 3] = 6
    model = linear((3, 4, 5, 1))
    np.testing.assert_allclose(inspection.occlusion(model, volume, window=1)[0], expected)
    # With blocks of 1 x 2 x 2, each place lies in 4 of one plane: (1, 2, 2) shares 2 of them with
    # the bright one, (1, 1, 2) one, and (0, 2, 3), of another plane, none.
    maps = inspection.occlusion(model, volume, window=(1, 2, 2))[0]
    assert (maps[1, 2, 3], maps[1, 2, 2], maps[1, 1, 2], maps[0, 2, 3]) == (6, 3, 1.5, 0)
    with pytest.raises(ValueError, match=r"along each of 3 axes\. Received: .*window=\(2, 2\)"):
        inspection.occlusion(model, volume, window=(2, 2))


def test_a_channel_has_its_own_cover() -> None:
    picture = np.ones((1, 2, 2, 2), "float32")
    maps = inspection.occlusion(linear((2, 2, 2)), picture, window=1, value=[1, -2])
    np.testing.assert_allclose(maps, np.full((1, 2, 2), 3))


def test_the_planted_block_is_found_and_cut_out() -> None:
    kernel = np.ones((2, 2, 2, 1, 1))
    model = keras.Sequential(
        [
            keras.Input((4, 5, 6, 1)),
            layers.Conv3D(1, 2, kernel_initializer=constant(kernel), name="c"),
        ]
    )
    volumes = np.random.default_rng(0).random((3, 4, 5, 6, 1), "float32")
    volumes[1, 1:3, 2:4, 3:5] = 7
    top = inspection.top_images(model, volumes, "c", 2)
    assert top.boxes is not None
    assert (top.indices[0, 0], top.values[0, 0]) == (1, 56)
    assert top.boxes[0, 0].tolist() == [[1, 2, 3], [3, 4, 5]]
    seen = inspection.crops(volumes, top, 0)
    assert len(seen) == 2
    np.testing.assert_array_equal(seen[0], np.full((2, 2, 2, 1), 7))
    assert inspection.filters(model).shape == (1, 2, 2, 2, 1)
    with pytest.raises(ValueError, match=r"from 0 to 0\. Received: 1"):
        inspection.crops(volumes, top, 1)


# Networks with branches


@pytest.mark.parametrize(
    ("build", "shape", "layer", "field"),
    [
        # The stem sees 11 at step 4; each 3x3 adds two steps, four of them a stage, the first of
        # a stage at the step before it: 11 + 4 x 8 + (8 + 3 x 16) + (16 + 3 x 32) + (32 + 3 x 64).
        (resnet18, (64, 64, 3), "conv5_block2_out", 435),
        (resnet18, (32, 32, 32, 1), "conv5_block2_out", 435),
        (inception_v3, (96, 96, 3), "mixed10", 1311),
        (lambda shape: alexnet(shape, variant="2014"), (64, 64, 3), "pool5", 195),
        (keras.applications.MobileNetV2, (64, 64, 3), "out_relu", 491),
    ],
)
def test_fields_are_followed_through_branches(
    build: Any, shape: tuple[int, ...], layer: str, field: int
) -> None:
    options = {"weights": None, "input_shape": shape}
    ours = "keras" not in getattr(build, "__module__", "")
    model = abstract(lambda: build(shape) if ours else build(**options))
    found = inspection.receptive_field(model, layer, shape)
    assert found is not None
    assert set(found.size) == {field}
    assert set(found.stride) == {32}


def test_branches_of_a_volume_that_meet_again_are_explained_by_hand() -> None:
    # sum = A + A of the maps A = (x, -x), joined with x itself: (2 x, -2 x, x), whose means are
    # weighed 1, 3 and 5 for the one class: relu(2 x - 6 x + 5 x) / 12 = relu(x) / 12.
    inputs = keras.Input((2, 2, 3, 1))
    kernel = constant([[[[[1, -1]]]]])
    maps = layers.Conv3D(2, 1, kernel_initializer=kernel)(inputs)
    same = layers.Conv3D(2, 1, kernel_initializer=constant(np.eye(2)[None, None, None]))(maps)
    joined = layers.Concatenate(name="joined")([layers.Add()([maps, same]), inputs])
    outputs = layers.GlobalAveragePooling3D()(joined)
    outputs = layers.Dense(1, kernel_initializer=constant([[1], [3], [5]]))(outputs)
    model = keras.Model(inputs, outputs)
    volume = np.array([[[1, -2, 3], [0, 4, -6]], [[-1, 0, 2], [5, -3, 0]]], "float32")
    seen = inspection.grad_cam(model, volume[None, ..., None])  # By default at "joined".
    np.testing.assert_allclose(seen[0], np.maximum(volume, 0) / 12, rtol=1e-5)
    falls = inspection.occlusion(model, volume[None, ..., None], window=1)
    np.testing.assert_allclose(falls[0], volume / 12, atol=1e-6)


@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="JAX compiles each layer of a deep network by itself: half a minute each",
)
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: resnet18((64, 64, 1), 3, squeeze_excitation=True, antialiased=True), (64, 64, 1)),
        (lambda: resnet18((33, 34, 36, 1), 3), (33, 34, 36, 1)),
        (lambda: inception_v3((107, 107, 1), 3, auxiliary=False), (107, 107, 1)),
    ],
)
def test_deep_networks_are_explained(build: Any, shape: tuple[int, ...]) -> None:
    model = build()
    images = np.random.default_rng(0).random((1, *shape), "float32")
    maps = inspection.grad_cam(model, images)
    assert maps.shape == (1, *shape[:-1])
    assert np.isfinite(maps).all()
    half = tuple(-(-side // 2) for side in shape[:-1])
    covered = inspection.occlusion(model, images, window=half, strides=half, class_index=0)
    assert covered.shape == (1, *shape[:-1])


def test_an_auxiliary_answer_is_passed_over() -> None:
    inputs = keras.Input((2, 3, 1))
    maps = layers.Conv2D(2, 1, kernel_initializer=constant([[[[1, -1]]]]), name="maps")(inputs)
    means = layers.GlobalAveragePooling2D()(maps)
    first = layers.Dense(2, kernel_initializer=constant([[2, -1], [1, 3]]))(means)
    model = keras.Model(inputs, [first, layers.Dense(4, kernel_initializer="zeros")(means)])
    maps = inspection.grad_cam(model, X, class_index=1)
    np.testing.assert_allclose(maps[0], np.maximum(-4 * X[0, ..., 0], 0) / 6, rtol=1e-5)
    assert inspection.occlusion(model, X, window=1).shape == (1, 2, 3)


def test_a_blur_and_whole_paddings_are_followed() -> None:
    # A blur of 3 at stride 2 looks one pixel beyond the border; a padding of 2 two more pixels.
    model = keras.Sequential(
        [
            keras.Input((9, 9, 1)),
            BlurPooling2D(name="blur"),
            Conv2D(1, 5, padding=2, name="conv"),
        ]
    )
    assert inspection.receptive_field(model, "blur", (9, 9, 1)) == ((3, 3), (2, 2), (-1, -1))
    assert inspection.receptive_field(model, "conv", (9, 9, 1)) == ((11, 11), (2, 2), (-5, -5))


def unbuilt() -> keras.Model:
    return keras.Sequential([layers.Conv2D(1, 1)])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: inspection.filters(m, "s2"), "needs a convolution. Received: layer='s2'"),
        (lambda m: inspection.grad_cam(m, pictures(), layer="nothing"), "layer='nothing'"),
        (lambda m: inspection.grad_cam(m, pictures(), layer="dense"), "map as its output"),
        (lambda m: inspection.grad_cam(m, pictures(), class_index=5), "below 5. Received: 5"),
        (lambda m: inspection.grad_cam(m, pictures(), class_index=[1, 2]), "each of 6 pictures"),
        (lambda m: inspection.grad_cam(m, pictures()[:, :5]), r"Received: an array of shape"),
        (lambda m: inspection.feature_maps(m, pictures()[0]), "at least one picture"),
        (lambda m: inspection.feature_maps(m, pictures(), layers=["x"]), "layer='x'"),
        (lambda m: inspection.top_images(m, pictures(), "c1", 0), "positive k"),
        (lambda m: inspection.occlusion(m, pictures(), window=13), "window=13"),
        (lambda m: inspection.occlusion(m, pictures(), window=2, strides=3), "strides=3"),
        (lambda m: inspection.feature_maps(unbuilt(), pictures()), "give it a keras.Input"),
    ],
)
def test_mistakes_say_what_was_needed_and_received(call: Any, words: str) -> None:
    model = small(False)
    model.layers[-2].name = "dense"
    with pytest.raises(ValueError, match=words):
        call(model)


def test_all_windows_of_a_sequence_are_counted_once() -> None:
    # The mean over windows of a constant linear model is the window's area at every pixel.
    for window, strides in itertools.product((2, 3), (1, 2)):
        model = keras.Sequential(
            [
                keras.Input((6, 6, 1)),
                layers.Conv2D(1, 1, kernel_initializer="ones"),
                layers.Flatten(),
                layers.Dense(1, kernel_initializer="ones"),
            ]
        )
        maps = inspection.occlusion(model, np.ones((1, 6, 6, 1)), window=window, strides=strides)
        assert maps[0, 3, 3] == pytest.approx(window**2)
