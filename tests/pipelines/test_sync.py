import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fieldsight.pipelines import _tracking
from fieldsight.pipelines._sync import Sync


def start() -> _tracking.Run:
    return _tracking.start_run("digits", settings={"epochs": 2}, tags={"data": "uci"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real tracking server, which can be started again at its old address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"http://127.0.0.1:{free_port()}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        port = self.uri.rsplit(":", 1)[1]
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", port]
        command += ["--backend-store-uri", f"sqlite:///{(self.folder / 'mlflow.db').as_posix()}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        patience = time.monotonic() + 60
        while time.monotonic() < patience:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError((self.folder / "log").read_text()[-2000:])

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, number)  # the group that this test started, and no other
            if number == signal.SIGKILL:
                self.process.wait(timeout=20)
                self.process = None


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    made = Server(folder)
    yield made
    made.signal(signal.SIGKILL)


def losses(uri: str, run: _tracking.Run) -> list[float]:
    history = MlflowClient(uri, uri).get_metric_history(str(run.mlflow_id), "loss")
    return [point.value for point in sorted(history, key=lambda point: int(point.step))]


def train(run: _tracking.Run, epochs: range) -> float:
    """How long a call held up the training thread, at worst but for one pause of the machine."""
    seconds = [0.0]
    for epoch in epochs:
        began = time.perf_counter()
        run.metrics({"loss": float(epoch)}, step=epoch)
        seconds.append(time.perf_counter() - began)
        time.sleep(0.01)
    return sorted(seconds)[-2]


def test_a_store_that_is_away_hangs_or_is_killed_loses_nothing(
    home: Path,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")

    def send_now() -> int:
        with monkeypatch.context() as patient:  # a server that was just started takes its time
            patient.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
            return Sync().run()

    picture = tmp_path / "curve.txt"
    picture.write_text("a picture")

    # Away from the start: the run goes on and ends in bounded time.
    away = start()
    assert train(away, range(20)) < 0.5
    away.artifact(picture)
    began = time.monotonic()
    away.finish()
    assert time.monotonic() - began < 12
    said = capsys.readouterr().err
    assert "wait on this machine" in said
    assert "connection refused" in said
    assert "`fieldsight sync` sends them" in said
    assert Sync().run() == 1
    assert capsys.readouterr().err.count("\n") == 1

    # There at last: everything arrives.
    server.start()
    assert send_now() == 0
    assert f"run {away.id} (FINISHED)" in capsys.readouterr().out
    (sent,) = MlflowClient(server.uri).search_runs(["1"], f"tags.`fieldsight.run` = '{away.id}'")
    assert sent.info.status == "FINISHED"
    assert sent.data.metrics["loss"] == 19.0
    assert [item.path for item in MlflowClient(server.uri).list_artifacts(sent.info.run_id)] == [
        "curve.txt"
    ]

    # Hanging in the middle: it takes connections and answers nothing.
    hung = start()
    train(hung, range(5))
    until_sent(hung)
    server.signal(signal.SIGSTOP)
    assert train(hung, range(5, 60)) < 0.5
    began = time.monotonic()
    hung.finish()
    assert time.monotonic() - began < 12
    assert "no reply in time" in capsys.readouterr().err
    server.signal(signal.SIGCONT)
    assert send_now() == 0
    assert losses(server.uri, hung) == [float(i) for i in range(60)]

    # Killed in the middle, and back before the end: the run notices nothing.
    killed = start()
    train(killed, range(5))
    until_sent(killed)
    server.signal(signal.SIGKILL)
    assert train(killed, range(5, 60)) < 0.5
    killed.finish("FAILED")
    server.start()
    assert send_now() == 0
    assert losses(server.uri, killed) == [float(i) for i in range(60)]


def until_sent(run: _tracking.Run) -> None:
    patience = time.monotonic() + 30
    while len(run._journal) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not len(run._journal)


def test_sending_twice_changes_nothing(home: Path) -> None:
    run = start()
    train(run, range(5))
    run.finish("FAILED")
    folder = home / "runs" / run.id
    uri = f"sqlite:///{(home / 'mlflow.db').as_posix()}"
    state = json.loads((folder / "sent.json").read_text())
    # As if the process had died before it noted how far it got, or even which run it had made.
    for forgotten in ({**state, "sent": 0}, {}):
        (folder / "sent.json").write_text(json.dumps(forgotten))
        assert Sync().run() == 0
        client = MlflowClient(uri, uri)
        experiment = client.get_experiment_by_name("fieldsight/digits")
        (only,) = client.search_runs([experiment.experiment_id])
        assert only.info.run_id == run.mlflow_id
        assert losses(uri, run) == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert only.info.status == "FAILED"


def test_a_run_that_is_going_on_is_left_alone(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with start() as run:
        assert Sync().run() == 0
        assert f"run {run.id}: still going on" in capsys.readouterr().out
    assert Sync().run() == 0
    assert capsys.readouterr().out == "nothing waits to be sent\n"


def test_a_run_whose_process_died_is_marked_killed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start()
    train(run, range(3))
    until_sent(run)
    folder = home.with_name("after-kill") / "runs" / run.id
    folder.mkdir(parents=True)
    for name in ("journal.jsonl", "sent.json"):
        shutil.copyfile(home / "runs" / run.id / name, folder / name)
    uri = f"sqlite:///{(home / 'mlflow.db').as_posix()}"
    monkeypatch.setenv("FIELDSIGHT_HOME", str(folder.parents[1]))
    assert Sync().run() == 0
    assert MlflowClient(uri, uri).get_run(str(run.mlflow_id)).info.status == "KILLED"
    run.finish()


def test_a_run_can_be_sent_to_another_store(home: Path, tmp_path: Path, empty_store: Path) -> None:
    run = start()
    train(run, range(3))
    run.finish("FAILED")
    shutil.copyfile(empty_store, tmp_path / "other.db")
    uri = f"sqlite:///{(tmp_path / 'other.db').as_posix()}"
    assert Sync(to=uri).run() == 0
    (copy,) = MlflowClient(uri, uri).search_runs(["1"])
    assert (copy.data.tags["fieldsight.run"], copy.data.metrics["loss"]) == (run.id, 2.0)
