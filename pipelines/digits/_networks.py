"""Networks that read digits, each from raw pictures to logits, with its recipe."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldsight.core.augmentation import affine_matrices, warp
from fieldsight.pipelines._training import Recipe

if TYPE_CHECKING:
    import keras

SIDE = 28


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """The largest random change of a training picture either way; all zero changes nothing."""

    shift_pixels: float = 0.0
    rotation_degrees: float = 0.0
    shear_degrees: float = 0.0
    scale: float = 0.0

    def __call__(self, images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Distort a batch of `(n, 28, 28)` pictures, each in its own way."""
        if self == Distortion():
            return images
        matrices = affine_matrices(
            len(images),
            rng,
            shift_pixels=self.shift_pixels,
            rotation_degrees=self.rotation_degrees,
            shear_degrees=self.shear_degrees,
            scale=self.scale,
        )
        return warp(images, matrices)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one network is trained on one kind of data.

    Chosen on validation data alone (docs/measurements.md); `refit_epochs` more follow on all
    training pictures, the validation ones included, once the choice is made.
    """

    recipe: Recipe
    distortion: Distortion
    refit_epochs: int = 0
    refit_rate: float = 1.0  # the learning rate of those, as a share of the recipe's


_STRONG = Distortion(shift_pixels=2, rotation_degrees=12, shear_degrees=12, scale=0.15)
_MILD = Distortion(shift_pixels=1.5, rotation_degrees=8, shear_degrees=8, scale=0.1)

_MNIST: Mapping[str, Plan] = {
    "lenet5": Plan(
        recipe=Recipe(epochs=24, batch_size=256, learning_rate=3e-3),
        distortion=_STRONG,
        refit_epochs=12,
    ),
    "lenet5-original": Plan(
        recipe=Recipe(epochs=24, batch_size=256, learning_rate=3e-3, rubbish=10.0),
        distortion=_MILD,
        refit_epochs=12,
    ),
    "all-cnn": Plan(
        recipe=Recipe(epochs=6, batch_size=128, learning_rate=3e-3, weight_decay=0.05),
        distortion=_STRONG,
        refit_epochs=13,
    ),
    "mlp": Plan(
        recipe=Recipe(epochs=8, batch_size=256, learning_rate=2e-3), distortion=Distortion()
    ),
}
_FEW: Mapping[str, Plan] = {
    "lenet5": Plan(
        recipe=Recipe(epochs=36, batch_size=32, learning_rate=2e-3),
        distortion=_MILD,
        refit_epochs=12,
    ),
    "lenet5-original": Plan(
        recipe=Recipe(epochs=36, batch_size=32, learning_rate=2e-3),
        distortion=_MILD,
        refit_epochs=12,
    ),
    "all-cnn": Plan(
        recipe=Recipe(epochs=30, batch_size=32, learning_rate=2e-3, weight_decay=0.05),
        distortion=_MILD,
        refit_epochs=10,
    ),
    "mlp": Plan(
        recipe=Recipe(epochs=20, batch_size=32, learning_rate=2e-3), distortion=Distortion()
    ),
}


def plan(network: str, data: str) -> Plan:
    """The plan of a network for a kind of data; a set of a user's own is taken as a small one."""
    return (_MNIST if data == "mnist" else _FEW)[network]


def builder(
    network: str, images: NDArray[np.uint8], *, dense_units: tuple[int, ...] = (128,)
) -> Callable[[], keras.Model]:
    """A function that builds a network on raw pictures, with statistics of `images` inside.

    Args:
        network: its name.
        images: `(n, 28, 28)` uint8 training pictures; nothing else may be looked at.
        dense_units: widths of the dense network's hidden layers.
    """
    # In float64 by counts of the 256 levels: exact, and no copy of all pictures.
    counts = np.bincount(images.reshape(-1), minlength=256) / images.size
    levels = np.arange(256)
    mean = float(counts @ levels)
    deviation = float(np.sqrt(counts @ (levels - mean) ** 2)) or 1.0
    return functools.partial(_build, network, mean, deviation, dense_units)


def _build(
    network: str, mean: float, deviation: float, dense_units: tuple[int, ...]
) -> keras.Model:
    import keras

    from fieldsight.core import architectures

    pixels = keras.Input((SIDE, SIDE), dtype="uint8", name="pictures")
    x = keras.layers.Reshape((SIDE, SIDE, 1), name="one_channel")(pixels)
    if network == "all-cnn":
        body = architectures.all_cnn((SIDE, SIDE, 1), 10)
    elif network == "mlp":
        body = architectures.mlp((SIDE, SIDE, 1), 10, units=dense_units)
    else:
        # MNIST's 28x28 are padded to LeNet's 32x32 with black, never resized.
        x = keras.layers.ZeroPadding2D(2, name="pad_to_32")(x)
        original = network == "lenet5-original"
        body = architectures.lenet5((32, 32, 1), 10, variant="original" if original else "lesson")
    x = keras.layers.Rescaling(1 / deviation, -mean / deviation, name="standardise")(x)
    # `call` runs the layers themselves on x: a flat model, which inspection and describe can
    # walk, where calling the model would nest it as one layer.
    return keras.Model(pixels, body.call(x), name=body.name)


def with_probabilities(model: keras.Model) -> keras.Model:
    """The same network, answering in probabilities: what is saved and served."""
    import keras

    output = keras.layers.Softmax(dtype="float32", name="probabilities")(model.output)
    return keras.Model(model.input, output, name=model.name)
