"""How a lung model is made: how many patients, on what grid, how large the networks, how long."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from fieldsight.pipelines._training import Recipe

if TYPE_CHECKING:
    from fieldsight.pipelines.lung import Train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the networks are."""

    filters: tuple[int, ...] = (16, 32, 64)  # of the finder, by stride 1, 2, 4
    blocks: tuple[int, ...] = (1, 2, 2)  # residual blocks, alike
    pyramid: int = 32  # of its way back and its heads
    outliner: int = 12  # of the first level
    crop: int = 24  # voxels of a side that outliner and judge see; a multiple of 8

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sizes:
        """From the model's card, where tuples are lists."""
        given: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**given)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How the finder is trained.

    Attributes:
        rounds: a recipe each; from the second on the finder's mistakes are shown to it.
        steps: batches an epoch.
        side: voxels of a patch, a multiple of 4.
        mined: scans at most that the finder searches for its mistakes between two rounds.
        searched: scans at most whose candidates the judge learns from.
    """

    rounds: tuple[Recipe, ...]
    steps: int
    side: int
    mined: int = 1000
    searched: int = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patients:
    """How many are simulated to learn from, to choose by, to be scored, and of another setting."""

    train: int
    val: int
    test: int
    other: int

    @property
    def total(self) -> int:
        """Of the default setting."""
        return self.train + self.val + self.test


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """A whole training."""

    spacing_mm: float
    detail: Literal["quick", "full"]
    patients: Patients
    sizes: Sizes
    finder: Plan
    outliner: Recipe
    outliner_steps: int
    judge: Recipe
    judge_steps: int


QUICK = Way(
    spacing_mm=2.0,
    detail="quick",
    patients=Patients(train=48, val=16, test=28, other=8),
    sizes=Sizes(),
    finder=Plan(
        rounds=(
            Recipe(epochs=13, batch_size=8, learning_rate=3e-3, weight_decay=1e-3),
            Recipe(epochs=12, batch_size=8, learning_rate=2e-3, weight_decay=1e-3),
        ),
        steps=30,
        side=32,
        mined=24,
    ),
    outliner=Recipe(epochs=10, batch_size=8, learning_rate=3e-3, weight_decay=1e-3),
    outliner_steps=20,
    judge=Recipe(epochs=10, batch_size=32, learning_rate=3e-3, weight_decay=1e-2),
    judge_steps=12,
)

FULL = Way(
    spacing_mm=1.0,
    detail="full",
    patients=Patients(train=90, val=24, test=62, other=12),
    sizes=Sizes(crop=40),
    finder=Plan(
        rounds=(
            Recipe(epochs=12, batch_size=8, learning_rate=3e-3, weight_decay=1e-3),
            Recipe(epochs=12, batch_size=8, learning_rate=2e-3, weight_decay=1e-3),
        ),
        steps=90,
        side=48,
        mined=48,
        searched=48,
    ),
    outliner=Recipe(epochs=14, batch_size=8, learning_rate=3e-3, weight_decay=1e-3),
    outliner_steps=50,
    judge=Recipe(epochs=16, batch_size=32, learning_rate=3e-3, weight_decay=1e-2),
    judge_steps=30,
)


def way(settings: Train) -> Way:
    """The training that settings ask for."""
    found = FULL if settings.full else QUICK

    def scaled(recipe: Recipe, offset: int) -> Recipe:
        epochs = max(1, round(recipe.epochs * settings.epochs))
        seed = settings.seed + 1_000_003 * offset
        return dataclasses.replace(recipe, epochs=epochs, seed=seed)

    rounds = tuple(scaled(one, number) for number, one in enumerate(found.finder.rounds))
    # Beneath one epoch, epochs are shortened: a trial of a few steps.
    share = min(1.0, settings.epochs * max(one.epochs for one in found.finder.rounds))
    return dataclasses.replace(
        found,
        patients=_fewer(found.patients, settings.cases),
        finder=dataclasses.replace(
            found.finder, rounds=rounds, steps=max(1, round(found.finder.steps * share))
        ),
        outliner=scaled(found.outliner, 11),
        outliner_steps=max(1, round(found.outliner_steps * share)),
        judge=scaled(found.judge, 12),
        judge_steps=max(1, round(found.judge_steps * share)),
    )


def _fewer(patients: Patients, cases: int | None) -> Patients:
    if cases is None:
        return patients
    val, test = max(1, round(0.2 * cases)), max(1, round(0.35 * cases))
    other = min(patients.other, max(1, cases // 8))
    return Patients(train=max(1, cases - val - test), val=val, test=test, other=other)
