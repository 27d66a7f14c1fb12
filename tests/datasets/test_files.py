"""Output files are there whole or not at all."""

import errno
import threading
from pathlib import Path

import pytest

from fieldsight.datasets.files import write_atomically


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "answers.csv"
    write_atomically(path, b"a,b\n\x00\xff")
    assert path.read_bytes() == b"a,b\n\x00\xff"
    write_atomically(path, b"")
    assert path.read_bytes() == b""
    assert [each.name for each in path.parent.iterdir()] == ["answers.csv"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(small_disk: Path) -> None:
    path = small_disk / "answers.csv"
    write_atomically(path, b"old")
    with pytest.raises(OSError, match="No space left") as told:
        write_atomically(path, bytes(100_000))
    assert told.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert [each.name for each in small_disk.iterdir()] == ["answers.csv"]
    write_atomically(path, bytes(30_000))  # the room is free again


def test_a_folder_in_the_way_is_told_and_left(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["answers.csv"]


def test_whoever_looks_sees_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    contents = [bytes([65 + i]) * 200_000 for i in range(2)]
    write_atomically(path, contents[0])
    stop = threading.Event()

    def write() -> None:
        for i in range(40):
            write_atomically(path, contents[i % 2])
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not stop.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(contents)
