"""What a network's units answer: filters, feature maps, and the pictures that excite them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldsight.core.inspection.fields import boxes_of, receptive_field
from fieldsight.core.inspection.graph import (
    batches,
    checked_pictures,
    is_convolution,
    layers_of,
    spatial_rank,
    to_numpy,
    unknown_layer,
    walk,
)

# values, pictures and cells, each (units, k)
_Best = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


def filters(model: keras.Model, layer: str | None = None) -> NDArray[np.float32]:
    """Kernels of a convolution, by default of the first one.

    Args:
        model: a built model.
        layer: name of a layer with a shared kernel.

    Returns:
        `(filters, *kernel_size, channels)` float32, a kernel of three axes for volumes; channels
        are those of the layer's input, or of the filter's group of them.

    Raises:
        ValueError: if no such layer is a convolution.

    Example:
        >>> from fieldsight.core import inspection
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
        >>> inspection.filters(model).shape
        (4, 3, 3, 1)
    """
    convolutions = {name: found for name, found in layers_of(model) if is_convolution(found)}
    name = layer if layer is not None else next(iter(convolutions), None)
    if name not in convolutions:
        raise ValueError(
            f"filters needs a convolution. Received: layer={layer!r} of model {model.name!r}, "
            f"whose convolutions are {sorted(convolutions)}."
        )
    return np.moveaxis(to_numpy(keras.ops.convert_to_tensor(convolutions[name].kernel)), -1, 0)


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
            kept.setdefault(name, []).append(to_numpy(outputs))
        return outputs

    for _, batch in batches(checked_pictures(model, images), batch_size):
        walk(model, batch, keep)
    for name in layers or ():
        if name not in kept:
            raise unknown_layer(model, name)
    return {name: np.concatenate(parts) for name, parts in kept.items()}


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
    for start, batch in batches(images, batch_size):
        maps = feature_maps(model, batch, layers=[layer], batch_size=batch_size)[layer]
        shape = maps.shape[1:-1]
        flat = maps.reshape(len(maps), -1, maps.shape[-1])  # picture, cell, unit
        cells = flat.argmax(axis=1)
        values = np.take_along_axis(flat, cells[:, None], axis=1)[:, 0]
        indices = np.broadcast_to(np.arange(start, start + len(maps))[:, None], values.shape)
        best = [_keep_best([*best, (values.T, indices.T, cells.T)], k)]
    values, indices, cells = best[0]
    rank = spatial_rank(model)
    if rank is None or len(shape) != rank:
        return TopImages(indices=indices, values=values, cells=None, boxes=None)
    image_shape = np.shape(images[:1])[1:]
    where = np.stack(np.unravel_index(cells, shape), axis=-1)
    field = receptive_field(model, layer, image_shape)
    boxes = None if field is None else boxes_of(where, field, image_shape[:rank])
    return TopImages(indices=indices, values=values, cells=where, boxes=boxes)


def _keep_best(parts: Sequence[_Best], k: int) -> _Best:
    values, indices, cells = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return (
        np.take_along_axis(values, order, axis=1),
        np.take_along_axis(indices, order, axis=1),
        np.take_along_axis(cells, order, axis=1),
    )


def crops(images: Any, top: TopImages, unit: int) -> list[NDArray[Any]]:
    """What a unit saw of each of its pictures where it answered most, best first.

    Args:
        images: the pictures that `top_images` was given.
        top: its answer.
        unit: which one.

    Returns:
        An array a picture, `(*sides, channels)`: a window, or a block of a volume; smaller at the
        border.

    Raises:
        ValueError: if where the units look isn't known, or there is no such unit.
    """
    if top.boxes is None:
        raise ValueError("crops needs to know where units look. Received: top.boxes=None.")
    if not 0 <= unit < len(top.boxes):
        raise ValueError(f"unit needs to be from 0 to {len(top.boxes) - 1}. Received: {unit}.")
    return [
        np.asarray(images[index])[tuple(slice(*ends) for ends in box.T)]
        for index, box in zip(top.indices[unit].tolist(), top.boxes[unit], strict=True)
    ]
