"""Fitting: what an epoch depends on, what is kept, what is resumed, and what is chosen."""

import contextlib
import dataclasses
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from fieldsight.core.architectures import mlp
from fieldsight.core.augmentation import affine_matrices, warp
from fieldsight.pipelines import _training
from fieldsight.pipelines._training import Recipe, batches, compile_classifier, fit

# Keras's own, of each variable that it turns into an array.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE = 8


def pictures(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Ten kinds of picture that a small network tells apart: a bright row or column in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = rng.integers(0, 90, (count, SIDE, SIDE)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        lines = image if label < 5 else image.T
        lines[label % 5 + 1] += 160
    return images, labels


TRAIN = pictures(96, 0)
VALID = pictures(48, 1)
WRONG = (VALID[0], (VALID[1] + 1) % 10)  # who learns the pictures reads fewer and fewer of these
RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=5e-3, seed=3, precision="float32")


def distort(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return warp(images, affine_matrices(len(images), rng, shift_pixels=1, rotation_degrees=10))


def network(*, weights_seed: int = 1, convolutions: bool = False) -> keras.Model:
    keras.utils.set_random_seed(weights_seed)
    pixels = keras.Input((SIDE, SIDE), dtype="uint8")
    x = keras.layers.Reshape((SIDE, SIDE, 1))(pixels)
    x = keras.layers.Rescaling(1 / 128, -1)(x)
    if convolutions:
        x = keras.layers.Conv2D(3, 3, use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)  # its statistics are resumed too
    return keras.Model(pixels, mlp(x.shape[1:], units=(24,), dropout=0.3).call(x))


def fitted(
    recipe: Recipe = RECIPE, *, model: keras.Model | None = None, **given: Any
) -> tuple[keras.Model, _training.Fitted]:
    """Fit a network, compiled here unless it is already."""
    model = model or network()
    data = batches(*TRAIN, batch_size=recipe.batch_size, seed=recipe.seed, distort=distort)
    if not model.compiled:
        compile_classifier(model, recipe, len(data))
    result = fit(model, data, recipe, **{"validation": VALID, "quiet": True, **given})
    return model, result


def values(model: keras.Model) -> list[NDArray[Any]]:
    """Every variable: weights, running statistics, seeds of dropout, the optimizer's."""
    everything = (*model.variables, *model.optimizer.variables)
    return [keras.ops.convert_to_numpy(v) for v in everything]


def weights(model: keras.Model) -> list[NDArray[Any]]:
    """What a saved model would hold."""
    return [keras.ops.convert_to_numpy(v) for v in model.weights]


def assert_equal(first: list[NDArray[Any]], second: list[NDArray[Any]]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


# An epoch's batches


def epoch_of(data: Any, epoch: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    data.start_epoch(epoch)
    return [data[i] for i in range(len(data))]


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    images, labels = TRAIN

    def made(seed: int) -> Any:
        return batches(images, labels, batch_size=40, seed=seed, distort=distort)

    through = made(7)
    for epoch in (0, 1):
        epoch_of(through, epoch)  # what was read before
    np.random.default_rng(0)
    np.random.seed(0)  # noqa: NPY002
    third = epoch_of(through, 2)
    straight = made(7)
    straight.start_epoch(2)
    for index in (2, 0, 1):  # in any order
        for one, other in zip(third[index], straight[index], strict=True):
            np.testing.assert_array_equal(one, other)
    for other_epoch in (epoch_of(made(7), 1), epoch_of(made(8), 2)):
        assert any((a[0] != b[0]).any() for a, b in zip(third, other_epoch, strict=True))


def test_an_epoch_holds_every_picture_once_with_its_own_label() -> None:
    images = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    data = batches(images, np.arange(10) * 3, batch_size=4, seed=0)
    orders = []
    for epoch in (0, 1):
        read = epoch_of(data, epoch)
        assert [len(part) for part, _ in read] == [4, 4, 2]
        seen = np.concatenate([part[:, 0, 0] for part, _ in read])
        np.testing.assert_array_equal(np.concatenate([part for _, part in read]), seen * 3)
        assert sorted(seen.tolist()) == list(range(10))
        orders.append(seen.tolist())
    assert orders[0] != orders[1]


def test_pictures_are_distorted_each_time_otherwise_and_never_in_place() -> None:
    images, labels = TRAIN
    before = images.copy()
    data = batches(images, labels, batch_size=96, seed=0, distort=distort)
    epoch_of(data, 0)
    np.testing.assert_array_equal(images, before)


def test_fit_draws_each_epochs_batches_in_order_from_seed_epoch_and_index() -> None:
    # Keras may read ahead; were it to read into the next epoch before that is announced, or to
    # shuffle by itself, the generators would come otherwise.
    states: list[Any] = []

    def noting(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        states.append(rng.bit_generator.state["state"]["state"])
        return images

    data = batches(*TRAIN, batch_size=16, seed=9, distort=noting)
    model = network()
    compile_classifier(model, RECIPE, len(data))
    fit(model, data, RECIPE, quiet=True)
    drawn = [
        np.random.default_rng((9, epoch, index)).bit_generator.state["state"]["state"]
        for epoch in range(3)
        for index in range(6)
    ]
    # Keras reads one batch at the start to learn its shape.
    assert states[-18:] == drawn
    assert set(states) == set(drawn)


# What is kept


OVERFIT = dataclasses.replace(RECIPE, epochs=8, learning_rate=0.02, schedule="constant")


@dataclasses.dataclass(frozen=True)
class Watched:
    """A fit and the weights after each of its epochs."""

    model: keras.Model
    result: _training.Fitted
    seen: list[list[NDArray[Any]]]


def watch(recipe: Recipe, **given: Any) -> Watched:
    seen: list[list[NDArray[Any]]] = []
    model = network()

    def note(epoch: int, metrics: Mapping[str, float]) -> None:
        assert epoch == len(seen)
        assert {"loss", "accuracy"} <= metrics.keys()
        seen.append(weights(model))

    _, result = fitted(recipe, model=model, on_epoch=note, **given)
    return Watched(model, result, seen)


@pytest.fixture(scope="module")
def overfitted() -> Watched:
    """Eight epochs without patience, validated on what training unlearns."""
    return watch(OVERFIT, validation=WRONG)


def test_the_best_epochs_weights_are_left_in_the_model(overfitted: Watched) -> None:
    history, seen = overfitted.result.history, overfitted.seen
    accuracy, loss = history["val_accuracy"], history["val_loss"]
    best = max(range(8), key=lambda epoch: (accuracy[epoch], -loss[epoch]))
    assert overfitted.result.best_epoch == best
    assert best < 7, "the last epoch is the best: nothing is tested"
    assert_equal(weights(overfitted.model), seen[best])
    assert any((a != b).any() for a, b in zip(seen[best], seen[7], strict=True))
    # ... and these are the weights that scored so.
    logits = overfitted.model(WRONG[0], training=False)
    answers = keras.ops.convert_to_numpy(logits).argmax(axis=1)
    assert (answers == WRONG[1]).mean() == pytest.approx(accuracy[best])


def test_no_patience_means_never_to_stop(overfitted: Watched) -> None:
    assert overfitted.result.epochs == len(overfitted.seen) == 8
    assert overfitted.result.best_epoch + 2 < 8


def test_early_stopping_stops_after_so_many_epochs_without_a_better_one_and_stays_so(
    tmp_path: Path,
) -> None:
    recipe = dataclasses.replace(OVERFIT, epochs=30, patience=2)
    model, result = fitted(recipe, validation=WRONG, monitor="val_loss", folder=tmp_path)
    losses = result.history["val_loss"]
    assert len(losses) == result.epochs == result.best_epoch + 1 + 2 < 30
    assert result.best_epoch == int(np.argmin(losses))  # a loss is better when it is smaller
    # Resumed, it doesn't go on.
    left, checkpoint = values(model), (tmp_path / "last.npz").read_bytes()
    for variable in model.variables:
        variable.assign(keras.ops.zeros_like(variable))
    _, again = fitted(
        recipe,
        model=model,
        validation=WRONG,
        monitor="val_loss",
        folder=tmp_path,
        resume=True,
        on_epoch=stopping_at(result.epochs),
    )
    assert dataclasses.replace(again, seconds=0) == dataclasses.replace(result, seconds=0)
    assert_equal(values(model), left)
    assert (tmp_path / "last.npz").read_bytes() == checkpoint


def test_without_validation_the_last_epoch_is_kept_and_a_log_gets_a_line_an_epoch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watched = watch(RECIPE, validation=None, quiet=False)
    assert (watched.result.best_epoch, watched.result.epochs) == (2, 3)
    assert watched.result.history.keys() == {"loss", "accuracy"}
    assert_equal(weights(watched.model), watched.seen[-1])
    captured = capsys.readouterr()
    lines = [line.split("  ") for line in captured.err.splitlines()]
    assert [line[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    for epoch, line in enumerate(lines):
        assert f"loss {watched.result.history['loss'][epoch]:.4f}" in line
    assert captured.out == ""  # stdout is for answers


# Resume


class StoppedError(Exception):
    """What kills the training of a test."""


def stopping_at(stop: int) -> Any:
    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch == stop:
            raise StoppedError

    return on_epoch


def arrays_of(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_a_resumed_fit_ends_as_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    recipe = dataclasses.replace(OVERFIT, epochs=20, patience=4, weight_decay=0.01)
    whole, result = fitted(
        recipe, model=network(convolutions=True), validation=WRONG, folder=tmp_path / "whole"
    )
    assert 3 < result.epochs < 20, "early stopping is part of what is tested"

    folder = tmp_path / "cut"
    cut = network(convolutions=True)
    with pytest.raises(StoppedError):
        fitted(recipe, model=cut, validation=WRONG, folder=folder, on_epoch=stopping_at(2))
    # What a kill in the middle of writing leaves.
    (folder / "last.part").write_bytes(b"PK\x03\x04 and then the power went")

    # Whatever the other process begins with, the file is what counts.
    keras.utils.set_random_seed(4711)
    began = network(convolutions=True, weights_seed=99)
    again, resumed = fitted(recipe, model=began, validation=WRONG, folder=folder, resume=True)
    assert_equal(values(again), values(whole))
    assert resumed.history == result.history
    assert (resumed.best_epoch, resumed.epochs) == (result.best_epoch, result.epochs)
    # The last state too, and not only the best epoch's weights that are left in the model.
    last, expected = arrays_of(folder / "last.npz"), arrays_of(tmp_path / "whole" / "last.npz")
    assert last.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(last[name], array, strict=True)


def test_a_checkpoint_is_used_when_asked_for_alone_and_outlives_a_full_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    one = dataclasses.replace(RECIPE, epochs=1)
    model, _ = fitted(one, validation=None, folder=tmp_path)
    _, again = fitted(one, model=model, validation=None, folder=tmp_path)
    assert len(again.history["loss"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.npz"]
    before = (tmp_path / "last.npz").read_bytes()
    two = dataclasses.replace(RECIPE, epochs=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            fitted(two, model=model, validation=None, folder=tmp_path, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "last.npz").read_bytes() == before
    _, third = fitted(two, model=model, validation=None, folder=tmp_path, resume=True)
    assert third.history["loss"][:1] == again.history["loss"]
    assert len(third.history["loss"]) == 2


# Schedules


def rate(recipe: Recipe, step: int, total: int = 1000) -> float:
    return float(_training.learning_rate_schedule(recipe, total)(step))


def test_cosine_warms_up_and_falls_to_zero() -> None:
    recipe = Recipe(epochs=1, learning_rate=0.1, warmup=0.1)
    assert rate(recipe, 0) == pytest.approx(0.004)  # a 25th
    assert rate(recipe, 50) == pytest.approx((0.004 + 0.1) / 2)
    assert rate(recipe, 100) == pytest.approx(0.1)
    assert rate(recipe, 550) == pytest.approx(0.05)  # half way down
    assert rate(recipe, 775) == pytest.approx(0.05 * (1 + math.cos(0.75 * math.pi)))
    assert rate(recipe, 1000) == pytest.approx(0, abs=1e-9)


def test_one_cycle_rises_over_three_tenths() -> None:
    recipe = Recipe(epochs=1, learning_rate=0.1, schedule="one-cycle")
    assert rate(recipe, 0) == pytest.approx(0.004)
    assert rate(recipe, 150) == pytest.approx((0.004 + 0.1) / 2)
    assert rate(recipe, 300) == pytest.approx(0.1)
    assert rate(recipe, 650) == pytest.approx(0.05)
    assert rate(recipe, 1000) == pytest.approx(0, abs=1e-9)


def test_constant_is_constant() -> None:
    recipe = Recipe(epochs=1, learning_rate=0.1, schedule="constant")
    assert _training.learning_rate_schedule(recipe, 1000) == 0.1


def test_a_fit_of_one_step_has_a_schedule() -> None:
    recipe = Recipe(epochs=1, learning_rate=0.1)
    assert rate(recipe, 0, total=1) == pytest.approx(0.004)


# Steps, precision, progress


@pytest.mark.parametrize(
    ("steps", "together"), [(1, 1), (7, 1), (16, 2), (34, 4), (196, 24), (256, 32), (10_000, 32)]
)
def test_steps_an_execution_leave_eight_executions_an_epoch(steps: int, together: int) -> None:
    assert _training.steps_an_execution(steps) == together
    recipe = dataclasses.replace(RECIPE, steps_per_execution=0)
    model = network()
    compile_classifier(model, recipe, steps)
    assert model.steps_per_execution == together


def test_steps_asked_for_are_taken() -> None:
    model = network()
    compile_classifier(model, dataclasses.replace(RECIPE, steps_per_execution=5), 10_000)
    assert model.steps_per_execution == 5


def test_precision_asked_for_is_taken_without_a_trial() -> None:
    def never() -> keras.Model:
        raise AssertionError("no trial was needed")

    recipe = dataclasses.replace(RECIPE, precision="mixed_bfloat16")
    assert _training.choose_precision(never, None, recipe) == ("mixed_bfloat16", "asked for")


def test_a_processor_without_bfloat16_takes_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> keras.Model:
        raise AssertionError("no trial was needed")

    monkeypatch.setattr(_training, "device_kind", lambda: "cpu")
    monkeypatch.setattr(_training, "processor_has_bfloat16", lambda: False)
    recipe = dataclasses.replace(RECIPE, precision="auto")
    chosen, why = _training.choose_precision(never, None, recipe)
    assert chosen == "float32"
    assert "no bfloat16" in why


@pytest.mark.parametrize(
    ("flags", "has"),
    [("avx2 avx512f", False), ("avx512f avx512_bf16 amx_tile", True), ("amx_bf16", True)],
)
def test_bfloat16_is_read_from_the_processors_flags(
    flags: str, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: f"processor: 0\nflags: fpu {flags}\n")
    assert _training.processor_has_bfloat16() is has


def test_the_trial_runs_both_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_training, "processor_has_bfloat16", lambda: True)
    policies: list[str] = []

    def build() -> keras.Model:
        policies.append(keras.config.dtype_policy().name)
        return network()

    data = batches(*TRAIN, batch_size=16, seed=0, distort=distort)
    recipe = dataclasses.replace(RECIPE, precision="auto")
    chosen, why = _training.choose_precision(build, data, recipe, steps=12)
    assert policies == ["float32", "mixed_bfloat16"]
    assert chosen in policies
    assert why.startswith("in a trial bfloat16 ran ")
    assert keras.config.dtype_policy().name == "float32"  # the trial leaves nothing behind
    ratio = float(why.split(" ran ")[1].split(" x ")[0])
    if ratio < 1.095 or "with a loss" in why:  # as it is printed, rounded
        assert chosen == "float32"
    elif ratio > 1.105:
        assert chosen == "mixed_bfloat16"


def test_what_a_command_computes_by_is_not_what_the_next_one_computes_by(tmp_path: Path) -> None:
    def fails() -> None:
        with _training.policy_restored():
            _training.kept_precision(tmp_path, lambda: ("mixed_bfloat16", "asked for"))
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert keras.config.dtype_policy().name == "float32"


def test_a_long_log_shows_about_twenty_epochs() -> None:
    shown = [epoch for epoch in range(100) if _training._worth_a_line(epoch, 100)]
    assert shown == [0, *range(4, 100, 5)]


def test_chatter_is_held_back_and_trouble_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(ValueError), _training._without_chatter():
        os.write(2, b"I0000 cpu_feature_guard.cc:210] This TensorFlow binary is optimized\n")
        os.write(2, b"E0000 out of memory\n")
        raise ValueError
    assert capfd.readouterr().err == "E0000 out of memory\n"


@pytest.mark.slow
def test_what_onednn_does_not_take_is_no_line_on_stderr() -> None:
    # int32 is such a type, of many a labels' tensor, on processors without AVX-512.
    code = (
        "from fieldsight.pipelines._training import prepare_backend\n"
        "prepare_backend(0)\n"
        "import tensorflow as tf\n"
        "tf.function(lambda y: tf.transpose(tf.concat([y, y], 0)))(tf.ones((2, 2), tf.int32))\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    environment["KERAS_BACKEND"] = "tensorflow"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stderr == ""
