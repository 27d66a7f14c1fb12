"""Planet's chips of the Amazon as Kaggle's competition of 2017 lays them out (D-1, D-3, D-8).

    train_v2.csv  train-tif-v2/train_0.tif ...  train-jpg/train_0.jpg ...

    chips = planet.load("planet")
    chips.read([0, 1])     # (2, 256, 256, 4) uint16: blue, green, red, near infrared

A TIFF holds digital numbers, a JPEG a picture that was stretched to be looked at: a model of the
one isn't one of the other. A chips.csv with the columns image_name and scene, where there is one,
tells which chips are neighbours; the competition's own data don't.
"""

import csv
import difflib
import hashlib
import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets import _chip_files, _tables
from fieldsight.datasets._chip_files import ENDINGS, SIDE, Product, unpack
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.sample import Array

__all__ = [
    "BANDS", "SIDE", "SOURCE", "TAGS", "WEATHER", "ChipSet", "Product", "find", "load", "unpack",
    "write_submission",
]  # fmt: skip

SOURCE = "https://www.kaggle.com/c/planet-understanding-the-amazon-from-space"
# In order of frequency among the 40,479 chips of train_v2.csv; the spelling is the competition's.
TAGS = (
    "primary", "clear", "agriculture", "road", "water", "partly_cloudy", "cultivation",
    "habitation", "haze", "cloudy", "bare_ground", "selective_logging", "artisinal_mine",
    "blooming", "slash_burn", "conventional_mine", "blow_down",
)  # fmt: skip
WEATHER = ("clear", "partly_cloudy", "haze", "cloudy")
BANDS = {"tif": ("blue", "green", "red", "nir"), "jpg": ("red", "green", "blue")}

_TABLES = ("train_v2.csv", "train_v2.csv.zip", "train.csv", "train_classes.csv")
_FOLDERS = {"tif": ("train-tif-v2", "train-tif"), "jpg": ("train-jpg",)}
_SIMULATED = "SIMULATED.json"
LARGEST_TABLE = 2**26  # bytes of a table that is unpacked
_HASHED = 64  # chips whose contents go into the fingerprint


@dataclass(frozen=True, eq=False)
class ChipSet:
    """Chips that were found and whose headers are sound; pixels are read when asked for.

    Attributes:
        names: such as "train_0", in the order of the file of tags or of names.
        tags: `(n, 17)` uint8, 1 where the tag is set; `(0, 17)` where there are no labels.
        groups: `(n,)` str: chips of one group lie on one side of a split (D-7).
        product: "tif" (uint16) or "jpg" (uint8): different products (D-3).
        bands: names, in the order of the last axis.
        simulated: whether they were simulated.
        fingerprint: sha256 of names, tags, sizes and some of the contents.
        failures: why chips and rows were left out, by name.
        notes: what is to be known about all of them, a sentence each.
        paths: the files.
    """

    names: tuple[str, ...]
    tags: Array
    groups: Array
    product: Product
    bands: tuple[str, ...]
    simulated: bool
    fingerprint: str
    failures: Mapping[str, str]
    notes: tuple[str, ...] = ()
    paths: tuple[Path, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the files' pixels."""
        return np.dtype(np.uint16 if self.product == "tif" else np.uint8)

    def read(self, indices: Sequence[int] | Array) -> Array:
        """`(n, 256, 256, bands)` in the files' own dtype.

        Raises:
            DataError: if one can't be read, though its header was sound.
        """
        pixels = np.empty((len(indices), SIDE, SIDE, len(self.bands)), self.dtype)
        for place, index in enumerate(indices):
            pixels[place] = _chip_files.read(self.paths[int(index)], self.product)
        return pixels


def load(folder: str | Path, product: Product | None = None) -> ChipSet:
    """The labelled chips of a folder.

    Args:
        folder: has train_v2.csv (or its .zip, or train.csv), and train-tif-v2 or train-jpg.
        product: which of both; None takes TIFFs where they are there.

    Raises:
        DatasetNotFoundError: if there is no such folder or file.
        DataError: if the table can't be read, or no chip has a row.
    """
    root = Path(folder)
    table = _first_there(root, _TABLES, "the table of tags")
    if product is None:
        has_tiffs = any((root / name).is_dir() for name in _FOLDERS["tif"])
        product = "tif" if has_tiffs else "jpg"
    chips = _first_there(root, _FOLDERS[product], "the folder of chips")
    files, failures = _named(_files_in(chips, product))
    rows, mistakes = _rows(table)
    failures |= mistakes
    for name in files.keys() - rows.keys() - failures.keys():
        failures[name] = f"{files[name]}: a row in {table.name} was needed. Received: none."
    for name in rows.keys() - files.keys() - failures.keys():
        failures[name] = f"{chips / name}.{product}: a chip was needed. Received: no such file."
    paths = {name: files[name] for name in rows if name in files and name not in failures}
    if not paths:
        told = next(iter(failures.values()), "no row and no chip")
        raise DataError(
            f"{root}: chips with a row in {table.name} were needed. Received: none; for example "
            f"{told} Put the table and its chips together."
        )
    notes = _label_notes([rows[name] for name in paths])
    scenes = _scenes(root)
    if not scenes:
        notes.append(
            "there is no chips.csv, so which chips are neighbours isn't known: a split by chips "
            "is optimistic"
        )
    tags = {name: rows[name] for name in paths}
    return _made(paths, tags, scenes, product, failures, notes, is_marked(root))


def find(paths: Iterable[str | Path], product: Product | None = None) -> ChipSet:
    """Chips without labels: files, and folders with all that lies in them.

    What can't be a chip stands in `failures`; all may.

    Args:
        paths: files and folders.
        product: which is looked for in folders; None takes what is there, if it is one alone.

    Raises:
        DatasetNotFoundError: if a path isn't there, or none holds a file of chips.
        DataError: if there are both products and none was asked for.
    """
    given = [Path(path) for path in paths]
    missing = [path for path in given if not path.exists()]
    if missing:
        raise DatasetNotFoundError(
            f"{missing[0]}: chips were needed, files or a folder. Received: no such path. Check "
            "the name."
        )
    named = [path for path in given if not path.is_dir()]
    inside = [path for folder in given if folder.is_dir() for path in _files_in(folder, None)]
    if product is None:
        product = _product_of([*named, *inside])
    # A file that was named is to be tagged, whatever it is; in a folder others may lie beside.
    wanted = [path for path in inside if ENDINGS[path.suffix.lower()] == product]
    if not named and not wanted:
        raise DatasetNotFoundError(
            f"{', '.join(map(str, given))[:200] or 'no path'}: chips (.{product}) were needed. "
            "Received: none. Name the files or their folder."
        )
    files, failures = _named(
        path for path in (*named, *wanted) if ENDINGS.get(path.suffix.lower(), product) == product
    )
    for path in named:
        if ENDINGS.get(path.suffix.lower(), product) != product:
            failures[path.name] = (
                f"{path}: a {product.upper()} was needed. Received: the other product of a chip. "
                "Tag it with a model of its own product."
            )
    marked = any(is_marked(path) for path in {*given, *(path.parent for path in given)})
    notes = []
    if others := len(inside) - len(wanted):
        notes.append(f"{others} files of the other product lie there too: only .{product} is taken")
    return _made(files, {}, {}, product, failures, notes, marked)


def write_submission(path: str | Path, names: Sequence[str], tags: Array) -> None:
    """Write image_name,tags as the competition takes it; the tags of a chip joined by blanks.

    Args:
        path: of the CSV.
        names: such as "test_0".
        tags: `(n, 17)` True where set.

    Raises:
        ValueError: if there aren't 17 tags a name.
        OSError: if it can't be written.
    """
    chosen = np.asarray(tags).astype(bool)
    if chosen.shape != (len(names), len(TAGS)):
        raise ValueError(
            f"tags of {(len(names), len(TAGS))} were needed. Received: {chosen.shape}."
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_name", "tags"])
    for name, row in zip(names, chosen, strict=True):
        writer.writerow([name, " ".join(tag for tag, on in zip(TAGS, row, strict=True) if on)])
    write_atomically(Path(path), text.getvalue().encode())


def is_marked(folder: Path) -> bool:
    """Whether a simulator says in a folder, or in the one above, that it made it."""
    return any((place / _SIMULATED).is_file() for place in (folder, folder.absolute().parent))


# Files


def _first_there(root: Path, names: Sequence[str], what: str) -> Path:
    found = next((root / name for name in names if (root / name).exists()), None)
    if found is not None:
        return found
    packed = sorted(path.name for path in root.glob("train*.tar*")) if root.is_dir() else []
    hint = f" Unpack {', '.join(packed)[:120]} there." if packed else ""
    raise DatasetNotFoundError(
        f"{root}: {what}, {' or '.join(names)}, was needed. Received: "
        f"{'a folder without it' if root.is_dir() else 'no such folder'}.{hint} The data are "
        f"described at {SOURCE}."
    )


def _files_in(folder: Path, product: Product | None) -> list[Path]:
    found = [
        path
        for path in folder.rglob("*")
        if (kind := ENDINGS.get(path.suffix.lower())) is not None
        and (product is None or kind == product)
        and not path.name.startswith(".")
        and path.is_file()
    ]
    return sorted(found, key=lambda path: _in_numbers(path.stem))


def _in_numbers(name: str) -> tuple[str, int, str]:
    """train_2 before train_10."""
    stem, _, number = name.rpartition("_")
    return (stem, int(number), name) if number.isdecimal() else (name, -1, name)


def _named(paths: Iterable[Path]) -> tuple[dict[str, Path], dict[str, str]]:
    files: dict[str, Path] = {}
    failures: dict[str, str] = {}
    for path in paths:
        if files.setdefault(path.stem, path) is not path:
            failures[f"{path.parent.name}/{path.name}"] = (
                f"{path}: a name of its own was needed. Received: that of {files[path.stem]}. Tag "
                "the two folders apart."
            )
    return files, failures


def _product_of(paths: Sequence[Path]) -> Product:
    counts = Counter(kind for path in paths if (kind := ENDINGS.get(path.suffix.lower())))
    if len(counts) > 1:
        raise DataError(
            "chips of one product were needed: a TIFF and a JPEG of one chip are different. "
            f"Received: {counts['tif']:,} TIFFs and {counts['jpg']:,} JPEGs. Name one folder."
        )
    return next(iter(counts), "tif")


def _made(
    files: Mapping[str, Path],
    tags: Mapping[str, Array],
    scenes: Mapping[str, str],
    product: Product,
    failures: dict[str, str],
    notes: list[str],
    simulated: bool,
) -> ChipSet:
    """Check every header, and put those that are sound together."""
    sound: dict[str, Path] = {}
    for name, path in files.items():
        try:
            simulated |= _chip_files.check(path, product)
            sound[name] = path
        except DataError as error:
            failures[name] = str(error)
    if tags and not sound:
        raise DataError(f"chips that can be read were needed. {next(iter(failures.values()))}")
    table = [tags[name] for name in sound] if tags else []
    together = np.array(table, np.uint8).reshape(len(table), len(TAGS))
    if scenes and (unknown := sum(name not in scenes for name in sound)):
        notes.append(f"chips.csv tells no scene of {unknown:,} chips: each is a group of its own")
    groups = np.array([scenes.get(name, name) for name in sound], dtype=np.str_)
    return ChipSet(
        names=tuple(sound),
        tags=together,
        groups=groups,
        product=product,
        bands=BANDS[product],
        simulated=simulated,
        fingerprint=_fingerprint(sound, together),
        failures=failures,
        notes=tuple(notes),
        paths=tuple(sound.values()),
    )


def _fingerprint(files: Mapping[str, Path], tags: Array) -> str:
    """Of all names, sizes and tags, and of some contents: all of 21 GB would take minutes."""
    total = hashlib.sha256(tags.tobytes())
    step = max(1, len(files) // _HASHED)
    for number, (name, path) in enumerate(files.items()):
        total.update(f"{name} {path.stat().st_size};".encode())
        if number % step == 0:
            total.update(path.read_bytes())
    return total.hexdigest()


# Tables


def _rows(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Tags by name, `(17,)` uint8 each, and what is wrong with other rows."""
    found: dict[str, Array] = {}
    failures: dict[str, str] = {}
    for row in _table(path):
        name = row.text("image_name", "")
        try:
            if not _chip_files.is_plain(name):
                raise row.error(f"a chip's name, as train_0, was needed. Received: {name[:40]!r}")
            tags = _tags(row)
            if name in found and not np.array_equal(found[name], tags):
                raise row.error(f"one row for {name} was needed. Received: another with other tags")
            found[name] = tags
        except DataError as error:
            key = name if _chip_files.is_plain(name) else f"line {row.line}"
            failures[key] = str(error)
    return found, failures


def _tags(row: _tables.Row) -> Array:
    tags = np.zeros(len(TAGS), np.uint8)
    for tag in row.text("tags").split():
        if tag not in TAGS:
            near = difflib.get_close_matches(tag, TAGS, 1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            raise row.error(f"tags of {', '.join(TAGS)} were needed. Received: {tag[:40]!r}{guess}")
        tags[TAGS.index(tag)] = 1
    return tags


def _table(path: Path) -> Iterator[_tables.Row]:
    needed = ("image_name", "tags")
    if path.suffix.lower() != ".zip":
        yield from _tables.read(path, needed)
        return
    inner = path.name[: -len(".zip")]
    with tempfile.TemporaryDirectory(prefix="fieldsight-") as folder:
        try:
            with zipfile.ZipFile(path) as packed:
                # The one member that is the table; where it says that it lies doesn't matter.
                member = next(m for m in packed.infolist() if Path(m.filename).name == inner)
                if member.file_size > LARGEST_TABLE:
                    raise ValueError("more than a table has")
                with packed.open(member) as stream:
                    content = stream.read(LARGEST_TABLE)
        except (StopIteration, OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path}: a zip that holds {inner} was needed. Received: one without it, or a "
                "damaged one. Unpack it."
            ) from error
        plain = Path(folder) / inner
        plain.write_bytes(content)
        yield from _tables.read(plain, needed)


def _scenes(root: Path) -> dict[str, str]:
    path = root / "chips.csv"
    if not path.is_file():
        return {}
    rows = _tables.read(path, ("image_name", "scene"))
    return {row.text("image_name"): row.text("scene") for row in rows}


def _label_notes(rows: Sequence[Array]) -> list[str]:
    """How many labels break the competition's own rules: they are kept, as noise (D-8)."""
    tags = np.array(rows)
    weather = [TAGS.index(tag) for tag in WEATHER]
    cloudy = TAGS.index("cloudy")
    ground = [index for index in range(len(TAGS)) if index not in weather]
    several = int((tags[:, weather].sum(axis=1) != 1).sum())
    seen = int((tags[:, cloudy].astype(bool) & tags[:, ground].any(axis=1)).sum())
    notes = []
    if several:
        notes.append(f"{several:,} chips have not exactly one tag of weather")
    if seen:
        notes.append(f"{seen:,} cloudy chips have tags of the ground")
    return notes
