"""Spheres among rods in noise, simulated: a detector as in `detect_2d.py`, in three axes.

Each volume of 64 x 64 x 64 voxels holds 3 to 8 spheres of 4 to 12 voxels and 3 to 6 rods as
bright and as thick, as nodules lie among pieces of vessels. Beside the detector stands a
threshold on the smoothed volume, whose connected parts count as spheres unless they are too
large. Both are tuned on volumes that were learned from, and scored on new ones. F1 counts a
sphere as found within 3 voxels of its centre. On two cores it takes about two minutes.
"""

import argparse
import itertools
import os
import time
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # before Keras: several times as fast

import keras
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from fieldsight.core import boxes
from fieldsight.core.architectures import all_cnn
from fieldsight.core.architectures.detector import detector
from fieldsight.core.detection import decode, encode
from fieldsight.core.losses import DetectionLoss
from fieldsight.core.metrics import match_points
from fieldsight.core.symmetry import symmetries

VOLUME, NOISE = 64, 0.4  # side; beside spheres and rods of 0.7 to 1.3
SIDE, STRIDE, NEAR = 24, 2, 3.0  # of a training crop; of the detector; what counts as found
STEPS, BATCH = 24, 8  # an epoch's

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--volumes", type=int, default=24, help="to learn from (24)")
parser.add_argument("--new", type=int, default=16, help="to be scored on (16)")
parser.add_argument("--epochs", type=int, default=20, help="of 192 crops each (20)")
parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (0)")
parser.add_argument("--out", type=Path, default=Path("spheres.png"), help="the picture")
given, started = parser.parse_args(), time.perf_counter()
if min(given.volumes, given.new, given.epochs) < 1:
    parser.error(f"--volumes, --new and --epochs are at least 1. Received: {vars(given)}")
keras.utils.set_random_seed(given.seed)


def simulate(rng):
    """A volume `(plane, row, column)` and the boxes of its spheres, `x0, y0, z0, x1, y1, z1`."""
    places = np.moveaxis(np.indices((VOLUME,) * 3), 0, -1) + 0.5
    volume = np.zeros((VOLUME,) * 3)
    for _ in range(rng.integers(3, 7)):
        axis = rng.normal(size=3)
        away = places - rng.uniform(8, VOLUME - 8, 3)
        along = away @ (axis / np.linalg.norm(axis))
        across = np.sum(away**2, axis=-1) - along**2  # squared
        rod = (across < rng.uniform(1.5, 3) ** 2) & (np.abs(along) < rng.uniform(6, 20))
        volume = np.maximum(volume, rod * rng.uniform(0.7, 1.3))
    spheres = []
    count = rng.integers(3, 9)
    while len(spheres) < count:
        radius = rng.uniform(2, 6)
        centre = rng.uniform(radius, VOLUME - radius, 3)
        if all(np.linalg.norm(centre - other) > radius + size for other, size in spheres):
            spheres.append((centre, radius))
            ball = np.sum((places - centre) ** 2, axis=-1) < radius**2
            volume = np.maximum(volume, ball * rng.uniform(0.7, 1.3))
    volume += rng.normal(0, NOISE, volume.shape)
    found = [np.r_[centre[::-1] - size, centre[::-1] + size] for centre, size in spheres]
    return volume.astype("float32"), np.array(found)


def crop():
    """A turned, mirrored piece of a volume, every other one near a sphere, and its target."""
    volume, spheres = learned[rng.integers(len(learned))]
    corner = rng.integers(0, VOLUME - SIDE + 1, 3)
    if rng.random() < 0.5:
        sphere = boxes.centres(spheres)[rng.integers(len(spheres)), ::-1].astype(int)
        corner = np.clip(sphere - rng.integers(4, SIDE - 4, 3), 0, VOLUME - SIDE)
    z, y, x = corner
    piece = volume[z : z + SIDE, y : y + SIDE, x : x + SIDE, None]
    near = spheres - [x, y, z, x, y, z]
    is_in = ((boxes.centres(near) >= 0) & (boxes.centres(near) < SIDE)).all(axis=1)
    move = symmetries(3)[rng.integers(48)]
    here, cut = (move.boxes(part, (SIDE,) * 3) for part in (near[is_in], near[~is_in]))
    return move.image(piece), encode(here, None, (SIDE,) * 3, stride=STRIDE, ignore=cut)


class Crops(keras.utils.PyDataset):
    """Batches of crops, always new ones."""

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        pieces, targets = zip(*(crop() for _ in range(BATCH)), strict=True)
        return np.stack(pieces), np.stack(targets)


rng = np.random.default_rng(given.seed)
learned = [simulate(rng) for _ in range(given.volumes)]
steps = given.epochs * STEPS
rate = keras.optimizers.schedules.CosineDecay(
    0.0, steps * 15 // 16, warmup_target=3e-3, warmup_steps=steps // 16
)
model = detector(all_cnn((None, None, None, 1), filters=8), stride=STRIDE, filters=16)
model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), DetectionLoss())
model.fit(Crops(), epochs=given.epochs, verbose=2)


def detected(volume):
    """What the detector finds; spheres don't overlap."""
    maps = model.predict(volume[None, ..., None], verbose=0)[0]
    return decode(maps, stride=STRIDE, overlap=0.1)


def bright(volume, level, most):
    """Centres of parts that are brighter than the level and of at most so many voxels."""
    labels, count = ndimage.label(volume > level)
    sizes = np.bincount(labels.ravel(), minlength=1)
    kept = [label for label in range(1, count + 1) if sizes[label] <= most]
    spots = np.array(ndimage.center_of_mass(labels > 0, labels, kept))
    return spots.reshape(-1, 3)[:, ::-1] + 0.5


def scored(volumes, points, scores=None):
    """Centres found in each volume against its spheres."""
    truth = [boxes.centres(spheres) for _, spheres in volumes]
    scores = [np.ones(len(one)) for one in points] if scores is None else scores
    return match_points(truth, points, scores=scores, distance=NEAR)


def by_detector(volumes):
    """Matches of what the detector finds."""
    found = [detected(volume) for volume, _ in volumes]
    return scored(
        volumes, [boxes.centres(one.boxes) for one in found], [one.scores for one in found]
    )


def by_threshold(volumes, choices):
    """Counts of what each threshold finds."""
    smooth = {s: [ndimage.gaussian_filter(volume, s) for volume, _ in volumes] for s, *_ in choices}
    return [
        scored(volumes, [bright(volume, *choice) for volume in smooth[s]]).at()
        for s, *choice in choices
    ]


new, tuning = [simulate(rng) for _ in range(given.new)], learned[:8]
least = by_detector(tuning).best_threshold() or 1.0
ours = by_detector(new).at(least)
grid = list(itertools.product((1, 1.5, 2), np.arange(0.2, 0.8, 0.1), (500, 1000, 2000)))
best = max(zip(by_threshold(tuning, grid), grid, strict=True), key=lambda one: one[0].f1 or 0)[1]
theirs = by_threshold(new, [best])[0]
for name, result in (("detector", ours), ("threshold", theirs)):
    print(f"{name:<10} F1 {result.f1 or 0:.3f}: {result}")
count, seconds = ours.hits + ours.misses, time.perf_counter() - started
print(f"{count} simulated spheres in {given.new} new volumes; {seconds:.0f} s")

volume, spheres = new[0]
found = detected(volume)
kept = found.boxes[found.scores >= least]
shown = ndimage.gaussian_filter(volume, 1)
views = [shown.max(axis=axis) for axis in range(3)]  # along z, y and x
wide = np.concatenate([np.clip(view / 1.2, 0, 1) * 255 for view in views], axis=1)
picture = Image.fromarray(wide.astype("uint8")).convert("RGB")
picture = picture.resize((4 * picture.width, 4 * picture.height))
draw = ImageDraw.Draw(picture)
for one, colour in ((spheres, (90, 160, 255)), (kept, (255, 170, 0))):
    for box in one:
        for i, (across, down) in enumerate(((0, 1), (0, 2), (1, 2))):
            corners = box[[across, down, 3 + across, 3 + down]] + [i * VOLUME, 0, i * VOLUME, 0]
            draw.ellipse((corners * 4).tolist(), outline=colour)
picture.save(given.out)
print(f"{given.out}: the first new volume along z, y, x; spheres (blue), found (orange)")
