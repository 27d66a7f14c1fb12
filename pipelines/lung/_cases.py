"""Scans as the networks see them: prepared, memory-mapped, with what is known of them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.lung_preparation import Prepared
from fieldsight.datasets.lung_preparation.cache import cached
from fieldsight.datasets.nodules import Nodule, Scan
from fieldsight.datasets.volume import to_index, to_world
from fieldsight.pipelines._threads import in_threads

Array = NDArray[Any]

AIR = -1000  # Hounsfield units beyond a scan
BEYOND_MM = 50.0  # of the lungs, where no nodule lies; a wall's or a collapsed lung's are nearer


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A prepared scan.

    Attributes:
        name: what its user calls it.
        group: the patient.
        series_uid: as LUNA16's tables name it.
        image: `(planes, rows, columns)` int16 Hounsfield units on a cubic grid.
        lungs: the same shape, bool: what lies in the lungs.
        affine: `(4, 4)` from indices to LPS mm.
        nodules: that are there to be found.
        excluded: findings that are neither right nor wrong.
        labels: the same shape, uint8: k in the k-th nodule, 0 elsewhere; None if not outlined.
        cancer: 1 or 0; None if it isn't known.
        marked: whether somebody looked for nodules: without that, none is no negative.
    """

    name: str
    group: str
    series_uid: str
    image: Array
    lungs: Array
    affine: Array
    nodules: tuple[Nodule, ...] = ()
    excluded: tuple[Nodule, ...] = ()
    labels: Array | None = None
    cancer: int | None = None
    marked: bool = True

    @cached_property
    def spacing_mm(self) -> float:
        """Of the grid."""
        return float(np.linalg.norm(self.affine[:3, 0]))

    @cached_property
    def boxes(self) -> Array:
        """`(nodules, 6)` `xyxy` voxels, counted from a voxel's corner."""
        return self._boxes(self.nodules)

    @cached_property
    def ignore(self) -> Array:
        """`(excluded, 6)` `xyxy` voxels of what is neither right nor wrong."""
        return self._boxes(self.excluded)

    def to_index(self, points_mm: ArrayLike) -> Array:
        """Indices `(n, 3)` plane, row, column of LPS mm `(n, 3)`."""
        return to_index(self.affine, np.asarray(points_mm, np.float64).reshape(-1, 3))

    def to_world(self, indices: ArrayLike) -> Array:
        """LPS mm `(n, 3)` of indices `(n, 3)` plane, row, column."""
        return to_world(self.affine, np.asarray(indices, np.float64).reshape(-1, 3))

    def a_place(self, rng: np.random.Generator) -> Array:
        """Indices of a voxel in the lungs, drawn at random; of any, if there are no lungs."""
        for _ in range(100):
            index = rng.integers(0, self.image.shape)
            if self.lungs[tuple(index)]:
                return np.asarray(index)
        return np.asarray(rng.integers(0, self.image.shape))

    def _boxes(self, nodules: Sequence[Nodule]) -> Array:
        centres = self.to_index([nodule.centre_mm for nodule in nodules])[:, ::-1] + 0.5
        half = np.array([[nodule.diameter_mm] for nodule in nodules]) / 2 / self.spacing_mm
        half = half.reshape(-1, 1)
        return np.concatenate([centres - half, centres + half], axis=1)


def case_of(scan: Scan, prepared: Prepared) -> Case:
    """A scan with its labels, prepared.

    Raises:
        DataError: if a nodule lies far from the lungs: then its coordinates are others' than the
            scan's, and whatever is scored or learned with them is wrong.
    """
    ends = np.array(prepared.shape) - 1
    for nodule in scan.nodules:
        index = prepared.to_index(nodule.centre_mm)
        beyond = float(np.abs(index - np.clip(index, 0, ends)).max()) * prepared.spacing_mm
        if beyond > BEYOND_MM:
            place = ", ".join(f"{value:.1f}" for value in nodule.centre_mm)
            raise DataError(
                f"{scan.name}: nodules in the lungs were needed, in LPS millimetres of the scan. "
                f"Received: one at {place}, {beyond:.0f} mm from them. Is it of another scan, or "
                "in RAS (x and y of the other sign), or in voxels?"
            )
    return Case(
        scan.name, scan.group, scan.series_uid, prepared.image, prepared.lungs, prepared.affine,
        scan.nodules, scan.excluded, prepared.labels, scan.cancer, scan.marked,
    )  # fmt: skip


def cases_of(
    scans: Sequence[Scan],
    spacing_mm: float,
    cache: Path | None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Case], dict[str, str]]:
    """Prepare scans, as many at once as there are cores.

    Args:
        scans: with their labels.
        spacing_mm: of the grid.
        cache: the folder where they are kept; None keeps them in memory.
        progress: told how many are through, and of how many.

    Returns:
        The cases in the order of the scans, and what could not be read, with the reason (C-11).
    """
    _many_files()

    def one(scan: Scan) -> Case | str:
        try:
            return case_of(scan, cached(scan, spacing_mm, cache))
        except DataError as error:
            return str(error)

    cases: list[Case] = []
    failures: dict[str, str] = {}
    for number, (scan, found) in enumerate(in_threads(one, scans), 1):
        if isinstance(found, str):
            failures[scan.name] = found
        else:
            cases.append(found)
        if progress is not None:
            progress(number, len(scans))
    return cases, failures


def _many_files() -> None:
    """Each memory-mapped array keeps a file open: some thousand of them, of all of LUNA16."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
