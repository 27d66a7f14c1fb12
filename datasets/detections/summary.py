"""answers.json: what made the other files, what they hold, and what must be known of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fieldsight.datasets.detections import counts
from fieldsight.datasets.detections.rows import CHECK_PEOPLE, OVERLAP, Answer
from fieldsight.datasets.files import write_atomically


def content(
    answer: Answer, counted: Sequence[counts.Count], files: Mapping[str, str]
) -> dict[str, Any]:
    """What the file holds.

    Args:
        answer: all that was found.
        counted: how many.
        files: what each file is, by its name.
    """
    people = sum(one.count or 0 for one in counted
                 if one.label in answer.people and one.source != counts.EVERY)  # fmt: skip
    notes = list(answer.notes)
    alone = [source for source in answer.sources if not source.in_time]
    if len(alone) > 1:
        notes.append(OVERLAP)
    if answer.people:
        notes.append(CHECK_PEOPLE)
    return {
        "disclaimer": answer.provenance.disclaimer,
        "marks": list(answer.marks()),
        "provenance": asdict(answer.provenance),
        "threshold": answer.threshold,
        "blurred_km": answer.blurred_km,
        "files": dict(files),
        "sources": [
            {
                "name": source.name,
                "kind": source.kind,
                "frames": len(answer.by_source[source.name]),
                "detections": sum(len(v.detections) for v in answer.by_source[source.name]),
                "placed": sum(each.place is not None for v in answer.by_source[source.name]
                              for each in v.detections),
                "simulated": source.name in answer.simulated,
                "count": {one.label: one.count for one in counted if one.source == source.name},
                "count_by": "tracks" if source.in_time else "pictures",
            }
            for source in answer.sources
        ],
        "people_to_check": people,
        "failed": len(answer.failures),
        "notes": notes,
    }  # fmt: skip


def write(
    path: Path, answer: Answer, counted: Sequence[counts.Count], files: Mapping[str, str]
) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: if it can't be written.
    """
    text = json.dumps(content(answer, counted, files), indent=2, allow_nan=False)
    write_atomically(path, text.encode())
