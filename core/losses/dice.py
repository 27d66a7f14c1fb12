"""Soft Dice: overlap as a loss, for masks of which most is background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np  # noqa: F401  for the examples
from keras import ops

from fieldsight.core.losses import _tensors


def soft_dice(
    target: Any,
    logits: Any,
    *,
    mask: Any = None,
    class_weights: Sequence[float] | None = None,
    exclusive: bool = False,
    smoothing: float = 1.0,
) -> Any:
    """One less the soft Dice overlap of each example, averaged over its classes.

    `1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s)`. Where a class is neither in the mask nor
    foretold the loss is 0, and where it isn't in the mask it falls with what is foretold: the
    smoothing s decides both, so it must be above 0.

    Reference:
        Milletari, Navab, Ahmadi, V-Net, 3DV 2016, section 3. Differs in that the divisor sums
        probabilities, not their squares, and in the smoothing.

    Args:
        target: `(n, *places, classes)` 0 to 1; below 0 where an element isn't to count.
        logits: the same shape.
        mask: what counts, true or 1, and what doesn't; of a shape that broadcasts, such as
            `(n, *places, 1)`. None where all does.
        class_weights: of the mean over classes, one each; None for equal ones.
        exclusive: whether one class alone is true at a place (softmax), or each by itself
            (sigmoid).
        smoothing: in places.

    Returns:
        `(n,)` float32.

    Raises:
        ValueError: if the shapes differ, or there isn't one weight a class.

    Example:
        Two places, one true, both undecided: 1 - (2 * 0.5 + 1) / (1 + 1 + 1).

        >>> loss = soft_dice(np.array([[[1.0], [0.0]]]), np.zeros((1, 2, 1)))
        >>> round(float(loss[0]), 4)
        0.3333
    """
    target, logits, counts = _tensors.held(target, logits, mask)
    places = tuple(range(1, len(logits.shape) - 1))
    chances = ops.softmax(logits, axis=-1) if exclusive else ops.sigmoid(logits)
    chances = ops.where(counts, chances, 0.0)
    shared = ops.sum(chances * target, axis=places)
    whole = ops.sum(chances, axis=places) + ops.sum(target, axis=places)
    losses = 1 - (2 * shared + smoothing) / (whole + smoothing)
    if class_weights is None:
        return ops.mean(losses, axis=-1)
    if len(class_weights) != losses.shape[-1]:
        raise ValueError(
            f"class_weights must be one a class, of {losses.shape[-1]}. "
            f"Received: {len(class_weights)}."
        )
    shares = [weight / sum(class_weights) for weight in class_weights]
    return ops.sum(losses * ops.convert_to_tensor(shares, "float32"), axis=-1)


@keras.saving.register_keras_serializable(package="fieldsight")
class SoftDice(keras.losses.Loss):
    """`soft_dice` of each example, as a Keras loss; a target below 0 is ignored.

    Args:
        class_weights: as `soft_dice`'s.
        exclusive: as `soft_dice`'s.
        smoothing: as `soft_dice`'s.
        reduction: Keras's, over the batch.
        name: the loss's.

    Raises:
        ValueError: if the smoothing isn't above 0, or a weight is negative or all are 0.

    Example:
        >>> empty = np.zeros((1, 4, 4, 1))
        >>> round(float(SoftDice()(empty, empty - 100)), 4)
        0.0
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        exclusive: bool = False,
        smoothing: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "soft_dice",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        if not smoothing > 0:
            raise ValueError(f"smoothing must be above 0. Received: {smoothing}.")
        weights = None if class_weights is None else [float(weight) for weight in class_weights]
        if weights is not None and (min(weights, default=-1.0) < 0 or sum(weights) == 0):
            raise ValueError(
                f"class_weights must be at least 0, one of them above. Received: {weights}."
            )
        self.class_weights = weights
        self.exclusive = exclusive
        self.smoothing = smoothing

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each example.

        Args:
            y_true: `(n, *places, classes)` 0 to 1, below 0 where ignored.
            y_pred: `(n, *places, classes)` logits.

        Returns:
            `(n,)`.
        """
        return soft_dice(
            y_true, y_pred, class_weights=self.class_weights, exclusive=self.exclusive,
            smoothing=self.smoothing,
        )  # fmt: skip

    def get_config(self) -> dict[str, object]:
        """What `from_config` needs."""
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "exclusive": self.exclusive,
            "smoothing": self.smoothing,
        }
