"""Losses that Keras lacks."""

from fieldsight.core.losses.crossentropy import SmoothedCrossentropy

__all__ = ["SmoothedCrossentropy"]
