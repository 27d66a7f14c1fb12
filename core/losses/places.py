"""Cross-entropy of each place's class, where not every place is labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np  # noqa: F401  for the example
from keras import ops

from fieldsight.core.losses import _tensors


def place_crossentropy(
    target: Any, logits: Any, *, class_weights: Sequence[float] | None = None
) -> Any:
    """Cross-entropy of whole-numbered labels of places, over those that are labelled.

    Every labelled place of the batch weighs alike, whether its picture has many or few of them:
    a picture with three labels says no more than three places do.

    Args:
        target: `(n, *places)` integers from 0; below 0 where a place isn't labelled.
        logits: `(n, *places, classes)` of classes that exclude each other.
        class_weights: one a class, of the mean over places; None for equal ones.

    Returns:
        `(n,)` float32, whose mean is the mean over the batch's labelled places; 0 where there
        is none.

    Raises:
        ValueError: if the shapes don't fit, or there isn't one weight a class.

    Example:
        Four places, two classes, undecided: log 2; the place that isn't labelled says nothing.

        >>> loss = place_crossentropy(np.array([[0, 1, 1, -1]]), np.zeros((1, 4, 2)))
        >>> round(float(loss[0]), 4)
        0.6931
    """
    _tensors.refuse_unlike(tuple(target.shape), tuple(logits.shape[:-1]))
    # In float32 also where the network computes in half of it: exp and log need the digits.
    labels, logits = ops.cast(target, "int32"), ops.cast(logits, "float32")
    counts = labels >= 0
    # Emptied before the loss, so that whatever stands there, NaN too, has no gradient.
    logits = ops.where(ops.expand_dims(counts, -1), logits, 0.0)
    labels = ops.where(counts, labels, 0)
    right = ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1)[..., 0]
    losses = ops.logsumexp(logits, axis=-1) - right
    weights = ops.cast(counts, "float32")
    if class_weights is not None:
        if len(class_weights) != logits.shape[-1]:
            raise ValueError(
                f"class_weights must be one a class, of {logits.shape[-1]}. "
                f"Received: {len(class_weights)}."
            )
        weights = weights * ops.take(ops.convert_to_tensor(class_weights, "float32"), labels)
    sums = ops.sum(_tensors.flat(losses * weights), axis=1)
    # Keras takes the mean over the batch: times its size, that is the mean over all places.
    size = ops.cast(ops.shape(sums)[0], "float32")
    total = ops.sum(weights)
    return sums * size / ops.where(total > 0, total, 1.0)
