"""Which samples are for training, for choosing and for the one final score."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from fieldsight.datasets.sample import Array, digest

FRACTIONS = (0.7, 0.15, 0.15)
_SIDES = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of a data set's samples on three sides that share nothing.

    Args:
        train: indices to learn from, `(n,)` integers.
        val: indices to choose settings, thresholds and the best epoch on.
        test: indices that are scored once.
        groups: the group (patient, flight, scene, drive) of every sample of the data set;
            None where samples are independent.

    Raises:
        ValueError: if an index or a group is on two sides, or twice on one.

    Example:
        >>> Split([0, 1], [2], [3]).fingerprint[:8]
        'f313c97f'
    """

    train: Array
    val: Array
    test: Array
    _: KW_ONLY
    groups: Array | None = None

    def __post_init__(self) -> None:
        for side in _SIDES:
            object.__setattr__(self, side, _indices(side, getattr(self, side)))
        self._refuse_shared("index", {side: getattr(self, side) for side in _SIDES})
        if self.groups is not None:
            groups = np.asarray(self.groups)
            object.__setattr__(self, "groups", groups)
            self._refuse_beyond(len(groups))
            self._refuse_shared("group", {side: groups[getattr(self, side)] for side in _SIDES})

    @cached_property
    def fingerprint(self) -> str:
        """The sha256, in hexadecimal, of the three sides' indices, in their order."""
        return digest(self.train, self.val, self.test)

    def _refuse_beyond(self, count: int) -> None:
        largest = max((int(getattr(self, side).max(initial=-1)) for side in _SIDES), default=-1)
        if largest >= count:
            raise ValueError(
                f"every index needs its group. Received: index {largest} and {count} groups."
            )

    @staticmethod
    def _refuse_shared(kind: str, sides: dict[str, Array]) -> None:
        for (first, a), (second, b) in combinations(sides.items(), 2):
            shared = np.intersect1d(a, b)
            if len(shared):
                raise ValueError(
                    f"the sides of a split must share no {kind}. Received: {kind} {shared[0]!s} "
                    f"in both {first} and {second} ({len(shared)} shared in all). "
                    "Put the whole of it on one side."
                )


def in_order(n: int, fractions: tuple[float, float, float] = FRACTIONS) -> Split:
    """The first samples for training, the next for validation, the last for the test.

    For files whose neighbours are alike (one writer, one flight): a split at random would put
    near-twins on both sides.

    Args:
        n: how many samples there are.
        fractions: of train, val and test; together 1.

    Raises:
        ValueError: if the fractions aren't shares of one, or a side that was asked for stays
            empty.

    Example:
        >>> in_order(10, (0.6, 0.2, 0.2)).test
        array([8, 9])
    """
    return _cut(np.arange(n, dtype=np.int64), fractions)


def at_random(n: int, fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0) -> Split:
    """Every sample on a side by chance; each side in rising order.

    Right only where samples are independent of each other.

    Args:
        n: how many samples there are.
        fractions: of train, val and test; together 1.
        seed: the same seed gives the same split on every machine.

    Raises:
        ValueError: as `in_order`.

    Example:
        >>> at_random(4, (0.5, 0.25, 0.25), seed=1).train.tolist()
        [0, 1]
    """
    return _cut(np.random.default_rng(seed).permutation(n).astype(np.int64), fractions)


def _cut(order: Array, fractions: tuple[float, float, float]) -> Split:
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(
            "three fractions, none below 0 and together 1, are needed (train, val, test). "
            f"Received: {fractions}."
        )
    n = len(order)
    first, second = round(n * fractions[0]), round(n * (fractions[0] + fractions[1]))
    parts = [np.sort(part) for part in (order[:first], order[first:second], order[second:])]
    for side, part, fraction in zip(_SIDES, parts, fractions, strict=True):
        if fraction > 0 and not len(part):
            raise ValueError(
                f"{side} was to have {fraction:g} of the samples and got none. Received: {n} "
                "samples. More samples or another fraction are needed."
            )
    return Split(*parts)


def _indices(side: str, values: Any) -> Array:
    indices = np.asarray(values)
    if indices.size == 0:
        return np.empty(0, dtype=np.int64)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer) or indices.min() < 0:
        raise ValueError(
            f"{side} must be a list of indices from 0. Received: shape {indices.shape}, "
            f"{indices.dtype}."
        )
    if len(np.unique(indices)) < len(indices):
        raise ValueError(f"{side} holds an index twice. Received: {len(indices)} indices.")
    return indices.astype(np.int64)
