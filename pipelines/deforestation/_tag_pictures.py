"""Pictures of a tagger's answers: each tag, the leak of a random split, chips it mistook."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.metrics import average_precision, bootstrap
from fieldsight.datasets.planet import TAGS
from fieldsight.pipelines import _calibration, _figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldsight.pipelines.deforestation._tag_scores import Answers

Array = NDArray[Any]

LONGEST = 44  # letters below a chip's name
LEAST_RANGE = 800.0  # digital numbers: a chip of forest alone isn't stretched to noise
LOOKS = ((_figures.BLUE, "o"), (_figures.ORANGE, "s"), (_figures.GREEN, "^"))
SHORT = {
    "partly_cloudy": "partly", "agriculture": "agric.", "cultivation": "cultiv.",
    "habitation": "habit.", "bare_ground": "bare", "selective_logging": "logging",
    "artisinal_mine": "art. mine", "conventional_mine": "conv. mine", "slash_burn": "burn",
}  # fmt: skip  # where there is no place for the whole word


@_figures.styled
def tags(methods: Mapping[str, Answers], *, data: str = "") -> Figure:
    """Average precision of each tag by each method, the most frequent tag on top.

    Args:
        methods: by name; all of the same chips.
        data: what was scored.
    """
    first = next(iter(methods.values()))
    counts = first.tags.sum(axis=0).astype(int)
    rows = np.arange(len(TAGS))[::-1]
    figure = _figures.blank("Each tag by itself", data, 5.6)
    axes = figure.subplots()
    for (name, answers), (colour, marker) in zip(methods.items(), LOOKS, strict=False):
        values = [
            average_precision(answers.tags[:, i], answers.probabilities[:, i])
            for i in range(len(TAGS))
        ]
        known = np.array([value is not None for value in values])
        shown = np.array([value or 0.0 for value in values])
        axes.plot(
            shown[known], rows[known], marker, color=colour, ms=7, mec="white", mew=0.8, label=name
        )
    axes.set_yticks(rows, [f"{tag}, {count:,}" for tag, count in zip(TAGS, counts, strict=True)])
    axes.set(xlim=(-0.02, 1.02), xlabel="average precision; beside each tag, chips that have it")
    axes.legend(loc="upper left")
    return figure


def reliability(answers: Answers, *, data: str = "") -> Figure:
    """What was said against what came true: of the weather, and of the ground."""
    from fieldsight.pipelines.deforestation._tag_scores import GROUND_AT, WEATHER_AT

    return _calibration.calibration(
        {
            name: (answers.probabilities[:, at].ravel(), answers.tags[:, at].ravel())
            for name, at in (("weather", WEATHER_AT), ("ground", GROUND_AT))
        },
        data=data,
    )


def _mean_of(values: Array, cases: Array) -> float:
    return float(values[cases].mean())


@_figures.styled
def leak(
    blocked: Mapping[str, Answers], neighbours: Mapping[str, Answers], *, data: str = ""
) -> Figure:
    """Mean F2 on chips of scenes never seen, beside that on neighbours of what was learned.

    Args:
        blocked: answers on the test scenes, by method.
        neighbours: answers on chips of training scenes that weren't learned from.
        data: what was scored.
    """
    figure = _figures.blank("What a split at random would have told", data, 3.0)
    axes = figure.subplots()
    names = list(blocked)
    for offset, answers, colour, marker, label in (
        (0.12, blocked, _figures.BLUE, "o", "scenes that weren't seen"),
        (-0.12, neighbours, _figures.ORANGE, "s", "chips beside those that were learned"),
    ):
        for row, name in enumerate(names[::-1]):
            f2 = answers[name].f2
            groups = answers[name].groups if answers is blocked else np.arange(len(f2))
            found = bootstrap(functools.partial(_mean_of, f2), groups)
            axes.plot([found.low, found.high], [row + offset] * 2, "-", color=colour, lw=2)
            axes.plot(
                found.value, row + offset, marker, color=colour, ms=8, mec="white", mew=0.8,
                label=label if not row else None,
            )  # fmt: skip
            axes.annotate(
                f"{found.value:.3f}", (found.value, row + offset), xytext=(0, 60 * offset),
                textcoords="offset points", ha="center", va="bottom" if offset > 0 else "top",
                fontsize=8, color=_figures.SOFT,
            )  # fmt: skip
    axes.set_yticks(range(len(names)), names[::-1])
    axes.set(ylim=(-0.6, len(names) - 0.3), xlabel="mean F2, with its 95 % interval")
    axes.legend(loc="upper left")
    return figure


def mistaken(
    pixels: Array, answers: Answers, names: Sequence[str], bands: Sequence[str], *, data: str = ""
) -> Figure:
    """The chips of the lowest F2 in their colours: what was missed (-), what isn't there (+).

    Args:
        pixels: `(n, rows, columns, bands)` digital numbers of these chips.
        answers: of the same chips.
        names: of the chips.
        bands: names of the bands.
        data: what was scored.
    """
    cells = []
    for chip, name, found, true, f2 in zip(
        pixels, names, answers.decided, answers.tags.astype(bool), answers.f2, strict=True
    ):
        missed = [f"-{SHORT.get(TAGS[i], TAGS[i])}" for i in np.flatnonzero(true & ~found)]
        wrong = [f"+{SHORT.get(TAGS[i], TAGS[i])}" for i in np.flatnonzero(found & ~true)]
        told = textwrap.shorten(" ".join(missed + wrong), LONGEST, placeholder=" ...")
        cells.append((in_colours(chip, bands), f"{name}  F2 {f2:.2f}", told))
    return _figures.gallery(cells, "Chips of the lowest F2", data, columns=4)


def in_colours(chip: Array, bands: Sequence[str]) -> Array:
    """`(rows, columns, 3)` from 0 to 1: red, green, blue where they are, to be looked at alone."""
    named = [bands.index(name) for name in ("red", "green", "blue") if name in bands]
    picture = chip[..., named if len(named) == 3 else [0, 0, 0]].astype(float)
    if chip.dtype == np.uint8:
        return picture / 255
    # Each band by itself, or the air's blue would lie over all; clouds leave the ground some light.
    low = np.percentile(picture, 2, axis=(0, 1))
    high = np.maximum(np.percentile(picture, 96, axis=(0, 1)), low + LEAST_RANGE)
    return np.clip((picture - low) / (high - low), 0, 1) ** 0.7
