"""The subtitles that DJI's cameras write beside a video: where it was, packet by packet.

Four published forms are read:

    [latitude: 59.302335] [longitude: 18.203059] [rel_alt: 1.300 abs_alt: 132.860]
        [gb_yaw: -77.4 gb_pitch: -45.0 gb_roll: 0.0] [focal_len: 24.00] [dzoom_ratio: 1.00]
    [latitude : 0.608553] [longtitude : -1.963763] [altitude: 1429.697998] [focal_len : 240]
    HOME(149.0251,-20.2532) 2017.08.05 14:11:51 GPS(149.0251,-20.2533,16) BAROMETER:1.9
    F/5.6, SS 400, GPS (-58.851745, -34.237922, 15), HOME (...), D 698.7m, H 85.80m,
        F_PRY (2.7, -7.0, 110.1), G_PRY (-24.4, 0.0, 110.4)

GPS(...) is longitude, latitude, satellites; a Matrice's, whose third number ends in M, is latitude,
longitude, altitude.
"""

import math
import re
from pathlib import Path

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.telemetry.poses import GAP_S, Pose, Telemetry, check_any

SOURCE = "github.com/JuanIrache/DJI_SRT_Parser (samples); github.com/OpenDroneMap/ODM"
SUFFIXES = (".srt",)
LARGEST_BYTES = 256 * 2**20

_NUMBER = r"([-+]?\d+(?:\.\d+)?)"
_TIME = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})\s*-->")
_PAIR = re.compile(rf"\b([A-Za-z_]+)\s*:\s*{_NUMBER}")
_GPS = re.compile(rf"\bGPS\s*\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*(?:,\s*{_NUMBER}\s*([Mm]?)\s*)?\)")
_GIMBAL = re.compile(rf"\bG_PRY\s*\(\s*{_NUMBER}°?\s*,\s*{_NUMBER}°?\s*,\s*{_NUMBER}°?\s*\)")
_HEIGHT = re.compile(rf"(?<![\w.])H\s+{_NUMBER}\s*m\b")
_TAG = re.compile(r"<[^<>]*>")

_NO_HEADING = (
    "it doesn't say where the camera looked, so that nothing in its pictures can be placed; a CSV "
    "of the flight with heading_degrees and pitch_degrees can"
)


def read(path: Path, *, gap_s: float = GAP_S) -> Telemetry:
    """The flight of a video's .SRT; packets without a position are told and left out.

    Args:
        path: the file.
        gap_s: a longer silence is a gap.

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it isn't one, or no packet has a position.
    """
    text = _text(path)
    starts = list(_TIME.finditer(text))
    if not starts:
        raise DataError(
            f"{path}: subtitles of a DJI camera were needed (00:00:00,000 --> ...). Received: no "
            "packet. Copy the .SRT that lies beside the video."
        )
    poses: list[Pose] = []
    times: list[float] = []
    failures: list[str] = []
    first = _seconds(starts[0])
    headings = 0
    for found, after in zip(starts, [*starts[1:], None], strict=True):
        packet = _TAG.sub(" ", text[found.end() : after.start() if after else len(text)])
        time_s = _seconds(found) - first
        try:
            pose = _pose(packet)
        except ValueError as error:
            failures.append(f"{path.name}, {time_s:.3f} s: {error} It is left out.")
            continue
        if times and time_s <= times[-1]:
            failures.append(
                f"{path.name}, {time_s:.3f} s: a later time than {times[-1]:.3f} s was needed. "
                "It is left out."
            )
            continue
        headings += pose.heading_degrees is not None
        poses.append(pose)
        times.append(time_s)
    check_any(str(path), poses, failures)
    notes = [f"{path.name}: heights are above the place of take-off: the ground is taken to be as "
             "high there"]  # fmt: skip
    if not headings:
        notes.append(f"{path.name}: {_NO_HEADING}")
    return Telemetry(
        path.name, tuple(poses), tuple(times), gap_s=gap_s, failures=tuple(failures),
        notes=tuple(notes),
    )  # fmt: skip


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(
                f"{path}: needs at most {LARGEST_BYTES >> 20} MiB. Received: "
                f"{path.stat().st_size >> 20} MiB. Is it a .SRT?"
            )
        return path.read_text("utf-8-sig", errors="replace")
    except FileNotFoundError as error:
        raise DatasetNotFoundError(
            f"{path}: a video's .SRT was needed. Received: no such file. Copy it there."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: a video's .SRT was needed. Received: {error.strerror or error}. Copy it "
            "again."
        ) from error


def _seconds(found: "re.Match[str]") -> float:
    # A Matrice ends its minutes at 00:00:60,000.
    hours, minutes, seconds, rest = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(rest.ljust(3, "0")) / 1000


def _pose(packet: str) -> Pose:
    """The pose of one packet.

    Raises:
        ValueError: if it has no position, or one that isn't on the globe.
    """
    pairs = {key.lower(): float(value) for key, value in _PAIR.findall(packet)}
    longitude, latitude, satellites_or_m = _position(packet, pairs)
    if longitude == 0 and latitude == 0:
        raise ValueError("a position was needed. Received: 0, 0, which stands for none.")
    gimbal = _GIMBAL.search(packet)
    pitch, roll, heading = (float(x) for x in gimbal.groups()) if gimbal else (None, None, None)
    if "gb_yaw" in pairs:
        heading = pairs["gb_yaw"]
        pitch, roll = pairs.get("gb_pitch"), pairs.get("gb_roll")
    height = _HEIGHT.search(packet)
    above_takeoff = pairs.get("rel_alt", pairs.get("barometer"))
    if above_takeoff is None and height:
        above_takeoff = float(height[1])
    return Pose(
        longitude=longitude,
        latitude=latitude,
        height_m=above_takeoff,
        above="takeoff",
        altitude_m=pairs.get("abs_alt", pairs.get("altitude", satellites_or_m)),
        heading_degrees=None if heading is None else heading % 360,
        pitch_degrees=-90.0 if pitch is None else pitch,
        roll_degrees=0.0 if roll is None else roll,
        focal_35mm=_focal_35mm(packet, pairs),
    )


def _position(packet: str, pairs: dict[str, float]) -> tuple[float, float, float | None]:
    """Longitude, latitude, and the altitude if the packet's GPS(...) has one."""
    longitude = pairs.get("longitude", pairs.get("longtitude"))
    if longitude is not None and "latitude" in pairs:
        return longitude, pairs["latitude"], None
    gps = _GPS.search(packet)
    if gps is None:
        raise ValueError("a position was needed. Received: none.")
    first, second = float(gps[1]), float(gps[2])
    if gps[4] or abs(second) > 90 >= abs(first):
        return second, first, float(gps[3]) if gps[4] and float(gps[3]) else None
    return first, second, None


def _focal_35mm(packet: str, pairs: dict[str, float]) -> float | None:
    focal = pairs.get("focal_len")
    if not focal:
        return None
    # 240 is 24.0 mm in files that have no point there.
    written = re.search(rf"focal_len\s*:\s*{_NUMBER}", packet)
    if written and "." not in written[1] and focal >= 100:
        focal /= 10
    zoom = pairs.get("dzoom_ratio", 1.0)
    zoom = zoom / 10_000 if zoom >= 1000 else zoom
    return focal * zoom if zoom >= 1 and math.isfinite(focal) else focal
