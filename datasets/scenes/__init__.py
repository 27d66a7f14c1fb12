"""Satellite scenes of any size, read by windows, bands by name.

    with scenes.open_scene("LC08_L2SP_224078_20200518_20200820_02_T1") as scene:
        window = scene.select(("red", "nir")).read((slice(0, 512), slice(0, 512)))

A scene is a GeoTIFF, a COG, a VRT or JPEG 2000 file, or a folder: Landsat Collection 2, Sentinel-2
SAFE or its band files, Planet's delivery, single-band files named for their band, an EOPatch.
"""

from fieldsight.datasets.scenes.labels import LabelMap, open_labels
from fieldsight.datasets.scenes.opening import open_scene
from fieldsight.datasets.scenes.reflectance import Reflectance
from fieldsight.datasets.scenes.scene import Scene

__all__ = ["LabelMap", "Reflectance", "Scene", "open_labels", "open_scene"]
