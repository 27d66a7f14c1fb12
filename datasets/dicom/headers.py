"""One DICOM file's header: what a volume needs of it, read without its pixels.

A file's first bytes are read ahead; only a header that is longer needs the file itself.
"""

import contextlib
import hashlib
import io
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from fieldsight.datasets.dicom import enhanced
from fieldsight.datasets.dicom.elements import FACTS, IDENTIFYING, WANTED, Values
from fieldsight.datasets.dicom.privacy import anonymous, words_of

# What pydicom raises on damaged files.
DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
          RuntimeError, NotImplementedError, OverflowError, RecursionError, struct.error,
          zlib.error, zipfile.BadZipFile, InvalidDicomError, BytesLengthException)  # fmt: skip

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN)
DEFLATED = "1.2.840.10008.1.2.1.99"
LARGEST_INFLATED = 2**31  # bytes
DICOMDIR = "1.2.840.10008.1.3.10"

START = 2**14  # bytes in which most headers end


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without pydicom's warnings about untidy values: they repeat them, whoever they tell of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        yield


Opener = Callable[[], IO[bytes]]


def _digest(who: str) -> str:
    return hashlib.sha256(who.encode()).hexdigest()[:16]


NOBODY = _digest("\0\0")  # of files that name no patient


@dataclass(frozen=True)
class Source:
    """A file, wherever it lies: on disk, or in an archive.

    Args:
        label: its name without folders, for messages.
        open: opens it for reading, seekable.
        path: on disk; None in an archive.
        size: bytes.
        key: its path in the archive.
    """

    label: str
    open: Opener = field(compare=False)
    path: str | None = None
    size: int = 0
    key: str = ""


def on_disk(path: str | os.PathLike[str]) -> Source:
    """A file of the file system."""
    whole = os.fspath(path)
    return Source(
        os.path.basename(whole),  # noqa: PTH119  # many thousands of them: a Path each is slow
        partial(_opened, whole),
        whole,
        os.stat(whole).st_size,  # noqa: PTH116
    )


def _opened(path: str) -> IO[bytes]:
    return open(path, "rb", START)  # noqa: PTH123  # a Path each is slow


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of all its frames; a file of one image has one.

    `patient` is a digest, by which files of two patients are kept apart; `private` holds the words
    that tell who that is, so that they can be kept out of names and messages.
    """

    source: Source
    syntax: str
    sop_class: str
    sop_instance: str
    series_uid: str
    study_uid: str
    patient: str
    modality: str
    image_type: tuple[str, ...]
    description: str
    photometric: str
    series_number: int | None
    acquisition: int | None
    instance: int | None
    tilt_degrees: float
    frames: int | None  # None in a file of one image
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None  # stored values from and to, both included
    pixel_offset: int | None  # of native pixels; None if they must be decoded
    pixel_bytes: int | None  # None if there are no pixels
    facts: Mapping[str, str | float]
    private: frozenset[str]

    @property
    def plane_bytes(self) -> int:
        """Bytes of one plane's stored values, uncompressed."""
        return self.rows * self.columns * self.samples * ((self.bits_allocated + 7) // 8)


@dataclass(frozen=True, kw_only=True)
class Image:
    """One plane: a file of one image, or a frame of a multi-frame file.

    Args:
        header: of its file.
        frame: from 1; None in a file of one image.
        position: of the centre of its first voxel, LPS mm; None if it isn't said.
        orientation: the cosines along a row, then along a column.
        spacing: mm between rows, then between columns.
        slope: Hounsfield units of a stored step; None if it isn't said.
        intercept: Hounsfield units of a stored zero.
        rescale_type: the unit, if it is said.
        image_type: the frame's, or the image's.
        acquisition: the image's; in a multi-frame file, the frame's.
    """

    header: Header
    frame: int | None
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    image_type: tuple[str, ...]
    acquisition: int | None

    @property
    def is_whole(self) -> bool:
        """Whether all its pixels are there, as far as that shows without decoding them."""
        header = self.header
        if header.pixel_offset is None:
            return header.pixel_bytes is not None
        return (header.pixel_bytes or 0) >= header.plane_bytes * (self.frame or 1)

    @property
    def label(self) -> str:
        """The file's name, and the frame's number where there are frames."""
        name = anonymous(self.header.source.label, self.header.private)
        return name if self.frame is None else f"{name}, frame {self.frame}"


def start(source: Source) -> bytes:
    """The first bytes of a file, in which most headers end: to be read ahead, side by side.

    Raises:
        ValueError: if it can't be read.
    """
    try:
        with source.open() as file:
            return file.read(START)
    except DAMAGE as error:
        raise ValueError(_told(error)) from error


def read(source: Source, begins: bytes = b"") -> list[Image] | None:
    """The images of a file, one if it isn't multi-frame; None if it isn't DICOM.

    Args:
        source: the file.
        begins: what `start` gave for it, so that the file itself is only opened where its header
            is longer.

    Raises:
        ValueError: if it is DICOM and its header can't be read; says why.
    """
    if begins:
        try:
            images = _parsed(source, lambda: io.BytesIO(begins))
        except ValueError:
            images = []
        if images is None or any(image.header.pixel_bytes is not None for image in images):
            return images
    return _parsed(source, source.open)


def _parsed(source: Source, opener: Opener) -> list[Image] | None:
    try:
        with opener() as file:
            force = _is_dicom(file)
            if force is None:
                return None
            _check_inflation(file)
            data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=WANTED, force=force)
            syntax = str(data.file_meta.get("TransferSyntaxUID", "")) or _guessed_syntax(data)
            if str(data.file_meta.get("MediaStorageSOPClassUID", "")) == DICOMDIR:
                return []
            offset, length = _pixels(file, data, source, syntax)
    except MemoryError as error:
        raise ValueError("its header needs more memory than there is") from error
    except DAMAGE as error:
        raise ValueError(_told(error)) from error
    header = _header(Values(data), source, syntax, offset, length)
    if header.frames is None:
        return [_single(Values(data), header)]
    try:
        return [
            Image(header=header, frame=number, **values)
            for number, values in enumerate(enhanced.frames(data, header.frames), 1)
        ]
    except DAMAGE as error:
        raise ValueError(f"its frames' places can't be read: {_told(error)}") from error


def _told(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _is_dicom(file: IO[bytes]) -> bool | None:
    """Whether it needs force, for want of a preamble; None if it isn't DICOM at all."""
    start = file.read(132)
    file.seek(0)
    if start[128:] == b"DICM":
        return False
    # Without a preamble, as ACR-NEMA and some workstations write: group 2 or 8 comes first.
    known = start[:2] in (b"\x02\x00", b"\x08\x00") and start[2:4] in (
        b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00", b"\x10\x00", b"\x12\x00", b"\x16\x00"
    )  # fmt: skip
    return True if known and len(start) > 16 else None


def _check_inflation(file: IO[bytes]) -> None:
    """Refuse a deflated file that inflates to more than any has: it is inflated in memory."""
    start = file.read(1024)
    at = start.find(DEFLATED.encode())
    # The length of the meta information stands first in it.
    end = 144 + int.from_bytes(start[140:144], "little")
    if 0 < at < end:
        file.seek(end)
        inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while part := inflate.unconsumed_tail or file.read(2**20):
            total += len(inflate.decompress(part, 2**24))
            if total > LARGEST_INFLATED:
                raise ValueError(f"inflated, it has more than {LARGEST_INFLATED:,} bytes")
    file.seek(0)


def _guessed_syntax(data: pydicom.Dataset) -> str:
    implicit, little = data.original_encoding
    return (IMPLICIT if implicit else EXPLICIT) if little else BIG_ENDIAN


def _pixels(
    file: IO[bytes], data: Any, source: Source, syntax: str
) -> tuple[int | None, int | None]:
    """Where native pixels begin and how many bytes they have; None, 0 if they are encoded."""
    if syntax not in NATIVE:
        return None, 0 if _has_more(file, syntax) else None
    implicit, little = data.original_encoding
    head = file.read(12)
    order = "<" if little else ">"
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != (0x7FE0, 0x0010):
        return None, None
    start = file.tell() - len(head)
    if implicit or head[4:6] not in (b"OW", b"OB", b"UN"):
        length, at = struct.unpack(f"{order}L", head[4:8])[0], start + 8
    elif len(head) == 12:
        length, at = struct.unpack(f"{order}L", head[8:12])[0], start + 12
    else:
        return None, None
    if length == 0xFFFFFFFF:
        return None, 0
    return at, max(0, min(length, source.size - at)) if source.size else length


def _has_more(file: IO[bytes], syntax: str) -> bool:
    # A deflated file was read to its end to be inflated: whether pixels are in it shows later.
    return syntax == DEFLATED or len(file.read(12)) == 12


def _header(
    values: Values, source: Source, syntax: str, offset: int | None, length: int | None
) -> Header:
    allocated = values.short("BitsAllocated") or 16
    stored = values.short("BitsStored") or allocated
    signed = values.short("PixelRepresentation") == 1
    who = "\0".join(values.text(name) for name in ("PatientID", "PatientName", "PatientBirthDate"))
    frames = values.whole("NumberOfFrames")
    has_groups = values.has("PerFrameFunctionalGroupsSequence")
    return Header(
        source=source,
        syntax=syntax,
        sop_class=values.text("SOPClassUID"),
        sop_instance=values.text("SOPInstanceUID"),
        series_uid=values.text("SeriesInstanceUID"),
        study_uid=values.text("StudyInstanceUID"),
        patient=_digest(who),
        modality=values.text("Modality"),
        image_type=values.texts("ImageType"),
        description=values.text("SeriesDescription"),
        photometric=values.text("PhotometricInterpretation"),
        series_number=values.whole("SeriesNumber"),
        acquisition=values.whole("AcquisitionNumber"),
        instance=values.whole("InstanceNumber"),
        tilt_degrees=values.number("GantryDetectorTilt") or 0.0,
        frames=frames if frames is not None and (frames > 1 or has_groups) else None,
        rows=values.short("Rows") or 0,
        columns=values.short("Columns") or 0,
        samples=values.short("SamplesPerPixel") or 1,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if (high := values.short("HighBit")) is None else high,
        signed=signed,
        padding=_padding(values, signed),
        pixel_offset=offset,
        pixel_bytes=length,
        facts=_facts(values),
        private=words_of(
            tuple(text for name in IDENTIFYING for text in sorted(values.spellings(name)))
        ),
    )


def _padding(values: Values, signed: bool) -> tuple[int, int] | None:
    ends = [values.short(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return None
    # Some write -2000 as if it were unsigned: the pixels' signedness is what counts.
    first, last = (
        value - 65536 if signed and value >= 32768 else value
        for value in (end if end is not None else ends[0] for end in ends)
    )
    return min(first, last), max(first, last)


def _facts(values: Values) -> dict[str, str | float]:
    facts: dict[str, str | float] = {}
    for name, fact in FACTS.items():
        text = values.text(name)
        if not text or text.upper() in ("UNKNOWN", "NONE", "ANONYMIZED"):
            continue
        if fact.endswith(("_mm", "_ma", "kvp")):
            number = values.number(name)
            if number is not None:
                facts[fact] = int(number) if number == int(number) else number
        else:
            # What a terminal would obey stays out.
            facts[fact] = "".join(c for c in text.replace("\\", " ") if c.isprintable())[:64]
    return facts


def _single(values: Values, header: Header) -> Image:
    slope, intercept = values.number("RescaleSlope") or None, values.number("RescaleIntercept")
    return Image(
        header=header,
        frame=None,
        position=_of_length(values.numbers("ImagePositionPatient"), 3),
        orientation=_of_length(values.numbers("ImageOrientationPatient"), 6),
        spacing=_of_length(values.numbers("PixelSpacing"), 2),
        slope=slope,
        intercept=intercept,
        rescale_type=values.text("RescaleType"),
        image_type=header.image_type,
        acquisition=header.acquisition,
    )


def _of_length(values: tuple[float, ...] | None, count: int) -> Any:
    return values if values is not None and len(values) == count else None
