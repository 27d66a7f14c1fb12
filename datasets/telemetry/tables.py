"""A flight as a CSV: a row a moment, a frame or a picture.

    time_s,longitude,latitude,height_m,heading_degrees,pitch_degrees,roll_degrees,field_of_view_degrees

`frame` or `name` may stand for `time_s`, or beside it: they go first. The height is above the
ground; where it is above the place of take-off, the column is `height_above_takeoff_m`.
`altitude_m` is above sea level. Without pitch the camera looks straight down, without roll it is
level.
"""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

from fieldsight.datasets import _tables
from fieldsight.datasets._tables import Row
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.telemetry.poses import GAP_S, Above, Pose, Telemetry, check_any

COLUMNS = ("time_s", "longitude", "latitude", "height_m", "heading_degrees", "pitch_degrees",
           "roll_degrees", "field_of_view_degrees")  # fmt: skip

# What others call them, units and signs left out.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "time_s": ("time_s", "time", "seconds", "timestamp_s", "time_sec"),
    "frame": ("frame", "frame_number", "frame_id"),
    "name": ("name", "image", "picture", "file", "filename", "image_name", "image_path"),
    "longitude": ("longitude", "lon", "lng", "long", "gps_longitude"),
    "latitude": ("latitude", "lat", "gps_latitude"),
    "height_m": ("height_m", "height", "agl", "agl_m", "height_above_ground", "altitude_agl",
                 "height_above_ground_m", "height_agl_m"),
    "height_above_takeoff_m": ("height_above_takeoff_m", "rel_alt", "relative_altitude",
                               "relative_altitude_m", "height_above_takeoff"),
    "altitude_m": ("altitude_m", "altitude", "abs_alt", "absolute_altitude", "alt", "elevation_m"),
    "heading_degrees": ("heading_degrees", "heading", "yaw", "yaw_degrees", "gimbal_yaw",
                        "gimbal_heading", "heading_deg", "yaw_deg", "gimbal_heading_degrees"),
    "pitch_degrees": ("pitch_degrees", "pitch", "gimbal_pitch", "pitch_deg",
                      "gimbal_pitch_degrees"),
    "roll_degrees": ("roll_degrees", "roll", "gimbal_roll", "roll_deg", "gimbal_roll_degrees"),
    "field_of_view_degrees": ("field_of_view_degrees", "field_of_view", "fov", "hfov",
                              "fov_degrees", "hfov_degrees", "fov_deg", "hfov_deg"),
}  # fmt: skip
_NEEDED = ("longitude", "latitude", "heading_degrees")


def read(path: Path, *, gap_s: float = GAP_S) -> Telemetry:
    """The flight of a CSV file; rows that can't be used are told and left out.

    Args:
        path: UTF-8, separated by commas, with a heading.
        gap_s: a longer silence is a gap.

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it can't be read, a column is missing, times run backwards, or no row can be
            used.
    """
    columns = _columns(path)
    rows = _tables.read(path, tuple(columns.values()))
    poses: list[Pose] = []
    keys: list[tuple[float, int, str]] = []
    failures: list[str] = []
    for row in rows:
        try:
            key = _key(row, columns)
            poses.append(_pose(row, columns))
            keys.append(key)
        except (DataError, ValueError) as error:
            said = str(error) if isinstance(error, DataError) else str(row.error(str(error)))
            failures.append(said)
    check_any(str(path), poses, failures)
    times, frames, names = zip(*keys, strict=True)
    if "time_s" in columns and any(b <= a for a, b in itertools.pairwise(times)):
        raise DataError(
            f"{path}: times that grow from row to row were needed. Received: "
            f"{next(b for a, b in itertools.pairwise(times) if b <= a)} after a later "
            "one. Sort the rows, and give each flight a file."
        )
    return Telemetry(
        path.name,
        tuple(poses),
        times if "time_s" in columns else (),
        frames if "frame" in columns else (),
        names if "name" in columns else (),
        gap_s,
        tuple(failures),
        _notes(path, columns),
    )


def _columns(path: Path) -> dict[str, str]:
    """What each known column is called in the file.

    Raises:
        DataError: if one is missing.
    """
    found: dict[str, str] = {}
    for heading in _tables.headings(path):
        plain = re.sub(r"[^a-z0-9]+", "_", heading.lower()).strip("_")
        for name, aliases in _ALIASES.items():
            if plain in aliases:
                found.setdefault(name, heading)
    missing = [name for name in _NEEDED if name not in found]
    if not {"time_s", "frame", "name"} & set(found):
        missing.insert(0, "time_s (or frame, or name)")
    if not {"height_m", "height_above_takeoff_m", "altitude_m"} & set(found):
        missing.append("height_m (above the ground, in metres)")
    if missing and path.is_file():
        raise DataError(
            f"{path}: the columns {', '.join(COLUMNS)} were needed. Received: "
            f"{','.join(_tables.headings(path))[:200] or 'an empty file'}, without "
            f"{', '.join(missing)}. Give the first line these names."
        )
    return found


def _key(row: Row, columns: Mapping[str, str]) -> tuple[float, int, str]:
    """Time, frame and name; 0 and "" of those that the file hasn't."""
    time_s = row.number(columns["time_s"]) if "time_s" in columns else 0.0
    number = row.number(columns["frame"]) if "frame" in columns else 0.0
    if number != int(number):
        raise row.error(f"{columns['frame']} must be a whole number. Received: {number}")
    return time_s, int(number), row.text(columns["name"]) if "name" in columns else ""


def _pose(row: Row, columns: Mapping[str, str]) -> Pose:
    def number(name: str) -> float | None:
        column = columns.get(name)
        return row.number(column) if column and row.text(column, "") else None

    def needed(name: str) -> float:
        return row.number(columns[name])

    height, above = number("height_m"), "ground"
    if height is None and number("height_above_takeoff_m") is not None:
        height, above = number("height_above_takeoff_m"), "takeoff"
    pitch, roll = number("pitch_degrees"), number("roll_degrees")
    where: Above = "takeoff" if above == "takeoff" else "ground"
    return Pose(
        longitude=needed("longitude"),
        latitude=needed("latitude"),
        height_m=height,
        above=where,
        altitude_m=number("altitude_m"),
        heading_degrees=needed("heading_degrees"),
        pitch_degrees=-90.0 if pitch is None else pitch,
        roll_degrees=0.0 if roll is None else roll,
        field_of_view_degrees=number("field_of_view_degrees"),
    )


def _notes(path: Path, columns: Mapping[str, str]) -> tuple[str, ...]:
    notes = []
    if "pitch_degrees" not in columns:
        notes.append(f"{path.name}: no pitch: the camera is taken to look straight down")
    if "height_m" not in columns and "height_above_takeoff_m" in columns:
        notes.append(
            f"{path.name}: heights are above the place of take-off: the ground is taken to be as "
            "high there"
        )
    return tuple(notes)
