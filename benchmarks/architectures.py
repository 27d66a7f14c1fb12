"""A training step of our published networks beside `keras.applications`', and how fast each is.

Both sides are compiled alike (SGD with momentum, logits), see the same random batch, and make one
step with `train_on_batch`, in pairs of alternating order after a warm-up that compiles. Ours is
the form of keras.applications: `resnet50(variant="keras")`, `vgg16(dropout=0)`, since Keras's has
none, and `inception_v3()`. The ratio says what a step of ours costs; at most 1 is wanted.

Each is also listed with images a second and the share it reaches of what this machine's matrix
products reach (float32, 2,048 x 2,048, the best of ten): a step is counted as three times the
forward pass, of two operations a multiply-accumulate. ResNet-18 on volumes of 64 voxels a side
has no peer there and is listed alone.

    python benchmarks/architectures.py [--pairs 30] [--network resnet50]
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs
import _steps

from fieldsight.pipelines import _training

LIMIT = 1.0
FORWARD_AND_BACKWARD = 3  # the backward pass is two products the size of the forward's
SIDE_OF_PRODUCT = 2_048


@dataclasses.dataclass(frozen=True)
class Contest:
    """One network of ours, its peer if there is one, and the batch that both see."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any] | None
    shape: tuple[int, ...]
    batch: int


def contests() -> dict[str, Contest]:
    """The networks by name."""
    from keras import applications

    from fieldsight.core import architectures as ours

    def peer(build: Any) -> Callable[[], Any]:
        return lambda: build(weights=None, classifier_activation=None)

    return {
        "resnet50": Contest(
            lambda: ours.resnet50(variant="keras"), peer(applications.ResNet50), (224, 224, 3), 8
        ),
        "vgg16": Contest(
            lambda: ours.vgg16(dropout=0.0), peer(applications.VGG16), (224, 224, 3), 4
        ),
        "inception_v3": Contest(
            ours.inception_v3, peer(applications.InceptionV3), (299, 299, 3), 8
        ),
        "resnet18 of volumes": Contest(
            lambda: ours.resnet18((64, 64, 64, 1), 2), None, (64, 64, 64, 1), 8
        ),
    }


def step(model: Any, contest: Contest) -> Callable[[int], float]:
    """A function that times one training step of a model."""
    import keras

    model.compile(
        optimizer=keras.optimizers.SGD(1e-4, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(contest.batch, *contest.shape)).astype("float32")
    y = rng.integers(0, model.output_shape[-1], contest.batch)
    return _steps.timed(model, x, y)


def peak() -> float:
    """Multiply-accumulates a second of this machine's matrix products."""
    import keras

    rng = np.random.default_rng(0)
    a, b = (
        keras.ops.convert_to_tensor(rng.normal(size=(SIDE_OF_PRODUCT,) * 2).astype("float32"))
        for _ in range(2)
    )
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        np.asarray(keras.ops.matmul(a, b)[0, 0])
        seconds.append(time.perf_counter() - started)
    return SIDE_OF_PRODUCT**3 / min(seconds)


def measure(name: str, contest: Contest, pairs: int) -> None:
    """Run one network's pairs and print what they say."""
    from fieldsight.core.arithmetic import describe

    model = contest.ours()
    macs = describe(model).macs or 0
    ours = step(model, contest)
    best = peak()
    other: list[float] = []
    if contest.theirs is None:
        ours(-1)
        mine = [ours(pair) for pair in range(pairs)]
    else:
        mine, other = _pairs.interleaved(
            ours,
            step(contest.theirs(), contest),
            pairs,
            warm_ups=2,
            say=lambda line: print(f"{name}, {line}", file=sys.stderr, flush=True),
        )
    median = float(np.median(mine))
    speed = contest.batch / median
    share = FORWARD_AND_BACKWARD * macs * contest.batch / median / best
    size = " x ".join(map(str, contest.shape))
    rows = [
        ("ours", _pairs.spread(mine)),
        ("inputs a second", f"{speed:.2f}, {macs / 1e9:.2f} G multiply-accumulates each"),
        ("share of the peak", f"{share:.0%} of {best / 1e9:.0f} G a second"),
    ]
    text = f"{speed:.2f} inputs/s, {share:.0%} of the peak of matrix products"
    figures: dict[str, object] = {"network": name, "inputs_per_second": speed, "share": share}
    if other:
        ratio = _pairs.ratio(mine, other)
        rows[1:1] = [
            ("keras.applications", _pairs.spread(other)),
            ("ours / keras.applications", str(ratio)),
            (f"at most {LIMIT:.0f}", "met" if ratio.meets(LIMIT) else "not met"),
        ]
        text = f"a training step of ours / keras.applications': {ratio}; {text}"
        figures |= {
            "ratio": ratio.median,
            "ratio_low": _pairs.number(ratio.low),
            "ratio_high": _pairs.number(ratio.high),
            "pairs": ratio.pairs,
            "met": ratio.meets(LIMIT),
        }
    _pairs.report(
        f"{name}: a training step of {contest.batch} x {size}",
        rows,
        figures | {"seconds": mine, "peer_seconds": other},
        figure=f"{name}, batch of {contest.batch} x {size}: {text}",
        data="random numbers",
    )


def main() -> None:
    """Measure what was asked for, one network after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=_pairs.ENOUGH)
    parser.add_argument("--network", help="one alone, by its name", action="append")
    parser.add_argument("--data-dir", help="taken for the sake of `make bench`; not used")
    asked = parser.parse_args()
    _training.prepare_backend(0)
    known = contests()
    unknown = sorted(set(asked.network or ()) - set(known))
    if unknown:
        parser.error(f"no network is called {', '.join(unknown)}. There are: {', '.join(known)}.")
    for name in asked.network or known:
        measure(name, known[name], asked.pairs)
        gc.collect()


if __name__ == "__main__":
    main()
