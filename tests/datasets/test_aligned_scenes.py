"""Scenes brought onto another grid, and how well two lie on each other: against GDAL, by hand."""

import datetime as dt
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.vrt import WarpedVRT
from scipy import ndimage

from fieldsight.datasets import coregistration
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.scenes import open_scene
from fieldsight.datasets.scenes.aligned import Aligned, overlap, pixels_beneath
from fieldsight.datasets.scenes.scene import Scene

UTM = Affine(3, 0, 300_000, 0, -3, 9_000_000)


def crs(code: int) -> Any:
    return rasterio.crs.CRS.from_epsg(code)


class Pictured(Scene):
    """A scene in memory."""

    def __init__(
        self, array: Any, transform: Affine = UTM, epsg: int = 32721, clouds: Any = None
    ) -> None:
        facts: dict[str, Any] = {
            "name": "pictured", "bands": ("red", "nir"), "sensor": "", "simulated": False,
            "grid": Grid(crs(epsg), transform, *array.shape[:2]), "notes": (),
            "date": dt.date(2020, 8, 1), "reflectance": None, "_array": array, "_cloudy": clouds,
        }  # fmt: skip
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    _array: Any
    _cloudy: Any

    @property
    def dtype(self) -> Any:
        return self._array.dtype

    @property
    def nodata(self) -> float | None:
        return 0

    @property
    def has_clouds(self) -> bool:
        return self._cloudy is not None

    def read(self, slices: Any) -> Any:
        return self._array[slices]

    def valid(self, slices: Any) -> Any:
        return (self._array[slices] != 0).all(axis=-1)

    def read_valid(self, slices: Any) -> Any:
        return self.read(slices), self.valid(slices)

    def clouds(self, slices: Any) -> Any:
        return None if self._cloudy is None else self._cloudy[slices]

    def select(self, bands: Any) -> Any:
        places = [("red", "nir").index(name) for name in bands]
        chosen = Pictured(self._array[..., places], self.grid.transform, clouds=self._cloudy)
        object.__setattr__(chosen, "bands", tuple(bands))
        return chosen


def textured(rows: int, columns: int, seed: int = 0, smooth: float = 1.5) -> Any:
    """Canopy as it is seen: grains of some pixels, in two bands."""
    noise = np.random.default_rng(seed).normal(size=(rows, columns))
    grain = ndimage.gaussian_filter(noise, smooth)
    picture = 2000 + 400 * grain / grain.std()
    return np.stack([picture * 0.3, picture], axis=-1).clip(100).astype(np.uint16)


def everything(grid: Grid) -> tuple[slice, slice]:
    return slice(0, grid.rows), slice(0, grid.columns)


@pytest.fixture(scope="session")
def landsat() -> Path:
    """The folder of the real scene; skips where it is absent."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "satellite" / "landsat8"
    if not folder.is_dir():
        pytest.skip(f"the real scene isn't in {folder}; name its data folder in FIELDSIGHT_DATA")
    return folder


@pytest.mark.parametrize(
    ("transform", "epsg"),
    [
        (Affine(3, 0, 300_031.5, 0, -3, 8_999_920.4), 32721),  # a part of a pixel beside
        (Affine(2, 0, 300_030, 0, -2, 8_999_940), 32721),  # finer
        (Affine(1.5, 0.9, 300_090, 0.9, -1.5, 8_999_860), 32721),  # turned and mirrored
        (Affine(2.5e-5, 0, -58.819, 0, -2.5e-5, -9.043), 4326),  # degrees
    ],
)
def test_a_scene_on_another_grid_is_gdals(tmp_path: Path, transform: Affine, epsg: int) -> None:
    picture = textured(140, 160)
    grid = Grid(crs(epsg), transform, 60, 50)
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=160, height=140, count=2, dtype="uint16",
        crs=crs(32721), transform=UTM,
    ) as raster:  # fmt: skip
        raster.write(np.moveaxis(picture, -1, 0))
    with (
        rasterio.open(path) as raster,
        WarpedVRT(
            raster, crs=grid.crs, transform=transform, width=50, height=60, resampling=1,
            add_alpha=True,
        ) as warped,
    ):  # fmt: skip
        expected = np.moveaxis(warped.read([1, 2]), 0, -1).astype(int)
        inside = warped.read(3) > 0
    found, valid = Aligned(Pictured(picture), grid).read_valid(everything(grid))
    assert found.dtype == np.uint16
    assert valid.any()
    assert not (valid & ~inside).any()
    assert np.abs(found[valid].astype(int) - expected[valid]).max() <= 8  # of a spread of 400


@settings(max_examples=15, deadline=None)
@given(st.integers(5, 40), st.floats(-0.9, 0.9), st.floats(-30, 30))
def test_d_6_a_scene_on_another_grid_doesnt_depend_on_windows(
    side: int, part: float, offset: float
) -> None:
    grid = Grid(crs(32721), Affine(3, part, 300_030 + offset, -part, -3, 8_999_970), 64, 50)
    scene = Aligned(Pictured(textured(80, 90)), grid)
    whole, valid = scene.read_valid(everything(grid))
    for top in range(0, 64, side):
        for left in range(0, 50, side):
            slices = slice(top, min(top + side, 64)), slice(left, min(left + side, 50))
            piece, there = scene.read_valid(slices)
            assert np.array_equal(there, valid[slices])
            assert np.abs(piece.astype(int) - whole[slices].astype(int)).max() <= 1


def test_d_4_what_touches_nodata_is_none_and_what_touches_a_cloud_is_cloudy() -> None:
    picture = textured(40, 40)
    picture[10, 10] = 0
    clouds = np.zeros((40, 40), bool)
    clouds[20, 20] = True
    grid = Grid(crs(32721), UTM @ Affine.translation(0.5, 0.5), 39, 39)
    scene = Aligned(Pictured(picture, clouds=clouds), grid)
    found, valid = scene.read_valid(everything(grid))
    assert np.argwhere(~valid).tolist() == [[9, 9], [9, 10], [10, 9], [10, 10]]
    assert (found[~valid] == 0).all()
    seen = scene.clouds(everything(grid))
    assert seen is not None
    assert np.argwhere(seen).tolist() == [[19, 19], [19, 20], [20, 19], [20, 20]]
    assert Aligned(Pictured(picture), grid).clouds(everything(grid)) is None


def test_beyond_the_scene_there_is_nothing_and_bands_are_chosen_by_name() -> None:
    grid = Grid(crs(32721), UTM @ Affine.translation(1000, 0), 20, 20)
    scene = Aligned(Pictured(textured(40, 40)), grid).select(("nir",))
    found, valid = scene.read_valid(everything(grid))
    assert found.shape == (20, 20, 1)
    assert not valid.any()
    assert "another grid" in scene.notes[-1]


def test_on_a_coarser_grid_a_place_is_the_mean_of_what_lies_there() -> None:
    picture = textured(40, 40)
    grid = Grid(crs(32721), UTM @ Affine.scale(4), 10, 10)
    found, valid = Aligned(Pictured(picture), grid).read_valid(everything(grid))
    means = picture.reshape(10, 4, 10, 4, 2).astype(float).mean(axis=(1, 3))
    assert valid.all()
    assert np.abs(found - means).max() <= 0.51


def test_overlap_is_the_covered_share() -> None:
    here = Grid(crs(32721), UTM, 100, 100)
    assert overlap(here, here) == pytest.approx(1)
    assert overlap(here, Grid(crs(32721), UTM @ Affine.translation(75, 0), 100, 100)) == (
        pytest.approx(0.25)
    )
    assert overlap(here, Grid(crs(32721), UTM @ Affine.translation(200, 0), 100, 100)) == 0
    # The neighbouring zone has the same metres somewhere else on Earth.
    assert overlap(here, Grid(crs(32722), UTM, 100, 100)) == 0
    with pytest.raises(DataError, match="no CRS"):
        overlap(here, Grid(None, UTM, 100, 100))


def test_pixels_beneath_are_found_in_another_crs() -> None:
    grid = Grid(crs(32721), UTM, 50, 50)
    places = pixels_beneath(grid, grid, (slice(10, 20), slice(5, 15)))
    assert places == ((10, 5), (20, 15))


@settings(max_examples=10, deadline=None)
@given(st.floats(-6, 6), st.floats(-6, 6))
def test_d_11_a_shift_of_a_part_of_a_pixel_is_measured(rows: float, columns: float) -> None:
    # The same canopy, resampled by a spline, under other light, with a tenth of it felled.
    scene = textured(300, 300, smooth=2)
    moved = np.stack(
        [ndimage.shift(scene[..., band].astype(float), (rows, columns), mode="reflect")
         for band in (0, 1)], axis=-1,
    )  # fmt: skip
    moved[60:150, 60:150] = 900
    later = (moved * 1.2 + 150).clip(1).astype(np.uint16)
    found = coregistration.measure(Pictured(scene), Pictured(later), "nir", window=128)
    assert found is not None
    assert found.is_sure
    assert (found.rows, found.columns) == pytest.approx((rows, columns), abs=0.15)


def test_d_11_a_measured_shift_is_taken_back() -> None:
    scene = textured(200, 200, smooth=2)
    moved = np.stack(
        [ndimage.shift(scene[..., band].astype(float), (1.5, -2.25), mode="reflect")
         for band in (0, 1)], axis=-1,
    ).astype(np.uint16)  # fmt: skip
    before, after = Pictured(scene), Pictured(moved)
    shift = coregistration.measure(before, after, "nir", window=128)
    assert shift is not None
    put = Aligned(after, before.grid, moved_px=(-shift.rows, -shift.columns))
    again = coregistration.measure(before, put, "nir", window=128)
    assert again is not None
    assert again.pixels < 0.1


def test_other_places_agree_on_no_shift() -> None:
    found = coregistration.measure(
        Pictured(textured(400, 400, seed=1)), Pictured(textured(400, 400, seed=2)), "nir", window=64
    )
    assert found is not None
    assert not found.is_sure


def test_under_clouds_or_on_plain_ground_nothing_is_measured() -> None:
    scene = textured(100, 100)
    cloudy = Pictured(scene, clouds=np.ones((100, 100), bool))
    assert coregistration.measure(Pictured(scene), cloudy, "nir") is None
    plain = Pictured(np.full((100, 100, 2), 500, np.uint16))
    assert coregistration.measure(plain, plain, "nir") is None


def test_a_real_scene_lies_on_itself(landsat: Path) -> None:
    with open_scene(landsat / "rgbn.tif", bands=("red", "green", "blue", "nir")) as scene:
        band = "nir"
        rows, columns = scene.grid.rows - 4, scene.grid.columns - 6
        transform = scene.grid.transform @ Affine.translation(2.5, 1.25)
        elsewhere = Aligned(scene, Grid(scene.grid.crs, transform, rows, columns))
        here = Aligned(scene, Grid(scene.grid.crs, scene.grid.transform, rows, columns))
        # What stood at row 1.25 stands at row 0 now: it was moved up, and to the left.
        found = coregistration.measure(here, elsewhere, band)
    assert found is not None
    assert (found.rows, found.columns) == pytest.approx((-1.25, -2.5), abs=0.2)
