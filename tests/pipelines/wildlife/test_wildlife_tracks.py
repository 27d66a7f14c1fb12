"""Flights that are followed, scored and asked for an operating point; by hand, without a model."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldsight.core.detection import Detections
from fieldsight.core.metrics import Tracks
from fieldsight.datasets.animals import Frame
from fieldsight.datasets.frames import Shot
from fieldsight.pipelines.wildlife import _alarms, _track_scores
from fieldsight.pipelines.wildlife._tracks import Followed, Follower, follow, kinds

CLASSES = ("human", "elephant", "vehicle")
KINDS = ("person", "animal", "vehicle")
BLANK = np.zeros((8, 8, 1), np.uint8)
Row = tuple[float, float, float, int]  # column, row, score, label


def found(rows: Iterable[Row], side: float = 12) -> Detections:
    array = np.array(list(rows), float).reshape(-1, 4)
    corner = array[:, :2] - side / 2
    return Detections(np.concatenate([corner, corner + side], 1).astype(np.float32),
                      array[:, 2].astype(np.float32), array[:, 3].astype(int))  # fmt: skip


def flight(frames: Iterable[Iterable[Row]]) -> Iterator[tuple[Shot, Detections]]:
    for number, rows in enumerate(frames):
        yield Shot(number, number / 6, BLANK), found(rows)


def followed(frames: Iterable[Iterable[Row]], name: str = "a") -> Followed:
    return follow(name, flight(frames), KINDS, threshold=0.5, frames_per_second=6, camera=False)


def truth(objects: dict[int, tuple[float, float, int]], frames: int, name: str = "a",
          region: tuple[float, ...] | None = None) -> _track_scores.Truth:  # fmt: skip
    rows = [(t, track, x, y, label) for t in range(frames)
            for track, (x, y, label) in objects.items()]  # fmt: skip
    array = np.array(rows, float).reshape(-1, 5)
    boxes = found([(x, y, 1, 0) for _, _, x, y, _ in array]).boxes
    where = [region] * frames if region else []
    return _track_scores.Truth(
        name, Tracks(array[:, 0].astype(int), array[:, 1].astype(int), boxes),
        array[:, 4].astype(int), Tracks(list(range(len(where))), [0] * len(where), where),
    )  # fmt: skip


def test_kinds_are_people_vehicles_and_all_else() -> None:
    assert kinds(CLASSES, frozenset({"human"}), frozenset({"vehicle"})) == KINDS


def test_a_person_under_an_animals_box_is_not_lost() -> None:
    """W-11: what another class says of the same object is evidence too, for one track alone."""
    rows = [[(50.0, 50.0, 0.8, 1), (51.0, 50.0, 0.6, 0)]] * 5
    one = followed(rows)
    assert np.unique(one.rows.tracks).tolist() == [0]
    assert one.evidence[0] == {"animal": pytest.approx(0.8), "person": pytest.approx(0.6)}
    assert one.labels == {0: 1}


def test_counts_are_of_tracks_not_of_frames() -> None:
    """W-8: two animals in twenty frames are two, and a flash is none."""
    rows = [[(20.0 + 2 * t, 30.0, 0.9, 1), (20.0, 90.0, 0.9, 1)] for t in range(20)]
    rows[7].append((200.0, 200.0, 0.9, 1))
    one = followed(rows)
    assert sorted(one.labels.values()) == [1, 1]
    assert one.seconds == pytest.approx(20 / 6)


@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
@settings(max_examples=25, deadline=None)
def test_an_alarm_as_frames_come_is_an_alarm_at_the_end(seed: int, threshold: float) -> None:
    """W-10: the operating point of whole tracks is that of a watch."""
    rng = np.random.default_rng(seed)
    rows = [
        [(20.0 + 40 * k, 30.0, float(rng.random()), int(rng.integers(0, 3))) for k in range(4)
         if rng.random() < 0.8]
        for _ in range(12)
    ]  # fmt: skip
    follower = Follower(KINDS, threshold=0.5, camera=False)
    online = set()
    for shot, one in flight(rows):
        for track in follower.update(one, shot):
            if track >= 0:
                online |= {(int(track), kind) for kind, value in follower.evidence(track).items()
                           if value >= threshold}  # fmt: skip
    whole = {(track, kind) for track, one in follower._evidence.items()
             for kind, value in follower.evidence(track).items() if value >= threshold}  # fmt: skip
    assert online == whole


def test_what_has_ended_is_forgotten() -> None:
    follower = Follower(KINDS, threshold=0.5, camera=False, frames_per_second=1)
    rows: list[list[Row]] = [[(20.0, 20.0, 0.9, 0)]] * 3 + [[]] * 4
    ended = []
    for shot, one in flight(rows):
        follower.update(one, shot)
        ended += follower.forget()
    assert ended == [0]
    assert not follower._evidence


def case() -> tuple[list[_track_scores.Truth], list[Followed]]:
    """Two flights of a person each, one of whom is missed; a false person, an elephant."""
    first = [[(20.0, 20.0, 0.9, 0), (100.0, 100.0, 0.8, 1)] for _ in range(12)]
    second = [[(60.0, 60.0, 0.7, 0)] for _ in range(12)]
    return (
        [truth({1: (20, 20, 0), 5: (100, 100, 1)}, 12, "a"), truth({2: (200, 200, 0)}, 12, "b")],
        [followed(first, "a"), followed(second, "b")],
    )


def results() -> _track_scores.TrackResults:
    return _track_scores.assess(*case(), classes=CLASSES, kinds=KINDS, threshold=0.5)


def test_recall_of_people_is_by_track_and_the_missed_are_listed(tmp_path: Path) -> None:
    """W-11."""
    got = results()
    points = _alarms.points(got.alarms, 0)
    assert points["person"].threshold == pytest.approx(0.9)
    assert (points["person"].found, points["person"].tracks) == (1, 2)
    rows = _track_scores.missed(got, CLASSES, points)
    assert rows == [("person", "b", 2, "human")]
    _track_scores.write_missed(tmp_path / "missed.csv", rows)
    assert (tmp_path / "missed.csv").read_text() == (
        "kind,sequence,track,class\nperson,b,2,human\n"
    )
    said = _track_scores.figures(got, points)
    assert said["person_track_recall"] == 0.5
    assert (said["person_track_recall_low"], said["person_track_recall_high"]) == (0, 1)
    assert said["person_false_alarms_per_hour"] == 0
    assert said["animal_track_recall"] == 1


def test_the_operating_point_keeps_within_the_budget_and_says_what_it_cannot_show() -> None:
    """W-10: 24 frames at 6 a second are 4 s; one false alarm there is 900 an hour."""
    found_ = results().alarms
    wide = _alarms.points(found_, 900)["person"]
    assert wide.threshold == pytest.approx(0.7)
    assert (wide.false_alarms, wide.found) == (1, 1)
    narrow = _alarms.points(found_, 10)["person"]
    assert narrow.false_alarms == 0
    assert "can't show that 10 an hour hold" in narrow.said
    assert "1 of 2 person tracks" in narrow.said
    assert "vehicle" not in _alarms.points(found_, 10)  # there was none, nor an alarm
    unknown = _alarms.points(found_, 10, unknown=0.5)["vehicle"]
    assert unknown.threshold == 0.5
    assert "nothing is known of recall" in unknown.said


def test_a_card_keeps_what_any_budget_needs() -> None:
    got = results().alarms
    again = _alarms.from_facts(_alarms.to_facts(got))
    for budget in (0, 10, 900, 5000):
        first, second = (_alarms.points(one, budget) for one in (got, again))
        for kind, point in first.items():
            assert second[kind].threshold == pytest.approx(point.threshold, abs=2e-6)
            assert (second[kind].found, second[kind].tracks, second[kind].false_alarms) == (
                point.found, point.tracks, point.false_alarms)  # fmt: skip


def test_scores_of_two_flights_are_as_by_hand() -> None:
    """Of 36 true boxes 24 are found, and 12 false ones: IDF1 48 / 72, MOTA 1 - 24 / 36."""
    got = results()
    said = _track_scores.figures(got, {})
    assert said["track_idf1"] == pytest.approx(2 / 3)
    assert said["track_mota"] == pytest.approx(1 / 3)
    assert said["track_det_a"] == pytest.approx(0.5)
    assert (said["track_count_mae"], said["track_switches"]) == (0, 0)
    titles = [table.title for table in _track_scores.tables(got, CLASSES, {})]
    assert titles[0].startswith("Tracks of 2 sequences")


def test_where_nobody_knows_nothing_is_wrong() -> None:
    """W-2: an unknown species is an ignore region."""
    rows: list[list[Row]] = [[(60.0, 60.0, 0.9, 1)]] * 6
    one = truth({}, 6, region=(40, 40, 80, 80))
    got = _track_scores.assess([one], [followed(rows)], classes=CLASSES, kinds=KINDS, threshold=0.5)
    assert len(got.alarms["animal"].false) == 0
    assert got.found.sum() == 0
    assert got.scores[0].findings == 0


def test_the_count_threshold_is_that_of_the_least_error() -> None:
    """Two animals at 0.9 and a stone at 0.6 in every flight."""
    rows: list[list[Row]] = [[(20.0, 20.0, 0.9, 1), (80.0, 80.0, 0.9, 1), (200.0, 9.0, 0.6, 1)]] * 8
    there = [truth({0: (20, 20, 1), 1: (80, 80, 1)}, 8, name) for name in "ab"]
    chosen = _track_scores.count_threshold(there, [followed(rows, name) for name in "ab"])
    assert 0.6 < chosen <= 0.9 + 1e-6


def test_a_counts_interval_needs_nine_flights_and_holds_what_it_was_made_of() -> None:
    true = np.array([3, 5, 8, 2, 9, 4, 6, 7, 12])
    counted = np.array([3, 4, 8, 3, 7, 4, 6, 8, 10])
    assert _track_scores.count_interval(true[:8], counted[:8]) is None
    interval = _track_scores.count_interval(true, counted)
    assert interval is not None
    # With nine the largest error counts: 2 of 7 found, 2 / sqrt(8) = 0.707.
    assert interval(7) == (5, 9)
    assert interval(0) == (0, 0)


def test_frames_of_a_data_set_become_a_truth_unless_tracks_are_unknown() -> None:
    def frame(index: int, tracks: list[int]) -> Frame:
        count = len(tracks)
        boxes = np.tile(np.array([[0, 0, 9, 9]], np.float32), (count, 1))
        none: Any = np.zeros(count, bool)
        return Frame(f"{index}", "f", index, (64, 64), boxes, np.ones(count, int),
                     np.array(tracks, int), np.zeros((index % 2, 4), np.float32), none, none,
                     False, True, Path("x"), lambda _: BLANK)  # fmt: skip

    made = _track_scores.truth_of("f", [frame(40, [3]), frame(41, []), frame(43, [3])])
    assert made is not None
    assert np.asarray(made.rows.frames).tolist() == [40, 43]
    assert np.asarray(made.regions.frames).tolist() == [41, 43]
    assert made.label_of() == {3: 1}
    assert _track_scores.truth_of("f", [frame(1, [-1])]) is None
    empty = _track_scores.truth_of("f", [frame(2, [])])
    assert empty is not None
    assert empty.label_of() == {}
