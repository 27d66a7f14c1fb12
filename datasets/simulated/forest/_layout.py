"""A folder of simulated scenes and chips, as Planet and Kaggle lay theirs out."""

import csv
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.simulated._writing import MANIFEST, check, clear, made
from fieldsight.datasets.simulated.forest._chips import chips
from fieldsight.datasets.simulated.forest._files import write_chip, write_scene
from fieldsight.datasets.simulated.forest._materials import VERSION, Detail, Setting
from fieldsight.datasets.simulated.forest._scene import name_of, scene

CHIPS_A_SCENE = 1000  # numbers of chips that a scene may use
_HEADERS = {
    "train_v2.csv": ("image_name", "tags"),
    "chips.csv": ("image_name", "scene", "date", "row", "column"),
    "scenes.csv": ("scene", "date", "sky", "wetness", "theme", "new_ha"),
}
_KINDS = ("scenes", "labels", "train-tif-v2", "train-jpg")


def write(
    folder: str | os.PathLike[str],
    seed: int = 0,
    *,
    scenes: int,
    detail: Detail = "quick",
    setting: Setting = "default",
    first: int = 0,
    progress: Callable[[int, int], None] | None = None,
    processes: int = 1,
) -> None:
    """Write scenes `first` to `first + scenes - 1`: two dates each, labels, and tagged chips.

    `SIMULATED.json`, which says that nothing of it is real; Planet's
    `scenes/<scene>_<YYYYMMDD>_AnalyticMS_SR.tif` (blue, green, red, near infrared, uint16
    reflectance x 10,000, 3 m, nodata 0) and `..._udm2.tif`, two dates a scene;
    `labels/<scene>_<YYYYMMDD>_landcover.tif` (`CLASSES` by value) and
    `labels/<scene>_clearings.gpkg` (layers `clearings`, of the first date, and `new`, cleared
    between the dates); the competition's `train_v2.csv`, `train-tif-v2/` (256 x 256 x 4 uint16,
    no CRS) and `train-jpg/`; `chips.csv` says which scene and date a chip is of, and its first
    row and column there; `scenes.csv` says what the scenes are.

    A scene that is there whole isn't made again, so that a call that was stopped goes on, and a
    larger `scenes` adds to a folder. The tables are written last.

    Args:
        folder: made if it isn't there.
        seed: of all scenes.
        scenes: how many.
        detail: quick, 4.6 km a side and some 35 chips; full, 9.2 km.
        setting: default or other.
        first: the first one's number.
        progress: called with how many are there and how many there will be.
        processes: how many are made at a time.

    Raises:
        DataError: if the folder holds scenes of another seed, detail, setting or version, or
            files that aren't of a simulator; or if a number is out of range.
        OSError: if it can't be written.
    """
    if scenes < 1 or first < 0 or seed < 0 or processes < 1:
        raise DataError(
            "scenes and processes of at least 1, and a seed and a first scene of at least 0, "
            f"were needed. Received: scenes {scenes}, processes {processes}, seed {seed}, first "
            f"{first}."
        )
    root = Path(folder).expanduser()
    what = {"seed": seed, "detail": detail, "setting": setting, "version": VERSION}
    check(root, what, "scenes")
    root.mkdir(parents=True, exist_ok=True)
    clear(root)
    manifest = {**what, "first": first, "scenes": scenes}
    # First of all: nothing that is there, not even half a set, may be taken for real.
    write_atomically(root / MANIFEST, json.dumps({**manifest, "whole": False}, indent=1).encode())
    numbers = range(first, first + scenes)
    missing = [n for n in numbers if _record(_record_path(root, seed, n, setting)) is None]
    there = scenes - len(missing)
    if progress:
        progress(there, scenes)
    jobs = [(str(root), seed, number, detail, setting) for number in missing]
    needs = "a scene takes 0.5 GB, in full detail 2 GB"
    for done, _ in enumerate(made(_one, jobs, processes, needs), there + 1):
        if progress:
            progress(done, scenes)
    # Those of earlier calls too: a chip without a row would be a mistake to a reader.
    records = _all_records(root)
    _tables(root, records)
    manifest.update(first=records[0]["number"], scenes=len(records), whole=True)
    write_atomically(root / MANIFEST, json.dumps(manifest, indent=1).encode())


def _one(job: tuple[str, int, int, Detail, Setting]) -> int:
    """Make and write a scene, all beside, then renamed, its record last; returns its number."""
    folder, seed, number, detail, setting = job
    root = Path(folder)
    one = scene(seed, number, detail, setting)
    chosen = chips(np.random.default_rng((VERSION, seed, number, 99)), one)
    beside = root / f".{uuid.uuid4().hex[:8]}.part"
    try:
        for kind in _KINDS:
            (beside / kind).mkdir(parents=True)
            (root / kind).mkdir(exist_ok=True)
        new_ha = write_scene(beside, one)
        rows = []
        for k, chip in enumerate(chosen):
            name = f"train_{number * CHIPS_A_SCENE + k}"
            write_chip(beside, name, one, chip)
            when = one.dates[chip.date].isoformat()
            rows.append([name, " ".join(chip.tags), when, chip.row, chip.column])
        files = [path.relative_to(beside) for kind in _KINDS for path in (beside / kind).iterdir()]
        for file in files:
            (beside / file).replace(root / file)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    record = {
        "number": number,
        "scene": one.name,
        "theme": one.plan.theme,
        "dates": [date.isoformat() for date in one.dates],
        "skies": one.plan.skies,
        "wetness": one.plan.wetness,
        "new_ha": new_ha,
        "chips": rows,
        "files": sorted(str(file) for file in files),
    }
    write_atomically(_record_path(root, seed, number, setting), json.dumps(record).encode())
    return number


def _record_path(root: Path, seed: int, number: int, setting: Setting) -> Path:
    return root / "records" / f"{name_of(seed, number, setting)}.json"


def _record(path: Path) -> dict[str, Any] | None:
    """What is true of a scene that is there whole; None if it isn't."""
    root = path.parents[1]
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if all((root / file).is_file() for file in record["files"]) else None


def _all_records(root: Path) -> list[dict[str, Any]]:
    """Of every scene that is there whole, in the order of their numbers."""
    found = [_record(path) for path in (root / "records").glob("*.json")]
    whole = [record for record in found if record is not None]
    return sorted(whole, key=lambda record: int(record["number"]))


def _tables(root: Path, records: list[dict[str, Any]]) -> None:
    rows: dict[str, list[Iterable[object]]] = {name: [] for name in _HEADERS}
    for record in records:
        for name, tags, *place in record["chips"]:
            rows["train_v2.csv"].append((name, tags))
            rows["chips.csv"].append((name, record["scene"], *place))
        dated = zip(record["dates"], record["skies"], record["wetness"], strict=True)
        for date, sky, wetness in dated:
            about = (f"{wetness:.2f}", record["theme"], f"{record['new_ha']:.2f}")
            rows["scenes.csv"].append((record["scene"], date, sky, *about))
    for name, header in _HEADERS.items():
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows[name])
        write_atomically(root / name, text.getvalue().encode())
