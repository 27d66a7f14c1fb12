"""The all convolutional net: its size by hand, in two and three dimensions."""

import numpy as np
import pytest

from fieldsight.core.architectures import all_cnn


def test_parameters_by_hand() -> None:
    # Convolutions: 1*9*8 + 8*25*8 + 8*9*16 + 16*9*16 + 16*25*16 + 16*9*32 + 32*9*32 = 25,352;
    # normalisation: 4 numbers a channel of 8 + 8 + 16 + 16 + 16 + 32 + 32 = 128; dense 32*10 + 10.
    assert all_cnn(filters=8).count_params() == 25_352 + 4 * 128 + 330


@pytest.mark.parametrize("shape", [(28, 28, 1), (7, 9, 3), (8, 8, 8, 2)])
def test_output_is_one_logit_per_class(shape: tuple[int, ...]) -> None:
    model = all_cnn(shape, num_classes=7, filters=2)
    assert model(np.zeros((2, *shape), "float32")).shape == (2, 7)


@pytest.mark.parametrize("shape", [(3, 28, 1), (28, 1)])
def test_too_small_a_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Received: input_shape"):
        all_cnn(shape)
