"""From digital numbers to reflectance by what the product's metadata say (D-12)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fieldsight.datasets.sample import Array

Level = Literal["surface", "top of atmosphere"]


@dataclass(frozen=True)
class Reflectance:
    """reflectance = scale x digital number + offset, band by band.

    Args:
        scale: one a band, in the scene's order.
        offset: one a band.
        level: of the surface, or of the top of the atmosphere: the two aren't compared.
        source: where the numbers come from, for reports.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    level: Level = "surface"
    source: str = ""

    def of(self, array: Array) -> Array:
        """Reflectance, float32, of `(..., bands)` digital numbers; 1 is all of the light.

        Example:
            >>> numbers = np.array([[1000, 3500]], "uint16")
            >>> Reflectance((1e-4, 1e-4), (-0.1, -0.1)).of(numbers)
            array([[0.  , 0.25]], dtype=float32)
        """
        scale = np.array(self.scale, "float32")
        # The offset first, in digital numbers, so that what is 0 by the metadata is 0 exactly.
        values = np.add(
            array, np.array(self.offset) / self.scale, dtype="float32", casting="unsafe"
        )
        values *= scale
        return values

    def select(self, indices: Sequence[int]) -> "Reflectance":
        """Of these bands, in this order."""
        return Reflectance(
            tuple(self.scale[index] for index in indices),
            tuple(self.offset[index] for index in indices),
            self.level,
            self.source,
        )
