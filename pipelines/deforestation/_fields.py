"""Scenes with a class for each pixel, as the mapper learns from them and is scored on them.

Pixels lie in memory-mapped files: what is held in memory is a batch, not the scenes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Units = Literal["reflectance", "digital numbers"]
Progress = Callable[[int, int], None]

IGNORED = 0  # the label of a pixel without data, under a cloud, or that nobody labelled (D-4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """A scene, or a part of one, and what covers each pixel of it.

    Attributes:
        name: of the scene and its date.
        group: what is never parted by a split (D-7): the scene's place.
        image: `(rows, columns, bands)`, memory-mapped, in the file's own dtype.
        labels: `(rows, columns)` uint8, memory-mapped: values of `classes`; 0 is ignored.
        bands: names, in the image's order.
        classes: names by value; the first is "nodata".
        scale: of each band, digital numbers to `units`; 1 where they stay.
        offset: of each band, alike.
        units: what the network sees.
        pixel_area_m2: of one pixel.
        ground_sampling_distance_m: of the scene; None where its CRS isn't known.
        simulated: whether a simulator made it.
    """

    name: str
    group: str
    image: Array
    labels: Array
    bands: tuple[str, ...]
    classes: tuple[str, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    units: Units
    pixel_area_m2: float
    ground_sampling_distance_m: float | None
    simulated: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and bands: a field is a source of `core.windows`."""
        rows, columns, bands = self.image.shape
        return rows, columns, bands

    def read(self, slices: tuple[slice, slice]) -> Array:
        """`(rows, columns, bands)` float32 in `units`."""
        piece = np.asarray(self.image[slices], np.float32)
        return piece * np.float32(self.scale) + np.float32(self.offset)


def of_folder(
    folder: Path, cache: Path, progress: Progress | None = None
) -> tuple[list[Field], Mapping[str, str]]:
    """The scenes of a folder in the simulator's layout, read, checked and kept in a cache.

    Args:
        folder: with scenes/<scene>_<date>_AnalyticMS_SR.tif and
            labels/<scene>_<date>_landcover.tif.
        cache: the folder of the memory-mapped files; what is there and still fits is taken.
        progress: told how many scenes are through, and of how many.

    Returns:
        The fields in the order of their names, a scene's dates sharing their group, which is
        the scene's name; and for each scene that can't be used, why (C-11).

    Raises:
        DataError: if no scene can be used.
    """
    raise NotImplementedError


def of_groups(fields: Sequence[Field], groups: Sequence[str]) -> list[Field]:
    """The fields of some groups, in their order."""
    return [field for field in fields if field.group in set(groups)]
