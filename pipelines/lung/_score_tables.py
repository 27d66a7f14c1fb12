"""The tables of the scores, for the terminal and a run's page."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.metrics import Froc, proportion_interval
from fieldsight.pipelines._report import Table

Array = NDArray[Any]
Limits = tuple[float, float | None]  # from which the network's and the blobs' marks are findings

DIAMETERS_MM = (0.0, 6.0, 8.0, 15.0, np.inf)  # where Lung-RADS changes its category


def between(figures: Mapping[str, float], name: str, digits: int = 3) -> str:
    """A figure with its interval, or nothing where there is none."""
    if name not in figures or np.isnan(figures[name]):
        return ""
    value, low, high = (figures[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def nodules(figures: Mapping[str, float], prefix: str) -> Table:
    """CPM, and the sensitivity at 1 false positive a scan, of each method."""
    count = f"{figures[f'{prefix}nodules']:.0f} in {figures[f'{prefix}scans']:.0f} scans"
    rows = [_method("network", figures, prefix, count)]
    if f"baseline_{prefix}cpm" in figures:
        rows.append(_method("blobs in the lungs", figures, f"baseline_{prefix}", count))
        rows.append(("difference", between(figures, f"{prefix}cpm_difference"), "", ""))
    columns = ("", "CPM (95 %)", "sensitivity at 1 FP a scan (95 %)", "nodules")
    return Table("Finding nodules", columns, rows)


def _method(title: str, figures: Mapping[str, float], prefix: str, count: str) -> tuple[str, ...]:
    one = between(figures, f"{prefix}sensitivity")
    return title, between(figures, f"{prefix}cpm"), one, count


def decisions(ours: Froc, theirs: Froc | None, limits: Limits) -> Table:
    """What comes of each method's threshold."""
    rows = []
    for title, result, limit in (
        ("network", ours, limits[0]),
        ("blobs in the lungs", theirs, limits[1]),
    ):
        if result is None or limit is None:
            continue
        found = result.found >= limit
        wrong = result.false_positives >= limit
        quiet = result.scans - len(np.unique(result.false_positive_scans[wrong]))
        rows.append(
            (
                title, f"{limit:.3f}", share(int(found.sum()), len(found)),
                str(len(found) - int(found.sum())), str(int(wrong.sum())),
                f"{wrong.sum() / result.scans:.2f}", f"{quiet} of {result.scans}",
            )
        )  # fmt: skip
    columns = ("", "threshold", "found (95 %)", "missed", "false alarms", "a scan",
               "scans without")  # fmt: skip
    return Table("Decisions at the threshold of 1 false alarm a scan on validation", columns, rows)


def share(part: int, whole: int) -> str:
    """So many of so many, with Wilson's interval in percent."""
    if not whole:
        return "0 of 0"
    low, high = proportion_interval(part, whole)
    return f"{part} of {whole} ({100 * low:.0f} to {100 * high:.0f} %)"


def kinds(found_there: Sequence[Any], ours: Froc, theirs: Froc | None, limits: Limits) -> Table:
    """By diameter, kind and place: what was found at the threshold, and CPM with all alarms."""
    rows = []
    for title, chosen in _categories(found_there):
        row = [title, share(int((ours.found[chosen] >= limits[0]).sum()), int(chosen.sum())),
               f"{_part(ours, chosen).cpm():.3f}"]  # fmt: skip
        if theirs is not None and limits[1] is not None:
            found = theirs.found[chosen] >= limits[1]
            row += [share(int(found.sum()), int(chosen.sum())),
                    f"{_part(theirs, chosen).cpm():.3f}"]  # fmt: skip
        rows.append(tuple(row))
    columns: tuple[str, ...] = ("nodules", "found (95 %)", "CPM")
    if theirs is not None and limits[1] is not None:
        columns += ("blobs: found (95 %)", "CPM")
    return Table("By diameter, kind and place", columns, rows)


def _categories(nodules: Sequence[Any]) -> list[tuple[str, Array]]:
    found = []
    for low, high in itertools.pairwise(DIAMETERS_MM):
        chosen = np.array([low <= each.diameter_mm < high for each in nodules], bool)
        ends = f"{low:g} to {high:g} mm" if np.isfinite(high) else f"{low:g} mm and more"
        found.append((ends if low else f"below {high:g} mm", chosen))
    for field in ("kind", "place"):
        for value in sorted({getattr(each, field) for each in nodules} - {""}):
            chosen = np.array([getattr(each, field) == value for each in nodules], bool)
            found.append((f"on {value}" if value in ("wall", "vessel") else value, chosen))
    return [(title, chosen) for title, chosen in found if chosen.any()]


def _part(result: Froc, chosen: Array) -> Froc:
    """Of some nodules alone, with every false alarm."""
    return dataclasses.replace(
        result, found=result.found[chosen], found_scans=result.found_scans[chosen]
    )


def patients(figures: Mapping[str, float], prefix: str) -> list[Table]:
    """AUC and log loss beside the largest diameter; none where no label is known."""
    if f"{prefix}patients" not in figures:
        return []
    count = f"{figures[f'{prefix}cancers']:.0f} of {figures[f'{prefix}patients']:.0f}"
    rows = [
        (title, between(figures, f"{name}auc"), between(figures, f"{name}log_loss"), count)
        for title, name in (("network", prefix), ("largest diameter", f"baseline_{prefix}"))
    ]
    differences = [between(figures, f"{prefix}{name}_difference") for name in ("auc", "log_loss")]
    rows.append(("difference", differences[0], differences[1], ""))
    columns = ("", "AUC (95 %)", "log loss (95 %)", "patients with cancer")
    return [Table("Rating patients", columns, rows)]
