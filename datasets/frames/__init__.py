"""What a model is run on: pictures, frame sequences, videos, orthomosaics, and frames as they come.

    for source in frames.find(["flight/", "film.mp4", "mosaic.tif"]).items:
        if source.kind == "orthomosaic":
            with source.open() as mosaic:  # a source of core.windows
                ...
        else:
            for index, time_s, image in source.frames():
                ...  # source.failures grows by each frame that is broken

Pictures are given as they are displayed (EXIF), `(rows, columns, channels)`, uint8 or uint16, one
channel or three; CMYK and palettes become RGB, transparency black.
"""

from fieldsight.datasets.frames.inputs import Input, Inputs, Shot
from fieldsight.datasets.frames.live import follow
from fieldsight.datasets.frames.mosaics import Mosaic
from fieldsight.datasets.frames.searching import find

__all__ = ["Input", "Inputs", "Mosaic", "Shot", "find", "follow"]
