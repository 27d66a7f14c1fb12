"""W-5: thermal frames of 8, 14 or 16 bits in one scale a sequence, of either polarity."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldsight.datasets import thermal
from fieldsight.datasets.frames import Shot
from fieldsight.datasets.thermal import Scale


def ground(seed: int = 0, *, animals: int = 30) -> np.ndarray[Any, Any]:
    """`(96, 128)` ground around 0, about 2 wide, with some small things of 8 on it."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:96, :128]
    scene = np.sin(rows / 20) * np.cos(columns / 30) + generator.normal(0, 0.1, (96, 128))
    for row, column in zip(
        generator.integers(0, 92, animals), generator.integers(0, 125, animals), strict=True
    ):
        scene[row : row + 3, column : column + 3] = 8
    return scene


def written(scene: np.ndarray[Any, Any], middle: float, step: float, dtype: str) -> Any:
    return np.clip(np.rint(middle + step * scene), 0, np.iinfo(dtype).max).astype(dtype)[..., None]


@pytest.mark.parametrize(
    ("middle", "step", "dtype"),
    [(90, 15, "uint8"), (7_500, 120, "uint16"), (29_500, 300, "uint16"), (60_000, 600, "uint16")],
)
def test_bits_and_gain_make_no_difference(middle: float, step: float, dtype: str) -> None:
    scene = ground()
    expected = thermal.scale_of([written(scene, 2**15, 1000, "uint16")])
    reference = expected.apply(written(scene, 2**15, 1000, "uint16"))
    image = written(scene, middle, step, dtype)
    scaled = thermal.scale_of([image]).apply(image)
    assert scaled.dtype == np.uint8
    assert scaled.shape == (96, 128, 1)
    # The ground's middle is the scale's, and 8 bits round to a fifteenth of the ground's width.
    assert abs(float(np.median(scaled)) - 127.5) <= 2
    apart = np.abs(scaled.astype(int) - reference)
    assert np.percentile(apart, 99) <= 4


def test_all_frames_of_a_sequence_have_the_scale_of_the_first(tmp_path: Any) -> None:
    frames = [written(ground(seed), 7_500, 120, "uint16") for seed in range(20)]
    scale = thermal.scale_of(iter(frames))
    assert scale == thermal.scale_of(frames[: thermal.FIRST])
    # What warms between frames is seen to warm: each frame isn't scaled by itself.
    warmer = frames[0] + np.uint16(100)
    assert float(scale.apply(warmer).mean()) > float(scale.apply(frames[0]).mean()) + 20


def test_a_fire_doesnt_darken_the_ground() -> None:
    image = written(ground(), 7_500, 120, "uint16")
    fire = image.copy()
    fire[:5, :10] = 16_383
    calm, burning = thermal.scale_of([image]), thermal.scale_of([fire])
    assert abs(calm.low - burning.low) < 60
    assert int(burning.apply(fire)[2, 2, 0]) == 255


@pytest.mark.parametrize("dark_is_hot", [False, True])
def test_what_stands_out_is_taken_for_hot(dark_is_hot: bool) -> None:
    scene = -ground() if dark_is_hot else ground()
    image = written(scene, 7_500, 120, "uint16")
    scale = thermal.scale_of([image], polarity="auto")
    assert scale.inverted is dark_is_hot
    scaled = scale.apply(image)[..., 0]
    assert scaled[ground() == 8].min() > 200
    named = thermal.scale_of([image], polarity="cold" if dark_is_hot else "hot")
    assert named == scale


def test_flat_noise_isnt_stretched() -> None:
    image = np.random.default_rng(0).integers(99, 102, (64, 64, 1)).astype(np.uint8)
    scaled = thermal.scale_of([image]).apply(image)
    assert int(scaled.max()) - int(scaled.min()) < 30


def test_places_without_data_have_no_part_in_the_scale() -> None:
    image = written(ground(), 7_500, 120, "uint16")
    bordered = image.copy()
    bordered[:40] = 0
    assert abs(thermal.scale_of([bordered]).low - thermal.scale_of([image]).low) < 60


@settings(deadline=None)
@given(
    low=st.floats(0, 60_000), width=st.floats(1, 5_000), value=st.integers(0, 65_535),
    inverted=st.booleans(),
)  # fmt: skip
def test_a_scale_is_linear_between_its_ends(
    low: float, width: float, value: int, inverted: bool
) -> None:
    scale = Scale(low, low + width, inverted)
    share = min(max((value - low) / width, 0), 1)
    expected = 255 * (1 - share if inverted else share)
    given = int(scale.apply(np.full((1, 1, 1), value, np.uint16))[0, 0, 0])
    assert abs(given - expected) <= 1.5


def test_grey_stored_as_colours_is_thermal() -> None:
    image = np.repeat(written(ground(), 90, 15, "uint8"), 3, -1)
    assert thermal.is_thermal(image)
    assert thermal.scale_of([image]).apply(image).shape == (96, 128, 1)
    colourful = image.copy()
    colourful[..., 0] = 255 - colourful[..., 0]
    assert not thermal.is_thermal(colourful)


def test_no_frame_has_no_scale() -> None:
    with pytest.raises(ValueError, match=r"a frame at least\. Received: none"):
        thermal.scale_of([])
    with pytest.raises(ValueError, match="high must be above low"):
        Scale(3.0, 3.0)


def test_an_inputs_frames_come_in_one_scale_and_colours_as_they_are() -> None:
    images = [written(ground(seed), 7_500, 120, "uint16") for seed in range(12)]
    shots = [Shot(number, None, image) for number, image in enumerate(images)]
    scaled = list(thermal.in_scale(iter(shots)))
    scale = thermal.scale_of(images)
    assert [shot.number for shot in scaled] == list(range(12))
    np.testing.assert_array_equal(scaled[-1].image, scale.apply(images[-1]))
    colours = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    assert next(thermal.in_scale([Shot(0, None, colours)])).image is colours
    assert list(thermal.in_scale([])) == []


@given(
    st.sampled_from([np.uint8, np.uint16]),
    st.integers(1, 400),
    st.integers(1, 256),
    st.integers(0, 2**32 - 1),
)
def test_counted_percentiles_are_numpys(kind: Any, count: int, most: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, most, count).astype(kind)
    of = (0.0, 5.0, 50.0, 95.0, 100.0)
    np.testing.assert_allclose(thermal._percentiles(values, of), np.percentile(values, of))
