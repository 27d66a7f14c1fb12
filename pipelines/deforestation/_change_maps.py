"""What a mapper says of scenes that fit into memory, each mapped once though asked for twice."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.pipelines.deforestation import _change_rule, _map, _map_model

if TYPE_CHECKING:
    from fieldsight.datasets.scenes import Scene
    from fieldsight.pipelines.deforestation._change_rule import Classes
    from fieldsight.pipelines.deforestation._fields import Field
    from fieldsight.pipelines.deforestation._map_model import MapModel
    from fieldsight.pipelines.deforestation._mapper import Mapper

Array = NDArray[Any]
Slices = tuple[slice, slice]

STEPS = 255  # of a probability that is kept
# Pixels of a side at most: in a large window little is looked at without being asked, but memory
# grows with its square. A simulated scene of a quick training is one window.
WINDOW = 1536
HELD = 2**30  # bytes of maps that are kept; what is beyond them is mapped again
TRIED = 384  # pixels of a side by which the fastest runtime is found: of whole scenes it takes long


def of_classes(
    probabilities: Array, classes: Classes, dry: Array | None = None
) -> tuple[Array, Array]:
    """Probabilities of forest and of cleared land, of those of all classes.

    Args:
        probabilities: `(rows, columns, classes)` float32, NaN where there are no data.
        classes: which channels are which.
        dry: `(rows, columns)` bool, where it can't be open water; None where nothing tells.

    Returns:
        Two of `(rows, columns)` float32, 0 where there are no data.
    """
    known = np.nan_to_num(probabilities)
    return _forest_and_cleared(lambda those: known[..., list(those)].sum(axis=-1), classes, dry)


def _forest_and_cleared(
    share: Callable[[tuple[int, ...]], Array], classes: Classes, dry: Array | None
) -> tuple[Array, Array]:
    """The same two, by whatever answers the probability of some channels together."""
    cleared = share(classes.cleared)
    if dry is not None:
        cleared = cleared + share(classes.water) * dry
    return share(classes.forest), cleared


@dataclasses.dataclass(frozen=True)
class Said:
    """A map in memory.

    Attributes:
        classes: `(rows, columns)` uint8, the likeliest value of each pixel.
        steps: `(rows, columns, classes)` uint8, the probability of each class times `STEPS`.
    """

    classes: Array
    steps: Array

    @property
    def chances(self) -> Array:
        """`(rows, columns)` float32 probability of the likeliest class."""
        return np.asarray(self.steps.max(axis=-1) / np.float32(STEPS), np.float32)

    def of(self, channels: tuple[int, ...]) -> NDArray[np.float32]:
        """`(rows, columns)` float32 probability of some classes together, by channel."""
        total = self.steps[..., list(channels)].sum(axis=-1, dtype=np.uint16)
        return np.asarray(total / np.float32(STEPS), np.float32)


class _Sink:
    def __init__(self, shape: tuple[int, ...], model: MapModel) -> None:
        self.model = model
        self.said = Said(
            np.zeros(shape[:2], np.uint8), np.zeros((*shape[:2], len(model.classes) - 1), np.uint8)
        )

    def write(self, slices: Slices, piece: Array) -> None:
        """Take a piece of the answer."""
        shares = np.nan_to_num(self.model.shares(piece))  # under clouds nothing is said
        self.said.classes[slices] = shares.argmax(axis=-1) + 1
        self.said.steps[slices] = shares * STEPS + 0.5


class Maps:
    """Maps of fields and of their scenes; several threads may ask for them.

    Args:
        mapper: trained; its network as it is now.
    """

    def __init__(self, mapper: Mapper) -> None:
        from fieldsight.datasets.findings import Provenance

        made = Provenance(model="the mapper", simulated=True)
        self.model = _map_model.of_network(mapper.network, mapper.facts, made)
        self._kept: dict[str, Said] = {}
        self._lock = threading.Lock()
        self._tried = False

    def of_field(self, field: Field) -> Said:
        """What the mapper says of a field."""
        return self._said(field.name, field)

    def of_scene(self, scene: Scene, name: str) -> Said:
        """What it says of a scene, or has said of the field of that name that was made of it.

        Raises:
            CommandError: if the scene doesn't fit the model.
        """
        view = _map_model.fitting(scene, self.model, allow_simulated=True)
        return self._said(name, _map_model.Source(view, self.model))

    def forget(self, name: str) -> None:
        """What was said of this one isn't asked for again."""
        with self._lock:
            self._kept.pop(name, None)

    def _said(self, name: str, source: Any) -> Said:
        from fieldsight.core import windows
        from fieldsight.core.windows.geometry import rounded_up

        with self._lock:
            if name in self._kept:
                return self._kept[name]
            if not self._tried and min(source.shape[:2]) >= TRIED:
                rows, columns = ((side - TRIED) // 2 for side in source.shape[:2])
                part = (slice(rows, rows + TRIED), slice(columns, columns + TRIED))
                self.model.run(np.asarray(source.read(part), np.float32)[None])
                self._tried = True
        sink = _Sink(source.shape, self.model)
        margin = max(windows.context_of(getattr(self.model.run, "model")).margin)  # noqa: B009
        whole = rounded_up(max(source.shape[:2]) + 2 * margin, 64)
        window = max(_map.window_of(self.model), min(WINDOW, whole))
        windows.predict(source, self.model.run, window=window, batch_size=1, sink=sink)
        with self._lock:
            held = sum(one.steps.nbytes for one in self._kept.values())
            if held + sink.said.steps.nbytes <= HELD:
                self._kept[name] = sink.said
        return sink.said


def forest_and_cleared(said: Said, names: tuple[str, ...], dry: Array) -> tuple[Array, Array]:
    """Probability of forest, and of cleared land, by the names of a mapper's classes.

    Args:
        said: the map.
        names: by value.
        dry: as `of_classes` has it.
    """
    return _forest_and_cleared(said.of, _change_rule.classes_of(names), dry)
