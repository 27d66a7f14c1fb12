"""A tracked run as the training thread sees it: every call is a line in a journal, then returns.

A worker thread of the run sends the journal to the store. Nothing here knows MLflow; `_tracking`
gives it the way to the store.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypedDict

from fieldsight.pipelines import _environment
from fieldsight.pipelines._journal import Journal, say

Status = Literal["FINISHED", "FAILED", "KILLED"]

SECONDS_TO_SEND = 30.0  # at the end of a run, while the store takes what it is given
SECONDS_TO_WAIT = 8.0  # at the end of a run, for a store that doesn't answer
LONGEST_PAUSE = 60.0  # between two tries
PATIENCE_WITH_IMPORTS = 15.0


class Validation(TypedDict):
    """What a model is judged by when it asks to be champion: never the test split."""

    metric: str
    value: float
    fingerprint: str
    higher_is_better: bool


class StoreError(Exception):
    """The tracking store doesn't answer, or not as it should: its records must wait."""


class Sender(Protocol):
    """The way to one store."""

    def send(self, journal: Journal) -> None:
        """Send what waits in a journal; raises StoreError where the store doesn't take it."""


class Monitors(Protocol):
    """Whatever measures the machine."""

    def __call__(self) -> dict[str, float]:
        """One sample, by the names it is logged under."""


class Run:
    """One run, from start to finish, on disk first and in MLflow as soon as that answers.

    Every method returns in well under a millisecond (files take as long as their copy), whatever
    the store does. As a context manager a run finishes itself: FAILED after an exception, KILLED
    after Ctrl-C.

    Args:
        journal: the run's journal; its first record says how the run began.
        connect: makes the sender; called in the worker thread.
        monitors: makes what measures the machine; called in a thread of its own.
        place: says where the run is, for a person.
        sample_every: seconds between two measurements of the machine.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        connect: Callable[[], Sender],
        monitors: Callable[[], Monitors],
        place: Callable[["Run"], str],
        sample_every: float = 10.0,
    ) -> None:
        self._journal = journal
        self._connect = connect
        self._monitors = monitors
        self._place = place
        self._sample_every = sample_every
        self._failure: StoreError | None = None
        self._failures_at_the_end = 0
        self._working = False  # once a metric was logged, the caller has set the backend up
        self._described = False
        self._finishing = threading.Event()
        self._given_up = threading.Event()
        self._wake = threading.Event()
        self._last_word = threading.Lock()
        self._ended = False
        self.finished = False
        self._worker = threading.Thread(target=self._work, name="fieldsight-run", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="fieldsight-load", daemon=True)
        self._worker.start()
        self._watcher.start()

    @property
    def id(self) -> str:
        """The run's local id, which `--resume` takes."""
        return self._journal.folder.name

    @property
    def folder(self) -> Path:
        """A folder for the run's own files, checkpoints above all; gone once it is finished."""
        folder = self._journal.folder / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def mlflow_id(self) -> str | None:
        """The id that MLflow gave this run; None as long as the store hasn't answered."""
        return self._journal.state.get("run")

    @property
    def application(self) -> str:
        """The application the run belongs to."""
        return str((self._journal.first or {})["application"])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings the run was started with, read back from its journal."""
        return dict((self._journal.first or {})["settings"])

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters; a parameter keeps the first value it was given."""
        self._append("params", values={key: str(value) for key, value in values.items()})

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, at an epoch or for the run as a whole."""
        self._working = True
        numbers = {key: float(value) for key, value in values.items()}
        self._append("metrics", values=numbers, step=0 if step is None else int(step))

    def tags(self, values: Mapping[str, object]) -> None:
        """Set tags; the last value counts."""
        self._append("tags", values={key: str(value) for key, value in values.items()})

    def artifact(self, path: str | Path, folder: str = "") -> None:
        """Keep a copy of a file or a folder with the run, in a folder of the run's artifacts."""
        if (kept := self._journal.keep(Path(path))) is not None:
            self._append("artifact", file=kept, folder=folder)

    def model(
        self,
        keras_file: str | Path,
        *,
        registered_name: str,
        validation: Validation | None = None,
    ) -> None:
        """Log a saved model and register it; it is champion if its validation says so.

        Args:
            keras_file: what `save_model` wrote, with its card.
            registered_name: `fieldsight-<application>-<data>`.
            validation: the metric, its value on the validation split, that split's fingerprint,
                and whether higher is better. A model without one never replaces a champion.
        """
        if (kept := self._journal.keep(Path(keras_file), at="model.keras")) is not None:
            self._append(
                "model",
                file=kept,
                name=registered_name,
                validation=None if validation is None else dict(validation),
            )

    def where(self) -> str:
        """Where this run is and how to look at it, in a line for a person."""
        return self._place(self)

    def finish(self, status: Status = "FINISHED") -> None:
        """End the run, give the store a bounded time to take the rest, and say what must wait."""
        if self.finished:
            return
        self.finished = True
        self._finishing.set()
        self._watcher.join(timeout=1.0)
        with self._last_word:
            self._journal.append("end", status=status)
            self._ended = True
        self._wake.set()
        self._drain()
        if waiting := len(self._journal):
            why = f" ({self._failure})" if self._failure else ""
            say(
                f"{waiting} records of run {self.id} wait on this machine{why}; "
                "`fieldsight sync` sends them"
            )
        elif status == "FINISHED":
            self._journal.finish()
        self._given_up.set()
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.finish("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")

    def _append(self, kind: str, **fields: object) -> None:
        with self._last_word:
            if self._ended:  # a late measurement; nothing follows the end
                return
            self._journal.append(kind, **fields)
        self._wake.set()

    def _drain(self) -> None:
        began = time.monotonic()
        while self._worker.is_alive() and len(self._journal):
            self._worker.join(timeout=0.05)
            patience = SECONDS_TO_WAIT if self._failure else SECONDS_TO_SEND
            if self._failures_at_the_end > 1 or time.monotonic() - began > patience:
                return
        self._worker.join(timeout=1.0)

    def _work(self) -> None:
        """The worker thread: wait for records, send them, and be patient with a silent store."""
        self._let_imports_pass()
        sender: Sender | None = None
        pause = 0.0
        while not self._given_up.is_set():
            self._wake.wait(timeout=1.0)
            self._wake.clear()
            if not len(self._journal) and not self._finishing.is_set():
                continue
            try:
                sender = sender or self._connect()
                sender.send(self._journal)
                self._failure, pause = None, 0.0
            except StoreError as error:
                self._failure = error
                pause = min(max(1.0, 2 * pause), LONGEST_PAUSE)
                if self._finishing.is_set():
                    self._failures_at_the_end += 1
                    self._given_up.wait(timeout=0.5)
                else:
                    self._finishing.wait(timeout=pause)
            # Not before the run's last record is in the journal: `finish` writes it after the
            # other threads were told to stop.
            if not len(self._journal) and self._ended:
                return

    def _watch(self) -> None:
        """The measuring thread: the machine's load, at once, every few seconds and at the end."""
        self._let_imports_pass()
        try:
            sample = self._monitors()
        except Exception as error:  # noqa: BLE001  no measurement is worth a run
            say(f"the machine's load is not measured: {error}")
            return
        step = int(self._journal.state.get("load", 0))
        while not self._finishing.wait(timeout=self._sample_every if step else 1.0):
            step = self._measure(sample, step)
        self._measure(sample, step)

    def _measure(self, sample: Monitors, step: int) -> int:
        if self._working and not self._described and _environment.is_imported("keras"):
            self._described = True
            self.tags(_environment.device_tags())
        self._append("metrics", values=sample(), step=step)
        self._journal.remember(load=step + 1)
        return step + 1

    def _let_imports_pass(self) -> None:
        """Wait until Keras is imported: two threads importing packages that share others collide.

        TensorFlow and MLflow both import pandas, scipy and protobuf, whose modules import each
        other; entered from two sides, half a module may be seen.
        """
        patience = time.monotonic() + PATIENCE_WITH_IMPORTS
        while not any(map(_environment.is_imported, ("keras", "mlflow"))):
            if time.monotonic() > patience:
                return
            if self._finishing.wait(timeout=0.1):
                return
