"""`fieldsight lung prepare`: read, resample, find the lungs, and keep what came of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fieldsight.datasets import nodules
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.lung_preparation.cache import cached, is_cached
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import FAILURES, check_output_folder, write_failures
from fieldsight.pipelines._threads import in_threads
from fieldsight.pipelines.lung._cases import case_of

if TYPE_CHECKING:
    from fieldsight.datasets.nodules import Scan
    from fieldsight.pipelines.lung import Prepare

FINEST_MM, COARSEST_MM = 0.3, 5.0
PREPARED = "prepared"  # in the cache's folder


def prepare(settings: Prepare) -> int:
    """Fill the cache and return the exit code: 1 if some scans failed, 2 if all did."""
    if not FINEST_MM <= settings.spacing_mm <= COARSEST_MM:
        raise CommandError(
            f"--spacing-mm: {FINEST_MM} to {COARSEST_MM:g} were needed. Received: "
            f"{settings.spacing_mm}."
        )
    check_output_folder("--cache", settings.cache)
    found = nodules.load(settings.data)
    for note in found.notes:
        _say(f"note: {note}")
    folder = settings.cache / PREPARED
    started = time.perf_counter()
    failures = dict(found.failures)
    tell_failures(failures)
    there = 0
    for scan, (was_there, failure) in _progress(found.scans, _all(found.scans, settings, folder)):
        there += was_there
        if failure:
            failures[scan.name] = failure
            tell_failures({scan.name: failure})
    write_failures(settings.cache, "scan", failures)
    done = {
        "data": found.name,
        "simulated": found.simulated,
        "scans": len(found),
        "found_there": there,
        "failed": len(failures),
        "spacing_mm": settings.spacing_mm,
        "seconds": round(time.perf_counter() - started, 1),
    }
    if settings.json:
        print(json.dumps(done))
    else:
        _print(settings.cache, done, failures)
    ready = sum(scan.name not in failures for scan in found.scans)
    return 2 if not ready else int(bool(failures))


def tell_failures(failures: Mapping[str, str]) -> None:
    """Say on stderr what could not be used, and why."""
    for name, reason in failures.items():
        _say(f"failed: {'' if reason.startswith(name) else f'{name}: '}{reason}")


def _all(
    scans: Sequence[Scan], settings: Prepare, folder: Path
) -> Iterator[tuple[Scan, tuple[bool, str]]]:
    """Of each scan whether it was there already, and why it failed, as they are through."""

    def one(scan: Scan) -> tuple[bool, str]:
        try:
            was_there = is_cached(scan, settings.spacing_mm, folder)
            case_of(scan, cached(scan, settings.spacing_mm, folder))
        except DataError as error:
            return False, str(error)
        return was_there, ""

    return in_threads(one, scans)


def _progress(
    scans: Sequence[Scan], answers: Iterable[tuple[Scan, tuple[bool, str]]]
) -> Iterable[tuple[Scan, tuple[bool, str]]]:
    """With a progress bar on a terminal."""
    if not sys.stderr.isatty():
        return answers
    from rich.console import Console
    from rich.progress import track

    return track(answers, "preparing", total=len(scans), console=Console(stderr=True))


def _print(cache: Path, done: dict[str, object], failures: dict[str, str]) -> None:
    marked = "SIMULATED patients, " if done["simulated"] else ""
    print(
        f"{marked}{done['data']}: {done['scans']} scans at {done['spacing_mm']:g} mm in "
        f"{done['seconds']} s, {done['found_there']} of them were there already"
    )
    if failures:
        print(f"{len(failures)} failed: {cache / FAILURES}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
