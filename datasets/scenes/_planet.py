"""Planet's deliveries: what their names say, metadata and UDM2 beside them.

Reference:
    Planet, Imagery Product Specifications, 2023: bands and names of PSScene's assets, section
    "PlanetScope"; UDM2's eight bands, section "Usable Data Mask".
"""

import datetime as dt
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes import _facts
from fieldsight.datasets.scenes._layers import Mask
from fieldsight.datasets.scenes._quality import Quality
from fieldsight.datasets.scenes._rasters import Raster, Slices
from fieldsight.datasets.scenes._resampling import brought
from fieldsight.datasets.scenes.reflectance import Reflectance

SURFACE_SCALE = 1e-4
# UDM2's bands from 0. Light haze (3) is left in: the ground is seen through it.
SHADOW, HEAVY_HAZE, CLOUD, UNUSABLE = 2, 4, 5, 7

_ASSET = re.compile(r"_?(ortho_)?(basic_?)?(analytic|visual)", re.IGNORECASE)
_MASK = re.compile(r"udm2?(?=[_.])", re.IGNORECASE)


def is_named(name: str, tags: Mapping[str, str]) -> bool:
    """Whether a file is Planet's by its name or tags."""
    return bool(_ASSET.search(name)) or "planet" in tags.get("TIFFTAG_SOFTWARE", "").lower()


def is_mask(name: str) -> bool:
    """Whether a file is a mask of usable data by its name."""
    return bool(_MASK.search(name))


def date(tags: Mapping[str, str]) -> dt.date | None:
    """The day of acquisition by a file's tags."""
    return _facts.date_in(tags.get("TIFFTAG_DATETIME", "").replace(":", "-"))


def reflectance(path: Path, raster: Raster, bands: tuple[str, ...]) -> Reflectance | None:
    """By the name (_SR is surface reflectance x 10,000), else by the metadata's coefficients.

    Raises:
        DataError: if the metadata can't be read.
    """
    if raster.dtypes[0].name != "uint16":
        return None  # pictures to look at
    told = raster.tags.get("TIFFTAG_IMAGEDESCRIPTION", "")
    if re.search(r"_SR(?=[_.])", path.name, re.IGNORECASE) or "atmospheric_correction" in told:
        scale = (SURFACE_SCALE,) * len(bands)
        return Reflectance(scale, (0.0,) * len(bands), "surface", "Planet's surface reflectance")
    beside = [each for each in _beside(path) if each.name.lower().endswith(".xml")]
    beside = [each for each in beside if "metadata" in each.name.lower()]
    if not beside:
        return None
    scale = _coefficients(beside[0], len(bands))
    source = f"{beside[0].name}'s reflectance coefficients"
    return Reflectance(scale, (0.0,) * len(bands), "top of atmosphere", source)


def quality(path: Path, grid: Grid) -> Quality:
    """By the UDM2 beside a scene; empty if there is none.

    Raises:
        DataError: if it can't be read, isn't one, or lies elsewhere.
    """
    beside = [
        each
        for each in _beside(path)
        if "udm2" in each.name.lower() and each.suffix.lower() in (".tif", ".tiff")
    ]
    if not beside:
        return Quality()
    raster = Raster(beside[0])
    if raster.count != 8:
        raster.close()
        raise DataError(
            f"{beside[0]}: a UDM2 of 8 bands was needed. Received: {raster.count}. Download it "
            "again, or take it away: without it, clouds aren't masked."
        )
    try:
        mask = brought(raster, grid, "nearest")
    except DataError:
        raster.close()
        raise

    def usable(values: Array) -> Array:
        blackfill: Array = (values[0].astype(np.uint8) & 1) == 0
        return blackfill

    def clouded(slices: Slices) -> Array:
        found: Array = (mask.read([SHADOW, HEAVY_HAZE, CLOUD], slices) == 1).any(axis=0)
        return found

    return Quality((Mask.of_bands(mask, [UNUSABLE], usable),), Mask(clouded), (mask,))


def _beside(path: Path) -> list[Path]:
    """Files of the same scene in the same folder, by the part of their names before the asset."""
    match = _ASSET.search(path.name)
    if match is None:
        return []
    scene = path.name[: match.start()]
    same = [
        each
        for each in sorted(path.absolute().parent.iterdir())
        if each.name.startswith(scene) and each.name != path.name and each.is_file()
    ]
    # Of scenes whose names begin alike: what follows must be an asset's name, not the rest of one.
    rest = re.compile(r"_?(3[AB]_)?(ortho_|basic_?|analytic|udm|metadata)", re.IGNORECASE)
    return [each for each in same if rest.match(each.name[len(scene) :])]


def _coefficients(path: Path, count: int) -> tuple[float, ...]:
    found: dict[int, float] = {}
    for band in _facts.every(_facts.xml(path), "bandSpecificMetadata"):
        told = {_facts.plain(each.tag): each.text for each in band}
        place = _facts.number(told.get("bandNumber"), "bandNumber", path)
        value = told.get("reflectanceCoefficient")
        found[int(place)] = _facts.number(value, "reflectanceCoefficient", path)
    if sorted(found) != list(range(1, count + 1)):
        raise DataError(
            f"{path}: a reflectance coefficient for each of {count} bands was needed. Received: "
            f"those of {sorted(found)}. Take the metadata of this file."
        )
    return tuple(found[place] for place in range(1, count + 1))
