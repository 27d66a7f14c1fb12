"""YOLO's text files, one a picture: class and a box as parts of the picture's sides.

    data.yaml  images/train/a.jpg  labels/train/a.txt        class middle_x middle_y width height

Pictures without a text file, or with an empty one, are empty, as YOLO trains on them. data.yaml
names the classes and the sides; without it, classes.txt may name them.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fieldsight.datasets import _marks
from fieldsight.datasets._marks import Diary, Mark
from fieldsight.datasets.animals import AnimalSet, Side
from fieldsight.datasets.box_forms import from_normalised
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

SOURCE = "docs.ultralytics.com/datasets/detect"
FILES = ("data.yaml", "data.yml", "dataset.yaml")
_SIDES: tuple[Side, ...] = ("train", "val", "test")
_EDGE = 1e-3  # of a side: rounding may take a box so far beyond 1


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    if any((folder / name).is_file() for name in FILES):
        return True
    return (folder / "images").is_dir() and (folder / "labels").is_dir()


@dataclass(frozen=True)
class _Plan:
    """Where pictures lie, on which side, and what classes are called."""

    root: Path
    pictures: Mapping[Path, Side | None]
    names: Mapping[int, str]
    failures: Mapping[str, str]


def load(path: Path) -> AnimalSet:
    """The annotated pictures of a data.yaml, or of a folder with one or with images/ and labels/.

    Raises:
        DatasetNotFoundError: if there is none.
        DataError: if data.yaml is damaged, or none of the pictures can be used.
    """
    plan = _plan(path)
    diary = Diary()
    diary.failures.update(plan.failures)
    headers = _marks.headers(sorted(plan.pictures), lambda each: _name(each, plan.root), diary)
    marks: dict[Path, list[Mark]] = {}
    unlabelled = 0
    for picture in headers:
        table = labels_of(picture)
        unlabelled += not table.is_file()
        marks[picture] = list(
            _rows(table, _name(table, plan.root), headers[picture].size, plan.names, diary)
        )
    if not headers or unlabelled == len(headers):
        raise DataError(
            f"{path}: pictures with text files were needed, images/a.jpg and labels/a.txt. "
            f"Received: {len(headers)} pictures that can be read, {unlabelled} of them without a "
            "text file. Put them there."
        )
    if unlabelled:
        diary.notes.append(f"{unlabelled:,} pictures without a text file are taken for empty")
    _tell_widows(plan, diary)
    names = {picture: _name(picture, plan.root) for picture in headers}
    grouped = _groups(list(names.values()), diary)
    known = [plan.names[number] for number in sorted(plan.names)]
    labels = [mark.label for each in marks.values() for mark in each]
    classes = tuple(dict.fromkeys(known)) or _marks.in_order(labels)
    simulated = _marks.is_simulated(plan.root)
    frames = tuple(
        _marks.frame(
            names[picture], marks[picture], classes, diary, path=picture,
            group=grouped[names[picture]], size=headers[picture].size,
            simulated=simulated,
        )
        for picture in sorted(headers)
    )  # fmt: skip
    sides = {names[picture]: side for picture in headers
             if (side := plan.pictures[picture]) is not None}  # fmt: skip
    return AnimalSet(
        frames, classes, "yolo", path.name, sides or None, diary.failures, diary.sentences()
    )


def labels_of(picture: Path) -> Path:
    """The text file of a picture: its path with the last images/ as labels/."""
    parts = list(picture.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _plan(path: Path) -> _Plan:
    file = (
        path
        if path.is_file()
        else next((path / name for name in FILES if (path / name).is_file()), None)
    )
    if file is not None:
        return _by_yaml(file)
    if not (path / "images").is_dir():
        raise DatasetNotFoundError(
            f"{path}: a data.yaml, or images/ and labels/ were needed. Received: neither. Name the "
            "folder that holds them."
        )
    pictures: dict[Path, Side | None] = {}
    for picture in _marks.pictures(path / "images"):
        inner = picture.relative_to(path / "images").parts[0]
        pictures[picture] = next((side for side in _SIDES if inner.startswith(side)), None)
    return _Plan(path, pictures, _listed_names(path), {})


def _listed_names(folder: Path) -> dict[int, str]:
    for path in (folder / "classes.txt", folder / "labels" / "classes.txt"):
        if path.is_file():
            lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
            return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    return {}


def _by_yaml(file: Path) -> _Plan:
    content = _content(file)
    root = file.parent
    said = content.get("path")
    base = root / str(said) if said else root
    if not base.is_dir():  # a path of the machine that wrote it
        base = root
    pictures: dict[Path, Side | None] = {}
    failures: dict[str, str] = {}
    for side in _SIDES:
        for place in _places(content, side, file):
            found = _listed(str(place), base, root)
            if not found:
                failures[f"{file.name}, {side}"] = (
                    f"{file.name}, {side}: a folder of pictures, or a list of them, was needed at "
                    f"{place}. Received: none. Correct the path."
                )
            for picture in found:
                pictures.setdefault(picture, side)
    if pictures:  # an export may lay them beside data.yaml's folder
        root = Path(os.path.commonpath([root, *(picture.parent for picture in pictures)]))
    return _Plan(root, pictures, _names(content, file), failures)


def _places(content: Mapping[str, Any], side: Side, file: Path) -> list[str]:
    """The folders and lists of pictures that data.yaml says a side has."""
    said = content.get(side) or (content.get("valid") if side == "val" else None) or []
    places = said if isinstance(said, list) else [said]
    if not all(isinstance(each, str) for each in places):
        raise DataError(
            f"{file}: a folder of pictures, or a list of folders, was needed for {side}. Received: "
            f"{said!r:.80}. Correct it."
        )
    return places


def _content(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            f"{file}: YOLO's data.yaml was needed. Received: {' '.join(str(error).split())[:200]}. "
            "Export it again."
        ) from error
    if not isinstance(content, dict) or "names" not in content:
        raise DataError(
            f"{file}: names of the classes, and the folders train, val, test were needed. "
            f"Received: {', '.join(map(str, content)) if isinstance(content, dict) else 'none'}. "
            "Write them there."
        )
    return content


def _names(content: Mapping[str, Any], file: Path) -> dict[int, str]:
    said = content["names"]
    try:
        if not isinstance(said, list | dict):
            raise TypeError("neither a list nor by numbers")
        pairs = said.items() if isinstance(said, dict) else enumerate(said)
        names = {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{file}: names as a list, or by whole numbers, were needed. Received: {said!r:.80}. "
            "Correct them."
        ) from error
    count = content.get("nc")
    if count is not None and count != len(names):
        raise DataError(
            f"{file}: as many names as nc says were needed. Received: {len(names)} names, nc "
            f"{count}. Correct one of them."
        )
    return names


def _listed(place: str, base: Path, root: Path) -> list[Path]:
    """The pictures at a place of data.yaml: a folder's, or those that a text file lists."""
    # Exports say ../train/images of a folder that lies beside data.yaml.
    for start in (base / place, root / place, root / place.removeprefix("../")):
        there = Path(os.path.normpath(start))
        if there.is_dir():
            return _marks.pictures(there)
        if there.is_file() and there.suffix == ".txt":
            lines = there.read_text(encoding="utf-8-sig", errors="replace").split("\n")
            said = [os.path.normpath(there.parent / line.strip()) for line in lines if line.strip()]
            return [Path(each) for each in said if Path(each).is_file()]
    return []


def _rows(
    table: Path, where: str, size: tuple[int, int], names: Mapping[int, str], diary: Diary
) -> Iterator[Mark]:
    if not table.is_file():
        return
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        diary.fail(where, f"a text file was needed. Received: {error}. Copy it again.")
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            mark = _mark(line.split(), f"{where}, line {number}", size, names, diary)
            if mark is not None:
                yield mark


def _mark(
    cells: Sequence[str], where: str, size: tuple[int, int], names: Mapping[int, str], diary: Diary
) -> Mark | None:
    try:
        numbers = [float(cell) for cell in cells]
        label = int(numbers[0])
        parts = _parts(numbers[1:])
    except (ValueError, OverflowError, IndexError) as error:
        diary.fail(where, "class middle_x middle_y width height were needed. Received: "
                   f"{' '.join(cells)[:80]!r} ({error}). Correct the row.")  # fmt: skip
        return None
    if np.isfinite(parts).all() and (parts.min() < -_EDGE or parts.max() > 1 + _EDGE):
        diary.fail(where, "parts of the picture's sides, 0 to 1, were needed. Received: "
                   f"{' '.join(cells)[:80]!r}. Are these pixels? The box is left out.")  # fmt: skip
        return None
    left, top, right, bottom = from_normalised([parts], size)[0].tolist()
    name = names.get(label, "" if names else f"class_{label}")
    if not name:
        diary.fail(where, f"a class of data.yaml, 0 to {max(names)}, was needed. Received: "
                   f"{label}. Its box is neither right nor wrong.")  # fmt: skip
    return Mark(where, (left, top, right, bottom), name)


def _parts(numbers: list[float]) -> np.ndarray[Any, Any]:
    """Middle and sides of a row: of its box, or of its outline."""
    if len(numbers) in (4, 5):  # the fifth is a detector's score
        return np.array(numbers[:4])
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"{len(numbers) + 1} cells")
    points = np.array(numbers).reshape(-1, 2)
    low, high = points.min(0), points.max(0)
    return np.concatenate([(low + high) / 2, high - low])


def _tell_widows(plan: _Plan, diary: Diary) -> None:
    """Tell text files whose picture isn't there."""
    tables = {labels_of(picture) for picture in plan.pictures}
    for folder in sorted({table.parent for table in tables}):
        for table in sorted(folder.glob("*.txt")) if folder.is_dir() else ():
            if table not in tables and table.name != "classes.txt" and folder.name != "images":
                diary.fail(_name(table, plan.root), "its picture was needed. Received: no such "
                           "file in images/. Put it there.")  # fmt: skip


def _groups(names: Sequence[str], diary: Diary) -> dict[str, str]:
    """Folders below those of the sides are flights; a side is none."""
    said: dict[str, str] = {}
    for name in names:
        inner = name.split("/")
        folder = [part for part in inner[:-1] if part not in ("images", "train", "val", "valid",
                                                               "test")]  # fmt: skip
        said[name] = "/".join(folder) or name
    if all(group == name for name, group in said.items()) and len(said) > 1:
        diary.notes.append(
            "each picture counts as a flight of its own, for no folder tells flights apart: where "
            "pictures overlap, put those of a flight in a folder below images/train"
        )
    return said
