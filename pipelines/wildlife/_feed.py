"""Frames read ahead in another thread; of a live source the newest if the model falls behind."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from fieldsight.datasets.frames import Shot

MOST = 16  # frames that wait: 10 MB of 640 x 512 in 16 bits


class Fed(NamedTuple):
    """A frame as it is handed on.

    Attributes:
        shot: the frame.
        arrived: `time.monotonic()` when it had been read.
    """

    shot: Shot
    arrived: float


class Feed:
    """An iterator over frames that another thread reads.

    Args:
        shots: the frames, in order.
        live: whether whoever reads too slowly loses the oldest frames, so that an alarm is never
            of long ago; else the thread waits, and no frame is lost.
        most: frames that wait.
    """

    def __init__(self, shots: Iterator[Shot], *, live: bool, most: int = MOST) -> None:
        self.skipped = 0
        self._shots, self._live, self._most = shots, live, most
        self._waiting: deque[Fed] = deque()
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        # A daemon: a stream that says nothing mustn't keep a command from ending.
        threading.Thread(target=self._read, daemon=True).start()

    def __iter__(self) -> Iterator[Fed]:
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait(0.5)  # woken now and then, so that Ctrl-C is heard
                if not self._waiting:
                    if self._error is not None:
                        raise self._error
                    return
                fed = self._waiting.popleft()
                self._changed.notify_all()
            yield fed

    def stop(self) -> None:
        """Read no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _read(self) -> None:
        try:
            for shot in self._shots:
                if not self._put(Fed(shot, time.monotonic())):
                    return
        except BaseException as error:  # noqa: BLE001 - told to whoever takes the frames
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, fed: Fed) -> bool:
        with self._changed:
            while len(self._waiting) >= self._most and not self._stopped:
                if self._live:
                    self._waiting.popleft()
                    self.skipped += 1
                else:
                    self._changed.wait(0.5)
            if self._stopped:
                return False
            self._waiting.append(fed)
            self._changed.notify_all()
            return True
