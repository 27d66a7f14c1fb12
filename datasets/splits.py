"""Which samples are for training, for choosing and for the one final score."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from fieldsight.datasets._dealing import dealt, label_counts
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


def by_group(
    groups: Any,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    *,
    labels: Any = None,
) -> Split:
    """Every group on one side, the sides' samples and labels in the shares that were asked for.

    Groups are dealt one by one to the side that lacks most: first those with the rarest label
    that is left, of these the largest first, equal ones by chance. So the largest group is often
    for training. With few groups the shares are approximate; every side gets one at least.

    Reference:
        Sechidis, Tsoumakas, Vlahavas, On the stratification of multi-label data, ECML PKDD 2011,
        algorithm 1 (iterative stratification). Differs in that groups are dealt in place of
        samples, each with the counts of all of its labels.

    Args:
        groups: `(n,)` the patient, flight, scene or drive of each sample.
        fractions: of train, val and test; together 1.
        seed: the same seed gives the same split on every machine.
        labels: what the sides should have in equal shares: `(n,)` whole numbers, the classes;
            or `(n, labels)` 0 or 1, or counts, such as of each kind of object; None for nothing.

    Returns:
        A split that knows its groups.

    Raises:
        ValueError: if the fractions aren't shares of one, there are fewer groups than sides, a
            group has no name, or labels aren't one row a sample.

    Example:
        >>> split = by_group(["a", "a", "b", "c", "c", "c"], (0.5, 0.5, 0.0))
        >>> split.train.tolist(), split.val.tolist()
        ([3, 4, 5], [0, 1, 2])
    """
    names, members = _grouped(groups)
    _refuse_fractions(fractions)
    wanted = [side for side, fraction in enumerate(fractions) if fraction > 0]
    count = int(members.max(initial=-1)) + 1
    if count < len(wanted):
        raise ValueError(
            f"{len(wanted)} sides need a group each. Received: {count} groups of "
            f"{len(members)} samples. Smaller groups, or fewer sides, are needed."
        )
    # The last column counts samples: it is dealt by when no label is left.
    contents = np.column_stack([label_counts(labels, len(members)), np.ones(len(members))])
    totals = np.zeros((count, contents.shape[1]))
    np.add.at(totals, members, contents)
    sides = dealt(totals, np.array(fractions), wanted, np.random.default_rng(seed))
    parts = [np.flatnonzero(sides[members] == side) for side in range(3)]
    return Split(*parts, groups=names)


def by_block(
    points: Any,
    size: float | tuple[float, ...],
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    *,
    margin: float = 0.0,
    labels: Any = None,
) -> Split:
    """Every block of a spatial grid on one side, so that neighbours aren't told apart.

    Reference:
        Roberts et al., Cross-validation strategies for data with temporal, spatial,
        hierarchical, or phylogenetic structure, Ecography 40(8), 2017.

    Args:
        points: `(n, axes)` where each sample lies, in any unit.
        size: of a block along every axis, or along each, in that unit. As large as the distance
            over which samples are alike, or larger.
        fractions: of train, val and test; together 1.
        seed: the same seed gives the same split on every machine.
        margin: in the same unit: of two samples on different sides nearer than this, the one on
            the side that comes first in train, val, test is left out of the split.
        labels: as `by_group`'s.

    Returns:
        A split whose groups are the blocks, by their number.

    Raises:
        ValueError: as `by_group`; or if a point isn't finite, a size isn't above 0, or the
            margin leaves a side empty.

    Example:
        >>> split = by_block([[0, 0], [1, 1], [10, 0], [11, 3]], 10, (0.5, 0.5, 0.0))
        >>> sorted([split.train.tolist(), split.val.tolist()])
        [[0, 1], [2, 3]]
    """
    places = _finite("points", points, 2)
    sizes = np.broadcast_to(np.asarray(size, np.float64), places.shape[1:])
    if not np.all(sizes > 0):
        raise ValueError(f"a block's size must be above 0. Received: {size}.")
    cells = np.floor(places / sizes).astype(np.int64)
    blocks = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
    split = by_group(blocks, fractions, seed, labels=labels)
    return _apart(split, places, np.zeros(len(places), np.int64), margin)


def by_stretch(
    moments: Any,
    length: float,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    *,
    drives: Any = None,
    gap: float = 0.0,
    labels: Any = None,
) -> Split:
    """Every contiguous stretch of a drive, a flight or a film on one side.

    Frames that follow one another are near-twins. What was taken at one moment, by several
    cameras, stays together.

    Args:
        moments: `(n,)` when each sample was taken: seconds, or a frame's number. In any order.
        length: of a stretch, in that unit.
        fractions: of train, val and test; together 1.
        seed: the same seed gives the same split on every machine.
        drives: `(n,)` which drive or film each is of: no stretch runs over two. None for one.
        gap: in the same unit: of two samples of one drive on different sides nearer than this,
            the one on the side that comes first in train, val, test is left out of the split.
        labels: as `by_group`'s.

    Returns:
        A split whose groups are the stretches, by their number.

    Raises:
        ValueError: as `by_group`; or if a moment isn't finite, the length isn't above 0, or the
            gap leaves a side empty.

    Example:
        Two cameras, five moments, stretches of two and of the one that is left:

        >>> split = by_stretch([0, 1, 2, 3, 4, 0, 1, 2, 3, 4], 2, (0.4, 0.4, 0.2))
        >>> sorted(split.groups[side].tolist() for side in (split.train, split.val, split.test))
        [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2]]
    """
    times = _finite("moments", moments, 1)
    if not length > 0:
        raise ValueError(f"a stretch's length must be above 0. Received: {length}.")
    kinds = np.zeros(len(times), np.int64) if drives is None else _grouped(drives)[1]
    if len(kinds) != len(times):
        raise ValueError(f"a drive a moment is needed. Received: {len(kinds)} and {len(times)}.")
    first = np.full(int(kinds.max(initial=0)) + 1, np.inf)
    np.minimum.at(first, kinds, times)
    pieces = np.floor((times - first[kinds]) / length).astype(np.int64)
    cells = np.column_stack([kinds, pieces])
    stretches = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
    split = by_group(stretches, fractions, seed, labels=labels)
    return _apart(split, times[:, None], kinds, gap)


def by_fold(folds: Any, *, val: Any, test: Any, groups: Any = None) -> Split:
    """A split by published folds: some to choose on, some to be scored, the others to learn from.

    Args:
        folds: `(n,)` the fold of each sample.
        val: a fold, or a list of folds.
        test: a fold, or a list of folds.
        groups: as `Split`'s, to check that the folds keep them together.

    Raises:
        ValueError: if a fold that was named has no sample, or a group is in two sides.

    Example:
        >>> by_fold([0, 1, 2, 3, 3], val=2, test=[3]).test
        array([3, 4])
    """
    numbers = np.asarray(folds)
    chosen = [np.atleast_1d(np.asarray(side)) for side in (val, test)]
    for fold in np.concatenate(chosen).tolist():
        if not np.any(numbers == fold):
            known = ", ".join(str(known) for known in np.unique(numbers).tolist())
            raise ValueError(f"a fold that is there is needed. Received: {fold}, of {known}.")
    inside = [np.isin(numbers, side) for side in chosen]
    rest = ~(inside[0] | inside[1])
    return Split(*(np.flatnonzero(part) for part in (rest, *inside)), groups=groups)


def _cut(order: Array, fractions: tuple[float, float, float]) -> Split:
    _refuse_fractions(fractions)
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


def _refuse_fractions(fractions: tuple[float, float, float]) -> None:
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(
            "three fractions, none below 0 and together 1, are needed (train, val, test). "
            f"Received: {fractions}."
        )


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


def _grouped(groups: Any) -> tuple[Array, Array]:
    """The groups' names of all samples, and their numbers from 0."""
    names = np.asarray(groups)
    if names.ndim != 1:
        raise ValueError(f"a group a sample is needed. Received: shape {names.shape}.")
    nameless = names == "" if names.dtype.kind in "US" else np.zeros(len(names), bool)
    if names.dtype.kind == "f":
        nameless = np.isnan(names)
    if names.dtype.kind == "O":
        nameless = np.array([name is None or name != name or name == "" for name in names], bool)
    if np.any(nameless):
        raise ValueError(
            f"every sample needs the name of its group. Received: none for {nameless.sum()} of "
            f"{len(names)}, the first at {int(np.argmax(nameless))}."
        )
    return names, np.unique(names, return_inverse=True)[1].reshape(-1)


def _apart(split: Split, places: Array, kinds: Array, distance: float) -> Split:
    """The split without the samples of one kind that lie too near to one on a later side."""
    if distance < 0:
        raise ValueError(f"a distance between sides is at least 0. Received: {distance}.")
    if distance == 0:
        return split
    # Here, for it takes longer to import than all the rest, and only a margin needs it.
    from scipy.spatial import KDTree

    parts = [split.train, split.val, split.test]
    for side in (0, 1):
        later = np.concatenate(parts[side + 1 :])
        near = np.zeros(len(parts[side]), bool)
        for kind in np.unique(kinds[later]):
            here, there = kinds[parts[side]] == kind, later[kinds[later] == kind]
            apart = KDTree(places[there]).query(places[parts[side][here]])[0]
            near[here] = apart < distance
        if len(near) and near.all():
            raise ValueError(
                f"{_SIDES[side]} lost all of its samples, for they lie nearer than {distance:g} to "
                "another side's. Received: groups too small for that distance. Larger ones, or a "
                "smaller distance, are needed."
            )
        parts[side] = parts[side][~near]
    return Split(*parts, groups=split.groups)


def _finite(name: str, values: Any, ndim: int) -> Array:
    array = np.asarray(values, np.float64)
    if array.ndim != ndim or not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be finite numbers, of {ndim} axes. Received: shape {array.shape}, "
            f"{np.count_nonzero(~np.isfinite(array))} NaN or infinite."
        )
    return array
