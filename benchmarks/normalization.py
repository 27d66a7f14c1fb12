"""A training step with batch normalisation fused, beside the same step as Keras writes it out.

Both sides are the same network from the same seed, compiled alike, on the same random batch, and
make one step with `train_on_batch`, in pairs of alternating order after warm-ups that compile. One
was first traced within `core.normalization.fused_normalization`. At most 1 is wanted.

    python benchmarks/normalization.py [--pairs 30] [--network unet] [--precision mixed_bfloat16]
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _steps

LIMIT = 1.0
BATCHES = {"unet": (32, 64, 64, 4), "resnet20 of volumes": (8, 32, 32, 32, 1),
           "resnet50": (8, 224, 224, 3)}  # fmt: skip


def build(name: str) -> Any:
    """A network of ours that normalises by batches."""
    from fieldsight.core import architectures

    shape = BATCHES[name][1:]
    if name == "unet":
        return architectures.unet(shape, 6, filters=16, depth=4, normalization=True)
    return getattr(architectures, name.split()[0])(shape, 10)


def step(name: str, *, fused: bool) -> Callable[[int], float]:
    """A function that times one training step."""
    import keras

    from fieldsight.core.normalization import fused_normalization

    keras.utils.set_random_seed(0)
    model = build(name)
    model.compile(keras.optimizers.SGD(1e-4, momentum=0.9), keras.losses.MeanSquaredError())
    x, y = _steps.random_batch(model, BATCHES[name])
    with fused_normalization(model) if fused else contextlib.nullcontext():
        model.train_on_batch(x, y)  # traces the step that is timed
    return _steps.timed(model, x, y)


def measure(name: str, asked: argparse.Namespace) -> None:
    """Run one network's pairs and print what they say."""
    _steps.compare(
        name,
        BATCHES[name],
        (step(name, fused=True), step(name, fused=False)),
        asked,
        labels=("fused", "as Keras writes it out", "fused / Keras"),
        what="a training step with fused batch normalisation / Keras's own",
        limit=LIMIT,
    )


if __name__ == "__main__":
    _steps.each(__doc__, BATCHES, measure)
