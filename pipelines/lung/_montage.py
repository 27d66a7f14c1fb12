"""The findings of a scan as one picture: three planes through each, as a radiologist sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.findings import Finding, Provenance, cautions, marks
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines import _figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 8  # findings in one picture
WINDOW = (-1200.0, 600.0)  # Hounsfield units, of the lungs
AIR = -1000.0
SMALLEST_MM, LARGEST_MM = 40.0, 120.0  # sides of a plane
PIXELS = 160  # a side
TEXT = 2.0  # inches beside the planes
# Of each plane the patient's direction to the right and down, LPS, and the letters at its left,
# right, top and bottom.
PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0), "RLAP"),
    "coronal": ((1, 0, 0), (0, 0, -1), "RLSI"),
    "sagittal": ((0, 1, 0), (0, 0, -1), "APSI"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Heat:
    """Where the evidence for a finding lies, on any grid.

    Attributes:
        values: `(planes, rows, columns)`, zero or more; scaled to its own maximum.
        affine: `(4, 4)`; from its indices to LPS millimetres, as a `Volume`'s.
    """

    values: NDArray[Any]
    affine: NDArray[Any]


def montage(
    volume: Volume,
    findings: Sequence[Finding],
    provenance: Provenance,
    *,
    threshold: float = 0.0,
    heat: Mapping[int, Heat] | None = None,
) -> Figure:
    """Three planes through each of the most probable findings, and where the evidence for it is.

    Planes are drawn along the patient's axes, whatever the scan's own, seen from the feet, from
    the front and from the left; the right of the patient is on the left.

    Args:
        volume: the scan.
        findings: in their order, by which they are numbered from 1.
        provenance: what found them.
        threshold: the probability from which a finding is drawn.
        heat: by a finding's number.
    """
    import matplotlib as mpl

    with mpl.rc_context(_figures.STYLE):
        return _drawn(volume, findings, provenance, threshold, heat or {})


def _drawn(
    volume: Volume,
    findings: Sequence[Finding],
    provenance: Provenance,
    threshold: float,
    heat: Mapping[int, Heat],
) -> Figure:
    chosen = [
        (number, one) for number, one in enumerate(findings, 1) if one.probability >= threshold
    ]
    chosen.sort(key=lambda pair: -pair[1].probability)
    shown = chosen[:MOST]
    said = [*marks(volume, provenance), provenance.model, *cautions(volume), provenance.disclaimer]
    data = " · ".join(said)
    if not shown:
        return _empty(data, threshold)
    columns = len(PLANES) + bool(heat)
    pitch = (_figures.WIDTH - TEXT - 0.1) / columns
    side = min(pitch - 0.08, 2.45)
    height = side + 0.12
    sheet = _figures.Sheet(
        _title(volume, len(shown), len(chosen)), data, len(shown) * height + 0.32,
        colour_bar=bool(heat),
    )  # fmt: skip
    names = [*PLANES, "evidence, axial"]
    for column in range(columns):
        sheet.text(TEXT + pitch * column + side / 2, 0.16, names[column], color=_figures.INK)
    for row, (number, finding) in enumerate(shown):
        y = 0.32 + row * height
        _say(sheet, number, finding, y, side)
        for column, plane in enumerate(PLANES):
            _tile(sheet, volume, finding, plane, TEXT + pitch * column, y, side)
        if number in heat:
            x = TEXT + pitch * len(PLANES)
            _tile(sheet, volume, finding, "axial", x, y, side, heat=heat[number])
    if not heat:
        return sheet.finish()
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable

    bar = ScalarMappable(cmap=colormaps["inferno"])
    return sheet.finish(bar, "evidence (HiResCAM), share of each finding's maximum")


def _title(volume: Volume, shown: int, all_of_them: int) -> str:
    title = f"{all_of_them} finding{'s' if all_of_them > 1 else ''}"
    if shown < all_of_them:
        title = f"The {shown} most probable of {title}"
    return f"SIMULATED scan: {title}" if volume.facts.get("simulated") else title


def _empty(data: str, threshold: float) -> Figure:
    figure = _figures.blank("No finding", data, 1.2)
    _figures.message(
        figure,
        f"Nothing reached the probability of {threshold:.3g} from which candidates are findings.\n"
        "That is no proof that there is nothing.",
    )
    return figure


def _say(sheet: Any, number: int, finding: Finding, y: float, side: float) -> None:
    x, middle = 0.12, y + side / 2
    lines = [f"{finding.diameter_mm:.1f} mm"]
    if finding.volume_mm3 is not None:
        lines.append(f"{finding.volume_mm3:,.0f} mm³")
    lines.append(f"nodule: {_figures.percent(finding.probability)}")
    if finding.suspicion is not None:
        lines.append(f"suspicion: {_figures.percent(finding.suspicion)}")
    place = ", ".join(f"{value:.1f}" for value in finding.centre_mm)
    top = middle - 0.12 * (len(lines) + 1)
    sheet.text(x, top - 0.16, str(number), ha="left", size=17, weight="bold", color=_figures.INK)
    for line, text in enumerate(lines):
        sheet.text(x, top + 0.16 + 0.2 * line, text, ha="left", size=10.5, color=_figures.INK)
    sheet.text(x, top + 0.2 + 0.2 * len(lines), f"LPS {place}", ha="left", size=7.5)


def _tile(
    sheet: Any, volume: Volume, finding: Finding, plane: str, x: float, y: float, side: float,
    *, heat: Heat | None = None,
) -> None:  # fmt: skip
    right, down, letters = PLANES[plane]
    extent_mm = float(np.clip(3 * finding.diameter_mm, SMALLEST_MM, LARGEST_MM))
    points = _points(finding.centre_mm, right, down, extent_mm)
    values = sample(volume.hounsfield, volume.to_index(points), outside=AIR)
    grey = np.clip((values - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1)
    picture = np.repeat(grey[..., None], 3, axis=-1)
    if heat is not None:
        picture = _warmed(grey, heat, points)
    sheet.tile(picture, x, y, side, side)
    if finding.mask is not None and finding.mask.any():
        _contour(sheet, volume, finding, points, x, y, side)
    ends = ((0.045, 0.5), (0.955, 0.5), (0.5, 0.05), (0.5, 0.95))
    for letter, (across, along) in zip(letters, ends, strict=True):
        _light(sheet, x + across * side, y + along * side, letter, 7)
    _scale_bar(sheet, extent_mm, x, y, side)


def _points(
    centre: Sequence[float], right: Sequence[int], down: Sequence[int], extent_mm: float
) -> NDArray[np.float64]:
    """`(PIXELS, PIXELS, 3)` LPS millimetres of a square's pixels."""
    steps = ((np.arange(PIXELS) + 0.5) / PIXELS - 0.5) * extent_mm
    across = steps[None, :, None] * np.asarray(right, float)
    along = steps[:, None, None] * np.asarray(down, float)
    points: NDArray[np.float64] = np.asarray(centre, float) + across + along
    return points


def sample(array: NDArray[Any], indices: NDArray[Any], *, outside: float) -> NDArray[np.float64]:
    """An array's values at indices `(..., axes)`, linearly interpolated."""
    from scipy.ndimage import map_coordinates

    places = np.moveaxis(np.asarray(indices, float), -1, 0)
    # Only what is looked at: a whole scan would be turned into float64.
    low = np.maximum(np.floor(places.reshape(len(places), -1).min(axis=1)).astype(int) - 1, 0)
    high = np.ceil(places.reshape(len(places), -1).max(axis=1)).astype(int) + 2
    part = array[tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))]
    shape = places.shape[1:]
    if not part.size:
        return np.full(shape, outside)
    moved = places - low.reshape(-1, *[1] * len(shape))
    values: NDArray[np.float64] = map_coordinates(
        part.astype(np.float64), moved, order=1, mode="constant", cval=outside
    )
    return values


def _warmed(grey: NDArray[Any], heat: Heat, points: NDArray[np.float64]) -> NDArray[Any]:
    import matplotlib as mpl

    affine = np.asarray(heat.affine, float)
    indices = (points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    most = float(np.max(heat.values, initial=0.0))
    share = sample(heat.values, indices, outside=0.0) / (most or 1.0)
    share = np.clip(share, 0, 1)
    colour = mpl.colormaps["inferno"](share)[..., :3]
    weight = 0.15 + 0.5 * share[..., None]
    mixed: NDArray[Any] = (1 - weight) * grey[..., None] + weight * colour
    return mixed


def _contour(
    sheet: Any, volume: Volume, finding: Finding, points: NDArray[np.float64], x: float, y: float,
    side: float,
) -> None:  # fmt: skip
    # Padded, so that a mask's outermost voxels have an outside.
    mask = np.pad(np.asarray(finding.mask, np.float64), 1)
    indices = volume.to_index(points) - np.asarray(finding.mask_start) + 1
    inside = sample(mask, indices, outside=0.0)
    if inside.max() <= 0.5:
        return
    steps = (np.arange(PIXELS) + 0.5) / PIXELS * side
    sheet.axes.contour(
        x + steps, y + steps, inside, levels=[0.5], colors=[_figures.ORANGE], linewidths=1.1
    )


def _scale_bar(sheet: Any, extent_mm: float, x: float, y: float, side: float) -> None:
    length = 10 if extent_mm <= 80 else 20
    wide = length / extent_mm * side
    left, level = x + 0.06 * side, y + 0.93 * side
    sheet.axes.plot([left, left + wide], [level, level], color="white", lw=2, solid_capstyle="butt")
    _light(sheet, left + wide / 2, level - 0.045 * side, f"{length} mm", 6.5)


def _light(sheet: Any, x: float, y: float, text: str, size: float) -> None:
    """White letters that stay legible on bone."""
    from matplotlib.patheffects import withStroke

    dark = [withStroke(linewidth=1.6, foreground="black")]
    sheet.text(x, y, text, size=size, color="white", path_effects=dark)
