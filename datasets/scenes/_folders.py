"""A scene of several files, a band each: brought to the finest one's grid."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.scenes import _facts
from fieldsight.datasets.scenes._layers import Layer, Rule, rule_of
from fieldsight.datasets.scenes._quality import Quality
from fieldsight.datasets.scenes._rasters import Pixels, Raster
from fieldsight.datasets.scenes._resampling import brought
from fieldsight.datasets.scenes.bands import normal
from fieldsight.datasets.scenes.reflectance import Reflectance
from fieldsight.datasets.scenes.scene import Scene, Sensor


def chosen(
    where: Path, found: Mapping[str, Path], names: Sequence[str] | None, usual: Sequence[str]
) -> dict[str, Path]:
    """The files of the bands that are wanted, in their order.

    Args:
        where: the folder, for messages.
        found: every band's file.
        names: of those wanted; None takes the usual ones that are there.
        usual: in order.

    Raises:
        DataError: if one isn't there, or none is.
    """
    wanted = [normal(name) for name in names] if names is not None else []
    if names is None:
        wanted = [name for name in usual if name in found]
    missing = [name for name in wanted if name not in found]
    if missing or not wanted or len(set(wanted)) < len(wanted):
        raise DataError(
            f"{where}: files of the bands {','.join(wanted or usual)[:200]}, each once, were "
            f"needed. Received: {','.join(found)[:300] or 'none'}. Copy the missing ones there, or "
            "name others by --bands."
        )
    return {name: found[name] for name in wanted}


def of_bands(
    files: Mapping[str, Path],
    *,
    name: str,
    sensor: Sensor = "",
    date: dt.date | None = None,
    nodata: float | None = None,
    rule: Rule | None = None,
    reflectance: Reflectance | None = None,
    quality: Quality | None = None,
    notes: Sequence[str] = (),
) -> Scene:
    """A scene of one file a band, all on the grid of the finest of them.

    Coarser bands are brought to it bilinearly.

    Args:
        files: by the band's name, in order.
        name: of the scene.
        sensor: of the scene.
        date: of acquisition.
        nodata: of the product, for files that declare none.
        rule: whether all bands or any make nodata; None by what is declared.
        reflectance: by the product's metadata.
        quality: made for the grid that `finest` tells.
        notes: to go with it.

    Raises:
        DataError: if a file can't be used, has several bands, or lies elsewhere.
    """
    rasters: list[Raster] = []
    told = list(notes)
    try:
        rasters += [Raster(path) for path in files.values()]
        grid = finest(rasters)
        layers = []
        for band, raster in zip(files, rasters, strict=True):
            if raster.count != 1 or raster.dtypes[0].kind not in "iuf":
                raise DataError(
                    f"{raster.path}: one band of numbers was needed. Received: {raster.count} of "
                    f"{raster.dtypes[0]}. Give a file a band."
                )
            own = nodata if raster.nodata[0] is None else raster.nodata[0]
            pixels = brought(raster, grid, "bilinear", own)
            if pixels is not raster:
                told.append(f"{band} was brought from {_side(raster.grid)} to {_side(grid)}")
            layers.append(Layer(pixels, 0, raster.dtypes[0], own))
    except BaseException:
        for raster in rasters:
            raster.close()
        raise
    quality = quality or Quality()
    return Scene(
        name=name,
        bands=tuple(files),
        grid=grid,
        sensor=sensor,
        date=date,
        simulated=any(_facts.is_simulated(raster.path, [raster.tags]) for raster in rasters),
        notes=tuple(told),
        reflectance=reflectance,
        _layers=tuple(layers),
        _every=tuple(layers),
        _rule=rule or rule_of(layers),
        _masks=quality.masks,
        _clouds=quality.clouds,
        _files=quality.files,
    )


def finest(rasters: Sequence[Raster]) -> Grid:
    """The grid with the smallest pixels."""
    return min(rasters, key=lambda raster: abs(raster.grid.transform.determinant)).grid


def grid_of(files: Sequence[Path]) -> Grid:
    """The grid with the smallest pixels of these files.

    Raises:
        DataError: if one can't be opened.
    """
    rasters = [Raster(path) for path in files]
    for raster in rasters:
        raster.close()
    return finest(rasters)


def mask_file(path: Path, grid: Grid) -> Pixels:
    """A product's quality file brought to a grid.

    Raises:
        DataError: if it can't be used.
    """
    raster = Raster(path)
    try:
        if raster.count != 1 or raster.dtypes[0].kind not in "iu":
            raise DataError(
                f"{path}: a quality file of one band of whole numbers was needed. Received: "
                f"{raster.count} of {raster.dtypes[0]}. Copy it again."
            )
        return brought(raster, grid, "nearest")
    except BaseException:
        raster.close()
        raise


def named_files(folder: Path, names: Sequence[str] | None) -> Scene | None:
    """A folder of files named for their band, as red.tif or site_20200518_red.tif; None if none.

    Raises:
        DataError: if it holds several scenes, or a wanted band isn't there.
    """
    from fieldsight.datasets.scenes.bands import KNOWN

    found: dict[str, dict[str, Path]] = {}
    for path in rasters_in(folder):
        whole = _facts.stem(path)
        for length in (3, 2, 1):
            words = whole.replace("-", "_").replace(" ", "_").split("_")
            band = normal("_".join(words[-length:]))
            if len(words) >= length and band in KNOWN:
                found.setdefault("_".join(words[:-length]), {}).setdefault(band, path)
                break
    if not found:
        return None
    if len(found) > 1:
        raise DataError(
            f"{folder}: the bands of one scene were needed. Received: those of "
            f"{', '.join(sorted(found))[:200]}. Put each scene into a folder of its own."
        )
    scene, bands = next(iter(found.items()))
    files = chosen(folder, bands, names, KNOWN)
    return of_bands(files, name=scene or folder.name, date=_facts.date_in(scene or folder.name))


def rasters_in(folder: Path) -> list[Path]:
    """Files with a raster's ending, by name; nothing hidden, and no folder."""
    endings = (".tif", ".tiff", ".jp2", ".vrt")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in endings and not path.name.startswith(".") and path.is_file()
    )


def _side(grid: Grid) -> str:
    t = grid.transform
    return f"{(t.a**2 + t.d**2) ** 0.5:g}"
