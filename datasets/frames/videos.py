"""Videos by PyAV, frame by frame: RGB, or grey of 8 to 16 bits as the camera wrote it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.frames.inputs import Input, Shot
from fieldsight.datasets.sample import Array

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".mpg", ".mpeg", ".ts", ".webm", ".wmv", ".mts",
            ".m2ts", ".flv", ".3gp", ".ogv", ".h264", ".h265", ".hevc", ".mjpeg")  # fmt: skip
BROKEN_AT_MOST = 1000  # packets in a row that can't be decoded: then the file is given up

NO_VIDEOS = ("tty", "hls", "concat", "dash", "image2")  # FFmpeg shows text as a film

# A stream is closed by whoever sends it in one of these ways.
ENDS = (av.error.EOFError, av.error.ConnectionResetError, av.error.ExitError, av.error.TimeoutError)


def video(path: Path, name: str) -> Input:
    """A video file; its header is read.

    Raises:
        DataError: if no codec reads it, or it has no pictures.
    """
    with _opened_file(path, name) as (container, stream):
        rate = rate_of(stream)
        count = int(stream.frames) or _by_duration(container, stream, rate)

    def shots(source: Input) -> Iterator[Shot]:
        with _opened_file(path, name) as (container, stream):
            yield from decoded(container, stream, source)

    return Input(name, "video", path, rate, count, shots)


def rate_of(stream: Any) -> float | None:
    """Frames a second; None where nobody says."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and float(rate) > 0 else None


def _by_duration(container: Any, stream: Any, rate: float | None) -> int | None:
    """How many frames there should be where the header doesn't count them; None if unknown."""
    if rate is None:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return max(1, round(float(stream.duration * stream.time_base) * rate))
    return max(1, round(container.duration / av.time_base * rate)) if container.duration else None


@contextmanager
def _opened_file(path: Path, name: str) -> Iterator[tuple[Any, Any]]:
    """A file, which may name no other one and no address: playlists do, whatever their name."""
    options = {"protocol_whitelist": "file"}
    with opened(f"file:{path.absolute()}", name, options=options) as (container, stream):
        if container.format.name in NO_VIDEOS:
            raise DataError(
                f"{name}: a video was needed that FFmpeg reads. Received: {container.format.name}. "
                "Name another file."
            )
        yield container, stream


@contextmanager
def opened(address: str, name: str, **options: Any) -> Iterator[tuple[Any, Any]]:
    """A container and its first stream of pictures.

    Args:
        address: a path or a stream's address.
        name: what it is called in messages.
        options: of `av.open`.

    Raises:
        DataError: if no codec reads it, or it has no pictures.
    """
    try:
        container = av.open(address, **options)
    except (av.error.FFmpegError, ValueError) as error:
        raise DataError(
            f"{name}: a video was needed that FFmpeg reads. Received: {said(error)}. Convert it, "
            "such as by ffmpeg -i IN -c:v libx264 OUT.mp4, or copy it again."
        ) from error
    with container:
        if not container.streams.video:
            raise DataError(
                f"{name}: a video with pictures was needed. Received: "
                f"{', '.join(stream.type for stream in container.streams) or 'no'} streams alone. "
                "Name another file."
            )
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise DataError(
                f"{name}: a video whose codec FFmpeg knows was needed. Received: one of an unknown "
                "codec. Convert it, such as by ffmpeg -i IN -c:v libx264 OUT.mp4."
            )
        stream.thread_type = "AUTO"
        yield container, stream


def decoded(container: Any, stream: Any, source: Input) -> Iterator[Shot]:
    """Frames as they are shown, numbered from 0; broken packets go to the source's failures.

    Raises:
        DataError: if not one frame could be decoded.
    """
    number = broken = 0
    start: float | None = None
    rate = source.frames_per_second
    packets = container.demux(stream)
    while broken < BROKEN_AT_MOST:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except ENDS:
            break
        except (av.error.FFmpegError, ValueError) as error:
            broken += 1
            where = source.frame_name(number)
            source.failures[f"{where}, broken packet {len(source.failures) + 1}"] = (
                f"{where}: a frame that can be decoded was needed. Received: {said(error)}. It is "
                "left out, and the flight goes on."
            )
            continue
        if packet is None:
            break
        for frame in frames:
            broken = 0
            seen = float(frame.time) if frame.time is not None else None
            start = seen if start is None else start
            time_s = seen - start if seen is not None and start is not None else None
            if time_s is None and rate:
                time_s = number / rate
            yield Shot(number, time_s, image_of(frame))
            number += 1
    if not number and source.kind == "video":
        raise DataError(
            f"{source.name}: a video with frames was needed. Received: none that can be decoded"
            f"{', ' + next(iter(source.failures.values())) if source.failures else ''}. Copy or "
            "convert it again."
        )


def image_of(frame: Any) -> Array:
    """`(rows, columns, channels)` of a decoded frame, turned as its container says."""
    kind = frame.format.name
    if kind.startswith("gray") and "f" not in kind:
        deep = kind not in ("gray", "gray8")
        image = frame.to_ndarray(format="gray16le" if deep else "gray")[..., None]
    else:
        image = frame.to_ndarray(format="rgb24")
    quarters = round(int(frame.rotation or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def said(error: Exception) -> str:
    """What FFmpeg says went wrong, in a few words."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:200].lower() or type(error).__name__
