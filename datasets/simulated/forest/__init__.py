"""Simulated scenes of the Amazon, from a seed: in Planet's and the Kaggle competition's layouts.

An instrument, not a prop: the default seed and difficulty were fixed before any network was
trained on them, and stay. What is changed changes `VERSION`. Checked against a real Landsat scene
and the published frequencies of Kaggle's tags in tests/datasets/test_simulated_forest_realism.py.

What a pixel's class means (`CLASSES`, by value):

- 0 nodata: outside the scene's footprint.
- 1 forest: trees that nobody cleared. Disturbed forest stays forest: logged selectively, blown
  down, flooded, leafless in the dry season, in flower.
- 2 clearing: ground whose forest people removed, and which they use or left lately: pasture,
  crops, tree plantations, bare fields, burnt fields, felled trees that still lie, fallow and
  young regrowth inside them. Green or dry, tall or not: what counts is that forest was removed.
- 3 water: rivers, lakes and their flooded banks, not the ponds of mines.
- 4 built: roads, yards, roofs.
- 5 mining: pits, spoil and ponds, of artisanal and of conventional mines.
- 6 natural open: ground that never had forest: savanna, natural grassland, sand, rock.

Clouds and their shadows are no class: the map says what is under them, and a mask
(`..._udm2.tif`, as Planet's) says where they are.
"""

from fieldsight.datasets.simulated._writing import MANIFEST
from fieldsight.datasets.simulated.forest._layout import write
from fieldsight.datasets.simulated.forest._materials import CLASSES, VERSION, Detail, Setting

DEFAULT_SEED = 0

__all__ = ["CLASSES", "DEFAULT_SEED", "MANIFEST", "VERSION", "Detail", "Setting", "write"]
