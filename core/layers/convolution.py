"""Convolutions that take whole paddings and don't drop an edge unasked."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fieldsight.core.arithmetic import output_size


class ExactPadding(keras.layers.Layer):
    """What the convolutions of every rank have in common: stands before Keras's class.

    Channels are last. A size that isn't known before the call is checked in the call.
    """

    def __init__(
        self,
        *args: Any,
        padding: str | int | Sequence[int] = "valid",
        floor: bool = False,
        **kwargs: Any,
    ) -> None:
        by_name = isinstance(padding, str)
        super().__init__(*args, padding=padding if by_name else "valid", **kwargs)
        self.floor = floor
        self.zeros = (0,) * self.rank if isinstance(padding, str) else self._zeros(padding)
        # What Keras calls `padding` is what is left to do after our own zeros.
        self._padding_given = padding if isinstance(padding, str | int) else tuple(padding)
        if self.data_format != "channels_last":
            raise ValueError(f"channels must be last. Received: data_format={self.data_format}")

    def _zeros(self, padding: int | Sequence[int]) -> tuple[int, ...]:
        zeros = (padding,) * self.rank if isinstance(padding, int) else tuple(padding)
        whole = all(isinstance(zero, int) and zero >= 0 for zero in zeros)
        if len(zeros) != self.rank or not whole:
            raise ValueError(
                f'padding must be "valid", "same", a whole number of at least 0, or {self.rank} of '
                f"them. Received: padding={padding}"
            )
        return zeros

    def _padded(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape with zeros on both sides, having checked that windows fill it."""
        sizes = list(shape[1:-1])
        if self.padding == "valid" and len(sizes) == self.rank:
            for axis, size in enumerate(sizes):
                if size is not None:
                    self._check(axis, size)
            sizes = [
                None if size is None else size + 2 * zero
                for size, zero in zip(sizes, self.zeros, strict=True)
            ]
        return (shape[0], *sizes, shape[-1])

    def _check(self, axis: int, size: int) -> None:
        try:
            output_size(
                size,
                self.kernel_size[axis],
                stride=self.strides[axis],
                padding=self.zeros[axis],
                dilation=self.dilation_rate[axis],
                floor=self.floor,
            )
        except ValueError as error:
            raise ValueError(f"layer {self.name!r}, axis {axis}: {error}") from None

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return `(batch, *axes, filters)`."""
        return super().compute_output_shape(self._padded(input_shape))

    def call(self, inputs: Any) -> Any:
        """Map `(batch, *axes, channels)` to `(batch, *places, filters)`."""
        self._padded(inputs.shape)
        if any(self.zeros):
            both = [(zero, zero) for zero in self.zeros]
            inputs = ops.pad(inputs, [(0, 0), *both, (0, 0)])
        return super().call(inputs)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {**super().get_config(), "padding": self._padding_given, "floor": self.floor}


@keras.saving.register_keras_serializable(package="fieldsight")
class Conv1D(ExactPadding, keras.layers.Conv1D):
    """A convolution along one axis: Keras's, with whole paddings and no edge dropped unasked.

    As everywhere in a network the operation is cross-correlation: kernels aren't flipped.

    Args:
        *args: filters, kernel_size and strides, as in `keras.layers.Conv1D`.
        padding: "valid", "same", "causal", or the number of zeros on each side.
        floor: let (W - F + 2P) / S + 1 be rounded down.
        **kwargs: what `keras.layers.Conv1D` takes.

    Raises:
        ValueError: if padding is of another kind, or the output's size would be a fraction.

    Example:
        >>> Conv1D(4, 5, padding=2).compute_output_shape((None, 100, 3))
        (None, 100, 4)
    """


@keras.saving.register_keras_serializable(package="fieldsight")
class Conv2D(ExactPadding, keras.layers.Conv2D):
    """A convolution of images: Keras's, with whole paddings and no edge dropped unasked.

    As everywhere in a network the operation is cross-correlation: kernels aren't flipped.
    Frameworks drop the last rows and columns when windows don't fill the image; here that is
    an error unless asked for. ("same" pads what is missing, unevenly where it must.)

    Args:
        *args: filters, kernel_size and strides, as in `keras.layers.Conv2D`.
        padding: "valid", "same", or the number of zeros above and below, left and right: one
            for both axes or one for each.
        floor: let (W - F + 2P) / S + 1 be rounded down.
        **kwargs: what `keras.layers.Conv2D` takes.

    Raises:
        ValueError: if padding is of another kind, or the output's size would be a fraction;
            then it says which padding or stride would fit.

    Example:
        >>> Conv2D(96, 11, strides=4).compute_output_shape((None, 227, 227, 3))
        (None, 55, 55, 96)
        >>> Conv2D(96, 11, strides=4, padding=2).compute_output_shape((None, 227, 227, 3))
        (None, 56, 56, 96)
        >>> layer = Conv2D(96, 11, strides=4, padding=1, name="conv1")
        >>> layer.compute_output_shape((None, 227, 227, 3))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: layer 'conv1', axis 0: (W - F + 2P) / S + 1 must be whole. ...
    """


@keras.saving.register_keras_serializable(package="fieldsight")
class Conv3D(ExactPadding, keras.layers.Conv3D):
    """A convolution of volumes: Keras's, with whole paddings and no edge dropped unasked.

    As everywhere in a network the operation is cross-correlation: kernels aren't flipped.

    Args:
        *args: filters, kernel_size and strides, as in `keras.layers.Conv3D`.
        padding: "valid", "same", or the number of zeros on both sides of each axis: one for
            all axes or one for each.
        floor: let (W - F + 2P) / S + 1 be rounded down.
        **kwargs: what `keras.layers.Conv3D` takes.

    Raises:
        ValueError: if padding is of another kind, or the output's size would be a fraction.

    Example:
        >>> Conv3D(8, 3, padding=(0, 1, 1)).compute_output_shape((None, 16, 32, 32, 1))
        (None, 14, 32, 32, 8)
    """
