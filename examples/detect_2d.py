"""Birds in a thermal frame: a detector learns its left half and is scored on its right half.

FOLDER holds frame.jpg and boxes.csv (xmin, ymin, xmax, ymax in pixels). Beside the detector
stands a threshold on the smoothed picture: the birds are warm, so that it is hard to beat. Both
see the frame without its background, and all of both is chosen on the left half alone. F1 counts
a bird as found within 6 pixels of its centre; where two birds share a box, two findings are one
too many. On two cores it takes about a minute.
"""

import argparse
import csv
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

SIDE, STRIDE, NEAR = 64, 2, 6.0  # of a training crop; of the detector; what counts as found
STEPS, BATCH = 32, 8  # an epoch's

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("folder", type=Path, help="where frame.jpg and boxes.csv are")
parser.add_argument("--epochs", type=int, default=16, help="of 256 crops each (16)")
parser.add_argument("--seed", type=int, default=0, help="of crops and first weights (0)")
parser.add_argument("--out", type=Path, default=Path("birds.png"), help="the picture (birds.png)")
given, started = parser.parse_args(), time.perf_counter()
try:
    frame = np.asarray(Image.open(given.folder / "frame.jpg").convert("L"), "float32")
    with (given.folder / "boxes.csv").open(newline="") as file:
        names = ("xmin", "ymin", "xmax", "ymax")
        birds = np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])
    middle = frame.shape[1] // 2
    is_left = boxes.centres(birds)[:, 0] < middle if len(birds) else np.zeros(0, bool)
    if frame.shape[0] < SIDE or middle < SIDE or any(side % 4 for side in frame.shape):
        raise ValueError(f"{frame.shape} pixels; multiples of 4, from {SIDE} x {2 * SIDE} on, fit")
    if not 0 < is_left.sum() < len(birds):
        raise ValueError(f"{len(birds)} birds, of which {is_left.sum()} in the left half")
except (OSError, KeyError, ValueError) as error:
    parser.error(f"a folder with frame.jpg and boxes.csv was needed. Received: {error}")
learned = birds[is_left]
apart = float(np.median(boxes.sizes(learned)))  # nearer than a box's side, two share one box
grey = frame / frame.max() * 255
frame = frame - ndimage.gaussian_filter(frame, 25)  # the ground cools to the corners
frame /= frame[:, :middle].std()
rng = np.random.default_rng(given.seed)
keras.utils.set_random_seed(given.seed)


def crop():
    """A turned, mirrored piece of the left half, every other one near a bird, and its target."""
    most = np.array([frame.shape[0], middle]) - SIDE
    corner = rng.integers(0, most + 1)
    if rng.random() < 0.5:
        bird = boxes.centres(learned)[rng.integers(len(learned)), ::-1].astype(int)
        corner = np.clip(bird - rng.integers(8, SIDE - 8, 2), 0, most)
    y, x = corner
    piece = frame[y : y + SIDE, x : x + SIDE, None] * rng.uniform(0.6, 1.6)
    piece = piece + rng.normal(0, 0.2, piece.shape)
    near = learned - [x, y, x, y]
    is_in = ((boxes.centres(near) >= 0) & (boxes.centres(near) < SIDE)).all(axis=1)
    move = symmetries(2)[rng.integers(8)]
    here, cut = (move.boxes(part, (SIDE, SIDE)) for part in (near[is_in], near[~is_in]))
    return move.image(piece), encode(here, None, (SIDE, SIDE), stride=STRIDE, ignore=cut)


class Crops(keras.utils.PyDataset):
    """Batches of crops, always new ones."""

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        pieces, targets = zip(*(crop() for _ in range(BATCH)), strict=True)
        return np.stack(pieces), np.stack(targets)


steps = given.epochs * STEPS
rate = keras.optimizers.schedules.CosineDecay(
    0.0, steps * 15 // 16, warmup_target=3e-3, warmup_steps=steps // 16
)
model = detector(all_cnn((None, None, 1), filters=16), stride=STRIDE, filters=32)
model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), DetectionLoss())
model.fit(Crops(), epochs=given.epochs, verbose=2)


def scored(points, scores, half):
    """Findings of one half of the frame against its birds."""
    mine = (points[:, 0] < middle) == (half == "left")
    truth = boxes.centres(birds[is_left == (half == "left")])
    return match_points([truth], [points[mine]], scores=[scores[mine]], distance=NEAR)


found = decode(model.predict(frame[None, ..., None], verbose=0)[0], stride=STRIDE, apart=apart)
matches = scored(boxes.centres(found.boxes), found.scores, "left")
# Halfway between the last finding that helps and the next: new birds are found less surely.
least = matches.best_threshold() or 1.0
least = (least + matches.scores[matches.scores < least].max(initial=0.0)) / 2
found = found.take(np.flatnonzero(found.scores >= least))
ours = scored(boxes.centres(found.boxes), found.scores, "right").at()


def warm(smoothing, level):
    """Centres of what is warmer than the level, each as sure as the other."""
    labels, count = ndimage.label(ndimage.gaussian_filter(frame, smoothing) > level)
    spots = np.array(ndimage.center_of_mass(labels > 0, labels, range(1, count + 1)))
    return spots.reshape(-1, 2)[:, ::-1] + 0.5, np.ones(count)


grid = itertools.product((0.5, 1, 1.5, 2, 2.5), np.arange(1, 6, 0.25))
best = max(grid, key=lambda choice: scored(*warm(*choice), "left").at().f1 or 0)
theirs = scored(*warm(*best), "right").at()
for name, result in (("detector", ours), ("threshold", theirs)):
    print(f"{name:<10} F1 {result.f1 or 0:.3f}: {result}")
print(f"{(~is_left).sum()} birds in the right half; {time.perf_counter() - started:.0f} s")

picture = Image.fromarray(grey.astype("uint8")).convert("RGB")
picture = picture.resize((2 * picture.width, 2 * picture.height))
draw = ImageDraw.Draw(picture)
draw.line([(2 * middle, 0), (2 * middle, picture.height)], fill="white")
for box in birds:
    draw.rectangle((box * 2).tolist(), outline=(90, 160, 255))
for box in found.boxes:
    draw.ellipse((box * 2).tolist(), outline=(255, 170, 0))
picture.save(given.out)
print(f"{given.out}: birds as they were marked (blue) and as they were found (orange)")
