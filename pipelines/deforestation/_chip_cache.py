"""Chips read once and kept as one memory-mapped array: decoded anew, they slow every epoch.

In the folder, for a set of chips of one product: `chips-<product>-<fingerprint>.npy`, their pixels,
`.features.npy`, their statistics, and `.json`: how far it is, and what couldn't be read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.planet import SIDE, ChipSet
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation import _tag_baselines

Array = NDArray[Any]
Progress = Callable[[int, int], None]

AT_ONCE = 256  # chips between two notes of how far it is


def file_of(chips: ChipSet, cache: Path) -> Path:
    """Where the pixels of a set of chips are kept."""
    # Of these names too: a part of a set has the fingerprint of the whole.
    key = hashlib.sha256(repr((chips.fingerprint, chips.names)).encode()).hexdigest()
    return cache / f"chips-{chips.product}-{key[:16]}.npy"


def read(
    chips: ChipSet, cache: Path, progress: Progress | None = None
) -> tuple[Array, Array, Array, dict[str, str]]:
    """Take a set of chips from the cache, reading first what isn't in it yet.

    Stopped, however, it goes on where it was.

    Args:
        chips: labelled or not.
        cache: the folder; made if it isn't there.
        progress: told how many chips are through, and of how many.

    Returns:
        `(n,)` indices of the chips that can be read; `(n, features)` their statistics;
        `(n, 256, 256, bands)` their pixels, memory-mapped and not to be written to; and why the
        others can't be read, by name.

    Raises:
        CommandError: if the disk is too small, or no chip can be read.
    """
    path = file_of(chips, cache)
    state = path.with_suffix(".json")
    features = path.with_suffix(".features.npy")
    done, good, failures = _begun(path, features, state, chips)
    if done < len(chips):
        pixels = np.load(path, mmap_mode="r+")
        kept = np.load(features, mmap_mode="r+")
        while done < len(chips):
            end = min(done + AT_ONCE, len(chips))
            for index in range(done, end):
                found = one(chips, index)
                if isinstance(found, DataError):
                    failures[chips.names[index]] = str(found)
                    continue
                pixels[len(good)], kept[len(good)] = found[0][0], found[1][0]
                good.append(index)
            pixels.flush()
            kept.flush()
            done = end
            # Last, so that what it says is there is there.
            write_atomically(state, json.dumps([done, good, failures]).encode())
            if progress is not None:
                progress(done, len(chips))
    if not good:
        raise CommandError(
            f"chips that can be read were needed. Received: {len(chips)}, of which none can. The "
            f"first: {next(iter(failures.values()), 'there is none')}"
        )
    whole = np.load(path, mmap_mode="r"), np.load(features, mmap_mode="r")
    return np.array(good), np.array(whole[1][: len(good)]), whole[0][: len(good)], failures


def one(chips: ChipSet, index: int) -> tuple[Array, Array] | DataError:
    """A chip `(1, 256, 256, bands)` and its statistics, or why it can't be read."""
    try:
        chip = chips.read([index])
    except DataError as error:
        return error
    return chip, _tag_baselines.statistics(chip, chips.bands)


def _begun(
    path: Path, features: Path, state: Path, chips: ChipSet
) -> tuple[int, list[int], dict[str, str]]:
    """How far an earlier call came; else the files are laid out anew."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        done, good, failures = json.loads(state.read_text())
        if path.exists() and features.exists():
            return int(done), list(good), dict(failures)
    path.parent.mkdir(parents=True, exist_ok=True)
    state.unlink(missing_ok=True)
    dtype = chips.dtype
    shape = (len(chips), SIDE, SIDE, len(chips.bands))
    needed, free = int(np.prod(shape)) * dtype.itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise CommandError(
            f"--cache: {needed / 1e9:.1f} GB were needed for {len(chips):,} chips. Received: "
            f"{path.parent}, which has {free / 1e9:.1f} GB free. Name a larger disk."
        )
    np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
    count = _tag_baselines.statistics(np.zeros((1, SIDE, SIDE, shape[-1]), dtype), chips.bands)
    np.lib.format.open_memmap(features, "w+", np.float32, (len(chips), count.shape[1])).flush()
    return 0, [], {}
