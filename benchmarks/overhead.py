"""What training through fieldsight costs beside Keras's own `fit`.

Ours is `fieldsight.pipelines._training.fit` as an application calls it: its own data set of
batches without distortion, validation, progress, a checkpoint on the disk each epoch, and each
epoch's metrics on their way to an MLflow store (sqlite, in a temporary folder) while that run's
worker thread sends them and another measures the machine. Keras's is `model.fit(images, labels)`
on arrays, validated by the same pictures, silent, with nothing kept.

1. same: the same compiled model, batch size, steps per execution and validation batch size;
2. defaults: Keras's own of all of these (batches of 32, one step per execution, its progress
   bar), and ours as it chooses them for batches of 32.

LeNet-5 on MNIST's first 20,480 pictures, validated on the 2,048 that follow; UCI's digits,
repeated, where MNIST isn't there. Two epochs a run, all in one process, in pairs of alternating
order after a warm-up that compiles. The tracked run is open in the store before the clock starts,
and closed after it stops: what that takes is a row of its own.

    python benchmarks/overhead.py [--data-dir DIR] [--pairs 30]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs

from fieldsight.datasets import mnist, uci_digits
from fieldsight.datasets.sample import LabelledImages
from fieldsight.pipelines import _tracking, _training
from fieldsight.pipelines.digits import _networks

TRAINED, VALIDATED = 20_480, 2_048
VALIDATION_BATCH = 1_000  # what our fit takes
LIMIT = 1.05
# A constant rate: the optimizer's count of steps goes on from run to run.
RECIPE = _training.Recipe(epochs=2, batch_size=128, schedule="constant", precision="float32")
KERAS_BATCH = 32
SECONDS_TO_OPEN = 30


class Contest:
    """One network that is trained by our fit and by Keras's, each as often as wanted.

    Args:
        digits: `TRAINED` pictures and `VALIDATED` more.
        defaults: whether Keras's side takes its own defaults.
        epochs: of a run.
    """

    def __init__(self, digits: LabelledImages, *, defaults: bool, epochs: int) -> None:
        self.train = digits.take(slice(0, -VALIDATED))
        self.val = digits.take(slice(-VALIDATED, None))
        self.defaults = defaults
        size = KERAS_BATCH if defaults else RECIPE.batch_size
        self.recipe = dataclasses.replace(RECIPE, epochs=epochs, batch_size=size)
        self.steps = -(-len(self.train) // size)
        build = _networks.builder("lenet5", self.train.images)
        self.model = self._compiled(build(), 0)
        # How many steps run at once is compiled in: other numbers need a model of their own.
        self.bare = self._compiled(build(), 1) if defaults else self.model
        self.opening: list[float] = []

    def _compiled(self, model: Any, steps_per_execution: int) -> Any:
        recipe = dataclasses.replace(self.recipe, steps_per_execution=steps_per_execution)
        _training.compile_classifier(model, recipe, self.steps)
        return model

    def ours(self, pair: int) -> float:
        """The seconds of our fit."""
        opened = time.perf_counter()
        data = _training.batches(
            self.train.images, self.train.labels, batch_size=self.recipe.batch_size, seed=pair + 9
        )
        with _tracking.start_run(
            "benchmark", settings={"pair": pair}, tags={"data": self.train.name}
        ) as run:
            while run.mlflow_id is None and time.perf_counter() - opened < SECONDS_TO_OPEN:
                time.sleep(0.01)  # a new run's many first records are no part of an epoch
            gc.collect()
            started = time.perf_counter()
            with contextlib.redirect_stderr(io.StringIO()):  # the lines of a log
                _training.fit(
                    self.model,
                    data,
                    self.recipe,
                    validation=(self.val.images, self.val.labels),
                    folder=run.folder,
                    on_epoch=lambda epoch, metrics: run.metrics(metrics, step=epoch + 1),
                )
            seconds = time.perf_counter() - started
        self.opening.append(time.perf_counter() - opened - seconds)
        return seconds

    def keras(self, pair: int) -> float:
        """The seconds of Keras's own."""
        wanted: dict[str, Any] = {}
        if not self.defaults:
            wanted = {
                "batch_size": self.recipe.batch_size,
                "validation_batch_size": VALIDATION_BATCH,
                "verbose": 0,
            }
        gc.collect()
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            self.bare.fit(
                self.train.images,
                self.train.labels.astype("int32"),
                epochs=self.recipe.epochs,
                validation_data=(self.val.images, self.val.labels.astype("int32")),
                **wanted,
            )
        return time.perf_counter() - started


def pictures(data_dir: Path | None, trained: int) -> LabelledImages:
    """MNIST's first pictures where there is MNIST, UCI's repeated elsewhere."""
    folder = _pairs.mnist_folder(data_dir)
    digits = uci_digits.load() if folder is None else mnist.load(folder)[0]
    return digits.take(np.arange(trained + VALIDATED) % len(digits))


@contextlib.contextmanager
def store_of_its_own() -> Iterator[None]:
    """Runs, journals and the tracking store in a temporary folder, and nowhere else."""
    kept = {name: os.environ.pop(name, None) for name in ("MLFLOW_TRACKING_URI", "FIELDSIGHT_HOME")}
    with tempfile.TemporaryDirectory(prefix="fieldsight-overhead-") as folder:
        os.environ["FIELDSIGHT_HOME"] = folder
        try:
            yield
        finally:
            del os.environ["FIELDSIGHT_HOME"]
            os.environ.update({name: value for name, value in kept.items() if value is not None})


def main() -> None:
    """Measure both variants and print what they say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST's four IDX files")
    parser.add_argument("--pairs", type=int, default=_pairs.ENOUGH)
    parser.add_argument("--trained", type=int, default=TRAINED, help="pictures trained on")
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs, help="of a run")
    asked = parser.parse_args()
    _training.prepare_backend(RECIPE.seed)
    digits = pictures(asked.data_dir, asked.trained)
    with store_of_its_own():
        for defaults in (False, True):
            measure(digits, defaults=defaults, epochs=asked.epochs, pairs=asked.pairs)


def measure(digits: LabelledImages, *, defaults: bool, epochs: int, pairs: int) -> None:
    """Run one variant's pairs and print what they say."""
    contest = Contest(digits, defaults=defaults, epochs=epochs)
    ours, keras = _pairs.interleaved(
        contest.ours,
        contest.keras,
        pairs,
        warm_ups=2,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    ratio = _pairs.ratio(ours, keras)
    trained = epochs * len(contest.train)
    speeds = [trained / float(np.median(seconds)) for seconds in (ours, keras)]
    against = "Keras's defaults" if defaults else "the same settings"
    size = contest.recipe.batch_size
    settings = [
        f"batches of {size}, {model.steps_per_execution} steps per execution"
        for model in (contest.model, contest.bare)
    ]
    _pairs.report(
        f"fit through fieldsight beside bare model.fit, {against}: LeNet-5, {epochs} epochs of "
        f"{len(contest.train):,} pictures",
        [
            ("fieldsight", f"{_pairs.spread(ours)}, {speeds[0]:,.0f} pictures/s, {settings[0]}"),
            ("Keras", f"{_pairs.spread(keras)}, {speeds[1]:,.0f} pictures/s, {settings[1]}"),
            ("to open and close the run", _pairs.spread(contest.opening[-pairs:])),
            ("fieldsight / Keras", str(ratio)),
            (f"at most {LIMIT}", "met" if ratio.meets(LIMIT) else "not met"),
        ],
        {
            "against": "defaults" if defaults else "same",
            "ratio": ratio.median,
            "ratio_low": _pairs.number(ratio.low),
            "ratio_high": _pairs.number(ratio.high),
            "pairs": ratio.pairs,
            "met": ratio.meets(LIMIT),
            "pictures_per_second": speeds,
            "seconds": ours,
            "keras_seconds": keras,
        },
        figure=f"fit through fieldsight / bare Keras ({against}): {ratio}; {speeds[0]:,.0f} and "
        f"{speeds[1]:,.0f} pictures/s with validation",
        data=f"real: {digits.name}, {len(contest.train):,} pictures",
    )


if __name__ == "__main__":
    main()
