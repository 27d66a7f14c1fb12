"""What the networks learn from: patches around nodules and elsewhere, cut as they are asked for.

Prepared scans are memory-mapped: what is held in memory is a batch, not the patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldsight.core.detection import encode
from fieldsight.core.symmetry import Symmetry, symmetries
from fieldsight.pipelines.lung._cases import AIR, Case
from fieldsight.pipelines.lung._networks import STRIDE

Array = NDArray[Any]
Place = tuple[int, Array]  # the number of a case, and (plane, row, column) in its voxels

SHIFT_HU, NOISE_HU = 25.0, 20.0  # of the distortions: scanners differ
SYMMETRIES = symmetries(3)


def cut(image: Array, corner: ArrayLike, side: int, fill: float = AIR) -> Array:
    """A cube of an array; what lies beyond it is `fill`.

    Args:
        image: `(planes, rows, columns)`.
        corner: plane, row, column of its first voxel; may lie outside.
        side: voxels along each axis.
        fill: of what isn't there.
    """
    start = np.asarray(corner)
    low, high = np.maximum(start, 0), np.minimum(start + side, image.shape)
    cube = np.full((side,) * 3, fill, image.dtype)
    if (high > low).all():
        there = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        cube[there] = image[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return cube


def around(image: Array, centre: Array, side: int, fill: float = AIR) -> Array:
    """The cube whose middle is nearest to a point, given in voxels' indices."""
    return cut(image, corner_around(centre, side), side, fill)


def of_crops(predict: Any, image: Array, places: Array, side: int, *, at_once: int) -> Array:
    """What a network answers of the cube around each place, some at a time; one place at least."""
    crops = np.stack([around(image, place, side) for place in places])[..., None]
    starts = range(0, len(crops), at_once)
    answers = [
        np.asarray(predict(crops[start : start + at_once].astype(np.float32))) for start in starts
    ]
    return np.concatenate(answers)


def corner_around(centre: Array, side: int) -> Array:
    """The first voxel of the cube of even side whose middle is nearest to an index."""
    return np.rint(np.asarray(centre) + 0.5).astype(int) - side // 2


def distorted(cube: Array, rng: np.random.Generator) -> Array:
    """Another scanner's cube, Hounsfield units float32: brighter or darker, and noisier."""
    noise = rng.uniform(0, NOISE_HU) * rng.standard_normal(cube.shape, np.float32)
    return cube.astype(np.float32) + noise + np.float32(rng.uniform(-SHIFT_HU, SHIFT_HU))


class FinderPatches:
    """Draws a batch for the finder: half of it near nodules, the rest where there are none.

    Nodules of a size and kind that are rare are drawn as often as frequent ones of another.

    Args:
        cases: to learn from.
        side: voxels of a patch.
        batch_size: patches.
        hard: where the finder was wrong; empty for anywhere in the lungs.
        distort: whether patches are turned and made noisy.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        side: int,
        batch_size: int,
        hard: Sequence[Place] = (),
        distort: bool = True,
    ) -> None:
        self.cases, self.side, self.batch_size = cases, side, batch_size
        self.hard, self.distort = hard, distort
        self.nodules: list[Place] = [
            (number, centre)
            for number, case in enumerate(cases)
            for centre in case.to_index([nodule.centre_mm for nodule in case.nodules])
        ]
        self.weights = balance([kind_of(nodule) for case in cases for nodule in case.nodules])

    def __call__(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """A batch of Hounsfield units and the finder's targets."""
        pairs = [self._one(rng, near=slot % 2 == 0) for slot in range(self.batch_size)]
        patches, targets = zip(*pairs, strict=True)
        return np.stack(patches)[..., None], np.stack(targets)

    def _one(self, rng: np.random.Generator, *, near: bool) -> tuple[Array, Array]:
        side = self.side
        if near and self.nodules:
            number, centre = self.nodules[rng.choice(len(self.nodules), p=self.weights)]
            # Anywhere in the patch but at its very edge, where half of what tells it is missing.
            corner = np.rint(centre - rng.uniform(0.2 * side, 0.8 * side, 3)).astype(int)
        elif self.hard and rng.random() < 0.75:
            number, centre = self.hard[int(rng.integers(len(self.hard)))]
            corner = np.rint(centre - rng.uniform(0.2 * side, 0.8 * side, 3)).astype(int)
        else:
            number = int(rng.integers(len(self.cases)))
            corner = self.cases[number].a_place(rng) - side // 2
        return self._patch(self.cases[number], corner, rng)

    def _patch(self, case: Case, corner: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        shape = (self.side,) * 3
        cube = cut(case.image, corner, self.side)
        offset = np.concatenate([corner[::-1], corner[::-1]])
        boxes = [case.boxes - offset, case.ignore - offset]
        move = SYMMETRIES[rng.integers(len(SYMMETRIES))] if self.distort else SYMMETRIES[0]
        boxes = [move.boxes(part, shape) for part in boxes]
        centres = (boxes[0][:, :3] + boxes[0][:, 3:]) / 2
        inside = ((centres >= 0) & (centres < self.side)).all(axis=1)
        # A nodule whose centre is beyond the edge is neither to be found here nor to be missed.
        ignored = np.concatenate([boxes[0][~inside], boxes[1]])
        target = encode(boxes[0][inside], None, shape, stride=STRIDE, ignore=ignored)
        cube = np.ascontiguousarray(move.image(cube))
        return (distorted(cube, rng) if self.distort else cube.astype(np.float32)), target


def kind_of(nodule: Any) -> tuple[str, int]:
    """What makes a nodule rare or frequent: its kind and the octave of its diameter."""
    return nodule.kind, int(np.floor(2 * np.log2(max(nodule.diameter_mm, 3.0))))


def balance(kinds: Sequence[Any]) -> Array:
    """How often to draw each, so that kinds are drawn by the square root of their number."""
    count = {kind: kinds.count(kind) for kind in set(kinds)}
    weights = np.array([count[kind] ** -0.5 for kind in kinds], float)
    return weights / weights.sum() if len(weights) else weights


def turned(cube: Array, rng: np.random.Generator) -> tuple[Array, Symmetry]:
    """The cube in one of its 48 forms, and which."""
    move = SYMMETRIES[rng.integers(len(SYMMETRIES))]
    return np.ascontiguousarray(move.image(cube)), move
