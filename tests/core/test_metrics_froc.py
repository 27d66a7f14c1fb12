"""FROC by hand, and against another writing of LUNA16's rules on scikit-learn's ROC curve."""

import math
from collections.abc import Mapping, Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from fieldsight.core.metrics import FROC_RATES, Froc, froc

Spots = Sequence[tuple[float, ...]]
Scan = Mapping[str, Spots]


def scored(scans: list[Scan], marks_per_scan: int | None = 100) -> Froc:
    """Each nodule and excluded finding is (x, y, z, radius), each mark (x, y, z, probability)."""

    def centres(kind: str) -> list[Spots]:
        return [[row[:3] for row in scan.get(kind, [])] for scan in scans]

    def last(kind: str) -> list[list[float]]:
        return [[row[3] for row in scan.get(kind, [])] for scan in scans]

    return froc(
        centres("nodules"),
        centres("marks"),
        radii=last("nodules"),
        probabilities=last("marks"),
        excluded=centres("excluded"),
        excluded_radii=last("excluded"),
        marks_per_scan=marks_per_scan,
    )


def test_a_curve_by_hand() -> None:
    # Two scans, one without a nodule. By falling probability: a false positive at 0.9 (1/2 a
    # scan), the first nodule at 0.8 (1/2 found), two more false positives at 0.7 and 0.6. The
    # second nodule is missed. Corners: (0, 0), (0.5, 0), (0.5, 0.5), (1, 0.5), (1.5, 0.5).
    result = scored(
        [
            {"nodules": [(0, 0, 0, 3), (50, 0, 0, 3)],
             "marks": [(0, 0, 1, 0.8), (20, 0, 0, 0.7)]},
            {"marks": [(5, 5, 5, 0.9), (9, 9, 9, 0.6)]},
        ]
    )  # fmt: skip
    alarms, sensitivity, thresholds = result.curve()
    assert alarms.tolist() == [0, 0.5, 0.5, 1, 1.5]
    assert sensitivity.tolist() == [0, 0, 0.5, 0.5, 0.5]
    assert thresholds.tolist() == [math.inf, 0.9, 0.8, 0.7, 0.6]
    # 0 at 1/8 and 1/4 (on the line from (0, 0) to (0.5, 0)), then half to the end and beyond.
    assert result.sensitivity().tolist() == [0, 0, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert result.cpm() == pytest.approx(2.5 / 7)


def test_the_curve_is_joined_to_zero_and_straight_between_corners() -> None:
    # The nodule and the first false positive share a probability: a slope from (0, 0) to (1, 1).
    result = scored([{"nodules": [(0, 0, 0, 3)], "marks": [(0, 0, 0, 0.5), (9, 9, 9, 0.5)]}])
    assert result.sensitivity((0, 0.125, 0.5, 1, 8)).tolist() == [0, 0.125, 0.5, 1, 1]
    assert result.cpm() == pytest.approx((0.125 + 0.25 + 0.5 + 4) / 7)


def test_a_doubled_hit_is_one_and_counts_with_its_best_probability() -> None:  # L-12
    nodule, marks = (0, 0, 0, 5), [(0, 0, 1, 0.3), (1, 0, 0, 0.9), (0, 2, 0, 0.5)]
    result = scored([{"nodules": [nodule], "marks": marks}])
    assert result.found.tolist() == [0.9]
    assert result.false_positives.tolist() == []
    assert result.cpm() == 1


def test_marks_on_irrelevant_findings_are_ignored() -> None:  # L-12
    result = scored(
        [
            {"nodules": [(0, 0, 0, 5)], "excluded": [(20, 0, 0, 5), (4, 0, 0, 3)],
             "marks": [(21, 0, 0, 0.99), (3, 0, 0, 0.8), (6, 0, 0, 0.7), (40, 0, 0, 0.1)]},
        ]
    )  # fmt: skip
    # (3, 0, 0) lies on the nodule and on an excluded finding: it is a hit. (6, 0, 0) on the
    # latter alone.
    assert result.found.tolist() == [0.8]
    assert result.false_positives.tolist() == [0.1]


def test_a_mark_at_exactly_the_radius_misses() -> None:
    result = scored([{"nodules": [(0, 0, 0, 3)], "marks": [(0, 0, 3, 0.9), (2, 2, 0.9, 0.5)]}])
    assert result.found.tolist() == [0.5]
    assert result.false_positives.tolist() == [0.9]


def test_a_mark_on_two_nodules_hits_both() -> None:
    result = scored([{"nodules": [(0, 0, 0, 3), (2, 0, 0, 3)], "marks": [(1, 0, 0, 0.9)]}])
    assert result.found.tolist() == [0.9, 0.9]


def test_scans_without_nodules_count() -> None:  # L-12
    nodule: Scan = {"nodules": [(0, 0, 0, 3)], "marks": [(9, 9, 9, 0.9), (0, 0, 0, 0.8)]}
    assert scored([nodule]).sensitivity([0.5]).tolist() == [0]
    assert scored([nodule, {}]).sensitivity([0.5]).tolist() == [1]


def test_no_marks_find_nothing_and_no_nodules_have_no_sensitivity() -> None:
    missed = scored([{"nodules": [(0, 0, 0, 3)]}])
    assert missed.cpm() == 0
    assert missed.curve()[0].tolist() == [0]
    assert np.isnan(scored([{"marks": [(0, 0, 0, 0.5)]}, {}]).cpm())
    assert np.isnan(scored([{}]).cpm())
    with pytest.raises(ValueError, match="one scan at least"):
        scored([])


def test_only_false_positives_are_no_sensitivity() -> None:
    result = scored([{"nodules": [(0, 0, 0, 3)], "marks": [(9, 9, 9, 0.9)]}])
    assert result.sensitivity().tolist() == [0] * 7


def test_of_too_many_marks_those_above_the_next_are_kept() -> None:
    marks = [(float(i), 50.0, 0.0, p) for i, p in enumerate([0.9, 0.2, 0.5, 0.5, 0.5])]
    assert sorted(scored([{"marks": marks}], 2).false_positives) == [0.9]
    assert len(scored([{"marks": marks}], 5).false_positives) == 5
    assert len(scored([{"marks": marks}], None).false_positives) == 5


def test_a_radius_of_minus_one_is_refused_with_what_luna16_means_by_it() -> None:
    with pytest.raises(ValueError, match=r"above 0\. Received: -1.*radius of 5"):
        scored([{"excluded": [(0, 0, 0, -1)], "marks": [(0, 0, 0, 0.5)]}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": [[0.5, 0.6]]}, r"probabilities must be \(1,\)"),
        ({"probabilities": [[np.nan]]}, "NaN"),
        ({"radii": []}, "one entry an image"),
        ({"marks": [[(0, 0)]]}, r"nodules must be \(n, 2\)"),
        ({"excluded": [[]]}, "needed both"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    fit = {"nodules": [[(0, 0, 0)]], "marks": [[(0, 0, 0)]], "radii": [[3]],
           "probabilities": [[0.5]]}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        froc(**{**fit, **change})  # type: ignore[arg-type]


# Against LUNA16's rules written once more, plainly, on scikit-learn's curve


def spots(last: st.SearchStrategy[float], most: int) -> st.SearchStrategy[Spots]:
    place = st.integers(0, 8)
    return st.lists(st.tuples(place, place, place, last), max_size=most)


RADII = st.sampled_from([1.5, 2.0, 3.2])
SCANS = st.lists(
    st.fixed_dictionaries(
        {
            "nodules": spots(RADII, 3),
            "excluded": spots(RADII, 2),
            "marks": spots(st.integers(1, 9), 8),
        }
    ),
    min_size=1,
    max_size=5,
)


def by_the_rules(scans: list[Scan], rates: tuple[float, ...]) -> NDArray[np.float64] | None:
    truth, chances, missed = [], [], 0
    for scan in scans:
        left = dict(enumerate(scan["marks"]))
        for *centre, radius in scan["nodules"]:
            on = {i: m[3] for i, m in enumerate(scan["marks"]) if math.dist(centre, m[:3]) < radius}
            if on:
                truth.append(1)
                chances.append(max(on.values()))
            else:
                missed += 1
            left = {i: m for i, m in left.items() if i not in on}
        for *centre, radius in scan["excluded"]:
            left = {i: m for i, m in left.items() if not math.dist(centre, m[:3]) < radius}
        truth += [0] * len(left)
        chances += [mark[3] for mark in left.values()]
    if 0 not in truth or 1 not in truth:  # scikit-learn has no curve then
        return None
    fpr, tpr, _ = roc_curve(truth, chances)
    alarms = fpr * truth.count(0) / len(scans)
    return np.interp(rates, alarms, tpr * truth.count(1) / (truth.count(1) + missed))


@settings(max_examples=100)
@given(SCANS)
def test_the_curve_is_the_rules(scans: list[Scan]) -> None:
    rates = (*FROC_RATES, 0.3, 1.7)
    expected = by_the_rules(scans, rates)
    if expected is not None:
        assert scored(scans).sensitivity(rates) == pytest.approx(expected)


@settings(max_examples=50)
@given(SCANS, st.randoms())
def test_drawing_scans_is_scoring_them_again(scans: list[Scan], random: Random) -> None:
    drawn = np.array([random.randrange(len(scans)) for _ in scans])
    again = scored([scans[i] for i in drawn]).sensitivity()
    assert scored(scans).sensitivity(drawn=drawn) == pytest.approx(again, nan_ok=True)


def test_intervals_hold_the_score_and_follow_patients() -> None:
    rng = np.random.default_rng(0)
    scans: list[Scan] = []
    for found in (1, 1, 0, 0, 1, 1, 0, 0):
        marks = [(*rng.uniform(20, 90, 3), rng.random()) for _ in range(3)]
        scans.append({"nodules": [(0, 0, 0, 4)], "marks": [*marks, (0, 0, 0, 2.0)][: 3 + found]})
    result = scored(scans)
    assert result.cpm() == pytest.approx(0.5)
    value, low, high = result.cpm_interval(resamples=400)
    assert value == pytest.approx(0.5)
    assert low < 0.4 < 0.6 < high
    # Two patients of four scans, one found throughout, the other never: all, half or none.
    patients = ["a", "a", "b", "b"] * 2
    wide = result.sensitivity_interval([4.0], groups=patients, resamples=400)
    assert (float(wide.value[0]), float(wide.low[0]), float(wide.high[0])) == (0.5, 0.0, 1.0)
    with pytest.raises(ValueError, match="group a scan"):
        result.cpm_interval(groups=["a"])
