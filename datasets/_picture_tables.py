"""CSV files with a row a mark, as DeepForest and HerdNet have them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldsight.datasets import _marks, _tables, stills
from fieldsight.datasets._marks import Album, Diary, Mark
from fieldsight.datasets._tables import Row
from fieldsight.datasets.animals import AnimalSet, Kind, Side
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

# What columns are called: the first is ours, the others are other people's.
NAMES: Mapping[str, tuple[str, ...]] = {
    "image_path": ("image_path", "images", "image", "filename", "file_name"),
    "label": ("label", "labels", "class", "species"),
    "xmin": ("xmin", "x_min"), "ymin": ("ymin", "y_min"),
    "xmax": ("xmax", "x_max"), "ymax": ("ymax", "y_max"),
    "x": ("x",), "y": ("y",),
    "group": ("flight", "video", "group"),
    "split": ("split",),
}  # fmt: skip
# keras-retinanet's, which has no heading: RetinaNet's training tables are still passed on so.
BARE = ("image_path", "xmin", "ymin", "xmax", "ymax", "label")
_SIDES: dict[str, Side] = {"train": "train", "val": "val", "test": "test"}


@dataclass(frozen=True)
class Form:
    """A kind of table.

    Args:
        kind: what the layout is called.
        columns: of `NAMES`, that a mark needs beside the picture and the label.
        example: the heading as it is published.
        mark: a row's mark, given the row, the numbers of `columns` and the label; None where the
            row says that its picture is empty.
    """

    kind: Kind
    columns: tuple[str, ...]
    example: str
    mark: Callable[[Row, Sequence[float], str], Mark | None]


def column(headings: Sequence[str], name: str) -> str | None:
    """What a table calls one of `NAMES`; None if it has no such column."""
    return next((alias for alias in NAMES[name] if alias in headings), None)


def headings(path: Path) -> list[str]:
    """What a table calls its columns; `BARE`, where its first line is a row of such a table."""
    first = _tables.headings(path)
    return list(BARE) if _is_bare(first) else first


def _is_bare(first: Sequence[str]) -> bool:
    if len(first) != len(BARE) or not first[0].lower().endswith(stills.SUFFIXES):
        return False
    return all(_tables.is_number(cell) for cell in first[1:5]) or not any(first[1:])


def fits(path: Path, form: Form) -> bool:
    """Whether a CSV file has the columns of a form."""
    return not missing(headings(path), form)


def missing(names: Sequence[str], form: Form) -> list[str]:
    """The columns that a form needs and a table hasn't."""
    return [name for name in ("image_path", *form.columns) if column(names, name) is None]


def files(folder: Path, form: Form) -> tuple[Path, ...]:
    """The tables of a form in a folder, or one folder below it."""
    tables = sorted({*folder.glob("*.csv"), *folder.glob("*/*.csv")})
    return tuple(path for path in tables if fits(path, form))


def load(path: Path, form: Form, *, radius_px: float | None = None) -> AnimalSet:
    """The annotated pictures of a table, or of those in a folder.

    Raises:
        DatasetNotFoundError: if there is no table of this form.
        DataError: if a table is damaged, or none of its pictures can be used.
    """
    root = path if path.is_dir() else path.parent
    tables = files(path, form) if path.is_dir() else (path,)
    if not tables or not all(fits(table, form) for table in tables):
        raise DatasetNotFoundError(
            f"{path}: a CSV file with the columns {form.example} was needed. Received: "
            f"{','.join(_tables.headings(path))[:200] or 'none'}. Give its first line these names."
        )
    diary = Diary()
    marks: dict[Path, list[Mark]] = {}
    groups: dict[str, str] = {}
    sides: dict[str, Side] = {}
    for table in tables:
        album = Album(root, (table.parent, table.parent / "images", root / "images"))
        _read(table, album, form, diary, marks, groups, sides)
    if path.is_dir():
        _marks.tell_others(Album(root), marks, diary)
    headers = _marks.headers(marks, lambda each: each.relative_to(root).as_posix(), diary)
    if not headers:
        raise DataError(
            f"{path}: pictures with rows were needed. Received: none that can be used, such as "
            f"{next(iter(diary.failures.values()), 'no row')}. Put the pictures beside the table."
        )
    names = {picture: picture.relative_to(root).as_posix() for picture in sorted(headers)}
    grouped = _marks.groups(list(names.values()), groups, diary)
    classes = _marks.in_order(mark.label for picture in names for mark in marks[picture])
    simulated = _marks.is_simulated(root)
    frames = tuple(
        _marks.frame(
            name, marks[picture], classes, diary, path=picture, group=grouped[name],
            size=headers[picture].size, points=radius_px is not None,
            simulated=simulated,
        )
        for picture, name in names.items()
    )  # fmt: skip
    used = {name: side for name, side in sides.items() if name in grouped}
    return AnimalSet(
        frames, classes, form.kind, path.name, used or None, diary.failures, diary.sentences(),
        radius_px,
    )  # fmt: skip


def _read(
    table: Path,
    album: Album,
    form: Form,
    diary: Diary,
    marks: dict[Path, list[Mark]],
    groups: dict[str, str],
    sides: dict[str, Side],
) -> None:
    first = _tables.headings(table)
    bare = _is_bare(first)
    names = list(BARE) if bare else first
    called = {name: column(names, name) for name in NAMES}
    needed = [str(called[name]) for name in ("image_path", *form.columns)]
    label_column = called["label"]
    if label_column is None:
        diary.notes.append(f"{table.name}: no column of labels: all of it is called object")
    absent: dict[str, int] = {}
    for row in _tables.read(table, needed, names=BARE if bare else None):
        said = row.text(needed[0], "")
        picture = album.find(said) if said else None
        if picture is None:
            absent[said] = absent.get(said, 0) + 1
            continue
        rows = marks.setdefault(picture, [])
        name = album.name(picture)
        if called["group"] and row.text(called["group"], ""):
            groups[name] = row.text(called["group"])
        side = _SIDES.get(row.cells.get(called["split"] or "", "").lower())
        if side is not None:
            sides[name] = side
        mark = _mark(row, needed[1:], label_column, form, diary)
        if mark is not None:
            rows.append(mark)
    where = table.relative_to(album.root).as_posix()
    for said, count in absent.items():
        diary.fail(f"{where}, {said or 'no name'}", "this picture was needed. Received: no such "
                   f"file, or several of that name, for {count} rows. Put it there.")  # fmt: skip


def _mark(
    row: Row, columns: Sequence[str], label_column: str | None, form: Form, diary: Diary
) -> Mark | None:
    where = f"{row.path.name}, line {row.line}"
    said = [row.cells.get(name, "") for name in columns]
    if not any(said):
        return None  # a picture that somebody looked at, and nothing was in it
    label = "object" if label_column is None else row.cells.get(label_column, "")
    try:
        numbers = [float(cell) for cell in said]
    except ValueError:
        diary.fail(where, f"numbers {','.join(columns)} were needed. Received: "
                   f"{','.join(said)[:80]!r}. Correct the row.")  # fmt: skip
        return None
    mark = form.mark(row, numbers, label)
    if mark is not None and not label:
        diary.fail(where, f"{label_column} was needed. Received: an empty cell. It is neither "
                   "right nor wrong.")  # fmt: skip
    return mark
