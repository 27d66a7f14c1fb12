"""Videos with what was found drawn in, frame by frame as it comes, by PyAV."""

import contextlib
import math
import os
import uuid
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fieldsight.datasets.detections.rows import Answer
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array

CODECS = ("libx264", "libopenh264", "mpeg4")  # H.264 where the build has it
RATE = 10.0  # frames a second where nobody says how many
QUALITY = "23"  # of x264, constant


class Film:
    """A video that is written frame by frame; it has its place when it is closed.

    Args:
        path: ends in .mp4.
        answer: whose model the file's comment names.
        frames_per_second: None for 10.
        codecs: by FFmpeg's names, the first that the build has is taken.

    Raises:
        DataError: if the build has none of them, or the file can't be written.

    Example:
        with Film(folder / "flight.mp4", answer, frames_per_second=30) as film:
            film.add(drawing.draw(image, found, answer, title="flight", lines=4))
    """

    def __init__(
        self,
        path: Path,
        answer: Answer,
        *,
        frames_per_second: float | None = None,
        codecs: Sequence[str] = CODECS,
    ) -> None:
        import av

        self.path = path
        self.frames = 0
        self.codec = _codec(codecs)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
        try:
            self._container: Any = av.open(
                f"file:{self._beside.absolute()}", "w", format="mp4",
                options={"movflags": "+faststart"},
            )  # fmt: skip
        except (av.error.FFmpegError, OSError) as error:
            raise self._not_written(error) from error
        made = answer.provenance
        self._container.metadata["title"] = path.stem
        self._container.metadata["comment"] = "; ".join(
            (*answer.marks(), made.model, made.disclaimer)
        )
        rate = frames_per_second if frames_per_second and frames_per_second > 0 else RATE
        self._rate = Fraction(rate).limit_denominator(1001)
        self._stream: Any = None
        self._size = (0, 0)

    def add(self, image: Array) -> None:
        """Add a frame `(rows, columns, 3)` uint8; the first one's size is the film's.

        Raises:
            DataError: if the file can't be written.
        """
        import av

        if self._stream is None:
            self._begin(image)
        frame = av.VideoFrame.from_ndarray(_fitted(image, self._size), format="rgb24")
        frame.pts = self.frames
        frame.time_base = 1 / self._rate
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise self._not_written(error) from error
        self.frames += 1

    def close(self) -> None:
        """Finish it and put it in its place; without a frame there is no file.

        Raises:
            DataError: if the file can't be written.
        """
        import av

        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
            if self.frames:
                with self._beside.open("rb") as file:
                    os.fsync(file.fileno())
                self._beside.replace(self.path)
        except (av.error.FFmpegError, OSError) as error:
            raise self._not_written(error) from error
        finally:
            self._remove()

    def __enter__(self) -> "Film":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(Exception):
            self._container.close()
        self._remove()

    def _begin(self, image: Array) -> None:
        # H.264 halves its colours: sides must be even.
        rows, columns = (math.ceil(side / 2) * 2 for side in image.shape[:2])
        self._size = (rows, columns)
        options = {"crf": QUALITY, "preset": "veryfast"} if self.codec == "libx264" else {}
        self._stream = self._container.add_stream(self.codec, rate=self._rate, options=options)
        self._stream.height, self._stream.width = self._size
        self._stream.pix_fmt = "yuv420p"
        if self.codec != "libx264":
            self._stream.bit_rate = 4 * self._size[0] * self._size[1]

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._beside.unlink(missing_ok=True)

    def _not_written(self, error: Exception) -> DataError:
        self._remove()
        reason = getattr(error, "strerror", None) or str(error)
        return DataError(
            f"{self.path} can't be written ({reason}). What was there before is unchanged. Free "
            "some space, or choose another folder."
        )


def _codec(codecs: Sequence[str]) -> str:
    import av

    for name in codecs:
        with contextlib.suppress(ValueError, av.error.FFmpegError):
            av.codec.Codec(name, "w")
            return name
    raise DataError(
        f"a build of FFmpeg that writes one of {', '.join(codecs)} was needed. Received: PyAV "
        f"{av.__version__}, which doesn't. Install PyAV's own wheel."
    )


def _fitted(image: Array, size: tuple[int, int]) -> Array:
    """The image cut, or filled with black, to a size."""
    rows, columns = size
    if image.shape[:2] == size:
        return np.ascontiguousarray(image)
    fitted = np.zeros((rows, columns, 3), np.uint8)
    part = image[:rows, :columns]
    fitted[: part.shape[0], : part.shape[1]] = part
    return fitted
