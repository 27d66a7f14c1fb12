"""What prediction by windows costs beside the model alone, and how much memory it takes.

Pictures: a 4-band uint16 GeoTIFF, tiled, on disk, through `unet(filters=16, depth=4)`; classes
are written to another as rows of windows are finished. Volumes: an int16 array on disk, through
a 3-D U-Net; answers go to a file. "The model alone" is `model.predict_on_batch` on the same
windows, overlap included, already float32 in memory, in the same batches.

1. speed on a part, in pairs of alternating order after a warm-up: windowed / alone;
2. memory: a process of its own runs the model alone on one batch, then by windows on two rows
   of windows of a raster 12,000 wide, another on one 24,000 wide: how much its peak grew. The
   peak doesn't depend on how many rows there are, so neither part says less than the whole.

`--full` runs the whole 12,000 x 12,000 raster in a process of its own, for memory and time.

    python benchmarks/windows.py [--pairs 30] [--full] [--only picture|volume|memory]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs

SPEED = 0.95  # of the model alone's
MEMORY_GB = 1.5  # above the model's
BANDS, TILE = 4, 512
SCENE, VOLUME = 12_000, (400, 512, 512)
MIB = 2**20


def _rasterio() -> Any:
    """It ships no types, and belongs to the applications' packages, not to core's."""
    found = importlib.import_module("rasterio")
    if "GDAL_CACHEMAX" not in os.environ:
        # Else GDAL keeps blocks up to a twentieth of the machine's memory, which here is 1.2 GB.
        # Not by the environment: processes that are started from here have bounds of their own.
        importlib.import_module("rasterio._env").set_gdal_config("GDAL_CACHEMAX", 256 * MIB)
    return found


class Raster:
    """A GeoTIFF that is read by windows, bands last."""

    def __init__(self, path: Path) -> None:
        self.dataset = _rasterio().open(path)
        self.shape = (self.dataset.height, self.dataset.width, self.dataset.count)

    def read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        """Return `(rows, columns, bands)`."""
        bounds = tuple((side.start, side.stop) for side in slices)
        found: NDArray[Any] = np.moveaxis(self.dataset.read(window=bounds), 0, -1)
        return found


class Classes:
    """A GeoTIFF of the likeliest class, which is written by pieces."""

    def __init__(self, path: Path, height: int, width: int) -> None:
        self.dataset = _rasterio().open(path, "w", **_profile(height, width, 1, "uint8"))

    def write(self, slices: tuple[slice, ...], piece: NDArray[Any]) -> None:
        """Write a band of rows."""
        bounds = tuple((side.start, side.stop) for side in slices)
        self.dataset.write(piece.argmax(axis=-1).astype(np.uint8), 1, window=bounds)


def _profile(height: int, width: int, count: int, dtype: str) -> dict[str, Any]:
    tiles = {"tiled": True, "blockxsize": TILE, "blockysize": TILE}
    size = {"height": height, "width": width, "count": count, "dtype": dtype}
    place = _rasterio().Affine(10, 0, 300_000, 0, -10, 9_000_000)  # 10 m a pixel, in UTM
    return {"driver": "GTiff", **size, **tiles, "crs": "EPSG:32721", "transform": place}


def scene(path: Path, height: int, width: int) -> Path:
    """Write a raster of smooth ground and noise, a row of tiles at a time."""
    rng = np.random.default_rng(0)
    columns = np.arange(width)
    with _rasterio().open(path, "w", **_profile(height, width, BANDS, "uint16")) as raster:
        for top in range(0, height, TILE):
            rows = np.arange(top, min(top + TILE, height))[:, None]
            ground = 1500 + 800 * np.sin(rows / 97) * np.cos(columns / 131)
            noise = rng.integers(0, 300, (BANDS, *ground.shape), np.uint16)
            bounds = ((top, top + len(rows)), (0, width))
            raster.write(ground.astype(np.uint16) + noise, window=bounds)
    return path


def volume(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    """Write a volume of Hounsfield units, plane by plane, and open it for reading."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(shape[0]):
            file.write(rng.integers(-1000, 400, shape[1:], np.int16).tobytes())
    return np.memmap(path, np.int16, "r", shape=(*shape, 1))


def picture_model() -> Any:
    """The model of the scenes; its input is scaled inside, as ours are."""
    from fieldsight.core.architectures import unet

    return unet((None, None, BANDS), 2, filters=16, depth=4)


def volume_model() -> Any:
    """The model of the volumes."""
    from fieldsight.core.architectures import unet

    return unet((None, None, None, 1), 2, filters=8, depth=2)


class Contest:
    """One model over one array, by windows and alone."""

    def __init__(self, model: Any, source: Any, sink: Any, asked: dict[str, Any]) -> None:
        from fieldsight.core.windows.running import prepare

        self.model, self.source, self.sink, self.asked = model, source, sink, asked
        job = prepare(
            source, model, margin=None, stride=None, overlap=0, padding="reflect", nodata=None,
            valid=None, global_operations="refuse", **asked,
        )  # fmt: skip
        self.plan = job.plan
        batches = job.reader.batches(range(job.plan.rows))
        self.batches = [batch.images for batch in batches]

    def windowed(self, _: int) -> float:
        """Seconds by windows, reading and writing included."""
        from fieldsight.core import windows

        started = time.perf_counter()
        windows.predict(self.source, self.model, sink=self.sink, **self.asked)
        return time.perf_counter() - started

    def alone(self, _: int) -> float:
        """Seconds of the model on the same windows, which lie in memory."""
        started = time.perf_counter()
        for batch in self.batches:
            self.model.predict_on_batch(batch)
        return time.perf_counter() - started


def compare(contest: Contest, pairs: int, what: str, model: str) -> None:
    """Measure windowed / alone and report it."""
    ours, theirs = _pairs.interleaved(contest.windowed, contest.alone, pairs, say=_say)
    found = _pairs.ratio(ours, theirs)
    places = float(np.prod(contest.plan.shape)) / 1e6
    run = float(np.prod(contest.plan.window)) * contest.plan.count / 1e6
    median = float(np.median(ours))
    unit = "Mpixel" if len(contest.plan.shape) == 2 else "Mvoxel"
    met = found.meets(1 / SPEED)
    sides, window = (" x ".join(map(str, s)) for s in (contest.plan.shape, contest.plan.window))
    _pairs.report(
        f"prediction by windows beside the model alone: {what}, {sides}, {model}, "
        f"{contest.plan.count} windows of {window}",
        [
            ("by windows", f"{_pairs.spread(ours)}, {places / median:.3f} {unit}/s of the array"),
            ("the model alone", f"{_pairs.spread(theirs)}, {run / median:.3f} {unit}/s computed"),
            ("windowed / alone, seconds", str(found)),
            ("windowed / alone, speed", f"{1 / found.median:.3f}"),
            (f"at least {SPEED}", "met" if met else "not met"),
        ],
        {
            "what": what,
            "shape": contest.plan.shape,
            "window": contest.plan.window,
            "windows": contest.plan.count,
            "batch_size": contest.asked["batch_size"],
            "ratio": found.median,
            "ratio_low": _pairs.number(found.low),
            "ratio_high": _pairs.number(found.high),
            "pairs": found.pairs,
            "met": met,
            "million_places_per_second": places / median,
            "seconds": ours,
            "alone_seconds": theirs,
        },
        figure=f"{what} by windows / the model alone on them, seconds: {found}, so "
        f"{1 / found.median:.3f} x its speed; {places / median:.3f} {unit}/s",
        data=f"simulated: {sides}",
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def peak_mib() -> float:
    """The most memory that this process has held."""
    try:  # On Linux ru_maxrss begins with what the parent held when it made this process.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (MIB if sys.platform == "darwin" else 1024)


def memory_child(path: Path, window: int, batch_size: int) -> dict[str, float]:
    """In a process of its own: the peak of the model alone, then that by windows."""
    from fieldsight.core import windows

    model, source = picture_model(), Raster(path)
    batch = np.ones((batch_size, window, window, BANDS), np.float32)
    for _ in range(3):
        model.predict_on_batch(batch)
    alone = peak_mib()
    sink = Classes(path.with_name("classes.tif"), *source.shape[:2])
    started = time.perf_counter()
    windows.predict(
        source, model, window=window, batch_size=batch_size, sink=sink,
        progress=lambda done, total: None if done % 20 else _say(f"{done} of {total} windows"),
    )  # fmt: skip
    seconds = time.perf_counter() - started
    return {"alone_mib": alone, "windowed_mib": peak_mib(), "seconds": seconds}


def memory(folder: Path, height: int, width: int, window: int, batch_size: int) -> None:
    """Report how much memory a raster takes above the model's."""
    path = scene(folder / f"{width}.tif", height, width)
    words = [sys.executable, __file__, "--child", str(path)]
    words += ["--window", str(window), "--batch-size", str(batch_size)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    path.unlink()
    found = json.loads(done.stdout.splitlines()[-1])
    above = found["windowed_mib"] - found["alone_mib"]
    speed = height * width / 1e6 / found["seconds"]
    met = above / 1024 <= MEMORY_GB
    part = f"{height} x {width}"
    _pairs.report(
        f"memory of prediction by windows: a raster of {part}, windows of {window}",
        [
            ("the model alone on a batch", f"{found['alone_mib']:,.0f} MiB at most"),
            ("by windows", f"{found['windowed_mib']:,.0f} MiB at most, {above:,.0f} more"),
            ("speed", f"{speed:.3f} Mpixel/s, {found['seconds']:,.0f} s"),
            (f"at most {MEMORY_GB} GiB more", "met" if met else "not met"),
        ],
        {"height": height, "width": width, "window": window, **found, "above_mib": above},
        figure=f"a raster of {part} by windows of {window}: {above:,.0f} MiB above the model's "
        f"{found['alone_mib']:,.0f}; {speed:.3f} Mpixel/s",
        data=f"simulated: {part}, {BANDS} bands, uint16",
    )


def pictures(folder: Path, asked: argparse.Namespace) -> None:
    """Speed on a part of a scene."""
    path = scene(folder / "part.tif", asked.side, asked.side)
    sink = Classes(folder / "classes.tif", asked.side, asked.side)
    settings = {"window": asked.window, "batch_size": asked.batch_size}
    contest = Contest(picture_model(), Raster(path), sink, settings)
    compare(contest, asked.pairs, "a scene", "unet(filters=16, depth=4)")


def volumes(folder: Path, asked: argparse.Namespace) -> None:
    """Speed on a part of a volume."""
    shape = tuple(min(asked.volume_side, side) for side in VOLUME)
    source = volume(folder / "volume", shape)
    sink = np.memmap(folder / "answer", np.float32, "w+", shape=(*shape, 2))
    settings = {"window": asked.volume_window, "batch_size": 1}
    contest = Contest(volume_model(), source, sink, settings)
    compare(contest, asked.pairs, "a volume", "unet(filters=8, depth=2) in 3-D")


def sizes(asked: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Height and width of the rasters whose memory is measured."""
    rows = min(2 * asked.window, asked.width)
    yield rows, asked.width
    yield rows, 2 * asked.width
    if asked.full:
        yield asked.width, asked.width


def main() -> None:
    """Measure what is asked for and print what that says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="not needed; `make bench` gives it to all")
    parser.add_argument("--pairs", type=int, default=_pairs.ENOUGH)
    parser.add_argument("--only", choices=("picture", "volume", "memory"), help="one of the parts")
    parser.add_argument("--full", action="store_true", help="the whole scene too, for hours")
    parser.add_argument("--side", type=int, default=1536, help="of the part of the scene")
    parser.add_argument("--window", type=int, default=768)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--volume-side", type=int, default=144, help="of the part of the volume")
    parser.add_argument("--volume-window", type=int, default=96)
    parser.add_argument("--width", type=int, default=SCENE, help="of the scene, for memory")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(memory_child(asked.child, asked.window, asked.batch_size)))
        return
    with tempfile.TemporaryDirectory(prefix="fieldsight-windows-") as name:
        folder = Path(name)
        if asked.only in (None, "picture"):
            pictures(folder, asked)
        if asked.only in (None, "volume"):
            volumes(folder, asked)
        if asked.only in (None, "memory"):
            for height, width in sizes(asked):
                memory(folder, height, width, asked.window, asked.batch_size)


if __name__ == "__main__":
    main()
