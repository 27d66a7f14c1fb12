"""The mapper: core's U-Net, that says of each pixel of a scene what covers the ground."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import special

from fieldsight.core import windows
from fieldsight.core.architectures import unet
from fieldsight.core.losses import place_crossentropy
from fieldsight.core.metrics import fit_temperature
from fieldsight.core.runtime import predictor
from fieldsight.core.windows.geometry import rounded_up
from fieldsight.pipelines import _training
from fieldsight.pipelines._drawn import Batches
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._training import Recipe
from fieldsight.pipelines.deforestation._fields import Field, Slices
from fieldsight.pipelines.deforestation._windows import SYMMETRIES, Windows, grid_of

Array = NDArray[Any]
OnEpoch = Callable[[int, Mapping[str, float]], None]

APPLICATION = "deforestation-map"  # of the card, for `_tracking.find_model`
OFFSET = 21_000_063  # of the seed: the tagger's is another
# Of the normalisation's running statistics: a share of all steps, and what a step changes of them.
SETTLED, FORGOTTEN = 8, (0.05, 0.2)
POWER = 0.25  # of how often a class is drawn, by which a pixel of it weighs less
MEASURED = 200_000  # pixels of a field at most for statistics, of all for the temperature
TEMPERATURES = (0.5, 10.0)
CALIBRATED = 16  # windows at once
EXACT = 1e-2  # of the logits' range: the map is of classes
WINDOW = 768  # pixels of a side that are mapped at once, the margin included


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapRecipe:
    """How a mapper is made.

    Attributes:
        window: pixels of a side that it learns from, a multiple of 2^depth.
        filters: of the first level.
        depth: how often the map is halved.
        dropout: share of the deepest maps' channels.
        steps: batches an epoch.
        followed: windows of validation at most that are scored after each epoch.
        band_dropout: share of the bands, so that no one date or band decides.
        training: epochs, batches, rate and seed.
    """

    window: int = 64
    filters: int = 16
    depth: int = 4
    dropout: float = 0.0
    band_dropout: float = 0.0
    steps: int = 40
    followed: int = 192
    training: Recipe


# Small windows and many of them: of large ones a batch shows few places, so that learning takes
# longer, and the statistics by which it is normalised are those of one scene or two.
QUICK = MapRecipe(
    training=Recipe(epochs=30, batch_size=32, learning_rate=4e-3, weight_decay=1e-3),
)
FULL = MapRecipe(
    filters=24,
    steps=160,
    followed=800,
    training=Recipe(epochs=40, batch_size=32, learning_rate=3e-3, weight_decay=1e-3),
)
# Of a person's own labels: polygons are small, and what lies around them isn't labelled.
LEARN = MapRecipe(
    window=32,
    depth=2,
    dropout=0.4,
    steps=24,
    followed=200,
    training=Recipe(epochs=30, batch_size=16, learning_rate=2e-3, weight_decay=1e-2),
)


@dataclasses.dataclass(frozen=True)
class Mapper:
    """A trained mapper and what must be known to use it.

    Attributes:
        network: from `(n, rows, columns, bands)` float32 in `units`, sides multiples of
            2^depth, to `(n, rows, columns, len(classes) - 1)` calibrated logits: channel
            k is the class of value k + 1; 0 is nodata.
        facts: for the card: bands, units, ground_sampling_distance_m, classes, window, output
            ("logits"), stride, trained_on.
        history: losses by epoch.
        temperature: by which the logits were divided already, chosen on validation.
    """

    network: keras.Model
    facts: Mapping[str, Any]
    history: Mapping[str, list[float]]
    temperature: float


def scaled(recipe: MapRecipe, epochs: float, seed: int) -> MapRecipe:
    """A recipe of so many times its training, with a seed of its own."""
    training = recipe.training
    count = max(1, round(training.epochs * epochs))
    # Beneath one epoch, epochs are shortened: a trial of a few steps.
    share = min(1.0, epochs * training.epochs)
    return dataclasses.replace(
        recipe,
        steps=max(1, round(recipe.steps * share)),
        training=dataclasses.replace(training, epochs=count, seed=seed + OFFSET),
    )


def build(
    recipe: MapRecipe, bands: int, num_classes: int, mean: Array, variance: Array
) -> keras.Model:
    """Core's U-Net behind a normalisation by the training split's statistics (D-2, C-5).

    Args:
        recipe: of its size.
        bands: that it sees.
        num_classes: that it tells apart.
        mean: `(bands,)`.
        variance: `(bands,)`.

    Returns:
        An uncompiled model from `(n, rows, columns, bands)` float32, sides multiples of
        2^depth, to `(n, rows, columns, num_classes)` logits.
    """
    inputs = keras.Input((None, None, bands), name="bands")
    # In float32 whatever the rest computes in: digital numbers have more digits than bfloat16.
    x = keras.layers.Normalization(
        mean=mean.tolist(), variance=variance.tolist(), dtype="float32", name="statistics"
    )(inputs)
    # Clouds are forty deviations from the ground: left as they are, they alone would be heard.
    x = keras.layers.Activation("softsign", dtype="float32", name="bounded")(x)
    if recipe.band_dropout:
        x = keras.layers.SpatialDropout2D(recipe.band_dropout, name="bands_dropout")(x)
    body = unet(
        (None, None, bands), num_classes, filters=recipe.filters, depth=recipe.depth,
        normalization=True, dropout=recipe.dropout,
    )  # fmt: skip
    steps = recipe.steps * recipe.training.epochs
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Scenes differ more than the few of a batch tell: the running statistics that mapping
            # uses are of many batches, but for a short training of its end.
            layer.momentum = 1 - float(np.clip(SETTLED / steps, *FORGOTTEN))
    return keras.Model(inputs, body(x), name="mapper")


def statistics(fields: Sequence[Field], seed: int = 0) -> tuple[Array, Array]:
    """Mean and variance of each band over labelled pixels, nothing else (D-2, D-4).

    Args:
        fields: the training split's.
        seed: of the pixels that are taken, where there are many.

    Returns:
        `(bands,)` and `(bands,)` float64.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for field in fields:
        found = np.flatnonzero(np.asarray(field.labels))
        if len(found) > MEASURED:
            found = np.sort(rng.choice(found, MEASURED, replace=False))
        parts.append(pixels(field, np.column_stack(np.unravel_index(found, field.labels.shape))))
    values = np.concatenate(parts).astype(np.float64)
    # A band that never changes says nothing, and is no reason to divide by zero.
    variance = values.var(axis=0)
    return values.mean(axis=0), np.where(variance > 0, variance, 1.0)


def pixels(field: Field, places: Array) -> Array:
    """`(n, bands)` float32 of a field's pixels in its units, by `(n, 2)` row and column."""
    row, column = places.T
    return field.in_units(field.image[row, column])


def class_weights(draw: Windows) -> tuple[float, ...]:
    """How much a pixel of each class counts, 1 in the mean: rare ones more.

    Args:
        draw: what is learned from.
    """
    shares = draw.shares
    # One that isn't there weighs nothing whatever its weight, and isn't shifted by it later.
    weights = np.where(shares > 0, np.maximum(shares, 1e-6) ** -POWER, 1.0)
    return tuple((weights / (weights * shares).sum()).tolist())


def loss(target: Any, logits: Any, weights: Sequence[float] | None = None) -> Any:
    """Cross-entropy of labelled pixels.

    Args:
        target: `(n, rows, columns)` classes from 0, -1 where ignored (D-4).
        logits: `(n, rows, columns, classes)`.
        weights: one a class.

    Returns:
        `(n,)`.
    """
    return place_crossentropy(target, logits, class_weights=weights)


def train(
    fields: Sequence[Field],
    val: Sequence[Field],
    recipe: MapRecipe,
    folder: Path,
    on_epoch: OnEpoch | None = None,
    *,
    quiet: bool = False,
) -> Mapper:
    """Train a mapper, going on from the last finished epoch in `folder`, and calibrate it.

    Args:
        fields: to learn from; all of the same bands, units and classes.
        val: to choose the best epoch and the temperature by.
        recipe: how.
        folder: of the checkpoint.
        on_epoch: told the epoch and its metrics.
        quiet: no progress bar.

    Raises:
        CommandError: if there is nothing labelled to learn from or to choose by.
    """
    first = _checked([*fields, *val])
    for side, some in (("learn from", fields), ("choose by", val)):
        if not any(np.any(field.labels) for field in some):
            raise CommandError(
                f"labelled pixels to {side} were needed. Received: none, of {len(some)} scenes."
            )
    training = recipe.training
    build_it = functools.partial(
        build, recipe, len(first.bands), len(first.classes) - 1, *statistics(fields)
    )
    keras.utils.set_random_seed(training.seed)
    network = build_it()
    labelled = [field for field in fields if np.any(field.labels)]
    draw = Windows(labelled, window=recipe.window, batch_size=training.batch_size,
                   seed=training.seed)  # fmt: skip
    weights = class_weights(draw)
    network.compile(
        _training.optimizer(training, recipe.steps), functools.partial(loss, weights=weights),
        steps_per_execution=_training.steps_an_execution(recipe.steps),
    )  # fmt: skip
    followed = grid_of(val, recipe.window, recipe.followed, training.seed)
    fitted = _training.fit(
        network, Batches(draw, recipe.steps, training.seed), training, validation=followed,
        folder=folder, resume=True, monitor="val_loss", on_epoch=on_epoch, quiet=quiet,
        validation_batch_size=training.batch_size,
    )  # fmt: skip
    saved = _training.in_policy("float32", network, build_it)
    _unweigh(saved, weights)
    temperature = _calibrate(saved, *followed, training.seed)
    return Mapper(saved, _facts(first, fields, recipe), fitted.history, temperature)


def _checked(fields: Sequence[Field]) -> Field:
    """The first of fields that are alike in all that a network must know."""
    if not fields:
        raise CommandError("labelled scenes were needed to train a mapper. Received: none.")
    first = fields[0]
    for field in fields:
        for what in ("bands", "units", "classes"):
            if getattr(field, what) != getattr(first, what):
                raise CommandError(
                    f"scenes of the same {what} were needed. Received: {first.name} with "
                    f"{getattr(first, what)}, and {field.name} with {getattr(field, what)}."
                )
    return first


def _facts(first: Field, fields: Sequence[Field], recipe: MapRecipe) -> dict[str, Any]:
    return {
        "task": "map",
        "bands": list(first.bands),
        "units": first.units,
        "dtype": str(first.image.dtype),
        "ground_sampling_distance_m": first.ground_sampling_distance_m,
        "classes": list(first.classes),
        "window": recipe.window,
        "stride": 2**recipe.depth,
        "filters": recipe.filters,
        "depth": recipe.depth,
        "output": "logits",
        "simulated": all(field.simulated for field in fields),
        "trained_on": sorted({field.group for field in fields}),
    }


def _calibrate(network: keras.Model, images: Array, labels: Array, seed: int) -> float:
    """Divide the logits by the temperature that makes validation's probabilities honest."""
    logits = network.predict(images, batch_size=CALIBRATED, verbose=0)
    known = labels >= 0
    found, true = logits[known], labels[known]
    if len(true) > MEASURED:
        chosen = np.random.default_rng(seed).choice(len(true), MEASURED, replace=False)
        found, true = found[chosen], true[chosen]
    # So few pixels may all be right that no temperature is too small: the ends are ours.
    temperature = float(np.clip(fit_temperature(found, true), *TEMPERATURES))
    last = network.get_layer("unet").get_layer("logits")
    last.set_weights([weights / temperature for weights in last.get_weights()])
    return temperature


def _unweigh(network: keras.Model, weights: Sequence[float]) -> None:
    """Take from the logits what the weights gave rare classes: probabilities mean what they say.

    Reference:
        Menon et al., Long-tail learning via logit adjustment, ICLR 2021, section 4.1.
    """
    last = network.get_layer("unet").get_layer("logits")
    kernel, bias = last.get_weights()
    last.set_weights([kernel, bias - np.log(weights).astype(bias.dtype)])


class _Classes:
    """A sink that keeps the likeliest class of each pixel, and how likely it is."""

    def __init__(self, rows: int, columns: int) -> None:
        self.classes = np.zeros((rows, columns), np.uint8)
        self.chances = np.zeros((rows, columns), np.float16)

    def write(self, slices: Slices, logits: Array) -> None:
        """Take a piece of the answer."""
        self.classes[slices] = logits.argmax(axis=-1) + 1
        self.chances[slices] = special.softmax(logits, axis=-1).max(axis=-1)


def predictor_of(network: keras.Model) -> Any:
    """What runs a mapper fastest here, as exact as a map of classes needs."""
    return predictor(network, tolerance=EXACT)


def classes_of(network: Any, field: Field, *, average: bool = False) -> tuple[Array, Array]:
    """Map a field.

    Args:
        network: a mapper's, or what `predictor_of` made of it.
        field: to map.
        average: over the eight turned and mirrored forms of each window.

    Returns:
        `(rows, columns)` uint8, the likeliest class of each pixel; and `(rows, columns)`
        float16, its probability.
    """
    sink = _Classes(*field.shape[:2])
    run = averaged(network) if average else network
    windows.predict(field, run, window=_window(network), batch_size=1, sink=sink)
    return sink.classes, sink.chances


def _window(network: Any) -> int:
    """What the model doesn't look beyond fills more of a larger window."""
    context = windows.context_of(getattr(network, "model", network))
    return max(WINDOW, rounded_up(4 * max(context.margin), max(context.stride)))


def averaged(network: Any) -> Any:
    """The mean of a mapper's logits over the eight turned and mirrored forms of a window."""

    class Averaged:
        model = getattr(network, "model", network)

        def __call__(self, images: Array) -> Array:
            run = network.predict_on_batch if isinstance(network, keras.Model) else network
            total = np.zeros((), np.float32)
            for move in SYMMETRIES:
                turned = np.stack([move.image(image) for image in images])
                back = move.inverse()
                total = total + np.stack([back.image(one) for one in np.asarray(run(turned))])
            return np.asarray(total / len(SYMMETRIES), np.float32)

    return Averaged()
