"""What a training learns from: simulated forest, or a user's chips and scenes, split once for both.

Chips and scenes of one place are on one side of the split (D-7): what the mapper has learned from
is never what the tagger is scored on, nor the other way round.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldsight.datasets import chip_cover, planet
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import _bands, _chips
from fieldsight.pipelines.deforestation._chips import Cohort

if TYPE_CHECKING:
    from fieldsight.datasets.planet import ChipSet
    from fieldsight.pipelines.deforestation import Setting, Train
    from fieldsight.pipelines.deforestation._chips import Array
    from fieldsight.pipelines.deforestation._fields import Field
    from fieldsight.pipelines.deforestation._recipes import Way

Progress = Callable[[int, int], None]
MOST_PROCESSES = 8  # side by side: more of them want much memory


@dataclasses.dataclass(frozen=True, eq=False)
class Forest:
    """Chips and scenes by side.

    Attributes:
        chips: of the tagger.
        other: chips of another setting than any of these, all to be scored; None unless
            simulated.
        fields: scenes of the mapper by side ("train", "val", "test", "other"); none where the
            data have no scenes with a class for each pixel.
        folder: where the data lie.
        failures: scenes that couldn't be used, with the reason.
    """

    chips: Cohort
    other: Cohort | None
    fields: Mapping[str, Sequence[Field]]
    folder: Path
    failures: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of the data, as models are registered by."""
        return self.chips.name

    @property
    def simulated(self) -> bool:
        """Whether a computer drew it."""
        return self.chips.simulated

    @property
    def sizes(self) -> dict[str, int]:
        """Chips by side."""
        return {side: len(found) for side, found in self.chips.sides.items() if len(found)}


def check(settings: Train) -> None:
    """Tell before a run exists what of the user's folder can't be used.

    Raises:
        DataError: if there is no known layout.
        CommandError: if the bands are misnamed, or a folder that is simulated is asked for more.
    """
    bands = _bands.named(settings.bands)
    if settings.data is not None:
        _chips.with_bands(planet.load(settings.data, settings.product), bands)
    elif bands is not None or settings.cache is not None:
        which = "--cache: a folder is" if bands is None else "--bands: names are"
        raise CommandError(f"{which} needed for --data alone. Leave it out.")


def load(settings: Train, way: Way, folder: Path, progress: Callable[[str], Progress]) -> Forest:
    """Simulate or find the data, read and split them.

    Args:
        settings: the command's.
        way: how many scenes are simulated.
        folder: the run's own, for what is simulated and kept.
        progress: from what is done to what is told how far it is.

    Raises:
        CommandError: if a side is left without a chip that can be read.
    """
    if settings.data is None:
        return _simulated(settings, way, folder, progress)
    chips = _chips.with_bands(
        planet.load(settings.data, settings.product), _bands.named(settings.bands)
    )
    if settings.chips is not None:
        chips = _some(chips, settings.chips, settings.seed)
    chips = _chips.with_neighbours(chips, settings.data, progress)
    name = "simulated" if chips.simulated else _plain(settings.data.name, settings.product)
    cohort = _chips.gather(
        chips, functools.partial(_chips.by_scene, seed=settings.seed), name,
        progress(f"reading and checking {len(chips):,} chips"), cache=settings.cache,
        cover=_cover_of(settings.data),
    )  # fmt: skip
    kept = (settings.cache or folder) / "fields"
    fields, failures = _fields_of(settings.data, kept, cohort, progress)
    return Forest(cohort, None, fields, settings.data, failures)


def _simulated(
    settings: Train, way: Way, folder: Path, progress: Callable[[str], Progress]
) -> Forest:
    scenes = way.scenes
    here, there = folder / "simulated", folder / "simulated-other"
    _write(here, settings.seed, scenes.total, "default", way, progress)
    _write(there, settings.seed, scenes.other, "other", way, progress)
    counts = (scenes.train, scenes.val, scenes.test)
    chips = planet.load(here, settings.product)
    name = f"simulated-{way.detail}"
    cohort = _chips.gather(
        chips, functools.partial(_chips.in_order, counts=counts, seed=settings.seed), name,
        progress(f"reading {len(chips):,} chips"), cover=_cover_of(here),
    )  # fmt: skip
    fields, failures = _fields_of(here, folder / "fields", cohort, progress)
    other_chips = planet.load(there, settings.product)
    other = _chips.gather(other_chips, _chips.to_be_scored, f"{name}-other", needed=("test",))
    others, more = _fields_of(there, folder / "fields-other", other, progress)
    return Forest(
        cohort, other, {**fields, "other": others.get("test", ())}, here, {**failures, **more}
    )


def _write(
    folder: Path, seed: int, count: int, setting: Setting, way: Way,
    progress: Callable[[str], Progress],
) -> None:  # fmt: skip
    from fieldsight.datasets.simulated import forest

    forest.write(
        folder, seed, scenes=count, detail=way.detail, setting=setting,
        processes=min(os.cpu_count() or 1, MOST_PROCESSES),
        progress=progress(f"simulating {count} scenes, {setting} setting"),
    )  # fmt: skip


def _cover_of(folder: Path) -> Callable[[Sequence[str]], Array] | None:
    """What tells the land cover under chips, where the folder has it in the simulator's classes."""
    if not chip_cover.is_there(folder):
        return None
    from fieldsight.datasets.simulated.forest import CLASSES

    return functools.partial(chip_cover.read, folder, num_classes=len(CLASSES))


def _fields_of(
    folder: Path, cache: Path, cohort: Cohort, progress: Callable[[str], Progress]
) -> tuple[dict[str, list[Field]], Mapping[str, str]]:
    """The scenes of each side, where the folder has scenes with a class for each pixel."""
    if not any(folder.glob("labels/*_landcover.tif")):
        return {}, {}
    from fieldsight.pipelines.deforestation import _fields

    found, failures = _fields.of_folder(folder, cache, progress("reading the scenes"))
    sides = {
        side: _fields.of_groups(found, _chips.scenes_of(cohort, side))
        for side in ("train", "val", "test")
    }
    return sides, failures


def _some(chips: ChipSet, count: int, seed: int) -> ChipSet:
    """Some of the chips, by chance, in their order."""
    chosen: Array = np.sort(np.random.default_rng(seed).permutation(len(chips))[:count])
    return _chips.taken(chips, chosen)


def _plain(name: str, product: str) -> str:
    """A folder's name as part of a model's."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in name.lower()).strip("-.")
    return f"{kept or 'chips'}-{product}"
