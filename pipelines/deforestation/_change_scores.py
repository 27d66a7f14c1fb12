"""How well new clearings are found between two dates: as objects, and in hectares.

Objects are patches of new clearing that lie clear at both dates; one is found if what was drawn
shares more than half of the two's union with it (Kirillov et al., 2019). Patches below the minimum
mapping unit neither count as missed nor as invented.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.pipelines._threads import in_threads
from fieldsight.pipelines.deforestation import _change_baseline, _change_rule
from fieldsight.pipelines.deforestation._change_baseline import DifferenceRule
from fieldsight.pipelines.deforestation._change_evidence import (
    SCENE,
    Evidence,
    Pair,
    evidence,
    pairs_of,
)
from fieldsight.pipelines.deforestation._change_rule import ChangeRule

if TYPE_CHECKING:
    from fieldsight.pipelines.deforestation._change_maps import Maps

__all__ = [
    "SCENE", "ChangeScores", "Counts", "Evidence", "Pair", "Tuned", "evidence", "pairs_of", "score",
    "tune",
]  # fmt: skip

Array = NDArray[Any]
Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # title, columns, rows
Progress = Callable[[int, int], None]

MIN_HA = ChangeRule().min_ha
MOST_TUNED = 12  # places that rules are chosen by
METHODS = ("network", "difference")


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What was chosen on validation places (C-9).

    Attributes:
        network: when a pixel is new clearing by the mapper's two maps.
        difference: the same by the difference of NDVI.
        figures: `val_change_f1` and `baseline_val_change_f1`.
    """

    network: ChangeRule
    difference: DifferenceRule
    figures: Mapping[str, float]

    def facts(self) -> dict[str, Any]:
        """For the mapper's card: `facts["change"]`, which `change` reads its rules from."""
        return {
            "network": dataclasses.asdict(self.network),
            "difference": dataclasses.asdict(self.difference),
        }


@dataclasses.dataclass(frozen=True)
class ChangeScores:
    """What was measured on the test places.

    Attributes:
        figures: by name: `test_change_f1` with `_low` and `_high` (over places),
            `test_change_precision`, `test_change_recall`, `test_change_hectares_error` (share
            of the true hectares), and `baseline_test_change_...` of the NDVI difference.
        tables: as they are printed: scores beside the baseline, and by place.
        example: the number of the test pair that is drawn.
        masks: `(rows, columns)` bool of the example by name: "truth", "network", "difference".
    """

    figures: Mapping[str, float]
    tables: Sequence[Table]
    example: int
    masks: Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class Counts:
    """Of one place and one method.

    Attributes:
        found: true objects that were found.
        invented: objects that aren't there.
        missed: true objects that weren't found.
        true_ha: cleared in truth, where it is clear at both dates.
        drawn_ha: drawn as such.
    """

    found: int
    invented: int
    missed: int
    true_ha: float
    drawn_ha: float


def tune(pairs: Sequence[Pair], maps: Maps, *, progress: Progress | None = None) -> Tuned:
    """Choose the rules of both methods on validation places, by committed grids.

    Args:
        pairs: never the test's; of many, the first few are taken.
        maps: of the mapper.
        progress: told how many places are through, and of how many.
    """
    grids: dict[str, list[Any]] = {
        "network": list(_change_rule.grid(MIN_HA)),
        "difference": list(_change_baseline.grid(MIN_HA)),
    }
    totals = {name: np.zeros((len(rules), 3)) for name, rules in grids.items()}
    for found in _evidence_of(pairs[:MOST_TUNED], maps, progress):
        count = functools.partial(_counts, found, _change_rule.objects(found.truth, 1))
        for name, rules in grids.items():
            for number, (_, one) in enumerate(in_threads(count, rules)):
                totals[name][number] += (one.found, one.invented, one.missed)
    scores = {name: [_f1(*row) for row in rows] for name, rows in totals.items()}
    network, difference = strictest(totals["network"]), int(np.argmax(scores["difference"]))
    figures = {
        "val_change_f1": float(scores["network"][network]),
        # The classical method's rules are harder to tell apart; its strict ones miss much.
        "baseline_val_change_f1": float(scores["difference"][difference]),
    }
    return Tuned(grids["network"][network], grids["difference"][difference], figures)


def strictest(totals: Array) -> int:
    """The rule that invents least, of those that can't be told from the best.

    A few places have few objects: the very best of many rules is the luckiest. Those whose F1
    is less than a standard error below it are as good, and elsewhere, where most ground stays as
    it was, the one that invents less is better.

    Reference:
        Breiman et al., Classification and regression trees, 1984, section 3.4.3: the rule of one
        standard error.

    Args:
        totals: `(rules, 3)` objects found, invented and missed, lenient rules first.

    Returns:
        Its number; of equal ones the last.
    """
    scores = np.nan_to_num([_f1(*row) for row in totals], nan=1.0)
    best = int(np.argmax(scores))
    error = np.sqrt(scores[best] * (1 - scores[best]) / max(totals[best].sum(), 1))
    alike = np.flatnonzero(scores >= scores[best] - error)
    order = np.lexsort((scores[alike], -totals[alike, 1]))
    return int(alike[order[-1]])


def score(
    pairs: Sequence[Pair],
    maps: Maps,
    tuned: Tuned,
    *,
    progress: Progress | None = None,
) -> ChangeScores:
    """Score both methods on test places, once.

    Args:
        pairs: of the test split.
        maps: of the mapper.
        tuned: what `tune` chose.
        progress: told how many places are through, and of how many.
    """
    rules: dict[str, ChangeRule | DifferenceRule] = {
        "network": tuned.network, "difference": tuned.difference,
    }  # fmt: skip
    counts: dict[str, list[Counts]] = {name: [] for name in METHODS}
    masks: dict[str, Array] = {}
    example, most = 0, -1.0
    for number, found in enumerate(_evidence_of(pairs, maps, progress)):
        truth = _change_rule.objects(found.truth, 1)
        for name, rule in rules.items():
            counts[name].append(_counts(found, truth, rule))
        if counts["network"][-1].true_ha > most:  # the place with most to see
            example, most = number, counts["network"][-1].true_ha
            masks = {"truth": found.truth} | {
                name: _drawn(found, rule) > 0 for name, rule in rules.items()
            }
    figures = {
        **_figures(counts["network"], ""),
        **_figures(counts["difference"], "baseline_"),
        **_gain(counts["network"], counts["difference"]),
    }
    return ChangeScores(figures, _tables(pairs, counts, figures, tuned), example, masks)


def _evidence_of(
    pairs: Sequence[Pair], maps: Maps, progress: Progress | None
) -> Iterator[Evidence]:
    from fieldsight.core.windows.reading import SIDE_BY_SIDE, in_turn

    # Rules are tried at one place while the next ones are mapped.
    work = functools.partial(evidence, maps=maps)
    with contextlib.closing(in_turn(work, pairs, lambda: SIDE_BY_SIDE + 1)) as every:
        for number, (_, found) in enumerate(every, 1):
            yield found
            if progress is not None:
                progress(number, len(pairs))


def _drawn(found: Evidence, rule: ChangeRule | DifferenceRule) -> NDArray[np.int32]:
    return _change_rule.objects(found.mask(rule), rule.min_ha / found.pixel_ha, found.sure(rule))


def _counts(found: Evidence, truth: Array, rule: ChangeRule | DifferenceRule) -> Counts:
    from fieldsight.core.metrics import match_objects

    drawn = _drawn(found, rule)
    hits, invented, missed = match_objects(truth, drawn).counts(rule.min_ha / found.pixel_ha)
    true_ha = float(found.truth.sum()) * found.pixel_ha
    return Counts(hits, invented, missed, true_ha, float((drawn > 0).sum()) * found.pixel_ha)


def _f1(found: float, invented: float, missed: float) -> float:
    """NaN where there was nothing to find, and nothing was invented."""
    total = 2 * found + invented + missed
    return 2 * found / total if total else float("nan")


def _figures(counts: Sequence[Counts], prefix: str) -> dict[str, float]:
    from fieldsight.core.metrics import bootstrap

    rows = np.array([dataclasses.astuple(one) for one in counts], float)

    def statistic(places: NDArray[np.int64]) -> NDArray[np.float64]:
        found, invented, missed, true_ha, drawn_ha = rows[places].sum(axis=0)
        nothing = float("nan")
        return np.array([
            _f1(found, invented, missed),
            found / (found + invented) if found + invented else nothing,
            found / (found + missed) if found + missed else nothing,
            abs(drawn_ha - true_ha) / true_ha if true_ha else nothing,
        ])  # fmt: skip

    names = ("f1", "precision", "recall", "hectares_error")
    interval = bootstrap(statistic, np.arange(len(rows)))
    figures = {}
    for name, *ends in zip(names, interval.value, interval.low, interval.high, strict=True):
        for end, value in zip(("", "_low", "_high"), ends, strict=True):
            figures[f"{prefix}test_change_{name}{end}"] = float(value)
    return figures


def _gain(network: Sequence[Counts], difference: Sequence[Counts]) -> dict[str, float]:
    """By how much the F1 is above the classical method's, place by place drawn together."""
    from fieldsight.core.metrics import bootstrap

    rows = [
        np.array([(one.found, one.invented, one.missed) for one in counts], float)
        for counts in (network, difference)
    ]

    def statistic(places: NDArray[np.int64]) -> float:
        ours, theirs = (_f1(*each[places].sum(axis=0)) for each in rows)
        return ours - theirs

    interval = bootstrap(statistic, np.arange(len(network)))
    return {
        "test_change_f1_gain": float(interval.value),
        "test_change_f1_gain_low": interval.low,
        "test_change_f1_gain_high": interval.high,
    }


def _tables(
    pairs: Sequence[Pair],
    counts: Mapping[str, Sequence[Counts]],
    figures: Mapping[str, float],
    tuned: Tuned,
) -> list[Table]:
    titles = {"network": "mapper, both dates", "difference": "difference of NDVI"}
    rows = []
    for name, prefix in zip(METHODS, ("", "baseline_"), strict=True):
        key = f"{prefix}test_change_"
        all_of = np.array([dataclasses.astuple(one) for one in counts[name]]).sum(axis=0)
        rows.append((
            titles[name],
            f"{figures[f'{key}f1']:.3f} [{figures[f'{key}f1_low']:.3f}, "
            f"{figures[f'{key}f1_high']:.3f}]",
            f"{figures[f'{key}precision']:.3f}",
            f"{figures[f'{key}recall']:.3f}",
            f"{int(all_of[0])} of {int(all_of[0] + all_of[2])}",
            int(all_of[1]),
            f"{all_of[4]:.1f} of {all_of[3]:.1f}",
        ))  # fmt: skip
    first = (
        "new clearings, test places "
        f"(threshold {tuned.network.threshold:g}, sure from {tuned.network.sure:g}; NDVI falls by "
        f"{tuned.difference.drop:g} from "
        f"{tuned.difference.floor:g}; from {tuned.network.min_ha:g} ha on)",
        ("method", "F1 [95 %]", "precision", "recall", "found", "invented", "ha drawn"),
        rows,
    )
    by_place = (
        "by place",
        ("place", "true ha", "ha", "F1", "ha by NDVI", "F1 by NDVI"),
        [
            (
                pair.name, f"{ours.true_ha:.1f}", f"{ours.drawn_ha:.1f}",
                f"{_f1(ours.found, ours.invented, ours.missed):.2f}", f"{theirs.drawn_ha:.1f}",
                f"{_f1(theirs.found, theirs.invented, theirs.missed):.2f}",
            )
            for pair, ours, theirs in zip(
                pairs, counts["network"], counts["difference"], strict=True
            )
        ],
    )  # fmt: skip
    return [first, by_place]
