"""What every test of core shares: memory is given back after each file."""

import gc
from collections.abc import Iterator

import keras
import pytest


@pytest.fixture(scope="module", autouse=True)
def _forget_models() -> Iterator[None]:
    """Else hundreds of networks are kept, some of them of half a gigabyte."""
    yield
    keras.utils.clear_session(free_memory=True)
    gc.collect()
