"""Windows to learn from: what of an animal counts where a window's edge cuts it."""

import numpy as np

from fieldsight.pipelines.wildlife._windows import _seen


def test_at_a_windows_edge_the_part_that_shows_is_marked() -> None:
    boxes = np.array([
        [10, 10, 20, 20],  # whole
        [-4, 10, 6, 20],  # six tenths of it show
        [-7, 10, 3, 20],  # three tenths
        [95, -5, 105, 5],  # a quarter, at a corner
        [100, 0, 110, 10],  # beside the window
    ], float)  # fmt: skip
    shown, inside, touching = _seen(boxes, 100, points=False)
    assert inside.tolist() == [True, True, False, False, False]
    assert touching.tolist() == [False, False, True, True, False]
    assert shown[inside].tolist() == [[10, 10, 20, 20], [0, 10, 6, 20]]
    assert shown[3].tolist() == [95, 0, 100, 5]


def test_a_point_stays_where_it_was_marked() -> None:
    boxes = np.array([[-4, 10, 6, 20], [-7, 10, 3, 20]], float)  # about (1, 15) and (-2, 15)
    shown, inside, touching = _seen(boxes, 100, points=True)
    assert inside.tolist() == [True, False]
    assert touching.tolist() == [False, True]
    assert shown.tolist() == boxes.tolist()
