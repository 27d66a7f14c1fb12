"""What tests of data sets and of pipelines share: small CT series, chests, judges of our files."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _module(name: str) -> ModuleType:
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"fieldsight_test_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def ct() -> ModuleType:
    """The module that writes small CT series and asks other tools about files."""
    return _module("ct_series")


@pytest.fixture(scope="session")
def lung() -> ModuleType:
    """The module that makes chests, and writes scans as published sets have them."""
    return _module("lung_scans")
