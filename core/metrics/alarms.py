"""Which objects raised an alarm, which didn't, and how many alarms an hour were false."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fieldsight.core.boxes import centres, ignored
from fieldsight.core.boxes.geometry import checked
from fieldsight.core.metrics.intervals import rate_interval
from fieldsight.core.metrics.tracks import Tracks

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

FALSE, UNKNOWN = -1, -2  # of a found track: hits nothing; lies where nobody looked


class Hits(NamedTuple):
    """What the found tracks of one sequence are.

    Attributes:
        true: `(t,)` names of the true tracks, rising.
        found: `(f,)` names of the found tracks, rising.
        hit: `(f,)` the place in `true` of what each found track is of; -1 a false alarm, -2
            where nobody looked.
    """

    true: Indices
    found: Indices
    hit: Indices


def match_tracks(
    truth: Tracks,
    found: Tracks,
    *,
    reach_px: float = 6.0,
    regions: Tracks | None = None,
    share: float = 0.5,
) -> Hits:
    """Say of each found track which true one it is of: that where most of its boxes lie.

    In a frame a found box may be of an object if its centre lies within the object's box, or at
    most `reach_px` beyond, which is what an alarm points at; each is of one, the nearest in all.
    A found track is of the object that most of its boxes are of, if these are at least `share`
    of those that don't lie in regions to be ignored. Several may be of one object.

    Args:
        truth: the true tracks.
        found: what was found.
        reach_px: see above; W-12 asks for pixels, for tiny boxes hardly overlap.
        regions: boxes to be ignored by frame; their tracks aren't looked at.
        share: see above; of a track whose boxes outside of regions are fewer than `share` of
            all, and which is of nothing, nobody knows.

    Raises:
        ValueError: if rows don't fit, or `reach_px` is negative.
    """
    if reach_px < 0:
        raise ValueError(f"reach_px can't be negative. Received: {reach_px}.")
    true, seen = truth.checked("truth"), found.checked("found")
    names, of = np.unique(true.tracks, return_inverse=True)
    found_names, tracks = np.unique(seen.tracks, return_inverse=True)
    votes = np.zeros((len(found_names), len(names)), np.int64)
    unknown = np.zeros(len(found_names), np.int64)
    true_frames, frames = np.asarray(true.frames), np.asarray(seen.frames)
    for frame in np.unique(frames):
        rows = np.flatnonzero(frames == frame)
        known = np.flatnonzero(true_frames == frame)
        boxes = np.asarray(seen.boxes)[rows]
        i, j = _pointed(boxes, np.asarray(true.boxes)[known], reach_px)
        votes[tracks[rows[i]], of[known[j]]] += 1
        free = np.ones(len(rows), bool)
        free[i] = False
        if regions is not None:
            here = checked(regions.boxes)[np.asarray(regions.frames).reshape(-1) == frame]
            np.add.at(unknown, tracks[rows[free & ignored(boxes, here)]], 1)
    lengths = np.bincount(tracks, minlength=len(found_names))
    hit = np.full(len(found_names), FALSE)
    hit[lengths - unknown < share * lengths] = UNKNOWN
    if len(names):
        most = votes.max(axis=1)
        good = (most > 0) & (most >= share * (lengths - unknown))
        hit[good] = votes.argmax(axis=1)[good]
    return Hits(names, found_names, hit)


def _pointed(boxes: Floats, known: Floats, reach_px: float) -> tuple[Indices, Indices]:
    """Pairs of found and true boxes that may be one, each once, the nearest in all."""
    if not len(boxes) or not len(known):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    middle = centres(boxes)
    rank = middle.shape[1]
    inside = (middle[:, None] >= known[None, :, :rank] - reach_px) & (
        middle[:, None] <= known[None, :, rank:] + reach_px
    )
    off = np.linalg.norm(middle[:, None] - centres(known)[None], axis=-1)
    far = float(off.max()) + 1
    value = np.where(inside.all(axis=-1), far * (len(boxes) + 1) - off, 0.0)
    i, j = linear_sum_assignment(value, maximize=True)
    good = value[i, j] > 0
    return i[good].astype(np.int64), j[good].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Alarms:
    """What raised alarms in a set of sequences, at whatever threshold.

    Attributes:
        best: `(objects,)` the highest score of a track of each object; -inf where there is none.
        names: of the objects, `(sequence, track)`.
        false: `(false alarms,)` the score of each.
        repeats: `(repeats,)` scores of further tracks of an object that has a better one.
        hours: that were looked at.
    """

    best: Floats
    names: tuple[tuple[str, int], ...]
    false: Floats
    repeats: Floats
    hours: float

    def found(self, threshold: float) -> NDArray[np.bool_]:
        """`(objects,)` which have a track of at least this score."""
        return self.best >= threshold

    def recall(self, threshold: float) -> float | None:
        """Share of the objects that are found; None where there is none."""
        return float(self.found(threshold).mean()) if len(self.best) else None

    def missed(self, threshold: float) -> list[tuple[str, int]]:
        """The objects that aren't, in their order."""
        return [name for name, found in zip(self.names, self.found(threshold), strict=True)
                if not found]  # fmt: skip

    def per_hour(self, threshold: float) -> tuple[float, float, float]:
        """False alarms an hour, and the ends of the 95 % interval; NaN where no time passed."""
        if not self.hours > 0:
            return np.nan, np.nan, np.nan
        events = int(np.sum(self.false >= threshold))
        return events / self.hours, *rate_interval(events, self.hours)

    def threshold_at(self, false_alarms_per_hour: float) -> float:
        """The lowest score of a track from which on there are at most so many false alarms.

        Where even the best track is one too many, the least number above its score. To be chosen
        on validation data, and used on the test split and afterwards. A budget of less than one
        alarm in `hours` allows none at all: whether it is held, `per_hour` tells.

        Raises:
            ValueError: if the budget is negative or no number.
        """
        if not false_alarms_per_hour >= 0:
            raise ValueError(
                f"a budget of false alarms is 0 or above. Received: {false_alarms_per_hour}."
            )
        false = np.sort(self.false)[::-1]
        allowed = false_alarms_per_hour * self.hours + 1e-9
        above = -np.inf if allowed >= len(false) else float(false[int(allowed)])
        every = np.concatenate([self.best, self.repeats, self.false])
        within = every[np.isfinite(every) & (every > above)]
        if len(within):
            return float(within.min())
        return float(np.nextafter(above, np.inf)) if np.isfinite(above) else 0.0


def alarms(
    names: Sequence[str],
    hits: Sequence[Hits],
    scores: Sequence[Mapping[int, float]],
    *,
    hours: float,
) -> Alarms:
    """Put sequences together.

    Args:
        names: of the sequences.
        hits: `match_tracks` of each.
        scores: of each, the score of every found track by its name.
        hours: all of them together.

    Raises:
        ValueError: if there aren't hits and scores a sequence.
    """
    best, named, false, repeats = [], [], [], []
    for name, one, score in zip(names, hits, scores, strict=True):
        values = np.array([score[int(track)] for track in one.found], float)
        for place, track in enumerate(one.true.tolist()):
            mine = np.sort(values[one.hit == place])
            best.append(mine[-1] if len(mine) else -np.inf)
            named.append((name, track))
            repeats.extend(mine[:-1].tolist())
        false.extend(values[one.hit == FALSE].tolist())
    return Alarms(np.array(best, float), tuple(named), np.array(false, float),
                  np.array(repeats, float), float(hours))  # fmt: skip
