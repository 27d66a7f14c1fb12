"""The two detection examples run, print what is so and draw what they found."""

import contextlib
import csv
import importlib.util
import io
import os
import re
import sys
from pathlib import Path
from types import ModuleType

# What the examples set: without it a 3-D convolution may take 60 times as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
import pytest
from PIL import Image

from fieldsight.core import boxes

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("FIELDSIGHT_DATA", ROOT.parent / "shared" / "data"))
MARKED, FOUND = (90, 160, 255), (255, 170, 0)


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> ModuleType:
    """Run a script of examples/ with these arguments; what it left behind."""
    path = ROOT / "examples" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    spec = importlib.util.spec_from_file_location(f"fieldsight_example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(out: str) -> dict[str, float]:
    """The F1 of each way, which must be that of the counts printed beside it."""
    lines = re.findall(
        r"^(detector|threshold) +F1 ([\d.]+): "
        r"PointScores\(hits=(\d+), misses=(\d+), false_alarms=(\d+)\)$",
        out,
        re.MULTILINE,
    )
    result = {}
    for name, f1, *counts in lines:
        hits, misses, false_alarms = map(int, counts)
        by_hand = 2 * hits / max(2 * hits + misses + false_alarms, 1)
        assert float(f1) == pytest.approx(by_hand, abs=6e-4)
        result[name] = float(f1)
    assert set(result) == {"detector", "threshold"}
    return result


def colours_at(picture: Image.Image, corners: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(map(int, np.asarray(picture)[int(y), int(x)])) for x, y in corners}


# Birds


def write_frame(folder: Path, names: str = "xmin,ymin,xmax,ymax") -> int:
    """Warm spots of eight pixels on a noisy ground, 6 x 4 of them; how many lie on the right."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((160, 256))
    picture = 80 + columns / 8 + rng.normal(0, 3, rows.shape)
    places = [(20 + 42 * i, 24 + 36 * j) for i in range(6) for j in range(4)]
    boxes_of = []
    for x, y in np.array(places) + rng.integers(-8, 8, (24, 2)):
        picture += 60 * np.exp(-((rows - y + 0.5) ** 2 + (columns - x + 0.5) ** 2) / 6)
        boxes_of.append([x - 4, y - 4, x + 4, y + 4])
    Image.fromarray(np.clip(picture, 0, 255).astype("uint8")).save(folder / "frame.jpg", quality=95)
    with (folder / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names.split(","), *boxes_of])
    return sum(box[0] + 4 >= 128 for box in boxes_of)


def test_a_detector_learns_half_a_frame_and_finds_the_other_halfs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_the_right = write_frame(tmp_path)
    out = tmp_path / "birds.png"
    done = run(monkeypatch, "detect_2d", str(tmp_path), "--epochs", "2", "--out", str(out))
    said = capsys.readouterr().out
    figures = printed(said)
    assert f"{on_the_right} birds in the right half" in said
    # Spots 20 times as warm as the noise: a threshold can't miss one, two epochs find most.
    assert figures["threshold"] == 1
    assert figures["detector"] > 0.5
    with Image.open(out) as picture:
        assert picture.size == (512, 320)
        # The left edges' middles: no ellipse hides them all.
        edges = np.stack([done.birds[:, 0], done.birds[:, 1]], axis=1) * 2
        assert colours_at(picture, edges) == {MARKED}
        assert (np.asarray(picture) == FOUND).all(axis=-1).any()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("nowhere", "frame.jpg and boxes.csv was needed. Received: .*No such file"),
        ("column", "boxes.csv was needed. Received: 'xmin'"),
        ("number", "boxes.csv was needed. Received: could not convert string to float: 'much'"),
        ("small", r"Received: \(40, 80\) pixels; multiples of 4, from 64 x 128 on"),
        ("empty", "Received: 0 birds, of which 0 in the left half"),
    ],
)
def test_a_wrong_folder_is_told_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wrong: str,
    told: str,
) -> None:
    folder = tmp_path / "nowhere" if wrong == "nowhere" else tmp_path
    write_frame(
        tmp_path, names="left,ymin,xmax,ymax" if wrong == "column" else "xmin,ymin,xmax,ymax"
    )
    if wrong == "number":
        (tmp_path / "boxes.csv").write_text("xmin,ymin,xmax,ymax\n1,2,3,much\n")
    if wrong == "small":
        Image.new("L", (80, 40)).save(tmp_path / "frame.jpg")
    if wrong == "empty":
        (tmp_path / "boxes.csv").write_text("xmin,ymin,xmax,ymax\n")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "detect_2d", str(folder))
    assert ended.value.code == 2
    assert re.search(told, capsys.readouterr().err)


# Spheres


@pytest.fixture(scope="module")
def spheres(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModuleType, Path, str]:
    """A run that is too short to learn much."""
    out = tmp_path_factory.mktemp("spheres") / "spheres.png"
    options = ["--volumes", "2", "--new", "2", "--epochs", "1", "--out", str(out)]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.redirect_stdout(said):
        done = run(monkeypatch, "detect_3d", *options)
    return done, out, said.getvalue()


def test_volumes_are_simulated_learned_scored_and_drawn(
    spheres: tuple[ModuleType, Path, str],
) -> None:
    done, out, said = spheres
    assert 0 < printed(said)["threshold"] <= 1
    count = sum(len(truth) for _, truth in done.new)
    assert f"{count} simulated spheres" in said
    with Image.open(out) as picture:
        assert picture.size == (3 * 4 * 64, 4 * 64)
        truth = done.new[0][1]
        # An ellipse's leftmost point, in the view along z.
        leftmost = np.stack([truth[:, 0], boxes.centres(truth)[:, 1]], axis=1) * 4
        assert MARKED in colours_at(picture, leftmost)


def test_simulated_spheres_are_as_they_are_said_to_be(
    spheres: tuple[ModuleType, Path, str],
) -> None:
    simulate = spheres[0].simulate
    volumes = [simulate(np.random.default_rng(seed)) for seed in range(6)]
    for volume, truth in volumes:
        assert volume.shape == (64, 64, 64)
        assert 3 <= len(truth) <= 8
        sides = boxes.sizes(truth)
        assert np.ptp(sides, axis=1).max() < 1e-9  # as wide as high as deep
        assert 4 <= sides.min() <= sides.max() <= 12
        assert truth.min() >= 0
        assert truth.max() <= 64
        apart = boxes.distance(truth, truth) + 99 * np.eye(len(truth))
        assert (apart > (sides[:, :1] + sides[:, :1].T) / 2 - 1e-9).all()  # none in another
        for x, y, z in boxes.centres(truth).astype(int):
            inside = volume[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].mean()
            assert inside > 0.7 - 4 * 0.4 / 27**0.5  # the faintest, four standard errors below
        assert np.median(volume) == pytest.approx(0, abs=0.1)
    again = simulate(np.random.default_rng(5))
    assert np.array_equal(again[0], volumes[5][0])
    assert not np.array_equal(again[0], volumes[4][0])


def test_wrong_numbers_are_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "detect_3d", "--new", "0")
    assert ended.value.code == 2
    assert "are at least 1. Received: {'volumes': 24, 'new': 0" in capsys.readouterr().err


# What the two are for


@pytest.mark.slow
def test_real_birds_are_found_as_well_as_by_a_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = DATA / "wildlife" / "thermal_waterfowl"
    if not folder.is_dir():
        pytest.skip(f"real data aren't in {folder}; name their folder in FIELDSIGHT_DATA")
    run(monkeypatch, "detect_2d", str(folder), "--out", str(tmp_path / "birds.png"))
    said = capsys.readouterr().out
    figures = printed(said)
    assert "91 birds in the right half" in said
    assert figures["threshold"] > 0.95
    assert figures["detector"] >= figures["threshold"]


@pytest.mark.slow
def test_spheres_are_told_from_rods_better_than_by_a_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "detect_3d", "--out", str(tmp_path / "spheres.png"))
    figures = printed(capsys.readouterr().out)
    assert figures["detector"] > figures["threshold"]
