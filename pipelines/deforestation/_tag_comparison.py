"""The tagger beside what needs no network, on the same chips: tuned on validation, scored once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fieldsight.pipelines.deforestation import _tag_baselines, _tag_scores, _tagger
from fieldsight.pipelines.deforestation._tag_scores import Answers, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from fieldsight.pipelines.deforestation._chips import Cohort
    from fieldsight.pipelines.deforestation._tagger import Tagger

Array = NDArray[Any]

NETWORK, LOGISTIC, FREQUENCY = "network", "logistic regression", "frequencies"


@dataclasses.dataclass(frozen=True)
class TagComparison:
    """What was measured.

    Attributes:
        figures: by name: `test_f2`, its `_low` and `_high`, `baseline_test_f2` (the logistic
            regression's), `frequency_test_f2`, `random_split_test_f2` (chips of training scenes
            that weren't learned from), `other_f2` (another setting), `val_f2`.
        tables: title, columns, rows.
        test: answers on the test scenes by method.
        neighbours: answers on chips of training scenes by method; none where scenes aren't known.
        penalty: of the logistic regression, chosen on validation.
    """

    figures: Mapping[str, float]
    tables: Sequence[Table]
    test: Mapping[str, Answers]
    neighbours: Mapping[str, Answers]
    penalty: float


def compare(
    tagger: Tagger, cohort: Cohort, other: Cohort | None, *, average: bool = False
) -> TagComparison:
    """Fit and tune the baselines, then score all of them on the test chips, once (C-9).

    Args:
        tagger: trained, its thresholds chosen.
        cohort: its chips.
        other: chips of another setting; None for none.
        average: answer over the eight symmetries.
    """
    methods = _Methods(tagger, cohort, average)
    test = methods.answers(cohort, "test")
    neighbours = methods.answers(cohort, "neighbours") if len(cohort.sides["neighbours"]) else {}
    elsewhere = {} if other is None else methods.answers(other, "test")
    figures = _tag_scores.figures_of(test[NETWORK], "test_")
    for name, prefix in ((LOGISTIC, "baseline_test_"), (FREQUENCY, "frequency_test_")):
        figures |= _tag_scores.figures_of(test[name], prefix)
    gain, low, high = _tag_scores.more_than(test[NETWORK], test[LOGISTIC])
    figures |= {
        "test_f2_difference": gain,
        "test_f2_difference_low": low,
        "test_f2_difference_high": high,
        **_tag_scores.figures_of(tagger.val, "val_"),
    }
    for name, prefix in ((NETWORK, ""), (LOGISTIC, "baseline_")):
        if neighbours:
            figures |= _tag_scores.figures_of(neighbours[name], f"random_split_{prefix}test_")
        if elsewhere:
            figures |= _tag_scores.figures_of(elsewhere[name], f"other_{prefix}")
    return TagComparison(
        figures, _tables(test, neighbours, elsewhere, cohort), test, neighbours, methods.penalty
    )


class _Methods:
    """The network and both baselines, each with thresholds from validation."""

    def __init__(self, tagger: Tagger, cohort: Cohort, average: bool) -> None:
        self.tagger, self.average = tagger, average
        train, val = cohort.sides["train"], cohort.sides["val"]
        tags = cohort.tags("val")
        self.logistic = _tag_baselines.fit_logistic(
            cohort.features[train], cohort.tags("train"), cohort.features[val], tags
        )
        self.frequencies = _tag_baselines.Frequencies.fit(cohort.tags("train"))
        self.penalty = self.logistic.penalty
        said: Mapping[str, Callable[[], Array]] = {
            LOGISTIC: lambda: self.logistic.probabilities(cohort.features[val]),
            FREQUENCY: lambda: self.frequencies.probabilities(len(val)),
        }
        self.thresholds = {
            NETWORK: tagger.thresholds,
            **{name: _tag_scores.choose_thresholds(say(), tags) for name, say in said.items()},
        }

    def answers(self, cohort: Cohort, side: str) -> dict[str, Answers]:
        """Of every method on a side."""
        pixels, features = cohort.pixels(side), cohort.features[cohort.sides[side]]
        run = self.tagger.network.predict_on_batch
        said = {
            NETWORK: _tagger.answers(run, pixels, average=self.average),
            LOGISTIC: self.logistic.probabilities(features),
            FREQUENCY: self.frequencies.probabilities(len(features)),
        }
        return {
            name: Answers(found, self.thresholds[name], cohort.tags(side), cohort.groups(side))
            for name, found in said.items()
        }


def _tables(
    test: Mapping[str, Answers],
    neighbours: Mapping[str, Answers],
    elsewhere: Mapping[str, Answers],
    cohort: Cohort,
) -> list[Table]:
    scenes = len(set(cohort.groups("test")))
    tables = [
        _tag_scores.summary(
            test, f"tags: {len(cohort.sides['test']):,} test chips of {scenes} scenes, scored once"
        )
    ]
    if neighbours:
        count = len(cohort.sides["neighbours"])
        title = f"tags, had the split been at random: {count:,} chips beside those learned from"
        tables.append(_tag_scores.summary(neighbours, title))
    if elsewhere:
        tables.append(_tag_scores.summary(elsewhere, "tags, of another setting, never learned"))
    tables.append(_tag_scores.by_tag(test[NETWORK], "tags: each by itself, network, test chips"))
    return tables
