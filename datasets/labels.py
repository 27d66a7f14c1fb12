"""What a person drew on a scene, polygons, points or a raster of classes, as labelled pixels.

A pixel has the label of the polygon that holds its centre, or of the point that it holds. Whatever
had to be mended, moved or left out is said in `notes`; whatever can't be meant is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.grids import Grid, same_grid
from fieldsight.datasets.scenes.labels import LabelMap, open_labels

Array = NDArray[Any]

NODATA = "nodata"
RASTERS = (".tif", ".tiff", ".vrt", ".npy")
MOST = 50_000_000  # labelled pixels: 10 bytes each are held
MOST_CLASSES = 254
FEW = 30  # pixels of a raster's class: less says nothing that could be scored


@dataclass(frozen=True)
class Labels:
    """Labelled pixels of a scene.

    Attributes:
        classes: names by value; the first is "nodata", and no pixel has it.
        places: `(n, 2)` int32 row and column, each once, by rising row and column.
        values: `(n,)` uint8, of `classes`.
        features: `(n,)` int32 which polygon or point each belongs to, from 0 as they stand in
            the file; -1 in a raster, which has none.
        notes: what was mended, moved or left out, a sentence each.
    """

    classes: tuple[str, ...]
    places: Array
    values: Array
    features: Array
    notes: tuple[str, ...] = ()

    @property
    def is_raster(self) -> bool:
        """Whether they come from a raster, and not from things drawn one by one."""
        return bool(len(self.features)) and int(self.features[0]) < 0

    def raster(self, rows: int, columns: int, chosen: Array | None = None) -> Array:
        """`(rows, columns)` uint8: the value of each pixel, 0 where it has none.

        Args:
            rows: of the scene.
            columns: of the scene.
            chosen: `(n,)` bool, which labels to draw; None for all.
        """
        drawn = np.zeros((rows, columns), np.uint8)
        these = slice(None) if chosen is None else chosen
        row, column = self.places[these].T
        drawn[row, column] = self.values[these]
        return drawn


def read(path: Path, grid: Grid, *, field: str | None = None, layer: str | None = None) -> Labels:
    """Read labels and lay them onto a scene's pixels.

    Args:
        path: a GeoPackage, GeoJSON or Shapefile of polygons or points; or a raster as
            `scenes.open_labels` reads it, in which 0 is unlabelled.
        grid: the scene's.
        field: the attribute that names the class; a raster has none.
        layer: of a file with several.

    Raises:
        DatasetNotFoundError: if there is no such file.
        DataError: if it can't be read, has no CRS or no such field, lies outside the scene, or
            names fewer than two classes.
    """
    if not path.exists():
        raise DatasetNotFoundError(
            f"labels: polygons, points or a raster of classes were needed. Received: {path}, "
            "which isn't there."
        )
    if path.suffix.lower() in RASTERS:
        return _of_raster(path, grid)
    return _of_features(path, grid, field, layer)


# Polygons and points


def _of_features(path: Path, grid: Grid, field: str | None, layer: str | None) -> Labels:
    grid.check_georeferenced("the scene under the labels")
    notes: list[str] = []
    table = _table(path, layer)
    names = _names(table, path, field)
    shapes = _on_scene(table, path, grid)
    numbers: list[int] = []
    pieces: list[Array] = []
    small = outside = 0
    for number, (shape, name) in enumerate(zip(shapes, names, strict=True)):
        if shape is None or shape.is_empty or name is None:
            what = "class" if name is None else "geometry"
            notes.append(f"feature {number} has no {what}: left out")
            continue
        mended = _valid(shape, number, name, notes)
        pixels, touched = _pixels(mended, grid)
        outside += not len(pixels)
        small += touched and bool(len(pixels))
        if len(pixels):
            numbers.append(number)
            pieces.append(pixels)
    if not pieces:
        raise DataError(
            f"labels within the scene were needed, which spans {_span(grid)}. Received: "
            f"{path.name}, none of whose {len(names)} features touches it. Check that both are of "
            "one place, and their CRS."
        )
    if outside:
        notes.append(f"{outside} features lie outside the scene: left out")
    if small:
        notes.append(f"{small} features hold no pixel's centre: the pixels they touch are labelled")
    classes = _numbered([str(names[number]) for number in numbers], path)
    values = [classes.index(str(names[number])) for number in numbers]
    return _gathered(classes, pieces, values, numbers, notes)


def _table(path: Path, layer: str | None) -> Any:
    import pyogrio

    try:
        there = [str(name) for name, _ in pyogrio.list_layers(path)]
        if layer is not None and layer not in there:
            raise DataError(
                f"--layer: one of {path.name}'s was needed: {', '.join(there)}. Received: {layer}."
            )
        if layer is None and len(there) > 1:
            raise DataError(
                f"--layer: {path.name} has several, of which one was needed: {', '.join(there)}."
            )
        return pyogrio.read_dataframe(path, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(
            f"labels: a GeoPackage, GeoJSON or Shapefile was needed. Received: {path.name}, which "
            f"can't be read ({str(error).splitlines()[0][:160]})."
        ) from error


def _names(table: Any, path: Path, field: str | None) -> list[str | None]:
    columns = [str(name) for name in table.columns if name != "geometry"]
    if field not in columns:
        raise DataError(
            f"--field: the attribute that names the class was needed, of {path.name}'s: "
            f"{', '.join(columns) or 'it has none'}. Received: {field}."
        )
    return [_name(value) for value in table[field].tolist()]


def _name(value: Any) -> str | None:
    """A class's name; of numbers as people write them."""
    if value is None or value != value or str(value).strip() == "":
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _on_scene(table: Any, path: Path, grid: Grid) -> list[Any]:
    if "geometry" not in table.columns:
        raise DataError(f"labels with geometries were needed. Received: {path.name}, a table.")
    if table.crs is None:
        raise DataError(
            f"labels with a CRS were needed. Received: {path.name} without one. Assign it, as with "
            "ogr2ogr -a_srs EPSG:4326."
        )
    kinds = {str(kind).removeprefix("Multi") for kind in table.geom_type.dropna()}
    if not kinds <= {"Polygon", "Point"}:
        raise DataError(
            f"labels that are polygons or points were needed. Received: {path.name} with "
            f"{', '.join(sorted(kinds))}."
        )
    moved = table if table.crs == grid.crs else table.to_crs(grid.crs.to_wkt())
    return list(moved.geometry)


def _valid(shape: Any, number: int, name: str, notes: list[str]) -> Any:
    """The shape, made valid where its boundary crosses itself."""
    import shapely

    if shape.is_valid:
        return shape
    reason = shapely.is_valid_reason(shape).split("[")[0].lower()
    mended = shapely.make_valid(shape)
    notes.append(
        f"polygon {number} ({name}) isn't valid ({reason}): made valid, its area {shape.area:.6g} "
        f"became {mended.area:.6g}"
    )
    return mended


def _pixels(shape: Any, grid: Grid) -> tuple[Array, bool]:
    """Row and column of the pixels of a shape, and whether it had to be said by touch."""
    import shapely
    from rasterio import features

    if shape.geom_type in ("Point", "MultiPoint"):
        return _under(shapely.get_coordinates(shape), grid), False
    corners = shapely.get_coordinates(shape.envelope if grid.is_north_up else shape)
    if not np.isfinite(corners).all():
        return np.zeros((0, 2), np.int64), False
    columns, rows = (~grid.transform) @ (corners[:, 0], corners[:, 1])
    top, left = max(0, int(np.floor(rows.min()))), max(0, int(np.floor(columns.min())))
    bottom = min(grid.rows, int(np.ceil(rows.max())) + 1)
    right = min(grid.columns, int(np.ceil(columns.max())) + 1)
    if bottom <= top or right <= left:
        return np.zeros((0, 2), np.int64), False
    transform = grid.transform @ type(grid.transform).translation(left, top)
    for touched in (False, True):
        drawn = features.rasterize(
            [(shape, 1)], (bottom - top, right - left), transform=transform, dtype="uint8",
            all_touched=touched,
        )  # fmt: skip
        if drawn.any():
            break
    return np.add(np.argwhere(drawn), (top, left)), touched


def _under(points: Array, grid: Grid) -> Array:
    """The pixels that hold points."""
    columns, rows = (~grid.transform) @ (points[:, 0], points[:, 1])
    places = np.floor(np.column_stack([rows, columns]))
    inside = ((places >= 0) & (places < (grid.rows, grid.columns))).all(axis=1)
    return np.unique(places[inside].astype(np.int64), axis=0)


def _span(grid: Grid) -> str:
    left, bottom, right, top = grid.bounds
    return f"x {left:.6g} to {right:.6g} and y {bottom:.6g} to {top:.6g} in {grid.crs}"


def _gathered(
    classes: tuple[str, ...],
    pieces: Sequence[Array],
    values: Sequence[int],
    numbers: Sequence[int],
    notes: list[str],
) -> Labels:
    """All pixels once; those that two classes claim have none."""
    counts = [len(piece) for piece in pieces]
    _refuse_many(sum(counts))
    places = np.concatenate(pieces)
    value = np.repeat(np.asarray(values, np.uint8), counts)
    feature = np.repeat(np.asarray(numbers, np.int32), counts)
    order = np.lexsort((places[:, 1], places[:, 0]))
    places, value, feature = places[order], value[order], feature[order]
    begins = np.r_[True, (np.diff(places, axis=0) != 0).any(axis=1)]
    first = np.flatnonzero(begins)
    agree = np.minimum.reduceat(value, first) == np.maximum.reduceat(value, first)
    if not agree.all():
        notes.append(f"{int((~agree).sum())} pixels are claimed by two classes: left out")
    kept = first[agree]
    left = np.unique(value[kept])
    _refuse_one(left, classes)
    lost = np.setdiff1d(np.arange(1, len(classes)), left).tolist()
    notes += [f"{classes[number]} has no pixel of its own: left out" for number in lost]
    classes = (NODATA, *(classes[number] for number in left.tolist()))
    anew = (np.searchsorted(left, value[kept]) + 1).astype(np.uint8)
    return Labels(classes, places[kept].astype(np.int32), anew, feature[kept], tuple(notes))


# Rasters


def _of_raster(path: Path, grid: Grid) -> Labels:
    notes: list[str] = []
    there = open_labels(path)
    drawn = _on_grid(there, grid, path, notes)
    found, counts = np.unique(drawn, return_counts=True)
    counts = counts[found != 0]
    found = found[found != 0]
    names = {value: there.names.get(value, f"class {value}") for value in found.tolist()}
    few = counts < FEW
    for value, count in zip(found[few].tolist(), counts[few].tolist(), strict=True):
        notes.append(f"{names[value]} has {count} pixels alone: left out")
    found = found[~few]
    if len(found) < 2 or len(found) > MOST_CLASSES:
        raise DataError(
            f"labels of 2 to {MOST_CLASSES} classes of {FEW} pixels at least were needed. "
            f"Received: {path.name} with {len(found)}."
        )
    _refuse_many(int(counts[~few].sum()))
    places = np.argwhere(np.isin(drawn, found)).astype(np.int32)
    values = np.searchsorted(found, drawn[tuple(places.T)]) + 1
    classes = (NODATA, *(names[value] for value in found.tolist()))
    nothing = np.full(len(places), -1, np.int32)
    return Labels(classes, places, values.astype(np.uint8), nothing, tuple(notes))


def _on_grid(labels: LabelMap, grid: Grid, path: Path, notes: list[str]) -> Array:
    """A map of classes on a scene's grid: of each pixel the nearest of the map's."""
    from rasterio.warp import Resampling, reproject

    if same_grid(labels.grid, grid):
        drawn = labels.values
    else:
        grid.check_georeferenced("the scene under the labels")
        labels.grid.check_georeferenced("labels")
        notes.append("the labels lie on another grid: the nearest of their pixels was taken")
        drawn = np.zeros((grid.rows, grid.columns), labels.values.dtype)
        reproject(
            labels.values, drawn, src_transform=labels.grid.transform, src_crs=labels.grid.crs,
            dst_transform=grid.transform, dst_crs=grid.crs, resampling=Resampling.nearest,
            init_dest_nodata=True,
        )  # fmt: skip
    if not drawn.any():
        raise DataError(
            f"labels within the scene were needed, which spans {_span(grid)}. Received: "
            f"{path.name}, which spans {_span(labels.grid)} and labels nothing there."
        )
    return drawn


# Both


def _numbered(names: Sequence[str], path: Path) -> tuple[str, ...]:
    found = sorted(set(names))
    if len(found) > MOST_CLASSES:
        raise DataError(
            f"labels of at most {MOST_CLASSES} classes were needed. Received: {path.name} with "
            f"{len(found)}. Is --field the class, and not a number of each feature?"
        )
    return (NODATA, *found)


def _refuse_one(values: Array, classes: Sequence[str]) -> None:
    if len(values) < 2:
        raise DataError(
            "labels of two classes at least were needed within the scene. Received: "
            f"{', '.join(classes[value] for value in values.tolist()) or 'none'} alone."
        )


def _refuse_many(count: int) -> None:
    if count > MOST:
        raise DataError(
            f"at most {MOST:,} labelled pixels were needed. Received: {count:,}. Cut the scene "
            "and its labels to a part."
        )
