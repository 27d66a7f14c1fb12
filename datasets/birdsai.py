"""BIRDSAI: thermal flights over African parks with a box an object a frame (W-2, W-3).

    TrainReal/images/<video>/<video>_0000000231.jpg
    TrainReal/annotations/<video>.csv       frame,object,x,y,w,h,class,species,occluded,noisy
    TestReal/...   TrainSimulation/...

No heading; left and top from 0; frame numbers are those at the end of pictures' names and need not
start at 0. Frames without rows are empty. Species -1 is unknown: a region that is neither right nor
wrong, unless its class says that it is a human. The simulator has vehicles besides, species 9.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fieldsight.datasets import _marks, _tables, stills
from fieldsight.datasets._marks import Diary, Mark
from fieldsight.datasets.animals import AnimalSet, Frame, Side
from fieldsight.datasets.box_forms import from_xywh
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

SOURCE = (
    "Bondi et al., BIRDSAI: A Dataset for Detection and Tracking in Aerial Thermal Infrared "
    "Videos, WACV 2020; lila.science/datasets/conservationdrones"
)
LICENCE = "CDLA-Permissive-1.0"
COLUMNS = ("frame", "object", "x", "y", "w", "h", "class", "species", "occluded", "noisy")
SPECIES = {
    0: "human", 1: "elephant", 2: "lion", 3: "giraffe", 4: "dog", 5: "crocodile", 6: "hippo",
    7: "zebra", 8: "rhino",
}  # fmt: skip
UNKNOWN = -1
HUMAN_CLASS = 1  # in the column before the species; 0 is an animal
VEHICLE = 9  # the simulator's own; the published sets have no vehicles
NAMED_AT_MOST = 5

_NUMBER = re.compile(r"(\d+)$")


def parts(folder: Path) -> tuple[Path, ...]:
    """The folders with images/ and annotations/*.csv: this one, or those in it."""
    for places in ((folder,), sorted(each for each in folder.iterdir() if each.is_dir())):
        found = tuple(place for place in places if _is_part(place))
        if found:
            return found
    return ()


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(parts(folder))


def _is_part(folder: Path) -> bool:
    pictures, tables = folder / "images", folder / "annotations"
    if not pictures.is_dir() or not any(tables.glob("*.csv")):
        return False
    return any(each.is_dir() for each in pictures.iterdir())  # a folder a video


def load(folder: Path) -> AnimalSet:
    """The annotated frames of BIRDSAI's folder, or of one of its parts.

    Raises:
        DatasetNotFoundError: if no part is there.
        DataError: if no frame of any can be used.
    """
    found = parts(folder) if folder.is_dir() else ()
    if not found:
        raise DatasetNotFoundError(
            f"{folder}: BIRDSAI's TrainReal or TestReal with images/<video>/ and "
            "annotations/<video>.csv was needed. Received: none. Unpack them here."
        )
    diary = Diary()
    videos = [video for part in found for video in _videos(folder, part, diary)]
    marks = {video.group: _rows(video, diary) for video in videos}
    # Where a table can't be read it isn't known that its frames are empty.
    videos = [video for video in videos if marks[video.group] is not None]
    classes = _marks.in_order(
        (mark.label for rows in marks.values() for each in (rows or {}).values() for mark in each),
        (*SPECIES.values(), "vehicle"),
    )
    frames: list[Frame] = []
    for video in videos:
        frames += _frames(video, marks[video.group], classes, diary)
    if not frames:
        raise DataError(
            f"{folder}: frames with rows were needed. Received: none that can be used, such as "
            f"{next(iter(diary.failures.values()), 'no picture')}. Copy images/ and annotations/ "
            "again."
        )
    by_group = {video.group: video.side for video in videos}
    sides = {frame.name: side for frame in frames if (side := by_group[frame.group]) is not None}
    return AnimalSet(
        tuple(frames), classes, "birdsai", folder.name, sides or None, diary.failures,
        diary.sentences(),
    )  # fmt: skip


@dataclass(frozen=True)
class _Video:
    """A video's pictures by number, and its table."""

    group: str
    table: Path
    pictures: Mapping[int, Path]
    root: Path
    side: Side | None
    simulated: bool

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _videos(root: Path, part: Path, diary: Diary) -> Iterator[_Video]:
    simulated = "simulat" in part.name.lower() or _marks.is_simulated(part)
    tables = {table.stem: table for table in sorted((part / "annotations").glob("*.csv"))}
    folders = {each.name: each for each in sorted((part / "images").iterdir()) if each.is_dir()}
    prefix = "" if part == root else f"{part.name}/"
    for name in sorted({*tables, *folders}):
        if name not in tables:
            diary.fail(
                f"{prefix}images/{name}",
                "annotations of this video were needed. Received: "
                f"no annotations/{name}.csv. An empty one says that nothing is in it.",
            )
        elif name not in folders:
            diary.fail(f"{prefix}annotations/{name}.csv", "pictures of this video were needed. "
                       f"Received: no folder images/{name}. Copy it there.")  # fmt: skip
        else:
            pictures = _numbered(folders[name], root, diary)
            yield _Video(f"{prefix}{name}", tables[name], pictures, root, _side(part), simulated)


def _side(part: Path) -> Side | None:
    for side in ("train", "test", "val"):
        if part.name.lower().startswith(side):
            return side
    return None


def _numbered(folder: Path, root: Path, diary: Diary) -> dict[int, Path]:
    """A video's pictures by the number at the end of their names."""
    found: dict[int, Path] = {}
    for path in _marks.pictures(folder):
        number = _NUMBER.search(path.stem)
        where = path.relative_to(root).as_posix()
        if number is None:
            diary.fail(where, "a frame's number at the end of its name was needed. Received: none. "
                       "Name it <video>_<number>.")  # fmt: skip
        elif found.setdefault(int(number[0]), path) != path:
            diary.fail(where, f"each frame once was needed. Received: {int(number[0])} twice. "
                       "Remove one.")  # fmt: skip
    return dict(sorted(found.items()))


def _rows(video: _Video, diary: Diary) -> dict[int, list[Mark]] | None:
    """A table's marks by frame; what can't be used of it is told, and None if nothing can."""
    table = video.name(video.table)
    marks: dict[int, list[Mark]] = {}
    try:
        with video.table.open(encoding="utf-8-sig", newline="") as file:
            lines = [(number, cells) for number, cells in enumerate(csv.reader(file), 1)
                     if any(map(str.strip, cells))]  # fmt: skip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        diary.fail(table, f"a CSV file was needed. Received: {error}. Copy it again.")
        return None
    for number, cells in lines:
        where = f"{table}, line {number}"
        try:
            frame, mark = _mark(cells, where, diary)
        except (ValueError, OverflowError) as error:
            if number == 1 and not _tables.is_number(cells[0]):
                continue  # a heading, that somebody put there
            diary.fail(where, f"{','.join(COLUMNS)} were needed, numbers all. Received: "
                       f"{','.join(cells)[:120]!r} ({error}). Correct the row.")  # fmt: skip
            continue
        marks.setdefault(frame, []).append(mark)
    return _without_pictures(video, marks, table, diary)


def _mark(cells: list[str], where: str, diary: Diary) -> tuple[int, Mark]:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells")
    numbers = [float(cell) for cell in cells]
    frame, track, kind, species, occluded, noisy = (
        int(numbers[index]) for index in (0, 1, 6, 7, 8, 9)
    )
    left, top, right, bottom = from_xywh(numbers[2:6])[0].tolist()
    label = _label(kind, species, where, diary)
    return frame, Mark(where, (left, top, right, bottom), label, track, occluded > 0, noisy > 0)


def _label(kind: int, species: int, where: str, diary: Diary) -> str:
    """What an object is; "" where it isn't known."""
    if species == UNKNOWN:
        return SPECIES[0] if kind == HUMAN_CLASS else ""
    label = "vehicle" if species == VEHICLE else SPECIES.get(species)
    if label is None:
        diary.fail(where, f"a species from {UNKNOWN} to {max(SPECIES)} was needed. Received: "
                   f"{species}. The box is taken for unknown.")  # fmt: skip
        return ""
    if (kind == HUMAN_CLASS) != (species == 0) and species != VEHICLE:
        diary.counts["rows whose class and species disagree are taken for unknown"] += 1
        return ""
    return label


def _without_pictures(
    video: _Video, marks: dict[int, list[Mark]], table: str, diary: Diary
) -> dict[int, list[Mark]] | None:
    """The marks whose frames are there; the others are told, and gaps in the numbers too."""
    absent = [number for number in sorted(marks) if number not in video.pictures]
    if absent:
        diary.fail(
            table,
            f"a picture for each row's frame was needed. Received: none for {len(absent)} of "
            f"{len(marks)} frames with rows: {_some(absent)}. Copy images/{video.table.stem} "
            "again.",
        )
    numbers = list(video.pictures)
    gaps = numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0
    if gaps:
        diary.notes.append(f"{video.group}: {gaps:,} frames are missing between {numbers[0]} and "
                           f"{numbers[-1]}")  # fmt: skip
    if marks and len(absent) == len(marks):
        return None
    return {number: rows for number, rows in marks.items() if number in video.pictures}


def _some(numbers: list[int]) -> str:
    more = ", ..." if len(numbers) > NAMED_AT_MOST else ""
    return ", ".join(map(str, numbers[:NAMED_AT_MOST])) + more


def _frames(
    video: _Video, marks: Mapping[int, list[Mark]] | None, classes: tuple[str, ...], diary: Diary
) -> Iterator[Frame]:
    size, rows = _size(video, diary), marks or {}
    for number, path in video.pictures.items():
        name = video.name(path)
        if path.stat().st_size == 0:
            diary.fail(name, "a picture was needed. Received: an empty file (0 bytes). Copy it "
                       "again.")  # fmt: skip
        if size is None or name in diary.failures:
            continue
        yield _marks.frame(
            name, rows.get(number, ()), classes, diary, path=path, group=video.group,
            size=size, index=number, simulated=video.simulated,
        )  # fmt: skip


def _size(video: _Video, diary: Diary) -> tuple[int, int] | None:
    """The size of a video's frames, by the first that can be read: headers of all take long."""
    for path in video.pictures.values():
        try:
            return stills.header(path).size
        except DataError as error:
            diary.failures[video.name(path)] = str(error)
    return None
