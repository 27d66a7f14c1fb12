"""The reader of DICOM series by DOMAIN's requirements, on files that the tests write."""

from __future__ import annotations

import contextlib
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from fieldsight.datasets import scans
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.volume import Volume


def only(folder: Path) -> Volume:
    (found,) = scans.find([folder])
    return scans.read(found)


def by_itk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def itk_affine(image: sitk.Image) -> NDArray[Any]:
    affine = np.eye(4)
    turned = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, :3] = turned[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine


# The real series


def test_the_real_series_is_what_simpleitk_reads(lung_series: Path) -> None:
    (found,) = scans.find([lung_series])
    volume = scans.read(found)
    image = by_itk(next(lung_series.iterdir()))
    assert volume.hounsfield.dtype == np.int16
    np.testing.assert_array_equal(volume.hounsfield, sitk.GetArrayFromImage(image))
    assert volume.affine.tolist() == itk_affine(image).tolist()
    assert volume.spacing_mm == (5.0, 0.841796875, 0.841796875)
    assert len({each.sop_instance_uid for each in volume.slices}) == 64
    assert volume.facts["manufacturer"] == "Philips"
    assert "simulated" not in volume.facts
    assert len(volume.notes) == 1
    assert "5 mm" in volume.notes[0]  # L-15


# L-1


@pytest.mark.parametrize("signed", [True, False])
def test_signedness_is_honoured(tmp_path: Path, ct: ModuleType, signed: bool) -> None:
    """L-1"""
    values = ct.stored(4, signed=signed)
    values[0, 0, 0] = -1024 if signed else 40_000

    def edit(data: Any, plane: int) -> None:
        data.RescaleIntercept = "0" if signed else "-20000"

    ct.write_files(tmp_path, values, edit=edit)
    volume = only(tmp_path)
    assert volume.hounsfield.dtype == np.int16
    wanted = values.astype(int) - (0 if signed else 20_000)
    wanted[wanted <= -1500] = -1000  # L-2
    np.testing.assert_array_equal(volume.hounsfield, wanted)


def test_twelve_bits_that_are_signed_lose_what_lies_above_them(
    tmp_path: Path, ct: ModuleType
) -> None:
    """L-1"""
    values = np.clip(ct.stored(3), -1000, 1000)
    overlay = (values.astype(np.uint16) & 0x0FFF) | 0x5000

    def edit(data: Any, plane: int) -> None:
        data.BitsStored, data.HighBit = 12, 11
        data.PixelData = overlay[plane].astype("<u2").tobytes()

    ct.write_files(tmp_path, values, edit=edit)
    np.testing.assert_array_equal(only(tmp_path).hounsfield, values)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(by_itk(tmp_path)), values)


def test_every_slice_has_its_own_slope_and_intercept(tmp_path: Path, ct: ModuleType) -> None:
    """L-1"""
    values = ct.stored(4)
    slopes, intercepts = [1, 1.5, 0.25, 2], [-24, 10.5, 0, 3]

    def edit(data: Any, plane: int) -> None:
        data.RescaleSlope, data.RescaleIntercept = slopes[plane], intercepts[plane]

    ct.write_files(tmp_path, values, edit=edit)
    volume = only(tmp_path)
    assert volume.hounsfield.dtype == np.float32
    wanted = values * np.reshape(slopes, (4, 1, 1)) + np.reshape(intercepts, (4, 1, 1))
    np.testing.assert_allclose(volume.hounsfield, np.where(wanted <= -1500, -1000, wanted))


def test_whole_slopes_that_fit_stay_whole(tmp_path: Path, ct: ModuleType) -> None:
    """L-1"""
    values = np.abs(ct.stored(3))

    def edit(data: Any, plane: int) -> None:
        data.RescaleSlope, data.RescaleIntercept = "2.000", "-1024.0"

    ct.write_files(tmp_path, values, edit=edit)
    volume = only(tmp_path)
    assert volume.hounsfield.dtype == np.int16
    np.testing.assert_array_equal(volume.hounsfield, sitk.GetArrayFromImage(by_itk(tmp_path)))


# L-2


@pytest.mark.parametrize("written", ["signed", "unsigned"])
def test_padding_becomes_air(tmp_path: Path, ct: ModuleType, written: str) -> None:
    """L-2, with the padding value in either signedness, as both are found."""
    values = ct.stored(3)
    values[:, :3] = -2000

    def edit(data: Any, plane: int) -> None:
        data.RescaleIntercept = "-24"
        data.add_new(0x00280120, *(("SS", -2000) if written == "signed" else ("US", 63536)))

    ct.write_files(tmp_path, values, edit=edit)
    volume = only(tmp_path)
    assert (volume.hounsfield[:, :3] == -1000).all()
    np.testing.assert_array_equal(volume.hounsfield[:, 3:], values[:, 3:] - 24)


def test_what_is_below_any_tissue_is_air_without_being_named(
    tmp_path: Path, ct: ModuleType
) -> None:
    """L-2"""
    values = ct.stored(3)
    values[:, :, -2:] = -2000
    ct.write_files(tmp_path, values)
    volume = only(tmp_path)
    assert (volume.hounsfield[:, :, -2:] == -1000).all()


def test_a_padding_value_that_is_tissue_is_air_at_the_border_alone(
    tmp_path: Path, ct: ModuleType
) -> None:
    """L-2"""
    values = ct.stored(2)
    values[values == 0] = 1
    values[:, :2] = 0
    values[:, 5, 5] = 0
    ct.write_files(tmp_path, values, edit=lambda data, _: data.add_new(0x00280120, "SS", 0))
    volume = only(tmp_path)
    assert (volume.hounsfield[:, :2] == -1000).all()
    assert (volume.hounsfield[:, 5, 5] == 0).all()


# L-3


def test_two_series_in_one_folder_are_two(tmp_path: Path, ct: ModuleType) -> None:
    """L-3"""
    first, second = ct.stored(4), ct.stored(5, seed=1)
    ct.write_files(tmp_path / "a", first)
    ct.write_files(tmp_path / "b", second, series="1.2.3.9")
    (tmp_path / "both").mkdir()
    for folder in "ab":
        for path in (tmp_path / folder).iterdir():
            path.rename(tmp_path / "both" / f"{folder}{path.name}")
    found = scans.find([tmp_path / "both"])
    assert [each.series_uid for each in found] == [ct.SERIES, "1.2.3.9"]
    assert len({each.name for each in found}) == 2
    for each, values in zip(found, (first, second), strict=True):
        np.testing.assert_array_equal(scans.read(each).hounsfield, values)


def test_localizers_and_derived_images_are_left_out_and_told(
    tmp_path: Path, ct: ModuleType
) -> None:
    """L-3"""
    values = ct.stored(8)
    ct.write_files(tmp_path, values)
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    for name, kind in (("scout", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
                       ("mip", ["DERIVED", "SECONDARY", "MIP"]),
                       ("stray", ["ORIGINAL", "PRIMARY", "AXIAL"]),
                       ("smooth", ["DERIVED", "PRIMARY", "AXIAL"])):  # fmt: skip
        data = ct.slice_of(
            np.zeros((30, 40), np.int16),
            position=(0, 0, 0),
            orientation=coronal if name == "stray" else ct.AXIAL,
            number=100 + len(name),
        )
        data.ImageType = kind
        ct.save(data, tmp_path / name)
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.hounsfield, values)
    told = " ".join(volume.notes)
    for word in ("localizer", "MIP", "derived", "across all others"):
        assert word in told


def test_a_series_of_localizers_and_other_modalities_are_refused(
    tmp_path: Path, ct: ModuleType
) -> None:
    """L-3"""

    def scout(data: Any, plane: int) -> None:
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    def magnetic(data: Any, plane: int) -> None:
        data.Modality, data.SOPClassUID = "MR", "1.2.840.10008.5.1.4.1.1.4"

    values = ct.stored(3)
    ct.write_files(tmp_path / "scout", values, series="1.2.1", edit=scout)
    ct.write_files(tmp_path / "mr", values, series="1.2.2", edit=magnetic)
    searched = scans.search([tmp_path])
    assert searched.found == ()
    assert {each.refused for each in searched.refused} == {"localizer", "modality MR, no CT"}
    with pytest.raises(DataError, match=r"a CT volume was needed\. Received: modality MR"):
        scans.read(next(each for each in searched.refused if "MR" in each.refused))


def test_a_series_that_is_all_derived_is_read_with_a_note(tmp_path: Path, ct: ModuleType) -> None:
    """L-3"""

    def derived(data: Any, plane: int) -> None:
        data.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]

    ct.write_files(tmp_path, ct.stored(3), edit=derived)
    assert any("DERIVED" in note for note in only(tmp_path).notes)


def test_two_patients_with_one_series_uid_are_kept_apart(tmp_path: Path, ct: ModuleType) -> None:
    """L-3"""
    ct.write_files(tmp_path / "a", ct.stored(3))

    def other(data: Any, plane: int) -> None:
        data.PatientID = "ZZ-4712"

    ct.write_files(tmp_path / "b", ct.stored(3, seed=1), edit=other)
    assert [each.size for each in scans.find([tmp_path])] == [(3, 12, 10)] * 2


def test_mixed_sizes_are_refused(tmp_path: Path, ct: ModuleType) -> None:
    """L-3"""

    def smaller(data: Any, plane: int) -> None:
        if plane == 2:
            data.Rows, data.PixelData = 6, data.PixelData[: 6 * 10 * 2]

    ct.write_files(tmp_path, ct.stored(5), edit=smaller)
    told = "slices of one size were needed. Received: 12 x 10 in 4 slices, 6 x 10 in 1 slice"
    with pytest.raises(DataError, match=told):
        only(tmp_path)


@pytest.mark.parametrize("what", ["spacing", "orientation"])
def test_mixed_spacing_and_orientation_are_refused(
    tmp_path: Path, ct: ModuleType, what: str
) -> None:
    """L-3"""

    def edit(data: Any, plane: int) -> None:
        if plane >= 2 and what == "spacing":
            data.PixelSpacing = [0.8, 0.5]
        elif plane >= 2:
            data.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]

    ct.write_files(tmp_path, ct.stored(4), edit=edit)
    wanted = "one PixelSpacing" if what == "spacing" else "one orientation"
    with pytest.raises(DataError, match=wanted):
        only(tmp_path)


# L-4


def test_slices_sort_by_position_not_by_instance_number(tmp_path: Path, ct: ModuleType) -> None:
    """L-4: names, numbers and SliceLocation run the other way."""
    values = ct.stored(6)

    def edit(data: Any, plane: int) -> None:
        data.SliceLocation = -2.0 * plane

    files = ct.write_files(tmp_path, values, edit=edit)
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.hounsfield, values)
    assert [each.path for each in volume.slices] == files


FLIPPED = [(x, 0.0, 0.0, 0.0, y, 0.0) for x in (1.0, -1.0) for y in (1.0, -1.0)]


@pytest.mark.parametrize("orientation", FLIPPED)
def test_flipped_cosines_lie_where_simpleitk_puts_them(
    tmp_path: Path, ct: ModuleType, orientation: tuple[float, ...]
) -> None:
    """L-4, L-7, L-8: PixelSpacing is row, column."""
    values = ct.stored(4)
    ct.write_files(tmp_path, values, orientation=orientation)
    volume, image = only(tmp_path), by_itk(tmp_path)
    np.testing.assert_array_equal(volume.hounsfield, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.affine, itk_affine(image), atol=1e-9)
    assert volume.spacing_mm == pytest.approx((2.0, 0.7, 0.5))
    place = volume.to_world((3, 7, 2))
    np.testing.assert_allclose(place, image.TransformIndexToPhysicalPoint((2, 7, 3)), atol=1e-6)


def test_copies_are_one_slice(tmp_path: Path, ct: ModuleType) -> None:
    """L-4"""
    values = ct.stored(5)
    files = ct.write_files(tmp_path, values)
    (tmp_path / "again").write_bytes(files[2].read_bytes())
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.hounsfield, values)
    assert any("1 copy of slices" in note for note in volume.notes)


def test_of_two_copies_the_whole_one_is_read(tmp_path: Path, ct: ModuleType) -> None:
    """L-4"""
    values = ct.stored(5)
    files = ct.write_files(tmp_path, values)
    (tmp_path / "again").write_bytes(files[2].read_bytes()[:-50])
    np.testing.assert_array_equal(only(tmp_path).hounsfield, values)


def test_a_doubled_place_is_named_and_its_first_slice_taken(tmp_path: Path, ct: ModuleType) -> None:
    """L-4"""
    values = ct.stored(5)
    ct.write_files(tmp_path, values)
    other = ct.slice_of(values[0], position=(-100, -80, 34), number=900)
    ct.save(other, tmp_path / "aaa")
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.hounsfield, values)
    assert any("doubled: 1 place" in note and "34 mm" in note for note in volume.notes)


def test_of_two_acquisitions_in_one_series_one_is_read(tmp_path: Path, ct: ModuleType) -> None:
    """L-4"""
    first, second = ct.stored(5), ct.stored(5, seed=1)
    ct.write_files(tmp_path / "a", first)

    def later(data: Any, plane: int) -> None:
        data.AcquisitionNumber = 2
        data.SOPInstanceUID = f"1.2.9.{plane}"

    ct.write_files(tmp_path / "0", second, edit=later)
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.hounsfield, first)
    assert any("2 acquisitions" in note for note in volume.notes)


# L-5


def test_spacing_is_the_positions_step_not_what_the_header_says(
    tmp_path: Path, ct: ModuleType
) -> None:
    """L-5"""

    def edit(data: Any, plane: int) -> None:
        data.SliceThickness, data.SpacingBetweenSlices = "5", "7"

    ct.write_files(tmp_path, ct.stored(4), edit=edit, step=1.25)
    assert only(tmp_path).spacing_mm[0] == pytest.approx(1.25)


def test_positions_rounded_to_a_tenth_do_not_add_up(tmp_path: Path, ct: ModuleType) -> None:
    """L-5"""

    def rounded(data: Any, plane: int) -> None:
        data.ImagePositionPatient[2] = f"{30 + 0.625 * plane:.1f}"

    ct.write_files(tmp_path, ct.stored(41), edit=rounded)
    volume = only(tmp_path)
    assert volume.shape[0] == 41
    assert volume.spacing_mm[0] == pytest.approx(0.625, abs=1e-3)
    np.testing.assert_allclose(volume.to_world((40, 0, 0))[2], 55.0, atol=1e-6)


def test_a_missing_slice_is_named_and_interpolated(tmp_path: Path, ct: ModuleType) -> None:
    """L-5"""
    values = ct.stored(12)
    ct.write_files(tmp_path, values, skip=[4])
    volume = only(tmp_path)
    assert volume.shape[0] == 12
    kept = [plane for plane in range(12) if plane != 4]
    np.testing.assert_array_equal(volume.hounsfield[kept], values[kept])
    mean = (values[3].astype(float) + values[5]) / 2
    assert np.abs(volume.hounsfield[4] - mean).max() <= 0.5
    assert volume.slices[4].sop_instance_uid == ""
    assert any("1 of 12 slices, at 38 mm" in note for note in volume.notes)


def test_too_many_missing_slices_are_refused_and_named(tmp_path: Path, ct: ModuleType) -> None:
    """L-5"""
    ct.write_files(tmp_path, ct.stored(30), skip=range(10, 17))
    with pytest.raises(DataError, match="7 missing: 7 between 48 and 64 mm"):
        only(tmp_path)


def test_uneven_steps_are_refused(tmp_path: Path, ct: ModuleType) -> None:
    """L-5"""

    def edit(data: Any, plane: int) -> None:
        data.ImagePositionPatient[2] = 30 + 2 * plane + 0.45 * max(0, plane - 5)

    ct.write_files(tmp_path, ct.stored(12), edit=edit)
    with pytest.raises(DataError, match="at one distance from each other"):
        only(tmp_path)


def test_a_single_place_is_no_volume(tmp_path: Path, ct: ModuleType) -> None:
    """A single slice, and a bolus that is monitored at one place."""

    def watched(data: Any, plane: int) -> None:
        data.ImagePositionPatient = [0, 0, 0]

    ct.write_files(tmp_path / "one", ct.stored(1))
    ct.write_files(tmp_path / "many", ct.stored(5), series="1.2.8", edit=watched)
    searched = scans.search([tmp_path])
    assert searched.found == ()
    assert {each.refused for each in searched.refused} == {
        "1 image of one place alone",
        "5 images of one place alone",
    }


# L-6


def ball(centre: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """A soft ball of 100 HU and 6 mm radius in air, at LPS millimetres."""
    far = np.linalg.norm(points - centre, axis=-1)
    soft: NDArray[Any] = -1000 + 1100 / (1 + np.exp((far - 6) / 0.7))
    return soft


@pytest.mark.parametrize("degrees", [-20.0, 15.0])
def test_a_tilted_gantry_is_made_square(tmp_path: Path, ct: ModuleType, degrees: float) -> None:
    """L-6: a ball stays where it is in the world, and stays a ball."""
    import math

    tilt = math.radians(degrees)
    column = (0.0, math.cos(tilt), math.sin(tilt))
    orientation = (1.0, 0.0, 0.0, *column)
    centre = np.array([2.0, 0.5, 21.0])
    table = np.array([0.0, 0.0, 1.5])  # the table moves along z, planes lean
    planes = []
    for plane in range(28):
        corner = np.array([-19.5, -19.5 * math.cos(tilt), 0.0]) + plane * table
        rows, columns = np.mgrid[:40, :40].astype(float)
        points = corner + columns[..., None] * [1, 0, 0] + rows[..., None] * np.array(column)
        planes.append((corner, np.rint(ball(centre, points)).astype(np.int16)))
    for number, (corner, image) in enumerate(planes):
        data = ct.slice_of(
            image, position=corner, orientation=orientation, spacing=(1, 1), number=number
        )
        data.GantryDetectorTilt = degrees
        ct.save(data, tmp_path / f"{number}")
    volume = only(tmp_path)
    axes = volume.affine[:3, :3] / np.array(volume.spacing_mm)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert volume.spacing_mm[0] == pytest.approx(1.5 * math.cos(tilt))
    assert any(f"sheared by {abs(degrees):.2f} degrees" in note for note in volume.notes)
    weights = np.clip(volume.hounsfield + 800.0, 0, None)
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), -1)
    found = np.average(volume.to_world(index).reshape(-1, 3), axis=0, weights=weights.ravel())
    np.testing.assert_allclose(found, centre, atol=0.1)
    inside = weights.reshape(volume.shape) > 400
    lost = np.abs(volume.hounsfield - ball(centre, volume.to_world(index)))
    assert lost[inside].mean() < 60  # of 1,100: linear interpolation at the ball's border


def test_planes_that_lean_too_far_are_refused(tmp_path: Path, ct: ModuleType) -> None:
    """L-6"""

    def edit(data: Any, plane: int) -> None:
        data.ImagePositionPatient[1] = -80 + 3 * plane

    ct.write_files(tmp_path, ct.stored(4), edit=edit)
    with pytest.raises(DataError, match=r"sheared by at most 45 degrees .* 56\.3 degrees"):
        only(tmp_path)


def test_a_tilt_that_only_the_header_names_is_told(tmp_path: Path, ct: ModuleType) -> None:
    """L-6"""
    values = ct.stored(3)

    def edit(data: Any, plane: int) -> None:
        data.GantryDetectorTilt = 12

    ct.write_files(tmp_path, values, edit=edit)
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.hounsfield, values)
    assert any("gantry tilt of 12 degrees" in note for note in volume.notes)


@pytest.mark.parametrize("wrong", [(1, 0, 0, 0.5, 0.8, 0), (0, 0, 0, 0, 1, 0), (1, 1, 0, 0, 1, 0)])
def test_cosines_that_are_none_are_refused(
    tmp_path: Path, ct: ModuleType, wrong: tuple[float, ...]
) -> None:
    """L-6"""

    def edit(data: Any, plane: int) -> None:
        data.ImageOrientationPatient = list(wrong)

    ct.write_files(tmp_path, ct.stored(3), edit=edit)
    with pytest.raises(DataError, match="two unit vectors at a right angle"):
        only(tmp_path)


# L-7


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    turn=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 0.1),
    flip=st.booleans(),
    step=st.floats(0.5, 8),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    index=st.tuples(*[st.floats(-600, 600)] * 3),
)
def test_world_to_voxel_and_back(
    tmp_path_factory: pytest.TempPathFactory,
    ct: ModuleType,
    turn: tuple[float, ...],
    flip: bool,
    step: float,
    origin: tuple[float, float, float],
    index: tuple[float, float, float],
) -> None:
    """L-7: within 1e-3 mm whatever the cosines; and where the standard's equation puts it."""
    w, x, y, z = np.array(turn) / np.linalg.norm(turn)
    row = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)])
    column = np.array([2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)])
    column = -column if flip else column
    folder = tmp_path_factory.mktemp("turned")
    ct.write_files(folder, ct.stored(3), step=step, origin=origin, orientation=(*row, *column))
    volume = only(folder)
    back = volume.to_world(volume.to_index(volume.to_world(index)))
    np.testing.assert_allclose(back, volume.to_world(index), atol=1e-3)
    np.testing.assert_allclose(volume.to_index(volume.to_world(index)), index, atol=1e-3)
    # PS3.3 C.7.6.2.1.1: columns along the row cosine by the column spacing, and so on.
    wanted = np.array(origin) + 4 * 0.5 * row + 9 * 0.7 * column + 2 * step * np.cross(row, column)
    np.testing.assert_allclose(volume.to_world((2, 9, 4)), wanted, atol=1e-3)


# Damage


def test_a_truncated_slice_is_a_missing_slice(tmp_path: Path, ct: ModuleType) -> None:
    values = ct.stored(12)
    files = ct.write_files(tmp_path, values)
    files[6].write_bytes(files[6].read_bytes()[:-100])
    volume = only(tmp_path)
    assert volume.shape[0] == 12
    mean = (values[5].astype(float) + values[7]) / 2
    assert np.abs(volume.hounsfield[6] - mean).max() <= 0.5
    told = " ".join(volume.notes)
    assert "damaged: 1 of 12" in told
    assert "140 of 240 bytes" in told
    assert "missing: 1 of 12 slices, at 42 mm" in told


def test_a_damaged_first_slice_shortens_the_volume(tmp_path: Path, ct: ModuleType) -> None:
    values = ct.stored(12)
    files = ct.write_files(tmp_path, values)
    files[0].write_bytes(files[0].read_bytes()[:-100])
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.hounsfield, values[1:])
    assert volume.affine[2, 3] == 32


def test_a_slice_cut_off_in_its_header_is_a_missing_slice(tmp_path: Path, ct: ModuleType) -> None:
    values = ct.stored(12)
    files = ct.write_files(tmp_path, values)
    content = files[6].read_bytes()
    for cut in (140, 200, 500, 700, 850):
        files[6].write_bytes(content[:cut])
        (found,) = scans.find([tmp_path])
        assert scans.read(found).shape[0] == 12, cut


def test_files_without_pixels_are_refused(tmp_path: Path, ct: ModuleType) -> None:
    files = ct.write_files(tmp_path, ct.stored(4))
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[: content.rindex(b"\xe0\x7f\x10\x00")])
    with pytest.raises(DataError, match="no pixel data"):
        only(tmp_path)


def test_slices_without_a_place_are_refused(tmp_path: Path, ct: ModuleType) -> None:
    def edit(data: Any, plane: int) -> None:
        del data.ImagePositionPatient

    ct.write_files(tmp_path, ct.stored(4), edit=edit)
    with pytest.raises(DataError, match="ImagePositionPatient was needed in every slice"):
        only(tmp_path)


def test_a_single_slice_without_a_place_is_left_out(tmp_path: Path, ct: ModuleType) -> None:
    def edit(data: Any, plane: int) -> None:
        if plane == 11:
            del data.ImagePositionPatient

    ct.write_files(tmp_path, ct.stored(12), edit=edit)
    volume = only(tmp_path)
    assert volume.shape[0] == 11
    assert any("without a place" in note for note in volume.notes)


def test_unsigned_values_without_an_intercept_are_refused(tmp_path: Path, ct: ModuleType) -> None:
    """L-1"""

    def edit(data: Any, plane: int) -> None:
        del data.RescaleIntercept, data.RescaleSlope

    ct.write_files(tmp_path, ct.stored(3, signed=False), edit=edit)
    with pytest.raises(DataError, match="Hounsfield units were needed"):
        only(tmp_path)


def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path: Path, ct: ModuleType) -> None:
    def edit(data: Any, plane: int) -> None:
        data.Rows = data.Columns = 65535

    ct.write_files(tmp_path, ct.stored(3), edit=edit)
    with pytest.raises(DataError, match="65535 x 65535"):
        only(tmp_path)


@pytest.mark.parametrize("multi_frame", [False, True])
def test_damaged_bytes_end_in_a_volume_or_in_words(
    tmp_path: Path, ct: ModuleType, multi_frame: bool
) -> None:
    """Whatever stands in a header, it is no stack trace, and no warning that repeats it."""
    rng = np.random.default_rng(1)
    values = ct.stored(6)
    if multi_frame:
        data = ct.enhanced(values, slopes=[1] * 6, order=range(6))
        file = ct.save(data, tmp_path / "all", ExplicitVRLittleEndian)
    else:
        file = ct.write_files(tmp_path, values)[3]
    whole = file.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 1500), 8):
            damaged[at] = rng.integers(0, 256)
        file.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for found in scans.find([tmp_path]):
                with contextlib.suppress(DataError):
                    scans.read(found)


# Multi-frame


def test_enhanced_multi_frame_is_read_frame_by_frame(tmp_path: Path, ct: ModuleType) -> None:
    values = ct.stored(5)
    slopes, order = [1, 2, 1, 3, 1], [3, 0, 4, 1, 2]
    data = ct.enhanced(values, slopes=slopes, order=order)
    ct.save(data, tmp_path / "all", ExplicitVRLittleEndian)
    (found,) = scans.find([tmp_path])
    assert found.size == (5, 12, 10)
    volume = scans.read(found)
    wanted = values.astype(int) * np.reshape(slopes, (5, 1, 1)) - 10
    np.testing.assert_array_equal(volume.hounsfield, np.where(wanted <= -1500, -1000, wanted))
    assert [each.frame for each in volume.slices] == [2, 4, 5, 1, 3]
    assert volume.spacing_mm == pytest.approx((2, 0.7, 0.5))
    assert volume.affine[:3, 3].tolist() == [-100, -80, 30]


def test_enhanced_multi_frame_in_order_lies_where_simpleitk_puts_it(
    tmp_path: Path, ct: ModuleType
) -> None:
    data = ct.enhanced(ct.stored(4), slopes=[1] * 4, order=range(4))
    path = ct.save(data, tmp_path / "all", ExplicitVRLittleEndian)
    volume, image = only(tmp_path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(volume.hounsfield, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.affine, itk_affine(image), atol=1e-6)


# What is told


def test_nothing_tells_who_the_patient_is(tmp_path: Path, ct: ModuleType) -> None:
    """L-17"""

    def edit(data: Any, plane: int) -> None:
        data.ConvolutionKernel = "for Mustermann"

    folder = tmp_path / "MUSTERMANN_ERIKA"
    files = ct.write_files(folder, ct.stored(12), edit=edit)
    named = folder / "mustermann_7"
    files[6].rename(named)
    named.write_bytes(named.read_bytes()[:-9])
    (found,) = scans.find([tmp_path])
    volume = scans.read(found)
    told = " ".join([found.name, volume.name, *volume.notes, *map(str, volume.facts.items())])
    assert not re.search(ct.SECRETS, told, re.IGNORECASE), told
    assert "damaged" in told


def test_what_is_simulated_says_so(tmp_path: Path, ct: ModuleType) -> None:
    def edit(data: Any, plane: int) -> None:
        data.SeriesDescription = "SIMULATED chest, seed 3"

    ct.write_files(tmp_path, ct.stored(3), edit=edit)
    facts = only(tmp_path).facts
    assert facts["simulated"] == 1
    assert facts["kernel"] == "B50f"
    assert facts["kvp"] == 120
