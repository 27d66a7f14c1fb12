"""What a model is run on: found, told apart, and read frame by frame, with broken ones told."""

import socket
import struct
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from fieldsight.datasets import frames
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.frames import Input, live

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


def grey(path: Path, level: int = 100, size: tuple[int, int] = (64, 48), **saved: Any) -> Path:
    """A picture of one grey; size is columns and rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(path, **saved)
    return path


def write_tiff(path: Path, bands: np.ndarray[Any, Any], **settings: Any) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2],
        dtype=bands.dtype.name, **settings,
    ) as file:  # fmt: skip
        file.write(bands)
    return path


def write_video(
    path: Path,
    images: list[np.ndarray[Any, Any]],
    codec: str = "mpeg4",
    stored: str = "yuv420p",
    rate: int = 10,
) -> Path:
    """A video of `(rows, columns)` grey images."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape
        stream.pix_fmt = stored
        for image in images:
            kind = "gray16le" if image.dtype == np.uint16 else "gray"
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format=kind)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def only(paths: Any, **settings: Any) -> Input:
    found = frames.find(paths, **settings)
    assert len(found) == 1, [item.name for item in found]
    return found.items[0]


def seconds(shots: list[frames.Shot]) -> np.ndarray[Any, Any]:
    return np.array([shot.time_s for shot in shots], float)


# Pictures and folders


def test_a_picture_is_one_frame(tmp_path: Path) -> None:
    item = only([grey(tmp_path / "a.jpg")])
    assert (item.name, item.kind, item.count) == ("a.jpg", "picture", 1)
    ((number, time_s, image),) = item.frames()
    assert (number, time_s, image.shape) == (0, None, (48, 64, 1))
    assert item.frame_name(0) == "a.jpg"


def test_numbered_frames_are_a_sequence_with_its_gaps_noted(tmp_path: Path) -> None:
    for number in (231, 232, 235, 236):
        grey(tmp_path / "flight" / f"night_{number:010d}.png", number - 200)
    found = frames.find([tmp_path / "flight"], frames_per_second=10)
    item = found.items[0]
    assert (item.name, item.kind, item.count) == ("flight", "sequence", 4)
    shots = list(item.frames())
    assert [shot.number for shot in shots] == [231, 232, 235, 236]
    # Two frames are missing, and their time passes all the same.
    np.testing.assert_allclose(seconds(shots), [0, 0.1, 0.4, 0.5])
    assert [int(shot.image[0, 0, 0]) for shot in shots] == [31, 32, 35, 36]
    assert found.notes == ("flight: of the frames 231 to 236, 2 aren't there",)
    assert item.frame_name(232) == "flight/night_0000000232.png"


def test_frames_of_a_sequence_without_a_rate_have_no_time(tmp_path: Path) -> None:
    for number in range(3):
        grey(tmp_path / f"{number}.png")
    assert [shot.time_s for shot in only([tmp_path]).frames()] == [None] * 3


def test_what_predict_drew_is_no_input(tmp_path: Path) -> None:
    # Once in a folder of its own, and once in that of the pictures.
    for folder in ("in", "in/answers"):
        grey(tmp_path / folder / "pictures" / "drawn.jpg")
        (tmp_path / folder / "detections.coco.json").write_text("{}")
    grey(tmp_path / "in" / "a.png")
    grey(tmp_path / "in" / "other" / "pictures" / "b.png")
    found = frames.find([tmp_path / "in"])
    assert [item.name for item in found] == ["a.png", "other/pictures/b.png"]
    (note,) = found.notes
    assert note.endswith("that an earlier answer drew are left out: 2")


def test_a_file_is_one_input_whatever_links_lead_to_it(tmp_path: Path) -> None:
    grey(tmp_path / "in" / "a.png")
    grey(tmp_path / "in" / "sub" / "b.png")
    grey(tmp_path / "beside" / "c.png")
    (tmp_path / "in" / "sub" / "loop").symlink_to("..")
    (tmp_path / "in" / "out2").symlink_to("../beside")
    (tmp_path / "in" / "d.png").symlink_to("a.png")
    (tmp_path / "in" / "out").symlink_to("../beside")
    found = frames.find([tmp_path / "in", tmp_path / "in" / "a.png"])
    assert [item.name for item in found] == ["a.png", "out/c.png", "sub/b.png"]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        grey(tmp_path / folder / "x.png")
        (tmp_path / folder / "broken.png").write_bytes(b"no picture")
    found = frames.find([tmp_path / "a", tmp_path / "b" / "x.png", tmp_path / "b/broken.png"])
    assert [item.name for item in found] == ["a/x.png", "b/x.png"]
    assert sorted(found.failures) == ["a/broken.png", "b/broken.png"]
    assert [item.name for item in frames.find([tmp_path / "a"])] == ["x.png"]


def test_numbers_are_counted_and_not_spelled(tmp_path: Path) -> None:
    for number in (8, 9, 10, 11):
        grey(tmp_path / f"frame{number}.png")
    assert [shot.number for shot in only([tmp_path]).frames()] == [8, 9, 10, 11]


def test_a_broken_frame_is_told_and_the_flight_goes_on(tmp_path: Path) -> None:
    # C-11
    for number in range(6):
        grey(tmp_path / "f" / f"{number:06d}.png", number)
    (tmp_path / "f" / "000001.png").write_bytes(b"")
    (tmp_path / "f" / "000002.png").write_bytes(b"no picture")
    whole = (tmp_path / "f" / "000004.png").read_bytes()
    (tmp_path / "f" / "000004.png").write_bytes(whole[: len(whole) // 2])
    item = only([tmp_path / "f"])
    assert [shot.number for shot in item.frames()] == [0, 3, 5]
    assert sorted(item.failures) == ["f/000001.png", "f/000002.png", "f/000004.png"]
    assert "an empty file" in item.failures["f/000001.png"]


@pytest.mark.parametrize("name", ["DJI_{:04d}", "IMG_{:04d}", "DSC{:05d}", "P{:07d}"])
def test_pictures_that_a_camera_took_one_by_one_are_no_sequence(tmp_path: Path, name: str) -> None:
    for number in range(1, 5):
        grey(tmp_path / f"{name.format(number)}.jpg")
    assert [item.kind for item in frames.find([tmp_path])] == ["picture"] * 4
    assert only([tmp_path], sequences=True).kind == "sequence"


def test_exif_tells_a_cameras_pictures_from_frames(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "M3T"
    for number in range(1, 5):
        grey(tmp_path / f"flight_{number:04d}.jpg", exif=exif)
    assert [item.kind for item in frames.find([tmp_path])] == ["picture"] * 4


def test_frames_of_two_sizes_are_no_sequence(tmp_path: Path) -> None:
    for number in range(4):
        grey(tmp_path / f"{number}.png", size=(64 + number, 48))
    assert [item.kind for item in frames.find([tmp_path])] == ["picture"] * 4


def test_a_folder_with_all_kinds_gives_each(tmp_path: Path) -> None:
    grey(tmp_path / "alone.jpg")
    for number in range(5):
        grey(tmp_path / "night" / f"{number:06d}.png")
        grey(tmp_path / "TrainReal" / "images" / "v" / f"v_{number:010d}.jpg")
        grey(tmp_path / "MOT" / "img1" / f"{number + 1:06d}.jpg")
    (tmp_path / "TrainReal" / "annotations").mkdir()
    (tmp_path / "TrainReal" / "annotations" / "v.csv").write_text("")
    (tmp_path / "MOT" / "seqinfo.ini").write_text("[Sequence]\nimDir=img1\nframeRate=25\n")
    write_video(tmp_path / "film.mp4", [np.zeros((48, 64), np.uint8)] * 3)
    crs = "EPSG:32736"
    write_tiff(
        tmp_path / "map.tif", np.zeros((3, 48, 64), np.uint8), crs=crs,
        transform=Affine(0.1, 0, 500_000, 0, -0.1, 9_800_000),
    )  # fmt: skip
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    found = frames.find([tmp_path])
    assert {item.name: item.kind for item in found} == {
        "MOT": "sequence", "TrainReal/images/v": "sequence", "alone.jpg": "picture",
        "film.mp4": "video", "map.tif": "orthomosaic", "night": "sequence",
    }  # fmt: skip
    assert {item.name: item.frames_per_second for item in found if item.kind == "sequence"} == {
        "MOT": 25.0, "TrainReal/images/v": None, "night": None,
    }  # fmt: skip
    assert list(found.failures) == ["torn.jpg"]


def test_nothing_to_look_at_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="pictures, videos or GeoTIFFs were needed"):
        frames.find([tmp_path])
    with pytest.raises(DatasetNotFoundError, match="no such file"):
        frames.find([tmp_path / "gone.jpg"])
    found = frames.find([tmp_path / "gone.jpg", grey(tmp_path / "a.jpg")])
    assert len(found) == 1
    assert list(found.failures) == [str(tmp_path / "gone.jpg")]


def test_a_tiff_of_many_pages_is_a_sequence(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((8, 9), 1000 * level, np.uint16)) for level in range(1, 5)]
    pages[0].save(tmp_path / "radiometric.tiff", save_all=True, append_images=pages[1:])
    item = only([tmp_path / "radiometric.tiff"])
    assert (item.kind, item.count) == ("sequence", 4)
    assert [int(shot.image[0, 0, 0]) for shot in item.frames()] == [1000, 2000, 3000, 4000]


# Orthomosaics


def test_an_orthomosaic_is_read_by_windows(tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 255, (3, 70, 90)).astype(np.uint8)
    place = Affine(0.1, 0, 500_000, 0, -0.1, 9_800_000)
    write_tiff(tmp_path / "a.tif", bands, crs="EPSG:32736", transform=place, photometric="RGB")
    item = only([tmp_path / "a.tif"])
    with item.open() as mosaic:
        assert mosaic.shape == (70, 90, 3)
        assert mosaic.dtype == np.uint8
        assert mosaic.grid.is_georeferenced
        assert mosaic.grid.transform == place
        window = (slice(60, 70), slice(5, 25))
        np.testing.assert_array_equal(mosaic.read(window), np.moveaxis(bands, 0, -1)[window])
        assert mosaic.valid(window).all()


def test_alpha_is_no_channel_and_tells_where_there_are_data(tmp_path: Path) -> None:
    bands = np.full((4, 20, 30), 200, np.uint8)
    bands[3, :, :10] = 0
    write_tiff(tmp_path / "a.tif", bands, crs="EPSG:32736", photometric="RGB", alpha="YES",
               transform=Affine(0.1, 0, 5, 0, -0.1, 9))  # fmt: skip
    with only([tmp_path / "a.tif"]).open() as mosaic:
        assert mosaic.shape == (20, 30, 3)
        image, valid = mosaic.read_valid((slice(0, 20), slice(5, 15)))
    assert valid[0].tolist() == [False] * 5 + [True] * 5
    assert image[0, :, 0].tolist() == [0] * 5 + [200] * 5


def test_black_in_one_band_is_no_hole(tmp_path: Path) -> None:
    bands = np.full((3, 20, 30), 200, np.uint8)
    bands[0, :5], bands[:, 5:10] = 0, 0
    write_tiff(tmp_path / "a.tif", bands, crs="EPSG:32736", photometric="RGB", nodata=0,
               transform=Affine(0.1, 0, 5, 0, -0.1, 9))  # fmt: skip
    with only([tmp_path / "a.tif"]).open() as mosaic:
        valid = mosaic.valid((slice(0, 20), slice(0, 1)))[:, 0]
    assert valid.tolist() == [True] * 5 + [False] * 5 + [True] * 10


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0), ("uint8", 255), ("uint16", 65535), ("int16", -9999), ("int32", -(2**31)),
     ("float32", -3.4028234663852886e38), ("float32", 0.1), ("float32", float("nan"))],
)  # fmt: skip
def test_places_of_a_bands_nodata_are_none(tmp_path: Path, dtype: str, nodata: float) -> None:
    bands = np.full((1, 20, 30), 20, dtype)
    bands[:, 5:10] = nodata
    write_tiff(tmp_path / "a.tif", bands, crs="EPSG:32736", nodata=nodata,
               transform=Affine(0.1, 0, 5, 0, -0.1, 9))  # fmt: skip
    with frames.Mosaic(tmp_path / "a.tif") as mosaic:
        image, valid = mosaic.read_valid((slice(0, 20), slice(0, 30)))
    assert valid[:, 0].tolist() == [True] * 5 + [False] * 5 + [True] * 10
    assert not image[5:10].any()
    assert image[:5].all()


@pytest.mark.parametrize("nodata", ["-9999", "256", "0.5", "inf"])
def test_nodata_that_no_pixel_can_have_hides_none(tmp_path: Path, nodata: str) -> None:
    write_tiff(tmp_path / "a.tif", np.full((1, 20, 30), 241, np.uint8))  # -9999 modulo 256
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="30" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1">'
        f"<NoDataValue>{nodata}</NoDataValue><SimpleSource><SourceFilename relativeToVRT='1'>a.tif"
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with frames.Mosaic(tmp_path / "a.vrt") as mosaic:
        assert mosaic.valid((slice(0, 20), slice(0, 30))).all()


def test_a_tiff_without_a_place_is_a_picture_or_says_that_it_has_none(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", np.zeros((3, 20, 30), np.uint8))
    item = only([tmp_path / "a.tif"])
    assert item.kind == "picture"
    with pytest.raises(DataError, match=r"an orthomosaic was needed.*Received: a picture"):
        item.open()
    with frames.Mosaic(tmp_path / "a.tif") as mosaic:
        assert not mosaic.grid.is_georeferenced
        with pytest.raises(DataError, match="CRS"):
            mosaic.grid.check_georeferenced("places")


def test_a_large_tiff_without_a_place_is_read_by_windows_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=8_000, width=8_000,
                       dtype="uint8", sparse_ok=True, tiled=True):  # fmt: skip
        pass
    item = only([path])
    assert item.kind == "orthomosaic"
    with item.open() as mosaic:
        assert mosaic.read((slice(7_990, 8_000), slice(0, 10))).shape == (10, 10, 1)


def test_some_windows_stand_for_a_mosaic(tmp_path: Path) -> None:
    bands = np.arange(64 * 96, dtype=np.uint16).reshape(1, 64, 96)
    write_tiff(tmp_path / "a.tif", bands)
    with frames.Mosaic(tmp_path / "a.tif") as mosaic:
        windows = list(mosaic.some(count=6, side=16))
        whole = list(mosaic.some(side=500))
    assert [window.shape for window in windows] == [(16, 16, 1)] * 6
    assert len({int(window[0, 0, 0]) for window in windows}) == 6
    assert all(window.shape == (64, 96, 1) for window in whole)


def test_colours_that_leave_their_range_empty_are_brightened_by_one_factor(tmp_path: Path) -> None:
    # Reflectance times 10,000 of a picture of 8 bits that holds all of its values.
    eight = np.random.default_rng(0).permutation(np.arange(3 * 32 * 32) % 256).reshape(3, 32, 32)
    place: dict[str, Any] = {"crs": "EPSG:32736", "transform": Affine(0.1, 0, 5, 0, -0.1, 9)}
    reflectance = (eight * 10).astype(np.uint16)
    write_tiff(tmp_path / "whole.tif", (eight * 257).astype(np.uint16), **place)
    write_tiff(tmp_path / "dim.tif", reflectance, **place)
    write_tiff(tmp_path / "parts.tif", (eight / 255).astype(np.float32), **place)
    grey = np.repeat(reflectance[:1], 3, axis=0)
    write_tiff(tmp_path / "grey.tif", grey, **place)
    window = (slice(0, 8), slice(0, 32))
    seen, said = {}, {}
    for name in ("whole", "dim", "parts", "grey"):
        with frames.Mosaic(tmp_path / f"{name}.tif") as mosaic:
            seen[name] = np.moveaxis(mosaic.read(window), -1, 0)
            said[name] = mosaic.brightened()
    np.testing.assert_array_equal(seen["whole"] >> 8, eight[:, :8])
    np.testing.assert_array_equal(seen["parts"] >> 8, eight[:, :8])
    assert np.abs((seen["dim"] >> 8).astype(int) - eight[:, :8]).max() <= 1
    np.testing.assert_array_equal(seen["grey"], grey[:, :8])  # a thermal camera's, perhaps
    assert [name for name in said if said[name]] == ["dim"]
    assert "was taken for white" in said["dim"]


def test_threads_read_one_mosaic_at_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    bands = np.random.default_rng(0).integers(0, 2**16, (1, 256, 256)).astype(np.uint16)
    write_tiff(tmp_path / "a.tif", bands, tiled=True, blockxsize=64, blockysize=64)
    with frames.Mosaic(tmp_path / "a.tif") as mosaic, ThreadPoolExecutor(8) as pool:
        rows = [slice(row, row + 8) for row in range(0, 256, 8)]
        parts = list(pool.map(lambda row: mosaic.read((row, slice(0, 256))), rows))
    np.testing.assert_array_equal(np.concatenate(parts)[..., 0], bands[0])


def test_the_real_orthomosaic_lies_where_it_says(wildlife: Path) -> None:
    item = only([wildlife / "everglades_wading_birds"])
    assert item.kind == "orthomosaic"
    with item.open() as mosaic:
        assert mosaic.shape == (1003, 1003, 3)
        assert mosaic.grid.crs.to_epsg() == 32617
        assert abs(mosaic.grid.ground_sampling_distance_m - 0.0107) < 0.0002


@pytest.fixture(scope="module")
def wildlife() -> Path:
    """The folder of real pictures; skips where it is absent."""
    import os

    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "wildlife"
    if not folder.is_dir():
        pytest.skip(f"real pictures aren't in {folder}; name their folder in FIELDSIGHT_DATA")
    return folder


# Videos


def ramp(count: int = 12) -> list[np.ndarray[Any, Any]]:
    """Frames whose grey grows by 10 a frame."""
    return [np.full((48, 64), 40 + 10 * number, np.uint8) for number in range(count)]


def test_a_video_is_read_frame_by_frame(tmp_path: Path) -> None:
    item = only([write_video(tmp_path / "film.mp4", ramp())])
    assert (item.kind, item.frames_per_second, item.count) == ("video", 10.0, 12)
    shots = list(item.frames())
    assert [shot.number for shot in shots] == list(range(12))
    np.testing.assert_allclose(seconds(shots), np.arange(12) / 10, atol=1e-6)
    for number, shot in enumerate(shots):
        assert shot.image.shape == (48, 64, 3)
        assert abs(float(shot.image.mean()) - (40 + 10 * number)) < 6
    assert item.frame_name(3) == "film.mp4/000003"
    assert [shot.number for shot in item.frames()] == list(range(12))  # and again


def test_a_video_of_14_bits_keeps_them(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(7_000, 9_000, (48, 64)).astype(np.uint16)
    path = write_video(tmp_path / "raw.mkv", [values] * 3, "ffv1", "gray16le")
    images = [shot.image for shot in only([path]).frames()]
    assert images[0].dtype == np.uint16
    np.testing.assert_array_equal(images[0][..., 0], values)


def test_a_video_that_was_filmed_upright_is_turned(tmp_path: Path) -> None:
    half = np.zeros((48, 64), np.uint8)
    half[:, :32] = 200
    path = write_video(tmp_path / "a.mp4", [half] * 3)
    content = bytearray(path.read_bytes())
    # ISO 14496-12, 8.3.2: a track's matrix {a, b, u, c, d, v, x, y, w} sends (p, q) to
    # (a p + c q + x, b p + d q + y); here to (48 - q, p), a quarter with the clock.
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    place = content.index(b"tkhd") + 4 + 40
    content[place : place + 36] = matrix
    path.write_bytes(bytes(content))
    image = next(only([path]).frames()).image
    assert image.shape == (64, 48, 3)
    assert image[4, 24].min() > 150  # what was left is above
    assert image[60, 24].max() < 50


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no video at all", "a video was needed that FFmpeg reads"),
        (b"", "a video was needed that FFmpeg reads"),
        (b"\0\0\0\x18ftypmp42" + bytes(200), "a video was needed that FFmpeg reads"),
    ],
)
def test_a_video_that_no_codec_reads_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    grey(tmp_path / "a.jpg")
    found = frames.find([tmp_path])
    assert [item.name for item in found] == ["a.jpg"]
    assert message in found.failures["film.mp4"]
    assert "ffmpeg -i IN" in found.failures["film.mp4"]


@pytest.mark.parametrize(
    "content", [b"some text\n" * 50, b"#EXTM3U\n#EXTINF:10,\nfilm.mp4\n#EXT-X-ENDLIST\n"]
)
@pytest.mark.parametrize("name", ["notes.txt", "film.mp4"])
def test_text_and_playlists_are_no_videos(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetNotFoundError, match="a video was needed"):
        frames.find([tmp_path / name])


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8_000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8_000
        for packet in [*stream.encode(sound), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(DatasetNotFoundError, match="Received: audio streams alone"):
        frames.find([path])


def test_broken_packets_are_told_and_the_flight_goes_on(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.avi", ramp(20), "mjpeg", "yuvj420p")
    content = bytearray(path.read_bytes())
    starts = [
        place for place in range(len(content) - 3) if content[place : place + 3] == b"\xff\xd8\xff"
    ]
    for number in (5, 6):
        # What decodes a JPEG is gone; the container still tells where it ends.
        first, end = starts[number], starts[number + 1] - 16
        content[first:end] = b"\0" * (end - first)
    path.write_bytes(bytes(content))
    item = only([path])
    shots = list(item.frames())
    assert 15 <= len(shots) <= 18
    assert abs(float(shots[-1].image.mean()) - (40 + 10 * 19)) < 6
    assert len(item.failures) == 2
    assert "the flight goes on" in next(iter(item.failures.values()))


def test_a_video_that_was_cut_off_gives_what_is_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.avi", ramp(20), "mjpeg", "yuvj420p")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    shots = list(only([path]).frames())
    assert 5 <= len(shots) < 20


# Frames as they come


def test_a_folder_is_followed_while_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    grey(folder / "f_0007.png", 7)
    noise = np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()

    def write() -> None:
        grey(folder / "f_0008.png", 8)
        with (folder / "f_0009.png").open("wb") as file:
            file.write(whole[:1000])
            file.flush()
            time.sleep(0.15)
            file.write(whole[1000:])

    item = frames.follow(folder, poll_s=0.01, frames_per_second=5)
    assert item.kind == "folder"
    shots = item.frames()
    first = next(shots)
    writer = threading.Thread(target=write)
    writer.start()
    rest = [next(shots), next(shots)]
    writer.join()
    assert [first.number, *(shot.number for shot in rest)] == [7, 8, 9]
    np.testing.assert_allclose(seconds(rest), [0.2, 0.4])
    # The one that grew was given once it was whole.
    np.testing.assert_array_equal(rest[-1].image[..., 0], noise)
    assert item.frame_name(9) == "f_0009.png"
    assert item.failures == {}


def test_what_never_becomes_a_picture_is_told(tmp_path: Path) -> None:
    grey(tmp_path / "a1.png")
    (tmp_path / "a2.png").write_bytes((tmp_path / "a1.png").read_bytes()[:50])
    item = frames.follow(tmp_path, idle_s=0.1, poll_s=0.01)
    assert [shot.number for shot in item.frames()] == [1]
    assert list(item.failures) == ["a2.png"]


def test_a_picture_that_stops_to_grow_is_broken_and_the_next_ones_are_given(tmp_path: Path) -> None:
    (tmp_path / "a1.png").write_bytes(b"\x89PNG")
    now = 0.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now > 10:
            grey(tmp_path / "a2.png")

    shots = partial(live._written, tmp_path, None, 0.5, lambda: now, wait)
    item = Input("live", "folder", tmp_path, None, None, shots)
    assert next(item.frames()).number == 2
    assert list(item.failures) == ["a1.png"]


def test_a_folder_that_goes_away_is_told(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    item = frames.follow(tmp_path / "live", idle_s=5)
    (tmp_path / "live").rmdir()
    with pytest.raises(DataError, match="Is it still there"):
        list(item.frames())


@pytest.fixture
def port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_stream_on_loopback_gives_its_frames_and_ends(tmp_path: Path, port: int) -> None:
    film = write_video(tmp_path / "film.ts", ramp(15), "mpeg2video", rate=25).read_bytes()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(film)

        server = threading.Thread(target=serve)
        server.start()
        item = frames.follow(f"tcp://127.0.0.1:{port}", idle_s=60)
        assert (item.kind, item.path, item.count) == ("stream", None, None)
        shots = list(item.frames())
        server.join()
    assert len(shots) >= 13
    assert shots[0].image.shape == (48, 64, 3)
    assert [shot.number for shot in shots] == list(range(len(shots)))


def test_a_stream_that_nobody_sends_is_told(port: int) -> None:
    item = frames.follow(f"tcp://user:secret@127.0.0.1:{port}", idle_s=1)
    assert item.name == f"tcp://127.0.0.1:{port}"
    with pytest.raises(DataError, match="a video was needed that FFmpeg reads") as caught:
        list(item.frames())
    assert "secret" not in str(caught.value)


def test_other_sources_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="begins with one of tcp://"):
        frames.follow("gopher://127.0.0.1/film")
    with pytest.raises(DatasetNotFoundError, match="no such file"):
        frames.follow(tmp_path / "gone")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="FFmpeg"):
        frames.follow(tmp_path / "a.mp4")
