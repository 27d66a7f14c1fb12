"""A map's entry in a catalogue: a STAC item, version 1.1, beside the files that it names."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldsight.datasets.files import write_atomically
from fieldsight.datasets.findings import Provenance
from fieldsight.datasets.grids import Grid
from fieldsight.datasets.maps import places
from fieldsight.datasets.maps.rasters import Colour

VERSION = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
MEDIA = {
    ".tif": COG,
    ".gpkg": "application/geopackage+sqlite3",
    ".csv": "text/csv",
    ".png": "image/png",
    ".qml": "application/xml",
}


def asset(
    name: str, title: str, roles: Sequence[str], **fields: Any
) -> dict[str, Any]:  # fields go into the JSON as they are
    """A file beside the item.

    Args:
        name: of the file.
        title: what it is.
        roles: as STAC has them: data, overview, metadata, ...
        **fields: further ones of STAC's.
    """
    kind = MEDIA[Path(name).suffix]
    return {"href": f"./{name}", "title": title, "type": kind, "roles": list(roles), **fields}


def classes(names: Sequence[str], colours: Sequence[Colour]) -> list[dict[str, Any]]:
    """A raster's classes, as the classification extension has them.

    Args:
        names: by value; the first is nodata.
        colours: of them.
    """
    found = []
    for value, (name, rgb) in enumerate(zip(names, colours, strict=True)):
        one: dict[str, Any] = {
            "value": value,
            "name": re.sub(r"[^0-9A-Za-z_-]+", "_", name).strip("_") or f"class_{value}",
            "title": name,
            "color_hint": "{:02X}{:02X}{:02X}".format(*rgb),
        }
        if value == 0:
            one["nodata"] = True
        found.append(one)
    return found


def item(
    name: str,
    grid: Grid,
    *,
    date: dt.date | None,
    provenance: Provenance,
    assets: Mapping[str, Mapping[str, Any]],
    properties: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The item of a map.

    Args:
        name: of the scene.
        grid: of the map.
        date: of the scene; where it isn't known, the moment when the map was made stands for
            it, because an item must have one, and `fieldsight:date` says so.
        provenance: what made the map.
        assets: by key, of `asset`.
        properties: further ones.

    Raises:
        DataError: if the raster isn't georeferenced.
    """
    shape, box = places.outline(grid)
    left, bottom, right, top = grid.bounds
    t = grid.transform
    code = grid.crs.to_authority()
    told: dict[str, Any] = {
        **_dates(date, provenance),
        "created": provenance.created.replace("+00:00", "Z"),
        "description": f"{provenance.disclaimer} Made by {provenance.model}.",
        "gsd": round(grid.ground_sampling_distance_m, 6),
        "proj:code": ":".join(code) if code else None,
        "proj:wkt2": grid.crs.to_wkt(version="WKT2_2019"),
        "proj:shape": [grid.rows, grid.columns],
        "proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f],
        "proj:bbox": [left, bottom, right, top],
        "fieldsight:model": provenance.model,
        "fieldsight:trained_on": provenance.trained_on,
        "fieldsight:simulated": provenance.simulated,
        "fieldsight:run": provenance.run,
        "fieldsight:software": provenance.software,
        **(properties or {}),
    }
    has_classes = any("classification:classes" in one for one in assets.values())
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [PROJECTION, *([CLASSIFICATION] if has_classes else [])],
        "id": name,
        "geometry": shape,
        "bbox": box,
        "properties": told,
        "links": [],
        "assets": {key: dict(one) for key, one in assets.items()},
    }


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write an item.

    Raises:
        OSError: if it can't be written.
    """
    text = json.dumps(found, indent=2, allow_nan=False)
    write_atomically(path, (text + "\n").encode("utf-8"))


def _dates(date: dt.date | None, provenance: Provenance) -> dict[str, Any]:
    if date is None:
        made = provenance.created.replace("+00:00", "Z")
        return {"datetime": made, "fieldsight:date": "unknown; datetime is when the map was made"}
    return {
        "datetime": f"{date.isoformat()}T00:00:00Z",
        "start_datetime": f"{date.isoformat()}T00:00:00Z",
        "end_datetime": f"{date.isoformat()}T23:59:59Z",
        "fieldsight:date": date.isoformat(),
    }
