"""Which inputs lie at some paths."""

import os
from collections.abc import Iterable

from fieldsight.datasets.frames.inputs import Inputs


def find(
    paths: Iterable[str | os.PathLike[str]],
    *,
    frames_per_second: float | None = None,
    sequences: bool | None = None,
) -> Inputs:
    """The inputs at these paths; headers are read, and no pixels.

    A folder's pictures are a sequence if their names are alike but for a number that counts on,
    they are of one size, and no camera says that it took each by itself (EXIF); MOTChallenge's
    and BIRDSAI's folders are. A GeoTIFF with a place on the map is an orthomosaic.

    Args:
        paths: pictures, videos, GeoTIFFs, folders with all that lies below them.
        frames_per_second: of sequences whose files don't say.
        sequences: whether folders of numbered pictures are sequences; None decides by the above.

    Raises:
        DatasetNotFoundError: if nothing is there that could be an input.
    """
    raise NotImplementedError
