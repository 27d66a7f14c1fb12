"""The examples run, and what they print is so."""

import importlib.util
import os
import re
import sys
import zipfile
from pathlib import Path
from types import ModuleType

# What Makefile and examples set: without it a 3-D convolution may take 60 times as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import pytest
from PIL import Image

from fieldsight.core.architectures import resnet20
from fieldsight.datasets import mnist

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("FIELDSIGHT_DATA", ROOT.parent / "shared" / "data"))


def real(*parts: str) -> Path:
    folder = DATA.joinpath(*parts)
    if not folder.is_dir():
        pytest.skip(f"real data aren't in {folder}; name their folder in FIELDSIGHT_DATA")
    return folder


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


def test_the_three_are_there_and_the_crops_take_less_than_sixty_lines() -> None:
    lines = {
        path.stem: len(path.read_text().splitlines()) for path in (ROOT / "examples").glob("*.py")
    }
    assert set(lines) >= {"new_project", "volumes", "luna16_crops"}
    assert lines["luna16_crops"] < 60


def test_a_new_project_learns_digits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(monkeypatch, "new_project", "--epochs", "4")
    # 359 are a fifth of scikit-learn's 1,797. Guessing is right for a tenth.
    printed = re.search(r"accuracy ([\d.]+)% \(.* to .*\) on 359 digits", capsys.readouterr().out)
    assert printed is not None
    answers = done.model.predict(done.pictures[-359:], verbose=0).argmax(axis=-1)
    assert float(printed[1]) == pytest.approx(
        100 * np.mean(answers == done.labels[-359:]), abs=0.06
    )
    assert done.accuracy > 0.75


@pytest.fixture(scope="module")
def volumes() -> ModuleType:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return run(monkeypatch, "volumes", "--volumes", "480", "--epochs", "2")


def test_volumes_are_told_apart(volumes: ModuleType) -> None:
    assert volumes.model.input_shape == (None, 20, 20, 20, 1)
    assert volumes.accuracy > 0.75


def test_balls_and_rods_hold_as_much_and_differ_in_length(
    volumes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "NOISE", 0.0)
    bodies, labels = volumes.simulate(400, seed=3)
    content = bodies.sum(axis=(1, 2, 3, 4))
    means = [content[labels == label].mean() for label in (0, 1)]
    # Balls of radius r = 2.5 to 3.8 hold 4/3 pi r^3: on average pi (3.8^4 - 2.5^4) / 3.9.
    assert means == pytest.approx([136.5, 136.5], rel=0.08)
    assert content.min() > 4 / 3 * np.pi * 2.5**3 * 0.9
    # A ball is as long as it is wide, at most 7.6; a rod of the same content 3^(2/3) as much.
    longest = np.array([np.ptp(np.argwhere(body[..., 0]), axis=0).max() + 1 for body in bodies])
    assert longest[labels == 0].max() <= 8
    assert np.median(longest[labels == 1]) > 9


def test_simulated_volumes_come_from_their_seed(volumes: ModuleType) -> None:
    first, again, other = (volumes.simulate(3, seed=seed)[0] for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# LUNA16's crops


def write_split(folder: Path, split: str, count: int, *, zipped: bool = True) -> None:
    """Crops in the published layout, a bright disc in the nodules; the first is cut off."""
    rng = np.random.default_rng(len(split))
    distance = np.hypot(*(np.indices((50, 50)) - 24.5))
    (folder / split).mkdir()
    lines = []
    for i in range(count):
        pixels = rng.normal(60, 20, (50, 50)) + 120 * (i % 2) * (distance < 6)
        name = f"{split}/image_{i}.png"
        grey = np.clip(pixels, 0, 255).astype(np.uint8)
        Image.fromarray(grey if i else grey[:, 3:]).save(folder / name)
        lines.append(f"{name} {i % 2}\n")
    (folder / f"{split}datalabels.txt").write_text("".join(lines))
    if zipped:
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for path in (folder / split).iterdir():
                archive.write(path, f"{split}/{path.name}")
                path.unlink()


def test_the_crops_are_learned_from_an_archive_and_scored_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_split(tmp_path, "train", 128)
    write_split(tmp_path, "held_out", 30, zipped=False)
    done = run(monkeypatch, "luna16_crops", str(tmp_path), "--score", "held_out", "--epochs", "4")
    last = capsys.readouterr().out.splitlines()[-1]
    printed = re.fullmatch(
        r"AUC (0\.\d+|1\.0+) \((.*) to (.*)\) on 30 crops, 15 nodules, \d+ s", last
    )
    assert printed is not None, last
    area, low, high = map(float, printed.groups())
    assert 0.95 <= area <= 1  # a disc is 6 standard deviations brighter than its ground
    assert low <= area <= high
    assert done.model.output_shape == (None, 1)


@pytest.mark.parametrize("wrong", ["folder", "list", "split", "kind"])
def test_wrong_crops_are_told_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wrong: str,
) -> None:
    write_split(tmp_path, "train", 4)
    write_split(tmp_path, "val", 2)
    write_split(tmp_path, "nodules", 2)
    (tmp_path / "nodulesdatalabels.txt").write_text("nodules/image_1.png 1\n")
    arguments = {
        "folder": [str(tmp_path / "nowhere")],
        "list": [str(tmp_path)],
        "split": [str(tmp_path), "--score", "test"],
        "kind": [str(tmp_path), "--score", "nodules"],
    }
    told = {
        "folder": r"nowhere.traindatalabels\.txt: .*no such file",
        "list": r"val\.zip: .*no val/image_9\.png",
        "split": r"testdatalabels\.txt: .*no such file",
        "kind": r"nodules: .*one kind alone",
    }
    (tmp_path / "valdatalabels.txt").write_text("val/image_0.png 0\nval/image_9.png 1\n")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "luna16_crops", *arguments[wrong])
    assert ended.value.code == 2
    assert re.search(told[wrong], capsys.readouterr().err)


@pytest.mark.slow
def test_nodules_are_told_from_the_rest_in_lunas_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, "luna16_crops", str(real("lung", "luna16_patches")))
    assert done.auc >= 0.97


# What the architectures of examples and README learn


@pytest.mark.slow
def test_resnet20_learns_mnist() -> None:
    train, _ = mnist.load(real("digits", "mnist"))
    pictures, labels = train.images[:12_000, ..., None] / np.float32(255), train.labels[:12_000]
    keras.utils.set_random_seed(0)
    model = resnet20((28, 28, 1), num_classes=10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # A rate that falls: at a constant one, the last batches' statistics cost two points.
    rate = keras.optimizers.schedules.CosineDecay(3e-3, decay_steps=3 * 157)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(pictures[:10_000], labels[:10_000], batch_size=64, epochs=3, verbose=0)
    accuracy = model.evaluate(pictures[10_000:], labels[10_000:], verbose=0)[1]
    assert accuracy >= 0.97
