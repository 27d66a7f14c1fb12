"""The arithmetic of one layer: sizes, fields, weights, connections, memory, of one example."""

import math
from collections.abc import Iterable, Sequence

import numpy as np


def output_size(
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    floor: bool = False,
) -> int:
    """Return how many places a kernel has along an axis: (W - F + 2P) / S + 1.

    Frameworks round it down silently, and so drop the input's far edge. Here a fraction is an
    error unless rounding is asked for.

    Args:
        size: W, the input's length.
        kernel: F, the kernel's length.
        stride: S, the step from one place to the next.
        padding: P, zeros added on each side.
        dilation: D, the step between a kernel's own places; F counts as D(F - 1) + 1.
        floor: round a fraction down.

    Returns:
        The length of the output.

    Raises:
        ValueError: if an argument is out of range, the kernel doesn't fit, or the outcome is
            a fraction; then it says which padding or stride would fit.

    Example:
        >>> output_size(32, 5)
        28
        >>> output_size(227, 11, stride=4)
        55
        >>> output_size(227, 11, stride=4, padding=1, floor=True)
        55
    """
    values = {"W": size, "F": kernel, "P": padding, "S": stride, "D": dilation}
    if min(size, kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(f"W, F, S and D must be at least 1 and P at least 0. {_received(values)}.")
    extent = dilation * (kernel - 1) + 1
    span = size - extent + 2 * padding
    if span < 0:
        least = math.ceil((extent - size) / 2)
        raise ValueError(
            f"the kernel must fit into the padded input. {_received(values)}. "
            f"P={least} is the least that fits."
        )
    if span % stride == 0 or floor:
        return span // stride + 1
    formula = "(W - F + 2P)" if dilation == 1 else "(W - D(F - 1) - 1 + 2P)"
    raise ValueError(
        f"{formula} / S + 1 must be whole. {_received(values)}, which gives "
        f"{span / stride + 1:.6g}. {_what_fits(size - extent, padding, stride, extent)}. "
        f"floor=True rounds down to {span // stride + 1}."
    )


def _received(values: dict[str, int]) -> str:
    shown = {name: value for name, value in values.items() if (name, value) != ("D", 1)}
    return "Received: " + ", ".join(f"{name}={value}" for name, value in shown.items())


def _what_fits(bare: int, padding: int, stride: int, extent: int) -> str:
    """Say which paddings near this one give a whole size, or else which strides."""

    def whole(p: int, s: int) -> bool:
        return bare + 2 * p >= 0 and (bare + 2 * p) % s == 0

    paddings = _nearest([p for p in range(padding + extent + stride) if whole(p, stride)], padding)
    if paddings:
        return "; ".join(f"P={p} gives {(bare + 2 * p) // stride + 1}" for p in paddings)
    span = bare + 2 * padding
    strides = _nearest([s for s in range(1, span + 1) if whole(padding, s)], stride)
    return "; ".join(f"S={s} gives {span // s + 1}" for s in strides)


def _nearest(values: Sequence[int], to: int) -> list[int]:
    below, above = [v for v in values if v < to], [v for v in values if v > to]
    return below[-1:] + above[:1]


def receptive_field(stages: Iterable[tuple[int, int]]) -> int:
    """Return how many inputs along an axis reach one unit of the last of a chain of layers.

    A layer's own field is its kernel; each layer adds (kernel - 1) steps, a step being the
    product of the strides before it.

    Args:
        stages: (kernel, stride) of each layer, first to last; a dilated kernel counts as
            D(F - 1) + 1.

    Returns:
        The number of inputs, at least 1.

    Example:
        LeNet-5, C1 to C5, sees the whole of its 32 x 32 image:

        >>> receptive_field([(5, 1), (2, 2), (5, 1), (2, 2), (5, 1)])
        32
    """
    field, jump = 1, 1
    for kernel, stride in stages:
        if kernel < 1 or stride < 1:
            raise ValueError(
                f"kernel and stride must be at least 1. Received: ({kernel}, {stride})"
            )
        field += (kernel - 1) * jump
        jump *= stride
    return field


def neuron_weights(kernel_size: Sequence[int], channels: int) -> int:
    """Return the weights of one unit: its kernel on each of the channels it sees.

    Example:
        >>> neuron_weights((5, 5), 3)  # Sees a small window of a colour image.
        75
        >>> neuron_weights((200, 200), 3)  # Sees all of one.
        120000
    """
    return math.prod(kernel_size) * channels


def shared_weights(
    kernel_size: Sequence[int], channels: int, filters: int, *, bias: bool = False
) -> int:
    """Return the weights of a convolution, whose units share one kernel a filter.

    Example:
        >>> shared_weights((11, 11), 3, 96)
        34848
        >>> shared_weights((11, 11), 3, 96, bias=True)
        34944
    """
    return filters * (neuron_weights(kernel_size, channels) + bias)


def unshared_weights(
    kernel_size: Sequence[int], channels: int, output_shape: Sequence[int], *, bias: bool = False
) -> int:
    """Return the weights of a locally connected layer, each unit having its own.

    Args:
        kernel_size: the kernel's length along each axis.
        channels: the channels that a unit sees.
        output_shape: `(*axes, filters)`.
        bias: count a bias for each unit.

    Example:
        >>> unshared_weights((11, 11), 3, (55, 55, 96))
        105415200
    """
    return math.prod(output_shape) * (neuron_weights(kernel_size, channels) + bias)


def connections(
    kernel_size: Sequence[int], channels: int, output_shape: Sequence[int], *, bias: bool = True
) -> int:
    """Return the connections of a convolution, the same whether weights are shared or not.

    Example:
        >>> connections((5, 5), 1, (28, 28, 6))  # LeNet-5's C1.
        122304
    """
    return unshared_weights(kernel_size, channels, output_shape, bias=bias)


def macs(kernel_size: Sequence[int], channels: int, output_shape: Sequence[int]) -> int:
    """Return the multiply-accumulates of a convolution on one example.

    Example:
        >>> macs((11, 11), 3, (55, 55, 96))  # AlexNet's first layer.
        105415200
    """
    return unshared_weights(kernel_size, channels, output_shape)


def activation_bytes(output_shape: Sequence[int], dtype: str = "float32") -> int:
    """Return the memory of a layer's output for one example.

    Example:
        >>> activation_bytes((55, 55, 96))
        1161600
        >>> activation_bytes((55, 55, 96), "bfloat16")
        580800
    """
    itemsize = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
    return math.prod(output_shape) * itemsize
