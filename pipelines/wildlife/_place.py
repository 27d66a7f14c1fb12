"""Where what was found stands: by the raster's transform, or by where the camera was (W-9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets import ground, telemetry
from fieldsight.datasets.detections import Place
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.telemetry import Pose, Telemetry

if TYPE_CHECKING:
    from fieldsight.datasets.frames import Input
    from fieldsight.datasets.grids import Grid
    from fieldsight.datasets.terrain import Terrain

Array = NDArray[Any]

BESIDE = "telemetry"  # the folder, beside a data set's parts, of a CSV a flight
LEVELS = 4  # folders above a sequence's in which it is looked for


@dataclass(eq=False)
class Placer:
    """Places boxes of one input; why it can't stands in `troubles`, each once.

    Args:
        source: the input.
        flight: its telemetry; None where there is none.
        grid: of an orthomosaic.
        terrain: heights of the ground; None for flat earth.
        field_of_view_degrees: from left to right, instead of what telemetry says.
    """

    source: Input
    flight: Telemetry | None = None
    grid: Grid | None = None
    terrain: Terrain | None = None
    field_of_view_degrees: float | None = None
    troubles: list[str] = field(default_factory=list)
    _unseen: int = 0

    def places(
        self, boxes: Array, size: tuple[int, int], *, number: int = 0, time_s: float | None = None
    ) -> list[Place | None]:
        """Where the objects in boxes of one frame stand; None where that isn't known.

        Args:
            boxes: `(n, 4)` `xyxy` pixels.
            size: rows and columns of the frame.
            number: of the frame.
            time_s: of the frame.
        """
        nothing: list[Place | None] = [None] * len(boxes)
        try:
            if self.grid is not None:
                return _listed(ground.by_transform(self.grid, _middles(boxes)))
            pose = self._pose(number, time_s)
            if pose is None or not len(boxes):
                return nothing
            found = ground.by_pose(
                pose, size, standing(boxes, pose.pitch_degrees), terrain=self.terrain,
                home=self.flight.home if self.flight is not None else None,
                field_of_view_degrees=self.field_of_view_degrees,
            )  # fmt: skip
            return _listed(found)
        except DataError as error:
            if str(error) not in self.troubles:
                self.troubles.append(str(error))
            return nothing

    def finish(self) -> tuple[str, ...]:
        """What is to be said of the telemetry, a sentence each."""
        said: list[str] = []
        flight = self.flight
        if flight is not None:
            said += flight.notes
            if flight.failures:
                said.append(
                    f"{flight.name}: {len(flight.failures)} rows or packets can't be used, such as "
                    f"{flight.failures[0]}"
                )
            gaps = ", ".join(f"{a:.1f} to {b:.1f} s" for a, b in flight.gaps[:5])
            if gaps:
                more = ", ..." if len(flight.gaps) > 5 else ""
                said.append(f"{flight.name}: nothing is placed in its gaps: {gaps}{more}")
            if self._unseen:
                said.append(
                    f"{self.source.name}: {self._unseen} frames have no position in {flight.name}"
                )
        return tuple(dict.fromkeys(said))

    def _pose(self, number: int, time_s: float | None) -> Pose | None:
        if self.flight is not None:
            name = self.source.frame_name(number)
            pose = self.flight.at(time_s=time_s, frame=number, name=name)
            self._unseen += pose is None
            return pose
        if self.source.kind == "picture" and self.source.path is not None:
            return telemetry.of_picture(self.source.path)
        return None


def standing(boxes: Array, pitch_degrees: float) -> Array:
    """`(n, 2)` columns and rows where objects stand on the ground.

    From straight above it is a box's middle; the flatter the camera looks, the nearer to the
    box's lower edge.
    """
    given = np.asarray(boxes, float).reshape(-1, 4)
    flat = abs(math.cos(math.radians(pitch_degrees)))
    rows = (given[:, 1] + given[:, 3]) / 2 + flat * (given[:, 3] - given[:, 1]) / 2
    return np.stack([(given[:, 0] + given[:, 2]) / 2, rows], axis=1)


def _middles(boxes: Array) -> Array:
    given = np.asarray(boxes, float).reshape(-1, 4)
    return (given[:, :2] + given[:, 2:]) / 2


def _listed(found: ground.Places) -> list[Place | None]:
    return [
        Place(float(x), float(y), float(error), found.how) if known else None
        for x, y, error, known in zip(
            found.longitude, found.latitude, found.error_m, found.known, strict=True
        )
    ]


def flight_of(source: Input, given: Path | None, *, only: bool) -> Telemetry | None:
    """The telemetry of an input: what was given, or what lies beside it.

    Args:
        source: the input.
        given: a CSV or .SRT, or a folder of them named as the inputs; None looks beside.
        only: whether it is the only input that a file could be of.

    Raises:
        DataError: if it can't be read, or one file is given for several inputs.
    """
    if source.kind == "orthomosaic":
        return None
    if given is not None and not given.is_dir():
        flight = telemetry.load(given)
        # A file that names pictures, or a CSV of many, is of all of them.
        if only or flight.names:
            return flight
        raise DataError(
            f"{given}: telemetry of each input was needed. Received: one file without names of "
            "pictures for several inputs. Give a folder with a file named as each of them."
        )
    for path in _beside(source) if given is None else _named(given, source):
        if path.is_file():
            return telemetry.load(path)
    return None


def _named(folder: Path, source: Input) -> Sequence[Path]:
    stem = Path(source.name).stem if source.kind == "video" else source.name.rsplit("/", 1)[-1]
    return _with_suffixes(folder / stem)


def _beside(source: Input) -> Sequence[Path]:
    """Where the telemetry of an input may lie: DJI's beside the video, ours in telemetry/."""
    path = source.path
    if path is None or source.kind == "picture":
        return ()
    if source.kind == "video":
        return _with_suffixes(path.with_suffix(""))
    folders = path.absolute().parents[:LEVELS]
    return [each for folder in folders for each in _with_suffixes(folder / BESIDE / path.name)]


def _with_suffixes(path: Path) -> list[Path]:
    return [
        path.with_name(f"{path.name}{suffix}")
        for lower in telemetry.SUFFIXES
        for suffix in (lower, lower.upper())
    ]
