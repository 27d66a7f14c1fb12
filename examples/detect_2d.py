"""Birds in a thermal frame: a detector learns its left half and is scored on its right half.

python examples/detect_2d.py FOLDER [--epochs 30] [--out birds.png]

FOLDER holds frame.jpg and boxes.csv (xmin, ymin, xmax, ymax in pixels). Beside the detector
stands a threshold on the smoothed picture: the birds are warm, so that it is hard to beat. Both
see the frame without its background, and are tuned on the left half alone. F1 counts a bird as
found within 6 pixels of its centre; where two birds share one box, two findings are one too many.
"""

import argparse
import csv
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

SIDE, STRIDE, NEAR = 128, 2, 6.0  # of a training crop; of the detector; what counts as found

parser = argparse.ArgumentParser(description="Learn one half of a frame, find on the other.")
parser.add_argument("folder", type=Path)
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--out", type=Path, default=Path("birds.png"))
given, started = parser.parse_args(), time.perf_counter()
try:
    frame = np.asarray(Image.open(given.folder / "frame.jpg").convert("L"), "float32")
    with (given.folder / "boxes.csv").open(newline="") as file:
        names = ("xmin", "ymin", "xmax", "ymax")
        birds = np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])
except (OSError, KeyError, ValueError) as error:
    parser.error(f"a folder with frame.jpg and boxes.csv was needed. Received: {error}")
middle = frame.shape[1] // 2
is_left = boxes.centres(birds)[:, 0] < middle
grey = frame / frame.max() * 255
frame = frame - ndimage.gaussian_filter(frame, 25)  # the ground cools to the corners
frame /= frame[:, :middle].std()
rng = np.random.default_rng(0)
keras.utils.set_random_seed(0)


def scored(points, scores, half):
    """Findings of one half of the frame against its birds."""
    mine = (points[:, 0] < middle) == (half == "left")
    truth = boxes.centres(birds[is_left == (half == "left")])
    return match_points([truth], [points[mine]], scores=[scores[mine]], distance=NEAR)


def crop():
    """A turned, mirrored piece of the left half, of more or less contrast, and its target."""
    y, x = rng.integers(0, [frame.shape[0] - SIDE + 1, middle - SIDE + 1])
    piece = frame[y : y + SIDE, x : x + SIDE, None] * rng.uniform(0.6, 1.6) + rng.normal(0, 0.2)
    near = birds[is_left] - [x, y, x, y]
    is_in = ((boxes.centres(near) >= 0) & (boxes.centres(near) < SIDE)).all(axis=1)
    move = symmetries(2)[rng.integers(8)]
    here, cut = (move.boxes(part, (SIDE, SIDE)) for part in (near[is_in], near[~is_in]))
    return move.image(piece), encode(here, None, (SIDE, SIDE), stride=STRIDE, ignore=cut)


class Crops(keras.utils.PyDataset):
    """Sixteen batches of eight an epoch, always new ones."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        pieces, targets = zip(*(crop() for _ in range(8)), strict=True)
        return np.stack(pieces), np.stack(targets)


model = detector(all_cnn((None, None, 1), filters=16), stride=STRIDE)
rate = keras.optimizers.schedules.CosineDecay(
    0.0, given.epochs * 15, warmup_target=3e-3, warmup_steps=given.epochs
)
model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), DetectionLoss())
model.fit(Crops(), epochs=given.epochs, verbose=2)

maps = model.predict(frame[None, ..., None], verbose=0)[0]


def tried(apart):
    """What is found if two findings lie so many pixels apart, and how that fits the left half."""
    found = decode(maps, stride=STRIDE, apart=apart)
    matches = scored(boxes.centres(found.boxes), found.scores, "left")
    least = matches.best_threshold()
    return matches.at(least).f1, found.take(np.flatnonzero(found.scores >= least))


_, found = max((tried(apart) for apart in (3, 5, 7, 9)), key=lambda result: result[0])
ours = scored(boxes.centres(found.boxes), found.scores, "right").at()


def warm(smoothing, threshold):
    """Centres of what is warmer than the threshold, each as sure as the other."""
    labels, count = ndimage.label(ndimage.gaussian_filter(frame, smoothing) > threshold)
    spots = np.array(ndimage.center_of_mass(labels > 0, labels, range(1, count + 1)))
    return spots.reshape(-1, 2)[:, ::-1] + 0.5, np.ones(count)


grid = [
    (smoothing, level) for smoothing in (0.5, 1, 1.5, 2, 2.5) for level in np.arange(1, 6, 0.25)
]
best = max(grid, key=lambda choice: scored(*warm(*choice), "left").at().f1 or 0)
theirs = scored(*warm(*best), "right").at()
for name, result in (("detector", ours), ("threshold", theirs)):
    print(f"{name:<10} F1 {result.f1:.3f}: {result}")
print(f"{(~is_left).sum()} birds in the right half; {time.perf_counter() - started:.0f} s")

scale = 2
picture = Image.fromarray(grey.astype("uint8")).convert("RGB")
picture = picture.resize((picture.width * scale, picture.height * scale))
draw = ImageDraw.Draw(picture)
draw.line([(middle * scale, 0), (middle * scale, picture.height)], fill="white")
for box in birds:
    draw.rectangle((box * scale).tolist(), outline=(90, 160, 255))
for box in found.boxes:
    draw.ellipse((box * scale).tolist(), outline=(255, 170, 0))
picture.save(given.out)
print(f"{given.out}: birds as they were marked (blue) and as they were found (orange)")
