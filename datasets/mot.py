"""MOTChallenge's sequences: boxes with the number of their track, pixels and frames from 1.

    train/<sequence>/img1/000001.jpg  gt/gt.txt  seqinfo.ini  (gt/labels.txt as CVAT writes it)
    gt.txt: frame,track,left,top,width,height,considered,class,visibility

What isn't considered (0) is neither right nor wrong. Without labels.txt, classes are MOT16's.
Frames without rows are empty.
"""

import configparser
import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fieldsight.datasets import _marks, stills
from fieldsight.datasets._marks import Diary, Mark
from fieldsight.datasets.animals import AnimalSet, Frame, Side
from fieldsight.datasets.box_forms import from_xywh
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

SOURCE = "motchallenge.net/instructions; Milan et al., MOT16, arXiv 1603.00831, table 6"
CLASSES = {
    1: "pedestrian", 2: "person on vehicle", 3: "car", 4: "bicycle", 5: "motorbike",
    6: "non motorized vehicle", 7: "static person", 8: "distractor", 9: "occluder",
    10: "occluder on the ground", 11: "occluder full", 12: "reflection", 13: "crowd",
}  # fmt: skip
NEITHER = (8, 9, 10, 11, 12, 13)  # of MOT16's, that are no objects
SEEN = 0.5  # of an object; what is seen less of is occluded

_NUMBER = re.compile(r"(\d+)$")


def sequences(folder: Path) -> tuple[Path, ...]:
    """The sequences of a folder: itself, those in it, or those in its train and test."""
    for pattern in (".", "*", "*/*"):
        places = [folder] if pattern == "." else sorted(folder.glob(pattern))
        found = tuple(
            each
            for each in places
            if (each / "gt/gt.txt").is_file() or (each / "seqinfo.ini").is_file()
        )
        if found:
            return found
    return ()


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(sequences(folder))


def load(folder: Path, *, one_based: bool = True) -> AnimalSet:
    """The annotated frames of a sequence, or of those in a folder.

    Args:
        folder: a sequence's, or one that holds some.
        one_based: whether the first pixel is 1, as MOTChallenge says; False for 0, as CVAT writes.

    Raises:
        DatasetNotFoundError: if there is no sequence.
        DataError: if none has frames with annotations.
    """
    found = sequences(folder)
    if not found:
        raise DatasetNotFoundError(
            f"{folder}: MOTChallenge's sequences, each with img1/ and gt/gt.txt, were needed. "
            "Received: none. Unpack them here."
        )
    diary = Diary()
    read = [each for path in found if (each := _sequence(path, folder, one_based, diary))]
    classes = _marks.in_order(
        (mark.label for each in read for marks in each.marks.values() for mark in marks),
        tuple(CLASSES.values()),
    )
    frames = tuple(frame for each in read for frame in _frames(each, folder, classes, diary))
    if not frames:
        raise DataError(
            f"{folder}: frames with annotations were needed. Received: none that can be used, such "
            f"as {next(iter(diary.failures.values()), 'no sequence')}. Copy img1/ and gt/ again."
        )
    sides = {frame.name: side for frame in frames
             if (side := _side(frame.name, folder)) is not None}  # fmt: skip
    rates = {each.name: each.rate for each in read if each.rate}
    return AnimalSet(
        frames, classes, "mot", folder.name, sides or None, diary.failures, diary.sentences(),
        rates=rates,
    )  # fmt: skip


@dataclass(frozen=True)
class _Sequence:
    name: str
    pictures: Mapping[int, Path]
    marks: Mapping[int, list[Mark]]
    rate: float | None = None


def info(sequence: Path) -> Mapping[str, str]:
    """What seqinfo.ini says, keys in lower case; nothing where there is none, or it is damaged."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(sequence / "seqinfo.ini", encoding="utf-8-sig")
        return dict(parser["Sequence"]) if "Sequence" in parser else {}
    except (configparser.Error, UnicodeDecodeError):
        return {}


def rate(sequence: Path) -> float | None:
    """Frames a second, as seqinfo.ini says; None where it doesn't."""
    said = info(sequence).get("framerate", "")
    return (float(said) or None) if re.fullmatch(r"\d+(\.\d+)?", said) else None


def frames_folder(sequence: Path) -> Path:
    """The folder of a sequence's pictures, as seqinfo.ini says; img1 where it doesn't."""
    said = sequence / info(sequence).get("imdir", "img1")
    return (
        said
        if said.is_dir() and said.resolve().is_relative_to(sequence.resolve())
        else (sequence / "img1")
    )


def numbered(folder: Path) -> dict[int, Path]:
    """The pictures of a folder by the number at the end of their names, in its order."""
    found: dict[int, Path] = {}
    for path in _marks.pictures(folder) if folder.is_dir() else ():
        number = _NUMBER.search(path.stem)
        if number is not None:
            found.setdefault(int(number[0]), path)
    return dict(sorted(found.items()))


def _side(name: str, folder: Path) -> Side | None:
    words = [folder.name.lower(), *name.lower().split("/")[:1]]
    for side in ("train", "test", "val"):
        if side in words:
            return side
    return None


def _sequence(path: Path, root: Path, one_based: bool, diary: Diary) -> _Sequence | None:
    name = path.relative_to(root).as_posix() if path != root else path.name
    table = path / "gt" / "gt.txt"
    where = f"{name}/gt/gt.txt"
    if not table.is_file():
        diary.fail(where, "annotations were needed. Received: no such file. The sequence is left "
                   "out, for it isn't known what is in it.")  # fmt: skip
        return None
    pictures = numbered(frames_folder(path))
    if not pictures:
        diary.fail(f"{name}/{frames_folder(path).name}", "pictures were needed. Received: none. "
                   "Copy them there.")  # fmt: skip
        return None
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = [(number, cells) for number, cells in enumerate(csv.reader(file), 1)
                     if any(map(str.strip, cells))]  # fmt: skip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        diary.fail(where, f"a CSV file was needed. Received: {error}. Copy it again.")
        return None
    labels = _labels(path)
    marks: dict[int, list[Mark]] = {}
    absent: set[int] = set()
    for number, cells in lines:
        row = f"{where}, line {number}"
        try:
            frame, mark = _mark(cells, row, labels, one_based, diary)
        except (ValueError, OverflowError) as error:
            diary.fail(
                row,
                "frame,track,left,top,width,height,considered,class,visibility were "
                f"needed. Received: {','.join(cells)[:80]!r} ({error}). Correct it.",
            )
            continue  # fmt: skip
        if frame in pictures:
            marks.setdefault(frame, []).append(mark)
        else:
            absent.add(frame)
    if absent:
        diary.fail(where, "a picture for each row's frame was needed. Received: none for "
                   f"{len(absent)} frames, the first {min(absent)}. Copy them.")  # fmt: skip
    if absent and not marks:
        return None  # numbers that don't fit tell nothing about the pictures that are there
    return _Sequence(name, pictures, marks, rate(path))


def _labels(path: Path) -> Mapping[int, str] | None:
    """Names by class where labels.txt tells them, a line each, from 1; else None."""
    try:
        lines = (path / "gt" / "labels.txt").read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return dict(enumerate((line.strip() for line in lines if line.strip()), 1))


def _mark(
    cells: list[str], where: str, labels: Mapping[int, str] | None, one_based: bool, diary: Diary
) -> tuple[int, Mark]:
    if not 6 <= len(cells) <= 10:
        raise ValueError(f"{len(cells)} cells")
    numbers = [float(cell) for cell in cells]
    left, top, right, bottom = from_xywh(numbers[2:6], origin=float(one_based))[0].tolist()
    # Nine cells are ground truth. Ten are results: a score, and places in the world.
    is_truth = len(cells) < 10
    kind = int(numbers[7]) if is_truth and len(cells) > 7 else -1
    considered = numbers[6] != 0 if len(cells) > 6 else True
    seen = numbers[8] if is_truth and len(cells) > 8 else 1.0
    label = _label(kind, where, labels, diary) if considered else ""
    box = (left, top, right, bottom)
    return int(numbers[0]), Mark(where, box, label, int(numbers[1]), 0 <= seen < SEEN)


def _label(kind: int, where: str, labels: Mapping[int, str] | None, diary: Diary) -> str:
    if kind == -1:
        return "object"
    if labels is None and kind in NEITHER:
        return ""
    label = (CLASSES if labels is None else labels).get(kind)
    if label is None:
        diary.fail(where, f"a class from 1 to {len(labels or CLASSES)} was needed. Received: "
                   f"{kind}. Its box is neither right nor wrong.")  # fmt: skip
        return ""
    return label


def _frames(
    sequence: _Sequence, root: Path, classes: tuple[str, ...], diary: Diary
) -> Iterator[Frame]:
    size, simulated = None, _marks.is_simulated(root)
    for number, path in sequence.pictures.items():
        name = path.relative_to(root).as_posix()
        if size is None or path.stat().st_size == 0:
            try:
                size = stills.header(path).size
            except DataError as error:
                diary.failures[name] = str(error)
                continue
        yield _marks.frame(
            name, sequence.marks.get(number, ()), classes, diary, path=path, group=sequence.name,
            size=size, index=number, simulated=simulated,
        )  # fmt: skip
