"""`fieldsight lung simulate`: patients from a seed, in the layout that the readers read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fieldsight.datasets.simulated import lung
from fieldsight.pipelines._console import bar
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder

if TYPE_CHECKING:
    from fieldsight.pipelines.lung import Simulate

# More than these side by side want much memory in full detail, and the disk keeps up no longer.
MOST_PROCESSES = 8


def simulate(settings: Simulate) -> int:
    """Write the patients that aren't there whole; returns the exit code, 0."""
    for flag, value, least in (
        ("--count", settings.count, 1), ("--seed", settings.seed, 0), ("--first", settings.first, 0)
    ):  # fmt: skip
        if value < least:
            raise CommandError(f"{flag}: {least} or more was needed. Received: {value}.")
    check_output_folder("--out", settings.out)
    with bar(f"simulating {settings.count} patients") as told:
        lung.write(
            settings.out,
            settings.seed,
            count=settings.count,
            detail=settings.detail,
            setting=settings.setting,
            first=settings.first,
            progress=told,
            processes=min(os.cpu_count() or 1, MOST_PROCESSES),
        )
    print(
        f"{settings.out}: {settings.count} SIMULATED patients of seed {settings.seed}, "
        f"{settings.detail} detail, {settings.setting} setting, version {lung.VERSION}; "
        "DICOM series in dicom/, LUNA16's tables beside it"
    )
    return 0
