import itertools
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import EnhancedCTImageStorage

from fieldsight.datasets.dicom_seg import write_seg
from fieldsight.datasets.dicom_source import Pseudonyms, read_source
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.findings import Finding
from fieldsight.datasets.volume import Slice, Volume

# The eight ways along and against the patient's axes, and two that are axial no more.
AXIAL = [
    ((row, 0, 0), (0, column, 0), step)
    for row, column, step in itertools.product((1, -1), (1, -1), (1, -1))
]
OTHERS: list[Any] = [
    ((0, 1, 0), (0, 0, -1), 1),
    ((0.96, 0.28, 0), (-0.224, 0.768, 0.6), -1),
]


def written(ct: ModuleType, volume: Volume, findings: list[Finding], path: Path) -> Any:
    source = read_source(volume)
    return write_seg(path, volume, findings, ct.PROVENANCE, source)


@pytest.mark.parametrize("cosines", [*AXIAL, *OTHERS], ids=str)
def test_voxels_lie_where_they_were_found(
    tmp_path: Path, ct: ModuleType, cosines: tuple[Any, Any, int]
) -> None:
    # L-16: cosines of every sign. highdicom decodes the geometry on its own.
    volume = ct.write(tmp_path / "series", ct.affine(*cosines))
    findings = [ct.ball(volume, (2, 6, 5), 4), ct.ball(volume, (4, 17, 13), 5.5)]
    path = tmp_path / "nodules.dcm"
    written(ct, volume, findings, path)
    assert ct.errors(path) == []
    decoded = highdicom.seg.segread(path).get_volume()
    for number, finding in enumerate(findings):
        places = np.argwhere(decoded.array[..., number])
        assert len(places) == finding.mask.sum()
        there = decoded.map_indices_to_reference(places.astype(float))
        np.testing.assert_allclose(there.mean(axis=0), finding.centre_mm, atol=0.01)
        found = volume.to_world(np.argwhere(finding.mask) + finding.mask_start)
        np.testing.assert_allclose(
            there[np.lexsort(there.round(2).T)], found[np.lexsort(found.round(2).T)], atol=0.01
        )


def test_each_frame_names_its_own_slice(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series", ct.affine((1, 0, 0), (0, -1, 0), -1))
    segmented = written(ct, volume, [ct.ball(volume, (3, 9, 9), 5)], tmp_path / "n.dcm")
    data = pydicom.dcmread(tmp_path / "n.dcm")
    assert segmented.planes == {1: (2, 3, 4)}
    assert data.NumberOfFrames == 3  # of seven planes: those that hold it
    assert (data.Rows, data.Columns) == volume.shape[1:]
    for frame in data.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        (path,) = [
            part.path
            for part in volume.slices
            if part.sop_instance_uid == image.ReferencedSOPInstanceUID
        ]
        there = frame.PlanePositionSequence[0].ImagePositionPatient
        assert pydicom.dcmread(path).ImagePositionPatient == there
        assert image.SpatialLocationsPreserved == "YES"
    (series,) = data.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == volume.series_uid
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == {
        volume.slices[plane].sop_instance_uid for plane in (2, 3, 4)
    }


def test_simpleitk_reads_the_same_voxels(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    finding = ct.ball(volume, (3, 9, 9), 5)
    written(ct, volume, [finding], tmp_path / "n.dcm")
    image = SimpleITK.ReadImage(str(tmp_path / "n.dcm"))
    array = SimpleITK.GetArrayFromImage(image) > 0
    start, size = finding.mask_start, finding.mask.shape
    part = tuple(slice(a, a + b) for a, b in zip(start[1:], size[1:], strict=True))
    frames = [np.flatnonzero((array == plane).all()) for plane in array]
    assert len(frames) == size[0]
    # GDCM orders frames as they stand in the file: by position, one way or the other.
    cropped = array[(slice(None), *part)]
    assert np.array_equal(cropped, finding.mask) or np.array_equal(cropped[::-1], finding.mask)
    assert array.sum() == finding.mask.sum()


def test_it_says_what_made_it_and_of_what(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    written(ct, volume, [ct.ball(volume, (3, 9, 9), 5)], tmp_path / "n.dcm")
    data = pydicom.dcmread(tmp_path / "n.dcm")
    (segment,) = data.SegmentSequence
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("lung-detector v3", "3")
    for part in ("seed 0", "SIMULATED", "not a medical device"):  # C-10, L-17
        assert part in algorithm.AlgorithmParameters
    assert (segment.SegmentLabel, segment.SegmentAlgorithmType) == ("Finding 1", "AUTOMATIC")
    assert data.SegmentationType == "BINARY"
    assert data.SeriesDescription.startswith("SIMULATED")
    assert (data.PatientName, data.StudyInstanceUID) == (
        "Mustermann^Erika", ct.STUDY,
    )  # fmt: skip


def test_nothing_is_written_where_nothing_was_segmented(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    assert written(ct, volume, [Finding((0, 0, 0), 5, None, 0.9)], tmp_path / "n.dcm") is None
    assert not (tmp_path / "n.dcm").exists()


def test_numbers_pass_over_what_was_not_segmented(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    findings = [Finding((0, 0, 0), 5, None, 0.9), ct.ball(volume, (3, 9, 9), 5)]
    segmented = written(ct, volume, findings, tmp_path / "n.dcm")
    assert segmented.segments == {2: 1}
    assert pydicom.dcmread(tmp_path / "n.dcm").SegmentSequence[0].SegmentLabel == "Finding 2"


def test_two_masks_of_one_voxel_do_not_overlap(tmp_path: Path, ct: ModuleType) -> None:
    volume = ct.write(tmp_path / "series")
    findings = [ct.ball(volume, (3, 9, 9), 5), ct.ball(volume, (3, 9, 11), 5)]
    written(ct, volume, findings, tmp_path / "n.dcm")
    seg = highdicom.seg.segread(tmp_path / "n.dcm")
    array = seg.get_volume().array
    assert seg.SegmentsOverlap == "NO"
    assert array[..., 0].sum() == findings[0].mask.sum()
    assert 0 < array[..., 1].sum() < findings[1].mask.sum()
    assert array.sum(axis=-1).max() == 1


def test_an_interpolated_plane_has_no_source(tmp_path: Path, ct: ModuleType) -> None:
    whole = ct.write(tmp_path / "series")
    slices = tuple(
        Slice(None, "", "") if plane == 3 else part for plane, part in enumerate(whole.slices)
    )
    volume = Volume(whole.hounsfield, whole.affine, series_uid=whole.series_uid, slices=slices)
    written(ct, volume, [ct.ball(volume, (3, 9, 9), 5)], tmp_path / "n.dcm")
    assert ct.errors(tmp_path / "n.dcm") == []
    frames = pydicom.dcmread(tmp_path / "n.dcm").PerFrameFunctionalGroupsSequence
    named = {
        image.ReferencedSOPInstanceUID
        for frame in frames
        for derivation in frame.DerivationImageSequence
        for image in derivation.SourceImageSequence
    }
    assert len(frames) == 3
    assert named == {slices[2].sop_instance_uid, slices[4].sop_instance_uid}


def test_a_resampled_scan_is_on_a_grid_of_its_own(tmp_path: Path, ct: ModuleType) -> None:
    # As where planes sheared by a tilted gantry were shifted: more columns than the slices have.
    whole = ct.write(tmp_path / "series")
    wider = np.pad(whole.hounsfield, ((0, 0), (0, 0), (0, 6)))
    volume = Volume(wider, whole.affine, series_uid=whole.series_uid, slices=whole.slices)
    source = read_source(volume)
    finding = ct.ball(volume, (3, 9, 21), 4)
    write_seg(tmp_path / "n.dcm", volume, [finding], ct.PROVENANCE, source)
    assert ct.errors(tmp_path / "n.dcm") == []
    data = pydicom.dcmread(tmp_path / "n.dcm")
    image = data.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    assert image.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    assert any("resampled" in note for note in source.notes)
    assert highdicom.seg.segread(tmp_path / "n.dcm").get_volume().array.sum() == finding.mask.sum()


def test_frames_of_a_multi_frame_file_are_named(tmp_path: Path, ct: ModuleType) -> None:
    whole = ct.write(tmp_path / "series")
    file = whole.slices[0].path
    slices = tuple(
        Slice(file, EnhancedCTImageStorage, f"{ct.ROOT}.9", frame) for frame in range(1, 8)
    )
    volume = Volume(whole.hounsfield, whole.affine, series_uid=whole.series_uid, slices=slices)
    written(ct, volume, [ct.ball(volume, (3, 9, 9), 5)], tmp_path / "n.dcm")
    assert ct.errors(tmp_path / "n.dcm") == []
    data = pydicom.dcmread(tmp_path / "n.dcm")
    named = {
        (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber)
        for frame in data.PerFrameFunctionalGroupsSequence
        for image in frame.DerivationImageSequence[0].SourceImageSequence
    }
    assert named == {(EnhancedCTImageStorage, f"{ct.ROOT}.9", frame) for frame in (3, 4, 5)}
    assert len(data.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1


def test_rows_and_columns_that_are_sheared_are_refused(tmp_path: Path, ct: ModuleType) -> None:
    whole = ct.write(tmp_path / "series")
    place = whole.affine.copy()
    place[0, 1] = 0.3
    volume = Volume(whole.hounsfield, place, series_uid=whole.series_uid, slices=whole.slices)
    with pytest.raises(DataError, match="right angles"):
        written(ct, volume, [ct.ball(volume, (3, 9, 9), 5)], tmp_path / "n.dcm")


def test_a_whole_scan_takes_a_moment(tmp_path: Path, ct: ModuleType) -> None:
    # 512x512x300, of which a header is written for real: 20 nodules under 2 s, a small file.
    small = ct.write(tmp_path / "series", pixels=False)
    shape = (300, 512, 512)
    first = small.slices[0]
    slices = tuple(
        Slice(
            first.path if plane in (0, 299) else None, first.sop_class_uid, f"{ct.ROOT}.7.{plane}"
        )
        for plane in range(300)
    )
    values = np.broadcast_to(np.int16(-800), shape)
    volume = Volume(values, small.affine, series_uid=small.series_uid, slices=slices)
    mask = np.ones((6, 8, 8), bool)
    findings = [
        Finding((0, 0, 0), 6, 300, 0.9, mask=mask, mask_start=(14 * k, 20 * k, 200))
        for k in range(20)
    ]
    source = read_source(volume, Pseudonyms())
    start = time.process_time()
    write_seg(tmp_path / "n.dcm", volume, findings, ct.PROVENANCE, source)
    assert time.process_time() - start < 2
    assert (tmp_path / "n.dcm").stat().st_size < 120 * 512 * 512 / 8 + 500_000
