"""Writes small CT series as scanners do, for the tests of the reader; nothing of it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROWS, COLUMNS = 12, 10
Edit = Callable[[Dataset, int], None]


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
    spacing: tuple[float, float] = (0.7, 0.5),
    series: str = "1.2.3.4",
    number: int = 1,
) -> Dataset:
    """One CT image as a data set without its file's meta information."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = CT, generate_uid(entropy_srcs=[series, str(number)])
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", series
    data.FrameOfReferenceUID = "1.2.5"
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Manufacturer, data.ConvolutionKernel, data.KVP = "ACME", "B50f", "120"
    data.SliceThickness = "1.5"
    data.PatientName, data.PatientID = "Mustermann^Erika", "ZZ-4711"
    data.PatientBirthDate, data.AccessionNumber = "19641212", "ACC99887"
    data.InstitutionName = "Waldklinik"
    data.SeriesNumber, data.InstanceNumber, data.AcquisitionNumber = 7, number, 1
    data.ImagePositionPatient = [f"{value:.10g}"[:16] for value in position]
    data.ImageOrientationPatient = [f"{value:.10g}"[:16] for value in orientation]
    data.PixelSpacing = list(spacing)
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.RescaleSlope, data.RescaleIntercept = "1", "0"
    data.PixelData = values.astype("<i2" if values.dtype.kind == "i" else "<u2").tobytes()
    return data


def save(data: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a data set as a DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    data["PixelData"].VR = "OW"
    file = FileDataset("", data, file_meta=meta, preamble=b"\0" * 128)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def write(
    folder: Path,
    values: NDArray[Any],
    *,
    step: float = 2.0,
    origin: Sequence[float] = (-100.0, -80.0, 30.0),
    orientation: Sequence[float] = AXIAL,
    series: str = "1.2.3.4",
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
    data.SOPClassUID = ENHANCED
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
