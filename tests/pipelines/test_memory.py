"""Freed memory is used again: what the system says of page faults."""

import os
import subprocess
import sys

import pytest

# Arrays of 4 MB, made and freed 200 times. In a process of its own: mallopt can't be undone.
FAULTS = """
import resource, sys
if sys.argv[1] == "kept":
    from fieldsight.pipelines import _memory
    _memory.keep_freed()
blocks = [bytearray(4_000_000) for _ in range(4)]
del blocks
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    block = bytes(1_000_000) * 4
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **variables: str) -> int:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_memory_is_not_cleared_anew() -> None:
    plain = faults("as it is", MALLOC_MMAP_THRESHOLD_="131072", MALLOC_TRIM_THRESHOLD_="131072")
    if plain < 10_000:
        pytest.skip(f"this C library keeps it by itself: {plain} page faults")
    assert faults("kept") < plain / 20


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_whoever_sets_the_variables_is_obeyed() -> None:
    asked = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    assert faults("kept", **asked) == pytest.approx(faults("as it is", **asked), rel=0.1)
