"""Thermal frames of 8, 14 or 16 bits in one scale a sequence, hot bright (W-5).

Cameras and automatic gain differ; so a sequence's first frames say where its ground lies, and every
frame of it is brought to 0 to 255 by that. A network is trained on, and answers, what `Scale.apply`
gives: the ground around 127, room on both sides for what is hotter or colder.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array

if TYPE_CHECKING:
    from fieldsight.datasets.animals import Frame
    from fieldsight.datasets.frames import Shot

Polarity = Literal["hot", "cold", "auto"]
FIRST = 8  # frames of a sequence that its scale is made from
SAMPLES = 65_536  # values a frame that are looked at

_GROUND = (5.0, 95.0)  # percentiles within which the ground lies, whatever stands on it
_SPREAD = 2.5  # the scale reaches so many times that width from the median
_NARROWEST = 8.0  # values: a ground that is flatter is noise, and isn't stretched further
_BLUR_PX = 15  # wider than what is looked for
_TAIL = 0.2  # percent of pixels that may be things that stand out


@dataclass(frozen=True)
class Scale:
    """Where a sequence's values lie.

    Args:
        low: the value that becomes 0 (255 if inverted).
        high: the value that becomes 255.
        inverted: whether dark is hot: values are turned so that hot is bright.

    Raises:
        ValueError: if high isn't above low.

    Example:
        >>> Scale(7000.0, 8020.0).apply(np.full((1, 1, 1), 7400, np.uint16)).tolist()
        [[[100]]]
    """

    low: float
    high: float
    inverted: bool = False

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ValueError(f"high must be above low. Received: {self.low} and {self.high}.")

    def apply(self, image: Array) -> Array:
        """`(rows, columns, 1)` uint8 of a frame `(rows, columns, 1 or 3)` of the sequence."""
        values = one_channel(image).astype(np.float32)
        values -= self.low
        values *= 255.0 / (self.high - self.low)
        np.clip(np.rint(values, out=values), 0, 255, out=values)
        if self.inverted:
            values = 255 - values
        return values.astype(np.uint8)


def is_thermal(image: Array) -> bool:
    """Whether a picture has one channel, or three that are alike.

    Example:
        >>> is_thermal(np.zeros((4, 4, 3), np.uint8))
        True
        >>> is_thermal(np.full((4, 4, 3), (90, 120, 60), np.uint8))
        False
    """
    if image.shape[-1] == 1:
        return True
    # JPEG's colours are off by a little where grey was stored as RGB.
    some = image[::7, ::7].astype(np.int32)
    apart = some.max(-1) - some.min(-1)
    return bool(np.mean(apart > 2) < 0.001)


def one_channel(image: Array) -> Array:
    """`(rows, columns, 1)` of a thermal frame: of three channels, that are alike, the second."""
    return image if image.shape[-1] == 1 else image[..., 1:2]


def scale_of(images: Iterable[Array], *, polarity: Polarity = "hot") -> Scale:
    """The scale of a sequence by its first frames; no more than `FIRST` are taken.

    The ground's median becomes 127, and its width, from the 5th to the 95th percentile, a fifth of
    the scale: neither a fire nor a herd darkens the rest. 8 bits are scaled as well as 16.

    Args:
        images: `(rows, columns, 1 or 3)` uint8 or uint16.
        polarity: whether bright is hot or cold, or to be guessed: small things that stand out
            are taken for hot.

    Raises:
        ValueError: if there is no frame.
    """
    frames = [one_channel(image)[..., 0] for image in islice(images, FIRST)]
    if not frames:
        raise ValueError("a sequence's scale needs a frame at least. Received: none.")
    values = np.concatenate([_some(frame) for frame in frames])
    first, middle, last = _percentiles(values, (_GROUND[0], 50.0, _GROUND[1]))
    reach = _SPREAD * max(float(last - first), _NARROWEST)
    inverted = polarity == "cold" or (polarity == "auto" and _is_dark_hot(frames))
    return Scale(float(middle) - reach, float(middle) + reach, inverted)


def scales(frames: Iterable["Frame"], *, polarity: Polarity = "hot") -> dict[str, Scale]:
    """The scale of each group by its first frames that can be read; without any, none.

    Args:
        frames: of any groups, in any order; those of one channel, or three that are alike.
        polarity: as `scale_of`'s.
    """
    members: dict[str, list[Frame]] = {}
    for frame in frames:
        members.setdefault(frame.group, []).append(frame)
    found = {}
    for group, listed in members.items():
        listed.sort(key=lambda frame: (frame.index, frame.name))
        first = list(islice(_readable(listed), FIRST))
        if first:
            found[group] = scale_of(first, polarity=polarity)
    return found


def in_scale(shots: Iterable["Shot"], *, polarity: Polarity = "hot") -> Iterator["Shot"]:
    """The frames of an input in its scale; those in colour as they are.

    The first `FIRST` frames are waited for; all later ones are given as they come.

    Args:
        shots: of one input, in their order.
        polarity: as `scale_of`'s.
    """
    rest = iter(shots)
    first = list(islice(rest, FIRST))
    scale = None
    if first and all(is_thermal(shot.image) for shot in first):
        scale = scale_of((shot.image for shot in first), polarity=polarity)
    for shot in chain(first, rest):
        yield shot if scale is None else shot._replace(image=scale.apply(shot.image))


def _readable(frames: Iterable["Frame"]) -> Iterable[Array]:
    for frame in frames:
        try:
            yield frame.read()
        except DataError:
            continue  # whoever reads all of them records it


def _some(frame: Array) -> Array:
    """Values of a frame in even steps, without the places that have none."""
    step = max(1, int(np.sqrt(frame.size / SAMPLES)))
    values = frame[::step, ::step].reshape(-1)
    known = values > 0
    return values[known] if known.mean() > 0.01 else values


def _percentiles(values: Array, of: Sequence[float]) -> NDArray[np.float64]:
    """What `np.percentile` says of whole numbers, by counting instead of sorting them."""
    below = np.cumsum(np.bincount(values))
    places = np.array(of) / 100 * (len(values) - 1)
    low = np.searchsorted(below, np.floor(places), side="right")
    high = np.searchsorted(below, np.ceil(places), side="right")
    return np.asarray(low + (high - low) * (places % 1), np.float64)


def _is_dark_hot(frames: list[Array]) -> bool:
    """Whether what stands out from its surroundings is rather dark than bright."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # a whole flight waits for it
        tails = np.array(list(pool.map(_tails, frames)))
    return bool(-tails[:, 0].sum() > tails[:, 1].sum())


def _tails(frame: Array) -> tuple[float, float]:
    """By how much the darkest and the brightest small things differ from their surroundings."""
    values = frame.astype(np.float32)
    apart = values - ndimage.uniform_filter(values, _BLUR_PX)
    # A quarter of the places shows the tails as well.
    low, high = np.percentile(apart[::2, ::2], (_TAIL, 100 - _TAIL))
    return float(low), float(high)
