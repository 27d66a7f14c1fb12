"""Scenes with a class for each pixel, as the mapper learns from them and is scored on them.

Pixels lie in memory-mapped files: what is held in memory is a batch, not the scenes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets import scenes
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.grids import same_grid
from fieldsight.datasets.labels import NODATA
from fieldsight.datasets.sample import digest
from fieldsight.datasets.scenes import Scene
from fieldsight.datasets.simulated.forest import CLASSES
from fieldsight.pipelines._threads import in_threads

Array = NDArray[Any]
Units = Literal["reflectance", "digital numbers"]
Progress = Callable[[int, int], None]
Slices = tuple[slice, slice]

IGNORED = 0  # the label of a pixel without data, under a cloud, or that nobody labelled (D-4)
SCENE, LANDCOVER = "_AnalyticMS_SR.tif", "_landcover.tif"
STRIP = 512  # rows read at once


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
        return self.in_units(self.image[slices])

    def in_units(self, values: Array) -> Array:
        """`(..., bands)` float32 in `units`, of the file's own numbers."""
        scale, offset = np.asarray(self.scale, np.float32), np.asarray(self.offset, np.float32)
        return np.asarray(values, np.float32) * scale + offset


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
    found, failures = [], {}
    maps = sorted(folder.glob(f"labels/*{LANDCOVER}"))

    def read(labels: Path) -> tuple[Field, Mapping[int, str]] | DataError:
        name = labels.name.removesuffix(LANDCOVER)
        try:
            return _of_scene(folder / "scenes" / f"{name}{SCENE}", labels, name, cache)
        except DataError as error:
            return error

    for number, (path, one) in enumerate(in_threads(read, maps), 1):
        if isinstance(one, DataError):
            failures[path.name.removesuffix(LANDCOVER)] = str(one)
        else:
            found.append(one)
        if progress is not None:
            progress(number, len(maps))
    if not found:
        why = next(iter(failures.values()), "there is none")
        raise DataError(
            f"scenes/<scene>_<date>{SCENE} with labels/<scene>_<date>{LANDCOVER} were needed. "
            f"Received: {folder} ({why}). `simulate` writes such a folder."
        )
    return _named_alike(found), failures


def of_groups(fields: Sequence[Field], groups: Sequence[str]) -> list[Field]:
    """The fields of some groups, in their order."""
    return [field for field in fields if field.group in set(groups)]


def fingerprint(fields: Sequence[Field]) -> str:
    """The sha256, in hexadecimal, of names, labels and a sample of the pixels."""
    parts: list[Array] = []
    for field in fields:
        parts += [np.frombuffer(field.name.encode(), np.uint8), np.asarray(field.labels)]
        parts.append(np.ascontiguousarray(field.image[::16, ::16]))
    return digest(*parts)


def hold(scene: Scene, file: Path, box: Slices) -> tuple[Array, Array]:
    """A part of a scene as a memory-mapped file, and which of its pixels can be learned from.

    Pixels without data are 0 there, whatever the scene's value for them is: as `map` shows them.

    Args:
        scene: open.
        file: to be written, .npy; one that is there and was made of the same is taken.
        box: the part.

    Returns:
        `(rows, columns, bands)` in the scene's dtype; and `(rows, columns)` bool, True where
        there are data and no cloud (D-4).

    Raises:
        DataError: if the scene is damaged, or all of the part is without data.
    """
    (top, bottom, _), (left, right, _) = (
        side.indices(count) for side, count in zip(box, scene.shape, strict=False)
    )
    usable = file.with_suffix(".valid.npy")
    shape = (bottom - top, right - left, len(scene.bands))
    made_of = file.with_suffix(".json")
    middle = slice((top + bottom) // 2, (top + bottom) // 2 + 1)
    sample = digest(scene.read((middle, slice(left, right))))
    of = {
        "scene": scene.name, "bands": scene.bands, "box": [top, bottom, left, right], "nodata": 0,
    }  # fmt: skip
    facts = json.dumps({**of, "sample": sample})
    if not (made_of.exists() and made_of.read_text() == facts):
        file.parent.mkdir(parents=True, exist_ok=True)
        made_of.unlink(missing_ok=True)
        image = np.lib.format.open_memmap(file, "w+", scene.dtype, shape)
        kept = np.lib.format.open_memmap(usable, "w+", np.bool_, shape[:2])
        for row in range(0, shape[0], STRIP):
            rows = min(STRIP, shape[0] - row)
            place = (slice(top + row, top + row + rows), slice(left, right))
            piece, there = scene.read_valid(place)
            image[row : row + rows] = np.where(there[..., None], piece, np.zeros((), piece.dtype))
            clouds = scene.clouds(place)
            kept[row : row + rows] = there if clouds is None else there & ~clouds
        image.flush()
        kept.flush()
        del image, kept
        # Last, so that a file half written is never taken.
        write_atomically(made_of, facts.encode())
    kept = np.load(usable, mmap_mode="r")
    if not kept.any():
        raise DataError(
            f"pixels with data and without clouds were needed. Received: {scene.name}, which has "
            "none where it is labelled."
        )
    return np.load(file, mmap_mode="r"), kept


def scaling(scene: Scene) -> tuple[Units, tuple[float, ...], tuple[float, ...]]:
    """What a network sees of a scene: reflectance where metadata tell it, else its numbers (D-12).

    Returns:
        The units, and scale and offset of each band.
    """
    known = scene.reflectance
    if known is None:
        count = len(scene.bands)
        return "digital numbers", (1.0,) * count, (0.0,) * count
    return "reflectance", tuple(known.scale), tuple(known.offset)


def _of_scene(path: Path, labels: Path, name: str, cache: Path) -> tuple[Field, Mapping[int, str]]:
    """A field whose classes have no names yet, and the names that its labels have."""
    with scenes.open_scene(path) as scene:
        drawn = scenes.open_labels(labels)
        if not same_grid(drawn.grid, scene.grid):
            raise DataError(
                f"labels on the scene's own grid were needed. Received: {labels.name}, which has "
                "another."
            )
        rows, columns, _ = scene.shape
        image, usable = hold(scene, cache / f"{name}.npy", (slice(0, rows), slice(0, columns)))
        values = drawn.values.astype(np.uint8)
        values[~usable] = IGNORED
        units, scale, offset = scaling(scene)
        side = scene.grid.ground_sampling_distance_m
        field = Field(
            name=name, group=name.rsplit("_", 1)[0], image=image, labels=values,
            bands=scene.bands, classes=(NODATA,), scale=scale, offset=offset, units=units,
            pixel_area_m2=side**2, ground_sampling_distance_m=side, simulated=scene.simulated,
        )  # fmt: skip
        return field, drawn.names


def _named_alike(found: Sequence[tuple[Field, Mapping[int, str]]]) -> list[Field]:
    """Fields that name their classes alike, those too that one of them hasn't got."""
    names: dict[int, str] = {}
    for field, own in found:
        if field.simulated:
            names |= dict(enumerate(CLASSES))
        names |= own
    most = max(int(field.labels.max()) for field, _ in found)
    most = max([most, *names])
    classes = (NODATA, *(names.get(value, f"class {value}") for value in range(1, most + 1)))
    return [dataclasses.replace(field, classes=classes) for field, _ in found]
