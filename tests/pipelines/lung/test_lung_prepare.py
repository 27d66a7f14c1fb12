"""`fieldsight lung prepare`: fills the cache, records failures, goes on; and the curves."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fieldsight.core.metrics import froc
from fieldsight.datasets.errors import DatasetNotFoundError
from fieldsight.datasets.lung_preparation.cache import is_cached
from fieldsight.datasets.nodules import load
from fieldsight.pipelines import _calibration, _figures
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.lung import Prepare, _curves

HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


@pytest.fixture
def folder(tmp_path: Path, lung: ModuleType) -> Path:
    """Two chests and a scan of nothing, in LUNA16's layout."""
    data = tmp_path / "data"
    for number in (1, 2):
        chest = lung.chest([(80, 0, 20, 8, 60)], spacing=(5.0, 4.0, 4.0), seed=number)
        lung.write_mhd(data / "subset0" / f"1.{number}.mhd", chest)
    lung.write_mhd(data / "subset3" / "1.3.mhd", lung.small())
    (data / "annotations.csv").write_text(f"{HEAD}1.1,80,0,20,16\n")
    return data


def test_the_cache_is_filled_and_failures_are_recorded(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # C-11
    settings = Prepare(data=folder, cache=tmp_path / "cache", spacing_mm=4.0, json=True)
    assert settings.run() == 1
    first = json.loads(capsys.readouterr().out)
    assert (first["scans"], first["found_there"], first["failed"]) == (3, 0, 1)
    rows = (tmp_path / "cache" / "failures.csv").read_text().splitlines()
    assert rows[0] == "scan,reason"
    assert rows[1].startswith('1.3,"1.3: a CT of the chest was needed')
    scans = load(folder).scans
    assert [is_cached(scan, 4.0, tmp_path / "cache" / "prepared") for scan in scans] == [
        True, True, False,
    ]  # fmt: skip
    assert settings.run() == 1
    assert json.loads(capsys.readouterr().out)["found_there"] == 2


def test_a_mended_scan_leaves_no_failure(
    folder: Path, tmp_path: Path, lung: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Prepare(data=folder, cache=tmp_path / "cache", spacing_mm=4.0)
    assert settings.run() == 1
    lung.write_mhd(folder / "subset3" / "1.3.mhd", lung.chest(spacing=(5.0, 4.0, 4.0), seed=9))
    assert settings.run() == 0
    assert "3 scans at 4 mm" in capsys.readouterr().out
    assert not (tmp_path / "cache" / "failures.csv").exists()


def test_a_nodule_far_from_the_lungs_is_a_failure_of_its_scan(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The chest's body is 320 mm wide, about 0: a nodule at x = 80 mm lies in a lung.
    (folder / "annotations.csv").write_text(f"{HEAD}1.1,80,0,20,16\n1.2,-80,-410,20,16\n")
    assert Prepare(data=folder, cache=tmp_path / "cache", spacing_mm=4.0).run() == 1
    said = capsys.readouterr().err
    assert "failed: 1.2: nodules in the lungs were needed" in said
    assert "in RAS (x and y of the other sign)" in said
    assert "1.1" not in said


def test_nothing_prepared_is_2(folder: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        (folder / "subset0" / f"1.{number}.mhd").unlink()
    assert Prepare(data=folder, cache=tmp_path / "cache", spacing_mm=4.0).run() == 2


@pytest.mark.parametrize("spacing_mm", [0.0, 0.1, 9.0, float("nan")])
def test_an_impossible_spacing_is_told_before_anything_is_read(
    tmp_path: Path, spacing_mm: float
) -> None:
    with pytest.raises(CommandError, match=r"--spacing-mm: 0\.3 to 5 were needed"):
        Prepare(data=tmp_path, cache=tmp_path / "cache", spacing_mm=spacing_mm).run()


def test_a_place_that_cannot_be_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="--cache"):
        Prepare(data=folder, cache=tmp_path / "file" / "cache").run()
    with pytest.raises(DatasetNotFoundError, match="no such folder"):
        Prepare(data=tmp_path / "nowhere", cache=tmp_path / "cache").run()


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    result = froc(
        [rng.uniform(0, 200, (2, 3)) for _ in range(8)],
        [rng.uniform(0, 200, (20, 3)) for _ in range(8)],
        radii=[[30, 30]] * 8,
        probabilities=[rng.random(20) for _ in range(8)],
    )
    groups = [str(number // 2) for number in range(8)]
    figure = _curves.free_response(
        {"network": (result, groups), "blobs": (result, groups)}, data="simulated",
        alarms={"network": 1.2},
    )  # fmt: skip
    legend = figure.axes[0].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert [label.split(":")[0] for label in labels] == ["network", "blobs"]
    assert f"CPM {result.cpm():.3f}" in labels[0]
    said = rng.random(200)
    drawn = _calibration.calibration({"a nodule": (said, rng.random(200) < said)}, data="simulated")
    for one in (figure, drawn):
        assert _figures.png(one).startswith(b"\x89PNG")
