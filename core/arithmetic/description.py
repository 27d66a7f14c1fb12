"""What each layer of a model costs, and how much of the input it sees.

Counts are of one example. A connection joins a unit to one input or to its bias by a weight,
shared or not; a MAC (multiply-accumulate) multiplies an input by a weight. Pooling without
weights, activations and normalisation (which folds into the layer before it) count as none.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from keras import layers as kl

from fieldsight.core.arithmetic.counts import activation_bytes, macs
from fieldsight.core.arithmetic.fields import (
    TRANSPOSED,
    Reach,
    folds,
    graph_of,
    nodes_of,
    through,
)


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """What one layer of a model costs, for one example; None is what can't be known.

    Attributes:
        layer: its name; inner models stand before it, with a slash.
        kind: its class.
        output_shape: without the batch.
        trainable: parameters that training changes; a shared layer's stand at its first use.
        total: all parameters, running statistics and frozen ones too.
        connections: pairs of a unit and an input, or its bias, that a weight joins.
        macs: multiplications of an input by a weight.
        activation_bytes: the memory of its output.
        kernel: its own field, along each axis.
        stride: the model's inputs from one of its units to the next, along each axis; empty
            where units have no places (dense layers, global pooling).
        receptive_field: the model's inputs that reach one of its units, along each axis, those
            beyond the input's border too.
    """

    layer: str
    kind: str
    output_shape: tuple[int | None, ...]
    trainable: int
    total: int
    connections: int | None
    macs: int | None
    activation_bytes: int | None
    kernel: tuple[int | None, ...]
    stride: tuple[int | Fraction | None, ...]
    receptive_field: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Description:
    """A model's layers and their sums; printed, it is a table."""

    model: str
    rows: tuple[LayerRow, ...]

    @property
    def trainable(self) -> int:
        """Parameters that training changes."""
        return sum(row.trainable for row in self.rows)

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(row.total for row in self.rows)

    @property
    def connections(self) -> int | None:
        """Connections of one example."""
        return _sum(row.connections for row in self.rows)

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one example."""
        return _sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int | None:
        """Memory of all outputs of one example, as training keeps them."""
        return _sum(row.activation_bytes for row in self.rows)

    @property
    def receptive_field(self) -> tuple[int | None, ...]:
        """The inputs that reach one unit of the last layer."""
        return self.rows[-1].receptive_field

    @property
    def map_field(self) -> tuple[int | None, ...]:
        """The inputs that reach one unit of the last map, as receptive fields are published.

        That is before global pooling or a dense layer, which see everything. It may be larger
        than the input, whose border is then within the field of every unit.
        """
        maps = [row.receptive_field for row in self.rows if row.stride]
        return maps[-1] if maps else self.receptive_field

    def cells(self) -> list[list[str]]:
        """Return the table as text: a heading, a line for each layer, and the sums."""
        heading = ["layer", "kind", "output", "trainable", "total"]
        heading += ["connections", "MACs", "bytes", "kernel", "stride", "field"]
        lines = [[_shown(getattr(row, f.name)) for f in fields(LayerRow)] for row in self.rows]
        sums = [self.model, "", "", self.trainable, self.total, self.connections, self.macs]
        last = [*sums, self.activation_bytes, "", "", self.receptive_field]
        return [heading, *lines, [_shown(value) for value in last]]

    def __str__(self) -> str:
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if index < 3 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join("?" if size is None else str(size) for size in value)
    if isinstance(value, int):
        return f"{value:,}"
    return "?" if value is None else str(value)


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def describe(model: Any) -> Description:
    """Count what each layer of a model costs, and how much of the input it sees.

    Channels are last. Where branches meet, the field is the largest of them; a dense layer
    on a flattened map, and global pooling, see the whole input, and so does a map that is
    multiplied by weights made of its own means (squeeze and excitation). A dense layer on a map
    works place by place. Normalisation's statistics over an image aren't counted as a field. A
    layer that has weights and is unknown here counts as None, unless it has methods
    `count_connections(output_shape)` and `count_macs(output_shape)`; so does the field where a
    map is resized by other than a window.

    Args:
        model: a functional or a built sequential `keras.Model`, inner models included.

    Returns:
        A row for each use of a layer, first to last, and their sums.

    Raises:
        ValueError: if the model has no graph to follow.

    Example:
        >>> from fieldsight.core.architectures import lenet5
        >>> table = describe(lenet5(variant="original"))
        >>> table.trainable, table.total, table.connections
        (60000, 60840, 340908)
        >>> [row.receptive_field for row in table.rows if row.layer == "s4"]
        [(16, 16)]
    """
    graph = graph_of(model)
    if graph is None:
        raise ValueError(
            "describe needs a functional or a built sequential model. "
            f"Received: {type(model).__name__} {getattr(model, 'name', '')!r}. Build it, or call "
            "it on a keras.Input."
        )
    rows: list[LayerRow] = []
    reaches = [Reach.start(tensor.shape) for tensor in graph.inputs]
    _walk(graph, reaches, "", rows, set())
    return Description(model=model.name, rows=tuple(rows))


def _walk(
    graph: Any, inputs: Sequence[Reach], prefix: str, rows: list[LayerRow], seen: set[int]
) -> list[Reach]:
    """Append a row for each layer of a graph, and return the reaches of its outputs."""
    known = {id(tensor): reach for tensor, reach in zip(graph.inputs, inputs, strict=True)}
    for node in nodes_of(graph):
        operation = node.operation
        before = [known[id(tensor)] for tensor in node.input_tensors]
        inner = graph_of(operation)
        if inner is not None:
            after = _walk(inner, before, f"{prefix}{operation.name}/", rows, seen)
        else:
            row, reach = _row(node, before, prefix, id(operation) in seen)
            rows.append(row)
            after = [reach] * len(node.output_tensors)
        seen.add(id(operation))
        known.update(zip(map(id, node.output_tensors), after, strict=True))
    return [known[id(tensor)] for tensor in graph.outputs]


def _row(node: Any, before: Sequence[Reach], prefix: str, counted: bool) -> tuple[LayerRow, Reach]:
    layer = node.operation
    in_shape = tuple(node.input_tensors[0].shape)
    output = node.output_tensors[0]
    out_shape = tuple(output.shape[1:])
    kernel, reach = through(node, before)
    weights = [] if counted else getattr(layer, "weights", [])
    known = None not in out_shape
    links, products = _cost(layer, in_shape[1:], out_shape)
    row = LayerRow(
        layer=prefix + layer.name,
        kind=type(layer).__name__,
        output_shape=out_shape,
        trainable=sum(math.prod(w.shape) for w in weights if w.trainable),
        total=sum(math.prod(w.shape) for w in weights),
        connections=links,
        macs=products,
        activation_bytes=activation_bytes(out_shape, output.dtype) if known else None,
        kernel=kernel,
        stride=reach.strides(output.shape),
        receptive_field=reach.field,
    )
    return row, reach


_SEPARABLE = (kl.SeparableConv1D, kl.SeparableConv2D)
_DEPTHWISE = (kl.DepthwiseConv1D, kl.DepthwiseConv2D)
_CONVOLUTIONS = (kl.Conv1D, kl.Conv2D, kl.Conv3D)


def _cost(
    layer: Any, in_shape: Sequence[int | None], out_shape: Sequence[int | None]
) -> tuple[int | None, int | None]:
    """Return connections and MACs of one example."""
    sizes = [*in_shape, *out_shape]
    if not getattr(layer, "weights", None) or folds(layer):
        return 0, 0
    if None in sizes:
        return None, None
    inputs = tuple(size or 0 for size in in_shape)
    outputs = tuple(size or 0 for size in out_shape)
    if hasattr(layer, "count_connections"):
        return layer.count_connections(outputs), layer.count_macs(outputs)
    products = _products(layer, inputs, outputs)
    if products is None:
        return None, None
    return products + math.prod(outputs) * layer.use_bias, products


def _products(layer: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int | None:
    channels = inputs[-1]
    if isinstance(layer, kl.Dense):
        return math.prod(outputs) * channels
    if isinstance(layer, TRANSPOSED):  # Each input is spread over the kernel, cropping apart.
        return math.prod(inputs) * math.prod(layer.kernel_size) * outputs[-1]
    if isinstance(layer, _SEPARABLE):
        deep = channels * layer.depth_multiplier
        places = math.prod(outputs[:-1])
        return places * deep * (math.prod(layer.kernel_size) + outputs[-1])
    if isinstance(layer, _DEPTHWISE):
        return macs(layer.kernel_size, 1, outputs)
    if isinstance(layer, _CONVOLUTIONS):
        return macs(layer.kernel_size, channels // layer.groups, outputs)
    return None
