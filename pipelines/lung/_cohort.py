"""The patients of a training: simulated or a user's, each on one side of the split."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldsight.datasets import nodules
from fieldsight.datasets.nodules import Scan, ScanSet
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._journal import home
from fieldsight.pipelines.lung import _recipes
from fieldsight.pipelines.lung._cases import Case, cases_of

if TYPE_CHECKING:
    from fieldsight.pipelines.lung import Setting, Train
    from fieldsight.pipelines.lung._recipes import Way

FRACTIONS = (0.7, 0.1, 0.2)  # of a user's patients, where no folds are published
# Bytes of a simulated patient and of what is prepared of it, as they were found and a tenth more.
ROOM = {"quick": 28e6, "full": 220e6}
Progress = Callable[[int, int], None]
SIDES = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Prepared patients by side.

    Attributes:
        train: to learn from.
        val: to choose by.
        test: to be scored once.
        other: of another setting than any of these; empty unless simulated.
        scans: the scans of the test, in the order of the cases.
        name: of the data, as the model is registered by.
        simulated: whether a computer drew them.
        how: they were split, in words.
        fingerprint: of the data.
        split_fingerprint: of the split.
        failures: what could not be read, with the reason.
    """

    train: tuple[Case, ...]
    val: tuple[Case, ...]
    test: tuple[Case, ...]
    other: tuple[Case, ...]
    scans: tuple[Scan, ...]
    name: str
    simulated: bool
    how: str
    fingerprint: str
    split_fingerprint: str
    failures: Mapping[str, str]

    @property
    def sizes(self) -> dict[str, int]:
        """Scans by side."""
        sides = {name: len(getattr(self, name)) for name in (*SIDES, "other")}
        return {name: count for name, count in sides.items() if count}


def check(settings: Train) -> None:
    """Tell before a run exists what of the user's folder can't be used.

    Raises:
        DataError: if there is no known layout, or it can't be split so.
        CommandError: if there is no room for the patients to be simulated.
    """
    if settings.data is not None:
        _split(nodules.load(settings.data), settings)
    else:
        _refuse_full(settings)


def _refuse_full(settings: Train) -> None:
    """Many patients at full detail are tens of gigabytes: told before minutes are spent."""
    found = _recipes.way(settings)
    patients = found.patients.total + found.patients.other
    wanted = (settings.cache or home()).absolute()
    root = next(one for one in (wanted, *wanted.parents) if one.exists())
    needed, free = patients * ROOM[found.detail], shutil.disk_usage(root).free
    if free < needed:
        raise CommandError(
            f"{needed / 1e9:.1f} GB of disk were needed for {patients} simulated patients and "
            f"what is prepared of them. Received: {free / 1e9:.1f} GB free at {root}. Free some, "
            "name a --cache elsewhere, or take fewer --cases."
        )


def load(settings: Train, way: Way, folder: Path, progress: Callable[[str], Progress]) -> Cohort:
    """Simulate or find the patients, read and prepare them.

    Args:
        settings: the command's.
        way: how many are simulated, on what grid.
        folder: the run's own, for what is simulated and prepared unless a cache was named.
        progress: from what is done to what is told how far it is.

    Raises:
        CommandError: if a side is left without a scan that can be read.
    """
    cache = (settings.cache or folder) / "prepared"
    if settings.data is None:
        return _simulated(settings, way, settings.cache or folder, cache, progress)
    found = nodules.load(settings.data)
    sides, how = _split(found, settings)
    if settings.cases is not None:
        share = settings.cases / max(1, len(found))
        sides = {name: scans[: max(1, round(len(scans) * share))] for name, scans in sides.items()}
    return _prepared(
        sides, way.spacing_mm, cache, progress,
        name=found.name if not found.simulated else "simulated", simulated=found.simulated,
        how=how, fingerprint=found.fingerprint, failures=found.failures,
    )  # fmt: skip


def _simulated(
    settings: Train, way: Way, folder: Path, cache: Path, progress: Callable[[str], Progress]
) -> Cohort:
    """Patients of a seed; the first are learned from, the last scored."""
    patients = way.patients
    seed, total, few = settings.seed, patients.total, patients.other
    # A cache may be shared by runs of several seeds.
    name = f"{way.detail}-{seed}"
    found = _written(folder / f"simulated-{name}", seed, total, "default", way, progress)
    other = _written(folder / f"simulated-{name}-other", seed, few, "other", way, progress)
    ends = np.cumsum([patients.train, patients.val, patients.test])
    sides = {
        name: found.scans[start:end]
        for name, start, end in zip(SIDES, (0, *ends[:-1]), ends, strict=True)
    }
    return _prepared(
        {**sides, "other": other.scans}, way.spacing_mm, cache, progress,
        name=f"simulated-{way.detail}", simulated=True,
        how="each patient is drawn by itself, in order of their numbers",
        fingerprint=_joined(found, other), failures={},
    )  # fmt: skip


def _written(
    folder: Path,
    seed: int,
    count: int,
    setting: Setting,
    way: Way,
    progress: Callable[[str], Progress],
) -> ScanSet:
    """Simulated patients on disk, read by their readers as any others are."""
    from fieldsight.datasets.simulated import lung

    what = f"simulating {count} patients"
    told = progress(what if setting == "default" else f"{what} of another setting")
    lung.write(
        folder, seed, count=count, detail=way.detail, setting=setting, progress=told,
        processes=os.cpu_count() or 1,
    )  # fmt: skip
    return nodules.load(folder)


def _joined(*sets: ScanSet) -> str:
    return hashlib.sha256("".join(one.fingerprint for one in sets).encode()).hexdigest()


def _split(found: ScanSet, settings: Train) -> tuple[dict[str, tuple[Scan, ...]], str]:
    has_folds = bool(found.scans) and all(scan.fold is not None for scan in found.scans)
    if has_folds:
        split = found.split(fold=settings.fold)
        how = f"published folds, {settings.fold} is tested and the next one validates"
    else:
        split = found.split(fractions=FRACTIONS, seed=settings.seed)
        how = f"by patient, {FRACTIONS} to train, validate and test, seed {settings.seed}"
    sides = (split.train, split.val, split.test)
    return dict(zip(SIDES, (found.take(side) for side in sides), strict=True)), how


def _prepared(
    sides: Mapping[str, Sequence[Scan]],
    spacing_mm: float,
    cache: Path,
    progress: Callable[[str], Progress],
    *,
    name: str,
    simulated: bool,
    how: str,
    fingerprint: str,
    failures: Mapping[str, str],
) -> Cohort:
    scans = [scan for side in sides.values() for scan in side]
    told = progress(f"reading and preparing {len(scans)} scans at {spacing_mm:g} mm")
    cases, failed = cases_of(scans, spacing_mm, cache, progress=told)
    by_name = {case.name: case for case in cases}
    ready = {
        side: tuple(by_name[scan.name] for scan in members if scan.name in by_name)
        for side, members in sides.items()
    }
    for side in SIDES:
        if not ready[side]:
            first = next(iter(failed.items()), ("", "there are too few scans"))
            raise CommandError(
                f"scans to {side} by were needed. Received: none that can be used of "
                f"{len(sides[side])} ({' '.join(first)})."
            )
    if not any(case.nodules for case in ready["train"]):
        raise CommandError(
            "scans with nodules were needed to train on. Received: none. LUNA16, LIDC-IDRI or a "
            "CSV of nodules has them; the Bowl's scans have not."
        )
    # With the data's own: equal names needn't be equal patients.
    listed = fingerprint + repr(
        [(side, [scan.name for scan in members]) for side, members in sides.items()]
    )
    return Cohort(
        ready["train"], ready["val"], ready["test"], ready.get("other", ()),
        tuple(scan for scan in sides["test"] if scan.name in by_name),
        name, simulated, how, fingerprint, hashlib.sha256(listed.encode()).hexdigest(),
        {**failures, **failed},
    )  # fmt: skip
