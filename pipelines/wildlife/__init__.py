"""Find, count and place animals in pictures and videos from above; flag people for a ranger.

`make wildlife` simulates thermal flights, trains on them and scores others, in some minutes;
`fieldsight wildlife train --data DIR` trains on BIRDSAI, COCO, Pascal VOC, YOLO, MOTChallenge, or
a CSV of boxes or points. What is measured stands in docs/measurements.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

# Here and not where they are used: help must be instant, and those modules import SciPy.
Detail = Literal["quick", "full"]
Setting = Literal["default", "other"]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
Polarity = Literal["auto", "hot", "cold"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Train the detector; choose its thresholds on validation flights; score test flights once.

    Without --data, thermal flights are simulated, written in BIRDSAI's layout and read back: the
    figures are then of simulated flights. The run is tracked, and the model registered.
    """

    data: Path | None = None
    """BIRDSAI's folder, COCO's JSON, VOC's XML, a YOLO data.yaml, MOTChallenge's folder, or a CSV
    of boxes (image_path,xmin,ymin,xmax,ymax,label) or points (images,x,y,labels); left out:
    simulated."""
    full: bool = False
    """More flights, places two pixels apart, a long training; left out: some minutes."""
    flights: int | None = None
    """Flights to simulate; left out: as many as it needs."""
    stride: Literal[2, 4] | None = None
    """Pixels between two places at which something may be; left out: 4, with --full 2."""
    radius_px: float = 16.0
    """Of data whose marks are points: half the side of the boxes that stand for them."""
    frames_per_second: float | None = None
    """Of the sequences in --data, for false alarms an hour; left out: as seqinfo.ini says, else 6
    if simulated, else 30."""
    cache: Path | None = None
    """The folder for simulated flights, kept between runs; left out: beside the run."""
    epochs: float = 1.0
    """Times the recipe's training: 0.1 for a trial, 3 for a long one."""
    seed: int = 0
    """Of the simulated flights, the split, the weights and the order of windows."""
    precision: Precision = "auto"
    """auto takes bfloat16 where the processor has it."""
    resume: str | None = None
    """A run that was stopped, by its id: it goes on from its last finished stage and epoch."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Train."""
        from fieldsight.pipelines.wildlife._train import train

        return train(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a model on marked pictures of yours: AP by size, F1, tracks, counts, false alarms."""

    data: Path
    """BIRDSAI's folder, COCO's JSON, VOC's XML, a YOLO data.yaml, MOTChallenge's folder, or a CSV
    of boxes or points."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion."""
    part: Literal["all", "test"] = "all"
    """test: the part that --data publishes for it alone."""
    radius_px: float = 16.0
    """Of data whose marks are points: half the side of the boxes that stand for them."""
    frames_per_second: float | None = None
    """Of the sequences, for false alarms an hour; left out: as seqinfo.ini says, else 6 if
    simulated, else 30."""
    false_alarms_per_hour: float = 10.0
    """The budget, by which validation chose the operating point."""
    polarity: Polarity = "auto"
    """Whether what is hot is bright (hot) or dark (cold) in thermal frames; auto: guessed."""
    out: Path | None = None
    """A folder for the figures, the pictures and the people that were missed."""
    allow_simulated: bool = False
    """Score real pictures with a model that has seen simulated ones alone."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Score."""
        from fieldsight.pipelines.wildlife._evaluate import evaluate

        return evaluate(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict:
    """Find what is in pictures, sequences, videos and orthomosaics; count it, place it, draw it.

    Writes detections.coco.json, detections.megadetector.json, counts.csv, of sequences
    tracks.mot.csv, where the place is known detections.gpkg and .geojson, and annotated pictures
    and videos. People are for a human to check; nothing says that a place is empty. What fails
    stands in failures.csv. Exit code 0; 1 if some inputs failed; 2 if nothing could be done.
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Pictures, videos, GeoTIFFs, or folders of pictures or frames."""
    out: Path
    """The folder for the answers."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion, real data first."""
    threshold: float | None = None
    """The score from which a detection is one; left out: the model's own."""
    frames_per_second: float | None = None
    """Of frame sequences; left out: unknown."""
    polarity: Polarity = "auto"
    """Whether what is hot is bright (hot) or dark (cold) in thermal frames; auto: guessed."""
    telemetry: Path | None = None
    """A CSV or .SRT of where the camera was, or a folder of them; left out: looked for beside."""
    terrain: Path | None = None
    """A raster of the ground's heights; left out: flat earth, its error stated."""
    field_of_view: float | None = None
    """Degrees that the camera sees from left to right; left out: what telemetry says."""
    blur_locations: float | None = None
    """Kilometres: places are snapped to a grid of such cells, and telling names and tags left
    out."""
    pictures: bool = True
    """Draw annotated pictures and videos."""
    allow_simulated: bool = False
    """Look at real pictures with a model that has seen simulated ones alone; outputs are
    marked."""
    json: bool = False
    """Print the counts to stdout as one JSON object."""

    def run(self) -> int:
        """Find."""
        from fieldsight.pipelines.wildlife._answering import predict

        return predict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """Alert for each new person, vehicle or animal, as frames come: a line of JSON and a picture.

    The operating point is what validation flights gave for so many false alarms an hour. Whoever
    looks for people must look on: nothing that is written says that a place is empty. Ends with
    the source, or by Ctrl-C. Exit code 0; 1 if some frames failed; 2 if none could be looked at.
    """

    source: tyro.conf.Positional[str]
    """A folder that is being written, a video file, or a stream's address (rtsp://, udp://)."""
    out: Path
    """The folder for alerts.jsonl and the pictures."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion, real data first."""
    false_alarms_per_hour: float = 10.0
    """Of each kind, as many as somebody has time to look at."""
    frames_per_second: float | None = None
    """Of a folder; left out: as its frames come."""
    idle_s: float | None = None
    """End when no frame came for so many seconds; left out: wait on."""
    polarity: Polarity = "auto"
    """Whether what is hot is bright (hot) or dark (cold) in thermal frames; auto: guessed."""
    allow_simulated: bool = False
    """Watch real flights with a model that has seen simulated ones alone; alerts are marked."""
    json: bool = False
    """Print nothing but alerts to stdout."""

    def run(self) -> int:
        """Watch."""
        from fieldsight.pipelines.wildlife._answering import watch

        return watch(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulate:
    """Write simulated thermal flights in BIRDSAI's layout, and orthomosaics in COCO's."""

    out: Path
    """The folder; SIMULATED.json in it says what it is."""
    seed: int = 0
    """Of everything."""
    count: int = 12
    """Flights."""
    mosaics: int = 1
    """Colour orthomosaics."""
    first: int = 0
    """The number of the first flight: flight k is the same whatever else is written."""
    detail: Detail = "quick"
    """quick: 40 frames a flight; full: 240, and larger mosaics."""
    setting: Setting = "default"
    """other: higher, more aslant, a noisier sensor, other animals: the default models never see
    it."""

    def run(self) -> int:
        """Write."""
        from fieldsight.pipelines.wildlife._simulate import simulate

        return simulate(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepare:
    """Check marked pictures: read every one, count what is marked, tell what can't be used.

    Exit code 0; 1 if some failed (failures.csv); 2 if there was nothing to do.
    """

    data: Path
    """BIRDSAI's folder, COCO's JSON, VOC's XML, a YOLO data.yaml, MOTChallenge's folder, or a CSV
    of boxes or points."""
    out: Path
    """The folder for what was found: summary.json, groups.csv, boxes.csv, failures.csv."""
    radius_px: float = 16.0
    """Of data whose marks are points: half the side of the boxes that stand for them."""
    json: bool = False
    """Print the summary to stdout as one JSON object."""

    def run(self) -> int:
        """Check."""
        from fieldsight.pipelines.wildlife._prepare import prepare

        return prepare(self)


ACTIONS = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "watch": Watch,
    "simulate": Simulate,
    "prepare": Prepare,
}
