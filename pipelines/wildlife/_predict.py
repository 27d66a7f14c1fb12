"""`fieldsight wildlife predict`: from pictures and videos to what is in them, and where."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldsight.datasets import frames
from fieldsight.datasets.detections import Answer, Source, blurring
from fieldsight.datasets.errors import DataError
from fieldsight.pipelines._console import progress
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder
from fieldsight.pipelines.wildlife import _looking, _outputs
from fieldsight.pipelines.wildlife._drawer import Drawer
from fieldsight.pipelines.wildlife._tracks import Follower, kinds

if TYPE_CHECKING:
    from fieldsight.datasets.detections.counts import Count, Interval
    from fieldsight.datasets.frames import Input, Inputs
    from fieldsight.datasets.terrain import Terrain
    from fieldsight.pipelines.wildlife._looking import Finder, Tracker

LARGEST_FIELD_OF_VIEW = 170.0  # degrees: what sees more isn't a plane picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What `predict` is asked for, without the model.

    Args:
        inputs: pictures, folders, videos, orthomosaics.
        out: the folder for the answers.
        frames_per_second: of frame sequences.
        telemetry: a CSV or .SRT, or a folder of them; None looks beside the inputs.
        terrain: a raster of the ground's heights; None for flat earth.
        field_of_view_degrees: of the camera, from left to right; None for what telemetry says.
        blur_km: the side of the cells that places are snapped to (W-9); None for exact places.
        pictures: whether pictures and films are drawn.
        json: whether counts are printed as JSON alone.
    """

    inputs: Sequence[Path]
    out: Path
    frames_per_second: float | None = None
    telemetry: Path | None = None
    terrain: Path | None = None
    field_of_view_degrees: float | None = None
    blur_km: float | None = None
    pictures: bool = True
    json: bool = False


def check(request: Request) -> None:
    """Refuse, before any work is done, what can't be done.

    Raises:
        CommandError: if it can't.
    """
    if not request.inputs:
        raise CommandError(
            "at least one input is needed. Received: none. For example: fieldsight wildlife "
            "predict flight/ film.mp4 mosaic.tif --out answers"
        )
    for flag, value, most in (
        ("--frames-per-second", request.frames_per_second, None),
        ("--field-of-view", request.field_of_view_degrees, LARGEST_FIELD_OF_VIEW),
        ("--blur-locations", request.blur_km, 2000.0),
    ):
        if value is not None and not (value > 0 and (most is None or value <= most)):
            bound = "" if most is None else f", and at most {most:g}"
            raise CommandError(f"{flag}: more than 0{bound} was needed. Received: {value}.")
    for flag, path in (("--telemetry", request.telemetry), ("--terrain", request.terrain)):
        if path is not None and not path.exists():
            raise CommandError(f"{flag}: a file was needed. Received: {path}, which isn't there.")
    check_output_folder("--out", request.out)


def find(request: Request) -> Inputs:
    """The inputs; what can't be used is told.

    Raises:
        CommandError: if there is none.
    """
    try:
        inputs = frames.find(request.inputs, frames_per_second=request.frames_per_second)
    except DataError as error:
        raise CommandError(str(error)) from error
    for name, reason in inputs.failures.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if not len(inputs):
        raise CommandError(
            "pictures, videos or orthomosaics were needed. Received: none that can be read in "
            f"{', '.join(map(str, request.inputs))}."
        )
    return inputs


def refuse_simulated(inputs: Inputs, finder: Finder, *, allowed: bool) -> None:
    """A model of simulated data alone answers of real ones only if it is asked to (C-10).

    Raises:
        CommandError: if an input is real, the model isn't, and it wasn't allowed.
    """
    made = finder.provenance
    real = [each.name for each in inputs if not _looking.is_simulated(each)]
    if made.simulated and real and not allowed:
        raise CommandError(
            f"a model trained on real flights was needed for {real[0]}. Received: {made.model}. "
            "Give --allow-simulated to use it all the same, and every output will say so; or "
            "--model for another."
        )


def answer(
    request: Request,
    inputs: Inputs,
    finder: Finder,
    *,
    tracker: Callable[[float | None], Tracker] | None = None,
    interval: Interval | None = None,
) -> int:
    """Look at the inputs, write all there is to say, print the counts; return the exit code.

    Args:
        request: what is asked for; checked.
        inputs: that were found.
        finder: the model.
        tracker: makes one for a sequence, from its frames a second; None for `Follower`.
        interval: of counts, from validation; None gives none.

    Returns:
        0; 1 if some inputs or frames failed; 2 if none could be looked at.

    Raises:
        CommandError: if the terrain can't be read, or the folder can't be written to.
    """

    def following(frames_per_second: float | None) -> Tracker:
        return Follower(
            kinds(finder.classes, finder.people, finder.vehicles), threshold=finder.threshold,
            frames_per_second=frames_per_second,
        )  # fmt: skip

    try:
        with _outputs.work_folder(request.out) as work:
            found, drawn = _looked(request, inputs, finder, tracker or following, work)
            if request.blur_km is not None:
                found = blurring.blur(found, request.blur_km).answer
            if not found.views:
                _outputs.tell_failures(request.out, found)
                print("fieldsight: no frame could be looked at", file=sys.stderr)
                return 2
            counted = _outputs.write_all(work, found, interval=interval, drawn=drawn)
            _outputs.put(work, request.out)
            _outputs.tell_failures(request.out, found)
    except DataError as error:
        raise CommandError(str(error)) from error
    _print(request, found, counted)
    return 1 if found.failures else 0


def _looked(
    request: Request,
    inputs: Inputs,
    finder: Finder,
    tracker: Callable[[float | None], Tracker],
    work: Path,
) -> tuple[Answer, dict[str, str]]:
    """What was found, and the pictures and films that were drawn meanwhile."""
    items = inputs.items
    with contextlib.ExitStack() as stack:
        drawer = None
        if request.pictures:
            order = {each.name: number for number, each in enumerate(items, 1)}
            hidden = request.blur_km is not None
            drawer = stack.enter_context(Drawer(work, _before(items, finder), order, hidden=hidden))
        how = _looking.How(
            tracker=tracker,
            given=request.telemetry,
            terrain=_terrain(request, stack),
            field_of_view_degrees=request.field_of_view_degrees,
            drawer=drawer,
            tell=_quiet if request.blur_km is not None else progress,
        )
        found = _looking.look(
            items, finder, how, failures=dict(inputs.failures), notes=inputs.notes
        )
    return found, dict(drawer.files) if drawer else {}


def _quiet(_: str) -> Callable[[int, int], None]:
    """Names aren't told where places mustn't be."""
    return progress("looking at the next input")


def _terrain(request: Request, stack: contextlib.ExitStack) -> Terrain | None:
    if request.terrain is None:
        return None
    from fieldsight.datasets.terrain import Terrain

    return stack.enter_context(Terrain(request.terrain))


def _before(items: Sequence[Input], finder: Finder) -> Answer:
    """The answer before anything was looked at: what pictures say below."""
    sources = tuple(Source(each.name, each.kind, each.frames_per_second) for each in items)
    return Answer(
        sources, (), finder.classes, finder.provenance, finder.people, finder.vehicles,
        finder.threshold, frozenset(each.name for each in items if _looking.is_simulated(each)),
    )  # fmt: skip


def _print(request: Request, found: Answer, counted: Sequence[Count]) -> None:
    if found.failures:
        print(f"{len(found.failures)} failed: {request.out / 'failures.csv'}", file=sys.stderr)
    if request.json:
        rows: list[dict[str, Any]] = [dataclasses.asdict(one) for one in counted]
        said = {"marks": list(found.marks()), "model": found.provenance.model, "counts": rows,
                "notes": list(found.notes)}  # fmt: skip
        print(json.dumps(said, allow_nan=False))
        return
    for line in _outputs.lines(counted, found):
        print(line)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{request.out}: found by {found.provenance.model}")
