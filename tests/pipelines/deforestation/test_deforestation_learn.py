"""A mapper from a person's own labels: how they are split, and the whole command."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from scipy.spatial import KDTree
from shapely.geometry import box

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.labels import Labels
from fieldsight.pipelines import _tracking
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import Learn, _label_split, _map_model, _mapper
from fieldsight.pipelines.deforestation._label_split import LEFT_OUT, TEST, TRAIN, VAL

Array = NDArray[Any]
UTM = CRS.from_epsg(32621)
LEFT, TOP = 700_000.0, -2_700_000.0


def drawn(boxes: list[tuple[int, int, int, int, int]], *, raster: bool = False) -> Labels:
    """Labels of boxes: value, row, column, rows, columns."""
    places, values, features = [], [], []
    for number, (value, row, column, rows, columns) in enumerate(boxes):
        pixels = np.add(np.argwhere(np.ones((rows, columns))), (row, column))
        places.append(pixels)
        values += [value] * len(pixels)
        features += [-1 if raster else number] * len(pixels)
    return Labels(
        ("nodata", "a", "b"), np.concatenate(places).astype(np.int32), np.array(values, np.uint8),
        np.array(features, np.int32),
    )  # fmt: skip


def scattered(seed: int = 0, count: int = 40) -> Labels:
    rng = np.random.default_rng(seed)
    cells = rng.permutation(100)[:count]
    return drawn([
        (1 + number % 2, 40 * (cell // 10) + 10, 40 * (cell % 10) + 10, 6, 6)
        for number, cell in enumerate(cells.tolist())
    ])  # fmt: skip


def nearest(labels: Labels, sides: Array, one: int, other: int) -> float:
    """The least distance between labels of two sides, along rows or columns."""
    tree = KDTree(labels.places[sides == one])
    return float(np.min(tree.query(labels.places[sides == other], p=np.inf)[0]))


# Splits


def test_blocks_keep_neighbours_on_one_side_d7() -> None:
    labels = scattered()
    split = _label_split.by_blocks(labels)
    assert split.independent
    assert not split.optimistic
    for block in np.unique(split.groups):
        assert len(set(split.sides[split.groups == block]) - {LEFT_OUT}) <= 1
    for side in (TRAIN, VAL, TEST):
        assert set(labels.values[split.sides == side]) == {1, 2}


def test_a_polygon_is_never_cut_by_blocks() -> None:
    labels = scattered()
    split = _label_split.by_blocks(labels)
    for feature in np.unique(labels.features):
        assert len(set(split.sides[labels.features == feature]) - {LEFT_OUT}) <= 1


def test_labels_of_two_sides_lie_apart() -> None:
    # A raster labelled all over, whose blocks touch each other.
    rng = np.random.default_rng(0)
    places = np.argwhere(np.ones((120, 100))).astype(np.int32)
    values = (1 + (rng.random(12000) < 0.3)).astype(np.uint8)
    labels = Labels(("nodata", "a", "b"), places, values, np.full(12000, -1, np.int32))
    split = _label_split.by_blocks(labels)
    for one, other in ((TRAIN, VAL), (TRAIN, TEST), (VAL, TEST)):
        assert nearest(labels, split.sides, one, other) > _label_split.GAP
    assert "blocks of" in split.how


def test_the_same_seed_gives_the_same_split() -> None:
    first, second = (_label_split.by_blocks(scattered(), 3).sides for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != _label_split.by_blocks(scattered(), 4).sides).any()


def test_fewer_than_three_polygons_of_a_class_are_split_inside_with_a_gap_and_said() -> None:
    labels = drawn([(1, 0, 0, 10, 30), (2, 50, 50, 40, 8)])
    split = _label_split.by_blocks(labels)
    assert "a has 1, b has 1" in split.optimistic
    assert not split.independent
    for side in (TRAIN, VAL, TEST):
        assert set(labels.values[split.sides == side]) == {1, 2}
    for one, other in ((TRAIN, VAL), (VAL, TEST)):
        assert nearest(labels, split.sides, one, other) > 1
    # Cut across the longest way: the first along columns, the second along rows.
    columns = labels.places[(labels.values == 1) & (split.sides == TRAIN), 1]
    rows = labels.places[(labels.values == 2) & (split.sides == TRAIN), 0]
    assert columns.max() - columns.min() < 20
    assert rows.max() - rows.min() < 27
    assert 0.5 < (split.sides == TRAIN).mean() < 0.65


def test_a_point_far_off_a_polygon_is_learned_from_and_the_polygon_cut() -> None:
    labels = drawn([(1, 0, 0, 60, 3), (1, 0, 3000, 1, 1), (2, 50, 50, 40, 8)])
    split = _label_split.by_blocks(labels)
    polygon, point = labels.features == 0, labels.features == 1
    assert split.sides[point].tolist() == [TRAIN]
    for side in (TRAIN, VAL, TEST):
        assert (split.sides[polygon] == side).any()
    assert nearest(labels, split.sides, VAL, TEST) > 1


def test_points_too_few_to_be_split_are_refused() -> None:
    labels = drawn([(1, 0, 0, 1, 1), (1, 9, 9, 1, 1), (2, 30, 0, 1, 1)])
    with pytest.raises(CommandError, match="with 2 pixels"):
        _label_split.by_blocks(labels)


def test_a_split_by_chance_has_every_class_on_every_side_and_says_that_it_flatters() -> None:
    labels = scattered()
    split = _label_split.at_random(labels)
    assert split.optimistic
    for value in (1, 2):
        counts = np.bincount(split.sides[labels.values == value])
        assert counts / counts.sum() == pytest.approx([0.6, 0.2, 0.2], abs=0.01)


# The command


def written(folder: Path, *, polygons: int = 14) -> tuple[Path, Path]:
    """A noisy scene of 220 x 200 pixels in three classes, and some polygons of each."""
    rng = np.random.default_rng(0)
    row, column = np.indices((220, 200))
    truth = np.where(column % 60 < 14, 2, np.sin(row / 25) + np.cos(column / 20) > 0.3)
    spectra = np.array([[300, 500, 400, 3000], [700, 900, 1200, 2600], [900, 700, 300, 800]])
    image = np.clip(spectra[truth] + rng.normal(0, 250, (220, 200, 4)), 1, None).astype(np.uint16)
    image[:12] = 0
    scene = folder / "scene.tif"
    transform = Affine(10, 0, LEFT, 0, -10, TOP)
    with rasterio.open(
        scene, "w", driver="GTiff", width=200, height=220, count=4, dtype="uint16", crs=UTM,
        transform=transform, nodata=0, tiled=True, blockxsize=64, blockysize=64,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(image, -1, 0))
        file.descriptions = ("blue", "green", "red", "nir")
    shapes: list[Any] = []
    names: list[str] = []
    for place in rng.permutation(22 * 20).tolist():
        r, c = 10 * (place // 20) + 2, 10 * (place % 20) + 2
        part = truth[r : r + 6, c : c + 6]
        name = ("forest", "clearing", "water")[part[0, 0]]
        if (part == part[0, 0]).all() and r >= 12 and names.count(name) < polygons:
            x, y = LEFT + 10 * c, TOP - 10 * r
            shapes.append(box(x, y - 60, x + 60, y))
            names.append(name)
    labels = folder / "labels.gpkg"
    gpd.GeoDataFrame({"name": names, "geometry": shapes}, crs=UTM).to_file(labels, driver="GPKG")
    return scene, labels


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("FIELDSIGHT_HOME", str(tmp_path / "home"))
    return tmp_path


def test_learn_trains_scores_and_registers_a_map_model(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = dataclasses.replace(_mapper.LEARN, filters=6, steps=12)
    monkeypatch.setattr(_mapper, "LEARN", small)
    scene, labels = written(store)
    settings = Learn(scene=scene, labels=labels, field="name", epochs=0.2, json=True)
    assert settings.run() == 0
    told = capsys.readouterr()
    figures = json.loads(told.out)
    assert figures["test_map_accuracy"] > 0.8
    assert figures["test_map_accuracy_low"] <= figures["test_map_accuracy"]
    assert figures["baseline_test_map_forest_accuracy"] > 0.8
    assert "random_split_map_network_accuracy" in figures
    assert "polygons by blocks" in told.err
    found = _tracking.find_model(
        None, application=_map_model.APPLICATION, make_with="", allow_simulated=False
    )
    facts = found.card.facts
    assert found.card.name == "fieldsight-deforestation-map-scene"
    assert facts["classes"] == ["nodata", "clearing", "forest", "water"]
    assert facts["bands"] == ["blue", "green", "red", "nir"]
    assert facts["units"] == "digital numbers"
    assert facts["ground_sampling_distance_m"] == pytest.approx(10, rel=1e-2)
    assert "blocks" in facts["split"]
    model = _map_model.load(found)
    answer = np.asarray(model.run(np.ones((1, 32, 32, 4), np.float32)))
    assert answer.shape == (1, 32, 32, 3)
    assert np.isfinite(answer).all()


def test_of_many_dates_half_are_dropped_in_training_and_none_in_mapping() -> None:
    recipe = dataclasses.replace(_mapper.LEARN, filters=2, band_dropout=0.5)
    network = _mapper.build(recipe, 20, 3, np.zeros(20), np.ones(20))
    dropped = network.get_layer("bands_dropout")
    x = np.ones((1, 8, 8, 20), np.float32)
    left = np.asarray(dropped(x, training=True))[0, 0, 0]
    assert 3 < np.count_nonzero(left) < 17
    np.testing.assert_array_equal(np.asarray(dropped(x, training=False)), x)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"field": "kind"}, "--field"),
        ({"epochs": 0.0}, "--epochs"),
        ({"bands": "blue,green"}, "bands"),
        ({"labels": Path("none.gpkg")}, "isn't there"),
    ],
)
def test_what_cannot_be_learned_is_told_before_a_run_begins(
    store: Path, change: dict[str, Any], said: str
) -> None:
    scene, labels = written(store)
    settings = Learn(**{"scene": scene, "labels": labels, "field": "name", **change})
    with pytest.raises((CommandError, DataError), match=said):
        settings.run()
    assert not (store / "mlflow.db").exists()


def test_labels_that_cannot_be_split_are_told_before_a_run_begins(store: Path) -> None:
    scene, labels = written(store)
    few = gpd.read_file(labels).drop_duplicates("name")
    few.geometry = few.geometry.centroid
    few.to_file(store / "points.gpkg", driver="GPKG")
    with pytest.raises(CommandError, match="with 1 pixels"):
        Learn(scene=scene, labels=store / "points.gpkg", field="name").run()
    assert not (store / "mlflow.db").exists()
