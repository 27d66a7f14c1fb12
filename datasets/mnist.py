"""MNIST in its published layout: four IDX files, gzipped or not, from a folder or fetched once."""

import gzip
import math
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.sample import Array, LabelledImages

NAME = "mnist"
SOURCE = "LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998"
LICENCE = "CC BY-SA 3.0"
SHAPE = (28, 28)
CLASSES = 10
# Of the decompressed bytes: archives differ from mirror to mirror, their content doesn't.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
MIRROR_VARIABLE = "FIELDSIGHT_MNIST_URL"  # a base address to use instead of the mirrors
TIMEOUT_S = (5.0, 20.0)  # to connect, and between two pieces of an answer
LARGEST_BYTES = 1 << 26  # 64 MiB: the largest of the four holds 47 MB

IDX_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_SETS = (("train", "train"), ("test", "t10k"))
_GZIP = b"\x1f\x8b"
_BAD_GZIP = (zlib.error, gzip.BadGzipFile)


def load(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    progress: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
    mirrors: Iterable[str] | None = None,
) -> tuple[LabelledImages, LabelledImages]:
    """The 60,000 training and 10,000 test digits, in file order.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition,
        Proceedings of the IEEE 86(11), 1998.

    Args:
        data_dir: folder of the four files under any of their usual spellings, or of a
            `MNIST/raw` that holds them; a smaller set in the same layout is welcome too.
            None fetches them once into the user's cache.
        progress: draws a bar on standard error while fetching, if that is a terminal.
        cache_dir: where fetched files are kept; None for the user's cache folder.
        mirrors: base addresses to fetch from, tried in turn; None for the variable
            FIELDSIGHT_MNIST_URL and else the public `MIRRORS`.

    Returns:
        The training and the test set: `(n, 28, 28)` uint8 pictures, ink 255 on black 0, and
        `(n,)` uint8 labels, named "mnist".

    Raises:
        DatasetNotFoundError: if files are missing, or can't be fetched.
        DataError: if a file isn't what its place says.
    """
    if data_dir is None:
        files = fetch(cache_dir=cache_dir, mirrors=mirrors, progress=progress)
    else:
        files = find(data_dir)
    train, test = (
        read_labelled(files[f"{stem}-images-idx3-ubyte"], files[f"{stem}-labels-idx1-ubyte"])
        for _, stem in _SETS
    )
    return train, test


def find(data_dir: str | os.PathLike[str]) -> dict[str, Path]:
    """Where each of the four files lies in a folder or its `MNIST/raw`, by its published name.

    Raises:
        DatasetNotFoundError: if the folder or one of the four isn't there.
    """
    folder = Path(data_dir).expanduser()
    places = (folder, folder / "MNIST" / "raw", folder / "raw")
    try:
        if not folder.is_dir():
            raise DatasetNotFoundError(
                f"a folder of MNIST's four IDX files was needed. Received: {folder}, which is "
                f"{'a file' if folder.exists() else 'not there'}. Name the folder that holds them."
            )
        found = {name: _first_file(places, _spellings(name)) for name in SHA256}
    except PermissionError as error:
        raise DataError(
            f"{folder}: may not be read. Received: permission denied. "
            "Change its permissions or name another folder."
        ) from error
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise DatasetNotFoundError(
            f"{folder}: needs MNIST's four IDX files, each also as .gz, here or in MNIST/raw. "
            f"Received: no {', no '.join(missing)}. Download from {MIRRORS[0]}, or leave out the "
            "folder to have them fetched; `--data uci` needs nothing."
        )
    return cast(dict[str, Path], found)


def read_labelled(
    images_path: str | os.PathLike[str], labels_path: str | os.PathLike[str], *, name: str = NAME
) -> LabelledImages:
    """A file of pictures and its file of labels, checked against each other.

    Raises:
        DataError: if either is damaged or the other's, if they disagree on the count, or if a
            label isn't 0 to 9.
    """
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(
            f"{images_path}: needs pictures (IDX of 3 dimensions, unsigned bytes). Received: "
            f"{_described(images)}. Are the files of pictures and labels exchanged?"
        )
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise DataError(
            f"{labels_path}: needs labels (IDX of 1 dimension, unsigned bytes). Received: "
            f"{_described(labels)}. Are the files of pictures and labels exchanged?"
        )
    if images.shape[1:] != SHAPE:
        raise DataError(
            f"{images_path}: needs pictures of 28x28. Received: {images.shape[1]}x"
            f"{images.shape[2]}. Bring them to 28x28, ink bright on black."
        )
    if len(images) != len(labels):
        raise DataError(
            f"{images_path}: needs a label a picture. Received: {len(images)} pictures, and "
            f"{len(labels)} labels in {labels_path}. Do both belong to one set?"
        )
    if len(labels) == 0:
        raise DataError(f"{images_path}: needs pictures. Received: none. Is it the right file?")
    if labels.max() >= CLASSES:
        wrong = int(np.argmax(labels >= CLASSES))
        raise DataError(
            f"{labels_path}: needs labels 0 to 9. Received: {labels[wrong]} at index {wrong} "
            f"({int((labels >= CLASSES).sum())} such). Is it another set's file?"
        )
    return LabelledImages(images, labels, name)


def read_idx(path: str | os.PathLike[str]) -> Array:
    """The array in an IDX file, gzipped or not (its content tells, not its name).

    Reference:
        The IDX format, as described with the MNIST database: two zero bytes, a byte for the
        type, a byte for the number of dimensions, each dimension as a big-endian 32-bit
        integer, then the values, big-endian, the last dimension fastest.

    Returns:
        An array of the file's shape and type, in this machine's byte order.

    Raises:
        DataError: if the file can't be read, isn't IDX, or is longer or shorter than it says.
    """
    path = Path(path)
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_DTYPES:
        raise DataError(
            f"{path}: needs an IDX file (two zero bytes, a type, a number of dimensions). "
            f"Received: {_first_bytes(content)}. Is it another kind of file?"
        )
    dtype, dimensions = IDX_DTYPES[content[2]], content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(
            f"{path}: is truncated: its header needs {start} bytes. Received: {len(content)}. "
            "Copy or download it again."
        )
    shape = tuple(int(side) for side in np.frombuffer(content, ">u4", dimensions, 4))
    needed = start + math.prod(shape) * dtype.itemsize
    if len(content) != needed:
        state = "is truncated" if len(content) < needed else "goes on after its last value"
        raise DataError(
            f"{path}: {state}: {'x'.join(map(str, shape))} values of {dtype.itemsize} bytes need "
            f"{needed} bytes in all. Received: {len(content)}. Copy or download it again."
        )
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def write_idx(path: str | os.PathLike[str], values: Array) -> None:
    """Writes an array as an IDX file, gzipped if the name ends in .gz.

    Raises:
        ValueError: if the format has no such type.
    """
    path = Path(path)
    codes = {dtype.newbyteorder("="): code for code, dtype in IDX_DTYPES.items()}
    if values.dtype.newbyteorder("=") not in codes or values.ndim > 255:
        raise ValueError(f"IDX holds no array of this type. Received: {values.dtype}.")
    code = codes[values.dtype.newbyteorder("=")]
    header = bytes([0, 0, code, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    content = header + values.astype(IDX_DTYPES[code]).tobytes()
    beside = path.with_name(path.name + ".part")
    # mtime=0: the same array gives the same file.
    beside.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    beside.replace(path)


def cache_folder() -> Path:
    """Where fetched files are kept: `fieldsight/mnist` in the user's cache folder."""
    import pooch  # Imported here: settings must be importable at once.

    return Path(pooch.os_cache("fieldsight")) / NAME


def fetch(
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    mirrors: Iterable[str] | None = None,
    progress: bool = True,
) -> dict[str, Path]:
    """Fetches what isn't in the cache yet; each file is checked before it gets its name.

    Args:
        cache_dir: as `load`.
        mirrors: as `load`.
        progress: as `load`.

    Returns:
        The path of each of the four files, decompressed, by its published name.

    Raises:
        DatasetNotFoundError: if no mirror gives a file, or the cache can't be written.
        DataError: if what the mirrors give isn't MNIST.
    """
    folder = Path(cache_dir).expanduser() if cache_dir is not None else cache_folder()
    if mirrors is None:
        mirrors = [os.environ[MIRROR_VARIABLE]] if os.environ.get(MIRROR_VARIABLE) else MIRRORS
    bases = tuple(base.rstrip("/") + "/" for base in mirrors)
    return {name: _fetched(name, folder, bases, progress) for name in SHA256}


def _fetched(name: str, folder: Path, bases: tuple[str, ...], progress: bool) -> Path:
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    reasons = []
    mistaken = True
    for base in bases:
        try:
            return Path(
                pooch.retrieve(
                    base + name + ".gz",
                    known_hash=SHA256[name],
                    fname=name,
                    path=folder,
                    downloader=_decompressing_downloader(name, progress),
                )
            )
        except (requests.RequestException, ValueError, EOFError, *_BAD_GZIP) as error:
            # pooch tells of a wrong hash by a ValueError, as some of requests' errors are.
            mistaken = mistaken and not isinstance(error, requests.RequestException)
            reasons.append(f"{base} ({_reason(error)})")
        except OSError as error:
            raise DatasetNotFoundError(
                f"{folder}: MNIST was to be kept here and can't be written. Received: "
                f"{error.strerror or error}. Make room or name another folder; "
                "`--data uci` needs nothing."
            ) from error
    if mistaken:
        raise DataError(
            f"{name}.gz: needs MNIST's content (sha256 {SHA256[name][:12]}... when decompressed). "
            f"Received: something else from {', '.join(reasons)}. Nothing of it was kept. "
            f"Download it by hand and name its folder with --data-dir; `--data uci` needs nothing."
        )
    raise DatasetNotFoundError(
        f"MNIST is not in {folder} and can't be fetched. Received: {'; '.join(reasons)}. Download "
        f"{', '.join(f'{each}.gz' for each in SHA256)} from {bases[-1]} into a folder and name it "
        "with --data-dir; `--data uci` needs nothing."
    )


def _decompressing_downloader(name: str, progress: bool) -> Callable[[str, Any, Any], None]:
    """A downloader for pooch that hands it the decompressed file, so that it checks that.

    pooch gives a temporary file beside the final one, checks its hash, renames it, and
    removes it if anything fails: nothing half is ever left under the final name.
    """
    import pooch

    def download(url: str, output_file: Any, _: Any) -> None:
        archive = Path(f"{output_file}.gz")
        bar: Any = False
        if progress and sys.stderr.isatty():
            from tqdm import tqdm

            bar = tqdm(desc=name, unit="B", unit_scale=True, file=sys.stderr, leave=False)
        getter = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=TIMEOUT_S)
        try:
            getter(url, str(archive), None)
            with archive.open("rb") as packed, Path(output_file).open("wb") as unpacked:
                _decompress(packed, unpacked)
        finally:
            archive.unlink(missing_ok=True)
            if bar is not False:
                bar.close()

    return download


def _decompress(packed: IO[bytes], unpacked: IO[bytes]) -> None:
    """Copies, decompressing what is gzip; a server may have done so already."""
    is_gzip = packed.read(2) == _GZIP
    packed.seek(0)
    if not is_gzip:
        shutil.copyfileobj(packed, unpacked)
        return
    with gzip.open(packed) as content:
        unpacked.write(content.read(LARGEST_BYTES))  # more than that isn't MNIST


def _reason(error: BaseException) -> str:
    """A line on why a fetch failed, without the memory addresses of urllib3's messages."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    return "not the published content"


def _spellings(name: str) -> tuple[str, ...]:
    dotted = name.replace("-idx", ".idx")
    return (name, dotted, name + ".gz", dotted + ".gz")


def _first_file(folders: tuple[Path, ...], names: tuple[str, ...]) -> Path | None:
    candidates = (folder / name for folder in folders for name in names)
    # stat, not is_file: a folder that may not be entered must not look like an empty one.
    return next((path for path in candidates if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return path.is_file()


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if file.read(2) != _GZIP:
                file.seek(0)
                return file.read()
            file.seek(0)
            with gzip.open(file) as unpacked:
                return unpacked.read()
    except (EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: is a truncated or damaged gzip file. Received: {error}. "
            "Copy or download it again."
        ) from error
    except FileNotFoundError as error:
        raise DatasetNotFoundError(
            f"{path}: an IDX file was needed. Received: no such file. Check its name."
        ) from error
    except OSError as error:  # gzip's own BadGzipFile is one
        raise DataError(
            f"{path}: can't be read. Received: {error.strerror or error}. "
            "Check the file and its permissions."
        ) from error


def _first_bytes(content: bytes) -> str:
    if not content:
        return "an empty file"
    return f"{len(content)} bytes that start with {content[:4].hex(' ')}"


def _described(values: Array) -> str:
    return f"IDX of shape {'x'.join(map(str, values.shape)) or 'no dimension'}, {values.dtype}"
