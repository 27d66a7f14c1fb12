"""Boxes: cases worked by hand, pycocotools, and a dense sequential reference written here."""

import math
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldsight.core import boxes as fb

Array = NDArray[Any]
Box = Sequence[float]
By = Literal["iou", "ios", "distance"]

BIRD = [[0.0, 0.0, 8.0, 8.0]]
THRESHOLDS = {"iou": (0.1, 1 / 3, 0.5, 1.0), "ios": (0.25, 0.5, 1.0), "distance": (0.0, 2.5, 6.0)}


# The reference: one pair after the other, in whole numbers, so that quotients are the same


def shared(a: Box, b: Box) -> float:
    rank = len(a) // 2
    sides = [min(a[k + rank], b[k + rank]) - max(a[k], b[k]) for k in range(rank)]
    return math.prod(sides) if min(sides) > 0 else 0.0


def size(a: Box) -> float:
    rank = len(a) // 2
    return math.prod(a[k + rank] - a[k] for k in range(rank))


def compared(a: Box, b: Box, by: By) -> float:
    if by == "distance":
        rank = len(a) // 2
        middles = [[(x[k] + x[k + rank]) / 2 for k in range(rank)] for x in (a, b)]
        return math.dist(*middles)
    whole = min(size(a), size(b)) if by == "ios" else size(a) + size(b) - shared(a, b)
    return shared(a, b) / whole if whole else 0.0


def close(a: Box, b: Box, by: By, threshold: float) -> bool:
    value = compared(a, b, by)
    return value <= threshold if by == "distance" else value >= threshold


def greedy(
    boxes: Array, scores: Array, labels: Array, by: By, threshold: float
) -> dict[int, list[int]]:
    """Kept boxes, best first, and whom each suppressed."""
    order = sorted(range(len(boxes)), key=lambda i: (-scores[i], *boxes[i], labels[i]))
    rows = boxes.tolist()
    taken: dict[int, list[int]] = {}
    for i in order:
        for j in taken:
            if labels[i] == labels[j] and close(rows[i], rows[j], by, threshold):
                taken[j].append(i)
                break
        else:
            taken[i] = []
    return taken


# What hypothesis draws


@st.composite
def sets(
    draw: st.DrawFn, rank: int | None = None, max_size: int = 25, reach: int = 12
) -> tuple[Array, Array, Array]:
    """Boxes in whole numbers, without area too; scores, some of them equal; labels."""
    rank = rank or draw(st.integers(1, 3))
    count = draw(st.integers(0, max_size))
    # Bytes are drawn much faster than as many numbers.
    drawn = draw(st.binary(min_size=count * (2 * rank + 2), max_size=count * (2 * rank + 2)))
    numbers = np.frombuffer(drawn, "uint8").reshape(count, 2 * rank + 2).astype("int64")
    lower = numbers[:, :rank] % (2 * reach + 1) - reach
    # Mostly small, some without area, some thin and long.
    sides = np.where(numbers < 200, numbers % 7, numbers % (2 * reach + 1))[:, rank:-2]
    scores, labels = numbers[:, -2] % 6 / 8, numbers[:, -1] % 3
    boxes = np.concatenate([lower, lower + sides], axis=1).astype("float64")
    return boxes, scores, labels


@st.composite
def ways(draw: st.DrawFn) -> tuple[By, float]:
    by: By = draw(st.sampled_from(["iou", "ios", "distance"]))
    return by, draw(st.sampled_from(THRESHOLDS[by]))


def crowd(count: int, rank: int, *, spread: float, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    lower = rng.integers(0, int(spread), (count, rank))
    boxes = np.concatenate([lower, lower + rng.integers(4, 16, (count, rank))], axis=1)
    return boxes.astype("float64"), rng.permutation(count) / count


# One box, and two


def test_area_sizes_and_centres_by_hand() -> None:
    picture, volume = [[1, 2, 4, 4]], [[1, 2, 0, 4, 4, 5]]
    assert fb.area(picture).tolist() == [6]
    assert fb.area(volume).tolist() == [30]
    assert fb.sizes(volume).tolist() == [[3, 2, 5]]
    assert fb.centres(picture).tolist() == [[2.5, 3]]


def test_overlaps_by_hand() -> None:
    # 8 x 8 and two pixels off both ways: 36 shared of 64 + 64 - 36 = 92 (W-12).
    off = [[2, 2, 10, 10]]
    assert fb.iou(BIRD, off)[0, 0] == 36 / 92
    assert fb.ios(BIRD, off)[0, 0] == 36 / 64
    assert fb.distance(BIRD, off)[0, 0] == pytest.approx(np.sqrt(8))
    # A part within the whole: 4 of 64.
    part = [[1, 1, 3, 3]]
    assert (fb.iou(BIRD, part)[0, 0], fb.ios(BIRD, part)[0, 0]) == (4 / 64, 1)
    # Neighbours touch and share nothing: right and bottom are exclusive.
    assert fb.iou(BIRD, [[8, 0, 16, 8]])[0, 0] == 0
    # Cubes of 2, one voxel off along z: 4 of 8 + 8 - 4.
    assert fb.iou([[0, 0, 0, 2, 2, 2]], [[0, 0, 1, 2, 2, 3]])[0, 0] == 4 / 12


@settings(deadline=None)
@given(sets(2, reach=40), sets(2, reach=40))
def test_overlap_is_pycocotools(a: tuple[Array, ...], b: tuple[Array, ...]) -> None:
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools isn't installed")
    first, second = (x[0][fb.area(x[0]) > 0] for x in (a, b))
    if not len(first) or not len(second):
        return

    def xywh(boxes: Array) -> Array:
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)

    peer = mask.iou(xywh(first), xywh(second), [False] * len(second))
    np.testing.assert_allclose(fb.iou(first, second), peer, rtol=1e-12)


@settings(deadline=None)
@given(st.integers(1, 3).flatmap(lambda rank: st.tuples(sets(rank), sets(rank))))
def test_tables_are_the_references(both: tuple[tuple[Array, ...], tuple[Array, ...]]) -> None:
    (a, *_), (b, *_) = both
    for by, table in (("iou", fb.iou), ("ios", fb.ios), ("distance", fb.distance)):
        expected = [[compared(x, y, by) for y in b.tolist()] for x in a.tolist()]  # type: ignore[arg-type]
        np.testing.assert_allclose(table(a, b), np.reshape(expected, (len(a), len(b))), rtol=1e-15)


def test_a_box_without_area_overlaps_nothing() -> None:
    flat = [[3.0, 3.0, 3.0, 6.0]]
    assert fb.iou(flat, flat).tolist() == fb.ios(flat, BIRD).tolist() == [[0]]
    assert fb.overlapping_pairs([*BIRD, *flat, *flat]).tolist() == []
    assert fb.suppress([*flat, *flat], [0.5, 0.4], threshold=0.1).tolist() == [0, 1]
    # It has a centre all the same.
    assert fb.suppress([*flat, *flat], [0.5, 0.4], by="distance", threshold=1).tolist() == [0]


@settings(deadline=None)
@given(sets(2), st.integers(0, 9), st.integers(0, 9))
def test_clipping_keeps_just_the_pixels_inside(
    case: tuple[Array, ...], height: int, width: int
) -> None:
    boxes = case[0]
    clipped = fb.clip(boxes, (height, width))
    assert clipped.shape == boxes.shape
    frame = [0, 0, width, height]
    assert fb.area(clipped).tolist() == [shared(box, frame) for box in boxes.tolist()]
    np.testing.assert_array_equal(fb.clip(clipped, (height, width)), clipped)


def test_clipping_a_volume_takes_its_axes_in_their_order() -> None:
    # (plane, row, column) of 2, 3, 4: z to 2, y to 3, x to 4; the dtype stays.
    box = np.array([[-1, -1, -1, 9, 9, 9]], "float32")
    clipped = fb.clip(box, (2, 3, 4))
    assert clipped.tolist() == [[0, 0, 0, 4, 3, 2]]
    assert clipped.dtype == "float32"


# Pairs


def dense_pairs(boxes: Array, others: Array | None) -> list[list[int]]:
    a, b = boxes.tolist(), None if others is None else others.tolist()
    return [
        [i, j]
        for i in range(len(a))
        for j in (range(i + 1, len(a)) if b is None else range(len(b)))
        if shared(a[i], (a if b is None else b)[j]) > 0
    ]


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4).flatmap(lambda rank: st.tuples(sets(rank), sets(rank))), st.booleans())
def test_pairs_are_the_dense_references(
    both: tuple[tuple[Array, ...], tuple[Array, ...]], among: bool
) -> None:
    a, b = both[0][0], None if among else both[1][0]
    assert fb.overlapping_pairs(a, b).tolist() == dense_pairs(a, b)


def table_pairs(boxes: Array) -> Array:
    return np.argwhere(np.triu(fb.iou(boxes, boxes) > 0, 1))


def mixtures() -> dict[str, Array]:
    rng = np.random.default_rng(3)
    tiny, _ = crowd(1500, 2, spread=500)
    cubes, _ = crowd(900, 3, spread=60)
    lower = rng.uniform(0, 1000, (800, 2))
    along = np.concatenate([lower, lower + rng.permuted([[400, 0.5]] * 800, axis=1)], axis=1)
    return {
        "crowd": tiny,
        "cubes": cubes,
        "one giant": np.concatenate([tiny, [[-10, -10, 600, 600]]]),
        "one giant cube": np.concatenate([[[-10, -10, -10, 90, 90, 90]], cubes]),
        "one far away": np.concatenate([tiny, [[1e9, -1e9, 1e9 + 4, -1e9 + 4]]]),
        "long and thin, both ways": along,
        "thin in depth": np.concatenate([cubes[:, :3], cubes[:, :2] + 30, cubes[:, 2:3] + 1], 1),
        "one place": np.tile([[5.0, 5.0, 9.0, 9.0]], (300, 1)),
        "one row": np.stack(
            [np.arange(2e3), np.zeros(2000), np.arange(2e3) + 1.5, np.ones(2000)], 1
        ),
        "fractions": rng.uniform(0, 50, (700, 2)) @ np.eye(2, 4) + [0, 0, 0, 0],
    }


@pytest.mark.parametrize("name", [*mixtures()])
def test_pairs_of_every_mixture(name: str) -> None:
    boxes = mixtures()[name]
    if name == "fractions":
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + 3 * boxes[::-1, :2] / 50], axis=1)
    np.testing.assert_array_equal(fb.overlapping_pairs(boxes), table_pairs(boxes))
    half = len(boxes) // 2
    np.testing.assert_array_equal(
        fb.overlapping_pairs(boxes[:half], boxes[half:]),
        np.argwhere(fb.iou(boxes[:half], boxes[half:]) > 0),
    )


# Suppression


@settings(max_examples=200, deadline=None)
@given(sets(), ways(), st.booleans())
def test_suppression_is_the_sequential_one(
    case: tuple[Array, Array, Array], way: tuple[By, float], aware: bool
) -> None:
    (boxes, scores, labels), (by, threshold) = case, way
    groups = labels if aware else np.zeros_like(labels)
    expected = greedy(boxes, scores, groups, by, threshold)
    kept = fb.suppress(boxes, scores, by=by, threshold=threshold, labels=labels if aware else None)
    # Boxes that are the same in all may stand for each other.
    assert boxes[kept].tolist() == boxes[list(expected)].tolist()
    assert scores[kept].tolist() == scores[list(expected)].tolist()
    assert groups[kept].tolist() == groups[list(expected)].tolist()


@settings(deadline=None)
@given(sets(), ways(), st.integers(-1000, 1000), st.randoms(use_true_random=False))
def test_suppression_knows_neither_order_nor_place(
    case: tuple[Array, Array, Array], way: tuple[By, float], step: int, random: Any
) -> None:
    (boxes, scores, labels), (by, threshold) = case, way
    kept = fb.suppress(boxes, scores, by=by, threshold=threshold, labels=labels)
    order = list(range(len(boxes)))
    random.shuffle(order)
    again = fb.suppress(
        boxes[order] + step, scores[order], by=by, threshold=threshold, labels=labels[order]
    )
    assert (boxes[order][again]).tolist() == boxes[kept].tolist()
    assert labels[order][again].tolist() == labels[kept].tolist()


@settings(deadline=None)
@given(sets(), ways())
def test_what_is_kept_is_kept_again_and_none_is_too_close(
    case: tuple[Array, Array, Array], way: tuple[By, float]
) -> None:
    (boxes, scores, _), (by, threshold) = case, way
    kept = fb.suppress(boxes, scores, by=by, threshold=threshold)
    few = boxes[kept].tolist()
    assert not any(close(few[i], few[j], by, threshold) for i in range(len(few)) for j in range(i))
    again = fb.suppress(few, scores[kept], by=by, threshold=threshold)
    assert again.tolist() == list(range(len(kept)))


@pytest.mark.parametrize("by", ["iou", "ios", "distance"])
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("spread", [20, 60])
def test_a_crowd_is_settled_as_the_sequence_does(by: By, rank: int, spread: int) -> None:
    # In a spread of 20 pixels almost all of 400 boxes overlap: the crowd is settled in halves.
    boxes, scores = crowd(400, rank, spread=spread)
    threshold = THRESHOLDS[by][1]
    labels = np.zeros(400, "int64")
    expected = greedy(boxes, scores, labels, by, threshold)
    assert fb.suppress(boxes, scores, by=by, threshold=threshold).tolist() == list(expected)
    merged = fb.merge(boxes, scores, by=by, threshold=threshold)
    for number, (best, members) in enumerate(expected.items()):
        assert np.flatnonzero(merged.members == number).tolist() == sorted([best, *members])


def test_labels_may_be_words() -> None:
    boxes, scores = BIRD * 4, [0.1, 0.2, 0.3, 0.4]
    labels = ["duck", "goose", "duck", "duck"]
    assert fb.suppress(boxes, scores, labels=labels).tolist() == [3, 1]
    assert fb.suppress(boxes, scores).tolist() == [3]


def test_a_chain_keeps_every_other_box() -> None:
    # Each overlaps its neighbours alone: what suppresses must itself be kept.
    start = np.arange(5000.0)
    boxes = np.stack([start, 0 * start, start + 1.5, 0 * start + 1], axis=1)
    kept = fb.suppress(boxes, -start, threshold=0.2)
    assert kept.tolist() == list(range(0, 5000, 2))


def test_memory_is_linear_even_where_all_boxes_are_in_one_place() -> None:
    rng = np.random.default_rng(0)
    peaks = []
    for count in (3000, 12000):
        boxes = BIRD + rng.integers(0, 2, (count, 1)) * [[0, 0, 1, 1]]
        tracemalloc.start()
        kept = fb.suppress(boxes, rng.random(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(kept) == 1
    assert peaks[1] < 6 * peaks[0]
    assert peaks[1] < 12000**2 / 4  # a quarter of a table of bytes


# Merging


@settings(max_examples=150, deadline=None)
@given(sets(), ways(), st.booleans())
def test_merged_boxes_are_the_least_about_their_members(
    case: tuple[Array, Array, Array], way: tuple[By, float], aware: bool
) -> None:
    (boxes, scores, labels), (by, threshold) = case, way
    rank = boxes.shape[1] // 2
    some = labels if aware else None
    merged = fb.merge(boxes, scores, by=by, threshold=threshold, labels=some)
    assert merged.kept.tolist() == fb.suppress(
        boxes, scores, by=by, threshold=threshold, labels=some
    ).tolist()  # fmt: skip
    assert merged.members.shape == scores.shape
    assert set(merged.members.tolist()) == set(range(len(merged.boxes)))
    for number, box in enumerate(merged.boxes):
        own = merged.members == number
        assert box[:rank].tolist() == boxes[own, :rank].min(axis=0).tolist()
        assert box[rank:].tolist() == boxes[own, rank:].max(axis=0).tolist()
        assert merged.scores[number] == scores[own].max()
        assert not aware or len(set(labels[own].tolist())) == 1


@settings(deadline=None)
@given(sets(), ways())
def test_the_mean_lies_within_the_union_and_is_weighted(
    case: tuple[Array, Array, Array], way: tuple[By, float]
) -> None:
    (boxes, scores, _), (by, threshold) = case, way
    merged = fb.merge(boxes, scores, by=by, threshold=threshold, how="mean")
    for number, box in enumerate(merged.boxes):
        own = merged.members == number
        weights = scores[own] if scores[own].any() else None
        np.testing.assert_allclose(box, np.average(boxes[own], axis=0, weights=weights), atol=1e-12)


def test_parts_cut_by_a_seam_become_one_object() -> None:
    # Two windows see columns 0 to 6 and 4 to 10 of one animal: 8 shared of 24.
    parts = [[0, 0, 6, 4], [4, 0, 10, 4], [30, 30, 34, 34]]
    merged = fb.merge(parts, [0.7, 0.9, 0.8], threshold=1 / 3)
    assert merged.boxes.tolist() == [[0, 0, 10, 4], [30, 30, 34, 34]]
    assert merged.scores.tolist() == [0.9, 0.8]
    assert (merged.kept.tolist(), merged.members.tolist()) == ([1, 2], [0, 0, 1])
    mean = fb.merge(parts, [0.3, 0.9, 0.8], threshold=1 / 3, how="mean")
    assert mean.boxes[0] == pytest.approx([3, 0, 9, 4])


# Matching and ignoring


def test_a_true_box_is_found_once_and_by_the_best() -> None:
    truth = [[0, 0, 8, 8], [20, 0, 28, 8]]
    boxes = [[1, 0, 9, 8], [0, 0, 8, 8], [21, 0, 29, 8], [50, 50, 58, 58]]
    assert fb.match(boxes, truth, [0.9, 0.8, 0.7, 0.6]).tolist() == [0, -1, 1, -1]
    assert fb.match(boxes, truth, [0.8, 0.9, 0.7, 0.6]).tolist() == [-1, 0, 1, -1]
    assert fb.match(boxes, truth, [0.9, 0.8, 0.7, 0.6], by="distance", threshold=0.5).tolist() == [
        -1, 0, -1, -1,
    ]  # fmt: skip


def test_a_second_box_may_take_the_next_true_one() -> None:
    # Both are closest to the first; COCO gives the second box the other one, VOC none.
    truth = [[0, 0, 8, 8], [2, 0, 10, 8]]
    boxes = [[0, 0, 8, 8], [0, 1, 8, 9]]
    assert fb.match(boxes, truth, [0.9, 0.8], threshold=0.4).tolist() == [0, 1]


def test_labels_match_alike_alone() -> None:
    found = fb.match(BIRD * 2, BIRD, [0.9, 0.8], labels=["duck", "goose"], truth_labels=["goose"])
    assert found.tolist() == [-1, 0]


def cocos_matches(boxes: Array, truth: Array, scores: Array, threshold: float) -> list[int]:
    """What pycocotools' own evaluation gives to each box."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools isn't installed")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")

    def notes(rows: Array, **more: Any) -> list[dict[str, Any]]:
        return [
            {"id": i + 1, "image_id": 1, "category_id": 1, "iscrowd": 0,
             "area": size(row), "bbox": [*row[:2], *(row[2:] - row[:2])],
             **{key: float(value[i]) for key, value in more.items()}}
            for i, row in enumerate(rows)
        ]  # fmt: skip

    sides = []
    for rows in (notes(truth), notes(boxes, score=scores)):
        side = coco.COCO()
        side.dataset = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": rows}
        side.createIndex()
        sides.append(side)
    judge = cocoeval.COCOeval(*sides, iouType="bbox")
    judge.params.iouThrs = np.array([threshold])
    judge.params.areaRng = [[0, 1e10]]
    judge.evaluate()
    answer = judge.evalImgs[0]
    found = dict(zip(answer["dtIds"], answer["dtMatches"][0].astype(int).tolist(), strict=True))
    return [found[i + 1] - 1 for i in range(len(boxes))]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_matches_are_pycocotools(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    lower = rng.uniform(0, 40, (60, 2))
    boxes = np.concatenate([lower, lower + rng.uniform(8, 16, (60, 2))], axis=1)
    scores = rng.permutation(40) / 40
    expected = cocos_matches(boxes[:40], boxes[40:], scores, threshold)
    assert fb.match(boxes[:40], boxes[40:], scores, threshold=threshold).tolist() == expected
    assert max(expected) >= 0 > min(expected)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([2, 3]).flatmap(lambda rank: st.tuples(sets(rank, 8, 5), sets(rank, 6, 5))),
       st.sampled_from([0.25, 0.5, 0.8, 1.0]))  # fmt: skip
def test_ignored_are_those_whose_pixels_lie_in_regions(
    both: tuple[tuple[Array, ...], tuple[Array, ...]], threshold: float
) -> None:
    boxes, regions = both[0][0], both[1][0]
    rank = boxes.shape[1] // 2

    def pixels(rows: Array) -> Array:
        inside = np.zeros((30,) * rank, bool)
        for row in rows.astype(int) + 6:
            inside[tuple(slice(a, b) for a, b in zip(row[:rank], row[rank:], strict=True))] = True
        return inside

    unknown = pixels(regions)
    expected = []
    for box in boxes:
        own = pixels(box[None])
        expected.append(bool(own.any() and (own & unknown).sum() >= threshold * own.sum()))
    assert fb.ignored(boxes, regions, threshold=threshold).tolist() == expected


# Nothing, and mistakes


@pytest.mark.parametrize("none", [[], np.zeros((0, 4)), np.zeros((0, 6))], ids=str)
def test_no_boxes_are_an_answer(none: Any) -> None:
    rank = 3 if np.shape(none) == (0, 6) else 2
    assert fb.suppress(none, []).tolist() == fb.suppress(none, [], labels=[]).tolist() == []
    for how in ("union", "mean"):
        merged = fb.merge(none, [], how=how)
        assert merged.boxes.shape == (0, 2 * rank)
        assert merged.scores.shape == merged.kept.shape == merged.members.shape == (0,)
    assert fb.overlapping_pairs(none).shape == fb.overlapping_pairs(none, none).shape == (0, 2)
    assert fb.centres(none).shape == fb.sizes(none).shape == (0, rank)
    assert fb.area(none).shape == fb.ignored(none, none).shape == (0,)
    assert fb.match(none, none, []).tolist() == []
    some = np.array([[0.0] * rank + [2.0] * rank])
    assert fb.match(some, none, [0.5], labels=[1], truth_labels=[]).tolist() == [-1]
    assert fb.match(none, some, []).tolist() == []
    assert fb.ignored(some, none).tolist() == [False]
    assert fb.iou(none, some).shape == (0, 1)
    assert fb.iou(some, []).shape == (1, 0)
    assert fb.clip(np.asarray(none), (4,) * rank).shape == (0, 2 * rank)


ONE = [0.5]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: fb.area([[1, 2, 3]]), r"\(n, 4\).*Received: shape \(1, 3\)"),
        (lambda: fb.area([1, 2, 3, 4]), r"Received: shape \(4,\)"),
        (lambda: fb.area([[0, 0, np.nan, 1]]), r"finite. Received: .*nan.* as box 0; 1 of 1"),
        (lambda: fb.suppress([[0, 0, np.inf, 1]], ONE), "must be finite"),
        (lambda: fb.suppress([[5, 5, 3, 8]], ONE), r"xyxy.*\[5.0, 5.0, 3.0, 8.0\] as box 0.*add"),
        (lambda: fb.iou(BIRD, [[0, 0, 0, 1, 1, 1]]), r"b must have 4.*shape \(1, 6\)"),
        (lambda: fb.suppress(BIRD, [0.5, 0.6]), r"1 in all.*Received: shape \(2,\)"),
        (lambda: fb.suppress(BIRD, [np.nan]), "1 NaN"),
        (lambda: fb.suppress(BIRD, ONE, labels=[1, 2]), r"labels.*1 in all.*shape \(2,\)"),
        (lambda: fb.suppress(BIRD, ONE, threshold=0), "above 0 and at most 1.*Received: 0"),
        (lambda: fb.suppress(BIRD, ONE, threshold=6), "by='distance'"),
        (lambda: fb.suppress(BIRD, ONE, by="distance", threshold=-1), "Received: -1"),
        (lambda: fb.merge(BIRD, ONE, by="giou"), "'iou', 'ios' or 'distance'.*giou"),  # type: ignore[arg-type]
        (lambda: fb.merge(BIRD, ONE, how="max"), "'union' or 'mean'.*'max'"),  # type: ignore[arg-type]
        (lambda: fb.merge(BIRD, [-1.0], how="mean"), "at least 0.*how='union'.*-1.0"),
        (lambda: fb.clip(np.array(BIRD), (4, 4, 4)), r"must have 6.*\(1, 4\)"),
        (lambda: fb.clip(np.array(BIRD), (4, -4)), r"negative. Received: \(4, -4\)"),
        (lambda: fb.match(BIRD, BIRD, ONE, labels=[1]), "both or neither. Received: labels alone"),
        (lambda: fb.match(BIRD, BIRD, ONE, labels=[1], truth_labels=[1, 2]), r"shape \(2,\)"),
        (lambda: fb.ignored(BIRD, BIRD, threshold=1.5), "Received: 1.5"),
    ],
)
def test_mistakes_are_told(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
