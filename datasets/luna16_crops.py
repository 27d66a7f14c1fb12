"""Crops of CT slices at LUNA16's candidates, labelled nodule or not: pictures and a list.

A split is an archive `train.zip`, or a folder `train`, of pictures of about 50x50, and beside it
`traindatalabels.txt` with a line a picture: `train/image_59270.jpg 0`.
"""

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from PIL import Image

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.sample import Array, LabelledImages

NAME = "luna16_crops"
SOURCE = "Axial crops at LUNA16's candidates by S. Subramanian, 2017; LUNA16, LIDC-IDRI"
LICENCE = "MIT; LUNA16, LIDC-IDRI"
SIDE = 50
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF")  # and nothing that calls other programs
LARGEST_SIDE = 1000  # pixels: what is larger is no crop, and isn't decoded

# What zipfile and Pillow raise on damaged, encrypted or unknown files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
           RuntimeError, OverflowError, zlib.error, zipfile.BadZipFile,
           Image.DecompressionBombError)  # fmt: skip
_Opener = Callable[[], IO[bytes]]


def load(folder: str | os.PathLike[str], split: str) -> LabelledImages:
    """The crops of a split, in the order of its list.

    Pictures are found by their file's name, whatever folder the list and the archive put before
    it, and read in memory: nothing is unpacked. A crop that was cut off at the scan's border is
    centred on black; of a larger picture the middle is taken. Scans aren't named, so that a
    split at random, as the published one, has the same scans and nodules on both sides.

    Args:
        folder: holds `SPLIT.zip` or `SPLIT/`, and `SPLITdatalabels.txt`.
        split: its name, such as "train" or "val".

    Returns:
        Crops `(n, 50, 50)` uint8 and labels, 1 for a nodule, named "luna16_crops".

    Raises:
        DatasetNotFoundError: if the list, or archive and folder, aren't there.
        DataError: if the list is of another form, names a picture that isn't there, or one
            that can't be read.
    """
    root = Path(folder).expanduser()
    names, labels = _listed(root / f"{split}datalabels.txt")
    archive, unpacked = root / f"{split}.zip", root / split
    if archive.is_file():
        try:
            with zipfile.ZipFile(archive) as opened:
                images = _crops(names, _members(opened), archive)
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            raise DataError(
                f"{archive}: needs to be a ZIP archive of pictures. Received: {error}. "
                "Copy or download it again."
            ) from error
    elif unpacked.is_dir():
        files = {path.name: path for path in sorted(unpacked.rglob("*"))}
        images = _crops(names, {name: _opener(path) for name, path in files.items()}, unpacked)
    else:
        raise DatasetNotFoundError(
            f"{archive}: an archive or a folder of pictures of this name was needed. Received: "
            "neither. Name the folder that holds them and the split's name."
        )
    return LabelledImages(images, labels, NAME)


def _listed(path: Path) -> tuple[list[str], Array]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise DatasetNotFoundError(
            f"{path}: the list of a split's pictures was needed. Received: no such file. "
            "Name the folder that holds it and the split's name."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: a list of pictures in UTF-8 was needed. Received: {error}. Check the file."
        ) from error
    names, labels = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name.strip() or label not in ("0", "1"):
            raise DataError(
                f"{path}, line {number}: needs a picture and 0 or 1, such as "
                f"`val/image_5249.jpg 0`. Received: {line[:100]!r}. Correct the line."
            )
        names.append(name.strip())
        labels.append(int(label))
    if not names:
        raise DataError(f"{path}: needs a picture a line. Received: no line. Is it the right file?")
    return names, np.array(labels, np.uint8)


def _members(archive: zipfile.ZipFile) -> dict[str, _Opener]:
    def opener(member: zipfile.ZipInfo) -> _Opener:
        return lambda: archive.open(member)

    return {PurePosixPath(member.filename).name: opener(member) for member in archive.infolist()}


def _opener(path: Path) -> _Opener:
    return lambda: path.open("rb")


def _crops(names: list[str], places: Mapping[str, _Opener], where: Path) -> Array:
    images = np.empty((len(names), SIDE, SIDE), np.uint8)
    for image, name in zip(images, names, strict=True):
        opener = places.get(PurePosixPath(name).name)
        if opener is None:
            raise DataError(
                f"{where}: needs every picture of its list. Received: no {name}. Do the list and "
                "the pictures belong together?"
            )
        try:
            with opener() as file, Image.open(file, formats=FORMATS) as picture:
                image[:] = _crop(picture)
        except _DAMAGE as error:
            raise DataError(
                f"{where}: {name} needs to be a picture of about {SIDE}x{SIDE}. Received: "
                f"{' '.join(str(error).split()) or type(error).__name__}. Copy it again, or take "
                "its line out of the list."
            ) from error
    return images


def _crop(picture: Image.Image) -> Array:
    if max(picture.size) > LARGEST_SIDE:
        raise ValueError(f"{picture.width}x{picture.height} pixels")
    left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
    # Outside the picture Pillow's crop is black.
    return np.asarray(picture.convert("L").crop((left, top, left + SIDE, top + SIDE)))
