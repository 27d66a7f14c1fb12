"""Where new clearings are, band of rows by band of rows, so that memory doesn't grow with a scene.

Each band is read with some rows more at its ends, for what the opening of the mask looks at: the
answer is that of the whole scene at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.grids import Grid, Slices
from fieldsight.datasets.maps.rasters import NODATA_SHARE, STEPS, Probabilities, Raster, row_blocks
from fieldsight.datasets.scenes import Scene
from fieldsight.pipelines.deforestation import (
    _change_baseline,
    _change_fall,
    _change_maps,
    _change_rule,
)
from fieldsight.pipelines.deforestation._change_baseline import DifferenceRule, Index
from fieldsight.pipelines.deforestation._change_rule import ChangeRule, Classes

Array = NDArray[Any]
Progress = Callable[[int, int], None]

NODATA, ELSE, FOREST, NEW, CLOUD = range(5)
CLASSES = ("nodata", "not forest before", "forest, not cleared", "new clearing", "under clouds")
COLOURS = ((0, 0, 0), (222, 212, 186), (22, 92, 42), (230, 60, 20), (150, 176, 206))
BAND = 2**20  # pixels that are held in memory at once, at both dates with all classes


@dataclasses.dataclass(frozen=True)
class Dates:
    """Two dates on one grid.

    Attributes:
        before: the earlier scene.
        after: the later one.
    """

    before: Scene
    after: Scene

    @property
    def grid(self) -> Grid:
        """Of both."""
        return self.before.grid

    def seen(self, slices: Slices) -> tuple[Array, Array]:
        """`(rows, columns)` bool: has data at both dates; and has no cloud near at either then."""
        data = self.before.valid(slices) & self.after.valid(slices)
        clear = data.copy()
        margin = self.margin
        wide, inside = _widened(slices, margin, self.grid)
        for scene in (self.before, self.after):
            clouds = scene.clouds(wide)
            if clouds is not None:
                clear &= ~_change_rule.widened(clouds, margin)[inside]
        return data, clear

    @property
    def bands(self) -> tuple[str, ...]:
        """That both have."""
        return tuple(band for band in self.before.bands if band in self.after.bands)

    @property
    def margin(self) -> int:
        """Pixels around clouds that count as clouds."""
        return round(_change_rule.CLOUD_MARGIN_M / self.grid.ground_sampling_distance_m)


def bands(grid: Grid) -> Iterator[Slices]:
    """Yield bands of whole rows that are held at once."""
    return row_blocks(grid, max(1, BAND // grid.columns))


def write(
    dates: Dates,
    maps: tuple[Raster, Raster],
    classes: Classes,
    rule: ChangeRule,
    codes: Raster,
    probability: Raster,
    tell: Callable[[str], Progress],
) -> None:
    """Write where there is new clearing, and how likely it is.

    Args:
        dates: the scenes.
        maps: probabilities by class of both dates, as `_map.probabilities` writes them.
        classes: which of them are forest, which cleared land.
        rule: when a place is new clearing.
        codes: of one band uint8, takes values of `CLASSES`.
        probability: of one band uint8, takes steps of `STEPS`.
        tell: of each stage how far it is.
    """
    before, after = (Probabilities(one) for one in maps)
    fall = None
    if _change_fall.can_tell(dates.bands):
        fall = _change_fall.Fall(
            dates, lambda slices: _change_maps.of_classes(before.read(slices), classes)[0],
            tell("haze and season"),
        )  # fmt: skip
    progress = tell("comparing")
    for slices in bands(dates.grid):
        wide, inside = _widened(slices, rule.reach, dates.grid)
        forest, _ = _change_maps.of_classes(before.read(wide), classes)
        dry = None
        if fall is not None:
            index = _change_baseline.of_scene(dates.after, _change_fall.INDEX, wide)
            dry = index > _change_rule.DRY_NDVI
        _, cleared = _change_maps.of_classes(after.read(wide), classes, dry)
        data, clear = dates.seen(wide)
        likely = _change_rule.probability(forest, cleared)
        likely = _change_rule.smoothed(likely, clear, rule.smoothing)
        chosen = (likely >= rule.threshold) & clear
        if fall is not None:
            chosen &= _change_rule.smoothed(fall(wide), clear, rule.smoothing) >= rule.fall
        new = _change_rule.opened(chosen, rule.opening) & clear
        found = np.where(forest >= 0.5, FOREST, ELSE).astype(np.uint8)
        found[new] = NEW
        found[~clear] = CLOUD
        found[~data] = NODATA
        steps = np.rint(likely * STEPS).astype(np.uint8)
        steps[~clear] = NODATA_SHARE
        codes.write(slices, found[inside][..., None])
        probability.write(slices, steps[inside][..., None])
        progress(slices[0].stop, dates.grid.rows)


def reader(codes: Raster, probability: Raster) -> Callable[[Slices], tuple[Array, Array]]:
    """Codes and how likely each new clearing is, as `polygons.outline` reads them."""

    def read(slices: Slices) -> tuple[Array, Array]:
        steps = probability.read(slices)[..., 0].astype(np.float32)
        return codes.read(slices)[..., 0], steps / np.float32(STEPS)

    return read


def difference_reader(
    dates: Dates, index: Index, rule: DifferenceRule
) -> Callable[[Slices], tuple[Array, Array]]:
    """The classical method alike: `NEW` or 0, and by how much the index fell."""

    def read(slices: Slices) -> tuple[Array, Array]:
        wide, inside = _widened(slices, 2 * rule.opening, dates.grid)
        first = _change_baseline.of_scene(dates.before, index, wide)
        second = _change_baseline.of_scene(dates.after, index, wide)
        _, clear = dates.seen(wide)
        found = _change_baseline.change_mask(first, second, rule) & clear
        new = _change_rule.opened(found, rule.opening) & clear
        fall = np.clip(first - second, 0, 1).astype(np.float32)
        return np.where(new, np.uint8(NEW), np.uint8(0))[inside], fall[inside]

    return read


class Drawn:
    """The polygons of a GeoPackage as pixels again, band by band: those that were large enough.

    Args:
        path: of the GeoPackage.
        layer: in it.
        grid: whose pixels' edges the polygons run along.
    """

    def __init__(self, path: Path, layer: str, grid: Grid) -> None:
        self.path, self.layer, self.grid = path, layer, grid

    def __call__(self, slices: Slices) -> NDArray[np.bool_]:
        """`(rows, columns)` bool of a band of rows."""
        import pyogrio
        from affine import Affine
        from rasterio.features import rasterize

        rows, columns = slices
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        transform = self.grid.transform @ Affine.translation(columns.start, rows.start)
        places = ((0, 0), (shape[1], 0), (shape[1], shape[0]), (0, shape[0]))
        x, y = zip(*(transform @ place for place in places), strict=True)
        box = (min(x), min(y), max(x), max(y))
        found = pyogrio.read_dataframe(self.path, layer=self.layer, bbox=box, columns=[])
        if not len(found):
            return np.zeros(shape, bool)
        drawn = rasterize(found.geometry, out_shape=shape, transform=transform, dtype="uint8")
        return np.asarray(drawn, bool)


def _widened(slices: Slices, reach: int, grid: Grid) -> tuple[Slices, Slices]:
    """A band of whole rows with what is looked at above and below it, and the band within."""
    rows, columns = slices
    top, bottom = max(0, rows.start - reach), min(grid.rows, rows.stop + reach)
    inside = slice(rows.start - top, rows.stop - top)
    return (slice(top, bottom), columns), (inside, slice(None))
