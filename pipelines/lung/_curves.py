"""The curve of the scores: free response with its bootstrap band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fieldsight.core.metrics import FROC_RATES
from fieldsight.pipelines import _figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldsight.core.metrics import Froc


def free_response(
    methods: Mapping[str, tuple[Froc, Sequence[str]]],
    *,
    data: str = "",
    alarms: Mapping[str, float] | None = None,
) -> Figure:
    """Sensitivity by false positives a scan, each method's 95 % band over patients around it.

    Points mark the seven rates whose mean is CPM.

    Args:
        methods: by name, its result and the patient of each of its scans.
        data: what was scored.
        alarms: by name, the false positives a scan at the method's threshold, to be marked.
    """
    import matplotlib as mpl

    with mpl.rc_context(_figures.STYLE):
        figure = _figures.blank("Free response: what is found, at what price", data, 5.0)
        axes = figure.subplots()
        grid = np.geomspace(FROC_RATES[0], FROC_RATES[-1], 97)
        looks = ((_figures.BLUE, "-", "o"), (_figures.ORANGE, "--", "s"),
                 (_figures.GREEN, "-.", "^"))  # fmt: skip
        for (name, (result, groups)), look in zip(methods.items(), looks, strict=False):
            colour, line, marker = look
            band = result.sensitivity_interval(grid.tolist(), groups=groups)
            # The draws of the table's interval: both say the same.
            cpm = result.cpm_interval(groups=groups)
            axes.fill_between(grid, band.low, band.high, color=colour, alpha=0.16, lw=0)
            axes.plot(grid, band.value, line, color=colour, lw=2)
            label = f"{name}: CPM {cpm.value:.3f} ({cpm.low:.3f} to {cpm.high:.3f})"
            axes.plot(
                FROC_RATES, result.sensitivity(), marker, color=colour, ms=6, mec="white", mew=0.8,
                label=label,
            )  # fmt: skip
            at = (alarms or {}).get(name)
            if at is not None and grid[0] <= at <= grid[-1]:
                height = float(result.sensitivity((at,))[0])
                axes.plot(at, height, marker, ms=13, mfc="none", mec=colour, mew=1.8)
        axes.set_xscale("log")
        axes.set_xticks(FROC_RATES, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
        axes.minorticks_off()
        axes.set(xlim=(grid[0] / 1.08, grid[-1] * 1.08), ylim=(0, 1.02))
        axes.set(xlabel="false positives a scan", ylabel="share of nodules found")
        axes.legend(loc="best")
        if alarms:
            figure.supxlabel(
                "a ring is where the threshold that was chosen on validation came out",
                fontsize=9, color=_figures.SOFT,
            )  # fmt: skip
        return figure
