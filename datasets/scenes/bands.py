"""Bands by name: what they are called here, what others call them, and Planet's orders (D-1)."""

import difflib
import re
from collections.abc import Sequence

from fieldsight.datasets.errors import DataError

# In order of wavelength; Planet's 8-band files have eight of them.
REFLECTIVE = (
    "coastal", "blue", "green_i", "green", "yellow", "red", "red_edge", "red_edge_2",
    "red_edge_3", "nir", "nir_narrow", "water_vapour", "cirrus", "swir1", "swir2",
)  # fmt: skip
OTHER = (
    "pan", "thermal", "thermal_2", "vv", "vh", "hh", "hv", "elevation", "slope", "aspect",
    "ndvi", "nbr", "evi", "ndwi", "ndmi", "savi",
)  # fmt: skip
KNOWN = REFLECTIVE + OTHER

PLANET = {
    3: ("red", "green", "blue"),
    4: ("blue", "green", "red", "nir"),
    8: ("coastal", "blue", "green_i", "green", "yellow", "red", "red_edge", "nir"),
}

_ALIASES = {
    "coastal_blue": "coastal", "coastal_aerosol": "coastal", "aerosol": "coastal",
    "aerosols": "coastal", "ultra_blue": "coastal", "green1": "green_i", "green_1": "green_i",
    "greeni": "green_i", "green2": "green", "green_2": "green", "green_ii": "green",
    "r": "red", "g": "green", "b": "blue", "n": "nir",
    "rededge": "red_edge", "red_edge_1": "red_edge", "rededge1": "red_edge",
    "rededge_1": "red_edge", "re1": "red_edge", "rededge2": "red_edge_2",
    "rededge_2": "red_edge_2", "re2": "red_edge_2", "rededge3": "red_edge_3",
    "rededge_3": "red_edge_3", "re3": "red_edge_3", "near_infrared": "nir",
    "near_infra_red": "nir", "nearinfrared": "nir", "infrared": "nir", "nir_1": "nir",
    "nir1": "nir", "near_ir": "nir", "nir08": "nir", "nir_broad": "nir", "nir09": "nir_narrow",
    "narrow_nir": "nir_narrow", "nir2": "nir_narrow", "nir_2": "nir_narrow",
    "swir_1": "swir1", "swir16": "swir1", "swir_2": "swir2", "swir22": "swir2",
    "water_vapor": "water_vapour", "wvp": "water_vapour", "panchromatic": "pan",
    "thermal_1": "thermal", "tir": "thermal", "tir_1": "thermal", "tir_2": "thermal_2",
    "grey": "gray",
}  # fmt: skip


def normal(name: str) -> str:
    """A band's name as it is written here: lower case, words joined by `_`, one word a concept.

    Example:
        >>> normal("Near Infrared"), normal("Green I"), normal("ndvi 2015-07-11")
        ('nir', 'green_i', 'ndvi_2015_07_11')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
    return _ALIASES.get(plain, plain)


def is_known(name: str) -> bool:
    """Whether a name, made `normal`, is a band's: of the lists above, with a date, or band_N."""
    if name in KNOWN or re.fullmatch(r"band_\d+", name):
        return True
    stem = re.fullmatch(r"([a-z]\w*?)_\d[\d_]*", name)
    return stem is not None and stem[1] in KNOWN


def checked(
    names: Sequence[str], *, also: Sequence[str] = (), where: str = "--bands"
) -> tuple[str, ...]:
    """Names as a user gave them, made `normal`.

    Args:
        names: one a band.
        also: names that this scene itself gives its bands.
        where: what to call the list in a message.

    Raises:
        DataError: if one is unknown, or two are the same.
    """
    found = tuple(normal(name) for name in names)
    for said, name in zip(names, found, strict=True):
        if name in also or is_known(name):
            continue
        near = difflib.get_close_matches(name, [*also, *KNOWN], 1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise DataError(
            f"{where}: names of bands were needed, of {', '.join(KNOWN)}; ndvi_20200518 for one of "
            f"a date; band_1, band_2 for what has no name. Received: {said[:40]!r}.{guess}"
        )
    if len(set(found)) < len(found):
        raise DataError(
            f"{where}: each band once was needed. Received: {','.join(found)[:200]}. Name each "
            "differently."
        )
    return found


def is_unnamed(name: str) -> bool:
    """Whether a name, made `normal`, says no more than a number: band_1, layer_2, 3."""
    return re.fullmatch(r"((band|layer|channel)_?)?\d+", name) is not None
