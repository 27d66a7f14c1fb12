"""Answers of a model on windows, blended into one, piece by piece."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.windows.geometry import BLENDS, Blend, Plan
from fieldsight.core.windows.reading import Padding, Valid, Window
from fieldsight.core.windows.running import Global, Job, arrays, prepare, scale_of

_NOTHING = 1e-6  # a share of the weights that is rounding


def predict(
    source: Any,
    model: Any,
    *,
    window: int | Sequence[int] | None = None,
    batch_size: int = 4,
    blend: Blend = "crop",
    overlap: int | Sequence[int] = 0,
    margin: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    padding: Padding = "reflect",
    nodata: float | None = None,
    valid: Valid | None = None,
    fill: float = math.nan,
    sink: Any = None,
    at_once: bool = False,
    state: str | os.PathLike[str] | None = None,
    done: Callable[[int], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    global_operations: Global = "refuse",
) -> Any:
    """Run a model over an array of any size and rank by windows, and blend what it answers.

    What comes out is what the model would answer on the whole array, padded at its end to a
    multiple of the model's stride, up to rounding and at the border too: windows start on the
    model's own grid, what a window's end may have changed doesn't count, and at the array's
    border a window ends where the array does, so that the model pads there what it would pad on
    the whole. That holds for any window that the model takes, unless `margin` is given
    too small, the model mixes all places, or takes windows of one size and the array is smaller.

    The next windows are read by a thread while the model runs. Windows go row by row along the
    first axis; memory holds one row of answers, its overlap with the next, and a few windows;
    with `at_once` a few windows alone.

    Args:
        source: `(*sides, channels)`, an array, or what has this `shape` and gives windows by
            `source[slices]` or, where it has it, `source.read(slices)`, in one other thread;
            slices are of the sides alone. Where it has `source.valid(slices)` too, that says
            which of these places are data, `(*sides)` bool.
        model: a Keras model, or a callable, from `(batch, *window, channels)` to `(batch, *window,
            classes)`; to places some inputs apart, as a detector's; or to a dict, list or tuple
            of such.
        window: sides of a window, multiples of the stride; by default the model's own. The
            larger, the less of the work is margins.
        batch_size: windows run at once.
        blend: "crop" cuts between two windows, "average" weighs them alike, "taper" by the
            distance from their ends. It matters where windows don't agree.
        overlap: places, at least, that neighbours both keep beyond their margins.
        margin: places at a window's ends that don't count; by default as far as the model looks.
        stride: of the model in all; by default the model's own.
        padding: what the model sees between the array's end and the next multiple of its stride.
        nodata: value of places without data: where all channels have it, or for NaN where one
            has. They get `fill`, and windows of them alone aren't run.
        valid: the same by a rule: from a window, cut at the array's end, to whether it is run,
            or to a mask of the places that are data.
        fill: the answer where there is none.
        sink: takes `sink.write(slices, piece)`, or `sink[slices] = piece`, in rising order along
            the first axis, float32, of the answer's places; for several outputs one for each, in
            the same structure. None keeps all in memory.
        at_once: give the sink each window's part as soon as it is answered, row by row of
            windows and each place once, so that memory doesn't grow with the array; for "crop".
        state: a small file next to the sink that says how far it is written: if it is there, the
            run goes on from there. It is the caller's to delete, along with the sink.
        done: told the number of each row once it is written, before that is put down in `state`:
            the moment to flush.
        progress: told how many windows are through, and of how many.
        global_operations: whether a model that mixes all places is refused, or warned about.

    Returns:
        `(*places, classes)` float32, or a structure of them; None with a sink.

    Raises:
        ValueError: if source, model and windows don't fit; what would is said.
        RuntimeError: if a window can't be read; where is said.

    Example:
        >>> picture = np.ones((50, 70, 3), "float32")
        >>> mean = lambda windows: windows.mean(axis=-1, keepdims=True)
        >>> predict(picture, mean, window=32, stride=1, margin=0).shape
        (50, 70, 1)
    """
    if blend not in BLENDS:
        raise ValueError(f"blend must be one of {', '.join(BLENDS)}. Received: {blend!r}")
    if state is not None and sink is None:
        raise ValueError("state is of a sink that outlives the run. Received: sink=None")
    if at_once and (blend != "crop" or sink is None):
        raise ValueError(
            "at_once needs a sink, and blend='crop': other blends wait for the next windows. "
            f"Received: blend={blend!r}, sink={sink!r}"
        )
    job = prepare(
        source, model, window=window, batch_size=batch_size, margin=margin, stride=stride,
        overlap=overlap, padding=padding, nodata=nodata, valid=valid,
        global_operations=global_operations,
    )  # fmt: skip
    facts = {"blend": blend, "padding": padding, "nodata": repr(nodata), "fill": repr(fill)}
    record = _Record(state, {**_facts(job.plan), **facts})
    first = record.rows
    if first >= job.plan.rows:
        return None
    sheets = _Sheets(job, blend, fill, sink, at_once)
    sheets.begin(first)
    in_row = job.plan.in_row
    row = job.plan.needed(first, blend)
    through = row * in_row
    with contextlib.closing(job.answers(range(row, job.plan.rows))) as answers:
        for batch, answer in answers:
            sheets.add(batch.windows, answer)
            through += len(batch.windows)
            if progress is not None and through > first * in_row:
                progress(through, job.plan.count)
            if through % in_row == 0 and batch.row >= first:
                sheets.finish(batch.row)
                if done is not None:
                    done(batch.row)
                record.write(batch.row + 1)
    return sheets.result()


class _Record:
    """How many rows of a sink are written, kept in a small file."""

    def __init__(self, path: str | os.PathLike[str] | None, facts: dict[str, Any]) -> None:
        self.path, self.facts, self.rows = None if path is None else Path(path), facts, 0
        if self.path is None or not self.path.exists():
            return
        try:
            kept = json.loads(self.path.read_text("utf-8"))
            self.rows = int(kept.pop("rows"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.path} must be the state of an earlier run ({error}). Delete it, and begin "
                "with a new sink."
            ) from None
        if kept != facts:
            other = [name for name in facts if kept.get(name) != facts[name]]
            raise ValueError(
                f"{self.path} is of a run with another {', '.join(other) or 'form'}. Received: "
                f"{ {name: facts[name] for name in other} }. Run as before, or delete it and begin "
                "with a new sink."
            )

    def write(self, rows: int) -> None:
        """Put down how many rows are written; a file half written is never seen."""
        if self.path is None:
            return
        beside = self.path.with_name(self.path.name + ".part")
        beside.write_text(json.dumps({**self.facts, "rows": rows}), "utf-8")
        beside.replace(self.path)


def _facts(plan: Plan) -> dict[str, Any]:
    """Where windows lie, which must be the same when a run goes on."""
    axes = {
        name: [getattr(axis, name) for axis in plan.axes]
        for name in ("side", "window", "margin", "stride")
    }
    return {**axes, "starts": [list(axis.starts[:2]) for axis in plan.axes]}


class _Sheets:
    """The sheets of all outputs, made when the first answer shows what there are."""

    def __init__(self, job: Job, blend: Blend, fill: float, sink: Any, at_once: bool) -> None:
        self.job, self.blend, self.fill, self.sink = job, blend, fill, sink
        self.at_once = at_once
        self.form: Any = None
        self.sheets: list[_Sheet | _Pieces] = []
        self.edge = 0

    def begin(self, row: int) -> None:
        """Start at what isn't finished before a row."""
        self.edge = self.job.plan.finished(row - 1, self.blend) if row else 0

    def add(self, windows: Sequence[Window], answer: Any) -> None:
        """Add what the model answered to some windows of a row."""
        running = sum(window.runs for window in windows)
        outputs = [] if answer is None else arrays(answer, running)
        if not self.sheets:
            self._make(self.job.trial() if answer is None else answer)
        for number, sheet in enumerate(self.sheets):
            answered = iter(outputs[number] if outputs else ())
            for window in windows:
                sheet.add(window, next(answered) if window.runs else None)

    def finish(self, row: int) -> None:
        """Write what no later row changes."""
        self.edge = self.job.plan.finished(row, self.blend)
        for sheet in self.sheets:
            sheet.finish(self.edge)

    def result(self) -> Any:
        """All outputs in the model's structure, if they were kept."""
        if self.sink is not None:
            return None
        return keras.tree.pack_sequence_as(self.form, [sheet.sink for sheet in self.sheets])

    def _make(self, answer: Any) -> None:
        self.form = keras.tree.map_structure(lambda _: 0, answer)
        outputs = arrays(answer)
        sinks = [None] * len(outputs)
        if self.sink is not None:
            sinks = self._sinks(answer)
        self.sheets = [
            _Pieces(self.job.plan, self.fill, output.shape[1:], sink)
            if self.at_once
            else _Sheet(self.job.plan, self.blend, self.fill, output.shape[1:], sink, self.edge)
            for output, sink in zip(outputs, sinks, strict=True)
        ]

    def _sinks(self, answer: Any) -> list[Any]:
        single = not isinstance(answer, dict | list | tuple)
        sinks = [self.sink] if single else keras.tree.flatten(self.sink)
        alike = isinstance(self.sink, dict) == isinstance(answer, dict)
        if isinstance(answer, dict) and alike:
            alike = set(answer) == set(self.sink)
        if not single and (not alike or len(sinks) != len(keras.tree.flatten(answer))):
            names = list(answer) if isinstance(answer, dict) else f"{len(answer)} outputs"
            raise ValueError(
                f"the model answers {names}: there must be a sink for each, in the same structure. "
                f"Received: {type(self.sink).__name__} of {len(sinks)}"
            )
        for sink in sinks:
            if not (hasattr(sink, "write") or hasattr(sink, "__setitem__")):
                raise ValueError(
                    "a sink takes sink.write(slices, piece) or sink[slices] = piece. "
                    f"Received: {type(sink).__name__}"
                )
        return sinks


class _Sheet:
    """One output: the sums of the rows that aren't finished, and where the rest goes."""

    def __init__(
        self,
        plan: Plan,
        blend: Blend,
        fill: float,
        form: tuple[int, ...],
        sink: Any,
        edge: int,
    ) -> None:
        self.plan, self.blend, self.fill = plan, blend, fill
        self.scale = scale_of(plan, form)
        sides = zip(plan.shape, self.scale, strict=True)
        self.sides = tuple(-(-side // scale) for side, scale in sides)
        self.sink = np.empty((*self.sides, form[-1]), np.float32) if sink is None else sink
        self.classes = form[-1]
        self.edge = edge // self.scale[0]  # what comes before it is written
        self.sums = self._zeros(0, self.classes)
        self.missing: NDArray[np.float32] | None = None
        self.masked: NDArray[np.bool_] | None = None

    def _zeros(self, rows: int, *classes: int, dtype: Any = np.float32) -> NDArray[Any]:
        return np.zeros((rows, *self.sides[1:], *classes), dtype)

    def add(self, window: Window, answer: NDArray[Any] | None) -> None:
        """Add a window's answer; None counts as nothing at all."""
        spans = self.plan.spans(window.index, self.blend)
        starts = self.plan.start(window.index)
        here, there, weights = [], [], []
        for number, (span, start, scale) in enumerate(zip(spans, starts, self.scale, strict=True)):
            first, end = span[0] // scale, min(span[1] // scale, self.sides[number])
            least = max(first, self.edge) if number == 0 else first
            weight = self.plan.axes[number].weights(window.index[number], self.blend, scale)
            weights.append(weight[least - first : end - first])
            there.append(slice(least - start // scale, end - start // scale))
            base = self.edge if number == 0 else 0
            here.append(slice(least - base, end - base))
        self._grow(here[0].stop)
        place = tuple(here)
        if answer is None:
            self._skip(place, weights, window)
            return
        part = np.asarray(answer[tuple(there)], np.float32)
        if self.blend == "crop":
            self.sums[place] = part
        else:
            self.sums[place] += _weighted(part, weights)
        if window.valid is not None:
            self._mask(place, there, window.valid)

    def _skip(self, place: Any, weights: list[NDArray[Any]], window: Window) -> None:
        """A window that wasn't run: what nothing else answers is filled."""
        if self.missing is None:
            self.missing = self._zeros(len(self.sums))
        shape = tuple(map(len, weights))
        self.missing[place] += _weighted(np.ones((*shape, 1), np.float32), weights)[..., 0]

    def _mask(self, place: Any, there: list[slice], valid: NDArray[np.bool_]) -> None:
        if self.masked is None:
            self.masked = self._zeros(len(self.sums), dtype=bool)
        coarse = _any_of_blocks(valid, self.scale)
        self.masked[place] = ~coarse[tuple(there)]

    def _grow(self, rows: int) -> None:
        if rows <= len(self.sums):
            return
        self.sums = _longer(self.sums, rows)
        self.missing = None if self.missing is None else _longer(self.missing, rows)
        self.masked = None if self.masked is None else _longer(self.masked, rows)

    def finish(self, edge: int) -> None:
        """Write what comes before this place of the array, along the first axis."""
        end = min(edge // self.scale[0], self.sides[0])
        rows = end - self.edge
        piece = self.sums[:rows]
        if self.missing is not None:
            missing = self.missing[:rows, ..., None]
            with np.errstate(invalid="ignore", divide="ignore"):
                piece = np.where(missing < 1 - _NOTHING, piece / (1 - missing), self.fill)
            piece = piece.astype(np.float32, copy=False)
        if self.masked is not None:
            piece[self.masked[:rows]] = self.fill
        place = (slice(self.edge, end), *(slice(0, side) for side in self.sides[1:]))
        if rows:
            _write(self.sink, place, piece)
        # Copies, so that what was written is free, or the sink's to keep.
        self.sums = self.sums[rows:].copy()
        self.missing = _rest(self.missing, rows)
        self.masked = _rest(self.masked, rows)
        self.edge = end


class _Pieces:
    """One output whose windows' parts are final, and go to the sink as they come."""

    def __init__(self, plan: Plan, fill: float, form: tuple[int, ...], sink: Any) -> None:
        self.plan, self.fill, self.sink = plan, fill, sink
        self.scale, self.classes = scale_of(plan, form), form[-1]

    def add(self, window: Window, answer: NDArray[Any] | None) -> None:
        """Write what a window gives; None is nothing at all."""
        spans = self.plan.spans(window.index, "crop")
        starts = self.plan.start(window.index)
        here, there = [], []
        sides = zip(spans, starts, self.scale, self.plan.shape, strict=True)
        for span, start, scale, side in sides:
            first, end = span[0] // scale, min(span[1] // scale, -(-side // scale))
            here.append(slice(first, end))
            there.append(slice(first - start // scale, end - start // scale))
        if answer is None:
            shape = tuple(side.stop - side.start for side in here)
            part = np.full((*shape, self.classes), self.fill, np.float32)
        else:
            part = np.asarray(answer[tuple(there)], np.float32)
            if window.valid is not None:
                valid = _any_of_blocks(window.valid, self.scale)[tuple(there)]
                part = np.where(valid[..., None], part, np.float32(self.fill))
        _write(self.sink, tuple(here), part)

    def finish(self, edge: int) -> None:
        """Nothing waits."""


def _weighted(part: NDArray[Any], weights: list[NDArray[Any]]) -> NDArray[Any]:
    for axis, weight in enumerate(weights):
        shape = [1] * part.ndim
        shape[axis] = -1
        part = part * weight.reshape(shape)
    return part


def _any_of_blocks(valid: NDArray[np.bool_], scale: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which places of an output have data in any of the places of the array that are theirs."""
    for axis, step in enumerate(scale):
        if step > 1:
            valid = np.logical_or.reduceat(valid, np.arange(0, valid.shape[axis], step), axis=axis)
    return valid


def _longer(array: NDArray[Any], rows: int) -> NDArray[Any]:
    longer = np.zeros((rows, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


def _rest(array: NDArray[Any] | None, rows: int) -> NDArray[Any] | None:
    return None if array is None or len(array) == rows else array[rows:].copy()


def _write(sink: Any, place: tuple[slice, ...], piece: NDArray[Any]) -> None:
    if hasattr(sink, "write"):
        sink.write(place, piece)
    else:
        sink[place] = piece
