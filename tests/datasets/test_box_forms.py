"""W-7: boxes go from every form to `xyxy` pixels and back."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fieldsight.datasets import box_forms

SIZE = (512, 640)  # rows, columns


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """`(n, 4)` `xyxy` within a picture of 512 x 640, at quarters of a pixel."""
    count = draw(st.integers(0, 5))
    drawn = []
    for _ in range(count):
        left, width = draw(st.integers(0, 2000)), draw(st.integers(1, 560))
        top, height = draw(st.integers(0, 1500)), draw(st.integers(1, 548))
        drawn.append([left, top, left + width, top + height])
    return np.array(drawn, float).reshape(-1, 4) / 4


WAYS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "xywh from 0, COCO": (box_forms.to_xywh, box_forms.from_xywh),
    "xywh from 1, MOT": (
        lambda given: box_forms.to_xywh(given, origin=1),
        lambda given: box_forms.from_xywh(given, origin=1),
    ),
    "inclusive from 1, VOC": (box_forms.to_inclusive, box_forms.from_inclusive),
    "inclusive from 0": (
        lambda given: box_forms.to_inclusive(given, origin=0),
        lambda given: box_forms.from_inclusive(given, origin=0),
    ),
    "middles, YOLO": (
        lambda given: box_forms.to_normalised(given, SIZE),
        lambda given: box_forms.from_normalised(given, SIZE),
    ),
    "corners, MegaDetector": (
        lambda given: box_forms.to_normalised_xywh(given, SIZE),
        lambda given: box_forms.from_normalised_xywh(given, SIZE),
    ),
}


@pytest.mark.parametrize("form", WAYS)
@settings(deadline=None)
@given(drawn=boxes())
def test_every_form_goes_there_and_back(form: str, drawn: Any) -> None:
    there, back = WAYS[form]
    np.testing.assert_allclose(back(there(drawn)), drawn, atol=1e-9)
    assert back(there(drawn)).shape == (len(drawn), 4)


@pytest.mark.parametrize(
    ("form", "written"),
    [
        # The first pixel's column and the rows 2 and 3, of 4 columns and 8 rows.
        ("xywh from 0, COCO", [0, 2, 1, 2]),
        ("xywh from 1, MOT", [1, 3, 1, 2]),
        ("inclusive from 1, VOC", [1, 3, 1, 4]),
        ("inclusive from 0", [0, 2, 0, 3]),
    ],
)
def test_one_box_in_each_form_by_hand(form: str, written: list[float]) -> None:
    assert WAYS[form][1]([written]).tolist() == [[0, 2, 1, 4]]


def test_parts_of_a_side_by_hand() -> None:
    # 64 of 640 columns and 256 of 512 rows, at the right and bottom.
    assert box_forms.from_normalised([[0.95, 0.75, 0.1, 0.5]], SIZE).tolist() == [
        [576.0, 256.0, 640.0, 512.0]
    ]
    assert box_forms.from_normalised_xywh([[0.9, 0.5, 0.1, 0.5]], SIZE).tolist() == [
        [576.0, 256.0, 640.0, 512.0]
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
@settings(deadline=None, max_examples=25)
@given(left=st.integers(0, 55), top=st.integers(0, 35), width=st.integers(1, 5))
def test_boxes_turn_as_pillow_turns_the_picture(
    orientation: int, left: int, top: int, width: int
) -> None:
    stored = np.zeros((40, 60), np.uint8)
    stored[top : top + 4, left : left + width] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "PNG", exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    rows, columns = np.nonzero(shown)
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    box = [[left, top, left + width, top + 4]]
    assert box_forms.turned(box, orientation, (40, 60)).tolist() == [expected]
