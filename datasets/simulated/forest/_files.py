"""The files of a scene: pictures and masks as Planet's, labels, chips as the competition's."""

import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from affine import Affine
from PIL import Image
from rasterio import features
from rasterio.errors import NotGeoreferencedWarning
from shapely.geometry import shape as shape_of

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.forest._chips import SIDE, Chip
from fieldsight.datasets.simulated.forest._materials import BANDS, CLASSES, COLOURS
from fieldsight.datasets.simulated.forest._picture import CLOUDY, Picture
from fieldsight.datasets.simulated.forest._scene import PIXEL_M, Scene

CRS = "EPSG:32720"  # UTM zone 20 south: Rondonia
_CORNER = (300_000.0, 9_000_000.0)
_ACROSS = 40  # scenes in a row of the grid that they lie in, a gap between them
_TAG = {"FIELDSIGHT_SIMULATED": "1"}
_UDM2 = ("clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "unusable")
# Radiance x 100 that a chip's JPEG shows as black and as white: red, green, blue.
_BLACK, _WHITE = np.array((800, 1900, 3000)), np.array((9000, 10400, 11800))
_GAMMA = 1.6


def write_scene(folder: Path, scene: Scene) -> float:
    """Write both dates' pictures, masks and labels into a folder's `scenes` and `labels`.

    Returns:
        Hectares cleared between the dates.
    """
    for date, when in enumerate(scene.dates):
        stem = f"{scene.name}_{when:%Y%m%d}"
        covered = scene.covered[date]
        picture = scene.pictures[date]
        told = {"TIFFTAG_DATETIME": f"{when:%Y:%m:%d} 14:30:00", **_TAG}
        surface = picture.surface()
        surface[:, ~covered] = 0
        path = folder / "scenes" / f"{stem}_AnalyticMS_SR.tif"
        _write(path, surface, scene, told, nodata=0, names=BANDS)
        mask = _usable(picture, covered)
        _write(path.with_name(f"{stem}_udm2.tif"), mask, scene, told, names=_UDM2)
        _write(
            folder / "labels" / f"{stem}_landcover.tif",
            scene.classes(date)[None],
            scene,
            {"CLASSES": ",".join(CLASSES), **told},
            nodata=0,
            colours=dict(enumerate((*colour, 255) for colour in COLOURS)),
        )
    path = folder / "labels" / f"{scene.name}_clearings.gpkg"
    first, second = (when.isoformat() for when in scene.dates)
    _polygons(path, "clearings", scene.classes(0) == 2, scene, {"date": first})
    dates = {"date": second, "before": first}
    return _polygons(path, "new", scene.new, scene, dates)


def write_chip(folder: Path, name: str, scene: Scene, chip: Chip) -> None:
    """Write a chip's TIFF and JPEG into a folder's `train-tif-v2` and `train-jpg`."""
    where = slice(chip.row, chip.row + SIDE), slice(chip.column, chip.column + SIDE)
    numbers = scene.pictures[chip.date].numbers(where)
    with warnings.catch_warnings():
        # The competition's chips lie nowhere either.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        path = folder / "train-tif-v2" / f"{name}.tif"
        shape: dict[str, Any] = {"width": SIDE, "height": SIDE, "count": 4, "dtype": "uint16"}
        with rasterio.open(path, "w", driver="GTiff", **shape, interleave="pixel") as file:
            file.write(np.moveaxis(numbers, -1, 0))
            file.update_tags(**_TAG)
    part = np.clip((numbers[..., 2::-1] - _BLACK) / (_WHITE - _BLACK), 0, 1)
    seen = Image.fromarray(np.uint8(np.rint(255 * part ** (1 / _GAMMA))))
    seen.save(folder / "train-jpg" / f"{name}.jpg", quality=90, comment="FIELDSIGHT_SIMULATED=1")


def transform(scene: Scene) -> Affine:
    """From columns and rows to metres in `CRS`; scenes don't touch."""
    rows, columns = scene.new.shape
    down, across = divmod(scene.number, _ACROSS)
    step = PIXEL_M * (max(rows, columns) + 100)
    return Affine(PIXEL_M, 0, _CORNER[0] + across * step, 0, -PIXEL_M, _CORNER[1] - down * step)


def _usable(picture: Picture, covered: Array) -> Array:
    """`(8, rows, columns)` uint8: Planet's usable data mask, as good as such masks are.

    Clouds are grown by some pixels, and thin edges and weak shadows are missed.
    """
    cloud = picture.cloud > CLOUDY * 0.7
    shadow = (picture.shadow > 0.4) & ~cloud
    heavy = (picture.haze > 0.7) & ~cloud & ~shadow
    light = (picture.haze > 0.3) & ~heavy & ~cloud & ~shadow
    bands = np.zeros((8, *cloud.shape), np.uint8)
    bands[0] = ~(cloud | shadow | heavy | light)
    for band, mask in zip((2, 3, 4, 5), (shadow, light, heavy, cloud), strict=True):
        bands[band] = mask
    bands[6] = 90
    bands[7] = np.where(covered, 0, 1)
    bands[:7, ~covered] = 0
    return bands


def _write(
    path: Path,
    bands: Array,
    scene: Scene,
    tags: dict[str, str],
    *,
    nodata: int | None = None,
    names: tuple[str, ...] = (),
    colours: dict[int, tuple[int, int, int, int]] | None = None,
) -> None:
    count, rows, columns = bands.shape
    # Pictures are noise to a compressor: a fast one gains a third, a slow one no more.
    packed = {"compress": "deflate", "zlevel": 1}
    if bands.dtype == np.uint16:
        packed["predictor"] = 2
    with rasterio.open(
        path, "w", driver="GTiff", width=columns, height=rows, count=count, dtype=bands.dtype.name,
        crs=CRS, transform=transform(scene), nodata=nodata, tiled=True, blockxsize=256,
        blockysize=256, **packed,
    ) as file:  # fmt: skip
        file.write(bands)
        file.update_tags(**tags)
        for band, name in enumerate(names, 1):
            file.set_band_description(band, name)
        if colours:
            file.write_colormap(1, colours)


def _polygons(path: Path, layer: str, mask: Array, scene: Scene, columns: dict[str, str]) -> float:
    """Write the outlines of a mask's pixels; returns their hectares."""
    found = features.shapes(mask.astype(np.uint8), mask, transform=transform(scene))
    outlines = [shape_of(outline) for outline, _ in found]
    areas = [outline.area / 10_000 for outline in outlines]
    table = {"area_ha": areas, **{key: [value] * len(areas) for key, value in columns.items()}}
    frame = geopandas.GeoDataFrame(table, geometry=outlines, crs=CRS)
    frame.to_file(path, layer=layer, driver="GPKG")
    return float(sum(areas))
