"""An input: one picture, sequence, video or orthomosaic, and its frames in order."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.frames.mosaics import Mosaic
from fieldsight.datasets.sample import Array

Kind = Literal["picture", "sequence", "video", "orthomosaic", "folder", "stream"]


class Shot(NamedTuple):
    """A frame that was read.

    Args:
        number: in the sequence, as the file's name has it; in a video from 0.
        time_s: since the sequence's first frame; None where nobody says how fast frames follow.
        image: `(rows, columns, channels)` uint8 or uint16.
    """

    number: int
    time_s: float | None
    image: Array


@dataclass(frozen=True, eq=False)
class Input:
    """One thing to look at.

    Args:
        name: tells inputs apart; a path within what was asked for.
        kind: "folder" and "stream" give frames as they come (`follow`).
        path: the file or folder; None for a stream.
        frames_per_second: None where nobody says.
        count: frames there are; None where only reading tells.
        shots: gives the frames; use `frames()`.
        names: what frames are called, by number.
        failures: why frames could not be read, by their name; grows while they are read.
    """

    name: str
    kind: Kind
    path: Path | None
    frames_per_second: float | None
    count: int | None
    shots: Callable[["Input"], Iterator[Shot]] = field(repr=False)
    names: dict[int, str] = field(default_factory=dict, repr=False)
    failures: dict[str, str] = field(default_factory=dict)

    def frames(self) -> Iterator[Shot]:
        """Every frame that can be read, in order; what can't be goes to `failures`.

        Raises:
            DataError: if the whole of it can't be read.
        """
        return self.shots(self)

    def frame_name(self, index: int) -> str:
        """What a frame is called: its file within the input, or the video's name and number."""
        if self.kind in ("picture", "orthomosaic"):
            return self.name
        return self.names.get(index, f"{self.name}/{index:06d}")

    def open(self) -> Mosaic:
        """An orthomosaic, to be read by windows and closed.

        Raises:
            DataError: if it is none, or can't be read.
        """
        if self.kind != "orthomosaic" or self.path is None:
            raise DataError(
                f"{self.name}: an orthomosaic was needed to be read by windows. Received: a "
                f"{self.kind}. Take its frames."
            )
        return Mosaic(self.path)


@dataclass(frozen=True, eq=False)
class Inputs:
    """All that lies at some paths.

    Args:
        items: in the order of their names.
        failures: why files couldn't be used, by their name.
        notes: what was left out or assumed, a sentence each.
    """

    items: tuple[Input, ...]
    failures: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many inputs there are."""
        return len(self.items)

    def __iter__(self) -> Iterator[Input]:
        return iter(self.items)
