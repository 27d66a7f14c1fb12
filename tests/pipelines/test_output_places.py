import csv
from pathlib import Path

import pytest

from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_file, check_output_folder, write_failures


def test_failures_are_a_table_and_go_when_nothing_failed(tmp_path: Path) -> None:
    path = write_failures(tmp_path, "series", {"b/series": "truncated,\nat 4 kB"})
    assert path is not None
    assert list(csv.DictReader(path.open())) == [
        {"series": "b/series", "reason": "truncated, at 4 kB"}
    ]
    assert write_failures(tmp_path, "series", {}) is None
    assert not path.exists()


def test_a_file_isnt_written_over_a_folder_nor_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="a file to write was needed"):
        check_output_file("--out", tmp_path)
    with pytest.raises(CommandError, match=r"ends in \.csv"):
        check_output_file("--out", tmp_path / "answers.txt", ".csv")
    with pytest.raises(CommandError, match="is a file"):
        check_output_folder("--out", tmp_path / "file" / "inside")
