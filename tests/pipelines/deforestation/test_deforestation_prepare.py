"""What `prepare` keeps of chips and scenes, what it says of bad ones, and that it goes on."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldsight.datasets import planet
from fieldsight.datasets.simulated import forest
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import Prepare, _chip_cache, _fields


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forest")
    forest.write(folder, scenes=1)
    return folder


def test_chips_and_scenes_are_kept_as_they_are(
    simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Prepare(data=simulated, cache=tmp_path, json=True).run() == 0
    told = json.loads(capsys.readouterr().out)
    chips = planet.load(simulated, "tif")
    assert told["simulated"] is True
    assert told["tif"]["chips"] == told["jpg"]["chips"] == len(chips)
    assert told["tif"]["tags"]["primary"] == int(chips.tags[:, 0].sum())
    assert told["scenes"] == 2
    good, features, pixels, failures = _chip_cache.read(chips, tmp_path)
    assert not failures
    assert len(features) == len(good) == len(chips)
    np.testing.assert_array_equal(pixels[[0, 3]], chips.read([0, 3]))
    mean = chips.read(np.arange(len(chips))).astype(float).mean(axis=(0, 1, 2))
    assert told["tif"]["bands"]["nir"]["mean"] == pytest.approx(mean[3], rel=1e-3)


def test_what_is_there_is_not_read_again(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = planet.load(simulated, "tif")
    _chip_cache.read(chips, tmp_path)
    monkeypatch.setattr(planet.ChipSet, "read", lambda *_: pytest.fail("read again"))
    assert len(_chip_cache.read(chips, tmp_path)[0]) == len(chips)


def test_killed_it_goes_on_where_it_was(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_chip_cache, "AT_ONCE", 4)
    chips = planet.load(simulated, "tif")
    read: list[int] = []
    as_it_is = planet.ChipSet.read

    def counted(self: planet.ChipSet, indices: Any) -> Any:
        read.extend(indices)
        if len(read) == 10:
            raise KeyboardInterrupt
        return as_it_is(self, indices)

    monkeypatch.setattr(planet.ChipSet, "read", counted)
    with pytest.raises(KeyboardInterrupt):
        _chip_cache.read(chips, tmp_path)
    _, _, pixels, _ = _chip_cache.read(chips, tmp_path)
    # Eight were noted; the ninth and the tenth are read again.
    assert read[10] == 8
    np.testing.assert_array_equal(pixels[9], as_it_is(chips, [9])[0])


def test_a_damaged_chip_is_a_recorded_failure_c11(simulated: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(simulated, data)
    chip = sorted((data / "train-tif-v2").glob("*.tif"))[0]
    chip.write_bytes(chip.read_bytes()[: chip.stat().st_size // 2])
    scene = sorted((data / "scenes").glob("*_SR.tif"))[0]
    scene.write_bytes(b"no TIFF")
    assert Prepare(data=data, cache=tmp_path / "cache").run() == 1
    told = (tmp_path / "cache" / "failures.csv").read_text()
    assert chip.stem in told
    assert scene.name.removesuffix(_fields.SCENE) in told


def test_a_folder_with_neither_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="which has neither"):
        Prepare(data=tmp_path, cache=tmp_path / "cache").run()


def test_a_disk_too_small_is_told_before_it_is_filled(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(CommandError, match="larger disk"):
        _chip_cache.read(planet.load(simulated, "tif"), tmp_path)


def test_fields_ignore_nodata_and_clouds_d4_and_name_classes_alike(
    simulated: Path, tmp_path: Path
) -> None:
    fields, failures = _fields.of_folder(simulated, tmp_path)
    assert not failures
    assert [field.classes for field in fields] == [forest.CLASSES] * 2
    assert fields[0].group == fields[1].group == fields[0].name.rsplit("_", 1)[0]
    for field in fields:
        nothing = (field.image == 0).all(axis=-1)
        assert (field.labels[nothing] == 0).all()
        assert field.units == "reflectance"
        window = field.read((slice(0, 9), slice(0, 9)))
        np.testing.assert_allclose(window, field.image[:9, :9] * 1e-4, rtol=1e-5)
        assert field.pixel_area_m2 == pytest.approx(9, rel=1e-3)
