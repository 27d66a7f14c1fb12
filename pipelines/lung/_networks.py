"""The three networks of a lung model: what finds nodules, what outlines them, what rates them.

Each takes Hounsfield units and sees the window of the lung itself (C-5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from fieldsight.core import blocks
from fieldsight.core.architectures.detector import detector
from fieldsight.core.architectures.unet import unet_on
from fieldsight.pipelines.lung._recipes import Sizes

WINDOW = (-1200.0, 600.0)  # Hounsfield units: what is darker or brighter tells nothing of a nodule
STRIDE = 2  # of the finder


def finder(sizes: Sizes) -> keras.Model:
    """The detector of nodules: `core`'s, of places 2 voxels apart, on a small residual backbone.

    Returns:
        An uncompiled model from `(batch, planes, rows, columns, 1)` Hounsfield units to maps as
        `core.detection` has them; sides are multiples of 4.
    """
    shape = (None, None, None, 1)
    return detector(backbone(shape, sizes), stride=STRIDE, filters=sizes.pyramid, name="finder")


def outliner(sizes: Sizes, finder: keras.Model | None = None) -> keras.Model:
    """A U-Net that outlines the nodule in the middle of a crop.

    Args:
        sizes: of the networks.
        finder: a trained one, whose way down the outliner's begins as: nodules are few.

    Returns:
        An uncompiled model from `(batch, crop, crop, crop, 1)` Hounsfield units to one logit a
        voxel.
    """
    below = _begun(sizes, finder)
    return unet_on(below, 1, filters=sizes.outliner, name="outliner")


def judge(sizes: Sizes, finder: keras.Model | None = None) -> keras.Model:
    """What says of a crop's middle whether it is a nodule, and if so how suspicious.

    Args:
        sizes: of the networks.
        finder: a trained one, whose way down the judge's begins as: nodules are few.

    Returns:
        An uncompiled model from `(batch, crop, crop, crop, 1)` Hounsfield units to two logits.
    """
    below = _begun(sizes, finder)
    x = below.output
    # The middle is what is asked about, and the whole what lies around it.
    beside = x.shape[1] // 3
    inside = blocks.cropped(x, [(beside, beside)] * 3, name="middle")
    pooled = [
        blocks.global_average(x, name="around"),
        blocks.global_average(inside, name="average"),
        layers.GlobalMaxPooling3D(name="most")(inside),
    ]
    x = layers.Concatenate(name="features")(pooled)
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(below.input, blocks.logits(x, 2), name="judge")


def _begun(sizes: Sizes, finder: keras.Model | None) -> keras.Model:
    """The backbone on crops, with a finder's weights."""
    below = backbone((*(sizes.crop,) * 3, 1), sizes)
    if finder is not None:
        for layer in below.layers:
            if layer.weights:
                layer.set_weights(finder.get_layer(layer.name).get_weights())
    return below


def backbone(shape: Sequence[int | None], sizes: Sizes) -> keras.Model:
    """Residual stages at strides 1, 2, 4, ...; after He et al., CVPR 2016, section 4.2."""
    inputs = keras.Input(tuple(shape), name="hounsfield")
    x = _convolved(_windowed(inputs), sizes.filters[0], "stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, (filters, count) in enumerate(zip(sizes.filters, sizes.blocks, strict=True)):
        for i in range(count):
            strides = 2 if stage and not i else 1
            x = _block(x, filters, strides, f"stage{stage}_block{i}")
    return keras.Model(inputs, x, name="backbone")


def _windowed(x: Any) -> Any:
    """Hounsfield units between the window's ends, as 0 to 1."""
    low, high = WINDOW
    scale = 1 / (high - low)
    x = layers.Rescaling(scale, offset=-low * scale, dtype="float32", name="window")(x)
    return layers.ReLU(max_value=1.0, dtype="float32", name="window_ends")(x)


def _block(x: Any, filters: int, strides: int, name: str) -> Any:
    if strides > 1:
        x = blocks.maximum_pooling(x, strides, name=f"{name}_pool")
    shortcut = x
    if x.shape[-1] != filters:
        shortcut = _convolved(x, filters, f"{name}_shortcut", kernel_size=1)
    x = _convolved(x, filters, f"{name}_conv1")
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = _convolved(x, filters, f"{name}_conv2")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _convolved(x: Any, filters: int, name: str, *, kernel_size: int = 3) -> Any:
    x = blocks.convolution(
        x, filters, kernel_size, use_bias=False, kernel_initializer="he_normal", name=name
    )
    # 0.9 and not Keras's 0.99: a short training's statistics must be those of its end.
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
