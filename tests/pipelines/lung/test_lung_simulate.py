"""`fieldsight lung simulate`: its exit codes, what it says, what it leaves."""

import json
from pathlib import Path

import pytest

from fieldsight.datasets import nodules
from fieldsight.pipelines.__main__ import main


def test_writes_a_set_that_the_loader_knows_as_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "patients"
    command = ["lung", "simulate", "--out", str(out), "--count", "1", "--first", "3"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "1 SIMULATED patients of seed 0" in told.out
    assert told.err == ""  # the bar is for a terminal
    found = nodules.load(out)
    assert found.simulated
    assert [scan.group for scan in found.scans] == ["SIM0-0003"]
    # Again: nothing is made anew.
    before = {path: path.stat().st_mtime_ns for path in (out / "dicom").rglob("*.dcm")}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "dicom").rglob("*.dcm")} == before
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (["--count", "0"], "--count: 1 or more was needed. Received: 0."),
        (["--seed", "-1"], "--seed: 0 or more was needed. Received: -1."),
        (["--first", "-2"], "--first: 0 or more was needed. Received: -2."),
    ],
)
def test_a_wrong_number_is_told_in_a_line(
    tmp_path: Path, what: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lung", "simulate", "--out", str(tmp_path / "new"), *what]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_another_seeds_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = {"seed": 0, "detail": "quick", "setting": "default", "version": 0}
    (tmp_path / "SIMULATED.json").write_text(json.dumps(manifest))
    assert main(["lung", "simulate", "--out", str(tmp_path), "--count", "1"]) == 2
    assert "Received: seed 0, detail quick, setting default, version 0" in capsys.readouterr().err


def test_a_file_in_the_way_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["lung", "simulate", "--out", str(tmp_path / "file"), "--count", "1"]) == 2
    assert "a folder was needed" in capsys.readouterr().err
