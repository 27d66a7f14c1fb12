"""A training step with `core.optimizers.Muon`, beside the same step with AdamW.

Both sides are the same network from the same seed, compiled alike, on the same random batch, and
make one step with `train_on_batch`, in pairs of alternating order after warm-ups that compile.
What Muon costs has to be paid by fewer steps (docs/measurements.md says by how many).

    python benchmarks/optimizers.py [--pairs 30] [--network finder] [--precision mixed_bfloat16]
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs

from fieldsight.pipelines import _training

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
    rng = np.random.default_rng(0)
    x = rng.normal(size=BATCHES[name]).astype("float32")
    y = rng.normal(size=model.compute_output_shape(x.shape)).astype("float32")
    with fused_normalization(model):
        model.train_on_batch(x, y)  # traces the step that is timed

    def timed(_: int) -> float:
        started = time.perf_counter()
        model.train_on_batch(x, y)
        return time.perf_counter() - started

    return timed


def measure(name: str, pairs: int, precision: str) -> None:
    """Run one network's pairs and print what they say."""
    muon, adamw = _pairs.interleaved(
        step(name, muon=True),
        step(name, muon=False),
        pairs,
        warm_ups=3,
        say=lambda line: print(f"{name}, {line}", file=sys.stderr, flush=True),
    )
    ratio = _pairs.ratio(muon, adamw)
    size = " x ".join(map(str, BATCHES[name]))
    _pairs.report(
        f"{name}: a training step of {size} in {precision}",
        [
            ("Muon", _pairs.spread(muon)),
            ("AdamW", _pairs.spread(adamw)),
            ("Muon / AdamW", str(ratio)),
        ],
        {
            "network": name,
            "precision": precision,
            "ratio": ratio.median,
            "ratio_low": _pairs.number(ratio.low),
            "ratio_high": _pairs.number(ratio.high),
            "pairs": ratio.pairs,
            "seconds": muon,
            "peer_seconds": adamw,
        },
        figure=f"{name}, batch of {size}, {precision}: a training step with Muon / AdamW: {ratio}",
        data="random numbers",
    )


def main() -> None:
    """Measure what was asked for, one network after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=_pairs.ENOUGH)
    parser.add_argument("--network", choices=list(BATCHES), action="append")
    parser.add_argument("--precision", default="mixed_bfloat16", help="a dtype policy of Keras")
    parser.add_argument("--data-dir", help="taken for the sake of `make bench`; not used")
    asked = parser.parse_args()
    _training.prepare_backend(0)
    import keras

    keras.config.set_dtype_policy(asked.precision)
    for name in asked.network or BATCHES:
        measure(name, asked.pairs, asked.precision)
        gc.collect()


if __name__ == "__main__":
    main()
