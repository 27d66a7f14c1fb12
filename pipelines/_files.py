"""Places for outputs, refused before any work is done where nothing can be written; failures."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines._errors import CommandError

FAILURES = "failures.csv"


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


def file_names(names: Iterable[str]) -> list[str]:
    """Names that any file system takes, one for each of these, in their order and all different.

    Example:
        >>> file_names(["chest 1", "chest/1", "..", "chest 1-2"])
        ['chest_1', 'chest_1-2', 'unnamed', 'chest_1-2-2']
    """
    found: dict[str, None] = {}
    for name in names:
        plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "unnamed"
        number, unique = 1, plain
        while unique.casefold() in (each.casefold() for each in found):
            number += 1
            unique = f"{plain}-{number}"
        found[unique] = None
    return list(found)


def write_failures(folder: Path, kind: str, failures: Mapping[str, str]) -> Path | None:
    """Write a batch's failures.csv, or take an earlier one away where nothing failed (C-11).

    Args:
        folder: of the batch.
        kind: what failed, which heads the first column: "series", "chip".
        failures: reasons by what its user calls it.

    Returns:
        The file; None where nothing failed.
    """
    path = folder / FAILURES
    if not failures:
        path.unlink(missing_ok=True)
        return None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((kind, "reason"))
    writer.writerows((name, " ".join(reason.split())) for name, reason in failures.items())
    write_atomically(path, text.getvalue().encode())
    return path


def such_as(failures: Mapping[str, str]) -> str:
    """The first failure, to end a sentence; "" without any.

    Example:
        >>> such_as({"a.jpg": "is a damaged picture. Copy it again.", "b.jpg": "is empty."})
        ', such as a.jpg: is a damaged picture. Copy it again'
    """
    return "".join(f", such as {name}: {failures[name].rstrip('.')}" for name in [*failures][:1])
