"""Things that cover places, such as clearings on a map: which were found, and which invented."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldsight.core.metrics import _checks


@dataclass(frozen=True)
class ObjectMatches:
    """Which true objects were found, and which predicted ones are true.

    Attributes:
        true_sizes: `(t,)` places of each true object, by rising label.
        predicted_sizes: `(p,)` the same of the predicted ones.
        partner: `(t,)` the predicted object that is each true one, or -1.
        overlap: `(t,)` intersection over union with it; 0 where there is none.
    """

    true_sizes: NDArray[np.int64]
    predicted_sizes: NDArray[np.int64]
    partner: NDArray[np.int64]
    overlap: NDArray[np.float64]

    def counts(self, least: float = 0) -> tuple[int, int, int]:
        """True positives, false positives and false negatives.

        Args:
            least: places that an object must have to count. A smaller true one is no miss, and
                what was found there no mistake, as COCO leaves out what it ignores.
        """
        large = self.true_sizes >= least
        hits = int(np.count_nonzero(large & (self.partner >= 0)))
        ignored = set(self.partner[~large & (self.partner >= 0)].tolist())
        taken = set(self.partner[self.partner >= 0].tolist())
        false = sum(
            size >= least and number not in taken and number not in ignored
            for number, size in enumerate(self.predicted_sizes.tolist())
        )
        return hits, int(false), int(large.sum()) - hits


def match_objects(
    truth: ArrayLike, predicted: ArrayLike, *, least_overlap: float = 0.5
) -> ObjectMatches:
    """Pair true and predicted objects that overlap by more than half.

    With more than a half no object can have two partners, so that nothing depends on an order.

    Reference:
        Kirillov et al., Panoptic segmentation, CVPR 2019, section 4.1: the F1 of these matches is
        its recognition quality.

    Args:
        truth: integer labels of any shape, 0 for none; objects needn't be numbered in a row.
        predicted: the same, of the same shape.
        least_overlap: intersection over union that a match must exceed, at least 0.5.

    Raises:
        ValueError: if shapes differ, labels are negative or not integers, or the least overlap
            lets an object have two partners.

    Example:
        >>> match_objects([[1, 1, 0, 2]], [[1, 1, 1, 0]]).counts()
        (1, 0, 1)
    """
    true, found = np.asarray(truth), np.asarray(predicted)
    _checks.alike(truth=true, predicted=found)
    if not 0.5 <= least_overlap < 1:
        raise ValueError(f"least_overlap must lie from 0.5 to 1. Received: {least_overlap}.")
    for name, labels in (("truth", true), ("predicted", found)):
        if not np.issubdtype(labels.dtype, np.integer) or (labels.size and labels.min() < 0):
            raise ValueError(f"{name} must be integers from 0. Received: {labels.dtype}.")
    true_names, true_sizes = _objects(true)
    found_names, found_sizes = _objects(found)
    partner = np.full(len(true_names), -1, np.int64)
    overlap = np.zeros(len(true_names))
    both = (true > 0) & (found > 0)
    if both.any():
        rows = np.searchsorted(true_names, true[both])
        columns = np.searchsorted(found_names, found[both])
        pairs, shared = np.unique(rows * len(found_names) + columns, return_counts=True)
        row, column = np.divmod(pairs, len(found_names))
        ratio = shared / (true_sizes[row] + found_sizes[column] - shared)
        good = ratio > least_overlap
        partner[row[good]], overlap[row[good]] = column[good], ratio[good]
    return ObjectMatches(true_sizes, found_sizes, partner, overlap)


def _objects(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    names, sizes = np.unique(labels[labels > 0], return_counts=True)
    return names.astype(np.int64), sizes.astype(np.int64)
