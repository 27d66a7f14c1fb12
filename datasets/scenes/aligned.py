"""A scene brought onto another's grid, window by window: what was in another place, CRS or size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from fieldsight.datasets.grids import Grid, Slices
from fieldsight.datasets.scenes.scene import Scene

Array = NDArray[Any]

EDGE = 4  # pixels more that are read around a window, for what bilinear resampling looks at
KEPT = ("name", "bands", "sensor", "date", "simulated", "reflectance")
STEP = 16  # pixels between two nodes at which the way into the other CRS is computed
NODES = 17  # places along each side of a window whose way into the other CRS is followed


class Aligned(Scene):
    """A scene as it looks on another grid: bilinear, so that a part of a pixel counts.

    A place of which a neighbour has no data has none itself, and one that a cloud touches is
    cloudy: better too little than half of a nodata value.

    Args:
        scene: of any grid.
        grid: to bring it onto.
        moved_px: rows and columns of the grid by which its content is moved on it.

    Raises:
        DataError: if one of the grids isn't georeferenced.
    """

    def __init__(
        self, scene: Scene, grid: Grid, *, moved_px: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        scene.grid.check_georeferenced("resampling")
        grid.check_georeferenced("resampling")
        told = "brought onto another grid, bilinear"
        if any(moved_px):
            told += f", moved by {moved_px[0]:+.2f} rows and {moved_px[1]:+.2f} columns"
        down, right = moved_px
        seen = grid.transform @ Affine.translation(-right, -down)
        facts = {name: getattr(scene, name) for name in KEPT} | {
            "grid": grid,
            "notes": (*scene.notes, told),
            "_scene": scene,
            "_seen": dataclasses.replace(grid, transform=seen),
            "_moved": moved_px,
        }
        for name, value in facts.items():  # a scene is frozen
            object.__setattr__(self, name, value)

    _scene: Scene
    _seen: Grid  # where the grid's places lie in the scene, its content not moved yet
    _moved: tuple[float, float]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The scene's."""
        return self._scene.dtype

    @property
    def nodata(self) -> float | None:
        """The scene's."""
        return self._scene.nodata

    @property
    def has_clouds(self) -> bool:
        """The scene's."""
        return self._scene.has_clouds

    def read(self, slices: Slices) -> Array:
        """`(rows, columns, bands)` in the scene's dtype; its nodata value, or 0, where it isn't."""
        return self.read_valid(slices)[0]

    def valid(self, slices: Slices) -> Array:
        """`(rows, columns)` bool, True where there are data."""
        return self.read_valid(slices)[1]

    def read_valid(self, slices: Slices) -> tuple[Array, Array]:
        """Both at once."""
        rows, columns = _shape(slices, self.grid)
        empty = self.nodata if self.nodata is not None else 0
        found = np.full((rows, columns, len(self.bands)), empty, self.dtype)
        there = self._beneath(slices)
        if there is None:
            return found, np.zeros((rows, columns), bool)
        values, valid = self._scene.read_valid(there)
        floats = values.astype(np.float32)
        floats[~valid] = 0
        share = self._warp(valid.astype(np.float32)[..., None], there, slices)[..., 0]
        kept = share > 1 - 1e-3
        moved = self._warp(floats, there, slices)[kept]
        if np.issubdtype(self.dtype, np.integer):
            limits = np.iinfo(self.dtype)  # type: ignore[type-var]
            moved = np.clip(np.rint(moved), limits.min, limits.max)
        found[kept] = moved.astype(self.dtype)
        return found, kept

    def clouds(self, slices: Slices) -> Array | None:
        """`(rows, columns)` bool, True where a cloud touches; None if the product has no mask."""
        there = self._beneath(slices)
        if there is None:
            return np.zeros(_shape(slices, self.grid), bool) if self.has_clouds else None
        clouds = self._scene.clouds(there)
        if clouds is None:
            return None
        return np.asarray(
            self._warp(clouds.astype(np.float32)[..., None], there, slices)[..., 0] > 1e-3
        )

    def select(self, bands: Any) -> Scene:
        """The same with these bands."""
        return Aligned(self._scene.select(bands), self.grid, moved_px=self._moved)

    def close(self) -> None:
        """Close the scene."""
        self._scene.close()

    def _warp(self, values: Array, there: Slices, slices: Slices) -> Array:
        """`(rows, columns, bands)` float32 of a part of the source on a part of the grid.

        Not GDAL's warper: its kernel depends on the window that is asked for.
        """
        from scipy import ndimage

        shape = _shape(slices, self.grid)
        moved = np.zeros((*shape, values.shape[-1]), np.float32)
        # Where the source is finer, the mean of as many places as it has there: else some of its
        # pixels alone would be seen.
        fine = self._fineness
        for down in range(fine):
            for right in range(fine):
                inside = (down + 0.5) / fine, (right + 0.5) / fine
                row, column = self._places(slices, inside)
                places = np.stack([row - there[0].start - 0.5, column - there[1].start - 0.5])
                # Rounded, lest a billionth of a pixel beyond the border make it nodata.
                places = places.round(6)
                for band in range(values.shape[-1]):
                    moved[..., band] += ndimage.map_coordinates(values[..., band], places, order=1)
        return moved / np.float32(fine * fine)

    @property
    def _fineness(self) -> int:
        """Pixels of the source along a side of one of the grid, at its middle; at least 1."""
        middle = self.grid.rows // 2, self.grid.columns // 2
        row, column = self._places(
            (slice(middle[0], middle[0] + 2), slice(middle[1], middle[1] + 2)), (0.0, 0.0)
        )
        sides = np.hypot(np.diff(row, axis=0), np.diff(column, axis=0)).mean()
        return max(1, round(float(sides))) if np.isfinite(sides) else 1

    def _places(self, slices: Slices, inside: tuple[float, float]) -> tuple[Array, Array]:
        """Rows and columns of the source where places within a window's pixels lie.

        Between nodes of a lattice that is the same whatever window is asked for, a plane: ways
        between two CRSs bend by far less than a thousandth of a pixel over so few of them.
        """
        (top, bottom, _), (left, right, _) = (
            side.indices(count)
            for side, count in zip(slices, (self.grid.rows, self.grid.columns), strict=True)
        )
        rows, columns = np.arange(top, bottom) + inside[0], np.arange(left, right) + inside[1]
        first = top // STEP, left // STEP
        nodes = [
            np.arange(low, -(-end // STEP) + 1) * STEP
            for low, end in zip(first, (bottom, right), strict=True)
        ]
        at_nodes = where(self._scene.grid, self._seen, *np.meshgrid(*nodes, indexing="ij"))
        down, across = rows / STEP - first[0], columns / STEP - first[1]
        return tuple(_between(one, down, across) for one in at_nodes)  # type: ignore[return-value]

    def _beneath(self, slices: Slices) -> Slices | None:
        """The part of the source that a window needs; None where it is beyond it."""
        source = self._scene.grid
        places = pixels_beneath(source, self._seen, slices)
        if places is None:
            return None
        (first_row, first_column), (last_row, last_column) = places
        rows = slice(max(0, first_row - EDGE), min(source.rows, last_row + EDGE))
        columns = slice(max(0, first_column - EDGE), min(source.columns, last_column + EDGE))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return rows, columns


def where(source: Grid, grid: Grid, rows: Array, columns: Array) -> tuple[Array, Array]:
    """Rows and columns of a grid where places of another lie; infinite where they can't.

    Args:
        source: whose rows and columns are wanted.
        grid: whose places they are.
        rows: of them, whole at pixels' corners.
        columns: alike.
    """
    from rasterio.warp import transform

    t = grid.transform
    x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
    if source.crs != grid.crs:
        moved = transform(grid.crs, source.crs, x.ravel(), y.ravel())
        x, y = (np.asarray(one, float).reshape(rows.shape) for one in moved)
        if source.crs.is_geographic:  # which of the turns around the Earth the source counts in
            left, _, right, _ = source.bounds
            x = x + 360 * np.round(((left + right) / 2 - x) / 360)
    back = ~source.transform
    return back.d * x + back.e * y + back.f, back.a * x + back.b * y + back.c


def _between(nodes: Array, down: Array, across: Array) -> Array:
    """Values at nodes, at places between them in nodes' numbers."""
    row, column = down.astype(int), across.astype(int)
    low, left = (down - row)[:, None], (across - column)[None, :]
    upper = nodes[row][:, column] * (1 - left) + nodes[row][:, column + 1] * left
    lower = nodes[row + 1][:, column] * (1 - left) + nodes[row + 1][:, column + 1] * left
    found: Array = upper * (1 - low) + lower * low
    return found


def pixels_beneath(
    source: Grid, grid: Grid, slices: Slices
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The first and last (row, column) of a grid that lie under a window of another.

    They may lie beyond the source. None where the window's places are nowhere in its CRS.
    """
    (top, bottom, _), (left, right, _) = (
        side.indices(count) for side, count in zip(slices, (grid.rows, grid.columns), strict=True)
    )
    down, across = np.linspace(top, bottom, NODES), np.linspace(left, right, NODES)
    row, column = where(source, grid, *np.meshgrid(down, across, indexing="ij"))
    known = np.isfinite(column) & np.isfinite(row)
    if not known.any():
        return None
    column, row = column[known], row[known]
    return (
        (int(np.floor(row.min())), int(np.floor(column.min()))),
        (int(np.ceil(row.max())), int(np.ceil(column.max()))),
    )


def overlap(grid: Grid, other: Grid) -> float:
    """The share of a grid that another covers, by their outlines, from 0 to 1.

    Raises:
        DataError: if one isn't georeferenced.
    """
    import shapely
    from rasterio.warp import transform_geom

    grid.check_georeferenced("two dates")
    other.check_georeferenced("two dates")
    outline = shapely.Polygon(grid.corners)
    there = shapely.Polygon(other.corners).segmentize(
        max(shapely.Polygon(other.corners).length / 100, 1e-9)
    )
    if grid.crs != other.crs:
        there = shapely.geometry.shape(transform_geom(other.crs, grid.crs, there.__geo_interface__))
    return float(outline.intersection(shapely.make_valid(there)).area / outline.area)


def _shape(slices: Slices, grid: Grid) -> tuple[int, int]:
    rows, columns = (
        len(range(*side.indices(count)))
        for side, count in zip(slices, (grid.rows, grid.columns), strict=True)
    )
    return rows, columns
