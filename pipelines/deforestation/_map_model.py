"""A saved mapper, ready to map: its network on the fastest runtime, and what scenes it takes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.findings import Provenance
from fieldsight.datasets.grids import Slices
from fieldsight.datasets.maps.rasters import softmax
from fieldsight.pipelines import _environment
from fieldsight.pipelines._errors import CommandError

if TYPE_CHECKING:
    from fieldsight.datasets.scenes import Scene
    from fieldsight.pipelines._models import ModelFile

Array = NDArray[Any]
Runtime = Literal["auto", "keras", "openvino", "openvino-bf16", "onnxruntime"]

APPLICATION = "deforestation-map"  # of the card, for `_tracking.find_model`
MAKE_WITH = (
    "fieldsight deforestation learn --scene S.tif --labels L.gpkg --field name (or make "
    "deforestation, of simulated scenes)"
)
SIMULATED = ("simulated-quick", "simulated-full", "simulated")  # data that no real model has seen
NEEDED = ("bands", "units", "classes")  # of a card's facts
AS_FINE = 1.25  # times coarser or finer than what it was trained on, at most, a scene may be
DISCLAIMER = (
    "Mapped, not estimated: hectares are counted on the map, with its errors; `fieldsight "
    "deforestation assess` estimates them from a sample that is read by an interpreter."
)


@dataclasses.dataclass(frozen=True)
class MapModel:
    """What maps scenes.

    Attributes:
        run: from `(n, rows, columns, bands)` float32 in `units` to `(n, rows, columns, classes)`
            logits or probabilities; keeps its network as `model`.
        logits: whether it answers logits.
        bands: that it takes, in its order.
        units: "reflectance" or "digital numbers".
        dtype: of the digital numbers that it was trained on; "" where that isn't known, or it sees
            reflectance.
        ground_sampling_distance_m: that it was trained on; None where that isn't known.
        classes: names by value, the first is "nodata"; channel k is the class of value k + 1.
        outlined: values whose regions become polygons.
        provenance: what every output says of it.
        simulated: whether it has seen simulated scenes alone.
        key: changes with the network, for a run that goes on.
    """

    run: Callable[[Array], Any]
    logits: bool
    bands: tuple[str, ...]
    units: str
    dtype: str
    ground_sampling_distance_m: float | None
    classes: tuple[str, ...]
    outlined: tuple[int, ...]
    provenance: Provenance
    simulated: bool
    key: str

    def shares(self, answer: Array) -> Array:
        """Probabilities `(rows, columns, classes)` float32 of what `run` answered; NaN stays."""
        planes = np.array(np.moveaxis(answer, -1, 0), np.float32, order="C")
        if self.logits:
            softmax(planes)
        return np.moveaxis(planes, 0, -1)


def load(found: ModelFile, runtime: Runtime = "auto", *, average: bool = False) -> MapModel:
    """The mapper of a model's file.

    Args:
        found: the file.
        runtime: as `core.runtime.predictor` has it.
        average: over the eight turned and mirrored forms of each window.

    Raises:
        CommandError: if the file isn't of such a model.
    """
    from fieldsight.pipelines._models import load_model

    card = found.card
    missing = [name for name in NEEDED if not card.facts.get(name)]
    if missing:
        raise CommandError(
            f"a mapper whose card states {', '.join(NEEDED)} was needed. Received: {found.title}, "
            f"which lacks {', '.join(missing)}. {MAKE_WITH} makes one."
        )
    made = Provenance(
        model=found.title,
        version=str(found.version or ""),
        trained_on=card.data,
        simulated=card.simulated,
        run=str(found.run_id or card.run_id or ""),
        software=_environment.version("fieldsight") or "unknown",
        disclaimer=DISCLAIMER,
    )
    network = load_model(found.path)
    return of_network(network, card.facts, made, runtime, average=average)


def of_network(
    network: Any,
    facts: Mapping[str, Any],
    provenance: Provenance,
    runtime: Runtime = "auto",
    *,
    average: bool = False,
) -> MapModel:
    """A network in memory as what maps scenes.

    Args:
        network: as `_mapper.Mapper` has it.
        facts: of its card.
        provenance: what outputs say of it.
        runtime: as `core.runtime.predictor` has it.
        average: over the eight turned and mirrored forms of each window.

    Raises:
        CommandError: if facts and network don't fit.
    """
    from fieldsight.core.runtime import predictor
    from fieldsight.pipelines.deforestation import _mapper

    classes = tuple(map(str, facts["classes"]))
    shape = tuple(network.outputs[0].shape)
    bands = tuple(map(str, facts["bands"]))
    if shape[-1] != len(classes) - 1 or network.inputs[0].shape[-1] != len(bands):
        raise CommandError(
            f"a mapper from {len(bands)} bands to {len(classes) - 1} classes was needed, as its "
            f"card says. Received: a network from {tuple(network.inputs[0].shape)} to {shape}. "
            f"{MAKE_WITH} makes one."
        )
    run = predictor(network, runtime, tolerance=_mapper.EXACT)
    side = facts.get("ground_sampling_distance_m")
    return MapModel(
        run=_mapper.averaged(run) if average else run,
        logits=facts.get("output", "logits") == "logits",
        bands=bands,
        units=str(facts["units"]),
        dtype=str(facts.get("dtype", "")) if facts["units"] == "digital numbers" else "",
        ground_sampling_distance_m=None if side is None else float(side),
        classes=classes,
        outlined=_outlined(classes, facts),
        provenance=provenance,
        simulated=provenance.simulated,
        key=f"{_key(network)}{'-averaged' * average}",
    )


def _outlined(classes: tuple[str, ...], facts: Mapping[str, Any]) -> tuple[int, ...]:
    """The values that become polygons: as the card says, or clearings, or all that there are."""
    named = [str(name) for name in facts.get("outlined", ())] or ["clearing"]
    values = tuple(value for value, name in enumerate(classes) if value and name in named)
    return values or tuple(range(1, len(classes)))


def _key(network: Any) -> str:
    digest = hashlib.sha256()
    for weights in network.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()[:16]


def fitting(scene: Scene, model: MapModel, *, allow_simulated: bool) -> Scene:
    """The scene with the bands that a model takes, if it may see it at all (C-10).

    Args:
        scene: any.
        model: that is to map it.
        allow_simulated: whether a model of simulated scenes may map a real one.

    Raises:
        DataError: if the scene has no CRS, or lacks a band.
        CommandError: if it is of other units or another ground sampling distance, or is real and
            the model has seen simulated scenes alone.
    """
    scene.grid.check_georeferenced("a map")
    title = model.provenance.model
    if model.simulated and not scene.simulated and not allow_simulated:
        raise CommandError(
            f"a model trained on real scenes was needed. Received: {title}. Give --allow-simulated "
            "to use it all the same, and every output will say so; or --model for another."
        )
    missing = [band for band in model.bands if band not in scene.bands]
    if missing:
        raise CommandError(
            f"a scene with the bands {', '.join(model.bands)} was needed, for {title}. Received: "
            f"{scene.name} with {', '.join(scene.bands)}. Name them with --bands if they are there "
            "under other names, or give another --model."
        )
    if model.units == "reflectance" and scene.reflectance is None:
        raise CommandError(
            f"a scene whose metadata tell its reflectance was needed, for {title}. Received: "
            f"{scene.name}, whose {scene.dtype} numbers may mean anything. Give the product with "
            "its metadata, or a model of digital numbers."
        )
    if model.dtype and model.dtype != scene.dtype:
        raise CommandError(
            f"a scene of {model.dtype} numbers was needed, of which {title} was trained. Received: "
            f"{scene.name} of {scene.dtype}, whose numbers mean something else. Give the product "
            "that it was trained on, or another --model."
        )
    side, trained = scene.grid.ground_sampling_distance_m, model.ground_sampling_distance_m
    if trained is not None and not 1 / AS_FINE <= side / trained <= AS_FINE:
        raise CommandError(
            f"a scene of about {trained:.4g} m a pixel was needed, of which {title} was trained. "
            f"Received: {scene.name} of {side:.4g} m. Resample it, or give another --model."
        )
    return scene.select(model.bands)


class Source:
    """A scene as a model sees it, a source of `core.windows`.

    Places without data are 0 to it, whatever the file's value for them is; what lies under
    clouds isn't mapped.

    Args:
        scene: with the model's bands alone.
        model: that maps it.
    """

    def __init__(self, scene: Scene, model: MapModel) -> None:
        self.scene, self.shape = scene, scene.shape
        self.reflectance = scene.reflectance if model.units == "reflectance" else None
        self._seen: tuple[Slices, Array] | None = None

    def read(self, slices: Slices) -> Array:
        """`(rows, columns, bands)` in the model's units."""
        piece, valid = self.scene.read_valid(slices)
        lost = ~valid
        if lost.any():
            piece = np.array(piece)
            piece[lost] = 0
        self._seen = slices, valid
        return piece if self.reflectance is None else self.reflectance.of(piece)

    def valid(self, slices: Slices) -> Array:
        """`(rows, columns)` bool: has data, and no cloud above it."""
        place, valid = self._seen or (None, None)
        if valid is None or place != slices:
            valid = self.scene.valid(slices)
        clouds = self.scene.clouds(slices)
        return valid if clouds is None else valid & ~clouds
