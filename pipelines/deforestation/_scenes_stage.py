"""The mapper's part of a training: fitted, scored beside its baselines, one scene mapped by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fieldsight.pipelines._console import progress, say
from fieldsight.pipelines.deforestation import (
    _change_scores,
    _map_comparison,
    _map_pictures,
    _mapper,
)
from fieldsight.pipelines.deforestation._change_maps import Maps
from fieldsight.pipelines.deforestation._change_scores import SCENE, ChangeScores, Tuned
from fieldsight.pipelines.deforestation._map_comparison import Classical, MapComparison
from fieldsight.pipelines.deforestation._mapper import Mapper

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldsight.pipelines._models import Card
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.deforestation._fields import Field
    from fieldsight.pipelines.deforestation._forest import Forest
    from fieldsight.pipelines.deforestation._map_comparison import Table

NEW = (230, 30, 230)  # the colour of new clearings: no ground has it
OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclasses.dataclass(frozen=True)
class Scored:
    """What was measured of a mapper.

    Attributes:
        mapper: trained.
        maps: beside an NDVI threshold and a random forest.
        tuned: the rules of new clearing, chosen on validation; None where no place has two dates.
        changes: beside a difference of NDVI; None alike.
    """

    mapper: Mapper
    maps: MapComparison
    tuned: Tuned | None
    changes: ChangeScores | None

    @property
    def figures(self) -> dict[str, float]:
        """All of them, by name."""
        found = dict(self.maps.figures)
        rivals = [found[f"baseline_test_map_{name}_clearing_iou"] for name in ("ndvi", "forest")]
        found["baseline_test_map_clearing_iou"] = max(rivals)
        if self.tuned is not None and self.changes is not None:
            found |= {**self.tuned.figures, **self.changes.figures}
        return found

    @property
    def tables(self) -> list[Table]:
        """Title, columns, rows."""
        return [*self.maps.tables, *(self.changes.tables if self.changes else ())]


def fit(
    forest: Forest,
    folder: Path,
    on_epoch: OnEpoch,
    *,
    full: bool,
    epochs: float,
    seed: int,
) -> Mapper:
    """Train the mapper on the training scenes, going on from the last epoch in `folder`.

    Args:
        forest: the data.
        folder: of the checkpoint.
        on_epoch: told the epoch and its metrics.
        full: by the long recipe.
        epochs: times its epochs.
        seed: of the run.
    """
    recipe = _mapper.scaled(_mapper.FULL if full else _mapper.QUICK, epochs, seed)
    fields, count = forest.fields, recipe.training.epochs
    say(
        f"mapper: {len(fields['train'])} scenes to train on, {len(fields['val'])} to choose by, "
        f"{count} epochs of {recipe.steps} batches"
    )
    return _mapper.train(fields["train"], fields["val"], recipe, folder, on_epoch)


def classical(forest: Forest, seed: int) -> Classical:
    """The methods that a mapper stands beside: tuned on validation, the scenes mapped."""
    chosen = scored_fields(forest)
    return _map_comparison.classical(
        forest.fields["train"], chosen["val"], [*chosen["test"], *chosen.get("other", ())],
        seed=seed,
    )  # fmt: skip


def score(forest: Forest, mapper: Mapper, classics: Classical, seed: int) -> Scored:
    """Choose the rules of change on validation, score the test scenes, once."""
    fields = forest.fields
    chosen = scored_fields(forest)
    said = Maps(mapper)
    maps = _map_comparison.compare(
        mapper, classics, chosen["val"], chosen["test"], other=chosen.get("other", ()),
        seed=seed, say=say, maps=said,
    )  # fmt: skip
    val, test = (_pairs(forest, fields[side]) for side in ("val", "test"))
    if not val or not test:
        return Scored(mapper, maps, None, None)
    tuned = _change_scores.tune(val, said, progress=progress("change: rules, on validation"))
    told = progress("change: the test scenes' two dates, once")
    return Scored(mapper, maps, tuned, _change_scores.score(test, said, tuned, progress=told))


def scored_fields(forest: Forest) -> dict[str, list[Field]]:
    """Of each place one date, the earlier and the later in turn: the other is nearly its twin."""
    chosen: dict[str, list[Field]] = {}
    for side, fields in forest.fields.items():
        places: dict[str, list[Field]] = {}
        for field in fields:
            places.setdefault(field.group, []).append(field)
        dates = enumerate(places.values())
        chosen[side] = [of_place[number % len(of_place)] for number, of_place in dates]
    return chosen


def _pairs(forest: Forest, fields: Sequence[Field]) -> list[_change_scores.Pair]:
    groups = {field.group for field in fields}
    if not any(forest.folder.glob("labels/*_clearings.gpkg")):
        return []
    return [pair for pair in _change_scores.pairs_of(forest.folder) if pair.name in groups]


def card(forest: Forest, scored: Scored, figures: Mapping[str, float], run_id: str) -> Card:
    """Of the mapper."""
    return _map_comparison.card(
        scored.mapper, figures, data=forest.name,
        data_fingerprint=forest.chips.chips.fingerprint,
        split_fingerprint=forest.chips.split_fingerprint, run_id=run_id,
        facts={} if scored.tuned is None else {"change": scored.tuned.facts()},
    )  # fmt: skip


def map_example(forest: Forest, scored: Scored, file: Path, card: Card, run: Run) -> Path:
    """All that `map` writes, of one test scene, kept with the run; returns the folder."""
    from fieldsight.datasets import scenes
    from fieldsight.pipelines._models import ModelFile
    from fieldsight.pipelines.deforestation import _map, _map_model

    field = scored_fields(forest)["test"][scored.maps.example]
    say(f"mapping one test scene, {field.name}")
    model = _map_model.load(ModelFile(file, card, card.name, run_id=run.id))
    out = run.folder / "scene" / field.name
    with scenes.open_scene(forest.folder / "scenes" / f"{field.name}{SCENE}") as scene:
        view = _map_model.fitting(scene, model, allow_simulated=True)
        _map.map_scene(scene, view, model, out, quiet=True)
    run.artifact(out, "scene")
    return out


def drawn_of(forest: Forest, scored: Scored, word: str) -> dict[str, tuple[str, str, Figure]]:
    """Title, caption and figure by the name of the file."""
    from fieldsight.pipelines import _figures

    field = scored_fields(forest)["test"][scored.maps.example]
    title = "Maps of one test scene"
    drawn = {
        "maps": (
            title,
            "What covers the ground in truth, and as each method maps it.",
            _map_pictures.panels(
                field, scored.maps.maps, title=title, data=f"{word}, {field.name}", columns=2
            ),
        )
    }
    if scored.changes is not None and scored.changes.masks:
        drawn["changes"] = (
            "What was cleared between two dates",
            "In truth, by the mapper's two maps, and by the difference of NDVI.",
            _changes(forest, scored.changes, word),
        )
    drawn["curves_mapper"] = (
        "Learning curves of the mapper",
        "Loss by epoch, on training windows and on those of the validation scenes.",
        _figures.learning_curves(scored.mapper.history, data=f"{word}, mapper"),
    )
    return drawn


def _changes(forest: Forest, changes: ChangeScores, word: str) -> Figure:
    """One test place: both dates, and each method's new clearings on the later one."""
    from fieldsight.datasets.maps.quicklook import tinted
    from fieldsight.pipelines import _figures

    pair = _pairs(forest, forest.fields["test"])[changes.example]
    dates = [field for field in forest.fields["test"] if field.group == pair.name]
    step = max(1, max(dates[0].shape[:2]) // _map_pictures.LARGEST)
    before, after = (_map_pictures.picture(field, step) for field in dates)
    cells = [(before, dates[0].name, "before"), (after, dates[1].name, "after")]
    for name, mask in changes.masks.items():
        share = f"{mask.mean():.1%} of the scene"
        cells.append((tinted(after, mask[::step, ::step], NEW, 0.9), name, share))
    return _figures.gallery(cells, "What was cleared between two dates", word, columns=3)
