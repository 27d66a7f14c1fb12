"""The finder: trained in rounds, the later ones on its own mistakes; and candidates from it."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import special

from fieldsight.core import windows
from fieldsight.core.boxes import centres
from fieldsight.core.detection import decode
from fieldsight.core.losses import DetectionLoss
from fieldsight.pipelines import _training
from fieldsight.pipelines._drawn import Batches
from fieldsight.pipelines.lung import _networks
from fieldsight.pipelines.lung._cases import Case
from fieldsight.pipelines.lung._patches import FinderPatches, Place
from fieldsight.pipelines.lung._recipes import Plan, Sizes

Array = NDArray[Any]
OnEpoch = Callable[[int, Mapping[str, float]], None]

LEAST = 0.01  # probability of a candidate
APART_MM = 4.0  # of two candidates, at least: nodules that are nearer are one
NEAR_LUNG_MM = 4.0  # how far beyond the lungs' mask a centre may lie
MOST = 80  # candidates a scan
LARGEST = 208  # voxels of a window's side: what memory holds at once
NEGATIVES = 96  # the hardest empty places of a patch that count
MINED = 12  # of a scan's false alarms, the highest


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What the finder found in a scan, best first.

    Attributes:
        centres_mm: `(n, 3)` LPS.
        diameters_mm: `(n,)`, the mean side of its box.
        logits: `(n,)` of being a nodule.
    """

    centres_mm: Array
    diameters_mm: Array
    logits: Array

    def __len__(self) -> int:
        return len(self.logits)


NOTHING = Candidates(np.zeros((0, 3)), np.zeros(0), np.zeros(0))


def train(
    cases: Sequence[Case],
    val: Sequence[Case],
    sizes: Sizes,
    plan: Plan,
    folder: Path,
    on_epoch: OnEpoch | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Train the finder: a first round, hard negatives from it, a second.

    Args:
        cases: to learn from.
        val: whose patches' loss is followed.
        sizes: of the network.
        plan: how long, on what.
        folder: of checkpoints; a training that was stopped goes on from them.
        on_epoch: told the epoch, counted over both rounds, and its metrics.
        say: tells the user what is done.

    Returns:
        The finder and its losses by epoch.
    """
    model = _networks.finder(sizes)
    history: dict[str, list[float]] = {}
    hard: list[Place] = []
    followed = _followed(val, plan)
    for number, recipe in enumerate(plan.rounds):
        if number:
            hard = _remembered(
                folder / f"hard{number}.npz", lambda: mine(model, cases[: plan.mined])
            )
            say(f"{len(hard)} places where it was wrong, for the next round")
        draw = FinderPatches(cases, side=plan.side, batch_size=recipe.batch_size, hard=hard)
        data = Batches(draw, plan.steps, recipe.seed + number)
        compile_finder(model, recipe, plan.steps)
        before = len(history.get("loss", ()))
        fitted = _training.fit(
            model, data, recipe, validation=followed, monitor="val_loss",
            folder=folder / f"round{number}", resume=True,
            on_epoch=None if on_epoch is None else functools.partial(_later, on_epoch, before),
        )  # fmt: skip
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(values)
    return model, history


def compile_finder(model: keras.Model, recipe: _training.Recipe, steps: int) -> None:
    """Compile the finder for a round."""
    model.compile(_training.optimizer(recipe, steps), DetectionLoss(hard_negatives=NEGATIVES))


def _later(on_epoch: OnEpoch, before: int, epoch: int, metrics: Mapping[str, float]) -> None:
    on_epoch(before + epoch, metrics)


def _followed(val: Sequence[Case], plan: Plan) -> tuple[Array, Array] | None:
    """Patches of the validation scans, the same after each epoch."""
    if not val:
        return None
    draw = FinderPatches(val, side=plan.side, batch_size=32, distort=False)
    return draw(np.random.default_rng(0))


def _remembered(path: Path, compute: Callable[[], list[Place]]) -> list[Place]:
    """What was computed, or what is there from before the training was stopped."""
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return list(zip(kept["numbers"].tolist(), kept["centres"], strict=True))
    found = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        numbers = np.array([number for number, _ in found], int)
        places = np.array([place for _, place in found], float).reshape(-1, 3)
        np.savez(file, numbers=numbers, centres=places)
    beside.replace(path)
    return found


def mine(model: Any, cases: Sequence[Case]) -> list[Place]:
    """The places where the finder is surest of a nodule that isn't there."""
    found: list[Place] = []
    for number, case in enumerate(cases):
        candidates = search(model, case)
        wrong = candidates.centres_mm[~is_near(case, candidates.centres_mm, excluded=True)]
        found += [(number, index) for index in case.to_index(wrong[:MINED])]
    return found


def is_near(case: Case, points_mm: Array, *, excluded: bool = False) -> Array:
    """`(n,)` whether each point lies within a nodule's radius, or an excluded finding's."""
    known = [*case.nodules, *(case.excluded if excluded else ())]
    near = np.zeros(len(points_mm), bool)
    for nodule in known:
        apart = np.linalg.norm(points_mm - np.asarray(nodule.centre_mm), axis=1)
        near |= apart < nodule.diameter_mm / 2
    return near


def search(predict: Any, case: Case, *, most: int = MOST, least: float = LEAST) -> Candidates:
    """The candidates of a prepared scan.

    Args:
        predict: the finder, or what runs it (`core.runtime.predictor`).
        case: the scan.
        most: candidates.
        least: probability of one.
    """
    decoded = functools.partial(
        decode,
        stride=_networks.STRIDE,
        threshold=least,
        apart=APART_MM / case.spacing_mm,
        limit=500,
    )
    with warnings.catch_warnings():
        # A window's outer margin is half of what the finder looks over; the rest tells little.
        warnings.filterwarnings("ignore", message="margin=")
        found = windows.detect(
            case.image[..., None], predict, decoded,
            window=_window(case.image.shape), margin=MARGIN, overlap=16, batch_size=1,
            threshold=APART_MM / case.spacing_mm, by="distance",
        )  # fmt: skip
    places = centres(found.boxes)[:, ::-1] - 0.5
    kept = np.flatnonzero(_in_lungs(case, places))[:most]
    sides = (found.boxes[:, 3:] - found.boxes[:, :3]).mean(axis=1)
    return Candidates(
        case.to_world(places[kept]),
        sides[kept] * case.spacing_mm,
        special.logit(np.clip(found.scores[kept].astype(float), 1e-6, 1 - 1e-6)),
    )


MARGIN = 24


def _window(shape: Iterable[int]) -> tuple[int, ...]:
    """Sides of as few windows as memory allows, all alike."""
    sides = []
    for side in shape:
        count = -(-side // (LARGEST - 2 * MARGIN)) if side > LARGEST else 1
        fair = -(-side // count) + (2 * MARGIN + 16 if count > 1 else 0)
        sides.append(-(-fair // 16) * 16)
    return tuple(sides)


def _in_lungs(case: Case, places: Array) -> Array:
    """Whether some of the lungs' mask is near each place."""
    reach = int(np.ceil(NEAR_LUNG_MM / case.spacing_mm))
    inside = np.zeros(len(places), bool)
    for i, place in enumerate(np.rint(places).astype(int)):
        low = np.maximum(place - reach, 0)
        inside[i] = case.lungs[
            tuple(slice(a, b + reach + 1) for a, b in zip(low, place, strict=True))
        ].any()
    return inside
