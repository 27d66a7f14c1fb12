"""What the tests of data sets share: real MNIST, a real series, a user without rights."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NOBODY = 65534


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder of the four published files; skips where it is absent."""
    beside = HERE.parents[2] / "shared" / "data"
    data = Path(os.environ.get("FIELDSIGHT_DATA", beside))
    folder = data / "digits" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"real MNIST isn't in {folder}; name its data folder in FIELDSIGHT_DATA")
    return folder


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder that may not be entered, and a file `picture.png` in it that may not be read."""
    # Not pytest's own folder: nobody else may enter that.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "locked"
        Path(name).chmod(0o755)
        folder.mkdir()
        (folder / "picture.png").write_bytes(b"content")
        folder.chmod(0)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def unprivileged() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """A context in which the superuser, whom no permission stops, is an ordinary user."""

    @contextlib.contextmanager
    def context() -> Iterator[None]:
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            yield
            return
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)

    return context


@pytest.fixture(scope="session")
def lung_series() -> Path:
    """The folder of the real series; skips where it is absent."""
    beside = HERE.parents[2] / "shared" / "data"
    data = Path(os.environ.get("FIELDSIGHT_DATA", beside))
    folder = data / "lung" / "lung_pet_ct_dx" / "A0001"
    if not folder.is_dir():
        pytest.skip(f"the real series isn't in {folder}; name its data folder in FIELDSIGHT_DATA")
    return folder


@pytest.fixture(scope="session")
def satellite() -> Path:
    """The folder of real satellite pictures; skips where it is absent."""
    beside = HERE.parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "satellite"
    if not folder.is_dir():
        pytest.skip(f"real pictures aren't in {folder}; name their data folder in FIELDSIGHT_DATA")
    return folder
