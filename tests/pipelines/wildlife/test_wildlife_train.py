"""Training end to end on a few small flights, killed and resumed; all actions with its model."""

import csv
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldsight.core import runtime
from fieldsight.core.runtime.predictor import Predictor
from fieldsight.datasets import animals
from fieldsight.datasets.thermal import Scale
from fieldsight.pipelines.__main__ import main
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._models import read_card
from fieldsight.pipelines.wildlife import (
    Train,
    _cohort,
    _detector,
    _finder,
    _pictures,
    _recipes,
    _train,
)
from fieldsight.pipelines.wildlife._windows import Pictures, Windows

FLIGHTS, FRAMES, SIZE = 6, 5, (96, 128)


def write_flights(folder: Path) -> Path:
    """Flights in BIRDSAI's layout: elephants are bright and large, people small; one moves on."""
    rng = np.random.default_rng(0)
    for flight in range(FLIGHTS):
        part = folder / ("TestReal" if flight == FLIGHTS - 1 else "TrainReal")
        name = f"flight{flight}"
        (part / "images" / name).mkdir(parents=True)
        (part / "annotations").mkdir(exist_ok=True)
        rows = []
        for number in range(7, 7 + FRAMES):
            image = rng.normal(110, 3, SIZE)
            for track, (w, h, kind, species) in enumerate(((14, 10, 0, 1), (5, 6, 1, 0))):
                x, y = 20 + 50 * track + 2 * (number - 7) + flight, 30 + 20 * track
                image[y : y + h, x : x + w] += 70
                rows.append(f"{number},{track},{x},{y},{w},{h},{kind},{species},0,0")
            path = part / "images" / name / f"{name}_{number:010d}.jpg"
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path, quality=95)
        (part / "annotations" / f"{name}.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flights(tmp_path_factory.mktemp("data") / "birdsai")


SMALL = dataclasses.replace(
    _recipes.QUICK, filters=(8, 16), pyramid=16, side=64, steps=30, mined=10, unaided=1,
    recipe=dataclasses.replace(
        _recipes.QUICK.recipe, epochs=2, batch_size=4, learning_rate=1e-2
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(
    flights: Path, tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[dict[str, Any]]:
    """One training, in a store of its own, and what it printed."""
    import contextlib
    import io

    home = tmp_path_factory.mktemp("home")
    shutil.copyfile(empty_store, home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDSIGHT_HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as small, contextlib.redirect_stdout(printed):
            small.setattr(_recipes, "QUICK", SMALL)  # for this training alone
            code = main(["wildlife", "train", "--data", str(flights), "--json",
                         "--precision", "float32", "--frames-per-second", "5"])  # fmt: skip
        assert code == 0
        model = next(home.rglob("model.keras"))
        yield {"figures": json.loads(printed.getvalue()), "model": model, "home": home}


def test_training_scores_the_published_test_flights_and_keeps_what_validation_chose(
    trained: dict[str, Any],
) -> None:
    # W-1, W-10, W-12, C-9, C-10.
    figures, card = trained["figures"], read_card(trained["model"])
    for name in ("test_ap50", "test_f1", "test_track_hota", "test_person_track_recall",
                 "baseline_test_f1", "test_f1_low", "val_f1"):  # fmt: skip
        assert 0 <= figures[name] <= 1, name
    assert set(figures["headline"]) <= set(figures)
    facts = card.facts
    assert facts["classes"] == ["human", "elephant"]
    assert facts["people"] == ["human"]
    assert facts["thermal"] is True
    assert not card.simulated
    assert "one scale" in card.input
    assert 0 < facts["threshold"] < 1
    assert facts["alarms"]["person"]["objects"] >= 1
    assert facts["frames_per_second"] == 5


def test_a_run_keeps_the_page_the_film_and_who_was_missed(trained: dict[str, Any]) -> None:
    # W-11, W-13.
    kept = {path.name for path in trained["home"].rglob("*") if path.is_file()}
    assert {"report.html", "missed.csv", "flight5.mp4", "precision_recall.png",
            "detections.coco.json"} <= kept  # fmt: skip


def test_predict_finds_counts_and_draws_with_the_model(
    trained: dict[str, Any], flights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = flights / "TestReal" / "images" / "flight5"
    out = tmp_path / "out"
    code = main(["wildlife", "predict", str(source), "--out", str(out), "--json",
                 "--model", str(trained["model"]), "--threshold", "0.2"])  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {row["label"] for row in said["counts"]} == {"human", "elephant"}
    images = json.loads((out / "detections.coco.json").read_text())["images"]
    assert len(images) == FRAMES
    assert (out / "videos").is_dir()


def test_watch_looks_at_every_frame(
    trained: dict[str, Any], flights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "flight5"
    shutil.copytree(flights / "TestReal" / "images" / "flight5", source)
    out = tmp_path / "alerts"
    code = main(["wildlife", "watch", str(source), "--out", str(out), "--idle-s", "1",
                 "--model", str(trained["model"])])  # fmt: skip
    said = capsys.readouterr()
    assert code == 0
    assert json.loads((out / "watch.json").read_text())["frames"] == FRAMES
    assert "no person" in said.err or "person tracks found" in said.err


def test_evaluate_scores_the_part_for_the_test(
    trained: dict[str, Any], flights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores"
    code = main(["wildlife", "evaluate", "--data", str(flights), "--part", "test", "--json",
                 "--frames-per-second", "5", "--model", str(trained["model"]),
                 "--out", str(out)])  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert code == 0
    # The test split once more: the same figures as in training.
    for name in ("ap50", "f1", "track_hota"):
        assert said[name] == pytest.approx(trained["figures"][f"test_{name}"], abs=0.02)
    assert {"figures.json", "missed.csv", "precision_recall.png"} <= {
        path.name for path in out.iterdir()
    }


def test_evaluate_says_that_no_picture_can_be_read(
    trained: dict[str, Any], flights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = shutil.copytree(flights / "TestReal", tmp_path / "TestReal")
    for path in part.rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code = main(["wildlife", "evaluate", "--data", str(part), "--model", str(trained["model"]),
                 "--out", str(tmp_path / "scores")])  # fmt: skip
    said = capsys.readouterr().err
    assert code == 2
    assert "marked pictures that can be read were needed" in said
    assert "damaged or truncated" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("moment", ["while it looks for mistakes", "when they were shown"])
def test_a_killed_training_goes_on_to_the_same_weights(
    moment: str, flights: Path, home: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], trained: dict[str, Any],
) -> None:  # fmt: skip
    monkeypatch.setattr(_recipes, "QUICK", SMALL)
    real, before = _detector.mine, moment == "while it looks for mistakes"

    def killed(epoch: Any, *_: Any) -> Any:  # after the first epoch, which is kept
        if before or epoch == 1:
            raise KeyboardInterrupt

    told = _train._told
    # What a report and a trial of runtimes cost, the other tests pay for.
    monkeypatch.setattr(_pictures, "report", lambda *_: None)
    for module in (runtime, _finder):
        monkeypatch.setattr(module, "predictor", lambda model: Predictor(
            model, "keras", 1e-5, None, None))  # fmt: skip
    if before:
        monkeypatch.setattr(_detector, "mine", killed)
    else:
        monkeypatch.setattr(_train, "_told", lambda _: killed)
    asked = ["wildlife", "train", "--data", str(flights), "--json", "--precision", "float32",
             "--frames-per-second", "5"]  # fmt: skip
    main(asked)
    said = capsys.readouterr().err
    run = said.split("--resume ")[1].split()[0]
    # What was found is kept: none is looked for again.
    monkeypatch.setattr(_detector, "mine", real if before else pytest.fail)
    monkeypatch.setattr(_train, "_told", told)
    assert main(["wildlife", "train", "--resume", run, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["val_ap50"] == pytest.approx(trained["figures"]["val_ap50"], abs=1e-6)
    assert figures["test_f1"] == pytest.approx(trained["figures"]["test_f1"], abs=1e-6)
    assert any(home.rglob("model.keras"))


def test_prepare_counts_what_is_marked_and_tells_what_fails(
    flights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # C-11, W-2: frame numbers from 7 on, two objects a frame.
    data = tmp_path / "data"
    shutil.copytree(flights, data)
    broken = next((data / "TrainReal" / "images" / "flight0").iterdir())
    broken.write_bytes(broken.read_bytes()[:400])
    out = tmp_path / "out"
    code = main(["wildlife", "prepare", "--data", str(data), "--out", str(out), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert code == 1
    assert said["failed"] == 1
    assert said["objects"] == {"human": 29, "elephant": 29}
    assert said["pictures"] == FLIGHTS * FRAMES - 1
    with (out / "boxes.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 58


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--flights", "2"], "at least 4"),
        (["--epochs", "0"], "above 0"),
        (["--data", "nowhere"], "annotated pictures were needed"),
        (["--frames-per-second", "-1"], "more than 0"),
    ],
)
def test_what_no_training_can_use_is_refused_before_a_run_begins(
    arguments: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wildlife", "train", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (home / "runs").exists()


def test_evaluate_says_that_no_part_is_for_the_test(
    flights: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["wildlife", "evaluate", "--data", str(flights / "TrainReal"), "--part", "test"])
    assert code == 2
    assert "--part test" in capsys.readouterr().err


# What a training sees


def test_flights_stay_on_one_side(flights: Path, tmp_path: Path) -> None:
    # W-1.
    settings = Train(data=flights)
    cohort = _cohort.load(settings, SMALL, tmp_path, lambda _: lambda *_: None)
    sides = [{unit.group for unit in side} for side in (cohort.train, cohort.val, cohort.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == FLIGHTS
    assert sides[2] == {"TestReal/flight5"}


def test_data_without_marks_are_refused(flights: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(flights, data)
    for table in data.rglob("*.csv"):
        table.write_text("")
    with pytest.raises(CommandError, match="without any"):
        _cohort.check(Train(data=data))


def test_classes_of_another_set_are_matched_by_name_and_new_ones_come_behind(
    flights: Path,
) -> None:
    found = animals.load(flights)  # human, elephant
    classes, kinds, numbers = _cohort.joined(
        ("Elephant", "truck"), frozenset(), frozenset({"truck"}), found
    )
    assert classes == ("Elephant", "truck", "human")
    assert kinds == ("animal", "vehicle", "person")
    assert numbers.tolist() == [2, 0]


def test_a_rate_that_nobody_says_is_told(flights: Path) -> None:
    found = animals.load(flights)
    assert "30 a second are assumed" in (_cohort.assumed_rate(found, None) or "")
    assert _cohort.assumed_rate(found, 5.0) is None


def test_a_rate_that_the_files_say_is_taken(flights: Path) -> None:
    found = animals.load(flights)
    first, *others = dict.fromkeys(frame.group for frame in found.frames)
    frames = [dataclasses.replace(frame, simulated=False) for frame in found.frames]
    said = dataclasses.replace(found, frames=tuple(frames), rates={first: 12.5})
    rates = {unit.name: unit.frames_per_second for unit in _cohort.units_of(said, said.frames)}
    assert rates == {first: 12.5, **dict.fromkeys(others)}
    note = _cohort.assumed_rate(said, None) or ""
    assert f"of {len(others)} sequences" in note
    assert "12.5 a second are assumed" in note
    every = dataclasses.replace(said, rates=dict.fromkeys(rates, 12.5))
    assert _cohort.assumed_rate(every, None) is None
    assert _cohort.rate_of(every, None) == 12.5
    given = _cohort.units_of(every, every.frames, 5.0)
    assert {unit.frames_per_second for unit in given} == {5.0}


def test_windows_turn_and_mirror_marks_with_their_pictures(flights: Path) -> None:
    found = animals.load(flights)
    pictures = Pictures(_cohort.units_of(found, found.frames), _cohort.Eye(True))
    draw = Windows(pictures, num_classes=2, stride=4, side=64, batch_size=64)
    images, targets = draw(np.random.default_rng(0))
    ground = np.median(images, axis=(1, 2, 3))
    centres = np.argwhere(targets[..., -1] == 1)
    assert len(centres) > 40
    for number, row, column in centres:
        offsets = targets[number, row, column, -3:-1]
        y, x = (np.array([row, column]) + 0.5 + offsets) * 4
        there = images[number, int(min(63, y)), int(min(63, x)), 0]
        # What is warm stands out by 70 of 256 levels before the scale; some windows are inverted.
        assert abs(there - ground[number]) > 40


def test_16_bits_and_8_bits_of_one_scene_are_seen_alike() -> None:
    # W-5.
    ground = np.random.default_rng(0).normal(110, 8, (64, 64, 1))
    ground[30:34, 30:36] += 60
    eye = _cohort.Eye(True, "hot")
    eight = eye.see(np.rint(ground).astype(np.uint8))
    sixteen = eye.see((ground * 40 + 3000).astype(np.uint16))
    assert np.abs(eight.astype(int) - sixteen.astype(int)).mean() < 3
    # Of cold polarity the same, turned.
    cold = _cohort.Eye(True, "cold").see((255 - np.rint(ground)).astype(np.uint8))
    assert np.abs(eight.astype(int) - cold.astype(int)).mean() < 3
    assert isinstance(eye.scales([]), dict)
    assert Scale(0.0, 255.0).apply(np.full((1, 1, 1), 99, np.uint8)).item() == 99


@pytest.mark.slow
def test_the_default_run_finds_what_a_threshold_does_not(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wildlife", "train", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["test_ap50"] >= 0.75
    assert figures["test_ap50"] - figures["baseline_test_ap50"] >= 0.25
    assert figures["test_f1"] - figures["baseline_test_f1"] >= 0.25
