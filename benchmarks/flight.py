"""What finding animals costs beside the model alone, and whether `watch` keeps up with a camera.

The detector of the default recipe (with --full, of `train --full`) runs as `fieldsight wildlife
predict` runs it, in the runtime that it would take, on simulated data: a flight of 640 x 512
thermal frames as JPEG files, and a colour orthomosaic as a tiled GeoTIFF. Without --model its
weights are random, and its thresholds such that it finds --objects a frame. "The model alone" is
the same network on the same frames or windows, overlap included, already float32 in memory: as
Keras runs it (`predict_on_batch`), and in the runtime that `predict` takes, which asks more the
faster that is.

1. frames: reading, scaling, the model, boxes from its answer, each object once / the model alone,
   in pairs of alternating order after a warm-up; then all of `predict`: tracks, counts and every
   file of tables, and with pictures and film;
2. mosaic: the same by windows of a part of an orthomosaic, boxes merged across windows;
3. watch: a folder into which frames are copied at --rate a second, how long each waits for its
   answer; and a video, as fast as it goes.

    python benchmarks/flight.py [--pairs 8] [--only frames|mosaic|watch] [--model MODEL] [--full]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs

SPEED = 0.95  # of the model alone's
RATE_HZ = 5.0  # frames a second that watch is to keep up with, at least
CLASSES = ("human", "vehicle", "elephant", "lion", "giraffe", "dog", "zebra", "rhino")
WEAKER = 2  # times as many are found as are shown: the others may prolong tracks
LARGEST_PX = 64.0  # of what the network is said to have learned
WHOLE_RUNS = 2  # of all of predict


def simulated(folder: Path, frames: int, side: int) -> tuple[Path, Path]:
    """A flight's frames, and an orthomosaic."""
    from fieldsight.datasets.simulated import wildlife

    detail: wildlife.Detail = "quick" if frames <= 40 else "full"
    wildlife.write(folder / "flight", 0, flights=1, mosaics=0, detail=detail)
    detail = "quick" if side <= 4000 else "full"
    wildlife.write(folder / "mosaic", 0, flights=0, mosaics=1, detail=detail)
    flight = next(each for each in (folder / "flight").glob("*/images/*") if each.is_dir())
    for extra in sorted(flight.iterdir())[frames:]:
        extra.unlink()
    return flight, next((folder / "mosaic" / "orthomosaic").glob("*.tif"))


def cut(path: Path, side: int) -> Path:
    """The middle of an orthomosaic, placed where it was, in tiles as before."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path) as raster:
        side = min(side, raster.width, raster.height)
        part = Window((raster.width - side) // 2, (raster.height - side) // 2, side, side)
        profile = raster.profile | {
            "width": side, "height": side, "transform": raster.window_transform(part),
        }  # fmt: skip
        out = path.with_name("part.tif")
        with rasterio.open(out, "w", **profile) as written:
            written.write(raster.read(window=part))
    return out


def finder_of(
    asked: argparse.Namespace, images: list[NDArray[Any]], *, thermal: bool, ahead: bool = True
) -> Any:
    """The finder that is measured, its runtime not chosen yet.

    Args:
        asked: the command's.
        images: by which the thresholds of random weights are set.
        thermal: whether it takes one channel.
        ahead: as the finder has it: not for watch.
    """
    import keras

    from fieldsight.core.detection import decode
    from fieldsight.core.runtime import predictor
    from fieldsight.datasets.findings import Provenance
    from fieldsight.pipelines.wildlife import _answering, _finder, _network, _recipes
    from fieldsight.pipelines.wildlife._cohort import Eye

    if asked.model is not None:
        file = _answering.model_for(asked.model, allow_simulated=True)
        return _finder.load(file, ahead=ahead)
    way = _recipes.FULL if asked.full else _recipes.QUICK
    keras.utils.set_random_seed(0)
    network = _network.finder(
        1 if thermal else 3, len(CLASSES), stride=way.stride, filters=way.filters,
        pyramid=way.pyramid,
    )  # fmt: skip
    _bounded(network)
    eye = Eye(thermal)
    scores = []
    for image in images:
        answer = network.predict_on_batch(_multiple(eye.see(image))[None].astype(np.float32))[0]
        found = decode(answer, num_classes=len(CLASSES), stride=way.stride, threshold=1e-3)
        scores.append(found.scores)
    every = np.sort(np.concatenate(scores))[::-1]
    shown = min(asked.objects * len(images), len(every) - 2)
    return _finder.NetworkFinder(
        predictor(network, asked.runtime), classes=CLASSES, people=frozenset({"human"}),
        vehicles=frozenset({"vehicle"}), threshold=float(every[shown]), stride=way.stride,
        largest_px=LARGEST_PX, eye=eye,
        provenance=Provenance(model="random weights", trained_on="nothing", simulated=True),
        least=float(every[min(WEAKER * shown, len(every) - 1)]), ahead=ahead,
    )  # fmt: skip


def _bounded(network: Any) -> None:
    """Random weights' answers brought to what a trained network's are like: few places stand out.

    Boxes then have a few strides, and scores aren't all 0 or 1.
    """
    for name in ("heat", "log_size", "offset"):
        kernel, bias = network.get_layer(name).get_weights()
        network.get_layer(name).set_weights([kernel / 20, bias])


def _multiple(image: NDArray[Any], of: int = 32) -> NDArray[Any]:
    rows, columns = (side // of * of for side in image.shape[:2])
    return image[:rows, :columns]


class Finding:
    """One input, looked at as `predict` looks at it, and the model alone on the same pictures."""

    def __init__(self, source: Any, finder: Any) -> None:
        self.source, self.finder = source, finder
        self.run = finder.network
        kept = _Kept(self.run)
        finder.network = kept
        self.ours(0)
        finder.network = self.run
        self.batches = kept.batches
        self.windows = sum(len(batch) for batch in self.batches)
        self.pixels = sum(float(np.prod(batch.shape[:3])) for batch in self.batches) / 1e6
        self.found = 0

    def ours(self, _: int) -> float:
        """Seconds from the file or files to objects."""
        started = time.perf_counter()
        if self.source.kind == "orthomosaic":
            with self.source.open() as mosaic:
                found = [self.finder.mosaic(mosaic, lambda *_: None)]
        else:
            found = [one for _, one in self.finder.frames(self.source.frames())]
        seconds = time.perf_counter() - started
        self.found = sum(int((one.scores >= self.finder.threshold).sum()) for one in found)
        return seconds

    def alone(self, _: int) -> float:
        """Seconds of the network."""
        from fieldsight.core.windows.reading import SIDE_BY_SIDE

        # As predict asks for them.
        with ThreadPoolExecutor(SIDE_BY_SIDE if self.run.side_by_side else 1) as pool:
            started = time.perf_counter()
            for _ in pool.map(self.run, self.batches):
                pass
            return time.perf_counter() - started

    def by_keras(self, _: int) -> float:
        """Seconds of the network in a bare Keras loop."""
        started = time.perf_counter()
        for batch in self.batches:
            self.run.model.predict_on_batch(batch)
        return time.perf_counter() - started


class _Kept:
    """What runs a network, and remembers what it was given."""

    def __init__(self, run: Any) -> None:
        self.run, self.model = run, run.model
        self.batches: list[NDArray[Any]] = []

    @property
    def side_by_side(self) -> bool:
        """As what runs it."""
        return bool(self.run.side_by_side)

    def __call__(self, batch: Any) -> Any:
        self.batches.append(np.array(batch, np.float32))
        return self.run(batch)


def compare(finding: Finding, what: str, pairs: int, unit: tuple[float, str]) -> None:
    """Report one kind of input beside the model alone, by Keras and by what `predict` takes."""
    _beside(finding, what, pairs, unit, ("as Keras runs it", finding.by_keras))
    same = f"in the same runtime ({finding.run.choice})"
    _beside(finding, what, pairs, unit, (same, finding.alone))


def _beside(
    finding: Finding, what: str, pairs: int, unit: tuple[float, str],
    named: tuple[str, Callable[[int], float]],
) -> None:  # fmt: skip
    (amount, word), (name, alone) = unit, named
    both = _pairs.Counted(finding.ours), _pairs.Counted(alone)
    ours, theirs = _pairs.interleaved(both[0].run, both[1].run, pairs, say=_say)
    found = _pairs.ratio(ours, theirs)
    computed = _pairs.ratio(both[0].seconds, both[1].seconds)
    met = found.meets(1 / SPEED)
    rate, other = amount / float(np.median(ours)), amount / float(np.median(theirs))
    _pairs.report(
        f"{what}, {finding.windows} windows, {finding.found} objects found, beside the model "
        f"alone {name}",
        [
            ("from files to objects", f"{_pairs.spread(ours)}, {rate:.2f} {word}/s"),
            ("the model alone", f"{_pairs.spread(theirs)}, {other:.2f} {word}/s; "
             f"{finding.pixels / float(np.median(theirs)):.1f} Mpixel/s computed"),
            ("from files to objects / alone, seconds", str(found)),
            ("from files to objects / alone, speed", f"{1 / found.median:.3f}"),
            (f"at least {SPEED}", "met" if met else "not met"),
            ("the same in the processor's seconds", str(computed)),
        ],
        {
            "what": what, "alone": name, "windows": finding.windows, "objects": finding.found,
            "ratio": found.median, "ratio_low": _pairs.number(found.low),
            "ratio_high": _pairs.number(found.high), "pairs": found.pairs, "met": met,
            "processor_ratio": computed.median, "rate": rate, "unit": word,
            "seconds": ours, "alone_seconds": theirs,
        },
        figure=f"{what}: files to objects / the model alone {name}, seconds: {found}, so "
        f"{1 / found.median:.3f} x its speed; in the processor's seconds {computed}; "
        f"{rate:.2f} {word}/s",
        data="simulated",
    )  # fmt: skip


def frames_part(flight: Path, folder: Path, asked: argparse.Namespace) -> None:
    """A flight's frames, then all that `predict` makes of them."""
    from fieldsight.datasets import frames

    source = frames.find([flight], frames_per_second=asked.rate).items[0]
    images = [shot.image for shot, _ in zip(source.frames(), range(4), strict=False)]
    finder = finder_of(asked, images, thermal=True)
    finding = Finding(source, finder)
    count = finding.windows
    compare(finding, f"{count} frames of 640 x 512 from a folder", asked.pairs, (count, "frames"))
    rows, figures = [], {}
    for name, drawn in (("without pictures", False), ("with pictures and film", True)):
        seconds = [_whole(flight, folder / "answers", finder, asked.rate, drawn=drawn)
                   for _ in range(WHOLE_RUNS)]  # fmt: skip
        rate = count / float(np.median(seconds))
        rows.append((name, f"{_pairs.spread(seconds)}, {rate:.1f} frames/s"))
        figures[name] = rate
    said = ", ".join(f"{rate:.1f} {name}" for name, rate in figures.items())
    _pairs.report(
        f"all of predict on the same {count} frames: tracks, counts, every file",
        rows,
        {name.replace(" ", "_"): rate for name, rate in figures.items()},
        figure=f"all of predict on {count} frames of 640 x 512, frames/s: {said}",
        data="simulated",
    )


def _whole(flight: Path, out: Path, finder: Any, rate: float, *, drawn: bool) -> float:
    from fieldsight.pipelines.wildlife import _predict

    started = time.perf_counter()
    request = _predict.Request(
        inputs=[flight], out=out, frames_per_second=rate, pictures=drawn, json=True
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        _predict.answer(request, _predict.find(request), finder)
    seconds = time.perf_counter() - started
    shutil.rmtree(out)
    return seconds


def mosaic_part(path: Path, asked: argparse.Namespace) -> None:
    """An orthomosaic by windows."""
    from fieldsight.datasets import frames

    source = frames.find([cut(path, asked.side)]).items[0]
    with source.open() as mosaic:
        rows, columns = mosaic.shape[:2]
        images = list(mosaic.some(count=4))
    finding = Finding(source, finder_of(asked, images, thermal=False))
    what = f"a colour orthomosaic of {rows} x {columns} by windows"
    compare(finding, what, asked.pairs, (rows * columns / 1e6, "Mpixel"))


def watch_part(flight: Path, folder: Path, asked: argparse.Namespace) -> None:
    """A folder that is being written, and a video."""
    from fieldsight.datasets import frames

    source = frames.find([flight]).items[0]
    images = [shot.image for shot, _ in zip(source.frames(), range(4), strict=False)]
    finder = finder_of(asked, images, thermal=True, ahead=False)
    list(finder.frames(source.frames()))  # its runtime is chosen
    written = folder / "written"
    written.mkdir()
    files = sorted(flight.iterdir())
    writer = threading.Thread(target=_copied, args=(files, written, asked.rate), daemon=True)
    writer.start()
    live = _watched(str(written), finder, folder / "alerts", idle_s=1.0)
    writer.join()
    film = _filmed(source, folder / "flight.mp4")
    fast = _watched(str(film), finder, folder / "alerts-film", idle_s=None)
    waits = 1000 * np.array(live.waits_s)
    steady = waits[8:] if len(waits) > 8 else waits  # a thermal scale takes the first eight
    middle, late = (float(np.percentile(steady, q)) for q in (50, 95))
    kept_up = not live.skipped and live.frames == len(files)
    most = fast.frames_per_second or 0.0
    met = most >= RATE_HZ and kept_up
    alerts = sum(fast.alerts.values())
    _pairs.report(
        f"watch, frames of 640 x 512: {live.frames} copied into a folder, {fast.frames} of a video",
        [
            (f"a folder at {asked.rate:g} frames/s", f"{live.frames} looked at, "
             f"{live.skipped} skipped, {sum(live.alerts.values())} alerts"),
            ("latency, from read to its alerts", f"median {middle:.0f} ms, 95th percentile "
             f"{late:.0f} ms; after the first 8, which give the scale: {waits[:8].max():.0f} ms"),
            ("a video as fast as it goes", f"{most:.1f} frames/s, {alerts} alerts"),
            (f"at least {RATE_HZ:g} frames/s", "met" if met else "not met"),
        ],
        {
            "frames": live.frames, "skipped": live.skipped, "rate": asked.rate,
            "latency_ms_median": middle, "latency_ms_95": late,
            "frames_per_second": most, "alerts": alerts, "met": met,
        },
        figure=f"watch at 640 x 512: {most:.1f} frames/s of a video; of a folder at "
        f"{asked.rate:g} frames/s {live.skipped} skipped, latency median {middle:.0f} ms, 95th "
        f"percentile {late:.0f} ms",
        data="simulated",
    )  # fmt: skip


def _copied(files: list[Path], folder: Path, rate: float) -> None:
    """Copy frames at a rate, each seen only when it is whole."""
    started = time.monotonic()
    for number, path in enumerate(files):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        part = folder / f".{path.name}"
        shutil.copyfile(path, part)
        part.replace(folder / path.name)


def _filmed(source: Any, path: Path) -> Path:
    """The flight's frames as a video, grey, as a camera's."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.pix_fmt = "yuv420p"
        for shot in source.frames():
            grey = np.ascontiguousarray(shot.image[..., 0])
            if not stream.codec_context.is_open:
                stream.height, stream.width = grey.shape
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="gray")))
        container.mux(stream.encode())
    return path


def _watched(source: str, finder: Any, out: Path, *, idle_s: float | None) -> Any:
    from fieldsight.pipelines.wildlife import _alarms, _tracks, _watch

    chosen = _alarms.points(
        {}, kinds=dict.fromkeys(_tracks.kinds(finder.classes, finder.people, finder.vehicles)),
        unknown=finder.threshold,
    )  # fmt: skip
    followed = _watch.follow_source(source, idle_s=idle_s, rate=None)
    return _watch.run(followed, finder, chosen, out=out, emit=lambda _: None)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure what is asked for and print what that says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="not needed; `make bench` gives it to all")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--only", choices=("frames", "mosaic", "watch"), help="one of the parts")
    parser.add_argument("--model", help="a trained one of thermal frames, for frames and watch")
    parser.add_argument("--full", action="store_true", help="the detector of `train --full`")
    parser.add_argument("--runtime", default="auto", help="auto, keras, openvino, onnxruntime")
    parser.add_argument("--frames", type=int, default=240, help="of the flight")
    parser.add_argument("--objects", type=int, default=20, help="a frame, by random weights")
    parser.add_argument("--side", type=int, default=6000, help="of the orthomosaic's part")
    parser.add_argument("--rate", type=float, default=RATE_HZ, help="frames a second, for watch")
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from fieldsight.pipelines import _memory, _training

    _memory.keep_freed()  # as the command line does
    _training.prepare_backend(0)
    with tempfile.TemporaryDirectory(prefix="fieldsight-flight-") as name:
        folder = Path(name)
        _say("simulating a flight and an orthomosaic")
        flight, mosaic = simulated(folder, asked.frames, asked.side)
        parts: dict[str, Callable[[], None]] = {
            "frames": lambda: frames_part(flight, folder, asked),
            "mosaic": lambda: mosaic_part(mosaic, asked),
            "watch": lambda: watch_part(flight, folder, asked),
        }
        for part in [asked.only] if asked.only else parts:
            parts[part]()


if __name__ == "__main__":
    main()
