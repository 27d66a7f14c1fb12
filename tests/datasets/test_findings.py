import csv
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fieldsight.datasets.findings import (
    Finding,
    cautions,
    central_plane,
    labels,
    marks,
    write_csv,
    write_json,
)
from fieldsight.datasets.slicer import write_markups
from fieldsight.datasets.volume import Volume

# Columns run to the patient's right and rows to the front: both cosines are flipped.
FLIPPED = np.array([[0, 0, -0.5, 10], [0, -0.5, 0, 20], [2.0, 0, 0, -100], [0, 0, 0, 1]])
VOLUME = Volume(np.zeros((10, 30, 40), np.int16), FLIPPED, series_uid="1.2.3")


def test_the_table_is_lunas_submission_form(tmp_path: Path) -> None:
    # L-16: LUNA16's evaluation script reads these five columns, by these names.
    write_csv(tmp_path / "f.csv", "1.2.3", [Finding((-60.5, 12.25, -210), 6, None, 0.875)])
    assert (tmp_path / "f.csv").read_text() == (
        "seriesuid,coordX,coordY,coordZ,probability\n1.2.3,-60.5000,12.2500,-210.0000,0.875000\n"
    )


def test_no_finding_is_a_header_alone(tmp_path: Path) -> None:
    write_csv(tmp_path / "f.csv", "1.2.3", [])  # C-11
    assert list(csv.reader((tmp_path / "f.csv").open())) == [
        ["seriesuid", "coordX", "coordY", "coordZ", "probability"]
    ]


def test_json_tells_place_voxel_size_and_what_found_it(tmp_path: Path, ct: ModuleType) -> None:
    # By hand: x = 10 - column/2, y = 20 - row/2, z = -100 + 2 plane.
    finding = Finding((5.0, 15.0, -94.0), 6.5, 143.8, 0.91, 0.25)
    low = Finding((5.0, 15.0, -90.0), 9.0, None, 0.05)
    write_json(
        tmp_path / "f.json", VOLUME, [finding, low], ct.PROVENANCE, threshold=0.5,
        patient_score=0.3,
    )  # fmt: skip
    told = json.loads((tmp_path / "f.json").read_text())
    first, second = told["findings"]
    assert first["centre_mm"] == [5.0, 15.0, -94.0]
    assert first["voxel"] == [3.0, 10.0, 10.0]
    assert (first["diameter_mm"], first["volume_mm3"]) == (6.5, 143.8)
    assert (first["probability"], first["suspicion"]) == (0.91, 0.25)
    assert (first["shown"], second["shown"]) == (True, False)
    assert second["volume_mm3"] is None
    assert told["patient"]["score"] == 0.3
    assert told["patient"]["largest_diameter_mm"] == 6.5  # L-15: beside it, of what is shown
    assert told["provenance"]["trained_on"] == "simulated patients, seed 0"  # C-10
    assert "not a medical device" in told["disclaimer"]  # L-17
    assert told["marks"] == ["model trained on SIMULATED patients alone"]


def test_json_has_uids_only_where_asked(tmp_path: Path, ct: ModuleType) -> None:
    # L-17. A note of the reader's may name a slice by its UID.
    volume = Volume(
        VOLUME.hounsfield, FLIPPED, notes=("1.2.840.113619.2.5.1 is there twice",),
        series_uid="1.2.840.99.7",
    )  # fmt: skip
    finding = Finding((5.0, 15.0, -94.2), 6.5, None, 0.91)
    instances = [f"1.2.840.99.7.{plane}" for plane in range(10)]
    for uids in (None, instances):
        write_json(
            tmp_path / "f.json", volume, [finding], ct.PROVENANCE, uids=uids,
            series_uid="1.2.840.99.7",
        )  # fmt: skip
        text = (tmp_path / "f.json").read_text()
        assert ("1.2.840" in text) == (uids is not None)
    assert json.loads(text)["findings"][0]["sop_instance_uid"] == "1.2.840.99.7.3"
    assert json.loads(text)["series_uid"] == "1.2.840.99.7"
    assert "(a UID) is there twice" in json.loads(text)["notes"]  # it may have a pseudonym


@pytest.mark.parametrize(
    ("spacing", "warned"),
    [((2.5, 1, 1), ""), ((2.6, 1, 1), "slices of 2.6 mm"), ((1, 5, 1), "pixels of 5 mm")],
)
def test_thick_slices_are_warned_about_once(
    tmp_path: Path, ct: ModuleType, spacing: tuple[float, ...], warned: str
) -> None:
    # L-15: slices over 2.5 mm are outside LUNA16's domain, the rows of a coronal scan too.
    volume = Volume(VOLUME.hounsfield, np.diag([*spacing, 1]))
    volume = replace(volume, notes=cautions(volume))  # as readers do
    write_json(tmp_path / "f.json", volume, [], ct.PROVENANCE)
    notes = json.loads((tmp_path / "f.json").read_text())["notes"]
    assert [note.split(":")[0] for note in notes] == [warned] * bool(warned)


@pytest.mark.parametrize(("z", "plane"), [(-100.0, 0), (-94.9, 3), (-300.0, 0), (50.0, 9)])
def test_the_central_plane_is_the_nearest_one(z: float, plane: int) -> None:
    assert central_plane(Finding((0, 0, z), 5, None, 0.5), VOLUME) == plane


def test_a_voxel_of_two_masks_belongs_to_the_first() -> None:
    row = np.ones((1, 1, 3), bool)
    one = Finding((0, 0, 0), 5, None, 0.9, mask=row, mask_start=(2, 3, 4))
    two = Finding((0, 0, 0), 5, None, 0.8, mask=row, mask_start=(2, 3, 6))
    array, start = labels(VOLUME, [one, two])
    assert start == (2, 3, 4)
    assert array.tolist() == [[[1, 1, 1, 2, 2]]]


def test_a_mask_over_the_volumes_edge_is_cut_there() -> None:
    over = Finding((0, 0, 0), 5, None, 0.9, mask=np.ones((3, 3, 3), bool), mask_start=(-1, 28, 39))
    array, start = labels(VOLUME, [over])
    assert start == (0, 28, 39)
    assert array.shape == (2, 2, 1)


def test_a_simulated_scan_is_marked(ct: ModuleType) -> None:
    volume = Volume(VOLUME.hounsfield, FLIPPED, facts={"simulated": 1})
    assert marks(volume, ct.PROVENANCE)[0] == "SIMULATED scan"


@pytest.mark.parametrize(
    "wrong",
    [
        {"centre_mm": (np.nan, 0, 0)},
        {"diameter_mm": -1},
        {"probability": 1.1},
        {"suspicion": -0.1},
        {"mask": np.ones((2, 2))},
        {"mask": np.ones((2, 2, 2), np.uint8)},
    ],
)
def test_impossible_findings_are_refused(wrong: dict[str, object]) -> None:
    usual: dict[str, object] = {
        "centre_mm": (0, 0, 0), "diameter_mm": 5, "volume_mm3": None, "probability": 0.5,
    }  # fmt: skip
    with pytest.raises(ValueError, match="Received"):
        Finding(**(usual | wrong))  # type: ignore[arg-type]


def test_markups_are_points_and_diameters_in_lps(tmp_path: Path, ct: ModuleType) -> None:
    # Slicer's markups schema 1.0.3: a point list, and a line whose length is the diameter.
    finding = Finding((5.0, 15.0, -94.0), 6.5, 143.8, 0.91, 0.25)
    write_markups(tmp_path / "f.mrk.json", VOLUME, [finding], ct.PROVENANCE)
    told = json.loads((tmp_path / "f.mrk.json").read_text())
    assert told["@schema"].endswith("markups-schema-v1.0.3.json#")
    points, line = told["markups"]
    assert (points["type"], points["coordinateSystem"]) == ("Fiducial", "LPS")
    assert points["controlPoints"][0]["position"] == [5.0, 15.0, -94.0]
    for part in ("6.5 mm", "0.910", "SIMULATED", "not a medical device"):
        assert part in points["controlPoints"][0]["description"]
    ends = np.array([point["position"] for point in line["controlPoints"]])
    assert line["type"] == "Line"
    np.testing.assert_allclose(np.linalg.norm(ends[1] - ends[0]), 6.5)
    np.testing.assert_allclose(ends.mean(axis=0), [5.0, 15.0, -94.0])


def test_no_finding_is_an_empty_list_of_points(tmp_path: Path, ct: ModuleType) -> None:
    write_markups(tmp_path / "f.mrk.json", VOLUME, [], ct.PROVENANCE)
    (points,) = json.loads((tmp_path / "f.mrk.json").read_text())["markups"]
    assert points["controlPoints"] == []
