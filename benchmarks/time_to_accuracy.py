"""Seconds of training until MNIST is read right 99 times in 100: ours and the common example.

Both learn from the first 50,000 training pictures, are watched on the last 10,000 after each
epoch, and stop as soon as those are read as wanted; then the test pictures are asked, once. Each
run is a process of its own, so nothing is compiled or cached before; its clock starts before the
first call of `fit`, goes on through the compilation of the graph and the watching, and stops when
the accuracy is reached. Reading the files is outside.

The example is Keras's own (keras.io/examples/vision/mnist_convnet, F. Chollet), by plain
`model.fit`: 3x3 convolutions of 32 and 64 filters, 2x2 max pooling after each, dropout 0.5,
Adam, batches of 128. Ours is one of `PLANS` below through `fieldsight.pipelines._training.fit`,
chosen on the 10,000 watched pictures alone.

Both run with oneDNN's convolutions (`TF_ENABLE_ONEDNN_OPTS=1`), which fieldsight turns on by
itself and Keras doesn't; one more run of the example is without, as its plain script would be.

    python benchmarks/time_to_accuracy.py --data-dir DIR [--pairs N] [--target 0.99]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs

from fieldsight.datasets import mnist
from fieldsight.datasets.sample import LabelledImages
from fieldsight.pipelines import _training
from fieldsight.pipelines.digits import _networks

WATCHED = 10_000  # the last of the training pictures
MOST_EPOCHS = 60  # of the example: its own 15, and more where they don't reach the target
MOST_CYCLES = 5  # of ours: where the schedule ends below the target, it begins again
LIMIT = 1 / 3

NETWORK = "lenet5"
# How each network of ours is trained: the schedule ends with its last epoch.
PLANS = {
    "lenet5": _training.Recipe(epochs=5, batch_size=128, learning_rate=4e-3, warmup=0.2),
    "all_cnn(filters=8)": _training.Recipe(
        epochs=3, batch_size=128, learning_rate=1e-2, warmup=0.2
    ),
}
DISTORTION = _networks.Distortion(shift_pixels=1)


def network(name: str, train: LabelledImages) -> Any:
    """One of the networks of `PLANS`, from raw pictures to logits."""
    if name == "lenet5":
        return _networks.builder("lenet5", train.images)()
    import keras

    from fieldsight.core.architectures import all_cnn

    pixels = keras.Input((28, 28), dtype="uint8")
    x = keras.layers.Reshape((28, 28, 1))(pixels)
    # Black and white as -1 and 1; the normalisation after the first convolution does the rest.
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    return keras.Model(pixels, all_cnn((28, 28, 1), 10, filters=8, dropout=0.0).call(x))


Sets = tuple[LabelledImages, LabelledImages, LabelledImages]  # to train on, watch and test


class Watch:
    """Stops a model's training at the first epoch whose watched accuracy is high enough."""

    def __init__(self, model: Any, target: float) -> None:
        self.model, self.target = model, target
        self.epochs = 0
        self.accuracy = 0.0
        self.seconds: float | None = None
        self.started = time.perf_counter()

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Note an epoch that has ended."""
        self.epochs += 1
        self.accuracy = float(metrics["val_accuracy"])
        if self.seconds is None and self.accuracy >= self.target:
            self.seconds = time.perf_counter() - self.started
            self.model.stop_training = True


def example(sets: Sets, target: float, seed: int) -> tuple[Watch, float]:
    """The common Keras example: its watch, and its accuracy on the test pictures."""
    import keras

    keras.utils.set_random_seed(seed)
    train, watched, test = sets
    x, x_watched, x_test = (
        part.images[..., None].astype("float32") / 255 for part in (train, watched, test)
    )
    y, y_watched, y_test = (
        keras.utils.to_categorical(part.labels, 10) for part in (train, watched, test)
    )
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(64, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    watch = Watch(model, target)
    model.fit(
        x,
        y,
        batch_size=128,
        epochs=MOST_EPOCHS,
        validation_data=(x_watched, y_watched),
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=watch)],
    )
    return watch, float(model.evaluate(x_test, y_test, verbose=0)[1])


def ours(sets: Sets, target: float, seed: int, name: str) -> tuple[Watch, float]:
    """The same of a network of ours by our own fit."""
    _training.prepare_backend(seed)
    train, watched, test = sets
    recipe = dataclasses.replace(PLANS[name], seed=seed)
    data = _training.batches(
        train.images, train.labels, batch_size=recipe.batch_size, seed=seed, distort=DISTORTION
    )
    model = network(name, train)
    watch = Watch(model, target)
    for _ in range(MOST_CYCLES):
        _training.compile_classifier(model, recipe, len(data))
        _training.fit(
            model,
            data,
            recipe,
            validation=(watched.images, watched.labels),
            on_epoch=watch,
            quiet=True,
        )
        if watch.seconds is not None:
            break
    answers = model.predict(test.images, batch_size=1000, verbose=0).argmax(axis=1)
    return watch, float(np.mean(answers == test.labels))


def run_one(which: str, name: str, data_dir: Path | None, target: float, seed: int) -> None:
    """Train once, in this process, and print what came of it as a line of JSON."""
    labelled, test = mnist.load(data_dir)
    border = len(labelled) - WATCHED
    sets = labelled.take(slice(0, border)), labelled.take(slice(border, None)), test
    watch, accuracy = (
        example(sets, target, seed) if which == "example" else ours(sets, target, seed, name)
    )
    print(
        json.dumps(
            {
                "seconds": watch.seconds,
                "epochs": watch.epochs,
                "val_accuracy": watch.accuracy,
                "test_accuracy": accuracy,
                "parameters": int(watch.model.count_params()),
            }
        )
    )


class Runner:
    """Trains in processes of their own and keeps what came of each."""

    def __init__(self, data_dir: Path | None, target: float, network: str) -> None:
        self.data_dir, self.target, self.network = data_dir, target, network
        self.kept: dict[str, list[dict[str, Any]]] = {"ours": [], "example": []}

    def __call__(self, which: str, pair: int) -> float:
        """The seconds of a run, which is kept unless it warms up (a negative pair)."""
        found = self.run(which, seed=max(pair, 0), onednn=True)
        if pair >= 0:
            self.kept[which].append(found)
        return float(found["seconds"])

    def run(self, which: str, *, seed: int, onednn: bool) -> dict[str, Any]:
        """One run; the figures it prints."""
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
        if not onednn:
            del environment["TF_ENABLE_ONEDNN_OPTS"]
        command = [sys.executable, __file__, "--run", which, "--seed", str(seed)]
        command += ["--target", str(self.target), "--network", self.network]
        if self.data_dir is not None:
            command += ["--data-dir", str(self.data_dir)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if found["seconds"] is None:
            raise SystemExit(
                f"{which}: a watched accuracy of {self.target} was needed. Received: "
                f"{found['val_accuracy']} after {found['epochs']} epochs. Lower --target."
            )
        return found


def main() -> None:
    """Measure, or train once where `--run` says so."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST's four IDX files")
    parser.add_argument("--pairs", type=int, default=7, help="a pair takes a minute or two")
    parser.add_argument("--target", type=float, default=0.99, help="share of watched pictures")
    parser.add_argument("--network", choices=sorted(PLANS), default=NETWORK, help="of ours")
    parser.add_argument("--run", choices=("example", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = _pairs.mnist_folder(asked.data_dir)
    if asked.run:
        run_one(asked.run, asked.network, folder, asked.target, asked.seed)
    else:
        measure(Runner(folder, asked.target, asked.network), asked.pairs)


def measure(runner: Runner, pairs: int) -> None:
    """Run the pairs and print what they say."""
    seconds = _pairs.interleaved(
        lambda pair: runner("ours", pair),
        lambda pair: runner("example", pair),
        pairs,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    plain = runner.run("example", seed=0, onednn=False)
    ratio = _pairs.ratio(*seconds)
    names = {"ours": f"{runner.network}, ours", "example": "the Keras example"}
    rows = [
        row
        for which, name in names.items()
        for row in _rows(name, runner.kept[which], runner.target)
    ]
    rows += [
        ("the example as the machine has it", f"{plain['seconds']:.2f} s, {plain['epochs']} epochs"
         " (one run, TF_ENABLE_ONEDNN_OPTS unset)"),
        ("ours / the example", str(ratio)),
        ("at most 1/3", "met" if ratio.meets(LIMIT) else "not met"),
    ]  # fmt: skip
    medians = [float(np.median(part)) for part in seconds]
    _pairs.report(
        f"Time to {runner.target:.1%} of MNIST's last {WATCHED:,} training pictures, "
        "TF_ENABLE_ONEDNN_OPTS=1",
        rows,
        {
            "target": runner.target,
            "network": runner.network,
            "ratio": ratio.median,
            "ratio_low": _pairs.number(ratio.low),
            "ratio_high": _pairs.number(ratio.high),
            "pairs": ratio.pairs,
            "met": ratio.meets(LIMIT),
            "runs": runner.kept,
            "example_without_onednn": plain,
        },
        figure=f"time to {runner.target:.1%}: {ratio} of the Keras example's; medians "
        f"{medians[0]:.1f} s ({runner.network}) and {medians[1]:.1f} s, {plain['seconds']:.1f} s "
        f"without oneDNN; test accuracy {_accuracies(runner.kept['ours'])} and "
        f"{_accuracies(runner.kept['example'])}",
        data="real: MNIST, 50,000 to train on, the last 10,000 training pictures watched",
    )


def _rows(name: str, runs: list[dict[str, Any]], target: float) -> list[tuple[str, str]]:
    reached = sum(run["test_accuracy"] >= target for run in runs)
    epochs = [run["epochs"] for run in runs]
    return [
        (f"{name}: seconds", _pairs.spread([run["seconds"] for run in runs])),
        (f"{name}: epochs", f"{min(epochs)} to {max(epochs)}"),
        (f"{name}: parameters", f"{runs[0]['parameters']:,}"),
        (f"{name}: test accuracy", f"{_accuracies(runs)}; {reached} of {len(runs)} at least "
         f"{target:.1%}"),
    ]  # fmt: skip


def _accuracies(runs: list[dict[str, Any]]) -> str:
    values = [run["test_accuracy"] for run in runs]
    return f"{min(values):.2%} to {max(values):.2%}"


if __name__ == "__main__":
    main()
