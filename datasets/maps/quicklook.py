"""A map at a glance: the scene and what was found in it, with legend, scale bar and north."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.grids import Grid, Slices
from fieldsight.datasets.maps import places
from fieldsight.datasets.maps.rasters import Colour

Array = NDArray[Any]

SIDE = 900  # pixels of a panel's longer side, at most
LEAST = 320  # of a panel's longer side, at least: a small scene is enlarged
INK, SOFT, PAPER, LOST = (32, 36, 40), (104, 110, 116), (255, 255, 255), (226, 228, 230)
GAP = 16
NATURAL = ("red", "green", "blue")


def shown_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """The bands that make the picture: red, green, blue; else the last three, or the first alone.

    Example:
        >>> shown_bands(("blue", "green", "red", "nir")), shown_bands(("nir", "red"))
        (('red', 'green', 'blue'), ('nir',))
    """
    if set(NATURAL) <= set(bands):
        return NATURAL
    return tuple(bands[::-1][:3]) if len(bands) >= 3 else tuple(bands[:1])


class Preview:
    """A scene and its classes, made smaller while both go by in bands of rows.

    Args:
        grid: of the scene.
        bands: of the picture: 1 or 3.
        values: of the classes, with nodata.
        side: of the longer side, at most.
    """

    def __init__(self, grid: Grid, bands: int, values: int, side: int = SIDE) -> None:
        self.grid, self.step = grid, max(1, math.ceil(max(grid.rows, grid.columns) / side))
        shape = (-(-grid.rows // self.step), -(-grid.columns // self.step))
        self.sums = np.zeros((*shape, bands), np.float64)
        self.counts = np.zeros(shape, np.float64)
        self.votes = np.zeros((*shape, values), np.float32)

    def add(self, slices: Slices, picture: Array, valid: Array, classes: Array) -> None:
        """Add a band of whole rows.

        Args:
            slices: its rows and columns.
            picture: `(rows, columns, bands)`, of any numbers.
            valid: `(rows, columns)` bool.
            classes: `(rows, columns)` of values.
        """
        for value in range(self.votes.shape[-1]):
            self._spread(self.votes[..., value], slices, classes == value)
        self._spread(self.counts, slices, valid)
        for band in range(self.sums.shape[-1]):
            self._spread(self.sums[..., band], slices, np.where(valid, picture[..., band], 0))

    def _spread(self, into: Array, slices: Slices, pixels: Array) -> None:
        rows = slices[0]
        edges = np.arange(-(-rows.start // self.step) * self.step, rows.stop, self.step)
        starts = np.union1d([rows.start], edges)
        across = np.arange(0, self.grid.columns, self.step)
        sums = np.add.reduceat(pixels.astype(np.float64), across, axis=1)
        sums = np.add.reduceat(sums, starts - rows.start, axis=0)
        into[starts // self.step] += sums

    @property
    def valid(self) -> Array:
        """`(rows, columns)` bool: where any pixel has data."""
        return self.counts > 0

    @property
    def classes(self) -> Array:
        """`(rows, columns)`: the value that most pixels have."""
        return self.votes.argmax(axis=-1)

    @property
    def means(self) -> Array:
        """`(rows, columns, bands)` of the pixels with data."""
        found: Array = self.sums / np.maximum(self.counts, 1)[..., None]
        return found

    def limits(self, hidden: Sequence[int] = (0,)) -> list[tuple[float, float]]:
        """The 2nd and the 98th percentile of each band, as black and full colour.

        Args:
            hidden: values that say nothing of the ground, clouds above all: beside them all
                ground is black. They count where there is nothing else.
        """
        if not self.valid.any():
            return [(0.0, 1.0)] * self.sums.shape[-1]
        clear = self.valid & ~np.isin(self.classes, hidden)
        values = self.means[clear if clear.any() else self.valid]
        return [(float(low), float(high)) for low, high in np.percentile(values, (2, 98), axis=0).T]

    def picture(self, limits: Sequence[tuple[float, float]] | None = None) -> Array:
        """`(rows, columns, 3)` uint8.

        Args:
            limits: of each band; its own where none are given: two dates are told apart by the
                limits of one of them.
        """
        limits = limits or self.limits()
        mean, shown = self.means, np.empty((*self.valid.shape, 3), np.uint8)
        for band in range(3):
            number = min(band, mean.shape[-1] - 1)
            low, high = limits[number]
            share = (mean[..., number] - low) / max(high - low, 1e-9)
            shown[..., band] = np.clip(255 * share, 0, 255)
        shown[~self.valid] = LOST
        return shown


@dataclass(frozen=True)
class Entry:
    """A line of the legend.

    Attributes:
        name: of the class.
        colour: of it.
        text: behind its name: its hectares.
    """

    name: str
    colour: Colour
    text: str = ""


def painted(classes: Array, colours: Sequence[Colour]) -> Array:
    """Values `(rows, columns)` in colours, `(rows, columns, 3)` uint8; nodata is grey."""
    table = np.array([LOST, *colours[1:]], np.uint8)
    return table[classes]


def tinted(picture: Array, chosen: Array, colour: Colour, share: float = 0.55) -> Array:
    """A picture with a colour laid over some of its pixels."""
    mixed = picture.astype(np.float32)
    mixed[chosen] = (1 - share) * mixed[chosen] + share * np.array(colour, np.float32)
    return mixed.astype(np.uint8)


def draw(
    path: Path,
    grid: Grid,
    panels: Sequence[tuple[str, Array]],
    *,
    title: str,
    legend: Sequence[Entry],
    notes: Sequence[str],
) -> None:
    """Write panels of one place as a PNG.

    Args:
        path: of the picture.
        grid: of the scene that the panels show whole.
        panels: a title and `(rows, columns, 3)` uint8 each, all of one size.
        title: of all.
        legend: of the classes.
        notes: lines below: what made it, whether anything was simulated, what hectares are.

    Raises:
        OSError: if it can't be written.
    """
    from PIL import Image, ImageDraw

    rows, columns = panels[0][1].shape[:2]
    width, height, metres = _size(grid, rows, columns)
    stacked = width > 1.5 * height and len(panels) > 1
    across, down = (1, len(panels)) if stacked else (len(panels), 1)
    font, small, bold = _font(15), _font(13), _font(20)
    total = max(across * (width + GAP) + GAP, 560)
    wrapped = [line for note in notes for line in _wrap(note, small, total - 2 * GAP)]
    lines = _legend_lines(legend, font, total - 230 - 2 * GAP)
    foot = max(26 * len(lines), 84) + 19 * len(wrapped) + GAP
    top = 46
    sheet = Image.new("RGB", (total, top + down * (height + 30) + GAP + foot), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, 12), _cut(title, bold, total - 2 * GAP), INK, bold)
    for number, (name, picture) in enumerate(panels):
        left = GAP + (number % across) * (width + GAP)
        upper = top + (number // across) * (height + 30)
        pen.text((left, upper), _cut(name, font, width), SOFT, font)
        kind = Image.Resampling.NEAREST if width >= columns else Image.Resampling.BOX
        sheet.paste(Image.fromarray(picture).resize((width, height), kind), (left, upper + 22))
    below = top + down * (height + 30) + GAP
    _draw_legend(pen, lines, below, font)
    _draw_scale(pen, total - GAP - 230, below + 30, width, metres, small)
    _draw_north(pen, total - GAP - 26, below + 38, places.north(grid), small)
    for number, line in enumerate(wrapped):
        pen.text((GAP, sheet.height - GAP + 6 - 19 * (len(wrapped) - number)), line, SOFT, small)
    content = io.BytesIO()
    sheet.save(content, "PNG", optimize=True)
    write_atomically(path, content.getvalue())


def _size(grid: Grid, rows: int, columns: int) -> tuple[int, int, float]:
    """Width and height of a panel, so that a metre is as long along both; metres a pixel of it."""
    along, down = places.metres_a_pixel(grid)
    wide, high = grid.columns * along, grid.rows * down
    longer = min(SIDE, max(LEAST, rows, columns))
    width, height = longer * wide / max(wide, high), longer * high / max(wide, high)
    width, height = max(40, round(width)), max(40, round(height))
    return width, height, wide / width


def _draw_legend(pen: Any, lines: Sequence[Sequence[Entry]], top: int, font: Any) -> None:
    for number, line in enumerate(lines):
        left, upper = GAP, top + 26 * number
        for entry in line:
            pen.rectangle((left, upper + 2, left + 22, upper + 18), entry.colour, SOFT)
            pen.text((left + 30, upper), _told(entry), INK, font)
            left += _width(entry, font)


def _legend_lines(legend: Sequence[Entry], font: Any, width: int) -> list[list[Entry]]:
    lines: list[list[Entry]] = [[]]
    used = 0.0
    for entry in legend:
        if lines[-1] and used + _width(entry, font) > width:
            lines.append([])
            used = 0.0
        lines[-1].append(entry)
        used += _width(entry, font)
    return lines


def _told(entry: Entry) -> str:
    return f"{entry.name}  {entry.text}" if entry.text else entry.name


def _width(entry: Entry, font: Any) -> int:
    return int(font.getlength(_told(entry))) + 30 + 22


def _draw_scale(pen: Any, left: int, top: int, panel: int, metres: float, font: Any) -> None:
    """A bar of a round length, of the panels' scale."""
    most = min(170, panel / 2) * metres
    power = 10.0 ** math.floor(math.log10(most))
    length = max(step * power for step in (1, 2, 5) if step * power <= most)
    pixels = length / metres
    pen.rectangle((left, top + 20, left + pixels, top + 27), PAPER, INK)
    pen.rectangle((left, top + 20, left + pixels / 2, top + 27), INK, INK)
    told = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    pen.text((left, top), "0", INK, font)
    pen.text((left + pixels, top), told, INK, font, anchor="ma")


def _draw_north(pen: Any, x: float, y: float, angle: float, font: Any) -> None:
    """An arrow to where north is."""

    def turned(right: float, down: float) -> tuple[float, float]:
        sine, cosine = math.sin(angle), math.cos(angle)
        return x + right * cosine - down * sine, y + right * sine + down * cosine

    pen.polygon([turned(0, -22), turned(9, 18), turned(0, 11)], INK, INK)
    pen.polygon([turned(0, -22), turned(-9, 18), turned(0, 11)], PAPER, INK)
    pen.text(turned(0, -31), "N", INK, font, anchor="mm")


def _wrap(text: str, font: Any, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _cut(text: str, font: Any, width: int) -> str:
    while len(text) > 4 and font.getlength(text) > width:
        text = text[:-4] + "..."
    return text


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
