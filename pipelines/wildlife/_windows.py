"""Windows of marked pictures at full resolution, drawn to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.boxes import centres, clip
from fieldsight.core.detection import encode
from fieldsight.core.symmetry import symmetries
from fieldsight.datasets.animals import Frame
from fieldsight.datasets.errors import DataError
from fieldsight.pipelines.wildlife._cohort import ALL_IN_MEMORY, Eye, Unit

Array = NDArray[Any]

NEAR_OBJECT, NEAR_MISTAKE = 0.55, 0.6  # shares of windows; the second, of those that are left
INVERTED = 0.15  # of thermal windows: whether dark is hot was guessed, and may be wrong
GAIN, OFFSET, NOISE = 0.3, 20.0, 5.0  # at most, of values of 0 to 255
# Of the Gaussian about a centre, from which on size and offset are learned: the peak of an elephant
# of fifty pixels often lies a place or two beside its centre.
REACH = 0.4
SHOWN = 0.4  # of an object's box, from which on the part in a window is one to be found
LARGE = 64_000_000  # values of a picture that is read by windows, not as a whole
TRIES = 20  # pictures that can't be read, one after the other, before it is an error


class Place(NamedTuple):
    """Where a window's middle is to lie about."""

    frame: int
    x: float
    y: float


class Pictures:
    """Frames as a model sees them; as many as fit stay in memory.

    Args:
        units: whose frames they are.
        eye: the model's.
        limit: bytes that stay.
    """

    def __init__(self, units: Sequence[Unit], eye: Eye, *, limit: int = ALL_IN_MEMORY) -> None:
        self.frames: tuple[Frame, ...] = tuple(frame for unit in units for frame in unit.frames)
        self.eye = eye
        scales = eye.scales(units)
        self._scales = [scales.get(unit.name) for unit in units for _ in unit.frames]
        self._kept: dict[int, Array] = {}
        self._left = limit

    def __len__(self) -> int:
        return len(self.frames)

    def whole(self, number: int) -> Array:
        """`(rows, columns, channels)` uint8 of a frame.

        Raises:
            DataError: if it can't be read.
        """
        kept = self._kept.get(number)
        if kept is None:
            kept = self.eye.see(self.frames[number].read(), self._scales[number])
            if kept.nbytes <= self._left:
                self._left -= kept.nbytes
                self._kept[number] = kept
        return kept

    def window(self, number: int, top: int, left: int, side: int) -> Array:
        """`(side, side, channels)` uint8; beyond the picture's edge its last pixels go on.

        Raises:
            DataError: if it can't be read.
        """
        rows, columns = self.frames[number].size
        place = (slice(top, min(rows, top + side)), slice(left, min(columns, left + side)))
        if rows * columns * self.eye.channels > LARGE:
            part = self.eye.see(self.frames[number].read(place), self._scales[number])
        else:
            part = self.whole(number)[place]
        missing = [(0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0)]
        return np.pad(part, missing, mode="edge") if np.any(missing) else part


class Windows:
    """Draws batches of windows, half of them near an object, and their targets.

    Rare classes are drawn more often than they are: by the root of how many there are.

    Args:
        pictures: to draw from.
        num_classes: of the detector.
        stride: of the detector.
        side: pixels of a window's side.
        batch_size: windows at once.
        distort: whether windows are turned, mirrored, and changed in brightness.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        num_classes: int,
        stride: int,
        side: int,
        batch_size: int,
        distort: bool = True,
    ) -> None:
        self.pictures, self.num_classes, self.stride = pictures, num_classes, stride
        self.side, self.batch_size, self.distort = side, batch_size, distort
        self.hard: tuple[Place, ...] = ()  # where the detector was wrong
        frames = pictures.frames
        self._of = np.repeat(np.arange(len(frames)), [len(frame.boxes) for frame in frames])
        boxes = [np.zeros((0, 4)), *(np.asarray(frame.boxes, float) for frame in frames)]
        self._middles = centres(np.concatenate(boxes))
        labels = np.concatenate([np.zeros(0, int), *(frame.labels for frame in frames)]).astype(int)
        counts = np.bincount(labels, minlength=num_classes)
        weights = 1 / np.sqrt(np.maximum(counts, 1))[labels]
        self._chances = np.cumsum(weights) / max(weights.sum(), 1e-9)
        self._moves = symmetries(2)

    def __call__(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw `(batch, side, side, channels)` float32 of 0 to 255, and the targets."""
        pairs = [self._one(rng) for _ in range(self.batch_size)]
        images, targets = zip(*pairs, strict=True)
        return np.stack(images), np.stack(targets)

    def _one(self, rng: np.random.Generator) -> tuple[Array, Array]:
        for _ in range(TRIES):
            place = self._place(rng)
            try:
                return self._cut(place, rng)
            except DataError as error:  # it was told before, when the pictures were read
                failed = error
        raise failed

    def _place(self, rng: np.random.Generator) -> Place:
        if len(self._middles) and rng.random() < NEAR_OBJECT:
            number = int(np.searchsorted(self._chances, rng.random()))
            number = min(number, len(self._middles) - 1)
            x, y = self._middles[number] + rng.uniform(-0.4, 0.4, 2) * self.side
            return Place(int(self._of[number]), x, y)
        if self.hard and rng.random() < NEAR_MISTAKE:
            place = self.hard[rng.integers(len(self.hard))]
            x, y = rng.uniform(-0.35, 0.35, 2) * self.side
            return Place(place.frame, place.x + x, place.y + y)
        frame = int(rng.integers(len(self.pictures)))
        rows, columns = self.pictures.frames[frame].size
        return Place(frame, rng.uniform(0, columns), rng.uniform(0, rows))

    def _cut(self, place: Place, rng: np.random.Generator) -> tuple[Array, Array]:
        frame = self.pictures.frames[place.frame]
        side = self.side
        top, left = (
            int(np.clip(round(at - side / 2), 0, max(0, most - side)))
            for at, most in zip((place.y, place.x), frame.size, strict=True)
        )
        image = self.pictures.window(place.frame, top, left, side)
        offset = np.array([left, top, left, top])
        boxes, inside, touching = _seen(np.asarray(frame.boxes, float) - offset, side, frame.points)
        unknown = np.concatenate([boxes[touching], np.asarray(frame.ignored, float) - offset])
        labels = frame.labels[inside]
        boxes = boxes[inside]
        if self.distort:
            move = self._moves[rng.integers(len(self._moves))]
            shape = (side, side)
            image, boxes = move.image(image), move.boxes(boxes, shape)
            unknown = move.boxes(unknown, shape)
        target = encode(
            boxes, labels, (side, side), num_classes=self.num_classes, stride=self.stride,
            ignore=unknown, reach=REACH,
        )  # fmt: skip
        values = image.astype(np.float32)
        return (self._changed(values, rng) if self.distort else values), target

    def _changed(self, image: Array, rng: np.random.Generator) -> Array:
        channels = image.shape[-1]
        gain = np.exp(rng.uniform(-GAIN, GAIN))
        offset = rng.uniform(-OFFSET, OFFSET, channels if channels > 1 else 1)
        if channels == 1 and rng.random() < INVERTED:
            gain = -gain
        image = (image - 127.5) * gain + (127.5 + offset)
        if rng.random() < 0.3:
            image = image + rng.normal(0, rng.uniform(0, NOISE), image.shape)
        return np.clip(image, 0, 255).astype(np.float32)


def _seen(boxes: Array, side: int, points: bool) -> tuple[Array, Array, Array]:
    """What of boxes lies in a window, which of them are to be found, which only touch it.

    A window's edge is as a picture's: what is marked there is the part that shows. A point's box
    stays as it is, for its middle is what was marked.
    """
    if points:
        middles = centres(boxes)
        inside = np.all((middles >= 0) & (middles < side), axis=1)
        near = np.all((boxes[:, :2] < side) & (boxes[:, 2:] > 0), axis=1)
        return boxes, inside, ~inside & near
    shown = clip(boxes, (side, side))
    areas: Array = np.prod(shown[:, 2:] - shown[:, :2], axis=1)
    whole: Array = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    inside = areas >= SHOWN * whole
    return shown, inside, ~inside & (areas > 0)


def side_for(frames: Sequence[Frame], least: int) -> int:
    """Pixels of a window's side that shows nearly every object twice over, in steps of 32."""
    sides = [np.zeros(1)]
    sides += [(frame.boxes[:, 2:] - frame.boxes[:, :2]).max(axis=1) for frame in frames
              if len(frame.boxes)]  # fmt: skip
    usual = float(np.percentile(np.concatenate(sides), 95))
    return int(min(512, max(least, -(-2 * usual // 32) * 32)))
