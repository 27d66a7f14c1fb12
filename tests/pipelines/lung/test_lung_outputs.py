import csv
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from fieldsight.datasets.dicom_source import Pseudonyms
from fieldsight.datasets.findings import Finding
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines import _figures
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.lung import _montage, _outputs

# Every plain attribute by which somebody or some place may be told, not only those of PS3.15's
# table: whatever holds a name, a text, a date or an identifier.
IDENTIFYING = sorted(
    keyword
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items()
    if vr in ("PN", "LO", "SH", "LT", "ST", "UT", "DA", "DT", "TM", "AS")
    and not retired
    and keyword
    and tag >> 16 in (0x08, 0x10, 0x12, 0x18, 0x20, 0x32, 0x38, 0x40)
    and keyword not in {"RescaleType"}
)
MARK = "Zebrafinch"
DATE, TIME, AGE = "19120304", "031415.926", "093Y"
PATIENTS = {"PatientName", "PatientID", "PatientBirthDate", "StudyID", "AccessionNumber",
            "ReferringPhysicianName", "StudyDescription", "PatientComments"}  # fmt: skip


def plant(data: Dataset) -> None:
    """A telling value in every identifying attribute, in private ones and in sequences."""
    for keyword in IDENTIFYING:
        vr = dictionary_VR(keyword)
        value = {"DA": DATE, "DT": f"{DATE}031415", "TM": TIME, "AS": AGE}.get(
            vr, f"{MARK}^Mary" if vr == "PN" else MARK
        )
        setattr(data, keyword, value)
    data.SeriesDescription = f"{MARK} chest"
    request = Dataset()
    request.RequestedProcedureDescription = MARK
    data.RequestAttributesSequence = [request]
    private = data.private_block(0x0099, f"{MARK} CREATOR", create=True)
    private.add_new(1, "LO", MARK)


def candidates(ct: ModuleType, volume: Volume) -> list[Finding]:
    x, y, z = volume.to_world((5.0, 16.0, 12.0)).tolist()
    return [
        Finding((x, y, z), 3.0, None, 0.05),
        ct.ball(volume, (2, 8, 6), 4, probability=0.6),
        ct.ball(volume, (4, 16, 12), 5, probability=0.9),
    ]


def text_of(path: Path) -> bytes:
    """A file's bytes, and of a picture what lies in its chunks uncompressed."""
    content = path.read_bytes()
    if path.suffix == ".png":
        with Image.open(path) as picture:
            content += repr(picture.info).encode()
    return content


# Privacy, L-17


def test_names_stand_in_sr_and_seg_alone(
    tmp_path: Path, ct: ModuleType, capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    assert len(IDENTIFYING) > 300
    caplog.set_level("DEBUG")
    volume = ct.write(tmp_path / "series", change=plant)
    written = _outputs.write_all(
        tmp_path / "out", volume, candidates(ct, volume), ct.PROVENANCE, threshold=0.5,
        uids=True, patient_score=0.5,
    )  # fmt: skip
    assert [path.name for path in written] == list(_outputs.FILES)
    for path in written:
        content = text_of(path)
        found = [word for word in (MARK, DATE, AGE, TIME) if word.encode() in content]
        if path.name in (_outputs.SR, _outputs.SEG):
            assert ct.errors(path) == []
            data = pydicom.dcmread(path)
            for keyword in PATIENTS:
                assert str(data[keyword].value) in (MARK, f"{MARK}^Mary", DATE), keyword
            assert f"{MARK} CREATOR" not in str(data)
        else:
            assert found == [], path.name
    heard = capfd.readouterr()
    for said in (heard.out, heard.err, caplog.text):
        assert MARK not in said


def test_with_pseudonyms_they_stand_nowhere(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series", change=plant)
    written = _outputs.write_all(
        tmp_path / "out", volume, candidates(ct, volume), ct.PROVENANCE, threshold=0.5,
        uids=True, pseudonyms=Pseudonyms(),
    )  # fmt: skip
    assert [path.name for path in written] == list(_outputs.FILES)
    for path in written:
        content = text_of(path)
        for word in (MARK, DATE, AGE, TIME, ct.ROOT):
            assert word.encode() not in content, (path.name, word)
        if path.suffix == ".dcm":
            assert ct.errors(path) == []
    # All of them name the series by the same other UID.
    told = json.loads((tmp_path / "out" / _outputs.JSON).read_text())
    rows = list(csv.DictReader((tmp_path / "out" / _outputs.CSV).open()))
    seg = pydicom.dcmread(tmp_path / "out" / _outputs.SEG)
    (series,) = seg.ReferencedSeriesSequence
    assert {row["seriesuid"] for row in rows} == {told["series_uid"], series.SeriesInstanceUID}
    assert told["findings"][0]["sop_instance_uid"] in {
        item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence
    }


def test_uids_are_written_only_where_asked(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    _outputs.write_all(tmp_path / "out", volume, candidates(ct, volume), ct.PROVENANCE)
    for name in (_outputs.JSON, _outputs.MARKUPS, _outputs.MONTAGE):
        assert ct.ROOT.encode() not in text_of(tmp_path / "out" / name)
    # LUNA16's form is joined on the series' UID.
    rows = list(csv.DictReader((tmp_path / "out" / _outputs.CSV).open()))
    assert {row["seriesuid"] for row in rows} == {f"{ct.ROOT}.2"}


# What is written


def test_all_files_number_and_place_the_findings_alike(tmp_path: Path, ct: ModuleType) -> None:
    import highdicom

    volume = ct.write(tmp_path / "series", ct.affine((-1, 0, 0), (0, -1, 0), -1))
    given = candidates(ct, volume)
    out = tmp_path / "out"
    _outputs.write_all(out, volume, given, ct.PROVENANCE, threshold=0.5)
    expected = [given[2], given[1], given[0]]  # the most probable first
    told = json.loads((out / _outputs.JSON).read_text())["findings"]
    assert [one["number"] for one in told] == [1, 2, 3]
    assert [one["shown"] for one in told] == [True, True, False]
    rows = list(csv.DictReader((out / _outputs.CSV).open()))
    points = json.loads((out / _outputs.MARKUPS).read_text())["markups"][0]["controlPoints"]
    decoded = highdicom.seg.segread(out / _outputs.SEG).get_volume()
    report: Any = highdicom.sr.srread(out / _outputs.SR).content
    groups = report.get_volumetric_roi_measurement_groups()
    assert [len(rows), len(points), len(groups), decoded.array.shape[-1]] == [3, 2, 2, 2]
    half_voxel = min(volume.spacing_mm) / 2
    for index, finding in enumerate(expected[:2]):
        (centre,) = [
            item.GraphicData for item in groups[index][0].ContentSequence
            if item.ValueType == "SCOORD3D"
        ]  # fmt: skip
        voxels = np.argwhere(decoded.array[..., index]).astype(float)
        places = [
            told[index]["centre_mm"],
            [float(rows[index][f"coord{axis}"]) for axis in "XYZ"],
            points[index]["position"],
            centre,
            decoded.map_indices_to_reference(voxels).mean(axis=0),
            volume.to_world(told[index]["voxel"]),
        ]
        for place in places:
            np.testing.assert_allclose(place, finding.centre_mm, atol=half_voxel)


def test_nothing_found_is_a_result(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")  # C-11
    written = _outputs.write_all(tmp_path / "out", volume, [], ct.PROVENANCE, threshold=0.5)
    names = [path.name for path in written]
    assert names == [name for name in _outputs.FILES if name != _outputs.SEG]
    assert ct.errors(tmp_path / "out" / _outputs.SR) == []
    told = json.loads((tmp_path / "out" / _outputs.JSON).read_text())
    assert told["findings"] == []
    assert "SEG isn't written: no finding was segmented." in told["notes"]


def test_other_formats_have_no_sr_and_seg_and_say_so(tmp_path: Path, ct: ModuleType) -> None:
    # As LUNA16's .mhd files: their name is the series' UID.
    volume = Volume(
        np.full((7, 24, 20), -800, np.int16), ct.affine((1, 0, 0), (0, 1, 0), 1),
        name="1.3.6.1.4", series_uid="1.3.6.1.4",
    )  # fmt: skip
    found = [ct.ball(volume, (3, 9, 9), 5)]
    written = _outputs.write_all(tmp_path / "out", volume, found, ct.PROVENANCE)
    assert {path.name for path in written} == {
        _outputs.CSV, _outputs.JSON, _outputs.MARKUPS, _outputs.MONTAGE,
    }  # fmt: skip
    told = json.loads((tmp_path / "out" / _outputs.JSON).read_text())
    assert any(note.startswith("SR and SEG aren't written") for note in told["notes"])
    assert (tmp_path / "out" / _outputs.CSV).read_text().splitlines()[1].startswith("1.3.6.1.4,")


def test_what_was_broken_is_recorded(tmp_path: Path, ct: ModuleType) -> None:
    def broken(data: Dataset) -> None:
        study = Dataset()
        study.ReferencedSOPInstanceUID = "1.2.3"
        data.ReferencedStudySequence = [study]

    volume = ct.write(tmp_path / "series", change=broken)
    _outputs.write_all(tmp_path / "out", volume, [], ct.PROVENANCE)
    notes = json.loads((tmp_path / "out" / _outputs.JSON).read_text())["notes"]
    assert [note for note in notes if "ReferencedStudySequence" in note]


# Never half


def test_answers_of_an_earlier_time_are_replaced_as_a_whole(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    _outputs.write_all(tmp_path / "out", volume, candidates(ct, volume), ct.PROVENANCE)
    assert (tmp_path / "out" / _outputs.SEG).exists()
    _outputs.write_all(tmp_path / "out", volume, [], ct.PROVENANCE)
    assert not (tmp_path / "out" / _outputs.SEG).exists()
    assert {path.name for path in tmp_path.iterdir()} == {"series", "out"}


def test_a_failure_leaves_the_earlier_answers(
    tmp_path: Path, ct: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = ct.write(tmp_path / "series")
    _outputs.write_all(tmp_path / "out", volume, [], ct.PROVENANCE)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(*_: Any, **__: Any) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_figures, "png", full)
    with pytest.raises(CommandError, match="No space left"):
        _outputs.write_all(tmp_path / "out", volume, candidates(ct, volume), ct.PROVENANCE)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"series", "out"}


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    with pytest.raises(CommandError, match="other things"):
        _outputs.write_all(tmp_path / "series", volume, [], ct.PROVENANCE)
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="a file"):
        _outputs.write_all(tmp_path / "file", volume, [], ct.PROVENANCE)


# The picture


def words(figure: Any) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    return found + [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_picture_tells_number_size_and_scores(ct: ModuleType) -> None:
    volume = Volume(
        np.full((7, 24, 20), -800, np.int16), ct.affine((1, 0, 0), (0, 1, 0), 1),
        facts={"simulated": 1},
    )  # fmt: skip
    found = [ct.ball(volume, (3, 9, 9), 5, probability=0.875, suspicion=0.4)]
    figure = _montage.montage(volume, found, ct.PROVENANCE)
    said = words(figure)
    for part in ("1", "5.0 mm", "nodule: 88 %", "suspicion: 40 %", "10 mm", "axial", "coronal",
                 "sagittal", "SIMULATED scan: 1 finding"):  # fmt: skip
        assert part in said, part
    about = " ".join(said).replace("\n", " ")
    assert "model trained on SIMULATED patients alone" in about
    assert "not a medical device" in about


def test_the_right_of_the_patient_is_on_the_left_whatever_the_cosines(ct: ModuleType) -> None:
    # A bright block at the patient's left, back and head; each scan holds it in another corner.
    for cosines in (
        ((1, 0, 0), (0, 1, 0), 1),
        ((-1, 0, 0), (0, -1, 0), -1),
        ((0, 1, 0), (0, 0, -1), 1),
    ):
        place = ct.affine(*cosines, spacing=(1, 1, 1))
        place[:3, 3] = -place[:3, :3] @ (20, 20, 20)  # the middle voxel is at 0, 0, 0
        grid = np.moveaxis(np.indices((41, 41, 41)), 0, -1) @ place[:3, :3].T + place[:3, 3]
        values = np.where((grid > 8).all(axis=-1), 600, -1200).astype(np.int16)
        volume = Volume(values, place)
        figure = _montage.montage(
            volume, [Finding((12.0, 12.0, 12.0), 5, None, 0.9)], ct.PROVENANCE
        )
        axial, coronal, sagittal = (np.asarray(image.get_array())[..., 0]
                                    for image in figure.axes[0].images)  # fmt: skip
        # 40 mm in 160 pixels around 12: 8 mm lies 64 pixels from the left or the bottom.
        for picture in (axial, coronal, sagittal):
            assert picture[:, :55].max() < 0.2
        assert axial[:55].max() < 0.2  # the front is dark, above
        assert coronal[-55:].max() < 0.2  # the feet are dark, below
        assert sagittal[-55:].max() < 0.2
        for picture in (axial, coronal, sagittal):
            assert picture[80, 80] > 0.9


def test_heat_lies_where_its_own_grid_puts_it(ct: ModuleType) -> None:
    place = ct.affine((1, 0, 0), (0, 1, 0), 1, spacing=(1, 1, 1))
    volume = Volume(np.full((41, 41, 41), -1200, np.int16), place)
    centre = volume.to_world((20, 20, 20))
    x, y, z = centre.tolist()
    values = np.zeros((10, 10, 10))
    values[:, :, 5:] = 2.0  # to the left of the patient
    grid = ct.affine((1, 0, 0), (0, 1, 0), 1, spacing=(2, 2, 2))
    grid[:3, 3] = centre - 9  # its middle is the finding
    figure = _montage.montage(
        volume, [Finding((x, y, z), 5, None, 0.9), Finding((x, y, z), 5, None, 0.8)],
        ct.PROVENANCE, heat={1: _montage.Heat(values, grid)},
    )  # fmt: skip
    pictures = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    assert len(pictures) == 7  # three planes of each, and one map
    warm = pictures[3].mean(axis=-1)
    assert warm[80, 95] > warm[80, 65] + 0.2


def test_many_findings_are_drawn_to_a_limit(ct: ModuleType) -> None:
    volume = Volume(np.full((7, 24, 20), -800, np.int16), ct.affine((1, 0, 0), (0, 1, 0), 1))
    found = [Finding((0, 45, -155), 5, None, 0.5 + k / 100) for k in range(20)]
    figure = _montage.montage(volume, found, ct.PROVENANCE)
    assert "The 8 most probable of 20 findings" in words(figure)
    assert len(figure.axes[0].images) == 8 * 3


def test_a_picture_of_nothing_says_so(ct: ModuleType) -> None:
    volume = Volume(np.full((7, 24, 20), -800, np.int16), np.eye(4))
    figure = _montage.montage(volume, [], ct.PROVENANCE, threshold=0.35)
    assert any("0.35" in text and "no proof" in text for text in words(figure))


def test_a_sample_outside_is_air() -> None:
    values = _montage.sample(np.ones((3, 3, 3)), np.array([[1.0, 1, 1], [9, 9, 9]]), outside=-5.0)
    assert values.tolist() == [1.0, -5.0]
