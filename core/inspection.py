"""What a network sees: its filters, feature maps, favourite pictures, Grad-CAM and occlusion.

Every function takes a built functional or Sequential model, flat or with models nested in it
(their layers are named `outer/inner`), of one input, channels last, 1-D to 3-D; a layer that is
used twice answers as `name` and `name#2`. Layers run as in inference. Pictures are what the
model takes: raw uint8 pictures too, because gradients are of a layer's output, not of the input.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

# (name, operation, positional arguments, outputs) -> the outputs that the graph goes on with
_Visit = Callable[[str, Any, tuple[Any, ...], Any], Any]
# values, pictures and cells, each (units, k)
_Best = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


class Field(NamedTuple):
    """Which pixels of the picture a cell of a feature map sees, one number an axis.

    Cell `i` sees pixels `start + i * stride` up to, not including, `start + i * stride + size`;
    padding may put the first start before the picture.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TopImages:
    """The pictures that excite each unit of a layer most, best first.

    A unit is a channel of a convolutional layer (its value is the maximum over the map), or an
    element of a vector.

    Attributes:
        indices: `(units, k)` int64, positions in the pictures given.
        values: `(units, k)` float32, the activations.
        cells: `(units, k, rank)` int64, where in the feature map the maximum is; None for vectors.
        boxes: `(units, k, 2, rank)` int64, first pixel and end (exclusive) of what that cell
            sees, clipped to the picture; None for vectors and where it isn't known.
    """

    indices: NDArray[np.int64]
    values: NDArray[np.float32]
    cells: NDArray[np.int64] | None
    boxes: NDArray[np.int64] | None


def filters(model: keras.Model, layer: str | None = None) -> NDArray[np.float32]:
    """Kernels of a convolution, by default of the first one.

    Args:
        model: a built model.
        layer: name of a layer with a shared kernel.

    Returns:
        `(filters, *kernel_size, channels)` float32; channels are those of the layer's input.

    Raises:
        ValueError: if no such layer is a convolution.

    Example:
        >>> from fieldsight.core import inspection
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
        >>> inspection.filters(model).shape
        (4, 3, 3, 1)
    """
    convolutions = {name: found for name, found in _layers(model) if _is_convolution(found)}
    name = layer if layer is not None else next(iter(convolutions), None)
    if name not in convolutions:
        raise ValueError(
            f"filters needs a convolution. Received: layer={layer!r} of model {model.name!r}, "
            f"whose convolutions are {sorted(convolutions)}."
        )
    return np.moveaxis(_numpy(keras.ops.convert_to_tensor(convolutions[name].kernel)), -1, 0)


def feature_maps(
    model: keras.Model,
    images: ArrayLike,
    *,
    layers: Sequence[str] | None = None,
    batch_size: int = 128,
) -> dict[str, NDArray[np.float32]]:
    """Output of every layer, maps and vectors, in the order in which the model computes them.

    Args:
        model: a built model.
        images: `(n, ...)` pictures as the model takes them.
        layers: names to keep; all by default. Everything kept is held in memory.
        batch_size: pictures at a time.

    Returns:
        Name to `(n, ...)` float32. The last entry is the model's answer where it has one output.

    Raises:
        ValueError: if the pictures don't fit the model, or a name is no layer of it.
    """
    kept: dict[str, list[NDArray[np.float32]]] = {}

    def keep(name: str, _operation: Any, _args: tuple[Any, ...], outputs: Any) -> Any:
        if hasattr(outputs, "shape") and (layers is None or name in layers):
            kept.setdefault(name, []).append(_numpy(outputs))
        return outputs

    for _, batch in _batches(_pictures(model, images), batch_size):
        _walk(model, batch, keep)
    for name in layers or ():
        if name not in kept:
            raise _unknown_layer(model, name)
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def receptive_field(model: keras.Model, layer: str, image_shape: Sequence[int]) -> Field | None:
    """Which pixels of a picture the cells of a layer's map see.

    Convolution, pooling, padding and cropping are followed from the input; layers that keep the
    map's size are taken as pixel by pixel, so normalisation over the whole map doesn't count.

    Args:
        model: a built model.
        layer: name of a layer with a spatial output.
        image_shape: `(*spatial, channels)` or `(*spatial)`, as the model takes it.

    Returns:
        The field, or None where a layer on the way can't be followed (resizing, for example).

    Raises:
        ValueError: if `layer` is no layer of the model.
    """
    found = _fields(model, tuple(image_shape))
    if layer not in found:
        raise _unknown_layer(model, layer)
    return found[layer]


def top_images(
    model: keras.Model, images: Any, layer: str, k: int = 9, *, batch_size: int = 256
) -> TopImages:
    """Pictures that excite each unit of a layer most.

    Only one batch of pictures and the best `k` so far are held, so `images` may be a memory map
    or anything else that has a length and can be sliced.

    Reference:
        Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014,
        figure 2 (without its deconvolution).

    Args:
        model: a built model.
        images: `(n, ...)` pictures as the model takes them.
        layer: name of a layer.
        k: pictures a unit; fewer are returned where there are fewer. Equal values keep the
            pictures' order.
        batch_size: pictures at a time.

    Returns:
        Indices, values and, for a layer with a spatial output, where in the picture.

    Raises:
        ValueError: if `k` isn't positive, there is no picture, or `layer` isn't a layer.
    """
    if k < 1 or not len(images):
        raise ValueError(
            f"top_images needs a positive k and a picture. Received: k={k}, {len(images)} pictures."
        )
    best: list[_Best] = []
    shape: tuple[int, ...] = ()
    for start, batch in _batches(images, batch_size):
        maps = feature_maps(model, batch, layers=[layer], batch_size=batch_size)[layer]
        shape = maps.shape[1:-1]
        flat = maps.reshape(len(maps), -1, maps.shape[-1])  # picture, cell, unit
        cells = flat.argmax(axis=1)
        values = np.take_along_axis(flat, cells[:, None], axis=1)[:, 0]
        indices = np.broadcast_to(np.arange(start, start + len(maps))[:, None], values.shape)
        best = [_keep_best([*best, (values.T, indices.T, cells.T)], k)]
    values, indices, cells = best[0]
    rank = _spatial_rank(model)
    if rank is None or len(shape) != rank:
        return TopImages(indices=indices, values=values, cells=None, boxes=None)
    image_shape = np.shape(images[:1])[1:]
    where = np.stack(np.unravel_index(cells, shape), axis=-1)
    field = receptive_field(model, layer, image_shape)
    boxes = None if field is None else _boxes(where, field, image_shape[:rank])
    return TopImages(indices=indices, values=values, cells=where, boxes=boxes)


def grad_cam(
    model: keras.Model,
    images: ArrayLike,
    *,
    class_index: int | ArrayLike | None = None,
    layer: str | None = None,
    batch_size: int = 64,
) -> NDArray[np.float32]:
    """Gradient-weighted class activation maps: where a class's evidence is in each picture.

    The score is the one before a last softmax or sigmoid, as in the paper. The map is brought to
    the picture's size by linear interpolation between the centres of what its cells see (the
    paper stretches it over the picture, which moves it outwards where convolutions aren't
    padded), and fades beyond the outermost; it is stretched where these centres aren't known.
    Values are not normalised.

    Reference:
        Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based
        localization, ICCV 2017, equations 1 and 2.

    Args:
        model: a built classifier, `(n, classes)` out.
        images: `(n, ...)` pictures as the model takes them.
        class_index: which class to explain, one or one a picture; by default each picture's
            highest score.
        layer: a layer with a spatial output; by default the last one of the last convolution's
            size (if more than one cell), with its activation but not the pooling after it.
        batch_size: pictures at a time.

    Returns:
        `(n, *spatial)` float32, zero or more, of the pictures' size.

    Raises:
        ValueError: if the layer has no spatial output or the model doesn't end in classes.
        NotImplementedError: on a backend other than TensorFlow and JAX.
    """
    pictures = _pictures(model, images)
    rank = _spatial_rank(model)
    if rank is None or pictures.ndim < rank + 1:
        raise ValueError(
            "grad_cam needs a model with a convolution or pooling, on pictures. Received: model "
            f"{model.name!r}, pictures of shape {pictures.shape}."
        )
    name = layer if layer is not None else _last_map(model, pictures[:1], rank)
    wanted = _class_indices(class_index, len(pictures))
    maps = []
    for start, batch in _batches(pictures, batch_size):
        maps.append(_cam(model, batch, name, wanted[start : start + len(batch)], rank))
    size = pictures.shape[1 : 1 + rank]
    field = receptive_field(model, name, pictures.shape[1:])
    return _enlarge(np.concatenate(maps), field, size)


def occlusion(
    model: keras.Model,
    images: ArrayLike,
    *,
    window: int,
    strides: int = 1,
    value: float = 0.0,
    class_index: int | ArrayLike | None = None,
    batch_size: int = 256,
) -> NDArray[np.float32]:
    """How much the answer for a class falls when a window of the picture is covered.

    Each pixel gets the mean fall over the windows that cover it, in the units of the model's
    output (probability, or logit). Needs no gradient; costs a prediction a window.

    Reference:
        Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014,
        section 4.2.

    Args:
        model: a built classifier, `(n, classes)` out.
        images: `(n, *spatial)` or `(n, *spatial, channels)` pictures as the model takes them.
        window: side of the window in pixels, the same on each axis.
        strides: pixels from one window to the next; at most `window`.
        value: what covers, in the pictures' units (0 is paper for ink on black).
        class_index: which class, one or one a picture; by default the highest answer.
        batch_size: covered pictures at a time.

    Returns:
        `(n, *spatial)` float32; positive where covering costs the class.

    Raises:
        ValueError: if the window or strides don't cover the picture.
    """
    pictures = _pictures(model, images)
    rank = _spatial_rank(model) or 2
    size = pictures.shape[1 : 1 + rank]
    if not 1 <= strides <= window <= min(size):
        raise ValueError(
            "occlusion needs 1 <= strides <= window <= the picture's shortest side. Received: "
            f"strides={strides}, window={window}, a picture of {size}."
        )
    # Windows start before the picture too, so that border pixels are covered as often as others.
    axes = [range(strides - window, side, strides) for side in size]
    slices = [
        tuple(
            slice(max(start, 0), min(start + window, side))
            for start, side in zip(starts, size, strict=True)
        )
        for starts in itertools.product(*axes)
    ]
    answers = _answers(model, pictures, batch_size)
    wanted = _class_indices(class_index, len(pictures))
    wanted = np.where(wanted < 0, answers.argmax(axis=1), wanted)
    falls = np.zeros((len(pictures), *size), np.float64)
    counts = np.zeros(size, np.int64)
    for covered in slices:
        counts[covered] += 1
    for index, picture in enumerate(pictures):
        before = answers[index, wanted[index]]
        for start in range(0, len(slices), batch_size):
            part = slices[start : start + batch_size]
            batch = np.repeat(picture[None], len(part), axis=0)
            for row, covered in zip(batch, part, strict=True):
                row[covered] = value
            after = _answers(model, batch, batch_size)[:, wanted[index]]
            for covered, answer in zip(part, after, strict=True):
                falls[index][covered] += before - answer
    return (falls / counts).astype(np.float32)


# --- the walk over a model's graph -----------------------------------------------------------


def _walk(model: keras.Model, images: Any, visit: _Visit) -> Any:
    """Runs a model layer by layer; `visit` sees each output and may replace it.

    With a `keras.KerasTensor` nothing is computed but shapes.
    """
    counts: Counter[str] = Counter()

    def numbered(name: str, operation: Any, args: tuple[Any, ...], outputs: Any) -> Any:
        counts[name] += 1
        unique = name if counts[name] == 1 else f"{name}#{counts[name]}"
        return visit(unique, operation, args, outputs)

    tensor = images
    if not isinstance(images, keras.KerasTensor):
        tensor = keras.ops.convert_to_tensor(images, dtype=_dtype(model))
    return _run(model, tensor, numbered, "")


def _run(model: Any, tensor: Any, visit: _Visit, prefix: str) -> Any:
    symbolic = isinstance(tensor, keras.KerasTensor)

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        name = prefix + operation.name
        if _is_graph(operation):
            return _run(operation, args[0], visit, name + "/")
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
    single = isinstance(outputs, (list, tuple)) and len(outputs) == 1
    return outputs[0] if single else outputs


def _is_graph(operation: Any) -> bool:
    return isinstance(operation, keras.Sequential) or hasattr(operation, "_run_through_graph")


def _layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if _is_graph(layer):
            yield from _layers(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def _is_convolution(layer: Any) -> bool:
    size = getattr(layer, "kernel_size", None)
    kernel = getattr(layer, "kernel", None)
    return size is not None and kernel is not None and len(kernel.shape) == len(size) + 2


def _convolves(layer: Any) -> bool:
    return getattr(layer, "kernel_size", None) is not None


def _spatial_rank(model: keras.Model) -> int | None:
    """2 for a network on pictures, 3 on volumes, as its first windowed layer says."""
    for _, layer in _layers(model):
        window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
        if window is not None:
            if getattr(layer, "data_format", None) == "channels_first":
                raise ValueError(
                    "inspection needs channels last. Received: "
                    f"data_format='channels_first' in layer {layer.name!r}."
                )
            return len(window)
    return None


def _dtype(model: keras.Model) -> str:
    if not _is_graph(model) or not model.built:
        raise ValueError(
            "inspection needs a built functional or Sequential model. Received: "
            f"{type(model).__name__} {model.name!r}; give it a keras.Input."
        )
    if len(model.inputs) != 1:
        raise ValueError(f"inspection needs one input. Received: {len(model.inputs)} inputs.")
    return str(model.inputs[0].dtype)


def _pictures(model: keras.Model, images: ArrayLike) -> NDArray[Any]:
    _dtype(model)
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


def _batches(images: Any, batch_size: int) -> Iterator[tuple[int, Any]]:
    for start in range(0, len(images), batch_size):
        yield start, images[start : start + batch_size]


def _numpy(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float32)


def _answers(model: keras.Model, images: NDArray[Any], batch_size: int) -> NDArray[np.float32]:
    parts = [_numpy(model(batch, training=False)) for _, batch in _batches(images, batch_size)]
    answers = np.concatenate(parts)
    if answers.ndim != 2:
        raise ValueError(f"A classifier answers (n, classes). Received: {answers.shape}.")
    return answers


def _unknown_layer(model: keras.Model, name: str) -> ValueError:
    known = [found for found, _ in _layers(model)]
    return ValueError(f"Model {model.name!r} has the layers {known}. Received: layer={name!r}.")


def _class_indices(class_index: int | ArrayLike | None, count: int) -> NDArray[np.int64]:
    """One class a picture; -1 stands for the highest."""
    chosen = np.asarray(-1 if class_index is None else class_index)
    if chosen.shape not in {(), (count,)} or (class_index is not None and chosen.min() < 0):
        raise ValueError(
            f"class_index needs one class, or one for each of {count} pictures, from 0 on. "
            f"Received: {class_index!r}."
        )
    return np.broadcast_to(chosen, (count,)).astype(np.int64)


# --- Grad-CAM --------------------------------------------------------------------------------


def _cam(
    model: keras.Model, batch: NDArray[Any], layer: str, wanted: NDArray[np.int64], rank: int
) -> NDArray[np.float32]:
    """Equations 1 and 2 of the paper, at the feature map's own size."""
    trace: list[tuple[str, Any, tuple[Any, ...], Any]] = []

    def record(name: str, operation: Any, args: tuple[Any, ...], outputs: Any) -> Any:
        trace.append((name, operation, args, outputs))
        return outputs

    answer = _walk(model, batch, record)
    features = next((outputs for name, _, _, outputs in trace if name == layer), None)
    if features is None:
        raise _unknown_layer(model, layer)
    if len(features.shape) != rank + 2:
        raise ValueError(
            f"grad_cam needs a layer with a map as its output. Received: layer={layer!r}, whose "
            f"output is {tuple(features.shape)}."
        )
    last, score = next(
        (name, _score(operation, args, outputs))
        for name, operation, args, outputs in trace
        if outputs is answer
    )
    scores = _numpy(score)
    if scores.ndim != 2:
        raise ValueError(
            f"grad_cam needs a classifier, (n, classes) out. Received: {scores.shape} out of "
            f"model {model.name!r}."
        )
    if wanted.max() >= scores.shape[1]:
        raise ValueError(
            f"class_index needs to be below {scores.shape[1]}. Received: {int(wanted.max())}."
        )
    chosen = np.where(wanted < 0, scores.argmax(axis=1), wanted)
    mask = keras.ops.convert_to_tensor(np.eye(scores.shape[1], dtype="float32")[chosen])

    def total(values: Any) -> Any:
        """Sum of the pictures' scores, had the layer answered `values`."""
        found: list[Any] = []

        def replace(name: str, operation: Any, args: tuple[Any, ...], outputs: Any) -> Any:
            if name == last:
                found.append(_score(operation, args, outputs))
            return values if name == layer else outputs

        _walk(model, batch, replace)
        return keras.ops.sum(keras.ops.cast(found[0], "float32") * mask)

    gradient = _numpy(_gradient(total, features))
    weights = gradient.mean(axis=tuple(range(1, rank + 1)), keepdims=True)
    return np.maximum((weights * _numpy(features)).sum(axis=-1), 0.0)


def _score(operation: Any, args: tuple[Any, ...], outputs: Any) -> Any:
    """An output before its softmax or sigmoid."""
    activation = getattr(operation, "activation", None)
    squashes = activation in {keras.activations.softmax, keras.activations.sigmoid}
    if isinstance(operation, keras.layers.Softmax) or (
        squashes and isinstance(operation, keras.layers.Activation)
    ):
        return args[0]
    if not squashes:
        return outputs
    linear = type(operation).from_config({**operation.get_config(), "activation": "linear"})
    linear.build(args[0].shape)
    linear.set_weights(operation.get_weights())
    return linear(args[0])


def _gradient(function: Callable[[Any], Any], at: Any) -> Any:
    """Derivative of a scalar function of one tensor; Keras has no function of its own for it."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(at)
            value = function(at)
        return tape.gradient(value, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if backend == "jax":
        import jax

        return jax.grad(function)(at)
    raise NotImplementedError(
        f"Gradients need the TensorFlow or JAX backend. Received: {backend!r}. Set KERAS_BACKEND."
    )


def _last_map(model: keras.Model, image: NDArray[Any], rank: int) -> str:
    """The last layer whose map is as large as the last convolution's.

    A convolution that ends in one cell (LeNet-5's C5) is a dense layer, and says nothing of where.
    """
    found = feature_maps(model, image)
    maps = {n: m for n, m in found.items() if m.ndim == rank + 2 and max(m.shape[1:-1]) > 1}
    convolved = [name for name, layer in _layers(model) if name in maps and _convolves(layer)]
    if not maps:
        raise ValueError(f"grad_cam needs a layer with a map. Received: model {model.name!r}.")
    size = maps[convolved[-1] if convolved else list(maps)[-1]].shape[1:-1]
    return [name for name, values in maps.items() if values.shape[1:-1] == size][-1]


def _enlarge(
    maps: NDArray[np.float32], field: Field | None, size: tuple[int, ...]
) -> NDArray[np.float32]:
    """Maps `(n, *cells)` to `(n, *size)`, linear between the cells' places in the picture."""
    axes, fades = [], []
    for axis, side in enumerate(size):
        cells = maps.shape[axis + 1]
        if field is None:
            stride = side / cells
            first = (stride - 1) / 2
        else:
            stride = field.stride[axis]
            first = field.start[axis] + (field.size[axis] - 1) / 2
        places = (np.arange(side) - first) / stride
        axes.append(np.clip(places, 0, cells - 1))
        # A border cell fills its own half, then fades: it says nothing of a margin far from it.
        fades.append(np.clip(1.5 - np.abs(places - axes[-1]), 0, 1))
    grid = np.meshgrid(*axes, indexing="ij")
    fade = functools.reduce(np.multiply.outer, fades).astype(np.float32)
    return np.stack([fade * ndimage.map_coordinates(values, grid, order=1) for values in maps])


# --- where in the picture --------------------------------------------------------------------


def _keep_best(parts: Sequence[_Best], k: int) -> _Best:
    values, indices, cells = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return (
        np.take_along_axis(values, order, axis=1),
        np.take_along_axis(indices, order, axis=1),
        np.take_along_axis(cells, order, axis=1),
    )


def _boxes(cells: NDArray[np.int64], field: Field, size: Sequence[int]) -> NDArray[np.int64]:
    start = np.array(field.start) + cells * np.array(field.stride)
    ends = np.stack([start, start + np.array(field.size)], axis=-2)
    return np.clip(ends, 0, np.array(size))


def _fields(model: keras.Model, image_shape: tuple[int, ...]) -> dict[str, Field | None]:
    """Receptive field of every layer, followed along the shapes of one picture."""
    rank = _spatial_rank(model) or 2
    known: dict[int, Field | None] = {}
    alive: list[Any] = []  # an id is a tensor's only while that tensor lives
    found: dict[str, Field | None] = {}

    def follow(name: str, operation: Any, args: tuple[Any, ...], outputs: Any) -> Any:
        tensors = [tensor for tensor in keras.tree.flatten(args) if hasattr(tensor, "shape")]
        if not known and tensors:  # the first layer sees the picture
            alive.append(tensors[0])
            known[id(tensors[0])] = Field((1,) * rank, (1,) * rank, (0,) * rank)
        # A gate of one cell (squeeze and excitation) doesn't move what it multiplies.
        maps = [t for t in tensors if id(t) in known and (t is tensors[0] or not _one_cell(t))]
        fields = [known[id(tensor)] for tensor in maps]
        field = _union([field for field in fields if field]) if fields and all(fields) else None
        if field and hasattr(outputs, "shape"):
            before = tuple(maps[0].shape[1 : 1 + rank])
            field = _step(operation, field, before, tuple(outputs.shape[1 : 1 + rank]))
        alive.append(outputs)
        found[name] = known[id(outputs)] = field
        return outputs

    _walk(model, keras.KerasTensor((1, *image_shape), _dtype(model)), follow)
    return found


def _one_cell(tensor: Any) -> bool:
    return all(side == 1 for side in tensor.shape[1:-1])


def _union(fields: Sequence[Field]) -> Field | None:
    if len({field.stride for field in fields}) != 1:
        return None
    starts = np.array([field.start for field in fields])
    ends = starts + np.array([field.size for field in fields])
    start, end = starts.min(axis=0), ends.max(axis=0)
    return Field(tuple((end - start).tolist()), fields[0].stride, tuple(start.tolist()))


def _step(
    operation: Any, field: Field, before: tuple[int, ...], after: tuple[int, ...]
) -> Field | None:
    """The field one layer on; None where the layer's own numbers don't explain its output."""
    rank = len(field.size)
    if len(before) != rank or len(after) != rank:
        return None
    window = getattr(operation, "kernel_size", None) or getattr(operation, "pool_size", None)
    pads = _pads(operation, rank, window, before)
    if pads is None:
        return None
    kernel = _tuple(window or 1, rank)
    strides = _strides(operation, rank)
    dilation = _tuple(getattr(operation, "dilation_rate", None) or 1, rank)
    size, stride, start = [], [], []
    for axis in range(rank):
        reach = (kernel[axis] - 1) * dilation[axis]
        low, high = pads[axis]
        if (before[axis] + low + high - reach - 1) // strides[axis] + 1 != after[axis]:
            return None
        start.append(field.start[axis] - low * field.stride[axis])
        size.append(field.size[axis] + reach * field.stride[axis])
        stride.append(field.stride[axis] * strides[axis])
    return Field(tuple(size), tuple(stride), tuple(start))


def _pads(
    operation: Any, rank: int, window: Any, before: tuple[int, ...]
) -> list[tuple[int, int]] | None:
    """Cells added (or, negative, cut) before and after each axis."""
    padding = getattr(operation, "padding", None)
    cropping = getattr(operation, "cropping", None)
    if cropping is not None:
        return [(-low, -high) for low, high in _pairs(cropping, rank)]
    if padding is None or padding == "valid":
        return [(0, 0)] * rank
    if not isinstance(padding, str):
        return _pairs(padding, rank)
    if padding not in {"same", "causal"} or window is None:
        return None
    kernel, dilation = _tuple(window, rank), _tuple(getattr(operation, "dilation_rate", 1), rank)
    strides = _strides(operation, rank)
    pads = []
    for axis in range(rank):
        reach = (kernel[axis] - 1) * dilation[axis]
        total = max(
            (-(-before[axis] // strides[axis]) - 1) * strides[axis] + reach + 1 - before[axis], 0
        )
        pads.append((reach, 0) if padding == "causal" else (total // 2, total - total // 2))
    return pads


def _strides(operation: Any, rank: int) -> tuple[int, ...]:
    """A convolution that doesn't name its strides moves by 1, pooling by its window."""
    strides = getattr(operation, "strides", None)
    return _tuple(strides or getattr(operation, "pool_size", None) or 1, rank)


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    return (int(value),) * rank if np.ndim(value) == 0 else tuple(map(int, value))


def _pairs(padding: Any, rank: int) -> list[tuple[int, int]]:
    """Keras's ways to write it: 2, (2, 3) an axis, ((1, 2), (3, 4)); in 1-D also (1, 2)."""
    if np.ndim(padding) == 2:
        return [(int(low), int(high)) for low, high in padding]
    if rank == 1 and np.ndim(padding) == 1 and len(padding) == 2:
        return [(int(padding[0]), int(padding[1]))]
    return [(side, side) for side in _tuple(padding, rank)]
