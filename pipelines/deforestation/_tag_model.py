"""A saved tagger, ready to answer: its network on the fastest runtime, its bands and thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.planet import TAGS, Product
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation._tag_scores import Thresholds

if TYPE_CHECKING:
    from fieldsight.datasets.planet import ChipSet
    from fieldsight.pipelines._models import ModelFile

Array = NDArray[Any]

APPLICATION = "deforestation-tags"  # of the card, for `_tracking.find_model`
MAKE_WITH = "fieldsight deforestation train --data DIR (or make deforestation, of simulated chips)"
SIMULATED = ("simulated-quick", "simulated-full", "simulated")  # data that no real model has seen


@dataclasses.dataclass(frozen=True)
class TagModel:
    """What answers chips.

    Attributes:
        run: from `(n, 256, 256, bands)` float32 to `(n, 17)` probabilities.
        bands: that it takes, in its order.
        product: "tif" or "jpg": of which chips it was trained (D-3).
        thresholds: from which a tag is given.
        averaged: whether they were chosen for answers over the eight symmetries.
    """

    run: Callable[[Array], Array]
    bands: tuple[str, ...]
    product: str
    thresholds: Thresholds
    averaged: bool


def load(found: ModelFile) -> TagModel:
    """The tagger of a model's file.

    Raises:
        CommandError: if the file isn't of such a model.
    """
    from fieldsight.core.runtime import predictor
    from fieldsight.pipelines._models import load_model

    product_of(found)
    facts = found.card.facts
    return TagModel(
        predictor(load_model(found.path)),
        tuple(facts["bands"]),
        str(facts["product"]),
        Thresholds(tuple(facts["thresholds"])),
        bool(facts.get("averaged", False)),
    )


def product_of(found: ModelFile) -> Product:
    """Of which chips a model was trained.

    Raises:
        CommandError: if its card isn't a tagger's.
    """
    facts = found.card.facts
    if tuple(facts.get("tags", ())) != TAGS or not {"thresholds", "product", "bands"} <= set(facts):
        raise CommandError(
            f"a tagger of the competition's {len(TAGS)} tags was needed. Received: {found.title}. "
            f"{MAKE_WITH} makes one."
        )
    return "jpg" if facts["product"] == "jpg" else "tif"


def order_of(chips: ChipSet, found: ModelFile) -> list[int]:
    """Which of the chips' bands are the model's, in its order (D-1).

    Raises:
        CommandError: if the chips are of another product (D-3), or lack a band.
    """
    facts = found.card.facts
    if chips.product != facts["product"]:
        raise CommandError(
            f"{facts['product']} chips were needed, of which {found.title} was trained. Received: "
            f"{chips.product} chips, which is another product. Give those, or another --model."
        )
    missing = [band for band in facts["bands"] if band not in chips.bands]
    if missing:
        raise CommandError(
            f"chips with the bands {', '.join(facts['bands'])} were needed, for {found.title}. "
            f"Received: {', '.join(chips.bands)}. Name them with --bands if they are there under "
            "other names, or give another --model."
        )
    return [chips.bands.index(band) for band in facts["bands"]]


def refuse_simulated(found: ModelFile, *, simulated: bool, allowed: bool) -> None:
    """A model of simulated chips alone answers of real ones only if it is asked to (C-10).

    Raises:
        CommandError: if the chips are real, the model isn't, and it wasn't allowed.
    """
    if found.card.simulated and not simulated and not allowed:
        raise CommandError(
            f"a model trained on real chips was needed. Received: {found.title}. Give "
            "--allow-simulated to use it all the same, and the output will say so; or --model for "
            "another."
        )


def provenance(found: ModelFile) -> dict[str, object]:
    """What every output says of the model (C-10)."""
    return {
        "model": found.title,
        "trained_on": found.card.data,
        "simulated": found.card.simulated,
        "limits": found.card.limits,
    }


class InOrder:
    """Pixels with the bands that the model takes, in its order.

    Args:
        pixels: `(n, rows, columns, bands)`, an array or what is indexed as one.
        order: of the bands.
    """

    def __init__(self, pixels: Any, order: list[int]) -> None:
        self.pixels, self.order = pixels, order

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, chosen: Any) -> Array:
        return np.asarray(self.pixels[chosen])[..., self.order]
