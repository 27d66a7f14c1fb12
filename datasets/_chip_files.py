"""Files of chips: what their headers tell, their pixels, and archives of them.

Nothing that a name or an archive says of where a file lies is believed.
"""

import functools
import os
import re
import shutil
import stat
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import IO, Any, Literal

import numpy as np

from fieldsight.datasets import _raster_headers
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.sample import Array

Product = Literal["tif", "jpg"]

SIDE = 256
COUNTS = {"tif": 4, "jpg": 3}
ENDINGS: dict[str, Product] = {".tif": "tif", ".tiff": "tif", ".jpg": "jpg", ".jpeg": "jpg"}
MARK = "FIELDSIGHT_SIMULATED"

# The most bytes that a member may unpack to; a chip of 256 x 256 x 4 x 2 has 2**19.
LARGEST_MEMBER = {".csv": 2**26, ".tif": 2**24, ".tiff": 2**24, ".jpg": 2**22, ".jpeg": 2**22}
MOST_MEMBERS = 500_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,120}")
_DAMAGE = (OSError, EOFError, RuntimeError, NotImplementedError, ValueError, zlib.error,
           zipfile.BadZipFile, tarfile.TarError)  # fmt: skip


def is_plain(name: str) -> bool:
    """Whether a chip's name is one, and no path to somewhere else."""
    return _NAME.fullmatch(name) is not None and ".." not in name


def check(path: Path, product: Product) -> bool:
    """Check a chip's header.

    Returns:
        Whether the file says that it was simulated.

    Raises:
        DataError: if it is another product, has other sides or bands, or is cut off.
    """
    return _check_tiff(path) if product == "tif" else _check_jpeg(path)


def read(path: Path, product: Product) -> Array:
    """`(256, 256, bands)`: uint16 digital numbers of a TIFF, uint8 of a JPEG.

    Raises:
        DataError: if it can't be read.
    """
    return _read_tiff(path) if product == "tif" else _read_jpeg(path)


def _check_tiff(path: Path) -> bool:
    header = _raster_headers.tiff(path)
    found = (header.rows, header.columns, header.samples, header.dtype)
    _check_form(path, found, (SIDE, SIDE, COUNTS["tif"], "uint16"))
    return MARK in header.metadata


def _check_form(path: Path, found: tuple[Any, ...], wanted: tuple[Any, ...]) -> None:
    if found != wanted:
        told = [f"{rows} x {columns}, {count} bands, {dtype or 'mixed'}"
                for rows, columns, count, dtype in (wanted, found)]  # fmt: skip
        raise DataError(
            f"{path}: a chip of {told[0]} was needed. Received: {told[1]}. Take the competition's "
            "own chip."
        )


def _check_jpeg(path: Path) -> bool:
    with _jpeg(path) as picture:
        count = len(picture.getbands())
        found = (picture.height, picture.width, count, "uint8")
        _check_form(path, found, (SIDE, SIDE, COUNTS["jpg"], "uint8"))
        comment = picture.info.get("comment", b"")
        return MARK.encode() in (comment if isinstance(comment, bytes) else comment.encode())


def _jpeg(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path, formats=("JPEG",))
    except FileNotFoundError as error:
        raise DatasetNotFoundError(
            f"{path}: a chip was needed. Received: no such file. Check the name."
        ) from error
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: a JPEG was needed. Received: something else, or one that is damaged. Give "
            "the file that its name promises: a TIFF is another product than a JPEG."
        ) from error


def _read_tiff(path: Path) -> Array:
    from rasterio.errors import RasterioError

    try:
        with _rasterio().open(os.fspath(path.absolute()), driver="GTiff", sharing=False) as file:
            pixels: Array = file.read()
    except (RasterioError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    found = (*pixels.shape[1:], pixels.shape[0], pixels.dtype.name)
    _check_form(path, found, (SIDE, SIDE, COUNTS["tif"], "uint16"))
    return np.moveaxis(pixels, 0, -1)


@functools.cache
def _rasterio() -> ModuleType:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    # A chip has no place in the world, and needs none.
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
    return rasterio


def _read_jpeg(path: Path) -> Array:
    with _jpeg(path) as picture:
        try:
            pixels = np.asarray(picture)
        except (OSError, ValueError, SyntaxError) as error:
            raise _damaged(path, error) from error
    _check_form(path, (*pixels.shape, pixels.dtype.name), (SIDE, SIDE, COUNTS["jpg"], "uint8"))
    return pixels


def _damaged(path: Path, error: BaseException) -> DataError:
    reason = (str(error).splitlines() or ["damage"])[0][:160].rstrip(".")
    return DataError(
        f"{path}: a chip that can be read was needed. Received: {reason}. It is truncated or "
        "damaged: copy it again."
    )


# Archives


def unpack(archive: Path, folder: Path) -> tuple[int, int]:
    """Unpack the chips and tables of a zip or tar, each into the folder that it names last.

    Of a member's path, the file's name and the last folder's are kept, if they are plain; links,
    devices and other files are left out, and nothing is overwritten.

    Args:
        archive: .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz.
        folder: made if it isn't there.

    Returns:
        How many files were unpacked, and how many members were left out.

    Raises:
        DataError: if it is none, is damaged, holds too much, or a file is there already.
    """
    written = left = 0
    try:
        for inside, size, stream in _members(archive):
            target = _place(inside, size, folder)
            if target is None or stream is None:
                left += 1
                continue
            if written + left >= MOST_MEMBERS:
                raise ValueError(f"more than {MOST_MEMBERS:,} files")
            _write(stream, size, target)
            written += 1
    except FileExistsError as error:
        raise DataError(
            f"{archive}: a folder without its files was needed. Received: {error.filename}, which "
            "is there already. Unpack it into another folder."
        ) from error
    except _DAMAGE as error:
        raise DataError(
            f"{archive}: a whole zip or tar of chips was needed. Received: "
            f"{(str(error).splitlines() or ['damage'])[0][:160].rstrip('.')}. Copy it again; a 7z "
            "is unpacked by 7z x."
        ) from error
    return written, left


def _place(inside: PurePosixPath, size: int, folder: Path) -> Path | None:
    """Where a member goes; None if nowhere."""
    ending = inside.suffix.lower()
    if not is_plain(inside.name) or size > LARGEST_MEMBER.get(ending, -1):
        return None
    above = inside.parent.name
    if above in ("", ".", ".."):
        return folder / inside.name
    return folder / above / inside.name if is_plain(above) else None


def _write(stream: IO[bytes], size: int, target: Path) -> None:
    """Write what a member holds, no more than it says, with room to spare on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if size + 2**28 > shutil.disk_usage(target.parent).free:
        raise OSError("more than fits on the disk")
    with target.open("xb") as file:
        left = size
        while left and (piece := stream.read(min(left, 2**20))):
            file.write(piece)
            left -= len(piece)
    if left:
        target.unlink()
        raise EOFError("a file that is cut off")


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, int, IO[bytes] | None]]:
    """Each member's path, its size and its content; no content where it is no plain file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                if member.is_dir():
                    continue
                inside = PurePosixPath(member.filename.replace("\\", "/"))
                if stat.S_ISLNK(member.external_attr >> 16) or member.flag_bits & 1:
                    yield inside, member.file_size, None
                    continue
                with packed.open(member) as stream:
                    yield inside, member.file_size, stream
        return
    with tarfile.open(archive, "r:*") as tar:
        for entry in tar:
            if entry.isdir():
                continue
            inside = PurePosixPath(entry.name.replace("\\", "/"))
            content = tar.extractfile(entry) if entry.isreg() and not entry.issparse() else None
            if content is None:
                yield inside, entry.size, None
                continue
            with closing(content):
                yield inside, entry.size, content
