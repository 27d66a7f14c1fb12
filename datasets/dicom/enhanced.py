"""The frames of an enhanced multi-frame CT: where each lies, and what its values mean.

What is the same for all frames stands once, in the shared functional groups; what isn't, frame by
frame; a frame's own word goes first.
"""

from collections.abc import Iterator
from typing import Any

import pydicom


def frames(data: pydicom.Dataset, count: int) -> Iterator[dict[str, Any]]:
    """What `headers.Image` needs of each frame, in their order.

    Raises:
        ValueError: if there isn't one group of descriptions a frame.
    """
    shared = next(iter(data.get("SharedFunctionalGroupsSequence") or ()), pydicom.Dataset())
    own = list(data.get("PerFrameFunctionalGroupsSequence") or ())
    if len(own) != count:
        raise ValueError(f"{count} frames have {len(own)} functional groups")
    for group in own:
        yield _frame((group, shared))


def _frame(groups: tuple[pydicom.Dataset, pydicom.Dataset]) -> dict[str, Any]:
    measures = _macro(groups, "PixelMeasuresSequence")
    rescale = _macro(groups, "PixelValueTransformationSequence")
    kind = _macro(groups, "CTImageFrameTypeSequence")
    content = _macro(groups, "FrameContentSequence")
    return {
        "position": _numbers(_macro(groups, "PlanePositionSequence"), "ImagePositionPatient", 3),
        "orientation": _numbers(
            _macro(groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6
        ),
        "spacing": _numbers(measures, "PixelSpacing", 2),
        "slope": _number(rescale, "RescaleSlope"),
        "intercept": _number(rescale, "RescaleIntercept"),
        "rescale_type": str(rescale.get("RescaleType") or ""),
        "image_type": tuple(str(part) for part in kind.get("FrameType") or ()),
        "acquisition": _whole(content.get("FrameAcquisitionNumber")),
    }


def _macro(groups: tuple[pydicom.Dataset, pydicom.Dataset], name: str) -> pydicom.Dataset:
    for group in groups:
        items = group.get(name)
        if items:
            return items[0]
    return pydicom.Dataset()


def _number(macro: pydicom.Dataset, name: str) -> float | None:
    value = macro.get(name)
    return None if value is None or value == "" else float(value)


def _numbers(macro: pydicom.Dataset, name: str, count: int) -> tuple[float, ...] | None:
    values = macro.get(name)
    if values is None or values == "" or len(values) != count:
        return None
    return tuple(float(value) for value in values)


def _whole(value: Any) -> int | None:
    return None if value is None or value == "" else int(value)
