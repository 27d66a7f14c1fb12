"""Small CT series as a scanner writes them, their volumes, and what other tools say of files."""

import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian

from fieldsight.datasets.findings import Finding, Provenance
from fieldsight.datasets.volume import Slice, Volume

ROOT = "1.2.826.0.1.3680043.10.1561"
SHAPE, SPACING = (7, 24, 20), (2.0, 0.8, 0.7)
PROVENANCE = Provenance(
    model="lung-detector v3", version="3", trained_on="simulated patients, seed 0", simulated=True,
    run="0123abcd", software="0.5",
)  # fmt: skip


def tool(name: str) -> str:
    """The path of a program that judges files; without it a test skips, or fails where CI=true."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} isn't installed (Debian's dicom3tools or dcmtk)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def errors(path: Path) -> list[str]:
    """What dciodvfy finds wrong."""
    done = subprocess.run([tool("dciodvfy"), str(path)], capture_output=True)
    said = done.stderr.decode("latin-1").splitlines()
    assert any(line and not line.startswith(("Error", "Warning")) for line in said)  # its IOD
    return [line for line in said if line.startswith(("Error", "Abort"))]


def affine(
    row: Sequence[float], column: Sequence[float], step: float, spacing: Sequence[float] = SPACING
) -> Any:
    """From plane, row, column to LPS mm: cosines along a row and a column, planes up or down."""
    matrix = np.eye(4)
    matrix[:3, 0] = np.cross(row, column) * spacing[0] * step
    matrix[:3, 1] = np.asarray(column) * spacing[1]
    matrix[:3, 2] = np.asarray(row) * spacing[2]
    matrix[:3, 3] = (-11.3, 42.7, -160.25)
    return matrix


def header(place: Any, number: int, shape: Sequence[int]) -> Dataset:
    """Of one slice, without a fault."""
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"{ROOT}.3.{number + 1}"
    data.StudyDate, data.StudyTime, data.AccessionNumber = "20210304", "101112", "A77"
    data.Modality, data.Manufacturer, data.ReferringPhysicianName = "CT", "Maker", "Doctor^Known"
    data.StudyDescription, data.SeriesDescription = "Chest", "Lung 2.0"
    data.PatientName, data.PatientID = "Doe^Jane", "ID-4711"
    data.PatientBirthDate, data.PatientSex, data.PatientAge = "19500607", "F", "070Y"
    data.KVP, data.SliceThickness, data.PatientPosition = "120", "2.0", "HFS"
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2"
    data.StudyID, data.SeriesNumber, data.AcquisitionNumber = "S1", 4, 1
    data.InstanceNumber = number + 1
    data.ImagePositionPatient = [f"{value:.10g}" for value in place[:3, 0] * number + place[:3, 3]]
    along = place[:3, [2, 1]] / np.linalg.norm(place[:3, [2, 1]], axis=0)
    data.ImageOrientationPatient = [f"{value:.10g}" for value in along.T.ravel()]
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = f"{ROOT}.4", ""
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = shape[1:]
    sides = np.linalg.norm(place[:3, 1:3], axis=0)
    data.PixelSpacing = [f"{value:.10g}" for value in sides]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "0", "1", "HU"
    return data


def write(
    folder: Path,
    place: Any = None,
    *,
    shape: tuple[int, int, int] = SHAPE,
    change: Callable[[Dataset], None] = lambda _: None,
    pixels: bool = True,
) -> Volume:
    """Write a series and return its volume, of noise."""
    place = affine((1, 0, 0), (0, 1, 0), 1) if place is None else place
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(-900, -700, shape, dtype=np.int16)
    slices = []
    for number, plane in enumerate(values):
        data = header(place, number, shape)
        change(data)
        if pixels:
            data.PixelData = plane.tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        path = folder / f"{number}.dcm"
        data.save_as(path, enforce_file_format=True)
        slices.append(Slice(path, str(data.SOPClassUID), str(data.SOPInstanceUID)))
    return Volume(values, place, name=folder.name, series_uid=f"{ROOT}.2", slices=tuple(slices))


def headers_of(folder: Path) -> Volume:
    """A series that others wrote: its headers' geometry, and air for its pixels."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    pairs = [(dcmread(path, stop_before_pixels=True), path) for path in files]
    orientation = [float(value) for value in pairs[0][0].ImageOrientationPatient]
    normal = np.cross(orientation[:3], orientation[3:])
    pairs.sort(key=lambda pair: float(np.dot(normal, pair[0].ImagePositionPatient)))
    first, last = pairs[0][0], pairs[-1][0]
    along = np.subtract(last.ImagePositionPatient, first.ImagePositionPatient)
    rows, columns = (float(value) for value in first.PixelSpacing)
    place = np.eye(4)
    place[:3, 0] = along / (len(pairs) - 1)
    place[:3, 1] = np.multiply(orientation[3:], rows)
    place[:3, 2] = np.multiply(orientation[:3], columns)
    place[:3, 3] = [float(value) for value in first.ImagePositionPatient]
    return Volume(
        np.broadcast_to(np.int16(-1000), (len(pairs), first.Rows, first.Columns)),
        place,
        series_uid=str(first.SeriesInstanceUID),
        slices=tuple(
            Slice(path, str(one.SOPClassUID), str(one.SOPInstanceUID)) for one, path in pairs
        ),
    )


def append(path: Path, keyword: str, value: bytes) -> None:
    """Put raw bytes at the end of a header without pixels, whatever they are."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    value += b" " * (len(value) % 2)
    with path.open("ab") as file:
        file.write(struct.pack("<HHL", tag.group, tag.element, len(value)) + value)


def ball(
    volume: Volume,
    index: Sequence[float],
    diameter_mm: float,
    *,
    probability: float = 0.9,
    suspicion: float | None = 0.4,
) -> Finding:
    """A segmented nodule around an index; its centre is that of its voxels."""
    grid = np.moveaxis(np.indices(volume.shape), 0, -1)
    away = volume.to_world(grid) - volume.to_world(index)
    inside = np.linalg.norm(away, axis=-1) <= diameter_mm / 2
    places = np.argwhere(inside)
    first, last = places.min(axis=0), places.max(axis=0) + 1
    x, y, z = volume.to_world(places.mean(axis=0)).tolist()
    start = (int(first[0]), int(first[1]), int(first[2]))
    mask = inside[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    mm3 = float(mask.sum() * np.prod(volume.spacing_mm))
    return Finding((x, y, z), diameter_mm, mm3, probability, suspicion, mask, start)
