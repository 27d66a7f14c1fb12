"""The judge: is a candidate a nodule, how suspicious is it; and what that makes of a patient."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from fieldsight.core.losses import PADDED, BinaryFocal, noisy_or
from fieldsight.pipelines import _training
from fieldsight.pipelines._drawn import Batches
from fieldsight.pipelines.lung import _networks
from fieldsight.pipelines.lung._cases import Case
from fieldsight.pipelines.lung._detector import Candidates, OnEpoch, is_near
from fieldsight.pipelines.lung._patches import (
    Place,
    around,
    balance,
    distorted,
    of_crops,
    turned,
)
from fieldsight.pipelines.lung._recipes import Sizes

Array = NDArray[Any]

TOP = 5  # candidates that a patient's score rests on, as in the winning entry of 2017
SHIFT_MM = 1.5  # of a crop's middle, in training
UNKNOWN = -1.0  # a target that isn't to count


@dataclasses.dataclass(frozen=True)
class Crop:
    """One candidate to learn from.

    Attributes:
        place: the case and the voxel.
        nodule: 1 or 0.
        suspicious: 1 or 0; UNKNOWN where nobody says.
    """

    place: Place
    nodule: float
    suspicious: float


def crops_of(number: int, case: Case, candidates: Candidates) -> list[Crop]:
    """A case's nodules, and what the finder took for one."""
    places = case.to_index([nodule.centre_mm for nodule in case.nodules])
    found = [
        Crop((number, place), 1.0, UNKNOWN if nodule.suspicious is None else nodule.suspicious)
        for place, nodule in zip(places, case.nodules, strict=True)
    ]
    wrong = ~is_near(case, candidates.centres_mm, excluded=True)
    places = case.to_index(candidates.centres_mm[wrong])
    return found + [Crop((number, place), 0.0, UNKNOWN) for place in places]


class JudgeCrops:
    """Draws crops, half of them nodules, the rest what was taken for one.

    Args:
        cases: that the crops' places count.
        crops: to draw from.
        side: voxels of a crop.
        batch_size: crops.
    """

    def __init__(
        self, cases: Sequence[Case], crops: Sequence[Crop], *, side: int, batch_size: int
    ) -> None:
        self.cases, self.side, self.batch_size = cases, side, batch_size
        self.nodules = [crop for crop in crops if crop.nodule]
        self.others = [crop for crop in crops if not crop.nodule]
        # Suspicious and harmless ones as often as each other, roughly.
        self.weights = balance([crop.suspicious for crop in self.nodules])

    def __call__(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """A batch of Hounsfield units and `(n, 2)` targets."""
        pairs = []
        for slot in range(self.batch_size):
            if slot % 2 == 0 or not self.others:
                crop = self.nodules[rng.choice(len(self.nodules), p=self.weights)]
            else:
                crop = self.others[rng.integers(len(self.others))]
            number, place = crop.place
            case = self.cases[number]
            moved = rng.normal(0, SHIFT_MM / case.spacing_mm, 3)
            cube, _ = turned(around(case.image, place + moved, self.side), rng)
            pairs.append((distorted(cube, rng), (crop.nodule, crop.suspicious)))
        cubes, targets = zip(*pairs, strict=True)
        return np.stack(cubes)[..., None], np.array(targets, np.float32)


def train(
    cases: Sequence[Case],
    found: Sequence[Candidates],
    sizes: Sizes,
    recipe: _training.Recipe,
    steps: int,
    folder: Path,
    on_epoch: OnEpoch | None = None,
    *,
    finder: keras.Model,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Train the judge on the training scans' nodules and on the finder's false alarms.

    It begins with the finder's own features.
    """
    pairs = enumerate(zip(cases, found, strict=True))
    crops = [crop for i, (case, marks) in pairs for crop in crops_of(i, case, marks)]
    draw = JudgeCrops(cases, crops, side=sizes.crop, batch_size=recipe.batch_size)
    model = _networks.judge(sizes, finder)
    model.compile(
        _training.optimizer(recipe, steps), BinaryFocal(alpha=0.5, gamma=0.0, per="element")
    )
    fitted = _training.fit(
        model, Batches(draw, steps, recipe.seed), recipe, folder=folder, resume=True,
        on_epoch=on_epoch,
    )  # fmt: skip
    return model, fitted.history


def judged(predict: Any, case: Case, candidates: Candidates, side: int) -> Array:
    """`(n, 2)` logits of each candidate: nodule, suspicious."""
    if not len(candidates):
        return np.zeros((0, 2), np.float32)
    places = case.to_index(candidates.centres_mm)
    return of_crops(predict, case.image, places, side, at_once=32)


# What is fitted on validation scans


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How logits become probabilities, fitted on validation scans alone.

    Attributes:
        finder: weight of the finder's logit.
        judge: weight of the judge's.
        bias: of both.
        sharpness: of the logit of suspicion.
        suspicion_bias: of it.
        leak: probability of a cancer that no candidate shows.
    """

    finder: float = 0.5
    judge: float = 0.5
    bias: float = 0.0
    sharpness: float = 1.0
    suspicion_bias: float = 0.0
    leak: float = 0.05

    def nodule(self, candidates: Candidates, logits: Array) -> Array:
        """`(n,)` probability of each candidate to be a nodule."""
        both = self.finder * candidates.logits + self.judge * logits[:, 0] + self.bias
        return np.asarray(special.expit(both))

    def suspicion(self, logits: Array) -> Array:
        """`(n,)` how likely each, if it is a nodule, is a cancer."""
        return np.asarray(special.expit(self.sharpness * logits[:, 1] + self.suspicion_bias))

    def patient(self, nodule: Array, suspicion: Array) -> float:
        """The patient's score: a leaky noisy-or over the likeliest nodules (L-14)."""
        return float(np.asarray(noisy_or(_top([(nodule, suspicion)]), leak=self.leak))[0])

    def to_dict(self) -> dict[str, float]:
        """For the model's card."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Calibration:
        """From the model's card."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: float(value) for name, value in values.items() if name in known})


def _top(patients: Sequence[tuple[Array, Array]]) -> Array:
    """`(patients, TOP)` logits of `nodule x suspicion` of the likeliest nodules."""
    table = np.full((len(patients), TOP), PADDED, np.float64)
    for row, (nodule, suspicion) in zip(table, patients, strict=True):
        best = np.argsort(-nodule, kind="stable")[:TOP]
        chances = np.clip(nodule[best] * suspicion[best], 1e-7, 1 - 1e-7)
        row[: len(best)] = special.logit(chances)
    return table


def calibrate(
    cases: Sequence[Case], found: Sequence[Candidates], logits: Sequence[Array]
) -> Calibration:
    """Fit the probabilities of nodules, and the patients' scores, on validation scans.

    Both fits are held near where nothing is known, for validation patients are few.
    """
    start = Calibration()
    truth = [is_near(case, marks.centres_mm) for case, marks in zip(cases, found, strict=True)]
    counts = [
        is_true | ~is_near(case, marks.centres_mm, excluded=True)
        for case, marks, is_true in zip(cases, found, truth, strict=True)
    ]
    x = np.concatenate([marks.logits[one] for marks, one in zip(found, counts, strict=True)])
    y = np.concatenate([part[one, 0] for part, one in zip(logits, counts, strict=True)])
    true = np.concatenate([part[one] for part, one in zip(truth, counts, strict=True)])
    if len(true) and 0 < true.sum() < len(true):
        weights = _least(
            lambda w: (
                _crossentropy(w[0] * x + w[1] * y + w[2], true)
                + 0.5 * ((w[0] - 0.5) ** 2 + (w[1] - 0.5) ** 2)
            ),
            [0.5, 0.5, 0.0],
        )
        start = dataclasses.replace(start, finder=weights[0], judge=weights[1], bias=weights[2])
    return _with_patients(start, cases, found, logits)


def _with_patients(
    start: Calibration, cases: Sequence[Case], found: Sequence[Candidates], logits: Sequence[Array]
) -> Calibration:
    known = [
        (case.cancer, marks, part)
        for case, marks, part in zip(cases, found, logits, strict=True)
        if case.cancer is not None
    ]
    outcomes = np.array([cancer for cancer, _, _ in known], bool)
    if not len(known) or outcomes.all() or not outcomes.any():
        return start
    chances = [start.nodule(marks, part) for _, marks, part in known]

    def made(w: Sequence[float]) -> Calibration:
        leak = 0.5 * float(special.expit(w[2]))
        sharpness = float(np.exp(w[0]))
        return dataclasses.replace(start, sharpness=sharpness, suspicion_bias=w[1], leak=leak)

    def loss(w: Sequence[float]) -> float:
        one = made(w)
        table = _top(
            [(p, one.suspicion(part)) for p, (_, _, part) in zip(chances, known, strict=True)]
        )
        none = np.log1p(-one.leak) - np.logaddexp(0, table).sum(axis=1)
        held = np.clip(-np.expm1(none), 1e-6, 1 - 1e-6)
        cost = -np.where(outcomes, np.log(held), np.log1p(-held)).sum()
        return float(cost + 0.5 * (w[0] ** 2 + w[1] ** 2 + 0.25 * (w[2] + 2.2) ** 2))

    return made(_least(loss, [0.0, 0.0, -2.2]))


def _crossentropy(logits: Array, truth: Array) -> float:
    return float(np.logaddexp(0, np.where(truth, -logits, logits)).sum())


def _least(loss: Any, start: list[float]) -> list[float]:
    return [float(w) for w in optimize.minimize(loss, start, method="Nelder-Mead").x]
