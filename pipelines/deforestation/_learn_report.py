"""The tables, the pictures and the page of what was learned from a person's own labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldsight.pipelines.deforestation import _map_scores

if TYPE_CHECKING:
    from fieldsight.pipelines._models import Card
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.deforestation._learn import Ground, _Trial

Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]

NETWORK, FOREST = "network", "random forest"


def tables(
    told: Mapping[str, Any],
    others: Mapping[str, Any] | None,
    classes: Sequence[str],
    way: str = "by blocks",
) -> list[Table]:
    """Scores by split, and by class.

    Args:
        told: intervals by what answered, of the split by blocks.
        others: the same of the split by chance; None where there is none.
        classes: names by value.
        way: how the first is split, in two words.
    """
    rows = [[name, way, *_row(each)] for name, each in told.items()]
    for name, each in (others or {}).items():
        rows.append(
            [name, "by chance", *(f"{each[k].value:.3f}" for k in ("accuracy", "mean_iou"))]
        )
    by_class = [
        [
            name,
            *(
                _map_scores.shown(told[which].get(f"{_map_scores.spelled(name)}_iou"))
                for which in told
            ),
        ]
        for name in classes[1:]
    ]
    return [
        ("test pixels, once", ["", "split", "accuracy", "mean IoU"], rows),
        (f"IoU by class, split {way}", ["", *told], by_class),
    ]


def _row(each: Mapping[str, Any]) -> list[str]:
    return [_map_scores.shown(each[name]) for name in ("accuracy", "mean_iou")]


def write(
    run: Run,
    ground: Ground,
    trial: _Trial,
    shown: Sequence[Table],
    figures: Mapping[str, float],
    card: Card,
) -> None:
    """Draw the run, and log its pictures and its page, `report.html`."""
    from fieldsight.pipelines import _calibration, _environment, _figures, _report
    from fieldsight.pipelines.deforestation import _map_pictures

    field, labels = ground.field, ground.labels
    sides = ground.fields(trial.split)
    what = f"{field.name}, {'simulated' if field.simulated else 'real'}"
    drawn = {
        "maps": (
            "The map",
            "The scene around the labels, what was learned from and scored, and the map.",
            _map_pictures.panels(
                field,
                {
                    "learned from": sides["train"].labels,
                    "scored on": sides["test"].labels,
                    "network": trial.map,
                },
                title="The scene, its labels, and the map",
                data=what,
                columns=4 if field.shape[0] > field.shape[1] else 2,
            ),
        ),
        "confusion": (
            "What was taken for what",
            "Test pixels; intervals beside it are of pixels, and too small.",
            _figures.confusion_matrix(
                trial.truth.astype(int) - 1, trial.answers[NETWORK].astype(int) - 1,
                labels.classes[1:], data=f"{what}, {len(trial.truth):,} test pixels",
            ),
        ),
        "reliability": (
            "Calibration",
            "How sure the network was, against how often it was right.",
            _calibration.calibration(
                {"the likeliest class": (
                    np.clip(trial.test_chances, 0, 1), trial.answers[NETWORK] == trial.truth
                )},
                data=what,
            ),
        ),
        "curves": (
            "Learning curves",
            "Loss by epoch, on training windows and on validation's.",
            _figures.learning_curves(trial.mapper.history, data=what),
        ),
    }  # fmt: skip
    kept = _report.keep_pictures(run, drawn)
    notes = [f"Split: {trial.split.how}. The test pixels were scored once.", card.limits]
    page = _report.write_report(
        run.folder / "report.html",
        title=f"Deforestation: learned on {field.name}",
        summary=figures,
        baseline="a random forest on the same pixels",
        settings=run.settings,
        environment=_environment.tags() | _environment.device_tags(),
        card=dataclasses.asdict(card),
        figures=kept,
        tables=list(shown),
        notes=notes,
    )
    run.artifact(page)
