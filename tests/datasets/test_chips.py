"""Kaggle's chips and tags: what is read, what is refused and why, submissions, archives."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image

from fieldsight.datasets import planet
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

Array = NDArray[Any]


def pixels(seed: int, count: int = 4) -> Array:
    return np.random.default_rng(seed).integers(2000, 9000, (256, 256, count)).astype("uint16")


def tif(path: Path, values: Array, **tags: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns, count = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=columns, height=rows, count=count, dtype=values.dtype
    ) as file:
        file.write(np.moveaxis(values, -1, 0))
        file.update_tags(**tags)


def jpg(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (256, 256), 40 if mode == "L" else (10, 20, 30)).save(path, "JPEG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three chips in both products, as the competition lays them out."""
    for number in range(3):
        tif(tmp_path / "train-tif-v2" / f"train_{number}.tif", pixels(number))
        jpg(tmp_path / "train-jpg" / f"train_{number}.jpg")
    table(tmp_path, "train_0,haze primary", "train_1,agriculture clear primary water",
          "train_2,cloudy")  # fmt: skip
    return tmp_path


def table(folder: Path, *rows: str) -> None:
    (folder / "train_v2.csv").write_text("\n".join(("image_name,tags", *rows)) + "\n")


def test_tags_are_the_competitions_17_in_its_spelling_d8() -> None:
    # The 17 labels of the competition's data page.
    published = (
        "agriculture artisinal_mine bare_ground blooming blow_down clear cloudy conventional_mine "
        "cultivation habitation haze partly_cloudy primary road selective_logging slash_burn water"
    )
    assert sorted(planet.TAGS) == published.split()
    assert set(planet.WEATHER) == {"clear", "cloudy", "haze", "partly_cloudy"}


def test_chips_are_uint16_with_their_tags_in_the_tables_order_d1_d2(folder: Path) -> None:
    chips = planet.load(folder)
    assert chips.names == ("train_0", "train_1", "train_2")
    assert (chips.product, chips.bands) == ("tif", ("blue", "green", "red", "nir"))
    read = chips.read([2, 0])
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, np.stack([pixels(2), pixels(0)]))
    told = [{planet.TAGS[i] for i in np.flatnonzero(row)} for row in chips.tags]
    assert told == [{"haze", "primary"}, {"agriculture", "clear", "primary", "water"}, {"cloudy"}]
    assert not chips.failures
    assert not chips.simulated


def test_jpegs_are_another_product_of_three_bands_d3(folder: Path) -> None:
    chips = planet.load(folder, "jpg")
    assert (chips.product, chips.bands) == ("jpg", ("red", "green", "blue"))
    read = chips.read([0])
    assert (read.dtype, read.shape) == (np.dtype("uint8"), (1, 256, 256, 3))
    assert chips.fingerprint != planet.load(folder).fingerprint


def test_chips_of_the_other_product_in_a_folder_are_counted(folder: Path) -> None:
    chips = planet.find([folder / "train-tif-v2", folder / "train-jpg"], "tif")
    assert {path.suffix for path in chips.paths} == {".tif"}
    count = len(list((folder / "train-jpg").iterdir()))
    assert any(f"{count} files of the other product" in note for note in chips.notes)


def test_without_a_table_of_scenes_it_is_said_that_neighbours_arent_known_d7(folder: Path) -> None:
    chips = planet.load(folder)
    assert chips.groups.tolist() == list(chips.names)
    assert any("neighbours" in note for note in chips.notes)
    (folder / "chips.csv").write_text(
        "image_name,scene,row,column\ntrain_0,a,0,0\ntrain_1,a,0,256\ntrain_2,b,0,0\n"
    )
    assert planet.load(folder).groups.tolist() == ["a", "a", "b"]


def _no_row(folder: Path) -> None:
    table(folder, "train_0,haze primary", "train_2,cloudy")


def _no_chip(folder: Path) -> None:
    (folder / "train-tif-v2" / "train_1.tif").unlink()


def _misspelt(folder: Path) -> None:
    table(folder, "train_0,haze primary", "train_1,artisanal_mine clear", "train_2,cloudy")


def _twice(folder: Path) -> None:
    table(folder, "train_0,haze", "train_1,clear", "train_1,cloudy", "train_2,cloudy")


def _three_bands(folder: Path) -> None:
    tif(folder / "train-tif-v2" / "train_1.tif", pixels(1, 3))


def _eight_bits(folder: Path) -> None:
    tif(folder / "train-tif-v2" / "train_1.tif", pixels(1).astype("uint8"))


def _small(folder: Path) -> None:
    tif(folder / "train-tif-v2" / "train_1.tif", pixels(1)[:100])


def _jpeg(folder: Path) -> None:
    jpg(folder / "train-tif-v2" / "train_1.tif")


def _truncated(folder: Path) -> None:
    path = folder / "train-tif-v2" / "train_1.tif"
    path.write_bytes(path.read_bytes()[:200_000])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_no_row, "a row in train_v2.csv was needed"),
        (_no_chip, "a chip was needed. Received: no such file"),
        (_misspelt, "line 3: .*artisanal_mine.*did you mean artisinal_mine"),
        (_twice, "line 4: one row for train_1"),
        (_three_bands, "256 x 256, 4 bands, uint16 was needed. Received: 256 x 256, 3 bands"),
        (_eight_bits, "Received: 256 x 256, 4 bands, uint8"),
        (_small, "Received: 100 x 256"),
        (_jpeg, "a TIFF was needed. Received: a JPEG picture"),
        (_truncated, "truncated"),
    ],
)
def test_a_bad_chip_or_row_is_a_failure_with_its_reason_and_the_others_go_on_c11(
    folder: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(folder)
    chips = planet.load(folder)
    assert chips.names == ("train_0", "train_2")
    assert chips.tags.shape == (2, 17)
    assert list(chips.failures) == ["train_1"]
    with pytest.raises(DataError, match=told):
        raise DataError(chips.failures["train_1"])


def test_a_name_that_is_a_path_reaches_no_other_file(folder: Path) -> None:
    table(folder, "train_0,haze", "../train-tif-v2/train_1,clear", "train_2,cloudy")
    chips = planet.load(folder)
    assert chips.names == ("train_0", "train_2")
    assert "a chip's name" in chips.failures["line 3"]


def test_damage_that_no_header_tells_is_told_when_the_chip_is_read(folder: Path) -> None:
    path = folder / "train-jpg" / "train_1.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3)).astype("uint8")
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:20_000])
    chips = planet.load(folder, "jpg")
    assert chips.read([0, 2]).shape == (2, 256, 256, 3)
    with pytest.raises(DataError, match=r"train_1\.jpg: a chip that can be read"):
        chips.read([1])


def test_labels_that_break_the_competitions_rules_are_kept_and_counted_d8(folder: Path) -> None:
    table(folder, "train_0,primary", "train_1,cloudy primary", "train_2,clear haze")
    chips = planet.load(folder)
    assert len(chips) == 3
    assert any(note.startswith("2 chips have not exactly one tag") for note in chips.notes)
    assert any(note.startswith("1 cloudy chips have tags") for note in chips.notes)


def test_what_is_missing_altogether_is_told(folder: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"train_v2\.csv.*no such folder"):
        planet.load(folder / "none")
    (folder / "train-tif-v2").rename(folder / "train-tif-v2.tar")
    with pytest.raises(DatasetNotFoundError, match=r"train-tif-v2 or .*Unpack train-tif-v2.tar"):
        planet.load(folder, "tif")
    table(folder, "train_7,clear")
    with pytest.raises(DataError, match="chips with a row"):
        planet.load(folder, "jpg")


def test_the_table_is_read_from_its_zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "train_v2.csv.zip", "w") as packed:
        packed.write(folder / "train_v2.csv", "../../train_v2.csv")
        packed.writestr("__MACOSX/._x", "x")
    (folder / "train_v2.csv").unlink()
    assert len(planet.load(folder)) == 3
    assert not (folder.parent.parent / "train_v2.csv").exists()


# Without labels


def test_chips_to_be_tagged_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        tif(tmp_path / "test-tif-v2" / f"test_{number}.tif", pixels(number))
    (tmp_path / "test-tif-v2" / "notes.txt").write_text("x")
    chips = planet.find([tmp_path / "test-tif-v2"])
    assert chips.names == ("test_1", "test_2", "test_10")
    assert chips.tags.shape == (0, 17)
    np.testing.assert_array_equal(chips.read([2])[0], pixels(10))


def test_of_both_products_one_must_be_named_d3(folder: Path) -> None:
    with pytest.raises(DataError, match="3 TIFFs and 3 JPEGs"):
        planet.find([folder])
    assert planet.find([folder], "jpg").product == "jpg"
    # A file that was named isn't passed over.
    chips = planet.find([folder / "train-tif-v2", folder / "train-jpg" / "train_0.jpg"], "tif")
    assert len(chips) == 3
    assert len(chips.failures) == 1


def test_a_batch_of_bad_chips_is_a_batch_of_failures_c11(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    jpg(tmp_path / "b.tif")
    chips = planet.find([tmp_path / "a.tif", tmp_path / "b.tif"])
    assert (len(chips), sorted(chips.failures)) == (0, ["a", "b"])
    assert chips.read([]).shape == (0, 256, 256, 4)
    with pytest.raises(DatasetNotFoundError, match="no such path"):
        planet.find([tmp_path / "c.tif"])


@pytest.mark.parametrize("grey", ["L"])
def test_a_grey_jpeg_has_the_wrong_number_of_bands(tmp_path: Path, grey: str) -> None:
    jpg(tmp_path / "a.jpg", grey)
    assert "1 bands, uint8" in planet.find([tmp_path]).failures["a"]


def test_chips_say_themselves_that_they_are_simulated_c10(tmp_path: Path) -> None:
    tif(tmp_path / "a" / "x.tif", pixels(0), FIELDSIGHT_SIMULATED="1")
    Image.new("RGB", (256, 256)).save(
        _made(tmp_path / "b") / "x.jpg", comment=b"FIELDSIGHT_SIMULATED=1"
    )
    tif(tmp_path / "c" / "train-tif-v2" / "x.tif", pixels(0))
    (tmp_path / "c" / "SIMULATED.json").write_text("{}")
    tif(tmp_path / "d" / "x.tif", pixels(0))
    found = [planet.find([tmp_path / name]).simulated for name in ("a", "b", "d")]
    assert found == [True, True, False]
    assert planet.find([tmp_path / "c" / "train-tif-v2"]).simulated
    assert planet.find([tmp_path / "c" / "train-tif-v2" / "x.tif"]).simulated


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


# Submissions


def test_a_submission_is_the_competitions_form(tmp_path: Path) -> None:
    tags = np.zeros((2, 17), np.uint8)
    tags[0, [0, 1, 4]] = 1
    path = tmp_path / "submission.csv"
    planet.write_submission(path, ["test_0", "file_1"], tags)
    assert path.read_bytes() == b"image_name,tags\ntest_0,primary clear water\nfile_1,\n"
    with pytest.raises(ValueError, match=r"\(1, 17\)"):
        planet.write_submission(path, ["test_0"], tags)


# Archives


def packed_tar(path: Path, members: dict[str, bytes], links: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return path


def packed_zip(path: Path, members: dict[str, bytes], links: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
        for name, target in links.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o120777 << 16
            packed.writestr(entry, target)
    return path


@pytest.mark.parametrize("pack", [packed_tar, packed_zip])
def test_an_archive_writes_nowhere_but_into_its_folder(
    tmp_path: Path, pack: Callable[[Path, dict[str, bytes], dict[str, str]], Path]
) -> None:
    members = {
        "train-tif-v2/train_0.tif": b"one", "../../evil.tif": b"two", "/etc/evil.csv": b"three",
        "train-tif-v2/../../x/train_1.tif": b"four", "run.sh": b"five", "..\\..\\w.tif": b"six",
        ".hidden.tif": b"seven", "train_v2.csv": b"eight",
    }  # fmt: skip
    links = {"train-tif-v2/train_9.tif": "/etc/passwd", "train-jpg": "/tmp"}
    archive = pack(tmp_path / "chips.archive", members, links)
    target = tmp_path / "deep" / "er" / "out"
    written, left = planet.unpack(archive, target)
    made = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    out = "deep/er/out"
    assert made == {
        "chips.archive", f"{out}/train-tif-v2/train_0.tif", f"{out}/evil.tif", f"{out}/w.tif",
        f"{out}/etc/evil.csv", f"{out}/x/train_1.tif", f"{out}/train_v2.csv",
    }  # fmt: skip
    assert not any(p.is_symlink() for p in target.rglob("*"))
    assert (written, left) == (6, 4)
    with pytest.raises(DataError, match="is there already"):
        planet.unpack(archive, target)


def test_an_archive_that_is_a_bomb_or_damaged_is_told(tmp_path: Path) -> None:
    huge = {"train-jpg/train_0.jpg": b"\0" * (2**22 + 1)}
    assert planet.unpack(packed_zip(tmp_path / "a.zip", huge, {}), tmp_path / "a") == (0, 1)
    (tmp_path / "b.tar").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 64)
    with pytest.raises(DataError, match="7z x"):
        planet.unpack(tmp_path / "b.tar", tmp_path / "b")
    whole = packed_tar(tmp_path / "c.tgz", {"train_0.tif": bytes(range(256)) * 2000}, {})
    whole.write_bytes(whole.read_bytes()[:400])
    with pytest.raises(DataError, match="Copy it again"):
        planet.unpack(whole, tmp_path / "c")
