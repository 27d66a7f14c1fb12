"""What `predictor("auto")` gains over Keras, and how each runtime does by itself.

For each network a batch of random windows goes through `predictor(model)` and through Keras's own
compiled prediction in pairs of alternating order. The speed-up of what auto chose is wanted to be
1.1 at least with answers within 1e-5 of the outputs' range; where the processor has bfloat16, 2 at
least within 1e-2 too. Each runtime that is installed is listed with its own figure and difference.

    python benchmarks/runtime.py [--pairs 30] [--network unet] [--threads N]

TensorFlow is measured as the pipelines run it, with TF_ENABLE_ONEDNN_OPTS=1. Set it to 0 to see
what those gain who leave it as it comes: on AMD's processors TensorFlow then is the slower.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs

from fieldsight.pipelines import _training

TRIED: dict[Any, float] = {
    "auto": 1e-5,
    "openvino": 1e-5,
    "onnxruntime": 1e-5,
    "openvino-bf16": 1e-2,
}
WANTED = {"auto": 1.1, "openvino-bf16": 2.0}  # speed-up
EACH = 10  # pairs of a runtime that is only listed


def networks() -> dict[str, tuple[Callable[[], Any], int]]:
    """How each network is built, and the windows of a batch."""
    from fieldsight.core.architectures import all_cnn, resnet18, unet
    from fieldsight.core.architectures.detector import detector

    return {
        "unet": (lambda: unet((256, 256, 4), 2, filters=16, depth=4), 8),
        "detector 2-D": (lambda: detector(resnet18((256, 256, 3)), 1), 8),
        # As in examples/detect_2d.py; of fewer layers, so bfloat16 loses less on the way.
        "small detector 2-D": (
            lambda: detector(all_cnn((256, 256, 1), filters=16), stride=2, filters=32),
            8,
        ),
        "detector 3-D": (lambda: detector(resnet18((64, 64, 64, 1)), 1), 4),
    }


def seconds(run: Callable[[Any], Any], x: Any) -> float:
    """Of one batch."""
    start = time.perf_counter()
    run(x)
    return time.perf_counter() - start


def contest(model: Any, predict: Any, x: Any, pairs: int) -> tuple[_pairs.Ratio, list[float]]:
    """Keras's time over the predictor's, and the predictor's seconds."""
    ours, keras = _pairs.interleaved(
        lambda _: seconds(predict, x), lambda _: seconds(model.predict_on_batch, x), pairs
    )
    return _pairs.ratio(keras, ours), ours


def worst(model: Any, predict: Any, x: Any) -> float:
    """The largest difference of an output from Keras's, over that output's range."""
    import keras

    ours, theirs = (keras.tree.flatten(f(x)) for f in (predict, model.predict_on_batch))
    return max(float(np.abs(a - b).max() / np.ptp(b)) for a, b in zip(ours, theirs, strict=True))


def measure(name: str, build: Callable[[], Any], batch: int, asked: argparse.Namespace) -> None:
    """Auto and each runtime beside Keras, for one network."""
    from fieldsight.core.runtime import predictor

    model = build()
    shape = (batch, *model.input_shape[1:])
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    other = np.random.default_rng(1).normal(size=shape).astype("float32")
    rows: list[tuple[str, str]] = [("windows a batch", " x ".join(map(str, shape)))]
    figures: dict[str, Any] = {"network": name, "shape": shape}
    texts = []
    with tempfile.TemporaryDirectory() as cache:
        for runtime, tolerance in TRIED.items():
            start = time.perf_counter()
            predict = predictor(
                model, runtime, tolerance=tolerance, threads=asked.threads, cache_dir=cache
            )
            try:
                predict(x)
            except RuntimeError as error:
                rows.append((runtime, str(error).partition(". Ask")[0]))
                continue
            trial = time.perf_counter() - start
            pairs = asked.pairs if runtime in WANTED else min(EACH, asked.pairs)
            ratio, ours = contest(model, predict, x, pairs)
            apart = worst(model, predict, other)
            said = f"{ratio} x Keras, {_pairs.spread(ours)} a batch, differs by {apart:.0e}"
            rows += [(runtime, said), ("", f"{predict.choice}; first batch {trial:.1f} s")]
            figures[runtime] = {
                "speedup": ratio.median,
                "speedup_low": _pairs.number(ratio.low),
                "speedup_high": _pairs.number(ratio.high),
                "pairs": ratio.pairs,
                "difference": apart,
                "seconds": ours,
                "first_s": trial,
                "runtime": predict.choice.runtime if predict.choice else None,
            }
            if runtime in WANTED:
                best = ratio.high if ratio.pairs > 1 else ratio.median
                met = best >= WANTED[runtime] and apart <= tolerance
                rows.append((f"at least {WANTED[runtime]} x", "met" if met else "not met"))
                texts.append(
                    f"{predict.choice.runtime if predict.choice else runtime} chosen by {runtime}: "
                    f"{ratio} x Keras, wanted {WANTED[runtime]}; differs by {apart:.0e} of the "
                    f"range, {tolerance:.0e} wanted"
                )
            del predict
            gc.collect()
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "as it comes")
    _pairs.report(
        f"{name}: the chosen runtime beside Keras (TF_ENABLE_ONEDNN_OPTS={onednn})",
        rows,
        figures | {"onednn": onednn},
        figure=f"{name}, batch of {' x '.join(map(str, shape))}: {'; '.join(texts)}",
        data="random numbers",
    )


def main() -> None:
    """Measure what was asked for, one network after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=_pairs.ENOUGH)
    parser.add_argument("--threads", type=int, help="cores for the runtimes beside Keras")
    parser.add_argument("--network", help="one alone, by its name", action="append")
    parser.add_argument("--data-dir", help="taken for the sake of `make bench`; not used")
    asked = parser.parse_args()
    _training.prepare_backend(0)
    known = networks()
    unknown = sorted(set(asked.network or ()) - set(known))
    if unknown:
        parser.error(f"no network is called {', '.join(unknown)}. There are: {', '.join(known)}.")
    for name in asked.network or known:
        measure(name, *known[name], asked)
        gc.collect()


if __name__ == "__main__":
    main()
