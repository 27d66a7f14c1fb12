"""What the mapper learns from: windows of scenes, cut as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.symmetry import symmetries
from fieldsight.pipelines.deforestation._fields import Field

Array = NDArray[Any]

BALANCED = 0.5  # of the windows lie around a pixel of a class drawn by `RARER`
RARER = 0.5  # a class is drawn by its pixels to this power: one of 1 % as a tenth of one of all
KEPT = 4096  # pixels of each class of a field by which windows are placed
SYMMETRIES = symmetries(2)


class Windows:
    """Draws windows with a labelled pixel somewhere in them, turned and mirrored (D-10).

    Half of them lie around labelled pixels whatever they are, the others around pixels of a
    class drawn first, rare ones more often than they come.

    Args:
        fields: to draw from, each with labelled pixels.
        window: pixels of a side.
        batch_size: windows.
        seed: of the pixels by which windows are placed.
        turned: whether they are turned and mirrored.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        *,
        window: int,
        batch_size: int,
        seed: int = 0,
        turned: bool = True,
    ) -> None:
        self.fields, self.window, self.batch_size = fields, window, batch_size
        self.turned = turned
        self.counts = np.array([counts(field) for field in fields])  # (fields, values)
        self.counts[:, 0] = 0
        rng = np.random.default_rng(seed)
        self.places = [
            [_some(field.labels, value, rng) for value in range(self.counts.shape[1])]
            for field in fields
        ]

    @property
    def shares(self) -> Array:
        """`(classes,)` how often a window is placed by a pixel of each class; together 1."""
        plain = self.counts.sum(axis=0)[1:].astype(np.float64)
        rarer = plain**RARER
        found: Array = BALANCED * rarer / rarer.sum() + (1 - BALANCED) * plain / plain.sum()
        return found

    def __call__(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """A batch: `(n, window, window, bands)` float32, and classes from 0, -1 where ignored."""
        pairs = [self._one(rng) for _ in range(self.batch_size)]
        images, labels = zip(*pairs, strict=True)
        return np.stack(images), np.stack(labels)

    def _one(self, rng: np.random.Generator) -> tuple[Array, Array]:
        by_class = self.counts.sum(axis=0).astype(np.float64)
        if rng.random() < BALANCED:
            by_class = by_class**RARER
        value = rng.choice(len(by_class), p=by_class / by_class.sum())
        by_field = self.counts[:, value] / self.counts[:, value].sum()
        number = rng.choice(len(by_field), p=by_field)
        places = self.places[number][value]
        place = places[rng.integers(len(places))]
        corner = place - rng.integers(0, self.window, 2)
        image, labels = cut(self.fields[number], corner, self.window)
        if not self.turned:
            return image, labels
        move = SYMMETRIES[rng.integers(len(SYMMETRIES))]
        return move.image(image), move.image(labels)


def counts(field: Field) -> Array:
    """`(len(classes),)` pixels of each value."""
    return np.bincount(np.asarray(field.labels).ravel(), minlength=len(field.classes))


def cut(field: Field, corner: Sequence[int] | Array, window: int) -> tuple[Array, Array]:
    """A window that is moved inside the field, and mirrored at its end where that is smaller.

    Args:
        field: to cut from.
        corner: row and column of its first pixel, before it is moved.
        window: pixels of a side.

    Returns:
        `(window, window, bands)` float32 in the field's units; `(window, window)` int8 classes
        from 0, -1 where ignored.
    """
    rows, columns, _ = field.shape
    top = max(0, min(int(corner[0]), rows - window))
    left = max(0, min(int(corner[1]), columns - window))
    place = (slice(top, min(rows, top + window)), slice(left, min(columns, left + window)))
    image = field.read(place)
    labels = np.asarray(field.labels[place]).astype(np.int16) - 1
    short = [(0, window - side) for side in labels.shape]
    if any(after for _, after in short):
        image = np.pad(image, [*short, (0, 0)], mode="symmetric")
        labels = np.pad(labels, short, constant_values=-1)
    return image, labels


def grid_of(fields: Sequence[Field], window: int, most: int, seed: int) -> tuple[Array, Array]:
    """Windows side by side with labels in them, as they are; `most` of them at most, by chance."""
    corners = [
        (number, row, column)
        for number, field in enumerate(fields)
        for row in range(0, field.shape[0], window)
        for column in range(0, field.shape[1], window)
    ]
    order = np.random.default_rng(seed).permutation(len(corners))
    images, labels = [], []
    for index in order.tolist():
        number, row, column = corners[index]
        image, drawn = cut(fields[number], (row, column), window)
        if (drawn >= 0).any():
            images.append(image)
            labels.append(drawn)
        if len(images) == most:
            break
    return np.stack(images), np.stack(labels)


def _some(labels: Array, value: int, rng: np.random.Generator) -> Array:
    """`(n, 2)` row and column of pixels of a value, `KEPT` at most."""
    found = np.flatnonzero(np.asarray(labels) == value) if value else np.zeros(0, np.int64)
    if len(found) > KEPT:
        found = rng.choice(found, KEPT, replace=False)
    return np.column_stack(np.unravel_index(found, labels.shape))
