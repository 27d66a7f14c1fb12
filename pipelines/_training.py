"""Training for every application: seeds, schedules, early stopping, precision, and resume.

Killed at any moment and started again, training goes on from the last finished epoch and ends
with the same weights, bit for bit on a CPU, as if nothing had happened. Two things make it so:

- All randomness of epoch `e` is drawn from `(seed, e)`: the order and distortion of the pictures
  in `Batches`, and dropout's seeds, set anew at the start of each epoch.
- The checkpoint of an epoch holds every variable (weights, running statistics, the optimizer's),
  the history, and what the callbacks remember. It is written beside and renamed.

Keras is imported when `fit` runs, not before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

Distort = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is fitted, whatever it is and whatever it sees."""

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: Literal["adamw", "muon"] = "adamw"
    schedule: Literal["cosine", "one-cycle", "constant"] = "cosine"
    warmup: float = 0.1  # share of all steps over which the learning rate rises
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    rubbish: float | None = None  # for logits that are distances: core.losses
    patience: int = 0  # epochs without a better validation score before it stops; 0: never
    seed: int = 0
    precision: Precision = "auto"
    steps_per_execution: int = 0  # 0: chosen by the number of steps


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What came of a fit: the model holds the weights of `best_epoch` (from 0)."""

    history: dict[str, list[float]]
    best_epoch: int
    epochs: int
    seconds: float


def prepare_backend(seed: int) -> None:
    """Choose the fast paths of the backend and seed everything. Before Keras is first imported.

    oneDNN's convolutions train LeNet-5 four times as fast as TensorFlow's own on a processor
    without AVX-512, where TensorFlow leaves them off (docs/measurements.md).
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # 3: at 2 it still says in the midst of training, as an error, which types oneDNN doesn't take;
    # what is one comes as an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_chatter():
        import keras

        device_kind()
    # Its warnings of retracing are for whoever writes such loops; a command has many models.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    keras.utils.set_random_seed(seed)


# What TensorFlow's native code writes at its start, whatever the log level, on a machine without
# a GPU; it reads like trouble and is none.
_CHATTER = ("cudart_stub.cc", "cuda_platform.cc", "cuda_diagnostics.cc", "port.cc",
            "before absl::InitializeLog", "cpu_feature_guard.cc", "CPU instructions")  # fmt: skip


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and let pass what isn't chatter."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not any(mark in line for mark in _CHATTER):
                    print(line, file=sys.stderr)


def learning_rate_schedule(recipe: Recipe, total_steps: int) -> Any:
    """The learning rate by step, as a serialisable Keras schedule.

    Cosine: a linear warm-up, then half a cosine to zero (Loshchilov and Hutter, 2017).
    One-cycle: the same with the rise over 30 % of the steps (Smith, 2018).
    """
    import keras

    if recipe.schedule == "constant":
        return recipe.learning_rate
    share = 0.3 if recipe.schedule == "one-cycle" else recipe.warmup
    rising = max(1, round(share * total_steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.learning_rate / 25,
        decay_steps=max(1, total_steps - rising),
        warmup_target=recipe.learning_rate,
        warmup_steps=rising,
    )


def optimizer(recipe: Recipe, steps_per_epoch: int, *, last_layers: Sequence[str] = ()) -> Any:
    """The recipe's, with its schedule over all its epochs.

    Args:
        recipe: of which optimizer, rate, schedule, epochs and decay are read here.
        steps_per_epoch: of it.
        last_layers: expressions for the paths of those that Muon leaves to AdamW.
    """
    import keras

    schedule = learning_rate_schedule(recipe, recipe.epochs * steps_per_epoch)
    if recipe.optimizer == "adamw":
        return keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
    from fieldsight.core.optimizers import Muon

    return Muon(
        schedule, weight_decay=recipe.weight_decay, adam_weight_decay=recipe.weight_decay,
        exclude_layers=list(last_layers),
    )  # fmt: skip


def compile_classifier(model: keras.Model, recipe: Recipe, steps_per_epoch: int) -> None:
    """Compile a model of logits over classes, with labels as integers."""
    from fieldsight.core.losses import SmoothedCrossentropy

    model.compile(
        optimizer=optimizer(recipe, steps_per_epoch),
        loss=SmoothedCrossentropy(recipe.label_smoothing, recipe.rubbish),
        metrics=["accuracy"],
        steps_per_execution=recipe.steps_per_execution or steps_an_execution(steps_per_epoch),
    )


def steps_an_execution(steps_per_epoch: int) -> int:
    """Steps that run without coming back to Python: many, but at least eight times an epoch."""
    return int(max(1, min(32, steps_per_epoch // 8)))


@cache
def _batches_class() -> type:
    """`Batches` is made when it is first asked for: its base class needs Keras."""
    import keras

    class Batches(keras.utils.PyDataset):
        """Pictures and labels by batches, shuffled and distorted from (seed, epoch) alone."""

        def __init__(
            self,
            images: NDArray[np.uint8],
            labels: NDArray[np.integer[Any]],
            *,
            batch_size: int,
            seed: int,
            distort: Distort | None = None,
        ) -> None:
            super().__init__()
            self.images, self.labels = images, np.asarray(labels, np.int32)
            self.batch_size, self.seed, self.distort = batch_size, seed, distort
            self.start_epoch(0)

        def start_epoch(self, epoch: int) -> None:
            self.epoch = epoch
            self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))

        def __len__(self) -> int:
            return -(-len(self.images) // self.batch_size)

        def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
            chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
            images = self.images[chosen]
            if self.distort is not None:
                rng = np.random.default_rng((self.seed, self.epoch, index))
                images = self.distort(images, rng)
            return images, self.labels[chosen]

    return Batches


def batches(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    *,
    batch_size: int,
    seed: int,
    distort: Distort | None = None,
) -> Any:
    """A Keras data set of `(images, labels)` whose epoch `e` depends on `(seed, e)` alone.

    Args:
        images: `(n, ...)` kept as they are; a batch is copied when it is asked for.
        labels: `(n,)` integers.
        batch_size: pictures a step; the last batch of an epoch may be smaller.
        seed: of order and distortion.
        distort: from `(n, ...)` pictures and a generator to pictures of the same shape.
    """
    return _batches_class()(images, labels, batch_size=batch_size, seed=seed, distort=distort)


FETCHED = 8  # batches that TensorFlow asks Python for at once, if they are small
FETCHED_BYTES = 2**24


def _fed(data: Any) -> Any:
    """What `Model.fit` is given: the data set itself, or the quicker way into TensorFlow.

    Keras leads a `PyDataset` through `tf.data.Dataset.from_generator`. Its own cost is half of a
    small network's epoch; a map over the batches' numbers costs a few milliseconds. And tf.data's
    tuning of itself holds one of the threads that convolutions are shared among: on two cores two
    epochs of three of a 3-D network ran on one core alone (docs/measurements.md). Order and
    content stay those of `data`.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return data
    import tensorflow as tf

    images, labels = data[0]
    is_sliced = isinstance(data, _batches_class())
    several = max(1, min(FETCHED, FETCHED_BYTES // images.nbytes)) if is_sliced else 1

    def fetch(first: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        start = int(first)
        fetched = [data[i] for i in range(start, min(start + several, len(data)))]
        if len(fetched) == 1:
            return tuple(fetched[0])
        return tuple(np.concatenate(parts) for parts in zip(*fetched, strict=True))

    def shaped(first: Any) -> tuple[Any, Any]:
        x, y = tf.numpy_function(fetch, [first], (images.dtype, labels.dtype), stateful=True)
        return (
            tf.ensure_shape(x, (None, *images.shape[1:])),
            tf.ensure_shape(y, (None, *labels.shape[1:])),
        )

    steps = tf.data.Dataset.range(0, len(data), several).map(shaped)
    if is_sliced:
        steps = steps.rebatch(data.batch_size)
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    steps = steps.prefetch(2).with_options(untuned)
    return steps.apply(tf.data.experimental.assert_cardinality(len(data)))


def fit(
    model: keras.Model,
    data: Any,
    recipe: Recipe,
    *,
    validation: tuple[NDArray[Any], NDArray[Any]] | None = None,
    folder: Path | None = None,
    resume: bool = False,
    monitor: str = "val_accuracy",
    on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
    quiet: bool = False,
    validation_batch_size: int = 1000,
) -> Fitted:
    """Fit a compiled model and leave the best epoch's weights in it.

    Args:
        model: compiled.
        data: what `batches` gives, or `_drawn.Batches`: a `PyDataset` with `start_epoch`.
        recipe: epochs, patience and seed are read here.
        validation: pictures and labels scored after each epoch. Without them the last epoch is
            the best.
        folder: where the checkpoint of the last finished epoch is kept; None keeps none.
        resume: go on from the checkpoint in `folder`, if there is one.
        monitor: the score that decides which epoch is best; larger is better unless it ends
            in "loss". Ties go to the smaller validation loss.
        on_epoch: called with the epoch (from 0) and its metrics, before its checkpoint.
        quiet: no progress bar.
        validation_batch_size: pictures scored at once.

    Returns:
        History by epoch, the best epoch, epochs that ran, seconds (of this process).
    """
    from fieldsight.core.normalization import fused_normalization

    if validation is None:
        monitor = "loss"
    _build_optimizer(model)
    state = _State()
    if resume and folder is not None and (folder / LAST).exists():
        state = _load(folder / LAST, model)
    keeper = _keeper(model, data, recipe, state, monitor, validation is not None, folder, on_epoch)
    callbacks: list[Any] = [keeper]
    if not quiet:
        callbacks.append(_progress(recipe.epochs))
    started = time.perf_counter()
    if not state.stopped and state.epoch < recipe.epochs:
        with fused_normalization(model):
            model.fit(
                _fed(data),
                epochs=recipe.epochs,
                initial_epoch=state.epoch,
                validation_data=validation,
                validation_batch_size=validation_batch_size,
                # Keras would shuffle the batches with Python's global random, which no checkpoint
                # holds; the data set shuffles by itself.
                shuffle=False,
                verbose=0,
                callbacks=callbacks,
            )
    seconds = time.perf_counter() - started
    if validation is not None and state.best_weights is not None:
        for variable, value in zip(model.weights, state.best_weights, strict=True):
            variable.assign(value)
    return Fitted(state.history, state.best_epoch, state.epoch, seconds)


# The checkpoint

LAST = "last.npz"


@dataclasses.dataclass
class _State:
    """What training remembers between epochs, apart from the variables."""

    epoch: int = 0  # finished epochs
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    best_epoch: int = -1
    best_score: tuple[float, float] | None = None
    best_weights: list[NDArray[Any]] | None = None
    stopped: bool = False


def _build_optimizer(model: keras.Model) -> None:
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def _variables(model: keras.Model) -> list[Any]:
    """Weights, seed generators' states and the optimizer's variables, in a fixed order."""
    return [*model.variables, *model.optimizer.variables]


def _array(variable: Any) -> NDArray[Any]:
    """A copy of its value; NumPy itself warns of how a Keras variable becomes an array."""
    import keras

    # On JAX the conversion is a view of memory that the next step may be given.
    return np.array(keras.ops.convert_to_numpy(variable))


def _save(path: Path, model: keras.Model, state: _State) -> None:
    """One file an epoch, written beside and renamed: a kill leaves the old one or the new."""
    arrays = {f"variable_{i}": _array(v) for i, v in enumerate(_variables(model))}
    for i, value in enumerate(state.best_weights or []):
        arrays[f"best_{i}"] = value
    facts = dataclasses.asdict(dataclasses.replace(state, best_weights=None))
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _load(path: Path, model: keras.Model) -> _State:
    with np.load(path, allow_pickle=False) as arrays:
        state = _State(**json.loads(arrays["facts"].tobytes()))
        if state.best_score is not None:
            state.best_score = (state.best_score[0], state.best_score[1])
        for i, variable in enumerate(_variables(model)):
            variable.assign(arrays[f"variable_{i}"])
        best = [name for name in arrays.files if name.startswith("best_")]
        if best:
            state.best_weights = [arrays[f"best_{i}"] for i in range(len(best))]
    return state


# Callbacks. They are made in functions because their base class needs Keras.


def _keeper(
    model: keras.Model,
    data: Any,
    recipe: Recipe,
    state: _State,
    monitor: str,
    validated: bool,
    folder: Path | None,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None,
) -> Any:
    """Seeds each epoch, keeps the best and the last state, and stops early."""
    import keras

    sign = -1.0 if monitor.endswith("loss") else 1.0
    generators = _seed_generators(model)

    class Keeper(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            data.start_epoch(epoch)
            for i, generator in enumerate(generators):
                draw = np.random.default_rng((recipe.seed, epoch, i, 1)).integers(0, 2**31, 2)
                generator.state.assign(draw.astype("uint32"))

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            metrics = {name: float(value) for name, value in (logs or {}).items()}
            for name, value in metrics.items():
                state.history.setdefault(name, []).append(value)
            state.epoch = epoch + 1
            score = (sign * metrics[monitor], -metrics.get("val_loss", metrics["loss"]))
            if not validated or state.best_score is None or score > state.best_score:
                state.best_score, state.best_epoch = score, epoch
                if validated:
                    state.best_weights = [_array(v) for v in model.weights]
            if recipe.patience and epoch - state.best_epoch >= recipe.patience:
                state.stopped = self.model.stop_training = True
            if on_epoch is not None:
                on_epoch(epoch, metrics)
            if folder is not None:
                _save(folder / LAST, model, state)

    return Keeper()


def _seed_generators(model: keras.Model) -> list[Any]:
    import keras

    return [
        value
        for layer in model._flatten_layers(include_self=False, recursive=True)
        for value in vars(layer).values()
        if isinstance(value, keras.random.SeedGenerator)
    ]


def _progress(epochs: int) -> Any:
    """A bar on a terminal, a line an epoch in a log; both on stderr."""
    import keras
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[scores]}"),
        TimeRemainingColumn(),
        console=console,
        transient=False,
    )

    class Report(keras.callbacks.Callback):
        def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
            self.started = time.perf_counter()
            self.finished = self.first = 0
            self.scores = ""
            if console.is_terminal:
                bar.start()

        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            if not self.finished:
                self.first = epoch
                steps = self.params["steps"] or 1
                self.task = bar.add_task(
                    "", total=epochs * steps, completed=epoch * steps,
                    epoch=epoch + 1, epochs=epochs, scores="",
                )  # fmt: skip
            self.epoch = epoch
            bar.update(self.task, epoch=epoch + 1)

        def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
            if console.is_terminal:
                steps = self.params["steps"] or 1
                bar.update(self.task, completed=self.epoch * steps + batch + 1)

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            self.finished += 1
            scores = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
            bar.update(self.task, scores=scores)
            if not console.is_terminal and _worth_a_line(epoch, epochs):
                seconds = time.perf_counter() - self.started
                line = f"epoch {epoch + 1}/{epochs}  {scores}  {seconds:.0f} s"
                print(line, file=sys.stderr, flush=True)

        def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
            if console.is_terminal:
                bar.stop()

    return Report()


def _worth_a_line(epoch: int, epochs: int) -> bool:
    """A log shows about twenty epochs, the first and the last among them."""
    every = max(1, epochs // 20)
    return epoch == 0 or (epoch + 1) % every == 0 or epoch + 1 == epochs


# Precision


def device_kind() -> str:
    """'gpu', 'tpu' or 'cpu': what Keras will compute on."""
    import keras

    kinds = {str(name).split(":")[0].lower() for name in keras.distribution.list_devices()}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        kinds |= {device.device_type.lower() for device in tf.config.list_physical_devices()}
    return next((kind for kind in ("gpu", "tpu") if kind in kinds), "cpu")


def processor_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def device_precision(asked: str) -> tuple[str, str]:
    """The dtype policy asked for, or what the device is made for; a trial would take too long.

    Returns:
        The name of the policy and why, for the log.
    """
    if asked != "auto":
        return asked, "asked for"
    if device_kind() == "cpu" and not processor_has_bfloat16():
        return "float32", "this processor has no bfloat16"
    return "mixed_bfloat16", "the device has bfloat16"


def choose_precision(
    build: Callable[[], keras.Model],
    data: Any,
    recipe: Recipe,
    *,
    steps: int = 48,
    warm_up: int = 8,
    compile_it: Callable[[keras.Model, Recipe, int], None] = compile_classifier,
) -> tuple[str, str]:
    """The dtype policy to train with, and why.

    On a device with hardware for it, both policies are tried on the same first batches from the
    same seed; bfloat16 is taken where it is at least a tenth faster and its loss after the trial
    is no more than 5 % above float32's.

    Args:
        build: makes the network.
        data: what `batches` gives.
        recipe: the training's.
        steps: of the trial, those of the warm-up included.
        warm_up: steps that aren't timed.
        compile_it: compiles the network for a recipe of so many steps an epoch.

    Returns:
        The name of the policy and one sentence for the log.
    """
    import keras

    from fieldsight.core.normalization import fused_normalization

    policy, why = device_precision(recipe.precision)
    if recipe.precision != "auto" or policy == "float32":
        return policy, why
    # On a processor its own seconds: what else runs beside a trial so short would decide it.
    clock = time.process_time if device_kind() == "cpu" else time.perf_counter
    seconds, losses = {}, {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(recipe.seed)
        keras.config.set_dtype_policy(policy)
        model = build()
        compile_it(model, recipe, len(data))
        trial = _Trial(data, steps)
        with fused_normalization(model):
            model.fit(trial.part(0, warm_up), shuffle=False, verbose=0)  # compiles
            started = clock()
            history = model.fit(trial.part(warm_up, steps), shuffle=False, verbose=0)
            seconds[policy] = clock() - started
        losses[policy] = history.history["loss"][-1]
    keras.config.set_dtype_policy("float32")
    ratio = seconds["float32"] / seconds["mixed_bfloat16"]
    agrees = losses["mixed_bfloat16"] <= 1.05 * losses["float32"]
    reason = f"in a trial bfloat16 ran {ratio:.2f} x as fast"
    if not agrees:
        reason += f", with a loss of {losses['mixed_bfloat16']:.3f} to {losses['float32']:.3f}"
    return ("mixed_bfloat16" if ratio >= 1.1 and agrees else "float32"), reason


def kept_precision(folder: Path, choose: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """Set the dtype policy and say why; a resumed run keeps its own, however fast today's is.

    Args:
        folder: of the run, where the choice is kept.
        choose: answers the policy and why; called where nothing is kept yet.
    """
    import keras

    kept = folder / "precision.json"
    if kept.exists():
        policy, why = json.loads(kept.read_text())
    else:
        policy, why = choose()
        kept.write_text(json.dumps([policy, why]))
    keras.config.set_dtype_policy(policy)
    return policy, why


@contextlib.contextmanager
def policy_restored() -> Iterator[None]:
    """Leave Keras's dtype policy as it was: it holds for all that the process does later on."""
    keras = sys.modules.get("keras")
    before = keras.config.dtype_policy() if keras else None
    try:
        yield
    finally:
        keras = sys.modules.get("keras")
        if keras:
            keras.config.set_dtype_policy(before or keras.config.floatx())


def in_policy(policy: str, network: keras.Model, build: Callable[[], keras.Model]) -> keras.Model:
    """The same network computing by another dtype policy; a saved one runs anywhere in float32."""
    import keras

    with policy_restored():
        keras.config.set_dtype_policy(policy)
        copy = build()
    copy.set_weights(network.get_weights())
    return copy


@dataclasses.dataclass(frozen=True)
class _Trial:
    """A few batches of a data set, generated once, so that a trial times the network."""

    data: Any
    steps: int

    def part(self, start: int, stop: int) -> Any:
        chosen: Sequence[Any] = [self.data[i % len(self.data)] for i in range(start, stop)]
        size = min(len(labels) for _, labels in chosen)
        images = np.concatenate([images[:size] for images, _ in chosen])
        labels = np.concatenate([labels[:size] for _, labels in chosen])
        return batches(images, labels, batch_size=size, seed=0)
