"""Random fields and marks on a grid: what every landscape is drawn with, without loops over pixels.

Nothing here multiplies matrices with BLAS: its last bits depend on the number of threads, and a
scene must be the same whoever makes it.
"""

import functools

import numpy as np
from scipy import sparse

from fieldsight.datasets.sample import Array

# Standard deviation of a cubic B-spline surface through independent knots of deviation 1: a knot's
# weight squared is 151/315 on average along each axis.
_SPLINE_STD = 151 / 315


@functools.lru_cache(maxsize=64)
def _weights(size: int, scale: float) -> sparse.csr_array:
    """`(size, knots)`: cubic B-spline weights of the four knots about each position."""
    place = np.arange(size) / scale
    knot = place.astype(np.intp)
    f = place - knot
    values = np.stack(
        [(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3], 1
    )
    parts = (values.ravel() / 6).astype(np.float32)
    columns = (knot[:, None] + np.arange(4)).ravel()
    rows = np.arange(0, 4 * size + 1, 4)
    shape = (size, int(knot[-1]) + 4)
    return sparse.csr_array((parts, columns, rows), shape=shape)


def smooth(
    rng: np.random.Generator,
    shape: tuple[int, int],
    scale: float,
    *,
    octaves: int = 1,
    persistence: float = 0.5,
) -> Array:
    """A smooth random surface.

    Args:
        rng: the source.
        shape: rows and columns.
        scale: pixels between independent knots of the first octave; each further one's is half.
        octaves: how many surfaces are added.
        persistence: a surface's height as a part of the last one's.

    Returns:
        `shape` float32, mean about 0, standard deviation about 1.
    """
    total: Array = np.zeros(shape, np.float32)
    square = 0.0
    for octave in range(octaves):
        down = _weights(shape[0], scale / 2**octave)
        across = _weights(shape[1], scale / 2**octave)
        knots = rng.standard_normal((down.shape[1], across.shape[1]), np.float32)
        height = persistence**octave
        square += height**2
        total += np.float32(height) * (down @ np.ascontiguousarray((across @ knots.T).T))
    return np.asarray(total / np.float32(_SPLINE_STD * square**0.5))


def grain(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Independent noise of deviation 1, triangular: a normal one costs ten times as much."""
    noise = rng.random(shape, np.float32)
    noise += rng.random(shape, np.float32)
    noise -= np.float32(1)
    noise *= np.float32(6**0.5)
    return np.asarray(noise)


def blur(image: Array, side: float) -> Array:
    """Each pixel with a part `side` of each neighbour, along rows and columns.

    A point spread of variance 2 x `side` pixels squared along each axis; edges are repeated.
    """
    for axis in (0, 1):
        ahead, behind = _shifted(image, axis)
        image = image * np.float32(1 - 2 * side) + np.float32(side) * (ahead + behind)
    return image


def _shifted(image: Array, axis: int) -> tuple[Array, Array]:
    ahead, behind = np.empty_like(image), np.empty_like(image)
    a, b, i = np.moveaxis(ahead, axis, 0), np.moveaxis(behind, axis, 0), np.moveaxis(image, axis, 0)
    a[:-1], a[-1] = i[1:], i[-1]
    b[1:], b[0] = i[:-1], i[0]
    return ahead, behind


def rotated(shape: tuple[int, int], angle: float) -> tuple[Array, Array]:
    """Coordinates `u`, `v` in pixels from the middle, turned by an angle in radians; float32."""
    y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(shape[0] / 2)
    x = np.arange(shape[1], dtype=np.float32)[None] - np.float32(shape[1] / 2)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * c + y * s, y * c - x * s


def ripples(shape: tuple[int, int], angle: float, period: float) -> tuple[Array, Array]:
    """Sines along `u` and along `v` of `rotated`, `period` pixels apart; float32, -1 to 1."""
    waves = []
    for turn in (angle, angle + np.pi / 2):
        y = 2 * np.pi / period * np.sin(turn) * np.arange(shape[0])[:, None]
        x = 2 * np.pi / period * np.cos(turn) * np.arange(shape[1])[None]
        # The sine of a sum by its parts: sines of rows and of columns alone are computed.
        parts = [part.astype(np.float32) for part in (np.sin(y), np.cos(y), np.sin(x), np.cos(x))]
        waves.append(parts[0] * parts[3] + parts[1] * parts[2])
    return waves[0], waves[1]


def stamp(
    target: Array, rows: Array, columns: Array, radius: float, value: int, on: Array | None = None
) -> None:
    """Set discs about points to a value, in place; what lies outside is left out.

    Args:
        target: `(rows, columns)`.
        rows: of the points, pixels.
        columns: of the points.
        radius: pixels.
        value: to be set.
        on: `(256,)` bool, the values that may be overwritten; left out, all.
    """
    reach = int(np.ceil(radius))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    near = dy**2 + dx**2 <= radius**2
    y = (np.rint(rows).astype(np.intp)[:, None] + dy[near]).ravel()
    x = (np.rint(columns).astype(np.intp)[:, None] + dx[near]).ravel()
    inside = (y >= 0) & (x >= 0) & (y < target.shape[0]) & (x < target.shape[1])
    y, x = y[inside], x[inside]
    if on is not None:
        kept = on[target[y, x]]
        y, x = y[kept], x[kept]
    target[y, x] = value


def path(rng: np.random.Generator, length: int, wobble: float) -> tuple[Array, Array]:
    """A winding line from the origin, one pixel a step: its rows and columns, float64.

    Args:
        rng: the source.
        length: steps.
        wobble: standard deviation of the turn, radians a step of ten pixels.
    """
    turns = np.repeat(rng.normal(0, wobble / 10, -(-length // 10)), 10)[:length]
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turns)
    return np.cumsum(np.sin(heading)), np.cumsum(np.cos(heading))


def box(
    shape: tuple[int, int], row: float, column: float, radius: float
) -> tuple[tuple[slice, slice], Array, Array]:
    """The part of a grid about a point: its slices, and rows and columns from the point."""
    top, left = max(int(row - radius), 0), max(int(column - radius), 0)
    bottom = max(min(int(row + radius) + 1, shape[0]), top)
    right = max(min(int(column + radius) + 1, shape[1]), left)
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(row)
    x = np.arange(left, right, dtype=np.float32)[None] - np.float32(column)
    return (slice(top, bottom), slice(left, right)), y, x
