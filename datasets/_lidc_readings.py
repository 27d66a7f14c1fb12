"""LIDC-IDRI's XML: what each reader marked in a scan, and which voxels that is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse
from skimage.draw import line, polygon

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array

ROOT = "LidcReadMessage"
GRADES = ("subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation",
          "spiculation", "texture", "malignancy")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Contour:
    """An outline in one plane: the pixels just outside what it surrounds.

    Args:
        z_mm: of the plane.
        points: `(n, 2)` int64 row and column; one point marks a nodule below 3 mm.
        inclusion: False for a hole.
        sop_uid: of the image.
    """

    z_mm: float
    points: Array
    inclusion: bool
    sop_uid: str = ""

    def pixels(self) -> Array:
        """`(n, 2)` row and column of what it surrounds, its own pixels excepted.

        LIDC's readers drew the outer border: the outline isn't part of the nodule.
        """
        low = self.points.min(axis=0)
        rows, columns = (self.points - low).T
        inside = np.zeros(self.points.max(axis=0) - low + 1, bool)
        inside[polygon(rows, columns, inside.shape)] = True
        # Points follow each other without gaps, but not in every file.
        for a, b in pairwise([*range(len(rows)), 0]):
            inside[line(rows[a], columns[a], rows[b], columns[b])] = False
        return np.argwhere(inside) + low


@dataclass(frozen=True, eq=False)
class Reading:
    """A nodule as one reader saw it.

    Args:
        reader: from 0, in the order of the file's sessions.
        contours: of all planes.
        grades: what the reader said of it, by name; empty for a nodule below 3 mm.
    """

    reader: int
    contours: tuple[Contour, ...]
    grades: Mapping[str, int]

    def voxels(self) -> tuple[Array, Array]:
        """`(n, 2)` row and column, and `(n,)` mm, of each pixel in it; holes taken out."""
        planes: dict[float, set[tuple[int, int]]] = {}
        # Holes last, whatever their place in the file.
        for contour in sorted(self.contours, key=lambda each: not each.inclusion):
            pixels = {(int(row), int(column)) for row, column in contour.pixels()}
            plane = planes.setdefault(round(contour.z_mm, 3), set())
            planes[round(contour.z_mm, 3)] = plane | pixels if contour.inclusion else plane - pixels
        found = [(z, *pixel) for z, plane in sorted(planes.items()) for pixel in sorted(plane)]
        if not found:
            return np.zeros((0, 2), np.int64), np.zeros(0)
        rows = np.array(found)
        return rows[:, 1:].astype(np.int64), rows[:, 0]

    def middle(self) -> tuple[float, float, float]:
        """Row, column and mm of the middle of its points."""
        points = np.concatenate([contour.points for contour in self.contours])
        z = np.concatenate([[contour.z_mm] * len(contour.points) for contour in self.contours])
        return float(points[:, 0].mean()), float(points[:, 1].mean()), float(z.mean())


@dataclass(frozen=True, eq=False)
class Readings:
    """What is in a file.

    Args:
        series_uid: of the scan.
        nodules: by all readers.
        others: `(n, 3)` row, column and mm of what readers took for no nodule, of 3 mm or more.
        readers: how many sessions there are.
    """

    series_uid: str
    nodules: tuple[Reading, ...]
    others: Array
    readers: int

    @property
    def planes_mm(self) -> Array:
        """Where somebody drew something, rising, each once."""
        return np.unique(
            [round(contour.z_mm, 3) for each in self.nodules for contour in each.contours]
        )


def read(path: Path) -> Readings | None:
    """What readers marked; None of a file that is another kind of XML, such as of radiographs.

    Raises:
        DataError: if it isn't XML, or a number or point is missing in it.
    """
    try:
        root = parse(path).getroot()
    except (ParseError, DefusedXmlException, OSError, ValueError, LookupError) as error:
        raise DataError(
            f"{path}: readers' marks as LIDC-IDRI's XML were needed. Received: {error}. Copy the "
            "file again."
        ) from error
    if root is None or _local(root) != ROOT:
        return None
    try:
        return _message(root)
    except (ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: whole marks were needed, of a series, planes and points. Received: "
            f"{error}. Copy the file again."
        ) from error


def _message(root: Element) -> Readings:
    headers = list(_all(root, "ResponseHeader"))
    uid = _text(headers[0], "SeriesInstanceUid") if headers else ""
    if not uid:
        raise ValueError("no SeriesInstanceUid")
    sessions = list(_all(root, "readingSession"))
    nodules = [
        _reading(number, element)
        for number, session in enumerate(sessions)
        for element in _all(session, "unblindedReadNodule")
    ]
    others = [
        (*_point(locus), float(_text(element, "imageZposition")))
        for session in sessions
        for element in _all(session, "nonNodule")
        for locus in _all(element, "locus")
    ]
    return Readings(
        uid,
        tuple(each for each in nodules if each.contours),
        np.array(others, np.float64).reshape(-1, 3),
        len(sessions),
    )


def _reading(reader: int, element: Element) -> Reading:
    grades = {}
    for said in _all(element, "characteristics"):
        for name in GRADES:
            if (text := _text(said, name)) and (grade := int(text)) > 0:
                grades[name] = grade
    contours = [_contour(roi) for roi in _all(element, "roi")]
    return Reading(reader, tuple(each for each in contours if len(each.points)), grades)


def _contour(roi: Element) -> Contour:
    points = [_point(edge) for edge in _all(roi, "edgeMap")]
    inclusion = _text(roi, "inclusion").upper()
    if inclusion not in ("TRUE", "FALSE", ""):
        raise ValueError(f"inclusion {inclusion[:20]!r}")
    return Contour(
        float(_text(roi, "imageZposition")),
        np.array(points, np.int64).reshape(-1, 2),
        inclusion != "FALSE",
        _text(roi, "imageSOP_UID"),
    )


def _point(element: Element) -> tuple[int, int]:
    """Row and column: the file says x, then y."""
    row, column = int(_text(element, "yCoord")), int(_text(element, "xCoord"))
    if not 0 <= min(row, column) <= max(row, column) < 2**15:
        raise ValueError(f"a point at row {row}, column {column}")
    return row, column


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _all(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _local(child) == name)


def _text(element: Element, name: str) -> str:
    return next(((child.text or "").strip() for child in _all(element, name)), "")


def overlap(first: Array, second: Array) -> float:
    """Share of two sets of voxels, by their numbers, that both have."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / max(1, len(first) + len(second) - shared)


def clusters(
    voxels: Sequence[Array], centres_mm: Array, radii_mm: Array, readers: Sequence[int]
) -> list[list[int]]:
    """Which readings are of one nodule: no reader twice, those that share most first.

    Two may be of one nodule if they share a voxel, or one's centre lies within the other.

    Args:
        voxels: of each, `(n,)` unique numbers.
        centres_mm: `(readings, 3)`.
        radii_mm: `(readings,)`.
        readers: of each.

    Returns:
        Indices of the readings of each nodule, both in rising order.
    """
    pairs = []
    for a in range(len(voxels)):
        for b in range(a + 1, len(voxels)):
            distance = float(np.linalg.norm(centres_mm[a] - centres_mm[b]))
            reach = max(radii_mm[a], radii_mm[b])
            if readers[a] != readers[b] and distance < radii_mm[a] + radii_mm[b] + 20:
                shared = overlap(voxels[a], voxels[b])
                if shared > 0 or distance < reach:
                    pairs.append((-shared, distance, a, b))
    member = list(range(len(voxels)))
    groups = {index: [index] for index in member}
    for _, _, a, b in sorted(pairs):
        one, other = member[a], member[b]
        if one == other:
            continue
        seen = {readers[index] for index in groups[one]}
        if any(readers[index] in seen for index in groups[other]):
            continue
        for index in groups.pop(other):
            member[index] = one
            groups[one].append(index)
    return sorted(sorted(group) for group in groups.values())
