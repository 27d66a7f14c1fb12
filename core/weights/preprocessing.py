"""What published networks were shown: pixels from 0 to 255, made into what the weights expect."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fieldsight.core.weights.published import architecture_of

# Of ImageNet's training pictures, from 0 to 255: blue, green, red.
_MEANS = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable(package="fieldsight")
class TakeChannels(keras.layers.Layer):
    """The channels of a picture or volume in another order, or some of them.

    Args:
        order: which of the input's channels each of the output's is.
        **kwargs: what every Keras layer takes (name, dtype).

    Example:
        >>> layer = TakeChannels([2, 1, 0])
        >>> keras.ops.convert_to_numpy(layer(keras.ops.arange(3.0)[None])).tolist()
        [[2.0, 1.0, 0.0]]
    """

    def __init__(self, order: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.order = [int(channel) for channel in order]

    def call(self, inputs: Any) -> Any:
        """Map `(..., channels)` to `(..., len(order))`."""
        return ops.take(inputs, self.order, axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the input's shape with so many channels."""
        return (*input_shape[:-1], len(self.order))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds it."""
        return {**super().get_config(), "order": self.order}


def with_preprocessing(model: keras.Model) -> keras.Model:
    """The same layers, from raw pixels on: what `keras.applications` does before its networks.

    VGG and ResNet were trained on blue, green and red minus their means over ImageNet; Inception
    on values from -1 to 1. The first three channels are red, green and blue. More of them are
    taken as further threes: each three that is whole is turned to blue, green, red, and each
    channel has the mean of the colour whose kernel `load_published` gives it, so that a grey
    picture answers as it did in three channels. One or two channels have the mean of the means.

    It comes last: `get_layer(...).output` of a shared layer is that of `model`, so features are
    taken out of `model` first.

    Args:
        model: VGG, ResNet for ImageNet or Inception v3 of this package, with any channels, 2-D
            or 3-D.

    Returns:
        A flat model that shares the layers of `model`, from `(batch, *sides, channels)` pixels
        from 0 to 255, of any dtype, to its outputs; preprocessing is in float32 whatever the rest
        computes in.

    Raises:
        ValueError: if the model is none of these.

    Example:
        >>> from fieldsight.core.architectures.vgg import vgg11
        >>> model = with_preprocessing(vgg11((32, 32, 3), 2))
        >>> [layer.name for layer in model.layers[:4]]
        ['pixels', 'blue_green_red', 'minus_means', 'block1_conv1']
    """
    name = architecture_of(model)
    channels = model.input_shape[-1]
    x = pixels = keras.Input(model.input_shape[1:], dtype="float32", name="pixels")
    if name == "inception_v3":
        layer = keras.layers.Rescaling(1 / 127.5, -1.0, dtype="float32", name="minus_one_to_one")
        return keras.Model(pixels, model.call(layer(x)), name=model.name)
    if channels >= 3:
        whole = channels - channels % 3
        order = [i + 2 - 2 * (i % 3) if i < whole else i for i in range(channels)]
        x = TakeChannels(order, dtype="float32", name="blue_green_red")(x)
        means = [_MEANS[i % 3] for i in range(channels)]
    else:
        means = [sum(_MEANS) / 3] * channels
    offset = [-mean for mean in means]
    x = keras.layers.Rescaling(1.0, offset, dtype="float32", name="minus_means")(x)
    # `call` runs the layers themselves on x: a flat model, which inspection and describe walk.
    return keras.Model(pixels, model.call(x), name=model.name)
