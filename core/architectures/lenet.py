"""LeNet, the first convolutional network trained end to end on images."""

from typing import Any, Literal

import keras
from keras import layers

from fieldsight.core.layers.initializers import FanInUniform
from fieldsight.core.layers.radial_basis import RadialBasis
from fieldsight.core.layers.squashing import scaled_tanh
from fieldsight.core.layers.subsampling import Subsampling2D
from fieldsight.core.layers.table_convolution import TableConv2D

_SMALLEST_SIDE = {"lesson": 16, "original": 32}


def lenet5(
    input_shape: tuple[int, int, int] = (32, 32, 1),
    num_classes: int = 10,
    *,
    variant: Literal["lesson", "original"] = "lesson",
    name: str = "lenet5",
) -> keras.Model:
    """LeNet-5: two convolution and pooling stages and three fully connected layers.

    "lesson" is the network as it is taught today: C3 sees all maps, pooling takes the
    maximum, units are rectified, the output is dense. "original" is the paper's: S2 and S4
    sum, scale and shift, C3 sees the maps of table I, every layer up to F6 is squashed by
    1.7159 tanh(2/3 x), and the output is the negative squared distance to the paper's 7 x 12
    bitmaps. Its weights start uniform within 2.4 / fan-in, as in the paper's appendix A, and
    its biases at zero. (The paper's units give the distance itself: the sign is turned, so
    that the outputs are logits.)

    An odd map loses its last row and column in pooling. For images larger than 32 x 32 the
    paper's C5 gives several places, which F6 sees together.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition,
        Proceedings of the IEEE 86(11), 1998, figure 2, table I and appendix A.

    Args:
        input_shape: height, width and channels of one image; both sides at least 16, and at
            least 32 for the original. MNIST's 28 x 28 is padded to 32 x 32, never resized.
        num_classes: the number of logits; 10 for the original, whose codes are of digits.
        variant: "lesson" (61,706 parameters) or "original" (60,000, and 840 fixed ones).
        name: the model's name.

    Returns:
        An uncompiled model from `(batch, height, width, channels)` float32 images to
        `(batch, num_classes)` float32 logits, layers named as in the paper.

    Raises:
        ValueError: if an image is too small, the variant unknown, or the original asked for
            other than 10 classes.

    Example:
        >>> lenet5().count_params()
        61706
        >>> lenet5(variant="original").count_params()
        60840
    """
    _check(input_shape, num_classes, variant)
    inputs = keras.Input(input_shape, name="inputs")
    outputs = _original(inputs) if variant == "original" else _lesson(inputs, num_classes)
    return keras.Model(inputs, outputs, name=name)


def _check(input_shape: tuple[int, ...], num_classes: int, variant: str) -> None:
    if variant not in _SMALLEST_SIDE:
        raise ValueError(f'variant must be "lesson" or "original". Received: variant="{variant}"')
    smallest = _SMALLEST_SIDE[variant]
    if len(input_shape) != 3 or min(input_shape[:2]) < smallest or input_shape[2] < 1:
        raise ValueError(
            f"LeNet-5 ({variant}) needs images of height, width and channels, both sides at "
            f"least {smallest}. Received: input_shape={tuple(input_shape)}. Pad smaller images "
            "with background."
        )
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1. Received: num_classes={num_classes}")
    if variant == "original" and num_classes != 10:
        raise ValueError(
            "the original's output compares with the paper's bitmaps of the 10 digits. Received: "
            f'num_classes={num_classes}. Use variant="lesson", or codes of your own in '
            "fieldsight.core.layers.RadialBasis."
        )


def _lesson(inputs: Any, num_classes: int) -> Any:
    x = layers.Conv2D(6, 5, activation="relu", name="c1")(inputs)
    x = layers.MaxPooling2D(2, name="s2")(x)
    x = layers.Conv2D(16, 5, activation="relu", name="c3")(x)
    x = layers.MaxPooling2D(2, name="s4")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(120, activation="relu", name="c5")(x)
    x = layers.Dense(84, activation="relu", name="f6")(x)
    # Logits stay float32 where the rest computes in half precision.
    return layers.Dense(num_classes, dtype="float32", name="logits")(x)


def _original(inputs: Any) -> Any:
    # An initializer gives one set of numbers a shape: each layer has its own.
    x = layers.Conv2D(6, 5, activation=scaled_tanh, kernel_initializer=FanInUniform(), name="c1")(
        inputs
    )
    x = Subsampling2D(2, scaled_tanh, name="s2")(x)
    x = TableConv2D(activation=scaled_tanh, kernel_initializer=FanInUniform(), name="c3")(x)
    x = Subsampling2D(2, scaled_tanh, name="s4")(x)
    x = layers.Conv2D(120, 5, activation=scaled_tanh, kernel_initializer=FanInUniform(), name="c5")(
        x
    )
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(84, activation=scaled_tanh, kernel_initializer=FanInUniform(), name="f6")(x)
    return RadialBasis(dtype="float32", name="rbf")(x)
