"""What `fieldsight lung predict` writes for a series: tables, markups, reports, a picture.

Everything is written into a folder beside its place, which is then renamed: whoever looks finds
all of a series' answers or none. findings.csv names the series by its UID, since LUNA16's form is
joined on it; other UIDs stand in findings.json, where they are asked for; pictures and markups
have none. With pseudonyms every UID is another, in all of them the same.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.findings import (
    Finding,
    Provenance,
    write_csv,
    write_json,
)
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines import _environment
from fieldsight.pipelines._errors import CommandError

if TYPE_CHECKING:
    from fieldsight.datasets.dicom_source import Pseudonyms, Source
    from fieldsight.pipelines._models import ModelFile
    from fieldsight.pipelines.lung._montage import Heat

CSV, JSON, MARKUPS = "findings.csv", "findings.json", "findings.mrk.json"
SR, SEG, MONTAGE = "report.sr.dcm", "nodules.seg.dcm", "findings.png"
FILES = (CSV, JSON, MARKUPS, SR, SEG, MONTAGE)


def write_all(
    folder: Path,
    volume: Volume,
    findings: Sequence[Finding],
    provenance: Provenance,
    *,
    threshold: float = 0.0,
    pseudonyms: Pseudonyms | None = None,
    uids: bool = False,
    heat: Mapping[int, Heat] | None = None,
    patient_score: float | None = None,
) -> list[Path]:
    """Write every answer about a series; no finding is an answer too (C-11).

    The CSV and the JSON have all candidates; report, segmentation, markups and picture those that
    reach the threshold. Numbers are of the JSON's order in all of them: the candidates are sorted
    here, the most probable first.

    Args:
        folder: for this series alone; one that holds its earlier answers is replaced.
        volume: the scan.
        findings: all candidates, in any order.
        provenance: what found them.
        threshold: the probability from which a candidate is a finding.
        pseudonyms: replace patient and study in SR and SEG, and every UID; one object for a whole
            batch, so that series of a study stay together.
        uids: write the series' and the central slices' UIDs into findings.json.
        heat: by the place of a candidate in `findings`, from 0.
        patient_score: of suspicion, 0 to 1.

    Returns:
        The files that were written. SR and SEG are missing where the volume isn't of DICOM, SEG
        where nothing was segmented; findings.json says why.

    Raises:
        CommandError: if the folder holds other things, or can't be written to.
    """
    check_folder(folder)
    order = sorted(range(len(findings)), key=lambda place: -findings[place].probability)
    candidates = [findings[place] for place in order]
    shown = [one for one in candidates if one.probability >= threshold]
    maps = {number: heat[place] for number, place in enumerate(order, 1) if heat and place in heat}
    beside = folder.with_name(f".{uuid.uuid4().hex[:8]}.{folder.name}")
    try:
        beside.mkdir(parents=True)
        source, notes = _reports(
            beside, volume, shown, provenance, pseudonyms=pseudonyms, patient_score=patient_score
        )
        _tables(
            beside, volume, candidates, provenance, threshold=threshold, uids=uids, source=source,
            pseudonyms=pseudonyms, notes=notes, patient_score=patient_score,
        )  # fmt: skip
        _pictures(beside, volume, candidates, shown, provenance, threshold, maps)
        _put(beside, folder)
    except OSError as error:
        raise CommandError(
            f"{folder} can't be written ({error.strerror or error}). Earlier answers in it are "
            "unchanged. Free some space, or choose another folder."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return [folder / name for name in FILES if (folder / name).exists()]


def provenance_of(found: ModelFile) -> Provenance:
    """What every output says of the model that found it (C-10)."""
    card = found.card
    return Provenance(
        model=found.title,
        version=str(found.version or ""),
        trained_on=card.data,
        simulated=card.simulated,
        run=str(found.run_id or card.run_id or ""),
        software=_environment.version("fieldsight") or "unknown",
    )


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds what isn't ours: it is replaced as a whole.

    Raises:
        CommandError: if it does, or is a file.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CommandError(f"a folder was needed. Received: {folder}, a file. Name another place.")
    others = sorted(path.name for path in folder.iterdir() if path.name not in FILES)
    if others:
        raise CommandError(
            f"a folder for the answers about one series was needed. Received: {folder}, which "
            f"holds other things ({', '.join(others[:3])}). Name another place."
        )


def _reports(
    folder: Path,
    volume: Volume,
    shown: Sequence[Finding],
    provenance: Provenance,
    *,
    pseudonyms: Pseudonyms | None,
    patient_score: float | None,
) -> tuple[Source | None, list[str]]:
    """Write SEG and SR where the volume is of DICOM; what they were made from, and what to say."""
    if not volume.slices:
        return None, ["SR and SEG aren't written: they refer to DICOM images, and these are none."]
    from fieldsight.datasets.dicom_seg import write_seg
    from fieldsight.datasets.dicom_source import read_source
    from fieldsight.datasets.dicom_sr import write_sr

    try:
        source = read_source(volume, pseudonyms)
        segmented = write_seg(folder / SEG, volume, shown, provenance, source)
        write_sr(
            folder / SR, volume, shown, provenance, source, segmented=segmented,
            patient_score=patient_score,
        )  # fmt: skip
    except DataError as error:
        for name in (SEG, SR):
            (folder / name).unlink(missing_ok=True)
        return None, [f"SR and SEG aren't written: {error}"]
    notes = [f"SR and SEG: {note}" for note in source.notes]
    if segmented is None:
        notes.append("SEG isn't written: no finding was segmented.")
    return source, notes


def _tables(
    folder: Path,
    volume: Volume,
    candidates: Sequence[Finding],
    provenance: Provenance,
    *,
    threshold: float,
    uids: bool,
    source: Source | None,
    pseudonyms: Pseudonyms | None,
    notes: Sequence[str],
    patient_score: float | None,
) -> None:
    series = volume.series_uid
    instances = [part.sop_instance_uid for part in volume.slices]
    if source is not None:
        series = source.series_uid
        instances = [part.sop_instance_uid for part in source.slices]
    elif pseudonyms is not None:
        series = pseudonyms.uid(series)
        instances = [uid and pseudonyms.uid(uid) for uid in instances]
    write_csv(folder / CSV, series, candidates)
    write_json(
        folder / JSON,
        volume,
        candidates,
        provenance,
        threshold=threshold,
        patient_score=patient_score,
        uids=instances if uids else None,
        series_uid=series,
        notes=notes,
    )


def _pictures(
    folder: Path,
    volume: Volume,
    candidates: Sequence[Finding],
    shown: Sequence[Finding],
    provenance: Provenance,
    threshold: float,
    heat: Mapping[int, Heat],
) -> None:
    from fieldsight.datasets.slicer import write_markups
    from fieldsight.pipelines import _figures
    from fieldsight.pipelines.lung._montage import montage

    write_markups(folder / MARKUPS, volume, shown, provenance)
    figure = montage(volume, candidates, provenance, threshold=threshold, heat=heat)
    (folder / MONTAGE).write_bytes(_figures.png(figure))


def _put(beside: Path, folder: Path) -> None:
    """Rename a finished folder to its place; what stood there goes when it is safe."""
    for path in beside.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if not folder.exists():
        beside.replace(folder)
        return
    old = folder.with_name(f".{uuid.uuid4().hex[:8]}.old.{folder.name}")
    folder.replace(old)
    try:
        beside.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
