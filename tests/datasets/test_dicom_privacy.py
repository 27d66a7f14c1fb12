"""L-17: who the patient is doesn't get out by the names of folders and files."""

import unicodedata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fieldsight.datasets import scans
from fieldsight.datasets.dicom.privacy import tells, words_of


@pytest.mark.parametrize(
    ("person", "folder"),
    [
        ("Müller^Jörg", "MÜLLER_JÖRG"),
        ("Müller^Jörg", unicodedata.normalize("NFD", "müller")),  # as macOS writes it
        ("Müller^Jörg", "export Mueller"),
        ("Müller^Jörg", "Joerg-1"),
        ("Groß^Eva", "GROSS"),
        ("MUELLER^JOERG", "mueller"),
        ("Dvořák^Jan", "Dvorak"),
        ("Sørensen^Bo", "soerensen"),
        ("Wang^XiaoDong=王^小东", "王小东"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "홍길동"),
        ("Иванов^Пётр", "ИВАНОВ"),
    ],
)
def test_a_folder_in_any_spelling_of_a_name_tells_it(person: str, folder: str) -> None:
    assert tells(folder, words_of((person,)))
    assert not tells("chest 1.25 mm B50f", words_of((person,)))


def test_short_words_and_empty_attributes_tell_nothing() -> None:
    # "Li" stands in "clinic", and an empty value in everything.
    assert not tells("clinic", words_of(("Li^Bo", "", " ")))


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [("GB18030", "gb18030"), ("ISO_IR 192", "utf-8"), ("\\ISO 2022 IR 149", "euc_kr")],
)
def test_a_name_is_known_in_the_files_own_character_set(
    tmp_path: Path, ct: ModuleType, charset: str, encoding: str
) -> None:
    name = "홍^길동" if "149" in charset else "王^小东"

    def named(data: Any, plane: int) -> None:
        data.SpecificCharacterSet = charset
        data.add_new("PatientName", "UN", f"Somebody={name}".encode(encoding))

    folder = tmp_path / name.replace("^", "")
    ct.write_files(folder, ct.stored(3), edit=named)
    (found,) = scans.find([folder])
    assert found.name == "series-1"
