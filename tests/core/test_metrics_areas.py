"""Estimated areas: against the published worked example, by hand, and against a census."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldsight.core.metrics import area_estimates

# Olofsson et al. 2014, table 8: rows deforestation, forest gain, stable forest, stable non-forest
# as mapped; columns as the interpreter saw them.
PUBLISHED = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED_PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES = 0.09  # a pixel of 30 m


def test_d_13_areas_are_the_worked_examples() -> None:
    # Section 5.2: 235,086 pixels plus or minus 68,418; in hectares 21,158 +- 6158, 11,686 +- 3756,
    # 285,770 +- 15,510 and 581,386 +- 16,282.
    found = area_estimates(PUBLISHED, MAPPED_PIXELS * HECTARES).areas
    assert found.value == pytest.approx([21_158, 11_686, 285_770, 581_386], abs=1)
    half = found.value - found.low
    assert half == pytest.approx([6158, 3756, 15_510, 16_282], abs=1.5)
    assert found.high - found.value == pytest.approx(half)


def test_d_13_accuracies_are_the_worked_examples() -> None:
    # The same section, each with its half interval.
    found = area_estimates(PUBLISHED, MAPPED_PIXELS)
    assert found.users.value.round(2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert (1.96 * found.users.standard_error).round(2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert found.producers.value.round(2).tolist() == [0.75, 0.85, 0.93, 0.96]
    assert round(float(found.overall.value), 2) == 0.95
    assert round(1.96 * float(found.overall.standard_error), 2) == 0.02


def test_the_error_of_the_producers_accuracy_is_that_of_samples_drawn_again() -> None:
    # Equation 7 linearises a ratio; drawn again and again, each stratum by its own rates, the
    # ratio itself spreads as much. Of forest gain, skewed by a single unit, a little less.
    units = PUBLISHED.sum(axis=1)
    rng = np.random.default_rng(0)
    rows = [
        rng.multinomial(n - 1, row / n, 4000) / (n - 1)
        for n, row in zip(units, PUBLISHED, strict=True)
    ]
    shares = np.stack(rows, axis=1) * (MAPPED_PIXELS / MAPPED_PIXELS.sum())[:, None]
    drawn = np.diagonal(shares, axis1=1, axis2=2) / shares.sum(axis=1)
    error = area_estimates(PUBLISHED, MAPPED_PIXELS).producers.standard_error
    assert error == pytest.approx(drawn.std(axis=0), rel=0.1)


def test_the_adjusted_areas_add_up_to_the_mapped_ones() -> None:
    found = area_estimates(PUBLISHED, MAPPED_PIXELS)
    assert found.areas.value.sum() == pytest.approx(10_000_000)
    assert found.shares.sum() == pytest.approx(1)


def test_a_sample_that_agrees_leaves_the_areas_as_they_are() -> None:
    found = area_estimates(np.diag([5, 7]), [30.0, 70.0])
    assert found.areas.value.tolist() == [30.0, 70.0]
    assert found.areas.standard_error.tolist() == [0.0, 0.0]
    assert found.overall.high == 1


def test_a_class_that_is_nowhere_mapped_is_estimated_but_has_no_users_accuracy() -> None:
    # 2 of 10 units of class 0 are class 1, which isn't mapped: 20 of 100 hectares.
    found = area_estimates([[8, 2], [0, 0]], [100.0, 0.0])
    assert found.areas.value.tolist() == pytest.approx([80, 20])
    assert np.isnan(found.users.value[1])
    assert found.producers.value[1] == 0


def test_one_unit_says_nothing_of_its_spread_unless_it_is_the_whole_stratum() -> None:
    alone = area_estimates([[1, 0], [1, 9]], [10.0, 90.0])
    assert np.isnan(alone.areas.standard_error).all()
    whole = area_estimates([[1, 0], [1, 9]], [10.0, 90.0], population=[1, 900])
    # By hand: 0.9^2 * 0.1 * 0.9 / 9 * (1 - 10 / 900), of 100 hectares.
    assert whole.areas.standard_error == pytest.approx([100 * (0.0081 * 890 / 900) ** 0.5] * 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_the_interval_holds_the_truth_as_often_as_it_says(seed: int) -> None:
    # A made-up country, drawn from a thousand times: 95 % of intervals hold the true area.
    rng = np.random.default_rng(seed)
    rates = np.array([[0.8, 0.2], [0.1, 0.9]])
    true = 300 * 0.8 + 700 * 0.1
    held = []
    for _ in range(400):
        counts = np.array([rng.multinomial(100, row) for row in rates])
        found = area_estimates(counts, [300.0, 700.0]).areas
        held.append(found.low[0] <= true <= found.high[0])
    assert 0.90 < np.mean(held) < 0.99


@pytest.mark.parametrize(
    ("counts", "mapped", "said"),
    [
        ([[1, 2]], [1.0], "must be"),
        ([[1, 0], [0, -1]], [1.0, 1.0], "below 0"),
        ([[1, 0], [0, 0]], [1.0, 1.0], "sampling units"),
        ([[0.5, 0], [0, 1]], [1.0, 1.0], "whole"),
        ([[1, 0], [0, 1]], [0.0, 0.0], "above 0"),
    ],
)
def test_what_cant_be_estimated_is_said(
    counts: list[list[float]], mapped: list[float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        area_estimates(counts, mapped)
