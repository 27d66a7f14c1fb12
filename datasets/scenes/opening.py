"""Which kind of scene lies at a path."""

from collections.abc import Sequence
from pathlib import Path

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.scenes import _eopatch, _files, _folders, _landsat, _planet, _sentinel2
from fieldsight.datasets.scenes.scene import Scene

LANDSAT_METADATA = ("_MTL.txt", "_MTL.xml", "_MTL.json")  # beside the bands
SENTINEL2_METADATA = ("MTD_MSIL1C.xml", "MTD_MSIL2A.xml", "manifest.safe")
PLANET_ORDER = "PSScene"  # of an order's folder, where the scene itself lies


def open_scene(path: str | Path, bands: Sequence[str] | None = None) -> Scene:
    """A scene, whatever its form; hardly more than headers is read.

    Args:
        path: a file or a folder.
        bands: of a file, a name for each of its bands in their order; of a folder, those wanted,
            in that order. None takes a file's own names, else Planet's by their number (D-1).

    Raises:
        DatasetNotFoundError: if nothing is there.
        DataError: if it is no scene, is damaged, or its bands can't be named.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path, bands)
    if not path.exists():
        raise DatasetNotFoundError(
            f"{path}: a scene was needed, a file or a folder. Received: no such path. Check the "
            "name."
        )
    return _open_band(path, bands) or _of_metadata(path, bands) or _files.open_file(path, bands)


def _open_band(path: Path, bands: Sequence[str] | None) -> Scene | None:
    """A single band of a product, with its masks and metadata; None if it is something else."""
    if bands is not None:
        return None
    only = path.name
    if band := _landsat.band_of(only):
        return _landsat.open_folder(
            path.absolute().parent, [band], only.split("_SR_")[0].rsplit("_B", 1)[0]
        )
    if band := _sentinel2.band_of(only):
        return _sentinel2.open_folder(path.absolute().parent, [band], only.split("_B")[0])
    return None


def _of_metadata(path: Path, bands: Sequence[str] | None) -> Scene | None:
    """The product whose metadata a file is; None if it is something else."""
    folder = path.absolute().parent
    if path.name.endswith(LANDSAT_METADATA):
        return _landsat.open_folder(folder, bands, path.name.rsplit("_MTL", 1)[0])
    return _open_folder(folder, bands) if path.name in SENTINEL2_METADATA else None


def _open_folder(folder: Path, bands: Sequence[str] | None) -> Scene:
    for kind in (_landsat, _sentinel2):
        scene = kind.open_folder(folder, bands)
        if scene is not None:
            return scene
    if _eopatch.is_patch(folder):
        return _eopatch.open_folder(folder, bands)
    scene = _folders.named_files(folder, bands)
    if scene is not None:
        return scene
    rasters = [path for path in _folders.rasters_in(folder) if not _planet.is_mask(path.name)]
    if len(rasters) == 1:
        return _files.open_file(rasters[0], bands)
    if not rasters and (folder / PLANET_ORDER).is_dir():
        return _open_folder(folder / PLANET_ORDER, bands)
    told = ", ".join(path.name for path in rasters[:8]) or "no raster"
    raise DataError(
        f"{folder}: one scene was needed: Landsat Collection 2, Sentinel-2 SAFE or its band files, "
        "files named for their band (red.tif, nir.tif), or one raster. Received: "
        f"{told}{', ...' * (len(rasters) > 8)}. Name one file, or keep one scene a folder."
    )
