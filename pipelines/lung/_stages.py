"""The stages of a training, one after the other; each goes on from where it was stopped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.normalization import fused_normalization
from fieldsight.pipelines import _training
from fieldsight.pipelines.lung import _detector, _networks, _reading, _segmenter, _suspicion
from fieldsight.pipelines.lung._cases import Case
from fieldsight.pipelines.lung._patches import FinderPatches
from fieldsight.pipelines.lung._reading import LungModel, Marks
from fieldsight.pipelines.lung._recipes import Way

if TYPE_CHECKING:
    from fieldsight.pipelines._run import Run
    from fieldsight.pipelines.lung._cohort import Cohort

Array = NDArray[Any]
Say = Callable[[str], None]

TRIED = 12  # steps of the trial of precisions, of which the first third isn't timed
TOLERATED = 1.25  # times float32's loss in the trial: so short a one is noisy
ALARMS = 1.0  # false positives a scan at which a candidate counts as a finding


@dataclasses.dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        model: the networks with their calibration.
        history: losses by epoch, by network.
        seconds: by stage.
        val: what the model says of each validation scan.
    """

    model: LungModel
    history: Mapping[str, Mapping[str, list[float]]]
    seconds: Mapping[str, float]
    val: tuple[Marks, ...]


def choose_precision(run: Run, way: Way, cases: Sequence[Case], asked: str) -> tuple[str, str]:
    """The dtype policy to train by, and why; a resumed run keeps the one it began with."""
    return _training.kept_precision(run.folder, lambda: _chosen(way, cases, asked))


def _chosen(way: Way, cases: Sequence[Case], asked: str) -> tuple[str, str]:
    policy, why = _training.device_precision(asked)
    # Of the quick way a trial would be a twentieth of the time.
    if asked != "auto" or policy == "float32" or way.detail == "quick":
        return policy, why
    return _tried(way, cases)


def _tried(way: Way, cases: Sequence[Case]) -> tuple[str, str]:
    """Both on the finder's first batches: what is a tenth faster and as good is taken."""
    recipe = way.finder.rounds[0]
    draw = FinderPatches(cases, side=way.finder.side, batch_size=recipe.batch_size)
    batches = [draw(np.random.default_rng((recipe.seed, i))) for i in range(TRIED)]
    seconds, losses = {}, {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(recipe.seed)
        keras.config.set_dtype_policy(policy)
        model = _networks.finder(way.sizes)
        _detector.compile_finder(model, recipe, way.finder.steps)
        took, found = [], []
        with fused_normalization(model):  # as it will train
            for x, y in batches:
                began = time.perf_counter()
                found.append(float(model.train_on_batch(x, y)))
                took.append(time.perf_counter() - began)
        seconds[policy] = float(np.median(took[TRIED // 3 :]))
        losses[policy] = float(np.mean(found[TRIED // 3 :]))
    ratio = seconds["float32"] / seconds["mixed_bfloat16"]
    agrees = losses["mixed_bfloat16"] <= TOLERATED * losses["float32"]
    why = f"in a trial bfloat16 ran {ratio:.2f} x as fast"
    if not agrees:
        why += f", its loss {losses['mixed_bfloat16']:.2f} to {losses['float32']:.2f}"
    return ("mixed_bfloat16" if ratio >= 1.1 and agrees else "float32"), why


def fit(cohort: Cohort, way: Way, run: Run, say: Say) -> Trained:
    """Train the networks, and calibrate them on the validation scans."""
    seconds: dict[str, float] = {}
    history: dict[str, Mapping[str, list[float]]] = {}
    marked = [case for case in cohort.train if case.marked]
    followed = [case for case in cohort.val if case.marked]

    began = time.perf_counter()
    say(f"finder: {sum(one.epochs for one in way.finder.rounds)} epochs of "
        f"{way.finder.steps * way.finder.rounds[0].batch_size} patches")  # fmt: skip
    finder, history["finder"] = _detector.train(
        marked, followed, way.sizes, way.finder, run.folder / "finder", _told(run, "finder"), say
    )
    seconds["train_finder"] = time.perf_counter() - began

    began = time.perf_counter()
    say("outliner")
    drawn = _segmenter.train(
        cohort.train, cohort.val, way.sizes, way.outliner, way.outliner_steps,
        run.folder / "outliner", _told(run, "outliner"), finder=finder,
    )  # fmt: skip
    outliner = None
    if drawn is not None:
        outliner, history["outliner"] = drawn
    seconds["train_outliner"] = time.perf_counter() - began

    began = time.perf_counter()
    say("candidates of the patients that are learned from")
    searched = way.finder.searched
    found = [_detector.search(finder, case) for case in marked[:searched]]
    found += [_detector.NOTHING] * len(marked[searched:])  # their nodules are learned all the same
    seconds["candidates"] = time.perf_counter() - began

    began = time.perf_counter()
    say("judge")
    judge, history["judge"] = _suspicion.train(
        marked, found, way.sizes, way.judge, way.judge_steps, run.folder / "judge",
        _told(run, "judge"), finder=finder,
    )  # fmt: skip
    seconds["train_judge"] = time.perf_counter() - began

    began = time.perf_counter()
    model, val = calibrated(finder, judge, outliner, cohort.val, way)
    seconds["calibrate"] = time.perf_counter() - began
    return Trained(model, history, seconds, val)


def calibrated(
    finder: keras.Model,
    judge: keras.Model,
    outliner: keras.Model | None,
    val: Sequence[Case],
    way: Way,
) -> tuple[LungModel, tuple[Marks, ...]]:
    """The networks as one model whose probabilities and threshold rest on validation scans."""
    model = LungModel(
        finder, judge, outliner, calibration=_suspicion.Calibration(),
        sizes=way.sizes, spacing_mm=way.spacing_mm, threshold=0.5,
    )  # fmt: skip
    found = [_detector.search(model.run["finder"], case, most=_reading.JUDGED) for case in val]
    logits = [
        _suspicion.judged(model.run["judge"], case, marks, model.crop)
        for case, marks in zip(val, found, strict=True)
    ]
    model.calibration = _suspicion.calibrate(val, found, logits)
    marks = tuple(
        _reading.marks_of(one, part, model.calibration)
        for one, part in zip(found, logits, strict=True)
    )
    model.threshold = threshold_of(val, marks)
    return model, marks


def threshold_of(cases: Sequence[Case], marks: Sequence[Marks], alarms: float = ALARMS) -> float:
    """The least probability at which there are no more false positives a scan than `alarms`."""
    wrong = [
        one.probabilities[~_detector.is_near(case, one.centres_mm, excluded=True)]
        for case, one in zip(cases, marks, strict=True)
        if case.marked
    ]
    values = np.sort(np.concatenate([np.zeros(0), *wrong]))[::-1]
    allowed = int(alarms * len(wrong))
    if allowed >= len(values):
        return float(values[-1]) if len(values) else 0.5
    return float(np.nextafter(values[allowed], 1.0))


def _told(run: Run, network: str) -> Callable[[int, Mapping[str, float]], None]:
    def log(epoch: int, metrics: Mapping[str, float]) -> None:
        run.metrics({f"{network}_{name}": v for name, v in metrics.items()}, step=epoch + 1)

    return log
