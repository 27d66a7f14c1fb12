"""`fieldsight wildlife evaluate`: how well a model does on marked pictures."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from fieldsight.datasets import animals
from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines import _console, _training
from fieldsight.pipelines._console import progress
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder, write_failures
from fieldsight.pipelines.wildlife import _cohort
from fieldsight.pipelines.wildlife._answering import model_for

if TYPE_CHECKING:
    from pathlib import Path

    from fieldsight.pipelines.wildlife import Evaluate
    from fieldsight.pipelines.wildlife._comparison import Chosen, Comparison


def evaluate(settings: Evaluate) -> int:
    """Score a model on every marked picture; return the exit code."""
    if settings.out is not None:
        check_output_folder("--out", settings.out)
    if not 0 <= settings.false_alarms_per_hour < float("inf"):
        raise CommandError(
            "--false-alarms-per-hour: a number of 0 or above was needed. Received: "
            f"{settings.false_alarms_per_hour}."
        )
    found = animals.load(settings.data, radius_px=settings.radius_px)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    rate = _cohort.rate_of(found, settings.frames_per_second)
    units = _cohort.units_of(found, _of_part(found, settings.part), settings.frames_per_second)
    timed = found.kind in _cohort.IN_TIME
    if assumed := _cohort.assumed_rate(found, settings.frames_per_second):
        print(f"note: {assumed}", file=sys.stderr)
    file = model_for(settings.model, allow_simulated=settings.allow_simulated or found.simulated)
    _training.prepare_backend(0)
    from fieldsight.pipelines.wildlife import _comparison, _finder

    finder = _finder.load(file, polarity=settings.polarity)
    finder.least = _finder.LEAST
    compared = _comparison.compare(
        finder, units, found, _chosen(file.card.facts, found),
        frames_per_second=rate, per_hour=settings.false_alarms_per_hour,
        progress=progress(f"looking at {sum(len(one.frames) for one in units):,} pictures"),
    )  # fmt: skip
    failures = {**found.failures, **compared.failures}
    for name, reason in failures.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    about: dict[str, Any] = {
        **compared.figures, **_baseline(compared), "model": file.title, "data": found.name,
        "simulated": file.card.simulated or found.simulated, "failed": len(failures),
        **({"frames_per_second": rate} if timed else {}),
    }  # fmt: skip
    if settings.out is not None:
        _write(settings.out, compared, about)
        write_failures(settings.out, "picture", failures)
    if settings.json:
        print(json.dumps(about))
    else:
        word = "SIMULATED pictures" if found.simulated else found.name
        _console.show(compared.tables, [f"scored: {file.title} on {word}"])
    return int(bool(failures))


def _baseline(compared: Comparison) -> dict[str, float]:
    """The classical method's figures, as validation tuned it when the model was trained."""
    if compared.baseline is None:
        return {}
    return {f"baseline_{name}": value for name, value in compared.baseline.figures.items()}


def _of_part(found: animals.AnimalSet, part: str) -> tuple[animals.Frame, ...]:
    if part == "all":
        return found.frames
    sides = found.split or {}
    frames = tuple(frame for frame in found.frames if sides.get(frame.name) == "test")
    if not frames:
        raise CommandError(
            f"--part test: data that publish a part for the test were needed. Received: "
            f"{found.name}, which doesn't. Leave it out to score all."
        )
    return frames


def _chosen(facts: Any, found: animals.AnimalSet) -> Chosen:
    """What validation chose, as the card keeps it."""
    from fieldsight.pipelines.wildlife._comparison import Chosen
    from fieldsight.pipelines.wildlife._threshold import Spots

    threshold = float(facts["threshold"])
    near_px = float(facts.get("near_px", 6.0))
    if found.radius_px is not None:
        near_px = found.radius_px
    return Chosen(
        threshold, near_px, float(facts.get("count_threshold", threshold)),
        facts.get("alarms", {}), facts.get("counts", {}),
        Spots(**facts["spots"]) if facts.get("spots") else None,
    )  # fmt: skip


def _write(folder: Path, compared: Comparison, about: dict[str, Any]) -> None:
    """The figures, the people that were missed, and the curve of precision and recall."""
    from fieldsight.pipelines import _figures
    from fieldsight.pipelines.wildlife import _pictures, _track_scores

    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "figures.json", json.dumps(about, indent=2).encode())
        if compared.tracks is not None:
            _track_scores.write_missed(folder / "missed.csv", compared.missed)
        data = f"{about['data']}{', SIMULATED' if about['simulated'] else ''}, by {about['model']}"
        _figures.save(_pictures.curve(compared, data=data), folder / "precision_recall.png")
    except OSError as error:
        raise CommandError(f"{folder} can't be written ({error.strerror}).") from error
