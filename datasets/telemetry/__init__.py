"""Where the camera was: a CSV of the flight, DJI's .SRT beside a video, a picture's own tags.

    flight = telemetry.load("DJI_0001.SRT")
    pose = flight.at(time_s=12.5)       # None in a gap
    pose = telemetry.of_picture("DJI_0005.JPG")

`fieldsight.datasets.ground` brings pixels to places by it.
"""

import os
from pathlib import Path

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.telemetry import srt, tables, tags
from fieldsight.datasets.telemetry.poses import GAP_S, Pose, Telemetry, between
from fieldsight.datasets.telemetry.tables import COLUMNS

SUFFIXES = (".csv", ".srt")

__all__ = ["COLUMNS", "SUFFIXES", "Pose", "Telemetry", "between", "load", "of_picture"]


def load(path: str | os.PathLike[str], *, gap_s: float = GAP_S) -> Telemetry:
    """The flight of a CSV or .SRT file.

    Args:
        path: the file.
        gap_s: a longer silence is a gap, in which nothing is placed.

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it is neither, or can't be used.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DatasetNotFoundError(
            f"{file}: a CSV of the flight ({','.join(COLUMNS)}) or a DJI .SRT was needed. "
            "Received: no such file. Copy it there."
        )
    suffix = file.suffix.lower()
    if suffix == ".csv":
        return tables.read(file, gap_s=gap_s)
    if suffix == ".srt":
        return srt.read(file, gap_s=gap_s)
    raise DataError(
        f"{file}: a CSV of the flight ({','.join(COLUMNS)}) or a DJI .SRT was needed. Received: "
        f"{suffix or 'no suffix'}. Export it as one of them."
    )


def of_picture(path: str | os.PathLike[str]) -> Pose | None:
    """The pose of a picture's camera by its tags; None if they say no position.

    Raises:
        DataError: if the file can't be read or isn't a picture.
    """
    return tags.read(Path(path))
