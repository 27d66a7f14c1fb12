"""From a picture's pixels to places on the globe, and back (W-9).

By a raster's transform; or by where the camera was and looked, on flat earth or on a model of the
terrain. A camera 100 m above the ground that looks 45 degrees off straight down sees what is 100 m
away from the place below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.telemetry import Pose

if TYPE_CHECKING:
    from fieldsight.datasets.terrain import Terrain

EARTH_M = 6_371_000.0  # mean radius
FLATTEST_DEGREES = 80.0  # off straight down: what lies flatter isn't placed, its error is too large


@dataclass(frozen=True)
class Assumed:
    """What is known of a drone's own errors, one standard error each.

    Args:
        position_m: of longitude and latitude, by satellites without correction.
        height_m: above the ground, where that is what was measured.
        takeoff_height_m: above the ground, where the height is above the place of take-off and
            there is no model of the terrain.
        pitch_degrees: of pitch and roll.
        heading_degrees: of the compass.
        terrain_m: of a model of the terrain.
    """

    position_m: float = 3.0
    height_m: float = 3.0
    takeoff_height_m: float = 10.0
    pitch_degrees: float = 1.0
    heading_degrees: float = 3.0
    terrain_m: float = 5.0


ASSUMED = Assumed()


@dataclass(frozen=True, eq=False)
class Places:
    """Places of points, one a row; NaN where a point couldn't be placed.

    Args:
        longitude: `(n,)` float64 degrees, WGS 84.
        latitude: `(n,)` float64 degrees, WGS 84.
        error_m: `(n,)` float64, one standard error.
        how: by the raster's transform, on flat earth, or on a model of the terrain.
    """

    longitude: Array
    latitude: Array
    error_m: Array
    how: Literal["transform", "flat earth", "terrain"]

    @property
    def known(self) -> Array:
        """`(n,)` bool, whether the point was placed."""
        return np.isfinite(self.longitude) & np.isfinite(self.latitude)


def by_transform(grid: Grid, points: Any) -> Places:
    """Places of an orthomosaic's pixels.

    The error is half a pixel: what the mosaic itself is off isn't known here.

    Args:
        grid: of the raster.
        points: `(n, 2)` columns and rows; the first pixel reaches from 0 to 1.

    Raises:
        DataError: if the raster isn't georeferenced.
    """
    from fieldsight.datasets.maps.places import to_degrees

    grid.check_georeferenced("places")
    given = _points(points)
    longitude, latitude = to_degrees(grid, given[:, 0], given[:, 1])
    missing = ~(np.isfinite(longitude) & np.isfinite(latitude))
    longitude, latitude = np.where(missing, np.nan, longitude), np.where(missing, np.nan, latitude)
    error = np.full(len(given), grid.ground_sampling_distance_m / 2)
    return Places(longitude, latitude, error, "transform")


def rays(pose: Pose, size: tuple[int, int], points: Any, focal_px: float) -> Array:
    """The directions that pixels look in: `(n, 3)` east, north, up, of length 1.

    Args:
        pose: of the camera, with a heading.
        size: rows and columns of the picture.
        points: `(n, 2)` columns and rows; the first pixel reaches from 0 to 1.
        focal_px: focal length in pixels.

    Example:
        Straight down, the picture's top is where the heading says, here east:

        >>> pose = Pose(longitude=0, latitude=0, heading_degrees=90, pitch_degrees=-90)
        >>> (np.round(rays(pose, (100, 100), [[50, 50], [50, 0]], 50.0), 3) + 0.0).tolist()
        [[0.0, 0.0, -1.0], [0.707, 0.0, -0.707]]
    """
    given = _points(points)
    across = (given[:, 0] - size[1] / 2) / focal_px
    down = (given[:, 1] - size[0] / 2) / focal_px
    local = np.stack([np.ones(len(given)), across, down], 1)
    north_east_down = local @ _turn(pose).T
    found: Array = north_east_down[:, [1, 0, 2]] * (1.0, 1.0, -1.0)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _turn(pose: Pose) -> Array:
    """From the camera's forward, right and down to north, east and down: heading, pitch, roll."""
    yaw, pitch, roll = (
        math.radians(x or 0.0)
        for x in (pose.heading_degrees, pose.pitch_degrees, pose.roll_degrees)
    )
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    about_down = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_right = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_forward = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    found: Array = about_down @ about_right @ about_forward
    return found


def by_pose(
    pose: Pose,
    size: tuple[int, int],
    points: Any,
    *,
    terrain: Terrain | None = None,
    home: Pose | None = None,
    field_of_view_degrees: float | None = None,
    assumed: Assumed = ASSUMED,
) -> Places:
    """Places of a picture's pixels by where its camera was and looked.

    Without a model of the terrain the ground is flat and level, as far below the camera as its
    height says. What lies above the horizon, or flatter than 80 degrees off straight down, is NaN.

    Args:
        pose: of the camera.
        size: rows and columns of the picture.
        points: `(n, 2)` columns and rows; the first pixel reaches from 0 to 1.
        terrain: heights of the ground.
        home: where it took off, to which heights above take-off refer; with `terrain` alone.
        field_of_view_degrees: from left to right, instead of what the pose says.
        assumed: errors of what was measured.

    Raises:
        DataError: if the height, the heading or the field of view isn't known.
    """
    focal = _focal(pose, size, field_of_view_degrees)
    _check(pose, terrain)
    given = _points(points)
    direction = rays(pose, size, given, focal)
    if terrain is None:
        height = np.full(len(given), float(pose.height_m or 0.0))
        how: Literal["flat earth", "terrain"] = "flat earth"
        steep = -direction[:, 2] >= math.cos(math.radians(FLATTEST_DEGREES))
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.where(steep, height / -direction[:, 2], np.nan)
        east, north = direction[:, 0] * away, direction[:, 1] * away
        error_height = assumed.height_m if pose.above == "ground" else assumed.takeoff_height_m
        slope = 0.0
    else:
        east, north, height = terrain.hit(pose, direction, home)
        how, slope = "terrain", 1.0
        error_height = math.hypot(assumed.terrain_m, assumed.height_m)
    distance = np.hypot(east, north)
    error = _error(distance, height, pose, assumed, error_height, curved=slope == 0.0)
    longitude, latitude = moved(pose, east, north)
    return Places(longitude, latitude, np.where(np.isfinite(longitude), error, np.nan), how)


def _error(
    distance: Array, height: Array, pose: Pose, assumed: Assumed, height_m: float, *, curved: bool
) -> Array:
    """One standard error in metres of places so far from below the camera."""
    with np.errstate(divide="ignore", invalid="ignore"):
        tangent = distance / height  # of the angle off straight down
    position = pose.position_error_m or assumed.position_m
    by_height = height_m * tangent
    by_pitch = height * (1 + tangent**2) * math.radians(assumed.pitch_degrees)
    by_heading = distance * math.radians(assumed.heading_degrees)
    # The globe falls away below flat earth.
    by_curve = distance**2 / (2 * EARTH_M) * tangent if curved else 0.0
    found: Array = np.sqrt(position**2 + by_height**2 + by_pitch**2 + by_heading**2 + by_curve**2)
    return found


def to_pixels(
    pose: Pose,
    size: tuple[int, int],
    longitude: Any,
    latitude: Any,
    *,
    field_of_view_degrees: float | None = None,
) -> Array:
    """The way back from `by_pose` on flat earth: `(n, 2)` columns and rows.

    Places that lie behind the camera are NaN.

    Raises:
        DataError: as `by_pose`.
    """
    from pyproj import Geod

    focal = _focal(pose, size, field_of_view_degrees)
    _check(pose, None)
    longitudes = np.atleast_1d(np.asarray(longitude, float))
    latitudes = np.atleast_1d(np.asarray(latitude, float))
    azimuth, _, distance = Geod(ellps="WGS84").inv(
        np.full_like(longitudes, pose.longitude), np.full_like(latitudes, pose.latitude),
        longitudes, latitudes,
    )  # fmt: skip
    turned = np.radians(azimuth)
    height = np.full_like(turned, float(pose.height_m or 0.0))
    north_east_down = np.stack(
        [np.cos(turned) * distance, np.sin(turned) * distance, height], axis=1
    )
    local = north_east_down @ _turn(pose)
    forward = np.where(local[:, 0] > 0, local[:, 0], np.nan)
    columns = size[1] / 2 + focal * local[:, 1] / forward
    rows = size[0] / 2 + focal * local[:, 2] / forward
    return np.stack([columns, rows], axis=1)


def _focal(pose: Pose, size: tuple[int, int], field_of_view_degrees: float | None) -> float:
    if field_of_view_degrees is not None:
        return size[1] / 2 / math.tan(math.radians(field_of_view_degrees) / 2)
    focal = pose.focal_in(size)
    if focal is None:
        cut = pose.size is not None and pose.size != size
        raise DataError(
            "places: the camera's field of view was needed. Received: "
            + (
                f"a picture of {size[1]}x{size[0]}, cut from one of {pose.size[1]}x{pose.size[0]}"
                if cut and pose.size
                else "none"
            )
            + ". Say it in degrees from left to right (--field-of-view)"
            + (", if it was cut around its middle." if cut else ".")
        )
    return focal


def _check(pose: Pose, terrain: Terrain | None) -> None:
    if pose.heading_degrees is None:
        raise DataError(
            "places: where the camera looked was needed. Received: no heading. Give a CSV of the "
            "flight with heading_degrees and pitch_degrees."
        )
    if pose.height_m is None and (terrain is None or pose.altitude_m is None):
        raise DataError(
            "places: the height above the ground was needed. Received: "
            + ("none" if pose.altitude_m is None else "a height above sea level alone")
            + ". Give a CSV of the flight with height_m, or a model of the terrain (--terrain)."
        )
    if terrain is None and pose.height_m is not None and pose.height_m <= 0:
        raise DataError(
            f"places: a height above the ground was needed. Received: {pose.height_m} m. It has "
            "not taken off yet, or the place of take-off is higher: give a model of the terrain "
            "(--terrain)."
        )


def moved(pose: Pose, east: Array, north: Array) -> tuple[Array, Array]:
    """Longitude and latitude, `(n,)` each, of places so many metres from the camera.

    Args:
        pose: of the camera.
        east: `(n,)` metres; NaN stays.
        north: `(n,)` metres; NaN stays.
    """
    from pyproj import Geod

    known = np.isfinite(east) & np.isfinite(north)
    longitude, latitude = np.full(len(east), np.nan), np.full(len(east), np.nan)
    if known.any():
        azimuth = np.degrees(np.arctan2(east[known], north[known]))
        distance = np.hypot(east[known], north[known])
        start = np.full(len(azimuth), pose.longitude), np.full(len(azimuth), pose.latitude)
        found = Geod(ellps="WGS84").fwd(*start, azimuth, distance)
        longitude[known], latitude[known] = found[0], found[1]
    return longitude, latitude


def _points(points: Any) -> Array:
    return np.asarray(points, np.float64).reshape(-1, 2)


def distance_m(a: Sequence[float], b: Sequence[float]) -> float:
    """Metres on WGS 84 between two places, longitude and latitude each."""
    from pyproj import Geod

    return float(Geod(ellps="WGS84").inv(a[0], a[1], b[0], b[1])[2])
