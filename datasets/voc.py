"""Pascal VOC's XML, one file a picture: boxes of first and last pixel, counted from 1.

    JPEGImages/a.jpg  Annotations/a.xml  ImageSets/Main/train.txt       or a.jpg and a.xml together

Many tools write the same XML with pixels from 0 and an exclusive end; a coordinate of 0, which
can't be in files that count from 1, gives them away, and then all files of the folder are read so.
Difficult objects are neither right nor wrong, as VOC scores them. Files without objects are empty.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import defusedxml
import defusedxml.ElementTree

from fieldsight.datasets import _marks
from fieldsight.datasets._marks import Album, Diary, Mark
from fieldsight.datasets.animals import AnimalSet, Side
from fieldsight.datasets.box_forms import from_inclusive
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

SOURCE = "host.robots.ox.ac.uk/pascal/VOC"
LARGEST_XML = 2**24  # bytes
_SIDES: tuple[Side, ...] = ("train", "val", "test")


def files(folder: Path) -> tuple[Path, ...]:
    """The XML files of a folder and of those below it that are VOC's."""
    return tuple(path for path in sorted(folder.rglob("*.xml")) if _looks_like_it(path))


def _looks_like_it(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<annotation" in file.read(4096)
    except OSError:
        return False


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return any(_looks_like_it(path) for path in folder.rglob("*.xml"))


@dataclass(frozen=True)
class _Annotation:
    """One file, its boxes as they stand there."""

    path: Path
    picture: str
    size: tuple[int, int] | None
    marks: tuple[Mark, ...]


def load(path: Path, *, one_based: bool | None = None) -> AnimalSet:
    """The annotated pictures of a folder of XML, or of one XML file.

    Args:
        path: the folder or the file.
        one_based: whether the first pixel is 1 and the last one is within; False: pixels from 0,
            right and bottom exclusive. None decides by the smallest coordinate.

    Raises:
        DatasetNotFoundError: if there is none.
        DataError: if none of the pictures can be used.
    """
    root = path if path.is_dir() else path.parent
    diary = Diary()
    album = Album(root)
    read = [each for file in (files(root) if path.is_dir() else (path,))
            if (each := _read(file, root, diary)) is not None]  # fmt: skip
    if not read and not diary.failures:
        raise DatasetNotFoundError(
            f"{path}: Pascal VOC's XML was needed. Received: none. Copy it there."
        )
    found = {each: _picture(each, album, diary) for each in read}
    there: dict[_Annotation, Path] = {}
    for each, picture in found.items():
        if picture is not None and picture in there.values():
            diary.fail(album.name(each.path), f"one XML a picture was needed. Received: a second "
                       f"one for {album.name(picture)}. Remove one.")  # fmt: skip
        elif picture is not None:
            there[each] = picture
    if path.is_dir():
        _marks.tell_others(album, there.values(), diary)
    headers = _marks.headers(there.values(), album.name, diary)
    there = {each: picture for each, picture in there.items() if picture in headers}
    if not there:
        raise DataError(
            f"{path}: pictures with annotations were needed. Received: none that can be used, "
            f"such as {next(iter(diary.failures.values()))}. Put the pictures beside the XML, or "
            "in JPEGImages/."
        )
    inclusive = _counts_from_one(list(there), diary) if one_based is None else one_based
    names = {each: album.name(picture) for each, picture in there.items()}
    grouped = _marks.groups(list(names.values()), {}, diary)
    classes = _marks.in_order(mark.label for each in there for mark in each.marks)
    frames, simulated = [], _marks.is_simulated(root)
    for each, picture in there.items():
        name, header = names[each], headers[picture]
        marks = [_pixels(mark) if inclusive else mark for mark in each.marks]
        shown = _marks.displayed(name, marks, header, each.size, diary)
        if shown is not None:
            frames.append(
                _marks.frame(
                    name,
                    shown,
                    classes,
                    diary,
                    path=picture,
                    group=grouped[name],
                    size=header.size,
                    simulated=simulated,
                )
            )
    frames.sort(key=lambda frame: frame.name)
    sides = _sides(root, {each.path.stem: name for each, name in names.items()})
    return AnimalSet(
        tuple(frames), classes, "voc", path.name, sides or None, diary.failures, diary.sentences()
    )


def _read(path: Path, root: Path, diary: Diary) -> _Annotation | None:
    where = path.relative_to(root).as_posix()
    try:
        if path.stat().st_size > LARGEST_XML:
            raise ValueError(f"{path.stat().st_size >> 20} MiB")
        tree = defusedxml.ElementTree.parse(path).getroot()
    except (OSError, ValueError, SyntaxError, defusedxml.DefusedXmlException) as error:
        diary.fail(where, f"Pascal VOC's XML was needed. Received: "
                   f"{' '.join(str(error).split())[:200]}. Export it again.")  # fmt: skip
        return None
    marks = []
    for number, each in enumerate(tree.iter("object"), 1):
        mark = _mark(each, f"{where}, object {number}", diary)
        if mark is not None:
            marks.append(mark)
    rows, columns = (_whole(tree.findtext(f"size/{side}")) for side in ("height", "width"))
    return _Annotation(
        path, (tree.findtext("filename") or "").strip(), (rows, columns), tuple(marks)
    )


def _mark(each: Any, where: str, diary: Diary) -> Mark | None:
    label = (each.findtext("name") or "").strip()
    said = [each.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        left, top, right, bottom = (float(side or "") for side in said)
    except ValueError:
        diary.fail(where, "a bndbox of xmin, ymin, xmax, ymax was needed. Received: "
                   f"{said}. Correct it.")  # fmt: skip
        return None
    if not label:
        diary.fail(where, "a name was needed. Received: none. Its box is neither right nor wrong.")
    difficult = (each.findtext("difficult") or "0").strip() == "1"
    hidden = any((each.findtext(key) or "0").strip() == "1" for key in ("occluded", "truncated"))
    return Mark(where, (left, top, right, bottom), "" if difficult else label, occluded=hidden)


def _whole(text: str | None) -> int:
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        return 0


def _picture(each: _Annotation, album: Album, diary: Diary) -> Path | None:
    beside = (each.path.parent, each.path.parent.parent / "JPEGImages")
    for said in (each.picture, f"{each.path.stem}{Path(each.picture).suffix}"):
        for place in beside:
            if said and (place / said).is_file():
                return place / said
    path = album.find(each.picture or each.path.stem, by_stem=True)
    if path is None:
        path = album.find(each.path.stem, by_stem=True)
    if path is None:
        diary.fail(album.name(each.path), f"its picture {each.picture!r} was needed. Received: no "
                   "such file, or several of that name. Put it beside.")  # fmt: skip
    return path


def _pixels(mark: Mark) -> Mark:
    left, top, right, bottom = from_inclusive([mark.box])[0].tolist()
    return Mark(mark.where, (left, top, right, bottom), mark.label, mark.track, mark.occluded)


def _counts_from_one(read: Sequence[_Annotation], diary: Diary) -> bool:
    smallest = min(
        (side for each in read for mark in each.marks for side in mark.box[:2]
         if math.isfinite(side)),
        default=1.0,
    )  # fmt: skip
    whole = all(float(side).is_integer() for each in read for mark in each.marks
                for side in mark.box if math.isfinite(side))  # fmt: skip
    if smallest >= 1 and whole:
        return True
    diary.notes.append(
        f"boxes count from 0, right and bottom exclusive: the smallest coordinate is {smallest:g}"
        f"{'' if whole else ', and some are no whole numbers'}"
    )
    return False


def _sides(root: Path, names: dict[str, str]) -> dict[str, Side]:
    """The side of each picture by ImageSets/Main, where it is told."""
    found: dict[str, Side] = {}
    for side in _SIDES:
        path = root / "ImageSets" / "Main" / f"{side}.txt"
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                stem = line.split()[0] if line.split() else ""
                if stem in names:
                    found[names[stem]] = side
    return found
