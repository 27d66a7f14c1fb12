"""A simulated scan as a series of CT Image Storage, as a scanner would send it."""

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.lung._patient import Patient
from fieldsight.datasets.simulated.lung._scanner import Storage

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
# What every simulated series' description and images' comments begin with.
MARK = "SIMULATED"
_POSITIONS = {"supine": "HFS", "prone": "HFP", "feet-first": "FFS"}
_UID, _NUMBER, _POSITION = 0x00080018, 0x00200013, 0x00200032


def uid(*parts: object) -> str:
    """A UID made of what it stands for: 2.25 and a whole number of 39 digits, as UUIDs have."""
    text = "/".join(str(part) for part in ("fieldsight simulated lung", *parts))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest())
    return f"2.25.{10**38 + number % (2**128 - 10**38)}"


def stored(hounsfield: Array, storage: Storage, outside: Array) -> Array:
    """Numbers as they lie in the file.

    Args:
        hounsfield: `(planes, rows, columns)` int16.
        storage: how they are stored.
        outside: `(rows, columns)` bool, what the scanner doesn't see.

    Returns:
        int16 or uint16, little-endian.
    """
    kind = "<i2" if storage.signed else "<u2"
    numbers = hounsfield.astype(np.int32) if abs(storage.intercept) > 4096 else hounsfield
    numbers = numbers - numbers.dtype.type(storage.intercept)
    if storage.slope != 1:
        numbers = np.rint(numbers / storage.slope)
    numbers = numbers.astype(kind)
    if storage.padding is not None:
        numbers[:, outside] = storage.padding
    return numbers


def images(
    patient: Patient, identity: tuple[object, ...], outside: Array
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a series' files.

    Args:
        patient: whom it shows.
        identity: from which every UID is made.
        outside: `(rows, columns)` bool, what the scanner doesn't see.
    """
    volume, scanner = patient.volume, patient.scanner
    numbers = stored(volume.hounsfield, scanner.storage, outside)
    affine = volume.affine
    head = _segments(_dataset(patient, identity))
    planes = len(numbers)
    first = uid(*identity, "image", 0)
    preamble, stand_in = _preamble(first), first.encode()
    for plane in range(planes):
        instance = uid(*identity, "image", plane)
        number = planes - plane if scanner.backwards else plane + 1
        place = affine[:3, 0] * plane + affine[:3, 3]
        position = "\\".join(f"{value:.6f}".rstrip("0").rstrip(".") for value in place)
        # By hand: pydicom takes longer over three elements than over a plane's pixels.
        own = [
            head[_UID], _element(_UID, b"UI", instance), head[_NUMBER],
            _element(_NUMBER, b"IS", str(number)), head[_POSITION],
            _element(_POSITION, b"DS", position), head[0],
        ]  # fmt: skip
        pixels = numbers[plane].tobytes()
        data = b"\xe0\x7f\x10\x00OW\0\0" + len(pixels).to_bytes(4, "little") + pixels
        name = f"{uid(*identity, 'file', plane)[5:15]}" if scanner.shuffled else f"{number:04d}"
        start = preamble.replace(stand_in, instance.encode())
        yield f"IM{name}.dcm", b"".join((start, *own, data))


def _preamble(instance: str) -> bytes:
    meta = Dataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = CT_IMAGE_STORAGE
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    rest = _encoded(meta)
    length = b"\x02\x00\x00\x00UL\x04\x00" + len(rest).to_bytes(4, "little")
    return b"\0" * 128 + b"DICM" + length + rest


def _element(tag: int, kind: bytes, text: str) -> bytes:
    """A short element of text, explicit little-endian, of even length."""
    value = text.encode()
    value += (b"\0" if kind == b"UI" else b" ") * (len(value) % 2)
    group, number = (tag >> 16).to_bytes(2, "little"), (tag & 0xFFFF).to_bytes(2, "little")
    return group + number + kind + len(value).to_bytes(2, "little") + value


def _encoded(dataset: Dataset) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, dataset)
    return file.getvalue()


def _segments(dataset: Dataset) -> dict[int, bytes]:
    """What comes before each element that images differ in, and, at 0, what comes after all."""
    borders = [0, _UID, _NUMBER, _POSITION]
    found = {stop: _encoded(dataset[start:stop]) for start, stop in itertools.pairwise(borders)}
    found[0] = _encoded(dataset[_POSITION:0x7FE00000])
    return found


def _dataset(patient: Patient, identity: tuple[object, ...]) -> Dataset:
    """What all images of the series share."""
    volume, scanner, storage = patient.volume, patient.scanner, patient.scanner.storage
    _, rows, columns = volume.shape
    _, row_mm, column_mm = volume.spacing_mm
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SOPClassUID = CT_IMAGE_STORAGE
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20000101"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "120000"
    data.AccessionNumber = ""
    data.Modality = "CT"
    data.Manufacturer = "fieldsight simulator"
    data.ManufacturerModelName = f"{MARK} {scanner.kernel}"
    data.ReferringPhysicianName = ""
    data.StudyDescription = f"{MARK} chest"
    data.SeriesDescription = f"{MARK} chest {scanner.kernel.lower()}"
    data.PatientName = f"{MARK}^{patient.number:04d}"
    data.PatientID = patient.name
    data.PatientBirthDate = ""
    data.PatientSex = "F" if patient.chest.female else "M"
    data.BodyPartExamined = "CHEST"
    data.KVP = 120
    data.XRayTubeCurrent = scanner.current_ma
    data.SliceThickness = scanner.thickness_mm
    data.ReconstructionDiameter = round(rows * row_mm, 3)
    data.GantryDetectorTilt = 0
    data.ConvolutionKernel = scanner.kernel
    data.PatientPosition = _POSITIONS[scanner.orientation]
    data.SoftwareVersions = str(identity[0])
    data.StudyInstanceUID = uid(*identity, "study")
    data.SeriesInstanceUID = volume.series_uid
    data.StudyID = str(patient.number)
    data.SeriesNumber = 2
    data.AcquisitionNumber = 1
    cosines = volume.affine[:3, [2, 1]] / (column_mm, row_mm)
    data.ImageOrientationPatient = [round(value) for value in cosines.T.ravel()]
    data.FrameOfReferenceUID = uid(*identity, "frame")
    data.PositionReferenceIndicator = ""
    data.ImageComments = f"{MARK}: no patient, no scanner"
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = rows, columns
    data.PixelSpacing = [round(row_mm, 6), round(column_mm, 6)]
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = int(storage.signed)
    if storage.padding is not None and storage.declared:
        data.add_new(0x00280120, "SS" if storage.signed else "US", storage.padding)
    data.WindowCenter, data.WindowWidth = -600, 1600
    data.RescaleIntercept, data.RescaleSlope = storage.intercept, storage.slope
    data.RescaleType = "HU"
    return data


def write_series(
    folder: Path, patient: Patient, identity: tuple[object, ...], outside: Array
) -> None:
    """Write a series' files into a folder that is there."""
    for name, content in images(patient, identity, outside):
        (folder / name).write_bytes(content)
