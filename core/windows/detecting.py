"""Objects instead of maps: each window is decoded, and an object is found once."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.boxes import centres, clip, suppress
from fieldsight.core.boxes.geometry import By
from fieldsight.core.detection import Detections
from fieldsight.core.windows.geometry import Plan
from fieldsight.core.windows.reading import Padding, Valid, Window, ahead
from fieldsight.core.windows.running import Global, arrays, prepare, scale_of


def detect(
    source: Any,
    model: Any,
    decode: Callable[[Any], Any],
    *,
    window: int | Sequence[int] | None = None,
    batch_size: int = 4,
    overlap: int | Sequence[int] = 32,
    margin: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    padding: Padding = "reflect",
    nodata: float | None = None,
    valid: Valid | None = None,
    threshold: float = 0.5,
    by: By = "iou",
    progress: Callable[[int, int], None] | None = None,
    global_operations: Global = "refuse",
    spare: deque[NDArray[Any]] | None = None,
) -> Detections:
    """Find the objects in an array of any size and rank by windows, each once.

    Of each window decode sees what counts: margins, whose answer may depend on where the window
    ends, are cut off before, and so is padding beyond the array. Neighbours overlap in what is
    left; the middle of that is a seam, and a window keeps the objects whose centre lies on its
    side. Within a few pixels of a seam both may keep one, because rounding moves centres over
    it: the better stays. So with the same `threshold` and `by` as decode's what is found is
    what decode finds in the model's answer on the whole array, but for what has its centre where
    there are no data.

    Args:
        source: as `predict` has it.
        model: as `predict` has it.
        decode: from a window's answer, `(*places, channels)` without the batch, or a structure
            of such, to what has `boxes`, `scores` and `labels` (`core.detection.Detections`),
            or a tuple of the three: `(n, 2 * rank)` `xyxy` pixels of the array, counted from
            where the places begin, `(n,)` and `(n,)`.
        window: as `predict` has it.
        batch_size: windows run at once.
        overlap: places, at least, that neighbours both decode: the largest object's side, so
            that each sees all that competes with an object at the seam; four places of the
            model's answer are the least.
        margin: as `predict` has it.
        stride: as `predict` has it.
        padding: as `predict` has it.
        nodata: value of places without data; windows of them alone aren't run.
        valid: from a window, cut at the array's end, to whether it is run, or to a mask of what
            are data.
        threshold: of two boxes of one label that are too close the better is kept, as
            `core.boxes.suppress` has it; the same as decode's.
        by: "iou", "ios", which joins a part with the whole, or "distance".
        progress: told how many windows are through, and of how many.
        global_operations: whether a model that mixes all places is refused, or warned about.
        spare: batches' memory that this call may use and leaves for the next one, of many
            pictures of one size: a system takes its time to find some hundred megabytes anew.

    Returns:
        All objects, best first, in the array's pixels and within it.

    Raises:
        ValueError: if source, model and windows don't fit, or what decode answers isn't boxes.
        RuntimeError: if a window can't be read; where is said.

    Example:
        Bright pixels, as boxes of one:

        >>> picture = np.zeros((50, 70, 1), "float32")
        >>> picture[20, 31] = picture[40, 9] = 1
        >>> def pixels(answer):
        ...     rows, columns = np.nonzero(answer[..., 0] > 0.5)
        ...     corners = np.stack([columns, rows, columns + 1, rows + 1], axis=1)
        ...     return corners, answer[rows, columns, 0], np.zeros(len(rows), int)
        >>> found = detect(picture, lambda w: w, pixels, window=32, stride=1, margin=0, overlap=4)
        >>> sorted(found.boxes.tolist())
        [[9.0, 40.0, 10.0, 41.0], [31.0, 20.0, 32.0, 21.0]]
    """
    job = prepare(
        source, model, window=window, batch_size=batch_size, margin=margin, stride=stride,
        overlap=overlap, padding=padding, nodata=nodata, valid=valid,
        global_operations=global_operations, spare=spare,
    )  # fmt: skip
    layout, rank = job.plan, len(job.plan.axes)
    found: list[Detections] = []
    through = 0
    with (
        contextlib.closing(job.answers(range(layout.rows))) as run,
        # The model runs on while objects are found in what it answered before.
        contextlib.closing(ahead(run)) as answers,
    ):
        for batch, answer in answers:
            running = [window for window in batch.windows if window.runs]
            outputs = [] if answer is None else arrays(answer, len(running))
            for number, read in enumerate(running):
                each = [_counting(output[number], layout, read.index) for output in outputs]
                parts, scales = zip(*each, strict=True)
                decoded = _checked(decode(keras.tree.pack_sequence_as(answer, list(parts))), rank)
                found.append(_kept(decoded, layout, read, np.max(scales, axis=0)))
            through += len(batch.windows)
            if progress is not None:
                progress(through, layout.count)
    boxes = np.concatenate([np.zeros((0, 2 * rank), np.float32), *(d.boxes for d in found)])
    scores = np.concatenate([np.zeros(0, np.float32), *(d.scores for d in found)])
    labels = np.concatenate([d.labels for d in found]) if found else np.zeros(0, np.int64)
    best = suppress(boxes, scores, threshold=threshold, by=by, labels=labels)
    everything = Detections(clip(boxes, layout.shape), scores, labels)
    return everything.take(best)


def _counting(
    output: NDArray[Any], layout: Plan, index: Sequence[int]
) -> tuple[NDArray[Any], tuple[int, ...]]:
    """What counts of one window's answer, and the array's places for one of its own."""
    scale = scale_of(layout, output.shape)
    place = []
    along = zip(layout.axes, index, scale, strict=True)
    for axis, number, step in along:
        start, (first, end) = axis.starts[number], axis.kept[number]
        shared = [before[1] - after[0] for before, after in itertools.pairwise(axis.kept)]
        if shared and min(shared) < 4 * step:
            raise ValueError(
                "neighbours must overlap by four places of the model's answer, so that one that "
                f"lies at a seam isn't lost. Received: an overlap of {min(shared)}, places that "
                f"are {step} apart. overlap={4 * step} would fit."
            )
        end = min(end, -(-axis.side // step) * step)
        place.append(slice((first - start) // step, (end - start) // step))
    return output[tuple(place)], scale


def _kept(decoded: Detections, layout: Plan, read: Window, slack: NDArray[np.int64]) -> Detections:
    """The objects whose centre lies in a window's core, or hardly beyond it, in array pixels.

    What has its centre where there are no data is none: the model was never shown such places.
    """
    index = read.index
    first = [axis.kept[i][0] for axis, i in zip(layout.axes, index, strict=True)]
    boxes = decoded.boxes + np.array([*first[::-1], *first[::-1]], np.float32)
    middle = centres(boxes)[:, ::-1]
    inside = np.ones(len(boxes), bool)
    for number, (axis, i) in enumerate(zip(layout.axes, index, strict=True)):
        low, high = axis.cores[i]
        along = middle[:, number]
        inside &= (along >= max(low - slack[number], 0)) & (along < high + slack[number])
        inside &= along < axis.side
    if read.valid is not None:
        begin = [side.start for side in layout.inside(index)]
        place = np.floor(middle).astype(np.int64) - begin
        inside &= read.valid[tuple(np.clip(place, 0, np.array(read.valid.shape) - 1).T)]
    return Detections(boxes, decoded.scores, decoded.labels).take(np.flatnonzero(inside))


def _checked(decoded: Any, rank: int) -> Detections:
    if not hasattr(decoded, "boxes"):
        if not isinstance(decoded, tuple) or len(decoded) != 3:
            raise ValueError(
                "decode must answer what has boxes, scores and labels, or a tuple of the three. "
                f"Received: {type(decoded).__name__}"
            )
        decoded = Detections(*decoded)
    boxes = np.asarray(decoded.boxes, np.float32)
    boxes = boxes.reshape(0, 2 * rank) if not boxes.size else boxes
    scores, labels = np.asarray(decoded.scores, np.float32), np.asarray(decoded.labels)
    count = len(boxes)
    if boxes.shape != (count, 2 * rank) or scores.shape != (count,) or labels.shape != (count,):
        raise ValueError(
            f"decode must answer boxes (n, {2 * rank}), scores (n,) and labels (n,). Received: "
            f"{boxes.shape}, {scores.shape} and {labels.shape}"
        )
    return Detections(boxes, scores, labels)
