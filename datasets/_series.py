"""Where a layout's series lie, and how each is read when it is asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from fieldsight.datasets import scans
from fieldsight.datasets._scan_files import walked
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.volume import Volume

HEADER_TAGS = ["Modality", "SeriesInstanceUID", "PatientID", "StudyDate", "ImagePositionPatient",
               "ImageOrientationPatient", "PixelSpacing"]  # fmt: skip
DAMAGE = (InvalidDicomError, OSError, ValueError, AttributeError, KeyError, TypeError, EOFError,
          NotImplementedError)  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """A folder with one DICOM series, as published sets have them.

    Args:
        path: the folder.
        header: of one of its files, some tags alone.
        files: how many there are.
    """

    path: Path
    header: pydicom.Dataset
    files: int

    @property
    def series_uid(self) -> str:
        """Its SeriesInstanceUID, or nothing."""
        return str(self.header.get("SeriesInstanceUID", "") or "")


def folders(root: Path) -> Iterator[Folder]:
    """Folders that hold a series of CT, in the order of their names.

    One file of each is looked into, not all: published sets have hundreds of thousands.
    """
    for path in sorted({file.parent for file in _files(root)}):
        found = folder(path)
        if found is not None and found.header.get("Modality", "CT") == "CT":
            yield found


def folder(path: Path) -> Folder | None:
    """The series in a folder by the first of its files that is DICOM; None if none is."""
    files = sorted(each for each in path.iterdir() if _may_be_dicom(each))
    for file in files[:20]:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=HEADER_TAGS)
        except DAMAGE:
            continue
        if header.get("SeriesInstanceUID"):
            return Folder(path, header, len(files))
    return None


def reader(path: Path, series_uid: str = "") -> Callable[[], Volume]:
    """A function that reads the series of this path, or the one of this UID in it.

    Args:
        path: a file or a folder.
        series_uid: which series, where there are several; "" for the only one.
    """

    def read() -> Volume:
        found = scans.find([path])
        if series_uid and len(found) > 1:
            found = [each for each in found if each.series_uid == series_uid]
        if len(found) == 1:
            return scans.read(found[0])
        raise DataError(
            f"{path}: one CT series was needed. Received: {len(found)}. Put each series into a "
            "folder of its own."
        )

    return read


def _files(root: Path) -> Iterator[Path]:
    return (file for file in map(Path, walked(str(root), [])) if _may_be_dicom(file))


def _may_be_dicom(path: Path) -> bool:
    return (
        path.suffix.lower() not in (".xml", ".csv", ".txt", ".json", ".npz", ".zip", ".md")
        and not path.name.startswith(".")
        and path.name != "DICOMDIR"
        and path.is_file()
    )
