"""Where a picture was taken: EXIF's GPS tags and the XMP that DJI's cameras write."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.pictures import opened
from fieldsight.datasets.telemetry.poses import Pose

SOURCE = "CIPA DC-008 (EXIF 2.32), tables 12 and 4; DJI's manuals of Zenmuse P1 and Mavic 3, XMP"

RTK_FIXED = 50  # drone-dji:RtkFlag: centimetres
RTK_ERROR_M = 0.05

_EXIF, _GPS = 0x8769, 0x8825
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4
_ALTITUDE_REF, _ALTITUDE, _DIRECTION_REF, _DIRECTION = 5, 6, 16, 17
_COLUMNS, _ROWS, _FOCAL_35MM = 0xA002, 0xA003, 0xA405
_XMP_TAG = 700
_XMP = re.compile(r"""drone-dji:(\w+)\s*(?:=\s*["']([^"'<>]{0,64})["']|>\s*([^<>]{0,64}?)\s*</)""")
_LARGEST_XMP = 2**20


def read(path: Path) -> Pose | None:
    """The pose of a picture's camera; None if its tags say no position.

    Raises:
        DataError: if the file can't be read or isn't a picture.
    """
    with opened(path) as picture:
        exif = picture.getexif()
        gps, details = dict(exif.get_ifd(_GPS)), dict(exif.get_ifd(_EXIF))
        xmp = _xmp(picture)
        size = picture.size[::-1]
    where = _from_xmp(xmp) or _from_gps(gps)
    if where is None:
        return None
    longitude, latitude = where
    heading = xmp.get("GimbalYawDegree", xmp.get("FlightYawDegree", _direction(gps)))
    focal_35mm = _number(details.get(_FOCAL_35MM))
    try:
        return Pose(
            longitude=longitude,
            latitude=latitude,
            height_m=xmp.get("RelativeAltitude"),
            above="takeoff",
            altitude_m=xmp.get("AbsoluteAltitude", _altitude(gps)),
            heading_degrees=None if heading is None else heading % 360,
            pitch_degrees=xmp.get("GimbalPitchDegree", -90.0),
            roll_degrees=xmp.get("GimbalRollDegree", 0.0),
            focal_35mm=focal_35mm if focal_35mm and focal_35mm > 0 else None,
            focal_px=xmp.get("CalibratedFocalLength") or None,
            size=_size(xmp, details) or size,
            position_error_m=RTK_ERROR_M if xmp.get("RtkFlag") == RTK_FIXED else None,
        )
    except ValueError as error:
        raise DataError(
            f"{path}: a place on the globe was needed in its tags. Received: {error} It isn't "
            "placed."
        ) from error


def _xmp(picture: Any) -> dict[str, float]:
    """DJI's fields that are numbers."""
    raw = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    if not raw and hasattr(picture, "tag_v2"):
        raw = picture.tag_v2.get(_XMP_TAG, b"")
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    found: dict[str, float] = {}
    for name, attribute, element in _XMP.findall(text[:_LARGEST_XMP]):
        value = _number(attribute or element)
        if value is not None:
            found.setdefault(name, value)
    return found


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None


def _from_xmp(xmp: Mapping[str, float]) -> tuple[float, float] | None:
    # DJI's own spelling changed between firmwares.
    longitude = xmp.get("GpsLongitude", xmp.get("GpsLongtitude"))
    latitude = xmp.get("GpsLatitude")
    if longitude is None or latitude is None or (longitude == 0 and latitude == 0):
        return None
    return longitude, latitude


def _from_gps(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    longitude = _degrees(gps.get(_LONGITUDE), gps.get(_LONGITUDE_REF), "W")
    latitude = _degrees(gps.get(_LATITUDE), gps.get(_LATITUDE_REF), "S")
    if longitude is None or latitude is None or (longitude == 0 and latitude == 0):
        return None
    return longitude, latitude


def _degrees(parts: Any, side: Any, negative: str) -> float | None:
    """Degrees of EXIF's degrees, minutes and seconds."""
    if not isinstance(parts, tuple | list) or len(parts) != 3:
        return None
    numbers = [_number(part) for part in parts]
    if any(number is None for number in numbers):
        return None
    degrees, minutes, seconds = (number or 0.0 for number in numbers)
    found = degrees + minutes / 60 + seconds / 3600
    letter = side.decode("ascii", "replace") if isinstance(side, bytes) else str(side or "")
    return -found if letter.strip().upper().startswith(negative) else found


def _altitude(gps: Mapping[int, Any]) -> float | None:
    altitude = _number(gps.get(_ALTITUDE))
    below = gps.get(_ALTITUDE_REF) in (1, b"\x01", "1")
    return -altitude if altitude is not None and below else altitude


def _direction(gps: Mapping[int, Any]) -> float | None:
    """The direction of the picture; None of one from magnetic north, which may be far off."""
    side = gps.get(_DIRECTION_REF, "T")
    letter = side.decode("ascii", "replace") if isinstance(side, bytes) else str(side)
    return _number(gps.get(_DIRECTION)) if letter.strip().upper().startswith("T") else None


def _size(xmp: Mapping[str, float], details: Mapping[int, Any]) -> tuple[int, int] | None:
    """Rows and columns as the camera took them: programs that cut a picture change EXIF's too."""
    x, y = xmp.get("CalibratedOpticalCenterX"), xmp.get("CalibratedOpticalCenterY")
    if x and y and x > 0 and y > 0:
        return round(2 * y), round(2 * x)
    columns, rows = _number(details.get(_COLUMNS)), _number(details.get(_ROWS))
    if columns and rows and columns > 0 and rows > 0:
        return int(rows), int(columns)
    return None
