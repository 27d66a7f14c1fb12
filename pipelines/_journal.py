"""A run's journal on the local disk: every tracking call is written here before anything else.

The training thread appends a line and goes on. A worker sends the lines to the tracking store and
remembers how far it got, so a store that is slow, away or full neither stops a run nor loses it,
and neither does the end of this process. Nothing here knows MLflow or Keras.

One folder a run, `<home>/runs/<run id>/`:

    journal.jsonl   one record a line: its number, kind, time in milliseconds, and its fields
    sent.json       the number of the last record the store has, and the ids it gave
    lock            held by the process that writes the run; the system frees it when that dies
    files/          copies of artifacts and models that wait to be sent
    work/           the run's own files: checkpoints
    done.json       stands alone in the folder once the run is finished and sent
"""

import contextlib
import functools
import json
import os
import re
import shutil
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Self

from fieldsight.pipelines._errors import CommandError

Record = dict[str, Any]


def say(text: str) -> None:
    """Tell the person at the terminal one line, beside the results (stderr)."""
    with contextlib.suppress(OSError, ValueError):  # a closed terminal ends no training
        sys.stderr.write(f"fieldsight: {text}\n")
        sys.stderr.flush()


@functools.cache
def checkout() -> Path | None:
    """The folder of the checkout that fieldsight runs from; None where it is installed."""
    import fieldsight

    # src/fieldsight/__init__.py: an installed copy has no pyproject.toml two folders up.
    root = Path(fieldsight.__file__).resolve().parents[2]
    try:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return None
    named = re.search(r'^name = "fieldsight"$', text, re.MULTILINE)
    return root if named and (root / "src" / "fieldsight").is_dir() else None


def home() -> Path:
    """Where runs are kept on this machine; never the current folder.

    `$FIELDSIGHT_HOME`, else the checkout's `mlflow/`, else the user's data folder.
    """
    if named := os.environ.get("FIELDSIGHT_HOME"):
        return Path(named).expanduser().resolve()
    if (root := checkout()) is not None:
        return root / "mlflow"
    import platformdirs

    return Path(platformdirs.user_data_dir("fieldsight", appauthor=False))


def runs_folder() -> Path:
    """The folder that holds one folder for each local run."""
    return home() / "runs"


class Journal:
    """The records of one run, on disk and in memory, and how many of them the store has.

    Appending never raises for the disk's sake: what can't be written is kept in memory, tried
    again with the next record, and sent from there all the same.

    Args:
        folder: the run's folder; made when the first record is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mutex = threading.Lock()
        self._state_mutex = threading.Lock()
        self._unwritten: list[bytes] = []
        self._complained = False
        self._lock = Lock(folder / "lock")
        self._lock.take()
        self.state: dict[str, Any] = _read_state(folder)
        records = list(read_records(folder))
        self.first = records[0] if records else None
        self._next = records[-1]["n"] + 1 if records else 1
        sent = self.state.get("sent", 0)
        self._waiting = deque(record for record in records if record["n"] > sent)
        self.last = records[-1] if records else None

    def append(self, kind: str, /, **fields: object) -> None:
        """Add one record: to the disk if it can be, to what waits to be sent in any case."""
        with self._mutex:
            record = {"n": self._next, "kind": kind, "time": time.time_ns() // 1_000_000, **fields}
            line = json.dumps(record, default=str)
            record = json.loads(line)  # what is sent now is what would be read back later
            self._next += 1
            self._waiting.append(record)
            self._unwritten.append(line.encode() + b"\n")
            self.first = self.first or record
            self.last = record
            self._write()

    def waiting(self, limit: int | None = None) -> list[Record]:
        """The records that the store doesn't have yet, oldest first."""
        with self._mutex:
            return list(islice(self._waiting, limit))

    def __len__(self) -> int:
        """How many records wait."""
        return len(self._waiting)

    def sent(self, number: int) -> None:
        """Remember that the store has every record up to `number`."""
        with self._mutex:
            while self._waiting and self._waiting[0]["n"] <= number:
                self._waiting.popleft()
        self.remember(sent=number)

    def remember(self, **facts: object) -> None:
        """Keep facts about the store's side of this run; a full disk only makes us send again."""
        with self._state_mutex, contextlib.suppress(OSError):
            self.state.update(facts)
            write_whole(self.folder / "sent.json", json.dumps(self.state).encode())

    def start_over(self) -> None:
        """Forget what a store has: it is another one, or it lost this run."""
        with self._mutex:
            self.state = {}
            kept = {record["n"]: record for record in (*read_records(self.folder), *self._waiting)}
            self._waiting = deque(kept[number] for number in sorted(kept))

    def keep(self, source: Path, *, at: str | None = None) -> str | None:
        """Copy a file or folder beside the journal, so that it can be sent later.

        Args:
            source: what to copy.
            at: the name under which it is sent; its own by default.

        Returns:
            Its path inside the run's folder, or None (and a line said) if it couldn't be kept.
        """
        inside = Path("files", uuid.uuid4().hex[:12])
        target = self.folder / inside / (at or source.name)
        try:
            target.parent.mkdir(parents=True)
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(target.parent, ignore_errors=True)
            say(f"{source.name} was not kept with the run: {_reason(error)}")
            return None
        return (inside / target.name).as_posix()

    def finish(self) -> None:
        """Tidy up after a run that is finished and sent: one small file stays."""
        facts = {key: self.state.get(key) for key in ("store", "experiment", "run")}
        with contextlib.suppress(OSError):
            write_whole(self.folder / "done.json", json.dumps(facts).encode())
            for entry in list(self.folder.iterdir()):
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry.name not in {"done.json", "lock"}:
                    entry.unlink()

    def close(self) -> None:
        """Let go of the run: another process may send or resume it."""
        self._lock.release(remove=(self.folder / "done.json").exists())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        path = self.folder / "journal.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("ab", buffering=0) as file:
                size = file.tell()
                try:
                    while self._unwritten:
                        _write_all(file.fileno(), self._unwritten[0])
                        size += len(self._unwritten.pop(0))
                except OSError:
                    file.truncate(size)  # half a line would spoil the next one
                    raise
        except OSError as error:
            if not self._complained:
                self._complained = True
                say(
                    f"the run's journal can't be written ({_reason(error)}): training goes on, "
                    "and what isn't sent to the tracking store by its end is lost"
                )


def read_records(folder: Path) -> Iterator[Record]:
    """The records of a journal, and nothing of a last line that a dying process left unfinished."""
    path = folder / "journal.jsonl"
    try:
        content = path.read_bytes()
    except OSError:
        return
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            file.truncate(whole)
    for line in content[:whole].splitlines():
        with contextlib.suppress(ValueError):  # a damaged line costs itself, not the rest
            yield json.loads(line)


def waits(folder: Path) -> bool:
    """Whether a run on this machine has anything left to tell a store."""
    if read_done(folder) is not None:
        return False
    *_, last = [None, *read_records(folder)]
    if last is None:
        return False
    return last["kind"] != "end" or last["n"] > _read_state(folder).get("sent", 0)


def read_done(folder: Path) -> dict[str, Any] | None:
    """What is left of a run that is finished and sent; None if this one isn't."""
    try:
        facts: dict[str, Any] = json.loads((folder / "done.json").read_bytes())
    except (OSError, ValueError):
        return None
    return facts


def find(reference: str) -> Path | None:
    """The folder of a run on this machine.

    Args:
        reference: its local id (the first four characters or more), or the id MLflow gave it.
    """
    root = runs_folder()
    if not re.fullmatch(r"[0-9a-f]{4,32}", reference) or not root.is_dir():
        return None
    names = sorted(entry.name for entry in root.iterdir() if entry.name.startswith(reference))
    if len(names) > 1 and reference not in names:
        raise CommandError(
            f"a run's id that fits one run was needed. Received: {reference!r}, which fits "
            f"{', '.join(names[:5])}. Give more characters."
        )
    if names:
        return root / (reference if reference in names else names[0])
    for entry in root.iterdir():
        facts = read_done(entry) or _read_state(entry)
        if str(facts.get("run", "")).startswith(reference):
            return entry
    return None


def is_open(folder: Path) -> bool:
    """Whether some process, this one included, is writing this run."""
    lock = Lock(folder / "lock")
    if not lock.path.exists():
        return False
    try:
        lock.take()
    except BlockingIOError:
        return True
    lock.release()
    return False


def new_id() -> str:
    """A run's local id: 12 hexadecimal digits, short enough to be typed."""
    return uuid.uuid4().hex[:12]


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file beside itself and rename it: never half of it."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


class Lock:
    """An exclusive lock on a file, which the system lets go when its process dies, however."""

    # POSIX locks belong to a process and go when ANY descriptor of the file is closed:
    # a second look from this process would free the first one's lock.
    _ours: set[Path] = set()  # noqa: RUF012

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            BlockingIOError: if another run holds it.
        """
        if self.path in self._ours:
            raise BlockingIOError
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return  # a full or read-only disk: the run goes on without a lock
        try:
            _lock_descriptor(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise BlockingIOError from error
        self._descriptor = descriptor
        self._ours.add(self.path)

    def release(self, *, remove: bool = False) -> None:
        if self._descriptor is None:
            return
        if remove:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = None
        self._ours.discard(self.path)


def _lock_descriptor(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        # lockf, not flock: a forked data loader that outlives us would keep a flock.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / "sent.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return state


def _reason(error: Exception) -> str:
    """An error of the system in a few words, without the path that it happened at."""
    return getattr(error, "strerror", None) or type(error).__name__
