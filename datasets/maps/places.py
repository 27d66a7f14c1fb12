"""Where a raster lies on the globe: its outline, its north, its metres."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.grids import Grid

Array = NDArray[Any]

_SIDE = 16  # pieces a side: a straight one is curved on the globe


def outline(grid: Grid) -> tuple[dict[str, Any], list[float]]:
    """A raster's outline on WGS 84 as GeoJSON has it, and its bounding box.

    What crosses the antimeridian is cut there, and its box begins in the east and ends in the
    west, as RFC 7946 asks.

    Returns:
        A Polygon or MultiPolygon, and west, south, east, north in degrees.

    Raises:
        DataError: if the raster isn't georeferenced.
    """
    import shapely

    grid.check_georeferenced("an outline")
    shares = np.linspace(0, 1, _SIDE, endpoint=False)
    corners = np.array([(0, 0), (0, grid.rows), (grid.columns, grid.rows), (grid.columns, 0)])
    after = np.roll(corners, -1, axis=0)
    ring = (corners[:, None] + shares[None, :, None] * (after - corners)[:, None]).reshape(-1, 2)
    longitude, latitude = to_degrees(grid, ring[:, 0], ring[:, 1])
    # In one piece: each corner less than half way round from the one before.
    longitude = np.unwrap(longitude, period=360)
    longitude -= 360 * math.floor((longitude.mean() + 180) / 360)
    west, east = float(longitude.min()), float(longitude.max())
    south, north = float(latitude.min()), float(latitude.max())
    whole = shapely.Polygon(np.stack([longitude, latitude], axis=1))
    pieces = []
    for turn in (-360, 0, 360):
        piece = whole.intersection(shapely.box(-180 + turn, -90, 180 + turn, 90))
        if piece.area > 0:
            pieces += [
                shapely.transform(part, lambda places, by=turn: places - (by, 0))
                for part in shapely.get_parts(piece)
                if part.geom_type == "Polygon"
            ]
    rings = [_coordinates(piece) for piece in pieces]
    shape: dict[str, Any] = {"type": "Polygon", "coordinates": rings[0]}
    if len(rings) > 1:
        shape = {"type": "MultiPolygon", "coordinates": rings}
    box = [_wrapped(west), south, _wrapped(east), north]
    if east == 180:
        box[2] = 180.0
    return shape, box


def to_degrees(grid: Grid, columns: Array, rows: Array) -> tuple[Array, Array]:
    """Longitude and latitude on WGS 84 of places in pixels."""
    from pyproj import Transformer

    t = grid.transform
    x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
    transformer = Transformer.from_crs(grid.crs.to_wkt(), "EPSG:4326", always_xy=True)
    longitude, latitude = transformer.transform(x, y)
    return np.asarray(longitude, float), np.asarray(latitude, float)


def metres_a_pixel(grid: Grid) -> tuple[float, float]:
    """Metres on the ground along a row's pixel and along a column's, in the raster's middle."""
    from pyproj import Geod

    step = 0.5
    column, row = grid.columns / 2, grid.rows / 2
    columns = np.array([column - step, column + step, column, column])
    rows = np.array([row, row, row - step, row + step])
    longitude, latitude = to_degrees(grid, columns, rows)
    _, _, metres = Geod(ellps="WGS84").inv(
        longitude[[0, 2]], latitude[[0, 2]], longitude[[1, 3]], latitude[[1, 3]]
    )
    return float(metres[0]), float(metres[1])


def north(grid: Grid) -> float:
    """Where north is in the raster's middle: radians from up, clockwise."""
    column, row = grid.columns / 2, grid.rows / 2
    east_of, south_of = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    longitude, latitude = to_degrees(grid, column + east_of, row + south_of)
    shrunk = math.cos(math.radians(latitude[0]))
    # The ground's east and north of a step along a row, and of one down a column.
    east = (np.mod(longitude[1:] - longitude[0] + 180, 360) - 180) * shrunk
    up = latitude[1:] - latitude[0]
    step = np.linalg.solve(np.array([east, up]), np.array([0.0, 1.0]))
    # In a picture whose pixels are as wide and high as on the ground.
    right, down = step * metres_a_pixel(grid)
    return math.atan2(right, -down)


def _wrapped(longitude: float) -> float:
    return (longitude + 180) % 360 - 180


def _coordinates(piece: Any) -> list[list[list[float]]]:
    """A polygon's rings, against the clock outside."""
    import shapely

    turned = shapely.geometry.polygon.orient(piece)
    rings = [turned.exterior, *turned.interiors]
    return [[[round(x, 9), round(y, 9)] for x, y in ring.coords] for ring in rings]
