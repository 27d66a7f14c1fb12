"""Find, measure and rate nodules in chest CT; for research, no medical device.

`make lung` simulates patients, trains on them and scores others, in some minutes;
`fieldsight lung train --data DIR` trains on LUNA16, LIDC-IDRI, the Data Science Bowl's scans or a
folder of series with a CSV. What is measured stands in docs/measurements.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

# Here and not where they are used: help must be instant, and those modules import SciPy.
Detail = Literal["quick", "full"]
Setting = Literal["default", "other"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Train the detector, the segmenter and the scores of suspicion; score test patients once.

    Without --data, patients are simulated, written as DICOM series and read back: the figures are
    then of simulated patients. The run is tracked, and the model registered.
    """

    data: Path | None = None
    """LUNA16's folder, LIDC-IDRI's, the Bowl's, or series with a CSV; left out: simulated."""
    full: bool = False
    """Full detail, more patients, half an hour; left out: a 2 mm grid, some minutes."""
    cases: int | None = None
    """Scans to use of --data, or patients to simulate; left out: all, or as many as it needs."""
    fold: int = 0
    """LUNA16's fold that is tested; the next one validates."""
    epochs: float = 1.0
    """Times the recipe's training: 0.1 for a trial, 3 for a long one."""
    cache: Path | None = None
    """The folder of prepared scans, kept between runs; left out: beside the run."""
    seed: int = 0
    """Of the simulated patients, the split, the weights and the order of patches."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """auto tries bfloat16 where the device has it and takes it where it gains."""
    resume: str | None = None
    """A run that was stopped, by its id: it goes on from its last finished stage and epoch."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Train."""
        from fieldsight.pipelines.lung._train import train

        return train(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a model on labelled scans of yours: free response, suspicion, by size and type."""

    data: Path
    """LUNA16's folder, LIDC-IDRI's, the Bowl's, or series with a CSV of world coordinates."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion."""
    out: Path | None = None
    """A folder for the candidates in LUNA16's submission form, the figures and the FROC."""
    cache: Path | None = None
    """The folder of prepared scans; left out: they are prepared anew."""
    allow_simulated: bool = False
    """Score real scans with a model that has seen simulated patients alone."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Score."""
        from fieldsight.pipelines.lung._evaluate import evaluate

        return evaluate(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict:
    """Find the nodules of CT series, measure and rate them; write what a viewer opens.

    For each series a folder: findings.csv (LUNA16's form), findings.json, 3D Slicer markups, DICOM
    SR and SEG where the source is DICOM, a montage. Series that fail stand in failures.csv. Exit
    code 0; 1 if some series failed; 2 if nothing could be done.
    """

    series: tyro.conf.Positional[tuple[Path, ...]]
    """DICOM folders, DICOMDIRs, zips, .mhd, .mha, .nii, .nii.gz, or folders of them."""
    out: Path
    """The folder for the answers, a folder a series in it."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion, real data first."""
    allow_simulated: bool = False
    """Read real scans with a model that has seen simulated patients alone; outputs are marked."""
    pseudonymise: bool = False
    """Replace the patient's and the study's attributes in SR and SEG, and remap every UID."""
    uids: bool = False
    """Write UIDs of the series and of each finding's central slice into findings.json too."""
    threshold: float | None = None
    """The probability from which a candidate is a finding; left out: the model's own."""

    def run(self) -> int:
        """Find."""
        from fieldsight.pipelines.lung._predict import predict

        return predict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulate:
    """Write simulated patients as DICOM series with LUNA16's tables, and nothing else."""

    out: Path
    """The folder; SIMULATED.json in it says what it is."""
    seed: int = 0
    """Of everything."""
    count: int = 8
    """Patients."""
    first: int = 0
    """The number of the first patient: patient k is the same whatever else is written."""
    detail: Detail = "quick"
    """quick: coarse voxels, a second a patient; full: as scanners have them."""
    setting: Setting = "default"
    """other: another scanner and other patients, which the default models never see."""

    def run(self) -> int:
        """Write."""
        from fieldsight.pipelines.lung._simulate import simulate

        return simulate(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepare:
    """Fill the cache alone: read, resample, find the lungs. Stopped, it goes on where it was."""

    data: Path
    """LUNA16's folder, LIDC-IDRI's, the Bowl's, or series with a CSV of world coordinates."""
    cache: Path
    """The folder of prepared scans, for train and evaluate."""
    spacing_mm: float = 1.0
    """Of the grid: 1 for --full, 2 for the quick model."""
    json: bool = False
    """Print what was done to stdout as one JSON object."""

    def run(self) -> int:
        """Prepare."""
        from fieldsight.pipelines.lung._prepare import prepare

        return prepare(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspect:
    """Print what the reader finds in series and any trouble; draw three planes of each."""

    series: tyro.conf.Positional[tuple[Path, ...]]
    """DICOM folders, DICOMDIRs, zips, .mhd, .mha, .nii, .nii.gz, or folders of them."""
    out: Path | None = None
    """A folder for a picture a series: three planes with scale bars."""
    json: bool = False
    """Print what was found to stdout as one JSON object."""

    def run(self) -> int:
        """Look."""
        from fieldsight.pipelines.lung._inspect import inspect

        return inspect(self)


ACTIONS = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "simulate": Simulate,
    "prepare": Prepare,
    "inspect": Inspect,
}
