"""COCO's average precision and recall, by the implementation of its authors."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldsight.core.metrics import _checks

COCOS_SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
COCOS_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
_ALL = (0.0, 1e10)


@dataclass(frozen=True)
class CocoScores:
    """Average precision and recall; None where there is nothing to find.

    Attributes:
        ap: mean over classes and IoU thresholds, COCO's headline figure.
        ar: mean recall over the same, by at most `max_detections` an image.
        ap_by_threshold: mean over classes at each IoU threshold; `[0.5]` is mAP@0.5.
        ap_by_size: as `ap`, of objects of each size.
        ar_by_size: as `ar`, of objects of each size.
        ap_by_class: as `ap`, of each class.
    """

    ap: float | None
    ar: float | None
    ap_by_threshold: dict[float, float | None]
    ap_by_size: dict[str, float | None]
    ar_by_size: dict[str, float | None]
    ap_by_class: dict[int, float | None]


def coco_scores(
    truth: Sequence[ArrayLike],
    found: Sequence[ArrayLike],
    *,
    scores: Sequence[ArrayLike],
    true_labels: Sequence[ArrayLike] | None = None,
    labels: Sequence[ArrayLike] | None = None,
    ignored: Sequence[ArrayLike] | None = None,
    num_classes: int = 1,
    sizes: Mapping[str, tuple[float, float]] = COCOS_SIZES,
    thresholds: Sequence[float] = COCOS_THRESHOLDS,
    max_detections: int = 100,
) -> CocoScores:
    """COCO's average precision (101 recalls) and recall, in all and by size.

    A class without an object counts in no mean, its false alarms neither: COCO's convention.

    Reference:
        Lin et al., Microsoft COCO: common objects in context, ECCV 2014; computed by
        pycocotools, which must be installed (it is with `fieldsight[apps]`).

    Args:
        truth: each image's objects, `(objects, 4)` `xyxy` pixels; an empty list where it has none.
        found: each image's findings, `(findings, 4)` `xyxy` pixels.
        scores: of each image's findings, `(findings,)`.
        true_labels: of each image's objects, `(objects,)` integers; None with one class.
        labels: of each image's findings, `(findings,)` integers; None with one class.
        ignored: each image's regions that aren't to be scored, `(regions, 4)` `xyxy` pixels, for
            every class (COCO's crowds): what lies in one by at least the threshold of its own
            area, and on no object, is left out.
        num_classes: how many there are; labels run from 0.
        sizes: name to the least and the largest area of a box in square pixels, both included.
            Where objects are tiny COCO's own are too large, such as
            `{"tiny": (0, 64), "small": (64, 256), "other": (256, 1e10)}`.
        thresholds: of IoU.
        max_detections: best findings of a class and image that count. COCO's 100 is too few
            where an image holds more objects: there is a warning then.

    Raises:
        ImportError: if pycocotools isn't installed.
        ValueError: if there is no image, the lists differ in length, an image's arrays don't
            fit together, a box is turned over, a true one empty, or a label beyond the classes.

    Example:
        Of two objects one was found, exactly: full precision for 51 of 101 recalls.

        >>> result = coco_scores([[[0, 0, 9, 9], [20, 20, 30, 30]]], [[[0, 0, 9, 9]]], scores=[[1]])
        >>> round(result.ap, 4), result.ar, result.ap_by_size["large"]
        (0.505, 0.5, None)
    """
    _checks.as_many(
        truth=truth, found=found, scores=scores, true_labels=true_labels, labels=labels,
        ignored=ignored,
    )  # fmt: skip
    _refuse_settings(len(truth), num_classes, true_labels, labels, sizes, thresholds)
    objects: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []
    for image in range(len(truth)):
        true_boxes = _boxes("truth", truth[image], least=np.finfo(float).tiny)
        boxes = _boxes("found", found[image], least=0.0)
        kinds = _labels("true_labels", true_labels, image, len(true_boxes), num_classes)
        if np.bincount(kinds, minlength=1).max() > max_detections:
            warnings.warn(
                f"image {image} holds more objects of a class than the {max_detections} findings "
                "that count; give a larger max_detections.",
                stacklevel=2,
            )
        chances = _checks.column("scores", scores[image], len(boxes))
        found_kinds = _labels("labels", labels, image, len(boxes), num_classes)
        objects += _annotations(image, true_boxes, kinds)
        best = _best(chances, found_kinds, max_detections)
        findings += _annotations(image, boxes[best], found_kinds[best], chances[best])
        if ignored is not None:
            regions = _boxes("ignored", ignored[image], least=np.finfo(float).tiny)
            for kind in range(num_classes):
                objects += _annotations(image, regions, np.full(len(regions), kind), crowd=True)
    precision, recall = _evaluated(
        objects, findings, len(truth), num_classes, [_ALL, *sizes.values()], thresholds,
        max_detections,
    )  # fmt: skip
    return CocoScores(
        ap=_mean(precision[..., 0]),
        ar=_mean(recall[..., 0]),
        ap_by_threshold={
            float(iou): _mean(precision[row, ..., 0]) for row, iou in enumerate(thresholds)
        },
        ap_by_size={name: _mean(precision[..., 1 + i]) for i, name in enumerate(sizes)},
        ar_by_size={name: _mean(recall[..., 1 + i]) for i, name in enumerate(sizes)},
        ap_by_class={kind: _mean(precision[:, :, kind, 0]) for kind in range(num_classes)},
    )


def _evaluated(
    objects: list[dict[str, Any]],
    findings: list[dict[str, Any]],
    images: int,
    num_classes: int,
    areas: Sequence[tuple[float, float]],
    thresholds: Sequence[float],
    max_detections: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision `(thresholds, recalls, classes, areas)` and recall without the recalls' axis."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ImportError(
            "pycocotools is needed for COCO's scores. Received: no such package. "
            'Install it: pip install "fieldsight[apps]", or pycocotools alone.'
        ) from error
    # It prints what it is doing; its loadRes fails on an empty list, so both are indexed alike.
    with contextlib.redirect_stdout(io.StringIO()):
        indexed = []
        for annotations in (objects, findings):
            coco = COCO()
            coco.dataset = {
                "images": [{"id": image} for image in range(images)],
                "categories": [{"id": kind} for kind in range(num_classes)],
                # Numbered from 1: to its evaluation an id of 0 means unmatched.
                "annotations": [{**row, "id": 1 + i} for i, row in enumerate(annotations)],
            }
            coco.createIndex()
            indexed.append(coco)
        evaluation = COCOeval(*indexed, iouType="bbox")
        evaluation.params.areaRng = [list(area) for area in areas]
        evaluation.params.areaRngLbl = [str(index) for index in range(len(areas))]
        evaluation.params.iouThrs = np.array(thresholds, float)
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., 0], evaluation.eval["recall"][..., 0]


def _best(scores: NDArray[np.float64], kinds: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The findings of each class that count, as pycocotools chooses them, in their order.

    It takes the others too, at a millisecond an image for hundreds, and leaves them out by itself.
    """
    order = np.argsort(-scores, kind="stable")
    every = [order[kinds[order] == kind][:count] for kind in np.unique(kinds)]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *every]))


def _annotations(
    image: int,
    boxes: NDArray[np.float64],
    kinds: NDArray[np.int64],
    scores: NDArray[np.float64] | None = None,
    *,
    crowd: bool = False,
) -> list[dict[str, Any]]:
    rows = []
    for index, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        row: dict[str, Any] = {
            "image_id": image,
            "category_id": int(kinds[index]),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": int(crowd),
        }
        if scores is not None:
            row["score"] = float(scores[index])
        rows.append(row)
    return rows


def _boxes(name: str, values: ArrayLike, *, least: float) -> NDArray[np.float64]:
    boxes = _checks.rows(name, values, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    if np.any(sides < least):
        wrong = boxes[int(np.argmax((sides < least).any(axis=1)))].tolist()
        raise ValueError(
            f"the boxes of {name} must be xyxy, right above left and bottom above top. "
            f"Received: {wrong}. Boxes of x, y, width and height need turning first."
        )
    return boxes


def _labels(
    name: str, lists: Sequence[ArrayLike] | None, image: int, length: int, num_classes: int
) -> NDArray[np.int64]:
    if lists is None:
        return np.zeros(length, np.int64)
    kinds = _checks.classes(name, lists[image], num_classes)
    if len(kinds) != length:
        raise ValueError(f"{name} must be ({length},). Received: shape {kinds.shape}.")
    return kinds


def _refuse_settings(
    images: int,
    num_classes: int,
    true_labels: object,
    labels: object,
    sizes: Mapping[str, tuple[float, float]],
    thresholds: Sequence[float],
) -> None:
    if not images:
        raise ValueError("one image at least is needed. Received: none.")
    if num_classes > 1 and (true_labels is None or labels is None):
        raise ValueError(f"{num_classes} classes need true_labels and labels. Received: not both.")
    if not thresholds or min(thresholds) <= 0 or max(thresholds) > 1:
        raise ValueError(f"thresholds must be above 0, at most 1. Received: {list(thresholds)}.")
    for name, (low, high) in sizes.items():
        if not 0 <= low < high:
            raise ValueError(
                f"a size runs from a smaller to a larger area. Received: {name} {low} to {high}."
            )


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean of what isn't -1, by which pycocotools says that there was nothing to find."""
    known = values[values > -1]
    return float(known.mean()) if len(known) else None
