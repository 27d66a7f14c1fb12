"""Temperature, reliability and the bootstrap: against scikit-learn, SciPy, and by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from fieldsight.core.metrics import (
    bootstrap,
    expected_calibration_error,
    fit_temperature,
    reliability,
    top_label,
)

RNG = np.random.default_rng(0)
HONEST = RNG.normal(0, 2, (4000, 5))
LABELS = np.array([RNG.choice(5, p=row) for row in softmax(HONEST, axis=1)])
ANSWERS = RNG.random(4000) < expit(HONEST[:, 0])


def best_on_a_grid(loss: Any, middle: float) -> float:
    grid = middle * np.exp(np.linspace(-0.2, 0.2, 41))
    return float(grid[np.argmin([loss(temperature) for temperature in grid])])


@pytest.mark.parametrize("sureness", [0.5, 1.0, 2.5])
def test_temperature_of_classes_undoes_what_made_them_too_sure(sureness: float) -> None:
    logits = sureness * HONEST
    temperature = fit_temperature(logits, LABELS)
    assert temperature == pytest.approx(sureness, rel=0.05)
    grid = best_on_a_grid(lambda t: log_loss(LABELS, softmax(logits / t, axis=1)), sureness)
    assert temperature == pytest.approx(grid, rel=0.01)


@pytest.mark.parametrize("sureness", [0.5, 2.5])
def test_temperature_of_yes_or_no(sureness: float) -> None:
    logits = sureness * HONEST[:, 0]
    temperature = fit_temperature(logits, ANSWERS)
    assert temperature == pytest.approx(sureness, rel=0.08)
    grid = best_on_a_grid(lambda t: log_loss(ANSWERS, expit(logits / t)), sureness)
    assert temperature == pytest.approx(grid, rel=0.01)
    # Tags are questions of their own, all by one temperature.
    tags, answers = np.column_stack([logits] * 2), np.column_stack([ANSWERS] * 2)
    assert fit_temperature(tags, answers) == pytest.approx(temperature, rel=1e-4)


def test_yes_or_no_is_two_classes() -> None:
    logits = 3 * HONEST[:, 0]
    two = np.column_stack([np.zeros_like(logits), logits])
    expected = fit_temperature(two, ANSWERS.astype(int))
    assert fit_temperature(logits, ANSWERS) == pytest.approx(expected, rel=1e-5)


def test_without_a_best_temperature_it_is_an_end() -> None:
    assert fit_temperature([3.0, -3.0], [1, 0]) == pytest.approx(0.02, rel=1e-3)
    assert fit_temperature([3.0, -3.0], [0, 1]) == pytest.approx(50, rel=1e-3)
    assert 0.02 <= fit_temperature([[0.0, 0.0]], [1]) <= 50


def test_temperatures_that_cannot_be_fitted_are_refused() -> None:
    with pytest.raises(ValueError, match="one case at least"):
        fit_temperature([], [])
    with pytest.raises(ValueError, match="NaN"):
        fit_temperature([1.0, np.nan], [1, 0])
    with pytest.raises(ValueError, match=r"from 0 to 2.*Received: 0 to 3"):
        fit_temperature(np.zeros((2, 3)), [0, 3])
    with pytest.raises(ValueError, match=r"Received: 3 and 2"):
        fit_temperature(np.zeros((2, 3)), [0, 1, 2])


@pytest.mark.parametrize("equal_counts", [False, True])
def test_reliability_is_scikit_learns_curve(equal_counts: bool) -> None:
    said = expit(2 * HONEST[:, 0])
    strategy = "quantile" if equal_counts else "uniform"
    # Thirteen: no quantile falls on a case, where rounding alone would settle its bin.
    true, mean = calibration_curve(ANSWERS, said, n_bins=13, strategy=strategy)
    curve = reliability(said, ANSWERS, bins=13, equal_counts=equal_counts)
    assert curve.counts.sum() == 4000
    assert curve.came_true == pytest.approx(true)
    assert curve.said == pytest.approx(mean)


def test_calibration_error_by_hand() -> None:
    # Ten said 0.9, six came true; thirty said 0.2, nine did: (10 * 0.3 + 30 * 0.1) / 40.
    said, true = [0.9] * 10 + [0.2] * 30, [1] * 6 + [0] * 4 + [1] * 9 + [0] * 21
    assert expected_calibration_error(said, true) == pytest.approx(0.15)
    assert expected_calibration_error(said, true, bins=1) == pytest.approx(0)


def test_temperature_lowers_the_calibration_error() -> None:
    logits = 3 * HONEST
    before = expected_calibration_error(*top_label(softmax(logits, axis=1), LABELS))
    cooled = softmax(logits / fit_temperature(logits, LABELS), axis=1)
    after = expected_calibration_error(*top_label(cooled, LABELS))
    assert before is not None
    assert after is not None
    assert before > 0.1
    assert after < 0.03


def test_empty_bins_are_nan_and_no_case_has_no_error() -> None:
    curve = reliability([0.0, 1.0], [0, 1], bins=3)
    assert curve.counts.tolist() == [1, 0, 1]
    assert np.isnan(curve.said[1])
    assert np.isnan(curve.came_true[1])
    assert expected_calibration_error([], []) is None
    assert reliability([], [], bins=3, equal_counts=True).counts.tolist() == [0, 0, 0]


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: -1 to 2\. Logits need"):
        reliability([2.0, -1.0], [1, 0])
    with pytest.raises(ValueError, match="Received: 0"):
        reliability([0.5], [1], bins=0)
    with pytest.raises(ValueError, match="one shape"):
        reliability([0.5], [1, 0])


# Bootstrap over groups


def test_cases_of_their_own_are_scipys_percentile_bootstrap() -> None:
    values = RNG.exponential(1, 60)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    value, low, high = bootstrap(
        lambda cases: float(values[cases].mean()), np.arange(60), resamples=4000
    )
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_twins_in_a_group_add_no_certainty() -> None:
    values = RNG.normal(0, 1, 40)
    alone = bootstrap(lambda cases: float(values[cases].mean()), np.arange(40))
    twins, groups = np.repeat(values, 5), np.repeat(np.arange(40), 5)
    together = bootstrap(lambda cases: float(twins[cases].mean()), groups)
    assert together == pytest.approx(alone)
    apart = bootstrap(lambda cases: float(twins[cases].mean()), np.arange(200))
    assert apart.high - apart.low < 0.6 * (together.high - together.low)


@settings(max_examples=30)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=20))
def test_a_group_is_drawn_whole_and_as_many_as_there_are(groups: list[str]) -> None:
    sizes = {name: groups.count(name) for name in set(groups)}

    def whole(cases: Any) -> float:
        drawn = 0.0
        for name, size in sizes.items():
            times = np.bincount(cases, minlength=len(groups))[np.array(groups) == name]
            assert len(set(times.tolist())) == 1
            drawn += times.sum() / size
        return drawn

    assert bootstrap(whole, groups, resamples=20) == (len(sizes),) * 3


def test_arrays_have_intervals_of_their_shape() -> None:
    values = RNG.normal([0.0, 5.0], 1, (50, 2))
    interval = bootstrap(lambda cases: values[cases].mean(axis=0), np.arange(50))
    assert interval.value == pytest.approx(values.mean(axis=0))
    assert np.all(interval.low < interval.value)
    assert np.all(interval.value < interval.high)


def test_draws_without_an_answer_are_left_out() -> None:
    positive = np.array([1.0, 0.0, 0.0])

    def share(cases: Any) -> float:
        return 1.0 if positive[cases].any() else np.nan

    assert bootstrap(share, [0, 1, 2]) == (1, 1, 1)
    nothing = bootstrap(lambda cases: np.nan, [0, 1, 2])
    assert np.isnan(nothing).all()


def test_the_seed_settles_the_draws() -> None:
    values = RNG.normal(0, 1, 30)

    def mean(cases: Any) -> float:
        return float(values[cases].mean())

    assert bootstrap(mean, np.arange(30), seed=4) == bootstrap(mean, np.arange(30), seed=4)
    assert bootstrap(mean, np.arange(30), seed=4) != bootstrap(mean, np.arange(30), seed=5)


def test_no_case_and_no_confidence_are_refused() -> None:
    with pytest.raises(ValueError, match="one case at least"):
        bootstrap(lambda cases: 0.0, [])
    with pytest.raises(ValueError, match="Received: confidence=95"):
        bootstrap(lambda cases: 0.0, [1], confidence=95)
