"""The detector's training, from some epoch on on its own mistakes too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.boxes import centres, ignored
from fieldsight.core.detection import decode
from fieldsight.core.losses import DetectionLoss
from fieldsight.datasets.errors import DataError
from fieldsight.pipelines import _training
from fieldsight.pipelines._drawn import Batches
from fieldsight.pipelines.wildlife import _network
from fieldsight.pipelines.wildlife._cohort import Cohort, Eye
from fieldsight.pipelines.wildlife._recipes import Way
from fieldsight.pipelines.wildlife._windows import LARGE, Pictures, Place, Windows, side_for

Array = NDArray[Any]
OnEpoch = Callable[[int, Mapping[str, float]], None]

FOLLOWED = 96  # validation windows, the same after each epoch
SURE = 0.1  # probability from which on a mistake is learned from
MINED = 8  # of a frame's false alarms, the highest
LAST_LAYERS = ("(heat|log_size|offset)/",)
LARGE_OBJECTS = 48.0  # pixels: where usual objects are larger, the network looks further


def build(cohort: Cohort, way: Way) -> keras.Model:
    """The untrained detector for a cohort's pictures and classes."""
    channels = Eye(cohort.thermal).channels
    return _network.finder(
        channels, len(cohort.found.classes), stride=way.stride, filters=filters_of(cohort, way),
        pyramid=way.pyramid,
    )  # fmt: skip


def filters_of(cohort: Cohort, way: Way) -> tuple[int, ...]:
    """Filters by stride: one stage more where objects are large."""
    frames = [frame for unit in cohort.train for frame in unit.frames]
    large = side_for(frames, 0) > 2 * LARGE_OBJECTS
    return (*way.filters, 3 * way.filters[-1] // 2) if large else way.filters


def train(
    cohort: Cohort,
    way: Way,
    folder: Path,
    on_epoch: OnEpoch | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[keras.Model, dict[str, list[float]], int]:
    """Train the detector; after its first epochs hard negatives are among what it is shown.

    Args:
        cohort: the pictures.
        way: how long, on what.
        folder: of checkpoints; a training that was stopped goes on from them.
        on_epoch: told the epoch and its metrics.
        say: tells the user what is done.

    Returns:
        The detector, its losses by epoch, and the side of its windows.
    """
    model = build(cohort, way)
    eye, count = Eye(cohort.thermal), len(cohort.found.classes)
    pictures = Pictures(cohort.train, eye)
    side = side_for(pictures.frames, way.side)
    shrunk = max(1, round((side / way.side) ** 2))
    options: dict[str, Any] = {"num_classes": count, "stride": way.stride, "side": side}
    draw = Windows(pictures, batch_size=max(2, way.recipe.batch_size // shrunk), **options)
    followed = Windows(
        Pictures(cohort.val, eye), batch_size=max(8, FOLLOWED // shrunk), distort=False, **options
    )(np.random.default_rng(0))  # fmt: skip

    @functools.cache
    def show_mistakes() -> None:
        rng = np.random.default_rng((way.recipe.seed, way.unaided, way.steps))
        found = _remembered(folder / "mistakes.npz", lambda: mine(model, pictures, way, rng))
        draw.hard = tuple(found)
        say(f"{len(found)} places where it was wrong: shown to it from now on")

    model.compile(
        _training.optimizer(way.recipe, way.steps, last_layers=LAST_LAYERS),
        DetectionLoss(count), steps_per_execution=_training.steps_an_execution(way.steps),
    )  # fmt: skip
    data = _Batches(draw, way, show_mistakes)
    fitted = _training.fit(
        model, data, way.recipe, validation=followed, monitor="val_loss", folder=folder,
        resume=True, on_epoch=on_epoch, validation_batch_size=16,
    )  # fmt: skip
    return model, fitted.history, side


class _Batches(Batches):
    """Windows as they are drawn; from an epoch on, mistakes are among them.

    Args:
        draw: draws them.
        way: how many, and from when on.
        show_mistakes: has mistakes drawn too; asked before each epoch from then on.
    """

    def __init__(self, draw: Windows, way: Way, show_mistakes: Callable[[], None]) -> None:
        super().__init__(draw, way.steps, way.recipe.seed)
        self.unaided, self.show_mistakes = way.unaided, show_mistakes

    def start_epoch(self, epoch: int) -> None:
        """Begin an epoch, from 0."""
        super().start_epoch(epoch)
        if epoch >= self.unaided:
            self.show_mistakes()


def mine(model: Any, pictures: Pictures, way: Way, rng: np.random.Generator) -> list[Place]:
    """Where the detector is sure of an object that isn't there; empty frames are all searched.

    Args:
        model: the detector.
        pictures: that it learns from.
        way: how many frames are searched.
        rng: chooses them.
    """
    frames = pictures.frames
    empty = np.array([not len(frame.boxes) for frame in frames])
    order = rng.permutation(len(frames))
    order = order[np.argsort(~empty[order], kind="stable")]
    # At most half of them empty: alarms beside animals are as bad.
    half = order[empty[order]][: way.mined // 2]
    chosen = [*half, *order[~empty[order]]][: way.mined]
    found: list[Place] = []
    for number in sorted(int(each) for each in chosen):
        found += _mistakes(model, pictures, number, way)
    return found


def _mistakes(model: Any, pictures: Pictures, number: int, way: Way) -> list[Place]:
    frame = pictures.frames[number]
    if frame.size[0] * frame.size[1] * pictures.eye.channels > LARGE:
        return []
    try:
        image = pictures.whole(number)
    except DataError:
        return []
    cut = image[:2048, :2048]
    missing = [(0, -side % 64) for side in cut.shape[:2]]
    padded = np.pad(cut, [*missing, (0, 0)], mode="edge")
    answer = model.predict_on_batch(padded[None].astype(np.float32))[0]
    count = answer.shape[-1] - 4
    found = decode(np.asarray(answer), num_classes=count, stride=way.stride, threshold=SURE)
    known = np.concatenate([frame.boxes, frame.ignored])
    middles = centres(found.boxes)
    near = np.zeros(len(found), bool)
    for left, top, right, bottom in known:
        reach = (left - 3, top - 3), (right + 3, bottom + 3)
        near |= ((middles >= reach[0]) & (middles <= reach[1])).all(axis=1)
    near |= ignored(found.boxes, frame.ignored) if len(frame.ignored) else False
    return [Place(number, float(x), float(y)) for x, y in middles[~near][:MINED]]


def _remembered(path: Path, compute: Callable[[], Sequence[Place]]) -> list[Place]:
    """What was computed, or what is there from before the training was stopped."""
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return [Place(int(frame), float(x), float(y)) for frame, x, y in kept["places"]]
    found = list(compute())
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        np.savez(file, places=np.array(found, float).reshape(-1, 3))
    beside.replace(path)
    return found
