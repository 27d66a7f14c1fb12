"""QGIS styles that lie beside the files, where QGIS finds them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.maps.rasters import NODATA_CLASS, Colour

_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
# From nothing to certain, light to dark, so that it reads in grey too.
_RAMP: tuple[tuple[float, Colour], ...] = (
    (0.0, (255, 255, 240)), (0.25, (254, 217, 142)), (0.5, (254, 153, 41)),
    (0.75, (204, 76, 2)), (1.0, (102, 37, 6)),
)  # fmt: skip


def of_classes(names: Sequence[str], colours: Sequence[Colour]) -> str:
    """Of a raster of classes.

    Args:
        names: by value; nodata isn't drawn.
        colours: of them.
    """
    entries = "".join(
        f'<paletteEntry value="{value}" color="{_hex(rgb)}" alpha="255" label={quoteattr(name)}/>'
        for value, (name, rgb) in enumerate(zip(names, colours, strict=True))
        if value != NODATA_CLASS
    )
    return _raster(f'type="paletted" band="1"><colorPalette>{entries}</colorPalette>')


def of_probability(band: int, name: str) -> str:
    """Of a raster of probabilities, of one of its bands.

    Args:
        band: from 1.
        name: of its class.
    """
    # QGIS applies the file's scale itself: values are 0 to 1.
    entries = "".join(
        f'<item value="{share}" color="{_hex(rgb)}" alpha="255" '
        f"label={quoteattr(f'{name} {100 * share:.0f} %')}/>"
        for share, rgb in _RAMP
    )
    return _raster(
        f'type="singlebandpseudocolor" band="{band}" classificationMin="0" classificationMax="1">'
        '<rastershader><colorrampshader colorRampType="INTERPOLATED" classificationMode="1" '
        f'minimumValue="0" maximumValue="1" clip="0">{entries}</colorrampshader></rastershader>'
    )


def of_polygons(colours: Mapping[str, Colour]) -> str:
    """Of polygons by their attribute `class`: outlines, that hide nothing below.

    Args:
        colours: by class.
    """
    categories, symbols = [], []
    for number, (name, rgb) in enumerate(colours.items()):
        told = quoteattr(name)
        categories.append(
            f'<category value={told} label={told} symbol="{number}" render="true" type="string"/>'
        )
        red, green, blue = rgb
        options = {
            "color": f"{red},{green},{blue},60",
            "outline_color": f"{red},{green},{blue},255",
            "outline_width": "0.5",
            "outline_width_unit": "MM",
            "style": "solid",
            "outline_style": "solid",
        }
        inside = "".join(
            f'<Option type="QString" name="{k}" value="{v}"/>' for k, v in options.items()
        )
        symbols.append(
            f'<symbol type="fill" name="{number}" alpha="1"><layer class="SimpleFill" enabled="1" '
            f'pass="0" locked="0"><Option type="Map">{inside}</Option></layer></symbol>'
        )
    return (
        f'{_HEAD}<qgis version="3.34" styleCategories="Symbology">\n'
        '<renderer-v2 type="categorizedSymbol" attr="class" forceraster="0" enableorderby="0" '
        f'symbollevels="0"><categories>{"".join(categories)}</categories>'
        f"<symbols>{''.join(symbols)}</symbols></renderer-v2>\n</qgis>\n"
    )


def write(path: Path, style: str) -> None:
    """Write a style.

    Raises:
        OSError: if it can't be written.
    """
    write_atomically(path, style.encode("utf-8"))


def _raster(renderer: str) -> str:
    return (
        f'{_HEAD}<qgis version="3.34" styleCategories="Symbology">\n<pipe>'
        f'<rasterrenderer opacity="1" alphaBand="-1" {renderer}</rasterrenderer>'
        "</pipe>\n</qgis>\n"
    )


def _hex(rgb: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
