"""Chests of balls and ellipsoids, and scans as published sets have them, small and on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  its own documentation's name
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from fieldsight.datasets.volume import Volume

Ball = tuple[float, float, float, float, float]  # x, y, z, radius in mm, Hounsfield units
AIR, TISSUE, LUNG, BONE = -1000, 40, -850, 500
LUNGS = ((-75.0, 0.0, 0.0), (75.0, 0.0, 0.0))  # centres; half axes are 55, 85 and 110 mm


def chest(
    balls: Sequence[Ball] = (),
    *,
    spacing: tuple[float, float, float] = (3.0, 2.5, 2.5),
    height_mm: float = 260.0,
    affine: Any = None,
    seed: int = 0,
) -> Volume:
    """A body with two lungs, a heart between them, a spine and a windpipe, and these balls.

    The middle of the body is at (0, 0, 0). Inside a lung a ball is whole; on its wall it is a
    bump of tissue into the lung.
    """
    if affine is None:
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2] = spacing
        affine[3, 3] = 1
        affine[:3, 3] = (-160.0, -120.0, -height_mm / 2)
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    extents = np.abs(np.array([320.0, 240.0, height_mm]) @ np.abs(affine[:3, :3]) / steps)
    shape = np.ceil(extents / steps).astype(int)
    index = np.moveaxis(np.indices(tuple(shape)), 0, -1)
    x, y, z = np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    hounsfield = np.full(tuple(shape), float(AIR))
    hounsfield[(x / 150) ** 2 + (y / 110) ** 2 < 1] = TISSUE
    for cx, cy, cz in LUNGS:
        lung = ((x - cx) / 55) ** 2 + ((y - cy) / 85) ** 2 + ((z - cz) / 110) ** 2 < 1
        hounsfield[lung] = LUNG
    hounsfield[(x / 45) ** 2 + ((y + 30) / 45) ** 2 + ((z + 30) / 60) ** 2 < 1] = TISSUE
    hounsfield[(x / 18) ** 2 + ((y - 85) / 18) ** 2 < 1] = BONE
    hounsfield[(x**2 + (y - 20) ** 2 < 8**2) & (z > 40)] = AIR
    for bx, by, bz, radius, value in balls:
        hounsfield[(x - bx) ** 2 + (y - by) ** 2 + (z - bz) ** 2 < radius**2] = value
    noise = np.random.default_rng(seed).normal(0, 15, hounsfield.shape)
    return Volume(np.rint(hounsfield + noise).astype(np.int16), affine, "phantom")


def write_mhd(path: Path, volume: Volume) -> None:
    """As LUNA16 has it: a header and the voxels beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(volume.hounsfield)
    image.SetSpacing(tuple(float(step) for step in volume.spacing_mm[::-1]))
    image.SetOrigin([float(value) for value in volume.affine[:3, 3]])
    cosines = volume.affine[:3, [2, 1, 0]] / np.array(volume.spacing_mm[::-1])
    image.SetDirection([float(value) for value in cosines.ravel()])
    sitk.WriteImage(image, str(path))


def write_dicom(
    folder: Path,
    volume: Volume,
    *,
    series_uid: str,
    patient: str = "P1",
    date: str = "20000102",
    description: str = "chest",
) -> list[str]:
    """A series of axial slices; gives the SOPInstanceUID of each, from the first plane."""
    folder.mkdir(parents=True, exist_ok=True)
    study, uids = generate_uid(), []
    for number, plane in enumerate(volume.hounsfield):
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"{series_uid}.{number + 1}"
        data.Modality, data.SeriesDescription = "CT", description
        data.PatientID, data.PatientName, data.StudyDate = patient, "Some^Body", date
        data.PatientBirthDate, data.ImageType = "19400101", ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series_uid
        data.InstanceNumber, data.SeriesNumber = number + 1, 3
        position = volume.to_world([number, 0, 0])
        data.ImagePositionPatient = [f"{value:.6f}" for value in position]
        cosines = volume.affine[:3, [2, 1]] / np.array(volume.spacing_mm)[[2, 1]]
        data.ImageOrientationPatient = [f"{value:.6f}" for value in cosines.T.ravel()]
        data.PixelSpacing = [f"{value:.6f}" for value in volume.spacing_mm[1:]]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.Rows, data.Columns = plane.shape
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation, data.RescaleSlope, data.RescaleIntercept = 1, "1", "0"
        data.PixelData = np.ascontiguousarray(plane, "<i2").tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        # Names tell nothing of the order, as in TCIA's older sets.
        data.save_as(folder / f"{(number * 7) % len(volume.hounsfield):06d}.dcm",
                     enforce_file_format=True)  # fmt: skip
        uids.append(str(data.SOPInstanceUID))
    return uids


def small(value: int = -800, shape: tuple[int, int, int] = (3, 5, 4)) -> Volume:
    """A volume of a few voxels, of one value, 2.5 x 0.5 x 0.5 mm."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 2.5, 0.5, 0.5, 1
    affine[:3, 3] = (-10.0, -20.0, -30.0)
    return Volume(np.full(shape, value, np.int16), affine)
