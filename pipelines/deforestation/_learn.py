"""`fieldsight deforestation learn`: a mapper from a scene and the labels that a person drew on it.

Labelled pixels are split by spatial blocks; the mapper and a random forest on pixels learn from
the same ones and are scored on the same others, once. Both are trained and scored again on a
split of pixels by chance, which shows how much such a split would flatter.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.pipelines import _resuming, _tracking, _training
from fieldsight.pipelines._console import say, show
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import _bands

if TYPE_CHECKING:
    from fieldsight.datasets.labels import Labels
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.deforestation import Learn
    from fieldsight.pipelines.deforestation._fields import Field
    from fieldsight.pipelines.deforestation._label_split import LabelSplit
    from fieldsight.pipelines.deforestation._mapper import Mapper, MapRecipe

Array = NDArray[Any]

APPLICATION = "deforestation-learn"  # of the run; the model is one of the application's maps
CONTEXT = 128  # pixels around the labels that windows may show
# Of a stack of dates a network learns by heart which date was how bright where its labels lie, and
# fails a block away; with half of them gone each time it can't (chosen on validation's blocks).
MANY_BANDS, BAND_DROPOUT = 12, 0.5
SIDES = ("train", "val", "test")
NETWORK, FOREST = "network", "random forest"


def learn(settings: Learn) -> int:
    """Train as the settings say and return the exit code."""
    run, settings = _begin(settings)
    with _training.policy_restored(), run:
        lesson = _learn(settings, run)
        place = run.where()
    if settings.json:
        print(json.dumps({**lesson.figures, "run": run.mlflow_id or run.id}))
    else:
        split = lesson.split
        lines = [f"split: {split.how}"]
        if split.independent:
            lines.append("intervals are of 95 %, over the blocks of the test")
        if split.optimistic:
            lines.append(f"OPTIMISTIC: {split.optimistic}")
        show(lesson.tables, [*lines, f"model: {lesson.model}", f"run: {place}"])
    return 0


def _begin(settings: Learn) -> tuple[Run, Learn]:
    """Start a run, or take up a killed one with the settings it was started with."""
    if settings.resume is not None:
        run, settings = _resuming.take_up(settings, APPLICATION, paths=("scene", "labels"))
        say(f"tracked in {run.where()}")
        return run, settings
    if not 0 < settings.epochs < float("inf"):
        raise CommandError(f"--epochs: a number above 0 is needed. Received: {settings.epochs}.")
    _resuming.refuse_seed(settings.seed)
    from fieldsight.pipelines.deforestation import _label_split

    # What can't be learned from is told before a run exists that could fail by it.
    _, labels = _read(settings, tell=False)
    _label_split.by_blocks(labels, settings.seed)
    run = _tracking.start_run(
        APPLICATION, settings=_resuming.logged(settings),
        tags={"data": settings.scene.stem}, name=f"learn on {settings.scene.stem}",
    )  # fmt: skip
    say(f"tracked in {run.where()}")
    say(f"if it is stopped: fieldsight deforestation learn --resume {run.id}")
    return run, settings


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What was learned and how well.

    Attributes:
        figures: by name.
        tables: as `_console.show` prints them.
        split: by which.
        model: its registered name.
    """

    figures: Mapping[str, float]
    tables: Sequence[Any]
    split: LabelSplit
    model: str


def _read(settings: Learn, *, tell: bool) -> tuple[Any, Labels]:
    """The scene, closed again, and its labels."""
    from fieldsight.datasets import labels, scenes

    with scenes.open_scene(settings.scene, _bands.named(settings.bands)) as scene:
        drawn = labels.read(settings.labels, scene.grid, field=settings.field, layer=settings.layer)
        if tell:
            for note in (*scene.notes, *drawn.notes):
                say(note)
    return scene, drawn


def _learn(settings: Learn, run: Run) -> Lesson:
    from fieldsight.pipelines.deforestation import _label_split

    scene, labels = _read(settings, tell=True)
    split = _label_split.by_blocks(labels, settings.seed)
    say(f"{len(labels.values):,} labelled pixels of {', '.join(labels.classes[1:])}; {split.how}")
    if split.optimistic:
        say(f"OPTIMISTIC: {split.optimistic}")
    _training.prepare_backend(settings.seed)
    ground = _held(settings, run, labels)
    first = ground.fields(split)["train"]
    recipe = _recipe(settings, first)
    precision, why = _precision(settings, run)
    run.params(_parameters(recipe, split, ground, precision, scene))
    say(f"window {recipe.window}, depth {recipe.depth}; {precision}: {why}")
    blocked = _Trial(settings, run, ground, labels, split, recipe, "blocks")
    chance = None
    if settings.random:
        say("again on pixels by chance, to show what such a split would tell")
        other = _label_split.at_random(labels, settings.seed)
        chance = _Trial(settings, run, ground, labels, other, recipe, "random")
    return _kept(run, settings, ground, labels, blocked, chance)


class Ground:
    """The part of the scene around its labels, memory-mapped.

    Args:
        field: with the labels of all sides.
        corner: row and column of its first pixel in the scene.
        usable: `(n,)` bool, labels with data and without a cloud above them.
    """

    def __init__(self, field: Field, corner: tuple[int, int], labels: Labels, usable: Array):
        self.field, self.corner, self.labels = field, corner, labels
        self.usable = usable[tuple((labels.places - corner).T)]

    def on(self, split: LabelSplit, side: int) -> Array:
        """`(n,)` bool: the labels of one side that can be used."""
        return (split.sides == side) & self.usable

    def places(self, chosen: Array) -> Array:
        """`(m, 2)` row and column of labels within the field."""
        return self.labels.places[chosen] - np.array(self.corner)

    def fields(self, split: LabelSplit) -> dict[str, Field]:
        """The field with the labels of one side, for each side."""
        rows, columns, _ = self.field.shape
        found = {}
        for side, name in enumerate(SIDES):
            chosen = self.on(split, side)
            drawn = np.zeros((rows, columns), np.uint8)
            drawn[tuple(self.places(chosen).T)] = self.labels.values[chosen]
            missing = set(np.unique(self.labels.values)) - set(np.unique(drawn))
            if missing:
                lost = ", ".join(self.labels.classes[int(value)] for value in sorted(missing))
                raise CommandError(
                    f"labels of every class with data and without clouds were needed to {name}. "
                    f"Received: none of {lost}. Draw more of them."
                )
            found[name] = dataclasses.replace(
                self.field, name=f"{self.field.name} {name}", labels=drawn
            )
        return found


def _held(settings: Learn, run: Run, labels: Labels) -> Ground:
    from fieldsight.datasets import scenes
    from fieldsight.pipelines.deforestation import _fields

    with scenes.open_scene(settings.scene, _bands.named(settings.bands)) as scene:
        rows, columns, _ = scene.shape
        top, left = np.maximum(labels.places.min(axis=0) - CONTEXT, 0).tolist()
        bottom, right = np.minimum(
            labels.places.max(axis=0) + 1 + CONTEXT, (rows, columns)
        ).tolist()  # fmt: skip
        image, usable = _fields.hold(
            scene, run.folder / "scene.npy", (slice(top, bottom), slice(left, right))
        )
        units, scale, offset = _fields.scaling(scene)
        side = scene.grid.ground_sampling_distance_m if scene.grid.is_georeferenced else None
        field = _fields.Field(
            name=scene.name, group=scene.name, image=image,
            labels=np.zeros(image.shape[:2], np.uint8), bands=scene.bands,
            classes=labels.classes, scale=scale, offset=offset, units=units,
            pixel_area_m2=0.0 if side is None else side**2, ground_sampling_distance_m=side,
            simulated=scene.simulated,
        )  # fmt: skip
    return Ground(field, (top, left), labels, np.asarray(usable))


def _recipe(settings: Learn, field: Field) -> MapRecipe:
    """Windows that fit into the scene, and a network that sees as far as labels are wide."""
    from fieldsight.pipelines.deforestation import _mapper

    found = _mapper.LEARN
    step = 2**found.depth
    side = max(step, min(found.window, min(field.shape[:2]) // step * step))
    dropped = BAND_DROPOUT if len(field.bands) > MANY_BANDS else 0.0
    found = dataclasses.replace(found, window=side, band_dropout=dropped)
    return _mapper.scaled(found, settings.epochs, settings.seed)


def _precision(settings: Learn, run: Run) -> tuple[str, str]:
    def choose() -> tuple[str, str]:
        if settings.precision != "auto":
            return settings.precision, "asked for"
        if _training.device_kind() == "cpu" and not _training.processor_has_bfloat16():
            return "float32", "this processor has no bfloat16"
        # A trial would take longer than what it could save.
        return "mixed_bfloat16", "this processor has bfloat16"

    return _training.kept_precision(run.folder, choose)


def _parameters(
    recipe: MapRecipe, split: LabelSplit, ground: Ground, precision: str, scene: Any
) -> dict[str, Any]:
    flat = dataclasses.asdict(recipe)
    training = flat.pop("training")
    return {
        **{f"recipe_{name}": value for name, value in {**flat, **training}.items()},
        "chosen_precision": precision,
        "split": split.how,
        "scene_bands": ",".join(scene.bands),
        "map_classes": ",".join(ground.labels.classes[1:]),
        **{
            f"{name}_pixels": int(np.count_nonzero(ground.on(split, side)))
            for side, name in enumerate(SIDES)
        },
    }


class _Trial:
    """The mapper and the random forest, trained and scored by one split."""

    def __init__(
        self,
        settings: Learn,
        run: Run,
        ground: Ground,
        labels: Labels,
        split: LabelSplit,
        recipe: MapRecipe,
        name: str,
    ) -> None:
        from fieldsight.pipelines.deforestation import _map_baselines, _mapper

        self.split, self.ground, self.labels = split, ground, labels
        began = time.perf_counter()
        sides = ground.fields(split)
        self.mapper: Mapper = _mapper.train(
            [sides["train"]], [sides["val"]], recipe, run.folder / name, _told(run, name)
        )
        self.network = _mapper.predictor_of(self.mapper.network)
        self.map, self.chances = _mapper.classes_of(self.network, ground.field)
        self.forest = _map_baselines.fit_forest(
            self._pixels(0), self._pixels(1), ground.field.bands, seed=settings.seed
        )
        test, _ = self._pixels(2)
        chosen = ground.on(split, 2)
        self.truth = labels.values[chosen]
        self.groups = split.groups[chosen]
        self.answers = {
            NETWORK: self.map[tuple(ground.places(chosen).T)],
            FOREST: self.forest(test),
        }
        self.test_chances = self.chances[tuple(ground.places(chosen).T)].astype(np.float64)
        self.seconds = time.perf_counter() - began

    def _pixels(self, side: int) -> tuple[Array, Array]:
        from fieldsight.pipelines.deforestation import _mapper

        chosen = self.ground.on(self.split, side)
        places = self.ground.places(chosen)
        return _mapper.pixels(self.ground.field, places), self.labels.values[chosen]

    def counts(self, name: str) -> list[Any]:
        """What is counted of each block of the test."""
        from fieldsight.pipelines.deforestation import _map_scores

        classes = len(self.labels.classes) - 1
        return [
            _map_scores.Counts(
                str(group),
                _map_scores.confusion(
                    self.truth[self.groups == group], self.answers[name][self.groups == group],
                    classes,
                ),
            )
            for group in np.unique(self.groups).tolist()
        ]  # fmt: skip

    def val_mean_iou(self) -> float:
        """By which models of the same data are compared."""
        from fieldsight.pipelines.deforestation import _map_scores

        chosen = self.ground.on(self.split, 1)
        found = self.map[tuple(self.ground.places(chosen).T)]
        table = _map_scores.confusion(
            self.labels.values[chosen], found, len(self.labels.classes) - 1
        )
        return float(np.nanmean(_map_scores.overlaps(table)))


def _told(run: Run, name: str) -> Callable[[int, Mapping[str, float]], None]:
    def log(epoch: int, metrics: Mapping[str, float]) -> None:
        run.metrics({f"{name}_{metric}": v for metric, v in metrics.items()}, step=epoch + 1)

    return log


def _scored(trial: _Trial, seed: int) -> dict[str, Any]:
    """Each statistic by what answered, with its interval where blocks were held back."""
    from fieldsight.pipelines.deforestation import _map_scores

    told = {
        name: _map_scores.intervals(trial.counts(name), trial.labels.classes, None, seed=seed)
        for name in (NETWORK, FOREST)
    }
    if trial.split.independent:
        return told
    return {name: _map_scores.without_ends(each) for name, each in told.items()}


def _kept(
    run: Run,
    settings: Learn,
    ground: Ground,
    labels: Labels,
    blocked: _Trial,
    chance: _Trial | None,
) -> Lesson:
    """Score, save, register, draw."""
    from fieldsight.datasets.sample import digest
    from fieldsight.pipelines._models import save_model
    from fieldsight.pipelines.deforestation import _learn_report, _map_comparison, _map_scores

    split = blocked.split
    told = _scored(blocked, settings.seed)
    figures = _map_scores.flat(told[NETWORK], "test_map_")
    figures |= _map_scores.flat(told[FOREST], "baseline_test_map_forest_")
    figures |= _gain(blocked, settings.seed)
    figures["val_map_mean_iou"] = blocked.val_mean_iou()
    others = None
    if chance is not None:
        others = _scored(chance, settings.seed)
        for name, key in ((NETWORK, "network"), (FOREST, "forest")):
            for metric in ("accuracy", "mean_iou"):
                figures[f"random_split_map_{key}_{metric}"] = others[name][metric].value
    figures["seconds_learn"] = blocked.seconds
    run.metrics(figures)
    run.params(
        {"map_forest_leaf": blocked.forest.leaf, "map_forest_balanced": blocked.forest.balanced}
    )
    data_fingerprint = digest(
        labels.places, labels.values, np.asarray(ground.field.image[::8, ::8])
    )
    split_fingerprint = digest(split.sides)
    run.params({"data_fingerprint": data_fingerprint, "split_fingerprint": split_fingerprint})
    card = _map_comparison.card(
        blocked.mapper, figures, data=_plain(ground.field.name), data_fingerprint=data_fingerprint,
        split_fingerprint=split_fingerprint, run_id=run.id,
        facts={"split": split.how, "optimistic": split.optimistic, "labels": settings.labels.name},
    )  # fmt: skip
    if split.optimistic:
        card = dataclasses.replace(
            card, limits=f"Its figures are optimistic: {split.optimistic}. {card.limits}"
        )
    file = run.folder / "mapper.keras"
    card = save_model(blocked.mapper.network, file, card)
    run.model(
        file,
        registered_name=card.name,
        validation={
            "metric": "val_map_mean_iou",
            "value": figures["val_map_mean_iou"],
            "fingerprint": split_fingerprint,
            "higher_is_better": True,
        },
    )
    tables = _learn_report.tables(
        told, others, labels.classes, "by blocks" if split.independent else "inside polygons"
    )
    _learn_report.write(run, ground, blocked, tables, figures, card)
    return Lesson(figures, tables, split, card.name)


def _gain(trial: _Trial, seed: int) -> dict[str, float]:
    """How much higher the network scores than the forest, on the same blocks."""
    from fieldsight.pipelines.deforestation import _map_scores

    told = _map_scores.statistics(trial.labels.classes, None)
    gains = {
        f"{name}_gain_over_forest": _map_scores.gain(
            trial.counts(NETWORK), trial.counts(FOREST), told[name], seed=seed
        )
        for name in ("accuracy", "mean_iou")
    }
    if not trial.split.independent:
        gains = _map_scores.without_ends(gains)
    return _map_scores.flat(gains, "test_map_")


def _plain(name: str) -> str:
    """A scene's name as part of a model's."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in name.lower()).strip("-.")
    return kept or "scene"
