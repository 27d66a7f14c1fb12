"""`fieldsight deforestation train`: simulate or read, fit, choose by validation, score once, map.

What `make deforestation` runs: simulated scenes, the tagger of chips, the mapper of scenes, both
scored on scenes that neither has seen, one of which is mapped as `map` would.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fieldsight.pipelines import _resuming, _tracking, _training
from fieldsight.pipelines._console import progress, say, show
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import _bands, _forest, _recipes

if TYPE_CHECKING:
    from fieldsight.pipelines._models import Card
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.deforestation import Train
    from fieldsight.pipelines.deforestation._forest import Forest
    from fieldsight.pipelines.deforestation._scenes_stage import Scored
    from fieldsight.pipelines.deforestation._tag_comparison import TagComparison
    from fieldsight.pipelines.deforestation._tagger import Tagger

APPLICATION = "deforestation"
INTENDED_USE = (
    "Tagging chips of satellite pictures of the Amazon, of the product and the bands that it was "
    "trained on, for an analyst who looks at them."
)
LIMITS = (
    "Tags are what annotators saw, mistakes among them; rare tags were learned from few chips. "
    "Of another region, season or sensor it says what it may."
)
SIMULATED_LIMITS = (
    "Trained on SIMULATED forest alone: its figures say nothing of real pictures, of which it may "
    "say anything."
)
TRIED = 10  # batches of the trial of a precision


def train(settings: Train) -> int:
    """Train as the settings say and return the exit code."""
    run, settings = _begin(settings)
    with _training.policy_restored(), run:
        figures, tables = _train(settings, run)
        place = run.where()
    if settings.json:
        told = {**figures, "headline": _recipes.HEADLINE, "run": run.mlflow_id or run.id}
        print(json.dumps(told))
    else:
        lines = [
            f"in all {figures['seconds_all']:.0f} s; intervals are of 95 %, over scenes",
            f"run: {place}",
        ]
        if settings.data is None:
            lines.insert(0, f"of tags {_recipes.COVER}")
            lines.insert(0, "SIMULATED forest: these figures say nothing of real pictures")
        show(tables, lines)
    return 0


def _refuse_impossible(settings: Train) -> None:
    """What no training can use is told before anything is read or begun."""
    if not 0 < settings.epochs < float("inf"):
        raise CommandError(f"--epochs: a number above 0 is needed. Received: {settings.epochs}.")
    if settings.chips is not None and settings.chips < 3:
        raise CommandError(
            f"--chips: at least 3 are needed, one to train, validate and test by each. Received: "
            f"{settings.chips}."
        )
    if settings.weights != "none" and settings.backbone == "small":
        raise CommandError(
            "--weights: a backbone with published weights was needed. Received: small, which has "
            "none. For example: --backbone resnet50 --weights imagenet"
        )
    _recipes.way(settings)
    _bands.named(settings.bands)
    _resuming.refuse_seed(settings.seed)


def _begin(settings: Train) -> tuple[Run, Train]:
    """Start a run, or take up a killed one with the settings it was started with."""
    if settings.resume is not None:
        run, settings = _resuming.take_up(settings, APPLICATION, paths=("data", "cache"))
        say(f"tracked in {run.where()}")
        return run, settings
    _refuse_impossible(settings)
    # A wrong folder is told before a run exists that could fail by it.
    _forest.check(settings)
    simulated = settings.data is None
    data = "simulated forest" if simulated else settings.data.name if settings.data else ""
    run = _tracking.start_run(
        APPLICATION,
        settings=_resuming.logged(settings),
        tags={"data": data, "simulated": str(simulated).lower()},
        name=f"{'full' if settings.full else 'quick'} on {data}",
    )
    say(f"tracked in {run.where()}")
    say(f"if it is stopped: fieldsight deforestation train --resume {run.id}")
    return run, settings


def _train(settings: Train, run: Run) -> tuple[dict[str, float], Sequence[Any]]:
    clock = _Clock()
    way = _recipes.way(settings)
    forest = _forest.load(settings, way, run.folder, progress)
    clock.lap("data")
    _tell(forest)
    _training.prepare_backend(settings.seed)
    run.params(_parameters(way, forest))
    from fieldsight.pipelines.deforestation import _tag_comparison, _tagger

    precision, why = _precision(settings, way, forest, run)
    run.params({"chosen_precision": precision})
    say(f"tagger on {forest.chips.name} ({forest.chips.how}); {precision}: {why}")
    tagger = _tagger.train(
        forest.chips, way.tagger, run.folder / "tagger", backbone=settings.backbone,
        weights=None if settings.weights == "none" else settings.weights,
        smoothing=way.smoothing, average=settings.average, on_epoch=_told(run, "tagger"),
    )  # fmt: skip
    clock.lap("train_tagger")
    scored = None
    if forest.fields.get("train"):
        from fieldsight.pipelines.deforestation import _scenes_stage

        # A small network's steps leave some of the cores idle: a random forest takes it.
        with ThreadPoolExecutor(1, "classical") as pool:
            classics = pool.submit(_scenes_stage.classical, forest, settings.seed)
            mapper = _scenes_stage.fit(
                forest, run.folder / "mapper", _told(run, "mapper"),
                full=settings.full, epochs=way.mapper_epochs, seed=settings.seed,
            )  # fmt: skip
        clock.lap("train_mapper")
        scored = _scenes_stage.score(forest, mapper, classics.result(), settings.seed)
        clock.lap("score_maps")
    say("tags: the test chips, once")
    tags = _tag_comparison.compare(tagger, forest.chips, forest.other, average=settings.average)
    clock.lap("score_tags")
    figures = {**tags.figures, **(scored.figures if scored else {})}
    run.params({"logistic_penalty": tags.penalty, **(scored.maps.tuned if scored else {})})
    _keep(settings, run, forest, (tagger, tags), scored, figures)
    clock.lap("keep_and_draw")
    figures |= {f"seconds_{name}": value for name, value in clock.seconds.items()}
    run.metrics({name: value for name, value in figures.items() if value == value})
    say("; ".join(f"{name} {value:.0f} s" for name, value in clock.seconds.items()))
    return figures, [*tags.tables, *(scored.tables if scored else ())]


class _Clock:
    """Seconds by stage and in all; the processors' too, which other work doesn't change."""

    def __init__(self) -> None:
        self.began = self.last = time.perf_counter()
        self.cpu = _processors()
        self.seconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """What went by since the last lap belongs to this stage."""
        now = time.perf_counter()
        self.seconds |= {
            stage: now - self.last,
            "all": now - self.began,
            "processors": _processors() - self.cpu,
        }
        self.last = now


def _processors() -> float:
    """Seconds that this process and its children have computed."""
    return sum(os.times()[:4])


def _tell(forest: Forest) -> None:
    for name, reason in {**forest.chips.failures, **forest.failures}.items():
        say(f"left out: {name}: {reason}")
    for note in forest.chips.chips.notes:
        say(f"note: {note}")
    if forest.simulated:
        say("SIMULATED forest: the figures say nothing of real pictures")
    say("chips: " + ", ".join(f"{count:,} {side}" for side, count in forest.sizes.items()))


def _precision(settings: Train, way: _recipes.Way, forest: Forest, run: Run) -> tuple[str, str]:
    """What a resumed run began with, or the choice of a trial on the tagger's first batches."""
    from fieldsight.pipelines.deforestation import _tagger

    recipe = dataclasses.replace(way.tagger, precision=settings.precision)

    def choose() -> tuple[str, str]:
        if settings.backbone == "small" and way.detail == "quick":
            return _training.device_precision(settings.precision)
        data = _tagger.batches(forest.chips, recipe)
        _, build = _tagger.started(forest.chips, recipe.seed, settings.backbone)
        return _training.choose_precision(
            build, data, recipe, steps=TRIED, warm_up=TRIED // 3,
            compile_it=lambda model, one, steps: _tagger.compiled(model, one, steps, 0.0),
        )  # fmt: skip

    precision, why = _training.kept_precision(run.folder, choose)
    run.tags({"precision": precision, "precision_reason": why})
    return precision, why


def _told(run: Run, network: str) -> Callable[[int, Mapping[str, float]], None]:
    def log(epoch: int, metrics: Mapping[str, float]) -> None:
        run.metrics({f"{network}_{name}": v for name, v in metrics.items()}, step=epoch + 1)

    return log


def _parameters(way: _recipes.Way, forest: Forest) -> dict[str, Any]:
    cohort = forest.chips
    return {
        **{f"recipe_tagger_{name}": v for name, v in dataclasses.asdict(way.tagger).items()},
        "recipe_smoothing": way.smoothing,
        "split": cohort.how,
        "data_fingerprint": cohort.chips.fingerprint,
        "split_fingerprint": cohort.split_fingerprint,
        **{f"{side}_chips": count for side, count in forest.sizes.items()},
        **{f"{side}_scenes": len(found) for side, found in forest.fields.items()},
        "failed_chips": len(cohort.failures),
        "failed_scenes": len(forest.failures),
    }


def _card(
    settings: Train, run: Run, forest: Forest, tagger: Tagger, figures: Mapping[str, float]
) -> Card:
    from fieldsight.datasets.planet import TAGS
    from fieldsight.pipelines._models import Card, model_name
    from fieldsight.pipelines.deforestation._tag_model import APPLICATION

    cohort = forest.chips
    bands = ", ".join(cohort.chips.bands)
    weights = "" if settings.weights == "none" else ", from published weights"
    return Card(
        name=model_name(APPLICATION, cohort.name),
        application=APPLICATION,
        architecture=f"{settings.backbone}{weights}",
        data=cohort.name,
        simulated=cohort.simulated,
        data_fingerprint=cohort.chips.fingerprint,
        split_fingerprint=cohort.split_fingerprint,
        intended_use=INTENDED_USE,
        limits=f"{SIMULATED_LIMITS} {LIMITS}" if cohort.simulated else LIMITS,
        figures={
            name: value
            for name, value in figures.items()
            if "_map_" not in name
            and "_change_" not in name
            and name.startswith(("test_", "baseline_test_", "val_", "other_", "random_split_"))
        },
        input=f"(n, 256, 256, {len(cohort.chips.bands)}) digital numbers of the product "
        f"{cohort.chips.product}: {bands}; nothing scaled",
        output=f"(n, {len(TAGS)}) float32 probabilities in the order of facts.tags: of the four of "
        "the weather exactly one is true, and of the ground any number",
        run_id=run.id,
        facts={
            "task": "tags",
            "tags": list(TAGS),
            "bands": list(cohort.chips.bands),
            "product": cohort.chips.product,
            "thresholds": list(tagger.thresholds.values),
            "averaged": settings.average,
            "backbone": settings.backbone,
            "split": cohort.how,
            "learned_land_cover": cohort.cover is not None and settings.backbone == "small",
        },
    )


def _keep(
    settings: Train,
    run: Run,
    forest: Forest,
    tagging: tuple[Tagger, TagComparison],
    scored: Scored | None,
    figures: Mapping[str, float],
) -> None:
    """The models, the map of one scene, the pictures and the report go into the run."""
    from fieldsight.pipelines._models import save_model
    from fieldsight.pipelines.deforestation import _pictures

    tagger, tags = tagging
    file = run.folder / "tagger.keras"
    card = save_model(tagger.network, file, _card(settings, run, forest, tagger, figures))
    _register(run, file, card, "val_f2", figures, forest.chips.split_fingerprint)
    mapped = None
    if scored is not None:
        from fieldsight.pipelines.deforestation import _scenes_stage

        file = run.folder / "mapper.keras"
        made = _scenes_stage.card(forest, scored, figures, run.id)
        made = save_model(scored.mapper.network, file, made)
        metric = "val_map_clearing_iou"
        _register(run, file, made, metric, figures, forest.chips.split_fingerprint)
        mapped = _scenes_stage.map_example(forest, scored, file, made, run)
    _pictures.report(run, forest, tagger, tags, scored, mapped, figures, card)


def _register(
    run: Run, file: Any, card: Card, metric: str, figures: Mapping[str, float], fingerprint: str
) -> None:
    run.model(
        file,
        registered_name=card.name,
        validation={
            "metric": metric,
            "value": figures[metric],
            "fingerprint": fingerprint,
            "higher_is_better": True,
        },
    )
