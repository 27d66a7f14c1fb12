"""Alerts while a source is watched: a line of JSON and a picture for each new track (W-11)."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.detections import CHECK_PEOPLE, Answer, Detection, Source, drawing
from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines._files import write_failures
from fieldsight.pipelines.wildlife._looking import is_simulated
from fieldsight.pipelines.wildlife._tracks import PERSON, Follower, kinds

if TYPE_CHECKING:
    from fieldsight.core.detection import Detections
    from fieldsight.datasets.frames import Input, Shot
    from fieldsight.pipelines.wildlife._alarms import Point
    from fieldsight.pipelines.wildlife._feed import Fed
    from fieldsight.pipelines.wildlife._looking import Finder

Array = NDArray[Any]

ALERTS, PICTURES, SUMMARY = "alerts.jsonl", "alerts", "watch.json"
CHECK = "to be checked by a person"
CLOSE_PX = 320  # side of the close view beside an alert's picture
ROUND = 3.0  # sides of the box that the close view shows
REMEMBERED = 10_000  # frames whose latency is known: a watch has no end


@dataclasses.dataclass(eq=False)
class Summary:
    """What a watch did.

    Attributes:
        frames: that were looked at.
        skipped: that came while the model was busy with others.
        alerts: how many of each kind.
        latencies_s: of each alert: from when its frame had been read to its line.
        waits_s: of each of the last frames: from when it had been read to when all was done.
        seconds: from the first frame to the end.
    """

    frames: int = 0
    skipped: int = 0
    alerts: dict[str, int] = dataclasses.field(default_factory=dict)
    latencies_s: list[float] = dataclasses.field(default_factory=list)
    waits_s: deque[float] = dataclasses.field(default_factory=lambda: deque(maxlen=REMEMBERED))
    seconds: float = 0.0

    @property
    def frames_per_second(self) -> float | None:
        """That were looked at; None without any."""
        return self.frames / self.seconds if self.frames and self.seconds > 0 else None


class Alerter:
    """What is known while a source is watched.

    Args:
        source: that gives frames.
        finder: the model.
        chosen: the operating point of each kind; kinds without one raise no alert.
        out: the folder for what is written; it must be there.
        emit: takes each alert's line.
    """

    def __init__(
        self,
        source: Input,
        finder: Finder,
        chosen: Mapping[str, Point],
        out: Path,
        emit: Callable[[str], None],
    ) -> None:
        self.source, self.finder, self.points = source, finder, chosen
        self.out, self.emit = out, emit
        self.summary = Summary()
        self.kinds = kinds(finder.classes, finder.people, finder.vehicles)
        self.follower = Follower(
            self.kinds, threshold=finder.threshold, frames_per_second=source.frames_per_second
        )
        self.answer = Answer(
            (Source(source.name, source.kind, source.frames_per_second),), (), finder.classes,
            finder.provenance, finder.people, finder.vehicles, finder.threshold,
            frozenset({source.name} if is_simulated(source) else ()),
        )  # fmt: skip
        self.alerted: set[tuple[int, str]] = set()
        self.first: dict[int, tuple[int, float | None]] = {}
        path = out / ALERTS
        self.number = len(path.read_text("utf-8").splitlines()) if path.is_file() else 0

    def frame(self, shot: Shot, found: Detections, fed: Fed) -> None:
        """Take a frame; alert for each track whose evidence passes the operating point."""
        tracks = self.follower.update(found, shot)
        self.summary.frames += 1
        for row in np.flatnonzero(tracks >= 0).tolist():
            track = int(tracks[row])
            self.first.setdefault(track, (shot.number, shot.time_s))
            for kind, evidence in self.follower.evidence(track).items():
                point = self.points.get(kind)
                if point is None or evidence < point.threshold or (track, kind) in self.alerted:
                    continue
                self.alerted.add((track, kind))
                self._alert(kind, track, evidence, found.boxes[row], shot, fed)
        for track in self.follower.forget():
            self.first.pop(track, None)
            self.alerted -= {(track, kind) for kind in self.points}
        self.summary.waits_s.append(time.monotonic() - fed.arrived)

    def progress(self) -> str:
        """How far it is, in a line."""
        done = self.summary
        rate = done.frames_per_second or 0.0
        alerts = ", ".join(f"{count} {kind}" for kind, count in sorted(done.alerts.items()))
        skipped = f", {done.skipped} skipped to keep up" if done.skipped else ""
        failed = f", {len(self.source.failures)} failed" if self.source.failures else ""
        return (
            f"{done.frames} frames, {rate:.1f} a second{skipped}{failed}; "
            f"alerts: {alerts or 'none so far, which says nothing of what was missed'}"
        )

    def finish(self) -> None:
        """Write what was done, and which frames failed."""
        done = self.summary
        latencies, waits = np.array(done.latencies_s), np.array(done.waits_s)
        content = {
            "disclaimer": self.finder.provenance.disclaimer,
            "marks": self.answer.marks(),
            "provenance": dataclasses.asdict(self.finder.provenance),
            "source": self.source.name,
            "frames": done.frames,
            "skipped": done.skipped,
            "failed": len(self.source.failures),
            "frames_per_second": _short(done.frames_per_second),
            "alerts": done.alerts,
            "latency_s": {
                "median": _short(float(np.median(latencies)) if len(latencies) else None),
                "largest": _short(float(latencies.max()) if len(latencies) else None),
            },
            "frame_latency_s": {
                "median": _short(float(np.median(waits)) if len(waits) else None),
                "percentile_95": _short(float(np.percentile(waits, 95)) if len(waits) else None),
            },
            "operating_points": {kind: point.as_json() for kind, point in self.points.items()},
            "said_of_them": [point.said for point in self.points.values()],
        }
        write_failures(self.out, "frame", dict(self.source.failures))
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        write_atomically(self.out / SUMMARY, text.encode())

    def _alert(
        self, kind: str, track: int, evidence: float, box: Array, shot: Shot, fed: Fed
    ) -> None:
        self.number += 1
        label = self.finder.classes[self.follower.label(track, kind)]
        left, top, right, bottom = (float(side) for side in box)
        name = self.source.frame_name(shot.number)
        found = Detection(name, (left, top, right, bottom), min(1.0, evidence), label, track)
        line: dict[str, Any] = {
            "alert": kind,
            "number": self.number,
            "class": label,
            "track": track,
            "evidence": round(evidence, 4),
            "operating_point": round(self.points[kind].threshold, 4),
            "source": self.source.name,
            "frame": name,
            "frame_number": shot.number,
            "time_s": _short(shot.time_s),
            "first_seen_frame": self.first[track][0],
            "first_seen_s": _short(self.first[track][1]),
            "box": [round(side, 2) for side in found.box],
            "picture": None,
            "check": CHECK_PEOPLE if kind == PERSON else CHECK,
            "marks": self.answer.marks(),
            "model": self.finder.provenance.model,
            "trained_on": self.finder.provenance.trained_on,
            "simulated": self.finder.provenance.simulated,
        }
        picture = f"{PICTURES}/{self.number:06d}_{kind}.jpg"
        try:
            drawn = drawing.draw(shot.image, (found,), self.answer, title=name)
            drawing.save(self.out / picture, _beside(drawn, shot.image, box), self.answer)
            line["picture"] = picture
        except OSError as error:  # the alert is worth more than its picture
            line["picture_failed"] = error.strerror or str(error)
        latency = time.monotonic() - fed.arrived
        line["latency_s"] = _short(latency)
        line["since_written_s"] = self._since_written(shot.number)
        text = json.dumps(line, allow_nan=False)
        self.emit(text)
        self.summary.alerts[kind] = self.summary.alerts.get(kind, 0) + 1
        self.summary.latencies_s.append(latency)
        with (self.out / ALERTS).open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def _since_written(self, number: int) -> float | None:
        """Seconds since a frame's file was written; None where it isn't one."""
        name = self.source.names.get(number)
        if self.source.kind != "folder" or self.source.path is None or name is None:
            return None
        try:
            return _short(max(0.0, time.time() - (self.source.path / name).stat().st_mtime))
        except OSError:
            return None


def _beside(drawn: Array, image: Array, box: Array) -> Array:
    """The drawn picture with a close view at its right: what is to be checked is a few pixels."""
    from PIL import Image

    left, top, right, bottom = (float(side) for side in box)
    half = max(ROUND * max(right - left, bottom - top), 24.0) / 2
    column, row = (left + right) / 2, (top + bottom) / 2
    edges = (column - half, row - half, column + half, row + half)
    whole = Image.fromarray(drawing.to_rgb(image))
    side = min(CLOSE_PX, drawn.shape[0])
    close = whole.transform((side, side), Image.Transform.EXTENT, edges, Image.Resampling.NEAREST)
    panel = np.full((drawn.shape[0], side + 8, 3), 24, np.uint8)
    panel[:side, 8:] = np.asarray(close)
    return np.concatenate([drawn, panel], axis=1)


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
