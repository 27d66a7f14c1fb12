"""What a report takes over from the images it is about: their Patient and Study modules, checked.

PACS hold headers that break the standard: a sequence item without what it must have, a date that
is none, a value too long. Whatever is whole is taken over as it is; what is broken is left out and
named, never with its value, which may tell who the patient is.
"""

import re
import warnings
from collections.abc import Iterator, Sequence

from pydicom import config
from pydicom.charset import convert_encodings, encode_string, python_encoding
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.valuerep import validate_value

# The modules' attributes at the root (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2, C.7.1.3, C.7.2.3), and two
# that were theirs until they were retired.
PATIENT = (
    "ReferencedPatientSequence", "PatientName", "PatientID", "IssuerOfPatientID",
    "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "SourcePatientGroupIdentificationSequence", "GroupOfPatientsIdentificationSequence",
    "PatientBirthDate", "PatientBirthTime", "PatientBirthDateInAlternativeCalendar",
    "PatientDeathDateInAlternativeCalendar", "PatientAlternativeCalendar", "PatientSex",
    "QualityControlSubject", "OtherPatientNames", "OtherPatientIDs", "OtherPatientIDsSequence",
    "EthnicGroup", "ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization",
    "PatientComments", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
)  # fmt: skip
STUDY = (
    "StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName", "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName", "ConsultingPhysicianIdentificationSequence", "StudyDescription",
    "ProcedureCodeSequence", "PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy", "PhysiciansReadingStudyIdentificationSequence",
    "ReferencedStudySequence", "StudyInstanceUID", "StudyID", "RequestingService",
    "RequestingServiceCodeSequence", "ReasonForPerformedProcedureCodeSequence",
)  # fmt: skip
PATIENT_STUDY = (
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "PatientAge", "PatientSize",
    "PatientSizeCodeSequence", "PatientBodyMassIndex", "MeasuredAPDimension",
    "MeasuredLateralDimension", "PatientWeight", "MedicalAlerts", "Allergies", "Occupation",
    "SmokingStatus", "AdditionalPatientHistory", "PregnancyStatus", "LastMenstrualDate",
    "ReasonForVisit", "ReasonForVisitCodeSequence", "AdmissionID",
    "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "ServiceEpisodeDescription",
    "IssuerOfServiceEpisodeIDSequence", "PatientState",
)  # fmt: skip
TRIAL_SUBJECT = (
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber",
)  # fmt: skip
TRIAL_STUDY = (
    "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription",
    "LongitudinalTemporalOffsetFromEvent", "LongitudinalTemporalEventType",
)  # fmt: skip
EQUIPMENT = (
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber",
    "StationName", "InstitutionName", "InstitutionalDepartmentName", "InstitutionAddress",
)  # fmt: skip
# Theirs too, and not taken over: of animals, a photograph, consent whose terms depend on the use,
# and what is too new for the validators that archives run.
NOT_TAKEN = (
    "StrainDescription", "StrainNomenclature", "StrainStockSequence", "StrainAdditionalInformation",
    "StrainCodeSequence", "GeneticModificationsSequence", "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence", "PatientBreedDescription", "PatientBreedCodeSequence",
    "BreedRegistrationSequence", "PatientSexNeutered", "ReferencedPatientPhotoSequence",
    "ConsentForClinicalTrialUseSequence", "EthnicGroupCodeSequence",
    "ClinicalTrialTimePointTypeCodeSequence", "IssuerOfClinicalTrialTimePointID",
    "IssuerOfClinicalTrialProtocolID", "OtherClinicalTrialProtocolIDsSequence",
    "IssuerOfClinicalTrialSiteID", "IssuerOfClinicalTrialSubjectID",
    "IssuerOfClinicalTrialSubjectReadingID",
)  # fmt: skip
MODULES = (*PATIENT, *STUDY, *PATIENT_STUDY, *TRIAL_SUBJECT, *TRIAL_STUDY)

# Type 2: there, even if nothing is known.
ALWAYS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "StudyID",
)  # fmt: skip

_INSTANCE = ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
_PERSON = ("PersonIdentificationCodeSequence", "InstitutionName|InstitutionCodeSequence")
_ISSUER = ("LocalNamespaceEntityID|UniversalEntityID",)
# What an item of a sequence must have (type 1 and 1C); "|" where one of them is enough.
REQUIRED = {
    "ReferencedPatientSequence": _INSTANCE,
    "ReferencedStudySequence": _INSTANCE,
    "SourcePatientGroupIdentificationSequence": ("PatientID",),
    "GroupOfPatientsIdentificationSequence": ("PatientID",),
    "OtherPatientIDsSequence": ("PatientID", "TypeOfPatientID"),
    "ReferringPhysicianIdentificationSequence": _PERSON,
    "ConsultingPhysicianIdentificationSequence": _PERSON,
    "PhysiciansOfRecordIdentificationSequence": _PERSON,
    "PhysiciansReadingStudyIdentificationSequence": _PERSON,
    "IssuerOfAccessionNumberSequence": _ISSUER,
    "IssuerOfAdmissionIDSequence": _ISSUER,
    "IssuerOfServiceEpisodeIDSequence": _ISSUER,
    "AssigningFacilitySequence": _ISSUER,
}
_CODE = ("CodeMeaning", "CodeValue|LongCodeValue|URNCodeValue")
# Sequences that have one item at most.
SINGLE = {
    "SourcePatientGroupIdentificationSequence",
    "IssuerOfPatientIDQualifiersSequence", "ReferringPhysicianIdentificationSequence",
    "IssuerOfAccessionNumberSequence", "IssuerOfAdmissionIDSequence",
    "IssuerOfServiceEpisodeIDSequence", "AssigningFacilitySequence",
    "AssigningJurisdictionCodeSequence", "AssigningAgencyOrDepartmentCodeSequence",
    "RequestingServiceCodeSequence", "InstitutionCodeSequence", "ReferencedPatientSequence",
}  # fmt: skip
# An attribute that means nothing, or isn't allowed, without one of the others.
NEEDS = {
    "UniversalEntityID": ("UniversalEntityIDType",),
    "UniversalEntityIDType": ("UniversalEntityID",),
    "CodeValue": ("CodingSchemeDesignator",),
    "LongCodeValue": ("CodingSchemeDesignator",),
    "ContextIdentifier": ("MappingResource",),
    "MappingResource": ("ContextGroupVersion",),
    "ContextGroupExtensionFlag": ("ContextIdentifier",),
    "PatientIdentityRemoved": ("DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    "ResponsiblePerson": ("ResponsiblePersonRole",),
    "ResponsiblePersonRole": ("ResponsiblePerson",),
    "PatientBirthDateInAlternativeCalendar": ("PatientAlternativeCalendar",),
    "PatientDeathDateInAlternativeCalendar": ("PatientAlternativeCalendar",),
    "PatientAlternativeCalendar": (
        "PatientBirthDateInAlternativeCalendar",
        "PatientDeathDateInAlternativeCalendar",
    ),
    "DeidentificationMethod": ("DeidentificationMethod",),  # itself: absent rather than empty
    "LongitudinalTemporalOffsetFromEvent": ("LongitudinalTemporalEventType",),
    "LongitudinalTemporalEventType": ("LongitudinalTemporalOffsetFromEvent",),
}
TERMS = {
    "PatientSex": ("M", "F", "O"),
    "TypeOfPatientID": ("TEXT", "RFID", "BARCODE"),
    "QualityControlSubject": ("YES", "NO"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "SmokingStatus": ("YES", "NO", "UNKNOWN"),
    "PregnancyStatus": ("1", "2", "3", "4"),
    "UniversalEntityIDType": ("DNS", "EUI64", "ISO", "URI", "UUID", "X400", "X500"),
    "ContextGroupExtensionFlag": ("Y", "N"),
}
_NUMBERS = ("US", "SS", "UL", "SL", "FL", "FD")  # binary ones; others are text
_LONG_TEXT = ("LT", "ST", "UT")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_DEEPEST = 8  # levels of sequences: the standard has four
# What pydicom raises on values that are damaged.
DAMAGE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, NotImplementedError,
          OSError, RecursionError, BytesLengthException)  # fmt: skip


def inherit(header: Dataset) -> tuple[Dataset, list[str]]:
    """The attributes of a header's Patient and Study modules that are whole.

    Args:
        header: an image's.

    Returns:
        A new data set with these attributes and its character set, and a sentence for each that
        was left out.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values
        characters, notes = _declare_characters(header)
        taken, dropped = _cleaned(header, MODULES, characters)
    dropped += [f"{keyword} isn't taken over." for keyword in NOT_TAKEN if keyword in header]
    for modules in (TRIAL_SUBJECT, TRIAL_STUDY):
        dropped += _settle_trial(taken, modules)
    for keyword in ALWAYS:
        if keyword not in taken:
            setattr(taken, keyword, None)
    if characters:
        taken.SpecificCharacterSet = characters
    return taken, [*notes, *dropped]


def equipment(header: Dataset) -> tuple[Dataset, list[str]]:
    """The same of what tells the scanner and where it stands."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        characters, _ = _declare_characters(header)
        return _cleaned(header, EQUIPMENT, characters)


def _declare_characters(header: Dataset) -> tuple[list[str], list[str]]:
    """The header's character sets; where none or a false one is declared, one that fits."""
    try:
        declared = header.get("SpecificCharacterSet") or []
        terms = [declared] if isinstance(declared, str) else [str(term) for term in declared]
    except DAMAGE:
        terms = ["?"]
    unknown = [term for term in terms if term not in python_encoding]
    if terms and not unknown:
        return terms, []
    content = b"".join(_bytes(header))
    if content.isascii():
        return [], ["SpecificCharacterSet is none of DICOM's: left out."] if terms else []
    try:
        content.decode("utf-8")
        fits = "ISO_IR 192"
    except UnicodeDecodeError:
        fits = "ISO_IR 100"
    header.set_original_encoding(None, None, convert_encodings([fits]))
    header.SpecificCharacterSet = fits
    return [fits], [f"SpecificCharacterSet is missing or none of DICOM's: read as {fits}."]


def _bytes(header: Dataset) -> Iterator[bytes]:
    for keyword in (*MODULES, *EQUIPMENT):
        raw = header.get_item(keyword) if keyword in header else None
        value = getattr(raw, "value", None)
        if isinstance(value, bytes):
            yield value


def _cleaned(
    source: Dataset, keywords: Sequence[str], characters: Sequence[str], where: str = "",
    depth: int = 0,
) -> tuple[Dataset, list[str]]:  # fmt: skip
    """A copy of a data set's whole attributes, and a sentence for each that was left out."""
    taken, notes = Dataset(), []
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        if tag is None or tag not in source:
            continue
        name = f"{where}{keyword}"
        try:
            element = source[tag]
            if element.VR == "SQ":
                items, said = _items(element, keyword, characters, name, depth)
                notes += said
                if items:
                    taken.add(DataElement(tag, "SQ", items))
                continue
            reason = _trouble(element, keyword, characters)
            value = element.value if reason or _has(source, keyword) else None
        except DAMAGE:
            reason = "can't be read"
        if reason:
            notes.append(f"{name} {reason}: left out.")
        else:
            taken.add(DataElement(tag, element.VR, value, config.IGNORE))
    return taken, notes + _settle_pairs(taken, where)


def _settle_pairs(taken: Dataset, where: str) -> list[str]:
    """Leave out what means nothing without another attribute that isn't there."""
    notes, settled = [], False
    while not settled:  # one that goes may take another with it
        settled = True
        for keyword, others in NEEDS.items():
            if keyword not in taken or (
                _has(taken, keyword) and any(_has(taken, other) for other in others)
            ):
                continue
            if keyword == "PatientIdentityRemoved" and taken.PatientIdentityRemoved == "NO":
                continue
            if _has(taken, keyword):
                notes.append(f"{where}{keyword} stands without {' or '.join(others)}: left out.")
            delattr(taken, keyword)
            settled = False
    return notes


def _items(
    element: DataElement, keyword: str, characters: Sequence[str], name: str, depth: int
) -> tuple[list[Dataset], list[str]]:
    required = _CODE if keyword.endswith("CodeSequence") else REQUIRED.get(keyword, ())
    if dictionary_VR(element.tag) != "SQ" or depth >= _DEEPEST:
        return [], [f"{name} is of another kind than it must be: left out."]
    items, notes = [], []
    for source in element.value:
        keywords = [source_element.keyword for source_element in _known(source)]
        item, said = _cleaned(source, keywords, characters, f"{name} > ", depth + 1)
        notes += said
        missing = [
            choice for choice in required if not any(_has(item, one) for one in choice.split("|"))
        ]
        if missing:
            choices = [choice.replace("|", " or ") for choice in missing]
            notes.append(f"{name} has an item without {', '.join(choices)}: the item is left out.")
        elif not len(item):
            notes.append(f"{name} has an empty item: left out.")
        else:
            items.append(item)
    if keyword in SINGLE and len(items) > 1:
        notes.append(f"{name} has more than the one item it may have: the first is taken.")
    return items[:1] if keyword in SINGLE else items, notes


def _known(source: Dataset) -> Iterator[DataElement]:
    """The elements of an item that the standard names; private ones say nothing to others."""
    for tag in list(source.keys()):
        if tag.is_private or tag.element == 0:
            continue
        try:
            dictionary_VR(tag)
        except KeyError:
            continue
        yield DataElement(tag, "UN", b"")


def _has(data: Dataset, keyword: str) -> bool:
    if keyword not in data:
        return False
    value = data[keyword].value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value) > 0
    return value is not None and str(value).strip("\0 ") != ""


def _trouble(element: DataElement, keyword: str, characters: Sequence[str]) -> str:
    """What is wrong with an element's value, in words that don't tell it; empty if nothing is."""
    if element.VR not in dictionary_VR(element.tag).split(" or "):
        return f"is {element.VR} where it must be {dictionary_VR(element.tag)}"
    values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
    texts = ["" if value is None else _text(value) for value in values]
    if not any(text.strip("\0 ") for text in texts):
        return ""
    fewest, _, most = dictionary_VM(element.tag).partition("-")
    if len(values) < int(fewest) or (
        (most or fewest).isdigit() and len(values) > int(most or fewest)
    ):
        return f"has {len(values)} values where it may have {dictionary_VM(element.tag)}"
    allowed = TERMS.get(keyword)
    if allowed and any(text.strip() not in allowed for text in texts):
        return f"is none of {', '.join(allowed)}"
    for value, text in zip(values, texts, strict=True):
        try:
            validate_value(element.VR, value if element.VR in _NUMBERS else text, config.RAISE)
        except DAMAGE:
            return f"is no valid {element.VR}"
        if element.VR == "PN" and any(group.count("^") > 4 for group in text.split("=")):
            return "is a name of more than five parts"
        if not _can_be_written(element.VR, text, characters):
            return "has characters that it can't have"
    return ""


def _text(value: object) -> str:
    """A value as it stands in the file: numbers as they were written, names decoded."""
    original = getattr(value, "original_string", value)
    return str(value) if isinstance(original, bytes) else str(original)


def _can_be_written(vr: str, text: str, characters: Sequence[str]) -> bool:
    control = _CONTROL_BUT_LINES if vr in _LONG_TEXT else _CONTROL
    if control.search(text) or "�" in text:
        return False
    if text.isascii():
        return True
    if not characters:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            encode_string(text, convert_encodings(list(characters)))
        except (UnicodeError, UserWarning, *DAMAGE):
            return False
    return True


def _settle_trial(taken: Dataset, module: Sequence[str]) -> list[str]:
    """Leave a clinical trial's module out if it lacks what it must have; add what may be empty."""
    there = [keyword for keyword in module if keyword in taken]
    if not any(_has(taken, keyword) for keyword in there):  # empty ones say nothing
        for keyword in there:
            delattr(taken, keyword)
        return []
    if module is TRIAL_STUDY:
        if "ClinicalTrialTimePointID" not in taken:
            taken.ClinicalTrialTimePointID = ""
        return []
    choices = (
        ("ClinicalTrialSponsorName",),
        ("ClinicalTrialProtocolID",),
        ("ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
    )
    missing = [choice for choice in choices if not any(_has(taken, one) for one in choice)]
    if missing:
        for keyword in there:
            delattr(taken, keyword)
        names = ", ".join(" or ".join(choice) for choice in missing)
        return [f"The clinical trial's subject module has no {names}: left out."]
    for keyword in ("ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"):
        if keyword in taken and not _has(taken, keyword):
            delattr(taken, keyword)
    for keyword in ("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName"):
        if keyword not in taken:
            setattr(taken, keyword, "")
    return []
