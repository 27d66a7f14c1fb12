"""A folder of simulated flights as BIRDSAI lays them out, with telemetry, and of mosaics."""

import csv
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.simulated._writing import MANIFEST, check, clear, made
from fieldsight.datasets.simulated.wildlife._camera import to_degrees
from fieldsight.datasets.simulated.wildlife._flight import Frame, frames
from fieldsight.datasets.simulated.wildlife._mosaic import PIXEL_M, SIDES, name_of, write_mosaic
from fieldsight.datasets.simulated.wildlife._plan import COLUMNS, RATE_HZ, Plan, plan
from fieldsight.datasets.simulated.wildlife._species import (
    HERDS,
    HUMAN,
    VEHICLE,
    VERSION,
    Detail,
    Setting,
)

_PARTS = {"train": "TrainSimulation", "test": "TestSimulation"}
_TELEMETRY = (
    "frame", "time_s", "latitude", "longitude", "height_m", "heading_degrees", "pitch_degrees",
    "roll_degrees", "field_of_view_degrees",
)  # fmt: skip
_PLACES = ("frame", "object", "latitude", "longitude")
_FLIGHTS = (
    "flight", "side", "hour", "land", "polarity", "height_m", "pitch_degrees", "noise_levels",
    "frames", "empty_frames", "objects",
)  # fmt: skip
_QUALITY = 92  # of the frames' JPEG
_SAID = b"FIELDSIGHT_SIMULATED=1"
_CATEGORIES: dict[Setting, tuple[str, ...]] = {
    setting: (HUMAN.name, *(species.name for species in herds), VEHICLE.name)
    for setting, herds in HERDS.items()
}
_Kind = Literal["flight", "mosaic"]
_Job = tuple[str, _Kind, int, int, Detail, Setting]


def write(
    folder: str | os.PathLike[str],
    seed: int = 0,
    *,
    flights: int,
    mosaics: int = 1,
    detail: Detail = "quick",
    setting: Setting = "default",
    first: int = 0,
    progress: Callable[[int, int], None] | None = None,
    processes: int = 1,
) -> None:
    """Write flights `first` to `first + flights - 1`, and mosaics from 0 on.

    `SIMULATED.json`, which says that nothing of it is real; BIRDSAI's
    `TrainSimulation/images/<flight>/<flight>_<frame>.jpg` (640 x 512, 8 bits, 6 frames a second,
    numbers from anywhere on) and `TrainSimulation/annotations/<flight>.csv`, and TestSimulation
    alike (every fourth flight; all of the other setting); `telemetry/<flight>.csv`, where the
    camera was at each frame, and `places/<flight>.csv`, where each object was; `flights.csv`,
    what the flights are like; `orthomosaic/<mosaic>.tif` and `orthomosaic/annotations.json`
    (COCO).

    What is there whole isn't made again, so that a call that was stopped goes on, and a larger
    `flights` adds to a folder. The tables are written last.

    Args:
        folder: made if it isn't there.
        seed: of everything.
        flights: how many; may be 0.
        mosaics: how many; may be 0.
        detail: quick, 40 frames a flight and 4,000 x 4,000 pixels; full, 240 and 12,000 x 12,000.
        setting: default, or other: higher, more aslant, a noisier sensor, other animals.
        first: the first flight's number.
        progress: called with how many are there and how many there will be.
        processes: how many are made at a time.

    Raises:
        DataError: if the folder holds flights of another seed, detail, setting or version, or
            files that aren't of a simulator; or if a number is out of range.
        OSError: if it can't be written.
    """
    if min(flights, mosaics, first, seed) < 0 or flights + mosaics < 1 or processes < 1:
        raise DataError(
            "a flight or a mosaic, processes of at least 1, and a seed and a first flight of at "
            f"least 0, were needed. Received: flights {flights}, mosaics {mosaics}, processes "
            f"{processes}, seed {seed}, first {first}."
        )
    root = Path(folder).expanduser()
    what = {"seed": seed, "detail": detail, "setting": setting, "version": VERSION}
    check(root, what, "flights")
    root.mkdir(parents=True, exist_ok=True)
    clear(root)
    # First of all: nothing that is there, not even half a set, may be taken for real.
    manifest = {**what, "first": first, "flights": flights, "mosaics": mosaics}
    write_atomically(root / MANIFEST, json.dumps({**manifest, "whole": False}, indent=1).encode())
    # Mosaics first: they take longer.
    wanted: list[tuple[_Kind, int]] = [("mosaic", number) for number in range(mosaics)]
    wanted += [("flight", number) for number in range(first, first + flights)]
    jobs: list[_Job] = [
        (str(root), kind, seed, number, detail, setting)
        for kind, number in wanted
        if _record(_record_path(root, kind, number)) is None
    ]
    there = len(wanted) - len(jobs)
    if progress:
        progress(there, len(wanted))
    needs = "a flight or a mosaic takes 0.3 GB, in full detail 0.5 GB"
    for done, _ in enumerate(made(_one, jobs, processes, needs), there + 1):
        if progress:
            progress(done, len(wanted))
    # Those of earlier calls too: pictures without rows would be taken for empty ones.
    records = _all_records(root)
    _tables(root, records, setting)
    numbers = [record["number"] for record in records if record["kind"] == "flight"]
    manifest.update(
        first=min(numbers, default=first), flights=len(numbers),
        mosaics=len(records) - len(numbers), whole=True,
    )  # fmt: skip
    write_atomically(root / MANIFEST, json.dumps(manifest, indent=1).encode())


def _one(job: _Job) -> int:
    """Make and write a flight or a mosaic beside, then renamed, its record last."""
    folder, kind, seed, number, detail, setting = job
    root = Path(folder)
    beside = root / f".{uuid.uuid4().hex[:8]}.part"
    try:
        beside.mkdir()
        if kind == "flight":
            record = _flight(beside, plan(seed, number, setting, detail))
        else:
            record = _mosaic(beside, seed, number, setting, detail)
        for file in record["files"]:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            if (root / file).is_dir():
                shutil.rmtree(root / file)
            (beside / file).replace(root / file)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    record.update(kind=kind, number=number)
    write_atomically(_record_path(root, kind, number), json.dumps(record).encode())
    return number


def _mosaic(
    folder: Path, seed: int, number: int, setting: Setting, detail: Detail
) -> dict[str, Any]:
    name = name_of(seed, number, setting)
    file = f"orthomosaic/{name}.tif"
    (folder / file).parent.mkdir()
    marked = write_mosaic(folder / file, seed, number, setting, detail)
    boxes = [(one.name, *one.box) for one in marked]
    return {"name": name, "files": [file], "side": SIDES[detail], "boxes": boxes}


def _flight(folder: Path, flight: Plan) -> dict[str, Any]:
    """Write a flight's frames and tables into a folder."""
    name, part = flight.name, _PARTS[flight.side]
    images = folder / part / "images" / name
    images.mkdir(parents=True)
    rows: list[Iterable[object]] = []
    poses: list[Iterable[object]] = []
    places: list[Iterable[object]] = []
    empty, objects = 0, set()
    for index, frame in enumerate(frames(flight)):
        number = flight.first + index
        Image.fromarray(frame.image).save(
            images / f"{name}_{number:010d}.jpg", quality=_QUALITY, comment=_SAID
        )
        poses.append(_pose(flight, frame, number, index))
        empty += not frame.rows
        for row in frame.rows:
            objects.add(row.actor.track)
            person = int(row.code == HUMAN.code)
            flags = (int(row.occluded), int(frame.noisy))
            rows.append((number, row.actor.track, *row.box, person, row.code, *flags))
            at = to_degrees(flight, row.actor.x[index], row.actor.y[index])
            places.append((number, row.actor.track, f"{at[1]:.8f}", f"{at[0]:.8f}"))
    tables = {
        f"{part}/annotations/{name}.csv": (None, rows),
        f"telemetry/{name}.csv": (_TELEMETRY, poses),
        f"places/{name}.csv": (_PLACES, places),
    }
    for file, (header, lines) in tables.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(_csv(header, lines))
    about = (name, flight.side, flight.hour, flight.land, "cold" if flight.cold else "hot",
             f"{flight.height_m:.1f}", f"{flight.pitch_degrees:.1f}", f"{flight.noise_levels:.2f}",
             flight.frames, empty, len(objects))  # fmt: skip
    return {"name": name, "files": [f"{part}/images/{name}", *tables], "about": about}


def _pose(flight: Plan, frame: Frame, number: int, index: int) -> Iterable[object]:
    """A row of telemetry: the camera's own angles, as its gimbal tells them."""
    pose = frame.pose
    longitude, latitude = to_degrees(flight, np.asarray(pose.x), np.asarray(pose.y))
    heading = (flight.heading_degrees + np.degrees(pose.heading)) % 360
    view = 2 * np.degrees(np.arctan(COLUMNS / 2 / pose.focal_px))
    return (number, f"{index / RATE_HZ:.3f}", f"{latitude:.8f}", f"{longitude:.8f}",
            f"{pose.height_m:.2f}", f"{heading:.3f}", f"{np.degrees(pose.pitch):.3f}", "0.000",
            f"{view:.3f}")  # fmt: skip


def _record_path(root: Path, kind: _Kind, number: int) -> Path:
    return root / "records" / f"{kind}{number:04d}.json"


def _record(path: Path) -> dict[str, Any] | None:
    """What is true of a flight or mosaic that is there whole; None if it isn't."""
    root = path.parents[1]
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if all((root / file).exists() for file in record["files"]) else None


def _all_records(root: Path) -> list[dict[str, Any]]:
    """Of all that is there whole: flights, then mosaics, in the order of their numbers."""
    found = [_record(path) for path in (root / "records").glob("*.json")]
    whole = [record for record in found if record is not None]
    return sorted(whole, key=lambda record: (str(record["kind"]), int(record["number"])))


def _tables(root: Path, records: list[dict[str, Any]], setting: Setting) -> None:
    flights = [record["about"] for record in records if record["kind"] == "flight"]
    write_atomically(root / "flights.csv", _csv(_FLIGHTS, flights))
    mosaics = [record for record in records if record["kind"] == "mosaic"]
    if not mosaics:
        return
    ids = {name: number for number, name in enumerate(_CATEGORIES[setting], 1)}
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, record in enumerate(mosaics, 1):
        side = record["side"]
        images.append({"id": number, "file_name": f"{record['name']}.tif", "width": side,
                       "height": side, "location": record["name"]})  # fmt: skip
        for name, *box in record["boxes"]:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": ids[name],
                 "bbox": box, "area": round(box[2] * box[3], 1), "iscrowd": 0}
            )  # fmt: skip
    content = {
        "info": {"description": f"SIMULATED by fieldsight, version {VERSION}; {PIXEL_M} m a pixel"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    write_atomically(root / "orthomosaic" / "annotations.json", json.dumps(content).encode())


def _csv(header: Iterable[str] | None, rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if header:
        table.writerow(header)
    table.writerows(rows)
    return text.getvalue().encode()
