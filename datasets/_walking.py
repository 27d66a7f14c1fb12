"""Folders below a folder, where links lead in circles or to one place twice."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(
    root: Path,
    *,
    walked: set[str] | None = None,
    leave: Callable[[Path, str], bool] | None = None,
    closed: Callable[[OSError], None] | None = None,
) -> Iterator[tuple[Path, list[str]]]:
    """Yield every folder from a root on with its files' names in order; hidden ones are left out.

    Links are followed, but never back to a folder that leads to them.

    Args:
        root: the first.
        walked: real folders that are not to be looked at again, to which others are added; None
            looks at a folder once for each way that leads to it.
        leave: of a folder, and a name in it, whether what lies below is left out; None keeps all.
        closed: told of folders that can't be read.
    """
    start = root.resolve()
    # Of a folder the real ones that lead to it.
    above = {root: {str(start), *map(str, start.parents)}}
    for here, folders, names in os.walk(root, onerror=closed, followlinks=True):
        current = Path(here)
        leading = above.pop(current)
        if walked is not None:
            real = os.path.realpath(current)
            if real in walked:
                folders.clear()
                continue
            walked.add(real)
        kept = []
        # What lies here itself goes before what a link leads to: its name is the plainer one.
        for name in sorted(folders, key=lambda name: ((Path(here) / name).is_symlink(), name)):
            real = os.path.realpath(current / name)
            left = name.startswith(".") or real in leading
            if left or (leave is not None and leave(current, name)):
                continue
            above[current / name] = leading | {real}
            kept.append(name)
        folders[:] = kept
        yield current, sorted(name for name in names if not name.startswith("."))
