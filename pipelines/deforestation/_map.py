"""`fieldsight deforestation map`: from a scene of any size to maps, polygons and hectares.

Answers go to a tiled GeoTIFF in `.unfinished` below the output folder, a row of windows at a time;
what is written of it is noted. A run that is stopped, however, goes on from there when it is
called again with the same scene, model and window. Everything else is made of that raster at the
end, in seconds, and moved to its place whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldsight.datasets import scenes
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.maps import hectares
from fieldsight.datasets.maps.rasters import Probabilities, Raster, bounded, needed_bytes
from fieldsight.pipelines import _console, _tracking, _training
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder, write_failures
from fieldsight.pipelines.deforestation import _bands, _map_model, _map_outputs

if TYPE_CHECKING:
    from fieldsight.datasets.scenes import Scene
    from fieldsight.pipelines.deforestation import Map
    from fieldsight.pipelines.deforestation._map_model import MapModel
    from fieldsight.pipelines.deforestation._map_outputs import Mapped

WORK = ".unfinished"
RASTER, STATE, JOB, DONE, LOCK = "probability.part", "state.json", "job.json", "done", "lock"
WINDOW = 768  # pixels of a side: what a U-Net of depth 4 doesn't look beyond is 56 % of it
LEAST_WINDOWS = 4  # times the margin, at least, a window is when none is asked for


def map_scenes(settings: Map) -> int:
    """Map every scene that is given; return the exit code."""
    if not settings.scenes:
        raise CommandError(
            "at least one scene is needed. Received: none. For example: fieldsight deforestation "
            "map SCENE.tif --out map"
        )
    if settings.min_ha < 0:
        raise CommandError(f"--min-ha: at least 0 was needed. Received: {settings.min_ha}.")
    check_output_folder("--out", settings.out)
    bands = _bands.named(settings.bands)
    # Whether a scene is simulated is known once it is open: until then the model is held back.
    found = _tracking.find_model(
        settings.model, application=_map_model.APPLICATION, last=_map_model.SIMULATED,
        make_with=_map_model.MAKE_WITH, allow_simulated=True,
    )  # fmt: skip
    _training.prepare_backend(0)
    model = _map_model.load(found, average=settings.average)
    failures: dict[str, str] = {}
    figures: dict[str, Any] = {}
    for path, folder in zip(settings.scenes, _folders(settings.scenes, settings.out), strict=True):
        try:
            with scenes.open_scene(path, bands) as scene:
                view = _map_model.fitting(scene, model, allow_simulated=settings.allow_simulated)
                mapped = map_scene(
                    scene, view, model, folder, window=settings.window, area=settings.area,
                    min_ha=settings.min_ha,
                )  # fmt: skip
                _tell(scene.name, folder, model, mapped, settings.json)
                figures[scene.name] = _figures(mapped)
        except (DataError, CommandError) as error:
            failures[str(path)] = str(error)
            where = "" if path.name in str(error) else f"{path.name}: "
            _console.say(f"fieldsight: {where}{error}")
    if settings.out.is_dir() or len(failures) < len(settings.scenes):
        write_failures(settings.out, "scene", failures)
    if len(failures) == len(settings.scenes):
        return 2
    if settings.json:
        print(json.dumps({"model": found.title, "scenes": figures}, indent=2))
    else:
        print(f"mapped by {found.title}")
    return 1 if failures else 0


def map_scene(
    scene: Scene,
    view: Scene,
    model: MapModel,
    out: Path,
    *,
    window: int | None = None,
    area: Path | None = None,
    min_ha: float = 0.0,
    quiet: bool = False,
) -> Mapped:
    """Map a scene and write all there is to say of it, going on where an earlier run stopped.

    Args:
        scene: open.
        view: the same with the model's bands alone, as `_map_model.fitting` gives it.
        model: ready to run.
        out: the folder for the answers.
        window: pixels of a side that are run at once; the answer doesn't depend on it.
        area: polygons whose hectares are counted too.
        min_ha: the minimum mapping unit of the polygons.
        quiet: no progress on stderr.

    Raises:
        DataError: if the scene is damaged, the areas can't be used, or the disk is full.
        CommandError: if the disk is too small, another run is mapping to this folder, or the
            window doesn't fit the model.
    """
    areas = None if area is None else hectares.read_areas(area, scene.grid)
    tell = quietly if quiet else _console.progress
    with bounded(), locked(out / WORK) as work:
        raster = probabilities(view, scene, model, work, window=window, tell=tell)
        with raster:
            mapped = _map_outputs.write_all(
                work / DONE, scene, model, raster, areas=areas, least_ha=min_ha, tell=tell
            )
        _map_outputs.move(work / DONE, out)
        shutil.rmtree(work, ignore_errors=True)  # the lock is open: not every system deletes it
    return mapped


def probabilities(
    view: Scene,
    scene: Scene,
    model: MapModel,
    work: Path,
    *,
    window: int | None = None,
    tell: Callable[[str], Callable[[int, int], None]] = _console.progress,
) -> Raster:
    """Run a model over a scene into a raster of the work folder, from where it stopped.

    Args:
        view: the scene with the model's bands.
        scene: whose name, date and tags the raster has.
        model: ready to run.
        work: the folder.
        window: as `map_scene` has it.
        tell: of each stage how far it is.

    Returns:
        The raster, whole, as `maps.rasters.Probabilities` stores it.

    Raises:
        DataError: if the scene is damaged or the disk is full.
        CommandError: if the disk is too small, or the window doesn't fit.
    """
    from fieldsight.core import windows

    size = window or window_of(model)
    raster = _begun(view, scene, model, work, size)
    sink = Probabilities(raster, logits=model.logits)
    with contextlib.ExitStack() as failing:
        failing.callback(raster.close)
        failing.callback(sink.close)
        try:
            windows.predict(
                _map_model.Source(view, model), model.run, window=size, batch_size=1, sink=sink,
                at_once=True, state=work / STATE, done=lambda _: sink.flush(),
                progress=tell(f"mapping {scene.name}"),
            )  # fmt: skip
        except ValueError as error:
            raise CommandError(f"--window: {error}") from error
        except RuntimeError as error:
            # A window that can't be read: the reader's own words are the cause.
            if isinstance(error.__cause__, DataError):
                raise error.__cause__ from error
            raise
        failing.pop_all()
    sink.close()
    return raster


def _begun(view: Scene, scene: Scene, model: MapModel, work: Path, window: int) -> Raster:
    """The raster of an earlier run of the same job, or a new one if the disk has room for it."""
    job = _job(view, model, window)
    if (work / JOB).exists():
        if (work / JOB).read_text("utf-8") == job and (work / RASTER).exists():
            if (work / STATE).exists():
                _console.say(f"{scene.name}: going on where an earlier run stopped")
            return Raster(work / RASTER, "r+")
        _console.say(
            f"{scene.name}: what an earlier run left is of another scene, model or window: begun "
            "anew"
        )
    for left in (JOB, STATE, RASTER):
        (work / left).unlink(missing_ok=True)
    needed = needed_bytes(scene.grid, len(model.classes) - 1)
    free = shutil.disk_usage(work).free
    if free < needed:
        raise CommandError(
            f"{needed / 1e9:.2f} GB of disk were needed to map {scene.name}. Received: "
            f"{free / 1e9:.2f} GB free at {work.parent}. Free some, or name another --out."
        )
    raster = _map_outputs.new_probabilities(work / RASTER, scene, model)
    write_atomically(work / JOB, job.encode())
    return raster


def _job(view: Scene, model: MapModel, window: int) -> str:
    """What must be the same for a run to go on: the scene, the model and where windows lie."""
    rows, columns, _ = view.shape
    digest = hashlib.sha256()
    for row in sorted({0, rows // 3, rows // 2, 2 * rows // 3, rows - 1}):
        digest.update(view.read((slice(row, row + 1), slice(0, columns))).tobytes())
    facts = {
        "scene": view.name,
        "bands": view.bands,
        "shape": view.shape,
        "crs": view.grid.crs.to_wkt(),
        "transform": list(view.grid.transform)[:6],
        "pixels": digest.hexdigest(),
        "model": model.key,
        "window": window,
    }
    return json.dumps(facts, indent=2)


def window_of(model: MapModel) -> int:
    """The window where none is asked for: larger where a model looks farther."""
    from fieldsight.core import windows
    from fieldsight.core.windows.geometry import rounded_up

    context = windows.context_of(getattr(model.run, "model"))  # noqa: B009
    return rounded_up(max(WINDOW, LEAST_WINDOWS * max(context.margin)), max(context.stride))


@contextlib.contextmanager
def locked(work: Path) -> Iterator[Path]:
    """The work folder, that one process at a time may use; gone if nothing was begun in it."""
    from fieldsight.pipelines._journal import Lock

    lock = Lock(work / LOCK)
    try:
        lock.take()
    except BlockingIOError:
        raise CommandError(
            f"a folder that no other run is mapping to was needed. Received: {work.parent}. Wait "
            "for it, or name another --out."
        ) from None
    try:
        yield work
    finally:
        lock.release(remove=True)
        with contextlib.suppress(OSError):
            work.rmdir()


def _folders(paths: Sequence[Path], out: Path) -> list[Path]:
    """The output folder itself for one scene; of several a folder each, of its name."""
    if len(paths) == 1:
        return [out]
    used: set[str] = set()
    folders = []
    for path in paths:
        plain = path.name.removesuffix(path.suffix) if path.is_file() else path.name
        name, count = plain or "scene", 1
        while name in used:
            count += 1
            name = f"{plain}-{count}"
        used.add(name)
        folders.append(out / name)
    return folders


def _tell(name: str, folder: Path, model: MapModel, mapped: Mapped, as_json: bool) -> None:
    """What was found, in a line or two."""
    stream = sys.stderr if as_json else sys.stdout
    for note in mapped.notes:
        print(f"note: {name}: {note}", file=sys.stderr)
    found = mapped.outlined
    words = ", ".join(
        f"{one.area_ha:,.1f} ha {one.name}"
        for one in mapped.counts
        if one.area == hectares.WHOLE and one.share is not None and one.pixels
    )
    kinds = ", ".join(model.classes[value] for value in model.outlined)
    print(
        f"{name}: {words or 'nothing mapped'} ({hectares.METHOD}); {found.polygons:,} polygons of "
        f"{kinds}, {found.area_ha:,.1f} ha; {folder}",
        file=stream,
    )


def _figures(mapped: Mapped) -> dict[str, Any]:
    return {
        "hectares": [
            {"area": one.area, "class": one.name, "hectares": one.area_ha, "share": one.share}
            for one in mapped.counts
        ],
        "method": hectares.METHOD,
        "polygons": mapped.outlined.polygons,
        "polygons_ha": mapped.outlined.area_ha,
        "smaller_ha": mapped.outlined.small_ha,
        "empty": mapped.empty,
        "notes": list(mapped.notes),
    }


def quietly(_: str) -> Callable[[int, int], None]:
    """Tells nothing, where `_console.progress` would."""
    return lambda _done, _total: None
