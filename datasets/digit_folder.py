"""A user's own labelled digits: a folder of pictures with one digit each for every class."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.handwriting import SIDE, find_one
from fieldsight.datasets.pictures import read_picture
from fieldsight.datasets.sample import LabelledImages

NAME = "folder"
CLASSES = tuple("0123456789")  # the names of the subfolders


@dataclass(frozen=True)
class Failure:
    """A file that could not be used.

    Args:
        path: the file.
        reason: why, in a line.
    """

    path: Path
    reason: str


def load(
    folder: str | os.PathLike[str], *, name: str = NAME
) -> tuple[LabelledImages, list[Failure]]:
    """The pictures in `folder/0` to `folder/9`, each prepared as MNIST's are.

    A picture shows one digit, in any format, size, colour and light; all of its ink is taken
    for that digit. A file that can't be read or shows no ink is recorded, and the rest goes on.

    Args:
        folder: holds a subfolder for every digit there are pictures of.
        name: what to call these data.

    Returns:
        Pictures `(n, 28, 28)` uint8 and labels, by class and then by file name, and the files
        that were left out.

    Raises:
        DatasetNotFoundError: if the folder isn't there or has none of the subfolders.
        DataError: if no file could be used.
    """
    root = Path(folder).expanduser()
    images, labels, failures = [], [], []
    for digit, path in _files(root):
        try:
            found = find_one(read_picture(path).image)
        except DataError as error:
            failures.append(Failure(path, str(error)))
            continue
        if found is None:
            failures.append(
                Failure(path, f"{path}: needs to show a digit. Received: a picture without ink.")
            )
            continue
        images.append(found.image)
        labels.append(digit)
    if not images:
        first = f" The first: {failures[0].reason}" if failures else ""
        raise DataError(
            f"{root}: needs pictures of digits in its subfolders 0 to 9. Received: "
            f"{len(failures)} files that can't be used.{first}"
        )
    stacked = np.stack(images).reshape(-1, SIDE, SIDE)
    return LabelledImages(stacked, np.array(labels, dtype=np.uint8), name), failures


def _files(root: Path) -> list[tuple[int, Path]]:
    """Every file with its digit; hidden ones, as systems leave them, are passed over."""
    try:
        folders = [root / name for name in CLASSES if (root / name).is_dir()]
        if not folders:
            state = "no such folder" if not root.is_dir() else "none of them"
            raise DatasetNotFoundError(
                f"{root}: needs subfolders 0 to 9 of pictures, one digit a picture. "
                f"Received: {state}. Sort the pictures into subfolders by their digit."
            )
        return [
            (int(each.name), path)
            for each in folders
            for path in sorted(each.iterdir())
            if not path.name.startswith(".") and not path.is_dir()
        ]
    except PermissionError as error:
        raise DataError(
            f"{error.filename or root}: may not be read. Received: permission denied. "
            "Change its permissions."
        ) from error
