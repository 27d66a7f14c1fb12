"""Losses that Keras lacks: as functions of tensors, and as Keras losses for `compile`.

All compute in float32, whatever the network computes in, and give one number an example. To all
but SmoothedCrossentropy an element whose target is below 0 counts for nothing, neither in the
loss nor in its gradient.
"""

from fieldsight.core.losses.crossentropy import SmoothedCrossentropy
from fieldsight.core.losses.detection import DetectionLoss
from fieldsight.core.losses.dice import SoftDice, soft_dice
from fieldsight.core.losses.focal import BinaryFocal, HeatMapFocal, binary_focal, heat_map_focal
from fieldsight.core.losses.noisy_or import (
    PADDED,
    NoisyOrCrossentropy,
    noisy_or,
    noisy_or_crossentropy,
)
from fieldsight.core.losses.places import place_crossentropy

__all__ = [
    "PADDED",
    "BinaryFocal",
    "DetectionLoss",
    "HeatMapFocal",
    "NoisyOrCrossentropy",
    "SmoothedCrossentropy",
    "SoftDice",
    "binary_focal",
    "heat_map_focal",
    "noisy_or",
    "noisy_or_crossentropy",
    "place_crossentropy",
    "soft_dice",
]
