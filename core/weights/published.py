"""Weights trained on ImageNet, as `keras.applications` publishes them, for the builders that match.

They are of VGG-16 and VGG-19, ResNet-50, -101 and -152 with `variant="keras"`, and Inception v3.
Files come from a path, or are fetched and kept where Keras keeps them, so what Keras has fetched
already is used.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.architectures.inception import PUBLISHED_ORDER
from fieldsight.core.weights import legacy_h5
from fieldsight.core.weights.adaptation import adapt_channels, inflate

SOURCE = "https://storage.googleapis.com/tensorflow/keras-applications/"
# Network to its folder there, and the MD5 of its file with the top and of that without.
FILES = {
    "vgg16": ("vgg16", "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": ("vgg19", "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
    "resnet50": ("resnet", "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": ("resnet", "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": ("resnet", "100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "inception_v3": (
        "inception_v3",
        "9a0d58056eeedaa3f26cb7ebd46da564",
        "bcbd6486424b2319ff4ef7d526e38f63",
    ),
}
_CLASSES = 1000

# Ours is called "logits"; ResNet's files were written when Keras said "probs".
_TOPS = ("predictions", "probs")
_HEAD = {"logits", "fc1", "fc2"}
_FIRST = {"block1_conv1", "conv1_conv", f"{PUBLISHED_ORDER[0]}_conv"}
_NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
# A weight of one of these names is of that kind; older files have other names, in the same order.
_KINDS = {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"}

# Inception in 3-D has units along the planes that pictures lack. In a chain they start as the
# identity. Side by side (`_spread` in inception.py, the last of three) they keep their start, and
# what comes after them sees them with weights of zero: places of the published channels.
_CHAINED = re.compile(r".*_7x7(dbl|x3)?_planes\d?_(conv|bn)")
_SIDE = re.compile(r".*_3x3(dbl)?_planes_(conv|bn)")
_FROM_SPREAD = np.r_[0:1088, 1472:2240, 2624:2816]
_SPREAD = 2816


def load_published(
    model: keras.Model, file: str | Path | None = None, *, top: bool = True
) -> list[str]:
    """Fill a model with published weights; all of it or, on any error, nothing.

    Another number of channels is met by `adapt_channels`, a 3-D model by `inflate`. Inception's
    3-D units along the planes, which no picture has, start so that the answer is the published
    network's: as the identity, or unheard by what follows.

    Load into a backbone before it is made a part of something else: layers are shared.

    Args:
        model: of this package's `vgg16`, `vgg19`, `resnet50`, `resnet101`, `resnet152`
            (`variant="keras"`) or `inception_v3`, of any channels, 2-D or 3-D, also with
            `with_preprocessing`.
        file: a legacy HDF5 file of that network, keyed by layer name; fetched unless given.
        top: False leaves the last layer's own start (another number of classes), and Inception's
            auxiliary head. VGG's fc1 and fc2 are then filled where the file has them and they
            fit; the file that is fetched without the top hasn't.

    Returns:
        Names of the layers that have weights and keep their own start.

    Raises:
        ValueError: if the model isn't one of these, or the file isn't of this model: a layer is
            missing or one too many, a weight has another shape, holds no number, or is no HDF5.
        FileNotFoundError: if there is no such file.
        OSError: if it can't be fetched.

    Example:
        >>> from fieldsight.core.architectures.vgg import vgg11
        >>> load_published(vgg11((32, 32, 3), 2))
        Traceback (most recent call last):
        ValueError: no weights are published for vgg11: only for vgg16, vgg19, resnet50, ...
    """
    name = architecture_of(model)
    path = _fetched(model, name, top) if file is None else Path(file)
    with legacy_h5.opened(path) as found:
        stored = _renamed(found, path.name)
        own = _own(model, stored, top)
        new = []
        for layer in _layers_to_fill(model, stored, own, top, path.name):
            new += _matched(layer, stored[layer.name], name, path.name)
        filled = [(variable, _adapted(legacy_h5.values(data), variable)) for variable, data in new]
    layers = _with_weights(model)
    for layer in (layers[n] for n in layers if _CHAINED.fullmatch(n)):
        filled += zip(layer.weights, _identity(layer), strict=True)
    # Only now, when nothing can be wrong any more.
    for variable, value in filled:
        variable.assign(value)
    return [n for n in layers if n in own and not _CHAINED.fullmatch(n)]


def architecture_of(model: keras.Model) -> str:
    """Which network a model is, by its layers, whatever it is called.

    Args:
        model: of this package, flat.

    Returns:
        "inception_v3", or "vgg" or "resnet" and its depth.

    Raises:
        ValueError: if it is none of these.

    Example:
        >>> from fieldsight.core.architectures.vgg import vgg19
        >>> architecture_of(vgg19((32, 32, 3), 2, name="mine"))
        'vgg19'
    """
    names = {layer.name for layer in model.layers}
    if "block1_conv1" in names:
        return f"vgg{sum(bool(re.fullmatch(r'block._conv.', name)) for name in names) + 3}"
    if "conv1_conv" in names:
        # Convolutions of the branches, the first one and the dense layer; not the shortcuts'.
        inner = sum(bool(re.fullmatch(r"conv._block\d+_[123]_conv", name)) for name in names)
        return f"resnet{inner + 2}"
    if f"{PUBLISHED_ORDER[0]}_conv" in names:
        return "inception_v3"
    raise ValueError(
        "a VGG, a ResNet for ImageNet or Inception v3 of fieldsight.core.architectures is needed. "
        f"Received: model {model.name!r}, whose layers have other names"
    )


def _fetched(model: keras.Model, name: str, top: bool) -> Path:
    if name not in FILES:
        raise ValueError(
            f"no weights are published for {name}: only for {', '.join(FILES)}. Received: model "
            f"{model.name!r}"
        )
    _check_variant(_with_weights(model), "what is published")
    logits = _with_weights(model).get("logits")
    if top and logits is not None and logits.units != _CLASSES:
        raise ValueError(
            f"the published top has {_CLASSES} classes. Received: layer 'logits' of "
            f"{logits.units}. top=False leaves the model's own."
        )
    folder, with_top, without = FILES[name]
    part = "" if top else "_notop"
    file = f"{name}_weights_tf_dim_ordering_tf_kernels{part}.h5"
    address = f"{SOURCE}{folder}/{file}"
    digest = with_top if top else without
    try:
        return Path(keras.utils.get_file(file, address, cache_subdir="models", file_hash=digest))
    except Exception as error:  # Keras raises nothing narrower
        raise OSError(
            f"{address} couldn't be fetched ({error}). Fetch it by other means and give its path "
            "as `file`."
        ) from error


def _with_weights(model: keras.Model) -> dict[str, Any]:
    return {layer.name: layer for layer in model.layers if layer.weights}


def _check_variant(layers: Mapping[str, Any], file: str) -> None:
    first = layers.get("conv1_conv")
    if first is not None and not first.use_bias:
        raise ValueError(
            f'{file} is of the ResNet with variant="keras", whose convolutions have biases. '
            "Received: layer 'conv1_conv' without one (variant=\"torchvision\"). Build it with "
            'variant="keras".'
        )


def _renamed(stored: Mapping[str, Any], file: str) -> dict[str, legacy_h5.Weights]:
    """The file's layers by our names."""
    names = {name: "logits" if name in _TOPS else name for name in stored}
    numbered = [found for name in stored if (found := _NUMBERED.fullmatch(name))]
    for kind, suffix in (("conv2d", "conv"), ("batch_normalization", "bn")) if numbered else ():
        # Numbers go on from model to model of one session: only their order counts.
        same = sorted((int(found[2] or 0), found[0]) for found in numbered if found[1] == kind)
        if len(same) != len(PUBLISHED_ORDER):
            raise ValueError(
                f"{file} must have {len(PUBLISHED_ORDER)} layers called {kind}_1, {kind}_2, ... "
                f"Received: {len(same)}"
            )
        for (_, theirs), ours in zip(same, PUBLISHED_ORDER, strict=True):
            names[theirs] = f"{ours}_{suffix}"
    if len(set(names.values())) < len(names):
        raise ValueError(f"{file} has two last layers. Received: {', '.join(stored)}")
    return {names[name]: weights for name, weights in stored.items()}


def _own(model: keras.Model, stored: Mapping[str, legacy_h5.Weights], top: bool) -> set[str]:
    """Names of the layers that the file needn't fill."""
    layers = _with_weights(model)
    own = {name for name in layers if _CHAINED.fullmatch(name) or _SIDE.fullmatch(name)}
    if top:
        return own
    own |= {name for name in layers if name == "logits" or name.startswith("auxiliary")}
    if "fc1" in layers:
        shapes = [tuple(data.shape) for data in stored.get("fc1", {}).values()]
        if shapes != [tuple(variable.shape) for variable in layers["fc1"].weights]:
            own |= {"fc1", "fc2"}
    return own


def _layers_to_fill(
    model: keras.Model,
    stored: Mapping[str, legacy_h5.Weights],
    own: set[str],
    top: bool,
    file: str,
) -> list[Any]:
    layers = _with_weights(model)
    _check_variant(layers, file)
    missing = [name for name in layers if name not in stored and name not in own]
    unknown = [name for name in stored if name not in layers and (top or name not in _HEAD)]
    if missing or unknown:
        hint = " top=False leaves the model's own." if set(missing) & _HEAD else ""
        raise ValueError(
            f"{file} must have the layers of model {model.name!r}. Received: without "
            f"{', '.join(missing) or 'none'}; with, besides, {', '.join(unknown) or 'none'}.{hint}"
        )
    return [layer for name, layer in layers.items() if name not in own]


def _matched(
    layer: Any, weights: legacy_h5.Weights, architecture: str, file: str
) -> list[tuple[Any, Any]]:
    """Each variable of a layer with its dataset, once their shapes are found to agree."""
    variables = layer.weights
    if len(weights) != len(variables):
        raise ValueError(
            f"{file} must have {', '.join(v.name for v in variables)} of layer {layer.name!r}. "
            f"Received: {', '.join(weights)}"
        )
    pairs = []
    for variable, (name, data) in zip(variables, weights.items(), strict=True):
        kind = name.rsplit("/", 1)[-1].removesuffix(":0")
        wanted = _published_shape(layer.name, variable, architecture)
        if (kind in _KINDS and kind != variable.name) or data.shape != wanted:
            hint = " top=False leaves the model's own." if layer.name in _HEAD else ""
            raise ValueError(
                f"{file} must have {variable.name} of shape {wanted} for layer {layer.name!r}. "
                f"Received: {name} of shape {data.shape}.{hint}"
            )
        pairs.append((variable, data))
    return pairs


def _published_shape(layer: str, variable: Any, architecture: str) -> tuple[int, ...]:
    """The shape in the file of what fills a variable."""
    shape = tuple(variable.shape)
    if variable.name != "kernel":
        return shape
    *sides, channels, filters = shape
    if layer in _FIRST:
        channels = 3
    elif architecture == "inception_v3" and channels == _SPREAD:
        channels = len(_FROM_SPREAD)
    return (*sides[-2:], channels, filters)


def _adapted(values: NDArray[np.float32], variable: Any) -> NDArray[np.float32]:
    """Published values for a variable of more or fewer channels, and of one axis more."""
    shape = tuple(variable.shape)
    if values.shape == shape:
        return values
    if values.shape[-2] == len(_FROM_SPREAD) and shape[-2] == _SPREAD:
        wide = np.zeros((*values.shape[:-2], *shape[-2:]), values.dtype)
        wide[..., _FROM_SPREAD, :] = values
        values = wide
    elif values.shape[-2] != shape[-2]:
        values = adapt_channels(values, shape[-2])
    return inflate(values, shape[0]) if len(shape) > values.ndim else values


def _identity(layer: Any) -> list[NDArray[np.float32]]:
    """Weights with which a unit along the planes, after a ReLU, changes nothing."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        kernel = np.zeros(layer.kernel.shape, "float32")
        middle = tuple(side // 2 for side in kernel.shape[:-2])
        kernel[middle] = np.eye(*kernel.shape[-2:])
        return [kernel]
    start = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0}
    # Epsilon is added to the variance, and the root of the sum divides.
    start["moving_variance"] = 1.0 - layer.epsilon
    return [np.full(variable.shape, start[variable.name], "float32") for variable in layer.weights]
