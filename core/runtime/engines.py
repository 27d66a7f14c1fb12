"""The runtimes themselves, each a callable from a batch to the network's outputs in a flat list.

The one file that imports OpenVINO and ONNX Runtime, and where they are kept from sending anything.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import importlib
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Outputs = list[NDArray[Any]]
Engine = Callable[[NDArray[Any]], Outputs]

PLACES = 2**16  # pixels or voxels a piece: 256 x 256, the size at which pieces ran fastest
WASTE = 1.25  # of the streams, at most: three pieces on two streams leave a quarter idle
KEPT = 4  # networks compiled for a size of window and batch, the last ones asked for


class UnavailableError(Exception):
    """A runtime can't be had here; the message says why."""


def cores() -> int:
    """Cores that this process may use."""
    counted = getattr(os, "sched_getaffinity", None)
    return len(counted(0)) if counted else os.cpu_count() or 1


def on_keras(model: keras.Model) -> Engine:
    """The network as Keras runs it: its compiled prediction, which a call of the model isn't."""

    def run(x: Any) -> Outputs:
        return [np.asarray(part) for part in keras.tree.flatten(model.predict_on_batch(x))]

    return run


class ONNXRuntime:
    """A network as ONNX Runtime holds it, float32."""

    def __init__(self, model: keras.Model, *, threads: int | None = None) -> None:
        """Export.

        Raises:
            UnavailableError: if a package or the backend is missing.
            Exception: whatever the export raises.
        """
        _check_exportable(model)
        self._runtime = _import_onnxruntime()
        self._threads = threads or cores()
        with _exported(model, "onnx") as path:
            self._network = Path(path).read_bytes()
        self._sessions: dict[int, Any] = {}
        self._loading = threading.Lock()

    def whole(self, x: NDArray[Any]) -> Outputs:
        """Each batch as it comes, all cores on one layer after the other.

        Raises:
            Exception: whatever the exported file raises when it is loaded: grouped convolutions
                make an invalid one without an error.
        """
        return self._run(self._session(self._threads), x)

    def streams(self, x: NDArray[Any]) -> Outputs:
        """Pieces of the batch side by side, as `OpenVINO.streams` has it."""
        size, streams = pieces(x.shape, self._threads)
        if streams == 1:
            return self.whole(x)
        session = self._session(self._threads // streams)
        return _side_by_side(streams, lambda one: self._run(session, one), x, size)

    def _session(self, threads: int) -> Any:
        """The network on so many cores; several threads may run it at once."""
        with self._loading:
            if threads not in self._sessions:
                options = self._runtime.SessionOptions()
                options.log_severity_level = 4  # fatal alone: what fails is raised, and told once
                options.intra_op_num_threads = threads
                self._sessions[threads] = self._runtime.InferenceSession(
                    self._network, options, providers=["CPUExecutionProvider"]
                )
            return self._sessions[threads]

    @staticmethod
    def _run(session: Any, x: NDArray[Any]) -> Outputs:
        (entry,) = session.get_inputs()
        return list(session.run(None, {entry.name: x}))


class OpenVINO:
    """A network as OpenVINO holds it, read once, compiled for each size as it comes."""

    def __init__(self, model: keras.Model, *, threads: int | None = None) -> None:
        """Export and read.

        Raises:
            UnavailableError: if a package or the backend is missing.
            Exception: whatever the export or the reading raises.
        """
        _check_exportable(model)
        openvino = _import_openvino()
        self._core: Any = openvino.Core()
        # Else the weights stay in the file, which is about to be deleted.
        self._core.set_property({"ENABLE_MMAP": False})
        self._threads = threads or cores()
        with _exported(model, "tf_saved_model") as path:
            self._network: Any = self._core.read_model(path)
        # The signature's outputs come in any order; their names are output_0, output_1, ...
        names = [next(iter(output.get_names())) for output in self._network.outputs]
        numbers = [int(name.rpartition("_")[2]) for name in names]
        self._order: list[int] = list(np.argsort(numbers))

    @property
    def has_bfloat16(self) -> bool:
        """Whether the processor computes in bfloat16."""
        return "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")

    def whole(self, precision: str) -> Engine:
        """Each batch as it comes, all cores on one layer after the other."""
        return _Pieces(self, precision).whole

    def streams(self, precision: str) -> Engine:
        """Pieces of the batch side by side, a core or some on each; several threads may call it.

        The cores need not wait for each other at each layer: on two of them a detector of 256 x
        256 pictures ran 1.45 x as fast as in Keras, and 1.2 x with the batch as a whole.
        """
        return _Pieces(self, precision)

    def compile(self, shape: tuple[int, ...], streams: int, precision: str) -> _Compiled:
        """The network for batches of one shape, so many at a time."""
        network = self._network.clone()
        network.reshape(shape)  # static: as fast as it gets
        options = {
            # Else it is bfloat16 unasked, where the processor has it.
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": streams,
            # A thread bound to a core waits for whoever else works there, the reader of the next
            # windows too: on a busy machine batches of 0.5 s then took up to 12 s, and 0.8 s free.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = self._core.compile_model(network, "CPU", options)
        if any(tuple(output.shape)[:1] != shape[:1] for output in compiled.outputs):
            raise ValueError("an output doesn't have the batch for its first axis")
        return _Compiled(compiled, shape[0], self._order)

    @property
    def threads(self) -> int:
        """Cores that may be used."""
        return self._threads


class _Compiled:
    """A network for batches of one shape. Each thread that calls it has a request of its own."""

    def __init__(self, compiled: Any, size: int, order: list[int]) -> None:
        self._compiled, self._size, self._order = compiled, size, order
        self._own = threading.local()

    def __call__(self, piece: NDArray[Any]) -> Outputs:
        """Its answers, which are there until the same thread calls again."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        request = self._own.request
        request.infer([_filled(piece, self._size)], share_inputs=True)
        return [request.get_output_tensor(index).data for index in self._order]


class _Pieces:
    """Runs batches in pieces of one shape, as many at a time as there are streams."""

    def __init__(self, network: OpenVINO, precision: str) -> None:
        self._network, self._precision = network, precision
        self._kept: collections.OrderedDict[tuple[tuple[int, ...], int], _Compiled] = (
            collections.OrderedDict()
        )
        self._compiling = threading.Lock()

    def __call__(self, x: NDArray[Any]) -> Outputs:
        return self._run(x, *pieces(x.shape, self._network.threads))

    def whole(self, x: NDArray[Any]) -> Outputs:
        return self._run(x, len(x), 1)

    def _run(self, x: NDArray[Any], size: int, streams: int) -> Outputs:
        return _side_by_side(streams, self._compiled((size, *x.shape[1:]), streams), x, size)

    def _compiled(self, shape: tuple[int, ...], streams: int) -> _Compiled:
        key = (shape, streams)
        with self._compiling:
            if key not in self._kept:
                self._kept[key] = self._network.compile(shape, streams, self._precision)
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


@functools.cache
def _pool(streams: int) -> ThreadPoolExecutor:
    """The threads that all networks of so many streams are run by."""
    return ThreadPoolExecutor(streams, thread_name_prefix="network")


def _side_by_side(streams: int, run: Engine, x: NDArray[Any], size: int) -> Outputs:
    """A batch in pieces, each run and its answers put in their place by one of some threads."""
    outputs: Outputs = []
    making = threading.Lock()

    def one(start: int) -> None:
        found = run(x[start : start + size])
        with making:
            if not outputs:
                outputs.extend(np.empty((len(x), *part.shape[1:]), part.dtype) for part in found)
        for output, part in zip(outputs, found, strict=True):
            output[start : start + size] = part[: len(x) - start]

    for _ in _pool(streams).map(one, range(0, len(x), size)):
        pass  # what a piece raised is raised here
    return outputs


def pieces(shape: tuple[int, ...], threads: int) -> tuple[int, int]:
    """How a batch is cut: windows a piece, and pieces at a time.

    Pieces are of about 2^16 places, so that a layer's maps stay near their core. A batch that
    would leave more than a fifth of the streams idle is run as a whole.

    Args:
        shape: of the batch, channels last.
        threads: cores that may be used.

    Example:
        >>> pieces((8, 256, 256, 4), 2), pieces((128, 32, 32, 3), 2), pieces((3, 256, 256, 4), 2)
        ((1, 2), (64, 2), (3, 1))
    """
    batch = shape[0]
    places = max(1, int(np.prod(shape[1:-1])))
    size = max(1, min(-(-batch // threads), PLACES // places))
    count = -(-batch // size)
    streams = min(count, threads)
    rounds = -(-count // streams)
    if streams == 1 or rounds * streams * size > WASTE * batch:
        return batch, 1
    return size, streams


def _filled(piece: NDArray[Any], size: int) -> NDArray[Any]:
    """The piece, its last window repeated until it has the size that was compiled."""
    lacking = size - len(piece)
    return np.concatenate([piece, np.repeat(piece[-1:], lacking, 0)]) if lacking else piece


def _check_exportable(model: keras.Model) -> None:
    backend = keras.backend.backend()
    if backend != "tensorflow":
        # JAX's export holds one operation, XlaCallModule, that OpenVINO can't translate.
        raise UnavailableError(f"the export needs the TensorFlow backend, and this is {backend}")
    if len(getattr(model, "inputs", None) or ()) != 1:
        raise UnavailableError("only a functional or built Sequential model of one input is tried")


@contextlib.contextmanager
def _exported(model: keras.Model, kind: str) -> Iterator[str]:
    """The network in a file of another kind, in a private folder that is gone afterwards."""
    # Flat outputs, whatever their structure is: those have an order that every format keeps.
    flat = keras.Model(model.inputs, model.outputs)
    signature = [keras.InputSpec(shape=tuple(x.shape), dtype=x.dtype) for x in model.inputs]
    with tempfile.TemporaryDirectory(prefix="fieldsight-") as folder, _quiet():
        path = str(Path(folder, "network.onnx" if kind == "onnx" else "network"))
        flat.export(path, format=kind, verbose=False, input_signature=signature)
        yield path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and logs of exporters: what they get wrong is found by comparing."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tf2onnx.tfonnx", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _import_openvino() -> Any:
    """OpenVINO, which from its import on reports to its maker through `openvino_telemetry`.

    It does so unless the user opted out, and has a stub of its own for where that package isn't
    installed. So it isn't, while OpenVINO is imported. Reading and compiling a network report
    nothing, `openvino.convert_model` would, and isn't used.
    """
    hidden = "openvino_telemetry"
    before = sys.modules.get(hidden)
    sys.modules[hidden] = None  # type: ignore[assignment]  # then `import` finds nothing
    try:
        return _imported("openvino")
    finally:
        if before is None:
            del sys.modules[hidden]
        else:
            sys.modules[hidden] = before


def _import_onnxruntime() -> Any:
    """ONNX Runtime, which from 1.29 on reports to its maker, on Linux and macOS too.

    Its Privacy.md: the variable must be set before it is imported, else a device's number is
    already on disk; the call is for Windows, where the variable may not count.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    _imported("onnx")
    _imported("tf2onnx")
    runtime = _imported("onnxruntime")
    runtime.disable_telemetry_events()
    return runtime


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UnavailableError(
            f"{package} can't be imported ({error}); it comes with fieldsight's extra `fast`"
        ) from error
