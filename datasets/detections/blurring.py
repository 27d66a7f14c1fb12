"""Answers that don't tell where animals are (W-9): places on a coarse grid, names that say nothing.

The grid is fixed: it depends on its cells' size alone, so that many answers together tell no more
than one. What pictures show, and text burnt into them, may tell a place all the same.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fieldsight.datasets.detections.rows import Answer, Place, View
from fieldsight.datasets.ground import distance_m

KM_A_DEGREE = 40_007.863 / 360  # along a meridian of WGS 84
REASON = "it couldn't be read; why isn't told, for that may name places"
SHOWN = (
    "places are blurred: what pictures show, and text burnt into them, may tell them all the same"
)
_TELLING = re.compile(r"[/\\]|\d\.\d{3,}")


@dataclass(frozen=True)
class Blurred:
    """An answer that may be given away.

    Args:
        answer: with other names and coarse places.
        names: of sources and frames, by what they were called.
    """

    answer: Answer
    names: Mapping[str, str]


def snap(longitude: float, latitude: float, km: float) -> tuple[float, float]:
    """The middle of the cell that a place lies in.

    Cells are rows of equal height, each row cut into equal parts about as wide as it is high.

    Args:
        longitude: degrees.
        latitude: degrees.
        km: the side of a cell.

    Raises:
        ValueError: if it isn't above 0.

    Example:
        Two places 300 m apart, in one cell of 10 km:

        >>> snap(31.5501, -24.0502, 10) == snap(31.5531, -24.0502, 10)
        True
    """
    if not km > 0:
        raise ValueError(f"a cell of more than 0 km was needed. Received: {km}.")
    rows = max(1, round(180 * KM_A_DEGREE / km))
    row = min(rows - 1, max(0, math.floor((latitude + 90) / 180 * rows)))
    middle = -90 + (row + 0.5) * 180 / rows
    around = 360 * KM_A_DEGREE * math.cos(math.radians(middle))
    columns = max(1, round(around / km))
    column = math.floor((longitude + 180) / 360 * columns) % columns
    return -180 + (column + 0.5) * 360 / columns, middle


def place(exact: Sequence[Place], km: float) -> Place:
    """The one place on the grid of all that stands in a source.

    One cell for all of it: where a flight crosses from one cell to the next would tell, to a few
    metres, where it was.

    Args:
        exact: places, at least one.
        km: the side of a cell.

    Returns:
        The middle of the cell of their mean. Its error is half a cell's diagonal, or as many times
        that as all of them lie within.
    """
    # By the way from the first: the mean of 179.9 and -179.9 degrees isn't 0.
    first = exact[0].longitude
    apart = [(one.longitude - first + 180) % 360 - 180 for one in exact]
    longitude = (first + sum(apart) / len(apart) + 180) % 360 - 180
    latitude = sum(one.latitude for one in exact) / len(exact)
    middle = snap(longitude, latitude, km)
    half = km * 1000 * math.sqrt(0.5)
    farthest = max(distance_m(middle, (one.longitude, one.latitude)) for one in exact)
    return Place(*middle, half * max(1, math.ceil(farthest / half)), exact[0].how)


def source_name(kind: str, number: int) -> str:
    """What the source of this number, from 1, is called where names must tell nothing."""
    return f"{kind}-{number:04d}"


def frame_name(source: str, number: int) -> str:
    """What a frame of a sequence is called, by its source's name and number from the first."""
    return f"{source}/{number:06d}"


def blur(answer: Answer, km: float) -> Blurred:
    """The same answer with places on the grid, and with names and notes that say nothing.

    All that stands in a source is put into one cell. Sources and frames are numbered in their
    order; frames of a sequence count from its first one. Why something failed isn't told, for
    reasons name files.

    Args:
        answer: as it is.
        km: the side of a cell.

    Raises:
        ValueError: if it isn't above 0.
    """
    names = {source.name: source_name(source.kind, number)
             for number, source in enumerate(answer.sources, 1)}  # fmt: skip
    first = {name: min((view.number for view in views), default=0)
             for name, views in answer.by_source.items()}  # fmt: skip
    alone = {source.name for source in answer.sources if not source.in_time}
    cells: dict[str, Place] = {}
    for name, seen in answer.by_source.items():
        exact = [each.place for view in seen for each in view.detections if each.place is not None]
        if exact:
            cells[name] = place(exact, km)
    views = []
    for view in answer.views:
        number = view.number - first[view.source]
        name = names[view.source]
        if view.source not in alone:
            name = frame_name(name, number)
        names.setdefault(view.name, name)
        views.append(_view(view, name, names[view.source], number, cells.get(view.source)))
    failures: dict[str, str] = {}
    for failed in answer.failures:
        names.setdefault(failed, f"unread-{len(failures) + 1:04d}")
        failures[names[failed]] = REASON
    kept = [note for note in answer.notes if not _tells(note, names)]
    left = len(answer.notes) - len(kept)
    notes = [*kept, SHOWN, f"places lie in the middle of cells of {km:g} km"]
    if left:
        notes.append(f"{left} notes that name files or places are left out")
    other = replace(
        answer,
        sources=tuple(replace(source, name=names[source.name]) for source in answer.sources),
        views=tuple(views),
        simulated=frozenset(names[name] for name in answer.simulated),
        failures=failures,
        notes=tuple(notes),
        blurred_km=km,
    )
    return Blurred(other, names)


def _view(view: View, name: str, source: str, number: int, cell: Place | None) -> View:
    found = [
        replace(each, frame=name, place=None if each.place is None else cell)
        for each in view.detections
    ]
    return replace(view, name=name, source=source, number=number, detections=tuple(found))


def _tells(note: str, names: Mapping[str, str]) -> bool:
    parts = {part for name in names for part in (name, *name.split("/"), name.rsplit(".", 1)[0])}
    return bool(_TELLING.search(note)) or any(len(part) > 2 and part in note for part in parts)
