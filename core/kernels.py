"""Image kernels with a name, and how to apply them.

Kernels are square `(size, size)` float32 arrays. A network's layers apply theirs by
cross-correlation; so does `apply_kernel`, unless it is asked for true convolution, which turns
the kernel by 180 degrees. The two differ for kernels that aren't symmetric: the gradients of
Sobel and Scharr, and emboss.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from scipy import ndimage

Border = Literal["zeros", "nearest", "reflect", "mirror", "wrap", "valid"]

# What lies beyond the border: our words, and scipy's.
_BORDERS: dict[str, Any] = {
    "zeros": "constant",  # 0 0 | a b c | 0 0
    "nearest": "nearest",  # a a | a b c | c c
    "reflect": "reflect",  # b a | a b c | c b
    "mirror": "mirror",  # c b | a b c | b a
    "wrap": "wrap",  # b c | a b c | a b
    "valid": "constant",  # Nothing: only where the whole kernel lies within.
}


def edge() -> np.ndarray:
    """Return the kernel that subtracts a pixel's eight neighbours from eight times itself.

    Example:
        >>> edge().astype(int).tolist()
        [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
    """
    return _kernel([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])


def sharpen() -> np.ndarray:
    """Return the kernel that adds to a pixel its difference from its four neighbours.

    Example:
        >>> float(sharpen().sum())
        1.0
    """
    return _kernel([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])


def emboss() -> np.ndarray:
    """Return the kernel that lights a picture from its upper left.

    Example:
        >>> float(emboss().sum())
        1.0
    """
    return _kernel([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def laplacian() -> np.ndarray:
    """Return the second derivative: four neighbours less four times the pixel.

    Scikit-image's `laplace` has the opposite sign.

    Example:
        >>> laplacian().astype(int).tolist()
        [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    """
    return _kernel([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


def sobel(axis: Literal[0, 1] = 0) -> np.ndarray:
    """Return Sobel's derivative: a difference along one axis, smoothed by 1 2 1 along the other.

    Args:
        axis: 0 for the rows (answers horizontal edges), 1 for the columns (vertical ones). By
            correlation it is positive where the picture grows brighter along that axis.

    Example:
        >>> sobel(axis=1).astype(int).tolist()
        [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    """
    return _gradient([1, 2, 1], axis)


def scharr(axis: Literal[0, 1] = 0) -> np.ndarray:
    """Return Scharr's derivative: as Sobel's, smoothed by 3 10 3, nearer to rotation-invariant.

    Args:
        axis: 0 for the rows, 1 for the columns.

    Example:
        >>> scharr(axis=1).astype(int).tolist()
        [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]
    """
    return _gradient([3, 10, 3], axis)


def box_blur(size: int = 3) -> np.ndarray:
    """Return the mean of a square of pixels.

    Args:
        size: pixels a side, at least 1. An even square reaches further up and left.

    Example:
        >>> box_blur(2).tolist()
        [[0.25, 0.25], [0.25, 0.25]]
    """
    _check_size(size)
    return np.full((size, size), 1 / size**2, "float32")


def gaussian_blur(size: int = 5, sigma: float | None = None) -> np.ndarray:
    """Return a Gaussian's values at the pixels of a square, of sum 1.

    Args:
        size: pixels a side, at least 1.
        sigma: standard deviation in pixels; by default size / 6, so that three of them fit on
            each side.

    Example:
        >>> (100 * gaussian_blur(3, sigma=1.0)).round().astype(int).tolist()
        [[8, 12, 8], [12, 20, 12], [8, 12, 8]]
    """
    _check_size(size)
    sigma = size / 6 if sigma is None else sigma
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0. Received: sigma={sigma}")
    places = np.arange(size) - (size - 1) / 2
    line = np.exp(-0.5 * (places / sigma) ** 2)
    line /= line.sum()
    return _kernel(np.outer(line, line))


def _kernel(values: object) -> np.ndarray:
    return np.array(values, "float32")


def _gradient(smoothing: list[int], axis: int) -> np.ndarray:
    if axis not in (0, 1):
        raise ValueError(f"axis must be 0 (rows) or 1 (columns). Received: axis={axis}")
    along_columns = np.outer(smoothing, [-1, 0, 1])
    return _kernel(along_columns if axis == 1 else along_columns.T)


def _check_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel. Received: size={size}")


KERNELS: Mapping[str, Callable[[], np.ndarray]] = MappingProxyType(
    {
        "edge": edge,
        "sharpen": sharpen,
        "box_blur": box_blur,
        "gaussian_blur": gaussian_blur,
        "emboss": emboss,
        "sobel_rows": sobel,
        "sobel_columns": lambda: sobel(axis=1),
        "scharr_rows": scharr,
        "scharr_columns": lambda: scharr(axis=1),
        "laplacian": laplacian,
    }
)
"""The kernels by name, each with its usual size."""


def apply_kernel(
    image: np.ndarray,
    kernel: np.ndarray,
    *,
    convolution: bool = False,
    border: Border = "reflect",
) -> np.ndarray:
    """Put a kernel on every pixel of an image, each channel by itself.

    Args:
        image: `(rows, columns)` or `(rows, columns, channels)`, any range and number type.
        kernel: `(height, width)`. The middle of an even side is the pixel after the half.
        convolution: turn the kernel by 180 degrees first, as convolution is defined.
        border: what lies beyond the border: "zeros", "nearest" (the edge repeated), "reflect"
            (b a | a b), "mirror" (c b | a b c), "wrap", or "valid": only pixels whose whole
            window lies within are returned.

    Returns:
        float32 (float64 for a float64 image) of the image's shape, or smaller by kernel - 1
        for "valid"; neither rounded nor clipped.

    Raises:
        ValueError: if the shapes or the border are of another kind, or the kernel is larger
            than a "valid" image.

    Example:
        >>> flat = np.full((4, 4), 9, "uint8")
        >>> float(apply_kernel(flat, edge()).max())
        0.0
        >>> ramp = np.arange(4.0) * np.ones((4, 1))
        >>> apply_kernel(ramp, sobel(axis=1), border="valid").tolist()
        [[8.0, 8.0], [8.0, 8.0]]
    """
    image, kernel = np.asarray(image), np.asarray(kernel)
    if image.ndim not in (2, 3) or kernel.ndim != 2:
        raise ValueError(
            "an image needs 2 axes, or 3 with channels last, and a kernel 2. Received: image of "
            f"shape {image.shape}, kernel of shape {kernel.shape}"
        )
    if border not in _BORDERS:
        raise ValueError(
            f'border must be one of {", ".join(_BORDERS)}. Received: border="{border}"'
        )
    dtype = "float64" if image.dtype == "float64" else "float32"
    full = kernel if image.ndim == 2 else kernel[:, :, np.newaxis]
    flipped = full[::-1, ::-1] if convolution else full
    # Turned here, not by ndimage.convolve, which also shifts kernels of an even side.
    answer = ndimage.correlate(image.astype(dtype), flipped.astype(dtype), mode=_BORDERS[border])
    return _inner(answer, kernel.shape) if border == "valid" else answer


def _inner(answer: np.ndarray, kernel_size: tuple[int, ...]) -> np.ndarray:
    if any(side < size for side, size in zip(answer.shape, kernel_size, strict=False)):
        raise ValueError(
            'the image must be at least as large as the kernel for border="valid". Received: '
            f"image of {answer.shape[:2]}, kernel of {kernel_size}"
        )
    rows, columns = (
        slice(size // 2, side - (size - 1 - size // 2))
        for side, size in zip(answer.shape, kernel_size, strict=False)
    )
    return answer[rows, columns]
