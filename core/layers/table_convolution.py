"""Convolutions whose units see only some channels, by a table."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fieldsight.core.layers.initializers import reseeded

# Table I of the paper: which of S2's six maps each of C3's sixteen maps sees.
LENET_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip


class BaseTableConv(keras.layers.Layer):
    """A valid convolution of stride 1 whose output maps see the input maps a table names.

    Subclasses name their rank.
    """

    rank: int

    def __init__(
        self,
        table: Sequence[Sequence[int]] = LENET_TABLE,
        kernel_size: int | Sequence[int] = 5,
        activation: Any = None,
        *,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = tuple(tuple(sorted(row)) for row in table)
        if not self.table or any(not row or len(set(row)) < len(row) for row in self.table):
            raise ValueError(
                "each output map needs one input map or more, each named once. "
                f"Received: table={table}"
            )
        sizes = (kernel_size,) * self.rank if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(sizes) != self.rank or min(sizes) < 1:
            raise ValueError(
                f"kernel_size must be a whole number of at least 1, or {self.rank} of them. "
                f"Received: kernel_size={kernel_size}"
            )
        self.kernel_size = sizes
        self.filters = len(self.table)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    @property
    def links(self) -> int:
        """Pairs of an input map and an output map that sees it."""
        return sum(len(row) for row in self.table)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make a kernel for each pair of maps that the table joins, and no other."""
        channels = int(input_shape[-1] or 0)
        named = {channel for row in self.table for channel in row}
        if not 0 <= min(named) <= max(named) < channels:
            raise ValueError(
                f"the table names input maps from {min(named)} to {max(named)}, so the input needs "
                f"{max(named) + 1} channels or more. Received: input_shape={tuple(input_shape)}"
            )
        self.compute_output_shape(input_shape)
        self.kernel = self.add_weight(
            name="kernel", shape=(*self.kernel_size, self.links), initializer=self._draw
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer=self.bias_initializer
        )
        self._places = self._link_places(channels)
        self.built = True

    def _draw(self, shape: Sequence[int], dtype: Any) -> Any:
        # Map by map: the fan-in of a unit is that of its own row of the table.
        parts = [
            reseeded(self.kernel_initializer, index)((*shape[:-1], len(row), 1), dtype)[..., 0]
            for index, row in enumerate(self.table)
        ]
        return ops.concatenate(parts, axis=-1)

    def _link_places(self, channels: int) -> np.ndarray:
        """Return a `(links, channels * filters)` matrix of 0 and 1: where each link stands."""
        columns = [
            channel * self.filters + output
            for output, row in enumerate(self.table)
            for channel in row
        ]
        places = np.zeros((self.links, channels * self.filters), "float32")
        places[np.arange(self.links), columns] = 1
        return places

    def dense_kernel(self) -> Any:
        """Return the kernel with zeros where the table joins nothing: `(*size, in, out)`."""
        kernel = ops.convert_to_tensor(self.kernel)
        flat = ops.reshape(kernel, (-1, self.links))
        # A product with zeros and ones keeps the gradient dense and deterministic.
        dense = ops.matmul(flat, ops.cast(self._places, kernel.dtype))
        return ops.reshape(dense, (*self.kernel_size, -1, self.filters))

    def call(self, inputs: Any) -> Any:
        """Map `(batch, *axes, channels)` to `(batch, *(axes - kernel + 1), filters)`."""
        outputs = ops.conv(inputs, self.dense_kernel(), data_format="channels_last")
        return self.activation(outputs + self.bias)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return `(batch, *(axes - kernel + 1), filters)`."""
        axes = list(zip(input_shape[1:-1], self.kernel_size, strict=True))
        if any(size is not None and size < kernel for size, kernel in axes):
            raise ValueError(
                f"the input must be at least as large as the kernel {self.kernel_size}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        sizes = (None if size is None else size - kernel + 1 for size, kernel in axes)
        return (input_shape[0], *sizes, self.filters)

    def count_connections(self, output_shape: Sequence[int]) -> int:
        """Return the connections of one example: each link's kernel and a bias, a place."""
        return math.prod(output_shape[:-1]) * self.count_params()

    def count_macs(self, output_shape: Sequence[int]) -> int:
        """Return the multiplications of one example, of the linked maps alone."""
        return math.prod(output_shape[:-1]) * math.prod(self.kernel_size) * self.links

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {
            **super().get_config(),
            "table": self.table,
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="fieldsight")
class TableConv2D(BaseTableConv):
    """LeNet's C3: a convolution whose output maps each see some input maps, by a table.

    Only the linked kernels are weights. They are laid into a kernel with zeros elsewhere, so
    the layer runs at the speed of a plain convolution. As everywhere in a network, the
    operation is cross-correlation: kernels aren't flipped.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition,
        Proceedings of the IEEE 86(11), 1998, section II.B and table I.

    Args:
        table: for each output map, the input maps that it sees; the paper's by default.
        kernel_size: height and width of a kernel, or one number for both.
        activation: applied to the outcome; none by default.
        kernel_initializer: starting kernels, drawn for each output map with its own fan-in.
        bias_initializer: starting biases.
        **kwargs: what every Keras layer takes (name, dtype, trainable).

    Raises:
        ValueError: if a row of the table is empty, repeats a map or names one that the input
            lacks, or if the input is smaller than the kernel.

    Example:
        >>> layer = TableConv2D()
        >>> layer.build((None, 14, 14, 6))
        >>> layer.count_params()
        1516
    """

    rank = 2
