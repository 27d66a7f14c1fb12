"""Scenes in folders: Landsat, Sentinel-2, Planet, band files, an EOPatch; their clouds."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import Resampling

from fieldsight.datasets import scenes
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.scenes import Reflectance
from fieldsight.datasets.scenes._eopatch import interpolated

Array = NDArray[Any]
WHOLE = (slice(None), slice(None))
LANDSAT = "LC08_L2SP_224078_20200518_20200820_02_T1"
SAFE = "S2A_MSIL2A_20220518T134211_N0400_R124_T21JYM_20220518T171234.SAFE"
TILE = "T21JYM_20220518T134211"


def write(path: Path, values: Array, side: float = 30, **settings: Any) -> Path:
    """One band, or `(bands, rows, columns)`, with pixels of `side` metres from one corner."""
    values = values[None] if values.ndim == 2 else values
    form = {"driver": "JP2OpenJPEG", "REVERSIBLE": "YES", "QUALITY": "100"}
    if path.suffix.lower() != ".jp2":
        form = {"driver": "GTiff"}
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": "EPSG:32621", "transform": Affine(side, 0, 600_000, 0, -side, 7_000_000)}
    with rasterio.open(
        path, "w", count=len(values), height=values.shape[1], width=values.shape[2],
        dtype=values.dtype, **{**form, **place, **settings},
    ) as file:  # fmt: skip
        file.write(values)
    return path


def flat(value: int, rows: int = 8, columns: int = 8, dtype: str = "uint16") -> Array:
    return np.full((rows, columns), value, dtype)


# Landsat


MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = IMAGE_ATTRIBUTES
    SUN_ELEVATION = 30.0
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    REFLECTANCE_MULT_BAND_4 = 2.75e-05
    REFLECTANCE_MULT_BAND_5 = 2.75e-05
    REFLECTANCE_ADD_BAND_4 = -0.2
    REFLECTANCE_ADD_BAND_5 = -0.2
  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_4 = 2.0000E-05
    REFLECTANCE_MULT_BAND_5 = 2.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
    REFLECTANCE_ADD_BAND_5 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""


def landsat(folder: Path, product: str = LANDSAT, mtl: str = ".txt") -> Path:
    kind = "SR_B" if "_L2" in product else "B"
    for number in range(1, 8):
        write(folder / f"{product}_{kind}{number}.TIF", flat(7000 + 1000 * number))
    tree: dict[str, dict[str, str]] = {}
    for line in MTL.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            group = tree.setdefault(value, {})
        elif value and key != "END_GROUP":
            group[key] = value
    del tree["LANDSAT_METADATA_FILE"]
    if mtl == ".txt":
        (folder / f"{product}_MTL.txt").write_text(MTL)
    if mtl == ".json":
        (folder / f"{product}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": tree}))
    if mtl == ".xml":
        inner = "".join(
            f"<{name}>" + "".join(f"<{k}>{v}</{k}>" for k, v in group.items()) + f"</{name}>"
            for name, group in tree.items()
        )
        text = f"<LANDSAT_METADATA_FILE>{inner}</LANDSAT_METADATA_FILE>"
        (folder / f"{product}_MTL.xml").write_text(text)
    return folder


@pytest.mark.parametrize("mtl", [".txt", ".json", ".xml", ""])
def test_landsat_level_2_is_reflectance_by_its_metadata_d12(tmp_path: Path, mtl: str) -> None:
    with scenes.open_scene(landsat(tmp_path, mtl=mtl), ["red", "nir"]) as scene:
        assert (scene.sensor, scene.date) == ("landsat", dt.date(2020, 5, 18))
        assert scene.name == LANDSAT
        assert scene.read(WHOLE)[0, 0].tolist() == [11_000, 12_000]
        assert scene.reflectance is not None
        assert scene.reflectance.level == "surface"
        # 0.0000275 x 11,000 - 0.2 = 0.1025; 12,000 gives 0.13.
        found = scene.reflectance.of(scene.read(WHOLE))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found[0, 0], [0.1025, 0.13], atol=1e-6)


def test_landsat_without_names_is_the_seven_bands_of_the_surface_d1(tmp_path: Path) -> None:
    with scenes.open_scene(landsat(tmp_path, mtl="")) as scene:
        assert scene.bands == ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")


def test_landsat_7_numbers_its_bands_otherwise_d1(tmp_path: Path) -> None:
    landsat(tmp_path, "LE07_L2SP_224078_20000518_20200918_02_T1", mtl="")
    with scenes.open_scene(tmp_path) as scene:
        assert scene.bands == ("blue", "green", "red", "nir", "swir1", "swir2")
        assert scene.select(["nir"]).read(WHOLE)[0, 0, 0] == 11_000  # band 4
        assert scene.select(["swir2"]).read(WHOLE)[0, 0, 0] == 14_000  # band 7


def test_landsat_level_1_is_divided_by_the_sine_of_the_sun_d12(tmp_path: Path) -> None:
    product = "LC08_L1TP_224078_20200518_20200820_02_T1"
    with scenes.open_scene(landsat(tmp_path, product), ["red", "nir"]) as scene:
        assert scene.reflectance is not None
        assert scene.reflectance.level == "top of atmosphere"
        # (0.00002 x 11,000 - 0.1) / sin 30 = 0.24
        assert math.isclose(scene.reflectance.of(scene.read(WHOLE))[0, 0, 0], 0.24, abs_tol=1e-6)
    with scenes.open_scene(landsat(tmp_path / "plain", product, mtl="")) as scene:
        assert scene.reflectance is None


def test_qa_pixels_bits_are_clouds_and_fill_d12(tmp_path: Path) -> None:
    # USGS's table: 1 fill; 21824 clear; 21826 dilated cloud; 22280 cloud; 23888 cloud shadow;
    # 54596 cirrus; 30048 snow over clear; 21952 water.
    codes = np.array([[1, 21824, 21826, 22280], [23888, 54596, 30048, 21952]], np.uint16)
    for number in (4, 5):
        values = flat(9000, 2, 4)
        values[0, 0] = 0
        write(tmp_path / f"{LANDSAT}_SR_B{number}.TIF", values)
    write(tmp_path / f"{LANDSAT}_QA_PIXEL.TIF", codes)
    with scenes.open_scene(tmp_path, ["red", "nir"]) as scene:
        clouds = scene.clouds(WHOLE)
        assert clouds is not None
        assert clouds.tolist() == [[False, False, True, True], [True, True, False, False]]
        assert scene.valid(WHOLE).tolist() == [[False] + [True] * 3, [True] * 4]


def test_one_band_of_a_product_is_opened_with_what_is_known_of_it(tmp_path: Path) -> None:
    landsat(tmp_path)
    with scenes.open_scene(tmp_path / f"{LANDSAT}_SR_B5.TIF") as scene:
        assert scene.bands == ("nir",)
        assert scene.reflectance == Reflectance(
            (2.75e-5,), (-0.2,), "surface", f"{LANDSAT}_MTL.txt"
        )


@pytest.mark.parametrize("mtl", [".txt", ".xml", ".json"])
def test_a_products_metadata_stand_for_its_folder(tmp_path: Path, mtl: str) -> None:
    landsat(tmp_path, mtl=mtl)
    landsat(tmp_path, LANDSAT.replace("20200518", "20210521"))
    scene = scenes.open_scene(tmp_path / f"{LANDSAT}_MTL{mtl}", ["red", "nir"])
    assert (scene.name, scene.bands) == (LANDSAT, ("red", "nir"))
    assert scene.reflectance is not None


def test_two_products_in_a_folder_are_refused_with_their_names(tmp_path: Path) -> None:
    landsat(tmp_path)
    landsat(tmp_path, LANDSAT.replace("20200518", "20210521"))
    with pytest.raises(DataError, match=r"20200518.*20210521.*folder of its own"):
        scenes.open_scene(tmp_path)


def test_metadata_that_are_damaged_are_told(tmp_path: Path) -> None:
    landsat(tmp_path)
    (tmp_path / f"{LANDSAT}_MTL.txt").write_text(MTL.replace("2.75e-05", "n/a"))
    with pytest.raises(DataError, match="REFLECTANCE_MULT_BAND_4, a number"):
        scenes.open_scene(tmp_path, ["red"])


# Sentinel-2


def metadata(baseline: str, offset: str = "") -> str:
    return f"""<?xml version="1.0"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product.xsd">
 <n1:General_Info>
  <Product_Info><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
   <IMAGE_FILE>../../../../etc/passwd</IMAGE_FILE></Product_Info>
  <Product_Image_Characteristics>
   <QUANTIFICATION_VALUES_LIST>
    <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
   </QUANTIFICATION_VALUES_LIST>{offset}
  </Product_Image_Characteristics>
 </n1:General_Info>
</n1:Level-2A_User_Product>"""


OFFSETS = "".join(f'<BOA_ADD_OFFSET band_id="{n}">-1000</BOA_ADD_OFFSET>' for n in range(13))


def safe(folder: Path, text: str | None, name: str = SAFE, ending: str = ".jp2") -> Path:
    """A product of 40 x 40 pixels of 10 m: red 10 m, swir1 20 m, SCL 20 m."""
    root = folder / name
    images = root / "GRANULE" / "L2A_T21JYM_A036000_20220518T134211" / "IMG_DATA"
    for band in ("B02", "B03", "B04", "B08"):
        write(images / "R10m" / f"{TILE}_{band}_10m{ending}", flat(2500, 40, 40), 10)
    for band in ("B04", "B11"):
        write(images / "R20m" / f"{TILE}_{band}_20m{ending}", flat(3000, 20, 20), 20)
    scl = np.resize(np.arange(12, dtype="uint8"), (20, 20))
    write(images / "R20m" / f"{TILE}_SCL_20m{ending}", scl, 20)
    write(images / "R10m" / f"{TILE}_TCI_10m{ending}", np.zeros((3, 40, 40), "uint8"), 10)
    if text is not None:
        (root / "MTD_MSIL2A.xml").write_text(text)
    return root


@pytest.mark.parametrize(
    ("baseline", "offset", "expected"),
    [("04.00", OFFSETS, 0.15), ("05.09", OFFSETS, 0.15), ("02.14", "", 0.25), ("03.01", "", 0.25)],
)
def test_sentinel_2s_offset_is_that_of_its_baseline_d12(
    tmp_path: Path, baseline: str, offset: str, expected: float
) -> None:
    with scenes.open_scene(safe(tmp_path, metadata(baseline, offset)), ["red"]) as scene:
        assert (scene.sensor, scene.date) == ("sentinel2", dt.date(2022, 5, 18))
        assert scene.reflectance is not None
        # (2500 - 1000) / 10000, or 2500 / 10000
        found = scene.reflectance.of(scene.read(WHOLE))[0, 0, 0]
        assert math.isclose(found, expected, abs_tol=1e-6)


def test_without_metadata_the_products_name_tells_the_baseline_d12(tmp_path: Path) -> None:
    images = safe(tmp_path, None) / "GRANULE" / "L2A_T21JYM_A036000_20220518T134211" / "IMG_DATA"
    with scenes.open_scene(images / "R10m", ["red"]) as scene:
        assert scene.reflectance is not None
        assert scene.reflectance.offset == (-0.1,)
        assert "04.00" in scene.reflectance.source


def test_loose_band_files_have_no_reflectance_unless_their_baseline_is_sure_d12(
    tmp_path: Path,
) -> None:
    def opened(name: str) -> scenes.Scene:
        path = write(tmp_path / name.split(".")[0] / name, flat(2500), 10)
        return scenes.open_scene(path.parent)

    # ESA's own files since 25 January 2022 are all of 04.00 or later; older ones were processed
    # again by some and not by others; what was converted may have lost its offset.
    sure = opened("T21JYM_20220518T134211_B04_10m.jp2").reflectance
    assert sure == Reflectance((1e-4,), (-0.1,), "surface", "a processing baseline from 04.00 on, "
                               "by its date")  # fmt: skip
    for name in ("T21JYM_20200518T134211_B04_10m.jp2", "T21JYM_20220518T134211_B04_20m.tif"):
        scene = opened(name)
        assert scene.bands == ("red",)
        assert scene.reflectance is None
        assert any("MTD_MSIL2A.xml" in note for note in scene.notes)


def test_metadata_beside_loose_band_files_tell_their_reflectance_d12(tmp_path: Path) -> None:
    write(tmp_path / "B04.tif", flat(2500), 10)
    (tmp_path / "MTD_MSIL2A.xml").write_text(metadata("04.00", OFFSETS))
    found = scenes.open_scene(tmp_path).reflectance
    assert found is not None
    assert (found.scale, found.offset) == ((1e-4,), (-0.1,))


def test_bands_of_20_m_are_brought_to_the_grid_of_10_m(tmp_path: Path) -> None:
    # A slope: halfway between two pixels of 20 m lies the mean of both.
    centres = np.arange(20) * 20 + 10
    slope = np.broadcast_to(1000 + centres * 4, (20, 20)).astype("uint16")
    write(tmp_path / "B11.tif", slope, 20)
    write(tmp_path / "B04.tif", flat(2500, 40, 40), 10)
    with scenes.open_scene(tmp_path) as scene:
        assert scene.bands == ("red", "swir1")
        assert scene.shape == (40, 40, 2)
        assert scene.grid.transform.a == 10
        found = scene.read(WHOLE)[:, 1:-1, 1].astype(int)
        expected = 1000 + (np.arange(40) * 10 + 5)[1:-1] * 4
        assert np.abs(found - expected).max() <= 1
        assert scene.valid(WHOLE).all()
        assert any("swir1 was brought from 20 to 10" in note for note in scene.notes)


def test_what_is_brought_to_a_finer_grid_is_what_gdal_makes_of_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 9999, (30, 20)).astype("uint16")
    path = write(tmp_path / "B11.tif", noise, 20)
    write(tmp_path / "B04.tif", flat(2500, 60, 40), 10)
    with rasterio.open(path) as file:
        peer = file.read(1, out_shape=(60, 40), resampling=Resampling.bilinear)
    with scenes.open_scene(tmp_path, ["swir1", "red"]) as scene:
        found = scene.read(WHOLE)[..., 0]
        assert np.abs(found.astype(int) - peer.astype(int)).max() <= 1  # of halves


def test_where_the_nearest_pixel_is_nodata_so_is_the_finer_one_d4(tmp_path: Path) -> None:
    values = flat(500, 4, 4)
    values[1, 1] = 0
    write(tmp_path / "B11.tif", values, 20)
    write(tmp_path / "B04.tif", flat(2500, 8, 8), 10)
    with scenes.open_scene(tmp_path) as scene:
        found = scene.read(WHOLE)[..., 1]
        assert found[2:4, 2:4].tolist() == [[0, 0], [0, 0]]
        assert (found == 500).sum() == 60  # and none is darkened by it
        np.testing.assert_array_equal(scene.valid(WHOLE), found > 0)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.tuples(*[st.integers(0, 1100)] * 2), st.tuples(*[st.integers(1, 300)] * 2))
def test_a_resampled_band_doesnt_depend_on_the_window_d6(
    tmp_path_factory: pytest.TempPathFactory, begin: tuple[int, int], size: tuple[int, int]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "brought"
    if not folder.exists():
        noise = np.random.default_rng(0).integers(0, 9999, (600, 600)).astype("uint16")
        noise[noise < 500] = 0  # holes of nodata
        write(folder / "B11.tif", noise, 20)
        write(folder / "B04.tif", flat(2500, 1200, 1200), 10)
    with scenes.open_scene(folder) as scene:
        whole = scene.read(WHOLE)
        place = tuple(slice(b, min(b + s, 1200)) for b, s in zip(begin, size, strict=True))
        np.testing.assert_array_equal(scene.read((place[0], place[1])), whole[place])


def test_scl_tells_clouds_shadows_and_what_wasnt_seen_d12(tmp_path: Path) -> None:
    with scenes.open_scene(safe(tmp_path, metadata("04.00", OFFSETS)), ["red", "swir1"]) as scene:
        clouds, valid = scene.clouds(WHOLE), scene.valid(WHOLE)
        assert clouds is not None
        assert clouds.shape == valid.shape == (40, 40)
        # Classes 0 to 11 stand side by side in the first row, each two pixels wide.
        seen = [int(n) for n in np.flatnonzero(clouds[0, :24:2])]
        assert seen == [3, 8, 9, 10]
        assert [int(n) for n in np.flatnonzero(~valid[0, :24:2])] == [0]


def test_the_finest_file_of_a_band_is_taken_and_pictures_are_left(tmp_path: Path) -> None:
    with scenes.open_scene(safe(tmp_path, metadata("04.00", OFFSETS))) as scene:
        assert scene.bands == ("blue", "green", "red", "nir", "swir1")
        assert scene.select(["red"]).read(WHOLE)[0, 0, 0] == 2500  # of R10m, not R20m


def test_metadata_with_entities_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    text = metadata("04.00", OFFSETS).replace('<?xml version="1.0"?>', bomb)
    with pytest.raises(DataError, match=r"MTD_MSIL2A.xml.*metadata in XML"):
        scenes.open_scene(safe(tmp_path, text))


def test_a_safe_folder_without_pictures_and_two_of_them_are_told(tmp_path: Path) -> None:
    safe(tmp_path, None)
    other = safe(tmp_path, None, SAFE.replace("20220518T13", "20220523T13"))
    with pytest.raises(DataError, match="one Sentinel-2 product"):
        scenes.open_scene(tmp_path)
    for path in other.rglob("*.jp2"):
        path.unlink()
    (other / "MTD_MSIL2A.xml").write_text(metadata("04.00", OFFSETS))
    with pytest.raises(DataError, match="metadata without GRANULE"):
        scenes.open_scene(other)


def test_a_band_that_isnt_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"red_edge.*Received: blue,green,red,nir,swir1"):
        scenes.open_scene(safe(tmp_path, None), ["red", "red_edge"])


# Files named for their band


def test_files_named_for_their_band_are_a_scene_d1(tmp_path: Path) -> None:
    for number, band in enumerate(("red", "nir", "green", "near_infrared_x")):
        write(tmp_path / f"site_20200518_{band}.tif", flat(100 + number), nodata=0)
    with scenes.open_scene(tmp_path, ["nir", "red"]) as scene:
        assert scene.read(WHOLE)[0, 0].tolist() == [101, 100]
        assert (scene.name, scene.date) == ("site_20200518", dt.date(2020, 5, 18))
        assert scene.clouds(WHOLE) is None
    with scenes.open_scene(tmp_path) as scene:
        assert scene.bands == ("green", "red", "nir")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"crs": "EPSG:32622"}, "CRS of the others, EPSG:32621"),
        ({"transform": Affine(30, 0, 700_000, 0, -30, 7_000_000)}, "the same ground"),
    ],
)
def test_bands_of_different_places_are_refused(
    tmp_path: Path, other: dict[str, Any], told: str
) -> None:
    write(tmp_path / "red.tif", flat(1))
    write(tmp_path / "nir.tif", flat(1), **other)
    with pytest.raises(DataError, match=told):
        scenes.open_scene(tmp_path)


def test_bands_of_two_scenes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a_red.tif", flat(1))
    write(tmp_path / "b_nir.tif", flat(1))
    with pytest.raises(DataError, match=r"bands of one scene.*a, b"):
        scenes.open_scene(tmp_path)


# Planet


def planet(folder: Path, name: str = "20200518_134211_0f28_3B_AnalyticMS_SR.tif") -> Path:
    return write(folder / name, np.full((4, 8, 8), 1234, "uint16"), 3, nodata=0)


def udm2(folder: Path, **settings: Any) -> Path:
    values = np.zeros((8, 8, 8), "uint8")
    values[0] = 1
    for row, band in enumerate((1, 2, 3, 4, 5)):  # snow, shadow, light haze, heavy haze, cloud
        values[band, row], values[0, row] = 1, 0
    values[7, 7, 0], values[7, 7, 1] = 1, 2  # black fill; a fault that isn't
    return write(folder / "20200518_134211_0f28_3B_udm2.tif", values, 3, **settings)


def test_planets_udm2_beside_a_scene_tells_its_clouds_d12(tmp_path: Path) -> None:
    path = planet(tmp_path)
    udm2(tmp_path)
    for opened in (path, tmp_path):  # a delivery is a folder, too
        with scenes.open_scene(opened) as scene:
            clouds = scene.clouds(WHOLE)
            assert clouds is not None
            assert np.flatnonzero(clouds.any(axis=1)).tolist() == [2 - 1, 4 - 1, 5 - 1]
            assert np.argwhere(~scene.valid(WHOLE)).tolist() == [[7, 0]]
            assert scene.reflectance is not None
            found = scene.reflectance.of(scene.read(WHOLE))[0, 0, 0]
            assert math.isclose(found, 0.1234, abs_tol=1e-6)


def test_a_udm2_of_another_scene_isnt_taken_and_one_elsewhere_is_refused(tmp_path: Path) -> None:
    other = planet(tmp_path, "20200518_134211_0f28x_3B_AnalyticMS_SR.tif")
    udm2(tmp_path)
    with scenes.open_scene(other) as scene:
        assert scene.clouds(WHOLE) is None
    udm2(tmp_path, transform=Affine(3, 0, 650_000, 0, -3, 7_000_000))
    with pytest.raises(DataError, match="same ground"):
        scenes.open_scene(planet(tmp_path))


def test_planets_radiance_is_reflectance_by_its_coefficients_d12(tmp_path: Path) -> None:
    path = planet(tmp_path, "20200518_134211_0f28_3B_AnalyticMS.tif")
    assert scenes.open_scene(path).reflectance is None
    bands = "".join(
        f"<ps:bandSpecificMetadata><ps:bandNumber>{n}</ps:bandNumber>"
        f"<ps:reflectanceCoefficient>{n}e-5</ps:reflectanceCoefficient></ps:bandSpecificMetadata>"
        for n in (1, 2, 3, 4)
    )
    text = f'<ps:Earth xmlns:ps="http://schemas.planet.com/ps/v1">{bands}</ps:Earth>'
    (tmp_path / "20200518_134211_0f28_3B_AnalyticMS_metadata.xml").write_text(text)
    found = scenes.open_scene(path).reflectance
    assert found is not None
    assert (found.scale, found.level) == ((1e-5, 2e-5, 3e-5, 4e-5), "top of atmosphere")


# An EOPatch


def test_between_two_clear_dates_a_value_lies_on_their_line() -> None:
    # Days 0, 10, 40, 50: 10 lies a quarter of the way from 0 to 40; beyond the ends it is held.
    values = np.array([[0.2, 9, 9, 9], [9, 9, 9, 0.3], [0.6, 0.5, 9, 0.4], [9, 9, 9, 0.5]])
    clear = values < 1
    found = interpolated(values.astype("float32"), clear, np.array([0.0, 10, 40, 50]))
    np.testing.assert_allclose(found[:, 0], [0.2, 0.3, 0.6, 0.6], atol=1e-6)
    np.testing.assert_allclose(found[:, 1], 0.5)
    assert np.isnan(found[:, 2]).all()
    np.testing.assert_allclose(found[:, 3], [0.3, 0.3, 0.4, 0.5])


def test_the_real_series_of_slovenia_is_a_scene_of_68_bands(satellite: Path) -> None:
    folder = satellite / "ndvi_slovenia"
    raw = np.load(folder / "data" / "NDVI.npy")[..., 0]
    cloudy = np.load(folder / "mask" / "CLM.npy")[..., 0] > 0
    with scenes.open_scene(folder) as scene:
        assert scene.shape == (101, 100, 68)
        assert scene.bands[:2] == ("ndvi_20150711", "ndvi_20150731")
        assert scene.bands[7:9] == ("ndvi_20151208", "ndvi_20151208_2")  # twice that day
        assert len(set(scene.bands)) == 68
        values = scene.read(WHOLE)
        assert values.dtype == np.float32
        clear = np.moveaxis(~cloudy, 0, -1)
        np.testing.assert_array_equal(values[clear], np.moveaxis(raw, 0, -1)[clear])
        np.testing.assert_array_equal(scene.valid(WHOLE), clear.any(axis=-1))
        part = (slice(7, 19), slice(50, 90))
        np.testing.assert_array_equal(scene.read(part), values[part])
        # 100 columns over 999.479 m, 101 rows over 1009.742 m, by the box's corners.
        assert scene.grid.crs.to_epsg() == 32633
        np.testing.assert_allclose([scene.grid.transform.a, scene.grid.transform.e],
                                   [9.99479, -9.99745], atol=1e-5)  # fmt: skip


def test_the_real_land_cover_is_a_map_of_labels_on_the_same_grid(satellite: Path) -> None:
    folder = satellite / "ndvi_slovenia"
    labels = scenes.open_labels(folder)
    assert labels.grid == scenes.open_scene(folder).grid
    counts = dict(zip(*np.unique(labels.values, return_counts=True), strict=True))
    assert counts == {0: 155, 1: 11, 2: 7601, 3: 1777, 4: 358, 8: 198}
    assert labels.names[2] == "forest"


def test_arrays_that_could_run_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "bbox.geojson").write_text("{}")
    (tmp_path / "timestamps.json").write_text('["2020-05-18T00:00:00"]')
    np.save(tmp_path / "data" / "NDVI.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="NumPy's format"):
        scenes.open_scene(tmp_path)


# Labels


def test_labels_are_a_raster_of_classes_with_nodata_0(tmp_path: Path) -> None:
    path = write(tmp_path / "classes.tif", np.array([[1, 2], [255, 3]], "uint8"), nodata=255)
    with rasterio.open(path, "r+") as file:
        file.update_tags(CLASSES="nodata,forest,clearing,water")
        file.write_colormap(1, {1: (0, 90, 0, 255), 2: (250, 200, 90, 255)})
    labels = scenes.open_labels(path)
    assert labels.values.tolist() == [[1, 2], [0, 3]]
    assert labels.names == {1: "forest", 2: "clearing", 3: "water"}
    assert labels.colours[2] == (250, 200, 90, 255)


def test_a_picture_is_no_map_of_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "rgb.tif", np.zeros((3, 4, 4), "uint8"))
    with pytest.raises(DataError, match="a class each"):
        scenes.open_labels(path)
