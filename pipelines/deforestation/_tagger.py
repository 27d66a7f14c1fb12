"""The tagger's training, and its answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.symmetry import Symmetry, symmetries
from fieldsight.datasets.chip_cover import CELLS
from fieldsight.datasets.planet import TAGS
from fieldsight.pipelines import _training
from fieldsight.pipelines._drawn import Batches
from fieldsight.pipelines.deforestation import _tag_networks
from fieldsight.pipelines.deforestation._chips import Cohort
from fieldsight.pipelines.deforestation._tag_networks import Statistics
from fieldsight.pipelines.deforestation._tag_scores import Answers, Thresholds, choose_thresholds

Array = NDArray[Any]
OnEpoch = Callable[[int, Mapping[str, float]], None]

SAMPLED = 512  # chips whose pixels give the statistics
FOLLOWED = 512  # chips of validation at most that are scored after each epoch
AT_ONCE = 32  # chips that are answered together
SYMMETRIES = symmetries(2)


@dataclasses.dataclass(frozen=True)
class Tagger:
    """A trained tagger.

    Attributes:
        network: from `(n, 256, 256, bands)` digital numbers to `(n, 17)` probabilities, float32.
        thresholds: chosen on validation.
        history: losses by epoch.
        val: its answers on the validation chips.
    """

    network: keras.Model
    thresholds: Thresholds
    history: Mapping[str, list[float]]
    val: Answers


def train(
    cohort: Cohort,
    recipe: _training.Recipe,
    folder: Path,
    *,
    backbone: str = "small",
    weights: str | Path | None = None,
    smoothing: float = 0.0,
    average: bool = False,
    on_epoch: OnEpoch | None = None,
) -> Tagger:
    """Train a tagger, going on from the last finished epoch in `folder`; choose its thresholds.

    Args:
        cohort: the chips.
        recipe: how long.
        folder: of the checkpoint.
        backbone: as `_tag_networks.tagger` has it.
        weights: published ones to start with, as `_tag_networks.fill` has them.
        smoothing: of the labels.
        average: choose thresholds for answers over the eight symmetries.
        on_epoch: told the epoch and its metrics.
    """
    model, build = started(cohort, recipe.seed, backbone, weights)
    data = batches(cohort, recipe)
    compiled(model, recipe, len(data), smoothing)
    followed = _spread(len(cohort.sides["val"]), FOLLOWED)
    fitted = _training.fit(
        model, data, recipe,
        validation=(
            cohort.pixels("val")[followed].astype(np.float32), _targets(cohort, "val", followed)
        ),
        monitor="val_loss", folder=folder, resume=True, on_epoch=on_epoch,
        validation_batch_size=AT_ONCE,
    )  # fmt: skip
    plain = _training.in_policy("float32", model, build)
    logits = keras.Model(plain.input, plain.get_layer("logits").output, name=f"tagger_{backbone}")
    network = _tag_networks.with_probabilities(logits)
    probabilities = answers(network.predict_on_batch, cohort.pixels("val"), average=average)
    tags = cohort.tags("val")
    thresholds = choose_thresholds(probabilities, tags)
    val = Answers(probabilities, thresholds, tags, cohort.groups("val"))
    return Tagger(network, thresholds, fitted.history, val)


def started(
    cohort: Cohort, seed: int, backbone: str = "small", weights: str | Path | None = None
) -> tuple[keras.Model, Callable[[], keras.Model]]:
    """A tagger before training, published weights in it if asked for, and what builds another."""
    pixels = cohort.pixels("train")
    statistics = Statistics.of(pixels[_spread(len(pixels), SAMPLED)])
    classes = cohort.num_classes if backbone == "small" else 0

    def build() -> keras.Model:
        network = _tag_networks.tagger(backbone, statistics, published=weights is not None)
        return _tag_networks.with_cover(network, classes) if classes else network

    keras.utils.set_random_seed(seed)
    model = build()
    if weights is not None:
        _tag_networks.fill(model, weights)
    return model, build


def batches(cohort: Cohort, recipe: _training.Recipe) -> Batches:
    """Training chips, each in one of its eight turned and mirrored forms, with their targets."""
    pixels = cohort.pixels("train")
    count = len(pixels)
    size = min(recipe.batch_size, count)

    def draw(rng: np.random.Generator) -> tuple[Array, Array]:
        chosen = np.sort(rng.choice(count, size, replace=False))
        moves = [SYMMETRIES[i] for i in rng.integers(len(SYMMETRIES), size=size)]
        # Digital numbers as the network's input has them: casting uint16 inside is slow.
        chips = [move.image(chip) for move, chip in zip(moves, pixels[chosen], strict=True)]
        return np.stack(chips, dtype=np.float32), _targets(cohort, "train", chosen, moves)

    return Batches(draw, -(-count // size), recipe.seed)


def _targets(
    cohort: Cohort, side: str, chosen: Array, moves: Sequence[Symmetry] = SYMMETRIES[:1]
) -> Array:
    """`(n, 17 + m)` int32: tags, then the pixels of each class of land cover in each cell."""
    tags = cohort.tags(side)[chosen].astype(np.int32)
    if cohort.cover is None:
        return tags
    cover = cohort.cover[cohort.sides[side][chosen]]
    several = moves if len(moves) == len(cover) else list(moves) * len(cover)
    moved = [move.image(one).ravel() for move, one in zip(several, cover, strict=True)]
    return np.concatenate([tags, np.stack(moved)], axis=1)


def compiled(model: keras.Model, recipe: _training.Recipe, steps: int, smoothing: float) -> None:
    """Compile a tagger with its loss."""
    f2 = keras.metrics.MeanMetricWrapper(_tag_networks.f2, name="f2")
    has_cover = model.output_shape[-1] > len(TAGS)
    classes = model.get_layer("stage1_cover").filters if has_cover else 0
    model.compile(
        _training.optimizer(recipe, steps),
        _tag_networks.Learned(smoothing, classes, CELLS),
        metrics=[f2],
        steps_per_execution=_training.steps_an_execution(steps),
    )


def answers(run: Callable[[Array], Array], pixels: Any, *, average: bool = False) -> Array:
    """What a network says of chips.

    Args:
        run: from a batch `(n, rows, columns, bands)` float32 to `(n, 17)`.
        pixels: `(n, rows, columns, bands)` digital numbers, an array or `Pixels`.
        average: the mean over the eight turned and mirrored forms of each chip.

    Returns:
        `(n, 17)` probabilities.
    """
    moves = SYMMETRIES if average else SYMMETRIES[:1]
    found = []
    for start in range(0, len(pixels), AT_ONCE):
        chips = pixels[start : start + AT_ONCE].astype(np.float32)
        forms = [np.stack([move.image(chip) for chip in chips]) for move in moves]
        found.append(np.mean([np.asarray(run(form)) for form in forms], axis=0))
    return np.concatenate(found) if found else np.zeros((0, len(TAGS)))


def _spread(total: int, most: int) -> Array:
    """So many of the indices at most, evenly among all."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int))
