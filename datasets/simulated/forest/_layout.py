"""A folder of simulated scenes and chips, as Planet and Kaggle lay theirs out."""

import os
from collections.abc import Callable

from fieldsight.datasets.simulated.forest._materials import Detail, Setting

MANIFEST = "SIMULATED.json"


def write(
    folder: str | os.PathLike[str],
    seed: int = 0,
    *,
    scenes: int,
    detail: Detail = "quick",
    setting: Setting = "default",
    first: int = 0,
    progress: Callable[[int, int], None] | None = None,
    processes: int = 1,
) -> None:
    """Write scenes `first` to `first + scenes - 1`: two dates each, labels, and tagged chips.

    `SIMULATED.json`; `scenes/<scene>_<YYYYMMDD>_AnalyticMS_SR.tif` (4 bands uint16, reflectance
    x 10,000, 3 m, nodata 0) with `..._udm2.tif`; `labels/<scene>_<YYYYMMDD>_landcover.tif`
    (`CLASSES` by value) and `labels/<scene>_clearings.gpkg` (layers `clearings`, `new`); Kaggle's
    `train_v2.csv`, `train-tif-v2/train_<k>.tif` (256 x 256 x 4 uint16, no CRS), `train-jpg/`;
    `chips.csv` (image_name, scene, date, row, column).

    Raises:
        DataError: if the folder holds anything else, or a number is out of range.
        OSError: if it can't be written.
    """
    raise NotImplementedError
