"""`fieldsight describe` and `fieldsight kernels`, as a user has them."""

import dataclasses
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldsight.datasets.errors import DataError
from fieldsight.pipelines import _describe
from fieldsight.pipelines._commands import Describe, Kernels, see
from fieldsight.pipelines._errors import CommandError


def test_describe_lenet5_prints_the_papers_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert Describe(name="lenet5", variant="original").run() == 0
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in printed.splitlines() if line.split()}
    assert lines["c3"] == [
        "c3", "TableConv2D", "10x10x16", "1,516", "1,516", "151,600", "150,000", "6,400",
        "5x5", "2x2", "14x14",
    ]  # fmt: skip
    assert lines["lenet5"][1:4] == ["60,000", "60,840", "340,908"]


def test_describe_takes_a_shape_and_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert Describe(name="mlp", input_shape=(8, 8, 1), num_classes=5).run() == 0
    assert f"{64 * 128 + 128 + 128 * 5 + 5:,}" in capsys.readouterr().out


# Trainable and total parameters: section 2 of the project's domain facts.
COUNTS = {
    "lenet5": (61_706, 61_706),
    "lenet5 --variant original": (60_000, 60_840),
    "alexnet": (60_965_224, 60_965_224),
    "alexnet --variant 2012-ungrouped": (62_378_344, 62_378_344),
    "alexnet --variant 2014": (61_100_840, 61_100_840),
    "vgg11": (132_863_336, 132_863_336),
    "vgg13": (133_047_848, 133_047_848),
    "vgg16": (138_357_544, 138_357_544),
    "vgg19": (143_667_240, 143_667_240),
    "resnet20": (269_722, 271_098),
    "resnet32": (464_154, None),
    "resnet44": (658_586, None),
    "resnet56": (853_018, None),
    "resnet110": (1_727_962, None),
    "resnet18": (11_689_512, 11_699_112),
    "resnet34": (21_797_672, None),
    "resnet50": (25_557_032, None),
    "resnet101": (44_549_160, None),
    "resnet152": (60_192_808, None),
    "resnet50 --variant keras": (25_583_592, 25_636_712),
    "resnet101 --variant keras": (None, 44_707_176),
    "resnet152 --variant keras": (None, 60_419_944),
    "inception_v3": (23_817_352, 23_851_784),
    "inception_v3 --auxiliary --scale": (27_161_264, None),
    "pilotnet": (252_219, 252_219),
}


@pytest.fixture(scope="module")
def entries() -> list[_describe.Entry]:
    return list(_describe.published())


def test_describe_without_a_name_lists_every_network_with_its_counts(
    entries: list[_describe.Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    _describe.print_all(entries, as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for title, counts in COUNTS.items():
        words = title.split()
        # Behind the title, the input; then the two counts.
        line = next(
            line for line in lines if line[: len(words)] == words and "x" in line[len(words)]
        )
        for shown, count in zip(line[len(words) + 1 :], counts, strict=False):
            assert count is None or shown == f"{count:,}", title
    assert {entry.name for entry in entries} == set(_describe.architectures())


def test_the_list_says_macs_field_and_paper(
    entries: list[_describe.Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    _describe.print_all(entries, as_json=True)
    listed = json.loads(capsys.readouterr().out)["architectures"]
    found = {entry["network"]: entry for entry in reversed(listed)}  # Defaults come first.
    assert found["vgg16"]["input_shape"] == [224, 224, 3]
    assert found["vgg16"]["receptive_field"] == [212, 212]
    assert found["resnet18"]["macs"] == 1_814_073_344
    assert found["lenet5"]["activation_bytes"] > 0
    papers = {
        (entry["network"], entry["options"].get("variant")): entry["paper"] for entry in listed
    }
    assert papers["alexnet", None] == "Krizhevsky et al. 2012"
    assert papers["alexnet", "2014"] == "Krizhevsky 2014"
    assert papers["vgg19", None] == "Simonyan and Zisserman 2014"  # Written at vgg11.
    assert papers["resnet152", "keras"] == "He et al. 2016"
    assert all(paper for (name, _), paper in papers.items() if name != "mlp")


def test_describe_takes_a_volume_and_a_networks_own_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = Describe(
        name="unet", input_shape=(16, 16, 16, 1), filters=4, depth=1, num_classes=3, json=True
    )
    assert settings.run() == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["options"] == {
        "input_shape": [16, 16, 16, 1], "num_classes": 3, "filters": 4, "depth": 1
    }  # fmt: skip
    first, last = facts["layers"][0], facts["layers"][-1]
    assert (first["output_shape"], first["total"]) == ([16, 16, 16, 4], 27 * 4 + 4)
    assert (last["output_shape"], last["total"]) == ([16, 16, 16, 3], 4 * 3 + 3)
    assert "Ronneberger" in facts["reference"]


def test_describe_says_what_is_summed_and_where_it_is_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Describe(name="resnet18", input_shape=(64, 64, 3)).run() == 0
    printed = capsys.readouterr().out
    assert "11,689,512 trainable, 11,699,112 total" in printed
    assert "He, Zhang, Ren, Sun, Deep residual learning for image recognition" in printed


def test_every_option_that_changes_a_network_is_a_flag() -> None:
    without = {"name", "dropout", "stochastic_depth", "activation"}  # None of them costs anything.
    for build in _describe.architectures().values():
        flags = {field.name for field in dataclasses.fields(Describe)}
        assert set(inspect.signature(build).parameters) - without <= flags


@pytest.mark.parametrize(
    ("text", "papers"),
    [
        ("LeCun et al., Gradient-based learning, Proceedings of the IEEE 86(11), 1998, figure 2.",
         ["LeCun et al. 1998"]),
        ("Zhang, Once again, arXiv 2003.01234 (2020); Hu, Shen, Sun, Squeeze, CVPR 2018, table 1.",
         ["Zhang 2020", "Hu et al. 2018"]),
        ("no paper", []),
    ],
)  # fmt: skip
def test_citations_are_authors_and_year(text: str, papers: list[str]) -> None:
    assert _describe.citations(text) == papers


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Describe(name="resnet"), r"no network is called 'resnet'\. There are: .*lenet5, mlp"),
        (Describe(variant="2014"), "--variant is a network's: name one"),
        (Describe(name="lenet5", auxiliary=True), "lenet5 has no --auxiliary"),
        (Describe(name="lenet5", input_shape=(64, 64, 64, 1)), r"Received: .*\(64, 64, 64, 1\)"),
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
