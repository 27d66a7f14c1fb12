"""Pictures in full size with their own bits, as they are displayed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image, ImageOps

from fieldsight.datasets import stills
from fieldsight.datasets.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


def drawn() -> np.ndarray[Any, Any]:
    """White at the top left of black, 40 rows and 60 columns."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[4:16, 4:12] = 255
    return image


def write_raster(path: Path, bands: np.ndarray[Any, Any], driver: str = "GTiff", **kw: Any) -> None:
    with rasterio.open(
        path, "w", driver=driver, count=len(bands), height=bands.shape[1], width=bands.shape[2],
        dtype=bands.dtype.name, **kw,
    ) as file:  # fmt: skip
        file.write(bands)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_a_turned_picture_is_read_as_pillow_displays_it(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(drawn()).save(path, exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    header = stills.header(path)
    assert header.stored == (40, 60)
    assert header.size == shown.shape[:2]
    np.testing.assert_array_equal(stills.read(path), shown)
    part = (slice(2, 9), slice(3, 30))
    np.testing.assert_array_equal(stills.read(path, part), shown[part])


@pytest.mark.parametrize(
    ("mode", "channels", "dtype"),
    [
        ("1", 1, "uint8"), ("L", 1, "uint8"), ("LA", 1, "uint8"), ("P", 3, "uint8"),
        ("RGB", 3, "uint8"), ("RGBA", 3, "uint8"), ("CMYK", 3, "uint8"), ("YCbCr", 3, "uint8"),
        ("I;16", 1, "uint16"), ("I", 1, "uint16"),
    ],
)  # fmt: skip
def test_every_mode_has_one_channel_or_three(
    tmp_path: Path, mode: str, channels: int, dtype: str
) -> None:
    path = tmp_path / "a.tiff"
    image = Image.fromarray(drawn())
    (image.convert("L").convert(mode) if mode[0] == "I" else image.convert(mode)).save(path)
    header, read = stills.header(path), stills.read(path)
    assert (header.channels, header.dtype) == (channels, dtype)
    assert (read.shape, read.dtype.name) == ((40, 60, channels), dtype)
    assert read[10, 8].min() > 250
    assert read[30, 40].max() < 5


@pytest.mark.parametrize(("suffix", "bits"), [("png", 14), ("tif", 14), ("png", 16), ("tif", 16)])
def test_grey_of_more_bits_keeps_every_value(tmp_path: Path, suffix: str, bits: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (40, 60)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    read = stills.read(tmp_path / f"a.{suffix}")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read[..., 0], values)


@pytest.mark.parametrize("driver", ["GTiff", "PNG"])
def test_colour_of_16_bits_isnt_cut_to_8(tmp_path: Path, driver: str) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (3, 30, 20)).astype(np.uint16)
    write_raster(tmp_path / "a.tif", values)
    path = tmp_path / "a.tif"
    if driver == "PNG":
        path = tmp_path / "a.png"
        rasterio.shutil.copy(tmp_path / "a.tif", path, driver="PNG")
    assert stills.header(path).dtype == "uint16"
    np.testing.assert_array_equal(stills.read(path), np.moveaxis(values, 0, -1))


@pytest.mark.parametrize("driver", ["GTiff", "PNG"])
def test_colour_that_leaves_its_16_bits_empty_is_scaled_to_them(
    tmp_path: Path, driver: str
) -> None:
    # 12 bits, as cameras have them, in 16: white is 4,095.
    values = np.full((3, 40, 30), 4095, np.uint16)
    values[0, :20], values[1, :20], values[2, :20] = 0, 1024, 2048
    write_raster(tmp_path / "a.tif", values)
    path = tmp_path / "a.tif"
    if driver == "PNG":
        path = tmp_path / "a.png"
        rasterio.shutil.copy(tmp_path / "a.tif", path, driver="PNG")
    read = stills.read(path)
    assert (read[0, 0] >> 8).tolist() == [0, 64, 128]
    assert (read[39, 29] >> 8).tolist() == [255, 255, 255]


@pytest.mark.parametrize("offset", [0.0, 273.15])
def test_temperatures_become_hundredths_of_a_kelvin(tmp_path: Path, offset: float) -> None:
    celsius = np.full((1, 6, 5), 20.0, np.float32)
    celsius[0, 2, 2], celsius[0, 3, 3] = 37.25, np.nan
    write_raster(tmp_path / "a.tif", celsius + np.float32(offset))
    read = stills.read(tmp_path / "a.tif")
    assert read.dtype == np.uint16
    # 293.15 K, 310.40 K, and nothing.
    assert [int(read[0, 0, 0]), int(read[2, 2, 0]), int(read[3, 3, 0])] == [29315, 31040, 0]


@pytest.mark.parametrize("colour", [255, 100])
def test_what_is_transparent_is_black(tmp_path: Path, colour: int) -> None:
    image = np.full((20, 30, 4), colour, np.uint8)
    image[..., 3] = 255
    image[:, :10, 3] = 0
    Image.fromarray(image).save(tmp_path / "a.png")
    read = stills.read(tmp_path / "a.png")
    assert read[5, 5].tolist() == [0, 0, 0]
    assert read[5, 20].tolist() == [colour] * 3


def test_a_palette_with_a_transparent_colour_is_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(drawn()).convert("P")
    image.save(tmp_path / "a.png", transparency=image.getpixel((8, 10)))
    assert stills.read(tmp_path / "a.png").max() == 0


def test_a_part_of_a_large_tiff_is_read_alone(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (3, 64, 96)).astype(np.uint8)
    write_raster(tmp_path / "a.tif", values, photometric="RGB")
    part = (slice(10, 20), slice(60, 96))
    np.testing.assert_array_equal(
        stills.read(tmp_path / "a.tif", part), np.moveaxis(values, 0, -1)[part]
    )


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_a_truncated_picture_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"a\.\w+: .*(damaged|truncated).*Copy"):
        stills.read(path)


def test_numbers_beyond_16_bits_are_told(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 70_000, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"0 to 65,535 were needed\. Received: 70000 to 70000"):
        stills.read(tmp_path / "a.tif")


def test_bands_without_colours_are_told(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", np.zeros((6, 8, 8), np.uint16), photometric="MINISBLACK")
    with pytest.raises(DataError, match=r"red, green and blue were needed\. Received: 6 bands"):
        stills.read(tmp_path / "a.tif")
