"""How the C library keeps memory that was freed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

# Numbers of glibc's `mallopt`, with the variables by which it takes the same from outside.
_MMAP_THRESHOLD = (-3, "MALLOC_MMAP_THRESHOLD_", 2**25)  # the most that it takes
_TRIM_THRESHOLD = (-1, "MALLOC_TRIM_THRESHOLD_", 2**28)


def keep_freed() -> None:
    """Let this process and those that it starts use arrays' memory again, up to 256 MiB of it.

    Else glibc gives every array of some hundred kilobytes back to the system when it is freed, and
    each of its pages is cleared again when the next one is made: of a quick training of
    deforestation that was half of all page faults, and 20 of 337 seconds (docs/measurements.md).
    What is larger than 32 MiB is given back still. Whoever sets the variables is obeyed, and other
    C libraries are left alone.
    """
    if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ:
        return
    with contextlib.suppress(AttributeError, OSError):
        set_option = ctypes.CDLL(None).mallopt
        for number, variable, value in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            if variable not in os.environ and set_option(number, value):
                os.environ[variable] = str(value)  # for processes that are started from here
