"""A frozen image kernel as a layer."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fieldsight.core.kernels import KERNELS

# Ours, and those of keras.ops.pad.
_PADDINGS = {"zeros": "constant", "reflect": "symmetric", "mirror": "reflect", "valid": ""}


@keras.saving.register_keras_serializable(package="fieldsight")
class ImageKernel2D(keras.layers.Layer):
    """Apply one fixed kernel to every channel of an image; nothing is trained.

    Args:
        kernel: a name in `fieldsight.core.kernels.KERNELS`, or a `(height, width)` array.
        border: what lies beyond the border: "zeros", "reflect" (b a | a b), "mirror"
            (c b | a b c), or "valid": only where the whole kernel lies within.
        convolution: turn the kernel by 180 degrees, as true convolution does; layers are
            cross-correlations otherwise.
        **kwargs: what every Keras layer takes (name, dtype).

    Raises:
        ValueError: if the kernel or the border is unknown.

    Example:
        >>> layer = ImageKernel2D("edge")
        >>> float(keras.ops.max(layer(np.ones((1, 8, 8, 3), "float32"))[:, 1:-1, 1:-1]))
        0.0
        >>> layer.count_params(), layer.trainable_weights
        (9, [])
    """

    def __init__(
        self,
        kernel: Any = "edge",
        *,
        border: str = "zeros",
        convolution: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(kernel, str) and kernel not in KERNELS:
            raise ValueError(
                f"kernel must be an array or one of {', '.join(KERNELS)}. "
                f'Received: kernel="{kernel}"'
            )
        if border not in _PADDINGS:
            raise ValueError(
                f'border must be one of {", ".join(_PADDINGS)}. Received: border="{border}"'
            )
        self.kernel_name = kernel if isinstance(kernel, str) else None
        named = KERNELS[kernel]() if isinstance(kernel, str) else kernel
        self.values = np.asarray(named, "float32")
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError(f"a kernel needs 2 axes. Received: shape {self.values.shape}")
        self.kernel_size = self.values.shape
        self.border = border
        self.convolution = convolution
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Keep the kernel as a weight that isn't trained, so that it is counted and saved."""
        self.compute_output_shape(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=self.kernel_size,
            initializer=lambda shape, dtype: ops.cast(ops.reshape(self.values, shape), dtype),
            trainable=False,
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Map `(batch, rows, columns, channels)` to the same, smaller for "valid"."""
        if self.border != "valid":
            both = [(size // 2, size - 1 - size // 2) for size in self.kernel_size]
            inputs = ops.pad(inputs, [(0, 0), *both, (0, 0)], mode=_PADDINGS[self.border])
        kernel = ops.convert_to_tensor(self.kernel)
        kernel = ops.flip(kernel, axis=(0, 1)) if self.convolution else kernel
        each = ops.tile(kernel[:, :, None, None], (1, 1, inputs.shape[-1], 1))
        return ops.depthwise_conv(inputs, each, data_format="channels_last")

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the input's shape, smaller by kernel - 1 for "valid"."""
        if self.border != "valid":
            return tuple(input_shape)
        axes = list(zip(input_shape[1:-1], self.kernel_size, strict=True))
        if any(side is not None and side < size for side, size in axes):
            raise ValueError(
                f"the input must be at least as large as the kernel {self.kernel_size}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        sides = (None if side is None else side - size + 1 for side, size in axes)
        return (input_shape[0], *sides, input_shape[-1])

    def count_connections(self, output_shape: Sequence[int]) -> int:
        """Return the connections of one example: a unit has its window, no bias."""
        return math.prod(output_shape) * self.values.size

    def count_macs(self, output_shape: Sequence[int]) -> int:
        """Return the multiplications of one example."""
        return math.prod(output_shape) * self.values.size

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {
            **super().get_config(),
            "kernel": self.kernel_name or self.values.tolist(),
            "border": self.border,
            "convolution": self.convolution,
        }
