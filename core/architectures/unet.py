"""U-Net: what each pixel or voxel is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers

from fieldsight.core import blocks
from fieldsight.core.pyramid import pyramid, pyramid_levels


def unet(
    input_shape: tuple[int | None, ...] = (256, 256, 1),
    num_classes: int = 2,
    *,
    filters: int = 64,
    depth: int = 4,
    residual: bool = False,
    normalization: bool = False,
    padding: Literal["same", "valid"] = "same",
    dropout: float = 0.0,
    name: str = "unet",
) -> keras.Model:
    """U-Net: a path that halves the map and doubles the filters, and one that takes it back.

    Each level's map is handed over to the way back. A large picture can be cut into windows: a
    place sees no more than the receptive field.

    Reference:
        Ronneberger, Fischer, Brox, U-Net: convolutional networks for biomedical image
        segmentation, MICCAI 2015, figure 1, which is `padding="valid"` on 572 x 572: the answer
        is 388 x 388; Zhang, Liu, Wang, Road extraction by deep residual U-Net, IEEE Geoscience
        and Remote Sensing Letters 15(5), 2018, for `residual`, but that its blocks normalise
        after the convolution. Three dimensions: each kernel is a cube.

    Args:
        input_shape: height, width and channels, or depth before them; None where the size may
            change from call to call. With "same" each side is a multiple of 2^depth.
        num_classes: number of logits a place; 1 for yes or no.
        filters: of the first level.
        depth: how often the map is halved.
        residual: add each pair's input to its output.
        normalization: batch normalisation after each convolution, which then has no bias.
        padding: "same", or "valid" as in the paper.
        dropout: share of the deepest map's channels dropped in training, and of the next above.
        name: the model's.

    Returns:
        An uncompiled model from `(batch, *sides, channels)` float32 to
        `(batch, *sides, num_classes)` logits; smaller sides with "valid".

    Raises:
        ValueError: if the input has another rank, or a side doesn't halve `depth` times.

    Example:
        >>> unet((64, 64, 3), 5, filters=8).output_shape
        (None, 64, 64, 5)
        >>> unet((572, 572, 1), filters=2, padding="valid").output_shape
        (None, 388, 388, 2)
    """
    _check(input_shape, num_classes, filters, depth, padding, name)
    style = _Style(residual, normalization, padding)
    inputs = x = keras.Input(tuple(input_shape), name="inputs")
    skipped = []
    for level in range(depth):
        x = style.pair(x, filters * 2**level, f"down{level}")
        if dropout and level == depth - 1:
            x = _dropped(x, dropout, f"down{level}_dropout")
        skipped.append(x)
        x = blocks.maximum_pooling(x, 2, name=f"down{level}_pool")
    x = style.pair(x, filters * 2**depth, "bottom")
    if dropout:
        x = _dropped(x, dropout, "bottom_dropout")
    for level in reversed(range(depth)):
        x = blocks.transposed_convolution(
            x, filters * 2**level, 2, strides=2, name=f"up{level}_transposed"
        )
        x = _joined(skipped[level], x, f"up{level}")
        x = style.pair(x, filters * 2**level, f"up{level}")
    outputs = blocks.convolution(x, num_classes, 1, dtype="float32", name="logits")
    return keras.Model(inputs, outputs, name=name)


def unet_on(
    backbone: keras.Model,
    num_classes: int = 2,
    *,
    filters: int = 16,
    residual: bool = False,
    normalization: bool = True,
    name: str | None = None,
) -> keras.Model:
    """A U-Net whose way down is a backbone, with its weights: ours, or any of Keras's.

    At each stride of the backbone its map is handed over; the way back ends at the input's size.

    Reference:
        Ronneberger, Fischer, Brox, MICCAI 2015, for the way back, of transposed convolutions and
        pairs of 3x3.

    Args:
        backbone: a functional model with maps of several strides (`core.pyramid`), whose sizes
            halve from level to level, as in ResNet, VGG and `all_cnn` on sides that are
            multiples of the largest stride. Its head is left out.
        num_classes: number of logits a place.
        filters: of the last pair, at the input's size; twice as many at each level below it.
        residual: add each pair's input to its output.
        normalization: batch normalisation after each convolution of the way back.
        name: the model's; by default the backbone's with `_unet` behind it.

    Returns:
        An uncompiled model from what the backbone takes to `(batch, *sides, num_classes)` logits.

    Raises:
        ValueError: if a level isn't twice as large as the next, as in Inception v3, whose
            convolutions drop the border.

    Example:
        >>> from fieldsight.core.architectures import resnet20
        >>> unet_on(resnet20((32, 32, 3)), 4).output_shape
        (None, 32, 32, 4)
    """
    blocks.check_num_classes("unet_on", num_classes)
    levels = pyramid_levels(backbone)
    features = pyramid(backbone, levels)
    handed = {int(level[1:]): tensor for level, tensor in features.output.items()}
    style = _Style(residual, normalization, "same")
    deepest = max(handed)
    x = handed[deepest]
    for level in reversed(range(deepest)):
        width = filters * 2**level
        x = blocks.transposed_convolution(x, width, 2, strides=2, name=f"up{level}_transposed")
        if level in handed:
            _check_halves(backbone.name, level, handed[level], x)
            x = layers.Concatenate(name=f"up{level}_joined")([handed[level], x])
        x = style.pair(x, width, f"up{level}")
    outputs = blocks.convolution(x, num_classes, 1, dtype="float32", name="pixel_logits")
    return keras.Model(features.input, outputs, name=name or f"{backbone.name}_unet")


def _check_halves(name: str, level: int, there: Any, back: Any) -> None:
    for axis, (size, wanted) in enumerate(zip(there.shape[1:-1], back.shape[1:-1], strict=True)):
        if size != wanted:
            raise ValueError(
                f"backbone {name!r}, axis {axis}: level P{level} must be twice as large as what "
                f"comes back from below, {wanted}. Received: {size}. Take sides that are "
                "multiples of its largest stride, and a backbone that pads its borders."
            )


class _Style:
    """How a pair of convolutions is made, the same all over a network."""

    def __init__(self, residual: bool, normalization: bool, padding: str) -> None:
        self.residual, self.normalization, self.padding = residual, normalization, padding

    def pair(self, x: Any, filters: int, name: str) -> Any:
        """Two 3x3 convolutions, each rectified; the last after the sum, if there is one."""
        shortcut = x
        x = layers.ReLU(name=f"{name}_relu1")(self._convolved(x, filters, 3, f"{name}_conv1"))
        x = self._convolved(x, filters, 3, f"{name}_conv2")
        if self.residual:
            if shortcut.shape[-1] != filters:
                shortcut = self._convolved(shortcut, filters, 1, f"{name}_shortcut")
            x = layers.Add(name=f"{name}_add")(_alike(shortcut, x, f"{name}_shortcut_crop"))
        return layers.ReLU(name=f"{name}_relu2")(x)

    def _convolved(self, x: Any, filters: int, kernel_size: int, name: str) -> Any:
        x = blocks.convolution(
            x, filters, kernel_size, padding=self.padding, use_bias=not self.normalization,
            kernel_initializer="he_normal", name=name,
        )  # fmt: skip
        if not self.normalization:
            return x
        # 0.9 and not Keras's 0.99: a short training's statistics must be those of its end.
        return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)


def _dropped(x: Any, rate: float, name: str) -> Any:
    layer = layers.SpatialDropout2D if blocks.rank_of(x) == 2 else layers.SpatialDropout3D
    return layer(rate, name=name)(x)


def _joined(skipped: Any, x: Any, name: str) -> Any:
    return layers.Concatenate(name=f"{name}_joined")(_alike(skipped, x, f"{name}_skip_crop"))


def _alike(larger: Any, x: Any, name: str) -> list[Any]:
    """Both, the larger cropped in the middle."""
    sizes = zip(larger.shape[1:-1], x.shape[1:-1], strict=True)
    spare = [0 if a is None else a - b for a, b in sizes]
    if any(spare):
        larger = blocks.cropped(larger, [(n // 2, n - n // 2) for n in spare], name=name)
    return [larger, x]


def _check(
    input_shape: Sequence[int | None],
    num_classes: int,
    filters: int,
    depth: int,
    padding: str,
    name: str,
) -> None:
    blocks.check_input_shape(name, input_shape, smallest=1)
    blocks.check_num_classes(name, num_classes)
    if min(filters, depth) < 1:
        raise ValueError(
            f"filters and depth must be at least 1. Received: filters={filters}, depth={depth}"
        )
    if padding not in ("same", "valid"):
        raise ValueError(f'padding must be "same" or "valid". Received: padding="{padding}"')
    for axis, side in enumerate(input_shape[:-1]):
        if side is None and padding == "valid":
            raise ValueError(
                f'{name}: with padding="valid" every side must be known. Received: '
                f"input_shape={tuple(input_shape)}"
            )
        if side is not None and not _fits(side, depth, padding):
            fitting = [s for s in range(1, 2 * side + 2 ** (depth + 4)) if _fits(s, depth, padding)]
            below = [s for s in fitting if s < side][-1:]
            nearest = [*below, *(s for s in fitting if s > side)][:2]
            raise ValueError(
                f'{name}: axis {axis} must halve {depth} times with padding="{padding}". Received: '
                f"{side} in input_shape={tuple(input_shape)}. "
                f"{' or '.join(map(str, nearest))} would fit."
            )


def _fits(side: int, depth: int, padding: str) -> bool:
    lost = 0 if padding == "same" else 4
    for _ in range(depth):
        side -= lost
        if side < 2 or side % 2:
            return False
        side //= 2
    return side > lost
