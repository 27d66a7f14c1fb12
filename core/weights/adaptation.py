"""Kernels that learned from colour pictures, for other channels and for volumes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def adapt_channels(kernel: NDArray[Any], channels: int) -> NDArray[Any]:
    """A first convolution's kernel for another number of channels.

    The kernel's channels are dealt out in turn, and channels that get the same one share it, so
    that a picture of equal channels answers as it did. Fewer channels than the kernel has, one
    band of radar or two of it, get the sum of all, in equal parts.

    Args:
        kernel: `(*kernel_size, published channels, filters)`.
        channels: how many there shall be.

    Returns:
        `(*kernel_size, channels, filters)` of the kernel's dtype.

    Raises:
        ValueError: if there are no channels.

    Example:
        >>> kernel = np.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1)
        >>> adapt_channels(kernel, 4).ravel().tolist()
        [0.5, 2.0, 4.0, 0.5]
        >>> adapt_channels(kernel, 1).ravel().tolist()
        [7.0]
    """
    if channels < 1:
        raise ValueError(f"a kernel needs at least one channel. Received: channels={channels}")
    published = kernel.shape[-2]
    if channels < published:
        part = kernel.sum(axis=-2, keepdims=True) / channels
        return np.repeat(part, channels, axis=-2).astype(kernel.dtype)
    dealt = np.arange(channels) % published
    sharing = np.bincount(dealt)[dealt]
    return (kernel[..., dealt, :] / sharing[:, None]).astype(kernel.dtype)


def inflate(kernel: NDArray[Any], depth: int) -> NDArray[Any]:
    """A kernel for volumes, of a kernel for pictures: repeated over depth, divided by depth.

    Where a volume is the same in all its planes, the answer is that of the picture (not within
    the padding before the first plane and after the last).

    Reference:
        Carreira, Zisserman, Quo vadis, action recognition?, CVPR 2017, section 2.3.1.

    Args:
        kernel: `(height, width, channels, filters)`.
        depth: of the volumes' kernel.

    Returns:
        `(depth, height, width, channels, filters)` of the kernel's dtype.

    Raises:
        ValueError: if there is no depth.

    Example:
        >>> inflate(np.ones((1, 1, 1, 1)), 4).ravel().tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    if depth < 1:
        raise ValueError(f"a kernel needs a depth of at least one. Received: depth={depth}")
    return np.repeat(kernel[None] / depth, depth, axis=0).astype(kernel.dtype)
