"""The pictures and the page of a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldsight.core.metrics.froc import Froc
    from fieldsight.pipelines._models import Card
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.lung._cohort import Cohort
    from fieldsight.pipelines.lung._comparison import Comparison
    from fieldsight.pipelines.lung._stages import Trained

RATES = (0.125, 0.25, 0.5, 1, 2, 4, 8)


def free_response(curves: Mapping[str, tuple[Froc, list[str]]], *, data: str) -> Figure:
    """Sensitivity by false positives a scan, with bootstrap bands over patients.

    Args:
        curves: by method, its result and the patient of each scan.
        data: what was scored.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from fieldsight.pipelines import _figures

    with mpl.rc_context(_figures.STYLE):
        figure = Figure(figsize=(_figures.WIDTH, 5.6), layout="constrained")
        axes = figure.subplots()
        grid = np.geomspace(RATES[0], RATES[-1], 60)
        looks = ((_figures.BLUE, "-"), (_figures.VERMILLION, "--"), (_figures.GREEN, "-."))
        for (name, (result, groups)), (colour, line) in zip(curves.items(), looks, strict=False):
            band = result.sensitivity_interval(grid.tolist(), groups=groups, resamples=400)
            label = f"{name}: CPM {result.cpm():.3f}"
            axes.fill_between(grid, band.low, band.high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(grid, band.value, line, color=colour, linewidth=2, label=label)
            points = result.sensitivity(RATES)
            axes.plot(RATES, points, "o", color=colour, markersize=4)
        axes.set_xscale("log", base=2)
        axes.set_xticks(RATES, [f"1/{round(1 / r)}" if r < 1 else str(r) for r in RATES])
        axes.set_ylim(0, 1)
        axes.set_xlabel("false positives a scan")
        axes.set_ylabel("share of nodules found")
        axes.set_title(f"Free response\n{data}", fontsize=10)
        axes.legend(loc="upper left")
        return figure


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
    test = f"{word}, test split, {comparison.test.froc.scans} scans"
    drawn: dict[str, tuple[str, str, Any]] = {
        "froc": (
            "Free response",
            "Marks within a nodule's radius hit it. Bands: 95 %, bootstrap over patients.",
            free_response(curves_of(comparison), data=test),
        )
    }
    for name, history in trained.history.items():
        drawn[f"curves_{name}"] = (
            f"Learning curves of the {name}",
            "Loss by epoch, on training patches and on those of the validation patients.",
            _figures.learning_curves(history, data=f"{word}, {name}"),
        )
    pictures = run.folder / "pictures"
    shown = []
    for name, (title, caption, figure) in drawn.items():
        path = _figures.save(figure, pictures / f"{name}.png")
        shown.append((title, caption, path.read_bytes()))
        run.artifact(path, "pictures")
    if answers is not None and (answers / _outputs.MONTAGE).exists():
        title = "Findings of one test patient"
        caption = "Three planes through each, its outline, and where the evidence lies (Grad-CAM)."
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


def curves_of(comparison: Comparison) -> dict[str, tuple[Froc, list[str]]]:
    """What is drawn: the network and the blobs."""
    groups = [case.group for case in comparison.test.cases if case.marked]
    return {"network": (comparison.test.froc, groups), "blobs": (comparison.blobs, groups)}
