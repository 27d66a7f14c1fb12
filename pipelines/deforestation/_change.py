"""`fieldsight deforestation change`: what was cleared between two dates.

Both dates are mapped; what was forest on the first map and is cleared land on the second is new.
Each map can be taken up where a run was stopped. A difference of NDVI or NBR stands beside it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldsight.datasets import scenes
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.maps import hectares
from fieldsight.datasets.maps.rasters import bounded
from fieldsight.pipelines import _console, _tracking, _training
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder
from fieldsight.pipelines.deforestation import (
    _bands,
    _change_baseline,
    _change_outputs,
    _change_pair,
    _change_rule,
    _map,
    _map_model,
)
from fieldsight.pipelines.deforestation._change_raster import Dates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fieldsight.pipelines.deforestation import Change
    from fieldsight.pipelines.deforestation._change_outputs import Changed, Rules
    from fieldsight.pipelines.deforestation._change_pair import Compared
    from fieldsight.pipelines.deforestation._map_model import MapModel


WORK = ".unfinished-change"


def change(settings: Change) -> int:
    """Compare two dates; return the exit code."""
    if settings.min_ha < 0:
        raise CommandError(f"--min-ha: at least 0 was needed. Received: {settings.min_ha}.")
    check_output_folder("--out", settings.out)
    bands = _bands.named(settings.bands)
    # Whether a scene is simulated is known once it is open: until then the model is held back.
    found = _tracking.find_model(
        settings.model, application=_map_model.APPLICATION, last=_map_model.SIMULATED,
        make_with=_map_model.MAKE_WITH, allow_simulated=True,
    )  # fmt: skip
    try:
        with (
            scenes.open_scene(settings.before, bands) as before,
            scenes.open_scene(settings.after, bands) as after,
        ):
            pair = _change_pair.compared(before, after, resample=settings.resample)
            rules = rules_of(
                found.card.facts, pair, settings.min_ha, forest=_bands.listed(settings.forest),
                cleared=_bands.listed(settings.cleared),
            )  # fmt: skip
            _training.prepare_backend(0)
            model = _map_model.load(found)
            changed = compare(
                pair, model, rules, settings.out, allow_simulated=settings.allow_simulated,
                window=settings.window,
            )  # fmt: skip
    except DataError as error:
        raise CommandError(str(error)) from error
    _tell(pair, changed, settings.out, settings.json)
    if settings.json:
        print(json.dumps({"model": found.title, **figures(pair, changed)}, indent=2))
    else:
        print(f"mapped by {found.title}")
    return 0


def rules_of(
    facts: Mapping[str, Any],
    pair: Compared,
    min_ha: float,
    *,
    forest: tuple[str, ...] | None = None,
    cleared: tuple[str, ...] | None = None,
) -> Rules:
    """How new clearings are found in two scenes by a model.

    Args:
        facts: of the model's card: `change` in them holds what was chosen on validation.
        pair: the scenes.
        min_ha: the minimum mapping unit.
        forest: names of the model's classes that are forest; None to know them by their names.
        cleared: names of those that are cleared land; None alike.

    Raises:
        CommandError: if it isn't known which classes are meant.
    """
    index = _change_baseline.index_of(Dates(pair.before, pair.after).bands)
    return _change_outputs.Rules(
        classes=_change_rule.classes_of(facts["classes"], forest=forest, cleared=cleared),
        network=_change_rule.from_facts(facts, min_ha),
        index=index,
        difference=_change_baseline.from_facts(facts, index or "NDVI", min_ha),
    )


def compare(
    pair: Compared,
    model: MapModel,
    rules: Rules,
    out: Path,
    *,
    allow_simulated: bool = False,
    window: int | None = None,
    quiet: bool = False,
) -> Changed:
    """Find what was cleared and write all there is to say of it.

    Args:
        pair: two dates on one grid.
        model: ready to run.
        rules: how new clearings are found.
        out: the folder for the answers.
        allow_simulated: whether a model of simulated scenes may map real ones.
        window: pixels of a side that are run at once; the answer doesn't depend on it.
        quiet: no progress on stderr.

    Raises:
        DataError: if a scene is damaged or the disk is full.
        CommandError: if a scene doesn't fit the model, the disk is too small, another run writes
            to this folder, or the window doesn't fit the model.
    """
    tell: Callable[[str], Callable[[int, int], None]]
    tell = _map.quietly if quiet else _console.progress
    views = [
        _map_model.fitting(scene, model, allow_simulated=allow_simulated)
        for scene in (pair.before, pair.after)
    ]
    with bounded(), _map.locked(out / WORK) as work:
        maps = []
        try:
            for name, scene, view in zip(
                ("before", "after"), (pair.before, pair.after), views, strict=True
            ):
                (work / name).mkdir(exist_ok=True)
                maps.append(
                    _map.probabilities(view, scene, model, work / name, window=window, tell=tell)
                )
            changed = _change_outputs.write_all(
                work / _map.DONE, pair, model, (maps[0], maps[1]), rules, tell
            )
        finally:
            for one in maps:
                one.close()
        _change_outputs.move(work / _map.DONE, out)
        shutil.rmtree(work)
    return changed


def figures(pair: Compared, changed: Changed) -> dict[str, Any]:
    """What was found, for JSON."""
    classical = changed.classical
    return {
        "dates": [None if one.date is None else one.date.isoformat()
                  for one in (pair.before, pair.after)],
        "new_clearings": changed.outlined.polygons,
        "new_ha": changed.outlined.area_ha,
        "smaller_ha": changed.outlined.small_ha,
        "method": hectares.METHOD,
        "hectares": {one.name: one.area_ha for one in changed.counts},
        "classical": None if classical is None else {
            "index": changed.index, "new_clearings": classical.polygons,
            "new_ha": classical.area_ha, "both_ha": changed.both_ha,
        },
        "shift_px": None if pair.shift is None else [pair.shift.rows, pair.shift.columns],
        "notes": list(changed.notes),
    }  # fmt: skip


def _tell(pair: Compared, changed: Changed, out: Path, as_json: bool) -> None:
    stream = sys.stderr if as_json else sys.stdout
    for note in changed.notes:
        print(f"note: {note}", file=sys.stderr)
    one = changed.outlined
    print(
        f"{pair.span}: {one.polygons:,} new clearings, {one.area_ha:,.1f} ha ({hectares.METHOD}); "
        f"{out}",
        file=stream,
    )
    if changed.classical is not None:
        print(
            f"beside it, a difference of {changed.index}: {changed.classical.polygons:,}, "
            f"{changed.classical.area_ha:,.1f} ha; {changed.both_ha:,.1f} ha by both",
            file=stream,
        )
