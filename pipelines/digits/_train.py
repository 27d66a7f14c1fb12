"""`fieldsight digits train`: fit, choose, refit, score once, report, register."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.metrics import paired_difference_interval
from fieldsight.pipelines import _console, _resuming, _tracking, _training
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.digits import _data, _networks
from fieldsight.pipelines.digits._scores import accuracy_figures

if TYPE_CHECKING:
    import keras

    from fieldsight.pipelines._models import Card
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.digits import Train

INTENDED_USE = "Reading handwritten decimal digits from pictures, one digit at a time."
LIMITS = (
    "Knows the ten digits and nothing else: a letter or a blot is read as some digit, often with "
    "a high probability. Trained on the handwriting named under data; other pens, countries "
    "(crossed sevens, open fours) and scanners may be read worse than the figures say."
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A network with its answers on the test split."""

    model: keras.Model
    fitted: _training.Fitted
    probabilities: NDArray[np.float32]
    parameters: int
    seconds: float


def train(settings: Train) -> int:
    """Train as the settings say and return the exit code."""
    run, settings = _begin(settings)
    with _training.policy_restored(), run:
        digits = _data.load(settings.data, settings.data_dir)
        figures, table = _train(settings, run, digits)
        place = run.where()
    if settings.json:
        print(json.dumps({**figures, "run": run.mlflow_id or run.id}))
    else:
        _print_table(table, figures, digits, place)
    return 0


def _refuse_impossible(settings: Train) -> None:
    """Numbers that no training can use are told before anything is read or begun."""
    for flag, value in (("--epochs", settings.epochs), ("--batch-size", settings.batch_size)):
        if value is not None and value < 1:
            raise CommandError(f"{flag}: at least 1 is needed. Received: {value}.")
    rate = settings.learning_rate
    if rate is not None and not 0 < rate < float("inf"):
        raise CommandError(f"--learning-rate: a number above 0 is needed. Received: {rate}.")
    _resuming.refuse_seed(settings.seed)


def _begin(settings: Train) -> tuple[Run, Train]:
    """Start a run, or take up a killed one with the settings it was started with."""
    if settings.resume is None:
        _refuse_impossible(settings)
        # A wrong folder or file is told before a run exists that could fail by it.
        digits = _data.load(settings.data, settings.data_dir)
        run = _tracking.start_run(
            "digits",
            settings=_resuming.logged(settings),
            tags={"data": digits.name, "simulated": "false"},
            name=f"{settings.network} on {digits.name}",
        )
    else:
        run, settings = _resuming.take_up(settings, "digits", paths=("data_dir",))
    _say(f"tracked in {run.where()}")
    _say(f"if it is stopped: fieldsight digits train --resume {run.id}")
    return run, settings


def _train(
    settings: Train, run: Run, digits: _data.Digits
) -> tuple[dict[str, float], list[tuple[str, Any]]]:
    started = time.perf_counter()
    _training.prepare_backend(settings.seed)
    plan = settings.plan(digits.name)
    build = _networks.builder(settings.network, digits.train.images)
    precision, why = _precision(run, build, digits, plan)
    _say(f"{settings.network} on {digits.name}: {len(digits.train):,} pictures to train on, "
         f"{len(digits.val):,} to choose by, {len(digits.test):,} to be scored once "
         f"({digits.how}); {precision}: {why}")  # fmt: skip
    run.params(_parameters(plan, digits, precision))
    chosen = _fit(
        build, digits.train, digits.val, plan, run.folder / "select",
        on_epoch=lambda epoch, metrics: run.metrics(metrics, step=epoch + 1),
    )  # fmt: skip
    history = chosen.fitted.history
    validation = history["val_accuracy"][chosen.fitted.best_epoch]
    network = _refit(build, digits, plan, run, chosen)
    baseline = _baseline(digits, settings, run)
    figures = _figures(network, baseline, digits)
    figures |= {"val_accuracy_at_best": validation, "best_epoch": chosen.fitted.best_epoch + 1}
    rows = _rows(digits.split, network, baseline, digits, settings.network)
    if digits.name == "uci":
        flattered = _split_at_random(settings, run)
        figures |= {f"random_split_{name}": value for name, value in flattered[0].items()}
        rows += flattered[1]
    figures["seconds"] = time.perf_counter() - started
    run.metrics(figures)
    card = _card(settings, run, digits, plan, figures)
    _keep(run, digits, network, history, figures, rows, card, validation)
    return figures, rows


def _precision(
    run: Run, build: Callable[[], keras.Model], digits: _data.Digits, plan: _networks.Plan
) -> tuple[str, str]:
    """The trial's choice, or what a resumed run began with."""
    data = _batches(digits.train, plan)
    precision, why = _training.kept_precision(
        run.folder, lambda: _training.choose_precision(build, data, plan.recipe)
    )
    run.tags({"precision": precision, "precision_reason": why})
    return precision, why


def _batches(images: Any, plan: _networks.Plan, *, seed_offset: int = 0) -> Any:
    return _training.batches(
        images.images,
        images.labels,
        batch_size=plan.recipe.batch_size,
        seed=plan.recipe.seed + seed_offset,
        distort=plan.distortion,
    )


def _fit(
    build: Callable[[], keras.Model],
    train: Any,
    val: Any | None,
    plan: _networks.Plan,
    folder: Path,
    *,
    start: keras.Model | None = None,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Outcome:
    import keras

    keras.utils.set_random_seed(plan.recipe.seed)
    model = start or build()
    data = _batches(train, plan)
    _training.compile_classifier(model, plan.recipe, len(data))
    fitted = _training.fit(
        model,
        data,
        plan.recipe,
        validation=None if val is None else (val.images, val.labels),
        folder=folder,
        resume=True,
        on_epoch=on_epoch,
    )
    return Outcome(model, fitted, np.empty((0, 10), np.float32), _count(model), fitted.seconds)


def _refit(
    build: Callable[[], keras.Model],
    digits: _data.Digits,
    plan: _networks.Plan,
    run: Run,
    chosen: Outcome,
) -> Outcome:
    """Go on with all training pictures, the validation ones included; then score the test."""
    if not plan.refit_epochs:
        return _scored(chosen, digits, chosen.seconds)
    _say(f"refit: {plan.refit_epochs} more epochs on all training pictures")
    recipe = dataclasses.replace(
        plan.recipe,
        epochs=plan.refit_epochs,
        learning_rate=plan.recipe.learning_rate * plan.refit_rate,
        patience=0,
        seed=plan.recipe.seed + 1_000_003,  # other distortions than the first epochs'
    )
    first = chosen.fitted.epochs
    more = _fit(
        build,
        _joined(digits.train, digits.val),
        None,
        dataclasses.replace(plan, recipe=recipe),
        run.folder / "refit",
        start=chosen.model,
        on_epoch=lambda epoch, metrics: run.metrics(
            {f"refit_{name}": value for name, value in metrics.items()}, step=first + epoch + 1
        ),
    )
    return _scored(more, digits, chosen.seconds + more.seconds)


def _joined(first: Any, second: Any) -> Any:
    return dataclasses.replace(
        first,
        images=np.concatenate([first.images, second.images]),
        labels=np.concatenate([first.labels, second.labels]),
    )


def _scored(outcome: Outcome, digits: _data.Digits, seconds: float) -> Outcome:
    """The same with its answers on the test split, which is asked here and nowhere else."""
    model = _networks.with_probabilities(outcome.model)
    probabilities = model.predict(digits.test.images, batch_size=1000, verbose=0)
    return dataclasses.replace(outcome, probabilities=probabilities, seconds=seconds)


def _baseline(digits: _data.Digits, settings: Train, run: Run, folder: str = "baseline") -> Outcome:
    """A plain dense network with the same pictures and the same care: what convolution adds."""
    _say("baseline: a dense network of 128 hidden units")
    plan = _networks.plan("mlp", digits.name)
    plan = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, seed=settings.seed))
    if settings.epochs is not None:
        recipe = dataclasses.replace(plan.recipe, epochs=min(settings.epochs, plan.recipe.epochs))
        plan = dataclasses.replace(plan, recipe=recipe)
    build = _networks.builder("mlp", digits.train.images)
    fitted = _fit(build, digits.train, digits.val, plan, run.folder / folder)
    return _scored(fitted, digits, fitted.seconds)


def _split_at_random(settings: Train, run: Run) -> tuple[dict[str, float], list[tuple[str, Any]]]:
    """The same networks on a split at random, to show by how much it flatters."""
    _say("the same on a split at random, which has every writer on both sides")
    digits = _data.load("uci", None, at_random_seed=settings.seed)
    plan = dataclasses.replace(settings.plan("uci"), refit_epochs=0)
    build = _networks.builder(settings.network, digits.train.images)
    network = _fit(build, digits.train, digits.val, plan, run.folder / "random")
    network = _scored(network, digits, network.seconds)
    baseline = _baseline(digits, settings, run, "random-baseline")
    return (
        _figures(network, baseline, digits),
        _rows(digits.split, network, baseline, digits, settings.network),
    )


def _figures(network: Outcome, baseline: Outcome, digits: _data.Digits) -> dict[str, float]:
    labels = digits.test.labels
    right = network.probabilities.argmax(axis=1) == labels
    plain = baseline.probabilities.argmax(axis=1) == labels
    difference, least, most = paired_difference_interval(right, plain)
    return {
        **accuracy_figures(network.probabilities, labels),
        **accuracy_figures(baseline.probabilities, labels, "baseline_"),
        "test_accuracy_difference": difference,
        "test_accuracy_difference_low": least,
        "test_accuracy_difference_high": most,
        "parameters": network.parameters,
        "baseline_parameters": baseline.parameters,
        "fit_seconds": network.seconds,
        "baseline_fit_seconds": baseline.seconds,
    }


def _rows(
    split: str, network: Outcome, baseline: Outcome, digits: _data.Digits, name: str
) -> list[tuple[str, Any]]:
    figures = _figures(network, baseline, digits)
    difference = (
        f"{100 * figures['test_accuracy_difference']:+.2f} "
        f"({100 * figures['test_accuracy_difference_low']:+.2f} to "
        f"{100 * figures['test_accuracy_difference_high']:+.2f})"
    )
    return [
        (split, (name, *_cells(figures, ""), difference)),
        (split, ("dense", *_cells(figures, "baseline_"), "")),
    ]


def _cells(figures: Mapping[str, float], prefix: str) -> tuple[str, ...]:
    return (
        f"{100 * figures[f'{prefix}test_accuracy']:.2f} %",
        f"{100 * figures[f'{prefix}test_accuracy_low']:.2f} to "
        f"{100 * figures[f'{prefix}test_accuracy_high']:.2f}",
        f"{figures[f'{prefix}parameters']:,.0f}",
        f"{figures[f'{prefix}fit_seconds']:.0f}",
    )


HEADINGS = ("network", "accuracy", "95 % interval", "weights", "s", "more than dense")


def _print_table(
    rows: list[tuple[str, Any]], figures: Mapping[str, float], digits: _data.Digits, place: str
) -> None:
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"digits: {digits.name}, {len(digits.test):,} test pictures, scored once",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("split")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "network" else "right")
    before = None
    for split, cells in rows:
        if before is not None and split != before:
            table.add_section()
        table.add_row("" if split == before else split, *cells)
        before = split
    console = _console.console()
    console.print(table)
    console.print(f"in all {figures['seconds']:.0f} s; the difference is in points of accuracy, "
                  "paired, with its 95 % interval")  # fmt: skip
    console.print(f"run: {place}", soft_wrap=True)


def _parameters(plan: _networks.Plan, digits: _data.Digits, precision: str) -> dict[str, Any]:
    recipe = {f"recipe_{k}": v for k, v in dataclasses.asdict(plan.recipe).items()}
    distortion = {f"distortion_{k}": v for k, v in dataclasses.asdict(plan.distortion).items()}
    return {
        **recipe,
        **distortion,
        "refit_epochs": plan.refit_epochs,
        "refit_rate": plan.refit_rate,
        "chosen_precision": precision,
        "split": digits.how,
        "data_fingerprint": digits.fingerprint,
        "split_fingerprint": digits.split_fingerprint,
        "train_pictures": len(digits.train),
        "val_pictures": len(digits.val),
        "test_pictures": len(digits.test),
    }


def _card(
    settings: Train, run: Run, digits: _data.Digits, plan: _networks.Plan, figures: dict[str, float]
) -> Card:
    from fieldsight.pipelines._models import Card, model_name

    return Card(
        name=model_name("digits", digits.name),
        application="digits",
        architecture=settings.network,
        data=digits.name,
        simulated=False,
        data_fingerprint=digits.fingerprint,
        split_fingerprint=digits.split_fingerprint,
        intended_use=INTENDED_USE,
        limits=LIMITS,
        figures={
            name: value
            for name, value in figures.items()
            if name.startswith(("test_", "baseline_test_", "val_"))
        },
        input="(n, 28, 28) uint8 pictures, ink 255 on black 0, a digit in 20x20 at the centre",
        output="(n, 10) float32 probabilities of the digits 0 to 9",
        run_id=run.id,
        facts={"refitted_on_validation": plan.refit_epochs > 0, "split": digits.how},
    )


def _keep(
    run: Run,
    digits: _data.Digits,
    network: Outcome,
    history: Mapping[str, list[float]],
    figures: dict[str, float],
    rows: list[tuple[str, Any]],
    card: Card,
    validation: float,
) -> None:
    """The model, the pictures and the report go into the run."""
    from fieldsight.pipelines._models import save_model
    from fieldsight.pipelines.digits import _pictures

    file = run.folder / "model.keras"
    card = save_model(_networks.with_probabilities(network.model), file, card)
    fingerprint = digits.val.fingerprint
    run.model(
        file,
        registered_name=card.name,
        validation={
            "metric": "val_accuracy",
            "value": validation,
            "fingerprint": fingerprint,
            "higher_is_better": True,
        },
    )
    body = [(split, *cells) for split, cells in rows]
    run.tags({"mlflow.note.content": _note(body, digits)})
    table = (("split", *HEADINGS), body)
    _pictures.report(run, digits, network.probabilities, history, figures, table, card)


def _note(rows: list[tuple[str, ...]], digits: _data.Digits) -> str:
    """The run's description in MLflow, in Markdown: the table that the command prints."""
    lines = [("split", *HEADINGS), ("---",) * (1 + len(HEADINGS)), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{len(digits.test):,} test pictures of {digits.name}, scored once; split: {digits.how}. "
        f"The page of this run is its artifact report.html.\n\n{table}\n"
    )


def _count(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.weights)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
