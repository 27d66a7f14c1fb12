"""The elements of a DICOM header that the reader asks for, and their values.

Values are taken from their bytes, not through pydicom's data elements: that is several times
faster, gives no warning about another's untidy value, and a number that isn't one becomes None.
"""

import contextlib

import pydicom
import pydicom.charset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

IDENTIFYING = ("PatientName", "PatientID", "OtherPatientNames", "OtherPatientIDs",
               "PatientBirthName", "PatientMotherBirthName", "PatientBirthDate",
               "AccessionNumber", "InstitutionName", "ReferringPhysicianName",
               "PerformingPhysicianName", "OperatorsName",
               "NameOfPhysiciansReadingStudy", "StationName")  # fmt: skip
FACTS = {"Manufacturer": "manufacturer", "ManufacturerModelName": "model",
         "ConvolutionKernel": "kernel", "KVP": "kvp", "XRayTubeCurrent": "tube_current_ma",
         "SliceThickness": "slice_thickness_mm", "PatientPosition": "patient_position",
         "ReconstructionDiameter": "reconstruction_diameter_mm",
         "BodyPartExamined": "body_part"}  # fmt: skip
_TEXTS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality",
          "ImageType", "SeriesDescription", "PhotometricInterpretation", "RescaleType",
          "SpecificCharacterSet")  # fmt: skip
_NUMBERS = ("SeriesNumber", "AcquisitionNumber", "InstanceNumber", "ImagePositionPatient",
            "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept",
            "GantryDetectorTilt")  # fmt: skip
_INTEGERS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
             "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit")  # fmt: skip
_SEQUENCES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_NAMES = (*IDENTIFYING, *FACTS, *_TEXTS, *_NUMBERS, *_INTEGERS, *_SEQUENCES, "NumberOfFrames")
TAGS = {name: BaseTag(tag_for_keyword(name) or 0) for name in _NAMES}
WANTED = list(TAGS.values())


class Values:
    """A data set's values by keyword, from their bytes; what can't be read is absent."""

    def __init__(self, data: pydicom.Dataset) -> None:
        self._data = data

    def _bytes(self, name: str) -> tuple[bytes, bool]:
        tag = TAGS[name]
        if tag not in self._data:
            return b"", True
        element = self._data.get_item(tag)
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
            return element.value, element.is_little_endian
        return b"", True

    def has(self, name: str) -> bool:
        """Whether the element is there, whatever its value."""
        return TAGS[name] in self._data

    def text(self, name: str) -> str:
        """A text without its padding; names of people and places may be in any character set."""
        value = self._bytes(name)[0].rstrip(b"\0 ").lstrip(b" ")
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")

    def spellings(self, name: str) -> set[str]:
        """A text of whoever or wherever it is, read by each character set that it may be in."""
        found = {self.text(name)}
        value = self._bytes(name)[0]
        if value.isascii() and b"\x1b" not in value:
            return found
        # pydicom has turned this one element into its own already.
        charsets = self._data.get("SpecificCharacterSet") or ""
        for declared in [charsets] if isinstance(charsets, str) else charsets:
            with contextlib.suppress(LookupError, UnicodeDecodeError):
                found.add(value.decode(pydicom.charset.python_encoding[declared]).strip("\0 "))
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts of several values."""
        return tuple(part.strip() for part in self.text(name).split("\\"))

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """Decimal strings as numbers; None if there is none, or one isn't finite."""
        try:
            values = tuple(float(part) for part in self.text(name).split("\\"))
        except ValueError:
            return None
        return values if all(abs(value) < float("inf") for value in values) else None

    def number(self, name: str) -> float | None:
        """The first of them."""
        values = self.numbers(name)
        return None if values is None else values[0]

    def whole(self, name: str) -> int | None:
        """An integer string."""
        value = self.number(name)
        return None if value is None else int(value)

    def short(self, name: str) -> int | None:
        """A 16-bit number, unsigned: whether it is signed, another element says."""
        value, little = self._bytes(name)
        if len(value) < 2:
            return None
        return int.from_bytes(value[:2], "little" if little else "big")
