"""How a wildlife model is made: how many flights, how large the network, how long."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from fieldsight.pipelines._training import Recipe

if TYPE_CHECKING:
    from fieldsight.pipelines.wildlife import Train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """A whole training.

    Attributes:
        flights: to simulate, of which every fourth is scored.
        other: to simulate of the other setting.
        detail: of the simulation.
        stride: of the detector.
        filters: of its backbone, by stride 2, 4, 8, 16.
        pyramid: filters of its way back and its heads.
        recipe: of the training.
        unaided: epochs after which the detector's mistakes are looked for, and shown to it; a
            training of no more does without.
        steps: batches an epoch.
        side: pixels of a window's side, at least.
        mined: frames at most that are searched for mistakes.
    """

    flights: int
    other: int
    detail: Literal["quick", "full"]
    stride: int
    filters: tuple[int, ...]
    pyramid: int
    recipe: Recipe
    unaided: int
    steps: int
    side: int
    mined: int


QUICK = Way(
    flights=48,
    other=4,
    detail="quick",
    stride=4,
    filters=(16, 32, 64, 96),
    pyramid=32,
    # Chosen by the loss of validation windows after twelve epochs (docs/measurements.md).
    recipe=Recipe(
        epochs=18, batch_size=16, optimizer="muon", learning_rate=0.03, weight_decay=0.05
    ),
    unaided=4,
    steps=96,
    side=128,
    mined=200,
)

FULL = dataclasses.replace(
    QUICK,
    flights=96,
    other=12,
    stride=2,
    filters=(24, 48, 96, 128),
    pyramid=48,
    recipe=dataclasses.replace(QUICK.recipe, epochs=40),
    unaided=8,
    steps=150,
    mined=2000,
)


def way(settings: Train) -> Way:
    """The training that settings ask for."""
    found = FULL if settings.full else QUICK
    epochs = max(1, round(found.recipe.epochs * settings.epochs))
    # Beneath one epoch, epochs are shortened: a trial of a few steps.
    share = min(1.0, settings.epochs * found.recipe.epochs)
    flights = found.flights if settings.flights is None else settings.flights
    return dataclasses.replace(
        found,
        flights=flights,
        other=min(found.other, max(1, flights // 8)),
        stride=settings.stride or found.stride,
        recipe=dataclasses.replace(found.recipe, epochs=epochs, seed=settings.seed),
        unaided=max(1, round(found.unaided * settings.epochs)),
        steps=max(1, round(found.steps * share)),
    )
