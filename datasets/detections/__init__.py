"""What was found in pictures and videos from above, in the formats that others open (W-13).

    answer = detections.Answer(sources, views, classes, provenance)
    coco_json.write(folder / "detections.coco.json", answer)

Each module writes one format. Every file names the model, what it was trained on and whether that
was simulated (C-10); what has no room for it is named in answers.json.
"""

from fieldsight.datasets.detections.rows import (
    CHECK_PEOPLE,
    DISCLAIMER,
    OVERLAP,
    Answer,
    Detection,
    Place,
    Source,
    View,
)

__all__ = [
    "CHECK_PEOPLE",
    "DISCLAIMER",
    "OVERLAP",
    "Answer",
    "Detection",
    "Place",
    "Source",
    "View",
]
