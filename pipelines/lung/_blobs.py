"""The classical method beside the network: bright blobs inside the lungs.

The Laplacian of Gaussians of several widths answers strongest at the centre of a ball whose
radius is the width times the square root of 3 (Lindeberg, Feature detection with automatic scale
selection, International Journal of Computer Vision 30(2), 1998). Vessels answer too: how alike
the three curvatures are tells a ball from a tube and a plate. How much that counts, and from
which Hounsfield units on brightness counts no more, is chosen on validation scans from `GRID`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.datasets.volume import to_world
from fieldsight.pipelines._threads import in_threads
from fieldsight.pipelines.lung import _scores

Array = NDArray[Any]

DIAMETERS_MM = (4.0, 5.7, 8.0, 11.3, 16.0, 22.6)  # of the balls that are looked for
WORKING_MM = 2.0  # the finest grid: on one of 1 mm it takes ten times as long
LOWEST_HU = -950.0
OUTSIDE_HU = -850.0  # what lies outside the lungs is taken for lung: no wall, no rib answers
STRONGEST = 400  # candidates a scan before they are compared with each other
KEPT = 100  # candidates a scan, LUNA16's limit


@dataclasses.dataclass(frozen=True)
class Plan:
    """How blobs are told from what isn't one.

    Attributes:
        highest_hu: brighter voxels count as this.
        roundness: the power of the weakest curvature over the strongest; 0 leaves it out.
    """

    highest_hu: float = -300.0
    roundness: float = 1.0


GRID = tuple(
    Plan(highest, roundness)
    for highest, roundness in itertools.product((-500.0, -300.0, 0.0), (0.0, 0.5, 1.0, 2.0))
)


class Case(Protocol):
    """What is needed of a prepared scan."""

    @property
    def image(self) -> Array:
        """`(planes, rows, columns)` Hounsfield units on a cubic grid."""

    @property
    def lungs(self) -> Array:
        """The same shape, bool."""

    @property
    def affine(self) -> Array:
        """`(4, 4)` from indices to LPS mm."""


class MarkedCase(Case, _scores.Marked, Protocol):
    """A prepared scan with what is known of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Blobs:
    """What was found in a scan, the strongest first.

    Attributes:
        centres_mm: `(n, 3)` LPS.
        diameters_mm: `(n,)` of the ball that fits.
        probabilities: `(n,)` between 0 and 1; a score, whose order alone means something.
    """

    centres_mm: Array
    diameters_mm: Array
    probabilities: Array

    def __len__(self) -> int:
        return len(self.probabilities)


def find(case: Case, plan: Plan = Plan()) -> Blobs:
    """The blobs of a scan."""
    return _ranked(_extrema(case, plan.highest_hu), plan.roundness)


def find_all(
    cases: Sequence[Case], plan: Plan, progress: Callable[[int, int], None] | None = None
) -> list[Blobs]:
    """The blobs of several scans, as many at once as there are cores."""
    return [
        found[0]
        for found in _many(cases, plan.highest_hu, (plan.roundness,), progress)
    ]  # fmt: skip


def tune(
    cases: Sequence[MarkedCase],
    grid: Sequence[Plan] = GRID,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Plan, float, list[Blobs]]:
    """The plan with the highest CPM on validation scans, that CPM, and what it finds there.

    Args:
        cases: of the validation; those that nobody marked are left out.
        grid: plans to choose from; of equal ones the first is taken.
        progress: told how many passes over the scans are through, and of how many.

    Returns:
        The plan, its CPM and the blobs of the marked scans; the first plan and NaN where there
        is no nodule.
    """
    marked = [case for case in cases if case.marked]
    if not marked or not any(len(case.nodules) for case in marked):
        return grid[0], float("nan"), find_all(marked, grid[0])
    heights = list(dict.fromkeys(plan.highest_hu for plan in grid))
    tried: dict[Plan, tuple[float, list[Blobs]]] = {}
    for number, highest in enumerate(heights, 1):
        plans = [plan for plan in grid if plan.highest_hu == highest]
        found = _many(marked, highest, [plan.roundness for plan in plans], None)
        for index, plan in enumerate(plans):
            blobs = [one[index] for one in found]
            tried[plan] = _scores.free_response(marked, blobs).cpm(), blobs
        if progress is not None:
            progress(number, len(heights))
    best = max(grid, key=lambda plan: tried[plan][0])
    return best, *tried[best]


def _many(
    cases: Sequence[Case],
    highest_hu: float,
    powers: Sequence[float],
    progress: Callable[[int, int], None] | None,
) -> list[list[Blobs]]:
    """Of each scan its blobs by each power: the filters run once."""

    def one(case: Case) -> list[Blobs]:
        extrema = _extrema(case, highest_hu)
        return [_ranked(extrema, power) for power in powers]

    answers = []
    for number, (_, found) in enumerate(in_threads(one, cases), 1):
        answers.append(found)
        if progress is not None:
            progress(number, len(cases))
    return answers


@dataclasses.dataclass(frozen=True, eq=False)
class _Extrema:
    """Maxima over place and width: `(n, 3)` mm, `(n,)` mm, `(n,)` strengths, `(n,)` roundness."""

    centres_mm: Array
    diameters_mm: Array
    strengths: Array
    roundness: Array


def _extrema(case: Case, highest_hu: float) -> _Extrema:
    image, lungs, affine = _working(case, highest_hu)
    spacing_mm = float(np.linalg.norm(affine[:3, 0]))
    widths = np.array(DIAMETERS_MM) / 2 / np.sqrt(3) / spacing_mm
    smooth = np.empty((len(widths), *image.shape), np.float32)
    answers = np.empty_like(smooth)
    before, width_before = image, 0.0
    for index, width in enumerate(widths):
        # A Gaussian of a Gaussian is one of the width that both make: few taps each time.
        step = float(np.sqrt(width**2 - width_before**2))
        ndimage.gaussian_filter(before, step, output=smooth[index], mode="nearest", truncate=3.0)
        before, width_before = smooth[index], width
        ndimage.laplace(smooth[index], output=answers[index], mode="nearest")
        answers[index] *= -(width**2)
    peaks = _peaks(answers, lungs)
    strengths = answers[tuple(peaks.T)]
    if len(peaks) > STRONGEST:
        chosen = np.argsort(-strengths, kind="stable")[:STRONGEST]
        peaks, strengths = peaks[chosen], strengths[chosen]
    scale, offsets = _between(answers, peaks)
    centres = to_world(affine, peaks[:, 1:] + offsets)
    diameters = np.interp(scale, np.arange(len(widths)), DIAMETERS_MM)
    return _Extrema(centres, diameters, strengths, _roundness(smooth, peaks))


def _working(case: Case, highest_hu: float) -> tuple[Array, Array, Array]:
    """The image as it is searched, its lungs and its affine, on a grid that isn't finer than that.

    A volume of 1 mm is averaged by twos.
    """
    image = np.clip(case.image, LOWEST_HU, highest_hu).astype(np.float32)
    lungs = np.asarray(case.lungs, bool)
    image[~lungs] = OUTSIDE_HU
    affine = np.array(case.affine, np.float64)
    times = max(1, round(WORKING_MM / float(np.linalg.norm(affine[:3, 0]))))
    if times == 1:
        return image, lungs, affine
    sides = [side // times for side in image.shape]
    whole = tuple(slice(side * times) for side in sides)
    blocks = [part for side in sides for part in (side, times)]
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (times - 1) / 2)
    affine[:3, :3] *= times
    return (
        image[whole].reshape(blocks).mean(axis=(1, 3, 5)),
        np.asarray(lungs[whole].reshape(blocks).any(axis=(1, 3, 5))),
        affine,
    )


def _peaks(answers: Array, lungs: Array) -> Array:
    """`(n, 4)` width, plane, row and column of what no neighbour in place and width exceeds."""
    found = []
    for index, answer in enumerate(answers):
        # Only places as strong as their 26 neighbours are compared with the other widths.
        highest = ndimage.maximum_filter(answer, 3, mode="nearest")
        places = np.argwhere((answer >= highest) & lungs & (answer > 0))
        values = answer[tuple(places.T)]
        for other in (index - 1, index + 1):
            if 0 <= other < len(answers) and len(places):
                beside = _highest_near(answers[other], places)
                places, values = places[values >= beside], values[values >= beside]
        found.append(np.column_stack([np.full(len(places), index), places]))
    return np.concatenate(found)


def _highest_near(answer: Array, places: Array) -> Array:
    """`(n,)` the highest of the 27 voxels around each place."""
    last = np.array(answer.shape) - 1
    highest = np.full(len(places), -np.inf)
    for step in itertools.product((-1, 0, 1), repeat=3):
        near = np.clip(places + np.array(step), 0, last)
        np.maximum(highest, answer[tuple(near.T)], out=highest)
    return highest


def _between(answers: Array, peaks: Array) -> tuple[Array, Array]:
    """Where between the voxels and the widths a parabola has its top: `(n,)` and `(n, 3)`."""
    last = np.array(answers.shape) - 1
    middle = answers[tuple(peaks.T)]
    tops = []
    for axis in range(4):
        step = np.eye(4, dtype=np.int64)[axis]
        low = answers[tuple(np.clip(peaks - step, 0, last).T)]
        high = answers[tuple(np.clip(peaks + step, 0, last).T)]
        bend = low - 2 * middle + high
        top = np.divide(
            (low - high) / 2, bend, out=np.zeros(len(peaks), np.float32), where=bend < 0
        )
        tops.append(np.clip(top, -0.5, 0.5))
    return peaks[:, 0] + tops[0], np.stack(tops[1:], axis=1)


def _roundness(smooth: Array, peaks: Array) -> Array:
    """`(n,)` the weakest curvature over the strongest: 1 of a ball, 0 of a tube or a plate."""
    last = np.array(smooth.shape[1:]) - 1

    def at(*steps: int) -> Array:
        places = np.clip(peaks[:, 1:] + np.array(steps), 0, last)
        return smooth[(peaks[:, 0], *places.T)].astype(np.float64)

    bends = np.empty((len(peaks), 3, 3))
    unit = np.eye(3, dtype=np.int64)
    for a, b in itertools.combinations_with_replacement(range(3), 2):
        if a == b:
            bend = at(*unit[a]) - 2 * at(0, 0, 0) + at(*-unit[a])
        else:
            plus, minus = unit[a] + unit[b], unit[a] - unit[b]
            bend = (at(*plus) + at(*-plus) - at(*minus) - at(*-minus)) / 4
        bends[:, a, b] = bends[:, b, a] = bend
    curvatures = -np.linalg.eigvalsh(bends)[:, ::-1] if len(peaks) else np.zeros((0, 3))
    weakest, strongest = curvatures[:, 0], np.maximum(curvatures[:, 2], 1e-9)
    return np.clip(weakest / strongest, 0.0, 1.0)


def _ranked(extrema: _Extrema, power: float) -> Blobs:
    """The strongest, those in the ball of a stronger one left out."""
    # The answer to a ball of 1000 HU more than lung is about 0.6 of that, so none reaches 1.
    scores = np.clip(extrema.strengths / 1500 * extrema.roundness**power, 0, 1)
    order = np.argsort(-scores, kind="stable")
    centres, radii = extrema.centres_mm[order], extrema.diameters_mm[order] / 2
    kept: list[int] = []
    for index in range(len(order)):
        apart = np.linalg.norm(centres[kept] - centres[index], axis=1)
        if not np.any(apart < np.maximum(radii[kept], radii[index])):
            kept.append(index)
        if len(kept) == KEPT:
            break
    chosen = order[kept]
    return Blobs(extrema.centres_mm[chosen], extrema.diameters_mm[chosen], scores[chosen])
