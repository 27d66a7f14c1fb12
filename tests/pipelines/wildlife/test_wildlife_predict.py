"""From inputs to answers, with a finder of bright blobs in the model's place."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from PIL import Image
from scipy import ndimage

from fieldsight.core.detection import Detections
from fieldsight.datasets import frames, ground
from fieldsight.datasets.detections import DISCLAIMER
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.findings import Provenance
from fieldsight.datasets.frames import Mosaic, Shot
from fieldsight.datasets.telemetry import Pose
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.wildlife import _place, _predict
from fieldsight.pipelines.wildlife._predict import Request

DATA = Path(os.environ.get("FIELDSIGHT_DATA", Path(__file__).parents[4] / "shared/data"))
BIRDS = DATA / "wildlife/everglades_wading_birds/Vacation_03192020_203_projected.tif"
PELICANS = DATA / "wildlife/tree_crowns/AWPE Pigeon Lake 2020 DJI_0005.JPG"

MADE = Provenance(model="bright blobs", trained_on="nothing", simulated=False,
                  disclaimer=DISCLAIMER)  # fmt: skip
HERE = (31.55, -24.05)


class Blobs:
    """What is brighter than 200 is an elephant, or a person if it is higher than wide."""

    classes = ("elephant", "human")
    people = frozenset({"human"})
    vehicles: frozenset[str] = frozenset()
    threshold = 0.5

    def __init__(self, provenance: Provenance = MADE) -> None:
        self.provenance = provenance
        self.scores: dict[int, float] = {}  # by frame, where they aren't 0.9

    def frames(self, shots: Iterable[Shot]) -> Iterator[tuple[Shot, Detections]]:
        for shot in shots:
            yield shot, self._found(shot.image, self.scores.get(shot.number, 0.9))

    def mosaic(self, mosaic: Mosaic, progress: Callable[[int, int], None]) -> Detections:
        progress(1, 1)
        rows, columns, _ = mosaic.shape
        return self._found(mosaic.read((slice(0, rows), slice(0, columns))))

    def _found(self, image: np.ndarray[Any, Any], score: float = 0.9) -> Detections:
        labelled, count = ndimage.label(image.max(-1) > 200)
        boxes, labels = [], []
        for down, across in ndimage.find_objects(labelled)[: min(count, 200)]:
            boxes.append((across.start, down.start, across.stop, down.stop))
            labels.append(int(down.stop - down.start > across.stop - across.start))
        scores = np.full(len(boxes), score, np.float32)
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, np.array(labels, int))


def run(request: Request, finder: Blobs | None = None) -> int:
    _predict.check(request)
    return _predict.answer(request, _predict.find(request), finder or Blobs())


def spotted(
    path: Path, *boxes: tuple[int, int, int, int], size: tuple[int, int] = (48, 64)
) -> Path:
    """The same dark ground with bright boxes: left, top, right, bottom."""
    image = np.random.default_rng(0).integers(20, 80, size).astype(np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def flight(folder: Path, name: str = "KrugerNorth") -> Path:
    """Three frames of a flight with one elephant and one person, and where the camera was."""
    for number in range(231, 234):
        x = number - 221
        spotted(folder / name / f"{name}_{number:06d}.png", (x, 4, x + 6, 8), (40, 30, 42, 36))
    rows = "".join(f"{n},{HERE[0]},{HERE[1]},100,90,-45,0,60\n" for n in range(231, 234))
    (folder / "telemetry").mkdir(exist_ok=True)
    (folder / "telemetry" / f"{name}.csv").write_text(
        "frame,longitude,latitude,height_m,heading_degrees,pitch_degrees,roll_degrees,"
        f"field_of_view_degrees\n{rows}"
    )
    return folder / name


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_flight_gives_every_output_with_what_it_shows_in_place(tmp_path: Path) -> None:
    # W-8, W-9, W-11, W-13.
    out = tmp_path / "out"
    assert run(Request(inputs=[flight(tmp_path)], out=out, frames_per_second=10.0)) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "answers.json", "counts.csv", "detections.coco.json", "detections.geojson",
        "detections.gpkg", "detections.megadetector.json", "people.csv", "pictures",
        "tracks.csv", "tracks.mot.csv", "videos",
    ]  # fmt: skip
    counted = {row["class"]: row["count"] for row in table(out / "counts.csv")}
    assert counted == {"elephant": "1", "human": "1"}
    assert len((out / "tracks.mot.csv").read_text().splitlines()) == 6
    read = pyogrio.read_dataframe(out / "detections.gpkg", layer="detections")
    assert len(read) == 6
    # The person's feet: 45 degrees down and east, by hand below the middle and to its right.
    focal = 32 / np.tan(np.radians(30))
    row = 33 + np.cos(np.radians(45)) * 3  # the box's middle, and as far down as the camera is flat
    down = np.degrees(np.arctan((row - 24) / focal))
    ahead = 100 / np.tan(np.radians(45 + down))
    person = read[read["class"] == "human"].iloc[0]
    away = ground.distance_m((HERE[0], person.geometry.y), (person.geometry.x, person.geometry.y))
    assert away == pytest.approx(ahead, abs=0.05)
    with av.open(str(next((out / "videos").iterdir()))) as film:
        assert len(list(film.decode(video=0))) == 3
    # The person's first frame is drawn, for a person to check.
    assert [path.name for path in (out / "pictures").iterdir()] == [
        "KrugerNorth_KrugerNorth_000231.jpg"
    ]
    said = json.loads((out / "answers.json").read_text())
    assert said["provenance"]["model"] == "bright blobs"
    assert said["people_to_check"] == 1
    assert set(said["files"]) >= {"detections.gpkg", "tracks.mot.csv", "people.csv"}
    assert "may show people: private" in said["files"].values()


def test_a_weak_detection_prolongs_a_track_and_a_short_track_is_none(tmp_path: Path) -> None:
    # W-8: it dims in the third frame, and something flashes up in the second alone.
    folder = tmp_path / "night"
    for number in range(5):
        flash = [(50, 2, 55, 6)] if number == 1 else []
        spotted(folder / f"{number:03d}.png", (10 + number, 20, 16 + number, 24), *flash)
    dim = Blobs()
    dim.scores = {2: 0.3}
    out = tmp_path / "out"
    assert run(Request(inputs=[folder], out=out, frames_per_second=10.0), dim) == 0
    counted = {row["class"]: row["count"] for row in table(out / "counts.csv")}
    assert counted == {"elephant": "1", "human": "0"}
    (track,) = table(out / "tracks.csv")
    assert track["frames_seen"] == "5"
    lines = (out / "tracks.mot.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["1", "2", "3", "4", "5"]
    # The flash was seen, but is no animal of its own.
    coco = json.loads((out / "detections.coco.json").read_text())
    assert len(coco["annotations"]) == 6


def test_blurred_answers_tell_no_name_and_no_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # W-9.
    out = tmp_path / "out"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "Skukuza.jpg").write_bytes(b"no picture")
    inputs = [flight(tmp_path), tmp_path / "bad"]
    assert run(Request(inputs=inputs, out=out, frames_per_second=10.0, blur_km=10.0)) == 1
    for path in (path for path in out.rglob("*") if path.is_file()):
        content = path.name.encode() + path.read_bytes()
        for telling in (b"Kruger", b"Skukuza", b"31.55", b"24.05", str(tmp_path).encode()):
            assert telling not in content, (path.name, telling)
    assert sorted(path.name for path in (out / "videos").iterdir()) == ["sequence-0001.mp4"]
    assert sorted(path.name for path in (out / "pictures").iterdir()) == [
        "sequence-0001_000000.jpg"
    ]
    assert "Kruger" not in capsys.readouterr().out


def test_a_real_orthomosaics_birds_fall_inside_it(tmp_path: Path) -> None:
    if not BIRDS.exists():
        pytest.skip("no real orthomosaic here")
    assert run(Request(inputs=[BIRDS], out=tmp_path / "out")) == 0
    read = pyogrio.read_dataframe(tmp_path / "out/detections.gpkg", layer="detections")
    assert len(read) > 10
    with rasterio.open(BIRDS) as raster:
        left, bottom, right, top = raster.bounds
        x, y = read.to_crs(raster.crs.to_wkt()).geometry.x, read.geometry.y
        assert ((x > left) & (x < right)).all()
        y = read.to_crs(raster.crs.to_wkt()).geometry.y
        assert ((y > bottom) & (y < top)).all()
    assert set(read["how"]) == {"transform"}
    assert (tmp_path / "out/pictures").is_dir()


def test_a_real_picture_that_was_cut_says_why_it_is_not_placed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not PELICANS.exists():
        pytest.skip("no real DJI picture here")
    assert run(Request(inputs=[PELICANS], out=tmp_path / "out")) == 0
    assert not (tmp_path / "out/detections.gpkg").exists()
    assert "cut from one of 5472x3078" in capsys.readouterr().err
    drawn = next((tmp_path / "out/pictures").iterdir())
    with Image.open(drawn) as picture:
        assert not picture.getexif().get_ifd(0x8825)  # the original has GPS


def test_a_broken_frame_is_recorded_and_the_flight_goes_on(tmp_path: Path) -> None:
    # C-11.
    folder = flight(tmp_path)
    (folder / "KrugerNorth_000232.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert run(Request(inputs=[folder], out=out, frames_per_second=10.0)) == 1
    (row,) = table(out / "failures.csv")
    assert row["frame"] == "KrugerNorth/KrugerNorth_000232.png"
    counted = table(out / "counts.csv")[0]
    assert (counted["frames"], counted["failed_frames"]) == ("2", "1")
    # The next run, with the frame whole, takes the record away.
    assert run(Request(inputs=[flight(tmp_path)], out=out, frames_per_second=10.0)) == 0
    assert not (out / "failures.csv").exists()


def test_pictures_are_counted_one_by_one_and_nothing_found_is_a_result(tmp_path: Path) -> None:
    for name in ("a", "b"):
        spotted(tmp_path / "in" / f"{name}.png", (5, 5, 12, 9))
    spotted(tmp_path / "in" / "empty.png")
    out = tmp_path / "out"
    assert run(Request(inputs=[tmp_path / "in"], out=out, pictures=False)) == 0
    by = {(row["source"], row["class"]): row for row in table(out / "counts.csv")}
    assert by["empty.png", "elephant"]["count"] == "0"
    assert by["(all pictures)", "elephant"]["count"] == "2"
    assert "overlap not removed" in by["(all pictures)", "elephant"]["note"]
    assert not (out / "pictures").exists()
    assert not (out / "detections.gpkg").exists()


def test_what_cannot_be_read_has_no_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spotted(tmp_path / "in" / "a.png", (5, 5, 12, 9))
    torn = spotted(tmp_path / "in" / "torn.jpg", (5, 5, 12, 9))
    torn.write_bytes(torn.read_bytes()[:700])  # its header is whole
    out = tmp_path / "out"
    assert run(Request(inputs=[tmp_path / "in"], out=out, pictures=False)) == 1
    by = {(row["source"], row["class"]): row for row in table(out / "counts.csv")}
    assert by["torn.jpg", "elephant"]["count"] == ""
    assert "can't be read" in by["torn.jpg", "elephant"]["note"]
    assert by["(all pictures)", "elephant"]["count"] == "1"
    assert by["(all pictures)", "elephant"]["failed_frames"] == "1"
    assert "without those that can't be read: 1" in by["(all pictures)", "elephant"]["note"]
    said = capsys.readouterr().out
    assert "torn.jpg: can't be read\n" in said
    assert "nothing found" not in said


def mosaic(path: Path, values: Any, **settings: Any) -> Path:
    """A GeoTIFF of `(bands, rows, columns)` uint8, without a CRS unless it is said."""
    count, rows, columns = values.shape
    form = {"driver": "GTiff", "dtype": "uint8", "transform": Affine(1, 0, 5, 0, -1, 9)} | settings
    with rasterio.open(path, "w", height=rows, width=columns, count=count, **form) as file:
        file.write(values)
    return path


def test_a_mosaic_without_crs_is_not_placed_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkey = np.full((3, 300, 300), 30, np.uint8)
    monkey[:, 100:110, 50:70] = 255
    path = mosaic(tmp_path / "a.tif", monkey)
    assert run(Request(inputs=[path], out=tmp_path / "out")) == 0
    assert not (tmp_path / "out/detections.gpkg").exists()
    assert (tmp_path / "out/detections.coco.json").exists()


def test_a_mosaic_whose_crs_leads_nowhere_is_not_placed_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A survey's own grid: PROJ knows no way from it to the globe.
    site = np.full((1, 100, 100), 30, np.uint8)
    site[:, 10:14, 50:60] = 255
    path = mosaic(tmp_path / "site.tif", site, crs='LOCAL_CS["dam",UNIT["metre",1]]')
    assert run(Request(inputs=[path], out=tmp_path / "out")) == 0
    assert table(tmp_path / "out/counts.csv")[0]["count"] == "1"
    assert not (tmp_path / "out/detections.gpkg").exists()
    assert "Received: dam." in capsys.readouterr().err


def test_telemetry_with_a_gap_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = flight(tmp_path)
    rows = "".join(f"{t},{HERE[0]},{HERE[1]},100,90,-45,60\n" for t in (0, 0.05, 9))
    given = tmp_path / "given.csv"
    given.write_text(
        "time_s,longitude,latitude,height_m,heading,pitch_degrees,field_of_view_degrees\n" + rows
    )
    request = Request(
        inputs=[folder], out=tmp_path / "out", frames_per_second=10.0, telemetry=given
    )
    assert run(request) == 0
    said = capsys.readouterr().err
    assert "nothing is placed in its gaps: 0.1 to 9.0 s" in said
    assert "2 frames have no position" in said
    placed = pyogrio.read_dataframe(tmp_path / "out/detections.gpkg", layer="detections")
    assert set(placed["frame"]) == {"KrugerNorth/KrugerNorth_000231.png"}


def test_on_level_terrain_places_are_those_of_flat_earth(tmp_path: Path) -> None:
    folder = flight(tmp_path)
    with rasterio.open(tmp_path / "dem.tif", "w", driver="GTiff", height=200, width=200, count=1,
                       dtype="float32", crs="EPSG:4326",
                       transform=Affine(1e-4, 0, HERE[0] - 0.01, 0, -1e-4, HERE[1] + 0.01),
                       ) as file:  # fmt: skip
        file.write(np.full((1, 200, 200), 300, "float32"))
    found = []
    for terrain in (None, tmp_path / "dem.tif"):
        out = tmp_path / f"out-{terrain is None}"
        request = Request(inputs=[folder], out=out, terrain=terrain, pictures=False)
        assert run(request) == 0
        found.append(pyogrio.read_dataframe(out / "detections.gpkg", layer="detections"))
    assert [set(each["how"]) for each in found] == [{"flat earth"}, {"terrain"}]
    np.testing.assert_allclose(found[0].geometry.x, found[1].geometry.x, atol=1e-7)


def test_what_cannot_be_written_is_not_put_down_to_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise DataError("film.mp4 can't be written (no space left on device).")

    monkeypatch.setattr("fieldsight.datasets.detections.films.Film.add", full)
    out = tmp_path / "out"
    with pytest.raises(CommandError, match="no space left"):
        run(Request(inputs=[flight(tmp_path)], out=out))
    assert not out.exists()  # nothing of it, and no half of it


def test_a_model_of_simulated_data_refuses_real_flights(tmp_path: Path) -> None:
    # C-10.
    folder = flight(tmp_path / "data")
    simulated = Blobs(Provenance(model="blobs", trained_on="simulated", simulated=True))
    inputs = frames.find([folder])
    with pytest.raises(CommandError, match="--allow-simulated"):
        _predict.refuse_simulated(inputs, simulated, allowed=False)
    _predict.refuse_simulated(inputs, simulated, allowed=True)
    (tmp_path / "data" / "SIMULATED.json").write_text("{}")
    _predict.refuse_simulated(inputs, simulated, allowed=False)
    assert run(Request(inputs=[folder], out=tmp_path / "out"), simulated) == 0
    said = json.loads((tmp_path / "out/answers.json").read_text())
    assert said["marks"] == ["SIMULATED input", "model trained on SIMULATED data alone"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"inputs": []}, "at least one input"),
        ({"blur_km": 0.0}, "--blur-locations: more than 0"),
        ({"field_of_view_degrees": 200.0}, "--field-of-view"),
        ({"telemetry": Path("no.csv")}, "--telemetry"),
        ({"terrain": Path("no.tif")}, "--terrain"),
    ],
)
def test_what_cannot_be_done_is_refused_first(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    given: dict[str, Any] = {"inputs": [tmp_path], "out": tmp_path / "out"}
    with pytest.raises(CommandError, match=said):
        _predict.check(Request(**(given | settings)))


def test_where_animals_stand_is_nearer_the_lower_edge_the_flatter_the_camera() -> None:
    box = np.array([[10, 20, 30, 60]])
    assert _place.standing(box, -90).tolist() == [[20, pytest.approx(40)]]
    assert _place.standing(box, 0).tolist() == [[20, 60]]
    assert _place.standing(box, -60)[0, 1] == pytest.approx(50)


def test_telemetry_of_djis_video_lies_beside_it(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "DJI_0001.MP4"), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode())
    (tmp_path / "DJI_0001.SRT").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\n[latitude: -24.05] [longitude: 31.55] [rel_alt: 80.0 "
        "abs_alt: 400.0] [gb_yaw: 10.0 gb_pitch: -90.0 gb_roll: 0.0]\n\n"
    )
    (source,) = frames.find([tmp_path]).items
    found = _place.flight_of(source, None, only=True)
    assert found is not None
    assert found.home == Pose(longitude=31.55, latitude=-24.05, height_m=80.0, above="takeoff",
                              altitude_m=400.0, heading_degrees=10.0)  # fmt: skip


def test_simulated_animals_are_placed_where_they_stand(tmp_path: Path) -> None:
    # W-9: the simulator has its own camera, and writes where each animal was.
    from fieldsight.datasets import animals, telemetry
    from fieldsight.datasets.simulated import wildlife

    wildlife.write(tmp_path, 0, flights=1, mosaics=0)
    (poses,) = (tmp_path / "telemetry").glob("*.csv")
    (places,) = (tmp_path / "places").glob("*.csv")
    true = {(int(row["frame"]), int(row["object"])): (float(row["longitude"]),
            float(row["latitude"])) for row in table(places)}  # fmt: skip
    flown, off, said = telemetry.load(poses), [], []
    for frame in animals.load(tmp_path).frames:
        pose = flown.at(frame=frame.index)
        assert pose is not None
        found = ground.by_pose(pose, frame.size, _place.standing(frame.boxes, pose.pitch_degrees))
        rows, columns = frame.size
        for number, (left, top, right, bottom) in enumerate(frame.boxes):
            if min(left, top) > 1 and right < columns - 1 and bottom < rows - 1:
                place = (found.longitude[number], found.latitude[number])
                track = int(frame.tracks[number])
                off.append(ground.distance_m(place, true[frame.index, track]))
                said.append(found.error_m[number])
    assert len(off) > 100
    assert np.median(off) < 1.0
    assert np.max(off) < np.max(said)


def test_why_pictures_are_not_placed_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        image = Image.new("RGB", (64, 48))
        image.paste((250, 250, 250), (5, 5, 12, 9))
        exif = image.getexif()
        exif[0x8825] = {1: "S", 2: (24.0, 3.0, 0.0), 3: "E", 4: (31.0, 33.0, 0.0), 5: b"\0", 6: 500}
        exif.get_ifd(0x8769)[0xA405] = 24
        image.save(tmp_path / f"{name}.jpg", exif=exif)
    assert run(Request(inputs=[tmp_path], out=tmp_path / "out", pictures=False)) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "not placed" in line]
    (note,) = notes
    assert note.startswith("note: a.jpg and 2 others: not placed")
    assert "no heading" in note


def test_frames_of_unknown_speed_are_told(tmp_path: Path) -> None:
    source, out = flight(tmp_path), tmp_path / "out"
    assert run(Request(inputs=[source], out=out, pictures=False)) == 0
    notes = json.loads((out / "answers.json").read_text())["notes"]
    assert sum("how fast the frames follow" in note for note in notes) == 1
    assert run(Request(inputs=[source], out=out, pictures=False, frames_per_second=6.0)) == 0
    assert "how fast" not in (out / "answers.json").read_text()
