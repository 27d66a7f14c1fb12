"""A plain folder of series with a table of nodules, as anybody can make it; and the simulator's.

`annotations.csv` has the columns seriesuid,coordX,coordY,coordZ,diameter_mm: LPS millimetres, a
row a nodule, and where they are known type (solid, part-solid, ground-glass), place (free, wall,
vessel) and malignancy (1 to 5). Beside it lie series of any kind: DICOM in folders, .mhd, .nii.gz;
a file of these is named by its UID. What may lie there too: `annotations_excluded.csv`, of what is
neither right nor wrong; `patients.csv` with patient,seriesuid,cancer; `masks/SERIESUID.npz`, uint8
on the series' grid, in which k marks the nodule of that series' k-th row.

The simulator writes the same, with `SIMULATED.json`, `nodules.csv` and a folder a series.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fieldsight.datasets import _annotations, _series, scans
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.nodules import Nodule, Scan, ScanSet
from fieldsight.datasets.sample import Array
from fieldsight.datasets.volume import Volume

NAME, SIMULATED = "series_csv", "simulated"
MANIFEST = "SIMULATED.json"
ANNOTATIONS, EXCLUDED = "annotations.csv", "annotations_excluded.csv"
PATIENTS, MASKS, NODULES = "patients.csv", "masks", "nodules.csv"
MASK = "labels"  # the array in a mask's file
_DAMAGE = (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class _Series:
    uid: str
    name: str
    patient: str
    paths: tuple[Path, ...]
    read: Callable[[], Volume]


def is_here(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / ANNOTATIONS).is_file()


def is_simulated(folder: Path) -> bool:
    """Whether the simulator wrote this folder."""
    return (folder / MANIFEST).is_file()


def load(folder: str | os.PathLike[str]) -> ScanSet:
    """The series in a folder with their nodules.

    A series without a row is a negative. A row without its series is a failure, under that
    series' UID. A series that can't be used is one too. Patients are told apart by patients.csv,
    else by what the headers say, else each series counts as a patient's.

    Args:
        folder: holds annotations.csv and the series, in any subfolders.

    Raises:
        DatasetNotFoundError: if there is no table or no series.
        DataError: if a table is damaged, or two series have one UID.
    """
    root = Path(folder).expanduser()
    search = scans.search([root])
    failures = {**search.failures, **{each.name: each.refused for each in search.refused}}
    series = [
        _Series(
            each.series_uid, each.name, each.patient, _with_voxels(each.paths),
            partial(scans.read, each),
        )
        for each in search.found
    ]  # fmt: skip
    return _labelled(root, ANNOTATIONS, series, failures, NAME, list(search.notes), {})


def load_simulated(folder: str | os.PathLike[str]) -> ScanSet:
    """Simulated patients, as `fieldsight lung simulate` writes them.

    Args:
        folder: holds SIMULATED.json.

    Raises:
        DatasetNotFoundError: if there is no series.
        DataError: if SIMULATED.json or a table is damaged, or a series that it names is absent.
    """
    root = Path(folder).expanduser()
    path = root / MANIFEST
    try:
        settings = json.loads(path.read_text("utf-8"))
        if not isinstance(settings, dict):
            raise TypeError("not an object")
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: what the simulator was told was needed, as JSON. Received: {error}. "
            "Simulate the patients again."
        ) from error
    series = [
        _Series(each.series_uid, _named(each.path, root), "", (each.path,),
                _series.reader(each.path, each.series_uid))
        for each in _series.folders(root / "dicom")
    ]  # fmt: skip
    return _labelled(root, NODULES, series, {}, SIMULATED, [], settings)


def _named(path: Path, root: Path) -> str:
    """The patient of a simulated series, of whom there is one: in order of their numbers."""
    return path.relative_to(root / "dicom").parts[0]


def _labelled(
    root: Path,
    table: str,
    series: Sequence[_Series],
    failures: dict[str, str],
    name: str,
    notes: list[str],
    settings: Mapping[str, object],
) -> ScanSet:
    nodules = _annotations.read(root / table, notes)
    excluded: Mapping[str, Sequence[Nodule]] = {}
    if (root / EXCLUDED).is_file():
        excluded = _annotations.read(root / EXCLUDED, notes, unknown_diameters=True)
    outcomes = _annotations.outcomes(root / PATIENTS)
    if not series:
        raise DatasetNotFoundError(
            f"{root}: CT series were needed. Received: none that can be used"
            f"{_first(failures)}. Put DICOM folders, .mhd or .nii.gz files beside {table}."
        )
    there = {each.uid for each in series}
    for uid in {**nodules, **outcomes}:
        if uid not in there:
            failures[uid] = (
                f"{table if uid in nodules else PATIENTS}: the series of each row was needed. "
                "Received: rows of one that isn't in the folder. Copy it there, or take them out."
            )
    found = []
    for each in sorted(series, key=lambda one: one.name):
        patient, cancer = outcomes.get(each.uid, (each.patient or each.uid, None))
        members = tuple(nodules.get(each.uid, ()))
        found.append(
            Scan(
                name=each.name, group=patient, series_uid=each.uid, nodules=members,
                excluded=tuple(excluded.get(each.uid, ())), cancer=cancer, fold=None,
                read=each.read, paths=each.paths,
                read_masks=_masks(root / MASKS / f"{each.uid}.npz", len(members)),
            )
        )  # fmt: skip
    return ScanSet(tuple(found), name, name == SIMULATED, failures, tuple(notes), settings)


def _masks(path: Path, count: int) -> Callable[[], Array | None]:
    def read() -> Array | None:
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                labels = np.asarray(archive[MASK if MASK in archive else archive.files[0]])
        except _DAMAGE as error:
            raise DataError(
                f"{path}: an array of labels was needed. Received: {error}. Write it again."
            ) from error
        if labels.ndim != 3 or labels.dtype != np.uint8 or labels.max(initial=0) > count:
            raise DataError(
                f"{path}: (planes, rows, columns) uint8 with labels up to {count}, the number of "
                f"its series' rows, were needed. Received: {labels.shape}, {labels.dtype}, up to "
                f"{labels.max(initial=0)}."
            )
        return labels

    return read


def _with_voxels(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """With the file of voxels of a header that names another, such as a .raw."""
    return tuple(dict.fromkeys(each for path in paths for each in _beside(path)))


def _beside(path: Path) -> Iterator[Path]:
    yield path
    if path.suffix.lower() == ".mhd":
        voxels = (path.with_suffix(ending) for ending in (".raw", ".zraw"))
        yield from (each for each in voxels if each.is_file())


def _first(failures: Mapping[str, str]) -> str:
    return "".join(f" ({name}: {reason})" for name, reason in list(failures.items())[:1])
