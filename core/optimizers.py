"""Optimizers that Keras lacks."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
import numpy as np  # noqa: F401  for the example
from keras import ops


@keras.saving.register_keras_serializable(package="fieldsight")
class Muon(keras.optimizers.Muon):
    """Keras's Muon, which leaves convolutions to AdamW, for their kernels too.

    A step's momentum is brought near the orthogonal matrix that is closest to it, so that a kernel
    moves in all its directions alike and not along the few that the gradient is large in. A kernel
    `(*window, inputs, outputs)` is a matrix of `window * inputs` rows. AdamW's are biases, what
    normalisations learn and all else that makes a single row or column, depthwise kernels among
    them; and the layers that `exclude_layers` names, as a network's last ones should be, and layers
    that are locally connected, whose places aren't one matrix. Steps have the size of AdamW's (Liu
    et al., below), yet rates of 0.01 to 0.03 suit a network with batch normalisation.

    Reference:
        Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024 (convolutions
        by flattening their last three axes); Liu et al., Muon is scalable for LLM training, 2025,
        equation 4 (the step's size).

    Args:
        learning_rate: a number or a schedule; of AdamW's part too, times `adam_lr_ratio`.
        **options: as `keras.optimizers.Muon` has them; `exclude_layers` are expressions that are
            searched for in the paths of variables, such as `"logits/"`.

    Example:
        The kernel of 3 by 3 places, 2 inputs and 4 outputs takes a step of 0.2 * sqrt(18) times
        the rate in each of its 4 directions, or nearly:

        >>> kernel = keras.Variable(np.zeros((3, 3, 2, 4), "float32"))
        >>> optimizer = Muon(1.0, weight_decay=0.0)
        >>> optimizer.build([kernel])
        >>> rng = np.random.default_rng(0)
        >>> optimizer.apply([rng.normal(size=kernel.shape).astype("float32")])
        >>> step = np.linalg.svd(np.reshape(ops.convert_to_numpy(kernel), (18, 4)))[1]
        >>> bool(np.all(np.abs(step / (0.2 * 18**0.5) - 1) < 0.35))
        True
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        last = any(re.search(layer, variable.path) for layer in self.exclude_layers)
        is_embedding = self.exclude_embeddings and "embedding" in variable.path.lower()
        return len(variable.shape) < 2 or min(_matrix(variable.shape)) < 2 or is_embedding or last

    def lr_adjust(self, x: Any) -> Any:
        """A step of a kernel's shape, by how large its matrix is."""
        if self.rms_rate is None:
            return x
        return x * (math.sqrt(max(_matrix(x.shape))) * self.rms_rate)

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """What is near the orthogonal matrix closest to a kernel-shaped momentum."""
        # In float32, for the sum of its squares is beyond float16.
        matrix = ops.cast(ops.reshape(x, _matrix(x.shape)), "float32")
        matrix = super().zeropower_via_newtonschulz5(matrix, steps)
        return ops.cast(ops.reshape(matrix, x.shape), x.dtype)


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    return math.prod(shape[:-1]), shape[-1]
