"""The mapper beside an NDVI threshold and a random forest, on the same test scenes, once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.metrics import (
    Interval,
    Reliability,
    expected_calibration_error,
    reliability,
)
from fieldsight.pipelines._models import Card, model_name
from fieldsight.pipelines._threads import in_threads
from fieldsight.pipelines.deforestation import _map_baselines, _map_scores, _mapper
from fieldsight.pipelines.deforestation._change_maps import Maps, Said
from fieldsight.pipelines.deforestation._fields import STRIP, Field
from fieldsight.pipelines.deforestation._map_scores import Counts
from fieldsight.pipelines.deforestation._mapper import Mapper

Array = NDArray[Any]
Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # title, columns, rows
Draw = Callable[[Field], Array]

SAMPLED = 40_000  # pixels of a field by which the forest learns, at most
THINNED = 7  # every so many rows and columns: pixels by which probabilities are judged
NETWORK, NDVI, FOREST = "network", "NDVI threshold", "random forest"
INTENDED_USE = (
    "Research on what covers the ground in satellite scenes: maps of forest and clearings, and "
    "their mapped hectares. Hectares of a map are no estimate; `assess` gives one."
)
LIMITS = (
    "Scenes of other bands, units or ground sampling distances than it was trained on are "
    "refused. What lies under clouds, smoke and their shadows is not seen."
)
SIMULATED_LIMITS = (
    "Trained on SIMULATED scenes alone: its figures say nothing of real ones, where its maps may "
    "be anything."
)


@dataclasses.dataclass(frozen=True)
class MapComparison:
    """What was measured.

    Attributes:
        figures: by name: `test_map_clearing_iou`, its `_low` and `_high`, `baseline_test_map_...`,
            `val_map_clearing_iou`.
        tables: as `lung._train.show` prints them.
        example: the number of the test field that is drawn.
        maps: `(rows, columns)` uint8 of the example by the name of what drew it.
        reliability: what was said of test pixels against what came true.
        tuned: what was chosen on validation, for the log.
    """

    figures: Mapping[str, float]
    tables: Sequence[Table]
    example: int
    maps: Mapping[str, Array]
    reliability: Reliability
    tuned: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Classical:
    """The methods that a mapper stands beside, tuned; no network is needed for them.

    Attributes:
        threshold: of NDVI.
        forest: on pixels.
        maps: the forest's of the fields that are scored, by name.
    """

    threshold: _map_baselines.NdviThreshold
    forest: _map_baselines.PixelForest
    maps: Mapping[str, Array]


def classical(
    fields: Sequence[Field],
    val: Sequence[Field],
    scored: Sequence[Field],
    *,
    target: str = "clearing",
    seed: int = 0,
) -> Classical:
    """Tune an NDVI threshold and a random forest on validation; map what is scored by the forest.

    Args:
        fields: that the forest learns from.
        val: to tune by.
        scored: to be mapped.
        target: the class that is told apart from all else.
        seed: of the forest.
    """
    value = val[0].classes.index(target)
    threshold, _, _ = tuned_ndvi(val, value)
    forest = _map_baselines.fit_forest(
        sampled(fields, seed), sampled(val, seed), val[0].bands, target=value, seed=seed
    )
    return Classical(threshold, forest, {one.name: forest_map(forest, one) for one in scored})


def compare(
    mapper: Mapper,
    classics: Classical,
    val: Sequence[Field],
    test: Sequence[Field],
    *,
    target: str = "clearing",
    other: Sequence[Field] = (),
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    maps: Maps | None = None,
) -> MapComparison:
    """Score a mapper and what it stands beside on the test fields, once (C-9).

    Args:
        mapper: trained.
        classics: tuned, which have mapped the test's and the others.
        val: whose scores of the mapper are told too.
        test: to be scored.
        target: the class that is told apart from all else.
        other: fields of another setting, never trained on.
        seed: of the intervals.
        say: told what is being done.
        maps: of the mapper, for whoever asks for them again.
    """
    said = Maps(mapper) if maps is None else maps
    first = test[0]
    value = first.classes.index(target)
    threshold, forest = classics.threshold, classics.forest
    drawn: dict[str, Draw] = {
        NETWORK: lambda field: said.of_field(field).classes,
        NDVI: lambda field: ndvi_map(threshold, field, value),
        FOREST: lambda field: classics.maps[field.name],
    }
    example = _example(test, value)
    say(f"map: {len(test)} test scenes, once")
    shown: dict[str, Array] = {"truth": np.asarray(test[example].labels)}

    def scored(field: Field) -> tuple[dict[str, Counts], tuple[Array, Array]]:
        ours = said.of_field(field)
        found = {
            name: ours.classes if name == NETWORK else draw(field) for name, draw in drawn.items()
        }
        if field is test[example]:
            shown.update(found)
        counted = {name: _counted(field, one, value) for name, one in found.items()}
        return counted, _sureness(field, ours)

    # While one scene is counted, the next is mapped.
    of_each = [answer for _, answer in in_threads(scored, test)]
    counts = {name: [counted[name] for counted, _ in of_each] for name in drawn}
    told = {
        name: _map_scores.intervals(each, first.classes, target, seed=seed)
        for name, each in counts.items()
    }
    figures = _figures(told, target)
    figures |= _gains(counts, first.classes, target, seed)
    sureness = zip(*(sure for _, sure in of_each), strict=True)
    chances, right = (np.concatenate(parts) for parts in sureness)
    if (error := expected_calibration_error(chances, right)) is not None:
        figures["test_map_calibration_error"] = error
    tables = [table(f"maps of {len(test)} test scenes", told, target), _by_class(told, first)]
    told_val = _told(drawn, [NETWORK], val, value, target, seed)
    figures |= _map_scores.flat(told_val[NETWORK], "val_map_")
    if other:
        say(f"map: {len(other)} scenes of another setting")
        elsewhere = _told(drawn, list(drawn), other, value, target, seed)
        for field in other:
            said.forget(field.name)
        figures |= _figures(elsewhere, target, "other")
        tables.append(table(f"maps of {len(other)} scenes of another setting", elsewhere, target))
    tuned = {
        "map_ndvi_lower": threshold.lower,
        "map_ndvi_upper": threshold.upper,
        "map_forest_leaf": forest.leaf,
        "map_forest_balanced": forest.balanced,
        "map_temperature": mapper.temperature,
    }
    return MapComparison(figures, tables, example, shown, reliability(chances, right), tuned)


def tuned_ndvi(
    val: Sequence[Field], target: int
) -> tuple[_map_baselines.NdviThreshold, float, Array]:
    """The thresholds of NDVI that draw validation's clearings best."""
    counts = _map_baselines.NdviCounts()
    for field in val:
        for place in _strips(field):
            index = _map_baselines.ndvi(field.read(place), field.bands)
            counts.add(index, np.asarray(field.labels[place]), target)
    return counts.best()


def sampled(fields: Sequence[Field], seed: int) -> tuple[Array, Array]:
    """`(n, bands)` labelled pixels as they come, `SAMPLED` of a field at most, and their values."""
    rng = np.random.default_rng(seed)
    values, truths = [], []
    for field in fields:
        found = np.flatnonzero(np.asarray(field.labels))
        found = np.sort(rng.permutation(found)[:SAMPLED])
        places = np.column_stack(np.unravel_index(found, field.labels.shape))
        values.append(_mapper.pixels(field, places))
        truths.append(np.asarray(field.labels)[tuple(places.T)])
    return np.concatenate(values), np.concatenate(truths)


def ndvi_map(threshold: _map_baselines.NdviThreshold, field: Field, target: int) -> Array:
    """`(rows, columns)` uint8: the target where NDVI says so, and another class elsewhere."""
    found = np.zeros(field.shape[:2], np.uint8)
    for place in _strips(field):
        is_target = threshold(_map_baselines.ndvi(field.read(place), field.bands))
        found[place] = np.where(is_target, target, 1 if target != 1 else 2)
    return found


def forest_map(forest: _map_baselines.PixelForest, field: Field) -> Array:
    """`(rows, columns)` uint8: the forest's class of each labelled pixel, 0 elsewhere."""
    found = np.zeros(field.shape[:2], np.uint8)
    for place in _strips(field):
        known = np.asarray(field.labels[place]) > 0
        found[place][known] = forest(field.read(place)[known])
    return found


def _strips(field: Field) -> list[tuple[slice, slice]]:
    rows, columns, _ = field.shape
    return [
        (slice(row, min(rows, row + STRIP)), slice(0, columns)) for row in range(0, rows, STRIP)
    ]


def _sureness(field: Field, said: Said) -> tuple[Array, Array]:
    """Of some labelled pixels: `(n,)` float64 how sure the network was, `(n,)` bool if rightly."""
    some = (slice(None, None, THINNED),) * 2
    truth = np.asarray(field.labels)[some]
    known = truth > 0
    chances = np.clip(said.chances[some][known].astype(np.float64), 0, 1)
    return chances, (said.classes[some] == truth)[known]


def _counted(field: Field, found: Array, value: int) -> Counts:
    return _map_scores.count(
        np.asarray(field.labels), found, len(field.classes) - 1, group=field.group, target=value,
        pixel_area_m2=field.pixel_area_m2,
    )  # fmt: skip


def _drawn(draw: Draw, value: int, field: Field) -> Counts:
    return _counted(field, draw(field), value)


def _told(
    drawn: Mapping[str, Draw],
    names: Sequence[str],
    fields: Sequence[Field],
    value: int,
    target: str,
    seed: int,
) -> dict[str, dict[str, Interval[float]]]:
    return {
        name: _map_scores.intervals(
            [one for _, one in in_threads(functools.partial(_drawn, drawn[name], value), fields)],
            fields[0].classes, target, seed=seed,
        )
        for name in names
    }  # fmt: skip


def _figures(
    told: Mapping[str, Mapping[str, Interval[float]]], target: str, side: str = "test"
) -> dict[str, float]:
    figures = _map_scores.flat(told[NETWORK], f"{side}_map_")
    for name, key in ((NDVI, "ndvi"), (FOREST, "forest")):
        of_target = _map_scores.spelled(target)
        # NDVI knows no other class.
        kept = {k: v for k, v in told[name].items() if name != NDVI or k.startswith(of_target)}
        figures |= _map_scores.flat(kept, f"baseline_{side}_map_{key}_")
    return figures


def _gains(
    counts: Mapping[str, Sequence[Counts]], classes: Sequence[str], target: str, seed: int
) -> dict[str, float]:
    name = f"{_map_scores.spelled(target)}_iou"
    overlap = _map_scores.statistics(classes, target)[name]
    gains = {
        f"{name}_gain_over_{key}": _map_scores.gain(
            counts[NETWORK], counts[other], overlap, seed=seed
        )
        for other, key in ((NDVI, "ndvi"), (FOREST, "forest"))
    }
    return _map_scores.flat(gains, "test_map_")


def table(title: str, told: Mapping[str, Mapping[str, Interval[float]]], target: str) -> Table:
    """Networks and baselines, a row each."""
    of = _map_scores.spelled(target)
    columns = {
        f"{of}_iou": f"{target} IoU",
        f"{of}_object_f1": "objects' F1",
        f"{of}_hectares_error": "hectares' error",
        "mean_iou": "mean IoU",
    }
    rows = [
        [name, *("" if name == NDVI and key == "mean_iou" else _shown(each.get(key), key)
                 for key in columns)]
        for name, each in told.items()
    ]  # fmt: skip
    return title, ["", *columns.values()], rows


def _by_class(told: Mapping[str, Mapping[str, Interval[float]]], first: Field) -> Table:
    shown = [name for name in told if name != NDVI]
    rows = [
        [name, *(_shown(told[which].get(f"{_map_scores.spelled(name)}_iou")) for which in shown)]
        for name in first.classes[1:]
    ]
    return "IoU by class", ["", *shown], rows


def _shown(interval: Interval[float] | None, name: str = "") -> str:
    if interval is not None and name.endswith("_error") and not np.isnan(interval.value):
        return f"{interval.value:+.1%} ({interval.low:+.1%} to {interval.high:+.1%})"
    return _map_scores.shown(interval)


def _example(test: Sequence[Field], value: int) -> int:
    """The test field of which a third, about, is the target: it shows most."""
    shares = [float(np.mean(np.asarray(field.labels) == value)) for field in test]
    return int(np.argmin(np.abs(np.array(shares) - 1 / 3)))


def card(
    mapper: Mapper,
    figures: Mapping[str, float],
    *,
    data: str,
    data_fingerprint: str,
    split_fingerprint: str,
    run_id: str,
    facts: Mapping[str, Any] | None = None,
) -> Card:
    """The card of a mapper, registered as `fieldsight-deforestation-map-<data>`.

    Args:
        mapper: trained.
        figures: all that were measured; those of other parts are left out.
        data: the data's name.
        data_fingerprint: of the data.
        split_fingerprint: of the split.
        run_id: of the run, its local id.
        facts: more than the mapper's own.
    """
    known = mapper.facts
    simulated = bool(known["simulated"])
    sides = ("test_map_", "baseline_test_map_", "val_map_", "other_map_", "baseline_other_map_")
    bands = ", ".join(known["bands"])
    names = ", ".join(known["classes"][1:])
    return Card(
        name=model_name(_mapper.APPLICATION, data),
        application=_mapper.APPLICATION,
        architecture=f"unet(normalization=True) of {known['filters']} filters, depth "
        f"{known['depth']}",
        data=data,
        simulated=simulated,
        data_fingerprint=data_fingerprint,
        split_fingerprint=split_fingerprint,
        intended_use=INTENDED_USE,
        limits=f"{SIMULATED_LIMITS} {LIMITS}" if simulated else LIMITS,
        figures={name: value for name, value in figures.items() if name.startswith(sides)},
        input=f"(n, rows, columns, {len(known['bands'])}) {known['units']}: {bands}; sides are "
        f"multiples of {known['stride']}",
        output=f"(n, rows, columns, {len(known['classes']) - 1}) logits: {names}; channel k is "
        "value k + 1 of the map, 0 is nodata",
        run_id=run_id,
        facts={**known, "temperature": mapper.temperature, **(facts or {})},
    )
