"""Zips of scans: slices are read where they are, image files by way of a private folder.

Where a member wants to lie is never believed, and what it may unpack to is bounded.
"""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from fieldsight.datasets import image_files
from fieldsight.datasets.dicom.headers import Source
from fieldsight.datasets.errors import DataError

MOST_MEMBERS = 500_000
LARGEST_MEMBER = 2**33  # bytes unpacked
LARGEST_SERIES = 2**35
LARGEST_RATIO = 1100  # deflate's own limit is 1032

_DAMAGE = (OSError, EOFError, RuntimeError, NotImplementedError, ValueError, zlib.error,
           zipfile.BadZipFile)  # fmt: skip


class Archive:
    """An archive that stays open as long as something found in it is in use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.zip = zipfile.ZipFile(path)

    def __del__(self) -> None:
        if hasattr(self, "zip"):
            self.zip.close()


def opened(path: Path) -> Archive:
    """An archive.

    Raises:
        DataError: if it is none, or holds more members than any scan has.
    """
    try:
        archive = Archive(path)
    except _DAMAGE as error:
        raise DataError(
            f"an archive ({path.suffix.lower()}) was needed. Received: a file that isn't one, or "
            "is damaged. Copy it again."
        ) from error
    if len(archive.zip.infolist()) > MOST_MEMBERS:
        raise DataError(
            f"an archive of at most {MOST_MEMBERS:,} files was needed. Received: "
            f"{len(archive.zip.infolist()):,}. Unpack it, and name the folder."
        )
    return archive


def members(archive: Archive, notes: list[str]) -> Iterator[tuple[Source, str]]:
    """Each file in it, in the order of their names, and the name of the folder it is in."""
    refused = encrypted = 0
    for member in sorted(archive.zip.infolist(), key=lambda member: member.filename):
        if member.is_dir() or "__MACOSX/" in member.filename:
            continue
        if member.flag_bits & 1:
            encrypted += 1
            continue
        packed = max(1, member.compress_size)
        if member.file_size > min(LARGEST_MEMBER, LARGEST_RATIO * packed):
            refused += 1
            continue
        inside = PurePosixPath(member.filename)
        label = inside.name
        yield (
            Source(
                label, partial(_open, archive, member), size=member.file_size, key=member.filename
            ),
            inside.parent.name if inside.parent.name not in (".", "..") else "",
        )
    if encrypted:
        notes.append(
            f"passed over: {encrypted:,} files of an archive are encrypted; unpack it with its "
            "password"
        )
    if refused:
        notes.append(f"passed over: {refused:,} files of an archive unpack to more than is allowed")


def _open(archive: Archive, member: zipfile.ZipInfo) -> IO[bytes]:
    return archive.zip.open(member)


def unpack_image(
    archive: Archive, source: Source, name: str
) -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """An image file, and the voxels that it names, in a private folder.

    Raises:
        DataError: if they are damaged, aren't there, or need more room than there is.
    """
    _check_room([source], name)
    folder = tempfile.TemporaryDirectory(prefix="fieldsight-", ignore_cleanup_errors=True)
    target = Path(folder.name) / f"image{image_files.ending(source.label)}"
    try:
        _copy(source, target)
        beside = image_files.voxels_beside(target)
        if beside is None:
            return folder, target
        inside = (PurePosixPath(source.key).parent / beside).as_posix()
        voxels = next(each for each, _ in members(archive, []) if each.key == inside)
        _check_room([voxels], name)
        _copy(voxels, Path(folder.name) / beside)
    except StopIteration as error:
        folder.cleanup()
        raise DataError(
            f"{name}: the voxels that its header names were needed. Received: an archive without "
            "them. Pack both."
        ) from error
    except _DAMAGE as error:
        folder.cleanup()
        raise DataError(
            f"{name}: a whole file in its archive was needed. Received: a damaged one. Copy it "
            "again."
        ) from error
    return folder, target


def _check_room(sources: Iterable[Source], name: str) -> None:
    needed = sum(source.size for source in sources)
    room = min(LARGEST_SERIES, shutil.disk_usage(tempfile.gettempdir()).free)
    if needed > room:
        raise DataError(
            f"{name}: room for {needed / 2**30:.1f} GiB was needed to unpack it. Received: "
            f"{room / 2**30:.1f} GiB. Unpack it elsewhere, and name the folder."
        )


def _copy(source: Source, target: Path) -> None:
    with source.open() as packed, target.open("xb") as file:
        shutil.copyfileobj(packed, file, 2**20)
