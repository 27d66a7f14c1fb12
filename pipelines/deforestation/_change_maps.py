"""Forest and cleared land of one date, by a mapper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.core import windows
from fieldsight.pipelines.deforestation import _change_rule, _map, _map_model

if TYPE_CHECKING:
    from fieldsight.datasets.scenes import Scene
    from fieldsight.pipelines.deforestation._change_rule import Classes
    from fieldsight.pipelines.deforestation._map_model import MapModel

Array = NDArray[Any]
Slices = tuple[slice, slice]


def of_classes(probabilities: Array, classes: Classes) -> tuple[Array, Array]:
    """Probabilities of forest and of cleared land, of those of all classes.

    Args:
        probabilities: `(rows, columns, classes)` float32, NaN where there are no data.
        classes: which channels are which.

    Returns:
        Two of `(rows, columns)` float32, 0 where there are no data.
    """
    known = np.nan_to_num(probabilities)
    return (
        known[..., list(classes.forest)].sum(axis=-1),
        known[..., list(classes.cleared)].sum(axis=-1),
    )


class _Kept:
    """A sink that keeps the probabilities of forest and of cleared land."""

    def __init__(self, shape: tuple[int, ...], model: MapModel) -> None:
        self.model, self.classes = model, _change_rule.classes_of(model.classes)
        self.forest, self.cleared = (np.zeros(shape[:2], np.float32) for _ in range(2))

    def write(self, slices: Slices, piece: Array) -> None:
        """Take a piece of the answer."""
        self.forest[slices], self.cleared[slices] = of_classes(
            self.model.shares(piece), self.classes
        )


def in_memory(scene: Scene, model: MapModel) -> tuple[Array, Array]:
    """Map a scene whose map fits into memory.

    Args:
        scene: any that the model may see.
        model: ready to run.

    Returns:
        `(rows, columns)` float32 probabilities of forest, and of cleared land.

    Raises:
        CommandError: if the scene doesn't fit the model.
    """
    view = _map_model.fitting(scene, model, allow_simulated=True)
    sink = _Kept(view.shape, model)
    windows.predict(
        _map_model.Source(view, model), model.run, window=_map.window_of(model), batch_size=1,
        sink=sink,
    )  # fmt: skip
    return sink.forest, sink.cleared
