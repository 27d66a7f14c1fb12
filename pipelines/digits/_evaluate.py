"""`fieldsight digits evaluate`: score a model on labelled digits."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines import _console, _tracking, _training
from fieldsight.pipelines._files import check_output_folder
from fieldsight.pipelines.digits import _data
from fieldsight.pipelines.digits._scores import (
    CLASSES,
    accuracy_figures,
    errors_by_class,
    log_loss,
)

if TYPE_CHECKING:
    from fieldsight.pipelines._models import ModelFile
    from fieldsight.pipelines.digits import Evaluate


def evaluate(settings: Evaluate) -> int:
    """Score the model and return the exit code."""
    if settings.out is not None:
        check_output_folder("--out", settings.out)
    labelled = _data.labelled_pictures(settings.data, settings.data_dir)
    found = _tracking.find_model(
        settings.model,
        application="digits",
        data=None if settings.data == "folder" else settings.data,
        make_with=f"fieldsight digits train --data {settings.data}",
    )
    _training.prepare_backend(0)
    from fieldsight.pipelines._models import load_model

    model = load_model(found.path)
    probabilities = model.predict(labelled.images, batch_size=1000, verbose=0)
    figures: dict[str, Any] = {
        **accuracy_figures(probabilities, labelled.labels),
        "test_log_loss": log_loss(probabilities, labelled.labels),
        "pictures": len(labelled),
        "data": labelled.name,
        "data_fingerprint": labelled.fingerprint,
        "model": found.name,
        "version": found.version,
        "run": found.run_id,
        "trained_on": found.card.data,
    }
    if found.card.data != labelled.name:
        print(
            f"note: the model was trained on {found.card.data} and is scored on {labelled.name}",
            file=sys.stderr,
        )
    if settings.out is not None:
        _write(settings.out, found, labelled, probabilities, figures)
    if settings.json:
        print(json.dumps(figures))
    else:
        _print(found, labelled, probabilities, figures)
    return 0


def _print(found: ModelFile, labelled: Any, probabilities: Any, figures: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"{found.title} on {labelled.name}, {len(labelled):,} pictures")
    for heading in ("digit", "pictures", "errors", "error", "95 % interval"):
        table.add_column(heading, justify="right")
    for name, total, wrong, rate, low, high in errors_by_class(probabilities, labelled.labels):
        interval = f"{100 * low:.2f} to {100 * high:.2f}"
        table.add_row(name, f"{total:,}", str(wrong), f"{100 * rate:.2f} %", interval)
    console = _console.console()
    console.print(table)
    console.print(
        f"accuracy {100 * figures['test_accuracy']:.2f} % "
        f"({100 * figures['test_accuracy_low']:.2f} to {100 * figures['test_accuracy_high']:.2f}), "
        f"log loss {figures['test_log_loss']:.4f}"
    )


def _write(
    folder: Path, found: ModelFile, labelled: Any, probabilities: Any, figures: dict[str, Any]
) -> None:
    from fieldsight.pipelines import _figures

    data = f"{labelled.name}, {len(labelled):,} pictures; {found.title}"
    answers = probabilities.argmax(axis=1)
    confusion = _figures.confusion_matrix(labelled.labels, answers, CLASSES, data=data)
    _figures.save(confusion, folder / "confusion.png")
    mistakes = _figures.worst_mistakes(labelled.images, labelled.labels, probabilities, data=data)
    _figures.save(mistakes, folder / "mistakes.png")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("index", "label", "answer", *(f"p{name}" for name in CLASSES)))
    for index, (label, row) in enumerate(zip(labelled.labels, probabilities, strict=True)):
        writer.writerow((index, label, int(np.argmax(row)), *(f"{value:.6f}" for value in row)))
    write_atomically(folder / "answers.csv", text.getvalue().encode())
    write_atomically(folder / "figures.json", json.dumps(figures, indent=2).encode())
    print(f"written to {folder}", file=sys.stderr)
