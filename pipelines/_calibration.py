"""Whether a probability means what it says: the reliability curve, drawn alike everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.metrics import reliability
from fieldsight.pipelines import _figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 10
MANY = 100  # answers, of which so many bins tell something


def calibration(
    kinds: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], *, data: str = ""
) -> Figure:
    """What was said against what came true, bin by bin, with the number of answers in each.

    Args:
        kinds: by what is told, such as "a nodule": probabilities and whether it was so.
        data: what was scored.
    """
    import matplotlib as mpl

    with mpl.rc_context(_figures.STYLE):
        height = 4.6 if len(kinds) == 1 else 5.0
        figure = _figures.blank("Does a probability mean what it says?", data, height)
        panels = np.atleast_1d(figure.subplots(1, max(1, len(kinds))))
        for axes, (name, (said, true)) in zip(panels, kinds.items(), strict=False):
            curve = reliability(said, true, bins=BINS if len(said) >= MANY else BINS // 2)
            used = curve.counts > 0
            points = curve.said[used], curve.came_true[used]
            axes.plot([0, 1], [0, 1], ":", color=_figures.SOFT, lw=1.2)
            axes.plot(*points, "-", color=_figures.BLUE, lw=1.5, alpha=0.6)
            sizes = 30 + 170 * np.sqrt(curve.counts[used] / max(1, curve.counts.max()))
            axes.scatter(*points, sizes, color=_figures.BLUE, ec="white", lw=0.8, zorder=3)
            for x, y, count in zip(*points, curve.counts[used], strict=True):
                axes.annotate(
                    f"{count:,}", (x, y), xytext=(11, -3), textcoords="offset points",
                    fontsize=8, color=_figures.SOFT,
                )  # fmt: skip
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
            axes.set(xlabel="probability", ylabel="share that came true")
            axes.set_title(f"{name}, {len(said):,} answers")
        return figure
