"""LeNet's pooling: a window's sum with a trainable coefficient and bias."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fieldsight.core.layers.initializers import FanInUniform


class BaseSubsampling(keras.layers.Layer):
    """A window's sum, times a trainable coefficient, plus a trainable bias, squashed.

    Windows don't overlap; what is left of an axis after the last whole window is dropped.
    Subclasses name their rank.
    """

    rank: int

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        activation: Any = None,
        *,
        coefficient_initializer: Any = None,
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = (pool_size,) * self.rank if isinstance(pool_size, int) else tuple(pool_size)
        if len(sizes) != self.rank or min(sizes) < 1:
            raise ValueError(
                f"pool_size must be a whole number of at least 1, or {self.rank} of them. "
                f"Received: pool_size={pool_size}"
            )
        self.pool_size = sizes
        self.strides = sizes
        self.activation = keras.activations.get(activation)
        self.coefficient_initializer = keras.initializers.get(
            FanInUniform() if coefficient_initializer is None else coefficient_initializer
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make one coefficient and one bias for each channel."""
        channels = input_shape[-1]

        def draw(shape: Sequence[int], dtype: Any) -> Any:
            # A unit has one input for each place of its window, all with one coefficient.
            places = (*self.pool_size, *shape)
            return self.coefficient_initializer(places, dtype)[(0,) * self.rank]

        self.coefficient = self.add_weight(name="coefficient", shape=(channels,), initializer=draw)
        self.bias = self.add_weight(
            name="bias", shape=(channels,), initializer=self.bias_initializer
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Map `(batch, *axes, channels)` to `(batch, *(axes // pool_size), channels)`."""
        # The mean of a window is far quicker than its sum as a depthwise convolution.
        means = ops.average_pool(
            inputs, self.pool_size, self.pool_size, data_format="channels_last"
        )
        coefficient = ops.convert_to_tensor(self.coefficient) * math.prod(self.pool_size)
        return self.activation(means * coefficient + self.bias)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return `(batch, *(axes // pool_size), channels)`."""
        axes = zip(input_shape[1:-1], self.pool_size, strict=True)
        sizes = (None if size is None else size // pool for size, pool in axes)
        return (input_shape[0], *sizes, input_shape[-1])

    def count_connections(self, output_shape: Sequence[int]) -> int:
        """Return the connections of one example: a unit has its window and a bias."""
        return math.prod(output_shape) * (math.prod(self.pool_size) + 1)

    def count_macs(self, output_shape: Sequence[int]) -> int:
        """Return the multiplications of one example: one a unit, by its coefficient."""
        return math.prod(output_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "activation": keras.activations.serialize(self.activation),
            "coefficient_initializer": keras.initializers.serialize(self.coefficient_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="fieldsight")
class Subsampling2D(BaseSubsampling):
    """LeNet's subsampling of maps: a window's sum x coefficient + bias, squashed.

    Two trainable numbers a channel, whatever the size of the window.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition,
        Proceedings of the IEEE 86(11), 1998, section II.B, layers S2 and S4.

    Args:
        pool_size: height and width of a window, or one number for both.
        activation: what squashes the outcome; none by default.
        coefficient_initializer: starting coefficients; by default uniform within
            2.4 / (places of a window), the paper's rule.
        bias_initializer: starting biases.
        **kwargs: what every Keras layer takes (name, dtype, trainable).

    Raises:
        ValueError: if pool_size is not one or two numbers of at least 1.

    Example:
        >>> import numpy as np
        >>> layer = Subsampling2D(2, coefficient_initializer="ones")
        >>> np.asarray(layer(np.ones((1, 4, 4, 6), "float32"))).shape
        (1, 2, 2, 6)
        >>> layer.count_params()
        12
    """

    rank = 2
