"""Tag satellite chips, map forest and clearings, count hectares, find what was cleared since.

`make deforestation` simulates scenes, trains on them and scores others, in some minutes;
`fieldsight deforestation train --data DIR` trains on the chips of Planet's Amazon competition,
`learn` on a scene and labels of yours. What is measured stands in docs/measurements.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

# Here and not where they are used: help must be instant, and those modules import rasterio.
Detail = Literal["quick", "full"]
Setting = Literal["default", "other"]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
Backbone = Literal["small", "resnet20", "resnet18", "resnet34", "resnet50", "vgg16", "inception_v3"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Train the tagger of chips and the mapper of scenes; score test blocks once; map a scene.

    Without --data, scenes are simulated, written as GeoTIFFs in Planet's layouts and read back:
    the figures are then of simulated forest. With --data, chips in the competition's layout train
    the tagger; `learn` trains a mapper. The run is tracked, and the models registered.
    """

    data: Path | None = None
    """A folder with train_v2.csv and train-tif-v2/ or train-jpg/; left out: simulated."""
    product: Literal["tif", "jpg"] = "tif"
    """Which chips of --data: JPEG and TIFF are different products, and so are their models."""
    bands: str | None = None
    """Names of the chips' bands in file order, as blue,green,red,nir; left out: by their count."""
    backbone: Backbone = "small"
    """Of the tagger. Simulated chips are learned well enough by the small one."""
    weights: Path | Literal["none", "imagenet"] = "none"
    """The backbone's first weights: published ones, fetched (imagenet) or from a .h5 file."""
    full: bool = False
    """Full detail, more scenes, a long training; left out: some minutes."""
    scenes: int | None = None
    """Scenes to simulate; left out: as many as it needs."""
    chips: int | None = None
    """Chips of --data to use; left out: all."""
    cache: Path | None = None
    """What `prepare` filled, of --data; chips and scenes that aren't in it yet are kept there."""
    epochs: float = 1.0
    """Times the recipe's training: 0.1 for a trial, 3 for a long one."""
    average: bool = False
    """Score the mean of each chip's eight turned and mirrored forms; predict can ask for it too."""
    seed: int = 0
    """Of the simulated scenes, the split, the weights and the order of chips."""
    precision: Precision = "auto"
    """auto takes bfloat16 where the device has it; --full or another --backbone tries it first."""
    resume: str | None = None
    """A run that was stopped, by its id: it goes on from its last finished stage and epoch."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Train."""
        from fieldsight.pipelines.deforestation._train import train

        return train(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a tagger on labelled chips of yours: F2, precision, recall, AP, reliability."""

    data: Path
    """A folder with train_v2.csv and train-tif-v2/ or train-jpg/."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion."""
    bands: str | None = None
    """Names of the chips' bands in file order, as blue,green,red,nir; left out: by their count."""
    average: bool = False
    """The mean of each chip's eight turned and mirrored forms: slower, a little better."""
    out: Path | None = None
    """A folder for the answers by chip, the figures and the pictures."""
    allow_simulated: bool = False
    """Score real chips with a model that has seen simulated ones alone."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Score."""
        from fieldsight.pipelines.deforestation._evaluate import evaluate

        return evaluate(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict:
    """Tag chips, and write the competition's submission.

    Chips that fail stand in failures.csv beside it. Exit code 0; 1 if some chips failed; 2 if
    nothing could be done.
    """

    chips: tyro.conf.Positional[tuple[Path, ...]]
    """Chips (.tif, .jpg), or folders of them: of the product that the model was trained on."""
    out: Path
    """The file to write, as submission.csv: image_name,tags."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion, real data first."""
    probabilities: Path | None = None
    """A file for every tag's probability too, a row a chip."""
    bands: str | None = None
    """Names of the chips' bands in file order, as blue,green,red,nir; left out: by their count."""
    average: bool = False
    """The mean of each chip's eight turned and mirrored forms: slower, a little better."""
    allow_simulated: bool = False
    """Tag real chips with a model that has seen simulated ones alone; the output is marked."""

    def run(self) -> int:
        """Tag."""
        from fieldsight.pipelines.deforestation._predict import predict

        return predict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Map:
    """Map scenes of any size: what covers the ground, clearings as polygons, mapped hectares.

    Writes probability.tif and classes.tif (cloud-optimised), clearings.gpkg, hectares.csv,
    item.json (STAC), quicklook.png and QGIS styles. Stopped, it goes on where it was when it is
    called again. Scenes that fail stand in failures.csv. Exit code 0; 1 if some scenes failed; 2
    if none could be mapped.
    """

    scenes: tyro.conf.Positional[tuple[Path, ...]]
    """GeoTIFFs, COGs, VRTs, or folders of Landsat Collection 2 or Sentinel-2 bands."""
    out: Path
    """The folder for the map; of several scenes, a folder each in it."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion, real data first."""
    area: Path | None = None
    """Areas of interest (GeoPackage, GeoJSON, Shapefile) whose hectares are counted too."""
    bands: str | None = None
    """Names of the scenes' bands in file order, as blue,green,red,nir; left out: by metadata."""
    min_ha: float = 0.0
    """The minimum mapping unit: clearings of less hectares become no polygons."""
    window: int | None = None
    """Pixels of a side that are mapped at once: less takes less memory, the map stays the same."""
    average: bool = False
    """The mean of each window's eight turned and mirrored forms: slower, a little better."""
    allow_simulated: bool = False
    """Map a real scene with a model that has seen simulated ones alone; outputs are marked."""
    json: bool = False
    """Print the hectares to stdout as one JSON object."""

    def run(self) -> int:
        """Map."""
        from fieldsight.pipelines.deforestation._map import map_scenes

        return map_scenes(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """Find what was cleared between two dates: polygons, hectares, a before/after picture.

    Scenes are brought to reflectance by their metadata, checked for co-registration and season;
    clouds of either date are masked, and only what was forest before can be new clearing. A
    difference of NDVI or NBR, the classical method, stands beside it.
    """

    before: tyro.conf.Positional[Path]
    """The earlier scene."""
    after: tyro.conf.Positional[Path]
    """The later scene."""
    out: Path
    """The folder for the answers."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion, real data first."""
    min_ha: float = 0.5
    """The minimum mapping unit: new clearings of which less hectares are sure are left out. FAO's
    definition of forest begins at 0.5; PRODES maps from 6.25 on."""
    resample: bool = False
    """Bring the later scene onto the earlier one's grid, and move it by what it lies apart; left
    out: scenes on two grids, or more than half a pixel apart, are refused."""
    forest: str | None = None
    """Names of the model's classes that are forest; left out: those with forest or tree in them."""
    cleared: str | None = None
    """Names of those that are cleared land, as pasture,crop; left out: by what is usual."""
    bands: str | None = None
    """Names of the scenes' bands in file order, as blue,green,red,nir; left out: by metadata."""
    window: int | None = None
    """Pixels of a side that are run at once; left out: as fits the model."""
    allow_simulated: bool = False
    """Compare real scenes by a model that has seen simulated ones alone; outputs are marked."""
    json: bool = False
    """Print the hectares to stdout as one JSON object."""

    def run(self) -> int:
        """Compare."""
        from fieldsight.pipelines.deforestation._change import change

        return change(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learn:
    """Train a mapper from a scene and labels of yours, split by spatial blocks."""

    scene: Path
    """A GeoTIFF, COG, VRT, or a folder of Landsat Collection 2 or Sentinel-2 bands."""
    labels: Path
    """Polygons or points (GeoPackage, GeoJSON, Shapefile), or a raster of classes."""
    field: str | None = None
    """The attribute that names the class; a raster needs none."""
    layer: str | None = None
    """The layer of --labels, where it holds several."""
    bands: str | None = None
    """Names of the scene's bands in file order, as blue,green,red,nir; left out: its metadata's."""
    epochs: float = 1.0
    """Times the recipe's training: 0.1 for a trial, 3 for a long one."""
    seed: int = 0
    """Of the split, the weights and the order of windows."""
    random: bool = True
    """Train again on pixels split by chance, to show how much such a split would flatter."""
    precision: Precision = "auto"
    """auto tries bfloat16 where the device has it and takes it where it gains."""
    resume: str | None = None
    """A run that was stopped, by its id: it goes on from its last finished epoch."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Learn."""
        from fieldsight.pipelines.deforestation._learn import learn

        return learn(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assess:
    """Estimate a map's hectares and accuracy from a sample that an interpreter reads (D-13).

    The first call draws a stratified sample for an interpreter; with its labels read back, a
    second one gives error-adjusted hectares with a 95 % interval, user's and producer's accuracy
    (Olofsson et al., 2014).
    """

    map: tyro.conf.Positional[Path]
    """What `map` or `change` wrote: its folder, classes.tif or change.tif."""
    sample: int | None = None
    """Points to draw; left out, without --labels: 300."""
    minimum: int | None = None
    """Points of each class at least; left out: 50, or half of an equal share of a small sample."""
    labels: Path | None = None
    """The interpreted sample, its column `reference` filled in; left out: a sample is drawn."""
    out: Path | None = None
    """The file to write: sample.gpkg, or of the estimates a .json, with a .csv beside it; left
    out: beside the map."""
    seed: int = 0
    """Of the sample."""
    json: bool = False
    """Print the estimates to stdout as one JSON object."""

    def run(self) -> int:
        """Draw, or estimate."""
        from fieldsight.pipelines.deforestation._assess import assess

        return assess(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulate:
    """Write simulated scenes with chips, labels and tags in Planet's layouts, and nothing else."""

    out: Path
    """The folder; SIMULATED.json in it says what it is."""
    seed: int = 0
    """Of everything."""
    count: int = 4
    """Scenes, each at two dates."""
    first: int = 0
    """The number of the first scene: scene k is the same whatever else is written."""
    detail: Detail = "quick"
    """quick: some seconds a scene; full: larger scenes."""
    setting: Setting = "default"
    """other: another region, season and sensor, which the default models never see."""

    def run(self) -> int:
        """Write."""
        from fieldsight.pipelines.deforestation._simulate import simulate

        return simulate(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepare:
    """Check labelled chips and scenes, and keep what `train --cache` needs of them.

    Chips are decoded once, scenes laid out to be read by windows. Stopped, it goes on where it
    was. Exit code 0; 1 if some failed (failures.csv); 2 if there was nothing to do.
    """

    data: Path
    """Chips in the competition's layout, or a folder of scenes with labels."""
    cache: Path
    """The folder for what is kept."""
    json: bool = False
    """Print what was done to stdout as one JSON object."""

    def run(self) -> int:
        """Prepare."""
        from fieldsight.pipelines.deforestation._prepare import prepare

        return prepare(self)


ACTIONS = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "map": Map,
    "change": Change,
    "learn": Learn,
    "assess": Assess,
    "simulate": Simulate,
    "prepare": Prepare,
}
