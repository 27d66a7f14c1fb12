"""Simulated thermal flights over African parks, from a seed, in BIRDSAI's layout; and mosaics.

An instrument, not a prop: the default seed and difficulty were fixed before any network was
trained on them, and stay. What is changed changes `VERSION`. Checked against a real thermal frame
in tests/datasets/test_simulated_wildlife_realism.py.

What makes it hard: at dusk stones and termite mounds are as warm as animals, and at night they
still are warmer than grass; so are trunks that lie, leaves and the places where animals lay. In
every third flight warm is dark. Gain and offset drift, a shutter resets them once, corners are
darker, leaves hide. Shape, sharpness, and the warm soil about what has been warm for long tell
them apart.

Its folders are TrainSimulation and TestSimulation: what a computer drew is called so, and a side
is told by the name's start. `birdsai.VEHICLE` is this simulator's own species.
"""

from fieldsight.datasets.simulated._writing import MANIFEST
from fieldsight.datasets.simulated.wildlife._layout import write
from fieldsight.datasets.simulated.wildlife._plan import RATE_HZ
from fieldsight.datasets.simulated.wildlife._species import VERSION, Detail, Setting

DEFAULT_SEED = 0

__all__ = ["DEFAULT_SEED", "MANIFEST", "RATE_HZ", "VERSION", "Detail", "Setting", "write"]
