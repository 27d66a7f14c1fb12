"""The findings' masks as a DICOM Segmentation on the grid of the images they were drawn on.

Binary, one segment a finding, only the planes that hold it; each frame names its source image.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from fieldsight.datasets.dicom_source import Source
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.findings import Finding, Provenance, labels, marks
from fieldsight.datasets.sample import Array
from fieldsight.datasets.volume import Slice, Volume

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"  # Segmentation Storage
MANUFACTURER = "fieldsight"
SERIES = 9001  # numbers that no scanner gives
_LONG = 64  # characters of a DICOM long string
_ORTHOGONAL = 1e-4


@dataclass(frozen=True)
class Segmented:
    """A segmentation that was written, as a report refers to it.

    Args:
        series_uid: of the segmentation's series.
        sop_instance_uid: of the segmentation.
        segments: the number of each segment, by its finding's number from 1.
        frames: of each segment, from 1, by its finding's number.
        planes: of the volume, from 0, that hold each segment, by its finding's number.
        tracking: the UID by which each finding is followed, by its number.
    """

    series_uid: str
    sop_instance_uid: str
    segments: Mapping[int, int] = field(default_factory=dict)
    frames: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    planes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    tracking: Mapping[int, str] = field(default_factory=dict)


def write_seg(
    path: Path,
    volume: Volume,
    findings: Sequence[Finding],
    provenance: Provenance,
    source: Source,
) -> Segmented | None:
    """Write the masks of findings; nothing is written where none has one.

    A voxel of two masks belongs to the finding that comes first.

    Args:
        path: the file.
        volume: the scan; its rows and columns are those of its slices.
        findings: in their order; a segment is labelled with its finding's number from 1.
        provenance: what found them.
        source: of the volume, as `dicom_source.read_source` gives it.

    Returns:
        What a report needs to refer to it; None where there is no mask.

    Raises:
        DataError: if the grid isn't one that an image of slices has: rows and columns at right
            angles.
    """
    array, start = labels(volume, findings)
    numbers = [int(number) for number in np.unique(array) if number]
    if not numbers:
        return None
    planes = np.flatnonzero(array.any(axis=(1, 2)))
    frames = np.zeros((len(planes), *volume.shape[1:]), np.uint16)
    row, column = start[1:]
    frames[:, row : row + array.shape[1], column : column + array.shape[2]] = np.searchsorted(
        [0, *numbers], array[planes]
    )
    if len(numbers) < 256:
        frames = frames.astype(np.uint8)
    written = _segmentation(
        volume, frames, (planes + start[0]).tolist(), numbers, provenance, source
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        written.save_as(path, enforce_file_format=True)
    return _reference(written, numbers, array, start[0])


def _segmentation(
    volume: Volume,
    frames: Array,
    planes: Sequence[int],
    numbers: Sequence[int],
    provenance: Provenance,
    source: Source,
) -> Dataset:
    import highdicom

    images = placeholders(volume, planes, source)
    said = marks(volume, provenance)
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=segment,
            segment_label=f"Finding {number}",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Nodule,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=_algorithm(volume, provenance),
            tracking_uid=generate_uid(),
            tracking_id=f"Finding {number}",
            anatomic_regions=[codes.SCT.Lung],
        )
        for segment, number in enumerate(numbers, 1)
    ]
    written = highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=frames,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=SERIES,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=clipped(provenance.model),
        software_versions=clipped(provenance.software or "unknown"),
        device_serial_number="none",
        content_label="NODULES",
        content_description=clipped(": ".join([*said, "nodules found by a model, unverified"])),
        series_description=clipped(f"{'SIMULATED ' if said else ''}fieldsight: nodules, masks"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_date=datetime.now().date(),
        content_time=datetime.now().time(),
    )
    _name_sources(written, planes, source)
    complete(written, source)
    return written


def _algorithm(volume: Volume, provenance: Provenance) -> Any:
    import highdicom

    return highdicom.AlgorithmIdentificationSequence(
        name=clipped(provenance.model),
        family=codes.cid7162.ArtificialIntelligence,
        version=clipped(provenance.version or provenance.run or "unknown"),
        source=MANUFACTURER,
        parameters=dict(parameters(volume, provenance)),
    )


def parameters(volume: Volume, provenance: Provenance) -> list[tuple[str, str]]:
    """What a report says of the model besides its name: in ASCII, which every file can hold."""
    simulated = "yes: SIMULATED patients alone" if provenance.simulated else "no"
    said = [
        ("scan", "SIMULATED" if volume.facts.get("simulated") else ""),
        ("model", provenance.model),
        ("trained on", provenance.trained_on),
        ("training data simulated", simulated),
        ("run", provenance.run),
        ("software", f"fieldsight {provenance.software}".strip()),
        ("created", provenance.created),
        ("disclaimer", provenance.disclaimer),
    ]
    return [(name, plain(value)) for name, value in said if value]


def plain(text: str) -> str:
    """Text in ASCII, on one line: whatever character set the images declare, it has these."""
    ascii_only = text.encode("ascii", "replace").decode()
    return " ".join(ascii_only.replace("\\", "/").split())


def clipped(text: str) -> str:
    """The same, cut to a DICOM long string."""
    text = plain(text)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def placeholders(volume: Volume, planes: Sequence[int], source: Source) -> list[Dataset]:
    """Source images as highdicom needs them: the grid's geometry and UIDs, and no patient.

    What is inherited is checked, and added by `complete`: highdicom would refuse a patient whose
    attributes are odd, and say so in a log with the patient's name.

    Raises:
        DataError: if rows and columns aren't at right angles.
    """
    row, column = volume.affine[:3, 1], volume.affine[:3, 2]
    spacing = (float(np.linalg.norm(row)), float(np.linalg.norm(column)))
    cosines = np.concatenate([column / spacing[1], row / spacing[0]])
    if abs(float(cosines[:3] @ cosines[3:])) > _ORTHOGONAL:
        raise DataError(
            "a DICOM image has rows and columns at right angles. Received: a grid that is sheared "
            "within its planes. Write the findings as CSV, JSON or markups."
        )
    return [_placeholder(volume, plane, cosines, spacing, source) for plane in planes]


def _placeholder(
    volume: Volume, plane: int, cosines: Array, spacing: tuple[float, float], source: Source
) -> Dataset:
    image = Dataset()
    image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"  # a slice alone, even of a multi-frame file
    image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID = source.study_uid
    image.SeriesInstanceUID = source.series_uid
    image.FrameOfReferenceUID = source.frame_of_reference_uid
    image.Modality = "CT"
    image.Rows, image.Columns = volume.shape[1:]
    image.ImagePositionPatient = [_decimal(value) for value in volume.to_world((plane, 0, 0))]
    image.ImageOrientationPatient = [_decimal(value) for value in cosines]
    image.PixelSpacing = [_decimal(value) for value in spacing]
    image.SliceThickness = _decimal(volume.spacing_mm[0])
    image.SpacingBetweenSlices = _decimal(volume.spacing_mm[0])
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex",
                    "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):  # fmt: skip
        setattr(image, keyword, None)
    image.update(source.equipment)
    return image


def _decimal(value: float) -> str:
    """A DICOM decimal string, 16 characters at most."""
    return next(text for digits in range(15, 5, -1) if len(text := f"{value:.{digits}g}") <= 16)


def complete(report: Dataset, source: Source) -> None:
    """Add what is inherited to a report that was made of `placeholders`."""
    for element in source.inherited:
        report.add(element)
    if "SpecificCharacterSet" not in source.inherited and "SpecificCharacterSet" in report:
        del report.SpecificCharacterSet


def _name_sources(written: Dataset, planes: Sequence[int], source: Source) -> None:
    """Name the slices' own files and frames where placeholders stood for them."""
    stood_for = {
        image: source.slices[plane]
        for plane, image in zip(planes, _referenced(written, planes), strict=True)
    }
    for frame in written.PerFrameFunctionalGroupsSequence:
        for derivation in frame.DerivationImageSequence:
            for image in derivation.SourceImageSequence:
                part = stood_for.get(image.ReferencedSOPInstanceUID)
                if part is not None:  # the frames of a plane's segments may share one item
                    _name(image, part, source.on_slices)
        images = frame.DerivationImageSequence[0].SourceImageSequence
        if not images[0].ReferencedSOPInstanceUID:  # an interpolated plane comes from no image
            frame.DerivationImageSequence = []
    instances: dict[str, Dataset] = {}
    for part in stood_for.values():
        item = Dataset()
        item.ReferencedSOPClassUID = part.sop_class_uid
        item.ReferencedSOPInstanceUID = part.sop_instance_uid
        if part.sop_instance_uid:
            instances[part.sop_instance_uid] = item
    if instances:
        written.ReferencedSeriesSequence[0].ReferencedInstanceSequence = list(instances.values())
    else:
        del written.ReferencedSeriesSequence
    if "SourceImageSequence" in written:
        del written.SourceImageSequence


def _name(image: Dataset, part: Slice, on_slices: bool) -> None:
    image.ReferencedSOPClassUID = part.sop_class_uid
    image.ReferencedSOPInstanceUID = part.sop_instance_uid
    image.SpatialLocationsPreserved = "YES" if on_slices else "NO"
    if part.frame is not None:
        image.ReferencedFrameNumber = part.frame


def _referenced(written: Dataset, planes: Sequence[int]) -> list[str]:
    """The placeholders' UIDs in the order of planes."""
    items = written.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    return [str(item.ReferencedSOPInstanceUID) for item in items][: len(planes)]


def _reference(written: Dataset, numbers: Sequence[int], array: Array, first: int) -> Segmented:
    frames: dict[int, list[int]] = {number: [] for number in numbers}
    shared = written.SharedFunctionalGroupsSequence[0]  # a single segment's number stands there
    for frame, item in enumerate(written.PerFrameFunctionalGroupsSequence, 1):
        holder = item if "SegmentIdentificationSequence" in item else shared
        segment = int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        frames[numbers[segment - 1]].append(frame)
    planes = {
        number: tuple((np.flatnonzero((array == number).any(axis=(1, 2))) + first).tolist())
        for number in numbers
    }
    return Segmented(
        str(written.SeriesInstanceUID),
        str(written.SOPInstanceUID),
        {number: segment for segment, number in enumerate(numbers, 1)},
        {number: tuple(these) for number, these in frames.items()},
        planes,
        {
            number: str(item.TrackingUID)
            for number, item in zip(numbers, written.SegmentSequence, strict=True)
        },
    )
