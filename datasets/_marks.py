"""From the rows of any layout to frames: mistakes are told one by one, what is left is tidy."""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from fieldsight.datasets import _walking, stills
from fieldsight.datasets.animals import Frame, Slices
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array
from fieldsight.datasets.stills import Header

SIMULATED = "SIMULATED.json"
Box = tuple[float, float, float, float]
TOLD_AT_MOST = 1000  # mistakes that are told row by row; the others are counted
SMALLEST_PX = 0.5  # a box with a shorter side, once within its picture, is none


@dataclass(frozen=True)
class Mark:
    """A box as a layout has it, in `xyxy` pixels.

    Args:
        where: the row, for messages: a file's name and line.
        box: left, top, right, bottom; may be NaN, degenerate or over the edge.
        label: of what; "" for a region that is neither right nor wrong.
        track: number of the object; -1 for none.
        occluded: whether something hides a part of it.
        noisy: whether the picture is disturbed there.
    """

    where: str
    box: tuple[float, float, float, float]
    label: str
    track: int = -1
    occluded: bool = False
    noisy: bool = False


@dataclass
class Diary:
    """What went wrong and what was odd while a layout was read.

    Attributes:
        failures: by the picture's name or the row, with the reason.
        counts: how often what was mended or left out, by a phrase.
        notes: whole sentences.
    """

    failures: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def fail(self, where: str, what: str) -> None:
        """Record that a row or picture can't be used."""
        if len(self.failures) < TOLD_AT_MOST:
            self.failures[where] = f"{where}: {what}"
        else:
            self.counts["further mistakes that aren't told one by one"] += 1

    def sentences(self) -> tuple[str, ...]:
        """All that is to be known about the set as a whole."""
        return (*self.notes, *(f"{count:,} {what}" for what, count in self.counts.items()))


def frame(
    name: str,
    marks: Iterable[Mark],
    classes: Sequence[str],
    diary: Diary,
    *,
    path: Path,
    group: str,
    size: tuple[int, int],
    index: int = 0,
    points: bool = False,
    simulated: bool = False,
) -> Frame:
    """A frame of what is marked in it.

    NaN and degenerate boxes, those that lie outside, and further ones of one track are left out
    and told; those over the edge are cut there. Points keep their box whole, so that its middle
    stays the point.
    """
    kept = [(mark, box) for mark in marks
            if (box := _within(mark, size, diary, points)) is not None]  # fmt: skip
    numbers = {label: number for number, label in enumerate(classes)}
    real = _once([pair for pair in kept if pair[0].label], diary)
    return Frame(
        name=name,
        group=group,
        index=index,
        size=size,
        boxes=_boxes([box for _, box in real]),
        labels=np.array([numbers[mark.label] for mark, _ in real], np.int64),
        tracks=np.array([mark.track for mark, _ in real], np.int64),
        ignored=_boxes([box for mark, box in kept if not mark.label]),
        occluded=np.array([mark.occluded for mark, _ in real], bool),
        noisy=np.array([mark.noisy for mark, _ in real], bool),
        points=points,
        simulated=simulated,
        path=path,
        reader=partial(_read, path, name, size),
    )


def _once(real: list[tuple[Mark, Box]], diary: Diary) -> list[tuple[Mark, Box]]:
    """What is marked without further boxes of one object: it can't stand in two places."""
    first: dict[int, str] = {}
    found = []
    for mark, box in real:
        if mark.track >= 0 and mark.track in first:
            diary.fail(mark.where, f"a track once in a picture was needed. Received: {mark.track}, "
                       f"as in {first[mark.track]}. Correct one of them; this box is left "
                       "out.")  # fmt: skip
            continue
        first[mark.track] = mark.where
        found.append((mark, box))
    return found


def _within(mark: Mark, size: tuple[int, int], diary: Diary, points: bool) -> Box | None:
    left, top, right, bottom = mark.box
    rows, columns = size
    if not all(map(math.isfinite, mark.box)):
        diary.fail(mark.where, f"a box of four finite numbers was needed. Received: "
                   f"{_said(mark)}. Correct the row; the box is left out.")  # fmt: skip
        return None
    width, height = right - left, bottom - top
    if width <= 0 or height <= 0:
        diary.fail(mark.where, f"a box wider and higher than 0 was needed. Received: {width:g} x "
                   f"{height:g} pixels. Correct the row; the box is left out.")  # fmt: skip
        return None
    cut = (max(left, 0.0), max(top, 0.0), min(right, float(columns)), min(bottom, float(rows)))
    if points:
        x, y = (left + right) / 2, (top + bottom) / 2
        outside = not (0 <= x <= columns and 0 <= y <= rows)
    else:
        outside = min(cut[2] - cut[0], cut[3] - cut[1]) < min(SMALLEST_PX, width, height)
    if outside:
        diary.fail(
            mark.where,
            f"a box within {columns} x {rows} pixels was needed. Received: {_said(mark)} (left, "
            "top, right, bottom). Are these another picture's, or of another size? It is left out.",
        )
        return None
    if points:
        return mark.box
    if cut != mark.box:
        diary.counts["boxes reach over their picture's edge and are cut there"] += 1
    return cut


def _said(mark: Mark) -> str:
    return ", ".join(f"{value:g}" for value in mark.box)


def _boxes(boxes: list[tuple[float, float, float, float]]) -> Array:
    return np.array(boxes, np.float32).reshape(-1, 4)


def _read(path: Path, name: str, size: tuple[int, int], slices: Slices | None) -> Array:
    image = stills.read(path, slices)
    if slices is None and image.shape[:2] != size:
        raise DataError(
            f"{name}: {size[1]} x {size[0]} pixels were needed, as its sequence has. Received: "
            f"{image.shape[1]} x {image.shape[0]}. Export it again, or take it out."
        )
    return image


# Pictures that are there


def pictures(root: Path) -> list[Path]:
    """All picture files below a folder, in the order of their names; hidden ones are left out."""
    found = []
    for folder, names in _walking.walk(root):
        found += [folder / name for name in names if name.lower().endswith(stills.SUFFIXES)]
    return sorted(found)


class Album:
    """The pictures below a folder, found by what annotations call them."""

    def __init__(self, root: Path, places: Sequence[Path] = ()) -> None:
        """List what is there.

        Args:
            root: the data set's folder.
            places: folders that names may be relative to, tried in this order; then the root,
                then anywhere below it, if the file's name is unique there.
        """
        self.root = root
        self._places = (*places, root)
        self._paths = pictures(root)
        self._known = {str(path) for path in self._paths}
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for path in self._paths:
            self._by_name.setdefault(path.name, []).append(path)
            self._by_stem.setdefault(path.stem, []).append(path)

    def find(self, said: str, *, by_stem: bool = False) -> Path | None:
        """The picture of a name; None if it isn't there, or several could be meant."""
        plain = Path(said.replace("\\", "/"))
        for place in self._places:
            path = Path(os.path.normpath(place / plain))
            if str(path) in self._known or (path.is_file() and path.is_relative_to(self.root)):
                return path
        found = self._by_name.get(plain.name, [])
        if not found and by_stem:
            found = self._by_stem.get(plain.stem, [])
        return found[0] if len(found) == 1 else None

    def name(self, path: Path) -> str:
        """A picture's path within the data set."""
        return path.relative_to(self.root).as_posix()

    def others(self, used: Iterable[Path]) -> list[Path]:
        """The pictures that annotations don't speak of."""
        taken = set(used)
        return [path for path in self._paths if path not in taken]


def headers(paths: Iterable[Path], name: Callable[[Path], str], diary: Diary) -> dict[Path, Header]:
    """The headers of pictures; those that can't be read are told."""
    found = {}
    for path in paths:
        try:
            found[path] = stills.header(path)
        except DataError as error:
            diary.failures[name(path)] = str(error)
    return found


def displayed(
    name: str,
    marks: Sequence[Mark],
    header: Header,
    size: tuple[int, int] | None,
    diary: Diary,
) -> list[Mark] | None:
    """Marks in the picture as it is displayed.

    Args:
        name: of the picture.
        marks: as the annotations have them.
        header: the picture's.
        size: rows and columns that the annotations say; None or 0 where they don't. Where they are
            those of the file as it is stored, its boxes are turned with the picture.
        diary: where a size of another picture is told; None is returned then.
    """
    if size is None or min(size) <= 0:
        return list(marks)
    if size not in (header.size, header.stored):
        diary.fail(
            name,
            f"a picture of {size[1]} x {size[0]} pixels was needed, as its annotations say. "
            f"Received: {header.size[1]} x {header.size[0]}. Put the annotated one there.",
        )
        return None
    boxes = header.displayed(np.array([mark.box for mark in marks], float), size=size)
    return [
        replace(mark, box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        for mark, box in zip(marks, boxes.reshape(-1, 4), strict=True)
    ]


def tell_others(album: Album, used: Iterable[Path], diary: Diary) -> None:
    """Say how many pictures have no annotations: nobody looked at them, so they aren't empty."""
    others = album.others(used)
    if others:
        diary.notes.append(
            f"{len(others):,} pictures that the annotations don't name are left out, such as "
            f"{album.name(others[0])}: whether they are empty isn't known"
        )


def groups(names: Sequence[str], said: Mapping[str, str], diary: Diary) -> dict[str, str]:
    """The independent unit of each picture (W-1).

    What annotations say; else the picture's folder, where pictures lie in several; else the
    picture itself, which is told.

    Args:
        names: paths within the data set.
        said: the flight, video or place of some of them.
        diary: where it is told.
    """
    folders = {name: name.rpartition("/")[0] for name in names}
    by_folder = len(set(folders.values())) > 1
    if not by_folder and len(names) > 1 and not all(name in said for name in names):
        diary.notes.append(
            "each picture counts as a flight of its own, for they lie in one folder: where "
            "pictures overlap, put those of a flight in a folder"
        )
    return {name: said.get(name) or (folders[name] if by_folder else name) for name in names}


def is_simulated(folder: Path) -> bool:
    """Whether a folder, or one of the two above it, says that a computer drew what it holds."""
    return any((place / SIMULATED).is_file() for place in (folder, *folder.parents[:2]))


def manifest(folder: Path) -> Mapping[str, object]:
    """What the nearest SIMULATED.json says; nothing where there is none, or it can't be read."""
    for place in (folder, *folder.parents[:2]):
        try:
            content = json.loads((place / SIMULATED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return content if isinstance(content, dict) else {}
    return {}


def in_order(labels: Iterable[str], known: Sequence[str] = ()) -> tuple[str, ...]:
    """The labels that occur: those that are known in their order, then the others by name."""
    found = {label for label in labels if label}
    return (*(label for label in known if label in found), *sorted(found - set(known)))
