"""LUNA16's crops: the published archives, the same unpacked, and what is wrong with a copy."""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldsight.datasets import luna16_crops
from fieldsight.datasets.errors import DataError, DatasetNotFoundError


@pytest.fixture(scope="module")
def published() -> Path:
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "lung" / "luna16_patches"
    if not folder.is_dir():
        pytest.skip(f"LUNA16's crops aren't in {folder}; name the data folder in FIELDSIGHT_DATA")
    return folder


def png(pixels: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(content, "PNG")
    return content.getvalue()


def write(folder: Path, pictures: Mapping[str, bytes], labels: str, split: str = "val") -> Path:
    with zipfile.ZipFile(folder / f"{split}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in pictures.items():
            archive.writestr(name, content)
    (folder / f"{split}datalabels.txt").write_text(labels)
    return folder


GREY = png(np.full((50, 50), 7))


@pytest.mark.parametrize(("split", "count", "nodules"), [("train", 5187, 845), ("val", 1297, 224)])
def test_the_published_archives_hold_what_their_author_counted(
    published: Path, split: str, count: int, nodules: int
) -> None:
    crops = luna16_crops.load(published, split)
    assert crops.images.shape == (count, 50, 50)
    assert crops.images.dtype == np.uint8
    assert np.bincount(crops.labels).tolist() == [count - nodules, nodules]


def test_no_published_crop_is_on_both_sides(published: Path) -> None:
    sides = [luna16_crops.load(published, split).images for split in ("train", "val")]
    train, val = ({crop.tobytes() for crop in side} for side in sides)
    assert (len(train), len(val), len(train & val)) == (5187, 1297, 0)


def test_the_unpacked_folder_is_the_same_set(published: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(published / "val.zip") as archive:
        archive.extractall(tmp_path)
    labels = (published / "valdatalabels.txt").read_text()
    (tmp_path / "valdatalabels.txt").write_text(labels)
    unpacked = luna16_crops.load(tmp_path, "val")
    assert unpacked.fingerprint == luna16_crops.load(published, "val").fingerprint


def test_pictures_come_in_the_order_of_the_list(tmp_path: Path) -> None:
    pictures = {
        f"val/{name}.png": png(np.full((50, 50), value)) for value, name in enumerate("abc")
    }
    write(tmp_path, pictures, "val/c.png 0\n\nval/a.png 1\nval/b.png 0\n")
    crops = luna16_crops.load(tmp_path, "val")
    assert crops.images[:, 20, 20].tolist() == [2, 0, 1]
    assert crops.labels.tolist() == [0, 1, 0]


def test_a_picture_is_found_in_whatever_folder_the_archive_has_it(tmp_path: Path) -> None:
    write(tmp_path, {"crops/of/one.png": GREY}, "test/one.png 1", split="held_out")
    assert luna16_crops.load(tmp_path, "held_out").labels.tolist() == [1]


def test_a_narrow_crop_is_centred_on_black(tmp_path: Path) -> None:
    write(tmp_path, {"val/one.png": png(np.full((50, 47), 9))}, "val/one.png 0")
    (image,) = luna16_crops.load(tmp_path, "val").images
    assert image[0].tolist() == [0, 0] + 47 * [9] + [0]


def test_of_a_larger_picture_the_middle_is_taken(tmp_path: Path) -> None:
    rows = np.repeat(np.arange(60)[:, None], 54, axis=1)
    write(tmp_path, {"val/one.png": png(rows)}, "val/one.png 0")
    (image,) = luna16_crops.load(tmp_path, "val").images
    assert image[:, 0].tolist() == list(range(5, 55))


def test_colour_becomes_grey(tmp_path: Path) -> None:
    write(tmp_path, {"val/one.png": png(np.full((50, 50, 3), 8))}, "val/one.png 0")
    assert luna16_crops.load(tmp_path, "val").images.max() == 8


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("val/two.png 0", r"val\.zip.*Received: no val/two\.png"),
        ("val/one.png 2", r"line 1: needs a picture and 0 or 1.*'val/one\.png 2'"),
        ("val/one.png 0\nval/one.png", r"line 2"),
        ("0", r"line 1"),
        ("\n", r"needs a picture a line"),
    ],
)
def test_a_wrong_list_is_told(tmp_path: Path, labels: str, message: str) -> None:
    write(tmp_path, {"val/one.png": GREY}, labels)
    with pytest.raises(DataError, match=message):
        luna16_crops.load(tmp_path, "val")


def test_a_list_that_is_no_text_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"val/one.png": GREY}, "")
    (tmp_path / "valdatalabels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        luna16_crops.load(tmp_path, "val")


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture at all", GREY[:40], GREY[:-20], png(np.zeros((1001, 2)))],
    ids=["empty", "text", "header alone", "truncated", "large"],
)
def test_a_picture_that_cannot_be_used_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, {"val/one.png": content}, "val/one.png 0")
    with pytest.raises(DataError, match=r"val\.zip: val/one\.png needs to be a picture"):
        luna16_crops.load(tmp_path, "val")


def test_a_picture_of_a_billion_pixels_is_not_decoded(tmp_path: Path) -> None:
    # A header that promises 30,000 x 30,000 in front of nothing.
    header = bytearray(GREY)
    header[16:24] = (30_000).to_bytes(4, "big") * 2
    write(tmp_path, {"val/one.png": bytes(header)}, "val/one.png 0")
    with pytest.raises(DataError, match=r"val/one\.png needs to be a picture"):
        luna16_crops.load(tmp_path, "val")


def test_an_encrypted_picture_is_named(tmp_path: Path) -> None:
    archive = write(tmp_path, {"val/one.png": GREY}, "val/one.png 0") / "val.zip"
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1  # the bit that says so
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"val/one\.png.*encrypted"):
        luna16_crops.load(tmp_path, "val")


def test_a_member_outside_the_archive_is_not_written(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder, {"../evil.png": GREY}, "../evil.png 0")
    assert len(luna16_crops.load(folder, "val")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert sorted(path.name for path in folder.iterdir()) == ["val.zip", "valdatalabels.txt"]


def test_a_list_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(GREY)
    (tmp_path / "data" / "val").mkdir(parents=True)
    (tmp_path / "data" / "valdatalabels.txt").write_text("../secret.png 0")
    with pytest.raises(DataError, match=r"no \.\./secret\.png"):
        luna16_crops.load(tmp_path / "data", "val")


def test_what_is_not_an_archive_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"val/one.png": GREY}, "val/one.png 0")
    (tmp_path / "val.zip").write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"val\.zip: needs to be a ZIP archive"):
        luna16_crops.load(tmp_path, "val")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"valdatalabels\.txt.*no such file"):
        luna16_crops.load(tmp_path, "val")
    (tmp_path / "valdatalabels.txt").write_text("val/one.png 0")
    with pytest.raises(DatasetNotFoundError, match=r"val\.zip.*neither"):
        luna16_crops.load(tmp_path, "val")
