"""FROC and CPM, as LUNA16's evaluation defines them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from fieldsight.core.metrics import _checks
from fieldsight.core.metrics.intervals import Interval, bootstrap

Floats = NDArray[np.float64]

# False positives a scan at which LUNA16 reads the sensitivity; their mean is CPM.
FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class Froc:
    """What was found and what was not, scan by scan, and the curve through it.

    Attributes:
        found: `(nodules,)` probability of the best mark on each nodule, -inf on a missed one.
        found_scans: `(nodules,)` the scan of each, from 0.
        false_positives: `(false positives,)` probability of each.
        false_positive_scans: `(false positives,)` the scan of each.
        scans: how many there are, those without nodules too.
    """

    found: Floats
    found_scans: NDArray[np.int64]
    false_positives: Floats
    false_positive_scans: NDArray[np.int64]
    scans: int

    def curve(self, drawn: NDArray[np.int64] | None = None) -> tuple[Floats, Floats, Floats]:
        """The curve's corners from (0, 0) on, marks of equal probability taken together.

        Args:
            drawn: the scans to take, one drawn twice named twice; None for each once.

        Returns:
            False positives a scan, sensitivity and probability of each corner, the last from
            infinity falling. The sensitivity is NaN where there is no nodule at all.
        """
        times = np.ones(self.scans) if drawn is None else np.bincount(drawn, minlength=self.scans)
        scans, is_hit, last, probabilities = self._falling
        weights = times[scans]
        nodules = float(times[self.found_scans].sum())
        hit = np.append(0.0, np.cumsum(weights * is_hit)[last])
        alarm = np.append(0.0, np.cumsum(weights * ~is_hit)[last]) / times.sum()
        sensitivity = hit / nodules if nodules else np.full(len(hit), np.nan)
        return alarm, sensitivity, np.append(np.inf, probabilities)

    @cached_property
    def _falling(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64], Floats]:
        """By falling probability: each mark's scan, whether it hits; where each one's last is.

        Sorted once, for a bootstrap draws the curve a thousand times.
        """
        # A missed nodule stays in the divisor and is never reached by the curve.
        is_found = np.isfinite(self.found)
        values = np.concatenate([self.found[is_found], self.false_positives])
        scans = np.concatenate([self.found_scans[is_found], self.false_positive_scans])
        order = np.argsort(-values, kind="stable")
        values = values[order]
        last = np.flatnonzero(np.append(np.diff(values) != 0, True)) if len(values) else order
        return scans[order], order < is_found.sum(), last, values[last]

    def sensitivity(
        self, rates: Sequence[float] = FROC_RATES, drawn: NDArray[np.int64] | None = None
    ) -> Floats:
        """Sensitivity at each rate of false positives a scan, on straight lines between corners.

        Beyond the last corner it stays at its value; NaN where there is no nodule.

        Args:
            rates: false positives a scan.
            drawn: as `curve`'s.
        """
        alarm, sensitivity, _ = self.curve(drawn)
        return np.interp(rates, alarm, sensitivity)

    def cpm(self, drawn: NDArray[np.int64] | None = None) -> float:
        """The competition performance metric: mean sensitivity at LUNA16's seven rates."""
        return float(self.sensitivity(FROC_RATES, drawn).mean())

    def sensitivity_interval(
        self,
        rates: Sequence[float] = FROC_RATES,
        *,
        groups: ArrayLike | None = None,
        resamples: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> Interval[Floats]:
        """`sensitivity` with its bootstrap interval over scans, or over `groups` of them.

        Args:
            rates: false positives a scan.
            groups: `(scans,)` the patient of each scan; None where each is another's.
            resamples: how many draws.
            confidence: of the interval.
            seed: of the draws.
        """
        return bootstrap(
            lambda drawn: self.sensitivity(rates, drawn), self._groups(groups),
            resamples=resamples, confidence=confidence, seed=seed,
        )  # fmt: skip

    def cpm_interval(
        self,
        *,
        groups: ArrayLike | None = None,
        resamples: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> Interval[float]:
        """`cpm` with its bootstrap interval; arguments as `sensitivity_interval`'s."""
        return bootstrap(
            self.cpm, self._groups(groups),
            resamples=resamples, confidence=confidence, seed=seed,
        )  # fmt: skip

    def _groups(self, groups: ArrayLike | None) -> ArrayLike:
        if groups is None:
            return np.arange(self.scans)
        if np.shape(groups) != (self.scans,):
            raise ValueError(
                f"a group a scan is needed. Received: {np.shape(groups)} for {self.scans} scans."
            )
        return groups


def froc(
    nodules: Sequence[ArrayLike],
    marks: Sequence[ArrayLike],
    *,
    radii: Sequence[ArrayLike],
    probabilities: Sequence[ArrayLike],
    excluded: Sequence[ArrayLike] | None = None,
    excluded_radii: Sequence[ArrayLike] | None = None,
    marks_per_scan: int | None = 100,
) -> Froc:
    """Free-response ROC of marks on scans, by the conventions of LUNA16's evaluation script.

    A mark hits a nodule if it lies nearer to its centre than its radius. Several marks on one
    nodule are one hit, of the best one's probability, and the others are no false positives. A
    mark on two nodules hits both. What hits no nodule but an excluded finding is ignored. Every
    scan counts among the scans, those without nodules too. Of a scan with more than
    `marks_per_scan` only marks above the next one's probability are kept.

    Reference:
        Setio et al., Validation, comparison, and combination of algorithms for automatic
        detection of pulmonary nodules in computed tomography images: the LUNA16 challenge,
        Medical Image Analysis 42, 2017, and its noduleCADEvaluationLUNA16.py. Differs in that
        CPM reads the curve at the seven rates themselves, not at the script's grid of steps of
        0.00084; that intervals are linear percentiles, not the next lower draw; that no hit at
        all is a sensitivity of 0, not NaN; and that a radius must be given: the script takes
        a diameter of -1, which LUNA16's list of excluded findings holds, for 10 mm. The
        script's own mean of the bootstrapped curves isn't computed.

    Args:
        nodules: centres of each scan's nodules, `(nodules, 3)` mm; an empty list for none.
        marks: centres of each scan's marks, `(marks, 3)` mm; of any number of axes, all alike.
        radii: of each scan's nodules, `(nodules,)` mm.
        probabilities: of each scan's marks, `(marks,)`; their order alone counts.
        excluded: centres of findings that are neither right nor wrong, `(findings, 3)` mm.
        excluded_radii: theirs, `(findings,)` mm.
        marks_per_scan: LUNA16's limit; None for none.

    Raises:
        ValueError: if there is no scan, the lists differ in length, a scan's arrays don't fit
            together, a number isn't finite, or a radius isn't above 0.

    Example:
        One nodule of 5 mm, found twice, and a false positive between both marks:

        >>> result = froc(
        ...     [[[0, 0, 0]]], [[[0, 0, 1], [9, 9, 9], [2, 0, 0]]],
        ...     radii=[[5]], probabilities=[[0.9, 0.8, 0.7]],
        ... )
        >>> result.sensitivity([0.5, 1.0]), result.cpm()
        (array([1., 1.]), 1.0)
    """
    _checks.as_many(
        nodules=nodules, marks=marks, radii=radii, probabilities=probabilities,
        excluded=excluded, excluded_radii=excluded_radii,
    )  # fmt: skip
    if (excluded is None) != (excluded_radii is None):
        raise ValueError("excluded and excluded_radii are needed both, or neither. Received: one.")
    if not len(nodules):
        raise ValueError("one scan at least is needed. Received: none.")
    found, false_positives = [], []
    for scan in range(len(nodules)):
        placed = _checks.rows("marks", marks[scan], None)
        chances = _checks.column("probabilities", probabilities[scan], len(placed))
        kept = _kept(chances, marks_per_scan)
        placed, chances = placed[kept], chances[kept]
        near = _near(nodules[scan], radii[scan], placed, "nodules")
        used = near.any(axis=0)
        if excluded is not None and excluded_radii is not None:
            used |= _near(excluded[scan], excluded_radii[scan], placed, "excluded").any(axis=0)
        found.append(np.where(near, chances, -np.inf).max(axis=1, initial=-np.inf))
        false_positives.append(chances[~used])
    return Froc(
        np.concatenate(found),
        np.repeat(np.arange(len(found)), [len(part) for part in found]),
        np.concatenate(false_positives),
        np.repeat(np.arange(len(found)), [len(part) for part in false_positives]),
        len(nodules),
    )


def _kept(chances: Floats, limit: int | None) -> NDArray[np.bool_]:
    """The script's rule: of those equal to the first that is too many, none is kept."""
    if limit is None or len(chances) <= limit:
        return np.ones(len(chances), bool)
    return chances > np.sort(chances)[::-1][limit]


def _near(centres: ArrayLike, radii: ArrayLike, marks: Floats, name: str) -> NDArray[np.bool_]:
    """`(centres, marks)` whether each mark lies within the radius, its border excepted."""
    width = marks.shape[1] if len(marks) else None
    placed = _checks.rows(name, centres, width)
    reach = _checks.column(f"radii of {name}", radii, len(placed))
    if np.any(reach <= 0):
        raise ValueError(
            f"radii of {name} must be above 0. Received: {reach.min():g}. LUNA16 lists unknown "
            "diameters as -1, and scores them as 10 mm: give a radius of 5."
        )
    if not len(placed) or not len(marks):
        return np.zeros((len(placed), len(marks)), bool)
    near: NDArray[np.bool_] = cdist(placed, marks, "sqeuclidean") < reach[:, None] ** 2
    return near
