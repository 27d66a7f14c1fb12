"""Pictures as people have them, read as they are displayed and small enough to work on."""

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array

WORKING_PIXELS = 6_000_000  # larger pictures are brought to this many
LARGEST_PIXELS = 150_000_000  # beyond, a picture is refused: decoded, it needs 4 bytes a pixel
STRIP_PIXELS = 4_000_000  # decoded pictures are converted and reduced this many at a time

_ORIENTATION = 0x0112  # the EXIF tag
TRANSPOSED = {  # by EXIF orientation: from a picture as it is stored to as it is displayed
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITES = tuple(2.0**bits - 1 for bits in (1, 8, 10, 12, 14, 16, 24, 32))
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# What Pillow's readers raise on damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)
_MORE_DAMAGE = (OverflowError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in working size.

    Args:
        image: `(h, w, 3)` uint8 RGB, upright as it is displayed.
        scale: displayed pixels along a side of one working pixel, at least 1.
        height: of the picture as it is displayed, in pixels.
        width: the same.
        path: the file.
    """

    image: Array
    scale: float
    height: int
    width: int
    path: Path

    def displayed(self, boxes: Array) -> Array:
        """Boxes `(n, 4)` `xyxy` in working pixels, in pixels of the picture as displayed."""
        scaled = np.asarray(boxes, dtype=np.float32).reshape(-1, 4) * self.scale
        limits = np.array([self.width, self.height] * 2, dtype=np.float32)
        return np.clip(scaled, 0, limits)


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = WORKING_PIXELS) -> Picture:
    """The first frame of a picture in any format of Pillow's, as RGB on an opaque ground.

    EXIF orientation is applied. 16-bit and floating-point grey is scaled to the
    number of bits it uses.
    Transparent pictures get white behind them, or black where that shows the ink (white ink on
    nothing). Memory stays below 4 bytes a pixel of the file (a JPEG: of an eighth of its sides,
    where that is enough) and about 20 bytes a working pixel.

    Args:
        path: the file.
        max_pixels: a picture of more is reduced to this many.

    Raises:
        DataError: if the file can't be read, isn't a picture, is damaged, or has more than 150
            million pixels.
    """
    with opened(path) as picture:
        return _working(picture, Path(path), max_pixels)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A picture opened by Pillow, whatever it raises within told in a line.

    Raises:
        DataError: as `read_picture`.
    """
    path = Path(path)
    _refuse_unreadable(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                yield picture
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: needs to be a picture. Received: content of no known picture format. "
            "Check what the file holds, whatever its name says."
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, str(error)) from error
    except MemoryError as error:
        raise _too_large(path, "more than this machine's memory holds") from error
    except (*_DAMAGE, *_MORE_DAMAGE) as error:
        raise DataError(
            f"{path}: is a damaged or truncated picture. Received: "
            f"{' '.join(str(error).split()) or type(error).__name__}. Copy or export it again."
        ) from error


def luminance(image: Array) -> Array:
    """`(h, w)` float32 0 to 255 of a grey `(h, w)` or an RGB `(h, w, 3)` picture."""
    if image.ndim == 2:
        return image.astype(np.float32)
    grey: Array = image[..., :3].astype(np.float32) @ _LUMINANCE
    return grey


def _refuse_unreadable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: a picture was needed. Received: no such file. Check its name."
        ) from error
    except IsADirectoryError as error:
        raise DataError(
            f"{path}: a picture was needed. Received: a folder. Name the files in it."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: can't be read. Received: {(error.strerror or str(error)).lower()}. "
            "Check the file's permissions."
        ) from error
    if empty:
        raise DataError(
            f"{path}: needs to be a picture. Received: an empty file (0 bytes). Copy it again."
        )


def _too_large(path: Path, received: str) -> DataError:
    return DataError(
        f"{path}: needs at most {LARGEST_PIXELS // 10**6} million pixels. Received: {received}. "
        "Reduce or crop it."
    )


def _working(opened: Any, path: Path, max_pixels: int) -> Picture:
    width, height = opened.size
    if width * height > LARGEST_PIXELS:
        raise Image.DecompressionBombError(f"{width}x{height}")
    scale = max(1.0, (width * height / max_pixels) ** 0.5)
    # A JPEG can be decoded at a half, a quarter or an eighth; other formats ignore this.
    opened.draft(None, (max(1, int(width / scale)), max(1, int(height / scale))))
    # Before the orientation is asked for: a PNG may have it behind its pixels, and Pillow
    # turns a TIFF itself when it loads it.
    opened.load()
    orientation = orientation_of(opened)
    turned_by_pillow = opened.format == "TIFF" and opened.size == (height, width)
    if turned_by_pillow:
        width, height = height, width
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    small = _reduced(opened, size)
    if orientation in TRANSPOSED:
        small = small.transpose(TRANSPOSED[orientation])
        if orientation >= 5:
            width, height = height, width
    return Picture(np.asarray(_opaque(small)), scale, height, width, path)


def orientation_of(image: Any) -> int:
    """The EXIF orientation of a picture that Pillow opened, 1 to 8; 1 where there is none."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (*_DAMAGE, *_MORE_DAMAGE):  # a picture is worth reading whatever its EXIF is worth
        return 1


def _reduced(image: Any, size: tuple[int, int]) -> Any:
    """A decoded picture as RGB or RGBA of this size, converted in strips of bounded memory."""
    width, height = image.size
    factor = max(1, min(width // size[0], height // size[1]))
    rows = max(1, STRIP_PIXELS // width // factor) * factor
    parts = []
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows)))
        parts.append(_plain(strip).reduce(factor))
    whole = Image.new(parts[0].mode, (parts[0].width, sum(part.height for part in parts)))
    for index, part in enumerate(parts):
        whole.paste(part, (0, index * (rows // factor)))
    if whole.size != size:
        whole = whole.resize(size, Image.Resampling.BICUBIC)
    return _eight_bits(whole) if whole.mode == "F" else whole


def _plain(image: Any) -> Any:
    """As RGB; as RGBA if some of it is transparent; as F if grey of more than 8 bits."""
    if image.mode[0] in "IF":
        values = np.asarray(image, dtype=np.float32)
        return Image.fromarray(np.nan_to_num(values, posinf=0, neginf=0))
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _eight_bits(image: Any) -> Any:
    values = np.asarray(image)
    low, high = min(float(values.min()), 0.0), float(values.max())
    # Twelve bits in a file of sixteen are common: white is what the used range allows.
    white = next((white for white in _WHITES if white >= high), high)
    grey = np.clip((values - low) * (255.0 / max(white - low, 1e-6)), 0, 255)
    return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")


def _opaque(image: Any) -> Any:
    """A picture with white or black behind its transparent parts, whichever shows its ink."""
    if image.mode != "RGBA":
        return image
    values = np.asarray(image)
    alpha = values[..., 3].astype(np.float32)
    shown = alpha > 127 if (alpha > 127).any() else alpha > 0
    if not shown.any():
        return Image.new("RGB", image.size, "white")
    ink = luminance(values[..., :3])[shown]
    median = float(np.median(ink))
    has_paper = ink.std() > 25
    # The ground goes on as the paper does, or is what ink alone stands out from.
    ground = (255 if median > 127 else 0) if has_paper else (0 if median > 160 else 255)
    below = Image.new("RGBA", image.size, (ground, ground, ground, 255))
    return Image.alpha_composite(below, image).convert("RGB")
