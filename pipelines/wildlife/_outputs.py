"""What `predict` writes: all of it in a folder beside, then renamed; answers.json comes last."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from fieldsight.datasets.detections import (
    Answer,
    coco_json,
    counts,
    maps,
    megadetector,
    mot_csv,
    summary,
)
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import write_failures

COCO, MEGADETECTOR = "detections.coco.json", "detections.megadetector.json"
COUNTS, PEOPLE, TRACKS = "counts.csv", "people.csv", "tracks.csv"
GEOPACKAGE, GEOJSON = "detections.gpkg", "detections.geojson"
ANSWERS = "answers.json"
FOLDERS = ("pictures", "videos", mot_csv.FOLDER)
FILES = (COCO, MEGADETECTOR, COUNTS, PEOPLE, TRACKS, mot_csv.ALONE, GEOPACKAGE, GEOJSON)


def write_all(
    folder: Path, answer: Answer, *, interval: counts.Interval | None = None,
    drawn: dict[str, str] | None = None,
) -> list[counts.Count]:  # fmt: skip
    """Write every table and map of an answer into a folder.

    Args:
        folder: it is made.
        answer: all that was found, with names and places as they are to be told.
        interval: of counts, from validation; None gives none.
        drawn: pictures and films that lie there already, and what each is.

    Returns:
        How many there are.

    Raises:
        DataError: if something can't be written.
        OSError: the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    coco_json.write(folder / COCO, answer)
    megadetector.write(folder / MEGADETECTOR, answer)
    counted = counts.count(answer, interval)
    counts.write(folder / COUNTS, counted, answer)
    files = {
        COCO: "boxes in pixels, with scores, classes and tracks, as COCO's JSON",
        MEGADETECTOR: f"the same in MegaDetector's format {megadetector.VERSION}",
        COUNTS: "how many of each class",
    }
    if answer.people:
        counts.write_people(folder / PEOPLE, answer)
        files[PEOPLE] = "people, each to be checked by a person"
    if any(source.in_time for source in answer.sources):
        counts.write_tracks(folder / TRACKS, answer)
        files[TRACKS] = "an object of a sequence a row"
        for name, file in mot_csv.write(folder, answer).items():
            files[file] = f"tracks of {name} in MOTChallenge's form"
    if any(each.place is not None for each in answer.detections):
        maps.write_geopackage(folder / GEOPACKAGE, answer)
        maps.write_geojson(folder / GEOJSON, answer)
        files[GEOPACKAGE] = "what was found on the map, WGS 84"
        files[GEOJSON] = "what is counted on the map, WGS 84"
    summary.write(folder / ANSWERS, answer, counted, files | (drawn or {}))
    return counted


@contextlib.contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A folder in `out` for what isn't whole yet; it is gone afterwards.

    Raises:
        CommandError: if it can't be written to.
    """
    work = out / f".{uuid.uuid4().hex[:8]}.part"
    there = out.exists()
    try:
        work.mkdir(parents=True)
        yield work
    except OSError as error:
        raise CommandError(
            f"{out} can't be written ({error.strerror or error}). Earlier answers in it are "
            "unchanged. Free some space, or choose another folder."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if not there:
            with contextlib.suppress(OSError):
                out.rmdir()  # only if it is empty


def put(work: Path, out: Path) -> None:
    """Move what is finished to its place; what an earlier answer had, and this hasn't, goes.

    Raises:
        OSError: if something can't be moved.
    """
    (out / ANSWERS).unlink(missing_ok=True)  # of files that are about to change
    for name in FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
        if (work / name).is_dir():
            (work / name).replace(out / name)
    for name in FILES:
        if (work / name).is_file():
            (work / name).replace(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    (work / ANSWERS).replace(out / ANSWERS)


def tell_failures(out: Path, answer: Answer) -> None:
    """Write failures.csv, or take an earlier one away (C-11)."""
    write_failures(out, "frame", answer.failures)


def lines(counted: Sequence[counts.Count], answer: Answer) -> list[str]:
    """What was found, a line a source that something was found in, and what must be known."""
    said = [f"{', '.join(answer.marks())}"] if answer.marks() else []
    for source in answer.sources:
        found = [f"{one.count} {one.label}" for one in counted
                 if one.source == source.name and one.count]  # fmt: skip
        if not answer.by_source[source.name]:
            said.append(f"{source.name}: can't be read")
            continue
        by = "by tracks" if source.in_time else "one by one"
        said.append(f"{source.name}: {', '.join(found) or 'nothing found'} ({by})")
    people = sum(one.count or 0 for one in counted
                 if one.label in answer.people and one.source != counts.EVERY)  # fmt: skip
    if people:
        said.append(f"{people} people to be checked by a person: {PEOPLE}")
    said.append(answer.provenance.disclaimer)
    return said
