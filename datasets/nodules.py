"""Scans with what is known of their nodules, whatever layout they were published in."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.sample import Array
from fieldsight.datasets.splits import FRACTIONS, Split, by_fold, by_group
from fieldsight.datasets.volume import Volume

# LUNA16's list of findings that don't count gives most of them a diameter of -1, and its
# evaluation script scores those as 10 mm.
UNKNOWN_DIAMETER_MM = 10.0
INDETERMINATE = 3.0  # LIDC's middle grade of malignancy: neither benign nor suspicious


@dataclass(frozen=True)
class Nodule:
    """A nodule as somebody marked it, in the patient's coordinates.

    Args:
        centre_mm: x, y, z, LPS millimetres.
        diameter_mm: of a ball of its volume.
        kind: "solid", "part-solid" or "ground-glass"; empty where nobody said.
        place: "free", "wall" or "vessel"; empty where nobody said.
        malignancy: readers' median grade, 1 benign to 5 malignant; an opinion, no pathology.
        readers: how many marked it; 0 where that isn't told.

    Raises:
        ValueError: if a number isn't finite, the diameter isn't above 0, or the grade lies
            beyond 1 and 5.

    Example:
        >>> Nodule((1.0, 2.0, 3.0), 6.5, malignancy=4.0).suspicious
        True
    """

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    kind: str = ""
    place: str = ""
    malignancy: float | None = None
    readers: int = 0

    def __post_init__(self) -> None:
        if len(self.centre_mm) != 3 or not np.all(np.isfinite(self.centre_mm)):
            raise ValueError(
                f"a nodule's centre is three finite numbers. Received: {self.centre_mm}."
            )
        if not 0 < self.diameter_mm < float("inf"):
            raise ValueError(
                f"a nodule's diameter is above 0 and finite. Received: {self.diameter_mm}."
            )
        if self.malignancy is not None and not 1 <= self.malignancy <= 5:
            raise ValueError(f"malignancy is graded from 1 to 5. Received: {self.malignancy}.")

    @property
    def suspicious(self) -> bool | None:
        """Whether readers thought it malignant; None without a grade, or for the middle one."""
        if self.malignancy is None or self.malignancy == INDETERMINATE:
            return None
        return self.malignancy > INDETERMINATE


def _no_masks() -> None:
    return None


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan with its labels; its voxels are read when they are asked for.

    Args:
        name: tells scans apart in messages; a published id or a folder's name.
        group: the patient, which lies on one side of a split.
        series_uid: its SeriesInstanceUID.
        nodules: what counts.
        excluded: findings that are neither right nor wrong: too small, or of too few readers.
        cancer: 1 or 0, as the patient was found to be; None where that isn't known.
        fold: the published fold it is in; None where there are none.
        read: gives the volume, or raises DataError.
        read_masks: gives `(planes, rows, columns)` uint8 on the volume's grid, in which k
            marks the k-th of `nodules` and 0 all else; or None where nobody outlined them.
        paths: the files that hold its voxels, or folders of such files.
        marked: whether somebody looked for nodules: without that, none is no negative.

    Raises:
        ValueError: if it has no name or no group.
    """

    name: str
    group: str
    series_uid: str
    nodules: tuple[Nodule, ...]
    excluded: tuple[Nodule, ...]
    cancer: int | None
    fold: int | None
    read: Callable[[], Volume]
    read_masks: Callable[[], Array | None] = _no_masks
    paths: tuple[Path, ...] = ()
    marked: bool = True

    def __post_init__(self) -> None:
        if not self.name or not self.group:
            raise ValueError(
                f"a scan needs a name and a group. Received: {self.name!r} and {self.group!r}."
            )


@dataclass(frozen=True, eq=False)
class ScanSet:
    """Labelled scans of one layout.

    Args:
        scans: in the order of their names.
        name: the layout: "luna16", "lidc", "bowl", "follow_up", "series_csv" or "simulated".
        simulated: whether a computer drew them.
        failures: what could not be used, by the scan's or file's name, with the reason.
        notes: what was odd or is missing, a sentence each.
        settings: what they were made with, if they are simulated.

    Raises:
        DataError: if two scans have one name or one series.
    """

    scans: tuple[Scan, ...]
    name: str
    simulated: bool = False
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in ("name", "series_uid"):
            seen: set[str] = set()
            for value in (str(getattr(scan, kind)) for scan in self.scans):
                if value and value in seen:
                    raise DataError(
                        f"{self.name}: each scan is needed once. Received: two of {kind} "
                        f"{value}. Remove one of them."
                    )
                seen.add(value)

    def __len__(self) -> int:
        """How many scans there are."""
        return len(self.scans)

    @property
    def groups(self) -> Array:
        """`(scans,)` the patient of each scan."""
        return np.array([scan.group for scan in self.scans])

    @cached_property
    def fingerprint(self) -> str:
        """The sha256, in hexadecimal, of the layout, every scan's name and all of its labels.

        Voxels aren't in it: the cache of prepared scans is kept by their content.
        """
        total = hashlib.sha256(repr((self.name, self.simulated)).encode())
        for scan in self.scans:
            total.update(
                repr(
                    (scan.name, scan.group, scan.series_uid, scan.nodules, scan.excluded,
                     scan.cancer, scan.fold, scan.marked)
                ).encode()
            )  # fmt: skip
        return total.hexdigest()

    def take(self, indices: Iterable[int]) -> tuple[Scan, ...]:
        """The scans at these indices, in that order."""
        return tuple(self.scans[index] for index in indices)

    def split(
        self,
        *,
        fold: int | None = None,
        fractions: tuple[float, float, float] = FRACTIONS,
        seed: int = 0,
    ) -> Split:
        """Every patient on one side, those with cancer and with nodules in equal shares.

        Args:
            fold: the published fold to score; the next one is validated on. None cuts by
                fractions.
            fractions: of train, val and test, where no fold is named.
            seed: of that cut.

        Raises:
            DataError: if a fold is asked for that isn't there, a patient would lie on two
                sides, or there are too few patients.
        """
        try:
            if fold is None:
                labels = [
                    [scan.cancer == 1, scan.cancer == 0, bool(scan.nodules)] for scan in self.scans
                ]
                return by_group(self.groups, fractions, seed, labels=np.array(labels, np.int64))
            return self._by_fold(fold)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from error

    def _by_fold(self, fold: int) -> Split:
        folds = [scan.fold for scan in self.scans]
        if None in folds:
            raise ValueError(
                "a published fold of every scan was needed. Received: scans without one. "
                "Leave the fold out: then the set is cut by patients."
            )
        there = sorted({int(each) for each in folds if each is not None})
        if fold not in there or len(there) < 2:
            raise ValueError(f"fold {fold} and another one were needed. Received: folds {there}.")
        following = there[(there.index(fold) + 1) % len(there)]
        return by_fold(folds, val=following, test=fold, groups=self.groups)


def load(folder: str | os.PathLike[str]) -> ScanSet:
    """The scans in a folder, by the layout that is found there.

    Looked for in this order: the simulator's `SIMULATED.json`; LUNA16's `subset0` to `subset9`;
    LIDC-IDRI's readers' XML; Data Science Bowl's `stage1_labels.csv`; `outcomes.csv` as
    follow-up studies have it; `annotations.csv` beside series of any kind. Each module says
    what it needs: `fieldsight.datasets.luna16`, `lidc`, `bowl`, `follow_up`, `series_csv`.

    Args:
        folder: as it was published, unpacked.

    Raises:
        DatasetNotFoundError: if it isn't there, or holds none of these.
        DataError: if what it holds is damaged.
    """
    # Here, for they make the types above.
    from fieldsight.datasets import bowl, follow_up, lidc, luna16, series_csv

    root = Path(folder).expanduser()
    if root.is_dir():
        for is_here, read in (
            (series_csv.is_simulated, series_csv.load_simulated),
            (luna16.is_here, luna16.load),
            (lidc.is_here, lidc.load),
            (bowl.is_here, bowl.load),
            (follow_up.is_here, follow_up.load),
            (series_csv.is_here, series_csv.load),
        ):
            if is_here(root):
                return read(root)
    state = "a folder without any of them" if root.is_dir() else "no such folder"
    raise DatasetNotFoundError(
        f"{root}: scans with labels were needed: LUNA16's subset0 to subset9 and "
        "annotations.csv, LIDC-IDRI's DICOM folders and XML, stage1_labels.csv and a folder a "
        "patient, or series of any kind and an annotations.csv of "
        f"seriesuid,coordX,coordY,coordZ,diameter_mm. Received: {state}. `fieldsight lung "
        "simulate --out DIR` writes such a folder."
    )
