"""The mapper: core's U-Net, that says of each pixel of a scene what covers the ground."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from numpy.typing import NDArray

from fieldsight.pipelines._training import Recipe
from fieldsight.pipelines.deforestation._fields import Field

Array = NDArray[Any]
OnEpoch = Callable[[int, Mapping[str, float]], None]

APPLICATION = "deforestation-map"  # of the card, for `_tracking.find_model`


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapRecipe:
    """How a mapper is made.

    Attributes:
        window: pixels of a side that it learns from, a multiple of 2^depth.
        filters: of the first level.
        depth: how often the map is halved.
        dropout: share of the deepest maps' channels.
        steps: batches an epoch.
        followed: windows of validation at most that are scored after each epoch.
        training: epochs, batches, rate and seed.
    """

    window: int = 128
    filters: int = 16
    depth: int = 4
    dropout: float = 0.0
    steps: int = 40
    followed: int = 48
    training: Recipe


QUICK = MapRecipe(
    training=Recipe(epochs=20, batch_size=8, learning_rate=3e-3, weight_decay=1e-3),
)
FULL = MapRecipe(
    filters=24,
    steps=120,
    followed=96,
    training=Recipe(epochs=60, batch_size=8, learning_rate=3e-3, weight_decay=1e-3),
)


@dataclasses.dataclass(frozen=True)
class Mapper:
    """A trained mapper and what must be known to use it.

    Attributes:
        network: from `(n, rows, columns, bands)` float32 in `units`, sides multiples of
            2^depth, to `(n, rows, columns, len(classes) - 1)` calibrated logits: channel k is
            the class of value k + 1; 0 is nodata.
        facts: for the card: bands, units, ground_sampling_distance_m, classes, window, output
            ("logits"), stride, trained_on.
        history: losses by epoch.
        temperature: by which the logits were divided already, chosen on validation.
        seconds: of the training.
    """

    network: keras.Model
    facts: Mapping[str, Any]
    history: Mapping[str, list[float]]
    temperature: float
    seconds: float


def scaled(recipe: MapRecipe, epochs: float, seed: int) -> MapRecipe:
    """A recipe of so many times its training, with a seed of its own."""
    raise NotImplementedError


def train(
    fields: Sequence[Field],
    val: Sequence[Field],
    recipe: MapRecipe,
    folder: Path,
    on_epoch: OnEpoch | None = None,
) -> Mapper:
    """Train a mapper, going on from the last finished epoch in `folder`, and calibrate it.

    Args:
        fields: to learn from; all of the same bands, units and classes.
        val: to choose the best epoch and the temperature by.
        recipe: how.
        folder: of the checkpoint.
        on_epoch: told the epoch and its metrics.

    Raises:
        CommandError: if there is nothing labelled to learn from or to choose by.
    """
    raise NotImplementedError


def classes_of(network: Any, field: Field, *, average: bool = False) -> Array:
    """`(rows, columns)` uint8: the likeliest class of each pixel of a field."""
    raise NotImplementedError
