"""`change`: what it refuses, what it writes, and that it says the same as the scenes do."""

import contextlib
import dataclasses
import functools
import io
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.vrt import WarpedVRT
from rio_cogeo import cog_validate

from fieldsight.pipelines.__main__ import main
from fieldsight.pipelines.deforestation import _change_raster


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, two_dates: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("model")
    rule = {"threshold": 0.5, "smoothing": 1, "opening": 1, "min_ha": 9}
    difference = {"drop": 0.2, "floor": 0.6, "opening": 0, "min_ha": 9}
    return two_dates.save(
        folder / "map.keras", two_dates.seeing(),
        change={"network": rule, "difference": difference},
    )  # fmt: skip


def run(model: Path, out: Path, *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Run `change`: its exit code, its figures and what it said."""
    told, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(said):
        code = main([
            "deforestation", "change", *map(str, arguments), "--out", str(out),
            "--model", str(model), "--json",
        ])  # fmt: skip
    return code, json.loads(told.getvalue()) if told.getvalue().strip() else {}, said.getvalue()


@pytest.fixture
def ask(model: Path, tmp_path: Path) -> Any:
    """Runs `change` into the folder `out`."""
    return functools.partial(run, model, tmp_path / "out")


@pytest.fixture
def pair(tmp_path: Path, two_dates: ModuleType) -> tuple[Path, Path]:
    found: tuple[Path, Path] = two_dates.write_pair(tmp_path)
    return found


@dataclasses.dataclass(frozen=True)
class Answer:
    """What `change` said of the place, once for all who look at it."""

    before: Path
    out: Path
    code: int
    found: dict[str, Any]


@pytest.fixture(scope="module")
def answer(model: Path, tmp_path_factory: pytest.TempPathFactory, two_dates: ModuleType) -> Answer:
    folder = tmp_path_factory.mktemp("place")
    before, after = two_dates.write_pair(folder)
    code, found, _ = run(model, folder / "out", before, after)
    return Answer(before, folder / "out", code, found)


def test_new_clearings_become_polygons_with_hectares_and_dates(answer: Answer) -> None:
    found = answer.found
    assert answer.code == 0
    assert found["new_clearings"] == 3
    assert found["dates"] == ["2017-08-01", "2018-08-05"]
    # The zone's scale at 300 km easting is 0.9996 (1 + (200 / 6378)^2 / 2) = 1.00009.
    assert found["new_ha"] == pytest.approx(3 * 0.81, rel=0.01)  # corners are rounded
    table = geopandas.read_file(answer.out / "new_clearings.gpkg")
    assert len(table) == 3
    assert table.crs.to_epsg() == 32720
    assert table["area_ha"].to_numpy() == pytest.approx(table.area.to_numpy() / 1e4, rel=1e-3)
    assert str(table["date_before"].iloc[0])[:10] == "2017-08-01"
    assert str(table["date_after"].iloc[0])[:10] == "2018-08-05"
    assert (table["confidence"] > 0.9).all()
    assert table["simulated"].all()
    with rasterio.open(answer.out / "change.tif") as raster, rasterio.open(answer.before) as scene:
        assert (raster.crs, raster.transform, raster.shape) == (
            scene.crs, scene.transform, scene.shape,
        )  # fmt: skip
        values = raster.read(1)
        assert json.loads(raster.tags()["FIELDSIGHT_CLASSES"]) == list(_change_raster.CLASSES)
        assert raster.tags()["FIELDSIGHT_DATES"] == "2017-08-01 to 2018-08-05"
    assert (values == _change_raster.NEW).sum() == pytest.approx(3 * 900, abs=40)
    # The pasture of 30 x 40 pixels was no forest before (D-12).
    assert (values[120:150, 110:150] == _change_raster.ELSE).mean() > 0.99


def test_the_difference_of_ndvi_stands_beside_it(answer: Answer) -> None:
    found = answer.found
    # What is green again is missed by it.
    assert found["classical"]["index"] == "NDVI"
    assert found["classical"]["new_clearings"] == 2
    assert found["classical"]["both_ha"] == pytest.approx(2 * 0.81, rel=0.02)
    table = geopandas.read_file(answer.out / "difference.gpkg")
    assert table["model"].iloc[0] == "difference of NDVI, no model"


def test_d_14_outputs_are_what_other_tools_read(answer: Answer) -> None:
    out = answer.out
    for name in ("change.tif", "change_probability.tif"):
        valid, errors, _ = cog_validate(out / name)
        assert valid, errors
    item = json.loads((out / "change.json").read_text())
    assert {asset["href"] for asset in item["assets"].values()} <= {
        f"./{path.name}" for path in out.iterdir()
    } | {path.name for path in out.iterdir()}
    assert item["properties"]["fieldsight:date_before"] == "2017-08-01"
    assert "not estimated" in (out / "change_hectares.csv").read_text()
    with Image.open(out / "change.png") as picture:
        assert min(picture.size) > 400
    assert not list(out.glob(".*"))


def test_d_11_clouds_of_either_date_are_masked(
    ask: Any, tmp_path: Path, two_dates: ModuleType
) -> None:
    pair = two_dates.write_pair(tmp_path, cloud=two_dates.CLEARED[0])
    _, found, _ = ask(*pair)
    assert found["new_clearings"] == 2
    # A cloud of 40 x 40 pixels from row and column 15 on, with 10 more on every side: what a mask
    # misses of its ends.
    assert found["hectares"]["under clouds"] == pytest.approx(60 * 60 * 9 / 1e4, rel=1e-3)


def test_d_12_the_minimum_mapping_unit_holds_in_polygons_and_raster_alike(
    ask: Any, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    _, found, told = ask(*pair, "--min-ha", "1")
    assert found["new_clearings"] == 0
    assert found["hectares"]["new clearing"] == 0
    assert found["smaller_ha"] == pytest.approx(3 * 0.81, rel=0.01)
    assert "3 patches with less than 1 ha of a probability of 0.8" in told
    layer = pyogrio.read_dataframe(tmp_path / "out" / "new_clearings.gpkg")
    assert len(layer) == 0  # C-11: an empty answer is an answer


def test_d_6_the_answer_doesnt_depend_on_windows_and_bands(
    ask: Any, answer: Answer, pair: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(_change_raster, "BAND", 160 * 7)
    ask(*pair, "--window", "48")
    rasters = []
    for out in (answer.out, tmp_path / "out"):
        with rasterio.open(out / "change.tif") as raster:
            rasters.append(raster.read(1))
    assert np.array_equal(*rasters)


def test_d_12_without_reflectance_it_is_refused(ask: Any, pair: tuple[Path, Path]) -> None:
    # The same pixels under a name that no product has.
    plain = [path.rename(path.with_name(f"scene{n}.tif")) for n, path in enumerate(pair)]
    code, _, told = ask(*plain, "--bands", "blue,green,red,nir")
    assert code == 2
    assert "metadata tell their reflectance" in told


def test_d_11_dates_that_lie_apart_are_refused_or_moved_as_asked(
    ask: Any, tmp_path: Path, two_dates: ModuleType
) -> None:
    pair = two_dates.write_pair(tmp_path, moved=(3, -2))
    code, _, told = ask(*pair)
    assert code == 2
    assert "pixels (+" in told
    assert "--resample" in told
    code, found, told = ask(*pair, "--resample")
    assert code == 0
    assert found["shift_px"] == pytest.approx([3, -2], abs=0.1)
    assert found["new_clearings"] == 3
    assert found["new_ha"] == pytest.approx(3 * 0.81, rel=0.1)
    assert "was moved back" in told


def test_d_5_another_grid_is_refused_or_resampled_as_asked(
    ask: Any, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere" / pair[1].name
    other.parent.mkdir()
    # The neighbouring zone's CRS, of which no pixel is a pixel of the first.
    with rasterio.open(pair[1]) as scene, WarpedVRT(
        scene, crs="EPSG:32721", resampling=rasterio.warp.Resampling.cubic
    ) as warped:  # fmt: skip
        profile = warped.profile | {"driver": "GTiff"}
        with rasterio.open(other, "w", **profile) as file:
            file.write(warped.read())
            file.update_tags(FIELDSIGHT_SIMULATED="1")
    code, _, told = ask(pair[0], other)
    assert code == 2
    assert "EPSG:32721" in told
    code, found, told = ask(pair[0], other, "--resample")
    assert code == 0
    assert found["new_clearings"] == 3
    assert found["new_ha"] == pytest.approx(3 * 0.81, rel=0.15)
    assert "no mask of clouds" in told  # it wasn't copied along


def test_scenes_that_dont_overlap_are_refused(
    ask: Any, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    for path in (pair[1], pair[1].with_name(pair[1].name.replace("AnalyticMS_SR", "udm2"))):
        with rasterio.open(path, "r+") as file:
            file.transform = Affine(3, 0, 400_000, 0, -3, 9_000_000)
    code, _, told = ask(*pair, "--resample")
    assert code == 2
    assert "don't overlap" in told


def test_dates_must_be_in_their_order(ask: Any, pair: tuple[Path, Path]) -> None:
    code, _, told = ask(pair[1], pair[0])
    assert code == 2
    assert "Swap them" in told


def test_two_scenes_of_one_date_are_told_as_such(ask: Any, pair: tuple[Path, Path]) -> None:
    code, _, told = ask(pair[0], pair[0])
    assert code == 2
    assert "two dates" in told
    assert "Swap" not in told


def test_d_12_another_season_is_warned_of(ask: Any, tmp_path: Path, two_dates: ModuleType) -> None:
    pair = two_dates.write_pair(tmp_path, dates=("20170801", "20180205"))
    code, found, told = ask(*pair)
    assert code == 0
    # August the 1st is day 213, February the 5th day 36: 177 days.
    assert "177 days of the year apart" in told
    assert any("one season" in note for note in found["notes"])


def test_c_10_a_real_scene_isnt_mapped_by_a_model_of_simulated_ones(
    ask: Any, pair: tuple[Path, Path]
) -> None:
    for path in pair:
        with rasterio.open(path, "r+") as file:
            file.update_tags(FIELDSIGHT_SIMULATED="0")
    code, _, told = ask(*pair)
    assert code == 2
    assert "--allow-simulated" in told
    code, found, _ = ask(*pair, "--allow-simulated")
    assert code == 0
    assert any("SIMULATED" in note for note in found["notes"])


def test_a_truncated_scene_is_told_and_leaves_nothing(
    ask: Any, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    content = pair[1].read_bytes()
    pair[1].write_bytes(content[: len(content) // 2])
    code, _, told = ask(*pair)
    assert code == 2
    assert pair[1].name in told
    assert not (tmp_path / "out" / "change.tif").exists()


def test_an_answer_of_before_is_replaced_whole(
    ask: Any, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "difference.gpkg").write_text("of another pair")
    (out / "classes.tif").write_text("of map")
    # Without red there is no NDVI, and what an earlier pair left of it must go.
    code, found, told = ask(*pair, "--bands", "blue,green,swir1,nir", "--min-ha", "0.6")
    assert code == 2
    assert "red" in told
    assert (out / "difference.gpkg").exists()
    code, found, _ = ask(*pair, "--min-ha", "0.6")
    assert code == 0
    assert found["new_clearings"] == 3
    assert len(geopandas.read_file(out / "difference.gpkg")) == 2
    assert (out / "classes.tif").read_text() == "of map"


def test_a_killed_run_goes_on_with_the_maps_it_has(
    ask: Any, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldsight.pipelines.deforestation import _change_outputs

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_change_outputs, "write_all", stopped)
        ask(*pair)
    unfinished = tmp_path / "out" / ".unfinished-change"
    assert (unfinished / "before" / "state.json").exists()
    code, found, told = ask(*pair)
    assert code == 0
    assert "going on where an earlier run stopped" in told
    assert found["new_clearings"] == 3
    assert not unfinished.exists()


def test_nothing_is_asked_for_that_cant_be(ask: Any, pair: tuple[Path, Path]) -> None:
    code, _, told = ask(*pair, "--min-ha", "-1")
    assert code == 2
    assert "--min-ha" in told
    code, _, told = ask(*pair, "--forest", "jungle")
    assert code == 2
    assert "of forest, clearing. Received: jungle" in told


def test_what_lies_beyond_the_later_scene_isnt_compared(
    ask: Any, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    half = tmp_path / "half" / pair[1].name
    half.parent.mkdir()
    with rasterio.open(pair[1]) as scene:
        part = scene.read(window=((0, 90), (0, 160)))
        with rasterio.open(half, "w", **(scene.profile | {"height": 90})) as file:
            file.write(part)
            file.update_tags(**scene.tags())
    mask = pair[1].with_name(pair[1].name.replace("AnalyticMS_SR", "udm2"))
    with rasterio.open(mask) as usable:
        part = usable.read(window=((0, 90), (0, 160)))
        target = half.parent / mask.name
        with rasterio.open(target, "w", **(usable.profile | {"height": 90})) as file:
            file.write(part)
    code, found, told = ask(pair[0], half, "--resample")
    assert code == 0
    assert found["new_clearings"] == 2
    assert found["hectares"]["nodata"] == pytest.approx(70 * 160 * 9 / 1e4, rel=0.02)
    assert "covers 56%" in told
    assert math.isclose(sum(found["hectares"].values()), 160 * 160 * 9 / 1e4, rel_tol=1e-3)


def test_help_is_there_without_the_trades_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["deforestation", "change", "--help"])
    assert "--min-ha" in capsys.readouterr().out


def test_the_picture_shows_what_was_found(answer: Answer) -> None:
    with Image.open(answer.out / "change.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for colour in (_change_raster.COLOURS[3], _change_raster.COLOURS[2]):
        assert (pixels == colour).all(axis=1).any()
