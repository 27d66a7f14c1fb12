"""The arithmetic of convolutional networks: of one layer, and of a model layer by layer."""

from fieldsight.core.arithmetic.abstract import abstract
from fieldsight.core.arithmetic.counts import (
    activation_bytes,
    connections,
    macs,
    neuron_weights,
    output_size,
    receptive_field,
    shared_weights,
    unshared_weights,
)
from fieldsight.core.arithmetic.description import Description, LayerRow, describe

__all__ = [
    "Description",
    "LayerRow",
    "abstract",
    "activation_bytes",
    "connections",
    "describe",
    "macs",
    "neuron_weights",
    "output_size",
    "receptive_field",
    "shared_weights",
    "unshared_weights",
]
