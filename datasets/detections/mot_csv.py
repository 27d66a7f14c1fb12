"""Tracks in MOTChallenge's form of results: frame,track,left,top,width,height,score,-1,-1,-1.

Frames, tracks and pixels count from 1. The form has no heading and no class: answers.json and
tracks.csv tell those.
"""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from fieldsight.datasets.box_forms import to_xywh
from fieldsight.datasets.detections.rows import Answer, Source, View
from fieldsight.datasets.files import write_atomically

SOURCE = "motchallenge.net/instructions"
ALONE = "tracks.mot.csv"
FOLDER = "tracks"


def names(answer: Answer) -> dict[str, str]:
    """The file of each sequence, by its name: tracks.mot.csv if it is the only one."""
    sources = [source.name for source in answer.sources if source.in_time]
    if len(sources) == 1:
        return {sources[0]: ALONE}
    found: dict[str, str] = {}
    for name in sources:
        plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "sequence"
        file, number = f"{FOLDER}/{plain}.mot.csv", 2
        while file in found.values():
            file, number = f"{FOLDER}/{plain}-{number}.mot.csv", number + 1
        found[name] = file
    return found


def first_frame(source: Source, views: Sequence[View]) -> int:
    """What is added to a frame's number: 1 where they begin at 0, else nothing."""
    return int(source.kind in ("video", "stream") or any(view.number == 0 for view in views))


def text(source: Source, views: Sequence[View]) -> str:
    """The rows of a sequence; detections that belong to no track are left out."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    added = first_frame(source, views)
    for view in sorted(views, key=lambda view: view.number):
        for each in sorted(view.detections, key=lambda each: each.track):
            if each.track >= 0:
                box = to_xywh([each.box], origin=1.0)[0]
                writer.writerow((view.number + added, each.track + 1, *(f"{x:.2f}" for x in box),
                                 f"{each.score:.4f}", -1, -1, -1))  # fmt: skip
    return file.getvalue()


def write(folder: Path, answer: Answer) -> dict[str, str]:
    """Write a file a sequence, each whole or not at all.

    Returns:
        The files within the folder, by the sequence's name.

    Raises:
        OSError: if one can't be written.
    """
    files = names(answer)
    for source in answer.sources:
        if source.name in files:
            rows = text(source, answer.by_source[source.name])
            write_atomically(folder / files[source.name], rows.encode())
    return files
