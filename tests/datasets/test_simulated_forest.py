"""Simulated scenes as they are written: rasters, labels, chips, tags; from a seed; resumed."""

import csv
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image

from fieldsight.datasets import planet, scenes
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated import forest
from fieldsight.datasets.simulated.forest import _chips, _layout, _materials, _scene

# Chips lie nowhere, as the competition's.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
FIRST, COUNT = 5, 2  # a fishbone of roads with fields and villages, and people by a river
# Of scene 5 of seed 0, as of version 1: what any change of the simulator changes.
FIXED_CLASSES = [0.0391, 0.6477, 0.2956, 0.0, 0.0176, 0.0, 0.0]
FIXED_MEANS = [161.3, 365.1, 370.6, 2827.4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("simulated") / "scenes"
    forest.write(root, 0, scenes=COUNT, first=FIRST)
    return root


@pytest.fixture(scope="module")
def scene() -> _scene.Scene:
    return _scene.scene(0, FIRST)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read(path: Path) -> Array:
    with rasterio.open(path) as file:
        pixels: Array = file.read()
    return pixels


def pixels(path: Path) -> str:
    return hashlib.sha256(read(path).tobytes()).hexdigest()


# From a seed


def test_a_scene_is_the_same_whatever_else_is_written(
    folder: Path, tmp_path: Path, scene: _scene.Scene
) -> None:
    alone = tmp_path / "alone"
    forest.write(alone, 0, scenes=1, first=FIRST + 1)
    files = [path.relative_to(alone) for path in alone.glob("*/*.tif")]
    assert len(files) > 20
    for file in files:
        assert pixels(folder / file) == pixels(alone / file)
    ours = [row for row in rows(folder / "chips.csv") if row["scene"] == "SIM0-0006"]
    assert ours == rows(alone / "chips.csv")
    first = sorted((folder / "scenes").glob(f"{scene.name}*SR.tif"))
    written = np.where(scene.covered[0], scene.pictures[0].surface(), 0)
    np.testing.assert_array_equal(read(first[0]), written)


def test_version_1_is_as_it_was(scene: _scene.Scene) -> None:
    share = np.bincount(scene.classes(0).ravel(), minlength=7) / scene.new.size
    np.testing.assert_allclose(share, FIXED_CLASSES, atol=2e-4)
    means = scene.pictures[0].surface().mean((1, 2))
    np.testing.assert_allclose(means, FIXED_MEANS, rtol=2e-3)
    assert forest.VERSION == 1


def test_another_seed_and_setting_make_other_scenes(scene: _scene.Scene) -> None:
    other = _scene.scene(0, FIRST, setting="other")
    assert other.name == "SIM0x0005"
    assert not np.array_equal(other.classes(0), scene.classes(0))
    assert not np.array_equal(_scene.scene(1, FIRST).classes(0), scene.classes(0))


def test_a_call_goes_on_and_adds_to_a_folder(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "more"
    forest.write(root, 0, scenes=1, first=FIRST)
    chip = next((root / "train-jpg").iterdir())
    kept = next((root / "scenes").glob("*SR.tif"))
    when = kept.stat().st_mtime_ns
    told: list[tuple[int, int]] = []
    forest.write(root, 0, scenes=COUNT, first=FIRST, progress=lambda *at: told.append(at))
    assert told == [(1, 2), (2, 2)]
    assert kept.stat().st_mtime_ns == when
    assert (root / "train_v2.csv").read_text() == (folder / "train_v2.csv").read_text()
    chip.unlink()
    told.clear()
    forest.write(root, 0, scenes=COUNT, first=FIRST, progress=lambda *at: told.append(at))
    assert told == [(1, 2), (2, 2)]
    assert chip.is_file()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are listed on Linux")
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        "from fieldsight.datasets.simulated import forest\n"
        "if __name__ == '__main__':\n"
        f"    forest.write({str(tmp_path / 'scenes')!r}, scenes=8, processes=2)\n"
    )

    def workers() -> list[int]:
        try:
            text = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
        except OSError:
            return []
        names = ((int(one), Path(f"/proc/{one}/cmdline").read_text()) for one in text.split())
        return [number for number, name in names if "spawn_main" in name]

    def until(true: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not true():
            assert time.monotonic() < end
            time.sleep(0.05)

    with subprocess.Popen([sys.executable, str(script)]) as parent:
        until(lambda: len(workers()) == 2 and any((tmp_path / "scenes").glob(".*.part")))
        ours = workers()
        parent.terminate()
    until(lambda: not any(Path(f"/proc/{number}").exists() for number in ours))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"seed": 1}, "same scenes.*seed 1.*Received: seed 0"),
        ({"detail": "full"}, "detail full"),
        ({"setting": "other"}, "setting other"),
        ({"scenes": 0}, "scenes 0"),
        ({"first": -1}, "first -1"),
    ],
)
def test_scenes_of_another_kind_are_not_mixed_in(
    folder: Path, what: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        forest.write(folder, **({"seed": 0, "scenes": 1} | what))  # type: ignore[arg-type]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="Name another"):
        forest.write(tmp_path, 0, scenes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# The layouts


def test_everything_says_that_it_is_simulated(folder: Path) -> None:
    # C-10: what is cut from these files still says so.
    manifest = json.loads((folder / "SIMULATED.json").read_text())
    assert manifest == {
        "seed": 0, "detail": "quick", "setting": "default", "version": 1, "first": FIRST,
        "scenes": COUNT, "whole": True,
    }  # fmt: skip
    for path in folder.glob("*/*.tif"):
        with rasterio.open(path) as file:
            assert file.tags()["FIELDSIGHT_SIMULATED"] == "1"
    jpeg = next((folder / "train-jpg").iterdir())
    assert Image.open(jpeg).info["comment"] == b"FIELDSIGHT_SIMULATED=1"


def test_scenes_are_planets_by_metadata_alone(folder: Path) -> None:
    # D-1, D-5: 4 bands uint16 at 3 m in a UTM zone; two dates a scene.
    paths = sorted((folder / "scenes").glob("*SR.tif"))
    assert len(paths) == 2 * COUNT
    with rasterio.open(paths[0]) as file:
        assert file.crs.to_epsg() == 32720
        assert file.res == (3.0, 3.0)
        assert (file.count, file.dtypes[0], file.nodata) == (4, "uint16", 0)
        assert file.descriptions == ("blue", "green", "red", "nir")
    with rasterio.open(paths[2]) as other:
        assert other.bounds.left > file.bounds.right
    with rasterio.open(str(paths[0]).replace("AnalyticMS_SR", "udm2")) as mask:
        # Planet's UDM2: 1 clear, 2 snow, 3 shadow, 4 and 5 haze, 6 cloud, 7 confidence, 8 UDM1.
        assert mask.count == 8
        assert mask.transform == file.transform
        classes = mask.read()[:6]
    assert classes.sum(0).max() == 1


def test_our_reader_reads_a_scene(folder: Path) -> None:
    path = sorted((folder / "scenes").glob("*SR.tif"))[0]
    with scenes.open_scene(path) as opened:
        assert opened.bands == ("blue", "green", "red", "nir")
        assert opened.simulated
        assert opened.sensor == "planet"
        assert opened.date is not None
        assert path.name.split("_")[1] == f"{opened.date:%Y%m%d}"
        corner = (slice(0, 64), slice(0, 64))
        assert opened.clouds(corner) is not None
        assert opened.reflectance is not None
        seen = opened.reflectance.of(opened.read(corner))
    assert 0.15 < np.median(seen[..., 3]) < 0.45


def test_chips_lie_as_the_competitions(folder: Path) -> None:
    found = planet.load(folder)
    assert len(found) == len(rows(folder / "train_v2.csv"))
    assert found.simulated
    assert not found.failures
    assert set(found.groups) == {"SIM0-0005", "SIM0-0006"}
    chip = found.read([0])
    assert chip.shape == (1, 256, 256, 4)
    assert chip.dtype == np.uint16
    name = found.names[0]
    with rasterio.open(folder / "train-tif-v2" / f"{name}.tif") as file:
        assert file.crs is None
    jpeg = Image.open(folder / "train-jpg" / f"{name}.jpg")
    assert (jpeg.size, jpeg.mode) == ((256, 256), "RGB")


def test_chips_of_a_date_share_no_pixel(folder: Path) -> None:
    seen: dict[tuple[str, str], Array] = {}
    for row in rows(folder / "chips.csv"):
        where = seen.setdefault((row["scene"], row["date"]), np.zeros((1536, 1536), np.uint8))
        top, left = int(row["row"]), int(row["column"])
        part = where[top : top + 256, left : left + 256]
        assert part.shape == (256, 256)
        part += 1
    assert len(seen) == 2 * COUNT
    assert all(where.max() == 1 for where in seen.values())


def test_a_chip_is_the_scenes_part_that_its_row_names(folder: Path) -> None:
    # Radiance and surface reflectance are one another's linear functions, band by band.
    row = rows(folder / "chips.csv")[3]
    stem = f"{row['scene']}_{row['date'].replace('-', '')}"
    top, left = int(row["row"]), int(row["column"])
    surface = read(folder / "scenes" / f"{stem}_AnalyticMS_SR.tif")
    part = surface[:, top : top + 256, left : left + 256]
    chip = read(folder / "train-tif-v2" / f"{row['image_name']}.tif")
    for ours, theirs in zip(chip, part, strict=True):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999


# What is true


def test_tags_follow_the_competitions_rules(folder: Path) -> None:
    # D-8: exactly one weather; cloudy excludes the ground; the spelling of the competition.
    for row in rows(folder / "train_v2.csv"):
        tags = row["tags"].split()
        assert set(tags) <= set(planet.TAGS)
        assert len(tags) == len(set(tags))
        weather = [tag for tag in tags if tag in planet.WEATHER]
        assert len(weather) == 1
        assert tags == ["cloudy"] or len(tags) > 1 or weather != ["cloudy"]


def test_tags_agree_with_the_labels_of_the_scene(scene: _scene.Scene) -> None:
    # Counted again from the map of classes: water, natural open ground, clearings, mines.
    classes = {"water": {3}, "bare_ground": {6}, "conventional_mine": {5}}
    found = _chips.chips(np.random.default_rng(0), scene)
    assert len(found) > 30
    for chip in found:
        where = slice(chip.row, chip.row + 256), slice(chip.column, chip.column + 256)
        part = scene.classes(chip.date)[where]
        assert part.min() > 0
        cloud = scene.pictures[chip.date].cloud[where]
        seen = part[cloud < 0.3]
        if "clear" in chip.true:
            assert cloud.mean() < 0.01
        if "cloudy" in chip.true:
            assert (cloud > 0.3).mean() > 0.9
            continue
        for tag, values in classes.items():
            if tag in chip.true:
                assert np.isin(seen, list(values)).mean() > 0.01
        farmed = {"agriculture", "cultivation"} & set(chip.true)
        cleared = (seen == 2).mean()
        assert cleared > 0.02 if farmed else cleared < 0.01
        if "primary" in chip.true:
            assert (seen == 1).mean() > 0.07


def test_labellers_are_wrong_now_and_then_but_seldom() -> None:
    rng = np.random.default_rng(0)
    true = ("clear", "primary", "agriculture", "road")
    labelled = [set(_chips._labelled(rng, true)) for _ in range(4000)]
    same = np.mean([one == set(true) for one in labelled])
    assert 0.88 < same < 0.97
    assert all(len(one & set(planet.WEATHER)) == 1 for one in labelled)
    assert all(_chips._labelled(rng, ("cloudy",)) == ("cloudy",) for _ in range(100))


def test_every_material_has_a_class_and_a_spectrum() -> None:
    dry, span = _materials.spectra()
    for material in _materials.M:
        if material:
            assert 1 <= _materials.CLASS_OF[material] < len(forest.CLASSES)
            assert (dry[material] > 0).all()
            assert (dry[material] + span[material] > 0).all()


def test_new_clearings_are_forest_before_and_clearing_after(
    folder: Path, scene: _scene.Scene
) -> None:
    # Hectares by pixels of 9 m2 and by polygons in the projection agree.
    assert (scene.classes(0)[scene.new] == 1).all()
    assert (scene.classes(1)[scene.new] == 2).all()
    path = folder / "labels" / f"{scene.name}_clearings.gpkg"
    new = geopandas.read_file(path, layer="new")
    assert new.crs.to_epsg() == 32720
    assert new.area_ha.sum() == pytest.approx(scene.new.sum() * 9 / 10_000, rel=1e-6)
    assert new.area_ha.sum() > 5
    assert set(new.date) == {scene.dates[1].isoformat()}
    cleared = geopandas.read_file(path, layer="clearings")
    pixels_ha = (scene.classes(0) == 2).sum() * 9 / 10_000
    assert cleared.area.sum() / 10_000 == pytest.approx(pixels_ha, rel=1e-6)
    told = rows(folder / "scenes.csv")[0]
    assert float(told["new_ha"]) == pytest.approx(new.area_ha.sum(), abs=0.01)


def test_the_land_cover_map_is_the_scenes(folder: Path, scene: _scene.Scene) -> None:
    path = sorted((folder / "labels").glob(f"{scene.name}*landcover.tif"))[1]
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), scene.classes(1))
        assert file.tags()["CLASSES"].split(",") == list(forest.CLASSES)
        assert file.colormap(1)[3] == (38, 110, 196, 255)


def test_chips_of_two_scenes_never_share_a_name() -> None:
    # A scene gives at most 40 chips in quick detail, 160 in full.
    assert 4 * 2 * _chips._MOST < _layout.CHIPS_A_SCENE
