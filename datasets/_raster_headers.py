"""What a file is by its first bytes, and whether a TIFF is all there, before GDAL is asked.

GDAL opens a TIFF that was cut off and tells at the first window that is missing, hours later.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from fieldsight.datasets.errors import DataError, DatasetNotFoundError

Driver = Literal["GTiff", "JP2OpenJPEG", "VRT"]
LARGEST_TABLE = 2**28  # bytes of one tag: 33 million blocks

_OTHERS = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"PK\x03\x04", "a zip archive, which has to be unpacked"),
    (b"7z\xbc\xaf", "a 7z archive, which has to be unpacked"),
    (b"\x1f\x8b", "a gzip archive, which has to be unpacked"),
    (b"\x89HDF", "an HDF5 file"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a pointer to a file that Git LFS keeps"),
)
# TIFF 6.0, section 2: bytes of a value by its type; 13, 16, 17, 18 are of later supplements.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
          17: 8, 18: 8}  # fmt: skip
_WHOLE = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
_METADATA = 42112  # GDAL's own tag: XML text
LARGEST_METADATA = 2**20  # bytes of it
_WANTED = {256: "columns", 257: "rows", 258: "bits", 277: "samples", 339: "format",
           273: "offsets", 324: "offsets", 279: "counts", 325: "counts"}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """A TIFF's first picture.

    Args:
        rows: of pixels.
        columns: of pixels.
        samples: bands.
        dtype: such as "uint16"; "" where bands differ or it is none of numpy's.
        end: where the last block of pixels ends, in bytes from the file's begin.
        size: of the file in bytes.
        metadata: GDAL's, as XML text; "" where there are none.
    """

    rows: int
    columns: int
    samples: int
    dtype: str
    end: int
    size: int
    metadata: str = ""


def driver(path: Path) -> Driver:
    """GDAL's driver for a file, by its content alone; a TIFF must be whole.

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it is another kind of file, or cut off.
    """
    begin = _begin(path)
    if begin[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        tiff(path)
        return "GTiff"
    if begin.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "JP2OpenJPEG"
    if b"<VRTDataset" in begin:
        return "VRT"
    raise DataError(
        f"{path}: a GeoTIFF, COG, VRT or JPEG 2000 file was needed. Received: {_kind(begin)}. "
        "Give the product's raster, or the folder that it lies in."
    )


def tiff(path: Path) -> Header:
    """A TIFF's header.

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it is no TIFF, or its pixels aren't all there.
    """
    begin = _begin(path)
    if begin[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise DataError(
            f"{path}: a TIFF was needed. Received: {_kind(begin)}. Give the file that its name "
            "promises: a JPEG is another product than a TIFF."
        )
    try:
        with path.open("rb") as file:
            header = _header(file)
    except (OSError, struct.error, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: a whole TIFF was needed. Received: a damaged or truncated header. Copy it "
            "again."
        ) from error
    if header.end > header.size:
        raise DataError(
            f"{path}: a whole TIFF of {header.end:,} bytes was needed. Received: a truncated one "
            f"of {header.size:,}. Copy it again."
        )
    return header


def _begin(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetNotFoundError(
            f"{path}: a raster was needed. Received: no such file. Check the name."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: a raster was needed. Received: {error.strerror or error}. Name a file that "
            "can be read."
        ) from error


def _kind(begin: bytes) -> str:
    if not begin:
        return "an empty file"
    found = (told for start, told in _OTHERS if begin.lstrip().startswith(start))
    if begin[257:262] == b"ustar":
        return "a tar archive, which has to be unpacked"
    return next(found, "something else")


def _header(file: IO[bytes]) -> Header:
    size = os.fstat(file.fileno()).st_size
    order = "<" if file.read(2) == b"II" else ">"
    big = struct.unpack(order + "H", file.read(2))[0] == 43
    if big:
        file.read(4)
    place = struct.unpack(order + ("Q" if big else "I"), file.read(8 if big else 4))[0]
    file.seek(place)
    count = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))[0]
    if not 0 < count < 4096:
        raise ValueError("no directory")
    length = 20 if big else 12
    entries = file.read(count * length)
    found: dict[str, list[int]] = {}
    metadata = ""
    for start in range(0, count * length, length):
        entry = entries[start : start + length]
        tag, kind = struct.unpack(order + "HH", entry[:4])
        if name := _WANTED.get(tag):
            found[name] = _values(file, order, kind, entry, big=big)
        elif tag == _METADATA:
            metadata = _bytes(file, order, kind, entry, big=big)[:LARGEST_METADATA].decode(
                "latin-1"
            )
    ends = [at + long for at, long in zip(found["offsets"], found["counts"], strict=True)]
    samples = found.get("samples", [1])[0]
    return Header(
        found["rows"][0],
        found["columns"][0],
        samples,
        _dtype(found.get("bits", [1]), found.get("format", [1])),
        max(ends, default=0),
        size,
        metadata,
    )


def _values(file: IO[bytes], order: str, kind: int, entry: bytes, *, big: bool) -> list[int]:
    content = _bytes(file, order, kind, entry, big=big)
    values: list[int] = np.frombuffer(content, order + _WHOLE[kind]).tolist()
    return values


def _bytes(file: IO[bytes], order: str, kind: int, entry: bytes, *, big: bool) -> bytes:
    """The content of a tag, wherever in the file it lies."""
    count = struct.unpack(order + ("Q" if big else "I"), entry[4 : 12 if big else 8])[0]
    content = entry[12 if big else 8 :]
    length: int = count * _SIZES[kind]
    if length > LARGEST_TABLE:
        raise ValueError("a tag of more values than any raster has")
    if length > len(content):
        file.seek(struct.unpack(order + ("Q" if big else "I"), content)[0])
        content = file.read(length)
    if len(content) < length:
        raise ValueError("a tag that is cut off")
    return content[:length]


def _dtype(bits: list[int], forms: list[int]) -> str:
    letter = {1: "uint", 2: "int", 3: "float"}.get(forms[0], "")
    alike = len(set(bits)) == 1 and len(set(forms)) == 1
    return f"{letter}{bits[0]}" if alike and letter and bits[0] in (8, 16, 32, 64) else ""
