"""How many there are: of sequences by their tracks (W-8), of single pictures one by one."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fieldsight.datasets.detections.rows import (
    CHECK_PEOPLE,
    OVERLAP,
    Answer,
    Detection,
    Source,
    View,
)
from fieldsight.datasets.files import write_atomically

COLUMNS = ("source", "kind", "class", "count", "low", "high", "by", "frames", "failed_frames",
           "note", "model", "trained_on", "simulated")  # fmt: skip
PEOPLE_COLUMNS = ("source", "frame", "number", "time_s", "track", "frames_seen", "class", "score",
                  "left", "top", "right", "bottom", "longitude", "latitude", "error_m", "check",
                  "model", "trained_on", "simulated")  # fmt: skip
TRACK_COLUMNS = ("source", "track", "class", "first_frame", "last_frame", "frames_seen",
                 "score", "longitude", "latitude", "error_m", "model", "trained_on",
                 "simulated")  # fmt: skip
EVERY = "(all pictures)"
CHECK = "to be checked by a person"
UNREAD = "it can't be read: failures.csv says why"

# From the class, whether it is of tracks, and the count, to its interval; None where there is none.
Interval = Callable[[str, bool, int], tuple[float, float] | None]


@dataclass(frozen=True)
class Track:
    """One object of a sequence.

    Args:
        number: within its sequence.
        label: its class: what its detections say together, by their scores.
        seen: its views with their detection, in time.
    """

    number: int
    label: str
    seen: tuple[tuple[View, Detection], ...]

    @property
    def best(self) -> tuple[View, Detection]:
        """Where its score is highest."""
        return max(self.seen, key=lambda each: each[1].score)

    @property
    def placed(self) -> Detection | None:
        """The detection whose place is best known; None without any."""
        known = [(each.place.error_m, number) for number, (_, each) in enumerate(self.seen)
                 if each.place is not None]  # fmt: skip
        return self.seen[min(known)[1]][1] if known else None


def tracks(views: Sequence[View]) -> list[Track]:
    """The tracks of one sequence, by their number."""
    seen: dict[int, list[tuple[View, Detection]]] = defaultdict(list)
    for view in views:
        for each in view.detections:
            if each.track >= 0:
                seen[each.track].append((view, each))
    return [Track(number, _label(found), tuple(found)) for number, found in sorted(seen.items())]


def _label(seen: Sequence[tuple[View, Detection]]) -> str:
    scores: dict[str, float] = defaultdict(float)
    for _, each in seen:
        scores[each.label] += each.score
    return max(scores, key=lambda label: scores[label])


@dataclass(frozen=True)
class Count:
    """How many of a class were found in a source.

    Args:
        source: its name; "(all pictures)" for the sum over single pictures.
        kind: of the source.
        label: the class.
        count: how many; None where nothing of it could be looked at.
        low: where the interval begins; None without one.
        high: where it ends.
        by: "tracks" or "pictures".
        frames: that were looked at.
        failed: frames that couldn't be.
        note: what must be known.
    """

    source: str
    kind: str
    label: str
    count: int | None
    low: float | None
    high: float | None
    by: str
    frames: int
    failed: int = 0
    note: str = field(default="")


def count(answer: Answer, interval: Interval | None = None) -> list[Count]:
    """Count every class in every source, found or not, and in all single pictures together.

    Args:
        answer: what was found.
        interval: from validation's count errors; None gives none.
    """
    found: list[Count] = []
    for source in answer.sources:
        views = answer.by_source[source.name]
        labels = (
            [track.label for track in tracks(views)]
            if source.in_time
            else [each.label for view in views for each in view.detections]
        )
        found += [_of(answer, source, views, label, labels.count(label), interval)
                  for label in answer.classes]  # fmt: skip
    alone = [source for source in answer.sources if not source.in_time]
    if len(alone) > 1:
        found += [_sum(found, label) for label in answer.classes]
    return found


def _of(
    answer: Answer,
    source: Source,
    views: Sequence[View],
    label: str,
    number: int,
    interval: Interval | None,
) -> Count:
    known = bool(views)  # nothing found isn't nothing looked at
    reach = interval(label, source.in_time, number) if interval and known else None
    low, high = reach or (None, None)
    failed = sum(
        name == source.name or name.startswith(f"{source.name}/") for name in answer.failures
    )
    note = UNREAD if not known else CHECK_PEOPLE if label in answer.people else ""
    return Count(source.name, source.kind, label, number if known else None, low, high,
                 "tracks" if source.in_time else "pictures", len(views), failed, note)  # fmt: skip


def _sum(counts: Sequence[Count], label: str) -> Count:
    alone = [one for one in counts if one.by == "pictures" and one.label == label]
    unread = sum(one.count is None for one in alone)
    notes = [OVERLAP, *dict.fromkeys(one.note for one in alone if one.note not in ("", UNREAD))]
    if unread:
        notes.append(f"without those that can't be read: {unread}")
    return Count(EVERY, "pictures", label, sum(one.count or 0 for one in alone), None, None,
                 "pictures", sum(one.frames for one in alone), sum(one.failed for one in alone),
                 "; ".join(notes))  # fmt: skip


def write(path: Path, counts: Sequence[Count], answer: Answer) -> None:
    """Write counts.csv, whole or not at all.

    Raises:
        OSError: if it can't be written.
    """
    _write(path, COLUMNS, [
        (one.source, one.kind, one.label, "" if one.count is None else one.count,
         _short(one.low), _short(one.high), one.by, one.frames, one.failed, one.note)
        for one in counts
    ], answer)  # fmt: skip


def write_tracks(path: Path, answer: Answer) -> None:
    """Write tracks.csv, a row an object of a sequence: what MOT's form has no room for.

    Raises:
        OSError: if it can't be written.
    """
    rows = []
    for source in answer.sources:
        if not source.in_time:
            continue
        for track in tracks(answer.by_source[source.name]):
            first, last = track.seen[0][0], track.seen[-1][0]
            rows.append((source.name, track.number, track.label, first.number, last.number,
                         len(track.seen), f"{track.best[1].score:.4f}",
                         *_place(track.placed)))  # fmt: skip
    _write(path, TRACK_COLUMNS, rows, answer)


def write_people(path: Path, answer: Answer) -> int:
    """Write people.csv: every person that was found, for a person to check (W-11).

    Of a sequence a row a track, in the frame where it is seen best; of pictures a row each. Without
    a row nothing is said: some may have been missed.

    Returns:
        How many rows it has.

    Raises:
        OSError: if it can't be written.
    """
    rows = []
    for source in answer.sources:
        views = answer.by_source[source.name]
        for track in tracks(views) if source.in_time else ():
            if any(each.label in answer.people for _, each in track.seen):
                view, best = track.best
                rows.append(_person(source, view, best, len(track.seen), track.placed))
        for view in views:
            rows += [_person(source, view, each, 1, each) for each in view.detections
                     if each.label in answer.people and each.track < 0]  # fmt: skip
    _write(path, PEOPLE_COLUMNS, rows, answer)
    return len(rows)


def _person(
    source: Source, view: View, found: Detection, seen: int, placed: Detection | None
) -> tuple[object, ...]:
    time_s = "" if view.time_s is None else f"{view.time_s:.3f}"
    track = found.track if found.track >= 0 else ""
    return (source.name, view.name, view.number, time_s, track, seen, found.label,
            f"{found.score:.4f}", *(f"{x:.2f}" for x in found.box), *_place(placed),
            CHECK)  # fmt: skip


def _place(found: Detection | None) -> tuple[str, str, str]:
    place = None if found is None else found.place
    if place is None:
        return "", "", ""
    return f"{place.longitude:.8f}", f"{place.latitude:.8f}", f"{place.error_m:.2f}"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _write(
    path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]], answer: Answer
) -> None:
    made = answer.provenance
    said = (made.model, made.trained_on, "; ".join(answer.marks()) or "no")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows((*row, *said) for row in rows)
    write_atomically(path, file.getvalue().encode())
