import getpass
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient

from fieldsight.pipelines import _journal, _tracking
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._journal import Journal
from fieldsight.pipelines._models import Card, read_card, save_model
from fieldsight.pipelines._run import Run, Validation

SETTINGS = {"epochs": 3, "learning_rate": 0.001, "folder": Path("pictures"), "seed": None}


def start(**changes: Any) -> Run:
    given: dict[str, Any] = {"settings": SETTINGS, "tags": {"data": "uci"}, **changes}
    return _tracking.start_run(given.pop("application", "digits"), **given)


def client(home: Path) -> MlflowClient:
    uri = f"sqlite:///{(home / 'mlflow.db').as_posix()}"
    return MlflowClient(uri, uri)


def card(data: str = "uci", *, simulated: bool = False, application: str = "digits") -> Card:
    return Card(
        name=f"fieldsight-{application}-{data}",
        application=application,
        architecture="mlp",
        data=data,
        simulated=simulated,
        data_fingerprint="d" * 64,
        split_fingerprint="e" * 64,
        intended_use="tests",
        limits="tests",
    )


def validation(value: float, fingerprint: str = "f", *, higher: bool = True) -> Validation:
    return Validation(
        metric="val_accuracy", value=value, fingerprint=fingerprint, higher_is_better=higher
    )


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pictures = keras.Input((28, 28), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pictures))
    model = keras.Model(pictures, keras.layers.Dense(10, activation="softmax")(flat))
    folder = tmp_path_factory.mktemp("models")
    cards = {"uci": card(), "mnist": card("mnist"), "simulated": card("simulated", simulated=True)}
    for name, one in cards.items():
        save_model(model, folder / f"{name}.keras", one)
    return {name: folder / f"{name}.keras" for name in cards}


def finished_run(keras_file: Path, judged: Validation | None = None) -> Run:
    with start() as run:
        run.model(keras_file, registered_name=read_card(keras_file).name, validation=judged)
    return run


def test_a_run_arrives_whole(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "project"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    note = tmp_path / "note.txt"
    note.write_text("first")
    with start(sample_every=0.05) as run:
        for epoch in range(3):
            run.metrics({"loss": 1 / (epoch + 1), "val_loss": float("nan")}, step=epoch)
        run.metrics({"test_accuracy": 0.99})
        run.params({"chosen/threshold": 0.5})
        run.tags({"verdict": "good"})
        run.artifact(note, "notes")
        note.write_text("changed after it was logged")
        assert run.settings == {**SETTINGS, "folder": "pictures"}
    assert run.mlflow_id is not None
    store = client(home)
    found = store.get_run(run.mlflow_id)
    assert store.get_experiment(found.info.experiment_id).name == "fieldsight/digits"
    assert found.info.status == "FINISHED"
    assert found.data.params["learning_rate"] == "0.001"
    assert found.data.params["chosen/threshold"] == "0.5"
    history = store.get_metric_history(run.mlflow_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert np.isnan(found.data.metrics["val_loss"])
    assert found.data.metrics["test_accuracy"] == 0.99
    assert found.data.tags["data"] == "uci"
    assert found.data.tags["verdict"] == "good"
    kept = home / "artifacts" / "digits" / run.mlflow_id / "artifacts" / "notes" / "note.txt"
    assert kept.read_text() == "first"
    assert list(elsewhere.iterdir()) == []  # a library writes nothing beside its user's code
    assert [entry.name for entry in (home / "runs" / run.id).iterdir()] == ["done.json"]
    assert run.id in run.where()


def test_a_run_knows_what_it_was_made_with(home: Path) -> None:
    with start(sample_every=0.05) as run:
        run.metrics({"loss": 1.0}, step=0)
        time.sleep(1.3)  # the first measurement
    found = client(home).get_run(str(run.mlflow_id)).data
    assert found.tags["version.keras"] == keras.__version__
    assert found.tags["backend"] == keras.backend.backend()
    assert found.tags["devices"]
    assert {"git_commit", "git_dirty", "python", "platform"} <= set(found.tags)
    assert 0 <= found.metrics["system/cpu_utilization_percentage"] <= 100
    assert found.metrics["system/system_memory_usage_megabytes"] > 0


def test_a_run_says_nothing_of_person_or_machine(home: Path) -> None:
    with start() as run:
        pass
    found = client(home).get_run(str(run.mlflow_id))
    said = json.dumps([found.data.tags, found.data.params, found.info.user_id])
    for private in (socket.gethostname(), str(Path.home()), str(home)):
        assert private not in said
    assert found.info.user_id in ("", "unknown")
    assert "mlflow.user" not in found.data.tags
    assert getpass.getuser() not in found.data.tags.values()


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_that_breaks_says_how(error: type[BaseException], status: str, home: Path) -> None:
    def train() -> Run:
        with start() as run:
            started.append(run)
            raise error

    started: list[Run] = []
    with pytest.raises(error):
        train()
    (run,) = started
    assert client(home).get_run(str(run.mlflow_id)).info.status == status


def test_calls_cost_the_training_thread_nothing(home: Path) -> None:
    seconds = []
    with start() as run:
        for step in range(300):
            began = time.perf_counter()
            run.metrics({"loss": 0.5, "accuracy": 0.9}, step=step)
            seconds.append(time.perf_counter() - began)
    assert statistics.median(seconds) < 0.005  # a busy machine may pause any process now and then
    assert len(client(home).get_metric_history(str(run.mlflow_id), "loss")) == 300


def left_by_kill(run: Run, home: Path) -> Path:
    """What `kill -9` leaves at this moment: the files as they are, the last line torn."""
    copy = home.with_name("after-kill") / "runs" / run.id
    source = home / "runs" / run.id
    copy.mkdir(parents=True)
    for name in ("journal.jsonl", "sent.json"):
        if (source / name).exists():
            (copy / name).write_bytes((source / name).read_bytes())
    with (copy / "journal.jsonl").open("ab") as file:
        file.write(b'{"n": 99, "kind": "metrics", "val')
    return copy


def until_sent(run: Run) -> None:
    patience = time.monotonic() + 30
    while len(run._journal) and time.monotonic() < patience:
        time.sleep(0.05)


def test_a_killed_run_goes_on_in_the_same_mlflow_run(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start()
    run.metrics({"loss": 1.0}, step=0)
    until_sent(run)
    first_id = run.mlflow_id
    run.metrics({"loss": 0.5}, step=1)
    folder = left_by_kill(run, home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{(home / 'mlflow.db').as_posix()}")
    monkeypatch.setenv("FIELDSIGHT_HOME", str(folder.parents[1]))
    with _tracking.resume_run(run.id[:6]) as again:
        assert again.settings["epochs"] == 3
        again.metrics({"loss": 0.25}, step=2)
    run.finish("KILLED")
    assert again.mlflow_id == first_id
    history = client(home).get_metric_history(str(first_id), "loss")
    assert sorted((point.step, point.value) for point in history) == [
        (0, 1.0),
        (1, 0.5),
        (2, 0.25),
    ]


def test_a_failed_run_can_be_resumed_and_a_finished_one_can_not(home: Path) -> None:
    run = start()
    (run.folder / "state").write_text("epoch 1")
    run.finish("FAILED")
    again = _tracking.resume_run(str(run.mlflow_id))
    assert again.id == run.id
    assert (again.folder / "state").read_text() == "epoch 1"
    with pytest.raises(CommandError, match="going on in another process"):
        _tracking.resume_run(run.id)
    again.finish()
    assert client(home).get_run(str(run.mlflow_id)).info.status == "FINISHED"
    assert not (home / "runs" / run.id / "work").exists()
    for reference in (run.id, str(run.mlflow_id)):
        with pytest.raises(CommandError, match="is finished"):
            _tracking.resume_run(reference)


@pytest.mark.parametrize("reference", ["0123456789ab", "../..", "", "model.keras"])
def test_an_unknown_run_is_named(reference: str, home: Path) -> None:
    with pytest.raises(CommandError, match="not among those in"):
        _tracking.resume_run(reference)


def test_what_the_store_refuses_does_not_hold_up_the_rest(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with start() as run:
        run.params({"epochs": 4, "other": "kept"})  # a parameter keeps its first value
        run.metrics({"loss": 1.0}, step=0)
    found = client(home).get_run(str(run.mlflow_id)).data
    assert (found.params["epochs"], found.params["other"]) == ("3", "kept")
    assert found.metrics["loss"] == 1.0
    assert "refused params epochs" in capsys.readouterr().err


# --- models ---


def test_the_artifact_holds_no_pickle(keras_files: dict[str, Path], home: Path) -> None:
    run = finished_run(keras_files["uci"])
    (folder,) = (home / "artifacts" / "digits" / "models").iterdir()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"MLmodel", "_served_model.py", "model.keras"} <= {path.name for path in files}
    contents = {path.name: path.read_bytes() for path in files}
    with zipfile.ZipFile(folder / "artifacts" / "artifacts" / "model.keras") as archive:
        contents |= {name: archive.read(name) for name in archive.namelist()}
    for name, content in contents.items():
        assert not name.endswith((".pkl", ".pickle", ".joblib"))
        # Protocols 2 to 5 begin with these bytes; the older ones are not written by anything here.
        assert content[:1] != b"\x80", name
    assert b"python_model:" not in contents["MLmodel"]  # where a pickle's path would stand
    checkout = str(Path(__file__).resolve().parents[2])
    for path in (str(home), checkout):  # no path of this machine
        assert path.encode() not in contents["MLmodel"]
    assert str(run.mlflow_id).encode() in contents["MLmodel"]


def test_mlflow_and_keras_answer_raw_pictures_alike(
    keras_files: dict[str, Path], home: Path
) -> None:
    finished_run(keras_files["uci"])
    (folder,) = (home / "artifacts" / "digits" / "models").iterdir()
    served = mlflow.pyfunc.load_model(str(folder / "artifacts"))
    pictures = np.random.default_rng(1).integers(0, 256, (4, 28, 28), dtype=np.uint8)
    answers = served.predict(pictures)
    assert (answers.dtype, answers.shape) == (np.float32, (4, 10))
    own = keras.saving.load_model(keras_files["uci"]).predict(pictures, verbose=0)
    np.testing.assert_allclose(answers, own, rtol=0, atol=1e-6)
    (tensor,) = served.metadata.signature.inputs.inputs
    assert (tensor.type, tensor.shape) == (np.dtype("uint8"), (-1, 28, 28))
    requirements = (folder / "artifacts" / "requirements.txt").read_text()
    assert f"keras=={keras.__version__}" in requirements


@pytest.mark.slow
def test_mlflow_serves_the_model_over_http(keras_files: dict[str, Path], home: Path) -> None:
    finished_run(keras_files["uci"])
    (folder,) = (home / "artifacts" / "digits" / "models").iterdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", str(folder / "artifacts"), "-h", "127.0.0.1", "-p", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (home / "log").open("wb") as log:
        serving = subprocess.Popen(
            [*command, "--workers", "1"],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PATH": path},
        )
    pictures = np.random.default_rng(1).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    try:
        answers = post(f"http://127.0.0.1:{port}/invocations", {"inputs": pictures.tolist()})
    finally:
        os.killpg(serving.pid, signal.SIGKILL)
        serving.wait(timeout=20)
    own = keras.saving.load_model(keras_files["uci"]).predict(pictures, verbose=0)
    np.testing.assert_allclose(answers["predictions"], own, rtol=0, atol=1e-6)


def post(url: str, content: object) -> Any:
    request = urllib.request.Request(
        url, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    patience = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except OSError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.5)


FIRST = {
    "validation_metric": "val_accuracy",
    "validation_value": "0.9",
    "validation_fingerprint": "f",
}


@pytest.mark.parametrize(
    ("new", "champion", "alias", "reason"),
    [
        (validation(0.1), None, "champion", "the first"),
        (None, None, "champion", "the first"),
        (None, FIRST, "candidate", "no validation score"),
        (validation(0.91), FIRST, "champion", "is better"),
        (validation(0.89), FIRST, "candidate", "not better"),
        (validation(0.9), FIRST, "candidate", "not better"),
        (validation(0.99, "g"), FIRST, "candidate", "other data"),
        (validation(0.8, higher=False), FIRST, "champion", "is better"),
        (validation(0.95, higher=False), FIRST, "candidate", "not better"),
        (validation(0.95), {**FIRST, "validation_metric": "val_f1"}, "candidate", "other metric"),
        (validation(0.95), {}, "candidate", "other data"),
        (validation(float("nan")), FIRST, "candidate", "not better"),
    ],
)
def test_validation_alone_makes_a_champion(
    new: Validation | None, champion: dict[str, str] | None, alias: str, reason: str
) -> None:
    decided, why = _tracking.decide(new, champion)
    assert decided == alias
    assert reason.replace("other metric", "another metric") in why


def test_champion_and_candidate_in_the_registry(keras_files: dict[str, Path], home: Path) -> None:
    name = "fieldsight-digits-uci"
    for value, fingerprint in ((0.90, "f"), (0.95, "f"), (0.93, "f"), (0.99, "g")):
        finished_run(keras_files["uci"], validation(value, fingerprint))
    store = client(home)
    assert store.get_model_version_by_alias(name, "champion").version == 2
    assert store.get_model_version_by_alias(name, "candidate").version == 4
    fourth = store.get_model_version(name, "4").tags
    assert fourth["decision"].startswith("candidate: the champion was validated on other data")
    assert (fourth["data"], fourth["simulated"]) == ("uci", "false")
    found = find(None)
    assert (found.name, found.version) == (name, "2")


def find(reference: str | None, **changes: Any) -> Any:
    given: dict[str, Any] = {"application": "digits", "make_with": "`make digits`", **changes}
    return _tracking.find_model(reference, **given)


def test_a_model_is_found_by_file_run_or_name(keras_files: dict[str, Path], home: Path) -> None:
    run = finished_run(keras_files["uci"], validation(0.9))
    assert find(str(keras_files["uci"])).path == keras_files["uci"]
    for reference in (run.id, run.id[:5], str(run.mlflow_id), "fieldsight-digits-uci@champion"):
        found = find(reference)
        assert found.version == "1"
        assert found.path.read_bytes() == keras_files["uci"].read_bytes()
        assert found.title == (
            f"fieldsight-digits-uci v1 (run {str(run.mlflow_id)[:8]}, trained on uci, real)"
        )


def test_of_a_run_with_two_kinds_of_models_the_right_one_is_found(
    keras_files: dict[str, Path], home: Path, tmp_path: Path
) -> None:
    network = keras.saving.load_model(keras_files["uci"])
    kinds = ("forest-tags", "forest-map")
    with start(application="forest") as run:
        for kind in kinds:
            one = card("simulated", application=kind)
            file = tmp_path / f"{kind}.keras"
            save_model(network, file, one)
            run.model(file, registered_name=one.name)
            assert _tracking._waiting_model(run.id, kind).card.application == kind  # type: ignore[union-attr]
    for reference in (run.id, str(run.mlflow_id), None):
        for kind in kinds:
            found = find(reference, application=kind)
            assert (found.name, found.card.application) == (f"fieldsight-{kind}-simulated", kind)


def test_the_default_is_the_newest_champion_for_the_data(
    keras_files: dict[str, Path], home: Path
) -> None:
    for name in ("uci", "mnist", "simulated"):
        finished_run(keras_files[name], validation(0.9))
    assert find(None).card.data == "mnist"  # the newest one that is real
    assert find(None, data="uci").card.data == "uci"
    assert find(None, allow_simulated=True).card.data == "simulated"
    with pytest.raises(CommandError, match="Give --allow-simulated"):
        find(None, data="simulated")
    with pytest.raises(CommandError, match="Give --allow-simulated"):
        find(str(keras_files["simulated"]))


def test_without_a_model_the_command_that_makes_one_is_named(home: Path) -> None:
    for reference in (None, "fieldsight-digits-uci@champion", "0123456789ab"):
        with pytest.raises(CommandError, match="`make digits` makes one"):
            find(reference)


def test_a_model_of_another_application_is_refused(
    keras_files: dict[str, Path], home: Path
) -> None:
    with pytest.raises(CommandError, match="of the application lung was needed"):
        find(str(keras_files["uci"]), application="lung")


# --- the journal ---


def test_a_full_disk_is_said_once_and_nothing_is_lost_while_the_run_lasts(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(small_disk / "run")
    journal.append("metrics", values={"loss": 1.0}, step=0)
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(b"0" * 512):
            pass
    for step in range(1, 100):  # until the last page of the journal is full, too
        journal.append("metrics", values={"loss": 1.0, "note" * 40: 2.0}, step=step)
    assert journal.keep(small_disk / "ballast") is None
    assert [record["step"] for record in journal.waiting()] == list(range(100))
    said = capsys.readouterr().err
    assert said.count("journal can't be written (No space left on device)") == 1
    assert "ballast was not kept" in said
    on_disk = [record["step"] for record in _journal.read_records(small_disk / "run")]
    assert on_disk == list(range(len(on_disk)))
    assert len(on_disk) < 100
    (small_disk / "ballast").unlink()
    journal.append("metrics", values={"loss": 1.0}, step=100)
    written = [record["step"] for record in _journal.read_records(small_disk / "run")]
    assert written == list(range(101))
    journal.close()


def test_a_run_without_a_place_for_its_journal_still_reaches_the_store(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "runs").write_text("a file where the folder should be")
    with start() as run:
        run.metrics({"loss": 0.5}, step=0)
    assert client(home).get_run(str(run.mlflow_id)).data.metrics["loss"] == 0.5
    assert capsys.readouterr().err.count("journal can't be written") == 1


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    journal.append("metrics", values={"loss": 1.0}, step=0)
    journal.close()
    with (tmp_path / "run" / "journal.jsonl").open("ab") as file:
        file.write(b'{"n": 2, "ki')
    again = Journal(tmp_path / "run")
    again.append("metrics", values={"loss": 0.5}, step=1)
    assert [record["n"] for record in _journal.read_records(tmp_path / "run")] == [1, 2]


def test_an_id_that_fits_two_runs_is_not_guessed(home: Path) -> None:
    for name in ("abcd11112222", "abcd33334444"):
        (home / "runs" / name).mkdir(parents=True)
    with pytest.raises(CommandError, match="abcd11112222, abcd33334444"):
        _journal.find("abcd")


# --- where ---


def test_where_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIELDSIGHT_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = Path(__file__).resolve().parents[2]
    assert _tracking.store().uri == f"sqlite:///{(root / 'mlflow' / 'mlflow.db').as_posix()}"
    monkeypatch.setattr(_journal, "checkout", lambda: None)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert Path(_tracking.store().where).name == "fieldsight"
    assert Path(_tracking.store().where) != tmp_path
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@tracking.example:5000")
    there = _tracking.store()
    assert (there.uri, there.artifact_location) == ("http://ann:secret@tracking.example:5000", None)
    assert there.where == "http://tracking.example:5000"
