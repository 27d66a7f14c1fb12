"""LUNA16: its tables as published, small scans in its layout, and what is wrong with a copy."""

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fieldsight.datasets import _annotations, luna16
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
GRADED = "seriesuid,coordX,coordY,coordZ,diameter_mm,mal_bool,mal_details\n"


@pytest.fixture(scope="module")
def published() -> Path:
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "lung" / "luna16_csv"
    if not folder.is_dir():
        pytest.skip(f"LUNA16's tables aren't in {folder}; name the data folder in FIELDSIGHT_DATA")
    return folder


@pytest.fixture
def folder(tmp_path: Path, lung: ModuleType) -> Path:
    """Three scans in two subsets: two nodules in the first, none in the others."""
    for subset, uid in ((0, "1.1"), (0, "1.2"), (7, "1.3")):
        lung.write_mhd(tmp_path / f"subset{subset}" / f"{uid}.mhd", lung.small(-int(uid[-1]) * 100))
    (tmp_path / "annotations.csv").write_text(f"{HEAD}1.1,-9.5,-19,-30,5.5\n1.1,-9,-18,-25,6\n")
    (tmp_path / "annotations_excluded.csv").write_text(f"{HEAD}1.2,1,2,3,-1.0\n1.2,4,5,6,3.5\n")
    return tmp_path


def test_the_published_table_is_read_whole(published: Path) -> None:
    notes: list[str] = []
    nodules = _annotations.read(published / "annotations.csv", notes)
    # 1,186 nodules in 601 of the 888 scans (Setio et al., 2017, section 3.1).
    assert (sum(map(len, nodules.values())), len(nodules), notes) == (1186, 601, [])
    first = nodules["1.3.6.1.4.1.14519.5.2.1.6279.6001.100225287222365663678666836860"][0]
    assert first.centre_mm == (-128.6994211, -175.3192718, -298.3875064)
    assert first.diameter_mm == 5.651470635


def test_the_published_grades_are_joined_by_their_place(published: Path) -> None:
    plain = _annotations.read(published / "annotations.csv", [])
    graded = luna16._graded(plain, published / "annotations_with_malignancy.csv")
    with_grade = [n for members in graded.values() for n in members if n.malignancy is not None]
    assert len(with_grade) == 1182  # the table's rows; four nodules aren't in it
    uid = "1.3.6.1.4.1.14519.5.2.1.6279.6001.276556509002726404418399209377"
    # "[5, 3, 4]" and "[3, 3, 3]" stand in its rows.
    assert [(n.malignancy, n.readers) for n in graded[uid][:2]] == [(4.0, 3), (3.0, 3)]


def test_a_fold_is_the_number_of_the_subset(folder: Path) -> None:  # L-10
    found = luna16.load(folder)
    assert [(scan.name, scan.fold, len(scan.nodules)) for scan in found.scans] == [
        ("1.1", 0, 2), ("1.2", 0, 0), ("1.3", 7, 0),
    ]  # fmt: skip
    assert all(scan.marked and scan.cancer is None for scan in found.scans)
    assert not found.simulated
    assert not found.failures


def test_unknown_diameters_of_what_does_not_count_are_10_mm(folder: Path) -> None:  # L-12
    excluded = luna16.load(folder).scans[1].excluded
    assert [nodule.diameter_mm for nodule in excluded] == [10.0, 3.5]


def test_what_is_missing_is_said(folder: Path) -> None:
    with (folder / "annotations.csv").open("a") as file:
        file.write("1.9,0,0,0,8\n1.9,9,0,0,8\n")
    notes = luna16.load(folder).notes
    assert "8 of 10 subsets aren't there: subset1, subset2" in notes[0]
    assert notes[1] == "1 annotated scans with 2 nodules aren't there"
    (folder / "annotations_excluded.csv").unlink()
    assert any("no figure can stand beside a published one" in n for n in luna16.load(folder).notes)


def test_a_header_without_voxels_is_a_failure_and_the_rest_goes_on(folder: Path) -> None:  # C-11
    (folder / "subset0" / "1.2.raw").unlink()
    found = luna16.load(folder)
    assert [scan.name for scan in found.scans] == ["1.1", "1.3"]
    assert "no 1.2.raw" in found.failures["1.2"]


def test_a_scan_is_read_with_its_geometry(folder: Path) -> None:
    volume = luna16.load(folder).scans[2].read()
    assert volume.shape == (3, 5, 4)
    assert np.all(volume.hounsfield == -300)
    np.testing.assert_allclose(volume.to_world([2, 1, 3]), [-8.5, -19.5, -25.0])
    assert [path.name for path in luna16.load(folder).scans[2].paths] == ["1.3.mhd", "1.3.raw"]


def test_patients_are_taken_from_a_table_of_them(folder: Path) -> None:
    assert luna16.load(folder).scans[0].group == "1.1"
    (folder / "patients.csv").write_text("patient,seriesuid\nLIDC-IDRI-0007,1.1\n")
    assert luna16.load(folder).scans[0].group == "LIDC-IDRI-0007"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "an empty file"),
        ("seriesuid,x,y,z,d\n", r"columns seriesuid,coordX.*Received: seriesuid,x"),
        (f"{HEAD}1.1,1,2,3\n", r"line 2: 5 cells were needed. Received: 4"),
        (f"{HEAD}1.1,1,2,3,4\n1.1,1,two,3,4\n", r"line 3: coordY .*'two'"),
        (f"{HEAD}1.1,1,2,nan,4\n", r"line 2: coordZ"),
        (f"{HEAD}1.1,1,2,inf,4\n", r"line 2: coordZ"),
        (f"{HEAD}1.1,1,2,3,0\n", r"diameter above 0 .*Received: 0"),
        (f"{HEAD}1.1,1,2,3,-1\n", r"diameter above 0 .*Received: -1"),
        (f"{HEAD}1.1,1,2,3,5651\n", r"up to 300 mm .*Received: 5651"),
        (f"{HEAD},1,2,3,5\n", r"line 2: seriesuid was needed"),
    ],
)
def test_a_damaged_table_is_refused_with_its_line(folder: Path, table: str, message: str) -> None:
    (folder / "annotations.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        luna16.load(folder)


def test_a_table_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "annotations.csv").write_bytes(b"\xff\xfe\x00seriesuid")
    with pytest.raises(DataError, match="CSV file in UTF-8"):
        luna16.load(folder)


def test_a_row_that_stands_twice_is_one_nodule(folder: Path) -> None:
    (folder / "annotations.csv").write_text(f"{HEAD}1.1,1,2,3,4\n1.1,1,2,3,4\n1.1,1,2,3,5\n")
    found = luna16.load(folder)
    assert len(found.scans[0].nodules) == 2
    assert "annotations.csv: 1 rows stand twice and are taken once" in found.notes


def test_grades_beside_are_read(folder: Path) -> None:  # L-11
    (folder / "annotations_with_malignancy.csv").write_text(
        f'{GRADED}1.1,-9.5,-19.0000000000001,-30,5.5,True,"[4, 2, 5, 2]"\n'
    )
    nodules = luna16.load(folder).scans[0].nodules
    assert [nodule.malignancy for nodule in nodules] == [3.0, None]
    (folder / "annotations_with_malignancy.csv").write_text(f"{GRADED}1.1,1,2,3,4,True,[9]\n")
    with pytest.raises(DataError, match="within 1 and 5"):
        luna16.load(folder)


def test_no_table_and_no_scan_say_what_to_do(folder: Path, tmp_path: Path) -> None:
    (folder / "annotations.csv").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"Copy annotations\.csv"):
        luna16.load(folder)
    empty = tmp_path / "empty"
    (empty / "subset0").mkdir(parents=True)
    (empty / "annotations.csv").write_text(HEAD)
    with pytest.raises(DatasetNotFoundError, match="Unpack the subsets"):
        luna16.load(empty)
