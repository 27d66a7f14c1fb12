"""How much less green a place became than the forest around it: haze and season taken out.

A difference of two dates' NDVI holds what the air and the season did to both. That is nearly the
same for a clearing and for the forest beside it, so the median over forest, block by block, is
taken off. A scene's blocks are few: they are held in memory, the scene isn't.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.pipelines.deforestation import _change_baseline

if TYPE_CHECKING:
    from fieldsight.datasets.grids import Slices
    from fieldsight.pipelines.deforestation._change_raster import Dates

Array = NDArray[Any]

INDEX: _change_baseline.Index = "NDVI"
BLOCK = 192  # pixels of a side: a clearing of some hectares at 3 m is a small part of it
LEAST = 0.02  # of a block's pixels, that must be clear forest for its median to count


def can_tell(bands: tuple[str, ...]) -> bool:
    """Whether the bands for it are there."""
    return set(_change_baseline.BANDS[INDEX]) <= set(bands)


class Fall:
    """By how much more than the forest around it each place's NDVI fell.

    Args:
        dates: two dates on one grid.
        forest: from rows and columns to the probability of forest at the first date.
        progress: told how many rows are through, and of how many.
    """

    def __init__(
        self,
        dates: Dates,
        forest: Callable[[Slices], Array],
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self.dates, grid = dates, dates.grid
        across = -(-grid.columns // BLOCK)
        medians = []
        for top in range(0, grid.rows, BLOCK):
            slices = (slice(top, min(top + BLOCK, grid.rows)), slice(0, grid.columns))
            _, clear = dates.seen(slices)
            fell = np.where(clear & (forest(slices) >= 0.5), self._difference(slices), np.nan)
            medians.append([_median(fell[:, n * BLOCK : (n + 1) * BLOCK]) for n in range(across)])
            progress(slices[0].stop, grid.rows)
        blocks = np.array(medians)
        known = np.isfinite(blocks)
        # A block without clear forest is as the scene is; one odd block isn't believed.
        blocks[~known] = np.median(blocks[known]) if known.any() else 0.0
        self.blocks = ndimage.median_filter(blocks, 3, mode="nearest")

    def __call__(self, slices: Slices) -> NDArray[np.float32]:
        """`(rows, columns)` float32, above 0 where a place fell by more than the forest around."""
        rows, columns = ((np.arange(side.start, side.stop) + 0.5) / BLOCK - 0.5 for side in slices)
        places = np.meshgrid(rows, columns, indexing="ij")
        around = ndimage.map_coordinates(self.blocks, places, order=1, mode="nearest")
        return np.asarray(self._difference(slices) - around, np.float32)

    def _difference(self, slices: Slices) -> Array:
        before, after = (
            _change_baseline.of_scene(scene, INDEX, slices)
            for scene in (self.dates.before, self.dates.after)
        )
        return before - after


def _median(values: Array) -> float:
    """Of what isn't NaN; NaN where that is too little."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) >= max(1, LEAST * BLOCK**2) else float("nan")
