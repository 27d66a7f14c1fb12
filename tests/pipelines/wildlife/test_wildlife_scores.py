"""Figures of frames against hand-worked cases and COCO's own implementation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldsight.core.detection import Detections
from fieldsight.core.metrics import coco_scores
from fieldsight.datasets.animals import Frame
from fieldsight.pipelines.wildlife import _scores
from fieldsight.pipelines.wildlife._cohort import Unit
from fieldsight.pipelines.wildlife._finder import alone, once
from fieldsight.pipelines.wildlife._scores import Looked, near_px, scores_of
from fieldsight.pipelines.wildlife._threshold import GRID, Spots, tune

CLASSES, KINDS = ("human", "zebra"), ("person", "animal")


def frame(
    name: str, boxes: Any = (), labels: Any = None, ignored: Any = (), group: str = "flight"
) -> Frame:
    given = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(given)
    kinds = np.ones(count, np.int64) if labels is None else np.array(labels, np.int64)
    return Frame(
        name, group, 0, (100, 100), given, kinds, np.full(count, -1),
        np.array(ignored, np.float32).reshape(-1, 4), np.zeros(count, bool),
        np.zeros(count, bool), False, True, Path(name),
        lambda _: np.zeros((100, 100, 1), np.uint8),
    )  # fmt: skip


def seen(boxes: Any = (), scores: Any = (), labels: Any = None) -> Detections:
    given = np.array(boxes, np.float32).reshape(-1, 4)
    kinds = np.ones(len(given), np.int64) if labels is None else np.array(labels, np.int64)
    return Detections(given, np.array(scores, np.float32), kinds)


def looked(*pairs: tuple[Frame, Detections]) -> list[Looked]:
    return [Looked(Unit(one.name, one.group, (one,)), (found,)) for one, found in pairs]


def scored(given: list[Looked], **settings: Any) -> dict[str, float]:
    settings = {"threshold": 0.5, "distance": 6.0} | settings
    return dict(scores_of(given, classes=CLASSES, kinds=KINDS, **settings).figures)


def test_f1_counts_within_six_pixels_and_average_precision_by_overlap() -> None:
    # W-12: an animal of 8 pixels that is found 2 pixels off has IoU 0.39 (6 x 6 of 92) ...
    here = frame("a", [[10, 10, 18, 18], [50, 50, 58, 58]])
    found = seen([[12, 12, 20, 20], [50, 50, 58, 58], [80, 80, 88, 88]], [0.9, 0.8, 0.7])
    figures = scored(looked((here, found)))
    # ... and is found all the same: 2 hits, 1 false alarm, none missed.
    assert figures["f1"] == pytest.approx(0.8)
    # By falling score: wrong, right, wrong. Precision 1/2 up to recall 1/2: 51 of 101 recalls.
    assert figures["ap50"] == pytest.approx(51 / 101 / 2, abs=1e-6)


def test_average_precision_is_that_of_cocos_authors() -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(12):
        corners = rng.uniform(0, 80, (6, 2))
        true = np.concatenate([corners, corners + rng.uniform(6, 20, (6, 2))], axis=1)
        moved = np.concatenate([true[:5] + rng.normal(0, 1.5, (5, 4)), true[:3] + 40])
        pairs.append((frame(str(number), true), seen(moved, rng.uniform(0.1, 1, 8))))
    given = looked(*pairs)
    ours = scored(given)
    theirs = coco_scores(
        [one.boxes for one, _ in pairs], [alone(found).boxes for _, found in pairs],
        scores=[alone(found).scores for _, found in pairs],
    )  # fmt: skip
    assert ours["ap50"] == pytest.approx(theirs.ap_by_threshold[0.5], abs=1e-4)
    assert ours["ap"] == pytest.approx(theirs.ap, abs=1e-6)


def test_what_lies_where_nobody_knows_is_neither_right_nor_wrong() -> None:
    # W-2: species -1.
    here = frame("a", [[10, 10, 18, 18]], ignored=[[40, 40, 60, 60]])
    found = seen([[10, 10, 18, 18], [44, 44, 52, 52]], [0.9, 0.95])
    figures = scored(looked((here, found)))
    assert figures["f1"] == figures["precision"] == figures["ap50"] == 1.0
    assert figures["frame_count_mae"] == 0.0


def test_an_empty_frame_is_right_if_nothing_is_found_above_the_threshold() -> None:
    # W-3, W-10: of three empty frames one has an alarm, one has what is too weak.
    alarm, weak = seen([[1, 1, 9, 9]], [0.6]), seen([[1, 1, 9, 9]], [0.4])
    full = frame("full", [[10, 10, 18, 18]])
    given = looked((frame("a"), alarm), (frame("b"), weak), (frame("c"), seen()),
                   (full, seen([[10, 10, 18, 18]], [0.9])))  # fmt: skip
    figures = scored(given)
    assert figures["empty_frame_accuracy"] == pytest.approx(2 / 3)
    assert figures["empty_frames"] == 3
    assert figures["frame_count_mae"] == pytest.approx(1 / 4)


def test_intervals_are_over_flights() -> None:
    # C-9: of two flights one is all right, one all wrong: draws give 0, 1/2 and 1 and no more.
    right, wrong = seen([[10, 10, 18, 18]], [0.9]), seen([[60, 60, 68, 68]], [0.9])
    box = [[10, 10, 18, 18]]
    pairs = [(frame(f"a{i}", box, group="a"), right) for i in range(20)]
    pairs += [(frame(f"b{i}", box, group="b"), wrong) for i in range(20)]
    figures = scored(looked(*pairs))
    assert (figures["f1"], figures["f1_low"], figures["f1_high"]) == (0.5, 0.0, 1.0)


def test_a_species_taken_for_another_is_found_but_not_by_kind() -> None:
    here = frame("a", [[10, 10, 18, 18]], labels=[0])
    figures = scored(looked((here, seen([[10, 10, 18, 18]], [0.9], [1]))))
    assert figures["ap50"] == 1.0
    assert figures["ap50_person"] == 0.0


def test_one_object_is_shown_once_and_what_other_classes_say_stays_as_evidence() -> None:
    # W-11: that it may be a person isn't dropped, only weaker than the threshold.
    found = seen([[10, 10, 18, 18], [10, 10, 18, 18.5]], [0.9, 0.7], [1, 0])
    kept = once(found, 0.5)
    assert kept.labels.tolist() == [1, 0]
    assert kept.scores[0] == pytest.approx(0.9)
    assert 0.49 < kept.scores[1] < 0.5
    assert len(alone(found)) == 1


def test_what_counts_as_near_grows_with_the_objects() -> None:
    small = Unit("a", "a", (frame("a", [[0, 0, 10, 12]]),))
    large = Unit("b", "b", (frame("b", [[0, 0, 60, 100]]),))
    assert near_px([small]) == 6.0
    assert near_px([large]) == 20.0
    assert near_px([]) == _scores.NEAR_PX


def warm(*places: tuple[int, int]) -> np.ndarray[Any, Any]:
    image = np.random.default_rng(1).normal(127, 3, (96, 128, 1))
    for row, column in places:
        image[row : row + 6, column : column + 8] += 60
    return image.clip(0, 255).astype(np.uint8)


def test_the_classical_method_finds_what_stands_out() -> None:
    found = Spots(0.8, 31, 22.0, 12).find(warm((20, 30), (60, 90)))
    assert len(found) == 2
    boxes = found.boxes[np.argsort(found.boxes[:, 0])]
    assert np.abs(boxes - [[30, 20, 38, 26], [90, 60, 98, 66]]).max() <= 1.0


def test_the_classical_method_is_tuned_to_leave_stones_out() -> None:
    # Stones of a pixel or two, as warm: the least extent of the grid that is left is above them.
    image = warm((20, 30), (60, 90))
    image[40:42, 10:12] = image[80:82, 60:62] = 200
    true = np.array([[30, 20, 38, 26], [90, 60, 98, 66]], float)
    chosen = tune([(image, true, np.zeros((0, 4)))], near_px=6.0)
    assert chosen in GRID
    assert len(chosen.find(image)) == 2
