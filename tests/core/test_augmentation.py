"""Distortions, against SciPy's resampling, maps drawn by hand and shifts of whole pixels."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.core import augmentation
from fieldsight.core.augmentation import AT_ONCE, affine_matrices, elastic_displacement, warp

Pictures = NDArray[np.uint8]


def noise(count: int, height: int, width: int, seed: int = 0) -> Pictures:
    drawn = np.random.default_rng(seed).integers(0, 256, (count, height, width))
    return drawn.astype(np.uint8)


def by_scipy(image: Pictures, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """The same map by SciPy, whose offset is from the corner and not from the centre.

    SciPy's border is a black frame: "grid-constant" interpolates into it, as a picture on black
    paper would, where "constant" would cut it off half a pixel earlier.
    """
    linear = matrix[:, :2].astype(float)
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - linear @ centre + matrix[:, 2]
    result: NDArray[np.float64] = ndimage.affine_transform(
        image.astype(float), linear, offset, order=1, mode="grid-constant", cval=0.0
    )
    return result


@pytest.mark.parametrize("shape", [(28, 28), (5, 9), (12, 7), (1, 6), (2, 2)])
def test_warp_is_scipys_affine_transform(shape: tuple[int, int]) -> None:
    images = noise(40, *shape)
    matrices = affine_matrices(
        40, np.random.default_rng(1),
        shift_pixels=4, rotation_degrees=180, shear_degrees=30, scale=0.5,
    )  # fmt: skip
    warped = warp(images, matrices)
    expected = np.stack([by_scipy(*pair) for pair in zip(images, matrices, strict=True)])
    # Rounded to a whole level, computed in single precision: at most one level beside it.
    assert np.abs(warped - expected).max() < 0.51 + 0.05
    assert warped.dtype == np.uint8


def test_far_outside_is_black() -> None:
    images = np.full((3, 6, 6), 255, np.uint8)
    matrices = np.tile(np.eye(2, 3, dtype=np.float32), (3, 1, 1))
    matrices[:, :, 2] = np.array([[100, 0], [0, -100], [1e6, 1e6]])
    assert not warp(images, matrices).any()


def test_half_a_pixel_over_the_edge_is_half_as_bright() -> None:
    image = np.full((1, 1, 3), 200, np.uint8)
    right = np.array([[[1, 0, 0], [0, 1, 0.5]]], np.float32)  # samples half a column to the right
    assert warp(image, right)[0].tolist() == [[200, 200, 100]]


SMALL = hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)))
WHOLE = st.integers(-8, 8)


@settings(max_examples=60, deadline=None)
@given(SMALL, WHOLE, WHOLE)
def test_a_shift_by_whole_pixels_moves_pixels_and_brings_in_black(
    images: Pictures, down: int, right: int
) -> None:
    _, height, width = images.shape
    matrices = np.tile(np.eye(2, 3, dtype=np.float32), (len(images), 1, 1))
    matrices[:, :, 2] = (down, right)
    padded = np.pad(images, ((0, 0), (8, 8), (8, 8)))
    expected = padded[:, 8 + down : 8 + down + height, 8 + right : 8 + right + width]
    np.testing.assert_array_equal(warp(images, matrices), expected)
    # The same as a displacement of every pixel.
    field = np.broadcast_to(
        np.array([down, right], np.float32)[None, :, None, None], (len(images), 2, height, width)
    )
    still = np.tile(np.eye(2, 3, dtype=np.float32), (len(images), 1, 1))
    np.testing.assert_array_equal(warp(images, still, field), expected)


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, st.integers(1, 9).map(lambda side: (2, side, side))), st.integers(0, 3))
def test_a_quarter_turn_is_numpys(images: Pictures, turns: int) -> None:
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    quarter = np.array([[[cos, -sin, 0], [sin, cos, 0]]] * 2, np.float32)
    # The sampling position turns by 90 degrees from rows to columns: out[r, c] = in[-c, r].
    expected = np.rot90(images, -turns, axes=(1, 2))
    np.testing.assert_array_equal(warp(images, quarter), expected)


@pytest.mark.parametrize("count", [1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 5])
@pytest.mark.parametrize("elastic", [False, True])
def test_a_batch_of_any_size_is_its_pictures_one_by_one(count: int, elastic: bool) -> None:
    rng = np.random.default_rng(count)
    images = noise(count, 6, 8)
    matrices = affine_matrices(count, rng, shift_pixels=2, rotation_degrees=40, scale=0.3)
    field = None
    if elastic:
        field = elastic_displacement((count, 6, 8), rng, strength_pixels=1, smoothness_pixels=1.5)
    together = warp(images, matrices, field)
    for i in range(count):
        alone = warp(
            images[i : i + 1], matrices[i : i + 1], None if field is None else field[i : i + 1]
        )
        np.testing.assert_array_equal(together[i], alone[0])


@pytest.mark.parametrize(
    ("images", "matrices"), [((28, 28), (1, 2, 3)), ((4, 28, 28), (3, 2, 3)), ((4, 8, 8), (4, 6))]
)
def test_shapes_that_do_not_fit_are_told(images: Any, matrices: Any) -> None:
    with pytest.raises(ValueError, match=r"images must be \(n, height, width\).*Received: images"):
        warp(np.zeros(images, np.uint8), np.zeros(matrices, np.float32))


def test_the_same_generator_draws_the_same_maps() -> None:
    kinds: dict[str, float] = {
        "shift_pixels": 2, "rotation_degrees": 12, "shear_degrees": 12, "scale": 0.15,
    }  # fmt: skip
    rng = np.random.default_rng(5)
    first, next_ = affine_matrices(7, rng, **kinds), affine_matrices(7, rng, **kinds)
    again = affine_matrices(7, np.random.default_rng(5), **kinds)
    np.testing.assert_array_equal(first, again)
    assert (first != next_).any(axis=(1, 2)).all()
    assert (first[0] != first[1:]).any(axis=(1, 2)).all()  # each picture its own
    assert first.dtype == np.float32


def test_a_map_turns_by_its_angle_and_keeps_lengths() -> None:
    linear = affine_matrices(2000, np.random.default_rng(0), rotation_degrees=90)[:, :, :2]
    identity = np.broadcast_to(np.eye(2), linear.shape)
    np.testing.assert_allclose(linear @ linear.transpose(0, 2, 1), identity, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(linear), 1, atol=1e-6)
    degrees = np.rad2deg(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert -90.01 < degrees.min() < -89
    assert 89 < degrees.max() < 90.01
    assert abs(degrees.mean()) < 4  # of a uniform draw: 90 / sqrt(3 * 2000) = 1.2 standard errors


def test_shifts_stay_within_their_bound_and_use_it() -> None:
    maps = affine_matrices(4000, np.random.default_rng(1), shift_pixels=2)
    np.testing.assert_array_equal(maps[:, :, :2], np.broadcast_to(np.eye(2), (4000, 2, 2)))
    assert np.abs(maps[:, :, 2]).max() <= 2
    assert (np.abs(maps[:, :, 2]).max(axis=0) > 1.99).all()
    assert abs(np.corrcoef(maps[:, 0, 2], maps[:, 1, 2])[0, 1]) < 0.06  # each axis its own


def test_sizes_change_by_at_most_the_share_each_way_and_each_axis_by_its_own() -> None:
    maps = affine_matrices(4000, np.random.default_rng(2), scale=0.25)
    rows, columns = maps[:, 0, 0], maps[:, 1, 1]
    for axis in (rows, columns):
        assert 1 / 1.25 - 1e-6 <= axis.min() < 0.802
        assert 1.248 < axis.max() <= 1.25 + 1e-6
        assert abs(np.log(axis).mean()) < 0.008  # to grow and to shrink are equally likely
    np.testing.assert_array_equal(maps[:, [0, 1], [1, 0]], 0)
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.06


def test_shear_keeps_areas_and_stays_within_its_angle() -> None:
    linear = affine_matrices(2000, np.random.default_rng(3), shear_degrees=30)[:, :, :2]
    np.testing.assert_allclose(np.linalg.det(linear), 1, atol=1e-6)
    slopes = linear[:, 1, 0]
    assert np.abs(slopes).max() <= np.tan(np.deg2rad(30)) + 1e-6
    assert np.abs(slopes).max() > np.tan(np.deg2rad(29))
    np.testing.assert_array_equal(linear[:, 0], np.broadcast_to([1, 0], (2000, 2)))


@pytest.mark.parametrize("smoothness", [1.0, 4.0])
def test_elastic_fields_have_their_strength_on_each_axis(smoothness: float) -> None:
    field = elastic_displacement(
        (6, 28, 28), np.random.default_rng(0), strength_pixels=1.5, smoothness_pixels=smoothness
    )
    assert field.shape == (6, 2, 28, 28)
    assert field.dtype == np.float32
    rms = np.sqrt((field.astype(float) ** 2).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(rms, 1.5, rtol=1e-5)
    # Smooth: white noise under a Gaussian has an autocorrelation of exp(-d^2 / (4 sigma^2)).
    beside = (field * np.roll(field, 1, axis=3)).mean() / (field**2).mean()
    assert beside == pytest.approx(np.exp(-1 / (4 * smoothness**2)), abs=0.03)


def test_no_strength_displaces_nothing() -> None:
    field = elastic_displacement(
        (2, 8, 8), np.random.default_rng(0), strength_pixels=0, smoothness_pixels=2
    )
    assert not field.any()


def test_it_needs_no_backend_and_so_gives_the_same_under_each() -> None:
    tree = ast.parse(Path(augmentation.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in imports
        for alias in node.names
    }
    assert names == {"__future__", "numpy", "numpy.typing", "scipy"}
