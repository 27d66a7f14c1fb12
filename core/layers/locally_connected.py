"""Convolutions without sharing: each place has kernels of its own."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fieldsight.core.arithmetic import output_size, unshared_weights


class BaseLocallyConnected(keras.layers.Layer):
    """Windows as in a convolution, but each has its own weights and biases.

    Channels are last. Subclasses name their rank.
    """

    rank: int

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = "valid",
        *,
        floor: bool = False,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if filters < 1:
            raise ValueError(f"filters must be at least 1. Received: filters={filters}")
        self.filters = filters
        self.kernel_size = self._per_axis("kernel_size", kernel_size, 1)
        self.strides = self._per_axis("strides", strides, 1)
        self.zeros = self._per_axis("padding", 0 if padding == "valid" else padding, 0)
        self.floor = floor
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def _per_axis(self, name: str, value: Any, least: int) -> tuple[int, ...]:
        sizes: tuple[Any, ...] = (
            (value,) * self.rank if isinstance(value, int | str) else tuple(value)
        )
        whole = all(isinstance(size, int) and size >= least for size in sizes)
        if len(sizes) != self.rank or not whole:
            also = '"valid", ' if name == "padding" else ""
            raise ValueError(
                f"{name} must be {also}a whole number of at least {least}, or {self.rank} of them. "
                f"Received: {name}={value}"
            )
        return sizes

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make a kernel for each place and filter."""
        if None in input_shape[1:]:
            raise ValueError(
                "each place has its own weights, so the input's size must be known. Received: "
                f"input_shape={tuple(input_shape)}"
            )
        places = self.compute_output_shape(input_shape)[1:-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*places, *self.kernel_size, input_shape[-1], self.filters),
            initializer=self._draw,
            regularizer=self.kernel_regularizer,
        )
        self.bias = (
            self.add_weight(
                name="bias",
                shape=(*places, self.filters),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
            if self.use_bias
            else None
        )
        self.built = True

    def _draw(self, shape: Sequence[int], dtype: Any) -> Any:
        places, window = shape[: self.rank], shape[self.rank : -1]
        initializer = _by_fan_in(self.kernel_initializer, window, self.filters)
        drawn = initializer((*window, math.prod(places) * self.filters), dtype)
        split = ops.reshape(drawn, (math.prod(window), math.prod(places), self.filters))
        return ops.reshape(ops.transpose(split, (1, 0, 2)), shape)

    def call(self, inputs: Any) -> Any:
        """Map `(batch, *axes, channels)` to `(batch, *places, filters)`."""
        windows = self._windows(inputs)
        flat = ops.reshape(
            ops.convert_to_tensor(self.kernel), (math.prod(self._places), -1, self.filters)
        )
        outputs = ops.einsum("bpk,pkf->bpf", windows, flat)
        outputs = ops.reshape(outputs, (-1, *self._places, self.filters))
        if self.bias is not None:
            outputs = outputs + self.bias
        return self.activation(outputs)

    @property
    def _places(self) -> tuple[int, ...]:
        return tuple(self.kernel.shape[: self.rank])

    def _windows(self, inputs: Any) -> Any:
        """Return `(batch, places, values of a window)`, of any rank by strided slices."""
        if any(self.zeros):
            both = [(zero, zero) for zero in self.zeros]
            inputs = ops.pad(inputs, [(0, 0), *both, (0, 0)])
        slices = []
        for corner in itertools.product(*map(range, self.kernel_size)):
            axes = (
                slice(start, start + (count - 1) * stride + 1, stride)
                for start, count, stride in zip(corner, self._places, self.strides, strict=True)
            )
            slices.append(inputs[(slice(None), *axes)])
        windows = ops.stack(slices, axis=-2)
        length = math.prod(self.kernel_size) * inputs.shape[-1]
        return ops.reshape(windows, (-1, math.prod(self._places), length))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return `(batch, *places, filters)`."""
        axes = zip(input_shape[1:-1], self.kernel_size, self.strides, self.zeros, strict=True)
        try:
            places = [
                None
                if size is None
                else output_size(size, kernel, stride=stride, padding=zero, floor=self.floor)
                for size, kernel, stride, zero in axes
            ]
        except ValueError as error:
            raise ValueError(f"layer {self.name!r}: {error}") from None
        return (input_shape[0], *places, self.filters)

    def count_connections(self, output_shape: Sequence[int]) -> int:
        """Return the connections of one example: as many as it has weights."""
        del output_shape
        return self.count_params()

    def count_macs(self, output_shape: Sequence[int]) -> int:
        """Return the multiplications of one example."""
        return unshared_weights(self.kernel_size, self.kernel.shape[-2], output_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.zeros,
            "floor": self.floor,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }


def _by_fan_in(initializer: Any, window: Sequence[int], filters: int) -> Any:
    """Return an initializer that scales by the fans of one place, not of all places together."""
    if not isinstance(initializer, keras.initializers.VarianceScaling):
        return initializer
    fan_in, fan_out = math.prod(window), math.prod(window[:-1]) * filters
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    scale = initializer.scale * fan_in / fan[initializer.mode]
    return keras.initializers.VarianceScaling(
        scale, mode="fan_in", distribution=initializer.distribution, seed=initializer.seed
    )


@keras.saving.register_keras_serializable(package="fieldsight")
class LocallyConnected1D(BaseLocallyConnected):
    """A convolution along one axis without sharing: each place has kernels and biases of its own.

    Args:
        filters: outputs of each place.
        kernel_size: the length of a window.
        strides: the step from one place to the next.
        padding: "valid", or the number of zeros on each side.
        floor: let (W - F + 2P) / S + 1 be rounded down.
        activation: applied to the outcome; none by default.
        use_bias: add a bias of each place and filter.
        kernel_initializer: starting kernels, scaled by the fans of one place.
        bias_initializer: starting biases.
        kernel_regularizer: a penalty on the kernels.
        bias_regularizer: a penalty on the biases.
        **kwargs: what every Keras layer takes (name, dtype, trainable).

    Raises:
        ValueError: if the input's size is unknown, or the output's would be a fraction.

    Example:
        >>> layer = LocallyConnected1D(2, 3)
        >>> layer.build((None, 10, 1))
        >>> layer.count_params()  # 8 places x 2 filters x (3 weights + a bias)
        64
    """

    rank = 1


@keras.saving.register_keras_serializable(package="fieldsight")
class LocallyConnected2D(BaseLocallyConnected):
    """A convolution of images without sharing: each place has kernels and biases of its own.

    Fits pictures whose parts always stand in the same place, at the price of as many weights as
    connections.

    Args:
        filters: outputs of each place.
        kernel_size: height and width of a window, or one number for both.
        strides: the step from one place to the next, or one for each axis.
        padding: "valid", or the number of zeros on both sides, or one for each axis.
        floor: let (W - F + 2P) / S + 1 be rounded down.
        activation: applied to the outcome; none by default.
        use_bias: add a bias of each place and filter.
        kernel_initializer: starting kernels, scaled by the fans of one place.
        bias_initializer: starting biases.
        kernel_regularizer: a penalty on the kernels.
        bias_regularizer: a penalty on the biases.
        **kwargs: what every Keras layer takes (name, dtype, trainable).

    Raises:
        ValueError: if the input's size is unknown, or the output's would be a fraction.

    Example:
        >>> layer = LocallyConnected2D(6, 5)
        >>> layer.build((None, 32, 32, 1))
        >>> layer.count_params()  # LeNet-5's C1 has 156 with sharing.
        122304
    """

    rank = 2


@keras.saving.register_keras_serializable(package="fieldsight")
class LocallyConnected3D(BaseLocallyConnected):
    """A convolution of volumes without sharing: each place has kernels and biases of its own.

    Args:
        filters: outputs of each place.
        kernel_size: depth, height and width of a window, or one number for all.
        strides: the step from one place to the next, or one for each axis.
        padding: "valid", or the number of zeros on both sides, or one for each axis.
        floor: let (W - F + 2P) / S + 1 be rounded down.
        activation: applied to the outcome; none by default.
        use_bias: add a bias of each place and filter.
        kernel_initializer: starting kernels, scaled by the fans of one place.
        bias_initializer: starting biases.
        kernel_regularizer: a penalty on the kernels.
        bias_regularizer: a penalty on the biases.
        **kwargs: what every Keras layer takes (name, dtype, trainable).

    Raises:
        ValueError: if the input's size is unknown, or the output's would be a fraction.

    Example:
        >>> layer = LocallyConnected3D(2, 3, strides=2, use_bias=False)
        >>> layer.build((None, 5, 5, 5, 1))
        >>> layer.count_params()  # 8 places x 2 filters x 27 weights
        432
    """

    rank = 3
