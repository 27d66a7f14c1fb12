"""LeNet's squashing function."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="fieldsight")
def scaled_tanh(inputs: Any) -> Any:
    """Squash by 1.7159 tanh(2/3 x), which maps 1 to 1 and -1 to -1.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition,
        Proceedings of the IEEE 86(11), 1998, equation 6 and appendix A.

    Args:
        inputs: a tensor of any shape, floating point.

    Returns:
        A tensor of that shape, within -1.7159 and 1.7159.

    Example:
        >>> [round(float(scaled_tanh(x)), 3) for x in (-1.0, 0.0, 1.0, 9.0)]
        [-1.0, 0.0, 1.0, 1.716]
    """
    return 1.7159 * keras.ops.tanh(inputs * (2 / 3))
