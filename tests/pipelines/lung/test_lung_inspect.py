"""`fieldsight lung inspect`: what it tells, what it draws, how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldsight.datasets import scans
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines.__main__ import main
from fieldsight.pipelines.lung import _inspect


def run(*arguments: object) -> int:
    return main(["lung", "inspect", *map(str, arguments)])


def test_a_good_series_is_told_and_drawn(
    tmp_path: Path, ct: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """L-17: nothing tells who the patient is, in text, names of files or their content."""
    ct.write_files(tmp_path / "MUSTERMANN" / "Erika", ct.stored(12), skip=[4])
    assert run(tmp_path / "MUSTERMANN", "--out", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert said.err == ""
    for fact in ("12 x 12 x 10 (planes, rows, columns)", "2 x 0.7 x 0.5 mm", "ACME", "120 kV",
                 "planes to the head, rows to the back, columns to the left",
                 "missing: 1 of 12 slices, at 38 mm"):  # fmt: skip
        assert fact in said.out
    (picture,) = (tmp_path / "out").iterdir()
    with Image.open(picture) as opened:
        kept = str(opened.info)
    told = said.out.replace(str(tmp_path), "") + picture.name + kept
    assert not re.search(ct.SECRETS, told + picture.read_bytes().decode("latin-1"), re.IGNORECASE)
    assert ct.SERIES not in told


def test_json_says_the_same_in_one_object(
    tmp_path: Path, ct: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    ct.write_files(tmp_path / "a", ct.stored(3))

    def scout(data: Any, plane: int) -> None:
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    ct.write_files(tmp_path / "b", ct.stored(2), series="1.2.8", edit=scout)
    assert run(tmp_path, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    (series,), (refused,) = said["series"], said["refused"]
    assert series["size"] == [3, 12, 10]
    assert series["spacing_mm"] == [2.0, 0.7, 0.5]
    assert series["extent_mm"] == [5.0, 8.4, 6.0]
    assert series["simulated"] is False
    assert refused == {"name": "b", "refused": "localizer", "images": 2}


def test_one_bad_series_of_two_ends_in_1_and_none_in_2(
    tmp_path: Path, ct: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    ct.write_files(tmp_path / "good", ct.stored(3))
    ct.write_files(tmp_path / "bad", ct.stored(30), series="1.2.8", skip=range(5, 20))
    assert run(tmp_path) == 1
    said = capsys.readouterr()
    assert "good (dicom)" in said.out
    assert said.err.startswith("fieldsight: bad: a series with few slices missing was needed")
    assert said.err.count("\n") == 1
    assert run(tmp_path / "bad") == 2
    assert run(tmp_path / "gone") == 2
    assert "a CT series was needed" in capsys.readouterr().err


def test_a_path_that_is_not_there_is_a_failure_beside_good_ones(
    tmp_path: Path, ct: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    ct.write_files(tmp_path / "good", ct.stored(3))
    (tmp_path / "scan.nii.gz").write_text("no image")
    paths = tmp_path / "good", tmp_path / "Doe^Jane", tmp_path / "scan.nii.gz"
    assert run(*paths, "--json") == 1
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert list(told["failures"]) == ["path 2", "scan"]
    assert (len(told["series"]), told["refused"]) == (1, [])
    assert said.err.startswith("fieldsight: path 2 of those given")
    assert "Doe" not in said.out + said.err


def test_an_output_that_is_a_file_is_refused(tmp_path: Path, ct: ModuleType) -> None:
    ct.write_files(tmp_path / "good", ct.stored(3))
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "good", "--out", tmp_path / "file") == 2


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
def test_planes_are_drawn_along_the_patient_whatever_the_scans_axes(
    flip: tuple[int, int, int],
) -> None:
    """L-7: something dense at the patient's left, back and head is drawn there."""
    values = np.full((10, 30, 20), -1000, np.int16)
    affine = np.zeros((4, 4))
    # Index axes plane, row, column run along or against z, y, x.
    for axis, (world, step) in enumerate(((2, 5.0), (1, 1.0), (0, 1.0))):
        affine[world, axis] = flip[axis] * step
    affine[3, 3] = 1
    volume = Volume(values, affine)
    left_back_head = np.where(np.array(flip) > 0, np.array(values.shape) - 1, 0)
    for across, right, down in ((2, 0, 1), (1, 0, 2), (0, 1, 2)):
        shown = left_back_head.copy()
        shown[{2: 0, 1: 1, 0: 2}[across]] = np.array(values.shape)[{2: 0, 1: 1, 0: 2}[across]] // 2
        values[:] = -1000
        values[tuple(shown)] = 1000
        corners = _inspect._corners(volume)
        picture, extent = _inspect._plane(
            volume, volume.to_world(shown), across, right, down, corners.min(0), corners.max(0)
        )
        y, x = np.unravel_index(picture.argmax(), picture.shape)
        assert x > 0.85 * picture.shape[1]  # left, or back
        assert (y < 0.15 * picture.shape[0]) if down == 2 else (y > 0.85 * picture.shape[0])
        # A millimetre is as long along both sides: 20 x 30 x 50 mm.
        sides = {0: 20, 1: 30, 2: 50}
        assert extent == (0, sides[right], sides[down], 0)
        assert picture.shape == (sides[down], sides[right])


def test_letters_and_bars_stand_at_their_sides(tmp_path: Path, ct: ModuleType) -> None:
    ct.write_files(tmp_path, ct.stored(5))
    figure = _inspect.planes(scans.read(scans.find([tmp_path])[0]))
    places = []
    for axes in figure.axes:
        texts = {text.get_text(): text.get_position() for text in axes.texts}
        sides = {name: place for name, place in texts.items() if len(name) == 1}
        by_side = [min(sides, key=lambda n: sides[n][0]), max(sides, key=lambda n: sides[n][0]),
                   max(sides, key=lambda n: sides[n][1]),
                   min(sides, key=lambda n: sides[n][1])]  # fmt: skip
        places.append("".join(by_side))
        (bar,) = axes.lines
        (length,) = (name for name in texts if name.endswith("m"))
        assert length == f"{np.ptp(bar.get_xdata()):g} mm"
    assert places == ["RLAP", "RLSI", "APSI"]
