"""Simulated flights and mosaics as they are written: layouts, places; from a seed; resumed."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from fieldsight.datasets import animals, ground, telemetry
from fieldsight.datasets.animals import AnimalSet
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.simulated import wildlife
from fieldsight.datasets.simulated.wildlife import _flight, _mosaic, _plan

FLIGHTS = (7, 8)  # of a test, where warm is dark; and for training
# Rows, and the mean of the first frame, as of version 1.
FIXED = {7: (281, 179.05), 8: (330, 76.26)}
FIXED_MOSAIC = (92, 113.76)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("simulated") / "default"
    wildlife.write(root, 0, flights=2, first=FLIGHTS[0])
    return root


@pytest.fixture(scope="module")
def found(folder: Path) -> AnimalSet:
    return animals.load(folder)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flights of 3 frames and mosaics of 600 pixels a side."""
    monkeypatch.setitem(_plan.FRAMES, "quick", 3)
    monkeypatch.setitem(_mosaic.SIDES, "quick", 600)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def number_of(group: str) -> int:
    return int(group[-4:])


# BIRDSAI's layout


def test_the_reader_reads_every_frame_and_tells_that_all_is_simulated(found: AnimalSet) -> None:
    assert (found.kind, found.simulated, found.failures) == ("birdsai", True, {})
    assert found.notes == ()  # no frame is missing, no box reaches over an edge
    assert len(found) == 80
    assert found.people == {"human"}
    assert {frame.size for frame in found.frames} == {(512, 640)}
    image = found.frames[0].read()
    assert image.shape == (512, 640, 1)
    assert image.dtype == np.uint8


def test_whoever_opens_the_folder_or_a_file_learns_that_it_is_simulated(
    folder: Path, found: AnimalSet
) -> None:
    assert json.loads((folder / "SIMULATED.json").read_text()) == {
        "seed": 0, "detail": "quick", "setting": "default", "version": wildlife.VERSION,
        "first": 7, "flights": 2, "mosaics": 1, "whole": True,
    }  # fmt: skip
    assert {frame.group.split("/")[0] for frame in found.frames} == {
        "TrainSimulation", "TestSimulation",
    }  # fmt: skip
    assert Image.open(found.frames[0].path).info["comment"] == b"FIELDSIGHT_SIMULATED=1"


def test_w1_every_fourth_flight_is_for_the_test(found: AnimalSet) -> None:
    assert found.split is not None
    sides = {number_of(frame.group): found.split[frame.name] for frame in found.frames}
    assert sides == {7: "test", 8: "train"}
    assert [_plan.plan(0, number).side for number in range(4)] == [*["train"] * 3, "test"]
    assert {_plan.plan(0, number, "other").side for number in range(4)} == {"test"}


def test_w2_w3_frames_start_anywhere_and_some_are_empty(found: AnimalSet) -> None:
    first = {group: min(frame.index for frame in found.frames if frame.group == group)
             for group in set(found.groups)}  # fmt: skip
    assert all(number > 0 for number in first.values())
    empty = [len(frame.boxes) == 0 for frame in found.frames]
    assert 0.05 < np.mean(empty) < 0.6


def test_boxes_are_about_what_is_warmer_than_around(found: AnimalSet) -> None:
    # In flight 7 warm is dark. Some bodies are as warm as the stone that they stand on.
    apart = []
    for frame in found.frames[::4]:
        image = frame.read()[..., 0].astype(float)
        if number_of(frame.group) == 7:
            image = 255 - image
        for box in frame.boxes[~frame.occluded].astype(int):
            left, top, right, bottom = box
            around = image[max(top - 6, 0) : bottom + 6, max(left - 6, 0) : right + 6]
            apart.append(np.percentile(image[top:bottom, left:right], 90) - np.median(around))
    assert len(apart) > 40
    assert np.mean(np.array(apart) > 8) > 0.9


def test_w8_a_track_is_one_animal_that_moves_on(found: AnimalSet) -> None:
    for group in sorted(set(found.groups)):
        seen: dict[int, list[tuple[int, int, float]]] = {}
        for frame in sorted(
            found.take(np.flatnonzero(found.groups == group)), key=lambda f: f.index
        ):
            assert len(set(frame.tracks.tolist())) == len(frame.tracks)
            for track, label, box in zip(frame.tracks, frame.labels, frame.boxes, strict=True):
                seen.setdefault(int(track), []).append((frame.index, int(label), float(box[1])))
        for places in seen.values():
            assert len({label for _, label, _ in places}) == 1
            steps = [b[2] - a[2] for a, b in itertools.pairwise(places) if b[0] == a[0] + 1]
            # 11 to 16 m/s at 6 frames a second and 0.08 to 0.13 m a pixel, and their own walk.
            assert all(-12 < step < 60 for step in steps)


# Places


def test_w9_telemetry_and_pictures_give_the_places(folder: Path, found: AnimalSet) -> None:
    # By `ground`, which knows nothing of the simulator: people's feet lie in or at their boxes.
    apart = []
    for group in sorted(set(found.groups)):
        name = group.split("/")[1]
        flight = telemetry.load(folder / "telemetry" / f"{name}.csv")
        places = {(int(row["frame"]), int(row["object"])): row
                  for row in rows(folder / "places" / f"{name}.csv")}  # fmt: skip
        for frame in found.take(np.flatnonzero(found.groups == group)):
            pose = flight.at(frame=frame.index)
            assert pose is not None
            for box, track, label in zip(frame.boxes, frame.tracks, frame.labels, strict=True):
                if found.classes[label] != "human":
                    continue
                row = places[frame.index, int(track)]
                pixel = ground.to_pixels(
                    pose, frame.size, float(row["longitude"]), float(row["latitude"])
                )[0]
                outside = np.maximum(box[:2] - pixel, pixel - box[2:])
                apart.append(float(outside.max()))
    assert len(apart) > 20
    assert max(apart) < 1.5


# Mosaics


def test_the_mosaic_is_georeferenced_and_has_coco_boxes(folder: Path) -> None:
    mosaics = animals.load(folder / "orthomosaic")
    assert (mosaics.kind, mosaics.simulated, mosaics.failures) == ("coco", True, {})
    assert mosaics.notes == ()
    (frame,) = mosaics.frames
    assert frame.size == (4000, 4000)
    assert set(mosaics.classes) == {"human", "elephant", "zebra", "giraffe", "vehicle"}
    with rasterio.open(frame.path) as file:
        assert (file.crs.to_epsg(), file.res, file.nodata) == (32736, (0.08, 0.08), 0)
        assert file.tags()["FIELDSIGHT_SIMULATED"] == "1"
        valid = file.dataset_mask() > 0
        picture = file.read().astype(float).mean(0)
    assert 0.8 < valid.mean() < 0.98
    assert (len(frame.boxes), picture.mean()) == (
        FIXED_MOSAIC[0],
        pytest.approx(FIXED_MOSAIC[1], abs=0.3),
    )
    for left, top, right, bottom in frame.boxes.astype(int):
        assert valid[top:bottom, left:right].all()


# From a seed


def test_version_1_stays_as_it_is(found: AnimalSet) -> None:
    # Whoever changes what is drawn changes VERSION: figures of before aren't figures of after.
    assert wildlife.VERSION == 1
    for number, (count, mean) in FIXED.items():
        frames = [frame for frame in found.frames if number_of(frame.group) == number]
        assert sum(len(frame.boxes) + len(frame.ignored) for frame in frames) == count
        first = min(frames, key=lambda frame: frame.index)
        assert first.read().mean() == pytest.approx(mean, abs=0.2)


def test_a_flight_depends_on_its_seed_number_and_setting_alone() -> None:
    def first(seed: int, number: int, setting: wildlife.Setting) -> bytes:
        frame = next(_flight.frames(_plan.plan(seed, number, setting)))
        return frame.image.tobytes()

    one = first(0, 1, "default")
    assert one == first(0, 1, "default")
    assert len({one, first(1, 1, "default"), first(0, 2, "default"), first(0, 1, "other")}) == 4


@pytest.mark.usefixtures("short")
def test_what_is_there_whole_is_kept_and_what_is_missing_made(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    wildlife.write(tmp_path, 3, flights=2, mosaics=1, progress=lambda *at: told.append(at))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    contents = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    gone = sorted(tmp_path.glob("*/annotations/*1.csv"))[0]
    gone.unlink()
    told.clear()
    wildlife.write(tmp_path, 3, flights=2, mosaics=1, progress=lambda *at: told.append(at))
    assert told == [(2, 3), (3, 3)]
    assert {path: path.read_bytes() for path in contents} == contents
    wildlife.write(tmp_path, 3, flights=1, mosaics=0, first=4)
    assert len(rows(tmp_path / "flights.csv")) == 3
    manifest = json.loads((tmp_path / "SIMULATED.json").read_text())
    assert (manifest["flights"], manifest["mosaics"]) == (3, 1)
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.usefixtures("short")
def test_folders_of_other_flights_or_files_are_refused(tmp_path: Path) -> None:
    wildlife.write(tmp_path / "a", 0, flights=1, mosaics=0)
    with pytest.raises(DataError, match=r"same flights was needed, seed 1.*Received: seed 0"):
        wildlife.write(tmp_path / "a", 1, flights=1, mosaics=0)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"simulated flights was needed\. Received: one with other"):
        wildlife.write(tmp_path / "b", 0, flights=1)
    with pytest.raises(DataError, match="a flight or a mosaic"):
        wildlife.write(tmp_path / "c", 0, flights=0, mosaics=0)
