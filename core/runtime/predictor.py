"""Which runtime a network is run by, how that is found out, and the callable that runs it."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.runtime import engines, remembered

Runtime = Literal["auto", "keras", "openvino", "openvino-bf16", "onnxruntime"]

RUNTIMES = ("auto", "keras", "openvino", "openvino-bf16", "onnxruntime")
IN_STREAMS = " in streams"  # behind the name of a runtime's second way
STRICT = 1e-5  # of the outputs' range
BFLOAT16 = 1e-2  # the same, for eight bits of mantissa; the least at which it is tried
GAIN = 1.03  # times Keras's speed at least, else it stays Keras: less is within the noise
ROUNDS = (3, 15)  # of a trial, at least and at most
ENOUGH_S = 2.0  # seconds of a trial, once there were rounds enough

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What runs a network, and why; `str()` says it in a line.

    Attributes:
        runtime: one of `RUNTIMES`; those of batches may end in " in streams": pieces side by side.
        batch: windows of the batch that decided.
        seconds: for that batch, the median of each runtime that was timed; empty where only one
            was to be had, or the choice was remembered.
        speedup: times Keras's speed, of each runtime timed beside it: medians of pairs.
        differences: of each runtime's answer from Keras's, at most, over the output's range.
        refused: why the others weren't taken.
        remembered: whether it was decided in an earlier run.
    """

    runtime: str
    batch: int
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    speedup: Mapping[str, float] = dataclasses.field(default_factory=dict)
    differences: Mapping[str, float] = dataclasses.field(default_factory=dict)
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    remembered: bool = False

    def __str__(self) -> str:
        names = [self.runtime, *(name for name in self.seconds if name != self.runtime)]
        told = [self._told(name) for name in names]
        told += [f"{name} not taken: {reason}" for name, reason in self.refused.items()]
        return f"predicts by {'; '.join(told)}"

    def _told(self, name: str) -> str:
        facts = []
        if name in self.seconds:
            facts.append(f"{1000 * self.seconds[name]:.3g} ms a batch of {self.batch}")
        if name in self.speedup and name != "keras":
            facts.append(f"{self.speedup[name]:.2f} x Keras")
        if name in self.differences:
            facts.append(f"differs by {self.differences[name]:.0e} of the range")
        if self.remembered and name == self.runtime:
            facts.append("remembered")
        return f"{name} ({', '.join(facts)})" if facts else name


def predictor(
    model: keras.Model,
    runtime: Runtime = "auto",
    *,
    tolerance: float | None = None,
    threads: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    remember: bool = True,
) -> Predictor:
    """The network as the fastest callable on this machine.

    With "auto" the first batch that it is called with decides: each runtime that is installed
    answers it, is refused where it differs from Keras, and is timed in turns with it. The quickest
    is taken if it beats Keras by 3 %. That takes seconds, most of them the exports; the choice is
    remembered for the same configuration, window (its sides rounded up to powers of two), batch,
    machine and versions, and then only the comparison is made again. A batch that holds nan, or
    whose answer is constant, proves nothing: Keras answers it, and the next one decides. What
    becomes of nan later is the runtime's affair: TensorFlow's rectifier makes 0 of it. Fill it in
    before.

    It is a snapshot of the weights at that first batch (only Keras itself follows them): make a
    new one after more training. Several threads may call it: what runs in streams takes pieces of
    all their batches, so that no core waits for a batch to end; else they wait for each other.

    Args:
        model: any; all but Keras ask for a functional or built Sequential one of a single input,
            and for the TensorFlow backend.
        runtime: one of `RUNTIMES`. "openvino-bf16" computes in bfloat16, where the processor can;
            "auto" tries it where `tolerance` allows it.
        tolerance: largest difference from Keras, over the range of each output; 1e-5 by default,
            1e-2 for "openvino-bf16", and at least that for "auto" to try it.
        threads: cores to use, all by default. Keras's own are set in its backend.
        cache_dir: folder of the file of choices; by default the user's cache folder. One that
            can't be written to does no harm.
        remember: whether to look for an earlier choice and to keep this one.

    Returns:
        A callable from a batch, `(batch, *window, channels)` of numbers, to NumPy arrays in the
        structure that the network's outputs have; `.choice` says what runs it.

    Raises:
        ValueError: if the runtime is unknown, or a number is out of its range.

    Example:
        >>> import numpy as np
        >>> from fieldsight.core.architectures import unet
        >>> predict = predictor(unet((16, 16, 1), filters=2, depth=2), "keras")
        >>> predict(np.ones((3, 16, 16, 1), "uint8")).shape
        (3, 16, 16, 2)
        >>> print(predict.choice)
        predicts by keras
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}. Received: {runtime!r}.")
    if tolerance is None:
        tolerance = BFLOAT16 if runtime == "openvino-bf16" else STRICT
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0. Received: {tolerance}.")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be 1 at least, or None for all. Received: {threads}.")
    file = Path(cache_dir or remembered.folder(), remembered.FILE) if remember else None
    return Predictor(model, runtime, tolerance, threads, file)


class Predictor:
    """A network and what runs it; made by `predictor`."""

    def __init__(
        self,
        model: keras.Model,
        runtime: str,
        tolerance: float,
        threads: int | None,
        file: Path | None,
    ) -> None:
        self._model, self._asked = model, runtime
        self._tolerance, self._threads, self._file = tolerance, threads, file
        self._keras = engines.on_keras(model)
        self._engine: engines.Engine | None = None
        self._structure: Any = None
        self._compared: set[tuple[int, ...]] = set()  # sizes of windows
        self._choice: Choice | None = None
        self._streams: engines.Engine | None = None  # what several threads may call at once
        self._one = threading.Lock()
        if runtime == "keras":
            self._take(self._keras, Choice("keras", 0))

    @property
    def choice(self) -> Choice | None:
        """What runs the network and why; None until a batch has decided."""
        return self._choice

    @property
    def side_by_side(self) -> bool:
        """Whether pieces of several batches run at once: then two threads should call it."""
        return self._streams is not None

    @property
    def model(self) -> keras.Model:
        """The network."""
        return self._model

    def __call__(self, x: Any) -> Any:
        """Run a batch.

        Args:
            x: `(batch, *window, channels)` of any numbers; cast to what the network takes.

        Returns:
            NumPy arrays in the structure of the network's outputs.

        Raises:
            ValueError: if the batch is empty or the network takes other windows.
            RuntimeError: if a runtime that was asked for by name isn't installed, can't run the
                network, or differs from Keras.
        """
        x = self._checked(x)
        streams = self._streams
        if streams is not None and x.shape[1:] in self._compared:
            return keras.tree.pack_sequence_as(self._structure, streams(x))
        with self._one:
            return self._alone(x)

    def _alone(self, x: Any) -> Any:
        if self._engine is self._keras:
            return self._model.predict_on_batch(x)
        if self._engine is not None and x.shape[1:] in self._compared:
            return keras.tree.pack_sequence_as(self._structure, self._engine(x))
        reference = self._model.predict_on_batch(x)
        flat = [np.asarray(part) for part in keras.tree.flatten(reference)]
        if not _telling(x, flat):
            return reference
        self._structure = reference
        if self._engine is None:
            self._decide(x, flat)
        else:
            self._compare_anew(x, flat)
        self._compared.add(x.shape[1:] if isinstance(x, np.ndarray) else ())
        if self._engine is self._keras or self._engine is None:
            return reference
        return keras.tree.pack_sequence_as(reference, self._engine(x))

    def _checked(self, x: Any) -> Any:
        inputs: Any = getattr(self._model, "inputs", None) or ()
        if len(inputs) != 1:
            return x  # Keras alone takes it, and checks it
        wanted, dtype = tuple(inputs[0].shape), inputs[0].dtype
        x = np.asarray(x)
        fits = x.ndim == len(wanted) and all(
            need is None or need == size for need, size in zip(wanted[1:], x.shape[1:], strict=True)
        )
        if not fits or not x.size:
            shape = ", ".join(["batch", *("any" if n is None else str(n) for n in wanted[1:])])
            raise ValueError(
                f"{self._model.name!r} takes a batch of shape ({shape}), of one window at least. "
                f"Received: {x.shape}. Cut or pad the windows to that size."
            )
        return np.ascontiguousarray(x, dtype)

    def _take(self, engine: engines.Engine, choice: Choice) -> None:
        self._engine, self._choice = engine, choice
        self._streams = engine if choice.runtime.endswith(IN_STREAMS) else None
        if self._asked != "keras":
            log.info("%s %s", self._model.name, choice)

    def _decide(self, x: Any, reference: engines.Outputs) -> None:
        """Take what an earlier run chose if it still agrees, else hold a trial."""
        key = self._key(x) if self._file is not None else None
        trial = _Trial(self._model, self._asked, self._tolerance, self._threads)
        if key is not None and self._file is not None:
            known = remembered.recall(key, self._file)
            if known is not None and (found := trial.resume(known, x, reference)) is not None:
                self._take(self._keras if found[1].runtime == "keras" else found[0], found[1])
                return
        engine, choice = trial.hold(x, reference, self._keras)
        self._take(engine, choice)
        if key is not None and self._file is not None:
            remembered.remember(key, choice.runtime, self._file)

    def _key(self, x: Any) -> str | None:
        if not isinstance(x, np.ndarray):
            return None
        return remembered.key(
            self._model,
            runtime=self._asked,
            shape=_size_class(x.shape),
            tolerance=self._tolerance,
            threads=self._threads or engines.cores(),
        )

    def _compare_anew(self, x: NDArray[Any], reference: engines.Outputs) -> None:
        """Windows of another size are compiled anew: their answer is compared once, too."""
        if self._engine is None or self._choice is None:
            return
        try:
            far = difference(self._engine(x), reference)
            reason = None if far <= self._tolerance else _too_far(far, self._tolerance)
        except Exception as error:  # noqa: BLE001  whatever it raises, it can't run this window
            reason = _said(error)
        if reason is None:
            return
        name = self._choice.runtime
        if self._asked != "auto":
            raise RuntimeError(_refusal(name, f"{reason}, on windows of {x.shape[1:]}"))
        self._take(self._keras, Choice("keras", len(x), refused={name: reason}))


class _Trial:
    """Finds the quickest of the runtimes that answer as Keras does."""

    def __init__(
        self, model: keras.Model, asked: str, tolerance: float, threads: int | None
    ) -> None:
        self._model, self._asked = model, asked
        self._tolerance, self._threads = tolerance, threads
        self._differences: dict[str, float] = {}
        self._refused: dict[str, str] = {}

    def resume(
        self, name: str, x: Any, reference: engines.Outputs
    ) -> tuple[engines.Engine, Choice] | None:
        """The runtime of that name if it can be had and agrees, without timing anything."""
        if name == "keras":
            return engines.on_keras(self._model), Choice("keras", len(x), remembered=True)
        made = self._makers(len(x)).get(name)
        engine = None if made is None else self._agreeing(name, made, x, reference)
        if engine is None:
            return None
        return engine, Choice(name, len(x), differences=self._differences, remembered=True)

    def hold(
        self, x: Any, reference: engines.Outputs, base: engines.Engine
    ) -> tuple[engines.Engine, Choice]:
        """Prepare, compare and time what was asked for.

        Raises:
            RuntimeError: if a runtime was asked for by name and can't be had or differs.
        """
        self._differences.clear()
        self._refused.clear()
        found: dict[str, engines.Engine] = {"keras": base} if self._asked == "auto" else {}
        for name, make in self._makers(len(x)).items():
            if name.removesuffix(IN_STREAMS) in self._refused:
                continue  # for the same reason
            engine = self._agreeing(name, make, x, reference)
            if engine is not None:
                found[name] = engine
        if not found:
            raise RuntimeError(_refusal(self._asked, next(iter(self._refused.values()))))
        if len(found) == 1:
            ((name, engine),) = found.items()
            return engine, Choice(
                name, len(x), differences=self._differences, refused=self._refused
            )
        seconds = _race(found, x)
        first = next(iter(found))
        ratios = {
            name: float(np.median(np.divide(seconds[first], times)))
            for name, times in seconds.items()
        }
        best = max(ratios, key=lambda name: ratios[name] / (GAIN if name != "keras" else 1.0))
        return found[best], Choice(
            best,
            len(x),
            seconds={name: float(np.median(times)) for name, times in seconds.items()},
            speedup=ratios if first == "keras" else {},
            differences=self._differences,
            refused=self._refused,
        )

    def _agreeing(
        self, name: str, make: Callable[[], engines.Engine], x: Any, reference: engines.Outputs
    ) -> engines.Engine | None:
        try:
            engine = make()
            far = difference(engine(x), reference)
        except Exception as error:  # noqa: BLE001  an exporter may raise anything; then it isn't used
            self._refused[name] = _said(error)
            return None
        if far <= self._tolerance:
            self._differences[name] = far
            return engine
        self._refused[name] = _too_far(far, self._tolerance)
        return None

    def _makers(self, batch: int) -> dict[str, Callable[[], engines.Engine]]:
        """How to make each runtime that was asked for, the second of its ways after the first."""
        makers: dict[str, Callable[[], engines.Engine]] = {}
        for name, precision in (("openvino", "f32"), ("openvino-bf16", "bf16")):
            wanted = self._asked == name or (
                self._asked == "auto" and (precision == "f32" or self._tolerance >= BFLOAT16)
            )
            if wanted:
                makers[name] = self._on_openvino(precision, whole=True)
                if batch > 1:
                    makers[name + IN_STREAMS] = self._on_openvino(precision, whole=False)
        if self._asked in ("auto", "onnxruntime"):
            makers["onnxruntime"] = lambda: self._onnxruntime.whole
            if batch > 1:
                makers["onnxruntime" + IN_STREAMS] = lambda: self._onnxruntime.streams
        return makers

    def _on_openvino(self, precision: str, *, whole: bool) -> Callable[[], engines.Engine]:
        def make() -> engines.Engine:
            network = self._openvino
            if precision == "bf16" and not network.has_bfloat16:
                raise engines.UnavailableError("the processor has no bfloat16")
            return network.whole(precision) if whole else network.streams(precision)

        return make

    # Exported once each, for all of its ways.

    @functools.cached_property
    def _openvino(self) -> engines.OpenVINO:
        return engines.OpenVINO(self._model, threads=self._threads)

    @functools.cached_property
    def _onnxruntime(self) -> engines.ONNXRuntime:
        return engines.ONNXRuntime(self._model, threads=self._threads)


def difference(ours: engines.Outputs, reference: engines.Outputs) -> float:
    """The largest difference of any output over that output's range; infinite where they can't be.

    An output that is constant is measured by its size instead. Where the reference isn't finite,
    neither may ours be.

    Example:
        >>> import numpy as np
        >>> difference([np.array([0.0, 5.5])], [np.array([1.0, 5.0])])
        0.25
    """
    if len(ours) != len(reference):
        return float("inf")
    return max(_apart(a, b) for a, b in zip(ours, reference, strict=True))


def _apart(ours: NDArray[Any], reference: NDArray[Any]) -> float:
    if ours.shape != reference.shape:
        return float("inf")
    finite = np.isfinite(reference)
    if not np.array_equal(np.isfinite(ours), finite):
        return float("inf")
    if not finite.any():
        return 0.0
    a, b = ours[finite].astype(float), reference[finite].astype(float)
    return float(np.abs(a - b).max() / (np.ptp(b) or np.abs(b).max() or 1.0))


def _size_class(shape: tuple[int, ...]) -> list[int]:
    """A batch's shape, its windows' sides rounded up to powers of two.

    Which runtime is quickest hardly hangs on less, and windows that are fitted to each picture
    would else be timed for each.

    Example:
        >>> _size_class((2, 1664, 1280, 3))
        [2, 2048, 2048, 3]
        >>> _size_class((8,))
        [8]
    """
    sides = (1 << (side - 1).bit_length() for side in shape[1:-1])
    return [shape[0], *sides, *shape[1:][-1:]]


def _telling(x: Any, reference: engines.Outputs) -> bool:
    """Whether an answer could show that another is wrong: some output isn't constant.

    Nor is it of anything but numbers: TensorFlow's rectifier makes 0 of nan, others keep it.
    """
    if not all(np.isfinite(part).all() for part in keras.tree.flatten(x)):
        return False
    finite = [part[np.isfinite(part)] for part in reference]
    return any(part.size and np.ptp(part) > 0 for part in finite)


def _race(found: Mapping[str, engines.Engine], x: Any) -> dict[str, list[float]]:
    """Seconds of each, in turns, after a round that doesn't count.

    In its turn each runs twice, and the second time counts: threads of the one before still spin
    when the first begins, and the caches hold its maps.
    """
    seconds: dict[str, list[float]] = {name: [] for name in found}
    names = list(found)
    began = 0.0
    for turn in range(-1, ROUNDS[1]):
        if turn == 0:
            began = time.perf_counter()
        if turn >= ROUNDS[0] and time.perf_counter() - began > ENOUGH_S:
            break
        for name in names if turn % 2 else reversed(names):
            if turn >= 0:
                found[name](x)
            start = time.perf_counter()
            found[name](x)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _too_far(far: float, tolerance: float) -> str:
    return f"its answer differs from Keras's by {far:.1e} of the range, {tolerance:.0e} is allowed"


def _said(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, engines.UnavailableError):
        return first
    return f"{type(error).__name__}: {first[:200]}"


def _refusal(name: str, reason: str) -> str:
    return f"{name} can't run this network: {reason}. Ask for 'auto' or 'keras' instead."
