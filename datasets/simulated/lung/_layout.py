"""A folder of simulated patients: DICOM series, and tables as LUNA16 has them."""

import csv
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.simulated._writing import MANIFEST, check, clear, made
from fieldsight.datasets.simulated.lung._dicom import uid, write_series
from fieldsight.datasets.simulated.lung._patient import VERSION, patient
from fieldsight.datasets.simulated.lung._scanner import Detail, Setting, field_of_view

MASK = "labels"  # the array's name in masks/<seriesuid>.npz
_HEADERS = {
    "annotations.csv": ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"),
    "annotations_excluded.csv": ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"),
    "nodules.csv": (
        "seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "type", "malignancy", "place",
    ),
    "patients.csv": ("patient", "seriesuid", "cancer"),
}  # fmt: skip


def write(
    folder: str | os.PathLike[str],
    seed: int = 0,
    *,
    count: int,
    detail: Detail = "quick",
    setting: Setting = "default",
    first: int = 0,
    progress: Callable[[int, int], None] | None = None,
    processes: int = 1,
) -> None:
    """Write patients `first` to `first + count - 1` in the published layout.

    `dicom/<patient>/<series>/*.dcm`; `masks/<seriesuid>.npz`; `annotations.csv`,
    `annotations_excluded.csv`, `nodules.csv`, `patients.csv`; `SIMULATED.json`, which says that
    nothing of it is real. A patient that is there whole isn't made again, so that a call that
    was stopped goes on, and a larger `count` adds to a folder. The tables are written last.

    Args:
        folder: made if it isn't there.
        seed: of all patients.
        count: how many.
        detail: quick or full.
        setting: default or other.
        first: the first one's number.
        progress: called with how many are there and how many there will be.
        processes: how many are made at a time.

    Raises:
        DataError: if the folder holds patients of another seed, detail, setting or version, or
            files that aren't of a simulator; or if a number is below 0 or there are no patients.
        OSError: if it can't be written.
    """
    if count < 1 or first < 0 or seed < 0 or processes < 1:
        raise DataError(
            "a count and processes of at least 1, and a seed and a first patient of at least 0, "
            f"were needed. Received: count {count}, processes {processes}, seed {seed}, first "
            f"{first}."
        )
    root = Path(folder).expanduser()
    what = {"seed": seed, "detail": detail, "setting": setting, "version": VERSION}
    check(root, what, "patients")
    root.mkdir(parents=True, exist_ok=True)
    clear(root)
    manifest = {**what, "first": first, "count": count}
    # First of all: nothing that is there, not even half a set, may be taken for real.
    write_atomically(root / MANIFEST, json.dumps({**manifest, "whole": False}, indent=1).encode())
    numbers = range(first, first + count)
    missing = [
        number for number in numbers if _record(_record_path(root, seed, number, setting)) is None
    ]
    there = count - len(missing)
    if progress:
        progress(there, count)
    needs = "a patient in full detail takes 0.7 GB"
    jobs = [(str(root), seed, number, detail, setting) for number in missing]
    for done, _ in enumerate(made(_one, jobs, processes, needs), there + 1):
        if progress:
            progress(done, count)
    # Those of earlier calls too: a series without labels would pass for one without nodules.
    records = _all_records(root)
    _tables(root, records)
    manifest.update(first=records[0]["number"], count=len(records), whole=True)
    write_atomically(root / MANIFEST, json.dumps(manifest, indent=1).encode())


def _one(job: tuple[str, int, int, Detail, Setting]) -> int:
    """Make and write a patient, all beside, then renamed, its record last; returns its number."""
    folder, seed, number, detail, setting = job
    root = Path(folder)
    made = patient(seed, number, detail, setting)
    identity = (VERSION, seed, setting, detail, number)
    series = uid(*identity, "series")
    made = replace(made, volume=replace(made.volume, series_uid=series))
    beside = root / f".{uuid.uuid4().hex[:8]}.part"
    try:
        (beside / "2").mkdir(parents=True)
        outside = ~field_of_view(made.scanner.grid)
        write_series(beside / "2", made, identity, outside)
        place = root / "dicom" / made.name
        place.parent.mkdir(exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    content = io.BytesIO()
    np.savez_compressed(content, labels=made.mask)
    write_atomically(root / "masks" / f"{series}.npz", content.getvalue())
    record = {
        "number": number,
        "patient": made.name,
        "seriesuid": series,
        "cancer": made.cancer,
        "nodules": [asdict(nodule) for nodule in made.nodules],
        "excluded": [asdict(nodule) for nodule in made.excluded],
    }
    write_atomically(_record_path(root, seed, number, setting), json.dumps(record).encode())
    return number


def _record_path(root: Path, seed: int, number: int, setting: Setting) -> Path:
    kind = "x" if setting == "other" else "-"
    return root / "records" / f"SIM{seed}{kind}{number:04d}.json"


def _record(path: Path) -> dict[str, Any] | None:
    """What is true of a patient that is there whole; None if it isn't."""
    root = path.parents[1]
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    series = root / "dicom" / record["patient"]
    mask = root / "masks" / f"{record['seriesuid']}.npz"
    return record if series.is_dir() and mask.is_file() else None


def _all_records(root: Path) -> list[dict[str, Any]]:
    """Of every patient that is there whole, in the order of their numbers."""
    found = [_record(path) for path in (root / "records").glob("*.json")]
    whole = [record for record in found if record is not None]
    return sorted(whole, key=lambda record: int(record["number"]))


def _tables(root: Path, records: list[dict[str, Any]]) -> None:
    rows: dict[str, list[Iterable[object]]] = {name: [] for name in _HEADERS}
    for record in records:
        series = record["seriesuid"]
        rows["patients.csv"].append((record["patient"], series, record["cancer"]))
        for nodule in record["nodules"]:
            place = [series, *_numbers(nodule)]
            rows["annotations.csv"].append(place)
            grade = f"{nodule['malignancy']:g}"
            rows["nodules.csv"].append([*place, nodule["kind"], grade, nodule["place"]])
        for nodule in record["excluded"]:
            rows["annotations_excluded.csv"].append([series, *_numbers(nodule)])
    for name, header in _HEADERS.items():
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows[name])
        write_atomically(root / name, text.getvalue().encode())


def _numbers(nodule: dict[str, Any]) -> list[str]:
    return [f"{value:.4f}" for value in (*nodule["centre_mm"], nodule["diameter_mm"])]
