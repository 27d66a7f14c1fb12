"""What answers on scans are worth: by hand, and against another writing of LUNA16's script."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from fieldsight.core.metrics import FROC_RATES
from fieldsight.datasets.nodules import Nodule, Scan
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines.lung import _scores

Place = tuple[float, float, float]
Mark = tuple[float, float, float, float]  # x, y, z, probability


@dataclasses.dataclass(frozen=True, eq=False)
class Marks:
    centres_mm: Any
    diameters_mm: Any
    probabilities: Any


def marks(*rows: Mark, diameters: Sequence[float] | None = None) -> Marks:
    table = np.array(rows, float).reshape(-1, 4)
    sizes = np.full(len(table), 5.0) if diameters is None else np.array(diameters, float)
    return Marks(table[:, :3], sizes, table[:, 3])


def nothing() -> Volume:
    raise AssertionError("no voxel is needed here")


def scan(
    name: str,
    nodules: Sequence[Nodule] = (),
    excluded: Sequence[Nodule] = (),
    *,
    group: str = "",
    cancer: int | None = None,
    marked: bool = True,
) -> Scan:
    return Scan(name, group or name, f"1.2.{name}", tuple(nodules), tuple(excluded), cancer, None,
                nothing, marked=marked)  # fmt: skip


def ball(*centre: float, mm: float = 10.0, kind: str = "", place: str = "") -> Nodule:
    return Nodule((centre[0], centre[1], centre[2]), mm, kind, place)


# The cases of L-12, by hand. One nodule of 10 mm at the origin unless it says otherwise; what is
# wanted: sensitivity where the curve ends, and false positives a scan there.
CASES = {
    "a mark at the centre hits": ([scan("a", [ball(0, 0, 0)])], [marks((0, 0, 0, 0.9))], 1, 0),
    "a mark within it hits": ([scan("a", [ball(0, 0, 0)])], [marks((4.9, 0, 0, 0.9))], 1, 0),
    "a mark at the radius misses": ([scan("a", [ball(0, 0, 0)])], [marks((5, 0, 0, 0.9))], 0, 1),
    "the radius is in space": ([scan("a", [ball(0, 0, 0)])], [marks((3, 3, 3, 0.9))], 0, 1),
    "no mark finds nothing": ([scan("a", [ball(0, 0, 0)])], [marks()], 0, 0),
    "two marks on one nodule are one hit": (
        [scan("a", [ball(0, 0, 0), ball(50, 0, 0)])],
        [marks((1, 0, 0, 0.9), (0, 1, 0, 0.8))], 0.5, 0,
    ),
    "one mark on two nodules hits both": (
        [scan("a", [ball(0, 0, 0), ball(6, 0, 0)])], [marks((3, 0, 0, 0.9))], 1, 0,
    ),
    "an excluded finding is neither": (
        [scan("a", [ball(0, 0, 0)], [ball(50, 0, 0)])],
        [marks((0, 0, 0, 0.9), (51, 0, 0, 0.8))], 1, 0,
    ),
    "a nodule goes before an excluded finding": (
        [scan("a", [ball(0, 0, 0)], [ball(2, 0, 0)])], [marks((1, 0, 0, 0.9))], 1, 0,
    ),
    "a scan without nodules counts": (
        [scan("a", [ball(0, 0, 0)]), scan("b")], [marks((0, 0, 0, 0.9)), marks((9, 9, 9, 0.8))],
        1, 0.5,
    ),
    "another scan's nodule isn't hit": (
        [scan("a", [ball(0, 0, 0)]), scan("b")], [marks(), marks((0, 0, 0, 0.8))], 0, 0.5,
    ),
    "a scan that nobody marked is left out": (
        [scan("a", [ball(0, 0, 0)]), scan("b", marked=False)],
        [marks((0, 0, 0, 0.9)), marks((9, 9, 9, 0.95))], 1, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_hits_and_what_does_not(case: str) -> None:  # L-12
    cases, answers, sensitivity, alarms = CASES[case]
    curve = _scores.free_response(cases, answers).curve()
    assert (curve[1][-1], curve[0][-1]) == (sensitivity, alarms)
    assert (curve[0][0], curve[1][0]) == (0, 0)  # joined to the origin


def test_a_curve_by_hand() -> None:  # L-12
    # Two scans, two nodules. By falling probability: hit 0.9, alarm 0.8, hit 0.7, alarm 0.6.
    cases = [scan("a", [ball(0, 0, 0), ball(50, 0, 0)]), scan("b")]
    answers = [marks((0, 0, 0, 0.9), (50, 0, 0, 0.7)), marks((0, 0, 0, 0.8), (9, 0, 0, 0.6))]
    result = _scores.free_response(cases, answers)
    # 1/2 at 1/8 and 1/4; straight up to 1 at 1/2, where the second alarm isn't reached yet.
    assert result.sensitivity().tolist() == [0.5, 0.5, 1, 1, 1, 1, 1]
    scores = _scores.score(cases, answers, threshold=0.75)
    assert scores.figures["test_cpm"] == pytest.approx(6 / 7)
    assert scores.figures["test_found"] == 1
    assert scores.figures["test_missed"] == 1
    assert scores.figures["test_alarms_a_scan"] == 0.5
    assert scores.figures["test_scans_without_alarm"] == 1


# A second implementation: the algorithm of LUNA16's evaluation script, noduleCADEvaluationLUNA16.py
# (evaluateCAD and computeFROC; Setio et al., 2017), written anew in its own order of steps: nodules
# take their marks out of the scan's list, with a probability of -1e9 for a missed one; what is left
# is a false positive unless it lies on an excluded finding; scikit-learn's ROC curve of the list of
# both, with excluded marks taken out of it, gives the steps; false positives a scan come from its
# false positive rate; and the points are joined to (0, 0) by interpolation from there.

MISSED = -1e9


def luna16(cases: Sequence[Scan], answers: Sequence[Marks]) -> tuple[Any, Any]:
    truth: list[float] = []
    said: list[float] = []
    nodules = 0
    for case, one in zip(cases, answers, strict=True):
        left = dict(
            enumerate(zip(one.centres_mm.tolist(), one.probabilities.tolist(), strict=True))
        )
        kept = dict(left)
        for nodule in case.nodules:
            nodules += 1
            squared = (nodule.diameter_mm / 2.0) ** 2
            hits = []
            for key, ((x, y, z), probability) in kept.items():
                a, b, c = nodule.centre_mm
                if (a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2 < squared:
                    hits.append(probability)
                    left.pop(key, None)
            truth.append(1.0)
            said.append(max(hits) if hits else MISSED)
        for nodule in case.excluded:
            squared = (nodule.diameter_mm / 2.0) ** 2
            for key, ((x, y, z), _) in kept.items():
                a, b, c = nodule.centre_mm
                if (a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2 < squared:
                    left.pop(key, None)
        for _, probability in left.values():
            truth.append(0.0)
            said.append(probability)
    steps = sorted(set(said) - {MISSED}, reverse=True)
    alarms, sensitivity = [0.0], [0.0]
    for step in steps:
        above = [t for t, s in zip(truth, said, strict=True) if s >= step]
        alarms.append((len(above) - sum(above)) / len(cases))
        sensitivity.append(sum(above) / nodules)
    return np.array(alarms), np.array(sensitivity)


places = st.tuples(*[st.integers(0, 6).map(float)] * 3)
nodule_lists = st.lists(
    st.builds(lambda c, d: Nodule(c, d), places, st.sampled_from([2.0, 4.0, 7.0])), max_size=3
)
mark_lists = st.lists(
    st.tuples(places, st.sampled_from([0.1, 0.2, 0.4, 0.5, 0.8, 0.9])), max_size=6
)
scan_lists = st.lists(st.tuples(nodule_lists, nodule_lists, mark_lists), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(scan_lists)
def test_the_curve_is_the_scripts(drawn: list[tuple[Any, Any, Any]]) -> None:  # C-8, L-12
    cases = [scan(str(i), nodules, excluded) for i, (nodules, excluded, _) in enumerate(drawn)]
    answers = [marks(*((*place, p) for place, p in rows)) for _, _, rows in drawn]
    if not any(case.nodules for case in cases):
        return
    alarms, sensitivity = luna16(cases, answers)
    ours = _scores.free_response(cases, answers)
    np.testing.assert_allclose(ours.curve()[0], alarms)
    np.testing.assert_allclose(ours.curve()[1], sensitivity)
    expected = np.interp(FROC_RATES, alarms, sensitivity).mean()
    assert ours.cpm() == pytest.approx(expected)


def test_a_larger_set_agrees_with_the_script() -> None:  # C-8, L-12
    rng = np.random.default_rng(5)
    cases, answers = [], []
    for number in range(40):
        centres = rng.uniform(0, 300, (rng.integers(0, 4), 3))
        nodules = [ball(*centre, mm=float(rng.uniform(3, 20))) for centre in centres]
        excluded = [ball(*centre) for centre in rng.uniform(0, 300, (5, 3))]
        near = [np.array(n.centre_mm) + rng.normal(0, 2.5, 3) for n in (*nodules, *excluded)]
        spots = np.concatenate([np.reshape(near, (-1, 3)), rng.uniform(0, 300, (12, 3))])
        surer = np.arange(len(spots)) < len(nodules)
        chances = np.round(
            np.where(surer, rng.beta(4, 2, len(spots)), rng.beta(1, 3, len(spots))), 3
        )
        cases.append(scan(f"{number:02d}", nodules, excluded))
        answers.append(marks(*np.column_stack([spots, chances]).tolist()))
    alarms, sensitivity = luna16(cases, answers)
    ours = _scores.free_response(cases, answers)
    assert ours.cpm() == pytest.approx(np.interp(FROC_RATES, alarms, sensitivity).mean())
    assert 0.3 < ours.cpm() < 0.9


# Thresholds and calibration


@pytest.mark.parametrize(("alarms", "left"), [(0.5, 1), (1.0, 2), (1.5, 3), (2.0, 4), (9.0, 4)])
def test_a_threshold_allows_so_many_alarms_a_scan(alarms: float, left: int) -> None:  # C-9
    cases = [scan("a", [ball(0, 0, 0)]), scan("b")]
    answers = [marks((0, 0, 0, 0.9), (50, 0, 0, 0.7), (60, 0, 0, 0.5)),
               marks((0, 0, 0, 0.6), (9, 0, 0, 0.4))]  # fmt: skip
    result = _scores.free_response(cases, answers)
    threshold = _scores.threshold_at(result, alarms)
    assert (result.false_positives >= threshold).sum() == left


def test_without_a_mark_there_is_a_threshold() -> None:
    assert _scores.threshold_at(_scores.free_response([scan("a")], [marks()])) == 0.5


def test_what_a_mark_said_and_whether_it_came_true() -> None:
    cases = [scan("a", [ball(0, 0, 0)], [ball(50, 0, 0)]), scan("b", marked=False)]
    answers = [marks((1, 0, 0, 0.9), (2, 0, 0, 0.4), (50, 0, 0, 0.8), (90, 0, 0, 0.3)),
               marks((0, 0, 0, 0.7))]  # fmt: skip
    said, right = _scores.outcomes(cases, answers)
    assert said.tolist() == [0.9, 0.4, 0.3]
    assert right.tolist() == [True, True, False]


# Patients


def patients() -> tuple[list[Scan], list[Marks], list[float]]:
    """Forty patients; cancer goes with suspicion, and less with size."""
    rng = np.random.default_rng(3)
    cases, answers, suspicion = [], [], []
    for number in range(40):
        cancer = int(number % 3 == 0)
        size = float(np.clip(rng.normal(8 + 3 * cancer, 3), 3, 25))
        cases.append(scan(f"{number:02d}", [ball(0, 0, 0, mm=size)], cancer=cancer))
        answers.append(marks((0, 0, 0, 0.9), diameters=[size]))
        suspicion.append(float(1 / (1 + np.exp(-rng.normal(2.0 * cancer - 1.2, 1)))))
    return cases, answers, suspicion


def test_patients_are_scored_as_sklearn_does() -> None:  # C-8, L-15
    cases, answers, suspicion = patients()
    model = _scores.SizeModel(-4.0, 1.3)
    figures = _scores.score(
        cases, answers, threshold=0.5, suspicion=suspicion, size_model=model
    ).figures
    true = [case.cancer for case in cases]
    sizes = [case.nodules[0].diameter_mm for case in cases]
    chances = [1 / (1 + math.exp(4.0 - 1.3 * math.log(1 + size))) for size in sizes]
    assert figures["test_auc"] == pytest.approx(roc_auc_score(true, suspicion))
    assert figures["baseline_test_auc"] == pytest.approx(roc_auc_score(true, sizes))
    assert figures["test_auc_difference"] == pytest.approx(
        roc_auc_score(true, suspicion) - roc_auc_score(true, sizes)
    )
    assert figures["test_log_loss"] == pytest.approx(log_loss(true, suspicion))
    assert figures["baseline_test_log_loss"] == pytest.approx(log_loss(true, chances))
    assert (figures["test_patients"], figures["test_cancers"]) == (40, 14)
    for name in ("test_auc", "test_auc_difference", "test_log_loss"):
        assert figures[f"{name}_low"] < figures[name] < figures[f"{name}_high"]


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    cases, answers, _ = patients()
    sizes = np.array([case.nodules[0].diameter_mm for case in cases])
    suspicion = (sizes / 30 + np.random.default_rng(0).normal(0, 0.005, 40)).clip(0, 1)
    figures = _scores.score(cases, answers, threshold=0.5, suspicion=suspicion.tolist()).figures
    width = figures["test_auc_difference_high"] - figures["test_auc_difference_low"]
    assert width < 0.3 * (figures["test_auc_high"] - figures["test_auc_low"])


def test_a_patients_scans_are_one_patient() -> None:  # C-9
    cases = [scan("a1", group="a", cancer=0), scan("a2", group="a", cancer=1),
             scan("b", cancer=0), scan("c", cancer=None)]  # fmt: skip
    answers = [marks() for _ in cases]
    figures = _scores.score(cases, answers, threshold=0.5, suspicion=[0.2, 0.9, 0.3, 1.0]).figures
    assert (figures["test_patients"], figures["test_cancers"]) == (2, 1)
    assert figures["test_auc"] == 1.0
    assert figures["baseline_test_auc"] == 0.5  # no finding, no diameter: nothing to tell by


def test_labels_of_one_kind_have_no_auc() -> None:
    cases = [scan("a", cancer=0), scan("b", cancer=0)]
    scores = _scores.score(cases, [marks(), marks()], threshold=0.5, suspicion=[0.1, 0.2])
    assert "test_auc" not in scores.figures
    unknown = _scores.score([scan("a")], [marks()], threshold=0.5, suspicion=[0.1])
    assert "test_patients" not in unknown.figures


def test_the_size_model_is_a_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0, 30, 4000)
    true = rng.random(4000) < 1 / (1 + np.exp(5 - 2 * np.log1p(sizes)))
    model = _scores.fit_size(sizes, true)
    assert model.intercept == pytest.approx(-5, abs=0.4)
    assert model.slope == pytest.approx(2, abs=0.2)
    assert _scores.fit_size(np.zeros(0), np.zeros(0))(np.array([5.0])).tolist() == [0.5]


# The whole


def test_the_network_stands_beside_blobs() -> None:
    rng = np.random.default_rng(1)
    cases, ours, theirs = [], [], []
    for number in range(24):
        nodule = ball(*rng.uniform(0, 200, 3), kind="solid", place="wall")
        alarms = [(*spot, p) for spot, p in zip(rng.uniform(0, 200, (6, 3)), rng.random(6) / 2,
                                                strict=True)]  # fmt: skip
        cases.append(scan(f"{number:02d}", [nodule]))
        hit = (*nodule.centre_mm, 0.8)
        ours.append(marks(*alarms, hit))
        theirs.append(marks(*alarms, *([hit] if number % 3 == 0 else [])))
    scores = _scores.score(cases, ours, theirs, threshold=0.6, blobs_threshold=0.45)
    figures = scores.figures
    assert figures["test_cpm"] == 1.0
    assert figures["baseline_test_cpm"] == pytest.approx(1 / 3, abs=0.05)
    assert figures["test_cpm_difference_low"] > 0.3
    assert (figures["test_found"], figures["test_alarms_a_scan"]) == (24, 0)
    assert figures["baseline_test_found"] == 8
    titles = [table.title for table in scores.tables]
    assert titles[0] == "Finding nodules"
    decisions = {row[0]: row for row in scores.tables[1].rows}
    assert str(decisions["network"][2]).startswith("24 of 24 (86 to 100 %)")
    kinds = {row[0] for row in scores.tables[2].rows}
    assert kinds == {"8 to 15 mm", "solid", "on wall"}
    for table in scores.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_patients_are_drawn_with_all_of_their_scans() -> None:  # C-9
    # Two patients of ten scans each, one found and one missed: the interval is all of 0 to 1.
    cases = [scan(f"{g}{k}", [ball(0, 0, 0)], group=g) for g in "ab" for k in range(10)]
    answers = [marks((0, 0, 0, 0.9)) if case.group == "a" else marks() for case in cases]
    figures = _scores.score(cases, answers, threshold=0.5).figures
    assert (figures["test_cpm_low"], figures["test_cpm_high"]) == (0, 1)
    alone = [dataclasses.replace(case, group=case.name) for case in cases]
    narrow = _scores.score(alone, answers, threshold=0.5).figures
    assert narrow["test_cpm_low"] > 0.2


def test_scans_without_any_nodule_have_no_sensitivity() -> None:
    scores = _scores.score([scan("a")], [marks((0, 0, 0, 0.9))], threshold=0.5)
    assert "test_cpm" not in scores.figures
    assert scores.figures["test_alarms_a_scan"] == 1.0
    assert all(len(row) == len(table.columns) for table in scores.tables for row in table.rows)


def test_scans_that_nobody_marked_have_no_free_response() -> None:
    scores = _scores.score(
        [scan("a", marked=False, cancer=1), scan("b", marked=False, cancer=0)],
        [marks(), marks()], threshold=0.5, suspicion=[0.9, 0.1],
    )  # fmt: skip
    assert scores.froc is None
    assert scores.figures["test_auc"] == 1.0
    assert [table.title for table in scores.tables] == ["Rating patients"]


def test_an_answer_a_scan_is_needed() -> None:
    with pytest.raises(ValueError, match="a score and a diameter a scan"):
        _scores.score([scan("a")], [marks()], threshold=0.5, suspicion=[0.1, 0.2])
