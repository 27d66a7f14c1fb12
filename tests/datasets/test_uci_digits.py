import numpy as np
import pytest
from sklearn.datasets import load_digits

from fieldsight.datasets import uci_digits
from fieldsight.datasets.sample import LabelledImages


@pytest.fixture(scope="module")
def digits() -> LabelledImages:
    return uci_digits.load()


def test_there_are_the_published_1797_in_file_order(digits: LabelledImages) -> None:
    # UCI's description of optdigits.tes: 178 zeros, 182 ones, 177 twos, 183 threes, 181 fours.
    assert digits.images.shape == (1797, 28, 28)
    assert digits.images.dtype == np.uint8
    assert np.bincount(digits.labels)[:5].tolist() == [178, 182, 177, 183, 181]
    assert digits.labels.tolist() == load_digits().target.tolist()


def test_polarity_and_range_are_mnists(digits: LabelledImages) -> None:
    border = np.ones((28, 28), bool)
    border[4:24, 4:24] = False
    assert not digits.images[:, border].any()
    assert digits.images.max() == 255
    # Ink is less than half of the picture, so black is the ground.
    assert np.median(digits.images) == 0


def test_a_cell_keeps_its_place_and_its_level(digits: LabelledImages) -> None:
    cells = np.zeros((8, 8))
    cells[2, 5] = 16
    large = uci_digits.enlarged(cells)
    row, column = np.unravel_index(int(large.argmax()), large.shape)
    # The middle of cell (2, 5) is at 2.5 cells times 2.5 pixels plus the padding of 4.
    assert abs(row + 0.5 - (4 + 2.5 * 2.5)) <= 0.5
    assert abs(column + 0.5 - (4 + 5.5 * 2.5)) <= 0.5
    assert (uci_digits.enlarged(np.full((8, 8), 8.0))[4:24, 4:24] == 128).all()


def test_fingerprint_is_the_same_on_every_machine(digits: LabelledImages) -> None:
    assert digits.fingerprint.startswith("f8d161d3c6d66a0d")
