"""From inputs to an answer: frames are read, looked at, tracked and placed, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.detections import Answer, Detection, Source, View, films
from fieldsight.datasets.errors import DataError
from fieldsight.pipelines.wildlife import _place
from fieldsight.pipelines.wildlife._tracks import KEEP

if TYPE_CHECKING:
    from fieldsight.core.detection import Detections
    from fieldsight.datasets.findings import Provenance
    from fieldsight.datasets.frames import Input, Mosaic, Shot
    from fieldsight.datasets.terrain import Terrain
    from fieldsight.pipelines.wildlife._drawer import Drawer

Array = NDArray[Any]
Tell = Callable[[str], Callable[[int, int], None]]

SIMULATED = "SIMULATED.json"
LEVELS = 5  # folders above an input in which it may lie


class Finder(Protocol):
    """What finds objects."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label."""

    @property
    def people(self) -> frozenset[str]:
        """Of the classes."""

    @property
    def vehicles(self) -> frozenset[str]:
        """Of the classes."""

    @property
    def threshold(self) -> float:
        """The score from which a detection is one."""

    @property
    def provenance(self) -> Provenance:
        """What outputs say of it."""

    def frames(self, shots: Iterable[Shot]) -> Iterator[tuple[Shot, Detections]]:
        """What is in each frame of one input, in order, with the frame as it is to be drawn.

        Of sequences, what is weaker than the threshold too: it may prolong a track.
        """

    def mosaic(self, mosaic: Mosaic, progress: Callable[[int, int], None]) -> Detections:
        """What is in an orthomosaic, by windows."""


class Tracker(Protocol):
    """What tells the objects of one sequence apart."""

    def update(self, found: Detections, shot: Shot) -> Array:
        """`(n,)` int: the track of each in the next frame, -1 of those that have none."""

    def finish(self, numbers: Sequence[Array]) -> list[Array]:
        """The tracks of every frame once the sequence has ended; the numbers stay."""


@dataclass(frozen=True, kw_only=True)
class How:
    """How inputs are looked at.

    Args:
        tracker: makes a new one for a sequence, from its frames a second.
        given: telemetry, or a folder of it; None looks beside.
        terrain: heights of the ground; None for flat earth.
        field_of_view_degrees: instead of what telemetry says.
        drawer: draws what was found; None draws nothing.
        tell: says what is done, and how far it is.
    """

    tracker: Callable[[float | None], Tracker]
    given: Path | None = None
    terrain: Terrain | None = None
    field_of_view_degrees: float | None = None
    drawer: Drawer | None = None
    tell: Tell


@dataclass(eq=False)
class _Seen:
    views: list[View] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    unplaced: dict[str, list[str]] = field(default_factory=dict)  # inputs by why
    odd: dict[str, list[str]] = field(default_factory=dict)  # inputs by what is odd of them

    def placed(self, placer: _place.Placer) -> None:
        """Note what an input's placing is to be told of."""
        self.notes += placer.finish()
        for trouble in placer.troubles:
            self.unplaced.setdefault(trouble, []).append(placer.source.name)

    def said(self) -> tuple[str, ...]:
        """All notes; what many pictures have in common is told once."""
        found = list(self.notes)
        for odd, names in self.odd.items():
            found.append(f"{_and_others(names)}: {odd}")
        for trouble, names in self.unplaced.items():
            found.append(f"{_and_others(names)}: not placed, or not all of it: {trouble}")
        return tuple(dict.fromkeys(found))


def look(
    inputs: Sequence[Input],
    finder: Finder,
    how: How,
    *,
    failures: dict[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Answer:
    """Find what is in the inputs; what can't be read is recorded, and the others go on (C-11).

    Args:
        inputs: in their order.
        finder: what finds it.
        how: they are looked at.
        failures: of inputs that couldn't be found, by name.
        notes: of them, a sentence each.
    """
    seen = _Seen(notes=list(notes), failures=dict(failures or {}))
    sources = [Source(each.name, each.kind, each.frames_per_second) for each in inputs]
    seen.notes += _unrated(inputs, sources)
    for number, (each, source) in enumerate(zip(inputs, sources, strict=True), 1):
        told = how.tell(f"{number}/{len(inputs)} {each.name} ({each.kind})")
        try:
            placer = _placer(each, how, seen, only=len(inputs) == 1)
            if each.kind == "orthomosaic":
                _mosaic(each, finder, how, placer, seen, told)
            else:
                _frames(each, source, finder, how, placer, seen, told)
            seen.placed(placer)
            odd = getattr(finder, "odd", "")  # of the input that was looked at last
            if odd:
                seen.odd.setdefault(odd, []).append(each.name)
        except DataError as error:
            seen.failures[each.name] = str(error)
        seen.failures |= each.failures
    simulated = frozenset(each.name for each in inputs if is_simulated(each))
    return Answer(
        tuple(sources), tuple(seen.views), finder.classes, finder.provenance, finder.people,
        finder.vehicles, finder.threshold, simulated, seen.failures, seen.said(),
    )  # fmt: skip


def _and_others(names: Sequence[str]) -> str:
    others = len(names) - 1
    return names[0] if not others else f"{names[0]} and {others} other{'s' * (others > 1)}"


def _unrated(inputs: Sequence[Input], sources: Sequence[Source]) -> list[str]:
    """What follows where nobody says how fast a sequence's frames do, a sentence for all."""
    names = [each.name for each, source in zip(inputs, sources, strict=True)
             if source.in_time and not each.frames_per_second]  # fmt: skip
    if not names:
        return []
    return [
        f"{_and_others(names)}: nobody says how fast the frames follow: they have no times, "
        f"tracks go on unseen for {KEEP:.0f} frames, and films show {films.RATE:.0f} a second; "
        "--frames-per-second says it"
    ]


def _placer(each: Input, how: How, seen: _Seen, *, only: bool) -> _place.Placer:
    try:
        flight = _place.flight_of(each, how.given, only=only)
    except DataError as error:
        seen.unplaced.setdefault(str(error), []).append(each.name)
        flight = None
    return _place.Placer(each, flight, None, how.terrain, how.field_of_view_degrees)


def _frames(
    each: Input,
    source: Source,
    finder: Finder,
    how: How,
    placer: _place.Placer,
    seen: _Seen,
    told: Callable[[int, int], None],
) -> None:
    tracker = how.tracker(each.frames_per_second) if source.in_time else None
    numbers: list[Array] = []
    views: list[View] = []
    for count, (shot, found) in enumerate(finder.frames(each.frames()), 1):
        size = (int(shot.image.shape[0]), int(shot.image.shape[1]))
        tracks = np.full(len(found), -1) if tracker is None else tracker.update(found, shot)
        # What is weaker counts where it prolongs a track.
        shown = np.flatnonzero((found.scores >= finder.threshold) | (tracks >= 0))
        found, tracks = found.take(shown), tracks[shown]
        places = placer.places(found.boxes, size, number=shot.number, time_s=shot.time_s)
        view = _view(each, finder, found, tracks, places, size, shot.number, shot.time_s)
        views.append(view)
        numbers.append(tracks)
        if how.drawer is not None:
            how.drawer.frame(source, view, shot.image)
        told(count, each.count or count)
    if tracker is not None:
        after = tracker.finish(numbers)
        views = [_with_tracks(view, tracks, finder.threshold)
                 for view, tracks in zip(views, after, strict=True)]  # fmt: skip
    seen.views += views


def _with_tracks(view: View, tracks: Array, threshold: float) -> View:
    """The view with other tracks; what is weak and of none is left out."""
    kept = [
        replace(each, track=int(track))
        for each, track in zip(view.detections, tracks, strict=True)
        if track >= 0 or each.score >= threshold
    ]
    return replace(view, detections=tuple(kept))


def _mosaic(
    each: Input,
    finder: Finder,
    how: How,
    placer: _place.Placer,
    seen: _Seen,
    told: Callable[[int, int], None],
) -> None:
    with each.open() as mosaic:
        size = (int(mosaic.shape[0]), int(mosaic.shape[1]))
        found = finder.mosaic(mosaic, told)
        found = found.take(np.flatnonzero(found.scores >= finder.threshold))
        if brightened := mosaic.brightened():
            seen.notes.append(f"{each.name}: {brightened}")
        if mosaic.grid.is_georeferenced:
            placer.grid = mosaic.grid
        else:
            seen.notes.append(f"{each.name}: it isn't georeferenced, and nothing in it is placed")
        places = placer.places(found.boxes, size) if placer.grid else [None] * len(found)
        view = _view(each, finder, found, np.full(len(found), -1), places, size, 0, None)
        seen.views.append(view)
        if how.drawer is not None:
            how.drawer.mosaic(view, mosaic)


def _view(
    each: Input,
    finder: Finder,
    found: Detections,
    tracks: Array,
    places: Sequence[Any],
    size: tuple[int, int],
    number: int,
    time_s: float | None,
) -> View:
    name = each.frame_name(number)
    rows = zip(found.boxes, found.scores, found.labels, tracks, places, strict=True)
    detections = tuple(
        Detection(name, _box(box), min(1.0, max(0.0, float(score))), finder.classes[int(label)],
                  int(track), place)
        for box, score, label, track, place in rows
    )  # fmt: skip
    return View(name, each.name, size, detections, number, time_s)


def _box(box: Array) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(side) for side in box)
    return left, top, right, bottom


def is_simulated(each: Input) -> bool:
    """Whether a computer drew it: a folder above says so."""
    if each.path is None:
        return False
    path = each.path.absolute()
    return any((place / SIMULATED).is_file() for place in (path, *path.parents[:LEVELS]))
