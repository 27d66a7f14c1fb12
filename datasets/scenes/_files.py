"""A scene in one file: GeoTIFF, COG, VRT, JPEG 2000."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array
from fieldsight.datasets.scenes import _facts, _landsat, _planet, _sentinel2
from fieldsight.datasets.scenes._layers import Layer, Mask, rule_of
from fieldsight.datasets.scenes._quality import Quality
from fieldsight.datasets.scenes._rasters import Raster
from fieldsight.datasets.scenes.bands import PLANET, checked, is_unnamed, normal
from fieldsight.datasets.scenes.reflectance import Reflectance
from fieldsight.datasets.scenes.scene import Scene, Sensor

KINDS = "iuf"
# What is written where there are no data, and is no measurement: products', and C's least numbers.
FILLS = (-9999.0, -32768.0, float(np.finfo(np.float32).min))
LOOKED = 32  # pixels of a place's side


def open_file(path: Path, names: Sequence[str] | None) -> Scene:
    """A scene in one file.

    Args:
        path: the file.
        names: one a band in the file's order; None takes the file's own, else Planet's (D-1).

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it can't be used, or its bands can't be named.
    """
    raster = Raster(path)
    try:
        return _scene(path, raster, names)
    except BaseException:
        raster.close()
        raise


def _scene(path: Path, raster: Raster, names: Sequence[str] | None) -> Scene:
    sensor = _sensor(path, raster)
    notes: list[str] = []
    indices, bands = _named(path, raster, names, sensor, notes)
    if any(raster.dtypes[index].kind not in KINDS for index in indices):
        raise DataError(
            f"{path}: whole or floating-point numbers were needed. Received: "
            f"{', '.join(sorted({str(dtype) for dtype in raster.dtypes}))}. Convert them."
        )
    alpha = [n for n in range(raster.count) if raster.colours[n] == "alpha" and n not in indices]
    masks = [Mask.of_bands(raster, alpha, _is_opaque)] if alpha else []
    if raster.has_mask:
        masks.append(Mask.of_file(raster))
    if raster.grid.crs is None and raster.has_control_points:
        notes.append("it has ground control points and no CRS: gdalwarp makes a map of it")
    fill = None if masks else _fill(raster, indices)
    if fill is not None:
        notes.append(
            f"no nodata value is declared, and some pixels are {fill:g} in every band: taken for "
            f"it. gdal_edit.py -a_nodata {fill:g} FILE declares it"
        )
    layers = tuple(
        Layer(raster, index, raster.dtypes[index], _nodata(raster, index, sensor, fill))
        for index in indices
    )
    quality = _quality(path, raster, sensor)
    return Scene(
        name=_facts.stem(path),
        bands=bands,
        grid=raster.grid,
        sensor=sensor,
        date=_facts.date_in(path.name)
        or (_planet.date(raster.tags) if sensor == "planet" else None),
        simulated=_facts.is_simulated(path, [raster.tags]),
        notes=tuple(notes),
        reflectance=_reflectance(path, raster, sensor, bands),
        _layers=layers,
        _every=layers,
        _rule="any" if sensor in ("landsat", "sentinel2") else rule_of(layers),
        _masks=(*masks, *quality.masks),
        _clouds=quality.clouds,
        _files=quality.files,
    )


def _nodata(raster: Raster, index: int, sensor: Sensor, fill: float | None) -> float | None:
    """As declared; of products that never measure 0, that, though the file declares nothing."""
    if raster.nodata[index] is not None:
        return raster.nodata[index]
    never = sensor in ("landsat", "sentinel2") and raster.dtypes[index].name == "uint16"
    return 0.0 if never else fill


def _fill(raster: Raster, indices: Sequence[int]) -> float | None:
    """The usual number for no data that some pixels have, though nothing is declared; or None.

    Looked for in nine small places, the corners among them: there what is missing lies.
    """
    signed = all(raster.dtypes[index].kind in "if" for index in indices)
    if not signed or any(raster.nodata[index] is not None for index in indices):
        return None
    rows, columns = (
        [slice(start, min(start + LOOKED, side)) for start in (0, side // 2, max(0, side - LOOKED))]
        for side in (raster.grid.rows, raster.grid.columns)
    )
    for place in itertools.product(rows, columns):
        values = raster.read(indices, place)
        for fill in FILLS:
            if (values == fill).all(axis=0).any():
                return fill
    return None


def _is_opaque(values: Array) -> Array:
    found: Array = np.all(values > 0, axis=0)
    return found


def _sensor(path: Path, raster: Raster) -> Sensor:
    if _landsat.is_named(path.name):
        return "landsat"
    if _sentinel2.is_named(path.name):
        return "sentinel2"
    return "planet" if _planet.is_named(path.name, raster.tags) else ""


def _named(
    path: Path, raster: Raster, names: Sequence[str] | None, sensor: Sensor, notes: list[str]
) -> tuple[list[int], tuple[str, ...]]:
    """The bands that are measurements, by number from 0, and their names."""
    every = list(range(raster.count))
    colours = raster.colours
    alone = [n for n in every if colours[n] != "alpha"]
    own = [normal(text) for text in raster.descriptions]
    if names is not None:
        # Whoever names as many bands as the file has means alpha too: GDAL takes the fourth of
        # four uint8 bands for alpha whatever it is.
        chosen = every if len(names) == raster.count else alone
        if len(names) != len(chosen):
            raise DataError(
                f"{path}: --bands must name {len(alone)} bands in the file's order. Received: "
                f"{len(names)}, {','.join(names)[:200]}. Name every band; what a model doesn't "
                "use is left out."
            )
        return chosen, checked(names, also=own)
    analytic = sensor == "planet" and raster.dtypes[0].name == "uint16" and raster.count in PLANET
    if analytic:
        alone = every  # they have no alpha, whatever their colours say
    described = [own[n] for n in alone]
    if all(described) and not all(is_unnamed(name) for name in described):
        if len(set(described)) == len(described):
            if sensor == "sentinel2":
                described = [_sentinel2.BANDS.get(name.upper(), name) for name in described]
            return alone, tuple(described)
        notes.append("its bands' descriptions are not one a band, and were passed over")
    if analytic:
        return alone, PLANET[raster.count]
    colourful = [normal(colours[n]) for n in alone]
    unset = ("undefined", "gray", "palette")
    if not any(name in unset for name in colourful) and len(set(colourful)) == len(colourful):
        return alone, tuple(colourful)
    coloured = any(name not in unset for name in colourful)
    if sensor in ("planet", "") and len(alone) in PLANET and not coloured:
        order = PLANET[len(alone)]
        notes.append(f"its bands have no names: taken for Planet's order, {', '.join(order)}")
        return alone, order
    raise DataError(
        f"{path}: names of its bands were needed. Received: {len(alone)} "
        f"band{'s' * (len(alone) != 1)} ({', '.join(colourful)[:100]}; {raster.dtypes[0]}) without "
        "names that are known. Name them in the file's order, for example --bands "
        f"{','.join(_example(len(alone), colourful, sensor))}."
    )


def _example(count: int, colourful: Sequence[str], sensor: Sensor) -> tuple[str, ...]:
    if count == 4 and list(colourful[:3]) == ["red", "green", "blue"]:
        return "red", "green", "blue", "nir"
    if sensor == "landsat" and count <= 3:
        return ("blue", "green", "red")[:count]
    if count in PLANET and sensor == "":
        return PLANET[count]
    many = ("blue", "green", "red", "nir", "swir1", "swir2", "thermal")
    return many[:count] if count <= len(many) else ("band_1", "band_2", "...")


def _reflectance(
    path: Path, raster: Raster, sensor: Sensor, bands: tuple[str, ...]
) -> Reflectance | None:
    if sensor == "planet":
        return _planet.reflectance(path, raster, bands)
    if sensor == "landsat":
        return _landsat.reflectance_of_stack(path, raster, bands)
    return None


def _quality(path: Path, raster: Raster, sensor: Sensor) -> Quality:
    if sensor == "planet":
        return _planet.quality(path, raster.grid)
    if sensor == "landsat":
        return _landsat.quality_beside(path, raster.grid)
    return Quality()
