"""Planet's chips of the Amazon as Kaggle's competition of 2017 lays them out (D-1, D-3, D-8).

train_v2.csv  train-tif-v2/train_0.tif ...  train-jpg/train_0.jpg ...
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.sample import Array

SOURCE = "https://www.kaggle.com/c/planet-understanding-the-amazon-from-space"
# In order of frequency among the 40,479 chips of train_v2.csv; the spelling is the competition's.
TAGS = (
    "primary", "clear", "agriculture", "road", "water", "partly_cloudy", "cultivation",
    "habitation", "haze", "cloudy", "bare_ground", "selective_logging", "artisinal_mine",
    "blooming", "slash_burn", "conventional_mine", "blow_down",
)  # fmt: skip
WEATHER = ("clear", "partly_cloudy", "haze", "cloudy")
SIDE = 256
BANDS = {"tif": ("blue", "green", "red", "nir"), "jpg": ("red", "green", "blue")}

Product = Literal["tif", "jpg"]


@dataclass(frozen=True, eq=False)
class ChipSet:
    """Chips that were found and whose headers are sound; pixels are read when asked for.

    Attributes:
        names: such as "train_0", in the order of the file of tags or of names.
        tags: `(n, 17)` uint8, 1 where the tag is set; `(0, 17)` where there are no labels.
        groups: `(n,)` str: chips of one group lie on one side of a split (D-7).
        product: "tif" (uint16) or "jpg" (uint8): different products (D-3).
        bands: names, in the order of the last axis.
        simulated: whether they were simulated.
        fingerprint: sha256 of names, tags, sizes and some of the contents.
        failures: why chips and rows were left out, by name.
        notes: what is to be known about all of them, a sentence each.
        paths: the files.
    """

    names: tuple[str, ...]
    tags: Array
    groups: Array
    product: Product
    bands: tuple[str, ...]
    simulated: bool
    fingerprint: str
    failures: Mapping[str, str]
    notes: tuple[str, ...] = ()
    paths: tuple[Path, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)

    def read(self, indices: Sequence[int] | Array) -> Array:
        """`(n, 256, 256, bands)` in the files' own dtype.

        Raises:
            DataError: if one can't be read; `failures` has what headers tell.
        """
        raise NotImplementedError


def load(folder: str | Path, product: Product | None = None) -> ChipSet:
    """The labelled chips of a folder.

    Args:
        folder: has train_v2.csv (or train.csv), and train-tif-v2 or train-jpg.
        product: which of both; None takes TIFFs where they are there.

    Raises:
        DatasetNotFoundError: if there is no such folder or file.
        DataError: if no chip has a row and no row a chip.
    """
    raise NotImplementedError


def find(paths: Iterable[str | Path], product: Product | None = None) -> ChipSet:
    """Chips without labels: files, and folders with all that lies in them.

    Raises:
        DatasetNotFoundError: if there is none.
    """
    raise NotImplementedError


def write_submission(path: str | Path, names: Sequence[str], tags: Array) -> None:
    """Write image_name,tags as the competition takes it; the tags of a chip joined by blanks.

    Args:
        path: of the CSV.
        names: such as "test_0".
        tags: `(n, 17)` True where set.

    Raises:
        ValueError: if there aren't 17 tags a name.
        OSError: if it can't be written.
    """
    chosen = np.asarray(tags).astype(bool)
    if chosen.shape != (len(names), len(TAGS)):
        raise ValueError(
            f"tags of {(len(names), len(TAGS))} were needed. Received: {chosen.shape}."
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_name", "tags"])
    for name, row in zip(names, chosen, strict=True):
        writer.writerow([name, " ".join(tag for tag, on in zip(TAGS, row, strict=True) if on)])
    write_atomically(Path(path), text.getvalue().encode())
