"""What `map` writes for a scene, made of its raster of probabilities.

All of it is made in the work folder and moved to its place at the end: whoever looks finds the
earlier map, or the new one, whole.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.grids import Slices
from fieldsight.datasets.maps import colours, hectares, polygons, qgis, quicklook, stac
from fieldsight.datasets.maps.rasters import (
    NODATA_CLASS,
    NODATA_SHARE,
    STEPS,
    Raster,
    classes_of,
    row_blocks,
    write_cog,
)

if TYPE_CHECKING:
    from fieldsight.datasets.scenes import Scene
    from fieldsight.pipelines.deforestation._map_model import MapModel

Array = NDArray[Any]
Tell = Callable[[str], Callable[[int, int], None]]

PROBABILITY, CLASSES, POLYGONS = "probability.tif", "classes.tif", "clearings.gpkg"
HECTARES, ITEM, QUICKLOOK = "hectares.csv", "item.json", "quicklook.png"
STYLES = ("probability.qml", "classes.qml", "clearings.qml")
FILES = (PROBABILITY, CLASSES, POLYGONS, HECTARES, QUICKLOOK, *STYLES, ITEM)
CLOUD = 255  # of the counts alone: no data by the product's mask of clouds
CLOUDS = "under clouds"


@dataclasses.dataclass(frozen=True)
class Mapped:
    """What was found in a scene.

    Attributes:
        counts: hectares by class, of the scene and of each area.
        outlined: the polygons.
        empty: whether no pixel had data.
        notes: what must be known, a sentence each.
    """

    counts: tuple[hectares.Count, ...]
    outlined: polygons.Outlined
    empty: bool
    notes: tuple[str, ...]


def tags_of(scene: Scene, model: MapModel) -> dict[str, str]:
    """What every TIFF says of itself (C-10)."""
    made = model.provenance
    told = {
        "FIELDSIGHT_MODEL": made.model,
        "FIELDSIGHT_TRAINED_ON": made.trained_on,
        "FIELDSIGHT_MODEL_SIMULATED": "yes" if made.simulated else "no",
        "FIELDSIGHT_CLASSES": json.dumps(model.classes),
        "FIELDSIGHT_NOTE": made.disclaimer,
        "TIFFTAG_SOFTWARE": f"fieldsight {made.software}",
    }
    if scene.simulated:
        told["FIELDSIGHT_SIMULATED"] = "1"
    if scene.date is not None:
        told["TIFFTAG_DATETIME"] = scene.date.strftime("%Y:%m:%d 00:00:00")
    return told


def new_probabilities(path: Path, scene: Scene, model: MapModel) -> Raster:
    """The empty raster that a model's answers go to: a band a class."""
    return Raster.create(
        path, scene.grid, model.classes[1:], nodata=NODATA_SHARE, scale=1 / STEPS,
        tags=tags_of(scene, model),
    )  # fmt: skip


def write_all(
    folder: Path,
    scene: Scene,
    model: MapModel,
    probability: Raster,
    *,
    areas: hectares.Areas | None,
    least_ha: float,
    tell: Tell,
) -> Mapped:
    """Make every output in a folder.

    Args:
        folder: the work folder's; it is made.
        scene: with at least the model's bands.
        model: that mapped it.
        probability: the answers, whole.
        areas: whose hectares are counted too.
        least_ha: the minimum mapping unit of the polygons.
        tell: of each stage how far it is.

    Raises:
        DataError: if something can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shades = colours.of(model.classes)
    preview = _classes(folder / "classes.part", scene, model, probability, shades, tell)
    outlined = polygons.outline(
        _reader(probability), scene.grid, folder / POLYGONS,
        names={value: model.classes[value] for value in model.outlined},
        provenance=model.provenance, least_ha=least_ha, columns={"date": scene.date},
        progress=tell("outlining"),
    )  # fmt: skip
    with Raster(folder / "classes.part") as classes:
        counts = _counts(classes, scene, model, areas, tell)
    tell("making COGs")
    write_cog(probability.path, folder / PROBABILITY, overviews="average")
    write_cog(folder / "classes.part", folder / CLASSES, overviews="mode")
    (folder / "classes.part").unlink()
    found = Mapped(tuple(counts), outlined, not preview.valid.any(), _notes(scene, model, counts))
    _write_tables(folder, scene, model, found, shades)
    _draw(folder / QUICKLOOK, scene, model, found, preview, shades)
    return found


def move(folder: Path, out: Path) -> None:
    """Move every output to its place; the item, which names the others, comes last."""
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).replace(out / name)


def _classes(
    path: Path,
    scene: Scene,
    model: MapModel,
    probability: Raster,
    shades: tuple[colours.Colour, ...],
    tell: Tell,
) -> quicklook.Preview:
    """Write the raster of classes, and make the scene and it smaller on the way."""
    shown = quicklook.shown_bands(scene.bands)
    view = scene.select(shown)
    preview = quicklook.Preview(scene.grid, len(shown), len(model.classes))
    told = tell("classes")
    raster = Raster.create(
        path, scene.grid, ["class"], nodata=NODATA_CLASS, colours=dict(enumerate(shades)),
        tags=tags_of(scene, model),
    )  # fmt: skip
    with raster:
        for slices in row_blocks(scene.grid):
            classes = classes_of(probability.read(slices))
            raster.write(slices, classes[..., None])
            picture, valid = view.read_valid(slices)
            preview.add(slices, picture, valid, classes)
            told(slices[0].stop, scene.grid.rows)
    return preview


def _reader(probability: Raster) -> polygons.Read:
    """Classes and how likely each is."""

    def read(slices: Slices) -> tuple[Array, Array]:
        steps = probability.read(slices)
        return classes_of(steps), steps.max(axis=-1).astype(np.float32) / np.float32(STEPS)

    return read


def _counts(
    classes: Raster,
    scene: Scene,
    model: MapModel,
    areas: hectares.Areas | None,
    tell: Tell,
) -> list[hectares.Count]:
    """Hectares; what lies under clouds stands apart from what has no data at all."""
    names = dict(enumerate(model.classes))
    if scene.has_clouds:
        names[CLOUD] = CLOUDS

    def read(slices: Slices) -> Array:
        values = classes.read(slices)[..., 0]
        clouds = scene.clouds(slices)
        if clouds is not None:
            values[clouds & (values == NODATA_CLASS) & scene.valid(slices)] = CLOUD
        return values

    return hectares.count(read, scene.grid, names, areas, tell("counting"), hidden=(0, CLOUD))


def _notes(scene: Scene, model: MapModel, counts: list[hectares.Count]) -> tuple[str, ...]:
    notes = list(scene.notes)
    if model.simulated:
        notes.append("the model has seen SIMULATED scenes alone")
    if scene.simulated:
        notes.append("the scene is SIMULATED")
    if not any(one.pixels for one in counts if one.share is not None):
        notes.append("no pixel has data: nothing was mapped, and the result is empty")
    seen = {one.area for one in counts if one.share is not None and one.pixels}
    unseen = dict.fromkeys(one.area for one in counts if one.area not in {*seen, hectares.WHOLE})
    notes += [f"--area: {area}: the scene has no data there" for area in unseen]
    return tuple(notes)


def _write_tables(
    folder: Path,
    scene: Scene,
    model: MapModel,
    found: Mapped,
    shades: tuple[colours.Colour, ...],
) -> None:
    made = model.provenance
    date = scene.date.isoformat() if scene.date else ""
    hectares.write(folder / HECTARES, found.counts, scene=scene.name, date=date, provenance=made)
    band = model.outlined[0]
    chosen = {model.classes[value]: shades[value] for value in model.outlined}
    qgis.write(folder / STYLES[0], qgis.of_probability(band, model.classes[band]))
    qgis.write(folder / STYLES[1], qgis.of_classes(model.classes, shades))
    qgis.write(folder / STYLES[2], qgis.of_polygons(chosen))
    properties: Mapping[str, Any] = {
        "fieldsight:scene": scene.name,
        "fieldsight:scene_simulated": scene.simulated,
        "fieldsight:hectares": {
            one.name: round(one.area_ha, 4) for one in found.counts if one.area == hectares.WHOLE
        },
        "fieldsight:hectares_method": hectares.METHOD,
        "fieldsight:notes": list(found.notes),
    }
    item = stac.item(
        scene.name, scene.grid, date=scene.date, provenance=made, properties=properties,
        assets=_assets(model, shades),
    )  # fmt: skip
    stac.write(folder / ITEM, item)


def _assets(model: MapModel, shades: tuple[colours.Colour, ...]) -> dict[str, dict[str, Any]]:
    bands = [{"name": name, "description": f"probability of {name}"} for name in model.classes[1:]]
    scaled = f"probability of each class; stored x {STEPS}"
    return {
        "probability": stac.asset(
            PROBABILITY, scaled, ["data"], bands=bands, data_type="uint8", nodata=NODATA_SHARE
        ),
        "classes": stac.asset(
            CLASSES, "the likeliest class", ["data"], data_type="uint8", nodata=NODATA_CLASS,
            **{"classification:classes": stac.classes(model.classes, shades)},
        ),
        "polygons": stac.asset(POLYGONS, "outlines with hectares", ["data"]),
        "hectares": stac.asset(HECTARES, f"hectares by class: {hectares.METHOD}", ["metadata"]),
        "quicklook": stac.asset(QUICKLOOK, "the map at a glance", ["overview", "thumbnail"]),
        "probability_style": stac.asset(STYLES[0], "QGIS style", ["metadata"]),
        "classes_style": stac.asset(STYLES[1], "QGIS style", ["metadata"]),
        "polygons_style": stac.asset(STYLES[2], "QGIS style", ["metadata"]),
    }  # fmt: skip


def _draw(
    path: Path,
    scene: Scene,
    model: MapModel,
    found: Mapped,
    preview: quicklook.Preview,
    shades: tuple[colours.Colour, ...],
) -> None:
    classes, picture = preview.classes, preview.picture()
    shown = quicklook.shown_bands(scene.bands)
    natural = "natural colours" if shown == quicklook.NATURAL else f"bands {', '.join(shown)}"
    by_name = {one.name: one for one in found.counts if one.area == hectares.WHOLE}
    legend = [
        quicklook.Entry(name, shades[value], _short(by_name[name].area_ha))
        for value, name in enumerate(model.classes)
        if value and by_name[name].pixels
    ]
    unseen = [by_name[name] for name in (model.classes[0], CLOUDS) if name in by_name]
    if any(one.pixels for one in unseen):
        told = "no data or cloud" if scene.has_clouds else "no data"
        legend.append(
            quicklook.Entry(told, quicklook.LOST, _short(sum(one.area_ha for one in unseen)))
        )
    date = scene.date.isoformat() if scene.date else "date unknown"
    crs = scene.grid.crs.to_string()
    quicklook.draw(
        path, scene.grid,
        [(f"the scene, {natural}", picture),
         ("mapped: the likeliest class", quicklook.painted(classes, shades))],
        title=f"{scene.name}, {date}",
        legend=legend,
        notes=[
            f"Hectares are mapped, not estimated. Mapped by {model.provenance.model}. "
            f"{crs if len(crs) < 40 else 'its own CRS'}, "
            f"{scene.grid.ground_sampling_distance_m:.4g} m a pixel.",
            *(f"Note: {note}." for note in found.notes),
        ],
    )  # fmt: skip


def _short(area_ha: float) -> str:
    return f"{area_ha:,.0f} ha" if area_ha >= 100 else f"{area_ha:.3g} ha"
