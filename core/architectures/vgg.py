"""VGG: nothing but 3x3 convolutions, between poolings that halve the map."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from fieldsight.core import blocks

# Table 1, columns A, B, D and E: convolutions in each of the five stages.
_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_FILTERS = (64, 128, 256, 512, 512)


def _vgg(
    depth: int, input_shape: Sequence[int], num_classes: int, dropout: float, name: str
) -> keras.Model:
    blocks.check_input_shape(name, input_shape, smallest=32, flattened=True)
    blocks.check_num_classes(name, num_classes)
    inputs = x = keras.Input(tuple(input_shape), name="inputs")
    for stage, (count, filters) in enumerate(zip(_STAGES[depth], _FILTERS, strict=True), 1):
        for i in range(1, count + 1):
            x = blocks.convolution(
                x, filters, 3, activation="relu", kernel_initializer="he_normal",
                name=f"block{stage}_conv{i}",
            )  # fmt: skip
        x = blocks.maximum_pooling(x, name=f"block{stage}_pool")
    x = layers.Flatten(name="flatten")(x)
    for name_of in ("fc1", "fc2"):
        x = layers.Dense(4096, activation="relu", kernel_initializer="he_normal", name=name_of)(x)
        x = layers.Dropout(dropout, name=f"{name_of}_dropout")(x)
    return keras.Model(inputs, blocks.logits(x, num_classes), name=name)


def vgg11(
    input_shape: tuple[int, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    dropout: float = 0.5,
    name: str = "vgg11",
) -> keras.Model:
    """VGG with 11 layers of weights (configuration A).

    Reference:
        Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition,
        arXiv 1409.1556 (2014), table 1. Differs in that weights start by He's rule: the paper
        started its deeper nets from its trained shallower ones.

    Args:
        input_shape: height, width and channels, or depth before them; sides at least 32. An odd
            map loses its last row and column in pooling.
        num_classes: number of logits.
        dropout: share of units dropped after each of the two large dense layers.
        name: the model's.

    Returns:
        An uncompiled model from `(batch, *sides, channels)` float32 to `(batch, num_classes)`
        logits.

    Raises:
        ValueError: if the input has another rank or is too small.

    Example:
        >>> vgg11((32, 32, 3), 10).output_shape
        (None, 10)
    """
    return _vgg(11, input_shape, num_classes, dropout, name)


def vgg13(
    input_shape: tuple[int, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    dropout: float = 0.5,
    name: str = "vgg13",
) -> keras.Model:
    """VGG with 13 layers of weights (configuration B); all else as `vgg11`."""
    return _vgg(13, input_shape, num_classes, dropout, name)


def vgg16(
    input_shape: tuple[int, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    dropout: float = 0.5,
    name: str = "vgg16",
) -> keras.Model:
    """VGG with 16 layers of weights (configuration D); all else as `vgg11`."""
    return _vgg(16, input_shape, num_classes, dropout, name)


def vgg19(
    input_shape: tuple[int, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    dropout: float = 0.5,
    name: str = "vgg19",
) -> keras.Model:
    """VGG with 19 layers of weights (configuration E); all else as `vgg11`."""
    return _vgg(19, input_shape, num_classes, dropout, name)
