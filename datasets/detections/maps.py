"""Detections on the map: a GeoPackage and GeoJSON of points on WGS 84.

The GeoPackage has each detection, and each track where it is placed best; the GeoJSON what is
counted: tracks of sequences, detections of single pictures.
"""

import contextlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fieldsight.datasets.detections import counts
from fieldsight.datasets.detections.rows import Answer, Detection, Place
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically

CRS = "EPSG:4326"
LAYERS = ("detections", "tracks")
_DIGITS = 8  # of degrees: a millimetre

Row = dict[str, Any]


def rows(answer: Answer) -> tuple[list[Row], list[Row]]:
    """What is placed: detections, and tracks, each with its `place`."""
    found: list[Row] = []
    objects: list[Row] = []
    for source in answer.sources:
        views = answer.by_source[source.name]
        found += [
            _row(each, each.place, answer)
            | {"source": source.name, "frame": view.name, "track": each.track}
            for view in views
            for each in view.detections
            if each.place is not None
        ]
        for track in counts.tracks(views) if source.in_time else ():
            best = track.placed
            if best is not None and best.place is not None:
                row = _row(best, best.place, answer) | {
                    "source": source.name, "frame": best.frame, "track": track.number,
                    "class": track.label, "score": float(track.best[1].score),
                    "check": counts.CHECK if track.label in answer.people else "",
                }  # fmt: skip
                objects.append(row | {"frames_seen": len(track.seen)})
    return found, objects


def _row(each: Detection, place: Place, answer: Answer) -> Row:
    return {
        "place": place,
        "class": each.label,
        "score": float(each.score),
        "error_m": float(place.error_m),
        "how": place.how,
        "check": counts.CHECK if each.label in answer.people else "",
        "model": answer.provenance.model,
        "trained_on": answer.provenance.trained_on,
        "simulated": "; ".join(answer.marks()) or "no",
    }


def write_geopackage(path: Path, answer: Answer) -> int:
    """Write both layers, whole or not at all; a layer may be empty.

    Returns:
        How many detections are placed.

    Raises:
        DataError: if it can't be written.
    """
    found, objects = rows(answer)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        _layer(beside, LAYERS[0], found, answer, append=False)
        _layer(beside, LAYERS[1], objects, answer, append=True)
        beside.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        for left in path.parent.glob(f"{beside.name}*"):
            with contextlib.suppress(OSError):
                left.unlink()
    return len(found)


def _layer(path: Path, layer: str, rows: Sequence[Row], answer: Answer, *, append: bool) -> None:
    import shapely
    from pyogrio.errors import DataSourceError
    from pyogrio.raw import write

    texts = ("source", "frame", "class", "how", "check", "model", "trained_on", "simulated")
    fields: dict[str, Any] = {name: _column([row[name] for row in rows]) for name in texts}
    fields["score"] = np.array([row["score"] for row in rows], np.float64)
    fields["error_m"] = np.array([row["error_m"] for row in rows], np.float64)
    fields["track"] = np.array([row["track"] for row in rows], np.int64)
    if layer == LAYERS[1]:
        fields["frames_seen"] = np.array([row["frames_seen"] for row in rows], np.int64)
    places = [row["place"] for row in rows]
    points = shapely.points(np.array([_point(place) for place in places], float).reshape(-1, 2))
    made = answer.provenance
    said = {
        "model": made.model, "trained_on": made.trained_on, "software": made.software,
        "simulated": "; ".join(answer.marks()) or "no", "created": made.created,
        "disclaimer": made.disclaimer,
    }  # fmt: skip
    try:
        write(
            path, np.asarray(shapely.to_wkb(points), object), list(fields.values()), list(fields),
            layer=layer, driver="GPKG", geometry_type="Point", crs=CRS, append=append,
            layer_metadata=said,
        )  # fmt: skip
    except (DataSourceError, RuntimeError) as error:
        raise _not_written(path, error) from error


def _column(values: Sequence[str]) -> Any:
    column = np.empty(len(values), object)
    column[:] = list(values)
    return column


def _point(place: Place) -> tuple[float, float]:
    return round(place.longitude, _DIGITS), round(place.latitude, _DIGITS)


def write_geojson(path: Path, answer: Answer) -> int:
    """Write what is counted as GeoJSON (RFC 7946), whole or not at all.

    Returns:
        How many there are.

    Raises:
        OSError: if it can't be written.
    """
    found, objects = rows(answer)
    alone = {source.name for source in answer.sources if not source.in_time}
    chosen = [*objects, *(row for row in found if row["source"] in alone)]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": list(_point(row["place"]))},
            "properties": {key: value for key, value in row.items() if key != "place"},
        }
        for row in chosen
    ]
    content = {
        "type": "FeatureCollection",
        "name": "detections",
        "provenance": asdict(answer.provenance),
        "marks": list(answer.marks()),
        "notes": list(answer.notes),
        "features": features,
    }
    write_atomically(path, json.dumps(content, allow_nan=False).encode())
    return len(features)


def _not_written(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
    return DataError(
        f"{path} can't be written ({reason}). What was there before is unchanged. Free some "
        "space, or choose another folder."
    )
