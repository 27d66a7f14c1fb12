"""A network of convolutions alone, whose pooling is a convolution with a stride."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from fieldsight.core import blocks


def all_cnn(
    input_shape: tuple[int | None, ...] = (28, 28, 1),
    num_classes: int = 10,
    *,
    filters: int = 24,
    dropout: float = 0.2,
    name: str = "all_cnn",
) -> keras.Model:
    """An all convolutional net: three stages, each parted from the next by a strided convolution.

    Small enough for a processor: with 24 filters 0.23 million parameters and 16 million
    multiply-accumulates a 28x28 picture.

    Reference:
        Springenberg, Dosovitskiy, Brox, Riedmiller, Striving for simplicity: the all
        convolutional net, ICLR workshop 2015, table 1, model C. Differs in that batch
        normalisation (Ioffe and Szegedy, 2015) follows each convolution, the number of filters
        doubles from stage to stage, the strided convolutions are 5x5, global average pooling is
        followed by a dense layer, and there is one dropout, before it.

    Args:
        input_shape: height, width and channels of one image; both sides at least 4. A depth
            before them makes every kernel one axis longer.
        num_classes: number of logits.
        filters: of the first stage.
        dropout: share of the last features that is dropped in training.
        name: the model's.

    Returns:
        An uncompiled model from `(batch, height, width, channels)` float32 images to
        `(batch, num_classes)` logits.

    Raises:
        ValueError: if an image is too small to be halved twice, or of another rank.

    Example:
        >>> all_cnn((28, 28, 1)).output_shape
        (None, 10)
    """
    blocks.check_input_shape(name, input_shape, smallest=4)
    blocks.check_num_classes(name, num_classes)
    inputs = x = keras.Input(input_shape)
    x = _convolution(x, filters, 3, name="stage1_conv1")
    x = _convolution(x, filters, 5, strides=2, name="stage1_down")
    x = _convolution(x, 2 * filters, 3, name="stage2_conv1")
    x = _convolution(x, 2 * filters, 3, name="stage2_conv2")
    x = _convolution(x, 2 * filters, 5, strides=2, name="stage2_down")
    x = _convolution(x, 4 * filters, 3, name="stage3_conv1")
    x = _convolution(x, 4 * filters, 3, name="stage3_conv2")
    x = blocks.global_average(x, name="average")
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, blocks.logits(x, num_classes), name=name)


def _convolution(x: Any, filters: int, kernel_size: int, *, strides: int = 1, name: str) -> Any:
    x = blocks.convolution(
        x,
        filters,
        kernel_size,
        strides=strides,
        use_bias=False,  # the normalisation's offset is one already
        kernel_initializer="he_normal",
        name=name,
    )
    # 0.95 and not Keras's 0.99: a short training's statistics must be those of its last steps.
    x = layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
