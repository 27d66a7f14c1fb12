"""Grids: pixels are as large as the ground they show, whatever the CRS (D-5)."""

import math
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid, same_grid

UTM = Affine(30, 0, 300_000, 0, -30, 9_000_000)
GRIDS = {
    "UTM": Grid(CRS.from_epsg(32721), UTM, 300, 500),
    "UTM, six degrees off its meridian": Grid(
        CRS.from_epsg(32721), Affine(30, 0, 1_160_000, 0, -30, 9_900_000), 300, 500
    ),
    "degrees": Grid(CRS.from_epsg(4326), Affine(0.001, 0, -60, 0, -0.001, -9), 400, 300),
    "degrees across the antimeridian": Grid(
        CRS.from_epsg(4326), Affine(0.001, 0, 179.9, 0, -0.001, -9), 400, 300
    ),
    "degrees, rotated": Grid(
        CRS.from_epsg(4326), Affine(0.001, 0.0004, -60, 0.0003, -0.001, 60), 400, 300
    ),
    "Web Mercator": Grid(CRS.from_epsg(3857), Affine(10, 0, -6e6, 0, -10, 8e6), 400, 300),
    "UTM, rotated": Grid(CRS.from_epsg(32721), Affine(30, 7, 300_000, 9, -30, 9_000_000), 400, 300),
    "south up": Grid(CRS.from_epsg(32721), Affine(30, 0, 300_000, 0, 30, 9_000_000), 400, 300),
    "US survey feet": Grid(
        CRS.from_epsg(2264), Affine(100, 0, 1_500_000, 0, -100, 600_000), 400, 300
    ),
    "another datum": Grid(CRS.from_epsg(31981), UTM, 300, 300),
}


def on_the_ellipsoid(grid: Grid) -> float:
    """Square metres within the grid's outline by Karney's geodesics, another way altogether."""
    shares = np.linspace(0, 1, 400, endpoint=False)
    corners = [(0, 0), (grid.columns, 0), (grid.columns, grid.rows), (0, grid.rows)]
    ring = [
        grid.transform @ (a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s)
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
        for s in shares
    ]
    crs = Transformer.from_crs(grid.crs.to_wkt(), "EPSG:4326").source_crs
    assert crs is not None
    assert crs.geodetic_crs is not None
    to_degrees = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    longitude, latitude = to_degrees.transform(*np.array(ring).T)
    ellipsoid = crs.geodetic_crs.ellipsoid
    assert ellipsoid is not None
    geod = Geod(a=ellipsoid.semi_major_metre, rf=ellipsoid.inverse_flattening)
    return abs(geod.polygon_area_perimeter(longitude, latitude)[0])


@pytest.mark.parametrize("name", GRIDS)
def test_areas_are_those_of_the_ellipsoid(name: str) -> None:
    grid = GRIDS[name]
    areas = grid.pixel_areas_m2()
    assert areas.shape == (grid.rows, grid.columns)
    assert areas.sum() == pytest.approx(on_the_ellipsoid(grid), rel=2e-6)


def test_a_pixel_on_the_central_meridian_by_hand() -> None:
    # UTM shrinks lengths to 0.9996 there: 30 m in it are 30.012 m on the ground.
    grid = Grid(CRS.from_epsg(32721), Affine(30, 0, 500_000 - 15, 0, -30, 9_000_000), 1, 1)
    assert grid.pixel_areas_m2()[0, 0] == pytest.approx(900 / 0.9996**2, rel=1e-7)
    assert grid.ground_sampling_distance_m == pytest.approx(30 / 0.9996, rel=1e-7)


def test_a_pixel_of_an_equal_area_projection_is_as_large_as_it_says() -> None:
    grid = Grid(CRS.from_epsg(6933), Affine(30, 0, -5e6, 0, -30, 4e6), 40, 40)
    np.testing.assert_allclose(grid.pixel_areas_m2(), 900, rtol=1e-7)


def test_a_pixel_of_web_mercator_is_a_quarter_of_what_it_says_at_sixty_degrees() -> None:
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(10, 60)
    grid = Grid(CRS.from_epsg(3857), Affine(10, 0, x, 0, -10, y), 2, 2)
    # cos^2 60 is 1/4 on a sphere; on the ellipsoid a little more.
    assert grid.pixel_areas_m2()[0, 0] == pytest.approx(25, rel=0.006)


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(sorted(GRIDS)), st.integers(0, 299), st.integers(0, 299),
    st.integers(1, 300), st.integers(1, 300),
)  # fmt: skip
def test_the_area_of_a_pixel_does_not_depend_on_the_part_that_is_asked_for(
    name: str, top: int, left: int, rows: int, columns: int
) -> None:
    grid = GRIDS[name]
    part = (slice(top, min(top + rows, grid.rows)), slice(left, min(left + columns, grid.columns)))
    np.testing.assert_array_equal(grid.pixel_areas_m2(part), grid.pixel_areas_m2()[part])


def test_nothing_is_asked_for_and_nothing_comes() -> None:
    assert GRIDS["UTM"].pixel_areas_m2((slice(7, 7), slice(0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("crs", "transform", "said"),
    [(None, UTM, "no CRS"), (CRS.from_epsg(32721), Affine.identity(), "no transform")],
)
def test_a_raster_that_lies_nowhere_has_no_area(crs: Any, transform: Affine, said: str) -> None:
    grid = Grid(crs, transform, 10, 10)
    assert not grid.is_georeferenced
    with pytest.raises(DataError, match=said):
        grid.pixel_areas_m2()
    with pytest.raises(DataError, match="CRS and a transform was needed"):
        _ = grid.ground_sampling_distance_m


def test_pixels_off_the_earth_are_refused() -> None:
    grid = Grid(CRS.from_epsg(32721), Affine(30, 0, 1e12, 0, -30, 9e6), 10, 10)
    with pytest.raises(DataError, match="lies on the Earth"):
        grid.pixel_areas_m2()


def test_bounds_hold_all_four_corners() -> None:
    # (0, 0), (2, 0), (0, 3), (2, 3) go to (5, 7), (7, 5), (8, 10), (10, 8).
    grid = Grid(CRS.from_epsg(32721), Affine(1, 1, 5, -1, 1, 7), 3, 2)
    assert grid.bounds == (5, 5, 10, 10)
    assert not grid.is_north_up


def test_grids_are_the_same_to_a_millionth_of_a_pixel() -> None:
    grid = GRIDS["UTM"]
    assert same_grid(grid, Grid(grid.crs, grid.transform, 300, 500))
    moved = {1e-8: True, 1e-3: False, 15.0: False}
    for metres, alike in moved.items():
        other = Affine(30, 0, 300_000 + metres, 0, -30, 9_000_000)
        assert same_grid(grid, Grid(grid.crs, other, 300, 500)) is alike
    assert not same_grid(grid, Grid(grid.crs, grid.transform, 300, 501))
    assert not same_grid(grid, Grid(CRS.from_epsg(32722), grid.transform, 300, 500))
    wider = Affine(30 + 1e-6, 0, 300_000, 0, -30, 9_000_000)
    assert not same_grid(grid, Grid(grid.crs, wider, 300, 500))


def test_the_sampling_distance_is_on_the_ground() -> None:
    # A thousandth of a degree at 9 degrees south is about 110.57 m x 110.0 m.
    side = GRIDS["degrees"].ground_sampling_distance_m
    assert side == pytest.approx(math.sqrt(110.6 * 109.9), rel=2e-3)
