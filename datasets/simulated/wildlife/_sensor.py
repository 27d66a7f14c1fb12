"""From warmth to grey levels as an uncooled microbolometer with automatic gain gives them."""

import numpy as np
from scipy import ndimage

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated._fields import grain
from fieldsight.datasets.simulated.wildlife._plan import COLUMNS, RATE_HZ, ROWS, Plan

_MIDDLE = 96.0  # the level that automatic gain brings a frame's middle to
_SLOW = 0.12  # how far it goes at each frame


class Sensor:
    """A flight's sensor: its gain drifts, and its shutter resets it once.

    Args:
        plan: of the flight.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        rng = self._rng = plan.rng(4)
        t = np.arange(plan.frames) / RATE_HZ
        self._gain = plan.levels_a_kelvin * (
            1 + 0.14 * np.sin(2 * np.pi * t / rng.uniform(5, 20) + rng.uniform(0, 6))
        )
        self._drift = 7 * np.sin(2 * np.pi * t / rng.uniform(4, 16) + rng.uniform(0, 6))
        reset = int(rng.uniform(0.2, 0.9) * plan.frames)
        self._gain[reset:] *= rng.uniform(0.8, 1.2)
        self._drift[reset:] += rng.uniform(-14, 14)
        disturbed = int(rng.integers(0, plan.frames))
        self._noisy = range(disturbed, disturbed + 2) if rng.random() < 0.5 else range(0)
        y = (np.arange(ROWS, dtype=np.float32)[:, None] - ROWS / 2) / ROWS
        x = (np.arange(COLUMNS, dtype=np.float32)[None] - COLUMNS / 2) / ROWS
        middle = rng.normal(0, 0.12, 2)
        far = (y - np.float32(middle[0])) ** 2 + (x - np.float32(middle[1])) ** 2
        self._shade = np.float32(-plan.vignette_levels) * far.astype(np.float32)
        lines = rng.standard_normal((1, COLUMNS), np.float32) * np.float32(plan.columns_levels)
        lines = lines + rng.standard_normal((ROWS, 1), np.float32) * np.float32(
            0.5 * plan.columns_levels
        )
        self._shade += lines
        self._level: float | None = None

    def frame(self, kelvin: Array, number: int) -> tuple[Array, bool]:
        """A frame of the flight; they are asked for in their order.

        Args:
            kelvin: `(ROWS, COLUMNS)` float32.
            number: from 0.

        Returns:
            `(ROWS, COLUMNS)` uint8, and whether it is disturbed.
        """
        middle = float(np.median(kelvin[::8, ::8]))
        before = middle if self._level is None else self._level
        self._level = before + _SLOW * (middle - before)
        noisy = number in self._noisy
        gain = np.float32(self._gain[number])
        values = kelvin * gain
        values += np.float32(_MIDDLE + self._drift[number]) - gain * np.float32(self._level)
        values += self._shade
        noise = np.float32(self._plan.noise_levels) * grain(self._rng, values.shape)
        if noisy:
            values = ndimage.uniform_filter1d(values, 7, axis=0)
            noise *= np.float32(2.2)
            noise += np.float32(3) * self._rng.standard_normal((ROWS, 1), np.float32)
        values += noise
        # What is far hotter than the rest is compressed, not clipped.
        over = np.maximum(values - 200, 0)
        values -= over * np.float32(0.5)
        if self._plan.cold:
            values = np.float32(255) - values
        return np.clip(np.rint(values), 0, 255).astype(np.uint8), noisy
