"""Labels drawn on a scene: which pixels they label, and what is mended, left out or refused."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from shapely.geometry import LineString, Point, Polygon, box

from fieldsight.datasets import labels
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.grids import Grid

UTM = CRS.from_epsg(32621)
LEFT, TOP = 700_000.0, -2_700_000.0
GRID = Grid(UTM, Affine(30, 0, LEFT, 0, -30, TOP), 40, 50)


def square(row: int, column: int, rows: int, columns: int) -> Polygon:
    """The polygon of whole pixels of GRID."""
    return box(
        LEFT + 30 * column, TOP - 30 * (row + rows), LEFT + 30 * (column + columns), TOP - 30 * row
    )


def written(folder: Path, shapes: list[Any], names: list[Any], crs: Any = UTM) -> Path:
    path = folder / "labels.gpkg"
    table = gpd.GeoDataFrame({"kind": names, "geometry": shapes}, crs=crs)
    table.to_file(path, driver="GPKG")
    return path


def read(path: Path, grid: Grid = GRID) -> labels.Labels:
    return labels.read(path, grid, field="kind")


def test_a_polygon_of_whole_pixels_labels_exactly_these(tmp_path: Path) -> None:
    path = written(tmp_path, [square(2, 3, 4, 5), square(20, 10, 2, 2)], ["tree", "crop"])
    found = read(path)
    assert found.classes == ("nodata", "crop", "tree")
    expected = np.zeros((40, 50), np.uint8)
    expected[2:6, 3:8], expected[20:22, 10:12] = 2, 1
    np.testing.assert_array_equal(found.raster(40, 50), expected)
    assert np.unique(found.features).tolist() == [0, 1]
    assert found.notes == ()


@settings(max_examples=25, deadline=None)
@given(
    angle=st.floats(0, 360), row=st.floats(5, 30), column=st.floats(5, 40),
    side=st.floats(2, 9), turn=st.floats(-80, 80),
)  # fmt: skip
def test_pixels_are_those_whose_centre_a_polygon_holds(
    angle: float, row: float, column: float, side: float, turn: float
) -> None:
    # On a rotated grid too (D-5): shapely decides about each centre by itself.
    transform = Affine(30, 0, LEFT, 0, -30, TOP) @ Affine.rotation(turn, (20, 20))
    grid = Grid(UTM, transform, 40, 50)
    flat = shapely.affinity.rotate(box(column, row, column + side, row + side / 2), angle)
    moved = shapely.affinity.affine_transform(
        flat, [transform.a, transform.b, transform.d, transform.e, transform.c, transform.f]
    )
    pixels, touched = labels._pixels(moved, grid)
    columns, rows = np.meshgrid(np.arange(50) + 0.5, np.arange(40) + 0.5)
    inside = shapely.contains_xy(flat, columns, rows)
    if inside.any():
        near = np.abs(shapely.distance(flat.exterior, shapely.points(columns, rows))) < 1e-6
        drawn = np.zeros((40, 50), bool)
        drawn[tuple(pixels.T)] = True
        assert not touched
        assert (drawn == inside)[~near].all()


def test_points_label_the_pixel_that_holds_them(tmp_path: Path) -> None:
    # The centre of row 3, column 4; and a point a metre off the corner of row 39, column 49.
    points = [Point(LEFT + 135, TOP - 105), Point(LEFT + 1499, TOP - 1199)]
    found = read(written(tmp_path, points, ["a", "b"]))
    assert found.places.tolist() == [[3, 4], [39, 49]]
    assert found.values.tolist() == [1, 2]


def test_another_crs_is_reprojected(tmp_path: Path) -> None:
    shapes = gpd.GeoSeries([square(2, 3, 10, 10), square(20, 10, 8, 8)], crs=UTM)
    moved = list(shapes.to_crs(4326))
    found = read(written(tmp_path, moved, ["a", "b"], crs="EPSG:4326"))
    assert (found.values == 1).sum() == 100
    assert (found.values == 2).sum() == 64


def test_a_polygon_that_crosses_itself_is_made_valid_and_said(tmp_path: Path) -> None:
    # A bow tie of two triangles, each a quarter of the square of 20 x 20 pixels.
    x0, y0, x1, y1 = square(0, 0, 20, 20).bounds
    tie = Polygon([(x0, y0), (x1, y1), (x1, y0), (x0, y1)])
    found = read(written(tmp_path, [tie, square(30, 30, 2, 2)], ["tie", "other"]))
    assert any("self-intersection" in note and "made valid" in note for note in found.notes)
    assert (found.values == found.classes.index("tie")).sum() == pytest.approx(200, abs=20)


def test_pixels_that_two_classes_claim_are_left_out_and_said(tmp_path: Path) -> None:
    found = read(written(tmp_path, [square(0, 0, 4, 4), square(2, 0, 4, 4)], ["a", "b"]))
    drawn = found.raster(40, 50)
    assert (drawn[2:4, :4] == 0).all()
    assert (drawn[:2, :4] == 1).all()
    assert (drawn[4:6, :4] == 2).all()
    assert any("8 pixels are claimed by two classes" in note for note in found.notes)


def test_a_class_that_others_cover_whole_is_no_class_and_said(tmp_path: Path) -> None:
    shapes = [square(0, 0, 4, 4), square(0, 0, 4, 4), square(0, 0, 8, 8), square(20, 20, 2, 2)]
    found = read(written(tmp_path, shapes, ["lost", "gone", "a", "b"]))
    assert found.classes == ("nodata", "a", "b")
    # Of the 64 pixels of a, the 16 that the others claim too are nobody's.
    assert np.bincount(found.values).tolist() == [0, 48, 4]
    for name in ("lost", "gone"):
        assert f"{name} has no pixel of its own: left out" in found.notes


def test_one_class_drawn_twice_over_a_pixel_counts_once(tmp_path: Path) -> None:
    shapes = [square(0, 0, 4, 4), square(2, 0, 4, 4), square(20, 20, 2, 2)]
    found = read(written(tmp_path, shapes, ["a", "a", "b"]))
    assert (found.values == 1).sum() == 24


def test_a_polygon_between_centres_labels_what_it_touches(tmp_path: Path) -> None:
    x, y = LEFT + 300, TOP - 300  # a corner of four pixels
    found = read(
        written(tmp_path, [box(x - 5, y - 5, x + 5, y + 5), square(0, 0, 2, 2)], [1.0, 2.0])
    )
    assert found.classes == ("nodata", "1", "2")
    assert sorted(map(tuple, found.places[found.values == 1].tolist())) == [
        (9, 9), (9, 10), (10, 9), (10, 10),
    ]  # fmt: skip
    assert any("hold no pixel's centre" in note for note in found.notes)


def test_labels_partly_outside_are_cut_and_those_all_outside_are_counted(tmp_path: Path) -> None:
    shapes = [square(-5, -5, 10, 10), square(20, 20, 2, 2), square(100, 100, 5, 5)]
    found = read(written(tmp_path, shapes, ["a", "b", "a"]))
    assert (found.values == 1).sum() == 25
    assert any("1 features lie outside" in note for note in found.notes)


def test_features_without_class_or_geometry_are_left_out_and_said(tmp_path: Path) -> None:
    shapes = [square(0, 0, 2, 2), square(5, 5, 2, 2), square(9, 9, 2, 2), None]
    found = read(written(tmp_path, shapes, ["a", None, "b", "b"]))
    assert any("feature 1 has no class" in note for note in found.notes)
    assert any("feature 3 has no geometry" in note for note in found.notes)
    assert found.classes == ("nodata", "a", "b")


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize(
    ("shapes", "names", "crs", "said"),
    [
        ([square(200, 200, 5, 5), square(300, 300, 5, 5)], ["a", "b"], UTM, "within the scene"),
        ([square(0, 0, 5, 5), square(9, 9, 5, 5)], ["a", "a"], UTM, "two classes at least"),
        ([LineString([(LEFT, TOP), (LEFT + 90, TOP - 90)])], ["a"], UTM, "polygons or points"),
        ([square(0, 0, 5, 5), square(9, 9, 5, 5)], ["a", "b"], None, "with a CRS"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(
    tmp_path: Path, shapes: list[Any], names: list[str], crs: Any, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        read(written(tmp_path, shapes, names, crs))


def test_a_wrong_field_names_the_right_ones(tmp_path: Path) -> None:
    path = written(tmp_path, [square(0, 0, 5, 5)], ["a"])
    with pytest.raises(DataError, match="kind"):
        labels.read(path, GRID, field="klass")


def test_a_field_that_numbers_features_is_refused(tmp_path: Path) -> None:
    shapes = [square(i // 40, i % 40, 1, 1) for i in range(300)]
    with pytest.raises(DataError, match="254"):
        read(written(tmp_path, shapes, list(range(300))))


def test_a_file_of_several_layers_needs_one_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.gpkg"
    for layer, row in (("one", 0), ("two", 20)):
        shapes = [square(row, 0, 5, 5), square(row, 9, 5, 5)]
        table = gpd.GeoDataFrame({"kind": ["a", "b"], "geometry": shapes}, crs=UTM)
        table.to_file(path, layer=layer, driver="GPKG")
    with pytest.raises(DataError, match="one, two"):
        read(path)
    with pytest.raises(DataError, match="one, two"):
        labels.read(path, GRID, field="kind", layer="three")
    assert labels.read(path, GRID, field="kind", layer="two").places[:, 0].min() == 20


def test_missing_and_damaged_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="isn't there"):
        read(tmp_path / "none.gpkg")
    damaged = tmp_path / "damaged.gpkg"
    damaged.write_bytes(b"SQLite format 3\0 and no more")
    with pytest.raises(DataError, match="can't be read"):
        read(damaged)


def test_a_scene_without_crs_cannot_be_labelled(tmp_path: Path) -> None:
    path = written(tmp_path, [square(0, 0, 5, 5), square(9, 9, 5, 5)], ["a", "b"])
    with pytest.raises(DataError, match="labels: a raster with a CRS"):
        read(path, Grid(None, Affine.identity(), 40, 50))


def raster(folder: Path, values: Any, transform: Affine = GRID.transform) -> Path:
    path = folder / "labels.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=values.shape[1], height=values.shape[0], count=1,
        dtype="uint8", crs=UTM, transform=transform, nodata=0,
    ) as file:  # fmt: skip
        file.write(values, 1)
    return path


def test_a_raster_of_classes_labels_its_pixels_and_leaves_out_rare_classes(tmp_path: Path) -> None:
    values = np.zeros((40, 50), np.uint8)
    values[:10], values[20:30], values[39, :5] = 3, 7, 9
    found = labels.read(raster(tmp_path, values), GRID)
    assert found.is_raster
    assert found.classes == ("nodata", "class 3", "class 7")
    assert (found.values == 1).sum() == (found.values == 2).sum() == 500
    assert any("class 9 has 5 pixels alone" in note for note in found.notes)


def test_a_raster_on_another_grid_gives_its_nearest_pixels(tmp_path: Path) -> None:
    # Pixels of 60 m: each covers four of the scene's.
    values = np.ones((20, 25), np.uint8)
    values[:, 10:] = 2
    path = raster(tmp_path, values, Affine(60, 0, LEFT, 0, -60, TOP))
    found = labels.read(path, GRID)
    drawn = found.raster(40, 50)
    assert (drawn[:, :20] == 1).all()
    assert (drawn[:, 20:] == 2).all()
    assert any("another grid" in note for note in found.notes)


def test_a_raster_elsewhere_is_refused(tmp_path: Path) -> None:
    values = np.ones((20, 25), np.uint8)
    far = raster(tmp_path, values, Affine(30, 0, LEFT + 1e5, 0, -30, TOP))
    with pytest.raises(DataError, match="within the scene"):
        labels.read(far, GRID)
