"""Scores of labels and probabilities: F by image, log loss, area under ROC, average precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fieldsight.core.metrics import _checks

KAGGLES_CLIP = 1e-15  # probabilities nearer to 0 or 1 count as this far off


def f_scores(
    truth: ArrayLike, predicted: ArrayLike, *, beta: float = 2.0, empty: float = 0.0
) -> NDArray[np.float64]:
    """F-beta of each image over its tags: recall counts beta times as much as precision.

    No tag right is 0. An image without a true and without a predicted tag has neither precision
    nor recall: it scores `empty`. (Planet's chips always have a weather tag, so that the
    competition leaves it open; scikit-learn's 0, with which its entries were scored at home, is
    the default.)

    Reference:
        Planet: Understanding the Amazon from Space, Kaggle, 2017, evaluation: the mean over
        images of (1 + b^2) p r / (b^2 p + r), b = 2.

    Args:
        truth: `(images, tags)` 0 or 1.
        predicted: `(images, tags)` 0 or 1; probabilities need their thresholds first.
        beta: 2 for F2.
        empty: the score of an image without any tag.

    Returns:
        `(images,)`; no image, no score.

    Raises:
        ValueError: if the shapes differ, or a value is neither 0 nor 1.

    Example:
        Of two true tags one was found, and one that isn't there: p = r = 1/2.

        >>> f_scores([[1, 1, 0]], [[1, 0, 1]])
        array([0.5])
    """
    true, found = _checks.binary("truth", truth), _checks.binary("predicted", predicted)
    _checks.alike(truth=true, predicted=found)
    if true.ndim != 2:
        raise ValueError(f"truth must be (images, tags). Received: shape {true.shape}.")
    hits = np.sum(true & found, axis=1)
    # (1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp) is the same, with one zero case instead of three.
    below = np.sum(found, axis=1) + beta**2 * np.sum(true, axis=1)
    scores = np.full(len(true), float(empty))
    np.divide((1 + beta**2) * hits, below, out=scores, where=below > 0)
    return scores


def mean_f_score(
    truth: ArrayLike, predicted: ArrayLike, *, beta: float = 2.0, empty: float = 0.0
) -> float | None:
    """The mean over images of `f_scores`, as Planet's competition ranks; None without an image.

    Args:
        truth: `(images, tags)` 0 or 1.
        predicted: `(images, tags)` 0 or 1.
        beta: 2 for F2.
        empty: the score of an image without any tag.

    Raises:
        ValueError: as `f_scores`.

    Example:
        >>> mean_f_score([[1, 1, 0], [0, 0, 1]], [[1, 0, 1], [0, 0, 1]])
        0.75
    """
    scores = f_scores(truth, predicted, beta=beta, empty=empty)
    return float(scores.mean()) if len(scores) else None


def log_loss(
    truth: ArrayLike, probabilities: ArrayLike, *, clip: float = KAGGLES_CLIP
) -> float | None:
    """Mean negative logarithm of the probability that was given to what was true.

    Probabilities are clipped to `clip` and `1 - clip`, as Kaggle does, so that one sure mistake
    costs 34.5 and not infinity. Those of several classes are divided by their sum first.

    Args:
        truth: `(n,)` 0 or 1; of several classes their numbers.
        probabilities: `(n,)` of 1; or `(n, classes)`.
        clip: how near to 0 and 1 a probability may come.

    Returns:
        The mean, or None without a case.

    Raises:
        ValueError: if a probability is beyond 0 and 1, a label beyond the classes, or the
            shapes don't fit.

    Example:
        >>> round(log_loss([1, 0], [0.8, 0.4]), 4)
        0.367
        >>> round(log_loss([1], [0.0]), 2)
        34.54
    """
    given = _checks.probabilities("probabilities", probabilities)
    if given.ndim == 1:
        true = _checks.binary("truth", truth)
        _checks.alike(truth=true, probabilities=given)
        # Clipped before it is taken from 1, as Kaggle's: near 1 the digits are few.
        held = np.clip(given, clip, 1 - clip)
        right = np.where(true, held, 1 - held)
    elif given.ndim == 2:
        labels = _checks.classes("truth", truth, given.shape[1])
        if labels.shape != given.shape[:1]:
            raise ValueError(
                f"a label a row is needed. Received: shapes {labels.shape} and {given.shape}."
            )
        total = given.sum(axis=1)
        if np.any(total <= 0):
            raise ValueError(
                "a row of probabilities must have one above 0. Received: a row of zeros at "
                f"{int(np.argmin(total))}."
            )
        right = np.clip(given[np.arange(len(given)), labels] / total, clip, 1 - clip)
    else:
        raise ValueError(
            f"probabilities must be (n,) or (n, classes). Received: shape {given.shape}."
        )
    return float(-np.log(right).mean()) if len(right) else None


def roc_auc(truth: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the ROC curve: how often a positive case scores above a negative one.

    Equal scores count half.

    Reference:
        Hanley and McNeil, The meaning and use of the area under a receiver operating
        characteristic (ROC) curve, Radiology 143(1), 1982.

    Args:
        truth: `(n,)` 0 or 1.
        scores: `(n,)`; logits or probabilities, for their order alone counts.

    Returns:
        The area, or None where there is no positive or no negative case.

    Raises:
        ValueError: if the shapes differ, or a score isn't finite.

    Example:
        >>> roc_auc([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9])
        0.875
    """
    true, ranked = _scored(truth, scores)
    positives = int(true.sum())
    negatives = len(true) - positives
    if not positives or not negatives:
        return None
    ranks = stats.rankdata(ranked)
    wins = ranks[true].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def average_precision(truth: ArrayLike, scores: ArrayLike) -> float | None:
    """Precision averaged over the recall gained at each distinct score, without interpolation.

    Args:
        truth: `(n,)` 0 or 1.
        scores: `(n,)`; logits or probabilities, for their order alone counts.

    Returns:
        The average, or None where there is no positive case.

    Raises:
        ValueError: as `roc_auc`.

    Example:
        The positives are first and third: (1 / 1 + 2 / 3) / 2.

        >>> round(average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]), 4)
        0.8333
    """
    true, ranked = _scored(truth, scores)
    if not true.any():
        return None
    order = np.argsort(-ranked, kind="stable")
    hits = np.cumsum(true[order])
    # Cases of one score can't be told apart: they are taken together, at the last of them.
    last = np.flatnonzero(np.append(np.diff(ranked[order]) != 0, True))
    precision = hits[last] / (last + 1)
    gained = np.diff(hits[last], prepend=0) / hits[-1]
    return float(np.sum(precision * gained))


def _scored(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    true, ranked = _checks.binary("truth", truth), _checks.finite("scores", scores, ndim=1)
    _checks.alike(truth=true, scores=ranked)
    return true, ranked
