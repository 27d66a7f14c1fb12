"""Pooling that blurs before it leaves out places, so that a shift by a pixel changes little."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

# A product with a matrix takes half of pooling's time at sides of 32 to 56 and as much at 112;
# beyond, its cost grows with the side.
_LARGEST_MATRIX = 112


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
        sides = inputs.shape[1:-1]
        if None in sides or max(sides) > _LARGEST_MATRIX:
            return self._by_pooling(inputs)
        x = inputs
        for axis in range(self.rank):
            x = self._by_matrix(x, axis)
        return x

    def _by_matrix(self, x: Any, axis: int) -> Any:
        """Blur along one axis by a product with a matrix that holds border and strides too."""
        before, side, after = x.shape[1 : axis + 1], x.shape[axis + 1], x.shape[axis + 2 :]
        matrix = _blur_matrix(side, self.kernel_size[axis], self.strides[axis])
        flat = ops.reshape(x, (-1, side, math.prod(after)))
        blurred = ops.matmul(ops.cast(matrix, x.dtype), flat)
        return ops.reshape(blurred, (-1, *before, len(matrix), *after))

    def _by_pooling(self, x: Any) -> Any:
        """Blur by means of two neighbours in turn, which make a binomial kernel."""
        both = [((size - 1) // 2, size // 2) for size in self.kernel_size]
        x = ops.pad(x, [(0, 0), *both, (0, 0)], mode="reflect")
        turns = max(1, *(size - 1 for size in self.kernel_size))
        for turn in range(turns):
            pairs = tuple(2 if turn < size - 1 else 1 for size in self.kernel_size)
            strides = self.strides if turn == turns - 1 else 1
            x = ops.average_pool(x, pairs, strides, data_format="channels_last")
        return x

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


def _blur_matrix(side: int, size: int, stride: int) -> np.ndarray:
    """Return `(places, side)`: what each place takes from each of a reflected axis."""
    around = np.pad(np.arange(side), ((size - 1) // 2, size // 2), mode="reflect")
    places = np.arange(0, side, stride)
    matrix = np.zeros((len(places), side))
    for shift in range(size):
        weight = math.comb(size - 1, shift) / 2 ** (size - 1)
        np.add.at(matrix, (np.arange(len(places)), around[places + shift]), weight)
    return matrix


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
