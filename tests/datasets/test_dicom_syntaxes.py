"""Every transfer syntax, from files that other tools than the reader's wrote, beside SimpleITK."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from fieldsight.datasets import scans
from fieldsight.datasets.errors import DataError

# Written by dcmtk: the tool, its flags, and the syntax that comes out.
DCMTK = {
    "JPEG Lossless .57": ("dcmcjpeg", ["+el"], "1.2.840.10008.1.2.4.57"),
    "JPEG Lossless .70": ("dcmcjpeg", ["+e1"], "1.2.840.10008.1.2.4.70"),
    "JPEG-LS": ("dcmcjpls", ["+el"], "1.2.840.10008.1.2.4.80"),
    "RLE": ("dcmcrle", [], "1.2.840.10008.1.2.5"),
    "deflated": ("dcmconv", ["+td"], "1.2.840.10008.1.2.1.99"),
    "big-endian": ("dcmconv", ["+tb"], "1.2.840.10008.1.2.2"),
    "explicit": ("dcmconv", ["+te"], "1.2.840.10008.1.2.1"),
    "implicit": ("dcmconv", ["+ti"], "1.2.840.10008.1.2"),
    "undefined lengths": ("dcmconv", ["+te", "-e"], "1.2.840.10008.1.2.1"),
}
# Written by GDCM, by its name of the syntax.
GDCM = {
    "JPEG 2000": ("JPEG2000Lossless", "1.2.840.10008.1.2.4.90"),
    "JPEG Lossless .70 by GDCM": ("JPEGLosslessProcess14_1", "1.2.840.10008.1.2.4.70"),
    "JPEG-LS by GDCM": ("JPEGLSLossless", "1.2.840.10008.1.2.4.80"),
    "RLE by GDCM": ("RLELossless", "1.2.840.10008.1.2.5"),
}


def tool(name: str) -> str:
    """A program of dcmtk's; without it the test is skipped, in CI it fails."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} isn't installed: dcmtk is needed")
        pytest.skip(f"{name} isn't installed (apt install dcmtk)")
    return found


def by_dcmtk(what: str) -> Callable[[Path, Path], None]:
    name, flags, _ = DCMTK[what]
    program = tool(name)

    def convert(source: Path, target: Path) -> None:
        done = subprocess.run(
            [program, *flags, str(source), str(target)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    return convert


def by_gdcm(what: str) -> Callable[[Path, Path], None]:
    gdcm = importlib.import_module("gdcm")  # which has no types

    syntax = getattr(gdcm.TransferSyntax, GDCM[what][0])

    def convert(source: Path, target: Path) -> None:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(source))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(target))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()

    return convert


@pytest.mark.parametrize("kind", ["signed", "unsigned", "12 bits", "12 bits signed"])
@pytest.mark.parametrize("what", [*DCMTK, *GDCM])
def test_each_transfer_syntax_reads_as_simpleitk_reads_it(
    tmp_path: Path, ct: ModuleType, what: str, kind: str
) -> None:
    values = ct.stored(3, signed=kind.endswith("signed") and kind != "unsigned")

    def edit(data: Any, plane: int) -> None:
        if kind.startswith("12"):
            data.BitsStored, data.HighBit = 12, 11
            # As scanners write them: the sign isn't carried on above the stored bits.
            plain = values[plane].view(np.uint16) & 0x0FFF
            data.PixelData = plain.astype("<u2").tobytes()
        if values.dtype == np.uint16:
            data.RescaleIntercept = "-1024"

    plain = ct.write_files(tmp_path / "plain", values, edit=edit, syntax="1.2.840.10008.1.2.1")
    convert = by_dcmtk(what) if what in DCMTK else by_gdcm(what)
    folder = tmp_path / "coded"
    folder.mkdir()
    files = []
    for source in plain:
        convert(source, folder / source.name)
        files.append(str(folder / source.name))
    written = pydicom.filereader.read_file_meta_info(files[0]).TransferSyntaxUID
    assert written == (DCMTK[what][2] if what in DCMTK else GDCM[what][1])

    (found,) = scans.find([folder])
    volume = scans.read(found)
    wanted = values.astype(int) - (1024 if values.dtype == np.uint16 else 0)
    np.testing.assert_array_equal(volume.hounsfield, wanted)
    assert volume.hounsfield.dtype == np.int16
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(files)), wanted)


@pytest.mark.parametrize("what", ["JPEG Lossless .70", "RLE", "deflated"])
def test_a_truncated_coded_slice_is_a_missing_slice(
    tmp_path: Path, ct: ModuleType, what: str
) -> None:
    values = ct.stored(12)
    plain = ct.write_files(tmp_path / "plain", values, syntax="1.2.840.10008.1.2.1")
    convert = by_dcmtk(what)
    folder = tmp_path / "coded"
    folder.mkdir()
    for source in plain:
        convert(source, folder / source.name)
    damaged = folder / plain[5].name
    damaged.write_bytes(damaged.read_bytes()[:-200])
    searched = scans.search([folder])
    (found,) = searched.found
    volume = scans.read(found)
    kept = [plane for plane in range(12) if plane != 5]
    np.testing.assert_array_equal(volume.hounsfield[kept], values[kept])
    assert volume.slices[5].sop_instance_uid == ""
    assert any("missing: 1 of 12" in note for note in volume.notes)
    assert any("can't be read" in note for note in (*volume.notes, *searched.notes))


def test_a_file_without_a_preamble_is_read(tmp_path: Path, ct: ModuleType) -> None:
    values = ct.stored(3)
    for file in ct.write_files(tmp_path, values):
        file.write_bytes(file.read_bytes()[132:])
    (found,) = scans.find([tmp_path])
    np.testing.assert_array_equal(scans.read(found).hounsfield, values)


def test_a_file_of_the_data_set_alone_is_read(tmp_path: Path, ct: ModuleType) -> None:
    """Neither preamble nor meta information, as some workstations write."""
    values = ct.stored(3)
    for file in ct.write_files(tmp_path, values):
        data = pydicom.dcmread(file)
        with file.open("wb") as out:
            buffer = pydicom.filebase.DicomFileLike(out)
            buffer.is_implicit_VR, buffer.is_little_endian = True, True
            pydicom.filewriter.write_dataset(buffer, data)
    (found,) = scans.find([tmp_path])
    np.testing.assert_array_equal(scans.read(found).hounsfield, values)


def test_eight_and_thirty_two_bits_are_read(tmp_path: Path, ct: ModuleType) -> None:
    for bits, signed in ((8, False), (32, True)):
        values = ct.stored(3) % 256 if bits == 8 else ct.stored(3)

        def edit(
            data: Any, plane: int, bits: int = bits, signed: bool = signed, values: Any = values
        ) -> None:
            data.BitsAllocated = data.BitsStored = bits
            data.HighBit, data.PixelRepresentation = bits - 1, int(signed)
            data.RescaleSlope, data.RescaleIntercept = "1", "-1000" if bits == 8 else "0"
            data.PixelData = values[plane].astype(f"<{'i' if signed else 'u'}{bits // 8}").tobytes()

        folder = tmp_path / str(bits)
        ct.write_files(folder, values, edit=edit)
        (found,) = scans.find([folder])
        wanted = values.astype(int) - (1000 if bits == 8 else 0)
        np.testing.assert_array_equal(scans.read(found).hounsfield, wanted)


def test_a_deflated_file_that_inflates_without_end_is_refused(
    tmp_path: Path, ct: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldsight.datasets.dicom.headers.LARGEST_INFLATED", 2**20)
    files = ct.write_files(tmp_path / "plain", ct.stored(2))
    meta = pydicom.filereader.read_file_meta_info(files[0])
    head = 144 + meta.FileMetaInformationGroupLength
    content = files[0].read_bytes()
    start = content[:head].replace(b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.1.99")
    start = start[:140] + (len(start) - 144).to_bytes(4, "little") + start[144:]
    at = start.index(b"1.2.840.10008.1.2.1.99")
    start = start[: at - 2] + (22).to_bytes(2, "little") + start[at:]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(bytes(2**23)) + packer.flush()
    (tmp_path / "bomb").write_bytes(start + bomb)
    searched = scans.search([tmp_path / "bomb"])
    assert searched.found == ()
    assert any("inflated" in note for note in searched.notes), searched.notes


def test_an_unknown_transfer_syntax_is_told(tmp_path: Path, ct: ModuleType) -> None:
    files = ct.write_files(tmp_path, ct.stored(3), syntax="1.2.840.10008.1.2.1")
    for file in files:
        content = file.read_bytes()
        # MPEG-4: of one length with explicit little endian and its padding.
        file.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0", 1))
    (found,) = scans.find([tmp_path])
    with pytest.raises(DataError, match="damaged: 3 of 3 slices can't be read"):
        scans.read(found)
