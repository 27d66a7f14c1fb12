"""Where cameras were: CSV, DJI's subtitles in their published forms, a picture's own tags."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from fieldsight.datasets import telemetry
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.telemetry import Pose

DATA = Path(os.environ.get("FIELDSIGHT_DATA", Path(__file__).parents[3] / "shared/data"))
PELICANS = DATA / "wildlife/tree_crowns/AWPE Pigeon Lake 2020 DJI_0005.JPG"

HEADING = (
    "time_s,longitude,latitude,height_m,heading_degrees,pitch_degrees,roll_degrees,"
    "field_of_view_degrees\n"
)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# CSV


def test_a_csv_gives_the_pose_between_two_moments(tmp_path: Path) -> None:
    rows = "0,31.50,-24.0,100,350,-45,0,40\n1,31.52,-24.0,120,10,-35,0,40\n"
    flight = telemetry.load(written(tmp_path / "a.csv", HEADING + rows))
    pose = flight.at(time_s=0.25)
    assert pose is not None
    assert pose.longitude == pytest.approx(31.505)
    assert pose.height_m == pytest.approx(105)
    # From 350 to 10 degrees by north, not by south.
    assert pose.heading_degrees == pytest.approx(355)
    assert pose.pitch_degrees == pytest.approx(-42.5)
    assert (pose.above, flight.gaps, flight.notes) == ("ground", (), ())


def test_nothing_is_guessed_in_a_gap_nor_before_and_after(tmp_path: Path) -> None:
    # W-9: telemetry with gaps is told, and nothing in them is placed.
    rows = "".join(f"{t},31.5,-24,100,0,-90,0,40\n" for t in (0, 1, 2, 9, 10))
    flight = telemetry.load(written(tmp_path / "a.csv", HEADING + rows))
    assert flight.gaps == ((2.0, 9.0),)
    assert flight.at(time_s=1.5) is not None
    for time_s in (2.5, 8.9, -0.1, 11.5):
        assert flight.at(time_s=time_s) is None


def test_frames_and_names_go_before_time(tmp_path: Path) -> None:
    text = (
        "frame,time_s,lat,lon,height_m,heading\n231,0,-24,31.5,100,0\n232,0.1,-24.001,31.5,100,0\n"
    )
    flight = telemetry.load(written(tmp_path / "a.csv", text))
    at = flight.at(frame=232, time_s=0.0)
    assert at is not None
    assert at.latitude == -24.001
    assert flight.at(frame=7) is None
    assert flight.notes == ("a.csv: no pitch: the camera is taken to look straight down",)
    text = "image,lat,lon,height_m,yaw,pitch\nDJI_1.JPG,-24,31.5,80,90,-60\n"
    named = telemetry.load(written(tmp_path / "b.csv", text)).at(name="flight/DJI_1.JPG")
    assert named is not None
    assert (named.heading_degrees, named.pitch_degrees) == (90, -60)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time_s,longitude,latitude,height_m\n0,1,2,3\n", "heading_degrees"),
        ("longitude,latitude,height_m,heading\n1,2,3,4\n", "time_s"),
        ("time_s,longitude,latitude,heading\n0,1,2,3\n", "above the ground"),
        (HEADING + "0,400,-24,100,0,-90,0,40\n", "longitude within -180 and 180"),
        (HEADING + "0,nan,-24,100,0,-90,0,40\n", "finite"),
        (HEADING + "1,1,1,100,0,-90,0,40\n0,1,1,100,0,-90,0,40\n", "Sort the rows"),
        (HEADING, "an empty file"),
        ("", "an empty file"),
    ],
)
def test_what_a_csv_lacks_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        telemetry.load(written(tmp_path / "a.csv", text))


def test_a_bad_row_is_told_and_the_flight_goes_on(tmp_path: Path) -> None:
    rows = "0,31.5,-24,100,0,-90,0,40\n1,31.5,x,100,0,-90,0,40\n2,31.5,-24,100,0,-90,0,40\n"
    flight = telemetry.load(written(tmp_path / "a.csv", HEADING + rows))
    assert len(flight) == 2
    assert "line 3" in flight.failures[0]


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no such file"):
        telemetry.load(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"\.gpx"):
        telemetry.load(written(tmp_path / "a.gpx", "x"))


# DJI's subtitles


def packet(number: int, start: str, end: str, *lines: str) -> str:
    return "\n".join((str(number), f"{start} --> {end}", *lines, "", ""))


def test_brackets_with_the_gimbal_give_everything(tmp_path: Path) -> None:
    said = (
        "FrameCnt: 1, DiffTime: 33ms", "2026-09-24 15:20:55.713",
        "[iso: 100] [shutter: 1/500.0] [fnum: 2.8] [ev: 0] [ct: 5000] [focal_len: 52.70] "
        "[latitude: 38.375988] [longitude: 23.257121] [rel_alt: 20.160 abs_alt: 169.523] "
        "[gb_yaw: -77.4 gb_pitch: -35.5 gb_roll: 0.0] </font>",
    )  # fmt: skip
    text = packet(1, "00:00:01,000", "00:00:01,033", '<font size="28">', *said)
    flight = telemetry.load(written(tmp_path / "DJI_1.SRT", text))
    pose = flight.at(time_s=0)  # since the first packet
    assert pose is not None
    assert (pose.longitude, pose.latitude) == (23.257121, 38.375988)
    assert (pose.height_m, pose.above, pose.altitude_m) == (20.16, "takeoff", 169.523)
    assert pose.heading_degrees == pytest.approx(282.6)
    assert (pose.pitch_degrees, pose.roll_degrees, pose.focal_35mm) == (-35.5, 0.0, 52.7)


def test_mavic_2s_misspelt_longitude_and_tenths_of_millimetres(tmp_path: Path) -> None:
    said = (
        "[iso : 110] [shutter : 1/200.0] [fnum : 280] [ev : 0.7] [ct : 5064] [color_md : default] "
        "[focal_len : 240] [dzoom_ratio: 20000, delta:0] [latitude : 0.608553] "
        "[longtitude : -1.963763] [altitude: 1429.697998]"
    )
    flight = telemetry.load(
        written(tmp_path / "a.srt", packet(1, "00:00:00,000", "00:00:00,033", said))
    )
    pose = flight.home
    assert (pose.longitude, pose.latitude, pose.altitude_m) == (-1.963763, 0.608553, 1429.697998)
    assert (pose.height_m, pose.heading_degrees) == (None, None)
    assert pose.focal_35mm == 48.0  # 24 mm, twice by cutting
    assert "heading_degrees" in flight.notes[-1]


def test_mavic_pro_gives_longitude_first_and_a_matrice_latitude(tmp_path: Path) -> None:
    # Samples of github.com/JuanIrache/DJI_SRT_Parser; a Matrice 300 over Cadiz.
    mavic = "HOME(149.0251,-20.2532) 2017.08.05 14:11:51\nGPS(149.0251,-20.2533,16) BAROMETER:1.9"
    pose = telemetry.load(
        written(tmp_path / "a.srt", packet(1, "00:00:00,000", "00:00:01,000", mavic))
    ).home
    assert (pose.longitude, pose.latitude, pose.height_m) == (149.0251, -20.2533, 1.9)
    assert pose.altitude_m is None  # 16 satellites are no metres
    matrice = "2022.06.21 16:06:21\nGPS(36.6146,-6.1120,0.0M) BAROMETER:4.1M"
    pose = telemetry.load(
        written(tmp_path / "b.srt", packet(5, "00:00:04,000", "00:00:05,000", matrice))
    ).home
    assert (pose.longitude, pose.latitude, pose.height_m) == (-6.1120, 36.6146, 4.1)


def test_phantom_4_rtk_gives_pitch_roll_and_yaw_of_its_gimbal(tmp_path: Path) -> None:
    said = (
        "F/5.6, SS 400, ISO 100, EV 0, GPS (-58.851745, -34.237922, 15), "
        "HOME (-58.847509, -34.232707, -57.98m), D 698.70m, H 85.80m, H.S 0.00m/s, V.S 0.10m/s, "
        "F_PRY (2.7°, -7.0°, 110.1°), G_PRY (-24.4°, 0.0°, 110.4°)"
    )
    pose = telemetry.load(
        written(tmp_path / "a.srt", packet(1, "00:00:00,000", "00:00:01,000", said))
    ).home
    assert (pose.longitude, pose.latitude, pose.height_m) == (-58.851745, -34.237922, 85.8)
    assert (pose.heading_degrees, pose.pitch_degrees, pose.roll_degrees) == (110.4, -24.4, 0.0)


def test_packets_without_a_fix_are_a_gap_and_told(tmp_path: Path) -> None:
    def said(longitude: float) -> str:
        return f"GPS({longitude},{0 if longitude == 0 else -20},16) BAROMETER:40"

    # A Matrice ends a minute with 00:00:60,000.
    text = "".join(
        packet(n, f"00:{n // 60:02d}:{n % 60:02d},000", f"00:00:{n + 1:02d},000",
               said(0 if 55 <= n < 59 else 149))
        for n in range(50, 62)
    )  # fmt: skip
    flight = telemetry.load(written(tmp_path / "a.srt", text))
    assert len(flight) == 8
    assert len(flight.failures) == 4
    assert flight.gaps == ((4.0, 9.0),)
    assert flight.at(time_s=11.9) is not None  # the last packet holds for its second


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no packet"),
        ("hello", "no packet"),
        (packet(1, "00:00:00,000", "00:00:01,000", "Subtitles by nobody"), "position"),
        (packet(1, "00:00:00,000", "00:00:01,000", "GPS(500,400,1)"), "longitude within"),
    ],
)
def test_other_subtitles_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        telemetry.load(written(tmp_path / "a.srt", text))


# A picture's tags


@pytest.mark.skipif(not PELICANS.exists(), reason="no real DJI picture here")
def test_a_real_dji_pictures_tags_are_read() -> None:
    # EXIF: 45 degrees 2' 16.77" N, 94 degrees 20' 55.53" W; XMP: +61.10 m, yaw +111.30, -88.00.
    pose = telemetry.of_picture(PELICANS)
    assert pose is not None
    assert pose.latitude == pytest.approx(45.0379917, abs=1e-6)
    assert pose.longitude == pytest.approx(-94.3487583, abs=1e-6)
    assert (pose.height_m, pose.above, pose.altitude_m) == (61.1, "takeoff", 422.55)
    assert (pose.heading_degrees, pose.pitch_degrees) == (111.3, -88.0)
    # It was cut to 1058x997 of 5472x3078, and where isn't known: no pixel of it can be placed.
    assert pose.size == (3078, 5472)
    assert pose.focal_in((3078, 5472)) == pytest.approx(3666.67, abs=0.01)
    assert pose.focal_in((997, 1058)) is None


def test_focal_lengths_on_film_are_by_the_diagonal() -> None:
    # CIPA DCG-001; DJI says 84 degrees along the diagonal for 24 mm (Phantom 4 Pro).
    import math

    pose = Pose(longitude=0, latitude=0, focal_35mm=24.0, size=(3648, 5472))
    focal = pose.focal_in((3648, 5472))
    assert focal is not None
    assert math.degrees(2 * math.atan(math.hypot(3648, 5472) / 2 / focal)) == pytest.approx(
        84.0, abs=0.1
    )
    # The picture made half as large sees the same.
    assert pose.focal_in((1824, 2736)) == pytest.approx(focal / 2)


def saved(path: Path, gps: Mapping[int, object], xmp: bytes = b"", **settings: object) -> Path:
    image = Image.new("RGB", (40, 30))
    exif = image.getexif()
    exif[0x8825] = dict(gps)
    image.save(path, exif=exif, **({"xmp": xmp} if xmp else {}))  # type: ignore[arg-type]
    return path


def test_south_west_and_below_the_sea_are_negative(tmp_path: Path) -> None:
    gps = {1: "S", 2: (24.0, 3.0, 0.0), 3: "W", 4: (31.0, 33.0, 36.0), 5: b"\x01", 6: 12.5,
           16: "T", 17: 271.0}  # fmt: skip
    pose = telemetry.of_picture(saved(tmp_path / "a.jpg", gps))
    assert pose is not None
    assert pose.latitude == pytest.approx(-24.05)
    assert pose.longitude == pytest.approx(-31.56)
    assert (pose.altitude_m, pose.heading_degrees, pose.height_m) == (-12.5, 271.0, None)


def test_xmp_as_elements_and_the_older_spelling(tmp_path: Path) -> None:
    xmp = (
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><drone-dji:GpsLatitude>34.5</drone-dji:GpsLatitude>"
        b"<drone-dji:GpsLongtitude>+108.25</drone-dji:GpsLongtitude>"
        b"<drone-dji:RelativeAltitude>+100.09</drone-dji:RelativeAltitude>"
        b"<drone-dji:GimbalYawDegree>-90.0</drone-dji:GimbalYawDegree>"
        b"<drone-dji:RtkFlag>50</drone-dji:RtkFlag></x:xmpmeta>"
    )
    pose = telemetry.of_picture(saved(tmp_path / "a.jpg", {}, xmp))
    assert pose is not None
    assert (pose.longitude, pose.latitude, pose.height_m) == (108.25, 34.5, 100.09)
    assert (pose.heading_degrees, pose.position_error_m) == (270.0, 0.05)


def test_a_picture_without_a_position_has_no_pose(tmp_path: Path) -> None:
    assert telemetry.of_picture(saved(tmp_path / "a.jpg", {})) is None
    nothing = {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}
    assert telemetry.of_picture(saved(tmp_path / "b.jpg", nothing)) is None
    broken = {1: "N", 2: (400.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)}
    with pytest.raises(DataError, match="on the globe"):
        telemetry.of_picture(saved(tmp_path / "c.jpg", broken))
