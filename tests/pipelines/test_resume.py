"""A training that was killed goes on where it was and ends as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from mlflow import MlflowClient
from numpy.typing import NDArray

from fieldsight.datasets import uci_digits
from fieldsight.datasets.mnist import write_idx

# Eight pictures a step make an epoch long enough to be killed in.
# One precision for both runs: auto tries for itself what is faster at that moment.
SETTINGS = ("--epochs", "4", "--batch-size", "8", "--seed", "5", "--precision", "float32", "--json")

# In one process of its own, whose TensorFlow computes as the killed one's did: pytest's may have
# been imported without oneDNN, which rounds otherwise.
RESUME_AND_TRAIN_WHOLE = """
import os, sys
from fieldsight.pipelines.__main__ import main
home, whole, run, *train = sys.argv[1:]
os.environ["FIELDSIGHT_HOME"] = home
assert main(["digits", "train", "--resume", run, "--json"]) == 0
os.environ["FIELDSIGHT_HOME"] = whole
assert main(train) == 0
"""


@pytest.fixture
def train(tmp_path: Path) -> list[str]:
    """The command: on UCI's digits in MNIST's layout, which aren't split a second time."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    digits = uci_digits.load()
    for stem, chosen in (("train", slice(960)), ("t10k", slice(960, 1160))):
        write_idx(folder / f"{stem}-images-idx3-ubyte", digits.images[chosen])
        write_idx(folder / f"{stem}-labels-idx1-ubyte", digits.labels[chosen])
    return ["digits", "train", "--data", "mnist", "--data-dir", str(folder), *SETTINGS]


@pytest.fixture
def homes(tmp_path: Path, empty_store: Path) -> list[Path]:
    """Two tracking stores without a run."""
    made = [tmp_path / name for name in ("killed", "whole")]
    for home in made:
        home.mkdir()
        shutil.copyfile(empty_store, home / "mlflow.db")
    return made


def client(home: Path) -> MlflowClient:
    uri = f"sqlite:///{(home / 'mlflow.db').as_posix()}"
    return MlflowClient(uri, uri)


def champions_weights(home: Path) -> list[NDArray[Any]]:
    (file,) = (home / "artifacts").rglob("*.keras")
    return [np.array(w) for w in keras.saving.load_model(file, compile=False).get_weights()]


def killed_in_the_third_epoch(train: list[str], environment: dict[str, str]) -> str:
    """Start the real command, kill -9 it once two epochs are finished, and return the run's id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fieldsight.pipelines", *train],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    run = ""
    told = []
    for line in process.stderr:
        told.append(line)
        if line.startswith("if it is stopped: "):
            run = line.split()[-1]
        if line.startswith("epoch 2/4"):
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.close()
    assert process.wait(timeout=60) == -signal.SIGKILL, "".join(told)
    return run


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_killed_in_the_third_epoch_and_resumed_it_ends_with_the_same_weights(
    train: list[str], homes: list[Path]
) -> None:
    environment = {**os.environ, "FIELDSIGHT_HOME": str(homes[0])}
    environment.pop("MLFLOW_TRACKING_URI", None)
    run = killed_in_the_third_epoch(train, environment)
    checkpoint = homes[0] / "runs" / run / "work" / "select" / "last.npz"
    with np.load(checkpoint, allow_pickle=False) as arrays:
        finished = json.loads(arrays["facts"].tobytes())["epoch"]
    assert finished in (2, 3), "it was to be killed half way"
    done = subprocess.run(
        [sys.executable, "-c", RESUME_AND_TRAIN_WHOLE, *map(str, homes), run, *train],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    first = next(line for line in done.stderr.splitlines() if line.startswith("epoch "))
    assert first.startswith(f"epoch {finished + 1}/4"), "it began again, or epochs were left out"
    resumed, whole = (json.loads(line) for line in done.stdout.splitlines())

    for one, other in zip(*map(champions_weights, homes), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    timed = {name for name in whole if "seconds" in name} | {"run"}
    assert {k: v for k, v in resumed.items() if k not in timed} == {
        k: v for k, v in whole.items() if k not in timed
    }
    histories = [history_of_the_one_run(homes[0], resumed), history_of_the_one_run(homes[1], whole)]
    assert [step for step, _ in histories[0]["val_accuracy"]] == [1, 2, 3, 4]
    assert [step for step, _ in histories[0]["refit_loss"]] == [5, 6]
    assert histories[0] == histories[1]


def history_of_the_one_run(home: Path, ended: dict[str, Any]) -> dict[str, list[Any]]:
    """Each metric's steps and values in the only run of a store, which is the one that ended."""
    there = client(home)
    experiment = there.get_experiment_by_name("fieldsight/digits")
    (only,) = there.search_runs([experiment.experiment_id])
    assert only.info.run_id == ended["run"]
    assert only.info.status == "FINISHED"
    return {
        name: [(e.step, e.value) for e in there.get_metric_history(only.info.run_id, name)]
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "refit_loss")
    }


UNDER_JAX = """
import dataclasses, sys, tempfile
from pathlib import Path
import keras, numpy as np
from fieldsight.core.architectures import mlp
from fieldsight.core.augmentation import affine_matrices, warp
from fieldsight.pipelines._training import Recipe, batches, compile_classifier, fit

assert keras.backend.backend() == "jax"
recipe = Recipe(epochs=5, batch_size=16, learning_rate=0.01, patience=2, seed=3)
rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (64, 8, 8)).astype("uint8"), rng.integers(0, 10, 64)

def distort(images, rng):
    return warp(images, affine_matrices(len(images), rng, shift_pixels=1))

def run(folder, resume=False, stop=None):
    keras.utils.set_random_seed(99 if resume else 1)
    pixels = keras.Input((8, 8), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    model = keras.Model(pixels, mlp((8, 8), units=(16,), dropout=0.3).call(x))
    data = batches(images, labels, batch_size=16, seed=3, distort=distort)
    compile_classifier(model, recipe, len(data))
    def on_epoch(epoch, metrics):
        if epoch == stop:
            raise KeyboardInterrupt
    try:
        fitted = fit(model, data, recipe, validation=(images, (labels + 1) % 10),
                     folder=folder, resume=resume, on_epoch=on_epoch, quiet=True)
    except KeyboardInterrupt:
        return None
    everything = [*model.variables, *model.optimizer.variables]
    return fitted.history, [keras.ops.convert_to_numpy(v) for v in everything]

with tempfile.TemporaryDirectory() as name:
    whole = run(Path(name, "whole"))
    assert run(Path(name, "cut"), stop=2) is None
    resumed = run(Path(name, "cut"), resume=True)
assert resumed[0] == whole[0]
assert len(whole[0]["loss"]) >= 3
assert all(np.array_equal(a, b) for a, b in zip(resumed[1], whole[1], strict=True))
print("equal", len(whole[1]))
"""


@pytest.mark.slow
def test_it_resumes_under_jax_too() -> None:
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", UNDER_JAX], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("equal ")
