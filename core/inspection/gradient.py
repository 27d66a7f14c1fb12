"""The derivative of a function of one tensor."""

from collections.abc import Callable
from typing import Any

import keras


def gradient(function: Callable[[Any], Any], at: Any) -> Any:
    """Derivative of a scalar function of one tensor; Keras has no function of its own for it.

    Raises:
        NotImplementedError: on a backend other than TensorFlow and JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(at)
            value = function(at)
        return tape.gradient(value, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if backend == "jax":
        import jax

        return jax.grad(function)(at)
    raise NotImplementedError(
        f"Gradients need the TensorFlow or JAX backend. Received: {backend!r}. Set KERAS_BACKEND."
    )
