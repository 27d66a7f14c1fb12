"""What a network sees: its filters, feature maps, favourite pictures, Grad-CAM and occlusion.

Every function takes a built functional or Sequential model, flat or with models nested in it
(their layers are named `outer/inner`), of one input, channels last, 1-D to 3-D; a layer that is
used twice answers as `name` and `name#2`. Layers run as in inference. Pictures are what the
model takes: raw uint8 pictures too, because gradients are of a layer's output, not of the input.
"""

from fieldsight.core.inspection.activation import (
    TopImages,
    crops,
    feature_maps,
    filters,
    top_images,
)
from fieldsight.core.inspection.attribution import grad_cam, occlusion
from fieldsight.core.inspection.fields import Field, receptive_field

__all__ = [
    "Field",
    "TopImages",
    "crops",
    "feature_maps",
    "filters",
    "grad_cam",
    "occlusion",
    "receptive_field",
    "top_images",
]
