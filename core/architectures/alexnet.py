"""AlexNet, whose ImageNet result of 2012 made convolutional networks the rule."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers

from fieldsight.core import blocks
from fieldsight.core.layers.convolution import Conv2D, Conv3D
from fieldsight.core.layers.local_response import LocalResponseNormalization

Variant = Literal["2012", "2012-ungrouped", "2014"]

_CONVOLUTIONS = {2: Conv2D, 3: Conv3D}  # ours: a size that doesn't fit is an error
_FILTERS = {"2012": (96, 256, 384, 384, 256), "2014": (64, 192, 384, 256, 256)}


def alexnet(
    input_shape: tuple[int, ...] | None = None,
    num_classes: int = 1000,
    *,
    variant: Variant = "2012",
    dropout: float = 0.5,
    name: str = "alexnet",
) -> keras.Model:
    """AlexNet: five convolutions, pooled after the first, second and fifth, and three dense layers.

    "2012" is the paper's: local response normalisation after the first two convolutions, the
    second, fourth and fifth in the two groups that two graphics cards held. "2012-ungrouped" sees
    all maps. "2014" is the form of the later paper, which torchvision has: no normalisation, no
    groups, fewer filters, and a picture of 224 pixels padded by 2.

    Reference:
        Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional neural
        networks, NIPS 2012, figure 2 and section 3.3 (k = 2, n = 5, alpha = 1e-4, beta = 0.75);
        Krizhevsky, One weird trick for parallelizing convolutional neural networks,
        arXiv 1404.5997 (2014), footnote 1. The first paper says 224 pixels; 55 places of an
        11-pixel window at stride 4 are 227. Biases start at zero, weights by He's rule.

    Args:
        input_shape: height, width and channels, or depth before them. Sides of 67 or 4 more, 8
            more, ... for 2012, of at least 63 for 2014. None: 227 x 227 x 3, or 224 x 224 x 3
            for 2014.
        num_classes: number of logits.
        variant: of the three above.
        dropout: share of units dropped before the first two dense layers.
        name: the model's.

    Returns:
        An uncompiled model from `(batch, *sides, channels)` float32 to `(batch, num_classes)`
        logits.

    Raises:
        ValueError: if the variant is unknown, the input has another rank, is too small, or isn't
            filled by the first layer's windows.

    Example:
        >>> alexnet(variant="2014").count_params()
        61100840
    """
    if variant not in ("2012", "2012-ungrouped", "2014"):
        raise ValueError(
            f'variant must be "2012", "2012-ungrouped" or "2014". Received: variant="{variant}"'
        )
    is_later = variant == "2014"
    if input_shape is None:
        input_shape = (224, 224, 3) if is_later else (227, 227, 3)
    blocks.check_input_shape(name, input_shape, smallest=63 if is_later else 67, flattened=True)
    blocks.check_num_classes(name, num_classes)
    inputs = keras.Input(tuple(input_shape), name="inputs")
    x = _features(inputs, variant)
    x = layers.Flatten(name="flatten")(x)
    for fc in ("fc6", "fc7"):
        x = layers.Dropout(dropout, name=f"{fc}_dropout")(x)
        x = layers.Dense(4096, activation="relu", kernel_initializer="he_normal", name=fc)(x)
    return keras.Model(inputs, blocks.logits(x, num_classes), name=name)


def _features(x: Any, variant: Variant) -> Any:
    first, second, third, fourth, fifth = _FILTERS[variant[:4]]
    groups = 2 if variant == "2012" else 1
    is_later = variant == "2014"
    convolution = _CONVOLUTIONS[blocks.rank_of(x)]
    # The later form drops what its windows don't fill, as torchvision's does.
    x = convolution(
        first, 11, strides=4, padding=2 if is_later else 0, floor=is_later, activation="relu",
        kernel_initializer="he_normal", name="conv1",
    )(x)  # fmt: skip
    x = _pooled(x, 1, normalised=not is_later)
    x = _convolved(x, second, 5, groups, "conv2")
    x = _pooled(x, 2, normalised=not is_later)
    x = _convolved(x, third, 3, 1, "conv3")
    x = _convolved(x, fourth, 3, groups, "conv4")
    x = _convolved(x, fifth, 3, groups, "conv5")
    return _pooled(x, 5, normalised=False)


def _pooled(x: Any, number: int, *, normalised: bool) -> Any:
    if normalised:
        x = LocalResponseNormalization(name=f"norm{number}")(x)
    return blocks.maximum_pooling(x, 3, strides=2, name=f"pool{number}")


def _convolved(x: Any, filters: int, kernel_size: int, groups: int, name: str) -> Any:
    return blocks.convolution(
        x, filters, kernel_size, groups=groups, activation="relu",
        kernel_initializer="he_normal", name=name,
    )  # fmt: skip
