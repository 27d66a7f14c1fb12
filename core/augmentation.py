"""Random geometric distortions of a batch of pictures, all pictures of it at once.

Distorting one picture at a time in Python is what slows most input pipelines down. Here the
sampling grid of the whole batch is one matrix product and each of the four bilinear taps is one
gather, so that a processor core distorts tens of thousands of small pictures a second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Pictures warped together: small ones stay in a processor's cache, and their temporary arrays
# below the size for which the C library would ask the system for pages each time.
AT_ONCE = 128


def affine_matrices(
    count: int,
    rng: np.random.Generator,
    *,
    shift_pixels: float = 0.0,
    rotation_degrees: float = 0.0,
    shear_degrees: float = 0.0,
    scale: float = 0.0,
) -> NDArray[np.float32]:
    """Random affine maps about the centre of a picture, from output to input coordinates.

    Args:
        count: number of maps.
        rng: the source of randomness; the same state gives the same maps.
        shift_pixels: largest shift along each axis, in pixels.
        rotation_degrees: largest rotation either way.
        shear_degrees: largest shear either way.
        scale: largest relative change of size; 0.1 is between 1 / 1.1 and 1.1 on each axis.

    Returns:
        `(count, 2, 3)` float32; row 0 gives the input's row, row 1 its column, from
        (row, column, 1) relative to the centre.

    Example:
        >>> affine_matrices(1, np.random.default_rng(0)).tolist()
        [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """
    draw = rng.uniform(-1.0, 1.0, size=(6, count)).astype(np.float32)
    angle = np.deg2rad(rotation_degrees) * draw[0]
    shear = np.tan(np.deg2rad(shear_degrees) * draw[1])
    # Symmetric in the logarithm: to grow and to shrink are equally likely.
    scale_row, scale_column = np.exp(np.log1p(scale) * draw[2:4])
    cos, sin = np.cos(angle), np.sin(angle)
    matrices = np.empty((count, 2, 3), np.float32)
    matrices[:, 0, 0] = cos * scale_row
    matrices[:, 0, 1] = 0.0 - sin * scale_column  # and not -0.0
    matrices[:, 1, 0] = (sin + cos * shear) * scale_row
    matrices[:, 1, 1] = (cos - sin * shear) * scale_column
    matrices[:, 0, 2] = shift_pixels * draw[4]
    matrices[:, 1, 2] = shift_pixels * draw[5]
    return matrices


def warp(
    images: NDArray[np.uint8],
    matrices: NDArray[np.float32],
    displacement: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Resample each picture of a batch through its own affine map, bilinearly.

    What lies outside a picture is zero.

    Args:
        images: `(n, height, width)` uint8.
        matrices: `(n, 2, 3)` as `affine_matrices` gives them.
        displacement: `(n, 2, height, width)` pixels (row, column) added to the sampled
            position, for elastic distortion.

    Returns:
        `(n, height, width)` uint8.

    Raises:
        ValueError: if the shapes don't fit.

    Example:
        A shift of the sampling position by one row moves the picture up by one row.

        >>> image = np.zeros((1, 3, 3), np.uint8)
        >>> image[0, 1, 1] = 200
        >>> up = np.array([[[1, 0, 1], [0, 1, 0]]], np.float32)
        >>> warp(image, up)[0].tolist()
        [[0, 200, 0], [0, 0, 0], [0, 0, 0]]
    """
    if images.ndim != 3 or matrices.shape != (len(images), 2, 3):
        raise ValueError(
            "images must be (n, height, width) and matrices (n, 2, 3). "
            f"Received: images {images.shape}, matrices {matrices.shape}."
        )
    if len(images) > AT_ONCE:
        parts = range(0, len(images), AT_ONCE)
        fields = [None if displacement is None else displacement[i : i + AT_ONCE] for i in parts]
        pairs = zip(parts, fields, strict=True)
        return np.concatenate(
            [warp(images[i : i + AT_ONCE], matrices[i : i + AT_ONCE], field) for i, field in pairs]
        )
    count, height, width = images.shape
    centre = np.array([(height - 1) / 2, (width - 1) / 2], np.float32)
    rows, columns = np.indices((height, width), np.float32).reshape(2, -1) - centre[:, None]
    grid = np.stack([rows, columns, np.ones_like(rows)])
    position = matrices @ grid + centre[:, None]
    if displacement is not None:
        position += displacement.reshape(count, 2, -1)
    # A border of one zero, and positions clipped into it: outside needs no mask of its own.
    padded = np.zeros((count, height + 2, width + 2), np.uint8)
    padded[:, 1:-1, 1:-1] = images
    position += 1.0
    np.clip(position[:, 0], 0.0, height + 0.999, out=position[:, 0])
    np.clip(position[:, 1], 0.0, width + 0.999, out=position[:, 1])
    corner = position.astype(np.int32)
    position -= corner
    stride = width + 2
    index = corner[:, 0] * stride + corner[:, 1]
    index += (np.arange(count, dtype=np.int32) * (stride * (height + 2)))[:, None]
    flat = padded.reshape(-1)
    down, right = position[:, 0], position[:, 1]
    upper = flat.take(index).astype(np.float32)
    upper += right * (flat.take(index + 1) - upper)
    lower = flat.take(index + stride).astype(np.float32)
    lower += right * (flat.take(index + stride + 1) - lower)
    upper += down * (lower - upper)
    return np.rint(upper).astype(np.uint8).reshape(images.shape)


def elastic_displacement(
    shape: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    strength_pixels: float,
    smoothness_pixels: float,
) -> NDArray[np.float32]:
    """Smooth random displacement fields, as for handwriting.

    Reference:
        Simard, Steinkraus, Platt, Best practices for convolutional neural networks applied to
        visual document analysis, ICDAR 2003. Differs in that the field is scaled to a root mean
        square in pixels, whatever its smoothness.

    Args:
        shape: `(n, height, width)` of the batch.
        rng: the source of randomness.
        strength_pixels: root mean square displacement along each axis.
        smoothness_pixels: standard deviation of the Gaussian that smooths the noise.

    Returns:
        `(n, 2, height, width)` float32 pixels.
    """
    count, height, width = shape
    noise = rng.standard_normal((count, 2, height, width), np.float32)
    sigma = (0, 0, smoothness_pixels, smoothness_pixels)
    field = ndimage.gaussian_filter(noise, sigma, mode="wrap", truncate=3)
    field *= strength_pixels / np.sqrt(np.mean(field**2, axis=(1, 2, 3), keepdims=True))
    return np.asarray(field, np.float32)
