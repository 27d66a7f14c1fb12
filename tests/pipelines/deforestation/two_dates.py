"""A small place at two dates as Planet delivers it, with what was cleared, and mappers of it."""

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas
import keras
import numpy as np
import rasterio
from affine import Affine
from scipy import ndimage
from shapely import box

from fieldsight.pipelines import _models
from fieldsight.pipelines._models import Card
from fieldsight.pipelines.deforestation._mapper import Mapper

SIDE = 160
CLASSES = ["nodata", "forest", "clearing"]
# Reflectance x 10,000: blue, green, red, nir.
FOREST, BARE, PASTURE = (300, 500, 300, 3000), (900, 1200, 1600, 2200), (400, 900, 500, 2900)
SQUARE = 30  # pixels of a side of a clearing: 0.81 ha at 3 m
CLEARED = ((20, 20), (20, 100), (100, 60))


def write_pair(
    folder: Path,
    name: str = "A",
    cloud: tuple[int, int] | None = None,
    *,
    dates: tuple[str, str] = ("20170801", "20180805"),
    moved: tuple[float, float] = (0, 0),
) -> tuple[Path, Path]:
    """A forest with a pasture; three clearings are felled, one of them sown at once.

    Args:
        folder: for scenes and labels, in the simulator's layout.
        name: of the place.
        cloud: row and column of a clearing that a cloud hides at the second date.
        dates: of both.
        moved: rows and columns by which the second date's content lies elsewhere.
    """
    rng = np.random.default_rng(len(name))
    # Crowns, the same at both dates: what co-registration goes by.
    crowns = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE, 1)), (1.5, 1.5, 0))
    crowns = 1 + 0.08 * crowns / crowns.std()
    before = np.empty((SIDE, SIDE, 4))
    before[...] = FOREST
    before[120:150, 110:150] = PASTURE
    after = before.copy()
    for place, (row, column) in enumerate(CLEARED):
        after[row : row + SQUARE, column : column + SQUARE] = PASTURE if place == 2 else BARE
    for sub in ("scenes", "labels"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    grid = {
        "driver": "GTiff", "width": SIDE, "height": SIDE, "crs": "EPSG:32720",
        "transform": Affine(3, 0, 300_000, 0, -3, 9_000_000),
    }  # fmt: skip
    written = []
    for date, picture in zip(dates, (before * crowns, after * crowns), strict=True):
        if date == dates[1] and any(moved):
            lying = ndimage.shift(picture, (*moved, 0), order=3, mode="reflect")
        else:
            lying = picture
        noisy = (lying + rng.normal(scale=20, size=lying.shape)).clip(1).astype(np.uint16)
        path = folder / "scenes" / f"{name}_{date}_AnalyticMS_SR.tif"
        written.append(path)
        with rasterio.open(path, "w", count=4, dtype="uint16", nodata=0, **grid) as file:
            file.write(np.moveaxis(noisy, -1, 0))
            file.update_tags(FIELDSIGHT_SIMULATED="1")
        usable = np.zeros((8, SIDE, SIDE), np.uint8)
        if cloud is not None and date == dates[1]:
            row, column = cloud
            usable[5, row - 5 : row + 35, column - 5 : column + 35] = 1
        usable[0] = 1 - usable[5]
        path = folder / "scenes" / f"{name}_{date}_udm2.tif"
        with rasterio.open(path, "w", count=8, dtype="uint8", **grid) as file:
            file.write(usable)
    squares = [
        box(300_000 + 3 * column, 9_000_000 - 3 * (row + SQUARE),
            300_000 + 3 * (column + SQUARE), 9_000_000 - 3 * row)
        for row, column in CLEARED
    ]  # fmt: skip
    geopandas.GeoDataFrame(
        {"date": [dt.date(2018, 8, 5)] * 3}, geometry=squares, crs="EPSG:32720"
    ).to_file(folder / "labels" / f"{name}_clearings.gpkg", layer="new", driver="GPKG")
    return written[0], written[1]


def mapper(weights: Any, bias: Any) -> Mapper:
    """A mapper of one layer: logits of forest and clearing from reflectances."""
    inputs = keras.Input((None, None, 4))
    layer = keras.layers.Conv2D(2, 1)
    network = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.asarray(weights, float).reshape(1, 1, 4, 2), np.asarray(bias, float)])
    facts = {
        "bands": ["blue", "green", "red", "nir"], "units": "reflectance", "output": "logits",
        "classes": CLASSES, "ground_sampling_distance_m": 3.0, "window": 64, "stride": 1,
    }  # fmt: skip
    return Mapper(network, facts, {}, 1.0)


def seeing() -> Mapper:
    """Knows that forest is dark in green: 0.05 against 0.09 and 0.12 of whatever was cleared."""
    return mapper([[0, 0], [-400, 400], [0, 0], [0, 0]], [28, -28])


def save(path: Path, made: Mapper, *, simulated: bool = True, **facts: Any) -> Path:
    """The mapper as `train` would leave it."""
    card = Card(
        name="fieldsight-deforestation-map-test", application="deforestation-map",
        architecture="a test's", data="simulated-quick" if simulated else "rondonia",
        simulated=simulated, data_fingerprint="", split_fingerprint="", intended_use="tests",
        limits="", facts={**made.facts, **facts},
    )  # fmt: skip
    _models.save_model(made.network, path, card)
    return path
