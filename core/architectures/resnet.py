"""Residual networks for ImageNet: 18 to 152 layers, in both published conventions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers

from fieldsight.core import blocks
from fieldsight.core.layers.blur_pooling import BlurPooling2D, BlurPooling3D
from fieldsight.core.layers.stochastic_depth import StochasticDepth

Variant = Literal["torchvision", "keras"]

# Table 1: blocks in each of the four stages.
_STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_FILTERS = (64, 128, 256, 512)
_WIDENING = 4  # a bottleneck's last convolution has so many times its filters
_BLUR = {2: BlurPooling2D, 3: BlurPooling3D}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Form:
    """What all blocks of a network have in common."""

    bottleneck: bool
    is_keras: bool  # the stride on the 1x1, biases, and Keras's epsilon and momentum
    squeezed: bool
    antialiased: bool

    @property
    def norm(self) -> dict[str, float]:
        if self.is_keras:
            return {"epsilon": 1.001e-5, "momentum": 0.99}
        return {"epsilon": 1e-5, "momentum": 0.9}


def _resnet(
    depth: int,
    input_shape: Sequence[int | None],
    num_classes: int,
    variant: str,
    stochastic_depth: float,
    squeeze_excitation: bool,
    antialiased: bool,
    name: str,
) -> keras.Model:
    if variant not in ("torchvision", "keras"):
        raise ValueError(f'variant must be "torchvision" or "keras". Received: variant="{variant}"')
    if not 0 <= stochastic_depth < 1:
        raise ValueError(
            f"stochastic_depth must be at least 0 and under 1. Received: {stochastic_depth}"
        )
    blocks.check_input_shape(name, input_shape, smallest=32)
    blocks.check_num_classes(name, num_classes)
    form = _Form(
        bottleneck=depth >= 50,
        is_keras=variant == "keras",
        squeezed=squeeze_excitation,
        antialiased=antialiased,
    )
    inputs = keras.Input(tuple(input_shape), name="inputs")
    x = _stem(inputs, form)
    counts = _STAGES[depth]
    built = 0
    for stage, (count, filters) in enumerate(zip(counts, _FILTERS, strict=True), 2):
        for i in range(1, count + 1):
            built += 1
            # Linear decay (Huang et al., 2016, equation 4): later blocks are dropped more often.
            rate = stochastic_depth * built / sum(counts)
            strides = 2 if stage > 2 and i == 1 else 1
            x = _block(x, filters, strides, rate, form, first=i == 1, name=f"conv{stage}_block{i}")
    x = blocks.global_average(x, name="avg_pool")
    return keras.Model(inputs, blocks.logits(x, num_classes), name=name)


def _stem(x: Any, form: _Form) -> Any:
    x = blocks.zeros_around(x, 3, name="conv1_pad")
    x = _convolved(x, 64, 7, 2, form, "conv1", padding="valid")
    x = layers.ReLU(name="conv1_relu")(x)
    # After a ReLU, zeros around are as good as minus infinity.
    x = blocks.zeros_around(x, 1, name="pool1_pad")
    strides = 1 if form.antialiased else 2
    x = blocks.maximum_pooling(x, 3, strides=strides, name="pool1_pool")
    return _blurred(x, "pool1_blur") if form.antialiased else x


def _block(
    x: Any, filters: int, strides: int, rate: float, form: _Form, *, first: bool, name: str
) -> Any:
    out = filters * _WIDENING if form.bottleneck else filters
    shortcut = x
    if first and (strides > 1 or x.shape[-1] != out):
        shortcut = _shortcut(x, out, strides, form, name)
    branch = _bottleneck if form.bottleneck else _basic
    x = branch(x, filters, strides, form, name)
    if form.squeezed:
        x = blocks.squeeze_excitation(x, name=f"{name}_se")
    if rate:
        x = StochasticDepth(rate, name=f"{name}_drop")(x)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _shortcut(x: Any, filters: int, strides: int, form: _Form, name: str) -> Any:
    if strides > 1 and form.antialiased:
        x, strides = _blurred(x, f"{name}_0_blur"), 1
    return _convolved(x, filters, 1, strides, form, f"{name}_0", padding="valid")


def _bottleneck(x: Any, filters: int, strides: int, form: _Form, name: str) -> Any:
    first, second = (strides, 1) if form.is_keras else (1, strides)
    x = _convolved(x, filters, 1, 1 if form.antialiased else first, form, f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = _convolved(x, filters, 3, 1 if form.antialiased else second, form, f"{name}_2")
    x = layers.ReLU(name=f"{name}_2_relu")(x)
    if strides > 1 and form.antialiased:
        x = _blurred(x, f"{name}_2_blur")
    return _convolved(x, filters * _WIDENING, 1, 1, form, f"{name}_3")


def _basic(x: Any, filters: int, strides: int, form: _Form, name: str) -> Any:
    x = _convolved(x, filters, 3, 1 if form.antialiased else strides, form, f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    if strides > 1 and form.antialiased:
        x = _blurred(x, f"{name}_1_blur")
    return _convolved(x, filters, 3, 1, form, f"{name}_2")


def _convolved(
    x: Any, filters: int, kernel_size: int, strides: int, form: _Form, name: str,
    *, padding: str = "same",
) -> Any:  # fmt: skip
    """A convolution and its normalisation, named as keras.applications names them."""
    if padding == "same" and strides > 1 and kernel_size > 1:
        # Both sides alike, as published; "same" would pad the end alone.
        x = blocks.zeros_around(x, kernel_size // 2, name=f"{name}_pad")
        padding = "valid"
    x = blocks.convolution(
        x, filters, kernel_size, strides=strides, padding=padding, use_bias=form.is_keras,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )  # fmt: skip
    return layers.BatchNormalization(name=f"{name}_bn", **form.norm)(x)


def _blurred(x: Any, name: str) -> Any:
    return _BLUR[blocks.rank_of(x)](name=name)(x)


def resnet18(
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    variant: Variant = "torchvision",
    stochastic_depth: float = 0.0,
    squeeze_excitation: bool = False,
    antialiased: bool = False,
    name: str = "resnet18",
) -> keras.Model:
    """ResNet-18: eight blocks of two 3x3 convolutions.

    Two conventions are published. "torchvision": no biases, and in `resnet50` and deeper the
    stride on the 3x3 convolution. "keras", that of `keras.applications`: biases, the stride on
    the first 1x1 convolution as in the paper, and layers of the same names, so that its weights
    can be loaded. In both, zeros are padded alike on either side.

    Reference:
        He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016, table 1;
        Huang et al., Deep networks with stochastic depth, ECCV 2016;
        Hu, Shen, Sun, Squeeze-and-excitation networks, CVPR 2018;
        Zhang, Making convolutional networks shift-invariant again, ICML 2019.

    Args:
        input_shape: height, width and channels, or depth before them; sides at least 32.
        num_classes: number of logits.
        variant: of the two above.
        stochastic_depth: how often the last block is left out in training; earlier ones less.
        squeeze_excitation: weigh the channels of each block by their means.
        antialiased: blur before every place is dropped that a stride would drop.
        name: the model's.

    Returns:
        An uncompiled model from `(batch, *sides, channels)` float32 to `(batch, num_classes)`
        logits.

    Raises:
        ValueError: if the input has another rank or is too small, the variant is unknown, or
            stochastic_depth isn't a share under 1.

    Example:
        >>> resnet18((32, 32, 3)).count_params()  # 11,689,512 trainable
        11699112
    """
    return _resnet(
        18, input_shape, num_classes, variant, stochastic_depth, squeeze_excitation, antialiased,
        name,
    )  # fmt: skip


def resnet34(
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    variant: Variant = "torchvision",
    stochastic_depth: float = 0.0,
    squeeze_excitation: bool = False,
    antialiased: bool = False,
    name: str = "resnet34",
) -> keras.Model:
    """ResNet-34: sixteen blocks of two 3x3 convolutions; all else as `resnet18`."""
    return _resnet(
        34, input_shape, num_classes, variant, stochastic_depth, squeeze_excitation, antialiased,
        name,
    )  # fmt: skip


def resnet50(
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    variant: Variant = "torchvision",
    stochastic_depth: float = 0.0,
    squeeze_excitation: bool = False,
    antialiased: bool = False,
    name: str = "resnet50",
) -> keras.Model:
    """ResNet-50: sixteen bottlenecks; all else as `resnet18`."""
    return _resnet(
        50, input_shape, num_classes, variant, stochastic_depth, squeeze_excitation, antialiased,
        name,
    )  # fmt: skip


def resnet101(
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    variant: Variant = "torchvision",
    stochastic_depth: float = 0.0,
    squeeze_excitation: bool = False,
    antialiased: bool = False,
    name: str = "resnet101",
) -> keras.Model:
    """ResNet-101: thirty-three bottlenecks; all else as `resnet18`."""
    return _resnet(
        101, input_shape, num_classes, variant, stochastic_depth, squeeze_excitation, antialiased,
        name,
    )  # fmt: skip


def resnet152(
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    variant: Variant = "torchvision",
    stochastic_depth: float = 0.0,
    squeeze_excitation: bool = False,
    antialiased: bool = False,
    name: str = "resnet152",
) -> keras.Model:
    """ResNet-152: fifty bottlenecks; all else as `resnet18`."""
    return _resnet(
        152, input_shape, num_classes, variant, stochastic_depth, squeeze_excitation, antialiased,
        name,
    )  # fmt: skip
