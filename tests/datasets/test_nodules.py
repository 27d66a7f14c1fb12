"""Labels of scans: what is refused, how patients are split, which layout a folder has."""

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fieldsight.datasets import nodules
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.nodules import Nodule, Scan, ScanSet
from fieldsight.datasets.volume import Volume


def nothing() -> Volume:
    raise AssertionError("no voxel is needed here")


def scan(name: str, group: str = "", **values: object) -> Scan:
    plain = Scan(name, group or name, f"1.2.{name}", (), (), None, None, nothing)
    return dataclasses.replace(plain, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (((0, 0, np.nan), 5), "three finite numbers"),
        (((0, 0), 5), "three finite numbers"),
        (((0, 0, 0), 0), "above 0"),
        (((0, 0, 0), np.inf), "above 0"),
        (((0, 0, 0), 5, "", "", 6), "graded from 1 to 5"),
    ],
)
def test_a_nodule_is_a_place_a_size_and_a_grade(values: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Nodule(*values)  # type: ignore[arg-type]


def test_the_middle_grade_is_indeterminate() -> None:  # L-11
    said = [Nodule((0, 0, 0), 5, malignancy=grade).suspicious for grade in (1, 2.5, 3, 3.5, 5)]
    assert said == [False, False, None, True, True]
    assert Nodule((0, 0, 0), 5).suspicious is None


@pytest.mark.parametrize("twin", [{"name": "a"}, {"series_uid": "1.2.a"}])
def test_a_scan_twice_is_refused(twin: dict[str, str]) -> None:
    with pytest.raises(DataError, match="two of"):
        ScanSet((scan("a"), dataclasses.replace(scan("b"), **twin)), "test")  # type: ignore[arg-type]


def test_a_patient_lies_on_one_side() -> None:  # L-10, C-6
    # Every patient has two scans, as eight of LIDC-IDRI's have.
    scans = tuple(scan(f"{p:02d}{k}", f"patient {p}") for p in range(20) for k in "ab")
    split = ScanSet(scans, "test").split(seed=3)
    sides = [{scans[i].group for i in side} for side in (split.train, split.val, split.test)]
    assert [len(side) for side in sides] == [14, 3, 3]
    assert set.union(*sides) == {f"patient {p}" for p in range(20)}


def test_cancers_are_dealt_to_every_side() -> None:
    scans = tuple(scan(f"{i:02d}", cancer=int(i < 10)) for i in range(40))
    split = ScanSet(scans, "test").split(seed=0)
    assert [sum(int(i) < 10 for i in side) for side in (split.train, split.val, split.test)] == [
        pytest.approx(7, abs=1), pytest.approx(1.5, abs=0.5), pytest.approx(1.5, abs=0.5),
    ]  # fmt: skip


def test_folds_are_as_published_and_the_next_one_validates() -> None:  # L-10
    scans = tuple(scan(f"{i:02d}", fold=i % 10) for i in range(30))
    split = ScanSet(scans, "luna16").split(fold=9)
    assert split.test.tolist() == [9, 19, 29]
    assert split.val.tolist() == [0, 10, 20]
    assert len(split.train) == 24


def test_a_patient_in_two_folds_fails() -> None:  # L-10, C-6
    scans = (scan("a", "p", fold=0), scan("b", "p", fold=1), scan("c", fold=2))
    with pytest.raises(DataError, match="share no group"):
        ScanSet(scans, "luna16").split(fold=0)


@pytest.mark.parametrize(("fold", "folds"), [(3, (0, 1, 2)), (0, (0, None, 1))])
def test_a_fold_that_is_not_there_is_refused(fold: int, folds: tuple[int | None, ...]) -> None:
    scans = tuple(scan(str(i), fold=each) for i, each in enumerate(folds))
    with pytest.raises(DataError, match="fold"):
        ScanSet(scans, "luna16").split(fold=fold)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DataError, match="3 sides need a group each"):
        ScanSet((scan("a"), scan("b")), "test").split()


def test_the_fingerprint_follows_every_label() -> None:
    base = ScanSet((scan("a", nodules=(Nodule((1, 2, 3), 5),)), scan("b")), "test")
    others = [
        ScanSet((scan("a", nodules=(Nodule((1, 2, 3), 5.5),)), scan("b")), "test"),
        ScanSet((scan("a", nodules=(Nodule((1, 2, 3), 5),)), scan("b", cancer=1)), "test"),
        ScanSet(base.scans, "other"),
        ScanSet(base.scans, "test", simulated=True),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert ScanSet(base.scans, "test").fingerprint == base.fingerprint


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_a_layout_says_what_is_needed(tmp_path: Path, folder: str) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"subset0.*stage1_labels.*seriesuid,coordX"):
        nodules.load(tmp_path / folder)


def test_a_layout_is_known_by_what_is_there(tmp_path: Path, lung: ModuleType) -> None:
    head = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    luna, plain = tmp_path / "luna", tmp_path / "plain"
    lung.write_mhd(luna / "subset4" / "1.2.3.mhd", lung.small())
    lung.write_mhd(plain / "1.2.3.mhd", lung.small())
    for folder in (luna, plain):
        (folder / "annotations.csv").write_text(head)
    assert [nodules.load(folder).name for folder in (luna, plain)] == ["luna16", "series_csv"]
