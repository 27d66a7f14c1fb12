"""A training step with `core.optimizers.Muon`, beside the same step with AdamW.

Both sides are the same network from the same seed, compiled alike, on the same random batch, and
make one step with `train_on_batch`, in pairs of alternating order after warm-ups that compile.
What Muon costs has to be paid by fewer steps (docs/measurements.md says by how many).

    python benchmarks/optimizers.py [--pairs 30] [--network finder] [--precision mixed_bfloat16]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _steps

BATCHES = {"finder": (16, 128, 128, 1), "resnet20 of volumes": (8, 32, 32, 32, 1),
           "resnet50": (8, 224, 224, 3)}  # fmt: skip


def build(name: str) -> Any:
    """A network of ours; `finder` is that of `fieldsight wildlife train`."""
    from fieldsight.core import architectures

    shape = BATCHES[name][1:]
    if name == "finder":
        from fieldsight.pipelines.wildlife import _network, _recipes

        way = _recipes.QUICK
        return _network.finder(
            shape[-1], 8, stride=way.stride, filters=way.filters, pyramid=way.pyramid
        )
    return getattr(architectures, name.split()[0])(shape, 10)


def step(name: str, *, muon: bool) -> Callable[[int], float]:
    """A function that times one training step."""
    import keras

    from fieldsight.core.normalization import fused_normalization
    from fieldsight.core.optimizers import Muon

    keras.utils.set_random_seed(0)
    model = build(name)
    optimizer = Muon if muon else keras.optimizers.AdamW
    model.compile(optimizer(1e-4), keras.losses.MeanSquaredError())
    x, y = _steps.random_batch(model, BATCHES[name])
    with fused_normalization(model):
        model.train_on_batch(x, y)  # traces the step that is timed
    return _steps.timed(model, x, y)


def measure(name: str, asked: argparse.Namespace) -> None:
    """Run one network's pairs and print what they say."""
    _steps.compare(
        name,
        BATCHES[name],
        (step(name, muon=True), step(name, muon=False)),
        asked,
        labels=("Muon", "AdamW", "Muon / AdamW"),
        what="a training step with Muon / AdamW",
    )


if __name__ == "__main__":
    _steps.each(__doc__, BATCHES, measure)
