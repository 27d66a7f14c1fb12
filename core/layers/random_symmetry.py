"""Mirrored and turned pictures and volumes, their masks and boxes with them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from fieldsight.core.symmetry import allowed_axes

# What moves; whatever else a dictionary holds passes unchanged.
_PICTURES = ("images", "segmentation_masks")


class _Step(NamedTuple):
    """Two axes that change places, or one axis (named twice) that runs backwards."""

    first: int
    second: int
    chosen: Any  # (batch,) bool: which examples take it


@keras.saving.register_keras_serializable(package="fieldsight")
class RandomSymmetry(keras.layers.Layer):
    """Move each example of a batch by a symmetry of its own, in training.

    Uniform over the group that `fieldsight.core.symmetry.symmetries` lists for the same
    arguments: the 8 of a square, the 48 of a cube, or a part of them. Values are only moved,
    never interpolated, and nothing is cast: digital numbers and labels stay what they are.

    Takes a tensor `(batch, *axes, channels)`, or a dictionary with that tensor as "images", and
    beside it, where wanted:

    - "segmentation_masks": `(batch, *axes)` or `(batch, *axes, channels)`;
    - "bounding_boxes": `(batch, n, 2 * rank)` pixels, right and bottom exclusive, x0, y0, x1,
      y1 or x0, y0, z0, x1, y1, z1, x along the last axis. Rows of one number repeated (all 0,
      all -1) are padding and stay as they are. Or, as in Keras, a dictionary of these "boxes"
      and of "labels" `(batch, n)`, where rows of label -1 are padding too.

    Args:
        exchange: axes, counted without the batch, that may change places; None for all. They
            must be of one size.
        flip: axes that may run backwards; None for all.
        seed: makes the moves the same in each run; without it, they differ.
        **kwargs: what every Keras layer takes (name, dtype).

    Raises:
        ValueError: if an axis isn't there, axes that may change places differ in size, of them
            some may run backwards and some may not, or the boxes are of another rank.

    Example:
        Volumes of planes further apart than pixels: turned within the plane, mirrored anyhow.

        >>> layer = RandomSymmetry(exchange=(1, 2), seed=0)
        >>> tuple(layer(keras.ops.zeros((4, 8, 16, 16, 1)), training=True).shape)
        (4, 8, 16, 16, 1)
    """

    def __init__(
        self,
        exchange: Sequence[int] | None = None,
        flip: Sequence[int] | None = None,
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Half precision would move the corners of boxes.
        super().__init__(**{"autocast": False, **kwargs})
        self.exchange = None if exchange is None else tuple(exchange)
        self.flip = None if flip is None else tuple(flip)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Map a tensor, or a dictionary of them, to the same shapes."""
        parts = dict(inputs) if isinstance(inputs, dict) else {"images": inputs}
        images = parts["images"]
        exchange, flip = self._axes(images.shape)
        if not training:
            return inputs
        steps = self._draw(ops.shape(images)[0], exchange, flip)
        for name in _PICTURES:
            if name in parts:
                parts[name] = _moved_picture(parts[name], steps)
        if "bounding_boxes" in parts:
            sizes = ops.shape(images)[1:-1]
            parts["bounding_boxes"] = _moved_boxes(parts["bounding_boxes"], steps, sizes)
        return parts if isinstance(inputs, dict) else parts["images"]

    def _axes(self, shape: Sequence[int | None]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        exchange, flip = allowed_axes(len(shape) - 2, self.exchange, self.flip)
        sizes = {shape[axis + 1] for axis in exchange}
        if len(sizes - {None}) > 1:
            raise ValueError(
                f"layer {self.name!r}: axes that change places must be of one size. Received: "
                f"axes {exchange} of images {tuple(shape)}. Crop or pad them to one size, or name "
                "only axes of one size in `exchange`, () for none."
            )
        return exchange, flip

    def _draw(self, batch: Any, exchange: tuple[int, ...], flip: tuple[int, ...]) -> list[_Step]:
        """Return the steps whose composition is uniform over the group."""
        count = max(len(exchange) - 1, 0) + len(flip)
        numbers = keras.random.uniform((count, batch), seed=self.seed_generator)
        steps = []
        # Fisher and Yates: each axis changes places with one of those before it, or stays.
        for place in range(1, len(exchange)):
            partner = ops.floor(numbers[place - 1] * (place + 1))
            steps += [
                _Step(exchange[earlier], exchange[place], partner == earlier)
                for earlier in range(place)
            ]
        for number, axis in enumerate(flip, start=count - len(flip)):
            steps.append(_Step(axis, axis, numbers[number] < 0.5))
        return steps

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shapes."""
        return input_shape

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """Return the input's shapes and dtypes, having checked the axes."""
        self._axes((inputs["images"] if isinstance(inputs, dict) else inputs).shape)
        return keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), inputs)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {
            **super().get_config(),
            "exchange": self.exchange,
            "flip": self.flip,
            "seed": self.seed,
        }


def _moved_picture(x: Any, steps: Sequence[_Step]) -> Any:
    shape = ops.shape(x)
    for first, second, chosen in steps:
        if first == second:
            moved = ops.flip(x, first + 1)
        else:
            moved = ops.swapaxes(x, first + 1, second + 1)
        x = ops.where(ops.reshape(chosen, (-1, *(1,) * (len(shape) - 1))), moved, x)
    # Where sizes aren't known before, sides of 1 and n would have become n and n.
    return ops.reshape(x, shape)


def _moved_boxes(boxes: Any, steps: Sequence[_Step], sizes: Sequence[Any]) -> Any:
    if isinstance(boxes, dict):
        moved = _moved_boxes(boxes["boxes"], steps, sizes)
        padding = ops.expand_dims(boxes["labels"] == -1, -1)
        return {**boxes, "boxes": ops.where(padding, boxes["boxes"], moved)}
    rank = len(sizes)
    if len(boxes.shape) != 3 or boxes.shape[-1] != 2 * rank:
        raise ValueError(
            f"bounding_boxes must be (batch, n, {2 * rank}): the lower corner, then the upper. "
            f"Received: {tuple(boxes.shape)}"
        )
    # By axis, (batch, n) each: the first axis is that of the last coordinate.
    lower = [boxes[..., rank - 1 - axis] for axis in range(rank)]
    upper = [boxes[..., 2 * rank - 1 - axis] for axis in range(rank)]
    for first, second, chosen in steps:
        taken = ops.expand_dims(chosen, 1)
        if first == second:
            size = ops.cast(sizes[first], boxes.dtype)
            one, other = size - upper[first], size - lower[first]
            lower[first] = ops.where(taken, one, lower[first])
            upper[first] = ops.where(taken, other, upper[first])
            continue
        for corner in (lower, upper):
            one, other = corner[first], corner[second]
            corner[first] = ops.where(taken, other, one)
            corner[second] = ops.where(taken, one, other)
    moved = ops.stack([*lower[::-1], *upper[::-1]], axis=-1)
    padding = ops.all(boxes == boxes[..., :1], axis=-1, keepdims=True)
    return ops.where(padding, boxes, moved)
