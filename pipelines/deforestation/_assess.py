"""`fieldsight deforestation assess`: how many hectares there are, estimated and not counted (D-13).

The first call draws a stratified sample of a map; an interpreter labels it in a GIS, seeing more
than the map's maker did; the second call gives error-adjusted hectares with their intervals, and
user's and producer's accuracy (Olofsson et al., 2014).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.maps import readings, samples
from fieldsight.datasets.maps.readings import Readings
from fieldsight.datasets.maps.samples import ClassMap, Stratum
from fieldsight.pipelines import _console, _environment
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_file
from fieldsight.pipelines.deforestation import _change_outputs, _change_raster, _map_outputs

if TYPE_CHECKING:
    from fieldsight.core.metrics import AreaEstimates, Estimates
    from fieldsight.pipelines.deforestation import Assess

SAMPLE = 300
SAMPLE_FILE, ESTIMATES_FILE = "sample.gpkg", "estimates.json"
METHOD = "estimated: stratified, error-adjusted (Olofsson et al. 2014)"
# What a map can't say of the ground is no stratum: estimates are of what it shows.
LEFT_OUT = (_map_outputs.CLOUDS, _change_raster.CLASSES[_change_raster.CLOUD])
# A rule of thumb of Cochran's, Sampling techniques, 1977, section 3.8: with fewer than five units
# on either side, a normal interval of a share says more than it knows.
FEW = 5


def assess(settings: Assess) -> int:
    """Draw a sample, or estimate from one; return the exit code."""
    if settings.labels is not None and settings.sample is not None:
        raise CommandError(
            "either --sample to draw, or --labels to estimate, was needed. Received: both."
        )
    try:
        raster = ClassMap(*_map_of(settings.map))
        if settings.labels is None:
            return _draw(settings, raster)
        return _estimate(settings, raster, settings.labels)
    except DataError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(
            f"the answer can't be written ({error.strerror or error}). Free some space, or give "
            "another --out."
        ) from error


def _map_of(path: Path) -> tuple[Path, dict[int, str]]:
    """The raster of classes that a person means, and its classes' names by value."""
    if path.is_dir():
        there = [path / name for name in (_map_outputs.CLASSES, _change_outputs.CHANGE)]
        found = [one for one in there if one.exists()]
        if len(found) != 1:
            received = " and ".join(one.name for one in found) or "neither"
            raise CommandError(
                f"a folder with {there[0].name} or {there[1].name} was needed. Received: {path}, "
                f"with {received}. Name the file that is meant."
            )
        path = found[0]
    if not path.exists():
        raise CommandError(
            f"a map was needed. Received: {path}, which isn't there. `fieldsight deforestation "
            "map` makes one."
        )
    return path, _names(path)


def _names(path: Path) -> dict[int, str]:
    import rasterio

    try:
        with rasterio.open(path) as raster:
            tags = raster.tags()
    except rasterio.errors.RasterioIOError:
        return {}  # ClassMap says what is wrong with it
    if "FIELDSIGHT_CLASSES" in tags:
        names = json.loads(tags["FIELDSIGHT_CLASSES"])
    else:
        names = [name for name in tags.get("CLASSES", "").split(",") if name]
    return {value: "" if name in LEFT_OUT else name for value, name in enumerate(names)}


def _about(raster: ClassMap) -> dict[str, str]:
    """What the map says of itself (C-10)."""
    import rasterio

    with rasterio.open(raster.path) as source:
        tags = source.tags()
    known = {
        "model": "FIELDSIGHT_MODEL", "trained_on": "FIELDSIGHT_TRAINED_ON",
        "model_simulated": "FIELDSIGHT_MODEL_SIMULATED", "dates": "FIELDSIGHT_DATES",
    }  # fmt: skip
    found = {name: tags[tag] for name, tag in known.items() if tag in tags}
    if tags.get("FIELDSIGHT_SIMULATED") == "1":
        found["scene"] = "SIMULATED"
    return found


def _draw(settings: Assess, raster: ClassMap) -> int:
    out = settings.out or raster.path.parent / SAMPLE_FILE
    check_output_file("--out", out, ".gpkg")
    total = SAMPLE if settings.sample is None else settings.sample
    strata = samples.strata_of(raster, _console.progress("counting the map's classes"))
    units = samples.allocate(strata, total, settings.minimum)
    drawn = samples.draw(raster, units, seed=settings.seed, progress=_console.progress("drawing"))
    note = "; ".join(f"{name}: {text}" for name, text in _about(raster).items())
    samples.write(out, raster, strata, drawn, note=note)
    rows = [
        {"class": one.name, "mapped_ha": one.area_ha, "units": units[one.value]} for one in strata
    ]
    if settings.json:
        print(json.dumps({"sample": str(out), "strata": rows}, indent=2))
    else:
        table = [(row["class"], f"{row['mapped_ha']:,.1f}", row["units"]) for row in rows]
        lines = [
            f"{len(drawn)} units in {out}: in its layer `{samples.SAMPLE}`, write into "
            f"`{samples.REFERENCE}` what covers each pixel, one of "
            f"{', '.join(one.name for one in strata)}; {samples.UNREADABLE} where nobody can tell.",
            f"Then: fieldsight deforestation assess {settings.map} --labels {out}",
        ]
        _console.show([("sample", ("class", "mapped ha", "units"), table)], lines)
    return 0


def _estimate(settings: Assess, raster: ClassMap, labels: Path) -> int:
    from fieldsight.core.metrics import area_estimates

    out = settings.out or raster.path.parent / ESTIMATES_FILE
    check_output_file("--out", out, ".json")
    strata = samples.strata_of(raster, _console.progress("counting the map's classes"))
    seen = readings.read(labels, raster, strata)
    try:
        found = area_estimates(
            seen.counts,
            [one.area_ha for one in strata],
            population=[one.pixels for one in strata],
        )
    except ValueError as error:
        raise CommandError(f"{labels}: {error}") from error
    notes = _notes(seen, found)
    report = _report(raster, labels, seen, found, notes)
    write_atomically(out, (json.dumps(report, indent=2) + "\n").encode())
    write_atomically(out.with_suffix(".csv"), _csv(report).encode())
    if settings.json:
        print(json.dumps(report, indent=2))
    else:
        _show(seen, found, [*notes, f"{out}, and {out.with_suffix('.csv').name} beside it"])
    return 0


def _notes(seen: Readings, found: AreaEstimates) -> list[str]:
    notes = [
        "estimates are of what the map shows: nodata and what lies under clouds are no part of them"
    ]
    if seen.unreadable:
        notes.append(
            f"{seen.unreadable} units couldn't be read, and are left out as if never drawn: "
            "where those differ from the rest, estimates are off"
        )
    for number, one in enumerate(seen.strata):
        units = int(seen.counts[:, number].sum())
        if units < FEW:
            notes.append(
                f"{one.name} was seen in {units} units: its interval is no more than a guess. Draw "
                "a larger sample"
            )
        if math.isnan(float(found.areas.standard_error[number])):
            notes.append(f"{one.name} has no interval: a class has one readable unit alone")
    return notes


def _report(
    raster: ClassMap,
    labels: Path,
    seen: Readings,
    found: AreaEstimates,
    notes: Sequence[str],
) -> dict[str, Any]:
    names = [one.name for one in seen.strata]
    return {
        "method": METHOD,
        "confidence": 0.95,
        "map": raster.path.name,
        **_about(raster),
        "labels": labels.name,
        "units": int(seen.counts.sum()),
        "unreadable": seen.unreadable,
        "classes": [
            _of_class(one, number, found) for number, one in enumerate(seen.strata)
        ],
        "overall_accuracy": _told(found.overall),
        "error_matrix": {"mapped in rows, seen in columns": names,
                         "units": seen.counts.tolist(),
                         "shares_of_the_area": found.shares.round(8).tolist()},
        "notes": list(notes),
        "software": f"fieldsight {_environment.version('fieldsight') or 'unknown'}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def _of_class(one: Stratum, number: int, found: AreaEstimates) -> dict[str, Any]:
    return {
        "class": one.name,
        "mapped_ha": one.area_ha,
        "sampled": int(found.sampled[number]),
        "estimated_ha": _told(found.areas, number),
        "users_accuracy": _told(found.users, number),
        "producers_accuracy": _told(found.producers, number),
    }


def _told(found: Estimates, number: int | None = None) -> dict[str, float | None]:
    """A value, its standard error and its interval; None where there is none (JSON has no NaN)."""
    told = {}
    for field in dataclasses.fields(found):
        values = getattr(found, field.name)
        value = float(values if number is None else values[number])
        told[field.name] = value if math.isfinite(value) else None
    return told


def _csv(report: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kinds = ("estimated_ha", "users_accuracy", "producers_accuracy")
    ends = ("value", "standard_error", "low", "high")
    heads = [kind if end == "value" else f"{kind}_{end}" for kind in kinds for end in ends]
    writer.writerow(("class", "mapped_ha", "sampled", *heads, "method", "map", "model"))
    for one in report["classes"]:
        cells = [one[kind][end] for kind in kinds for end in ends]
        told = ["" if cell is None else f"{cell:.6f}" for cell in cells]
        writer.writerow(
            (one["class"], f"{one['mapped_ha']:.4f}", one["sampled"], *told, METHOD, report["map"],
             report.get("model", ""))
        )  # fmt: skip
    return text.getvalue()


def _show(seen: Readings, found: AreaEstimates, lines: Sequence[str]) -> None:
    names = [one.name for one in seen.strata]
    areas, users, producers = found.areas, found.users, found.producers
    rows = [
        (
            one.name, f"{one.area_ha:,.1f}", f"{areas.value[n]:,.1f}", _interval(areas, n, ",.1f"),
            f"{users.value[n]:.2f}", _interval(users, n, ".2f"),
            f"{producers.value[n]:.2f}", _interval(producers, n, ".2f"),
        )
        for n, one in enumerate(seen.strata)
    ]  # fmt: skip
    matrix = [(name, *map(int, row)) for name, row in zip(names, seen.counts, strict=True)]
    overall = found.overall
    print(f"{METHOD}", file=sys.stderr)
    _console.show(
        [
            ("hectares", ("class", "mapped", "estimated", "95 %", "user's", "95 %", "producer's",
                          "95 %"), rows),
            ("units: mapped in rows, seen in columns", ("", *names), matrix),
        ],
        [f"overall accuracy {float(overall.value):.3f} [{float(overall.low):.3f}, "
         f"{float(overall.high):.3f}]", *lines],
    )  # fmt: skip


def _interval(found: Estimates, number: int, form: str) -> str:
    low, high = float(found.low[number]), float(found.high[number])
    return "unknown" if math.isnan(low) else f"{low:{form}} to {high:{form}}"
