"""HOTA, IDF1 and MOTA against the official script; alarms by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fieldsight.core.metrics import (
    Tracks,
    TrackScores,
    alarms,
    match_tracks,
    rate_interval,
    track_scores,
    without_ignored,
)
from fieldsight.core.metrics.alarms import FALSE, UNKNOWN


def scene(seed: int, frames: int = 25) -> tuple[Tracks, Tracks]:
    """Objects that walk; found with noise, gaps, switched numbers and false alarms."""
    rng = np.random.default_rng(seed)
    rows: tuple[list[Any], list[Any]] = ([], [])
    places = rng.uniform(0, 120, (5, 2))
    steps = rng.normal(0, 3, (5, 2))
    numbers = rng.permutation(5)
    for frame in range(frames):
        if rng.random() < 0.1:
            continue  # nothing there, nothing found
        if rng.random() < 0.2:
            numbers = rng.permutation(numbers)
        for k in range(5):
            corner = places[k] + frame * steps[k]
            if rng.random() < 0.8:
                rows[0].append((frame + 7, 10 * k, *corner, *(corner + 12)))
            if rng.random() < 0.7:
                near = corner + rng.normal(0, 2, 2)
                rows[1].append((frame + 7, 3 + numbers[k], *near, *(near + 12)))
        if rng.random() < 0.5:
            corner = rng.uniform(0, 120, 2)
            rows[1].append((frame + 7, 100 + frame // 4, *corner, *(corner + 12)))
    true, found = (np.array(one, float).reshape(-1, 6) for one in rows)
    return (
        Tracks(true[:, 0].astype(int), true[:, 1].astype(int), true[:, 2:]),
        Tracks(found[:, 0].astype(int), found[:, 1].astype(int), found[:, 2:]),
    )


def official(true: Tracks, found: Tracks, frames: range) -> dict[str, Any]:
    """What trackeval says; likenesses by plain arithmetic, in its own order of frames."""
    from trackeval import metrics

    names, numbers = np.unique(true.tracks, return_inverse=True)
    others, found_numbers = np.unique(found.tracks, return_inverse=True)
    data: dict[str, Any] = {
        "num_tracker_dets": len(found_numbers), "num_gt_dets": len(numbers),
        "num_gt_ids": len(names), "num_tracker_ids": len(others), "num_timesteps": len(frames),
        "gt_ids": [], "tracker_ids": [], "similarity_scores": [],
    }  # fmt: skip
    for frame in frames:
        here, seen = np.asarray(true.frames) == frame, np.asarray(found.frames) == frame
        alike = [[overlap(a, b) for b in np.asarray(found.boxes)[seen]]
                 for a in np.asarray(true.boxes)[here]]  # fmt: skip
        data["gt_ids"].append(numbers[here])
        data["tracker_ids"].append(found_numbers[seen])
        data["similarity_scores"].append(np.array(alike).reshape(here.sum(), seen.sum()))
    quiet = {"PRINT_CONFIG": False}
    return {
        **metrics.HOTA(quiet).eval_sequence(data),
        **metrics.CLEAR(quiet).eval_sequence(data),
        **metrics.Identity(quiet).eval_sequence(data),
    }


def overlap(a: Any, b: Any) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return float(shared / (sum(areas) - shared))


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_the_official_scripts(seed: int) -> None:
    true, found = scene(seed)
    ours, theirs = track_scores(true, found), official(true, found, range(7, 32))
    np.testing.assert_allclose(ours.hota_curve, theirs["HOTA"], atol=1e-9)
    assert ours.hota == pytest.approx(theirs["HOTA"].mean())
    assert ours.det_a == pytest.approx(theirs["DetA"].mean())
    assert ours.ass_a == pytest.approx(theirs["AssA"].mean())
    assert ours.loc_a == pytest.approx(theirs["LocA"].mean())
    assert ours.mota == pytest.approx(theirs["MOTA"])
    assert ours.switches == theirs["IDSW"]
    assert ours.idf1 == pytest.approx(theirs["IDF1"])


def test_several_sequences_are_the_official_scripts_too() -> None:
    from trackeval import metrics

    both = [scene(seed) for seed in (11, 12, 13)]
    total = sum((track_scores(*one) for one in both), TrackScores())
    each = {str(i): official(*one, range(7, 32)) for i, one in enumerate(both)}
    quiet = {"PRINT_CONFIG": False}
    hota = metrics.HOTA(quiet).combine_sequences(each)
    assert total.hota == pytest.approx(hota["HOTA"].mean())
    assert total.ass_a == pytest.approx(hota["AssA"].mean())
    assert total.loc_a == pytest.approx(hota["LocA"].mean())
    assert total.mota == pytest.approx(metrics.CLEAR(quiet).combine_sequences(each)["MOTA"])
    assert total.idf1 == pytest.approx(metrics.Identity(quiet).combine_sequences(each)["IDF1"])


def test_one_object_whose_number_changes() -> None:
    """By hand: AssA of each half is 2 / 4, HOTA the root of 1 times that; one switch in four."""
    true = Tracks([0, 1, 2, 3], [5] * 4, [[0, 0, 9, 9]] * 4)
    scores = track_scores(true, true._replace(tracks=[1, 1, 2, 2]))
    assert (scores.det_a, scores.ass_a, scores.loc_a) == (1.0, 0.5, 1.0)
    assert scores.hota == pytest.approx(math.sqrt(0.5))
    assert (scores.mota, scores.idf1, scores.switches) == (0.75, 0.5, 1)


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_names_and_order_do_not_matter_and_the_truth_is_perfect(seed: int) -> None:
    true, found = scene(seed, frames=8)
    perfect = track_scores(true, true)
    assert (perfect.hota, perfect.mota, perfect.idf1) == pytest.approx((1, 1, 1))
    order = np.random.default_rng(seed).permutation(len(np.asarray(found.frames)))
    other = Tracks(*(np.asarray(one)[order] for one in found))
    other = other._replace(tracks=1000 - np.asarray(other.tracks))
    first, second = track_scores(true, found), track_scores(true, other)
    # Equal sums may be matched otherwise where numbers are in another order: not in such scenes.
    assert second.hota == pytest.approx(first.hota, abs=1e-6)
    assert second.idf1 == pytest.approx(first.idf1)


def test_nothing_there_has_no_answer_and_false_alarms_have() -> None:
    nothing = Tracks([], [], [])
    empty = track_scores(nothing, nothing)
    assert (empty.hota, empty.mota, empty.idf1, empty.loc_a) == (None, None, None, None)
    some = Tracks([0], [0], [[0, 0, 5, 5]])
    assert (track_scores(nothing, some).hota, track_scores(nothing, some).mota) == (0, None)
    assert (track_scores(some, nothing).hota, track_scores(some, nothing).mota) == (0, 0)
    assert (
        track_scores(some, some).hota
        == (track_scores(nothing, nothing) + track_scores(some, some)).hota
    )


def test_tiny_ones_are_compared_by_distance() -> None:
    """W-12: two pixels off both ways is an IoU of 0.39, and within a reach of 6."""
    true = Tracks([0, 1], [0, 0], [[0, 0, 8, 8]] * 2)
    found = Tracks([0, 1], [4, 4], [[2, 2, 10, 10]] * 2)
    assert track_scores(true, found).idf1 == 0
    assert track_scores(true, found, by="distance", reach=6).idf1 == 1
    with pytest.raises(ValueError, match="reach"):
        track_scores(true, found, by="distance")


def test_what_lies_where_nobody_knows_is_left_out_unless_known() -> None:
    true = Tracks([0], [0], [[0, 0, 8, 8]])
    found = Tracks([0, 0, 0, 1], [1, 2, 3, 2], [[0, 0, 8, 8], [20, 0, 28, 8], [60, 0, 68, 8],
                                                [20, 0, 28, 8]])  # fmt: skip
    regions = Tracks([0], [0], [[0, 0, 40, 40]])
    left = without_ignored(true, found, regions)
    assert np.asarray(left.tracks).tolist() == [1, 3, 2]  # in frame 1 nothing is ignored


def test_a_track_is_once_in_a_frame() -> None:
    twice = Tracks([3, 3], [1, 1], [[0, 0, 1, 1], [5, 5, 6, 6]])
    with pytest.raises(ValueError, match="track 1 twice in frame 3"):
        track_scores(twice, Tracks([], [], []))
    with pytest.raises(ValueError, match="1, 2 and 1"):
        track_scores(Tracks([0], [1, 2], [[0, 0, 1, 1]]), twice)


# Alarms (W-10, W-11)


def line(track: int, x: float, frames: range, side: float = 8) -> list[tuple[float, ...]]:
    return [(t, track, x, 0, x + side, side) for t in frames]


def tracks_of(*lines: list[tuple[float, ...]]) -> Tracks:
    rows = np.array([row for one in lines for row in one], float).reshape(-1, 6)
    return Tracks(rows[:, 0].astype(int), rows[:, 1].astype(int), rows[:, 2:])


def test_a_found_track_is_of_the_object_that_most_of_its_boxes_are_of() -> None:
    true = tracks_of(line(7, 0, range(20)), line(9, 100, range(20)), line(11, 300, range(20)))
    found = tracks_of(
        line(1, 5, range(6)),  # of 7, its middle 5 px off
        line(2, 100, range(6)) + line(2, 200, range(6, 10)),  # of 9, and then of a stone
        line(3, 100, range(12, 14)) + line(3, 200, range(14, 20)),  # a stone
        line(4, 500, range(5)),  # nothing
        line(5, 400, range(5)),  # where nobody looked
    )
    regions = Tracks(list(range(20)), [0] * 20, [[390, 0, 450, 50]] * 20)
    hits = match_tracks(true, found, regions=regions)
    assert hits.true.tolist() == [7, 9, 11]
    assert hits.hit.tolist() == [0, 1, FALSE, FALSE, UNKNOWN]


def test_operating_point_recall_and_the_missed_are_as_by_hand() -> None:
    true = tracks_of(line(0, 0, range(9)), line(1, 100, range(9)), line(2, 200, range(9)))
    found = tracks_of(line(0, 0, range(4)), line(1, 0, range(5, 9)), line(2, 100, range(9)),
                      line(3, 500, range(9)), line(4, 600, range(9)))  # fmt: skip
    hits = match_tracks(true, found)
    score = {0: 0.9, 1: 0.6, 2: 0.5, 3: 0.7, 4: 0.4}
    result = alarms(["flight"], [hits], [score], hours=0.5)
    assert result.best.tolist() == [0.9, 0.5, -np.inf]
    assert sorted(result.false.tolist()) == [0.4, 0.7]
    assert result.repeats.tolist() == [0.6]
    # 1 an hour is none in half an hour; 2 an hour one; 4 an hour both.
    assert [result.threshold_at(rate) for rate in (1, 2, 4)] == [0.9, 0.5, 0.4]
    assert [result.recall(at) for at in (0.9, 0.5)] == pytest.approx([1 / 3, 2 / 3])
    assert result.missed(0.9) == [("flight", 1), ("flight", 2)]
    assert result.per_hour(0.5)[0] == 2


@given(st.integers(0, 10_000), st.floats(0, 40))
@settings(max_examples=40, deadline=None)
def test_the_budget_holds_on_what_it_was_chosen_on(seed: int, budget: float) -> None:
    rng = np.random.default_rng(seed)
    true, found = scene(seed % 50, frames=10)
    hits = match_tracks(true, found)
    score = {int(track): float(rng.random().__round__(1)) for track in hits.found}
    result = alarms(["a"], [hits], [score], hours=0.2)
    threshold = result.threshold_at(budget)
    assert result.per_hour(threshold)[0] <= budget + 1e-6
    lower = [s for s in score.values() if s < threshold]
    if lower:  # a lower one would have allowed too many
        assert result.per_hour(max(lower))[0] > budget - 1e-6


def test_where_the_best_is_an_alarm_too_many_nothing_passes() -> None:
    found = tracks_of(line(4, 500, range(5)))
    result = alarms(["a"], [match_tracks(Tracks([], [], []), found)], [{4: 0.8}], hours=1)
    assert result.threshold_at(0) == np.nextafter(0.8, 1)
    assert result.recall(0.1) is None
    with pytest.raises(ValueError, match="budget"):
        result.threshold_at(-1)


def test_a_rates_interval_is_garwoods() -> None:
    """5 events: 1.623 to 11.668, the textbook's table; none: 0 to 3.689."""
    assert rate_interval(5, 1) == pytest.approx((1.6235, 11.6683), abs=1e-3)
    assert rate_interval(0, 1) == pytest.approx((0, 3.6889), abs=1e-3)
    low, high = rate_interval(7, 2)
    assert stats.poisson.sf(6, 2 * low) == pytest.approx(0.025)
    assert stats.poisson.cdf(7, 2 * high) == pytest.approx(0.025)
    with pytest.raises(ValueError, match="exposure=0"):
        rate_interval(1, 0)
