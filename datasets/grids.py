"""Where a raster's pixels lie on the ground, and how large they are there.

A pixel of 10 m in UTM is up to 0.2 % off, in Web Mercator at 60 degrees it is a quarter of what it
says, in degrees it shrinks with the latitude. So areas are those of an equal-area projection of
the raster's own ellipsoid, pixel by pixel (D-5).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from fieldsight.datasets.errors import DataError

Slices = tuple[slice, slice]
Array = NDArray[Any]

_LATTICE_M = 10_000.0  # areas change by less than 1e-6 of themselves from a straight line over it
_SAME = 1e-6  # of a pixel: two grids that are nearer than this are one


@dataclass(frozen=True)
class Grid:
    """The pixels of a raster.

    Attributes:
        crs: rasterio's; None where the file says none.
        transform: from (column, row), the first pixel from 0 to 1, to the CRS's (x, y).
        rows: of the raster.
        columns: of the raster.
    """

    crs: Any
    transform: Affine
    rows: int
    columns: int

    @property
    def is_georeferenced(self) -> bool:
        """Whether it is known where the pixels lie."""
        return self.crs is not None and not self.transform.is_identity

    @property
    def is_north_up(self) -> bool:
        """Whether rows run along x and columns along y."""
        return self.transform.b == 0 and self.transform.d == 0

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top in the CRS, of all four corners."""
        x, y = zip(*self.corners, strict=True)
        return min(x), min(y), max(x), max(y)

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """The four corners in the CRS: of the first row's begin and end, the last's end, begin."""
        places = ((0, 0), (self.columns, 0), (self.columns, self.rows), (0, self.rows))
        return tuple(self.transform @ place for place in places)

    @functools.cached_property
    def ground_sampling_distance_m(self) -> float:
        """The side of a square as large as the middle pixel, in metres on the ground.

        Raises:
            DataError: if the raster isn't georeferenced.
        """
        row, column = self.rows // 2, self.columns // 2
        middle = (slice(row, row + 1), slice(column, column + 1))
        return float(math.sqrt(self.pixel_areas_m2(middle)[0, 0]))

    def pixel_areas_m2(self, slices: Slices | None = None) -> Array:
        """How large pixels are, in an equal-area projection.

        Args:
            slices: rows and columns; None for all.

        Returns:
            `(rows, columns)` float64 square metres, not to be written to: where all pixels of a
            row are alike, it holds one number a row.

        Raises:
            DataError: if the raster isn't georeferenced.
        """
        self.check_georeferenced("areas")
        every = (slice(0, self.rows), slice(0, self.columns))
        (top, bottom, _), (left, right, _) = (
            side.indices(count)
            for side, count in zip(slices or every, (self.rows, self.columns), strict=True)
        )
        shape = (max(0, bottom - top), max(0, right - left))
        if self.crs.is_geographic:
            areas = self._in_degrees(top, bottom, left, right)
        else:
            areas = self._on_lattice(top, bottom, left, right)
        return np.broadcast_to(areas, shape)

    def check_georeferenced(self, what: str) -> None:
        """Refuse to go on where it isn't known where the pixels lie.

        Args:
            what: that is asked for, for the message: "areas".

        Raises:
            DataError: if the raster isn't georeferenced, or its CRS has no way to the globe, as a
                building site's own hasn't.
        """
        if not self.is_georeferenced:
            lacking, option = "a CRS, but no transform", "-a_ullr LEFT TOP RIGHT BOTTOM"
            if self.crs is None:
                lacking, option = "no CRS", "-a_srs EPSG:32721"
            raise DataError(
                f"{what}: a raster with a CRS and a transform was needed. Received: {lacking}. "
                f"Assign it, for example with gdal_edit.py {option} FILE, or take the file that "
                "the provider georeferenced."
            )
        if self._projected.geodetic_crs is None:
            raise DataError(
                f"{what}: a CRS that leads to longitude and latitude was needed. Received: "
                f"{self._projected.name[:80]}. Assign the right one, for example with gdal_edit.py "
                "-a_srs EPSG:32721 FILE, or export the raster in one."
            )

    @functools.cached_property
    def _pixel_in_crs(self) -> float:
        """The area of a pixel in the CRS's own units, squared."""
        return abs(self.transform.determinant)

    @functools.cached_property
    def _projected(self) -> Any:
        """The CRS as pyproj has it."""
        from pyproj import CRS

        return CRS.from_user_input(self.crs.to_wkt(version="WKT2_2019"))

    def _in_degrees(self, top: int, bottom: int, left: int, right: int) -> Array:
        """Exact: how large a square degree is at the middle of each pixel."""
        t = self.transform
        rows, columns = np.arange(top, bottom) + 0.5, np.arange(left, right) + 0.5
        latitude = t.f + t.e * rows[:, None]
        if t.d:  # rotated: columns change the latitude too
            latitude = latitude + t.d * columns
        unit = self._projected.axis_info[0].unit_conversion_factor  # to radians
        ellipsoid = self._projected.ellipsoid
        a = ellipsoid.semi_major_metre
        e2 = 1 - (ellipsoid.semi_minor_metre / a) ** 2
        sine = np.sin(latitude * unit)
        # The radii of curvature along the meridian and across it, times the parallel's shrinking.
        density = a**2 * (1 - e2) * np.cos(latitude * unit) / (1 - e2 * sine**2) ** 2
        found: Array = density * self._pixel_in_crs * unit**2
        return found

    @functools.cached_property
    def _step(self) -> int:
        """Pixels between two nodes of the lattice."""
        axis = self._projected.axis_info
        unit = axis[0].unit_conversion_factor if axis else 1.0
        return max(1, int(_LATTICE_M / (math.sqrt(self._pixel_in_crs) * unit)))

    def _on_lattice(self, top: int, bottom: int, left: int, right: int) -> Array:
        """Between nodes that lie at the same pixels whatever part is asked for, a plane."""
        rows, low, down = _between(top, bottom, self._step)
        columns, first, across = _between(left, right, self._step)
        nodes = self._areas_at(rows, columns)
        upper = nodes[low] * (1 - down[:, None]) + nodes[low + 1] * down[:, None]
        found: Array = upper[:, first] * (1 - across) + upper[:, first + 1] * across
        return found

    def _areas_at(self, rows: Array, columns: Array) -> Array:
        """`(rows, columns)`: the area of a pixel around each place, by its corners."""
        from pyproj import Transformer

        row, column = (places[..., None] for places in np.meshgrid(rows, columns, indexing="ij"))
        half = 0.5
        around_row = row + half * np.array([-1, -1, 1, 1])
        around_column = column + half * np.array([-1, 1, 1, -1])
        t = self.transform
        x = t.a * around_column + t.b * around_row + t.c
        y = t.d * around_column + t.e * around_row + t.f
        transformer = Transformer.from_crs(self._projected, self.equal_area, always_xy=True)
        x, y = transformer.transform(x, y)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise DataError(
                "areas: a raster that lies on the Earth was needed. Received: pixels that its CRS "
                f"can't place, with bounds {self.bounds}. Check its transform and CRS."
            )
        after = np.roll(np.arange(4), -1)
        found: Array = np.abs((x * y[..., after] - x[..., after] * y).sum(axis=-1)) / 2
        return found

    @functools.cached_property
    def equal_area(self) -> Any:
        """An equal-area projection around the raster's middle, of its own ellipsoid (pyproj's).

        Raises:
            DataError: if the raster isn't georeferenced.
        """
        from pyproj import Transformer
        from pyproj.crs import ProjectedCRS
        from pyproj.crs.coordinate_operation import LambertAzimuthalEqualAreaConversion

        self.check_georeferenced("areas")
        # On the datum itself: a shift to WGS 84 would add its own error to the areas.
        geodetic = self._projected.geodetic_crs
        middle = self.transform @ (self.columns / 2, self.rows / 2)
        to_degrees = Transformer.from_crs(self._projected, geodetic, always_xy=True)
        longitude, latitude = to_degrees.transform(*middle)
        if not (math.isfinite(longitude) and math.isfinite(latitude)):
            longitude, latitude = 0.0, 0.0
        return ProjectedCRS(
            conversion=LambertAzimuthalEqualAreaConversion(latitude, longitude),
            name=f"equal-area around {latitude:.4f}, {longitude:.4f}",
            geodetic_crs=geodetic,
        )


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two rasters' pixels are the same places, to a millionth of a pixel."""
    if a.crs != b.crs or (a.rows, a.columns) != (b.rows, b.columns):
        return False
    if a.transform == b.transform:
        return True
    if a.transform.is_degenerate or b.transform.is_degenerate:
        return False
    corners = ((0, 0), (a.columns, 0), (0, a.rows), (a.columns, a.rows))
    moved = (~a.transform) @ b.transform
    return all(math.dist(moved @ corner, corner) < _SAME for corner in corners)


def _between(first: int, end: int, step: int) -> tuple[Array, Array, Array]:
    """The nodes around pixels; for each pixel the node before it and how far it is beyond.

    Returns:
        Nodes `(n,)` as pixels' middles; the node's place `(end - first,)`; `(end - first,)` 0 to 1.
    """
    pixels = np.arange(first, end)
    number = pixels // step
    start = first // step
    count = (number[-1] - start + 2) if len(number) else 2
    nodes = (start + np.arange(count)) * step + 0.5
    return nodes, number - start, (pixels - number * step) / step
