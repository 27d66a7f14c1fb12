"""A detector of any rank: what lies where, as points with a size, on any backbone."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from fieldsight.core import blocks
from fieldsight.core.pyramid import pyramid, pyramid_levels

_PRIOR = 0.01  # a place's probability before training: nearly all are empty (Lin et al., 2017)


def detector(
    backbone: keras.Model,
    num_classes: int = 1,
    *,
    stride: int = 4,
    filters: int = 64,
    name: str | None = None,
) -> keras.Model:
    """A detector of centres: for each place a score by class, a size and an offset.

    A feature pyramid brings what the coarse levels know to the level of `stride`; there every
    place says how likely it is an object's centre. What is looked for may be a few pixels wide,
    so the stride is 4, 2 or 1. Nothing in it sees the whole picture, so a large one can be cut
    into windows. Targets and answers are `core.detection`'s `encode` and `decode`.

    Reference:
        Zhou, Wang, Krähenbühl, Objects as points, arXiv 1904.07850 (2019), for the heads; Lin et
        al., Feature pyramid networks for object detection, CVPR 2017, section 3, for the way
        back. Differs in that sizes are logarithms and offsets lie around a place's middle, that
        the pyramid's last map alone has heads, and that the rank is the backbone's.

    Args:
        backbone: a functional model with maps of several strides; ours, or Keras's own. Its head
            is left out, its weights are shared.
        num_classes: kinds of objects.
        stride: pixels or voxels between two places of the answer along every axis.
        filters: of the pyramid and the heads.
        name: the model's; by default the backbone's with `_detector` behind it.

    Returns:
        An uncompiled model from what the backbone takes to `(batch, *places, num_classes +
        2 * rank)` float32 for `rank` axes: logits by class, then for each axis the logarithm of
        the size in strides, then the offset of the centre from the place's middle in strides;
        axes in the array's order.

    Raises:
        ValueError: if the backbone has no map of that stride, or a map isn't twice as large as
            the next.

    Example:
        >>> from fieldsight.core.architectures import resnet20
        >>> detector(resnet20((64, 64, 1)), 3, stride=2).output_shape
        (None, 32, 32, 7)
    """
    blocks.check_num_classes("detector", num_classes)
    inputs, x = _pyramid(backbone, stride, filters)
    rank = blocks.rank_of(x)
    x = _convolved(x, filters, 3, "head")
    heat = blocks.convolution(
        x,
        num_classes,
        1,
        bias_initializer=keras.initializers.Constant(-math.log((1 - _PRIOR) / _PRIOR)),
        dtype="float32",
        name="heat",
    )
    size = blocks.convolution(x, rank, 1, dtype="float32", name="log_size")
    offset = blocks.convolution(x, rank, 1, dtype="float32", name="offset")
    outputs = layers.Concatenate(dtype="float32", name="maps")([heat, size, offset])
    return keras.Model(inputs, outputs, name=name or f"{backbone.name}_detector")


def _pyramid(backbone: keras.Model, stride: int, filters: int) -> tuple[Any, Any]:
    """What the backbone takes, and the map of `stride` that knows of all coarser ones."""
    levels = pyramid_levels(backbone)
    finest = f"P{stride.bit_length() - 1}"
    if stride < 1 or stride & (stride - 1) or finest not in levels:
        strides = ", ".join(str(2 ** int(level[1:])) for level in levels) or "none"
        raise ValueError(
            f"stride must be one of the backbone {backbone.name!r}'s: {strides}. Received: "
            f"stride={stride}"
        )
    wanted = levels[levels.index(finest) :]
    features = pyramid(backbone, wanted)
    above, *finer = reversed(wanted)
    x = _convolved(features.output[above], filters, 1, f"lateral_{above}")
    for level in finer:
        lateral = _convolved(features.output[level], filters, 1, f"lateral_{level}")
        factor = 2 ** (int(above[1:]) - int(level[1:]))  # a backbone may lack a level between
        x = blocks.upsampled(x, factor, name=f"upsampled_{above}")
        x = _added(backbone.name, level, lateral, x)
        above = level
    return features.input, _convolved(x, filters, 3, f"smooth_{finest}")


def _added(name: str, level: str, lateral: Any, above: Any) -> Any:
    sizes = zip(lateral.shape[1:-1], above.shape[1:-1], strict=True)
    for axis, (size, wanted) in enumerate(sizes):
        if size != wanted:
            raise ValueError(
                f"backbone {name!r}, axis {axis}: level {level} must be as large as what comes "
                f"from the coarser ones, {wanted}. Received: {size}. Take sides that are "
                "multiples of its largest stride, and a backbone that pads its borders."
            )
    return layers.Add(name=f"sum_{level}")([lateral, above])


def _convolved(x: Any, filters: int, kernel_size: int, name: str) -> Any:
    x = blocks.convolution(
        x,
        filters,
        kernel_size,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )
    # 0.9 and not Keras's 0.99: a short training's statistics must be those of its end.
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
