"""A lung model as a whole: from a prepared scan to its nodules, rated and outlined."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core.inspection import grad_cam
from fieldsight.datasets.findings import Finding
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines import _training
from fieldsight.pipelines.lung import _detector, _networks, _segmenter, _suspicion
from fieldsight.pipelines.lung._cases import Case
from fieldsight.pipelines.lung._montage import Heat
from fieldsight.pipelines.lung._patches import around, corner_around
from fieldsight.pipelines.lung._recipes import Sizes
from fieldsight.pipelines.lung._suspicion import Calibration

if TYPE_CHECKING:
    from fieldsight.pipelines._models import ModelFile

Array = NDArray[Any]

JUDGED = 48  # candidates of a scan at most that the judge sees
BUILT: Mapping[str, Callable[[Sizes], keras.Model]] = {
    "finder": _networks.finder,
    "judge": _networks.judge,
    "outliner": _networks.outliner,
}


@dataclasses.dataclass(frozen=True)
class Marks:
    """What a model says of one scan, the likeliest nodule first.

    Attributes:
        centres_mm: `(n, 3)` LPS.
        diameters_mm: `(n,)`.
        probabilities: `(n,)` of being a nodule.
        suspicion: `(n,)` of being a cancer, if a nodule.
        patient: the patient's score.
    """

    centres_mm: Array
    diameters_mm: Array
    probabilities: Array
    suspicion: Array
    patient: float

    def __len__(self) -> int:
        return len(self.probabilities)


class LungModel:
    """The networks of one model, and what runs them.

    Args:
        finder: the detector.
        judge: of nodules and suspicion.
        outliner: of masks; None where it was trained on data without any.
        calibration: of its probabilities.
        sizes: of the networks.
        spacing_mm: of the grid it was trained on.
        threshold: from which probability a candidate is a finding.
    """

    def __init__(
        self,
        finder: keras.Model,
        judge: keras.Model,
        outliner: keras.Model | None,
        *,
        calibration: Calibration,
        sizes: Sizes,
        spacing_mm: float,
        threshold: float,
    ) -> None:
        self.networks = {"finder": finder, "judge": judge, "outliner": outliner}
        self.calibration, self.spacing_mm, self.threshold = calibration, spacing_mm, threshold
        self.sizes, self.crop = sizes, sizes.crop
        self.run = {
            name: network.predict_on_batch if name != "finder" else network
            for name, network in self.networks.items()
            if network is not None
        }
        self.seconds: dict[str, float] = {}

    def read(self, case: Case) -> Marks:
        """The candidates of a prepared scan with their probabilities, and the patient's score."""
        began = time.perf_counter()
        found = _detector.search(self.run["finder"], case, most=JUDGED)
        self._took("find", began)
        began = time.perf_counter()
        logits = _suspicion.judged(self.run["judge"], case, found, self.crop)
        self._took("judge", began)
        return marks_of(found, logits, self.calibration)

    def outlines(
        self, case: Case, centres_mm: Array, volume: Volume
    ) -> list[_segmenter.Outline | None]:
        """What lies at each place on a volume's own grid; None where nothing was drawn."""
        if "outliner" not in self.run:
            return [None] * len(centres_mm)
        began = time.perf_counter()
        places = case.to_index(centres_mm)
        cubes = _segmenter.probabilities(self.run["outliner"], case, places, self.crop)
        drawn = [
            _segmenter.outline(cube, place, case, volume)
            for cube, place in zip(cubes, places, strict=True)
        ]
        self._took("outline", began)
        return drawn

    def heat(self, case: Case, centres_mm: Array, chosen: Array) -> dict[int, Heat]:
        """Where the judge's evidence for a nodule lies around each chosen place.

        Each cell by its own gradient: the judge rests on a crop's middle, and a mean over all
        cells marks bright things beside it that its answer hardly depends on.
        """
        if not len(chosen):
            return {}
        began = time.perf_counter()
        places = case.to_index(centres_mm[chosen])
        crops = np.stack([around(case.image, place, self.crop) for place in places])
        maps = grad_cam(
            self.networks["judge"], crops[..., None].astype(np.float32), class_index=0,
            by_cell=True, batch_size=8,
        )  # fmt: skip
        found = {}
        for number, place, values in zip(chosen.tolist(), places, maps, strict=True):
            affine = case.affine.copy()
            affine[:3, 3] = case.to_world(corner_around(place, self.crop))[0]
            found[number] = Heat(values, affine)
        self._took("heat", began)
        return found

    def _took(self, stage: str, began: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


def marks_of(found: _detector.Candidates, logits: Array, calibration: Calibration) -> Marks:
    """Candidates with the judge's logits as a model's answer."""
    nodule, suspicion = calibration.nodule(found, logits), calibration.suspicion(logits)
    order = np.argsort(-nodule, kind="stable")
    return Marks(
        found.centres_mm[order],
        found.diameters_mm[order],
        nodule[order],
        suspicion[order],
        calibration.patient(nodule, suspicion),
    )


def load(found: ModelFile) -> LungModel:
    """The model in a file, computing in bfloat16 where this processor has it.

    Keras in bfloat16 was as fast on whole scans as OpenVINO in it, which takes ten seconds to be
    made ready and some more for each new size of a scan (docs/measurements.md).

    Raises:
        CommandError: if the file is no lung model, or a part of it can't be loaded.
    """
    from fieldsight.pipelines._models import load_model, load_part

    facts: Mapping[str, Any] = found.card.facts
    sizes = Sizes.from_dict(facts["sizes"])
    fast = _training.device_kind() != "cpu" or _training.processor_has_bfloat16()
    policy = "mixed_bfloat16" if fast else "float32"
    saved = {"finder": load_model(found.path), "judge": load_part(found.path, "judge")}
    if facts["outlines"]:
        saved["outliner"] = load_part(found.path, "outliner")
    networks = {
        name: _training.in_policy(policy, network, functools.partial(BUILT[name], sizes))
        for name, network in saved.items()
    }
    return LungModel(
        networks["finder"],
        networks["judge"],
        networks.get("outliner"),
        calibration=Calibration.from_dict(facts["calibration"]),
        sizes=sizes,
        spacing_mm=float(facts["spacing_mm"]),
        threshold=float(facts["threshold"]),
    )


def in_float32(model: LungModel) -> dict[str, keras.Model]:
    """The networks of a model as they are saved."""
    return {
        name: _training.in_policy("float32", network, functools.partial(BUILT[name], model.sizes))
        for name, network in model.networks.items()
        if network is not None
    }


def findings_of(
    model: LungModel,
    case: Case,
    volume: Volume,
    marks: Marks,
    *,
    threshold: float,
    heat: bool = True,
) -> tuple[list[Finding], dict[int, Heat]]:
    """Candidates as findings: those that reach the threshold outlined and measured.

    The centre of what was outlined is the outline's: every output then says one place.

    Args:
        model: whose marks they are.
        case: the prepared scan.
        volume: the scan itself.
        marks: what the model says of it.
        threshold: from which probability a candidate is outlined.
        heat: whether to ask the judge where the evidence lies (HiResCAM).

    Returns:
        A finding a mark, in their order, and the heat of those that were outlined.
    """
    kept = np.flatnonzero(marks.probabilities >= threshold)
    drawn = dict(
        zip(kept.tolist(), model.outlines(case, marks.centres_mm[kept], volume), strict=True)
    )
    findings = []
    for i in range(len(marks)):
        outline = drawn.get(i)
        x, y, z = marks.centres_mm[i].tolist()
        findings.append(
            Finding(
                (x, y, z) if outline is None else outline.centre_mm,
                float(marks.diameters_mm[i]) if outline is None else outline.diameter_mm,
                None if outline is None else outline.volume_mm3,
                float(marks.probabilities[i]),
                float(marks.suspicion[i]),
                None if outline is None else outline.mask,
                (0, 0, 0) if outline is None else outline.offset,
            )
        )
    return findings, model.heat(case, marks.centres_mm, kept) if heat else {}
