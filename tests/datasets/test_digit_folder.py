from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldsight.datasets import digit_folder
from fieldsight.datasets.errors import DataError, DatasetNotFoundError


def one(width: int = 8) -> Image.Image:
    image = np.full((120, 90), 230, np.uint8)
    image[20:100, 40 : 40 + width] = 30
    return Image.fromarray(image)


def test_pictures_are_read_by_class_and_bad_files_recorded(tmp_path: Path) -> None:
    for name in ("1", "7"):
        (tmp_path / name).mkdir()
    one().save(tmp_path / "1" / "b.png")
    one(10).convert("RGB").save(tmp_path / "1" / "a.jpg")
    one().save(tmp_path / "7" / "c.png")
    (tmp_path / "7" / "notes.png").write_text("text")
    Image.new("L", (80, 80), 255).save(tmp_path / "7" / "empty.png")
    (tmp_path / "7" / ".hidden").write_text("left by a system")
    data, failures = digit_folder.load(tmp_path, name="mine")
    assert data.images.shape == (3, 28, 28)
    assert data.labels.tolist() == [1, 1, 7]
    assert data.name == "mine"
    # MNIST's kind: black ground, bright ink of 20 pixels' height.
    assert (data.images.max((1, 2)) > 200).all()
    assert ((data.images > 100).any(2).sum(1) >= 18).all()
    assert {failure.path.name for failure in failures} == {"notes.png", "empty.png"}
    assert all("\n" not in failure.reason for failure in failures)


def test_a_digit_in_two_pieces_is_one_picture(tmp_path: Path) -> None:
    image = np.full((160, 160), 235, np.uint8)
    image[30:38, 60:100] = 30  # the bar of a 5, far above
    image[58:66, 58:95] = 30
    image[58:120, 90:98] = 30
    (tmp_path / "5").mkdir()
    Image.fromarray(image).save(tmp_path / "5" / "a.png")
    data, failures = digit_folder.load(tmp_path)
    assert not failures
    assert len(data) == 1
    # The bar and the body: ink, a gap, ink.
    rows = (data.images[0] > 100).any(1).astype(int)
    assert (np.diff(rows) == 1).sum() == 2


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"subfolders 0 to 9.*no such folder"):
        digit_folder.load(tmp_path / "nowhere")
    with pytest.raises(DatasetNotFoundError, match="none of them"):
        digit_folder.load(tmp_path)


def test_a_folder_of_bad_files_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 files that can't be used.*empty file"):
        digit_folder.load(tmp_path)
