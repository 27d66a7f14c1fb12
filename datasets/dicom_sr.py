"""Findings as a DICOM Comprehensive 3D structured report, template 1500 (Measurement Report).

Unverified and preliminary. Each finding is a group of measurements (template 1411) with its
centre in the images' frame of reference, and its segment or, where it wasn't segmented, a sphere.
A last group (template 1501) is about the whole series: whether anything was found, and its score.
"""

import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from fieldsight.datasets.dicom_seg import (
    MANUFACTURER,
    SERIES,
    SOP_CLASS,
    Segmented,
    clipped,
    complete,
    parameters,
    placeholders,
    plain,
)
from fieldsight.datasets.dicom_source import Source
from fieldsight.datasets.findings import Finding, Provenance, central_plane, marks
from fieldsight.datasets.sample import Array
from fieldsight.datasets.volume import Slice, Volume

CHEST_CT = Code("24627-2", "LN", "CT Chest")
# Of our own, since no standard code means a model of readers' opinion and not of pathology (L-15).
SCHEME = "99FIELDSIGHT"
SUSPICION = Code("SUSPICION", SCHEME, "Suspicion of malignancy in readers' opinion")
PATIENT_SCORE = Code("PATIENT_SCORE", SCHEME, "Suspicion of the series by leaky noisy-or")


def write_sr(
    path: Path,
    volume: Volume,
    findings: Sequence[Finding],
    provenance: Provenance,
    source: Source,
    *,
    segmented: Segmented | None = None,
    patient_score: float | None = None,
) -> str:
    """Write findings as a structured report; none is a report that says so (C-11).

    Args:
        path: the file.
        volume: the scan.
        findings: in their order; numbered from 1.
        provenance: what found them.
        source: of the volume, as `dicom_source.read_source` gives it.
        segmented: what `dicom_seg.write_seg` gave for the same findings.
        patient_score: suspicion of the whole series, 0 to 1.

    Returns:
        The report's SOPInstanceUID.

    Raises:
        DataError: if the grid isn't one that an image of slices has.
    """
    import highdicom
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    algorithm = _algorithm(volume, provenance)
    groups = [
        _group(number, finding, volume, source, segmented, algorithm)
        for number, finding in enumerate(findings, 1)
    ]
    whole = _whole(bool(findings), patient_score, algorithm)
    report = highdicom.sr.MeasurementReport(
        observation_context=_observer(provenance),
        procedure_reported=CHEST_CT,
        imaging_measurements=[*groups, whole],
        title=codes.cid7021.ImagingMeasurementReport,
    )
    said = marks(volume, provenance)
    written = highdicom.sr.Comprehensive3DSR(
        evidence=_evidence(volume, source, segmented),
        content=report,
        series_instance_uid=generate_uid(),
        series_number=SERIES + 1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=clipped(provenance.model),
        software_versions=clipped(provenance.software or "unknown"),
        series_description=clipped(f"{'SIMULATED ' if said else ''}fieldsight: nodules, report"),
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=SCHEME,
                name="fieldsight's own codes",
                responsible_organization="fieldsight",
            )
        ],
        content_date=datetime.now().date(),
        content_time=datetime.now().time(),
    )
    complete(written, source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        written.save_as(path, enforce_file_format=True)
    return str(written.SOPInstanceUID)


def _algorithm(volume: Volume, provenance: Provenance) -> Any:
    import highdicom

    return highdicom.sr.AlgorithmIdentification(
        name=plain(provenance.model),
        version=plain(provenance.version or provenance.run or "unknown"),
        parameters=[f"{name}: {value}" for name, value in parameters(volume, provenance)],
        family=codes.cid7162.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )


def _observer(provenance: Provenance) -> Any:
    import highdicom

    return highdicom.sr.ObservationContext(
        observer_device_context=highdicom.sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=highdicom.sr.DeviceObserverIdentifyingAttributes(
                uid=generate_uid(entropy_srcs=["fieldsight", provenance.model]),
                name="fieldsight",
                manufacturer_name=MANUFACTURER,
                model_name=plain(provenance.model),
            ),
        )
    )


def _group(
    number: int,
    finding: Finding,
    volume: Volume,
    source: Source,
    segmented: Segmented | None,
    algorithm: Any,
) -> Any:
    import highdicom

    segment = segmented is not None and number in segmented.segments
    place: dict[str, Any] = (
        {"referenced_segment": _segment(number, segmented, source)}
        if segmented is not None and segment
        else {"referenced_volume_surface": _sphere(finding, volume, source)}
    )
    measurements = [
        _measured(codes.SCT.Diameter, finding.diameter_mm, codes.UCUM.Millimeter),
        _measured(codes.DCM.CertaintyOfFinding, 100 * finding.probability, codes.UCUM.Percent),
    ]
    if finding.volume_mm3 is not None:
        measurements.append(
            _measured(codes.SCT.Volume, finding.volume_mm3, codes.UCUM.CubicMillimeter)
        )
    if finding.suspicion is not None:
        measurements.append(_measured(SUSPICION, 100 * finding.suspicion, codes.UCUM.Percent))
    group = highdicom.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(
            uid=segmented.tracking[number] if segmented and segment else generate_uid(),
            identifier=f"Finding {number}",
        ),
        finding_type=codes.SCT.Nodule,
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
        finding_sites=[highdicom.sr.FindingSite(codes.SCT.Lung)],
        algorithm_id=algorithm,
        measurements=measurements,
        **place,
    )
    # Beside what the template asks for, which it allows: where to look, without the segmentation.
    group[0].ContentSequence.append(
        highdicom.sr.Scoord3DContentItem(
            name=codes.DCM.Center,
            graphic_type=highdicom.sr.GraphicTypeValues3D.POINT,
            graphic_data=np.array([finding.centre_mm], np.float64),
            frame_of_reference_uid=source.frame_of_reference_uid,
            relationship_type=highdicom.sr.RelationshipTypeValues.CONTAINS,
        )
    )
    return group


def _measured(name: Code, value: float, unit: Code) -> Any:
    import highdicom

    return highdicom.sr.Measurement(name=name, value=float(f"{value:.6g}"), unit=unit)


def _segment(number: int, segmented: Segmented, source: Source) -> Any:
    import highdicom

    planes = segmented.planes[number]
    slices = [source.slices[plane] for plane in planes]
    return highdicom.sr.ReferencedSegment(
        sop_class_uid=SOP_CLASS,
        sop_instance_uid=segmented.sop_instance_uid,
        segment_number=segmented.segments[number],
        source_images=_images(slices) or _images([_nearest(source.slices, planes[0])]),
    )


def _images(slices: Sequence[Slice]) -> list[Any]:
    """References to slices; one a file, with its frames, where a file has several."""
    import highdicom

    frames: dict[tuple[str, str], list[int]] = {}
    for part in slices:
        if not part.sop_instance_uid:  # an interpolated plane
            continue
        these = frames.setdefault((part.sop_class_uid, part.sop_instance_uid), [])
        if part.frame is not None:
            these.append(part.frame)
    return [
        highdicom.sr.SourceImageForSegmentation(
            referenced_sop_class_uid=kind,
            referenced_sop_instance_uid=instance,
            referenced_frame_numbers=numbers or None,
        )
        for (kind, instance), numbers in frames.items()
    ]


def _sphere(finding: Finding, volume: Volume, source: Source) -> Any:
    import highdicom

    return highdicom.sr.VolumeSurface(
        graphic_type=highdicom.sr.GraphicTypeValues3D.ELLIPSOID,
        graphic_data=_axes(finding),
        frame_of_reference_uid=source.frame_of_reference_uid,
        source_images=_images([_nearest(source.slices, central_plane(finding, volume))]),
    )


def _nearest(slices: Sequence[Slice], plane: int) -> Slice:
    """The slice of a plane; of the nearest one that has one, where it was interpolated."""
    real = [number for number, part in enumerate(slices) if part.sop_instance_uid]
    return slices[min(real, key=lambda number: abs(number - plane))]


def _axes(finding: Finding) -> Array:
    """`(6, 3)` LPS millimetres: the ends of a sphere's three axes, as DICOM draws ellipsoids."""
    half = max(finding.diameter_mm, 0.1) / 2
    ends = np.repeat(np.eye(3), 2, axis=0) * np.tile([-half, half], 3)[:, None]
    axes: Array = np.asarray(finding.centre_mm) + ends
    return axes


def _whole(found: bool, patient_score: float | None, algorithm: Any) -> Any:
    import highdicom

    answer = (
        codes.DCM.AllAlgorithmsSucceededWithFindings
        if found
        else codes.DCM.AllAlgorithmsSucceededWithoutFindings
    )
    measurements = []
    if patient_score is not None:
        measurements.append(_measured(PATIENT_SCORE, 100 * patient_score, codes.UCUM.Percent))
    return highdicom.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(
            uid=generate_uid(), identifier="Whole series"
        ),
        algorithm_id=algorithm,
        finding_sites=[highdicom.sr.FindingSite(codes.SCT.Lung)],
        measurements=measurements or None,
        qualitative_evaluations=[
            highdicom.sr.QualitativeEvaluation(
                name=codes.DCM.CADProcessingAndFindingsSummary, value=answer
            )
        ],
    )


def _evidence(volume: Volume, source: Source, segmented: Segmented | None) -> list[Dataset]:
    """Every image of the series, since all were looked at, and the segmentation."""
    first = placeholders(volume, [0], source)[0]
    images = []
    parts = [part for part in source.slices if part.sop_instance_uid]
    for part in dict.fromkeys((one.sop_class_uid, one.sop_instance_uid) for one in parts):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = part
        image.StudyInstanceUID = source.study_uid
        image.SeriesInstanceUID = source.series_uid
        images.append(image)
    first.SOPClassUID, first.SOPInstanceUID = images[0].SOPClassUID, images[0].SOPInstanceUID
    images[0] = first  # of this one, highdicom asks for more
    if segmented is not None:
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = SOP_CLASS, segmented.sop_instance_uid
        image.StudyInstanceUID = source.study_uid
        image.SeriesInstanceUID = segmented.series_uid
        images.append(image)
    return images
