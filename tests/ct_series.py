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
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from fieldsight.datasets.findings import Finding, Provenance
from fieldsight.datasets.volume import Slice, Volume

ROOT = "1.2.826.0.1.3680043.10.1561"
STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.2"
SECRETS = "Mustermann|Erika|ZZ-4711|19641212|ACC99887|Waldklinik|Bekannt"  # that tell who it is
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROWS, COLUMNS = 12, 10
Edit = Callable[[Dataset, int], None]
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


def stored(count: int, *, signed: bool = True, seed: int = 0) -> NDArray[Any]:
    """Values `(count, ROWS, COLUMNS)` in 12 bits, every slice with its own."""
    rng = np.random.default_rng(seed)
    low = -1000 if signed else 24
    return rng.integers(low, low + 2000, (count, ROWS, COLUMNS)).astype(
        np.int16 if signed else np.uint16
    )


def slice_of(
    values: NDArray[Any],
    *,
    position: Sequence[float],
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (0.7, 0.5),
    series: str = SERIES,
    number: int = 1,
) -> Dataset:
    """One CT image, without a fault and without its file's meta information."""
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = generate_uid(f"{ROOT}.", entropy_srcs=[series, str(number)])
    data.StudyDate, data.StudyTime, data.AccessionNumber = "20210304", "101112", "ACC99887"
    data.Modality, data.Manufacturer, data.ConvolutionKernel = "CT", "ACME", "B50f"
    data.ReferringPhysicianName, data.InstitutionName = "Doktor^Bekannt", "Waldklinik"
    data.StudyDescription, data.SeriesDescription = "Chest", "Lung 2.0"
    data.PatientName, data.PatientID = "Mustermann^Erika", "ZZ-4711"
    data.PatientBirthDate, data.PatientSex, data.PatientAge = "19641212", "F", "056Y"
    data.KVP, data.SliceThickness, data.PatientPosition = "120", "1.5", "HFS"
    data.StudyInstanceUID, data.SeriesInstanceUID = STUDY, series
    data.StudyID, data.SeriesNumber, data.AcquisitionNumber = "S1", 7, 1
    data.InstanceNumber = number
    data.ImagePositionPatient = [f"{value:.10g}"[:16] for value in position]
    data.ImageOrientationPatient = [f"{value:.10g}"[:16] for value in orientation]
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = f"{ROOT}.4", ""
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = values.shape[-2:]
    data.PixelSpacing = [f"{value:.10g}" for value in spacing]
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "0", "1", "HU"
    data.PixelData = values.astype("<i2" if values.dtype.kind == "i" else "<u2").tobytes()
    return data


def save(data: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a data set as a DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    if "PixelData" in data:
        data["PixelData"].VR = "OW"
    file = FileDataset("", data, file_meta=meta, preamble=b"\0" * 128)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def write_files(
    folder: Path,
    values: NDArray[Any],
    *,
    step: float = 2.0,
    origin: Sequence[float] = (-100.0, -80.0, 30.0),
    orientation: Sequence[float] = AXIAL,
    series: str = SERIES,
    edit: Edit | None = None,
    syntax: str = ImplicitVRLittleEndian,
    skip: Sequence[int] = (),
) -> list[Path]:
    """A series of slices along the cosines' normal; file names and numbers run backwards.

    Args:
        folder: for `imgN`, without an ending.
        values: stored, `(planes, rows, columns)`.
        step: mm from plane to plane.
        origin: of the first plane's first voxel.
        orientation: the six cosines.
        series: its UID.
        edit: changes a data set, given its plane, before it is written.
        syntax: of the files.
        skip: planes that aren't written.

    Returns:
        The files by plane.
    """
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for plane, image in enumerate(values):
        if plane in skip:
            continue
        number = len(values) - plane
        data = slice_of(
            image,
            position=(np.asarray(origin) + plane * step * normal).tolist(),
            orientation=orientation,
            series=series,
            number=number,
        )
        if edit is not None:
            edit(data, plane)
        paths.append(save(data, folder / f"img{number:03}", syntax))
    return paths


def enhanced(values: NDArray[Any], *, slopes: Sequence[float], order: Sequence[int]) -> Dataset:
    """An enhanced multi-frame CT whose frames lie 2 mm apart, in this order, each rescaled."""
    data = slice_of(values[0], position=(0, 0, 0))
    data.SOPClassUID = EnhancedCTImageStorage
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
                 "RescaleSlope", "RescaleIntercept", "SliceThickness"):  # fmt: skip
        delattr(data, name)
    data.NumberOfFrames = len(values)
    shared, measures, turned = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.7, 0.5], 2
    turned.ImageOrientationPatient = list(AXIAL)
    shared.PixelMeasuresSequence = Items([measures])
    shared.PlaneOrientationSequence = Items([turned])
    data.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for plane in order:
        group, place, rescale, kind = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [-100, -80, 30 + 2 * plane]
        rescale.RescaleSlope, rescale.RescaleIntercept = slopes[plane], -10
        rescale.RescaleType = "HU"
        kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        group.PlanePositionSequence = Items([place])
        group.PixelValueTransformationSequence = Items([rescale])
        group.CTImageFrameTypeSequence = Items([kind])
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = Items(groups)
    data.PixelData = values[list(order)].astype("<i2").tobytes()
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
    values = np.random.default_rng(0).integers(-900, -700, shape, dtype=np.int16)
    along = place[:3, [2, 1]] / np.linalg.norm(place[:3, [2, 1]], axis=0)
    slices = []
    for number, plane in enumerate(values):
        data = slice_of(
            plane, position=place[:3, 0] * number + place[:3, 3], orientation=along.T.ravel(),
            spacing=np.linalg.norm(place[:3, 1:3], axis=0).tolist(), number=number + 1,
        )  # fmt: skip
        if not pixels:
            del data.PixelData
        change(data)
        path = save(data, folder / f"{number}.dcm", ImplicitVRLittleEndian)
        slices.append(Slice(path, str(data.SOPClassUID), str(data.SOPInstanceUID)))
    return Volume(values, place, name=folder.name, series_uid=SERIES, slices=tuple(slices))


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
