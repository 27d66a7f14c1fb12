"""The outliner: learns nodules' masks in crops; and a finding's mask, diameter and volume."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from fieldsight.core.losses import binary_focal, soft_dice
from fieldsight.datasets.lung_preparation import onto_volume
from fieldsight.datasets.volume import Volume, to_world
from fieldsight.pipelines import _training
from fieldsight.pipelines._drawn import Batches
from fieldsight.pipelines.lung import _networks
from fieldsight.pipelines.lung._cases import Case
from fieldsight.pipelines.lung._detector import OnEpoch
from fieldsight.pipelines.lung._patches import (
    Place,
    around,
    balance,
    corner_around,
    cut,
    distorted,
    kind_of,
    of_crops,
    turned,
)
from fieldsight.pipelines.lung._recipes import Sizes

Array = NDArray[Any]

SHIFT_MM = 3.0  # how far a candidate's centre may lie from the nodule's
FEW = -2.0  # the logit of a voxel before training
VALIDATED = 96  # crops at most that are followed


@dataclasses.dataclass(frozen=True)
class Outline:
    """What the outliner drew around a finding, on a volume's own grid.

    Attributes:
        mask: `(planes, rows, columns)` bool, of the box that holds it.
        offset: plane, row, column of the box's first voxel.
        volume_mm3: of the voxels in it.
        diameter_mm: of the sphere of that volume.
        centre_mm: of the voxels in it, LPS.
    """

    mask: Array
    offset: tuple[int, int, int]
    volume_mm3: float
    diameter_mm: float
    centre_mm: tuple[float, float, float]


class OutlinerCrops:
    """Draws crops with a nodule near the middle, and the nodule's mask.

    Args:
        cases: those with masks are used.
        side: voxels of a crop.
        batch_size: crops.
    """

    def __init__(self, cases: Sequence[Case], *, side: int, batch_size: int) -> None:
        self.cases = [case for case in cases if case.labels is not None]
        self.side, self.batch_size = side, batch_size
        self.nodules: list[tuple[Place, int]] = []
        kinds = []
        for number, case in enumerate(self.cases):
            places = case.to_index([nodule.centre_mm for nodule in case.nodules])
            for label, (place, nodule) in enumerate(zip(places, case.nodules, strict=True), 1):
                self.nodules.append(((number, place), label))
                kinds.append(kind_of(nodule))
        self.weights = balance(kinds)

    def __len__(self) -> int:
        return len(self.nodules)

    def __call__(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """A batch of Hounsfield units and masks, turned, shifted and made noisy."""
        drawn = rng.choice(len(self.nodules), self.batch_size, p=self.weights)
        pairs = [self._one(int(number), rng) for number in drawn]
        crops, masks = zip(*pairs, strict=True)
        return np.stack(crops)[..., None], np.stack(masks)[..., None]

    def all(self, limit: int) -> tuple[Array, Array]:
        """The first nodules as they are, each in the middle."""
        rows = self.nodules[:limit]
        cubes = [around(self.cases[n].image, place, self.side) for (n, place), _ in rows]
        masks = [self._mask(n, corner_around(place, self.side), k) for (n, place), k in rows]
        return np.stack(cubes)[..., None].astype(np.float32), np.stack(masks)[..., None]

    def _one(self, number: int, rng: np.random.Generator) -> tuple[Array, Array]:
        (case, place), label = self.nodules[number]
        moved = rng.normal(0, SHIFT_MM / 2 / self.cases[case].spacing_mm, 3)
        corner = corner_around(place + moved, self.side)
        cube, move = turned(around(self.cases[case].image, place + moved, self.side), rng)
        mask = np.ascontiguousarray(move.image(self._mask(case, corner, label)))
        return distorted(cube, rng), mask

    def _mask(self, case: int, corner: Array, label: int) -> Array:
        labels = self.cases[case].labels
        assert labels is not None  # noqa: S101  such cases were left out
        return (cut(labels, corner, self.side, 0) == label).astype(np.float32)


def overlap(y_true: Any, y_pred: Any) -> Any:
    """Soft Dice, and the focal loss, which tells every voxel its way from the first step on."""
    each = binary_focal(y_true, y_pred, alpha=0.5, gamma=2.0, per="positive")
    return soft_dice(y_true, y_pred) + each


def train(
    cases: Sequence[Case],
    val: Sequence[Case],
    sizes: Sizes,
    recipe: _training.Recipe,
    steps: int,
    folder: Path,
    on_epoch: OnEpoch | None = None,
    *,
    finder: keras.Model,
) -> tuple[keras.Model, dict[str, list[float]]] | None:
    """Train the outliner on the nodules that are outlined; None where none is.

    It begins with the finder's own features.
    """
    draw = OutlinerCrops(cases, side=sizes.crop, batch_size=recipe.batch_size)
    if not len(draw):
        return None
    followed = OutlinerCrops(val, side=sizes.crop, batch_size=1)
    model = _networks.outliner(sizes, finder)
    # Nearly all voxels are background: said at the start, it needn't be learned.
    model.get_layer("pixel_logits").bias.assign([FEW])
    model.compile(_training.optimizer(recipe, steps), overlap)
    fitted = _training.fit(
        model, Batches(draw, steps, recipe.seed), recipe,
        validation=followed.all(VALIDATED) if len(followed) else None, monitor="val_loss",
        folder=folder, resume=True, on_epoch=on_epoch,
    )  # fmt: skip
    return model, fitted.history


def probabilities(predict: Any, case: Case, places: Array, side: int) -> Array:
    """`(n, side, side, side)` probability of each voxel around each place, float32."""
    if not len(places):
        return np.zeros((0, side, side, side), np.float32)
    logits = of_crops(predict, case.image, places, side, at_once=16)
    return np.asarray(special.expit(logits[..., 0]), np.float32)


def outline(cube: Array, place: Array, case: Case, volume: Volume) -> Outline | None:
    """Bring a crop's probabilities to a volume's own grid and draw the line at one half.

    Args:
        cube: `(side, side, side)` probabilities around the place.
        place: the finding's indices in the prepared scan.
        case: the prepared scan.
        volume: whose grid it is.

    Returns:
        The part nearest to the place; None if there is none.
    """
    affine = case.affine.copy()
    affine[:3, 3] = case.to_world(corner_around(place, len(cube)))[0]
    mask, first = onto_volume(cube, affine, volume)
    if not mask.size:
        return None
    middle = volume.to_index(case.to_world(place)[0]) - first
    return _measured(_part(mask, middle), np.asarray(first), volume.affine)


def _part(mask: Array, middle: Array) -> Array:
    """The connected part nearest to a point."""
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    voxels = np.argwhere(mask)
    nearest = voxels[np.argmin(np.sum((voxels - middle) ** 2, axis=1))]
    part: Array = parts == parts[tuple(nearest)]
    return part


def _measured(mask: Array, low: Array, affine: Array) -> Outline:
    voxels = np.argwhere(mask)
    first, last = voxels.min(axis=0), voxels.max(axis=0) + 1
    inner = mask[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    volume = len(voxels) * abs(float(np.linalg.det(affine[:3, :3])))
    offset = (low + first).tolist()
    x, y, z = to_world(affine, low + voxels.mean(axis=0)).tolist()
    return Outline(
        inner,
        (offset[0], offset[1], offset[2]),
        volume,
        float(np.cbrt(6 * volume / np.pi)),
        (x, y, z),
    )


def dice(ours: Array, theirs: Array) -> float:
    """Twice what both have over what each has; 1 where both are empty."""
    whole = int(ours.sum()) + int(theirs.sum())
    return 2 * int((ours & theirs).sum()) / whole if whole else 1.0
