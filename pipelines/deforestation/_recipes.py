"""How the models of forest are made: how many scenes, what is learned from, how long."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._training import Recipe

if TYPE_CHECKING:
    from fieldsight.pipelines.deforestation import Train

# The figures that a page begins with; there are dozens besides.
HEADLINE = ("test_f2", "test_f2_difference", "test_map_clearing_iou", "test_change_f1")
COVER = (
    "the network learned from tags and from the land cover under each training chip, the other "
    "methods from tags alone"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenes:
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
    """A whole training.

    Attributes:
        detail: of what is simulated.
        scenes: how many.
        tagger: the tagger's recipe.
        smoothing: of its labels, which have mistakes.
        mapper_epochs: times the mapper's own recipe.
    """

    detail: Literal["quick", "full"]
    scenes: Scenes
    tagger: Recipe
    smoothing: float = 0.02
    mapper_epochs: float = 1.0


QUICK = Way(
    detail="quick",
    scenes=Scenes(train=28, val=6, test=7, other=2),
    tagger=Recipe(epochs=25, batch_size=16, learning_rate=4e-3, weight_decay=1e-2),
)
FULL = Way(
    detail="full",
    scenes=Scenes(train=48, val=12, test=24, other=8),
    tagger=Recipe(epochs=60, batch_size=32, learning_rate=3e-3, weight_decay=1e-2),
)
# Published networks are fitted to forty thousand chips in less epochs, and more gently.
PUBLISHED = Recipe(epochs=25, batch_size=32, learning_rate=3e-4, weight_decay=1e-2)
ANEW = Recipe(epochs=40, batch_size=32, learning_rate=1e-3, weight_decay=1e-2)


def way(settings: Train) -> Way:
    """The training that settings ask for."""
    found = FULL if settings.full else QUICK
    tagger = found.tagger
    if settings.backbone != "small":
        tagger = ANEW if settings.weights == "none" else PUBLISHED
    epochs = max(1, round(tagger.epochs * settings.epochs))
    tagger = dataclasses.replace(tagger, epochs=epochs, seed=settings.seed)
    return dataclasses.replace(
        found,
        scenes=_fewer(found.scenes, settings.scenes),
        tagger=tagger,
        mapper_epochs=found.mapper_epochs * settings.epochs,
    )


def _fewer(scenes: Scenes, count: int | None) -> Scenes:
    if count is None:
        return scenes
    if count < 3:
        raise CommandError(
            "--scenes: at least 3 are needed, one to train, validate and test by each. Received: "
            f"{count}."
        )
    val, test = max(1, round(0.17 * count)), max(1, round(0.25 * count))
    return Scenes(
        train=count - val - test, val=val, test=test, other=min(scenes.other, max(1, count // 8))
    )
