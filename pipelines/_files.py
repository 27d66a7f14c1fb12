"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from fieldsight.pipelines._errors import CommandError


def check_output_file(flag: str, path: Path, suffix: str | None = None) -> None:
    """Refuse, before any work is done, a place where no file can be written.

    Args:
        flag: that named it, for the message.
        path: the file to be.
        suffix: that its name must have, as ".png".

    Raises:
        CommandError: if it is a folder, lies in what is none or can't be written to, or has
            another suffix.
    """
    if path.is_dir():
        raise CommandError(f"{flag}: a file to write was needed. Received: {path}, a folder.")
    if suffix is not None and path.suffix.lower() != suffix:
        raise CommandError(f"{flag}: a name that ends in {suffix} was needed. Received: {path}.")
    check_output_folder(flag, path.parent)


def check_output_folder(flag: str, path: Path) -> None:
    """Refuse, before any work is done, a place where no folder can be made or written to.

    Raises:
        CommandError: if it or a part of its path is a file, or it can't be written to.
    """
    there = next(part for part in (path, *path.absolute().parents) if part.exists())
    if not there.is_dir():
        raise CommandError(f"{flag}: a folder was needed. Received: {path}; {there} is a file.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise CommandError(f"{flag}: {there} can't be written to. Name another place.")


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside and rename: whoever looks sees the old file or the new one, never half.

    Raises:
        OSError: if it can't be written; the old file is then still there, and nothing else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
