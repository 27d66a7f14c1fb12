"""Training data that are drawn as they are asked for, the same again from the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Batches(keras.utils.PyDataset):
    """A data set whose batch `i` of epoch `e` depends on `(seed, e, i)` alone.

    Args:
        draw: from the epoch's and the batch's own generator to a batch, inputs and targets.
        steps: batches an epoch.
        seed: of all that is drawn.
    """

    def __init__(
        self, draw: Callable[[np.random.Generator], tuple[Array, Array]], steps: int, seed: int
    ) -> None:
        super().__init__()
        self.draw, self.steps, self.seed, self.epoch = draw, steps, seed, 0

    def start_epoch(self, epoch: int) -> None:
        """Begin an epoch, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        return self.draw(np.random.default_rng((self.seed, self.epoch, index)))
