"""What mapping a scene costs beside the model alone, how long its files take, and how much memory.

A 4-band uint16 GeoTIFF, tiled, in UTM, is mapped by `unet(filters=16, depth=4)` as `fieldsight
deforestation map` does it: read by windows, run on Keras, made into probabilities, written to the
temporary raster that a killed run goes on from, flushed to the disk row by row. "The model alone"
is `model.predict_on_batch` on the same windows, overlap included, already float32 in memory.

1. speed on a part, in pairs of alternating order after a warm-up: scene to raster / alone; then
   by the runtime that `predictor("auto")` takes;
2. what is made of the raster afterwards, apart: COGs by themselves, then all files;
3. memory: processes of their own map some rows of windows of scenes 10,000 and 20,000 wide, and
   make all files of rasters of 10,000 x 10,000 and 20,000 x 20,000: by how much their peaks differ.
   The peak of the first doesn't depend on how many rows there are.

    python benchmarks/scene.py [--pairs 30] [--only speed|files|memory]
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs
import windows as by_windows

from fieldsight.pipelines import _memory

SPEED = 0.95  # of the model alone's
GROWN_MIB = 100  # of the peak, at most, from the small scene to the large one: it is flat
SMALL, LARGE = 10_000, 20_000  # both fill GDAL's cache, which is bounded
ROWS = 4  # windows that the scenes are high whose mapping is measured
CLASSES = ("nodata", "forest", "clearing", "water")
BANDS = ("blue", "green", "red", "nir")


def model_of(network: Any, runtime: Any) -> Any:
    """The network as what maps scenes."""
    from fieldsight.datasets.findings import Provenance
    from fieldsight.pipelines.deforestation import _map_model

    facts = {
        "bands": BANDS, "units": "digital numbers", "ground_sampling_distance_m": 10.0,
        "classes": CLASSES, "output": "logits",
    }  # fmt: skip
    made = Provenance(model="random weights", trained_on="nothing", simulated=False)
    return _map_model.of_network(network, facts, made, runtime)


def network_of() -> Any:
    """The model of the scenes, its input scaled inside."""
    import keras

    from fieldsight.core.architectures import unet

    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, len(BANDS)))
    x = keras.layers.Normalization(mean=[1500.0] * 4, variance=[4e5] * 4)(inputs)
    body = unet((None, None, len(BANDS)), len(CLASSES) - 1, filters=16, depth=4)
    return keras.Model(inputs, body(x), name="mapper")


class Mapping:
    """One scene, mapped into a raster as the pipeline does it."""

    def __init__(self, path: Path, model: Any, window: int) -> None:
        from fieldsight.datasets import scenes

        self.scene = scenes.open_scene(path, BANDS)
        self.model, self.window = model, window
        self.work = path.parent / "work"

    def run(self, _: int = 0) -> float:
        """Seconds from the scene on disk to the raster on disk."""
        from fieldsight.datasets.maps.rasters import bounded
        from fieldsight.pipelines.deforestation import _map

        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        started = time.perf_counter()
        with bounded():
            _map.probabilities(
                self.scene, self.scene, self.model, self.work, window=self.window,
                tell=_map.quietly,
            ).close()  # fmt: skip
        return time.perf_counter() - started


class Alone:
    """The model on the same windows, which lie in memory."""

    def __init__(self, network: Any, mapping: Mapping) -> None:
        from fieldsight.core.windows.running import prepare
        from fieldsight.pipelines.deforestation._map_model import Source

        source = Source(mapping.scene, mapping.model)
        job = prepare(
            source, network, window=mapping.window, batch_size=1, margin=None, stride=None,
            overlap=0, padding="reflect", nodata=None, valid=None, global_operations="refuse",
        )  # fmt: skip
        self.network, self.plan = network, job.plan
        self.batches = [batch.images for batch in job.reader.batches(range(job.plan.rows))]

    def run(self, _: int) -> float:
        """Seconds."""
        started = time.perf_counter()
        for batch in self.batches:
            self.network.predict_on_batch(batch)
        return time.perf_counter() - started


def speed(folder: Path, asked: argparse.Namespace) -> None:
    """Report scene to raster beside the model alone."""
    path = by_windows.scene(folder / "part.tif", asked.side, asked.side)
    network = network_of()
    mapping = Mapping(path, model_of(network, "keras"), asked.window)
    alone = Alone(network, mapping)
    both = _pairs.Counted(mapping.run), _pairs.Counted(alone.run)
    ours, theirs = _pairs.interleaved(both[0].run, both[1].run, asked.pairs, say=_say)
    found = _pairs.ratio(ours, theirs)
    computed = _pairs.ratio(both[0].seconds, both[1].seconds)
    fastest = Mapping(path, model_of(network, "auto"), asked.window)
    fastest.run()
    auto = [fastest.run() for _ in range(min(5, asked.pairs))]
    choice = getattr(fastest.model.run, "choice", None)
    pixels = asked.side**2 / 1e6
    met = found.meets(1 / SPEED)
    run = float(np.prod(alone.plan.window)) * alone.plan.count / 1e6
    part = f"{asked.side} x {asked.side}"
    rate, quick = (pixels / float(np.median(seconds)) for seconds in (ours, auto))
    _pairs.report(
        f"a scene to its raster of probabilities: {part}, unet(filters=16, depth=4), "
        f"{alone.plan.count} windows of {asked.window}",
        [
            ("scene to raster", f"{_pairs.spread(ours)}, {rate:.3f} Mpixel/s of the scene"),
            ("the model alone", f"{_pairs.spread(theirs)}, {run / np.median(theirs):.3f} Mpixel/s "
             "computed"),
            ("scene to raster / alone, seconds", str(found)),
            ("scene to raster / alone, speed", f"{1 / found.median:.3f}"),
            (f"at least {SPEED}", "met" if met else "not met"),
            ("the same in the processor's seconds", str(computed)),
            ("by the fastest runtime", f"{_pairs.spread(auto)}, {quick:.3f} Mpixel/s"),
            ("which is", str(choice)),
        ],
        {
            "side": asked.side, "window": asked.window, "windows": alone.plan.count,
            "ratio": found.median, "ratio_low": _pairs.number(found.low),
            "ratio_high": _pairs.number(found.high), "pairs": found.pairs, "met": met,
            "processor_ratio": computed.median,
            "mpixel_per_second": rate, "auto_mpixel_per_second": quick,
            "seconds": ours, "alone_seconds": theirs, "auto_seconds": auto,
        },
        figure=f"scene to temporary raster / the model alone, seconds: {found}, so "
        f"{1 / found.median:.3f} x its speed; in the processor's seconds {computed}; {rate:.3f} "
        f"Mpixel/s, {quick:.3f} by the fastest runtime",
        data=f"simulated: {part}, `unet(filters=16, depth=4)`",
    )  # fmt: skip


def patches(rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.uint8]:
    """Probabilities of three classes as they are stored, in patches of some hundred pixels."""
    ground = np.sin(rows / 67) * np.cos(columns / 91) + 0.3 * np.sin((rows + 2 * columns) / 23)
    clearing = 1 / (1 + np.exp(-6 * (ground - 0.4)))
    water = (1 - clearing) * (ground < -0.9)
    shares = np.stack([1 - clearing - water, clearing, water], axis=-1)
    return (200 * shares + 0.5).astype(np.uint8)


def empty(path: Path, side: int) -> Path:
    """A scene of zeros that takes no disk: what it shows doesn't matter to the files."""
    import rasterio

    profile = {
        "driver": "GTiff", "height": side, "width": side, "count": len(BANDS), "dtype": "uint16",
        "tiled": True, "blockxsize": 512, "blockysize": 512, "SPARSE_OK": True,
        "crs": "EPSG:32721", "transform": rasterio.Affine(10, 0, 300_000, 0, -10, 9_000_000),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile):
        pass
    return path


def raster_of(folder: Path, side: int) -> tuple[Any, Any, Any]:
    """A scene with an answer to it on disk, without any model having run: scene, model, raster."""
    from fieldsight.datasets import scenes
    from fieldsight.pipelines.deforestation import _map_outputs

    scene = scenes.open_scene(empty(folder / f"{side}.tif", side), BANDS)
    model = model_of(network_of(), "keras")
    raster = _map_outputs.new_probabilities(folder / "probability.part", scene, model)
    # In parts of one size, so that drawing them takes as much memory whatever the side.
    for top, left in itertools.product(range(0, side, 512), range(0, side, 2048)):
        rows, columns = (
            np.arange(top, min(top + 512, side)),
            np.arange(left, min(left + 2048, side)),
        )
        part = (slice(top, top + len(rows)), slice(left, left + len(columns)))
        raster.write(part, patches(rows[:, None], columns[None]))
    raster.flush()
    return scene, model, raster


def write_files(folder: Path, side: int) -> dict[str, float]:
    """Seconds of the COGs alone and of all files, and peaks of memory before and after."""
    from fieldsight.datasets.maps.rasters import bounded, write_cog
    from fieldsight.pipelines.deforestation import _map, _map_outputs

    with bounded():
        scene, model, raster = raster_of(folder, side)
        # What a process holds before anything is made of the raster, a full cache included.
        before = by_windows.peak_mib()
        started = time.perf_counter()
        write_cog(raster.path, folder / "alone.tif")
        cog = time.perf_counter() - started
        started = time.perf_counter()
        found = _map_outputs.write_all(
            folder / "done", scene, model, raster, areas=None, least_ha=0.0, tell=_map.quietly
        )
        seconds = time.perf_counter() - started
    size = (folder / "alone.tif").stat().st_size / 2**20
    return {
        "side": side, "cog_seconds": cog, "seconds": seconds, "cog_mib": size,
        "polygons": found.outlined.polygons, "before_mib": before,
        "peak_mib": by_windows.peak_mib(),
    }  # fmt: skip


def map_rows(path: Path, window: int) -> dict[str, float]:
    """The peak of a process that maps a scene."""
    mapping = Mapping(path, model_of(network_of(), "keras"), window)
    seconds = mapping.run()
    return {"seconds": seconds, "peak_mib": by_windows.peak_mib()}


def child(*words: object) -> dict[str, float]:
    """Run a part in a process of its own; what it found."""
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def files(folder: Path, side: int) -> dict[str, float]:
    """Report what is made of a raster."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        found = child("--files-of", side, "--folder", name)
    pixels = side**2 / 1e6
    part = f"{side:,} x {side:,}"
    _pairs.report(
        f"what is made of a raster of three classes, {part}",
        [
            ("the COG of probabilities alone", f"{found['cog_seconds']:.1f} s, "
             f"{pixels / found['cog_seconds']:.1f} Mpixel/s, {found['cog_mib']:,.0f} MiB"),
            ("all files", f"{found['seconds']:.1f} s, {pixels / found['seconds']:.1f} Mpixel/s, "
             f"{found['polygons']:,.0f} polygons"),
            ("memory", f"{found['peak_mib']:,.0f} MiB at most"),
        ],
        found,
        figure=f"COG of {part} probabilities in {found['cog_seconds']:.1f} s, all files in "
        f"{found['seconds']:.1f} s, {found['peak_mib']:,.0f} MiB",
        data=f"simulated: {part}, 3 classes",
    )  # fmt: skip
    return found


def memory(folder: Path, asked: argparse.Namespace) -> None:
    """Report how much more memory a large scene takes than a small one."""
    peaks = []
    for width in (SMALL, LARGE):
        path = by_windows.scene(folder / f"{width}.tif", ROWS * asked.window, width)
        peaks.append(child("--map-of", path, "--window", asked.window))
        path.unlink()
    made = [files(folder, side) for side in (SMALL, LARGE)]
    grown = [large["peak_mib"] - small["peak_mib"] for small, large in (peaks, made)]
    met = max(grown) <= GROWN_MIB
    _pairs.report(
        f"memory as the scene grows from {SMALL:,} to {LARGE:,} a side, windows of {asked.window}",
        [
            ("mapping, the small one", f"{peaks[0]['peak_mib']:,.0f} MiB at most"),
            ("mapping, the large one", f"{peaks[1]['peak_mib']:,.0f} MiB, {grown[0]:+,.0f}"),
            ("its files, the small one", f"{made[0]['peak_mib']:,.0f} MiB at most"),
            ("its files, the large one", f"{made[1]['peak_mib']:,.0f} MiB, {grown[1]:+,.0f}"),
            (f"at most {GROWN_MIB} MiB more", "met" if met else "not met"),
        ],
        {"mapping": peaks, "files": made, "grown_mib": grown, "met": met},
        figure=f"from {SMALL:,} to {LARGE:,} a side memory grows by {grown[0]:,.0f} MiB in "
        f"mapping (of {peaks[1]['peak_mib']:,.0f}), by {grown[1]:,.0f} MiB in making files (of "
        f"{made[1]['peak_mib']:,.0f})",
        data=f"simulated: {LARGE:,} wide",
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure what is asked for and print what that says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="not needed; `make bench` gives it to all")
    parser.add_argument("--pairs", type=int, default=_pairs.ENOUGH)
    parser.add_argument("--only", choices=("speed", "files", "memory"), help="one of the parts")
    parser.add_argument("--side", type=int, default=3072, help="of the part that is mapped")
    parser.add_argument("--window", type=int, default=768)
    parser.add_argument("--files-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--map-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    _memory.keep_freed()  # as the command line does
    if asked.files_of:
        print(json.dumps(write_files(asked.folder, asked.files_of)))
        return
    if asked.map_of:
        print(json.dumps(map_rows(asked.map_of, asked.window)))
        return
    with tempfile.TemporaryDirectory(prefix="fieldsight-scene-") as name:
        folder = Path(name)
        if asked.only in (None, "speed"):
            speed(folder, asked)
        if asked.only == "files":
            files(folder, SMALL)
        if asked.only in (None, "memory"):
            memory(folder, asked)


if __name__ == "__main__":
    main()
