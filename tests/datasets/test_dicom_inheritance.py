"""What is taken over from the images, and what is left out of it because it is broken."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from fieldsight.datasets import _inheritance
from fieldsight.datasets.dicom_seg import write_seg
from fieldsight.datasets.dicom_source import read_source
from fieldsight.datasets.dicom_sr import write_sr
from fieldsight.datasets.volume import Volume

PLAIN = [
    keyword
    for keyword in (*_inheritance.MODULES, *_inheritance.EQUIPMENT, *_inheritance.NOT_TAKEN)
    if dictionary_VR(keyword) != "SQ" and keyword != "StudyInstanceUID"
]
SEQUENCES = [
    keyword
    for keyword in (*_inheritance.MODULES, *_inheritance.NOT_TAKEN)
    if dictionary_VR(keyword) == "SQ"
]


def item(**values: Any) -> Dataset:
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def reported(ct: ModuleType, volume: Volume, folder: Path) -> tuple[Dataset, tuple[str, ...]]:
    """The report's attributes and the notes, after both files were found without an error."""
    source = read_source(volume)
    findings = [ct.ball(volume, (3, 9, 9), 5)]
    segmented = write_seg(folder / "seg.dcm", volume, findings, ct.PROVENANCE, source)
    write_sr(folder / "sr.dcm", volume, findings, ct.PROVENANCE, source, segmented=segmented)
    assert ct.errors(folder / "seg.dcm") == []
    assert ct.errors(folder / "sr.dcm") == []
    return pydicom.dcmread(folder / "sr.dcm"), source.notes


def test_what_is_whole_is_taken_over_unchanged(tmp_path: Path, ct: ModuleType) -> None:
    # L-17: a PACS files a report by these.
    code = {"CodeValue": "1234", "CodingSchemeDesignator": "99LOCAL", "CodeMeaning": "Chest CT"}

    def rich(data: Dataset) -> None:
        data.SpecificCharacterSet = "ISO_IR 192"
        data.PatientName = "Müller^Zoë=山田^太郎"
        data.OtherPatientIDsSequence = [item(PatientID="X1", TypeOfPatientID="TEXT")]
        data.ProcedureCodeSequence = [item(**code)]
        data.ReferencedStudySequence = [
            item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID="1.2.3")
        ]
        data.PatientWeight, data.PregnancyStatus = "71.50", 1
        data.PatientComments = "line one\r\nline two"
        data.ClinicalTrialSponsorName, data.ClinicalTrialProtocolID = "Sponsor", "P1"
        data.ClinicalTrialProtocolName, data.ClinicalTrialSiteID = "Protocol", "7"
        data.ClinicalTrialSiteName, data.ClinicalTrialSubjectID = "", "S9"

    volume = ct.write(tmp_path / "series", change=rich)
    report, notes = reported(ct, volume, tmp_path)
    assert notes == ()
    source = pydicom.dcmread(volume.slices[0].path)
    taken = [keyword for keyword in _inheritance.MODULES if keyword in source]
    assert len(taken) > 20
    for keyword in taken:
        assert report[keyword] == source[keyword], keyword
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    for keyword in taken:
        assert segmentation[keyword] == source[keyword], keyword
    maker = report.ContributingEquipmentSequence[0]
    assert maker.Manufacturer == "ACME"


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "too long": b"X" * 70_000,
    "control characters": b"AB\x01C",
    "not in its character set": b"\x80\x81 \xff",
    "three values": b"A\\B\\C",
    "zeros": b"\0\0\0\0",
    "letters": b"abc",
    "a name of many parts": b"A^B^C^D^E^F^G",
    "a name of many groups": b"A=B=C=D",
    "blanks": b"      ",
    "two lines": b"a\nb",
    "a date": b"20210304",
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_broken_attributes_are_left_out_and_named(
    tmp_path: Path, ct: ModuleType, value: bytes
) -> None:
    volume = ct.write(tmp_path / "series", pixels=False, change=_strip)
    for part in (volume.slices[0], volume.slices[-1]):
        for keyword in PLAIN:
            ct.append(part.path, keyword, value)
    report, notes = reported(ct, volume, tmp_path)
    assert report.StudyInstanceUID == f"{ct.ROOT}.1"
    said = " ".join(notes)
    if len(value) > 60_000:
        for keyword in ("PatientName", "PatientID", "StudyDate", "PatientWeight", "Allergies"):
            assert keyword in said
    # A value may tell who the patient is: it is never quoted.
    for part_of_it in ("XXX", "AB\x01C", "A^B", "20210304"):
        assert part_of_it not in said


def _strip(data: Dataset) -> None:
    """Leave nothing that is appended again."""
    for keyword in PLAIN:
        if keyword in data:
            delattr(data, keyword)


ITEMS: dict[str, Callable[[], list[Dataset]]] = {
    "no item": list,
    "an empty item": lambda: [Dataset()],
    "half a reference": lambda: [item(ReferencedSOPInstanceUID="1.2.3")],
    "half a code": lambda: [item(CodeValue="1", CodeMeaning="")],
    "too long a code": lambda: [
        item(CodeValue="1" * 40, CodingSchemeDesignator="DCM", CodeMeaning="One")
    ],
    "two items": lambda: [
        item(
            CodeValue="1", CodingSchemeDesignator="DCM", CodeMeaning="One", ContextIdentifier="7",
            UniversalEntityID="u", PatientID="P", InstitutionName="",
            PersonIdentificationCodeSequence=[item(CodeValue="1")],
        )
    ] * 2,
    "all it may need": lambda: [
        item(
            CodeValue="1", CodingSchemeDesignator="DCM", CodeMeaning="One",
            ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID="1.2.3",
            PatientID="P", TypeOfPatientID="TEXT", UniversalEntityID="u",
            UniversalEntityIDType="ISO", InstitutionName="I",
            PersonIdentificationCodeSequence=[
                item(CodeValue="1", CodingSchemeDesignator="DCM", CodeMeaning="One")
            ],
        )
    ],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The value length")
@pytest.mark.parametrize("make", ITEMS.values(), ids=ITEMS)
def test_broken_items_are_left_out(
    tmp_path: Path, ct: ModuleType, make: Callable[[], list[Dataset]]
) -> None:
    def change(data: Dataset) -> None:
        for keyword in SEQUENCES:
            setattr(data, keyword, make())

    report, notes = reported(ct, ct.write(tmp_path / "series", change=change), tmp_path)
    if make is ITEMS["all it may need"]:
        assert report.ReferencedStudySequence[0].ReferencedSOPInstanceUID == "1.2.3"
        assert report.ProcedureCodeSequence[0].CodeMeaning == "One"
    if make is ITEMS["half a reference"]:
        assert "ReferencedStudySequence" not in report
        assert (
            "ReferencedStudySequence has an item without ReferencedSOPClassUID: the item is left "
            "out." in notes
        )


@pytest.mark.parametrize(
    ("given", "kept", "lost"),
    [
        ({"PatientIdentityRemoved": "YES"}, (), ("PatientIdentityRemoved",)),
        ({"PatientIdentityRemoved": "NO"}, ("PatientIdentityRemoved",), ()),
        ({"ClinicalTrialSiteName": "Here"}, (), ("ClinicalTrialSiteName",)),
        ({"ResponsiblePerson": "Doe^John"}, (), ("ResponsiblePerson",)),
        (
            {"ResponsiblePerson": "Doe^John", "ResponsiblePersonRole": "PARENT"},
            ("ResponsiblePerson",),
            (),
        ),
        ({"PatientSex": "X"}, (), ()),
        ({"ClinicalTrialTimePointDescription": "Week 4"}, ("ClinicalTrialTimePointID",), ()),
    ],
)
def test_what_needs_another_goes_with_it(
    tmp_path: Path, ct: ModuleType, given: dict[str, str], kept: tuple[str, ...],
    lost: tuple[str, ...],
) -> None:  # fmt: skip
    def change(data: Dataset) -> None:
        for keyword, value in given.items():
            setattr(data, keyword, value)

    report, notes = reported(ct, ct.write(tmp_path / "series", change=change), tmp_path)
    assert [keyword for keyword in kept if keyword not in report] == []
    assert [keyword for keyword in lost if keyword in report] == []
    assert len(notes) >= len(lost)


@pytest.mark.parametrize(
    ("declared", "stored", "name"),
    [
        (None, "Müller^Zoë".encode("latin-1"), "Müller^Zoë"),
        (None, "Müller^Zoë".encode(), "Müller^Zoë"),
        ("NO_SUCH", "Müller^Zoë".encode(), "Müller^Zoë"),
        ("ISO_IR 144", "Иванов^Иван".encode("iso8859-5"), "Иванов^Иван"),
        ("GB18030", "王^小东".encode("gb18030"), "王^小东"),
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
            "Yamada^Tarou=山田^太郎",
        ),
    ],
)
def test_names_stay_legible(
    tmp_path: Path, ct: ModuleType, declared: str | None, stored: bytes, name: str
) -> None:
    def change(data: Dataset) -> None:
        del data.PatientName, data.SpecificCharacterSet

    volume = ct.write(tmp_path / "series", change=change, pixels=False)
    for part in (volume.slices[0], volume.slices[-1]):
        if declared is not None:
            ct.append(part.path, "SpecificCharacterSet", declared.encode())
        ct.append(part.path, "PatientName", stored)
    report, notes = reported(ct, volume, tmp_path)
    assert str(report.PatientName) == name
    told = declared in (None, "NO_SUCH")
    assert any("SpecificCharacterSet" in note for note in notes) == told


def test_a_series_without_a_frame_of_reference_gets_one(tmp_path: Path, ct: ModuleType) -> None:
    def change(data: Dataset) -> None:
        data.FrameOfReferenceUID = ""

    report, notes = reported(ct, ct.write(tmp_path / "series", change=change), tmp_path)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert any("FrameOfReferenceUID" in note for note in notes)
    assert {
        str(element.value)
        for element in report.iterall()
        if element.keyword == "ReferencedFrameOfReferenceUID"
    } == {seg.FrameOfReferenceUID}


def test_nothing_is_said_in_logs_and_warnings(
    tmp_path: Path, ct: ModuleType, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder,
) -> None:  # fmt: skip
    # pydicom's warnings and highdicom's log quote the values that they find odd.
    caplog.set_level("DEBUG")
    volume = ct.write(tmp_path / "series", pixels=False, change=_strip)
    for part in (volume.slices[0], volume.slices[-1]):
        for keyword in PLAIN:
            ct.append(part.path, keyword, b"Smith^John^Paul^^^^")
    reported(ct, volume, tmp_path)
    heard = capfd.readouterr()
    warned = [str(warning.message) for warning in recwarn]
    for said in (caplog.text, heard.out, heard.err, *warned):
        assert "Smith" not in said
