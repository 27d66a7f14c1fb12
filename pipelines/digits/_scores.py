"""What a set of answers is worth: figures with intervals, and the errors of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.metrics import proportion_interval

CLASSES = [str(digit) for digit in range(10)]


def accuracy_figures(
    probabilities: NDArray[np.float32], labels: NDArray[Any], prefix: str = ""
) -> dict[str, float]:
    """Accuracy with its 95 % interval (Wilson), under the names every application uses."""
    right = probabilities.argmax(axis=1) == labels
    low, high = proportion_interval(int(right.sum()), len(right))
    name = f"{prefix}test_accuracy"
    return {name: float(right.mean()), f"{name}_low": low, f"{name}_high": high}


def errors_by_class(
    probabilities: NDArray[np.float32], labels: NDArray[Any]
) -> list[tuple[str, int, int, float, float, float]]:
    """For each digit: its name, pictures, errors, error rate and the rate's 95 % interval."""
    answers = probabilities.argmax(axis=1)
    rows = []
    for digit, name in enumerate(CLASSES):
        of_class = labels == digit
        wrong = int((answers[of_class] != digit).sum())
        total = int(of_class.sum())
        low, high = proportion_interval(wrong, total)
        rows.append((name, total, wrong, wrong / total if total else 0.0, low, high))
    return rows


def log_loss(probabilities: NDArray[np.float32], labels: NDArray[Any]) -> float:
    """Mean negative log probability of the right class; answers of zero count as 1e-7."""
    chosen = probabilities[np.arange(len(labels)), labels.astype(int)]
    return float(-np.log(np.clip(chosen, 1e-7, 1.0)).mean())
