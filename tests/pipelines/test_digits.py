"""Digits from the command line: one small training, and all that is done with its model."""

import contextlib
import csv
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from sklearn.datasets import load_digits

from fieldsight.datasets import uci_digits
from fieldsight.datasets.mnist import write_idx
from fieldsight.pipelines.__main__ import main
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._resuming import refuse_other_settings
from fieldsight.pipelines.digits import Train

ROOT = Path(__file__).resolve().parents[2]
TEST = 359  # the last fifth of 1,797, in file order: 1,078 and 360 stand before them


@dataclass(frozen=True)
class Said:
    """What a command ended with."""

    code: int
    out: str
    err: str


def command(*arguments: object) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Trained:
    """A home with one run of one epoch in it, and what the command printed."""

    home: Path
    said: Said

    @property
    def figures(self) -> dict[str, Any]:
        """What stood on stdout."""
        figures: dict[str, Any] = json.loads(self.said.out)
        return figures

    @property
    def client(self) -> MlflowClient:
        """Of its tracking store."""
        uri = f"sqlite:///{(self.home / 'mlflow.db').as_posix()}"
        return MlflowClient(uri, uri)

    @property
    def run(self) -> Any:
        """Its run, from MLflow."""
        return self.client.get_run(self.figures["run"])

    @property
    def model(self) -> Path:
        """The champion's file."""
        version = self.client.get_model_version_by_alias("fieldsight-digits-uci", "champion")
        (file,) = (self.home / "artifacts").rglob(f"{version.source.split('/')[-2]}/**/*.keras")
        return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Trained]:
    home = tmp_path_factory.mktemp("digits") / "home"
    home.mkdir()
    shutil.copyfile(empty_store, home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDSIGHT_HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Trained(home, command("digits", "train", "--epochs", 1, "--json"))


# The run


def test_stdout_is_one_json_object_with_the_names_of_every_application(trained: Trained) -> None:
    assert trained.said.code == 0
    assert trained.said.out.count("\n") == 1
    figures = trained.figures
    assert {
        f"{side}test_accuracy{end}"
        for side in ("", "baseline_", "random_split_", "random_split_baseline_")
        for end in ("", "_low", "_high")
    } <= figures.keys()
    for side in ("", "baseline_"):
        low, middle, high = (figures[f"{side}test_accuracy{end}"] for end in ("_low", "", "_high"))
        assert 0 < low < middle < high < 1
        # Wilson's interval by hand, 1.96 standard errors.
        z = 1.959964
        centre = (middle + z * z / (2 * TEST)) / (1 + z * z / TEST)
        half = z * np.sqrt(middle * (1 - middle) / TEST + z * z / (4 * TEST**2))
        assert low == pytest.approx(centre - half / (1 + z * z / TEST), abs=1e-6)
        assert high == pytest.approx(centre + half / (1 + z * z / TEST), abs=1e-6)
    difference = figures["test_accuracy"] - figures["baseline_test_accuracy"]
    assert figures["test_accuracy_difference"] == pytest.approx(difference, abs=1e-9)
    low, high = (figures[f"test_accuracy_difference_{end}"] for end in ("low", "high"))
    assert low <= difference <= high
    assert figures["parameters"] == 61_706  # LeNet-5's
    assert figures["baseline_parameters"] == 784 * 128 + 128 + 128 * 10 + 10


def test_progress_and_how_to_resume_are_told_on_stderr(trained: Trained) -> None:
    lines = trained.said.err.splitlines()
    assert any(line.startswith(f"tracked in {trained.home}") for line in lines)
    local = trained.run.data.tags["fieldsight.run"]
    assert f"if it is stopped: fieldsight digits train --resume {local}" in lines
    assert any(line.startswith("epoch 1/1  ") for line in lines)
    assert "Traceback" not in trained.said.err


def test_the_figures_are_the_registered_models_on_the_last_fifth(trained: Trained) -> None:
    model = keras.saving.load_model(trained.model, safe_mode=True)
    # Labels from scikit-learn itself, in file order.
    labels = load_digits().target[-TEST:]
    images = uci_digits.load().images[-TEST:]
    right = model.predict(images, verbose=0).argmax(axis=1) == labels
    assert trained.figures["test_accuracy"] == pytest.approx(right.mean(), abs=1e-9)
    assert right.mean() > 0.3, "one epoch teaches more than chance"


def test_the_run_holds_settings_environment_and_fingerprints(trained: Trained) -> None:
    run = trained.run
    assert run.info.status == "FINISHED"
    params, tags = run.data.params, run.data.tags
    expected = {
        "data": "uci", "network": "lenet5", "epochs": "1", "seed": "0", "recipe_epochs": "1",
        "recipe_batch_size": "32", "train_pictures": "1078", "val_pictures": "360",
        "test_pictures": "359",
    }  # fmt: skip
    assert {name: params.get(name) for name in expected} == expected
    for name in ("data_fingerprint", "split_fingerprint"):
        assert len(params[name]) == 64
    assert tags["data"] == "uci"
    assert tags["simulated"] == "false"
    assert tags["version.keras"] == keras.__version__
    assert tags["backend"] == keras.backend.backend()
    known = subprocess.run(
        ["git", "-C", str(ROOT), "merge-base", "--is-ancestor", tags["git_commit"], "HEAD"]
    )
    assert known.returncode == 0
    assert not any("json" in name or "resume" in name for name in params)


def test_the_run_holds_metrics_by_epoch_and_the_final_ones(trained: Trained) -> None:
    run, client = trained.run, trained.client
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        history = client.get_metric_history(run.info.run_id, name)
        assert [entry.step for entry in history] == [1]
    assert not any("validation_" in name for name in run.data.metrics)
    for name, value in trained.figures.items():
        if name != "run":
            assert run.data.metrics[name] == pytest.approx(value), name
    assert run.data.metrics["val_accuracy"] == trained.figures["val_accuracy_at_best"]
    assert any(name.startswith("system/") for name in run.data.metrics)


def test_the_run_holds_its_page_and_pictures(trained: Trained, tmp_path: Path) -> None:
    client, run_id = trained.client, trained.run.info.run_id
    assert {"report.html", "pictures"} <= {item.path for item in client.list_artifacts(run_id)}
    folder = Path(client.download_artifacts(run_id, "", str(tmp_path)))
    for name in ("learning_curves", "confusion_matrix", "worst_mistakes"):
        with Image.open(folder / "pictures" / f"{name}.png") as picture:
            picture.load()
            assert min(picture.size) > 100
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"{100 * trained.figures['test_accuracy']:.2f} %" in page
    assert page.count("data:image/png;base64,") >= 3
    assert 'src="http' not in page


def test_the_model_is_registered_as_champion_with_its_card(trained: Trained) -> None:
    version = trained.client.get_model_version_by_alias("fieldsight-digits-uci", "champion")
    assert version.run_id == trained.run.info.run_id
    assert version.tags["data"] == "uci"
    assert version.tags["validation_metric"] == "val_accuracy"
    score = trained.figures["val_accuracy_at_best"]
    assert float(version.tags["validation_value"]) == pytest.approx(score)
    files = [path for path in trained.model.parents[1].rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".cloudpickle")]


def test_a_finished_run_is_not_resumed(trained: Trained) -> None:
    for reference in (trained.figures["run"], trained.run.data.tags["fieldsight.run"]):
        said = command("digits", "train", "--resume", reference)
        assert said.code == 2
        assert "which is finished" in said.err


# Evaluate


def test_evaluate_finds_the_champion_and_agrees_with_its_run(
    trained: Trained, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    said = command("digits", "evaluate", "--data", "uci", "--json", "--out", out)
    assert said.code == 0
    assert said.out.count("\n") == 1
    figures = json.loads(said.out)
    for end in ("", "_low", "_high"):
        name = f"test_accuracy{end}"
        assert figures[name] == pytest.approx(trained.figures[name], abs=1e-9)
    assert figures["run"] == trained.figures["run"]
    assert figures["model"] == "fieldsight-digits-uci"
    assert (figures["data"], figures["trained_on"], figures["pictures"]) == ("uci", "uci", TEST)
    assert json.loads((out / "figures.json").read_text()) == figures
    with (out / "answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = load_digits().target[-TEST:]
    assert [int(row["label"]) for row in rows] == labels.tolist()
    probabilities = np.array([[float(row[f"p{digit}"]) for digit in range(10)] for row in rows])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    right = np.mean([row["label"] == row["answer"] for row in rows])
    assert right == pytest.approx(figures["test_accuracy"], abs=1e-9)
    truth = np.clip(probabilities[np.arange(TEST), labels], 1e-7, 1)
    assert figures["test_log_loss"] == pytest.approx(-np.log(truth).mean(), abs=1e-3)
    for name in ("confusion.png", "mistakes.png"):
        with Image.open(out / name) as picture:
            picture.load()


# Predict


def drawn(image: Any, side: int = 112) -> Any:
    """A digit of UCI's as dark ink on white, enlarged."""
    return Image.fromarray(255 - image).resize((side, side), Image.Resampling.BICUBIC)


def page_of_six(path: Path) -> list[tuple[int, int, int, int]]:
    """Two lines of three digits on white; returns the boxes that each is drawn in."""
    page = Image.new("L", (600, 400), 255)
    cells = []
    images, labels = uci_digits.load().images, load_digits().target
    for index, digit in enumerate((2, 3, 6, 8, 0, 5)):  # of one piece each
        x, y = 40 + 190 * (index % 3), 40 + 190 * (index // 3)
        page.paste(drawn(images[np.flatnonzero(labels == digit)[0]]), (x, y))
        cells.append((x, y, x + 112, y + 112))
    page.save(path)
    return cells


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predict_reads_a_page_in_order_and_goes_on_past_what_cannot_be_read(
    trained: Trained, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cells = page_of_six(folder / "page.png")
    Image.new("L", (300, 200), 255).save(folder / "blank.png")
    (folder / "text.png").write_text("no picture at all")
    (folder / "zero.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not asked for")
    out = tmp_path / "answers.csv"
    said = command("digits", "predict", folder, "--out", out, "--overlay", tmp_path / "drawn")
    assert said.code == 1, said.err

    assert out.read_text().splitlines()[0] == "file,x0,y0,x1,y1,digit,probability,margin"
    rows = rows_of(out)
    assert [row["file"] for row in rows] == [str(folder / "page.png")] * 6
    for row, (x0, y0, x1, y1) in zip(rows, cells, strict=True):  # in reading order
        box = [int(row[name]) for name in ("x0", "y0", "x1", "y1")]
        assert x0 - 3 <= box[0] < box[2] <= x1 + 3
        assert y0 - 3 <= box[1] < box[3] <= y1 + 3
        assert box[3] - box[1] > 60  # 20 of 28 pixels, four times enlarged
        assert row["digit"] in "0123456789"
        assert 0 < float(row["margin"]) <= float(row["probability"]) <= 1

    about = json.loads((tmp_path / "answers.json").read_text())
    assert about["answers"] == "answers.csv"
    assert about["model"] == "fieldsight-digits-uci"
    assert about["run"] == trained.figures["run"]
    assert about["data"] == "uci"
    assert about["simulated"] is False
    assert about["card"]["limits"]
    assert about["digits_by_picture"] == {
        str(folder / "page.png"): 6,
        str(folder / "blank.png"): 0,
    }
    assert about["failures"].keys() == {str(folder / "text.png"), str(folder / "zero.png")}
    assert "needs to be a picture" in about["failures"][str(folder / "text.png")]
    told = [line for line in said.err.splitlines() if line.startswith("fieldsight: ")]
    assert [("text.png" in line, "zero.png" in line) for line in told] == [
        (True, False),
        (False, True),
    ]
    assert "Traceback" not in said.err

    digits = "".join(row["digit"] for row in rows)
    assert f"page.png: {digits[:3]} / {digits[3:]}" in said.out
    assert "blank.png: no digits" in said.out
    assert "fieldsight-digits-uci v1" in said.out
    overlays = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert overlays == ["blank.png", "page.png"]
    with Image.open(tmp_path / "drawn" / "page.png") as picture:
        colours = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.ptp(colours, axis=2) > 60).any(), "boxes and answers are drawn in colour"


def test_nothing_readable_is_two_and_nothing_written_is_zero(
    trained: Trained, tmp_path: Path
) -> None:
    text, blank = tmp_path / "text.png", tmp_path / "blank.png"
    text.write_text("no picture at all")
    Image.new("RGB", (300, 200), (240, 235, 220)).save(blank)
    out = tmp_path / "answers.csv"
    assert command("digits", "predict", blank, blank, "--out", out).code == 0
    assert out.read_text() == "file,x0,y0,x1,y1,digit,probability,margin\n"
    done = command("digits", "predict", text, tmp_path / "nosuch.png", "--out", out)
    assert done.code == 2
    assert "text.png" in done.err
    assert "nosuch.png" in done.err  # and what was answered before stays:
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["digits_by_picture"] == {str(blank): 0}
    assert about["failures"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "FILE", "--overlay", "FILE"], "--overlay: a folder was needed"),
        (["predict", "FILE", "--out", "FOLDER"], "--out: a file to write was needed"),
        (["predict", "FILE", "--out", "FILE/a.csv"], "--out: a folder was needed"),
        (["evaluate", "--data", "uci", "--out", "FILE"], "--out: a folder was needed"),
        (["explain", "--out", "FILE"], "--out: a folder was needed"),
        (["compare", "--out", "FOLDER"], "--out: a file to write was needed"),
        (["compare", "--out", "a.txt"], "--out: a name that ends in .png was needed"),
        (["train", "--data-dir", "FOLDER"], "--data uci ships with scikit-learn"),
    ],
)
def test_what_cant_be_written_or_read_is_told_before_any_work(
    tmp_path: Path, home: Path, arguments: list[str], message: str
) -> None:
    file = tmp_path / "text.txt"
    file.write_text("no folder")
    places = [
        word.replace("FILE", str(file)).replace("FOLDER", str(tmp_path)) for word in arguments
    ]
    done = command("digits", *places)
    assert done.code == 2
    (line,) = done.err.strip().splitlines()
    assert message in line
    assert [path.name for path in tmp_path.iterdir() if path != home] == ["text.txt"]


def test_a_resumed_run_takes_no_other_settings() -> None:
    was = Train(data="mnist", epochs=3)
    refuse_other_settings(Train(resume="a1", json=True), was)
    refuse_other_settings(Train(resume="a1", data="mnist", epochs=3), was)
    with pytest.raises(CommandError, match=r"there --epochs is 3. Received: 7. Leave it out"):
        refuse_other_settings(Train(resume="a1", epochs=7), was)


def test_a_models_file_is_enough_and_a_full_disk_keeps_the_old_answers(
    trained: Trained, home: Path, small_disk: Path, tmp_path: Path
) -> None:
    model = tmp_path / "mine.keras"
    shutil.copyfile(trained.model, model)
    digit = tmp_path / "eight.png"
    drawn(uci_digits.load().images[8]).save(digit)
    out = small_disk / "answers.csv"
    arguments = ["digits", "predict", digit, "--model", model, "--out", out]
    assert not list(home.glob("artifacts/*")), "no champion is in reach"
    assert command(*arguments).code == 0
    assert len(rows_of(out)) == 1
    about = json.loads(out.with_suffix(".json").read_text())
    assert (about["model"], about["data"]) == ("fieldsight-digits-uci", "uci")
    assert about["run"] == trained.run.data.tags["fieldsight.run"]

    old = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1000))
    said = command(*arguments)
    assert said.code == 2
    assert "no space is left there; what was there before is still whole" in said.err
    assert "Traceback" not in said.err
    (small_disk / "filler").unlink()
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == old


def test_a_full_disk_while_it_trains_is_told_and_the_champion_stays(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The store is away: what SQLite and MLflow say of a full disk is another matter.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    resource = pytest.importorskip("resource")
    folder = tmp_path / "mnist"
    folder.mkdir()
    whole = uci_digits.load()
    for stem, chosen in (("train", slice(60)), ("t10k", slice(60, 90))):
        write_idx(folder / f"{stem}-images-idx3-ubyte", whole.images[chosen])
        write_idx(folder / f"{stem}-labels-idx1-ubyte", whole.labels[chosen])
    before = trained.model.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        said = command(
            "digits", "train", "--data", "mnist", "--data-dir", folder, "--network", "mlp",
            "--epochs", 1,
        )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert said.code == 2
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1].startswith("fieldsight: ")
    assert "larger than is allowed" in said.err
    assert trained.model.read_bytes() == before
    names = [model.name for model in trained.client.search_registered_models()]
    assert names == ["fieldsight-digits-uci"]


# Compare and explain


def test_compare_trains_four_networks_a_seed_and_draws_them(
    trained: Trained, tmp_path: Path
) -> None:
    out = tmp_path / "compare.png"
    said = command("digits", "compare", "--seeds", 1, "--epochs", 1, "--out", out, "--json")
    assert said.code == 0
    assert said.out.count("\n") == 1
    figures = json.loads(said.out)
    accuracies = {
        (network, form): figures[f"test_accuracy_{network}_{form}"]
        for network in ("lenet5", "mlp")
        for form in ("plain", "shuffled")
    }
    assert all(0 <= value <= 1 for value in accuracies.values())
    assert figures["cost_of_shuffling_cnn"] == pytest.approx(
        accuracies["lenet5", "plain"] - accuracies["lenet5", "shuffled"], abs=1e-9
    )
    assert figures["cnn_over_dense_shuffled"] == pytest.approx(
        accuracies["lenet5", "shuffled"] - accuracies["mlp", "shuffled"], abs=1e-9
    )
    for name in ("cnn_over_dense_plain", "cost_of_shuffling_dense"):
        assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]
    assert [line for line in said.err.splitlines() if line.startswith("4/4: ")]
    with Image.open(out) as picture:
        picture.load()
    (run,) = trained.client.search_runs(
        [trained.run.info.experiment_id], "attributes.run_name = 'compare on uci'"
    )
    assert run.data.metrics["cost_of_shuffling_cnn"] == figures["cost_of_shuffling_cnn"]
    kept = [item.path for item in trained.client.list_artifacts(run.info.run_id)]
    assert kept == ["compare.png"]


def test_explain_draws_pictures_and_a_page_into_the_folder_and_the_run(
    trained: Trained, tmp_path: Path
) -> None:
    out = tmp_path / "explain"
    said = command("digits", "explain", "--out", out)
    assert said.code == 0
    pictures = sorted(out.glob("*.png"))
    names = [picture.stem for picture in pictures]
    for needed in ("filters", "grad_cam", "grad_cam_mistakes", "worst_mistakes"):
        assert needed in names
    # LeNet-5: two convolutions and two poolings among its layers, and favourites of each unit.
    assert len([name for name in names if name.startswith("maps_")]) >= 4
    assert len([name for name in names if name.startswith("favourites_")]) >= 4
    for path in pictures:
        assert str(path) in said.out
        with Image.open(path) as picture:
            picture.load()
            assert np.asarray(picture.convert("L")).std() > 5, f"{path.name} shows nothing"
    page = (out / "explain.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(pictures)
    run_id = trained.run.info.run_id
    kept = {Path(item.path).name for item in trained.client.list_artifacts(run_id, "explain")}
    assert kept == {path.name for path in out.iterdir()}
