"""The pictures and the page of a training run."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.detections import Answer, Detection, Source, drawing
from fieldsight.pipelines import _environment, _figures, _report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldsight.pipelines._models import Card, ModelFile
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.wildlife._cohort import Cohort, Eye
    from fieldsight.pipelines.wildlife._comparison import Chosen, Comparison
    from fieldsight.pipelines.wildlife._scores import Looked

Array = NDArray[Any]

SHOWN = 3  # frames, of three sequences or pictures
MISSED = 8  # people that were missed
CROP = 64  # pixels of a side about one of these
TRUE_COLOUR = (90, 160, 255)


def report(
    run: Run,
    cohort: Cohort,
    chosen: Chosen,
    test: Comparison,
    figures: Mapping[str, float],
    tables: Sequence[_report.Table],
    history: Mapping[str, Sequence[float]],
    card: Card,
    answers: Path | None,
    file: ModelFile,
) -> None:
    """Draw the run and log its pictures and its page, `report.html`.

    Args:
        run: the run to log to.
        cohort: the pictures.
        chosen: the thresholds.
        test: the scores.
        figures: the final metrics.
        tables: all that are shown.
        history: losses by epoch.
        card: the model's.
        answers: the folder of one test flight's answers, its film in it.
        file: the model's.
    """
    from fieldsight.pipelines.wildlife._cohort import Eye

    word = "SIMULATED flights" if cohort.simulated else cohort.name
    data = f"{word}, test split, {sum(len(one.found) for one in test.looked)} frames"
    drawn: dict[str, tuple[str, str, Figure]] = {
        "precision_recall": (
            "Precision and recall",
            "Objects within 0.5 of overlap, whatever the class, by falling score.",
            curve(test, data=data),
        ),
        "curves": (
            "Learning curves",
            "Loss by epoch, on training windows and on those of validation flights.",
            _figures.learning_curves(history, data=f"{word}, detector"),
        ),
    }
    eye = Eye(cohort.thermal)
    gallery = missed_people(test, eye, data=data)
    if gallery is not None:
        drawn["missed_people"] = (
            "People that were missed",
            "In the frame in which each was largest; the middle is where it stood (W-11).",
            gallery,
        )
    shown = _report.keep_pictures(run, drawn)
    answer = _empty_answer(cohort, chosen, file)
    for number, (name, picture) in enumerate(frames_of(test, eye, answer, chosen)):
        path = run.folder / "pictures" / f"frame{number}.png"
        path.write_bytes(picture)
        run.artifact(path, "pictures")
        caption = "Yellow and other colours: found. Thin blue: marked. Magenta: people, to check."
        shown.insert(number, (f"{name}, test split", caption, picture))
    notes = [f"Split: {cohort.how}. The test flights were scored once.", card.limits]
    if cohort.simulated:
        notes.insert(0, "SIMULATED flights: these figures say nothing of real ones.")
    if answers is not None and (answers / "videos").is_dir():
        notes.append("An annotated film of a test flight lies beside, in flight/answers/videos.")
    page = _report.write_report(
        run.folder / "report.html",
        title=f"Wildlife from above: {cohort.name}",
        summary={name: figures[name] for name in _first(figures)},
        baseline="threshold on what stands out from its surroundings",
        settings=run.settings,
        environment=_environment.tags() | _environment.device_tags(),
        card=dataclasses.asdict(card),
        figures=shown,
        tables=tables,
        notes=notes,
    )
    run.artifact(page)


def _first(figures: Mapping[str, float]) -> list[str]:
    """The figures' names, those that matter most first."""
    from fieldsight.pipelines.wildlife._train import HEADLINE

    return [*(name for name in HEADLINE if name in figures),
            *(name for name in figures if name not in HEADLINE)]  # fmt: skip


@_figures.styled
def curve(compared: Comparison, *, data: str) -> Figure:
    """Precision by recall, of the detector and of the classical method where it was scored."""
    figure = _figures.blank("Precision and recall", data, 4.5)
    axes = figure.add_subplot()
    methods = {"detector": compared.frames, "threshold": compared.baseline}
    for name, scores in methods.items():
        if scores is None:
            continue
        recall, precision = scores.curve
        known = f", AP at 0.5 {scores.figures['ap50']:.3f}" if "ap50" in scores.figures else ""
        axes.plot(recall, precision, label=name + known)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.legend(loc="lower left")
    return figure


def missed_people(compared: Comparison, eye: Eye, *, data: str) -> Figure | None:
    """Crops about people that raised no alarm; None where none was missed."""
    units = {one.unit.name: one.unit for one in compared.looked}
    cells: list[tuple[Array, str, str]] = []
    for _, name, track, label in compared.missed[:MISSED]:
        unit = units[name]
        best = None
        for frame, shot in zip(unit.frames, eye.follow(unit.shots()), strict=True):
            for box in frame.boxes[frame.tracks == track]:
                size = float(np.prod(box[2:] - box[:2]))
                if best is None or size > best[0]:
                    best = (size, _crop(shot.image, box))
        if best is not None:
            cells.append((best[1], f"{label} {track}", name.rsplit("/", 1)[-1][-14:]))
    if not cells:
        return None
    title = f"People that raised no alarm: {len(compared.missed)}"
    return _figures.styled(_figures.gallery)(cells, title, data, columns=4)


def _crop(image: Array, box: Array) -> Array:
    x, y = (box[:2] + box[2:]) / 2
    half = CROP // 2
    padded = np.pad(drawing.to_rgb(image), ((half, half), (half, half), (0, 0)))
    top, left = round(float(y)), round(float(x))
    return padded[top : top + CROP, left : left + CROP]


def frames_of(
    compared: Comparison, eye: Eye, answer: Answer, chosen: Chosen
) -> list[tuple[str, bytes]]:
    """Names and PNGs of frames with what was found and what was marked, from several flights."""
    fullest = sorted(
        compared.looked, key=lambda one: -max(len(frame.boxes) for frame in one.unit.frames)
    )
    return [_drawn(one, eye, answer, chosen) for one in fullest[:SHOWN]]


def _drawn(one: Looked, eye: Eye, answer: Answer, chosen: Chosen) -> tuple[str, bytes]:
    from PIL import Image, ImageDraw

    from fieldsight.pipelines.wildlife._finder import alone

    number = int(np.argmax([len(frame.boxes) for frame in one.unit.frames]))
    frame = one.unit.frames[number]
    shots = eye.follow(one.unit.shots())
    image = next(shot.image for i, shot in enumerate(shots) if i == number)
    found = alone(one.found[number])
    detections = [
        Detection(frame.name, tuple(float(side) for side in box), min(1.0, float(score)),  # type: ignore[arg-type]
                  answer.classes[int(label)])
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
        if score >= chosen.threshold
    ]  # fmt: skip
    picture = Image.fromarray(drawing.draw(image, detections, answer, title=frame.name))
    pen, factor = ImageDraw.Draw(picture), drawing.factor_of(image.shape[:2])
    for box in frame.boxes:
        pen.rectangle([float(side) * factor for side in box], outline=TRUE_COLOUR)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return frame.name, file.getvalue()


def _empty_answer(cohort: Cohort, chosen: Chosen, file: ModelFile) -> Answer:
    """Whose model and classes pictures name."""
    from fieldsight.pipelines.wildlife._finder import provenance_of

    found = cohort.found
    simulated = frozenset({found.name}) if cohort.simulated else frozenset()
    return Answer(
        (Source(found.name, "sequence"),), (), found.classes, provenance_of(file), found.people,
        found.vehicles, chosen.threshold, simulated,
    )  # fmt: skip
