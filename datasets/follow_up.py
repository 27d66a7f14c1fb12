"""Scans with what became of the patients, as screening trials such as NLST have it.

`outcomes.csv` with the columns patient,outcome,date beside a folder a patient, whose name is the
patient's in the table; in it are one series or several, each in a folder of its own:

    outcomes.csv              patient,outcome,date
    100012/2000-01-02/*.dcm   100012,1,2000-11-30
    100012/2001-01-05/*.dcm   100018,0,2005-06-30
    100018/scan/*.dcm

outcome is 1 where cancer was found, by pathology or its like, on that date (of the form
2000-11-30); 0 where none had been found up to that date, on which the patient was last seen. A
scan is positive if the cancer was found within a year of it, as in the Data Science Bowl;
negative if the patient was followed for that year without one; else its label isn't known. An
empty date leaves the outcome as it is, whatever the scan's.
"""

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

from fieldsight.datasets import _series, _tables
from fieldsight.datasets.errors import DatasetNotFoundError
from fieldsight.datasets.nodules import Scan, ScanSet

NAME = "follow_up"
OUTCOMES = "outcomes.csv"
HORIZON_DAYS = 365


@dataclass(frozen=True)
class Outcome:
    """What became of a patient.

    Args:
        cancer: 1 if it was found, else 0.
        date: when it was found, or when the patient was last seen; None if that isn't told.
    """

    cancer: int
    date: dt.date | None

    def of_scan(self, date: dt.date | None, horizon_days: int = HORIZON_DAYS) -> int | None:
        """The label of a scan of that date; None where nobody knows.

        Example:
            >>> found = Outcome(1, dt.date(2001, 6, 1))
            >>> found.of_scan(dt.date(2001, 1, 1)), found.of_scan(dt.date(1999, 1, 1))
            (1, 0)
        """
        if self.date is None:
            return self.cancer
        if date is None:
            return None
        days = (self.date - date).days
        if days < 0:  # a scan after the end tells of another time
            return None
        if self.cancer:
            return int(days <= horizon_days)
        return 0 if days >= horizon_days else None


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / OUTCOMES).is_file()


def load(folder: str | os.PathLike[str], *, horizon_days: int = HORIZON_DAYS) -> ScanSet:
    """The series of the patients that have an outcome; nobody marked their nodules.

    Args:
        folder: holds outcomes.csv and a folder a patient.
        horizon_days: within which cancer must have been found for a scan to be positive.

    Raises:
        DatasetNotFoundError: if there is no table or no series.
        DataError: if the table is damaged, or a patient stands in it twice.
    """
    root = Path(folder).expanduser()
    outcomes = _outcomes(root / OUTCOMES)
    scans, failures = [], {}
    for patient, outcome in sorted(outcomes.items()):
        series = list(_series.folders(root / patient)) if (root / patient).is_dir() else []
        if not series:
            failures[patient] = (
                f"{patient}: a folder of that name with CT series was needed. Received: "
                f"{'one without any' if (root / patient).is_dir() else 'no such folder'}."
            )
        scans += [
            Scan(
                name=str(each.path.relative_to(root)), group=patient, series_uid=each.series_uid,
                nodules=(), excluded=(), fold=None, paths=(each.path,), marked=False,
                cancer=outcome.of_scan(_study_date(each), horizon_days),
                read=_series.reader(each.path, each.series_uid),
            )
            for each in series
        ]  # fmt: skip
    if not scans:
        raise DatasetNotFoundError(
            f"{root}: a folder with CT series a patient was needed. Received: none for the "
            f"{len(outcomes)} patients of {OUTCOMES}."
        )
    unknown = sum(scan.cancer is None for scan in scans)
    notes = []
    if unknown:
        notes.append(
            f"{unknown} of {len(scans)} scans have no label: not followed for {horizon_days} "
            "days, after the diagnosis, or without a date"
        )
    return ScanSet(tuple(scans), NAME, failures=failures, notes=tuple(notes))


def _outcomes(path: Path) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for row in _tables.read(path, ("patient", "outcome", "date")):
        patient, said = row.text("patient"), row.chosen("outcome", ("0", "1"))
        if not said:
            raise row.error("outcome must be 0 or 1. Received: an empty cell")
        if patient in outcomes:
            raise row.error("each patient once was needed. Received: one for the second time")
        if Path(patient).name != patient or patient in (".", ".."):
            raise row.error(f"a folder's name was needed. Received: {patient[:40]!r}")
        outcomes[patient] = Outcome(int(said), _date(row))
    return outcomes


def _date(row: _tables.Row) -> dt.date | None:
    text = row.text("date", "")
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError as error:
        raise row.error(
            f"a date of the form 2000-11-30 was needed. Received: {text[:40]!r}"
        ) from error


def _study_date(series: _series.Folder) -> dt.date | None:
    text = str(series.header.get("StudyDate", "") or "")
    try:
        return dt.datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None
