"""Objects followed from frame to frame, as frames come: boxes in, the numbers of tracks out.

    tracker, camera = Tracker(), CameraMotion()
    for image in film:
        boxes, scores = detector(image)
        numbers = tracker.update(boxes, scores, shift=camera(image))

Detections of a frame go to tracks by how their boxes overlap with where a Kalman filter expects
each object, good detections first, then weak ones; a track that isn't seen goes on for a while.
Boxes are those of `core.boxes`, of any rank.
"""

from fieldsight.core.tracking.camera import CameraMotion, frame_shift
from fieldsight.core.tracking.kalman import Motion, correct, predict, start
from fieldsight.core.tracking.tracker import Track, Tracker, best_mean, follow, grown

__all__ = [
    "CameraMotion",
    "Motion",
    "Track",
    "Tracker",
    "best_mean",
    "correct",
    "follow",
    "frame_shift",
    "grown",
    "predict",
    "start",
]
