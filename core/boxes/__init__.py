"""Boxes of any rank, `xyxy` pixels alone: overlap, distance, suppression, merging, matching.

A box is its lower corner and then its upper one, right and bottom exclusive, x first: `(n, 4)`
x0, y0, x1, y1 in a picture of (row, column), `(n, 6)` x0, y0, z0, x1, y1, z1 in a volume of
(plane, row, column). Other conventions are turned in `datasets`. No boxes are `(0, 4)`,
`(0, 6)` or a plain `[]`. A box without area overlaps nothing, itself neither; a box whose
corners have changed places, and a coordinate that isn't finite, are refused. Everything is
computed in float64.

`iou`, `ios` and `distance` are dense tables for small sets; all else looks at neighbours alone,
so that memory grows with boxes and pairs that overlap, never with their square.
"""

from fieldsight.core.boxes.geometry import area, centres, clip, distance, ios, iou, sizes
from fieldsight.core.boxes.matching import ignored, match
from fieldsight.core.boxes.pairs import overlapping_pairs
from fieldsight.core.boxes.suppression import Merged, merge, suppress

__all__ = [
    "Merged",
    "area",
    "centres",
    "clip",
    "distance",
    "ignored",
    "ios",
    "iou",
    "match",
    "merge",
    "overlapping_pairs",
    "sizes",
    "suppress",
]
