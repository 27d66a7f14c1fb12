"""Windows: that they cover an array exactly, and that the answer doesn't show where they lay."""

import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from fieldsight.core import windows
from fieldsight.core.architectures import all_cnn, unet
from fieldsight.core.architectures.detector import detector
from fieldsight.core.blocks import squeeze_excitation
from fieldsight.core.boxes import centres
from fieldsight.core.detection import decode
from fieldsight.core.windows import context_of, plan


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.utils.set_random_seed(5)


BLENDS = ("crop", "average", "taper")
nan = float("nan")
unhurried = settings(deadline=None)  # a busy machine doesn't count


# Where windows lie


def test_starts_by_hand() -> None:
    # 100 rounds up to 104; windows of 48 keep 48 - 2 * 8 = 32 and move by it: 0, 32, then 104 - 48.
    axis = plan([100], 48, margin=8, stride=8).axes[0]
    assert axis.starts == (0, 32, 56)
    assert axis.padded == 104
    assert axis.kept == ((0, 40), (40, 72), (64, 104))
    # The last two both keep 64 to 72: the seam is at 68, and on the grid at 64.
    assert axis.cores == ((0, 40), (40, 64), (64, 104))


def test_weights_by_hand() -> None:
    axis = plan([16], 10, stride=2, overlap=4).axes[0]
    assert axis.starts == (0, 6)
    assert axis.weights(0, "average").tolist() == [1] * 6 + [0.5] * 4
    # Places 6 to 9 are 3.5, 2.5, 1.5, 0.5 from one end and 0.5, 1.5, 2.5, 3.5 from the other.
    taper = [3.5 / 4, 2.5 / 4, 1.5 / 4, 0.5 / 4]
    assert axis.weights(0, "taper").tolist() == pytest.approx([1] * 6 + taper)
    assert axis.weights(1, "taper").tolist() == pytest.approx(taper[::-1] + [1] * 6)
    assert axis.weights(0, "crop").tolist() == [1] * 8


@st.composite
def axes(draw: Any) -> windows.Axis:
    stride = draw(st.sampled_from([1, 2, 3, 4, 8]))
    margin = draw(st.integers(0, 20))
    overlap = draw(st.integers(0, 20))
    least = 2 * -(-margin // stride) * stride + overlap + stride
    window = draw(st.integers(0, 12)) * stride + -(-least // stride) * stride
    side = draw(st.integers(1, 400))
    return plan([side], window, margin=margin, stride=stride, overlap=overlap).axes[0]


@unhurried
@given(axes(), st.sampled_from(BLENDS))
def test_weights_of_every_place_sum_to_one(axis: windows.Axis, blend: Any) -> None:
    total = np.zeros(axis.padded)
    for index, (first, end) in enumerate(axis.spans(blend)):
        weights = axis.weights(index, blend)
        assert (weights >= 0).all()
        total[first:end] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


@unhurried
@given(axes())
def test_cores_cover_every_place_once_on_the_grid(axis: windows.Axis) -> None:
    assert [place for first, end in axis.cores for place in range(first, end)] == list(
        range(axis.padded)
    )
    edges = {edge for core in axis.cores for edge in core}
    assert all(edge % axis.stride == 0 for edge in (*axis.starts, *edges))


@unhurried
@given(axes())
def test_windows_reach_the_end_and_no_further_than_the_grid(axis: windows.Axis) -> None:
    assert axis.side <= axis.padded < axis.side + axis.stride
    assert sorted(set(axis.starts)) == list(axis.starts)


@unhurried
@given(axes())
def test_margins_count_at_the_arrays_border_alone(axis: windows.Axis) -> None:
    for start, (first, end) in zip(axis.starts, axis.kept, strict=True):
        assert first == 0 if start == 0 else first - start >= axis.margin
        ends = start + axis.window
        assert end == ends if ends == axis.padded else ends - end >= axis.margin


@unhurried
@given(axes(), st.sampled_from([1, 2]), st.sampled_from(BLENDS))
def test_weights_of_a_coarser_answer_sum_to_one(axis: windows.Axis, scale: int, blend: Any) -> None:
    if axis.stride % scale:
        return
    total = np.zeros(axis.padded // scale)
    for index, (first, end) in enumerate(axis.spans(blend)):
        total[first // scale : end // scale] += axis.weights(index, blend, scale)
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_the_window_that_computes_least_by_hand() -> None:
    # Of 100: windows of 48 move by 32 (0, 32, 56): 144 places; of 56 by 40 (0, 40, 48): 168; of
    # 64 by 48 (0, 40): 128; of 72 by 56 (0, 32): 144. Of 30, rounded up to 32: one window of 32.
    chosen = windows.fitted([100, 30], [48, 56, 64, 72], margin=8, stride=8)
    assert chosen == (64, 48)
    # Too small a window for margins and overlap isn't one to choose from, unless it holds all.
    assert windows.fitted([100, 16], [16, 40], margin=8, stride=8, overlap=8) == (40, 16)
    with pytest.raises(ValueError, match="nothing is left"):
        windows.fitted([100], [8, 16], margin=8, stride=8)
    with pytest.raises(ValueError, match="multiple of the model's stride"):
        windows.fitted([100], [50], stride=8)


@unhurried
@given(
    st.integers(1, 4000), st.lists(st.integers(40, 90), min_size=1, max_size=6), st.integers(0, 99)
)
def test_no_other_window_computes_less(side: int, choice: list[int], overlap: int) -> None:
    sizes = [8 * each for each in choice]

    def computed(window: int) -> int:
        axis = plan([side], window, margin=60, stride=8, overlap=overlap).axes[0]
        return len(axis.starts) * axis.window

    (chosen,) = windows.fitted([side], sizes, margin=60, stride=8, overlap=overlap)
    least = min(map(computed, sizes))
    assert computed(chosen) == least
    assert chosen == min(size for size in sizes if computed(size) == least)


def test_a_window_larger_than_the_array_shrinks_or_is_padded() -> None:
    assert plan([50, 70], 512, margin=40, stride=16).window == (64, 80)
    fixed = plan([50, 70], 512, margin=40, stride=16, shrink=False)
    assert (fixed.window, fixed.count) == ((512, 512), 1)


@pytest.mark.parametrize(
    ("shape", "window", "options", "said"),
    [
        ([100], 50, {"stride": 16}, "48 or 64 would fit"),
        ([100], 5, {"stride": 16}, "16 would fit"),
        ([1000], 64, {"margin": 20, "stride": 16}, "At least 80 would fit, or 1008"),
        ([1000], 64, {"overlap": 64}, "At least 65 would fit, or 1000"),
        ([1000, 0], 64, {}, "at least one place along each axis"),
        ([], 64, {}, "at least one place along each axis"),
        ([100, 100], [64, 64, 64], {}, "window must be a whole number of at least 1, or 2"),
        ([100], 0, {}, "window must be"),
        ([100], 64, {"margin": -1}, "margin must be"),
        ([100], 64, {"stride": 0}, "stride must be"),
        ([100], 64.0, {}, "window must be"),
    ],
)
def test_what_cannot_be_laid_out_says_what_would_fit(
    shape: Any, window: Any, options: Any, said: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        plan(shape, window, **options)


# What comes out, against scipy on the whole array


def blurring(reach: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A mean over 2 * reach + 1 places along each axis, with zeros beyond, as "same" pads."""

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        size = [1, *[2 * reach + 1] * (batch.ndim - 2), 1]
        found: NDArray[Any] = ndimage.uniform_filter(batch, size, mode="constant")
        return found

    return run


def whole(array: NDArray[Any], reach: int) -> NDArray[Any]:
    found: NDArray[Any] = blurring(reach)(array[None])[0]
    return found


@settings(unhurried, max_examples=50)
@given(
    st.lists(st.integers(1, 18), min_size=1, max_size=3),
    st.integers(0, 3),
    st.integers(3, 12),
    st.integers(0, 5),
    st.integers(1, 5),
    st.sampled_from(BLENDS),
)
def test_the_answer_is_that_on_the_whole_array_to_its_border(
    shape: list[int], reach: int, more: int, overlap: int, batch_size: int, blend: Any
) -> None:
    array = np.random.default_rng(0).normal(size=(*shape, 2)).astype("float32")
    found = windows.predict(
        array, blurring(reach), window=2 * reach + overlap + more, margin=reach, stride=1,
        overlap=overlap, batch_size=batch_size, blend=blend,
    )  # fmt: skip
    np.testing.assert_allclose(found, whole(array, reach), atol=1e-5)


@pytest.mark.parametrize("blend", BLENDS)
def test_a_constant_stays_that_constant_through_an_averaging_model(blend: Any) -> None:
    def average(batch: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = ndimage.uniform_filter(batch, [1, 5, 5, 1], mode="nearest")
        return found

    array = np.full((61, 47, 1), 0.7, np.float32)
    found = windows.predict(array, average, window=16, margin=0, stride=1, overlap=6, blend=blend)
    np.testing.assert_allclose(found, 0.7, rtol=1e-6)


@pytest.mark.parametrize("blend", BLENDS)
def test_the_order_of_windows_does_not_matter(blend: Any) -> None:
    # Turned over, the last window comes first, and seams lie elsewhere.
    array = np.random.default_rng(1).normal(size=(53, 38, 1)).astype("float32")
    options: Any = {"window": 16, "margin": 2, "stride": 1, "overlap": 3, "blend": blend}
    there = windows.predict(array, blurring(2), **options)
    back = windows.predict(array[::-1, ::-1], blurring(2), **options)[::-1, ::-1]
    turned = windows.predict(array.swapaxes(0, 1), blurring(2), **options).swapaxes(0, 1)
    np.testing.assert_allclose(back, there, atol=1e-6)
    np.testing.assert_allclose(turned, there, atol=1e-6)


def test_every_place_is_answered_once_when_cropped() -> None:
    written = np.zeros((45, 31), int)

    class Count:
        def write(self, slices: tuple[slice, ...], piece: NDArray[Any]) -> None:
            assert piece.shape == (*(s.stop - s.start for s in slices), 1)
            written[slices] += 1

    windows.predict(np.ones((45, 31, 1)), blurring(1), window=12, margin=1, stride=4, sink=Count())
    assert (written == 1).all()


# With networks


def test_two_sizes_of_windows_agree_in_pictures() -> None:
    model = unet((None, None, 3), 2, filters=4, depth=2)
    array = np.random.default_rng(2).normal(size=(150, 203, 3)).astype("float32")
    small = windows.predict(array, model, window=64)
    large = windows.predict(array, model, window=(96, 128), blend="taper", overlap=8)
    np.testing.assert_allclose(small, large, atol=1e-4)
    assert small.std() > 0.1
    # And at the border: both are the model on the whole, whose sides are padded to 152 and 204.
    padded = np.pad(array, [(0, 2), (0, 1), (0, 0)], mode="reflect")
    alone = model.predict_on_batch(padded[None])[0, :150, :203]
    np.testing.assert_allclose(small, alone, atol=1e-4)


def test_a_start_off_the_grid_or_no_margin_would_not_agree() -> None:
    # The test of the tests above: what DESIGN's rules keep away is there to be kept away.
    model = unet((None, None, 3), 2, filters=4, depth=2)
    array = np.random.default_rng(2).normal(size=(152, 152, 3)).astype("float32")
    alone = model.predict_on_batch(array[None])[0]
    inner = slice(40, 80)
    grid, off = (model.predict_on_batch(array[None, s : s + 120, s : s + 120])[0] for s in (8, 10))
    np.testing.assert_allclose(grid[32:72, 32:72], alone[inner, inner], atol=1e-4)
    assert np.abs(off[30:70, 30:70] - alone[inner, inner]).max() > 1e-2
    with pytest.warns(UserWarning, match="less than the model looks"):
        found = windows.predict(array, model, window=64, margin=0)
    assert np.abs(found - alone).max() > 1e-2


def test_two_sizes_of_windows_agree_in_volumes() -> None:
    model = unet((None, None, None, 1), 2, filters=2, depth=1)
    array = np.random.default_rng(3).normal(size=(33, 26, 37, 1)).astype("float32")
    small = windows.predict(array, model, window=24)
    large = windows.predict(array, model, window=(28, 64, 32), overlap=2, blend="average")
    np.testing.assert_allclose(small, large, atol=1e-4)
    padded = np.pad(array, [(0, 1), (0, 0), (0, 1), (0, 0)], mode="reflect")
    alone = model.predict_on_batch(padded[None])[0, :33, :26, :37]
    np.testing.assert_allclose(small, alone, atol=1e-4)


def test_a_strided_network_is_that_on_the_whole_to_its_border() -> None:
    # Its "same" convolutions pad but the far side, which they must do at the array's end alone.
    inputs = x = keras.Input((None, None, 2))
    for filters in (4, 6):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    fine = layers.UpSampling2D(4)(layers.Conv2D(3, 1)(x))
    model = keras.Model(inputs, {"coarse": layers.Conv2D(5, 3, padding="same")(x), "fine": fine})
    array = np.random.default_rng(4).normal(size=(72, 90, 2)).astype("float32")
    found = windows.predict(array, model, window=32, blend="taper", overlap=4, padding="zeros")
    alone = model.predict_on_batch(np.pad(array, [(0, 0), (0, 2), (0, 0)])[None])
    assert {name: output.shape for name, output in found.items()} == {
        "coarse": (18, 23, 5), "fine": (72, 90, 3),
    }  # fmt: skip
    np.testing.assert_allclose(found["coarse"], alone["coarse"][0], atol=1e-5)
    np.testing.assert_allclose(found["fine"], alone["fine"][0, :, :90], atol=1e-5)


def test_a_model_of_one_size_pads_a_smaller_array_and_covers_a_larger_one() -> None:
    model = unet((48, 48, 1), 2, filters=2, depth=1)
    for side in (20, 100):
        array = np.random.default_rng(5).normal(size=(side, side, 1)).astype("float32")
        padded = np.pad(array, [(0, max(0, 48 - side))] * 2 + [(0, 0)], mode="reflect")
        free = unet((None, None, 1), 2, filters=2, depth=1)
        free.set_weights(model.get_weights())
        alone = free.predict_on_batch(padded[None])[0, :side, :side]
        np.testing.assert_allclose(windows.predict(array, model), alone, atol=1e-5)
    with pytest.raises(ValueError, match=r"windows of \(48, 48\) alone. Received: window=64"):
        windows.predict(array, model, window=64)


# How far a network looks, against what an impulse reaches


def reached(model: keras.Model, side: int) -> tuple[int, int]:
    """Stride of the answer, and how far an impulse reaches along the first axis."""
    model.set_weights([np.full(w.shape, 0.1 if w.ndim > 1 else 0) for w in model.get_weights()])
    rank, far, scale = len(model.inputs[0].shape) - 2, 0, 0
    for place in range(side // 2, side // 2 + 8):
        picture = np.zeros((1, *[side] * rank, 1), "float32")
        picture[0, place] = 1
        answer = model.predict_on_batch(picture)[0]
        scale = side // len(answer)
        rows = np.flatnonzero(np.abs(answer).reshape(len(answer), -1).max(axis=1)) * scale
        if len(rows):  # Strides may leave places out.
            far = max(far, rows.max() - place, place - rows.min() - scale + 1)
    return scale, far


def in_layers(*found: Any) -> keras.Model:
    return keras.Sequential([keras.Input((None, None, 1)), *found])


@pytest.mark.parametrize(
    ("build", "side"),
    [
        (lambda: unet((None, None, 1), 1, filters=1, depth=1), 64),
        (lambda: unet((None, None, 1), 1, filters=1, depth=2), 96),
        (lambda: unet((None, None, 1), 1, filters=1, depth=3, residual=True), 160),
        (lambda: unet((None, None, None, 1), 1, filters=1, depth=1), 32),
        (lambda: in_layers(layers.Conv2D(1, 5, dilation_rate=3, padding="same")), 64),
        (lambda: in_layers(layers.Conv2D(1, 4, padding="same"), layers.ReLU()), 32),
        (lambda: in_layers(*[layers.Conv2D(1, 3, 2, padding="same") for _ in range(3)]), 64),
        (
            lambda: in_layers(
                layers.ZeroPadding2D(((2, 0), (0, 2))), layers.Conv2D(1, 3), layers.Dense(1)
            ),
            32,
        ),
        (
            lambda: in_layers(
                layers.ZeroPadding2D(3), layers.Conv2D(1, 7, 2), layers.MaxPooling2D(2),
                layers.Conv2DTranspose(1, 2, 2), layers.UpSampling2D(2),
            ),
            64,
        ),
    ],
)  # fmt: skip
def test_a_network_looks_as_far_as_an_impulse_reaches(build: Any, side: int) -> None:
    model = build()
    found = context_of(model)
    assert (found.radius[0], found.unknown) == (reached(model, side)[1], ())


@pytest.mark.parametrize(
    "build",
    [
        lambda: in_layers(layers.Conv2DTranspose(1, 4, 2, padding="same"), layers.MaxPooling2D(2)),
        lambda: in_layers(
            layers.Conv2D(1, 3, 4, padding="same"), layers.Conv2DTranspose(1, 5, 4, padding="same")
        ),
        lambda: in_layers(
            layers.AveragePooling2D(4), layers.UpSampling2D(4, interpolation="bilinear")
        ),
    ],
)
def test_where_steps_round_it_looks_no_further_than_is_said(build: Any) -> None:
    model = build()
    if model.count_params() and isinstance(model.layers[0], layers.Conv2DTranspose):
        assert context_of(model).unknown  # finer than the input itself
        return
    found, (_, far) = context_of(model), reached(model, 64)
    assert far <= found.radius[0] <= far + found.stride[0]


def functional(apply: Callable[[Any], Any]) -> keras.Model:
    inputs = keras.Input((16, 16, 4))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    return keras.Model(inputs, layers.Conv2D(2, 1)(apply(x)))


GLOBAL: dict[str, Callable[[Any], Any]] = {
    "squeeze and excitation": lambda x: squeeze_excitation(x, reduction=2, name="se"),
    "group normalization": layers.GroupNormalization(2),
    "instance normalization": layers.GroupNormalization(-1),
    "layer normalization over places": layers.LayerNormalization(axis=(1, 2, 3)),
    "attention": lambda x: layers.MultiHeadAttention(1, 2, attention_axes=(1, 2))(x, x),
    "a mean over places": lambda x: x - keras.ops.mean(x, axis=(1, 2), keepdims=True),
    "a softmax over places": layers.Softmax(axis=(1, 2)),
    "a pooling to a given size": lambda x: layers.UpSampling2D(4)(
        layers.AdaptiveAveragePooling2D(4)(x)
    ),
    "a dense layer on all": lambda x: layers.Reshape((16, 16, 4))(
        layers.Dense(1024)(layers.Flatten()(x))
    ),
}  # fmt: skip


@pytest.mark.parametrize("apply", GLOBAL.values(), ids=GLOBAL)
def test_models_that_mix_all_places_are_refused_or_warned_about(apply: Any) -> None:
    model = functional(apply)
    array = np.zeros((40, 40, 4), "float32")
    with pytest.raises(ValueError, match="mixes all places of a window"):
        windows.predict(array, model)
    with pytest.warns(UserWarning, match="mixes all places of a window"):
        found = windows.predict(
            array, model, margin=2, stride=1, overlap=4, blend="taper", global_operations="warn"
        )
    assert found.shape == (40, 40, 2)


LOCAL: dict[str, Callable[[Any], Any]] = {
    "batch normalization": layers.BatchNormalization(),
    "layer normalization of channels": layers.LayerNormalization(),
    "some channels": lambda x: x[..., :2],
    "a softmax over classes": layers.Softmax(),
    "operations": lambda x: keras.ops.relu(x * 2 + 1),
    "an inner model": lambda x: keras.Sequential([layers.Conv2D(3, 3, padding="same")])(x),
}


@pytest.mark.parametrize("apply", LOCAL.values(), ids=LOCAL)
def test_models_that_do_not_are_not(apply: Any) -> None:
    found = context_of(functional(apply))
    assert (found.global_operations, found.unknown, found.stride) == ((), (), (1, 1))


# What is read, and when


class Scene:
    """A raster that is read by windows, which counts them and may break."""

    def __init__(self, array: NDArray[Any], breaks_at: int = 10**9) -> None:
        self.array, self.breaks_at, self.reads = array, breaks_at, 0
        self.shape = array.shape

    def read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        self.reads += 1
        if self.reads == self.breaks_at:
            raise OSError("the disk is gone")
        return self.array[slices]


def test_windows_are_read_while_the_model_runs() -> None:
    scene = Scene(np.ones((64, 8, 1)))
    waited: list[int] = []

    def model(batch: NDArray[Any]) -> NDArray[Any]:
        first = not waited
        waited.append(scene.reads)
        # The second window is read although the first isn't answered yet.
        for _ in range(500) if first else ():
            if scene.reads >= 2:
                break
            time.sleep(0.01)
        assert scene.reads >= min(2, len(waited) + 1)
        return batch

    windows.predict(scene, model, window=8, margin=0, stride=1, batch_size=1)
    # No further ahead than two batches that wait and one that is made.
    assert all(reads - ran <= 3 for ran, reads in enumerate(waited))
    assert scene.reads == 8


def test_a_reader_that_breaks_says_where_and_what_was_written_stays(tmp_path: Path) -> None:
    array = np.random.default_rng(6).normal(size=(60, 40, 1)).astype("float32")
    sink, state = np.full((60, 40, 1), nan, np.float32), tmp_path / "scene.state"
    options: Any = {"window": 24, "margin": 2, "stride": 1, "batch_size": 1}
    # Rows keep 20: two windows each, so the sixth read is the third row's second.
    broken = Scene(array, breaks_at=6)
    with pytest.raises(RuntimeError, match=r"36:60, 16:40\] could not be read.*the disk is gone"):
        windows.predict(broken, blurring(2), sink=sink, state=state, **options)
    expected = whole(array, 2)
    np.testing.assert_allclose(sink[:40], expected[:40], atol=1e-6)
    assert np.isnan(sink[42:]).all()
    mended = Scene(array)
    windows.predict(mended, blurring(2), sink=sink, state=state, **options)
    assert mended.reads == 2
    np.testing.assert_allclose(sink, expected, atol=1e-6)
    windows.predict(mended, blurring(2), sink=sink, state=state, **options)
    assert mended.reads == 2  # nothing is left to be done
    with pytest.raises(ValueError, match="another blend"):
        windows.predict(mended, blurring(2), sink=sink, state=state, blend="average", **options)
    state.write_text("{}")
    with pytest.raises(ValueError, match="must be the state of an earlier run"):
        windows.predict(mended, blurring(2), sink=sink, state=state, **options)


RUN = """
import os, sys
import numpy as np
from scipy import ndimage
from fieldsight.core import windows

class Sink:
    def __init__(self, folder, kill):
        self.out = np.memmap(f"{folder}/out", np.float32, "r+", shape=(90, 50, 2))
        self.writes, self.kill = 0, kill

    def write(self, slices, piece):
        self.writes += 1
        if self.writes == 3 and self.kill:  # in the middle of a piece, as if the plug was pulled
            self.out[slices[0].start : slices[0].start + len(piece) // 2] = piece[: len(piece) // 2]
            os._exit(9)
        self.out[slices] = piece

def run(folder, blend, kill):
    windows.predict(
        np.memmap(f"{folder}/in", np.uint16, "r", shape=(90, 50, 2)),
        lambda batch: ndimage.gaussian_filter(batch, [0, 2, 2, 0], truncate=2),
        window=24, margin=3, stride=1, overlap=6, blend=blend, batch_size=2,
        sink=Sink(folder, kill), state=f"{folder}/state",
    )
"""


KILL = """
for blend in ("crop", "taper"):
    child = os.fork()
    if not child:
        run(f"{sys.argv[1]}/{blend}", blend, True)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="numpy alone: once is enough")
def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    here: dict[str, Any] = {}
    exec(RUN, here)
    array = np.random.default_rng(7).integers(1, 4000, (90, 50, 2), np.uint16)
    expected = {}
    for blend in ("crop", "taper"):
        folder = tmp_path / blend
        folder.mkdir()
        array.tofile(folder / "in")
        np.zeros(array.shape, np.float32).tofile(folder / "out")
        here["run"](folder, blend, False)
        expected[blend] = (folder / "out").read_bytes()
        (folder / "state").unlink()
        np.zeros(array.shape, np.float32).tofile(folder / "out")
    script = [sys.executable, "-c", RUN + KILL, str(tmp_path)]
    done = subprocess.run(
        script, env={**os.environ, "KERAS_BACKEND": "numpy"}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for blend in ("crop", "taper"):
        half = np.fromfile(tmp_path / blend / "out", np.float32)
        assert 0 < np.count_nonzero(half) < array.size
        here["run"](tmp_path / blend, blend, False)
        assert (tmp_path / blend / "out").read_bytes() == expected[blend]
        assert np.frombuffer(expected[blend], np.float32).all()


def test_a_taller_array_needs_no_more_memory() -> None:
    class Rows:
        def __init__(self, rows: int) -> None:
            self.shape = (rows, 128, 4)

        def read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
            return np.ones([s.stop - s.start for s in slices] + [4], np.uint16)

    class Sink:
        def write(self, slices: tuple[slice, ...], piece: NDArray[Any]) -> None:
            np.testing.assert_allclose(piece, 1, rtol=1e-6)

    def peak(rows: int) -> int:
        tracemalloc.start()
        windows.predict(
            Rows(rows), lambda b: b, window=64, margin=4, stride=4, overlap=8, blend="taper",
            nodata=0, sink=Sink(),
        )  # fmt: skip
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(200)  # whatever is made once
    low, high = peak(400), peak(4000)
    # How far the reader is ahead differs from run to run, by a few windows at most: far less than
    # a tenth of what the taller array's answer has more.
    assert high - low < (4000 - 400) * 128 * 4 * 4 / 10
    # Below 40 windows of 64 x 64 x 4 float32, or an eighth of the tall array's answer.
    assert high < 40 * 64 * 64 * 4 * 4 < 4000 * 128 * 4 * 4 / 2


def test_what_is_given_at_once_is_the_same_in_the_memory_of_some_windows(tmp_path: Path) -> None:
    array = np.random.default_rng(9).integers(0, 3, (90, 70, 2), np.uint16)
    array[20:70, 10:60] = 0
    options: Any = {"window": 24, "margin": 2, "stride": 4, "nodata": 0}
    expected = windows.predict(array, blurring(2), **options)
    pieces = []

    class Sink:
        out = np.full((90, 70, 2), 9, np.float32)

        def write(self, slices: tuple[slice, ...], piece: NDArray[Any]) -> None:
            assert (self.out[slices] == 9).all()  # each place once
            self.out[slices] = piece
            pieces.append(piece.shape)

    done: list[int] = []
    state = tmp_path / "state"
    windows.predict(
        array, blurring(2), sink=Sink(), at_once=True, state=state, done=done.append, **options
    )
    np.testing.assert_array_equal(Sink.out, expected)
    assert np.isnan(expected).any()
    assert len(pieces) == plan((90, 70), 24, margin=2, stride=4).count
    assert max(rows * columns for rows, columns, _ in pieces) <= 24 * 24
    assert done == list(range(plan([90], 24, margin=2, stride=4).count))
    # Broken off after the second row, a run goes on with the third.
    state.write_text(state.read_text().replace(f'"rows": {len(done)}', '"rows": 2'))
    first = plan([90], 24, margin=2, stride=4).axes[0].cores[2][0]
    Sink.out[first:] = 9
    windows.predict(array, blurring(2), sink=Sink(), at_once=True, state=state, **options)
    np.testing.assert_array_equal(Sink.out[first:], expected[first:])


def test_a_coarser_answer_may_be_given_at_once() -> None:
    array = np.random.default_rng(3).random((37, 51, 3), np.float32)
    options: Any = {"window": 16, "margin": 4, "stride": 4}

    def coarse(batch: NDArray[Any]) -> NDArray[Any]:
        return batch[:, ::2, ::2]

    out = np.zeros((19, 26, 3), np.float32)
    windows.predict(array, coarse, sink=out, at_once=True, **options)
    np.testing.assert_array_equal(out, windows.predict(array, coarse, **options))


def test_an_array_on_disk_gives_what_it_gives_in_memory(tmp_path: Path) -> None:
    array = np.random.default_rng(8).integers(0, 4000, (70, 50, 4), np.uint16)
    array.tofile(tmp_path / "raster")
    mapped = np.memmap(tmp_path / "raster", np.uint16, "r", shape=array.shape)
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=array.shape)
    options: Any = {"window": 32, "margin": 2, "stride": 4, "blend": "average", "overlap": 4}
    assert windows.predict(mapped, blurring(2), sink=out, **options) is None
    assert out.tobytes() == windows.predict(array, blurring(2), **options).tobytes()


# What has no data


def test_windows_without_data_are_not_run_and_places_without_are_filled() -> None:
    array = np.full((64, 64, 2), 7, np.uint16)
    array[:40] = 0
    array[50, 50] = 0
    array[60, 60, 0] = 0  # one channel alone: data
    seen = []

    def model(batch: NDArray[Any]) -> NDArray[Any]:
        seen.append(len(batch))
        return batch[..., :1] * 0 + 1

    found = windows.predict(
        array, model, window=16, margin=0, stride=1, nodata=0, fill=-1, batch_size=3
    )
    expected = np.ones((64, 64, 1), np.float32)
    expected[:40] = expected[50, 50] = -1
    np.testing.assert_array_equal(found, expected)
    assert sum(seen) == 1 + 8  # one of zeros for the answer's form; rows 32 to 47 and 48 to 63


def test_an_array_without_any_data_is_filled() -> None:
    out = windows.predict(
        np.full((20, 20, 1), nan, np.float32), lambda b: b.repeat(3, -1), window=8, margin=0,
        stride=1, nodata=nan,
    )  # fmt: skip
    assert out.shape == (20, 20, 3)
    assert np.isnan(out).all()


def test_nan_is_refused_or_left_out() -> None:
    array = np.ones((30, 30, 2), np.float32)
    array[17, 21, 1] = nan
    options: Any = {"window": 16, "margin": 1, "stride": 1}
    with pytest.raises(ValueError, match=r"NaN at \(17, 21\).*nodata=float\('nan'\)"):
        windows.predict(array, blurring(1), **options)
    found = windows.predict(array, blurring(1), nodata=nan, **options)
    assert np.argwhere(np.isnan(found[..., 0])).tolist() == [[17, 21]]
    # Its neighbours saw 0 there: 8 of 9.
    assert found[16, 20].tolist() == pytest.approx([1, 8 / 9])


@pytest.mark.parametrize("blend", BLENDS)
def test_what_a_window_that_was_left_out_shares_is_answered_by_others(blend: Any) -> None:
    array = np.ones((24, 24, 1), np.float32)
    array[0, 0] = 5  # in the first window alone
    found = windows.predict(
        array, lambda b: np.ones_like(b), window=10, margin=0, stride=1, overlap=4, blend=blend,
        valid=lambda piece: bool(piece.max() < 5),
    )  # fmt: skip
    # Windows start at 0, 6, 12, 14, cut at 8: what others keep of the first begins at 6, or 8.
    lost = 8 if blend == "crop" else 6
    assert np.isnan(found[:lost, :lost]).all()
    rest = np.ones((24, 24), bool)
    rest[:lost, :lost] = False
    np.testing.assert_allclose(found[rest], 1, rtol=1e-6)


def test_a_rule_may_answer_a_mask() -> None:
    array = np.arange(400, dtype=np.float32).reshape(20, 20, 1)
    found = windows.predict(
        array, lambda b: b, window=8, margin=0, stride=1, nodata=399,
        valid=lambda piece: piece[..., 0] % 2 == 0, fill=-1,
    )  # fmt: skip
    np.testing.assert_array_equal(found, np.where(array % 2 == 0, array, -1))
    with pytest.raises(ValueError, match="True or False, or a mask of"):
        windows.predict(
            array, lambda b: b, window=8, margin=0, stride=1, valid=lambda p: np.ones(3, bool)
        )


def test_a_source_may_say_itself_where_it_has_data() -> None:
    class Source:
        shape = (20, 20, 1)

        def read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
            return np.ones((20, 20, 1), np.float32)[slices]

        def valid(self, slices: tuple[slice, ...]) -> NDArray[np.bool_]:
            return (np.arange(400).reshape(20, 20) % 7 < 3)[slices]

    found = windows.predict(Source(), lambda b: b, window=8, margin=0, stride=1, fill=-1)
    np.testing.assert_array_equal(found[..., 0].ravel(), np.where(np.arange(400) % 7 < 3, 1, -1))


def test_an_object_whose_centre_lies_where_there_are_no_data_is_none() -> None:
    array = np.full((40, 60, 1), 9, np.uint8)
    array[:, :23] = 0
    array[20, 23] = array[30, 50] = 5

    def decode(answer: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        rows, columns = np.nonzero(answer[..., 0] != 9)  # the hole's places too
        boxes = np.stack([columns, rows, columns + 1, rows + 1], axis=1)
        return boxes, np.full(len(rows), 0.5), np.zeros(len(rows), int)

    found = windows.detect(
        array, lambda b: b, decode, window=16, margin=0, stride=1, overlap=4, nodata=0
    )
    assert sorted(found.boxes[:, :2].tolist()) == [[23.0, 20.0], [50.0, 30.0]]


def test_a_place_of_a_coarser_answer_has_data_where_any_of_its_own_has() -> None:
    array = np.zeros((10, 12, 1), np.uint8)
    array[3, 5] = array[9, 9] = 1
    found = windows.predict(
        array, lambda b: b[:, ::2, ::4], window=8, margin=0, stride=4, nodata=0, fill=-1
    )
    expected = np.full((5, 3), -1)
    expected[1, 1] = expected[4, 2] = 0
    np.testing.assert_array_equal(found[..., 0], expected)


# Several outputs


def test_outputs_keep_their_names_and_each_has_a_sink() -> None:
    array = np.random.default_rng(9).normal(size=(21, 30, 2)).astype("float32")

    def model(batch: NDArray[Any]) -> Any:
        return {"b": batch, "a": [batch[:, ::2, ::2, :1], -batch]}

    options: Any = {"window": 12, "margin": 2, "stride": 2}
    found = windows.predict(array, model, **options)
    np.testing.assert_array_equal(found["b"], array)
    np.testing.assert_array_equal(found["a"][0], array[::2, ::2, :1])
    np.testing.assert_array_equal(found["a"][1], -array)
    sinks: dict[str, Any] = {
        "b": np.zeros((21, 30, 2)),
        "a": [np.zeros((11, 15, 1)), np.zeros((21, 30, 2))],
    }
    windows.predict(array, model, sink=sinks, **options)
    np.testing.assert_array_equal(sinks["b"], array)
    np.testing.assert_array_equal(sinks["a"][0], array[::2, ::2, :1])
    for wrong in (np.zeros((21, 30, 2)), {"b": sinks["b"]}, {"b": 1, "a": [2, 3]}):
        with pytest.raises(ValueError, match="sink"):
            windows.predict(array, model, sink=wrong, **options)


# Bad input


def test_progress_counts_windows_to_the_last() -> None:
    told: list[tuple[int, int]] = []
    done: list[int] = []
    windows.predict(
        np.ones((30, 30, 1)), lambda b: b, window=10, margin=0, stride=1, batch_size=2,
        progress=lambda *of: told.append(of), done=done.append,
    )  # fmt: skip
    assert [count for count, _ in told] == [2, 3, 5, 6, 8, 9]
    assert {total for _, total in told} == {9}
    assert done == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": np.ones((30, 30, 4))}, r"takes \(None, None, 3\).*shape \(30, 30, 4\)"),
        ({"source": np.ones((30, 30))}, r"takes \(None, None, 3\).*shape \(30, 30\)"),
        ({"source": np.ones((1, 30, 30, 3))}, "a source has no batch"),
        ({"source": np.ones((0, 30, 3))}, "Received: a source of shape"),
        ({"source": [1, 2]}, "a source needs a shape"),
        ({"window": None}, "512 is a size to begin with"),
        ({"window": 30}, "28 or 32 would fit"),
        ({"window": 24, "source": np.ones((90, 90, 3))}, "At least 52 would fit, or 92"),
        ({"stride": 2}, r"multiple of the model's, \(4, 4\)"),
        ({"blend": "mean"}, "blend must be one of crop, average, taper"),
        ({"padding": "wrap"}, "padding 'reflect', 'edge' or 'zeros'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"state": "x"}, "state is of a sink"),
        ({"at_once": True}, "at_once needs a sink"),
        ({"at_once": True, "sink": [], "blend": "taper"}, "other blends wait"),
        ({"sink": 3}, "a sink takes sink.write"),
        ({"model": 3}, "a model is a Keras model, or a callable"),
        ({"model": lambda b: b}, "stride= and margin= must be given"),
        ({"model": lambda b: b[:, 1:], "stride": 1, "margin": 0}, "'same' padding in the model"),
        ({"model": lambda b: b[..., 0], "stride": 1, "margin": 0}, "and the window's sides be"),
        ({"model": lambda b: b[:, ::2, ::2], "stride": 1, "margin": 0}, "divisor of the stride"),
        ({"model": lambda b: b[:1], "stride": 1, "margin": 0}, "answer 2 windows by as many"),
        ({"global_operations": "ignore"}, "'refuse' or 'warn'"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, Any], said: str) -> None:
    asked: dict[str, Any] = {
        "source": np.ones((30, 30, 3), np.float32), "window": 64,
        "model": unet((None, None, 3), 2, filters=2, depth=2),
    }  # fmt: skip
    if "model" in change and "stride" in change:
        asked["window"] = 20
    asked |= change
    with pytest.raises(ValueError, match=said):
        windows.predict(asked.pop("source"), asked.pop("model"), **asked)


def test_a_source_that_gives_another_shape_is_found_out() -> None:
    class Wrong:
        shape = (30, 30, 1)

        def read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
            return np.ones((16, 16))

    with pytest.raises(ValueError, match=r"must give \(16, 16, 1\).*Received: \(16, 16\)"):
        windows.predict(Wrong(), lambda b: b, window=16, margin=0, stride=1)


def test_a_model_without_a_graph_is_run_with_stride_and_margin() -> None:
    class Doubling(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    array = np.random.default_rng(10).normal(size=(20, 20, 1)).astype("float32")
    with pytest.raises(ValueError, match="stride= and margin= must be given"):
        windows.predict(array, Doubling(), window=8)
    found = windows.predict(array, Doubling(), window=8, margin=0, stride=1)
    np.testing.assert_allclose(found, array * 2)


# Objects


def peaks(answer: NDArray[Any]) -> Any:
    """Each place above its neighbours, as a box of three about it, for a rank of any kind."""
    rank = answer.ndim - 1
    heat = answer[..., 0]
    top = ndimage.maximum_filter(heat, size=3, mode="nearest")
    places = np.argwhere((heat == top) & (heat > 0.05))
    middle = places[:, ::-1] + 0.5
    scores = heat[tuple(places.T)]
    return np.concatenate([middle - 1.5, middle + 1.5], axis=1), scores, places[:, rank - 1] * 0


def bumps(batch: NDArray[Any]) -> NDArray[Any]:
    sides = range(1, batch.ndim - 1)
    found: NDArray[Any] = ndimage.gaussian_filter(
        batch, 0.6, mode="constant", truncate=1.7, axes=tuple(sides)
    )
    return found


@settings(unhurried, max_examples=25)
@given(
    st.lists(st.tuples(*[st.integers(0, 25)] * 3), max_size=40),
    st.integers(2, 3),
    st.integers(0, 8),
)
def test_objects_at_seams_are_found_once(spots: Any, rank: int, more: int) -> None:
    array = np.zeros((*[26] * rank, 1), np.float32)
    for number, spot in enumerate(spots):
        array[spot[:rank]] = 1 + number / 100
    found = windows.detect(
        array, bumps, peaks, window=14 + more, margin=1, stride=1, overlap=6, threshold=1.0
    )
    boxes, scores, _ = peaks(bumps(array[None])[0])
    expected = np.clip(boxes, 0, 26)
    assert sorted(found.boxes.tolist()) == sorted(expected.tolist())
    np.testing.assert_allclose(sorted(found.scores), sorted(scores), rtol=1e-5)
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("shape", [(90, 75, 2), (28, 30, 44, 1)])
def test_a_detector_finds_by_windows_what_it_finds_on_the_whole(shape: tuple[int, ...]) -> None:
    rank = len(shape) - 1
    backbone = all_cnn((*[None] * rank, shape[-1]), filters=4)
    model = detector(backbone, 2, stride=2, filters=4)
    array = np.random.default_rng(11).normal(size=shape).astype("float32")

    def objects(maps: NDArray[Any]) -> Any:
        # Untrained, it says anything; trained, a centre lies in the place that answers.
        near = np.clip(maps[..., 2:], [-1] * rank + [-0.5] * rank, 0.5)
        maps = np.concatenate([maps[..., :2], near], axis=-1)
        return decode(maps, num_classes=2, stride=2, threshold=0.005)

    margin, stride = context_of(model).margin[0], context_of(model).stride[0]
    found = windows.detect(
        array, model, objects, window=2 * margin + 8 * stride,
        overlap=8,
    )  # fmt: skip
    pads = [(0, -side % stride) for side in shape[:-1]]
    alone = model.predict_on_batch(np.pad(array, [*pads, (0, 0)], mode="reflect")[None])[0]
    places = tuple(slice(0, -(-side // 2)) for side in shape[:-1])
    expected = objects(alone[places])
    # Some have their centre in the padding, which is no part of the array.
    inside = (centres(expected.boxes) < shape[:-1][::-1]).all(axis=1)
    expected = expected.take(np.flatnonzero(inside))
    assert len(found) == len(expected) > 20
    clipped = np.clip(expected.boxes, 0, [*shape[:-1][::-1]] * 2)
    known = cKDTree(np.column_stack([clipped, expected.labels, 100 * expected.scores]))
    looked_for = np.column_stack([found.boxes, found.labels, 100 * found.scores])
    apart, which = map(np.asarray, known.query(looked_for))
    assert apart.max() < 1e-3
    assert sorted(which.tolist()) == list(range(len(expected)))


def test_nothing_found_is_an_empty_answer() -> None:
    found = windows.detect(
        np.zeros((30, 30, 1)), blurring(1), peaks, window=12, margin=1, stride=1, overlap=4
    )
    assert (found.boxes.shape, len(found)) == ((0, 4), 0)
    skipped = windows.detect(
        np.zeros((30, 30, 1)), blurring(1), peaks, window=12, margin=1, stride=1, overlap=4,
        nodata=0,
    )  # fmt: skip
    assert (skipped.boxes.shape, len(skipped)) == ((0, 4), 0)


@pytest.mark.parametrize(
    ("decoder", "overlap", "said"),
    [
        (lambda a: 3, 4, "boxes, scores and labels, or a tuple"),
        (lambda a: (np.zeros((2, 6)), np.zeros(2), np.zeros(2)), 4, r"boxes \(n, 4\)"),
        (lambda a: (np.zeros((2, 4)), np.zeros(3), np.zeros(2)), 4, r"scores \(n,\)"),
        (lambda a: (np.full((1, 4), nan), np.zeros(1), np.zeros(1)), 4, "finite"),
        (peaks, 2, "overlap=4 would fit"),
    ],
)
def test_what_is_no_detection_is_refused(decoder: Any, overlap: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        windows.detect(
            np.zeros((30, 30, 1)), blurring(1), decoder, window=12, margin=1, stride=1,
            overlap=overlap,
        )  # fmt: skip
