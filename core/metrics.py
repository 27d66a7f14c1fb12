"""How sure a score is: intervals of a proportion and of a paired difference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def proportion_interval(
    successes: int, total: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's score interval of a proportion, such as an accuracy.

    Unlike the normal interval it stays within 0 and 1 and is right for an error of a few cases.

    Reference:
        Wilson, Probable inference, the law of succession, and statistical inference, Journal
        of the American Statistical Association 22(158), 1927.

    Args:
        successes: how many were right.
        total: of how many; 0 gives (0, 1), for nothing is known.
        confidence: of the interval.

    Raises:
        ValueError: if `successes` isn't between 0 and `total`.

    Example:
        >>> [round(bound, 4) for bound in proportion_interval(9940, 10000)]
        [0.9923, 0.9953]
    """
    if total == 0 and successes == 0:
        return 0.0, 1.0
    interval = stats.binomtest(successes, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def paired_difference_interval(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    *,
    confidence: float = 0.95,
    resamples: int = 20_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The difference of two accuracies on the same cases, with its bootstrap interval.

    A case is drawn with both of its answers. As each case's difference is -1, 0 or 1, resampling
    the cases is one multinomial draw of three counts, which is exact and takes no time.

    Args:
        first: `(n,)` whether the first model was right on each case.
        second: `(n,)` the same for the second.
        confidence: of the percentile interval.
        resamples: bootstrap samples.
        seed: of the resampling.

    Returns:
        The first's accuracy minus the second's, and the ends of its interval.

    Raises:
        ValueError: if there is no case, or not one answer of each a case.

    Example:
        >>> same = np.array([True, False, True])
        >>> paired_difference_interval(same, same)
        (0.0, 0.0, 0.0)
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(
            "one answer of each model a case is needed. "
            f"Received: shapes {first.shape} and {second.shape}."
        )
    total = len(first)
    better = int(np.sum(first & ~second))
    worse = int(np.sum(second & ~first))
    shares = np.array([better, worse, total - better - worse], float) / total
    draws: NDArray[Any] = np.random.default_rng(seed).multinomial(total, shares, resamples)
    differences = (draws[:, 0] - draws[:, 1]) / total
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return (better - worse) / total, float(low), float(high)
