"""Findings as 3D Slicer opens them: markups, a file of points and of measured diameters.

Markups JSON, schema 1.0.3. One list of points, one a finding, and one line a finding of its
diameter's length, whose measurement Slicer computes from the line itself.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fieldsight.datasets.findings import Finding, Provenance, marks
from fieldsight.datasets.volume import Volume

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/"
    "Schema/markups-schema-v1.0.3.json#"
)
_AXES = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
_COLOUR = [0.9, 0.62, 0.0]


def write_markups(
    path: Path, volume: Volume, findings: Sequence[Finding], provenance: Provenance
) -> None:
    """Write findings as markups in LPS millimetres; none is an empty list of points.

    Args:
        path: the file; Slicer knows it by its ending `.mrk.json`.
        volume: the scan.
        findings: in their order; numbered from 1.
        provenance: what found them; stands in each point's description.
    """
    said = "; ".join([*marks(volume, provenance), provenance.model, provenance.disclaimer])
    points = [_point(number, finding, said) for number, finding in enumerate(findings, 1)]
    lines = [_diameter(number, finding) for number, finding in enumerate(findings, 1)]
    content = {"@schema": SCHEMA, "markups": [_list(points), *lines]}
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


def _list(points: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": points,
        "measurements": [],
        "display": {"visibility": True, "color": _COLOUR, "selectedColor": _COLOUR},
    }


def _point(number: int, finding: Finding, said: str) -> dict[str, Any]:
    parts = [f"diameter {finding.diameter_mm:.1f} mm", f"probability {finding.probability:.3f}"]
    if finding.volume_mm3 is not None:
        parts.insert(1, f"volume {finding.volume_mm3:.0f} mm3")
    if finding.suspicion is not None:
        parts.append(f"suspicion {finding.suspicion:.3f}")
    return _control(str(number), str(number), finding.centre_mm, f"{', '.join(parts)}; {said}")


def _diameter(number: int, finding: Finding) -> dict[str, Any]:
    x, y, z = finding.centre_mm
    half = finding.diameter_mm / 2
    ends = [(x - half, y, z), (x + half, y, z)]
    return {
        "type": "Line",
        "name": f"finding {number}",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "labelFormat": "%N-%d",
        "controlPoints": [
            _control(f"{number}-{end}", "", place, "") for end, place in enumerate(ends, 1)
        ],
        "measurements": [
            {
                "name": "length",
                "enabled": True,
                "value": float(finding.diameter_mm),
                "units": "mm",
                "printFormat": "%-#4.3gmm",
            }
        ],
        "display": {"visibility": True, "color": _COLOUR, "selectedColor": _COLOUR},
    }


def _control(name: str, label: str, place: Sequence[float], description: str) -> dict[str, Any]:
    return {
        "id": name,
        "label": label,
        "description": description,
        "associatedNodeID": "",
        "position": [float(value) for value in place],
        "orientation": _AXES,
        "selected": True,
        "locked": True,
        "visibility": True,
        "positionStatus": "defined",
    }
