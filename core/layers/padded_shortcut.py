"""The shortcut of residual networks that has no weights."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="fieldsight")
class PaddedShortcut(keras.layers.Layer):
    """The identity at every strides-th place, with channels of zeros added: option A.

    The zeros stand after the input's channels, as in Facebook's fb.resnet.torch; the paper
    doesn't say where, and akamaster/pytorch_resnet_cifar10 puts half of them before. Elsewhere
    is the same network with its channels in another order, so it matters only to weights that
    come from there.

    Reference:
        He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016,
        sections 3.3 (A) and 4.2.

    Args:
        filters: channels of the output, no fewer than those of the input.
        strides: along every axis.
        **kwargs: what every Keras layer takes (name, dtype).

    Raises:
        ValueError: if filters or strides is below 1, or the input has more channels.

    Example:
        >>> PaddedShortcut(32, 2).compute_output_shape((None, 32, 32, 16))
        (None, 16, 16, 32)
    """

    kernel_size = 1  # what a unit sees, for `arithmetic.describe`

    def __init__(self, filters: int, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if filters < 1 or strides < 1:
            raise ValueError(
                "filters and strides must be at least 1. "
                f"Received: filters={filters}, strides={strides}"
            )
        self.filters = filters
        self.strides = strides

    def call(self, inputs: Any) -> Any:
        """Map `(batch, *axes, channels)` to `(batch, *places, filters)`."""
        self.compute_output_shape(inputs.shape)
        axes = len(inputs.shape) - 2
        x = inputs
        if self.strides > 1:
            # Windows of one place: four times as quick as slices, whose gradient is slow.
            x = ops.average_pool(x, 1, self.strides, data_format="channels_last")
        missing = self.filters - inputs.shape[-1]
        if not missing:
            return x
        return ops.pad(x, [*((0, 0),) * (axes + 1), (0, missing)])

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return `(batch, *(axes / strides, rounded up), filters)`."""
        channels = input_shape[-1]
        if channels is not None and channels > self.filters:
            raise ValueError(
                f"layer {self.name!r} adds channels and can't take any away: filters must be at "
                f"least {channels}. Received: filters={self.filters}, "
                f"input_shape={tuple(input_shape)}"
            )
        sizes = (None if side is None else -(-side // self.strides) for side in input_shape[1:-1])
        return (input_shape[0], *sizes, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}
