"""`fieldsight wildlife watch`: an alert for each new person, vehicle or animal, as frames come.

A line of JSON on standard output and in alerts.jsonl, and a picture beside it. Whoever looks for
people must look on: nothing that is written here says that a place is empty (W-11).
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder
from fieldsight.pipelines.wildlife._alarms import PER_HOUR, points
from fieldsight.pipelines.wildlife._alerting import Alerter, Summary
from fieldsight.pipelines.wildlife._feed import Fed, Feed
from fieldsight.pipelines.wildlife._looking import is_simulated
from fieldsight.pipelines.wildlife._tracks import kinds

if TYPE_CHECKING:
    from fieldsight.core.metrics import Alarms
    from fieldsight.datasets.frames import Input, Shot
    from fieldsight.pipelines.wildlife._alarms import Point
    from fieldsight.pipelines.wildlife._looking import Finder

TOLD_S = 10.0  # between lines on stderr that say how far it is

_BINDS = re.compile(r"^(udp|rtp)://|[?&](listen=[1-9]|listen_timeout|mode=listener)", re.IGNORECASE)
_HOST = re.compile(r"^[a-z]+://(?:[^@/]*@)?(\[[^\]]*\]|[^:/?#]*)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What `watch` is asked for, without the model.

    Args:
        source: a folder that is being written, a video, a stream's address.
        out: the folder for alerts.
        false_alarms_per_hour: of each kind, on validation flights.
        frames_per_second: of a folder; None goes by when its frames come.
        idle_s: end when no frame came for so long; None waits on.
        allow_simulated: whether a model of simulated flights alone may watch real ones.
        json: whether nothing but alerts is printed to stdout.
    """

    source: str
    out: Path
    false_alarms_per_hour: float = PER_HOUR
    frames_per_second: float | None = None
    idle_s: float | None = None
    allow_simulated: bool = False
    json: bool = False


def answer(request: Request, load: Callable[[], tuple[Finder, Mapping[str, Alarms]]]) -> int:
    """Watch until the source ends or Ctrl-C; return the exit code.

    Args:
        request: what is asked for.
        load: gives the model, and what its validation flights raised by kind (`_alarms.from_facts`
            of its card; empty where the card has none); called once the source is there.

    Returns:
        0; 1 if some frames failed; 2 if none could be looked at.

    Raises:
        CommandError: if the source can't be watched or the folder not be written to.
    """
    for flag, value in (
        ("--frames-per-second", request.frames_per_second),
        ("--idle-s", request.idle_s),
    ):
        if value is not None and not value > 0:
            raise CommandError(f"{flag}: more than 0 was needed. Received: {value}.")
    if not 0 <= request.false_alarms_per_hour < np.inf:
        raise CommandError(
            "--false-alarms-per-hour: a number of 0 or above was needed. "
            f"Received: {request.false_alarms_per_hour}."
        )
    check_output_folder("--out", request.out)
    source = follow_source(request.source, idle_s=request.idle_s, rate=request.frames_per_second)
    finder, validated = load()
    refuse_simulated(source, finder, allowed=request.allow_simulated)
    known = dict.fromkeys(kinds(finder.classes, finder.people, finder.vehicles))
    chosen = points(validated, request.false_alarms_per_hour, kinds=known, unknown=finder.threshold)
    for point in chosen.values():
        print(point.said, file=sys.stderr)
    try:
        summary = run(source, finder, chosen, out=request.out)
    except DataError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(
            f"{request.out} can't be written ({error.strerror or error}). Free some space, or "
            "choose another folder."
        ) from error
    for line in said(summary, finder, source):
        print(line, file=sys.stderr if request.json else sys.stdout)
    if not summary.frames:
        print("fieldsight: no frame could be looked at", file=sys.stderr)
        return 2
    return 1 if source.failures else 0


def check_source(source: str) -> None:
    """Refuse to listen to anything but this machine: a stream from elsewhere is connected to.

    Raises:
        CommandError: if the address would open a port that others can reach.
    """
    if not _BINDS.search(source):
        return
    found = _HOST.match(source)
    host = found[1].strip("[]") if found else ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host.lower() == "localhost"
    if not here:
        raise CommandError(
            f"{source}: an address of this machine alone was needed to listen at, such as "
            f"udp://127.0.0.1:5000. Received: {host or 'any'}, which others could send to. "
            "Forward the stream to loopback, or connect to the camera by rtsp://."
        )


def refuse_simulated(source: Input, finder: Finder, *, allowed: bool) -> None:
    """A model of simulated data alone watches real flights only if it is asked to (C-10).

    Raises:
        CommandError: if the source is real, the model isn't, and it wasn't allowed.
    """
    made = finder.provenance
    if made.simulated and not allowed and not is_simulated(source):
        raise CommandError(
            f"a model trained on real flights was needed for {source.name}. Received: "
            f"{made.model}. Give --allow-simulated to use it all the same, and every alert will "
            "say so; or --model for another."
        )


def run(
    source: Input,
    finder: Finder,
    chosen: Mapping[str, Point],
    *,
    out: Path,
    emit: Callable[[str], None] | None = None,
    most_frames: int | None = None,
) -> Summary:
    """Look at frames as they come until the source ends or Ctrl-C, and alert.

    Args:
        source: that gives frames (`datasets.frames.follow`).
        finder: the model.
        chosen: the operating point of each kind; kinds without one raise no alert.
        out: the folder for alerts.jsonl, alerts/, watch.json and failures.csv; earlier alerts in
            it are kept.
        emit: takes each alert's line, at once; None prints it.
        most_frames: after which to end; None for none.

    Returns:
        What was done.

    Raises:
        DataError: if the source can't be read at all.
        OSError: if the folder can't be written to.
    """
    out.mkdir(parents=True, exist_ok=True)
    watch = Alerter(source, finder, chosen, out, emit or partial(print, flush=True))
    feed = Feed(source.frames(), live=source.kind in ("stream", "folder"))
    arrived: deque[Fed] = deque()

    def shots() -> Iterator[Shot]:
        for number, fed in enumerate(feed, 1):
            arrived.append(fed)
            yield fed.shot
            if number == most_frames:
                return

    started = told = time.monotonic()
    try:
        for shot, found in finder.frames(shots()):
            fed = arrived.popleft()
            if not watch.summary.frames:
                started = fed.arrived
            watch.frame(shot, found, fed)
            watch.summary.skipped = feed.skipped
            watch.summary.seconds = time.monotonic() - started
            if time.monotonic() - told >= TOLD_S:
                told = time.monotonic()
                print(watch.progress(), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        feed.stop()
        watch.finish()
    return watch.summary


def said(summary: Summary, finder: Finder, source: Input) -> list[str]:
    """What is printed at the end, never that nothing is there."""
    alerts = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.alerts.items()))
    lines = [
        f"{source.name}: {summary.frames} frames looked at, {summary.skipped} skipped, "
        f"{len(source.failures)} failed; alerts: {alerts or 'none'}"
    ]
    if summary.latencies_s:
        lines.append(
            f"latency from frame to alert: median {np.median(summary.latencies_s):.2f} s, "
            f"largest {max(summary.latencies_s):.2f} s"
        )
    lines.append(finder.provenance.disclaimer)
    return lines


def follow_source(source: str, *, idle_s: float | None, rate: float | None) -> Input:
    """The source that is to be watched.

    Raises:
        CommandError: if it can't be, or would listen to others.
    """
    from fieldsight.datasets import frames

    check_source(source)
    try:
        return frames.follow(source, idle_s=idle_s, frames_per_second=rate)
    except DataError as error:
        raise CommandError(str(error)) from error
