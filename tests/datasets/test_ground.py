"""Pixels to places: by hand, there and back, on a raster, on flat earth and on hills."""

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS

from fieldsight.datasets import ground
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.telemetry import Pose
from fieldsight.datasets.terrain import Terrain

HERE = (31.55, -24.05)
SIZE = (512, 640)
MIDDLE = [[320, 256]]


def pose(**said: float | str | None) -> Pose:
    facts = {"height_m": 100.0, "heading_degrees": 0.0, "pitch_degrees": -90.0,
             "field_of_view_degrees": 90.0} | said  # fmt: skip
    return Pose(longitude=HERE[0], latitude=HERE[1], **facts)  # type: ignore[arg-type]


def apart(places: ground.Places) -> tuple[float, float]:
    """Metres east and north of the camera, by a projection of pyproj's own."""
    local = f"+proj=aeqd +lon_0={HERE[0]} +lat_0={HERE[1]} +ellps=WGS84"
    transformer = Transformer.from_crs("EPSG:4326", local, always_xy=True)
    east, north = transformer.transform(places.longitude[0], places.latitude[0])
    return float(east), float(north)


# Flat earth, by hand


@pytest.mark.parametrize(
    ("heading", "east", "north"),
    [(0, 0, 100), (90, 100, 0), (180, 0, -100), (270, -100, 0), (45, 70.711, 70.711)],
)
def test_45_degrees_off_nadir_at_100_m_is_100_m_away(
    heading: float, east: float, north: float
) -> None:
    # W-9.
    seen = pose(heading_degrees=heading, pitch_degrees=-45.0)
    assert apart(ground.by_pose(seen, SIZE, MIDDLE)) == pytest.approx((east, north), abs=0.01)


@pytest.mark.parametrize(
    ("point", "east", "north"),
    [((320, 256), 0, 0), ((640, 256), 100, 0), ((0, 256), -100, 0), ((320, 0), 0, 80),
     ((320, 512), 0, -80)],
)  # fmt: skip
def test_straight_down_90_degrees_see_200_m_with_the_top_ahead(
    point: tuple[float, float], east: float, north: float
) -> None:
    assert apart(ground.by_pose(pose(), SIZE, [point])) == pytest.approx((east, north), abs=0.01)
    # The same turned to the east: ahead is east, right is south.
    turned = ground.by_pose(pose(heading_degrees=90.0), SIZE, [point])
    assert apart(turned) == pytest.approx((north, -east), abs=0.01)


def test_a_gimbals_roll_turns_the_picture_about_where_it_looks() -> None:
    # 45 degrees down, a quarter turn right side down: the right edge, 45 degrees off the middle,
    # looks straight down, and the left one at the horizon.
    seen = pose(pitch_degrees=-45.0, roll_degrees=90.0)
    assert apart(ground.by_pose(seen, SIZE, MIDDLE)) == pytest.approx((0, 100), abs=0.01)
    assert apart(ground.by_pose(seen, SIZE, [[640, 256]])) == pytest.approx((0, 0), abs=0.01)
    assert not ground.by_pose(seen, SIZE, [[0, 256]]).known[0]


def test_the_error_is_the_sum_of_its_parts() -> None:
    # Straight down: 3 m of position and 100 m x 1 degree; the height doesn't matter there.
    seen = ground.by_pose(pose(), SIZE, MIDDLE)
    assert seen.how == "flat earth"
    assert seen.error_m[0] == pytest.approx(math.hypot(3, 100 * math.radians(1)), abs=1e-6)
    # At 45 degrees 3 m of height are 3 m, pitch counts twice, 3 degrees of heading are 5.2 m.
    seen = ground.by_pose(pose(pitch_degrees=-45.0), SIZE, MIDDLE)
    parts = (3, 3, 200 * math.radians(1), 100 * math.radians(3))
    assert seen.error_m[0] == pytest.approx(math.hypot(*parts), abs=1e-3)
    # Above take-off the ground may lie 10 m higher.
    seen = ground.by_pose(pose(pitch_degrees=-45.0, above="takeoff"), SIZE, MIDDLE)
    assert seen.error_m[0] == pytest.approx(math.hypot(3, 10, *parts[2:]), abs=1e-3)


def test_what_is_above_the_horizon_or_nearly_is_not_placed() -> None:
    level = pose(pitch_degrees=0.0)
    seen = ground.by_pose(level, SIZE, [[320, 0], [320, 256], [320, 290], [320, 512]])
    # 34 px below the middle are 6 degrees, 256 px are 38.7 degrees below the horizon.
    assert seen.known.tolist() == [False, False, False, True]
    assert np.isnan(seen.error_m[:3]).all()


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"heading_degrees": None}, "where the camera looked"),
        ({"height_m": None}, "height above the ground"),
        ({"height_m": None, "altitude_m": 400.0}, "above sea level alone"),
        ({"height_m": 0.0}, "not taken off"),
        ({"field_of_view_degrees": None}, "field of view"),
    ],
)
def test_what_is_not_known_is_said(said: dict[str, float | None], what: str) -> None:
    with pytest.raises(DataError, match=what):
        ground.by_pose(pose(**said), SIZE, MIDDLE)
    if "field_of_view_degrees" in said:
        given_later = ground.by_pose(pose(**said), SIZE, MIDDLE, field_of_view_degrees=60.0)
        assert given_later.known.all()


@given(
    column=st.floats(0, 640),
    row=st.floats(0, 512),
    heading=st.floats(0, 360),
    pitch=st.floats(-90, -50),
    roll=st.floats(-10, 10),
    height=st.floats(5, 400),
    latitude=st.floats(-80, 80),
    longitude=st.floats(-179.9, 179.9),
)
@settings(max_examples=60, deadline=None)
def test_pixels_come_back_from_their_places(
    column: float,
    row: float,
    heading: float,
    pitch: float,
    roll: float,
    height: float,
    latitude: float,
    longitude: float,
) -> None:
    seen = Pose(longitude=longitude, latitude=latitude, height_m=height, heading_degrees=heading,
                pitch_degrees=pitch, roll_degrees=roll, field_of_view_degrees=50.0)  # fmt: skip
    places = ground.by_pose(seen, SIZE, [[column, row]])
    if places.known[0]:
        back = ground.to_pixels(seen, SIZE, places.longitude, places.latitude)
        np.testing.assert_allclose(back, [[column, row]], atol=1e-3)


# A raster


def test_a_rotated_rasters_pixels_are_placed_by_its_transform() -> None:
    transform = Affine.translation(500_000, 7_000_000) @ Affine.rotation(30) @ Affine.scale(2, -2)
    grid = Grid(CRS.from_epsg(32736), transform, 50, 80)
    places = ground.by_transform(grid, [[0, 0], [10.5, 20.5]])
    x, y = transform @ (10.5, 20.5)
    expected = Transformer.from_crs(32736, 4326, always_xy=True).transform(x, y)
    assert (places.longitude[1], places.latitude[1]) == pytest.approx(expected, abs=1e-10)
    assert places.error_m[0] == pytest.approx(1.0, abs=0.01)  # half of 2 m
    with pytest.raises(DataError, match="CRS"):
        ground.by_transform(Grid(None, transform, 50, 80), [[0, 0]])


# Terrain


def terrain(path: Path, heights: np.ndarray, *, nodata: float | None = None) -> Terrain:
    """Heights at 10 m in UTM 36 S, their middle at (500,000, 7,340,000)."""
    rows, columns = heights.shape
    transform = Affine(10, 0, 500_000 - 5 * columns, 0, -10, 7_340_000 + 5 * rows)
    with rasterio.open(path, "w", driver="GTiff", height=rows, width=columns, count=1,
                       dtype="float32", crs="EPSG:32736", transform=transform,
                       nodata=nodata) as file:  # fmt: skip
        file.write(heights.astype("float32"), 1)
    return Terrain(path)


MIDDLE_OF_IT = Transformer.from_crs(32736, 4326, always_xy=True).transform(500_000, 7_340_000)


def above_middle(**said: float | str | None) -> Pose:
    facts = {"height_m": 100.0, "heading_degrees": 90.0, "pitch_degrees": -45.0,
             "field_of_view_degrees": 60.0} | said  # fmt: skip
    return Pose(longitude=MIDDLE_OF_IT[0], latitude=MIDDLE_OF_IT[1], **facts)  # type: ignore[arg-type]


def test_on_level_terrain_places_are_those_of_flat_earth(tmp_path: Path) -> None:
    seen = above_middle()
    flat = ground.by_pose(seen, SIZE, [[100, 400]])
    with terrain(tmp_path / "dem.tif", np.full((80, 80), 350.0)) as heights:
        hit = ground.by_pose(seen, SIZE, [[100, 400]], terrain=heights)
        assert hit.how == "terrain"
        off = ground.distance_m((flat.longitude[0], flat.latitude[0]),
                                (hit.longitude[0], hit.latitude[0]))  # fmt: skip
        assert off < 0.01
        # By the height above the sea it is the same.
        at_sea = above_middle(height_m=None, altitude_m=450.0)
        same = ground.by_pose(at_sea, SIZE, [[100, 400]], terrain=heights)
        np.testing.assert_allclose(same.longitude, hit.longitude, atol=1e-8)


def test_on_a_slope_a_ray_ends_where_it_meets_it(tmp_path: Path) -> None:
    # The ground rises eastwards by 1 in 2: 100 - x = x / 2 gives x = 66.67 m, not 100 m.
    east = (np.arange(80) + 0.5) * 10 - 400
    with terrain(tmp_path / "dem.tif", np.tile(1000 + east / 2, (80, 1))) as heights:
        hit = ground.by_pose(above_middle(), SIZE, MIDDLE, terrain=heights)
        away = ground.distance_m(MIDDLE_OF_IT, (hit.longitude[0], hit.latitude[0]))
        # UTM's scale is 0.9996 in its middle.
        assert away == pytest.approx(66.67, abs=0.1)


def test_heights_above_takeoff_are_above_the_place_of_takeoff(tmp_path: Path) -> None:
    east = (np.arange(80) + 0.5) * 10 - 400
    heights = np.where(east < -100, 300.0, 250.0)  # it took off on a terrace, 50 m higher
    home = Transformer.from_crs(32736, 4326, always_xy=True).transform(499_800, 7_340_000)
    start = Pose(longitude=home[0], latitude=home[1], height_m=0.0, above="takeoff")
    seen = above_middle(above="takeoff")
    with terrain(tmp_path / "dem.tif", np.tile(heights, (80, 1))) as found:
        hit = ground.by_pose(seen, SIZE, MIDDLE, terrain=found, home=start)
        away = ground.distance_m(MIDDLE_OF_IT, (hit.longitude[0], hit.latitude[0]))
        assert away == pytest.approx(150, abs=0.1)


def test_beyond_the_terrain_and_its_holes_nothing_is_placed(tmp_path: Path) -> None:
    hole = np.full((80, 80), 350.0)
    hole[:, 48:52] = -9999
    with terrain(tmp_path / "dem.tif", hole, nodata=-9999) as heights:
        assert not ground.by_pose(above_middle(), SIZE, MIDDLE, terrain=heights).known[0]
        far = above_middle(pitch_degrees=-5.0, heading_degrees=0.0)
        assert not ground.by_pose(far, SIZE, MIDDLE, terrain=heights).known[0]
        elsewhere = Pose(longitude=0, latitude=0, height_m=100.0, heading_degrees=0.0,
                         field_of_view_degrees=60.0)  # fmt: skip
        with pytest.raises(DataError, match="below the camera"):
            ground.by_pose(elsewhere, SIZE, MIDDLE, terrain=heights)
