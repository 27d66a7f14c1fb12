"""The tagger: from a chip's digital numbers to the probability of each tag, in one network.

Preprocessing is inside (C-5), with statistics of the training split (D-2). Exactly one weather
tag is true and a cloudy chip shows no ground (D-8), and the network knows: its weather tags share
one softmax, and what it says of the ground is multiplied by the chance to see it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from fieldsight.core import architectures, blocks
from fieldsight.core.layers import RandomSymmetry
from fieldsight.core.weights import load_published
from fieldsight.datasets.planet import TAGS
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation._tag_scores import CLOUDY, GROUND_AT, WEATHER_AT

Array = NDArray[Any]

SIDE = 256  # pixels of a chip
# Where each of TAGS stands once weather and ground are put one behind the other.
_BACK = [int(i) for i in np.argsort([*WEATHER_AT, *GROUND_AT])]
# By which standardised bands become what the published weights were trained on.
_PUBLISHED_RANGE = {"vgg16": 64.0, "vgg19": 64.0, "resnet50": 64.0, "inception_v3": 0.5}


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Of the logarithms of a training split's digital numbers, by band; no nodata among them."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, chips: Array) -> Statistics:
        """Of chips `(n, rows, columns, bands)` of digital numbers; 0 in every band is nodata."""
        pixels = chips.reshape(-1, chips.shape[-1])
        valid = pixels[np.any(pixels != 0, axis=1)]
        if not len(valid):
            raise CommandError("chips with data were needed to learn from. Received: nodata alone.")
        values = np.log1p(np.maximum(valid, 0).astype(np.float32))
        mean, deviation = values.mean(axis=0, dtype=float), values.std(axis=0, dtype=float)
        return cls(tuple(map(float, mean)), tuple(float(value) or 1.0 for value in deviation))


def tagger(
    backbone: str,
    statistics: Statistics,
    *,
    side: int = SIDE,
    published: bool = False,
    dropout: float = 0.3,
    seed: int = 0,
) -> keras.Model:
    """The network that is trained: it moves its chips by the square's symmetries in training.

    Args:
        backbone: "small", or a function of `core.architectures` by its name.
        statistics: of the training split, one number a band.
        side: pixels of a chip.
        published: whether `fill` will put published weights into it: bands are then brought to
            the range that those have seen.
        dropout: of the small network's features.
        seed: of the symmetries.

    Returns:
        An uncompiled model from `(n, side, side, bands)` digital numbers to `(n, 17)` logits in
        the order of `TAGS`: of exclusive classes among the weather, of a tag on ground that can
        be seen elsewhere.

    Raises:
        CommandError: if no weights are published for that backbone.
    """
    if published and backbone not in _PUBLISHED_RANGE:
        raise CommandError(
            f"--weights: a backbone with published weights ({', '.join(_PUBLISHED_RANGE)}) was "
            f"needed. Received: {backbone}. Leave --weights out to train it anew."
        )
    bands = len(statistics.mean)
    chips = keras.Input((side, side, bands), name="digital_numbers")
    x = RandomSymmetry(seed=seed, name="symmetry")(chips)
    x = _standardised(x, statistics)
    if backbone == "small":
        return keras.Model(chips, _small(x, dropout), name="tagger_small")
    if published:
        scale = _PUBLISHED_RANGE[backbone]
        x = layers.Rescaling(scale, dtype="float32", name="published_range")(x)
    # Published weights are of Keras's variant of the residual networks.
    variant = {"variant": "keras"} if backbone.startswith("resnet") and published else {}
    build: Callable[..., keras.Model] = getattr(architectures, backbone)
    body = build((side, side, bands), len(TAGS), **variant)
    # `call` runs the layers themselves on x: a flat model, which inspection and describe walk.
    return keras.Model(chips, body.call(x), name=f"tagger_{backbone}")


def fill(model: keras.Model, weights: str | Path) -> None:
    """Put published weights into a tagger, adapted to its bands; its last layer keeps its start.

    The published kernels' blue, green and red go to the first three bands, of which Planet's are
    blue, green, red; near infrared shares the first's (`core.weights.adapt_channels`).

    Args:
        model: of `tagger(published=True)`.
        weights: "imagenet" to fetch them, or a .h5 file of them.

    Raises:
        CommandError: if they can't be fetched, or don't fit.
    """
    try:
        load_published(model, None if weights == "imagenet" else weights, top=False)
    except (ValueError, OSError) as error:
        raise CommandError(f"--weights: {error}") from error


def _standardised(x: Any, statistics: Statistics) -> Any:
    """Logarithms, standardised: the differences of dark forest count beside a cloud's."""
    scale = [1 / value for value in statistics.deviation]
    offset = [-m / d for m, d in zip(statistics.mean, statistics.deviation, strict=True)]
    x = layers.ReLU(dtype="float32", name="at_least_zero")(x)
    x = ops.log1p(x)
    return layers.Rescaling(scale, offset, dtype="float32", name="standardise")(x)


def _small(x: Any, dropout: float) -> Any:
    """A residual network of few layers: full resolution is left at once, context comes early."""
    x = _convolved(x, 24, "stem", kernel_size=5, strides=2)
    x = layers.ReLU(name="stem_relu")(x)
    for stage, filters in enumerate((24, 48, 96, 128), 1):
        x = _block(blocks.maximum_pooling(x, name=f"stage{stage}_pool"), filters, f"stage{stage}")
    # What fills a chip tells by its mean; what is small, as a mine or a road, by its maximum.
    pooled = [
        blocks.global_average(x, name="average"),
        layers.GlobalMaxPooling2D(name="most")(x),
    ]
    x = layers.Concatenate(name="features")(pooled)
    return blocks.logits(layers.Dropout(dropout, name="dropout")(x), len(TAGS))


def _block(x: Any, filters: int, name: str) -> Any:
    shortcut = x
    if x.shape[-1] != filters:
        shortcut = _convolved(x, filters, f"{name}_shortcut", kernel_size=1)
    x = _convolved(x, filters, f"{name}_conv1")
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = _convolved(x, filters, f"{name}_conv2")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _convolved(x: Any, filters: int, name: str, *, kernel_size: int = 3, strides: int = 1) -> Any:
    x = blocks.convolution(
        x, filters, kernel_size, strides=strides, use_bias=False, kernel_initializer="he_normal",
        name=name,
    )  # fmt: skip
    # 0.9 and not Keras's 0.99: a short training's statistics must be those of its end.
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)


def with_probabilities(network: keras.Model) -> keras.Model:
    """The same network, answering in probabilities: what is saved and served.

    Returns:
        A model to `(n, 17)` float32 in the order of `TAGS`: the weather's sum to 1, and that of
        a tag on the ground is at most the chance that the chip isn't cloudy (D-8).
    """
    logits = network.output
    weather = ops.softmax(ops.take(logits, WEATHER_AT, axis=-1), axis=-1)
    seen = 1.0 - weather[:, CLOUDY : CLOUDY + 1]
    ground = ops.sigmoid(ops.take(logits, GROUND_AT, axis=-1)) * seen
    together = ops.concatenate([weather, ground], axis=-1)
    return keras.Model(network.input, ops.take(together, _BACK, axis=-1), name=network.name)


class TagLoss(keras.losses.Loss):
    """Cross-entropy of the one weather tag, and of each ground tag where ground can be seen.

    Args:
        smoothing: share of a label's certainty that is given up, for labels have mistakes.
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        super().__init__(name="tags")
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """`(n,)` from `(n, 17)` 0 or 1 and `(n, 17)` logits."""
        true, logits = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        weather = ops.take(true, WEATHER_AT, axis=-1)
        # A few of the competition's chips have no weather tag or two: none counts for nothing.
        count = ops.sum(weather, axis=-1, keepdims=True)
        wanted = weather / ops.maximum(count, 1.0)
        wanted = (1 - self.smoothing) * wanted + self.smoothing / len(WEATHER_AT)
        said = ops.log_softmax(ops.take(logits, WEATHER_AT, axis=-1), axis=-1)
        loss = -ops.sum(wanted * said, axis=-1) * ops.cast(count[:, 0] > 0, "float32")
        ground = ops.take(true, GROUND_AT, axis=-1)
        ground = (1 - self.smoothing) * ground + self.smoothing / 2
        z = ops.take(logits, GROUND_AT, axis=-1)
        # Stable at both ends: max(z, 0) - z t + log(1 + exp(-|z|)).
        binary = ops.relu(z) - z * ground + ops.softplus(-ops.abs(z))
        return loss + ops.sum(binary, axis=-1) * (1 - weather[:, CLOUDY])


def f2(y_true: Any, y_pred: Any) -> Any:
    """F2 of each chip by the likeliest weather and ground tags from 0.2 on: to follow training."""
    true, logits = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    weather = ops.take(logits, WEATHER_AT, axis=-1)
    weather = ops.cast(ops.equal(weather, ops.max(weather, axis=-1, keepdims=True)), "float32")
    ground = ops.cast(ops.take(logits, GROUND_AT, axis=-1) > np.log(0.2 / 0.8), "float32")
    ground *= 1 - weather[:, CLOUDY : CLOUDY + 1]
    found = ops.take(ops.concatenate([weather, ground], axis=-1), _BACK, axis=-1)
    hits = ops.sum(true * found, axis=-1)
    below = ops.sum(found, axis=-1) + 4 * ops.sum(true, axis=-1)
    return 5 * hits / ops.maximum(below, 1.0)
