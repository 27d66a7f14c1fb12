"""Layers that own weights or state; importing this registers them all with Keras."""

from fieldsight.core.layers.blur_pooling import BlurPooling2D, BlurPooling3D
from fieldsight.core.layers.convolution import Conv1D, Conv2D, Conv3D
from fieldsight.core.layers.image_kernel import ImageKernel2D
from fieldsight.core.layers.initializers import FanInUniform
from fieldsight.core.layers.local_response import LocalResponseNormalization
from fieldsight.core.layers.locally_connected import (
    LocallyConnected1D,
    LocallyConnected2D,
    LocallyConnected3D,
)
from fieldsight.core.layers.padded_shortcut import PaddedShortcut
from fieldsight.core.layers.radial_basis import RadialBasis, digit_bitmaps
from fieldsight.core.layers.random_symmetry import RandomSymmetry
from fieldsight.core.layers.squashing import scaled_tanh
from fieldsight.core.layers.stochastic_depth import StochasticDepth
from fieldsight.core.layers.subsampling import Subsampling2D
from fieldsight.core.layers.table_convolution import LENET_TABLE, TableConv2D

__all__ = [
    "LENET_TABLE",
    "BlurPooling2D",
    "BlurPooling3D",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "FanInUniform",
    "ImageKernel2D",
    "LocalResponseNormalization",
    "LocallyConnected1D",
    "LocallyConnected2D",
    "LocallyConnected3D",
    "PaddedShortcut",
    "RadialBasis",
    "RandomSymmetry",
    "StochasticDepth",
    "Subsampling2D",
    "TableConv2D",
    "digit_bitmaps",
    "scaled_tanh",
]
