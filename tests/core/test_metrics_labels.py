"""F2, log loss, ROC, average precision and counts: against scikit-learn, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from fieldsight.core.metrics import (
    average_precision,
    count_errors,
    f_scores,
    log_loss,
    mean_f_score,
    roc_auc,
)

TAGS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=n,
                                   max_size=n)] * 2)
)  # fmt: skip
# Few distinct scores, so that many are equal.
SCORED = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40)


@settings(max_examples=50)
@given(TAGS, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, 1.0]))
def test_f_is_scikit_learns_mean_over_samples(
    tags: tuple[list[list[bool]], list[list[bool]]], beta: float, empty: float
) -> None:
    truth, predicted = (np.array(rows) for rows in tags)
    expected = metrics.fbeta_score(
        truth, predicted, beta=beta, average="samples", zero_division=empty
    )
    assert mean_f_score(truth, predicted, beta=beta, empty=empty) == pytest.approx(expected)


def test_f2_of_an_image_by_hand() -> None:
    # p = 2/3, r = 2/4: 5 * (1/3) / (4 * 2/3 + 1/2) = (5/3) / (19/6) = 10/19.
    assert f_scores([[1, 1, 1, 1, 0]], [[1, 1, 0, 0, 1]]).tolist() == pytest.approx([10 / 19])


def test_zero_cases_of_f2() -> None:  # D-9
    truth = [[1, 0], [0, 0], [0, 0], [1, 0]]
    predicted = [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert f_scores(truth, predicted).tolist() == [0, 0, 0, 0]
    assert f_scores(truth, predicted, empty=1).tolist() == [0, 0, 1, 0]
    assert mean_f_score(np.zeros((0, 3)), np.zeros((0, 3))) is None


def test_probabilities_are_no_tags() -> None:
    with pytest.raises(ValueError, match=r"predicted must be 0 or 1\. Received: 0\.7"):
        f_scores([[1, 0]], [[0.7, 0.0]])
    with pytest.raises(ValueError, match="one shape"):
        f_scores([[1, 0]], [[1, 0, 0]])


@settings(max_examples=60)
@given(SCORED)
def test_roc_and_average_precision_are_scikit_learns(cases: list[tuple[bool, int]]) -> None:
    truth, scores = (np.array(part) for part in zip(*cases, strict=True))
    if truth.any():
        expected = metrics.average_precision_score(truth, scores)
        assert average_precision(truth, scores) == pytest.approx(expected)
    else:
        assert average_precision(truth, scores) is None
    if truth.any() and not truth.all():
        expected = metrics.roc_auc_score(truth, scores)
        assert roc_auc(truth, scores) == pytest.approx(expected)
    else:
        assert roc_auc(truth, scores) is None


def test_no_case_has_no_area() -> None:
    assert roc_auc([], []) is None
    assert average_precision([], []) is None
    assert log_loss([], []) is None
    assert count_errors([], []) is None


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: 1 of 2 NaN"):
        roc_auc([0, 1], [0.5, np.nan])
    with pytest.raises(ValueError, match="Received: 2"):
        average_precision([0, 2], [0.5, 0.1])


def test_log_loss_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    chances, truth = rng.random(50), rng.random(50) < 0.4
    assert log_loss(truth, chances) == pytest.approx(metrics.log_loss(truth, chances))
    rows = rng.dirichlet(np.ones(4), 50)
    labels = rng.integers(0, 4, 50)
    expected = metrics.log_loss(labels, rows, labels=range(4))
    assert log_loss(labels, rows) == pytest.approx(expected)
    assert log_loss(labels, 3 * rows / 4) == pytest.approx(expected)


def test_a_sure_mistake_costs_kaggles_34_5() -> None:
    # -ln(1e-15) = 34.539; on the other side 1 - (1 - 1e-15) is 1.11e-15 in doubles: 34.434.
    assert log_loss([1, 1], [0.0, 1.0]) == pytest.approx(34.5388 / 2, abs=1e-3)
    assert log_loss([0], [1.0]) == pytest.approx(34.5, abs=0.1)


def test_all_at_the_base_rate_costs_its_entropy() -> None:
    assert log_loss([1, 0, 0, 0], [0.25] * 4) == pytest.approx(0.562335, abs=1e-6)


def test_bad_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: -2 to 3.*sigmoid"):
        log_loss([1, 0], [3.0, -2.0])
    with pytest.raises(ValueError, match=r"labels|truth must lie from 0 to 2.*Received: 0 to 3"):
        log_loss([0, 3], np.full((2, 3), 1 / 3))
    with pytest.raises(ValueError, match="row of zeros at 1"):
        log_loss([0, 1], [[1.0, 0.0], [0.0, 0.0]])


def test_count_errors_by_hand() -> None:
    errors = count_errors([10, 0, 4], [7, 2, 4])
    assert errors is not None
    assert errors.mae == pytest.approx(5 / 3)
    assert errors.bias == pytest.approx(-1 / 3)
    assert errors.rmse == pytest.approx(np.sqrt(13 / 3))
    assert (errors.true_total, errors.predicted_total) == (14, 13)
    with pytest.raises(ValueError, match="Received: -1"):
        count_errors([1], [-1])
