"""Detections in MegaDetector's batch format 1.6, which Timelapse and AddaxAI open."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets.box_forms import to_normalised_xywh
from fieldsight.datasets.detections.rows import Answer, Detection, Source, View
from fieldsight.datasets.files import write_atomically

SOURCE = "lila.science/megadetector-output-format"
VERSION = "1.6"
CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}
CONSERVATIVE = 0.5  # of the threshold: what a reader may show who wants to miss less
NO_RATE = 1.0  # frames a second must be above 0, even where nobody says how many


def content(answer: Answer) -> dict[str, Any]:
    """What the file holds: a picture or a video an entry, boxes as parts of a side.

    The species is a classification, whose confidence is the detection's own.
    """
    numbers = {name: str(number) for number, name in enumerate(answer.classes)}
    images: list[dict[str, Any]] = []
    for source in answer.sources:
        views = answer.by_source[source.name]
        if source.kind in ("video", "stream"):
            images.append(_video(source, views, answer, numbers))
        else:
            images += [
                {
                    "file": view.name,
                    "detections": [_one(each, view, answer, numbers) for each in view.detections],
                }
                for view in views
            ]
    there = {image["file"] for image in images}
    images += [_failed(name, reason) for name, reason in answer.failures.items()
               if name not in there]  # fmt: skip
    made = answer.provenance
    return {
        "info": {
            "format_version": VERSION,
            "detector": made.model,
            "detection_completion_time": made.created.replace("T", " ")[:19],
            "classifier": made.model,
            "detector_metadata": {
                "typical_detection_threshold": answer.threshold,
                "conservative_detection_threshold": answer.threshold * CONSERVATIVE,
            },
            "provenance": asdict(made),
            "marks": list(answer.marks()),
            "notes": [*answer.notes, "a classification's confidence is its detection's own"],
        },
        "detection_categories": CATEGORIES,
        "classification_categories": {number: name for name, number in numbers.items()},
        "images": images,
    }


def write(path: Path, answer: Answer) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: if it can't be written.
    """
    write_atomically(path, json.dumps(content(answer), allow_nan=False).encode())


def _video(
    source: Source, views: Sequence[View], answer: Answer, numbers: dict[str, str]
) -> dict[str, Any]:
    rate = source.frames_per_second or NO_RATE
    if not views and source.name in answer.failures:
        return _failed(source.name, answer.failures[source.name]) | {"frame_rate": rate}
    return {
        "file": source.name,
        "frame_rate": rate,
        "frames_processed": [view.number for view in views],
        "detections": [
            _one(each, view, answer, numbers) | {"frame_number": view.number}
            for view in views
            for each in view.detections
        ],
    }


def _failed(name: str, reason: str) -> dict[str, Any]:
    return {"file": name, "failure": " ".join(reason.split()), "detections": None}


def _one(
    detection: Detection, view: View, answer: Answer, numbers: dict[str, str]
) -> dict[str, Any]:
    left, top, right, bottom = detection.box
    rows, columns = view.size
    inside = np.clip([[left, top, right, bottom]], 0, [[columns, rows, columns, rows]])
    score = round(float(detection.score), 4)
    category = "2" if detection.label in answer.people else "1"
    category = "3" if detection.label in answer.vehicles else category
    return {
        "category": category,
        "conf": score,
        "bbox": [round(float(x), 6) for x in to_normalised_xywh(inside, view.size)[0]],
        "classifications": [[numbers[detection.label], score]],
    }
