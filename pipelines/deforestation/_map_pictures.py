"""Pictures of maps beside each other, and of how far a mapper's probabilities can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.maps import colours
from fieldsight.datasets.maps.quicklook import painted, shown_bands
from fieldsight.pipelines import _figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldsight.pipelines.deforestation._fields import Field

Array = NDArray[Any]

LARGEST = 640  # pixels of a side that are drawn
SHOWN = (2.0, 98.0)  # percentiles between which a picture's colours are stretched


def panels(
    field: Field, maps: Mapping[str, Array], *, title: str, data: str = "", columns: int = 3
) -> Figure:
    """A scene and maps of it, each with its name, and a legend of the classes.

    Args:
        field: the scene.
        maps: `(rows, columns)` values by what drew them; 0 is grey.
        title: of the figure.
        data: what is shown.
        columns: panels beside each other.
    """
    step = max(1, -(-max(field.shape[:2]) // LARGEST))
    palette = colours.of(field.classes)
    cells = [("scene", picture(field, step))]
    cells += [
        (name, painted(np.asarray(drawn)[::step, ::step], palette)) for name, drawn in maps.items()
    ]
    rows, wide = field.shape[0], field.shape[1]
    pitch = (_figures.WIDTH - 0.18) / columns
    tall = (pitch - 0.1) * rows / wide
    lines = -(-len(cells) // columns)
    sheet = _figures.Sheet(title, data, lines * (tall + 0.3) + 0.35)
    for number, (name, drawn) in enumerate(cells):
        x = 0.12 + pitch * (number % columns)
        y = (tall + 0.3) * (number // columns) + 0.24
        sheet.tile(drawn, x, y, pitch - 0.1, tall)
        sheet.text(x, y - 0.11, name, ha="left", size=10.5, weight="bold", color=_figures.INK)
    _legend(sheet, field.classes, palette, lines * (tall + 0.3) + 0.1)
    return sheet.finish()


def _legend(
    sheet: _figures.Sheet, classes: Sequence[str], palette: Sequence[Any], y: float
) -> None:
    x = 0.12
    for name, colour in zip(classes[1:], palette[1:], strict=True):
        swatch = np.array([[colour]], np.uint8)
        sheet.tile(swatch, x, y, 0.18, 0.16)
        sheet.text(x + 0.24, y + 0.09, name, ha="left", size=9)
        x += 0.42 + 0.085 * len(name)


def picture(field: Field, step: int = 1) -> Array:
    """`(rows, columns, 3)` uint8 of a field in natural colours where it has them, stretched."""
    bands = shown_bands(field.bands)
    chosen = [field.bands.index(name) for name in bands]
    values = np.asarray(field.image[::step, ::step], np.float32)[..., chosen]
    # Places without data, 0 in every band, would take up the dark end.
    known = (values != 0).any(axis=-1) & np.isfinite(values).all(axis=-1)
    if not known.any():
        return np.zeros((*values.shape[:2], 3), np.uint8)
    # Clouds, which have no class, would take up the bright end.
    labelled = known & (np.asarray(field.labels[::step, ::step]) > 0)
    known = labelled if labelled.any() else known
    low, high = np.percentile(values[known], SHOWN, axis=0)
    shares = np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1)
    drawn = (255 * np.nan_to_num(shares)).astype(np.uint8)
    return drawn if drawn.shape[-1] == 3 else np.repeat(drawn[..., :1], 3, axis=-1)
