"""LeNet's output: how far a vector lies from the code of each class."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

# Figure 3 of the paper, digits 0 to 9, 7 wide and 12 high. The figure is a small picture: these
# are read from it by eye, and readings in circulation differ in one pixel (row 8 of the 3).
_DIGITS = """
.#####. ...##.. .#####. ####### .#####. .#####. ..####. ####### .#####. .#####.
....... ..###.. ....... .....## ....... ....... .##.... .....## ##...## ##..###
..###.. .####.. .#####. ....##. ....... ####### ##..... .....## ##...## ##...##
.##.##. ...##.. ##...## ...##.. .##..## ##..... ##..... ....##. ##...## ##...##
##...## ...##.. #....## ..####. .##..## ##..... ######. ...##.. .#####. ##..###
##...## ...##.. ....##. .....## ###..## .####.. ###..## ...##.. ##...## .######
##...## ...##.. ..###.. .....## ##...## ..####. ##...## ..##... ##...## .....##
##...## ...##.. .##.... .....## ##...## .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ##..### ##...## ###..## ..##... ##...## ....##.
..###.. .###### ####### .#####. .###### .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
"""


def digit_bitmaps() -> np.ndarray:
    """Return the paper's pictures of the ten digits, which its output layer compares with.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition,
        Proceedings of the IEEE 86(11), 1998, figure 3.

    Returns:
        `(10, 12, 7)` float32, +1 where there is ink and -1 elsewhere.

    Example:
        >>> for row in digit_bitmaps()[7]:
        ...     print("".join("#" if ink > 0 else "." for ink in row))
        #######
        .....##
        .....##
        ....##.
        ...##..
        ...##..
        ..##...
        ..##...
        ..##...
        ..##...
        .......
        .......
    """
    rows = [line.split() for line in _DIGITS.split("\n") if line]
    ink = np.array([[list(digit) for digit in row] for row in rows]) == "#"
    return np.where(ink.transpose(1, 0, 2), 1, -1).astype("float32")


@keras.saving.register_keras_serializable(package="fieldsight")
class RadialBasis(keras.layers.Layer):
    """LeNet's output layer: the negative squared distance to the fixed code of each class.

    The nearest code has the greatest output, so the outputs serve as logits. (The paper's
    units give the distance itself, the smaller the better.) Codes aren't trained.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition,
        Proceedings of the IEEE 86(11), 1998, equation 7 and figure 3.

    Args:
        codes: `(classes, length)`, one code for each class; by default the paper's ten
            bitmaps of 7 x 12, flattened row by row.
        **kwargs: what every Keras layer takes (name, dtype).

    Raises:
        ValueError: if codes aren't a matrix, or the input has another length.

    Example:
        >>> layer = RadialBasis(codes=[[1, 1], [-1, 1]])
        >>> layer(np.array([[1.0, 0.0]], "float32")).numpy().tolist()
        [[-1.0, -5.0]]
    """

    def __init__(self, codes: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = digit_bitmaps().reshape(10, -1) if codes is None else codes
        self.codes = np.asarray(given, "float32")
        if self.codes.ndim != 2 or not self.codes.size:
            raise ValueError(
                "codes must have the shape (classes, length). "
                f"Received: codes of shape {self.codes.shape}"
            )
        self.units = len(self.codes)
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: self.codes.shape[1]})

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Keep the codes as weights that aren't trained, so that they are counted and saved."""
        del input_shape  # Checked by the input spec.
        self.centres = self.add_weight(
            name="centres",
            shape=self.codes.shape,
            initializer=lambda shape, dtype: ops.cast(ops.reshape(self.codes, shape), dtype),
            trainable=False,
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Map `(batch, length)` to `(batch, classes)`, zero at best."""
        # The difference itself: |x|^2 - 2xw + |w|^2 would lose digits near a code.
        offsets = ops.expand_dims(inputs, 1) - ops.convert_to_tensor(self.centres)
        return -ops.sum(ops.square(offsets), axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return `(batch, classes)`."""
        return (input_shape[0], self.units)

    def count_connections(self, output_shape: Sequence[int]) -> int:
        """Return the connections of one example: each class to each number, no bias."""
        del output_shape
        return math.prod(self.codes.shape)

    def count_macs(self, output_shape: Sequence[int]) -> int:
        """Return the multiplications of one example: a square for each number of each code."""
        del output_shape
        return math.prod(self.codes.shape)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {**super().get_config(), "codes": self.codes.tolist()}
