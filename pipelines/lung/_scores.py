"""What answers on scans are worth: free response, suspicion, calibration, each with its interval.

A mark hits a nodule if it lies nearer to its centre than its radius; several on one nodule are
one hit; marks on excluded findings are ignored; scans without nodules count (L-12). Whatever is
drawn again is drawn by patients. The blobs stand beside the network, and the largest diameter
beside the score of suspicion (L-15).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from fieldsight.core.metrics import (
    Froc,
    Interval,
    bootstrap,
    expected_calibration_error,
    froc,
    log_loss,
    roc_auc,
)
from fieldsight.pipelines._report import Table
from fieldsight.pipelines.lung import _score_tables

Array = NDArray[Any]

ALARMS = 1.0  # false positives a scan at which the decision table stands
BINS = 10  # of the calibration, with equal counts


class Marked(Protocol):
    """A scan whose nodules somebody looked for, or nobody did."""

    @property
    def nodules(self) -> Sequence[Any]:
        """With centre_mm, diameter_mm, kind and place."""

    @property
    def excluded(self) -> Sequence[Any]:
        """With centre_mm and diameter_mm: neither right nor wrong."""

    @property
    def marked(self) -> bool:
        """Whether somebody looked for nodules."""


class Case(Marked, Protocol):
    """What is known of a scan; `datasets.nodules.Scan` is one."""

    @property
    def group(self) -> str:
        """The patient."""

    @property
    def cancer(self) -> int | None:
        """1 or 0; None if it isn't known."""


class Marks(Protocol):
    """What a method says of a scan."""

    @property
    def centres_mm(self) -> Array:
        """`(n, 3)` LPS."""

    @property
    def diameters_mm(self) -> Array:
        """`(n,)`."""

    @property
    def probabilities(self) -> Array:
        """`(n,)` of being a nodule, or a score between 0 and 1."""


@dataclasses.dataclass(frozen=True)
class SizeModel:
    """The largest diameter as a probability of cancer: logistic in log(1 + mm).

    Attributes:
        intercept: of the logit.
        slope: of the logit.
    """

    intercept: float = 0.0
    slope: float = 0.0

    def __call__(self, largest_mm: Array) -> Array:
        """`(n,)` probabilities of `(n,)` mm, 0 for no finding."""
        logits = self.intercept + self.slope * np.log1p(np.asarray(largest_mm, np.float64))
        return np.asarray(1 / (1 + np.exp(-logits)))


def fit_size(largest_mm: Array, cancer: Array) -> SizeModel:
    """The `SizeModel` of validation patients, held a little towards 0, for they are few.

    Args:
        largest_mm: `(n,)` of each patient's findings; 0 without any.
        cancer: `(n,)` 0 or 1.
    """
    x, y = np.log1p(np.asarray(largest_mm, np.float64)), np.asarray(cancer, np.float64)
    if not len(y):
        return SizeModel()

    def loss(w: Array) -> float:
        logits = w[0] + w[1] * x
        return float((np.logaddexp(0, logits) - y * logits).sum() + 0.05 * w[1] ** 2)

    found = optimize.minimize(loss, np.zeros(2)).x
    return SizeModel(float(found[0]), float(found[1]))


def free_response(cases: Sequence[Marked], marks: Sequence[Marks]) -> Froc:
    """The free response of marks on scans; those that nobody marked are left out.

    Raises:
        ValueError: if no scan was marked, or there aren't marks a scan.
    """
    pairs = [(case, one) for case, one in zip(cases, marks, strict=True) if case.marked]
    return froc(
        [[nodule.centre_mm for nodule in case.nodules] for case, _ in pairs],
        [one.centres_mm for _, one in pairs],
        radii=[[nodule.diameter_mm / 2 for nodule in case.nodules] for case, _ in pairs],
        probabilities=[one.probabilities for _, one in pairs],
        excluded=[[nodule.centre_mm for nodule in case.excluded] for case, _ in pairs],
        excluded_radii=[[one.diameter_mm / 2 for one in case.excluded] for case, _ in pairs],
    )


def threshold_at(result: Froc, alarms: float = ALARMS) -> float:
    """The least probability at which there are at most so many false positives a scan.

    To be chosen on validation scans; those of the test only tell what came of it (C-9).
    """
    values = np.sort(result.false_positives)[::-1]
    allowed = int(np.floor(alarms * result.scans + 1e-9))
    if allowed >= len(values):
        every = np.concatenate([values, result.found[np.isfinite(result.found)]])
        return float(every.min()) if len(every) else 0.5
    return float(np.nextafter(values[allowed], np.inf))


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """What the answers are worth.

    Attributes:
        figures: by the names they are tracked by; an interval's ends are `_low` and `_high`.
        tables: for the terminal and the page.
        froc: the network's; None where no scan was marked.
        blobs: the blobs'; None where there are none.
        groups: the patient of each marked scan.
        said: `(n,)` the network's probabilities of marks that are right or wrong.
        right: `(n,)` bool, which of them hit a nodule.
    """

    figures: Mapping[str, float]
    tables: tuple[Table, ...]
    froc: Froc | None
    blobs: Froc | None
    groups: tuple[str, ...]
    said: Array
    right: Array


def score(
    cases: Sequence[Case],
    marks: Sequence[Marks],
    blobs: Sequence[Marks] | None = None,
    *,
    threshold: float,
    blobs_threshold: float | None = None,
    suspicion: Sequence[float] | None = None,
    largest_mm: Sequence[float] | None = None,
    size_model: SizeModel | None = None,
    prefix: str = "test_",
) -> Scores:
    """Score answers on labelled scans.

    Args:
        cases: the scans with what is known of them.
        marks: what the network says of each.
        blobs: what the blobs say of each; None where they weren't asked.
        threshold: of the network's marks, from which one is a finding; chosen on validation.
        blobs_threshold: the same of the blobs.
        suspicion: `(scans,)` the network's probability that the patient has cancer.
        largest_mm: `(scans,)` of each scan's findings; None takes the marks' own diameters.
        size_model: from the largest diameter to a probability, fitted on validation.
        prefix: of the figures' names.

    Raises:
        ValueError: if there isn't one answer a scan.
    """
    figures: dict[str, float] = {}
    tables: list[Table] = []
    ours = theirs = None
    said, right = np.zeros(0), np.zeros(0, bool)
    groups = tuple(case.group for case in cases if case.marked)
    if groups:
        ours = free_response(cases, marks)
        theirs = None if blobs is None else free_response(cases, blobs)
        said, right = outcomes(cases, marks)
        figures |= _nodule_figures(ours, theirs, groups, prefix)
        figures |= _calibration(said, right, f"{prefix}calibration_error")
        tables.append(_score_tables.nodules(figures, prefix))
        limits = (threshold, blobs_threshold)
        figures |= _decisions(ours, theirs, limits, prefix)
        tables.append(_score_tables.decisions(ours, theirs, limits))
        nodules = [nodule for case in cases if case.marked for nodule in case.nodules]
        tables.append(_score_tables.kinds(nodules, ours, theirs, limits))
    if suspicion is not None:
        sizes = largest(marks, threshold) if largest_mm is None else np.asarray(largest_mm, float)
        figures |= _patient_figures(cases, np.asarray(suspicion, float), sizes, size_model, prefix)
        tables += _score_tables.patients(figures, prefix)
    return Scores(figures, tuple(tables), ours, theirs, groups, said, right)


def largest(marks: Sequence[Marks], threshold: float) -> Array:
    """`(scans,)` the largest diameter of each scan's findings in mm; 0 without any."""
    return np.array(
        [max(one.diameters_mm[one.probabilities >= threshold], default=0.0) for one in marks]
    )


def outcomes(cases: Sequence[Case], marks: Sequence[Marks]) -> tuple[Array, Array]:
    """The probability of each mark and whether it hits a nodule; those on excluded left out."""
    said, right = [np.zeros(0)], [np.zeros(0, bool)]
    for case, one in zip(cases, marks, strict=True):
        if case.marked:
            hits = _is_on(case.nodules, one.centres_mm)
            counts = hits | ~_is_on(case.excluded, one.centres_mm)
            said.append(np.asarray(one.probabilities, float)[counts])
            right.append(hits[counts])
    return np.concatenate(said), np.concatenate(right)


def _is_on(nodules: Sequence[Any], centres_mm: Array) -> Array:
    places = np.asarray(centres_mm, float).reshape(-1, 3)
    near = np.zeros(len(places), bool)
    for nodule in nodules:
        apart = np.linalg.norm(places - np.asarray(nodule.centre_mm), axis=1)
        near |= apart < nodule.diameter_mm / 2
    return near


# Figures


def _nodule_figures(
    ours: Froc, theirs: Froc | None, groups: Sequence[str], prefix: str
) -> dict[str, float]:
    figures = _of_froc(ours, groups, prefix)
    figures |= {f"{prefix}scans": float(ours.scans), f"{prefix}nodules": float(len(ours.found))}
    if theirs is not None:
        figures |= _of_froc(theirs, groups, f"baseline_{prefix}")
        difference = bootstrap(lambda drawn: ours.cpm(drawn) - theirs.cpm(drawn), groups)
        figures |= _named(f"{prefix}cpm_difference", difference)
    return figures


def _of_froc(result: Froc, groups: Sequence[str], prefix: str) -> dict[str, float]:
    """CPM and the sensitivity at 1 false positive a scan; none of it where there is no nodule."""
    if not len(result.found):
        return {}

    def both(drawn: Array) -> Array:
        return np.append(result.sensitivity((ALARMS,), drawn), result.cpm(drawn))

    value, low, high = bootstrap(both, groups)
    return {
        **_named(f"{prefix}sensitivity", Interval(value[0], low[0], high[0])),
        **_named(f"{prefix}cpm", Interval(value[1], low[1], high[1])),
    }


def _decisions(
    ours: Froc, theirs: Froc | None, limits: tuple[float, float | None], prefix: str
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, result, limit in (
        (prefix, ours, limits[0]),
        (f"baseline_{prefix}", theirs, limits[1]),
    ):
        if result is not None and limit is not None:
            found, wrong = int((result.found >= limit).sum()), result.false_positives >= limit
            figures |= {
                f"{name}found": float(found),
                f"{name}missed": float(len(result.found) - found),
                f"{name}alarms_a_scan": float(wrong.sum()) / result.scans,
                f"{name}scans_without_alarm": float(
                    result.scans - len(np.unique(result.false_positive_scans[wrong]))
                ),
            }
    return figures


def _calibration(said: Array, true: Array, name: str) -> dict[str, float]:
    """The expected calibration error, of what are probabilities at all."""
    if not len(said) or said.min() < 0 or said.max() > 1:
        return {}
    error = expected_calibration_error(said, true, bins=BINS, equal_counts=True)
    return {} if error is None else {name: error}


def _patient_figures(
    cases: Sequence[Case],
    suspicion: Array,
    sizes: Array,
    size_model: SizeModel | None,
    prefix: str,
) -> dict[str, float]:
    """Of patients, by the highest of their scans' scores."""
    if not len(cases) == len(suspicion) == len(sizes):
        raise ValueError(
            f"a score and a diameter a scan are needed. Received: {len(suspicion)} and "
            f"{len(sizes)} for {len(cases)} scans."
        )
    known = [index for index, case in enumerate(cases) if case.cancer is not None]
    members: dict[str, list[int]] = {}
    for index in known:
        members.setdefault(cases[index].group, []).append(index)
    true = np.array([max(cases[i].cancer or 0 for i in scans) for scans in members.values()], int)
    figures = {f"{prefix}patients": float(len(true)), f"{prefix}cancers": float(true.sum())}
    if not len(true) or true.min() == true.max():
        return figures if len(true) else {}
    ours = np.array([suspicion[scans].max() for scans in members.values()])
    size = np.array([sizes[scans].max() for scans in members.values()])
    statistics: dict[str, Callable[[Array], float]] = {
        f"{prefix}auc": lambda drawn: _auc(true, ours, drawn),
        f"baseline_{prefix}auc": lambda drawn: _auc(true, size, drawn),
        f"{prefix}auc_difference": lambda drawn: _auc(true, ours, drawn) - _auc(true, size, drawn),
        f"{prefix}log_loss": lambda drawn: _loss(true, ours, drawn),
    }
    if size_model is not None:
        chances = size_model(size)
        statistics |= {
            f"baseline_{prefix}log_loss": lambda drawn: _loss(true, chances, drawn),
            f"{prefix}log_loss_difference": lambda drawn: (
                _loss(true, ours, drawn) - _loss(true, chances, drawn)
            ),
        }
    for name, statistic in statistics.items():
        figures |= _named(name, bootstrap(statistic, np.arange(len(true))))
    return figures | _calibration(ours, true, f"{prefix}patient_calibration_error")


def _auc(true: Array, scores: Array, drawn: Array) -> float:
    value = roc_auc(true[drawn], scores[drawn])
    return np.nan if value is None else value


def _loss(true: Array, chances: Array, drawn: Array) -> float:
    value = log_loss(true[drawn], chances[drawn])
    return np.nan if value is None else value


def _named(name: str, interval: Interval[float]) -> dict[str, float]:
    value, low, high = interval
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
