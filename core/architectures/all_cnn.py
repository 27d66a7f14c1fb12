"""A network of convolutions alone, whose pooling is a convolution with a stride."""

from __future__ import annotations

import keras


def all_cnn(
    input_shape: tuple[int, ...] = (28, 28, 1),
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
        ValueError: if an image is too small to be halved twice.

    Example:
        >>> all_cnn((28, 28, 1)).output_shape
        (None, 10)
    """
    rank = len(input_shape) - 1
    if rank not in (2, 3) or min(input_shape[:-1]) < 4:
        raise ValueError(
            "an image of 2 or 3 axes and channels is needed, with sides of at least 4, to be "
            f"halved twice. Received: input_shape={input_shape}."
        )
    inputs = keras.Input(input_shape)
    x = _convolution(inputs, rank, filters, 3, name="stage1_conv1")
    x = _convolution(x, rank, filters, 5, strides=2, name="stage1_down")
    x = _convolution(x, rank, 2 * filters, 3, name="stage2_conv1")
    x = _convolution(x, rank, 2 * filters, 3, name="stage2_conv2")
    x = _convolution(x, rank, 2 * filters, 5, strides=2, name="stage2_down")
    x = _convolution(x, rank, 4 * filters, 3, name="stage3_conv1")
    x = _convolution(x, rank, 4 * filters, 3, name="stage3_conv2")
    layers = keras.layers
    pooling = layers.GlobalAveragePooling2D if rank == 2 else layers.GlobalAveragePooling3D
    x = pooling(name="average")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x), name=name)


def _convolution(
    x: keras.KerasTensor, rank: int, filters: int, kernel_size: int, *, strides: int = 1, name: str
) -> keras.KerasTensor:
    convolution = keras.layers.Conv2D if rank == 2 else keras.layers.Conv3D
    x = convolution(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,  # the normalisation's offset is one already
        kernel_initializer="he_normal",
        name=name,
    )(x)
    # 0.95 and not Keras's 0.99: a short training's statistics must be those of its last steps.
    x = keras.layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
