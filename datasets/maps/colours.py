"""The colours of classes, the same in rasters, styles and pictures."""

from __future__ import annotations

from collections.abc import Sequence

Colour = tuple[int, int, int]

NODATA = (0, 0, 0)
BY_NAME: dict[str, Colour] = {
    "forest": (22, 92, 42),
    "tree": (22, 92, 42),
    "clearing": (240, 196, 96),
    "new clearing": (230, 60, 20),
    "water": (38, 110, 196),
    "built": (200, 40, 50),
    "developed": (200, 40, 50),
    "mining": (140, 70, 170),
    "natural open": (176, 200, 120),
    "crop": (240, 196, 96),
    "grassland": (176, 200, 120),
}
# For whatever else there is: eight that people who see few colours tell apart (Okabe and Ito).
OTHERS: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (0, 114, 178), (213, 94, 0),
    (240, 228, 66), (120, 120, 120),
)  # fmt: skip


def of(classes: Sequence[str]) -> tuple[Colour, ...]:
    """A colour for each class; no two of up to eight others share one.

    Args:
        classes: names by value, the first is nodata.

    Example:
        >>> of(("nodata", "forest", "lava"))
        ((0, 0, 0), (22, 92, 42), (230, 159, 0))
    """
    found: list[Colour] = []
    for value, name in enumerate(classes):
        colour = NODATA if value == 0 else BY_NAME.get(name.lower().replace("_", " "))
        if colour is None or (value and colour in found):
            free = [other for other in OTHERS if other not in found]
            colour = free[0] if free else OTHERS[value % len(OTHERS)]
        found.append(colour)
    return tuple(found)
