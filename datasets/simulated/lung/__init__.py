"""Simulated CT of the chest, with nodules, from a seed: written as LUNA16's scans are annotated.

An instrument, not a prop: the default seed and difficulty were fixed before any network was
trained on them, and stay. What is changed changes `VERSION`, and with it every patient's UIDs.
Checked against a real scan (lung tissue's Hounsfield units and noise), LUNA16's diameters and
the volume of real lungs in tests/datasets/test_simulated_lung_realism.py.
"""

from fieldsight.datasets.simulated._writing import MANIFEST
from fieldsight.datasets.simulated.lung._layout import MASK, write
from fieldsight.datasets.simulated.lung._patient import VERSION, Patient, patient
from fieldsight.datasets.simulated.lung._scanner import Detail, Setting

DEFAULT_SEED = 0

__all__ = [
    "DEFAULT_SEED",
    "MANIFEST",
    "MASK",
    "VERSION",
    "Detail",
    "Patient",
    "Setting",
    "patient",
    "write",
]
