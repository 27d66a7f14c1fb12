"""Pictures and films of what was found, drawn in another thread while the model runs on."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.detections import Answer, Source, View, blurring, drawing
from fieldsight.datasets.detections.films import Film
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.stills import SUFFIXES
from fieldsight.pipelines._errors import CommandError

if TYPE_CHECKING:
    from fieldsight.datasets.frames import Mosaic

Array = NDArray[Any]

PICTURES, FILMS = "pictures", "videos"
WAITING = 8  # frames that wait to be drawn: then whoever brings more waits


class Drawer:
    """Draws every picture and mosaic, a film a sequence, and each person's track when it begins.

    Args:
        folder: for pictures/ and videos/.
        answer: whose classes and model are told; its views don't matter.
        order: names of all sources, as they are numbered where names are hidden.
        hidden: whether sources and frames are called by numbers (W-9).
    """

    def __init__(
        self, folder: Path, answer: Answer, order: dict[str, int], *, hidden: bool
    ) -> None:
        self.folder, self.answer, self.order, self.hidden = folder, answer, order, hidden
        self.files: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()
        self._film: Film | None = None
        self._filmed = ""
        self._first = 0
        self._lines: int | None = None
        self._people: set[int] = set()

    def frame(self, source: Source, view: View, image: Array) -> None:
        """Draw a frame; of a sequence, frames come in their order.

        Raises:
            CommandError: if an earlier one couldn't be written.
            OSError: the same.
        """
        self._later(self._draw, source, view, image)

    def mosaic(self, view: View, mosaic: Mosaic) -> None:
        """Draw an orthomosaic, smaller if it is large.

        Raises:
            CommandError: if an earlier picture couldn't be written.
            OSError: the same.
        """
        image, factor = _overview(mosaic)
        name = self._named(view.source, "orthomosaic")
        # One that is small is drawn larger, as any picture.
        self._later(self._save, image, view, name, name, factor if factor < 1 else None)

    def close(self) -> None:
        """Draw what waits, and finish the film.

        Raises:
            CommandError: if something couldn't be written.
            OSError: the same.
        """
        with _telling():
            while self._waiting:
                self._waiting.popleft().result()
            if self._film is not None:
                film, self._film = self._film, None
                film.close()

    def __enter__(self) -> Drawer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            if self._film is not None:
                self._film.__exit__(kind, error, trace)

    def _later(self, work: Any, *given: Any) -> None:
        with _telling():
            while len(self._waiting) >= WAITING:
                self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(work, *given))

    def _draw(self, source: Source, view: View, image: Array) -> None:
        if not source.in_time:
            name = self._named(source.name, source.kind)
            self._save(image, view, name, name, None)
            return
        if self._filmed != source.name:
            self._begin(source, view)
        number = view.number - self._first
        title = view.name
        if self.hidden:
            title = blurring.frame_name(self._named(source.name, source.kind), number)
        factor = min(1.0, drawing.factor_of(view.size))
        short = title.rsplit("/", 1)[-1]  # the film's own name has the rest
        if self._lines is None:
            self._lines = drawing.most_lines(self.answer, short, round(factor * view.size[1]))
        drawn = drawing.draw(
            image, view.detections, self.answer, title=short, factor=factor, lines=self._lines
        )
        if self._film is not None:
            self._film.add(drawn)
        new = {each.track for each in view.detections
               if each.label in self.answer.people and each.track >= 0} - self._people  # fmt: skip
        if new:
            self._people |= new
            self._save(image, view, title, title, None)

    def _begin(self, source: Source, view: View) -> None:
        if self._film is not None:
            self._film.close()
        name = self._named(source.name, source.kind)
        file = f"{FILMS}/{_plain(name)}.mp4"
        self._film = Film(
            self.folder / file, self.answer, frames_per_second=source.frames_per_second
        )
        self._filmed, self._first, self._people = source.name, view.number, set()
        self._lines = None
        self.files[file] = f"what was found in {name}, drawn in"

    def _save(self, image: Array, view: View, name: str, title: str, factor: float | None) -> None:
        drawn = drawing.draw(image, view.detections, self.answer, title=title, factor=factor)
        plain = _plain(name)
        stem = plain.rsplit(".", 1)[0] if plain.lower().endswith(SUFFIXES) else plain
        file, number = f"{PICTURES}/{stem}.jpg", 2
        while file in self.files:
            file, number = f"{PICTURES}/{stem}-{number}.jpg", number + 1
        drawing.save(self.folder / file, drawn, self.answer)
        private = any(each.label in self.answer.people for each in view.detections)
        self.files[file] = "may show people: private" if private else "what was found, drawn in"

    def _named(self, source: str, kind: str) -> str:
        return blurring.source_name(kind, self.order[source]) if self.hidden else source


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """What can't be written is no fault of the input that is being looked at."""
    try:
        yield
    except DataError as error:
        raise CommandError(str(error)) from error


def _plain(name: str) -> str:
    """A file's name of a source's or frame's."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:150] or "picture"


def _overview(mosaic: Mosaic) -> tuple[Array, float]:
    """A mosaic made smaller by rows of blocks, and how many times smaller its pixels are."""
    rows, columns, channels = mosaic.shape
    step = max(1, -(-max(rows, columns) // drawing.LARGEST))
    if step == 1:
        every = (slice(0, rows), slice(0, columns))
        return mosaic.read(every), 1.0
    parts = []
    tall = max(1, 512 // step) * step
    for top in range(0, rows - step + 1, tall):
        bottom = min(top + tall, rows // step * step)
        block = mosaic.read((slice(top, bottom), slice(0, columns // step * step)))
        shape = ((bottom - top) // step, step, columns // step, step, channels)
        parts.append(block.reshape(shape).mean(axis=(1, 3)).astype(block.dtype))
    return np.concatenate(parts), 1.0 / step
