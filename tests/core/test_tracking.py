"""The filter against its textbook form, tracks through crossings and gaps, shifts of a camera."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldsight.core.tracking import (
    CameraMotion,
    Tracker,
    best_mean,
    correct,
    follow,
    frame_shift,
    grown,
    predict,
    start,
)
from fieldsight.core.tracking.kalman import FIRST_VELOCITY, PLACE, VELOCITY


def box(x: float, y: float, side: float = 20.0) -> list[float]:
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


# The filter


def test_the_filter_is_the_textbooks() -> None:
    """Four states, full matrices, as Kalman's equations stand in any book."""
    side = 40.0  # above the floor of one pixel
    seen = [(100.0, 50.0), (106.0, 49.0), (111.0, 47.5), (118.0, 46.0)]
    step = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    look = np.eye(2, 4)
    place, velocity = (PLACE * side) ** 2, (VELOCITY * side) ** 2
    noise = np.diag([place, place, velocity, velocity])
    x = np.array([*seen[0], 0, 0])
    p = np.diag([place, place, (FIRST_VELOCITY * side) ** 2, (FIRST_VELOCITY * side) ** 2])
    motion = start([box(*seen[0], side)])
    for at in seen[1:]:
        x, p = step @ x, step @ p @ step.T + noise
        gain = p @ look.T @ np.linalg.inv(look @ p @ look.T + place * np.eye(2))
        x, p = x + gain @ (np.array(at) - look @ x), (np.eye(4) - gain @ look) @ p
        motion = correct(predict(motion), [box(*at, side)])
    np.testing.assert_allclose(motion.place[0], x[:2], rtol=1e-12)
    np.testing.assert_allclose(motion.velocity[0], x[2:], rtol=1e-12)
    np.testing.assert_allclose(motion.spread[0, 0], [p[0, 0], p[0, 2], p[2, 2]], rtol=1e-12)


@given(st.integers(0, 10_000), st.integers(2, 3))
@settings(max_examples=30, deadline=None)
def test_sizes_stay_within_what_was_seen_and_spreads_are_variances(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-50, 50, (6, 5, rank))
    seen = np.concatenate([corner, corner + rng.uniform(0, 30, corner.shape)], axis=2)
    motion = start(seen[0])
    for now in seen[1:]:
        motion = correct(predict(motion, frames=float(rng.integers(1, 5))), now)
    sides = seen[..., rank:] - seen[..., :rank]
    assert (motion.size >= sides.min(0) - 1e-9).all()
    assert (motion.size <= sides.max(0) + 1e-9).all()
    places, both, velocities = np.moveaxis(motion.spread, -1, 0)
    assert (places > 0).all()
    assert (places * velocities >= both**2).all()


# Tracks


def test_two_that_cross_keep_their_numbers() -> None:
    boxes = [[box(10 + 6 * t, 50), box(130 - 6 * t, 54)] for t in range(20)]
    found = follow(boxes, [[0.9, 0.9]] * 20)
    assert np.stack(found).tolist() == [[0, 1]] * 20


def test_a_track_survives_a_gap_and_ends_after_a_longer_one() -> None:
    def numbers(gap: int) -> list[int]:
        hidden = range(8, 8 + gap)
        boxes = [[] if t in hidden else [box(10 + 5 * t, 50)] for t in range(30)]
        found = follow(boxes, [[0.9] * len(one) for one in boxes])
        return sorted({int(n) for one in found for n in one})

    assert numbers(10) == [0]
    assert numbers(14) == [0, 1]  # 12 frames are kept


def test_missing_frames_are_time_that_passed() -> None:
    seen = [0, 1, 2, 3, 4, 9, 10, 11]
    boxes = [[box(30 * t, 0, 20)] for t in seen]
    counted = follow(boxes, [[0.9]] * 8, tracker=Tracker(buffer=1.0), frames=seen)
    assert [one.tolist() for one in counted] == [[0]] * 8
    uncounted = follow(boxes, [[0.9]] * 8, tracker=Tracker(buffer=1.0))
    assert uncounted[-1].tolist() != [0]


def test_weak_detections_prolong_tracks_and_start_none() -> None:
    scores = [0.9, 0.9, 0.9, 0.2, 0.2, 0.2, 0.9]
    boxes = [[box(10 + 3 * t, 50), box(300, 300)] for t in range(7)]
    found = follow(boxes, [[score, 0.3] for score in scores])
    assert np.stack(found).tolist() == [[0, -1]] * 7
    without = follow(boxes, [[score, 0.3] for score in scores], tracker=Tracker(low=0.5))
    assert [int(one[0]) for one in without] == [0, 0, 0, -1, -1, -1, 0]


def test_the_cameras_motion_is_taken_out() -> None:
    """Small things, and a camera that jumps by more than their size, this way and that."""
    rng = np.random.default_rng(5)
    shifts = rng.uniform(-40, 40, (15, 2))
    camera = np.cumsum(shifts, axis=0)
    ground = np.array([[0.0, 0.0], [60.0, 10.0], [20.0, 70.0]])
    boxes = [[box(x, y, side=10) for x, y in (ground + moved).tolist()] for moved in camera]
    told = follow(boxes, [[0.9] * 3] * 15, shifts=list(shifts))
    assert np.stack(told).tolist() == [[0, 1, 2]] * 15
    untold = follow(boxes, [[0.9] * 3] * 15)
    assert np.stack(untold).tolist() != [[0, 1, 2]] * 15


def test_what_is_seen_twice_is_no_track_by_default() -> None:
    boxes = [[box(10, 10)], [box(10, 10)], [], [], [], [box(200, 200)], []]
    found = follow(boxes, [[0.9] * len(one) for one in boxes])
    assert [one.tolist() for one in found] == [[-1], [-1], [], [], [], [-1], []]


def test_in_a_volume_too() -> None:
    """Boxes of rank 3, as of cells in a film of volumes."""
    boxes = [[[t, 0, 0, t + 8, 8, 8], [40, 9, 9, 50, 19, 19]] for t in range(5)]
    assert np.stack(follow(boxes, [[0.9, 0.8]] * 5)).tolist() == [[0, 1]] * 5


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_no_number_twice_in_a_frame_nor_used_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracker = Tracker(keep=2)
    ended: set[int] = set()
    alive: set[int] = set()
    for _ in range(12):
        count = int(rng.integers(0, 7))
        boxes = [box(*rng.uniform(0, 80, 2)) for _ in range(count)]
        scores = rng.random(count)
        numbers = tracker.update(boxes, scores, shift=rng.normal(0, 3, 2))
        given = numbers[numbers >= 0].tolist()
        assert len(set(given)) == len(given)
        assert not ended & set(given)
        assert (numbers[scores < tracker.low] == -1).all()
        now = {track.number for track in tracker.tracks}
        assert set(given) <= now
        ended |= alive - now
        alive = now


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_a_tracks_score_only_rises_and_is_at_most_its_best(
    scores: list[float], later: float
) -> None:
    assert best_mean(scores) <= best_mean([*scores, later]) <= max(*scores, later) + 1e-12
    tracker = Tracker(high=0, low=0)
    for score in scores:
        tracker.update([box(5, 5)], [score])
    assert tracker.tracks[0].score == pytest.approx(best_mean(scores))


def test_boxes_are_enlarged_about_their_middle() -> None:
    assert grown([box(50, 50, 8)], 0.3, 16).tolist() == [box(50, 50, 16)]
    assert grown([box(50, 50, 100)], 0.3, 16)[0] == pytest.approx(box(50, 50, 160))


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match=r"low=0\.6"):
        Tracker(low=0.6)
    tracker = Tracker()
    tracker.update([box(0, 0)], [0.9])
    with pytest.raises(ValueError, match="frames=0"):
        tracker.update([], [], frames=0)
    with pytest.raises(ValueError, match="4 columns"):
        tracker.update([[0, 0, 0, 1, 1, 1]], [0.5])
    with pytest.raises(ValueError, match="finite"):
        tracker.update([box(np.nan, 0)], [0.5])
    assert Tracker().update([], []).tolist() == []


# The camera


def ground(seed: int, side: int = 360) -> np.ndarray:
    """Patches of several sizes, as bush and rock have."""
    rng = np.random.default_rng(seed)
    coarse = [np.kron(rng.normal(size=(side // n, side // n)), np.ones((n, n))) for n in (4, 12)]
    return np.asarray(120 + 20 * sum(coarse))


@given(st.integers(0, 1000), st.integers(-40, 40), st.integers(-60, 60))
@settings(max_examples=12, deadline=None)
def test_a_shift_is_found(seed: int, down: int, right: int) -> None:
    """Within a pixel or so, which is a third of a place of what the frames are reduced to."""
    land = ground(seed)
    rng = np.random.default_rng(seed)

    def view(row: int, column: int) -> np.ndarray:
        seen = land[row : row + 200, column : column + 220]
        return (seen + rng.normal(0, 3, seen.shape)).clip(0, 255).astype(np.uint8)[..., None]

    dx, dy = frame_shift(view(70, 70), view(70 - down, 70 - right))
    assert abs(dx - right) <= 1.5
    assert abs(dy - down) <= 1.5


def test_a_sensors_own_pattern_does_not_hold_the_ground_still() -> None:
    land, rng = ground(1), np.random.default_rng(1)
    pattern = rng.normal(0, 12, (1, 220)) + rng.normal(0, 4, (200, 220))
    first, second = (land[50:250, c : c + 220] + pattern for c in (60, 45))
    dx, dy = frame_shift(first, second)
    assert abs(dx - 15) <= 2
    assert abs(dy) <= 2


@pytest.mark.parametrize("seed", range(6))
def test_ground_that_shows_nothing_but_noise_is_no_motion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flat = [rng.normal(120, 3, (256, 320, 1)).round().astype(np.uint8) for _ in range(2)]
    assert frame_shift(*flat) == (0.0, 0.0)
    # A herd that stands on it tells at once how the camera moved.
    for row, column in rng.integers(60, 180, (8, 2)):
        for frame, (down, right) in zip(flat, ((0, 0), (5, -12)), strict=True):
            frame[row + down : row + down + 8, column + right : column + right + 12] = 180
    dx, dy = frame_shift(*flat)
    assert abs(dx + 12) <= 1
    assert abs(dy - 5) <= 1


def test_nothing_to_see_is_no_motion() -> None:
    flat = np.full((64, 80, 1), 7, np.uint16)
    assert frame_shift(flat, flat + 3) == (0.0, 0.0)
    camera = CameraMotion()
    assert camera(flat) == (0.0, 0.0)
    assert camera(np.zeros((32, 80, 3), np.uint8)) == (0.0, 0.0)  # of another size
    with pytest.raises(ValueError, match="picture"):
        camera(np.zeros(5))
