"""One or two large pictures, cut into a piece to learn from, one to choose by and one to score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from fieldsight.core.boxes import centres
from fieldsight.datasets.animals import AnimalSet, Frame
from fieldsight.datasets.sample import Array

ENDS = (0.6, 0.8, 1.0)  # of the longer side: train, validate, test
Slices = tuple[slice, slice]


def cut(found: AnimalSet) -> tuple[AnimalSet, list[list[int]]]:
    """The set with each picture cut across its longer side, and the frames of each side.

    What lies on two pieces is learned where its middle is, and elsewhere neither right nor wrong.
    The pieces are of one ground and one light: their scores say nothing of other places.

    Args:
        found: pictures that aren't of a sequence.
    """
    frames = tuple(piece for frame in found.frames for piece in _pieces(frame))
    sides = [list(range(side, len(frames), len(ENDS))) for side in range(len(ENDS))]
    return dataclasses.replace(found, frames=frames, split=None), sides


def _pieces(frame: Frame) -> list[Frame]:
    axis = int(frame.size[1] >= frame.size[0])
    ends = [0, *(round(end * frame.size[axis]) for end in ENDS)]
    return [_piece(frame, axis, ends[i], ends[i + 1]) for i in range(len(ENDS))]


def _piece(frame: Frame, axis: int, start: int, end: int) -> Frame:
    size = [*frame.size]
    size[axis] = end - start
    x = 1 - axis  # of a box's columns, the one along the axis
    offset = np.zeros(4, np.float32)
    offset[[x, x + 2]] = start
    middles = centres(frame.boxes)[:, x] if len(frame.boxes) else np.zeros(0)
    mine = (middles >= start) & (middles < end)
    limits = np.array([size[1], size[0], size[1], size[0]], np.float32)

    def shifted(boxes: Array) -> Array:
        return np.clip(boxes - offset, 0, limits).astype(np.float32)

    unknown = shifted(np.concatenate([frame.boxes[~mine], frame.ignored]))
    unknown = unknown[(unknown[:, 2:] > unknown[:, :2]).all(axis=1)]
    return dataclasses.replace(
        frame,
        name=f"{frame.name}#{start}-{end}",
        group=f"{frame.group}#{start}-{end}",
        size=(size[0], size[1]),
        boxes=shifted(frame.boxes[mine]),
        labels=frame.labels[mine],
        tracks=frame.tracks[mine],
        occluded=frame.occluded[mine],
        noisy=frame.noisy[mine],
        ignored=unknown,
        reader=_reader(frame, axis, start, end),
    )


def _reader(frame: Frame, axis: int, start: int, end: int) -> Callable[[Slices | None], Array]:
    def read(slices: Slices | None = None) -> Array:
        places = [slice(0, side) for side in frame.size]
        places[axis] = slice(start, end)
        if slices is not None:
            places = [
                slice(place.start + (inner.start or 0),
                      min(place.stop, place.start + (inner.stop or place.stop)))
                for place, inner in zip(places, slices, strict=True)
            ]  # fmt: skip
        return frame.read((places[0], places[1]))

    return read
