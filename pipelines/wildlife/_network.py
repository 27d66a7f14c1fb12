"""The detector of what lies on the ground: small, and fast enough for a flight's frames.

It takes pictures of 0 to 255 and brings them to its own scale itself (C-5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from fieldsight.core import blocks
from fieldsight.core.architectures.detector import detector

MIDDLE, SPREAD = 127.5, 48.0  # of pixels: the ground of a thermal frame lies about 127


def finder(
    channels: int,
    num_classes: int,
    *,
    stride: int = 4,
    filters: Sequence[int] = (16, 32, 64),
    pyramid: int = 32,
) -> keras.Model:
    """The detector: `core`'s, on a small residual backbone whose first map has half the sides.

    Args:
        channels: of a picture.
        num_classes: of what is looked for.
        stride: pixels between two places of its answer: 4 or 2 (W-4).
        filters: by stride 2, 4, 8, ...
        pyramid: of the way back and the heads.

    Returns:
        An uncompiled model from `(batch, rows, columns, channels)` of 0 to 255 to maps as
        `core.detection` has them; sides are multiples of `2 ** len(filters)`.
    """
    below = backbone((None, None, channels), filters)
    return detector(below, num_classes, stride=stride, filters=pyramid, name="finder")


def backbone(shape: Sequence[int | None], filters: Sequence[int]) -> keras.Model:
    """Residual stages at strides 2, 4, 8, ...; after He et al., CVPR 2016, section 4.2."""
    inputs = keras.Input(tuple(shape), name="picture")
    x = layers.Rescaling(1 / SPREAD, offset=-MIDDLE / SPREAD, dtype="float32", name="scaled")(
        inputs
    )
    x = _convolved(x, filters[0], "stem", kernel_size=5, strides=2)
    x = layers.ReLU(name="stem_relu")(x)
    x = _block(x, filters[0], 1, "stage0_block0")
    for stage, count in enumerate(filters[1:], 1):
        for number in range(2):
            x = _block(x, count, 2 if number == 0 else 1, f"stage{stage}_block{number}")
    return keras.Model(inputs, x, name="backbone")


def _block(x: Any, filters: int, strides: int, name: str) -> Any:
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        pooled = blocks.maximum_pooling(x, strides, name=f"{name}_pool") if strides > 1 else x
        shortcut = _convolved(pooled, filters, f"{name}_shortcut", kernel_size=1)
    x = _convolved(x, filters, f"{name}_conv1", strides=strides)
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = _convolved(x, filters, f"{name}_conv2")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _convolved(x: Any, filters: int, name: str, *, kernel_size: int = 3, strides: int = 1) -> Any:
    x = blocks.convolution(
        x, filters, kernel_size, strides=strides, use_bias=False,
        kernel_initializer="he_normal", name=name,
    )  # fmt: skip
    # 0.9 and not Keras's 0.99: a short training's statistics must be those of its end.
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
