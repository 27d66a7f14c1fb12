"""What every score asks of its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def finite(name: str, values: ArrayLike, ndim: int | None = None) -> NDArray[np.float64]:
    """`values` as float64, refused if one is NaN or infinite or there are other axes."""
    array = np.asarray(values, np.float64)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes. Received: shape {array.shape}.")
    wrong = np.count_nonzero(~np.isfinite(array))
    if wrong:
        raise ValueError(
            f"{name} must be finite numbers. Received: {wrong} of {array.size} NaN or infinite. "
            "Find where they arise, or leave these cases out."
        )
    return array


def probabilities(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """`values` as float64, refused beyond 0 and 1."""
    array = finite(name, values)
    if array.size and (array.min() < 0 or array.max() > 1):
        raise ValueError(
            f"{name} must lie between 0 and 1. Received: {array.min():g} to {array.max():g}. "
            "Logits need a sigmoid or a softmax first."
        )
    return array


def binary(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    """`values` as bool, refused if one is neither 0 nor 1."""
    array = np.asarray(values)
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        other = array[~np.isin(array, (0, 1))].ravel()[0]
        raise ValueError(f"{name} must be 0 or 1. Received: {other}.")
    return array.astype(bool)


def classes(name: str, values: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """`values` as integers from 0 to `num_classes`, exclusive."""
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(array.shape, np.int64)
    if not np.issubdtype(array.dtype, np.integer) and array.dtype != bool:
        raise ValueError(f"{name} must be integers. Received: {array.dtype}.")
    if array.min() < 0 or array.max() >= num_classes:
        raise ValueError(
            f"{name} must lie from 0 to {num_classes - 1}, for there are {num_classes} classes. "
            f"Received: {array.min()} to {array.max()}."
        )
    return array.astype(np.int64)


def alike(**arrays: Array) -> None:
    """Refuse arrays that aren't all of one shape."""
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{' and '.join(arrays)} must have one shape. Received: {shapes}.")


def as_many(**lists: Sequence[Any] | None) -> None:
    """Refuse lists, one entry an image, that aren't all as long; None is left out."""
    lengths = {name: len(entries) for name, entries in lists.items() if entries is not None}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"one entry an image is needed in each list. Received: {said}.")


def rows(name: str, values: ArrayLike, width: int | None) -> NDArray[np.float64]:
    """`values` as `(n, width)` float64; an empty list is no row. Any width where it is None."""
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return np.zeros((0, width or (array.shape[1] if array.ndim == 2 else 0)))
    array = finite(name, array)
    if array.ndim != 2 or width not in (None, array.shape[1]):
        raise ValueError(f"{name} must be (n, {width or 'axes'}). Received: shape {array.shape}.")
    return array


def column(name: str, values: ArrayLike, length: int) -> NDArray[np.float64]:
    """`values` as `(length,)` float64."""
    array = finite(name, values)
    if array.size == 0 and length == 0:
        return np.zeros(0)
    if array.shape != (length,):
        raise ValueError(f"{name} must be ({length},). Received: shape {array.shape}.")
    return array
