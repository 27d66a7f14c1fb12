"""Noisy-or with a leak: the chance that one candidate at least is real."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np  # noqa: F401  for the examples
from keras import ops

# The logit of a candidate that isn't there: its probability is 0, and so is its gradient.
PADDED = -1e9
_LEAST = -1e-30  # of the logarithm of 1 - P: keeps the loss finite where nothing may cause a yes


def noisy_or(logits: Any, *, leak: Any = 0.0, mask: Any = None) -> Any:
    """The probability of a yes that any candidate may cause, or none of them.

    `P = 1 - (1 - leak) product(1 - p)`, computed by logarithms, so that many small probabilities
    add up and a sure one doesn't lose the gradient. No candidate gives the leak. For a leak that
    is learned, give it as a tensor, or leave it 0 and add its logit to the candidates'.

    Reference:
        Liao et al., Evaluate the malignancy of pulmonary nodules using the 3-D deep leaky
        noisy-or network, IEEE Transactions on Neural Networks and Learning Systems 30(11), 2019;
        Pearl, Probabilistic reasoning in intelligent systems, 1988.

    Args:
        logits: `(n, candidates)`; `PADDED` for one that isn't there.
        leak: probability of a yes that no candidate caused, from 0 to below 1; or a tensor.
        mask: `(n, candidates)` which candidates are there; None for all.

    Returns:
        `(n,)` float32 probabilities.

    Raises:
        ValueError: if the leak is a number that isn't from 0 to below 1.

    Example:
        Two even chances and a third candidate that isn't there: 1 - 0.9 * 0.5 * 0.5.

        >>> P = noisy_or(np.array([[0.0, 0.0, PADDED]]), leak=0.1)
        >>> round(float(P[0]), 4)
        0.775
    """
    return -ops.expm1(_log_none(logits, leak, mask))


def noisy_or_crossentropy(target: Any, logits: Any, *, leak: Any = 0.0, mask: Any = None) -> Any:
    """Cross-entropy of `noisy_or`'s probability against what was true.

    Args:
        target: `(n,)` or `(n, 1)` 0 to 1; below 0 where it isn't known, which costs nothing.
        logits: `(n, candidates)`.
        leak: as `noisy_or`'s.
        mask: as `noisy_or`'s.

    Returns:
        `(n,)` float32; at most 69, where a yes had no possible cause.

    Raises:
        ValueError: as `noisy_or`.

    Example:
        >>> loss = noisy_or_crossentropy(np.array([0.0]), np.array([[0.0, 0.0]]))
        >>> round(float(loss[0]), 4)  # log 4
        1.3863
    """
    none = _log_none(logits, leak, mask)
    true = ops.cast(ops.reshape(target, (-1,)), "float32")
    known = true >= 0
    true = ops.where(known, true, 0.0)
    loss = -true * _log_of_one_less_exp(none) - (1 - true) * none
    return ops.where(known, loss, 0.0)


def _log_none(logits: Any, leak: Any, mask: Any) -> Any:
    """The logarithm of the chance that nothing causes a yes, `(n,)`."""
    if isinstance(leak, int | float):
        if not 0 <= leak < 1:
            raise ValueError(f"leak must be at least 0 and below 1. Received: {leak}.")
        without = math.log1p(-leak)
    else:
        without = ops.log1p(-ops.cast(leak, "float32"))
    # In float32 also where the network computes in half of it: exp and log need the digits.
    logits = ops.cast(logits, "float32")
    if mask is not None:
        logits = ops.where(ops.cast(mask, "bool"), logits, PADDED)
    return without - ops.sum(ops.softplus(logits), axis=-1)


def _log_of_one_less_exp(values: Any) -> Any:
    """log(1 - e^x) for x below 0, without loss of digits at either end.

    Reference:
        Mächler, Accurately computing log(1 - exp(-|a|)), 2012.
    """
    values = ops.minimum(values, _LEAST)
    is_near = values > -math.log(2)
    # What isn't used of either must be harmless: its gradient is computed all the same.
    near = ops.log(-ops.expm1(ops.where(is_near, values, -1.0)))
    far = ops.log1p(-ops.exp(ops.where(is_near, -1.0, values)))
    return ops.where(is_near, near, far)


@keras.saving.register_keras_serializable(package="fieldsight")
class NoisyOrCrossentropy(keras.losses.Loss):
    """`noisy_or_crossentropy` as a Keras loss; candidates that aren't there have logit `PADDED`.

    Args:
        leak: probability of a yes that no candidate caused, from 0 to below 1.
        reduction: Keras's, over the batch.
        name: the loss's.

    Raises:
        ValueError: if the leak isn't from 0 to below 1.

    Example:
        No candidate and a leak of 1/2: log 2.

        >>> loss = NoisyOrCrossentropy(leak=0.5)
        >>> round(float(loss(np.array([1.0]), np.array([[PADDED]]))), 4)
        0.6931
    """

    def __init__(
        self,
        leak: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "noisy_or_crossentropy",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        if not 0 <= leak < 1:
            raise ValueError(f"leak must be at least 0 and below 1. Received: {leak}.")
        self.leak = leak

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each example.

        Args:
            y_true: `(n,)` or `(n, 1)` 0 to 1, below 0 where unknown.
            y_pred: `(n, candidates)` logits.

        Returns:
            `(n,)`.
        """
        return noisy_or_crossentropy(y_true, y_pred, leak=self.leak)

    def get_config(self) -> dict[str, object]:
        """What `from_config` needs."""
        return {**super().get_config(), "leak": self.leak}
