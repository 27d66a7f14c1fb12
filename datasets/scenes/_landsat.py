"""Landsat Collection 2 as USGS delivers it: a file a band, _MTL metadata, QA_PIXEL.

Reference:
    USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide, version 5, tables 6-1 to 6-3,
    and Landsat Collection 2 Level 1 Data Format Control Book, section 3.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes import _facts, _folders
from fieldsight.datasets.scenes._layers import Mask
from fieldsight.datasets.scenes._quality import Quality
from fieldsight.datasets.scenes._rasters import Raster
from fieldsight.datasets.scenes.reflectance import Reflectance
from fieldsight.datasets.scenes.scene import Scene

_TM = {1: "blue", 2: "green", 3: "red", 4: "nir", 5: "swir1", 7: "swir2"}
BANDS: dict[str, dict[int, str]] = {
    "04": _TM,
    "05": _TM,
    "07": {**_TM, 8: "pan"},
    "08": {1: "coastal", 2: "blue", 3: "green", 4: "red", 5: "nir", 6: "swir1", 7: "swir2",
           8: "pan", 9: "cirrus"},
}  # fmt: skip
BANDS["09"] = BANDS["08"]
USUAL = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")

# Collection 2, level 2: reflectance = 0.0000275 x DN - 0.2; DN 0 is fill.
SURFACE = (0.0000275, -0.2)
# Bits of QA_PIXEL.
FILL, DILATED_CLOUD, CIRRUS, CLOUD, SHADOW = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4

_PRODUCT = r"(?P<product>L[COTEM](?P<number>0[45789])_(?P<level>L\w{3})_\d{6}_(?P<date>\d{8}).*?)"
_NAME = re.compile(_PRODUCT + r"(?:_|\.|$)", re.IGNORECASE)
_BAND = re.compile(
    _PRODUCT + r"_(?:SR_)?(?:B(?P<band>\d{1,2})|(?P<qa>QA_PIXEL))\.tiff?$", re.IGNORECASE
)


@dataclass(frozen=True)
class _Product:
    """The files of one product in a folder."""

    name: str
    number: str
    bands: dict[str, Path]
    qa: Path | None
    mtl: Path | None


def is_named(name: str) -> bool:
    """Whether a name is that of a Landsat product or of a file of one."""
    return _NAME.match(name) is not None


def band_of(name: str) -> str | None:
    """The band that a file of a product holds, by its name; None if it holds none."""
    match = _BAND.match(name)
    if match is None or match["band"] is None:
        return None
    return BANDS[match["number"]].get(int(match["band"]))


def open_folder(folder: Path, names: Sequence[str] | None, only: str = "") -> Scene | None:
    """The Landsat scene of a folder; None if there is none.

    Args:
        folder: with the product's files.
        names: of the bands wanted; None takes those of the surface's reflectance.
        only: the beginning of the wanted product's files, where a folder holds several.

    Raises:
        DataError: if it holds several products, or one that can't be used.
    """
    product = _find(folder, only)
    if product is None:
        return None
    files = _folders.chosen(folder, product.bands, names, USUAL)
    grid = _folders.grid_of(list(files.values()))
    quality = _quality(product.qa, grid) if product.qa else None
    return _folders.of_bands(
        files,
        name=product.name,
        sensor="landsat",
        date=_facts.date_in(product.name.split("_", 3)[3]),
        nodata=0,
        rule="any",
        reflectance=_reflectance(product, tuple(files)),
        quality=quality,
        notes=() if product.qa else ("it has no QA_PIXEL file: clouds aren't known",),
    )


def quality_beside(path: Path, grid: Grid) -> Quality:
    """By the QA_PIXEL file beside a file that holds several bands of a product."""
    match = _NAME.match(path.name)
    stem = _facts.stem(path)
    for beside in sorted(path.absolute().parent.glob("*_QA_PIXEL.[tT][iI][fF]")):
        product = beside.name[: -len("_QA_PIXEL.TIF")]
        if match is not None and stem.startswith(product):
            return _quality(beside, grid)
    return Quality()


def reflectance_of_stack(path: Path, raster: Raster, bands: tuple[str, ...]) -> Reflectance | None:
    """Of several bands of a product in one file: by its name, level 2 of Collection 2 alone."""
    if raster.dtypes[0].name != "uint16" or not _is_surface(path.name):
        return None
    scale, offset = SURFACE
    return Reflectance(
        (scale,) * len(bands),
        (offset,) * len(bands),
        "surface",
        "Collection 2 level 2, by its name",
    )


def _find(folder: Path, only: str) -> _Product | None:
    products: dict[str, dict[str, Path]] = {}
    numbers: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        match = _BAND.match(path.name)
        if match is None or not path.is_file() or not path.name.startswith(only):
            continue
        number = match["number"]
        key = "qa" if match["qa"] else BANDS[number].get(int(match["band"]), "")
        if key:
            products.setdefault(match["product"], {})[key] = path
            numbers[match["product"]] = number
    if not products:
        return None
    if len(products) > 1:
        raise DataError(
            f"{folder}: the files of one Landsat product were needed. Received: those of "
            f"{', '.join(products)[:300]}. Put each product into a folder of its own."
        )
    name, found = next(iter(products.items()))
    qa = found.pop("qa", None)
    beside = (folder / f"{name}_MTL{ending}" for ending in (".txt", ".json", ".xml"))
    mtl = next((path for path in beside if path.is_file()), None)
    return _Product(name, numbers[name], found, qa, mtl)


def _is_surface(name: str) -> bool:
    """Level 2 of Collection 2, by its name: LC08_L2SP_224078_20200518_20200820_02_T1."""
    parts = name.upper().split("_")
    return len(parts) > 5 and parts[1] in ("L2SP", "L2SR") and parts[5] == "02"


# Metadata


def _reflectance(product: _Product, bands: tuple[str, ...]) -> Reflectance | None:
    numbers = {name: number for number, name in BANDS[product.number].items()}
    if product.mtl is None:
        if not _is_surface(product.name):
            return None
        scale, offset = SURFACE
        pairs, source = [SURFACE] * len(bands), "Collection 2 level 2, by its name"
        return Reflectance((scale,) * len(pairs), (offset,) * len(pairs), "surface", source)
    groups = metadata(product.mtl)
    surface = groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS")
    if product.name.upper().split("_")[1] in ("L2SP", "L2SR"):
        group, sine = surface, 1.0
    else:
        group = groups.get("LEVEL1_RADIOMETRIC_RESCALING")
        sine = _sine_of_sun(groups, product.mtl)
    if group is None:
        raise DataError(
            f"{product.mtl}: the parameters of reflectance were needed. Received: groups "
            f"{', '.join(groups)[:200]}. Copy the product's metadata again."
        )
    scales: list[float] = []
    offsets: list[float] = []
    for band in bands:
        for key, values in (("MULT", scales), ("ADD", offsets)):
            name = f"REFLECTANCE_{key}_BAND_{numbers[band]}"
            values.append(_facts.number(group.get(name), name, product.mtl) / sine)
    level = "surface" if group is surface else "top of atmosphere"
    return Reflectance(tuple(scales), tuple(offsets), level, product.mtl.name)  # type: ignore[arg-type]


def _sine_of_sun(groups: Mapping[str, Mapping[str, str]], path: Path) -> float:
    text = groups.get("IMAGE_ATTRIBUTES", {}).get("SUN_ELEVATION")
    elevation = _facts.number(text, "SUN_ELEVATION", path)
    if not 0 < elevation <= 90:
        raise DataError(
            f"{path}: a scene by day was needed. Received: SUN_ELEVATION {elevation:g}. Take "
            "another."
        )
    return math.sin(math.radians(elevation))


def metadata(path: Path) -> dict[str, dict[str, str]]:
    """The values of an _MTL file by group: its text, JSON or XML form.

    Raises:
        DataError: if it can't be read.
    """
    if path.suffix.lower() == ".xml":
        root = _facts.xml(path)
        return {
            _facts.plain(group.tag): {_facts.plain(each.tag): each.text or "" for each in group}
            for group in root
        }
    try:
        if path.stat().st_size > _facts.LARGEST_METADATA:
            raise ValueError("more bytes than metadata have")
        text = path.read_text("utf-8")
        if path.suffix.lower() != ".json":
            return dict(_groups(text))
        tree: Any = json.loads(text)
        inner = next(iter(tree.values()))
        return {name: {key: str(value) for key, value in group.items()}
                for name, group in inner.items()}  # fmt: skip
    except (OSError, ValueError, AttributeError, StopIteration, RecursionError) as error:
        raise DataError(
            f"{path}: the product's metadata were needed. Received: "
            f"{(str(error).splitlines() or ['something else'])[0][:120]}. Copy it again."
        ) from error


def _groups(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    name, values = "", dict[str, str]()
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            name, values = value, {}
        elif key == "END_GROUP":
            if values:
                yield name, values
            values = {}
        elif value:
            values[key] = value.strip('"')


# Clouds


def _quality(path: Path, grid: Grid) -> Quality:
    mask = _folders.mask_file(path, grid)

    def has_bits(bits: int) -> Any:
        def read(values: Array) -> Array:
            found: Array = (values[0] & np.asarray(bits, values.dtype)) != 0
            return found

        return read

    clouds = Mask.of_bands(mask, [0], has_bits(DILATED_CLOUD | CIRRUS | CLOUD | SHADOW))
    filled = has_bits(FILL)
    return Quality((Mask.of_bands(mask, [0], lambda values: ~filled(values)),), clouds, (mask,))
