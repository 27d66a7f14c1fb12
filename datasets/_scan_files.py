"""The files at some paths that may hold scans: in folders, in archives, listed by a DICOMDIR."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydicom

from fieldsight.datasets import _scan_archives, _walking, image_files
from fieldsight.datasets._scan_archives import Archive
from fieldsight.datasets.dicom.headers import DAMAGE, Source, on_disk, quietly
from fieldsight.datasets.errors import DataError

INDEX = "DICOMDIR"
# Voxels beside an .mhd, and tables and outlines beside scans: no files by themselves.
COMPANIONS = (".raw", ".zraw", ".img", ".csv", ".json", ".xml", ".npz")


@dataclass(frozen=True, eq=False)
class Place:
    """A file that may hold a scan, or a slice of one.

    Args:
        source: the file.
        folder: the name of the folder, or of the archive, that it lies in.
        kind: what it may be: image files by their ending, all else is tried as DICOM.
        archive: that it lies in; None on disk.
    """

    source: Source
    folder: str
    kind: Literal["dicom", "mhd", "nifti"]
    archive: Archive | None = None


def places(
    paths: Iterable[str | os.PathLike[str]], notes: list[str], failures: dict[str, str]
) -> Iterator[Place]:
    """The files at these paths, each once, in the order of their names.

    Args:
        paths: files, folders, archives, DICOMDIRs.
        notes: what was passed over in them is added to these.
        failures: why a path, or an archive below it, can't be used, by the path's number: its
            name may be a patient's.
    """
    seen: set[tuple[int, int]] = set()
    for number, given in enumerate(paths, 1):
        path, name = Path(given).expanduser(), f"path {number}"
        if path.is_dir():
            listed: Iterable[str] = walked(os.fspath(path), notes)
        elif path.is_file():
            listed = _indexed(path, notes) if path.name.upper() == INDEX else [os.fspath(path)]
        else:
            failures[name] = (
                f"{name} of those given: a file or a folder was needed. Received: one that isn't "
                "there, or may not be looked at. Correct it."
            )
            continue
        for file in listed:
            try:
                status = os.stat(file)  # noqa: PTH116  # a Path each is slow for many thousands
            except OSError:
                notes.append("passed over: a link to a file that isn't there")
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield from _of_file(file, notes, failures, name)


def walked(root: str, notes: list[str]) -> Iterator[str]:
    """Files below a folder, links followed; each folder once, whatever links lead back to it."""

    def closed(_: OSError) -> None:
        notes.append("passed over: a folder that can't be read; check its permissions")

    def left(_: Path, name: str) -> bool:
        return _is_hidden(name)

    for folder, names in _walking.walk(Path(root), walked=set(), leave=left, closed=closed):
        for name in names:
            # DICOMDIR repeats what its files say.
            if not _is_hidden(name) and name.upper() != INDEX:
                yield os.path.join(folder, name)  # noqa: PTH118


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _of_file(file: str, notes: list[str], failures: dict[str, str], name: str) -> Iterator[Place]:
    path = Path(file)
    ending = image_files.kind(path.name)
    if ending is not None:
        yield Place(on_disk(file), path.parent.name, ending)
    elif path.suffix.lower() == ".zip":
        try:
            yield from _of_archive(path, notes)
        except DataError as error:
            name = f"{name}, archive {1 + sum(each.startswith(name) for each in failures)}"
            failures[name] = f"{name}: {error}"
    elif path.suffix.lower() not in COMPANIONS:
        yield Place(on_disk(file), path.resolve().parent.name, "dicom")


def _of_archive(path: Path, notes: list[str]) -> Iterator[Place]:
    archive = _scan_archives.opened(path)
    for source, folder in _scan_archives.members(archive, notes):
        if _is_hidden(source.label) or source.label.upper() == INDEX:
            continue
        if source.label.lower().endswith((*COMPANIONS, ".zip")):
            continue
        kind = image_files.kind(source.label) or "dicom"
        yield Place(source, folder or path.stem, kind, archive)


def _indexed(path: Path, notes: list[str]) -> list[str]:
    """The files that a DICOMDIR lists, as far as they are there and below its folder."""
    try:
        with quietly():
            records = pydicom.dcmread(path).get("DirectoryRecordSequence") or []
            listed = [_parts(record.get("ReferencedFileID")) for record in records]
    except DAMAGE:
        notes.append(f"{path.name}: it can't be read; the folder it lies in was searched instead")
        return list(walked(os.fspath(path.parent), notes))
    root = os.fspath(path.parent)
    # Names on a disc are in capitals, and lower case after some copying.
    there = {os.path.relpath(file, root).casefold(): file for file in walked(root, notes)}
    wanted = [os.path.join(*parts).casefold() for parts in listed if parts]  # noqa: PTH118
    files = [there[name] for name in wanted if name in there]
    if len(files) < len(wanted):
        notes.append(
            f"{path.name} lists {len(wanted):,} files, of which {len(wanted) - len(files):,} "
            "aren't there"
        )
    return files


def _parts(value: object) -> list[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else [str(part) for part in value]  # type: ignore[attr-defined]
