"""How far counts are off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fieldsight.core.metrics import _checks


@dataclass(frozen=True)
class CountErrors:
    """What counting cost over a set of images.

    Attributes:
        images: how many were counted.
        mae: mean absolute error an image.
        bias: mean of predicted less true an image; below 0 where objects are missed. Errors of
            both signs cancel, so that it says what a total is worth.
        rmse: root of the mean squared error: a few gross errors weigh more.
        true_total: objects there are.
        predicted_total: objects that were counted.
    """

    images: int
    mae: float
    bias: float
    rmse: float
    true_total: float
    predicted_total: float


def count_errors(truth: ArrayLike, predicted: ArrayLike) -> CountErrors | None:
    """Errors of counts, image by image; None without an image.

    Args:
        truth: `(images,)` objects in each.
        predicted: `(images,)` counted in each; an expected count needn't be whole.

    Raises:
        ValueError: if the shapes differ, or a count is negative or not finite.

    Example:
        >>> count_errors([2, 0, 5], [3, 0, 2])
        CountErrors(images=3, mae=1.33..., bias=-0.66..., rmse=1.82..., true_total=7.0, ...)
    """
    true = _checks.finite("truth", truth, ndim=1)
    counted = _checks.finite("predicted", predicted, ndim=1)
    _checks.alike(truth=true, predicted=counted)
    if not len(true):
        return None
    if min(true.min(), counted.min()) < 0:
        raise ValueError(f"counts can't be below 0. Received: {min(true.min(), counted.min()):g}.")
    errors = counted - true
    return CountErrors(
        images=len(true),
        mae=float(np.abs(errors).mean()),
        bias=float(errors.mean()),
        rmse=float(np.sqrt(np.mean(errors**2))),
        true_total=float(true.sum()),
        predicted_total=float(counted.sum()),
    )
