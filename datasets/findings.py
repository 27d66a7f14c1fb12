"""Nodules that a model found in a scan, what found them, and the tables that hold them.

`write_csv` writes LUNA16's submission form, `write_json` everything that is known. Neither holds
an attribute of a patient. LUNA16's form names the series by its UID, since its own script joins
on that; findings.json holds UIDs only where its caller asks for them.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.volume import DOMAIN, Volume, thick_slices

COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "probability")  # LUNA16's submission form
DISCLAIMER = "For research only: not a medical device, not for diagnosis. Unverified by a reader."
SUSPICION = "how suspicious readers of such nodules would call it, 0 to 1; not a pathology"

_UID = re.compile(r"\b[0-2](?:\.\d+){4,}\b")


@dataclass(frozen=True, eq=False)
class Finding:
    """One nodule that was found.

    Args:
        centre_mm: x, y, z, LPS millimetres.
        diameter_mm: of the segmented nodule, or as the detector saw it.
        volume_mm3: of the segmented nodule; None if it was not segmented.
        probability: that it is a nodule, 0 to 1.
        suspicion: that readers would call it malignant, 0 to 1; None if it was not rated.
        mask: `(planes, rows, columns)` bool on the volume's own grid; None if not segmented.
        mask_start: the volume's plane, row and column of the mask's first voxel.

    Raises:
        ValueError: if a number isn't finite or out of its range, or the mask isn't a volume.

    Example:
        >>> Finding((-60.0, 12.5, -210.0), 6.2, None, 0.91).suspicion is None
        True
    """

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    volume_mm3: float | None
    probability: float
    suspicion: float | None = None
    mask: Array | None = None
    mask_start: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        numbers = np.array([*self.centre_mm, self.diameter_mm, self.volume_mm3 or 0.0], float)
        if len(self.centre_mm) != 3 or not np.isfinite(numbers).all() or numbers[3:].min() < 0:
            raise ValueError(
                "a finding has a centre x, y, z, a diameter and a volume in millimetres, none of "
                f"them negative. Received: {self.centre_mm}, {self.diameter_mm}, "
                f"{self.volume_mm3}."
            )
        for share in (self.probability, 0.0 if self.suspicion is None else self.suspicion):
            if not 0 <= share <= 1:
                raise ValueError(f"probabilities lie within 0 and 1. Received: {share}.")
        if self.mask is not None and (self.mask.ndim != 3 or self.mask.dtype != bool):
            raise ValueError(
                "a mask is an array (planes, rows, columns) of bool. Received: shape "
                f"{self.mask.shape}, {self.mask.dtype}."
            )


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made an answer; every output repeats it (C-10).

    Args:
        model: its title in a few words.
        version: the model's own version.
        trained_on: the data it learned from.
        simulated: whether these data were simulated.
        run: the run that trained it.
        software: fieldsight's version.
        created: UTC, ISO 8601.
        disclaimer: what the answer must not be used for.
    """

    model: str
    version: str = ""
    trained_on: str = ""
    simulated: bool
    run: str = ""
    software: str = ""
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    disclaimer: str = DISCLAIMER


def marks(volume: Volume, provenance: Provenance) -> tuple[str, ...]:
    """What must be read before anything else: whether the scan or the training was simulated."""
    said = []
    if volume.facts.get("simulated"):
        said.append("SIMULATED scan")
    if provenance.simulated:
        said.append("model trained on SIMULATED patients alone")
    return tuple(said)


def cautions(volume: Volume) -> tuple[str, ...]:
    """What of a scan's grid lies outside what models have learned from, a sentence each (L-15)."""
    said = tuple(note for note in volume.notes if DOMAIN in note)
    return said or thick_slices(volume.spacing_mm[0], max(volume.spacing_mm[1:]))


def submission(rows: Iterable[tuple[str, Sequence[float], float]]) -> str:
    """LUNA16's submission form, header and all, of series UIDs, LPS mm and probabilities."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for series_uid, centre_mm, probability in rows:
        writer.writerow((series_uid, *(f"{x:.4f}" for x in centre_mm), f"{probability:.6f}"))
    return text.getvalue()


def write_csv(path: Path, series_uid: str, findings: Sequence[Finding]) -> None:
    """Write LUNA16's submission form: a header and a row a finding, LPS millimetres.

    Args:
        path: the file.
        series_uid: the series' UID, or its pseudonym; LUNA16's files are named by theirs.
        findings: in the order of rows; none is a header alone.
    """
    rows = ((series_uid, one.centre_mm, one.probability) for one in findings)
    path.write_text(submission(rows), "utf-8")


def write_json(
    path: Path,
    volume: Volume,
    findings: Sequence[Finding],
    provenance: Provenance,
    *,
    threshold: float = 0.0,
    patient_score: float | None = None,
    uids: Sequence[str] | None = None,
    series_uid: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Write all that is known of each finding, of the scan's grid and of the model.

    Args:
        path: the file.
        volume: the scan.
        findings: in their order; numbered from 1.
        provenance: what found them.
        threshold: the probability from which a finding is shown in reports and pictures.
        patient_score: of suspicion, 0 to 1, by leaky noisy-or (L-14).
        uids: the SOPInstanceUID of each plane, or its pseudonym; None leaves UIDs out (L-17).
        series_uid: the series' own; written with `uids` alone.
        notes: what else is to be said, a sentence each.
    """
    shown = [finding for finding in findings if finding.probability >= threshold]
    content: dict[str, Any] = {
        "disclaimer": provenance.disclaimer,
        "marks": marks(volume, provenance),
        "provenance": asdict(provenance),
        "scan": {
            "shape": volume.shape,
            "spacing_mm": [round(value, 6) for value in volume.spacing_mm],
            "axes": "plane, row, column",
            "coordinates": "LPS millimetres, as in DICOM",
        },
        "patient": {
            "score": _rounded(patient_score, 6),
            "score_is": "suspicion of the whole scan by leaky noisy-or, 0 to 1; not a diagnosis",
            "largest_diameter_mm": _rounded(
                max((one.diameter_mm for one in shown), default=None), 3
            ),
        },
        "threshold": _rounded(threshold, 6),
        "suspicion_is": SUSPICION,
        "findings": [
            _as_json(number, finding, volume, threshold, uids)
            for number, finding in enumerate(findings, 1)
        ],
    }
    if uids is not None:
        content["series_uid"] = series_uid
    said = dict.fromkeys([*cautions(volume), *volume.notes, *notes])
    # A note may name a slice by its own UID, whatever names the series goes by here.
    content["notes"] = [_UID.sub("(a UID)", note) for note in said]
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8")


def _as_json(
    number: int, finding: Finding, volume: Volume, threshold: float, uids: Sequence[str] | None
) -> dict[str, Any]:
    voxel = volume.to_index(finding.centre_mm)
    fields: dict[str, Any] = {
        "number": number,
        "shown": bool(finding.probability >= threshold),
        "centre_mm": [round(float(value), 4) for value in finding.centre_mm],
        "voxel": [round(float(value), 3) for value in voxel],
        "diameter_mm": _rounded(finding.diameter_mm, 3),
        "volume_mm3": _rounded(finding.volume_mm3, 3),
        "probability": _rounded(finding.probability, 6),
        "suspicion": _rounded(finding.suspicion, 6),
        "segmented": finding.mask is not None and bool(finding.mask.any()),
    }
    if uids:
        fields["sop_instance_uid"] = uids[central_plane(finding, volume)] or None
    return fields


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def central_plane(finding: Finding, volume: Volume) -> int:
    """The number, from 0, of the plane that lies nearest to a finding's centre."""
    plane = round(float(volume.to_index(finding.centre_mm)[0]))
    return min(max(plane, 0), volume.shape[0] - 1)


def labels(volume: Volume, findings: Sequence[Finding]) -> tuple[Array, tuple[int, int, int]]:
    """The findings' masks as one array of numbers, on the smallest box that holds them.

    A voxel of two masks belongs to the finding that comes first. What lies outside the volume is
    left out.

    Args:
        volume: the scan whose grid the masks are on.
        findings: at most 65,535.

    Returns:
        `(planes, rows, columns)` uint16, the finding's number from 1, 0 outside, and the volume's
        plane, row and column of its first voxel; empty where no finding has a mask.
    """
    placed = []
    for number, finding in enumerate(findings, 1):
        if finding.mask is None or not finding.mask.any():
            continue
        places = np.argwhere(finding.mask) + np.asarray(finding.mask_start)
        inside = ((places >= 0) & (places < volume.shape)).all(axis=1)
        if inside.any():
            placed.append((number, places[inside]))
    if not placed:
        return np.zeros((0, 0, 0), np.uint16), (0, 0, 0)
    first = np.min([places.min(axis=0) for _, places in placed], axis=0)
    last = np.max([places.max(axis=0) for _, places in placed], axis=0)
    array = np.zeros(last - first + 1, np.uint16)
    for number, places in reversed(placed):
        array[tuple((places - first).T)] = number
    plane, row, column = first.tolist()
    return array, (plane, row, column)
