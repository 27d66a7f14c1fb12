"""`fieldsight digits compare`: what a convolution is worth, and when."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldsight.core.metrics import paired_difference_interval, proportion_interval
from fieldsight.pipelines import _console, _tracking, _training
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_file
from fieldsight.pipelines.digits import _data, _networks

if TYPE_CHECKING:
    from fieldsight.pipelines._figures import Comparison
    from fieldsight.pipelines.digits import Compare

# 784 * 70 + 70 + 70 * 84 + 84 + 84 * 10 + 10 is 61,764; LeNet-5 has 61,706, and such a last layer
# of 84: what differs is the convolutions.
DENSE_UNITS = (70, 84)
PERMUTATION_SEED = 1998
FORMS = ("as they are", "shuffled")
MODELS = {"lenet5": "LeNet-5", "mlp": "dense, 70-84"}


def compare(settings: Compare) -> int:
    """Train four networks a seed, and print and draw what the convolution was worth."""
    for flag, value in (("--seeds", settings.seeds), ("--epochs", settings.epochs)):
        if value is not None and value < 1:
            raise CommandError(f"{flag}: at least 1 is needed. Received: {value}.")
    check_output_file("--out", settings.out, ".png")
    digits = _data.load(settings.data, settings.data_dir)
    given = {"data": digits.name, "seeds": settings.seeds, "epochs": settings.epochs}
    tags = {"data": digits.name, "simulated": "false"}
    name = f"compare on {digits.name}"
    with _tracking.start_run("digits", settings=given, tags=tags, name=name) as run:
        print(f"tracked in {run.where()}", file=sys.stderr)
        _training.prepare_backend(0)
        rows, right = _train_all(settings, digits)
        figures = _figures_of(right)
        run.metrics(figures)
        drawn = _draw(settings, rows, digits)
        run.artifact(drawn)
        place = run.where()
    if settings.json:
        print(json.dumps(figures))
    else:
        _print(figures, digits, settings, place)
    return 0


def _train_all(
    settings: Compare, digits: _data.Digits
) -> tuple[list[Comparison], dict[tuple[str, str], list[Any]]]:
    """Every network on every form of the pictures with every seed; who read what right."""
    import keras

    from fieldsight.pipelines._figures import Comparison

    permutation = np.random.default_rng(PERMUTATION_SEED).permutation(28 * 28)
    rows: list[Comparison] = []
    right: dict[tuple[str, str], list[Any]] = {}
    total = settings.seeds * len(FORMS) * len(MODELS)
    for seed in range(settings.seeds):
        for form in FORMS:
            sides = [digits.train, digits.val, digits.test]
            if form == "shuffled":
                sides = [_shuffled(side, permutation) for side in sides]
            train, val, test = sides
            for network, title in MODELS.items():
                print(f"{len(rows) + 1}/{total}: {title}, {form}, seed {seed}", file=sys.stderr)
                model = _fitted(settings, digits.name, network, seed, train, val, keras)
                # Whatever beats chance on the shuffled ones is scored on the shuffled test.
                logits = model.predict(test.images, batch_size=1000, verbose=0)
                correct = logits.argmax(axis=1) == test.labels
                low, high = proportion_interval(int(correct.sum()), len(correct))
                rows.append(Comparison(title, form, seed, float(correct.mean()), low, high))
                right.setdefault((network, form), []).append(correct)
    return rows, right


def _fitted(
    settings: Compare, data: str, network: str, seed: int, train: Any, val: Any, keras: Any
) -> Any:
    """One network, without distortions: those know of neighbours too. One recipe for both."""
    recipe = dataclasses.replace(_networks.plan("lenet5", data).recipe, seed=seed)
    epochs = settings.epochs or min(recipe.epochs, 12 if data == "mnist" else 36)
    recipe = dataclasses.replace(recipe, epochs=epochs, precision="float32")
    keras.utils.set_random_seed(seed)
    model = _networks.builder(network, train.images, dense_units=DENSE_UNITS)()
    pictures = _training.batches(
        train.images, train.labels, batch_size=recipe.batch_size, seed=seed
    )
    _training.compile_classifier(model, recipe, len(pictures))
    _training.fit(model, pictures, recipe, validation=(val.images, val.labels), quiet=True)
    return model


def _shuffled(side: Any, permutation: Any) -> Any:
    flat = side.images.reshape(len(side), -1)[:, permutation]
    return dataclasses.replace(side, images=flat.reshape(side.images.shape))


def _figures_of(right: dict[tuple[str, str], list[Any]]) -> dict[str, float]:
    """Means over seeds, and paired differences over all test pictures of all seeds."""
    figures: dict[str, float] = {}
    for (network, form), answers in right.items():
        name = f"{network}_{'shuffled' if form == 'shuffled' else 'plain'}"
        figures[f"test_accuracy_{name}"] = float(np.mean([a.mean() for a in answers]))
    for name, first, second in (
        ("cnn_over_dense_plain", ("lenet5", FORMS[0]), ("mlp", FORMS[0])),
        ("cnn_over_dense_shuffled", ("lenet5", FORMS[1]), ("mlp", FORMS[1])),
        ("cost_of_shuffling_cnn", ("lenet5", FORMS[0]), ("lenet5", FORMS[1])),
        ("cost_of_shuffling_dense", ("mlp", FORMS[0]), ("mlp", FORMS[1])),
    ):
        difference, low, high = paired_difference_interval(
            np.concatenate(right[first]), np.concatenate(right[second])
        )
        figures |= {name: difference, f"{name}_low": low, f"{name}_high": high}
    return figures


def _draw(settings: Compare, rows: list[Comparison], digits: _data.Digits) -> Any:
    from fieldsight.pipelines import _figures

    data = f"{digits.name}, {len(digits.test):,} test pictures, {_seeds(settings)}"
    return _figures.save(_figures.comparison(rows, data=data), settings.out)


def _print(figures: dict[str, float], digits: _data.Digits, settings: Compare, place: str) -> None:
    from rich.table import Table

    table = Table(title=f"{digits.name}, {len(digits.test):,} test pictures, {_seeds(settings)}")
    table.add_column("network")
    for form in FORMS:
        table.add_column(f"pixels {form}", justify="right")
    table.add_column("cost of shuffling, points", justify="right")
    for network, title in MODELS.items():
        key = "cnn" if network == "lenet5" else "dense"
        cells = [f"{100 * figures[f'test_accuracy_{network}_{f}']:.2f} %" for f in _KEYS]
        table.add_row(title, *cells, _interval(figures, f"cost_of_shuffling_{key}"))
    table.add_section()
    cells = [_interval(figures, f"cnn_over_dense_{f}") for f in _KEYS]
    table.add_row("CNN over dense, points", *cells, "")
    console = _console.console()
    console.print(table)
    console.print(f"95 % intervals, paired over the pictures; figure: {settings.out}")
    console.print(f"run: {place}", soft_wrap=True)


def _seeds(settings: Compare) -> str:
    return "one seed" if settings.seeds == 1 else f"mean of {settings.seeds} seeds"


_KEYS = ("plain", "shuffled")


def _interval(figures: dict[str, float], name: str) -> str:
    middle, low, high = (100 * figures[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"
