"""Series with a CSV, simulated patients, the Bowl's folders and follow-up tables, small."""

import datetime as dt
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fieldsight.datasets import bowl, follow_up, nodules, series_csv
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.follow_up import Outcome

HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm"


@pytest.fixture
def folder(tmp_path: Path, lung: ModuleType) -> Path:
    """Two DICOM series of two patients mixed in one folder, a MetaImage, and their tables."""
    lung.write_dicom(tmp_path / "pacs", lung.small(-700), series_uid="1.2.1", patient="A")
    for file in (tmp_path / "pacs").iterdir():
        file.rename(file.with_suffix(""))
    lung.write_dicom(tmp_path / "pacs", lung.small(-600), series_uid="1.2.2", patient="B")
    lung.write_mhd(tmp_path / "others" / "1.2.3.mhd", lung.small(-500))
    (tmp_path / "annotations.csv").write_text(
        f"{HEAD},type,place,malignancy\n1.2.2,-9,-19,-28,6,solid,wall,4\n1.2.3,-9,-19,-28,4,,,\n"
    )
    return tmp_path


def test_series_are_joined_with_their_rows(folder: Path) -> None:
    found = nodules.load(folder)
    by_uid = {scan.series_uid: scan for scan in found.scans}
    assert sorted(by_uid) == ["1.2.1", "1.2.2", "1.2.3"]
    assert not by_uid["1.2.1"].nodules  # looked at, and nothing there
    assert by_uid["1.2.1"].marked
    (nodule,) = by_uid["1.2.2"].nodules
    assert (nodule.kind, nodule.place, nodule.malignancy) == ("solid", "wall", 4.0)
    (nodule,) = by_uid["1.2.3"].nodules
    assert (nodule.kind, nodule.place, nodule.malignancy) == ("", "", None)
    for uid, value in (("1.2.1", -700), ("1.2.2", -600), ("1.2.3", -500)):
        assert np.all(by_uid[uid].read().hounsfield == value)


def test_no_patient_is_named(folder: Path) -> None:  # L-17
    for scan in nodules.load(folder).scans:
        assert "Some" not in scan.name + scan.group
        assert scan.group not in ("A", "B")


def test_patients_and_cancers_come_from_their_table(folder: Path) -> None:
    (folder / "patients.csv").write_text("patient,seriesuid,cancer\nA,1.2.1,0\nA,1.2.2,1\n")
    by_uid = {scan.series_uid: scan for scan in nodules.load(folder).scans}
    assert [(by_uid[uid].group, by_uid[uid].cancer) for uid in ("1.2.1", "1.2.2")] == [
        ("A", 0), ("A", 1),
    ]  # fmt: skip
    assert by_uid["1.2.3"].cancer is None


@pytest.mark.parametrize(
    ("mark", "number", "encoding"),
    [(",", "-60.5", "utf-8-sig"), (";", "-60,5", "utf-8"), ("\t", "-60.5", "utf-8-sig")],
)
def test_a_spreadsheets_table_is_read_too(
    folder: Path, mark: str, number: str, encoding: str
) -> None:
    row = mark.join(("1.2.2", number, "1e1", "-210", "6"))
    (folder / "annotations.csv").write_text(f"{HEAD}\n".replace(",", mark) + row, encoding)
    marked = [nodule for scan in series_csv.load(folder).scans for nodule in scan.nodules]
    assert [nodule.centre_mm for nodule in marked] == [(-60.5, 10.0, -210.0)]


def test_a_row_without_its_series_is_a_failure(folder: Path) -> None:  # C-11
    with (folder / "annotations.csv").open("a") as file:
        file.write("1.2.9,0,0,0,5,,,\n")
    found = nodules.load(folder)
    assert len(found) == 3
    assert "isn't in the folder" in found.failures["1.2.9"]


def test_a_series_that_cannot_be_used_is_a_failure(folder: Path, lung: ModuleType) -> None:  # C-11
    (folder / "others" / "1.2.3.mhd").write_text("no header")
    found = nodules.load(folder)
    assert {scan.series_uid for scan in found.scans} == {"1.2.1", "1.2.2"}
    assert len(found.failures) == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (f"{HEAD},type\n1.2.2,1,2,3,4,round\n", "solid, part-solid, ground-glass. Received: 'rou"),
        (f"{HEAD},place\n1.2.2,1,2,3,4,liver\n", "free, wall, vessel"),
        (f"{HEAD},malignancy\n1.2.2,1,2,3,4,6\n", "within 1 and 5. Received: 6"),
        (f"{HEAD},malignancy\n1.2.2,1,2,3,4,high\n", "malignancy must be a finite number"),
        (f'{HEAD}\n1.2.2,"1,5",2,3,4\n', "coordX must be a finite number, with a decimal point"),
    ],
)
def test_what_columns_say_is_checked(folder: Path, table: str, message: str) -> None:
    (folder / "annotations.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        nodules.load(folder)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("patient,seriesuid,cancer\nA,1.2.1,0\nB,1.2.1,0\n", "line 3: each series once"),
        ("patient,seriesuid,cancer\nA,1.2.1,maybe\n", "one of 0, 1"),
    ],
)
def test_patients_are_checked(folder: Path, table: str, message: str) -> None:
    (folder / "patients.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        nodules.load(folder)


def test_outlines_are_read_and_checked(folder: Path) -> None:
    labels = np.zeros((3, 5, 4), np.uint8)
    labels[1, 2, 2] = 1
    (folder / "masks").mkdir()
    np.savez_compressed(folder / "masks" / "1.2.2.npz", labels=labels)
    by_uid = {scan.series_uid: scan for scan in nodules.load(folder).scans}
    np.testing.assert_array_equal(by_uid["1.2.2"].read_masks(), labels)
    assert by_uid["1.2.3"].read_masks() is None
    np.savez_compressed(folder / "masks" / "1.2.2.npz", labels=2 * labels)
    with pytest.raises(DataError, match="labels up to 1, the number of its series' rows"):
        by_uid["1.2.2"].read_masks()
    (folder / "masks" / "1.2.2.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match="Write it again"):
        by_uid["1.2.2"].read_masks()


def test_no_series_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "annotations.csv").write_text(f"{HEAD}\n")
    with pytest.raises(DatasetNotFoundError, match=r"Put DICOM folders, .mhd or .nii.gz"):
        nodules.load(tmp_path)


# Simulated patients


@pytest.fixture
def simulated(tmp_path: Path, lung: ModuleType) -> Path:
    """Two patients as the simulator writes them, in the order of their numbers."""
    for number, uid in ((0, "2.25.9"), (1, "2.25.1")):
        lung.write_dicom(
            tmp_path / "dicom" / f"SIM0-000{number}" / "2", lung.small(-700 - number),
            series_uid=uid, patient=f"SIM0-000{number}", description="SIMULATED chest",
        )  # fmt: skip
    (tmp_path / "SIMULATED.json").write_text(json.dumps({"seed": 0, "detail": "quick"}))
    (tmp_path / "patients.csv").write_text(
        "patient,seriesuid,cancer\nSIM0-0000,2.25.9,1\nSIM0-0001,2.25.1,0\n"
    )
    (tmp_path / "nodules.csv").write_text(
        f"{HEAD},type,malignancy,place\n2.25.9,-9,-19,-28,6,part-solid,5,vessel\n"
    )
    (tmp_path / "annotations.csv").write_text(f"{HEAD}\n2.25.9,-9,-19,-28,6\n")
    (tmp_path / "annotations_excluded.csv").write_text(f"{HEAD}\n2.25.1,-9,-19,-28,2.5\n")
    return tmp_path


def test_simulated_patients_are_known_as_such(simulated: Path) -> None:  # C-10
    found = nodules.load(simulated)
    assert found.simulated
    assert found.name == "simulated"
    assert found.settings == {"seed": 0, "detail": "quick"}
    assert [(scan.name, scan.group, scan.cancer) for scan in found.scans] == [
        ("SIM0-0000", "SIM0-0000", 1), ("SIM0-0001", "SIM0-0001", 0),
    ]  # fmt: skip
    assert found.scans[0].nodules[0].kind == "part-solid"
    assert found.scans[1].excluded[0].diameter_mm == 2.5
    volume = found.scans[1].read()
    assert np.all(volume.hounsfield == -701)
    assert volume.facts["simulated"] == 1


def test_a_damaged_manifest_is_refused(simulated: Path) -> None:
    (simulated / "SIMULATED.json").write_text("{")
    with pytest.raises(DataError, match="Simulate the patients again"):
        series_csv.load_simulated(simulated)


# Data Science Bowl


@pytest.fixture
def stage1(tmp_path: Path, lung: ModuleType) -> Path:
    for number, patient in enumerate(("0015", "0030", "00ff")):
        lung.write_dicom(tmp_path / "stage1" / patient, lung.small(), series_uid=f"1.7.{number}",
                         patient=patient)  # fmt: skip
    (tmp_path / "stage1_labels.csv").write_text("id,cancer\n0015,1\n0030,0\n00aa,0\n")
    return tmp_path


def test_the_bowls_patients_have_a_label_and_no_marks(stage1: Path) -> None:
    found = nodules.load(stage1)
    assert found.name == "bowl"
    assert [(scan.name, scan.group, scan.cancer) for scan in found.scans] == [
        ("0015", "0015", 1), ("0030", "0030", 0),
    ]  # fmt: skip
    # Nobody looked for nodules: that none is listed makes no negative.
    assert not any(scan.marked for scan in found.scans)
    assert "no such folder" in found.failures["00aa"]
    assert found.notes == ("1 folders have no label and are left out",)
    assert found.scans[0].read().series_uid == "1.7.0"


def test_the_solution_gives_the_rest_of_the_labels(stage1: Path) -> None:
    (stage1 / "stage1_solution.csv").write_text("id,cancer\n00ff,1\n")
    assert [scan.cancer for scan in bowl.load(stage1).scans] == [1, 0, 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id,cancer\n0015,1\n0015,0\n", "line 3: one label a patient"),
        ("id,cancer\n0015,\n", "cancer must be 0 or 1"),
        ("id,label\n0015,1\n", "columns id,cancer"),
    ],
)
def test_the_bowls_table_is_checked(stage1: Path, table: str, message: str) -> None:
    (stage1 / "stage1_labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        bowl.load(stage1)


def test_the_bowls_folder_without_patients_says_so(tmp_path: Path) -> None:
    (tmp_path / "stage1_labels.csv").write_text("id,cancer\n0015,1\n")
    with pytest.raises(DatasetNotFoundError, match="none of the 1 that have a label"):
        bowl.load(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="stage1_labels"):
        bowl.load(tmp_path / "other")


# Follow-up


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


@pytest.mark.parametrize(
    ("cancer", "end", "scanned", "label"),
    [
        (1, "2001-06-01", "2001-01-01", 1),  # found within the year
        (1, "2001-06-01", "2000-06-01", 1),  # on its last day
        (1, "2001-06-01", "2000-05-31", 0),  # a day too late
        (0, "2001-06-01", "2000-06-01", 0),  # seen a year later, healthy
        (0, "2001-06-01", "2000-06-02", None),  # lost before the year was over
        (1, "2001-06-01", "2001-06-02", None),  # after the diagnosis
    ],
)
def test_a_scan_is_positive_if_cancer_is_found_within_a_year(
    cancer: int, end: str, scanned: str, label: int | None
) -> None:
    assert Outcome(cancer, day(end)).of_scan(day(scanned)) == label
    assert Outcome(cancer, None).of_scan(None) == cancer


def test_follow_up_labels_each_scan_of_a_patient(tmp_path: Path, lung: ModuleType) -> None:
    for name, uid, date in (("A/1", "1.8.1", "19990105"), ("A/2", "1.8.2", "20001230"),
                            ("B/1", "1.8.3", "20010101")):  # fmt: skip
        lung.write_dicom(tmp_path / name, lung.small(), series_uid=uid, patient=name[0], date=date)
    (tmp_path / "B" / "1").rename(tmp_path / "archive")  # scans are large: they lie elsewhere
    (tmp_path / "B" / "1").symlink_to(tmp_path / "archive", target_is_directory=True)
    (tmp_path / "outcomes.csv").write_text(
        "patient,outcome,date\nA,1,2001-06-01\nB,0,2001-02-01\nC,0,2001-01-01\n"
    )
    found = nodules.load(tmp_path)
    assert found.name == "follow_up"
    assert [(scan.name, scan.group, scan.cancer) for scan in found.scans] == [
        ("A/1", "A", 0), ("A/2", "A", 1), ("B/1", "B", None),
    ]  # fmt: skip
    assert "no such folder" in found.failures["C"]
    assert found.notes[0].startswith("1 of 3 scans have no label")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("A,1,06/01/2001", "of the form 2000-11-30"),
        ("A,,2001-06-01", "outcome must be 0 or 1"),
        ("A,2,2001-06-01", "one of 0, 1"),
        ("../A,1,", "a folder's name"),
        ("A,1,\nA,0,", "line 3: each patient once"),
    ],
)
def test_a_follow_up_table_is_checked(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "outcomes.csv").write_text(f"patient,outcome,date\n{row}\n")
    with pytest.raises(DataError, match=message):
        follow_up.load(tmp_path)
