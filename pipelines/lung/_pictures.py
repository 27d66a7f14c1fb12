"""The pictures and the page of a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldsight.pipelines._models import Card
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.lung._cohort import Cohort
    from fieldsight.pipelines.lung._comparison import Comparison
    from fieldsight.pipelines.lung._scores import Scores
    from fieldsight.pipelines.lung._stages import Trained


def report(
    run: Run,
    cohort: Cohort,
    trained: Trained,
    comparison: Comparison,
    figures: Mapping[str, float],
    card: Card,
    answers: Path | None,
) -> None:
    """Draw the run and log its pictures and its page, `report.html`.

    Args:
        run: the run to log to.
        cohort: the patients.
        trained: the model and its losses.
        comparison: the scores.
        figures: the final metrics.
        card: the model's.
        answers: the folder of one patient's answers.
    """
    from fieldsight.pipelines import _environment, _figures, _report
    from fieldsight.pipelines.lung import _outputs

    word = "SIMULATED patients" if cohort.simulated else cohort.name
    test = f"{word}, test split, {len(cohort.test)} scans"
    drawn = drawn_of(comparison.scores, test)
    for name, history in trained.history.items():
        drawn[f"curves_{name}"] = (
            f"Learning curves of the {name}",
            "Loss by epoch, on training patches and on those of the validation patients.",
            _figures.learning_curves(history, data=f"{word}, {name}"),
        )
    shown = _report.keep_pictures(run, drawn)
    if answers is not None and (answers / _outputs.MONTAGE).exists():
        title = "Findings of one test patient"
        caption = "Three planes through each, its outline, and where the evidence lies (HiResCAM)."
        shown.insert(1, (title, caption, (answers / _outputs.MONTAGE).read_bytes()))
    notes = [f"Split: {cohort.how}. The test patients were scored once.", card.limits]
    if cohort.simulated:
        notes.insert(0, "SIMULATED patients: these figures say nothing of real ones.")
    page = _report.write_report(
        run.folder / "report.html",
        title=f"Lung nodules: {cohort.name}",
        summary=figures,
        baseline="Laplacian-of-Gaussian blobs; of patients, the largest diameter",
        settings=run.settings,
        environment=_environment.tags() | _environment.device_tags(),
        card=dataclasses.asdict(card),
        figures=shown,
        tables=comparison.tables,
        notes=notes,
    )
    run.artifact(page)


def drawn_of(scores: Scores, data: str) -> dict[str, tuple[str, str, Figure]]:
    """The curves of scores, by file name, with title and caption."""
    from fieldsight.pipelines import _calibration
    from fieldsight.pipelines.lung import _curves

    if scores.froc is None:
        return {}
    methods = {"network": (scores.froc, scores.groups)}
    if scores.blobs is not None:
        methods["blobs"] = (scores.blobs, scores.groups)
    return {
        "froc": (
            "Free response",
            "Marks within a nodule's radius hit it. Bands: 95 %, bootstrap over patients.",
            _curves.free_response(methods, data=data),
        ),
        "calibration": (
            "Calibration",
            "What was said of each candidate, against how often it was a nodule.",
            _calibration.calibration({"a nodule": (scores.said, scores.right)}, data=data),
        ),
    }
