"""Pictures with what was found in them drawn: whose it is stands below, people are marked.

They are drawn anew from pixels, so that no tag of the camera's file goes along.
"""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets.detections.rows import Answer, Detection, View
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.sample import Array

PRIVATE = "PEOPLE MAY BE SHOWN: private, check before passing on"
PEOPLE_COLOUR = (255, 0, 200)
COLOURS = ((255, 200, 0), (0, 220, 255), (120, 255, 80), (255, 120, 60), (170, 150, 255),
           (255, 255, 255), (0, 160, 130), (220, 90, 120))  # fmt: skip
NAMED_MOST = 40  # objects in a picture: more names would hide them
LARGEST = 2000  # pixels a side: larger pictures are drawn smaller
SMALLEST = 900  # columns: smaller pictures are drawn twice as large
LEAST_BOX = 9  # pixels a side of a box as it is drawn
QUALITY = 90

_TAIL = 0.5  # percent that may be darker than black and brighter than white
_BAR = (24, 24, 24)


def to_rgb(image: Array) -> Array:
    """`(rows, columns, 3)` uint8 of a picture of any kind; one of more than 8 bits is stretched.

    Args:
        image: `(rows, columns, 1 or 3)` uint8 or uint16.
    """
    if image.dtype != np.uint8:
        some = image[::4, ::4]
        low, high = np.percentile(some, (_TAIL, 100 - _TAIL))
        scaled = (image.astype(np.float32) - low) * (255.0 / max(float(high - low), 1.0))
        image = np.clip(scaled, 0, 255).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def factor_of(size: tuple[int, int]) -> float:
    """How many times larger a picture of these rows and columns is drawn."""
    if max(size) > LARGEST:
        return LARGEST / max(size)
    return 2.0 if size[1] < SMALLEST else 1.0


def draw(
    image: Array,
    detections: Sequence[Detection],
    answer: Answer,
    *,
    title: str,
    factor: float | None = None,
    lines: int | None = None,
) -> Array:
    """A picture with boxes, and below it what was found, by what, and whether it was simulated.

    Args:
        image: `(rows, columns, 1 or 3)` uint8 or uint16.
        detections: in its pixels.
        answer: whose classes, threshold and model are told; its views don't matter.
        title: what the picture is called.
        factor: it is drawn so many times larger; None chooses by its size. Of an image that was
            made smaller already, boxes are in the larger one's pixels: give what they are to be
            multiplied by, and the image as it is to be shown.
        lines: of text below the picture, so that all frames of a film are of one size; None for
            as many as it needs.

    Returns:
        `(rows, columns, 3)` uint8.
    """
    from PIL import Image, ImageDraw

    shown = Image.fromarray(to_rgb(image))
    factor = factor_of(image.shape[:2]) if factor is None else factor
    if factor > 1 or max(shown.size) > LARGEST:
        shown = shown.resize(
            (round(shown.width * factor), round(shown.height * factor)),
            Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX,
        )
    pen = ImageDraw.Draw(shown)
    for each in sorted(detections, key=lambda each: each.score):
        _box(pen, each, answer, factor, named=len(detections) <= NAMED_MOST)
    private = any(each.label in answer.people for each in detections)
    text = _lines(detections, answer, title)
    return _with_bar(np.asarray(shown), text, private=private, lines=lines)


def most_lines(answer: Answer, title: str, width: int) -> int:
    """Lines of text that a frame of so many columns, as it is drawn, may need below it.

    Args:
        answer: whose classes are told.
        title: of the frames, at its longest.
        width: of the drawn picture, in pixels.
    """
    found = ", ".join(f"99 {name}" for name in answer.classes)
    text = [PRIVATE, *_lines((), answer, f"{title}: {found}")]
    return sum(len(_wrapped(line, width)) for line in text if line)


def colour_of(label: str, answer: Answer) -> tuple[int, int, int]:
    """The colour of a class; people have their own."""
    if label in answer.people:
        return PEOPLE_COLOUR
    return COLOURS[answer.classes.index(label) % len(COLOURS)]


def save(path: Path, image: Array, answer: Answer) -> None:
    """Write a drawn picture as JPEG, whole or not at all; its comment names the model.

    Raises:
        OSError: if it can't be written.
    """
    from PIL import Image

    said = "; ".join((*answer.marks(), answer.provenance.model, answer.provenance.disclaimer))
    file = io.BytesIO()
    # Colours in full: lines of one pixel would fade.
    Image.fromarray(image).save(file, "JPEG", quality=QUALITY, subsampling=0, comment=said.encode())
    write_atomically(path, file.getvalue())


def picture(path: Path, image: Array, view: View, answer: Answer) -> None:
    """Draw and write one view.

    Raises:
        OSError: if it can't be written.
    """
    save(path, draw(image, view.detections, answer, title=view.name), answer)


def _box(pen: Any, each: Detection, answer: Answer, factor: float, *, named: bool) -> None:
    colour = colour_of(each.label, answer)
    left, top, right, bottom = (side * factor for side in each.box)
    person = each.label in answer.people
    width = 3 if person else 1
    # Around it with a gap: lines would hide what is a few pixels large.
    grow_x = max(width + 2.0, (LEAST_BOX - (right - left)) / 2)
    grow_y = max(width + 2.0, (LEAST_BOX - (bottom - top)) / 2)
    outer = (left - grow_x, top - grow_y, right + grow_x, bottom + grow_y)
    # With a dark line on both sides, that it is seen on any ground.
    pen.rectangle(tuple(np.add(outer, (-1, -1, 1, 1))), outline=(0, 0, 0), width=width + 2)
    pen.rectangle(outer, outline=colour, width=width)
    if named or person:
        text = f"{each.label}? CHECK" if person else each.label
        text += f" {each.score:.2f}" + (f" #{each.track}" if each.track >= 0 else "")
        if not named:
            text = "CHECK"
        font = _font(12)
        wide, height = pen.textlength(text, font=font), 14
        x = min(max(0.0, outer[0]), max(0.0, pen.im.size[0] - wide - 2))
        y = outer[1] - height - 1 if outer[1] >= height + 1 else outer[3] + 1
        pen.rectangle((x, y, x + wide + 2, y + height), fill=(0, 0, 0))
        pen.text((x + 1, y), text, fill=colour, font=font)


def _lines(detections: Sequence[Detection], answer: Answer, title: str) -> list[str]:
    labels = [each.label for each in detections]
    found = [f"{labels.count(name)} {name}" for name in answer.classes if name in labels]
    made = answer.provenance
    return [
        f"{title}: {', '.join(found) or 'nothing found'}, score {answer.threshold:.2f} or more",
        " - ".join((*answer.marks(), f"found by {made.model}")),
        made.disclaimer,
    ]


def _with_bar(image: Array, text: Sequence[str], *, private: bool, lines: int | None) -> Array:
    from PIL import Image, ImageDraw

    font = _font(13)
    width = image.shape[1]
    warned = _wrapped(PRIVATE, width) if private else []
    wrapped = warned + [part for line in text if line for part in _wrapped(line, width)]
    height = 8 + 17 * (len(wrapped) if lines is None else lines)
    bar = Image.new("RGB", (width, height), _BAR)
    pen = ImageDraw.Draw(bar)
    for number, line in enumerate(wrapped[:lines]):
        colour = PEOPLE_COLOUR if number < len(warned) else (235, 235, 235)
        pen.text((6, 4 + 17 * number), line, fill=colour, font=font)
    return np.concatenate([image, np.asarray(bar)], axis=0)


def _wrapped(line: str, width: int) -> list[str]:
    """A line's parts that fit into a bar of so many pixels; words that don't are cut."""
    font, width = _font(13), max(width - 12, 20)
    lines: list[str] = []
    for word in line.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        rest = word
        while font.getlength(rest) > width:
            fits = next(n for n in range(len(rest) - 1, 0, -1)
                        if n == 1 or font.getlength(rest[:n]) <= width)  # fmt: skip
            lines.append(rest[:fits])
            rest = rest[fits:]
        lines.append(rest)
    return lines


@functools.cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
