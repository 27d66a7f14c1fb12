"""What each layer of a model costs, and how much of the input it sees.

Counts are of one example. A connection joins a unit to one input or to its bias by a weight,
shared or not; a MAC (multiply-accumulate) multiplies an input by a weight. Pooling without
weights, activations and normalisation (which folds into the layer before it) count as none.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import zip_longest
from typing import Any

from keras import layers as kl

from fieldsight.core.arithmetic.counts import activation_bytes, macs


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
        receptive_field: the model's inputs that reach one of its units, along each axis.
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

    def cells(self) -> list[list[str]]:
        """Return the table as text: a heading, a line for each layer, and the sums."""
        heading = ["layer", "kind", "output", "trainable", "total"]
        heading += ["connections", "MACs", "bytes", "kernel", "field"]
        lines = [[_shown(getattr(row, f.name)) for f in fields(LayerRow)] for row in self.rows]
        sums = [self.model, "", "", self.trainable, self.total, self.connections, self.macs]
        last = [*sums, self.activation_bytes, "", self.receptive_field]
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
    on a flattened map, and global pooling, see the whole input. Normalisation's statistics
    over an image aren't counted as a field. A layer that has weights and is unknown here
    counts as None, unless it has methods `count_connections(output_shape)` and
    `count_macs(output_shape)`.

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
    graph = _graph(model)
    if graph is None:
        raise ValueError(
            "describe needs a functional or a built sequential model. "
            f"Received: {type(model).__name__} {getattr(model, 'name', '')!r}. Build it, or call "
            "it on a keras.Input."
        )
    rows: list[LayerRow] = []
    states = [_State.start(tensor.shape) for tensor in graph.inputs]
    _walk(graph, states, "", rows, set())
    return Description(model=model.name, rows=tuple(rows))


@dataclass(frozen=True)
class _State:
    """How much of the input one unit of a tensor sees, along each axis of the input."""

    field: tuple[int | None, ...]
    jump: tuple[Fraction, ...]  # Inputs between two neighbouring units.
    whole: tuple[int | None, ...]

    @classmethod
    def start(cls, shape: Sequence[int | None]) -> "_State":
        whole = tuple(shape[1:-1])
        return cls((1,) * len(whole), (Fraction(1),) * len(whole), whole)

    @classmethod
    def merged(cls, states: Sequence["_State"]) -> "_State":
        return cls(
            tuple(_largest(axis) for axis in zip_longest(*(s.field for s in states), fillvalue=1)),
            tuple(
                max(axis) for axis in zip_longest(*(s.jump for s in states), fillvalue=Fraction(1))
            ),
            max((s.whole for s in states), key=len),
        )

    def everything(self) -> "_State":
        seen = tuple(
            None if whole is None or field is None else max(whole, field)
            for whole, field in zip(self.whole, self.field, strict=True)
        )
        return _State(seen, self.jump, self.whole)


def _largest(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else max(value or 1 for value in known)


def _graph(model: Any) -> Any:
    # A sequential model keeps the functional one it amounts to; a subclassed model has none.
    inner = getattr(model, "_functional", None) or model
    return inner if getattr(inner, "_nodes_by_depth", None) else None


def _walk(
    graph: Any, inputs: Sequence[_State], prefix: str, rows: list[LayerRow], seen: set[int]
) -> list[_State]:
    """Append a row for each layer of a graph, and return the states of its outputs."""
    known = {id(tensor): state for tensor, state in zip(graph.inputs, inputs, strict=True)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            operation = node.operation
            before = [known[id(tensor)] for tensor in node.input_tensors]
            inner = _graph(operation)
            if inner is not None:
                after = _walk(inner, before, f"{prefix}{operation.name}/", rows, seen)
            else:
                row, state = _row(node, _State.merged(before), prefix, id(operation) in seen)
                rows.append(row)
                after = [state] * len(node.output_tensors)
            seen.add(id(operation))
            known.update(zip(map(id, node.output_tensors), after, strict=True))
    return [known[id(tensor)] for tensor in graph.outputs]


def _row(node: Any, before: _State, prefix: str, counted: bool) -> tuple[LayerRow, _State]:
    layer = node.operation
    in_shape = tuple(node.input_tensors[0].shape)
    output = node.output_tensors[0]
    out_shape = tuple(output.shape[1:])
    kernel, state = _field(layer, before, in_shape)
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
        receptive_field=state.field,
    )
    return row, state


_GLOBAL = (
    kl.GlobalAveragePooling1D, kl.GlobalAveragePooling2D, kl.GlobalAveragePooling3D,
    kl.GlobalMaxPooling1D, kl.GlobalMaxPooling2D, kl.GlobalMaxPooling3D,
)  # fmt: skip
_TRANSPOSED = (kl.Conv1DTranspose, kl.Conv2DTranspose, kl.Conv3DTranspose)
_UPSAMPLING = (kl.UpSampling1D, kl.UpSampling2D, kl.UpSampling3D)
_SEPARABLE = (kl.SeparableConv1D, kl.SeparableConv2D)
_DEPTHWISE = (kl.DepthwiseConv1D, kl.DepthwiseConv2D)
_CONVOLUTIONS = (kl.Conv1D, kl.Conv2D, kl.Conv3D)
_FOLDED = (
    kl.BatchNormalization, kl.GroupNormalization, kl.LayerNormalization, kl.Normalization,
    kl.RMSNormalization, kl.UnitNormalization, kl.PReLU,
)  # fmt: skip


def _field(
    layer: Any, before: _State, in_shape: Sequence[int | None]
) -> tuple[tuple[int | None, ...], _State]:
    """Return a layer's own field, and what its units see of the model's input."""
    ones = (1,) * len(before.field)
    if isinstance(layer, _GLOBAL):
        return tuple(in_shape[1:-1]), before.everything()
    if len(in_shape) == 2 and getattr(layer, "weights", None) and not isinstance(layer, _FOLDED):
        return before.whole, before.everything()  # Dense, or alike: it mixes all places.
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if isinstance(layer, _UPSAMPLING):
        size = _per_axis(layer.size, len(ones))
        return ones, _grown(before, ones, size, transposed=True)
    if not isinstance(kernel, int | tuple | list):
        return ones, before
    kernel = _per_axis(kernel, len(ones))
    strides = _per_axis(getattr(layer, "strides", 1), len(ones))
    dilation = _per_axis(getattr(layer, "dilation_rate", 1), len(ones))
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    return extent, _grown(before, extent, strides, transposed=isinstance(layer, _TRANSPOSED))


def _per_axis(value: Any, rank: int) -> tuple[int, ...]:
    sizes = (value,) * rank if isinstance(value, int) else tuple(value)
    return sizes if len(sizes) == rank else (sizes + (1,) * rank)[:rank]


def _grown(
    before: _State, extent: Sequence[int], strides: Sequence[int], *, transposed: bool
) -> _State:
    fields, jumps = [], []
    for field, jump, size, stride in zip(before.field, before.jump, extent, strides, strict=True):
        # A transposed unit meets only every stride-th place of its kernel.
        reach = math.ceil(size / stride) if transposed else size
        fields.append(None if field is None else math.ceil(field + (reach - 1) * jump))
        jumps.append(jump / stride if transposed else jump * stride)
    return _State(tuple(fields), tuple(jumps), before.whole)


def _cost(
    layer: Any, in_shape: Sequence[int | None], out_shape: Sequence[int | None]
) -> tuple[int | None, int | None]:
    """Return connections and MACs of one example."""
    sizes = [*in_shape, *out_shape]
    if not getattr(layer, "weights", None) or isinstance(layer, _FOLDED):
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
    if isinstance(layer, _TRANSPOSED):  # Each input is spread over the kernel, cropping apart.
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
