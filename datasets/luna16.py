"""LUNA16: 888 scans of LIDC-IDRI as MetaImage, with nodules that three of four readers saw.

A folder as it is published and unpacked: `subset0` to `subset9` with a `.mhd` and a `.raw` a
scan, `annotations.csv` and `annotations_excluded.csv`. The subsets are the ten folds.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from fieldsight.datasets import _annotations, _series, _tables
from fieldsight.datasets.errors import DatasetNotFoundError
from fieldsight.datasets.nodules import Nodule, Scan, ScanSet

NAME = "luna16"
SOURCE = "Setio et al., LUNA16, 2016, luna16.grand-challenge.org; LIDC-IDRI"
LICENCE = "CC BY 4.0"
SUBSETS = tuple(f"subset{number}" for number in range(10))
ANNOTATIONS, EXCLUDED = "annotations.csv", "annotations_excluded.csv"
MALIGNANCY = "annotations_with_malignancy.csv"  # by others, of the same nodules
PATIENTS = "patients.csv"


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return any((folder / subset).is_dir() for subset in SUBSETS)


def load(folder: str | os.PathLike[str]) -> ScanSet:
    """The scans of the subsets that are there.

    A scan without a row is a negative: readers looked at all. A row without its scan is of a
    subset that isn't there, which the notes say. A header whose voxels are missing is a failure.
    Where `annotations_with_malignancy.csv` lies beside, nodules have the median of its readers'
    grades. LUNA16 doesn't say which scans are of one patient; a `patients.csv` with the columns
    patient,seriesuid does, else each counts as a patient.

    Args:
        folder: holds the subsets and the tables.

    Raises:
        DatasetNotFoundError: if there are no scans or no annotations.
        DataError: if a table is damaged.
    """
    root = Path(folder).expanduser()
    notes: list[str] = []
    table = _found(root, ANNOTATIONS)
    if table is None:
        raise DatasetNotFoundError(
            f"{root / ANNOTATIONS}: LUNA16's table of nodules was needed. Received: no such file. "
            "Copy annotations.csv and annotations_excluded.csv beside the subsets."
        )
    nodules = _graded(_annotations.read(table, notes), _found(root, MALIGNANCY))
    excluded: Mapping[str, Sequence[Nodule]] = {}
    if (other := _found(root, EXCLUDED)) is not None:
        excluded = _annotations.read(other, notes, unknown_diameters=True)
    else:
        notes.append(
            f"{EXCLUDED} isn't there: marks on what only some readers saw count as wrong, and no "
            "figure can stand beside a published one"
        )
    patients = _annotations.patients(root / PATIENTS)
    scans, failures = [], {}
    for number, header in _headers(root):
        uid = header.stem
        voxels = _voxels(header)
        if voxels is None:
            failures[uid] = (
                f"{header.name}: its voxels were needed beside it. Received: no {uid}.raw. "
                "Unpack its subset again."
            )
            continue
        scans.append(
            Scan(
                name=uid, group=patients.get(uid, uid), series_uid=uid,
                nodules=tuple(nodules.get(uid, ())), excluded=tuple(excluded.get(uid, ())),
                cancer=None, fold=number, read=_series.reader(header),
                paths=(header,) if voxels == header else (header, voxels),
            )
        )  # fmt: skip
    if not scans:
        raise DatasetNotFoundError(
            f"{root}: .mhd and .raw files in subset0 to subset9 were needed. Received: "
            f"{len(failures)} that can't be used. Unpack the subsets into this folder."
        )
    notes += _missing(root, nodules, {scan.series_uid for scan in scans} | set(failures))
    return ScanSet(tuple(scans), NAME, failures=failures, notes=tuple(notes))


def _found(root: Path, name: str) -> Path | None:
    """A table beside the subsets, or in the folder of the evaluation script."""
    places = (root, root / "CSVFILES", root / "evaluationScript" / "annotations")
    return next((place / name for place in places if (place / name).is_file()), None)


def _headers(root: Path) -> list[tuple[int, Path]]:
    """Each scan's header with its fold. Some archives hold a second folder of their own name."""
    found = [
        (number, header)
        for number, subset in enumerate(SUBSETS)
        for header in sorted((root / subset).rglob("*.mhd"))
    ]
    return sorted(found, key=lambda each: each[1].stem)


def _voxels(header: Path) -> Path | None:
    for ending in (".raw", ".zraw"):
        if (voxels := header.with_suffix(ending)).is_file():
            return voxels
    # A MetaImage may hold its voxels itself.
    local = b"ElementDataFile = LOCAL" in header.read_bytes()[:10_000]
    return header if local else None


def _missing(root: Path, nodules: Mapping[str, Sequence[Nodule]], there: set[str]) -> list[str]:
    notes = []
    absent = [subset for subset in SUBSETS if not (root / subset).is_dir()]
    if absent:
        notes.append(f"{len(absent)} of 10 subsets aren't there: {', '.join(absent)}")
    without = [uid for uid in nodules if uid not in there]
    if without:
        count = sum(len(nodules[uid]) for uid in without)
        notes.append(f"{len(without)} annotated scans with {count} nodules aren't there")
    return notes


def _graded(
    nodules: Mapping[str, Sequence[Nodule]], path: Path | None
) -> Mapping[str, Sequence[Nodule]]:
    if path is None:
        return nodules
    columns = (*_annotations.COLUMNS, "mal_details")
    grades: dict[tuple[str, tuple[float, ...]], list[int]] = {}
    for row in _tables.read(path, columns):
        text = row.text("mal_details")
        try:
            readers = [int(grade) for grade in text.strip("[]").split(",")]
        except ValueError as error:
            raise row.error(f"mal_details must be a list of grades. Received: {text[:40]!r}") from (
                error
            )
        if not all(1 <= grade <= 5 for grade in readers):
            raise row.error(f"grades of malignancy lie within 1 and 5. Received: {text[:40]}")
        key = tuple(round(row.number(name), 3) for name in _annotations.COLUMNS[1:4])
        grades[row.text("seriesuid"), key] = readers
    return {
        uid: [_with_grade(nodule, grades.get((uid, _rounded(nodule)))) for nodule in members]
        for uid, members in nodules.items()
    }


def _rounded(nodule: Nodule) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in nodule.centre_mm)


def _with_grade(nodule: Nodule, grades: list[int] | None) -> Nodule:
    if not grades:
        return nodule
    return Nodule(
        nodule.centre_mm, nodule.diameter_mm, nodule.kind, nodule.place, float(median(grades)),
        len(grades),
    )  # fmt: skip
