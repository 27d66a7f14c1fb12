"""Whether an image file is whole: ITK takes voxels that are missing or damaged for zeros.

Where it does notice, it writes to the terminal by itself. So it is asked only for whole files.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast

LARGEST_HEADER = 2**16  # bytes of a MetaImage's
AT_ONCE = 2**20
BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG_LONG": 8,
         "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}  # fmt: skip  # not LONG: ask the machine
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)
NIFTI_1, NIFTI_2 = 348, 540  # bytes of a header, which is its first number


def has_header(path: Path) -> bool:
    """Whether a file begins as a MetaImage or, by its ending, as a NIfTI file does.

    Raises:
        OSError: if it can't be opened.
    """
    if path.suffix.lower() in (".mhd", ".mha"):
        words, _ = metaimage_header(path)
        return {"ndims", "dimsize", "elementtype", "elementdatafile"} <= words.keys()
    try:
        with _opened(path) as file:
            return _nifti_bytes(file.read(NIFTI_2)) > 0
    except _DAMAGE:
        return False


def missing_voxels(path: Path) -> str:
    """Why an image file's voxels can't be read, in some words; "" if they can, or nobody knows.

    All that is compressed is unpacked once, since nothing else tells of damage within it.

    Args:
        path: a MetaImage or NIfTI file whose header can be read.

    Raises:
        OSError: if it can't be opened.
    """
    try:
        if path.suffix.lower() in (".mhd", ".mha"):
            return _of_metaimage(path)
        return _of_nifti(path)
    except _DAMAGE:
        return "a part: what is compressed breaks off, or is damaged"


def metaimage_header(path: Path) -> tuple[Mapping[str, str], int]:
    """A MetaImage's words by their key, in lower case, and the bytes that they take."""
    with path.open("rb") as file:
        head = file.read(LARGEST_HEADER)
    words: dict[str, str] = {}
    end = 0
    for line in head.splitlines(keepends=True):
        end += len(line)
        key, _, value = line.decode("latin-1").partition("=")
        words[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            break
    return words, end


def _of_metaimage(path: Path) -> str:
    words, start = metaimage_header(path)
    size = BYTES.get(words.get("elementtype", "").upper().removeprefix("MET_"))
    name = words.get("elementdatafile", "")
    if size is None or name == "LIST" or "%" in name or words.get("binarydata") == "False":
        return ""
    if name.upper() != "LOCAL":
        path, start = path.parent / name, 0
        if not path.is_file():
            return "none: the file that its header names isn't there"
    needed = size * math.prod(int(side) for side in words.get("dimsize", "").split())
    with path.open("rb") as file:
        file.seek(start)
        if words.get("compresseddata", "").lower() == "true":
            return _short(_unpacked(file), needed)
    return _short(path.stat().st_size - start, needed)


def _unpacked(file: BinaryIO) -> int:
    """Bytes that a zlib or gzip stream unpacks to.

    Raises:
        zlib.error: if it is damaged.
        EOFError: if it breaks off.
    """
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    there = 0
    while not unpacking.eof:
        packed = file.read(AT_ONCE)
        if not packed:
            raise EOFError
        there += len(unpacking.decompress(packed))
    return there


def _opened(path: Path) -> BinaryIO:
    """A NIfTI file, unpacked while it is read if it is packed, whatever its name."""
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if is_packed else path.open("rb")


def _of_nifti(path: Path) -> str:
    with _opened(path) as file:
        head = file.read(NIFTI_2)
        there = len(head)
        while part := file.read(AT_ONCE):
            there += len(part)
    return _short(there, _nifti_bytes(head))


def _nifti_bytes(head: bytes) -> int:
    """Of a whole file, as its header says; 0 if that says nothing."""
    for order in "<>":
        if len(head) >= NIFTI_1 and struct.unpack_from(f"{order}i", head)[0] == NIFTI_1:
            sides = struct.unpack_from(f"{order}8h", head, 40)
            (bits,) = struct.unpack_from(f"{order}h", head, 72)
            (start,) = struct.unpack_from(f"{order}f", head, 108)
        elif len(head) >= NIFTI_2 and struct.unpack_from(f"{order}i", head)[0] == NIFTI_2:
            sides = struct.unpack_from(f"{order}8q", head, 16)
            (bits,) = struct.unpack_from(f"{order}h", head, 14)
            (start,) = struct.unpack_from(f"{order}q", head, 168)
        else:
            continue
        if not 1 <= sides[0] <= 7 or min(sides[1 : 1 + sides[0]]) < 1 or not 0 <= start < 2**62:
            return 0
        return int(start) + math.prod(sides[1 : 1 + sides[0]]) * bits // 8
    return 0


def _short(there: int, needed: int) -> str:
    return "" if there >= needed else f"{max(0, there):,} of {needed:,} bytes"
