"""From boxes to a detector's target, and from its answer back to boxes; pictures and volumes.

The detector is `core.architectures.detector`: at each place logits by class, sizes and offsets.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, special

from fieldsight.core.boxes import suppress

Array = NDArray[Any]

SPREAD = 0.54 / 6  # a heat map's standard deviation, as a share of the object's side ...
NARROWEST = 0.4  # ... but never under so many places: then the next place counts as nearly empty
CROWDED = 0.2  # share of places that may be objects, from which on all are compared


@dataclasses.dataclass(frozen=True)
class Detections:
    """What was found in one picture or volume, best first.

    Attributes:
        boxes: `(n, 2 * rank)` float32 `xyxy` pixels, `x0, y0[, z0], x1, y1[, z1]`, right and
            bottom exclusive.
        scores: `(n,)` float32 probabilities.
        labels: `(n,)` integers, the classes.
    """

    boxes: Array
    scores: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, indices: Array) -> Detections:
        """Those of the indices, in their order."""
        return Detections(self.boxes[indices], self.scores[indices], self.labels[indices])


def encode(
    boxes: ArrayLike,
    labels: ArrayLike | None,
    shape: Sequence[int],
    *,
    num_classes: int = 1,
    stride: int = 4,
    ignore: ArrayLike | None = None,
    reach: float = 1.0,
) -> Array:
    """The target of one picture or volume.

    A class's heat is 1 at the place that holds an object's centre and falls around it as a
    Gaussian as wide as the object; where two meet, the higher counts. Size and offset stand at
    that place, or wherever the Gaussian is at least `reach`: a peak that lies beside a large
    object's centre then still tells where the centre is. Of two centres in one place the smaller
    object's are kept. An object whose centre lies outside has no place.

    Reference:
        Zhou, Wang, Krähenbühl, Objects as points, 2019, section 3; Liu et al., Training-time-
        friendly network for real-time object detection, AAAI 2020, equation 2 (the Gaussian has
        the object's own proportions, and a sixth of 0.54 times its size; around a centre the
        size is learned too, weighed by it).

    Args:
        boxes: `(n, 2 * rank)` `xyxy` pixels.
        labels: `(n,)` integers under num_classes; None for all 0.
        shape: pixels along each axis, in the array's order, no channels; multiples of stride.
        num_classes: of the detector.
        stride: of the detector.
        ignore: `(m, 2 * rank)` boxes in which nothing counts, neither for nor against.
        reach: height of the Gaussian from which on size and offset stand; 1 for the centre alone.

    Returns:
        `(*places, num_classes + 2 * rank + 1)` float32: heat by class, -1 where nothing counts
        (a centre always does); the logarithm of the size in strides and the offset from the
        place's middle in strides, along each axis in the array's order; how much these weigh, 1
        at centres, the Gaussian around them, 0 elsewhere. It is what `core.losses.DetectionLoss`
        takes.

    Raises:
        ValueError: if boxes have another number of columns, a box no size, a label isn't under
            num_classes, a side isn't a multiple of stride, or reach isn't above 0 and at most 1.

    Example:
        >>> target = encode([[2, 4, 10, 12]], None, (16, 16), stride=4)
        >>> target.shape, np.argwhere(target[..., -1]).tolist()
        ((4, 4, 6), [[2, 1]])
        >>> target[2, 1].tolist()  # heat, log 2 twice, offsets of y and x, centre
        [1.0, 0.6931471824645996, 0.6931471824645996, -0.5, 0.0, 1.0]
    """
    rank = len(shape)
    given = _checked(boxes, rank)
    kinds = _checked_labels(labels, len(given), num_classes)
    if stride < 1 or any(side % stride for side in shape):
        raise ValueError(
            f"sides must be multiples of stride. Received: shape={tuple(shape)}, stride={stride}"
        )
    if not 0 < reach <= 1:
        raise ValueError(f"reach must be above 0 and at most 1. Received: {reach}")
    places = tuple(side // stride for side in shape)
    target = np.zeros((*places, num_classes + 2 * rank + 1), np.float32)
    lower, upper = _by_axis(given, rank)
    centres, sizes = (lower + upper) / 2 / stride, (upper - lower) / stride
    # The larger first, so that the smaller's size and offset stay.
    for i in np.argsort(-np.prod(sizes, axis=1), kind="stable"):
        place = np.floor(centres[i]).astype(int)
        if (place < 0).any() or (place >= places).any():
            continue
        window, curve = _gaussian(places, place, sizes[i])
        heat = target[(*window, kinds[i])]
        np.maximum(heat, curve, out=heat)
        _measures(
            target[(*window, slice(num_classes, None))], curve, window, centres[i], sizes[i], reach
        )
    ignored = _ignored(places, ignore, rank, stride) & (target[..., -1] < 1)
    target[ignored, :num_classes] = -1
    return target


def _gaussian(
    places: tuple[int, ...], place: Array, size: Array
) -> tuple[tuple[slice, ...], Array]:
    """The part of a map that an object reaches, and its Gaussian there, 1 at its place."""
    spread = np.maximum(SPREAD * size, NARROWEST)
    reach = np.ceil(3 * spread).astype(int)
    window, curve = [], np.ones(())
    for axis, count in enumerate(places):
        start = max(0, place[axis] - reach[axis])
        stop = min(count, place[axis] + reach[axis] + 1)
        window.append(slice(start, stop))
        apart = (np.arange(start, stop) - place[axis]) / spread[axis]
        curve = curve[..., None] * np.exp(-(apart**2) / 2)
    return tuple(window), curve


def _measures(
    part: Array, curve: Array, window: tuple[slice, ...], centre: Array, size: Array, reach: float
) -> None:
    """Write size, offset and their weight where no other object's weigh more, in place."""
    mine = np.argwhere((curve >= reach) & (curve >= part[..., -1]))
    at: tuple[Any, ...] = tuple(mine.T)
    rank = len(size)
    part[(*at, slice(None, rank))] = np.log(size)
    part[(*at, slice(rank, -1))] = centre - (mine + [each.start for each in window]) - 0.5
    part[(*at, -1)] = curve[at]


def _ignored(places: tuple[int, ...], ignore: ArrayLike | None, rank: int, stride: int) -> Array:
    """The places whose middle lies in a region."""
    inside = np.zeros(places, bool)
    if ignore is None:
        return inside
    lower, upper = _by_axis(_checked(ignore, rank), rank)
    for low, high in zip(lower / stride - 0.5, upper / stride - 0.5, strict=True):
        region = tuple(
            slice(max(0, int(np.ceil(a))), max(0, int(np.ceil(b))))
            for a, b in zip(low, high, strict=True)
        )
        inside[region] = True
    return inside


def decode(
    maps: ArrayLike,
    *,
    num_classes: int = 1,
    stride: int = 4,
    threshold: float = 0.1,
    overlap: float = 0.5,
    apart: float | None = None,
    limit: int = 10_000,
) -> Detections:
    """The objects in a detector's answer to one picture or volume.

    A place that no neighbour exceeds, and whose probability reaches the threshold, is an object;
    of objects of one class that overlap too much, or lie too near, the better is kept.

    Args:
        maps: `(*places, num_classes + 2 * rank)`, the detector's answer.
        num_classes: of the detector.
        stride: of the detector.
        threshold: least probability.
        overlap: largest intersection over union of two objects of one class.
        apart: least distance of two centres of one class in pixels, in place of `overlap`; for
            objects of a few pixels, whose overlap says little.
        limit: most objects, before suppression.

    Raises:
        ValueError: if the channels aren't a detector's for that many classes.

    Example:
        >>> target = encode([[2, 4, 10, 12]], None, (16, 16), stride=4)
        >>> maps = target[..., :5].copy()
        >>> maps[..., 0] = 20 * target[..., 0] - 10  # sure where the target is 1
        >>> decode(maps, stride=4).boxes.tolist()
        [[2.0, 4.0, 10.0, 12.0]]
    """
    (found,) = decode_batch(
        np.asarray(maps, np.float32)[None], num_classes=num_classes, stride=stride,
        threshold=threshold, overlap=overlap, apart=apart, limit=limit,
    )  # fmt: skip
    return found


def decode_batch(
    maps: ArrayLike,
    *,
    num_classes: int = 1,
    stride: int = 4,
    threshold: float = 0.1,
    overlap: float = 0.5,
    apart: float | None = None,
    limit: int = 10_000,
) -> list[Detections]:
    """What `decode` finds in each answer of a batch, in less time where objects are few.

    Args:
        maps: `(n, *places, num_classes + 2 * rank)`, a detector's answer to a batch.
        num_classes: as `decode` has it, and so are the others.
        stride: of the detector.
        threshold: least probability.
        overlap: largest intersection over union.
        apart: least distance of two centres in pixels, in place of it.
        limit: most objects of each.

    Raises:
        ValueError: if the channels aren't a detector's for that many classes.
    """
    answer = np.asarray(maps, np.float32)
    rank = answer.ndim - 2
    if rank < 1 or answer.shape[-1] != num_classes + 2 * rank:
        raise ValueError(
            f"a detector of {num_classes} classes answers with {num_classes} + 2 x rank channels, "
            f"here {num_classes + 2 * max(rank, 1)}. Received: shape {answer.shape[1:]}"
        )
    with np.errstate(divide="ignore"):
        least = special.logit(threshold)
    found = _peaks(answer, num_classes, least)
    logits = answer[tuple(found.T)]
    best = np.lexsort((*found.T[:0:-1], -logits, found[:, 0]))  # by picture, the best first
    first = np.searchsorted(found[best, 0], np.arange(len(answer)))
    best = best[np.arange(len(best)) - first[found[best, 0]] < limit]
    found, logits = found[best], logits[best]
    pictures, places, labels = found[:, 0], found[:, 1:-1], found[:, -1]
    values = answer[tuple(found[:, :-1].T)][:, num_classes:].astype(np.float64)
    # A size beyond e^20 strides is no size, and would overflow.
    sizes = np.exp(np.minimum(values[:, :rank], 20.0)) * stride
    centres = (places + 0.5 + values[:, rank:]) * stride
    boxes = np.concatenate(
        [(centres - sizes / 2)[:, ::-1], (centres + sizes / 2)[:, ::-1]], axis=1
    ).astype(np.float32)
    everything = Detections(boxes, special.expit(logits), labels)
    groups = pictures * num_classes + labels
    if apart is None:
        kept = suppress(boxes, everything.scores, threshold=overlap, by="iou", labels=groups)
    else:
        kept = suppress(boxes, everything.scores, threshold=apart, by="distance", labels=groups)
    return [everything.take(kept[pictures[kept] == number]) for number in range(len(answer))]


def _peaks(answer: Array, num_classes: int, least: float) -> Array:
    """`(n, 1 + rank + 1)` pictures, places and classes of a logit that no neighbour exceeds."""
    high = _high(answer, num_classes, least)
    axes = answer.ndim - 2
    if np.count_nonzero(high) > CROWDED * high[..., :num_classes].size:
        heat = answer[..., :num_classes]
        size = (1, *(3,) * axes, 1)
        highest = heat == ndimage.maximum_filter(heat, size, mode="nearest")
        return np.argwhere(high[..., :num_classes] & highest)
    # Few reach it: comparing these alone takes a tenth of the time of a filter over all, and after
    # each neighbour fewer are left.
    found = np.unravel_index(np.flatnonzero(high), high.shape)
    values = answer[found]
    last = np.array(high.shape[1:-1]) - 1
    steps = itertools.product((-1, 0, 1), repeat=axes)
    for step in sorted(steps, key=np.count_nonzero)[1:]:
        beside = (
            np.clip(along + by, 0, end) if by else along
            for along, by, end in zip(found[1:-1], step, last, strict=True)
        )
        highest = ~(answer[(found[0], *beside, found[-1])] > values)
        found, values = tuple(along[highest] for along in found), values[highest]
    return np.stack(found, axis=1)


def _high(answer: Array, num_classes: int, least: float) -> Array:
    """Where an answer's logits reach it; sizes and offsets never do.

    Whole rows are compared: NumPy takes three times as long for the first channels of each place.
    """
    row = np.full(answer.shape[-2:], np.nan, np.float32)
    row[:, :num_classes] = least
    rows = answer.reshape(*answer.shape[:-2], -1)
    high: Array = (rows >= row.reshape(-1)).reshape(answer.shape)
    return high


def _by_axis(boxes: Array, rank: int) -> tuple[Array, Array]:
    """Lower and upper corners in the array's order of axes: columns begin with x, the last."""
    return boxes[:, :rank][:, ::-1], boxes[:, rank:][:, ::-1]


def _checked(boxes: ArrayLike, rank: int) -> Array:
    given = np.asarray(boxes, np.float64)
    if given.size == 0:
        return np.zeros((0, 2 * rank))
    if given.ndim != 2 or given.shape[1] != 2 * rank:
        raise ValueError(
            f"boxes of {rank} axes have {2 * rank} columns. Received: shape {given.shape}"
        )
    empty = ~(given[:, rank:] > given[:, :rank]).all(axis=1)
    if empty.any():
        raise ValueError(
            f"a box needs an upper corner beyond its lower one. Received: "
            f"{given[np.flatnonzero(empty)[0]].tolist()}. Leave such boxes out."
        )
    return given


def _checked_labels(labels: ArrayLike | None, count: int, num_classes: int) -> Array:
    kinds = np.zeros(count, np.int64) if labels is None else np.asarray(labels).astype(np.int64)
    if kinds.shape != (count,):
        raise ValueError(f"{count} boxes need as many labels. Received: shape {kinds.shape}")
    if count and (kinds.min() < 0 or kinds.max() >= num_classes):
        raise ValueError(
            f"labels must be 0 to {num_classes - 1}. Received: {kinds.min()} to {kinds.max()}"
        )
    return kinds
