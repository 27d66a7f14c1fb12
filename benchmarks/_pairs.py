"""Ratios of two times on a machine that drifts: interleaved pairs, their median, its interval.

Two measurements a moment apart see the same machine; two an hour apart don't. So each pair is
run back to back, in alternating order, and a ratio is taken of each pair before anything is
averaged.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldsight.pipelines._environment import git_state, version

ROOT = Path(__file__).resolve().parents[1]
ENOUGH = 30  # pairs, unless one run takes minutes


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The median of the ratios of pairs; the interval is nan where there is one pair alone."""

    median: float
    low: float
    high: float
    pairs: int

    def meets(self, target: float) -> bool:
        """Whether the interval's better end, which is the lower one, reaches the target."""
        return self.low <= target

    def __str__(self) -> str:
        pairs = "1 pair" if self.pairs == 1 else f"{self.pairs} pairs"
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f}, {pairs})"


def ratio(
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Ratio:
    """The median of `ours / theirs`, pair by pair, with its percentile bootstrap interval.

    Args:
        ours: seconds, one a pair.
        theirs: seconds of the same pairs.
        confidence: of the interval.
        resamples: bootstrap samples of the pairs.
        seed: of the resampling.

    Raises:
        ValueError: if there is no pair, one lacks a half, or a time isn't positive.

    Example:
        >>> ratio([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]).median
        1.0
    """
    if len(ours) != len(theirs) or not ours or min(*ours, *theirs) <= 0:
        raise ValueError(
            "pairs of positive seconds are needed, one at least. "
            f"Received: {len(ours)} and {len(theirs)} of them, {list(ours)} and {list(theirs)}."
        )
    ratios = np.asarray(ours, float) / np.asarray(theirs, float)
    low = high = float("nan")
    if len(ratios) > 1:
        drawn = np.random.default_rng(seed).integers(0, len(ratios), (resamples, len(ratios)))
        tail = (1 - confidence) / 2
        low, high = np.quantile(np.median(ratios[drawn], axis=1), [tail, 1 - tail])
    return Ratio(float(np.median(ratios)), float(low), float(high), len(ratios))


def interleaved(
    first: Callable[[int], float],
    second: Callable[[int], float],
    pairs: int,
    *,
    warm_ups: int = 1,
    say: Callable[[str], None] | None = None,
) -> tuple[list[float], list[float]]:
    """Time two things in turn, whose order changes from pair to pair.

    Args:
        first: does one run, given the pair's number (negative in a warm-up), and returns the
            seconds that count.
        second: the same for what it is compared with.
        pairs: that count.
        warm_ups: pairs before them, which don't.
        say: told of each pair.

    Returns:
        The seconds of each, pair by pair.
    """
    ours: list[float] = []
    theirs: list[float] = []
    for pair in range(-warm_ups, pairs):
        if pair % 2:
            b, a = second(pair), first(pair)
        else:
            a, b = first(pair), second(pair)
        if say is not None:
            say(f"{f'pair {pair + 1}' if pair >= 0 else 'warm-up'}: {a:.3f} s and {b:.3f} s")
        if pair >= 0:
            ours.append(a)
            theirs.append(b)
    return ours, theirs


class Counted:
    """A run, and the processor's seconds of it, which a busy machine doesn't stretch."""

    def __init__(self, run: Callable[[int], float]) -> None:
        self.of = run
        self.seconds: list[float] = []

    def run(self, pair: int) -> float:
        """Seconds of the clock."""
        started = time.process_time()
        found = self.of(pair)
        if pair >= 0:
            self.seconds.append(time.process_time() - started)
        return found


def spread(seconds: Sequence[float]) -> str:
    """Median and extremes of some seconds, for a table."""
    values: NDArray[np.float64] = np.asarray(seconds, float)
    return f"{np.median(values):.2f} s ({values.min():.2f} to {values.max():.2f})"


def number(value: float) -> float | None:
    """The value as JSON has it, which knows no nan."""
    return None if np.isnan(value) else value


def machine() -> str:
    """The machine by what it can do, never by its name."""
    counted = getattr(os, "sched_getaffinity", None)
    cores = len(counted(0)) if counted else os.cpu_count() or 1
    facts = [f"{cores} core{'s' * (cores != 1)}", platform.machine(), *_instructions()]
    packages = [f"{name} {version(name)}" for name in ("keras", "tensorflow")]
    return ", ".join([*facts, *packages])


def _instructions() -> list[str]:
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    widest = next((f for f in ("avx512f", "avx2", "asimd") if f in flags), None)
    names = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}
    bfloat16 = ["bfloat16"] if flags & {"avx512_bf16", "amx_bf16", "bf16"} else []
    return ([names[widest]] if widest else []) + bfloat16


def mnist_folder(named: Path | None) -> Path | None:
    """The folder of MNIST's files: the one named, else where tests find it, else None."""
    data = Path(os.environ.get("FIELDSIGHT_DATA", ROOT.parent / "shared" / "data"))
    beside = data / "digits" / "mnist"
    return named or (beside if beside.is_dir() else None)


def report(
    title: str,
    rows: Sequence[tuple[str, str]],
    figures: Mapping[str, object],
    *,
    figure: str,
    data: str,
) -> None:
    """Print a table, the same figures as one line of JSON, and a row for docs/measurements.md.

    Args:
        title: of the table.
        rows: name and value.
        figures: what the JSON holds beside date, machine, commit and command.
        figure: what the row of docs/measurements.md says.
        data: on what; `real` or `simulated` comes first.
    """
    commit, dirty = git_state()
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "commit": (commit or "unknown")[:7] + (" and changes" if dirty else ""),
        "command": _command(),
    }
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}\n")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
    print("\n" + json.dumps({**facts, **figures}) + "\n")
    cells = [*facts.values(), figure, data]
    cells[3] = f"`{cells[3]}`"
    print("| " + " | ".join(cells) + " |")


def _command() -> str:
    """The command as anyone would give it: folders of this machine are left out."""
    words = [
        Path(word).relative_to(ROOT).as_posix() if Path(word).is_relative_to(ROOT) else word
        for word in (str(Path(sys.argv[0]).resolve()), *sys.argv[1:])
    ]
    words = ["DIR" if Path(word).is_absolute() else word for word in words]
    return shlex.join(["python", *words])
