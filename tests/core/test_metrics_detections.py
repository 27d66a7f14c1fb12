"""COCO's scores against pycocotools' own route by files; distances against plain loops; by hand."""

import contextlib
import csv
import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldsight.core.metrics import PointScores, coco_scores, match_points

COCO = pytest.importorskip("pycocotools.coco").COCO
COCOeval = pytest.importorskip("pycocotools.cocoeval").COCOeval
DATA = Path(os.environ.get("FIELDSIGHT_DATA", Path(__file__).parents[3] / "shared" / "data"))
BIRDS = DATA / "wildlife" / "thermal_waterfowl" / "boxes.csv"

Case = dict[str, list[Any]]


def random_case(seed: int, images: int = 12, num_classes: int = 3) -> Case:
    """Objects of all of COCO's sizes, findings near them and elsewhere, some regions ignored."""
    rng = np.random.default_rng(seed)
    case: Case = {name: [] for name in ("truth", "found", "scores", "true_labels", "labels")}
    case["ignored"] = []
    for _ in range(images):
        count = int(rng.integers(0, 7))
        corner = rng.uniform(0, 400, (count, 2))
        boxes = np.hstack([corner, corner + rng.choice([9, 40, 120], (count, 2))])
        kinds = rng.integers(0, num_classes, count)
        near = boxes + rng.normal(0, 4, boxes.shape)
        other = rng.uniform(0, 400, (3, 2))
        found = np.vstack([near, np.hstack([other, other + 30])])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        case["truth"].append(boxes)
        case["true_labels"].append(kinds)
        case["found"].append(found)
        case["labels"].append(np.append(kinds, rng.integers(0, num_classes, 3)))
        # Of two digits, so that some are equal.
        case["scores"].append(rng.random(len(found)).round(2))
        case["ignored"].append([[0, 0, 150, 150]] if rng.random() < 0.5 else [])
    return case


def xywh(box: Any) -> list[float]:
    x0, y0, x1, y1 = (float(value) for value in box)
    return [x0, y0, x1 - x0, y1 - y0]


def by_files(case: Case, folder: Path, num_classes: int) -> list[float]:
    """The twelve figures that pycocotools prints, from its two JSON files."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, boxes in enumerate(case["truth"]):
        rows = [(box, kind, 0) for box, kind in zip(boxes, case["true_labels"][image], strict=True)]
        rows += [(box, k, 1) for box in case["ignored"][image] for k in range(num_classes)]
        for box, kind, crowd in rows:
            x, y, w, h = xywh(box)
            annotations.append({"id": len(annotations) + 1, "image_id": image + 1, "area": w * h,
                                "category_id": int(kind) + 1, "bbox": [x, y, w, h],
                                "iscrowd": crowd})  # fmt: skip
        for box, kind, score in zip(
            case["found"][image], case["labels"][image], case["scores"][image], strict=True
        ):
            results.append({"image_id": image + 1, "category_id": int(kind) + 1,
                            "bbox": xywh(box), "score": float(score)})  # fmt: skip
    truth = {
        "images": [{"id": image + 1} for image in range(len(case["truth"]))],
        "categories": [{"id": kind + 1, "name": str(kind)} for kind in range(num_classes)],
        "annotations": annotations,
        "info": {},
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "found.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_what_pycocotools_prints(seed: int, tmp_path: Path) -> None:
    case = random_case(seed)
    printed = by_files(case, tmp_path, 3)
    ours = coco_scores(case.pop("truth"), case.pop("found"), num_classes=3, **case)  # type: ignore[arg-type]
    sizes = ("small", "medium", "large")
    expected = [ours.ap, ours.ap_by_threshold[0.5], ours.ap_by_threshold[0.75]]
    expected += [ours.ap_by_size[size] for size in sizes]
    assert printed[:6] == pytest.approx(expected)
    # AR for 1 and 10 findings are not ours.
    assert printed[8:] == pytest.approx([ours.ar, *(ours.ar_by_size[size] for size in sizes)])
    assert ours.ap == pytest.approx(np.mean(list(ours.ap_by_class.values())))


SQUARE, FAR = [0, 0, 10, 10], [50, 50, 60, 60]


def test_average_precision_by_hand() -> None:
    # A false alarm first, then the hit: precision 1/2 at every recall.
    result = coco_scores([[SQUARE]], [[FAR, SQUARE]], scores=[[0.9, 0.8]])
    assert result.ap == pytest.approx(0.5)
    assert result.ar == 1
    # Shifted by two of ten pixels along both axes: 64 / 136 = 0.47 hits at no threshold.
    assert coco_scores([[SQUARE]], [[[2, 2, 12, 12]]], scores=[[1]]).ap == 0
    # Along one axis: 80 / 120 = 0.667, at 0.5, 0.55, 0.6 and 0.65.
    result = coco_scores([[SQUARE]], [[[2, 0, 12, 10]]], scores=[[1]])
    assert result.ap == pytest.approx(0.4)
    assert result.ap_by_threshold[0.65] == pytest.approx(1)
    assert result.ap_by_threshold[0.7] == 0


def test_sizes_are_the_callers() -> None:
    sizes = {"tiny": (0.0, 64.0), "small": (64.0, 256.0)}
    bird = [20, 20, 26, 26]
    result = coco_scores([[SQUARE, bird]], [[SQUARE]], scores=[[1]], sizes=sizes)
    assert result.ap_by_size == pytest.approx({"tiny": 0, "small": 1})


def test_ignored_regions_cost_and_give_nothing() -> None:
    result = coco_scores([[SQUARE]], [[SQUARE, FAR]], scores=[[0.8, 0.9]])
    assert result.ap == pytest.approx(0.5)
    result = coco_scores(
        [[SQUARE]], [[SQUARE, FAR]], scores=[[0.8, 0.9]], ignored=[[[40, 40, 99, 99]]]
    )
    assert result.ap == pytest.approx(1)


def test_nothing_to_find_and_nothing_found() -> None:
    nothing = coco_scores([[]], [[]], scores=[[]])
    assert (nothing.ap, nothing.ar, nothing.ap_by_class) == (None, None, {0: None})
    assert coco_scores([[]], [[SQUARE]], scores=[[1]]).ap is None
    missed = coco_scores([[SQUARE], []], [[], []], scores=[[], []])
    assert (missed.ap, missed.ar, missed.ap_by_size["large"]) == (0, 0, None)


def test_more_objects_than_findings_that_count_are_warned_of() -> None:
    boxes = [[i, 0, i + 1, 1] for i in range(102)]
    with pytest.warns(UserWarning, match="larger max_detections"):
        few = coco_scores([boxes], [boxes], scores=[[1.0] * 102])
    assert few.ar == pytest.approx(100 / 102)
    assert coco_scores([boxes], [boxes], scores=[[1.0] * 102], max_detections=200).ar == 1


def test_findings_beyond_those_that_count_change_nothing() -> None:
    # Chosen by hand: the five best of each class, of equal ones the first, as pycocotools does.
    rng = np.random.default_rng(4)
    corners = rng.integers(0, 40, (60, 2))
    boxes = np.concatenate([corners, corners + rng.integers(4, 9, (60, 2))], axis=1)
    scores, labels = rng.integers(1, 6, 60) / 5, rng.integers(0, 2, 60)
    truth, true_labels = boxes[:12] + 1, labels[:12]
    chosen: list[int] = []
    for label in (0, 1):
        mine = [i for i in range(60) if labels[i] == label]
        chosen += sorted(mine, key=lambda i: (-scores[i], i))[:5]
    chosen.sort()
    options: dict[str, Any] = {"true_labels": [true_labels], "num_classes": 2}
    with pytest.warns(UserWarning, match="larger max_detections"):
        every = coco_scores([truth], [boxes], scores=[scores], labels=[labels],
                            max_detections=5, **options)  # fmt: skip
    best = coco_scores([truth], [boxes[chosen]], scores=[scores[chosen]],
                       labels=[labels[chosen]], max_detections=60, **options)  # fmt: skip
    assert every == best
    assert every.ap is not None
    assert every.ap > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": [[[5, 5, 5, 9]]]}, r"xyxy.*Received: \[5"),
        ({"found": [[[9, 9, 3, 3]]]}, r"boxes of found must be xyxy.*turning first"),
        ({"found": [[[0, 0, math.nan, 3]]]}, "1 of 4 NaN"),
        ({"scores": [[0.5, 0.5]]}, r"scores must be \(1,\)"),
        ({"labels": [[2]], "true_labels": [[0]], "num_classes": 2}, "labels must lie from 0 to 1"),
        ({"num_classes": 2}, "need true_labels and labels"),
        ({"truth": [], "found": [], "scores": []}, "one image"),
        ({"found": [], "scores": []}, "one entry an image"),
        ({"thresholds": [0.5, 1.5]}, "at most 1"),
        ({"sizes": {"tiny": (9, 3)}}, "tiny 9 to 3"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    fit = {"truth": [[SQUARE]], "found": [[SQUARE]], "scores": [[1.0]]}
    arguments = {**fit, **change}
    with pytest.raises(ValueError, match=message):
        coco_scores(arguments.pop("truth"), arguments.pop("found"), **arguments)


def test_without_pycocotools_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ImportError, match=r"fieldsight\[apps\]"):
        coco_scores([[SQUARE]], [[SQUARE]], scores=[[1.0]])


# By distance


def by_loops(
    truth: np.ndarray[Any, Any], found: np.ndarray[Any, Any], scores: list[float], distance: float
) -> list[bool]:
    free, hits = list(range(len(truth))), [False] * len(found)
    for one in sorted(range(len(found)), key=lambda i: (-scores[i], i)):
        near = [(math.dist(found[one], truth[t]), t) for t in free]
        if near and min(near)[0] <= distance:
            free.remove(min(near)[1])
            hits[one] = True
    return hits


SPOTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=12)


@settings(max_examples=100)
@given(
    SPOTS,
    st.lists(st.tuples(st.tuples(*[st.integers(0, 12)] * 2), st.integers(0, 5))),
    st.integers(0, 4),
)
def test_matching_is_the_plain_loop(
    truth: list[tuple[int, int]], found: list[tuple[tuple[int, int], int]], distance: int
) -> None:
    places = np.array([spot for spot, _ in found], float).reshape(-1, 2)
    scores = [float(score) for _, score in found]
    objects = np.array(truth, float).reshape(-1, 2)
    matches = match_points([objects], [places], scores=[scores], distance=distance)
    assert matches.is_hit.tolist() == by_loops(objects, places, scores, distance)
    # A threshold set later gives what a matching of the better findings alone gives.
    kept = [i for i, score in enumerate(scores) if score >= 3]
    alone = by_loops(objects, places[kept], [scores[i] for i in kept], distance)
    assert matches.at(3).hits == sum(alone)


def test_scores_by_hand() -> None:
    # First image: one of two objects found, one false alarm. Second: nothing there, one alarm.
    matches = match_points(
        [[[0, 0], [20, 20]], []],
        [[[0, 3], [9, 9]], [[5, 5]]],
        scores=[[0.9, 0.4], [0.6]],
        distance=3,
    )
    assert matches.at() == PointScores(hits=1, misses=1, false_alarms=2)
    assert matches.at().precision == pytest.approx(1 / 3)
    assert matches.at().recall == 0.5
    assert matches.at().f1 == pytest.approx(0.4)
    assert matches.counts(0.5).tolist() == [[1, 1, 0], [0, 0, 1]]
    thresholds, hits, alarms = matches.curve()
    assert (thresholds.tolist(), hits.tolist()) == ([0.9, 0.6, 0.4], [1, 1, 1])
    assert alarms.tolist() == [0, 1, 2]
    assert matches.best_threshold() == 0.9
    # Half an alarm an image is one in two images; none is the first finding alone.
    assert (matches.threshold_at(0.5), matches.threshold_at(0)) == (0.6, 0.9)


def test_a_budget_that_the_best_finding_breaks_has_no_threshold() -> None:
    matches = match_points([[]], [[[1, 1]]], scores=[[0.9]], distance=3)
    assert matches.threshold_at(0.5) is None
    assert matches.threshold_at(1) == 0.9
    assert match_points([[]], [[]], scores=[[]], distance=3).threshold_at(1) is None


def test_two_pixels_off_is_no_hit_by_overlap_and_one_by_distance() -> None:  # W-12
    bird, found = [10, 10, 18, 18], [12, 12, 20, 20]
    result = coco_scores([[bird]], [[found]], scores=[[1]], thresholds=[0.39, 0.4, 0.5])
    assert result.ap_by_threshold == pytest.approx({0.39: 1, 0.4: 0, 0.5: 0})
    assert match_points([[[14, 14]]], [[[16, 16]]], scores=[[1]], distance=6).at().f1 == 1


def test_classes_match_their_own() -> None:
    arguments: dict[str, Any] = {"scores": [[0.9]], "distance": 5}
    matches = match_points([[[0, 0]]], [[[1, 0]]], true_labels=[[2]], labels=[[1]], **arguments)
    assert matches.at() == PointScores(0, 1, 1)
    matches = match_points([[[0, 0]]], [[[1, 0]]], true_labels=[[1]], labels=[[1]], **arguments)
    assert matches.at() == PointScores(1, 0, 0)


def test_findings_in_ignored_regions_are_hits_or_nothing() -> None:
    matches = match_points(
        [[[0, 0]]], [[[0, 1], [50, 50], [80, 80]]], scores=[[0.5, 0.9, 0.7]], distance=3,
        ignored=[[True, True, False]],
    )  # fmt: skip
    assert matches.at() == PointScores(1, 0, 1)


def test_volumes_match_as_pictures_do() -> None:
    matches = match_points([[[1, 2, 3]]], [[[1, 2, 5], [1, 2, 4]]], scores=[[1, 2]], distance=2)
    assert matches.is_hit.tolist() == [False, True]


def test_empty_images_have_no_precision_or_recall() -> None:
    nothing = match_points([], [], scores=[], distance=3)
    assert nothing.at() == PointScores(0, 0, 0)
    assert (nothing.at().precision, nothing.at().recall, nothing.at().f1) == (None, None, None)
    assert nothing.best_threshold() is None
    missed = match_points([[[1, 1]]], [[]], scores=[[]], distance=3).at()
    assert (missed.precision, missed.recall, missed.f1) == (None, 0, 0)
    alarm = match_points([[]], [[[1, 1]]], scores=[[1]], distance=3).at()
    assert (alarm.precision, alarm.recall, alarm.f1) == (0, None, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": [[0.1, 0.2]]}, r"scores must be \(1,\)"),
        ({"scores": [[math.nan]]}, "NaN"),
        ({"found": [[[1, 2, 3]]]}, r"truth must be \(n, 3\)"),
        ({"labels": [[1]]}, "both, or neither"),
        ({"distance": -1}, "Received: -1"),
        ({"distance": math.nan}, "Received: nan"),
        ({"truth": []}, "one entry an image"),
    ],
)
def test_points_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    fit = {"truth": [[[0, 0]]], "found": [[[1, 2]]], "scores": [[0.5]], "distance": 3}
    arguments = {**fit, **change}
    with pytest.raises(ValueError, match=message):
        match_points(arguments.pop("truth"), arguments.pop("found"), **arguments)


def test_real_birds_found_with_a_jitter_are_all_hits() -> None:
    if not BIRDS.exists():
        pytest.skip(f"no {BIRDS.name} of the thermal frame: set FIELDSIGHT_DATA")
    with BIRDS.open() as file:
        rows = list(csv.DictReader(file))
    boxes = np.array(
        [[float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")] for row in rows]
    )
    assert len(boxes) == 136
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    jitter = np.random.default_rng(0).uniform(-1, 1, centres.shape)
    scores = np.ones(len(boxes))
    found = match_points([centres], [centres + jitter], scores=[scores], distance=6).at()
    assert found.f1 == 1
    shifted = boxes + np.tile(jitter, 2)
    by_overlap = coco_scores([boxes], [shifted], scores=[scores], max_detections=200)
    assert by_overlap.ap is not None
    assert by_overlap.ap < 0.9
