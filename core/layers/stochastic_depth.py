"""Residual branches that are left out at random while training."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="fieldsight")
class StochasticDepth(keras.layers.Layer):
    """Zero a whole example with a probability, in training; else let it through.

    Stands at the end of a residual branch, before the sum. What survives is divided by
    1 - rate, so that nothing is left to do afterwards; the paper multiplies by 1 - rate when
    it predicts instead, which has the same mean. It also drops a branch for the whole batch at
    once, where here each example has its own chance.

    Reference:
        Huang et al., Deep networks with stochastic depth, ECCV 2016, section 3.

    Args:
        rate: the probability with which an example is zeroed, from 0 to below 1.
        seed: makes the numbers the same in each run; without it, they differ.
        **kwargs: what every Keras layer takes (name, dtype).

    Raises:
        ValueError: if rate isn't from 0 to below 1.

    Example:
        >>> layer = StochasticDepth(0.5, seed=0)
        >>> ones = keras.ops.ones((1000, 2))
        >>> sorted({float(x) for x in keras.ops.reshape(layer(ones, training=True), -1)})
        [0.0, 2.0]
        >>> float(keras.ops.min(layer(ones)))
        1.0
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be from 0 to below 1. Received: rate={rate}")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Map `(batch, ...)` to the same shape."""
        if not training or not self.rate:
            return inputs
        each = (ops.shape(inputs)[0], *(1,) * (len(inputs.shape) - 1))
        survives = keras.random.uniform(each, seed=self.seed_generator) >= self.rate
        return inputs * (ops.cast(survives, inputs.dtype) / (1 - self.rate))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
