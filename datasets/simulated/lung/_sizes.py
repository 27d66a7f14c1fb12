"""How large nodules are: LUNA16's 1,186, as quantiles.

Source: annotations.csv of LUNA16 (Setio et al., Medical Image Analysis 42, 2017), column
diameter_mm, CC BY 4.0; made from LIDC-IDRI.
"""

import numpy as np

from fieldsight.datasets.sample import Array

# Quantiles 0, 1/40, 2/40 ... 1 of the diameters, millimetres.
LUNA16_DIAMETERS_MM = (
    3.25, 3.88, 4.09, 4.28, 4.40, 4.52, 4.67, 4.79, 4.90, 4.99,
    5.11, 5.23, 5.31, 5.50, 5.63, 5.74, 5.90, 6.00, 6.17, 6.31,
    6.43, 6.66, 6.87, 7.05, 7.30, 7.72, 7.92, 8.28, 8.72, 9.22,
    9.70, 10.33, 11.07, 12.06, 12.86, 14.00, 15.48, 17.24, 18.95, 21.85,
    32.27,
)  # fmt: skip


def diameters(rng: np.random.Generator, count: int) -> Array:
    """Draw diameters in millimetres, `(count,)` float64."""
    at = np.linspace(0, 1, len(LUNA16_DIAMETERS_MM))
    return np.interp(rng.random(count), at, LUNA16_DIAMETERS_MM)
