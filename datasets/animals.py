"""Annotated pictures of animals and people from above, whatever layout they were published in.

    found = animals.load("BIRDSAI")
    for frame in found.frames:
        image, boxes = frame.read(), frame.boxes

Whatever a layout's boxes are (xywh, normalised, from 1), here they are `xyxy` pixels of the picture
as it is displayed, the first pixel from 0 to 1, right and bottom exclusive (W-7).
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.sample import Array
from fieldsight.datasets.splits import FRACTIONS, Split, by_group

Kind = Literal["birdsai", "coco", "voc", "yolo", "box_csv", "point_csv", "mot"]
Side = Literal["train", "val", "test"]
Slices = tuple[slice, slice]

PEOPLE = frozenset(
    ("human", "person", "people", "pedestrian", "poacher", "ranger", "man", "men", "woman",
     "women", "child", "children", "swimmer", "hunter", "static person", "person on vehicle")
)  # fmt: skip
VEHICLES = frozenset(
    ("vehicle", "car", "truck", "van", "bus", "jeep", "pickup", "lorry", "tractor", "motorcycle",
     "motorbike", "bicycle", "bike", "boat", "canoe", "non motorized vehicle")
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture with what was marked in it; its pixels are read when they are asked for.

    Args:
        name: its path within the data set, such as "TrainReal/images/a/a_0000000007.jpg".
        group: the flight, the video or the folder that lies on one side of a split (W-1).
        index: its number in its sequence, as its file's name has it; 0 outside of one.
        size: rows and columns, as displayed.
        boxes: `(n, 4)` float32 `xyxy` pixels, within the picture (but see `points`).
        labels: `(n,)` int64, of `AnimalSet.classes`.
        tracks: `(n,)` int64 number of the object within its group; -1 where nobody said.
        ignored: `(m, 4)` float32 `xyxy` of regions that are neither right nor wrong.
        occluded: `(n,)` bool.
        noisy: `(n,)` bool: where the picture is disturbed.
        points: whether boxes stand for points, which are their middles; such boxes may reach
            over the picture's edge.
        simulated: whether a computer drew it.
        path: its file.
    """

    name: str
    group: str
    index: int
    size: tuple[int, int]
    boxes: Array
    labels: Array
    tracks: Array
    ignored: Array
    occluded: Array
    noisy: Array
    points: bool
    simulated: bool
    path: Path
    reader: Callable[[Slices | None], Array] = field(repr=False)

    def read(self, slices: Slices | None = None) -> Array:
        """`(rows, columns, channels)` uint8 or uint16, one channel or three, as displayed.

        Args:
            slices: of rows and columns; None for all. A TIFF is read there alone.

        Raises:
            DataError: if the file is damaged, or of another size than its header said.
        """
        return self.reader(slices)


@dataclass(frozen=True, eq=False)
class AnimalSet:
    """Annotated pictures of one layout.

    Args:
        frames: in the order of their names.
        classes: names, by the labels' number.
        kind: the layout.
        name: its folder's or file's name.
        split: the side of each frame by its name, where the layout publishes one; else None.
        failures: what could not be used, by the picture's name or the row, with the reason.
        notes: what was odd or is missing, a sentence each.
        radius_px: that boxes have where they stand for points; None for real boxes.
        rates: frames a second of the groups whose files say it.

    Raises:
        DataError: if two frames have one name.
    """

    frames: tuple[Frame, ...]
    classes: tuple[str, ...]
    kind: Kind
    name: str
    split: Mapping[str, Side] | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    radius_px: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [frame.name for frame in self.frames]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f"{self.name}: each picture once was needed. Received: {twice} twice. Remove one."
            )

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self.frames)

    @property
    def groups(self) -> Array:
        """`(frames,)` the flight, video or folder of each frame."""
        return np.array([frame.group for frame in self.frames])

    @property
    def people(self) -> frozenset[str]:
        """The classes that are people (W-11)."""
        return frozenset(name for name in self.classes if _is_of(name, PEOPLE))

    @property
    def vehicles(self) -> frozenset[str]:
        """The classes that are vehicles."""
        return frozenset(name for name in self.classes if _is_of(name, VEHICLES))

    @property
    def simulated(self) -> bool:
        """Whether a computer drew all of them."""
        return bool(self.frames) and all(frame.simulated for frame in self.frames)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256, in hexadecimal, of classes, every frame's name, marks and file's size."""
        total = hashlib.sha256(repr((self.kind, self.classes, self.radius_px)).encode())
        for frame in self.frames:
            length = frame.path.stat().st_size if frame.path.exists() else -1
            total.update(repr((frame.name, frame.group, frame.size, length)).encode())
            for array in (frame.boxes, frame.labels, frame.tracks, frame.ignored):
                total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def take(self, indices: Iterable[int]) -> tuple[Frame, ...]:
        """The frames at these indices, in that order."""
        return tuple(self.frames[index] for index in indices)

    def divided(self, *, fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0) -> Split:
        """Every group on one side (W-1), the classes and empty frames in equal shares.

        The published split is kept where there is one; what it has not of validation is cut from
        its training groups. Frames that it doesn't name are left out.

        Args:
            fractions: of train, val and test.
            seed: of the cut.

        Raises:
            DataError: if there are too few groups, or the published split tears one apart.
        """
        try:
            if self.split is None or "train" not in self.split.values():
                return by_group(self.groups, fractions, seed, labels=self._contents())
            return self._published(self.split, fractions, seed)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from error

    def _contents(self) -> Array:
        """`(frames, classes + 1)` how many of each class there are, and whether none is."""
        counts = np.zeros((len(self.frames), len(self.classes) + 1), np.int64)
        for row, frame in zip(counts, self.frames, strict=True):
            np.add.at(row, frame.labels, 1)
            row[-1] = not len(frame.labels)
        return counts

    def _published(
        self, split: Mapping[str, Side], fractions: tuple[float, float, float], seed: int
    ) -> Split:
        sides = np.array([split.get(frame.name, "") for frame in self.frames])
        train, val, test = (np.flatnonzero(sides == side) for side in ("train", "val", "test"))
        published = Split(train, val, test, groups=self.groups)  # which refuses a torn group
        if len(val) and not len(test):
            val, test = test, val  # what is published to be scored on is scored on
        if not len(test):
            return by_group(self.groups, fractions, seed, labels=self._contents())
        if len(val):
            published = Split(train, val, test, groups=self.groups)
        else:
            both = fractions[0] + fractions[1]
            parts = (fractions[0] / both, fractions[1] / both, 0.0)
            cut = by_group(self.groups[train], parts, seed, labels=self._contents()[train])
            published = Split(train[cut.train], train[cut.val], test, groups=self.groups)
        return published


def load(
    path: str | os.PathLike[str],
    *,
    kind: Kind | None = None,
    radius_px: float = 16.0,
    one_based: bool | None = None,
) -> AnimalSet:
    """The annotated pictures of a folder or a file of annotations, by the layout found there.

    Args:
        path: BIRDSAI's folder or one of its parts; MOTChallenge's; a YOLO data.yaml or its folder;
            COCO's JSON or its folder; a folder of Pascal VOC's XML; a CSV of boxes or points.
        kind: the layout; None recognises it.
        radius_px: half the side of the boxes that stand for points.
        one_based: whether the first pixel is 1, in VOC's and MOT's; None goes by the layout, and
            VOC's by the smallest coordinate.

    Raises:
        DatasetNotFoundError: if there is nothing that it knows.
        DataError: if what is there is damaged, or nothing of it can be used.
    """
    # Here, for they make the types above.
    from fieldsight.datasets import birdsai, box_csv, coco, mot, point_csv, voc, yolo

    root = Path(path).expanduser()
    if not root.exists():
        raise DatasetNotFoundError(f"{root}: {_NEEDED}. Received: no such file or folder.")
    found = kind or _recognised(root)
    if found == "birdsai":
        return birdsai.load(root)
    if found == "mot":
        return mot.load(root, one_based=one_based is not False)
    if found == "yolo":
        return yolo.load(root)
    if found == "coco":
        return coco.load(root)
    if found == "voc":
        return voc.load(root, one_based=one_based)
    if found == "box_csv":
        return box_csv.load(root)
    if found == "point_csv":
        return point_csv.load(root, radius_px=radius_px)
    raise DatasetNotFoundError(
        f"{root}: {_NEEDED}. Received: none of them{_tables_said(root)}. "
        "`fieldsight wildlife simulate --out DIR` writes such a folder."
    )


_NEEDED = (
    "annotated pictures were needed: BIRDSAI's TrainReal and TestReal, MOTChallenge's sequences, "
    "YOLO's data.yaml, COCO's JSON, Pascal VOC's XML, a CSV of boxes "
    "(image_path,xmin,ymin,xmax,ymax,label) or of points (images,x,y,labels)"
)


def _recognised(path: Path) -> Kind | None:
    """The layout of a folder or file; of several in one folder, the one that says most."""
    from fieldsight.datasets import birdsai, box_csv, coco, mot, point_csv, voc, yolo

    if path.is_dir():
        layouts: tuple[tuple[Kind, Callable[[Path], bool]], ...] = (
            ("birdsai", birdsai.is_here), ("mot", mot.is_here), ("coco", coco.is_here),
            ("yolo", yolo.is_here), ("voc", voc.is_here), ("box_csv", box_csv.is_here),
            ("point_csv", point_csv.is_here),
        )  # fmt: skip
        return next((kind for kind, is_here in layouts if is_here(path)), None)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return "box_csv" if box_csv.fits(path) else "point_csv" if point_csv.fits(path) else None
    by_suffix: dict[str, Kind] = {".json": "coco", ".xml": "voc", ".yaml": "yolo", ".yml": "yolo"}
    return by_suffix.get(suffix)


def _tables_said(root: Path) -> str:
    """What is wrong with a CSV file that lies there: its encoding, or the columns it lacks."""
    from fieldsight.datasets import _picture_tables, _tables, box_csv, point_csv

    tables = sorted(root.glob("*.csv")) if root.is_dir() else [root]
    tables = [path for path in tables if path.suffix.lower() == ".csv"]
    if not tables:
        return ""
    for path in tables:
        trouble = _tables.encoding_trouble(path)
        if trouble:
            return f": {path.name} {trouble}"
    names = _picture_tables.headings(tables[0])
    lacks = [_picture_tables.missing(names, form) for form in (box_csv.FORM, point_csv.FORM)]
    least = min(lacks, key=len)
    lacking, there = ", ".join(least), ",".join(names)[:160]
    return f": {tables[0].name} has no column {lacking}, but {there}"


def _is_of(name: str, words: frozenset[str]) -> bool:
    plain = re.sub(r"[\s_-]+", " ", name.strip().lower())
    return plain in words or plain.removesuffix("s") in words
