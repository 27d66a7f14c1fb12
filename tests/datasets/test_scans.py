"""Finding scans in folders of any mess, archives and image files, and reading them."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.fileset import FileSet

from fieldsight.datasets import scans
from fieldsight.datasets.errors import DataError


@pytest.fixture
def mess(tmp_path: Path, ct: ModuleType) -> tuple[Path, dict[str, NDArray[Any]]]:
    """An export as they come: two patients' series mixed in folders, and much that is none."""
    root = tmp_path / "export"
    values = {uid: ct.stored(4 + n, seed=n) for n, uid in enumerate(("1.2.71", "1.2.72"))}

    def other(data: Any, plane: int) -> None:
        data.PatientID, data.PatientName = "YY-1", "Beispiel^Jan"

    ct.write_files(root / "DICOM" / "S1", values["1.2.71"], series="1.2.71")
    ct.write_files(root / "x", values["1.2.72"], series="1.2.72", edit=other)
    for number, path in enumerate(sorted((root / "x").iterdir())):
        path.rename(root / "DICOM" / "S1" / f"{number}.bin")
    (root / "x").rmdir()
    (root / "DICOM" / "AUTORUN.INF").write_text("[autorun]\n")
    (root / "DICOM" / "empty").write_bytes(b"")
    (root / "DICOM" / "._img001").write_bytes(b"\0" * 200)
    (root / "viewer.exe").write_bytes(b"MZ" + bytes(range(256)) * 8)
    report = ct.slice_of(values["1.2.71"][0], position=(0, 0, 0), series="1.2.99")
    report.Modality, report.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.33"
    ct.save(report, root / "DICOM" / "report")
    return root, values


def check(found: list[scans.Found], values: dict[str, NDArray[Any]]) -> None:
    assert sorted(each.series_uid for each in found) == sorted(values)
    assert len({each.name for each in found}) == len(found)
    for each in found:
        np.testing.assert_array_equal(scans.read(each).hounsfield, values[each.series_uid])


def test_a_folder_of_any_mess(mess: tuple[Path, dict[str, NDArray[Any]]]) -> None:
    root, values = mess
    searched = scans.search([root])
    check(list(searched.found), values)
    assert [each.refused for each in searched.refused] == ["structured report, no CT slice"]
    assert searched.notes == ("passed over: 3 files that are no DICOM image, .mhd, .mha or .nii",)
    assert searched.failures == {}


def test_paths_that_overlap_are_read_once(mess: tuple[Path, dict[str, NDArray[Any]]]) -> None:
    root, values = mess
    files = sorted((root / "DICOM" / "S1").iterdir())
    check(scans.find([root / "DICOM", root, *files, str(root)]), values)


def test_links_that_lead_back_are_followed_once(
    mess: tuple[Path, dict[str, NDArray[Any]]],
) -> None:
    root, values = mess
    (root / "DICOM" / "again").symlink_to(root, target_is_directory=True)
    (root / "DICOM" / "nowhere").symlink_to(root / "gone")
    check(scans.find([root]), values)


def test_a_dicomdir_names_its_files(
    mess: tuple[Path, dict[str, NDArray[Any]]], tmp_path: Path, ct: ModuleType
) -> None:
    root, values = mess
    files = FileSet()
    for path in sorted((root / "DICOM" / "S1").iterdir()):
        data = pydicom.dcmread(path)
        data.StudyDate, data.StudyTime, data.StudyID = "20200101", "120000", "1"
        files.add(data)
    disc = tmp_path / "disc"
    files.write(disc)
    ct.write_files(disc / "not_listed", ct.stored(3), series="1.2.73")
    check(scans.find([disc / "DICOMDIR"]), values)
    next(path for path in (disc / "PT000000").rglob("*") if path.is_file()).unlink()
    searched = scans.search([disc / "DICOMDIR"])
    assert searched.notes == ("DICOMDIR lists 9 files, of which 1 aren't there",)
    (disc / "DICOMDIR").write_bytes(b"\0" * 300)
    assert len(scans.find([disc / "DICOMDIR"])) == 3


def test_nothing_found_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    (tmp_path / "labels.csv").write_text("seriesuid\n")
    searched = scans.search([tmp_path, tmp_path / "Doe^Jane"])
    assert searched.found == searched.refused == ()
    assert searched.notes == ("passed over: 1 file that is no DICOM image, .mhd, .mha or .nii",)
    assert searched.failures == {
        "path 2": "path 2 of those given: a file or a folder was needed. Received: one that isn't "
        "there, or may not be looked at. Correct it."
    }
    assert scans.find([tmp_path]) == []


def test_what_may_not_be_read_is_passed_over_and_told(
    locked: Path,
    unprivileged: Callable[[], contextlib.AbstractContextManager[None]],
    ct: ModuleType,
) -> None:
    root = locked.parent
    values = ct.stored(3)
    files = ct.write_files(root, values)
    (root / "secret").write_bytes(files[0].read_bytes())
    (root / "secret").chmod(0)
    with unprivileged():
        searched = scans.search([root])
        check(list(searched.found), {ct.SERIES: values})
    told = " ".join(searched.notes)
    assert "a folder that can't be read" in told
    assert "secret (" in told


# Archives


def packed(root: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(root.parent))
    return target


def test_an_archive_is_read_without_being_unpacked(
    mess: tuple[Path, dict[str, NDArray[Any]]], tmp_path: Path
) -> None:
    root, values = mess
    path = packed(root, tmp_path / "one.zip")
    before = sorted(tmp_path.rglob("*"))
    found = scans.find([path])
    check(found, values)
    volume = scans.read(found[0])
    assert volume.slices[1].path is None
    assert volume.slices[1].open is not None
    with volume.slices[1].open() as file:
        header = pydicom.dcmread(file, stop_before_pixels=True)
    assert header.SOPInstanceUID == volume.slices[1].sop_instance_uid
    assert sorted(tmp_path.rglob("*")) == before


def test_members_that_want_to_lie_elsewhere_are_read_and_not_obeyed(
    tmp_path: Path, ct: ModuleType
) -> None:
    values = ct.stored(3)
    files = ct.write_files(tmp_path / "plain", values)
    path = tmp_path / "in" / "evil.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for number, file in enumerate(files):
            archive.write(file, f"../../evil{number}")
    before = sorted(tmp_path.rglob("*"))
    (found,) = scans.find([path])
    np.testing.assert_array_equal(scans.read(found).hounsfield, values)
    assert sorted(tmp_path.rglob("*")) == before
    assert found.name == "evil"


def test_damaged_and_encrypted_archives_are_told(tmp_path: Path, ct: ModuleType) -> None:
    root = tmp_path / "plain"
    values = ct.stored(3)
    ct.write_files(root, values)
    whole = packed(root, tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-100])
    (root / "Doe^Jane.zip").write_bytes(b"PK")
    (root / "Doe^John.zip").write_bytes(b"PK")
    searched = scans.search([tmp_path / "cut.zip", root])
    assert list(searched.failures) == [
        "path 1, archive 1", "path 2, archive 1", "path 2, archive 2"
    ]  # fmt: skip
    assert all("an archive (.zip) was needed" in why for why in searched.failures.values())
    assert "Doe" not in str(searched.failures)
    locked = bytearray(whole)
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = locked.find(sign)
        while at >= 0:
            locked[at + offset] |= 1
            at = locked.find(sign, at + 4)
    (tmp_path / "locked.zip").write_bytes(locked)
    searched = scans.search([tmp_path / "locked.zip"])
    assert searched.found == ()
    assert any("3 files of an archive are encrypted" in note for note in searched.notes)


def test_a_damaged_member_is_a_missing_slice(tmp_path: Path, ct: ModuleType) -> None:
    root = tmp_path / "plain"
    values = ct.stored(12)
    ct.write_files(root, values)
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.iterdir()):
            archive.write(file, file.name)
    content = bytearray(path.read_bytes())
    at = content.index(values[5].astype("<i2").tobytes())
    content[at + 4] ^= 255
    path.write_bytes(content)
    (found,) = scans.find([path])
    volume = scans.read(found)
    kept = [plane for plane in range(12) if plane != 5]
    np.testing.assert_array_equal(volume.hounsfield[kept], values[kept])
    assert volume.slices[5].sop_instance_uid == ""


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.nii", bytes(2**22))
    monkeypatch.setattr("fieldsight.datasets._scan_archives.LARGEST_MEMBER", 2**20)
    searched = scans.search([tmp_path / "bomb.zip"])
    assert searched.found == ()
    assert any("unpack to more than is allowed" in note for note in searched.notes)


# Image files


def image(seed: int = 0, kind: str = "int16") -> sitk.Image:
    values = np.random.default_rng(seed).integers(-1000, 400, (4, 6, 5)).astype(kind)
    made = sitk.GetImageFromArray(values)
    made.SetSpacing((0.5, 0.7, 2.0))
    made.SetOrigin((-100.25, -80.5, 30.0))
    return made


def lps(made: sitk.Image, index: tuple[int, int, int]) -> NDArray[Any]:
    return np.array(made.TransformIndexToPhysicalPoint(index))


FLIPS = [np.diag([x, y, z]).ravel().tolist() for x in (1, -1) for y in (1, -1) for z in (1, -1)]


@pytest.mark.parametrize("ending", [".mhd", ".mha", ".nii", ".nii.gz"])
@pytest.mark.parametrize("direction", FLIPS)
def test_image_files_lie_where_itk_puts_them(
    tmp_path: Path, ending: str, direction: list[float]
) -> None:
    """L-7, L-8: flipped cosines, as some of LUNA16's files have, among them."""
    made = image()
    made.SetDirection(direction)
    sitk.WriteImage(made, str(tmp_path / f"1.2.3{ending}"))
    (found,) = scans.find([tmp_path])
    assert (found.name, found.series_uid, found.size) == ("1.2.3", "1.2.3", (4, 6, 5))
    assert found.kind == ("mhd" if ending.startswith(".m") else "nifti")
    volume = scans.read(found)
    np.testing.assert_array_equal(volume.hounsfield, sitk.GetArrayFromImage(made))
    assert volume.hounsfield.dtype == np.int16
    for index in ((0, 0, 0), (4, 5, 3), (1, 4, 2)):
        np.testing.assert_allclose(volume.to_world(index[::-1]), lps(made, index), atol=1e-3)


def test_nifti_is_right_and_anterior_and_becomes_left_and_posterior(tmp_path: Path) -> None:
    """L-7, on a header written by hand: RAS millimetres (10, 20, 30) are LPS (-10, -20, 30)."""
    import struct

    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 5, 6, 4, 1, 1, 1, 1)  # sides
    struct.pack_into("<2h", header, 70, 4, 16)  # int16
    struct.pack_into("<8f", header, 76, 1, 0.5, 0.7, 2, 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<f", header, 112, 1)
    struct.pack_into("<2h", header, 252, 0, 1)  # an sform: it alone says where voxels lie
    struct.pack_into("<12f", header, 280, 0.5, 0, 0, 10, 0, 0.7, 0, 20, 0, 0, 2, 30)
    header[344:348] = b"n+1\0"
    values = np.random.default_rng(0).integers(-1000, 400, (4, 6, 5)).astype("<i2")
    (tmp_path / "x.nii").write_bytes(bytes(header) + values.tobytes())
    (found,) = scans.find([tmp_path])
    volume = scans.read(found)
    np.testing.assert_array_equal(volume.hounsfield, values)
    np.testing.assert_allclose(volume.to_world((0, 0, 0)), [-10, -20, 30], atol=1e-4)
    np.testing.assert_allclose(volume.to_world((1, 2, 3)), [-11.5, -21.4, 32], atol=1e-4)


def test_axes_in_another_order_are_put_in_planes_rows_columns(tmp_path: Path) -> None:
    """L-8"""
    made = image()
    made.SetDirection([0, 0, 1, 1, 0, 0, 0, 1, 0])  # the fastest index runs along y
    sitk.WriteImage(made, str(tmp_path / "x.nii.gz"))
    (found,) = scans.find([tmp_path])
    volume = scans.read(found)
    assert volume.shape == (6, 5, 4)
    assert volume.spacing_mm == pytest.approx((0.7, 0.5, 2.0))
    values = sitk.GetArrayFromImage(made)
    for x, y, z in ((0, 0, 0), (4, 5, 3), (1, 4, 2)):
        index = np.rint(volume.to_index(lps(made, (x, y, z)))).astype(int)
        assert volume.hounsfield[tuple(index)] == values[z, y, x]
    assert any("axes were put in the order" in note for note in volume.notes)


def test_whole_floats_are_int16_and_others_are_kept(tmp_path: Path) -> None:
    sitk.WriteImage(image(kind="float64"), str(tmp_path / "whole.nii"))
    sitk.WriteImage(image(kind="float32") + 0.25, str(tmp_path / "half.nii"))
    found = {each.name: scans.read(each).hounsfield for each in scans.find([tmp_path])}
    assert found["whole"].dtype == np.int16
    assert found["half"].dtype == np.float32
    np.testing.assert_array_equal(found["half"], found["whole"] + np.float32(0.25))


def test_padding_of_image_files_is_air(tmp_path: Path) -> None:
    """L-2: LUNA16's files have -3024 outside the field of view."""
    made = image()
    made[0, 0, 0] = -3024
    sitk.WriteImage(made, str(tmp_path / "x.mhd"))
    (found,) = scans.find([tmp_path])
    assert scans.read(found).hounsfield[0, 0, 0] == -1000


def test_masks_pictures_and_series_of_volumes_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Cast(image() > 0, sitk.sitkUInt8), str(tmp_path / "mask.mha"))
    sitk.WriteImage(image()[:, :, 0], str(tmp_path / "flat.mha"))
    sitk.WriteImage(sitk.JoinSeries([image(), image(1)]), str(tmp_path / "moving.nii"))
    sitk.WriteImage(sitk.Compose([image(), image(1)]), str(tmp_path / "vectors.mha"))
    (tmp_path / "text.nii").write_text("no image")
    searched = scans.search([tmp_path])
    assert [each.name for each in searched.found] == ["mask"]
    assert {each.name for each in searched.refused} == {"flat", "moving", "vectors", "text"}
    with pytest.raises(DataError, match="as a mask or a picture has"):
        scans.read(searched.found[0])


def noise(kind: str) -> sitk.Image:
    """As large as what ITK unpacks at once to read a header alone."""
    values = np.random.default_rng(0).integers(-1000, 400, (60, 80, 90))
    return sitk.GetImageFromArray(values.astype(kind))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("header", ["x.mhd", "x.mha", "x.nii", "x.nii.gz", "big.nii.gz"])
def test_a_file_without_all_its_voxels_is_told_by_us_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], header: str, packed: bool
) -> None:
    # ITK takes what is missing of a NIfTI file for zeros, and complains of MetaImage by itself.
    made = noise("float64" if header.startswith("big") else "int16")
    sitk.WriteImage(made, str(tmp_path / header), packed)
    (found,) = scans.find([tmp_path])
    scans.read(found)
    file = sorted(tmp_path.iterdir())[-1]  # x.raw or x.zraw, after x.mhd
    whole = file.read_bytes()
    for part in (whole[: len(whole) * 2 // 3], b"" if file.name != header else whole[:-40]):
        file.write_bytes(part)
        with pytest.raises(DataError, match=r"a whole image file was needed.* of its voxels"):
            scans.read(found)
    if file.name != header:
        file.unlink()
        with pytest.raises(DataError, match="none: the file that its header names isn't there"):
            scans.read(found)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["x.mhd", "x.mha", "x.nii", "x.nii.gz"])
@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(range(256)) * 9, b"\x1f\x8b" * 99])
def test_what_is_no_image_file_is_told_by_us_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    (refused,) = scans.search([tmp_path]).refused
    assert "a MetaImage or NIfTI file was needed" in refused.refused
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("header", ["x.mhd", "x.mha", "x.nii.gz"])
def test_a_damaged_byte_of_a_packed_file_is_told(tmp_path: Path, header: str) -> None:
    sitk.WriteImage(noise("int16"), str(tmp_path / header), True)
    (found,) = scans.find([tmp_path])
    file = sorted(tmp_path.iterdir())[-1]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DataError, match="what is compressed breaks off, or is damaged"):
        scans.read(found)


@pytest.mark.parametrize("ending", [".mhd", ".mha", ".nii.gz"])
def test_image_files_in_an_archive(tmp_path: Path, ending: str) -> None:
    (tmp_path / "plain").mkdir()
    made = image()
    sitk.WriteImage(made, str(tmp_path / "plain" / f"1.2.3{ending}"))
    (found,) = scans.find([packed(tmp_path / "plain", tmp_path / "one.zip")])
    assert (found.name, found.series_uid) == ("1.2.3", "1.2.3")
    volume = scans.read(found)
    np.testing.assert_array_equal(volume.hounsfield, sitk.GetArrayFromImage(made))
    assert volume.series_uid == "1.2.3"


def test_an_mhd_in_an_archive_may_not_name_a_file_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.raw"
    sitk.WriteImage(image(), str(tmp_path / "x.mhd"))
    (tmp_path / "x.raw").rename(secret)
    for name in ("../secret.raw", str(secret), "..\\secret.raw"):
        header = (tmp_path / "x.mhd").read_text().replace("x.raw", name)
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("in/x.mhd", header)
        (tmp_path / "one.zip").write_bytes(content.getvalue())
        (found,) = scans.find([tmp_path / "one.zip"])
        with pytest.raises(DataError):
            scans.read(found)
