"""What an answer rests on: Grad-CAM and occlusion."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from fieldsight.core.inspection.fields import Field, receptive_field
from fieldsight.core.inspection.gradient import gradient
from fieldsight.core.inspection.graph import (
    batches,
    checked_pictures,
    convolves,
    first_output,
    input_dtype,
    layers_of,
    spatial_rank,
    to_numpy,
    unknown_layer,
    walk,
)


def grad_cam(
    model: keras.Model,
    images: ArrayLike,
    *,
    class_index: int | ArrayLike | None = None,
    layer: str | None = None,
    by_cell: bool = False,
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
        localization, ICCV 2017, equations 1 and 2. With `by_cell`: Draelos and Carin, Use
        HiResCAM instead of Grad-CAM for faithful explanations, 2020 (arXiv 2011.08891), equation 3.

    Args:
        model: a built classifier, `(n, classes)` out.
        images: `(n, ...)` pictures as the model takes them.
        class_index: which class to explain, one or one a picture; by default each picture's
            highest score.
        layer: a layer with a spatial output; by default the last one of the last convolution's
            size (if more than one cell), with its activation but not the pooling after it.
        by_cell: weigh each cell by its own gradient (HiResCAM), and not a whole map by the mean
            of its gradients: for networks that rest on some places more than on others, where a
            mean shows as evidence what the answer hardly depends on.
        batch_size: pictures at a time.

    Returns:
        `(n, *spatial)` float32, zero or more, of the pictures' size.

    Raises:
        ValueError: if the layer has no spatial output or the model doesn't end in classes.
        NotImplementedError: on a backend other than TensorFlow and JAX.
    """
    pictures = checked_pictures(model, images)
    rank = spatial_rank(model)
    if rank is None or pictures.ndim < rank + 1:
        raise ValueError(
            "grad_cam needs a model with a convolution or pooling, on pictures. Received: model "
            f"{model.name!r}, pictures of shape {pictures.shape}."
        )
    name = layer if layer is not None else _last_map(model, pictures.shape[1:], rank)
    wanted = _class_indices(class_index, len(pictures))
    maps = []
    for start, batch in batches(pictures, batch_size):
        maps.append(_cam(model, batch, name, wanted[start : start + len(batch)], rank, by_cell))
    size = pictures.shape[1 : 1 + rank]
    field = receptive_field(model, name, pictures.shape[1:])
    return _enlarge(np.concatenate(maps), field, size)


def occlusion(
    model: keras.Model,
    images: ArrayLike,
    *,
    window: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    value: float | ArrayLike = 0.0,
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
        window: sides of the window in pixels, or one number for all; in a volume it is a block.
        strides: pixels from one window to the next along each axis, or one number for all; at
            most `window`.
        value: what covers, in the pictures' units (0 is paper for ink on black), or one value a
            channel.
        class_index: which class, one or one a picture; by default the highest answer.
        batch_size: covered pictures at a time.

    Returns:
        `(n, *spatial)` float32; positive where covering costs the class.

    Raises:
        ValueError: if the window or strides don't cover the picture.
    """
    pictures = checked_pictures(model, images)
    rank = spatial_rank(model) or (3 if pictures.ndim == 5 else 2)
    size = pictures.shape[1 : 1 + rank]
    slices = _windows(window, strides, size)
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


def _windows(
    window: int | Sequence[int], strides: int | Sequence[int], size: tuple[int, ...]
) -> list[tuple[slice, ...]]:
    """Where windows lie; they start before the picture too, so that all pixels weigh alike."""
    rank = len(size)
    sides = (window,) * rank if isinstance(window, int) else tuple(window)
    steps = (strides,) * rank if isinstance(strides, int) else tuple(strides)
    fits = len(sides) == len(steps) == rank and all(
        1 <= step <= side <= whole for step, side, whole in zip(steps, sides, size, strict=True)
    )
    if not fits:
        raise ValueError(
            f"occlusion needs 1 <= strides <= window <= the picture's side along each of {rank} "
            f"axes. Received: strides={strides}, window={window}, a picture of {size}."
        )
    axes = [
        [
            slice(max(start, 0), min(start + side, whole))
            for start in range(step - side, whole, step)
        ]
        for step, side, whole in zip(steps, sides, size, strict=True)
    ]
    return list(itertools.product(*axes))


def _answers(model: keras.Model, images: NDArray[Any], batch_size: int) -> NDArray[np.float32]:
    parts = [
        to_numpy(first_output(model(batch, training=False)))
        for _, batch in batches(images, batch_size)
    ]
    answers = np.concatenate(parts)
    if answers.ndim != 2:
        raise ValueError(f"A classifier answers (n, classes). Received: {answers.shape}.")
    return answers


def _class_indices(class_index: int | ArrayLike | None, count: int) -> NDArray[np.int64]:
    """One class a picture; -1 stands for the highest."""
    chosen = np.asarray(-1 if class_index is None else class_index)
    if chosen.shape not in {(), (count,)} or (class_index is not None and chosen.min() < 0):
        raise ValueError(
            f"class_index needs one class, or one for each of {count} pictures, from 0 on. "
            f"Received: {class_index!r}."
        )
    return np.broadcast_to(chosen, (count,)).astype(np.int64)


def _cam(
    model: keras.Model,
    batch: NDArray[Any],
    layer: str,
    wanted: NDArray[np.int64],
    rank: int,
    by_cell: bool,
) -> NDArray[np.float32]:
    """Equations 1 and 2 of the paper, at the feature map's own size."""
    trace: list[tuple[str, Any, tuple[Any, ...], Any]] = []

    def record(name: str, operation: Any, args: tuple[Any, ...], outputs: Any) -> Any:
        trace.append((name, operation, args, outputs))
        return outputs

    answer = walk(model, batch, record)
    features = next((outputs for name, _, _, outputs in trace if name == layer), None)
    if features is None:
        raise unknown_layer(model, layer)
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
    scores = to_numpy(score)
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
    # What was computed up to the layer doesn't depend on it.
    before: dict[str, Any] = {}
    for name, _, _, outputs in trace:
        if name in {layer, last}:
            break
        before[name] = outputs
    mask = keras.ops.convert_to_tensor(np.eye(scores.shape[1], dtype="float32")[chosen])

    def total(values: Any) -> Any:
        """Sum of the pictures' scores, had the layer answered `values`."""
        found: list[Any] = []

        def replace(name: str, operation: Any, args: tuple[Any, ...], outputs: Any) -> Any:
            if name == last:
                found.append(_score(operation, args, outputs))
            return values if name == layer else outputs

        walk(model, batch, replace, known=before)
        return keras.ops.sum(keras.ops.cast(found[0], "float32") * mask)

    slopes = to_numpy(gradient(total, features))
    over = tuple(range(1, rank + 1))
    weights = slopes if by_cell else slopes.mean(axis=over, keepdims=True)
    return np.maximum((weights * to_numpy(features)).sum(axis=-1), 0.0)


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


def _last_map(model: keras.Model, image_shape: tuple[int, ...], rank: int) -> str:
    """The last layer whose map is as large as the last convolution's.

    A convolution that ends in one cell (LeNet-5's C5) is a dense layer, and says nothing of where.
    """
    maps: dict[str, tuple[int, ...]] = {}

    def measure(name: str, _operation: Any, _args: tuple[Any, ...], outputs: Any) -> Any:
        sides = tuple(outputs.shape[1:-1]) if hasattr(outputs, "shape") else ()
        if len(sides) == rank and max(sides) > 1:
            maps[name] = sides
        return outputs

    walk(model, keras.KerasTensor((1, *image_shape), input_dtype(model)), measure)
    if not maps:
        raise ValueError(f"grad_cam needs a layer with a map. Received: model {model.name!r}.")
    convolved = [name for name, layer in layers_of(model) if name in maps and convolves(layer)]
    size = maps[convolved[-1] if convolved else list(maps)[-1]]
    return [name for name, sides in maps.items() if sides == size][-1]


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
