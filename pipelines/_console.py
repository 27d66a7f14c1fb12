"""Where tables are printed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WITHOUT_TERMINAL = 200  # columns; a file or a pipe has no width: there, every column has its place


def console() -> Console:
    """Standard output, as wide as the terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WITHOUT_TERMINAL
    return Console(highlight=False, width=width)
