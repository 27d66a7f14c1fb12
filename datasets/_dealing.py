"""Groups dealt to the sides of a split so that each label comes in the shares asked for."""

from typing import Any

import numpy as np

from fieldsight.datasets.sample import Array


def dealt(totals: Array, fractions: Array, wanted: list[int], rng: np.random.Generator) -> Array:
    """The side of each group, by iterative stratification.

    Args:
        totals: `(groups, columns)` how often each group has each label, then its samples.
        fractions: `(sides,)` of everything that each side should get.
        wanted: the sides that must not stay empty; at most as many as there are groups.
        rng: settles what is equal.

    Returns:
        `(groups,)` sides.
    """
    lacking = fractions[:, None] * totals.sum(axis=0)
    sides = np.full(len(totals), -1)
    # Of equal groups one by chance: the stable sort below keeps this order among them.
    remaining = rng.permutation(len(totals))
    empty = set(wanted)
    while len(remaining):
        column = _rarest(totals[remaining])
        counts = totals[remaining, column]
        holders = remaining[np.argsort(-counts, kind="stable")][: np.count_nonzero(counts)]
        for index, group in enumerate(holders):
            # When as many groups are left as sides without one, these get them.
            is_short = len(empty) >= len(remaining) - index
            open_to = sorted(empty) if is_short else wanted
            needs = [(lacking[s, column], lacking[s, -1], rng.random(), s) for s in open_to]
            side = max(needs)[-1]
            sides[group] = side
            lacking[side] -= totals[group]
            empty.discard(side)
        remaining = remaining[sides[remaining] < 0]
    return sides


def label_counts(labels: Any, n: int) -> Array:
    """`(n, labels)` counts, from classes `(n,)` or from rows of counts; no column for None.

    Raises:
        ValueError: if there isn't one row a sample, or a count is below 0 or NaN.
    """
    if labels is None:
        return np.zeros((n, 0))
    values = np.asarray(labels)
    if values.ndim not in (1, 2) or len(values) != n:
        raise ValueError(f"labels must be ({n},) or ({n}, labels). Received: shape {values.shape}.")
    if values.ndim == 1:
        classes, index = np.unique(values, return_inverse=True)
        return np.eye(len(classes))[index]
    counts = values.astype(np.float64)
    if not np.all(counts >= 0):  # NaN too
        raise ValueError("labels must be 0, 1 or counts. Received: one below 0, or NaN.")
    return counts


def _rarest(remaining: Array) -> int:
    """The label with the fewest left, but some; the last column, of samples, if none has."""
    left = remaining[:, :-1].sum(axis=0)
    if not np.any(left > 0):
        return -1
    return int(np.argmin(np.where(left > 0, left, np.inf)))
