"""The test patients, scored once: the network beside blobs, and beside the largest diameter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.metrics import bootstrap
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines._report import Table
from fieldsight.pipelines.lung import _blobs, _detector, _scores, _segmenter
from fieldsight.pipelines.lung._cases import Case
from fieldsight.pipelines.lung._cohort import Cohort
from fieldsight.pipelines.lung._reading import LungModel, Marks
from fieldsight.pipelines.lung._scores import Scores, SizeModel
from fieldsight.pipelines.lung._stages import Trained

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Read:
    """What a model says of some scans.

    Attributes:
        cases: the scans.
        marks: of each.
        largest_mm: `(scans,)` of the findings of each, outlined; 0 without any.
        dice: `(n,)` of the nodules that were found.
        dice_groups: their patients.
    """

    cases: tuple[Case, ...]
    marks: tuple[Marks, ...]
    largest_mm: Array
    dice: Array
    dice_groups: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The scores.

    Attributes:
        figures: by the names that they are tracked by.
        tables: for the terminal and the page.
        scores: of the test patients.
        blobs: how they were told from what isn't one.
        example: the number of the test patient to be shown.
    """

    figures: dict[str, float]
    tables: tuple[Table, ...]
    scores: Scores
    blobs: _blobs.Plan
    example: int


def compare(trained: Trained, cohort: Cohort) -> Comparison:
    """Tune the blobs on the validation scans, then score everything on the test, once."""
    model = trained.model
    plan, val_blobs, found_blobs = _blobs.tune(cohort.val)
    followed = [case for case in cohort.val if case.marked]
    limit = _scores.threshold_at(_scores.free_response(followed, found_blobs))
    sizes = size_model(trained, cohort.val)
    figures = {
        "val_cpm": _scores.free_response(cohort.val, trained.val).cpm(),
        "baseline_val_cpm": val_blobs,
    }
    test = read(model, cohort.test)
    found = scores_of(
        model, test, blobs=_blobs.find_all(cohort.test, plan), limit=limit, sizes=sizes
    )
    figures |= found.figures
    tables = list(found.tables)
    if cohort.other:
        other = scores_of(
            model, read(model, cohort.other), blobs=_blobs.find_all(cohort.other, plan),
            limit=limit, sizes=sizes, prefix="other_",
        )  # fmt: skip
        figures |= other.figures
        title, columns, rows = other.tables[0]
        tables.append(Table(f"Another setting, never trained on: {title}", columns, rows))
    figures = {name: value for name, value in figures.items() if np.isfinite(value)}
    return Comparison(figures, tuple(tables), found, plan, _example(test, model.threshold))


def scores_of(
    model: LungModel,
    found: Read,
    *,
    blobs: Sequence[_blobs.Blobs] | None = None,
    limit: float | None = None,
    sizes: SizeModel | None = None,
    prefix: str = "test_",
) -> Scores:
    """What a model's answers are worth, its outlines too."""
    scores = _scores.score(
        found.cases, found.marks, blobs, threshold=model.threshold, blobs_threshold=limit,
        suspicion=[one.patient for one in found.marks], largest_mm=found.largest_mm.tolist(),
        size_model=sizes, prefix=prefix,
    )  # fmt: skip
    if not len(found.dice):
        return scores
    value, low, high = bootstrap(lambda drawn: float(found.dice[drawn].mean()), found.dice_groups)
    name, count = f"{prefix}dice", len(found.dice)
    figures = {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_nodules": count}
    row = ("Dice", f"{value:.3f}", f"{low:.3f} to {high:.3f}", str(count))
    columns = ("masks", "mean", "95 % interval", "nodules found")
    table = Table("Outlines of the nodules that were found", columns, [row])
    return dataclasses.replace(
        scores, figures={**scores.figures, **figures}, tables=(*scores.tables, table)
    )


def size_model(trained: Trained, val: Sequence[Case]) -> SizeModel:
    """From the largest diameter to a probability, fitted on the validation patients."""
    found = read(trained.model, val, trained.val)
    known = np.array([case.cancer is not None for case in val], bool)
    cancer = np.array([case.cancer or 0 for case in val])
    return _scores.fit_size(found.largest_mm[known], cancer[known])


def read(model: LungModel, cases: Sequence[Case], marks: Sequence[Marks] | None = None) -> Read:
    """What a model says of scans, each read once; its marks may be known already."""
    marks = tuple(model.read(case) for case in cases) if marks is None else tuple(marks)
    largest, scores, groups = [], [], []
    for case, one in zip(cases, marks, strict=True):
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
        groups += [case.group] * len(found)
    return Read(tuple(cases), marks, np.array(largest), np.array(scores), tuple(groups))


def _dices(
    case: Case, centres_mm: Array, outlines: Sequence[_segmenter.Outline | None]
) -> Iterator[float]:
    """Dice of each nodule that a finding hits, by the likeliest that does, on the prepared grid."""
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


def _example(test: Read, threshold: float) -> int:
    """The patient with the most nodules found, the fewest false alarms among equals."""
    scores = []
    for case, one in zip(test.cases, test.marks, strict=True):
        kept = one.centres_mm[one.probabilities >= threshold]
        found = int(_detector.is_near(case, kept).sum())
        scores.append(found - 0.1 * (len(kept) - found))
    return int(np.argmax(scores))
