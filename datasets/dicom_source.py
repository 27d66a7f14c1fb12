"""The series that an SR or a SEG is about: its identifiers, and what is taken over from it."""

import hashlib
import re
import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from fieldsight.datasets._inheritance import DAMAGE, equipment, inherit
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.volume import Slice, Volume

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_OFF_GRID = 0.1  # voxels
METHOD = "Patient and study replaced, UIDs remapped"


@dataclass(frozen=True)
class Pseudonyms:
    """Other names for patients, studies and whatever has a UID, the same for the same throughout.

    Two series of one study stay in one study, if the same object names them; without it, nobody
    finds the way back.

    Args:
        secret: what the names are derived from; drawn anew by default, and never to be written.

    Example:
        >>> names = Pseudonyms()
        >>> names.uid("1.2.840.1") == names.uid("1.2.840.1")
        True
    """

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def uid(self, uid: str) -> str:
        """The UID that stands for this one (PS3.5 B.2: a random-looking UUID under 2.25)."""
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def patient(self, identity: str) -> str:
        """The ID that stands for this patient's."""
        return f"P-{self._digest('patient', identity).hex()[:12].upper()}"

    def _digest(self, kind: str, value: str) -> bytes:
        return hashlib.blake2b(f"{kind} {value}".encode(), key=self.secret, digest_size=32).digest()


@dataclass(frozen=True, eq=False)
class Source:
    """What an SR and a SEG need to know of the series they are about.

    Args:
        inherited: the Patient and Study modules, whole attributes alone, with the character set.
        equipment: the scanner's maker and place, of the same kind.
        study_uid: of the study.
        series_uid: of the series.
        frame_of_reference_uid: in which its coordinates count.
        slices: where each plane came from, in the order of planes.
        on_slices: whether the volume's voxels are the slices' own pixels.
        notes: what was broken and left out, a sentence each, without values.
    """

    inherited: Dataset
    equipment: Dataset
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    slices: tuple[Slice, ...]
    on_slices: bool = True
    notes: tuple[str, ...] = ()


def read_source(volume: Volume, pseudonyms: Pseudonyms | None = None) -> Source:
    """Read what reports take over, from the headers of a volume's ends.

    Args:
        volume: a DICOM series.
        pseudonyms: replace patient and study, and remap every UID; None takes them over.

    Raises:
        DataError: if the volume isn't of DICOM, its files are gone, or they have no study, series
            or instance to refer to.
    """
    places = [plane for plane, part in enumerate(volume.slices) if _is_there(part)]
    if not places:
        raise DataError(
            "an SR or SEG is about DICOM images. Received: a volume of "
            f"{'slices whose files are gone' if volume.slices else 'another format'}. "
            "Read the series' own DICOM files to have them written."
        )
    header = read_header(volume.slices[places[0]])
    inherited, notes = inherit(header)
    scanner, more = equipment(header)
    study = _identifier(header, "StudyInstanceUID")
    series = _identifier(header, "SeriesInstanceUID") or volume.series_uid
    instances = [part.sop_instance_uid for part in volume.slices if part.sop_instance_uid]
    if not (study and instances and _UID.fullmatch(series)) or not all(
        map(_UID.fullmatch, instances)
    ):
        raise DataError(
            "an SR or SEG refers to images by study, series and instance UIDs. Received: a series "
            "without one of them. Send it through a PACS or a tool that gives UIDs."
        )
    inherited.StudyInstanceUID = study
    frame = _identifier(header, "FrameOfReferenceUID")
    if not frame:
        frame = generate_uid()
        more.append("FrameOfReferenceUID is missing or no UID: SR and SEG have one of their own.")
    # Planes that were shifted to stand square differ most between the ends of the stack.
    ends = {places[0]: header, places[-1]: read_header(volume.slices[places[-1]])}
    on_slices = all(_on_slices(volume, plane, one) for plane, one in ends.items())
    if not on_slices:
        more.append(
            "The volume's grid isn't that of its slices (resampled, or unevenly spaced): the "
            "segmentation is on the volume's."
        )
    source = Source(
        inherited=inherited,
        equipment=scanner,
        study_uid=study,
        series_uid=series,
        frame_of_reference_uid=frame,
        slices=volume.slices,
        on_slices=on_slices,
        notes=tuple(dict.fromkeys(notes + more)),
    )
    return source if pseudonyms is None else _pseudonymised(source, pseudonyms)


def _is_there(part: Slice) -> bool:
    return part.open is not None or (part.path is not None and part.path.is_file())


def read_header(part: Slice) -> Dataset:
    """The attributes of a slice's file without its pixels.

    Raises:
        DataError: if it can't be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        try:
            if part.path is not None:
                return dcmread(part.path, stop_before_pixels=True, force=True)
            if part.open is None:
                raise FileNotFoundError
            with part.open() as file:
                return dcmread(file, stop_before_pixels=True, force=True)
        except (*DAMAGE, EOFError, RuntimeError) as error:
            raise DataError(
                "a slice's DICOM header was needed. Received: a file that can't be read "
                f"({type(error).__name__}). Export the series again."
            ) from error


def _on_slices(volume: Volume, plane: int, header: Dataset) -> bool:
    """Whether the volume's voxels are the slice's pixels, not resampled ones."""
    if volume.slices[plane].frame is not None:
        return volume.shape[1:] == (header.get("Rows"), header.get("Columns"))
    try:
        here = np.array([float(value) for value in header.ImagePositionPatient])
        same = volume.shape[1:] == (int(header.Rows), int(header.Columns))
    except DAMAGE:
        return False
    offset = np.abs(volume.to_index(here) - (plane, 0, 0))
    return bool(same and offset.max() < _OFF_GRID)


def _identifier(header: Dataset, keyword: str) -> str:
    """A UID of the header; empty if it is missing or none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = str(header.get(keyword) or "")
        except DAMAGE:
            return ""
    return value if _UID.fullmatch(value) and len(value) <= 64 else ""


def _pseudonymised(source: Source, names: Pseudonyms) -> Source:
    # Nothing is taken over: whatever isn't known to be harmless is not.
    number = str(source.inherited.get("PatientID") or "")
    issuer = str(source.inherited.get("IssuerOfPatientID") or "")
    # Two patients without a number are two.
    patient = names.patient(f"{number}\0{issuer}" if number else source.study_uid)
    replaced: Mapping[str, str] = {
        "PatientName": f"{patient}^Pseudonym",
        "PatientID": patient,
        "PatientBirthDate": "",
        "PatientSex": "",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": METHOD,
        "StudyDate": "",
        "StudyTime": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "StudyID": "",
        "StudyInstanceUID": names.uid(source.study_uid),
    }
    inherited = Dataset()
    for keyword, value in replaced.items():
        setattr(inherited, keyword, value)
    return replace(
        source,
        inherited=inherited,
        equipment=Dataset(),
        study_uid=names.uid(source.study_uid),
        series_uid=names.uid(source.series_uid),
        frame_of_reference_uid=names.uid(source.frame_of_reference_uid),
        slices=tuple(
            replace(
                part, sop_instance_uid=part.sop_instance_uid and names.uid(part.sop_instance_uid)
            )
            for part in source.slices
        ),
    )
