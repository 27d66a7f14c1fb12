"""Maps on disk: rasters that outlive a kill, COGs, polygons, hectares, and what names them."""

import csv
import datetime as dt
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from rasterio.crs import CRS
from rasterio.features import shapes
from rio_cogeo import cog_validate
from scipy import ndimage, special

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.findings import Provenance
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.maps import colours, hectares, places, polygons, qgis, quicklook, stac
from fieldsight.datasets.maps.rasters import (
    Probabilities,
    Raster,
    classes_of,
    row_blocks,
    write_cog,
)

MADE = Provenance(
    model="a mapper v3", trained_on="somewhere", simulated=True, disclaimer="Mapped.",
    created="2026-01-02T03:04:05+00:00",
)  # fmt: skip
UTM = Affine(3.0000001, 0, 300_000.123456789, 0, -3.1, 9_000_000.7)
PLACES: dict[str, tuple[Any, Affine]] = {
    "UTM": (CRS.from_epsg(32721), UTM),
    "degrees": (CRS.from_epsg(4326), Affine(0.0001, 0, -60.123456789, 0, -0.0001, -9.1)),
    "Web Mercator": (CRS.from_epsg(3857), Affine(10 / 3, 0, -6e6 - 1 / 3, 0, -10 / 3, 8e6)),
    "rotated": (CRS.from_epsg(32721), Affine(3, 0.7, 300_000.1, 0.9, -3, 9_000_000)),
    "its own": (
        CRS.from_proj4("+proj=laea +lat_0=-10 +lon_0=-60 +ellps=GRS80 +units=m"),
        Affine(3, 0, 0.1, 0, -3, 0.2),
    ),
}


def grid_at(place: str, rows: int, columns: int) -> Grid:
    crs, transform = PLACES[place]
    return Grid(crs, transform, rows, columns)


def patches(rows: int, columns: int, seed: int = 0) -> NDArray[np.uint8]:
    """Values 0 to 3 in patches, with single pixels strewn over them."""
    rng = np.random.default_rng(seed)
    values = np.digitize(ndimage.gaussian_filter(rng.random((rows, columns)), 3), [0.47, 0.5, 0.53])
    values[rng.random(values.shape) < 0.05] = 2
    return values.astype(np.uint8)


def outlined(values: NDArray[np.uint8], grid: Grid, path: Path, **asked: Any) -> Any:
    """Outline values 1 and 3, and read what was written."""
    told = polygons.outline(
        lambda part: (values[part], np.full(values[part].shape, 0.75, np.float32)), grid, path,
        **{"names": {1: "forest", 3: "clearing"}, "provenance": MADE, **asked},
    )  # fmt: skip
    return told, pyogrio.read_dataframe(path)


# Rasters and COGs


@pytest.mark.parametrize("place", PLACES)
def test_crs_and_transform_are_kept_to_the_last_digit_into_the_cog(
    tmp_path: Path, place: str
) -> None:  # D-5, D-14
    grid = grid_at(place, 700, 900)
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 200, (700, 900, 2), np.uint8)
    steps[:300] = 255
    with Raster.create(
        tmp_path / "a.part", grid, ("forest", "clearing"), nodata=255, scale=0.005,
        tags={"FIELDSIGHT_MODEL": "a mapper"},
    ) as raster:  # fmt: skip
        raster.write((slice(0, 700), slice(0, 900)), steps)
    write_cog(tmp_path / "a.part", tmp_path / "a.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.part", "a.tif"]
    assert cog_validate(tmp_path / "a.tif", strict=True)[0]
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs == grid.crs
        assert tuple(file.transform) == tuple(grid.transform)
        assert (file.height, file.width, file.nodata) == (700, 900, 255)
        assert file.descriptions == ("forest", "clearing")
        assert file.scales == (0.005, 0.005)
        assert file.tags()["FIELDSIGHT_MODEL"] == "a mapper"
        assert file.overviews(1) == [2]
        np.testing.assert_array_equal(file.read(), np.moveaxis(steps, -1, 0))
        # An overview's pixel is the mean of those with data: of none, it is nodata.
        small = file.read(1, out_shape=(350, 450))
        assert (small[:149] == 255).all()
        assert (small[151:] <= 199).all()


def test_classes_have_their_colours(tmp_path: Path) -> None:  # D-14
    shades = colours.of(("nodata", "forest", "clearing"))
    grid = grid_at("UTM", 600, 600)
    with Raster.create(
        tmp_path / "a.part", grid, ["class"], nodata=0, colours=dict(enumerate(shades))
    ) as raster:
        raster.write((slice(0, 600), slice(0, 600)), np.full((600, 600, 1), 2, np.uint8))
    write_cog(tmp_path / "a.part", tmp_path / "a.tif", overviews="mode")
    assert cog_validate(tmp_path / "a.tif", strict=True)[0]
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.colormap(1)[1][:3] == (22, 92, 42)
        assert file.colormap(1)[2][:3] == (240, 196, 96)
        assert (file.read(1, out_shape=(300, 300)) == 2).all()


def test_probabilities_come_back_to_half_a_step_and_nodata_as_nodata(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    piece = rng.dirichlet((1, 1, 1), (40, 50)).astype(np.float32)
    piece[3, 4] = np.nan
    piece[5, 6] = (1, 0, 0)
    everywhere = (slice(0, 40), slice(0, 50))
    with Raster.create(tmp_path / "a.tif", grid_at("UTM", 40, 50), "abc", nodata=255) as raster:
        sink = Probabilities(raster)
        sink.write(everywhere, piece)
        back = sink.read(everywhere)
        assert np.isnan(back[3, 4]).all()
        assert back[5, 6].tolist() == [1, 0, 0]
        assert np.nanmax(np.abs(back - piece)) <= 0.5 / 200 + 1e-6
        classes = classes_of(raster.read(everywhere))
        sink.close()
    assert (classes[3, 4], classes[5, 6]) == (0, 1)  # D-4: nodata stays nodata


def test_logits_become_probabilities(tmp_path: Path) -> None:
    logits = np.random.default_rng(2).normal(0, 30, (40, 50, 4)).astype(np.float32)
    logits[7, 7] = np.nan
    everywhere = (slice(0, 40), slice(0, 50))
    with Raster.create(tmp_path / "a.tif", grid_at("UTM", 40, 50), "abcd", nodata=255) as raster:
        sink = Probabilities(raster, logits=True)
        sink.write(everywhere, logits.copy())
        sink.flush()
        back = sink.read(everywhere)
        sink.close()
    expected = special.softmax(logits, axis=-1)
    assert np.nanmax(np.abs(back - expected)) <= 0.5 / 200 + 1e-6
    assert np.argwhere(np.isnan(back[..., 0])).tolist() == [[7, 7]]


def test_what_the_thread_could_not_write_is_told_at_the_flush(tmp_path: Path) -> None:
    with Raster.create(tmp_path / "a.tif", grid_at("UTM", 40, 50), "ab", nodata=255) as raster:
        sink = Probabilities(raster)
        sink.write((slice(0, 40), slice(0, 50)), np.zeros((40, 50, 3), np.float32))
        with pytest.raises((DataError, ValueError)):
            sink.flush()
        sink.close()


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from fieldsight.datasets.maps.rasters import Raster
raster = Raster(Path(sys.argv[1]), "r+")
raster.write((slice(0, 700), slice(0, 900)), np.full((700, 900, 2), 7, np.uint8))
raster.flush()
raster.write((slice(700, 1000), slice(0, 900)), np.full((300, 900, 2), 9, np.uint8))
os._exit(9)
"""


def test_a_raster_whose_writer_was_killed_has_what_was_flushed(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    Raster.create(path, grid_at("rotated", 1500, 900), "ab", nodata=255).close()
    size = path.stat().st_size
    assert size > 1500 * 900 * 2  # every tile has its place from the beginning
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == 9
    assert path.stat().st_size == size
    with Raster(path, "r+") as raster:
        assert (raster.read((slice(0, 700), slice(0, 900))) == 7).all()
        raster.write((slice(700, 1500), slice(0, 900)), np.full((800, 900, 2), 8, np.uint8))
    write_cog(path, tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert sorted(map(int, np.unique(file.read()))) == [7, 8]
        assert file.crs == PLACES["rotated"][0]


HALF = """
import os, sys
from pathlib import Path
from fieldsight.datasets.maps import rasters

copy = rasters.rasterio.shutil.copy

def half(source, path, **asked):
    copy(source, path, **asked)
    os.truncate(path, os.path.getsize(path) // 2)
    os._exit(9)

rasters.rasterio.shutil.copy = half
rasters.write_cog(Path(sys.argv[1], "a.part"), Path(sys.argv[1], "a.tif"))
"""


def test_half_a_cog_is_never_seen(tmp_path: Path) -> None:  # D-6
    Raster.create(tmp_path / "a.part", grid_at("UTM", 700, 900), "a").close()
    (tmp_path / "a.tif").write_text("an earlier map")
    killed = subprocess.run([sys.executable, "-c", HALF, str(tmp_path)], check=False)
    assert killed.returncode == 9
    assert (tmp_path / "a.tif").read_text() == "an earlier map"
    write_cog(tmp_path / "a.part", tmp_path / "a.tif")
    assert cog_validate(tmp_path / "a.tif", strict=True)[0]


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    grid = grid_at("UTM", 50, 60)
    Raster.create(tmp_path / "a.part", grid, "a").close()
    with pytest.raises(DataError, match="can't be written"):
        write_cog(tmp_path / "a.part", tmp_path / "a.tif")
    with pytest.raises(DataError, match="can't be written"):
        Raster.create(tmp_path / "a.tif", grid, "a")
    with pytest.raises(DataError, match="that can be opened was needed"):
        Raster(tmp_path / "none.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.part", "a.tif"]


# Polygons


@pytest.mark.parametrize("place", PLACES)
def test_polygons_are_as_large_as_their_pixels(tmp_path: Path, place: str) -> None:  # D-5
    values, grid = patches(300, 260), grid_at(place, 300, 260)
    told, table = outlined(values, grid, tmp_path / "a.gpkg", strip=64)
    assert table.crs.equals(CRS(grid.crs).to_wkt()) or table.crs == grid.crs.to_wkt()
    pixels_ha = grid.pixel_areas_m2()[np.isin(values, (1, 3))].sum() / 1e4
    on_the_ground = table.to_crs(grid.equal_area).area / 1e4
    assert on_the_ground.sum() == pytest.approx(pixels_ha, rel=1e-3)
    assert table.area_ha.sum() == pytest.approx(pixels_ha, rel=1e-9)
    np.testing.assert_allclose(on_the_ground, table.area_ha, rtol=1e-3)
    assert told.polygons == len(table)
    assert told.area_ha == pytest.approx(pixels_ha)
    assert table.is_valid.all()
    left, bottom, right, top = grid.bounds
    x0, y0, x1, y1 = table.total_bounds
    assert x0 >= left
    assert y0 >= bottom
    assert x1 <= right
    assert y1 <= top


def corners(table: Any) -> set[str]:
    return set(shapely.to_wkt(shapely.normalize(table.geometry.to_numpy()), rounding_precision=3))


@settings(deadline=None, max_examples=12)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)),
               elements=st.integers(0, 3)),
    st.integers(1, 6),
)  # fmt: skip
def test_polygons_do_not_depend_on_the_strips(
    tmp_path_factory: pytest.TempPathFactory, values: NDArray[np.uint8], strip: int
) -> None:
    folder = tmp_path_factory.mktemp("strips")
    grid = grid_at("UTM", *values.shape)
    told, table = outlined(values, grid, folder / "a.gpkg", strip=strip)
    # Another way: rasterio on the whole array at once.
    whole = [
        (int(value), shapely.geometry.shape(shape).normalize())
        for shape, value in shapes(
            values, mask=np.isin(values, (1, 3)), connectivity=4, transform=grid.transform
        )
    ]
    assert told.polygons == len(whole) == len(table)
    assert table.is_valid.all()
    expected = {shape.wkt: value for value, shape in whole}
    for shape, name, pixels in zip(table.geometry, table["class"], table.pixels, strict=True):
        alike = [
            (value, other) for value, other in whole
            if shapely.equals(shape, other) or shape.symmetric_difference(other).area < 1e-3
        ]  # fmt: skip
        assert [{1: "forest", 3: "clearing"}[value] for value, _ in alike] == [name]
        assert pixels == round(shape.area / abs(grid.transform.determinant))
    assert len(expected) == len(whole)


def test_a_region_over_many_strips_is_one_polygon_with_the_corners_of_one(tmp_path: Path) -> None:
    values = np.zeros((60, 40), np.uint8)
    values[3:57, 5:9] = values[3:57, 20:24] = values[53:57, 5:24] = 1  # a U, joined at its end
    values[10:40, 30:38] = 3
    values[15:35, 32:36] = 0  # a hole
    grid = grid_at("UTM", 60, 40)
    once = outlined(values, grid, tmp_path / "once.gpkg", strip=60)[1]
    cut = outlined(values, grid, tmp_path / "cut.gpkg", strip=7)[1]
    assert corners(once) == corners(cut)
    assert sorted(cut["class"]) == ["clearing", "forest"]
    # A U has 8 corners, the ring 4 and 4; the first is told twice.
    assert sorted(map(shapely.get_num_coordinates, cut.geometry)) == [9, 10]
    assert sorted(cut.pixels) == [30 * 8 - 20 * 4, 2 * 54 * 4 + 4 * 11]


def test_a_polygon_says_its_class_confidence_date_and_model(tmp_path: Path) -> None:  # D-14, C-10
    values = np.array([[1, 1, 0], [0, 0, 3]], np.uint8)
    shares = np.array([[0.5, 0.7, 0], [0, 0, 0.9]], np.float32)
    grid = Grid(CRS.from_epsg(6933), Affine(100, 0, 0, 0, -100, 0), 2, 3)
    path = tmp_path / "a.gpkg"
    polygons.outline(
        lambda part: (values[part], shares[part]), grid, path, names={1: "forest", 3: "clearing"},
        provenance=MADE, columns={"date": dt.date(2020, 5, 18)},
    )  # fmt: skip
    # Another reader: a GeoPackage is an SQLite database with tables of its own.
    with sqlite3.connect(path) as file:
        file.row_factory = sqlite3.Row
        rows = [dict(row) for row in file.execute("select * from clearings order by class")]
        (content,) = file.execute("select data_type, srs_id from gpkg_contents").fetchall()
        assert file.execute("pragma integrity_check").fetchone()[0] == "ok"
        metadata = " ".join(row[0] for row in file.execute("select metadata from gpkg_metadata"))
    assert tuple(content) == ("features", 6933)
    assert [row["class"] for row in rows] == ["clearing", "forest"]
    assert [row["area_ha"] for row in rows] == pytest.approx([1, 2], rel=1e-6)
    assert [row["confidence"] for row in rows] == pytest.approx([0.9, 0.6], rel=1e-6)
    assert {row["date"] for row in rows} == {"2020-05-18"}
    assert {row["model"] for row in rows} == {"a mapper v3"}
    assert {row["simulated"] for row in rows} == {1}
    assert "somewhere" in metadata
    assert "a mapper v3" in metadata


def test_what_is_below_the_minimum_mapping_unit_is_left_out_and_counted(tmp_path: Path) -> None:
    values = np.zeros((50, 50), np.uint8)
    values[0, 0] = 1
    values[20, 20:22] = 1
    values[23:26, 30] = 1  # three pixels over a seam, each of them too small alone
    grid = Grid(CRS.from_epsg(6933), Affine(100, 0, 0, 0, -100, 0), 50, 50)  # 1 ha a pixel
    told, table = outlined(values, grid, tmp_path / "a.gpkg", least_ha=2.5, strip=24)
    assert table.pixels.tolist() == [3]
    assert (told.polygons, told.small) == (1, 2)
    assert told.small_ha == pytest.approx(3, rel=1e-6)


def test_no_region_gives_an_empty_layer(tmp_path: Path) -> None:  # C-11
    told, table = outlined(np.zeros((9, 9), np.uint8), grid_at("UTM", 9, 9), tmp_path / "a.gpkg")
    assert told.polygons == len(table) == 0
    assert pyogrio.read_info(tmp_path / "a.gpkg")["geometry_type"] == "Polygon"
    assert "area_ha" in pyogrio.read_info(tmp_path / "a.gpkg")["fields"]


@pytest.mark.parametrize("strip", [1, 3, 40])
def test_a_region_counts_by_what_is_sure_of_it_wherever_strips_end(
    tmp_path: Path, strip: int
) -> None:
    values = patches(40, 50)
    shares = np.random.default_rng(1).random(values.shape).astype(np.float32)
    grid = Grid(CRS.from_epsg(6933), Affine(100, 0, 0, 0, -100, 0), 40, 50)  # pixels of a hectare
    told = polygons.outline(
        lambda part: (values[part], shares[part]), grid, tmp_path / "a.gpkg", names={1: "forest"},
        provenance=MADE, least_ha=2, sure=0.7, strip=strip,
    )  # fmt: skip
    labels, count = ndimage.label(values == 1)
    regions = [labels == number for number in range(1, count + 1)]
    whole = sorted(int(one.sum()) for one in regions if (shares[one] >= 0.7).sum() >= 2)
    assert 0 < len(whole) < count
    assert sorted(pyogrio.read_dataframe(tmp_path / "a.gpkg").pixels) == whole
    assert (told.polygons, told.small) == (len(whole), count - len(whole))


def test_polygons_need_a_place_and_leave_nothing_half(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no CRS"):
        outlined(np.ones((4, 4), np.uint8), Grid(None, UTM, 4, 4), tmp_path / "a.gpkg")

    def breaks(part: Any) -> Any:
        raise DataError("the scene is damaged")

    with pytest.raises(DataError, match="damaged"):
        polygons.outline(
            breaks, grid_at("UTM", 4, 4), tmp_path / "a.gpkg", names={1: "a"}, provenance=MADE
        )
    assert list(tmp_path.iterdir()) == []


# Hectares


def write_areas(path: Path, table: dict[str, Any], crs: str | None = "EPSG:6933") -> Path:
    import geopandas

    geopandas.GeoDataFrame(table, crs=crs).to_file(path)
    return path


ONE_HA = Grid(CRS.from_epsg(6933), Affine(100, 0, 0, 0, -100, 0), 50, 60)
NAMES = {0: "nodata", 1: "forest", 2: "clearing"}


def counted(values: NDArray[np.uint8], areas: Path | None = None, **asked: Any) -> dict[Any, float]:
    found = hectares.count(
        lambda part: values[part], ONE_HA, NAMES,
        None if areas is None else hectares.read_areas(areas, ONE_HA), **asked,
    )  # fmt: skip
    return {(one.area, one.name): one.area_ha for one in found}


def test_hectares_by_hand(tmp_path: Path) -> None:  # D-13
    values = np.ones((50, 60), np.uint8)
    values[:, :10] = 0
    values[10:20, 20:50] = 2
    path = write_areas(
        tmp_path / "a.gpkg",
        {"name": ["park", "abroad"], "geometry": [
            shapely.box(1500, -1500, 3000, -1000), shapely.box(5500, -200, 6500, 0),
        ]},
    )  # fmt: skip
    found = counted(values, path)
    assert found == pytest.approx(
        {
            ("whole scene", "nodata"): 500, ("whole scene", "forest"): 2200,
            ("whole scene", "clearing"): 300,
            ("park", "nodata"): 0, ("park", "forest"): 25, ("park", "clearing"): 50,
            ("abroad", "nodata"): 0, ("abroad", "forest"): 10, ("abroad", "clearing"): 0,
            ("abroad", "outside the scene"): 10,
        },
        rel=1e-6,
    )  # fmt: skip


def test_every_row_says_that_it_is_mapped_and_not_estimated(tmp_path: Path) -> None:  # D-13, C-10
    values = np.ones((50, 60), np.uint8)
    found = hectares.count(lambda part: values[part], ONE_HA, NAMES)
    hectares.write(tmp_path / "a.csv", found, scene="S", date="2020-05-18", provenance=MADE)
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["class"] for row in rows] == ["nodata", "forest", "clearing"]
    assert {row["method"] for row in rows} == {"mapped, not estimated"}
    assert {row["model"] for row in rows} == {"a mapper v3"}
    assert {row["simulated"] for row in rows} == {"yes"}
    assert [row["share"] for row in rows] == ["", "1.000000", "0.000000"]
    assert rows[1]["hectares"] == "3000.0000"


def test_areas_come_from_another_crs_and_another_reader_agrees(tmp_path: Path) -> None:
    ring = shapely.Point(3000, -2500).buffer(1800)
    values = patches(50, 60) % 3
    here = write_areas(tmp_path / "here.gpkg", {"geometry": [ring]})
    import geopandas

    there = tmp_path / "there.geojson"
    geopandas.GeoSeries([ring.segmentize(50)], crs=6933).to_crs(4326).to_file(there)
    # By hand: pixels whose centre lies in the polygon.
    y, x = np.mgrid[:50, :60]
    inside = shapely.contains_xy(ring, 100 * (x + 0.5), -100 * (y + 0.5))
    for path in (here, there):
        found = counted(values.astype(np.uint8), path)
        for value, name in NAMES.items():
            assert found["area 1", name] == pytest.approx(
                np.count_nonzero(inside & (values == value)), rel=2e-2, abs=1.01
            )


def test_areas_of_one_name_are_numbered(tmp_path: Path) -> None:
    squares = [shapely.box(left, -900, left + 500, -100) for left in (0, 1000, 2000)]
    table = {"name": ["park", "farm", "park"], "geometry": squares}
    found = counted(np.ones((50, 60), np.uint8), write_areas(tmp_path / "a.gpkg", table))
    assert {area for area, _ in found} == {"whole scene", "park (1)", "farm", "park (2)"}


def test_counts_do_not_depend_on_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = (patches(50, 60) % 3).astype(np.uint8)
    path = write_areas(tmp_path / "a.gpkg", {"geometry": [shapely.box(550, -4550, 4000, -333)]})
    expected = counted(values, path)
    monkeypatch.setattr(hectares, "row_blocks", lambda grid: row_blocks(grid, 7))
    assert counted(values, path) == pytest.approx(expected, rel=1e-12)


def test_pixels_under_clouds_stand_apart(tmp_path: Path) -> None:
    values = np.full((50, 60), 1, np.uint8)
    values[:10] = 255
    values[10:20] = 0
    found = hectares.count(
        lambda part: values[part], ONE_HA, {**NAMES, 255: "under clouds"}, hidden=(0, 255)
    )
    assert [(one.name, round(one.area_ha), one.share) for one in found] == [
        ("nodata", 600, None), ("forest", 1800, 1.0), ("clearing", 0, 0.0),
        ("under clouds", 600, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "crs", "said"),
    [
        ({"geometry": [shapely.box(0, 0, 1, 1)]}, None, "with a CRS was needed|with a CRS were"),
        ({"geometry": [shapely.Point(0, 0)]}, "EPSG:6933", "area 1: a polygon was needed.*Point"),
        (
            {"name": ["bow"], "geometry": [shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)])]},
            "EPSG:6933",
            "bow: a polygon that doesn't cross itself",
        ),
    ],
)
def test_areas_that_cannot_be_meant_are_refused(
    tmp_path: Path, table: dict[str, Any], crs: str | None, said: str
) -> None:
    path = write_areas(tmp_path / "a.gpkg", table, crs)
    if crs is None:
        path = tmp_path / "b.shp"
        write_areas(path, table, None)
    with pytest.raises(DataError, match=said):
        hectares.read_areas(path, ONE_HA)


def test_areas_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no such file"):
        hectares.read_areas(tmp_path / "none.gpkg", ONE_HA)
    (tmp_path / "a.gpkg").write_text("nothing")
    with pytest.raises(DataError, match="can't be read"):
        hectares.read_areas(tmp_path / "a.gpkg", ONE_HA)


# Where it lies, and what names it


def test_an_outline_across_the_antimeridian_is_cut_there() -> None:  # RFC 7946, 3.1.9 and 5.2
    grid = Grid(CRS.from_epsg(4326), Affine(0.001, 0, 179.9, 0, -0.001, -16), 500, 400)
    shape, box = places.outline(grid)
    assert box == pytest.approx([179.9, -16.5, -179.7, -16])
    assert shape["type"] == "MultiPolygon"
    found = shapely.geometry.shape(shape)
    assert found.is_valid
    assert found.bounds == pytest.approx((-180, -16.5, 180, -16))
    assert found.area == pytest.approx(0.4 * 0.5)
    sides = sorted(part.bounds[::2] for part in found.geoms)
    assert [list(side) for side in sides] == [
        pytest.approx([-180, -179.7]), pytest.approx([179.9, 180])
    ]  # fmt: skip


def test_an_outline_turns_against_the_clock_and_follows_the_ground() -> None:
    shape, box = places.outline(grid_at("rotated", 3000, 2000))
    found = shapely.geometry.shape(shape)
    assert shape["type"] == "Polygon"
    assert found.exterior.is_ccw
    assert found.bounds == pytest.approx(box)
    assert -58.9 < box[0] < box[2] < -58.7


@pytest.mark.parametrize(
    ("transform", "degrees"),
    [
        (Affine(10, 0, 500_000, 0, -10, 9_000_000), 0),
        (Affine(10, 0, 500_000, 0, 10, 9_000_000), 180),
        (Affine(0, 10, 500_000, 10, 0, 9_000_000), 90),
        (Affine.translation(500_000, 9e6) @ Affine.rotation(30) @ Affine.scale(10, -10), 30),
    ],
)
def test_north_is_where_the_transform_puts_it(transform: Affine, degrees: float) -> None:
    grid = Grid(CRS.from_epsg(32721), transform, 20, 20)
    turned = np.degrees(places.north(grid))
    assert (turned - degrees + 180) % 360 - 180 == pytest.approx(0, abs=0.2)


def test_a_pixels_metres_are_those_of_the_ground() -> None:
    along, down = places.metres_a_pixel(
        Grid(CRS.from_epsg(4326), Affine(0.001, 0, 20, 0, -0.001, 60), 2, 2)
    )
    # A degree of longitude at 60 degrees is 55.80 km, of latitude 111.41 km (WGS 84).
    assert (along, down) == pytest.approx((55.80, 111.41), rel=1e-3)


def item(**asked: Any) -> Any:
    names = ("nodata", "forest", "natural open")
    assets = {
        "classes": stac.asset(
            "classes.tif", "classes", ["data"],
            **{"classification:classes": stac.classes(names, colours.of(names))},
        ),
        "polygons": stac.asset("clearings.gpkg", "polygons", ["data"]),
    }  # fmt: skip
    asked = {"date": dt.date(2020, 5, 18), "provenance": MADE, "assets": assets, **asked}
    return json.loads(
        json.dumps(stac.item("S", asked.pop("grid", grid_at("UTM", 30, 20)), **asked))
    )


def test_an_item_keeps_the_rules_of_stac() -> None:  # D-14
    # item-spec/json-schema/item.json, 1.1.0: what is required, and of which form.
    found = item()
    assert set(found) >= {
        "stac_version", "id", "links", "assets", "bbox", "properties", "type", "geometry",
    }  # fmt: skip
    assert (found["type"], found["stac_version"], found["id"]) == ("Feature", "1.1.0", "S")
    assert found["links"] == []
    assert all(url.startswith("https://stac-extensions.") for url in found["stac_extensions"])
    assert len(found["bbox"]) == 4
    assert found["geometry"]["type"] == "Polygon"
    assert found["geometry"]["coordinates"][0][0] == found["geometry"]["coordinates"][0][-1]
    told = found["properties"]
    for name in ("datetime", "start_datetime", "end_datetime", "created"):
        moment = dt.datetime.fromisoformat(told[name])
        assert moment.tzinfo is not None
        assert told[name].endswith("Z")
    assert told["datetime"] == "2020-05-18T00:00:00Z"
    # The projection extension, 2.0.0.
    assert told["proj:code"] == "EPSG:32721"
    assert told["proj:shape"] == [30, 20]
    assert told["proj:transform"] == list(UTM)[:6]
    assert told["proj:bbox"] == list(grid_at("UTM", 30, 20).bounds)
    assert told["gsd"] > 0
    for one in found["assets"].values():
        assert set(one) >= {"href", "title", "type", "roles"}
        assert one["href"].startswith("./")
    # The classification extension, 2.0.0: names of these letters alone, colours of six digits.
    classes = found["assets"]["classes"]["classification:classes"]
    assert [one["name"] for one in classes] == ["nodata", "forest", "natural_open"]
    assert [one["value"] for one in classes] == [0, 1, 2]
    assert classes[1]["color_hint"] == "165C2A"
    # C-10
    assert told["fieldsight:model"] == "a mapper v3"
    assert told["fieldsight:simulated"] is True


def test_an_item_of_an_unknown_date_or_crs_says_so() -> None:
    found = item(date=None, grid=grid_at("its own", 30, 20))["properties"]
    assert found["datetime"] == "2026-01-02T03:04:05Z"
    assert "unknown" in found["fieldsight:date"]
    assert found["proj:code"] is None
    assert found["proj:wkt2"].startswith("PROJCRS")


def test_styles_are_xml_with_the_classes_in_their_colours() -> None:
    names = ("nodata", "forest", "clearing & <more>")
    shades = colours.of(names)
    entries = ET.fromstring(qgis.of_classes(names, shades)).findall(".//paletteEntry")
    assert [(e.get("value"), e.get("label"), e.get("color")) for e in entries] == [
        ("1", "forest", "#165c2a"), ("2", "clearing & <more>", "#e69f00"),
    ]  # fmt: skip
    ramp = ET.fromstring(qgis.of_probability(2, "clearing"))
    renderer = ramp.find(".//rasterrenderer")
    assert renderer is not None
    assert renderer.get("band") == "2"
    assert [float(e.get("value", "")) for e in ramp.findall(".//item")] == [0, 0.25, 0.5, 0.75, 1]
    fills = ET.fromstring(qgis.of_polygons({"clearing": (240, 196, 96)}))
    assert [e.get("value") for e in fills.findall(".//category")] == ["clearing"]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(1, 9))
def test_a_preview_is_the_mean_of_its_pixels_whatever_the_blocks(
    rows: int, columns: int, side: int, block: int
) -> None:
    grid = Grid(CRS.from_epsg(6933), Affine(100, 0, 0, 0, -100, 0), rows, columns)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 1000, (rows, columns, 1)).astype(np.uint16)
    valid = rng.random((rows, columns)) < 0.7
    classes = np.where(valid, rng.integers(1, 3, (rows, columns)), 0).astype(np.uint8)
    preview = quicklook.Preview(grid, 1, 3, side)
    for part in row_blocks(grid, block):
        preview.add(part, picture[part], valid[part], classes[part])
    step = preview.step
    assert -(-max(rows, columns) // step) <= side
    for row in range(preview.counts.shape[0]):
        for column in range(preview.counts.shape[1]):
            part = (
                slice(row * step, (row + 1) * step), slice(column * step, (column + 1) * step)
            )  # fmt: skip
            assert preview.counts[row, column] == valid[part].sum()
            assert preview.sums[row, column, 0] == picture[part][valid[part]].sum()
            votes = np.bincount(classes[part].ravel(), minlength=3)
            assert preview.votes[row, column].tolist() == votes.tolist()


def test_a_picture_has_its_panels_and_its_legend(tmp_path: Path) -> None:
    grid = Grid(CRS.from_epsg(4326), Affine(0.001, 0, 20, 0, -0.001, 60), 400, 400)
    green = np.zeros((400, 400, 3), np.uint8)
    green[...] = (20, 200, 30)
    quicklook.draw(
        tmp_path / "a.png", grid, [("scene", green)], title="S",
        legend=[quicklook.Entry("clearing", (240, 196, 96), "3 ha")], notes=["mapped"],
    )  # fmt: skip
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    # Twice as high as wide: at 60 degrees a degree of longitude is half one of latitude.
    rows, columns = np.nonzero((picture == (20, 200, 30)).all(axis=-1))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(2, rel=0.02)
    assert ((picture == (240, 196, 96)).all(axis=-1)).sum() > 100
