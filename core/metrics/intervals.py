"""How sure a score is: intervals of a proportion, a paired difference, and of anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
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


def rate_interval(events: int, exposure: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Garwood's exact interval of a rate, such as false alarms an hour.

    Reference:
        Garwood, Fiducial limits for the Poisson distribution, Biometrika 28, 1936.

    Args:
        events: how many there were.
        exposure: in what time, or on what area; in that unit is the rate.
        confidence: of the interval.

    Raises:
        ValueError: if `events` is negative or `exposure` isn't above 0.

    Example:
        No alarm in a quarter of an hour may still be 14 an hour:

        >>> [round(bound, 2) for bound in rate_interval(0, 0.25)]
        [0.0, 14.76]
    """
    if events < 0 or not exposure > 0:
        raise ValueError(
            "events can't be negative and exposure must be above 0. "
            f"Received: events={events}, exposure={exposure}."
        )
    tail = (1 - confidence) / 2
    low = stats.chi2.ppf(tail, 2 * events) / 2 if events else 0.0
    return float(low / exposure), float(stats.chi2.ppf(1 - tail, 2 * events + 2) / 2 / exposure)


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


Value = TypeVar("Value", float, NDArray[np.float64])


class Interval(NamedTuple, Generic[Value]):
    """A score and the ends of its interval: floats, or arrays of one shape."""

    value: Value
    low: Value
    high: Value


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], Value],
    groups: ArrayLike,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval[Value]:
    """A score's percentile interval, by drawing whole groups again.

    Cases of one patient, flight or scene are alike: drawn one by one they make an interval that
    is too narrow. So groups are drawn with replacement, as many as there are, and a group brings
    all of its cases. A draw for which the statistic is NaN (no positive case among it) is left
    out of the quantiles.

    Reference:
        Davison and Hinkley, Bootstrap methods and their application, 1997, section 3.8: of
        hierarchical data, the outermost level is drawn with replacement, what is in it is kept.

    Args:
        statistic: from the indices of the cases drawn, a case drawn twice named twice, to a
            float or an array of floats; NaN where it has no answer.
        groups: `(n,)` the group of every case; its own number each where cases are independent.
        resamples: how many draws.
        confidence: of the interval.
        seed: of the draws.

    Returns:
        The statistic of all cases, and the ends of its interval; where every draw is NaN, so
        are they.

    Raises:
        ValueError: if there is no case, or confidence isn't between 0 and 1.

    Example:
        Six cases of three patients, each patient's alike:

        >>> right = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
        >>> bootstrap(lambda cases: float(right[cases].mean()), [0, 0, 1, 1, 2, 2])
        Interval(value=0.666..., low=0.0, high=1.0)
    """
    names = np.asarray(groups)
    if names.ndim != 1 or not len(names):
        raise ValueError(f"the group of one case at least is needed. Received: {names.shape}.")
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(
            "confidence must lie between 0 and 1, and one resample be drawn. "
            f"Received: confidence={confidence}, resamples={resamples}."
        )
    numbers = np.unique(names, return_inverse=True)[1]
    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    rng = np.random.default_rng(seed)
    value = statistic(np.arange(len(names)))
    drawn = np.array(
        [
            statistic(
                np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
            )
            for _ in range(resamples)
        ],
        np.float64,
    )
    tail = (1 - confidence) / 2
    low, high = _quantiles(drawn, tail), _quantiles(drawn, 1 - tail)
    if isinstance(value, np.ndarray):
        return Interval(value, low, high)
    return Interval(value, float(low), float(high))


def _quantiles(drawn: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Along the first axis, NaN left out, and without a warning where all are."""
    flat = drawn.reshape(len(drawn), -1)
    columns = [column[~np.isnan(column)] for column in flat.T]
    ends = [np.quantile(column, share) if len(column) else np.nan for column in columns]
    return np.array(ends).reshape(drawn.shape[1:])
