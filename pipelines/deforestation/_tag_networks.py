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
from fieldsight.core.weights import load_published
from fieldsight.datasets.planet import TAGS
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.deforestation._tag_scores import CLOUDY, GROUND_AT, WEATHER_AT

Array = NDArray[Any]

SIDE = 256  # pixels of a chip
STEM = ((16, 4), (32, 3))  # filters and kernels of the small network's, each at stride 2
STAGES = (64, 96, 128)  # its filters from a map of 32 x 32 on
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
        """Of chips `(n, rows, columns, bands)` uint8 or uint16; 0 in every band is nodata."""
        # Few numbers, of millions of pixels: each is counted, and its logarithm taken once.
        logarithms = np.log1p(np.arange(np.iinfo(chips.dtype).max + 1, dtype=float))
        counts = np.zeros((chips.shape[-1], len(logarithms)))
        for chip in chips:
            valid = chip[chip.any(axis=-1)]
            for band, values in zip(counts, valid.T, strict=True):
                band += np.bincount(values, minlength=len(band))
        pixels = counts[0].sum()
        if not pixels:
            raise CommandError("chips with data were needed to learn from. Received: nodata alone.")
        mean = counts @ logarithms / pixels
        spread = (logarithms - mean[:, None]) ** 2
        deviation = np.sqrt((counts * spread).sum(axis=1) / pixels)
        # A band that never changes says nothing, and is no reason to divide by rounding.
        scale = np.where(deviation > 1e-6, deviation, 1.0)
        return cls(tuple(mean.tolist()), tuple(scale.tolist()))


def tagger(
    backbone: str,
    statistics: Statistics,
    *,
    side: int = SIDE,
    published: bool = False,
    dropout: float = 0.2,
) -> keras.Model:
    """The network from digital numbers to logits.

    Args:
        backbone: "small", or a function of `core.architectures` by its name.
        statistics: of the training split, one number a band.
        side: pixels of a chip.
        published: whether `fill` will put published weights into it: bands are then brought to
            the range that those have seen.
        dropout: of the small network's features.

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
    x = _standardised(chips, statistics)
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
    for number, (filters, kernel_size) in enumerate(STEM, 1):
        x = _convolved(x, filters, f"stem{number}", kernel_size=kernel_size, strides=2)
        x = layers.ReLU(name=f"stem{number}_relu")(x)
    pooled = []
    for stage, filters in enumerate(STAGES, 1):
        x = _block(blocks.maximum_pooling(x, name=f"stage{stage}_pool"), filters, f"stage{stage}")
        if stage > 1:
            # What fills a chip tells by its mean; what is small, as a mine, by its maximum.
            pooled += [
                blocks.global_average(x, name=f"stage{stage}_average"),
                layers.GlobalMaxPooling2D(name=f"stage{stage}_most")(x),
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


def with_cover(network: keras.Model, num_classes: int) -> keras.Model:
    """The small network, telling besides what covers the ground, cell by cell.

    It learns from few chips where a road or a pasture lies, when it is told; from tags alone it
    learns that from many. What is saved and served has the tags alone.

    Args:
        network: of `tagger("small", ...)`.
        num_classes: of the land cover, nodata among them.

    Returns:
        A model to `(n, 17 + m)` logits: the tags', then those of the classes of each cell of
        stage 1, then of stage 2, as `Learned` reads them.
    """
    parts = [network.output]
    for stage in (1, 2):
        x = network.get_layer(f"stage{stage}_out").output
        x = blocks.convolution(x, num_classes, 1, dtype="float32", name=f"stage{stage}_cover")
        parts.append(layers.Flatten(dtype="float32", name=f"stage{stage}_flat")(x))
    together = layers.Concatenate(dtype="float32", name="tags_and_cover")(parts)
    return keras.Model(network.input, together, name=f"{network.name}_and_cover")


class Learned(keras.losses.Loss):
    """Cross-entropy of the one weather tag, and of each ground tag where ground can be seen.

    Args:
        smoothing: share of a label's certainty that is given up, for labels have mistakes.
        num_classes: of the land cover that is learned besides, nodata among them; 0 for none.
        cells: of it along each side of a chip; stage 2 has half as many.
    """

    def __init__(self, smoothing: float = 0.0, num_classes: int = 0, cells: int = 32) -> None:
        super().__init__(name="tags")
        self.smoothing, self.num_classes, self.cells = smoothing, num_classes, cells

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """`(n,)` from `(n, 17 + cells * cells * classes)` 0 or 1 and counts, and logits."""
        true, logits = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        count = len(TAGS)
        loss = self._of_tags(true[:, :count], logits[:, :count])
        if not self.num_classes:
            return loss
        cells, classes = self.cells, self.num_classes
        split = count + cells * cells * classes
        shape, half = (-1, cells, cells, classes), (-1, cells // 2, cells // 2, classes)
        fine = ops.reshape(true[:, count:], shape)
        squares = ops.reshape(fine, (-1, cells // 2, 2, cells // 2, 2, classes))
        coarse = ops.sum(squares, axis=(2, 4))
        loss += _of_cover(fine, ops.reshape(logits[:, count:split], shape))
        return loss + _of_cover(coarse, ops.reshape(logits[:, split:], half))

    def _of_tags(self, true: Any, logits: Any) -> Any:
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


def _of_cover(counts: Any, logits: Any) -> Any:
    """`(n,)` mean cross-entropy over the pixels with a class; 0 where none has."""
    known = counts[..., 1:]
    loss = -ops.sum(known * ops.log_softmax(logits[..., 1:], axis=-1), axis=(1, 2, 3))
    return loss / ops.maximum(ops.sum(known, axis=(1, 2, 3)), 1.0)


def f2(y_true: Any, y_pred: Any) -> Any:
    """F2 of each chip by the likeliest weather and ground tags from 0.2 on: to follow training."""
    count = len(TAGS)
    true = ops.cast(y_true, "float32")[:, :count]
    logits = ops.cast(y_pred, "float32")[:, :count]
    weather = ops.take(logits, WEATHER_AT, axis=-1)
    weather = ops.cast(ops.equal(weather, ops.max(weather, axis=-1, keepdims=True)), "float32")
    ground = ops.cast(ops.take(logits, GROUND_AT, axis=-1) > np.log(0.2 / 0.8), "float32")
    ground *= 1 - weather[:, CLOUDY : CLOUDY + 1]
    found = ops.take(ops.concatenate([weather, ground], axis=-1), _BACK, axis=-1)
    hits = ops.sum(true * found, axis=-1)
    below = ops.sum(found, axis=-1) + 4 * ops.sum(true, axis=-1)
    return 5 * hits / ops.maximum(below, 1.0)
