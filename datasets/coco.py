"""COCO's JSON of boxes: images, annotations (left, top, width, height from 0), categories.

    annotations.json beside images/, annotations/instances_train.json, train/_annotations.coco.json

Crowds (`iscrowd`) are regions that are neither right nor wrong. Images without annotations are
empty. A flight or place is told by an image's `video_id`, `flight`, `location` or `seq_id`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets import _marks
from fieldsight.datasets._marks import Album, Diary, Mark
from fieldsight.datasets.animals import AnimalSet, Side
from fieldsight.datasets.box_forms import from_xywh
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

SOURCE = "cocodataset.org/#format-data"
GROUPS = ("video_id", "flight", "location", "seq_id")  # keys of an image that name its group
LARGEST_JSON = 2**31  # bytes
_SIDES: dict[str, Side] = {"train": "train", "val": "val", "valid": "val", "validation": "val",
                           "test": "test"}  # fmt: skip


def files(folder: Path) -> tuple[Path, ...]:
    """The JSON files of boxes in a folder, in annotations/ or in the folders of its sides."""
    found = [*folder.glob("*.json"), *folder.glob("annotations/*.json"), *folder.glob("*/*.json")]
    return tuple(path for path in sorted(set(found)) if _looks_like_it(path))


def _looks_like_it(path: Path) -> bool:
    """Whether a file has images and annotations, by its first and last bytes: it may be large."""
    if path.name == _marks.SIMULATED:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(2**20)
            file.seek(max(0, path.stat().st_size - 2**20))
            end = file.read()
    except OSError:
        return False
    if not start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
        return False
    both = start + end
    if b'"images"' in both and b'"annotations"' in both:
        return True
    # A long list may hide the others.
    return b'"annotations"' in both and b'"image_id"' in both


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(files(folder))


@dataclass
class _Read:
    """What the files say."""

    marks: dict[str, list[Mark]] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    sides: dict[str, Side] = field(default_factory=dict)
    categories: list[str] = field(default_factory=list)


def load(path: Path) -> AnimalSet:
    """The annotated pictures of a JSON file, or of those in a folder.

    Raises:
        DatasetNotFoundError: if there is no such file.
        DataError: if one is damaged, or none of its pictures can be used.
    """
    root = path if path.is_dir() else _root(path)
    tables = files(path) if path.is_dir() else (path,)
    if not tables or not all(table.is_file() for table in tables):
        raise DatasetNotFoundError(
            f"{path}: COCO's JSON with images, annotations and categories was needed. Received: "
            "none. Copy it there."
        )
    diary, read = Diary(), _Read()
    for table in tables:
        album = Album(root, (table.parent, table.parent / "images", root / "images"))
        _read_one(table, album, read, diary)
    _marks.tell_others(Album(root), read.paths.values(), diary)
    headers = _marks.headers(
        read.paths.values(), lambda each: each.relative_to(root).as_posix(), diary
    )
    names = [name for name, each in sorted(read.paths.items()) if each in headers]
    if not names:
        raise DataError(
            f"{path}: pictures with annotations were needed. Received: none that can be used, "
            f"such as {next(iter(diary.failures.values()), 'none in the list')}. Put the pictures "
            "beside the JSON, or in images/."
        )
    grouped = _marks.groups(names, read.groups, diary)
    classes = tuple(dict.fromkeys(read.categories))
    frames, simulated = [], _marks.is_simulated(root)
    for name in names:
        header = headers[read.paths[name]]
        marks = _marks.displayed(name, read.marks.get(name, ()), header, read.sizes[name], diary)
        if marks is not None:
            frames.append(
                _marks.frame(
                    name,
                    marks,
                    classes,
                    diary,
                    path=read.paths[name],
                    group=grouped[name],
                    size=header.size,
                    simulated=simulated,
                )
            )
    sides = {name: side for name, side in read.sides.items() if name in set(names)}
    return AnimalSet(
        tuple(frames), classes, "coco", path.name, sides if len(tables) > 1 and sides else None,
        diary.failures, diary.sentences(),
    )  # fmt: skip


def _root(table: Path) -> Path:
    """The data set's folder of a JSON file: above annotations/."""
    return table.parent.parent if table.parent.name == "annotations" else table.parent


def _read_one(table: Path, album: Album, read: _Read, diary: Diary) -> None:
    content = _content(table)
    where = table.relative_to(album.root).as_posix()
    categories = _categories(content, table)
    read.categories += categories.values()
    side = _side(table)
    names: dict[Any, str] = {}
    for image in content["images"]:
        name = _image(image, where, album, read, diary)
        if name is not None:
            names[image["id"]] = name
            if side is not None:
                read.sides[name] = side
    absent = {image.get("id") for image in content["images"]} - set(names)
    for number, each in enumerate(content["annotations"]):
        row = f"{where}, annotation {each.get('id', number)}"
        if each.get("image_id") in absent:
            continue  # told once, as a picture that isn't there
        if each.get("image_id") not in names:
            diary.fail(row, "an image_id of the images was needed. Received: "
                       f"{each.get('image_id')!r}. Correct it.")  # fmt: skip
            continue
        mark = _mark(each, row, categories, diary)
        if mark is not None:
            read.marks.setdefault(names[each["image_id"]], []).append(mark)


def _content(table: Path) -> Mapping[str, Any]:
    if table.stat().st_size > LARGEST_JSON:
        raise DataError(
            f"{table}: needs at most {LARGEST_JSON >> 30} GiB. Received: "
            f"{table.stat().st_size >> 30} GiB. Split it."
        )
    try:
        content = json.loads(table.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{table}: COCO's JSON was needed. Received: {error}. Export it again."
        ) from error
    lists = ("images", "annotations", "categories")
    for key in lists:
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(
                f"{table}: the lists {', '.join(lists)} were needed. Received: no list {key} of "
                "objects. Export it as COCO's JSON."
            )
    return content


def _categories(content: Mapping[str, Any], table: Path) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for each in content["categories"]:
        name = str(each.get("name", "")).strip()
        if "id" not in each or not name:
            raise DataError(
                f"{table}: an id and a name of each category were needed. Received: {each!r:.80}. "
                "Correct it."
            )
        if found.setdefault(each["id"], name) != name:
            raise DataError(
                f"{table}: each category id once was needed. Received: {each['id']!r} for "
                f"{found[each['id']]} and {name}. Correct it."
            )
    return found


def _side(table: Path) -> Side | None:
    words = [*re.split(r"[-_]", table.stem.lower()), table.parent.name.lower()]
    return next((_SIDES[word] for word in words if word in _SIDES), None)


def _image(
    image: Mapping[str, Any], where: str, album: Album, read: _Read, diary: Diary
) -> str | None:
    """Note a picture and return its name; None, and told, if it isn't there."""
    said = str(image.get("file_name", ""))
    if "id" not in image or not said:
        diary.fail(f"{where}, an image", "an id and a file_name were needed. Received: "
                   f"{image!r:.80}. Correct it.")  # fmt: skip
        return None
    path = album.find(said)
    if path is None:
        diary.fail(f"{where}, {said}", "this picture was needed. Received: no such file, or "
                   "several of that name. Put it there.")  # fmt: skip
        return None
    name = album.name(path)
    sides = (image.get("height"), image.get("width"))
    read.sizes[name] = (
        (int(image["height"]), int(image["width"]))
        if all(isinstance(side, int | float) and np.isfinite(side) for side in sides)
        else None
    )
    read.paths[name] = path
    for key in GROUPS:
        if image.get(key) not in (None, ""):
            read.groups[name] = f"{key}-{image[key]}" if key == "video_id" else str(image[key])
            break
    return name


def _mark(
    each: Mapping[str, Any], row: str, categories: Mapping[Any, str], diary: Diary
) -> Mark | None:
    box = _box(each)
    if box is None:
        diary.fail(row, "a bbox of left, top, width, height was needed. Received: "
                   f"{each.get('bbox')!r:.80}. Correct it.")  # fmt: skip
        return None
    label = categories.get(each.get("category_id"))
    if label is None:
        known = ", ".join(str(number) for number in list(categories)[:10])
        diary.fail(row, f"a category_id of the categories ({known}) was needed. Received: "
                   f"{each.get('category_id')!r}. Its box is neither right nor wrong.")  # fmt: skip
    attributes = each.get("attributes")
    extra = attributes if isinstance(attributes, dict) else {}
    track = each.get("track_id", extra.get("track_id", -1))
    return Mark(
        row,
        box,
        "" if label is None or each.get("iscrowd") or each.get("ignore") else label,
        int(track) if isinstance(track, int) else -1,
        bool(each.get("occluded", extra.get("occluded", False))),
    )


def _box(each: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """`xyxy` of an annotation's bbox, or of its outline where it has none."""
    try:
        if each.get("bbox"):
            if len(each["bbox"]) != 4:
                return None
            left, top, right, bottom = from_xywh([float(side) for side in each["bbox"]])[0]
        else:
            points = _outline(each.get("segmentation"))
            if points is None:
                return None
            (left, top), (right, bottom) = points.min(0), points.max(0)
    except (TypeError, ValueError):
        return None
    return float(left), float(top), float(right), float(bottom)


def _outline(polygons: Any) -> Any:
    if not isinstance(polygons, list) or not polygons:
        return None
    return np.concatenate([np.asarray(each, float).reshape(-1, 2) for each in polygons])
