"""How large classes are, and how good a map of them is, estimated from a stratified sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fieldsight.core.metrics import _checks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimates:
    """Values with their standard errors and the ends of their intervals.

    Attributes:
        value: `(classes,)`, or `()` for the overall accuracy; NaN where there is no answer.
        standard_error: the same shape; NaN where the sample can't tell.
        low: lower end of the interval, at least 0.
        high: upper end; a share's is at most 1.
    """

    value: Array
    standard_error: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class AreaEstimates:
    """What a stratified sample says of a map.

    Attributes:
        shares: `(strata, classes)` the error matrix in shares of the whole area: rows as the map
            has it, columns as the sample's interpreter does.
        areas: of each class, error-adjusted, in the unit of the mapped areas.
        users: user's accuracy: how much of what is mapped as a class is that class.
        producers: producer's accuracy: how much of a class is mapped as such.
        overall: share of the area that is mapped right.
        mapped: `(classes,)` the mapped areas, as they were given.
        sampled: `(classes,)` sampling units by stratum.
    """

    shares: Array
    areas: Estimates
    users: Estimates
    producers: Estimates
    overall: Estimates
    mapped: Array
    sampled: NDArray[np.int64]


def area_estimates(
    counts: ArrayLike,
    mapped: ArrayLike,
    *,
    population: ArrayLike | None = None,
    confidence: float = 0.95,
) -> AreaEstimates:
    """Error-adjusted areas and accuracies of a map whose classes are the strata of the sample.

    Areas counted on a map carry the map's own mistakes. A probability sample, read by an
    interpreter who sees more than the map's maker, corrects them and says how sure that is.

    Reference:
        Olofsson et al., Good practices for estimating area and assessing accuracy of land
        change, Remote Sensing of Environment 148, 2014, equations 1 to 11. Differs in that
        intervals are cut at 0 and, of accuracies, at 1, and in that a stratum of one unit has
        no standard error, where the paper divides by zero.

    Args:
        counts: `(classes, classes)` sampling units: rows are the mapped class, from which they
            were drawn, columns the class that the interpreter saw.
        mapped: `(classes,)` area of each mapped class, in any unit.
        population: `(classes,)` units that each stratum was drawn from, such as its pixels; then
            a stratum that was read whole leaves no doubt. None takes them as without end, as the
            paper does.
        confidence: of the intervals, which are normal.

    Returns:
        Areas and accuracies. A class that is nowhere mapped has no user's accuracy, and one that
        was nowhere seen no producer's: NaN. Where a stratum has one unit, whatever rests on it
        has no standard error: NaN, and an interval without ends.

    Raises:
        ValueError: if shapes don't fit, something is negative, nothing is mapped, or a mapped
            class has no unit: what it really is would be unknown.

    Example:
        The paper's table 8, in pixels of 30 m: 235,086 of deforestation, plus or minus 68,418.

        >>> found = area_estimates(
        ...     [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]],
        ...     [200_000, 150_000, 3_200_000, 6_450_000],
        ... )
        >>> round(float(found.areas.value[0])), round(1.96 * float(found.areas.standard_error[0]))
        (235086, 68418)
    """
    matrix, areas = _checked(counts, mapped, confidence)
    units = matrix.sum(axis=1)
    weights = areas / areas.sum()
    # A stratum without area weighs nothing, whatever stands in its row.
    rates = np.divide(matrix, units[:, None], out=np.zeros_like(matrix), where=units[:, None] > 0)
    shares = weights[:, None] * rates
    spread = _spread(rates, units, weights, population)
    z = float(stats.norm.ppf(0.5 + confidence / 2))

    total = float(areas.sum())
    right = np.diag(shares)
    estimated = shares.sum(axis=0)
    # Equation 10: the variance of a share of the area, over strata.
    area_error = np.sqrt((weights[:, None] ** 2 * spread).sum(axis=0))
    users = np.where(units > 0, np.diag(rates), np.nan)
    users_error = np.sqrt(np.where(units > 0, np.diag(spread), np.nan))
    overall_error = np.sqrt(np.sum(weights**2 * np.diag(spread)))
    producers = np.divide(right, estimated, out=np.full(len(right), np.nan), where=estimated > 0)
    producers_error = _producers_error(producers, estimated, weights, spread)
    return AreaEstimates(
        shares=shares,
        areas=_estimates(estimated * total, area_error * total, z, np.inf),
        users=_estimates(users, users_error, z, 1.0),
        producers=_estimates(producers, producers_error, z, 1.0),
        overall=_estimates(np.asarray(right.sum()), np.asarray(overall_error), z, 1.0),
        mapped=areas,
        sampled=units.astype(np.int64),
    )


def _checked(counts: ArrayLike, mapped: ArrayLike, confidence: float) -> tuple[Array, Array]:
    matrix = _checks.finite("counts", counts, ndim=2)
    areas = _checks.finite("mapped", mapped, ndim=1)
    if matrix.shape != (len(areas), len(areas)) or not len(areas):
        raise ValueError(
            "counts must be (classes, classes), and mapped (classes,). "
            f"Received: {matrix.shape} and {areas.shape}."
        )
    if (matrix < 0).any() or (matrix % 1).any() or (areas < 0).any():
        raise ValueError("counts must be whole, and neither counts nor areas below 0.")
    if not areas.sum() > 0:
        raise ValueError(f"a mapped area above 0 is needed. Received: {areas.tolist()}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1. Received: {confidence}.")
    empty = np.flatnonzero((areas > 0) & (matrix.sum(axis=1) == 0))
    if len(empty):
        raise ValueError(
            f"each mapped class needs sampling units. Received: none of class {empty[0]}, mapped "
            f"on {areas[empty[0]]:g}. Draw some there, or join it to another class."
        )
    return matrix, areas


def _spread(rates: Array, units: Array, weights: Array, population: ArrayLike | None) -> Array:
    """`(strata, classes)` variance of each rate: p (1 - p) / (n - 1); of one unit NaN."""
    variance = rates * (1 - rates)
    left = (units - 1)[:, None]
    spread = np.divide(variance, left, out=np.full_like(rates, np.nan), where=left > 0)
    spread[weights == 0] = 0.0  # no area, so that nothing of it is unsure
    if population is None:
        return spread
    of = _checks.column("population", population, len(units))
    if (of < units).any():
        raise ValueError(
            f"population can't be below the units drawn of it. Received: {of.tolist()} for "
            f"{units.tolist()}."
        )
    # Cochran, Sampling techniques, 1977, section 5.6: the finite population correction.
    unseen = 1 - np.divide(units, of, out=np.zeros_like(units), where=of > 0)
    return np.where(unseen[:, None] == 0, 0.0, spread * unseen[:, None])


def _producers_error(producers: Array, estimated: Array, weights: Array, spread: Array) -> Array:
    """Equation 7, in shares of the area: its own stratum's part, and what others add."""
    every = weights[:, None] ** 2 * spread
    own = np.diag(every)
    others = (every * (1 - np.eye(len(weights)))).sum(axis=0)
    variance = (1 - producers) ** 2 * own + producers**2 * others
    return np.divide(
        np.sqrt(variance), estimated, out=np.full(len(estimated), np.nan), where=estimated > 0
    )


def _estimates(value: Array, error: Array, z: float, most: float) -> Estimates:
    low = np.clip(value - z * error, 0.0, most)
    return Estimates(value, error, low, np.clip(value + z * error, 0.0, most))
