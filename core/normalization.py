"""Batch normalisation that trains in one pass over its maps, where TensorFlow has such a kernel.

Keras writes it out on TensorFlow: mean, squared differences, their mean, a product and a sum, each
a pass over all maps, in float32 whatever they are, and three times as many passes back. The fused
kernel reads them once each way, in the type they have (docs/measurements.md).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

_TYPES = ("float32", "bfloat16", "float16")
_LEAST = 1e-5  # epsilon that every device's kernel takes


@contextlib.contextmanager
def fused_normalization(model: keras.Model) -> Iterator[None]:
    """Let a model's batch normalisations compute by TensorFlow's fused kernel while they train.

    What they compute, hold and are saved as stays: variables, running statistics (of the variance
    with n and not n - 1 below, as Keras has it) and classes are Keras's own, and after the block
    so is the computation. A function that Keras traced before the block, or in it, stays what it
    was: compile the model anew to go back. On other backends nothing changes.

    Layers that are masked, synchronised, renormalised, of another axis than the last, or with an
    epsilon below 1e-5 compute as ever.

    Reference:
        Ioffe, Szegedy, Batch normalization, ICML 2015, algorithm 1.

    Args:
        model: of pictures or volumes, layers of models in it included.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.BatchNormalization()])
        >>> model.compile("adam", "mse")
        >>> with fused_normalization(model):
        ...     _ = model.fit(np.ones((4, 8, 8, 3)), np.zeros((4, 8, 8, 3)), verbose=0)
    """
    has_kernel = keras.backend.backend() == "tensorflow"
    found = [
        layer
        for layer in model._flatten_layers(include_self=True, recursive=True)
        if has_kernel and type(layer) is keras.layers.BatchNormalization
    ]
    for layer in found:
        layer.__class__ = _Fused
    try:
        yield
    finally:
        for layer in found:
            layer.__class__ = keras.layers.BatchNormalization


class _Fused(keras.layers.BatchNormalization):
    """Keras's layer for as long as it trains; made by giving one another class."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise `(batch, *axes, channels)` by the batch's own statistics, and remember them."""
        if not (training and self.trainable and mask is None and self._fits(inputs)):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        shape, channels = tf.shape(inputs), inputs.shape[-1]
        count = tf.cast(tf.reduce_prod(shape[:-1]), "float32")
        # The kernel takes pictures; a volume is one whose planes stand below one another.
        maps = tf.reshape(inputs, tf.stack([shape[0], -1, shape[-2], channels]))
        normal, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=maps,
            scale=tf.cast(self.gamma, "float32") if self.scale else tf.ones(channels),
            offset=tf.cast(self.beta, "float32") if self.center else tf.zeros(channels),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            is_training=True,
        )
        variance *= (count - 1) / count  # the kernel's is for a sample's population
        for kept, seen in ((self.moving_mean, mean), (self.moving_variance, variance)):
            kept.assign(kept * self.momentum + seen * (1 - self.momentum))
        return tf.ensure_shape(tf.reshape(normal, shape), inputs.shape)

    def _fits(self, inputs: Any) -> bool:
        return (
            len(inputs.shape) in (4, 5)
            and self.axis in (-1, len(inputs.shape) - 1)
            and inputs.dtype.name == self.compute_dtype
            and self.compute_dtype in _TYPES
            and self.variable_dtype == "float32"
            and self.epsilon >= _LEAST
            and not (self.synchronized or self.renorm)
        )
