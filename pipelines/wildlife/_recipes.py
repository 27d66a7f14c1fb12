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
        rounds: a recipe each; from the second on the detector's mistakes are shown to it.
        steps: batches an epoch.
        side: pixels of a window's side, at least.
        mined: frames at most that are searched for mistakes between two rounds.
    """

    flights: int
    other: int
    detail: Literal["quick", "full"]
    stride: int
    filters: tuple[int, ...]
    pyramid: int
    rounds: tuple[Recipe, ...]
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
    rounds=(
        Recipe(epochs=5, batch_size=16, learning_rate=3e-3, weight_decay=1e-3),
        Recipe(epochs=32, batch_size=16, learning_rate=2e-3, weight_decay=1e-3),
    ),
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
    rounds=(
        Recipe(epochs=8, batch_size=16, learning_rate=3e-3, weight_decay=1e-3),
        Recipe(epochs=32, batch_size=16, learning_rate=2e-3, weight_decay=1e-3),
    ),
    steps=150,
    mined=2000,
)


def way(settings: Train) -> Way:
    """The training that settings ask for."""
    found = FULL if settings.full else QUICK
    rounds = tuple(
        dataclasses.replace(
            one,
            epochs=max(1, round(one.epochs * settings.epochs)),
            seed=settings.seed + 1_000_003 * number,
        )
        for number, one in enumerate(found.rounds)
    )
    # Beneath one epoch, epochs are shortened: a trial of a few steps.
    share = min(1.0, settings.epochs * max(one.epochs for one in found.rounds))
    flights = found.flights if settings.flights is None else settings.flights
    return dataclasses.replace(
        found,
        flights=flights,
        other=min(found.other, max(1, flights // 8)),
        stride=settings.stride or found.stride,
        rounds=rounds,
        steps=max(1, round(found.steps * share)),
    )
