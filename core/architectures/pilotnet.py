"""PilotNet: from one camera's picture to a steering command."""

from __future__ import annotations

import keras
from keras import layers

from fieldsight.core import blocks


def pilotnet(
    input_shape: tuple[int, int, int] = (66, 200, 3),
    num_outputs: int = 1,
    *,
    name: str = "pilotnet",
) -> keras.Model:
    """PilotNet: five convolutions, none pooled, and three dense layers.

    The first layer normalises and isn't trained: 0 to 255 becomes -1 to 1. There is no layer of
    1,164 units: that figure in the paper's text is the flattened map of 1 x 18 x 64, 1,152.

    Reference:
        Bojarski et al., End to end learning for self-driving cars, arXiv 1604.07316 (2016),
        figure 4. The paper doesn't name the activation; units are rectified.

    Args:
        input_shape: height, width and channels of one picture (YUV in the paper); at least 66
            high and wide.
        num_outputs: numbers that are predicted.
        name: the model's.

    Returns:
        An uncompiled model from `(batch, height, width, channels)`, 0 to 255, to
        `(batch, num_outputs)` float32.

    Raises:
        ValueError: if the picture has another rank or is too small.

    Example:
        >>> pilotnet().count_params()
        252219
    """
    blocks.check_input_shape(name, input_shape, smallest=66, ranks=(2,), flattened=True)
    blocks.check_num_classes(name, num_outputs)
    inputs = keras.Input(input_shape, name="inputs")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="normalise")(inputs)
    for i, filters in enumerate((24, 36, 48), 1):
        x = blocks.convolution(
            x, filters, 5, strides=2, padding="valid", activation="relu", name=f"conv{i}"
        )
    for i in (4, 5):
        x = blocks.convolution(x, 64, 3, padding="valid", activation="relu", name=f"conv{i}")
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate((100, 50, 10), 1):
        x = layers.Dense(units, activation="relu", name=f"fc{i}")(x)
    outputs = layers.Dense(num_outputs, dtype="float32", name="steering")(x)
    return keras.Model(inputs, outputs, name=name)
