"""The test patients, scored once: the network beside blobs, and beside the largest diameter."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from fieldsight.core.metrics import bootstrap, froc, log_loss, roc_auc
from fieldsight.core.metrics.froc import Froc
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines._report import Table
from fieldsight.pipelines.lung import _detector, _segmenter
from fieldsight.pipelines.lung._cases import Case
from fieldsight.pipelines.lung._cohort import Cohort
from fieldsight.pipelines.lung._reading import LungModel, Marks
from fieldsight.pipelines.lung._stages import Trained

Array = NDArray[Any]

LARGEST_MM = 1000
DIAMETERS_MM = (0, 5, 7, 10, LARGEST_MM)


@dataclasses.dataclass(frozen=True)
class Read:
    """What was found in some scans, and what is true of them.

    Attributes:
        cases: the scans.
        marks: of each.
        froc: of all.
        largest_mm: `(scans,)` of the findings of each; 0 without any.
        dice: `(n,)` of the nodules that were found.
        dice_scans: `(n,)` their scans.
    """

    cases: tuple[Case, ...]
    marks: tuple[Marks, ...]
    froc: Froc
    largest_mm: Array
    dice: Array
    dice_scans: Array


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The scores.

    Attributes:
        figures: by the names that they are tracked by.
        tables: for the terminal and the page.
        test: the network on the test patients.
        blobs: the blobs on them.
        example: the number of the test patient to be shown.
    """

    figures: Mapping[str, float]
    tables: Sequence[Table]
    test: Read
    blobs: Froc
    example: int


def compare(trained: Trained, cohort: Cohort, blobs: Sequence[Any]) -> Comparison:
    """Score everything.

    Args:
        trained: the model, and what it says of the validation scans.
        cohort: the patients.
        blobs: of each test scan, what has `centres_mm` and `probabilities`.
    """
    model = trained.model
    val = froc_of(cohort.val, trained.val)
    test = read(model, cohort.test)
    baseline = froc_of(test.cases, blobs)
    figures = {"val_cpm": val.cpm(), **froc_figures(test.froc, test.cases, "test_")}
    figures |= froc_figures(baseline, test.cases, "baseline_test_")
    figures |= _difference("test_cpm_difference", test.cases, test.froc.cpm, baseline.cpm)
    by_size = _by_size(model, cohort.val, trained.val)
    figures |= patient_figures(test, by_size)
    figures |= dice_figures(test)
    tables = [
        _nodule_table(figures),
        *_patient_tables(figures),
        _kinds(test, model),
    ]
    if cohort.other:
        other = read(model, cohort.other)
        figures |= froc_figures(other.froc, other.cases, "other_")
        tables[0] = _nodule_table(figures)
    figures = {name: value for name, value in figures.items() if np.isfinite(value)}
    return Comparison(figures, tables, test, baseline, _example(test, model.threshold))


def scores_of(found: Read, model: LungModel) -> tuple[dict[str, float], list[Table]]:
    """Figures and tables of scans of a user's, the largest diameter beside the patients' score."""
    figures = froc_figures(found.froc, found.cases, "test_")
    figures |= patient_figures(found, None) | dice_figures(found)
    tables = [_nodule_table(figures), *_patient_tables(figures), _kinds(found, model)]
    return {name: value for name, value in figures.items() if np.isfinite(value)}, tables


def read(model: LungModel, cases: Sequence[Case]) -> Read:
    """What a model says of scans, each read once."""
    marks = tuple(model.read(case) for case in cases)
    largest, scores, scans = [], [], []
    for number, (case, one) in enumerate(zip(cases, marks, strict=True)):
        kept = np.flatnonzero(one.probabilities >= model.threshold)
        grid = Volume(np.broadcast_to(np.int16(0), case.image.shape), case.affine)
        outlines = model.outlines(case, one.centres_mm[kept], grid)
        sizes = [
            one.diameters_mm[k] if drawn is None else drawn.diameter_mm
            for k, drawn in zip(kept, outlines, strict=True)
        ]
        largest.append(max(sizes, default=0.0))
        found = list(_dices(case, one.centres_mm[kept], outlines))
        scores += found
        scans += [number] * len(found)
    return Read(
        tuple(cases), marks, froc_of(cases, marks), np.array(largest), np.array(scores),
        np.array(scans, int),
    )  # fmt: skip


def _dices(case: Case, centres_mm: Array, outlines: Sequence[Any]) -> Any:
    """Dice of each outlined nodule that a finding hits, by the likeliest that does."""
    if case.labels is None:
        return
    for label, nodule in enumerate(case.nodules, 1):
        apart = np.linalg.norm(centres_mm - np.asarray(nodule.centre_mm), axis=1)
        hits = np.flatnonzero(apart < nodule.diameter_mm / 2)
        true = np.asarray(case.labels == label)
        if not len(hits) or not true.any():
            continue
        ours = np.zeros(true.shape, bool)
        if (drawn := outlines[hits[0]]) is not None:
            sides = zip(drawn.offset, drawn.mask.shape, strict=True)
            ours[tuple(slice(start, start + side) for start, side in sides)] = drawn.mask
        yield _segmenter.dice(ours, true)


def froc_of(cases: Sequence[Case], marks: Sequence[Any]) -> Froc:
    """The free response of marks on scans, as LUNA16 scores it (L-12)."""
    pairs = [(case, one) for case, one in zip(cases, marks, strict=True) if case.marked]
    return froc(
        [_centres(case.nodules) for case, _ in pairs],
        [one.centres_mm for _, one in pairs],
        radii=[_radii(case.nodules) for case, _ in pairs],
        probabilities=[one.probabilities for _, one in pairs],
        excluded=[_centres(case.excluded) for case, _ in pairs],
        excluded_radii=[_radii(case.excluded) for case, _ in pairs],
    )


def _centres(nodules: Sequence[Any]) -> list[Any]:
    return [nodule.centre_mm for nodule in nodules]


def _radii(nodules: Sequence[Any]) -> list[float]:
    return [nodule.diameter_mm / 2 for nodule in nodules]


def _groups(cases: Sequence[Case]) -> list[str]:
    return [case.group for case in cases if case.marked]


def froc_figures(one: Froc, cases: Sequence[Case], prefix: str) -> dict[str, float]:
    """CPM and the sensitivity at 1 false positive a scan, with intervals over patients."""
    groups = _groups(cases)
    cpm, one_alarm = (
        one.cpm_interval(groups=groups),
        one.sensitivity_interval((1.0,), groups=groups),
    )
    return {
        f"{prefix}cpm": cpm.value,
        f"{prefix}cpm_low": cpm.low,
        f"{prefix}cpm_high": cpm.high,
        f"{prefix}sensitivity": float(one_alarm.value[0]),
        f"{prefix}sensitivity_low": float(one_alarm.low[0]),
        f"{prefix}sensitivity_high": float(one_alarm.high[0]),
        f"{prefix}scans": float(one.scans),
        f"{prefix}nodules": float(len(one.found)),
    }


def _difference(
    name: str, cases: Sequence[Case], ours: Callable[..., float], theirs: Callable[..., float]
) -> dict[str, float]:
    found = bootstrap(lambda drawn: ours(drawn) - theirs(drawn), _groups(cases))
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def patient_figures(test: Read, by_size: Callable[[Array], Array] | None) -> dict[str, float]:
    """AUC and log loss of the patients' score, and of the largest diameter alone (L-15).

    Args:
        test: what was read.
        by_size: from diameters to probabilities; None where nothing was fitted for it.
    """
    known = [i for i, case in enumerate(test.cases) if case.cancer is not None]
    true = np.array([test.cases[i].cancer for i in known], int)
    if not known or true.min() == true.max():
        return {}
    groups = [test.cases[i].group for i in known]
    ours = np.array([test.marks[i].patient for i in known])
    size = test.largest_mm[known]
    chances = np.full(len(size), 0.5) if by_size is None else by_size(size)

    def auc(scores: Array, drawn: Array) -> float:
        value = roc_auc(true[drawn], scores[drawn])
        return np.nan if value is None else value

    figures = {"test_patients": float(len(known)), "test_cancers": float(true.sum())}
    statistics: dict[str, Callable[[Array], float]] = {
        "test_auc": lambda drawn: auc(ours, drawn),
        "baseline_test_auc": lambda drawn: auc(size, drawn),
        "test_auc_difference": lambda drawn: auc(ours, drawn) - auc(size, drawn),
        "test_log_loss": lambda drawn: log_loss(true[drawn], ours[drawn]) or 0.0,
        "baseline_test_log_loss": lambda drawn: log_loss(true[drawn], chances[drawn]) or 0.0,
    }
    if by_size is None:
        del statistics["baseline_test_log_loss"]
    for name, statistic in statistics.items():
        found = bootstrap(statistic, groups)
        figures |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return figures


def _by_size(
    model: LungModel, val: Sequence[Case], marks: Sequence[Marks]
) -> Callable[[Array], Array]:
    """From the largest diameter to a probability, by two numbers fitted on validation."""
    sizes = np.array(
        [max(one.diameters_mm[one.probabilities >= model.threshold], default=0.0) for one in marks]
    )
    known = np.array([case.cancer is not None for case in val], bool)
    true = np.array([case.cancer or 0 for case in val], float)
    x, y = np.log1p(sizes[known]), true[known]

    def loss(w: Array) -> float:
        logits = w[0] + w[1] * x
        return float((np.logaddexp(0, logits) - y * logits).sum() + 0.05 * (w**2).sum())

    w = optimize.minimize(loss, np.zeros(2)).x if known.any() else np.zeros(2)
    return lambda size: np.asarray(1 / (1 + np.exp(-(w[0] + w[1] * np.log1p(size)))))


def dice_figures(test: Read) -> dict[str, float]:
    """Mean Dice of the nodules that were found."""
    if not len(test.dice):
        return {}
    groups = [test.cases[i].group for i in test.dice_scans]
    found = bootstrap(lambda drawn: float(test.dice[drawn].mean()), groups)
    return {
        "test_dice": found.value,
        "test_dice_low": found.low,
        "test_dice_high": found.high,
        "test_dice_nodules": float(len(test.dice)),
    }


def _example(test: Read, threshold: float) -> int:
    """The patient with the most nodules found, fewest false alarms among equals."""
    scores = []
    for case, one in zip(test.cases, test.marks, strict=True):
        kept = one.centres_mm[one.probabilities >= threshold]
        found = int(_detector.is_near(case, kept).sum())
        scores.append(found - 0.1 * (len(kept) - found))
    return int(np.argmax(scores))


# Tables


def _between(figures: Mapping[str, float], name: str, digits: int = 3) -> str:
    if name not in figures:
        return ""
    ends = f"{figures[f'{name}_low']:.{digits}f} to {figures[f'{name}_high']:.{digits}f}"
    return f"{figures[name]:.{digits}f} ({ends})"


def _row(title: str, figures: Mapping[str, float], prefix: str) -> tuple[str, ...]:
    return (
        title,
        _between(figures, f"{prefix}cpm"),
        _between(figures, f"{prefix}sensitivity"),
        f"{figures[f'{prefix}scans']:.0f}",
        f"{figures[f'{prefix}nodules']:.0f}",
    )


def _nodule_table(figures: Mapping[str, float]) -> Table:
    rows = [
        _row("network", figures, "test_"),
    ]
    if "baseline_test_cpm" in figures:
        rows.append(_row("blobs in the lungs", figures, "baseline_test_"))
        rows.append(("difference", _between(figures, "test_cpm_difference"), "", "", ""))
    if "other_cpm" in figures:
        rows.append(_row("network, another setting", figures, "other_"))
    columns = ("nodules", "CPM", "sensitivity at 1 FP a scan", "scans", "nodules")
    return Table("Finding nodules, test patients, scored once", columns, rows)


def _patient_tables(figures: Mapping[str, float]) -> list[Table]:
    tables = []
    if "test_auc" in figures:
        count = f"{figures['test_cancers']:.0f} of {figures['test_patients']:.0f}"
        rows = [
            ("noisy-or", _between(figures, "test_auc"), _between(figures, "test_log_loss"), count),
            (
                "largest diameter", _between(figures, "baseline_test_auc"),
                _between(figures, "baseline_test_log_loss"), count,
            ),
            ("difference", _between(figures, "test_auc_difference"), "", ""),
        ]  # fmt: skip
        columns = ("patients", "AUC", "log loss", "with cancer")
        tables.append(Table("Rating patients", columns, rows))
    if "test_dice" in figures:
        row = ("Dice", _between(figures, "test_dice"), f"{figures['test_dice_nodules']:.0f}")
        tables.append(Table("Outlining what was found", ("masks", "mean", "nodules"), [row]))
    return tables


def _kinds(test: Read, model: LungModel) -> Table:
    """How many were found at the model's threshold, by diameter and by kind."""
    nodules = [nodule for case in test.cases if case.marked for nodule in case.nodules]
    found = test.froc.found >= model.threshold
    rows = []
    for low, high in itertools.pairwise(DIAMETERS_MM):
        chosen = np.array([low <= nodule.diameter_mm < high for nodule in nodules], bool)
        title = f"from {low} to {high} mm" if high < LARGEST_MM else f"from {low} mm"
        rows.append(_found(title, chosen, found))
    for field in ("kind", "place"):
        for value in sorted({getattr(nodule, field) for nodule in nodules} - {""}):
            chosen = np.array([getattr(nodule, field) == value for nodule in nodules], bool)
            rows.append(_found(value, chosen, found))
    rate = len(test.froc.false_positives[test.froc.false_positives >= model.threshold])
    title = f"Found at the model's threshold, {rate / max(1, test.froc.scans):.2f} FP a scan"
    return Table(title, ("nodules", "found", "of"), [row for row in rows if row[2] != "0"])


def _found(title: str, chosen: Array, found: Array) -> tuple[str, str, str]:
    return title, str(int((found & chosen).sum())), str(int(chosen.sum()))
