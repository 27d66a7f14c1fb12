"""The plain dense network: what a convolutional one is measured against."""

from collections.abc import Sequence

import keras
from keras import layers


def mlp(
    input_shape: tuple[int, ...] = (28, 28, 1),
    num_classes: int = 10,
    *,
    units: Sequence[int] = (128,),
    activation: str = "relu",
    dropout: float = 0.0,
    name: str = "mlp",
) -> keras.Model:
    """Dense layers alone, which know nothing of what is beside what.

    Args:
        input_shape: the shape of one example, of any rank.
        num_classes: the number of logits.
        units: the width of each hidden layer; none gives a linear classifier.
        activation: the hidden layers' activation.
        dropout: the share of hidden units dropped in training, at least 0 and below 1.
        name: the model's name.

    Returns:
        An uncompiled model from `(batch, *input_shape)` float32 to `(batch, num_classes)`
        float32 logits.

    Raises:
        ValueError: if a size isn't positive, or dropout isn't a share.

    Example:
        >>> mlp((8, 8, 1), units=(32,)).count_params()
        2410
    """
    if num_classes < 1 or min((*units, *input_shape), default=1) < 1:
        raise ValueError(
            "input_shape, num_classes and units must be at least 1. Received: "
            f"input_shape={input_shape}, num_classes={num_classes}, units={tuple(units)}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1. Received: dropout={dropout}")
    inputs = keras.Input(input_shape, name="inputs")
    x = layers.Flatten(name="flatten")(inputs)
    for index, width in enumerate(units, start=1):
        x = layers.Dense(width, activation=activation, name=f"dense_{index}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout_{index}")(x)
    # Logits stay float32 where the rest computes in half precision.
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=name)
