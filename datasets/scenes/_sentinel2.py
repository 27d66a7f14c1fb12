"""Sentinel-2 as ESA delivers it: a SAFE folder, or some of its band files.

Reference:
    ESA, Sentinel-2 Products Specification Document, issue 15.0, 2024: MTD_MSIL2A.xml with
    BOA_QUANTIFICATION_VALUE and, from processing baseline 04.00 on, BOA_ADD_OFFSET; the classes of
    the scene classification (SCL).
"""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes import _facts, _folders
from fieldsight.datasets.scenes._layers import Mask
from fieldsight.datasets.scenes._quality import Quality
from fieldsight.datasets.scenes.reflectance import Level, Reflectance
from fieldsight.datasets.scenes.scene import Scene

BANDS = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "red_edge",
    "B06": "red_edge_2", "B07": "red_edge_3", "B08": "nir", "B8A": "nir_narrow",
    "B09": "water_vapour", "B10": "cirrus", "B11": "swir1", "B12": "swir2",
}  # fmt: skip
USUAL = (  # those of 10 and 20 m
    "blue", "green", "red", "red_edge", "red_edge_2", "red_edge_3", "nir", "nir_narrow", "swir1",
    "swir2",
)  # fmt: skip
# The order of band_id in the metadata.
_IDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")

SCL_NODATA = 0
SCL_CLOUDS = (3, 8, 9, 10)  # shadow of cloud; cloud of medium, of high probability; thin cirrus
OFFSET_SINCE = 4.0  # processing baseline, in use from 25 January 2022
OFFSET_SINCE_DATE = dt.date(2022, 1, 25)
QUANTIFICATION, OFFSET = 10_000.0, -1000.0

_BAND = re.compile(
    r"(?P<product>(?:.*?[_\-])?)(?P<band>B0[1-9]|B1[0-2]|B8A|SCL)"
    r"(?:_(?P<side>10|20|60)m)?(?:_\(Raw\))?\.(?P<ending>jp2|tiff?)$",
    re.IGNORECASE,
)
_TILE = re.compile(r"(?:^|_)T\d{2}[A-Z]{3}_(\d{8})T\d{6}", re.IGNORECASE)
_MISSION = re.compile(r"S2[ABCD]_MSIL[12][AC]_(\d{8})T\d{6}(?:_N(\d{2})(\d{2}))?", re.IGNORECASE)
_METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")


@dataclass(frozen=True)
class _Bands:
    """A product's files by band, the finest of each, and its classification."""

    files: dict[str, Path]
    scl: Path | None


def is_named(name: str) -> bool:
    """Whether a name is that of a product or of a file of one."""
    return bool(_TILE.search(name) or _MISSION.search(name))


def band_of(name: str) -> str | None:
    """The band that a file of a product holds, by its name; None if it holds none."""
    match = _BAND.match(name)
    return BANDS.get(match["band"].upper()) if match and is_named(name) else None


def open_folder(folder: Path, names: Sequence[str] | None, only: str = "") -> Scene | None:
    """The Sentinel-2 scene of a folder, SAFE or loose band files; None if there is none.

    Where the files lie is looked for, not read from the metadata, which come from outside.

    Args:
        folder: a .SAFE folder, one that holds it, or one of band files.
        names: of the bands wanted; None takes those of 10 and 20 m.
        only: the beginning of the wanted product's files, where a folder holds several.

    Raises:
        DataError: if it holds several products, or one that can't be used.
    """
    root = _safe(folder)
    paths = _images(root) if root is not None else _folders.rasters_in(folder)
    found = _bands(folder, [path for path in paths if path.name.startswith(only)])
    if found is None:
        if root is not None:
            raise DataError(
                f"{folder}: the band files of the product were needed. Received: metadata without "
                "GRANULE/*/IMG_DATA. Unpack all of it."
            )
        return None
    files = _folders.chosen(folder, found.files, names, USUAL)
    metadata = _metadata(folder, root)
    title = _title(folder, root, files)
    notes: list[str] = []
    reflectance = _reflectance(metadata, title, files, notes)
    quality = None
    if found.scl is not None:
        quality = _quality(found.scl, _folders.grid_of(list(files.values())))
    else:
        notes.append("it has no SCL file: clouds aren't known")
    mission = _MISSION.search(title)
    tile = next((match for path in files.values() if (match := _TILE.search(path.name))), None)
    date = (mission or tile) and _facts.date_in((mission or tile)[1])  # type: ignore[index]
    return _folders.of_bands(
        files,
        name=_facts.stem(Path(title)),
        sensor="sentinel2",
        date=date or _facts.date_in(title),
        nodata=0,
        rule="any",
        reflectance=reflectance,
        quality=quality,
        notes=notes,
    )


# Files


def _safe(folder: Path) -> Path | None:
    """The folder of the product: this one, or the only .SAFE in it."""
    if any((folder / name).is_file() for name in _METADATA) or (folder / "GRANULE").is_dir():
        return folder
    inside = [each for each in sorted(folder.iterdir())
              if each.name.upper().endswith(".SAFE") and each.is_dir()]  # fmt: skip
    if len(inside) > 1:
        raise DataError(
            f"{folder}: one Sentinel-2 product was needed. Received: "
            f"{', '.join(each.name for each in inside)[:300]}. Name one of them."
        )
    return inside[0] if inside else None


def _images(root: Path) -> list[Path]:
    granules = [each for each in sorted((root / "GRANULE").glob("*")) if each.is_dir()]
    if len(granules) > 1:
        raise DataError(
            f"{root}: a product of one granule was needed. Received: {len(granules)}. Name one "
            "granule's IMG_DATA folder."
        )
    images = granules[0] / "IMG_DATA" if granules else root
    folders = [images, *(images / side for side in ("R10m", "R20m", "R60m"))]
    return [path for each in folders if each.is_dir() for path in _folders.rasters_in(each)]


def _bands(folder: Path, paths: Iterable[Path]) -> _Bands | None:
    best: dict[str, tuple[int, Path]] = {}
    products: set[str] = set()
    for path in paths:
        match = _BAND.match(path.name)
        if match is None:
            continue
        products.add(match["product"])
        side = int(match["side"] or 0)
        band = match["band"].upper()
        if band not in best or side < best[band][0]:
            best[band] = (side, path)
    if len(products) > 1:
        raise DataError(
            f"{folder}: the band files of one Sentinel-2 product were needed. Received: those of "
            f"{', '.join(sorted(products))[:300]}. Put each product into a folder of its own."
        )
    scl = best.pop("SCL", None)
    files = {BANDS[band]: best[band][1] for band in _IDS if band in best}
    return _Bands(files, scl and scl[1]) if files else None


def _metadata(folder: Path, root: Path | None) -> Path | None:
    """The product's metadata: in its folder, beside loose files, or above them in their SAFE."""
    places = [folder] if root is None else [root]
    above = list(folder.absolute().parents)[:4]
    places += [each for each in above if each.name.upper().endswith(".SAFE")]
    found = (place / name for place in places for name in _METADATA)
    return next((path for path in found if path.is_file()), None)


def _title(folder: Path, root: Path | None, files: dict[str, Path]) -> str:
    """The name of the product, as far as it is told."""
    candidates = [root.name] if root is not None else []
    candidates += [each.name for each in (folder.absolute(), *list(folder.absolute().parents)[:4])]
    named = next((name for name in candidates if _MISSION.search(name)), "")
    if named:
        return named
    first = _BAND.match(next(iter(files.values())).name)
    return (first and first["product"].strip("_-")) or folder.absolute().name


# Metadata


def _reflectance(
    metadata: Path | None, title: str, files: dict[str, Path], notes: list[str]
) -> Reflectance | None:
    if metadata is not None:
        return _by_metadata(metadata, files)
    mission = _MISSION.search(title)
    if mission is not None and mission[2]:
        baseline = float(f"{mission[2]}.{mission[3]}")
        level: Level = "surface" if "MSIL2A" in title.upper() else "top of atmosphere"
        offset = OFFSET if baseline >= OFFSET_SINCE else 0.0
        source = f"processing baseline {baseline:05.2f}, by its name"
        return _alike(len(files), QUANTIFICATION, offset, level, source)
    first = next(iter(files.values()))
    tile = _TILE.search(first.name)
    day = tile and _facts.date_in(tile[1])
    if day and day >= OFFSET_SINCE_DATE and first.suffix.lower() == ".jp2":
        # ESA's own files under ESA's own name: none of that day has an earlier baseline. Whoever
        # converted them to TIFF may have taken the offset off.
        level = "surface" if re.search(r"_\d\dm\.jp2$", first.name) else "top of atmosphere"
        source = "a processing baseline from 04.00 on, by its date"
        return _alike(len(files), QUANTIFICATION, OFFSET, level, source)
    notes.append(
        "its processing baseline isn't known, so nor is its reflectance: put MTD_MSIL2A.xml beside "
        "the band files"
    )
    return None


def _by_metadata(path: Path, files: dict[str, Path]) -> Reflectance:
    root = _facts.xml(path)
    level: Level = "surface" if path.name == "MTD_MSIL2A.xml" else "top of atmosphere"
    quantification = _first(
        root,
        ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "L1C_L2A_Quantification_Value")
        if level == "surface"
        else ("QUANTIFICATION_VALUE",),
        path,
    )
    baseline = _first(root, ("PROCESSING_BASELINE",), path)
    element = "BOA_ADD_OFFSET" if level == "surface" else "RADIO_ADD_OFFSET"
    told: dict[str, float] = {}
    for each in _facts.every(root, element):
        number = int(_facts.number(each.get("band_id"), "band_id", path))
        if 0 <= number < len(_IDS):
            told[BANDS[_IDS[number]]] = _facts.number(each.text, element, path)
    usual = OFFSET if baseline >= OFFSET_SINCE else 0.0
    offsets = [told.get(band, usual) for band in files]
    if quantification <= 0:
        raise DataError(
            f"{path}: a quantification above 0 was needed. Received: {quantification:g}. Copy the "
            "product again."
        )
    return Reflectance(
        (1 / quantification,) * len(files),
        tuple(offset / quantification for offset in offsets),
        level,
        f"{path.name}, processing baseline {baseline:05.2f}",
    )


def _first(root: Element, names: Sequence[str], path: Path) -> float:
    for name in names:
        for element in _facts.every(root, name):
            return _facts.number(element.text, name, path)
    raise DataError(
        f"{path}: {names[0]} was needed. Received: metadata without it. Copy the product again."
    )


def _alike(
    count: int, quantification: float, offset: float, level: Level, source: str
) -> Reflectance:
    return Reflectance(
        (1 / quantification,) * count, (offset / quantification,) * count, level, source
    )


# Clouds


def _quality(path: Path, grid: Grid) -> Quality:
    mask = _folders.mask_file(path, grid)
    clouds = Mask.of_bands(mask, [0], _is_cloud)
    return Quality((Mask.of_bands(mask, [0], _is_seen),), clouds, (mask,))


def _is_cloud(values: Array) -> Array:
    return np.isin(values[0], SCL_CLOUDS)


def _is_seen(values: Array) -> Array:
    found: Array = values[0] != SCL_NODATA
    return found
