"""A training step with `core.optimizers.Muon`, beside AdamW's and Keras's iteration of Muon.

All sides are the same network from the same seed, compiled alike, on the same random batch, and
make one step with `train_on_batch`, in pairs of alternating order after warm-ups that compile.
Keras's own Muon leaves kernels of convolutions to AdamW: the second peer is its iteration, as it
stands, on the same matrices. At most 1 is wanted of that one; what Muon costs beside AdamW has to
be paid by fewer steps (docs/measurements.md).

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

LIMIT = 1.0
BATCHES = {"finder": (16, 128, 128, 1), "resnet20 of volumes": (8, 32, 32, 32, 1),
           "resnet50": (8, 224, 224, 3)}  # fmt: skip
PEERS = {"AdamW": "adamw", "Keras's iteration": "keras"}


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


def optimizer(which: str) -> Any:
    """Ours, AdamW, or Keras's Muon given kernels as matrices."""
    import keras
    from keras import ops

    from fieldsight.core.optimizers import Muon

    if which == "adamw":
        return keras.optimizers.AdamW(1e-4)
    if which == "ours":
        return Muon(1e-4)

    class Plain(Muon):
        def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
            matrix = ops.reshape(x, (-1, x.shape[-1]))
            found = keras.optimizers.Muon.zeropower_via_newtonschulz5(self, matrix, steps)
            return ops.reshape(found, x.shape)

    return Plain(1e-4)


def step(name: str, which: str) -> Callable[[int], float]:
    """A function that times one training step."""
    import keras

    from fieldsight.core.normalization import fused_normalization

    keras.utils.set_random_seed(0)
    model = build(name)
    model.compile(optimizer(which), keras.losses.MeanSquaredError())
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


def measure(name: str, peer: str, pairs: int, precision: str) -> None:
    """Run one network's pairs beside one peer and print what they say."""
    ours, theirs = _pairs.interleaved(
        step(name, "ours"),
        step(name, PEERS[peer]),
        pairs,
        warm_ups=3,
        say=lambda line: print(f"{name} beside {peer}, {line}", file=sys.stderr, flush=True),
    )
    ratio = _pairs.ratio(ours, theirs)
    size = " x ".join(map(str, BATCHES[name]))
    rows = [
        ("Muon", _pairs.spread(ours)),
        (peer, _pairs.spread(theirs)),
        (f"Muon / {peer}", str(ratio)),
    ]
    if peer != "AdamW":
        rows.append((f"at most {LIMIT:.0f}", "met" if ratio.meets(LIMIT) else "not met"))
    _pairs.report(
        f"{name}: a training step of {size} in {precision}",
        rows,
        {
            "network": name,
            "peer": peer,
            "precision": precision,
            "ratio": ratio.median,
            "ratio_low": _pairs.number(ratio.low),
            "ratio_high": _pairs.number(ratio.high),
            "pairs": ratio.pairs,
            "seconds": ours,
            "peer_seconds": theirs,
        },
        figure=f"{name}, batch of {size}, {precision}: a training step with Muon / {peer}: {ratio}",
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
        for peer in PEERS:
            measure(name, peer, asked.pairs, asked.precision)
            gc.collect()


if __name__ == "__main__":
    main()
