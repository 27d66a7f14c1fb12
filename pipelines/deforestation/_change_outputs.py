"""What `change` writes: rasters, polygons of both methods, hectares, a STAC item, a picture.

All of it is made in the work folder and moved to its place at the end: whoever looks finds the
earlier answer, or the new one, whole.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets.maps import hectares, polygons, qgis, quicklook, stac
from fieldsight.datasets.maps.rasters import NODATA_SHARE, STEPS, Raster, write_cog
from fieldsight.pipelines.deforestation import _change_fall, _change_raster, _map_outputs
from fieldsight.pipelines.deforestation._change_raster import CLASSES, COLOURS, Dates, Drawn

if TYPE_CHECKING:
    from fieldsight.datasets.scenes import Scene
    from fieldsight.pipelines.deforestation._change_baseline import DifferenceRule, Index
    from fieldsight.pipelines.deforestation._change_pair import Compared
    from fieldsight.pipelines.deforestation._change_rule import ChangeRule, Classes
    from fieldsight.pipelines.deforestation._map_model import MapModel

Array = NDArray[Any]
Tell = Callable[[str], Callable[[int, int], None]]

# None of them is a name that `map` uses: both may write to one folder.
CHANGE, PROBABILITY = "change.tif", "change_probability.tif"
NEW, DIFFERENCE = "new_clearings.gpkg", "difference.gpkg"
HECTARES, ITEM, PICTURE = "change_hectares.csv", "change.json", "change.png"
STYLES = ("change.qml", "new_clearings.qml", "difference.qml")
FILES = (CHANGE, PROBABILITY, NEW, DIFFERENCE, HECTARES, PICTURE, *STYLES, ITEM)
LAYER, CLASSICAL_LAYER = "new_clearings", "difference"
NAME = CLASSES[_change_raster.NEW]
CLASSICAL = (90, 70, 200)
SIDE = 640  # pixels of a panel's longer side: there are four


@dataclasses.dataclass(frozen=True)
class Changed:
    """What was found between two dates.

    Attributes:
        counts: hectares by class of `CLASSES`.
        outlined: new clearings by the mapper.
        index: of the classical method; None where the bands for it are missing.
        classical: new clearings by it; None alike.
        both_ha: that both say.
        notes: what must be known, a sentence each.
    """

    counts: tuple[hectares.Count, ...]
    outlined: polygons.Outlined
    index: Index | None
    classical: polygons.Outlined | None
    both_ha: float
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Rules:
    """How new clearings are found.

    Attributes:
        classes: of the mapper, which are forest and which cleared land.
        network: by the mapper's two maps.
        index: of the classical method, if there are bands for one.
        difference: by it.
    """

    classes: Classes
    network: ChangeRule
    index: Index | None
    difference: DifferenceRule


def write_all(
    folder: Path,
    pair: Compared,
    model: MapModel,
    maps: tuple[Raster, Raster],
    rules: Rules,
    tell: Tell,
) -> Changed:
    """Make every output in a folder.

    Args:
        folder: the work folder's; it is made.
        pair: two dates on one grid.
        model: that mapped them.
        maps: its answers of both, whole.
        rules: how new clearings are found.
        tell: of each stage how far it is.

    Raises:
        DataError: if something can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dates = Dates(pair.before, pair.after)
    tags = _tags(pair, model)
    codes = Raster.create(
        folder / "codes.part", dates.grid, ["change"], nodata=_change_raster.NODATA,
        colours=dict(enumerate(COLOURS)), tags=tags,
    )  # fmt: skip
    likely = Raster.create(
        folder / "likely.part", dates.grid, [NAME], nodata=NODATA_SHARE, scale=1 / STEPS, tags=tags
    )
    with codes, likely:
        _change_raster.write(dates, maps, rules.classes, rules.network, codes, likely, tell)
        codes.flush()
        outlined, classical = _outline(folder, pair, model, (codes, likely), rules, tell)
        views, both_ha = _fold(folder, dates, codes, classical is not None, tell)
        codes.flush()
        counts = _counts(codes, dates)
    tell("making COGs")
    write_cog(folder / "codes.part", folder / CHANGE, overviews="mode")
    write_cog(folder / "likely.part", folder / PROBABILITY, overviews="average")
    for part in ("codes.part", "likely.part"):
        (folder / part).unlink()
    notes = _notes(pair, model, rules, counts, outlined)
    found = Changed(tuple(counts), outlined, rules.index, classical, both_ha, notes)
    _write_tables(folder, pair, model, rules, found)
    _draw(folder / PICTURE, pair, model, found, views)
    return found


def move(folder: Path, out: Path) -> None:
    """Move every output to its place; the item, which names the others, comes last.

    What an earlier run left that this one has none of goes: it would be of another pair.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (folder / name).exists():
            (folder / name).replace(out / name)
        else:
            (out / name).unlink(missing_ok=True)


def _tags(pair: Compared, model: MapModel) -> dict[str, str]:
    told = _map_outputs.tags_of(pair.after, model)
    told["FIELDSIGHT_CLASSES"] = json.dumps(CLASSES)
    told["FIELDSIGHT_DATES"] = pair.span
    return told


def _outline(
    folder: Path,
    pair: Compared,
    model: MapModel,
    rasters: tuple[Raster, Raster],
    rules: Rules,
    tell: Tell,
) -> tuple[polygons.Outlined, polygons.Outlined | None]:
    """Polygons of both methods."""
    dates = Dates(pair.before, pair.after)
    columns: dict[str, polygons.Value] = {
        "date_before": pair.before.date, "date_after": pair.after.date,
    }  # fmt: skip
    outlined = polygons.outline(
        _change_raster.reader(*rasters), dates.grid, folder / NEW,
        names={_change_raster.NEW: NAME}, provenance=model.provenance, layer=LAYER,
        least_ha=rules.network.min_ha, sure=rules.network.sure, columns=columns,
        progress=tell("outlining"),
    )  # fmt: skip
    if rules.index is None:
        return outlined, None
    made = dataclasses.replace(model.provenance, model=f"difference of {rules.index}, no model",
                               trained_on="", simulated=False)  # fmt: skip
    classical = polygons.outline(
        _change_raster.difference_reader(dates, rules.index, rules.difference), dates.grid,
        folder / DIFFERENCE, names={_change_raster.NEW: NAME}, provenance=made,
        layer=CLASSICAL_LAYER, least_ha=rules.difference.min_ha, columns=columns,
        progress=tell(f"difference of {rules.index}"),
    )  # fmt: skip
    return outlined, classical


@dataclasses.dataclass(frozen=True)
class _Views:
    """Both dates made smaller, with what was found in them."""

    before: quicklook.Preview
    after: quicklook.Preview


def _fold(
    folder: Path, dates: Dates, codes: Raster, has_classical: bool, tell: Tell
) -> tuple[_Views, float]:
    """Take what is no polygon, too small or in doubt, out of the raster; see what both say."""
    shown = quicklook.shown_bands([b for b in dates.before.bands if b in dates.after.bands])
    seen = [scene.select(shown) for scene in (dates.before, dates.after)]
    views = _Views(
        quicklook.Preview(dates.grid, len(shown), len(CLASSES), SIDE),
        quicklook.Preview(dates.grid, len(shown), 2, SIDE),
    )
    drawn = Drawn(folder / NEW, LAYER, dates.grid)
    classical = Drawn(folder / DIFFERENCE, CLASSICAL_LAYER, dates.grid)
    both_ha, told = 0.0, tell("leaving out what is too small")
    for slices in _change_raster.bands(dates.grid):
        values = codes.read(slices)[..., 0]
        large = drawn(slices)
        values[(values == _change_raster.NEW) & ~large] = _change_raster.FOREST
        codes.write(slices, values[..., None])
        other = classical(slices) if has_classical else np.zeros(values.shape, bool)
        both_ha += float(dates.grid.pixel_areas_m2(slices)[large & other].sum()) / 1e4
        for view, scene, found in zip(
            (views.before, views.after), seen, (values, other.astype(np.uint8)), strict=True
        ):
            picture, valid = scene.read_valid(slices)
            view.add(slices, picture, valid, found)
        told(slices[0].stop, dates.grid.rows)
    return views, both_ha


def _counts(codes: Raster, dates: Dates) -> list[hectares.Count]:
    return hectares.count(
        lambda slices: codes.read(slices)[..., 0], dates.grid, dict(enumerate(CLASSES)),
        hidden=(_change_raster.NODATA, _change_raster.CLOUD),
    )  # fmt: skip


def _notes(
    pair: Compared,
    model: MapModel,
    rules: Rules,
    counts: list[hectares.Count],
    outlined: polygons.Outlined,
) -> tuple[str, ...]:
    notes = list(pair.notes)
    if model.simulated:
        notes.append("the model has seen SIMULATED scenes alone")
    if pair.before.simulated or pair.after.simulated:
        notes.append("a scene is SIMULATED")
    if outlined.small:
        notes.append(
            f"{outlined.small} patches with less than {rules.network.min_ha:g} ha of a probability "
            f"of {rules.network.sure:g}, {outlined.small_ha:.2f} ha in all, were left out"
        )
    bands = Dates(pair.before, pair.after).bands
    if rules.index is None:
        notes.append("no difference of NDVI or NBR: red, near or short-wave infrared is missing")
    if not _change_fall.can_tell(bands):
        notes.append("haze and season weren't taken out: red or near infrared is missing")
    if not any(one.pixels for one in counts if one.share is not None):
        notes.append("no pixel is clear at both dates: nothing was compared")
    elif not hectares.of_class(counts, CLASSES[_change_raster.FOREST]) and not outlined.polygons:
        notes.append("no forest was there before: there was nothing to clear")
    return tuple(notes)


def _write_tables(
    folder: Path, pair: Compared, model: MapModel, rules: Rules, found: Changed
) -> None:
    made = model.provenance
    names = f"{pair.before.name} to {pair.after.name}"
    hectares.write(
        folder / HECTARES, found.counts, scene=names, date=pair.span.replace(" to ", "/"),
        provenance=made,
    )  # fmt: skip
    qgis.write(folder / STYLES[0], qgis.of_classes(CLASSES, COLOURS))
    qgis.write(folder / STYLES[1], qgis.of_polygons({NAME: COLOURS[_change_raster.NEW]}))
    if found.classical is not None:
        qgis.write(folder / STYLES[2], qgis.of_polygons({NAME: CLASSICAL}))
    item = stac.item(
        f"{pair.before.name}_{pair.after.name}", pair.before.grid, date=pair.after.date,
        provenance=made, properties=_properties(pair, rules, found), assets=_assets(found),
    )  # fmt: skip
    stac.write(folder / ITEM, item)


def _properties(pair: Compared, rules: Rules, found: Changed) -> Mapping[str, Any]:
    shift = pair.shift
    return {
        "fieldsight:before": pair.before.name,
        "fieldsight:after": pair.after.name,
        "fieldsight:date_before": _iso(pair.before),
        "fieldsight:date_after": _iso(pair.after),
        "fieldsight:scene_simulated": pair.before.simulated or pair.after.simulated,
        "fieldsight:shift_px": None if shift is None else [shift.rows, shift.columns],
        "fieldsight:rule": dataclasses.asdict(rules.network),
        "fieldsight:classical": None
        if found.classical is None
        else {
            "index": rules.index,
            **dataclasses.asdict(rules.difference),
            "hectares": round(found.classical.area_ha, 4),
            "both_hectares": round(found.both_ha, 4),
        },
        "fieldsight:hectares": {one.name: round(one.area_ha, 4) for one in found.counts},
        "fieldsight:hectares_method": hectares.METHOD,
        "fieldsight:notes": list(found.notes),
    }


def _iso(scene: Scene) -> str | None:
    return None if scene.date is None else scene.date.isoformat()


def _assets(found: Changed) -> dict[str, dict[str, Any]]:
    assets = {
        "change": stac.asset(
            CHANGE, "new clearings and what they are new beside", ["data"], data_type="uint8",
            nodata=_change_raster.NODATA,
            **{"classification:classes": stac.classes(CLASSES, COLOURS)},
        ),
        "probability": stac.asset(
            PROBABILITY, f"probability of new clearing; stored x {STEPS}", ["data"],
            data_type="uint8", nodata=NODATA_SHARE,
        ),
        "polygons": stac.asset(NEW, "new clearings with hectares and dates", ["data"]),
        "hectares": stac.asset(HECTARES, f"hectares: {hectares.METHOD}", ["metadata"]),
        "picture": stac.asset(PICTURE, "before and after", ["overview", "thumbnail"]),
    }  # fmt: skip
    if found.classical is not None:
        assets["classical"] = stac.asset(DIFFERENCE, f"by a difference of {found.index}", ["data"])
    return assets


def _draw(path: Path, pair: Compared, model: MapModel, found: Changed, views: _Views) -> None:
    limits = views.before.limits((_change_raster.NODATA, _change_raster.CLOUD))
    before, after = views.before.picture(limits), views.after.picture(limits)
    by_name = {one.name: one for one in found.counts}
    votes = views.before.votes
    # A clearing that is small on the picture is shown all the same.
    values = np.where(votes[..., _change_raster.NEW] > 0, _change_raster.NEW, views.before.classes)
    panels = [
        (f"before, {_iso(pair.before) or 'date unknown'}", before),
        (f"after, {_iso(pair.after) or 'date unknown'}, shown alike", after),
        (f"by the mapper: {_told(found.outlined)}", quicklook.painted(values, COLOURS)),
    ]
    legend = [
        quicklook.Entry(name, COLOURS[value], f"{by_name[name].area_ha:,.1f} ha")
        for value, name in enumerate(CLASSES)
        if value and by_name[name].pixels
    ]
    if found.classical is not None:
        tinted = quicklook.tinted(after, views.after.votes[..., 1] > 0, CLASSICAL, 0.8)
        panels.append((f"difference of {found.index}: {_told(found.classical)}", tinted))
        legend.append(
            quicklook.Entry(
                f"difference of {found.index}", CLASSICAL, f"{found.classical.area_ha:,.1f} ha"
            )
        )
    quicklook.draw(
        path, pair.before.grid, panels,
        title=f"{pair.before.name} to {pair.after.name}",
        legend=legend,
        notes=[
            f"Hectares are mapped, not estimated. Mapped by {model.provenance.model}.",
            *(f"Note: {note}." for note in found.notes),
        ],
    )  # fmt: skip


def _told(outlined: polygons.Outlined) -> str:
    word = "clearing" if outlined.polygons == 1 else "clearings"
    return f"{outlined.polygons:,} {word}, {outlined.area_ha:,.1f} ha"
