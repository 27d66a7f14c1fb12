"""Scenes in one file: bands by name, what is data, windows from threads, damaged files."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.shutil import copy as gdal_copy

from fieldsight.datasets import scenes
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.scenes import bands

Array = NDArray[Any]
WHOLE = (slice(None), slice(None))
UTM = Affine(3, 0, 300_000, 0, -3, 9_000_000)


def write(path: Path, values: Array, **settings: Any) -> Path:
    """A GeoTIFF of `(bands, rows, columns)` in a UTM zone of the Amazon, unless it is said."""
    count, rows, columns = values.shape
    names = settings.pop("names", ())
    tags = settings.pop("tags", {})
    colours = settings.pop("colours", ())
    form = {"driver": "GTiff", "crs": "EPSG:32720", "transform": UTM, **settings}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", width=columns, height=rows, count=count, dtype=values.dtype, **form
    ) as file:
        if colours:
            file.colorinterp = colours
        file.write(values)
        file.update_tags(**tags)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
    return path


def numbers(count: int, rows: int = 40, columns: int = 30, dtype: str = "uint16") -> Array:
    """Values from 1 that differ everywhere."""
    return (np.arange(count * rows * columns).reshape(count, rows, columns) % 250 + 1).astype(dtype)


# Names (D-1)


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (3, "red green blue"),
        (4, "blue green red nir"),
        (8, "coastal blue green_i green yellow red red_edge nir"),
    ],
)
def test_bands_without_names_are_planets_by_their_number_d1(
    tmp_path: Path, count: int, names: str
) -> None:
    path = write(tmp_path / "20200518_134211_0f28_3B_AnalyticMS.tif", numbers(count))
    with scenes.open_scene(path) as scene:
        assert scene.bands == tuple(names.split())
        assert (scene.sensor, scene.date) == ("planet", dt.date(2020, 5, 18))
    with scenes.open_scene(write(tmp_path / "scene.tif", numbers(count))) as scene:
        assert scene.bands == tuple(names.split())
        assert any("taken for Planet's order" in note for note in scene.notes)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 12])
def test_a_number_of_bands_that_nobody_knows_is_refused_without_names_d1(
    tmp_path: Path, count: int
) -> None:
    path = write(tmp_path / "scene.tif", numbers(count))
    with pytest.raises(DataError, match=rf"Received: {count} band.*--bands"):
        scenes.open_scene(path)
    given_names = [f"band_{n}" for n in range(count)]
    with scenes.open_scene(path, given_names) as scene:
        assert scene.bands == tuple(given_names)


def test_names_in_the_metadata_win_over_planets_order_d1(tmp_path: Path) -> None:
    values = numbers(4)
    path = write(tmp_path / "s.tif", values, names=["Near Infrared", "red", "Green", "BLUE"])
    with scenes.open_scene(path) as scene:
        assert scene.bands == ("nir", "red", "green", "blue")
        np.testing.assert_array_equal(
            scene.select(["blue", "nir"]).read(WHOLE), np.moveaxis(values[[3, 0]], 0, -1)
        )


def test_colours_in_the_metadata_are_names_and_half_of_them_are_not(tmp_path: Path) -> None:
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    path = write(tmp_path / "a.tif", numbers(3, dtype="uint8"), colours=rgb)
    with scenes.open_scene(path) as scene:
        assert scene.bands == ("red", "green", "blue")
    # Red, green, blue and one more aren't Planet's blue, green, red, near infrared.
    both = (*rgb, ColorInterp.undefined)
    path = write(tmp_path / "b.tif", numbers(4, dtype="uint8"), colours=both)
    with pytest.raises(DataError, match="--bands red,green,blue,nir"):
        scenes.open_scene(path)


def test_gdal_calls_the_fourth_band_alpha_but_a_name_for_it_makes_it_a_band(tmp_path: Path) -> None:
    values = numbers(4, dtype="uint8")
    values[3, :5] = 0
    path = write(tmp_path / "s.tif", values, photometric="RGB", alpha="YES")
    with scenes.open_scene(path) as scene:
        assert scene.bands == ("red", "green", "blue")
        np.testing.assert_array_equal(scene.valid(WHOLE), values[3] > 0)
    with scenes.open_scene(path, ["blue", "green", "red", "nir"]) as scene:
        assert scene.read(WHOLE).shape == (40, 30, 4)
        assert scene.valid(WHOLE).all()


def test_planets_fourth_band_is_near_infrared_whatever_its_colour_says(tmp_path: Path) -> None:
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    path = write(tmp_path / "x_20200518_AnalyticMS_SR.tif", numbers(4), colours=colours)
    with scenes.open_scene(path) as scene:
        assert scene.bands == ("blue", "green", "red", "nir")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["blue", "gren", "red", "nir"], "Did you mean green"),
        (["blue", "blue", "red", "nir"], "each band once"),
        (["blue", "green", "red"], "must name 4 bands"),
    ],
)
def test_mistakes_in_names_are_told(tmp_path: Path, names: list[str], told: str) -> None:
    path = write(tmp_path / "s.tif", numbers(4))
    with pytest.raises(DataError, match=told):
        scenes.open_scene(path, names)


def test_a_band_that_a_scene_lacks_is_told_with_those_it_has(tmp_path: Path) -> None:
    scene = scenes.open_scene(write(tmp_path / "s.tif", numbers(4)))
    with pytest.raises(DataError, match=r"swir1.*Received: a scene of blue,green,red,nir"):
        scene.select(["red", "swir1"])


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Green I", "green_i"), ("RedEdge", "red_edge"), ("Coastal Blue", "coastal"),
        ("near-infrared", "nir"), ("SWIR 1", "swir1"), ("nir08", "nir"),
    ],
)  # fmt: skip
def test_one_band_has_one_name_here(said: str, name: str) -> None:
    assert bands.normal(said) == name
    assert bands.is_known(name)


# What is data (D-4), and numbers as they are (D-2)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_values_stay_in_the_files_own_dtype_d2(tmp_path: Path, dtype: str) -> None:
    values = numbers(4, dtype=dtype)
    with scenes.open_scene(
        write(tmp_path / "s.tif", values, photometric="MINISBLACK"), ("blue", "green", "red", "nir")
    ) as scene:
        found = scene.read((slice(3, 20), slice(7, 30)))
        assert found.dtype == scene.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, np.moveaxis(values[:, 3:20, 7:], 0, -1))


def test_a_dark_pixel_is_data_where_0_is_nodata_and_another_band_has_light_d4(
    tmp_path: Path,
) -> None:
    values = np.full((4, 2, 2), 9, np.uint16)
    values[:, 0, 0] = 0
    values[:3, 1, 1] = 0
    with scenes.open_scene(write(tmp_path / "s.tif", values, nodata=0)) as scene:
        assert scene.valid(WHOLE).tolist() == [[False, True], [True, True]]
        # Whichever bands are looked at, the pixel is the same.
        assert scene.select(["red"]).valid(WHOLE).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("int16", -9999), ("float32", -3.4028234663852886e38), ("float32", float("nan"))],
)
def test_a_value_that_nothing_measures_spoils_the_pixel_d4(
    tmp_path: Path, dtype: str, nodata: float
) -> None:
    values = np.full((4, 2, 2), 0.5 if dtype == "float32" else 7, dtype)
    values[2, 0, 1] = nodata
    with scenes.open_scene(write(tmp_path / "s.tif", values, nodata=nodata)) as scene:
        assert scene.valid(WHOLE).tolist() == [[True, False], [True, True]]


def test_nan_is_no_data_though_the_file_declares_nothing(tmp_path: Path) -> None:
    values = np.full((3, 2, 2), 0.5, np.float32)
    values[0, 1, 0] = np.nan
    values[1, 0, 0] = np.inf
    with scenes.open_scene(write(tmp_path / "s.tif", values)) as scene:
        assert scene.valid(WHOLE).tolist() == [[False, True], [False, True]]


def test_an_internal_mask_says_what_is_data_d4(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (40, 30)) > 0
    path = write(tmp_path / "s.tif", numbers(4))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    with scenes.open_scene(path) as scene:
        np.testing.assert_array_equal(scene.valid(WHOLE), mask)


def test_a_scene_of_nodata_alone_has_no_data(tmp_path: Path) -> None:
    with scenes.open_scene(write(tmp_path / "s.tif", 0 * numbers(4), nodata=0)) as scene:
        values, valid = scene.read_valid(WHOLE)
        assert values.shape == (40, 30, 4)
        assert not valid.any()


# Where it lies (D-5)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32720", UTM @ Affine.rotation(17.3)),
        ("EPSG:4326", Affine(0.001, 0, 179.98, 0, -0.001, -16)),  # beyond 180 degrees east
        ("EPSG:3857", Affine(4.77, 0, -6_800_000, 0, -4.77, -1_000_000)),
        (None, Affine.identity()),
    ],
)
def test_the_grid_is_the_files_to_the_last_digit_d5(
    tmp_path: Path, crs: str | None, transform: Affine
) -> None:
    path = write(tmp_path / "s.tif", numbers(4), crs=crs, transform=transform)
    with scenes.open_scene(path) as scene, rasterio.open(path) as peer:
        assert scene.grid.transform == peer.transform == transform
        assert scene.grid.crs == peer.crs
        assert scene.shape == (peer.height, peer.width, 4)
        assert scene.grid.is_georeferenced == (crs is not None)


def test_a_vrt_and_a_cog_read_as_their_source_does(tmp_path: Path) -> None:
    values = numbers(4, 300, 280)
    path = write(tmp_path / "s.tif", values, nodata=0, tiled=True, blockxsize=64, blockysize=64)
    gdal_copy(path, tmp_path / "s.vrt", driver="VRT")
    gdal_copy(path, tmp_path / "c.tif", driver="COG")
    for copy in ("s.vrt", "c.tif"):
        with scenes.open_scene(tmp_path / copy) as scene:
            np.testing.assert_array_equal(scene.read(WHOLE), np.moveaxis(values, 0, -1))
            assert scene.nodata == 0


# Windows


def test_windows_from_eight_threads_are_the_parts_of_the_whole(tmp_path: Path) -> None:
    values = numbers(4, 256, 256)
    path = write(tmp_path / "s.tif", values, compress="deflate", tiled=True, blockxsize=32,
                 blockysize=32)  # fmt: skip
    places = [(slice(r, r + 50), slice(c, c + 50)) for r in range(0, 256, 19)
              for c in range(0, 256, 23)]  # fmt: skip
    with scenes.open_scene(path) as scene, ThreadPoolExecutor(8) as pool:
        for place, part in zip(places, pool.map(scene.read, places), strict=True):
            np.testing.assert_array_equal(part, np.moveaxis(values, 0, -1)[place])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.tuples(*[st.integers(0, 45)] * 4))
def test_slices_mean_what_they_mean_to_an_array(
    tmp_path_factory: pytest.TempPathFactory, ends: tuple[int, int, int, int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "slices.tif"
    if not path.exists():
        write(path, numbers(4))
    place = (slice(ends[0], ends[1]), slice(ends[2], ends[3]))
    expected = np.moveaxis(numbers(4), 0, -1)[place]
    if 0 not in expected.shape:
        with scenes.open_scene(path) as scene:
            np.testing.assert_array_equal(scene.read(place), expected)
            assert scene.valid(place).shape == expected.shape[:2]


def test_a_scene_that_was_closed_says_so(tmp_path: Path) -> None:
    with scenes.open_scene(write(tmp_path / "s.tif", numbers(4))) as scene:
        part = scene.select(["red"])
    with pytest.raises(DataError, match="closed"):
        part.read(WHOLE)


def test_gdals_cache_is_bounded_whatever_the_machines_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rasterio._env import get_gdal_config

    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    scenes.open_scene(write(tmp_path / "s.tif", numbers(4))).close()
    assert int(get_gdal_config("GDAL_CACHEMAX")) == 128 * 2**20


@pytest.mark.parametrize(
    ("dtype", "fill"), [("int16", -9999), ("int16", -32768), ("float32", -9999)]
)
def test_fill_that_nobody_declared_is_no_data_and_is_said_d4(
    tmp_path: Path, dtype: str, fill: float
) -> None:
    values = numbers(4, dtype=dtype)
    values[:, :3, :5] = fill
    values[0, 20, 20] = fill  # no measurement, though one band alone has it
    with scenes.open_scene(write(tmp_path / "s.tif", values)) as scene:
        lost = ~scene.valid(WHOLE)
        assert lost[:3, :5].all()
        assert lost.sum() == 3 * 5 + 1
        assert lost[20, 20]
        assert any(f"{fill} in every band" in note for note in scene.notes)
    with scenes.open_scene(write(tmp_path / "t.tif", values, nodata=-1)) as scene:
        assert scene.valid(WHOLE).all()
        assert not any("in every band" in note for note in scene.notes)


# Simulated or not (C-10)


def test_a_tag_or_a_file_beside_says_that_a_scene_is_simulated_c10(tmp_path: Path) -> None:
    plain = write(tmp_path / "a" / "scenes" / "s.tif", numbers(4))
    tagged = write(tmp_path / "b" / "s.tif", numbers(4), tags={"FIELDSIGHT_SIMULATED": "1"})
    assert not scenes.open_scene(plain).simulated
    assert scenes.open_scene(tagged).simulated
    (tmp_path / "a" / "SIMULATED.json").write_text("{}")
    assert scenes.open_scene(plain).simulated


# Damaged files


def _jpeg() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (32, 32)).save(content, "JPEG")
    return content.getvalue()


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        packed.writestr("s.tif", b"x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (_jpeg(), "Received: a JPEG picture"), (_zip(), "zip archive"), (b"", "an empty file"),
        (b"<!DOCTYPE html><html>sign in</html>", "a web page"), (b"GARBAGE", "something else"),
        (b"II*\0\xff\xff\xff\x7f", "truncated header"), (b"II*\0", "truncated header"),
        (b"<VRTDataset rasterXSize='2'>", "GDAL can open"),
    ],
)  # fmt: skip
def test_what_is_no_raster_is_told_for_what_it_is(
    tmp_path: Path, content: bytes, told: str
) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told):
        scenes.open_scene(path)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no such path"):
        scenes.open_scene(tmp_path / "none.tif")
    with pytest.raises(DataError, match="no raster"):
        scenes.open_scene(tmp_path)


@pytest.mark.parametrize("form", [{}, {"BIGTIFF": "YES"}, {"tiled": True, "compress": "deflate"}])
def test_a_truncated_tiff_is_told_when_it_is_opened(tmp_path: Path, form: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 9999, (4, 300, 300)).astype("uint16")
    path = write(tmp_path / "s.tif", noise, **form)
    whole = path.read_bytes()
    scenes.open_scene(path).close()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        scenes.open_scene(path)


def test_a_window_that_is_damaged_is_told_with_its_place(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 9999, (4, 512, 512)).astype("uint16")
    path = write(tmp_path / "s.tif", noise, tiled=True, compress="deflate")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 5000] = b"\0" * 5000
    path.write_bytes(content)
    with (
        scenes.open_scene(path) as scene,
        pytest.raises(DataError, match=r"rows 0 to 512.*damaged"),
    ):
        scene.read(WHOLE)


# Real files


def test_real_landsat_is_never_taken_for_planets_red_green_blue(satellite: Path) -> None:
    path = satellite / "landsat8" / "LC08_L1TP_224078_20200518_20200518_01_RT.TIF"
    with pytest.raises(DataError, match="--bands blue,green,red"):
        scenes.open_scene(path)
    place = (slice(900, 1000), slice(50, 450))
    with scenes.open_scene(path, ["blue", "green", "red"]) as scene, rasterio.open(path) as peer:
        assert (scene.sensor, scene.date) == ("landsat", dt.date(2020, 5, 18))
        assert scene.reflectance is None  # level 1, without its metadata
        values = peer.read()
        np.testing.assert_array_equal(scene.read(place), np.moveaxis(values, 0, -1)[place])
        # 0 is fill in every Landsat product, though this file doesn't declare it.
        np.testing.assert_array_equal(scene.valid(WHOLE), (values > 0).all(axis=0))


def test_a_real_rotated_footprint_is_what_rasterio_says_it_is_d4(satellite: Path) -> None:
    path = satellite / "rasterio_landsat7" / "RGB.byte.tif"
    with scenes.open_scene(path) as scene, rasterio.open(path) as peer:
        assert scene.bands == ("red", "green", "blue")
        np.testing.assert_array_equal(scene.valid(WHOLE), peer.dataset_mask() > 0)
