"""What two architectures or more are made of: functions on tensors of any rank.

The rank, two axes or three between batch and channels, is the tensor's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import layers

_CONVOLUTIONS = {2: layers.Conv2D, 3: layers.Conv3D}
_TRANSPOSED = {2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}
_MAXIMUM = {2: layers.MaxPooling2D, 3: layers.MaxPooling3D}
_AVERAGE = {2: layers.AveragePooling2D, 3: layers.AveragePooling3D}
_GLOBAL = {2: layers.GlobalAveragePooling2D, 3: layers.GlobalAveragePooling3D}
_ZEROS = {2: layers.ZeroPadding2D, 3: layers.ZeroPadding3D}
_UPSAMPLING = {2: layers.UpSampling2D, 3: layers.UpSampling3D}
_CROPPING = {2: layers.Cropping2D, 3: layers.Cropping3D}


def rank_of(x: Any) -> int:
    """How many axes lie between batch and channels."""
    return len(x.shape) - 2


def convolution(
    x: Any,
    filters: int,
    kernel_size: int | Sequence[int] = 3,
    *,
    strides: int = 1,
    padding: str = "same",
    name: str,
    **options: Any,
) -> Any:
    """Keras's convolution of this rank.

    Args:
        x: `(batch, *axes, channels)`.
        filters: of the output.
        kernel_size: along every axis, or one for each.
        strides: along every axis.
        padding: "same" or "valid".
        name: the layer's.
        **options: what Keras's layer takes besides.

    Returns:
        `(batch, *places, filters)`.

    Raises:
        ValueError: if channels or filters don't divide into `groups`.
    """
    groups = options.get("groups", 1)
    if x.shape[-1] % groups or filters % groups:
        raise ValueError(
            f"layer {name!r}: channels and filters must divide into {groups} groups. Received: "
            f"{x.shape[-1]} channels, {filters} filters"
        )
    layer = _CONVOLUTIONS[rank_of(x)]
    return layer(filters, kernel_size, strides=strides, padding=padding, name=name, **options)(x)


def transposed_convolution(
    x: Any, filters: int, kernel_size: int, *, strides: int, name: str, **options: Any
) -> Any:
    """Keras's transposed convolution of this rank: `strides` places for one."""
    layer = _TRANSPOSED[rank_of(x)]
    return layer(filters, kernel_size, strides=strides, padding="same", name=name, **options)(x)


def upsampled(x: Any, factor: int, *, name: str) -> Any:
    """The tensor with each place repeated `factor` times along every axis."""
    return _UPSAMPLING[rank_of(x)](factor, name=name)(x)


def zeros_around(x: Any, count: int, *, name: str) -> Any:
    """The tensor with `count` zeros before and after each axis."""
    return _ZEROS[rank_of(x)](count, name=name)(x)


def cropped(x: Any, counts: Sequence[tuple[int, int]], *, name: str) -> Any:
    """The tensor without so many places before and after each axis."""
    return _CROPPING[rank_of(x)](tuple(counts), name=name)(x)


def maximum_pooling(
    x: Any, pool_size: int = 2, *, strides: int | None = None, padding: str = "valid", name: str
) -> Any:
    """The largest value of each window; `strides` is the window's size unless given."""
    return _MAXIMUM[rank_of(x)](pool_size, strides=strides, padding=padding, name=name)(x)


def average_pooling(
    x: Any, pool_size: int = 2, *, strides: int | None = None, padding: str = "valid", name: str
) -> Any:
    """The mean of each window; `strides` is the window's size unless given."""
    return _AVERAGE[rank_of(x)](pool_size, strides=strides, padding=padding, name=name)(x)


def global_average(x: Any, *, name: str) -> Any:
    """The mean over all places: `(batch, channels)`."""
    return _GLOBAL[rank_of(x)](name=name)(x)


def squeeze_excitation(x: Any, *, reduction: int = 16, name: str) -> Any:
    """Each channel times a weight between 0 and 1 that depends on the means of all channels.

    Global: what a place becomes depends on the whole picture, so a large picture can't be cut
    into windows without a change.

    Reference:
        Hu, Shen, Sun, Squeeze-and-excitation networks, CVPR 2018, section 3.

    Args:
        x: `(batch, *axes, channels)`.
        reduction: the inner layer has channels / reduction units, at least one.
        name: stands before the names of its layers.

    Returns:
        The shape of `x`.
    """
    channels = x.shape[-1]
    means = _GLOBAL[rank_of(x)](keepdims=True, name=f"{name}_squeeze")(x)
    inner = max(1, channels // reduction)
    weights = layers.Dense(inner, activation="relu", name=f"{name}_reduce")(means)
    weights = layers.Dense(channels, activation="sigmoid", name=f"{name}_expand")(weights)
    return layers.Multiply(name=f"{name}_excite")([x, weights])


def logits(x: Any, num_classes: int) -> Any:
    """The last layer: float32, whatever the rest computes in."""
    return layers.Dense(num_classes, dtype="float32", name="logits")(x)


def check_input_shape(
    name: str,
    input_shape: Sequence[int | None],
    *,
    smallest: int,
    ranks: tuple[int, ...] = (2, 3),
    flattened: bool = False,
) -> None:
    """Refuse what isn't a picture or a volume that the network can see.

    Args:
        name: of the network, for the message.
        input_shape: without the batch; an axis may be None, and then isn't checked.
        smallest: side that leaves a place at the end of the network.
        ranks: how many axes an input may have besides its channels.
        flattened: whether the last map is flattened, so that every side must be known.

    Raises:
        ValueError: if the rank is another, a side smaller or unknown, or there is no channel.
    """
    sides = tuple(input_shape[:-1])
    forms = {2: "(height, width, channels)", 3: "(depth, height, width, channels)"}
    if len(sides) not in ranks:
        wanted = " or ".join(forms[rank] for rank in ranks)
        raise ValueError(
            f"{name} needs an input_shape of {wanted}. Received: input_shape={tuple(input_shape)}"
        )
    if any(side is not None and side < smallest for side in sides) or not input_shape[-1]:
        raise ValueError(
            f"{name} needs sides of at least {smallest} and at least one channel. Received: "
            f"input_shape={tuple(input_shape)}. Pad or enlarge the input, or take a network with "
            "fewer strides."
        )
    if flattened and None in sides:
        raise ValueError(
            f"{name} flattens its last map, so every side must be known. Received: "
            f"input_shape={tuple(input_shape)}. ResNet and Inception take any size."
        )


def check_num_classes(name: str, num_classes: int) -> None:
    """Refuse fewer classes than one.

    Raises:
        ValueError: if there are none.
    """
    if num_classes < 1:
        raise ValueError(f"{name} needs at least one class. Received: num_classes={num_classes}")
