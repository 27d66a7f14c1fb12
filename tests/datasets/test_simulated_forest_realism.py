"""Simulated scenes beside what is real: Landsat's bands over forest, Kaggle's tags."""

import os
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.features import geometry_mask

from fieldsight.datasets import planet
from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.forest import _chips, _scene
from fieldsight.datasets.simulated.forest._materials import M

COUNT = 10
# Of 40,479 chips of the competition's training set, as published.
KAGGLE = {
    "primary": 37_513, "clear": 28_431, "agriculture": 12_315, "road": 8_071, "water": 7_411,
    "partly_cloudy": 7_261, "cultivation": 4_547, "habitation": 3_660, "haze": 2_697,
    "cloudy": 2_089, "bare_ground": 862, "selective_logging": 340, "artisinal_mine": 339,
    "blooming": 332, "slash_burn": 209, "conventional_mine": 100, "blow_down": 98,
}  # fmt: skip
# Landsat 8's TOA reflectance: gain and offset of level 1, by the sine of the sun's elevation: 38
# degrees on 18 May at 25 degrees south, an hour and three quarters before local noon.
GAIN, OFFSET, SINE = 2e-5, -0.1, 0.616
VISIBLE = slice(0, 3)
TEN = 10  # Landsat's pixel is 30 m, ours 3


@pytest.fixture(scope="module")
def scenes() -> list[_scene.Scene]:
    return [_scene.scene(0, number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def chips(scenes: list[_scene.Scene]) -> list[_chips.Chip]:
    return [
        chip
        for scene in scenes
        for chip in _chips.chips(np.random.default_rng(scene.number), scene)
    ]


@pytest.fixture(scope="module")
def landsat() -> dict[str, Array]:
    """`(3, pixels)` reflectance above the air of blue, green, red, by land cover."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "satellite" / "landsat8"
    if not folder.is_dir():
        pytest.skip(f"the Landsat scene isn't in {folder}; name its folder in FIELDSIGHT_DATA")
    stem = folder / "LC08_L1TP_224078_20200518_20200518_01_RT"
    with rasterio.open(stem.with_suffix(".TIF")) as file:
        toa = (file.read() * GAIN + OFFSET) / SINE
        polygons = geopandas.read_file(f"{stem}_polygons.gpkg").to_crs(file.crs)
        return {
            name: toa[:, geometry_mask([outline], file.shape, file.transform, invert=True)]
            for name, outline in zip(polygons.name, polygons.geometry, strict=True)
        }


def coarse(values: Array) -> Array:
    """Averaged to Landsat's pixels."""
    side = values.shape[-1] // TEN
    kept = values[..., : side * TEN, : side * TEN]
    parts = kept.reshape(*values.shape[:-2], side, TEN, side, TEN)
    return np.asarray(parts.mean((-3, -1)))


def seen(scenes: list[_scene.Scene], materials: list[M]) -> list[Array]:
    """`(4, pixels)` of 30 m a clear picture: those of these materials alone."""
    found = []
    for scene in scenes:
        for date, picture in enumerate(scene.pictures):
            if scene.plan.skies[date] != "clear":
                continue
            pure = coarse(np.isin(scene.materials(date), materials).astype(np.float32)) == 1
            if pure.sum() > 100:
                found.append(coarse(picture.toa)[:, pure])
    return found


def test_forest_is_as_bright_as_landsats(
    scenes: list[_scene.Scene], landsat: dict[str, Array]
) -> None:
    ours = np.median([pixels.mean(1) for pixels in seen(scenes, [M.FOREST])], 0)
    ratio = ours[VISIBLE] / landsat["tree"].mean(1)
    # Planet's bands are broader, its skies hazier; measured: 1.14, 1.32, 1.39.
    assert (ratio > 0.75).all()
    assert (ratio < 1.5).all()
    # Bluest, as above any forest; and infrared several times red.
    assert ours[0] > ours[1] > ours[2]
    assert 4 < ours[3] / ours[2] < 10


def test_forest_varies_as_landsats(scenes: list[_scene.Scene], landsat: dict[str, Array]) -> None:
    # Coefficient of variation at 30 m: Landsat 0.008, 0.029, 0.032 of blue, green, red.
    ours = np.median([p.std(1) / p.mean(1) for p in seen(scenes, [M.FOREST])], 0)[VISIBLE]
    real = landsat["tree"].std(1) / landsat["tree"].mean(1)
    # Measured 2.1, 1.1, 1.0: haze over 4.6 km is in ours, and Landsat's polygon is 0.4 km wide.
    assert (ours / real > 0.5).all()
    assert (ours / real < 2.5).all()


def test_fields_and_water_differ_from_forest_as_landsats(
    scenes: list[_scene.Scene], landsat: dict[str, Array]
) -> None:
    # Red tells fields from forest (2.4 times as bright in Landsat's one field, after harvest).
    forest = np.median([p.mean(1) for p in seen(scenes, [M.FOREST])], 0)
    fields = [p.mean(1) for p in seen(scenes, [M.PASTURE, M.CROP, M.BARE])]
    brighter = np.array([field[2] / forest[2] for field in fields])
    real = landsat["crop"].mean(1)[2] / landsat["tree"].mean(1)[2]
    assert 1 < np.median(brighter) < real
    water = np.median([p.mean(1) for p in seen(scenes, [M.RIVER])], 0)
    ratio = water[VISIBLE] / landsat["water"].mean(1)
    assert (ratio > 0.6).all()
    assert (ratio < 2.2).all()
    assert water[3] < 0.08


def test_neighbouring_pixels_are_alike_as_in_a_sharp_picture(
    scenes: list[_scene.Scene],
) -> None:
    # Planet's camera blurs by about a pixel: neighbours in forest correlate, far ones hardly.
    picture = next(s.pictures[0] for s in scenes if s.plan.skies[0] == "clear")
    band = picture.toa[3, 500:1000, 500:1000]

    def correlation(step: int) -> float:
        return float(np.corrcoef(band[:, :-step].ravel(), band[:, step:].ravel())[0, 1])

    assert 0.4 < correlation(1) < 0.95
    assert correlation(8) < correlation(1) - 0.2


# Kaggle's tags


def test_common_tags_are_about_as_frequent_as_kaggles(chips: list[_chips.Chip]) -> None:
    # Ten scenes are few: within a factor; what is common there is common here.
    assert set(KAGGLE) == set(planet.TAGS)
    for tag in ("primary", "clear", "agriculture", "road", "water", "cultivation"):
        share = np.mean([tag in chip.tags for chip in chips])
        assert 0.4 < share / (KAGGLE[tag] / 40_479) < 2.5, tag
    weather = np.mean([[tag in chip.tags for tag in planet.WEATHER] for chip in chips], 0)
    assert weather.argmax() == 0
    assert weather.sum() == pytest.approx(1)


def test_rare_tags_are_oversampled_so_that_each_can_be_learnt(
    chips: list[_chips.Chip],
) -> None:
    rare = [tag for tag, count in KAGGLE.items() if count < 900]
    shares = [np.mean([tag in chip.tags for chip in chips]) for tag in rare]
    published = [KAGGLE[tag] / 40_479 for tag in rare]
    assert min(shares) > 0.004
    assert np.mean(shares) > 4 * np.mean(published)
    assert max(shares) < 0.25


def test_tags_occur_together_as_they_do_in_the_amazon(chips: list[_chips.Chip]) -> None:
    def share(tag: str, given: str) -> float:
        return float(np.mean([tag in chip.tags for chip in chips if given in chip.tags]))

    overall = {tag: np.mean([tag in chip.tags for chip in chips]) for tag in KAGGLE}
    # Houses stand by roads and fields; plots, mines, blow-downs and flowers lie in forest.
    assert share("road", "habitation") > 1.3 * overall["road"]
    assert share("agriculture", "road") > 1.3 * overall["agriculture"]
    for tag in ("cultivation", "blooming", "blow_down", "selective_logging"):
        assert share("primary", tag) > 0.9
    assert 2.4 < np.mean([len(chip.tags) for chip in chips]) < 4.2  # Kaggle: 2.87
