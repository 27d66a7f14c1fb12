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
from fieldsight.pipelines._files import check_output_folder, write_failures
from fieldsight.pipelines.lung._predict import MAKE_WITH, SIMULATED
from fieldsight.pipelines.lung._prepare import PREPARED, tell_failures
from fieldsight.pipelines.lung._train import show

if TYPE_CHECKING:
    from fieldsight.pipelines.lung import Evaluate
    from fieldsight.pipelines.lung._comparison import Read
    from fieldsight.pipelines.lung._scores import Scores


def evaluate(settings: Evaluate) -> int:
    """Score a model on every scan of a folder; return the exit code."""
    if settings.out is not None:
        check_output_folder("--out", settings.out)
    found = nodules.load(settings.data)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
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
    cases, failed = cases_of(found.scans, model.spacing_mm, cache, progress=told)
    failures = {**found.failures, **failed}
    tell_failures(failures)
    if not any(case.marked or case.cancer is not None for case in cases):
        raise CommandError(
            "scans whose nodules were marked, or whose patients' outcome is known, were needed. "
            f"Received: none that can be read in {settings.data}."
        )
    read = _comparison.read(model, cases)
    scores = _comparison.scores_of(model, read)
    data = f"{'SIMULATED patients' if found.simulated else found.name}, {len(cases)} scans"
    about: dict[str, Any] = {
        **{name: value for name, value in scores.figures.items() if value == value},
        "model": file.title,
        "data": found.name,
        "simulated": file.card.simulated or found.simulated,
        "failed": len(failures),
    }
    if settings.out is not None:
        _write(settings.out, read, scores, about, f"{data}, by {file.title}")
        write_failures(settings.out, "scan", failures)
    if settings.json:
        print(json.dumps(about))
    else:
        show(scores.tables, [f"scored: {file.title} on {data}"])
    return 1 if failures else 0


def _write(folder: Path, read: Read, scores: Scores, about: dict[str, Any], data: str) -> None:
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
    write_atomically(folder / "figures.json", json.dumps(about, indent=2).encode())
    for name, (_, _, drawn) in _pictures.drawn_of(scores, data).items():
        _figures.save(drawn, folder / f"{name}.png")
