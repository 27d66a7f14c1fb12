"""`fieldsight deforestation prepare`: check chips or scenes, and keep what a training needs."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldsight.datasets import planet
from fieldsight.datasets.errors import DatasetNotFoundError
from fieldsight.datasets.planet import Product
from fieldsight.pipelines._console import progress, say
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import FAILURES, check_output_folder, write_failures
from fieldsight.pipelines.deforestation import _chip_cache, _fields

if TYPE_CHECKING:
    from fieldsight.datasets.planet import ChipSet
    from fieldsight.pipelines.deforestation import Prepare

PRODUCTS: tuple[Product, ...] = ("tif", "jpg")


def prepare(settings: Prepare) -> int:
    """Fill the cache and return the exit code: 1 if some failed, 2 if there was nothing to do."""
    check_output_folder("--cache", settings.cache)
    sets = _sets(settings.data)
    has_scenes = any(settings.data.glob(f"labels/*{_fields.LANDCOVER}"))
    if not sets and not has_scenes:
        raise CommandError(
            f"--data: train_v2.csv with train-tif-v2/ or train-jpg/, or labels/*{_fields.LANDCOVER}"
            f" with scenes/, were needed. Received: {settings.data}, which has neither."
        )
    started = time.perf_counter()
    done: dict[str, Any] = {"data": settings.data.name}
    failures: dict[str, str] = {}
    for chips in sets:
        failures |= _chips(chips, settings.cache, done)
    if has_scenes:
        fields, failed = _fields.of_folder(
            settings.data, settings.cache / "fields", progress("reading the scenes")
        )
        failures |= failed
        done |= {"scenes": len(fields), "classes": list(fields[0].classes[1:])}
    write_failures(settings.cache, "name", failures)
    done |= {"failed": len(failures), "seconds": round(time.perf_counter() - started, 1)}
    if settings.json:
        print(json.dumps(done))
    else:
        _print(settings.cache, done)
    return int(bool(failures))


def _sets(data: Path) -> list[ChipSet]:
    """The chips of both products, as far as they are there."""
    found = []
    for product in PRODUCTS:
        with contextlib.suppress(DatasetNotFoundError):
            found.append(planet.load(data, product))
    return found


def _chips(chips: ChipSet, cache: Path, done: dict[str, Any]) -> Mapping[str, str]:
    """Every chip of a product read and kept; what is wrong with the others."""
    for note in chips.notes:
        say(f"note: {note}")
    tell = progress(f"reading {len(chips):,} chips, {chips.product}")
    good, _, pixels, failed = _chip_cache.read(chips, cache, tell)
    done["simulated"] = chips.simulated
    done[chips.product] = {"chips": len(good), **_bands(chips, pixels), **_tags(chips, good)}
    return {**chips.failures, **failed}


def _bands(chips: ChipSet, pixels: Any) -> dict[str, Any]:
    """Mean and deviation of each band over some of the chips."""
    some = np.asarray(pixels[:: max(1, len(pixels) // 500)], np.float64)
    mean, spread = some.mean(axis=(0, 1, 2)), some.std(axis=(0, 1, 2))
    return {
        "bands": {
            band: {"mean": round(float(m), 1), "deviation": round(float(s), 1)}
            for band, m, s in zip(chips.bands, mean, spread, strict=True)
        }
    }


def _tags(chips: ChipSet, good: Any) -> dict[str, Any]:
    counts = chips.tags[good].sum(axis=0).tolist()
    return {"tags": dict(zip(planet.TAGS, map(int, counts), strict=True))}


def _print(cache: Path, done: dict[str, Any]) -> None:
    print(f"{'SIMULATED, ' if done.get('simulated') else ''}{done['data']}: {done['seconds']} s")
    for product in PRODUCTS:
        if found := done.get(product):
            bands = "; ".join(
                f"{band} {one['mean']:g} +- {one['deviation']:g}"
                for band, one in found["bands"].items()
            )
            tags = ", ".join(f"{tag} {count:,}" for tag, count in found["tags"].items() if count)
            print(f"{product}: {found['chips']:,} chips; {bands}\n  {tags}")
    if "scenes" in done:
        print(f"{done['scenes']} scenes of {', '.join(done['classes'])}")
    if done["failed"]:
        print(f"{done['failed']} failed: {cache / FAILURES}")
