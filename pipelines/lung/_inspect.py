"""`fieldsight lung inspect`: what the reader finds in files, and three planes of each volume."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets import scans
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder, file_names
from fieldsight.pipelines.lung._predict import failed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fieldsight.pipelines.lung import Inspect

WINDOW = (-1200.0, 600.0)  # Hounsfield units, of the lungs
AIR = -1000.0
MOST_PIXELS = 900  # along a side of a plane
LETTERS = ("RL", "AP", "IS")  # at the low and the high end of x, y and z
# Of each plane the axis across it, and those to the right and down as a radiologist sees it; the
# head is up, so that z runs against the picture.
PLANES = (("axial", 2, 0, 1), ("coronal", 1, 0, 2), ("sagittal", 0, 1, 2))
WAYS = (("left", "right"), ("back", "front"), ("head", "feet"))  # along and against x, y, z


def inspect(settings: Inspect) -> int:
    """Read each series, say what it is, draw it; return the exit code."""
    if not settings.series:
        raise CommandError(
            "at least one series is needed. Received: none. For example: fieldsight lung inspect "
            "FOLDER --out pictures"
        )
    if settings.out is not None:
        check_output_folder("--out", settings.out)
    found = scans.search(settings.series)
    failures = failed(found)
    for reason in failures.values():
        print(f"fieldsight: {reason}", file=sys.stderr)
    names = file_names(each.name for each in found.found)
    told = [
        _one(each, settings, f"{name}.png") for each, name in zip(found.found, names, strict=True)
    ]
    refused = [
        {"name": each.name, "refused": _plain(each.refused), "images": (each.size or (0,))[0]}
        for each in found.refused
        if each.name not in failures
    ]
    if settings.json:
        about = {"series": told, "refused": refused, "failures": failures,
                 "notes": found.notes}  # fmt: skip
        print(json.dumps(about, indent=2))
    else:
        for each in refused:
            print(f"{each['name']}: no CT volume: {each['refused']}")
        for note in found.notes:
            print(f"note: {note}")
    bad = sum("failed" in each for each in told)
    if bad == len(told):
        print(
            "fieldsight: a CT series was needed, of DICOM files, as .mhd, .mha or .nii. Received: "
            "none that can be read.", file=sys.stderr,
        )  # fmt: skip
        return 2
    return 1 if bad or failures else 0


def _one(found: scans.Found, settings: Inspect, picture: str) -> dict[str, Any]:
    try:
        volume = scans.read(found)
    except DataError as error:
        print(f"fieldsight: {_plain(str(error))}", file=sys.stderr)
        return {"name": found.name, "failed": _plain(str(error))}
    about = described(volume, found.kind)
    if settings.out is not None:
        from fieldsight.pipelines import _figures

        about["picture"] = str(_figures.save(planes(volume), settings.out / picture))
    if not settings.json:
        print(as_text(about), flush=True)
    return about


def described(volume: Volume, kind: str) -> dict[str, Any]:
    """What is told of a volume; nothing that tells who the patient is, and no UID."""
    values = volume.hounsfield
    quartiles = np.percentile(values[:: max(1, len(values) // 32), ::4, ::4], [5, 50, 95])
    corners = _corners(volume)
    return {
        "name": volume.name,
        "kind": kind,
        "size": list(volume.shape),
        "spacing_mm": [round(step, 6) for step in volume.spacing_mm],
        "extent_mm": [round(float(side), 3) for side in np.ptp(corners, axis=0)],
        "axes": [_way(volume.affine[:3, axis]) for axis in range(3)],
        "origin_mm": [round(float(value), 4) for value in volume.affine[:3, 3]],
        "type": str(values.dtype),
        "hounsfield": {
            "lowest": float(values.min()),
            "5 %": float(quartiles[0]),
            "median": float(quartiles[1]),
            "95 %": float(quartiles[2]),
            "highest": float(values.max()),
        },
        "simulated": bool(volume.facts.get("simulated")),
        "facts": {name: fact for name, fact in volume.facts.items() if name != "simulated"},
        "trouble": list(volume.notes),
    }


def as_text(about: dict[str, Any]) -> str:
    """The same for a person."""
    sides = "planes, rows, columns"
    rows = [
        ("size", f"{_by(about['size'])} ({sides})"),
        ("spacing", f"{_by(about['spacing_mm'])} mm ({sides})"),
        ("extent", f"{_by(about['extent_mm'], '.4g')} mm (x, y, z)"),
        ("axes", ", ".join(f"{n} to the {way}" for n, way in zip(
            sides.split(", "), about["axes"], strict=True))),
        ("origin", f"{_by(about['origin_mm'], '.6g', ', ')} mm (LPS)"),
        ("values", f"{about['type']}, Hounsfield units: " + ", ".join(
            f"{name} {value:g}" for name, value in about["hounsfield"].items())),
        ("facts", ", ".join(
            _fact(name, fact) for name, fact in about["facts"].items())),
    ]  # fmt: skip
    if about["simulated"]:
        rows.append(("simulated", "yes: no patient was scanned"))
    rows += [("trouble", note) for note in about["trouble"]] or [("trouble", "none")]
    if "picture" in about:
        rows.append(("picture", about["picture"]))
    lines = [f"{about['name']} ({about['kind']})"]
    for name, value in rows:
        if value:
            wrapped = textwrap.wrap(value, 100, break_long_words=False, break_on_hyphens=False)
            lines += [f"  {name:<10} {wrapped[0]}", *(f"  {'':<10} {line}" for line in wrapped[1:])]
    return "\n".join(lines)


def _fact(name: str, value: str | float) -> str:
    """With its unit behind the value, where its name ends in one."""
    for ending, unit in (("_mm", "mm"), ("_ma", "mA")):
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} {value} {unit}"
    return f"{value} kV" if name == "kvp" else f"{name.replace('_', ' ')} {value}"


def _by(values: list[float], form: str = ".6g", between: str = " x ") -> str:
    return between.join(format(value, form) for value in values)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _way(direction: NDArray[Any]) -> str:
    """Where a direction points, by the patient's axis that is nearest to it."""
    axis = int(np.abs(direction).argmax())
    way = WAYS[axis][int(direction[axis] < 0)]
    share = abs(direction[axis]) / np.linalg.norm(direction)
    turned = float(np.degrees(np.arccos(min(1.0, share))))
    return way if turned < 0.05 else f"{way} ({turned:.1f} degrees off)"


def _corners(volume: Volume) -> NDArray[np.float64]:
    """`(8, 3)` LPS millimetres of the outermost voxels' outer corners."""
    ends = [(-0.5, side - 0.5) for side in volume.shape]
    return np.asarray(volume.to_world(np.stack(np.meshgrid(*ends), -1).reshape(-1, 3)))


# The picture


def planes(volume: Volume) -> Figure:
    """Three planes through the middle of a volume, along the patient's axes, at one scale.

    The axial plane is seen from the feet, the coronal from the front, the sagittal from the left:
    as radiologists see them, the patient's right on the left. Whatever the scan's own axes,
    spacing and tilt are, a millimetre is as long in every direction.
    """
    from fieldsight.pipelines import _figures

    drawn: Figure = _figures.styled(_planes)(volume)
    return drawn


def _planes(volume: Volume) -> Figure:
    from fieldsight.pipelines import _figures

    corners = _corners(volume)
    low, high = corners.min(axis=0), corners.max(axis=0)
    sides = high - low
    middle = volume.to_world((np.array(volume.shape) - 1) / 2)
    widths = [float(sides[right]) for _, _, right, _ in PLANES]
    heights = [float(sides[down]) for _, _, _, down in PLANES]
    inch = (_figures.WIDTH - 0.9) / sum(widths)  # a millimetre, in inches
    figure = _figures.blank(
        f"{volume.name}: three planes", _facts(volume), max(heights) * inch + 0.75
    )
    axes = figure.subplots(1, 3, width_ratios=widths)
    for each, (name, across, right, down) in zip(axes, PLANES, strict=True):
        picture, extent = _plane(volume, middle, across, right, down, low, high)
        each.imshow(picture, "gray", vmin=WINDOW[0], vmax=WINDOW[1], extent=extent, aspect="equal")
        _lettered(each, right, down)
        _bar(each, extent)
        each.set_title(f"{name}, {'xyz'[across]} = {middle[across]:.0f} mm")
        each.set_axis_off()
    return figure


def _facts(volume: Volume) -> str:
    parts = [
        "SIMULATED" if volume.facts.get("simulated") else "",
        f"{_by(list(volume.shape))} voxels of {_by(list(volume.spacing_mm), '.3g')} mm "
        "(planes, rows, columns)",
        ", ".join(str(volume.facts[name]) for name in ("manufacturer", "model", "kernel")
                  if name in volume.facts),
        f"window {WINDOW[0]:.0f} to {WINDOW[1]:.0f} HU",
        f"{len(volume.notes)} remark{'s' * (len(volume.notes) != 1)} of the reader"
        if volume.notes else "",
    ]  # fmt: skip
    return "; ".join(part for part in parts if part)


def _plane(
    volume: Volume,
    middle: NDArray[Any],
    across: int,
    right: int,
    down: int,
    low: NDArray[Any],
    high: NDArray[Any],
) -> tuple[NDArray[Any], tuple[float, float, float, float]]:
    """Hounsfield units of a plane on square pixels, and its extent in millimetres for `imshow`."""
    from scipy import ndimage

    pixel = max(min(volume.spacing_mm), float((high - low).max()) / MOST_PIXELS)
    along = [np.arange(low[axis] + pixel / 2, high[axis], pixel) for axis in (right, down)]
    if down == 2:
        along[1] = along[1][::-1]
    points = np.empty((len(along[1]), len(along[0]), 3))
    points[..., across] = middle[across]
    points[..., right] = along[0]
    points[..., down] = along[1][:, None]
    index = np.moveaxis(volume.to_index(points), -1, 0)
    # Half a voxel around the outermost centres still belongs to them.
    ends = np.array(volume.shape).reshape(3, 1, 1) - 1
    inside = ((index >= -0.5) & (index <= ends + 0.5)).all(axis=0)
    picture = ndimage.map_coordinates(
        volume.hounsfield, np.clip(index, 0, ends), np.float32, order=1, mode="nearest"
    )
    size = picture.shape[1] * pixel, picture.shape[0] * pixel
    return np.where(inside, picture, AIR), (0.0, size[0], size[1], 0.0)


def _lettered(axes: Axes, right: int, down: int) -> None:
    """R, L, A, P, S and I at the sides that they are on."""
    top, bottom = tuple(LETTERS[down])[:: -1 if down == 2 else 1]
    for letter, x, y, ha, va in (
        (LETTERS[right][0], 0.015, 0.5, "left", "center"),
        (LETTERS[right][1], 0.985, 0.5, "right", "center"),
        (top, 0.5, 0.985, "center", "top"),
        (bottom, 0.5, 0.015, "center", "bottom"),
    ):
        _light(axes, x, y, letter, ha=ha, va=va, fontsize=12, weight="bold")


def _bar(axes: Axes, extent: tuple[float, float, float, float]) -> None:
    """A bar of a round length, about a quarter of the plane's width."""
    import matplotlib.patheffects as effects

    width, height = extent[1], extent[2]
    length = max((n for n in (1, 2, 5, 10, 20, 50, 100, 200) if n <= width / 3), default=1)
    x, y = 0.05 * width, 0.94 * height
    around = [effects.withStroke(linewidth=4, foreground="black")]
    axes.plot([x, x + length], [y, y], color="white", lw=2, path_effects=around)
    text = f"{length / 10:g} cm" if length >= 10 else f"{length} mm"
    _light(axes, 0.05, 0.075, text, ha="left", va="bottom", fontsize=8)


def _light(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    import matplotlib.patheffects as effects

    around = [effects.withStroke(linewidth=2.5, foreground="black")]
    axes.text(x, y, text, color="white", transform=axes.transAxes, path_effects=around, **look)
