"""Features at several strides, taken from any backbone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras

from fieldsight.core.arithmetic.fields import FRAMING, Reach, graph_of, nodes_of, reaches_of

_FINEST_TO_COARSEST = range(16)


def pyramid(
    model: keras.Model, levels: Sequence[str] = ("P2", "P3", "P4", "P5"), *, name: str | None = None
) -> keras.Model:
    """A model of a backbone's features: level `Pk` has one place for 2^k inputs along each axis.

    Of all tensors of that stride it takes the last which every path from the inputs to the first
    output passes through: the output of a residual block and not its inside, the concatenation
    of an Inception unit and not a branch. Padded and cropped maps are passed over: the next
    layer makes them so for itself. Nothing is copied: the weights are the backbone's own. Only
    what the levels need is computed; the head isn't.

    Reference:
        Lin et al., Feature pyramid networks for object detection, CVPR 2017, section 3: "the
        output of the last layer of each stage".

    Args:
        model: any functional or built sequential model of maps of two or three axes, channels
            last; models within it are entered.
        levels: names of `P0`, the input's own size, `P1`, and so on.
        name: the new model's; by default the backbone's with `_pyramid` behind it.

    Returns:
        A model from what the backbone takes to a dict of `(batch, *places, channels)` by level.

    Raises:
        ValueError: if the model has no graph, a name isn't a level's, or it has no tensor of
            that stride.

    Example:
        >>> from fieldsight.core.architectures import all_cnn
        >>> backbone = all_cnn((32, 32, 3), filters=8)
        >>> for level, features in pyramid(backbone, ("P1", "P2")).output.items():
        ...     print(level, features.shape)
        P1 (None, 16, 16, 16)
        P2 (None, 8, 8, 32)
    """
    graph = _graph(model)
    exponents = {level: _exponent(level) for level in levels}
    found = _levels(graph, _starts(graph), list(exponents.values()))
    if missing := [level for level, exponent in exponents.items() if exponent not in found]:
        raise ValueError(
            f"model {model.name!r} has the levels {', '.join(pyramid_levels(model)) or 'none'}. "
            f"Received: {', '.join(missing)}. Only a tensor that every path passes through is a "
            "level, of one stride along all axes."
        )
    outputs = {level: found[exponent] for level, exponent in exponents.items()}
    return keras.Model(graph.input, outputs, name=name or f"{model.name}_pyramid")


def pyramid_levels(model: keras.Model) -> tuple[str, ...]:
    """The levels that `pyramid` finds in a backbone, from the finest to the coarsest.

    Raises:
        ValueError: if the model has no graph.

    Example:
        >>> from fieldsight.core.architectures import all_cnn
        >>> pyramid_levels(all_cnn((32, 32, 3), filters=8))
        ('P0', 'P1', 'P2')
    """
    graph = _graph(model)
    return tuple(f"P{k}" for k in sorted(_levels(graph, _starts(graph), _FINEST_TO_COARSEST)))


def _graph(model: keras.Model) -> Any:
    graph = graph_of(model)
    if graph is None:
        raise ValueError(
            "pyramid needs a functional or a built sequential model. Received: "
            f"{type(model).__name__} {getattr(model, 'name', '')!r}. Build it, or call it on a "
            "keras.Input."
        )
    return graph


def _exponent(level: str) -> int:
    match = re.fullmatch(r"P(\d{1,2})", level)
    if match is None:
        raise ValueError(f"a level is P0, P1, P2, ... Received: {level!r}")
    return int(match[1])


def _starts(graph: Any) -> list[Reach]:
    return [Reach.start(tensor.shape) for tensor in graph.inputs]


def _levels(graph: Any, starts: Sequence[Reach], wanted: Sequence[int]) -> dict[int, Any]:
    """Return a tensor for each of the exponents wanted that there is."""
    reaches = reaches_of(graph, starts)
    narrow = _bottlenecks(graph)
    inner = next(((n, g) for n in nodes_of(graph) if (g := _entered(n, narrow)) is not None), None)
    if inner is None:
        return _last(graph, nodes_of(graph), narrow, reaches, wanted)
    # What comes after the inner model is taken from it first, then what is in it, and the rest
    # from what comes before, so that no layer is computed twice.
    node, within = inner
    before = _before(graph, node)
    end = node.output_tensors[0]
    if any(end is tensor for tensor in graph.outputs):
        after: dict[int, Any] = {}
    else:
        tail = keras.Function(end, graph.outputs[0])  # the same tensors; a Model would copy them
        after = _levels(tail, [reaches[id(end)]], wanted)
        after = {k: tensor for k, tensor in after.items() if tensor is not end}
    wanted = [k for k in wanted if k not in after]
    inside = _levels(within, [reaches[id(node.input_tensors[0])]], wanted)
    inside = {k: tensor for k, tensor in inside.items() if tensor is not within.inputs[0]}
    wanted = [k for k in wanted if k not in inside]
    found = _last(graph, before, narrow, reaches, wanted)
    if not inside:
        return {**found, **after}
    entered = keras.Model(within.input, {**_named(inside), "end": within.outputs[0]})
    outputs = entered(node.input_tensors[0], **_mode(node))
    found |= {k: outputs[f"P{k}"] for k in inside}
    if after:
        rest = keras.Model(end, _named(after))(outputs["end"])
        found |= {k: rest[f"P{k}"] for k in after}
    return found


def _named(tensors: dict[int, Any]) -> dict[str, Any]:
    return {f"P{k}": tensor for k, tensor in tensors.items()}


def _mode(node: Any) -> dict[str, Any]:
    """A backbone is often called with training=False, and is to stay so."""
    training = node.arguments.kwargs.get("training")
    return {} if training is None else {"training": training}


def _entered(node: Any, narrow: set[int]) -> Any:
    """The graph of an inner model that all paths pass through, or None."""
    graph = graph_of(node.operation)
    through = len(node.output_tensors) == 1 and id(node.output_tensors[0]) in narrow
    return graph if through and graph is not None and len(graph.inputs) == 1 else None


def _before(graph: Any, last: Any) -> list[Any]:
    nodes = list(nodes_of(graph))
    return nodes[: nodes.index(last)]


def _last(
    graph: Any,
    nodes: Any,
    narrow: set[int],
    reaches: dict[int, Reach],
    wanted: Sequence[int],
) -> dict[int, Any]:
    found = {}
    strides = {2**k: k for k in wanted}
    tensors = [*graph.inputs]
    for node in nodes:
        if not isinstance(node.operation, FRAMING):
            tensors += node.output_tensors
    for tensor in tensors:
        along = set(reaches[id(tensor)].strides(tensor.shape)) if id(tensor) in narrow else set()
        if len(along) == 1 and (stride := along.pop()) in strides:
            found[strides[stride]] = tensor
    return found


def _bottlenecks(graph: Any) -> set[int]:
    """Ids of the tensors that every path from the inputs to the first output passes through.

    A path passes through a tensor or not, so those through it are the paths to it times the
    paths from it. There are more than 2^50 of them in a ResNet-152: whole numbers hold them.
    """
    nodes = list(nodes_of(graph))
    ahead = Counter({id(tensor): 1 for tensor in graph.inputs})
    for node in nodes:
        paths = sum(ahead[id(tensor)] for tensor in node.input_tensors)
        ahead.update({id(tensor): paths for tensor in node.output_tensors})
    behind = Counter({id(graph.outputs[0]): 1})
    for node in reversed(nodes):
        paths = sum(behind[id(tensor)] for tensor in node.output_tensors)
        for tensor in node.input_tensors:
            behind[id(tensor)] += paths
    total = ahead[id(graph.outputs[0])]
    return {key for key in ahead if ahead[key] * behind[key] == total}
