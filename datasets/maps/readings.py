"""An interpreter's labels of a sample, read back with every mistake told (D-13)."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.maps.samples import (
    REFERENCE,
    SAMPLE,
    STRATA,
    UNREADABLE,
    ClassMap,
    Stratum,
    on_ground,
)

MOST_TOLD = 10  # mistakes in one message


@dataclass(frozen=True)
class Readings:
    """What an interpreter saw.

    Attributes:
        strata: the map's classes, in the order of the matrix.
        counts: `(strata, strata)` units: rows as mapped, columns as seen.
        unreadable: units that were marked `?`: left out, as if they hadn't been drawn.
    """

    strata: tuple[Stratum, ...]
    counts: NDArray[np.int64]
    unreadable: int


def read(path: Path, raster: ClassMap, strata: Sequence[Stratum]) -> Readings:
    """Read an interpreted sample back, checked against the map that it was drawn from.

    Args:
        path: of the GeoPackage, its column `reference` filled in.
        raster: the map.
        strata: the map's classes.

    Raises:
        DataError: if it isn't such a sample, or for units that aren't labelled, labelled by an
            unknown name, missing, twice there, or off the map; all mistakes are told at once, up
            to ten.
    """
    points, drawn = _layers(path)
    _check_same_map(path, raster, strata, drawn)
    names = [one.name for one in strata]
    mistakes = [*_lost_units(points["id"], int(drawn["sampled"].sum()))]
    values = _mapped(path, points, raster)
    places = {one.value: place for place, one in enumerate(strata)}
    counts = np.zeros((len(strata), len(strata)), np.int64)
    unreadable = 0
    for unit, said, value in zip(points["id"], points[REFERENCE], values, strict=True):
        label = "" if said is None or said != said else str(said).strip()
        if value not in places:
            mistakes.append(f"unit {unit} lies off the map's classes: was its point moved?")
        elif not label:
            mistakes.append(f"unit {unit} has no {REFERENCE}")
        elif label == UNREADABLE:
            unreadable += 1
        elif (place := _named(label, names)) is None:
            near = difflib.get_close_matches(label.lower(), [n.lower() for n in names], 1)
            guess = f" (perhaps {near[0]})" if near else ""
            mistakes.append(f"unit {unit} is {label!r}, which is no class{guess}")
        else:
            counts[places[value], place] += 1
    if mistakes:
        raise DataError(_told(path, mistakes, names))
    seen = counts.sum(axis=1)
    expected = dict(zip(drawn["value"], drawn["sampled"], strict=True))
    if not unreadable and any(
        seen[places[int(value)]] != count for value, count in expected.items() if value in places
    ):
        raise DataError(
            f"{path}: units where they were drawn were needed. Received: "
            f"{', '.join(f'{count} on {name}' for name, count in zip(names, seen, strict=True))}, "
            f"of {', '.join(str(count) for count in expected.values())} drawn. Points were moved, "
            "or the map was made anew: put them back, or draw a new sample."
        )
    return Readings(tuple(strata), counts, unreadable)


def _layers(path: Path) -> tuple[Any, Any]:
    """The points with their labels, and the table of what was drawn."""
    import pyogrio

    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of geometries that GDAL mends while reading
            if not {SAMPLE, STRATA} <= set(layers):
                raise DataError(
                    f"{path}: a sample that `assess` drew was needed, with the layers {SAMPLE} and "
                    f"{STRATA}. Received: {', '.join(layers) or 'no layer'}. Label the GeoPackage "
                    "itself, and keep its layers."
                )
            points = pyogrio.read_dataframe(path, layer=SAMPLE)
            drawn = pyogrio.read_dataframe(path, layer=STRATA, read_geometry=False)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(
            f"{path}: a sample that `assess` drew was needed. Received: {error}. Give the "
            "GeoPackage with its labels."
        ) from error
    missing = [name for name in ("id", REFERENCE) if name not in points.columns]
    if missing or points.geometry.isna().any():
        raise DataError(
            f"{path}: points with the columns id and {REFERENCE} were needed. Received: "
            f"{', '.join(map(str, points.columns))}. Bring {', '.join(missing) or 'points'} back."
        )
    return points, drawn


def _check_same_map(path: Path, raster: ClassMap, strata: Sequence[Stratum], drawn: Any) -> None:
    now = {one.value: one.pixels for one in strata}
    then = {int(v): int(p) for v, p in zip(drawn["value"], drawn["pixels"], strict=True)}
    if now != then:
        raise DataError(
            f"{path}: a sample of {raster.path.name} was needed. Received: one that was drawn from "
            f"another map, {drawn['map'].iloc[0]}, with {then} pixels by class; this has {now}. "
            "Give the map that it was drawn from, or draw a new sample."
        )


def _lost_units(ids: Any, count: int) -> Iterator[str]:
    found = [int(one) for one in ids]
    for one in sorted(set(range(1, count + 1)) - set(found)):
        yield f"unit {one} is missing"
    for one in sorted({one for one in found if found.count(one) > 1}):
        yield f"unit {one} is there {found.count(one)} times"
    for one in sorted(set(found) - set(range(1, count + 1))):
        yield f"unit {one} wasn't drawn: units may not be added"


def _mapped(path: Path, points: Any, raster: ClassMap) -> list[int | None]:
    """What the map has at each point; None beyond it."""
    import rasterio
    from rasterio.windows import Window

    if points.crs is None:
        raise DataError(f"{path}: points with a CRS were needed. Received: none. Restore it.")
    moved = points.geometry if points.crs == raster.grid.crs else points.to_crs(
        raster.grid.crs
    ).geometry  # fmt: skip
    places = on_ground(~raster.grid.transform, moved.x.to_numpy(), moved.y.to_numpy())
    found: list[int | None] = []
    with rasterio.open(raster.path) as source:
        for x, y in np.floor(places):
            if not (0 <= x < raster.grid.columns and 0 <= y < raster.grid.rows):
                found.append(None)
                continue
            found.append(int(source.read(1, window=Window(int(x), int(y), 1, 1))[0, 0]))
    return found


def _named(label: str, names: Sequence[str]) -> int | None:
    lower = [name.lower() for name in names]
    return lower.index(label.lower()) if label.lower() in lower else None


def _told(path: Path, mistakes: Sequence[str], names: Sequence[str]) -> str:
    rest = len(mistakes) - MOST_TOLD
    more = f"; and {rest} more" if rest > 0 else ""
    return (
        f"{path}: every unit labelled once, with one of {', '.join(names)}, or {UNREADABLE} for "
        f"one that can't be read, was needed. Received: {'; '.join(mistakes[:MOST_TOLD])}{more}. "
        "Correct them."
    )
