"""Prepared scans on disk, found again by what they were made of.

An entry is a folder: `image.npy` and `lungs.npy`, which are opened as memory maps, so that a
patch is read without its scan; `labels-*.npy` of a scan with outlines; `entry.json`. It is
written beside and renamed: a run that is killed leaves no half of one. When the folder passes
its bound, what wasn't used for longest goes.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fieldsight.datasets import lung_preparation
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.lung_preparation import Prepared
from fieldsight.datasets.nodules import Scan
from fieldsight.datasets.sample import Array, digest
from fieldsight.datasets.volume import Volume

LIMIT_BYTES = 60 * 2**30  # 888 scans of LUNA16 at 1 mm take about 40 GiB
STALE_SECONDS = 24 * 3600.0  # after which what a killed run left is cleared away
_ENTRY, _IMAGE, _LUNGS, _SEEN = "entry.json", "image.npy", "lungs.npy", "seen"


def cached(
    scan: Scan | Volume,
    spacing_mm: float,
    cache_dir: str | os.PathLike[str] | None,
    *,
    limit_bytes: int = LIMIT_BYTES,
) -> Prepared:
    """A scan prepared, from the cache if it is there; else prepared now and put there.

    It is known by the sha256 of its files (of its voxels and affine, for a volume), the spacing
    and `lung_preparation.VERSION`: a copy in another place is the same scan, a changed file is
    another. Files aren't hashed again while their names, sizes and times are the same.

    Args:
        scan: with its paths, which are hashed; its masks, if it has any, become labels. Or a
            volume.
        spacing_mm: of the grid.
        cache_dir: the folder; None prepares without one.
        limit_bytes: of the whole folder. Of more scans than that, the oldest are prepared anew.

    Returns:
        The scan; its arrays are read-only memory maps where there is a cache.

    Raises:
        DataError: if the scan can't be read or shows no lungs, or the cache can't be written.
    """
    masks = scan.read_masks if isinstance(scan, Scan) else None
    read = scan.read if isinstance(scan, Scan) else (lambda: scan)
    if cache_dir is None:
        return lung_preparation.prepare(read(), spacing_mm, masks() if masks else None)
    root = Path(cache_dir)
    with _told(root):
        root.mkdir(parents=True, exist_ok=True)
        content = _content(scan, root)
        entry = root / _key(content, spacing_mm)
        prepared = _opened(entry)
        labels = _labels_file(entry, scan)
        if prepared is not None and (labels is None or labels.exists()):
            return _with_labels(prepared, labels)
        volume = read()
        # A scan without paths is known by its voxels alone.
        return _made(entry, volume, spacing_mm, labels, masks, limit_bytes)


def is_cached(scan: Scan, spacing_mm: float, cache_dir: str | os.PathLike[str]) -> bool:
    """Whether `cached` would find it; of a scan with masks, with its labels."""
    root = Path(cache_dir)
    entry = root / _key(_content(scan, root), spacing_mm)
    labels = _labels_file(entry, scan)
    return (entry / _ENTRY).exists() and (labels is None or labels.exists())


def _made(
    entry: Path,
    volume: Volume,
    spacing_mm: float,
    labels: Path | None,
    masks: Callable[[], Array | None] | None,
    limit_bytes: int,
) -> Prepared:
    prepared = _opened(entry)
    if prepared is None:
        made = lung_preparation.prepare(volume, spacing_mm)
        room = made.image.nbytes + made.lungs.nbytes
        _clear(entry.parent, limit_bytes - room)
        _refuse_full(entry.parent, room)
        _write(entry, made)
        prepared = _opened(entry) or made
    if labels is None or masks is None:
        return prepared
    outlined = masks()
    placed = (
        np.zeros((0, 0, 0), np.uint8)  # nobody outlined them: remembered too
        if outlined is None
        else lung_preparation.on_grid(outlined, volume, prepared)
    )
    _save(labels, placed)
    return _with_labels(prepared, labels)


def _key(content: str, spacing_mm: float) -> str:
    made_of = (content, float(spacing_mm), lung_preparation.VERSION)
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]


def _content(scan: Scan | Volume, root: Path) -> str:
    """What tells this scan from any other: the sha256 of its files, or of its voxels."""
    if isinstance(scan, Volume):
        return digest(scan.hounsfield, scan.affine)
    files = sorted(_files(scan.paths))
    if not files:
        volume = scan.read()
        return digest(volume.hounsfield, volume.affine)
    stamps = [(str(file.absolute()), *_stamp(file)) for file in files]
    seen = root / _SEEN / hashlib.sha256(repr(stamps).encode()).hexdigest()[:32]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if len(known := seen.read_text("ascii")) == 64:
            return known
    total = hashlib.sha256(scan.series_uid.encode())
    for one in sorted(_hash(file) for file in files):
        total.update(one)
    # A file written in this very moment may change again within the clock's step.
    newest = max(time_ns for _, _, time_ns in stamps)
    if time.time_ns() - newest > 2_000_000_000:
        write_atomically(seen, total.hexdigest().encode())
    return total.hexdigest()


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (each for each in path.rglob("*") if each.is_file())
        else:
            yield path


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _hash(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _labels_file(entry: Path, scan: Scan | Volume) -> Path | None:
    """Where a scan's labels are: named by its nodules, for labels may change and voxels not."""
    if isinstance(scan, Volume) or not scan.nodules:
        return None
    name = hashlib.sha256(repr(scan.nodules).encode()).hexdigest()[:16]
    return entry / f"labels-{name}.npy"


def _opened(entry: Path) -> Prepared | None:
    """An entry as memory maps, marked as used; None if it isn't there or is damaged."""
    try:
        facts = json.loads((entry / _ENTRY).read_text("utf-8"))
        prepared = Prepared(
            np.load(entry / _IMAGE, mmap_mode="r"),
            np.load(entry / _LUNGS, mmap_mode="r"),
            np.array(facts["affine"], np.float64),
            None,
            float(facts["lung_ml"]),
            tuple(facts["notes"]),
        )
        whole = list(prepared.image.shape) == list(prepared.lungs.shape) == facts["shape"]
        os.utime(entry / _ENTRY)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return prepared if whole else None


def _with_labels(prepared: Prepared, file: Path | None) -> Prepared:
    labels = None if file is None else np.load(file, mmap_mode="r")
    if labels is None or not labels.size:
        return prepared
    return Prepared(
        prepared.image, prepared.lungs, prepared.affine, labels, prepared.lung_ml, prepared.notes
    )


def _write(entry: Path, prepared: Prepared) -> None:
    beside = entry.with_name(f".{uuid.uuid4().hex}")
    beside.mkdir()
    try:
        np.save(beside / _IMAGE, prepared.image)
        np.save(beside / _LUNGS, prepared.lungs)
        facts = {
            "affine": prepared.affine.tolist(),
            "lung_ml": prepared.lung_ml,
            "notes": list(prepared.notes),
            "shape": list(prepared.shape),
        }
        (beside / _ENTRY).write_text(json.dumps(facts), "utf-8")
        if entry.exists() and _opened(entry) is None:
            shutil.rmtree(entry, ignore_errors=True)  # damaged
        # Another process may have been faster: its entry is as good.
        with contextlib.suppress(OSError):
            beside.rename(entry)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _save(file: Path, array: Array) -> None:
    beside = file.with_name(f".{uuid.uuid4().hex}.npy")
    try:
        np.save(beside, array)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def _clear(root: Path, limit_bytes: int) -> None:
    """Remove what was used longest ago until no more than the limit is left."""
    entries = []
    for path in root.iterdir():
        with contextlib.suppress(OSError):  # another process may be removing it
            if path.name.startswith("."):
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
            elif (path / _ENTRY).exists():
                size = sum(file.stat().st_size for file in path.iterdir())
                entries.append(((path / _ENTRY).stat().st_mtime_ns, size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit_bytes:
            return
        # Under another name first: nobody opens half of it.
        gone = path.with_name(f".{uuid.uuid4().hex}")
        with contextlib.suppress(OSError):
            path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        total -= size


def _refuse_full(root: Path, room: int) -> None:
    free = shutil.disk_usage(root).free
    if free < room + 2**28:
        raise DataError(
            f"{root}: {(room + 2**28) / 1e6:.0f} MB of free disk were needed for a prepared scan. "
            f"Received: {free / 1e6:.0f}. Free some, or name another folder."
        )


@contextlib.contextmanager
def _told(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{root}: a folder for prepared scans was needed. Received: {error}. Name a folder "
            "that can be written to."
        ) from error
