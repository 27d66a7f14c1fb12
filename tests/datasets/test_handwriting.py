from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_digits

from fieldsight.datasets import mnist, uci_digits
from fieldsight.datasets._grouping import lines_of
from fieldsight.datasets.handwriting import centred, find_digits
from fieldsight.datasets.sample import LabelledImages


@pytest.fixture(scope="module")
def digits(mnist_dir: Path) -> LabelledImages:
    return mnist.read_labelled(
        mnist_dir / "t10k-images-idx3-ubyte.gz", mnist_dir / "t10k-labels-idx1-ubyte.gz"
    )


def page_of(pictures: Any, *, scale: int = 2, pitch: int = 90) -> np.ndarray:
    """Rows of `(28, 28)` pictures as dark ink on light paper, in a regular grid."""
    rows, columns = len(pictures), max(map(len, pictures))
    ink = np.zeros((rows * pitch + 40, columns * pitch + 40))
    for row, line in enumerate(pictures):
        for column, picture in enumerate(line):
            large = np.kron(picture / 255.0, np.ones((scale, scale)))
            top, left = 20 + row * pitch, 20 + column * pitch
            ink[top : top + len(large), left : left + len(large)] = large
    noise = np.random.default_rng(0).normal(0, 2, ink.shape)
    return np.clip(235 - 190 * ndimage.gaussian_filter(ink, 0.7) + noise, 0, 255).astype(np.uint8)


# Real MNIST: pages as a camera shows them.


@pytest.mark.parametrize("inverted", [False, True])
def test_mnists_own_pictures_stay_as_they_are(digits: LabelledImages, inverted: bool) -> None:
    sample = digits.images[:200]
    found = [find_digits(255 - image if inverted else image) for image in sample]
    assert all(len(each) == 1 for each in found)
    prepared = np.stack([each[0].image for each in found]).astype(int)
    assert np.median(np.abs(prepared - sample).mean((1, 2))) < 1.0
    assert np.mean(np.abs(prepared - sample).mean((1, 2)) < 3) >= 0.98


def test_digits_of_varied_pages_are_found_in_order(
    digits: LabelledImages, pages: ModuleType
) -> None:
    total = hit = false = misordered = 0
    for seed, kind in enumerate([*pages.KINDS, "ruled", "squared"]):
        page = pages.compose(digits.images, digits.labels, seed=100 + seed, kind=kind)
        found = find_digits(page.image)
        boxes = np.array([each.box for each in found]).reshape(-1, 4)
        match = pages.matched(boxes, page.boxes)
        total += len(match)
        hit += int((match >= 0).sum())
        false += len(found) - int((match >= 0).sum())
        misordered += int((np.diff(match[match >= 0]) < 0).any())
    assert hit / total >= 0.98
    assert false / total <= 0.02
    assert misordered == 0


def test_prepared_digits_resemble_the_ones_on_the_page(digits: LabelledImages) -> None:
    page = page_of([digits.images[:6], digits.images[6:12]])
    found = find_digits(page)
    assert len(found) == 12
    difference = [
        np.abs(each.image.astype(int) - digits.images[index]).mean()
        for index, each in enumerate(found)
    ]
    other = np.abs(digits.images[:11].astype(int) - digits.images[1:12]).mean()
    assert max(difference) < other / 3


# UCI's digits are there without any file.


@pytest.fixture(scope="module")
def uci() -> LabelledImages:
    return uci_digits.load()


@pytest.fixture(scope="module")
def uci_page(uci: LabelledImages) -> np.ndarray:
    return page_of(uci.images[:24].reshape(4, 6, 28, 28))


def test_lines_and_reading_order(uci_page: np.ndarray) -> None:
    found = find_digits(uci_page)
    assert [each.line for each in found] == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6
    columns = [each.box[0] // 90 for each in found]
    assert columns == [0, 1, 2, 3, 4, 5] * 4


def test_polarity_and_colour_dont_matter(uci_page: np.ndarray) -> None:
    inverted = find_digits(255 - uci_page)
    paper = np.stack([uci_page // 2 + 120, uci_page // 2 + 100, uci_page], -1)
    for found in (inverted, find_digits(paper)):
        assert len(found) == 24


@pytest.mark.parametrize("angle", [-10, -4, 7, 10])
def test_tilted_lines_are_read_in_order(uci_page: np.ndarray, angle: float) -> None:
    tilted = ndimage.rotate(uci_page, angle, order=1, cval=235)
    found = find_digits(tilted)
    assert [each.line for each in found] == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6
    assert (np.diff([each.box[0] for each in found[:6]]) > 0).all()


def test_a_hard_shadow_changes_nothing(uci_page: np.ndarray) -> None:
    rows, columns = np.indices(uci_page.shape)
    shaded = np.where(rows + 0.6 * columns > 300, uci_page * 0.45, uci_page).astype(np.uint8)
    assert len(find_digits(shaded)) == 24


def test_dust_and_a_dark_table_are_no_digits(uci_page: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    dusty = uci_page.copy()
    dusty[ndimage.binary_dilation(rng.random(dusty.shape) < 2e-4, iterations=1)] = 40
    assert len(find_digits(dusty)) == 24
    table = np.clip(rng.normal(60, 8, (700, 900)), 0, 255).astype(np.uint8)
    table[120 : 120 + uci_page.shape[0], 130 : 130 + uci_page.shape[1]] = uci_page
    found = find_digits(ndimage.rotate(table, 5, order=1, cval=60))
    assert len(found) == 24


def test_a_broken_digit_is_one(uci: LabelledImages) -> None:
    five = np.zeros((28, 28))
    five[4:6, 8:19] = 255  # the bar, apart from the body
    five[8:14, 8:10] = 255
    five[12:14, 8:18] = 255
    five[12:24, 17:19] = 255
    five[22:24, 8:18] = 255
    assert len(find_digits(page_of([[uci.images[0], five, uci.images[2]]], scale=3))) == 3


def test_digits_that_one_stroke_joins_are_parted() -> None:
    image = np.full((140, 310), 235, np.uint8)
    rows, columns = np.mgrid[:140, :310]
    for left in (40, 118, 196):
        ring = np.hypot((columns - left - 28) / 28, (rows - 70) / 45)
        image[np.abs(ring - 1) < 0.16] = 30
    image[66:74, 176:194] = 30  # from the second ring to the third
    found = find_digits(image)
    assert len(found) == 3
    widths = [each.box[2] - each.box[0] for each in found]
    assert max(widths) < 1.25 * min(widths)


RNG = np.random.default_rng(2)
NOISE = RNG.normal(size=(400, 600))
EMPTY = {
    "white": np.full((400, 600), 255.0),
    "black": np.zeros((400, 600)),
    "noise": 200 + 6 * NOISE,
    "texture": 190 + 60 * ndimage.gaussian_filter(NOISE, 3),
    "gradient": np.linspace(120, 240, 600) + 2 * NOISE,
    "shadow": np.where(np.indices((400, 600)).sum(0) > 500, 110, 220) + 3 * NOISE,
    "ruled": np.where(np.indices((400, 600))[0] % 40 == 0, 150, 225) + 3 * NOISE,
    "squared": np.where((np.indices((400, 600)) % 30 == 0).any(0), 160, 225) + 3 * NOISE,
    "table": np.where(np.indices((400, 600))[1] < 40, 50, 220) + 3 * NOISE,
    "small": np.zeros((28, 28)),
    "tiny": np.zeros((2, 3)),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_page_is_an_empty_answer(kind: str) -> None:
    page = np.clip(EMPTY[kind], 0, 255).astype(np.uint8)
    assert find_digits(page) == []


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60))))
def test_boxes_lie_in_the_picture_whatever_it_is(image: np.ndarray) -> None:
    for found in find_digits(image):
        x0, y0, x1, y1 = found.box.tolist()
        assert 0 <= x0 < x1 <= image.shape[1]
        assert 0 <= y0 < y1 <= image.shape[0]
        assert found.image.shape == (28, 28)
        assert found.image.dtype == np.uint8


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 99))
def test_ink_fills_twenty_pixels_about_its_centre_of_mass(
    height: int, width: int, seed: int
) -> None:
    alpha = np.random.default_rng(seed).uniform(0.7, 1, (height, width)).astype(np.float32)
    image = centred(alpha)
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    assert longest in (19, 20)
    middle = ndimage.center_of_mass(image)
    assert max(abs(middle[0] - 14), abs(middle[1] - 14)) <= 0.75


@given(st.integers(1, 5), st.integers(2, 8), st.floats(-0.17, 0.17), st.integers(0, 99))
def test_lines_survive_tilt_and_an_unsteady_hand(
    rows: int, columns: int, slope: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns].reshape(2, -1) * np.array([[90.0], [70.0]])
    centres = np.stack([x - slope * y, y + slope * x], 1) + rng.uniform(-3, 3, (rows * columns, 2))
    boxes = np.concatenate([centres - 22, centres + 22], 1)
    shuffled = rng.permutation(len(boxes))
    lines, order = lines_of(boxes[shuffled], 44.0)
    assert shuffled[order].tolist() == list(range(len(boxes)))
    assert lines[order].tolist() == np.repeat(np.arange(rows), columns).tolist()


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8 is needed"):
        find_digits(np.zeros((30, 30), np.float32))


@pytest.mark.parametrize("light", [False, True])
def test_a_digit_that_fills_its_picture_is_ink_and_its_ground_isnt(light: bool) -> None:
    # UCI's digits touch the edges of their 8x8 squares: no paper is seen around them.
    alike = 0
    pictures = load_digits().images[-400::10]
    for picture in pictures:
        ink = Image.fromarray((picture * 15.9).astype("uint8"))
        large = np.asarray(ink.resize((128, 128), Image.Resampling.BICUBIC))
        found = find_digits(large if light else 255 - large)
        if len(found) != 1:
            continue
        expected = np.zeros((28, 28))
        expected[4:24, 4:24] = np.asarray(ink.resize((20, 20), Image.Resampling.BICUBIC))
        both = [ndimage.gaussian_filter(p.astype(float), 1.5) for p in (expected, found[0].image)]
        alike += bool(np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1] > 0.6)
    assert alike >= 0.75 * len(pictures)  # 66 of both 40; 47 before the paper was added
