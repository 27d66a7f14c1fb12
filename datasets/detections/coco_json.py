"""Detections as COCO's JSON, with scores: images, annotations, categories, videos."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fieldsight.datasets.box_forms import to_xywh
from fieldsight.datasets.detections.rows import Answer, Detection, View
from fieldsight.datasets.files import write_atomically

SOURCE = "cocodataset.org/#format-data; videos and track_id as in COCO-VID"


def content(answer: Answer) -> dict[str, Any]:
    """What the file holds; empty frames are images without annotations.

    Boxes are left, top, width, height from 0. `track_id` tells objects apart within a video.
    """
    numbers = {name: number for number, name in enumerate(answer.classes, 1)}
    in_time = [source.name for source in answer.sources if source.in_time]
    videos = {name: number for number, name in enumerate(in_time, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, view in enumerate(answer.views, 1):
        images.append(_image(image_id, view, answer, videos))
        for detection in view.detections:
            annotations.append(
                _annotation(len(annotations) + 1, image_id, numbers[detection.label], detection)
            )
    made = answer.provenance
    return {
        "info": {
            "description": f"Found by {made.model}. {made.disclaimer}",
            "version": made.version,
            "date_created": made.created,
            "provenance": asdict(made),
            "marks": list(answer.marks()),
            "threshold": answer.threshold,
            "notes": list(answer.notes),
        },
        "licenses": [],
        "videos": [{"id": number, "name": name} for name, number in videos.items()],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": _kind(name, answer)}
            for name, number in numbers.items()
        ],
    }


def write(path: Path, answer: Answer) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: if it can't be written.
    """
    write_atomically(path, json.dumps(content(answer), allow_nan=False).encode())


def _kind(label: str, answer: Answer) -> str:
    if label in answer.people:
        return "person"
    return "vehicle" if label in answer.vehicles else "animal"


def _image(number: int, view: View, answer: Answer, videos: dict[str, int]) -> dict[str, Any]:
    rows, columns = view.size
    image: dict[str, Any] = {
        "id": number,
        "file_name": view.name,
        "width": columns,
        "height": rows,
        "may_show_people": answer.with_people(view),
    }
    if view.source in videos:
        image |= {"video_id": videos[view.source], "frame_id": view.number}
        if view.time_s is not None:
            image["time_s"] = round(view.time_s, 6)
    return image


def _annotation(number: int, image_id: int, category: int, detection: Detection) -> dict[str, Any]:
    left, top, width, height = (round(float(x), 3) for x in to_xywh([detection.box])[0])
    found: dict[str, Any] = {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "bbox": [left, top, width, height],
        "area": round(width * height, 3),
        "iscrowd": 0,
        "score": round(float(detection.score), 6),
    }
    if detection.track >= 0:
        found["track_id"] = int(detection.track)
    if detection.place is not None:
        place = detection.place
        found["place"] = {
            "longitude": round(place.longitude, 8),
            "latitude": round(place.latitude, 8),
            "error_m": round(place.error_m, 2),
            "how": place.how,
        }
    return found
