"""Inception v3: branches of several kernels side by side, large kernels split along the axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from fieldsight.core import blocks

_AXES = {2: ("rows", "columns"), 3: ("planes", "rows", "columns")}
_AUXILIARY_SIDE = 299  # the auxiliary head's last window needs 17 places after mixed7

# The units (a convolution and its normalisation) in the order in which keras.applications makes
# them, which is the order of the numbers in its files: conv2d_1, conv2d_2, ...
_BRANCHES = {
    ("mixed0", "mixed1", "mixed2"): (
        "1x1", "5x5_1", "5x5_2", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3", "pool",
    ),
    ("mixed3",): ("3x3", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3"),
    ("mixed4", "mixed5", "mixed6", "mixed7"): (
        "1x1", "7x7_1", "7x7_columns", "7x7_rows",
        "7x7dbl_1", "7x7dbl_rows1", "7x7dbl_columns1", "7x7dbl_rows2", "7x7dbl_columns2", "pool",
    ),
    ("mixed8",): ("3x3_1", "3x3_2", "7x7x3_1", "7x7x3_columns", "7x7x3_rows", "7x7x3_2"),
    ("mixed9", "mixed10"): (
        "1x1", "3x3_1", "3x3_columns", "3x3_rows",
        "3x3dbl_1", "3x3dbl_2", "3x3dbl_columns", "3x3dbl_rows", "pool",
    ),
}  # fmt: skip
PUBLISHED_ORDER = (
    *(f"stem{i}" for i in range(1, 6)),
    *(f"{block}_{unit}" for same, units in _BRANCHES.items() for block in same for unit in units),
)


def inception_v3(
    input_shape: tuple[int | None, ...] = (299, 299, 3),
    num_classes: int = 1000,
    *,
    auxiliary: bool = False,
    scale: bool = False,
    name: str = "inception_v3",
) -> keras.Model:
    """Inception v3.

    In three dimensions each k x k kernel is a cube, and each pair of 1 x 7 and 7 x 1 a triple,
    along planes, rows and columns; where 1 x 3 and 3 x 1 stand side by side, there are three.

    Reference:
        Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the Inception architecture for
        computer vision, CVPR 2016, table 1 and figures 5 to 8. As published with its weights
        (keras.applications): the paper's table and its text differ in places.

    Args:
        input_shape: height, width and channels, or depth before them; sides at least 75, and at
            least 299 with the auxiliary head.
        num_classes: number of logits.
        auxiliary: a second output of logits, from the map before the last halving, to train
            with (section 4).
        scale: whether normalisation has a trainable scale: torchvision's has, Keras's hasn't.
        name: the model's.

    Returns:
        An uncompiled model from `(batch, *sides, channels)` float32 to `(batch, num_classes)`
        logits; with the auxiliary head to a list of two of these, its own last.

    Raises:
        ValueError: if the input has another rank or is too small.

    Example:
        >>> inception_v3((75, 75, 3), 10).output_shape
        (None, 10)
    """
    smallest = _AUXILIARY_SIDE if auxiliary else 75
    blocks.check_input_shape(name, input_shape, smallest=smallest)
    blocks.check_num_classes(name, num_classes)
    inputs = keras.Input(tuple(input_shape), name="inputs")

    def unit(
        x: Any, filters: int, kernel_size: int | Sequence[int], name: str, **options: Any
    ) -> Any:
        x = blocks.convolution(
            x, filters, kernel_size, use_bias=False, name=f"{name}_conv", **options
        )
        x = layers.BatchNormalization(scale=scale, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    x = _stem(inputs, unit)
    for name_of, pooled in (("mixed0", 32), ("mixed1", 64), ("mixed2", 64)):
        x = _mixed_35(x, pooled, unit, name_of)
    x = _reduction_17(x, unit, "mixed3")
    for name_of, inner in (("mixed4", 128), ("mixed5", 160), ("mixed6", 160), ("mixed7", 192)):
        x = _mixed_17(x, inner, unit, name_of)
    outputs = [x]
    if auxiliary:
        outputs.append(_auxiliary(x, num_classes, unit))
    x = _reduction_8(x, unit, "mixed8")
    for name_of in ("mixed9", "mixed10"):
        x = _mixed_8(x, unit, name_of)
    x = blocks.global_average(x, name="avg_pool")
    outputs[0] = blocks.logits(x, num_classes)
    return keras.Model(inputs, outputs if auxiliary else outputs[0], name=name)


Unit = Callable[..., Any]


def _along(x: Any, axis: str, size: int) -> tuple[int, ...]:
    """A kernel of `size` along one axis, of 1 along the others."""
    return tuple(size if name == axis else 1 for name in _AXES[blocks.rank_of(x)])


def _stem(x: Any, unit: Unit) -> Any:
    x = unit(x, 32, 3, "stem1", strides=2, padding="valid")
    x = unit(x, 32, 3, "stem2", padding="valid")
    x = unit(x, 64, 3, "stem3")
    x = blocks.maximum_pooling(x, 3, strides=2, name="stem_pool1")
    x = unit(x, 80, 1, "stem4", padding="valid")
    x = unit(x, 192, 3, "stem5", padding="valid")
    return blocks.maximum_pooling(x, 3, strides=2, name="stem_pool2")


def _pooled(x: Any, filters: int, unit: Unit, name: str) -> Any:
    x = blocks.average_pooling(x, 3, strides=1, padding="same", name=f"{name}_average")
    return unit(x, filters, 1, f"{name}_pool")


def _joined(branches: Sequence[Any], name: str) -> Any:
    return layers.Concatenate(name=name)(list(branches))


def _mixed_35(x: Any, pooled: int, unit: Unit, name: str) -> Any:
    """Figure 5: 1x1, 5x5 and two 3x3; the map is 35 x 35 for the published input."""
    single = unit(x, 64, 1, f"{name}_1x1")
    large = unit(x, 48, 1, f"{name}_5x5_1")
    large = unit(large, 64, 5, f"{name}_5x5_2")
    double = unit(x, 64, 1, f"{name}_3x3dbl_1")
    double = unit(double, 96, 3, f"{name}_3x3dbl_2")
    double = unit(double, 96, 3, f"{name}_3x3dbl_3")
    return _joined([single, large, double, _pooled(x, pooled, unit, name)], name)


def _reduction_17(x: Any, unit: Unit, name: str) -> Any:
    """Figure 10: halves the map without a bottleneck."""
    single = unit(x, 384, 3, f"{name}_3x3", strides=2, padding="valid")
    double = unit(x, 64, 1, f"{name}_3x3dbl_1")
    double = unit(double, 96, 3, f"{name}_3x3dbl_2")
    double = unit(double, 96, 3, f"{name}_3x3dbl_3", strides=2, padding="valid")
    pooled = blocks.maximum_pooling(x, 3, strides=2, name=f"{name}_maximum")
    return _joined([single, double, pooled], name)


def _mixed_17(x: Any, inner: int, unit: Unit, name: str) -> Any:
    """Figure 6: 7x7 kernels split along the axes; the map is 17 x 17."""
    # Planes, which two dimensions lack, come first: all else is then as in two dimensions.
    axes = _AXES[blocks.rank_of(x)]
    planes, rows, columns = axes[:-2], axes[-2], axes[-1]
    single = unit(x, 192, 1, f"{name}_1x1")
    once = unit(x, inner, 1, f"{name}_7x7_1")
    for axis in (*planes, columns, rows):
        filters = 192 if axis == rows else inner
        once = unit(once, filters, _along(x, axis, 7), f"{name}_7x7_{axis}")
    twice = unit(x, inner, 1, f"{name}_7x7dbl_1")
    for time in (1, 2):
        for axis in (*planes, rows, columns):
            filters = 192 if (time, axis) == (2, columns) else inner
            twice = unit(twice, filters, _along(x, axis, 7), f"{name}_7x7dbl_{axis}{time}")
    return _joined([single, once, twice, _pooled(x, 192, unit, name)], name)


def _reduction_8(x: Any, unit: Unit, name: str) -> Any:
    """As figure 10, with a 7x7 split along the axes."""
    axes = _AXES[blocks.rank_of(x)]
    single = unit(x, 192, 1, f"{name}_3x3_1")
    single = unit(single, 320, 3, f"{name}_3x3_2", strides=2, padding="valid")
    large = unit(x, 192, 1, f"{name}_7x7x3_1")
    for axis in (*axes[:-2], axes[-1], axes[-2]):
        large = unit(large, 192, _along(x, axis, 7), f"{name}_7x7x3_{axis}")
    large = unit(large, 192, 3, f"{name}_7x7x3_2", strides=2, padding="valid")
    pooled = blocks.maximum_pooling(x, 3, strides=2, name=f"{name}_maximum")
    return _joined([single, large, pooled], name)


def _mixed_8(x: Any, unit: Unit, name: str) -> Any:
    """Figure 7: 3x3 kernels spread side by side along the axes; the map is 8 x 8."""
    single = unit(x, 320, 1, f"{name}_1x1")
    once = unit(x, 384, 1, f"{name}_3x3_1")
    once = _spread(once, unit, f"{name}_3x3")
    twice = unit(x, 448, 1, f"{name}_3x3dbl_1")
    twice = unit(twice, 384, 3, f"{name}_3x3dbl_2")
    twice = _spread(twice, unit, f"{name}_3x3dbl")
    return _joined([single, once, twice, _pooled(x, 192, unit, name)], name)


def _spread(x: Any, unit: Unit, name: str) -> Any:
    axes = reversed(_AXES[blocks.rank_of(x)])  # columns, rows, and planes after them
    sides = [unit(x, 384, _along(x, axis, 3), f"{name}_{axis}") for axis in axes]
    return _joined(sides, f"{name}_joined")


def _auxiliary(x: Any, num_classes: int, unit: Unit) -> Any:
    """Figure 8, of the sizes that torchvision has."""
    x = blocks.average_pooling(x, 5, strides=3, name="auxiliary_pool")
    x = unit(x, 128, 1, "auxiliary1")
    x = unit(x, 768, 5, "auxiliary2", padding="valid")
    x = blocks.global_average(x, name="auxiliary_average")
    return layers.Dense(num_classes, dtype="float32", name="auxiliary_logits")(x)
