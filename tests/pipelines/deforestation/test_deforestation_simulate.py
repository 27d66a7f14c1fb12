"""`fieldsight deforestation simulate`: scenes in a folder, said to be simulated."""

from pathlib import Path

import pytest

from fieldsight.datasets import planet
from fieldsight.datasets.simulated import forest
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import Simulate


def test_it_writes_what_the_simulator_writes_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Simulate(out=tmp_path / "out", seed=3, count=1, first=2).run() == 0
    said = capsys.readouterr().out
    assert "1 SIMULATED scenes of seed 3" in said
    assert (tmp_path / "out" / forest.MANIFEST).is_file()
    assert len(list((tmp_path / "out" / "scenes").glob("SIM3-0002_*_AnalyticMS_SR.tif"))) == 2
    assert planet.load(tmp_path / "out").simulated


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    # A known mistake is told in a line, before anything is simulated.
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(CommandError, match="--out"):
        Simulate(out=file, count=1).run()
