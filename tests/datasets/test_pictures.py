import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.pictures import LARGEST_PIXELS, Picture, read_picture

# How a picture is stored so that this orientation shows it upright (EXIF 2.3, table 6).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def drawn() -> np.ndarray:
    """Black at the top left of white, 40 high and 60 wide."""
    image = np.full((40, 60, 3), 255, np.uint8)
    image[4:16, 4:12] = 0
    return image


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_pictures_are_read_as_they_are_displayed(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    image = Image.fromarray(drawn())
    how = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    (image if how is None else image.transpose(how)).save(path, exif=exif)
    picture = read_picture(path)
    assert (picture.height, picture.width, picture.scale) == (40, 60, 1.0)
    assert np.abs(picture.image.astype(int) - drawn()).mean() < 3
    small = read_picture(path, max_pixels=600)
    assert small.image.shape == (20, 30, 3)
    assert (small.height, small.width, small.scale) == (40, 60, 2.0)
    assert small.image[3:7, 3:5].max() < 60
    assert small.image[10:].min() > 200


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I", "F"])
def test_every_mode_shows_black_on_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(drawn()).convert(mode).save(path)
    image = read_picture(path).image
    assert image.shape == (40, 60, 3)
    assert image[10, 8].max() < 5
    assert image[30, 40].min() > 250


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled_to_the_bits_it_uses(
    tmp_path: Path, suffix: str, white: int
) -> None:
    grey = np.full((40, 60), white, np.uint16)
    grey[10:20] = white // 2
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    image = read_picture(tmp_path / f"a.{suffix}").image
    assert image[0, 0].tolist() == [255] * 3
    assert image[15, 15].tolist() == [127] * 3


@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (255, 0), (60, 255), (230, 0)])
def test_transparent_pictures_get_the_ground_that_shows_their_ink(
    tmp_path: Path, ink: int, ground: int
) -> None:
    image = np.zeros((40, 60, 4), np.uint8)
    image[4:16, 4:12] = [ink, ink, ink, 255]
    Image.fromarray(image).save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png").image
    assert read[30, 40].tolist() == [ground] * 3
    assert read[10, 8].tolist() == [ink] * 3


@pytest.mark.parametrize(("paper", "ink"), [(240, 30), (25, 220)])
def test_paper_with_transparent_margins_goes_on_as_paper(
    tmp_path: Path, paper: int, ink: int
) -> None:
    image = np.zeros((40, 60, 4), np.uint8)
    image[5:-5, 5:-5] = [paper, paper, paper, 255]
    image[10:25, 10:25, :3] = ink
    Image.fromarray(image).save(tmp_path / "a.png")
    corner = int(read_picture(tmp_path / "a.png").image[0, 0, 0])
    assert abs(corner - paper) < abs(corner - ink)


def test_the_first_frame_of_several_is_read(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (200, 100, 0)]
    frames[0].save(tmp_path / "a.tiff", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "a.tiff").image[0, 0, 0] == 200


def test_boxes_go_back_to_the_pixels_of_the_displayed_picture() -> None:
    picture = Picture(np.zeros((20, 30, 3), np.uint8), 2.0, 40, 59, Path("a.png"))
    assert picture.displayed(np.array([[0, 1, 30, 4.5]])).tolist() == [[0, 2, 59, 9]]
    assert picture.displayed(np.zeros((0, 4))).shape == (0, 4)


def truncated() -> bytes:
    import io

    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()[:3000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"digits: 1 2 3\n", "needs to be a picture. Received: content of no known"),
        (b"", "needs to be a picture. Received: an empty file"),
        (truncated(), "damaged or truncated"),
        (b"\x89PNG\r\n\x1a\n", "damaged or truncated|no known picture format"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "damaged or truncated|no known picture format"),
    ],
)
def test_files_that_are_no_pictures_are_told_in_a_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Received: a folder"):
        read_picture(tmp_path)
    with pytest.raises(DataError, match="Received: no such file"):
        read_picture(tmp_path / "nothing.png")


def test_a_file_without_permission_is_told(
    locked: Path, unprivileged: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    with unprivileged(), pytest.raises(DataError, match=r"can't be read\. Received: permission"):
        read_picture(locked / "picture.png")


def test_a_picture_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = int(LARGEST_PIXELS**0.5) + 2
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="at most 150 million pixels"):
        read_picture(tmp_path / "a.png")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_hundred_megapixels_need_bounded_memory(tmp_path: Path) -> None:
    Image.new("L", (10_000, 10_000), 255).save(tmp_path / "a.png", compress_level=1)
    Image.new("RGB", (10_000, 10_000), "white").save(tmp_path / "a.jpg", quality=40)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from fieldsight.datasets.pictures import read_picture\n"
        # Not getrusage: its peak is inherited from the process that started this one.
        "status = lambda: Path('/proc/self/status').read_text()\n"
        "peak = lambda: int(status().split('VmHWM:')[1].split()[0]) // 1024\n"
        "for path in sys.argv[1:]:\n"
        "    picture = read_picture(path)\n"
        "    print(peak(), *picture.image.shape, picture.width)\n"
    )
    paths = [str(tmp_path / "a.jpg"), str(tmp_path / "a.png")]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True
    )
    jpeg, png = (list(map(int, line.split())) for line in done.stdout.splitlines())
    # Decoded whole, the JPEG needs 400 MB; the grey PNG can't take less than 100 MB.
    assert jpeg[0] < 300
    assert png[0] < 400
    assert jpeg[1] * jpeg[2] <= 6_010_000
    assert jpeg[4] == png[4] == 10_000
