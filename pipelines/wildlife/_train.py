"""`fieldsight wildlife train`: simulate or read, fit, choose by validation, score once, report."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldsight.pipelines import _console, _resuming, _tracking, _training
from fieldsight.pipelines._console import progress, say
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.wildlife import _recipes

if TYPE_CHECKING:
    from fieldsight.pipelines._models import Card, ModelFile
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.wildlife import Train
    from fieldsight.pipelines.wildlife._cohort import Cohort
    from fieldsight.pipelines.wildlife._comparison import Chosen, Comparison

INTENDED_USE = (
    "Finding, counting and placing animals in pictures from above, for surveys that a human "
    "checks; flagging people and vehicles for a ranger to look at."
)
LIMITS = (
    "It misses people and animals: nothing that it writes says that a place is empty. Other "
    "cameras, heights, seasons and species than those it learned are outside of what is known of "
    "it. Counts of single pictures count an animal as often as it is shown."
)
SIMULATED_LIMITS = (
    "Trained on SIMULATED flights alone: its figures say nothing of real ones, on which it may "
    "find anything or nothing."
)
FEWEST_FLIGHTS = 4  # of which one is tested, one validates
MISSED = "missed.csv"
HEADLINE = (
    "test_ap50", "test_f1", "test_person_track_recall", "test_person_false_alarms_per_hour",
    "test_track_hota", "test_track_idf1", "test_empty_frame_accuracy", "test_frame_count_mae",
)  # fmt: skip


def train(settings: Train) -> int:
    """Train as the settings say and return the exit code."""
    run, settings = _begin(settings)
    with _training.policy_restored(), run:
        figures, tables = _train(settings, run)
        place = run.where()
    if settings.json:
        headline = [name for name in HEADLINE if name in figures]
        print(json.dumps({**figures, "headline": headline, "run": run.mlflow_id or run.id}))
    else:
        lines = [f"in all {figures['seconds_all']:.0f} s", f"run: {place}"]
        _console.show(tables, [*lines, "Nothing here says that a place is empty of people."])
    return 0


def _refuse_impossible(settings: Train) -> None:
    """Numbers that no training can use are told before anything is read or begun."""
    if not 0 < settings.epochs < float("inf"):
        raise CommandError(f"--epochs: a number above 0 is needed. Received: {settings.epochs}.")
    if settings.flights is not None and settings.flights < FEWEST_FLIGHTS:
        raise CommandError(
            f"--flights: at least {FEWEST_FLIGHTS} are needed, to train, validate and test by. "
            f"Received: {settings.flights}."
        )
    rate = settings.frames_per_second
    if rate is not None and not 0 < rate < float("inf"):
        raise CommandError(f"--frames-per-second: more than 0 was needed. Received: {rate}.")
    if not 0 < settings.radius_px < float("inf"):
        raise CommandError(f"--radius-px: more than 0 was needed. Received: {settings.radius_px}.")
    _resuming.refuse_seed(settings.seed)


def _begin(settings: Train) -> tuple[Run, Train]:
    """Start a run, or take up a killed one with the settings it was started with."""
    if settings.resume is not None:
        run, settings = _resuming.take_up(settings, "wildlife", paths=("data", "cache"))
        say(f"tracked in {run.where()}")
        return run, settings
    _refuse_impossible(settings)
    from fieldsight.pipelines.wildlife import _cohort

    # Wrong data are told before a run exists that could fail by them.
    _cohort.check(settings)
    simulated = settings.data is None
    data = "simulated flights" if simulated else settings.data.name if settings.data else ""
    run = _tracking.start_run(
        "wildlife",
        settings=_resuming.logged(settings),
        tags={"data": data, "simulated": str(simulated).lower()},
        name=f"{'full' if settings.full else 'quick'} on {data}",
    )
    say(f"tracked in {run.where()}")
    say(f"if it is stopped: fieldsight wildlife train --resume {run.id}")
    return run, settings


def _train(settings: Train, run: Run) -> tuple[dict[str, float], Sequence[Any]]:
    from fieldsight.pipelines.wildlife import _cohort

    started = time.perf_counter()
    seconds: dict[str, float] = {}
    way = _recipes.way(settings)
    cohort = _cohort.load(settings, way, run.folder, progress)
    seconds["data"] = time.perf_counter() - started
    for name, reason in cohort.found.failures.items():
        say(f"left out: {name}: {reason}")
    if cohort.simulated:
        say("SIMULATED flights: the figures say nothing of real ones")
    if assumed := _cohort.assumed_rate(cohort.found, settings.frames_per_second):
        say(assumed)
    _training.prepare_backend(settings.seed)
    precision, why = _training.kept_precision(
        run.folder, lambda: _training.device_precision(settings.precision)
    )
    sizes = ", ".join(f"{count} to {side}" for side, count in cohort.sizes.items() if count)
    say(f"{cohort.name}: frames {sizes} ({cohort.how}); {precision}: {why}")
    run.params(_parameters(way, cohort, precision))

    began = time.perf_counter()
    from fieldsight.pipelines.wildlife import _detector

    epochs, batch_size = way.recipe.epochs, way.recipe.batch_size
    say(f"detector: {epochs} epochs of {way.steps} batches of {batch_size} windows")
    network, history, side = _detector.train(cohort, way, run.folder / "detector", _told(run), say)
    seconds["train"] = time.perf_counter() - began
    figures, tables = _score(run, way, cohort, (network, history, side), seconds)
    seconds["all"] = time.perf_counter() - started
    figures |= {f"seconds_{name}": value for name, value in seconds.items()}
    run.metrics({name: figures[name] for name in figures if name.startswith("seconds_")})
    say("; ".join(f"{name} {value:.0f} s" for name, value in seconds.items()))
    return figures, tables


def _told(run: Run) -> Any:
    def log(epoch: int, metrics: Mapping[str, float]) -> None:
        run.metrics({f"detector_{name}": v for name, v in metrics.items()}, step=epoch + 1)

    return log


def _score(
    run: Run,
    way: _recipes.Way,
    cohort: Cohort,
    trained: tuple[Any, Mapping[str, Sequence[float]], int],
    seconds: dict[str, float],
) -> tuple[dict[str, float], list[Any]]:
    """Validate, score the test flights once, keep the model and the report."""
    from fieldsight.pipelines.wildlife import _comparison, _detector, _tracks
    from fieldsight.pipelines.wildlife._scores import near_px

    network, history, side = trained
    network = _training.in_policy("float32", network, lambda: _detector.build(cohort, way))
    finder = _finder(network, way, cohort, threshold=0.5, title="being trained")
    kinds = _tracks.kinds(finder.classes, finder.people, finder.vehicles)

    began = time.perf_counter()
    chosen, val = _comparison.choose(
        finder, cohort.val, kinds=kinds, frames_per_second=cohort.frames_per_second,
        near_px=near_px(cohort.train), progress=progress("validation: choosing thresholds"),
    )  # fmt: skip
    seconds["val"] = time.perf_counter() - began
    began = time.perf_counter()
    test = _comparison.compare(
        finder, cohort.test, cohort.found, chosen,
        frames_per_second=cohort.frames_per_second,
        progress=progress("scoring what is for the test, once"),
    )  # fmt: skip
    for name, reason in test.failures.items():
        say(f"left out: {name}: {reason}")
    figures = {f"val_{name}": value for name, value in val.figures.items()}
    figures |= _comparison.prefixed(test, "test")
    tables = list(test.tables)
    if cohort.other and cohort.other_set is not None:
        other = _comparison.compare(
            finder, cohort.other, cohort.other_set, dataclasses.replace(chosen, spots=None),
            frames_per_second=cohort.frames_per_second,
            progress=progress("flights of another setting, which it never saw"),
        )  # fmt: skip
        figures |= _comparison.prefixed(other, "other")
        tables += [one._replace(title=f"Another setting: {one.title}") for one in other.tables[:1]]
    seconds["test"] = time.perf_counter() - began
    run.metrics(figures)
    if chosen.spots is not None:
        run.params({f"threshold_{name}": v for name, v in chosen.spots.as_dict().items()})
    began = time.perf_counter()
    _keep(run, way, cohort, network, chosen, test, figures, tables, history, side)
    seconds["report"] = time.perf_counter() - began
    return figures, tables


def _finder(
    network: Any, way: _recipes.Way, cohort: Cohort, *, threshold: float, title: str
) -> Any:
    from fieldsight.core.runtime import predictor
    from fieldsight.datasets.findings import Provenance
    from fieldsight.pipelines.wildlife._cohort import Eye
    from fieldsight.pipelines.wildlife._finder import LEAST, NetworkFinder

    return NetworkFinder(
        predictor(network),
        classes=cohort.found.classes,
        people=cohort.found.people,
        vehicles=cohort.found.vehicles,
        threshold=threshold,
        stride=way.stride,
        largest_px=_largest(cohort),
        eye=Eye(cohort.thermal),
        provenance=Provenance(model=title, simulated=cohort.simulated),
        least=LEAST,
    )


def _largest(cohort: Cohort) -> float:
    """Side of the largest object that was learned, in pixels."""
    sides = [
        float((frame.boxes[:, 2:] - frame.boxes[:, :2]).max())
        for unit in cohort.train
        for frame in unit.frames
        if len(frame.boxes)
    ]
    return max(sides)


def _parameters(way: _recipes.Way, cohort: Cohort, precision: str) -> dict[str, Any]:
    flat = dataclasses.asdict(way)
    flat |= flat.pop("recipe")
    return {
        **{f"recipe_{name}": value for name, value in flat.items()},
        "chosen_precision": precision,
        "split": cohort.how,
        "thermal": cohort.thermal,
        "data_fingerprint": cohort.found.fingerprint,
        "split_fingerprint": cohort.split_fingerprint,
        **{f"{side}_frames": count for side, count in cohort.sizes.items()},
        "failed_frames": len(cohort.found.failures),
    }


def _card(
    run: Run,
    way: _recipes.Way,
    cohort: Cohort,
    chosen: Chosen,
    figures: Mapping[str, float],
    side: int,
) -> Card:
    from fieldsight.pipelines._models import Card, model_name

    seen = (
        "one channel, thermal, of a whole sequence in one scale: the median of its ground at 127, "
        "hot bright, by fieldsight.datasets.thermal from its first frames of 8, 14 or 16 bits"
        if cohort.thermal
        else "red, green, blue as displayed; of 16 bits, which are filled first, the upper 8"
    )
    return Card(
        name=model_name("wildlife", cohort.name),
        application="wildlife",
        architecture=f"detector on a residual backbone, places {way.stride} pixels apart",
        data=cohort.name,
        simulated=cohort.simulated,
        data_fingerprint=cohort.found.fingerprint,
        split_fingerprint=cohort.split_fingerprint,
        intended_use=INTENDED_USE,
        limits=f"{SIMULATED_LIMITS} {LIMITS}" if cohort.simulated else LIMITS,
        figures={
            name: value
            for name, value in figures.items()
            if name.startswith(("test_", "baseline_test_", "val_", "other_"))
        },
        input=f"(n, rows, columns, {1 if cohort.thermal else 3}) of 0 to 255: {seen}; sides "
        "multiples of 32",
        output="maps by class, as fieldsight.core.detection.decode reads them",
        run_id=run.id,
        facts={
            "classes": list(cohort.found.classes),
            "people": sorted(cohort.found.people),
            "vehicles": sorted(cohort.found.vehicles),
            "stride": way.stride,
            "thermal": cohort.thermal,
            "largest_px": _largest(cohort),
            "window_px": side,
            "frames_per_second": cohort.frames_per_second,
            "split": cohort.how,
            **chosen.to_facts(),
        },
    )


def _keep(
    run: Run,
    way: _recipes.Way,
    cohort: Cohort,
    network: Any,
    chosen: Chosen,
    test: Comparison,
    figures: Mapping[str, float],
    tables: Sequence[Any],
    history: Mapping[str, Sequence[float]],
    side: int,
) -> None:
    """The model, one test flight's answers with its film, and the report go into the run."""
    from fieldsight.pipelines._models import ModelFile, save_model
    from fieldsight.pipelines.wildlife import _pictures, _track_scores

    path = run.folder / "model.keras"
    card = save_model(network, path, _card(run, way, cohort, chosen, figures, side))
    run.model(
        path,
        registered_name=card.name,
        validation={
            "metric": "val_f1",
            "value": figures.get("val_f1", 0.0),
            "fingerprint": cohort.split_fingerprint,
            "higher_is_better": True,
        },
    )
    if test.tracks is not None:
        _track_scores.write_missed(run.folder / MISSED, test.missed)
        run.artifact(run.folder / MISSED)
    file = ModelFile(path, card, card.name, run_id=run.id)
    answers = _answers(cohort, test, file, run)
    _pictures.report(run, cohort, chosen, test, figures, tables, history, card, answers, file)


def _answers(cohort: Cohort, test: Comparison, file: ModelFile, run: Run) -> Path | None:
    """All that `predict` writes, of the test flight with the most marks: its film above all."""
    from fieldsight.pipelines.wildlife import _finder, _predict

    flights = [one for one in test.looked if len(one.unit.frames) > 1]
    chosen = flights or list(test.looked)
    best = max(chosen, key=lambda one: sum(len(frame.boxes) for frame in one.unit.frames))
    source = best.unit.frames[0].path
    source = source.parent if flights else source
    folder = run.folder / "flight" / "answers"
    telemetry = None if cohort.folder is None else cohort.folder / "telemetry"
    request = _predict.Request(
        inputs=[source], out=folder, telemetry=telemetry, json=True,
        frames_per_second=cohort.frames_per_second if flights else None,
    )  # fmt: skip
    say(f"answers for {best.unit.name}")
    finder = _finder.load(file)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # figures alone go there
            _predict.answer(
                request, _predict.find(request), finder,
                interval=_finder.interval_of(file.card.facts),
            )  # fmt: skip
    except CommandError as error:  # scored already: an example isn't worth the run
        say(f"no answers for it: {error}")
        return None
    run.artifact(folder, "flight")
    return folder
