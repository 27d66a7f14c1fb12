"""`fieldsight deforestation simulate`: scenes and chips from a seed, as the readers read them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fieldsight.datasets.simulated import forest
from fieldsight.pipelines._console import bar
from fieldsight.pipelines._files import check_output_folder

if TYPE_CHECKING:
    from fieldsight.pipelines.deforestation import Simulate

# More than these side by side want much memory in full detail, and the disk keeps up no longer.
MOST_PROCESSES = 8


def simulate(settings: Simulate) -> int:
    """Write the scenes that aren't there whole; returns the exit code, 0."""
    check_output_folder("--out", settings.out)
    with bar(f"simulating {settings.count} scenes") as told:
        forest.write(
            settings.out,
            settings.seed,
            scenes=settings.count,
            detail=settings.detail,
            setting=settings.setting,
            first=settings.first,
            progress=told,
            processes=min(os.cpu_count() or 1, MOST_PROCESSES),
        )
    print(
        f"{settings.out}: {settings.count} SIMULATED scenes of seed {settings.seed}, "
        f"{settings.detail} detail, {settings.setting} setting, version {forest.VERSION}; two "
        "dates each in scenes/, what is true in labels/, chips as the competition's in "
        "train_v2.csv and its folders"
    )
    return 0
