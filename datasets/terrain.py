"""A model of the terrain, on which rays from a camera end."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.ground import EARTH_M, moved
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes._rasters import Raster
from fieldsight.datasets.telemetry import Pose

STEPS = 256  # of a ray that are looked at together: then the next ones
NEAREST_M = 0.1  # steps aren't shorter


class Terrain:
    """Heights of the ground: a raster of one band, in metres, in any CRS.

    Args:
        path: of the raster.
        farthest_m: that a ray is followed from the camera.

    Raises:
        DataError: if it can't be read, isn't georeferenced, or has more than one band.
    """

    def __init__(self, path: str | Path, *, farthest_m: float = 5_000.0) -> None:
        self.path = Path(path)
        self._raster = Raster(self.path)
        self.grid = self._raster.grid
        self.farthest_m = farthest_m
        self.grid.check_georeferenced("heights of the ground")
        if self._raster.count != 1:
            raise DataError(
                f"{self.path}: a raster of one band, heights in metres, was needed. Received: "
                f"{self._raster.count} bands. Give a model of the terrain."
            )

    def heights(self, longitude: Any, latitude: Any) -> Array:
        """`(n,)` metres at places, between pixels' middles a plane; NaN where there are none."""
        from pyproj import Transformer

        transformer = Transformer.from_crs("EPSG:4326", self.grid.crs.to_wkt(), always_xy=True)
        x, y = transformer.transform(np.asarray(longitude, float), np.asarray(latitude, float))
        column, row = ~self.grid.transform @ (np.asarray(x), np.asarray(y))
        return self._between(np.asarray(column) - 0.5, np.asarray(row) - 0.5)

    def hit(self, pose: Pose, direction: Array, home: Pose | None) -> tuple[Array, Array, Array]:
        """Where rays meet the ground first.

        Args:
            pose: of the camera.
            direction: `(n, 3)` east, north, up, of length 1.
            home: where it took off.

        Returns:
            `(n,)` metres east and north of the camera, and the camera's height above there; NaN
            where a ray meets none within `farthest_m`, or leaves the raster before.

        Raises:
            DataError: if the ground below the camera, or at its take-off, isn't in the raster.
        """
        start = self._altitude(pose, home)
        step = self._step(start - self._below(pose))
        found = np.full((len(direction), 3), np.nan)
        for number, ray in enumerate(direction):
            away = self._first(pose, start, ray, step)
            if away is not None:
                found[number] = ray[0] * away, ray[1] * away, -ray[2] * away
        return found[:, 0], found[:, 1], found[:, 2]

    def close(self) -> None:
        """Close its file."""
        self._raster.close()

    def __enter__(self) -> Terrain:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _step(self, height: float) -> float:
        """Metres along a ray: half a pixel, and no more than a tenth of the height."""
        half = self.grid.ground_sampling_distance_m / 2
        return max(NEAREST_M, min(half, max(height, 1.0) / 10))

    def _first(self, pose: Pose, start: float, ray: Array, step: float) -> float | None:
        """How far along a ray the ground is; None if it meets none."""
        begin = 0.0
        while begin < self.farthest_m:
            reach = begin + step * np.arange(STEPS + 1)
            above = self._above(pose, start, ray, reach)
            below = np.flatnonzero(~(above > 0))  # or where that isn't known
            if not len(below):
                begin = float(reach[-1])
                continue
            if np.isnan(above[below[0]]) or below[0] == 0:
                return None
            return self._refined(pose, start, ray, (float(reach[below[0] - 1]), step))
        return None

    def _refined(self, pose: Pose, start: float, ray: Array, between: tuple[float, float]) -> float:
        """The same to a millimetre, by halving a step in which the ground is."""
        near, step = between
        while step > 0.001:
            step /= 2
            if self._above(pose, start, ray, np.array([near + step]))[0] > 0:
                near += step
        return near + step / 2

    def _above(self, pose: Pose, start: float, ray: Array, reach: Array) -> Array:
        """How high points along a ray are above the ground; NaN where that isn't known."""
        longitude, latitude = moved(pose, ray[0] * reach, ray[1] * reach)
        level = np.hypot(ray[0], ray[1]) * reach
        # The globe falls away below the plane that touches it at the camera.
        found: Array = start + ray[2] * reach + level**2 / (2 * EARTH_M)
        return found - self.heights(longitude, latitude)

    def _altitude(self, pose: Pose, home: Pose | None) -> float:
        """The camera's height in the raster's own datum."""
        if pose.height_m is None:
            return float(pose.altitude_m or 0.0)
        under = pose if pose.above == "ground" or home is None else home
        return self._below(under) + pose.height_m

    def _below(self, pose: Pose) -> float:
        height = float(self.heights([pose.longitude], [pose.latitude])[0])
        if not math.isfinite(height):
            raise DataError(
                f"{self.path}: heights of the ground below the camera were needed. Received: none "
                f"at {pose.longitude:.5f}, {pose.latitude:.5f}. Give one that covers the flight."
            )
        return height

    def _between(self, column: Array, row: Array) -> Array:
        """Heights at fractional pixels, 0 in the first one's middle."""
        found = np.full(column.shape, np.nan)
        inside = (column > -0.5) & (row > -0.5)
        inside &= (column < self.grid.columns - 0.5) & (row < self.grid.rows - 0.5)
        if not inside.any():
            return found
        c = np.clip(column[inside], 0, self.grid.columns - 1)
        r = np.clip(row[inside], 0, self.grid.rows - 1)
        left = np.minimum(c.astype(int), max(self.grid.columns - 2, 0))
        top = np.minimum(r.astype(int), max(self.grid.rows - 2, 0))
        first_row, first_column = int(top.min()), int(left.min())
        window = (
            slice(first_row, min(int(top.max()) + 2, self.grid.rows)),
            slice(first_column, min(int(left.max()) + 2, self.grid.columns)),
        )
        values, known = self._read(window)
        values = np.where(known, values, np.nan)
        y0, x0 = top - first_row, left - first_column
        y1 = np.minimum(y0 + 1, values.shape[0] - 1)
        x1 = np.minimum(x0 + 1, values.shape[1] - 1)
        down, across = r - top, c - left
        upper = values[y0, x0] * (1 - across) + values[y0, x1] * across
        lower = values[y1, x0] * (1 - across) + values[y1, x1] * across
        found[inside] = upper * (1 - down) + lower * down
        return found

    def _read(self, window: tuple[slice, slice]) -> tuple[Array, Array]:
        """Heights of a window, and where there are any."""
        values = self._raster.read([0], window)[0].astype(np.float64)
        known = np.isfinite(values)
        nodata = self._raster.nodata[0]
        if nodata is not None and math.isfinite(nodata):
            known &= values != nodata
        if self._raster.has_mask:
            known &= self._raster.mask(window)
        return values, known
