"""Named kernels against scipy's and scikit-image's own."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, signal

from fieldsight.core import kernels
from fieldsight.core.kernels import KERNELS, apply_kernel

IMAGE = np.random.default_rng(0).random((23, 31))


def test_the_edge_kernel_is_the_lessons() -> None:
    assert kernels.edge().tolist() == [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]


@pytest.mark.parametrize("axis", [0, 1])
def test_gradients_are_those_of_scipy_and_scikit_image(axis: Any) -> None:
    filters = pytest.importorskip("skimage.filters")
    ours = apply_kernel(IMAGE, kernels.sobel(axis))
    np.testing.assert_allclose(ours, ndimage.sobel(IMAGE, axis=axis), atol=1e-12)
    # Scikit-image's smoothing has the sum 1: 1 2 1 is divided by 4, 3 10 3 by 16.
    np.testing.assert_allclose(ours / 4, filters.sobel(IMAGE, axis=axis), atol=1e-12)
    scharr = apply_kernel(IMAGE, kernels.scharr(axis))
    np.testing.assert_allclose(scharr / 16, filters.scharr(IMAGE, axis=axis), atol=1e-12)


def test_the_laplacian_is_scipys_and_minus_scikit_images() -> None:
    filters = pytest.importorskip("skimage.filters")
    ours = apply_kernel(IMAGE, kernels.laplacian())
    np.testing.assert_allclose(ours, ndimage.laplace(IMAGE), atol=1e-12)
    inner = (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(ours[inner], -filters.laplace(IMAGE)[inner], atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_box_blur_is_scipys_uniform_filter(size: int) -> None:
    ours = apply_kernel(IMAGE, kernels.box_blur(size))
    np.testing.assert_allclose(ours, ndimage.uniform_filter(IMAGE, size), atol=1e-7)


@pytest.mark.parametrize(("size", "sigma"), [(3, 0.5), (9, 1.0), (13, 1.5)])
def test_gaussian_blur_is_scipys_and_scikit_images(size: int, sigma: float) -> None:
    filters = pytest.importorskip("skimage.filters")
    ours = apply_kernel(IMAGE, kernels.gaussian_blur(size, sigma), border="nearest")
    radius = (size - 1) // 2
    theirs = ndimage.gaussian_filter(IMAGE, sigma, radius=radius, mode="nearest")
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    skimages = filters.gaussian(IMAGE, sigma, mode="nearest", truncate=radius / sigma)
    np.testing.assert_allclose(ours, skimages, atol=1e-6)


@given(st.integers(1, 15), st.floats(0.1, 9))
def test_blurs_keep_brightness_and_are_symmetric(size: int, sigma: float) -> None:
    for kernel in (kernels.box_blur(size), kernels.gaussian_blur(size, sigma)):
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1].T, atol=1e-7)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_keep_brightness_or_answer_nothing_to_a_flat_image(name: str) -> None:
    flat = np.full((9, 9), 50, "uint8")
    answer = apply_kernel(flat, KERNELS[name]())
    expected = 0 if name.split("_")[0] in ("edge", "sobel", "scharr", "laplacian") else 50
    np.testing.assert_allclose(answer, expected, atol=1e-3)
    assert answer.dtype == "float32"


@pytest.mark.parametrize("kernel_size", [(3, 3), (4, 4), (5, 2)])
def test_correlation_and_convolution_are_scipy_signals(kernel_size: tuple[int, int]) -> None:
    kernel = np.random.default_rng(1).random(kernel_size)
    correlated = apply_kernel(IMAGE, kernel, border="valid")
    np.testing.assert_allclose(correlated, signal.correlate2d(IMAGE, kernel, "valid"))
    convolved = apply_kernel(IMAGE, kernel, convolution=True, border="valid")
    np.testing.assert_allclose(convolved, signal.convolve2d(IMAGE, kernel, "valid"))


@pytest.mark.parametrize(
    ("border", "pad"),
    [("zeros", "constant"), ("nearest", "edge"), ("reflect", "symmetric"),
     ("mirror", "reflect"), ("wrap", "wrap")],
)  # fmt: skip
def test_borders_are_what_numpy_pads(border: Any, pad: Any) -> None:
    kernel = np.random.default_rng(1).random((5, 5))
    padded = np.pad(IMAGE, 2, mode=pad)
    expected = signal.correlate2d(padded, kernel, "valid")
    np.testing.assert_allclose(apply_kernel(IMAGE, kernel, border=border), expected)
    assert border in get_args(kernels.Border)


def test_each_channel_is_seen_by_itself() -> None:
    image = np.random.default_rng(2).integers(0, 256, (9, 8, 3), dtype="uint8")
    answer = apply_kernel(image, kernels.sharpen(), convolution=True, border="valid")
    assert answer.shape == (7, 6, 3)
    for channel in range(3):
        alone = apply_kernel(image[..., channel], kernels.sharpen(), border="valid")
        np.testing.assert_array_equal(answer[..., channel], alone)


def test_a_gradient_is_positive_towards_brightness_by_correlation() -> None:
    ramp = np.outer(np.arange(6.0), np.ones(6))
    assert apply_kernel(ramp, kernels.sobel(axis=0), border="valid").min() == 8
    assert apply_kernel(ramp, kernels.sobel(axis=0), border="valid", convolution=True).max() == -8


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: apply_kernel(IMAGE[0], kernels.edge()), r"image of shape \(31,\)"),
        (lambda: apply_kernel(IMAGE, kernels.edge(), border="odd"), 'Received: border="odd"'),  # type: ignore[arg-type]
        (lambda: apply_kernel(IMAGE[:2], kernels.edge(), border="valid"), "at least as large"),
        (lambda: kernels.box_blur(0), "Received: size=0"),
        (lambda: kernels.gaussian_blur(3, 0.0), r"Received: sigma=0\.0"),
        (lambda: kernels.sobel(2), "Received: axis=2"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_told(call: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()
