"""Splits by group, block, stretch and fold: nothing leaks, and labels come in equal shares."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldsight.datasets.splits import Split, by_block, by_fold, by_group, by_stretch

SHARES = (0.6, 0.2, 0.2)
GROUPS = st.lists(st.integers(0, 9), min_size=10, max_size=60).filter(lambda g: len(set(g)) > 2)


def sides(split: Split) -> list[np.ndarray[Any, Any]]:
    return [split.train, split.val, split.test]


def separate(split: Split, groups: Any) -> bool:
    """Whether no group is on two sides, by sets."""
    found = [set(np.asarray(groups)[side].tolist()) for side in sides(split)]
    return len(set.union(*found)) == sum(map(len, found))


@settings(max_examples=50)
@given(GROUPS, st.integers(0, 5))
def test_every_group_is_on_one_side_and_none_is_lost(groups: list[int], seed: int) -> None:  # C-6
    split = by_group(groups, SHARES, seed)
    assert separate(split, groups)
    assert sorted(np.concatenate(sides(split)).tolist()) == list(range(len(groups)))
    assert all(len(side) for side in sides(split))


def test_groups_of_one_size_come_in_the_shares_asked_for() -> None:
    split = by_group(np.repeat(np.arange(20), 3), SHARES)
    assert [len(side) for side in sides(split)] == [36, 12, 12]


def test_a_seed_gives_one_split_and_another_another() -> None:
    groups = np.repeat(np.arange(20), 3)
    assert by_group(groups, seed=3).fingerprint == by_group(groups, seed=3).fingerprint
    assert by_group(groups, seed=3).fingerprint != by_group(groups, seed=4).fingerprint


def test_three_groups_of_very_different_size_give_each_side_one() -> None:
    split = by_group(["a"] * 90 + ["b"] * 9 + ["c"], (0.7, 0.15, 0.15))
    assert [len(side) for side in sides(split)] == [90, 9, 1]


def test_a_side_that_was_not_asked_for_stays_empty() -> None:
    split = by_group([0, 1, 2, 3], (0.5, 0.0, 0.5))
    assert [len(side) for side in sides(split)] == [2, 0, 2]


def test_a_rare_label_reaches_every_side() -> None:
    # 6 of 60 patients have the rare label: 0.6, 0.2 and 0.2 of them are 3.6, 1.2, 1.2. At random
    # a side of 12 patients has none of the 6 in a quarter of the cases.
    groups = np.repeat(np.arange(60), 4)
    common = np.random.default_rng(0).random((240, 2)) < 0.5
    labels = np.column_stack([common, groups < 6])
    for seed in range(20):
        split = by_group(groups, SHARES, seed, labels=labels)
        rare = [len(np.unique(groups[side[labels[side, 2]]])) for side in sides(split)]
        assert rare in ([4, 1, 1], [3, 2, 1], [3, 1, 2])


def test_stratifying_is_nearer_to_the_shares_than_chance() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(80), 5)
    labels = rng.random((400, 6)) < rng.random((80, 6))[groups] ** 3

    def error(split: Split) -> float:
        held = np.array([labels[side].sum(0) for side in sides(split)])
        return float(np.abs(held / labels.sum(0) - np.array(SHARES)[:, None]).mean())

    dealt = [error(by_group(groups, SHARES, seed, labels=labels)) for seed in range(8)]
    chance = [error(by_group(groups, SHARES, seed)) for seed in range(8)]
    assert np.mean(dealt) < 0.6 * np.mean(chance)


def test_classes_are_stratified_like_labels() -> None:
    classes = np.array([0] * 80 + [1] * 20)
    split = by_group(np.arange(100), SHARES, labels=classes)
    assert [int(classes[side].sum()) for side in sides(split)] == [12, 4, 4]
    assert [len(side) for side in sides(split)] == [60, 20, 20]


def test_ten_thousand_groups_are_dealt_in_a_second() -> None:
    labels = np.random.default_rng(0).random((10_000, 17)) < 0.1
    start = time.process_time()
    by_group(np.arange(10_000), labels=labels)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("groups", "labels", "message"),
    [
        (["a", "b"], None, "Received: 2 groups"),
        ([], None, "Received: 0 groups"),
        (["a", "", "b", "c"], None, "none for 1 of 4, the first at 1"),
        (np.array(["a", None, "b", "c"], object), None, "first at 1"),
        ([1.0, 2.0, np.nan, 3.0], None, "first at 2"),
        ([[1], [2], [3]], None, r"shape \(3, 1\)"),
        ([1, 2, 3], [1, 0], r"labels must be \(3,\)"),
        ([1, 2, 3], [[1], [-1], [0]], "below 0"),
    ],
)
def test_groups_and_labels_that_do_not_fit_are_refused(
    groups: Any, labels: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        by_group(groups, SHARES, labels=labels)


def test_a_split_by_hand_that_leaks_fails() -> None:  # C-6
    split = by_group(["a", "a", "b", "c"], SHARES)
    moved = np.append(split.val, split.train[0])
    with pytest.raises(ValueError, match="group a in both train and val"):
        Split(split.train[1:], moved, split.test, groups=split.groups)


# Blocks


# Eighths: a number next to 0 would lie in either block, by the rounding of a division.
PLACES = st.integers(-400, 400).map(lambda eighths: eighths / 8)
POINTS = st.lists(st.tuples(PLACES, PLACES), min_size=30, max_size=80)


@settings(max_examples=50)
@given(POINTS, st.integers(0, 3))
def test_points_of_one_block_stay_together(points: list[tuple[float, float]], seed: int) -> None:
    places = np.array(points)
    blocks = [(int(x // 20), int(y // 20)) for x, y in points]
    if len(set(blocks)) < 3:
        return
    split = by_block(places, 20, SHARES, seed)
    found = [{blocks[i] for i in side} for side in sides(split)]
    assert len(set.union(*found)) == sum(map(len, found))


def test_a_margin_keeps_sides_apart() -> None:
    grid = np.stack(np.meshgrid(np.arange(60.0), np.arange(60.0)), -1).reshape(-1, 2)
    split = by_block(grid, 15, SHARES, margin=3)
    train, val, test = (grid[side] for side in sides(split))
    for one, other in ((train, val), (train, test), (val, test)):
        apart = np.linalg.norm(one[:, None] - other[None], axis=2).min()
        assert apart >= 3
    assert len(test) == len(by_block(grid, 15, SHARES).test)
    assert len(train) > 1000


def test_blocks_may_be_oblong_and_of_any_rank() -> None:
    points = np.array([[0, 0, 0], [0, 0, 9], [0, 9, 0], [9, 0, 0]], float)
    split = by_block(points, (5, 5, 100), (0.5, 0.25, 0.25))
    groups = split.groups
    assert groups is not None
    assert groups[0] == groups[1]
    assert len(np.unique(groups)) == 3


def test_blocks_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        by_block([[0, 0]], 0)
    with pytest.raises(ValueError, match="1 NaN"):
        by_block([[0, np.nan]], 1)
    with pytest.raises(ValueError, match="train lost all"):
        by_block([[0, 0], [5, 0], [10, 0]], 5, SHARES, margin=100)


# Stretches


def test_cameras_of_one_moment_stay_together() -> None:  # P-4
    moments = np.repeat(np.arange(300) / 10, 3)
    split = by_stretch(moments, 2.0, SHARES)
    assert separate(split, moments)
    assert [len(side) for side in sides(split)] == [540, 180, 180]


def test_stretches_are_contiguous_and_of_one_drive() -> None:
    moments = np.concatenate([np.arange(100.0), np.arange(50.0) + 1e6])
    drives = ["first"] * 100 + ["second"] * 50
    split = by_stretch(moments, 10, SHARES, drives=drives)
    groups = split.groups
    assert groups is not None
    assert len(np.unique(groups)) == 15
    assert groups[:100].tolist() == [i // 10 for i in range(100)]
    assert separate(split, groups)


def test_order_of_the_samples_does_not_matter() -> None:
    moments = np.arange(100.0)
    shuffled = np.random.default_rng(0).permutation(100)
    split, other = (by_stretch(m, 10, SHARES) for m in (moments, moments[shuffled]))
    for one, two in zip(sides(split), sides(other), strict=True):
        assert sorted(moments[one]) == sorted(moments[shuffled][two])


def test_a_gap_parts_stretches_of_one_drive_alone() -> None:
    moments = np.concatenate([np.arange(200.0), np.arange(200.0)])
    drives = np.repeat([0, 1], 200)
    split = by_stretch(moments, 20, SHARES, drives=drives, gap=3)
    train, val, test = sides(split)
    for one, other in ((train, val), (train, test), (val, test)):
        for drive in (0, 1):
            a, b = (moments[side[drives[side] == drive]] for side in (one, other))
            if len(a) and len(b):
                assert np.abs(a[:, None] - b[None]).min() >= 3
    # Two samples at each border of a train stretch at most, and never a sample of test.
    assert len(test) == 80
    assert len(train) >= 240 - 12 * 4


def test_stretches_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="length must be above 0"):
        by_stretch([0.0, 1.0], 0)
    with pytest.raises(ValueError, match="drive a moment"):
        by_stretch([0.0, 1.0], 1, drives=["a"])
    with pytest.raises(ValueError, match="at least 0"):
        by_stretch([0.0, 1.0, 2.0], 1, SHARES, gap=-1)


# Folds


def test_published_folds_are_kept() -> None:  # L-10
    folds = np.arange(30) % 10
    split = by_fold(folds, val=8, test=9)
    assert sorted(set((split.train % 10).tolist())) == list(range(8))
    assert split.val.tolist() == [8, 18, 28]
    assert split.test.tolist() == [9, 19, 29]


def test_folds_that_leak_or_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: 10, of 0, 1, 2"):
        by_fold([0, 1, 2], val=1, test=10)
    with pytest.raises(ValueError, match="index 1 in both val and test"):
        by_fold([0, 1, 2], val=1, test=[1, 2])
    with pytest.raises(ValueError, match="group p in both train and test"):
        by_fold([0, 1, 2], val=1, test=2, groups=["p", "q", "p"])
