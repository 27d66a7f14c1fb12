"""Pooling that blurs before it leaves out places, so that a shift by a pixel changes little."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class BaseBlurPooling(keras.layers.Layer):
    """A binomial blur along each axis, and of its outcome every strides-th place.

    Subclasses name their rank. There are no weights.
    """

    rank: int

    def __init__(
        self,
        kernel_size: int | Sequence[int] = 3,
        strides: int | Sequence[int] = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = self._per_axis("kernel_size", kernel_size)
        self.strides = self._per_axis("strides", strides)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def _per_axis(self, name: str, given: int | Sequence[int]) -> tuple[int, ...]:
        sizes = (given,) * self.rank if isinstance(given, int) else tuple(given)
        if len(sizes) != self.rank or min(sizes) < 1:
            raise ValueError(
                f"{name} must be a whole number of at least 1, or {self.rank} of them. "
                f"Received: {name}={given}"
            )
        return sizes

    def call(self, inputs: Any) -> Any:
        """Map `(batch, *axes, channels)` to `(batch, *places, channels)`."""
        self.compute_output_shape(inputs.shape)
        x = inputs
        both = [((size - 1) // 2, size // 2) for size in self.kernel_size]
        if any(size > 1 for size in self.kernel_size):
            x = ops.pad(x, [(0, 0), *both, (0, 0)], mode="reflect")
        for axis in range(self.rank):
            x = self._along(x, axis)
        return x

    def _along(self, x: Any, axis: int) -> Any:
        """Blur along one axis by weighted, shifted slices: quicker than a depthwise kernel."""
        size, stride = self.kernel_size[axis], self.strides[axis]
        before = (slice(None),) * (axis + 1)
        total = 2 ** (size - 1)
        blurred: Any = 0
        for shift in range(size):
            stop = 1 - size + shift or None  # the whole kernel lies within
            weight = math.comb(size - 1, shift) / total
            blurred = blurred + weight * x[(*before, slice(shift, stop, stride))]
        return blurred

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return `(batch, *(axes / strides, rounded up), channels)`."""
        axes = list(zip(input_shape[1:-1], self.kernel_size, self.strides, strict=True))
        for axis, (side, size, _) in enumerate(axes):
            # A reflection doesn't repeat the border, so it can't be longer than what is left.
            if side is not None and side <= size // 2:
                raise ValueError(
                    f"layer {self.name!r}, axis {axis}: a kernel of {size} reflects {size // 2} "
                    f"places and needs one more. Received: input_shape={tuple(input_shape)}"
                )
        sizes = (None if side is None else -(-side // stride) for side, _, stride in axes)
        return (input_shape[0], *sizes, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }


@keras.saving.register_keras_serializable(package="fieldsight")
class BlurPooling2D(BaseBlurPooling):
    """Anti-aliased pooling of maps: a binomial blur, then every strides-th place.

    Instead of maximum pooling of stride 2: maximum pooling of stride 1, then this. Instead of a
    convolution of stride 2: the convolution of stride 1, its activation, then this. The border
    is reflected (c b | a b c). A kernel of 3 is (1, 2, 1) / 4, one of 5 (1, 4, 6, 4, 1) / 16.

    Reference:
        Zhang, Making convolutional networks shift-invariant again, ICML 2019, section 3.2.

    Args:
        kernel_size: height and width of the blur, or one number for both.
        strides: of both axes, or one number for both.
        **kwargs: what every Keras layer takes (name, dtype).

    Raises:
        ValueError: if kernel_size or strides is not one or two numbers of at least 1, or the
            input is too small for a reflection.

    Example:
        >>> import numpy as np
        >>> row = np.array([0, 0, 4, 0, 0], "float32").reshape(1, 1, 5, 1)
        >>> np.asarray(BlurPooling2D((1, 3))(row)).ravel().tolist()
        [0.0, 2.0, 0.0]
    """

    rank = 2


@keras.saving.register_keras_serializable(package="fieldsight")
class BlurPooling3D(BaseBlurPooling):
    """Anti-aliased pooling of volumes: a binomial blur, then every strides-th place.

    `BlurPooling2D` says how it is used.

    Reference:
        Zhang, Making convolutional networks shift-invariant again, ICML 2019, section 3.2.

    Args:
        kernel_size: depth, height and width of the blur, or one number for all.
        strides: of the three axes, or one number for all.
        **kwargs: what every Keras layer takes (name, dtype).

    Raises:
        ValueError: if kernel_size or strides is not one or three numbers of at least 1, or the
            input is too small for a reflection.

    Example:
        >>> BlurPooling3D(strides=(1, 2, 2)).compute_output_shape((None, 16, 33, 32, 8))
        (None, 16, 17, 16, 8)
    """

    rank = 3
