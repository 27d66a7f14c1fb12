"""From the images of a series to a `Volume`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fieldsight.datasets.dicom import geometry, pixels, privacy, series
from fieldsight.datasets.dicom.geometry import Grid
from fieldsight.datasets.dicom.headers import Image, quietly
from fieldsight.datasets.dicom.series import Series
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array
from fieldsight.datasets.volume import Slice, Volume, thick_slices

THIN_HOUNSFIELD = -200  # a chest has much below it
LARGEST_VOLUME = 2**33  # voxels: beyond, the headers are wrong
INTERPOLATED = Slice(None, "", "")


def read(found: Series, name: str) -> Volume:
    """The volume of a series.

    Planes that are missing or damaged are interpolated where they are few, sheared ones are
    shifted to stand square; `Volume.notes` names them, and the `Slice` of an interpolated plane
    has an empty `sop_instance_uid`.

    Args:
        found: the series.
        name: of the volume.

    Raises:
        DataError: if it can't be a volume, or too much of it is missing.
    """
    if found.refused:
        raise _refusal(name, f"a CT series was needed. Received: {found.refused}")
    notes = list(found.notes)
    try:
        series.check_alike(found.images)
        images = series.without_copies(found.images, notes)
        _check_rescale(images, notes)
        ordered, grid, values = _planes(images, notes)
        if ordered[0].intercept is None and int(values.min()) >= 0:
            raise ValueError(
                "Hounsfield units were needed. Received: stored values from 0 on, and no "
                "RescaleIntercept to tell what they mean"
            )
        values, affine = _squared(values, grid, notes)
        _complete(values, grid, notes)
    except ValueError as error:
        raise _refusal(name, str(error)) from error
    except MemoryError as error:
        raise DataError(
            f"{name}: a machine with memory for it was needed. Received: {len(found.images)} "
            "slices, more than this one holds. Use a larger one."
        ) from error
    notes += _remarks(values, ordered[0], grid)
    return Volume(
        values,
        affine,
        name=name,
        series_uid=found.uid,
        slices=_slices(ordered, grid),
        facts=_facts(ordered[0], found.private),
        notes=tuple(notes),
    )


def _refusal(name: str, told: str) -> DataError:
    return DataError(
        f"{name}: {told}. Export the series again, whole and by itself, or give another one."
    )


def _check_rescale(images: Sequence[Image], notes: list[str]) -> None:
    lacking = [image for image in images if image.slope is None or image.intercept is None]
    if lacking:
        notes.append(
            f"{len(lacking)} of {len(images)} slices lack RescaleSlope or RescaleIntercept: "
            "1 and 0 are taken"
        )


def _planes(images: Sequence[Image], notes: list[str]) -> tuple[list[Image], Grid, Array]:
    """Images in order, their grid, and their values on it; damaged ones are left out."""
    ordered, grid = _ordered(images)
    with quietly():
        values, failures = pixels.read(ordered, grid.places.tolist(), grid.planes)
    if not failures:
        return ordered, grid, values
    named = [
        f"{image.label} at {_along(image):.4g} mm ({failures[index]})"
        for index, image in enumerate(ordered)
        if index in failures
    ]
    told = f"damaged: {len(failures)} of {len(ordered)} slices can't be read: {series.some(named)}"
    good = [image for index, image in enumerate(ordered) if index not in failures]
    if len(good) < 2:
        raise ValueError(f"2 whole slices at least were needed. Received: {told}")
    notes.append(told)
    start = next(int(place) for index, place in enumerate(grid.places) if index not in failures)
    ordered, grid = _ordered(good)
    return ordered, grid, values[start : start + grid.planes]


def _ordered(images: Sequence[Image]) -> tuple[list[Image], Grid]:
    if len(images) < 2:
        raise ValueError("2 slices at distinct places were needed. Received: 1 place")
    first = images[0]
    if first.orientation is None or first.spacing is None:
        raise ValueError("ImageOrientationPatient and PixelSpacing were needed. Received: neither")
    grid = geometry.grid(
        np.array([image.position for image in images]), first.orientation, first.spacing
    )
    if grid.tilt_degrees > geometry.STEEPEST_DEGREES:
        raise ValueError(
            f"planes sheared by at most {geometry.STEEPEST_DEGREES:.0f} degrees were needed. "
            f"Received: {grid.tilt_degrees:.1f} degrees"
        )
    if not geometry.can_fill(grid):
        raise ValueError(
            "a series with few slices missing was needed. Received: "
            f"{len(images)} slices, {len(grid.missing)} missing: {_gaps(grid, images)}"
        )
    size = grid.planes * first.header.rows * first.header.columns
    if size > LARGEST_VOLUME:
        raise ValueError(f"at most {LARGEST_VOLUME:,} voxels were needed. Received: {size:,}")
    return [images[index] for index in grid.order], grid


def _along(image: Image) -> float:
    normal = geometry.cosines(image.orientation or ())[2]
    return float(np.asarray(image.position) @ normal)


def _gaps(grid: Grid, images: Sequence[Image]) -> str:
    """Each gap by the places of the planes on its sides, mm along the normal."""
    along = sorted(_along(image) for image in images)
    steps = np.diff(grid.places)
    return series.some(
        [
            f"{step - 1} between {along[index]:.4g} and {along[index + 1]:.4g} mm"
            for index, step in enumerate(steps.tolist())
            if step > 1
        ]
    )


def _squared(values: Array, grid: Grid, notes: list[str]) -> tuple[Array, Array]:
    if not grid.is_sheared:
        return values, grid.affine
    sides = values.shape[1:]
    moved = np.ptp(grid.shifts, axis=0)
    if (moved > sides).any():
        raise ValueError(
            "planes above each other were needed. Received: planes shifted by up to "
            f"{moved.max():.0f} voxels across the stack"
        )
    square, affine = geometry.straightened(values, grid, pixels.AIR)
    rows, columns = square.shape[1:]
    notes.append(
        f"sheared by {grid.tilt_degrees:.2f} degrees (gantry tilt, or planes shifted): each plane "
        "was shifted within itself, linearly interpolated, onto a grid with square corners; "
        f"{sides[0]} x {sides[1]} became {rows} x {columns}"
    )
    return square, affine


def _complete(values: Array, grid: Grid, notes: list[str]) -> None:
    missing = grid.missing
    if not missing:
        return
    geometry.fill(values, grid)
    normal = grid.affine[:3, 0] / grid.step_mm
    start = float(grid.affine[:3, 3] @ normal)
    named = [f"{start + index * grid.step_mm:.4g} mm" for index in missing]
    notes.append(
        f"missing: {len(missing)} of {grid.planes} slices, at {series.some(named)} along the "
        "normal; interpolated from their neighbours"
    )


def _remarks(values: Array, first: Image, grid: Grid) -> list[str]:
    thickness = first.header.facts.get("slice_thickness_mm", 0)
    pixel = float(np.linalg.norm(grid.affine[:3, 1:3], axis=0).max())
    notes = [*thick_slices(max(grid.step_mm, float(thickness or 0)), pixel)]
    if first.header.tilt_degrees and not grid.is_sheared:
        notes.append(
            f"the header names a gantry tilt of {first.header.tilt_degrees:.4g} degrees, but the "
            "planes stand square: they are taken where they say they lie"
        )
    if abs(grid.affine[2, 0]) < 0.7 * grid.step_mm:
        notes.append("the planes aren't axial")
    if int(values.min()) > THIN_HOUNSFIELD:
        notes.append(
            f"no voxel is below {THIN_HOUNSFIELD}: are these Hounsfield units, and is it a chest?"
        )
    return notes


def _slices(ordered: Sequence[Image], grid: Grid) -> tuple[Slice, ...]:
    slices = [INTERPOLATED] * grid.planes
    for place, image in zip(grid.places.tolist(), ordered, strict=True):
        header = image.header
        path = None if header.source.path is None else Path(header.source.path)
        opener = header.source.open if path is None else None
        slices[place] = Slice(path, header.sop_class, header.sop_instance, image.frame, opener)
    return tuple(slices)


def _facts(first: Image, private: frozenset[str]) -> Mapping[str, str | float | int]:
    facts: dict[str, str | float | int] = {
        name: value
        for name, value in first.header.facts.items()
        if not (isinstance(value, str) and privacy.tells(value, private))
    }
    if first.header.description.upper().startswith("SIMULATED"):
        facts["simulated"] = 1
    return facts
