"""LIDC-IDRI: 1,018 scans of 1,010 patients as DICOM, outlined and graded by four readers each.

A folder as TCIA gives it: `LIDC-IDRI-0001/STUDY/SERIES/*.dcm`, with the readers' XML beside the
slices or in a folder of its own (`LIDC-XML-only`).
"""

import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pydicom

from fieldsight.datasets import _lidc_readings, _series
from fieldsight.datasets._lidc_readings import Reading, Readings
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.nodules import UNKNOWN_DIAMETER_MM, Nodule, Scan, ScanSet
from fieldsight.datasets.sample import Array
from fieldsight.datasets.volume import Volume

NAME = "lidc"
SOURCE = (
    "Armato et al., LIDC-IDRI, The Cancer Imaging Archive, 2015, doi 10.7937/K9/TCIA.2015.LO9QL9SX"
)
LICENCE = "CC BY 3.0"
READERS = 4
AT_LEAST = 3  # of them, as LUNA16 counts
ROW, COLUMN = 20000, 40000  # by which a voxel's number is made; beyond any picture's sides


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return any(folder.glob("LIDC-IDRI-*")) or any(folder.glob("LIDC-IDRI/LIDC-IDRI-*"))


def load(folder: str | os.PathLike[str], *, at_least: int = AT_LEAST) -> ScanSet:
    """The CT scans that have readers' marks.

    Readers' outlines of one nodule are put together by what they share. Of `at_least` readers
    or more it is a nodule: its centre and diameter (of a ball of its volume) are the means of
    theirs, its malignancy the median of their grades, of which 3 is indeterminate, its kind by
    the median of their texture. What fewer outlined, what they marked by a point as below 3 mm,
    and what they took for no nodule is excluded: neither right nor wrong.

    Args:
        folder: holds the patients' folders, or `LIDC-IDRI` with them, and the XML.
        at_least: readers out of four.

    Raises:
        DatasetNotFoundError: if there are no CT series or no readers' XML.
        ValueError: if `at_least` isn't between 1 and 4.
    """
    if not 1 <= at_least <= READERS:
        raise ValueError(f"1 to {READERS} readers are needed. Received: {at_least}.")
    root = Path(folder).expanduser()
    failures: dict[str, str] = {}
    notes: list[str] = []
    readings = _readings(root, failures, notes)
    if not readings:
        raise DatasetNotFoundError(
            f"{root}: the readers' XML was needed beside the DICOM folders. Received: none that "
            "can be used. Download LIDC-XML-only and unpack it here."
        )
    scans = []
    for series in _series.folders(root):
        name = str(series.path.relative_to(root))
        marks = readings.pop(series.series_uid, None)
        if marks is None:
            failures[name] = f"{name}: its readers' XML was needed. Received: no file of its UID."
            continue
        try:
            scans.append(_scan(series, name, marks, at_least))
        except DataError as error:
            failures[name] = str(error)
    if not scans:
        raise DatasetNotFoundError(
            f"{root}: CT series with their readers' XML were needed. Received: none that can be "
            f"used of {len(failures)}. Unpack the DICOM folders here."
        )
    if readings:
        notes.append(f"{len(readings)} XML files are of scans that aren't there")
    return ScanSet(tuple(scans), NAME, failures=failures, notes=tuple(notes))


def _readings(root: Path, failures: dict[str, str], notes: list[str]) -> dict[str, Readings]:
    found: dict[str, tuple[Readings, bytes]] = {}
    for path in sorted(root.rglob("*.xml")):
        try:
            marks = _lidc_readings.read(path)
        except DataError as error:
            failures[str(path.relative_to(root))] = str(error)
            continue
        if marks is None:
            continue
        content = path.read_bytes()
        first = found.setdefault(marks.series_uid, (marks, content))
        if first[1] != content:
            notes.append(f"{path.name}: a second XML of one series, which differs, is left out")
    return {uid: marks for uid, (marks, _) in found.items()}


@dataclass(frozen=True, eq=False)
class _Grid:
    """From rows, columns and millimetres of the XML to the patient's coordinates."""

    origin: Array  # x, y
    along: Array  # (2, 2) x, y of a step by a row, by a column
    step_mm: float

    @property
    def voxel_mm3(self) -> float:
        return float(abs(np.linalg.det(self.along))) * self.step_mm

    def world(self, pixels: Array, z_mm: Array) -> Array:
        """`(n, 3)` LPS mm of `(n, 2)` rows and columns and `(n,)` mm."""
        return np.column_stack([self.origin + pixels @ self.along, z_mm])


def _scan(series: _series.Folder, name: str, marks: Readings, at_least: int) -> Scan:
    grid = _grid(series, marks, name)
    outlined, excluded = [], []
    for reading in marks.nodules:
        pixels, z_mm = reading.voxels()
        if len(pixels):
            outlined.append(_outlined(reading, pixels, z_mm, grid))
        else:
            row, column, z = reading.middle()
            excluded.append(_point(grid, row, column, z))
    excluded += [_point(grid, *other) for other in marks.others.tolist()]
    groups = _lidc_readings.clusters(
        [each.numbers for each in outlined],
        np.array([each.centre for each in outlined]).reshape(-1, 3),
        np.array([each.diameter_mm / 2 for each in outlined]),
        [each.reading.reader for each in outlined],
    )
    members = [[outlined[index] for index in group] for group in groups]
    kept = [group for group in members if len(group) >= at_least]
    read = _Once(_series.reader(series.path, series.series_uid))
    return Scan(
        name=name,
        group=str(series.header.get("PatientID", "") or series.series_uid),
        series_uid=series.series_uid,
        nodules=tuple(_nodule(group) for group in kept),
        excluded=(*(_nodule(group) for group in members if len(group) < at_least), *excluded),
        cancer=None, fold=None, read=read, paths=(series.path,),
        read_masks=lambda: _masks(read(), kept),
    )  # fmt: skip


def _grid(series: _series.Folder, marks: Readings, name: str) -> _Grid:
    header = series.header
    try:
        position = np.array(header.ImagePositionPatient, float)
        cosines = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = (float(value) for value in header.PixelSpacing)
    except _series.DAMAGE as error:
        raise DataError(
            f"{name}: position, orientation and pixel spacing were needed in its headers. "
            f"Received: {error}."
        ) from error
    # imageZposition says where a plane lies only if planes are axial.
    if np.abs(cosines[:, 2]).max() > 1e-3:
        raise DataError(
            f"{name}: axial slices were needed, since the XML names planes by z. Received: an "
            f"orientation of {cosines.ravel().tolist()}."
        )
    along = np.stack([cosines[1, :2] * between_rows, cosines[0, :2] * between_columns])
    # Whoever outlines a nodule does so in neighbouring planes.
    planes = marks.planes_mm
    steps = np.diff(planes if len(planes) > 1 else _positions(series.path))
    steps = steps[steps > 0.01]
    return _Grid(position[:2], along, float(steps.min()) if len(steps) else 1.0)


def _positions(folder: Path) -> Array:
    """The z of all slices in a folder, rising."""
    found = set()
    for file in folder.iterdir():
        try:
            header = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=["ImagePositionPatient"]
            )
            found.add(round(float(header.ImagePositionPatient[2]), 3))
        except _series.DAMAGE:
            continue
    return np.array(sorted(found))


@dataclass(frozen=True, eq=False)
class _Outlined:
    """A reader's nodule in the patient's coordinates."""

    reading: Reading
    points_mm: Array
    centre: Array
    diameter_mm: float
    numbers: Array


def _outlined(reading: Reading, pixels: Array, z_mm: Array, grid: _Grid) -> _Outlined:
    points_mm = grid.world(pixels, z_mm)
    numbers = (np.rint(z_mm / 0.01).astype(np.int64) * ROW + pixels[:, 0]) * COLUMN + pixels[:, 1]
    volume = len(points_mm) * grid.voxel_mm3
    return _Outlined(
        reading, points_mm, points_mm.mean(axis=0), float(np.cbrt(6 * volume / np.pi)), numbers
    )


def _point(grid: _Grid, row: float, column: float, z_mm: float) -> Nodule:
    x, y, z = grid.world(np.array([[row, column]]), np.array([z_mm]))[0].tolist()
    return Nodule((x, y, z), UNKNOWN_DIAMETER_MM)


def _nodule(group: Sequence[_Outlined]) -> Nodule:
    x, y, z = np.mean([each.centre for each in group], axis=0).tolist()
    grades = [each.reading.grades for each in group]
    malignancy = [said["malignancy"] for said in grades if "malignancy" in said]
    texture = [said["texture"] for said in grades if "texture" in said]
    return Nodule(
        (x, y, z),
        float(np.mean([each.diameter_mm for each in group])),
        _kind(median(texture)) if texture else "",
        "",
        float(median(malignancy)) if malignancy else None,
        len(group),
    )


def _kind(texture: float) -> str:
    """By LIDC's scale: 1 non-solid, 3 part-solid, 5 solid."""
    if texture <= 2:
        return "ground-glass"
    return "part-solid" if texture < 4 else "solid"


class _Once:
    """Reads a volume, and gives it again while somebody still holds it."""

    def __init__(self, read: Callable[[], Volume]) -> None:
        self._read = read
        self._last: weakref.ref[Volume] | None = None

    def __call__(self) -> Volume:
        volume = self._last() if self._last is not None else None
        if volume is None:
            volume = self._read()
            self._last = weakref.ref(volume)
        return volume


def _masks(volume: Volume, nodules: Sequence[Sequence[_Outlined]]) -> Array:
    """What at least half of a nodule's readers outlined, on the volume's grid."""
    labels = np.zeros(volume.shape, np.uint8)
    for number, group in enumerate(nodules, 1):
        votes = np.concatenate([_indices(volume, each.points_mm) for each in group])
        places, counts = np.unique(votes, axis=0, return_counts=True)
        plane, row, column = places[2 * counts >= len(group)].T
        labels[plane, row, column] = number
    return labels


def _indices(volume: Volume, points_mm: Array) -> Array:
    """`(n, 3)` the voxels of points, each once; those beyond the volume left out."""
    indices = np.unique(np.rint(volume.to_index(points_mm)).astype(np.int64), axis=0)
    inside = np.all((indices >= 0) & (indices < np.array(volume.shape)), axis=1)
    return np.asarray(indices[inside])
