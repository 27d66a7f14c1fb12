"""Boxes in the forms that others keep them in, to `xyxy` pixels and back (W-7).

Here a box is left, top, right, bottom in pixels: the first pixel reaches from 0 to 1, right and
bottom are exclusive, so that right - left is the width. `core.boxes` knows no other kind.
"""

from typing import Any

import numpy as np

from fieldsight.datasets.sample import Array


def from_xywh(boxes: Any, *, origin: float = 0.0) -> Array:
    """`(n, 4)` float64 `xyxy` of left, top, width, height, as COCO's, BIRDSAI's and MOT's.

    Args:
        boxes: `(n, 4)`.
        origin: the left of the first pixel: 0, or 1 in MOTChallenge's files.

    Example:
        >>> from_xywh([[10, 20, 3, 4]]).tolist(), from_xywh([[1, 1, 3, 4]], origin=1).tolist()
        ([[10.0, 20.0, 13.0, 24.0]], [[0.0, 0.0, 3.0, 4.0]])
    """
    given = _rows(boxes)
    corner = given[:, :2] - origin
    return np.concatenate([corner, corner + given[:, 2:]], 1)


def to_xywh(boxes: Any, *, origin: float = 0.0) -> Array:
    """The way back from `from_xywh`."""
    given = _rows(boxes)
    return np.concatenate([given[:, :2] + origin, given[:, 2:] - given[:, :2]], 1)


def from_inclusive(boxes: Any, *, origin: float = 1.0) -> Array:
    """`(n, 4)` float64 `xyxy` of the first and the last pixel, both within: Pascal VOC's form.

    Args:
        boxes: `(n, 4)` xmin, ymin, xmax, ymax.
        origin: the number of the first pixel.

    Example:
        A box of the first pixel alone:

        >>> from_inclusive([[1, 1, 1, 1]]).tolist()
        [[0.0, 0.0, 1.0, 1.0]]
    """
    return _rows(boxes) - origin + np.array([0.0, 0.0, 1.0, 1.0])


def to_inclusive(boxes: Any, *, origin: float = 1.0) -> Array:
    """The way back from `from_inclusive`."""
    return _rows(boxes) + origin - np.array([0.0, 0.0, 1.0, 1.0])


def from_normalised(boxes: Any, size: tuple[int, int]) -> Array:
    """`(n, 4)` float64 `xyxy` of middle x, middle y, width, height as parts of a side: YOLO's.

    Args:
        boxes: `(n, 4)`, 0 to 1.
        size: rows and columns of the picture.

    Example:
        >>> from_normalised([[0.5, 0.5, 0.1, 0.5]], (100, 200)).tolist()
        [[90.0, 25.0, 110.0, 75.0]]
    """
    given = _rows(boxes) * np.array([size[1], size[0]] * 2, float)
    return np.concatenate([given[:, :2] - given[:, 2:] / 2, given[:, :2] + given[:, 2:] / 2], 1)


def to_normalised(boxes: Any, size: tuple[int, int]) -> Array:
    """The way back from `from_normalised`."""
    given = _rows(boxes) / np.array([size[1], size[0]] * 2, float)
    return np.concatenate([(given[:, :2] + given[:, 2:]) / 2, given[:, 2:] - given[:, :2]], 1)


def from_normalised_xywh(boxes: Any, size: tuple[int, int]) -> Array:
    """`(n, 4)` float64 `xyxy` of left, top, width, height as parts of a side: MegaDetector's.

    Example:
        >>> from_normalised_xywh([[0.45, 0.25, 0.1, 0.5]], (100, 200)).tolist()
        [[90.0, 25.0, 110.0, 75.0]]
    """
    return from_xywh(_rows(boxes) * np.array([size[1], size[0]] * 2, float))


def to_normalised_xywh(boxes: Any, size: tuple[int, int]) -> Array:
    """The way back from `from_normalised_xywh`."""
    return to_xywh(boxes) / np.array([size[1], size[0]] * 2, float)


def turned(boxes: Any, orientation: int, stored: tuple[int, int]) -> Array:
    """`(n, 4)` float64 `xyxy` of a picture as it is displayed, of those of it as it is stored.

    Args:
        boxes: `(n, 4)` `xyxy` in the file's own rows and columns.
        orientation: EXIF's, 1 to 8 (EXIF 2.3, table 6).
        stored: rows and columns of the file.

    Example:
        A camera held upright stores the left of what it sees at the bottom (orientation 6):

        >>> turned([[0, 90, 10, 100]], 6, (100, 200)).tolist()
        [[0.0, 0.0, 10.0, 10.0]]
    """
    left, top, right, bottom = _rows(boxes).T
    rows, columns = stored
    if orientation in (2, 3, 7, 8):
        left, right = columns - right, columns - left
    if orientation in (3, 4, 6, 7):
        top, bottom = rows - bottom, rows - top
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
    return np.stack([left, top, right, bottom], 1)


def _rows(boxes: Any) -> Array:
    return np.asarray(boxes, np.float64).reshape(-1, 4)
