"""The operating point: which tracks raise an alarm, at so many false ones an hour (W-10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fieldsight.core.metrics import Alarms, proportion_interval
from fieldsight.pipelines.wildlife._tracks import KINDS

PER_HOUR = 10.0  # false alarms that somebody has time to look at


@dataclass(frozen=True)
class Point:
    """Where tracks of one kind raise an alarm, and what that was worth on validation flights.

    Attributes:
        kind: "person", "vehicle" or "animal".
        threshold: of a track's evidence.
        per_hour: the budget that it was chosen for.
        found: validation tracks that raise one.
        tracks: of how many.
        false_alarms: that were raised.
        hours: of validation flights.
        highest_per_hour: false alarms an hour that may be, at 95 %; None where no time passed.
    """

    kind: str
    threshold: float
    per_hour: float
    found: int
    tracks: int
    false_alarms: int
    hours: float
    highest_per_hour: float | None

    @property
    def said(self) -> str:
        """What was measured, and whether the budget could be."""
        if not self.tracks:
            recall = f"no {self.kind} was among the validation flights: nothing is known of recall"
        else:
            low, high = proportion_interval(self.found, self.tracks)
            recall = (
                f"{self.found} of {self.tracks} {self.kind} tracks found on validation flights "
                f"({self.found / self.tracks:.2f}, 95 % interval {low:.2f} to {high:.2f})"
            )
        alarms = f"{self.false_alarms} false alarms in {self.hours:.2f} h"
        if self.highest_per_hour is not None and self.highest_per_hour > self.per_hour:
            alarms += (
                f", which can't show that {self.per_hour:g} an hour hold: up to "
                f"{self.highest_per_hour:.0f} may be"
            )
        return f"{self.kind} from {self.threshold:.2f} on: {recall}; {alarms}"

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


def to_facts(found: Mapping[str, Alarms]) -> dict[str, Any]:
    """What a model's card keeps of validation, so that any budget can be asked of it later."""
    return {
        kind: {
            "objects": len(one.best),
            "best": _listed(one.best[np.isfinite(one.best)]),
            "false": _listed(one.false),
            "repeats": _listed(one.repeats),
            "hours": one.hours,  # whole: a rounded budget may be an alarm less
        }
        for kind, one in found.items()
    }


def from_facts(facts: Mapping[str, Any]) -> dict[str, Alarms]:
    """The way back; names of objects aren't kept.

    Raises:
        KeyError: if it isn't what `to_facts` made.
    """
    found = {}
    for kind, one in facts.items():
        best = np.full(int(one["objects"]), -np.inf)
        best[: len(one["best"])] = one["best"]
        names = tuple(("validation", number) for number in range(len(best)))
        found[kind] = Alarms(
            best, names, np.array(one["false"], float), np.array(one["repeats"], float),
            float(one["hours"]),
        )  # fmt: skip
    return found


def points(
    found: Mapping[str, Alarms],
    per_hour: float = PER_HOUR,
    *,
    kinds: Iterable[str] = KINDS,
    unknown: float | None = None,
) -> dict[str, Point]:
    """The operating point of each kind, chosen on validation: each has the whole budget.

    Args:
        found: of validation flights, by kind.
        per_hour: false alarms an hour, of each kind.
        kinds: that are asked for.
        unknown: the threshold of kinds of which validation had neither an object nor an alarm;
            None leaves them out.

    Raises:
        ValueError: if the budget is negative or no number.
    """
    chosen = {}
    for kind in kinds:
        one = found.get(kind)
        if one is None or not (len(one.best) or len(one.false)):
            if unknown is not None:
                hours = 0.0 if one is None else one.hours
                chosen[kind] = Point(kind, unknown, per_hour, 0, 0, 0, hours, None)
            continue
        threshold = one.threshold_at(per_hour)
        highest = one.per_hour(threshold)[2]
        chosen[kind] = Point(
            kind, threshold, per_hour, int(one.found(threshold).sum()), len(one.best),
            int(np.sum(one.false >= threshold)), one.hours,
            float(highest) if np.isfinite(highest) else None,
        )  # fmt: skip
    return chosen


def _listed(values: Any) -> list[float]:
    """Rounded down, so that a score that was kept passes the threshold that it gives."""
    return [float(np.floor(value * 1e6) / 1e6) for value in np.sort(values)[::-1]]
