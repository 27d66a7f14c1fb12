"""Where tables are printed, and how far a command is."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WITHOUT_TERMINAL = 200  # columns; a file or a pipe has no width: there, every column has its place


def console() -> Console:
    """Standard output, as wide as the terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WITHOUT_TERMINAL
    return Console(highlight=False, width=width)


def show(tables: Sequence[Any], lines: Sequence[str]) -> None:
    """Print tables (title, columns, rows) and what is said below them."""
    from rich import box
    from rich.table import Table

    out = console()
    for title, columns, rows in tables:
        table = Table(
            title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
            pad_edge=False,
        )  # fmt: skip
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if not number else "right")
        for row in rows:
            table.add_row(*map(str, row))
        out.print(table)
    for line in lines:
        out.print(line, soft_wrap=True)


def progress(what: str) -> Callable[[int, int], None]:
    """Says what is done, and tells some times how far it is."""
    say(what)
    started = time.perf_counter()
    told = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told
        share = done / max(1, total)
        if done == total or share - told >= 0.2:
            told = share
            say(f"  {done}/{total}, {time.perf_counter() - started:.0f} s")

    return tell


@contextlib.contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal; elsewhere, nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as shown:
        task = shown.add_task(what)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def say(text: str) -> None:
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)
