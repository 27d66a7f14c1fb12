"""`fieldsight wildlife prepare`: read every marked picture, count the marks, tell what fails."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldsight.datasets import animals
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines import _console
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import FAILURES, check_output_folder, such_as, write_failures
from fieldsight.pipelines.wildlife import _cohort

if TYPE_CHECKING:
    from fieldsight.datasets.animals import AnimalSet, Frame
    from fieldsight.pipelines.wildlife import Prepare


def prepare(settings: Prepare) -> int:
    """Check the pictures and return the exit code: 1 if some failed."""
    check_output_folder("--out", settings.out)
    started = time.perf_counter()
    found = animals.load(settings.data, radius_px=settings.radius_px)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    readable, failures = _read(found)
    failures = {**found.failures, **failures}
    if not readable:
        raise CommandError(
            f"pictures that can be read were needed. Received: none in {settings.data}"
            f"{such_as(failures)}."
        )
    about = _about(found, readable, failures)
    about["seconds"] = round(time.perf_counter() - started, 1)
    try:
        _write(settings.out, found, readable, about)
        write_failures(settings.out, "picture", failures)
    except OSError as error:
        raise CommandError(f"{settings.out} can't be written: {error.strerror}.") from error
    if settings.json:
        print(json.dumps(about))
    else:
        _print(settings.out, about)
    return int(bool(failures))


def _read(found: AnimalSet) -> tuple[list[Frame], dict[str, str]]:
    """The frames that can be read, and why the others can't."""
    told = _console.progress(f"reading {len(found):,} pictures of {found.name}")
    readable, failures = [], {}
    for number, frame in enumerate(found.frames, 1):
        try:
            frame.read()
            readable.append(frame)
        except DataError as error:
            failures[frame.name] = str(error)
        told(number, len(found))
    return readable, failures


def _about(found: AnimalSet, readable: Sequence[Frame], failures: dict[str, str]) -> dict[str, Any]:
    labels = np.concatenate([np.zeros(0, int), *(frame.labels for frame in readable)])
    counts = np.bincount(labels.astype(int), minlength=len(found.classes))
    boxes = np.concatenate([np.zeros((0, 4)), *(frame.boxes for frame in readable)])
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    about: dict[str, Any] = {
        "data": found.name, "layout": found.kind, "simulated": found.simulated,
        "pictures": len(readable), "groups": len({frame.group for frame in readable}),
        "empty": sum(not len(frame.boxes) for frame in readable),
        "objects": dict(zip(found.classes, counts.tolist(), strict=True)),
        "regions_not_scored": sum(len(frame.ignored) for frame in readable),
        "tracks": len({(frame.group, int(track)) for frame in readable
                       for track in frame.tracks if track >= 0}),
        "failed": len(failures), "fingerprint": found.fingerprint,
    }  # fmt: skip
    if len(sides):
        low, middle, high = np.percentile(sides, (5, 50, 95))
        about["side_px"] = {"5 %": round(float(low), 1), "median": round(float(middle), 1),
                            "95 %": round(float(high), 1)}  # fmt: skip
    try:
        split = found.divided()
        about["split"] = {"train": len(split.train), "val": len(split.val), "test": len(split.test)}
    except DataError as error:
        few = found.kind not in _cohort.IN_TIME and len(found) < _cohort.FEWEST
        about["split"] = "pieces of the same pictures" if few else str(error)
    return about


def _write(
    folder: Path, found: AnimalSet, readable: Sequence[Frame], about: dict[str, Any]
) -> None:
    """summary.json, and tables of the groups and of every box in pixels from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "summary.json", json.dumps(about, indent=2).encode())
    groups: dict[str, list[Frame]] = {}
    for frame in readable:
        groups.setdefault(frame.group, []).append(frame)
    write_atomically(folder / "groups.csv", _csv(
        ("group", "pictures", "empty", *found.classes),
        ((name, len(frames), sum(not len(frame.boxes) for frame in frames),
          *np.bincount(np.concatenate([frame.labels for frame in frames]).astype(int),
                       minlength=len(found.classes)).tolist())
         for name, frames in groups.items()),
    ))  # fmt: skip
    write_atomically(folder / "boxes.csv", _csv(
        ("image_path", "xmin", "ymin", "xmax", "ymax", "label", "track"),
        ((frame.name, *(f"{side:.2f}" for side in box), found.classes[label], track)
         for frame in readable
         for box, label, track in zip(frame.boxes, frame.labels, frame.tracks, strict=True)),
    ))  # fmt: skip


def _csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return text.getvalue().encode()


def _print(folder: Path, about: dict[str, Any]) -> None:
    word = "SIMULATED pictures" if about["simulated"] else "pictures"
    rows = list(about["objects"].items())
    lines = [
        f"{about['data']} ({about['layout']}): {about['pictures']} {word} of {about['groups']} "
        f"groups, {about['empty']} without a mark, {about['tracks']} tracks",
        f"split: {about['split']}",
        f"{folder}: summary.json, groups.csv, boxes.csv",
    ]
    if about["failed"]:
        lines.append(f"{about['failed']} failed: {folder / FAILURES}")
    _console.show([("What is marked", ("class", "boxes"), rows)], lines)
