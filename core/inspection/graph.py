"""A model's layers one by one: their names, what they take and what they answer."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

# (name, operation, positional arguments, outputs) -> the outputs that the graph goes on with
Visit = Callable[[str, Any, tuple[Any, ...], Any], Any]
_Number = Callable[[str], str]


def walk(
    model: keras.Model, images: Any, visit: Visit, *, known: Mapping[str, Any] | None = None
) -> Any:
    """Run a model layer by layer, and return its first output.

    Args:
        model: a built model.
        images: a batch; with a `keras.KerasTensor` nothing is computed but shapes.
        visit: sees each layer's output and may replace it.
        known: outputs by the name of their layer, which isn't run then, nor visited.
    """
    counts: Counter[str] = Counter()

    def number(name: str) -> str:
        counts[name] += 1
        return name if counts[name] == 1 else f"{name}#{counts[name]}"

    tensor = images
    if not isinstance(images, keras.KerasTensor):
        tensor = keras.ops.convert_to_tensor(images, dtype=input_dtype(model))
    return _run(model, tensor, visit, known or {}, number, "")


def _run(
    model: Any,
    tensor: Any,
    visit: Visit,
    known: Mapping[str, Any],
    number: _Number,
    prefix: str,
) -> Any:
    symbolic = isinstance(tensor, keras.KerasTensor)

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        name = prefix + operation.name
        if is_graph(operation):
            return _run(operation, args[0], visit, known, number, name + "/")
        name = number(name)
        if name in known:
            return known[name]
        if symbolic:  # not a call, which would add a node to the layer
            return visit(name, operation, args, operation.compute_output_spec(*args, **kwargs))
        if isinstance(operation, keras.layers.Layer):
            kwargs["training"] = False
        return visit(name, operation, args, operation(*args, **kwargs))

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            tensor = apply(layer, tensor)
        return tensor
    # Public ways to reach inner tensors (keras.Model on a layer's output) append nodes to the
    # caller's layers and can't enter nested models; this leaves the model as it was.
    outputs = model._run_through_graph(
        tensor, lambda operation: functools.partial(apply, operation)
    )
    if prefix and len(model.outputs) > 1:
        return outputs
    return first_output(outputs)


def first_output(outputs: Any) -> Any:
    """The answer of a model that may have others besides, an auxiliary one for example."""
    flat = keras.tree.flatten(outputs)
    return flat[0]


def is_graph(operation: Any) -> bool:
    """Whether a layer is a model whose layers can be entered."""
    return isinstance(operation, keras.Sequential) or hasattr(operation, "_run_through_graph")


def layers_of(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each layer with its name; those of inner models are `outer/inner`."""
    for layer in model.layers:
        if is_graph(layer):
            yield from layers_of(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def is_convolution(layer: Any) -> bool:
    """Whether a layer has a kernel that all places share."""
    size = getattr(layer, "kernel_size", None)
    kernel = getattr(layer, "kernel", None)
    return size is not None and kernel is not None and len(kernel.shape) == len(size) + 2


def convolves(layer: Any) -> bool:
    """Whether a layer has weights and windows, shared or not."""
    return getattr(layer, "kernel_size", None) is not None and bool(layer.weights)


def spatial_rank(model: keras.Model) -> int | None:
    """2 for a network on pictures, 3 on volumes, as its first windowed layer says."""
    for _, layer in layers_of(model):
        window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
        if isinstance(window, (tuple, list)):
            if getattr(layer, "data_format", None) == "channels_first":
                raise ValueError(
                    "inspection needs channels last. Received: "
                    f"data_format='channels_first' in layer {layer.name!r}."
                )
            return len(window)
    return None


def input_dtype(model: keras.Model) -> str:
    """What a model takes; refuses one that has no graph or several inputs."""
    if not is_graph(model) or not model.built:
        raise ValueError(
            "inspection needs a built functional or Sequential model. Received: "
            f"{type(model).__name__} {model.name!r}; give it a keras.Input."
        )
    if len(model.inputs) != 1:
        raise ValueError(f"inspection needs one input. Received: {len(model.inputs)} inputs.")
    return str(model.inputs[0].dtype)


def checked_pictures(model: keras.Model, images: ArrayLike) -> NDArray[Any]:
    """Pictures as an array that fits the model."""
    input_dtype(model)
    pictures = np.asarray(images)
    wanted = tuple(model.inputs[0].shape)[1:]
    fits = pictures.ndim == len(wanted) + 1 and all(
        side is None or side == given
        for side, given in zip(wanted, pictures.shape[1:], strict=True)
    )
    if not fits or not len(pictures):
        raise ValueError(
            f"Model {model.name!r} needs at least one picture, (n, "
            f"{', '.join(map(str, wanted))}). Received: an array of shape {pictures.shape}."
        )
    return pictures


def batches(images: Any, batch_size: int) -> Iterator[tuple[int, Any]]:
    """Yield where each batch starts, and the batch."""
    for start in range(0, len(images), batch_size):
        yield start, images[start : start + batch_size]


def to_numpy(tensor: Any) -> NDArray[np.float32]:
    """A tensor of any precision as float32."""
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float32)


def unknown_layer(model: keras.Model, name: str) -> ValueError:
    """What to raise for a name that no layer has."""
    known = [found for found, _ in layers_of(model)]
    return ValueError(f"Model {model.name!r} has the layers {known}. Received: layer={name!r}.")
