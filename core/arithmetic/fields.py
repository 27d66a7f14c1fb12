"""How much of a model's input one unit of each tensor sees, followed through its graph."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import zip_longest
from typing import Any

from keras import layers as kl

_GLOBAL = (
    kl.GlobalAveragePooling1D, kl.GlobalAveragePooling2D, kl.GlobalAveragePooling3D,
    kl.GlobalMaxPooling1D, kl.GlobalMaxPooling2D, kl.GlobalMaxPooling3D,
)  # fmt: skip
TRANSPOSED = (kl.Conv1DTranspose, kl.Conv2DTranspose, kl.Conv3DTranspose)
_UPSAMPLING = (kl.UpSampling1D, kl.UpSampling2D, kl.UpSampling3D)
# Neighbours along an axis that each new unit is interpolated from.
_TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4, "lanczos3": 6, "lanczos5": 10}
# What a unit sees isn't moved or widened by these, whatever becomes of the map's size.
FRAMING = (
    kl.ZeroPadding1D, kl.ZeroPadding2D, kl.ZeroPadding3D,
    kl.Cropping1D, kl.Cropping2D, kl.Cropping3D,
)  # fmt: skip
_FOLDED = (
    kl.BatchNormalization, kl.GroupNormalization, kl.LayerNormalization, kl.Normalization,
    kl.RMSNormalization, kl.UnitNormalization, kl.PReLU,
)  # fmt: skip
_POINTWISE = (kl.Dense, kl.EinsumDense)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How much of one axis of the input a unit sees.

    After a map was enlarged, several units see the same of the coarser one: what a window adds is
    then rounded up to whole steps of the coarser grid, as the unit that sees most does. A map
    that is enlarged again has a grid within a grid, each rounded to the next coarser one in turn.

    Attributes:
        base: how many inputs, before the map was enlarged or anything was added; None is unknown.
        jump: inputs from one unit to its neighbour: 0 where every unit sees everything, so that
            neither kernels nor strides change it any more; None is unknown.
        extra: what was added since the last enlargement, in inputs.
        grain: inputs from one unit to the next of the map that was last enlarged; 0 is none.
        coarser: extra and grain of the enlargements before, the last one first.
    """

    base: int | None
    jump: Fraction | None
    extra: Fraction = Fraction(0)
    grain: Fraction = Fraction(0)
    coarser: tuple[tuple[Fraction, Fraction], ...] = ()

    @property
    def field(self) -> int | None:
        """How many inputs the unit sees that sees most; None is unknown."""
        axis = self
        while axis.grain:
            axis = axis._rounded()
        return None if axis.base is None else math.ceil(axis.base + axis.extra)

    def windowed(self, extent: int, stride: int) -> "Axis":
        """What a unit sees after a window of this extent."""
        if self.jump is None:
            return self
        return replace(self, extra=self.extra + (extent - 1) * self.jump, jump=self.jump * stride)

    def enlarged(self, extent: int, stride: int) -> "Axis":
        """What a unit sees after each was spread over a window of this extent."""
        if self.jump is None:
            return self
        fine = self.jump / stride
        # A unit of the larger map meets only every stride-th place of the window.
        added = max(extent - stride, 0) * fine
        axis = self
        while axis.grain and self.jump >= axis.grain:
            axis = axis._rounded()
        if not axis.grain:
            return Axis(base=axis.field, jump=fine, extra=added, grain=self.jump)
        coarser = ((axis.extra, axis.grain), *axis.coarser)
        return replace(axis, jump=fine, extra=added, grain=self.jump, coarser=coarser)

    def _rounded(self) -> "Axis":
        """The same on the next coarser grid, what was added rounded up to its steps."""
        whole = math.ceil(self.extra / self.grain) * self.grain
        if self.coarser:
            (extra, grain), *rest = self.coarser
            return replace(self, extra=extra + whole, grain=grain, coarser=tuple(rest))
        base = None if self.base is None else math.ceil(self.base + whole)
        return replace(self, base=base, extra=Fraction(0), grain=Fraction(0))


_UNKNOWN = Axis(base=None, jump=None)


@dataclass(frozen=True)
class Reach:
    """How much of the input one unit of a tensor sees, and how large the input is."""

    axes: tuple[Axis, ...]
    whole: tuple[int | None, ...]

    @classmethod
    def start(cls, shape: Sequence[int | None]) -> "Reach":
        """Return what a unit of the input itself sees; `shape` has batch and channels."""
        whole = tuple(shape[1:-1])
        return cls((Axis(base=1, jump=Fraction(1)),) * len(whole), whole)

    @classmethod
    def merged(cls, reaches: Sequence["Reach"]) -> "Reach":
        """Return what a unit sees where branches meet: the largest field and step of them."""
        longest = max(reaches, key=lambda reach: len(reach.whole))
        together = zip_longest(*(reach.axes for reach in reaches))
        return cls(tuple(_larger([a for a in axes if a]) for axes in together), longest.whole)

    @property
    def field(self) -> tuple[int | None, ...]:
        """How many inputs along each axis."""
        return tuple(axis.field for axis in self.axes)

    def everything(self) -> "Reach":
        """Return what a unit sees that mixes all places."""
        return Reach(tuple(Axis(base=side, jump=Fraction(0)) for side in self.whole), self.whole)

    def unknown(self) -> "Reach":
        """Return what can be said after a layer that can't be followed."""
        return Reach((_UNKNOWN,) * len(self.whole), self.whole)

    def strides(self, shape: Sequence[int | None]) -> tuple[int | Fraction | None, ...]:
        """Return the inputs between neighbours of a tensor of this shape; () without places."""
        jumps = [axis.jump for axis in self.axes]
        if len(shape) != len(self.whole) + 2 or (jumps and not any(j != 0 for j in jumps)):
            return ()
        return tuple(int(j) if j is not None and j.denominator == 1 else j for j in jumps)


def _larger(axes: Sequence[Axis]) -> Axis:
    jumps = [axis.jump for axis in axes]
    jump = None if None in jumps else max(j for j in jumps if j is not None)
    if any(axis.base is None for axis in axes):
        return Axis(base=None, jump=jump)
    return replace(max(axes, key=lambda axis: (axis.field or 0, axis.grain)), jump=jump)


def graph_of(model: Any) -> Any:
    """Return the functional graph of a model, or None where it has none.

    A sequential model keeps the functional one it amounts to; a subclassed model has none.
    """
    inner = getattr(model, "_functional", None) or model
    return inner if getattr(inner, "_nodes_by_depth", None) else None


def nodes_of(graph: Any) -> Iterator[Any]:
    """Yield the uses of layers in a graph, inputs apart, each after all that it needs."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from (node for node in graph._nodes_by_depth[depth] if not node.is_input)


def reaches_of(graph: Any, inputs: Sequence[Reach]) -> dict[int, Reach]:
    """Return the reach of each tensor of a graph by its id; inner models are followed.

    Args:
        graph: a functional graph, as `graph_of` gives it.
        inputs: the reach of each of its inputs.
    """
    known = {id(tensor): reach for tensor, reach in zip(graph.inputs, inputs, strict=True)}
    for node in nodes_of(graph):
        before = [known[id(tensor)] for tensor in node.input_tensors]
        inner = graph_of(node.operation)
        if inner is None:
            after = [through(node, before)[1]] * len(node.output_tensors)
        else:
            found = reaches_of(inner, before)
            after = [found[id(tensor)] for tensor in inner.outputs]
        known.update(zip(map(id, node.output_tensors), after, strict=True))
    return known


def folds(layer: Any) -> bool:
    """Whether a layer but scales and shifts, which the layer before it could do as well."""
    if isinstance(layer, _FOLDED):
        return True
    weights = getattr(layer, "weights", None) or ()
    return not hasattr(layer, "count_macs") and all(len(w.shape) <= 1 for w in weights)


def through(node: Any, before: Sequence[Reach]) -> tuple[tuple[int | None, ...], Reach]:
    """Return a layer's own field, and what its units see of the model's input.

    Args:
        node: a use of a layer.
        before: the reach of each tensor that it takes.
    """
    layer, reach = node.operation, Reach.merged(before)
    in_shape, out_shape = node.input_tensors[0].shape, node.output_tensors[0].shape
    ones = (1,) * len(reach.axes)
    if isinstance(layer, _GLOBAL):
        return tuple(in_shape[1:-1]), reach.everything()
    weighs = bool(getattr(layer, "weights", None))
    if len(in_shape) == 2 and weighs and not folds(layer):
        return reach.whole, reach.everything()  # Dense, or alike: it mixes all places.
    if isinstance(layer, _UPSAMPLING):
        sizes = _per_axis(layer.size, len(ones))
        taps = _TAPS.get(getattr(layer, "interpolation", "nearest"), 1)
        return ones, _grown(reach, [taps * size for size in sizes], sizes, transposed=True)
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if isinstance(window, int | tuple | list):
        return _windowed(layer, reach, window)
    counted = isinstance(layer, _POINTWISE) or hasattr(layer, "count_macs")
    mixes = weighs and not counted and not folds(layer)
    return ones, reach.unknown() if mixes or _resized(layer, in_shape, out_shape) else reach


def _resized(layer: Any, before: Sequence[int | None], after: Sequence[int | None]) -> bool:
    """Whether a map's size changes by other than a window, a frame or a gate's broadcast."""
    if isinstance(layer, FRAMING) or len(before) != len(after):
        return False
    sides = list(zip(before[1:-1], after[1:-1], strict=True))
    gates = all(old == 1 for old, _ in sides)
    return not gates and any(old != new for old, new in sides)


def _windowed(layer: Any, reach: Reach, window: Any) -> tuple[tuple[int | None, ...], Reach]:
    rank = len(reach.axes)
    kernel = _per_axis(window, rank)
    # Pooling that doesn't name its strides moves by its window.
    pool = getattr(layer, "pool_size", None)
    strides = _per_axis(getattr(layer, "strides", None) or pool or 1, rank)
    dilation = _per_axis(getattr(layer, "dilation_rate", 1), rank)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    return extent, _grown(reach, extent, strides, transposed=isinstance(layer, TRANSPOSED))


def _per_axis(value: Any, rank: int) -> tuple[int, ...]:
    sizes = (value,) * rank if isinstance(value, int) else tuple(value)
    return sizes if len(sizes) == rank else (sizes + (1,) * rank)[:rank]


def _grown(
    before: Reach, extent: Sequence[int], strides: Sequence[int], *, transposed: bool
) -> Reach:
    along = zip(before.axes, extent, strides, strict=True)
    axes = (a.enlarged(e, s) if transposed else a.windowed(e, s) for a, e, s in along)
    return Reach(tuple(axes), before.whole)
