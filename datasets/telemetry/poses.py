"""Where a camera was and where it looked: at one moment, and along a flight."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from fieldsight.datasets.errors import DataError

Above = Literal["ground", "takeoff"]

DIAGONAL_MM = math.hypot(36.0, 24.0)  # of 35 mm film, to which CIPA DCG-001 refers focal lengths
GAP_S = 2.0  # a longer silence is a gap: nothing is guessed across it


@dataclass(frozen=True, kw_only=True)
class Pose:
    """A camera at one moment.

    Angles are a gimbal's as DJI has them: north, east, down; turned by heading, then pitch, then
    roll. At a pitch of -90 the picture's top looks where the heading says.

    Args:
        longitude: degrees, WGS 84.
        latitude: degrees, WGS 84.
        height_m: above the ground below, or above where it took off; None if unknown.
        above: what the height is above.
        altitude_m: above sea level; None if unknown.
        heading_degrees: of the camera, clockwise from true north; None if unknown.
        pitch_degrees: of the camera; 0 is the horizon, -90 straight down.
        roll_degrees: of the camera; positive is right side down.
        field_of_view_degrees: from the picture's left to its right; None if unknown.
        focal_35mm: focal length on 35 mm film, millimetres; used where there is no field of view.
        focal_px: focal length in pixels of a picture of `size`.
        size: rows and columns of the picture as the camera took it.
        position_error_m: one standard error of longitude and latitude, where it is said.

    Raises:
        ValueError: if a number isn't finite or a place isn't on the globe.
    """

    longitude: float
    latitude: float
    height_m: float | None = None
    above: Above = "ground"
    altitude_m: float | None = None
    heading_degrees: float | None = None
    pitch_degrees: float = -90.0
    roll_degrees: float = 0.0
    field_of_view_degrees: float | None = None
    focal_35mm: float | None = None
    focal_px: float | None = None
    size: tuple[int, int] | None = None
    position_error_m: float | None = None

    def __post_init__(self) -> None:
        numbers = (
            self.longitude, self.latitude, self.height_m, self.altitude_m, self.heading_degrees,
            self.pitch_degrees, self.roll_degrees,
        )  # fmt: skip
        if not all(value is None or math.isfinite(value) for value in numbers):
            raise ValueError(f"a pose's numbers are finite. Received: {numbers}.")
        if not (-180 <= self.longitude <= 180 and -90 <= self.latitude <= 90):
            raise ValueError(
                "longitude within -180 and 180 and latitude within -90 and 90 were needed. "
                f"Received: {self.longitude}, {self.latitude}."
            )
        if self.field_of_view_degrees is not None and not 0 < self.field_of_view_degrees < 180:
            raise ValueError(
                "a field of view within 0 and 180 degrees was needed. Received: "
                f"{self.field_of_view_degrees}."
            )

    def focal_in(self, size: tuple[int, int]) -> float | None:
        """The focal length in pixels of a picture of this size; None if it isn't known.

        A picture that was made smaller keeps its field of view; one that was cut to another shape
        doesn't, and where it was cut isn't known.

        Args:
            size: rows and columns.
        """
        rows, columns = size
        if self.size is not None and not _same_shape(self.size, size):
            return None
        if self.field_of_view_degrees is not None:
            return columns / 2 / math.tan(math.radians(self.field_of_view_degrees) / 2)
        if self.focal_px is not None and self.size is not None:
            return self.focal_px * math.hypot(*size) / math.hypot(*self.size)
        if self.focal_35mm is not None:
            return self.focal_35mm * math.hypot(rows, columns) / DIAGONAL_MM
        return None


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether one picture may be the other made smaller, to 1 %; a turned one may."""
    ours, theirs = min(a) / max(a), min(b) / max(b)
    return abs(ours - theirs) <= 0.01 * ours


@dataclass(frozen=True, eq=False)
class Telemetry:
    """A flight: poses by time, by the frame's number or by the picture's name.

    Args:
        name: of what it was read from.
        poses: in the order of time.
        times_s: since the video or sequence began; empty where poses have none.
        frames: numbers of frames; empty where poses have none.
        names: of pictures; empty where poses have none.
        gap_s: a longer silence than this is a gap.
        failures: rows or packets that couldn't be used, with the reason.
        notes: what was assumed, a sentence each.
    """

    name: str
    poses: tuple[Pose, ...]
    times_s: tuple[float, ...] = ()
    frames: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    gap_s: float = GAP_S
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many poses there are."""
        return len(self.poses)

    @cached_property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """Where it is silent for longer than `gap_s`: from and to, seconds."""
        return tuple(
            (before, after)
            for before, after in zip(self.times_s, self.times_s[1:], strict=False)
            if after - before > self.gap_s
        )

    @property
    def home(self) -> Pose:
        """The first pose: the height of DJI's files is above the place below it.

        Raises:
            DataError: if there is none.
        """
        if not self.poses:
            raise DataError(f"{self.name}: a position was needed. Received: none. Copy it again.")
        return self.poses[0]

    def at(
        self, *, time_s: float | None = None, frame: int | None = None, name: str | None = None
    ) -> Pose | None:
        """The pose of a frame, by what the telemetry goes by; between two moments, in between.

        Args:
            time_s: since the beginning.
            frame: its number.
            name: of the picture; its last part is enough.

        Returns:
            None where there is nothing, in a gap, and beyond the first and last pose.
        """
        found = None
        if self.names and name is not None:
            found = self._by_name.get(name.rsplit("/", 1)[-1])
        if found is None and self.frames and frame is not None:
            found = self._by_frame.get(frame)
        if found is None and self.times_s and time_s is not None:
            found = self._between(time_s)
        return found

    @cached_property
    def _by_name(self) -> dict[str, Pose]:
        return {name.rsplit("/", 1)[-1]: pose
                for name, pose in zip(self.names, self.poses, strict=True)}  # fmt: skip

    @cached_property
    def _by_frame(self) -> dict[int, Pose]:
        return dict(zip(self.frames, self.poses, strict=True))

    def _between(self, time_s: float) -> Pose | None:
        times = self.times_s
        after = bisect.bisect_left(times, time_s)
        if after < len(times) and times[after] == time_s:
            return self.poses[after]
        if after == len(times) and times and time_s - times[-1] <= self._step:
            return self.poses[-1]  # the last packet holds as long as those before it
        if after in (0, len(times)) or times[after] - times[after - 1] > self.gap_s:
            return None
        share = (time_s - times[after - 1]) / (times[after] - times[after - 1])
        return between(self.poses[after - 1], self.poses[after], share)

    @cached_property
    def _step(self) -> float:
        """How long a pose usually holds."""
        steps = np.diff(self.times_s)
        return min(float(np.median(steps)), self.gap_s) if len(steps) else 0.0


def between(before: Pose, after: Pose, share: float) -> Pose:
    """The pose on the way from one to another, angles by the shorter way round.

    Args:
        before: at a share of 0.
        after: at a share of 1.
        share: 0 to 1.

    Example:
        >>> a = Pose(longitude=0, latitude=0, heading_degrees=350)
        >>> b = Pose(longitude=2, latitude=0, heading_degrees=10)
        >>> between(a, b, 0.5).heading_degrees, between(a, b, 0.5).longitude
        (0.0, 1.0)
    """
    return replace(
        before,
        longitude=_wrapped(_turned(before.longitude, after.longitude, share)),
        latitude=_mixed(before.latitude, after.latitude, share),
        height_m=_mixed_or_none(before.height_m, after.height_m, share),
        altitude_m=_mixed_or_none(before.altitude_m, after.altitude_m, share),
        heading_degrees=(
            None
            if before.heading_degrees is None or after.heading_degrees is None
            else _turned(before.heading_degrees, after.heading_degrees, share) % 360
        ),
        pitch_degrees=_turned(before.pitch_degrees, after.pitch_degrees, share),
        roll_degrees=_turned(before.roll_degrees, after.roll_degrees, share),
    )


def _mixed(a: float, b: float, share: float) -> float:
    return a + (b - a) * share


def _mixed_or_none(a: float | None, b: float | None, share: float) -> float | None:
    return None if a is None or b is None else _mixed(a, b, share)


def _turned(a: float, b: float, share: float) -> float:
    return a + ((b - a + 180) % 360 - 180) * share


def _wrapped(degrees: float) -> float:
    return (degrees + 180) % 360 - 180 if abs(degrees) > 180 else degrees


def check_any(name: str, poses: Sequence[Pose], failures: Sequence[str]) -> None:
    """Refuse telemetry without one pose.

    Raises:
        DataError: if there is none.
    """
    if not poses:
        said = failures[0] if failures else "an empty file"
        raise DataError(
            f"{name}: positions of a flight were needed. Received: none that can be used: {said} "
            "Export it again."
        )
