"""`fieldsight lung train`: simulate or read, prepare, fit, calibrate, score once, report."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldsight.pipelines import _console, _resuming, _tracking, _training
from fieldsight.pipelines._console import progress, say
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.lung import _recipes

if TYPE_CHECKING:
    from fieldsight.pipelines._models import Card
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.lung import Train
    from fieldsight.pipelines.lung._cohort import Cohort
    from fieldsight.pipelines.lung._comparison import Comparison
    from fieldsight.pipelines.lung._stages import Trained

INTENDED_USE = (
    "Research on finding, measuring and rating lung nodules in CT of the chest of adults. It is "
    "no medical device, and its answers are not for diagnosis."
)
LIMITS = (
    "Slices of more than 2.5 mm are outside what such models learn from. Suspicion is what "
    "readers would think, not pathology. Nodules under 3 mm, masses above 30 mm and whatever "
    "isn't a nodule were not learned."
)
SIMULATED_LIMITS = (
    "Trained on SIMULATED patients alone: its figures say nothing of real ones, on which it may "
    "find anything or nothing."
)


def train(settings: Train) -> int:
    """Train as the settings say and return the exit code."""
    run, settings = _begin(settings)
    with _training.policy_restored(), run:
        figures, tables = _train(settings, run)
        place = run.where()
    if settings.json:
        print(json.dumps({**figures, "run": run.mlflow_id or run.id}))
    else:
        show(
            tables,
            [
                f"in all {figures['seconds_all']:.0f} s; intervals are of 95 %, over patients",
                f"run: {place}",
            ],
        )
    return 0


def _refuse_impossible(settings: Train) -> None:
    """Numbers that no training can use are told before anything is read or begun."""
    if not 0 < settings.epochs < float("inf"):
        raise CommandError(f"--epochs: a number above 0 is needed. Received: {settings.epochs}.")
    if settings.cases is not None and settings.cases < 3:
        raise CommandError(
            f"--cases: at least 3 are needed, one to train, validate and test by each. Received: "
            f"{settings.cases}."
        )
    _resuming.refuse_seed(settings.seed)


def _begin(settings: Train) -> tuple[Run, Train]:
    """Start a run, or take up a killed one with the settings it was started with."""
    if settings.resume is not None:
        run, settings = _resuming.take_up(settings, "lung", paths=("data", "cache"))
        say(f"tracked in {run.where()}")
        return run, settings
    _refuse_impossible(settings)
    from fieldsight.pipelines.lung import _cohort

    # A wrong folder is told before a run exists that could fail by it.
    _cohort.check(settings)
    simulated = settings.data is None
    data = "simulated patients" if simulated else settings.data.name if settings.data else ""
    run = _tracking.start_run(
        "lung",
        settings=_resuming.logged(settings),
        tags={"data": data, "simulated": str(simulated).lower()},
        name=f"{'full' if settings.full else 'quick'} on {data}",
    )
    say(f"tracked in {run.where()}")
    say(f"if it is stopped: fieldsight lung train --resume {run.id}")
    return run, settings


def _train(settings: Train, run: Run) -> tuple[dict[str, float], Sequence[Any]]:
    from fieldsight.pipelines.lung import _cohort

    started = time.perf_counter()
    seconds: dict[str, float] = {}
    way = _recipes.way(settings)
    cohort = _cohort.load(settings, way, run.folder, progress)
    seconds["simulate_and_prepare"] = time.perf_counter() - started
    for name, reason in cohort.failures.items():
        say(f"left out: {name}: {reason}")
    if cohort.simulated:
        say("SIMULATED patients: the figures say nothing of real ones")
    _training.prepare_backend(settings.seed)
    from fieldsight.pipelines.lung import _comparison, _stages

    marked = [case for case in cohort.train if case.marked]
    precision, why = _stages.choose_precision(run, way, marked, settings.precision)
    sizes = ", ".join(f"{count} to {side}" for side, count in cohort.sizes.items())
    say(f"{cohort.name}: {sizes} ({cohort.how}); {precision}: {why}")
    run.params(_parameters(way, cohort, precision))
    trained = _stages.fit(cohort, way, run, say)
    seconds |= trained.seconds
    began = time.perf_counter()
    say("scoring the test patients, once")
    comparison = _comparison.compare(trained, cohort)
    seconds["test"] = time.perf_counter() - began
    figures = dict(comparison.figures)
    seconds["all"] = time.perf_counter() - started
    figures |= {f"seconds_{name}": value for name, value in seconds.items()}
    run.metrics(figures)
    run.params({f"blobs_{k}": v for k, v in dataclasses.asdict(comparison.blobs).items()})
    say("; ".join(f"{name} {value:.0f} s" for name, value in seconds.items()))
    _keep(run, cohort, trained, comparison, figures)
    return figures, comparison.tables


def _parameters(way: _recipes.Way, cohort: Cohort, precision: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(way).items():
        if isinstance(value, Mapping):
            flat |= {f"{name}_{inner}": one for inner, one in value.items()}
        else:
            flat[name] = value
    return {
        **{f"recipe_{name}": value for name, value in flat.items()},
        "chosen_precision": precision,
        "split": cohort.how,
        "data_fingerprint": cohort.fingerprint,
        "split_fingerprint": cohort.split_fingerprint,
        **{f"{side}_scans": count for side, count in cohort.sizes.items()},
        "failed_scans": len(cohort.failures),
    }


def _card(run: Run, cohort: Cohort, trained: Trained, figures: Mapping[str, float]) -> Card:
    from fieldsight.pipelines._models import Card, model_name

    model = trained.model
    limits = f"{SIMULATED_LIMITS} {LIMITS}" if cohort.simulated else LIMITS
    return Card(
        name=model_name("lung", cohort.name),
        application="lung",
        architecture="detector, unet and a residual network, in three dimensions",
        data=cohort.name,
        simulated=cohort.simulated,
        data_fingerprint=cohort.fingerprint,
        split_fingerprint=cohort.split_fingerprint,
        intended_use=INTENDED_USE,
        limits=limits,
        figures={
            name: value
            for name, value in figures.items()
            if name.startswith(("test_", "baseline_test_", "val_", "other_"))
        },
        input=f"(n, planes, rows, columns, 1) Hounsfield units, {model.spacing_mm:g} mm voxels, "
        "planes to the head, rows to the back, columns to the left; sides multiples of 4",
        output="maps of the detector of nodules, as fieldsight.core.detection.decode reads them; "
        "the judge and the outliner stand in the same file",
        run_id=run.id,
        facts={
            "spacing_mm": model.spacing_mm,
            "threshold": model.threshold,
            "calibration": model.calibration.to_dict(),
            "outlines": model.networks["outliner"] is not None,
            "sizes": dataclasses.asdict(model.sizes),
            "window_hu": list(_window()),
            "split": cohort.how,
        },
    )


def _window() -> tuple[float, float]:
    from fieldsight.pipelines.lung._networks import WINDOW

    return WINDOW


def _keep(
    run: Run,
    cohort: Cohort,
    trained: Trained,
    comparison: Comparison,
    figures: Mapping[str, float],
) -> None:
    """The model, one patient's answers, the pictures and the report go into the run."""
    from fieldsight.pipelines._models import ModelFile, save_model
    from fieldsight.pipelines.lung import _pictures
    from fieldsight.pipelines.lung._reading import in_float32

    file = run.folder / "model.keras"
    parts = in_float32(trained.model)
    finder = parts.pop("finder")
    card = save_model(finder, file, _card(run, cohort, trained, figures), parts)
    run.model(
        file,
        registered_name=card.name,
        validation={
            "metric": "val_cpm",
            "value": figures["val_cpm"],
            "fingerprint": cohort.split_fingerprint,
            "higher_is_better": True,
        },
    )
    found = ModelFile(file, card, card.name, run_id=run.id)
    answers = _predict_one(cohort, trained, comparison, found, run)
    _pictures.report(run, cohort, trained, comparison, figures, card, answers)


def _predict_one(
    cohort: Cohort, trained: Trained, comparison: Comparison, found: Any, run: Run
) -> Path | None:
    """All that `predict` writes, of the test patient with the most nodules found."""
    from fieldsight.pipelines.lung._predict import answer_series

    scan = cohort.scans[comparison.example]
    say(f"answers for one test patient, {scan.name}")
    folder = run.folder / "patient" / "answers"
    answer_series(trained.model, found, scan.read(), folder)
    run.artifact(folder, "patient")
    return folder


def show(tables: Sequence[Any], lines: Sequence[str]) -> None:
    """Print tables, what is said below them, and what every answer of lung says."""
    _console.show(tables, [*lines, "For research only: no medical device."])
