"""CT scans wherever they lie: series in folders as a PACS exports them, archives, image files.

`find` tells which series there are, `read` makes a volume of one:

    for found in scans.find([folder]):
        volume = scans.read(found)

Names never tell who a patient is: a folder's name that holds a word of the patient's name, number
or date of birth, as the headers have them, is replaced by "series-1" and so on.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from fieldsight.datasets import _scan_archives, _scan_files, image_files
from fieldsight.datasets._scan_files import Place
from fieldsight.datasets.dicom import headers, privacy, reading
from fieldsight.datasets.dicom.headers import Image
from fieldsight.datasets.dicom.pixels import side_by_side
from fieldsight.datasets.dicom.series import group, some
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.volume import Volume

Paths = Iterable[str | os.PathLike[str]]
AT_ONCE = 512  # files whose first bytes are held in memory
Kind = Literal["dicom", "mhd", "nifti"]


@dataclass(frozen=True, eq=False)
class Found:
    """A series that was found, not read yet.

    Args:
        name: its folder's or file's name, unless that tells who the patient is.
        kind: "dicom", "mhd" (.mhd, .mha) or "nifti".
        series_uid: its SeriesInstanceUID; of a file, the name without its ending.
        size: planes, rows and columns as the headers say; None where only reading tells.
        notes: what was left out of it, a sentence each; the volume's notes tell more.
        refused: why it is no CT volume; "" where it may be one.
        patient: a pseudonym that is the same for one patient's series; "" where none is told.
        paths: its files; empty where they lie in an archive.
    """

    name: str
    kind: Kind
    series_uid: str
    size: tuple[int, int, int] | None
    notes: tuple[str, ...] = ()
    refused: str = ""
    load: Callable[[str], Volume] = field(repr=False, kw_only=True)
    patient: str = field(default="", kw_only=True)
    paths: tuple[Path, ...] = field(default=(), repr=False, kw_only=True)


@dataclass(frozen=True, eq=False)
class Search:
    """All that lies at some paths.

    Args:
        found: series that may be volumes.
        refused: series that are none, such as localizers and other modalities.
        notes: files that were passed over, and why, a sentence each.
        failures: paths and archives that can't be used at all, by their number, with the reason.
    """

    found: tuple[Found, ...]
    refused: tuple[Found, ...]
    notes: tuple[str, ...]
    failures: Mapping[str, str]


def find(paths: Paths) -> list[Found]:
    """The CT series at these paths, as `search` finds them; empty where there is none."""
    return list(search(paths).found)


def search(paths: Paths) -> Search:
    """Every series at these paths, whether it can be used or not.

    Folders are searched with all that lies below them; links are followed. DICOM files are known
    by their content, whatever their name; image files by their ending; slices in archives are read
    where they are, without unpacking.

    Args:
        paths: folders, DICOMDIRs, zips, DICOM files, .mhd, .mha, .nii, .nii.gz.
    """
    notes: list[str] = []
    failures: dict[str, str] = {}
    places = list(_scan_files.places(paths, notes, failures))
    images = _images([place for place in places if place.kind == "dicom"], notes)
    found = [*_of_dicom(images), *_of_files(places)]
    named = _named(found)
    return Search(
        tuple(each for each in named if not each.refused),
        tuple(each for each in named if each.refused),
        tuple(notes),
        failures,
    )


def read(found: Found) -> Volume:
    """The volume of a series.

    What was odd stands in its notes: slices that were missing, doubled, damaged or sheared.

    Raises:
        DataError: if it can't be a volume; says what was needed, received, and what to do.
    """
    if found.refused:
        raise DataError(
            f"{found.name}: a CT volume was needed. Received: {found.refused}. Choose another "
            "series."
        )
    return found.load(found.name)


# DICOM


@dataclass(frozen=True, eq=False)
class _Read:
    place: Place
    images: list[Image] | None
    trouble: str = ""


def _images(places: Sequence[Place], notes: list[str]) -> list[tuple[Place, Image]]:
    """The images of files in their order, with where they were found."""
    results: list[_Read] = []
    for first in range(0, len(places), AT_ONCE):
        some_places = places[first : first + AT_ONCE]
        # Waiting for disks and networks is done side by side; parsing holds Python's lock, and
        # threads would only take it from each other.
        begins = side_by_side(_begins, some_places)
        with headers.quietly():
            results += [_parsed(*pair) for pair in zip(some_places, begins, strict=True)]
    other = sum(result.images is None for result in results)
    if other:
        what = "file that is" if other == 1 else "files that are"
        notes.append(f"passed over: {other:,} {what} no DICOM image, .mhd, .mha or .nii")
    words = frozenset().union(
        *(image.header.private for result in results for image in result.images or ())
    )
    broken = [
        f"{privacy.anonymous(result.place.source.label, words)} ({result.trouble})"
        for result in results
        if result.trouble
    ]
    if broken:
        notes.append(f"passed over: {len(broken):,} files can't be read: {some(broken)}")
    return [(result.place, image) for result in results for image in result.images or ()]


def _begins(place: Place) -> bytes:
    try:
        return headers.start(place.source)
    except ValueError:
        return b""  # and what is wrong shows when it is parsed


def _parsed(place: Place, begins: bytes) -> _Read:
    try:
        return _Read(place, headers.read(place.source, begins))
    except ValueError as error:
        return _Read(place, [], str(error))


def _of_dicom(images: list[tuple[Place, Image]]) -> Iterator[tuple[str, frozenset[str], Found]]:
    places = {id(image): place for place, image in images}
    for series in group(image for _, image in images):
        header = series.images[0].header
        yield (
            places[id(series.images[0])].folder,
            series.private,
            Found(
                f"series-{header.series_number}" if header.series_number is not None else "series",
                "dicom",
                series.uid,
                (len(series.images), header.rows, header.columns),
                series.notes,
                series.refused,
                load=partial(reading.read, series),
                patient="" if header.patient == headers.NOBODY else header.patient,
                paths=_on_disk(image.header.source.path for image in series.images),
            ),
        )


# Image files


def _of_files(places: Iterable[Place]) -> Iterator[tuple[str, frozenset[str], Found]]:
    for place in places:
        if place.kind == "dicom":
            continue
        stem = image_files.stem(place.source.label)
        size, refused = None, ""
        if place.source.path is not None:
            try:
                size = image_files.size(place.source.path)
            except DataError as error:
                refused = str(error).removeprefix(f"{stem}: ")
        yield (
            stem,
            frozenset(),
            Found(
                stem,
                place.kind,
                stem,
                size,
                refused=refused,
                load=_file_loader(place),
                paths=_on_disk([place.source.path]),
            ),
        )


def _on_disk(paths: Iterable[str | None]) -> tuple[Path, ...]:
    """Each file once; none of those in an archive."""
    return tuple(Path(path) for path in dict.fromkeys(paths) if path is not None)


def _file_loader(place: Place) -> Callable[[str], Volume]:
    def load(name: str) -> Volume:
        path, uid = place.source.path, image_files.stem(place.source.label)
        if path is not None:
            return image_files.read(Path(path), name, uid)
        if place.archive is None:
            raise DataError(f"{name}: its file was needed. Received: none. Search again.")
        folder, unpacked = _scan_archives.unpack_image(place.archive, place.source, name)
        with folder:
            return image_files.read(unpacked, name, uid)

    return load


# Names


def _named(found: Iterable[tuple[str, frozenset[str], Found]]) -> list[Found]:
    """Each with a name of its own that tells nobody's."""
    listed = list(found)
    plain = [_plain(name, private, number) for number, (name, private, _) in enumerate(listed, 1)]
    counts = Counter(plain)
    names: list[str] = []
    for name, (_, _, each) in zip(plain, listed, strict=True):
        full = f"{name}-{each.name}" if counts[name] > 1 and each.kind == "dicom" else name
        number = 2
        unique = full
        while unique in names:
            unique, number = f"{full}-{number}", number + 1
        names.append(unique)
    return [replace(each, name=name) for name, (_, _, each) in zip(names, listed, strict=True)]


def _plain(name: str, private: frozenset[str], number: int) -> str:
    return f"series-{number}" if not name or privacy.tells(name, private) else name
