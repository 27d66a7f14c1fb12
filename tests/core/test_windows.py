"""Windows: that they cover an array exactly, and that the answer doesn't show where they lay."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.core import windows
from fieldsight.core.architectures import unet
from fieldsight.core.windows import plan

BLENDS = ("crop", "average", "taper")
nan = float("nan")


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


@given(axes(), st.sampled_from(BLENDS))
def test_weights_of_every_place_sum_to_one(axis: windows.Axis, blend: Any) -> None:
    total = np.zeros(axis.padded)
    for index, (first, end) in enumerate(axis.spans(blend)):
        weights = axis.weights(index, blend)
        assert (weights >= 0).all()
        total[first:end] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(axes())
def test_cores_cover_every_place_once_on_the_grid(axis: windows.Axis) -> None:
    assert [place for first, end in axis.cores for place in range(first, end)] == list(
        range(axis.padded)
    )
    edges = {edge for core in axis.cores for edge in core}
    assert all(edge % axis.stride == 0 for edge in (*axis.starts, *edges))


@given(axes())
def test_windows_reach_the_end_and_no_further_than_the_grid(axis: windows.Axis) -> None:
    assert axis.side <= axis.padded < axis.side + axis.stride
    assert sorted(set(axis.starts)) == list(axis.starts)


@given(axes())
def test_margins_count_at_the_arrays_border_alone(axis: windows.Axis) -> None:
    for start, (first, end) in zip(axis.starts, axis.kept, strict=True):
        assert first == 0 if start == 0 else first - start >= axis.margin
        ends = start + axis.window
        assert end == ends if ends == axis.padded else ends - end >= axis.margin


@given(axes(), st.sampled_from([1, 2]), st.sampled_from(BLENDS))
def test_weights_of_a_coarser_answer_sum_to_one(axis: windows.Axis, scale: int, blend: Any) -> None:
    if axis.stride % scale:
        return
    total = np.zeros(axis.padded // scale)
    for index, (first, end) in enumerate(axis.spans(blend)):
        total[first // scale : end // scale] += axis.weights(index, blend, scale)
    np.testing.assert_allclose(total, 1, atol=1e-6)


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


@settings(max_examples=50, deadline=None)
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
    array = np.random.default_rng(3).normal(size=(45, 38, 51, 1)).astype("float32")
    small = windows.predict(array, model, window=28)
    large = windows.predict(array, model, window=(36, 64, 32), overlap=2, blend="average")
    np.testing.assert_allclose(small, large, atol=1e-4)
    padded = np.pad(array, [(0, 1), (0, 0), (0, 1), (0, 0)], mode="reflect")
    alone = model.predict_on_batch(padded[None])[0, :45, :38, :51]
    np.testing.assert_allclose(small, alone, atol=1e-4)
