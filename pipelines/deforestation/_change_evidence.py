"""Places at two dates with what was cleared, and what there is to go by to find it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets import scenes
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.grids import same_grid
from fieldsight.pipelines.deforestation import _change_baseline, _change_rule
from fieldsight.pipelines.deforestation._change_baseline import DifferenceRule
from fieldsight.pipelines.deforestation._change_rule import ChangeRule

if TYPE_CHECKING:
    from fieldsight.pipelines.deforestation._change_maps import Maps

Array = NDArray[Any]

SCENE = "_AnalyticMS_SR.tif"


@dataclasses.dataclass(frozen=True)
class Pair:
    """A place at two dates, and what was cleared between them.

    Attributes:
        name: of the place: the group that no split parts (D-7).
        before: the earlier scene's file.
        after: the later one's.
        clearings: a GeoPackage whose layer `new` has the new clearings as polygons.
    """

    name: str
    before: Path
    after: Path
    clearings: Path


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What both methods have to go by at one place.

    Attributes:
        probability: `(rows, columns)` float32 that it was forest and is cleared.
        fall: `(rows, columns)` float32 of NDVI, beyond what it fell in the forest around.
        before: `(rows, columns)` the first date's NDVI.
        after: the second's.
        clear: where both dates have data and no cloud.
        truth: what was cleared between the dates, where it is clear.
        pixel_ha: of one pixel.
    """

    probability: Array
    fall: Array
    before: Array
    after: Array
    clear: Array
    truth: Array
    pixel_ha: float
    _kept: dict[int, tuple[Array, Array]] = dataclasses.field(default_factory=dict, repr=False)

    def mask(self, rule: ChangeRule | DifferenceRule) -> NDArray[np.bool_]:
        """New clearing by a rule, before the minimum mapping unit."""
        if isinstance(rule, ChangeRule):
            likely, fall = self._smoothed(rule.smoothing)
            found = (likely >= rule.threshold) & (fall >= rule.fall)
        else:
            found = _change_baseline.change_mask(self.before, self.after, rule)
        return _change_rule.opened(found & self.clear, rule.opening) & self.clear

    def sure(self, rule: ChangeRule | DifferenceRule) -> NDArray[np.bool_] | None:
        """What a patch's size is counted by; None for all of it."""
        if not isinstance(rule, ChangeRule):
            return None
        return _change_rule.is_sure(rule, self._smoothed(rule.smoothing)[0])

    def _smoothed(self, radius: int) -> tuple[Array, Array]:
        """Probability and fall averaged, once for each radius."""
        if radius not in self._kept:
            self._kept[radius] = (
                _change_rule.smoothed(self.probability, self.clear, radius),
                _change_rule.smoothed(self.fall, self.clear, radius),
            )
        return self._kept[radius]


def pairs_of(folder: Path) -> list[Pair]:
    """The places of a folder in the simulator's layout that are there at two dates.

    Raises:
        DataError: if there is none.
    """
    found = []
    for clearings in sorted(folder.glob("labels/*_clearings.gpkg")):
        name = clearings.name.removesuffix("_clearings.gpkg")
        dates = sorted(folder.glob(f"scenes/{name}_*{SCENE}"))
        if len(dates) == 2:
            found.append(Pair(name, dates[0], dates[1], clearings))
    if not found:
        raise DataError(
            f"scenes/<scene>_<date>{SCENE} of two dates with labels/<scene>_clearings.gpkg were "
            f"needed. Received: none in {folder}. `simulate` writes such a folder."
        )
    return found


def evidence(pair: Pair, maps: Maps) -> Evidence:
    """Map a place at both dates, and take its NDVI.

    Args:
        pair: the place.
        maps: of a mapper; those of the place are forgotten then.

    Raises:
        DataError: if the scenes can't be read, or don't lie on one grid.
        CommandError: if the model can't map them.
    """
    from rasterio.features import rasterize

    from fieldsight.pipelines.deforestation._change_fall import Fall
    from fieldsight.pipelines.deforestation._change_maps import forest_and_cleared
    from fieldsight.pipelines.deforestation._change_raster import Dates

    with scenes.open_scene(pair.before) as before, scenes.open_scene(pair.after) as after:
        if not same_grid(before.grid, after.grid):
            raise DataError(
                f"{pair.name}: two dates on one grid were needed. Received: {pair.before.name} and "
                f"{pair.after.name}, which have two."
            )
        whole = (slice(0, before.shape[0]), slice(0, before.shape[1]))
        dates = Dates(before, after)
        _, clear = dates.seen(whole)
        indices = [_change_baseline.of_scene(scene, "NDVI", whole) for scene in (before, after)]
        polygons = _new_clearings(pair.clearings, before.grid.crs)
        truth = np.zeros(clear.shape, bool)
        if polygons:
            truth = rasterize(
                polygons, out_shape=clear.shape, transform=before.grid.transform, dtype="uint8"
            ).astype(bool)
        both = []
        for scene, path, index in zip(
            (before, after), (pair.before, pair.after), indices, strict=True
        ):
            name = path.name.removesuffix(SCENE)
            said = maps.of_scene(scene, name)
            dry = index > _change_rule.DRY_NDVI
            both.append(forest_and_cleared(said, maps.model.classes, dry))
            maps.forget(name)
        (forest, _), (_, cleared) = both
        fall = Fall(dates, lambda slices: forest[slices])
        return Evidence(
            fall=fall(whole),
            probability=_change_rule.probability(forest, cleared),
            before=indices[0],
            after=indices[1],
            clear=clear,
            truth=truth & clear,
            pixel_ha=before.grid.ground_sampling_distance_m**2 / 1e4,
        )


def _new_clearings(path: Path, crs: Any) -> list[Any]:
    import geopandas
    import pyogrio

    try:
        found = geopandas.read_file(path, layer="new")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(
            f"{path}: a GeoPackage with new clearings in its layer new was needed. Received: "
            f"{error}."
        ) from error
    return list(found.to_crs(crs).geometry)
