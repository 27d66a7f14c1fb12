"""Data Science Bowl 2017: a DICOM folder a patient, and whether cancer was found within a year.

`stage1/PATIENT/*.dcm` beside `stage1_labels.csv` with the columns id,cancer; `stage1_solution.csv`
and `stage2` in the same form where they are there. Kaggle no longer gives the scans out.
"""

import os
from pathlib import Path

from fieldsight.datasets import _series, _tables
from fieldsight.datasets.errors import DatasetNotFoundError
from fieldsight.datasets.nodules import Scan, ScanSet

NAME = "bowl"
SOURCE = "Kaggle, Data Science Bowl 2017; scans of the National Cancer Institute"
LICENCE = "the competition's rules"
LABELS = ("stage1_labels.csv", "stage1_solution.csv", "stage2_solution.csv")
FOLDERS = ("stage1", "stage2", ".")


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / LABELS[0]).is_file()


def load(folder: str | os.PathLike[str]) -> ScanSet:
    """The patients that have a label, one scan each; nobody marked their nodules.

    A patient without a label is left out, which the notes say; one with a label but without a
    scan is a failure.

    Args:
        folder: holds the table and the patients' folders, or `stage1` with them.

    Raises:
        DatasetNotFoundError: if there is no table, or no patient's folder.
        DataError: if the table is damaged, or a patient has two labels.
    """
    root = Path(folder).expanduser()
    labels = _labels(root)
    places = {
        path.name: path
        for part in reversed(FOLDERS)
        for path in sorted((root / part).glob("*/"))
        if path.is_dir() and path.name not in FOLDERS
    }
    scans, failures = [], {}
    for patient, cancer in sorted(labels.items()):
        found = _series.folder(places[patient]) if patient in places else None
        if found is None:
            failures[patient] = (
                f"{patient}: a folder with its DICOM files was needed. Received: "
                f"{'no such folder' if patient not in places else 'none that can be read'}."
            )
            continue
        scans.append(
            Scan(
                name=patient, group=patient, series_uid=found.series_uid, nodules=(),
                excluded=(), cancer=cancer, fold=None, paths=(found.path,), marked=False,
                read=_series.reader(found.path, found.series_uid),
            )
        )  # fmt: skip
    if not scans:
        raise DatasetNotFoundError(
            f"{root}: a folder of DICOM files a patient was needed, in stage1 or beside the "
            f"table. Received: none of the {len(labels)} that have a label."
        )
    without = len(set(places) - set(labels))
    notes = (f"{without} folders have no label and are left out",) if without else ()
    return ScanSet(tuple(scans), NAME, failures=failures, notes=notes)


def _labels(root: Path) -> dict[str, int]:
    if not (root / LABELS[0]).is_file():
        raise DatasetNotFoundError(
            f"{root / LABELS[0]}: the table id,cancer was needed. Received: no such file. Copy it "
            "beside the patients' folders."
        )
    labels: dict[str, int] = {}
    for path in (root / name for name in LABELS):
        for row in _tables.read(path, ("id", "cancer")) if path.is_file() else ():
            cancer = int(row.chosen("cancer", ("0", "1")) or "-1")
            if cancer < 0:
                raise row.error("cancer must be 0 or 1. Received: an empty cell")
            if labels.setdefault(row.text("id"), cancer) != cancer:
                raise row.error("one label a patient was needed. Received: two that differ")
    return labels
