"""Frames as they come: a folder that is being written, a stream, a video."""

import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fieldsight.datasets import stills
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.frames import videos
from fieldsight.datasets.frames.inputs import Input, Shot

SCHEMES = ("tcp", "udp", "rtp", "rtsp", "srt", "http", "https")
SETTLED_S = 2.0  # a picture that can't be read and hasn't grown for so long is broken
CONNECT_S = 10.0  # that a stream is waited for
ANALYSED_US = "500000"  # microseconds of a stream that FFmpeg looks at before it gives frames

_ADDRESS = re.compile(r"^([a-z]+)://([^/?#]*)", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+)$")


def follow(
    source: str | os.PathLike[str],
    *,
    idle_s: float | None = None,
    poll_s: float = 0.05,
    frames_per_second: float | None = None,
) -> Input:
    """An input whose frames are given as they arrive.

    Args:
        source: a folder that is being written, a video file, or a stream's address
            (tcp, udp, rtp, rtsp, srt, http).
        idle_s: end when no frame came for so long; None waits on.
        poll_s: how often a folder is looked at.
        frames_per_second: of a folder; `time_s` is when a picture was seen where None.

    Raises:
        DatasetNotFoundError: if there is no such file or folder.
        DataError: if it is neither a video nor a stream.
    """
    address = _ADDRESS.match(os.fspath(source))
    if address:
        return _stream(os.fspath(source), address, idle_s)
    path = Path(source).expanduser()
    if path.is_dir():
        shots = partial(_written, path, idle_s, poll_s, time.monotonic, time.sleep)
        return Input(path.absolute().name, "folder", path, frames_per_second, None, shots)
    if not path.exists():
        raise DatasetNotFoundError(
            f"{path}: a folder, a video or a stream's address was needed. Received: no such file. "
            f"An address begins with one of {', '.join(f'{each}://' for each in SCHEMES)}."
        )
    return videos.video(path, path.name)


def _stream(address: str, parts: "re.Match[str]", idle_s: float | None) -> Input:
    if parts[1].lower() not in SCHEMES:
        raise DataError(
            f"{address}: an address that begins with one of "
            f"{', '.join(f'{each}://' for each in SCHEMES)} was needed. Received: {parts[1]}://. "
            "Name another."
        )
    # A camera's name and password may stand before the @, and belong in no output.
    name = f"{parts[1].lower()}://{parts[2].rpartition('@')[2]}"

    def shots(source: Input) -> Iterator[Shot]:
        # FFmpeg's 5 s of looking at what comes would be 5 s of latency.
        options = {"flags": "low_delay", "analyzeduration": ANALYSED_US}
        timeout = (CONNECT_S, idle_s)
        with videos.opened(address, name, timeout=timeout, options=options) as (container, stream):
            yield from videos.decoded(container, stream, source)

    return Input(name, "stream", None, None, None, shots)


def _written(
    folder: Path,
    idle_s: float | None,
    poll_s: float,
    clock: Callable[[], float],
    wait: Callable[[float], None],
    source: Input,
) -> Iterator[Shot]:
    """The pictures of a folder as they are finished, in the order of their names."""
    done: set[str] = set()
    growing: dict[str, tuple[int, float]] = {}  # the size of a file, and since when it has it
    start: float | None = None
    last = clock()
    count = 0
    while True:
        came = False
        for name in _unseen(folder, done):
            path = folder / name
            try:
                image = stills.read(path)
            except DataError as error:
                if _is_broken(path, growing, clock()):
                    done.add(name)
                    source.failures[name] = str(error)
                continue
            now = clock()
            start = now if start is None else start
            done.add(name)
            number = _NUMBER.search(path.stem)
            index = int(number[0]) if number else count
            source.names[index] = name
            rate = source.frames_per_second
            yield Shot(index, count / rate if rate else now - start, image)
            count, came = count + 1, True
        if came:
            last = clock()
        elif idle_s is not None and clock() - last >= idle_s:
            for name in _unseen(folder, done):
                source.failures[name] = (
                    f"{name}: a whole picture was needed. Received: a part of one. Copy it again."
                )
            return
        wait(poll_s)


def _unseen(folder: Path, done: set[str]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError as error:
        raise DataError(
            f"{folder}: a folder that can be read was needed. Received: "
            f"{(error.strerror or str(error)).lower()}. Is it still there?"
        ) from error
    return sorted(
        name
        for name in names
        if name not in done and not name.startswith(".") and name.lower().endswith(stills.SUFFIXES)
    )


def _is_broken(path: Path, growing: dict[str, tuple[int, float]], now: float) -> bool:
    """Whether a picture that can't be read has stopped to grow."""
    try:
        size = path.stat().st_size
    except OSError:
        return False  # it was renamed
    known, since = growing.get(path.name, (-1, now))
    if size != known:
        growing[path.name] = (size, now)
        return False
    return now - since >= SETTLED_S
