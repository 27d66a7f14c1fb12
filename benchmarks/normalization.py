"""A training step with batch normalisation fused, beside the same step as Keras writes it out.

Both sides are the same network from the same seed, compiled alike, on the same random batch, and
make one step with `train_on_batch`, in pairs of alternating order after warm-ups that compile. One
was first traced within `core.normalization.fused_normalization`. At most 1 is wanted.

    python benchmarks/normalization.py [--pairs 30] [--network unet] [--precision mixed_bfloat16]
"""

from __future__ import annotations

import argparse
import contextlib
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
    rng = np.random.default_rng(0)
    x = rng.normal(size=BATCHES[name]).astype("float32")
    y = rng.normal(size=(len(x), *model.output_shape[1:])).astype("float32")
    with fused_normalization(model) if fused else contextlib.nullcontext():
        model.train_on_batch(x, y)  # traces the step that is timed

    def timed(_: int) -> float:
        started = time.perf_counter()
        model.train_on_batch(x, y)
        return time.perf_counter() - started

    return timed


def measure(name: str, pairs: int, precision: str) -> None:
    """Run one network's pairs and print what they say."""
    fused, plain = _pairs.interleaved(
        step(name, fused=True),
        step(name, fused=False),
        pairs,
        warm_ups=3,
        say=lambda line: print(f"{name}, {line}", file=sys.stderr, flush=True),
    )
    ratio = _pairs.ratio(fused, plain)
    size = " x ".join(map(str, BATCHES[name]))
    _pairs.report(
        f"{name}: a training step of {size} in {precision}",
        [
            ("fused", _pairs.spread(fused)),
            ("as Keras writes it out", _pairs.spread(plain)),
            ("fused / Keras", str(ratio)),
            (f"at most {LIMIT:.0f}", "met" if ratio.meets(LIMIT) else "not met"),
        ],
        {
            "network": name,
            "precision": precision,
            "ratio": ratio.median,
            "ratio_low": _pairs.number(ratio.low),
            "ratio_high": _pairs.number(ratio.high),
            "pairs": ratio.pairs,
            "met": ratio.meets(LIMIT),
            "seconds": fused,
            "peer_seconds": plain,
        },
        figure=f"{name}, batch of {size}, {precision}: a training step with fused batch "
        f"normalisation / Keras's own: {ratio}",
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
