"""Pictures in full size with their own bits, as they are displayed: what a detector is run on.

`fieldsight.datasets.pictures` gives any picture as RGB of 8 bits in a working size; here a thermal
frame of 14 bits stays one, and every pixel of an aerial picture is there.
"""

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from fieldsight.datasets import _deep_colours, _raster_pictures
from fieldsight.datasets.box_forms import turned
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.pictures import LARGEST_PIXELS, TRANSPOSED, opened, orientation_of
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes._rasters import Raster

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm",
            ".jp2")  # fmt: skip
TIFFS = (".tif", ".tiff")
Slices = tuple[slice, slice]

_SAMPLES = 1_000_000  # values that tell a picture's white
_CAMERA = (0x010F, 0x0110)  # EXIF: who made the camera, and its model
_GREY = ("L", "1", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")


@dataclass(frozen=True)
class Header:
    """What a picture's header says.

    Args:
        stored: rows and columns of the file.
        orientation: EXIF's, 1 to 8.
        channels: 1 or 3, of what `read` gives.
        dtype: "uint8" or "uint16", of what `read` gives.
        pages: pictures in the file.
        camera: whether a camera says that it took it.
    """

    stored: tuple[int, int]
    orientation: int = 1
    channels: int = 3
    dtype: str = "uint8"
    pages: int = 1
    camera: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns as displayed."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored

    def displayed(self, boxes: Array, *, size: tuple[int, int] | None = None) -> Array:
        """Boxes `(n, 4)` `xyxy` as displayed, of boxes in a picture of the size that was said.

        Args:
            boxes: `xyxy` pixels.
            size: rows and columns that the annotations say; where they are those of the file as
                stored, and not as displayed, whoever drew the boxes saw it unturned.
        """
        if size == self.stored and size != self.size:
            return turned(boxes, self.orientation, self.stored)
        return boxes


def header(path: str | os.PathLike[str]) -> Header:
    """A picture's header.

    Raises:
        DataError: if the file can't be read or isn't a picture.
    """
    path = Path(path)
    if _is_deep_png(path):
        return _deep_png_header(path)
    if _by_raster(path):
        return _raster_header(path)
    with opened(path) as picture:
        grey = picture.mode in _GREY
        wide = picture.mode[0] in "IF"
        stored = picture.size[::-1]
        if picture.format == "TIFF":  # Pillow gives the size as displayed
            stored = int(picture.tag_v2[257]), int(picture.tag_v2[256])
        return Header(
            stored,
            orientation_of(picture),
            1 if grey else 3,
            "uint16" if wide else "uint8",
            # Overviews of a TIFF are pages too, but smaller ones.
            _pages(picture) if picture.format == "TIFF" else 1,
            any(tag in picture.getexif() for tag in _CAMERA),
        )


def read(path: str | os.PathLike[str], slices: Slices | None = None, *, page: int = 0) -> Array:
    """A picture as it is displayed.

    EXIF orientation is applied; CMYK, YCbCr and palettes become RGB; what is transparent becomes
    black; floating-point grey is temperature, and becomes hundredths of a kelvin. Colours of 16
    bits that leave the upper ones empty, and those in floating point, are scaled to fill 16.

    Args:
        path: the file.
        slices: of displayed rows and columns; None for all.
        page: of a TIFF.

    Returns:
        `(rows, columns, channels)`, one channel or three, uint8; or uint16 of 10 to 16 bits.

    Raises:
        DataError: if the file can't be read, isn't a picture, is damaged, or is read whole and
            has more than 150 million pixels.
    """
    path = Path(path)
    if _is_deep_png(path):
        array = _deep_png(path)
        return array if slices is None else np.ascontiguousarray(array[slices])
    if _by_raster(path):
        return _raster(path, slices)
    with opened(path) as picture:
        if page:
            picture.seek(page)
        picture.load()  # a PNG may have its orientation behind its pixels
        orientation = orientation_of(picture)
        if picture.format == "TIFF" and orientation > 1:
            # Pillow turns a TIFF itself when it loads it.
            orientation = 1
        image = picture.transpose(TRANSPOSED[orientation]) if orientation in TRANSPOSED else picture
        array = _plain(image, path)
    return array if slices is None else np.ascontiguousarray(array[slices])


def _plain(image: Any, path: Path) -> Array:
    """`(rows, columns, channels)` of a decoded picture of any of Pillow's modes."""
    mode = image.mode
    if mode == "1":
        return np.asarray(image.convert("L"))[..., None]
    if mode == "F":
        return _raster_pictures.hundredths_of_kelvin(np.asarray(image))[..., None]
    if mode[0] == "I":
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise DataError(
                f"{path}: numbers from 0 to 65,535 were needed. Received: {values.min()} to "
                f"{values.max()}. Export it in 8 or 16 bits."
            )
        return np.ascontiguousarray(values, dtype=np.uint16)[..., None]
    transparent = image.has_transparency_data
    if mode in ("L", "LA", "La"):
        if not transparent:
            return np.asarray(image.convert("L"))[..., None]
        grey = np.asarray(image.convert("LA"))
        return _on_black(grey[..., :1], grey[..., 1:])
    if transparent:
        colours = np.asarray(image.convert("RGBA"))
        return _on_black(colours[..., :3], colours[..., 3:])
    return np.asarray(image.convert("RGB"))


def _on_black(colours: Array, alpha: Array) -> Array:
    opaque = np.iinfo(colours.dtype).max
    scaled = colours.astype(np.uint32) * alpha
    return ((scaled + opaque // 2) // opaque).astype(colours.dtype)


def _pages(picture: Any) -> int:
    """Pages of the size of the first one, as far as they follow it."""
    count, first = int(getattr(picture, "n_frames", 1)), picture.size
    if count == 1:
        return 1
    picture.seek(1)
    alike = picture.size == first
    picture.seek(0)
    return count if alike else 1


# By GDAL, what Pillow would cut to 8 bits or can't open


def _by_raster(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix == ".jp2" or (suffix in TIFFS and _is_tiff(path) and _is_beyond_pillow(path))


def _is_deep_png(path: Path) -> bool:
    """Whether a file is a PNG of colours of 16 bits, which Pillow cuts to 8."""
    return _deep_png_colour(path) in (2, 6)


def _deep_png_colour(path: Path) -> int:
    """The kind of colours of a PNG of 16 bits; -1 of anything else."""
    try:
        with path.open("rb") as file:
            start = file.read(26)
    except OSError:
        return -1
    if len(start) < 26 or start[:8] != b"\x89PNG\r\n\x1a\n" or start[24] != 16:
        return -1
    return start[25]


def _deep_png_header(path: Path) -> Header:
    with opened(path) as picture:
        return Header(picture.size[::-1], orientation_of(picture), 3, "uint16")


def _deep_png(path: Path) -> Array:
    orientation = _deep_png_header(path).orientation
    try:
        with rasterio.open(path.absolute(), driver="PNG") as file:
            if file.width * file.height > LARGEST_PIXELS:
                raise DataError(
                    f"{path}: needs at most {LARGEST_PIXELS // 10**6} million pixels. Received: "
                    f"{file.width}x{file.height}. Reduce or crop it."
                )
            bands = np.moveaxis(file.read(), 0, -1)
    except rasterio.errors.RasterioError as error:
        raise DataError(
            f"{path}: is a damaged or truncated picture. Received: "
            f"{' '.join(str(error).split())[:200]}. Copy or export it again."
        ) from error
    colours = bands[..., :3] if bands.shape[-1] == 3 else _on_black(bands[..., :3], bands[..., 3:])
    step = max(1, int((colours.size / _SAMPLES) ** 0.5))
    white = _deep_colours.white_of(colours[::step, ::step].reshape(-1, 3))
    colours = colours if white is None else _deep_colours.filled(colours, white)
    return _upright(colours, orientation)


def _upright(image: Array, orientation: int) -> Array:
    if orientation in (2, 3, 7, 8):
        image = image[:, ::-1]
    if orientation in (3, 4, 6, 7):
        image = image[::-1]
    return np.ascontiguousarray(image.swapaxes(0, 1) if orientation >= 5 else image)


def _is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    except OSError:
        return False


def _is_beyond_pillow(path: Path) -> bool:
    try:
        with opened(path) as picture:
            height, width = picture.size[::-1]
            if height * width > LARGEST_PIXELS // 4 and orientation_of(picture) == 1:
                return True  # by windows, then
            return bool(picture.mode == "RGB" and max(picture.tag_v2.get(258, (8,))) > 8)
    except DataError:
        return True


def _raster_header(path: Path) -> Header:
    with closing(Raster(path)) as raster:
        chosen = _raster_pictures.layout(raster)
        size = (raster.grid.rows, raster.grid.columns)
        return Header(size, 1, chosen.channels, chosen.dtype.name)


def _raster(path: Path, slices: Slices | None) -> Array:
    with closing(Raster(path)) as raster:
        rows, columns = raster.grid.rows, raster.grid.columns
        if slices is None and rows * columns > LARGEST_PIXELS:
            raise DataError(
                f"{path}: needs at most {LARGEST_PIXELS // 10**6} million pixels to be read "
                f"whole. Received: {columns}x{rows}. Read it by windows."
            )
        chosen = _raster_pictures.layout(raster)
        every = (slice(0, rows), slice(0, columns))
        return _raster_pictures.read(raster, chosen, slices or every)[0]
