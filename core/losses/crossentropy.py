"""Cross-entropy with smoothed labels and a rubbish class."""

from __future__ import annotations

import keras
import numpy as np  # noqa: F401  for the example
from keras import ops


@keras.saving.register_keras_serializable(package="fieldsight")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits against whole-numbered labels, smoothed and with a rubbish class.

    Reference:
        Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016,
        section 7 (label smoothing); LeCun et al., Gradient-based learning applied to document
        recognition, Proceedings of the IEEE 86(11), 1998, equation 9 (the rubbish class).

    Args:
        label_smoothing: share of each label that is spread over all classes.
        rubbish: the constant distance j of a class that is never right, which pulls the right
            class's distance below it where the others' are far above already; None for no such
            class. For logits that are negative distances, as LeNet-5's.
        name: the loss's.

    Raises:
        ValueError: if the smoothing isn't between 0 and 1.

    Example:
        Two classes at distance 0 from the picture: log 2.

        >>> loss = SmoothedCrossentropy()
        >>> round(float(loss(np.array([1]), np.zeros((1, 2), "float32"))), 4)
        0.6931
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        rubbish: float | None = None,
        name: str = "smoothed_crossentropy",
    ) -> None:
        super().__init__(name=name)
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"label_smoothing must be at least 0 and below 1. Received: {label_smoothing}."
            )
        self.label_smoothing = label_smoothing
        self.rubbish = rubbish

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each example.

        Args:
            y_true: `(n,)` or `(n, 1)` integers.
            y_pred: `(n, classes)` logits.

        Returns:
            `(n,)`.
        """
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        # In float32 also where the network computes in half of it: exp and log need the digits.
        logits = ops.cast(y_pred, "float32")
        scores = logits
        if self.rubbish is not None:
            far = ops.full_like(logits[:, :1], -self.rubbish)
            scores = ops.concatenate([logits, far], axis=-1)
        total = ops.logsumexp(scores, axis=-1)
        right = ops.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
        mean = ops.mean(logits, axis=-1)
        return total - (1 - self.label_smoothing) * right - self.label_smoothing * mean

    def get_config(self) -> dict[str, object]:
        """What `from_config` needs."""
        return {
            "label_smoothing": self.label_smoothing,
            "rubbish": self.rubbish,
            "name": self.name,
        }
