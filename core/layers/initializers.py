"""Starting weights that Keras doesn't have."""

import math
from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="fieldsight")
class FanInUniform(keras.initializers.RandomUniform):
    """Uniform between -scale / F and scale / F, F being the number of inputs of a unit.

    Falls with F, where Keras's own uniform initializers fall with its square root.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition,
        Proceedings of the IEEE 86(11), 1998, appendix A.

    Args:
        scale: the limit for a unit of one input.
        seed: makes the numbers the same in each run; without it, Keras's global seed does.

    Example:
        >>> weights = FanInUniform(seed=0)((5, 5, 1, 6))
        >>> bool(keras.ops.max(keras.ops.abs(weights)) <= 2.4 / 25)
        True
    """

    def __init__(self, scale: float = 2.4, seed: int | None = None) -> None:
        super().__init__(-scale, scale, seed)
        self.scale = scale

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Draw weights whose last axis is that of the units: `(*inputs, units)`."""
        return super().__call__(shape, dtype) / math.prod(shape[:-1])

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        config = super().get_config()
        return {"scale": self.scale, "seed": config["seed"]}


def reseeded(initializer: Any, index: int) -> Any:
    """Return a copy of an initializer whose numbers differ from those of other indices.

    A Keras initializer gives the same numbers each time it is called with one shape.
    """
    config = initializer.get_config()
    if not isinstance(getattr(initializer, "seed", None), int):
        return initializer
    config["seed"] = (initializer.seed * 1_000_003 + index) % 2**31
    return type(initializer).from_config(config)
