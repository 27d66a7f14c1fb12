import itertools
import os
import subprocess
from functools import partial
from io import FileIO
from pathlib import Path
from types import ModuleType
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from fieldsight.datasets.dicom_seg import write_seg
from fieldsight.datasets.dicom_source import Pseudonyms, read_source
from fieldsight.datasets.dicom_sr import write_sr
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.findings import Finding
from fieldsight.datasets.volume import Slice, Volume

AXIAL = [
    ((row, 0, 0), (0, column, 0), step)
    for row, column, step in itertools.product((1, -1), (1, -1), (1, -1))
]


def report(
    ct: ModuleType,
    volume: Volume,
    findings: list[Finding],
    folder: Path,
    pseudonyms: Pseudonyms | None = None,
    **more: Any,
) -> pydicom.Dataset:
    source = read_source(volume, pseudonyms)
    segmented = write_seg(folder / "seg.dcm", volume, findings, ct.PROVENANCE, source)
    write_sr(
        folder / "sr.dcm", volume, findings, ct.PROVENANCE, source, segmented=segmented, **more
    )
    return pydicom.dcmread(folder / "sr.dcm")


def groups(path: Path) -> list[Any]:
    """The measurements of each nodule, as highdicom reads them."""
    content: Any = highdicom.sr.srread(path).content
    return list(content.get_volumetric_roi_measurement_groups())


def texts(data: Any) -> list[str]:
    return [str(element.value) for element in data.iterall() if element.keyword == "TextValue"]


@pytest.mark.parametrize("cosines", AXIAL, ids=str)
def test_the_report_the_segments_and_the_findings_agree(
    tmp_path: Path, ct: ModuleType, cosines: Any
) -> None:
    # L-16, half a voxel at most. One is segmented and one a sphere.
    volume = ct.write(tmp_path / "series", ct.affine(*cosines))
    x, y, z = volume.to_world((5.0, 16.0, 12.0)).tolist()
    findings = [ct.ball(volume, (2, 8, 6), 4), Finding((x, y, z), 3.0, None, 0.6)]
    report(ct, volume, findings, tmp_path)
    assert ct.errors(tmp_path / "sr.dcm") == []
    decoded = highdicom.seg.segread(tmp_path / "seg.dcm").get_volume()
    segmented, sphere = groups(tmp_path / "sr.dcm")
    places = decoded.map_indices_to_reference(np.argwhere(decoded.array[..., 0]).astype(float))
    half_voxel = np.array(volume.spacing_mm) / 2
    for group, finding in zip((segmented, sphere), findings, strict=True):
        (centre,) = [
            item.GraphicData
            for item in group[0].ContentSequence
            if item.ValueType == "SCOORD3D" and item.GraphicType == "POINT"
        ]
        np.testing.assert_allclose(centre, finding.centre_mm, atol=1e-3)
    off = volume.to_index(places.mean(axis=0)) - volume.to_index(findings[0].centre_mm)
    assert (np.abs(off) * volume.spacing_mm < half_voxel).all()
    assert segmented.referenced_segment[0].referenced_segment_numbers == [1]
    ends = np.array(sphere.roi[0].value)
    np.testing.assert_allclose(ends.mean(axis=0), findings[1].centre_mm, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(ends[1::2] - ends[::2], axis=1), 3.0, atol=1e-3)


def test_measurements_are_read_back(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    finding = ct.ball(volume, (3, 9, 9), 5, probability=0.875, suspicion=0.4)
    data = report(ct, volume, [finding], tmp_path, patient_score=0.25)
    (group,) = groups(tmp_path / "sr.dcm")
    measured = {
        item.name.meaning: (item.value, item.unit.value) for item in group.get_measurements()
    }
    assert measured["Diameter"] == (5.0, "mm")
    assert measured["Volume"] == (pytest.approx(finding.volume_mm3, rel=1e-5), "mm3")
    assert measured["Certainty of Finding"] == (87.5, "%")
    # L-15: suspicion, in readers' opinion, and never a probability of cancer.
    assert measured["Suspicion of malignancy in readers' opinion"] == (40.0, "%")
    assert "cancer" not in str(data).lower()
    segment = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence[0]
    assert group.tracking_uid == segment.TrackingUID  # the same nodule in both
    whole: Any = highdicom.sr.srread(tmp_path / "sr.dcm").content
    (last,) = whole.get_image_measurement_groups()
    assert [item.value for item in last.get_measurements()] == [25.0]


def test_it_is_unverified_preliminary_and_names_the_model(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    data = report(ct, volume, [ct.ball(volume, (3, 9, 9), 5)], tmp_path)
    assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR
    assert data.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (data.VerificationFlag, data.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")  # L-17
    assert data.SeriesDescription.startswith("SIMULATED")
    said = "\n".join(texts(data))
    for part in ("lung-detector v3", "seed 0", "SIMULATED", "not a medical device"):  # C-10
        assert part in said


def test_no_finding_is_a_report_that_says_so(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")  # C-11
    data = report(ct, volume, [], tmp_path)
    assert ct.errors(tmp_path / "sr.dcm") == []
    assert "without findings" in str(data)
    assert groups(tmp_path / "sr.dcm") == []


def test_it_refers_to_every_slice_that_was_looked_at(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    data = report(ct, volume, [], tmp_path)
    (study,) = data.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (f"{ct.ROOT}.1", f"{ct.ROOT}.2")
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence} == {
        part.sop_instance_uid for part in volume.slices
    }


def test_dsrdump_reads_it(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    findings = [ct.ball(volume, (3, 9, 9), 5), Finding((0, 45, -155), 3, None, 0.6)]
    report(ct, volume, findings, tmp_path, patient_score=0.5)
    done = subprocess.run(
        [ct.tool("dsrdump"), "+Pl", str(tmp_path / "sr.dcm")], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""
    for part in ("Imaging Measurement Report", "PRELIMINARY", "UNVERIFIED", "Diameter",
                 "Referenced Segment", "ELLIPSOID", "Nodule"):  # fmt: skip
        assert part in done.stdout


def test_a_sphere_in_an_interpolated_plane_refers_to_the_next_slice(
    tmp_path: Path, ct: ModuleType
) -> None:
    whole = ct.write(tmp_path / "series")
    slices = tuple(
        Slice(None, "", "") if plane in (3, 4) else part for plane, part in enumerate(whole.slices)
    )
    volume = Volume(whole.hounsfield, whole.affine, series_uid=whole.series_uid, slices=slices)
    x, y, z = volume.to_world((3.2, 9, 9)).tolist()
    mask = np.ones((1, 2, 2), bool)
    findings = [
        Finding((x, y, z), 3, None, 0.6),
        Finding((x, y, z), 3, 1.0, 0.5, mask=mask, mask_start=(4, 9, 9)),
    ]
    report(ct, volume, findings, tmp_path)
    assert ct.errors(tmp_path / "sr.dcm") == []
    assert ct.errors(tmp_path / "seg.dcm") == []
    sphere, segment = groups(tmp_path / "sr.dcm")
    for group, plane in ((sphere, 2), (segment, 5)):
        (image,) = [
            item
            for item in group[0].ContentSequence
            if item.ValueType == "IMAGE"
            and item.ConceptNameCodeSequence[0].CodeMeaning == "Source Image for Segmentation"
        ]
        named = image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        assert named == slices[plane].sop_instance_uid


def test_the_real_series_gives_no_error(tmp_path: Path, ct: ModuleType) -> None:
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "lung" / "lung_pet_ct_dx" / "A0001"
    if not folder.is_dir():
        pytest.skip(f"the real series isn't in {folder}; name its data folder in FIELDSIGHT_DATA")
    volume = ct.headers_of(folder)
    first = pydicom.dcmread(volume.slices[0].path, stop_before_pixels=True)
    mask = np.ones((3, 9, 9), bool)
    x, y, z = volume.to_world((31, 254, 304)).tolist()
    finding = Finding((x, y, z), 8, 500, 0.9, mask=mask, mask_start=(30, 250, 300))
    data = report(ct, volume, [finding], tmp_path)
    assert ct.errors(tmp_path / "sr.dcm") == []
    assert ct.errors(tmp_path / "seg.dcm") == []
    # Its ReferencedStudySequence lacks the class that an item must have.
    assert "ReferencedStudySequence" not in data
    source = read_source(volume)
    assert source.on_slices
    assert [note for note in source.notes if "ReferencedStudySequence" in note]
    for keyword in ("PatientName", "PatientID", "PatientSex", "PatientAge", "StudyInstanceUID",
                    "StudyDate", "StudyTime", "StudyDescription", "DeidentificationMethod",
                    "EthnicGroup", "DeidentificationMethodCodeSequence"):  # fmt: skip
        assert data[keyword] == first[keyword]  # L-17: unchanged
    decoded = highdicom.seg.segread(tmp_path / "seg.dcm").get_volume()
    there = decoded.map_indices_to_reference(np.argwhere(decoded.array[..., 0]).astype(float))
    np.testing.assert_allclose(there.mean(axis=0), finding.centre_mm, atol=0.01)


def test_frames_of_a_multi_frame_file_are_named(tmp_path: Path, ct: ModuleType) -> None:
    whole = ct.write(tmp_path / "series")
    kind, uid = "1.2.840.10008.5.1.4.1.1.2.1", f"{ct.ROOT}.9"  # Enhanced CT Image Storage
    slices = tuple(Slice(whole.slices[0].path, kind, uid, frame) for frame in range(1, 8))
    volume = Volume(whole.hounsfield, whole.affine, series_uid=whole.series_uid, slices=slices)
    x, y, z = volume.to_world((5.2, 9, 9)).tolist()
    findings = [ct.ball(volume, (3, 9, 9), 5), Finding((x, y, z), 3, None, 0.6)]
    data = report(ct, volume, findings, tmp_path)
    assert ct.errors(tmp_path / "sr.dcm") == []
    named = []
    for group in groups(tmp_path / "sr.dcm"):
        (image,) = [
            item.ReferencedSOPSequence[0]
            for item in group[0].ContentSequence
            if item.ValueType == "IMAGE"
            and item.ConceptNameCodeSequence[0].CodeMeaning == "Source Image for Segmentation"
        ]
        assert (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID) == (kind, uid)
        named.append(np.atleast_1d(image.ReferencedFrameNumber).tolist())
    assert named == [[3, 4, 5], [6]]
    evidence = data.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert sum(len(series.ReferencedSOPSequence) for series in evidence) == 2  # it and the SEG


@pytest.mark.parametrize("setting", ["default", "other"])
def test_simulated_series_give_no_error(tmp_path: Path, ct: ModuleType, setting: Any) -> None:
    from fieldsight.datasets.simulated import lung

    lung.write(tmp_path / "simulated", seed=0, count=1, setting=setting)
    volume = ct.headers_of(tmp_path / "simulated" / "dicom")
    mask = np.ones((3, 9, 9), bool)
    x, y, z = volume.to_world((31, 104, 104)).tolist()
    finding = Finding((x, y, z), 8, 500, 0.9, mask=mask, mask_start=(30, 100, 100))
    data = report(ct, volume, [finding], tmp_path)
    assert ct.errors(tmp_path / "sr.dcm") == []
    assert ct.errors(tmp_path / "seg.dcm") == []
    assert "SIMULATED" in str(data.PatientName)
    decoded = highdicom.seg.segread(tmp_path / "seg.dcm").get_volume()
    there = decoded.map_indices_to_reference(np.argwhere(decoded.array[..., 0]).astype(float))
    off = volume.to_index(there.mean(axis=0)) - volume.to_index(finding.centre_mm)
    assert np.abs(off).max() < 0.5


# With pseudonyms


def test_pseudonyms_replace_the_patient_and_every_uid(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    findings = [ct.ball(volume, (3, 9, 9), 5), Finding((0, 45, -155), 3, None, 0.6)]
    sr = report(ct, volume, findings, tmp_path, Pseudonyms())
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    for path in (tmp_path / "sr.dcm", tmp_path / "seg.dcm"):
        assert ct.errors(path) == []
        content = path.read_bytes()
        for part in ("Mustermann", "Erika", "ZZ-4711", "Bekannt", "Waldklinik", "ACME", ct.ROOT):
            assert part.encode() not in content, part
        # In new UIDs any digits may stand by chance.
        said = [str(e.value) for e in pydicom.dcmread(path).iterall() if e.VR not in ("UI", "SQ")]
        for part in ("19641212", "20210304"):
            assert not any(part in text for text in said), part
    assert sr.PatientID == seg.PatientID != ""
    assert sr.StudyInstanceUID == seg.StudyInstanceUID
    assert sr.PatientIdentityRemoved == "YES"
    # What SR and SEG refer to is the same series, under the same other name.
    evidence = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID in {
        series.SeriesInstanceUID for series in evidence
    }
    instances = {
        item.ReferencedSOPInstanceUID
        for series in evidence
        for item in series.ReferencedSOPSequence
    }
    assert {
        item.ReferencedSOPInstanceUID
        for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    } <= instances
    assert seg.SOPInstanceUID in instances
    assert {
        str(element.value)
        for element in sr.iterall()
        if element.keyword == "ReferencedFrameOfReferenceUID"
    } == {seg.FrameOfReferenceUID}


def test_pseudonyms_are_consistent_and_not_to_be_guessed() -> None:
    one, other = Pseudonyms(), Pseudonyms()
    assert one.uid("1.2.3") == one.uid("1.2.3") != one.uid("1.2.4")
    assert one.uid("1.2.3") != other.uid("1.2.3")
    assert one.patient("A") == one.patient("A") != other.patient("A")
    assert one.uid("1.2.3").startswith("2.25.")
    assert len(one.uid("1.2.3")) <= 64
    assert repr(one.secret) not in repr(one)


def test_patients_without_a_number_are_not_taken_for_one(tmp_path: Path, ct: ModuleType) -> None:
    names = Pseudonyms()
    known = []
    for study in ("1.2.3", "1.2.4"):

        def nameless(data: Any, study: str = study) -> None:
            data.PatientID, data.StudyInstanceUID = "", study

        volume = ct.write(tmp_path / study, change=nameless)
        known.append(read_source(volume, names).inherited.PatientID)
    assert known[0] != known[1]


# What can't be referred to


def test_another_format_is_refused(ct: ModuleType) -> None:
    with pytest.raises(DataError, match="another format"):
        read_source(Volume(np.zeros((2, 3, 4), np.int16), np.eye(4)))


def test_files_that_are_gone_are_refused(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    for part in volume.slices:
        part.path.unlink()
    with pytest.raises(DataError, match="gone"):
        read_source(volume)


def test_a_series_without_uids_is_refused(tmp_path: Path, ct: ModuleType) -> None:
    def broken(data: Any) -> None:
        data.StudyInstanceUID = ""

    with pytest.raises(DataError, match="study, series and instance"):
        read_source(ct.write(tmp_path / "series", change=broken))


def test_slices_in_an_archive_are_opened_there(tmp_path: Path, ct: ModuleType) -> None:
    whole = ct.write(tmp_path / "series")
    slices = tuple(
        Slice(None, part.sop_class_uid, part.sop_instance_uid, open=partial(FileIO, part.path))
        for part in whole.slices
    )
    volume = Volume(whole.hounsfield, whole.affine, series_uid=whole.series_uid, slices=slices)
    assert read_source(volume).inherited.PatientName == "Mustermann^Erika"
