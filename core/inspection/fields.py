"""Which pixels of a picture the cells of a feature map see."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.inspection.graph import input_dtype, spatial_rank, unknown_layer, walk
from fieldsight.core.layers.blur_pooling import BaseBlurPooling
from fieldsight.core.layers.image_kernel import ImageKernel2D


class Field(NamedTuple):
    """Which pixels of the picture a cell of a feature map sees, one number an axis.

    Cell `i` sees pixels `start + i * stride` up to, not including, `start + i * stride + size`;
    padding may put the first start before the picture.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: tuple[int, ...]


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
        raise unknown_layer(model, layer)
    return found[layer]


def _fields(model: keras.Model, image_shape: tuple[int, ...]) -> dict[str, Field | None]:
    """Receptive field of every layer, followed along the shapes of one picture."""
    rank = spatial_rank(model) or 2
    known: dict[int, Field | None] = {}
    alive: list[Any] = []  # an id is a tensor's only while that tensor lives
    found: dict[str, Field | None] = {}

    def follow(name: str, operation: Any, args: tuple[Any, ...], outputs: Any) -> Any:
        tensors = [tensor for tensor in keras.tree.flatten(args) if hasattr(tensor, "shape")]
        if not known and tensors:  # the first layer sees the picture
            alive.append(tensors[0])
            known[id(tensors[0])] = Field((1,) * rank, (1,) * rank, (0,) * rank)
        maps = [tensor for tensor in tensors if id(tensor) in known]
        # A gate of one cell (squeeze and excitation) doesn't move what it multiplies.
        wide = [tensor for tensor in maps if not _one_cell(tensor)]
        maps = wide or [tensor for tensor in maps if known[id(tensor)]] or maps
        fields = [known[id(tensor)] for tensor in maps]
        field = _union([field for field in fields if field]) if fields and all(fields) else None
        if field and hasattr(outputs, "shape"):
            before = tuple(maps[0].shape[1 : 1 + rank])
            field = _step(operation, field, before, tuple(outputs.shape[1 : 1 + rank]))
        alive.append(outputs)
        found[name] = known[id(outputs)] = field
        return outputs

    walk(model, keras.KerasTensor((1, *image_shape), input_dtype(model)), follow)
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
    if isinstance(operation, BaseBlurPooling):
        return [((size - 1) // 2, size // 2) for size in operation.kernel_size]
    if isinstance(operation, ImageKernel2D) and operation.border != "valid":
        return [(size // 2, size - 1 - size // 2) for size in operation.kernel_size]
    if any(zeros := getattr(operation, "zeros", ())):  # our convolutions' own padding
        return [(zero, zero) for zero in zeros]
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


def boxes_of(cells: NDArray[np.int64], field: Field, size: Sequence[int]) -> NDArray[np.int64]:
    """First pixels and ends of what cells see, clipped to a picture of this size."""
    start = np.array(field.start) + cells * np.array(field.stride)
    ends = np.stack([start, start + np.array(field.size)], axis=-2)
    return np.clip(ends, 0, np.array(size))
