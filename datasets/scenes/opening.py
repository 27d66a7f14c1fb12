"""Which kind of scene lies at a path."""

from collections.abc import Sequence
from pathlib import Path

from fieldsight.datasets.scenes.scene import Scene


def open_scene(path: str | Path, bands: Sequence[str] | None = None) -> Scene:
    """A scene, whatever its form; nothing but headers is read.

    Args:
        path: a file or a folder.
        bands: of a file, a name for each of its bands in their order; of a folder, those wanted,
            in that order. None takes a file's own names, else Planet's by their number (D-1).

    Raises:
        DatasetNotFoundError: if nothing is there.
        DataError: if it is no scene, is damaged, or its bands can't be named.
    """
    raise NotImplementedError
