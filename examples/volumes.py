"""Classification of volumes: a network in three dimensions tells balls from rods.

python examples/volumes.py [--volumes 1200] [--epochs 3]

The volumes are simulated, from a seed: a ball, or a rod (an ellipsoid three times as long as wide)
of the same content and brightness, lying in any direction, in noise. No sum over the voxels tells
them apart. The networks are those for pictures: an `input_shape` of depth, height, width and
channels makes every kernel one axis longer.
"""

import argparse
import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # before Keras: several times as fast

import keras
import numpy as np

from fieldsight.core.architectures import all_cnn
from fieldsight.core.metrics import proportion_interval

SIDE = 20
NOISE = 0.3  # standard deviation; the bodies are 1 on 0
ELONGATION = 3.0  # of a rod, length to width


def simulate(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Volumes `(count, 20, 20, 20, 1)` float32 and labels `(count,)`, 0 a ball and 1 a rod."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    volumes = rng.normal(0, NOISE, (count, SIDE, SIDE, SIDE, 1)).astype("float32")
    places = np.moveaxis(np.indices((SIDE, SIDE, SIDE)), 0, -1)
    for volume, length in zip(volumes, np.where(labels, ELONGATION, 1), strict=True):
        axis = rng.normal(size=3)
        away = places - rng.uniform(8, 11, 3)
        along = away @ axis / np.linalg.norm(axis)
        across = np.sum(away**2, axis=-1) - along**2  # squared
        width = rng.uniform(2.5, 3.8) / length ** (1 / 3)  # the content is that of a ball
        volume[..., 0] += (along / length) ** 2 + across < width**2
    return volumes, labels


parser = argparse.ArgumentParser(description="A 3-D network on simulated balls and rods.")
parser.add_argument("--volumes", type=int, default=1200)
parser.add_argument("--epochs", type=int, default=3)
given = parser.parse_args()
keras.utils.set_random_seed(0)

model = all_cnn((SIDE, SIDE, SIDE, 1), num_classes=2, filters=8)
for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.momentum = 0.9  # at 0.99 its averages lag behind a training of a few hundred steps
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.AdamW(2e-3), loss, metrics=["accuracy"])
volumes, labels = simulate(given.volumes, seed=0)
model.fit(volumes, labels, batch_size=16, epochs=given.epochs, verbose=2)

volumes, labels = simulate(300, seed=1)
right = int((model.predict(volumes, verbose=0).argmax(-1) == labels).sum())
accuracy, (low, high) = right / 300, proportion_interval(right, 300)
print(f"accuracy {accuracy:.1%} ({low:.1%} to {high:.1%}) on 300 simulated volumes")
