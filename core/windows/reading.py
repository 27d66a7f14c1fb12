"""Windows read from an array, or from anything that reads like one, ahead of the model."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.windows.geometry import Plan, Slices

Padding = Literal["reflect", "edge", "zeros"]
# A window as it was read -> whether it is to be run at all, or which of its places are data.
Valid = Callable[[NDArray[Any]], "bool | NDArray[np.bool_]"]
_MODES: dict[str, Any] = {"reflect": "reflect", "edge": "edge", "zeros": "constant"}
_AHEAD = 1  # batches that are read while others are run: one is ready when it is asked for

SIDE_BY_SIDE = 2  # batches at once, where what runs them takes pieces of several

T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True)
class Window:
    """One window as it was read.

    Attributes:
        index: its number along every axis.
        runs: whether the model is to see it.
        valid: which of its places are data, `(*sides in the array)`; None is all.
    """

    index: tuple[int, ...]
    runs: bool
    valid: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Batch:
    """Some windows of one row, and the pictures of those that are run: `(n, *window, channels)`."""

    row: int
    windows: tuple[Window, ...]
    images: NDArray[Any] | None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads the windows of a source as the model is to see them.

    Attributes:
        source: has `shape`, (*sides, channels), and gives `source[slices]` or
            `source.read(slices)`; the slices are of the sides alone. Its `valid(slices)`, where
            it has one, says which places are data.
        plan: where the windows lie.
        dtype: that the model takes.
        batch_size: windows run at once, at most.
        padding: what lies beyond the array's end.
        nodata: value of places without data; None if all have some.
        valid: a rule beyond that.
        spare: batches' memory that may be used again (`give_back`).
    """

    source: Any
    plan: Plan
    dtype: str
    batch_size: int
    padding: Padding
    nodata: float | None
    valid: Valid | None
    spare: deque[NDArray[Any]] = field(default_factory=deque, repr=False, compare=False)

    def batches(self, rows: Sequence[int]) -> Iterator[Batch]:
        """Yield the windows of some rows in order; no batch has windows of two rows.

        So the same windows are run together whichever row a run starts from, and a run that
        was broken off gives the same bytes.
        """
        groups = -(-self.plan.in_row // self.batch_size)
        size = -(-self.plan.in_row // groups)  # Alike, so that few sizes are compiled.
        for row in rows:
            windows: list[Window] = []
            count, images = 0, self._memory(size)
            for index in self.plan.row(row):
                windows.append(self.read(index, images[count]))
                count += windows[-1].runs
                if count == size:
                    yield Batch(row, tuple(windows), images)
                    windows, count, images = [], 0, self._memory(size)
            if windows:
                yield Batch(row, tuple(windows), images[:count] if count else None)
            if not count:
                self.give_back(images)

    def give_back(self, images: NDArray[Any]) -> None:
        """Let the pictures of a batch be written over by later ones.

        Memory that was written to before is filled many times faster than new memory.

        Args:
            images: `Batch.images` that nobody looks at any more.
        """
        self.spare.append(images if images.base is None else images.base)

    def _memory(self, size: int) -> NDArray[Any]:
        """Room for so many windows."""
        shape = (size, *self.plan.window, int(self.source.shape[-1]))
        with contextlib.suppress(IndexError):  # no more of them
            while True:
                images = self.spare.popleft()
                if images.shape == shape and images.dtype == self.dtype:
                    return images
        return np.empty(shape, self.dtype)

    def read(self, index: tuple[int, ...], image: NDArray[Any]) -> Window:
        """Read one window, and fill in its picture if it is to be run.

        Args:
            index: its number along every axis.
            image: `(*window, channels)`, which is written over.
        """
        place = self.plan.inside(index)
        piece = self._piece(place)
        runs, valid = self._validity(piece, place)
        if not runs:
            return Window(index, False, valid)
        short = [w - n for w, n in zip(self.plan.window, piece.shape, strict=False)]
        part = image[tuple(slice(side) for side in piece.shape[:-1])]
        np.copyto(part, piece, casting="unsafe")
        if np.issubdtype(piece.dtype, np.inexact):
            _without_nan(part, valid, place)
        if any(short):
            pads = [*((0, missing) for missing in short), (0, 0)]
            image[...] = np.pad(part, pads, mode=_MODES[self.padding])
        return Window(index, True, valid)

    def _piece(self, place: Slices) -> NDArray[Any]:
        try:
            read = getattr(self.source, "read", None)
            piece = np.asarray(self.source[place] if read is None else read(place))
        except Exception as error:
            raise RuntimeError(
                f"the window at {shown(place)} could not be read: {type(error).__name__}: {error}. "
                "What was written before stays."
            ) from error
        wanted = (*(side.stop - side.start for side in place), int(self.source.shape[-1]))
        if piece.shape != wanted:
            raise ValueError(
                f"the source must give {wanted}, sides and channels, at {shown(place)}. "
                f"Received: {piece.shape}"
            )
        return piece

    def _validity(
        self, piece: NDArray[Any], place: Slices
    ) -> tuple[bool, NDArray[np.bool_] | None]:
        """Whether a window runs, and which of its places are data."""
        masks = [] if self.nodata is None else [_has_data(piece, self.nodata)]
        rules: list[tuple[Any, Any]] = [(self.valid, piece)]
        rules.append((getattr(self.source, "valid", None), place))
        for rule, seen in rules:
            if rule is None:
                continue
            said = np.asarray(rule(seen))
            if said.dtype != bool or said.shape not in ((), piece.shape[:-1]):
                raise ValueError(
                    f"valid must answer True or False, or a mask of {piece.shape[:-1]}. "
                    f"Received: {said.dtype} of shape {said.shape} at {shown(place)}"
                )
            if said.ndim:
                masks.append(said)
            elif not said:
                return False, None
        valid = functools.reduce(np.logical_and, masks) if masks else None
        if valid is None or valid.all():
            return True, None
        return bool(valid.any()), valid


def _has_data(piece: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Not where all channels are nodata; where that is NaN, not where any is."""
    if np.isnan(nodata):
        return np.logical_not(np.isnan(piece).any(axis=-1))
    return np.not_equal(piece, nodata).any(axis=-1)


def _without_nan(image: NDArray[Any], valid: NDArray[np.bool_] | None, place: Slices) -> None:
    """Put 0 in place of NaN where there are no data; NaN elsewhere is refused.

    One NaN would spread over all that sees it.
    """
    lost = np.isnan(image)
    if not lost.any():
        return
    wrong = lost.any(axis=-1) if valid is None else lost.any(axis=-1) & valid
    if wrong.any():
        first = np.argwhere(wrong)[0] + [side.start for side in place]
        raise ValueError(
            "a model can't see NaN, which would spread over its field of view. "
            f"Received: NaN at {tuple(first.tolist())}. Say nodata=float('nan') to leave such "
            "places out."
        )
    image[lost] = 0


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Yield items while a thread makes the next ones, `_AHEAD` of them at most."""
    with ThreadPoolExecutor(1, thread_name_prefix="windows") as pool:
        waiting = deque(pool.submit(next, items, None) for _ in range(_AHEAD))
        try:
            while (item := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(next, items, None))
                yield item
        finally:
            for future in waiting:
                future.cancel()


def in_turn(
    work: Callable[[T], A], items: Iterable[T], most: Callable[[], int]
) -> Generator[tuple[T, A], None, None]:
    """Yield each item with its answer, in order, `SIDE_BY_SIDE` of them at work at once.

    Args:
        work: from an item to its answer; called by several threads.
        items: made by the caller's thread, each when its turn comes.
        most: how many may be begun or waiting when the first of them is waited for; asked anew
            each time, for what runs a network is known after its first batch.
    """
    waiting: deque[tuple[T, Future[A]]] = deque()
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="windows") as pool:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            while len(waiting) >= most():
                first, running = waiting.popleft()
                yield first, running.result()
        while waiting:
            first, running = waiting.popleft()
            yield first, running.result()


def shown(place: Slices) -> str:
    """Slices as they are written."""
    return "[" + ", ".join(f"{side.start}:{side.stop}" for side in place) + "]"
