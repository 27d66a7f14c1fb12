"""Residual networks for small pictures: CIFAR's family of 6n + 2 layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from fieldsight.core import blocks
from fieldsight.core.layers.padded_shortcut import PaddedShortcut

_FILTERS = (16, 32, 64)


def _resnet(
    depth: int, input_shape: Sequence[int | None], num_classes: int, name: str
) -> keras.Model:
    blocks.check_input_shape(name, input_shape, smallest=4)
    blocks.check_num_classes(name, num_classes)
    inputs = keras.Input(tuple(input_shape), name="inputs")
    x = _normalised(inputs, _FILTERS[0], 1, "conv1")
    x = layers.ReLU(name="conv1_relu")(x)
    for stage, filters in enumerate(_FILTERS, 1):
        for i in range(1, (depth - 2) // 6 + 1):
            strides = 2 if stage > 1 and i == 1 else 1
            x = _block(x, filters, strides, f"stage{stage}_block{i}")
    x = blocks.global_average(x, name="average")
    return keras.Model(inputs, blocks.logits(x, num_classes), name=name)


def _block(x: Any, filters: int, strides: int, name: str) -> Any:
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        shortcut = PaddedShortcut(filters, strides, name=f"{name}_shortcut")(x)
    x = _normalised(x, filters, strides, f"{name}_conv1")
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = _normalised(x, filters, 1, f"{name}_conv2")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _normalised(x: Any, filters: int, strides: int, name: str) -> Any:
    # The paper pads both sides alike; "same" would pad the end alone at stride 2.
    if strides > 1:
        x = blocks.zeros_around(x, 1, name=f"{name}_pad")
    x = blocks.convolution(
        x, filters, 3, strides=strides, padding="valid" if strides > 1 else "same",
        use_bias=False, kernel_initializer="he_normal", name=name,
    )  # fmt: skip
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)


def resnet20(
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    *,
    name: str = "resnet20",
) -> keras.Model:
    """ResNet-20 for small pictures: three stages of 3 blocks, of 16, 32 and 64 filters.

    Shortcuts have no weights (option A): where the map is halved they take every second place
    and fill the new channels with zeros. `resnet50` and its kin are the other family.

    Reference:
        He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016,
        section 4.2 and table 6. The paper's 0.27 M parameters are the trainable ones.

    Args:
        input_shape: height, width and channels, or depth before them; sides at least 4.
        num_classes: number of logits.
        name: the model's.

    Returns:
        An uncompiled model from `(batch, *sides, channels)` float32 to `(batch, num_classes)`
        logits.

    Raises:
        ValueError: if the input has another rank or is too small.

    Example:
        >>> resnet20().count_params()  # with 1,376 running statistics
        271098
    """
    return _resnet(20, input_shape, num_classes, name)


def resnet32(
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    *,
    name: str = "resnet32",
) -> keras.Model:
    """ResNet-32 for small pictures: 5 blocks a stage; all else as `resnet20`."""
    return _resnet(32, input_shape, num_classes, name)


def resnet44(
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    *,
    name: str = "resnet44",
) -> keras.Model:
    """ResNet-44 for small pictures: 7 blocks a stage; all else as `resnet20`."""
    return _resnet(44, input_shape, num_classes, name)


def resnet56(
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    *,
    name: str = "resnet56",
) -> keras.Model:
    """ResNet-56 for small pictures: 9 blocks a stage; all else as `resnet20`."""
    return _resnet(56, input_shape, num_classes, name)


def resnet110(
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    *,
    name: str = "resnet110",
) -> keras.Model:
    """ResNet-110 for small pictures: 18 blocks a stage; all else as `resnet20`.

    The paper trains it for a while at a tenth of the learning rate first, until the error falls
    below 80 %.
    """
    return _resnet(110, input_shape, num_classes, name)
