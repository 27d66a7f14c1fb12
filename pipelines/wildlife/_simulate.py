"""`fieldsight wildlife simulate`: flights and mosaics from a seed, in layouts that are read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fieldsight.datasets.simulated import wildlife
from fieldsight.pipelines._console import bar
from fieldsight.pipelines._files import check_output_folder

if TYPE_CHECKING:
    from fieldsight.pipelines.wildlife import Simulate

MOST_PROCESSES = 8  # with more, the disk keeps up no longer


def simulate(settings: Simulate) -> int:
    """Write the flights and mosaics that aren't there whole; returns the exit code, 0."""
    check_output_folder("--out", settings.out)
    with bar(f"simulating {settings.count} flights") as told:
        wildlife.write(
            settings.out,
            settings.seed,
            flights=settings.count,
            mosaics=settings.mosaics,
            detail=settings.detail,
            setting=settings.setting,
            first=settings.first,
            progress=told,
            processes=min(os.cpu_count() or 1, MOST_PROCESSES),
        )
    print(
        f"{settings.out}: {settings.count} SIMULATED thermal flights and {settings.mosaics} "
        f"orthomosaics of seed {settings.seed}, {settings.detail} detail, {settings.setting} "
        f"setting, version {wildlife.VERSION}; BIRDSAI's layout in TrainSimulation/ and "
        "TestSimulation/, COCO's in orthomosaic/, telemetry/ beside them"
    )
    return 0
