"""What was found: a row an object, a view a frame, an answer all that was looked at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from fieldsight.datasets.findings import Provenance

Kind = Literal["picture", "sequence", "video", "orthomosaic", "folder", "stream"]
How = Literal["transform", "flat earth", "terrain"]

ONE_BY_ONE: tuple[Kind, ...] = ("picture", "orthomosaic")
DISCLAIMER = (
    "Found by a model, for a person to check. What it missed isn't here: that nothing was found "
    "doesn't mean that nothing is there."
)
OVERLAP = "overlap not removed: what stands on two pictures is counted twice"
CHECK_PEOPLE = "people: each is to be checked by a person; more may be there that weren't found"


@dataclass(frozen=True)
class Place:
    """Where something stands.

    Args:
        longitude: degrees, WGS 84.
        latitude: degrees, WGS 84.
        error_m: one standard error of the place, as far as it is known.
        how: by the raster's transform, on flat earth, or on a model of the terrain.
    """

    longitude: float
    latitude: float
    error_m: float
    how: How


@dataclass(frozen=True)
class Detection:
    """One object in one frame.

    Args:
        frame: the frame's name.
        box: left, top, right, bottom in the frame's pixels, right and bottom exclusive.
        score: 0 to 1.
        label: its class.
        track: its number within its sequence or video; -1 where it has none.
        place: where it stands; None where that isn't known.

    Raises:
        ValueError: if the box isn't finite or is turned over, or the score is out of its range.

    Example:
        >>> Detection("a.jpg", (1, 2, 9, 10), 0.8, "elephant").middle
        (5.0, 6.0)
    """

    frame: str
    box: tuple[float, float, float, float]
    score: float
    label: str
    track: int = -1
    place: Place | None = None

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        if not all(map(math.isfinite, self.box)) or right < left or bottom < top:
            raise ValueError(
                "a box is left, top, right, bottom, finite and not turned over. Received: "
                f"{self.box}."
            )
        if not 0 <= self.score <= 1:
            raise ValueError(f"a score lies within 0 and 1. Received: {self.score}.")

    @property
    def middle(self) -> tuple[float, float]:
        """Column and row of the box's middle."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True)
class View:
    """One frame that was looked at, whatever was found in it.

    Args:
        name: of the frame, once in an answer.
        source: the input that it belongs to.
        size: rows and columns.
        detections: in any order.
        number: in the sequence, as the file's name has it; in a video from 0.
        time_s: since the sequence began.
    """

    name: str
    source: str
    size: tuple[int, int]
    detections: tuple[Detection, ...] = ()
    number: int = 0
    time_s: float | None = None


@dataclass(frozen=True)
class Source:
    """An input, as answers name it.

    Args:
        name: once in an answer.
        kind: of the input.
        frames_per_second: None where nobody says.
    """

    name: str
    kind: Kind
    frames_per_second: float | None = None

    @property
    def in_time(self) -> bool:
        """Whether its frames follow each other, so that tracks are counted."""
        return self.kind not in ONE_BY_ONE


@dataclass(frozen=True, eq=False)
class Answer:
    """All that was looked at and found.

    Args:
        sources: in their order.
        views: in the order of the sources and of their frames.
        classes: names of all that the model knows.
        provenance: what found it (C-10).
        people: the classes that are people (W-11).
        vehicles: the classes that are vehicles.
        threshold: the score from which a detection is one.
        simulated: sources that a simulator made.
        failures: why frames or sources couldn't be read, by name (C-11).
        notes: what must be known, a sentence each.
        blurred_km: the side of the cells that places were snapped to (W-9); None if they weren't.
    """

    sources: tuple[Source, ...]
    views: tuple[View, ...]
    classes: tuple[str, ...]
    provenance: Provenance
    people: frozenset[str] = frozenset()
    vehicles: frozenset[str] = frozenset()
    threshold: float = 0.0
    simulated: frozenset[str] = frozenset()
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    blurred_km: float | None = None

    @cached_property
    def by_source(self) -> Mapping[str, Sequence[View]]:
        """The views of each source; none where all of its frames failed."""
        found: dict[str, list[View]] = {source.name: [] for source in self.sources}
        for view in self.views:
            found[view.source].append(view)
        return found

    @property
    def detections(self) -> list[Detection]:
        """All of them, in the views' order."""
        return [each for view in self.views for each in view.detections]

    def with_people(self, view: View) -> bool:
        """Whether people may be seen there, as far as the model says."""
        return any(each.label in self.people for each in view.detections)

    def marks(self) -> tuple[str, ...]:
        """What must be read first: whether the training or the input was simulated."""
        said = []
        if self.simulated:
            whole = len(self.simulated) == len(self.sources)
            said.append("SIMULATED input" if whole else "some inputs are SIMULATED")
        if self.provenance.simulated:
            said.append("model trained on SIMULATED data alone")
        return tuple(said)
