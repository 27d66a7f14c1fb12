"""What merging and suppressing tens of thousands of crowded boxes takes, and how memory grows.

33,000 boxes of a picture with about 300,000 overlapping pairs, and 5,000 of a volume with as many
a box, are drawn from a seed: sides of 20 to 60 pixels, places and scores uniform. `merge` and
`suppress` run with their defaults (IoS or IoU of 0.5), `--pairs` times each after a warm-up; the
median is to be at most 0.1 s. Peak memory is traced at n, 2n and 4n boxes of the same density:
its bytes a box stay the same where it is linear. Beside it stands the usual dense way, a table
of n x n and one row after the other, on 3,000 boxes, in interleaved pairs.

    python benchmarks/boxes.py [--pairs 30]
"""

from __future__ import annotations

import argparse
import functools
import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs

from fieldsight.core import boxes as fb

LIMIT = 0.1  # seconds
COUNTS = {2: 33_000, 3: 5_000}
PAIRS_A_BOX = 300_000 / 33_000
DENSE = 3_000  # boxes of which a table still fits
SIDES = (20.0, 60.0)

Floats = NDArray[np.float64]


def crowd(count: int, rank: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Boxes and scores: each box overlaps about twice `PAIRS_A_BOX` others."""
    rng = np.random.default_rng(seed)
    # Two overlap along an axis where they are nearer than the mean of their sides.
    spread = sum(SIDES) * (count / PAIRS_A_BOX / 2) ** (1 / rank)
    lower = rng.uniform(0, spread, (count, rank))
    boxes = np.concatenate([lower, lower + rng.uniform(*SIDES, (count, rank))], axis=1)
    return boxes, rng.random(count)


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median(work: Callable[[], Any], runs: int) -> tuple[_pairs.Ratio, list[float]]:
    """The median of some runs with its bootstrap interval, and their seconds."""
    work()
    seconds = [timed(work) for _ in range(runs)]
    return _pairs.ratio(seconds, [1.0] * runs), seconds


def peak(work: Callable[[], Any]) -> int:
    """Bytes that one run holds at its peak, above what was held before."""
    gc.collect()
    tracemalloc.start()
    work()
    bytes_ = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return bytes_


def dense(boxes: Floats, scores: Floats, threshold: float = 0.5) -> list[int]:
    """The usual way: a table of all IoU, then one box after the other."""
    near = fb.iou(boxes, boxes) >= threshold
    standing = np.ones(len(boxes), bool)
    kept = []
    for i in np.argsort(-scores):
        if standing[i]:
            kept.append(int(i))
            standing &= ~near[i]
    return kept


def measure(rank: int, runs: int) -> None:
    """Time one rank's boxes, trace their memory, and print what is found."""
    count = COUNTS[rank]
    boxes, scores = crowd(count, rank)
    pairs = len(fb.overlapping_pairs(boxes))
    merged, merge_seconds = median(lambda: fb.merge(boxes, scores), runs)
    kept, suppress_seconds = median(lambda: fb.suppress(boxes, scores), runs)
    peaks = {}
    for times in (1, 2, 4):
        more = crowd(times * count, rank)
        peaks[times * count] = peak(functools.partial(fb.merge, *more))
    a_box = [bytes_ / number for number, bytes_ in peaks.items()]
    few, few_scores = crowd(DENSE, rank)
    if fb.suppress(few, few_scores).tolist() != dense(few, few_scores):
        raise RuntimeError("the dense way keeps other boxes: one of the two is wrong")
    ours, usual = _pairs.interleaved(
        lambda _: timed(lambda: fb.suppress(few, few_scores)),
        lambda _: timed(lambda: dense(few, few_scores)),
        runs,
    )
    ratio = _pairs.ratio(ours, usual)
    met = merged.meets(LIMIT) and kept.meets(LIMIT)
    memory = ", ".join(
        f"{bytes_ / 2**20:.1f} MiB of {number:,}" for number, bytes_ in peaks.items()
    )
    _pairs.report(
        f"{count:,} boxes of {rank} dimensions, {pairs:,} overlapping pairs",
        [
            ("merge, seconds", _said(merged)),
            ("suppress, seconds", _said(kept)),
            (f"at most {LIMIT} s", "met" if met else "not met"),
            ("peak memory of merge", memory),
            ("bytes a box at 4n / at n", f"{a_box[-1] / a_box[0]:.2f}"),
            (f"suppress / dense, {DENSE:,} boxes", str(ratio)),
        ],
        {
            "rank": rank,
            "boxes": count,
            "overlapping_pairs": pairs,
            "merge": merged.median,
            "merge_low": _pairs.number(merged.low),
            "merge_high": _pairs.number(merged.high),
            "suppress": kept.median,
            "suppress_low": _pairs.number(kept.low),
            "suppress_high": _pairs.number(kept.high),
            "met": met,
            "peak_bytes": peaks,
            "ratio_to_dense": ratio.median,
            "merge_seconds": merge_seconds,
            "suppress_seconds": suppress_seconds,
        },
        figure=(
            f"{count:,} {rank}-D boxes, {pairs:,} overlapping pairs: merge {_said(merged)} s, "
            f"suppress {_said(kept)} s; {memory}; suppress / dense way on {DENSE:,}: {ratio}"
        ),
        data="simulated: crowded boxes from a seed",
    )


def _said(seconds: _pairs.Ratio) -> str:
    return f"{seconds.median:.4f} ({seconds.low:.4f} to {seconds.high:.4f}, {seconds.pairs} runs)"


def main() -> None:
    """Measure pictures, then volumes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=_pairs.ENOUGH, help="runs of each")
    parser.add_argument("--data-dir", help="taken for the sake of `make bench`; not used")
    asked = parser.parse_args()
    for rank in COUNTS:
        measure(rank, asked.pairs)


if __name__ == "__main__":
    main()
