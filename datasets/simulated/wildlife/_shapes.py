"""Outlines that stones, bushes and canopies are drawn with, and what bodies hide."""

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated._fields import box

Slices = tuple[slice, slice]


def blob(
    rng: np.random.Generator,
    shape: tuple[int, int],
    row: float,
    column: float,
    radius: float,
    *,
    stretch: float = 1.0,
    rough: float = 0.15,
    edge: float = 1.2,
) -> tuple[Slices, Array, Array, Array]:
    """An irregular disc.

    Args:
        rng: the source.
        shape: the grid's rows and columns.
        row: of the middle.
        column: of the middle.
        radius: pixels.
        stretch: its length by its width.
        rough: how far its outline is from an ellipse, as a part of the radius.
        edge: pixels from covered to free.

    Returns:
        Its part of the grid; there `(rows, columns)` float32 how much is covered, 0 to 1; and the
        rows and columns from its middle, as parts of the radius, turned to its long axis.
    """
    turn = rng.uniform(0, np.pi)
    heights = rng.normal(0, rough, 4) / np.arange(1.5, 5.5) ** 0.7
    phases = rng.uniform(0, 2 * np.pi, 4)
    where, y, x = box(shape, row, column, radius * stretch * (1 + 2.5 * rough) + edge)
    s, c = np.float32(np.sin(turn)), np.float32(np.cos(turn))
    v, u = (y * c - x * s) / np.float32(radius), (x * c + y * s) / np.float32(radius * stretch)
    angle, far = np.arctan2(v, u), np.hypot(v, u)
    outline = np.float32(1) + sum(
        np.float32(height) * np.cos(np.float32(k) * angle + np.float32(phase))
        for k, height, phase in zip((2, 3, 4, 6), heights, phases, strict=True)
    )
    covered = np.clip((outline - far) * np.float32(radius / edge) + np.float32(0.5), 0, 1)
    return where, covered, v, u


def capsules(y: Array, x: Array, ends: Array, radii: Array, edge: float) -> Array:
    """How much each of some capsules covers, `(n, rows, columns)` float32, 0 to 1.

    Args:
        y: `(rows, 1)` float32 pixels.
        x: `(1, columns)` float32 pixels.
        ends: `(n, 4)`: row and column of a segment's ends.
        radii: `(n,)` pixels.
        edge: pixels from covered to free.
    """
    first_y, first_x, last_y, last_x = (ends[:, i, None, None].astype(np.float32) for i in range(4))
    dy, dx = last_y - first_y, last_x - first_x
    along = ((y - first_y) * dy + (x - first_x) * dx) / np.maximum(dy**2 + dx**2, 1e-6)
    np.clip(along, 0, 1, out=along)
    far = np.hypot(y - first_y - along * dy, x - first_x - along * dx)
    covered = (radii[:, None, None].astype(np.float32) - far) / np.float32(edge) + np.float32(0.5)
    return np.clip(covered, 0, 1, out=covered)
