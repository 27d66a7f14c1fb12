"""Tables of nodules in LUNA16's form, in world coordinates, one row a nodule."""

from collections.abc import Mapping
from pathlib import Path

from fieldsight.datasets import _tables
from fieldsight.datasets.nodules import UNKNOWN_DIAMETER_MM, Nodule

COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
KINDS = ("solid", "part-solid", "ground-glass")
PLACES = ("free", "wall", "vessel")
LARGEST_MM = 300.0  # what is wider is no nodule, but a slip of the decimal point


def read(
    path: Path, notes: list[str], *, unknown_diameters: bool = False
) -> Mapping[str, list[Nodule]]:
    """Nodules by series, in the order of the rows.

    Columns `type`, `place` and `malignancy` are read where they are there.

    Args:
        path: the table.
        notes: rows that stand twice are taken once, and told here.
        unknown_diameters: take a diameter below 0 for 10 mm, as LUNA16's script does.

    Raises:
        DataError: if a cell is empty, no number, or of no nodule; with its line.
    """
    nodules: dict[str, list[Nodule]] = {}
    twice = 0
    for row in _tables.read(path, COLUMNS):
        members = nodules.setdefault(row.text("seriesuid"), [])
        nodule = _nodule(row, unknown_diameters)
        if nodule in members:
            twice += 1
        else:
            members.append(nodule)
    if twice:
        notes.append(f"{path.name}: {twice} rows stand twice and are taken once")
    return nodules


def _nodule(row: _tables.Row, unknown_diameters: bool) -> Nodule:
    x, y, z = (row.number(name) for name in COLUMNS[1:4])
    diameter = row.number(COLUMNS[4])
    if unknown_diameters and diameter < 0:
        diameter = UNKNOWN_DIAMETER_MM
    if not 0 < diameter <= LARGEST_MM:
        raise row.error(
            f"a diameter above 0 and up to {LARGEST_MM:g} mm was needed. Received: {diameter:g}"
        )
    grade = row.number("malignancy") if row.text("malignancy", "") else None
    if grade is not None and not 1 <= grade <= 5:
        raise row.error(f"malignancy must lie within 1 and 5. Received: {grade:g}")
    return Nodule(
        (x, y, z), diameter, row.chosen("type", KINDS), row.chosen("place", PLACES), grade
    )


def patients(path: Path) -> dict[str, str]:
    """The patient of each series, by a table `patient,seriesuid`; none if it isn't there.

    Raises:
        DataError: if one series is of two patients.
    """
    return {uid: patient for uid, (patient, _) in outcomes(path).items()}


def outcomes(path: Path) -> dict[str, tuple[str, int | None]]:
    """The patient of each series and whether it has cancer, by a table `patient,seriesuid,cancer`.

    The last column, and its cells, may be left out. None of it if there is no such file.

    Raises:
        DataError: if one series is of two patients, or cancer is neither 0 nor 1.
    """
    found: dict[str, tuple[str, int | None]] = {}
    for row in _tables.read(path, ("patient", "seriesuid")) if path.is_file() else ():
        cancer = row.chosen("cancer", ("0", "1"))
        said = (row.text("patient"), int(cancer) if cancer else None)
        if found.setdefault(row.text("seriesuid"), said) != said:
            raise row.error("each series once was needed. Received: one with two answers")
    return found
