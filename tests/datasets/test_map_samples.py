"""Samples of a map: drawn as they should be, labelled in a GIS, read back with every mistake."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point

from fieldsight.core.metrics import area_estimates
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.maps import readings, samples
from fieldsight.datasets.maps.samples import ClassMap, Stratum

NAMES = {1: "forest", 2: "clearing", 3: "water"}
UTM = Affine(30, 0, 500_000, 0, -30, 9_000_000)


def write_map(path: Path, values: Any, transform: Affine = UTM, crs: str = "EPSG:32721") -> Path:
    array = np.asarray(values, np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", width=array.shape[1], height=array.shape[0], count=1,
        dtype="uint8", crs=crs, transform=transform, nodata=0,
    ) as raster:  # fmt: skip
        raster.write(array, 1)
    return path


@pytest.fixture
def raster(tmp_path: Path) -> ClassMap:
    rng = np.random.default_rng(0)
    values = rng.choice([0, 1, 2, 3], size=(120, 150), p=[0.1, 0.7, 0.15, 0.05])
    return ClassMap(write_map(tmp_path / "classes.tif", values), NAMES)


def drawn_sample(raster: ClassMap, path: Path, total: int = 60) -> tuple[Stratum, ...]:
    strata = samples.strata_of(raster)
    units = samples.draw(raster, samples.allocate(strata, total, 10), seed=3)
    samples.write(path, raster, strata, units)
    return strata


def label(path: Path, change: dict[int, str | None] | None = None, **columns: Any) -> None:
    """What an interpreter does in a GIS: here, who sees exactly what is there."""
    points = geopandas.read_file(path, layer="sample")
    with rasterio.open(path.with_name("classes.tif")) as source:
        seen = [NAMES[int(value[0])] for value in source.sample(
            [(point.x, point.y) for point in points.geometry]
        )]  # fmt: skip
    points["reference"] = seen
    for unit, text in (change or {}).items():
        points.loc[points["id"] == unit, "reference"] = text
    for name, values in columns.items():
        points[name] = values
    points.to_file(path, layer="sample", driver="GPKG")


def test_d_13_every_stratum_is_drawn_from_and_no_pixel_twice(raster: ClassMap) -> None:
    strata = samples.strata_of(raster)
    with rasterio.open(raster.path) as source:
        values = source.read(1)
    assert [(one.name, one.pixels) for one in strata] == [
        (NAMES[value], int((values == value).sum())) for value in (1, 2, 3)
    ]
    # 0.09 ha a pixel in UTM, but for the projection's scale at its central meridian: 0.9996^-2.
    assert strata[0].area_ha == pytest.approx(strata[0].pixels * 0.09 / 0.9996**2, rel=1e-4)
    units = samples.draw(raster, {1: 25, 2: 25, 3: 10}, seed=1)
    assert len({(unit.row, unit.column) for unit in units}) == 60
    assert all(values[unit.row, unit.column] == unit.value for unit in units)
    assert [unit.value for unit in units] != sorted(unit.value for unit in units)


def test_the_same_seed_draws_the_same_and_another_another(raster: ClassMap) -> None:
    units = {1: 20, 2: 20, 3: 20}
    assert samples.draw(raster, units, seed=5) == samples.draw(raster, units, seed=5)
    assert samples.draw(raster, units, seed=5) != samples.draw(raster, units, seed=6)


def test_pixels_of_a_stratum_are_drawn_alike_across_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "TILE", 20)
    raster = ClassMap(write_map(tmp_path / "classes.tif", np.ones((40, 50))), NAMES)
    hits = np.zeros((40, 50))
    for seed in range(30):
        for unit in samples.draw(raster, {1: 200}, seed=seed):
            hits[unit.row, unit.column] += 1
    # 6,000 draws over 10 equal parts, 600 each: a binomial's deviation is 23, here a bit less.
    parts = hits.reshape(2, 20, 5, 10).sum(axis=(1, 3)).ravel()
    assert np.abs(parts - 600).max() < 4 * 23


def test_d_5_in_degrees_a_pixel_is_drawn_as_often_as_it_is_large(tmp_path: Path) -> None:
    # From the equator to 80 degrees: the share drawn of the northern half is that of its area,
    # sin 80 - sin 40 of sin 80, not a half of its pixels.
    transform = Affine(0.1, 0, 0, 0, -0.1, 80)
    path = write_map(tmp_path / "classes.tif", np.ones((800, 40)), transform, "EPSG:4326")
    raster = ClassMap(path, NAMES)
    rows = np.array([
        unit.row for seed in range(20) for unit in samples.draw(raster, {1: 100}, seed=seed)
    ])  # fmt: skip
    share = (np.sin(np.radians(80)) - np.sin(np.radians(40))) / np.sin(np.radians(80))
    assert np.mean(rows < 400) == pytest.approx(share, abs=4 * (share * (1 - share) / 2000) ** 0.5)


def test_d_13_what_is_read_back_is_what_the_map_says_if_the_interpreter_agrees(
    raster: ClassMap, tmp_path: Path
) -> None:
    path = tmp_path / "sample.gpkg"
    strata = drawn_sample(raster, path)
    label(path)
    found = readings.read(path, raster, strata)
    assert found.counts.sum() == 60
    assert np.diag(np.diag(found.counts)).tolist() == found.counts.tolist()
    areas = area_estimates(found.counts, [one.area_ha for one in strata])
    assert areas.areas.value.tolist() == pytest.approx([one.area_ha for one in strata])


def test_the_interpreter_isnt_told_what_the_map_says(raster: ClassMap, tmp_path: Path) -> None:
    drawn_sample(raster, tmp_path / "sample.gpkg")
    points = pyogrio.read_dataframe(tmp_path / "sample.gpkg", layer="sample")
    assert set(points.columns) == {"id", "reference", "remark", "geometry"}
    assert points["reference"].isna().all()
    pixels = pyogrio.read_dataframe(tmp_path / "sample.gpkg", layer="pixels")
    assert pixels.area.to_numpy() == pytest.approx(np.full(60, 900.0))
    assert points.geometry.within(pixels.geometry).all()
    strata = pyogrio.read_dataframe(tmp_path / "sample.gpkg", layer="strata", read_geometry=False)
    assert strata["name"].tolist() == ["forest", "clearing", "water"]
    assert strata["sampled"].sum() == 60


def test_what_cant_be_read_is_left_out_and_counted(raster: ClassMap, tmp_path: Path) -> None:
    path = tmp_path / "sample.gpkg"
    strata = drawn_sample(raster, path)
    label(path, {4: "?", 9: "Water"})
    found = readings.read(path, raster, strata)
    assert found.unreadable == 1
    assert found.counts.sum() == 59


def test_every_mistake_is_told_at_once(raster: ClassMap, tmp_path: Path) -> None:
    path = tmp_path / "sample.gpkg"
    strata = drawn_sample(raster, path)
    label(path, {1: None, 2: "forrest", 3: "  "})
    points = geopandas.read_file(path, layer="sample")
    points.loc[points["id"] == 7, "id"] = 8
    points.to_file(path, layer="sample", driver="GPKG")
    with pytest.raises(DataError) as told:
        readings.read(path, raster, strata)
    for text in (
        "unit 1 has no reference", "'forrest', which is no class (perhaps forest)",
        "unit 3 has no reference", "unit 7 is missing", "unit 8 is there 2 times",
    ):  # fmt: skip
        assert text in str(told.value)


def test_a_point_that_was_moved_is_found(raster: ClassMap, tmp_path: Path) -> None:
    path = tmp_path / "sample.gpkg"
    strata = drawn_sample(raster, path)
    label(path)
    points = geopandas.read_file(path, layer="sample")
    points.loc[0, "geometry"] = Point(0, 0)
    points.to_file(path, layer="sample", driver="GPKG")
    with pytest.raises(DataError, match="off the map"):
        readings.read(path, raster, strata)


def test_a_sample_of_another_map_is_refused(raster: ClassMap, tmp_path: Path) -> None:
    path = tmp_path / "sample.gpkg"
    drawn_sample(raster, path)
    label(path)
    other = ClassMap(write_map(tmp_path / "other.tif", np.ones((120, 150))), NAMES)
    with pytest.raises(DataError, match="another map"):
        readings.read(path, other, samples.strata_of(other))


@pytest.mark.parametrize("content", [b"", b"no GeoPackage at all"])
def test_a_file_that_is_no_sample_is_refused(
    raster: ClassMap, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "sample.gpkg"
    path.write_bytes(content)
    with pytest.raises(DataError, match="a sample that `assess` drew was needed"):
        readings.read(path, raster, samples.strata_of(raster))


def test_a_geopackage_of_something_else_is_refused(raster: ClassMap, tmp_path: Path) -> None:
    path = tmp_path / "sample.gpkg"
    geopandas.GeoDataFrame(
        {"id": [1]}, geometry=geopandas.points_from_xy([0], [0]), crs="EPSG:4326"
    ).to_file(path, layer="villages", driver="GPKG")
    with pytest.raises(DataError, match="villages"):
        readings.read(path, raster, samples.strata_of(raster))


def test_a_map_of_nodata_and_a_picture_are_no_maps_of_classes(tmp_path: Path) -> None:
    empty = ClassMap(write_map(tmp_path / "empty.tif", np.zeros((5, 5))), NAMES)
    with pytest.raises(DataError, match="nodata alone"):
        samples.strata_of(empty)
    with rasterio.open(
        tmp_path / "picture.tif", "w", driver="GTiff", width=4, height=4, count=3, dtype="float32",
        crs="EPSG:32721", transform=UTM,
    ) as raster:  # fmt: skip
        raster.write(np.zeros((3, 4, 4), np.float32))
    with pytest.raises(DataError, match="3 bands of float32"):
        ClassMap(tmp_path / "picture.tif", NAMES)
    with pytest.raises(DataError, match="can't be read"):
        ClassMap(tmp_path / "nowhere.tif", NAMES)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6), st.integers(12, 600))
def test_what_is_allocated_is_there_and_adds_up(pixels: list[int], total: int) -> None:
    strata = [Stratum(n, f"c{n}", count, count * 0.09) for n, count in enumerate(pixels)]
    units = samples.allocate(strata, total)
    assert all(1 <= units[one.value] <= one.pixels for one in strata)
    assert all(units[one.value] >= min(2, one.pixels) for one in strata)
    assert sum(units.values()) == min(total, sum(pixels))


def test_the_minimum_goes_to_the_rare_and_the_rest_by_area() -> None:
    strata = [Stratum(1, "forest", 90_000, 8100.0), Stratum(2, "clearing", 10_000, 900.0)]
    assert samples.allocate(strata, 300, 50) == {1: 230, 2: 70}
    with pytest.raises(DataError, match="Draw more"):
        samples.allocate(strata, 60, 50)
