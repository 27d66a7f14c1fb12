"""Thermal frames of 8, 14 or 16 bits in one scale a sequence, hot bright (W-5).

Automatic gain and cameras differ; so a sequence's first frames say where its ground lies, and every
frame of it is brought to 0 to 255 by that. A network is trained on, and answers, what `Scale.apply`
gives: the ground around 127, room on both sides for what is hotter or colder.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fieldsight.datasets.sample import Array

if TYPE_CHECKING:
    from fieldsight.datasets.animals import Frame

Polarity = Literal["hot", "cold", "auto"]
FIRST = 8  # frames of a sequence that its scale is made from


@dataclass(frozen=True)
class Scale:
    """Where a sequence's values lie.

    Args:
        low: the value that becomes 0 (255 if inverted).
        high: the value that becomes 255.
        inverted: whether dark is hot: values are turned so that hot is bright.
    """

    low: float
    high: float
    inverted: bool = False

    def apply(self, image: Array) -> Array:
        """`(rows, columns, 1)` uint8 of a frame `(rows, columns, 1 or 3)` of the sequence."""
        raise NotImplementedError


def is_thermal(image: Array) -> bool:
    """Whether a picture has one channel, or three that are alike."""
    raise NotImplementedError


def scale_of(images: Iterable[Array], *, polarity: Polarity = "hot") -> Scale:
    """The scale of a sequence by its first frames; no more than `FIRST` are taken.

    Args:
        images: `(rows, columns, 1 or 3)` uint8 or uint16.
        polarity: whether bright is hot or cold, or to be guessed: small things that stand out
            are taken for hot.

    Raises:
        ValueError: if there is no frame.
    """
    raise NotImplementedError


def scales(frames: Iterable["Frame"], *, polarity: Polarity = "hot") -> dict[str, Scale]:
    """The scale of each group by its first frames that can be read; without any, none."""
    raise NotImplementedError
