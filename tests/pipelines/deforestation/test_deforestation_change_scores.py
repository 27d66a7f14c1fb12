"""How well new clearings are found: two dates of simulated forest, and mappers that know things."""

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas
import keras
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely import box

from fieldsight.datasets.errors import DataError
from fieldsight.pipelines.deforestation import _change_scores
from fieldsight.pipelines.deforestation._change_baseline import DifferenceRule
from fieldsight.pipelines.deforestation._change_rule import ChangeRule
from fieldsight.pipelines.deforestation._change_scores import Tuned
from fieldsight.pipelines.deforestation._mapper import Mapper

SIDE = 160
CLASSES = ["nodata", "forest", "clearing"]
# Reflectance x 10,000: blue, green, red, nir.
FOREST, BARE, PASTURE = (300, 500, 300, 3000), (900, 1200, 1600, 2200), (400, 900, 500, 2900)
# Row and column of clearings of 20 x 20 pixels: 0.36 ha at 3 m.
CLEARED = ((20, 20), (20, 100), (100, 60))


def write_pair(folder: Path, name: str = "A", cloud: tuple[int, int] | None = None) -> None:
    """A forest with a pasture; three clearings are felled, one of them sown at once."""
    rng = np.random.default_rng(len(name))
    before = np.empty((SIDE, SIDE, 4))
    before[...] = FOREST
    before[120:150, 110:150] = PASTURE
    after = before.copy()
    for place, (row, column) in enumerate(CLEARED):
        after[row : row + 20, column : column + 20] = PASTURE if place == 2 else BARE
    for sub in ("scenes", "labels"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    grid = {
        "driver": "GTiff", "width": SIDE, "height": SIDE, "crs": "EPSG:32720",
        "transform": Affine(3, 0, 300_000, 0, -3, 9_000_000),
    }  # fmt: skip
    for date, picture in (("20170801", before), ("20180805", after)):
        noisy = (picture + rng.normal(scale=20, size=picture.shape)).clip(1).astype(np.uint16)
        path = folder / "scenes" / f"{name}_{date}_AnalyticMS_SR.tif"
        with rasterio.open(path, "w", count=4, dtype="uint16", nodata=0, **grid) as file:
            file.write(np.moveaxis(noisy, -1, 0))
            file.update_tags(FIELDSIGHT_SIMULATED="1")
        usable = np.zeros((8, SIDE, SIDE), np.uint8)
        if cloud is not None and date == "20180805":
            row, column = cloud
            usable[5, row - 5 : row + 25, column - 5 : column + 25] = 1
        usable[0] = 1 - usable[5]
        path = folder / "scenes" / f"{name}_{date}_udm2.tif"
        with rasterio.open(path, "w", count=8, dtype="uint8", **grid) as file:
            file.write(usable)
    squares = [
        box(300_000 + 3 * column, 9_000_000 - 3 * (row + 20),
            300_000 + 3 * (column + 20), 9_000_000 - 3 * row)
        for row, column in CLEARED
    ]  # fmt: skip
    geopandas.GeoDataFrame(
        {"date": [dt.date(2018, 8, 5)] * 3}, geometry=squares, crs="EPSG:32720"
    ).to_file(folder / "labels" / f"{name}_clearings.gpkg", layer="new", driver="GPKG")


def mapper(weights: Any, bias: Any) -> Mapper:
    """A mapper of one layer: logits of forest and clearing from reflectances."""
    inputs = keras.Input((None, None, 4))
    layer = keras.layers.Conv2D(2, 1)
    network = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.asarray(weights, float).reshape(1, 1, 4, 2), np.asarray(bias, float)])
    facts = {
        "bands": ["blue", "green", "red", "nir"], "units": "reflectance", "output": "logits",
        "classes": CLASSES, "ground_sampling_distance_m": 3.0, "window": 64, "stride": 1,
    }  # fmt: skip
    return Mapper(network, facts, {}, 1.0, 0.0)


def seeing() -> Mapper:
    """Knows that forest is dark in green: 0.05 against 0.09 and 0.12 of whatever was cleared."""
    return mapper([[0, 0], [-400, 400], [0, 0], [0, 0]], [28, -28])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_pair(tmp_path)
    return tmp_path


TUNED = Tuned(ChangeRule(opening=0), DifferenceRule(drop=0.2, floor=0.6, opening=0), {})


def test_a_mapper_that_sees_finds_all_and_ndvi_misses_what_is_green_again(place: Path) -> None:
    pairs = _change_scores.pairs_of(place)
    assert [pair.name for pair in pairs] == ["A"]
    found = _change_scores.score(pairs, seeing(), TUNED)
    assert found.figures["test_change_f1"] == 1
    assert found.figures["test_change_hectares_error"] == pytest.approx(0, abs=0.01)
    # Two of three, nothing invented: 2 * 2 / (2 * 2 + 1).
    assert found.figures["baseline_test_change_f1"] == pytest.approx(0.8)
    assert found.figures["baseline_test_change_recall"] == pytest.approx(2 / 3)
    assert found.figures["test_change_f1_gain"] == pytest.approx(0.2)
    assert found.masks["truth"].sum() == 3 * 400
    assert (found.masks["network"] == found.masks["truth"]).mean() > 0.999
    assert "mapper" in str(found.tables[0])


def test_d_11_what_lies_under_a_cloud_is_neither_missed_nor_found(tmp_path: Path) -> None:
    write_pair(tmp_path, cloud=CLEARED[0])
    found = _change_scores.score(_change_scores.pairs_of(tmp_path), seeing(), TUNED)
    assert found.figures["test_change_f1"] == 1
    assert found.masks["truth"].sum() == 2 * 400
    assert not found.masks["network"][15:45, 15:45].any()


def test_c_9_rules_are_chosen_by_a_grid_and_kept_for_the_card(place: Path) -> None:
    tuned = _change_scores.tune(_change_scores.pairs_of(place), seeing())
    assert tuned.figures == {"val_change_f1": 1, "baseline_val_change_f1": 1}
    # NDVI falls by 0.11 where pasture follows forest: the finest step of the grid sees that.
    assert tuned.difference.drop == 0.1
    facts = tuned.facts()
    assert ChangeRule(**facts["network"]) == tuned.network
    assert DifferenceRule(**facts["difference"]) == tuned.difference


def test_a_mapper_that_sees_nothing_scores_nothing(place: Path) -> None:
    blind = mapper(np.zeros((4, 2)), [5, -5])
    found = _change_scores.score(_change_scores.pairs_of(place), blind, TUNED)
    assert found.figures["test_change_f1"] == 0
    assert found.figures["test_change_hectares_error"] == 1
    assert np.isnan(found.figures["test_change_precision"])


def test_intervals_are_over_places(tmp_path: Path) -> None:
    for name, cloud in (("A", None), ("BB", CLEARED[2]), ("CCC", None)):
        write_pair(tmp_path, name, cloud)
    found = _change_scores.score(_change_scores.pairs_of(tmp_path), seeing(), TUNED).figures
    low, high = found["baseline_test_change_f1_low"], found["baseline_test_change_f1_high"]
    # Drawn again, from the places that have a green clearing alone to the one that has none.
    assert (low, high) == (pytest.approx(0.8), 1.0)


def test_a_folder_without_two_dates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two dates"):
        _change_scores.pairs_of(tmp_path)


def test_two_grids_are_refused(place: Path) -> None:
    path = next(place.glob("scenes/A_2018*_SR.tif"))
    with rasterio.open(path, "r+") as file:
        file.transform = Affine(3, 0, 300_001, 0, -3, 9_000_000)
    with pytest.raises(DataError, match="one grid"):
        _change_scores.score(_change_scores.pairs_of(place), seeing(), TUNED)
