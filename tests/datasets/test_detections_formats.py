"""What was found, in the formats that others open, read back by those others."""

import contextlib
import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from fieldsight.datasets.detections import (
    DISCLAIMER,
    Answer,
    Detection,
    Place,
    Source,
    View,
    blurring,
    coco_json,
    counts,
    drawing,
    films,
    maps,
    megadetector,
    mot_csv,
    summary,
)
from fieldsight.datasets.findings import Provenance

MADE = Provenance(
    model="fieldsight-wildlife v3 (run 12345678, trained on simulated-quick, simulated)",
    trained_on="simulated-quick", simulated=True, software="0.1", created="2026-11-27T15:00:00",
    disclaimer=DISCLAIMER,
)  # fmt: skip
SPOT = Place(31.551234567, -24.051234567, 4.2, "flat earth")
FLIGHT, PICTURE, FILM = "KrugerNorth/night", "KrugerNorth/DJI_0005.JPG", "Skukuza.mp4"


def found(
    frame: str, box: tuple[float, ...], label: str, track: int = -1, score: float = 0.75
) -> Detection:
    left, top, right, bottom = box
    return Detection(frame, (left, top, right, bottom), score, label, track, SPOT)


def frame(number: int) -> str:
    return f"{FLIGHT}/night_{number:06d}.png"


def answer() -> Answer:
    """A flight of two frames with one elephant and one person, a picture, a video without any."""
    views = (
        View(frame(231), FLIGHT, (512, 640), (
            found(frame(231), (10, 20, 30, 50), "elephant", 0),
            found(frame(231), (100, 110, 104, 118), "human", 1, 0.5),
        ), 231, 0.0),
        View(frame(232), FLIGHT, (512, 640), (
            found(frame(232), (12, 20, 32, 50), "elephant", 0),
            found(frame(232), (101, 110, 105, 118), "human", 1, 0.9),
            found(frame(232), (300, 300, 320, 320), "elephant"),
        ), 232, 0.1),
        View(PICTURE, PICTURE, (3000, 4000), (
            found(PICTURE, (-4, 2990, 396, 3010), "elephant"),
            found(PICTURE, (2000, 1500, 2400, 1800), "car"),
        )),
        View(f"{FILM}/000000", FILM, (480, 640), (), 0, 0.0),
        View(f"{FILM}/000001", FILM, (480, 640),
             (found(f"{FILM}/000001", (0, 0, 64, 48), "elephant", 5, 1.0),), 1, 0.04),
    )  # fmt: skip
    sources = (Source(FLIGHT, "sequence", 10.0), Source(PICTURE, "picture"),
               Source(FILM, "video", 25.0), Source("broken.mp4", "video"))  # fmt: skip
    return Answer(
        sources, views, ("elephant", "human", "car"), MADE, frozenset({"human"}),
        frozenset({"car"}), 0.4,
        failures={f"{FLIGHT}/night_000230.png": "damaged", "broken.mp4": "no codec reads it"},
        notes=("KrugerNorth/night: of the frames 231 to 240, 8 aren't there",
               "flat earth is assumed"),
    )  # fmt: skip


# COCO


def test_coco_s_own_reader_reads_it(tmp_path: Path) -> None:
    # W-13.
    from pycocotools.coco import COCO

    coco_json.write(tmp_path / "a.json", answer())
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "a.json"))
    assert len(coco.getImgIds()) == 5
    (elephants,) = coco.getCatIds(catNms=["elephant"])
    assert len(coco.getAnnIds(catIds=[elephants])) == 5
    (image,) = (each for each in coco.loadImgs(coco.getImgIds()) if each["file_name"] == frame(232))
    notes = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
    assert notes[0]["bbox"] == [12.0, 20.0, 20.0, 30.0]
    assert (notes[0]["area"], notes[0]["score"], notes[0]["track_id"]) == (600.0, 0.75, 0)
    assert "track_id" not in notes[2]
    assert (image["width"], image["height"], image["frame_id"]) == (640, 512, 232)
    assert image["may_show_people"]  # W-11


def test_coco_s_scores_are_what_its_evaluation_takes(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco_json.write(tmp_path / "a.json", answer())
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "a.json"))
        results = coco.loadRes(json.loads((tmp_path / "a.json").read_text())["annotations"])
        scores = COCOeval(coco, results, "bbox")
        scores.evaluate()
        scores.accumulate()
        scores.summarize()
    assert scores.stats[1] == pytest.approx(1.0)  # found what was found


def test_our_own_reader_reads_its_boxes_back(tmp_path: Path) -> None:
    from fieldsight.datasets import animals

    alone = Answer((Source("a.jpg", "picture"),),
                   (View("a.jpg", "a.jpg", (48, 64), (found("a.jpg", (1, 2, 9, 8), "car"),)),),
                   ("car",), MADE)  # fmt: skip
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    coco_json.write(tmp_path / "annotations.json", alone)
    (read,) = animals.load(tmp_path).frames
    assert read.boxes.tolist() == [[1, 2, 9, 8]]


# MegaDetector


def check_megadetector(content: dict[str, Any]) -> None:
    """What lila.science/megadetector-output-format asks of 1.6, and its validator checks."""
    assert float(content["info"]["format_version"]) == 1.6
    for table in ("detection_categories", "classification_categories"):
        assert all(str(int(key)) == key and name for key, name in content[table].items())
    for image in content["images"]:
        failed = image.get("failure") is not None
        assert failed == (image["detections"] is None)
        if image["file"].endswith(".mp4"):
            assert image["frame_rate"] > 0
        for each in image["detections"] or []:
            assert each["category"] in content["detection_categories"]
            assert isinstance(each["conf"], float)
            assert len(each["bbox"]) == 4
            assert all(0 <= side <= 1 for side in each["bbox"])
            assert each["bbox"][0] + each["bbox"][2] <= 1 + 1e-6
            for number, confidence in each["classifications"]:
                assert number in content["classification_categories"]
                assert 0 <= confidence <= 1
            if image["file"].endswith(".mp4"):
                assert each["frame_number"] in image["frames_processed"]


def test_megadetectors_format_is_1_6(tmp_path: Path) -> None:
    # W-13.
    megadetector.write(tmp_path / "a.json", answer())
    content = json.loads((tmp_path / "a.json").read_text())
    check_megadetector(content)
    by_file = {image["file"]: image for image in content["images"]}
    assert len(by_file) == 6  # two frames, a picture, two videos, a broken frame
    picture = by_file[PICTURE]["detections"]
    # Cut at the picture's left and bottom edge: 0 to 396 of 4,000, 2,990 to 3,000 of 3,000.
    assert picture[0]["bbox"] == [0.0, 0.996667, 0.099, 0.003333]
    assert [each["category"] for each in picture] == ["1", "3"]
    assert by_file[frame(231)]["detections"][1]["category"] == "2"
    film = by_file[FILM]
    assert (film["frame_rate"], film["frames_processed"]) == (25.0, [0, 1])
    assert film["detections"][0]["bbox"] == [0.0, 0.0, 0.1, 0.1]
    assert by_file["broken.mp4"]["failure"] == "no codec reads it"
    assert content["info"]["provenance"]["simulated"] is True  # C-10


# MOT


def test_mot_counts_frames_tracks_and_pixels_from_1(tmp_path: Path) -> None:
    files = mot_csv.write(tmp_path, answer())
    assert files == {FLIGHT: "tracks/KrugerNorth_night.mot.csv",
                     FILM: "tracks/Skukuza.mp4.mot.csv",
                     "broken.mp4": "tracks/broken.mp4.mot.csv"}  # fmt: skip
    lines = (tmp_path / files[FLIGHT]).read_text().splitlines()
    # A box whose first pixel is (10, 20) from 0 is at (11, 21) from 1; the untracked one is out.
    assert lines[0] == "231,1,11.00,21.00,20.00,30.00,0.7500,-1,-1,-1"
    assert [line.split(",")[:2] for line in lines] == [["231", "1"], ["231", "2"], ["232", "1"],
                                                       ["232", "2"]]  # fmt: skip
    # A video's frames begin at 0 here, at 1 there.
    assert (tmp_path / files[FILM]).read_text().startswith("2,6,1.00,1.00,64.00,48.00,1.0000,")
    alone = replace(answer(), sources=answer().sources[:2], views=answer().views[:3])
    assert mot_csv.names(alone) == {FLIGHT: "tracks.mot.csv"}


def test_our_own_reader_of_mot_reads_them_back(tmp_path: Path) -> None:
    from fieldsight.datasets import mot

    sequence = tmp_path / "train" / "night"
    for number in (231, 232):
        (sequence / "img1").mkdir(parents=True, exist_ok=True)
        Image.new("L", (640, 512)).save(sequence / "img1" / f"{number:06d}.png")
    (sequence / "gt").mkdir()
    source = answer().sources[0]
    rows = mot_csv.text(source, answer().by_source[FLIGHT])
    (sequence / "gt" / "gt.txt").write_text(rows)
    read = mot.load(tmp_path)
    assert read.frames[0].boxes.tolist() == [[10, 20, 30, 50], [100, 110, 104, 118]]
    assert read.frames[1].tracks.tolist() == [1, 2]


# Counts


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_sequences_are_counted_by_tracks_and_pictures_one_by_one(tmp_path: Path) -> None:
    # W-8: two frames with one elephant each, and an untracked one, are one elephant.
    counted = counts.count(
        answer(), lambda label, tracks, n: (n * 0.5, n * 2.0) if tracks else None
    )
    counts.write(tmp_path / "counts.csv", counted, answer())
    by = {(row["source"], row["class"]): row for row in rows(tmp_path / "counts.csv")}
    assert len(by) == 12  # every class in every source: nothing found is a result (C-11)
    flight = by[FLIGHT, "elephant"]
    assert (flight["count"], flight["low"], flight["high"]) == ("1", "0.5", "2")
    assert (flight["by"], flight["frames"], flight["failed_frames"]) == ("tracks", "2", "1")
    assert by[PICTURE, "elephant"]["by"] == "pictures"
    assert by[PICTURE, "elephant"]["low"] == ""
    assert by["broken.mp4", "car"]["frames"] == "0"
    for row in by.values():
        assert row["model"] == MADE.model
        assert row["simulated"] == "model trained on SIMULATED data alone"


def test_several_pictures_sum_up_with_what_that_means() -> None:
    views = tuple(View(name, name, (9, 9), (found(name, (1, 1, 2, 2), "car"),)) for name in "ab")
    two = Answer((Source("a", "picture"), Source("b", "picture")), views, ("car",), MADE)
    total = counts.count(two)[-1]
    assert (total.source, total.count) == ("(all pictures)", 2)
    assert "overlap not removed" in total.note


def test_a_tracks_class_is_what_its_frames_say_together() -> None:
    views = (View("a", "s", (9, 9), (found("a", (1, 1, 2, 2), "car", 0, 0.9),), 0),
             View("b", "s", (9, 9), (found("b", (1, 1, 2, 2), "human", 0, 0.5),), 1),
             View("c", "s", (9, 9), (found("c", (1, 1, 2, 2), "human", 0, 0.5),), 2))  # fmt: skip
    (track,) = counts.tracks(views)
    assert (track.label, track.best[1].label) == ("human", "car")


def test_people_are_listed_for_a_person_to_check(tmp_path: Path) -> None:
    # W-11: by track, where they are seen best; and nothing says that there are none.
    assert counts.write_people(tmp_path / "people.csv", answer()) == 1
    (row,) = rows(tmp_path / "people.csv")
    assert (row["frame"], row["score"], row["frames_seen"]) == (frame(232), "0.9000", "2")
    assert row["check"] == "to be checked by a person"
    nobody = replace(answer(), views=())
    assert counts.write_people(tmp_path / "none.csv", nobody) == 0
    assert (tmp_path / "none.csv").read_text().startswith("source,frame")
    said = summary.content(nobody, counts.count(nobody), {})
    text = json.dumps(said).lower()
    assert "doesn't mean that nothing is there" in text
    assert "more may be there that weren't found" in text
    assert "clear" not in text


# Maps


def test_a_geopackage_is_read_by_pyogrio(tmp_path: Path) -> None:
    assert maps.write_geopackage(tmp_path / "a.gpkg", answer()) == 8
    assert {row[0] for row in pyogrio.list_layers(tmp_path / "a.gpkg")} == {"detections", "tracks"}
    read = pyogrio.read_dataframe(tmp_path / "a.gpkg", layer="detections")
    assert (len(read), read.crs.to_epsg()) == (8, 4326)
    assert read.geometry[0].x == pytest.approx(31.55123457, abs=1e-8)
    assert set(read["model"]) == {MADE.model}
    assert list(read[read["class"] == "human"]["check"]) == ["to be checked by a person"] * 2
    tracks = pyogrio.read_dataframe(tmp_path / "a.gpkg", layer="tracks")
    assert list(tracks["class"]) == ["elephant", "human", "elephant"]
    assert list(tracks["frames_seen"]) == [2, 2, 1]
    said = pyogrio.read_info(tmp_path / "a.gpkg", layer="detections")["layer_metadata"]
    assert said["disclaimer"] == DISCLAIMER


def test_an_empty_geopackage_has_both_layers(tmp_path: Path) -> None:
    maps.write_geopackage(tmp_path / "a.gpkg", replace(answer(), views=()))
    for layer in maps.LAYERS:
        assert len(pyogrio.read_dataframe(tmp_path / "a.gpkg", layer=layer)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gpkg"]


def test_geojson_has_what_is_counted(tmp_path: Path) -> None:
    # Three tracks, and the picture's two.
    assert maps.write_geojson(tmp_path / "a.geojson", answer()) == 5
    read = pyogrio.read_dataframe(tmp_path / "a.geojson")
    assert read.crs.to_epsg() == 4326
    assert all(shapely.distance(read.geometry, shapely.Point(31.55123457, -24.05123457)) < 1e-7)
    assert json.loads((tmp_path / "a.geojson").read_text())["provenance"]["simulated"] is True


# Blurred places


@given(longitude=st.floats(-180, 180), latitude=st.floats(-89, 89), km=st.sampled_from([1, 10, 50]))
@settings(max_examples=80, deadline=None)
def test_places_snap_to_a_fixed_grid(longitude: float, latitude: float, km: float) -> None:
    # W-9.
    from pyproj import Geod

    snapped = blurring.snap(longitude, latitude, km)
    assert -180 <= snapped[0] <= 180
    # No farther than half a cell's diagonal, give or take the globe's flattening and rounding.
    away = Geod(ellps="WGS84").inv(longitude, latitude, *snapped)[2]
    assert away <= km * 1000 * 0.5**0.5 * 1.06
    # A cell's middle stays where it is.
    assert blurring.snap(*snapped, km) == pytest.approx(snapped, abs=1e-9)


def test_nothing_of_a_blurred_answer_tells_where_it_was(tmp_path: Path) -> None:
    # W-9: places, names, notes, reasons.
    blurred = blurring.blur(answer(), 10).answer
    coco_json.write(tmp_path / "a.json", blurred)
    megadetector.write(tmp_path / "b.json", blurred)
    mot_csv.write(tmp_path, blurred)
    counted = counts.count(blurred)
    counts.write(tmp_path / "c.csv", counted, blurred)
    counts.write_people(tmp_path / "d.csv", blurred)
    counts.write_tracks(tmp_path / "e.csv", blurred)
    maps.write_geopackage(tmp_path / "f.gpkg", blurred)
    maps.write_geojson(tmp_path / "g.geojson", blurred)
    summary.write(tmp_path / "h.json", blurred, counted, {})
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 11
    for path in files:
        content = path.read_bytes() + path.name.encode()
        for telling in (b"Kruger", b"night", b"Skukuza", b"DJI", b"31.5512", b"24.0512", b"231"):
            assert telling not in content, (path.name, telling)
    read = pyogrio.read_dataframe(tmp_path / "f.gpkg", layer="detections")
    middle = blurring.snap(31.551234567, -24.051234567, 10)
    assert read.geometry[0].x == pytest.approx(middle[0], abs=1e-7)
    assert list(read["error_m"]) == pytest.approx([7071.07] * 8, abs=0.01)
    assert blurred.blurred_km == 10
    assert "flat earth is assumed" in blurred.notes  # which tells nothing
    check_megadetector(megadetector.content(blurred))


def test_a_flight_over_a_cells_border_is_put_into_one_cell() -> None:
    # Where it crosses from cell to cell would tell where it was, to a few metres.
    km = 10.0
    first = blurring.snap(31.5, -24.0, km)
    border = first[0] + 360 / round(40_007.863 * np.cos(np.radians(first[1])) / km) / 2
    views = tuple(
        View(str(n), "s", (9, 9), (replace(found(str(n), (1, 1, 2, 2), "car", 0),
             place=Place(border + side * 0.001, first[1], 3.0, "flat earth")),), n)
        for n, side in enumerate((-1, 1))
    )  # fmt: skip
    exact = Answer((Source("s", "sequence"),), views, ("car",), MADE)
    places = {each.place for each in blurring.blur(exact, km).answer.detections}
    assert len(places) == 1


# Pictures and films


def test_a_drawn_picture_has_no_tag_of_the_cameras(tmp_path: Path) -> None:
    view = answer().views[0]
    image = np.full((512, 640, 1), 20_000, np.uint16)
    image[110:118, 100:104] = 21_000
    drawing.picture(tmp_path / "a.jpg", image, view, answer())
    with Image.open(tmp_path / "a.jpg") as picture:
        assert not picture.getexif().get_ifd(0x8825)  # GPS
        assert "xmp" not in picture.info
        assert dict(picture.getexif()) == {}
        assert MADE.model in picture.info["comment"].decode()
        assert "SIMULATED" in picture.info["comment"].decode()
        assert picture.size[0] == 1280  # twice as large, with a bar of text below
        assert picture.size[1] > 1024
        bar = np.asarray(picture)[1024:].reshape(-1, 3).astype(int)
    # People's mark is in the bar (W-11), in their colour.
    assert (np.abs(bar - drawing.PEOPLE_COLOUR).sum(1) < 90).sum() > 100


@pytest.mark.parametrize("columns", [30, 80, 160, 640])
def test_what_stands_below_a_narrow_picture_is_whole(columns: int) -> None:
    # W-11: a warning that is cut warns of nothing.
    image = np.full((40, columns, 3), 100, np.uint8)
    person = [found("a", (5, 5, 15, 25), "human")]
    drawn = drawing.draw(image, person, answer(), title="a")
    bar = drawn[40 * 2 :].astype(int)
    assert np.abs(bar[:, -4:] - bar[0, 0]).max() == 0  # nothing runs out of it at the right
    warned = np.flatnonzero((np.abs(bar - drawing.PEOPLE_COLOUR).sum(2) < 90).any(1))
    lines = (warned.max() - 4) // 17 + 1
    assert lines * (drawn.shape[1] - 12) >= ImageFont.load_default(13).getlength(drawing.PRIVATE)
    most = drawing.most_lines(answer(), "a", drawn.shape[1])
    film = drawing.draw(image, person, answer(), title="a", lines=most)
    assert len(film) >= len(drawn)


@pytest.mark.parametrize(("label", "width"), [("car", 1), ("human", 3)])
def test_boxes_are_drawn_around_what_was_found(label: str, width: int) -> None:
    image = np.full((100, 1000, 3), 90, np.uint8)
    drawn = drawing.draw(image, [found("a", (500, 50, 520, 70), label)], answer(), title="a")
    colour = drawing.colour_of(label, answer())
    lit = np.argwhere((drawn[:100] == colour).all(-1))
    box = lit[lit[:, 0] >= 50 - width - 2]  # below the name
    assert box.min(0).tolist() == [50 - width - 2, 500 - width - 2]
    assert box.max(0).tolist() == [70 + width + 2, 520 + width + 2]
    assert (drawn[50:70, 500:520] == 90).all()  # what was found itself stays as it is


def test_a_film_is_decoded_frame_by_frame(tmp_path: Path) -> None:
    frames = [np.full((121, 161, 3), level, np.uint8) for level in (20, 120, 220)]
    with films.Film(tmp_path / "a.mp4", answer(), frames_per_second=12.5) as film:
        for image in frames:
            film.add(image)
        assert not (tmp_path / "a.mp4").exists()  # until it is whole
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate or 0) == 12.5
        assert stream.codec_context.name == "h264"
        read = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert MADE.model in container.metadata["comment"]
    assert [image.shape for image in read] == [(122, 162, 3)] * 3
    assert [round(float(image[:120, :160].mean()) / 10) for image in read] == [2, 12, 22]


def test_without_h264_a_film_has_what_the_build_has(tmp_path: Path) -> None:
    with films.Film(tmp_path / "a.mp4", answer(), codecs=("nothing", "mpeg4")) as film:
        film.add(np.zeros((48, 64, 3), np.uint8))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_a_film_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with contextlib.suppress(RuntimeError), films.Film(tmp_path / "a.mp4", answer()) as film:
        film.add(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError("out of power")
    with films.Film(tmp_path / "b.mp4", answer()):
        pass  # without a frame there is no file
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("box", [(1, 2, 0, 4), (float("nan"), 0, 1, 1), (0, 0, float("inf"), 1)])
def test_a_detection_is_a_box_with_a_score(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="finite and not turned over"):
        Detection("a", box, 0.5, "car")
    with pytest.raises(ValueError, match="0 and 1"):
        Detection("a", (0, 0, 1, 1), 1.5, "car")
