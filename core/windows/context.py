"""How far a model looks around a place, in which steps it moves, and what it mixes globally."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import layers as kl

from fieldsight.core.arithmetic.fields import TRANSPOSED, Reach, graph_of, nodes_of, through
from fieldsight.core.inspection.fields import _pads
from fieldsight.core.layers.locally_connected import BaseLocallyConnected
from fieldsight.core.windows.geometry import rounded_up

_ATTENTION = (kl.Attention, kl.AdditiveAttention, kl.GroupQueryAttention, kl.MultiHeadAttention)
# Their output's size doesn't depend on the input's: each place sees a share of the whole.
_ADAPTIVE = (
    kl.AdaptiveAveragePooling1D, kl.AdaptiveAveragePooling2D, kl.AdaptiveAveragePooling3D,
    kl.AdaptiveMaxPooling1D, kl.AdaptiveMaxPooling2D, kl.AdaptiveMaxPooling3D,
)  # fmt: skip
_UPSAMPLING = (kl.UpSampling1D, kl.UpSampling2D, kl.UpSampling3D)
# Coarse neighbours on either side that an interpolated place is made of.
_NEIGHBOURS = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}
_OPAQUE = (kl.Lambda, kl.Permute, kl.Reshape)
_SOME = 64  # steps of a layer: enough to ask what it pads, whatever the array's size
_LARGE = 2**20


@dataclass(frozen=True, kw_only=True)
class Context:
    """What windows must know of a model.

    Attributes:
        stride: the model's in all, along each axis: moved by it, the answer moves along.
        radius: places before or after its own that an answer may depend on.
        global_operations: layers that mix all places, each with what it is.
        unknown: layers that can't be followed; then stride and radius say nothing.
    """

    stride: tuple[int, ...]
    radius: tuple[int, ...]
    global_operations: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def margin(self) -> tuple[int, ...]:
        """The radius, rounded up to the stride."""
        each = zip(self.radius, self.stride, strict=True)
        return tuple(rounded_up(radius, stride) for radius, stride in each)


@dataclass(frozen=True)
class _Sight:
    """What a unit sees along an axis beyond its own block of `jump` inputs, before and after."""

    jump: int
    before: int = 0
    after: int = 0

    def moved(self, before: int, after: int) -> "_Sight":
        """A unit that sees so many units more on either side; fewer if they are negative."""
        return _Sight(self.jump, self.before + before * self.jump, self.after + after * self.jump)


class _Lost(Exception):  # noqa: N818  (never leaves this file)
    """A layer whose units can't be followed."""


def context_of(model: Any) -> Context:
    """Follow a model's graph: what windows must be, that it answers in them as on the whole.

    Exact where all layers are Keras's or this package's own; other layers are followed by their
    `kernel_size`, `strides` and `padding`, and taken to work place by place if they have neither
    those nor weights.

    Args:
        model: a functional or a built sequential `keras.Model` of one input, channels last.

    Returns:
        Its stride, its radius, and what stands against windows.

    Raises:
        ValueError: if it has no graph, or not one input with places.

    Example:
        >>> from fieldsight.core.architectures import unet
        >>> found = context_of(unet((64, 64, 3), filters=4, depth=2))
        >>> found.stride, found.radius, found.margin, found.global_operations
        ((4, 4), (23, 23), (24, 24), ())
    """
    graph = graph_of(model)
    if graph is None or len(graph.inputs) != 1 or len(graph.inputs[0].shape) < 3:
        raise ValueError(
            "only a functional or a built sequential model of one input (batch, *sides, channels) "
            f"can be followed. Received: {type(model).__name__} {getattr(model, 'name', '')!r}. "
            "Say stride= and margin= instead."
        )
    rank = len(graph.inputs[0].shape) - 2
    walk = _Walk(rank)
    # Sides that the model leaves open are taken as known: they matter to global layers alone.
    shape = [_LARGE if side is None else side for side in graph.inputs[0].shape]
    seen = walk.through(graph, [(Reach.start(shape), (_Sight(1),) * rank)])
    sights = [sight for _, sight in seen if sight is not None]
    radius = tuple(
        max((max(s[axis].before, s[axis].after, 0) for s in sights), default=0)
        for axis in range(rank)
    )
    return Context(
        stride=tuple(walk.strides),
        radius=radius,
        global_operations=tuple(walk.mixing),
        unknown=tuple(walk.unknown),
    )


_Seen = tuple[Reach, tuple[_Sight, ...] | None]


class _Walk:
    """Follows a graph and its inner models, and writes down what it meets."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.strides = [1] * rank
        self.mixing: list[str] = []
        self.unknown: list[str] = []

    def through(self, graph: Any, inputs: Sequence[_Seen]) -> list[_Seen]:
        """Return what the units of a graph's outputs see."""
        known = {id(tensor): seen for tensor, seen in zip(graph.inputs, inputs, strict=True)}
        for node in nodes_of(graph):
            before = [known[id(tensor)] for tensor in node.input_tensors]
            inner = graph_of(node.operation)
            if inner is not None:
                after = self.through(inner, before)
            else:
                after = [self._step(node, before)] * len(node.output_tensors)
            known.update(zip(map(id, node.output_tensors), after, strict=True))
        return [known[id(tensor)] for tensor in graph.outputs]

    def _step(self, node: Any, before: Sequence[_Seen]) -> _Seen:
        layer = node.operation
        _, reach = through(node, [seen[0] for seen in before])
        sights = [sight for _, sight in before if sight is not None]
        if not sights:  # A gate's own layers, after a global pooling that is written down.
            return reach, None
        if kind := _mixes(node, self.rank, reach):
            self.mixing.append(f"{layer.name} ({kind})")
            is_map = len(node.output_tensors[0].shape) == self.rank + 2
            gate = is_map and all(side == 1 for side in node.output_tensors[0].shape[1:-1])
            return reach, _joined(sights) if is_map and not gate else None
        try:
            sight = _joined(sights)
            sight = _after(node, sight, reach)
        except _Lost:
            self.unknown.append(f"{layer.name} ({type(layer).__name__})")
            return reach, _widest(sights)
        for axis, along in enumerate(sight):
            self.strides[axis] = math.lcm(self.strides[axis], along.jump)
        return reach, sight


def _mixes(node: Any, rank: int, reach: Reach) -> str:
    """What a layer is that mixes all places of a map; empty if it doesn't."""
    layer, shape = node.operation, node.input_tensors[0].shape
    kind = type(layer).__name__
    if isinstance(layer, (*_ATTENTION, *_ADAPTIVE, kl.GroupNormalization)):
        return kind
    if isinstance(layer, BaseLocallyConnected):
        return "weights of its own at each place"
    if isinstance(layer, kl.Concatenate) or kind in ("Concatenate", "GetItem"):
        return ""  # Their axis is looked at by what becomes of the map's size.
    ways = rank + 2
    if len(shape) == ways and len(node.output_tensors[0].shape) < ways and kind != "Squeeze":
        return kind  # A global pooling, a flattening, a mean: places are no more.
    if reach.axes and all(axis.jump == 0 for axis in reach.axes):
        return kind
    axis = getattr(layer, "axis", None)
    axes = axis if isinstance(axis, list | tuple) else [] if axis is None else [axis]
    spatial = {int(a) % ways for a in axes if isinstance(a, int)} & set(range(1, ways - 1))
    return kind if spatial and len(shape) == ways else ""


def _joined(sights: Sequence[tuple[_Sight, ...]]) -> tuple[_Sight, ...]:
    if len({tuple(along.jump for along in sight) for sight in sights}) > 1:
        raise _Lost
    return _widest(sights)


def _widest(sights: Sequence[tuple[_Sight, ...]]) -> tuple[_Sight, ...]:
    return tuple(
        _Sight(max(s.jump for s in s_), max(s.before for s in s_), max(s.after for s in s_))
        for s_ in zip(*sights, strict=True)
    )


def _after(node: Any, sight: tuple[_Sight, ...], reach: Reach) -> tuple[_Sight, ...]:
    """What a unit sees after a layer."""
    layer, rank = node.operation, len(sight)
    if isinstance(layer, _OPAQUE) or (type(layer).__name__ == "GetItem" and not _whole_map(node)):
        raise _Lost
    if isinstance(layer, _UPSAMPLING):
        neighbours = _NEIGHBOURS[getattr(layer, "interpolation", "nearest")]
        sizes = _each(layer.size, rank)
        return tuple(
            _enlarged(s.moved(neighbours, neighbours), size)
            for s, size in zip(sight, sizes, strict=True)
        )
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if isinstance(layer, TRANSPOSED):
        along = zip(sight, _each(window, rank), _each(layer.strides, rank), strict=True)
        return tuple(_spread(layer, *of) for of in along)
    strides = _each(getattr(layer, "strides", None) or getattr(layer, "pool_size", None) or 1, rank)
    dilation = _each(getattr(layer, "dilation_rate", None) or 1, rank)
    kernel = _each(window or 1, rank)
    pads = _pads(layer, rank, window, tuple(_SOME * stride for stride in strides))
    if pads is None or (window is None and any(a.field is None for a in reach.axes)):
        raise _Lost
    after = []
    for axis, s in enumerate(sight):
        extent, before = dilation[axis] * (kernel[axis] - 1) + 1, pads[axis][0]
        wider = s.moved(before, extent - strides[axis] - before)
        after.append(_Sight(wider.jump * strides[axis], wider.before, wider.after))
    return tuple(after)


def _whole_map(node: Any) -> bool:
    """Whether indexing takes channels alone: `x[..., :2]`, `x[:, :, :, :2]`."""
    key = node.arguments.args[1]
    places = key[:-1] if isinstance(key, tuple) else (key,)
    every = (slice(None),) * (len(node.input_tensors[0].shape) - 1)
    return places in ((Ellipsis,), every)


def _enlarged(s: _Sight, times: int) -> _Sight:
    """A unit of a map that is some times as large: it stands anywhere in the coarser block."""
    if s.jump % times:
        raise _Lost  # Finer than the input itself.
    rest = s.jump - s.jump // times
    return _Sight(s.jump // times, s.before + rest, s.after + rest)


def _spread(layer: Any, s: _Sight, kernel: int, stride: int) -> _Sight:
    """A unit after a transposed convolution: coarse unit i gives to i * stride - cut + k."""
    if getattr(layer, "dilation_rate", 1) not in (1, (1,) * layer.rank):
        raise _Lost
    cut = max(kernel - stride, 0) // 2 if layer.padding == "same" else 0
    return _enlarged(s.moved((kernel - 1 - cut) // stride, (stride - 1 + cut) // stride), stride)


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)
