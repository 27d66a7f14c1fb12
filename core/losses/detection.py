"""The loss of a detector of centres."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np  # noqa: F401  for the example
from keras import ops

from fieldsight.core.losses import _tensors
from fieldsight.core.losses.focal import heat_map_focal


@keras.saving.register_keras_serializable(package="fieldsight")
class DetectionLoss(keras.losses.Loss):
    """Focal loss of the heat, and at each centre the distance of size and offset.

    For `core.architectures.detector`, against the targets of `core.detection.encode`. The heat's
    part is divided by the objects of the batch, so that a picture without any counts as it
    should; the distances, where the target weighs them, by all their weights.

    Reference:
        Zhou, Wang, Krähenbühl, Objects as points, 2019, equations 1 to 4. Differs in that sizes
        are logarithms, so that a small object's error weighs as a large one's, and weigh as
        much as offsets.

    Args:
        num_classes: of the detector.
        size_weight: of the mean absolute error of the sizes' logarithms.
        offset_weight: of the mean absolute error of the offsets, in strides.
        hard_negatives: how many empty places of each example count, the hardest; None for all.
        reduction: Keras's, over the batch.
        name: the loss's.

    Raises:
        ValueError: if the channels aren't a detector's and its target's, or hard_negatives is
            below 1.

    Example:
        One place with an object, of which nothing is known: (1/2)^2 log 2, no error besides.

        >>> target = np.zeros((1, 1, 1, 6), "float32")
        >>> target[..., 0] = target[..., -1] = 1
        >>> round(float(DetectionLoss()(target, np.zeros((1, 1, 1, 5), "float32"))), 4)
        0.1733
    """

    def __init__(
        self,
        num_classes: int = 1,
        *,
        size_weight: float = 1.0,
        offset_weight: float = 1.0,
        hard_negatives: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "detection",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        _tensors.refuse_settings("batch_positive", hard_negatives)
        self.num_classes = num_classes
        self.size_weight = size_weight
        self.offset_weight = offset_weight
        self.hard_negatives = hard_negatives

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each example.

        Args:
            y_true: `(n, *places, num_classes + 2 * rank + 1)`, of `encode`.
            y_pred: `(n, *places, num_classes + 2 * rank)`, the detector's answer.

        Returns:
            `(n,)`.
        """
        classes, rank = self.num_classes, len(y_pred.shape) - 2
        wanted = classes + 2 * rank
        if (y_true.shape[-1], y_pred.shape[-1]) != (wanted + 1, wanted):
            raise ValueError(
                f"a target of {wanted + 1} channels and an answer of {wanted} are needed for "
                f"{classes} classes and {rank} axes. Received: {y_true.shape[-1]} and "
                f"{y_pred.shape[-1]}"
            )
        heat = heat_map_focal(
            y_true[..., :classes],
            y_pred[..., :classes],
            hard_negatives=self.hard_negatives,
            per="batch_positive",
        )
        weight = ops.cast(y_true[..., -1:], "float32")
        apart = ops.abs(
            ops.cast(y_true[..., classes:-1], "float32")
            - ops.cast(y_pred[..., classes:], "float32")
        )
        apart = _tensors.flat(apart * weight * self._weights(rank))
        count, total = ops.cast(ops.shape(apart)[0], "float32"), ops.sum(weight)
        return heat + ops.sum(apart, axis=1) * count / ops.maximum(total, 1.0)

    def _weights(self, rank: int) -> Any:
        """Of sizes and offsets, of which each is a mean over the axes."""
        weights = [self.size_weight / rank] * rank + [self.offset_weight / rank] * rank
        return ops.convert_to_tensor(weights, "float32")

    def get_config(self) -> dict[str, object]:
        """What `from_config` needs."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "size_weight": self.size_weight,
            "offset_weight": self.offset_weight,
            "hard_negatives": self.hard_negatives,
        }
