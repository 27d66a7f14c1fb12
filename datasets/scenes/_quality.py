"""Masks that a product brings in files of its own."""

from dataclasses import dataclass

from fieldsight.datasets.scenes._layers import Mask
from fieldsight.datasets.scenes._rasters import Pixels


@dataclass(frozen=True)
class Quality:
    """What a product's quality file tells; empty where there is none.

    Args:
        masks: each True where there are data.
        clouds: True under clouds and their shadows.
        files: to be closed with the scene.
    """

    masks: tuple[Mask, ...] = ()
    clouds: Mask | None = None
    files: tuple[Pixels, ...] = ()
