"""`assess`: a sample drawn, labelled in a GIS, and hectares estimated from it (D-13)."""

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine

from fieldsight.pipelines.__main__ import main

NAMES = ("nodata", "forest", "clearing")
SIDE = 300
HECTARES = 0.09  # a pixel of 30 m


def run(*arguments: object) -> tuple[int, dict[str, Any], str]:
    """Run `assess`: its exit code, its figures and what it said."""
    told, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(said):
        code = main(["deforestation", "assess", *map(str, arguments), "--json"])
    return code, json.loads(told.getvalue()) if told.getvalue().strip() else {}, said.getvalue()


def write_map(path: Path, values: Any, names: tuple[str, ...] = NAMES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=values.shape[1], height=values.shape[0], count=1,
        dtype="uint8", crs="EPSG:32720", nodata=0, transform=Affine(30, 0, 5e5, 0, -30, 9e6),
    ) as file:  # fmt: skip
        file.write(values.astype(np.uint8), 1)
        file.update_tags(
            FIELDSIGHT_CLASSES=json.dumps(names),
            FIELDSIGHT_MODEL="a mapper",
            FIELDSIGHT_SIMULATED="1",
        )
    return path


@pytest.fixture
def truth() -> Any:
    """A forest with a fifth cleared, in blocks."""
    values = np.ones((SIDE, SIDE), np.uint8)
    values[:, :60] = 2
    return values


@pytest.fixture
def folder(tmp_path: Path, truth: Any) -> Path:
    """What `map` left: a map that misses a fourth of the clearings and invents some."""
    mapped = truth.copy()
    mapped[:, 45:60] = 1
    mapped[:6, 60:] = 2
    mapped[-3:] = 0
    write_map(tmp_path / "map" / "classes.tif", mapped)
    return tmp_path / "map"


def label(path: Path, truth: Any, change: dict[int, Any] | None = None) -> None:
    """What an interpreter does, who sees the truth."""
    points = geopandas.read_file(path, layer="sample")
    rows = ((9e6 - points.geometry.y) // 30).astype(int)
    columns = ((points.geometry.x - 5e5) // 30).astype(int)
    points["reference"] = [NAMES[value] for value in truth[rows, columns]]
    for unit, text in (change or {}).items():
        points.loc[points["id"] == unit, "reference"] = text
    points.to_file(path, layer="sample", driver="GPKG")


def test_d_13_the_estimate_holds_the_true_hectares_where_the_map_doesnt(
    folder: Path, truth: Any
) -> None:
    code, drawn, _ = run(folder, "--sample", 400)
    assert code == 0
    assert drawn["sample"] == str(folder / "sample.gpkg")
    assert sum(one["units"] for one in drawn["strata"]) == 400
    label(folder / "sample.gpkg", truth)
    code, found, _ = run(folder, "--labels", folder / "sample.gpkg")
    assert code == 0
    clearing = found["classes"][1]
    true_ha = 60 * (SIDE - 3) * HECTARES
    assert clearing["mapped_ha"] == pytest.approx((45 * (SIDE - 3) + 6 * 240) * HECTARES, rel=1e-3)
    assert clearing["estimated_ha"]["low"] < true_ha < clearing["estimated_ha"]["high"]
    estimated = clearing["estimated_ha"]["value"]
    assert abs(estimated - true_ha) < abs(clearing["mapped_ha"] - true_ha)
    # What is mapped as clearing: 45 columns, right, and 6 rows of 240 that were invented.
    right = 45 * (SIDE - 3) / (45 * (SIDE - 3) + 6 * 240)
    accuracy = clearing["users_accuracy"]
    assert accuracy["low"] < right < accuracy["high"]
    assert clearing["producers_accuracy"]["low"] < 0.76 < clearing["producers_accuracy"]["high"]
    assert found["method"].startswith("estimated")
    assert found["model"] == "a mapper"
    assert found["scene"] == "SIMULATED"


def test_the_estimates_stand_in_json_and_csv_beside_the_map(folder: Path, truth: Any) -> None:
    run(folder, "--sample", 60)
    label(folder / "sample.gpkg", truth)
    _, found, _ = run(folder, "--labels", folder / "sample.gpkg")
    assert json.loads((folder / "estimates.json").read_text()) == found
    with (folder / "estimates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["forest", "clearing"]
    assert float(rows[0]["estimated_ha_low"]) == pytest.approx(
        found["classes"][0]["estimated_ha"]["low"], abs=1e-5
    )


def test_what_is_drawn_is_the_same_with_the_same_seed(folder: Path, tmp_path: Path) -> None:
    tables = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(folder, "--sample", 50, "--seed", seed, "--out", tmp_path / f"{name}.gpkg")
        tables.append(geopandas.read_file(tmp_path / f"{name}.gpkg", layer="sample").geometry)
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_d_13_what_lies_under_clouds_is_no_stratum(tmp_path: Path, truth: Any) -> None:
    names = ("nodata", "not forest before", "forest, not cleared", "new clearing", "under clouds")
    values = truth.copy() + 1
    values[:50] = 4
    write_map(tmp_path / "change.tif", values, names)
    code, drawn, _ = run(tmp_path, "--sample", 40)
    assert code == 0
    assert [one["class"] for one in drawn["strata"]] == ["forest, not cleared", "new clearing"]


def test_few_units_of_a_class_are_told(folder: Path, truth: Any) -> None:
    run(folder, "--sample", 12, "--minimum", 3)
    forest_alone = np.ones_like(truth)
    label(folder / "sample.gpkg", forest_alone, {1: "?"})
    code, found, _ = run(folder, "--labels", folder / "sample.gpkg")
    assert code == 0
    assert any("clearing was seen in 0 units" in note for note in found["notes"])
    assert any("1 units couldn't be read" in note for note in found["notes"])
    assert found["classes"][1]["producers_accuracy"]["value"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sample", 10, "--labels", "sample.gpkg"), "Received: both"),
        (("--labels", "nowhere.gpkg"), "a sample that `assess` drew was needed"),
        (("--sample", 3), "Draw more"),
        (("--out", "sample.shp"), "ends in .gpkg"),
    ],
)
def test_what_cant_be_done_is_told(
    folder: Path, arguments: tuple[object, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    code, _, told = run(folder, *arguments)
    assert code == 2
    assert said in told


def test_a_folder_without_a_map_and_one_with_two_are_told(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, told = run(empty)
    assert code == 2
    assert "with neither" in told
    write_map(folder / "change.tif", np.ones((4, 4), np.uint8))
    code, _, told = run(folder)
    assert code == 2
    assert "Name the file that is meant" in told
    code, _, told = run(tmp_path / "nowhere")
    assert code == 2
    assert "isn't there" in told


def test_every_unlabelled_unit_is_told(folder: Path) -> None:
    run(folder, "--sample", 20)
    code, _, told = run(folder, "--labels", folder / "sample.gpkg")
    assert code == 2
    assert "unit 1 has no reference" in told
    assert "and 10 more" in told
    assert not (folder / "estimates.json").exists()
