"""The tagger's training, and its answers."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.symmetry import symmetries
from fieldsight.datasets.planet import TAGS
from fieldsight.pipelines import _training
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
        seconds: of the training.
    """

    network: keras.Model
    thresholds: Thresholds
    history: Mapping[str, list[float]]
    val: Answers
    seconds: float


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
    began = time.perf_counter()
    model, build = started(cohort, recipe.seed, backbone, weights)
    data = batches(cohort, recipe)
    compiled(model, recipe, len(data), smoothing)
    followed = _spread(len(cohort.sides["val"]), FOLLOWED)
    fitted = _training.fit(
        model, data, recipe,
        validation=(_floats(cohort.pixels("val")[followed]), cohort.tags("val")[followed]),
        monitor="val_f2", folder=folder, resume=True, on_epoch=on_epoch,
        validation_batch_size=AT_ONCE,
    )  # fmt: skip
    plain = _training.in_policy("float32", model, build)
    network = _tag_networks.with_probabilities(plain)
    probabilities = answers(network.predict_on_batch, cohort.pixels("val"), average=average)
    tags = cohort.tags("val")
    thresholds = choose_thresholds(probabilities, tags)
    val = Answers(probabilities, thresholds, tags, cohort.groups("val"))
    return Tagger(network, thresholds, fitted.history, val, time.perf_counter() - began)


def started(
    cohort: Cohort, seed: int, backbone: str = "small", weights: str | Path | None = None
) -> tuple[keras.Model, Callable[[], keras.Model]]:
    """A tagger before training, published weights in it if asked for, and what builds another."""
    pixels = cohort.pixels("train")
    statistics = Statistics.of(pixels[_spread(len(pixels), SAMPLED)])
    build = functools.partial(
        _tag_networks.tagger, backbone, statistics, published=weights is not None, seed=seed
    )
    keras.utils.set_random_seed(seed)
    model = build()
    if weights is not None:
        _tag_networks.fill(model, weights)
    return model, build


def batches(cohort: Cohort, recipe: _training.Recipe) -> Any:
    """Training chips as `_training.batches` gives them."""
    pixels: Any = cohort.pixels("train")  # indexed as an array is
    return _training.batches(
        pixels, cohort.tags("train"), batch_size=recipe.batch_size, seed=recipe.seed,
        distort=lambda chips, _: _floats(chips),
    )  # fmt: skip


def compiled(model: keras.Model, recipe: _training.Recipe, steps: int, smoothing: float) -> None:
    """Compile a tagger with its loss."""
    f2 = keras.metrics.MeanMetricWrapper(_tag_networks.f2, name="f2")
    model.compile(
        _training.optimizer(recipe, steps), _tag_networks.TagLoss(smoothing), metrics=[f2],
        steps_per_execution=_training.steps_an_execution(steps),
    )  # fmt: skip


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
        chips = _floats(pixels[start : start + AT_ONCE])
        forms = [np.stack([move.image(chip) for chip in chips]) for move in moves]
        found.append(np.mean([np.asarray(run(form)) for form in forms], axis=0))
    return np.concatenate(found) if found else np.zeros((0, len(TAGS)))


def _floats(chips: Array) -> Array:
    """Digital numbers as the network's input has them: casting uint16 inside is slow."""
    return chips.astype(np.float32)


def _spread(total: int, most: int) -> Array:
    """So many of the indices at most, evenly among all."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int))
