"""`fieldsight deforestation evaluate`: how well a tagger does on labelled chips."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldsight.datasets import planet
from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines import _tracking, _training
from fieldsight.pipelines._console import progress, show
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder, write_failures
from fieldsight.pipelines.deforestation import _bands, _chips, _tag_model, _tag_scores
from fieldsight.pipelines.deforestation._predict import answers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldsight.pipelines._models import ModelFile
    from fieldsight.pipelines.deforestation import Evaluate
    from fieldsight.pipelines.deforestation._tag_scores import Answers


def evaluate(settings: Evaluate) -> int:
    """Score a tagger on every labelled chip of a folder; return the exit code."""
    if settings.out is not None:
        check_output_folder("--out", settings.out)
    bands = _bands.named(settings.bands)
    found = _tracking.find_model(
        settings.model, application=_tag_model.APPLICATION, last=_tag_model.SIMULATED,
        make_with=_tag_model.MAKE_WITH, allow_simulated=True,
    )  # fmt: skip
    product = _tag_model.product_of(found)
    chips = _chips.with_bands(planet.load(settings.data, product), bands)
    _tag_model.refuse_simulated(found, simulated=chips.simulated, allowed=settings.allow_simulated)
    order = _tag_model.order_of(chips, found)
    chips = _chips.with_neighbours(chips, settings.data, progress)  # intervals are over scenes
    _training.prepare_backend(0)
    model = _tag_model.load(found)
    read, said, failures = answers_of(model, chips, order, settings.average or model.averaged)
    failures = {**chips.failures, **failures}
    for name, reason in failures.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if not len(read):
        raise CommandError(
            f"labelled chips that can be read were needed. Received: none in {settings.data}."
        )
    answers = _tag_scores.Answers(said, model.thresholds, chips.tags[read], chips.groups[read])
    figures = _tag_scores.figures_of(answers, "")
    words = "SIMULATED chips" if chips.simulated else "chips"
    title = f"{len(read):,} {words} of {settings.data.name}, by {found.title}"
    tables = [
        _tag_scores.summary({"network": answers}, title),
        _tag_scores.by_tag(answers, "each tag by itself"),
    ]
    if settings.out is not None:
        names = [chips.names[i] for i in read]
        _write(settings.out, names, answers, found, figures, title)
        write_failures(settings.out, "chip", failures)
    if settings.json:
        print(json.dumps({**figures, "model": found.title, "failed": len(failures)}))
    else:
        show(tables, [f"scored: {found.title} on {settings.data.name}; intervals over scenes"])
    return 1 if failures else 0


def _write(
    folder: Path,
    names: Sequence[str],
    answers: Answers,
    found: ModelFile,
    figures: dict[str, float],
    title: str,
) -> None:
    """The answers by chip, the figures and the reliability."""
    from fieldsight.pipelines import _figures
    from fieldsight.pipelines.deforestation import _tag_pictures

    folder.mkdir(parents=True, exist_ok=True)
    planet.write_submission(folder / "answers.csv", names, answers.decided)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_name", "f2", *planet.TAGS))
    for name, f2, row in zip(names, answers.f2, answers.probabilities, strict=True):
        writer.writerow((name, f"{f2:.4f}", *(f"{value:.6f}" for value in np.asarray(row))))
    write_atomically(folder / "chips.csv", text.getvalue().encode())
    content = {**_tag_model.provenance(found), **figures}
    write_atomically(folder / "figures.json", json.dumps(content, indent=2).encode())
    _figures.save(_tag_pictures.tags({"network": answers}, data=title), folder / "tags.png")
    _figures.save(_tag_pictures.reliability(answers, data=title), folder / "reliability.png")
