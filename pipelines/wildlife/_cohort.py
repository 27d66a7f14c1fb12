"""The marked pictures of a training by side, simulated or read, and as a model is to see them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets import animals, thermal
from fieldsight.datasets.animals import AnimalSet, Frame
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.frames import Shot
from fieldsight.datasets.thermal import Scale
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.wildlife import _pieces
from fieldsight.pipelines.wildlife._tracks import kinds

if TYPE_CHECKING:
    from fieldsight.pipelines.wildlife import Train
    from fieldsight.pipelines.wildlife._recipes import Way

Array = NDArray[Any]
Polarity = Literal["auto", "hot", "cold"]
Told = Callable[[int, int], None]

IN_TIME = ("birdsai", "mot")  # layouts whose groups are sequences
RATE_HZ = 30.0  # of sequences of which nobody says how fast they follow
# Of every 24 simulated flights, those that validate: two of them cold, one on a road, three hours.
VALIDATION = (5, 8, 9, 13, 22)
FEWEST = 3  # pictures: fewer are cut into pieces
LOOKED_AT = 12  # frames that tell whether data are thermal
ALL_IN_MEMORY = 1_500_000_000  # bytes of pictures that are kept while a model learns

_NUMBER = re.compile(r"_\d(\d{9})$")


@dataclasses.dataclass(frozen=True, eq=False)
class Unit:
    """What is looked at together: a sequence in its order, or one picture.

    Attributes:
        name: the group's, or the picture's.
        group: the flight or folder, which lies on one side (W-1).
        frames: in their order.
        frames_per_second: of a sequence; None where nobody says.
    """

    name: str
    group: str
    frames: tuple[Frame, ...]
    frames_per_second: float | None = None

    def shots(self, failures: dict[str, str] | None = None) -> Iterator[Shot]:
        """Its frames as they are read; what can't be read is left out and told."""
        for frame in self.frames:
            try:
                yield Shot(frame.index, None, frame.read())
            except DataError as error:
                if failures is not None:
                    failures[frame.name] = str(error)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """Marked pictures by side.

    Attributes:
        train, val, test: units to learn from, to choose by, to score once.
        other: of another setting, scored beside.
        other_set: whose classes these have.
        found: the set that all but `other` are of.
        name: of the data.
        how: they were split.
        frames_per_second: of sequences.
        thermal: whether all are of one channel, or three that are alike.
        split_fingerprint: of the data and the split.
        folder: of simulated flights; None where they are somebody's.
    """

    train: tuple[Unit, ...]
    val: tuple[Unit, ...]
    test: tuple[Unit, ...]
    other: tuple[Unit, ...] = ()
    other_set: AnimalSet | None = None
    found: AnimalSet
    name: str
    how: str
    frames_per_second: float
    thermal: bool
    split_fingerprint: str
    folder: Path | None = None

    @property
    def simulated(self) -> bool:
        """Whether a computer drew all of them."""
        return self.found.simulated

    @property
    def sizes(self) -> dict[str, int]:
        """Frames by side."""
        sides = ("train", "val", "test", "other")
        return {side: sum(len(unit.frames) for unit in getattr(self, side)) for side in sides}


def check(settings: Train) -> None:
    """Tell before a run exists what of the user's data can't be used.

    Raises:
        CommandError: if they can't be split, or nothing is marked in them.
        DataError: if there is no known layout.
    """
    if settings.data is not None:
        found = animals.load(settings.data, radius_px=settings.radius_px)
        _refuse_empty(found)
        _divided(found, settings.seed)


def load(settings: Train, way: Way, folder: Path, progress: Callable[[str], Told]) -> Cohort:
    """Simulate the flights or find the pictures, and split them by flight (W-1).

    Args:
        settings: the command's.
        way: how many are simulated.
        folder: the run's own, for what is simulated unless a cache was named.
        progress: from what is done to what is told how far it is.

    Raises:
        CommandError: if a side is left without a picture.
        DataError: if there is no known layout, or too few groups to split.
    """
    if settings.data is None:
        return _simulated(settings, way, settings.cache or folder, progress)
    found = animals.load(settings.data, radius_px=settings.radius_px)
    _refuse_empty(found)
    found, sides, how = _divided(found, settings.seed)
    return _made(found, sides, how, settings.frames_per_second)


def _divided(found: AnimalSet, seed: int) -> tuple[AnimalSet, list[Array], str]:
    """The set, the frames of its three sides, and how they were chosen."""
    if found.kind not in IN_TIME and len(found) < FEWEST and not found.split:
        found, pieces = _pieces.cut(found)
        sides = [np.array(side, np.int64) for side in pieces]
        return found, sides, "pieces of the same pictures: of other places nothing is known"
    split = found.divided(seed=seed)
    how = "as published" if found.split else f"by group, seed {seed}"
    return found, [split.train, split.val, split.test], how


def _refuse_empty(found: AnimalSet) -> None:
    if not any(len(frame.boxes) for frame in found.frames):
        raise CommandError(
            f"pictures with marks to learn from were needed. Received: {found.name}, "
            f"{len(found)} pictures without any."
        )


def _simulated(settings: Train, way: Way, folder: Path, progress: Callable[[str], Told]) -> Cohort:
    from fieldsight.datasets.simulated import wildlife

    root = folder / f"simulated-{way.detail}-{settings.seed}"
    beside = folder / f"simulated-{way.detail}-{settings.seed}-other"
    processes = os.cpu_count() or 1
    told = progress(f"simulating {way.flights} thermal flights and a colour orthomosaic")
    wildlife.write(
        root, settings.seed, flights=way.flights, mosaics=1, detail=way.detail, progress=told,
        processes=processes,
    )  # fmt: skip
    told = progress(f"simulating {way.other} flights of another setting")
    wildlife.write(
        beside, settings.seed, flights=way.other, mosaics=0, detail=way.detail, setting="other",
        progress=told, processes=processes,
    )  # fmt: skip
    found, other = animals.load(root), animals.load(beside)
    numbers = np.array([_number_of(frame.group) for frame in found.frames])
    sides = np.array([(found.split or {}).get(frame.name, "train") for frame in found.frames])
    # A folder may hold more flights than were asked for.
    wanted = numbers < way.flights
    is_test = sides == "test"
    is_val = ~is_test & np.isin(numbers % 24, VALIDATION)
    if not (wanted & is_val).any():  # a trial of a few flights
        is_val = ~is_test & (numbers == numbers[~is_test].max())
    split = [np.flatnonzero(wanted & one) for one in (~is_test & ~is_val, is_val, is_test)]
    how = "every fourth flight is tested; of every 24, five of the others validate"
    return _made(
        found, split, how, wildlife.RATE_HZ, other=other, name=f"simulated-{way.detail}",
        folder=root,
    )  # fmt: skip


def _number_of(group: str) -> int:
    found = _NUMBER.search(group)
    return int(found[1]) if found else 0


def _made(
    found: AnimalSet,
    sides: Sequence[Sequence[int] | Array],
    how: str,
    frames_per_second: float | None,
    *,
    other: AnimalSet | None = None,
    name: str = "",
    folder: Path | None = None,
) -> Cohort:
    units = [units_of(found, found.take(side), frames_per_second) for side in sides]
    for side, members in zip(("train", "validate", "test"), units, strict=True):
        if not members:
            raise CommandError(
                f"pictures to {side} by were needed. Received: {len(found)} pictures of "
                f"{len(set(found.groups))} groups in {found.name}, which leave none."
            )
    marked = sum(len(frame.boxes) for unit in units[0] for frame in unit.frames)
    if not marked:
        raise CommandError(
            "marks to learn from were needed. Received: none in the groups that are for training."
        )
    listed = found.fingerprint + repr(
        [[frame.name for unit in side for frame in unit.frames] for side in units]
    )
    return Cohort(
        train=units[0], val=units[1], test=units[2],
        other=() if other is None else units_of(other, other.frames), other_set=other,
        found=found, name=name or ("simulated" if found.simulated else found.name), how=how,
        frames_per_second=rate_of(found, frames_per_second),
        thermal=are_thermal([frame for unit in units[0] for frame in unit.frames]),
        split_fingerprint=hashlib.sha256(listed.encode()).hexdigest(), folder=folder,
    )  # fmt: skip


def rate_of(found: AnimalSet, given: float | None) -> float:
    """Frames a second of a set's sequences whose files don't say: the median of those that do.

    Raises:
        CommandError: if the one that is given isn't above 0.
    """
    if given is not None:
        if not given > 0:
            raise CommandError(f"--frames-per-second: more than 0 was needed. Received: {given}.")
        return given
    from fieldsight.datasets.simulated import wildlife

    if found.rates:
        return statistics.median_high(found.rates.values())
    return wildlife.RATE_HZ if found.simulated else RATE_HZ


def assumed_rate(found: AnimalSet, given: float | None) -> str | None:
    """What is to be told where nobody says how fast a set's sequences follow; else None."""
    if given is not None or found.simulated or found.kind not in IN_TIME:
        return None
    unsaid = sorted({frame.group for frame in found.frames} - set(found.rates))
    if not unsaid:
        return None
    of = f" of {len(unsaid)} sequences, such as {unsaid[0]}," if found.rates else ""
    return (
        f"nobody says how fast the frames{of} follow: {rate_of(found, None):g} a second are "
        "assumed, by which false alarms an hour are told; --frames-per-second says it"
    )


def units_of(
    found: AnimalSet, frames: Iterable[Frame], frames_per_second: float | None = None
) -> tuple[Unit, ...]:
    """Frames by sequence, in their order; pictures that are none, one by one.

    Args:
        found: the set that they are of.
        frames: of it.
        frames_per_second: that somebody gave, which goes before what files say.
    """
    if found.kind not in IN_TIME:
        return tuple(Unit(frame.name, frame.group, (frame,)) for frame in frames)
    members: dict[str, list[Frame]] = {}
    for frame in frames:
        members.setdefault(frame.group, []).append(frame)
    return tuple(
        Unit(group, group, tuple(sorted(each, key=lambda frame: (frame.index, frame.name))),
             frames_per_second or found.rates.get(group))
        for group, each in members.items()
    )  # fmt: skip


def are_thermal(frames: Sequence[Frame]) -> bool:
    """Whether frames have one channel, or three that are alike, by some of them.

    Raises:
        CommandError: if none of these can be read.
    """
    said = []
    for frame in frames[:: max(1, len(frames) // LOOKED_AT)]:
        rows, columns = (slice(0, min(side, 2048)) for side in frame.size)
        try:
            said.append(thermal.is_thermal(frame.read((rows, columns))))
        except DataError:
            continue  # whoever reads all of them records it
    if not said:
        raise CommandError(
            "pictures that can be read were needed. Received: none of those that were tried, such "
            f"as {frames[0].name}."
        )
    return all(said)


def joined(
    classes: Sequence[str], people: frozenset[str], vehicles: frozenset[str], found: AnimalSet
) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.int64]]:
    """Classes of a model and of a set together; what the set has besides comes behind.

    Args:
        classes: of the model.
        people: of these.
        vehicles: of these.
        found: the set, whose lists are its own.

    Returns:
        Names, the kind of each, and of each of the set's labels the number among the names.
    """
    plain = {name.strip().casefold(): number for number, name in enumerate(classes)}
    every = [*classes]
    numbers = []
    for name in found.classes:
        key = name.strip().casefold()
        if key not in plain:
            plain[key] = len(every)
            every.append(name)
        numbers.append(plain[key])
    of_kind = kinds(every, people | found.people, vehicles | found.vehicles)
    return tuple(every), of_kind, np.array(numbers, np.int64)


def relabelled(units: Iterable[Unit], numbers: NDArray[np.int64]) -> tuple[Unit, ...]:
    """The units with other labels."""
    return tuple(
        dataclasses.replace(
            unit,
            frames=tuple(
                dataclasses.replace(frame, labels=numbers[frame.labels]) for frame in unit.frames
            ),
        )
        for unit in units
    )


@dataclasses.dataclass(frozen=True)
class Eye:
    """How a model sees a picture: uint8 of one channel or three (W-5).

    Attributes:
        thermal: whether it takes one channel, in a sequence's scale.
        polarity: of thermal frames.
    """

    thermal: bool
    polarity: Polarity = "auto"

    @property
    def channels(self) -> int:
        """Of what it gives."""
        return 1 if self.thermal else 3

    def see(self, image: Array, scale: Scale | None = None) -> Array:
        """`(rows, columns, channels)` uint8.

        Args:
            image: `(rows, columns, 1 or 3)` uint8 or uint16.
            scale: of its sequence; None makes one of the picture itself.
        """
        if not self.thermal:
            image = (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image
            return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
        if not thermal.is_thermal(image):  # colour, of which brightness is left
            image = image.mean(axis=2, keepdims=True).astype(image.dtype)
        if scale is None:
            scale = thermal.scale_of([image], polarity=self.polarity)
        return scale.apply(image)

    def scales(self, units: Iterable[Unit]) -> Mapping[str, Scale]:
        """The scale of each unit by its name."""
        if not self.thermal:
            return {}
        found = {}
        for unit in units:
            for scale in thermal.scales(unit.frames, polarity=self.polarity).values():
                found[unit.name] = scale
        return found

    def follow(self, shots: Iterable[Shot]) -> Iterator[Shot]:
        """Each frame of one input as it is seen; the first ones tell a thermal one's scale."""
        if not self.thermal:
            for shot in shots:
                yield shot._replace(image=self.see(shot.image))
            return
        for shot in thermal.in_scale(shots, polarity=self.polarity):
            image = shot.image
            done = image.dtype == np.uint8 and image.shape[2] == 1
            yield shot if done else shot._replace(image=self.see(image))
