"""What writers of simulated folders share: whose folder it is, leftovers, and their processes."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeVar

from fieldsight.datasets.errors import DataError

MANIFEST = "SIMULATED.json"
_ABANDONED_S = 600.0
_Job = TypeVar("_Job")


def check(root: Path, what: dict[str, Any], things: str) -> None:
    """Whether a folder may be written to: empty, or begun with the same settings.

    Args:
        root: the folder; it needn't be there.
        what: the settings that its manifest must have.
        things: what it holds, as a word for messages.

    Raises:
        DataError: if it holds anything else.
    """
    try:
        there = json.loads((root / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        if root.is_dir() and any(not path.name.startswith(".") for path in root.iterdir()):
            raise DataError(
                f"{root}: an empty folder or one of simulated {things} was needed. Received: one "
                f"with other files. Name another."
            ) from None
        return
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"{root / MANIFEST}: needs to be JSON. Received: {error}. Name another folder."
        ) from error
    other = {key: there.get(key) for key in what} if isinstance(there, dict) else {}
    if other != what:
        raise DataError(
            f"{root}: a folder of the same {things} was needed, {_told(what)}. Received: "
            f"{_told(other)}. Name another folder."
        )


def _told(what: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in what.items()) or "no object"


def clear(root: Path) -> None:
    """Remove what an ended call left half; another call's, at this moment, is younger."""
    for leftover in root.glob(".*.part"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(leftover, ignore_errors=True)


def made(
    work: Callable[[_Job], int], jobs: Sequence[_Job], processes: int, needs: str
) -> Iterator[int]:
    """Do jobs, some at a time; yields each one's answer as it is done.

    Args:
        work: a function of a module, called with a job.
        jobs: what it is called with.
        processes: how many at a time.
        needs: what one needs, for the message where memory is short.

    Raises:
        DataError: if a process was ended from outside.
    """
    if processes == 1 or len(jobs) < 4:
        for job in jobs:
            yield work(job)
        return
    # Not forked: threads of whoever calls, such as TensorFlow's, wouldn't survive it.
    context = multiprocessing.get_context("spawn")
    with (
        _one_thread(),
        ProcessPoolExecutor(
            min(processes, len(jobs)), mp_context=context, initializer=_leave_to_parent
        ) as pool,
    ):
        try:
            for future in as_completed([pool.submit(work, job) for job in jobs]):
                yield future.result()
        except BrokenProcessPool as error:
            raise DataError(
                "processes that simulate were needed. Received: one was ended from outside, as "
                f"happens where memory is short ({needs}). The same call goes on; name fewer "
                "processes."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _leave_to_parent() -> None:
    """Ctrl-C goes to every process of a terminal; the parent alone answers to it, all end with it.

    One that is killed can't tell its workers, and each would wait for more work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)  # at once: what is half written lies beside, and is cleared away later


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Workers' libraries get one thread each: there are as many workers as there are cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
