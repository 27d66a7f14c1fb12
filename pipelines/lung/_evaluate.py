"""`fieldsight lung evaluate`: how well a model does on labelled scans."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldsight.datasets import nodules
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.findings import submission
from fieldsight.pipelines import _tracking, _training
from fieldsight.pipelines._console import progress
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder
from fieldsight.pipelines.lung._predict import MAKE_WITH, SIMULATED
from fieldsight.pipelines.lung._prepare import PREPARED
from fieldsight.pipelines.lung._train import show

if TYPE_CHECKING:
    from fieldsight.pipelines._models import ModelFile
    from fieldsight.pipelines.lung import Evaluate
    from fieldsight.pipelines.lung._comparison import Read
    from fieldsight.pipelines.lung._scores import Scores


def evaluate(settings: Evaluate) -> int:
    """Score a model on every scan of a folder; return the exit code."""
    if settings.out is not None:
        check_output_folder("--out", settings.out)
    found = nodules.load(settings.data)
    file = _tracking.find_model(
        settings.model, application="lung", last=SIMULATED, make_with=MAKE_WITH,
        allow_simulated=settings.allow_simulated or found.simulated,
    )  # fmt: skip
    _training.prepare_backend(0)
    from fieldsight.pipelines.lung import _comparison, _reading
    from fieldsight.pipelines.lung._cases import cases_of

    model = _reading.load(file)
    cache = None if settings.cache is None else settings.cache / PREPARED
    told = progress(f"reading and preparing {len(found)} scans at {model.spacing_mm:g} mm")
    cases, failures = cases_of(found.scans, model.spacing_mm, cache, progress=told)
    for name, reason in failures.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if not any(case.marked for case in cases):
        raise CommandError(
            f"scans whose nodules were marked were needed. Received: none that can be read in "
            f"{settings.data}."
        )
    read = _comparison.read(model, cases)
    scores = _comparison.scores_of(model, read)
    figures = {name: value for name, value in scores.figures.items() if value == value}
    if settings.out is not None:
        _write(settings.out, read, scores, file, figures)
    if settings.json:
        print(json.dumps({**figures, "model": file.title, "failed": len(failures)}))
    else:
        show(scores.tables, [f"scored: {file.title} on {found.name}, {len(cases)} scans"])
    return 1 if failures else 0


def _write(
    folder: Path, read: Read, scores: Scores, file: ModelFile, figures: dict[str, float]
) -> None:
    """The candidates in LUNA16's form, the figures and the free-response curve."""
    from fieldsight.pipelines import _figures
    from fieldsight.pipelines.lung import _pictures

    folder.mkdir(parents=True, exist_ok=True)
    rows = (
        (case.series_uid, centre, probability)
        for case, marks in zip(read.cases, read.marks, strict=True)
        for centre, probability in zip(marks.centres_mm, marks.probabilities, strict=True)
    )
    write_atomically(folder / "candidates.csv", submission(rows).encode())
    content: dict[str, Any] = {"model": file.title, "simulated": file.card.simulated, **figures}
    write_atomically(folder / "figures.json", json.dumps(content, indent=2).encode())
    for name, (_, _, drawn) in _pictures.drawn_of(scores, file.title).items():
        _figures.save(drawn, folder / f"{name}.png")
