"""What tests of data sets and of pipelines share: small CT series, chests, judges of our files."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


def _module(name: str) -> ModuleType:
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"fieldsight_test_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_policy_left_behind() -> Iterator[None]:
    """Keras's dtype policy is the process's: one left set would fail another file's test."""
    yield
    keras = sys.modules.get("keras")
    if keras is not None:
        left = keras.config.dtype_policy().name
        keras.config.set_dtype_policy("float32")
        assert left == "float32"


@pytest.fixture(scope="session")
def ct() -> ModuleType:
    """The module that writes small CT series, as scanners do, and asks other tools of files."""
    return _module("ct_series")


@pytest.fixture(scope="session")
def lung() -> ModuleType:
    """The module that makes chests, and writes scans as published sets have them."""
    return _module("lung_scans")


@pytest.fixture(scope="session")
def pages() -> ModuleType:
    """The module that composes pages of digits."""
    return _module("datasets/pages")


@pytest.fixture(scope="session")
def two_dates() -> ModuleType:
    """The module that writes a small place at two dates, and makes mappers of it."""
    return _module("pipelines/deforestation/two_dates")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, to be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True
    )
    if made.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
