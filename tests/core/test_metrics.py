"""Intervals against published values, against statsmodels' formula, and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldsight.core.metrics import paired_difference_interval, proportion_interval


def test_wilson_interval_is_newcombes() -> None:
    # Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine
    # 17, 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
    assert proportion_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert proportion_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_its_proportion(case: tuple[int, int]) -> None:
    successes, total = case
    low, high = proportion_interval(successes, total)
    assert 0 <= low <= successes / total + 1e-12
    assert successes / total - 1e-12 <= high <= 1


def test_nothing_seen_is_nothing_known() -> None:
    assert proportion_interval(0, 0) == (0.0, 1.0)


def test_paired_interval_agrees_with_resampling_the_cases() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random(300) < 0.9, rng.random(300) < 0.8
    index = rng.integers(0, 300, (5000, 300))
    resampled = first[index].mean(axis=1) - second[index].mean(axis=1)
    expected = np.quantile(resampled, [0.025, 0.975])
    middle, low, high = paired_difference_interval(first, second)
    assert middle == pytest.approx(first.mean() - second.mean())
    assert (low, high) == pytest.approx(tuple(expected), abs=0.004)


def test_pairs_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: shapes"):
        paired_difference_interval(np.ones(3, bool), np.ones(4, bool))
