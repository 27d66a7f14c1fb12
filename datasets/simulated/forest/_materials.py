"""What ground is made of: materials, their classes on the map, their reflectance."""

from typing import Literal

VERSION = 1
CLASSES = ("nodata", "forest", "clearing", "water", "built", "mining", "natural open")
Detail = Literal["quick", "full"]
Setting = Literal["default", "other"]
