"""A new project on one of the architectures: ResNet-20 learns scikit-learn's handwritten digits.

python examples/new_project.py [--epochs 10]

Put arrays of your own in the place of `pictures` and `labels`, and keep a part of them to score
that is independent of the rest: here writers follow each other, so the end is other people's.
"""

import argparse
import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # before Keras: several times as fast

import keras
from sklearn.datasets import load_digits

from fieldsight.core.architectures import resnet20
from fieldsight.core.metrics import proportion_interval

parser = argparse.ArgumentParser(description="ResNet-20 on scikit-learn's digits.")
parser.add_argument("--epochs", type=int, default=10)
epochs = parser.parse_args().epochs
keras.utils.set_random_seed(0)

pictures, labels = load_digits(return_X_y=True)  # 1,797 pictures of 8x8, ink from 0 to 16
pictures = pictures.reshape(-1, 8, 8, 1) / 16
kept = len(labels) // 5

model = resnet20(input_shape=(8, 8, 1), num_classes=10)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.AdamW(2e-3, weight_decay=0.05), loss, metrics=["accuracy"])
model.fit(pictures[:-kept], labels[:-kept], batch_size=64, epochs=epochs, verbose=2)

right = int((model.predict(pictures[-kept:], verbose=0).argmax(-1) == labels[-kept:]).sum())
accuracy, (low, high) = right / kept, proportion_interval(right, kept)
print(f"accuracy {accuracy:.1%} ({low:.1%} to {high:.1%}) on {kept} digits")
