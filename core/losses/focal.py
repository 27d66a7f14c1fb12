"""Focal losses: most places are empty and easily said to be so, the few others must be heard."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np  # noqa: F401  for the examples
from keras import ops

from fieldsight.core.losses import _tensors
from fieldsight.core.losses._tensors import Per


def heat_map_focal(
    target: Any,
    logits: Any,
    *,
    mask: Any = None,
    alpha: float = 2.0,
    beta: float = 4.0,
    hard_negatives: int | None = None,
    per: Per = "positive",
) -> Any:
    """Focal loss of centre heat maps, whose negatives weigh less the nearer they are to a centre.

    Where the target is 1: `-(1 - p)^alpha log p`. Elsewhere, for a target Y:
    `-(1 - Y)^beta p^alpha log(1 - p)`.

    Reference:
        Zhou, Wang, Krähenbühl, Objects as points, 2019, equation 1, after Law and Deng,
        CornerNet, ECCV 2018. Their code divides by the centres of the batch, the equation by
        those of the image: see `per`. Hard negatives are after Liao et al., Evaluate the
        malignancy of pulmonary nodules using the 3-D deep leaky noisy-or network, 2019.

    Args:
        target: `(n, *places, classes)` 0 to 1, exactly 1 at centres; below 0 where an element
            isn't to count.
        logits: the same shape.
        mask: what counts, true or 1, and what doesn't; of a shape that broadcasts, such as
            `(n, *places, 1)`. None where all does.
        alpha: how little easy places count.
        beta: how little places near a centre count.
        hard_negatives: how many negatives of each example count, those of the largest loss; None
            for all.
        per: the sum is divided by the example's positives ("positive"), by the batch's, times
            its size ("batch_positive"), or by the elements that count ("element", of negatives
            those kept and above 0); by 1 where there are none.

    Returns:
        `(n,)` float32.

    Raises:
        ValueError: if the shapes differ.

    Example:
        A centre and an empty place, both undecided: (1/2)^2 log 2 twice, for one centre.

        >>> round(float(heat_map_focal(np.array([[1.0, 0.0]]), np.zeros((1, 2)))[0]), 4)
        0.3466
    """
    target, logits, counts = _tensors.held(target, logits, mask)
    is_positive = ops.logical_and(counts, target >= 1)
    is_negative = ops.logical_and(counts, target < 1)
    # log p = -softplus(-x), log(1 - p) = -softplus(x): exact where p is 0 or 1 in float32.
    positive = ops.exp(-alpha * ops.softplus(logits)) * ops.softplus(-logits)
    negative = ops.exp(-alpha * ops.softplus(-logits)) * ops.softplus(logits)
    negative = ops.power(ops.maximum(1 - target, 0.0), beta) * negative
    return _tensors.shared_out(
        ops.where(is_positive, positive, 0.0), ops.where(is_negative, negative, 0.0),
        is_positive, per, hard_negatives,
    )  # fmt: skip


def binary_focal(
    target: Any,
    logits: Any,
    *,
    mask: Any = None,
    alpha: float = 0.25,
    gamma: float = 2.0,
    hard_negatives: int | None = None,
    per: Per = "positive",
) -> Any:
    """Focal loss of yes-or-no questions: `-alpha_t (1 - p_t)^gamma log p_t`.

    Reference:
        Lin et al., Focal loss for dense object detection, ICCV 2017, equation 5; divided by the
        positives, as in its section 4.1.

    Args:
        target: `(n, ...)` 0 or 1; below 0 where an element isn't to count.
        logits: the same shape.
        mask: what counts, as `heat_map_focal`'s.
        alpha: weight of the positives, and 1 - alpha that of the negatives.
        gamma: how little easy elements count; 0 is weighted cross-entropy.
        hard_negatives: as `heat_map_focal`'s.
        per: as `heat_map_focal`'s.

    Returns:
        `(n,)` float32.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> round(float(binary_focal(np.array([[1.0, 0.0]]), np.zeros((1, 2)))[0]), 4)
        0.1733
    """
    target, logits, counts = _tensors.held(target, logits, mask)
    is_positive = ops.logical_and(counts, target >= 0.5)
    is_negative = ops.logical_and(counts, target < 0.5)
    positive = alpha * ops.exp(-gamma * ops.softplus(logits)) * ops.softplus(-logits)
    negative = (1 - alpha) * ops.exp(-gamma * ops.softplus(-logits)) * ops.softplus(logits)
    return _tensors.shared_out(
        ops.where(is_positive, positive, 0.0), ops.where(is_negative, negative, 0.0),
        is_positive, per, hard_negatives,
    )  # fmt: skip


@keras.saving.register_keras_serializable(package="fieldsight")
class HeatMapFocal(keras.losses.Loss):
    """`heat_map_focal` of each example, as a Keras loss; a target below 0 is ignored.

    Args:
        alpha: as `heat_map_focal`'s.
        beta: as `heat_map_focal`'s.
        hard_negatives: as `heat_map_focal`'s.
        per: as `heat_map_focal`'s.
        reduction: Keras's, over the batch.
        name: the loss's.

    Raises:
        ValueError: if `per` is another, or hard_negatives below 1.

    Example:
        >>> ignored = np.array([[1.0, -1.0]])
        >>> round(float(HeatMapFocal()(ignored, np.zeros((1, 2)))), 4)
        0.1733
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 4.0,
        hard_negatives: int | None = None,
        per: Per = "positive",
        reduction: str | None = "sum_over_batch_size",
        name: str = "heat_map_focal",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        _tensors.refuse_settings(per, hard_negatives)
        self.alpha = alpha
        self.beta = beta
        self.hard_negatives = hard_negatives
        self.per: Per = per

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each example.

        Args:
            y_true: `(n, *places, classes)` 0 to 1, below 0 where ignored.
            y_pred: `(n, *places, classes)` logits.

        Returns:
            `(n,)`.
        """
        return heat_map_focal(
            y_true, y_pred, alpha=self.alpha, beta=self.beta,
            hard_negatives=self.hard_negatives, per=self.per,
        )  # fmt: skip

    def get_config(self) -> dict[str, object]:
        """What `from_config` needs."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "hard_negatives": self.hard_negatives,
            "per": self.per,
        }


@keras.saving.register_keras_serializable(package="fieldsight")
class BinaryFocal(keras.losses.Loss):
    """`binary_focal` of each example, as a Keras loss; a target below 0 is ignored.

    Args:
        alpha: as `binary_focal`'s.
        gamma: as `binary_focal`'s.
        hard_negatives: as `binary_focal`'s.
        per: as `binary_focal`'s.
        reduction: Keras's, over the batch.
        name: the loss's.

    Raises:
        ValueError: if `per` is another, or hard_negatives below 1.

    Example:
        >>> loss = BinaryFocal(gamma=0.0, alpha=0.5, per="element")
        >>> round(float(loss(np.array([[1.0, 0.0]]), np.zeros((1, 2)))), 4)
        0.3466
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        hard_negatives: int | None = None,
        per: Per = "positive",
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_focal",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        _tensors.refuse_settings(per, hard_negatives)
        self.alpha = alpha
        self.gamma = gamma
        self.hard_negatives = hard_negatives
        self.per: Per = per

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each example.

        Args:
            y_true: `(n, ...)` 0 or 1, below 0 where ignored.
            y_pred: `(n, ...)` logits.

        Returns:
            `(n,)`.
        """
        return binary_focal(
            y_true, y_pred, alpha=self.alpha, gamma=self.gamma,
            hard_negatives=self.hard_negatives, per=self.per,
        )  # fmt: skip

    def get_config(self) -> dict[str, object]:
        """What `from_config` needs."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "gamma": self.gamma,
            "hard_negatives": self.hard_negatives,
            "per": self.per,
        }
