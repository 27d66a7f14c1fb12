"""What a data set yields: a sample with its place in the world, or a whole set in memory."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture, volume or scene with what is known of it.

    Args:
        image: `(..., channels)`, physical units kept (Hounsfield, digital numbers, uint8 grey).
        target: what is to be learned from it: a label, boxes `xyxy`, a mask; None if unknown.
        name: what its user calls it, such as a file's name.
        group: the independent unit it belongs to (patient, flight, scene, drive): no group
            may lie on two sides of a split.
        geometry: where its pixels lie in the world (spacing, affine, coordinate system).
    """

    image: Array
    target: Any = None
    name: str = ""
    group: str = ""
    geometry: Any = None


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Pictures of one size with a class each, small enough to lie in memory.

    Args:
        images: `(n, ...)`; digits are `(n, 28, 28)` uint8, ink 255 on black 0.
        labels: `(n,)` integers.
        name: the kind of data, such as "mnist" or "uci".

    Raises:
        ValueError: if there isn't one whole-numbered label a picture.

    Example:
        >>> import numpy as np
        >>> pair = LabelledImages(np.zeros((2, 28, 28), "uint8"), np.array([7, 1]), "drawn")
        >>> pair.take([1]).labels
        array([1])
    """

    images: Array
    labels: Array
    name: str

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or len(self.images) != len(self.labels):
            raise ValueError(
                "a label a picture is needed. Received: "
                f"images {self.images.shape}, labels {self.labels.shape}."
            )
        if not np.issubdtype(self.labels.dtype, np.integer):
            raise ValueError(f"labels must be integers. Received: {self.labels.dtype}.")

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256, in hexadecimal, of both arrays' bytes, shapes and dtypes."""
        return digest(self.images, self.labels)

    def take(self, indices: Any) -> "LabelledImages":
        """The pictures at these indices (a list, an array or a slice), in that order."""
        chosen = indices if isinstance(indices, slice) else np.asarray(indices, dtype=np.intp)
        return LabelledImages(self.images[chosen], self.labels[chosen], self.name)


def digest(*arrays: Array) -> str:
    """The sha256, in hexadecimal, of arrays' contents, shapes and dtypes, in this order.

    The same on every machine: bytes are taken little-endian and in C order.
    """
    total = hashlib.sha256()
    for array in arrays:
        plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        total.update(f"{plain.dtype.str}{array.shape};".encode())
        total.update(plain.reshape(-1).view(np.uint8).data)
    return total.hexdigest()
