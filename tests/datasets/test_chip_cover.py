"""Land cover under chips: pixels counted by cell, of the right scene, date and place."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from fieldsight.datasets import chip_cover
from fieldsight.datasets.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "labels").mkdir()
    classes = np.full((300, 320), 1, np.uint8)
    classes[20:28, 40:44] = 2  # half of a cell of the chip at row 20, column 40
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 300, "width": 320}
    with rasterio.open(tmp_path / "labels" / "S1_20200131_landcover.tif", "w", **profile) as file:
        file.write(classes, 1)
    rows = [
        "train_0,S1,2020-01-31,20,40",
        "train_1,S2,2020-01-31,0,0",
        "train_2,S1,2020-01-31,60,0",
    ]
    text = "\n".join([",".join(chip_cover.COLUMNS), *rows]) + "\n"
    (tmp_path / "chips.csv").write_text(text)
    return tmp_path


def test_pixels_are_counted_in_cells_of_eight(folder: Path) -> None:
    assert chip_cover.is_there(folder)
    counts = chip_cover.read(folder, ["train_0", "train_1"], 3)
    assert counts.shape == (2, 32, 32, 3)
    assert counts[0, 0, 0].tolist() == [0, 32, 32]
    assert counts[0, 1, 0].tolist() == counts[0, 0, 1].tolist() == [0, 64, 0]
    assert not counts[1].any()  # of S2 nothing is known


def test_what_does_not_fit_is_told(folder: Path) -> None:
    with pytest.raises(DataError, match=r"line 4: a chip within S1_20200131_landcover\.tif"):
        chip_cover.read(folder, ["train_2"], 3)
    with pytest.raises(DataError, match="classes below 2 were needed"):
        chip_cover.read(folder, ["train_0"], 2)
    with pytest.raises(DataError, match="a row for train_9"):
        chip_cover.read(folder, ["train_9"], 3)
    (folder / "labels" / "S1_20200131_landcover.tif").write_bytes(b"no raster")
    with pytest.raises(DataError, match="a raster of classes"):
        chip_cover.read(folder, ["train_0"], 3)


def test_the_competitions_own_chips_have_no_places(tmp_path: Path) -> None:
    assert not chip_cover.is_there(tmp_path)
    (tmp_path / "chips.csv").write_text("image_name,scene\ntrain_0,S1\n")
    assert not chip_cover.is_there(tmp_path)
