"""What tests of data sets and of pipelines share: small CT series, and judges of what we write."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def ct() -> ModuleType:
    """The module that writes small CT series and asks other tools about files."""
    path = Path(__file__).parent / "ct_series.py"
    spec = importlib.util.spec_from_file_location("fieldsight_test_ct_series", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
