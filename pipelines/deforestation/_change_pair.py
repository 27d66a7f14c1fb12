"""Two dates made comparable: reflectance, one grid, on each other, of one season (D-11, D-12).

Whatever would make a difference that isn't on the ground is refused, mended where that was asked
for, or told.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from fieldsight.datasets import coregistration
from fieldsight.datasets.grids import same_grid
from fieldsight.datasets.scenes.aligned import Aligned, overlap
from fieldsight.pipelines._errors import CommandError

if TYPE_CHECKING:
    from fieldsight.datasets.coregistration import Shift
    from fieldsight.datasets.scenes import Scene

TOLERANCE_PX = 0.5  # what two dates may lie apart
LEAST_OVERLAP = 1e-6  # of the earlier scene
SEASON_DAYS = 45  # of the year, that two dates of one season are apart at most
COMPARED = ("nir", "red", "green", "swir1")  # the first of these is compared: the sharpest


@dataclasses.dataclass(frozen=True)
class Compared:
    """Two dates on one grid.

    Attributes:
        before: the earlier scene.
        after: the later one, on the earlier one's grid.
        shift: where the later one lay, before it was moved; None where it couldn't be measured.
        overlap: share of the earlier scene that the later one covers.
        notes: what must be known, a sentence each.
    """

    before: Scene
    after: Scene
    shift: Shift | None
    overlap: float
    notes: tuple[str, ...]

    @property
    def span(self) -> str:
        """The two dates, as they are told."""
        dates = (self.before.date, self.after.date)
        return " to ".join("date unknown" if date is None else date.isoformat() for date in dates)


def compared(before: Scene, after: Scene, *, resample: bool) -> Compared:
    """Make two scenes comparable, or say why they aren't.

    Args:
        before: the earlier scene.
        after: the later one.
        resample: whether the later one may be brought onto the earlier one's grid, and moved by
            what it lies apart.

    Raises:
        DataError: if one isn't georeferenced.
        CommandError: if one isn't reflectance by its metadata, the two are of other levels, the
            dates are in the wrong order, they don't overlap, have two grids, or lie apart, and
            `resample` wasn't asked for.
    """
    _check_reflectance(before, after)
    notes = [*before.notes, *(note for note in after.notes if note not in before.notes)]
    notes += _season(before.date, after.date)
    if before.sensor != after.sensor:
        notes.append(
            f"two sensors, {before.sensor or 'one unknown'} and {after.sensor or 'one unknown'}: "
            "their bands aren't quite the same"
        )
    for when, scene in (("earlier", before), ("later", after)):
        if not scene.has_clouds:
            notes.append(
                f"the {when} scene has no mask of clouds: what they hide, or their shadows, may be "
                "taken for change"
            )
    covered = overlap(before.grid, after.grid)
    if covered < LEAST_OVERLAP:
        raise CommandError(
            f"two scenes of one place were needed. Received: {before.name} and {after.name}, which "
            f"don't overlap: {_place(before)} and {_place(after)}."
        )
    if covered < 0.999:
        notes.append(f"the later scene covers {covered:.0%} of the earlier one")
    moved: Scene = after
    if not same_grid(before.grid, after.grid):
        if not resample:
            raise CommandError(
                f"two scenes on one grid were needed. Received: {_place(before)} of {before.name}, "
                f"and {_place(after)} of {after.name}. Give --resample to bring the later one onto "
                "the earlier one's grid."
            )
        moved = Aligned(after, before.grid)
        notes.append("the later scene was brought onto the earlier one's grid, bilinear")
    return _registered(before, after, moved, covered, notes, resample)


def _registered(
    before: Scene, after: Scene, moved: Scene, covered: float, notes: list[str], resample: bool
) -> Compared:
    band = next((name for name in COMPARED if name in before.bands and name in after.bands), None)
    if band is None:
        raise CommandError(
            f"a band in common was needed, of {', '.join(COMPARED)}. Received: "
            f"{', '.join(before.bands)}, and {', '.join(after.bands)}. Name them with --bands."
        )
    shift = coregistration.measure(before, moved, band)
    if shift is None or not shift.is_sure:
        why = "no clear window shows anything" if shift is None else (
            f"{shift.agreeing} of {shift.windows} windows agree"
        )  # fmt: skip
        if not resample:
            raise CommandError(
                f"two scenes that can be seen to lie on each other were needed. Received: "
                f"{before.name} and {after.name}: {why}. If the provider says that they do, give "
                "--resample to go on all the same; it will be noted."
            )
        notes.append(f"how well the dates lie on each other couldn't be measured: {why}")
        return Compared(before, moved, shift, covered, tuple(notes))
    apart = (
        f"{shift.pixels:.2f} pixels ({shift.rows:+.2f} rows, {shift.columns:+.2f} columns; "
        f"{shift.agreeing} of {shift.windows} windows agree)"
    )
    if shift.pixels <= TOLERANCE_PX:
        notes.append(f"the dates lie on each other to {apart}")
        return Compared(before, moved, shift, covered, tuple(notes))
    if not resample:
        raise CommandError(
            f"two dates that lie on each other to {TOLERANCE_PX} pixels were needed. Received: "
            f"{after.name}, which lies {apart} from {before.name}. Give --resample to move it back."
        )
    put = Aligned(after, before.grid, moved_px=(-shift.rows, -shift.columns))
    left = coregistration.measure(before, put, band)
    if left is None or not left.is_sure or left.pixels > TOLERANCE_PX:
        rest = "nothing that agrees" if left is None else f"{left.pixels:.2f} pixels"
        raise CommandError(
            f"two dates that can be moved onto each other were needed. Received: {after.name}, "
            f"which lay {apart} from {before.name}, and {rest} after it was moved: it is turned or "
            "warped. Have it orthorectified."
        )
    notes.append(f"the later scene lay {apart} from the earlier one, and was moved back")
    return Compared(before, put, shift, covered, tuple(notes))


def _check_reflectance(before: Scene, after: Scene) -> None:
    """Digital numbers of two dates, or of two levels, aren't compared (D-12)."""
    for scene in (before, after):
        if scene.reflectance is None:
            raise CommandError(
                "two scenes whose metadata tell their reflectance were needed. Received: "
                f"{scene.name}, whose {scene.dtype} numbers may mean anything: a difference may be "
                "of the light, not of the ground. Give surface reflectance with its metadata: "
                "Planet's AnalyticMS_SR, Landsat Collection 2 level 2, Sentinel-2 level 2A."
            )
    levels = [scene.reflectance.level for scene in (before, after) if scene.reflectance]
    if len(set(levels)) > 1:
        raise CommandError(
            f"two scenes of one level were needed. Received: {before.name} of the {levels[0]}, and "
            f"{after.name} of the {levels[1]}. The air between would be taken for change: give "
            "both as surface reflectance."
        )


def _season(before: dt.date | None, after: dt.date | None) -> list[str]:
    """Whether the dates are of one season; a note where not, or where nobody knows."""
    if before is None or after is None:
        return ["a date is unknown: seasons weren't compared"]
    if after == before:
        raise CommandError(
            f"scenes of two dates were needed. Received: two of {before.isoformat()}. Name another "
            "scene as the one or the other."
        )
    if after < before:
        raise CommandError(
            f"the earlier scene first was needed. Received: {before.isoformat()}, then "
            f"{after.isoformat()}. Swap them."
        )
    days = abs(before.timetuple().tm_yday - after.timetuple().tm_yday)
    days = min(days, 365 - days)
    if days <= SEASON_DAYS:
        return []
    return [
        f"the dates are {days} days of the year apart: leaves that fell and grass that dried may "
        "be taken for clearing. Compare dates of one season"
    ]


def _place(scene: Scene) -> str:
    left, bottom, right, top = scene.grid.bounds
    crs = scene.grid.crs.to_string()
    return (
        f"{scene.grid.rows} x {scene.grid.columns} pixels from {left:.8g}, {bottom:.8g} to "
        f"{right:.8g}, {top:.8g} ({crs if len(crs) < 40 else 'a CRS of its own'})"
    )
