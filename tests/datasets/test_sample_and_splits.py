import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldsight.datasets.sample import LabelledImages, digest
from fieldsight.datasets.splits import Split, at_random, in_order


def _of(*indices: int) -> np.ndarray:
    return np.array(indices)


FRACTIONS = st.sampled_from(
    [(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.8, 0.0, 0.2), (1.0, 0.0, 0.0)]
)


@given(st.integers(12, 400), FRACTIONS, st.integers(0, 9))
def test_every_sample_is_on_exactly_one_side(
    n: int, fractions: tuple[float, float, float], seed: int
) -> None:
    for split in (in_order(n, fractions), at_random(n, fractions, seed)):
        sides = (split.train, split.val, split.test)
        assert sorted(np.concatenate(sides).tolist()) == list(range(n))
        for side, fraction in zip(sides, fractions, strict=True):
            assert abs(len(side) - fraction * n) <= 1


def test_in_order_keeps_the_order_and_the_published_shares() -> None:
    split = in_order(10, (0.6, 0.2, 0.2))
    assert split.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert split.val.tolist() == [6, 7]
    assert split.test.tolist() == [8, 9]


def test_at_random_depends_on_the_seed_alone() -> None:
    assert at_random(100, seed=3).fingerprint == at_random(100, seed=3).fingerprint
    assert at_random(100, seed=3).fingerprint != at_random(100, seed=4).fingerprint


def split(*sides: list[int], groups: np.ndarray | None = None) -> Split:
    train, val, test = (np.array(side) for side in sides)
    return Split(train, val, test, groups=groups)


def test_fingerprint_tells_sides_apart() -> None:
    assert Split(_of(0), _of(1), _of(2)).fingerprint != Split(_of(1), _of(0), _of(2)).fingerprint


def test_an_index_on_two_sides_is_refused() -> None:  # C-6
    with pytest.raises(ValueError, match="index 2 in both train and test"):
        Split(_of(0, 1, 2), _of(3), _of(2, 4))


def test_an_index_twice_on_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Split(_of(0, 0), _of(1), _of(2))


def test_a_group_on_two_sides_is_refused() -> None:  # C-6
    patients = np.array(["anna", "anna", "ben", "cleo", "ben"])
    Split(_of(0, 1), _of(2, 4), _of(3), groups=patients)
    with pytest.raises(ValueError, match="group ben in both train and val"):
        Split(_of(0, 1, 2), _of(4), _of(3), groups=patients)


@given(st.data())
def test_groups_are_refused_exactly_when_one_is_shared(data: st.DataObject) -> None:
    groups = np.array(data.draw(st.lists(st.integers(0, 12), min_size=6, max_size=24)))
    split = at_random(len(groups), (0.5, 0.25, 0.25), seed=1)
    sides = [set(groups[side].tolist()) for side in (split.train, split.val, split.test)]
    is_shared = len(set.union(*sides)) < sum(map(len, sides))
    if is_shared:
        with pytest.raises(ValueError, match="share no group"):
            Split(split.train, split.val, split.test, groups=groups)
    else:
        Split(split.train, split.val, split.test, groups=groups)


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.5, 0.4, 0.0)])
def test_fractions_that_are_no_shares_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="together 1"):
        in_order(10, fractions)


def test_a_side_that_stays_empty_is_refused() -> None:
    with pytest.raises(ValueError, match=r"test was to have 0\.15"):
        in_order(2)


def test_digest_is_sha256_of_type_shape_and_little_endian_bytes() -> None:
    values = np.array([[1, 2, 258]], dtype=">u2")
    expected = hashlib.sha256(b"<u2(1, 3);" + bytes([1, 0, 2, 0, 2, 1])).hexdigest()
    assert digest(values) == expected


def test_digest_sees_shape_and_type() -> None:
    flat = np.arange(6, dtype=np.uint8)
    assert len({digest(flat), digest(flat.reshape(2, 3)), digest(flat.astype(np.int8))}) == 3


def test_taking_keeps_pictures_with_their_labels() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    data = LabelledImages(images, np.array([9, 8, 7, 6, 5]), "drawn")
    part = data.take([4, 0])
    assert part.images[:, 0, 0].tolist() == [4, 0]
    assert part.labels.tolist() == [5, 9]
    assert part.fingerprint != data.fingerprint
    assert data.take(slice(0, 5)).fingerprint == data.fingerprint


def test_a_label_a_picture_is_needed() -> None:
    with pytest.raises(ValueError, match="a label a picture"):
        LabelledImages(np.zeros((3, 2, 2)), np.zeros(2, int), "drawn")
