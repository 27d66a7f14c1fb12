"""Work that waits for files and for libraries which leave Python's lock: some threads at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

MOST = 4  # side by side: more of them want much memory


def in_threads(
    work: Callable[[_Item], _Answer], items: Iterable[_Item]
) -> Generator[tuple[_Item, _Answer]]:
    """Yield each item with what is answered to it, in their order, as they are through.

    All of them are begun as threads get free, so answers that wait are held in memory. Left
    before its end, what hasn't begun isn't begun.
    """
    listed = list(items)
    with ThreadPoolExecutor(min(MOST, os.cpu_count() or 1)) as pool:
        try:
            yield from zip(listed, pool.map(work, listed), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)
