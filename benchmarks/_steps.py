"""One training step of a network, timed, and two ways of making it beside each other."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import _pairs
import numpy as np
from numpy.typing import NDArray

from fieldsight.pipelines import _training

Shape = tuple[int, ...]


def timed(model: Any, x: NDArray[Any], y: NDArray[Any]) -> Callable[[int], float]:
    """A function that times one training step of a compiled model."""

    def step(_: int) -> float:
        started = time.perf_counter()
        model.train_on_batch(x, y)
        return time.perf_counter() - started

    return step


def random_batch(model: Any, shape: Shape) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs `shape` and targets like the model's answers, float32."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype("float32")
    y = rng.normal(size=model.compute_output_shape(shape)).astype("float32")
    return x, y


def compare(
    name: str,
    shape: Shape,
    steps: tuple[Callable[[int], float], Callable[[int], float]],
    asked: argparse.Namespace,
    *,
    labels: tuple[str, str, str],
    what: str,
    limit: float | None = None,
) -> None:
    """Run one network's pairs and print what they say.

    Args:
        name: of the network.
        shape: of its batch.
        steps: each times one, ours first.
        asked: the command's.
        labels: of ours, the other and the ratio in the table.
        what: is divided by what, in the row for docs/measurements.md.
        limit: of the ratio; None where none is wanted.
    """
    ours, theirs = _pairs.interleaved(
        *steps,
        asked.pairs,
        warm_ups=3,
        say=lambda line: print(f"{name}, {line}", file=sys.stderr, flush=True),
    )
    ratio = _pairs.ratio(ours, theirs)
    size = " x ".join(map(str, shape))
    values = (_pairs.spread(ours), _pairs.spread(theirs), str(ratio))
    rows = list(zip(labels, values, strict=True))
    met = {}
    if limit is not None:
        met = {"met": ratio.meets(limit)}
        rows.append((f"at most {limit:.0f}", "met" if met["met"] else "not met"))
    _pairs.report(
        f"{name}: a training step of {size} in {asked.precision}",
        rows,
        {
            "network": name,
            "precision": asked.precision,
            "ratio": ratio.median,
            "ratio_low": _pairs.number(ratio.low),
            "ratio_high": _pairs.number(ratio.high),
            "pairs": ratio.pairs,
            **met,
            "seconds": ours,
            "peer_seconds": theirs,
        },
        figure=f"{name}, batch of {size}, {asked.precision}: {what}: {ratio}",
        data="random numbers",
    )


def each(
    about: str | None,
    batches: Mapping[str, Shape],
    measure: Callable[[str, argparse.Namespace], None],
) -> None:
    """Measure the networks that the command line asks for, one after the other.

    Args:
        about: the script's docstring.
        batches: the networks by name.
        measure: one of them.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=_pairs.ENOUGH)
    parser.add_argument("--network", choices=list(batches), action="append")
    parser.add_argument("--precision", default="mixed_bfloat16", help="a dtype policy of Keras")
    parser.add_argument("--data-dir", help="taken for the sake of `make bench`; not used")
    asked = parser.parse_args()
    _training.prepare_backend(0)
    import keras

    keras.config.set_dtype_policy(asked.precision)
    for name in asked.network or batches:
        measure(name, asked)
        gc.collect()
