"""`fieldsight deforestation map`: from scenes of any place to files that a GIS opens."""

import csv
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rio_cogeo import cog_validate
from scipy import ndimage

from fieldsight.core import runtime
from fieldsight.core.architectures import unet
from fieldsight.datasets import scenes
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.findings import Provenance
from fieldsight.datasets.grids import Grid
from fieldsight.pipelines import _models
from fieldsight.pipelines.__main__ import main
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._models import Card, ModelFile, save_model
from fieldsight.pipelines.deforestation import _fields, _map, _map_model
from fieldsight.pipelines.deforestation._map_model import MapModel

BANDS = ("blue", "green", "red", "nir")
CLASSES = ("nodata", "forest", "clearing", "water")
FILES = {
    "probability.tif", "classes.tif", "clearings.gpkg", "hectares.csv", "item.json",
    "quicklook.png", "probability.qml", "classes.qml", "clearings.qml",
}  # fmt: skip
UTM = Affine(3, 0, 300_000.123456789, 0, -3.0000001, 9_000_000.7)
PLACES: dict[str, tuple[int, Affine]] = {
    "UTM": (32721, UTM),
    "degrees": (4326, Affine(0.000027, 0, -60.123456789, 0, -0.000027, -9.1)),
    "across the antimeridian": (4326, Affine(0.000027, 0, 179.998, 0, -0.000027, -9.1)),
    "Web Mercator": (3857, Affine(10 / 3, 0, -6e6 - 1 / 3, 0, -10 / 3, -3e6)),
    "rotated": (32721, Affine(2.9, 0.7, 300_000.1, 0.7, -2.9, 9_000_000)),
}


def network(bands: int = 4, seed: int = 0) -> keras.Model:
    """A small U-Net with random weights that sees numbers around 1,000."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None, None, bands))
    x = keras.layers.Normalization(mean=[1000.0] * bands, variance=[5e5] * bands)(inputs)
    return keras.Model(inputs, unet((None, None, bands), 3, filters=4, depth=2)(x), name="mapper")


def facts(**other: Any) -> dict[str, Any]:
    told = {
        "bands": list(BANDS), "units": "digital numbers", "ground_sampling_distance_m": 3.0,
        "classes": list(CLASSES), "output": "logits",
    }  # fmt: skip
    return {**told, **other}


def card(**other: Any) -> Card:
    """A card; facts are replaced one by one."""
    told: dict[str, Any] = {
        "name": "fieldsight-deforestation-map-test", "application": "deforestation-map",
        "architecture": "unet", "data": "random weights", "simulated": False,
        "data_fingerprint": "0", "split_fingerprint": "0", "intended_use": "tests",
        "limits": "all", "facts": facts(**other.pop("facts", {})),
    }  # fmt: skip
    return Card(**{**told, **other})


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "mapper.keras"
    save_model(network(), path, card())
    return path


@pytest.fixture(autouse=True)
def _on_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports to other runtimes take seconds, and have tests of their own."""
    keras_alone = functools.partial(runtime.predictor, runtime="keras")
    monkeypatch.setattr(
        runtime, "predictor", lambda model, runtime="auto", **asked: keras_alone(model)
    )


@pytest.fixture(scope="module")
def satellite() -> Path:
    """The folder of real satellite pictures; skips where it is absent."""
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "satellite"
    if not folder.is_dir():
        pytest.skip(f"real pictures aren't in {folder}; name their data folder in FIELDSIGHT_DATA")
    return folder


def pixels(rows: int, columns: int, bands: int = 4) -> NDArray[np.uint16]:
    """Smooth ground and noise, a corner without data."""
    rng = np.random.default_rng(1)
    ground = ndimage.gaussian_filter(rng.normal(1000, 3000, (rows, columns, bands)), (4, 4, 0))
    values = np.clip(ground + rng.normal(0, 60, ground.shape), 1, 9000).astype(np.uint16)
    y, x = np.mgrid[:rows, :columns]
    values[x + 2 * y < rows // 2] = 0
    return values


def write_scene(
    path: Path, values: NDArray[Any], place: str = "UTM", *, crs: bool = True, **profile: Any
) -> Path:
    code, transform = PLACES[place]
    rows, columns, bands = values.shape
    asked = {
        "driver": "GTiff", "height": rows, "width": columns, "count": bands,
        "dtype": values.dtype.name, "nodata": 0, "transform": transform,
        "crs": CRS.from_epsg(code) if crs else None, **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", **asked) as file:
        file.write(np.moveaxis(values, -1, 0))
    return path


def ready(path: Path, **asked: Any) -> MapModel:
    return _map_model.load(ModelFile(path, _models.read_card(path), "a mapper"), **asked)


def mapped(scene: Path, model: MapModel, out: Path, **asked: Any) -> Any:
    bands = list(BANDS) if rasterio.open(scene).count == 4 else None
    with scenes.open_scene(scene, bands) as opened:
        view = _map_model.fitting(opened, model, allow_simulated=True)
        return _map.map_scene(opened, view, model, out, quiet=True, **asked)


def command(*words: object) -> int:
    return main(["deforestation", "map", *map(str, words)])


# What comes out


@pytest.mark.parametrize("place", PLACES)
def test_every_output_lies_where_the_scene_does_to_the_last_digit(
    tmp_path: Path, model_file: Path, place: str
) -> None:  # D-4, D-5, D-14
    values = pixels(150, 170)
    scene = write_scene(tmp_path / "scene.tif", values, place)
    out = tmp_path / "out"
    found = mapped(scene, ready(model_file), out)
    assert {path.name for path in out.iterdir()} == FILES
    with rasterio.open(scene) as source:
        grid = Grid(source.crs, source.transform, source.height, source.width)
        for name, nodata, count in (("probability.tif", 255, 3), ("classes.tif", 0, 1)):
            assert cog_validate(out / name, strict=True)[0]
            with rasterio.open(out / name) as written:
                assert written.crs == source.crs
                assert tuple(written.transform) == tuple(source.transform)
                assert written.bounds == source.bounds
                assert written.shape == source.shape
                assert (written.nodata, written.count) == (nodata, count)
                lost = written.read(1) == nodata
                np.testing.assert_array_equal(lost, (values == 0).all(axis=-1))
    table = pyogrio.read_dataframe(out / "clearings.gpkg")
    with rasterio.open(out / "classes.tif") as written:
        classes = written.read(1)
        assert written.colormap(1)[2][:3] == (240, 196, 96)
    areas = grid.pixel_areas_m2()
    clearing_ha = areas[classes == 2].sum() / 1e4
    assert len(table) > 3
    assert table.crs == grid.crs.to_wkt()
    # The figure: polygons and pixels agree within 0.1 % in an equal-area projection.
    assert table.to_crs(grid.equal_area).area.sum() / 1e4 == pytest.approx(clearing_ha, rel=1e-3)
    assert table.area_ha.sum() == pytest.approx(clearing_ha, rel=1e-9)
    assert table.confidence.between(1 / 3 - 0.01, 1).all()
    rows = {row["class"]: row for row in csv.DictReader((out / "hectares.csv").open())}
    assert float(rows["clearing"]["hectares"]) == pytest.approx(clearing_ha, abs=1e-4)
    assert sum(float(row["hectares"]) for row in rows.values()) == pytest.approx(
        areas.sum() / 1e4, rel=1e-4
    )
    item = json.loads((out / "item.json").read_text())
    assert item["properties"]["proj:transform"] == list(grid.transform)[:6]
    assert {one["href"].removeprefix("./") for one in item["assets"].values()} == FILES - {
        "item.json"
    }
    assert not found.empty


def test_the_answer_is_the_networks_own(tmp_path: Path, model_file: Path) -> None:  # D-2
    values = pixels(96, 112)
    mapped(write_scene(tmp_path / "s.tif", values), ready(model_file), tmp_path / "out")
    logits = np.asarray(network().predict_on_batch(values[None].astype(np.float32)))[0]
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    with rasterio.open(tmp_path / "out" / "probability.tif") as file:
        written = np.moveaxis(file.read(), 0, -1) * file.scales[0]
        assert file.descriptions == CLASSES[1:]
    known = values.any(axis=-1)
    assert np.abs(written - shares)[known].max() <= 0.5 / 200 + 1e-4


def test_the_map_does_not_depend_on_the_window(tmp_path: Path, model_file: Path) -> None:  # D-6
    scene = write_scene(tmp_path / "s.tif", pixels(301, 283), tiled=True)  # off every grid
    model = ready(model_file)
    found = {}
    for window in (64, 128, 512):
        mapped(scene, model, tmp_path / str(window), window=window)
        with rasterio.open(tmp_path / str(window) / "probability.tif") as file:
            found[window] = file.read().astype(int)
    for window in (64, 128):
        # Rounding of the last digits may move what is stored by a step.
        assert np.abs(found[window] - found[512]).max() <= 1
        assert (found[window] != found[512]).mean() < 1e-3
    assert (found[64][:, -1, -1] != 255).all()


def test_averaging_makes_a_map_that_turns_with_the_scene(tmp_path: Path, model_file: Path) -> None:
    values = pixels(96, 96)
    model = ready(model_file, average=True)
    turned = np.ascontiguousarray(np.rot90(values))
    for name, picture in (("a", values), ("b", turned)):
        mapped(write_scene(tmp_path / f"{name}.tif", picture), model, tmp_path / name)
    with rasterio.open(tmp_path / "a" / "probability.tif") as file:
        first = file.read().astype(int)
    with rasterio.open(tmp_path / "b" / "probability.tif") as file:
        second = file.read().astype(int)
    assert np.abs(np.rot90(first, axes=(1, 2)) - second).max() <= 1


def test_a_scene_without_data_gives_an_empty_result_that_says_so(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # D-4, C-11
    scene = write_scene(tmp_path / "s.tif", np.zeros((90, 80, 4), np.uint16))
    assert command(scene, "--out", tmp_path / "out", "--model", model_file) == 0
    told = capsys.readouterr()
    assert "no pixel has data: nothing was mapped" in told.err
    assert "nothing mapped" in told.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert len(pyogrio.read_dataframe(tmp_path / "out" / "clearings.gpkg")) == 0
    with rasterio.open(tmp_path / "out" / "classes.tif") as file:
        assert not file.read().any()
    item = json.loads((tmp_path / "out" / "item.json").read_text())
    assert any("nothing was mapped" in note for note in item["properties"]["fieldsight:notes"])


def test_a_real_scene_keeps_nodata_nodata(tmp_path: Path, satellite: Path) -> None:  # D-4
    scene = satellite / "rasterio_landsat7" / "RGB.byte.tif"
    told = facts(bands=["red", "green", "blue"], ground_sampling_distance_m=300.0)
    path = tmp_path / "rgb.keras"
    save_model(network(3), path, card(facts=told))
    mapped(scene, ready(path), tmp_path / "out")
    with rasterio.open(scene) as source:
        seen = source.dataset_mask() > 0
        crs, transform = source.crs, source.transform
    assert 0.6 < seen.mean() < 0.7  # its footprint is rotated
    for name, nodata in (("probability.tif", 255), ("classes.tif", 0)):
        with rasterio.open(tmp_path / "out" / name) as file:
            np.testing.assert_array_equal(file.read(1) != nodata, seen)
            np.testing.assert_array_equal(file.dataset_mask() > 0, seen)
            assert (file.crs, file.transform) == (crs, transform)


def test_what_is_learned_from_is_what_is_mapped_whatever_nodata_is(tmp_path: Path) -> None:  # D-4
    values = pixels(64, 64)
    values[:20] = 65535
    path = tmp_path / "scene.tif"
    profile = {
        "driver": "GTiff", "height": 64, "width": 64, "count": 4, "dtype": "uint16",
        "nodata": 65535, "crs": "EPSG:32721", "transform": UTM,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(values, -1, 0))
    model = _map_model.of_network(network(), facts(), Provenance(model="m", simulated=False))
    whole = (slice(0, 64), slice(0, 64))
    with scenes.open_scene(path, BANDS) as scene:
        held, usable = _fields.hold(scene, tmp_path / "held.npy", whole)
        mapped = _map_model.Source(scene, model).read(whole)
    np.testing.assert_array_equal(held, mapped)
    assert not held[:20].any()
    np.testing.assert_array_equal(usable, np.arange(64)[:, None] * np.ones(64, int) >= 20)


def test_clouds_of_the_products_own_mask_are_not_mapped(tmp_path: Path, model_file: Path) -> None:
    values = pixels(60, 64)
    values[values == 0] = 1
    model = ready(model_file)
    scene = write_scene(tmp_path / "s.tif", values)

    class Cloudy:
        """The scene with a mask of clouds."""

        def __init__(self, under: Any) -> None:
            self.under = under

        def __getattr__(self, name: str) -> Any:
            return getattr(self.under, name)

        has_clouds = True

        def clouds(self, slices: Any) -> Any:
            return (np.mgrid[:60, :64][0] < 20)[slices]

    with scenes.open_scene(scene, BANDS) as opened:
        cloudy: Any = Cloudy(opened)
        found = _map.map_scene(cloudy, cloudy, model, tmp_path / "out", quiet=True)
    by_name = {one.name: one for one in found.counts}
    assert by_name["under clouds"].pixels == 20 * 64
    assert by_name["nodata"].pixels == 0
    with rasterio.open(tmp_path / "out" / "classes.tif") as file:
        classes = file.read(1)
    assert not classes[:20].any()
    assert classes[20:].all()


def test_areas_of_interest_are_counted_and_the_json_is_alone_on_stdout(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # D-13
    import geopandas
    import shapely

    scene = write_scene(tmp_path / "s.tif", pixels(100, 100))
    left, top = UTM.c, UTM.f
    park = shapely.box(left + 30, top - 240, left + 270, top - 60)
    table = geopandas.GeoDataFrame({"name": ["park"], "geometry": [park]}, crs=32721)
    table.to_crs(4326).to_file(tmp_path / "aoi.gpkg")
    words = ("--area", tmp_path / "aoi.gpkg", "--min-ha", 0.01, "--json")
    assert command(scene, "--out", tmp_path / "out", "--model", model_file, *words) == 0
    told = json.loads(capsys.readouterr().out)["scenes"]["s"]
    assert told["method"] == "mapped, not estimated"
    in_park = [one for one in told["hectares"] if one["area"] == "park"]
    # 240 m x 180 m of UTM, which here are 0.1 % less on the ground.
    assert sum(one["hectares"] for one in in_park) == pytest.approx(4.32, rel=0.02)
    polygons = pyogrio.read_dataframe(tmp_path / "out" / "clearings.gpkg")
    assert polygons.area_ha.min() >= 0.01


# Stopped on the way

STOPPED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_deforestation_map as here
from fieldsight.datasets.maps import rasters
rows, flush = 0, rasters.Raster.flush

def killed(self):
    global rows
    rows += 1
    if rows == 3:
        os._exit(9)
    flush(self)

rasters.Raster.flush = killed
model = here._map_model.of_network(
    here.network(), here.facts(), here.Provenance(model="a mapper", simulated=False),
    "keras",
)
here.mapped(Path(sys.argv[2]), model, Path(sys.argv[3]), window=int(sys.argv[4]))
"""


def test_a_run_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # D-6
    scene = write_scene(tmp_path / "s.tif", pixels(400, 90))
    made = Provenance(model="a mapper", simulated=False)
    model = _map_model.of_network(network(), facts(), made, "keras")
    mapped(scene, model, tmp_path / "whole", window=96)
    out = tmp_path / "out"
    out.mkdir()
    (out / "probability.tif").write_text("an earlier map")
    words = [str(Path(__file__).parent), str(scene), str(out), "96"]
    killed = subprocess.run([sys.executable, "-c", STOPPED, *words], check=False)
    assert killed.returncode == 9
    seen = {path.name for path in out.iterdir()}
    assert seen == {"probability.tif", ".unfinished"}
    assert (out / "probability.tif").read_text() == "an earlier map"
    state = json.loads((out / ".unfinished" / "state.json").read_text())
    through = state["rows"]
    windows: list[int] = []
    run = model.run

    class Counted:
        model = getattr(run, "model", None)

        def __call__(self, images: Any) -> Any:
            windows.append(len(images))
            return run(images)

    object.__setattr__(model, "run", Counted())
    capsys.readouterr()
    mapped(scene, model, out, window=96)
    assert "going on where an earlier run stopped" in capsys.readouterr().err
    assert {path.name for path in out.iterdir()} == FILES
    # One window a row. What was through isn't run again.
    assert 0 < len(windows) == _rows(state) - through
    for name in ("probability.tif", "classes.tif"):
        with (
            rasterio.open(out / name) as file,
            rasterio.open(tmp_path / "whole" / name) as whole,
        ):
            np.testing.assert_array_equal(file.read(), whole.read())


def _rows(state: dict[str, Any]) -> int:
    """Rows of windows, from where core.windows says that they lie."""
    from fieldsight.core.windows import plan

    return plan(state["side"], state["window"], margin=state["margin"], stride=state["stride"]).rows


def test_what_another_job_left_is_begun_anew(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_scene(tmp_path / "s.tif", pixels(90, 80))
    work = tmp_path / "out" / ".unfinished"
    work.mkdir(parents=True)
    (work / "job.json").write_text("{}")
    (work / "state.json").write_text('{"rows": 1}')
    mapped(scene, ready(model_file), tmp_path / "out")
    assert "of another scene, model or window: begun anew" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_one_run_at_a_time_maps_to_a_folder(tmp_path: Path, model_file: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", pixels(40, 40))
    with _map.locked(tmp_path / "out" / ".unfinished"), pytest.raises(CommandError, match="Wait"):
        mapped(scene, ready(model_file), tmp_path / "out")


def test_a_disk_too_small_is_told_before_anything_is_mapped(
    tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "s.tif", pixels(40, 40))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(CommandError, match=r"0\.01 GB of disk were needed.*0\.00 GB free"):
        mapped(scene, ready(model_file), tmp_path / "out")
    assert not (tmp_path / "out" / ".unfinished").exists()


# What doesn't fit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bands": ["blue", "green", "red", "swir1"]}, "swir1 was needed.*--bands"),
        ({"units": "reflectance"}, "whose metadata tell its reflectance"),
        ({"dtype": "uint8"}, "of uint8 numbers was needed.*of uint16"),
        ({"ground_sampling_distance_m": 30.0}, "about 30 m a pixel was needed.*of 3"),
    ],
)
def test_a_scene_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:  # C-10
    scene = write_scene(tmp_path / "s.tif", pixels(40, 40))
    made = Provenance(model="a mapper", simulated=False)
    model = _map_model.of_network(network(), facts(**change), made, "keras")
    with pytest.raises(CommandError, match=said.replace("was needed.*--bands", ".*--bands")):
        mapped(scene, model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bands_are_taken_by_name_whatever_their_order(
    tmp_path: Path, model_file: Path
) -> None:  # D-1
    values = pixels(50, 60)
    model = ready(model_file)
    mapped(write_scene(tmp_path / "a.tif", values), model, tmp_path / "a")
    path = write_scene(tmp_path / "b.tif", np.ascontiguousarray(values[..., ::-1]))
    with scenes.open_scene(path, BANDS[::-1]) as scene:
        view = _map_model.fitting(scene, model, allow_simulated=False)
        _map.map_scene(scene, view, model, tmp_path / "b", quiet=True)
    with (
        rasterio.open(tmp_path / "a" / "probability.tif") as a,
        rasterio.open(tmp_path / "b" / "probability.tif") as b,
    ):
        np.testing.assert_array_equal(a.read(), b.read())


def test_a_scene_without_crs_cannot_be_mapped(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_scene(tmp_path / "s.tif", pixels(40, 40), crs=False)
    assert command(scene, "--out", tmp_path / "out", "--model", model_file) == 2
    assert "with a CRS and a transform was needed. Received: no CRS" in capsys.readouterr().err


def test_a_scene_whose_crs_leads_nowhere_cannot_be_mapped(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_scene(tmp_path / "s.tif", pixels(40, 40))
    with rasterio.open(scene, "r+") as file:
        file.crs = 'LOCAL_CS["dam",UNIT["metre",1]]'
    assert command(scene, "--out", tmp_path / "out", "--model", model_file) == 2
    told = capsys.readouterr().err
    assert "a CRS that leads to longitude and latitude was needed. Received: dam." in told


def test_a_card_that_does_not_say_what_it_takes_is_refused(tmp_path: Path) -> None:  # C-10
    save_model(network(), tmp_path / "m.keras", card(facts={"bands": []}))
    with pytest.raises(CommandError, match="which lacks bands"):
        ready(tmp_path / "m.keras")
    save_model(network(), tmp_path / "n.keras", card(facts={"classes": ["nodata", "forest"]}))
    with pytest.raises(CommandError, match="to 1 classes was needed"):
        ready(tmp_path / "n.keras")


def test_a_model_of_simulated_scenes_maps_real_ones_only_where_it_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # C-10
    save_model(network(), tmp_path / "m.keras", card(simulated=True, data="simulated-quick"))
    scene = write_scene(tmp_path / "s.tif", pixels(40, 40))
    words = (scene, "--out", tmp_path / "out", "--model", tmp_path / "m.keras")
    assert command(*words) == 2
    assert "--allow-simulated" in capsys.readouterr().err
    assert command(*words, "--allow-simulated") == 0
    with rasterio.open(tmp_path / "out" / "classes.tif") as file:
        tags = file.tags()
    assert tags["FIELDSIGHT_MODEL_SIMULATED"] == "yes"
    assert tags["FIELDSIGHT_TRAINED_ON"] == "simulated-quick"
    assert "FIELDSIGHT_SIMULATED" not in tags  # the scene is real
    rows = list(csv.DictReader((tmp_path / "out" / "hectares.csv").open()))
    assert {row["simulated"] for row in rows} == {"yes"}
    item = json.loads((tmp_path / "out" / "item.json").read_text())["properties"]
    assert item["fieldsight:simulated"] is True
    table = pyogrio.read_dataframe(tmp_path / "out" / "clearings.gpkg")
    assert table["simulated"].all()
    # A simulated scene needs no leave, and says what it is.
    with rasterio.open(scene, "r+") as file:
        file.update_tags(FIELDSIGHT_SIMULATED="1")
    assert command(*words) == 0
    with rasterio.open(tmp_path / "out" / "classes.tif") as file:
        assert file.tags()["FIELDSIGHT_SIMULATED"] == "1"


def test_a_window_that_does_not_fit_says_which_would(tmp_path: Path, model_file: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", pixels(300, 300))
    with pytest.raises(CommandError, match=r"--window: .*would fit"):
        mapped(scene, ready(model_file), tmp_path / "out", window=50)


# Several scenes


def test_a_scene_that_fails_is_recorded_and_the_batch_goes_on(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # C-11
    good = write_scene(tmp_path / "good.tif", pixels(60, 60))
    torn = write_scene(tmp_path / "torn.tif", pixels(300, 300), tiled=True)
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    bad = [torn, write_scene(tmp_path / "nowhere.tif", pixels(60, 60), crs=False)]
    out = tmp_path / "out"
    words = ("--out", out, "--model", model_file)
    assert command(good, *bad, tmp_path / "none.tif", *words) == 1
    rows = list(csv.DictReader((out / "failures.csv").open()))
    assert [Path(row["scene"]).name for row in rows] == ["torn.tif", "nowhere.tif", "none.tif"]
    assert {path.name for path in (out / "good").iterdir()} == FILES
    assert "torn" in rows[0]["reason"]
    capsys.readouterr()
    assert command(*bad, *words) == 2
    assert command(good, good, *words) == 0
    assert not (out / "failures.csv").exists()
    assert {path.name for path in (out / "good-2").iterdir()} == FILES


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--min-ha", "-1"), "--min-ha: at least 0"),
        (("--bands", "blue,blue"), "--bands: a name for each band"),
        (("--model", "none.keras"), "none.keras"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_read(
    home: Path, tmp_path: Path, words: tuple[str, ...], said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert command("scene.tif", "--out", tmp_path / "out", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_areas_that_cannot_be_used_stop_a_map_before_it_begins(
    tmp_path: Path, model_file: Path
) -> None:
    scene = write_scene(tmp_path / "s.tif", pixels(40, 40))
    with pytest.raises(DataError, match="--area: polygons were needed"):
        mapped(scene, ready(model_file), tmp_path / "out", area=tmp_path / "none.gpkg")
    assert not (tmp_path / "out").exists()
