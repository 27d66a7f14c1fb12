"""Normalisation of a unit by its neighbours in other channels, as AlexNet has it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="fieldsight")
class LocalResponseNormalization(keras.layers.Layer):
    """Divide each unit by a power of the squares of the neighbouring channels at its place.

    b = a / (bias + alpha x sum of a^2 over `size` adjacent channels)^beta. It is the SUM, as in
    the paper and in `tf.nn.local_response_normalization`: torch, ONNX and Caffe divide alpha by
    `size`, so that the paper's alpha of 1e-4 is 5e-4 there. Beyond the first and the last
    channel there is nothing to sum. Computed in float32 at least, whatever the policy: the small
    alpha would be lost beside the bias in half precision.

    Reference:
        Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional neural
        networks, NIPS 2012, section 3.3: k is `bias`, n is `size`.

    Args:
        size: adjacent channels in the sum, the unit's own in the middle; odd.
        alpha: weight of the sum.
        beta: the power.
        bias: added to the weighted sum.
        **kwargs: what every Keras layer takes (name, dtype).

    Raises:
        ValueError: if size isn't an odd number of at least 1, or bias isn't positive.

    Example:
        >>> layer = LocalResponseNormalization(size=3, alpha=1.0, beta=1.0, bias=1.0)
        >>> [round(float(x), 4) for x in layer(np.array([[1.0, 2.0, 3.0]], "float32"))[0]]
        [0.1667, 0.1333, 0.2143]
    """

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        bias: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(size, int) or size < 1 or size % 2 == 0:
            raise ValueError(
                "size counts the channels on both sides and the unit's own, so it must be odd and "
                f"at least 1. Received: size={size}"
            )
        if bias <= 0:
            raise ValueError(
                "bias must be positive, or a map of zeros is divided by zero. "
                f"Received: bias={bias}"
            )
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.bias = bias

    def call(self, inputs: Any) -> Any:
        """Map `(batch, *axes, channels)` to the same shape."""
        x = ops.cast(inputs, "float64" if self.compute_dtype == "float64" else "float32")
        channels = x.shape[-1]
        # A product with a band of ones is far quicker than shifted slices or running sums.
        flat = ops.reshape(x, (-1, channels))
        sums = ops.matmul(ops.square(flat), ops.cast(self._band(channels), x.dtype))
        # Positive, so a power is the exponential of a logarithm: `ops.power` takes three times
        # as long.
        scaled = flat * ops.exp(-self.beta * ops.log(self.bias + sums))
        return ops.cast(ops.reshape(scaled, ops.shape(x)), inputs.dtype)

    def _band(self, channels: int) -> np.ndarray:
        """Return `(channels, channels)`: alpha where one channel is a neighbour of the other."""
        numbers = np.arange(channels)
        near = np.abs(numbers[:, None] - numbers) <= self.size // 2
        return near * self.alpha

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {
            **super().get_config(),
            "size": self.size,
            "alpha": self.alpha,
            "beta": self.beta,
            "bias": self.bias,
        }
