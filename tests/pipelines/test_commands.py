"""`fieldsight describe` and `fieldsight kernels`, as a user has them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldsight.datasets.errors import DataError
from fieldsight.pipelines._commands import Describe, Kernels, see
from fieldsight.pipelines._errors import CommandError


def test_describe_lenet5_prints_the_papers_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert Describe(name="lenet5", variant="original").run() == 0
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in printed.splitlines() if line.split()}
    assert lines["c3"] == [
        "c3", "TableConv2D", "10x10x16", "1,516", "1,516", "151,600", "150,000", "6,400",
        "5x5", "14x14",
    ]  # fmt: skip
    assert lines["lenet5"][1:4] == ["60,000", "60,840", "340,908"]


def test_describe_takes_a_shape_and_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert Describe(name="mlp", input_shape=(8, 8, 1), num_classes=5).run() == 0
    assert f"{64 * 128 + 128 + 128 * 5 + 5:,}" in capsys.readouterr().out


def test_describe_without_a_name_lists_the_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert Describe().run() == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"lenet5", "mlp"} <= set(names)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Describe(name="resnet"), r"no network is called 'resnet'\. There are: .*lenet5, mlp"),
        (Describe(name="mlp", variant="original"), "mlp has no --variant"),
        (Describe(name="lenet5", input_shape=(9, 9, 1)), r"at least 16\. Received: .*\(9, 9, 1\)"),
        (Describe(name="lenet5", variant="best"), 'Received: variant="best"'),
    ],
)
def test_describes_mistakes_are_told(settings: Describe, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        settings.run()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "leaf.png")
    return tmp_path / "leaf.png"


def test_kernels_draws_a_sheet_into_the_current_folder(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert Kernels(picture=picture).run() == 0
    assert [path.name for path in folder.iterdir()] == ["leaf-kernels.png"]
    with Image.open("leaf-kernels.png") as sheet:
        assert sheet.width == 1800
        assert np.asarray(sheet.convert("L")).std() > 20  # Something is drawn.


def test_an_old_sheet_stays_when_the_picture_is_none(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    out.write_text("old")
    picture.write_text("no picture")
    with pytest.raises(DataError, match=r"leaf\.png"):
        Kernels(picture=picture, out=out).run()
    assert out.read_text() == "old"


def test_a_sheet_is_a_png(picture: Path) -> None:
    with pytest.raises(CommandError, match=r"must end in \.png\. Received: sheet\.jpg"):
        Kernels(picture=picture, out=Path("sheet.jpg")).run()


def test_what_a_kernel_gives_is_shown_by_its_kind() -> None:
    ramp = np.repeat(np.arange(0, 200, 10, dtype="uint8")[:, None], 5, axis=1)
    image = np.stack([ramp] * 3, axis=-1)
    keeps = np.full((1, 1), 2.0)
    np.testing.assert_array_equal(see(image, keeps), np.clip(2 * image.astype(int), 0, 255))
    slope = see(image, np.array([[-1.0], [0], [1]]))
    assert slope.shape == (20, 5)
    assert slope[5:15].min() == slope.max() == 255  # The same everywhere, and the strongest.
    assert (see(np.full((6, 6, 3), 9, "uint8"), np.array([[-1.0, 1]])) == 128).all()
