"""Two trainings at once: what one leaves of the processors, the other takes.

A small network's step is many short operations, between which processors wait for one another. Two
networks that train in two threads of one process fill each other's gaps, and neither's numbers
change: each has a generator of its own, and Keras keeps what is set for a thread by thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Check = Callable[[], None]


class StoppedError(Exception):
    """Nobody waits for what this thread does any more."""


@contextlib.contextmanager
def alongside(work: Callable[[Check], T], *, at_once: bool) -> Iterator[Callable[[], T]]:
    """Begin some work; what is given waits for it and returns its answer, or raises its error.

    Args:
        work: is given a function that raises once nobody waits any more, to be called often.
        at_once: in a thread of its own, from now on; else when it is waited for.
    """
    if not at_once:
        yield lambda: work(lambda: None)
        return
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise StoppedError

    with ThreadPoolExecutor(1, "alongside") as pool:
        answer = pool.submit(work, check)
        try:
            yield answer.result
        finally:
            stopped.set()


def helps() -> bool:
    """Whether there are several processors, and no device that one network alone would fill."""
    from fieldsight.pipelines import _training

    return _training.device_kind() == "cpu" and (os.cpu_count() or 1) > 1
