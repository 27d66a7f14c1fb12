"""A model, a source and a plan, checked against each other before anything is run."""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.windows.context import Context, context_of
from fieldsight.core.windows.geometry import Plan, per_axis, plan, rounded_up
from fieldsight.core.windows.reading import (
    SIDE_BY_SIDE,
    Batch,
    Padding,
    Reader,
    Valid,
    ahead,
    in_turn,
)

# (batch, *window, channels) -> (batch, *places, classes), or a dict, list or tuple of them
Model = Callable[[NDArray[Any]], Any]
Global = Literal["refuse", "warn"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be run on what: made by `prepare`."""

    model: Model
    plan: Plan
    reader: Reader

    def answers(self, rows: Sequence[int]) -> Generator[tuple[Batch, Any], None, None]:
        """Yield each batch with the model's answer; None where no window of it was run.

        Its pictures are gone by then, unless the answer is made of them.
        """
        with (
            contextlib.closing(ahead(self.reader.batches(rows))) as batches,
            contextlib.closing(in_turn(self._answer, batches, self._at_once)) as answers,
        ):
            for batch, answer in answers:
                parts = (np.asarray(part) for part in keras.tree.flatten(answer))
                if batch.images is not None and not any(
                    np.may_share_memory(part, batch.images) for part in parts
                ):
                    self.reader.give_back(batch.images)
                    batch = replace(batch, images=None)
                yield batch, answer

    def _answer(self, batch: Batch) -> Any:
        return None if batch.images is None else self.model(batch.images)

    def _at_once(self) -> int:
        return SIDE_BY_SIDE if getattr(self.model, "side_by_side", False) else 1

    def trial(self) -> Any:
        """What the model answers to one window of zeros, for its form."""
        channels = int(self.reader.source.shape[-1])
        return self.model(np.zeros((1, *self.plan.window, channels), self.reader.dtype))


def prepare(
    source: Any,
    model: Any,
    *,
    window: int | Sequence[int] | None,
    batch_size: int,
    margin: int | Sequence[int] | None,
    stride: int | Sequence[int] | None,
    overlap: int | Sequence[int],
    padding: Padding,
    nodata: float | None,
    valid: Valid | None,
    global_operations: Global,
    spare: deque[NDArray[Any]] | None = None,
) -> Job:
    """Check a model and a source, and lay the windows out; arguments are those of `predict`.

    Raises:
        ValueError: if they don't fit each other, or the model can't be run by windows.
    """
    if batch_size < 1 or padding not in ("reflect", "edge", "zeros"):
        raise ValueError(
            "batch_size must be at least 1, and padding 'reflect', 'edge' or 'zeros'. "
            f"Received: batch_size={batch_size}, padding={padding!r}"
        )
    network = _network(model)
    shape = _shape(source, network)
    rank = len(shape) - 1
    steps, edges = _needs(network, rank, margin, stride, global_operations)
    sides = [None] * rank if network is None else network.inputs[0].shape[1:-1]
    size = _window(window, sides, rank)
    layout = plan(
        shape[:-1],
        size,
        margin=edges,
        stride=steps,
        overlap=overlap,
        shrink=all(side is None for side in sides),
    )
    reader = Reader(
        source=source,
        plan=layout,
        dtype="float32" if network is None else str(network.inputs[0].dtype),
        batch_size=batch_size,
        padding=padding,
        nodata=nodata,
        valid=valid,
        spare=deque() if spare is None else spare,
    )
    # Not model(...): on TensorFlow that runs layer by layer, uncompiled.
    run = model.predict_on_batch if isinstance(model, keras.Model) else model
    return Job(model=run, plan=layout, reader=reader)


def _network(model: Any) -> Any:
    """The Keras model that a callable is, or keeps as its `model`; None if neither."""
    for candidate in (model, getattr(model, "model", None)):
        if isinstance(candidate, keras.Model):
            return candidate if getattr(candidate, "inputs", None) else None
    if not callable(model):
        raise ValueError(
            "a model is a Keras model, or a callable from (batch, *window, channels). "
            f"Received: {type(model).__name__}"
        )
    return None


def _shape(source: Any, network: Any) -> tuple[int, ...]:
    if not hasattr(source, "shape"):
        raise ValueError(
            "a source needs a shape, (*sides, channels), and gives source[slices] or "
            f"source.read(slices). Received: {type(source).__name__}"
        )
    shape = tuple(int(side) for side in source.shape)
    wanted = None if network is None else tuple(network.inputs[0].shape)[1:]
    fits = wanted is None or (len(wanted) == len(shape) and wanted[-1] in (None, shape[-1]))
    if len(shape) < 2 or min(shape) < 1 or not fits:
        form = "at least one side and channels" if wanted is None else str(wanted)
        raise ValueError(
            f"the model takes {form}; a source has no batch, and channels last even where "
            f"there is one. Received: a source of shape {shape}"
        )
    return shape


def _window(
    window: int | Sequence[int] | None, sides: Sequence[int | None], rank: int
) -> tuple[int, ...]:
    if window is None:
        if None in sides:
            raise ValueError(
                "window must be given, because the model takes pictures of any size. Received: "
                f"window=None. {512 if rank < 3 else 96} is a size to begin with."
            )
        return tuple(int(side or 0) for side in sides)
    sizes = per_axis("window", window, rank, 1)
    if any(side not in (None, size) for side, size in zip(sides, sizes, strict=True)):
        raise ValueError(
            f"the model takes windows of {tuple(sides)} alone. Received: window={window}. Leave it "
            "out, or build the model on sides of None."
        )
    return sizes


def _needs(
    network: Any,
    rank: int,
    margin: int | Sequence[int] | None,
    stride: int | Sequence[int] | None,
    global_operations: Global,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The stride and the margin along each axis: the model's, or as given."""
    steps = None if stride is None else per_axis("stride", stride, rank, 1)
    edges = None if margin is None else per_axis("margin", margin, rank, 0)
    context = _context(network, given=steps is not None and edges is not None)
    if context is None:
        if steps is None or edges is None:
            raise ValueError(
                "stride= and margin= must be given for a model that isn't a Keras model with a "
                "graph: the model's stride in all, and how far it looks beyond a place. Received: "
                f"stride={stride}, margin={margin}"
            )
        return steps, edges
    _check_global(network, context, global_operations)
    if context.unknown and (steps is None or edges is None):
        raise ValueError(
            "stride= and margin= must be given, because layers of the model can't be followed. "
            f"Received: model {network.name!r} with {_listed(context.unknown)}"
        )
    if context.unknown and steps is not None and edges is not None:
        return steps, edges
    if steps is None:
        steps = context.stride
    elif any(step % own for step, own in zip(steps, context.stride, strict=True)):
        raise ValueError(
            f"stride must be a multiple of the model's, {context.stride}. Received: {stride}"
        )
    if edges is None:
        return steps, tuple(map(rounded_up, context.radius, steps))
    if any(edge < radius for edge, radius in zip(edges, context.radius, strict=True)):
        warnings.warn(
            f"margin={margin} is less than the model looks around a place, {context.radius}: "
            "the answer will depend on where windows lie. Blend it by an overlap.",
            stacklevel=4,
        )
    return steps, edges


def _context(network: Any, *, given: bool) -> Context | None:
    if network is None:
        return None
    try:
        return context_of(network)
    except ValueError:
        if given:
            return None
        raise


def _check_global(network: Any, context: Context, global_operations: Global) -> None:
    if global_operations not in ("refuse", "warn"):
        raise ValueError(
            f"global_operations must be 'refuse' or 'warn'. Received: {global_operations!r}"
        )
    if not context.global_operations:
        return
    message = (
        f"model {network.name!r} mixes all places of a window, so that its answer depends on what "
        f"else the window shows: {_listed(context.global_operations)}."
    )
    if global_operations == "refuse":
        raise ValueError(
            f"{message} Take a model without, or say global_operations='warn' and blend by an "
            "overlap."
        )
    warnings.warn(message, stacklevel=5)


def _listed(layers: Sequence[str]) -> str:
    rest = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    return ", ".join(layers[:3]) + rest


def arrays(answer: Any, count: int | None = None) -> list[NDArray[Any]]:
    """A model's outputs one after the other, however they are nested.

    Raises:
        ValueError: if one isn't of so many windows.
    """
    outputs = [np.asarray(output) for output in keras.tree.flatten(answer)]
    for output in outputs:
        if output.ndim < 1 or (count is not None and len(output) != count):
            raise ValueError(
                f"a model must answer {count} windows by as many. Received: {output.shape}"
            )
    return outputs


def scale_of(plan: Plan, form: tuple[int, ...]) -> tuple[int, ...]:
    """Places of the array for one of an output, along each axis.

    Args:
        plan: where the windows lie.
        form: `(*places, classes)` of one window's answer.

    Raises:
        ValueError: if seams would fall between an output's places, or it has none.
    """
    places = form[:-1]
    fits = len(places) == len(plan.axes) and all(
        place and axis.window % place == 0 and axis.stride % (axis.window // place) == 0
        for axis, place in zip(plan.axes, places, strict=True)
    )
    if not fits:
        strides = tuple(axis.stride for axis in plan.axes)
        raise ValueError(
            "a model must answer (batch, *places, classes), and the window's sides be the "
            f"places' times a divisor of the stride, {strides}. Received: {form} without the batch "
            f"for a window of {plan.window}. Take 'same' padding in the model, and say stride= if "
            "it isn't a Keras model."
        )
    return tuple(axis.window // place for axis, place in zip(plan.axes, places, strict=True))
