"""Architectures: functions that return an uncompiled `keras.Model` of logits."""

from fieldsight.core.architectures.all_cnn import all_cnn
from fieldsight.core.architectures.lenet import lenet5
from fieldsight.core.architectures.mlp import mlp

__all__ = ["all_cnn", "lenet5", "mlp"]
