"""The pictures and the page of a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldsight.pipelines.deforestation import _recipes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldsight.pipelines._models import Card
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.deforestation._forest import Forest
    from fieldsight.pipelines.deforestation._scenes_stage import Scored
    from fieldsight.pipelines.deforestation._tag_comparison import TagComparison
    from fieldsight.pipelines.deforestation._tagger import Tagger

Drawn = dict[str, "tuple[str, str, Figure]"]  # title, caption and figure by the name of the file

QUICKLOOK = "quicklook.png"  # of a mapped scene
SHOWN = 12  # chips of the lowest F2


def report(
    run: Run,
    forest: Forest,
    tagger: Tagger,
    tags: TagComparison,
    scored: Scored | None,
    mapped: Path | None,
    figures: Mapping[str, float],
    card: Card,
) -> None:
    """Draw the run and log its pictures and its page, `report.html`.

    Args:
        run: the run to log to.
        forest: the data.
        tagger: with its losses.
        tags: its scores.
        scored: the mapper and its scores; None where the data have no scenes.
        mapped: the folder of one scene's map.
        figures: the final metrics.
        card: the tagger's.
    """
    from fieldsight.pipelines import _environment, _report

    word = "SIMULATED forest" if forest.simulated else forest.name
    drawn = _of_tags(forest, tagger, tags, word)
    if scored is not None:
        from fieldsight.pipelines.deforestation import _scenes_stage

        drawn |= _scenes_stage.drawn_of(forest, scored, word)
    shown = _report.keep_pictures(run, drawn)
    if mapped is not None:
        content = (mapped / QUICKLOOK).read_bytes()
        caption = "What `map` writes of it, among much else: hectares are mapped, not estimated."
        shown.insert(0, ("One test scene, mapped", caption, content))
    notes = [f"Split: {forest.chips.how}. The test scenes were scored once.", card.limits]
    if card.facts["learned_land_cover"]:
        notes.append(f"Of tags {_recipes.COVER}.")
    if forest.simulated:
        notes.insert(0, "SIMULATED forest: these figures say nothing of real pictures.")
    page = _report.write_report(
        run.folder / "report.html",
        title=f"Deforestation: {forest.name}",
        summary={
            name: value
            for name, value in figures.items()
            if name.removeprefix("baseline_").startswith(_recipes.HEADLINE)
        },
        baseline="the best method without a network",
        settings=run.settings,
        environment=_environment.tags() | _environment.device_tags(),
        card=dataclasses.asdict(card),
        figures=shown,
        tables=[*tags.tables, *(scored.tables if scored else ())],
        notes=notes,
    )
    run.artifact(page)


def _of_tags(forest: Forest, tagger: Tagger, tags: TagComparison, word: str) -> Drawn:
    from fieldsight.pipelines import _figures
    from fieldsight.pipelines.deforestation import _tag_comparison, _tag_pictures

    network = tags.test[_tag_comparison.NETWORK]
    cohort = forest.chips
    scenes = len(set(cohort.groups("test")))
    test = f"{word}, {len(network.tags):,} test chips of {scenes} scenes"
    worst = np.argsort(network.f2, kind="stable")[:SHOWN]
    names = [cohort.chips.names[i] for i in cohort.sides["test"][worst]]
    drawn: Drawn = {
        "tags": (
            "Each tag by itself",
            "How well each method puts the chips that have a tag before those that haven't.",
            _tag_pictures.tags(tags.test, data=test),
        ),
        "mistaken": (
            "Chips of the lowest F2",
            "What was missed has a minus, what isn't there a plus.",
            _tag_pictures.mistaken(
                cohort.pixels("test")[worst], network.taken(worst), names, cohort.chips.bands,
                data=test,
            ),
        ),
        "reliability": (
            "Calibration",
            "What was said of each tag, against how often it was so.",
            _tag_pictures.reliability(network, data=test),
        ),
        "curves_tagger": (
            "Learning curves of the tagger",
            "Loss by epoch, on training chips and on those of the validation scenes.",
            _figures.learning_curves(tagger.history, data=f"{word}, tagger"),
        ),
    }  # fmt: skip
    if tags.neighbours:
        count = len(cohort.sides["neighbours"])
        drawn["leak"] = (
            "What a split at random would have told",
            "Neighbours of chips that were learned from are easier than scenes never seen.",
            _tag_pictures.leak(
                tags.test, tags.neighbours, data=f"{test}; {count:,} chips of training scenes"
            ),
        )
    return drawn
