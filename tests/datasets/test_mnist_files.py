import contextlib
import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fieldsight.datasets import mnist
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

DTYPES = ("uint8", "int8", "int16", "int32", "float32", "float64")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(values: np.ndarray) -> bytes:
    """Unsigned bytes as the published description of IDX says."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_set(folder: Path, count: int = 3) -> None:
    pictures = np.arange(count * 784).reshape(count, 28, 28) % 251
    for stem in ("train", "t10k"):
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx(pictures))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
    ),
    st.booleans(),
)
def test_idx_files_come_back_as_they_were(
    tmp_path: Path, values: np.ndarray, compressed: bool
) -> None:
    path = tmp_path / ("values.gz" if compressed else "values")
    mnist.write_idx(path, values)
    again = mnist.read_idx(path)
    assert again.dtype == values.dtype
    np.testing.assert_array_equal(again, values)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == compressed


def test_a_file_by_hand_is_read(tmp_path: Path) -> None:
    # Type 0x0B is a 16-bit integer, big-endian; 2 dimensions, 1 x 3.
    content = bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 1, 1, 0, 0xFF, 0xFE])
    (tmp_path / "a").write_bytes(content)
    values = mnist.read_idx(tmp_path / "a")
    assert values.dtype == np.int16
    assert values.tolist() == [[1, 256, -2]]


def test_content_tells_compression_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_bytes(idx(np.arange(4)))
    (tmp_path / "packed").write_bytes(gzip.compress(idx(np.arange(4))))
    assert mnist.read_idx(tmp_path / "plain.gz").tolist() == [0, 1, 2, 3]
    assert mnist.read_idx(tmp_path / "packed").tolist() == [0, 1, 2, 3]


GOOD = idx(np.zeros((2, 28, 28)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs an IDX file.*Received: an empty file"),
        (b"digit,label\n1,2\n", "needs an IDX file.*start with 64 69 67 69"),
        (b"\x00\x00\x07" + GOOD[3:], "needs an IDX file"),
        (GOOD[:9], "truncated: its header needs 16 bytes. Received: 9"),
        (GOOD[:-1], "truncated: 2x28x28 values of 1 bytes need 1584 bytes in all. Received: 1583"),
        (GOOD + b"\x00", "goes on after its last value.*1584.*Received: 1585"),
        (gzip.compress(GOOD, mtime=0)[:-10], "truncated or damaged gzip"),
        (b"\x1f\x8b\x08broken", "truncated or damaged gzip"),
    ],
)
def test_damaged_files_are_told_in_a_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        mnist.read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, idx(np.zeros(3)), "needs pictures .*shape 3, uint8.*exchanged"),
        (LABELS, idx(np.zeros((3, 28, 28))), "needs labels .*shape 3x28x28, uint8.*exchanged"),
        (LABELS, idx(np.zeros(4)), "a label a picture. Received: 3 pictures, and 4 labels"),
        (LABELS, idx(np.array([1, 17, 2])), "labels 0 to 9. Received: 17 at index 1"),
        (IMAGES, idx(np.zeros((3, 32, 32))), "pictures of 28x28. Received: 32x32"),
        (IMAGES, GOOD[:-5], "truncated"),
    ],
)
def test_a_wrong_set_is_told_in_a_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    write_set(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        mnist.load(tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize("place", ["", "MNIST/raw", "raw"])
@pytest.mark.parametrize("spelling", ["{}", "{}.gz", "dotted", "dotted.gz"])
def test_files_are_found_under_their_usual_spellings(
    tmp_path: Path, place: str, spelling: str
) -> None:
    write_set(tmp_path)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for path in list(tmp_path.glob("*ubyte")):
        name = path.name.replace("-idx", ".idx") if "dotted" in spelling else path.name
        content = path.read_bytes()
        path.unlink()
        if spelling.endswith(".gz"):
            name, content = name + ".gz", gzip.compress(content)
        (tmp_path / place / name).write_bytes(content)
    train, test = mnist.load(tmp_path)
    assert train.labels.tolist() == [0, 1, 2]
    assert test.images[1, 0, 0] == 784 % 251


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / LABELS).unlink()
    with pytest.raises(DatasetNotFoundError, match=f"no {LABELS}.*--data uci") as caught:
        mnist.load(tmp_path)
    assert IMAGES not in str(caught.value)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(DatasetNotFoundError, match="which is not there"):
        mnist.load(tmp_path / "nowhere")
    with pytest.raises(DatasetNotFoundError, match="which is a file"):
        mnist.load(tmp_path / "file")


def test_a_folder_without_permission_is_told(
    locked: Path, unprivileged: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    with unprivileged(), pytest.raises(DataError, match=r"may not be read.*permission denied"):
        mnist.load(locked)


def test_real_mnist_is_the_published_one(mnist_dir: Path) -> None:
    train, test = mnist.load(mnist_dir)
    assert train.images.shape == (60_000, 28, 28)
    # Counts as published; the first labels of the test file are known to everybody.
    assert np.bincount(train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # Mean and standard deviation as everybody normalises by: 0.1307 and 0.3081.
    assert round(float(train.images.mean()) / 255, 4) == 0.1307
    assert round(float(train.images[::7].std()) / 255, 3) == 0.308
