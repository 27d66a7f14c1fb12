"""Alerts as frames come: from a folder that is written to, and from a film; no model."""

import dataclasses
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from fieldsight.core.detection import Detections
from fieldsight.core.metrics import Alarms
from fieldsight.datasets.detections import DISCLAIMER, drawing
from fieldsight.datasets.findings import Provenance
from fieldsight.datasets.frames import Mosaic, Shot
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.wildlife import _watch
from fieldsight.pipelines.wildlife._alarms import Point
from fieldsight.pipelines.wildlife._alerting import Summary
from fieldsight.pipelines.wildlife._feed import Feed

MADE = Provenance(model="bright blobs", trained_on="simulated flights", simulated=True,
                  disclaimer=DISCLAIMER)  # fmt: skip


class Blobs:
    """What is brighter than 200 is an elephant, or a person if it is higher than wide."""

    classes = ("elephant", "human", "vehicle")
    people = frozenset({"human"})
    vehicles = frozenset({"vehicle"})
    threshold = 0.5
    provenance = MADE

    def frames(self, shots: Iterable[Shot]) -> Iterator[tuple[Shot, Detections]]:
        for shot in shots:
            labelled, _ = ndimage.label(shot.image.max(-1) > 200)
            places = ndimage.find_objects(labelled)
            boxes = [(a.start, d.start, a.stop, d.stop) for d, a in places]
            labels = [int(d.stop - d.start > a.stop - a.start) for d, a in places]
            yield shot, Detections(np.array(boxes, np.float32).reshape(-1, 4),
                                   np.full(len(boxes), 0.9, np.float32),
                                   np.array(labels, int))  # fmt: skip

    def mosaic(self, mosaic: Mosaic, progress: Callable[[int, int], None]) -> Detections:
        raise NotImplementedError


def point(kind: str, threshold: float = 0.8) -> Point:
    return Point(kind, threshold, 10, 3, 4, 0, 0.01, 300.0)


POINTS = {kind: point(kind) for kind in ("person", "animal")}


def picture(number: int) -> np.ndarray[Any, Any]:
    """An elephant from the first frame on, a person from the sixth."""
    rng = np.random.default_rng(number)
    image = rng.integers(60, 90, (120, 160)).astype(np.uint8)
    image[40:50, 20 + number : 40 + number] = 230
    if number >= 5:
        image[80:96, 100 - number : 106 - number] = 240
    return image


def folder_of(path: Path, count: int = 12) -> Path:
    path.mkdir()
    for number in range(count):
        Image.fromarray(picture(number)).save(path / f"f_{number:04d}.png")
    return path


def watched(source: Path | str, out: Path, **given: Any) -> tuple[Summary, list[Any]]:
    lines: list[str] = []
    opened = _watch.follow_source(str(source), idle_s=given.pop("idle_s", 0.2), rate=6.0)
    summary = _watch.run(opened, Blobs(), POINTS, out=out, emit=lines.append, **given)
    return summary, [json.loads(line) for line in lines]


def test_each_new_track_is_alerted_once_with_a_picture(tmp_path: Path) -> None:
    summary, lines = watched(folder_of(tmp_path / "in"), tmp_path / "out")
    assert [line["alert"] for line in lines] == ["animal", "person"]
    assert [line["class"] for line in lines] == ["elephant", "human"]
    # Three detections of 0.9 are needed for an evidence of 0.8: the third frame, and the eighth.
    assert [line["frame"] for line in lines] == ["f_0002.png", "f_0007.png"]
    assert [line["first_seen_frame"] for line in lines] == [0, 5]
    assert lines[1]["box"] == [93, 80, 99, 96]
    assert summary.frames == 12
    assert summary.alerts == {"animal": 1, "person": 1}
    for line in lines:
        with Image.open(tmp_path / "out" / line["picture"]) as drawn:
            assert drawn.width > 160
        assert line["latency_s"] >= 0
        assert line["since_written_s"] >= 0
    kept = (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == lines


def test_people_are_to_be_checked_and_the_model_is_named(tmp_path: Path) -> None:
    """C-10, W-11."""
    _, lines = watched(folder_of(tmp_path / "in"), tmp_path / "out")
    person = lines[1]
    assert "checked by a person" in person["check"]
    assert "person" in person["picture"]
    assert person["model"] == "bright blobs"
    assert person["simulated"] is True
    assert person["marks"] == ["model trained on SIMULATED data alone"]


def test_nothing_ever_says_clear(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """W-11: an empty scene is told as what was looked at, and that more may be there."""
    empty = tmp_path / "in"
    empty.mkdir()
    for number in range(6):
        Image.fromarray(np.full((60, 80), 80, np.uint8)).save(empty / f"{number}.png")
    source = _watch.follow_source(str(empty), idle_s=0.2, rate=6)
    summary = _watch.run(source, Blobs(), POINTS, out=tmp_path / "out")
    said = "\n".join(_watch.said(summary, Blobs(), source)) + capsys.readouterr().out
    said += (tmp_path / "out" / "watch.json").read_text()
    assert not re.search(r"\b(clear|safe|all.clear|nobody)\b", said, re.IGNORECASE)
    assert "doesn't mean that nothing is there" in said
    assert summary.alerts == {}


def test_frames_are_taken_while_they_are_written(tmp_path: Path) -> None:
    live = tmp_path / "in"
    live.mkdir()

    def write() -> None:
        for number in range(10):
            beside = live / f".{number}.part"
            Image.fromarray(picture(number)).save(beside, "PNG")
            beside.rename(live / f"f_{number:04d}.png")
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    _, lines = watched(live, tmp_path / "out", most_frames=10, idle_s=60)
    writer.join()
    assert [line["alert"] for line in lines] == ["animal", "person"]


def test_a_bad_frame_is_recorded_and_the_watch_goes_on(tmp_path: Path) -> None:
    """C-11."""
    there = folder_of(tmp_path / "in")
    (there / "f_0006.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    summary, lines = watched(there, tmp_path / "out")
    assert summary.frames == 11
    assert len(lines) == 2
    assert "f_0006.png" in (tmp_path / "out" / "failures.csv").read_text()
    assert json.loads((tmp_path / "out" / "watch.json").read_text())["failed"] == 1


def test_a_film_is_watched_whole(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("ffv1", rate=6)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "gray"
        for number in range(12):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), "gray")))
        film.mux(stream.encode())
    summary, lines = watched(path, tmp_path / "out")
    assert (summary.frames, summary.skipped) == (12, 0)
    assert [line["frame_number"] for line in lines] == [2, 7]
    assert lines[1]["time_s"] == pytest.approx(7 / 6, abs=0.01)


def test_earlier_alerts_are_kept(tmp_path: Path) -> None:
    there = folder_of(tmp_path / "in")
    watched(there, tmp_path / "out")
    watched(there, tmp_path / "out")
    kept = (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in kept] == [1, 2, 3, 4]
    assert len(list((tmp_path / "out" / "alerts").iterdir())) == 4


def test_an_alert_outlives_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drawing, "save", full)
    _, lines = watched(folder_of(tmp_path / "in"), tmp_path / "out")
    assert [line["picture"] for line in lines] == [None, None]
    assert lines[0]["picture_failed"] == "No space left on device"


@pytest.mark.parametrize(
    "address",
    ["udp://0.0.0.0:5000", "udp://@:5000", "rtp://192.168.1.7:5004", "udp://camera.example:9",
     "tcp://0.0.0.0:80?listen=1", "http://10.0.0.1:80/?listen=1", "srt://0.0.0.0:9?mode=listener"],
)  # fmt: skip
def test_others_are_not_listened_to(address: str) -> None:
    with pytest.raises(CommandError, match="this machine alone"):
        _watch.check_source(address)


@pytest.mark.parametrize(
    "address",
    ["udp://127.0.0.1:5000", "udp://[::1]:5000", "tcp://localhost:80?listen=1",
     "rtsp://user:word@camera.example/live", "tcp://192.168.1.7:5000", "flight/", "film.mp4"],
)  # fmt: skip
def test_this_machine_is_listened_to_and_cameras_are_connected_to(address: str) -> None:
    _watch.check_source(address)


def test_a_model_of_simulated_flights_is_asked_for_by_name(tmp_path: Path) -> None:
    """C-10."""
    there = folder_of(tmp_path / "in", 1)
    source = _watch.follow_source(str(there), idle_s=0.2, rate=6)
    with pytest.raises(CommandError, match="--allow-simulated"):
        _watch.refuse_simulated(source, Blobs(), allowed=False)
    _watch.refuse_simulated(source, Blobs(), allowed=True)
    (there / "SIMULATED.json").write_text("{}")
    _watch.refuse_simulated(source, Blobs(), allowed=False)


def test_the_command_prints_alerts_and_says_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """W-10: validation flights of an hour had a false person of 0.7 and true ones from 0.6 on."""
    there = folder_of(tmp_path / "in")
    (there / "f_0003.png").write_bytes(b"no picture")
    none = np.zeros(0)
    person = Alarms(np.array([0.95, 0.6]), (("v", 0), ("v", 1)), np.array([0.7]), none, 1.0)
    asked = _watch.Request(source=str(there), out=tmp_path / "out", idle_s=0.2, json=True,
                           false_alarms_per_hour=0.5, allow_simulated=True)  # fmt: skip
    code = _watch.answer(asked, lambda: (Blobs(), {"person": person}))
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    # The person's evidence is 0.9 at most, and 0.95 is asked for; of animals nothing is known.
    assert [line["alert"] for line in lines] == ["animal"]
    assert lines[0]["operating_point"] == 0.5
    assert code == 1  # a frame failed
    assert "1 of 2 person tracks found on validation flights" in printed.err
    assert "nothing is known of recall" in printed.err
    assert "doesn't mean that nothing is there" in printed.err
    wide = dataclasses.replace(asked, out=tmp_path / "wide", false_alarms_per_hour=1.0)
    _watch.answer(wide, lambda: (Blobs(), {"person": person}))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["alert"] for line in lines] == ["animal", "person"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"false_alarms_per_hour": -1}, "--false-alarms-per-hour"), ({"idle_s": 0}, "--idle-s"),
     ({"frames_per_second": float("nan")}, "--frames-per-second"),
     ({"source": "nowhere/"}, "no such file"), ({"source": "ftp://127.0.0.1/"}, "ftp://")],
)  # fmt: skip
def test_what_cannot_be_watched_is_said_before_the_model_is_loaded(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    def load() -> Any:
        raise AssertionError

    asked: dict[str, Any] = {"source": str(tmp_path), "out": tmp_path / "out"} | wrong
    with pytest.raises(CommandError, match=said):
        _watch.answer(_watch.Request(**asked), load)


def shots(count: int) -> Iterator[Shot]:
    for number in range(count):
        yield Shot(number, None, np.zeros((2, 2, 1), np.uint8))


def test_a_live_feed_skips_the_oldest_and_a_film_none() -> None:
    live = Feed(shots(100), live=True, most=4)
    while not live._ended:
        time.sleep(0.001)
    assert [fed.shot.number for fed in live] == [96, 97, 98, 99]
    assert live.skipped == 96
    film = Feed(shots(100), live=False, most=4)
    assert [fed.shot.number for fed in film] == list(range(100))
    assert film.skipped == 0


def test_what_goes_wrong_while_reading_is_told_after_what_was_read() -> None:
    def broken() -> Iterator[Shot]:
        yield from shots(2)
        raise ValueError("the cable")

    feed = iter(Feed(broken(), live=False))
    assert [next(feed).shot.number, next(feed).shot.number] == [0, 1]
    with pytest.raises(ValueError, match="the cable"):
        next(feed)
