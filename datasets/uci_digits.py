"""The UCI test set of handwritten digits that ships with scikit-learn, in MNIST's layout."""

import numpy as np
from PIL import Image

from fieldsight.datasets.sample import LabelledImages

NAME = "uci"
SOURCE = "UCI Machine Learning Repository, Optical Recognition of Handwritten Digits (test set)"
LICENCE = "CC BY 4.0, E. Alpaydin and C. Kaynak, doi:10.24432/C50P49; in scikit-learn (BSD-3)"
COUNT = 1797
CELLS = 8  # each a count, 0 to 16, of the ink's pixels in a block of 4x4
LEVELS = 16
SIDE = 20  # MNIST's digits fill a box of 20x20 ...
PADDING = 4  # ... in a picture of 28x28
RESAMPLING = Image.Resampling.BICUBIC


def load() -> LabelledImages:
    """The 1,797 digits as `(1797, 28, 28)` uint8 pictures, ink 255 on black 0, in file order.

    Writers follow each other in the file: split it in order. A random split puts a writer on
    both sides and flatters a model by 3 to 4 points. The pictures are coarse: 8x8 cells brought
    to 20x20 by bicubic resampling and padded by 4 pixels, so that one model's input fits these
    and MNIST alike; they aren't centred by mass.

    Returns:
        Pictures and labels 0 to 9, named "uci".

    Example:
        >>> digits = load()
        >>> digits.images.shape, digits.labels[:4]
        ((1797, 28, 28), array([0, 1, 2, 3], dtype=uint8))
    """
    # Imported here: scikit-learn takes a second, and settings must be importable at once.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.stack([enlarged(cells) for cells in bunch.images])
    return LabelledImages(images, bunch.target.astype(np.uint8), NAME)


def enlarged(cells: np.ndarray) -> np.ndarray:
    """`(8, 8)` ink counts of 0 to 16 as a `(28, 28)` uint8 picture.

    Resampled in floating point and then rounded, so that no level is lost before.
    """
    grey = Image.fromarray((cells * (255 / LEVELS)).astype(np.float32))
    large = np.asarray(grey.resize((SIDE, SIDE), RESAMPLING))
    return np.pad(np.clip(np.rint(large), 0, 255).astype(np.uint8), PADDING)
