"""Objects that cover places: by hand, and against scikit-image's overlaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from fieldsight.core.metrics import match_objects

PICTURES = st.lists(st.lists(st.booleans(), min_size=8, max_size=8), min_size=6, max_size=6).map(
    lambda rows: label(np.array(rows))
)


def test_more_than_half_must_be_shared() -> None:
    truth = np.array([1, 1, 1, 0, 0, 7, 7, 7, 7])
    # 2 of 3 places shared: 0.67; 2 of 4: 0.5, which isn't more than a half.
    found = match_objects(truth, np.array([3, 3, 0, 0, 0, 5, 5, 0, 0]))
    assert found.partner.tolist() == [0, -1]
    assert found.overlap.tolist() == [pytest.approx(2 / 3), 0]
    assert found.counts() == (1, 1, 1)


def test_two_clearings_found_as_one_are_one_miss_or_two() -> None:
    truth = np.array([1, 1, 1, 1, 0, 2])
    assert match_objects(truth, np.array([1, 1, 1, 1, 1, 1])).counts() == (1, 0, 1)
    assert match_objects(np.array([1, 1, 0, 2, 2]), np.ones(5, int)).counts() == (0, 1, 2)


def test_below_the_minimum_nothing_counts_and_what_found_it_is_no_mistake() -> None:
    truth, found = np.array([1, 1, 0, 2, 2, 2, 2]), np.array([1, 1, 1, 0, 0, 0, 0])
    # The true object of 2 is ignored, and the 3 that found it with it; that of 4 is missed.
    assert match_objects(truth, found).counts(least=3) == (0, 0, 1)


def test_without_objects_there_is_nothing_to_count() -> None:
    nothing = np.zeros((3, 3), np.int32)
    assert match_objects(nothing, nothing).counts() == (0, 0, 0)


@settings(max_examples=60)
@given(PICTURES, PICTURES)
def test_matches_are_those_of_every_pair(
    truth: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    found: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> None:
    pairs = 0
    for one in range(1, truth.max() + 1):
        for other in range(1, found.max() + 1):
            union = np.sum((truth == one) | (found == other))
            pairs += np.sum((truth == one) & (found == other)) > 0.5 * union
    hits, false, missed = match_objects(truth, found).counts()
    assert hits == pairs
    assert (false, missed) == (found.max() - pairs, truth.max() - pairs)


def test_labels_must_be_labels() -> None:
    with pytest.raises(ValueError, match="one shape"):
        match_objects(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ValueError, match="integers"):
        match_objects(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="least_overlap"):
        match_objects(np.zeros(3, int), np.zeros(3, int), least_overlap=0.3)
