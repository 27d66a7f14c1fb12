"""Nodule or not: ResNet-20 on crops of CT at LUNA16's candidates, scored by its AUC.

python examples/luna16_crops.py FOLDER [--train train] [--score val] [--epochs 30]

A split is FOLDER/SPLIT.zip or a folder FOLDER/SPLIT of pictures of about 50x50, and
FOLDER/SPLITdatalabels.txt with lines such as `val/image_5249.jpg 0`; 1 is a nodule.
"""

import argparse
import os
import time

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # before Keras: several times as fast

import keras
import numpy as np
from scipy import stats

from fieldsight.core.architectures import resnet20
from fieldsight.core.layers import RandomSymmetry
from fieldsight.core.symmetry import symmetries
from fieldsight.datasets import luna16_crops
from fieldsight.datasets.errors import DataError

parser = argparse.ArgumentParser(description="Nodule or not: learn one split, score another.")
parser.add_argument("folder")
parser.add_argument("--train", default="train", help="name of the split to learn")
parser.add_argument("--score", default="val", help="name of the split to score")
parser.add_argument("--epochs", type=int, default=30)
given, started = parser.parse_args(), time.perf_counter()
try:
    train, score = (luna16_crops.load(given.folder, name) for name in (given.train, given.score))
    if len(set(score.labels)) < 2:
        raise DataError(f"{given.score}: nodules and others are needed. Received: one kind alone.")
except DataError as error:
    parser.error(str(error))

keras.utils.set_random_seed(0)
inputs, layers, optimizers = keras.Input((50, 50, 1)), keras.layers, keras.optimizers
moved = RandomSymmetry()(layers.RandomTranslation(0.04, 0.04)(inputs))  # in training alone
middle = layers.Rescaling(1 / 64, -1)(layers.CenterCrop(40, 40)(moved))
model = keras.Model(inputs, resnet20((40, 40, 1), num_classes=1)(middle))
steps = given.epochs * -(-len(train) // 32)
rise = steps // 10 + 1
rate = optimizers.schedules.CosineDecay(0.0, steps - rise, warmup_target=2e-3, warmup_steps=rise)
loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.05)
model.compile(optimizers.AdamW(rate, weight_decay=0.02), loss)
model.fit(train.images[..., None], train.labels, batch_size=32, epochs=given.epochs, verbose=2)

views = (np.stack([each.image(crop) for crop in score.images]) for each in symmetries(2))
logits = np.mean([model.predict(view[..., None], verbose=0)[:, 0] for view in views], axis=0)
parts = logits[score.labels == 1], logits[score.labels == 0]
rng = np.random.default_rng(0)
draws = [[rng.choice(part, part.size) for part in parts] for _ in range(2000)]
pairs = parts[0].size * parts[1].size
areas = [stats.mannwhitneyu(*each).statistic / pairs for each in (parts, *draws)]
auc, (low, high) = areas[0], np.quantile(areas[1:], [0.025, 0.975])
counts = f"{len(score)} crops, {parts[0].size} nodules, {time.perf_counter() - started:.0f} s"
print(f"AUC {auc:.4f} ({low:.4f} to {high:.4f}) on {counts}")
