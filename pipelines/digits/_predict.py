"""`fieldsight digits predict`: from pictures to a CSV of the digits in them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines import _tracking, _training
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import (
    check_output_file,
    check_output_folder,
)

if TYPE_CHECKING:
    from fieldsight.pipelines._models import ModelFile
    from fieldsight.pipelines.digits import Predict

COLUMNS = ("file", "x0", "y0", "x1", "y1", "digit", "probability", "margin")
MAKE_WITH = "make digits (or fieldsight digits train --data mnist)"
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm")


@dataclasses.dataclass(frozen=True)
class Answer:
    """One digit that was read: its box as displayed, in the working picture, and the answer."""

    box: tuple[int, int, int, int]
    working_box: tuple[float, float, float, float]
    line: int
    digit: int
    probability: float
    margin: float


def predict(settings: Predict) -> int:
    """Read every picture and write the answers; return the exit code."""
    check_output_file("--out", settings.out)
    if settings.overlay is not None:
        check_output_folder("--overlay", settings.overlay)
    files = list(_pictures(settings.pictures))
    # UCI's digits are enlarged from 8x8: whatever else a model has seen suits pictures better.
    found = _tracking.find_model(
        settings.model, application="digits", last=("uci",), make_with=MAKE_WITH
    )
    if found.card.data == "uci":
        print(
            "note: this model has seen UCI's coarse 8x8 digits alone; `fieldsight digits train "
            "--data mnist` makes one that reads pictures better",
            file=sys.stderr,
        )
    _training.prepare_backend(0)
    from fieldsight.pipelines._models import load_model

    model = load_model(found.path)
    rows: list[tuple[str, Answer]] = []
    failures: dict[str, str] = {}
    overlays = _overlay_names(files, settings.overlay)
    for file in _watched(files):
        try:
            answers, image = read_picture(model, file)
        except DataError as error:
            failures[str(file)] = str(error)
            print(f"fieldsight: {error}", file=sys.stderr)
            continue
        rows += [(str(file), answer) for answer in answers]
        print(f"{file}: {_as_text(answers) or 'no digits'}")
        if settings.overlay is not None:
            _draw(overlays[file], image, answers, found)
    if len(failures) == len(files):  # answers of an earlier time stay
        print(f"fieldsight: nothing could be read; {settings.out} isn't written", file=sys.stderr)
        return 2
    write_atomically(settings.out, _csv(rows).encode())
    about = settings.out.with_suffix(".json")
    write_atomically(about, _provenance(settings, found, files, rows, failures).encode())
    print(f"{len(rows)} digits from {len(files) - len(failures)} of {len(files)} pictures in "
          f"{settings.out}; read by {found.title}, as {about} says too")  # fmt: skip
    return 1 if failures else 0


def read_picture(model: Any, file: Path) -> tuple[list[Answer], Any]:
    """The digits of one picture file in reading order, and the picture as it was worked on.

    Raises:
        DataError: if the file is no readable picture.
    """
    from fieldsight.datasets.handwriting import find_digits
    from fieldsight.datasets.pictures import read_picture

    picture = read_picture(file)
    found = find_digits(picture.image)
    if not found:
        return [], picture.image
    images = np.stack([digit.image for digit in found])
    probabilities = model.predict(images, batch_size=256, verbose=0)
    ordered = np.sort(probabilities, axis=1)
    answers = []
    for digit, answer, best, second in zip(
        found, probabilities.argmax(axis=1), ordered[:, -1], ordered[:, -2], strict=True
    ):
        x0, y0, x1, y1 = (float(value) for value in digit.box)
        scale = picture.scale
        box = (
            max(0, int(np.floor(x0 * scale))),
            max(0, int(np.floor(y0 * scale))),
            min(picture.width, int(np.ceil(x1 * scale))),
            min(picture.height, int(np.ceil(y1 * scale))),
        )
        answers.append(
            Answer(
                box, (x0, y0, x1, y1), digit.line, int(answer), float(best), float(best - second)
            )
        )
    return answers, picture.image


def _pictures(given: Iterable[Path]) -> Iterator[Path]:
    """The files that were named, and the pictures of folders that were; each once."""
    seen = set()
    any_given = False
    for path in given:
        any_given = True
        files = [path]
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not files:
                raise CommandError(
                    f"{path}: no picture in this folder ({', '.join(SUFFIXES)} were looked for)."
                )
        for file in files:
            if file not in seen:
                seen.add(file)
                yield file
    if not any_given:
        raise CommandError(
            "at least one picture is needed. Received: none. "
            "For example: fieldsight digits predict page.jpg --overlay drawn"
        )


def _watched(files: list[Path]) -> Iterable[Path]:
    """With a progress bar on a terminal, where there is more than one picture."""
    if len(files) < 2:
        return files
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(files, "reading", console=console, disable=not console.is_terminal)


def _as_text(answers: list[Answer]) -> str:
    """What was read, lines parted by a slash, as one would say it."""
    lines: dict[int, str] = {}
    for answer in answers:
        lines[answer.line] = lines.get(answer.line, "") + str(answer.digit)
    return " / ".join(lines.values())


def _csv(rows: list[tuple[str, Answer]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for file, answer in rows:
        scores = (f"{answer.probability:.6f}", f"{answer.margin:.6f}")
        writer.writerow((file, *answer.box, answer.digit, *scores))
    return text.getvalue()


def _provenance(
    settings: Predict,
    found: ModelFile,
    files: list[Path],
    rows: list[tuple[str, Answer]],
    failures: dict[str, str],
) -> str:
    counts = dict.fromkeys((str(file) for file in files if str(file) not in failures), 0)
    for file, _ in rows:
        counts[file] += 1
    return json.dumps(
        {
            "answers": settings.out.name,
            "model": found.name,
            "version": found.version,
            "run": found.run_id,
            "data": found.card.data,
            "simulated": found.card.simulated,
            "card": dataclasses.asdict(found.card),
            "digits_by_picture": counts,
            "failures": failures,
        },
        indent=2,
    )


def _overlay_names(files: list[Path], folder: Path | None) -> dict[Path, Path]:
    """A file a picture; pictures of one name from two folders don't overwrite each other."""
    if folder is None:
        return {}
    names: dict[Path, Path] = {}
    used: set[str] = set()
    for file in files:
        name, count = f"{file.stem}.png", 1
        while name in used:
            count += 1
            name = f"{file.stem}-{count}.png"
        used.add(name)
        names[file] = folder / name
    return names


def _draw(path: Path, image: Any, answers: list[Answer], found: ModelFile) -> None:
    from fieldsight.pipelines import _figures

    drawn = _figures.digit_overlay(
        image,
        np.array([answer.working_box for answer in answers], float).reshape(-1, 4),
        [answer.digit for answer in answers],
        [answer.probability for answer in answers],
        found.title,
    )
    _figures.save(drawn, path)
