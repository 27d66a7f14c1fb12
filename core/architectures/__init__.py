"""Architectures: functions that return an uncompiled `keras.Model` of logits."""

from fieldsight.core.architectures.alexnet import alexnet
from fieldsight.core.architectures.all_cnn import all_cnn
from fieldsight.core.architectures.inception import inception_v3
from fieldsight.core.architectures.lenet import lenet5
from fieldsight.core.architectures.mlp import mlp
from fieldsight.core.architectures.pilotnet import pilotnet
from fieldsight.core.architectures.resnet import (
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)
from fieldsight.core.architectures.resnet_cifar import (
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)
from fieldsight.core.architectures.unet import unet
from fieldsight.core.architectures.vgg import vgg11, vgg13, vgg16, vgg19

__all__ = [
    "alexnet",
    "all_cnn",
    "inception_v3",
    "lenet5",
    "mlp",
    "pilotnet",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "unet",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]
