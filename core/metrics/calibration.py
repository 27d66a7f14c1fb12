"""Whether a probability means what it says, and one number that makes it so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy.special import logsumexp

from fieldsight.core.metrics import _checks

TEMPERATURES = (0.02, 50.0)  # between which the best is sought


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature by which logits are divided to make their probabilities honest.

    Fitted to validation data: the least cross-entropy. Above 1 the network was too sure of
    itself. The order of the scores stays, so that no ranking and no accuracy changes. Where no
    temperature is best (every answer right, so that none is too sure; or none better than
    chance) it is the end of `TEMPERATURES`.

    Reference:
        Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2.

    Args:
        logits: `(n, classes)` of classes that exclude each other; or of any shape, of yes-or-no
            questions each: `(n,)`, `(n, tags)`.
        labels: `(n,)` integers beside `(n, classes)`; else 0 or 1 in the logits' own shape.

    Raises:
        ValueError: if there is no case, a logit isn't finite, or a label beyond the classes.

    Example:
        Three of four right, of which the network said 0.95 (a logit of 3): log 3 is right.

        >>> round(fit_temperature([3.0, 3.0, 3.0, 3.0], [1, 1, 1, 0]), 3)
        2.731
    """
    given = _checks.finite("logits", logits)
    if given.size == 0:
        raise ValueError("the logits of one case at least are needed. Received: none.")
    if given.ndim == 2 and np.ndim(labels) == 1:
        true = _checks.classes("labels", labels, given.shape[1])
        if len(true) != len(given):
            raise ValueError(f"a label a row is needed. Received: {len(true)} and {len(given)}.")
        # Cross-entropy as the log of a sum over the others: x_k - x_label, scaled by 1 / T.
        margins = given - np.take_along_axis(given, true[:, None], axis=1)
    else:
        answers = _checks.binary("labels", labels)
        _checks.alike(logits=given, labels=answers)
        against = np.where(answers, -given, given).ravel()
        margins = np.stack([np.zeros_like(against), against], axis=1)

    def loss(log_sharpness: float) -> float:
        return float(np.mean(logsumexp(margins * np.exp(log_sharpness), axis=1)))

    # Convex in 1 / T, so with one valley in its logarithm.
    low, high = (-np.log(end) for end in reversed(TEMPERATURES))
    best = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-7}
    )
    return float(np.exp(-best.x))


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often what was said with a probability came true, bin by bin.

    Attributes:
        edges: `(bins + 1,)` of the bins; a probability on an edge is in the bin below.
        said: `(bins,)` mean probability in each; NaN in an empty one.
        came_true: `(bins,)` share of outcomes in each; NaN in an empty one.
        counts: `(bins,)` cases in each.
    """

    edges: NDArray[np.float64]
    said: NDArray[np.float64]
    came_true: NDArray[np.float64]
    counts: NDArray[np.int64]


def reliability(
    probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 15, equal_counts: bool = False
) -> Reliability:
    """The reliability curve: what was said against what came true.

    Args:
        probabilities: of any shape; of several exclusive classes, `top_label` gives them.
        outcomes: 0 or 1, in the same shape.
        bins: how many.
        equal_counts: about as many cases in each bin, in place of equal widths. Bins whose
            edges fall on one another are made one.

    Raises:
        ValueError: if a probability is beyond 0 and 1, an outcome neither 0 nor 1, the shapes
            differ, or there is no bin.

    Example:
        >>> curve = reliability([0.1, 0.2, 0.9, 0.7], [0, 0, 1, 0], bins=2)
        >>> curve.said.round(2), curve.came_true, curve.counts
        (array([0.15, 0.8 ]), array([0. , 0.5]), array([2, 2]))
    """
    said = _checks.probabilities("probabilities", probabilities)
    true = _checks.binary("outcomes", outcomes)
    _checks.alike(probabilities=said, outcomes=true)
    if bins < 1:
        raise ValueError(f"one bin at least is needed. Received: {bins}.")
    said, true = said.ravel(), true.ravel()
    edges = np.linspace(0, 1, bins + 1)
    if equal_counts and len(said):
        inner = np.quantile(said, edges[1:-1])
        edges = np.unique(np.concatenate([[0.0], inner, [1.0]]))
    index = np.searchsorted(edges[1:-1], said)
    counts = np.bincount(index, minlength=len(edges) - 1)
    return Reliability(
        edges,
        _ratio(np.bincount(index, said, len(counts)), counts),
        _ratio(np.bincount(index, true, len(counts)), counts),
        counts,
    )


def expected_calibration_error(
    probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 15, equal_counts: bool = False
) -> float | None:
    """Mean distance of what was said from what came true, each bin by its cases.

    Reference:
        Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian
        binning, AAAI 2015; Guo et al., On calibration of modern neural networks, ICML 2017.

    Args:
        probabilities: as `reliability`'s.
        outcomes: as `reliability`'s.
        bins: as `reliability`'s; the error depends on it.
        equal_counts: as `reliability`'s.

    Returns:
        The error, or None without a case.

    Raises:
        ValueError: as `reliability`.

    Example:
        >>> round(expected_calibration_error([0.1, 0.2, 0.9, 0.7], [0, 0, 1, 0], bins=2), 4)
        0.225
    """
    curve = reliability(probabilities, outcomes, bins=bins, equal_counts=equal_counts)
    if not curve.counts.any():
        return None
    gaps = np.nan_to_num(np.abs(curve.said - curve.came_true))
    return float(np.average(gaps, weights=curve.counts))


def top_label(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probability of each case's likeliest class, and whether that class is right.

    What `reliability` takes of classes that exclude each other.

    Args:
        probabilities: `(n, classes)`.
        labels: `(n,)` integers.

    Returns:
        `(n,)` probabilities and `(n,)` whether right.

    Raises:
        ValueError: if a probability is beyond 0 and 1, or a label beyond the classes.

    Example:
        >>> top_label([[0.2, 0.8], [0.6, 0.4]], [1, 1])
        (array([0.8, 0.6]), array([ True, False]))
    """
    given = _checks.probabilities("probabilities", probabilities)
    if given.ndim != 2:
        raise ValueError(f"probabilities must be (n, classes). Received: shape {given.shape}.")
    true = _checks.classes("labels", labels, given.shape[1])
    if true.shape != given.shape[:1]:
        raise ValueError(
            f"a label a row is needed. Received: shapes {true.shape} and {given.shape}."
        )
    return given.max(axis=1), given.argmax(axis=1) == true


def _ratio(total: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0)
