"""The pictures and the page of a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fieldsight.pipelines.digits._scores import CLASSES, errors_by_class

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fieldsight.pipelines._models import Card
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.digits._data import Digits


def report(
    run: Run,
    digits: Digits,
    probabilities: NDArray[np.float32],
    history: Mapping[str, list[float]],
    figures: Mapping[str, float],
    table: tuple[tuple[str, ...], list[tuple[str, ...]]],
    card: Card,
) -> None:
    """Draw the run and log its pictures and its page, `report.html`.

    Args:
        run: the run to log to.
        digits: what was learned and scored.
        probabilities: `(n, 10)` the network's answers on the test split.
        history: metrics by epoch.
        figures: the final metrics.
        table: headings and rows of the comparison, as the command printed them.
        card: the model's.
    """
    from fieldsight.pipelines import _environment, _figures, _report

    answers = probabilities.argmax(axis=1)
    labels = digits.test.labels
    test = f"{digits.name}, test split, {len(labels):,} pictures"
    wrong = int((answers != labels).sum())
    drawn = {
        "learning_curves": (
            "Learning curves",
            "The network as it was chosen: each epoch's error and loss on the pictures it learned "
            "from, distorted, and on the validation pictures, as they are.",
            _figures.learning_curves(history, data=f"{digits.name}, {digits.how}"),
        ),
        "confusion_matrix": (
            "Confusion matrix",
            f"{wrong} of {len(labels):,} test pictures are read wrong.",
            _figures.confusion_matrix(labels, answers, CLASSES, data=test),
        ),
        "worst_mistakes": (
            "Worst mistakes",
            "The wrong answers that were most confident: label, answer and its probability.",
            _figures.worst_mistakes(digits.test.images, labels, probabilities, data=test),
        ),
    }
    shown = _report.keep_pictures(run, drawn)
    page = _report.write_report(
        run.folder / "report.html",
        title=f"{card.architecture} reads handwritten digits: {digits.name}",
        summary=figures,
        baseline="dense network, 128 hidden units",
        settings=run.settings,
        environment=_environment.tags() | _environment.device_tags(),
        card=dataclasses.asdict(card),
        figures=shown,
        tables=[
            ("Beside a dense network", *table),
            (
                "Errors by digit, test split",
                ("digit", "pictures", "errors", "error", "95 % interval"),
                [
                    (
                        name,
                        f"{total:,}",
                        str(errors),
                        f"{100 * rate:.2f} %",
                        f"{100 * low:.2f} to {100 * high:.2f}",
                    )
                    for name, total, errors, rate, low, high in errors_by_class(
                        probabilities, labels
                    )
                ],
            ),
        ],
        history=history,
        notes=[f"Split: {digits.how}. The test split was scored once."],
    )
    run.artifact(page)
